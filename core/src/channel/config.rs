//! What a [`Channel`](super::Channel) is told before it starts: behaviour (Tomcat's names and defaults) and
//! capacities, validated together.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::service::Service;
use crate::interceptor::stack::Stack;
use crate::interceptor::{Interceptor, InterceptorError};
use crate::membership::StaticMember;
use crate::transport::MARKER;
use crate::wire::UniqueId;

/// Behaviour and capacities of a channel. [`ChannelConfig::new`] gives Tomcat's defaults.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Where our receiver listens, as other members shall reach it: it goes into the member block. The address
    /// must not be unspecified (`0.0.0.0`) and the port not 0.
    pub address: SocketAddr,
    /// Advertised only; −1 means none. `NioReceiver.securePort`.
    pub secure_port: i32,
    /// Port of our UDP listener; −1 means none. `NioReceiver.udpPort`.
    pub udp_port: i32,
    /// Name of our domain, ISO-8859-1 bytes. Default empty.
    pub domain: Vec<u8>,
    /// Application payload carried in our member block. Default empty. With
    /// [`SenderConfig::pipelining`] a marker of 8 bytes follows it.
    pub payload: Vec<u8>,
    /// Identity of this incarnation; `None` (the default) draws a random one. Static members need the one that
    /// all others have configured.
    pub unique_id: Option<UniqueId>,
    /// Identity of the incarnation that ran at this address before and may have died without a word. Before our first
    /// heartbeat the group is told that it has left: else a Tomcat keeps a fast restart's dead incarnation in its
    /// member list for good.
    pub previous_unique_id: Option<UniqueId>,
    /// Whether heartbeats and messages of members of another domain are left out (and counted), as
    /// [`DomainFilterInterceptor`](crate::interceptor::DomainFilterInterceptor) does. Default true. An interceptor of that
    /// kind names another domain.
    pub domain_filter: bool,
    /// Layers between the channel and its listener, as in `server.xml`: the first is nearest to the application. Default
    /// none. All members must have those that change bytes, in the same order.
    pub interceptors: Vec<Interceptor>,
    /// How members find each other.
    pub membership: MembershipConfig,
    /// How messages leave.
    pub sender: SenderConfig,
    /// How members are verified. `TcpFailureDetector`.
    pub failure_detector: FailureDetectorConfig,
    /// How messages arrive.
    pub receiver: ReceiverConfig,
    /// Period of the channel's housekeeping. `GroupChannel.heartbeatSleeptime`, default 5 s.
    pub heartbeat: Duration,
    /// How long [`Channel::stop`](super::Channel::stop) waits for queued messages to leave. Default 3 s.
    pub stop_timeout: Duration,
    /// Capacities.
    pub limits: Limits,
}

/// How members find each other.
#[derive(Clone, Debug)]
pub enum MembershipConfig {
    /// `McastService`: heartbeats on a multicast group that the driver has joined.
    Multicast(MulticastConfig),
    /// `StaticMembershipInterceptor` with `TcpPingInterceptor(staticOnly)`: a list, verified by TCP.
    Static(StaticConfig),
    /// `StaticMembershipService`: a list, verified by TCP, whose members tell each other by RPC that they are there.
    StaticService(StaticServiceConfig),
    /// Nobody is looked for (channel start options 3).
    None,
}

/// Times of multicast membership.
#[derive(Clone, Copy, Debug)]
pub struct MulticastConfig {
    /// Period of our heartbeats. `frequency`, default 500 ms.
    pub frequency: Duration,
    /// A member not heard from for longer is suspected. `dropTime`, default 3000 ms.
    pub drop_time: Duration,
}

/// The members of a cluster without multicast.
#[derive(Clone, Debug)]
pub struct StaticConfig {
    /// All members; ourselves may be among them and are left out.
    pub members: Vec<StaticMember>,
    /// Period of the TCP check of each member. `TcpPingInterceptor.interval`, default 1 s.
    pub ping_interval: Duration,
}

/// A membership service of configured members.
#[derive(Clone, Debug, Default)]
pub struct StaticServiceConfig {
    /// The members, and how often each is checked and told that we are there. A Tomcat drops whom it has not heard of for
    /// `expirationTime`, 5 s. `pingInterval`, default 1 s.
    pub fixed: StaticConfig,
    /// The channel's name, the same on all members. `SimpleTcpCluster` takes the name of its engine or host and `-Channel`:
    /// `Catalina-Channel` in an unchanged `server.xml`. Default none: the name is learned from the other members.
    pub channel_name: Option<String>,
}

impl MembershipConfig {
    /// The list of configured members, if there is one.
    pub(super) const fn fixed(&self) -> Option<&StaticConfig> {
        match self {
            Self::Static(fixed) => Some(fixed),
            Self::StaticService(service) => Some(&service.fixed),
            Self::Multicast(_) | Self::None => None,
        }
    }
}

