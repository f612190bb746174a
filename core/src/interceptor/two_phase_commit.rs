//! `TwoPhaseCommitInterceptor`: messages that count when their sender confirms them.
//!
//! The confirmation is a message of its own:
//!
//! | bytes | content |
//! |---|---|
//! | 16 | `71 01 c6 02 de c4 4b b2 9b f4 20 e3 20 6f d8 04` |
//! | 16 | unique id of the message |
//! | 16 | `36 f3 5a 6e 2f e1 4b e8 af e3 24 34 c6 4d 92 38` |

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::message::{Body, Down, Flow, Inward, Kept, Outbound, Up, add};
use super::outcomes::Outcomes;
use super::{InterceptorError, InterceptorStats, Refusal, ok_to_process};
use crate::channel::MemberIndex;
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::wire::{Member, SendOptions, UniqueId};

const BEGIN: [u8; 16] = [
    0x71, 0x01, 0xc6, 0x02, 0xde, 0xc4, 0x4b, 0xb2, 0x9b, 0xf4, 0x20, 0xe3, 0x20, 0x6f, 0xd8, 0x04,
];
const END: [u8; 16] = [
    0x36, 0xf3, 0x5a, 0x6e, 0x2f, 0xe1, 0x4b, 0xe8, 0xaf, 0xe3, 0x24, 0x34, 0xc6, 0x4d, 0x92, 0x38,
];
/// Confirmations kept that came before their message. A Tomcat that sends asynchronously hands both to a pool of
/// threads with connections of their own.
const EARLY_MAX: usize = 256;
/// Bytes of a confirmation.
const CONFIRMATION: usize = BEGIN.len() + 16 + END.len();

/// Receivers keep a message until its sender confirms it, which it does when all of them have it (with `USE_ACK`; else at once).
///
/// Nobody votes: if one destination does not take a message, none of them gets to see it, and they drop it after
/// [`expire`](Self::expire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoPhaseCommitInterceptor {
    /// Only messages with all of these option bits are treated so; 0 (the default) means all.
    pub option_flag: u32,
    /// How long an unconfirmed message is kept; default 60 s.
    pub expire: Duration,
    /// How many unconfirmed messages are kept; 1 to 1,048,576, default 8192. Tomcat has no such bound. All together they may
    /// take `limits.gather_bytes_max`.
    pub messages_max: usize,
}

impl Default for TwoPhaseCommitInterceptor {
    fn default() -> Self {
        Self {
            option_flag: 0,
            expire: Duration::from_secs(60),
            messages_max: 8192,
        }
    }
}

impl TwoPhaseCommitInterceptor {
    pub(crate) fn validate(&self) -> Result<(), InterceptorError> {
        if self.expire < Duration::from_millis(1) {
            return Err(InterceptorError::OutOfRange("expire", "1 ms or more"));
        }
        if !(1..=1 << 20).contains(&self.messages_max) {
            return Err(InterceptorError::OutOfRange(
                "messages_max",
                "1 to 1,048,576",
            ));
        }
        Ok(())
    }
}

/// The confirmation of the message `id`.
pub fn confirmation(id: &UniqueId) -> [u8; CONFIRMATION] {
    let mut bytes = [0; CONFIRMATION];
    let parts = BEGIN.iter().chain(&id.0).chain(&END);
    for (place, byte) in bytes.iter_mut().zip(parts) {
        *place = *byte;
    }
    bytes
}

/// The id of the message that `message` confirms, if it is a confirmation.
pub fn confirmed(message: &[u8]) -> Option<UniqueId> {
    let id = message.strip_prefix(&BEGIN)?.strip_suffix(&END)?;
    Some(UniqueId(id.try_into().ok()?))
}

/// The layer at work.
#[derive(Debug)]
pub(crate) struct TwoPhaseCommit {
    config: TwoPhaseCommitInterceptor,
    /// In the order in which they came.
    waiting: Vec<Kept>,
    /// What they cost.
    cost: usize,
    /// Confirmations that came before their message, oldest first.
    early: VecDeque<Early>,
    /// What became of messages that were confirmed or dropped.
    outcomes: Outcomes,
}

/// A confirmation without its message.
#[derive(Debug)]
struct Early {
    since: Instant,
    from: Option<MemberIndex>,
    sender: Member,
    /// The message's.
    id: UniqueId,
}

