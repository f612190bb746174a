//! The session manager of one web application, as programs hold it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use folkmoot_core::cluster::{Access, ContextId};
use folkmoot_core::java::{JavaBytes, JavaString, ValueRef};
use folkmoot_core::session::{
    BackupManagerConfig, DeltaManagerConfig, DeltaSession, ManagerStats,
    SessionError as CoreSessionError, SessionId,
};
use folkmoot_core::wire::{AckPolicy, UniqueId};

use crate::active::ActiveSession;
use crate::cluster::{Cluster, Engine, Inner};
use crate::delivery::Delivery;
use crate::error::ContextError;
use crate::event::StateTransfer;
use crate::notices::Context;
use crate::request::{Begun, SessionRequest};
use crate::web::SessionError;
use crate::web::store::{Completed, JoinedAndSet, SessionStore};

/// The sessions of one web application, all of them on every node (`DeltaManager`). Clones are handles to the
/// same one.
///
/// Web applications put a [`SessionLayer`](crate::SessionLayer) over it. The operations here are for everything else:
/// looking at sessions without touching them, and programs whose sessions do not come from HTTP.
/// Such a program ends each use of a session with [`request_completed`](Self::request_completed), which sends what was
/// changed.
#[derive(Clone)]
pub struct DeltaManager {
    cluster: Cluster,
    id: ContextId,
    context: Arc<Context>,
    jvm_route: Option<Arc<str>>,
    /// How the members answer what its requests send.
    ack_policy: AckPolicy,
    /// Whether a session may be on another member only, so that a request may have to wait for it.
    fetches: bool,
}

/// What there is to know of a session besides its attributes, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionView {
    /// When it was created, in milliseconds since the Unix epoch, by the clock of the node that did.
    pub creation_time_ms: i64,
    /// When the last request before the current one used it, in milliseconds since the Unix epoch.
    pub last_accessed_time_ms: i64,
    /// When it was used last, in milliseconds since the Unix epoch.
    pub this_accessed_time_ms: i64,
    /// Seconds without a request after which it expires; 0 or less: never.
    pub max_inactive_interval: i32,
    /// Whether its client has not come back with it yet.
    pub is_new: bool,
    /// Whether this node sees itself as the one to expire it.
    pub is_primary: bool,
    /// How many attributes it has.
    pub attributes: usize,
}

impl From<&DeltaSession> for SessionView {
    fn from(session: &DeltaSession) -> Self {
        Self {
            creation_time_ms: session.creation_time_ms(),
            last_accessed_time_ms: session.last_accessed_time_ms(),
            this_accessed_time_ms: session.this_accessed_time_ms(),
            max_inactive_interval: session.max_inactive_interval(),
            is_new: session.is_new(),
            is_primary: session.is_primary(),
            attributes: session.attributes().len(),
        }
    }
}

impl DeltaManager {
    pub(crate) fn register(
        cluster: &Cluster,
        path: &str,
        config: DeltaManagerConfig,
    ) -> Result<Self, ContextError> {
        let jvm_route = config.jvm_route.as_deref().map(Arc::from);
        let inner = &cluster.inner;
        let (id, context) = inner.handle.with(|engine, now| {
            let id = engine
                .register_manager(now, path, config)
                .map_err(|error| ContextError::from_core(error, path))?;
            // Under the same lock, so that no event of the new manager is missed.
            Ok((id, inner.notices.open(id, path)))
        })?;
        Ok(Self {
            cluster: cluster.clone(),
            id,
            context,
            jvm_route,
            ack_policy: cluster.channel_send_options().ack_policy(),
            fetches: false,
        })
    }

    /// The handle of a backup manager's sessions, which knows it by its context only.
    pub(crate) fn register_backup(
        cluster: &Cluster,
        path: &str,
        config: BackupManagerConfig,
    ) -> Result<Self, ContextError> {
        let jvm_route = config.jvm_route.as_deref().map(Arc::from);
        let ack_policy = config.map_send_options.ack_policy();
        let inner = &cluster.inner;
        let (id, context) = inner.handle.with(|engine, now| {
            let id = engine
                .register_backup_manager(now, path, config)
                .map_err(|error| ContextError::from_core(error, path))?;
            Ok((id, inner.notices.open(id, path)))
        })?;
        Ok(Self {
            cluster: cluster.clone(),
            id,
            context,
            jvm_route,
            ack_policy,
            fetches: true,
        })
    }

