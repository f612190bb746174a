//! Configuring a cluster: Tomcat's names and defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use folkmoot_core::channel::{
    ChannelConfig, FailureDetectorConfig, Limits, MembershipConfig, MulticastConfig,
    ReceiverConfig, SenderConfig, StaticConfig, StaticServiceConfig,
};
use folkmoot_core::interceptor::{
    EncryptInterceptor, FragmentationInterceptor, GzipInterceptor, Interceptor, OrderInterceptor,
};
use folkmoot_core::membership::StaticMember;
use folkmoot_core::wire::{SendOptions, UniqueId};
use folkmoot_mio::{MulticastSocket, ReceiverSockets, Tuning};
use folkmoot_uring::Driver;

use crate::address;
use crate::cluster::Cluster;
use crate::error::{ConfigError, StartError};
use crate::settings::{SendOptionsSetting, domain_bytes, is_jvm_route};

/// How the nodes of a cluster find each other.
#[derive(Clone, Debug)]
enum Membership {
    Multicast,
    Static(Vec<StaticMember>),
    StaticService(Vec<StaticMember>),
    None,
}

/// A cluster that has not started: Tomcat's names and, where nothing is set, Tomcat's defaults.
///
/// Made by [`Cluster::builder`]; nothing is checked before [`start`](Self::start).
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    membership: Membership,
    multicast: MulticastSocket,
    multicast_times: MulticastConfig,
    ping_interval: Duration,
    channel_name: Option<String>,
    receiver_address: Option<IpAddr>,
    receiver_port: u16,
    auto_bind: u16,
    interceptors: Vec<Interceptor>,
    domain: String,
    payload: Vec<u8>,
    unique_id: Option<UniqueId>,
    sender: SenderConfig,
    receiver: ReceiverConfig,
    failure_detector: FailureDetectorConfig,
    stop_timeout: Duration,
    limits: Limits,
    tuning: Tuning,
    pub(crate) channel_send_options: SendOptionsSetting,
    pub(crate) jvm_route: Option<String>,
    pub(crate) host_name: String,
    pub(crate) at_engine: bool,
    pub(crate) background_processor_delay: Duration,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) events_max: usize,
    pub(crate) driver: Driver,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        let receiver = ReceiverSockets::new(Ipv4Addr::LOCALHOST.into());
        // Only the defaults are wanted of it.
        let channel = ChannelConfig::new(SocketAddr::new(receiver.ip, receiver.port));
        Self {
            membership: Membership::Multicast,
            multicast: MulticastSocket::default(),
            multicast_times: MulticastConfig::default(),
            ping_interval: StaticConfig::default().ping_interval,
            channel_name: None,
            receiver_address: None,
            receiver_port: receiver.port,
            auto_bind: receiver.auto_bind,
            interceptors: Vec::new(),
            domain: String::new(),
            payload: Vec::new(),
            unique_id: None,
            sender: channel.sender,
            receiver: channel.receiver,
            failure_detector: channel.failure_detector,
            stop_timeout: channel.stop_timeout,
            limits: channel.limits,
            tuning: Tuning::default(),
            channel_send_options: SendOptions::ASYNCHRONOUS.into(),
            jvm_route: None,
            host_name: "localhost".to_owned(),
            at_engine: true,
            background_processor_delay: Duration::from_secs(10),
            state_dir: None,
            events_max: 1024,
            driver: Driver::Auto,
        }
    }
}

/// Everything a start needs, checked.
pub(crate) struct Plan {
    pub(crate) driver: folkmoot_mio::Config,
    pub(crate) send_options: SendOptions,
    /// The channel's configuration but for the port, which is known when the receiver is bound.
    pub(crate) channel: ChannelConfig,
}

/// # Membership
impl ClusterBuilder {
    /// Members find each other by heartbeats to a multicast group (`McastService`); the default, at
    /// 228.0.0.4:45564. `address` and `port` of Tomcat's `<Membership>`.
    pub fn multicast(mut self, address: Ipv4Addr, port: u16) -> Self {
        self.membership = Membership::Multicast;
        self.multicast.group = address;
        self.multicast.port = port;
        self
    }

    /// A local address whose interface carries the multicast group (`mcastBindAddress`, `bind`). Unset: the
    /// kernel's route to the group decides. 127.0.0.1 keeps a cluster on this host.
    pub fn multicast_bind(mut self, address: Ipv4Addr) -> Self {
        self.multicast.bind = Some(address);
        self
    }

    /// How many routers a heartbeat may pass (`ttl`); 1. 0 keeps it on this host.
    pub fn multicast_ttl(mut self, ttl: u8) -> Self {
        self.multicast.ttl = ttl;
        self
    }

