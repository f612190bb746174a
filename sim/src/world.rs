//! N nodes, one clock, one seed.

use std::collections::VecDeque;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Input, Output};
use folkmoot_core::time::Instant;

use crate::agenda::{Agenda, Event};
use crate::clock::Clock;
use crate::link::{Cut, Links, NetworkConfig};
use crate::machine::{Boot, Machine, NodeId, Violation};
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

pub(crate) struct Node<M> {
    pub(crate) machine: Option<M>,
    pub(crate) state: NodeState,
    pub(crate) boot: u32,
    pub(crate) clock: Clock,
    /// The stream behind each of the engine's connections, by slot.
    pub(crate) ends: Vec<Option<(ConnId, StreamId, Side)>>,
    /// Connections in the listener's queue.
    pub(crate) backlog: u32,
    /// What the process has yet to notice, because it is paused or busy.
    pub(crate) held: VecDeque<Event>,
    pub(crate) held_datagrams: usize,
    pub(crate) slow_ns: u64,
    busy_until: u64,
    timer_at: Option<u64>,
    wake_planned: bool,
    unique_id: [u8; 16],
    previous_unique_id: Option<[u8; 16]>,
    /// The instant of the last timeouts, and how many there were.
    timeouts: (u64, u32),
}

/// Datagrams a paused process finds in its socket when it goes on.
const DATAGRAM_BACKLOG: usize = 256;
/// Timeouts of one engine at one instant that are taken for a loop that never ends.
const TIMEOUTS_AT_ONE_INSTANT: u32 = 10_000;
/// Outputs of one engine after one input that are taken for a loop that never ends.
const OUTPUTS_AFTER_ONE_INPUT: u32 = 1_000_000;
/// Broken rules worth keeping.
const VIOLATIONS_KEPT: usize = 64;

/// Datagrams on their way.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    slots: Vec<Datagram>,
    free: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: u16,
    pub(crate) bytes: Vec<u8>,
    copies: u32,
}