    pub(crate) fn id(&self) -> ContextId {
        self.id
    }

    /// The context path: `""` for the root context, else `/…`.
    pub fn context_path(&self) -> &str {
        &self.context.path
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the ids of its sessions end with.
    pub fn jvm_route(&self) -> Option<&str> {
        self.jvm_route.as_deref()
    }

    /// Waits until the first state transfer has ended: the sessions that the cluster had are here. A server should not
    /// serve earlier, as Tomcat does not. Ends at the latest after `state_transfer_timeout` (60 s); `None` if the cluster
    /// was shut down before.
    pub async fn ready(&self) -> Option<StateTransfer> {
        let mut ended = self.context.transfer.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| ended.clone().flatten())
    }

    /// As [`ready`](Self::ready), for threads; also `None` if it takes longer than `limit`.
    pub fn wait_ready(&self, limit: Duration) -> Option<StateTransfer> {
        let ended = || self.context.transfer.borrow().clone();
        self.cluster
            .inner
            .handle
            .wait_for(limit, |_, _| ended())
            .flatten()
    }

    /// How many sessions there are, primaries and copies.
    pub fn active_sessions(&self) -> usize {
        self.manager(|manager| manager.session_count())
            .unwrap_or_default()
    }

    /// The ids of all sessions, in no particular order.
    pub fn session_ids(&self) -> Vec<SessionId> {
        self.manager(|manager| {
            manager
                .sessions()
                .map(|session| session.id().clone())
                .collect()
        })
        .unwrap_or_default()
    }

    /// What has been counted.
    pub fn stats(&self) -> ManagerStats {
        self.manager(|manager| *manager.stats()).unwrap_or_default()
    }

    /// A session, without touching it; `None` if it is not here.
    pub fn find(&self, id: &SessionId) -> Option<SessionView> {
        self.look(id, |session| SessionView::from(session))
    }

