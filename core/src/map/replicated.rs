//! The map itself and what is done with it here.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashMap;

use super::config::{MapConfig, MapKind, MapStats};
use super::departed::Departed;
use super::entry::{EntryState, EntryTable, MapEntry, Who};
use super::kind::{MapMessageType, MapState};
use super::life::Life;
use super::owner::{MapOwner, Removal};
use crate::channel::rpc::{CallId, RpcChannel, RpcConfig};
use crate::channel::{Channel, Member, MemberIndex, SendError, UniqueId};
use crate::time::Instant;
use crate::wire::MemberBlock;

/// A replicated map on one node. `LazyReplicatedMap` or `ReplicatedMap`, by its [`MapKind`].
///
/// Keys are Java streams, compared byte by byte, which for strings and numbers is what `equals` does. It does not own the channel:
/// commands get it; what arrives is handed to [`receive`](Self::receive) and [`receive_rpc`](Self::receive_rpc), and
/// [`pump`](Self::pump) does what is due.
#[derive(Debug)]
pub struct ReplicatedMap<V> {
    pub(super) map_id: Bytes,
    pub(super) config: MapConfig,
    pub(super) rpc: RpcChannel,
    pub(super) local: Member,
    /// The channel's members, as far as is known.
    pub(super) peers: Vec<(MemberIndex, Member)>,
    /// Nodes of the map, and when each was last heard of.
    pub(super) members: Vec<(MemberIndex, Instant)>,
    pub(super) entries: EntryTable<V>,
    /// Entries whose values are being fetched.
    pub(super) fetches: HashMap<CallId, Bytes>,
    /// Whole values under way with USE_ACK: by message, their key.
    pub(super) publishing: HashMap<UniqueId, Bytes>,
    /// Entries that have become primary by a reply: the others are to be told.
    pub(super) announce: VecDeque<Bytes>,
    /// Entries whose value is to be asked for again.
    pub(super) repairs: VecDeque<Bytes>,
    pub(super) life: Life,
    /// What was removed.
    pub(super) departed: Departed,
    /// The member that gets the next backup: `currentNode`.
    pub(super) current_node: usize,
    pub(super) stats: MapStats,
}

/// The channel, and memory for the message being made.
#[derive(Debug)]
pub struct MapOut<'a> {
    /// Where messages go.
    pub channel: &'a mut Channel,
    /// Kept for its capacity.
    pub buffer: &'a mut Vec<u8>,
}

/// Repairs that wait.
pub(super) const REPAIRS_MAX: usize = 4096;

/// What has become of a value that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is here, and this node is its primary.
    Here,
    /// It is on its way; [`MapOwner::fetched`] follows.
    Fetching,
    /// There is none.
    Absent,
}

impl<V> ReplicatedMap<V> {
    /// A map that has not started. Maps of the same name on different nodes belong together.
    pub fn new(name: &[u8], config: MapConfig, local: &Member, now: Instant) -> Self {
        let map_id = Bytes::copy_from_slice(name);
        Self {
            rpc: RpcChannel::new(map_id.clone(), RpcConfig::default()),
            map_id,
            config,
            local: local.clone(),
            peers: Vec::new(),
            members: Vec::new(),
            entries: EntryTable::default(),
            fetches: HashMap::new(),
            publishing: HashMap::new(),
            announce: VecDeque::new(),
            repairs: VecDeque::new(),
            life: Life::new(now),
            departed: Departed::new(&config),
            current_node: 0,
            stats: MapStats::default(),
        }
    }

    /// The name, which is also the rpc id.
    pub const fn map_id(&self) -> &Bytes {
        &self.map_id
    }

    /// What it was told.
    pub const fn config(&self) -> &MapConfig {
        &self.config
    }

    /// What it has counted.
    pub const fn stats(&self) -> &MapStats {
        &self.stats
    }

    /// How far it has come.
    pub const fn state(&self) -> MapState {
        self.life.state()
    }

    /// The other nodes of the map.
    pub fn members(&self) -> impl Iterator<Item = MemberIndex> {
        self.members.iter().map(|member| member.0)
    }

