//! `OrderInterceptor`: messages of one member in the order in which it sent them.
//!
//! Every message to a member ends with its number (4 bytes), from 1. What comes too early waits.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::message::{Down, Flow, Inward, Kept, Outbound, Up, add};
use super::{InterceptorError, Refusal, ok_to_process};
use crate::channel::MemberIndex;
use crate::plant::{Bug, planted};
use crate::time::Instant;

/// Bytes of a number.
pub(crate) const NUMBER: usize = 4;

/// Hands messages on in the order of sending. Repeats and late ones are handed on as well, as in Tomcat.
///
/// Unlike Tomcat's, ours lets a message that waits behind a gap go on when its time is over, not only when the
/// next one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderInterceptor {
    /// Only messages with all of these option bits are numbered; 0 (the default) means all.
    pub option_flag: u32,
    /// How long a message waits for one before it; default 3 s.
    pub expire: Duration,
    /// Whether a message that has waited too long is handed on; default true. Else it is dropped.
    pub forward_expired: bool,
    /// So many messages of one member make all of them go on; default 2³¹−1. They also do when they take more than
    /// `limits.queue_bytes_max`.
    pub max_queue: usize,
}

impl Default for OrderInterceptor {
    fn default() -> Self {
        Self {
            option_flag: 0,
            expire: Duration::from_secs(3),
            forward_expired: true,
            max_queue: i32::MAX as usize,
        }
    }
}

impl OrderInterceptor {
    pub(crate) fn validate(&self) -> Result<(), InterceptorError> {
        if self.expire < Duration::from_millis(1) {
            return Err(InterceptorError::OutOfRange("expire", "1 ms or more"));
        }
        if self.max_queue == 0 {
            return Err(InterceptorError::OutOfRange("maxQueue", "1 or more"));
        }
        Ok(())
    }
}

/// Messages of one member.
#[derive(Debug)]
struct Queue {
    member: MemberIndex,
    /// The number of the last one sent to it.
    sent: i32,
    /// The number whose turn it is.
    expected: i32,
    /// What waits, by how far it is ahead of `base`.
    waiting: BTreeMap<u32, Kept>,
    /// What keys are relative to, so that numbers may pass 2³¹−1.
    base: i32,
    /// What they cost.
    cost: usize,
    /// Not after the first of them has waited too long.
    due: Option<Instant>,
}

impl Queue {
    const fn new(member: MemberIndex) -> Self {
        Self {
            member,
            sent: 0,
            expected: 1,
            waiting: BTreeMap::new(),
            base: 1,
            cost: 0,
            due: None,
        }
    }

    fn first(&self) -> Option<(i32, &Kept)> {
        let (key, kept) = self.waiting.first_key_value()?;
        Some((self.base.wrapping_add_unsigned(*key), kept))
    }

    fn pop(&mut self) -> Option<Kept> {
        let (_, kept) = self.waiting.pop_first()?;
        self.cost = self.cost.saturating_sub(kept.cost());
        Some(kept)
    }

    /// Lets go what has its turn.
    fn advance(&mut self, up: &mut Up<'_>) {
        while let Some((number, _)) = self.first()
            && number.wrapping_sub(self.expected) <= 0
        {
            if number == self.expected {
                self.expected = self.expected.wrapping_add(1);
            }
            if let Some(kept) = self.pop() {
                add(&mut up.stats.order.in_order, 1);
                up.release(kept);
            }
        }
        if self.waiting.is_empty() {
            self.base = self.expected;
            self.due = None;
        }
    }

    /// Lets go, or drops, everything up to the last message for which `over` holds.
    fn give_up(&mut self, up: &mut Up<'_>, forward: bool, over: impl Fn(&Kept) -> bool) {
        let last = self
            .waiting
            .iter()
            .rev()
            .find(|(_, kept)| over(kept))
            .map(|(key, _)| *key);
        let Some(last) = last else { return };
        while let Some(first) = self.waiting.first_key_value().map(|(key, _)| *key)
            && first <= last
        {
            self.expected = self.base.wrapping_add_unsigned(first).wrapping_add(1);
            let Some(kept) = self.pop() else { break };
            let stats = &mut up.stats.order;
            // What was not over itself has merely lost those before it.
            if (forward && !planted(Bug::HeldBackDropped)) || !over(&kept) {
                add(&mut stats.forwarded_expired, 1);
                up.release(kept);
            } else {
                add(&mut stats.dropped_expired, 1);
            }
        }
        self.advance(up);
    }
}

/// The layer at work.
#[derive(Debug)]
pub(crate) struct Order {
    config: OrderInterceptor,
    /// What may wait for one member, in bytes.
    bytes_max: usize,
    queues: Vec<Queue>,
}

