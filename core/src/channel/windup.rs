//! Winding up a member's connection without a loss.
//!
//! A message that is of no use here costs its sender the connection. Closed at once, it would take along what else is under way on
//! it, and a Tomcat that sends without ACKs would not even know: it never looks at a connection before it writes. So only our
//! direction ends. A Tomcat finds that out with its next heartbeat (`ParallelNioSender.keepalive` reads), or when it waits for
//! an ACK, ours at once; then they end theirs and connect anew. Until then
//!
//! - what wants no ACK is taken as before;
//! - what wants one is left, for it can't be given: its sender repeats it on the new connection;
//! - what one of ours says on the new connection waits for the end of the old one, so that the order stays. It does not wait for
//!   one that is silent: ours ends it at once, or is not there any more.

use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::{BadInput, Channel, ChannelListener};
use crate::engine::{ConnId, Output};
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::transport::receiver::Receiver;

use super::life::RECEIVERS_EVERY;

/// So long one of ours may say nothing on a connection that is being wound up.
const SILENCE: Duration = Duration::from_secs(1);

impl Receiver {
    /// Whether its end, if it is one of ours, will not come any more.
    pub(super) fn ends_in_silence(&self, now: Instant) -> bool {
        let ours = self.sender.as_ref().is_some_and(|sender| sender.ours);
        ours && now.since(self.active_at) > SILENCE
    }
}

/// Why a message is not worked off.
pub(super) enum Stop {
    /// It costs the connection.
    Bad(BadInput),
    /// It has to wait for the end of an earlier connection of its sender.
    Hold,
}

impl From<BadInput> for Stop {
    fn from(reason: BadInput) -> Self {
        Self::Bad(reason)
    }
}

impl Channel {
    /// Ends our direction of a connection that a member has opened, and goes on reading.
    pub(super) fn wind_up(&mut self, now: Instant, conn: ConnId) {
        let trusted = self.config.receiver.trust_members;
        let Some(Conn::Receiver(receiver)) = self.conns.get_mut(conn) else {
            return;
        };
        if trusted || receiver.ending.is_some() || !receiver.held.is_empty() {
            return;
        }
        receiver.ending = Some(now + self.config.receiver.frame_timeout);
        let (number, peer) = (receiver.number, receiver.peer);
        let resume = mem::take(&mut receiver.paused);
        let sender = receiver.sender.as_ref().filter(|sender| sender.ours);
        let entry = sender.and_then(|sender| self.members.get_mut(sender.index?));
        if let Some(entry) = entry {
            entry.ending_receiver = entry.ending_receiver.max(Some(number));
        }
        self.outputs.push_back(Output::HalfClose { conn });
        if resume {
            self.outputs.push_back(Output::ResumeRead { conn });
        }
        self.timers.receivers.get_or_insert(now + RECEIVERS_EVERY);
        self.bad_input(peer, BadInput::Unwanted);
    }

    /// A receiver is no more: what waited for its end need not wait any longer.
    pub(super) fn ended(&mut self, receiver: &Receiver) {
        let index = receiver.sender.as_ref().and_then(|sender| sender.index);
        self.wound_up |= receiver.ending.is_some();
        if let Some(entry) = index.and_then(|index| self.members.get_mut(index))
            && entry.ending_receiver == Some(receiver.number)
        {
            entry.ending_receiver = None;
            self.wound_up = true;
        }
    }

    /// Keeps a frame and what follows it until an earlier connection of the same sender has ended.
    pub(super) fn hold(
        &mut self,
        receiver: &mut Receiver,
        frame: &[u8],
        rest: &[u8],
    ) -> Result<(), BadInput> {
        let more = frame.len().saturating_add(rest.len());
        if self.gathered.saturating_add(more) > self.config.limits.gather_bytes_max {
            return Err(BadInput::TooMuchIncomplete);
        }
        receiver.held.extend_from_slice(frame);
        receiver.held.extend_from_slice(rest);
        Ok(())
    }

    /// Works off what waited for the end of a connection.
    pub(super) fn let_go<L: ChannelListener>(&mut self, now: Instant, listener: &mut L) {
        while mem::take(&mut self.wound_up) {
            for slot in 0..self.conns.capacity() {
                let Some(conn) = self.conns.at(slot) else {
                    continue;
                };
                if self.waits(conn) {
                    continue;
                }
                let Some(held) = self.take_held(conn) else {
                    continue;
                };
                if self.is_of_nobody(conn) {
                    self.close_receiver(conn);
                    continue;
                }
                self.outputs.push_back(Output::ResumeRead { conn });
                self.received(now, conn, &held, listener);
            }
        }
    }

    /// Whether the sender has left the table meanwhile: what it said then is out of date.
    fn is_of_nobody(&self, conn: ConnId) -> bool {
        let Some(Conn::Receiver(receiver)) = self.conns.get(conn) else {
            return true;
        };
        let index = receiver.sender.as_ref().and_then(|sender| sender.index);
        index.is_none_or(|index| self.members.get(index).is_none())
    }

    /// Whether an earlier connection of the same sender is still being wound up.
    fn waits(&self, conn: ConnId) -> bool {
        let Some(Conn::Receiver(receiver)) = self.conns.get(conn) else {
            return false;
        };
        let index = receiver.sender.as_ref().and_then(|sender| sender.index);
        let entry = index.and_then(|index| self.members.get(index));
        entry
            .and_then(|entry| entry.ending_receiver)
            .is_some_and(|ending| receiver.number > ending)
    }

    /// A connection has ended on which something waits: it can wait no longer.
    pub(super) fn read_held<L: ChannelListener>(
        &mut self,
        now: Instant,
        conn: ConnId,
        listener: &mut L,
    ) {
        let Some(held) = self.take_held(conn) else {
            return;
        };
        if let Some(Conn::Receiver(receiver)) = self.conns.get_mut(conn) {
            let number = receiver.number;
            let index = receiver.sender.as_ref().and_then(|sender| sender.index);
            if let Some(entry) = index.and_then(|index| self.members.get_mut(index)) {
                entry.ending_receiver = Some(number);
            }
        }
        self.received(now, conn, &held, listener);
        // The driver does not know the connection any more: there is nobody to answer, and nothing to close.
        self.outputs.retain(|output| match output {
            Output::Transmit { conn: of }
            | Output::PauseRead { conn: of }
            | Output::ResumeRead { conn: of }
            | Output::HalfClose { conn: of }
            | Output::Close { conn: of } => *of != conn,
            Output::Connect { .. } | Output::Datagram { .. } | Output::Abort { .. } => true,
        });
    }

    /// Takes what waits on a connection, if anything does.
    fn take_held(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let Some(Conn::Receiver(receiver)) = self.conns.get_mut(conn) else {
            return None;
        };
        if receiver.held.is_empty() {
            return None;
        }
        receiver.paused = false;
        let held = mem::take(&mut receiver.held);
        self.gathered = self.gathered.saturating_sub(held.len());
        Some(held)
    }
}
