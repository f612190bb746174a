//! Everybody this node has heard of, and the queue to each.

use core::net::SocketAddr;

use super::memory::shift;
use crate::engine::{ConnId, Gather};
use crate::time::Instant;
use crate::wire::{MemberBlock, UniqueId};

/// A member, as long as it is known: its place, and how often the place had been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemberIndex {
    pub(super) slot: u16,
    pub(super) generation: u16,
}

/// The TCP check of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// None needed.
    Idle,
    /// Wanted from then on.
    Due(Instant),
    /// Under way, until then.
    Running(ConnId, Instant),
}

/// A state transfer to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Donor {
    /// Whether it asked, and so waits for a completion.
    pub(super) asked: bool,
    /// The next session to be sent.
    pub(super) cursor: usize,
    /// Whether a message with sessions has not been answered.
    pub(super) open: bool,
    pub(super) messages: u32,
    pub(super) snapshot_ms: i64,
}

/// A member, or somebody who may become one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) generation: u16,
    pub(super) used: bool,
    pub(super) address: SocketAddr,
    pub(super) unique_id: UniqueId,
    /// Verified: among the members.
    pub(super) verified: bool,
    /// Configured: never leaves the table.
    pub(super) fixed: bool,
    pub(super) suspect: Option<Instant>,
    pub(super) check: Check,
    pub(super) heartbeats: u32,
    pub(super) last_heard: Instant,
    /// Until when a static member that said STOP is not believed to be back.
    pub(super) stopped_until: Instant,
    /// Estimated start of its membership service, wall clock in ms: the oldest member has the smallest.
    pub(super) started_ms: i64,
    pub(super) alive_ms: i64,
    pub(super) lane: Lane,
    pub(super) donor: Option<Donor>,
    /// Its queue was full: it gets nothing until it is empty, and then the whole state.
    pub(super) lagging: bool,
    /// It need not be asked for the state any more.
    pub(super) tried: bool,
}

impl Peer {
    pub(super) const EMPTY: Self = Self {
        generation: 0,
        used: false,
        address: SocketAddr::V4(core::net::SocketAddrV4::new(
            core::net::Ipv4Addr::UNSPECIFIED,
            0,
        )),
        unique_id: UniqueId([0; 16]),
        verified: false,
        fixed: false,
        suspect: None,
        check: Check::Idle,
        heartbeats: 0,
        last_heard: Instant::ZERO,
        stopped_until: Instant::ZERO,
        started_ms: 0,
        alive_ms: 0,
        lane: Lane::EMPTY,
        donor: None,
        lagging: false,
        tried: false,
    };

    /// What a place holds before there is a member: nothing but zeros, so that a `static` of it takes no flash.
    pub(super) const BLANK: Self = Self {
        donor: Some(Donor {
            asked: false,
            cursor: 0,
            open: false,
            messages: 0,
            snapshot_ms: 0,
        }),
        ..Self::EMPTY
    };

    pub(super) const fn is_checking(&self) -> bool {
        matches!(self.check, Check::Running(..))
    }

    /// Whether it is the member of this block.
    pub(super) fn is(&self, block: &MemberBlock<'_>) -> bool {
        self.used && self.unique_id == block.unique_id && block.socket_addr() == Some(self.address)
    }
}

/// What is said of a frame in a queue, in the eight bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Bytes of the frame.
    pub(super) len: usize,
    /// Whether the receiver answers it.
    pub(super) ack: bool,
    /// Whether it brings the sessions of a state transfer.
    pub(super) state: bool,
}

/// Bytes of a [`Meta`].
pub(super) const META: usize = 8;

impl Meta {
    fn to_bytes(self) -> [u8; META] {
        let [a, b, c, d] = (self.len as u32).to_be_bytes();
        [a, b, c, d, u8::from(self.ack), u8::from(self.state), 0, 0]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, ack, state, ..] = *bytes.first_chunk::<META>()?;
        Some(Self {
            len: u32::from_be_bytes([a, b, c, d]) as usize,
            ack: ack == 1,
            state: state == 1,
        })
    }
}

/// The frames for one member, in order, in a block of memory, with at most one connection. One that needs an ACK ends what
/// may be written: that suits every Tomcat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) conn: Option<ConnId>,
    pub(super) open: bool,
    /// The run of the block that is in use.
    start: usize,
    end: usize,
    /// Bytes of frames from the first on that have been written.
    pub(super) sent: usize,
    pub(super) attempts: u8,
    /// When anything last got done while something waited.
    pub(super) progress_at: Instant,
    /// When a connection was last looked for in vain.
    pub(super) tried_at: Instant,
}

