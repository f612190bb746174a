//! The streams that are open, by the ids the engine gave them.

use std::io::{self, IoSlice, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use folkmoot_core::engine::{ConnId, Gather};
use mio::net::TcpStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The operating system is on its way to the peer.
    Connecting,
    /// Bytes may flow.
    Open,
}

/// One stream and what is known of its readiness. Interest in both directions stays registered for its whole
/// life, edge-triggered: what an edge said is remembered here until it is used up.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) conn: ConnId,
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Phase,
    /// The last write found no room; the next writable edge ends that.
    pub(crate) blocked: bool,
    /// The engine wants nothing read.
    pub(crate) paused: bool,
    /// An edge came while paused: reading goes on at `ResumeRead`.
    pub(crate) held: bool,
    /// The peer's end or an error was announced: a short read is not yet the last.
    pub(crate) ended: bool,
    /// A thread reads it, unless this says that nothing is to be read: here it is only written to.
    pub(crate) elsewhere: Option<Arc<AtomicBool>>,
    /// Waits in the queue of streams that have more to read.
    pub(crate) in_ready: bool,
    /// Waits in the queue of streams that have something to write.
    pub(crate) in_dirty: bool,
}

impl Stream {
    pub(crate) fn new(conn: ConnId, socket: TcpStream, peer: SocketAddr, phase: Phase) -> Self {
        Self {
            conn,
            socket,
            peer,
            phase,
            blocked: false,
            paused: false,
            held: false,
            ended: false,
            elsewhere: None,
            in_ready: false,
            in_dirty: false,
        }
    }

    /// Whether a write may find room.
    pub(crate) fn can_write(&self) -> bool {
        self.phase == Phase::Open && !self.blocked
    }

    /// One vectored write straight from the engine's memory.
    pub(crate) fn write(&mut self, gather: &Gather<'_>) -> io::Result<usize> {
        match gather.runs() {
            [run] => self.socket.write(run),
            runs => {
                let mut slices = [IoSlice::new(&[]); Gather::CAPACITY];
                let mut used = 0;
                for (slice, run) in slices.iter_mut().zip(runs) {
                    *slice = IoSlice::new(run);
                    used += 1;
                }
                self.socket.write_vectored(&slices[..used])
            }
        }
    }
}

/// Streams by slot. The engine keeps slots small; the generation tells a late request from a current one.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Stream>>,
    open: usize,
}

impl Streams {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Stream> {
        self.by_slot(conn.slot() as usize)
            .filter(|stream| stream.conn == conn)
    }

    /// The stream an event is about. An event that was fetched before the slot changed hands finds the new
    /// stream; it is then no more than a spurious edge.
    pub(crate) fn by_slot(&mut self, slot: usize) -> Option<&mut Stream> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Puts a stream into its slot; gives back a former one that the engine has forgotten to close.
    pub(crate) fn insert(&mut self, stream: Stream) -> Option<Stream> {
        let slot = stream.conn.slot() as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let former = self.slots[slot].replace(stream);
        self.open += usize::from(former.is_none());
        former
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Stream> {
        self.get_mut(conn)?;
        self.open -= 1;
        self.slots.get_mut(conn.slot() as usize)?.take()
    }

    /// The ids of all streams.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.slots.iter().flatten().map(|s| s.conn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(slot: u32, generation: u32) -> Stream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let peer = listener.local_addr().expect("bound");
        let socket = TcpStream::connect(peer).expect("loopback");
        Stream::new(
            ConnId::new(slot, generation),
            socket,
            peer,
            Phase::Connecting,
        )
    }

    #[test]
    fn a_late_request_does_not_reach_the_slots_next_user() {
        let mut streams = Streams::default();
        assert!(streams.insert(stream(3, 1)).is_none());
        assert!(streams.remove(ConnId::new(3, 0)).is_none());
        assert!(streams.get_mut(ConnId::new(3, 2)).is_none());
        assert!(streams.by_slot(3).is_some());
        assert_eq!(streams.len(), 1);
        assert!(streams.remove(ConnId::new(3, 1)).is_some());
        assert!(streams.by_slot(3).is_none());
        assert_eq!(streams.len(), 0);
    }

    #[test]
    fn a_forgotten_stream_is_given_back() {
        let mut streams = Streams::default();
        assert!(streams.insert(stream(0, 1)).is_none());
        let former = streams.insert(stream(0, 2)).expect("was there");
        assert_eq!(former.conn, ConnId::new(0, 1));
        assert_eq!(streams.len(), 1);
    }
}
