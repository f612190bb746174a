//! A few clusters, and a network that delivers what it is told to, when it is told to.
//!
//! Connections, heartbeats and TCP checks happen at once. Everything else that a cluster writes to another is cut into frames,
//! and each frame waits until somebody delivers it. What becomes of a node depends on nothing but the inputs it got, in
//! their order, with their times: [`Net::identity`] is made of hashes of them, and so says exactly which states are the same.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{Channel, ChannelConfig, SendOptions};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent, ContextId};
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output};
use folkmoot_core::session::{DeltaManagerConfig, EventType, ManagerState, SessionMessage};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{ChannelData, Control, Deframed, UniqueId, deframe};

const UNIX_MS: u64 = 1_700_000_000_000;

/// Outputs and timeouts at one instant that are taken for a loop without end.
const STEPS_MAX: usize = 100_000;

/// One node; a copy of it is another node in the same state.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) shop: ContextId,
    pub(crate) alive: bool,
    pub(crate) lives: u8,
    pub(crate) events: Vec<ClusterEvent>,
    history: u64,
}

impl Clone for Node {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.fork().expect("no interceptors"),
            shop: self.shop,
            alive: self.alive,
            lives: self.lives,
            events: self.events.clone(),
            history: self.history,
        }
    }
}

/// One end of a stream: the node, its life, and its name of the connection.
#[derive(Clone, Copy)]
struct End {
    node: usize,
    conn: ConnId,
    open: bool,
}

/// A stream; `frames[0]` go from the first end to the second.
#[derive(Clone)]
struct Stream {
    ends: [End; 2],
    frames: [VecDeque<Vec<u8>>; 2],
    /// Whether that end has said its last.
    ended: [bool; 2],
}

/// What the network does wrong on purpose, to prove that somebody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mistake {
    /// A frame with a session message of this kind to this node vanishes, and everything behind it arrives.
    Lose(EventType, usize),
    /// So does it, and the sender gets an ACK for it.
    AckInstead(EventType, usize),
}

#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    streams: Vec<Stream>,
    /// The node that nothing comes to and nothing from.
    pub(crate) isolated: Option<usize>,
    options: SendOptions,
    mistake: Option<Mistake>,
    /// An engine did something that no driver could bear.
    pub(crate) broken: Option<String>,
}

fn at(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 4000))
}

/// The manager's configuration: no waiting between the parts of a state, and no comparisons, which would hide what the
/// messages themselves get wrong.
fn manager() -> DeltaManagerConfig {
    DeltaManagerConfig {
        reconcile_interval: Duration::ZERO,
        send_all_sessions_wait_time: Duration::ZERO,
        ..DeltaManagerConfig::default()
    }
}

