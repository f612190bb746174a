//! What other nodes of a map say.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::MapKind;
use super::entry::{EntryState, MapEntry, Who};
use super::kind::{MapMessageType, MapState};
use super::message::MapMessage;
use super::owner::{MapOwner, MapRefusal, Removal};
use super::replicated::{REPAIRS_MAX, ReplicatedMap, block_of, member};
use super::state_list::StateList;
use super::writer::MapWriter;
use crate::channel::rpc::{Arrival, CallId, RpcMessage, RpcRequest};
use crate::channel::{Member, MemberIndex};
use crate::java::JavaBytes;
use crate::time::Instant;

/// Keys are not longer, in bytes of their streams.
const KEY_MAX: usize = 65_536;
/// Nodes that one entry names, at most.
const NODES_MAX: usize = 256;
/// Known members, at most.
const PEERS_MAX: usize = 8192;

impl<V> ReplicatedMap<V> {
    /// Takes a message for this map that came by itself. `messageReceived`.
    pub fn receive<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: Option<MemberIndex>,
        sender: &Member,
        message: &MapMessage<'_>,
    ) {
        self.stats.received = self.stats.received.wrapping_add(1);
        if self.state() == MapState::Destroyed {
            return;
        }
        self.know(from, sender);
        match message.kind() {
            Some(MapMessageType::Stop) => {
                if let Some(member) = from {
                    self.map_member_gone(member);
                }
            }
            Some(
                kind @ (MapMessageType::Backup
                | MapMessageType::Proxy
                | MapMessageType::Copy
                | MapMessageType::Access
                | MapMessageType::NotifyMapmember),
            ) => {
                let ours = self.is_from_ours(sender);
                if self.admits(now, owner, from, ours, false, message) {
                    self.about_entry(owner, from, kind, message);
                }
            }
            Some(MapMessageType::Remove) => match message.key.filter(|key| key.len() <= KEY_MAX) {
                Some(key) => {
                    let ours = self.is_from_ours(sender);
                    self.removal_came(now, owner, from, ours, key, message);
                }
                None => self.refuse(owner, from, MapRefusal::Key),
            },
            // The others come as requests only.
            _ => {}
        }
        if let Some(known) = self.members.iter_mut().find(|known| Some(known.0) == from) {
            known.1 = now;
        }
    }

    /// Takes an RPC message; whether it was for this map.
    pub fn receive_rpc<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: Option<MemberIndex>,
        sender: &Member,
        rpc: &RpcMessage,
    ) -> bool {
        if rpc.rpc_id != self.map_id || self.state() == MapState::Destroyed {
            return false;
        }
        self.know(from, sender);
        let arrival = self.rpc.receive(from, rpc);
        let stream = rpc.message.as_bytes();
        let normal;
        let message = match MapMessage::read(stream) {
            Some(message) => Some(message),
            None if rpc.message.is_null() => None,
            None => match MapMessage::normalize(stream, &self.config.java) {
                Ok(made) => {
                    normal = made;
                    MapMessage::read(&normal)
                }
                Err(error) => {
                    self.refuse(owner, from, MapRefusal::Message(error));
                    None
                }
            },
        };
        if let Some(known) = self.members.iter_mut().find(|known| Some(known.0) == from) {
            known.1 = now;
        }
        match (arrival, &message) {
            (Arrival::Request(request), Some(message)) => {
                self.stats.received = self.stats.received.wrapping_add(1);
                self.asked(now, owner, request, message);
            }
            (Arrival::Request(request), None) => self.rpc.reply(request, JavaBytes::NULL),
            (Arrival::Reply(call), message) => {
                self.answered(now, owner, from, call, message.as_ref());
            }
            (Arrival::LeftOver, Some(message)) => {
                let kind = message.kind();
                if let (Some(MapMessageType::Init | MapMessageType::Start), Some(from)) =
                    (kind, from)
                {
                    self.map_member_heard(now, from);
                }
            }
            _ => {}
        }
        true
    }

    /// Somebody may be known here first by what it says.
    fn know(&mut self, from: Option<MemberIndex>, sender: &Member) {
        if let Some(from) = from
            && self.peers.len() < PEERS_MAX
            && !self.peers.iter().any(|peer| peer.0 == from)
        {
            self.peers.push((from, sender.clone()));
        }
    }

    fn refuse<O: MapOwner<Value = V>>(
        &mut self,
        owner: &mut O,
        from: Option<MemberIndex>,
        reason: MapRefusal,
    ) {
        self.stats.refused = self.stats.refused.wrapping_add(1);
        owner.refused(from, reason);
    }

    // --- requests and replies -------------------------------------------------------------------------------------

    /// Somebody asks. `replyRequest`.
    fn asked<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        request: RpcRequest,
        message: &MapMessage<'_>,
    ) {
        let local = block_of(&self.local);
        let map_id = self.map_id.clone();
        let about_us = |kind| MapMessage {
            primary: Some(Cow::from(&local)),
            ..MapMessage::new(kind, &map_id)
        };
        let ready = self.state() == MapState::Initialized;
        let Some(kind) = message.kind() else {
            return self.rpc.reply(request, JavaBytes::NULL);
        };
        let mut value = Vec::new();
        let reply = match kind {
            // Who has no state yet must not be asked for it.
            MapMessageType::Init | MapMessageType::State | MapMessageType::StateCopy if !ready => {
                return self.rpc.refuse(request);
            }
            MapMessageType::Init => about_us(kind),
            MapMessageType::Start => {
                self.map_member_heard(now, request.from);
                about_us(kind)
            }
            MapMessageType::Ping => {
                value.extend_from_slice(self.state().to_java().as_bytes());
                MapMessage {
                    value: Some(&value),
                    ..about_us(kind)
                }
            }
            MapMessageType::State | MapMessageType::StateCopy => {
                self.write_state(owner, kind, &mut value);
                MapMessage {
                    value: Some(&value),
                    ..MapMessage::new(kind, &map_id)
                }
            }
            MapMessageType::RetrieveBackup => {
                let key = message.key.unwrap_or_default();
                let here = self.entries.get(key).and_then(MapEntry::value);
                let written = here.map(|here| owner.write(here, &mut value));
                if written != Some(Ok(())) {
                    return self.rpc.reply(request, JavaBytes::NULL);
                }
                MapMessage {
                    key: message.key,
                    value: Some(&value),
                    ..MapMessage::new(kind, &map_id)
                }
            }
            _ => return self.rpc.reply(request, JavaBytes::NULL),
        };
        let mut stream = Vec::new();
        reply.write(&mut stream);
        self.rpc
            .reply(request, JavaBytes::from_checked(stream.into()));
    }

    /// The list of all entries, for somebody who starts.
    fn write_state<O: MapOwner<Value = V>>(
        &self,
        owner: &mut O,
        kind: MapMessageType,
        out: &mut Vec<u8>,
    ) {
        let local = block_of(&self.local);
        let peers: Vec<_> = self
            .peers
            .iter()
            .map(|peer| (peer.0, block_of(&peer.1)))
            .collect();
        let block = |who: &Who| match who {
            Who::Us => Some(Cow::from(&local)),
            Who::Member(member) => {
                let peer = peers.iter().find(|peer| peer.0 == *member)?;
                Some(Cow::from(&peer.1))
            }
        };
        let full = kind == MapMessageType::StateCopy;
        let mut values = Vec::new();
        // Values first: what cannot be written is left out, and the list begins with its length.
        let mut listed = Vec::with_capacity(self.entries.len());
        for entry in self.entries.iter() {
            let from = values.len();
            let written = match entry.value() {
                Some(value) if full => owner.write(value, &mut values),
                _ => Ok(()),
            };
            match written {
                Ok(()) => listed.push((entry, from..values.len())),
                Err(_) => values.truncate(from),
            }
        }
        let mut list = MapWriter::list(out, listed.len());
        for (entry, value) in listed {
            let kind = match full {
                true => MapMessageType::Copy,
                false => MapMessageType::Proxy,
            };
            list.message(&MapMessage {
                key: Some(&entry.key),
                nodes: Some(entry.nodes.iter().filter_map(block).collect()),
                primary: entry.primary.as_ref().and_then(block),
                value: values.get(value).filter(|value| !value.is_empty()),
                ..MapMessage::new(kind, &self.map_id)
            });
        }
        list.end_list();
    }

    /// An answer to a call of ours.
    fn answered<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: Option<MemberIndex>,
        call: CallId,
        message: Option<&MapMessage<'_>>,
    ) {
        let Some(from) = from else { return };
        if let Some(key) = self.fetches.get(&call).cloned() {
            return self.fetched(owner, from, call, &key, message);
        }
        let Some(message) = message else { return };
        match message.kind() {
            Some(MapMessageType::Init | MapMessageType::Start) => {
                self.map_member_heard(now, from);
                self.knows_once_more(call, from);
            }
            Some(MapMessageType::Ping) if self.life.is_ping(call) => {
                let state = message
                    .value
                    .and_then(|value| MapState::from_java(value, &self.config.java));
                if state == Some(MapState::Initialized) {
                    self.map_member_found(now, from);
                }
            }
            Some(MapMessageType::State | MapMessageType::StateCopy) => {
                self.state_came(now, owner, from, call, message);
            }
            _ => {}
        }
    }

    /// The value that was asked for, or that it is not there.
    fn fetched<O: MapOwner<Value = V>>(
        &mut self,
        owner: &mut O,
        from: MemberIndex,
        call: CallId,
        key: &Bytes,
        message: Option<&MapMessage<'_>>,
    ) {
        let full = self.config.kind == MapKind::Full;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Some(fetch) = entry.fetch.filter(|fetch| fetch.call == call) else {
            return;
        };
        let read = message
            .and_then(|message| message.value)
            .map(|value| owner.read(key, value, entry.value.as_ref()));
        let mut value = match read {
            Some(Ok(value)) => value,
            other => {
                if let Some(fetch) = &mut entry.fetch {
                    fetch.denials = fetch.denials.saturating_add(1);
                }
                if let Some(Err(error)) = other {
                    self.refuse(owner, Some(from), MapRefusal::Value(error));
                }
                return;
            }
        };
        entry.fetch = None;
        if fetch.take_over {
            owner.primary_changed(&mut value, true);
            entry.state = EntryState::Primary;
            entry.primary = Some(Who::Us);
            // A backup stays one. Who gave it as the primary, or nobody knows as what, is told by a new backup or a proxy: a
            // NOTIFY_MAPMEMBER would leave a Tomcat primary, too.
            entry.nodes.retain(|node| *node == Who::Member(from));
        } else if entry.state == EntryState::Proxy {
            entry.state = match full {
                true => EntryState::Copy,
                false => EntryState::Backup,
            };
        }
        if entry.value.is_none() {
            owner.added(key, &value);
        }
        entry.value = Some(value);
        self.fetches.remove(&call);
        self.rpc.cancel(call);
        if fetch.take_over {
            self.stats.fetched = self.stats.fetched.wrapping_add(1);
            self.announce.push_back(key.clone());
            owner.fetched(key, true);
        }
    }

    /// What another node has. What we know first-hand stays.
    fn state_came<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: MemberIndex,
        call: CallId,
        message: &MapMessage<'_>,
    ) {
        if !self.life.asked.iter().any(|asked| asked.0 == call) {
            return;
        }
        let mut entries = 0;
        if let Some(value) = message.value {
            match StateList::parse(value, &self.config.java) {
                Err(error) => self.refuse(owner, Some(from), MapRefusal::Message(error)),
                Ok(list) => {
                    for message in list.messages() {
                        match message {
                            Ok(message) => {
                                entries += usize::from(self.listed(now, owner, from, &message));
                            }
                            Err(error) => {
                                self.refuse(owner, Some(from), MapRefusal::Message(error));
                            }
                        }
                    }
                }
            }
        }
        self.life.state_came(call, entries);
    }

    /// One entry of another node; whether it was news.
    fn listed<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: MemberIndex,
        message: &MapMessage<'_>,
    ) -> bool {
        let Some(key) = message.key else { return false };
        let kind = match message.kind() {
            Some(kind @ (MapMessageType::Proxy | MapMessageType::Copy)) => kind,
            _ => return false,
        };
        if !self.admits(now, owner, Some(from), false, true, message) {
            return false;
        }
        let primary = message
            .primary
            .as_deref()
            .and_then(|block| self.resolve(block));
        let known = self.entries.get(key).map(|entry| entry.state);
        let first_hand = primary == Some(Who::Member(from));
        match known {
            None => {}
            Some(EntryState::Proxy | EntryState::Copy) if first_hand => {}
            Some(_) => return false,
        }
        self.about_entry(owner, Some(from), kind, message);
        if let Some(entry) = self.entries.get_mut(key) {
            // Of an earlier life of this node.
            if entry.primary == Some(Who::Us) {
                entry.primary = None;
            }
            if !entry.state.is_active() {
                entry.nodes.retain(|node| *node != Who::Us);
            }
            // Better than nothing.
            if entry.primary.is_none() && entry.nodes.is_empty() {
                entry.primary = Some(Who::Member(from));
            }
        }
        known.is_none()
    }

    // --- entries --------------------------------------------------------------------------------------------------

    /// A message about one entry.
    fn about_entry<O: MapOwner<Value = V>>(
        &mut self,
        owner: &mut O,
        from: Option<MemberIndex>,
        kind: MapMessageType,
        message: &MapMessage<'_>,
    ) {
        let Some(key) = message.key.filter(|key| key.len() <= KEY_MAX) else {
            return self.refuse(owner, from, MapRefusal::Key);
        };
        let nodes: Vec<Who> = message
            .nodes
            .iter()
            .flatten()
            .take(NODES_MAX)
            .filter_map(|block| self.resolve(block))
            .collect();
        let primary = message
            .primary
            .as_deref()
            .and_then(|block| self.resolve(block));
        let known = self.entries.get(key).is_some();
        let creates = matches!(
            kind,
            MapMessageType::Backup | MapMessageType::Copy | MapMessageType::Proxy
        );
        if !known {
            if !creates {
                return;
            }
            if self.entries.len() >= self.config.entries_max {
                self.stats.entries_refused = self.stats.entries_refused.wrapping_add(1);
                return self.refuse(owner, from, MapRefusal::Full);
            }
            let key = Bytes::copy_from_slice(key);
            self.entries.insert(MapEntry {
                lane: crate::session::lane(&key),
                key,
                value: None,
                state: EntryState::Proxy,
                primary: None,
                nodes: Vec::new(),
                fetch: None,
                failed: None,
            });
        }
        match kind {
            MapMessageType::Backup => {
                self.value_came(owner, from, EntryState::Backup, key, message);
            }
            MapMessageType::Copy => self.value_came(owner, from, EntryState::Copy, key, message),
            MapMessageType::Proxy => self.became_proxy(owner, key, &nodes),
            _ => {
                let entry = self.entries.get_mut(key);
                if let Some(value) = entry.and_then(|entry| entry.value.as_mut()) {
                    owner.accessed(value);
                }
            }
        }
        let full = self.config.kind == MapKind::Full;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        // Somebody else has become the primary: Tomcat leaves two of them.
        if entry.state == EntryState::Primary && primary.is_some_and(|primary| primary != Who::Us) {
            entry.state = match full {
                true => EntryState::Copy,
                false => EntryState::Backup,
            };
            if let Some(value) = &mut entry.value {
                owner.primary_changed(value, false);
            }
        }
        if entry.state != EntryState::Primary {
            entry.primary = primary.or_else(|| from.map(Who::Member));
            entry.nodes = nodes;
        }
        entry.failed = None;
    }

    /// A value, or what has changed in it, of which this node has the backup or a copy from now on.
    fn value_came<O: MapOwner<Value = V>>(
        &mut self,
        owner: &mut O,
        from: Option<MemberIndex>,
        state: EntryState,
        key: &[u8],
        message: &MapMessage<'_>,
    ) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let key = entry.key.clone();
        let was_active = entry.state.is_active() && entry.value.is_some();
        let refused = match (message.diff, message.diff_value, message.value) {
            (true, Some(diff), _) => match entry.value.as_mut().filter(|_| was_active) {
                Some(value) => owner.apply_diff(value, diff).err().map(MapRefusal::Diff),
                // The diff of a value that is not here: the whole is asked for.
                None => {
                    self.repair(key);
                    return;
                }
            },
            (_, _, Some(stream)) => match owner.read(&key, stream, entry.value.as_ref()) {
                Ok(value) => {
                    if !was_active {
                        owner.added(&key, &value);
                    }
                    entry.value = Some(value);
                    entry.fetch = None;
                    None
                }
                Err(error) => Some(MapRefusal::Value(error)),
            },
            // A missing value keeps the old one.
            _ => None,
        };
        if entry.value.is_some() && (refused.is_none() || was_active) {
            if entry.state == EntryState::Primary
                && let Some(value) = &mut entry.value
            {
                owner.primary_changed(value, false);
            }
            entry.state = state;
        }
        if let Some(refused) = refused {
            self.refuse(owner, from, refused);
            self.repair(key);
        }
    }

    /// The value is to be asked for.
    fn repair(&mut self, key: Bytes) {
        if self.repairs.len() < REPAIRS_MAX && !self.repairs.contains(&key) {
            self.repairs.push_back(key);
        }
    }

    /// Others have the value now.
    fn became_proxy<O: MapOwner<Value = V>>(&mut self, owner: &mut O, key: &[u8], nodes: &[Who]) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let was_active = entry.state.is_active();
        if entry.state == EntryState::Primary
            && let Some(value) = &mut entry.value
        {
            owner.primary_changed(value, false);
        }
        if entry.value.is_some() && nodes.contains(&Who::Us) {
            entry.state = EntryState::Backup;
            return;
        }
        entry.state = EntryState::Proxy;
        // What was changed here and not sent is kept until it can be.
        let kept = entry
            .value
            .as_ref()
            .is_some_and(|value| owner.is_dirty(value));
        if !kept
            && was_active
            && let Some(value) = entry.value.take()
        {
            let key = entry.key.clone();
            owner.removed(&key, value, Removal::Moved);
        }
    }

    /// Who is primary, as a member of the channel.
    pub fn primary_of(&self, key: &[u8]) -> Option<MemberIndex> {
        self.entries.get(key)?.primary.as_ref().and_then(member)
    }
}
