//! A part of a manager's sessions, which threads that read ahead can be lent.

use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "std")]
use core::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::DeltaSession;

/// Parts of one table. Threads that change sessions of different parts at once do not wait for each other; with 16 of them two threads
/// meet once in sixteen deltas, for less than half a microsecond.
pub(crate) const SHARDS: usize = 16;

/// Which shard an id belongs to: the same on every machine, whatever it hashes with.
pub(crate) fn shard_of(id: &[u8]) -> usize {
    let (words, rest) = id.as_chunks::<8>();
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let sum = words
        .iter()
        .fold(0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    let sum = rest
        .iter()
        .fold(sum, |sum, byte| mix(sum, u64::from(*byte)));
    // The upper bits depend on all that was multiplied.
    (sum >> 32) as usize % SHARDS
}

/// Where a session lies in its shard.
pub(crate) type Local = u32;

/// Sessions whose ids belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    sessions: Vec<Option<Entry>>,
    free: Vec<Local>,
    /// By the hash of their ids, which are not kept a second time.
    by_id: HashTable<Found>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Its slot in the table.
    slot: u32,
    session: DeltaSession,
}

/// Where an id leads.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// The hash of the id, so that a shard that grows need not look at all sessions.
    hash: u64,
    local: Local,
}

/// Whether the session that lies there has this id.
fn has_id(sessions: &[Option<Entry>], local: Local, id: &[u8]) -> bool {
    let entry = sessions.get(local as usize).and_then(Option::as_ref);
    entry.is_some_and(|entry| entry.session.id.as_modified_utf8() == id)
}

impl Shard {
    fn find(&self, hash: u64, id: &[u8]) -> Option<Local> {
        let is_it = |found: &Found| found.hash == hash && has_id(&self.sessions, found.local, id);
        self.by_id.find(hash, is_it).map(|found| found.local)
    }

    pub(crate) fn at(&self, local: Local) -> Option<&DeltaSession> {
        let entry = self.sessions.get(local as usize)?.as_ref()?;
        Some(&entry.session)
    }

    pub(crate) fn slot_of(&self, hash: u64, id: &[u8]) -> Option<u32> {
        let local = self.find(hash, id)?;
        let entry = self.sessions.get(local as usize)?.as_ref()?;
        Some(entry.slot)
    }

    pub(crate) fn get(&self, hash: u64, id: &[u8]) -> Option<&DeltaSession> {
        self.at(self.find(hash, id)?)
    }

    pub(crate) fn get_mut(&mut self, hash: u64, id: &[u8]) -> Option<&mut DeltaSession> {
        let local = self.find(hash, id)?;
        let entry = self.sessions.get_mut(local as usize)?.as_mut()?;
        Some(&mut entry.session)
    }

    /// Adds a session whose id is not there.
    pub(crate) fn add(&mut self, hash: u64, slot: u32, session: DeltaSession) -> Local {
        let entry = Some(Entry { slot, session });
        let local = match self.free.pop() {
            Some(local) => {
                if let Some(place) = self.sessions.get_mut(local as usize) {
                    *place = entry;
                }
                local
            }
            None => {
                self.sessions.push(entry);
                Local::try_from(self.sessions.len().saturating_sub(1)).unwrap_or(Local::MAX)
            }
        };
        let found = Found { hash, local };
        self.by_id.insert_unique(hash, found, |found| found.hash);
        local
    }

    /// Takes a session out, and its slot in the table.
    pub(crate) fn take(&mut self, hash: u64, id: &[u8]) -> Option<(u32, DeltaSession)> {
        let is_it = |found: &Found| found.hash == hash && has_id(&self.sessions, found.local, id);
        let local = self.by_id.find_entry(hash, is_it).ok()?.remove().0.local;
        self.free.push(local);
        let entry = self.sessions.get_mut(local as usize)?.take()?;
        Some((entry.slot, entry.session))
    }
}

/// Where shards lie that the table has lent: each in a place with a lock of its own, together with the number of the terms on which it
/// is lent.
///
/// A lock is held for one delta, or to put a shard there or take it away, and nothing else is waited for meanwhile: so no two can
/// wait for each other. Without the standard library there is no such lock, and nothing is ever lent.
pub(crate) struct Desk {
    #[cfg(feature = "std")]
    places: [std::sync::Mutex<Option<(u64, Shard)>>; SHARDS],
    #[cfg(feature = "std")]
    hasher: DefaultHashBuilder,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

#[cfg(feature = "std")]
impl Desk {
    /// An empty one, for shards that hash ids so.
    pub(crate) fn new(hasher: DefaultHashBuilder) -> Self {
        Self {
            places: core::array::from_fn(|_| std::sync::Mutex::new(None)),
            hasher,
        }
    }

    fn place(&self, number: usize) -> Option<std::sync::MutexGuard<'_, Option<(u64, Shard)>>> {
        let place = self.places.get(number)?;
        Some(
            place
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Puts a shard there.
    ///
    /// # Errors
    ///
    /// The shard, if something else is there.
    pub(crate) fn put(&self, number: usize, terms: u64, shard: Shard) -> Result<(), Shard> {
        match self.place(number) {
            Some(mut place) if place.is_none() => {
                *place = Some((terms, shard));
                Ok(())
            }
            _ => Err(shard),
        }
    }

    /// Takes a shard away.
    pub(crate) fn take(&self, number: usize) -> Shard {
        let taken = self.place(number).and_then(|mut place| place.take());
        taken.map(|(_, shard)| shard).unwrap_or_default()
    }

    /// Does something to a session, if it is there and its shard is lent on these terms: they hold while it is done.
    pub(crate) fn with<T>(
        &self,
        terms: u64,
        id: &[u8],
        work: impl FnOnce(&mut DeltaSession) -> T,
    ) -> Option<T> {
        let hash = self.hasher.hash_one(id);
        let mut place = self.place(shard_of(id))?;
        let (_, shard) = place.as_mut().filter(|(lent, _)| *lent == terms)?;
        shard.get_mut(hash, id).map(work)
    }
}

#[cfg(not(feature = "std"))]
#[allow(
    clippy::unused_self,
    reason = "with the standard library they have something to do"
)]
impl Desk {
    pub(crate) fn new(_: DefaultHashBuilder) -> Self {
        Self {}
    }

    pub(crate) const fn put(&self, _: usize, _: u64, shard: Shard) -> Result<(), Shard> {
        Err(shard)
    }

    pub(crate) fn take(&self, _: usize) -> Shard {
        Shard::default()
    }

    pub(crate) fn with<T>(
        &self,
        _: u64,
        _: &[u8],
        _: impl FnOnce(&mut DeltaSession) -> T,
    ) -> Option<T> {
        None
    }
}