/// How messages leave. `ReplicationTransmitter` and `PooledParallelSender`.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// How long a message may wait for its ACK, or queued bytes for any progress, before the member is faulty.
    /// `timeout`, default 3000 ms. A large frame gets the time it needs at
    /// [`floor_bytes_per_second`](Self::floor_bytes_per_second) on top.
    pub timeout: Duration,
    /// The rate that the slowest usable network reaches; default 1 MiB/s. Tomcat has no such rate, and loses large state
    /// transfers to its fixed timeout.
    pub floor_bytes_per_second: u32,
    /// How often a message is sent again on a new connection before the member is faulty. `maxRetryAttempts`,
    /// default 1.
    pub max_retry_attempts: u32,
    /// An idle connection is closed after more than so many messages; negative (the default) means never.
    pub keep_alive_count: i64,
    /// An idle connection is closed when it is older than so many milliseconds; negative (the default) means never.
    pub keep_alive_time: i64,
    /// Connections to one Tomcat for acknowledged messages, each with one message under way, besides the one for
    /// unacknowledged messages. Tomcat's `poolSize` is 25; default 4, range 1 to 64.
    pub connections_per_member: usize,
    /// Whether a FAIL_ACK makes the member faulty. `throwOnFailedAck`, default true.
    pub throw_on_failed_ack: bool,
    /// Whether we tell other nodes of this implementation (in the member payload, silent to Tomcat) that they may send many
    /// acknowledged messages on one connection before the first ACK comes back, and do so to them. Default true.
    pub pipelining: bool,
}

/// How members are verified. `TcpFailureDetector`.
#[derive(Clone, Copy, Debug)]
pub struct FailureDetectorConfig {
    /// Whether an added member is announced, and a missed one removed, only after a TCP check. Default true.
    pub enabled: bool,
    /// How long a check waits for its connection. `connectTimeout`, default 1000 ms.
    pub connect_timeout: Duration,
    /// How long a missed member that still accepts connections is checked every second; later it stays a member and is
    /// checked with every channel heartbeat. `removeSuspectsTimeout`, default 300 s.
    pub remove_suspects_timeout: Duration,
}

/// How messages arrive.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverConfig {
    /// How long a frame may take from its first byte to its last, besides what its length needs at 64 KiB/s, and how
    /// long a peer may leave its ACKs unread. Then its connection is closed. Default 30 s. Tomcat waits for ever.
    pub frame_timeout: Duration,
    /// Whether a member keeps its connection when what it says is well-formed and of no use here: a message for an
    /// application that is not deployed, a delta for a session that does not come within its moment of waiting. Default
    /// false: the connection is [wound up](super::Verdict::Unwanted), which loses nothing, but costs a Tomcat a line in its
    /// log and the time to connect once more. Say true where a Tomcat has applications of its own that change sessions all day. The
    /// connection of somebody who is not a member is closed in any case.
    pub trust_members: bool,
}

/// Capacities: nothing in a channel grows beyond them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Verified members. Default 256, at most 4096.
    pub members_max: usize,
    /// Members heard of but not verified; the oldest makes room for the next. Default 64.
    pub candidates_max: usize,
    /// TCP checks under way at once. Default 16.
    pub probes_max: usize,
    /// Connections that peers have opened to us. Default 1024.
    pub connections_max: usize,
    /// Data of one incoming frame. Default 128 MiB: a state transfer sends all sessions in one message, 13 MB for 10,000
    /// small ones.
    pub message_bytes_max: usize,
    /// Bytes of all incomplete incoming frames together. Default 512 MiB.
    pub gather_bytes_max: usize,
    /// Bytes queued to one member, sent and not yet acknowledged ones included. `maxQueueSize`, default 64 MiB. A single
    /// message may be larger if nothing else waits.
    pub queue_bytes_max: usize,
    /// Events kept for [`Channel::poll_event`](super::Channel::poll_event); what comes on top is counted only.
    /// Default 65,536.
    pub events_max: usize,
}

