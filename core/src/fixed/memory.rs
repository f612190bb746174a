//! All the memory of a cluster member, chosen in one place.

use super::conns::Conn;
use super::departed::Departed;
use super::peers::Peer;
use super::table::Slot;
use crate::java::places::Tables;

/// The memory of a [`Cluster`](super::Cluster): nothing in it grows beyond these capacities, and it has no other.
///
/// New memory is all zeros, so that a `static` of it takes no flash; what a member of before left in it does not matter to
/// the next. Use an alias with a name of your own, and `size_of` to see what it takes:
///
/// ```
/// use folkmoot_core::fixed;
///
/// /// Room for 4 other members and 16 sessions.
/// type Memory = fixed::Memory<4, 12, 4096, 6144, 16, 1024, 4096, 192, 32>;
/// assert!(size_of::<Memory>() < 128 * 1024);
/// ```
///
/// | parameter | what it bounds | when it is full |
/// |---|---|---|
/// | `MEMBERS` | other nodes, members or heard of | the one that was silent longest and is no member makes room |
/// | `CONNECTIONS` | connections and datagrams under way, with a buffer each; at least `MEMBERS` + 4 | a peer is refused |
/// | `MESSAGE` | bytes of a frame; at least `SESSION` + 1024 | the sender loses its connection |
/// | `QUEUE` | bytes queued to each member; at least `MESSAGE` | the member is left out and gets the whole state later |
/// | `SESSIONS` | sessions | FAIL_ACK |
/// | `SESSION` | bytes of a session: id, names and values with 8 bytes each | FAIL_ACK, the session stays as it was |
/// | `HELD` | bytes of messages that wait for the state or for their session | FAIL_ACK |
/// | `OBJECTS` | Java objects, strings and descriptors in one message | FAIL_ACK |
/// | `CLASSES` | Java classes in one message, with 4 fields each on average, and 2 levels of nesting for each | FAIL_ACK |
#[derive(Debug)]
pub struct Memory<
    const MEMBERS: usize,
    const CONNECTIONS: usize,
    const MESSAGE: usize,
    const QUEUE: usize,
    const SESSIONS: usize,
    const SESSION: usize,
    const HELD: usize,
    const OBJECTS: usize,
    const CLASSES: usize,
> {
    peers: [Peer; MEMBERS],
    queues: [[u8; QUEUE]; MEMBERS],
    conns: [Conn; CONNECTIONS],
    buffers: [[u8; MESSAGE]; CONNECTIONS],
    slots: [Slot; SESSIONS],
    areas: [[u8; SESSION]; SESSIONS],
    departed: [Departed; SESSIONS],
    held: [u8; HELD],
    message: [u8; MESSAGE],
    scratch: [u8; SESSION],
    tables: Tables<OBJECTS, CLASSES>,
}

impl<
    const MEMBERS: usize,
    const CONNECTIONS: usize,
    const MESSAGE: usize,
    const QUEUE: usize,
    const SESSIONS: usize,
    const SESSION: usize,
    const HELD: usize,
    const OBJECTS: usize,
    const CLASSES: usize,
> Memory<MEMBERS, CONNECTIONS, MESSAGE, QUEUE, SESSIONS, SESSION, HELD, OBJECTS, CLASSES>
{
    /// Empty memory.
    pub const fn new() -> Self {
        Self {
            peers: [Peer::BLANK; MEMBERS],
            queues: [[0; QUEUE]; MEMBERS],
            conns: [Conn::BLANK; CONNECTIONS],
            buffers: [[0; MESSAGE]; CONNECTIONS],
            slots: [Slot::EMPTY; SESSIONS],
            areas: [[0; SESSION]; SESSIONS],
            departed: [Departed::EMPTY; SESSIONS],
            held: [0; HELD],
            message: [0; MESSAGE],
            scratch: [0; SESSION],
            tables: Tables::new(),
        }
    }

    pub(super) fn storage(&mut self) -> Storage<'_> {
        Storage {
            peers: &mut self.peers,
            queues: Blocks::new(self.queues.as_flattened_mut(), QUEUE),
            conns: &mut self.conns,
            buffers: Blocks::new(self.buffers.as_flattened_mut(), MESSAGE),
            slots: &mut self.slots,
            areas: Blocks::new(self.areas.as_flattened_mut(), SESSION),
            departed: &mut self.departed,
            held: &mut self.held,
            message: &mut self.message,
            scratch: &mut self.scratch,
            walk: self.tables.walk(),
        }
    }
}

impl<
    const MEMBERS: usize,
    const CONNECTIONS: usize,
    const MESSAGE: usize,
    const QUEUE: usize,
    const SESSIONS: usize,
    const SESSION: usize,
    const HELD: usize,
    const OBJECTS: usize,
    const CLASSES: usize,
> Default
    for Memory<MEMBERS, CONNECTIONS, MESSAGE, QUEUE, SESSIONS, SESSION, HELD, OBJECTS, CLASSES>
{
    fn default() -> Self {
        Self::new()
    }
}

/// The same, without the capacities in its type.
#[derive(Debug)]
pub(super) struct Storage<'m> {
    pub(super) peers: &'m mut [Peer],
    pub(super) queues: Blocks<'m>,
    pub(super) conns: &'m mut [Conn],
    pub(super) buffers: Blocks<'m>,
    pub(super) slots: &'m mut [Slot],
    pub(super) areas: Blocks<'m>,
    pub(super) departed: &'m mut [Departed],
    pub(super) held: &'m mut [u8],
    pub(super) message: &'m mut [u8],
    pub(super) scratch: &'m mut [u8],
    pub(super) walk: crate::java::places::Walk<'m>,
}

/// Blocks of one size.
#[derive(Debug, Default)]
pub(super) struct Blocks<'m> {
    bytes: &'m mut [u8],
    size: usize,
}

impl<'m> Blocks<'m> {
    const fn new(bytes: &'m mut [u8], size: usize) -> Self {
        Self { bytes, size }
    }

    /// Bytes of a block.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn get(&self, block: usize) -> &[u8] {
        let from = self.bytes.get(block.saturating_mul(self.size)..);
        from.and_then(|from| from.get(..self.size))
            .unwrap_or_default()
    }

    pub(super) fn get_mut(&mut self, block: usize) -> &mut [u8] {
        let from = self.bytes.get_mut(block.saturating_mul(self.size)..);
        from.and_then(|from| from.get_mut(..self.size))
            .unwrap_or_default()
    }
}

/// Moves a run of bytes to `to`; `false`, and nothing has moved, if either place is not there.
#[inline]
pub(super) fn shift(bytes: &mut [u8], run: core::ops::Range<usize>, to: usize) -> bool {
    let room = run
        .end
        .checked_sub(run.start)
        .and_then(|len| bytes.len().checked_sub(len));
    let there = run.end <= bytes.len() && room.is_some_and(|last| to <= last);
    if there {
        bytes.copy_within(run, to);
    }
    there
}