    /// Whether nodes on this host do not hear each other's heartbeats (`localLoopbackDisabled`); `false`.
    pub fn local_loopback_disabled(mut self, disabled: bool) -> Self {
        self.multicast.loopback = !disabled;
        self
    }

    /// Time between heartbeats (`frequency`); 500 ms.
    pub fn frequency(mut self, frequency: Duration) -> Self {
        self.multicast_times.frequency = frequency;
        self
    }

    /// A member unheard of for so long is suspected (`dropTime`); 3 s.
    pub fn drop_time(mut self, drop_time: Duration) -> Self {
        self.multicast_times.drop_time = drop_time;
        self
    }

    /// Members are these and no others (`StaticMembershipInterceptor`), verified by TCP. This node may be
    /// among them. Every node must have the [`unique_id`](Self::unique_id) that the others list it with.
    pub fn static_members(mut self, members: impl IntoIterator<Item = StaticMember>) -> Self {
        self.membership = Membership::Static(members.into_iter().collect());
        self
    }

    /// Members are these and no others, and tell each other so (`StaticMembershipService`): for Tomcats that
    /// have this service. Otherwise as [`static_members`](Self::static_members).
    pub fn static_membership_service(
        mut self,
        members: impl IntoIterator<Item = StaticMember>,
    ) -> Self {
        self.membership = Membership::StaticService(members.into_iter().collect());
        self
    }

    /// The name of the Tomcats' channel, which a [`static_membership_service`](Self::static_membership_service)
    /// must have in common: the name of their `<Engine>` or `<Host>` and `-Channel`, such as `Catalina-Channel`. Unset: it is
    /// learned from them.
    pub fn channel_name(mut self, name: impl Into<String>) -> Self {
        self.channel_name = Some(name.into());
        self
    }

    /// Time between two checks of a static member (`TcpPingInterceptor.interval`, `pingInterval`); 1 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Nobody is looked for: a node alone, or one that others find.
    pub fn no_membership(mut self) -> Self {
        self.membership = Membership::None;
        self
    }

    /// Only members of the same domain belong together (`domain`); empty.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
        self
    }

    /// Bytes that every member learns with this one (`payload`); none.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The id of this node; random unless set. Static membership needs it set.
    pub fn unique_id(mut self, id: UniqueId) -> Self {
        self.unique_id = Some(id);
        self
    }
}

/// # Interceptors
///
/// Layers between the cluster and the network, as in `server.xml`: the first added is nearest to the application. All
/// members need the same ones that change bytes, in the same order. What `TcpFailureDetector`,
/// `MessageDispatchInterceptor`, `TcpPingInterceptor` and `StaticMembershipInterceptor` do is always there, below them.
impl ClusterBuilder {
    /// Adds an interceptor below those added before (`<Interceptor>`). [`Interceptor::named`] makes one of
    /// Tomcat's names.
    pub fn interceptor(mut self, interceptor: impl Into<Interceptor>) -> Self {
        self.interceptors.push(interceptor.into());
        self
    }

    /// Adds an `EncryptInterceptor`: `AES/GCM/NoPadding` with this key of 32, 48 or 64 hexadecimal digits
    /// (`encryptionKey`), the same on every member. The members' clocks must agree within 10 s. Heartbeats stay readable.
    pub fn encrypt(self, key: impl Into<String>) -> Self {
        self.interceptor(EncryptInterceptor::new(key))
    }

    /// Adds a `GzipInterceptor` with Tomcat's defaults. Add it before [`encrypt`](Self::encrypt): ciphertext
    /// cannot be compressed.
    pub fn gzip(self) -> Self {
        self.interceptor(GzipInterceptor::default())
    }

    /// Adds a `FragmentationInterceptor`: messages longer than `max_size` bytes leave in pieces (`maxSize`).
    pub fn fragmentation(self, max_size: usize) -> Self {
        self.interceptor(FragmentationInterceptor {
            max_size,
            ..FragmentationInterceptor::default()
        })
    }

    /// Adds an `OrderInterceptor` with Tomcat's defaults. Between members of this kind session messages keep their
    /// order without it.
    pub fn order(self) -> Self {
        self.interceptor(OrderInterceptor::default())
    }
}

/// # Receiver and sender
impl ClusterBuilder {
    /// The address of this host to listen on and to tell the members (`Receiver.address`). Unset: the one from
    /// which the kernel's routes lead to the members.
    pub fn receiver_address(mut self, address: impl Into<IpAddr>) -> Self {
        self.receiver_address = Some(address.into());
        self
    }

