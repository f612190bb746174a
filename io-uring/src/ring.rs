//! The ring: every request to the kernel is made here, and every reason why it may be.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Part};
use folkmoot_mio::Tuning;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};
use mio::net::TcpStream;

use crate::buffers::Buffers;
use crate::choice::Support;
use crate::probe;
use crate::sends::Sends;
use crate::tag::{self, Kind};

/// Submissions that fit between two submits; more are submitted in between.
const SUBMISSIONS: u32 = 256;
/// Completions that fit between two turns; the kernel keeps more until there is room.
const COMPLETIONS: u32 = 2048;
/// Descriptors that the ring has a table entry for; streams beyond them are used by their number.
const FILES: u32 = 1024;

const STREAMS: u16 = 0;
/// How long the last requests may take to end.
const QUIET_WITHIN: Duration = Duration::from_millis(100);
const QUIET_TRIES: u32 = 20;

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) tag: u64,
    pub(crate) result: i32,
    flags: u32,
}

impl Event {
    /// Whether the request goes on.
    pub(crate) fn goes_on(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The buffer that its bytes begin in.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether that buffer, or the last of a bundle, will be filled further.
    pub(crate) fn buffer_goes_on(&self) -> bool {
        cqueue::buffer_more(self.flags)
    }

    /// Whether the request was taken back.
    pub(crate) fn was_cancelled(&self) -> bool {
        self.result == -libc::ECANCELED
    }

    /// What the operating system said, if the request has failed.
    pub(crate) fn error(&self) -> Option<io::Error> {
        (self.result < 0).then(|| io::Error::from_raw_os_error(-self.result))
    }
}

/// Which descriptor a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// By its place in the ring's table.
    Fixed(u32),
    /// By its number in the process.
    Fd(RawFd),
}

/// A ring, its buffers and its table of descriptors. One thread uses it, the one that has called
/// [`start`](Self::start).
pub(crate) struct Ring {
    uring: IoUring,
    /// Requests that will complete.
    under_way: usize,
    bundles: bool,
    /// Given to the kernel: dropped when nothing is under way, else never.
    streams: ManuallyDrop<Buffers>,
    /// Likewise.
    sends: ManuallyDrop<Sends>,
    /// The most bytes of a bundle.
    bundle_max: usize,
    /// A multishot accept is under way.
    accepting: bool,
    files: Vec<u32>,
    pub(crate) events: VecDeque<Event>,
}

/// The target of a request, in the words of the crate that makes it.
macro_rules! aimed {
    ($target:expr, |$fd:ident| $entry:expr) => {
        match $target {
            Target::Fixed(index) => {
                let $fd = Fixed(index);
                $entry
            }
            Target::Fd(fd) => {
                let $fd = Fd(fd);
                $entry
            }
        }
    };
}

impl Ring {
    /// A ring that is not used yet: the thread that starts it becomes its only user.
    pub(crate) fn new(support: Support, tuning: &Tuning) -> io::Result<Self> {
        let uring = probe::builder()
            .setup_r_disabled()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let bytes = tuning.read_buffer.clamp(64 * 1024, 1 << 24);
        let (count, size) = shape(bytes, support.incremental);
        let streams = Buffers::new(&uring, STREAMS, count, size, support.incremental)?;
        let files = FILES.min(tuning.connections_max);
        // A process that may open few descriptors gets no table: everything works by number.
        let files = match uring.submitter().register_files_sparse(files) {
            Ok(()) => files,
            Err(error) => {
                tracing::debug!(%error, "no table of descriptors");
                0
            }
        };
        Ok(Self {
            uring,
            under_way: 0,
            bundles: support.bundles && !support.incremental,
            streams: ManuallyDrop::new(streams),
            sends: ManuallyDrop::default(),
            bundle_max: tuning.write_bytes_per_turn.max(1),
            accepting: false,
            files: (0..files).rev().collect(),
            events: VecDeque::with_capacity(COMPLETIONS as usize),
        })
    }

