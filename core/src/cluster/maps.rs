//! What of a cluster lives in replicated maps: backup managers and the attributes of contexts.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::listener::Managers;
use super::{Cluster, ClusterError, ClusterEvent, ContextId, Events, Refusal};
use crate::channel::rpc::{RpcKind, RpcMessage};
use crate::channel::{
    Channel, ChannelListener as _, Inbound, Lane, Member, MemberIndex, SendOptions, To, UniqueId,
};
use crate::java::{JavaBytes, JavaString, Limits};
use crate::map::{
    MapConfig, MapEntry, MapKind, MapMessage, MapOut, MapOwner, MapRefusal, MapState, PlainValues,
    ReplicatedMap,
};
use crate::session::{BackupManager, BackupManagerConfig, Cx, Out, lane, latin1};
use crate::time::Instant;

/// Behaviour of a [`ReplicatedContext`]: Tomcat's names and defaults.
#[derive(Clone, Copy, Debug)]
pub struct ReplicatedContextConfig {
    /// Options of messages about attributes. `mapSendOptions`, default 2 (USE_ACK).
    pub map_send_options: SendOptions,
    /// Attributes. Those of others on top are refused and counted. Default 65,536.
    pub attributes_max: usize,
    /// How long the name of an attribute that was removed is remembered, so that neither a copy that was under way nor a node that
    /// was cut off brings it back. Default 1 hour.
    pub departed_memory: Duration,
    /// Names remembered so. Default 65,536.
    pub departed_max: usize,
}

impl Default for ReplicatedContextConfig {
    fn default() -> Self {
        Self {
            map_send_options: SendOptions::USE_ACK,
            attributes_max: 65_536,
            departed_memory: Duration::from_secs(3600),
            departed_max: 65_536,
        }
    }
}

/// The attributes of a web application, the same on every member that runs it. `ReplicatedContext`.
#[derive(Debug)]
pub struct ReplicatedContext {
    context: ContextId,
    map: ReplicatedMap<JavaBytes>,
}

impl ReplicatedContext {
    /// Which context it is.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// How far its map has come.
    pub const fn state(&self) -> MapState {
        self.map.state()
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&JavaBytes> {
        self.map.entry(&attribute_key(name))?.value()
    }

    /// The names of all attributes, in no particular order.
    pub fn attribute_names(&self) -> impl Iterator<Item = JavaString> {
        let name = |entry: &MapEntry<JavaBytes>| {
            let key = JavaBytes::new(entry.key().clone(), &self.map.config().java);
            key.ok()?.as_string()
        };
        self.map.entries().filter_map(name)
    }
}

fn attribute_key(name: &str) -> Bytes {
    JavaBytes::from(name).bytes().clone()
}

/// Values of attributes, and where to say what was wrong.
struct Attributes<'a> {
    plain: PlainValues,
    context: ContextId,
    events: &'a mut Events,
}

impl MapOwner for Attributes<'_> {
    type Value = JavaBytes;

    fn read(
        &mut self,
        key: &Bytes,
        stream: &[u8],
        before: Option<&JavaBytes>,
    ) -> Result<JavaBytes, crate::java::JavaError> {
        self.plain.read(key, stream, before)
    }

    fn write(
        &mut self,
        value: &JavaBytes,
        out: &mut Vec<u8>,
    ) -> Result<(), crate::java::JavaError> {
        self.plain.write(value, out)
    }

    fn identity(&self, value: &JavaBytes) -> Option<u64> {
        self.plain.identity(value)
    }

    fn refused(&mut self, from: Option<MemberIndex>, reason: MapRefusal) {
        self.events.push(ClusterEvent::Refused {
            context: Some(self.context),
            from,
            reason: Refusal::Map(reason),
        });
    }
}

/// Answers for members that asked for maps that are not here; more are not needed to answer honest ones.
const REPLIES_MAX: usize = 256;