    /// The first port tried (`Receiver.port`); 4000. 0 lets the operating system choose.
    pub fn receiver_port(mut self, port: u16) -> Self {
        self.receiver_port = port;
        self
    }

    /// How many ports are tried, from [`receiver_port`](Self::receiver_port) upwards (`autoBind`); 100.
    pub fn auto_bind(mut self, ports: u16) -> Self {
        self.auto_bind = ports;
        self
    }

    /// How messages leave: timeout 3 s, one retry, four connections to a Tomcat.
    pub fn sender(mut self, sender: SenderConfig) -> Self {
        self.sender = sender;
        self
    }

    /// How long a peer may take over a message.
    pub fn receiver(mut self, receiver: ReceiverConfig) -> Self {
        self.receiver = receiver;
        self
    }

    /// How members are verified (`TcpFailureDetector`).
    pub fn failure_detector(mut self, detector: FailureDetectorConfig) -> Self {
        self.failure_detector = detector;
        self
    }

    /// Capacities: nothing grows beyond them.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Budgets and waiting times of the driver, such as how long it spins before it sleeps.
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// How long a shutdown waits for queued messages to leave; 3 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }
}

/// # Cluster
impl ClusterBuilder {
    /// How session messages are sent (`channelSendOptions`); 8, asynchronous.
    ///
    /// With 6 the end of a request waits until every member has applied the change, at most for the sender's
    /// timeout; with 2 until every member has received it. A member that fails is logged and counted and does
    /// not fail the request, as in Tomcat.
    pub fn channel_send_options(mut self, options: impl Into<SendOptionsSetting>) -> Self {
        self.channel_send_options = options.into();
        self
    }

    /// What this node's session ids end with, and what the front end's stickiness looks at
    /// (`Engine.jvmRoute`); none.
    pub fn jvm_route(mut self, route: impl Into<String>) -> Self {
        self.jvm_route = Some(route.into());
        self
    }

    /// Name of the Tomcats' `<Host>`; `localhost`. It is part of the managers' names unless the cluster is
    /// [`at_host`](Self::at_host).
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_name = name.into();
        self
    }

    /// The Tomcats have their `<Cluster>` inside `<Engine>`, the default: managers are named
    /// `localhost#/shop`.
    pub fn at_engine(mut self) -> Self {
        self.at_engine = true;
        self
    }

    /// The Tomcats have their `<Cluster>` inside `<Host>`: managers are named `/shop`.
    pub fn at_host(mut self) -> Self {
        self.at_engine = false;
        self
    }

    /// Time between two runs of the background work; every
    /// [`process_expires_frequency`](crate::DeltaManagerConfig::process_expires_frequency)th looks for sessions
    /// that have timed out (`backgroundProcessorDelay`); 10 s.
    pub fn background_processor_delay(mut self, delay: Duration) -> Self {
        self.background_processor_delay = delay;
        self
    }

    /// A directory for the unique id of the running node, so that its next start can tell the cluster that a
    /// crashed predecessor at this address is gone. Unset: `folkmoot` in the user's runtime directory, or in
    /// the one for temporary files. Not used when the operating system chooses the port.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// How bytes are moved: [`Driver::Auto`], unless the environment variable `FOLKMOOT_DRIVER` says otherwise. Where the
    /// kernel or a container's rules forbid io_uring, mio takes over with a line in the log.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// How many events a [subscriber](Cluster::subscribe) may be behind before it loses the oldest; 1024.
    pub fn events_max(mut self, events: usize) -> Self {
        self.events_max = events;
        self
    }

    /// Opens the sockets and starts the cluster. Does not wait for members: see
    /// [`DeltaManager::ready`](crate::DeltaManager::ready).
    ///
    /// # Errors
    ///
    /// What cannot work in the configuration or on this host, and what to change. Nothing stays open.
    pub fn start(self) -> Result<Cluster, StartError> {
        let plan = self.plan()?;
        Cluster::start(self, plan)
    }
}

impl ClusterBuilder {
    /// The unique id asked for.
    pub(crate) fn fixed_unique_id(&self) -> Option<UniqueId> {
        self.unique_id
    }

    /// Whether the receiver's address is the same at the next start.
    pub(crate) fn is_at_home(&self) -> bool {
        self.receiver_port != 0
    }

