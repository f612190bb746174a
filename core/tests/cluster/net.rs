//! A network in memory: clusters, and every session message that passes between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{Channel, ChannelConfig, Lane, MemberIndex, To};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent, ContextId};
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::session::{
    DeltaManager, DeltaManagerConfig, DeltaSession, EventType, SessionId, SessionMessage,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{ChannelData, Deframed, SendOptions, deframe};

/// Wall clock of all tests at their start.
pub(crate) const UNIX_MS: u64 = 1_700_000_000_000;

/// The application of most tests.
pub(crate) const SHOP: &str = "/shop";

pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) shop: Option<ContextId>,
    pub(crate) alive: bool,
    /// Takes part in nothing, but its kernel accepts connections and buffers bytes.
    pub(crate) paused: bool,
    events: Vec<ClusterEvent>,
}

type End = (usize, ConnId);

/// A session message that passed, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) options: u32,
    /// The lane's connection at the receiver, for questions of order.
    pub(crate) stream: Vec<u8>,
}

impl Passed {
    pub(crate) fn message(&self) -> SessionMessage<'_> {
        SessionMessage::read(&self.stream).expect("a session message")
    }

    pub(crate) fn kind(&self) -> EventType {
        self.message().kind().expect("a known kind")
    }

    pub(crate) fn id(&self) -> String {
        String::from_utf8(self.message().session_id.unwrap().to_vec()).unwrap()
    }
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    streams: BTreeMap<End, End>,
    gathered: BTreeMap<End, Vec<u8>>,
    /// Every session message that arrived, in order.
    pub(crate) passed: Vec<Passed>,
    /// How far the clock of a node is ahead when it starts.
    pub(crate) unix_offset_ms: BTreeMap<usize, i64>,
}

pub(crate) fn at(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4000 + node as u16))
}

