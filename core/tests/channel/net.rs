//! A network in memory: channels, and peers whose every byte a test writes itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEvent, ChannelListener, Inbound, Member, MemberIndex, Verdict,
};
use folkmoot_core::engine::{CloseReason, ConnId, Gather, Input, Output, Target};
use folkmoot_core::time::Instant;

/// Wall clock of all tests at their start.
pub const UNIX_MS: u64 = 1_700_000_000_000;

/// A received message, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub from: Option<MemberIndex>,
    pub port: i32,
    pub options: u32,
    pub message: Vec<u8>,
}

/// What a listener was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Added(i32),
    Gone(i32),
}

#[derive(Debug, Default)]
pub struct Log {
    pub got: Vec<Got>,
    pub told: Vec<Told>,
    /// Messages that begin with one of these bytes fail.
    pub fail: Vec<u8>,
    /// Nobody has a use for messages that begin with one of these.
    pub no_use: Vec<u8>,
}

impl ChannelListener for Log {
    fn message_received(&mut self, _now: Instant, message: &Inbound<'_>) -> Verdict {
        self.got.push(Got {
            from: message.from,
            port: message.sender.port,
            options: message.options.bits(),
            message: message.message.to_vec(),
        });
        match message.message.first() {
            Some(first) if self.fail.contains(first) => Verdict::Failed,
            Some(first) if self.no_use.contains(first) => Verdict::Unwanted,
            _ => Verdict::Processed,
        }
    }

    fn member_added(&mut self, _now: Instant, _index: MemberIndex, member: &Member) {
        self.told.push(Told::Added(member.port));
    }

    fn member_disappeared(&mut self, _now: Instant, _index: MemberIndex, member: &Member) {
        self.told.push(Told::Gone(member.port));
    }
}

#[derive(Debug)]
pub struct Node {
    pub channel: Channel,
    pub log: Log,
    pub alive: bool,
    /// Takes part in nothing, but its kernel accepts connections and buffers bytes.
    pub paused: bool,
    events: Vec<ChannelEvent>,
}

/// One end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Node(usize, ConnId),
    /// A connection of a raw peer, by its number.
    Raw(usize),
}

#[derive(Debug)]
pub struct Raw {
    /// What the node has written.
    pub received: Vec<u8>,
    pub open: bool,
    /// Whether the node will say no more on it.
    pub ended: bool,
    other: Option<End>,
}

/// The whole world of a test.
pub struct Net {
    pub now: Instant,
    pub nodes: Vec<Node>,
    /// Addresses at which a raw peer listens, and the connections they got.
    listeners: BTreeMap<SocketAddr, VecDeque<usize>>,
    pub raws: Vec<Raw>,
    streams: BTreeMap<End, End>,
    /// Bytes a socket takes before it is full; then `Transmit` is remembered.
    pub stalled: Vec<End>,
    /// Datagrams as sent: node and bytes.
    pub datagrams: Vec<(usize, Vec<u8>)>,
    /// Datagrams to one address.
    pub unicasts: Vec<Vec<u8>>,
    pub multicast: bool,
    /// Connections that nobody listens for are not refused: they never come about.
    pub slow: bool,
    /// Bytes per delivery, to split frames.
    pub piece: usize,
}

pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

impl Net {
    pub fn new() -> Self {
        Self {
            now: Instant::from_millis(1_000),
            nodes: Vec::new(),
            listeners: BTreeMap::new(),
            raws: Vec::new(),
            streams: BTreeMap::new(),
            stalled: Vec::new(),
            datagrams: Vec::new(),
            unicasts: Vec::new(),
            multicast: true,
            slow: false,
            piece: usize::MAX,
        }
    }

    /// A started channel.
    pub fn add(&mut self, config: ChannelConfig) -> usize {
        let seed = [self.nodes.len() as u8 + 1; 32];
        let mut channel = Channel::new(
            config,
            seed,
            self.now,
            UNIX_MS + self.now.as_nanos() / 1_000_000,
        )
        .unwrap();
        channel.start(self.now);
        self.nodes.push(Node {
            channel,
            log: Log::default(),
            alive: true,
            paused: false,
            events: Vec::new(),
        });
        self.settle();
        self.nodes.len() - 1
    }

    /// Two members who know each other, by heartbeats.
    pub fn pair() -> Self {
        let mut net = Self::new();
        net.add(ChannelConfig::new(at(4000)));
        net.add(ChannelConfig::new(at(4001)));
        net.run(Duration::from_secs(2));
        net
    }

    /// A raw peer listens.
    pub fn listen(&mut self, address: SocketAddr) {
        self.listeners.insert(address, VecDeque::new());
    }