    /// The attributes of a session, sorted by name, without touching it; `None` if it is not here.
    pub fn attributes(&self, id: &SessionId) -> Option<Vec<(String, JavaBytes)>> {
        self.look(id, |session| {
            let pairs = session.attributes();
            pairs
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.clone()))
                .collect()
        })
    }

    /// One attribute of a session, without touching it.
    pub fn attribute(&self, id: &SessionId, name: &str) -> Option<JavaBytes> {
        self.look(id, |session| session.attribute(name).cloned())
            .flatten()
    }

    /// Creates a session and begins to use it.
    ///
    /// # Errors
    ///
    /// There are `max_active_sessions` already.
    pub fn create_session(&self) -> Result<SessionId, SessionError> {
        self.command(|engine, now| engine.create_session(now, self.id, None))
    }

    /// Begins to use a session: from now on it is not new and its idle time begins anew. `false` if it is not here or
    /// its time is over.
    pub fn access(&self, id: &SessionId) -> bool {
        self.access_and(id, |_, _| ()).is_some()
    }

    /// Ends a use that [`access`](Self::access) or [`create_session`](Self::create_session) began.
    pub fn end_access(&self, id: &SessionId) {
        self.on_the_way(|engine, now| engine.end_access(now, self.id, id));
    }

    /// Sets an attribute here; [`request_completed`](Self::request_completed) sends it. Returns what it was.
    pub fn set_attribute(
        &self,
        id: &SessionId,
        name: &str,
        value: impl Into<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        let value = value.into();
        self.command(|engine, now| engine.set_attribute(now, self.id, id, name, value))
    }

    /// As [`set_attribute`](Self::set_attribute), but the value is copied into the memory of the one it replaces, if nobody holds
    /// that and it fits: then nothing is allocated, neither here nor on the members. `ValueRef::Null` removes the attribute. Whether
    /// anything has changed.
    pub fn write_attribute<'a>(
        &self,
        id: &SessionId,
        name: &str,
        value: impl Into<ValueRef<'a>>,
    ) -> Result<bool, SessionError> {
        let value = value.into();
        self.command(|engine, now| engine.write_attribute(now, self.id, id, name, value))
    }

    /// Removes an attribute here; [`request_completed`](Self::request_completed) tells the others. Returns what it was.
    pub fn remove_attribute(
        &self,
        id: &SessionId,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.command(|engine, now| engine.remove_attribute(now, self.id, id, name))
    }

    /// Seconds without a request after which the session expires; 0 or less for never. Sent as an attribute is.
    pub fn set_max_inactive_interval(
        &self,
        id: &SessionId,
        seconds: i32,
    ) -> Result<(), SessionError> {
        self.command(|engine, now| engine.set_max_inactive_interval(now, self.id, id, seconds))
    }

    /// Gives a session another id, a random one or `new`, and tells the cluster.
    pub fn change_session_id(
        &self,
        id: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        self.command(|engine, now| {
            let changed = engine.change_session_id(now, self.id, id, new)?;
            self.context.active.rename(id, &changed);
            Ok(changed)
        })
    }

    /// Ends a session here and in the cluster; `false` if it is not here.
    pub fn expire_session(&self, id: &SessionId) -> bool {
        self.inner()
            .handle
            .with(|engine, now| engine.expire_session(now, self.id, id))
    }

    /// Sends what was changed in a session. A delivery if the cluster's send options ask for acknowledgements.
    ///
    /// # Errors
    ///
    /// Nothing was sent to anybody; the changes wait for the next attempt.
    pub fn request_completed(&self, id: &SessionId) -> Result<Option<Delivery>, SessionError> {
        if self.cluster.is_stopped() {
            return Err(SessionError::Stopped);
        }
        match self.completing(|engine, now| self.complete(engine, now, id, None))? {
            Completed::Sent(delivery) => Ok(delivery),
            Completed::Nothing => Ok(None),
        }
    }

    /// A whole request on a session at once: begins to use it, lets `work` look at it and change it, sends what was changed and ends
    /// the use. What `work` returned, and a delivery if the cluster's send options ask for acknowledgements.
    ///
    /// Under one lock, where [`access`](Self::access), [`set_attribute`](Self::set_attribute),
    /// [`request_completed`](Self::request_completed) and [`end_access`](Self::end_access) take it four times. `work` must neither
    /// block nor use the cluster: that would wait for itself, and panics instead.
    ///
    /// ```
    /// # fn visit(manager: &folkmoot::DeltaManager, id: &folkmoot::SessionId) -> Result<(), folkmoot::SessionError> {
    /// let (before, delivery) = manager.request(id, |session| session.set_attribute("cart", "3 apples"))?;
    /// println!("it was {:?}", before?);
    /// if let Some(delivery) = delivery {
    ///     assert!(delivery.wait().is_complete());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The session is not here or its time is over: `work` has not been called. Or nothing was sent to anybody: the changes wait for
    /// the next attempt.
    pub fn request<R>(
        &self,
        id: &SessionId,
        work: impl FnOnce(&mut SessionRequest<'_>) -> R,
    ) -> Result<(R, Option<Delivery>), SessionError> {
        if self.cluster.is_stopped() {
            return Err(SessionError::Stopped);
        }
        let mut work = Some(work);
        let mut attempt =
            |engine: &mut Engine, now| match SessionRequest::begin(engine, now, self.id, id) {
                Begun::Here(mut session) => {
                    let result = work.take().map(|work| work(&mut session));
                    let sent = session.complete();
                    Some(sent.map(|sent| (result, sent.and_then(|id| self.expect(id)))))
                }
                Begun::Absent => Some(Err(SessionError::Invalidated)),
                Begun::Fetching => None,
            };
        let outcome = match self.completing(&mut attempt) {
            Some(outcome) => Some(outcome),
            None => waiting(|| self.inner().handle.wait_for(FETCH_MAX, attempt)),
        };
        match outcome {
            Some(Ok((Some(result), delivery))) => Ok((result, delivery)),
            Some(Err(error)) => Err(error),
            Some(Ok((None, _))) | None => Err(SessionError::Invalidated),
        }
    }

    /// Ends every session whose primary is this node, here and in the cluster (`expireAllLocalSessions`); how many.
    pub fn expire_all_local_sessions(&self) -> usize {
        self.inner()
            .handle
            .with(|engine, now| engine.expire_all_local_sessions(now, self.id))
    }

    /// Fetches the state of the cluster again (`getAllClusterSessions`), after losses that were reported; `false` if that
    /// is under way already. An [`Event::StateTransferred`](crate::Event::StateTransferred) tells the end.
    pub fn get_all_cluster_sessions(&self) -> bool {
        self.inner()
            .handle
            .with(|engine, now| engine.get_all_cluster_sessions(now, self.id))
    }
}

impl DeltaManager {
    fn inner(&self) -> &Inner {
        &self.cluster.inner
    }

