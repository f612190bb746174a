//! Entries and the table that holds them.

use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::channel::MemberIndex;
use crate::channel::rpc::CallId;
use crate::time::Instant;

/// What a node has of an entry. `MapEntry.isPrimary`, `isBackup`, `isProxy`, `isCopy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EntryState {
    /// The value; this node says what becomes of it.
    Primary,
    /// The value, for the day on which the primary is gone (lazy maps).
    Backup,
    /// The value, as every other node (full maps).
    Copy,
    /// Only the knowledge of who has it (lazy maps).
    Proxy,
}

impl EntryState {
    /// Whether the entry counts: it has its value. `MapEntry.isActive`.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Proxy)
    }
}

/// A node of the map, as an entry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// This node.
    Us,
    /// Another one.
    Member(MemberIndex),
}

/// One entry. `AbstractReplicatedMap.MapEntry`.
#[derive(Debug)]
pub struct MapEntry<V> {
    pub(super) key: Bytes,
    pub(super) value: Option<V>,
    pub(super) state: EntryState,
    pub(super) primary: Option<Who>,
    pub(super) nodes: Vec<Who>,
    /// The ordered lane that its messages take.
    pub(super) lane: u64,
    pub(super) fetch: Option<Fetch>,
    /// When it was asked for in vain.
    pub(super) failed: Option<Instant>,
}

/// The value is being got from another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub(super) call: CallId,
    /// Whom else to ask: 0 the nodes, 1 the primary, 2 everybody.
    pub(super) stage: u8,
    /// Whether this node becomes the primary with it; otherwise a backup gets back what it lacks.
    pub(super) take_over: bool,
    /// How many have answered that they do not have it.
    pub(super) denials: usize,
}

impl<V> MapEntry<V> {
    /// The key: a Java stream of its own.
    pub const fn key(&self) -> &Bytes {
        &self.key
    }

    /// The value, unless this is a proxy.
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref().filter(|_| self.state.is_active())
    }

    /// The value, also that of a proxy whose value is still in use here.
    pub const fn held(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// What this node has of it.
    pub const fn state(&self) -> EntryState {
        self.state
    }

    /// Who says what becomes of it; `None` if that one is gone and nobody has taken its place.
    pub const fn primary(&self) -> Option<Who> {
        self.primary
    }

    /// Who has a backup or a copy, as far as is known.
    pub fn nodes(&self) -> &[Who] {
        &self.nodes
    }
}

/// Entries by key, in slots that a cursor can walk while the table changes.
#[derive(Debug)]
pub(super) struct EntryTable<V> {
    slots: Vec<Option<MapEntry<V>>>,
    free: Vec<u32>,
    by_key: HashMap<Bytes, u32>,
}

impl<V> Default for EntryTable<V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<V> EntryTable<V> {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).map(|&slot| slot as usize)
    }

    pub(super) fn in_slot(&self, slot: usize) -> Option<&MapEntry<V>> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn in_slot_mut(&mut self, slot: usize) -> Option<&mut MapEntry<V>> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&MapEntry<V>> {
        self.in_slot(self.slot(key)?)
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut MapEntry<V>> {
        let slot = self.slot(key)?;
        self.in_slot_mut(slot)
    }

    /// Adds an entry whose key is not there yet, or takes the place of the one that is; gives that one.
    pub(super) fn insert(&mut self, entry: MapEntry<V>) -> Option<MapEntry<V>> {
        if let Some(slot) = self.slot(&entry.key) {
            return self.slots.get_mut(slot)?.replace(entry);
        }
        let key = entry.key.clone();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
            self.by_key.insert(key, slot);
        }
        None
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<MapEntry<V>> {
        let slot = self.by_key.remove(key)?;
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &MapEntry<V>> {
        self.slots.iter().flatten()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
