//! Milliseconds since the start, counted by SysTick.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// The board's clock.
const CYCLES_PER_MS: u32 = 25_000;

static MILLIS: AtomicU32 = AtomicU32::new(0);

/// Starts to count.
pub(crate) fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CYCLES_PER_MS - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// How many have passed; 32 bits last 49 days, and this board does not.
pub(crate) fn millis() -> u64 {
    u64::from(MILLIS.load(Ordering::Relaxed))
}

#[exception]
fn SysTick() {
    MILLIS.fetch_add(1, Ordering::Relaxed);
}
