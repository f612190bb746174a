//! Milliseconds since the start, from a timer that counts by itself: none is lost while nobody looks.

use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// The board's clock.
const CYCLES_PER_MS: u32 = 25_000;

/// The board's first timer, a CMSDK APB timer: it counts cycles down, and begins again after 171 s.
const TIMER: usize = 0x4000_0000;
const CONTROL: usize = 0x00;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;

/// What the timer showed last.
static LAST: AtomicU32 = AtomicU32::new(u32::MAX);
/// How many milliseconds had passed then, and how many cycles of the next.
static MILLIS: AtomicU32 = AtomicU32::new(0);
static CYCLES: AtomicU32 = AtomicU32::new(0);

/// Starts to count, and to wake the processor every millisecond.
pub(crate) fn start(mut ticks: SYST) {
    for (register, value) in [(RELOAD, u32::MAX), (VALUE, u32::MAX), (CONTROL, 1)] {
        // SAFETY: a register of this board, which nobody else uses.
        unsafe { write_volatile((TIMER + register) as *mut u32, value) };
    }
    ticks.set_clock_source(SystClkSource::Core);
    ticks.set_reload(CYCLES_PER_MS - 1);
    ticks.clear_current();
    ticks.enable_counter();
    ticks.enable_interrupt();
}

/// How many have passed; 32 bits last 49 days, and this board does not. For the main loop alone.
pub(crate) fn millis() -> u64 {
    // SAFETY: a register of this board; it is only looked at.
    let value = unsafe { read_volatile((TIMER + VALUE) as *const u32) };
    let passed = LAST.swap(value, Ordering::Relaxed).wrapping_sub(value);
    let cycles = u64::from(passed) + u64::from(CYCLES.load(Ordering::Relaxed));
    let per_ms = u64::from(CYCLES_PER_MS);
    CYCLES.store((cycles % per_ms) as u32, Ordering::Relaxed);
    let passed = (cycles / per_ms) as u32;
    u64::from(
        MILLIS
            .fetch_add(passed, Ordering::Relaxed)
            .wrapping_add(passed),
    )
}

/// It is enough that the processor wakes.
#[exception]
fn SysTick() {}