    /// Makes this thread the ring's only user.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        self.uring.submitter().register_enable_rings()?;
        // Saves the kernel looking the ring up at each call; where there is no such thing nothing is lost.
        if let Err(error) = self.uring.submitter().register_ring_fd() {
            tracing::debug!(%error, "the ring is used by its descriptor");
        }
        Ok(())
    }

    /// Whether no request is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way == 0
    }

    /// Queues a request. What it points to must be valid until it has completed.
    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: no caller here passes a pointer. What a group of buffers names is the ring's own memory, or kept by
        // it, until the requests that use the group have completed.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.submit()?;
        }
        Ok(())
    }

    fn start_request(&mut self, entry: &Entry) -> io::Result<()> {
        self.push(entry)?;
        self.under_way += 1;
        Ok(())
    }

    /// Completes once, or at each edge with `again`, when `events` of poll(2) are there.
    pub(crate) fn poll(
        &mut self,
        target: Target,
        tag: u64,
        events: i16,
        again: bool,
    ) -> io::Result<()> {
        let events = events as u16 as u32;
        let entry = aimed!(target, |fd| opcode::PollAdd::new(fd, events)
            .multi(again)
            .build());
        self.start_request(&entry.user_data(tag))
    }

    /// Receives a stream until it ends, fails, is cancelled, or no buffer is left.
    pub(crate) fn receive(&mut self, target: Target, tag: u64) -> io::Result<()> {
        let group = self.streams.group();
        let entry = match self.bundles {
            true => aimed!(target, |fd| opcode::RecvMultiBundle::new(fd, group).build()),
            false => aimed!(target, |fd| opcode::RecvMulti::new(fd, group).build()),
        };
        self.start_request(&entry.user_data(tag))
    }

    /// Accepts whoever connects, until it fails or is cancelled. Streams that are accepted do not block, nor survive an `exec`.
    pub(crate) fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build();
        self.accepting = true;
        self.start_request(&entry.user_data(tag::of(Kind::Accept)))
    }

    /// Whether an accept is under way.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// The stream that a completed accept has brought; nothing if it was taken back.
    pub(crate) fn accepted(event: &Event) -> Option<io::Result<TcpStream>> {
        if event.was_cancelled() {
            return None;
        }
        Some(match event.error() {
            Some(error) => Err(error),
            None => {
                // SAFETY: the kernel has made the descriptor for this completion, which is looked at once.
                let socket = unsafe { OwnedFd::from_raw_fd(event.result) };
                Ok(TcpStream::from_std(net::TcpStream::from(socket)))
            }
        })
    }

    /// Sends to a stream, with one request, the bytes that `fill` hands over: it is given what keeps of each part as much as there is
    /// room for, and says how many bytes that were. How many these are; `None` if it was not asked, since no more bundles may be under way.
    pub(crate) fn send(
        &mut self,
        target: Target,
        conn: ConnId,
        fill: impl FnOnce(&mut dyn FnMut(Part<'_>) -> usize) -> usize,
    ) -> io::Result<Option<usize>> {
        let taken = self.sends.take(&self.uring, conn, self.bundle_max);
        let (place, bundle) = match taken {
            Ok(Some(bundle)) => bundle,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::debug!(%error, "no bundle: a stream is written to by a call");
                return Ok(None);
            }
        };
        let len = fill(&mut |part| bundle.keep(part));
        let group = match len {
            0 => None,
            _ => self.sends.offer(place),
        };
        let Some(group) = group else {
            self.sends.put_back(place);
            return Ok(Some(0));
        };
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = aimed!(target, |fd| opcode::SendBundle::new(fd, group)
            .flags(flags)
            .build());
        let place = ConnId::new(place as u32, 0);
        self.start_request(&entry.user_data(tag::with(Kind::Send, place)))?;
        Ok(Some(len))
    }

    /// Takes a completion of a bundle. Whose it was and what has become of it, once it is over.
    pub(crate) fn sent(&mut self, event: &Event) -> Option<(ConnId, io::Result<()>)> {
        let (_, place) = tag::read(event.tag)?;
        self.sends
            .completed(place.slot() as usize, event.result, event.goes_on())
    }

    /// Ends the request with this tag.
    pub(crate) fn cancel(&mut self, tag: u64) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(tag).build();
        self.push(
            &entry
                .user_data(tag::of(Kind::Cancel))
                .flags(Flags::SKIP_SUCCESS),
        )
    }

    /// Ends all requests for a descriptor.
    pub(crate) fn cancel_all(&mut self, fd: RawFd) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        self.push(
            &entry
                .user_data(tag::of(Kind::Cancel))
                .flags(Flags::SKIP_SUCCESS),
        )
    }

    /// Puts a descriptor into the ring's table, if there is room.
    pub(crate) fn fix(&mut self, fd: RawFd) -> Option<u32> {
        let index = self.files.pop()?;
        match self.uring.submitter().register_files_update(index, &[fd]) {
            Ok(_) => Some(index),
            Err(error) => {
                tracing::debug!(%error, "a descriptor is used by its number");
                self.files.push(index);
                None
            }
        }
    }

    /// Takes it out again. Requests under way keep theirs until they end.
    pub(crate) fn unfix(&mut self, index: u32) {
        match self.uring.submitter().register_files_update(index, &[-1]) {
            Ok(_) => self.files.push(index),
            Err(error) => tracing::warn!(%error, "a place in the table of descriptors is lost"),
        }
    }

    /// Shows the runs of bytes that a completed receive has brought. The buffers stay taken until
    /// [`recycle`](Self::recycle).
    pub(crate) fn read(&self, event: &Event, show: impl FnMut(&[u8])) {
        if let (Some(buffer), Ok(len)) = (event.buffer(), usize::try_from(event.result)) {
            self.streams.read(buffer, len, show);
        }
    }

    /// Gives the buffers of a completed receive back to the kernel.
    pub(crate) fn recycle(&mut self, event: &Event) {
        if let (Some(buffer), Ok(len)) = (event.buffer(), usize::try_from(event.result)) {
            self.streams.recycle(buffer, len, event.buffer_goes_on());
        }
    }

    /// Hands the kernel what is queued; requests that need no waiting are worked off on the way.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        let queued = self.uring.submission().len();
        // SAFETY: no argument is passed.
        let entered = unsafe {
            self.uring
                .submitter()
                .enter::<libc::sigset_t>(queued as u32, 0, 0, None)
        };
        self.collect(entered)
    }

    /// Hands the kernel what is queued and waits until something completes or `limit` is over: does not wait with
    /// `Some(ZERO)`, waits for ever with `None`.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let queued = self.uring.submission().len();
        let submitter = self.uring.submitter();
        let entered = match limit {
            Some(Duration::ZERO) => {
                let flags = EnterFlags::GETEVENTS.bits();
                // SAFETY: no argument is passed.
                unsafe { submitter.enter::<libc::sigset_t>(queued as u32, 0, flags, None) }
            }
            Some(limit) => {
                let limit = Timespec::from(limit);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
            None => submitter.submit_and_wait(1),
        };
        self.collect(entered)
    }

    /// Fetches what has completed without waiting, if anything has: a look at shared memory tells.
    pub(crate) fn glance(&mut self) -> io::Result<()> {
        let queue = self.uring.submission();
        let work = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        match work || !self.uring.completion().is_empty() {
            true => self.wait(Some(Duration::ZERO)),
            false => Ok(()),
        }
    }

    fn collect(&mut self, entered: io::Result<usize>) -> io::Result<()> {
        if let Err(error) = entered
            && !matches!(
                error.raw_os_error(),
                // Time is over; a signal came; completions have to be fetched first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
            )
        {
            return Err(error);
        }
        let (events, under_way) = (&mut self.events, &mut self.under_way);
        let accepting = &mut self.accepting;
        for entry in self.uring.completion() {
            let event = Event {
                tag: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            let kind = tag::read(event.tag).map(|(kind, _)| kind);
            if !event.goes_on() && !matches!(kind, Some(Kind::Cancel) | None) {
                *under_way = under_way.saturating_sub(1);
                *accepting &= kind != Some(Kind::Accept);
            }
            events.push_back(event);
        }
        Ok(())
    }

    /// Ends everything that is under way and waits for it; whether nothing is left.
    fn quiet(&mut self) -> io::Result<bool> {
        self.submit()?;
        for _ in 0..QUIET_TRIES {
            if self.under_way == 0 {
                break;
            }
            let limit = Some(Timespec::from(QUIET_WITHIN));
            // None found is as good.
            let _ = self
                .uring
                .submitter()
                .register_sync_cancel(limit, CancelBuilder::any());
            self.wait(Some(Duration::ZERO))?;
        }
        Ok(self.under_way == 0)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let quiet = match self.quiet() {
            Ok(quiet) => quiet,
            Err(error) => {
                tracing::debug!(%error, "the ring ends with requests under way");
                false
            }
        };
        for event in &self.events {
            if let Some((Kind::Accept, _)) = tag::read(event.tag) {
                // Nobody has let it in: it is closed.
                drop(Self::accepted(event));
            }
        }
        let submitter = self.uring.submitter();
        // Without requests nor registration the kernel has no way to the memory. Otherwise it is left to it.
        if quiet && self.streams.withdraw(&submitter).is_ok() {
            // SAFETY: the ring is being dropped: nobody uses the buffers again.
            unsafe { ManuallyDrop::drop(&mut self.streams) };
        }
        if quiet && self.sends.withdraw(&submitter).is_ok() {
            // SAFETY: likewise.
            unsafe { ManuallyDrop::drop(&mut self.sends) };
        }
    }
}

