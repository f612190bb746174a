//! Clusters in a network in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use folkmoot_core::channel::{Channel, ChannelConfig, Lane, MemberIndex, To};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent, ContextId};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::session::{
    DeltaManager, DeltaManagerConfig, DeltaSession, EventType, SessionId, SessionMessage,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::SendOptions;

use crate::network::{self, Machine, Node, UNIX_MS};
pub(crate) use crate::network::{Passed, at};

/// The application of most tests.
pub(crate) const SHOP: &str = "/shop";

/// One with whole clusters.
pub(crate) type Net = network::Net<Cluster>;

impl Machine for Cluster {
    type Event = ClusterEvent;
    type Context = ContextId;

    fn next_event(&mut self) -> Option<ClusterEvent> {
        self.poll_event()
    }
}

/// What a node looks like to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// As a Tomcat does: one acknowledged message at a time.
    Foreign,
}

impl Net {
    /// So many nodes with the shop, ready to serve.
    pub(crate) fn with(nodes: usize) -> Self {
        let mut net = Self::new();
        for _ in 0..nodes {
            net.join(
                Kind::Ours,
                ClusterConfig::default(),
                DeltaManagerConfig::default(),
            );
        }
        net.run(Duration::from_secs(3));
        net
    }

    pub(crate) fn join(
        &mut self,
        kind: Kind,
        config: ClusterConfig,
        manager: DeltaManagerConfig,
    ) -> usize {
        let node = self.join_empty(kind, config);
        self.register(node, manager);
        node
    }

    /// A started node without an application.
    pub(crate) fn join_empty(&mut self, kind: Kind, config: ClusterConfig) -> usize {
        let node = self.nodes.len();
        let mut channel = ChannelConfig::new(at(node));
        channel.sender.pipelining = kind == Kind::Ours;
        self.join_with(channel, config)
    }

    pub(crate) fn join_with(&mut self, channel: ChannelConfig, config: ClusterConfig) -> usize {
        let node = self.nodes.len();
        let fresh = self.start(node, channel, config);
        self.nodes.push(fresh);
        self.settle();
        node
    }

    pub(crate) fn register(&mut self, node: usize, config: DeltaManagerConfig) -> ContextId {
        let context = self.nodes[node]
            .cluster
            .register_manager(self.now, SHOP, config)
            .unwrap();
        self.nodes[node].shop = Some(context);
        self.settle();
        context
    }

    // --- what an application does ---------------------------------------------------------------------------------

    pub(crate) fn shop(&self, node: usize) -> &DeltaManager {
        self.nodes[node]
            .cluster
            .manager(self.context(node))
            .unwrap()
    }

    pub(crate) fn context(&self, node: usize) -> ContextId {
        self.nodes[node].shop.expect("a registered shop")
    }

    /// Gives a command, and lets everything that follows from it happen.
    pub(crate) fn command<T>(
        &mut self,
        node: usize,
        command: impl FnOnce(&mut Cluster, Instant, ContextId) -> T,
    ) -> T {
        let (now, context) = (self.now, self.context(node));
        let result = command(&mut self.nodes[node].cluster, now, context);
        self.settle();
        result
    }

    /// A whole request that creates a session and sets attributes.
    pub(crate) fn create(&mut self, node: usize, attributes: &[(&str, &str)]) -> SessionId {
        let id = self.command(node, |cluster, now, shop| {
            let id = cluster.create_session(now, shop, None).unwrap();
            for (name, value) in attributes {
                cluster
                    .set_attribute(now, shop, &id, *name, *value)
                    .unwrap();
            }
            cluster.request_completed(now, shop, &id).unwrap();
            cluster.end_access(now, shop, &id);
            id
        });
        assert!(self.session(node, &id).is_some());
        id
    }

