//! Either kind of member in one network, and what an application does with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "alloc")]
use folkmoot_core::channel::{Channel, ChannelConfig};
#[cfg(feature = "alloc")]
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent, ContextId};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output};
use folkmoot_core::fixed::{self, Config, Event, Inbound, Listener, Verdict};
#[cfg(feature = "alloc")]
use folkmoot_core::java::JavaBytes;
#[cfg(feature = "alloc")]
use folkmoot_core::session::{DeltaManagerConfig, SessionId};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::SendOptions;

use crate::network::{self, Machine, Node, UNIX_MS, at};

/// Room for 4 others and 6 sessions.
type Memory = fixed::Memory<4, 16, 3072, 4096, 6, 1024, 2048, 128, 24>;

/// Keeps what it is told, and fails on what begins with an F.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<Vec<u8>>);

impl Listener for Log {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        self.0.push(message.message.to_vec());
        match message.message.first() {
            Some(b'F') => Verdict::Failed,
            _ => Verdict::Processed,
        }
    }
}

pub(crate) type Fixed = fixed::Cluster<'static, Log>;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fixed,
    #[cfg(feature = "alloc")]
    Full,
}

/// All kinds that this profile has.
#[cfg(feature = "alloc")]
pub(crate) const KINDS: &[Kind] = &[Kind::Fixed, Kind::Full];
#[cfg(not(feature = "alloc"))]
pub(crate) const KINDS: &[Kind] = &[Kind::Fixed];

pub(crate) enum Anyone {
    Fixed(Box<Fixed>),
    #[cfg(feature = "alloc")]
    Full(Box<Cluster>, ContextId),
}

/// What happened to either.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Fixed(Event),
    #[cfg(feature = "alloc")]
    Full(ClusterEvent),
}

/// Sessions with their attributes.
pub(crate) type Contents = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

impl Anyone {
    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Fixed(cluster) => cluster.as_ref(),
            #[cfg(feature = "alloc")]
            Self::Full(cluster, _) => cluster.as_ref(),
        }
    }

    fn engine_mut(&mut self) -> &mut dyn Engine {
        match self {
            Self::Fixed(cluster) => cluster.as_mut(),
            #[cfg(feature = "alloc")]
            Self::Full(cluster, _) => cluster.as_mut(),
        }
    }

    pub(crate) fn fixed(&mut self) -> &mut Fixed {
        match self {
            Self::Fixed(cluster) => cluster,
            #[cfg(feature = "alloc")]
            Self::Full(..) => panic!("not a member in fixed memory"),
        }
    }

    fn members(&self) -> usize {
        match self {
            Self::Fixed(cluster) => cluster.member_count(),
            #[cfg(feature = "alloc")]
            Self::Full(cluster, _) => cluster.channel().member_count(),
        }
    }

    fn contents(&self) -> Contents {
        match self {
            Self::Fixed(cluster) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let ids = cluster.sessions().map(|session| text(session.id));
                let contents = ids.map(|id| {
                    let attributes = cluster.attributes(&id);
                    let attributes = attributes.map(|(name, value)| (text(name), value.to_vec()));
                    let attributes = attributes.collect();
                    (id, attributes)
                });
                contents.collect()
            }
            #[cfg(feature = "alloc")]
            Self::Full(cluster, context) => {
                let contents = cluster
                    .manager(*context)
                    .unwrap()
                    .sessions()
                    .map(|session| {
                        let attributes = session.attributes();
                        let attributes = attributes
                            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                        (session.id().to_string(), attributes.collect())
                    });
                contents.collect()
            }
        }
    }
}

impl Engine for Anyone {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.engine_mut().handle(now, input);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.engine_mut().accept(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.engine_mut().poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine().poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.engine().transmit(conn, out);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.engine_mut().transmitted(now, conn, len);
    }
}

impl Machine for Anyone {
    type Event = Told;
    type Context = ();

    fn next_event(&mut self) -> Option<Told> {
        match self {
            Self::Fixed(cluster) => cluster.poll_event().map(Told::Fixed),
            #[cfg(feature = "alloc")]
            Self::Full(cluster, _) => cluster.poll_event().map(Told::Full),
        }
    }
}

pub(crate) type Net = network::Net<Anyone>;

/// Tomcat's defaults, with these send options.
pub(crate) fn config(node: usize, options: SendOptions) -> Config<'static> {
    Config {
        channel_send_options: options,
        ..Config::new(at(node), "localhost#/shop")
    }
}

/// A text as Java writes it.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0xAC, 0xED, 0, 5, b't'], &len[..], text.as_bytes()].concat()
}

impl Net {
    /// So many nodes of these kinds in turn, which know each other.
    pub(crate) fn of(kinds: &[Kind], nodes: usize, options: SendOptions) -> Self {
        let mut net = Self::new();
        for kind in kinds.iter().cycle().take(nodes) {
            net.join(*kind, options);
        }
        net.run(Duration::from_secs(3));
        for node in 0..nodes {
            assert_eq!(net.members(node), nodes - 1, "{kinds:?}, node {node}");
        }
        net
    }

    pub(crate) fn join(&mut self, kind: Kind, options: SendOptions) -> usize {
        match kind {
            Kind::Fixed => self.join_fixed(config(self.nodes.len(), options)),
            #[cfg(feature = "alloc")]
            Kind::Full => self.join_full(options),
        }
    }

