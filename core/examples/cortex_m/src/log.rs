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

/// Whatever firmware holds of the member can be logged.
const _: () = {
    use folkmoot_core::{engine, fixed, rng, session, time, wire};

    const fn logged<T: defmt::Format + ?Sized>() {}
    logged::<(
        engine::Input<'_>,
        engine::Output,
        engine::Target,
        engine::CloseReason,
    )>();
    logged::<(
        engine::ConnId,
        engine::Gather<'_>,
        time::Instant,
        time::WallClock,
    )>();
    logged::<(
        fixed::Config<'_>,
        fixed::Membership<'_>,
        fixed::ConfigError,
        fixed::Event,
    )>();
    logged::<(
        fixed::MemberInfo,
        fixed::MemberIndex,
        fixed::SessionInfo<'_>,
        fixed::SessionId,
    )>();
    logged::<(
        fixed::SessionError,
        fixed::SendError,
        fixed::To,
        fixed::Stats,
        fixed::Verdict,
    )>();
    logged::<(
        fixed::Inbound<'_>,
        fixed::BadInput,
        fixed::Refusal,
        fixed::FaultCause,
    )>();
    logged::<(
        fixed::TransferResult,
        wire::UniqueId,
        wire::SendOptions,
        wire::AckPolicy,
    )>();
    logged::<(
        wire::ChannelData<'_>,
        wire::MessageHeader<'_>,
        wire::MemberBlock<'_>,
    )>();
    logged::<(
        wire::Deframed<'_>,
        wire::DatagramContent<'_>,
        wire::Control,
        wire::DecodeError,
    )>();
    logged::<(
        session::SessionMessage<'_>,
        session::EventType,
        session::ActionType,
    )>();
    logged::<rng::Seed>();
};

defmt::timestamp!("{=u64:ms}", clock::millis());
