//! What a [`Cluster`](super::Cluster) without a heap is told: Tomcat's names and defaults.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::wire::{SendOptions, UniqueId};

/// How members find each other.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Membership<'m> {
    /// Heartbeats on the multicast group that the driver has joined. `McastService`.
    Multicast {
        /// Period of our heartbeats. `frequency`, default 500 ms.
        frequency: Duration,
        /// A member not heard from for longer is checked. `dropTime`, default 3 s.
        drop_time: Duration,
    },
    /// A list, verified by TCP. `StaticMembershipInterceptor` with `TcpPingInterceptor(staticOnly)`.
    Static {
        /// Receivers and unique ids of the others; an entry with our own address is left out.
        members: &'m [(SocketAddr, UniqueId)],
        /// Period of the checks. `TcpPingInterceptor.interval`, default 1 s.
        ping_interval: Duration,
    },
}

/// Behaviour of a cluster member without a heap; its capacities are those of its [`Memory`](super::Memory).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config<'m> {
    /// Where our receiver listens, as other members reach it.
    pub address: SocketAddr,
    /// Name of our domain, at most [`Config::DOMAIN_MAX`] bytes of ISO-8859-1. Default empty. Members of other domains are
    /// left out, as `DomainFilterInterceptor` does.
    pub domain: &'m [u8],
    /// Identity of this incarnation; `None` (the default) draws one. Static members need the one the others have
    /// configured.
    pub unique_id: Option<UniqueId>,
    /// Identity of the incarnation that ran at this address before and may have died without a word, from memory that a reset
    /// leaves alone. Before our first heartbeat the group is told that it has left: else a Tomcat keeps a fast restart's
    /// dead incarnation in its member list for good. Default none.
    pub previous_unique_id: Option<UniqueId>,
    /// How members find each other.
    pub membership: Membership<'m>,
    /// How long a message may wait for its ACK, and a written byte for the next. `timeout`, default 3 s.
    pub timeout: Duration,
    /// How often a message is sent again on a new connection. `maxRetryAttempts`, default 1.
    pub max_retry_attempts: u8,
    /// How long a TCP check waits for its connection. `connectTimeout`, default 1 s.
    pub connect_timeout: Duration,
    /// How long a frame may stay incomplete. Default 30 s.
    pub frame_timeout: Duration,
    /// Name of the session manager on the wire, host included (`localhost#/shop`), in modified UTF-8.
    pub manager_name: &'m str,
    /// How session messages are sent. `channelSendOptions`, default asynchronous (8).
    pub channel_send_options: SendOptions,
    /// Seconds after which an unused session times out; 0 or less means never. Default 1800.
    pub session_timeout: i32,
    /// Appended to the ids of sessions created here. `Engine.jvmRoute`, at most [`Config::ROUTE_MAX`] bytes, default none.
    pub jvm_route: Option<&'m str>,
    /// How often timed-out sessions are looked for. Tomcat's `backgroundProcessorDelay` times `processExpiresFrequency`,
    /// default 60 s.
    pub process_expires_interval: Duration,
    /// How long to wait for the state of the cluster. `stateTransferTimeout`, default 60 s.
    pub state_transfer_timeout: Duration,
    /// How long a member asked for its state may stay silent before the next one is asked. Default 10 s.
    pub state_transfer_silence: Duration,
    /// How long a message about an unknown session waits for it. Default 5 s.
    pub early_wait: Duration,
    /// How long an expired or renamed id is remembered, so that a late message cannot revive it. Default 120 s.
    pub departed_memory: Duration,
}

impl<'m> Config<'m> {
    /// The longest domain.
    pub const DOMAIN_MAX: usize = 32;
    /// The longest route.
    pub const ROUTE_MAX: usize = 32;
    /// The longest manager name.
    pub const NAME_MAX: usize = 64;

    /// Tomcat's defaults, with multicast membership.
    pub const fn new(address: SocketAddr, manager_name: &'m str) -> Self {
        Self {
            address,
            domain: b"",
            unique_id: None,
            previous_unique_id: None,
            membership: Membership::Multicast {
                frequency: Duration::from_millis(500),
                drop_time: Duration::from_millis(3000),
            },
            timeout: Duration::from_secs(3),
            max_retry_attempts: 1,
            connect_timeout: Duration::from_secs(1),
            frame_timeout: Duration::from_secs(30),
            manager_name,
            channel_send_options: SendOptions::ASYNCHRONOUS,
            session_timeout: 1800,
            jvm_route: None,
            process_expires_interval: Duration::from_secs(60),
            state_transfer_timeout: Duration::from_secs(60),
            state_transfer_silence: Duration::from_secs(10),
            early_wait: Duration::from_secs(5),
            departed_memory: Duration::from_secs(120),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let at_least_one_ms = |time: Duration| time >= Duration::from_millis(1);
        let (times, members) = match self.membership {
            Membership::Multicast {
                frequency,
                drop_time,
            } => (at_least_one_ms(frequency) && drop_time > frequency, 0),
            Membership::Static {
                members,
                ping_interval,
            } => (at_least_one_ms(ping_interval), members.len()),
        };
        let route = self.jvm_route.unwrap_or_default();
        #[rustfmt::skip]
        let rows = [
            ("address", !self.address.ip().is_unspecified() && self.address.port() != 0, "an address others can reach, with a port"),
            ("domain", self.domain.len() <= Self::DOMAIN_MAX, "32 bytes or shorter"),
            ("manager_name", self.manager_name.len() <= Self::NAME_MAX && !self.manager_name.is_empty(), "1 to 64 bytes"),
            ("jvm_route", route.len() <= Self::ROUTE_MAX, "32 bytes or shorter"),
            ("membership", times, "frequency or interval of 1 ms or more, and a longer drop time"),
            ("membership.members", members < usize::from(u16::MAX), "fewer"),
            ("timeout", at_least_one_ms(self.timeout), "1 ms or more"),
            ("state_transfer_silence", at_least_one_ms(self.state_transfer_silence), "1 ms or more"),
        ];
        match rows.into_iter().find(|(_, fine, _)| !fine) {
            None => Ok(()),
            Some((name, _, wanted)) => Err(ConfigError { name, wanted }),
        }
    }
}

/// A setting, or a capacity, that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigError {
    /// The setting.
    pub name: &'static str,
    /// What would work.
    pub wanted: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` must be {}", self.name, self.wanted)
    }
}

impl core::error::Error for ConfigError {}
