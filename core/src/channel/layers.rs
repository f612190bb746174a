//! Messages on their way through the interceptors. `ChannelInterceptorBase.sendMessage` and `messageReceived`.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::life::Timers;
use super::send::{Body, COPY_SHARED_MAX, Outgoing};
use super::{
    Channel, ChannelEvent, ChannelListener, FaultCause, Inbound, Lane, MemberIndex,
    MembershipConfig, SendError, SendOptions, To, UniqueId, Verdict, count,
};
use crate::engine::Target;
use crate::interceptor::Refusal;
use crate::interceptor::message::{self, Down, Inward, Outbound};
use crate::interceptor::stack::Climb;
use crate::time::Instant;
use crate::transport::receiver::Sender;
use crate::transport::sends::SendKey;
use crate::wire::ChannelData;
use crate::wire::frame::{END, OVERHEAD};

/// Messages of layers that follow one when all destinations have it.
#[derive(Debug)]
pub(super) struct Commit {
    id: UniqueId,
    lane: Lane,
    targets: Vec<MemberIndex>,
    /// Each with the layer that wants it sent.
    messages: Vec<(usize, Outbound)>,
}

impl Channel {
    /// [`Channel::send`] with interceptors.
    pub(super) fn send_through_layers(
        &mut self,
        now: Instant,
        to: To<'_>,
        options: SendOptions,
        lane: Lane,
        body: Body<'_>,
    ) -> Result<UniqueId, SendError> {
        let len = body.as_slice().len();
        let overhead = self.local.template.header().len().saturating_add(END.len());
        let max = self
            .config
            .limits
            .message_bytes_max
            .saturating_sub(overhead.saturating_sub(OVERHEAD));
        let grown = self.stack.grown(len);
        if grown.bytes > max {
            // What can be told is by how much this one is too long.
            let growth = grown.bytes.saturating_sub(len);
            let max = max.saturating_sub(growth);
            return Err(SendError::TooLong { len, max });
        }
        let multicast = options.contains(SendOptions::MULTICAST);
        if options.contains(SendOptions::UDP) {
            return Err(SendError::Udp);
        }
        if multicast
            && (self.stack.is_per_destination()
                || !matches!(self.config.membership, MembershipConfig::Multicast(_)))
        {
            return Err(SendError::NoMulticast);
        }
        let mut targets = mem::take(&mut self.targets);
        if !multicast {
            // Before any layer counts or numbers anything: it happens to all or to none.
            let wanted = grown.messages.saturating_mul(overhead);
            let wanted = wanted.saturating_add(grown.bytes);
            if let Err(error) = self.choose(to, wanted, &mut targets) {
                self.targets = targets;
                return Err(error);
            }
        }
        let id = UniqueId::random(&mut self.rng);
        let mut batch = Vec::new();
        batch.push(Outbound {
            options,
            timestamp_ms: self.clock.unix_ms(now),
            id,
            body: match body {
                Body::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                Body::Shared(bytes) => bytes,
            },
            to: None,
        });
        let mut later = Vec::new();
        let mut down = Down {
            targets: &targets,
            rng: &mut self.rng,
            stats: &mut self.stats.interceptors,
            layer: 0,
            later: &mut later,
        };
        self.stack.send(&mut down, 0, &mut batch);
        let result = match multicast {
            true => self.broadcast_batch(id, options, &batch),
            false => {
                // What confirms a message must not overtake it.
                let lane = match lane {
                    Lane::Any if self.stack.confirms() => ordered_by(&id),
                    lane => lane,
                };
                count(&mut self.stats.messages_sent);
                let send = self.enqueue_batch(now, id, lane, &batch, &targets);
                if !later.is_empty() {
                    self.sends.watch(send);
                    self.commits.push(Commit {
                        id,
                        lane,
                        targets: targets.clone(),
                        messages: later,
                    });
                }
                Ok(id)
            }
        };
        self.targets = targets;
        self.report_throughput();
        result
    }