    /// A whole request; whether its session was found.
    pub(crate) fn request(
        &mut self,
        node: usize,
        id: &SessionId,
        attributes: &[(&str, Option<&str>)],
    ) -> bool {
        self.command(node, |cluster, now, shop| {
            if !cluster.access_session(now, shop, id) {
                return false;
            }
            for (name, value) in attributes {
                match value {
                    Some(value) => cluster.set_attribute(now, shop, id, *name, *value).unwrap(),
                    None => cluster.remove_attribute(now, shop, id, *name).unwrap(),
                };
            }
            cluster.request_completed(now, shop, id).unwrap();
            cluster.end_access(now, shop, id);
            true
        })
    }

    pub(crate) fn session(&self, node: usize, id: &SessionId) -> Option<&DeltaSession> {
        self.shop(node).session(id)
    }

    /// The text of an attribute.
    pub(crate) fn text(&self, node: usize, id: &SessionId, name: &str) -> Option<String> {
        let value = self.session(node, id)?.attribute(name)?;
        Some(value.as_string().expect("a text").to_string())
    }

    /// Every session of a node with its attributes, to be compared.
    pub(crate) fn contents(&self, node: usize) -> BTreeMap<String, BTreeMap<String, JavaBytes>> {
        let sessions = self.shop(node).sessions();
        sessions
            .map(|session| {
                let attributes = session.attributes();
                let attributes = attributes.map(|(name, value)| (name.to_string(), value.clone()));
                (session.id().to_string(), attributes.collect())
            })
            .collect()
    }

    // --- what a test does as a peer -------------------------------------------------------------------------------

    /// Sends any bytes as an object message.
    pub(crate) fn say_bytes(&mut self, from: usize, to: usize, stream: &[u8]) {
        let member = self.member(from, to);
        let now = self.now;
        let channel = self.nodes[from].cluster.channel_mut();
        let options = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        channel
            .send_object(now, To::Member(member), options, Lane::Ordered(0), stream)
            .unwrap();
        self.settle();
    }

    /// Sends a session message that nobody's manager made.
    pub(crate) fn say(
        &mut self,
        from: usize,
        to: usize,
        kind: EventType,
        id: &str,
        timestamp_ms: i64,
        payload: Option<&[u8]>,
    ) {
        let message = SessionMessage {
            session: payload,
            ..SessionMessage::new(
                kind,
                b"localhost#/shop",
                id.as_bytes(),
                b"test",
                timestamp_ms,
            )
        };
        let mut stream = Vec::new();
        message.write(&mut stream);
        self.say_bytes(from, to, &stream);
    }

    /// How `node` calls `other`.
    pub(crate) fn member(&self, node: usize, other: usize) -> MemberIndex {
        let mut members = self.nodes[node].cluster.channel().members();
        let found = members.find(|(_, member)| member.socket_addr() == Some(at(other)));
        found.expect("a member").0
    }

    /// Now, by the wall clock.
    pub(crate) fn unix_ms(&self) -> i64 {
        (UNIX_MS + self.now.as_nanos() / 1_000_000) as i64
    }

    /// A dead node comes back as another incarnation.
    pub(crate) fn restart(
        &mut self,
        node: usize,
        config: ClusterConfig,
        manager: DeltaManagerConfig,
    ) {
        assert!(!self.nodes[node].alive);
        let fresh = self.start(node, ChannelConfig::new(at(node)), config);
        self.nodes[node] = fresh;
        self.settle();
        self.register(node, manager);
    }

    pub(crate) fn start(
        &self,
        node: usize,
        channel: ChannelConfig,
        config: ClusterConfig,
    ) -> Node<Cluster> {
        let mut seed = [node as u8 + 1; 32];
        seed[1] = (self.now.as_nanos() / 1_000_000_000) as u8;
        let offset = self.unix_offset_ms.get(&node).copied().unwrap_or_default();
        let unix_ms = (UNIX_MS + self.now.as_nanos() / 1_000_000).saturating_add_signed(offset);
        let channel = Channel::new(channel, seed, self.now, unix_ms).unwrap();
        let mut cluster = Cluster::new(channel, config);
        cluster.start(self.now);
        Node::new(cluster)
    }
}
