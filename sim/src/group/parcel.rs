//! What the nodes of a group send each other: a message that says where it belongs.

use folkmoot_core::channel::SendOptions;

/// What a message's send options promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Options 8: in order, or not at all.
    Queued,
    /// Options 2: an ACK when it has been received.
    Received,
    /// Options 6: an ACK when it has been processed.
    Processed,
}

impl Promise {
    /// The options that make this promise.
    pub const fn options(self) -> SendOptions {
        match self {
            Self::Queued => SendOptions::ASYNCHRONOUS,
            Self::Received => SendOptions::USE_ACK,
            Self::Processed => SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK),
        }
    }
}

/// One message: whose, on which lane, the how-manieth there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parcel {
    /// The sending node.
    pub from: u16,
    /// Which of its lives sent it.
    pub boot: u32,
    /// The lane; 0 is no lane in particular.
    pub lane: u32,
    /// Counts up on the lane, from 1.
    pub number: u64,
}

const LEN: usize = 18;
/// So many bytes are the same, so that what has changed places shows.
const STRETCH: usize = 64;

/// What a stretch is filled with.
const fn fill(number: u64, place: usize) -> u8 {
    (number as u8) ^ (place as u8).wrapping_mul(29)
}

impl Parcel {
    /// Its bytes, filled up to `len`.
    pub fn encode(&self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len.max(LEN));
        bytes.extend_from_slice(&self.from.to_be_bytes());
        bytes.extend_from_slice(&self.boot.to_be_bytes());
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        let filling = len.saturating_sub(LEN);
        for place in 0..filling.div_ceil(STRETCH) {
            let end = LEN + filling.min((place + 1) * STRETCH);
            bytes.resize(end, fill(self.number, place));
        }
        bytes
    }

    /// The parcel that `bytes` are, if they are one and nothing in it was changed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (from, rest) = bytes.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (lane, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let parcel = Self {
            from: u16::from_be_bytes(*from),
            boot: u32::from_be_bytes(*boot),
            lane: u32::from_be_bytes(*lane),
            number: u64::from_be_bytes(*number),
        };
        let mut stretches = rest.chunks(STRETCH).enumerate();
        let whole = stretches.all(|(place, bytes)| {
            let fill = fill(parcel.number, place);
            bytes.iter().all(|byte| *byte == fill)
        });
        whole.then_some(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_survives_and_shows_damage() {
        let (from, boot, lane, number) = (3, 7, 2, 300);
        let parcel = Parcel {
            from,
            boot,
            lane,
            number,
        };
        let mut bytes = parcel.encode(100);
        assert_eq!(Parcel::decode(&bytes), Some(parcel));
        assert_eq!(bytes.len(), 100);
        bytes[50] ^= 1;
        assert_eq!(Parcel::decode(&bytes), None);
        let mut bytes = parcel.encode(1000);
        bytes[LEN..].rotate_left(STRETCH);
        assert_eq!(Parcel::decode(&bytes), None);
        assert_eq!(Parcel::decode(&parcel.encode(0)), Some(parcel));
        assert_eq!(Parcel::decode(b"short"), None);
    }
}
