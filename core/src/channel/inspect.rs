//! Looking into a channel, for those who debug one.

use alloc::vec::Vec;

use super::{Channel, Member, MemberIndex};
use crate::interceptor::stack::Stack;
use crate::membership::table::Stage;
use crate::time::Instant;

/// What a channel keeps besides queues; without traffic nothing, once what never became complete has been waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes of frames whose end has not come.
    pub incomplete_bytes: usize,
    /// Messages that wait in interceptors: for those before them, for their other pieces, for their confirmation.
    pub layer_messages: usize,
    /// Messages of our own that are to be confirmed when all destinations have them.
    pub confirmations: usize,
}

impl Channel {
    /// What is kept of messages that are neither in a queue nor with the listener.
    pub fn kept(&self) -> Kept {
        Kept {
            incomplete_bytes: self.gathered,
            layer_messages: self.stack.waiting(),
            confirmations: self.commits.len(),
        }
    }

    /// A copy in the same state, to try out on it what could happen; `None` if the channel has interceptors, which keep
    /// things that cannot be copied. The two have the same chance and make the same ids: only one of them may have peers
    /// that are real.
    pub fn fork(&self) -> Option<Self> {
        let plain = self.stack.is_empty() && self.commits.is_empty();
        plain.then(|| Self {
            config: self.config.clone(),
            phase: self.phase,
            rng: self.rng.clone(),
            clock: self.clock,
            local: self.local.clone(),
            members: self.members.clone(),
            conns: self.conns.clone(),
            pool: self.pool.clone(),
            sends: self.sends.clone(),
            stack: Stack::default(),
            domains: self.domains.clone(),
            service: self.service.clone(),
            commits: Vec::new(),
            outputs: self.outputs.clone(),
            events: self.events.clone(),
            news: self.news.clone(),
            goodbyes: self.goodbyes.clone(),
            timers: self.timers,
            stats: self.stats,
            receivers: self.receivers,
            gathered: self.gathered,
            wound_up: self.wound_up,
            checks: self.checks,
            datagrams: self.datagrams,
            targets: Vec::new(),
            settled: self.settled,
            settle_by: self.settle_by,
        })
    }

    /// What is due when, by name; [`poll_timeout`](crate::engine::Engine::poll_timeout) is the first of them. Timers that
    /// are not set are left out.
    pub fn timers(&self) -> impl Iterator<Item = (&'static str, Instant)> + use<> {
        let timers = self.timers;
        [
            ("heartbeat", timers.heartbeat),
            ("round of checks", timers.ping),
            ("TCP check", timers.checks),
            ("connection to a member", timers.lanes),
            (
                "incomplete frames and connections being wound up",
                timers.receivers,
            ),
            ("housekeeping", timers.housekeeping),
            ("members are known", timers.settle),
            ("end of stopping", timers.stop),
        ]
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
    }

    /// Those that have been heard of and are not verified, in no particular order.
    pub fn candidates(&self) -> impl Iterator<Item = (MemberIndex, &Member)> {
        self.members
            .entries()
            .filter(|entry| !entry.is_verified())
            .map(|entry| (entry.index, &entry.member))
    }

    /// Since when there has been doubt about a member, if there is.
    pub fn suspected_since(&self, index: MemberIndex) -> Option<Instant> {
        match self.members.get(index)?.stage {
            Stage::Verified { suspect } => Some(suspect?.since),
            Stage::Stranger => None,
        }
    }
}
