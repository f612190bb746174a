//! What a [`DeltaManager`](super::DeltaManager) is told.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::NameFilter;
use crate::java::Limits;

/// Behaviour of one application's session manager: Tomcat's names and defaults, then capacities.
#[derive(Clone, Debug)]
pub struct DeltaManagerConfig {
    /// The manager's name on the wire, instead of the one made of host and context. `name`, default none.
    pub name: Option<String>,
    /// Seconds after which an unused session times out; 0 or less means never. The context's session timeout,
    /// default 1800.
    pub session_timeout: i32,
    /// Appended to the ids of sessions created here. `Engine.jvmRoute`, default none.
    pub jvm_route: Option<String>,
    /// Random bytes in a session id. `sessionIdLength`, default 16.
    pub session_id_length: usize,
    /// Sessions from which on [`create_session`](crate::cluster::Cluster::create_session) refuses; negative means no
    /// limit. Sessions that others create do not care. `maxActiveSessions`, default −1.
    pub max_active_sessions: i64,
    /// Whether several changes of one name in one request are all sent. `recordAllActions`, default false.
    pub record_all_actions: bool,
    /// Names of the attributes to replicate; default all. `sessionAttributeNameFilter`.
    pub session_attribute_name_filter: Option<NameFilter>,
    /// Class names of the values to replicate; default all. `sessionAttributeValueClassNameFilter`.
    pub session_attribute_value_class_name_filter: Option<NameFilter>,
    /// Whether a request that joins a session records it as no longer new, so that every request sends a delta, as Tomcat
    /// from 10.1.47 on does; otherwise a request that changes nothing sends the smaller ACCESSED when it must. Both
    /// have the same effect at the receiver. Default true.
    pub record_joins: bool,
    /// Whether a session in use counts as valid. `sessionActivityCheck`, default false.
    pub session_activity_check: bool,
    /// Whether idle times count from the beginning of the last request. `sessionLastAccessAtStart`, default false.
    pub session_last_access_at_start: bool,
    /// Of how many background runs one looks for sessions that have timed out. `processExpiresFrequency`, default 6,
    /// at least 1.
    pub process_expires_frequency: u32,
    /// Whether peers are told of the sessions that [`stop`](crate::cluster::Cluster::stop) expires.
    /// `expireSessionsOnShutdown`, default false.
    pub expire_sessions_on_shutdown: bool,
    /// Whether sessions that others create, expire and rename become events. `notifySessionListenersOnReplication`,
    /// default true.
    pub notify_session_listeners_on_replication: bool,
    /// Whether attributes that others change become events. `notifyListenersOnReplication`. Default false, unlike Tomcat:
    /// without a listener an event for each attribute is of no use.
    pub notify_listeners_on_replication: bool,
    /// How long to wait for the state of the cluster; `None` for ever, zero not at all. `stateTransferTimeout`,
    /// default 60 s.
    pub state_transfer_timeout: Option<Duration>,
    /// How long a member asked for its state may stay silent before the next one is asked. Default 10 s. Tomcat asks
    /// one only.
    pub state_transfer_silence: Duration,
    /// Whether all sessions go out at once, in messages of
    /// [`transfer_bytes_max`](ManagerLimits::transfer_bytes_max), or in blocks with pauses. `sendAllSessions`, default true.
    pub send_all_sessions: bool,
    /// Sessions in a block. `sendAllSessionsSize`, default 1000, at least 1.
    pub send_all_sessions_size: usize,
    /// Pause between blocks. `sendAllSessionsWaitTime`, default 2 s.
    pub send_all_sessions_wait_time: Duration,
    /// Whether messages that the state's donor sent before it took its snapshot, about sessions that came with it, are
    /// dropped after the transfer. Those of other members are applied whatever their clock says, unlike in Tomcat,
    /// which compares clocks of different nodes. `stateTimestampDrop`, default true.
    pub state_timestamp_drop: bool,
    /// How often recent changes are compared with another of our own nodes, one after the other, in case that nobody has noticed
    /// a loss. When a member comes, goes or misses something they are compared at once. Zero switches all of it
    /// off. Default 15 s. Tomcat never compares.
    pub reconcile_interval: Duration,
    /// Whether events are counted. `enableStatistics`, default true.
    pub enable_statistics: bool,
    /// Capacities.
    pub limits: ManagerLimits,
}

