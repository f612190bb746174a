//! The sessions.

use super::area::{Area, Records};
use super::departed::hash;
use super::memory::Blocks;
use crate::session::ActionType;
use crate::time::Instant;
use crate::wire::Full;

/// What every session has, besides its [`Area`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) used: bool,
    /// Bytes of the id, and of everything.
    pub(super) id_len: u16,
    pub(super) len: usize,
    /// Of the id.
    pub(super) hash: u64,
    pub(super) creation_time_ms: i64,
    pub(super) last_accessed_time_ms: i64,
    pub(super) this_accessed_time_ms: i64,
    pub(super) this_accessed: Instant,
    pub(super) last_time_replicated_ms: i64,
    pub(super) max_inactive_interval: i32,
    pub(super) is_new: bool,
    pub(super) primary: bool,
    /// A change by others did not fit, and it is not what the others have.
    pub(super) stale: bool,
    /// Came with the state transfer that runs.
    pub(super) transferred: bool,
    /// Changed here and not sent.
    pub(super) dirty_new: bool,
    pub(super) dirty_interval: bool,
    /// Requests that use it now.
    pub(super) access_count: u16,
}

impl Slot {
    pub(super) const EMPTY: Self = Self {
        used: false,
        id_len: 0,
        len: 0,
        hash: 0,
        creation_time_ms: 0,
        last_accessed_time_ms: 0,
        this_accessed_time_ms: 0,
        this_accessed: Instant::ZERO,
        last_time_replicated_ms: 0,
        max_inactive_interval: 0,
        is_new: false,
        primary: false,
        stale: false,
        transferred: false,
        dirty_new: false,
        dirty_interval: false,
        access_count: 0,
    };

    /// A session created at `time_ms` and used now.
    pub(super) const fn created(now: Instant, time_ms: i64, interval: i32) -> Self {
        Self {
            used: true,
            creation_time_ms: time_ms,
            last_accessed_time_ms: time_ms,
            this_accessed_time_ms: time_ms,
            this_accessed: now,
            max_inactive_interval: interval,
            ..Self::EMPTY
        }
    }

    /// A request or a message uses it. `StandardSession.access`.
    pub(super) const fn access(&mut self, now: Instant, now_ms: i64) {
        (self.this_accessed, self.this_accessed_time_ms) = (now, now_ms);
    }

    /// That use is over. `StandardSession.endAccess`.
    pub(super) const fn end_access(&mut self, now: Instant, now_ms: i64) {
        self.is_new = false;
        self.last_accessed_time_ms = now_ms;
        self.access(now, now_ms);
    }

    /// Whether its time is over: after the interval on the primary, after twice the interval elsewhere.
    pub(super) fn timed_out(&self, now: Instant) -> bool {
        let Ok(interval) = u64::try_from(self.max_inactive_interval) else {
            return false;
        };
        let limit = interval.saturating_mul(if self.primary { 1 } else { 2 });
        interval > 0 && now.since(self.this_accessed).as_secs() >= limit
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions<'m> {
    slots: &'m mut [Slot],
    areas: Blocks<'m>,
}

impl<'m> Sessions<'m> {
    pub(super) const fn new(slots: &'m mut [Slot], areas: Blocks<'m>) -> Self {
        Self { slots, areas }
    }

    /// Places, used and free.
    pub(super) const fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.used).count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.slots.iter().any(|slot| !slot.used)
    }

    pub(super) fn find(&self, id: &[u8]) -> Option<usize> {
        let hash = hash(id);
        (0..self.slots.len()).find(|&slot| self.hash(slot) == Some(hash) && self.id(slot) == id)
    }

    /// The session whose id has that hash.
    pub(super) fn find_hash(&self, hash: u64) -> Option<usize> {
        (0..self.slots.len()).find(|&slot| self.hash(slot) == Some(hash))
    }

    fn hash(&self, slot: usize) -> Option<u64> {
        self.get(slot).map(|slot| slot.hash)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Slot> {
        self.slots.get(slot).filter(|slot| slot.used)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots.get_mut(slot).filter(|slot| slot.used)
    }

    /// The id and the records of a session.
    pub(super) fn contents(&self, slot: usize) -> &[u8] {
        let len = self.get(slot).map_or(0, |slot| slot.len);
        self.areas.get(slot).get(..len).unwrap_or_default()
    }

    pub(super) fn id(&self, slot: usize) -> &[u8] {
        let len = self.get(slot).map_or(0, |slot| usize::from(slot.id_len));
        self.areas.get(slot).get(..len).unwrap_or_default()
    }

    pub(super) fn records(&self, slot: usize) -> Records<'_> {
        let id_len = self.get(slot).map_or(0, |slot| usize::from(slot.id_len));
        Records::new(self.contents(slot), id_len)
    }

    /// Whether something has changed that has not been sent.
    pub(super) fn is_dirty(&self, slot: usize) -> bool {
        self.get(slot)
            .is_some_and(|slot| slot.dirty_new || slot.dirty_interval)
            || self.records(slot).any(|record| record.dirty)
    }

    /// Whether a change of that kind and name made here has not been sent: it stays in force.
    pub(super) fn is_pending(&self, slot: usize, kind: ActionType, name: &[u8]) -> bool {
        let session = self.get(slot);
        match kind {
            ActionType::IS_NEW => session.is_some_and(|session| session.dirty_new),
            ActionType::MAX_INTERVAL => session.is_some_and(|session| session.dirty_interval),
            _ => self
                .records(slot)
                .find(kind, name)
                .is_some_and(|record| record.dirty),
        }
    }

    /// The area of a session, to be changed; [`put_back`](Self::put_back) its length.
    pub(super) fn area(&mut self, slot: usize) -> Area<'_> {
        let (id_len, len) = self
            .get(slot)
            .map_or((0, 0), |slot| (usize::from(slot.id_len), slot.len));
        Area::new(self.areas.get_mut(slot), id_len, len)
    }

    /// The area has been changed and has `len` bytes now.
    pub(super) fn put_back(&mut self, slot: usize, len: usize) {
        if let Some(slot) = self.get_mut(slot) {
            slot.len = len;
        }
    }

    /// Replaces what a session holds, its id included.
    pub(super) fn replace(
        &mut self,
        slot: usize,
        id_len: usize,
        contents: &[u8],
    ) -> Result<(), Full> {
        let place = self.areas.get_mut(slot);
        let place = place.get_mut(..contents.len()).ok_or(Full)?;
        place.copy_from_slice(contents);
        let id = contents.get(..id_len).ok_or(Full)?;
        let session = self.get_mut(slot).ok_or(Full)?;
        session.hash = hash(id);
        session.id_len = u16::try_from(id_len).map_err(|_| Full)?;
        session.len = contents.len();
        Ok(())
    }

    /// Adds a session.
    pub(super) fn insert(
        &mut self,
        session: Slot,
        id_len: usize,
        contents: &[u8],
    ) -> Result<usize, Full> {
        let slot = self.slots.iter().position(|slot| !slot.used).ok_or(Full)?;
        *self.slots.get_mut(slot).ok_or(Full)? = session;
        if let Err(full) = self.replace(slot, id_len, contents) {
            self.remove(slot);
            return Err(full);
        }
        Ok(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot::EMPTY;
        }
    }
}
