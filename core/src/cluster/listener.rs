//! The managers as the channel's listener: `ClusterSessionListener`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::{fmt, mem};

use hashbrown::HashMap;

use super::ahead::FoundDeltas;
use super::managed::Managed;
use super::maps::Maps;
use super::{ClusterConfig, ClusterError, ClusterEvent, ContextId, Events, Refusal};
use crate::channel::{
    Channel, ChannelListener, Inbound, Lane, Member, MemberIndex, SendOptions, To, UniqueId,
    Verdict,
};
use crate::java::{Graph, JavaString, Limits};
use crate::session::{
    Ahead, Cx, DeltaManager, DeltaManagerConfig, EventType, MessageError, ReconcileMessage,
    SessionMessage, Source, Wanted,
};
use crate::time::Instant;
use crate::transport::is_ours;

/// Counters of a cluster since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Session messages received.
    pub session_messages: u64,
    /// Byte messages received, which no manager takes: they are the application's own.
    pub byte_messages: u64,
    /// Java objects received that are no session messages, or could not be read.
    pub not_accepted: u64,
    /// Session messages for managers that are not here.
    pub unknown_context: u64,
    /// Events dropped because nobody polled them.
    pub events_dropped: u64,
    /// Deltas that threads had [applied](crate::engine::ReadAhead) before the cluster was handed them.
    pub applied_ahead: u64,
}

/// NOCONTEXTMANAGER replies that wait; more are not needed to answer honest members.
const REPLIES_MAX: usize = 256;

/// The session managers, by slot and by name.
#[derive(Clone, Debug)]
pub(crate) struct Managers {
    slots: Vec<Option<DeltaManager>>,
    by_name: HashMap<JavaString, ContextId>,
    serial: u32,
    /// Another one whenever a manager has come or gone.
    pub(super) version: u64,
    pub(crate) events: Events,
    stats: ClusterStats,
    replies: VecDeque<(MemberIndex, JavaString)>,
    /// The wall clock of the call under way.
    pub(crate) unix_ms: i64,
    /// When a message or an event has left something to be done; a time in the past for at once.
    pub(crate) due: Option<Instant>,
    skews: Skews,
    limits: Limits,
    /// What was read ahead of the bytes under way.
    pub(crate) found: FoundDeltas,
    /// Who takes byte messages.
    pub(crate) byte_listener: Option<ByteListener>,
    /// What lives in replicated maps.
    pub(crate) maps: Maps,
}

/// What takes messages of the application's own.
pub(crate) struct ByteListener(pub(crate) Box<dyn FnMut(&Inbound<'_>) -> Verdict + Send>);

/// A copy listens to nothing: see [`Cluster`](super::Cluster).
impl Clone for ByteListener {
    fn clone(&self) -> Self {
        Self(Box::new(|_| Verdict::Processed))
    }
}

impl fmt::Debug for ByteListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteListener")
    }
}