    /// Puts what the layers have made of one message on the lanes.
    fn enqueue_batch(
        &mut self,
        now: Instant,
        id: UniqueId,
        lane: Lane,
        batch: &[Outbound],
        targets: &[MemberIndex],
    ) -> SendKey {
        fn recipients<'a>(message: &'a Outbound, targets: &'a [MemberIndex]) -> &'a [MemberIndex] {
            match &message.to {
                Some(target) => core::slice::from_ref(target),
                None => targets,
            }
        }
        let overhead = self.local.template.header().len().saturating_add(END.len());
        let frames = batch
            .iter()
            .map(|message| recipients(message, targets).len())
            .sum();
        let acknowledged = batch
            .first()
            .is_some_and(|message| message.options.contains(SendOptions::USE_ACK));
        let send = match acknowledged {
            true => self.sends.open(id, frames),
            false => SendKey::NONE,
        };
        // Pieces of one message to a member follow each other: a Tomcat takes those of several connections side by side.
        let lane = match lane {
            Lane::Any if acknowledged && frames > targets.len() => ordered_by(&id),
            lane => lane,
        };
        for message in batch {
            let len = message.body.len();
            let mut outgoing = Outgoing {
                options: message.options,
                timestamp_ms: message.timestamp_ms,
                id: message.id,
                body: &message.body,
                shared: (len > COPY_SHARED_MAX).then(|| message.body.clone()),
                frame_len: overhead.saturating_add(len),
                send,
            };
            self.local
                .template
                .fill(message.options, message.timestamp_ms, &message.id, len);
            let mut header = None;
            for target in recipients(message, targets) {
                self.enqueue(now, *target, lane, &mut outgoing, &mut header);
            }
        }
        send
    }

    /// Confirms what all destinations have, and forgets what they have not.
    pub(super) fn confirm(&mut self, now: Instant) {
        for (id, mut faulty) in mem::take(&mut self.sends.watched) {
            let Some(at) = self.commits.iter().position(|commit| commit.id == id) else {
                continue;
            };
            let commit = self.commits.swap_remove(at);
            if !faulty.is_empty() {
                count(&mut self.stats.interceptors.two_phase_commit.not_confirmed);
                // No listener will see it, also where it was acknowledged.
                for target in commit.targets {
                    if !faulty.iter().any(|(member, _)| *member == target) {
                        faulty.push((target, FaultCause::NotConfirmed));
                    }
                }
                self.event(ChannelEvent::Sent { id, faulty });
                continue;
            }
            let (here, gone): (Vec<_>, Vec<_>) = commit
                .targets
                .iter()
                .partition(|target| self.members.get(**target).is_some());
            let faulty = gone
                .into_iter()
                .map(|member| (member, FaultCause::Disappeared));
            let faulty: Vec<_> = faulty.collect();
            if here.is_empty() {
                self.event(ChannelEvent::Sent { id, faulty });
                continue;
            }
            // One for all destinations, or one for each: all of one layer, and one message to its sender.
            let layer = commit.messages.first().map_or(0, |(layer, _)| *layer);
            let messages = commit.messages.into_iter().map(|(_, message)| message);
            let mut batch: Vec<Outbound> = messages
                .filter(|message| message.to.is_none_or(|to| here.contains(&to)))
                .collect();
            let mut down = Down {
                targets: &here,
                rng: &mut self.rng,
                stats: &mut self.stats.interceptors,
                layer,
                later: &mut Vec::new(),
            };
            self.stack
                .send(&mut down, layer.saturating_add(1), &mut batch);
            count(&mut self.stats.interceptors.two_phase_commit.confirmations_sent);
            // Its answers are the outcome of the message that it confirms.
            let send = self.enqueue_batch(now, id, commit.lane, &batch, &here);
            self.sends.add_faults(send, &faulty);
        }
    }

    /// The channel stops: what is not confirmed never will be.
    pub(super) fn give_up_confirming(&mut self) {
        let commits = mem::take(&mut self.commits);
        for (id, mut faulty) in mem::take(&mut self.sends.watched) {
            let commit = commits.iter().find(|commit| commit.id == id);
            for target in commit.map_or(&[][..], |commit| &commit.targets) {
                if !faulty.iter().any(|(member, _)| member == target) {
                    faulty.push((*target, FaultCause::Stopped));
                }
            }
            self.event(ChannelEvent::Sent { id, faulty });
        }
    }

    /// The same as datagrams to the group.
    fn broadcast_batch(
        &mut self,
        id: UniqueId,
        options: SendOptions,
        batch: &[Outbound],
    ) -> Result<UniqueId, SendError> {
        for message in batch {
            self.check_datagram(message.body.len())?;
        }
        for message in batch {
            let template = &mut self.local.template;
            let len = message.body.len();
            template.fill(message.options, message.timestamp_ms, &message.id, len);
            let frame = [template.header(), &message.body, &END].concat();
            self.datagram(Target::Group, &frame);
        }
        self.broadcast_done(id, options);
        Ok(id)
    }

