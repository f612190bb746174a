//! Bundles: what waits on a stream, kept here until the kernel has sent it with one request.
//!
//! A bundle is a group of buffers of its own, since the kernel takes what a group has in order and for whoever asks. The
//! engine is told that its bytes are written as soon as they are kept, as if the socket had taken them: an answer may come
//! before the kernel has said anything.

use std::io;

use bytes::Bytes;
use folkmoot_core::engine::{ConnId, Part};
use io_uring::{IoUring, Submitter};

use crate::entries::Entries;
use crate::memory::Pages;

/// Runs of bytes in a bundle.
pub(crate) const RUNS: u16 = 64;
/// Bytes of a bundle that are copied: a channel lends no run that is longer.
pub(crate) const COPIES: usize = 256 * 1024;
/// Bundles under way at a time; streams beyond are written to by calls.
pub(crate) const BUNDLES: u16 = 32;
/// Groups of buffers below are others'.
const FIRST: u16 = 1;

/// A run of bytes that stays where it is until the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    address: u64,
    len: u32,
}

/// What one request sends.
#[derive(Debug)]
pub(crate) struct Bundle {
    entries: Entries,
    runs: Vec<Run>,
    /// Bytes that were lent.
    copies: Pages,
    copied: usize,
    /// Bytes that are shared: runs point into them.
    kept: Vec<Bytes>,
    len: usize,
    max: usize,
    /// Bytes that the kernel says it has sent.
    sent: usize,
    /// Whose they are.
    conn: ConnId,
}

impl Bundle {
    fn new(group: u16) -> io::Result<Self> {
        Ok(Self {
            entries: Entries::new(group, RUNS)?,
            runs: Vec::with_capacity(RUNS.into()),
            copies: Pages::new(COPIES)?,
            copied: 0,
            kept: Vec::with_capacity(RUNS.into()),
            len: 0,
            max: 0,
            sent: 0,
            conn: ConnId::new(0, 0),
        })
    }

    fn start(&mut self, conn: ConnId, max: usize) {
        self.conn = conn;
        self.max = max;
        self.forget();
    }

    fn forget(&mut self) {
        self.runs.clear();
        self.kept.clear();
        (self.copied, self.len, self.sent) = (0, 0, 0);
    }

    /// The number of its group.
    pub(crate) fn group(&self) -> u16 {
        self.entries.group()
    }

    /// Keeps as much of `part` as there is room for; how many bytes that are.
    pub(crate) fn keep(&mut self, part: Part<'_>) -> usize {
        let room = (self.max - self.len).min(u32::MAX as usize);
        if self.runs.len() == usize::from(RUNS) || room == 0 {
            return 0;
        }
        let kept = match part {
            Part::Lent(bytes) => {
                let len = bytes.len().min(room).min(COPIES - self.copied);
                if len == 0 {
                    return 0;
                }
                self.copies.write(self.copied, &bytes[..len]);
                let address = self.copies.at(self.copied, len).as_ptr().addr() as u64;
                self.copied += len;
                match self.runs.last_mut() {
                    Some(last) if last.address + u64::from(last.len) == address => {
                        last.len += len as u32;
                    }
                    _ => self.runs.push(Run {
                        address,
                        len: len as u32,
                    }),
                }
                len
            }
            Part::Shared(mut bytes) => {
                bytes.truncate(room);
                self.runs.push(Run {
                    address: bytes.as_ptr().addr() as u64,
                    len: bytes.len() as u32,
                });
                let len = bytes.len();
                self.kept.push(bytes);
                len
            }
        };
        self.len += kept;
        kept
    }

    /// Shows the kernel what is kept, to be sent by a request that follows.
    fn offer(&mut self) {
        for (number, run) in self.runs.iter().enumerate() {
            self.entries.push(run.address, run.len, number as u16);
        }
        self.entries.publish();
    }

    /// Takes the kernel's word: `result` of a completion, and whether more follow. What has become of the bundle, once it is over.
    fn completed(&mut self, result: i32, goes_on: bool) -> Option<io::Result<()>> {
        self.sent += usize::try_from(result).unwrap_or(0);
        if goes_on {
            return None;
        }
        Some(match result {
            // It has sent all there was, and says that there is no more.
            _ if self.sent == self.len => Ok(()),
            // Told to send all, it stops before only where the stream is broken, and says how far it came in place of why.
            0.. => Err(io::ErrorKind::BrokenPipe.into()),
            code => Err(io::Error::from_raw_os_error(-code)),
        })
    }
}

/// All bundles, those under way and those that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    bundles: Vec<Bundle>,
    /// Those that nothing is under way of, by their place in `bundles`.
    idle: Vec<usize>,
}

