//! One channel and the application above it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEngine, ChannelEvent, ChannelListener, Inbound, Lane, Member,
    MemberIndex, SendError, To, UniqueId, Verdict,
};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Part};
use folkmoot_core::interceptor::Interceptor;
use folkmoot_core::time::Instant;

use super::{Parcel, Promise, SharedLedger};
use crate::machine::{Boot, Machine, NodeId};
use crate::record::Observed;
use crate::rng::{Ppm, SimRng};
use crate::rules::{OnChannel, Queues};

/// Events a node keeps for a scenario to look at.
const EVENTS_KEPT: usize = 10_000;

/// How an application takes its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Temper {
    /// The next so many messages fail.
    pub fail_next: u32,
    /// How often a message fails after that.
    pub fail: Ppm,
}

/// The application: takes messages, keeps the ledger, watches the members.
pub(crate) struct App {
    life: (u16, u32),
    ledger: SharedLedger,
    pub(crate) temper: Temper,
    rng: SimRng,
    /// The members as announced.
    view: BTreeMap<MemberIndex, SocketAddr>,
    /// How often members came and went.
    pub(crate) announcements: u64,
    broken: Option<(&'static str, String)>,
    /// What was handed over after something that had been sent later, if it is not to be.
    overtaken: Option<String>,
    /// Messages handed over, and their bytes.
    handed: (u64, u64),
    /// Parcels in the order in which they came, the newest of them.
    taken: VecDeque<Parcel>,
}

/// How many parcels' order is remembered.
const TAKEN_MAX: usize = 1024;

impl App {
    fn broke(&mut self, result: Result<(), (&'static str, String)>) {
        if let Err(broken) = result {
            self.broken.get_or_insert(broken);
        }
    }
}

impl ChannelListener for App {
    fn message_received(&mut self, _now: Instant, message: &Inbound<'_>) -> Verdict {
        let len = message.message.len();
        self.handed = (self.handed.0 + 1, self.handed.1 + len as u64);
        let Some(parcel) = Parcel::decode(message.message) else {
            if !self.ledger.borrow().has_liar {
                let what = format!("{len} bytes that nobody sent");
                self.broke(Err(("nothing comes from nowhere", what)));
            }
            return Verdict::Failed;
        };
        let fails = self.temper.fail_next > 0 || self.rng.chance(self.temper.fail);
        self.temper.fail_next = self.temper.fail_next.saturating_sub(1);
        if self.taken.len() >= TAKEN_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back(parcel);
        let mut ledger = self.ledger.borrow_mut();
        let result = ledger.received(self.life, parcel, len, !fails);
        let overtaken = ledger.overtaken.take();
        drop(ledger);
        self.overtaken = self.overtaken.take().or(overtaken);
        self.broke(result);
        if fails {
            Verdict::Failed
        } else {
            Verdict::Processed
        }
    }

    fn member_added(&mut self, _now: Instant, index: MemberIndex, member: &Member) {
        self.announcements += 1;
        let Some(address) = member.socket_addr() else {
            return self.broke(Err(("members have addresses", format!("{member:?}"))));
        };
        if self.view.values().any(|known| *known == address) {
            let what = format!("{address} is announced while it is a member already");
            self.broke(Err(("no ghosts: one member to an address", what)));
        }
        if self.view.insert(index, address).is_some() {
            self.broke(Err(("a member is announced once", format!("{index:?}"))));
        }
    }

