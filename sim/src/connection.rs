//! How connections begin and end, as two kernels and their processes see it.

use std::net::SocketAddr;

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Input};

use crate::agenda::Event;
use crate::link::Cut;
use crate::machine::{Machine, NodeId};
use crate::stream::{EndState, Side, StreamId};
use crate::trace::{TraceKind, reason_text};
use crate::world::{Crash, NodeState, World};

/// The pause before a connection request is sent again, nanoseconds.
const SYN_AGAIN_NS: u64 = 1_000_000_000;

impl<M: Machine> World<M> {
    /// The engine asks for a connection.
    pub(crate) fn connect(&mut self, node: u16, conn: ConnId, to: SocketAddr) {
        self.stats.connects += 1;
        let target = NodeId::at(to, self.nodes.len()).filter(|target| target.address() == to);
        let peer = target.map_or(node, |target| target.0);
        let stream = self.streams.open(node, conn, peer, self.now);
        if let Some(recording) = &mut self.recording {
            recording.stream_opened(stream);
        }
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
    pub(crate) fn bind(&mut self, node: u16, conn: ConnId, stream: StreamId, side: Side) {
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
    pub(crate) fn lookup(
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

    pub(crate) fn syn(&mut self, stream: StreamId, tries: u8) {
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
        let listens = matches!(listener.state, NodeState::Running | NodeState::Paused);
        if cut == Cut::Whole && listens && listener.backlog >= backlog {
            self.stats.accept_queues_full += 1;
        }
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
        self.notify_engine(to, Event::Accept { stream });
    }

    pub(crate) fn connected(&mut self, stream: StreamId) {
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

    pub(crate) fn accept(&mut self, stream: StreamId) {
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

    /// The engine has said all on a connection, and goes on listening.
    pub(crate) fn half_close(&mut self, node: u16, conn: ConnId) {
        let Some((stream, side)) = self.lookup(node, conn, "HalfClose") else {
            return;
        };
        self.write_last(stream, side);
        let text = String::new;
        self.note(node, TraceKind::HalfClose, None, conn.to_u64(), &[], text);
        self.send_fin(stream, side);
    }

    /// Takes what waits, as far as the window has room.
    fn write_last(&mut self, stream: StreamId, side: Side) {
        if let Some(this) = self.streams.get(stream) {
            this.ends[side as usize].wants_write = true;
        }
        self.write(stream, side);
    }

    /// Says that nothing follows in one direction.
    fn send_fin(&mut self, stream: StreamId, side: Side) {
        let now = self.now;
        let Some(this) = self.streams.get(stream) else {
            return;
        };
        if this.pipes[side as usize].fin_sent {
            return;
        }
        let (node, peer) = (
            this.ends[side as usize].node,
            this.ends[side.other() as usize].node,
        );
        let at = self.links.delay(now, node, peer, &mut self.rng);
        let at = this.pipes[side as usize].send_fin(at);
        self.agenda.plan(at, Event::Arrive { stream, from: side });
    }

    /// The engine closes a connection.
    pub(crate) fn close(&mut self, node: u16, conn: ConnId) {
        let Some((stream, side)) = self.lookup(node, conn, "Close") else {
            return;
        };
        self.write_last(stream, side);
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

    /// The engine gives a connection up: nothing of it is to arrive any more.
    pub(crate) fn abort(&mut self, node: u16, conn: ConnId) {
        let Some((stream, side)) = self.lookup(node, conn, "Abort") else {
            return;
        };
        let text = || "abort".to_owned();
        self.note(node, TraceKind::Close, None, conn.to_u64(), &[], text);
        self.unbind(node, conn);
        self.release(stream, side, true);
    }

    pub(crate) fn unbind(&mut self, node: u16, conn: ConnId) {
        let ends = &mut self.nodes[usize::from(node)].ends;
        if let Some(end) = ends.get_mut(conn.slot() as usize)
            && end.is_some_and(|(bound, _, _)| bound == conn)
        {
            *end = None;
        }
    }

    /// A process no longer holds its end: the other end gets a reset, or the end of the stream.
    pub(crate) fn release(&mut self, stream: StreamId, side: Side, reset: bool) {
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
            _ => self.send_fin(stream, side),
        }
        self.streams.free_if_gone(stream);
    }

    /// A connection is closed under its engine.
    pub(crate) fn end_closed(&mut self, stream: StreamId, side: Side, reason: CloseReason) {
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
    pub(crate) fn reset(&mut self, stream: StreamId, to: Side) {
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
}
