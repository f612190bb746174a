//! Ids that must not come back to life by a late message.

use core::time::Duration;

use super::SessionId;
use crate::memory::Memory;
use crate::plant::{Bug, planted};
use crate::time::Instant;

/// What became of an id that is no session any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The session has ended.
    Expired {
        /// Milliseconds since the Unix epoch, as in a [`Stamp`](super::Stamp).
        at_ms: i64,
        /// Its time was over; nobody ended it.
        timed_out: bool,
    },
    /// The session has another id now.
    Renamed {
        /// The new id.
        to: SessionId,
        /// Milliseconds since the Unix epoch, as in a [`Stamp`](super::Stamp).
        at_ms: i64,
    },
}

impl Departure {
    /// The end of a session that somebody has ended.
    pub(crate) const fn ended(at_ms: i64) -> Self {
        let timed_out = false;
        Self::Expired { at_ms, timed_out }
    }
}

/// A session that changed its id more often than so may be taken for alive.
pub(crate) const RENAMES_FOLLOWED: usize = 32;

/// The ids of sessions that expired or changed their id not long ago: bounded in number and time.
#[derive(Clone, Debug)]
pub(crate) struct Departed(Memory<SessionId, Departure>);

impl Departed {
    pub(crate) fn new(memory: Duration, max: usize) -> Self {
        Self(Memory::new(memory, max))
    }

    /// Remembers an id.
    pub(crate) fn remember(&mut self, now: Instant, id: SessionId, departure: Departure) {
        self.remember_for(now, self.memory(), id, departure);
    }

    /// Remembers an id for a time, if that is shorter than what was configured.
    pub(crate) fn remember_for(
        &mut self,
        now: Instant,
        memory: Duration,
        id: SessionId,
        mut departure: Departure,
    ) {
        self.forget_old(now);
        if planted(Bug::TombstoneForgotten) && matches!(departure, Departure::Expired { .. }) {
            return;
        }
        let before = self.get(id.as_modified_utf8());
        if let Departure::Expired { at_ms, timed_out } = &mut departure
            && let Some(&Departure::Expired {
                at_ms: before,
                timed_out: also,
            }) = before
        {
            *at_ms = before.max(*at_ms);
            *timed_out &= also;
        }
        self.0.remember_for(now, memory, id, departure);
    }

    /// The id is in use again.
    pub(crate) fn recall(&mut self, id: &[u8]) {
        self.0.recall(id);
    }

    /// What became of an id, as far as it is remembered.
    pub(crate) fn get(&self, id: &[u8]) -> Option<&Departure> {
        self.0.get(id)
    }

    /// Whether a session of that id, created at `created_ms`, is one that has expired since, under this id or under one
    /// that it was given later.
    pub(crate) fn expired_since(&self, id: &[u8], created_ms: i64) -> bool {
        let mut departure = self.get(id);
        for _ in 0..RENAMES_FOLLOWED {
            match departure {
                Some(Departure::Expired { at_ms, .. }) => return *at_ms >= created_ms,
                Some(Departure::Renamed { to, .. }) => departure = self.get(to.as_modified_utf8()),
                None => return false,
            }
        }
        false
    }

    /// Ids in the order in which they were remembered, from behind the one numbered `after`; with the number of each and how
    /// long it is still remembered, at least `least`.
    pub(crate) fn after(
        &self,
        now: Instant,
        after: u64,
        least: Duration,
    ) -> impl Iterator<Item = (u64, &SessionId, Duration, &Departure)> {
        let entries = self.0.after(now, after);
        entries.filter(move |(_, _, left, _)| *left >= least)
    }

    /// For how long an id is remembered.
    pub(crate) const fn memory(&self) -> Duration {
        self.0.lasts()
    }

    /// Forgets what has been remembered long enough.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.0.forget_old(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> SessionId {
        SessionId::from(std::format!("S{n}"))
    }

    #[test]
    fn an_id_is_remembered_for_a_time() {
        let mut departed = Departed::new(Duration::from_secs(2), 10);
        let at = Instant::from_millis;
        departed.remember(at(0), id(1), Departure::ended(5));
        let renamed = Departure::Renamed {
            to: id(3),
            at_ms: 7,
        };
        departed.remember(at(1000), id(2), renamed.clone());
        departed.remember(at(1500), id(1), Departure::ended(9));
        departed.forget_old(at(2500));
        assert_eq!(
            departed.get(b"S1"),
            Some(&Departure::ended(9)),
            "the later entry counts"
        );
        assert_eq!(departed.get(b"S2"), Some(&renamed));
        departed.forget_old(at(3000));
        assert_eq!(departed.get(b"S2"), None);
        assert!(departed.expired_since(b"S1", 9) && !departed.expired_since(b"S1", 10));
        departed.recall(b"S1");
        assert_eq!(departed.get(b"S1"), None);
    }

    #[test]
    fn what_is_remembered_can_be_gone_through() {
        let mut departed = Departed::new(Duration::from_secs(10), 10);
        let at = Instant::from_millis;
        for n in [1, 2, 3, 1] {
            departed.remember(at(0), id(n), Departure::ended(n as i64));
        }
        departed.remember_for(at(0), Duration::from_secs(1), id(4), Departure::ended(4));
        departed.recall(b"S2");
        let from = |after, now| {
            let ids = departed
                .after(at(now), after, Duration::ZERO)
                .map(|(n, id, ..)| (n, id.clone()));
            ids.collect::<std::vec::Vec<_>>()
        };
        assert_eq!(from(0, 500), [(3, id(3)), (4, id(1)), (5, id(4))]);
        assert_eq!(from(3, 500), [(4, id(1)), (5, id(4))]);
        assert_eq!(from(3, 5000), [(4, id(1))]);
        assert_eq!(from(9, 500), []);
    }
}