    fn plan(&self) -> Result<Plan, StartError> {
        let send_options = self.channel_send_options.for_sessions()?;
        let domain = domain_bytes(&self.domain)?;
        if let Some(route) = self.jvm_route.as_ref().filter(|route| !is_jvm_route(route)) {
            return Err(ConfigError::JvmRoute(route.clone()).into());
        }
        if self.host_name.is_empty() || self.host_name.contains('#') {
            return Err(ConfigError::HostName(self.host_name.clone()).into());
        }
        let background = Duration::from_millis(1)..=Duration::from_secs(86_400);
        if !background.contains(&self.background_processor_delay) {
            return Err(
                ConfigError::OutOfRange("background_processor_delay", "1 ms to one day").into(),
            );
        }
        if !(1..=1 << 20).contains(&self.events_max) {
            return Err(ConfigError::OutOfRange("events_max", "1 to 1,048,576").into());
        }
        let ip = self.receiver_ip()?;
        self.check_reachable(ip)?;

        // The port is filled in when it is bound; 0 would be refused.
        let mut channel = ChannelConfig::new(SocketAddr::new(ip, self.receiver_port.max(1)));
        channel.domain = domain;
        channel.payload.clone_from(&self.payload);
        channel.interceptors.clone_from(&self.interceptors);
        channel.membership = match &self.membership {
            Membership::Multicast => MembershipConfig::Multicast(self.multicast_times),
            Membership::Static(members) => MembershipConfig::Static(self.fixed(members)),
            Membership::StaticService(members) => {
                MembershipConfig::StaticService(StaticServiceConfig {
                    fixed: self.fixed(members),
                    channel_name: self.channel_name.clone(),
                })
            }
            Membership::None => MembershipConfig::None,
        };
        channel.sender = self.sender;
        channel.receiver = self.receiver;
        channel.failure_detector = self.failure_detector;
        channel.stop_timeout = self.stop_timeout;
        channel.limits = self.limits;
        channel.validate().map_err(ConfigError::from)?;

        let mut driver = folkmoot_mio::Config::new(ip);
        driver.receiver.port = self.receiver_port;
        driver.receiver.auto_bind = self.auto_bind;
        driver.tuning = self.tuning.clone();
        if let Membership::Multicast = self.membership {
            driver.multicast = Some(self.multicast.clone());
        }
        Ok(Plan {
            driver,
            send_options,
            channel,
        })
    }

    fn fixed(&self, members: &[StaticMember]) -> StaticConfig {
        StaticConfig {
            members: members.to_vec(),
            ping_interval: self.ping_interval,
        }
    }

    /// The receiver's address: the one set, else the one that leads to the members.
    fn receiver_ip(&self) -> Result<IpAddr, StartError> {
        if let Some(ip) = self.receiver_address {
            return Ok(ip);
        }
        let found = match &self.membership {
            Membership::Multicast => self.group_interface(),
            Membership::Static(members) | Membership::StaticService(members) => {
                match members.first() {
                    Some(member) => address::towards(member.address),
                    None => Ok(Ipv4Addr::LOCALHOST.into()),
                }
            }
            Membership::None => Ok(Ipv4Addr::LOCALHOST.into()),
        };
        found.map_err(|source| StartError::NoAddress { source })
    }

    /// The local address on the interface that carries the group.
    fn group_interface(&self) -> std::io::Result<IpAddr> {
        match self.multicast.bind {
            Some(bind) => Ok(bind.into()),
            None => address::towards(SocketAddr::new(
                self.multicast.group.into(),
                self.multicast.port,
            )),
        }
    }

    /// Whether the members can reach `ip`, as far as this can be known here.
    fn check_reachable(&self, ip: IpAddr) -> Result<(), ConfigError> {
        match &self.membership {
            Membership::Multicast if ip.is_loopback() && self.multicast.ttl > 0 => match self
                .group_interface()
            {
                Ok(interface) if !interface.is_loopback() => Err(ConfigError::LoopbackAdvertised {
                    address: ip,
                    towards: format!("the multicast group {}", self.multicast.group),
                    instead: Some(interface),
                }),
                // Without a route to the group the sockets' error says more.
                _ => Ok(()),
            },
            Membership::Static(members) | Membership::StaticService(members) => {
                if let Some(other) = members
                    .iter()
                    .find(|member| member.address.is_ipv4() != ip.is_ipv4())
                {
                    return Err(ConfigError::AddressFamily {
                        address: ip,
                        member: other.address.to_string(),
                    });
                }
                let remote = members
                    .iter()
                    .find(|member| !member.address.ip().is_loopback());
                match remote.filter(|_| ip.is_loopback()) {
                    Some(remote) => Err(ConfigError::LoopbackAdvertised {
                        address: ip,
                        towards: format!("the static member {}", remote.address),
                        instead: address::towards(remote.address)
                            .ok()
                            .filter(|instead| !instead.is_loopback()),
                    }),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
