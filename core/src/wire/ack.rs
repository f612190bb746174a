//! What a receiver answers on the connection a message came in by (`transport.Constants`).
//!
//! An answer names no message: it belongs to the oldest one on that connection that asked for one.

use super::frame::{END, START};

/// How a message fared at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Acknowledgement {
    /// Received or, if the options asked for that, processed (`ACK_DATA`).
    Ack,
    /// A listener failed on it (`FAIL_ACK_DATA`).
    FailAck,
}

impl Acknowledgement {
    /// The data of the frame.
    pub const fn data(self) -> &'static [u8; 3] {
        match self {
            Self::Ack => &ACK_DATA,
            Self::FailAck => &FAIL_ACK_DATA,
        }
    }

    /// The whole frame.
    pub const fn frame(self) -> &'static [u8; 21] {
        match self {
            Self::Ack => &ACK_FRAME,
            Self::FailAck => &FAIL_ACK_FRAME,
        }
    }
}

/// The data of an acknowledgement.
pub const ACK_DATA: [u8; 3] = [6, 2, 3];

/// The data of a negative acknowledgement.
pub const FAIL_ACK_DATA: [u8; 3] = [11, 0, 5];

/// An acknowledgement as it is on the wire.
pub const ACK_FRAME: [u8; 21] = frame(ACK_DATA);

/// A negative acknowledgement as it is on the wire.
pub const FAIL_ACK_FRAME: [u8; 21] = frame(FAIL_ACK_DATA);

/// What the data of a frame acknowledge; `None` if they are something else, which a sender that waits for
/// an answer ignores (`NioSender.read`).
#[inline]
pub const fn read_ack(data: &[u8]) -> Option<Acknowledgement> {
    match data {
        [6, 2, 3] => Some(Acknowledgement::Ack),
        [11, 0, 5] => Some(Acknowledgement::FailAck),
        _ => None,
    }
}

const fn frame(data: [u8; 3]) -> [u8; 21] {
    let [a, b, c, d, e, f, g] = START;
    let [x, y, z] = data;
    let [t, u, v, w, p, q, r] = END;
    [
        a, b, c, d, e, f, g, 0, 0, 0, 3, x, y, z, t, u, v, w, p, q, r,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Deframed, deframe};
    use super::*;

    #[test]
    fn an_answer_is_one_frame_of_three_bytes() {
        for meaning in [Acknowledgement::Ack, Acknowledgement::FailAck] {
            let (data, consumed) = (&meaning.data()[..], 21);
            assert_eq!(
                deframe(meaning.frame(), 3),
                Ok(Deframed::Frame { data, consumed })
            );
            assert_eq!(read_ack(data), Some(meaning));
        }
    }

    #[test]
    fn other_data_answer_nothing() {
        for data in [
            &b""[..],
            &[6, 2],
            &[6, 2, 3, 0],
            &[6, 2, 4],
            &[11, 0],
            &[0, 2, 3],
        ] {
            assert_eq!(read_ack(data), None, "{data:?}");
        }
    }
}
