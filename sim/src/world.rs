//! N nodes, one clock, one seed.

use std::time::Duration;

use folkmoot_core::time::Instant;

use crate::agenda::{Agenda, Event};
use crate::clock::Clock;
use crate::datagram::Datagrams;
use crate::link::{Cut, Links, NetworkConfig};
use crate::machine::{Boot, Inhabitant, Machine, NodeId, StrangerFactory, Violation};
use crate::node::Node;
use crate::record::Recording;
use crate::rng::{Ppm, SimRng};
use crate::stream::{Side, StreamId, Streams};
use crate::trace::{Trace, TraceKind};

/// A simulated cluster: the same engines that the drivers run, and everything between them.
///
/// Nothing here reads a clock or an unseeded generator, and nothing iterates a hash table: one seed is one
/// run. What happens is decided by [`step`](Self::step), one event at a time.
pub struct World<M> {
    pub(crate) now: u64,
    pub(crate) agenda: Agenda,
    pub(crate) links: Links,
    pub(crate) streams: Streams,
    pub(crate) datagrams: Datagrams,
    pub(crate) rng: SimRng,
    pub(crate) nodes: Vec<Node<M>>,
    pub(crate) trace: Trace,
    pub(crate) stats: WorldStats,
    pub(crate) recording: Option<Box<Recording>>,
    /// How many nodes are ours: the first ones.
    ours: u16,
    /// Whether faults leave strangers alone.
    steady_strangers: bool,
    seed: u64,
    factory: Box<dyn FnMut(&Boot) -> M>,
    violations: Vec<Violation>,
}

/// What a world has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldStats {
    /// Events taken from the agenda.
    pub steps: u64,
    /// Inputs handed to engines, connections offered, and bytes or datagrams taken from them.
    pub engine_events: u64,
    /// Bytes taken from engines for streams.
    pub stream_bytes: u64,
    /// Datagrams sent, each receiver counted.
    pub datagrams: u64,
    /// Datagrams lost.
    pub datagrams_lost: u64,
    /// Connections asked for.
    pub connects: u64,
    /// Requests for connections that found the accept queue full.
    pub accept_queues_full: u64,
    /// Streams that died in silence.
    pub severed: u64,
}

/// Whether a restarted node is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The unique id of before.
    Same,
    /// A new unique id.
    New,
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; its kernel closes what was open and refuses what comes.
    Process,
    /// The host dies: silence.
    Host,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// Its process stands still (SIGSTOP, a long collection); its kernel goes on.
    Paused,
    /// There is no process.
    Down(Crash),
}

/// Broken rules worth keeping.
const VIOLATIONS_KEPT: usize = 64;

impl<M: Machine> World<M> {
    /// An empty world; `factory` makes the machine of a node each time the node starts.
    pub fn new(
        seed: u64,
        network: NetworkConfig,
        factory: impl FnMut(&Boot) -> M + 'static,
    ) -> Self {
        Self {
            now: 0,
            agenda: Agenda::default(),
            links: Links::new(network),
            streams: Streams::default(),
            datagrams: Datagrams::default(),
            rng: SimRng::fork(seed, 1),
            nodes: Vec::new(),
            trace: Trace::default(),
            stats: WorldStats::default(),
            recording: None,
            ours: 0,
            steady_strangers: false,
            seed,
            factory: Box::new(factory),
            violations: Vec::new(),
        }
    }

    /// One more host, with nothing running on it yet.
    pub fn add_node(&mut self) -> NodeId {
        let index = self.nodes.len() as u16;
        self.links.add_node(&mut self.rng);
        let mut rng = SimRng::fork(self.seed, 0x1d00_0000 + u64::from(index));
        let clock = Clock {
            epoch_ns: rng.below(1 << 50),
            ..Clock::default()
        };
        self.nodes.push(Node::new(clock, rng.bytes()));
        self.ours += 1;
        NodeId(index)
    }