impl Datagrams {
    /// Room for one more, holding no bytes and no copies yet.
    pub(crate) fn begin(&mut self, from: u16) -> u32 {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize].from = from;
            return index;
        }
        let (bytes, copies) = (Vec::new(), 0);
        #[rustfmt::skip]
        self.slots.push(Datagram { from, bytes, copies });
        (self.slots.len() - 1) as u32
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Datagram {
        &mut self.slots[index as usize]
    }

    pub(crate) fn add_copy(&mut self, index: u32) {
        self.slots[index as usize].copies += 1;
    }

    /// One copy fewer; the room is free again after the last.
    pub(crate) fn drop_copy(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.copies = slot.copies.saturating_sub(1);
        self.free_if_unused(index);
    }

    pub(crate) fn free_if_unused(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.copies == 0 {
            slot.bytes.clear();
            self.free.push(index);
        }
    }
}

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
        self.nodes.push(Node {
            machine: None,
            state: NodeState::Down(Crash::Process),
            boot: 0,
            clock,
            ends: Vec::new(),
            backlog: 0,
            held: VecDeque::new(),
            held_datagrams: 0,
            slow_ns: 0,
            busy_until: 0,
            timer_at: None,
            wake_planned: false,
            unique_id: rng.bytes(),
            previous_unique_id: None,
            timeouts: (0, 0),
        });
        NodeId(index)
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
        this.machine = Some((self.factory)(&boot));
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
        this.machine = None;
        this.timer_at = None;
        this.busy_until = 0;
        this.ends.clear();
        this.backlog = 0;
        this.held_datagrams = 0;
        for event in std::mem::take(&mut this.held) {
            if let Event::Datagram { index, .. } = event {
                self.datagrams.drop_copy(index);
            }
        }
        self.note(node.0, TraceKind::Crash, None, how as u64, &[], || {
            format!("{how:?}")
        });
        self.drop_ends(node.0, how);
    }

    /// Stops a node's process without ending it.
    pub fn pause(&mut self, node: NodeId) {
        if self.nodes[node.index()].state == NodeState::Running {
            self.nodes[node.index()].state = NodeState::Paused;
            self.note(node.0, TraceKind::Pause, None, 0, &[], String::new);
        }
    }

    /// Lets a paused node go on.
    pub fn resume(&mut self, node: NodeId) {
        if self.nodes[node.index()].state == NodeState::Paused {
            self.nodes[node.index()].state = NodeState::Running;
            self.note(node.0, TraceKind::Resume, None, 0, &[], String::new);
            self.plan_wake(node.0, self.now);
        }
    }

    /// From now on each input takes the node up to `slow`.
    pub fn slow_down(&mut self, node: NodeId, slow: Duration) {
        self.nodes[node.index()].slow_ns = nanos(slow);
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
    }

    /// Cuts every link between nodes of different groups; a node in no group is alone.
    pub fn partition(&mut self, groups: &[&[NodeId]], cut: Cut) {
        let group_of = |node: NodeId| groups.iter().position(|group| group.contains(&node));
        for from in self.node_ids() {
            for to in self.node_ids() {
                let together = group_of(from).is_some() && group_of(from) == group_of(to);
                if from != to {
                    self.set_link(from, to, if together { Cut::Whole } else { cut });
                }
            }
        }
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        for from in self.node_ids() {
            for to in self.node_ids() {
                if self.links.cut(from.0, to.0) != Cut::Whole {
                    self.set_link(from, to, Cut::Whole);
                }
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
        let result = command(self.nodes[node.index()].machine.as_mut()?, now);
        self.drain(node.0);
        Some(result)
    }

    /// A node's machine, if there is one, to look at.
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.nodes.get(node.index())?.machine.as_ref()
    }

    /// Whether a node runs.
    pub fn state(&self, node: NodeId) -> NodeState {
        self.nodes[node.index()].state
    }

    /// How often a node has started.
    pub fn boots(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].boot
    }

    /// A node's monotonic clock now.
    pub fn local_now(&self, node: NodeId) -> Instant {
        self.local(node.0)
    }

    /// All nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..self.nodes.len() as u16).map(NodeId)
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
            #[rustfmt::skip]
            self.violations.push(Violation { at, node, rule, what });
        }
    }

    /// Draws from the run's own chance: for a scenario that wants some.
    pub fn chance(&mut self, ppm: Ppm) -> bool {
        self.rng.chance(ppm)
    }

    // ---- the node's side -------------------------------------------------------------------------------

    pub(crate) fn local(&self, node: u16) -> Instant {
        self.nodes[usize::from(node)].clock.local(self.now)
    }

    pub(crate) fn note(
        &mut self,
        node: u16,
        kind: TraceKind,
        peer: Option<u16>,
        word: u64,
        bytes: &[u8],
        detail: impl FnOnce() -> String,
    ) {
        self.trace
            .note(self.now, node, kind, (peer, word), bytes, detail);
    }

    /// Whether the node's process can take an event now.
    pub(crate) fn is_ready(&self, node: u16) -> bool {
        let this = &self.nodes[usize::from(node)];
        this.state == NodeState::Running && this.busy_until <= self.now && this.held.is_empty()
    }

    /// Keeps an event until the node's process can take it.
    pub(crate) fn hold(&mut self, node: u16, event: Event) {
        let this = &mut self.nodes[usize::from(node)];
        if matches!(this.state, NodeState::Down(_)) {
            return;
        }
        if let Event::Datagram { index, .. } = event {
            if this.held_datagrams >= DATAGRAM_BACKLOG {
                self.stats.datagrams_lost += 1;
                self.datagrams.drop_copy(index);
                return;
            }
            this.held_datagrams += 1;
        }
        this.held.push_back(event);
        let at = this.busy_until;
        if this.state == NodeState::Running {
            self.plan_wake(node, at);
        }
    }

    fn plan_wake(&mut self, node: u16, at: u64) {
        let this = &mut self.nodes[usize::from(node)];
        if !this.wake_planned {
            this.wake_planned = true;
            self.agenda.plan(at.max(self.now), Event::Wake { node });
        }
    }

    /// The node's process catches up with what it has been kept from.
    pub(crate) fn wake(&mut self, node: u16) {
        self.nodes[usize::from(node)].wake_planned = false;
        loop {
            let this = &mut self.nodes[usize::from(node)];
            if this.state != NodeState::Running {
                return;
            }
            if this.busy_until > self.now {
                let at = this.busy_until;
                if !this.held.is_empty() {
                    self.plan_wake(node, at);
                }
                return;
            }
            let Some(event) = this.held.pop_front() else {
                return;
            };
            if let Event::Datagram { .. } = event {
                this.held_datagrams -= 1;
            }
            self.engine_event(node, event);
        }
    }

    /// Hands an input to a node's engine, and does what it wants afterwards.
    pub(crate) fn input(&mut self, node: u16, input: Input<'_>) {
        let now = self.local(node);
        self.stats.engine_events += 1;
        if let Some(machine) = &mut self.nodes[usize::from(node)].machine {
            machine.handle(now, input);
            self.drain(node);
        }
    }

    /// The engine's timer, if it is still due.
    pub(crate) fn timer(&mut self, node: u16) {
        let now = self.local(node);
        let this = &mut self.nodes[usize::from(node)];
        let Some(machine) = &mut this.machine else {
            return;
        };
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            let count = match this.timeouts {
                (at, count) if at == self.now => count + 1,
                _ => 1,
            };
            this.timeouts = (self.now, count);
            self.note(node, TraceKind::Timer, None, 0, &[], String::new);
            self.input(node, Input::Timeout);
            let after = self.nodes[usize::from(node)]
                .machine
                .as_ref()
                .and_then(M::poll_timeout);
            if after.is_some_and(|at| at < now) {
                let late = now.since(after.unwrap_or_default());
                let what = format!("{late:?} late after the timeout was handled");
                self.violate(Some(NodeId(node)), "no timer in the past", what);
            }
            if count > TIMEOUTS_AT_ONE_INSTANT {
                let what = format!("{count} timeouts at one instant");
                self.violate(Some(NodeId(node)), "time goes on", what);
                self.crash(NodeId(node), Crash::Process);
            }
        } else {
            self.arm(node);
        }
    }

    /// The planned timer event, unless it has been overtaken by a better plan.
    pub(crate) fn timer_fired(&mut self, node: u16, boot: u32) {
        let this = &mut self.nodes[usize::from(node)];
        if this.boot == boot && this.timer_at == Some(self.now) {
            this.timer_at = None;
            let event = Event::Timer { node, boot };
            if self.is_ready(node) {
                self.timer(node);
            } else {
                self.hold(node, event);
            }
        }
    }

    /// Plans the engine's next timeout.
    fn arm(&mut self, node: u16) {
        let this = &mut self.nodes[usize::from(node)];
        let Some(deadline) = this.machine.as_ref().and_then(M::poll_timeout) else {
            return;
        };
        let at = this.clock.world(deadline).max(self.now);
        if this.timer_at.is_none_or(|planned| at < planned) {
            this.timer_at = Some(at);
            let boot = this.boot;
            self.agenda.plan(at, Event::Timer { node, boot });
        }
    }

    /// Does what the engine wants, lets the application take its turn, and looks whether all is well.
    pub(crate) fn drain(&mut self, node: u16) {
        let now = self.local(node);
        let mut outputs = 0;
        while let Some(machine) = &mut self.nodes[usize::from(node)].machine {
            let output = match machine.poll_output() {
                Some(output) => output,
                None => {
                    machine.turn(now);
                    match machine.poll_output() {
                        Some(output) => output,
                        None => break,
                    }
                }
            };
            outputs += 1;
            if outputs > OUTPUTS_AFTER_ONE_INPUT {
                let what = format!("{outputs} outputs after one input, the last {output:?}");
                self.violate(Some(NodeId(node)), "time goes on", what);
                self.crash(NodeId(node), Crash::Process);
                return;
            }
            self.perform(node, output);
        }
        self.arm(node);
        let this = &mut self.nodes[usize::from(node)];
        if this.slow_ns > 0 {
            this.busy_until = self.now + self.rng.below(this.slow_ns);
        }
        if let Some((rule, what)) = this.machine.as_ref().and_then(|machine| machine.check(now)) {
            self.violate(Some(NodeId(node)), rule, what);
        }
    }

    fn perform(&mut self, node: u16, output: Output) {
        match output {
            Output::Connect { conn, to } => self.connect(node, conn, to),
            Output::Transmit { conn } => self.transmit(node, conn),
            Output::Datagram { conn, to } => self.send_datagram(node, conn, to),
            Output::PauseRead { conn } => self.set_reading(node, conn, false),
            Output::ResumeRead { conn } => self.set_reading(node, conn, true),
            Output::Close { conn } => self.close(node, conn),
        }
    }
}

/// A duration in virtual time.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
