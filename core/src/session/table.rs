//! The sessions of one manager.

use alloc::vec::Vec;
use core::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{DeltaSession, SessionId};

/// Sessions by id, in slots that a cursor can walk while the table changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionTable {
    slots: Vec<Option<DeltaSession>>,
    free: Vec<u32>,
    /// By the hash of their ids, which are not kept a second time.
    by_id: HashTable<Place>,
    hasher: DefaultHashBuilder,
}

/// Where a session is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The hash of its id, so that a table that grows need not look at all sessions.
    hash: u64,
    slot: u32,
}

/// Whether the session in a slot has this id.
fn has_id(slots: &[Option<DeltaSession>], slot: u32, id: &[u8]) -> bool {
    let session = slots.get(slot as usize).and_then(Option::as_ref);
    session.is_some_and(|session| session.id.as_modified_utf8() == id)
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

    /// All of them, each with its slot.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = (u32, &DeltaSession)> {
        let slots = (0u32..).zip(&self.slots);
        slots.filter_map(|(slot, session)| Some((slot, session.as_ref()?)))
    }

    /// The slot of a session.
    pub(crate) fn slot_of(&self, id: &SessionId) -> Option<u32> {
        self.find(id.as_modified_utf8())
    }

    fn find(&self, id: &[u8]) -> Option<u32> {
        if self.by_id.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(id);
        let is_there = |place: &Place| place.hash == hash && has_id(&self.slots, place.slot, id);
        self.by_id.find(hash, is_there).map(|place| place.slot)
    }

    fn slot(&self, id: &[u8]) -> Option<usize> {
        self.find(id).map(|slot| slot as usize)
    }

    /// The id of the session in a slot leads there from now on.
    fn enter(&mut self, slot: u32) {
        let session = self.slots.get(slot as usize).and_then(Option::as_ref);
        if let Some(session) = session {
            let hash = self.hasher.hash_one(session.id.as_modified_utf8());
            self.by_id
                .insert_unique(hash, Place { hash, slot }, |place| place.hash);
        }
    }

    /// An id leads nowhere any more; the slot it led to.
    fn strike(&mut self, id: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        let is_there = |place: &Place| place.hash == hash && has_id(&self.slots, place.slot, id);
        let entry = self.by_id.find_entry(hash, is_there).ok()?;
        Some(entry.remove().0.slot)
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.find(id).is_some()
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
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(session);
            self.enter(slot);
        }
        None
    }

    pub(crate) fn remove(&mut self, id: &[u8]) -> Option<DeltaSession> {
        let slot = self.strike(id)?;
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }

    /// Gives a session another id, in its slot; gives the session that had that id before, if any.
    pub(crate) fn rename(&mut self, old: &[u8], new: &SessionId) -> Option<DeltaSession> {
        if old == new.as_modified_utf8() || !self.contains(old) {
            return None;
        }
        let replaced = self.remove(new.as_modified_utf8());
        if let Some(slot) = self.strike(old) {
            if let Some(Some(session)) = self.slots.get_mut(slot as usize) {
                session.id = new.clone();
            }
            self.enter(slot);
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
    use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

    fn session(id: u8, created: i64) -> DeltaSession {
        DeltaSession::new(name(id), Instant::ZERO, created, 60)
    }

    fn name(id: u8) -> SessionId {
        SessionId::from(std::format!("S{id}"))
    }

    /// A map from id to the number of the step that made the session.
    #[derive(Clone, Debug, Default)]
    struct Map {
        steps: i64,
        held: BTreeMap<SessionId, i64>,
        /// What the last step displaced.
        displaced: Option<i64>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Remove(u8),
        Rename(u8, u8),
    }

    impl ReferenceStateMachine for Map {
        type State = Self;
        type Transition = Step;

        fn init_state() -> BoxedStrategy<Self> {
            Just(Self::default()).boxed()
        }

        fn transitions(_: &Self) -> BoxedStrategy<Step> {
            prop_oneof![
                (0..8u8).prop_map(Step::Insert),
                (0..8u8).prop_map(Step::Remove),
                (0..8u8, 0..8u8).prop_map(|(a, b)| Step::Rename(a, b)),
            ]
            .boxed()
        }

        fn apply(mut state: Self, step: &Step) -> Self {
            state.steps += 1;
            state.displaced = match *step {
                Step::Insert(id) => state.held.insert(name(id), state.steps),
                Step::Remove(id) => state.held.remove(&name(id)),
                Step::Rename(old, new) if old == new => None,
                Step::Rename(old, new) => match state.held.remove(&name(old)) {
                    Some(created) => state.held.insert(name(new), created),
                    None => None,
                },
            };
            state
        }
    }

    struct Sessions;

    impl StateMachineTest for Sessions {
        type SystemUnderTest = SessionTable;
        type Reference = Map;

        fn init_test(_: &Map) -> SessionTable {
            SessionTable::default()
        }

        fn apply(mut table: SessionTable, after: &Map, step: Step) -> SessionTable {
            let displaced = match step {
                Step::Insert(id) => table.insert(session(id, after.steps)),
                Step::Remove(id) => table.remove(name(id).as_modified_utf8()),
                Step::Rename(old, new) => table.rename(name(old).as_modified_utf8(), &name(new)),
            };
            assert_eq!(displaced.map(|s| s.creation_time_ms), after.displaced);
            table
        }

        fn check_invariants(table: &SessionTable, map: &Map) {
            assert_eq!(table.len(), map.held.len());
            let all = table.iter().map(|s| (s.id.clone(), s.creation_time_ms));
            assert_eq!(all.collect::<BTreeMap<_, _>>(), map.held);
            for id in map.held.keys() {
                assert!(
                    table
                        .get(id.as_modified_utf8())
                        .is_some_and(|s| s.id == *id)
                );
            }
            assert!(table.slots() <= 8);
        }
    }

    prop_state_machine! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_table_is_a_map(sequential 1..200 => Sessions);
    }
}
