//! Datagrams on their way, each kept once however many receivers it has.

use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Target};

use crate::agenda::Event;
use crate::link::Cut;
use crate::machine::{Machine, NodeId};
use crate::trace::TraceKind;
use crate::world::{NodeState, World};

/// A multicast datagram comes from this port.
const MULTICAST_PORT: u16 = 45564;

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

    pub(crate) fn carry_datagram(&mut self, from: u16, to: u16, index: u32) {
        let config = self.links.config();
        let (loss, double) = (config.datagram_loss, config.datagram_double);
        self.stats.datagrams += 1;
        let cut = self.links.cut(from, to) != Cut::Whole;
        let lost = from != to && self.rng.chance(loss);
        if matches!(self.nodes[usize::from(to)].state, NodeState::Down(_)) || cut || lost {
            self.stats.datagrams_lost += 1;
            self.record_datagram((from, to), index, true);
            return;
        }
        let copies = if self.rng.chance(double) { 2 } else { 1 };
        for _ in 0..copies {
            self.datagrams.add_copy(index);
            self.record_datagram((from, to), index, false);
            let at = self.links.delay(self.now, from, to, &mut self.rng);
            self.agenda.plan(at, Event::Datagram { node: to, index });
        }
    }

    fn record_datagram(&mut self, ends: (u16, u16), index: u32, lost: bool) {
        if let Some(recording) = &mut self.recording {
            let bytes = &self.datagrams.get_mut(index).bytes;
            recording.datagram_sent(self.trace.last(), index, ends, bytes, lost);
        }
    }

    /// A copy is dropped on its way or at its end.
    pub(crate) fn lose_datagram(&mut self, node: u16, index: u32) {
        self.stats.datagrams_lost += 1;
        if let Some(recording) = &mut self.recording {
            recording.datagram_ended(None, index, node);
        }
        self.note(node, TraceKind::DatagramLost, None, 0, &[], String::new);
        self.datagrams.drop_copy(index);
    }

    pub(crate) fn receive_datagram(&mut self, node: u16, index: u32) {
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
            if let Some(recording) = &mut self.recording {
                recording.datagram_ended(Some(self.trace.last()), index, node);
            }
            machine.handle(now, Input::Datagram { from, bytes });
        }
        self.datagrams.drop_copy(index);
        self.drain(node);
    }
}
