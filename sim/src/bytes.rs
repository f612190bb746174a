//! How bytes travel: from an engine into segments, over a link that may be cut, into another engine.

use bytes::Bytes;
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Part};

use crate::agenda::Event;
use crate::link::Cut;
use crate::machine::Machine;
use crate::stream::{EndState, Side, StreamId};
use crate::trace::TraceKind;
use crate::world::{Crash, NodeState, World};

/// A driver's read buffer.
const READ_MAX: usize = 64 << 10;
/// The first pause before a retransmission, nanoseconds.
const RETRANSMIT_FIRST_NS: u64 = 200_000_000;

impl<M: Machine> World<M> {
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

    pub(crate) fn writable(&mut self, stream: StreamId, side: Side) {
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
    pub(crate) fn write(&mut self, stream: StreamId, side: Side) {
        while self.write_once(stream, side) {}
    }

    /// Takes one gather, or the part of it that the window has room for; whether another may follow.
    pub(crate) fn write_once(&mut self, stream: StreamId, side: Side) -> bool {
        let window = self.links.config().window;
        let Some(this) = self.streams.get(stream) else {
            return false;
        };
        let end = this.ends[side as usize];
        let to = this.ends[side.other() as usize].node;
        if end.state != EndState::Open || !end.wants_write {
            return false;
        }
        let pipe = &mut this.pipes[side as usize];
        if pipe.fin_sent {
            return false;
        }
        let room = window.saturating_sub(pipe.unread());
        let config = self.links.config();
        let (fragment, segment_max) = (config.fragment, config.segment_max);
        let node = &mut self.nodes[usize::from(end.node)];
        let now = node.clock.local(self.now);
        let Some(machine) = &mut node.machine else {
            return false;
        };
        let kept;
        let mut gather = Gather::new();
        match keeps(end.node) {
            true => {
                kept = keep(machine, end.conn);
                for part in &kept {
                    gather.push(part);
                }
            }
            false => machine.transmit(end.conn, &mut gather),
        }
        if gather.is_empty() {
            this.ends[side as usize].wants_write = false;
            return false;
        }
        if room == 0 {
            return false;
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
                if let Some(recording) = &mut self.recording {
                    let event = self.trace.last();
                    recording.stream_sent(event, stream, side, (end.node, to), segment);
                }
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
        true
    }

    /// A segment, or the end of the stream, comes to the other end's host, if the way is open.
    pub(crate) fn arrive(&mut self, stream: StreamId, from: Side) {
        let now = self.now;
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        let to = from.other();
        let (sender, receiver) = (this.ends[from as usize], this.ends[to as usize]);
        let pipe = &mut this.pipes[from as usize];
        let severed = this.severed;
        let Some(segment) = pipe.segments.front() else {
            return;
        };
        if segment.at > now || pipe.blocked.is_some_and(|(_, again)| again > now) {
            return;
        }
        let host_down =
            self.nodes[usize::from(receiver.node)].state == NodeState::Down(Crash::Host);
        if severed || host_down || self.links.cut(sender.node, receiver.node) != Cut::Whole {
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
            self.notify_engine(receiver.node, Event::Deliver { stream, to });
        }
    }

    /// The way is blocked: the sender's kernel tries again, at growing intervals, and gives up in the end.
    pub(crate) fn retransmit(&mut self, stream: StreamId, from: Side) {
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
    pub(crate) fn deliver(&mut self, stream: StreamId, to: Side) {
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
                if let Some(recording) = &mut self.recording {
                    recording.stream_read(self.trace.last(), stream, to.other(), len);
                }
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
        // What a stranger leaves unread is no decision of an engine.
        if self.nodes[usize::from(node)].stranger.is_none() {
            self.note(node, kind, None, conn.to_u64(), &[], String::new);
        }
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
}

/// Whether a node's driver keeps what it writes, as one by completions does: every second node's. What travels is the same.
const fn keeps(node: u16) -> bool {
    node % 2 == 1
}

/// What such a driver takes for one write.
fn keep(machine: &impl Engine, conn: ConnId) -> Vec<Bytes> {
    let mut kept = Vec::new();
    machine.transmit_parts(conn, &mut |part| {
        kept.push(match part {
            Part::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Part::Shared(bytes) => bytes,
        });
        kept.len() < Gather::CAPACITY
    });
    kept
}