/// Backup managers and contexts, by slot.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    backups: Vec<Option<BackupManager>>,
    contexts: Vec<Option<ReplicatedContext>>,
    replies: VecDeque<(MemberIndex, RpcMessage)>,
}

/// A copy has none: see [`Cluster::fork`](super::Cluster::fork), which copies only a cluster without any.
impl Clone for Maps {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Puts something into the first free slot; `None` if there are `max` already.
fn insert<T>(slots: &mut Vec<Option<T>>, max: usize, make: impl FnOnce(u16) -> T) -> Option<()> {
    let free = slots.iter().position(Option::is_none);
    let slot = free.unwrap_or(slots.len());
    let number = u16::try_from(slot).ok().filter(|_| slot < max)?;
    if free.is_none() {
        slots.push(None);
    }
    *slots.get_mut(slot)? = Some(make(number));
    Some(())
}

impl Maps {
    /// Whether nothing here lives in a map.
    pub(super) fn is_empty(&self) -> bool {
        let backups = self.backups.iter().all(Option::is_none);
        backups && self.contexts.iter().all(Option::is_none)
    }

    pub(super) fn backup(&self, context: ContextId) -> Option<&BackupManager> {
        let backup = self.backups.get(usize::from(context.slot))?.as_ref()?;
        (backup.context() == context).then_some(backup)
    }

    pub(super) fn backup_mut(&mut self, context: ContextId) -> Option<&mut BackupManager> {
        let backup = self.backups.get_mut(usize::from(context.slot))?.as_mut()?;
        (backup.context() == context).then_some(backup)
    }

    pub(super) fn backups(&self) -> impl Iterator<Item = &BackupManager> {
        self.backups.iter().flatten()
    }

    fn context_mut(&mut self, context: ContextId) -> Option<&mut ReplicatedContext> {
        let found = self.contexts.get_mut(usize::from(context.slot))?.as_mut()?;
        (found.context == context).then_some(found)
    }

    fn context(&self, context: ContextId) -> Option<&ReplicatedContext> {
        let found = self.contexts.get(usize::from(context.slot))?.as_ref()?;
        (found.context == context).then_some(found)
    }

    pub(super) fn remove_backup(&mut self, context: ContextId) {
        if self.backup(context).is_some()
            && let Some(place) = self.backups.get_mut(usize::from(context.slot))
        {
            *place = None;
        }
    }

    /// The wire's names of all maps.
    fn has_map(&self, map_id: &[u8]) -> bool {
        let mut contexts = self.contexts.iter().flatten();
        contexts.any(|context| context.map.map_id() == map_id)
            || self.backups().any(|backup| backup.map_id() == map_id)
    }

    pub(super) fn member_added(&mut self, member: MemberIndex, who: &Member) {
        for backup in self.backups.iter_mut().flatten() {
            backup.map().member_added(member, who);
        }
        for context in self.contexts.iter_mut().flatten() {
            context.map.member_added(member, who);
        }
    }

    pub(super) fn member_disappeared(&mut self, member: MemberIndex) {
        for backup in self.backups.iter_mut().flatten() {
            backup.map().member_disappeared(member);
        }
        for context in self.contexts.iter_mut().flatten() {
            context.map.member_disappeared(member);
        }
    }

    /// A message has been answered; whether it was a request of a map, which concerns nobody else.
    pub(super) fn sent<T>(
        &mut self,
        now: Instant,
        id: &UniqueId,
        faulty: &[(MemberIndex, T)],
    ) -> bool {
        let mut backups = self.backups.iter_mut().flatten();
        let mut contexts = self.contexts.iter_mut().flatten();
        backups.any(|backup| backup.map().sent(now, id, faulty))
            || contexts.any(|context| context.map.sent(now, id, faulty))
    }

