//! What other members say about sessions.

use core::mem;

use bytes::Bytes;

use super::delta_request::read_new_session_id;
use super::delta_session::Applied;
use super::departed::{Departure, RENAMES_FOLLOWED};
use super::held::Held;
use super::read_delta::{FieldRef, ReadDelta, Spare};
use super::reconcile::{SOON, Wanted};
use super::shard::Desk;
use super::stamp::{FieldKey, field_of};
use super::{Cx, DeltaManager, DeltaSession, EventType, SessionId, SessionMessage, Stamp};
use crate::channel::{MemberIndex, Verdict};
use crate::cluster::{AttributeChange, ClusterEvent, Events, ExpiryCause, Origin, Refusal, place};
use crate::java::{JavaError, JavaString};
use crate::plant::{Bug, planted};
use crate::time::Instant;

/// Who sent a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) index: Option<MemberIndex>,
    /// Its number in stamps.
    pub(crate) writer: u64,
    /// Whether it is a node of this implementation.
    pub(crate) ours: bool,
    /// Whether it was not a member when it said so.
    pub(crate) stranger: bool,
}

impl Source {
    /// The stamp of a change of `session` that it told of. A Tomcat knows nothing of stamps: what it says counts as
    /// made in knowledge of all that is here, as it counts on other Tomcats.
    fn stamp(self, session: &DeltaSession, at_ms: i64) -> Stamp {
        match self.ours {
            true => Stamp::new(at_ms, self.writer),
            false => session.history.next(at_ms, self.writer),
        }
    }
}

/// The time, by the driver's clock and in milliseconds since the Unix epoch.
type Clock = (Instant, i64);

/// What a delta met, beside what it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeltaOutcome {
    /// Actions that left a change in force which has not been sent.
    pub(crate) merged: u64,
    /// Actions that lost against a change that their writer did not know.
    pub(crate) conflicts: u64,
    /// Actions of no known kind.
    pub(crate) unknown_actions: u64,
}

/// A delta that a thread has read ahead, and its manager as far as the thread needs to know it.
pub(crate) struct DeltaAhead<'a> {
    pub(crate) source: Source,
    pub(crate) now: Instant,
    pub(crate) unix_ms: i64,
    /// `session_last_access_at_start` of the manager.
    pub(crate) at_start: bool,
    pub(crate) timestamp_ms: i64,
    pub(crate) id: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) delta: &'a ReadDelta,
}

impl DeltaAhead<'_> {
    /// Applies it to its session if that is lent on these terms, as the manager would.
    pub(crate) fn apply(&self, desk: &Desk, terms: u64, spare: &mut Spare) -> Option<DeltaOutcome> {
        if self.delta.session_id(self.payload) != self.id {
            return None;
        }
        let about = About {
            kind: EventType::SessionDelta,
            source: self.source,
            timestamp_ms: self.timestamp_ms,
            id: self.id,
            payload: self.payload,
        };
        let clock = (self.now, self.unix_ms);
        desk.with(terms, self.id, |session| {
            let nobody: Option<fn(JavaString, AttributeChange)> = None;
            about.apply_delta(clock, session, self.at_start, self.delta, spare, nobody)
        })
    }
}

/// A message on its way to being applied.
#[derive(Clone, Copy)]
struct About<'a> {
    kind: EventType,
    source: Source,
    timestamp_ms: i64,
    id: &'a [u8],
    payload: &'a [u8],
}

/// What a thread has made of a message before the manager gets it.
pub(crate) enum Ahead<'a> {
    /// Its delta has been taken apart.
    Read(&'a mut ReadDelta),
    /// Its delta has been applied.
    Applied(DeltaOutcome),
}

impl DeltaManager {
    /// Whether its deltas may be applied by threads that read ahead: it has its state, and nobody wants to hear of each attribute.
    pub(crate) const fn may_lend(&self, events: &Events) -> bool {
        let tells = self.config.notify_listeners_on_replication && events.wants_attributes();
        self.join.is_ready() && !tells
    }