/// How twice `bytes` are divided, so that the kernel has some while others are read: a few large buffers that are filled
/// piece by piece, so that few messages lie in two of them, or many small ones that bundles join.
fn shape(bytes: usize, incremental: bool) -> (u16, u32) {
    let count = if incremental { 4 } else { 32 };
    let size = (2 * bytes).div_ceil(count as usize).next_multiple_of(4096);
    (count, size as u32)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_sent_is_kept_no_longer_than_until_it_is_sent() {
        let Ok(support) = crate::support() else {
            return; // other tests say so
        };
        if !support.sends {
            return;
        }
        let mut ring = Ring::new(support, &Tuning::default()).unwrap();
        ring.start().unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        let (conn, body) = (ConnId::new(5, 6), Bytes::from(vec![1; 10_000]));
        for round in 0..3 {
            let sent = ring.send(Target::Fd(near.as_raw_fd()), conn, |keep| {
                keep(Part::Lent(b"before")) + keep(Part::Shared(body.clone()))
            });
            assert_eq!(sent.unwrap(), Some(10_006));
            assert!(!body.is_unique(), "kept");
            let mut over = None;
            while over.is_none() {
                ring.wait(None).unwrap();
                while let Some(event) = ring.events.pop_front() {
                    over = ring.sent(&event).or(over);
                }
            }
            let (whose, outcome) = over.unwrap();
            assert_eq!(whose, conn, "{round}");
            outcome.unwrap();
            assert!(body.is_unique());
        }
        assert!(ring.is_quiet());
    }
}