    /// Takes a Java object; whether it was a message of maps.
    pub(super) fn received(
        &mut self,
        now: Instant,
        unix_ms: i64,
        events: &mut Events,
        limits: &Limits,
        inbound: &Inbound<'_>,
    ) -> bool {
        let (from, sender, stream) = (inbound.from, inbound.sender, inbound.message);
        if RpcMessage::is_rpc(stream) {
            match RpcMessage::read(stream, limits) {
                Ok(message) => self.rpc(now, unix_ms, events, limits, from, sender, message),
                Err(error) => refuse(events, from, Refusal::Rpc(error)),
            }
            return true;
        }
        if !MapMessage::is_map_message(stream) {
            return false;
        }
        if let Some(message) = MapMessage::read(stream) {
            self.message(now, unix_ms, events, limits, from, sender, &message);
            return true;
        }
        match MapMessage::normalize(stream, limits) {
            Ok(normal) => {
                if let Some(message) = MapMessage::read(&normal) {
                    self.message(now, unix_ms, events, limits, from, sender, &message);
                }
            }
            Err(error) => refuse(events, from, Refusal::Map(MapRefusal::Message(error))),
        }
        true
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "all of them belong to one message"
    )]
    fn message(
        &mut self,
        now: Instant,
        unix_ms: i64,
        events: &mut Events,
        limits: &Limits,
        from: Option<MemberIndex>,
        sender: &Member,
        message: &MapMessage<'_>,
    ) {
        let id = message.map_id.unwrap_or_default();
        for backup in self.backups.iter_mut().flatten() {
            if backup.map_id() == id {
                let mut cx = Cx {
                    now,
                    unix_ms,
                    events,
                };
                let (map, mut owner) = backup.parts(&mut cx);
                return map.receive(now, &mut owner, from, sender, message);
            }
        }
        for context in self.contexts.iter_mut().flatten() {
            if context.map.map_id() == id {
                let mut owner = Attributes {
                    plain: PlainValues { limits: *limits },
                    context: context.context,
                    events,
                };
                return context.map.receive(now, &mut owner, from, sender, message);
            }
        }
        let name = alloc::string::String::from_utf8_lossy(id);
        refuse(events, from, Refusal::UnknownContext(name.as_ref().into()));
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "all of them belong to one message"
    )]
    fn rpc(
        &mut self,
        now: Instant,
        unix_ms: i64,
        events: &mut Events,
        limits: &Limits,
        from: Option<MemberIndex>,
        sender: &Member,
        message: RpcMessage,
    ) {
        for backup in self.backups.iter_mut().flatten() {
            let mut cx = Cx {
                now,
                unix_ms,
                events,
            };
            let (map, mut owner) = backup.parts(&mut cx);
            if map.receive_rpc(now, &mut owner, from, sender, &message) {
                return;
            }
        }
        for context in self.contexts.iter_mut().flatten() {
            let mut owner = Attributes {
                plain: PlainValues { limits: *limits },
                context: context.context,
                events,
            };
            if context
                .map
                .receive_rpc(now, &mut owner, from, sender, &message)
            {
                return;
            }
        }
        if let (Some(from), Some(reply)) = (from, message.no_channel_reply())
            && message.kind == RpcKind::Request
            && self.replies.len() < REPLIES_MAX
        {
            self.replies.push_back((from, reply));
        }
    }

    /// When there is something to be done; a time in the past for at once.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let replies = (!self.replies.is_empty()).then_some(Instant::ZERO);
        let contexts = self.contexts.iter().flatten();
        let contexts = contexts.filter_map(|context| context.map.deadline());
        let backups = self.backups().filter_map(BackupManager::deadline);
        replies.into_iter().chain(contexts).chain(backups).min()
    }

    /// Does what is due.
    pub(super) fn pump(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        limits: &Limits,
        settled: bool,
        background: bool,
    ) {
        while let Some((to, reply)) = self.replies.pop_front() {
            let options = SendOptions::ASYNCHRONOUS;
            if let Ok(body) = reply.encode() {
                // Who cannot be told waits until its patience ends.
                let _ = out
                    .channel
                    .send_object(cx.now, To::Member(to), options, Lane::Any, body);
            }
        }
        for backup in self.backups.iter_mut().flatten() {
            if background {
                backup.background_process();
            }
            backup.pump(cx, out, settled);
        }
        for context in self.contexts.iter_mut().flatten() {
            let mut owner = Attributes {
                plain: PlainValues { limits: *limits },
                context: context.context,
                events: cx.events,
            };
            let mut out = MapOut {
                channel: out.channel,
                buffer: out.buffer,
            };
            context.map.pump(cx.now, &mut out, &mut owner, settled);
            if context.map.take_started().is_some() {
                cx.events.push(ClusterEvent::ContextStarted {
                    context: context.context,
                });
            }
        }
    }
}

