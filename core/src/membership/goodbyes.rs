//! Who has said goodbye a moment ago.

use core::time::Duration;

use crate::time::Instant;
use crate::wire::{MemberBlock, UniqueId};

/// The last `MAX` goodbyes, so that a heartbeat that was overtaken by one brings nobody back.
#[derive(Clone, Debug)]
pub(crate) struct Goodbyes<const MAX: usize>([Option<Goodbye>; MAX]);

#[derive(Clone, Debug)]
struct Goodbye {
    unique_id: UniqueId,
    alive_ms: i64,
    until: Instant,
}

impl<const MAX: usize> Goodbyes<MAX> {
    pub(crate) const fn new() -> Self {
        Self([const { None }; MAX])
    }

    /// `block` says goodbye; heartbeats sent before are told by their age, for as long as `memory`.
    pub(crate) fn remember(&mut self, now: Instant, block: &MemberBlock<'_>, memory: Duration) {
        // A free place, else the oldest makes room.
        let until =
            |place: &&mut Option<Goodbye>| Option::as_ref(place).map(|goodbye| goodbye.until);
        if let Some(place) = self.0.iter_mut().min_by_key(until) {
            *place = Some(Goodbye {
                unique_id: block.unique_id,
                alive_ms: block.alive_ms,
                until: now + memory,
            });
        }
    }

    /// Whether a heartbeat was sent before the goodbye of the same incarnation. One that has started again under the same id
    /// is younger by the whole of its first life.
    pub(crate) fn overtook(&self, now: Instant, block: &MemberBlock<'_>, memory: Duration) -> bool {
        let memory_ms = i64::try_from(memory.as_millis()).unwrap_or(i64::MAX);
        self.0.iter().flatten().any(|goodbye| {
            let age = goodbye.alive_ms.saturating_sub(block.alive_ms);
            goodbye.unique_id == block.unique_id
                && goodbye.until > now
                && (0..=memory_ms).contains(&age)
        })
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use std::vec::Vec;

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
        let mut goodbyes = Goodbyes::<64>::new();
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
            goodbyes.remember(at(2000 + u64::from(id)), &member(id, 0).as_block(), memory);
        }
        let known = |id| goodbyes.overtook(at(2200), &member(id, 0).as_block(), memory);
        assert_eq!(
            (0..200).filter(|id| known(*id)).collect::<Vec<_>>(),
            (136..200).collect::<Vec<_>>()
        );
    }
}
