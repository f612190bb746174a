//! Telling the others of an entry: who gets its value, and who only where it is.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::MapKind;
use super::entry::{EntryState, Who};
use super::kind::MapMessageType;
use super::message::MapMessage;
use super::owner::MapOwner;
use super::replicated::{MapOut, ReplicatedMap, block_of, others};
use crate::channel::{Lane, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::time::Instant;

/// Publications under way that are remembered.
const PUBLISHING_MAX: usize = 65_536;

impl<V> ReplicatedMap<V> {
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
            if !entry.nodes.contains(&Who::Member(member)) {
                entry.nodes.push(Who::Member(member));
            }
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
    pub(super) fn encode(
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
        send_to(now, out, &mut to.to_vec(), lane, options)
    }
}

/// Sends the message in the buffer to those of `to` that have room; the others are taken out of it.
pub(super) fn send_to(
    now: Instant,
    out: &mut MapOut<'_>,
    to: &mut Vec<MemberIndex>,
    lane: u64,
    options: SendOptions,
) -> Option<UniqueId> {
    while !to.is_empty() {
        let body = out.buffer.as_slice();
        let lane = Lane::Ordered(lane);
        match out
            .channel
            .send_object(now, To::Members(to.as_slice()), options, lane, body)
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

impl<V> ReplicatedMap<V> {
    /// Remembers which entry a message carries, so that it can go elsewhere if it does not arrive.
    pub(super) fn watch(&mut self, sent: UniqueId, key: &Bytes) {
        if self.config.map_send_options.contains(SendOptions::USE_ACK) {
            self.watch_acked(sent, key);
        }
    }

    /// The same for a message that asks for an ACK in any case.
    pub(super) fn watch_acked(&mut self, sent: UniqueId, key: &Bytes) {
        if self.publishing.len() < PUBLISHING_MAX {
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
            self.removal_missed(now, &key, faulty);
            return false;
        }
        self.rpc.sent(id, faulty)
    }
}
