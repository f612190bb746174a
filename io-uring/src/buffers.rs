//! Buffers that the kernel fills in an order of its own: one ring of them for all connections.

use std::io;

use io_uring::{IoUring, Submitter};

use crate::entries::Entries;
use crate::memory::Pages;

/// The kernel fills a buffer piece by piece: bytes of the next receive follow those of the last (`IOU_PBUF_RING_INC`).
const INCREMENTAL: u16 = 2;

/// A group of buffers. Each is the kernel's from [`give`](Self::give) to the completion that names it.
///
/// The memory must outlive the requests that may write to it: the owner drops it after the ring is quiet, or never.
#[derive(Debug)]
pub(crate) struct Buffers {
    entries: Entries,
    slab: Pages,
    size: u32,
    count: u16,
    incremental: bool,
    /// Bytes of each that have been filled and read already.
    used: Vec<u32>,
    /// Which buffer was given after each: a bundle goes on there.
    next: Vec<u16>,
    last: u16,
}

/// A run of received bytes: where in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    buffer: u16,
    at: usize,
    len: usize,
}

impl Buffers {
    /// `count` buffers of `size` bytes, a power of two of them, given to `uring` as `group`.
    pub(crate) fn new(
        uring: &IoUring,
        group: u16,
        count: u16,
        size: u32,
        incremental: bool,
    ) -> io::Result<Self> {
        let mut buffers = Self::unregistered(group, count, size, incremental)?;
        let flags = if incremental { INCREMENTAL } else { 0 };
        buffers.entries.register(uring, flags)?;
        for buffer in 0..count {
            buffers.give(buffer);
        }
        Ok(buffers)
    }

    fn unregistered(group: u16, count: u16, size: u32, incremental: bool) -> io::Result<Self> {
        Ok(Self {
            entries: Entries::new(group, count)?,
            slab: Pages::new(usize::from(count) * size as usize)?,
            size,
            count,
            incremental,
            used: vec![0; count.into()],
            next: (1..=count).map(|next| next % count).collect(),
            last: count - 1,
        })
    }

    /// The group's number.
    pub(crate) fn group(&self) -> u16 {
        self.entries.group()
    }

    /// Takes the group from the kernel, which may fill no buffer afterwards.
    pub(crate) fn withdraw(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        self.entries.withdraw(submitter)
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, buffer: u16) {
        let start = self.slab.at(usize::from(buffer) * self.size as usize, 0);
        let address = start.as_ptr().addr() as u64;
        self.entries.push(address, self.size, buffer);
        self.next[usize::from(self.last)] = buffer;
        self.last = buffer;
        self.entries.publish();
    }

    /// The runs that `len` bytes lie in, from `buffer` on, as the kernel has filled them.
    fn pieces(&self, buffer: u16, len: usize) -> impl Iterator<Item = Piece> {
        let size = self.size as usize;
        let mut here = buffer;
        let mut left = len;
        let mut seen = 0;
        std::iter::from_fn(move || {
            let used = *self.used.get(usize::from(here))? as usize;
            // A count that no buffers can hold is not the kernel's: stop rather than go round.
            if left == 0 || seen == self.count {
                return None;
            }
            seen += 1;
            let len = left.min(size - used);
            let at = usize::from(here) * size + used;
            let buffer = here;
            left -= len;
            here = self.next[usize::from(buffer)];
            Some(Piece { buffer, at, len })
        })
    }

    /// Shows each run of the `len` bytes that a completion says begin in `buffer`: runs that touch are one.
    pub(crate) fn read(&self, buffer: u16, len: usize, mut show: impl FnMut(&[u8])) {
        // SAFETY: the kernel has filled these bytes and said so, and writes no more to them before `recycle`.
        let mut show = |(at, len)| show(unsafe { self.slab.read(at, len) });
        let mut run: Option<(usize, usize)> = None;
        for piece in self.pieces(buffer, len) {
            run = match run {
                Some((at, len)) if at + len == piece.at => Some((at, len + piece.len)),
                Some(whole) => {
                    show(whole);
                    Some((piece.at, piece.len))
                }
                None => Some((piece.at, piece.len)),
            };
        }
        if let Some(whole) = run {
            show(whole);
        }
    }

    /// Gives back what a completion has taken, when its bytes are not needed any more. `more` is the completion's word
    /// that the last buffer will be filled further.
    pub(crate) fn recycle(&mut self, buffer: u16, len: usize, more: bool) {
        let mut here = buffer;
        let mut left = len;
        loop {
            let Some(piece) = self.pieces(here, left).next() else {
                return;
            };
            let next = self.next[usize::from(here)];
            left -= piece.len;
            if self.incremental && left == 0 && more {
                self.used[usize::from(here)] += piece.len as u32;
                return;
            }
            self.used[usize::from(here)] = 0;
            self.give(here);
            here = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn filled(count: u16, incremental: bool) -> Buffers {
        let mut buffers = Buffers::unregistered(0, count, 4, incremental).unwrap();
        for number in 0..count {
            buffers
                .slab
                .write(usize::from(number) * 4, &[number as u8; 4]);
            buffers.give(number);
        }
        buffers
    }

    fn runs(buffers: &Buffers, buffer: u16, len: usize) -> Vec<Vec<u8>> {
        let mut runs = vec![];
        buffers.read(buffer, len, |run| runs.push(run.to_vec()));
        runs
    }

    #[test]
    fn a_bundle_is_one_run_as_far_as_its_buffers_touch() {
        let mut buffers = filled(4, false);
        assert_eq!(runs(&buffers, 1, 3), [[1, 1, 1]]);
        assert_eq!(runs(&buffers, 1, 6), [[1, 1, 1, 1, 2, 2]]);
        // Completions need not come in the order in which buffers were filled: 0 and 1 are another stream's.
        buffers.recycle(2, 8, false);
        assert_eq!(runs(&buffers, 0, 8), [[0, 0, 0, 0, 1, 1, 1, 1]]);
        buffers.recycle(0, 8, false);
        // Given back as 2, 3, 0, 1: a bundle from 3 goes on at 0.
        assert_eq!(
            runs(&buffers, 3, 6),
            [vec![3, 3, 3, 3], vec![0, 0]],
            "in two runs"
        );
        assert_eq!(buffers.entries.shared_tail().load(Ordering::Relaxed), 8);
    }

    #[test]
    fn an_incremental_buffer_is_read_on_where_the_last_receive_ended() {
        let mut buffers = filled(2, true);
        buffers.slab.write(0, b"abcd");
        assert_eq!(runs(&buffers, 0, 3), [b"abc"]);
        buffers.recycle(0, 3, true);
        assert_eq!(runs(&buffers, 0, 1), [b"d"]);
        buffers.recycle(0, 1, false);
        assert_eq!(buffers.entries.shared_tail().load(Ordering::Relaxed), 3);
        assert_eq!(runs(&buffers, 0, 2), [b"ab"]);
        // Retired before it was full.
        buffers.recycle(0, 2, false);
        assert_eq!(runs(&buffers, 0, 2), [b"ab"]);
    }

    #[test]
    fn a_count_that_cannot_be_true_ends() {
        let mut buffers = filled(2, false);
        assert_eq!(runs(&buffers, 9, 1), [[]; 0] as [[u8; 0]; 0]);
        assert_eq!(runs(&buffers, 0, 1_000).concat().len(), 8);
        buffers.recycle(9, 1, false);
    }
}
