//! What is going to happen, earliest first; what happens at one instant happens in the order it was
//! planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::stream::{Side, StreamId};
use folkmoot_core::engine::CloseReason;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A node's engine asked to be woken; `boot` tells a dead incarnation's wish from a living one's.
    Timer { node: u16, boot: u32 },
    /// A connection request reaches the host it is for, the `tries`th one.
    Syn { stream: StreamId, tries: u8 },
    /// The one who asked for a connection learns that there is none.
    NotConnected {
        stream: StreamId,
        reason: CloseReason,
    },
    /// The one who asked for a connection learns that it stands.
    Connected { stream: StreamId },
    /// A connection waits in the listener's queue.
    Accept { stream: StreamId },
    /// A segment that `from` sent reaches the other end's host.
    Arrive { stream: StreamId, from: Side },
    /// `to` may read what lies in its receive buffer.
    Deliver { stream: StreamId, to: Side },
    /// `of` may write again.
    Writable { stream: StreamId, of: Side },
    /// `to` learns that its connection was reset.
    Reset { stream: StreamId, to: Side },
    /// A datagram reaches a node.
    Datagram { node: u16, index: u32 },
    /// A paused node is let go on, if it is still that life of it.
    Resume { node: u16, boot: u32 },
    /// A node that was leaving ends, if it is still that life of it.
    End { node: u16, boot: u32 },
    /// A node that was busy or paused goes on.
    Wake { node: u16 },
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

impl Agenda {
    /// Plans `event` for `at`, nanoseconds of virtual time.
    pub(crate) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        let order = self.planned;
        self.heap.push(Planned { at, order, event });
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|planned| planned.at)
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_the_order_they_were_planned_in() {
        let mut agenda = Agenda::default();
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3), (5, 4)] {
            agenda.plan(at, Event::Timer { node, boot: 0 });
        }
        let mut seen = vec![];
        while let Some((at, Event::Timer { node, .. })) = agenda.pop() {
            seen.push((at, node));
        }
        assert_eq!(seen, [(3, 1), (3, 3), (5, 0), (5, 2), (5, 4)]);
    }
}
