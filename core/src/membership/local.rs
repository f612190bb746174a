//! Ourselves, as others see us.

use alloc::vec::Vec;

use crate::time::{Instant, WallClock};
use crate::transport::template::Template;
use crate::wire::member::SHUTDOWN;
use crate::wire::{Member, UniqueId};

/// The local member and what is encoded from it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) member: Member,
    /// Header of our frames. Its member block is a cached one, as in Tribes: only heartbeats refresh the alive time in it.
    pub(crate) template: Template,
    /// When the membership service was started, once it has been.
    pub(crate) started: Option<Instant>,
}

impl Local {
    pub(crate) fn new(member: Member) -> Self {
        let template = Template::new(&block(&member));
        Self {
            member,
            template,
            started: None,
        }
    }

    /// Refreshes the alive time: since the membership service was started, or, without one, since 1970, as Tribes does.
    pub(crate) fn refresh(&mut self, now: Instant, clock: &WallClock) {
        let alive = match self.started {
            Some(started) => now.since(started).as_millis(),
            None => u128::from(clock.unix_ms(now)),
        };
        self.member.alive_ms = i64::try_from(alive).unwrap_or(i64::MAX);
        self.template.set_alive(self.member.alive_ms);
    }

    /// The bare block, for a heartbeat.
    pub(crate) fn heartbeat(&self) -> &[u8] {
        self.template.block()
    }

    /// The heartbeat with which the incarnation `unique_id` at our address says that it leaves.
    pub(crate) fn shutdown(&self, unique_id: UniqueId) -> Vec<u8> {
        let mut member = self.member.clone();
        member.unique_id = unique_id;
        member.command = SHUTDOWN.to_vec();
        block(&member)
    }
}

/// A member's block.
pub(crate) fn block(member: &Member) -> Vec<u8> {
    let mut block = Vec::new();
    // A Vec is never full.
    let _ = member.write(&mut block);
    block
}