    fn member_disappeared(&mut self, _now: Instant, index: MemberIndex, member: &Member) {
        self.announcements += 1;
        if let Some(node) = node_of(member) {
            self.ledger.borrow_mut().missed(self.life.0, node.0);
        }
        if self.view.remove(&index).is_none() {
            let what = format!("{:?} was never announced", member.socket_addr());
            self.broke(Err(("only members disappear", what)));
        }
    }
}

/// A node that is a bare channel.
pub struct GroupNode {
    engine: ChannelEngine<App>,
    node: u16,
    boot: u32,
    numbers: BTreeMap<u32, u64>,
    open: BTreeMap<UniqueId, Parcel>,
    /// What has been heard from the channel, the oldest first.
    pub events: VecDeque<ChannelEvent>,
    /// Which node a member is; kept after it is gone, for late outcomes.
    nodes: BTreeMap<MemberIndex, u16>,
    /// The bytes that may wait for one member: the configured bound, or one message that is longer.
    queue_max: usize,
    queues: Queues,
    /// What interceptors make of a message.
    layers: Vec<Interceptor>,
    /// Messages sent, and their bytes.
    sent: (u64, u64),
    /// How long the process may have been awake when each open send is settled, in order of sending.
    opened: VecDeque<(Duration, UniqueId)>,
    awake: Duration,
    looked_at: Option<Instant>,
}

/// What the channel itself says to a member may come on top of a full queue.
const CONTROL_MAX: usize = 1024;
/// What all layers together add to a message, or to each of its parts, is shorter.
const LAYER_OVERHEAD_MAX: usize = 256;
/// Header and end of a frame are shorter.
const FRAME_OVERHEAD_MAX: usize = 512;
/// What waits before a send makes room at least so fast, bytes a millisecond: a small window, a slow reader.
const SLOWEST_PER_MS: u64 = 20;
/// A send that has not been settled by then never will be, unless the sender itself stood still.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

impl GroupNode {
    /// The channel that `config` describes, started, with a new application.
    ///
    /// # Panics
    /// If the configuration is wrong: that is the scenario's mistake.
    pub fn new(boot: &Boot, config: ChannelConfig, ledger: SharedLedger) -> Self {
        let queue_max = config.limits.queue_bytes_max;
        let layers = config.interceptors.clone();
        let mut channel =
            Channel::new(config, boot.seed, boot.now, boot.unix_ms).expect("a valid configuration");
        channel.start(boot.now);
        let (node, life) = (boot.node.0, boot.restarts);
        ledger.borrow_mut().born((node, life));
        let app = App {
            life: (node, life),
            ledger,
            temper: Temper::default(),
            rng: SimRng::fork(
                u64::from_be_bytes([7; 8]) ^ u64::from(node),
                u64::from(life),
            ),
            view: BTreeMap::new(),
            announcements: 0,
            broken: None,
            overtaken: None,
            handed: (0, 0),
            taken: VecDeque::new(),
        };
        Self {
            engine: ChannelEngine::new(channel, app),
            node,
            boot: life,
            numbers: BTreeMap::new(),
            open: BTreeMap::new(),
            events: VecDeque::new(),
            nodes: BTreeMap::new(),
            queue_max,
            queues: Queues::default(),
            layers,
            sent: (0, 0),
            opened: VecDeque::new(),
            awake: Duration::ZERO,
            looked_at: None,
        }
    }

    /// The channel.
    pub const fn channel(&self) -> &Channel {
        &self.engine.channel
    }

    /// The channel, to command.
    pub const fn channel_mut(&mut self) -> &mut Channel {
        &mut self.engine.channel
    }

    /// How the application takes its messages.
    pub const fn temper_mut(&mut self) -> &mut Temper {
        &mut self.engine.listener.temper
    }

    /// Parcels in the order in which they were handed to the application, up to the 1024 newest.
    pub fn taken(&self) -> impl Iterator<Item = &Parcel> {
        self.engine.listener.taken.iter()
    }

    /// How often members were announced as there or gone.
    pub const fn announcements(&self) -> u64 {
        self.engine.listener.announcements
    }

    /// The nodes it counts as members, in order of their addresses.
    pub fn members(&self) -> Vec<NodeId> {
        let members = self.engine.channel.members();
        let mut nodes: Vec<NodeId> = members.filter_map(|(_, member)| node_of(member)).collect();
        nodes.sort();
        nodes
    }

