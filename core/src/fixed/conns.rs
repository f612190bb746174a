//! The table behind every [`ConnId`]: connections and datagrams, each with a buffer.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::MemberIndex;
use crate::engine::{ConnId, Gather, Output, Target};
use crate::time::Instant;
use crate::wire::{ACK_FRAME, FAIL_ACK_FRAME};

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing; what was still to be written stays readable until the place is used again.
    Free,
    /// Opened by a peer.
    Receiver,
    /// Ours, to the member in this place.
    Lane(u16),
    /// A TCP check of the member in this place.
    Probe(u16),
    /// A datagram.
    Datagram(Target),
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Abort,
}

/// Answers that may wait to be read by a peer.
const ACKS_MAX: u8 = 32;

/// A connection or a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    generation: u32,
    pub(super) kind: Kind,
    /// What the driver has not been told yet.
    connect: Option<SocketAddr>,
    transmit: bool,
    end: Option<End>,
    /// Whether the driver knows that bytes wait.
    announced: bool,
    /// Bytes in the buffer: gathered of a frame or a reply, or to be sent.
    pub(super) len: usize,
    /// Of those to be sent, how many have been.
    pub(super) sent: usize,
    /// Answers to be sent, the next in the lowest bit; a set bit is a failure.
    acks: u32,
    acks_count: u8,
    acks_sent: u8,
    /// Since when answers have waited without any being taken.
    pub(super) acks_since: Instant,
    /// When the first byte of the frame that is incomplete came.
    pub(super) partial_since: Instant,
    pub(super) active_at: Instant,
    /// Whether it has brought a message.
    pub(super) messages: bool,
    pub(super) sender: Option<MemberIndex>,
    /// The address of the peer that opened it.
    pub(super) peer: Option<SocketAddr>,
}

impl Conn {
    pub(super) const EMPTY: Self = Self {
        generation: 0,
        kind: Kind::Free,
        connect: None,
        transmit: false,
        end: None,
        announced: false,
        len: 0,
        sent: 0,
        acks: 0,
        acks_count: 0,
        acks_sent: 0,
        acks_since: Instant::ZERO,
        partial_since: Instant::ZERO,
        active_at: Instant::ZERO,
        messages: false,
        sender: None,
        peer: None,
    };

    /// What a place holds before there is a member: nothing but zeros, so that a `static` of it takes no flash.
    pub(super) const BLANK: Self = {
        const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        Self {
            kind: Kind::Datagram(Target::Address(NOWHERE)),
            connect: Some(NOWHERE),
            end: Some(End::Close),
            peer: Some(NOWHERE),
            ..Self::EMPTY
        }
    };

    const fn is_usable(&self) -> bool {
        matches!(self.kind, Kind::Free) && self.end.is_none()
    }

    /// Says that bytes wait, unless the driver knows.
    pub(super) fn announce(&mut self) {
        if !self.announced {
            self.transmit = true;
        }
    }

    /// Everything has been written.
    pub(super) fn drained(&mut self) {
        self.announced = false;
        self.transmit = false;
    }

    /// Adds an answer; `false` if the peer leaves too many unread.
    pub(super) fn push_ack(&mut self, now: Instant, failed: bool) -> bool {
        if self.acks_count >= ACKS_MAX {
            return false;
        }
        if self.acks_count == 0 {
            self.acks_since = now;
            self.acks = 0;
        }
        self.acks |= u32::from(failed).wrapping_shl(u32::from(self.acks_count));
        self.acks_count = self.acks_count.saturating_add(1);
        self.announce();
        true
    }

    pub(super) const fn has_acks(&self) -> bool {
        self.acks_count > 0
    }