impl Order {
    pub(crate) const fn new(config: OrderInterceptor, bytes_max: usize) -> Self {
        Self {
            config,
            bytes_max,
            queues: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        self.queues.clear();
    }

    /// The queue of a member. There are as many as members are known, which the table bounds.
    fn queue(&mut self, member: MemberIndex) -> Option<&mut Queue> {
        let at = match self.queues.iter().position(|queue| queue.member == member) {
            Some(at) => at,
            None => {
                self.queues.push(Queue::new(member));
                self.queues.len().saturating_sub(1)
            }
        };
        self.queues.get_mut(at)
    }

    pub(crate) fn send(&mut self, down: &mut Down<'_>, message: Outbound, out: &mut Vec<Outbound>) {
        if !ok_to_process(self.config.option_flag, message.options) {
            out.push(message);
            return;
        }
        let only = message.to;
        let targets = match &only {
            Some(target) => core::slice::from_ref(target),
            None => down.targets,
        };
        for target in targets {
            let Some(queue) = self.queue(*target) else {
                continue;
            };
            queue.sent = queue.sent.wrapping_add(1);
            let mut body = Vec::with_capacity(message.body.len().saturating_add(NUMBER));
            body.extend_from_slice(&message.body);
            body.extend_from_slice(&queue.sent.to_be_bytes());
            add(&mut down.stats.order.numbered, 1);
            out.push(Outbound {
                body: body.into(),
                to: Some(*target),
                ..message.clone()
            });
        }
    }

    pub(crate) fn receive<'a>(
        &mut self,
        up: &mut Up<'_>,
        mut message: Inward<'a>,
    ) -> Result<Flow<'a>, Refusal> {
        if !ok_to_process(self.config.option_flag, message.options) {
            return Ok(Flow::Pass(message));
        }
        let (rest, number) = message
            .body
            .as_slice()
            .split_last_chunk::<NUMBER>()
            .ok_or(Refusal::MalformedOrder)?;
        let (len, number) = (rest.len(), i32::from_be_bytes(*number));
        message.body = message.body.truncated(len);
        let (config, bytes_max) = (self.config, self.bytes_max);
        // A stranger for whom the table had no room has nobody to wait for.
        let queue = message.from.and_then(|member| self.queue(member));
        let Some(queue) = queue else {
            return Ok(Flow::Pass(message));
        };
        let ahead = number.wrapping_sub(queue.expected);
        if ahead <= 0 {
            if ahead == 0 {
                queue.expected = queue.expected.wrapping_add(1);
                add(&mut up.stats.order.in_order, 1);
            } else {
                add(&mut up.stats.order.late, 1);
            }
            // Those behind it follow when it has been handed on.
            queue.advance(up);
            return Ok(Flow::Pass(message));
        }
        let key = number.wrapping_sub(queue.base).cast_unsigned();
        if let Some(other) = queue.waiting.get(&key) {
            // The same once more, after a lost connection; or its sender has missed us and counts anew, and what waits is
            // older than this.
            if other.unique_id != message.unique_id.as_slice() {
                let kept = message.keep(up.now);
                add(&mut up.stats.order.conflicting, 1);
                queue.give_up(up, true, |_| true);
                up.release(kept);
            }
            return Ok(Flow::Stop);
        }
        if planted(Bug::OrderIgnored) {
            return Ok(Flow::Pass(message));
        }
        let kept = message.keep(up.now);
        queue.cost = queue.cost.saturating_add(kept.cost());
        queue.waiting.insert(key, kept);
        queue.due.get_or_insert(up.now + config.expire);
        add(&mut up.stats.order.held, 1);
        if queue.waiting.len() >= config.max_queue || queue.cost > bytes_max {
            queue.give_up(up, config.forward_expired, |_| true);
        }
        Ok(Flow::Stop)
    }

    /// Lets go what has waited too long.
    pub(crate) fn expire(&mut self, up: &mut Up<'_>) {
        let (now, expire) = (up.now, self.config.expire);
        let due = |queue: &&mut Queue| queue.due.is_some_and(|due| due <= now);
        for queue in self.queues.iter_mut().filter(due) {
            queue.give_up(up, self.config.forward_expired, |kept| {
                kept.since + expire <= now
            });
            let waiting = queue.waiting.values();
            queue.due = waiting.map(|kept| kept.since + expire).min();
        }
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.queues.iter().map(|queue| queue.waiting.len());
        waiting.fold(0, usize::saturating_add)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.due).min()
    }

    /// Nothing more comes from this member: what waits for it goes on, and both numbers begin anew.
    pub(crate) fn member_gone(&mut self, member: MemberIndex, up: &mut Up<'_>) {
        let Some(at) = self.queues.iter().position(|queue| queue.member == member) else {
            return;
        };
        let mut queue = self.queues.remove(at);
        while let Some(kept) = queue.pop() {
            add(&mut up.stats.order.forwarded_gone, 1);
            up.release(kept);
        }
    }
}