impl Sends {
    /// A bundle for what waits on a stream, to be [filled](Bundle::keep) with at most `max` bytes and then [offered](Self::offer)
    /// or [put back](Self::put_back); `None` if as many as may be are under way.
    pub(crate) fn take(
        &mut self,
        uring: &IoUring,
        conn: ConnId,
        max: usize,
    ) -> io::Result<Option<(usize, &mut Bundle)>> {
        let place = match self.idle.pop() {
            Some(place) => place,
            None if self.bundles.len() < usize::from(BUNDLES) => {
                let bundle = Bundle::new(FIRST + self.bundles.len() as u16)?;
                bundle.entries.register(uring, 0)?;
                self.bundles.push(bundle);
                self.bundles.len() - 1
            }
            None => return Ok(None),
        };
        Ok(self.bundles.get_mut(place).map(|bundle| {
            bundle.start(conn, max);
            (place, bundle)
        }))
    }

    /// Nothing is to be sent.
    pub(crate) fn put_back(&mut self, place: usize) {
        self.idle.push(place);
    }

    /// The number of the group to send, which is full now.
    pub(crate) fn offer(&mut self, place: usize) -> Option<u16> {
        let bundle = self.bundles.get_mut(place)?;
        bundle.offer();
        Some(bundle.group())
    }

    /// Takes the kernel's word on a bundle. Whose it was and what has become of it, once it is over.
    pub(crate) fn completed(
        &mut self,
        place: usize,
        result: i32,
        goes_on: bool,
    ) -> Option<(ConnId, io::Result<()>)> {
        let bundle = self.bundles.get_mut(place)?;
        let outcome = bundle.completed(result, goes_on)?;
        bundle.forget();
        self.idle.push(place);
        Some((bundle.conn, outcome))
    }

    /// Takes all groups from the kernel.
    pub(crate) fn withdraw(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        for bundle in &self.bundles {
            bundle.entries.withdraw(submitter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(max: usize) -> Bundle {
        let mut bundle = Bundle::new(FIRST).unwrap();
        bundle.start(ConnId::new(3, 4), max);
        bundle
    }

    fn lens(bundle: &Bundle) -> Vec<u32> {
        bundle.runs.iter().map(|run| run.len).collect()
    }

    #[test]
    fn what_is_lent_is_copied_together_and_what_is_shared_stays_where_it_is() {
        let mut bundle = bundle(1_000);
        let body = Bytes::from(vec![1; 500]);
        let (mut lent, shared) = (*b"abc", Part::Shared(body.clone()));
        assert_eq!(bundle.keep(Part::Lent(&lent)), 3);
        assert_eq!(bundle.keep(Part::Lent(b"de")), 2);
        lent.fill(0);
        assert_eq!(bundle.keep(shared), 500);
        assert_eq!(bundle.keep(Part::Lent(b"f")), 1);
        assert_eq!(lens(&bundle), [5, 500, 1]);
        assert_eq!(bundle.runs[1].address, body.as_ptr().addr() as u64);
        // SAFETY: no kernel knows of these pages.
        assert_eq!(unsafe { bundle.copies.read(0, 6) }, b"abcdef");
        assert!(!body.is_unique(), "kept");
        bundle.forget();
        assert!(body.is_unique());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut bundle = bundle(10);
        assert_eq!(bundle.keep(Part::Lent(&[0; 7])), 7);
        assert_eq!(bundle.keep(Part::Shared(Bytes::from(vec![0; 7]))), 3);
        assert_eq!(bundle.keep(Part::Lent(&[0])), 0);
        assert_eq!(lens(&bundle), [7, 3]);

        bundle.start(ConnId::new(0, 0), usize::MAX);
        assert_eq!(bundle.keep(Part::Lent(&vec![0; COPIES + 1])), COPIES);
        assert_eq!(bundle.keep(Part::Lent(&[0])), 0);

        bundle.start(ConnId::new(0, 0), usize::MAX);
        let one = Bytes::from_static(b"1");
        let kept: usize = (0..100)
            .map(|_| bundle.keep(Part::Shared(one.clone())))
            .sum();
        assert_eq!(kept, usize::from(RUNS));
    }

    #[test]
    fn a_bundle_is_over_with_its_last_completion() {
        let cases: [(&[i32], Result<(), io::ErrorKind>); 5] = [
            (&[10], Ok(())),
            (&[4, 6], Ok(())),
            // Sent, and asked for more of what is empty.
            (&[10, -libc::ENOBUFS], Ok(())),
            (&[4], Err(io::ErrorKind::BrokenPipe)),
            (&[4, -libc::ECONNRESET], Err(io::ErrorKind::ConnectionReset)),
        ];
        for (completions, expected) in cases {
            let mut bundle = bundle(100);
            bundle.keep(Part::Lent(&[0; 10]));
            let (last, others) = completions.split_last().unwrap();
            for result in others {
                assert!(bundle.completed(*result, true).is_none());
            }
            let outcome = bundle.completed(*last, false).expect("over");
            assert_eq!(outcome.map_err(|error| error.kind()), expected);
        }
    }
}