    #[cfg(feature = "alloc")]
    fn join_full(&mut self, options: SendOptions) -> usize {
        let (node, now, unix_ms) = (self.nodes.len(), self.now, self.unix_ms());
        let config = ChannelConfig::new(at(node));
        let channel = Channel::new(config, [node as u8 + 1; 32], now, unix_ms);
        let config = ClusterConfig {
            channel_send_options: options,
            ..ClusterConfig::default()
        };
        let mut cluster = Cluster::new(channel.unwrap(), config);
        cluster.start(now);
        let shop = cluster.register_manager(now, "/shop", DeltaManagerConfig::default());
        let full = Anyone::Full(Box::new(cluster), shop.unwrap());
        self.nodes.push(Node::new(full));
        self.settle();
        node
    }

    /// A member with this configuration.
    pub(crate) fn join_fixed(&mut self, config: Config<'static>) -> usize {
        let node = self.nodes.len();
        // Memory of firmware lives as long as the firmware.
        let memory = Box::leak(Box::new(Memory::new()));
        let seed = [node as u8 + 1; 32];
        let cluster = Fixed::new(
            config,
            memory,
            Log::default(),
            seed,
            self.now,
            self.unix_ms(),
        );
        let mut cluster = cluster.unwrap();
        cluster.start(self.now);
        self.nodes.push(Node::new(Anyone::Fixed(Box::new(cluster))));
        self.settle();
        node
    }

    fn unix_ms(&self) -> u64 {
        UNIX_MS + self.now.as_nanos() / 1_000_000
    }

    pub(crate) fn members(&self, node: usize) -> usize {
        self.nodes[node].cluster.members()
    }

    pub(crate) fn contents(&self, node: usize) -> Contents {
        self.nodes[node].cluster.contents()
    }

    /// What a member in fixed memory was told since the last time.
    pub(crate) fn told(&mut self, node: usize) -> Vec<Event> {
        let told = self.events(node).into_iter();
        let told = told.map(|told| match told {
            Told::Fixed(event) => event,
            #[cfg(feature = "alloc")]
            Told::Full(event) => panic!("{event:?} of a node with a heap"),
        });
        told.collect()
    }

    /// Gives a member in fixed memory a command, and lets everything that follows from it happen.
    pub(crate) fn command<T>(
        &mut self,
        node: usize,
        command: impl FnOnce(&mut Fixed, Instant) -> T,
    ) -> T {
        let now = self.now;
        let result = command(self.nodes[node].cluster.fixed(), now);
        self.settle();
        result
    }

    /// A whole request that creates a session with attributes.
    pub(crate) fn create(&mut self, node: usize, attributes: &[(&str, &str)]) -> String {
        let now = self.now;
        let id = match &mut self.nodes[node].cluster {
            Anyone::Fixed(cluster) => {
                let id = cluster.create_session(now).unwrap();
                for (name, value) in attributes {
                    let set = cluster.set_attribute(id.as_str(), name, &text(value));
                    set.unwrap();
                }
                cluster.request_completed(now, id.as_str());
                cluster.end_access(now, id.as_str());
                id.as_str().to_owned()
            }
            #[cfg(feature = "alloc")]
            Anyone::Full(cluster, shop) => {
                let id = cluster.create_session(now, *shop, None).unwrap();
                for (name, value) in attributes {
                    let set = cluster.set_attribute(now, *shop, &id, *name, *value);
                    set.unwrap();
                }
                cluster.request_completed(now, *shop, &id).unwrap();
                cluster.end_access(now, *shop, &id);
                id.to_string()
            }
        };
        self.settle();
        id
    }

    /// A whole request that sets or removes an attribute; whether the session was there.
    pub(crate) fn change(
        &mut self,
        node: usize,
        id: &str,
        name: &str,
        value: Option<&str>,
    ) -> bool {
        let now = self.now;
        let found = match &mut self.nodes[node].cluster {
            Anyone::Fixed(cluster) => {
                let found = cluster.access_session(now, id);
                if found {
                    let changed = match value {
                        Some(value) => cluster.set_attribute(id, name, &text(value)),
                        None => cluster.remove_attribute(id, name),
                    };
                    changed.unwrap();
                    cluster.request_completed(now, id);
                    cluster.end_access(now, id);
                }
                found
            }
            #[cfg(feature = "alloc")]
            Anyone::Full(cluster, shop) => {
                let id = SessionId::from(id);
                let found = cluster.access_session(now, *shop, &id);
                if found {
                    let changed = match value {
                        Some(value) => {
                            let value = JavaBytes::from(value);
                            cluster.set_attribute(now, *shop, &id, name, value)
                        }
                        None => cluster.remove_attribute(now, *shop, &id, name),
                    };
                    changed.unwrap();
                    cluster.request_completed(now, *shop, &id).unwrap();
                    cluster.end_access(now, *shop, &id);
                }
                found
            }
        };
        self.settle();
        found
    }

    /// Every node has what the first one has.
    pub(crate) fn assert_equal(&self, case: &str) {
        let want = self.contents(0);
        for node in 1..self.nodes.len() {
            if self.nodes[node].alive {
                assert_eq!(self.contents(node), want, "node {node}, {case}");
            }
        }
    }
}
