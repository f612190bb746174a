//! Receiving: `NioReceiver`, `NioReplicationTask` and the way up to the listener.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::time::Duration;

use super::life::{Phase, RECEIVERS_EVERY};
use super::windup::Stop;
use super::{
    BadInput, Channel, ChannelListener, Inbound, MemberIndex, MembershipConfig, Verdict, count,
    is_ours,
};
use crate::engine::{ConnId, Output, Target};
use crate::interceptor::{Cost, Refusal};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::transport::lane::scaled;
use crate::transport::receiver::{Receiver, Sender};
use crate::wire::member::same_but_alive;
use crate::wire::{
    ACK_FRAME, AckPolicy, Acknowledgement, ChannelData, Control, DatagramContent, Deframed,
    FAIL_ACK_FRAME, Member, MemberBlock, SendOptions, deframe,
};

/// Unread answers on a connection from which on nothing more is read from it.
const UNREAD_ACKS_MAX: usize = 64 * 1024;
/// The slowest sender of a large frame.
const FLOOR_BYTES_PER_SECOND: u32 = 64 * 1024;

impl Channel {
    /// A peer has connected. See [`Engine::accept`](crate::engine::Engine::accept).
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        let full = self.receivers >= self.config.limits.connections_max;
        let makes_room = if full { self.most_silent() } else { None };
        if self.phase != Phase::Running || (full && makes_room.is_none()) {
            count(&mut self.stats.accepts_refused);
            return None;
        }
        count(&mut self.stats.accepts);
        self.receivers = self.receivers.saturating_add(1);
        let receiver = Receiver::new(now, from, self.stats.accepts);
        let accepted = self.conns.insert(Conn::Receiver(Box::new(receiver)));
        // Only now: whoever drives this still has the other one, and its slot is not to be taken before it hears that it is closed.
        if let Some(conn) = makes_room {
            self.close_receiver(conn);
        }
        Some(accepted)
    }

    /// The connection that has been silent longest of those that never brought a message.
    fn most_silent(&self) -> Option<ConnId> {
        let silent = self.conns.iter().filter_map(|(conn, kind)| match kind {
            Conn::Receiver(receiver) if !receiver.messages => Some((receiver.active_at, conn)),
            _ => None,
        });
        silent.min().map(|(_, conn)| conn)
    }

    /// Ends a connection that a peer has opened.
    pub(super) fn close_receiver(&mut self, conn: ConnId) {
        if let Some(Conn::Receiver(receiver)) = self.conns.remove(conn, Vec::new()) {
            self.forget_receiver(&receiver);
            self.outputs.push_back(Output::Close { conn });
        }
    }

    /// Ends the connections of somebody whose messages turned out to be of no use: at once, or by winding them up if it is a
    /// member.
    pub(crate) fn turn_away(&mut self, now: Instant, who: MemberIndex) {
        let is_member = self.is_member(who);
        let theirs = |kind: &Conn| match kind {
            Conn::Receiver(receiver) => {
                receiver.sender.as_ref().and_then(|sender| sender.index) == Some(who)
            }
            _ => false,
        };
        let conns: Vec<ConnId> = self
            .conns
            .iter()
            .filter_map(|(conn, kind)| theirs(kind).then_some(conn))
            .collect();
        for conn in conns {
            let peer = match self.conns.get_mut(conn) {
                Some(Conn::Receiver(receiver)) if is_member && !receiver.messages => continue,
                Some(Conn::Receiver(receiver)) => receiver.peer,
                _ => continue,
            };
            if is_member {
                self.wind_up(now, conn);
            } else {
                self.close_receiver(conn);
                self.bad_input(peer, BadInput::Refused);
            }
        }
    }

    /// Takes a connection out of the sums.
    pub(super) fn forget_receiver(&mut self, receiver: &Receiver) {
        self.receivers = self.receivers.saturating_sub(1);
        self.gathered = self.gathered.saturating_sub(receiver.kept());
        self.ended(receiver);
    }

    pub(super) fn received<L: ChannelListener>(
        &mut self,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
        listener: &mut L,
    ) {
        let Some(kind) = self.conns.get_mut(conn) else {
            return;
        };
        match kind {
            Conn::Receiver(_) => {}
            Conn::Lane(member, number) => {
                let (member, number) = (*member, usize::from(*number));
                self.replies(now, conn, member, number, bytes);
                return;
            }
            _ => return,
        }
        let Conn::Receiver(mut receiver) = mem::replace(kind, Conn::Busy) else {
            return;
        };
        receiver.active_at = now;
        let before = receiver.kept();
        let result = match receiver.held.is_empty() {
            true => self.frames(now, &mut receiver, bytes, listener),
            false => self.hold(&mut receiver, &[], bytes),
        };
        self.gathered = self
            .gathered
            .saturating_sub(before)
            .saturating_add(receiver.kept());

        if !receiver.held.is_empty() && !receiver.paused {
            receiver.paused = true;
            self.outputs.push_back(Output::PauseRead { conn });
        }
        let waiting = receiver.waiting_acks().len();
        if waiting > 0 && !receiver.announced {
            receiver.announced = true;
            self.outputs.push_back(Output::Transmit { conn });
        }
        if waiting > UNREAD_ACKS_MAX && !receiver.paused {
            receiver.paused = true;
            self.outputs.push_back(Output::PauseRead { conn });
        }
        if waiting > 0 || !receiver.partial.is_empty() {
            self.timers.receivers.get_or_insert(now + RECEIVERS_EVERY);
        }
        let peer = receiver.peer;
        let unwanted = mem::take(&mut receiver.unwanted) && result.is_ok();
        let last = match result {
            Ok(()) => Vec::new(),
            Err(_) => {
                self.forget_receiver(&receiver);
                receiver.waiting_acks().to_vec()
            }
        };
        if let Some(place) = self.conns.get_mut(conn) {
            *place = Conn::Receiver(receiver);
        }
        if let Err(reason) = result {
            self.conns.remove(conn, last);
            self.outputs.push_back(Output::Close { conn });
            self.bad_input(peer, reason);
        } else if unwanted {
            self.wind_up(now, conn);
        }
    }

    /// Works off the frames of one read.
    fn frames<L: ChannelListener>(
        &mut self,
        now: Instant,
        receiver: &mut Receiver,
        mut bytes: &[u8],
        listener: &mut L,
    ) -> Result<(), BadInput> {
        let max = self.config.limits.message_bytes_max;
        while !receiver.partial.is_empty() && !bytes.is_empty() {
            let have = receiver.partial.len();
            let need = match deframe(&receiver.partial, max).map_err(BadInput::Frame)? {
                Deframed::Incomplete { need } => need,
                Deframed::Frame { consumed, .. } => consumed,
            };
            let (here, rest) = bytes
                .split_at_checked(need.saturating_sub(have).max(1))
                .unwrap_or((bytes, &[]));
            bytes = rest;
            if self
                .gathered
                .saturating_add(have)
                .saturating_add(here.len())
                > self.config.limits.gather_bytes_max
            {
                return Err(BadInput::TooMuchIncomplete);
            }
            receiver.gather(here, need);
            let buffer = mem::take(&mut receiver.partial);
            match deframe(&buffer, max).map_err(BadInput::Frame)? {
                Deframed::Incomplete { need } => {
                    receiver.partial = buffer;
                    receiver.partial_need = need;
                }
                Deframed::Frame { data, consumed } => {
                    self.stats.bytes_received =
                        self.stats.bytes_received.wrapping_add(consumed as u64);
                    if planted(Bug::SplitFrameDropped) && data.len() > 200 {
                        receiver.push_ack(now, &ACK_FRAME);
                    } else {
                        match self.message(now, receiver, data, listener) {
                            Err(Stop::Bad(reason)) => return Err(reason),
                            Err(Stop::Hold) => return self.hold(receiver, &buffer, bytes),
                            Ok(()) => {}
                        }
                    }
                    receiver.gathered(buffer);
                }
            }
        }
        while !bytes.is_empty() {
            match deframe(bytes, max).map_err(BadInput::Frame)? {
                Deframed::Frame { data, consumed } => {
                    self.stats.bytes_received =
                        self.stats.bytes_received.wrapping_add(consumed as u64);
                    match self.message(now, receiver, data, listener) {
                        Err(Stop::Bad(reason)) => return Err(reason),
                        Err(Stop::Hold) => return self.hold(receiver, &[], bytes),
                        Ok(()) => {}
                    }
                    bytes = bytes.get(consumed..).unwrap_or_default();
                }
                Deframed::Incomplete { need } => {
                    if self.gathered.saturating_add(bytes.len())
                        > self.config.limits.gather_bytes_max
                    {
                        return Err(BadInput::TooMuchIncomplete);
                    }
                    receiver.partial_since = now;
                    receiver.partial_need = need;
                    receiver.gather(bytes, need);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One message: the answer on receipt, the listener, the answer after processing.
    fn message<L: ChannelListener>(
        &mut self,
        now: Instant,
        receiver: &mut Receiver,
        data: &[u8],
        listener: &mut L,
    ) -> Result<(), Stop> {
        let message = ChannelData::decode(data).map_err(BadInput::ChannelData)?;
        self.identify(now, &mut receiver.sender, message.address)?;
        let policy = message.options.ack_policy();
        // It can't be answered any more: its sender repeats it on another connection.
        if receiver.ending.is_some() && policy != AckPolicy::Never {
            return Ok(());
        }
        if !is_check(message.message) {
            receiver.messages = true;
            let sender = receiver.sender.as_ref().and_then(|sender| sender.index);
            self.supersede(receiver.number, sender)?;
        }
        if planted(Bug::AckLost) && message.unique_id.last().is_some_and(|byte| byte % 16 == 0) {
            if let Some(sender) = &receiver.sender {
                let _ = self.deliver(now, sender, &message, listener);
            }
            return Ok(());
        }
        if policy == AckPolicy::OnReceipt {
            receiver.push_ack(now, &ACK_FRAME);
            count(&mut self.stats.acks_sent);
        }
        let Some(sender) = &receiver.sender else {
            return Ok(());
        };
        let verdict = match self.deliver(now, sender, &message, listener) {
            Ok(verdict) => verdict,
            Err(refusal) => {
                let reason = BadInput::Interceptor(refusal);
                let verdict = match refusal.cost() {
                    Cost::Connection => return Err(reason.into()),
                    Cost::Answer => Verdict::Failed,
                    Cost::Nothing => Verdict::Processed,
                };
                self.bad_input(receiver.peer, reason);
                verdict
            }
        };
        if verdict == Verdict::Refused {
            return Err(BadInput::Refused.into());
        }
        receiver.unwanted |= verdict == Verdict::Unwanted && !self.config.receiver.trust_members;
        if policy == AckPolicy::OnProcessed {
            count(&mut self.stats.acks_sent);
            match verdict {
                Verdict::Processed | Verdict::Unwanted => receiver.push_ack(now, &ACK_FRAME),
                Verdict::Failed if planted(Bug::AckEarly) => receiver.push_ack(now, &ACK_FRAME),
                Verdict::Failed | Verdict::Refused => {
                    count(&mut self.stats.fail_acks_sent);
                    receiver.push_ack(now, &FAIL_ACK_FRAME);
                }
            }
        }
        Ok(())
    }

    /// One of ours has one connection at a time. What it gave up on an earlier one may still come out of a kernel's
    /// buffers, after newer messages: too late, and already reported as lost.
    ///
    /// What it has under way on a connection that we wind up it has not given up: that is taken first.
    fn supersede(&mut self, number: u64, sender: Option<MemberIndex>) -> Result<(), Stop> {
        let ours = self.config.sender.pipelining;
        let entry = sender.and_then(|index| self.members.get_mut(index));
        if let Some(entry) = entry.filter(|entry| ours && entry.ours) {
            match entry.ending_receiver {
                Some(ending) if number > ending => return Err(Stop::Hold),
                Some(ending) if number == ending => return Ok(()),
                _ => {}
            }
            if number < entry.newest_receiver && !planted(Bug::LateFramesTaken) {
                return Err(BadInput::Superseded.into());
            }
            entry.newest_receiver = number;
        }
        Ok(())
    }

    /// Makes `known` the sender that `address` describes.
    fn identify(
        &mut self,
        now: Instant,
        known: &mut Option<Sender>,
        address: &[u8],
    ) -> Result<(), BadInput> {
        match known {
            Some(sender) if same_but_alive(&sender.block, address) => {
                if sender.block != address {
                    let block = MemberBlock::read(address).map_err(BadInput::MemberBlock)?;
                    sender.member.alive_ms = block.alive_ms;
                    sender.block.clear();
                    sender.block.extend_from_slice(address);
                }
                let current = sender.index.and_then(|index| self.members.get_mut(index));
                match current {
                    // Somebody else may have said something in its name meanwhile.
                    Some(entry) => (entry.last_heard, entry.ours) = (now, sender.ours),
                    None => sender.index = self.meet(now, &sender.member),
                }
            }
            _ => {
                let block = MemberBlock::read(address).map_err(BadInput::MemberBlock)?;
                let member = Member::from(block);
                *known = Some(Sender {
                    block: address.to_vec(),
                    ours: self.config.sender.pipelining && is_ours(&member.payload),
                    index: self.meet(now, &member),
                    member,
                });
            }
        }
        Ok(())
    }

    /// Hands a message to whom it concerns.
    fn deliver<L: ChannelListener>(
        &mut self,
        now: Instant,
        sender: &Sender,
        message: &ChannelData<'_>,
        listener: &mut L,
    ) -> Result<Verdict, Refusal> {
        if self.other_domain(&sender.member.domain) {
            count(&mut self.stats.messages_other_domain);
            return Ok(Verdict::Processed);
        }
        if sender.member == self.local.member {
            count(&mut self.stats.messages_from_ourselves);
            return Ok(Verdict::Processed);
        }
        let fixed = matches!(self.config.membership, MembershipConfig::Static(_));
        match Control::classify(message.message) {
            Some(Control::TcpFailDetect | Control::TcpPing) => {
                count(&mut self.stats.probes_received);
                return Ok(Verdict::Processed);
            }
            Some(Control::MemberStart) if fixed => {
                self.static_started(now, sender.index);
                return Ok(Verdict::Processed);
            }
            Some(Control::MemberStop) if fixed => {
                self.static_stopped(now, sender.index);
                return Ok(Verdict::Processed);
            }
            _ => {}
        }
        if !self.stack.is_empty() {
            return self.climb(now, sender, message, listener);
        }
        if self.service.is_some()
            && self.service_message(now, sender.index, message.options, message.message)
        {
            return Ok(Verdict::Processed);
        }
        count(&mut self.stats.messages_received);
        let is_member = sender.index.is_some_and(|index| self.is_member(index));
        if !is_member {
            count(&mut self.stats.messages_from_strangers);
        }
        let verdict = listener.message_received(
            now,
            &Inbound {
                from: sender.index,
                is_member,
                sender: &sender.member,
                options: message.options,
                timestamp_ms: message.timestamp_ms,
                unique_id: message.unique_id,
                message: message.message,
            },
        );
        if verdict == Verdict::Failed {
            count(&mut self.stats.messages_failed);
        }
        Ok(verdict)
    }

    pub(super) fn datagram_received<L: ChannelListener>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        listener: &mut L,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        match DatagramContent::read(bytes) {
            Ok(DatagramContent::Heartbeat(block)) => self.heartbeat_received(now, &block),
            Ok(DatagramContent::Frames(frames)) => {
                for frame in frames {
                    let read = frame.map_err(BadInput::Frame);
                    let read = read
                        .and_then(|data| ChannelData::decode(data).map_err(BadInput::ChannelData));
                    let told = read.and_then(|message| {
                        let mut sender = None;
                        self.identify(now, &mut sender, message.address)?;
                        let Some(sender) = &sender else {
                            return Ok(());
                        };
                        let verdict = self
                            .deliver(now, sender, &message, listener)
                            .map_err(BadInput::Interceptor)?;
                        if verdict == Verdict::Refused {
                            return Err(BadInput::Refused);
                        }
                        self.answer_datagram(from, message.options, verdict);
                        if verdict == Verdict::Unwanted {
                            return Err(BadInput::Unwanted);
                        }
                        Ok(())
                    });
                    if let Err(reason) = told {
                        self.bad_input(from, reason);
                        return;
                    }
                }
            }
            Err(error) if bytes.starts_with(&crate::wire::member::BEGIN) => {
                self.bad_input(from, BadInput::MemberBlock(error));
            }
            Err(error) if bytes.starts_with(&crate::wire::frame::START) => {
                self.bad_input(from, BadInput::Frame(error));
            }
            Err(_) => self.bad_input(from, BadInput::Datagram),
        }
    }

    /// Answers a message that came to our UDP port, by a datagram; what came to the group is never answered.
    fn answer_datagram(&mut self, to: SocketAddr, options: SendOptions, verdict: Verdict) {
        let unicast = options.contains(SendOptions::UDP)
            && !options.contains(SendOptions::MULTICAST)
            && self.config.udp_port > 0;
        let answer = match (options.ack_policy(), verdict) {
            _ if !unicast => return,
            (AckPolicy::Never, _) => return,
            (AckPolicy::OnProcessed, Verdict::Failed | Verdict::Refused) => {
                Acknowledgement::FailAck
            }
            (AckPolicy::OnProcessed | AckPolicy::OnReceipt, _) => Acknowledgement::Ack,
        };
        if self.datagram(Target::Address(to), answer.frame()) {
            count(&mut self.stats.acks_sent);
            if answer == Acknowledgement::FailAck {
                count(&mut self.stats.fail_acks_sent);
            }
        }
    }

    /// Answers were written.
    pub(super) fn answers_written(&mut self, now: Instant, conn: ConnId, len: usize) {
        let Some(Conn::Receiver(receiver)) = self.conns.get_mut(conn) else {
            return;
        };
        let taken = receiver.acks_written(now, len);
        self.stats.bytes_sent = self.stats.bytes_sent.wrapping_add(taken as u64);
        let held = !receiver.held.is_empty();
        if receiver.paused && !held && receiver.waiting_acks().len() < UNREAD_ACKS_MAX / 2 {
            receiver.paused = false;
            self.outputs.push_back(Output::ResumeRead { conn });
        }
    }

    /// Looks for frames that never end and answers that nobody reads.
    pub(super) fn receivers_due(&mut self, now: Instant) {
        let patience = self.config.receiver.frame_timeout;
        let mut waiting = false;
        for slot in 0..self.conns.capacity() {
            let Some(conn) = self.conns.at(slot) else {
                continue;
            };
            let Some(Conn::Receiver(receiver)) = self.conns.get(conn) else {
                continue;
            };
            let slow = !receiver.partial.is_empty()
                && now.since(receiver.partial_since) > receiver.patience(patience);
            let ending = receiver.ending;
            let asks = ending.is_none() && !receiver.waiting_acks().is_empty();
            let unread = asks && now.since(receiver.acks_since) > patience;
            waiting |= !receiver.partial.is_empty() || asks || ending.is_some();
            let peer = receiver.peer;
            let over = ending.is_some_and(|at| at <= now || receiver.ends_in_silence(now));
            if over {
                self.close_receiver(conn);
            } else if slow || unread {
                self.close_receiver(conn);
                self.bad_input(
                    peer,
                    if slow {
                        BadInput::SlowFrame
                    } else {
                        BadInput::UnreadAcks
                    },
                );
            }
        }
        if waiting {
            self.timers.receivers = Some(now + RECEIVERS_EVERY);
        }
    }
}

impl Receiver {
    /// How long the frame that has begun may take.
    fn patience(&self, least: Duration) -> Duration {
        scaled(least, FLOOR_BYTES_PER_SECOND, self.partial_need as u64)
    }
}

/// Whether a message is another member's failure detector, which closes its connection as a matter of course.
fn is_check(message: &[u8]) -> bool {
    Control::classify(message) == Some(Control::TcpFailDetect)
}
