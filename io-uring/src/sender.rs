//! Bytes that leave with the submission that waits: copied together, so that nothing of the engine's is under way
//! while its lock is free.

use std::io;
use std::ptr::NonNull;

use folkmoot_core::engine::{ConnId, Gather};

use crate::memory::Pages;

/// Answers of one turn that find room; others are written at once.
const CAPACITY: usize = 64 * 1024;
/// More bytes than these of one stream are written from where they lie.
pub(crate) const SMALL: usize = 4 * 1024;

/// One stream's bytes of this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) conn: ConnId,
    at: usize,
    len: usize,
}

/// What this turn sends. The kernel reads it during the submission only: the requests are made not to wait.
#[derive(Debug)]
pub(crate) struct Sender {
    pages: Pages,
    used: usize,
    outgoing: Vec<Outgoing>,
}

impl Sender {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            pages: Pages::new(CAPACITY)?,
            used: 0,
            outgoing: Vec::with_capacity(64),
        })
    }

    /// Whether `len` bytes may be taken.
    pub(crate) fn fits(&self, len: usize) -> bool {
        len <= SMALL && len <= CAPACITY - self.used
    }

    /// Copies what `fits` and gives where it lies and how long it is.
    pub(crate) fn take(&mut self, conn: ConnId, gather: &Gather<'_>) -> (NonNull<u8>, u32) {
        self.copy(conn, gather.runs(), gather.len())
    }

    /// As [`take`](Self::take), of bytes that had to wait for room.
    pub(crate) fn take_again(&mut self, conn: ConnId, rest: &[u8]) -> (NonNull<u8>, u32) {
        self.copy(conn, &[rest], rest.len())
    }

    fn copy(&mut self, conn: ConnId, runs: &[&[u8]], len: usize) -> (NonNull<u8>, u32) {
        let at = self.used;
        for run in runs {
            self.pages.write(self.used, run);
            self.used += run.len();
        }
        self.outgoing.push(Outgoing { conn, at, len });
        (self.pages.at(at, len), len as u32)
    }

    /// What was submitted; the memory may be used again when it has been dealt with.
    pub(crate) fn outgoing(&self) -> &[Outgoing] {
        &self.outgoing
    }

    /// What the socket did not take of a submission that had no room.
    pub(crate) fn rest(&self, outgoing: Outgoing, written: usize) -> &[u8] {
        let written = written.min(outgoing.len);
        // SAFETY: the submission is over, and the kernel only ever reads these bytes.
        unsafe {
            self.pages
                .read(outgoing.at + written, outgoing.len - written)
        }
    }

    /// The submission has been dealt with.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.outgoing.clear();
    }
}
