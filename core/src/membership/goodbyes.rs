//! Who has said goodbye a moment ago.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Instant;
use crate::wire::{MemberBlock, UniqueId};

/// Goodbyes remembered at once.
const GOODBYES_MAX: usize = 64;

/// The last goodbyes, so that a heartbeat that was overtaken by one brings nobody back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goodbyes(VecDeque<Goodbye>);

#[derive(Clone, Debug)]
struct Goodbye {
    unique_id: UniqueId,
    alive_ms: i64,
    until: Instant,
}

impl Goodbyes {
    /// `block` says goodbye; heartbeats sent before are told by their age, for as long as `memory`.
    pub(crate) fn remember(&mut self, now: Instant, block: &MemberBlock<'_>, memory: Duration) {
        self.0.retain(|goodbye| goodbye.until > now);
        if self.0.len() >= GOODBYES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Goodbye {
            unique_id: block.unique_id,
            alive_ms: block.alive_ms,
            until: now + memory,
        });
    }

    /// Whether a heartbeat was sent before the goodbye of the same incarnation. One that has started again under the same id
    /// is younger by the whole of its first life.
    pub(crate) fn overtook(&self, now: Instant, block: &MemberBlock<'_>, memory: Duration) -> bool {
        let memory_ms = i64::try_from(memory.as_millis()).unwrap_or(i64::MAX);
        self.0.iter().any(|goodbye| {
            let age = goodbye.alive_ms.saturating_sub(block.alive_ms);
            goodbye.unique_id == block.unique_id
                && goodbye.until > now
                && (0..=memory_ms).contains(&age)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Member;

    #[test]
    fn a_heartbeat_from_before_the_goodbye_is_known_by_its_age() {
        let memory = Duration::from_secs(1);
        let at = Instant::from_millis;
        let member = |id, alive_ms| Member {
            alive_ms,
            ..Member::new("10.0.0.1:4000".parse().unwrap(), UniqueId([id; 16]))
        };
        let mut goodbyes = Goodbyes::default();
        goodbyes.remember(at(0), &member(1, 5000).as_block(), memory);
        #[rustfmt::skip]
        let cases = [
            ("sent with it",        1, 5000,   1, true),
            ("the one before",      1, 4500, 400, true),
            ("after a restart",     1,    0, 400, false),
            ("still alive",         1, 5500, 500, false),
            ("somebody else",       2, 5000,   1, false),
            ("much too late",       1, 5000, 1000, false),
        ];
        for (name, id, alive_ms, ms, overtaken) in cases {
            let heartbeat = member(id, alive_ms);
            let result = goodbyes.overtook(at(ms), &heartbeat.as_block(), memory);
            assert_eq!(result, overtaken, "{name}");
        }
        for id in 0..200 {
            goodbyes.remember(at(2000), &member(id, 0).as_block(), memory);
        }
        assert_eq!(goodbyes.0.len(), GOODBYES_MAX);
    }
}