    fn manager<R>(
        &self,
        look: impl FnOnce(&folkmoot_core::session::DeltaManager) -> R,
    ) -> Option<R> {
        self.inner()
            .handle
            .inspect(|engine| engine.manager(self.id).map(look))
    }

    fn look<R>(&self, id: &SessionId, look: impl FnOnce(&DeltaSession) -> R) -> Option<R> {
        self.inner()
            .handle
            .inspect(|engine| engine.session(self.id, id).map(look))
    }

    /// Begins to use a session, and does something more under the same lock. A session that is on another member only is
    /// waited for, by this thread.
    fn access_and<R>(
        &self,
        id: &SessionId,
        then: impl Fn(&mut Engine, folkmoot_core::time::Instant) -> R,
    ) -> Option<R> {
        let access = |engine: &mut Engine, now| match engine.access(now, self.id, id) {
            Access::Here => Some(Some(then(engine, now))),
            Access::Absent => Some(None),
            Access::Fetching => None,
        };
        match self.on_the_way(access) {
            Some(outcome) => outcome,
            None => waiting(|| self.inner().handle.wait_for(FETCH_MAX, access)).flatten(),
        }
    }

    fn command<R>(
        &self,
        command: impl FnOnce(&mut Engine, folkmoot_core::time::Instant) -> Result<R, CoreSessionError>,
    ) -> Result<R, SessionError> {
        if self.cluster.is_stopped() {
            return Err(SessionError::Stopped);
        }
        self.on_the_way(command).map_err(SessionError::from)
    }

    /// Runs a command in the middle of a request: nobody waits for what it may send, unless it fetches a session.
    fn on_the_way<R>(
        &self,
        command: impl FnOnce(&mut Engine, folkmoot_core::time::Instant) -> R,
    ) -> R {
        let handle = &self.inner().handle;
        match self.fetches {
            true => handle.with(command),
            false => handle.with_unhurried(command),
        }
    }

    /// Runs a command that ends a request: nobody waits for what it sends, unless the members acknowledge it.
    fn completing<R>(
        &self,
        command: impl FnOnce(&mut Engine, folkmoot_core::time::Instant) -> R,
    ) -> R {
        let handle = &self.inner().handle;
        match self.ack_policy {
            AckPolicy::Never => handle.with_unhurried(command),
            AckPolicy::OnReceipt | AckPolicy::OnProcessed => handle.with(command),
        }
    }

    /// As [`completing`](Self::completing), for a task: those that are ready to run send theirs before it leaves.
    fn completing_of_task(
        &self,
        command: impl FnOnce(
            &mut Engine,
            folkmoot_core::time::Instant,
        ) -> Result<Completed, SessionError>,
    ) -> Result<Completed, SessionError> {
        if self.ack_policy == AckPolicy::Never {
            return self.completing(command);
        }
        let handle = &self.inner().handle;
        match handle.with_more(command) {
            Ok(Completed::Sent(Some(delivery))) => Ok(Completed::Sent(Some(delivery.gathering()))),
            // Nobody waits who could let it leave.
            other => {
                handle.write_left();
                other
            }
        }
    }

    /// Begins to wait for a message if the members owe an acknowledgement. To be called under the lock under which it was
    /// sent: it cannot be settled before it is waited for.
    fn expect(&self, id: UniqueId) -> Option<Delivery> {
        let acknowledged = self.ack_policy != AckPolicy::Never;
        acknowledged.then(|| self.inner().expect(id))
    }

    /// Ends the request on the session that has the id `id`, and its use of the session if `leaving`.
    fn complete(
        &self,
        engine: &mut Engine,
        now: folkmoot_core::time::Instant,
        id: &SessionId,
        leaving: Option<&Arc<ActiveSession>>,
    ) -> Result<Completed, SessionError> {
        let sent = engine.request_completed(now, self.id, id);
        if let Some(session) = leaving {
            engine.end_access(now, self.id, id);
            self.context.active.leave(session);
        }
        match sent {
            Ok(None) => Ok(Completed::Nothing),
            Ok(Some(id)) => Ok(Completed::Sent(self.expect(id))),
            Err(error) => Err(SessionError::Send(error.to_string())),
        }
    }
}

impl SessionStore for DeltaManager {
    fn context_path(&self) -> &str {
        self.context_path()
    }

    fn jvm_route(&self) -> Option<&str> {
        self.jvm_route()
    }

    fn find(&self, id: &SessionId) -> Option<SessionView> {
        self.find(id)
    }

    fn join(&self, id: &SessionId) -> Option<Arc<ActiveSession>> {
        self.access_and(id, |_, _| self.context.active.enter(id))
    }