fn refuse(events: &mut Events, from: Option<MemberIndex>, reason: Refusal) {
    events.push(ClusterEvent::Refused {
        context: None,
        from,
        reason,
    });
}

impl Managers {
    fn add_backup(
        &mut self,
        now: Instant,
        name: JavaString,
        config: BackupManagerConfig,
        channel: &Channel,
        max: usize,
    ) -> Result<ContextId, ClusterError> {
        let taken = self.find(name.as_modified_utf8()).is_some()
            || self.maps.has_map(&latin1(&name, "-map"));
        if taken {
            return Err(ClusterError::NameTaken(name));
        }
        let serial = self.next_serial();
        let mut made = None;
        insert(&mut self.maps.backups, max, |slot| {
            let context = ContextId { slot, serial };
            made = Some(context);
            BackupManager::new(context, name, config, channel.local_member(), now)
        });
        self.introduce(now, channel);
        made.ok_or(ClusterError::TooManyManagers(max))
    }

    fn add_context(
        &mut self,
        now: Instant,
        path: &str,
        config: ReplicatedContextConfig,
        channel: &Channel,
        max: usize,
    ) -> Result<ContextId, ClusterError> {
        let name = JavaString::from(path);
        let map_id = latin1(&name, "");
        if self.maps.has_map(&map_id) {
            return Err(ClusterError::NameTaken(name));
        }
        let serial = self.next_serial();
        let map = MapConfig {
            map_send_options: config.map_send_options,
            entries_max: config.attributes_max,
            departed_memory: config.departed_memory,
            departed_max: config.departed_max.max(1),
            ..MapConfig::new(MapKind::Full)
        };
        let mut made = None;
        insert(&mut self.maps.contexts, max, |slot| {
            let context = ContextId { slot, serial };
            made = Some(context);
            ReplicatedContext {
                context,
                map: ReplicatedMap::new(&map_id, map, channel.local_member(), now),
            }
        });
        self.introduce(now, channel);
        made.ok_or(ClusterError::TooManyManagers(max))
    }

    /// Makes the members known to maps that are new.
    fn introduce(&mut self, now: Instant, channel: &Channel) {
        for (index, member) in channel.members() {
            self.member_added(now, index, member);
        }
        self.due = Some(Instant::ZERO);
    }
}