impl Net {
    pub(crate) fn new(options: SendOptions, mistake: Option<Mistake>) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            nodes: Vec::new(),
            streams: Vec::new(),
            isolated: None,
            options,
            mistake,
            broken: None,
        }
    }

    /// A node that has not been there before starts.
    pub(crate) fn join(&mut self) -> usize {
        let node = self.nodes.len();
        let fresh = self.fresh(node, 0, None);
        self.nodes.push(fresh);
        self.settle();
        node
    }

    fn fresh(&self, node: usize, lives: u8, previous: Option<UniqueId>) -> Node {
        let mut config = ChannelConfig::new(at(node));
        config.unique_id = Some(UniqueId([0x10 * (lives + 1) + node as u8; 16]));
        config.previous_unique_id = previous;
        let mut seed = [node as u8 + 1; 32];
        seed[1] = lives;
        let unix_ms = UNIX_MS + self.now.as_nanos() / 1_000_000;
        let channel = Channel::new(config, seed, self.now, unix_ms).expect("a valid configuration");
        let config = ClusterConfig {
            channel_send_options: self.options,
            ..ClusterConfig::default()
        };
        let mut cluster = Cluster::new(channel, config);
        cluster.start(self.now);
        let shop = cluster.register_manager(self.now, "/shop", manager());
        let mut history = DefaultHasher::new();
        (node, lives, self.now).hash(&mut history);
        Node {
            cluster,
            shop: shop.expect("a valid configuration"),
            alive: true,
            lives: lives + 1,
            events: Vec::new(),
            history: history.finish(),
        }
    }

    /// A dead node starts anew, with another unique id.
    pub(crate) fn restart(&mut self, node: usize) {
        let before = &self.nodes[node];
        let previous = Some(before.cluster.channel().local_member().unique_id);
        let fresh = self.fresh(node, before.lives, previous);
        self.nodes[node] = fresh;
        self.settle();
    }

    /// A process dies, and its kernel resets what was open.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for number in 0..self.streams.len() {
            let stream = &mut self.streams[number];
            let Some(mine) = stream
                .ends
                .iter()
                .position(|end| end.node == node && end.open)
            else {
                continue;
            };
            stream.ends[mine].open = false;
            stream.frames.iter_mut().for_each(VecDeque::clear);
            let other = stream.ends[1 - mine];
            stream.ends[1 - mine].open = false;
            if other.open {
                let (conn, reason) = (other.conn, CloseReason::Reset);
                self.input(other.node, Input::Closed { conn, reason });
            }
        }
        self.settle();
    }

    /// Whether a node serves.
    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let manager = node.cluster.manager(node.shop);
        node.alive && manager.is_some_and(|manager| manager.state() == ManagerState::Ready)
    }

    /// Gives a node a command.
    pub(crate) fn command<R>(
        &mut self,
        node: usize,
        what: impl Hash,
        command: impl FnOnce(&mut Cluster, Instant, ContextId) -> R,
    ) -> R {
        let now = self.now;
        let node = &mut self.nodes[node];
        remember(&mut node.history, (now, what));
        let result = command(&mut node.cluster, now, node.shop);
        self.settle();
        result
    }

    /// The frames that may arrive next: stream and direction.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, usize)> {
        self.streams
            .iter()
            .enumerate()
            .flat_map(move |(number, stream)| {
                let ways = (0..2)
                    .filter(move |way| !stream.frames[*way].is_empty() && self.is_whole(stream));
                ways.map(move |way| (number, way))
            })
    }

    /// Whether nothing at all is under way, not even where nothing passes.
    pub(crate) fn is_quiet(&self) -> bool {
        let empty = |stream: &Stream| stream.frames.iter().all(VecDeque::is_empty);
        self.streams.iter().all(empty)
    }

    /// Whether a frame with a session message of this kind is under way.
    pub(crate) fn carries(&self, kind: EventType) -> bool {
        let frames = self
            .streams
            .iter()
            .flat_map(|stream| stream.frames.iter().flatten());
        frames.into_iter().any(|frame| kind_of(frame) == Some(kind))
    }

    fn is_whole(&self, stream: &Stream) -> bool {
        let [from, to] = stream.ends.map(|end| end.node);
        self.passes(from, to)
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        self.isolated
            .is_none_or(|isolated| (from == isolated) == (to == isolated))
    }

    /// Delivers the first frame that waits there.
    pub(crate) fn deliver(&mut self, number: usize, way: usize) {
        self.deliver_one(number, way);
        self.settle();
    }

    fn deliver_one(&mut self, number: usize, way: usize) {
        let stream = &mut self.streams[number];
        let to = stream.ends[1 - way];
        let Some(frame) = stream.frames[way].pop_front() else {
            return;
        };
        let kind = kind_of(&frame);
        let lost = match self.mistake {
            Some(Mistake::Lose(of, node)) => kind == Some(of) && node == to.node,
            Some(Mistake::AckInstead(of, node)) if kind == Some(of) && node == to.node => {
                stream.frames[1 - way].push_back(folkmoot_core::wire::ACK_FRAME.to_vec());
                true
            }
            _ => false,
        };
        if to.open && !lost {
            let conn = to.conn;
            #[rustfmt::skip]
            self.input(to.node, Input::Received { conn, bytes: &frame });
        }
        self.end_if_done(number, way);
    }

    /// The other end hears that the stream has ended once it has read everything.
    fn end_if_done(&mut self, number: usize, way: usize) {
        let stream = &mut self.streams[number];
        if stream.ended[way] && stream.frames[way].is_empty() {
            let to = &mut stream.ends[1 - way];
            if to.open {
                to.open = false;
                let (node, conn) = (to.node, to.conn);
                let reason = CloseReason::EndOfStream;
                // What it has under way still arrives where somebody listens.
                match stream.ends[way].open {
                    true => stream.ended[1 - way] = true,
                    false => stream.frames[1 - way].clear(),
                }
                self.input(node, Input::Closed { conn, reason });
                self.end_if_done(number, 1 - way);
            }
        }
    }

    fn input(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        let node = &mut self.nodes[node];
        if !node.alive {
            return;
        }
        match input {
            Input::Timeout => remember(&mut node.history, (now, 0)),
            Input::Connected { conn } => remember(&mut node.history, (now, 1, conn)),
            Input::Received { conn, bytes } => {
                remember(&mut node.history, (now, 2, conn, bytes));
            }
            Input::Datagram { bytes, .. } => remember(&mut node.history, (now, 3, bytes)),
            Input::Closed { conn, reason } => {
                remember(&mut node.history, (now, 4, conn, reason));
            }
        }
        node.cluster.handle(now, input);
    }

    /// Which states are the same: for each node, everything that it was told; for each stream, how much of what was written
    /// has not arrived, and who holds an end.
    pub(crate) fn identity(&self) -> Vec<u64> {
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| node.history ^ u64::from(node.alive));
        let streams = self.streams.iter().map(|stream| {
            let mut hasher = DefaultHasher::new();
            stream.frames[0].len().hash(&mut hasher);
            stream.frames[1].len().hash(&mut hasher);
            stream.ends.map(|end| end.open).hash(&mut hasher);
            stream.ended.hash(&mut hasher);
            hasher.finish()
        });
        nodes.chain(streams).collect()
    }

    /// Does what all engines want, until none wants anything at this instant.
    fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let mut quiet = true;
            for node in 0..self.nodes.len() {
                while self.nodes[node].alive
                    && let Some(output) = self.nodes[node].cluster.poll_output()
                {
                    quiet = false;
                    self.output(node, output);
                }
                let this = &mut self.nodes[node];
                let events = std::iter::from_fn(|| this.cluster.poll_event());
                this.events.extend(events);
                let due = this.cluster.poll_timeout().is_some_and(|at| at <= self.now);
                if this.alive && due {
                    quiet = false;
                    self.input(node, Input::Timeout);
                }
            }
            if quiet {
                return;
            }
        }
        self.broken = Some("the engines never come to rest".into());
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { conn, to } => self.connect(node, conn, to),
            Output::Transmit { conn } => self.transmit(node, conn),
            Output::Datagram { conn, .. } => {
                let bytes = self.pending(node, conn);
                let now = self.now;
                let cluster = &mut self.nodes[node].cluster;
                cluster.transmitted(now, conn, bytes.len());
                for other in 0..self.nodes.len() {
                    if self.passes(node, other) {
                        let mut from = at(node);
                        from.set_port(45564);
                        let bytes = bytes.as_slice();
                        self.input(other, Input::Datagram { from, bytes });
                    }
                }
            }
            Output::HalfClose { conn } => {
                self.transmit(node, conn);
                if let Some((number, way)) = self.find(node, conn) {
                    self.streams[number].ended[way] = true;
                    self.end_if_done(number, way);
                }
            }
            Output::Close { conn } => {
                self.transmit(node, conn);
                self.end(node, conn, false);
            }
            Output::Abort { conn } => self.end(node, conn, true),
            Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
        }
    }

    /// The stream behind an engine's connection, and which of its ends is that.
    fn find(&self, node: usize, conn: ConnId) -> Option<(usize, usize)> {
        let is_it = |end: &End| end.open && end.node == node && end.conn == conn;
        (self.streams.iter().enumerate())
            .find_map(|(number, stream)| Some((number, stream.ends.iter().position(is_it)?)))
    }

    fn connect(&mut self, node: usize, conn: ConnId, to: SocketAddr) {
        let target = (0..self.nodes.len()).find(|other| at(*other) == to);
        let reachable = target.filter(|other| self.passes(node, *other));
        let accepted = reachable.filter(|other| self.nodes[*other].alive);
        let accepted = accepted.and_then(|other| {
            // The number of the stream is a port as good as any.
            let from = SocketAddr::new(at(node).ip(), 40_000 + self.streams.len() as u16);
            let this = &mut self.nodes[other];
            remember(&mut this.history, (self.now, 5, from));
            Some((other, this.cluster.accept(self.now, from)?))
        });
        let Some((other, theirs)) = accepted else {
            let reason = match reachable {
                Some(_) => CloseReason::Refused,
                None => CloseReason::Unreachable,
            };
            return self.input(node, Input::Closed { conn, reason });
        };
        let end = |node, conn| End {
            node,
            conn,
            open: true,
        };
        self.streams.push(Stream {
            ends: [end(node, conn), end(other, theirs)],
            frames: Default::default(),
            ended: [false; 2],
        });
        self.input(node, Input::Connected { conn });
    }

    fn pending(&self, node: usize, conn: ConnId) -> Vec<u8> {
        let mut gather = Gather::new();
        self.nodes[node].cluster.transmit(conn, &mut gather);
        gather.runs().concat()
    }

    /// Takes what an engine has for a connection, frame by frame. Checks arrive at once.
    fn transmit(&mut self, node: usize, conn: ConnId) {
        let Some((number, way)) = self.find(node, conn) else {
            return;
        };
        let mut taken = Vec::new();
        loop {
            let bytes = self.pending(node, conn);
            if bytes.is_empty() {
                break;
            }
            let now = self.now;
            let cluster = &mut self.nodes[node].cluster;
            cluster.transmitted(now, conn, bytes.len());
            taken.extend_from_slice(&bytes);
        }
        let mut rest = taken.as_slice();
        while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, 1 << 30) {
            let frame = rest[..consumed].to_vec();
            let check = ChannelData::decode(data)
                .is_ok_and(|data| Control::classify(data.message).is_some());
            self.streams[number].frames[way].push_back(frame);
            rest = &rest[consumed..];
            if check && self.is_whole(&self.streams[number]) {
                self.deliver_one(number, way);
            }
        }
        assert!(
            rest.is_empty(),
            "engines write whole frames when nothing holds them up"
        );
    }

    fn end(&mut self, node: usize, conn: ConnId, now: bool) {
        let Some((number, way)) = self.find(node, conn) else {
            return;
        };
        let stream = &mut self.streams[number];
        stream.ends[way].open = false;
        stream.ended[way] = true;
        // Nobody reads what comes back.
        stream.frames[1 - way].clear();
        if now {
            stream.frames[way].clear();
        }
        self.end_if_done(number, way);
    }

    /// Lets time pass, timer by timer; nothing that waits arrives meanwhile.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let alive = self.nodes.iter().filter(|node| node.alive);
            match alive.filter_map(|node| node.cluster.poll_timeout()).min() {
                Some(next) if next <= end && self.broken.is_none() => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Delivers everything in some order, and lets time pass.
    pub(crate) fn calm(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            while let Some((number, way)) = { self.waiting().next() } {
                self.deliver(number, way);
            }
            self.wait(Duration::from_millis(100));
        }
    }
}

fn remember(history: &mut u64, what: impl Hash) {
    let mut hasher = DefaultHasher::new();
    (*history, what).hash(&mut hasher);
    *history = hasher.finish();
}

/// The session message in a frame.
fn kind_of(frame: &[u8]) -> Option<EventType> {
    let Ok(Deframed::Frame { data, .. }) = deframe(frame, 1 << 30) else {
        return None;
    };
    let data = ChannelData::decode(data).ok()?;
    SessionMessage::read(data.message)?.kind()
}
