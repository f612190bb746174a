//! Who has acknowledged what: one entry for each message that somebody waits for.

use alloc::vec::Vec;
use core::mem;

use crate::channel::{FaultCause, MemberIndex};
use crate::wire::UniqueId;

/// Refers to an entry of [`Sends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendKey(u32);

impl SendKey {
    /// Nobody waits.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

#[derive(Debug)]
struct Entry {
    id: UniqueId,
    /// Frames that have neither been answered nor failed.
    open: usize,
    faulty: Vec<(MemberIndex, FaultCause)>,
    /// Whether something follows when all have it.
    watched: bool,
}

/// Acknowledged messages under way.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Watched messages whose frames are settled, and whether all have them.
    pub(crate) watched: Vec<(UniqueId, bool)>,
}

impl Sends {
    /// A message in so many frames, one a destination as a rule.
    pub(crate) fn open(&mut self, id: UniqueId, frames: usize) -> SendKey {
        let entry = Entry {
            id,
            open: frames,
            faulty: Vec::new(),
            watched: false,
        };
        if let Some(key) = self.free.pop()
            && let Some(place) = self.entries.get_mut(key as usize)
        {
            *place = entry;
            return SendKey(key);
        }
        let key = self.entries.len() as u32;
        self.entries.push(entry);
        SendKey(key)
    }

    /// Something follows this message when all have it; only then is its outcome told.
    pub(crate) fn watch(&mut self, key: SendKey) {
        if let Some(entry) = self.entries.get_mut(key.0 as usize) {
            entry.watched = true;
        }
    }

    /// These destinations have failed already.
    pub(crate) fn add_faults(&mut self, key: SendKey, faulty: &[(MemberIndex, FaultCause)]) {
        if let Some(entry) = self.entries.get_mut(key.0 as usize) {
            entry.faulty.extend_from_slice(faulty);
        }
    }

    /// One frame is settled; the outcome once all are.
    pub(crate) fn settle(
        &mut self,
        key: SendKey,
        fault: Option<(MemberIndex, FaultCause)>,
    ) -> Option<(UniqueId, Vec<(MemberIndex, FaultCause)>)> {
        let entry = self.entries.get_mut(key.0 as usize)?;
        // A message in several frames fails once.
        if let Some((member, cause)) = fault
            && !entry.faulty.iter().any(|(faulty, _)| *faulty == member)
        {
            entry.faulty.push((member, cause));
        }
        entry.open = entry.open.checked_sub(1)?;
        if entry.open > 0 {
            return None;
        }
        self.free.push(key.0);
        if entry.watched {
            self.watched.push((entry.id, entry.faulty.is_empty()));
            if entry.faulty.is_empty() {
                return None;
            }
        }
        Some((entry.id, mem::take(&mut entry.faulty)))
    }

    /// How many messages are under way.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }
}
