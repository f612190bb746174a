//! The managers as the channel's listener: `ClusterSessionListener`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashMap;

use super::{ClusterConfig, ClusterError, ClusterEvent, ContextId, Events, Refusal};
use crate::channel::{
    Channel, ChannelListener, Inbound, Lane, Member, MemberIndex, SendOptions, To, UniqueId,
    Verdict,
};
use crate::java::{JavaString, Limits};
use crate::session::{Cx, DeltaManager, DeltaManagerConfig, EventType, SessionMessage};
use crate::time::Instant;

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
}

/// NOCONTEXTMANAGER replies that wait; more are not needed to answer honest members.
const REPLIES_MAX: usize = 256;

/// The session managers, by slot and by name.
#[derive(Debug)]
pub(crate) struct Managers {
    slots: Vec<Option<DeltaManager>>,
    by_name: HashMap<JavaString, ContextId>,
    serial: u32,
    pub(crate) events: Events,
    stats: ClusterStats,
    replies: VecDeque<(MemberIndex, JavaString)>,
    /// The wall clock of the call under way.
    pub(crate) unix_ms: i64,
    /// When a message or an event has left something to be done; a time in the past for at once.
    pub(crate) due: Option<Instant>,
    skews: Skews,
    limits: Limits,
    /// Who takes byte messages.
    pub(crate) byte_listener: Option<ByteListener>,
}

/// What takes messages of the application's own.
pub(crate) struct ByteListener(pub(crate) Box<dyn FnMut(&Inbound<'_>) -> Verdict + Send>);

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
            events: Events::new(config.events_max, config.attribute_events),
            stats: ClusterStats::default(),
            replies: VecDeque::new(),
            unix_ms: 0,
            due: None,
            skews: Skews::default(),
            limits: config.java_limits,
            byte_listener: None,
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
        self.serial = self.serial.wrapping_add(1);
        let context = ContextId {
            slot,
            serial: self.serial,
        };
        let manager = DeltaManager::new(context, name.clone(), config, now);
        if free == self.slots.len() {
            self.slots.push(None);
        }
        if let Some(place) = self.slots.get_mut(free) {
            *place = Some(manager);
        }
        self.by_name.insert(name, context);
        Ok(context)
    }

    pub(crate) fn remove(&mut self, context: ContextId) {
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
    fn irregular(&mut self, now: Instant, inbound: &Inbound<'_>) {
        match SessionMessage::normalize(inbound.message, &self.limits) {
            Ok(normal) => {
                if let Some(message) = SessionMessage::read(&normal) {
                    self.dispatch(now, inbound.from, &message);
                }
            }
            Err(error) => {
                self.stats.not_accepted = self.stats.not_accepted.wrapping_add(1);
                self.refuse(inbound.from, Refusal::Message(error));
            }
        }
    }

    fn refuse(&mut self, from: Option<MemberIndex>, reason: Refusal) {
        self.events.push(ClusterEvent::Refused {
            context: None,
            from,
            reason,
        });
    }

    /// Hands a message to the manager it names, or to all.
    fn dispatch(&mut self, now: Instant, from: Option<MemberIndex>, message: &SessionMessage<'_>) {
        self.stats.session_messages = self.stats.session_messages.wrapping_add(1);
        let unix_ms = self.unix_ms;
        let Some(name) = message.context_name else {
            self.due = Some(Instant::ZERO);
            return self.for_each(|manager, events| {
                manager.receive(
                    &mut Cx {
                        now,
                        unix_ms,
                        events,
                    },
                    from,
                    message,
                )
            });
        };
        let context = self.find(name);
        if let Some((manager, events)) = context.and_then(|context| self.get_mut(context)) {
            manager.receive(
                &mut Cx {
                    now,
                    unix_ms,
                    events,
                },
                from,
                message,
            );
            let deadline = manager.deadline();
            return self.is_due(deadline);
        }
        self.stats.unknown_context = self.stats.unknown_context.wrapping_add(1);
        let name =
            JavaString::from_modified_utf8(bytes::Bytes::copy_from_slice(name)).unwrap_or_default();
        if let Some(from) = from
            && message.kind() == Some(EventType::GetAllSessions)
            && self.replies.len() < REPLIES_MAX
        {
            self.replies.push_back((from, name.clone()));
            self.due = Some(Instant::ZERO);
        }
        self.refuse(from, Refusal::UnknownContext(name));
    }
}

impl ChannelListener for Managers {
    /// Whatever a member sends is acknowledged, as Tomcat does: a second copy of it would be no better.
    fn message_received(&mut self, now: Instant, message: &Inbound<'_>) -> Verdict {
        if message.options.contains(SendOptions::BYTE_MESSAGE) {
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
        match SessionMessage::read(message.message) {
            Some(read) => self.dispatch(now, message.from, &read),
            None => self.irregular(now, message),
        }
        Verdict::Processed
    }

    fn member_disappeared(&mut self, _now: Instant, index: MemberIndex, _member: &Member) {
        self.due = Some(Instant::ZERO);
        self.skews.forget(index);
        self.for_each(|manager, _| manager.member_gone(index));
    }
}

/// How far the clocks of members are ahead of ours.
#[derive(Debug, Default)]
struct Skews(HashMap<MemberIndex, Skew>);

#[derive(Debug)]
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