    pub(super) fn gather_acks<'a>(&self, out: &mut Gather<'a>) {
        for number in 0..self.acks_count {
            let failed = self.acks.wrapping_shr(u32::from(number)) & 1 == 1;
            let frame: &'static [u8] = if failed { &FAIL_ACK_FRAME } else { &ACK_FRAME };
            let from = if number == 0 {
                usize::from(self.acks_sent)
            } else {
                0
            };
            out.push(frame.get(from..).unwrap_or_default());
        }
    }

    pub(super) fn acks_written(&mut self, now: Instant, mut len: usize) {
        while self.acks_count > 0 && len > 0 {
            let left = ACK_FRAME.len().saturating_sub(usize::from(self.acks_sent));
            self.acks_since = now;
            if len < left {
                self.acks_sent = self.acks_sent.saturating_add(len as u8);
                return;
            }
            len = len.saturating_sub(left);
            self.acks = self.acks.wrapping_shr(1);
            self.acks_count = self.acks_count.saturating_sub(1);
            self.acks_sent = 0;
        }
        if self.acks_count == 0 {
            self.drained();
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Conns<'m> {
    conns: &'m mut [Conn],
    /// Where to look for a free place first: a place rests before it is used again.
    next: usize,
}

impl<'m> Conns<'m> {
    pub(super) fn new(conns: &'m mut [Conn]) -> Self {
        for conn in conns.iter_mut() {
            *conn = Conn::EMPTY;
        }
        Self { conns, next: 0 }
    }

    /// Places, used and free.
    pub(super) const fn len(&self) -> usize {
        self.conns.len()
    }

    /// Places in use by peers.
    pub(super) fn receivers(&self) -> usize {
        let receivers = self.conns.iter().filter(|conn| conn.kind == Kind::Receiver);
        receivers.count()
    }

    /// Gives out an id, if a place is free.
    pub(super) fn insert(&mut self, kind: Kind, connect: Option<SocketAddr>) -> Option<ConnId> {
        let len = self.conns.len();
        let free = |slot: &usize| self.conns.get(*slot).is_some_and(Conn::is_usable);
        let slot = (self.next..len)
            .find(free)
            .or_else(|| (0..len).find(free))?;
        self.next = slot.saturating_add(1);
        let conn = self.conns.get_mut(slot)?;
        let generation = conn.generation.wrapping_add(1);
        *conn = Conn {
            generation,
            kind,
            connect,
            ..Conn::EMPTY
        };
        Some(ConnId::new(slot as u32, generation))
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        let conn = self.conns.get(id.slot() as usize)?;
        (conn.generation == id.generation()).then_some(conn)
    }

    /// A connection that is in use.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.slot() as usize)?;
        (conn.generation == id.generation()).then_some(conn)
    }

    /// The id of the place, if it is in use.
    pub(super) fn at(&self, slot: usize) -> Option<(ConnId, &Conn)> {
        let conn = self.conns.get(slot)?;
        let id = ConnId::new(slot as u32, conn.generation);
        (conn.kind != Kind::Free).then_some((id, conn))
    }

    /// The driver has released it already.
    pub(super) fn release(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            (conn.kind, conn.end, conn.connect, conn.len) = (Kind::Free, None, None, 0);
            conn.drained();
        }
    }

    /// Ends it; the driver is told, unless it has not even heard of it.
    pub(super) fn end(&mut self, id: ConnId, end: End) {
        let Some(conn) = self.get_mut(id) else {
            return;
        };
        if conn.kind == Kind::Free {
            return;
        }
        if conn.connect.is_some() {
            return self.release(id);
        }
        conn.kind = Kind::Free;
        conn.transmit = false;
        conn.end = Some(end);
    }

    /// The next thing that the driver has to do.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        for (slot, state) in self.conns.iter_mut().enumerate() {
            let conn = ConnId::new(slot as u32, state.generation);
            if let Some(to) = state.connect.take() {
                return Some(Output::Connect { conn, to });
            }
            if core::mem::take(&mut state.transmit) {
                state.announced = true;
                return Some(match state.kind {
                    Kind::Datagram(to) => Output::Datagram { conn, to },
                    _ => Output::Transmit { conn },
                });
            }
            match state.end.take() {
                Some(End::Close) => return Some(Output::Close { conn }),
                Some(End::Abort) => return Some(Output::Abort { conn }),
                None => {}
            }
        }
        None
    }
}
