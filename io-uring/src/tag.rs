//! What a completion is about, in the 64 bits that the kernel hands back.

use folkmoot_core::engine::ConnId;

/// The largest slot that fits a tag, exclusive.
pub(crate) const SLOTS: u32 = 1 << 24;

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something is ready of what the ring has not.
    Queue,
    /// Bytes of a stream.
    Receive,
    /// A stream that was full has room.
    Room,
    /// A stream that nothing is read from has failed.
    Trouble,
    /// A peer has connected.
    Accept,
    /// A bundle: in place of a stream its place.
    Send,
    /// A request to end another: completes only when it failed.
    Cancel,
}

const KINDS: [Kind; 7] = [
    Kind::Queue,
    Kind::Receive,
    Kind::Room,
    Kind::Trouble,
    Kind::Accept,
    Kind::Send,
    Kind::Cancel,
];

/// The tag of a request that concerns no stream.
pub(crate) const fn of(kind: Kind) -> u64 {
    (kind as u64) << 56
}

/// The tag of a request for a stream; its slot is below [`SLOTS`].
pub(crate) const fn with(kind: Kind, conn: ConnId) -> u64 {
    of(kind) | ((conn.slot() % SLOTS) as u64) << 32 | conn.generation() as u64
}

/// The reverse.
pub(crate) fn read(tag: u64) -> Option<(Kind, ConnId)> {
    let kind = *KINDS.get((tag >> 56) as usize)?;
    let slot = (tag >> 32) as u32 % SLOTS;
    Some((kind, ConnId::new(slot, tag as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_is_about() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            for conn in [
                ConnId::new(0, 0),
                ConnId::new(SLOTS - 1, u32::MAX),
                ConnId::new(7, 1 << 31),
            ] {
                assert_eq!(read(with(kind, conn)), Some((kind, conn)));
            }
        }
        assert_eq!(read(u64::MAX), None);
    }
}
