//! Ids that must not come back to life by a late message.

use alloc::collections::VecDeque;
use core::time::Duration;

use hashbrown::HashMap;

use super::SessionId;
use crate::plant::{Bug, planted};
use crate::time::Instant;

/// What became of an id that is no session any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Invalidated or timed out, at that time in milliseconds since the Unix epoch.
    Expired(i64),
    /// The session has this id now.
    Renamed(SessionId),
}

/// A session that changed its id more often than so may be taken for alive.
const RENAMES_FOLLOWED: usize = 32;

/// The ids of sessions that expired or changed their id not long ago: bounded in number and time.
#[derive(Debug)]
pub(crate) struct Departed {
    by_id: HashMap<SessionId, (u64, Departure)>,
    order: VecDeque<(Instant, u64, SessionId)>,
    next: u64,
    memory: Duration,
    max: usize,
}

impl Departed {
    pub(crate) fn new(memory: Duration, max: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            memory,
            max,
        }
    }

    /// Remembers an id.
    pub(crate) fn remember(&mut self, now: Instant, id: SessionId, departure: Departure) {
        self.forget_old(now);
        if planted(Bug::TombstoneForgotten) && matches!(departure, Departure::Expired(_)) {
            return;
        }
        let departure = match (departure, self.get(id.as_modified_utf8())) {
            (Departure::Expired(at), Some(&Departure::Expired(before))) => {
                Departure::Expired(at.max(before))
            }
            (departure, _) => departure,
        };
        while self.order.len() >= self.max {
            self.pop();
        }
        self.next = self.next.wrapping_add(1);
        self.by_id.insert(id.clone(), (self.next, departure));
        self.order.push_back((now + self.memory, self.next, id));
    }

    /// The id is in use again.
    pub(crate) fn recall(&mut self, id: &[u8]) {
        self.by_id.remove(id);
    }

    /// What became of an id, as far as it is remembered.
    pub(crate) fn get(&self, id: &[u8]) -> Option<&Departure> {
        self.by_id.get(id).map(|(_, departure)| departure)
    }

    /// Whether a session of that id, created at `created_ms`, is one that has expired since, under this id or under one
    /// that it was given later.
    pub(crate) fn expired_since(&self, id: &[u8], created_ms: i64) -> bool {
        let mut departure = self.get(id);
        for _ in 0..RENAMES_FOLLOWED {
            match departure {
                Some(&Departure::Expired(at)) => return at >= created_ms,
                Some(Departure::Renamed(new)) => departure = self.get(new.as_modified_utf8()),
                None => return false,
            }
        }
        false
    }

    /// Forgets what has been remembered long enough.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((_, serial, id)) = self.order.pop_front() else {
            return;
        };
        // A later departure of the same id has an entry of its own further back.
        if self
            .by_id
            .get(&id)
            .is_some_and(|(newest, _)| *newest == serial)
        {
            self.by_id.remove(&id);
        }
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
        departed.remember(at(0), id(1), Departure::Expired(5));
        departed.remember(at(1000), id(2), Departure::Renamed(id(3)));
        departed.remember(at(1500), id(1), Departure::Expired(9));
        departed.forget_old(at(2500));
        assert_eq!(
            departed.get(b"S1"),
            Some(&Departure::Expired(9)),
            "the later entry counts"
        );
        assert_eq!(departed.get(b"S2"), Some(&Departure::Renamed(id(3))));
        departed.forget_old(at(3000));
        assert_eq!(departed.get(b"S2"), None);
        assert!(departed.expired_since(b"S1", 9) && !departed.expired_since(b"S1", 10));
        departed.recall(b"S1");
        assert_eq!(departed.get(b"S1"), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut departed = Departed::new(Duration::from_secs(100), 3);
        (0..10).for_each(|n| departed.remember(Instant::ZERO, id(n), Departure::Expired(0)));
        let known: std::vec::Vec<_> = (0..10)
            .filter(|&n| departed.get(id(n).as_modified_utf8()).is_some())
            .collect();
        assert_eq!(known, [7, 8, 9]);
        assert_eq!(departed.order.len(), 3);
    }
}
