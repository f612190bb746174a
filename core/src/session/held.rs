//! Messages that cannot be applied yet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use super::receive::Source;
use super::{EventType, SessionId};
use crate::channel::MemberIndex;
use crate::time::Instant;

/// Strangers remembered until the next pump; those beyond lose their connection another time.
const IN_VAIN_MAX: usize = 64;

/// A session message that outlives its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) kind: EventType,
    pub(crate) source: Source,
    pub(crate) timestamp_ms: i64,
    pub(crate) id: SessionId,
    pub(crate) payload: Bytes,
}

impl Held {
    /// The bytes it costs, its place in the queue included.
    fn cost(&self) -> usize {
        self.payload
            .len()
            .saturating_add(self.id.as_modified_utf8().len())
            .saturating_add(size_of::<Self>())
    }
}

/// What arrived while a state transfer runs, in order. `receivedMessageQueue`.
#[derive(Clone, Debug)]
pub(crate) struct HeldQueue {
    messages: VecDeque<Held>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl HeldQueue {
    pub(crate) const fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            messages_max,
            bytes_max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn push(&mut self, message: Held) {
        self.bytes = self.bytes.saturating_add(message.cost());
        self.messages.push_back(message);
    }

    /// The wrong end of the queue; see [`Bug::DeltaOutOfOrder`](crate::plant::Bug::DeltaOutOfOrder).
    pub(crate) fn pop_newest(&mut self) -> Option<Held> {
        let message = self.messages.pop_back()?;
        self.bytes = self.bytes.saturating_sub(message.cost());
        Some(message)
    }

    pub(crate) fn pop(&mut self) -> Option<Held> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.cost());
        Some(message)
    }

    /// Whether the oldest has to go.
    pub(crate) fn is_over_full(&self) -> bool {
        self.messages.len() > self.messages_max || self.bytes > self.bytes_max
    }
}

/// Messages about sessions that are not there yet: a delta may overtake the message that creates its session, and a
/// state transfer may bring it.
///
/// Bounded in number, bytes and time.
#[derive(Clone, Debug)]
pub(crate) struct EarlyRoom {
    by_id: HashMap<SessionId, VecDeque<(u64, Held)>>,
    /// Every message in order of arrival; one that has been taken is no longer in `by_id`.
    order: VecDeque<(Instant, u64, SessionId)>,
    next: u64,
    messages: usize,
    bytes: usize,
    wait: Duration,
    messages_max: usize,
    bytes_max: usize,
    /// Who sent what had to go.
    in_vain: Vec<MemberIndex>,
}

impl EarlyRoom {
    pub(crate) fn new(wait: Duration, messages_max: usize, bytes_max: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            messages: 0,
            bytes: 0,
            wait,
            messages_max,
            bytes_max,
            in_vain: Vec::new(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.messages
    }

    /// Lets a message wait until `now` plus the configured time; gives how many others, or itself, had to go.
    pub(crate) fn push(&mut self, now: Instant, message: Held) -> u64 {
        let cost = message.cost();
        if cost > self.bytes_max {
            self.remember(message.source);
            return 1;
        }
        let mut dropped = 0;
        while self.messages >= self.messages_max || self.bytes.saturating_add(cost) > self.bytes_max
        {
            if !self.drop_oldest() {
                break;
            }
            dropped = u64::saturating_add(dropped, 1);
        }
        self.next = self.next.wrapping_add(1);
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(cost);
        self.order
            .push_back((now + self.wait, self.next, message.id.clone()));
        let queue = self.by_id.entry(message.id.clone()).or_default();
        queue.push_back((self.next, message));
        dropped
    }

    /// Takes all that wait for `id`, in order.
    pub(crate) fn take(&mut self, id: &[u8]) -> VecDeque<(u64, Held)> {
        let taken = self.by_id.remove(id).unwrap_or_default();
        for (_, message) in &taken {
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(message.cost());
        }
        // Entries of taken messages go when their time comes, or here, when they are the majority.
        if self.order.len() > self.messages.saturating_mul(2).saturating_add(64) {
            let by_id = &self.by_id;
            self.order
                .retain(|(_, serial, id)| is_waiting(by_id, id, *serial));
        }
        taken
    }

    /// Drops what has waited long enough; gives how many.
    pub(crate) fn drop_old(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            dropped = u64::saturating_add(dropped, u64::from(self.drop_front()));
        }
        dropped
    }

