//! `DeltaManager`: the sessions of one application, the same on every member.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::delta_request::{self, boolean_value, write_new_session_id};
use super::departed::{Departed, Departure};
use super::donor::Donors;
use super::filter::AttributeFilters;
use super::held::{EarlyRoom, HeldQueue};
use super::table::SessionTable;
use super::transfer::Join;
use super::{
    Action, ActionType, DeltaManagerConfig, DeltaSession, EventType, ManagerStats, SessionId,
    SessionMessage,
};
use crate::channel::{Channel, Lane, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::cluster::{AttributeChange, ClusterEvent, ContextId, Events, ExpiryCause, Origin};
use crate::java::{JavaBytes, JavaString, ObjectOutput};
use crate::rng::Rng;
use crate::time::Instant;

/// The session manager of one web application. `org.apache.catalina.ha.session.DeltaManager`.
///
/// It belongs to a [`Cluster`](crate::cluster::Cluster), which offers the commands; here is what can be looked at.
#[derive(Debug)]
pub struct DeltaManager {
    pub(crate) context: ContextId,
    pub(crate) name: JavaString,
    pub(crate) config: DeltaManagerConfig,
    pub(crate) filters: AttributeFilters,
    pub(crate) sessions: SessionTable,
    pub(crate) departed: Departed,
    pub(crate) early: EarlyRoom,
    pub(crate) held: HeldQueue,
    pub(crate) join: Join,
    pub(crate) donors: Donors,
    pub(crate) stats: ManagerStats,
    pub(crate) expiry: super::expiry::Expiry,
}

/// The time, and where events go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) unix_ms: i64,
    pub(crate) events: &'a mut Events,
}

/// Memory for messages that is kept for the next, in bytes; a larger one is an exception.
const KEPT_MAX: usize = 1 << 20;

/// Where messages go.
pub(crate) struct Out<'a> {
    pub(crate) channel: &'a mut Channel,
    /// `channelSendOptions`.
    pub(crate) options: SendOptions,
    /// Memory for the message being made, and for its payload.
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) payload: &'a mut Option<ObjectOutput>,
    /// Members whose queue was full: they get nothing until it has room again, and then the whole state.
    pub(crate) lagging: &'a mut Vec<MemberIndex>,
}

impl Out<'_> {
    /// Sends the message in the buffer to all members that keep up. One member that reads too slowly must not keep the
    /// others from their messages.
    fn broadcast(&mut self, now: Instant, lane: u64) -> Result<UniqueId, SendError> {
        loop {
            let lane = Lane::Ordered(lane);
            let message = self.buffer.as_slice();
            let sent = if self.lagging.is_empty() {
                self.channel
                    .send_object(now, To::All, self.options, lane, message)
            } else {
                let members = self.channel.members().map(|(member, _)| member);
                let keeping_up: Vec<_> = members
                    .filter(|member| !self.lagging.contains(member))
                    .collect();
                self.channel
                    .send_object(now, To::Members(&keeping_up), self.options, lane, message)
            };
            match sent {
                // Each turn leaves out one member more.
                Err(SendError::QueueFull(member)) if !self.lagging.contains(&member) => {
                    self.lagging.push(member)
                }
                sent => return sent,
            }
        }
    }
}

/// Why a command about a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// There is no manager of that [`ContextId`].
    UnknownContext,
    /// There is no such session here.
    UnknownSession,
    /// There is a session of that id already.
    SessionExists,
    /// `max_active_sessions` or `limits.sessions_max` is reached.
    TooManySessions {
        /// The limit.
        max: usize,
    },
    /// The id or the name has so many encoded bytes; Java's `writeUTF` takes 65 535.
    TooLong(usize),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownContext => f.write_str(
                "no manager is registered for this context; call `register_manager` first",
            ),
            Self::UnknownSession => f.write_str("no such session here; it may have expired"),
            Self::SessionExists => {
                f.write_str("a session of this id exists already; use it or choose another id")
            }
            Self::TooManySessions { max } => write!(
                f,
                "there are {max} sessions already; raise `max_active_sessions` or `limits.sessions_max`"
            ),
            Self::TooLong(len) => write!(
                f,
                "the name takes {len} encoded bytes, but Java can send 65535; shorten it"
            ),
        }
    }
}

impl core::error::Error for SessionError {}

