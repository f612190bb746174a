//! What an application does with sessions.

use super::{Access, Cluster, ContextId, Managed};
use crate::channel::{SendError, UniqueId};
use crate::java::{JavaBytes, JavaString, ValueRef};
use crate::session::{Action, ActionType, DeltaSession, SessionError, SessionId};
use crate::time::Instant;

/// Commands about sessions, in the order of a request's life.
///
/// A request first [accesses](Self::access_session) its session or [creates](Self::create_session) one, changes it, then says
/// [`request_completed`](Self::request_completed), which sends what has changed, and at last
/// [`end_access`](Self::end_access). Two requests may use one session at the same time: each sends what was recorded
/// until then, so both keep what they set.
impl Cluster {
    /// Creates a session and tells the others at once; what is set in it follows with
    /// [`request_completed`](Self::request_completed). The request that creates it uses it: it has to call
    /// [`end_access`](Self::end_access), too. Without `id` it gets a random one with the manager's `jvm_route`.
    ///
    /// `DeltaManager.createSession`.
    ///
    /// # Errors
    ///
    /// If the manager is unknown or full, or the id is taken or too long.
    pub fn create_session(
        &mut self,
        now: Instant,
        context: ContextId,
        id: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        self.with_manager(now, context, |manager, cx, out| manager.create(cx, out, id))
            .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// A random session id with this route, as the manager makes them.
    pub fn generate_session_id(
        &mut self,
        context: ContextId,
        jvm_route: Option<&str>,
    ) -> SessionId {
        let delta = self.manager(context);
        let length = match (delta, self.backup_manager(context)) {
            (Some(manager), _) => manager.config().session_id_length,
            (None, Some(manager)) => manager.config().session_id_length,
            (None, None) => 16,
        };
        SessionId::random(self.channel.rng(), length, jvm_route)
    }

    /// A session, to be looked at: that is no access, and a session whose time is over may still be there.
    pub fn session(&self, context: ContextId, id: &SessionId) -> Option<&DeltaSession> {
        match self.manager(context) {
            Some(manager) => manager.session(id),
            None => self.backup_manager(context)?.session(id),
        }
    }

    /// Whether a session is there; no access.
    pub fn contains_session(&self, context: ContextId, id: &SessionId) -> bool {
        self.session(context, id).is_some()
    }

    /// A request joins a session, which is then in use until [`end_access`](Self::end_access). `false` if it is not
    /// there or its time is over: then it expires now.
    ///
    /// `DeltaSession.isValid`, `access`; with [`record_joins`](crate::session::DeltaManagerConfig::record_joins) also
    /// `setNew(false)`.
    ///
    /// A session of a backup manager that is on another member only is being fetched then: [`access`](Self::access) says so.
    pub fn access_session(&mut self, now: Instant, context: ContextId, id: &SessionId) -> bool {
        self.access(now, context, id) == Access::Here
    }

    /// As [`access_session`](Self::access_session); for a session of a backup manager that is on another member only it begins
    /// to fetch it: call it again after [`SessionFetched`](super::ClusterEvent::SessionFetched).
    ///
    /// `BackupManager.findSession`.
    pub fn access(&mut self, now: Instant, context: ContextId, id: &SessionId) -> Access {
        self.with_manager(now, context, |manager, cx, out| manager.access(cx, out, id))
            .unwrap_or(Access::Absent)
    }

    /// A request is done with a session. `DeltaSession.endAccess`.
    pub fn end_access(&mut self, now: Instant, context: ContextId, id: &SessionId) {
        self.with_manager(now, context, |manager, cx, _| manager.end_access(cx, id));
    }

    /// An attribute's value; no access.
    pub fn attribute(&self, context: ContextId, id: &SessionId, name: &str) -> Option<JavaBytes> {
        self.session(context, id)?.attribute(name).cloned()
    }

    /// Sets an attribute here; the others get it with [`request_completed`](Self::request_completed), unless a filter
    /// excludes it. A null value removes it. Gives the value it had.
    ///
    /// # Errors
    ///
    /// If there is no such session or the name is too long.
    pub fn set_attribute(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        name: impl Into<JavaString>,
        value: impl Into<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        let (name, value) = (name.into(), value.into());
        self.with_manager(now, context, |manager, cx, _| {
            manager.set_attribute(cx, id, name, Some(value))
        })
        .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// As [`set_attribute`](Self::set_attribute), but the value is copied into the memory of the one it replaces: overwriting an
    /// attribute with a value of about the same size allocates nothing. [`ValueRef::Null`] removes the attribute. Whether anything
    /// has changed.
    ///
    /// The memory is used again unless somebody holds a clone of the value, or the value has not been sent yet.
    ///
    /// # Errors
    ///
    /// If there is no such session or the name is too long.
    pub fn write_attribute<'a>(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        name: &str,
        value: impl Into<ValueRef<'a>>,
    ) -> Result<bool, SessionError> {
        let value = value.into();
        self.with_manager(now, context, |manager, cx, _| {
            manager.write_attribute(cx, id, name, value)
        })
        .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// Removes an attribute; gives the value it had.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn remove_attribute(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        name: impl Into<JavaString>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        let name = name.into();
        self.with_manager(now, context, |manager, cx, _| {
            manager.set_attribute(cx, id, name, None)
        })
        .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// After how many unused seconds the session times out; 0 or less means never.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn set_max_inactive_interval(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        seconds: i32,
    ) -> Result<(), SessionError> {
        self.change(
            now,
            context,
            id,
            Action::of_session(ActionType::MAX_INTERVAL, Some(seconds.into())),
        )
    }

    /// Whether the client does not know of the session yet.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn set_new(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        is_new: bool,
    ) -> Result<(), SessionError> {
        self.change(
            now,
            context,
            id,
            Action::of_session(ActionType::IS_NEW, Some(is_new.into())),
        )
    }

