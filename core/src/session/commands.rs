//! What the application does here: the local half of `DeltaManager`.

use alloc::borrow::Cow;

use super::delta_request::write_new_session_id;
use super::departed::Departure;
use super::local::checked;
use super::{
    Action, Cx, DeltaManager, DeltaSession, EventType, Out, SessionError, SessionId, Stamp,
};
use crate::channel::{SendError, UniqueId};
use crate::cluster::{ExpiryCause, Origin};
use crate::java::{JavaBytes, JavaString, ValueRef};
use crate::plant::{Bug, planted};
use crate::rng::Rng;

impl DeltaManager {
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
        // Who has heard that an earlier session of this id has ended must not take this one for it.
        let created_ms = match self.departed.get(id.as_modified_utf8()) {
            Some(Departure::Expired { at_ms, .. }) => cx.unix_ms.max(at_ms.saturating_add(1)),
            Some(Departure::Renamed { at_ms, .. }) => cx.unix_ms.max(at_ms.saturating_add(1)),
            None => cx.unix_ms,
        };
        let (interval, record_all) = (self.config.session_timeout, self.config.record_all_actions);
        let mut session =
            DeltaSession::created(id.clone(), cx.now, created_ms, interval, record_all);
        session.history.saw(Stamp::new(created_ms, out.writer()));
        session.history.id_since_ms = session.history.version().time_ms;
        let lane = session.lane;
        self.departed.recall(id.as_modified_utf8());
        self.add(cx, session, Origin::Local);
        let kind = EventType::SessionCreated;
        self.announce(cx, out, kind, created_ms, lane, &id, None);
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
        session.joined(cx, record_joins);
        true
    }

    /// The id that a session has now: a request goes on with its session when another one gives it a new id.
    fn present<'i>(&self, id: &'i SessionId) -> Cow<'i, SessionId> {
        if self.sessions.contains(id.as_modified_utf8()) {
            return Cow::Borrowed(id);
        }
        self.known(id.as_modified_utf8())
            .map_or(Cow::Borrowed(id), Cow::Owned)
    }

    /// A request is done with a session.
    pub(crate) fn end_access(&mut self, cx: &Cx<'_>, id: &SessionId) {
        let id = &self.present(id);
        let at_start = self.config.session_last_access_at_start;
        if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
            session.left(cx, at_start);
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
        self.sessions
            .get_mut(id.as_modified_utf8())
            .ok_or(SessionError::UnknownSession)?
            .change_attribute(cx, self.context, &self.filters, name, value)
    }

    /// Changes an attribute here, in the memory of what it was, and records it.
    pub(crate) fn write_attribute(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        name: &str,
        value: ValueRef<'_>,
    ) -> Result<bool, SessionError> {
        let session = self.sessions.get_mut(id.as_modified_utf8());
        let session = session.ok_or(SessionError::UnknownSession)?;
        let (context, filters) = (self.context, &self.filters);
        session.write_attribute(cx, context, filters, &mut self.spare, name, value)
    }

    /// Applies a change of the session itself and records it.
    pub(crate) fn change(&mut self, id: &SessionId, action: Action) -> Result<(), SessionError> {
        self.sessions
            .get_mut(id.as_modified_utf8())
            .ok_or(SessionError::UnknownSession)?
            .change(action)
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
        let stamp = session.history.next(cx.unix_ms, out.writer());
        self.rename(cx, old, &new, stamp, Origin::Local);
        if planted(Bug::IdChangeUnsaid) {
            return Ok(new);
        }
        self.announce(
            cx,
            out,
            EventType::ChangeSessionId,
            stamp.time_ms,
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
        let id = &self.present(id);
        if out.channel.member_count() == 0 {
            if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
                // Nobody is there to get it, but somebody may come who has it otherwise.
                if session.is_dirty() || !session.primary {
                    let stamp = session.history.next(cx.unix_ms, out.writer());
                    session.stamp_recorded(stamp);
                }
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
        let due = !session.primary || session.is_access_due(cx.unix_ms);
        session.primary = true;
        if !due {
            return Ok(None);
        }
        session.last_time_replicated_ms = cx.unix_ms;
        let stamp = session.history.next(cx.unix_ms, out.writer());
        session.history.saw(stamp);
        let (lane, at) = (session.lane, stamp.time_ms);
        self.send(cx, out, EventType::SessionAccessed, at, lane, id, None)
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
        let at = self.remove(cx, id, cause, Origin::Local);
        if !notify_cluster || planted(Bug::EndUnsaid) {
            return Some(None);
        }
        let kind = EventType::SessionExpired;
        Some(self.announce(cx, out, kind, at, lane, id, None))
    }
}
