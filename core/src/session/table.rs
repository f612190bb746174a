//! The sessions of one manager.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;

use super::notes::{Place, place};
use super::shard::{Desk, Local, SHARDS, Shard, shard_of};
use super::{DeltaSession, SessionId};

/// Sessions by id, in slots that a cursor can walk while the table changes.
///
/// They lie in [`SHARDS`] by their ids. A shard is here or [lent](Self::lend): then it lies on the [`Desk`], where threads that read
/// ahead apply deltas to its sessions, each shard under a lock of its own. Whoever asks the table for one of its sessions
/// gets the whole shard back first, so the table is complete to all who have it. Slots and their order are the table's own, and
/// no session comes or goes while its shard is lent.
#[derive(Debug)]
pub(crate) struct SessionTable {
    /// Those that are here.
    shards: [OnceCell<Shard>; SHARDS],
    /// Made when somebody first asks for it.
    desk: OnceCell<Arc<Desk>>,
    slots: Vec<Option<At>>,
    free: Vec<u32>,
    len: usize,
    hasher: DefaultHashBuilder,
}

/// Where a session is.
#[derive(Clone, Copy, Debug)]
struct At {
    shard: u8,
    local: Local,
    /// That of its id in the order common to all nodes: here, so that nobody has to look at all sessions to put them in order.
    place: Place,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            shards: core::array::from_fn(|_| OnceCell::from(Shard::default())),
            desk: OnceCell::new(),
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
            hasher: DefaultHashBuilder::default(),
        }
    }
}

/// A copy has a desk of its own, with nothing on it.
impl Clone for SessionTable {
    fn clone(&self) -> Self {
        let shard = |number| self.shard(number).cloned().unwrap_or_default();
        Self {
            shards: core::array::from_fn(|number| OnceCell::from(shard(number))),
            desk: OnceCell::new(),
            slots: self.slots.clone(),
            free: self.free.clone(),
            len: self.len,
            hasher: self.hasher.clone(),
        }
    }
}

impl SessionTable {
    /// Where its shards lie when they are lent.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        self.desk
            .get_or_init(|| Arc::new(Desk::new(self.hasher.clone())))
    }

    /// Lends all shards that are here, to those who know `terms`.
    pub(crate) fn lend(&mut self, terms: u64) {
        let desk = Arc::clone(self.desk());
        for (number, place) in self.shards.iter_mut().enumerate() {
            if let Some(shard) = place.take()
                && let Err(shard) = desk.put(number, terms, shard)
            {
                // It was taken from there, so the place is empty.
                let _ = place.set(shard);
            }
        }
    }

    /// Takes all shards back: what is applied to them by others has been applied by now.
    pub(crate) fn recall(&mut self) {
        for number in 0..SHARDS {
            self.shard(number);
        }
    }

    /// A shard, which is here from now on.
    fn shard(&self, number: usize) -> Option<&Shard> {
        let place = self.shards.get(number)?;
        Some(place.get_or_init(|| self.fetch(number)))
    }

    fn shard_mut(&mut self, number: usize) -> Option<&mut Shard> {
        self.shard(number)?;
        self.shards.get_mut(number)?.get_mut()
    }

    /// A shard that is not here.
    #[cold]
    fn fetch(&self, number: usize) -> Shard {
        let desk = self.desk.get();
        desk.map(|desk| desk.take(number)).unwrap_or_default()
    }

    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Slots, empty ones included: where a cursor ends.
    pub(crate) const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The session in a slot.
    pub(crate) fn in_slot(&self, slot: usize) -> Option<&DeltaSession> {
        let at = (*self.slots.get(slot)?)?;
        self.shard(usize::from(at.shard))?.at(at.local)
    }

    /// The slots of all of them, each with its session's place in the order common to all nodes.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, Place)> {
        let slots = (0u32..).zip(&self.slots);
        slots.filter_map(|(number, at)| Some((number, at.as_ref()?.place)))
    }

    /// The slot of a session.
    pub(crate) fn slot_of(&self, id: &SessionId) -> Option<u32> {
        let id = id.as_modified_utf8();
        self.shard(shard_of(id))?.slot_of(self.hash(id), id)
    }

    fn hash(&self, id: &[u8]) -> u64 {
        self.hasher.hash_one(id)
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn get(&self, id: &[u8]) -> Option<&DeltaSession> {
        if self.len == 0 {
            return None;
        }
        self.shard(shard_of(id))?.get(self.hash(id), id)
    }

    pub(crate) fn get_mut(&mut self, id: &[u8]) -> Option<&mut DeltaSession> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hash(id);
        self.shard_mut(shard_of(id))?.get_mut(hash, id)
    }

    /// Adds a session; gives the one of the same id that it replaces, whose slot it takes.
    pub(crate) fn insert(&mut self, session: DeltaSession) -> Option<DeltaSession> {
        if let Some(present) = self.get_mut(session.id.as_modified_utf8()) {
            return Some(core::mem::replace(present, session));
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        // Saves its computation: a session that comes has the lane of its id.
        self.enter(slot, session.lane, session);
        self.len = self.len.saturating_add(1);
        None
    }

    /// Puts a session that is in no shard into the one that its id belongs to.
    fn enter(&mut self, slot: u32, lane_of_id: u64, session: DeltaSession) {
        let id = session.id.as_modified_utf8();
        debug_assert_eq!(lane_of_id, session.id.lane());
        let (number, hash) = (shard_of(id), self.hash(id));
        let local = self
            .shard_mut(number)
            .map(|shard| shard.add(hash, slot, session));
        if let Some(at) = self.slots.get_mut(slot as usize) {
            let shard = u8::try_from(number).unwrap_or_default();
            *at = local.map(|local| At {
                shard,
                local,
                place: place(lane_of_id),
            });
        }
    }

    /// Takes a session from its shard; its slot remains its own.
    fn take(&mut self, id: &[u8]) -> Option<(u32, DeltaSession)> {
        let hash = self.hash(id);
        let (slot, session) = self.shard_mut(shard_of(id))?.take(hash, id)?;
        *self.slots.get_mut(slot as usize)? = None;
        Some((slot, session))
    }

    pub(crate) fn remove(&mut self, id: &[u8]) -> Option<DeltaSession> {
        let (slot, session) = self.take(id)?;
        self.free.push(slot);
        self.len = self.len.saturating_sub(1);
        Some(session)
    }

    /// Gives a session another id, in its slot; gives the session that had that id before, if any.
    pub(crate) fn rename(&mut self, old: &[u8], new: &SessionId) -> Option<DeltaSession> {
        if old == new.as_modified_utf8() || !self.contains(old) {
            return None;
        }
        let replaced = self.remove(new.as_modified_utf8());
        if let Some((slot, mut session)) = self.take(old) {
            session.id = new.clone();
            self.enter(slot, new.lane(), session);
        }
        replaced
    }

    /// All of them, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &DeltaSession> {
        (0..self.slots()).filter_map(|slot| self.in_slot(slot))
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
