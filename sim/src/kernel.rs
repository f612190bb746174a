//! What the operating systems and the network do between the engines.

use std::net::SocketAddr;

use folkmoot_core::engine::{CloseReason, ConnId, Gather, Input, Target};

use crate::agenda::Event;
use crate::link::Cut;
use crate::machine::{Machine, NodeId};
use crate::stream::{EndState, Side, StreamId};
use crate::trace::{TraceKind, reason_text};
use crate::world::{Crash, NodeState, World};

/// A driver's read buffer.
const READ_MAX: usize = 64 << 10;
/// The first pause before a retransmission, nanoseconds.
const RETRANSMIT_FIRST_NS: u64 = 200_000_000;
/// The pause before a connection request is sent again, nanoseconds.
const SYN_AGAIN_NS: u64 = 1_000_000_000;
/// A multicast datagram comes from this port.
const MULTICAST_PORT: u16 = 45564;

impl<M: Machine> World<M> {
    /// Lets a planned event happen.
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Timer { node, boot } => self.timer_fired(node, boot),
            Event::Wake { node } => self.wake(node),
            Event::Syn { stream, tries } => self.syn(stream, tries),
            Event::Arrive { stream, from } => self.arrive(stream, from),
            Event::Datagram { node, index } => {
                let from = self.datagrams.get_mut(index).from;
                if self.links.cut(from, node) != Cut::Whole {
                    self.lose_datagram(node, index);
                } else {
                    self.to_engine(node, event);
                }
            }
            Event::NotConnected { stream, .. } | Event::Connected { stream } => {
                self.to_end(stream, Side::Initiator, event);
            }
            Event::Accept { stream } => self.to_end(stream, Side::Acceptor, event),
            Event::Deliver { stream, to } | Event::Reset { stream, to } => {
                self.to_end(stream, to, event)
            }
            Event::Writable { stream, of } => self.to_end(stream, of, event),
        }
    }

    fn to_end(&mut self, stream: StreamId, side: Side, event: Event) {
        if let Some(node) = self.streams.get(stream).map(|s| s.ends[side as usize].node) {
            self.to_engine(node, event);
        }
    }

    fn to_engine(&mut self, node: u16, event: Event) {
        if self.is_ready(node) {
            self.engine_event(node, event);
        } else if let (Event::Datagram { index, .. }, NodeState::Down(_)) =
            (event, self.nodes[usize::from(node)].state)
        {
            self.lose_datagram(node, index);
        } else {
            self.hold(node, event);
        }
    }

    /// An event that the node's process notices, now that it can.
    pub(crate) fn engine_event(&mut self, node: u16, event: Event) {
        match event {
            Event::Timer { .. } => self.timer(node),
            Event::Datagram { index, .. } => self.receive_datagram(node, index),
            Event::NotConnected { stream, reason } => {
                self.end_closed(stream, Side::Initiator, reason)
            }
            Event::Connected { stream } => self.connected(stream),
            Event::Accept { stream } => self.accept(stream),
            Event::Deliver { stream, to } => self.deliver(stream, to),
            Event::Reset { stream, to } => self.reset(stream, to),
            Event::Writable { stream, of } => self.writable(stream, of),
            Event::Syn { .. } | Event::Arrive { .. } | Event::Wake { .. } => {}
        }
    }

    // ---- opening ---------------------------------------------------------------------------------------

    /// The engine asks for a connection.
    pub(crate) fn connect(&mut self, node: u16, conn: ConnId, to: SocketAddr) {
        self.stats.connects += 1;
        let target = NodeId::at(to, self.nodes.len()).filter(|target| target.address() == to);
        let peer = target.map_or(node, |target| target.0);
        let stream = self.streams.open(node, conn, peer, self.now);
        self.note(
            node,
            TraceKind::Connect,
            Some(peer),
            conn.to_u64(),
            &[],
            || to.to_string(),
        );
        self.bind(node, conn, stream, Side::Initiator);
        let mut at = self.links.delay(self.now, node, peer, &mut self.rng);
        if target.is_none() {
            let reason = CloseReason::Unreachable;
            self.agenda.plan(at, Event::NotConnected { stream, reason });
            return;
        }
        let config = self.links.config();
        if self.rng.chance(config.slow_connect) {
            at += SYN_AGAIN_NS;
        }
        self.agenda.plan(at, Event::Syn { stream, tries: 1 });
    }

    /// A connection gets its place in the engine's table.
    fn bind(&mut self, node: u16, conn: ConnId, stream: StreamId, side: Side) {
        let ends = &mut self.nodes[usize::from(node)].ends;
        let slot = conn.slot() as usize;
        if ends.len() <= slot {
            ends.resize(slot + 1, None);
        }
        let before = ends[slot].replace((conn, stream, side));
        if let Some((before, _, _)) = before {
            let what = format!("{conn:?} is given while {before:?} still lives");
            self.violate(Some(NodeId(node)), "one connection to an id", what);
        }
    }

    /// The stream behind a connection the engine names.
    fn lookup(
        &mut self,
        node: u16,
        conn: ConnId,
        wanted: &'static str,
    ) -> Option<(StreamId, Side)> {
        let ends = &self.nodes[usize::from(node)].ends;
        let found = ends.get(conn.slot() as usize).copied().flatten();
        match found {
            Some((bound, stream, side)) if bound == conn => Some((stream, side)),
            _ => {
                let what = format!("{wanted} for {conn:?}, which is no connection");
                self.violate(Some(NodeId(node)), "outputs name living connections", what);
                None
            }
        }
    }

    fn syn(&mut self, stream: StreamId, tries: u8) {
        let now = self.now;
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let [from, to] = [this.ends[0].node, this.ends[1].node];
        let asked_at = this.asked_at;
        if this.ends[0].state != EndState::Connecting {
            this.ends[1].state = EndState::Gone;
            self.streams.free_if_gone(stream);
            return;
        }
        let config = self.links.config();
        let (backlog, timeout) = (config.backlog, config.connect_timeout_ns);
        let refused = self.rng.chance(config.refuse);
        let cut = match self.links.cut(from, to) {
            Cut::Whole => self.links.cut(to, from),
            cut => cut,
        };
        let listener = &mut self.nodes[usize::from(to)];
        let no = match (cut, listener.state) {
            (Cut::Rejected, _) => Some(CloseReason::Unreachable),
            (Cut::Whole, NodeState::Down(Crash::Process)) => Some(CloseReason::Refused),
            (Cut::Whole, NodeState::Running | NodeState::Paused) if refused => {
                Some(CloseReason::Refused)
            }
            (Cut::Whole, NodeState::Running | NodeState::Paused) if listener.backlog < backlog => {
                None
            }
            _ if now.saturating_sub(asked_at) >= timeout => Some(CloseReason::TimedOut),
            _ => {
                let pause = SYN_AGAIN_NS << tries.saturating_sub(1).min(6);
                let tries = tries.saturating_add(1);
                self.agenda.plan(now + pause, Event::Syn { stream, tries });
                return;
            }
        };
        let back = self.links.delay(now, to, from, &mut self.rng);
        if let Some(reason) = no {
            self.agenda
                .plan(back, Event::NotConnected { stream, reason });
            return;
        }
        listener.backlog += 1;
        if let Some(this) = self.streams.get(stream) {
            this.ends[1].state = EndState::Backlog;
        }
        self.agenda.plan(back, Event::Connected { stream });
        self.to_engine(to, Event::Accept { stream });
    }

    fn connected(&mut self, stream: StreamId) {
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let [end, peer] = &mut this.ends;
        if end.state != EndState::Connecting {
            return;
        }
        end.state = EndState::Open;
        let (node, conn, peer) = (end.node, end.conn, peer.node);
        self.note(
            node,
            TraceKind::Connected,
            Some(peer),
            conn.to_u64(),
            &[],
            String::new,
        );
        self.input(node, Input::Connected { conn });
        self.write(stream, Side::Initiator);
        self.drain(node);
        // What the acceptor said first may have arrived before the connection was known here.
        self.deliver(stream, Side::Initiator);
    }

    fn accept(&mut self, stream: StreamId) {
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let [from, end] = &mut this.ends;
        if end.state != EndState::Backlog {
            return;
        }
        let (peer, node) = (from.node, end.node);
        let mut from = NodeId(peer).address();
        from.set_port(32_768 + (stream.index % 28_000) as u16);
        let now = self.local(node);
        self.stats.engine_events += 1;
        let listener = &mut self.nodes[usize::from(node)];
        listener.backlog = listener.backlog.saturating_sub(1);
        let conn = listener
            .machine
            .as_mut()
            .and_then(|machine| machine.accept(now, from));
        let Some(conn) = conn else {
            self.note(node, TraceKind::Refuse, Some(peer), 0, &[], String::new);
            self.release(stream, Side::Acceptor, true);
            self.drain(node);
            return;
        };
        if let Some(this) = self.streams.get(stream) {
            this.ends[1].conn = conn;
            this.ends[1].state = EndState::Open;
        }
        self.note(
            node,
            TraceKind::Accept,
            Some(peer),
            conn.to_u64(),
            &[],
            String::new,
        );
        self.bind(node, conn, stream, Side::Acceptor);
        self.drain(node);
        self.deliver(stream, Side::Acceptor);
    }

    // ---- bytes -----------------------------------------------------------------------------------------

    /// The engine has bytes for a connection.
    pub(crate) fn transmit(&mut self, node: u16, conn: ConnId) {
        let Some((stream, side)) = self.lookup(node, conn, "Transmit") else {
            return;
        };
        if let Some(this) = self.streams.get(stream) {
            this.ends[side as usize].wants_write = true;
            self.write(stream, side);
        }
    }

    fn writable(&mut self, stream: StreamId, side: Side) {
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let end = &mut this.ends[side as usize];
        end.writable_planned = false;
        let node = end.node;
        self.write(stream, side);
        self.drain(node);
    }

    /// Takes what the window has room for.
    fn write(&mut self, stream: StreamId, side: Side) {
        loop {
            let window = self.links.config().window;
            let Some(this) = self.streams.get(stream) else {
                return;
            };
            let end = this.ends[side as usize];
            let to = this.ends[side.other() as usize].node;
            if end.state != EndState::Open || !end.wants_write {
                return;
            }
            let pipe = &mut this.pipes[side as usize];
            let room = window.saturating_sub(pipe.unread());
            let config = self.links.config();
            let (fragment, segment_max) = (config.fragment, config.segment_max);
            let node = &mut self.nodes[usize::from(end.node)];
            let now = node.clock.local(self.now);
            let Some(machine) = &mut node.machine else {
                return;
            };
            let mut gather = Gather::new();
            machine.transmit(end.conn, &mut gather);
            if gather.is_empty() {
                this.ends[side as usize].wants_write = false;
                return;
            }
            if room == 0 {
                return;
            }
            let mut take = gather.len().min(room);
            if self.rng.chance(fragment) {
                take = 1 + self.rng.index(take);
            }
            let mut left = take;
            for run in gather.runs() {
                let mut run = &run[..run.len().min(left)];
                left -= run.len();
                while !run.is_empty() {
                    let mut len = run.len().min(segment_max);
                    if self.rng.chance(fragment) {
                        len = 1 + self.rng.index(len);
                    }
                    let (segment, rest) = run.split_at(len);
                    run = rest;
                    let link = (Some(to), end.conn.to_u64());
                    let describe = || machine.describe(segment);
                    self.trace
                        .note(self.now, end.node, TraceKind::Sent, link, segment, describe);
                    let at = self
                        .links
                        .arrival(self.now, end.node, to, len, &mut self.rng);
                    let at = pipe.send(segment, at);
                    self.agenda.plan(at, Event::Arrive { stream, from: side });
                }
            }
            drop(gather);
            machine.transmitted(now, end.conn, take);
            self.stats.stream_bytes += take as u64;
            self.stats.engine_events += 1;
        }
    }

    /// A segment, or the end of the stream, comes to the other end's host, if the way is open.
    fn arrive(&mut self, stream: StreamId, from: Side) {
        let now = self.now;
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let to = from.other();
        let (sender, receiver) = (this.ends[from as usize], this.ends[to as usize]);
        let pipe = &mut this.pipes[from as usize];
        if this.severed {
            pipe.segments.clear();
            self.streams.free_if_gone(stream);
            return;
        }
        let Some(segment) = pipe.segments.front() else {
            return;
        };
        if segment.at > now || pipe.blocked.is_some_and(|(_, again)| again > now) {
            return;
        }
        let host_down =
            self.nodes[usize::from(receiver.node)].state == NodeState::Down(Crash::Host);
        if host_down || self.links.cut(sender.node, receiver.node) != Cut::Whole {
            self.retransmit(stream, from);
            return;
        }
        if receiver.state == EndState::Gone {
            pipe.segments.clear();
            let reset_sender = sender.state != EndState::Gone;
            self.streams.free_if_gone(stream);
            if reset_sender && self.links.cut(receiver.node, sender.node) == Cut::Whole {
                let at = self
                    .links
                    .delay(now, receiver.node, sender.node, &mut self.rng);
                self.agenda.plan(at, Event::Reset { stream, to: from });
            }
            return;
        }
        pipe.arrive(now);
        if receiver.state == EndState::Open && receiver.reading && !receiver.deliver_planned {
            this.ends[to as usize].deliver_planned = true;
            self.to_engine(receiver.node, Event::Deliver { stream, to });
        }
    }

    /// The way is blocked: the sender's kernel tries again, at growing intervals, and gives up in the end.
    fn retransmit(&mut self, stream: StreamId, from: Side) {
        let now = self.now;
        let config = self.links.config();
        let (longest, timeout) = (config.retransmit_max_ns, config.retransmit_timeout_ns);
        let jitter = self.rng.below(RETRANSMIT_FIRST_NS / 8);
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let pipe = &mut this.pipes[from as usize];
        let (since, pause) = match pipe.blocked {
            None => (now, RETRANSMIT_FIRST_NS),
            // The pause before this try is found again from how long it has been.
            Some((since, _)) => (
                since,
                now.saturating_sub(since)
                    .clamp(RETRANSMIT_FIRST_NS, longest),
            ),
        };
        if now.saturating_sub(since) >= timeout {
            pipe.segments.clear();
            self.end_closed(stream, from, CloseReason::TimedOut);
            return;
        }
        let again = now + pause + jitter;
        pipe.blocked = Some((since, again));
        self.agenda.plan(again, Event::Arrive { stream, from });
    }

    /// The process reads what lies in its receive buffer, one piece or all.
    fn deliver(&mut self, stream: StreamId, to: Side) {
        let fragment = self.links.config().fragment;
        if let Some(this) = self.streams.get(stream) {
            this.ends[to as usize].deliver_planned = false;
        }
        loop {
            let Some(this) = self.streams.get(stream) else {
                return;
            };
            let end = this.ends[to as usize];
            let peer = this.ends[to.other() as usize];
            let pipe = &mut this.pipes[to.other() as usize];
            if end.state != EndState::Open || !end.reading {
                return;
            }
            if pipe.readable() == 0 {
                if pipe.fin_arrived {
                    self.end_closed(stream, to, CloseReason::EndOfStream);
                }
                return;
            }
            let node = end.node;
            if self.nodes[usize::from(node)].state != NodeState::Running {
                return;
            }
            let mut len = pipe.readable().min(READ_MAX);
            if self.rng.chance(fragment) {
                len = 1 + self.rng.index(len);
            }
            let (data, range) = pipe.begin_read(len);
            let now = self.local(node);
            let bytes = &data[range];
            let link = (Some(peer.node), end.conn.to_u64());
            if let Some(machine) = &mut self.nodes[usize::from(node)].machine {
                let describe = || machine.describe(bytes);
                self.trace
                    .note(self.now, node, TraceKind::Received, link, bytes, describe);
                let conn = end.conn;
                machine.handle(now, Input::Received { conn, bytes });
            }
            self.stats.engine_events += 1;
            if let Some(this) = self.streams.get(stream) {
                this.pipes[to.other() as usize].end_read(data);
                let writer = &mut this.ends[to.other() as usize];
                if writer.wants_write && writer.state == EndState::Open && !writer.writable_planned
                {
                    writer.writable_planned = true;
                    let at = self.links.delay(self.now, node, peer.node, &mut self.rng);
                    let of = to.other();
                    self.agenda.plan(at, Event::Writable { stream, of });
                }
            }
            self.drain(node);
            if !self.is_ready(node) {
                if let Some(this) = self.streams.get(stream) {
                    let end = &mut this.ends[to as usize];
                    if end.state == EndState::Open && !end.deliver_planned {
                        end.deliver_planned = true;
                        self.hold(node, Event::Deliver { stream, to });
                    }
                }
                return;
            }
        }
    }

    /// The engine pauses or resumes reading.
    pub(crate) fn set_reading(&mut self, node: u16, conn: ConnId, reading: bool) {
        let wanted = if reading { "ResumeRead" } else { "PauseRead" };
        let Some((stream, side)) = self.lookup(node, conn, wanted) else {
            return;
        };
        let kind = if reading {
            TraceKind::ResumeRead
        } else {
            TraceKind::PauseRead
        };
        self.note(node, kind, None, conn.to_u64(), &[], String::new);
        if let Some(this) = self.streams.get(stream) {
            let end = &mut this.ends[side as usize];
            end.reading = reading;
            if reading && !end.deliver_planned {
                end.deliver_planned = true;
                self.agenda
                    .plan(self.now, Event::Deliver { stream, to: side });
            }
        }
    }

    // ---- closing ---------------------------------------------------------------------------------------

    /// The engine closes a connection.
    pub(crate) fn close(&mut self, node: u16, conn: ConnId) {
        let Some((stream, side)) = self.lookup(node, conn, "Close") else {
            return;
        };
        if let Some(this) = self.streams.get(stream) {
            this.ends[side as usize].wants_write = true;
        }
        self.write(stream, side);
        self.note(
            node,
            TraceKind::Close,
            None,
            conn.to_u64(),
            &[],
            String::new,
        );
        self.unbind(node, conn);
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        // A kernel that closes with unread bytes resets instead of ending.
        let unread = this.pipes[side.other() as usize].readable() > 0;
        self.release(stream, side, unread);
    }

    fn unbind(&mut self, node: u16, conn: ConnId) {
        let ends = &mut self.nodes[usize::from(node)].ends;
        if let Some(end) = ends.get_mut(conn.slot() as usize) {
            if end.is_some_and(|(bound, _, _)| bound == conn) {
                *end = None;
            }
        }
    }

    /// A process no longer holds its end: the other end gets a reset, or the end of the stream.
    fn release(&mut self, stream: StreamId, side: Side, reset: bool) {
        let now = self.now;
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let end = &mut this.ends[side as usize];
        let was = std::mem::replace(&mut end.state, EndState::Gone);
        let (node, peer) = (end.node, this.ends[side.other() as usize]);
        match (was, peer.state) {
            (EndState::Gone, _) => {}
            // Nobody has been reached yet: a request on its way finds out.
            (EndState::Connecting, EndState::Connecting) => {}
            (_, EndState::Gone) => {}
            _ if reset => {
                this.pipes[side as usize].segments.clear();
                let at = self.links.delay(now, node, peer.node, &mut self.rng);
                if self.links.cut(node, peer.node) == Cut::Whole {
                    let to = side.other();
                    self.agenda.plan(at, Event::Reset { stream, to });
                }
            }
            _ if !this.pipes[side as usize].fin_sent => {
                let at = self.links.delay(now, node, peer.node, &mut self.rng);
                let at = this.pipes[side as usize].send_fin(at);
                self.agenda.plan(at, Event::Arrive { stream, from: side });
            }
            _ => {}
        }
        self.streams.free_if_gone(stream);
    }

    /// A connection is closed under its engine.
    fn end_closed(&mut self, stream: StreamId, side: Side, reason: CloseReason) {
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let end = this.ends[side as usize];
        let peer = this.ends[side.other() as usize].node;
        match end.state {
            EndState::Gone => return,
            EndState::Backlog => {
                let listener = &mut self.nodes[usize::from(end.node)];
                listener.backlog = listener.backlog.saturating_sub(1);
                self.release(stream, side, true);
                return;
            }
            EndState::Connecting => {
                this.ends[side as usize].state = EndState::Gone;
                let other = &mut this.ends[side.other() as usize];
                if other.state == EndState::Connecting {
                    other.state = EndState::Gone;
                }
                self.streams.free_if_gone(stream);
            }
            EndState::Open => self.release(stream, side, false),
        }
        let (node, conn) = (end.node, end.conn);
        self.unbind(node, conn);
        let text = || reason_text(reason).to_owned();
        self.note(
            node,
            TraceKind::Closed,
            Some(peer),
            conn.to_u64(),
            &[],
            text,
        );
        self.input(node, Input::Closed { conn, reason });
    }

    /// A reset reaches a process: what had arrived before may still be read, or is lost.
    fn reset(&mut self, stream: StreamId, to: Side) {
        if self.rng.chance(500_000) {
            self.deliver(stream, to);
        }
        self.end_closed(stream, to, CloseReason::Reset);
    }

    /// A node's process or host is gone, and with it all its ends.
    pub(crate) fn drop_ends(&mut self, node: u16, how: Crash) {
        let ids: Vec<StreamId> = self.streams.ids().map(|(id, _)| id).collect();
        for id in ids {
            for side in [Side::Initiator, Side::Acceptor] {
                let Some(this) = self.streams.get(id) else {
                    continue;
                };
                let end = this.ends[side as usize];
                let held = !matches!(end.state, EndState::Gone);
                // Nothing is held yet by a listener that a request has not reached.
                let reached = side == Side::Initiator || end.state != EndState::Connecting;
                if end.node != node || !held || !reached {
                    continue;
                }
                match how {
                    Crash::Process => {
                        let unread = this.pipes[side.other() as usize].readable() > 0;
                        self.release(id, side, unread);
                    }
                    Crash::Host => {
                        this.ends[side as usize].state = EndState::Gone;
                        this.pipes[side as usize].forget_unsent();
                        self.streams.free_if_gone(id);
                    }
                }
            }
        }
    }

    // ---- datagrams -------------------------------------------------------------------------------------

    /// The engine sends one datagram.
    pub(crate) fn send_datagram(&mut self, node: u16, conn: ConnId, to: Target) {
        let now = self.local(node);
        let index = self.datagrams.begin(node);
        let datagram = self.datagrams.get_mut(index);
        let Some(machine) = &mut self.nodes[usize::from(node)].machine else {
            return;
        };
        let mut gather = Gather::new();
        machine.transmit(conn, &mut gather);
        for run in gather.runs() {
            datagram.bytes.extend_from_slice(run);
        }
        let len = gather.len();
        drop(gather);
        let bytes = &datagram.bytes;
        let describe = || machine.describe(bytes);
        let link = (None, conn.to_u64());
        self.trace.note(
            self.now,
            node,
            TraceKind::DatagramSent,
            link,
            bytes,
            describe,
        );
        machine.transmitted(now, conn, len);
        self.stats.engine_events += 1;
        match to {
            Target::Group => {
                for to in 0..self.nodes.len() as u16 {
                    self.carry_datagram(node, to, index);
                }
            }
            Target::Address(address) => {
                if let Some(to) = NodeId::at(address, self.nodes.len()) {
                    self.carry_datagram(node, to.0, index);
                }
            }
        }
        self.datagrams.free_if_unused(index);
    }

    fn carry_datagram(&mut self, from: u16, to: u16, index: u32) {
        let config = self.links.config();
        let (loss, double) = (config.datagram_loss, config.datagram_double);
        self.stats.datagrams += 1;
        let cut = self.links.cut(from, to) != Cut::Whole;
        let lost = from != to && self.rng.chance(loss);
        if matches!(self.nodes[usize::from(to)].state, NodeState::Down(_)) || cut || lost {
            self.stats.datagrams_lost += 1;
            return;
        }
        let copies = if self.rng.chance(double) { 2 } else { 1 };
        for _ in 0..copies {
            self.datagrams.add_copy(index);
            let at = self.links.delay(self.now, from, to, &mut self.rng);
            self.agenda.plan(at, Event::Datagram { node: to, index });
        }
    }

    fn lose_datagram(&mut self, node: u16, index: u32) {
        self.stats.datagrams_lost += 1;
        self.note(node, TraceKind::DatagramLost, None, 0, &[], String::new);
        self.datagrams.drop_copy(index);
    }

    fn receive_datagram(&mut self, node: u16, index: u32) {
        let now = self.local(node);
        self.stats.engine_events += 1;
        let datagram = self.datagrams.get_mut(index);
        let mut from = NodeId(datagram.from).address();
        from.set_port(MULTICAST_PORT);
        let bytes = &datagram.bytes;
        if let Some(machine) = &mut self.nodes[usize::from(node)].machine {
            let describe = || machine.describe(bytes);
            let link = (Some(datagram.from), 0);
            self.trace.note(
                self.now,
                node,
                TraceKind::DatagramReceived,
                link,
                bytes,
                describe,
            );
            machine.handle(now, Input::Datagram { from, bytes });
        }
        self.datagrams.drop_copy(index);
        self.drain(node);
    }
}
