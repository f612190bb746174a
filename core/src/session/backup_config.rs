//! What a [`BackupManager`](super::BackupManager) is told.

use alloc::string::String;
use core::time::Duration;

use super::{ManagerConfigError, NameFilter};
use crate::channel::SendOptions;
use crate::java::Limits;

/// Behaviour of one application's backup manager: Tomcat's names and defaults, then capacities.
#[derive(Clone, Debug)]
pub struct BackupManagerConfig {
    /// The manager's name on the wire, instead of the one made of host and context; the map's is this and `-map`. `name`,
    /// default none.
    pub name: Option<String>,
    /// Seconds after which an unused session times out; 0 or less means never. The context's session timeout,
    /// default 1800.
    pub session_timeout: i32,
    /// Appended to the ids of sessions created here. `Engine.jvmRoute`, default none.
    pub jvm_route: Option<String>,
    /// Random bytes in a session id. `sessionIdLength`, default 16.
    pub session_id_length: usize,
    /// Sessions from which on a new one is refused; negative means no limit. Proxies do not count. `maxActiveSessions`,
    /// default −1.
    pub max_active_sessions: i64,
    /// Whether several changes of one name in one request are all sent. `recordAllActions`, default false.
    pub record_all_actions: bool,
    /// Names of the attributes to replicate; default all. `sessionAttributeNameFilter`.
    pub session_attribute_name_filter: Option<NameFilter>,
    /// Class names of the values to replicate; default all. `sessionAttributeValueClassNameFilter`.
    pub session_attribute_value_class_name_filter: Option<NameFilter>,
    /// Whether a request that joins a session records it as no longer new, so that every request sends a diff, as Tomcat
    /// from 10.1.47 on does. Default true.
    pub record_joins: bool,
    /// Whether a session in use counts as valid. `sessionActivityCheck`, default false.
    pub session_activity_check: bool,
    /// Whether idle times count from the beginning of the last request. `sessionLastAccessAtStart`, default false.
    pub session_last_access_at_start: bool,
    /// Of how many background runs one looks for sessions that have timed out. `processExpiresFrequency`, default 6,
    /// at least 1.
    pub process_expires_frequency: u32,
    /// Whether attributes that others change become events. `notifyListenersOnReplication`. Default false, unlike Tomcat.
    pub notify_listeners_on_replication: bool,
    /// Options of messages about sessions. `mapSendOptions`, default 6 (synchronized acknowledgement).
    pub map_send_options: SendOptions,
    /// How long to wait for a session that another node has, and for the state of the map at the start. `rpcTimeout`,
    /// default 15 s.
    pub rpc_timeout: Duration,
    /// How long a node may leave pings unanswered before it no longer counts as a node of the map. `accessTimeout`,
    /// default 5 s.
    pub access_timeout: Duration,
    /// Whether a start at which the others could not be asked counts as failed: the
    /// [`StateTransfer`](crate::cluster::ClusterEvent::StateTransfer) then says so. Otherwise pings find them later.
    /// `terminateOnStartFailure`, default false.
    pub terminate_on_start_failure: bool,
    /// Sessions, proxies included. Those of others on top are refused and counted. Default 1,048,576.
    pub sessions_max: usize,
    /// How long the id of a session that has ended is remembered, so that neither a copy that was under way nor a node that was
    /// cut off can revive it. Default 1 hour.
    pub departed_memory: Duration,
    /// Ids remembered so. Default 65,536.
    pub departed_max: usize,
    /// Bounds for every Java stream that is read.
    pub java: Limits,
}

impl Default for BackupManagerConfig {
    fn default() -> Self {
        Self {
            name: None,
            session_timeout: 1800,
            jvm_route: None,
            session_id_length: 16,
            max_active_sessions: -1,
            record_all_actions: false,
            session_attribute_name_filter: None,
            session_attribute_value_class_name_filter: None,
            record_joins: true,
            session_activity_check: false,
            session_last_access_at_start: false,
            process_expires_frequency: 6,
            notify_listeners_on_replication: false,
            map_send_options: SendOptions::from_bits(6),
            rpc_timeout: Duration::from_millis(15_000),
            access_timeout: Duration::from_millis(5_000),
            terminate_on_start_failure: false,
            sessions_max: 1 << 20,
            departed_memory: Duration::from_secs(3600),
            departed_max: 65_536,
            java: Limits::DEFAULT,
        }
    }
}

impl BackupManagerConfig {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first value that cannot work, and what would.
    pub fn validate(&self) -> Result<(), ManagerConfigError> {
        #[rustfmt::skip]
        let rows: [(&str, bool, &str); 7] = [
            ("session_id_length", (1..=1024).contains(&self.session_id_length), "1 to 1024 bytes; Tomcat's is 16"),
            ("jvm_route", self.jvm_route.as_ref().is_none_or(|route| route.len() <= 1024), "1024 bytes or shorter"),
            ("process_expires_frequency", self.process_expires_frequency >= 1, "1 or more"),
            ("rpc_timeout", !self.rpc_timeout.is_zero(), "longer than zero"),
            ("access_timeout", !self.access_timeout.is_zero(), "longer than zero"),
            ("sessions_max", (1..u32::MAX as usize).contains(&self.sessions_max), "1 to 4294967294"),
            ("departed_max", self.departed_max >= 1, "1 or more"),
        ];
        match rows.into_iter().find(|(_, fine, _)| !fine) {
            None => Ok(()),
            Some((name, _, wanted)) => Err(ManagerConfigError { name, wanted }),
        }
    }
}
