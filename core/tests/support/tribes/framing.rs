//! Frames in a stream.

use folkmoot_core::wire::frame::{self, Deframed, deframe};
use folkmoot_core::wire::{Acknowledgement, DecodeError, read_ack};

use super::OK;
use crate::support::vector::{Vector, int};
use crate::support::{Checked, same, same_bytes};

/// More than any recorded frame holds.
const MAX_DATA: usize = 1 << 24;

pub(crate) fn ack(vector: &Vector) -> Checked {
    acknowledgement(vector, Acknowledgement::Ack)
}

pub(crate) fn fail_ack(vector: &Vector) -> Checked {
    acknowledgement(vector, Acknowledgement::FailAck)
}

fn acknowledgement(vector: &Vector, meaning: Acknowledgement) -> Checked {
    let stream = vector.whole()?;
    let Ok(Deframed::Frame { data, consumed }) = deframe(stream, MAX_DATA) else {
        return Err("not a frame".to_owned());
    };
    same("consumed bytes", consumed, stream.len())?;
    same_bytes("data", data, &vector.hex("data")?)?;
    same("meaning", read_ack(data), Some(meaning))?;
    vector.same_bytes(meaning.frame())?;
    OK
}

/// What came out of a stream fed in pieces.
struct Unpacked {
    packages: Vec<Vec<u8>>,
    /// How many bytes had been fed when each became complete.
    complete_after: Vec<i64>,
    /// What waits for more.
    left: Vec<u8>,
    damage: Option<DecodeError>,
}

/// A receiver's loop, as a connection that got `step` bytes with every read.
fn unpack(stream: &[u8], step: usize) -> Unpacked {
    let (mut packages, mut complete_after, mut left) = (vec![], vec![], vec![]);
    let mut fed = 0;
    for piece in stream.chunks(step.max(1)) {
        left.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match deframe(&left, MAX_DATA) {
                Ok(Deframed::Frame { data, consumed }) => {
                    packages.push(data.to_vec());
                    complete_after.push(fed as i64);
                    left.drain(..consumed);
                }
                Ok(Deframed::Incomplete { need }) => {
                    assert!(need > left.len(), "waits for bytes that are there");
                    break;
                }
                Err(error) => {
                    let damage = Some(error);
                    return Unpacked {
                        packages,
                        complete_after,
                        left,
                        damage,
                    };
                }
            }
        }
    }
    Unpacked {
        packages,
        complete_after,
        left,
        damage: None,
    }
}

pub(crate) fn stream(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let packages = vector.hexes("packages")?;
    same(
        "complete_packages",
        packages.len() as i64,
        vector.int("complete_packages")?,
    )?;
    let framed: usize = packages
        .iter()
        .map(|data| data.len() + frame::OVERHEAD)
        .sum();
    let rest = &stream[framed..];
    // Tomcat keeps what it cannot use and waits, or drops it: both are `rest` here.
    let kept = if vector.flag("appended")? {
        rest.len()
    } else {
        0
    };
    same("left_in_buffer", kept as i64, vector.int("left_in_buffer")?)?;

    for step in [stream.len(), 1, 2, 7, 13] {
        let got = unpack(stream, step);
        same("packages", &got.packages, &packages)?;
        match (got.damage, may_become_a_frame(rest)) {
            (None, true) => same_bytes("what waits", &got.left, rest)?,
            (Some(damage), false) => same("a reason", damage.to_string().is_empty(), false)?,
            (None, false) => return Err("waits for ever on a damaged stream".to_owned()),
            (Some(damage), true) => return Err(format!("sound, but refused: {damage}")),
        }
    }
    let mut built = vec![];
    for data in &packages {
        frame::write(data, &mut built).unwrap();
    }
    same_bytes("packages framed again", &built, &stream[..framed])?;
    OK
}

/// Whether some bytes could be added to `rest` so that a frame comes out that is not too long.
fn may_become_a_frame(rest: &[u8]) -> bool {
    let marker = rest.len().min(frame::START.len());
    if rest[..marker] != frame::START[..marker] {
        return false;
    }
    let Some(length) = rest.get(7..11) else {
        return rest.get(7).is_none_or(|byte| *byte < 0x80);
    };
    let length = usize::try_from(i32::from_be_bytes(length.try_into().unwrap()));
    let Some(length) = length.ok().filter(|length| *length <= MAX_DATA) else {
        return false;
    };
    let end = rest.get(11 + length..).unwrap_or_default();
    end.len() < frame::END.len() && frame::END.starts_with(end)
}

pub(crate) fn split(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    // `split-1-byte`: how many bytes were fed at a time.
    let step = vector
        .name
        .split('-')
        .find_map(|part| part.parse().ok())
        .unwrap_or(1);
    let got = unpack(stream, step);
    let after: Option<Vec<i64>> = vector.list("complete_after")?.iter().map(int).collect();
    same("complete_after", Some(got.complete_after), after)?;
    same("damage", got.damage, None)?;
    OK
}