impl Cluster {
    /// Adds the backup manager of the web application at `context_path`: as
    /// [`register_manager`](Self::register_manager), but each session is on two members only. The commands are the same.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub fn register_backup_manager(
        &mut self,
        now: Instant,
        context_path: &str,
        config: BackupManagerConfig,
    ) -> Result<ContextId, ClusterError> {
        config.validate().map_err(ClusterError::Config)?;
        let name = self.name_of(config.name.as_deref(), context_path)?;
        let max = self.config.managers_max;
        let context = self
            .managers
            .add_backup(now, name, config, &self.channel, max)?;
        self.pump(now);
        Ok(context)
    }

    /// A backup manager: its sessions, counters and state.
    pub fn backup_manager(&self, context: ContextId) -> Option<&BackupManager> {
        self.managers.maps.backup(context)
    }

    /// All backup managers.
    pub fn backup_managers(&self) -> impl Iterator<Item = &BackupManager> {
        self.managers.maps.backups()
    }

    /// Shares the attributes of the web application at `context_path` with the members that run it, too.
    /// [`ClusterEvent::ContextStarted`] says when they are here. As in Tomcat the host is no part of the name: applications of
    /// the same path on two hosts share one map.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub fn register_context(
        &mut self,
        now: Instant,
        context_path: &str,
        config: ReplicatedContextConfig,
    ) -> Result<ContextId, ClusterError> {
        if !context_path.is_empty() && !context_path.starts_with('/') {
            return Err(ClusterError::BadContextPath(context_path.to_string()));
        }
        let max = self.config.managers_max;
        let context = self
            .managers
            .add_context(now, context_path, config, &self.channel, max)?;
        self.pump(now);
        Ok(context)
    }

    /// Stops sharing the attributes of an application; whether they were shared.
    pub fn unregister_context(&mut self, now: Instant, context: ContextId) -> bool {
        let Some(found) = self.managers.maps.context_mut(context) else {
            return false;
        };
        let mut out = MapOut {
            channel: &mut self.channel,
            buffer: &mut self.buffer,
        };
        found.map.breakdown(now, &mut out);
        if let Some(place) = self
            .managers
            .maps
            .contexts
            .get_mut(usize::from(context.slot))
        {
            *place = None;
        }
        self.channel_events(now);
        true
    }

    /// Stops sharing the attributes of all applications.
    pub(super) fn unregister_contexts(&mut self, now: Instant) {
        let contexts = self.managers.maps.contexts.iter().flatten();
        for context in contexts.map(|found| found.context).collect::<Vec<_>>() {
            self.unregister_context(now, context);
        }
    }

    /// The shared attributes of an application, to be looked at.
    pub fn context(&self, context: ContextId) -> Option<&ReplicatedContext> {
        self.managers.maps.context(context)
    }

    /// Sets an attribute of an application here and on all members; a null value removes it. Gives the message that carries it,
    /// if there are others; with `USE_ACK` a [`Sent`](crate::channel::ChannelEvent::Sent) with it follows.
    pub fn set_context_attribute(
        &mut self,
        now: Instant,
        context: ContextId,
        name: &str,
        value: impl Into<JavaBytes>,
    ) -> Option<UniqueId> {
        let value = value.into();
        if value.is_null() {
            return self.remove_context_attribute(now, context, name);
        }
        let key = attribute_key(name);
        let limits = self.config.java_limits;
        let Managers { maps, events, .. } = &mut self.managers;
        let map = &mut maps.context_mut(context)?.map;
        let mut out = MapOut {
            channel: &mut self.channel,
            buffer: &mut self.buffer,
        };
        let mut owner = Attributes {
            plain: PlainValues { limits },
            context,
            events,
        };
        let lane = lane(&key);
        let (_, sent) = map.put(now, &mut out, &mut owner, key, lane, value);
        self.managers.due = Some(Instant::ZERO);
        self.channel_events(now);
        sent
    }

    /// Removes an attribute of an application here and on all members. Gives the message that says so, if there was one and
    /// there are others.
    pub fn remove_context_attribute(
        &mut self,
        now: Instant,
        context: ContextId,
        name: &str,
    ) -> Option<UniqueId> {
        let limits = self.config.java_limits;
        let Managers { maps, events, .. } = &mut self.managers;
        let map = &mut maps.context_mut(context)?.map;
        let mut out = MapOut {
            channel: &mut self.channel,
            buffer: &mut self.buffer,
        };
        let mut owner = Attributes {
            plain: PlainValues { limits },
            context,
            events,
        };
        let sent = map.remove(now, &mut out, &mut owner, &attribute_key(name));
        self.managers.due = Some(Instant::ZERO);
        self.channel_events(now);
        sent?.0
    }
}