/// What can be looked at.
impl DeltaManager {
    /// Which manager it is.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// Its name on the wire: `localhost#/shop`.
    pub const fn name(&self) -> &JavaString {
        &self.name
    }

    /// What it was told.
    pub const fn config(&self) -> &DeltaManagerConfig {
        &self.config
    }

    /// What it has counted.
    pub const fn stats(&self) -> &ManagerStats {
        &self.stats
    }

    /// How many sessions there are, primaries and copies.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// All sessions, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = &DeltaSession> {
        self.sessions.iter()
    }

    /// A session, without using it.
    pub fn session(&self, id: &SessionId) -> Option<&DeltaSession> {
        self.sessions.get(id.as_modified_utf8())
    }

    /// Messages kept while a state transfer runs. `receivedQueueSize`.
    pub fn received_queue_size(&self) -> usize {
        self.held.len()
    }

    /// Messages that wait for their session.
    pub const fn early_messages(&self) -> usize {
        self.early.len()
    }
}

impl DeltaManager {
    pub(crate) fn new(
        context: ContextId,
        name: JavaString,
        config: DeltaManagerConfig,
        now: Instant,
    ) -> Self {
        let limits = &config.limits;
        Self {
            context,
            name,
            filters: AttributeFilters {
                name: config.session_attribute_name_filter.clone(),
                value_class_name: config.session_attribute_value_class_name_filter.clone(),
            },
            sessions: SessionTable::default(),
            departed: Departed::new(limits.departed_memory, limits.departed_max),
            early: EarlyRoom::new(
                limits.early_wait,
                limits.early_messages_max,
                limits.early_bytes_max,
            ),
            held: HeldQueue::new(limits.held_messages_max, limits.held_bytes_max),
            join: Join::new(now),
            donors: Donors::default(),
            stats: ManagerStats::default(),
            expiry: super::expiry::Expiry::default(),
            config,
        }
    }

    // --- local commands -------------------------------------------------------------------------------------------