impl Managers {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        Self {
            slots: Vec::new(),
            by_name: HashMap::new(),
            serial: 0,
            version: 1,
            events: Events::new(config.events_max, config.attribute_events),
            stats: ClusterStats::default(),
            replies: VecDeque::new(),
            unix_ms: 0,
            due: None,
            skews: Skews::default(),
            limits: config.java_limits,
            found: FoundDeltas::default(),
            byte_listener: None,
            maps: Maps::default(),
        }
    }

    pub(crate) const fn stats(&self) -> ClusterStats {
        ClusterStats {
            events_dropped: self.events.dropped(),
            ..self.stats
        }
    }

    pub(crate) fn add(
        &mut self,
        now: Instant,
        name: JavaString,
        config: DeltaManagerConfig,
        max: usize,
    ) -> Result<ContextId, ClusterError> {
        if self.by_name.contains_key(&name) {
            return Err(ClusterError::NameTaken(name));
        }
        let free = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.slots.len());
        let slot = u16::try_from(free)
            .ok()
            .filter(|_| free < max)
            .ok_or(ClusterError::TooManyManagers(max))?;
        let serial = self.next_serial();
        let context = ContextId { slot, serial };
        let manager = DeltaManager::new(context, name.clone(), config, now);
        if free == self.slots.len() {
            self.slots.push(None);
        }
        if let Some(place) = self.slots.get_mut(free) {
            *place = Some(manager);
        }
        self.by_name.insert(name, context);
        self.version = self.version.wrapping_add(1);
        Ok(context)
    }

    /// A number that no manager and no context has had.
    pub(super) const fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// A manager of either kind.
    pub(crate) fn managed(&mut self, context: ContextId) -> Option<(Managed<'_>, &mut Events)> {
        let delta = self.slots.get_mut(usize::from(context.slot));
        let delta = delta.and_then(Option::as_mut);
        if let Some(manager) = delta.filter(|manager| manager.context() == context) {
            return Some((Managed::Delta(manager), &mut self.events));
        }
        let backup = self.maps.backup_mut(context)?;
        Some((Managed::Backup(backup), &mut self.events))
    }

    pub(crate) fn remove(&mut self, context: ContextId) {
        self.maps.remove_backup(context);
        self.recall(|manager, _| manager.context() == context);
        self.version = self.version.wrapping_add(1);
        if let Some(manager) = self.get(context) {
            let name = manager.name().clone();
            self.by_name.remove(&name);
            if let Some(place) = self.slots.get_mut(usize::from(context.slot)) {
                *place = None;
            }
        }
    }

    pub(crate) fn get(&self, context: ContextId) -> Option<&DeltaManager> {
        let manager = self.slots.get(usize::from(context.slot))?.as_ref()?;
        (manager.context() == context).then_some(manager)
    }

    pub(crate) fn get_mut(
        &mut self,
        context: ContextId,
    ) -> Option<(&mut DeltaManager, &mut Events)> {
        let manager = self.slots.get_mut(usize::from(context.slot))?.as_mut()?;
        (manager.context() == context).then_some((manager, &mut self.events))
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<ContextId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &DeltaManager> {
        self.slots.iter().flatten()
    }

    /// Calls for each manager, with the queue of events.
    pub(crate) fn for_each(&mut self, mut each: impl FnMut(&mut DeltaManager, &mut Events)) {
        for manager in self.slots.iter_mut().flatten() {
            each(manager, &mut self.events);
        }
    }

    /// Takes back the sessions that some managers have lent.
    pub(super) fn recall(&mut self, whose: impl Fn(&DeltaManager, &Events) -> bool) {
        self.for_each(|manager, events| {
            if whose(manager, events) {
                manager.sessions.recall();
            }
        });
    }

    fn is_due(&mut self, at: Option<Instant>) {
        self.due = self.due.into_iter().chain(at).min();
    }

    /// A message of a state transfer has been answered; whether it was one.
    pub(crate) fn data_sent(
        &mut self,
        now: Instant,
        unix_ms: i64,
        id: &UniqueId,
        reached: bool,
    ) -> bool {
        let events = &mut self.events;
        let mut managers = self.slots.iter_mut().flatten();
        let ours = managers.any(|manager| {
            manager.data_sent(
                &mut Cx {
                    now,
                    unix_ms,
                    events,
                },
                id,
                reached,
            )
        });
        if ours {
            self.due = Some(Instant::ZERO);
        }
        ours
    }

    /// A member may have other sessions than we: they are compared.
    pub(crate) fn compare(&mut self, at: Instant, member: MemberIndex, wanted: Wanted) {
        self.for_each(|manager, _| manager.reconcile.wish(at, member, wanted));
        self.due = Some(Instant::ZERO);
    }

    pub(crate) fn older_member(&mut self, now: Instant) {
        self.for_each(|manager, _| manager.older_member(now));
        self.due = Some(Instant::ZERO);
    }

    pub(crate) fn push_state(&mut self, now: Instant, unix_ms: i64, to: MemberIndex) {
        self.for_each(|manager, events| {
            manager.push_state(
                &mut Cx {
                    now,
                    unix_ms,
                    events,
                },
                to,
            )
        });
        self.due = Some(Instant::ZERO);
    }

    /// Tells those who asked for the state of an application that is not here.
    pub(crate) fn reply_no_context(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        options: SendOptions,
        buffer: &mut Vec<u8>,
    ) {
        while let Some((to, name)) = self.replies.pop_front() {
            let name = name.as_modified_utf8();
            let unique_id = [b"NO-CONTEXT-MANAGER-", name].concat();
            let kind = EventType::AllSessionNoContextManager;
            let message = SessionMessage {
                timestamp_set: false,
                ..SessionMessage::new(kind, name, b"NO-CONTEXT-MANAGER", &unique_id, 0)
            };
            buffer.clear();
            message.write(buffer);
            // If it cannot be told, it asks the next member when its patience ends.
            let _ = channel.send_object(now, To::Member(to), options, Lane::Any, buffer.as_slice());
        }
    }

    /// A Java object that does not lie as a session message of any Tomcat does: it may still be one.
    ///
    /// Other parts of Tomcat send objects of their own over the same channel (replicated maps, farm deployment): they are counted
    /// and let pass. What cannot be read at all, and what is none of Tomcat's, costs the connection.
    fn irregular(&mut self, now: Instant, inbound: &Inbound<'_>) -> Verdict {
        let error = match SessionMessage::normalize(inbound.message, &self.limits) {
            Ok(normal) => {
                return match SessionMessage::read(&normal) {
                    Some(message) => self.dispatch(now, source(inbound), &message),
                    None => Verdict::Processed,
                };
            }
            Err(error) => error,
        };
        self.stats.not_accepted = self.stats.not_accepted.wrapping_add(1);
        self.refuse(inbound.from, Refusal::Message(error));
        match error {
            MessageError::OtherClass if self.is_tomcats(inbound.message) => Verdict::Processed,
            _ => Verdict::Refused,
        }
    }

    /// Whether an object is of a class of Tomcat's clustering.
    fn is_tomcats(&self, stream: &[u8]) -> bool {
        let Ok(graph) = Graph::parse(stream, &self.limits) else {
            return false;
        };
        graph.root().is_some_and(|root| {
            let class = graph.class_name_bytes(root);
            class.starts_with(b"org.apache.catalina.")
        })
    }

    /// One of our nodes compares its sessions with ours.
    fn reconcile(&mut self, now: Instant, inbound: &Inbound<'_>) -> Verdict {
        let message = match ReconcileMessage::read(inbound.message, &self.limits) {
            Ok(message) => message,
            Err(error) => {
                self.stats.not_accepted = self.stats.not_accepted.wrapping_add(1);
                self.refuse(inbound.from, Refusal::Reconcile(error));
                return Verdict::Refused;
            }
        };
        let unix_ms = self.unix_ms;
        let context = self.find(message.context_name.as_modified_utf8());
        if let Some(from) = inbound.from
            && let Some((manager, events)) = context.and_then(|context| self.get_mut(context))
        {
            let mut cx = Cx {
                now,
                unix_ms,
                events,
            };
            manager.reconcile_received(&mut cx, from, message);
            let deadline = manager.deadline();
            self.is_due(deadline);
        }
        Verdict::Processed
    }

    fn refuse(&mut self, from: Option<MemberIndex>, reason: Refusal) {
        self.events.push(ClusterEvent::Refused {
            context: None,
            from,
            reason,
        });
    }

    /// Hands a message to the manager it names, or to all.
    fn dispatch(&mut self, now: Instant, source: Source, message: &SessionMessage<'_>) -> Verdict {
        let from = source.index;
        self.stats.session_messages = self.stats.session_messages.wrapping_add(1);
        let unix_ms = self.unix_ms;
        let Some(name) = message.context_name else {
            self.due = Some(Instant::ZERO);
            let mut verdict = Verdict::Processed;
            self.for_each(|manager, events| {
                let mut cx = Cx {
                    now,
                    unix_ms,
                    events,
                };
                if manager.receive(&mut cx, source, message, None) == Verdict::Refused {
                    verdict = Verdict::Refused;
                }
            });
            return verdict;
        };
        let context = self.find(name);
        let mut found = mem::take(&mut self.found);
        let ahead = message
            .session
            .and_then(|payload| found.of(message.timestamp_ms, payload));
        if matches!(ahead, Some(Ahead::Applied(_))) {
            self.stats.applied_ahead = self.stats.applied_ahead.wrapping_add(1);
        }
        let manager = context.and_then(|context| self.get_mut(context));
        let verdict = manager.map(|(manager, events)| {
            let mut cx = Cx {
                now,
                unix_ms,
                events,
            };
            let verdict = manager.receive(&mut cx, source, message, ahead);
            (verdict, manager.deadline())
        });
        self.found = found;
        if let Some((verdict, deadline)) = verdict {
            self.is_due(deadline);
            return verdict;
        }
        self.stats.unknown_context = self.stats.unknown_context.wrapping_add(1);
        let name =
            JavaString::from_modified_utf8(bytes::Bytes::copy_from_slice(name)).unwrap_or_default();
        // Who has just started asks before it is known as a member.
        let asks = message.kind() == Some(EventType::GetAllSessions);
        if let Some(from) = from
            && asks
            && self.replies.len() < REPLIES_MAX
        {
            self.replies.push_back((from, name.clone()));
            self.due = Some(Instant::ZERO);
        }
        self.refuse(from, Refusal::UnknownContext(name));
        match (asks, source.stranger) {
            (true, _) => Verdict::Processed,
            (false, true) => Verdict::Refused,
            (false, false) => Verdict::Unwanted,
        }
    }
}

