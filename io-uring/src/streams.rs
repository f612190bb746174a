//! What the ring has under way for each stream.

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
    /// Bytes that had been received when the engine wanted no more: at most what all buffers hold.
    pub(crate) held: Vec<u8>,
    /// The end of the stream was seen behind `held`.
    pub(crate) ended: bool,
}

/// Streams by slot.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<Option<Stream>>);

impl Streams {
    pub(crate) fn insert(&mut self, conn: ConnId, fd: RawFd, fixed: Option<u32>) {
        let slot = conn.slot() as usize;
        if slot >= self.0.len() {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(Stream {
            conn,
            fd,
            fixed,
            receiving: false,
            room: false,
            trouble: false,
            held: Vec::new(),
            ended: false,
        });
    }

    pub(crate) fn get(&mut self, conn: ConnId) -> Option<&mut Stream> {
        let stream = self.0.get_mut(conn.slot() as usize)?.as_mut();
        stream.filter(|stream| stream.conn == conn)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Stream> {
        self.get(conn)?;
        self.0.get_mut(conn.slot() as usize)?.take()
    }
}