/// What a node looks like to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// As a Tomcat does: one acknowledged message at a time.
    Foreign,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::from_millis(1_000),
            nodes: Vec::new(),
            streams: BTreeMap::new(),
            gathered: BTreeMap::new(),
            passed: Vec::new(),
            unix_offset_ms: BTreeMap::new(),
        }
    }

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

    /// The messages since the last time: kind, id, and from where to where.
    pub(crate) fn take_passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<ClusterEvent> {
        self.settle();
        std::mem::take(&mut self.nodes[node].events)
    }

    // --- the network ----------------------------------------------------------------------------------------------

    /// A process dies: its kernel resets what was open, and says nothing else.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for ((mine, conn), (other, theirs)) in self.streams.clone() {
            if mine == node && other != node {
                self.streams.remove(&(mine, conn));
                self.streams.remove(&(other, theirs));
                self.input(
                    other,
                    Input::Closed {
                        conn: theirs,
                        reason: CloseReason::Reset,
                    },
                );
            }
        }
        self.settle();
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

    fn start(&self, node: usize, channel: ChannelConfig, config: ClusterConfig) -> Node {
        let mut seed = [node as u8 + 1; 32];
        seed[1] = (self.now.as_nanos() / 1_000_000_000) as u8;
        let offset = self.unix_offset_ms.get(&node).copied().unwrap_or_default();
        let unix_ms = (UNIX_MS + self.now.as_nanos() / 1_000_000).saturating_add_signed(offset);
        let channel = Channel::new(channel, seed, self.now, unix_ms).unwrap();
        let mut cluster = Cluster::new(channel, config);
        cluster.start(self.now);
        Node {
            cluster,
            shop: None,
            alive: true,
            paused: false,
            events: Vec::new(),
        }
    }

    fn input(&mut self, node: usize, input: Input<'_>) {
        let node = &mut self.nodes[node];
        if node.alive {
            node.cluster.handle(self.now, input);
        }
    }

    /// Works off every output of every node.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..self.nodes.len() {
                if !self.nodes[node].alive || self.nodes[node].paused {
                    continue;
                }
                while let Some(output) = self.nodes[node].cluster.poll_output() {
                    quiet = false;
                    self.output(node, output);
                }
                let node = &mut self.nodes[node];
                node.events
                    .extend(std::iter::from_fn(|| node.cluster.poll_event()));
                if node.cluster.poll_timeout().is_some_and(|at| at <= self.now) {
                    quiet = false;
                    node.cluster.handle(self.now, Input::Timeout);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { conn, to } => self.open(node, conn, to),
            Output::Transmit { conn } => self.transmit(node, conn),
            Output::Datagram { conn, to } => {
                assert_eq!(to, Target::Group);
                let bytes = self.pending(node, conn);
                self.nodes[node]
                    .cluster
                    .transmitted(self.now, conn, bytes.len());
                for other in 0..self.nodes.len() {
                    if !self.nodes[other].paused {
                        let from = "10.0.0.1:45564".parse().unwrap();
                        self.input(
                            other,
                            Input::Datagram {
                                from,
                                bytes: &bytes,
                            },
                        );
                    }
                }
            }
            Output::Close { conn } | Output::Abort { conn } => {
                if matches!(output, Output::Close { .. }) {
                    self.transmit(node, conn);
                }
                if let Some((other, theirs)) = self.streams.remove(&(node, conn)) {
                    self.streams.remove(&(other, theirs));
                    self.input(
                        other,
                        Input::Closed {
                            conn: theirs,
                            reason: CloseReason::EndOfStream,
                        },
                    );
                }
            }
            Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
        }
    }

    fn open(&mut self, node: usize, conn: ConnId, to: SocketAddr) {
        let target =
            (0..self.nodes.len()).find(|&other| self.nodes[other].alive && at(other) == to);
        let accepted = target.and_then(|other| {
            let from = SocketAddr::from(([10, 0, 0, 1], 50_000 + conn.slot() as u16));
            Some((other, self.nodes[other].cluster.accept(self.now, from)?))
        });
        match accepted {
            Some((other, theirs)) => {
                self.streams.insert((node, conn), (other, theirs));
                self.streams.insert((other, theirs), (node, conn));
                self.input(node, Input::Connected { conn });
            }
            None => self.input(
                node,
                Input::Closed {
                    conn,
                    reason: CloseReason::Refused,
                },
            ),
        }
    }

    /// A stopped process goes on, and with it what waited for it.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for (sender, conn) in self.streams.keys().copied().collect::<Vec<_>>() {
            self.transmit(sender, conn);
        }
        self.settle();
    }

    fn pending(&self, node: usize, conn: ConnId) -> Vec<u8> {
        let mut gather = Gather::new();
        self.nodes[node].cluster.transmit(conn, &mut gather);
        gather.runs().concat()
    }

    fn transmit(&mut self, node: usize, conn: ConnId) {
        while let Some(&(other, theirs)) = self.streams.get(&(node, conn)) {
            if self.nodes[other].paused {
                return;
            }
            let bytes = self.pending(node, conn);
            if bytes.is_empty() {
                return;
            }
            self.nodes[node]
                .cluster
                .transmitted(self.now, conn, bytes.len());
            self.tap(node, (other, theirs), &bytes);
            self.input(
                other,
                Input::Received {
                    conn: theirs,
                    bytes: &bytes,
                },
            );
        }
    }

    /// Keeps the session messages among the frames.
    fn tap(&mut self, from: usize, to: End, bytes: &[u8]) {
        let gathered = self.gathered.entry(to).or_default();
        gathered.extend_from_slice(bytes);
        while let Ok(Deframed::Frame { data, consumed }) = deframe(gathered, 1 << 30) {
            if let Ok(data) = ChannelData::decode(data)
                && SessionMessage::read(data.message).is_some()
            {
                self.passed.push(Passed {
                    from,
                    to: to.0,
                    options: data.options.bits(),
                    stream: data.message.to_vec(),
                });
            }
            gathered.drain(..consumed);
        }
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let running = self.nodes.iter().filter(|node| node.alive && !node.paused);
            match running.filter_map(|node| node.cluster.poll_timeout()).min() {
                Some(next) if next <= end => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }
}