impl ChannelListener for Managers {
    /// What a member may send is acknowledged even if it is of no use here: a second copy of it would be no better.
    fn message_received(&mut self, now: Instant, message: &Inbound<'_>) -> Verdict {
        if message.options.contains(SendOptions::BYTE_MESSAGE) {
            if ReconcileMessage::is_one(message.message) && is_ours(&message.sender.payload) {
                return self.reconcile(now, message);
            }
            self.stats.byte_messages = self.stats.byte_messages.wrapping_add(1);
            return match &mut self.byte_listener {
                Some(ByteListener(listen)) => listen(message),
                None => Verdict::Processed,
            };
        }
        if let Some(member) = message.from {
            let ahead = i64::try_from(message.timestamp_ms)
                .unwrap_or(i64::MAX)
                .saturating_sub(self.unix_ms);
            if let Some(ahead_ms) = self.skews.observe(member, ahead) {
                self.events
                    .push(ClusterEvent::ClockSkew { member, ahead_ms });
            }
        }
        if let Some(read) = SessionMessage::read(message.message) {
            return self.dispatch(now, source(message), &read);
        }
        let (unix_ms, events) = (self.unix_ms, &mut self.events);
        let maps = &mut self.maps;
        if maps.received(now, unix_ms, events, &self.limits, message) {
            let deadline = maps.deadline();
            self.is_due(deadline);
            Verdict::Processed
        } else {
            self.irregular(now, message)
        }
    }