    /// An entry, proxies included; looking changes nothing.
    pub fn entry(&self, key: &[u8]) -> Option<&MapEntry<V>> {
        self.entries.get(key)
    }

    /// All entries, proxies included, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &MapEntry<V>> {
        self.entries.iter()
    }

    /// How many entries there are, proxies included. `sizeFull`.
    pub fn len_full(&self) -> usize {
        self.entries.len()
    }

    /// How many entries there are whose value is here. `size`; counts them.
    pub fn len(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.state.is_active())
            .count()
    }

    /// Whether no entry has its value here.
    pub fn is_empty(&self) -> bool {
        !self.entries.iter().any(|entry| entry.state.is_active())
    }

    /// A value that is here, or still in use here, to be changed; say [`replicate`](Self::replicate) afterwards.
    pub fn value_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.entries.get_mut(key)?.value.as_mut()
    }

    /// Drops the value of a proxy that was kept because it was in use.
    pub(crate) fn forget_hidden<O: MapOwner<Value = V>>(&mut self, owner: &mut O, key: &[u8]) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let kept = |value| owner.is_dirty(value) || owner.is_in_use(value);
        let hidden = !entry.state.is_active() && !entry.value.as_ref().is_some_and(kept);
        if hidden && let Some(value) = entry.value.take() {
            let key = entry.key.clone();
            owner.removed(&key, value, Removal::Moved);
        }
    }

    /// Takes a value out of its entry, which is to be removed next.
    pub(crate) fn take_value(&mut self, key: &[u8]) -> Option<V> {
        self.entries.get_mut(key)?.value.take()
    }

    /// The entry in a slot, for a cursor over all of them.
    pub(crate) fn in_slot(&self, slot: usize) -> Option<&MapEntry<V>> {
        self.entries.in_slot(slot)
    }

    pub(crate) fn slots(&self) -> usize {
        self.entries.slots()
    }

    // --- local operations -----------------------------------------------------------------------------------------

    /// Puts a value, of which this node becomes the primary, and spreads it. `lane` is the order its messages keep.
    /// Gives the value it replaces and the message that carries it to its backup, if there is one.
    ///
    /// Tomcat removes an entry everywhere before it puts another in its place; here the new value overwrites the old one, so
    /// that nobody finds nothing meanwhile. Only of a key that was removed, or may have been, our own nodes hear that first.
    pub fn put<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: Bytes,
        lane: u64,
        mut value: V,
    ) -> (Option<V>, Option<UniqueId>) {
        let known = self.entries.slot(&key).is_some();
        if self.departed.knows(&key) || (!known && !self.config.keys_are_unique) {
            self.make_way(now, out, &key, lane);
        }
        owner.primary_changed(&mut value, true);
        let replaced = self.entries.insert(MapEntry {
            key: key.clone(),
            value: Some(value),
            state: EntryState::Primary,
            primary: Some(Who::Us),
            nodes: Vec::new(),
            lane,
            fetch: None,
            failed: None,
        });
        let sent = self.publish(now, out, owner, &key, None);
        (replaced.and_then(|entry| entry.value), sent)
    }

    /// Makes this node the primary of an entry, whose value is then here or on its way. `AbstractReplicatedMap.get`.
    pub fn access<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &[u8],
    ) -> Access {
        self.tidy(key);
        let Some(entry) = self.entries.get_mut(key) else {
            return Access::Absent;
        };
        let key = entry.key.clone();
        match entry.state {
            EntryState::Primary => Access::Here,
            EntryState::Backup | EntryState::Copy if entry.value.is_some() => {
                let full = entry.state == EntryState::Copy;
                entry.state = EntryState::Primary;
                let before = entry.primary.replace(Who::Us);
                if let Some(value) = &mut entry.value {
                    owner.primary_changed(value, true);
                }
                if full {
                    self.notify(now, out, &key, MapMessageType::NotifyMapmember);
                } else {
                    // Who had it last keeps it: nothing has to move to a third node.
                    let keeper = match before {
                        Some(Who::Member(member)) => Some(member),
                        _ => None,
                    };
                    self.publish(now, out, owner, &key, keeper);
                }
                Access::Here
            }
            _ => self.fetch(now, out, owner, &key, true),
        }
    }

    /// Sends what has changed in a value of which this node is the primary, or that it was used if that is due; with
    /// `complete` the whole value in any case. Gives the message that carries it. `AbstractReplicatedMap.replicate`.
    ///
    /// # Errors
    /// If the channel is not running: what has changed is kept.
    pub fn replicate<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &[u8],
        complete: bool,
    ) -> Result<Option<UniqueId>, SendError> {
        self.tidy(key);
        let Some(entry) = self.entries.get(key) else {
            return Ok(None);
        };
        let key = entry.key.clone();
        let Some(value) = &entry.value else {
            return Ok(None);
        };
        let (dirty, due) = (owner.is_dirty(value), owner.is_access_due(value));
        if entry.state != EntryState::Primary {
            // Somebody else has become the primary meanwhile. Tomcat drops what was changed here.
            return Ok(match dirty {
                true => {
                    self.access(now, out, owner, &key);
                    None
                }
                false => None,
            });
        }
        let to: Vec<_> = others(&entry.nodes).collect();
        if to.is_empty() {
            // Nobody has it; with a node to give it to, it goes there as it is then.
            if !self.members.is_empty() {
                return Ok(self.publish(now, out, owner, &key, None));
            }
            if let Some(value) = self.value_mut(&key) {
                owner.sent(value);
            }
            return Ok(None);
        }
        let full = self.config.kind == MapKind::Full;
        let (kind, mut diff, mut whole) = match full {
            true => (MapMessageType::Copy, Vec::new(), Vec::new()),
            false => (MapMessageType::Backup, Vec::new(), Vec::new()),
        };
        let has_diff = (dirty || complete) && owner.write_diff(value, &mut diff);
        let kind = if has_diff {
            kind
        } else if complete {
            if owner.write(value, &mut whole).is_err() {
                return Ok(None);
            }
            kind
        } else if dirty || due {
            MapMessageType::Access
        } else {
            return Ok(None);
        };
        self.encode(
            out,
            &key,
            kind,
            has_diff.then_some(&diff[..]),
            (kind != MapMessageType::Access && !has_diff).then_some(&whole[..]),
        );
        let lane = self.entries.get(&key).map_or(0, |entry| entry.lane);
        if !out.channel.is_running() {
            return Err(SendError::NotStarted);
        }
        let Some(sent) = self.send(now, out, &to, lane) else {
            // Its backup takes nothing now: another one gets the whole.
            return Ok(self.publish(now, out, owner, &key, None));
        };
        let counter = match kind {
            MapMessageType::Access => &mut self.stats.accesses,
            _ if has_diff => &mut self.stats.diffs,
            _ => &mut self.stats.published,
        };
        *counter = counter.wrapping_add(1);
        self.watch(sent, &key);
        if let Some(value) = self.value_mut(&key) {
            owner.sent(value);
        }
        Ok(Some(sent))
    }

    /// Who a member block means.
    pub(super) fn resolve(&self, block: &[u8]) -> Option<Who> {
        let block = MemberBlock::read(block).ok()?;
        if self.local == block {
            return Some(Who::Us);
        }
        let peer = self.peers.iter().find(|peer| peer.1 == block)?;
        Some(Who::Member(peer.0))
    }
}

/// The others among nodes.
pub(super) fn others(nodes: &[Who]) -> impl Iterator<Item = MemberIndex> {
    nodes.iter().filter_map(member)
}

pub(super) const fn member(who: &Who) -> Option<MemberIndex> {
    match who {
        Who::Us => None,
        Who::Member(member) => Some(*member),
    }
}

/// A member as a block.
pub(super) fn block_of(member: &Member) -> Vec<u8> {
    let mut block = Vec::with_capacity(member.encoded_len());
    // A vector takes everything.
    let _ = member.write(&mut block);
    block
}
