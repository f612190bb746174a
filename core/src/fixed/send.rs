//! Sending: the queue to each member and its connection. `NioSender` and the retries of `ParallelNioSender`.

use core::fmt;

use super::cluster::{Cluster, FRAME_OVERHEAD, Phase, RETRY, count};
use super::conns::{End, Kind};
use super::memory::shift;
use super::peers::Meta;
use super::{BadInput, Event, FaultCause, MemberIndex};
use crate::engine::ConnId;
use crate::time::Instant;
use crate::wire::{
    Acknowledgement, Control, Deframed, MessageHeader, SendOptions, Sink, SliceSink, UniqueId,
    deframe, frame, read_ack,
};

/// Whom a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum To {
    /// All members.
    All,
    /// One of them.
    Member(MemberIndex),
}

/// Why a message was not sent to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError {
    /// The member has not been started, or is stopping.
    NotStarted,
    /// There are no members.
    NoMembers,
    /// The member is gone.
    NoSuchMember(MemberIndex),
    /// A destination's queue has no room: send again later, or choose a larger `QUEUE`.
    QueueFull(MemberIndex),
    /// The message is longer than a frame of `MESSAGE` bytes can hold.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not started; call `start` first",
            Self::NoMembers => "there is no other member",
            Self::NoSuchMember(_) => "the member is gone",
            Self::QueueFull(_) => "a queue is full; send again later, or choose a larger QUEUE",
            Self::TooLong => "the message is too long; choose a larger MESSAGE",
        })
    }
}

impl core::error::Error for SendError {}

