//! What interceptors make of messages.

use folkmoot_core::wire::{Control, MemberBlock, Reader};

use super::{OK, messages};
use crate::support::vector::Vector;
use crate::support::{Checked, Outcome, same, same_bytes};

/// The probe of `TcpFailureDetector`, a whole frame.
pub(crate) fn probe(vector: &Vector) -> Checked {
    let message = vector.hex("message")?;
    same(
        "meaning",
        Control::classify(&message),
        Some(Control::TcpFailDetect),
    )?;
    same_bytes("probe", Control::TcpFailDetect.message(), &message)?;
    messages::framed(vector)
}

pub(crate) fn ping(vector: &Vector) -> Checked {
    control(vector, Control::TcpPing)
}

pub(crate) fn static_start(vector: &Vector) -> Checked {
    control(vector, Control::MemberStart)
}

pub(crate) fn static_stop(vector: &Vector) -> Checked {
    control(vector, Control::MemberStop)
}

fn control(vector: &Vector, control: Control) -> Checked {
    same("meaning", Control::classify(vector.whole()?), Some(control))?;
    vector.same_bytes(control.message())?;
    OK
}

/// The member blocks in a message of `NonBlockingCoordinator`, each read and written again.
pub(crate) fn coordination(vector: &Vector) -> Checked {
    let message = vector.whole()?;
    walk(
        vector,
        &mut Reader::new(message.get(16..).ok_or("cut off")?),
    )?;
    Ok(Outcome::Partly("the rest of NonBlockingCoordinator"))
}

fn walk(vector: &Vector, message: &mut Reader<'_>) -> Result<(), String> {
    let block = |what: &str, want: &[u8], message: &mut Reader<'_>| {
        let block = message
            .sized(usize::MAX, "member")
            .map_err(|error| error.to_string())?;
        same_bytes(what, block, want)?;
        messages::same_block(block)?;
        MemberBlock::read(block)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    block("leader", &vector.hex("leader")?, message)?;
    block("source", &vector.hex("source")?, message)?;
    let view = vector.hexes("view")?;
    same(
        "members",
        message.i32("count").map_err(|error| error.to_string())?,
        view.len() as i32,
    )?;
    view.iter()
        .try_for_each(|member| block("view", member, message))?;
    let mut rest = |what| message.take(16, what).map_err(|error| error.to_string());
    same_bytes("id", rest("id")?, &vector.hex("id")?)?;
    same_bytes("type", rest("type")?, &vector.hex("type")?)?;
    same("bytes left", message.len(), 0)
}

macro_rules! not_here {
    ($($name:ident: $layer:literal,)*) => {$(
        /// A layer that this crate does not have: nothing of it is compared.
        pub(crate) fn $name(_: &Vector) -> Checked {
            Ok(Outcome::NotHere($layer))
        }
    )*};
}

not_here! {
    gzip: "GzipInterceptor",
    fragmentation: "FragmentationInterceptor",
    order: "OrderInterceptor",
    encrypt: "EncryptInterceptor",
    two_phase_commit: "TwoPhaseCommitInterceptor",
    stack: "GzipInterceptor over FragmentationInterceptor over EncryptInterceptor",
    dispatch_size_drift: "GzipInterceptor under MessageDispatchInterceptor",
}