    /// Takes a message for this manager; `ahead` is what was found in its payload. `DeltaManager.messageDataReceived`.
    pub(crate) fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        source: Source,
        message: &SessionMessage<'_>,
        ahead: Option<Ahead<'_>>,
    ) -> Verdict {
        let from = source.index;
        let Some(kind) = message.kind() else {
            self.stats.unknown_kind = self.stats.unknown_kind.wrapping_add(1);
            return Verdict::Processed;
        };
        self.dishonest = false;
        if self.config.enable_statistics {
            self.stats.received.count(kind);
        }
        let about = About {
            kind,
            source,
            timestamp_ms: message.timestamp_ms,
            id: message.session_id.unwrap_or_default(),
            payload: message.session.unwrap_or_default(),
        };
        let found = match ahead {
            Some(Ahead::Applied(outcome)) => {
                // It is as if it had come when it was applied: what has begun since does not concern it.
                self.stats.applied(outcome);
                return Verdict::Processed;
            }
            Some(Ahead::Read(found)) => Some(found),
            None => None,
        };
        let mut ahead =
            found.filter(|found| kind == EventType::SessionDelta && found.is_within(&self.config));
        if let Some(found) = &mut ahead {
            mem::swap(&mut self.reading, *found);
            self.ahead = Some(place(about.payload));
        }
        match kind {
            EventType::GetAllSessions => {
                self.asked(cx, from, message.unique_id.unwrap_or_default());
            }
            EventType::AllSessionData => {
                let unique_id = message.unique_id.unwrap_or_default();
                self.state_received(cx, source, unique_id, about.payload);
            }
            EventType::AllSessionTransferComplete => {
                self.transfer_complete(
                    cx,
                    from,
                    message.timestamp_ms,
                    message.unique_id.unwrap_or_default(),
                );
            }
            EventType::AllSessionNoContextManager => self.no_context_manager(cx, from),
            _ if self.join.is_holding() => self.hold(cx, about),
            _ => self.apply(cx, about),
        }
        if let Some(found) = ahead {
            mem::swap(&mut self.reading, found);
            self.ahead = None;
        }
        match self.dishonest {
            true => Verdict::Refused,
            false => Verdict::Processed,
        }
    }

    /// Keeps a message until the state is here. If too many are kept, the oldest are applied at once: to sessions
    /// that have come already, or to wait for theirs.
    fn hold(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        let Some(held) = about.to_held() else {
            return self.refuse(cx, about.source.index, Refusal::BadSessionId(about.kind));
        };
        self.held.push(held);
        while self.held.is_over_full() {
            let Some(oldest) = self.held.pop() else { break };
            self.stats.held_overflow = self.stats.held_overflow.wrapping_add(1);
            self.apply_held(cx, &oldest);
        }
    }

    /// Applies a message that was kept during a state transfer.
    pub(crate) fn apply_held(&mut self, cx: &mut Cx<'_>, held: &Held) {
        // Its sender has been answered long ago.
        let dishonest = self.dishonest;
        self.apply(cx, About::of_held(held));
        self.dishonest = dishonest;
    }

    fn apply(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        match about.kind {
            EventType::SessionCreated => self.created(cx, about),
            EventType::SessionExpired => self.expired(cx, about),
            EventType::SessionAccessed => self.accessed(cx, about),
            EventType::SessionDelta => self.delta(cx, about),
            EventType::ChangeSessionId => self.id_changed(cx, about),
            _ => {}
        }
    }

    /// CREATED. A session that is here already keeps what it has; one that has expired since stays dead.
    fn created(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        let at_start = self.config.session_last_access_at_start;
        if let Some(session) = self.sessions.get_mut(about.id) {
            about.use_session((cx.now, cx.unix_ms), session, at_start);
            self.stats.created_known = self.stats.created_known.wrapping_add(1);
            return;
        }
        let gone = match self.departed.get(about.id) {
            Some(Departure::Renamed { at_ms, .. }) if about.timestamp_ms <= *at_ms => true,
            Some(Departure::Renamed { .. }) => false,
            _ => {
                self.departed.expired_since(about.id, about.timestamp_ms)
                    && !planted(Bug::ExpiredRevived)
            }
        };
        if gone {
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
            return;
        }
        let Some(id) = session_id(about.id) else {
            return self.refuse(cx, about.source.index, Refusal::BadSessionId(about.kind));
        };
        if self.sessions.len() >= self.config.limits.sessions_max {
            self.stats.sessions_refused = self.stats.sessions_refused.wrapping_add(1);
            return;
        }
        self.departed.recall(about.id);
        let mut session = DeltaSession::new(
            id.clone(),
            cx.now,
            about.timestamp_ms,
            self.config.session_timeout,
        );
        session.delta.record_all_actions = self.config.record_all_actions;
        let stamp = Stamp::new(about.timestamp_ms, about.source.writer);
        session.history.saw(stamp);
        session.history.id_since_ms = stamp.time_ms;
        session.access(cx.now, cx.unix_ms);
        session.end_access(cx.now, cx.unix_ms, at_start);
        self.add(cx, session, Origin::Remote);
        self.apply_early(cx, &id);
    }

    /// EXPIRED. The id is remembered even if there is no such session: its CREATED may still be on the way.
    fn expired(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        for _ in self.early.take(about.id) {
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
        }
        let Some(id) = session_id(about.id) else {
            return self.refuse(cx, about.source.index, Refusal::BadSessionId(about.kind));
        };
        // One of ours that has not heard of a new id yet means the session, whatever it is called. A Tomcat may mean a copy
        // that it has not heard of for long.
        if about.source.ours
            && let Some(present) = self.known(about.id).filter(|present| *present != id)
        {
            self.remove(cx, &present, ExpiryCause::ByPeer, Origin::Remote);
        }
        self.remove(cx, &id, ExpiryCause::ByPeer, Origin::Remote);
        let departure = Departure::Expired {
            at_ms: about.timestamp_ms.clamp(0, Stamp::TIME_MAX),
            timed_out: true,
        };
        self.departed.remember(cx.now, id, departure);
    }

    fn accessed(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        let at_start = self.config.session_last_access_at_start;
        let Some(id) = self.known(about.id) else {
            return self.wait(cx, about);
        };
        if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
            about.use_session((cx.now, cx.unix_ms), session, at_start);
        }
    }

    /// DELTA: read as a whole first, so that a damaged one changes nothing. What has been changed here and not been
    /// sent stays in force: it goes out after this one. So does what somebody changed later.
    fn delta(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        let Some(id) = self.known(about.id) else {
            return self.wait(cx, about);
        };
        let is_read = self.ahead.take() == Some(place(about.payload));
        let mut reading = mem::take(&mut self.reading);
        let read = match is_read {
            true => Ok(()),
            false => reading.read(about.payload, &self.config.limits.java),
        };
        match read {
            Ok(()) => self.apply_delta(cx, about, &id, &reading),
            Err(error) => self.unreadable(cx, about.source.index, about.kind, error),
        }
        self.reading = reading;
    }

    fn apply_delta(
        &mut self,
        cx: &mut Cx<'_>,
        about: About<'_>,
        id: &SessionId,
        delta: &ReadDelta,
    ) {
        if delta.session_id(about.payload) != about.id {
            self.stats.mismatched = self.stats.mismatched.wrapping_add(1);
            return self.refuse(cx, about.source.index, Refusal::BadSessionId(about.kind));
        }
        let at_start = self.config.session_last_access_at_start;
        let tell = self.config.notify_listeners_on_replication && cx.events.wants_attributes();
        let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) else {
            return;
        };
        let (context, events) = (self.context, &mut *cx.events);
        let told = |name, change| {
            events.push(ClusterEvent::AttributeChanged {
                context,
                id: id.clone(),
                name,
                change,
                origin: Origin::Remote,
            });
        };
        let clock = (cx.now, cx.unix_ms);
        let spare = &mut self.spare;
        let outcome =
            about.apply_delta(clock, session, at_start, delta, spare, tell.then_some(told));
        self.stats.applied(outcome);
        #[cfg(feature = "plant")]
        if planted(Bug::DeltaTwice) {
            match self.last_delta.take() {
                Some(before) if before.id.as_modified_utf8() == about.id => {
                    self.apply_held(cx, &before);
                    self.last_delta = None;
                }
                _ => self.last_delta = about.to_held(),
            }
        }
    }

    fn id_changed(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        let Some(old) = self
            .sessions
            .get(about.id)
            .map(|session| session.id.clone())
        else {
            return match self.departed.get(about.id) {
                // Said twice, or renamed by two nodes at once: then there are two sessions now, and one is not here.
                Some(Departure::Renamed { to, .. }) => {
                    let new = read_new_session_id(about.payload, &self.config.limits.java);
                    let fork = new.is_ok_and(|new| new != *to);
                    self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
                    if let Some(member) = about.source.index.filter(|_| fork) {
                        self.reconcile.wish(cx.now + SOON, member, Wanted::RECENT);
                    }
                }
                _ => self.wait(cx, about),
            };
        };
        let new = match read_new_session_id(about.payload, &self.config.limits.java) {
            Ok(new) => new,
            Err(error) => return self.unreadable(cx, about.source.index, about.kind, error),
        };
        let at_start = self.config.session_last_access_at_start;
        let Some(session) = self.sessions.get_mut(about.id) else {
            return;
        };
        let stamp = about.source.stamp(session, about.timestamp_ms);
        if stamp.time_ms < session.history.id_since_ms {
            // It has got this id back since.
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
            return;
        }
        about.use_session((cx.now, cx.unix_ms), session, at_start);
        if old != new {
            self.rename(cx, &old, &new, stamp, Origin::Remote);
        }
        self.apply_early(cx, &new);
    }

    /// The present id of the session that is or was known by `id`.
    pub(crate) fn known(&self, id: &[u8]) -> Option<SessionId> {
        let mut id = id;
        for _ in 0..RENAMES_FOLLOWED {
            if let Some(session) = self.sessions.get(id) {
                return Some(session.id.clone());
            }
            // The sender may not have heard of the new id yet.
            let Some(Departure::Renamed { to, .. }) = self.departed.get(id) else {
                return None;
            };
            id = to.as_modified_utf8();
        }
        None
    }

    /// A message about an unknown session waits for it, a bounded time.
    fn wait(&mut self, cx: &mut Cx<'_>, about: About<'_>) {
        if self.departed.expired_since(about.id, about.timestamp_ms) {
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
            return;
        }
        if planted(Bug::EarlyDropped) {
            return;
        }
        let Some(held) = about.to_held() else {
            return self.refuse(cx, about.source.index, Refusal::BadSessionId(about.kind));
        };
        let dropped = self.early.push(cx.now, held);
        self.dropped_early(cx, dropped);
    }

    /// So many messages have waited for their session in vain.
    pub(crate) fn dropped_early(&mut self, cx: &mut Cx<'_>, dropped: u64) {
        if dropped > 0 {
            self.stats.early_dropped = self.stats.early_dropped.wrapping_add(dropped);
            self.reconcile.wish_all(cx.now);
            cx.events.push(ClusterEvent::Refused {
                context: Some(self.context),
                from: None,
                reason: Refusal::NoSession(dropped),
            });
        }
    }

    /// Applies what has waited for a session.
    pub(crate) fn apply_early(&mut self, cx: &mut Cx<'_>, id: &SessionId) {
        let mut waiting = self.early.take(id.as_modified_utf8());
        // Who overtook one message may have overtaken others, so the sender's clock decides. What names this id was sent
        // before the id changed; the change then leads on to what waits for the new id.
        let order = |held: &Held| (held.kind == EventType::ChangeSessionId, held.timestamp_ms);
        waiting
            .make_contiguous()
            .sort_by_key(|(_, held)| order(held));
        if planted(Bug::DeltaOutOfOrder) {
            waiting.make_contiguous().reverse();
        }
        for (_, held) in waiting {
            self.stats.early_applied = self.stats.early_applied.wrapping_add(1);
            self.apply_held(cx, &held);
        }
    }

    /// A payload that is not what it should be: nothing changes.
    pub(crate) fn unreadable(
        &mut self,
        cx: &mut Cx<'_>,
        from: Option<MemberIndex>,
        kind: EventType,
        error: JavaError,
    ) {
        // A value that its writer could not finish is a fault of its class.
        self.dishonest |= !error.is_write_aborted();
        self.refuse(cx, from, Refusal::Payload(kind, error));
    }

    pub(crate) fn refuse(&mut self, cx: &mut Cx<'_>, from: Option<MemberIndex>, reason: Refusal) {
        self.stats.refused = self.stats.refused.wrapping_add(1);
        cx.events.push(ClusterEvent::Refused {
            context: Some(self.context),
            from,
            reason,
        });
    }
}