impl ChannelConfig {
    /// Tomcat's defaults with multicast membership, for a receiver that others reach at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            secure_port: -1,
            udp_port: -1,
            domain: Vec::new(),
            payload: Vec::new(),
            unique_id: None,
            previous_unique_id: None,
            domain_filter: true,
            interceptors: Vec::new(),
            membership: MembershipConfig::Multicast(MulticastConfig::default()),
            sender: SenderConfig::default(),
            failure_detector: FailureDetectorConfig::default(),
            receiver: ReceiverConfig::default(),
            heartbeat: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(3),
            limits: Limits::default(),
        }
    }

    /// Checks every value and what they demand of each other.
    ///
    /// # Errors
    /// The first value that cannot work, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.address.ip().is_unspecified() {
            return Err(ConfigError::UnspecifiedAddress);
        }
        if self.address.ip().is_multicast() {
            return Err(ConfigError::MulticastAddress);
        }
        if self.address.port() == 0 {
            return Err(ConfigError::PortZero);
        }
        let marker = if self.sender.pipelining {
            MARKER.len()
        } else {
            0
        };
        let block = [self.domain.len(), self.payload.len(), marker]
            .into_iter()
            .fold(89usize + 9, usize::saturating_add);
        if block > 65_535 {
            return Err(ConfigError::MemberBlockTooLong(block));
        }
        match &self.membership {
            MembershipConfig::Multicast(multicast) => {
                positive("membership.frequency", multicast.frequency)?;
                if multicast.drop_time < multicast.frequency.saturating_mul(2) {
                    return Err(ConfigError::DropTimeTooShort);
                }
                // A heartbeat is one datagram, 65 507 bytes at most.
                if block > 65_507 {
                    return Err(ConfigError::MemberBlockTooLong(block));
                }
            }
            MembershipConfig::Static(fixed)
            | MembershipConfig::StaticService(StaticServiceConfig { fixed, .. }) => {
                positive("membership.ping_interval", fixed.ping_interval)?;
                for (index, member) in fixed.members.iter().enumerate() {
                    if member.address.port() == 0 || member.address.ip().is_unspecified() {
                        return Err(ConfigError::StaticMemberAddress(index));
                    }
                    let twice = fixed
                        .members
                        .iter()
                        .take(index)
                        .any(|other| other.address == member.address);
                    if twice {
                        return Err(ConfigError::StaticMemberTwice(index));
                    }
                }
                if fixed.members.len() > self.limits.members_max {
                    return Err(ConfigError::OutOfRange(
                        "limits.members_max",
                        "at least the number of static members",
                    ));
                }
            }
            MembershipConfig::None => {}
        }
        positive("sender.timeout", self.sender.timeout)?;
        positive(
            "failure_detector.connect_timeout",
            self.failure_detector.connect_timeout,
        )?;
        positive("receiver.frame_timeout", self.receiver.frame_timeout)?;
        positive("heartbeat", self.heartbeat)?;
        if self.sender.floor_bytes_per_second == 0 {
            return Err(ConfigError::OutOfRange(
                "sender.floor_bytes_per_second",
                "1 or more",
            ));
        }
        if !(1..=64).contains(&self.sender.connections_per_member) {
            return Err(ConfigError::OutOfRange(
                "sender.connections_per_member",
                "1 to 64",
            ));
        }
        self.limits.validate()?;
        self.stack().map(drop)
    }

    /// The domains that somebody must have to be one of us.
    pub(super) fn domains(&self) -> Vec<Vec<u8>> {
        let mut domains: Vec<_> = self
            .interceptors
            .iter()
            .filter_map(|interceptor| match interceptor {
                Interceptor::DomainFilter(filter) => Some(filter.domain.clone()),
                _ => None,
            })
            .collect();
        if domains.is_empty() && self.domain_filter {
            domains.push(self.domain.clone());
        }
        domains
    }

    /// The membership service at work.
    pub(super) fn service(&self) -> Option<Service> {
        match &self.membership {
            MembershipConfig::StaticService(service) => {
                Some(Service::new(service.channel_name.as_deref()))
            }
            _ => None,
        }
    }

    /// The interceptors at work.
    pub(super) fn stack(&self) -> Result<Stack, ConfigError> {
        Stack::new(&self.interceptors, &self.limits)
            .map_err(|(index, error)| ConfigError::Interceptor(index, error))
    }
}

fn positive(name: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value < Duration::from_millis(1) {
        return Err(ConfigError::OutOfRange(name, "1 ms or more"));
    }
    Ok(())
}

impl Default for MulticastConfig {
    fn default() -> Self {
        Self {
            frequency: Duration::from_millis(500),
            drop_time: Duration::from_millis(3000),
        }
    }
}

impl Default for StaticConfig {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            ping_interval: Duration::from_secs(1),
        }
    }
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(3000),
            floor_bytes_per_second: 1 << 20,
            max_retry_attempts: 1,
            keep_alive_count: -1,
            keep_alive_time: -1,
            connections_per_member: 4,
            throw_on_failed_ack: true,
            pipelining: true,
        }
    }
}