    /// Sends one parcel of `len` bytes to these nodes, or to all members; lane 0 is no lane in particular.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send(
        &mut self,
        now: Instant,
        to: Option<&[NodeId]>,
        promise: Promise,
        lane: u32,
        len: usize,
    ) -> Result<Parcel, SendError> {
        let (mut targets, mut unknown) = (Vec::new(), false);
        for (index, member) in self.engine.channel.members() {
            unknown |= to.is_none() && node_of(member).is_none();
            if let Some(node) = node_of(member) {
                self.nodes.insert(index, node.0);
                if to.is_none_or(|to| to.contains(&node)) {
                    targets.push((index, node.0));
                }
            }
        }
        let number = self.numbers.get(&lane).copied().unwrap_or(0) + 1;
        let parcel = Parcel {
            from: self.node,
            boot: self.boot,
            lane,
            number,
        };
        let indices: Vec<MemberIndex> = targets.iter().map(|(index, _)| *index).collect();
        let to = if to.is_none() {
            To::All
        } else {
            To::Members(&indices)
        };
        let order = if lane == 0 {
            Lane::Any
        } else {
            Lane::Ordered(u64::from(lane))
        };
        let queued = |(index, _): &(MemberIndex, u16)| self.engine.channel.queue_bytes(*index);
        let queued = targets.iter().map(queued).max().unwrap_or(0) as u64;
        let body = parcel.encode(len);
        let id = self
            .engine
            .channel
            .send(now, to, promise.options(), order, &body)?;
        let grown = self.grown(body.len());
        self.queue_max = self.queue_max.max(grown);
        self.sent = (self.sent.0 + 1, self.sent.1 + body.len() as u64);
        self.numbers.insert(lane, number);
        let honest = self.engine.listener.ledger.borrow().honest;
        let owing = targets.iter().filter(|(_, node)| *node < honest);
        let to = owing.map(|(_, node)| *node).collect();
        let ledger = &self.engine.listener.ledger;
        ledger
            .borrow_mut()
            .sent(parcel, promise, now.as_nanos(), body.len(), to);
        if promise != Promise::Queued {
            self.open.insert(id, parcel);
            // Who takes connections and answers nothing costs a timeout a message, one after the other.
            if !unknown && targets.iter().all(|(_, node)| *node < honest) {
                // All parts of a message wait for each other, and its confirmation for all of them.
                let own = match self.layers.is_empty() {
                    true => 0,
                    false => grown as u64,
                };
                let behind = Duration::from_millis((queued + own) / SLOWEST_PER_MS);
                let within = (SETTLED_WITHIN + behind) * self.phases();
                self.opened.push_back((self.awake + within, id));
            }
        }
        Ok(parcel)
    }

    /// How often a message is sent to everybody before it is settled.
    fn phases(&self) -> u32 {
        let confirms = |layer: &Interceptor| matches!(layer, Interceptor::TwoPhaseCommit(_));
        1 + u32::from(self.layers.iter().any(confirms))
    }

    /// At most so many bytes in all frames of a message of `len` bytes.
    fn grown(&self, len: usize) -> usize {
        let pieces = self.layers.iter().map(|layer| match layer {
            Interceptor::Fragmentation(layer) => 1 + (len + LAYER_OVERHEAD_MAX) / layer.max_size,
            _ => 1,
        });
        let pieces: usize = pieces.product();
        // What does not compress grows by less than that.
        let bytes = match self.layers.is_empty() {
            true => len,
            false => len + len / 100 + LAYER_OVERHEAD_MAX * (pieces + 1),
        };
        (bytes + pieces * FRAME_OVERHEAD_MAX) * self.phases() as usize
    }

    /// What it has sent and what it was handed, if an interceptor beside the application counts that, and has counted
    /// anything else.
    pub(crate) fn miscounted(&self) -> Option<String> {
        let Some(Interceptor::Throughput(_)) = self.layers.first() else {
            return None;
        };
        let counted = self.channel().stats().interceptors.throughput;
        let handed = (counted.messages_received, counted.bytes_received);
        let sent = (counted.messages_sent, counted.bytes_sent);
        let app = &self.engine.listener;
        ((sent, handed) != (self.sent, app.handed)).then(|| {
            let (sent, handed) = (self.sent, app.handed);
            format!("{counted:?} for {sent:?} sent and {handed:?} handed over")
        })
    }

