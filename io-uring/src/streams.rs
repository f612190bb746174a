//! What the ring has under way for each of its streams.

use std::os::fd::RawFd;

use folkmoot_core::engine::ConnId;

/// A stream, as the driver thread knows it. The socket itself is in the engine's table, or waits to be closed.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) conn: ConnId,
    pub(crate) fd: RawFd,
    /// Its place in the ring's table of descriptors, if there was one left.
    pub(crate) fixed: Option<u32>,
    /// A multishot receive is under way.
    pub(crate) receiving: bool,
    /// A poll for room is under way.
    pub(crate) room: bool,
    /// A poll for failure is under way.
    pub(crate) trouble: bool,
    /// A bundle is under way.
    pub(crate) sending: bool,
    /// Its own direction is to end when that is over.
    pub(crate) half_closed: bool,
    /// Bytes that had been received when the engine wanted no more: at most what all buffers hold.
    pub(crate) held: Vec<u8>,
    /// The end of the stream was seen behind `held`.
    pub(crate) ended: bool,
    /// How many times in a row it has brought little.
    pub(crate) little: u32,
    /// It goes back to the readiness queue when its receive has ended.
    pub(crate) leaving: bool,
}

/// The ring's streams by slot.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Stream>>,
    count: usize,
}

impl Streams {
    /// Whether the ring has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn insert(&mut self, conn: ConnId, fd: RawFd, fixed: Option<u32>) {
        let slot = conn.slot() as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let former = self.slots[slot].replace(Stream {
            conn,
            fd,
            fixed,
            receiving: false,
            room: false,
            trouble: false,
            sending: false,
            half_closed: false,
            held: Vec::new(),
            ended: false,
            little: 0,
            leaving: false,
        });
        self.count += usize::from(former.is_none());
    }

    pub(crate) fn get(&mut self, conn: ConnId) -> Option<&mut Stream> {
        let stream = self.slots.get_mut(conn.slot() as usize)?.as_mut();
        stream.filter(|stream| stream.conn == conn)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Stream> {
        self.get(conn)?;
        self.count -= 1;
        self.slots.get_mut(conn.slot() as usize)?.take()
    }
}