impl TwoPhaseCommit {
    pub(crate) const fn new(config: TwoPhaseCommitInterceptor) -> Self {
        Self {
            config,
            waiting: Vec::new(),
            cost: 0,
            early: VecDeque::new(),
            outcomes: Outcomes::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        self.waiting.clear();
        self.cost = 0;
        self.early.clear();
        self.outcomes.clear();
    }

    pub(crate) const fn growth() -> usize {
        CONFIRMATION
    }

    pub(crate) fn send(&self, down: &mut Down<'_>, message: Outbound, out: &mut Vec<Outbound>) {
        if !ok_to_process(self.config.option_flag, message.options) {
            out.push(message);
            return;
        }
        let confirmation = Outbound {
            id: UniqueId::random(down.rng),
            body: Bytes::copy_from_slice(&confirmation(&message.id)),
            ..message.clone()
        };
        let acknowledged = message.options.contains(SendOptions::USE_ACK);
        out.push(message);
        if acknowledged {
            down.later.push((down.layer, confirmation));
        } else {
            add(&mut down.stats.two_phase_commit.confirmations_sent, 1);
            out.push(confirmation);
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
        self.outcomes.next();
        if let Some(id) = confirmed(message.body.as_slice()) {
            let at = self.waiting.iter().position(|kept| {
                kept.unique_id == id.0.as_slice() && kept.sender == *message.sender
            });
            let Some(kept) = at.and_then(|at| self.remove(at)) else {
                match self.outcomes.of(&id.0) {
                    // Once more, after a lost connection.
                    Some(true) => return Ok(Flow::Stop),
                    Some(false) => return Err(Refusal::ConfirmedTooLate),
                    None => {}
                }
                if self.early.len() >= EARLY_MAX {
                    self.early.pop_front();
                    add(&mut up.stats.two_phase_commit.unknown, 1);
                }
                self.early.push_back(Early {
                    since: up.now,
                    from: message.from,
                    sender: message.sender.clone(),
                    id,
                });
                return Ok(Flow::Stop);
            };
            add(&mut up.stats.two_phase_commit.committed, 1);
            if planted(Bug::ConfirmedDropped) {
                return Ok(Flow::Stop);
            }
            self.outcomes.handed_on(&kept.unique_id);
            message.options = kept.options;
            message.timestamp_ms = kept.timestamp_ms;
            message.unique_id = Body::Owned(kept.unique_id);
            message.body = Body::Owned(kept.body);
            return Ok(Flow::Pass(message));
        }
        let again = |kept: &Kept| {
            kept.unique_id == message.unique_id.as_slice() && kept.sender == *message.sender
        };
        if planted(Bug::Unconfirmed) {
            return Ok(Flow::Pass(message));
        }
        // Once more, after a lost connection.
        if self.waiting.iter().any(again) {
            return Ok(Flow::Stop);
        }
        let confirmed = self.early.iter().position(|early| {
            early.id.0.as_slice() == message.unique_id.as_slice() && early.sender == *message.sender
        });
        if confirmed.and_then(|at| self.early.remove(at)).is_some() {
            add(&mut up.stats.two_phase_commit.committed, 1);
            self.outcomes.handed_on(message.unique_id.as_slice());
            return Ok(Flow::Pass(message));
        }
        let kept = message.keep(up.now);
        let cost = self.cost.saturating_add(kept.cost());
        if self.waiting.len() >= self.config.messages_max || cost > up.gather_bytes_max {
            return Err(Refusal::TooManyUncommitted);
        }
        self.cost = cost;
        self.waiting.push(kept);
        Ok(Flow::Stop)
    }

    /// The listener has failed with what was handed on last.
    pub(crate) fn failed(&mut self) {
        self.outcomes.failed();
    }

    fn drop_message(&mut self, at: usize) {
        if let Some(kept) = self.remove(at) {
            self.outcomes.dropped(&kept.unique_id);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Kept> {
        if at >= self.waiting.len() {
            return None;
        }
        let kept = self.waiting.remove(at);
        self.cost = self.cost.saturating_sub(kept.cost());
        Some(kept)
    }

    /// Drops what nobody has confirmed in time.
    pub(crate) fn expire(&mut self, now: Instant, stats: &mut InterceptorStats) {
        let expire = self.config.expire;
        let old = |since: Option<Instant>| since.is_some_and(|since| since + expire <= now);
        while old(self.waiting.first().map(|kept| kept.since)) {
            self.drop_message(0);
            add(&mut stats.two_phase_commit.expired, 1);
        }
        while old(self.early.front().map(|early| early.since)) {
            self.early.pop_front();
            add(&mut stats.two_phase_commit.unknown, 1);
        }
    }

    /// How many messages wait for their confirmation, or confirmations for their message.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len().saturating_add(self.early.len())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let message = self.waiting.first().map(|kept| kept.since);
        let confirmation = self.early.front().map(|early| early.since);
        let oldest = message.into_iter().chain(confirmation).min()?;
        Some(oldest + self.config.expire)
    }

    /// This member confirms nothing more.
    pub(crate) fn member_gone(&mut self, member: MemberIndex, stats: &mut InterceptorStats) {
        while let Some(at) = self
            .waiting
            .iter()
            .position(|kept| kept.from == Some(member))
        {
            self.drop_message(at);
            add(&mut stats.two_phase_commit.abandoned, 1);
        }
        let before = self.early.len();
        self.early.retain(|early| early.from != Some(member));
        let gone = before.saturating_sub(self.early.len());
        add(&mut stats.two_phase_commit.unknown, gone as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_confirmation_is_one() {
        let id = UniqueId([9; 16]);
        let good = confirmation(&id);
        assert_eq!(confirmed(&good), Some(id));
        assert_eq!(confirmed(&good[1..]), None);
        assert_eq!(confirmed(b""), None);
        for at in (0..16).chain(32..48) {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(confirmed(&bad), None, "{at}");
        }
    }
}
