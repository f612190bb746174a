//! Byte streams as two kernels keep them: segments on their way, a receive buffer, an end on each side.

use std::collections::VecDeque;

use folkmoot_core::engine::ConnId;

/// One of the two ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who asked for the connection.
    Initiator = 0,
    /// Who accepted it.
    Acceptor = 1,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Acceptor,
            Self::Acceptor => Self::Initiator,
        }
    }
}

/// A stream as long as it lives: a late event for an earlier user of the slot is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Where one end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// The initiator waits for an answer; the acceptor knows nothing yet.
    Connecting,
    /// The acceptor's kernel has it, its process does not know it yet.
    Backlog,
    /// The process holds it.
    Open,
    /// The process no longer holds it.
    Gone,
}

/// One end of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) node: u16,
    pub(crate) conn: ConnId,
    pub(crate) state: EndState,
    /// Whether the process wants to read.
    pub(crate) reading: bool,
    /// Whether the engine has bytes that have not been taken.
    pub(crate) wants_write: bool,
    /// Whether a [`Deliver`](crate::agenda::Event::Deliver) is planned.
    pub(crate) deliver_planned: bool,
    /// Whether a [`Writable`](crate::agenda::Event::Writable) is planned.
    pub(crate) writable_planned: bool,
}

impl End {
    fn new(node: u16, conn: ConnId) -> Self {
        Self {
            node,
            conn,
            state: EndState::Connecting,
            reading: true,
            wants_write: false,
            deliver_planned: false,
            writable_planned: false,
        }
    }
}

/// Bytes that left together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) at: u64,
    pub(crate) len: usize,
    /// Whether the stream ends after them.
    pub(crate) fin: bool,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Bytes from the first unread one to the last sent one.
    data: Vec<u8>,
    head: usize,
    /// How many of them lie in the receive buffer.
    arrived: usize,
    pub(crate) segments: VecDeque<Segment>,
    last_arrival: u64,
    pub(crate) fin_sent: bool,
    pub(crate) fin_arrived: bool,
    /// Since when retransmission has been trying, and the pause before the next try.
    pub(crate) blocked: Option<(u64, u64)>,
}

impl Pipe {
    /// Bytes sent and not yet read.
    pub(crate) fn unread(&self) -> usize {
        self.data.len() - self.head
    }

    /// Bytes in the receive buffer.
    pub(crate) fn readable(&self) -> usize {
        self.arrived
    }

    /// Appends bytes that arrive at `at`, or as soon as all before them have; says when.
    pub(crate) fn send(&mut self, bytes: &[u8], at: u64) -> u64 {
        self.data.extend_from_slice(bytes);
        self.push_segment(at, bytes.len(), false)
    }

    /// Ends the stream.
    pub(crate) fn send_fin(&mut self, at: u64) -> u64 {
        self.fin_sent = true;
        self.push_segment(at, 0, true)
    }

    fn push_segment(&mut self, at: u64, len: usize, fin: bool) -> u64 {
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.segments.push_back(Segment { at, len, fin });
        at
    }

    /// Moves what has arrived by `now` into the receive buffer.
    pub(crate) fn arrive(&mut self, now: u64) {
        self.blocked = None;
        while let Some(segment) = self.segments.front().copied().filter(|s| s.at <= now) {
            self.arrived += segment.len;
            self.fin_arrived |= segment.fin;
            self.segments.pop_front();
        }
    }

    /// Forgets what has not arrived: its sender's host is gone.
    pub(crate) fn forget_unsent(&mut self) {
        self.data.truncate(self.head + self.arrived);
        self.segments.clear();
        self.fin_sent = true;
    }

    /// Takes the buffer out for a read of up to `len` bytes; give it back with [`end_read`](Self::end_read).
    pub(crate) fn begin_read(&mut self, len: usize) -> (Vec<u8>, std::ops::Range<usize>) {
        let len = len.min(self.arrived);
        let range = self.head..self.head + len;
        self.head += len;
        self.arrived -= len;
        (std::mem::take(&mut self.data), range)
    }

