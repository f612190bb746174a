//! The map itself and what is done with it here.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use super::config::{MapConfig, MapKind, MapStats};
use super::entry::{EntryState, EntryTable, Fetch, MapEntry, Who};
use super::kind::{MapMessageType, MapState};
use super::life::Life;
use super::message::MapMessage;
use super::owner::{MapOwner, Removal};
use crate::channel::rpc::{CallId, RpcChannel, RpcConfig, RpcOption};
use crate::channel::{Channel, Lane, Member, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::java::JavaBytes;
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
    publishing: HashMap<UniqueId, Bytes>,
    /// Entries that have become primary by a reply: the others are to be told.
    pub(super) announce: VecDeque<Bytes>,
    /// Entries whose value is to be asked for again.
    pub(super) repairs: VecDeque<Bytes>,
    pub(super) life: Life,
    /// The member that gets the next backup: `currentNode`.
    current_node: usize,
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

/// Publications under way that are remembered.
const PUBLISHING_MAX: usize = 65_536;
/// How long a value that nobody gave is not asked for again.
const FAILURE_MEMORY: Duration = Duration::from_secs(1);
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
    /// that nobody finds nothing meanwhile.
    pub fn put<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: Bytes,
        lane: u64,
        mut value: V,
    ) -> (Option<V>, Option<UniqueId>) {
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

    /// Removes an entry here and everywhere; gives the message that tells the others, and the value if it was here.
    pub fn remove(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        key: &[u8],
    ) -> Option<(Option<UniqueId>, Option<V>)> {
        let entry = self.entries.remove(key)?;
        self.life.removed(&entry.key);
        let message = MapMessage {
            key: Some(key),
            ..MapMessage::new(MapMessageType::Remove, &self.map_id)
        };
        out.buffer.clear();
        message.write(out.buffer);
        let to: Vec<_> = self.members().collect();
        let sent = self.send(now, out, &to, entry.lane);
        let value = entry.value.filter(|_| entry.state.is_active());
        Some((sent, value))
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

    // --- sending --------------------------------------------------------------------------------------------------

    /// Gives the whole value to a backup, or to all (full maps), and tells the others where it is. `publishEntryInfo`.
    /// `first` is the member that gets it if it can.
    pub(super) fn publish<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        first: Option<MemberIndex>,
    ) -> Option<UniqueId> {
        let members: Vec<_> = self.members().collect();
        let entry = self.entries.get_mut(key)?;
        entry.nodes.clear();
        if members.is_empty() {
            return None;
        }
        let mut whole = Vec::new();
        // What cannot be written stays here.
        owner.write(entry.value.as_ref()?, &mut whole).ok()?;
        let lane = entry.lane;
        let sent = if self.config.kind == MapKind::Full {
            entry.nodes = members.iter().copied().map(Who::Member).collect();
            self.encode(out, key, MapMessageType::Copy, None, Some(&whole));
            self.send(now, out, &members, lane)
        } else {
            let start = match first.and_then(|first| members.iter().position(|at| *at == first)) {
                Some(at) => at,
                None => self.next_node(members.len()),
            };
            let mut turn = members.iter().cycle().skip(start).take(members.len());
            turn.find_map(|&member| {
                let entry = self.entries.get_mut(key)?;
                entry.nodes = alloc::vec![Who::Member(member)];
                self.encode(out, key, MapMessageType::Backup, None, Some(&whole));
                self.send(now, out, &[member], lane)
            })
        };
        let Some(sent) = sent else {
            // All are full: the next turn tries again.
            if let Some(entry) = self.entries.get_mut(key) {
                entry.nodes.clear();
            }
            self.life.look_again(now);
            return None;
        };
        self.stats.published = self.stats.published.wrapping_add(1);
        self.watch(sent, key);
        if self.config.kind == MapKind::Lazy {
            self.tell_rest(now, out, key);
        }
        if let Some(value) = self.value_mut(key) {
            owner.sent(value);
        }
        Some(sent)
    }

    /// PROXY to all who have neither the value nor anything to do with it.
    pub(super) fn tell_rest(&mut self, now: Instant, out: &mut MapOut<'_>, key: &Bytes) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let (nodes, lane) = (&entry.nodes, entry.lane);
        let rest: Vec<_> = self
            .members()
            .filter(|member| !nodes.contains(&Who::Member(*member)))
            .collect();
        self.encode(out, key, MapMessageType::Proxy, None, None);
        self.send(now, out, &rest, lane);
    }

    /// Tells one member of an entry: where it is, or (full maps) what it is.
    pub(super) fn tell_one<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        member: MemberIndex,
    ) {
        let full = self.config.kind == MapKind::Full;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let mut whole = Vec::new();
        if full {
            entry.nodes.push(Who::Member(member));
            let written = entry
                .value
                .as_ref()
                .map(|value| owner.write(value, &mut whole));
            if written != Some(Ok(())) {
                return;
            }
        }
        let lane = entry.lane;
        let kind = match full {
            true => MapMessageType::Copy,
            false => MapMessageType::Proxy,
        };
        self.encode(out, key, kind, None, full.then_some(&whole[..]));
        self.send(now, out, &[member], lane);
    }

    /// NOTIFY_MAPMEMBER to those who have the value.
    pub(super) fn notify(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        key: &Bytes,
        kind: MapMessageType,
    ) {
        let full = self.config.kind == MapKind::Full;
        let members: Vec<_> = self.members().collect();
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if full {
            entry.nodes = members.iter().copied().map(Who::Member).collect();
        }
        let (to, lane) = (others(&entry.nodes).collect::<Vec<_>>(), entry.lane);
        self.encode(out, key, kind, None, None);
        self.send(now, out, &to, lane);
    }

    /// The next of so many members, round robin.
    const fn next_node(&mut self, count: usize) -> usize {
        if self.current_node >= count {
            self.current_node = 0;
        }
        let next = self.current_node;
        self.current_node = self.current_node.saturating_add(1);
        next
    }

    /// Writes a message about an entry into the buffer.
    fn encode(
        &self,
        out: &mut MapOut<'_>,
        key: &Bytes,
        kind: MapMessageType,
        diff: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let entry = self.entries.get(key);
        let nodes = entry.map(|entry| self.blocks(&entry.nodes));
        let local = block_of(out.channel.local_member());
        let message = MapMessage {
            diff: diff.is_some(),
            diff_value: diff,
            key: Some(key),
            nodes: nodes
                .as_ref()
                .map(|nodes| nodes.iter().map(Cow::from).collect()),
            primary: Some(Cow::from(&local)),
            value,
            ..MapMessage::new(kind, &self.map_id)
        };
        out.buffer.clear();
        message.write(out.buffer);
    }

    /// The member blocks of nodes.
    pub(super) fn blocks(&self, nodes: &[Who]) -> Vec<Vec<u8>> {
        let block = |who: &Who| {
            let member = match who {
                Who::Us => &self.local,
                Who::Member(index) => &self.peers.iter().find(|peer| peer.0 == *index)?.1,
            };
            Some(block_of(member))
        };
        nodes.iter().filter_map(block).collect()
    }

    /// Sends the message in the buffer to those of `to` that have room; `None` if none has. Who has none learns of the entry
    /// when it asks for it.
    pub(super) fn send(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        to: &[MemberIndex],
        lane: u64,
    ) -> Option<UniqueId> {
        let options = self.config.map_send_options;
        let mut to = to.to_vec();
        while !to.is_empty() {
            let body = out.buffer.as_slice();
            let lane = Lane::Ordered(lane);
            match out
                .channel
                .send_object(now, To::Members(&to), options, lane, body)
            {
                Ok(id) => return Some(id),
                Err(SendError::QueueFull(member) | SendError::NoSuchMember(member)) => {
                    to.retain(|other| *other != member);
                }
                Err(_) => return None,
            }
        }
        None
    }

    /// Remembers which entry a message carries, so that it can go elsewhere if it does not arrive.
    fn watch(&mut self, sent: UniqueId, key: &Bytes) {
        let acked = self.config.map_send_options.contains(SendOptions::USE_ACK);
        if acked && self.publishing.len() < PUBLISHING_MAX {
            self.publishing.insert(sent, key.clone());
        }
    }

    /// A message sent with USE_ACK has been answered: a backup that did not take its value is one no more. Whether the message
    /// was a request of this map, which concerns nobody else.
    pub fn sent<T>(&mut self, now: Instant, id: &UniqueId, faulty: &[(MemberIndex, T)]) -> bool {
        if let Some(key) = self.publishing.remove(id) {
            let entry = self.entries.get_mut(&key);
            if let Some(entry) = entry.filter(|entry| entry.state == EntryState::Primary)
                && !faulty.is_empty()
            {
                entry.nodes.retain(
                    |node| !matches!(node, Who::Member(member) if faulty.iter().any(|at| at.0 == *member)),
                );
                self.life.look_again(now);
            }
            return false;
        }
        self.rpc.sent(id, faulty)
    }

    // --- fetching -------------------------------------------------------------------------------------------------

    /// Asks for a value: first those who have a backup, then the primary, then everybody.
    pub(super) fn fetch<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        take_over: bool,
    ) -> Access {
        let Some(entry) = self.entries.get_mut(key) else {
            return Access::Absent;
        };
        if let Some(fetch) = &mut entry.fetch {
            fetch.take_over |= take_over;
            return Access::Fetching;
        }
        if entry
            .failed
            .is_some_and(|at| now.since(at) < FAILURE_MEMORY)
        {
            return Access::Absent;
        }
        // What is here does not fit what the primary has: then it is to be asked first.
        let stage = u8::from(!take_over);
        self.fetch_from(now, out, owner, key, stage, take_over)
    }

    pub(super) fn fetch_from<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        from_stage: u8,
        take_over: bool,
    ) -> Access {
        let map_id = self.map_id.clone();
        for stage in from_stage..3 {
            let Some(entry) = self.entries.get(key) else {
                return Access::Absent;
            };
            let to: Vec<MemberIndex> = match stage {
                0 => others(&entry.nodes).collect(),
                1 => entry.primary.as_slice().iter().filter_map(member).collect(),
                // A proxy of a Tomcat may answer with an old value: only if there is no better way.
                _ => self.members().collect(),
            };
            let message = MapMessage {
                key: Some(key),
                ..MapMessage::new(MapMessageType::RetrieveBackup, &map_id)
            };
            // All, since the first answer may be that it is not there.
            if let Some(call) = self.call(now, out, &to, &message, RpcOption::AllReply) {
                let fetch = Fetch {
                    call,
                    stage,
                    take_over,
                    denials: 0,
                };
                self.fetches.insert(call, key.clone());
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.fetch = Some(fetch);
                }
                return Access::Fetching;
            }
        }
        self.fetch_ended(now, owner, key, take_over);
        Access::Absent
    }

    /// Nobody gave the value.
    fn fetch_ended<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        key: &Bytes,
        take_over: bool,
    ) {
        let members = self.members.len();
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let denied = entry
            .fetch
            .take()
            .is_none_or(|fetch| fetch.denials >= members);
        entry.failed = Some(now);
        if !take_over {
            return;
        }
        self.stats.fetch_failed = self.stats.fetch_failed.wrapping_add(1);
        // Everybody said that it is not there: it is of no use any more. Who was only silent may be asked again.
        if denied && let Some(entry) = self.entries.remove(key) {
            self.stats.lost = self.stats.lost.wrapping_add(1);
            if let Some(value) = entry.value {
                owner.removed(key, value, Removal::Lost);
            }
        }
        owner.fetched(key, false);
    }

    /// Makes a request with a map message.
    pub(super) fn call(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        to: &[MemberIndex],
        message: &MapMessage<'_>,
        option: RpcOption,
    ) -> Option<CallId> {
        let timeout = match message.kind() {
            Some(MapMessageType::Ping | MapMessageType::Init | MapMessageType::Start) => {
                self.config.access_timeout.min(self.config.rpc_timeout)
            }
            _ => self.config.rpc_timeout,
        };
        let mut stream = Vec::new();
        message.write(&mut stream);
        let message = JavaBytes::from_checked(stream.into());
        let options = SendOptions::USE_ACK;
        let called = self
            .rpc
            .send(now, out.channel, to, message, option, options, timeout);
        called.ok().flatten()
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
