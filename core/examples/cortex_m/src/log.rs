//! defmt's frames, out of the second serial port.

use core::sync::atomic::{AtomicBool, Ordering};

use defmt::Encoder;

use crate::clock;
use crate::uart::Uart;

#[defmt::global_logger]
struct Logger;

static TAKEN: AtomicBool = AtomicBool::new(false);
static mut ENCODER: Encoder = Encoder::new();

fn send(bytes: &[u8]) {
    // SAFETY: only the logger uses this port, and it is taken once at a time.
    unsafe { Uart::log() }.send(bytes);
}

// SAFETY: the member runs on one core and logs from its main loop alone, never from an interrupt, so that nobody else can
// hold the encoder; `TAKEN` catches a log within a log.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        if TAKEN.swap(true, Ordering::Acquire) {
            cortex_m::asm::udf();
        }
        // SAFETY: see above.
        unsafe { (*(&raw mut ENCODER)).start_frame(send) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see above.
        unsafe { (*(&raw mut ENCODER)).end_frame(send) }
        TAKEN.store(false, Ordering::Release);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see above.
        unsafe { (*(&raw mut ENCODER)).write(bytes, send) }
    }
}

defmt::timestamp!("{=u64:ms}", clock::millis());