    /// Gives the buffer back.
    pub(crate) fn end_read(&mut self, data: Vec<u8>) {
        self.data = data;
        if self.head == self.data.len() {
            self.data.clear();
            self.head = 0;
        } else if self.head > 64 << 10 {
            self.data.drain(..self.head);
            self.head = 0;
        }
    }

    fn reset(&mut self) {
        self.data.clear();
        // A buffer that once held a state transfer is not kept for small talk.
        self.data.shrink_to(64 << 10);
        self.segments.clear();
        let (data, segments) = (
            std::mem::take(&mut self.data),
            std::mem::take(&mut self.segments),
        );
        *self = Self {
            data,
            segments,
            ..Self::default()
        };
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    generation: u32,
    live: bool,
    /// Both ends, by [`Side`].
    pub(crate) ends: [End; 2],
    /// `pipes[s]` carries what side `s` sends.
    pub(crate) pipes: [Pipe; 2],
    /// When the initiator asked, nanoseconds.
    pub(crate) asked_at: u64,
    /// Something between the ends drops everything in silence.
    pub(crate) severed: bool,
}

/// All streams of a world.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u32>,
}

impl Streams {
    /// A stream that `from` has asked for at `now`.
    pub(crate) fn open(&mut self, from: u16, conn: ConnId, to: u16, now: u64) -> StreamId {
        let ends = [End::new(from, conn), End::new(to, ConnId::new(0, 0))];
        if let Some(index) = self.free.pop() {
            let stream = &mut self.slots[index as usize];
            stream.live = true;
            stream.ends = ends;
            stream.asked_at = now;
            stream.severed = false;
            let generation = stream.generation;
            return StreamId { index, generation };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Stream {
            generation: 0,
            live: true,
            ends,
            pipes: Default::default(),
            asked_at: now,
            severed: false,
        });
        StreamId {
            index,
            generation: 0,
        }
    }

    /// The stream, if it still lives.
    pub(crate) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        (self.slots.get_mut(id.index as usize))
            .filter(|stream| stream.live && stream.generation == id.generation)
    }

    /// Gives the slot back once neither process holds an end.
    pub(crate) fn free_if_gone(&mut self, id: StreamId) {
        let Some(stream) = self.get(id) else { return };
        let gone = |end: &End| end.state == EndState::Gone;
        let silent = |pipe: &Pipe| pipe.segments.is_empty();
        if stream.ends.iter().all(gone) && (stream.pipes.iter().all(silent) || stream.severed) {
            stream.live = false;
            stream.generation = stream.generation.wrapping_add(1);
            stream.pipes.iter_mut().for_each(Pipe::reset);
            self.free.push(id.index);
        }
    }

    /// The ids of all living streams, in slot order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        let living = (0u32..).zip(&self.slots).filter(|(_, stream)| stream.live);
        living.map(|(index, stream)| {
            let generation = stream.generation;
            (StreamId { index, generation }, stream)
        })
    }

    /// How many streams live.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_never_before_they_arrive() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(b"late", 20), 20);
        assert_eq!(
            pipe.send(b"overtaking", 10),
            20,
            "a stream does not overtake itself"
        );
        pipe.arrive(19);
        assert_eq!(pipe.readable(), 0);
        pipe.arrive(20);
        assert_eq!(pipe.readable(), 14);
        let (data, range) = pipe.begin_read(6);
        assert_eq!(&data[range], b"lateov");
        pipe.end_read(data);
        assert_eq!((pipe.readable(), pipe.unread()), (8, 8));
        let (data, range) = pipe.begin_read(100);
        assert_eq!(&data[range], b"ertaking");
        pipe.end_read(data);
        assert_eq!(pipe.unread(), 0);
    }

    #[test]
    fn a_late_event_does_not_find_the_next_user_of_a_slot() {
        let mut streams = Streams::default();
        let first = streams.open(0, ConnId::new(0, 0), 1, 0);
        for end in &mut streams.get(first).unwrap().ends {
            end.state = EndState::Gone;
        }
        streams.free_if_gone(first);
        let second = streams.open(2, ConnId::new(0, 0), 3, 0);
        assert_eq!(first.index, second.index);
        assert!(streams.get(first).is_none());
        assert_eq!(streams.get(second).unwrap().ends[0].node, 2);
    }
}