    fn join_and_set(
        &self,
        id: &SessionId,
        name: &str,
        value: &mut Option<JavaBytes>,
    ) -> Option<JoinedAndSet> {
        let place = Cell::new(value.take());
        let joined = self.access_and(id, |engine, now| {
            let value = place.take()?;
            let set = engine.set_attribute(now, self.id, id, name, value);
            let active = self.context.active.enter(id);
            Some((active, set.map_err(SessionError::from)))
        });
        *value = place.take();
        joined.flatten()
    }

    fn create(&self) -> Result<Arc<ActiveSession>, SessionError> {
        self.command(|engine, now| {
            let id = engine.create_session(now, self.id, None)?;
            Ok(self.context.active.enter(&id))
        })
    }

    fn view(&self, session: &ActiveSession) -> Option<SessionView> {
        self.look_at(session, |session| SessionView::from(session))
            .ok()
    }

    fn attribute_names(&self, session: &ActiveSession) -> Result<Vec<String>, SessionError> {
        let name = |(name, _): (&JavaString, &JavaBytes)| name.to_string_lossy().into_owned();
        self.look_at(session, |session| session.attributes().map(name).collect())
    }

    fn attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.look_at(session, |session| session.attribute(name).cloned())
    }

    fn set_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
        value: JavaBytes,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.command(|engine, now| engine.set_attribute(now, self.id, &session.id(), name, value))
    }

    fn remove_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.command(|engine, now| engine.remove_attribute(now, self.id, &session.id(), name))
    }

    fn set_max_inactive_interval(
        &self,
        session: &ActiveSession,
        seconds: i32,
    ) -> Result<(), SessionError> {
        self.command(|engine, now| {
            engine.set_max_inactive_interval(now, self.id, &session.id(), seconds)
        })
    }

    fn change_id(
        &self,
        session: &ActiveSession,
        to: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        self.command(|engine, now| {
            let old = session.id();
            let new = engine.change_session_id(now, self.id, &old, to)?;
            self.context.active.rename(&old, &new);
            Ok(new)
        })
    }

    fn rebind(&self, from: &SessionId, to: &SessionId) -> bool {
        let bind = |engine: &mut Engine, now| {
            let bound = engine
                .change_session_id(now, self.id, from, Some(to))
                .is_ok();
            if bound {
                self.context.active.rename(from, to);
            }
            bound
        };
        if !self.fetches {
            return self.on_the_way(bind);
        }
        // As `BackupManager.findSession`: to look for it is to take it over.
        let bound = self.access_and(from, |engine, now| {
            let bound = bind(engine, now);
            engine.end_access(now, self.id, if bound { to } else { from });
            bound
        });
        bound.unwrap_or(false)
    }

    fn invalidate(&self, session: &ActiveSession) -> Result<Option<Delivery>, SessionError> {
        self.inner().handle.with(|engine, now| {
            let sent = engine.invalidate_session(now, self.id, &session.id());
            let sent = sent.map_err(|_| SessionError::Invalidated)?;
            Ok(sent.and_then(|id| self.expect(id)))
        })
    }

    fn request_completed(
        &self,
        session: &Arc<ActiveSession>,
        leave: bool,
    ) -> Result<Completed, SessionError> {
        if self.cluster.is_stopped() {
            return Err(SessionError::Stopped);
        }
        self.completing_of_task(|engine, now| {
            // With the engine locked: until then the session may get another id.
            let id = session.id();
            self.complete(engine, now, &id, leave.then_some(session))
        })
    }

    fn leave(&self, session: Arc<ActiveSession>) {
        self.on_the_way(|engine, now| {
            engine.end_access(now, self.id, &session.id());
            self.context.active.leave(&session);
        });
    }
}

impl DeltaManager {
    /// Looks at the session that a request uses.
    fn look_at<R>(
        &self,
        session: &ActiveSession,
        look: impl FnOnce(&DeltaSession) -> R,
    ) -> Result<R, SessionError> {
        self.look(&session.id(), look)
            .ok_or(SessionError::Invalidated)
    }
}

/// Longer than any fetch takes: `rpc_timeout` three times over, at its default.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// Waits on this thread; tasks that were to run on it may run elsewhere.
fn waiting<R>(wait: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

impl fmt::Debug for DeltaManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaManager")
            .field("context_path", &self.context_path())
            .finish_non_exhaustive()
    }
}