    fn member_added(&mut self, _now: Instant, index: MemberIndex, member: &Member) {
        self.maps.member_added(index, member);
    }

    fn member_disappeared(&mut self, now: Instant, index: MemberIndex, _member: &Member) {
        self.maps.member_disappeared(index);
        self.due = Some(Instant::ZERO);
        self.skews.forget(index);
        self.for_each(|manager, _| manager.member_gone(now, index));
    }
}

/// Who sent a message, as the managers want to know it.
fn source(message: &Inbound<'_>) -> Source {
    Source {
        index: message.from,
        writer: crate::session::writer(&message.sender.unique_id),
        ours: is_ours(&message.sender.payload),
        stranger: !message.is_member,
    }
}

/// How far the clocks of members are ahead of ours.
#[derive(Clone, Debug, Default)]
struct Skews(HashMap<MemberIndex, Skew>);

#[derive(Clone, Debug)]
struct Skew {
    /// The largest of the last observations: the one that waited least on its way.
    best: i64,
    left: u8,
    told: i64,
}

/// Observations for one verdict: one message may be late for many reasons, not all of so many.
const OBSERVATIONS: u8 = 16;

/// Members observed: more than a channel has at once.
const SKEWS_MAX: usize = 8192;

impl Skews {
    /// A message says that its sender's clock is `ahead` ms ahead, or that it took that long; the skew if it is to be told.
    fn observe(&mut self, member: MemberIndex, ahead: i64) -> Option<i64> {
        if self.0.len() > SKEWS_MAX {
            self.0.clear();
        }
        let skew = self.0.entry(member).or_insert(Skew {
            best: i64::MIN,
            left: OBSERVATIONS,
            told: 0,
        });
        skew.best = skew.best.max(ahead);
        skew.left = skew.left.saturating_sub(1);
        // Being ahead proves itself at once.
        if skew.left > 0 && skew.best <= skew.told.saturating_add(1000) {
            return None;
        }
        let best = core::mem::replace(&mut skew.best, i64::MIN);
        skew.left = OBSERVATIONS;
        let rounded = if best.abs() <= 1000 { 0 } else { best };
        if rounded.abs_diff(skew.told) <= 1000 {
            return None;
        }
        skew.told = rounded;
        Some(rounded)
    }

    fn forget(&mut self, member: MemberIndex) {
        self.0.remove(&member);
    }
}
