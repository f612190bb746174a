//! Receiving: `NioReceiver`, `NioReplicationTask` and the way up.

use core::net::SocketAddr;

use super::cluster::{Cluster, Phase, count};
use super::conns::{End, Kind};
use super::memory::Blocks;
use super::{BadInput, Event, Inbound, Listener, Membership, Refusal, Verdict};
use crate::engine::ConnId;
use crate::session::SessionMessage;
use crate::time::Instant;
use crate::wire::{
    AckPolicy, ChannelData, Control, DatagramContent, Deframed, MemberBlock, SendOptions, deframe,
    frame,
};

/// Places kept for checks and datagrams.
const RESERVED: usize = 3;

impl<L: Listener> Cluster<'_, L> {
    pub(super) fn accepted(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        let max = self.conns.len().saturating_sub(self.peers.len());
        let full = self.conns.receivers() >= max.saturating_sub(RESERVED);
        if self.phase != Phase::Running || full && !self.make_room() {
            count(&mut self.stats.accepts_refused);
            return None;
        }
        let id = self.conns.insert(Kind::Receiver, None);
        let Some(conn) = id.and_then(|id| self.conns.get_mut(id)) else {
            count(&mut self.stats.accepts_refused);
            return None;
        };
        (conn.active_at, conn.peer) = (now, Some(from));
        id
    }

    /// Closes the connection that has been silent longest: one that never brought a message, else one with nothing under
    /// way, whose owner opens another when it needs it. A check must always get through.
    fn make_room(&mut self) -> bool {
        let silent = (0..self.conns.len()).filter_map(|slot| {
            let (id, conn) = self.conns.at(slot)?;
            let idle = conn.len == 0 && !conn.has_acks();
            (conn.kind == Kind::Receiver && (idle || !conn.messages)).then_some((
                conn.messages,
                conn.active_at,
                id,
            ))
        });
        // The place is free only once the driver has been told, but the sum counts at once; a peer that comes too early
        // is refused.
        match silent.min() {
            Some((.., id)) => {
                self.conns.end(id, End::Close);
                true
            }
            None => false,
        }
    }

    pub(super) fn received(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match conn.kind {
            Kind::Receiver => {}
            Kind::Lane(slot) => return self.replies(now, usize::from(slot), id, bytes),
            _ => return,
        }
        conn.active_at = now;
        // Taken out while frames are read from it: whatever they lead to touches no buffer.
        let mut buffers = core::mem::take(&mut self.buffers);
        let result = self.frames(now, id, bytes, &mut buffers);
        self.buffers = buffers;
        if let Err(reason) = result {
            self.conns.end(id, End::Close);
            self.bad_input(reason);
        }
    }

    /// Works off the frames of one read.
    fn frames(
        &mut self,
        now: Instant,
        id: ConnId,
        mut bytes: &[u8],
        buffers: &mut Blocks<'_>,
    ) -> Result<(), BadInput> {
        let max = buffers.size().saturating_sub(frame::OVERHEAD);
        while !bytes.is_empty() {
            let Some(conn) = self.conns.get_mut(id) else {
                return Ok(());
            };
            let buffer = buffers.get_mut(id.slot() as usize);
            if conn.len == 0 {
                match deframe(bytes, max).map_err(BadInput::Frame)? {
                    Deframed::Frame { data, consumed } => {
                        self.message(now, Some(id), data)?;
                        bytes = bytes.get(consumed..).unwrap_or_default();
                        continue;
                    }
                    Deframed::Incomplete { .. } => conn.partial_since = now,
                }
            }
            let have = buffer.get(..conn.len).unwrap_or_default();
            let need = match deframe(have, max).map_err(BadInput::Frame)? {
                Deframed::Incomplete { need } => need.saturating_sub(conn.len).max(1),
                Deframed::Frame { .. } => 0,
            };
            let (here, rest) = bytes.split_at_checked(need).unwrap_or((bytes, &[]));
            bytes = rest;
            let place = buffer.get_mut(conn.len..).unwrap_or_default();
            // No frame is longer than the buffer.
            if let Some(place) = place.get_mut(..here.len()) {
                place.copy_from_slice(here);
                conn.len = conn.len.saturating_add(here.len());
            }
            let gathered = buffer.get(..conn.len).unwrap_or_default();
            if let Deframed::Frame { data, .. } = deframe(gathered, max).map_err(BadInput::Frame)? {
                conn.len = 0;
                self.message(now, Some(id), data)?;
            }
        }
        Ok(())
    }

    /// One message, and its answer. An ACK means that it has been taken, whenever the sender wants it.
    fn message(&mut self, now: Instant, id: Option<ConnId>, data: &[u8]) -> Result<(), BadInput> {
        let message = ChannelData::decode(data).map_err(BadInput::ChannelData)?;
        let block = MemberBlock::read(message.address).map_err(BadInput::MemberBlock)?;
        let control = Control::classify(message.message);
        let sender = self.meet(now, &block, control);
        if let Some(conn) = id.and_then(|id| self.conns.get_mut(id))
            && control != Some(Control::TcpFailDetect)
        {
            conn.messages = true;
        }
        let index = sender.map(|slot| self.index(slot));
        if let Some(conn) = id.and_then(|id| self.conns.get_mut(id)) {
            conn.sender = index.or(conn.sender);
        }
        let foreign = block.domain != self.config.domain || self.is_ours(&block);
        let fixed = matches!(self.config.membership, Membership::Static { .. });
        let verdict = match control {
            _ if foreign => Verdict::Processed,
            Some(Control::TcpFailDetect | Control::TcpPing) => Verdict::Processed,
            Some(Control::MemberStart) if fixed => {
                self.static_notice(now, sender, true);
                Verdict::Processed
            }
            Some(Control::MemberStop) if fixed => {
                self.static_notice(now, sender, false);
                Verdict::Processed
            }
            _ => self.deliver(now, index, &message),
        };
        if message.options.ack_policy() == AckPolicy::Never {
            return Ok(());
        }
        let failed = verdict == Verdict::Failed;
        let Some(conn) = id.and_then(|id| self.conns.get_mut(id)) else {
            return Ok(());
        };
        if !conn.push_ack(now, failed) {
            return Err(BadInput::UnreadAcks);
        }
        count(match failed {
            true => &mut self.stats.fail_acks_sent,
            false => &mut self.stats.acks_sent,
        });
        Ok(())
    }

    /// Somebody has sent a message: its place, made if need be.
    fn meet(
        &mut self,
        now: Instant,
        block: &MemberBlock<'_>,
        control: Option<Control>,
    ) -> Option<usize> {
        if self.is_ours(block) || block.domain != self.config.domain {
            return None;
        }
        let slot = match self.find(block) {
            Some(slot) => slot,
            // A check alone is no reason to remember who makes it.
            None if control == Some(Control::TcpFailDetect) => return None,
            None => self.add(now, block)?,
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.last_heard = now;
        }
        Some(slot)
    }

    fn deliver(
        &mut self,
        now: Instant,
        from: Option<super::MemberIndex>,
        message: &ChannelData<'_>,
    ) -> Verdict {
        count(&mut self.stats.messages_received);
        if !message.options.contains(SendOptions::BYTE_MESSAGE) {
            return match SessionMessage::read(message.message) {
                Some(read) => self.session_message(now, from, &read),
                None => {
                    count(&mut self.stats.refused);
                    self.event(Event::Refused(None, Refusal::Unreadable));
                    Verdict::Processed
                }
            };
        }
        let inbound = Inbound {
            from,
            options: message.options,
            unique_id: message.unique_id,
            message: message.message,
        };
        self.listener.message_received(now, &inbound)
    }

    pub(super) fn datagram_received(&mut self, now: Instant, bytes: &[u8]) {
        if self.phase != Phase::Running {
            return;
        }
        match DatagramContent::read(bytes) {
            Ok(DatagramContent::Heartbeat(block)) => self.heartbeat_received(now, &block),
            Ok(DatagramContent::Frames(frames)) => {
                for frame in frames {
                    let told = match frame {
                        Ok(data) => self.message(now, None, data),
                        Err(error) => Err(BadInput::Frame(error)),
                    };
                    if let Err(reason) = told {
                        return self.bad_input(reason);
                    }
                }
            }
            Err(_) => self.bad_input(BadInput::Datagram),
        }
    }

    /// Looks for frames that never end and answers that nobody reads.
    pub(super) fn receivers_due(&mut self, now: Instant) {
        let patience = self.config.frame_timeout;
        for slot in 0..self.conns.len() {
            let Some((id, conn)) = self.conns.at(slot) else {
                continue;
            };
            if conn.kind != Kind::Receiver {
                continue;
            }
            let slow = conn.len > 0 && conn.partial_since + patience <= now;
            let unread = conn.has_acks() && conn.acks_since + patience <= now;
            if slow || unread {
                self.conns.end(id, End::Close);
                self.bad_input(match slow {
                    true => BadInput::SlowFrame,
                    false => BadInput::UnreadAcks,
                });
            }
        }
    }
}