    fn settle(&mut self, event: &ChannelEvent) {
        let ChannelEvent::Sent { id, faulty } = event else {
            return;
        };
        let app = &mut self.engine.listener;
        let Some(parcel) = self.open.remove(id) else {
            let what = format!("{id} was never sent, or settled before");
            return app.broke(Err(("a message is settled once", what)));
        };
        let nodes = &self.nodes;
        let honest = app.ledger.borrow().honest;
        let faulty = faulty
            .iter()
            .filter_map(|(index, _)| nodes.get(index).copied())
            .filter(|node| *node < honest)
            .collect();
        let result = app.ledger.borrow_mut().settled(parcel, faulty);
        app.broke(result);
    }
}

/// Which node a member is, by its address.
pub(crate) fn node_of(member: &Member) -> Option<NodeId> {
    NodeId::at(member.socket_addr()?, usize::from(u16::MAX))
}

/// What a channel knows: its members, its queues, what it has counted.
pub(crate) fn observe_channel(channel: &Channel, seen: &mut Observed<'_>) {
    let name = |member: &Member| match node_of(member) {
        Some(node) => node.to_string(),
        None => format!("{:?}", member.socket_addr()),
    };
    for (index, member) in channel.members() {
        let name = name(member);
        let state = match channel.suspected_since(index) {
            Some(_) => "suspect",
            None => "member",
        };
        seen.fact(&["members", &name, "state"], state);
        seen.fact(&["members", &name, "unique id"], member.unique_id);
        let kind = if channel.is_ours(index) {
            "ours"
        } else {
            "Tomcat"
        };
        seen.fact(&["members", &name, "kind"], kind);
        let queued = channel.queue_bytes(index) as u64;
        seen.count(&["queues", &format!("bytes for {name}")], queued);
    }
    for (index, member) in channel.candidates() {
        // A node may be a member by one unique id and be heard of by another.
        let name = format!("{}?", name(member));
        seen.fact(&["members", &name, "state"], "not verified");
        seen.fact(&["members", &name, "unique id"], member.unique_id);
        let queued = channel.queue_bytes(index) as u64;
        seen.count(&["queues", &format!("bytes for {name}")], queued);
    }
    let open = channel.sends_open() as u64;
    seen.count(&["queues", "sends not settled"], open);
    let stats = channel.stats();
    for (name, count) in [
        ("messages received", stats.messages_received),
        ("messages failed", stats.messages_failed),
        ("messages sent", stats.messages_sent),
        ("ACKs received", stats.acks_received),
        ("ACKs sent", stats.acks_sent),
        ("FAIL_ACKs received", stats.fail_acks_received),
        ("frames resent", stats.resends),
        ("frames lost", stats.frames_lost),
        ("destinations faulty", stats.faults),
        ("heartbeats sent", stats.heartbeats_sent),
        ("heartbeats received", stats.heartbeats_received),
        ("checks", stats.probes_sent),
        ("checks failed", stats.probes_failed),
        ("bad input", stats.bad.total()),
    ] {
        seen.count(&["counters", name], count);
    }
}

impl Engine for GroupNode {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(now, input);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.engine.accept(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.engine.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.engine.transmit(conn, out);
    }

    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.engine.transmit_parts(conn, take);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.engine.transmitted(now, conn, len);
    }
}

impl OnChannel for GroupNode {
    fn channel(&self) -> &Channel {
        &self.engine.channel
    }
}

impl Machine for GroupNode {
    fn turn(&mut self, _now: Instant) {
        while let Some(event) = self.engine.channel.poll_event() {
            self.settle(&event);
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    fn stop(&mut self, now: Instant) {
        self.engine.channel.stop(now);
    }

    fn fail_next(&mut self, count: u32) {
        self.engine.listener.temper.fail_next = count;
    }

    fn observe(&self, seen: &mut Observed<'_>) {
        observe_channel(self.channel(), seen);
        for (name, at) in self.channel().timers() {
            seen.timer(name, at);
        }
        for (lane, number) in &self.numbers {
            seen.fact(&["counters", &format!("parcels on lane {lane}")], number);
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        crate::describe::describe(bytes)
    }

    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.engine.channel.set_wall_clock(now, unix_ms);
    }

    fn check(&mut self, now: Instant) -> Option<(&'static str, String)> {
        if let Some(broken) = self.engine.listener.broken.take() {
            return Some(broken);
        }
        if let Some(what) = self.engine.listener.overtaken.take() {
            let order = self.channel().stats().interceptors.order;
            // It says so when something came too late, was waited for too long, or its sender had left.
            let told = order.late + order.forwarded_expired + order.dropped_expired;
            if told + order.forwarded_gone == 0 {
                return Some(("OrderInterceptor keeps the order of sending", what));
            }
        }
        // Heartbeats come more often than this: what is longer was a sleep.
        let since = now.since(self.looked_at.replace(now).unwrap_or(now));
        self.awake += since.min(Duration::from_secs(1));
        while let Some((until, id)) = self.opened.front() {
            if self.open.contains_key(id) {
                if self.awake > *until {
                    let late = self.awake.saturating_sub(*until);
                    let what = format!("{:?} is open {late:?} too long", self.open.get(id));
                    self.opened.pop_front();
                    return Some(("a send is settled in time", what));
                }
                break;
            }
            self.opened.pop_front();
        }
        // Confirmations find room as what they confirm leaves.
        let confirmations = match self.phases() {
            1 => 0,
            _ => self.open.len() * (FRAME_OVERHEAD_MAX + LAYER_OVERHEAD_MAX),
        };
        let max = self.queue_max + CONTROL_MAX + confirmations;
        let channel = &self.engine.channel;
        if let Some(broken) = self.queues.over(channel, max) {
            return Some(broken);
        }
        if channel.sends_open() != self.open.len() {
            let what = format!(
                "{} sends open, {} not settled",
                channel.sends_open(),
                self.open.len()
            );
            return Some(("a message is settled once", what));
        }
        None
    }
}