    /// `createSession`: CREATED goes out at once, what the request sets follows as its delta.
    pub(crate) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        let wanted = usize::try_from(self.config.max_active_sessions).unwrap_or(usize::MAX);
        let max = wanted.min(self.config.limits.sessions_max);
        if self.sessions.len() >= max {
            self.stats.rejected_sessions = self.stats.rejected_sessions.wrapping_add(1);
            return Err(SessionError::TooManySessions { max });
        }
        let id = match id {
            Some(id) => checked(id)?.clone(),
            None => self.random_id(out.channel.rng()),
        };
        if self.sessions.contains(id.as_modified_utf8()) {
            return Err(SessionError::SessionExists);
        }
        let mut session =
            DeltaSession::new(id.clone(), cx.now, cx.unix_ms, self.config.session_timeout);
        session.is_new = true;
        session.primary = true;
        session.access_count = 1;
        session.delta.record_all_actions = self.config.record_all_actions;
        session.delta.record(Action::of_session(
            ActionType::IS_NEW,
            Some(boolean_value(true)),
        ));
        let interval = self.config.session_timeout;
        session.delta.record(Action::of_session(
            ActionType::MAX_INTERVAL,
            Some(interval.into()),
        ));
        let lane = session.lane;
        self.departed.recall(id.as_modified_utf8());
        self.add(cx, session, Origin::Local);
        self.announce(cx, out, EventType::SessionCreated, lane, &id, None);
        Ok(id)
    }

    /// An id that is not in use.
    fn random_id(&self, rng: &mut Rng) -> SessionId {
        loop {
            let id = SessionId::random(
                rng,
                self.config.session_id_length,
                self.config.jvm_route.as_deref(),
            );
            if !self.sessions.contains(id.as_modified_utf8()) {
                return id;
            }
        }
    }

    /// A request joins a session: whether it is there and its time is not over.
    pub(crate) fn access(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, id: &SessionId) -> bool {
        if !self.check_valid(cx, out, id) {
            return false;
        }
        let record_joins = self.config.record_joins;
        let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) else {
            return false;
        };
        session.access(cx.now, cx.unix_ms);
        session.access_count = session.access_count.saturating_add(1);
        if record_joins {
            session.is_new = false;
            session.delta.record(Action::of_session(
                ActionType::IS_NEW,
                Some(boolean_value(false)),
            ));
        }
        true
    }

    /// A request is done with a session.
    pub(crate) fn end_access(&mut self, cx: &Cx<'_>, id: &SessionId) {
        let at_start = self.config.session_last_access_at_start;
        if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
            session.access_count = session.access_count.saturating_sub(1);
            session.end_access(cx.now, cx.unix_ms, at_start);
        }
    }

    /// Changes an attribute here and records it; gives the value it had.
    pub(crate) fn set_attribute(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        name: JavaString,
        value: Option<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        if name.encoded_len() > usize::from(u16::MAX) {
            return Err(SessionError::TooLong(name.encoded_len()));
        }
        let value = value.filter(|value| !value.is_null());
        let distributed = self.filters.included(&name, value.as_ref());
        let session = self
            .sessions
            .get_mut(id.as_modified_utf8())
            .ok_or(SessionError::UnknownSession)?;
        let (change, before) = match &value {
            Some(value) => match session.attributes.insert(name.clone(), value.clone()) {
                None => (AttributeChange::Added, None),
                before => (AttributeChange::Replaced, before),
            },
            None => match session.attributes.remove(&name) {
                // A remove of what is not there records nothing.
                None => return Ok(None),
                before => (AttributeChange::Removed, before),
            },
        };
        if distributed {
            session
                .delta
                .record(Action::named(ActionType::ATTRIBUTE, name.clone(), value));
        }
        if cx.events.wants_attributes() {
            let (context, id) = (self.context, id.clone());
            cx.events.push(ClusterEvent::AttributeChanged {
                context,
                id,
                name,
                change,
                origin: Origin::Local,
            });
        }
        Ok(before)
    }

    /// Applies a change of the session itself and records it.
    pub(crate) fn change(&mut self, id: &SessionId, action: Action) -> Result<(), SessionError> {
        if action.name.encoded_len() > usize::from(u16::MAX) {
            return Err(SessionError::TooLong(action.name.encoded_len()));
        }
        let session = self
            .sessions
            .get_mut(id.as_modified_utf8())
            .ok_or(SessionError::UnknownSession)?;
        session.apply(action.clone());
        session.delta.record(action);
        Ok(())
    }

    /// `changeSessionId`: here at once, then CHANGE_SESSION_ID; what is recorded goes out under the new id.
    pub(crate) fn change_id(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        old: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        let new = match new {
            Some(new) => checked(new)?.clone(),
            None => self.random_id(out.channel.rng()),
        };
        let session = self
            .sessions
            .get(old.as_modified_utf8())
            .ok_or(SessionError::UnknownSession)?;
        if *old == new {
            return Ok(new);
        }
        if self.sessions.contains(new.as_modified_utf8()) {
            return Err(SessionError::SessionExists);
        }
        let lane = session.lane;
        let Ok(payload) = write_new_session_id(&new) else {
            return Err(SessionError::TooLong(new.as_modified_utf8().len()));
        };
        self.rename(cx, old, &new, Origin::Local);
        self.announce(
            cx,
            out,
            EventType::ChangeSessionId,
            lane,
            old,
            Some(&payload),
        );
        Ok(new)
    }

    /// The end of a request: DELTA if something changed, ACCESSED if that is due, or nothing.
    /// `DeltaManager.requestCompleted`, with `ReplicationValve`'s rule for a node without members.
    pub(crate) fn request_completed(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        if out.channel.member_count() == 0 {
            if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
                session.delta.actions.clear();
                session.primary = true;
            }
            return Ok(None);
        }
        let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) else {
            return Ok(None);
        };
        if session.is_dirty() {
            return self.send_delta(cx, out, id);
        }
        let idle_ms = cx.unix_ms.saturating_sub(session.last_time_replicated_ms);
        let interval = session.max_inactive_interval;
        let due = !session.primary
            || (interval >= 0 && idle_ms > i64::from(interval).saturating_mul(1000));
        session.primary = true;
        if !due {
            return Ok(None);
        }
        session.last_time_replicated_ms = cx.unix_ms;
        let lane = session.lane;
        self.send(cx, out, EventType::SessionAccessed, lane, id, None)
    }

    /// Sends what is recorded. Before the channel has started it stays recorded.
    fn send_delta(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        let Some(session) = self.sessions.get(id.as_modified_utf8()) else {
            return Ok(None);
        };
        let lane = session.lane;
        let mut payload = out.payload.take().unwrap_or_default();
        payload.restart();
        let delta = &session.delta;
        let written =
            delta_request::write(&mut payload, id, delta.record_all_actions, &delta.actions);
        let sent = match written {
            Ok(()) => self.send(
                cx,
                out,
                EventType::SessionDelta,
                lane,
                id,
                Some(payload.finished()),
            ),
            // Names and ids are checked when they are set, and values when they are made.
            Err(_) => Ok(None),
        };
        if payload.len() <= KEPT_MAX {
            *out.payload = Some(payload);
        }
        if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
            session.primary = true;
            if sent != Err(SendError::NotStarted) {
                session.delta.actions.clear();
                session.last_time_replicated_ms = cx.unix_ms;
            }
        }
        sent
    }

    /// `DeltaSession.expire`: what is recorded goes out first, then EXPIRED. `None` if there is no such session, else the
    /// message that tells the members, if it was sent.
    pub(crate) fn expire(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
        cause: ExpiryCause,
        notify_cluster: bool,
    ) -> Option<Option<UniqueId>> {
        let session = self.sessions.get(id.as_modified_utf8())?;
        let lane = session.lane;
        let notify_cluster = notify_cluster && out.channel.member_count() > 0;
        if notify_cluster && session.is_dirty() {
            // If it cannot be sent it is of no use any more.
            let _ = self.send_delta(cx, out, id);
        }
        self.remove(cx, id, cause, Origin::Local);
        if !notify_cluster {
            return Some(None);
        }
        Some(self.announce(cx, out, EventType::SessionExpired, lane, id, None))
    }

    /// Does what is due, a bounded part of it.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let dropped = self.early.drop_old(cx.now);
        self.dropped_early(cx, dropped);
        self.pump_join(cx, out);
        self.pump_donors(cx, out);
        self.continue_expiry(cx, out);
    }

    /// When [`pump`](Self::pump) has something to do; a time in the past for at once.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expiring = self.is_expiring().then_some(Instant::ZERO);
        [
            expiring,
            self.early.deadline(),
            self.join_deadline(),
            self.donor_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // --- common to local and remote changes -----------------------------------------------------------------------

    /// Adds a session that is not there.
    pub(crate) fn add(&mut self, cx: &mut Cx<'_>, session: DeltaSession, origin: Origin) {
        let id = session.id.clone();
        self.sessions.insert(session);
        self.stats.session_counter = self.stats.session_counter.wrapping_add(1);
        self.stats.max_active = self.stats.max_active.max(self.sessions.len());
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            cx.events.push(ClusterEvent::SessionCreated {
                context: self.context,
                id,
                origin,
            });
        }
    }

    /// Takes a session away and remembers its id.
    pub(crate) fn remove(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        cause: ExpiryCause,
        origin: Origin,
    ) {
        let Some(session) = self.sessions.remove(id.as_modified_utf8()) else {
            return;
        };
        let life_ms = cx.unix_ms.saturating_sub(session.creation_time_ms);
        let life = u64::try_from(life_ms).unwrap_or_default() / 1000;
        let stats = &mut self.stats;
        stats.session_max_alive_time = stats.session_max_alive_time.max(life);
        stats.lives_total = stats.lives_total.saturating_add(life);
        stats.lives_ended = stats.lives_ended.wrapping_add(1);
        if matches!(cause, ExpiryCause::TimedOut | ExpiryCause::CopyTimedOut) {
            stats.expired_sessions = stats.expired_sessions.wrapping_add(1);
        }
        // A copy that timed out may still live on its primary: a state transfer may bring it back.
        if cause != ExpiryCause::CopyTimedOut {
            // Its creator's clock may be ahead of ours, or of itself by now: the same CREATED is dead in any case.
            let at = cx.unix_ms.max(session.creation_time_ms);
            self.departed
                .remember(cx.now, id.clone(), Departure::Expired(at));
        }
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            cx.events.push(ClusterEvent::SessionExpired {
                context: self.context,
                id: id.clone(),
                cause,
                origin,
            });
        }
    }

    /// Gives a session another id.
    pub(crate) fn rename(
        &mut self,
        cx: &mut Cx<'_>,
        old: &SessionId,
        new: &SessionId,
        origin: Origin,
    ) {
        self.sessions.rename(old.as_modified_utf8(), new);
        self.departed.recall(new.as_modified_utf8());
        self.departed
            .remember(cx.now, old.clone(), Departure::Renamed(new.clone()));
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            let (context, old, new) = (self.context, old.clone(), new.clone());
            cx.events.push(ClusterEvent::SessionIdChanged {
                context,
                old,
                new,
                origin,
            });
        }
    }

    // --- sending --------------------------------------------------------------------------------------------------

    /// Tells all members, if there are any.
    fn announce(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        kind: EventType,
        lane: u64,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) -> Option<UniqueId> {
        if out.channel.member_count() == 0 {
            return None;
        }
        // Before the start there is nobody to tell either; nothing else can keep it from being queued.
        self.send(cx, out, kind, lane, id, payload).ok().flatten()
    }

    /// Sends a message to all members.
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        kind: EventType,
        lane: u64,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) -> Result<Option<UniqueId>, SendError> {
        self.encode(cx, out, kind, id, payload);
        let sent = out.broadcast(cx.now, lane);
        match sent {
            Ok(id) => {
                self.count_sent(kind);
                Ok(Some(id))
            }
            // All of them lag behind: they get the whole state when they can take it.
            Err(SendError::NoMembers) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a message about a session, as Tomcat makes it.
    fn encode(
        &self,
        cx: &Cx<'_>,
        out: &mut Out<'_>,
        kind: EventType,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) {
        let mut digits = Digits::default();
        let suffix = match kind {
            EventType::SessionExpired => "-EXPIRED-MSG",
            _ => digits.render(cx.unix_ms),
        };
        let id = id.as_modified_utf8();
        let mut unique = heapless::Vec::<u8, 128>::new();
        let mut long = Vec::new();
        let unique_id: &[u8] = if unique
            .extend_from_slice(id)
            .and_then(|()| unique.extend_from_slice(suffix.as_bytes()))
            .is_ok()
        {
            &unique
        } else {
            long.extend_from_slice(id);
            long.extend_from_slice(suffix.as_bytes());
            &long
        };
        let message = SessionMessage {
            session: payload,
            ..SessionMessage::new(
                kind,
                self.name.as_modified_utf8(),
                id,
                unique_id,
                cx.unix_ms,
            )
        };
        if out.buffer.capacity() > KEPT_MAX {
            *out.buffer = Vec::new();
        }
        out.buffer.clear();
        message.write(out.buffer);
    }

    pub(crate) fn count_sent(&mut self, kind: EventType) {
        if self.config.enable_statistics {
            self.stats.sent.count(kind);
        }
    }
}

/// An id that can be sent.
fn checked(id: &SessionId) -> Result<&SessionId, SessionError> {
    let len = id.as_modified_utf8().len();
    if len > usize::from(u16::MAX) {
        Err(SessionError::TooLong(len))
    } else {
        Ok(id)
    }
}

/// `-` and a number in decimal, without allocating.
#[derive(Default)]
struct Digits(heapless::String<24>);

impl Digits {
    fn render(&mut self, number: i64) -> &str {
        use fmt::Write as _;
        // 24 characters hold any 64-bit number with two signs.
        let _ = write!(self.0, "-{number}");
        &self.0
    }
}

/// The manager's name: with the host's in front if the cluster is at the engine. `SimpleTcpCluster.getManagerName`.
pub(crate) fn manager_name(host_name: Option<&str>, context_path: &str) -> String {
    match host_name {
        None => String::from(context_path),
        Some(host) => {
            let mut name = String::from(host);
            name.push('#');
            if context_path.starts_with(name.as_str()) {
                return String::from(context_path);
            }
            name.push_str(context_path);
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_after_host_and_context() {
        #[rustfmt::skip]
        let cases = [
            (Some("localhost"), "/shop",           "localhost#/shop"),
            (Some("localhost"), "",                "localhost#"),
            (Some("localhost"), "/shop##2",        "localhost#/shop##2"),
            (Some("localhost"), "localhost#/shop", "localhost#/shop"),
            (None,              "/shop",           "/shop"),
            (None,              "",                ""),
        ];
        for (host, path, name) in cases {
            assert_eq!(manager_name(host, path), name);
        }
    }
}
