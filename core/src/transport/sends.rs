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

#[derive(Clone, Debug)]
struct Entry {
    id: UniqueId,
    /// Frames that have neither been answered nor failed.
    open: usize,
    faulty: Vec<(MemberIndex, FaultCause)>,
    /// Whether something follows when all have it.
    watched: bool,
}

/// Acknowledged messages under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sends {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Watched messages whose frames are settled, and the destinations that do not have them.
    pub(crate) watched: Vec<(UniqueId, Vec<(MemberIndex, FaultCause)>)>,
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
            self.watched.push((entry.id, mem::take(&mut entry.faulty)));
            return None;
        }
        Some((entry.id, mem::take(&mut entry.faulty)))
    }

    /// How many messages are under way, with those that something follows.
    pub(crate) fn len(&self) -> usize {
        let open = self.entries.len().saturating_sub(self.free.len());
        open.saturating_add(self.watched.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

    /// What is open: by the number of the message, how many destinations are, and which have failed.
    #[derive(Clone, Debug, Default)]
    struct Open {
        messages: u8,
        open: BTreeMap<u8, (usize, Vec<u16>)>,
        /// What the last step settled.
        settled: Option<(u8, Vec<u16>)>,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A message to so many members.
        Open(usize),
        /// A destination of one of the open messages is settled, well or with a fault of this member.
        Settle(u8, Option<u16>),
    }

    impl ReferenceStateMachine for Open {
        type State = Self;
        type Transition = Step;

        fn init_state() -> BoxedStrategy<Self> {
            Just(Self::default()).boxed()
        }

        fn transitions(state: &Self) -> BoxedStrategy<Step> {
            let open = (1..4usize).prop_map(Step::Open);
            if state.open.is_empty() {
                return open.boxed();
            }
            let keys: Vec<u8> = state.open.keys().copied().collect();
            let fault = proptest::option::of(0..9u16);
            let settle = (proptest::sample::select(keys), fault);
            prop_oneof![2 => open, 3 => settle.prop_map(|(key, fault)| Step::Settle(key, fault))]
                .boxed()
        }

        fn preconditions(state: &Self, step: &Step) -> bool {
            match step {
                Step::Open(_) => state.messages < 200,
                Step::Settle(key, _) => state.open.contains_key(key),
            }
        }

        fn apply(mut state: Self, step: &Step) -> Self {
            state.settled = None;
            match *step {
                Step::Open(destinations) => {
                    state
                        .open
                        .insert(state.messages, (destinations, Vec::new()));
                    state.messages += 1;
                }
                Step::Settle(key, fault) => {
                    if let Some((open, faults)) = state.open.get_mut(&key) {
                        *open -= 1;
                        // One member is one fault, in however many frames the message went to it.
                        if let Some(fault) = fault.filter(|fault| !faults.contains(fault)) {
                            faults.push(fault);
                        }
                        if *open == 0 {
                            state.settled =
                                state.open.remove(&key).map(|(_, faults)| (key, faults));
                        }
                    }
                }
            }
            state
        }
    }

    fn member(slot: u16) -> MemberIndex {
        MemberIndex {
            slot,
            generation: 0,
        }
    }

    struct AckTable;

    impl StateMachineTest for AckTable {
        type SystemUnderTest = (Sends, Vec<SendKey>);
        type Reference = Open;

        fn init_test(_: &Open) -> Self::SystemUnderTest {
            (Sends::default(), Vec::new())
        }

        fn apply(
            (mut sends, mut keys): Self::SystemUnderTest,
            after: &Open,
            step: Step,
        ) -> Self::SystemUnderTest {
            match step {
                Step::Open(destinations) => {
                    let id = UniqueId([keys.len() as u8; 16]);
                    let key = sends.open(id, destinations);
                    assert!(!key.is_none());
                    keys.push(key);
                }
                Step::Settle(number, fault) => {
                    let fault = fault.map(|slot| (member(slot), FaultCause::Disappeared));
                    let settled = sends.settle(keys[usize::from(number)], fault);
                    let settled = settled.map(|(id, faults)| {
                        let slots = faults.iter().map(|(member, _)| member.slot);
                        (id.0[0], slots.collect())
                    });
                    assert_eq!(settled, after.settled);
                }
            }
            (sends, keys)
        }

        fn check_invariants((sends, keys): &Self::SystemUnderTest, state: &Open) {
            assert_eq!(sends.len(), state.open.len());
            // Two open messages never share a place.
            let places: std::collections::BTreeSet<u32> = state
                .open
                .keys()
                .map(|number| keys[usize::from(*number)].0)
                .collect();
            assert_eq!(places.len(), state.open.len());
        }
    }

    prop_state_machine! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_message_is_settled_once_with_the_faults_it_had(sequential 1..120 => AckTable);
    }
}