impl<'a> About<'a> {
    /// Somebody has used the session. Who did so last is its primary.
    fn use_session(&self, (now, unix_ms): Clock, session: &mut DeltaSession, at_start: bool) {
        let stamp = self.source.stamp(session, self.timestamp_ms);
        session.access(now, unix_ms);
        if session.history.saw(stamp) {
            session.primary &= planted(Bug::TwoPrimaries);
        }
        session.end_access(now, unix_ms, at_start);
    }

    /// Applies what was found in the payload, whoever has the session at the moment: the manager, or a thread that reads ahead. `told` hears
    /// of each attribute that has changed.
    fn apply_delta(
        &self,
        clock: Clock,
        session: &mut DeltaSession,
        at_start: bool,
        delta: &ReadDelta,
        spare: &mut Spare,
        mut told: Option<impl FnMut(JavaString, AttributeChange)>,
    ) -> DeltaOutcome {
        let mut outcome = DeltaOutcome::default();
        let stamp = self.source.stamp(session, self.timestamp_ms);
        let again = session.history.has_seen(stamp);
        self.use_session(clock, session, at_start);
        for action in delta.actions(self.payload) {
            let pending =
                session.delta.actions.iter().any(|own| {
                    own.kind == action.kind && own.name.as_modified_utf8() == action.name
                });
            if pending {
                outcome.merged = outcome.merged.wrapping_add(1);
                continue;
            }
            if planted(Bug::RemovalLost) && action.value.is_none() {
                continue;
            }
            let listener;
            let field = match action.field() {
                FieldRef::Listener => {
                    listener = field_of(&action.to_action());
                    listener.as_ref().map(FieldKey::key)
                }
                FieldRef::Named(kind, name) => Some((kind, name)),
                FieldRef::None => None,
            };
            if let Some((kind, name)) = field {
                // The order of stamps would put right what comes twice or in disorder.
                let disorder = planted(Bug::DeltaTwice) || planted(Bug::DeltaOutOfOrder);
                if stamp < session.history.of_ref(kind, name) && !disorder {
                    outcome.conflicts = outcome.conflicts.wrapping_add(u64::from(!again));
                    continue;
                }
                session.stamp_ref(kind, name, stamp);
            }
            let name = told
                .is_some()
                .then(|| session.name_ref(action.kind, action.name));
            let change = match session.apply_ref(action, spare) {
                Applied::Added => AttributeChange::Added,
                Applied::Replaced => AttributeChange::Replaced,
                Applied::Removed => AttributeChange::Removed,
                Applied::Other => continue,
                Applied::Unknown => {
                    outcome.unknown_actions = outcome.unknown_actions.wrapping_add(1);
                    continue;
                }
            };
            if let (Some(name), Some(told)) = (name, &mut told) {
                told(name, change);
            }
        }
        // Whatever the delta says of it: its request is over.
        session.is_new = false;
        outcome
    }

    fn of_held(held: &'a Held) -> Self {
        Self {
            kind: held.kind,
            source: held.source,
            timestamp_ms: held.timestamp_ms,
            id: held.id.as_modified_utf8(),
            payload: &held.payload,
        }
    }

    fn to_held(self) -> Option<Held> {
        Some(Held {
            kind: self.kind,
            source: self.source,
            timestamp_ms: self.timestamp_ms,
            id: session_id(self.id)?,
            payload: Bytes::copy_from_slice(self.payload),
        })
    }
}

fn session_id(text: &[u8]) -> Option<SessionId> {
    if text.is_empty() {
        return None;
    }
    JavaString::from_modified_utf8(Bytes::copy_from_slice(text)).map(SessionId::from)
}
