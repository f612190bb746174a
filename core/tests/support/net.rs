//! A network in memory for whole machines of any kind: streams, datagrams to the group, nodes that die or stand still, and
//! every session message that passes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::session::{EventType, SessionMessage};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{ChannelData, Deframed, deframe};

/// Wall clock of all tests at their start.
pub(crate) const UNIX_MS: u64 = 1_700_000_000_000;

/// An engine that says what happens to it.
pub(crate) trait Machine: Engine {
    type Event;
    /// By what it knows the application of most tests.
    type Context: Copy;

    fn next_event(&mut self) -> Option<Self::Event>;
}

pub(crate) struct Node<M: Machine> {
    pub(crate) cluster: M,
    pub(crate) shop: Option<M::Context>,
    pub(crate) alive: bool,
    /// Takes part in nothing, but its kernel accepts connections and buffers bytes.
    pub(crate) paused: bool,
    pub(crate) events: Vec<M::Event>,
}

impl<M: Machine> Node<M> {
    pub(crate) const fn new(cluster: M) -> Self {
        Self {
            cluster,
            shop: None,
            alive: true,
            paused: false,
            events: Vec::new(),
        }
    }
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

pub(crate) struct Net<M: Machine> {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node<M>>,
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

impl<M: Machine> Net<M> {
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

    /// The session messages since the last time.
    pub(crate) fn take_passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<M::Event> {
        self.settle();
        std::mem::take(&mut self.nodes[node].events)
    }

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

    /// Somebody connects to a node and says what nobody understands.
    pub(crate) fn garbage(&mut self, node: usize) {
        let from = SocketAddr::from(([10, 0, 0, 9], 50_000));
        let conn = self.nodes[node].cluster.accept(self.now, from);
        let conn = conn.expect("room for a connection");
        let bytes = b"GET / HTTP/1.1\r\n\r\n";
        self.input(node, Input::Received { conn, bytes });
        self.settle();
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
                    .extend(std::iter::from_fn(|| node.cluster.next_event()));
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
            // Nothing is under way here: the other ends its direction as well.
            Output::HalfClose { conn } => {
                self.transmit(node, conn);
                if let Some((other, theirs)) = self.streams.remove(&(node, conn)) {
                    self.streams.remove(&(other, theirs));
                    let reason = CloseReason::EndOfStream;
                    for (node, conn) in [(other, theirs), (node, conn)] {
                        self.input(node, Input::Closed { conn, reason });
                    }
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
