//! A node's process: what it notices when, and what it does then.

use std::collections::VecDeque;

use folkmoot_core::engine::{ConnId, Engine, Input, Output};
use folkmoot_core::time::Instant;

use crate::agenda::Event;
use crate::clock::Clock;
use crate::machine::{Inhabitant, Machine, NodeId, StrangerFactory};
use crate::stream::{Side, StreamId};
use crate::trace::TraceKind;
use crate::world::{Crash, NodeState, World};

pub(crate) struct Node<M> {
    pub(crate) machine: Option<Inhabitant<M>>,
    /// Makes the machine of a stranger, if it is one.
    pub(crate) stranger: Option<StrangerFactory>,
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
    /// Whether the process is about to end.
    pub(crate) leaving: bool,
    busy_until: u64,
    timer_at: Option<u64>,
    wake_planned: bool,
    pub(crate) unique_id: [u8; 16],
    pub(crate) previous_unique_id: Option<[u8; 16]>,
    /// The instant of the last timeouts, and how many there were.
    timeouts: (u64, u32),
}

/// Datagrams a paused process finds in its socket when it goes on.
const DATAGRAM_BACKLOG: usize = 256;
/// Timeouts of one engine at one instant that are taken for a loop that never ends.
const TIMEOUTS_AT_ONE_INSTANT: u32 = 10_000;
/// Outputs of one engine after one input that are taken for a loop that never ends.
const OUTPUTS_AFTER_ONE_INPUT: u32 = 1_000_000;
impl<M> Node<M> {
    /// A host with no process.
    pub(crate) fn new(clock: Clock, unique_id: [u8; 16]) -> Self {
        Self {
            machine: None,
            stranger: None,
            state: NodeState::Down(Crash::Process),
            boot: 0,
            clock,
            ends: Vec::new(),
            backlog: 0,
            held: VecDeque::new(),
            held_datagrams: 0,
            slow_ns: 0,
            leaving: false,
            busy_until: 0,
            timer_at: None,
            wake_planned: false,
            unique_id,
            previous_unique_id: None,
            timeouts: (0, 0),
        }
    }

    /// The process is gone; what it had yet to notice is handed back.
    pub(crate) fn forget(&mut self) -> VecDeque<Event> {
        self.machine = None;
        self.leaving = false;
        self.timer_at = None;
        self.busy_until = 0;
        self.ends.clear();
        self.backlog = 0;
        self.held_datagrams = 0;
        std::mem::take(&mut self.held)
    }
}

impl<M: Machine> World<M> {
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
                if let Some(recording) = &mut self.recording {
                    recording.datagram_ended(None, index, node);
                }
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

    pub(crate) fn plan_wake(&mut self, node: u16, at: u64) {
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
                .and_then(Engine::poll_timeout);
            // The epoch itself says "at once": there is more to do, and the driver may look at its sockets first.
            if after.is_some_and(|at| at < now && at > Instant::ZERO) {
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
        let Some(deadline) = this.machine.as_ref().and_then(Engine::poll_timeout) else {
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
        let broken = this.machine.as_mut().and_then(|machine| machine.check(now));
        self.observe(node);
        if let Some((rule, what)) = broken {
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
            Output::HalfClose { conn } => self.half_close(node, conn),
            Output::Close { conn } => self.close(node, conn),
            Output::Abort { conn } => self.abort(node, conn),
        }
    }
}
