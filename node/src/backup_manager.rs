//! The session manager that keeps each session on two members, as programs hold it.

use std::fmt;
use std::time::Duration;

use folkmoot_core::java::JavaBytes;
use folkmoot_core::map::{EntryState, MapStats};
use folkmoot_core::session::{BackupManagerConfig, ManagerStats, SessionId};

use crate::cluster::Cluster;
use crate::delivery::Delivery;
use crate::delta_manager::{DeltaManager, SessionView};
use crate::error::ContextError;
use crate::event::StateTransfer;
use crate::web::SessionError;

/// The sessions of one web application, each on its primary and on one backup; the other members know where it is and fetch it
/// when they are asked for it (`BackupManager`). Clones are handles to the same one.
///
/// Web applications put a [`SessionLayer`](crate::SessionLayer) over it; the operations here are those of a
/// [`DeltaManager`]. What needs a session that is on other members only waits for it, at most three times
/// `rpc_timeout` (15 s) if they do not answer.
#[derive(Clone)]
pub struct BackupManager {
    sessions: DeltaManager,
}

impl BackupManager {
    pub(crate) fn register(
        cluster: &Cluster,
        path: &str,
        config: BackupManagerConfig,
    ) -> Result<Self, ContextError> {
        DeltaManager::register_backup(cluster, path, config).map(|sessions| Self { sessions })
    }

    /// What both kinds of managers do in the same way.
    pub(crate) fn sessions(&self) -> &DeltaManager {
        &self.sessions
    }

    /// The context path: `""` for the root context, else `/…`.
    pub fn context_path(&self) -> &str {
        self.sessions.context_path()
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Cluster {
        self.sessions.cluster()
    }

    /// What the ids of its sessions end with.
    pub fn jvm_route(&self) -> Option<&str> {
        self.sessions.jvm_route()
    }

    /// Waits until the map has started: where the sessions of the cluster are is known here. `None` if the cluster was shut
    /// down before.
    pub async fn ready(&self) -> Option<StateTransfer> {
        self.sessions.ready().await
    }

    /// As [`ready`](Self::ready), for threads; also `None` if it takes longer than `limit`.
    pub fn wait_ready(&self, limit: Duration) -> Option<StateTransfer> {
        self.sessions.wait_ready(limit)
    }

    /// How many sessions are here, primaries and backups (`activeSessions`).
    pub fn active_sessions(&self) -> usize {
        self.manager(|manager| manager.session_count())
    }

    /// How many sessions there are, those on other members included (`activeSessionsFull`).
    pub fn active_sessions_full(&self) -> usize {
        self.manager(|manager| manager.session_count_full())
    }

    /// The ids of the sessions that are here, in no particular order.
    pub fn session_ids(&self) -> Vec<SessionId> {
        self.manager(|manager| {
            let sessions = manager.sessions();
            sessions.map(|session| session.id().clone()).collect()
        })
    }

    /// The ids of all sessions, those on other members included, in no particular order (`getSessionIdsFull`).
    pub fn session_ids_full(&self) -> Vec<SessionId> {
        self.manager(|manager| manager.session_ids_full().collect())
    }

    /// What this member has of a session; `None` if it does not know it.
    pub fn role(&self, id: &SessionId) -> Option<EntryState> {
        self.manager(|manager| manager.role(id))
    }

    /// What has been counted about sessions.
    pub fn stats(&self) -> ManagerStats {
        self.manager(|manager| *manager.stats())
    }

    /// What has been counted about the map.
    pub fn map_stats(&self) -> MapStats {
        self.manager(|manager| *manager.map_stats())
    }

    /// A session, without touching it; `None` if it is not here.
    pub fn find(&self, id: &SessionId) -> Option<SessionView> {
        self.sessions.find(id)
    }

    /// The attributes of a session, sorted by name, without touching it; `None` if it is not here.
    pub fn attributes(&self, id: &SessionId) -> Option<Vec<(String, JavaBytes)>> {
        self.sessions.attributes(id)
    }

    /// One attribute of a session, without touching it.
    pub fn attribute(&self, id: &SessionId, name: &str) -> Option<JavaBytes> {
        self.sessions.attribute(id, name)
    }

    /// Creates a session and begins to use it; its backup gets it at once.
    ///
    /// # Errors
    ///
    /// There are `max_active_sessions` already.
    pub fn create_session(&self) -> Result<SessionId, SessionError> {
        self.sessions.create_session()
    }

    /// Begins to use a session: this member becomes its primary. Fetches it from another member if it has to, and waits for
    /// it. `false` if there is none or its time is over.
    pub fn access(&self, id: &SessionId) -> bool {
        self.sessions.access(id)
    }

    /// Ends a use that [`access`](Self::access) or [`create_session`](Self::create_session) began.
    pub fn end_access(&self, id: &SessionId) {
        self.sessions.end_access(id);
    }

    /// Sets an attribute here; [`request_completed`](Self::request_completed) sends it. Returns what it was.
    pub fn set_attribute(
        &self,
        id: &SessionId,
        name: &str,
        value: impl Into<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.sessions.set_attribute(id, name, value)
    }

    /// Removes an attribute here; [`request_completed`](Self::request_completed) tells the backup. Returns what it was.
    pub fn remove_attribute(
        &self,
        id: &SessionId,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.sessions.remove_attribute(id, name)
    }

    /// Seconds without a request after which the session expires; 0 or less for never. Sent as an attribute is.
    pub fn set_max_inactive_interval(
        &self,
        id: &SessionId,
        seconds: i32,
    ) -> Result<(), SessionError> {
        self.sessions.set_max_inactive_interval(id, seconds)
    }

    /// Gives a session that is here another id, a random one or `new`: it goes out under the new id, and the old one is removed
    /// everywhere.
    pub fn change_session_id(
        &self,
        id: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        self.sessions.change_session_id(id, new)
    }

    /// Ends a session here and in the cluster; `false` if it is not here.
    pub fn expire_session(&self, id: &SessionId) -> bool {
        self.sessions.expire_session(id)
    }

    /// Sends what was changed in a session to its backup. A delivery if `map_send_options` ask for acknowledgements.
    ///
    /// # Errors
    ///
    /// Nothing was sent to anybody; the changes wait for the next attempt.
    pub fn request_completed(&self, id: &SessionId) -> Result<Option<Delivery>, SessionError> {
        self.sessions.request_completed(id)
    }

    /// Ends every session whose primary is this member, here and in the cluster; how many.
    pub fn expire_all_local_sessions(&self) -> usize {
        self.sessions.expire_all_local_sessions()
    }

    fn manager<R: Default>(
        &self,
        look: impl FnOnce(&folkmoot_core::session::BackupManager) -> R,
    ) -> R {
        let id = self.sessions.id();
        let handle = &self.cluster().inner.handle;
        handle
            .inspect(|engine| engine.backup_manager(id).map(look))
            .unwrap_or_default()
    }
}

impl fmt::Debug for BackupManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupManager")
            .field("context_path", &self.context_path())
            .finish_non_exhaustive()
    }
}