/// Capacities of a manager: nothing in it grows beyond them.
#[derive(Clone, Copy, Debug)]
pub struct ManagerLimits {
    /// Sessions. Those of others on top are refused and counted. Default 1,048,576.
    pub sessions_max: usize,
    /// How long a message about an unknown session waits for the session. Default 5 s.
    pub early_wait: Duration,
    /// Messages that wait for their session. Default 10,000.
    pub early_messages_max: usize,
    /// Bytes of them. Default 16 MiB.
    pub early_bytes_max: usize,
    /// Messages kept while a state transfer runs; beyond that the oldest are applied early. Default 262,144.
    pub held_messages_max: usize,
    /// Bytes of them. Default 64 MiB.
    pub held_bytes_max: usize,
    /// How long an expired or renamed id is remembered, so that neither a late message nor a node that was cut off can revive it.
    /// Default 1 hour: by then a copy with the default timeout that nobody uses has timed out everywhere.
    pub departed_memory: Duration,
    /// Ids remembered so. Default 65,536.
    pub departed_max: usize,
    /// Bytes of one message of a state transfer, as far as a single session does not need more. Default 1 MiB: a Tomcat
    /// has to acknowledge each within three seconds. To one of our own nodes 256 KiB at most.
    pub transfer_bytes_max: usize,
    /// Bounds for every Java stream that is read.
    pub java: Limits,
}

impl Default for DeltaManagerConfig {
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
            expire_sessions_on_shutdown: false,
            notify_session_listeners_on_replication: true,
            notify_listeners_on_replication: false,
            state_transfer_timeout: Some(Duration::from_secs(60)),
            state_transfer_silence: Duration::from_secs(10),
            send_all_sessions: true,
            send_all_sessions_size: 1000,
            send_all_sessions_wait_time: Duration::from_millis(2000),
            state_timestamp_drop: true,
            reconcile_interval: Duration::from_secs(15),
            enable_statistics: true,
            limits: ManagerLimits::default(),
        }
    }
}

impl Default for ManagerLimits {
    fn default() -> Self {
        Self {
            sessions_max: 1 << 20,
            early_wait: Duration::from_secs(5),
            early_messages_max: 10_000,
            early_bytes_max: 16 << 20,
            held_messages_max: 1 << 18,
            held_bytes_max: 64 << 20,
            departed_memory: Duration::from_secs(3600),
            departed_max: 65_536,
            transfer_bytes_max: 1 << 20,
            java: Limits::DEFAULT,
        }
    }
}

impl DeltaManagerConfig {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first value that cannot work, and what would.
    pub fn validate(&self) -> Result<(), ManagerConfigError> {
        let limits = &self.limits;
        #[rustfmt::skip]
        let rows: [(&str, bool, &str); 12] = [
            ("session_id_length", (1..=1024).contains(&self.session_id_length), "1 to 1024 bytes; Tomcat's is 16"),
            ("jvm_route", self.jvm_route.as_ref().is_none_or(|route| route.len() <= 1024), "1024 bytes or shorter"),
            ("process_expires_frequency", self.process_expires_frequency >= 1, "1 or more"),
            ("state_transfer_silence", !self.state_transfer_silence.is_zero(), "longer than zero"),
            ("send_all_sessions_size", self.send_all_sessions_size >= 1, "1 or more"),
            ("limits.sessions_max", (1..u32::MAX as usize).contains(&limits.sessions_max), "1 to 4294967294"),
            ("limits.early_messages_max", limits.early_messages_max >= 1, "1 or more"),
            ("limits.early_bytes_max", limits.early_bytes_max >= 1024, "1 KiB or more"),
            ("limits.held_messages_max", limits.held_messages_max >= 1, "1 or more"),
            ("limits.held_bytes_max", limits.held_bytes_max >= 1024, "1 KiB or more"),
            ("limits.departed_max", limits.departed_max >= 1, "1 or more"),
            ("limits.transfer_bytes_max", limits.transfer_bytes_max >= 1024, "1 KiB or more"),
        ];
        match rows.into_iter().find(|(_, fine, _)| !fine) {
            None => Ok(()),
            Some((name, _, wanted)) => Err(ManagerConfigError { name, wanted }),
        }
    }
}

/// A setting of a manager that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerConfigError {
    /// The setting.
    pub name: &'static str,
    /// What would work.
    pub wanted: &'static str,
}

impl fmt::Display for ManagerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` must be {}", self.name, self.wanted)
    }
}

impl core::error::Error for ManagerConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_impossible_setting_is_refused_by_name() {
        type Spoil = fn(&mut DeltaManagerConfig);
        #[rustfmt::skip]
        let cases: &[(Spoil, &str)] = &[
            (|c| c.session_id_length = 0, "`session_id_length` must be 1 to 1024 bytes; Tomcat's is 16"),
            (|c| c.send_all_sessions_size = 0, "`send_all_sessions_size` must be 1 or more"),
            (|c| c.process_expires_frequency = 0, "`process_expires_frequency` must be 1 or more"),
            (|c| c.limits.sessions_max = 0, "`limits.sessions_max` must be 1 to 4294967294"),
        ];
        assert_eq!(DeltaManagerConfig::default().validate(), Ok(()));
        for (spoil, message) in cases {
            let mut config = DeltaManagerConfig::default();
            spoil(&mut config);
            assert_eq!(config.validate().unwrap_err().to_string(), *message);
        }
    }
}
