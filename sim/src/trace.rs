//! What happened: always as a hash, on demand as a list.

use folkmoot_core::engine::CloseReason;

/// What kind of thing happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TraceKind {
    /// The node started.
    Boot,
    /// The node's memory is gone.
    Crash,
    /// The node stands still.
    Pause,
    /// The node goes on.
    Resume,
    /// The node's wall clock was set.
    Clock,
    /// The engine's timer fired.
    Timer,
    /// The engine asked for a connection.
    Connect,
    /// A connection that the engine asked for stands.
    Connected,
    /// The engine was asked to accept a connection.
    Accept,
    /// The engine refused a connection.
    Refuse,
    /// The engine's bytes were taken.
    Sent,
    /// The engine received bytes.
    Received,
    /// The engine closed a connection.
    Close,
    /// A connection was closed under the engine.
    Closed,
    /// The engine reads no more from a connection.
    PauseRead,
    /// The engine reads from a connection again.
    ResumeRead,
    /// The engine sent a datagram.
    DatagramSent,
    /// A datagram was lost on its way.
    DatagramLost,
    /// The engine received a datagram.
    DatagramReceived,
    /// The network changed: a link was cut, healed, stalled.
    Network,
    /// The application ran a command.
    Command,
    /// The engine ended its direction of a connection.
    HalfClose,
}

impl TraceKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Boot,
        Self::Crash,
        Self::Pause,
        Self::Resume,
        Self::Clock,
        Self::Timer,
        Self::Connect,
        Self::Connected,
        Self::Accept,
        Self::Refuse,
        Self::Sent,
        Self::Received,
        Self::Close,
        Self::Closed,
        Self::PauseRead,
        Self::ResumeRead,
        Self::DatagramSent,
        Self::DatagramLost,
        Self::DatagramReceived,
        Self::Network,
        Self::Command,
        Self::HalfClose,
    ];
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Virtual time, nanoseconds.
    pub at: u64,
    /// The node it happened to.
    pub node: u16,
    /// What happened.
    pub kind: TraceKind,
    /// The other node, if there is one.
    pub peer: Option<u16>,
    /// The engine's name of the connection, as one word.
    pub conn: u64,
    /// Bytes, where there are any.
    pub len: usize,
    /// What it was, for people.
    pub detail: String,
}

/// The hash of everything that happened so far, and, if asked for, the list.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    counts: [u64; TraceKind::ALL.len()],
    kept: Option<Vec<TraceEvent>>,
    kept_max: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            hash: 0x51_7c_c1_b7_27_22_0a_95,
            events: 0,
            counts: [0; TraceKind::ALL.len()],
            kept: None,
            kept_max: 0,
        }
    }
}

impl Trace {
    /// The hash over every event so far: the same seed and commit give the same on every machine.
    pub fn hash(&self) -> u64 {
        let mut z = self.hash;
        z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        z ^ (z >> 32)
    }

    /// How many events there were.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How many events of each kind there were.
    pub fn counts(&self) -> impl Iterator<Item = (TraceKind, u64)> {
        TraceKind::ALL.into_iter().zip(self.counts)
    }

    /// From now on events are kept, the first `max` of them.
    pub fn keep(&mut self, max: usize) {
        self.kept.get_or_insert_default();
        self.kept_max = max;
    }

    /// What was kept.
    pub fn kept(&self) -> &[TraceEvent] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// The place of the last event kept; 0 before the first.
    pub(crate) fn last(&self) -> usize {
        self.kept().len().saturating_sub(1)
    }

    /// Whether there is anyone to read a detail.
    pub(crate) fn keeps(&self) -> bool {
        (self.kept.as_ref()).is_some_and(|kept| kept.len() < self.kept_max)
    }

    /// Takes note of an event; `detail` is asked for only when events are kept.
    #[inline]
    pub(crate) fn note(
        &mut self,
        at: u64,
        node: u16,
        kind: TraceKind,
        link: (Option<u16>, u64),
        bytes: &[u8],
        detail: impl FnOnce() -> String,
    ) {
        self.events += 1;
        self.counts[kind as usize] += 1;
        self.word(at);
        self.word(u64::from(node) << 8 | kind as u64);
        self.word(link.1);
        self.bytes(bytes);
        if self.keeps() {
            let (peer, conn) = link;
            let detail = detail();
            let len = bytes.len();
            if let Some(kept) = &mut self.kept {
                #[rustfmt::skip]
                kept.push(TraceEvent { at, node, kind, peer, conn, len, detail });
            }
        }
    }

    fn word(&mut self, word: u64) {
        self.hash = mixed(self.hash, word);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        // Four at a time, none of which waits for another.
        let mut blocks = bytes.chunks_exact(32);
        let mut lanes = LANES;
        for block in &mut blocks {
            for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
                let mut whole = [0; 8];
                whole.copy_from_slice(word);
                *lane = mixed(*lane, u64::from_le_bytes(whole));
            }
        }
        if bytes.len() >= 32 {
            for lane in lanes {
                self.word(lane);
            }
        }
        let mut words = blocks.remainder().chunks_exact(8);
        for word in &mut words {
            let mut whole = [0; 8];
            whole.copy_from_slice(word);
            self.word(u64::from_le_bytes(whole));
        }
        for byte in words.remainder() {
            self.word(u64::from(*byte));
        }
    }
}

/// Where the hash of long bytes begins.
const LANES: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
];

const fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// A close reason as a trace says it.
pub(crate) fn reason_text(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::EndOfStream => "end of stream",
        CloseReason::Refused => "refused",
        CloseReason::Unreachable => "unreachable",
        CloseReason::Reset => "reset",
        CloseReason::TimedOut => "timed out",
        CloseReason::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(events: &[(u64, u16, &[u8])]) -> u64 {
        let mut trace = Trace::default();
        for (at, node, bytes) in events {
            let link = (None, 0);
            trace.note(*at, *node, TraceKind::Received, link, bytes, String::new);
        }
        trace.hash()
    }

    #[test]
    fn every_part_of_an_event_reaches_the_hash() {
        let whole = noted(&[(1, 2, b"abcdefghij"), (2, 2, b"")]);
        let others: [&[(u64, u16, &[u8])]; 5] = [
            &[(1, 2, b"abcdefghij")],
            &[(1, 2, b"abcdefghik"), (2, 2, b"")],
            &[(1, 3, b"abcdefghij"), (2, 2, b"")],
            &[(3, 2, b"abcdefghij"), (2, 2, b"")],
            &[(2, 2, b""), (1, 2, b"abcdefghij")],
        ];
        for other in others {
            assert_ne!(noted(other), whole, "{other:?}");
        }
        assert_eq!(noted(&[(1, 2, b"abcdefghij"), (2, 2, b"")]), whole);
    }

    #[test]
    fn every_byte_reaches_the_hash_and_so_does_its_place() {
        for len in [1, 7, 8, 31, 32, 33, 64, 200] {
            let bytes: Vec<u8> = (0..len).collect();
            let mut hashes = vec![noted(&[(1, 1, &bytes)])];
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                hashes.push(noted(&[(1, 1, &other)]));
                let mut turned = bytes.clone();
                turned.rotate_left(at);
                if at > 0 {
                    hashes.push(noted(&[(1, 1, &turned)]));
                }
            }
            let count = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), count, "{len} bytes");
        }
    }
}