    /// Nobody listens there any more.
    pub fn unlisten(&mut self, address: SocketAddr) {
        self.listeners.remove(&address);
    }

    /// The next connection that a raw peer got.
    pub fn accepted(&mut self, address: SocketAddr) -> Option<usize> {
        self.listeners.get_mut(&address)?.pop_front()
    }

    /// A raw peer connects to a node.
    pub fn connect(&mut self, node: usize) -> Option<usize> {
        let conn = self.nodes[node]
            .channel
            .accept(self.now, "10.9.9.9:999".parse().unwrap())?;
        self.raws.push(Raw {
            received: Vec::new(),
            open: true,
            ended: false,
            other: Some(End::Node(node, conn)),
        });
        let raw = self.raws.len() - 1;
        self.join(End::Raw(raw), End::Node(node, conn));
        self.settle();
        Some(raw)
    }

    fn join(&mut self, a: End, b: End) {
        self.streams.insert(a, b);
        self.streams.insert(b, a);
    }

    /// A raw peer writes.
    pub fn write(&mut self, raw: usize, bytes: &[u8]) {
        if let Some(End::Node(node, conn)) = self.raws[raw].other {
            for piece in bytes.chunks(self.piece.min(bytes.len().max(1))) {
                if self.raws[raw].open {
                    self.input(node, Input::Received { conn, bytes: piece });
                    self.settle();
                }
            }
        }
    }

    /// A raw peer closes its connection.
    pub fn close(&mut self, raw: usize, reason: CloseReason) {
        self.raws[raw].open = false;
        if let Some(End::Node(node, conn)) = self.raws[raw].other.take() {
            self.streams.remove(&End::Raw(raw));
            self.streams.remove(&End::Node(node, conn));
            self.input(node, Input::Closed { conn, reason });
            // The driver has released it already.
            let mut outputs = Vec::new();
            while let Some(output) = self.poll(node) {
                let names = |output: &Output| match *output {
                    Output::Transmit { conn: of }
                    | Output::PauseRead { conn: of }
                    | Output::ResumeRead { conn: of }
                    | Output::HalfClose { conn: of }
                    | Output::Abort { conn: of }
                    | Output::Close { conn: of } => of == conn,
                    Output::Connect { .. } | Output::Datagram { .. } => false,
                };
                assert!(
                    !names(&output),
                    "{output:?} for a connection that is no more"
                );
                outputs.push(output);
            }
            for output in outputs {
                self.output(node, output);
            }
            self.settle();
        }
    }

    pub fn take(&mut self, raw: usize) -> Vec<u8> {
        std::mem::take(&mut self.raws[raw].received)
    }

    pub fn input(&mut self, node: usize, input: Input<'_>) {
        let node = &mut self.nodes[node];
        if node.alive {
            node.channel.handle(self.now, input, &mut node.log);
        }
    }

    pub fn datagram(&mut self, node: usize, bytes: &[u8]) {
        let from = "10.9.9.9:45564".parse().unwrap();
        self.input(node, Input::Datagram { from, bytes });
        self.settle();
    }