impl<L> Cluster<'_, L> {
    /// Sends bytes of the application's own to members, all or none of them. With [`SendOptions::USE_ACK`] an event follows
    /// for each: [`Event::Acknowledged`] or [`Event::Faulty`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; then nothing has been sent.
    pub fn send(
        &mut self,
        now: Instant,
        to: To,
        options: SendOptions,
        message: &[u8],
    ) -> Result<UniqueId, SendError> {
        if self.phase != Phase::Running {
            return Err(SendError::NotStarted);
        }
        let len = message.len().saturating_add(FRAME_OVERHEAD);
        if len > self.buffers.size() {
            return Err(SendError::TooLong);
        }
        let options = options.union(SendOptions::BYTE_MESSAGE);
        let id = UniqueId::random(&mut self.rng);
        let wanted = |slot: usize| match to {
            To::All => true,
            To::Member(index) => usize::from(index.slot) == slot,
        };
        if let To::Member(index) = to {
            self.slot(index).ok_or(SendError::NoSuchMember(index))?;
        } else if self.member_count() == 0 {
            return Err(SendError::NoMembers);
        }
        let chosen = |peer: &super::peers::Peer| match to {
            To::All => peer.verified,
            To::Member(_) => peer.used,
        };
        for slot in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(slot).filter(|peer| chosen(peer)) else {
                continue;
            };
            if wanted(slot) && peer.lane.room(self.queues.get_mut(slot), len).is_none() {
                return Err(SendError::QueueFull(self.index(slot)));
            }
        }
        for slot in 0..self.peers.len() {
            if wanted(slot) && self.peers.get(slot).is_some_and(chosen) {
                self.queue(now, slot, options, id, message, false);
            }
        }
        Ok(id)
    }

    /// A message of the channel's own.
    pub(super) fn send_control(&mut self, now: Instant, slot: usize, control: Control) {
        let id = UniqueId::random(&mut self.rng);
        let options = SendOptions::BYTE_MESSAGE;
        self.queue(now, slot, options, id, control.message(), false);
    }

    /// Queues a message to one member; `false` without room.
    pub(super) fn queue(
        &mut self,
        now: Instant,
        slot: usize,
        options: SendOptions,
        id: UniqueId,
        message: &[u8],
        state: bool,
    ) -> bool {
        let header = MessageHeader {
            options,
            timestamp_ms: self.clock.unix_ms(now),
            unique_id: id,
            address: &self.block,
            message_len: message.len(),
        };
        let meta = Meta {
            len: header.frame_len(),
            ack: options.contains(SendOptions::USE_ACK),
            state,
        };
        let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.used) else {
            return false;
        };
        let block = self.queues.get_mut(slot);
        let Some(room) = peer.lane.room(block, meta.len) else {
            return false;
        };
        let mut sink = SliceSink::new(room);
        let written = header
            .write(&mut sink)
            .and_then(|()| sink.put(message))
            .and_then(|()| sink.put(&frame::END));
        if written.is_err() {
            return false;
        }
        peer.lane.commit(now, block, meta);
        count(&mut self.stats.messages_sent);
        self.poke(slot);
        true
    }

    /// Has the bytes written that wait for a member, on a new connection if there is none.
    fn poke(&mut self, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if !peer.lane.wants_to_write(self.queues.get(slot)) {
            return;
        }
        match peer.lane.conn {
            Some(conn) if peer.lane.open => {
                if let Some(conn) = self.conns.get_mut(conn) {
                    conn.announce();
                }
            }
            Some(_) => {}
            None => {
                let kind = Kind::Lane(slot as u16);
                peer.lane.conn = self.conns.insert(kind, Some(peer.address));
            }
        }
    }

    pub(super) fn lane_connected(&mut self, now: Instant, slot: usize, id: ConnId) {
        if let Some(peer) = self.peers.get_mut(slot)
            && peer.lane.conn == Some(id)
        {
            peer.lane.open = true;
            peer.lane.progress_at = now;
            self.poke(slot);
        }
    }

    pub(super) fn lane_written(&mut self, now: Instant, slot: usize, id: ConnId, len: usize) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if peer.lane.conn != Some(id) {
            return;
        }
        let block = self.queues.get(slot);
        peer.lane.transmitted(now, block, len);
        if !peer.lane.wants_to_write(block)
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.drained();
        }
    }

    /// Answers on a connection of ours.
    pub(super) fn replies(&mut self, now: Instant, slot: usize, id: ConnId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(conn) = self.conns.get_mut(id) else {
                return;
            };
            let buffer = self.buffers.get_mut(id.slot() as usize);
            // Replies are short: bytes are gathered until one is whole.
            let free = buffer.get_mut(conn.len..).unwrap_or_default();
            let taken = free.len().min(rest.len());
            let (now_here, later) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            match free.get_mut(..now_here.len()) {
                Some(place) if !place.is_empty() => place.copy_from_slice(now_here),
                _ => return self.bad_reply(now, slot, id),
            }
            rest = later;
            conn.len = conn.len.saturating_add(now_here.len());
            let mut done = 0;
            loop {
                let buffer = self.buffers.get(id.slot() as usize);
                let Some(conn) = self.conns.get(id) else {
                    return;
                };
                let waiting = buffer.get(done..conn.len).unwrap_or_default();
                if waiting.is_empty() {
                    break;
                }
                let max = buffer.len().saturating_sub(frame::OVERHEAD);
                let answer = match deframe(waiting, max) {
                    Ok(Deframed::Incomplete { .. }) => break,
                    Ok(Deframed::Frame { data, consumed }) => {
                        done = done.saturating_add(consumed);
                        read_ack(data)
                    }
                    Err(_) => return self.bad_reply(now, slot, id),
                };
                if let Some(answer) = answer
                    && !self.answered(now, slot, id, answer)
                {
                    return;
                }
            }
            let buffer = self.buffers.get_mut(id.slot() as usize);
            if let Some(conn) = self.conns.get_mut(id)
                && shift(buffer, done..conn.len, 0)
            {
                conn.len = conn.len.saturating_sub(done);
            }
        }
    }

    fn bad_reply(&mut self, now: Instant, slot: usize, id: ConnId) {
        self.bad_input(BadInput::Reply);
        self.conns.end(id, End::Abort);
        self.lane_lost(now, slot, FaultCause::ConnectionLost);
    }

    /// An answer; whether the connection goes on.
    fn answered(&mut self, now: Instant, slot: usize, id: ConnId, answer: Acknowledgement) -> bool {
        let retries = self.config.max_retry_attempts;
        let waits = self.peers.get(slot).is_some_and(|peer| {
            peer.lane.conn == Some(id) && peer.lane.awaits_answer(self.queues.get(slot))
        });
        if !waits {
            self.bad_reply(now, slot, id);
            return false;
        }
        count(&mut self.stats.acks_received);
        let Some(peer) = self.peers.get_mut(slot) else {
            return false;
        };
        peer.last_heard = now;
        peer.lane.progress_at = now;
        if answer == Acknowledgement::FailAck && peer.lane.attempts < retries {
            // Tried again on a new connection, as Tribes does.
            peer.lane.attempts = peer.lane.attempts.saturating_add(1);
            peer.lane.disconnected();
            count(&mut self.stats.resends);
            self.conns.end(id, End::Close);
            self.poke(slot);
            return false;
        }
        peer.lane.attempts = 0;
        let fault = (answer == Acknowledgement::FailAck).then_some(FaultCause::RemoteProcess);
        self.done(slot, fault);
        self.poke(slot);
        true
    }

    /// Takes the first frame off a queue and says what became of it.
    fn done(&mut self, slot: usize, fault: Option<FaultCause>) {
        let index = self.index(slot);
        let block = self.queues.get(slot);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let id = peer.lane.head_id(block);
        let Some(meta) = peer.lane.pop(block) else {
            return;
        };
        if meta.state {
            match fault {
                None => {
                    if let Some(donor) = &mut peer.donor {
                        donor.open = false;
                    }
                }
                Some(_) => {
                    if peer.donor.take().is_some() {
                        count(&mut self.stats.transfers_broken);
                        self.event(Event::StateGiven {
                            to: index,
                            complete: false,
                        });
                    }
                }
            }
        }
        match fault {
            Some(cause) => {
                count(&mut self.stats.faults);
                self.event(Event::Faulty(index, id, cause));
            }
            None if meta.ack && !meta.state => self.event(Event::Acknowledged(index, id)),
            None => {}
        }
    }

    /// The connection of a queue is gone: what it did not get done is written again on a new one, or given up.
    pub(super) fn lane_lost(&mut self, now: Instant, slot: usize, cause: FaultCause) {
        let retries = self.config.max_retry_attempts;
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.lane.disconnected();
        if !peer.lane.is_empty() {
            peer.lane.attempts = peer.lane.attempts.saturating_add(1);
            if peer.lane.attempts > retries {
                peer.lane.attempts = 0;
                peer.lane.progress_at = now;
                match cause {
                    FaultCause::ConnectionLost => self.done(slot, Some(cause)),
                    // Where nobody listens the others would only meet the same.
                    _ => self.drop_lane(slot, cause),
                }
            } else {
                count(&mut self.stats.resends);
            }
        }
        self.suspect(now, slot);
        self.poke(slot);
    }

    /// Looks for queues on which nothing has got done for too long, and for those that found no connection.
    pub(super) fn lanes_due(&mut self, now: Instant) {
        for slot in 0..self.peers.len() {
            let Some(peer) = self
                .peers
                .get_mut(slot)
                .filter(|peer| !peer.lane.is_empty())
            else {
                continue;
            };
            if peer.lane.progress_at + self.config.timeout <= now {
                let conn = peer.lane.conn;
                peer.lane.disconnected();
                peer.lane.attempts = 0;
                peer.lane.progress_at = now;
                if let Some(conn) = conn {
                    self.conns.end(conn, End::Abort);
                }
                self.done(slot, Some(FaultCause::TimedOut));
                self.suspect(now, slot);
                self.poke(slot);
            } else if peer.lane.conn.is_none() && peer.lane.tried_at + RETRY <= now {
                peer.lane.tried_at = now;
                self.poke(slot);
            }
        }
    }

    /// Fails everything queued to a member and closes its connection.
    pub(super) fn drop_lane(&mut self, slot: usize, cause: FaultCause) {
        while self
            .peers
            .get(slot)
            .is_some_and(|peer| !peer.lane.is_empty())
        {
            self.done(slot, Some(cause));
        }
        if let Some(peer) = self.peers.get_mut(slot) {
            let conn = peer.lane.conn;
            peer.lane.disconnected();
            if let Some(conn) = conn {
                self.conns.end(conn, End::Abort);
            }
        }
    }
}
