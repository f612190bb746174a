//! The sessions of one manager.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{DeltaSession, SessionId};

/// Sessions by id, in slots that a cursor can walk while the table changes.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    slots: Vec<Option<DeltaSession>>,
    free: Vec<u32>,
    by_id: HashMap<SessionId, u32>,
}

impl SessionTable {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Slots, empty ones included: where a cursor ends.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The session in a slot.
    pub(crate) fn in_slot(&self, slot: usize) -> Option<&DeltaSession> {
        self.slots.get(slot)?.as_ref()
    }

    /// The slot of a session.
    fn slot(&self, id: &[u8]) -> Option<usize> {
        self.by_id.get(id).map(|&slot| slot as usize)
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.by_id.contains_key(id)
    }

    pub(crate) fn get(&self, id: &[u8]) -> Option<&DeltaSession> {
        self.in_slot(self.slot(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: &[u8]) -> Option<&mut DeltaSession> {
        let slot = self.slot(id)?;
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Adds a session; gives the one of the same id that it replaces, whose slot it takes.
    pub(crate) fn insert(&mut self, session: DeltaSession) -> Option<DeltaSession> {
        if let Some(slot) = self.slot(session.id.as_modified_utf8()) {
            return self.slots.get_mut(slot)?.replace(session);
        }
        let id = session.id.clone();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(session);
            self.by_id.insert(id, slot);
        }
        None
    }

    pub(crate) fn remove(&mut self, id: &[u8]) -> Option<DeltaSession> {
        let slot = self.by_id.remove(id)?;
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }

    /// Gives a session another id, in its slot; gives the session that had that id before, if any.
    pub(crate) fn rename(&mut self, old: &[u8], new: &SessionId) -> Option<DeltaSession> {
        if old == new.as_modified_utf8() || !self.contains(old) {
            return None;
        }
        let replaced = self.remove(new.as_modified_utf8());
        if let Some(slot) = self.by_id.remove(old) {
            if let Some(Some(session)) = self.slots.get_mut(slot as usize) {
                session.id = new.clone();
            }
            self.by_id.insert(new.clone(), slot);
        }
        replaced
    }

    /// All of them, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &DeltaSession> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    fn session(id: u8, created: i64) -> DeltaSession {
        DeltaSession::new(name(id), Instant::ZERO, created, 60)
    }

    fn name(id: u8) -> SessionId {
        SessionId::from(std::format!("S{id}"))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Remove(u8),
        Rename(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8u8).prop_map(Step::Insert),
            (0..8u8).prop_map(Step::Remove),
            (0..8u8, 0..8u8).prop_map(|(a, b)| Step::Rename(a, b)),
        ]
    }

    proptest! {
        #[test]
        fn the_table_is_a_map(steps in proptest::collection::vec(step(), 0..200)) {
            let mut table = SessionTable::default();
            let mut model: BTreeMap<SessionId, i64> = BTreeMap::new();
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(id) => {
                        let replaced = table.insert(session(id, at as i64));
                        let expected = model.insert(name(id), at as i64);
                        prop_assert_eq!(replaced.map(|s| s.creation_time_ms), expected);
                    }
                    Step::Remove(id) => {
                        let removed = table.remove(name(id).as_modified_utf8());
                        prop_assert_eq!(removed.map(|s| s.creation_time_ms), model.remove(&name(id)));
                    }
                    Step::Rename(old, new) => {
                        table.rename(name(old).as_modified_utf8(), &name(new));
                        if let Some(created) = model.remove(&name(old)) {
                            model.insert(name(new), created);
                        }
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                let all: BTreeMap<_, _> = table.iter().map(|s| (s.id.clone(), s.creation_time_ms)).collect();
                prop_assert_eq!(&all, &model);
                prop_assert!(model.keys().all(|id| table.get(id.as_modified_utf8()).is_some_and(|s| s.id == *id)));
                prop_assert!(table.slots() <= 8);
            }
        }
    }
}
