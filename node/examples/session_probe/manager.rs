//! The session manager that the environment asks for.

use folkmoot::java::JavaBytes;
use folkmoot::{
    BackupManager, BackupManagerConfig, Cluster, ContextError, DeltaManager, DeltaManagerConfig,
    EntryState, ManagerStats, SessionId, SessionLayer, SessionView,
};

use crate::env::{Environment, Manager as Kind};

/// A manager of either kind.
#[derive(Clone)]
pub(crate) enum Manager {
    Delta(DeltaManager),
    Backup(BackupManager),
}

impl Manager {
    pub(crate) fn new(
        cluster: &Cluster,
        path: &str,
        env: &Environment,
    ) -> Result<Self, ContextError> {
        let process_expires_frequency = env.process_expires_frequency;
        if env.manager == Kind::Backup {
            let config = BackupManagerConfig {
                process_expires_frequency,
                map_send_options: env.map_send_options,
                ..BackupManagerConfig::default()
            };
            return cluster.backup_manager_with(path, config).map(Self::Backup);
        }
        let config = DeltaManagerConfig {
            process_expires_frequency,
            ..DeltaManagerConfig::default()
        };
        cluster.delta_manager_with(path, config).map(Self::Delta)
    }

    pub(crate) fn layer(&self) -> SessionLayer {
        match self {
            Self::Delta(manager) => SessionLayer::new(manager),
            Self::Backup(manager) => SessionLayer::new(manager),
        }
    }

    pub(crate) async fn ready(&self) {
        match self {
            Self::Delta(manager) => manager.ready().await,
            Self::Backup(manager) => manager.ready().await,
        };
    }

    pub(crate) fn context_path(&self) -> &str {
        match self {
            Self::Delta(manager) => manager.context_path(),
            Self::Backup(manager) => manager.context_path(),
        }
    }

    /// The ids of the sessions that are here, and of all sessions; sorted.
    pub(crate) fn ids(&self) -> (Vec<String>, Vec<String>) {
        let sorted = |ids: Vec<SessionId>| {
            let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ids.sort();
            ids
        };
        match self {
            Self::Delta(manager) => {
                let ids = sorted(manager.session_ids());
                (ids.clone(), ids)
            }
            Self::Backup(manager) => (
                sorted(manager.session_ids()),
                sorted(manager.session_ids_full()),
            ),
        }
    }

    /// How many sessions are here, and how many there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        match self {
            Self::Delta(manager) => (manager.active_sessions(), manager.active_sessions()),
            Self::Backup(manager) => (manager.active_sessions(), manager.active_sessions_full()),
        }
    }

    pub(crate) fn stats(&self) -> ManagerStats {
        match self {
            Self::Delta(manager) => manager.stats(),
            Self::Backup(manager) => manager.stats(),
        }
    }

    /// What the node has of a session; none if it does not know it.
    pub(crate) fn role(&self, id: &SessionId) -> Option<&'static str> {
        match self {
            Self::Delta(manager) => {
                let primary = manager.find(id)?.is_primary;
                Some(if primary { "primary" } else { "copy" })
            }
            Self::Backup(manager) => Some(match manager.role(id)? {
                EntryState::Primary => "primary",
                EntryState::Backup => "backup",
                EntryState::Copy => "copy",
                EntryState::Proxy => "proxy",
            }),
        }
    }

    /// A session whose value is here, without touching it.
    pub(crate) fn find(&self, id: &SessionId) -> Option<(SessionView, Vec<(String, JavaBytes)>)> {
        match self {
            Self::Delta(manager) => Some((manager.find(id)?, manager.attributes(id)?)),
            Self::Backup(manager) => Some((manager.find(id)?, manager.attributes(id)?)),
        }
    }
}