impl Default for FailureDetectorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            connect_timeout: Duration::from_millis(1000),
            remove_suspects_timeout: Duration::from_secs(300),
        }
    }
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            frame_timeout: Duration::from_secs(30),
            trust_members: false,
        }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        let rows: [(&'static str, usize, usize, usize, &'static str); 8] = [
            ("limits.members_max", self.members_max, 1, 4096, "1 to 4096"),
            (
                "limits.candidates_max",
                self.candidates_max,
                1,
                4096,
                "1 to 4096",
            ),
            ("limits.probes_max", self.probes_max, 1, 1024, "1 to 1024"),
            (
                "limits.connections_max",
                self.connections_max,
                1,
                1 << 20,
                "1 to 1,048,576",
            ),
            (
                "limits.message_bytes_max",
                self.message_bytes_max,
                1024,
                i32::MAX as usize - 18,
                "1 KiB to 2 GiB",
            ),
            (
                "limits.gather_bytes_max",
                self.gather_bytes_max,
                self.message_bytes_max,
                usize::MAX,
                "limits.message_bytes_max or more",
            ),
            (
                "limits.queue_bytes_max",
                self.queue_bytes_max,
                1024,
                usize::MAX,
                "1 KiB or more",
            ),
            (
                "limits.events_max",
                self.events_max,
                16,
                usize::MAX,
                "16 or more",
            ),
        ];
        for (name, value, least, most, wanted) in rows {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::OutOfRange(name, wanted));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members_max: 256,
            candidates_max: 64,
            probes_max: 16,
            connections_max: 1024,
            message_bytes_max: 128 << 20,
            gather_bytes_max: 512 << 20,
            queue_bytes_max: 64 << 20,
            events_max: 65_536,
        }
    }
}

/// What in a configuration cannot work, and what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `address` is `0.0.0.0` or `::`.
    UnspecifiedAddress,
    /// `address` is a multicast address.
    MulticastAddress,
    /// `address` has port 0.
    PortZero,
    /// Our member block would have so many bytes.
    MemberBlockTooLong(usize),
    /// `drop_time` is shorter than two heartbeats.
    DropTimeTooShort,
    /// The static member at this index (from 0) has no usable address.
    StaticMemberAddress(usize),
    /// The static member at this index (from 0) has the address of an earlier one.
    StaticMemberTwice(usize),
    /// The setting of this name is out of its range, which follows.
    OutOfRange(&'static str, &'static str),
    /// The interceptor at this index (from 0) cannot work.
    Interceptor(usize, InterceptorError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnspecifiedAddress => f.write_str(
                "`address` is advertised to other members and must be one they can connect to, not 0.0.0.0 or ::; name an address of this host",
            ),
            Self::MulticastAddress => {
                f.write_str("`address` is a multicast group; name an address of this host, and give the group to the driver")
            }
            Self::PortZero => f.write_str("`address` has port 0; bind the receiver first and advertise the port it got"),
            Self::MemberBlockTooLong(len) => write!(
                f,
                "domain and payload make a member block of {len} bytes; it must fit into one datagram (65507): shorten `payload`"
            ),
            Self::DropTimeTooShort => f.write_str(
                "`drop_time` is shorter than two heartbeats, so one lost datagram would make a member suspect; use at least 2 × `frequency` (Tomcat: 6 ×)",
            ),
            Self::StaticMemberAddress(index) => {
                write!(f, "static member {index} needs an address and a port that can be connected to")
            }
            Self::StaticMemberTwice(index) => {
                write!(f, "static member {index} has the same address as one before it; list each member once")
            }
            Self::OutOfRange(name, wanted) => write!(f, "`{name}` must be {wanted}"),
            Self::Interceptor(index, error) => write!(f, "interceptor {index}: {error}"),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> ChannelConfig {
        ChannelConfig::new("10.0.0.1:4000".parse().unwrap())
    }

    #[test]
    fn an_impossible_configuration_is_refused_with_its_name() {
        type Spoil = fn(&mut ChannelConfig);
        #[rustfmt::skip]
        let cases: &[(Spoil, &str)] = &[
            (|c| c.address = "0.0.0.0:4000".parse().unwrap(), "name an address of this host"),
            (|c| c.address = "228.0.0.4:4000".parse().unwrap(), "multicast group"),
            (|c| c.address = "10.0.0.1:0".parse().unwrap(), "port 0"),
            (|c| c.payload = alloc::vec![0; 65_500], "shorten `payload`"),
            (|c| c.membership = MembershipConfig::Multicast(MulticastConfig { frequency: Duration::from_secs(2), ..Default::default() }), "`drop_time`"),
            (|c| c.sender.connections_per_member = 0, "`sender.connections_per_member` must be 1 to 64"),
            (|c| c.limits.queue_bytes_max = 0, "`limits.queue_bytes_max` must be 1 KiB or more"),
            (|c| c.limits.gather_bytes_max = 1 << 20, "limits.message_bytes_max or more"),
            (|c| c.sender.timeout = Duration::ZERO, "`sender.timeout` must be 1 ms or more"),
        ];
        assert_eq!(valid().validate(), Ok(()));
        for (spoil, wanted) in cases {
            let mut config = valid();
            spoil(&mut config);
            let error = alloc::format!("{}", config.validate().unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }
}
