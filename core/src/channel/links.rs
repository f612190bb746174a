//! What becomes of the connections we open: `NioSender` and the retries of `ParallelNioSender`.

use alloc::vec::Vec;

use super::life::Timers;
use super::{BadInput, Channel, ChannelEvent, FaultCause, MemberIndex, count, push_event};
use crate::engine::{CloseReason, ConnId, Output};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::transport::lane::{Frame, Link, Reply, ReplyError, scaled};

/// Which frames of a lane are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GiveUp {
    /// So many.
    Count(usize),
    /// The first, and those behind it that have waited as long.
    Overdue(Instant),
}

impl Channel {
    pub(super) fn connected(&mut self, now: Instant, conn: ConnId) {
        match self.conns.get(conn) {
            Some(Conn::Lane(member, number)) => {
                let (member, number) = (*member, usize::from(*number));
                if let Some(entry) = self.members.get_mut(member)
                    && let Some(lane) = entry.lanes.get_mut(number)
                    && lane.link == Link::Connecting(conn)
                {
                    lane.link = Link::Open { conn, at: now };
                    self.poke(member, number);
                }
            }
            Some(Conn::Probe { .. }) => self.check_connected(now, conn),
            _ => {}
        }
    }

    /// `len` bytes were taken by the socket. See [`Engine::transmitted`](crate::engine::Engine::transmitted).
    pub fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        match self.conns.get_mut(conn) {
            Some(Conn::Lane(member, number)) => {
                let (member, number) = (*member, usize::from(*number));
                self.lane_written(now, member, number, len);
            }
            Some(Conn::Receiver(_)) => self.answers_written(now, conn, len),
            Some(Conn::Probe { frame, sent, .. }) => {
                *sent = sent.saturating_add(len).min(frame.len());
                if planted(Bug::ConnectionLeaked) {
                    return;
                }
                if *sent == frame.len() && !frame.is_empty() {
                    self.conns.remove(conn, Vec::new());
                    self.outputs.push_back(Output::Close { conn });
                }
            }
            Some(Conn::Datagram(_)) => {
                self.conns.remove(conn, Vec::new());
                self.datagrams = self.datagrams.saturating_sub(1);
                self.proceed_stopping(now);
            }
            Some(Conn::Free(last)) => {
                last.drain(..len.min(last.len()));
            }
            Some(Conn::Busy) | None => {}
        }
    }

    fn lane_written(&mut self, now: Instant, member: MemberIndex, number: usize, len: usize) {
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        let Some(lane) = entry.lanes.get_mut(number) else {
            return;
        };
        let (taken, released) = lane.transmitted(now, &mut self.pool, len);
        let idle = lane.is_idle();
        self.stats.bytes_sent = self.stats.bytes_sent.wrapping_add(taken);
        self.released(now, member, released);
        if idle {
            self.lane_idle(now, member, number);
        }
    }

    /// Bytes have left a member's queue.
    fn released(&mut self, now: Instant, member: MemberIndex, bytes: usize) {
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        entry.queued = entry.queued.saturating_sub(bytes);
        let empty = entry.queued == 0;
        if entry.was_full && entry.queued <= self.config.limits.queue_bytes_max / 2 {
            entry.was_full = false;
            self.event(ChannelEvent::QueueReady(member));
        }
        if empty {
            self.proceed_stopping(now);
        }
    }

    /// Answers on a connection of ours.
    pub(super) fn replies(
        &mut self,
        now: Instant,
        conn: ConnId,
        member: MemberIndex,
        number: usize,
        bytes: &[u8],
    ) {
        let Self {
            members,
            pool,
            sends,
            events,
            stats,
            config,
            stack,
            ..
        } = self;
        let events_max = config.limits.events_max;
        let throw = config.sender.throw_on_failed_ack;
        let retry = throw && !stack.refuses_repeats();
        let Some(entry) = members.get_mut(member) else {
            return;
        };
        let Some(lane) = entry.lanes.get_mut(number) else {
            return;
        };
        entry.last_heard = now;
        let mut released = 0usize;
        let mut failed = false;
        let result = lane.received(now, pool, bytes, retry, |reply, bytes| {
            released = released.saturating_add(bytes);
            let (frame, fault) = match reply {
                Reply::Acknowledged(frame) => {
                    count(&mut stats.acks_received);
                    (frame, None)
                }
                Reply::Refused(frame) => {
                    count(&mut stats.fail_acks_received);
                    (frame, throw.then_some(FaultCause::RemoteProcess))
                }
                Reply::Failed => {
                    count(&mut stats.fail_acks_received);
                    failed = true;
                    return false;
                }
                Reply::Ignored => return true,
            };
            if frame.send.is_none() {
                if let Some(cause) = fault {
                    count(&mut stats.frames_lost);
                    let lost = ChannelEvent::Lost {
                        member,
                        messages: 1,
                        cause,
                    };
                    push_event(events, stats, events_max, lost);
                }
                return true;
            }
            if fault.is_some() {
                count(&mut stats.faults);
            }
            if let Some((id, faulty)) = sends.settle(frame.send, fault.map(|cause| (member, cause)))
            {
                if planted(Bug::SettledTwice) {
                    let faulty = faulty.clone();
                    push_event(events, stats, events_max, ChannelEvent::Sent { id, faulty });
                }
                push_event(events, stats, events_max, ChannelEvent::Sent { id, faulty });
            }
            true
        });
        let idle = lane.is_idle();
        self.released(now, member, released);
        if failed {
            self.lane_failed(now, member, number);
        } else if let Err(error) = result {
            if let Some(from) = self.member(member).and_then(super::Member::socket_addr) {
                let reason = match error {
                    ReplyError::Bad(error) => BadInput::Reply(error),
                    ReplyError::Unexpected => BadInput::UnexpectedReply,
                };
                self.bad_input(from, reason);
            }
            self.abort_lane(conn);
            self.lane_lost(now, member, number, FaultCause::ConnectionLost);
        } else if idle {
            self.lane_idle(now, member, number);
        } else {
            self.poke(member, number);
        }
    }

    /// The first frame was answered with FAIL_ACK and may be tried again: on a new connection, as Tribes does.
    fn lane_failed(&mut self, now: Instant, member: MemberIndex, number: usize) {
        let retries = self.config.sender.max_retry_attempts;
        let Some(lane) = self
            .members
            .get_mut(member)
            .and_then(|entry| entry.lanes.get_mut(number))
        else {
            return;
        };
        let conn = lane.link.conn();
        lane.attempts = lane.attempts.saturating_add(1);
        let give_up = lane.attempts > retries;
        if give_up {
            lane.attempts = 0;
        } else {
            count(&mut self.stats.resends);
        }
        lane.disconnected();
        if let Some(conn) = conn {
            self.close_lane(conn);
        }
        if give_up {
            self.give_up(
                now,
                member,
                number,
                GiveUp::Count(1),
                FaultCause::RemoteProcess,
            );
        }
        self.poke(member, number);
    }

    /// Ends a connection of ours on which something may be under way.
    fn abort_lane(&mut self, conn: ConnId) {
        if self.conns.remove(conn, Vec::new()).is_some() {
            self.outputs.push_back(match planted(Bug::LateFramesTaken) {
                true => Output::Close { conn },
                false => Output::Abort { conn },
            });
        }
    }

    /// Ends a connection of ours on which nothing is under way.
    pub(super) fn close_lane(&mut self, conn: ConnId) {
        if self.conns.remove(conn, Vec::new()).is_some() {
            self.outputs.push_back(Output::Close { conn });
        }
    }

    /// A connection is gone. See [`Input::Closed`](crate::engine::Input::Closed).
    pub(super) fn closed(&mut self, now: Instant, conn: ConnId, reason: CloseReason) {
        let Some(kind) = self.conns.remove(conn, Vec::new()) else {
            return;
        };
        match kind {
            Conn::Receiver(receiver) => {
                self.forget_receiver(&receiver);
                // The sender closes none while it lives, as a rule, unless we have ended it; a check tells.
                if receiver.messages
                    && receiver.ending.is_none()
                    && let Some(member) = receiver.sender.and_then(|sender| sender.index)
                {
                    self.suspect(now, member);
                }
            }
            Conn::Lane(member, number) => {
                let number = usize::from(number);
                let lane = self
                    .members
                    .get(member)
                    .and_then(|entry| entry.lanes.get(number));
                let open = lane.is_some_and(|lane| matches!(lane.link, Link::Open { .. }));
                let cause = match reason {
                    _ if open => FaultCause::ConnectionLost,
                    CloseReason::Refused => FaultCause::Refused,
                    _ => FaultCause::Unreachable,
                };
                self.lane_lost(now, member, number, cause);
            }
            Conn::Probe { member, .. } => self.check_closed(now, conn, member),
            Conn::Datagram(_) => self.datagrams = self.datagrams.saturating_sub(1),
            Conn::Free(_) | Conn::Busy => {}
        }
    }

    /// The connection of a lane is gone: what it did not get done is written again on a new one, or given up.
    fn lane_lost(&mut self, now: Instant, member: MemberIndex, number: usize, cause: FaultCause) {
        let retries = self.config.sender.max_retry_attempts;
        let Some(lane) = self
            .members
            .get_mut(member)
            .and_then(|entry| entry.lanes.get_mut(number))
        else {
            return;
        };
        let waiting = lane.frames();
        let started = lane.started().max(1);
        // Before anything else: giving up may lead to a next message on this lane, which must not use the old connection.
        lane.disconnected();
        if waiting > 0 {
            lane.attempts = lane.attempts.saturating_add(1);
            if lane.attempts > retries {
                lane.attempts = 0;
                let which = match cause {
                    FaultCause::ConnectionLost => GiveUp::Count(started),
                    // Where nobody listens the others would only meet the same.
                    _ => GiveUp::Count(waiting),
                };
                self.give_up(now, member, number, which, cause);
            } else {
                count(&mut self.stats.resends);
            }
        }
        self.suspect(now, member);
        self.poke(member, number);
    }

    /// Looks for lanes on which nothing has got done for too long.
    pub(super) fn lanes_due(&mut self, now: Instant) {
        let sender = self.config.sender;
        for slot in 0..self.members.capacity() {
            let Some(entry) = self.members.at(slot) else {
                continue;
            };
            let (member, lanes) = (entry.index, entry.lanes.len());
            for number in 0..lanes {
                let lane = self
                    .members
                    .get_mut(member)
                    .and_then(|entry| entry.lanes.get_mut(number));
                let Some(lane) = lane else { break };
                let Some(deadline) = lane.deadline(sender.timeout, sender.floor_bytes_per_second)
                else {
                    continue;
                };
                if deadline > now {
                    if planted(Bug::TimerLost) && lane.attempts > 0 {
                        continue;
                    }
                    Timers::not_after(&mut self.timers.lanes, deadline);
                    continue;
                }
                let conn = lane.link.conn();
                lane.disconnected();
                lane.attempts = 0;
                lane.progress_at = now;
                if let Some(conn) = conn {
                    self.abort_lane(conn);
                }
                self.give_up(
                    now,
                    member,
                    number,
                    GiveUp::Overdue(now),
                    FaultCause::TimedOut,
                );
                self.suspect(now, member);
                self.poke(member, number);
            }
        }
    }

    /// Takes frames off the front of a lane and says that they failed.
    fn give_up(
        &mut self,
        now: Instant,
        member: MemberIndex,
        number: usize,
        which: GiveUp,
        cause: FaultCause,
    ) {
        let sender = self.config.sender;
        let mut released = 0usize;
        let mut lost = 0u64;
        let mut taken = 0usize;
        while let Some(lane) = self
            .members
            .get_mut(member)
            .and_then(|entry| entry.lanes.get_mut(number))
        {
            let Some(head) = lane.head() else { break };
            let more = match which {
                GiveUp::Count(count) => taken < count,
                GiveUp::Overdue(_) if taken == 0 => true,
                GiveUp::Overdue(now) => {
                    let patience = scaled(
                        sender.timeout,
                        sender.floor_bytes_per_second,
                        lane.head_len(),
                    );
                    head.queued_at + patience <= now
                }
            };
            if !more {
                break;
            }
            taken = taken.saturating_add(1);
            lane.progress_at = now;
            let Some((frame, bytes)) = lane.pop_head(&mut self.pool) else {
                break;
            };
            released = released.saturating_add(bytes);
            if frame.send.is_none() {
                lost = lost.saturating_add(1);
            } else {
                self.fault(frame, member, cause);
            }
        }
        self.lost(member, lost, cause);
        if planted(Bug::QueueLeaked) {
            released = 0;
        }
        self.released(now, member, released);
    }

    /// Somebody waits for `frame` in vain.
    fn fault(&mut self, frame: Frame, member: MemberIndex, cause: FaultCause) {
        count(&mut self.stats.faults);
        let fault = (!planted(Bug::FaultUnsaid)).then_some((member, cause));
        if let Some((id, faulty)) = self.sends.settle(frame.send, fault) {
            self.event(ChannelEvent::Sent { id, faulty });
        }
    }

    /// `messages` frames that nobody waits for were not handed over.
    fn lost(&mut self, member: MemberIndex, messages: u64, cause: FaultCause) {
        if messages > 0 {
            self.stats.frames_lost = self.stats.frames_lost.wrapping_add(messages);
            self.event(ChannelEvent::Lost {
                member,
                messages,
                cause,
            });
        }
    }

    /// Fails everything queued to a member and closes its connections.
    pub(super) fn drop_lanes(&mut self, member: MemberIndex, cause: FaultCause) {
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        let mut lanes = core::mem::take(&mut entry.lanes);
        entry.queued = 0;
        entry.was_full = false;
        let mut lost = 0u64;
        for lane in &mut lanes {
            while let Some((frame, _)) = lane.pop_head(&mut self.pool) {
                if frame.send.is_none() {
                    lost = lost.saturating_add(1);
                } else {
                    self.fault(frame, member, cause);
                }
            }
            if let Some(conn) = lane.link.conn() {
                self.abort_lane(conn);
            }
        }
        self.lost(member, lost, cause);
    }

    /// The same for all members.
    pub(super) fn fail_everything(&mut self, cause: FaultCause) {
        let busy: Vec<_> = self
            .members
            .entries()
            .filter(|entry| entry.queued > 0)
            .map(|entry| entry.index)
            .collect();
        for member in busy {
            self.drop_lanes(member, cause);
        }
    }

    /// A lane has nothing left to do: is its connection to be kept?
    fn lane_idle(&mut self, now: Instant, member: MemberIndex, number: usize) {
        let sender = &self.config.sender;
        if sender.keep_alive_count < 0 && sender.keep_alive_time < 0 {
            return;
        }
        let (count, time) = (sender.keep_alive_count, sender.keep_alive_time);
        let Some(lane) = self
            .members
            .get_mut(member)
            .and_then(|entry| entry.lanes.get_mut(number))
        else {
            return;
        };
        let Link::Open { conn, at } = lane.link else {
            return;
        };
        let age = i64::try_from(now.since(at).as_millis()).unwrap_or(i64::MAX);
        let worn = count >= 0 && lane.requests > count;
        let old = time >= 0 && age > time;
        if lane.is_idle() && (worn || old) {
            lane.disconnected();
            self.close_lane(conn);
        }
    }

    /// The keep-alive check of all idle connections, with the channel's heartbeat.
    pub(super) fn close_kept_alive(&mut self, now: Instant) {
        if self.config.sender.keep_alive_time < 0 {
            return;
        }
        let lanes: Vec<(MemberIndex, usize)> = self
            .members
            .entries()
            .flat_map(|entry| (0..entry.lanes.len()).map(|number| (entry.index, number)))
            .collect();
        for (member, number) in lanes {
            self.lane_idle(now, member, number);
        }
    }
}