    /// A message from below the layers, on its way to the listener.
    pub(super) fn climb<L: ChannelListener>(
        &mut self,
        now: Instant,
        sender: &Sender,
        message: &ChannelData<'_>,
        listener: &mut L,
    ) -> Result<Verdict, Refusal> {
        let inward = Inward {
            from: sender.index,
            sender: &sender.member,
            options: message.options,
            timestamp_ms: message.timestamp_ms,
            unique_id: message::Body::Borrowed(message.unique_id),
            body: message::Body::Borrowed(message.message),
        };
        let below = self.stack.len();
        let verdict = self.climb_from(now, below, inward, listener);
        self.climb_released(now, listener);
        self.arm_layers();
        self.report_throughput();
        verdict
    }

    /// What layers have let go, until nothing is left.
    fn climb_released<L: ChannelListener>(&mut self, now: Instant, listener: &mut L) {
        while let Some((layer, mut kept)) = self.stack.released.pop_front() {
            // Who has left meanwhile cannot be answered.
            kept.from = kept
                .from
                .filter(|member| self.members.get(*member).is_some());
            let sender = kept.sender.socket_addr();
            // Its sender has had its answer long ago.
            if let Err(refusal) = self.climb_from(now, layer, kept.inward(), listener)
                && let Some(from) = sender
            {
                self.bad_input(from, super::BadInput::Interceptor(refusal));
            }
        }
    }

    fn climb_from<L: ChannelListener>(
        &mut self,
        now: Instant,
        below: usize,
        inward: Inward<'_>,
        listener: &mut L,
    ) -> Result<Verdict, Refusal> {
        let up = Climb {
            now,
            unix_ms: self.clock.unix_ms(now),
            limits: &self.config.limits,
            stats: &mut self.stats.interceptors,
        };
        let Some(inward) = self.stack.receive(up, below, inward)? else {
            return Ok(Verdict::Processed);
        };
        let message = inward.body.as_slice();
        if self.service.is_some() && self.service_message(now, inward.from, inward.options, message)
        {
            return Ok(Verdict::Processed);
        }
        count(&mut self.stats.messages_received);
        let is_member = inward.from.is_some_and(|index| self.is_member(index));
        if !is_member {
            count(&mut self.stats.messages_from_strangers);
        }
        let verdict = listener.message_received(
            now,
            &Inbound {
                from: inward.from,
                is_member,
                sender: inward.sender,
                options: inward.options,
                timestamp_ms: inward.timestamp_ms,
                unique_id: inward.unique_id.as_slice(),
                message: inward.body.as_slice(),
            },
        );
        if verdict == Verdict::Failed {
            count(&mut self.stats.messages_failed);
            self.stack.failed(below);
        }
        Ok(verdict)
    }

    /// Something has waited too long in a layer, or its member has left.
    pub(super) fn layers_due<L: ChannelListener>(&mut self, now: Instant, listener: &mut L) {
        self.stack.expire(Climb {
            now,
            unix_ms: self.clock.unix_ms(now),
            limits: &self.config.limits,
            stats: &mut self.stats.interceptors,
        });
        self.climb_released(now, listener);
        self.arm_layers();
    }

    /// A member has left the table: nothing waits for it any more.
    pub(super) fn leave_layers(&mut self, member: MemberIndex) {
        if self.stack.is_empty() {
            return;
        }
        self.stack.member_gone(
            Climb {
                now: Instant::ZERO,
                unix_ms: 0,
                limits: &self.config.limits,
                stats: &mut self.stats.interceptors,
            },
            member,
        );
        // Only where there is a listener can it go on.
        if let Some(at) = self.stack.poll_timeout() {
            Timers::not_after(&mut self.timers.layers, at);
        }
    }

    fn arm_layers(&mut self) {
        self.timers.layers = self.stack.poll_timeout();
    }

    fn report_throughput(&mut self) {
        if self.stack.take_report() {
            self.event(ChannelEvent::Throughput(self.stats.interceptors.throughput));
        }
    }
}

/// The lane of all frames that belong to one message.
fn ordered_by(id: &UniqueId) -> Lane {
    let (key, _) = id.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    Lane::Ordered(u64::from_be_bytes(*key))
}
