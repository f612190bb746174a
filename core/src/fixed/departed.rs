//! Ids that must not come back to life by a late message.

use core::time::Duration;

use crate::time::Instant;

/// A number for an id: FNV-1a over its text.
pub(super) fn hash(id: &[u8]) -> u64 {
    id.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// An id that is no session any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departed {
    id: u64,
    /// When it expired, in milliseconds since the Unix epoch.
    at_ms: i64,
    /// The hash of its new id, if it has been renamed.
    renamed: Option<u64>,
    until: Instant,
    used: bool,
}

impl Departed {
    pub(super) const EMPTY: Self = Self {
        id: 0,
        at_ms: 0,
        renamed: None,
        until: Instant::ZERO,
        used: false,
    };
}

/// Names followed from one to the next.
const RENAMES_FOLLOWED: usize = 8;

/// The ids of sessions that expired or changed their id not long ago. The oldest makes room.
#[derive(Debug)]
pub(super) struct DepartedIds<'m> {
    ids: &'m mut [Departed],
    memory: Duration,
}

impl<'m> DepartedIds<'m> {
    pub(super) fn new(ids: &'m mut [Departed], memory: Duration) -> Self {
        for entry in ids.iter_mut() {
            *entry = Departed::EMPTY;
        }
        Self { ids, memory }
    }

    fn get(&self, id: u64) -> Option<&Departed> {
        self.ids.iter().find(|entry| entry.used && entry.id == id)
    }

    pub(super) fn remember(&mut self, now: Instant, id: u64, at_ms: i64, renamed: Option<u64>) {
        let at_ms = match self.get(id) {
            Some(before) if before.renamed.is_none() => at_ms.max(before.at_ms),
            _ => at_ms,
        };
        let same = self
            .ids
            .iter()
            .position(|entry| entry.used && entry.id == id);
        let place = same.or_else(|| {
            let entries = self.ids.iter().enumerate();
            let oldest = entries.min_by_key(|(_, entry)| (entry.used, entry.until));
            oldest.map(|(place, _)| place)
        });
        if let Some(entry) = place.and_then(|place| self.ids.get_mut(place)) {
            *entry = Departed {
                id,
                at_ms,
                renamed,
                until: now + self.memory,
                used: true,
            };
        }
    }

    /// The id is in use again.
    pub(super) fn recall(&mut self, id: u64) {
        for entry in self.ids.iter_mut().filter(|entry| entry.id == id) {
            entry.used = false;
        }
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        for entry in self.ids.iter_mut().filter(|entry| entry.until <= now) {
            entry.used = false;
        }
    }

    /// The hash of the id that this one was changed to.
    pub(super) fn renamed(&self, id: u64) -> Option<u64> {
        self.get(id)?.renamed
    }

    /// Whether a session of that id, created at `created_ms`, has expired since, under this id or a later one.
    pub(super) fn expired_since(&self, id: u64, created_ms: i64) -> bool {
        let mut entry = self.get(id);
        for _ in 0..RENAMES_FOLLOWED {
            match entry {
                Some(Departed {
                    renamed: Some(new), ..
                }) => entry = self.get(*new),
                Some(expired) => return expired.at_ms >= created_ms,
                None => return false,
            }
        }
        false
    }
}