    /// One more host for somebody who is not one of ours: it is no part of [`node_ids`](Self::node_ids), has no
    /// [`machine`](Self::machine) to look at and takes no commands. To be added after all nodes.
    pub(crate) fn add_stranger(&mut self, factory: StrangerFactory) -> NodeId {
        let node = self.add_node();
        self.nodes[node.index()].stranger = Some(factory);
        self.ours -= 1;
        node
    }

    /// The hosts of strangers.
    pub(crate) fn stranger_ids(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (self.ours..self.nodes.len() as u16).map(NodeId)
    }

    /// From now on faults leave strangers alone.
    pub(crate) fn keep_strangers_steady(&mut self) {
        self.steady_strangers = true;
    }

    /// Whether there is such a host, and faults may happen to it.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        let hosts = match self.steady_strangers {
            true => usize::from(self.ours),
            false => self.nodes.len(),
        };
        node.index() < hosts
    }

    /// The unique id that a node's member carries in this life.
    pub(crate) fn unique_id(&self, node: NodeId) -> [u8; 16] {
        self.nodes[node.index()].unique_id
    }

    /// Starts a node that is down, known again or new.
    pub fn boot(&mut self, node: NodeId, identity: Identity) {
        let index = node.0;
        let this = &mut self.nodes[node.index()];
        if this.machine.is_some() {
            return;
        }
        let purpose = 0xb007_0000_0000 + (u64::from(index) << 16) + u64::from(this.boot);
        let mut rng = SimRng::fork(self.seed, purpose);
        if identity == Identity::New && this.boot > 0 {
            this.previous_unique_id = Some(this.unique_id);
            this.unique_id = rng.bytes();
        }
        let boot = Boot {
            node,
            address: node.address(),
            seed: rng.bytes(),
            unique_id: this.unique_id,
            previous_unique_id: this.previous_unique_id,
            restarts: this.boot,
            now: this.clock.local(self.now),
            unix_ms: this.clock.unix_ms(self.now),
        };
        this.boot += 1;
        this.state = NodeState::Running;
        this.machine = Some(match &mut this.stranger {
            Some(make) => Inhabitant::Stranger(make(&boot)),
            None => Inhabitant::Ours((self.factory)(&boot)),
        });
        self.note(
            index,
            TraceKind::Boot,
            None,
            0,
            &boot.unique_id,
            String::new,
        );
        self.drain(index);
    }

    /// Ends a node: its memory is gone.
    pub fn crash(&mut self, node: NodeId, how: Crash) {
        let this = &mut self.nodes[node.index()];
        let was = this.state;
        this.state = NodeState::Down(how);
        if matches!(was, NodeState::Down(_)) {
            return;
        }
        for event in this.forget() {
            if let Event::Datagram { index, .. } = event {
                self.datagrams.drop_copy(index);
                if let Some(recording) = &mut self.recording {
                    recording.datagram_ended(None, index, node.0);
                }
            }
        }
        self.note(node.0, TraceKind::Crash, None, how as u64, &[], || {
            format!("{how:?}")
        });
        self.drop_ends(node.0, how);
        self.observe(node.0);
    }

    /// Stops a node's process without ending it.
    pub fn pause(&mut self, node: NodeId) {
        if self.nodes[node.index()].state == NodeState::Running {
            self.nodes[node.index()].state = NodeState::Paused;
            self.note(node.0, TraceKind::Pause, None, 0, &[], String::new);
            self.observe(node.0);
        }
    }

    /// Lets a paused node go on.
    pub fn resume(&mut self, node: NodeId) {
        if self.nodes[node.index()].state == NodeState::Paused {
            self.nodes[node.index()].state = NodeState::Running;
            self.note(node.0, TraceKind::Resume, None, 0, &[], String::new);
            self.observe(node.0);
            self.plan_wake(node.0, self.now);
        }
    }

    /// Lets a paused node go on after `time`, unless it has been started anew by then.
    pub(crate) fn resume_later(&mut self, node: NodeId, time: Duration) {
        let (at, boot) = (self.now + nanos(time), self.boots(node));
        self.agenda.plan(at, Event::Resume { node: node.0, boot });
    }

    /// Ends a node's process after `time`, unless it has been started anew by then.
    pub(crate) fn end_later(&mut self, node: NodeId, time: Duration) {
        self.nodes[node.index()].leaving = true;
        let (at, boot) = (self.now + nanos(time), self.boots(node));
        self.agenda.plan(at, Event::End { node: node.0, boot });
    }

    /// From now on each input takes the node up to `slow`.
    pub fn slow_down(&mut self, node: NodeId, slow: Duration) {
        self.nodes[node.index()].slow_ns = nanos(slow);
        self.observe(node.0);
    }

    /// Changes a node's clocks. The monotonic one does not jump: `epoch_ns` only counts before the first
    /// start, and a drift changed later moves it by what has drifted so far, forward only.
    pub fn set_clock(&mut self, node: NodeId, change: impl FnOnce(&mut Clock)) {
        let now = self.now;
        let this = &mut self.nodes[node.index()];
        let before = this.clock.local(now);
        change(&mut this.clock);
        if this.boot > 0 {
            let after = this.clock.local(now).as_nanos();
            let back = before.as_nanos().saturating_sub(after);
            this.clock.epoch_ns = this.clock.epoch_ns.saturating_add(back);
        }
        let (local, unix_ms) = (this.clock.local(now), this.clock.unix_ms(now));
        self.note(node.0, TraceKind::Clock, None, unix_ms, &[], || {
            format!("{unix_ms} ms")
        });
        if let Some(machine) = &mut self.nodes[node.index()].machine {
            machine.set_wall_clock(local, unix_ms);
            self.drain(node.0);
        }
    }

    /// Cuts or mends the way from `from` to `to`, this direction alone.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, cut: Cut) {
        self.links.set_cut(from.0, to.0, cut);
        self.note(
            from.0,
            TraceKind::Network,
            Some(to.0),
            cut as u64,
            &[],
            || format!("{cut:?}"),
        );
        self.observe(from.0);
    }

    /// Cuts every link between nodes of different groups; a node in no group is alone, a stranger in none with everybody.
    pub fn partition(&mut self, groups: &[&[NodeId]], cut: Cut) {
        let group_of = |node: NodeId| groups.iter().position(|group| group.contains(&node));
        let strangers = self.stranger_ids().filter(|node| group_of(*node).is_some());
        let parted: Vec<NodeId> = self.node_ids().chain(strangers).collect();
        for &from in &parted {
            for &to in &parted {
                let together = group_of(from).is_some() && group_of(from) == group_of(to);
                if from != to {
                    self.set_link(from, to, if together { Cut::Whole } else { cut });
                }
            }
        }
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        let all = || self.node_ids().chain(self.stranger_ids());
        let all: Vec<(NodeId, NodeId)> = all()
            .flat_map(|from| all().map(move |to| (from, to)))
            .collect();
        for (from, to) in all {
            if self.links.cut(from.0, to.0) != Cut::Whole {
                self.set_link(from, to, Cut::Whole);
            }
        }
    }

    /// Holds everything from `from` to `to` back for a while, without losing it.
    pub fn stall(&mut self, from: NodeId, to: NodeId, time: Duration) {
        let until = self.now + nanos(time);
        self.links.stall(from.0, to.0, until);
        self.note(from.0, TraceKind::Network, Some(to.0), until, &[], || {
            "stall".into()
        });
    }

    /// Resets every stream between two nodes; both hear of it.
    pub fn reset_streams(&mut self, a: NodeId, b: NodeId) {
        for id in self.streams_between(a, b) {
            for to in [Side::Initiator, Side::Acceptor] {
                self.agenda.plan(self.now, Event::Reset { stream: id, to });
            }
        }
    }

    /// Makes every stream between two nodes a half-open one: bytes vanish, neither hears of it.
    pub fn sever_streams(&mut self, a: NodeId, b: NodeId) {
        for id in self.streams_between(a, b) {
            if let Some(stream) = self.streams.get(id) {
                stream.severed = true;
                self.stats.severed += 1;
            }
        }
        self.note(a.0, TraceKind::Network, Some(b.0), 0, &[], || {
            "sever".into()
        });
    }

    fn streams_between(&self, a: NodeId, b: NodeId) -> Vec<StreamId> {
        let between = |ends: &[crate::stream::End; 2]| {
            let [from, to] = [ends[0].node, ends[1].node];
            [from, to] == [a.0, b.0] || [from, to] == [b.0, a.0]
        };
        let streams = self.streams.ids();
        (streams
            .filter(|(_, stream)| between(&stream.ends))
            .map(|(id, _)| id))
        .collect()
    }

    /// Changes how the network behaves from now on.
    pub fn network_mut(&mut self) -> &mut NetworkConfig {
        self.links.config_mut()
    }

    /// Runs a command on a node; `None` if it is not running.
    pub fn with<R>(
        &mut self,
        node: NodeId,
        command: impl FnOnce(&mut M, Instant) -> R,
    ) -> Option<R> {
        if self.nodes.get(node.index())?.state != NodeState::Running {
            return None;
        }
        let now = self.local(node.0);
        self.note(node.0, TraceKind::Command, None, 0, &[], String::new);
        let machine = self.nodes[node.index()].machine.as_mut()?;
        let result = command(machine.ours_mut()?, now);
        self.drain(node.0);
        Some(result)
    }

    /// A node's machine, if there is one, to look at.
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.nodes.get(node.index())?.machine.as_ref()?.ours()
    }

    /// Whether a node runs.
    pub fn state(&self, node: NodeId) -> NodeState {
        self.nodes[node.index()].state
    }

    /// Whether a node has said goodbye and is about to end.
    pub fn is_leaving(&self, node: NodeId) -> bool {
        self.nodes[node.index()].leaving
    }

    /// How often a node has started.
    pub fn boots(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].boot
    }

    /// A node's monotonic clock now.
    pub fn local_now(&self, node: NodeId) -> Instant {
        self.local(node.0)
    }

    /// All nodes of ours.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..self.ours).map(NodeId)
    }

    /// Virtual time since the world began.
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Runs for `time`.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now().saturating_add(time));
    }

    /// Runs to `until`, virtual time since the world began.
    pub fn run_until(&mut self, until: Duration) {
        while self.step_until(until) {}
    }

    /// One step, if there is one by `until`; otherwise time moves on to `until`.
    pub fn step_until(&mut self, until: Duration) -> bool {
        let until = nanos(until);
        if self.agenda.next_at().is_some_and(|at| at <= until) {
            return self.step();
        }
        self.now = self.now.max(until);
        false
    }

    /// The next event; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.pop() else {
            return false;
        };
        self.now = self.now.max(at);
        self.stats.steps += 1;
        self.happen(event);
        true
    }

    /// The hash and, if kept, the list of what happened.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The trace, to have it kept.
    pub const fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Figures.
    pub const fn stats(&self) -> &WorldStats {
        &self.stats
    }

    /// Events that wait and streams that live, to see a leak.
    pub fn load(&self) -> (usize, usize) {
        (self.agenda.len(), self.streams.len())
    }

    /// The rules broken so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Notes a broken rule.
    pub fn violate(&mut self, node: Option<NodeId>, rule: &'static str, what: String) {
        let at = self.now;
        if self.violations.len() < VIOLATIONS_KEPT {
            if let Some(recording) = &mut self.recording {
                recording.rule_broken(self.trace.last());
            }
            #[rustfmt::skip]
            self.violations.push(Violation { at, node, rule, what });
        }
    }

    /// Draws from the run's own chance: for a scenario that wants some.
    pub fn chance(&mut self, ppm: Ppm) -> bool {
        self.rng.chance(ppm)
    }
}

/// A duration in virtual time.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
