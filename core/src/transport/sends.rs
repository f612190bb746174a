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
}

/// Acknowledged messages under way.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Sends {
    /// A message in so many frames, one a destination as a rule.
    pub(crate) fn open(&mut self, id: UniqueId, frames: usize) -> SendKey {
        let entry = Entry {
            id,
            open: frames,
            faulty: Vec::new(),
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
        Some((entry.id, mem::take(&mut entry.faulty)))
    }

    /// How many messages are under way.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }
}