    /// A process dies: its kernel resets what was open, and says nothing else.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        let ends: Vec<_> = self.streams.iter().map(|(a, b)| (*a, *b)).collect();
        for (mine, other) in ends {
            if let (End::Node(n, _), End::Node(m, conn)) = (mine, other)
                && n == node
                && m != node
            {
                self.streams.remove(&mine);
                self.streams.remove(&other);
                let reason = CloseReason::Reset;
                self.input(m, Input::Closed { conn, reason });
            }
        }
        self.settle();
    }

    /// Works off every output of every node.
    pub fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..self.nodes.len() {
                while let Some(output) = self.poll(node) {
                    quiet = false;
                    self.output(node, output);
                }
                let node = &mut self.nodes[node];
                while let Some(event) = node.channel.poll_event() {
                    node.events.push(event);
                }
                if node.alive
                    && !node.paused
                    && node.channel.poll_timeout().is_some_and(|at| at <= self.now)
                {
                    quiet = false;
                    node.channel.handle(self.now, Input::Timeout, &mut node.log);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn poll(&mut self, node: usize) -> Option<Output> {
        let node = &mut self.nodes[node];
        (node.alive && !node.paused).then(|| node.channel.poll_output())?
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { conn, to } => self.open(node, conn, to),
            Output::Transmit { conn } => self.transmit(node, conn),
            Output::Datagram { conn, to } => {
                let bytes = self.pending(node, conn);
                let len = bytes.len();
                self.nodes[node].channel.transmitted(self.now, conn, len);
                if to != Target::Group {
                    self.unicasts.push(bytes);
                    return;
                }
                self.datagrams.push((node, bytes.clone()));
                if self.multicast {
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
            }
            Output::Close { conn } | Output::Abort { conn } => {
                if matches!(output, Output::Close { .. }) {
                    self.transmit(node, conn);
                }
                let end = End::Node(node, conn);
                if let Some(other) = self.streams.remove(&end) {
                    self.streams.remove(&other);
                    let reason = CloseReason::EndOfStream;
                    match other {
                        End::Node(other, conn) => self.input(other, Input::Closed { conn, reason }),
                        End::Raw(raw) => {
                            self.raws[raw].open = false;
                            self.raws[raw].other = None;
                        }
                    }
                }
            }
            // Nothing is under way here: the other ends its direction as well.
            Output::HalfClose { conn } => {
                self.transmit(node, conn);
                let end = End::Node(node, conn);
                let reason = CloseReason::EndOfStream;
                match self.streams.get(&end).copied() {
                    Some(End::Node(other, theirs)) => {
                        self.streams.remove(&end);
                        self.streams.remove(&End::Node(other, theirs));
                        let conn_gone = Input::Closed {
                            conn: theirs,
                            reason,
                        };
                        self.input(other, conn_gone);
                        self.input(node, Input::Closed { conn, reason });
                    }
                    Some(End::Raw(raw)) => self.raws[raw].ended = true,
                    None => {}
                }
            }
            Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
        }
    }

    fn open(&mut self, node: usize, conn: ConnId, to: SocketAddr) {
        let mine = End::Node(node, conn);
        if let Some(waiting) = self.listeners.get_mut(&to) {
            self.raws.push(Raw {
                received: Vec::new(),
                open: true,
                ended: false,
                other: Some(mine),
            });
            let raw = self.raws.len() - 1;
            waiting.push_back(raw);
            self.join(mine, End::Raw(raw));
            self.input(node, Input::Connected { conn });
            return;
        }
        let target = self
            .nodes
            .iter()
            .position(|other| other.alive && other.channel.config().address == to);
        let accepted = target.and_then(|other| {
            let from = SocketAddr::from(([10, 0, 0, 1], 50_000 + conn.slot() as u16));
            Some((other, self.nodes[other].channel.accept(self.now, from)?))
        });
        match accepted {
            Some((other, theirs)) => {
                self.join(mine, End::Node(other, theirs));
                self.input(node, Input::Connected { conn });
            }
            None if self.slow => {}
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
    pub fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for mine in self.streams.keys().copied().collect::<Vec<_>>() {
            if let End::Node(sender, conn) = mine {
                self.transmit(sender, conn);
            }
        }
        self.settle();
    }

    /// What waits on a connection.
    fn pending(&self, node: usize, conn: ConnId) -> Vec<u8> {
        let mut gather = Gather::new();
        self.nodes[node].channel.transmit(conn, &mut gather);
        gather.runs().concat()
    }

    /// Carries over what waits on a connection, in pieces.
    pub fn transmit(&mut self, node: usize, conn: ConnId) {
        let mine = End::Node(node, conn);
        if self.stalled.contains(&mine) {
            return;
        }
        loop {
            let Some(other) = self.streams.get(&mine).copied() else {
                return;
            };
            if let End::Node(other, _) = other
                && self.nodes[other].paused
            {
                return;
            }
            let mut bytes = self.pending(node, conn);
            bytes.truncate(self.piece);
            if bytes.is_empty() {
                return;
            }
            self.nodes[node]
                .channel
                .transmitted(self.now, conn, bytes.len());
            match other {
                End::Node(other, conn) => self.input(
                    other,
                    Input::Received {
                        conn,
                        bytes: &bytes,
                    },
                ),
                End::Raw(raw) => self.raws[raw].received.extend(bytes),
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self
                .nodes
                .iter()
                .filter(|node| node.alive && !node.paused)
                .filter_map(|node| node.channel.poll_timeout())
                .min();
            match next {
                Some(next) if next <= end => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// The only other member of `node`.
    pub fn other(&self, node: usize) -> MemberIndex {
        let mut members = self.nodes[node].channel.members();
        let (index, _) = members.next().expect("a member");
        assert_eq!(members.next(), None);
        index
    }

    pub fn events(&mut self, node: usize) -> Vec<ChannelEvent> {
        self.settle();
        std::mem::take(&mut self.nodes[node].events)
    }

    pub fn messages(&mut self, node: usize) -> Vec<Vec<u8>> {
        let got = std::mem::take(&mut self.nodes[node].log.got);
        got.into_iter().map(|got| got.message).collect()
    }

    pub fn told(&mut self, node: usize) -> Vec<Told> {
        std::mem::take(&mut self.nodes[node].log.told)
    }
}