    /// The authenticated user: an object of a class that the other members know, usually
    /// `GenericPrincipal$SerializablePrincipal`.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn set_principal(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        principal: Option<JavaBytes>,
    ) -> Result<(), SessionError> {
        self.change(
            now,
            context,
            id,
            Action::of_session(ActionType::PRINCIPAL, principal),
        )
    }

    /// The authentication type, such as `FORM`.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn set_auth_type(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        auth_type: Option<&str>,
    ) -> Result<(), SessionError> {
        self.change(
            now,
            context,
            id,
            Action::of_session(ActionType::AUTH_TYPE, auth_type.map(JavaBytes::from)),
        )
    }

    /// A note: what the container remembers about a session. `None` removes it.
    ///
    /// # Errors
    ///
    /// If there is no such session or the name is too long.
    pub fn set_note(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        name: impl Into<JavaString>,
        value: Option<JavaBytes>,
    ) -> Result<(), SessionError> {
        self.change(
            now,
            context,
            id,
            Action::named(ActionType::NOTE, name.into(), value),
        )
    }

    /// Adds or removes a replicated session listener. Two changes of listeners in one request collapse into the last
    /// one, as in Tomcat.
    ///
    /// # Errors
    ///
    /// If there is no such session.
    pub fn change_listener(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        listener: JavaBytes,
        add: bool,
    ) -> Result<(), SessionError> {
        let mut action = Action::of_session(ActionType::LISTENER, Some(listener));
        action.action = if add { Action::SET } else { Action::REMOVE };
        self.change(now, context, id, action)
    }

    fn change(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
        action: Action,
    ) -> Result<(), SessionError> {
        self.with_manager(now, context, |manager, _, _| manager.change(id, action))
            .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// Gives a session another id, a random one without `new`, and tells the others at once. What has been recorded goes
    /// out under the new id. `DeltaManager.changeSessionId`, `rotateSessionId`.
    ///
    /// # Errors
    ///
    /// If there is no such session, or the new id is taken or too long.
    pub fn change_session_id(
        &mut self,
        now: Instant,
        context: ContextId,
        old: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        self.with_manager(now, context, |manager, cx, out| {
            manager.change_id(cx, out, old, new)
        })
        .unwrap_or(Err(SessionError::UnknownContext))
    }

    /// The end of a request: sends what has changed in its session, or that it was used if that is due; this node is the
    /// session's primary from now on. With `USE_ACK` in the cluster's options a
    /// [`ChannelEvent::Sent`](crate::channel::ChannelEvent::Sent) with the returned id follows.
    ///
    /// `DeltaManager.requestCompleted`.
    ///
    /// # Errors
    ///
    /// If the channel is not running (what has changed is kept) or the change is longer than a message can be (it is
    /// not sent).
    pub fn request_completed(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        self.with_manager(now, context, |manager, cx, out| {
            manager.request_completed(cx, out, id)
        })
        .unwrap_or(Ok(None))
    }

    /// Ends a session here and everywhere (`HttpSession.invalidate`); whether it was there.
    pub fn expire_session(&mut self, now: Instant, context: ContextId, id: &SessionId) -> bool {
        self.invalidate_session(now, context, id).is_ok()
    }

    /// As [`expire_session`](Self::expire_session); gives the id of the message that tells the members, if there are any. With
    /// `USE_ACK` in the cluster's options a [`Sent`](crate::channel::ChannelEvent::Sent) with it follows.
    ///
    /// # Errors
    /// The context or the session is not here, or the session's time is over.
    pub fn invalidate_session(
        &mut self,
        now: Instant,
        context: ContextId,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SessionError> {
        let expired = self.with_manager(now, context, |manager, cx, out| {
            manager.invalidate(cx, out, id)
        });
        expired
            .ok_or(SessionError::UnknownContext)?
            .ok_or(SessionError::UnknownSession)
    }

    /// Ends every session whose primary is this node, here and everywhere; gives how many.
    /// `DeltaManager.expireAllLocalSessions`.
    pub fn expire_all_local_sessions(&mut self, now: Instant, context: ContextId) -> usize {
        self.with_manager(now, context, |manager, cx, out| {
            manager.expire_all_local(cx, out)
        })
        .unwrap_or_default()
    }

    /// Looks for sessions whose time is over, in all managers, now and not when the background run is due; gives how many
    /// have expired.
    pub fn process_expires(&mut self, now: Instant) -> usize {
        let expired = self.contexts().into_iter().map(|context| {
            self.with_manager(now, context, |manager, cx, out| {
                manager.process_expires(cx, out)
            })
            .unwrap_or_default()
        });
        expired.sum()
    }

    /// Gets the state of the cluster anew, as at the start; newer local sessions stay. Whether the transfer could begin:
    /// only one runs at a time. `DeltaManager.getAllClusterSessions`.
    pub fn get_all_cluster_sessions(&mut self, now: Instant, context: ContextId) -> bool {
        let begun = self
            .with_manager(now, context, |manager, _, _| match manager {
                Managed::Delta(manager) => manager.begin_transfer(now),
                Managed::Backup(_) => false,
            })
            .unwrap_or(false);
        self.pump(now);
        begun
    }
}
