//! Looking into a channel, for those who debug one.

use super::{Channel, Member, MemberIndex};
use crate::membership::table::Stage;
use crate::time::Instant;

impl Channel {
    /// What is due when, by name; [`poll_timeout`](crate::engine::Engine::poll_timeout) is the first of them. Timers that
    /// are not set are left out.
    pub fn timers(&self) -> impl Iterator<Item = (&'static str, Instant)> + use<> {
        let timers = self.timers;
        [
            ("heartbeat", timers.heartbeat),
            ("round of checks", timers.ping),
            ("TCP check", timers.checks),
            ("connection to a member", timers.lanes),
            ("incomplete frames", timers.receivers),
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
