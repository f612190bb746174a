//! What the operating systems and the network do between the engines.

use crate::agenda::Event;
use crate::link::Cut;
use crate::machine::{Machine, NodeId};
use crate::stream::{Side, StreamId};
use crate::world::{Crash, NodeState, World};

impl<M: Machine> World<M> {
    /// Lets a planned event happen.
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Timer { node, boot } => self.timer_fired(node, boot),
            Event::Wake { node } => self.wake(node),
            Event::Resume { node, boot } => {
                if self.boots(NodeId(node)) == boot {
                    self.resume(NodeId(node));
                }
            }
            Event::End { node, boot } => {
                if self.boots(NodeId(node)) == boot {
                    self.crash(NodeId(node), Crash::Process);
                }
            }
            Event::Syn { stream, tries } => self.syn(stream, tries),
            Event::Arrive { stream, from } => self.arrive(stream, from),
            Event::Datagram { node, index } => {
                let from = self.datagrams.get_mut(index).from;
                if self.links.cut(from, node) != Cut::Whole {
                    self.lose_datagram(node, index);
                } else {
                    self.notify_engine(node, event);
                }
            }
            Event::NotConnected { stream, .. } | Event::Connected { stream } => {
                self.notify_end(stream, Side::Initiator, event);
            }
            Event::Accept { stream } => self.notify_end(stream, Side::Acceptor, event),
            Event::Deliver { stream, to } | Event::Reset { stream, to } => {
                self.notify_end(stream, to, event)
            }
            Event::Writable { stream, of } => self.notify_end(stream, of, event),
        }
    }

    fn notify_end(&mut self, stream: StreamId, side: Side, event: Event) {
        if let Some(node) = self.streams.get(stream).map(|s| s.ends[side as usize].node) {
            self.notify_engine(node, event);
        }
    }

    pub(crate) fn notify_engine(&mut self, node: u16, event: Event) {
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
            // Matters of the world and of the kernel, which no process notices.
            Event::Syn { .. }
            | Event::Arrive { .. }
            | Event::Wake { .. }
            | Event::Resume { .. }
            | Event::End { .. } => {}
        }
    }
}