impl Lane {
    pub(super) const EMPTY: Self = Self {
        conn: None,
        open: false,
        start: 0,
        end: 0,
        sent: 0,
        attempts: 0,
        progress_at: Instant::ZERO,
        tried_at: Instant::ZERO,
    };

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for a frame at the end; what is written into it is queued by [`commit`](Self::commit).
    pub(super) fn room<'b>(&mut self, block: &'b mut [u8], len: usize) -> Option<&'b mut [u8]> {
        let need = len.checked_add(META)?;
        if need > block.len().saturating_sub(self.end) {
            let used = self.end.saturating_sub(self.start);
            if !shift(block, self.start..self.end, 0) {
                return None;
            }
            (self.start, self.end) = (0, used);
        }
        let free = block.get_mut(self.end..)?;
        free.get_mut(META..need)
    }

    /// Queues what has been written into the [`room`](Self::room).
    pub(super) fn commit(&mut self, now: Instant, block: &mut [u8], meta: Meta) {
        let at = block
            .get_mut(self.end..)
            .and_then(|free| free.first_chunk_mut());
        if let Some(place) = at {
            *place = meta.to_bytes();
            if self.is_empty() {
                (self.progress_at, self.sent) = (now, 0);
            }
            self.end = self.end.saturating_add(META).saturating_add(meta.len);
        }
    }

    pub(super) fn head(&self, block: &[u8]) -> Option<Meta> {
        Meta::read(block.get(self.start..self.end)?)
    }

    /// The name of the first message.
    pub(super) fn head_id(&self, block: &[u8]) -> UniqueId {
        // Marker, length, options, timestamp and the length of the id come before it.
        let at = self.start.saturating_add(META).saturating_add(27);
        let id = block.get(at..self.end).and_then(<[u8]>::first_chunk);
        UniqueId(id.copied().unwrap_or_default())
    }

    /// Takes the first frame off.
    pub(super) fn pop(&mut self, block: &[u8]) -> Option<Meta> {
        let head = self.head(block)?;
        let next = self.start.saturating_add(META).saturating_add(head.len);
        self.start = next.min(self.end);
        self.sent = self.sent.saturating_sub(head.len);
        if self.is_empty() {
            (self.start, self.end, self.sent) = (0, 0, 0);
        }
        Some(head)
    }

    /// Calls for each frame that may be written now, with the part that has not been.
    fn writable<'b>(&self, block: &'b [u8], mut each: impl FnMut(&'b [u8]) -> bool) {
        let (mut at, mut sent) = (self.start, self.sent);
        while let Some(meta) = block.get(at..self.end).and_then(Meta::read) {
            let begin = at.saturating_add(META);
            at = begin.saturating_add(meta.len);
            let frame = block.get(begin..at).unwrap_or_default();
            let rest = frame.get(sent.min(frame.len())..).unwrap_or_default();
            sent = sent.saturating_sub(meta.len);
            if !rest.is_empty() && !each(rest) || meta.ack {
                return;
            }
        }
    }

    pub(super) fn wants_to_write(&self, block: &[u8]) -> bool {
        let mut wants = false;
        self.writable(block, |_| {
            wants = true;
            false
        });
        wants
    }

    pub(super) fn gather<'b>(&self, block: &'b [u8], out: &mut Gather<'b>) {
        self.writable(block, |rest| out.push(rest));
    }

    /// `len` bytes were written; frames without ACK that are wholly out are done with.
    pub(super) fn transmitted(&mut self, now: Instant, block: &[u8], len: usize) {
        if len > 0 {
            self.progress_at = now;
        }
        self.sent = self.sent.saturating_add(len);
        while let Some(head) = self.head(block)
            && !head.ack
            && head.len <= self.sent
        {
            self.pop(block);
            self.attempts = 0;
        }
    }

    /// Whether the first frame is out and waits for its answer.
    pub(super) fn awaits_answer(&self, block: &[u8]) -> bool {
        self.head(block)
            .is_some_and(|head| head.ack && head.len <= self.sent)
    }

    /// The connection is gone: what was not done with is written again.
    pub(super) const fn disconnected(&mut self) {
        (self.conn, self.open, self.sent) = (None, false, 0);
    }
}