    /// When the next one has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(until, ..)| *until)
    }

    fn drop_oldest(&mut self) -> bool {
        while !self.order.is_empty() {
            if self.drop_front() {
                return true;
            }
        }
        false
    }

    /// Removes the first entry; whether a message went with it.
    fn drop_front(&mut self) -> bool {
        let Some((_, serial, id)) = self.order.pop_front() else {
            return false;
        };
        if !is_waiting(&self.by_id, &id, serial) {
            return false;
        }
        let Some(queue) = self.by_id.get_mut(&id) else {
            return false;
        };
        if let Some((_, message)) = queue.pop_front() {
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(message.cost());
            let source = message.source;
            if queue.is_empty() {
                self.by_id.remove(&id);
            }
            self.remember(source);
        }
        true
    }

    fn remember(&mut self, source: Source) {
        if let Some(index) = source.index
            && !self.in_vain.contains(&index)
            && self.in_vain.len() < IN_VAIN_MAX
        {
            self.in_vain.push(index);
        }
    }

    /// Who sent messages that waited in vain, since this was last asked.
    pub(crate) fn take_in_vain(&mut self) -> Vec<MemberIndex> {
        core::mem::take(&mut self.in_vain)
    }
}

fn is_waiting(
    by_id: &HashMap<SessionId, VecDeque<(u64, Held)>>,
    id: &SessionId,
    serial: u64,
) -> bool {
    // Each queue is in order, and entries leave it from the front or all together.
    let front = by_id.get(id).and_then(VecDeque::front);
    front.is_some_and(|(first, _)| *first <= serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: usize, len: usize) -> Held {
        Held {
            kind: EventType::SessionDelta,
            source: Source::default(),
            timestamp_ms: 0,
            id: SessionId::from(std::format!("S{id}")),
            payload: std::vec![0; len].into(),
        }
    }

    #[test]
    fn early_messages_are_bounded_in_number_bytes_and_time() {
        let cost = message(0, 100).cost();
        let mut room = EarlyRoom::new(Duration::from_secs(1), 4, 3 * cost);
        let at = Instant::from_millis;
        assert_eq!(
            (0..3)
                .map(|n| room.push(at(n as u64), message(n, 100)))
                .sum::<u64>(),
            0
        );
        assert_eq!(
            room.push(at(3), message(3, 100)),
            1,
            "the oldest makes room"
        );
        assert_eq!((room.len(), room.take(b"S0").len()), (3, 0));
        assert_eq!(
            room.push(at(4), message(9, 4 * cost)),
            1,
            "what can never fit is not let in"
        );
        assert_eq!(room.take(b"S2").len(), 1);
        assert_eq!(room.deadline(), Some(at(1001)));
        assert_eq!(room.drop_old(at(1002)), 1, "one has been taken");
        assert_eq!(room.drop_old(at(9999)), 1);
        assert_eq!((room.len(), room.bytes, room.deadline()), (0, 0, None));
    }

    #[test]
    fn senders_whose_messages_waited_in_vain_are_told_once() {
        let index = |slot| MemberIndex {
            slot,
            generation: 0,
        };
        let from = |slot| Source {
            index: Some(index(slot)),
            ..Source::default()
        };
        let mut room = EarlyRoom::new(Duration::from_secs(1), 100, 1 << 20);
        let sent = [(1, from(1)), (2, from(1)), (3, from(3)), (4, from(4))];
        for (id, source) in sent {
            let message = Held {
                source,
                ..message(id, 1)
            };
            room.push(Instant::ZERO, message);
        }
        room.take(b"S4");
        assert_eq!(room.take_in_vain(), []);
        assert_eq!(room.drop_old(Instant::from_millis(1000)), 3);
        assert_eq!(room.take_in_vain(), [1, 3].map(index));
        assert_eq!(room.take_in_vain(), []);
    }

    #[test]
    fn messages_of_one_session_keep_their_order() {
        let mut room = EarlyRoom::new(Duration::from_secs(1), 100, 1 << 20);
        for len in [3, 1, 2] {
            room.push(Instant::ZERO, message(1, len));
            room.push(Instant::ZERO, message(2, len));
        }
        let lengths: std::vec::Vec<_> = room
            .take(b"S1")
            .iter()
            .map(|(_, held)| held.payload.len())
            .collect();
        assert_eq!(lengths, [3, 1, 2]);
        assert_eq!(room.len(), 3);
    }

    #[test]
    fn taking_leaves_no_growing_traces() {
        let mut room = EarlyRoom::new(Duration::from_secs(1), 1000, 1 << 20);
        for n in 0..10_000 {
            room.push(Instant::ZERO, message(n, 1));
            assert_eq!(room.take(std::format!("S{n}").as_bytes()).len(), 1);
        }
        assert!(room.order.len() <= 65 && room.by_id.is_empty());
    }
}
