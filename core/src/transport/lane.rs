//! One connection to a member and the frames that wait on it, in order.
//!
//! Tribes: one `NioSender` of a `PooledParallelSender`. A lane outlives its connections: what a lost one did not get
//! done is written again on the next.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::bytequeue::{ByteQueue, ChunkPool};
use super::sends::SendKey;
use crate::engine::{ConnId, Gather, Part};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::wire::{ACK_FRAME, Acknowledgement, DecodeError, Deframed, deframe, read_ack};

/// Longest data of a reply that is read at all; an ACK has 3 bytes.
const REPLY_MAX: usize = 1024;

/// A frame on a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Position after its last byte.
    pub(crate) end: u64,
    /// When it was queued.
    pub(crate) queued_at: Instant,
    /// Who waits for it.
    pub(crate) send: SendKey,
    /// Whether the receiver answers it.
    pub(crate) ack: bool,
}

/// The connection under a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// None; opened when there is something to send.
    Closed,
    /// Asked for.
    Connecting(ConnId),
    /// Established.
    Open {
        conn: ConnId,
        /// Since when.
        at: Instant,
    },
}

impl Link {
    pub(crate) const fn conn(self) -> Option<ConnId> {
        match self {
            Self::Closed => None,
            Self::Connecting(conn) | Self::Open { conn, .. } => Some(conn),
        }
    }
}

/// What became of the frame that a reply belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// The first unanswered frame is acknowledged and gone from the lane.
    Acknowledged(Frame),
    /// The first unanswered frame failed there and is gone from the lane.
    Refused(Frame),
    /// The first unanswered frame failed there; it is still first, to be tried again on a new connection.
    Failed,
    /// Something else, which Tomcat ignores as well.
    Ignored,
}

/// A first-in, first-out queue of frames with its connection.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) link: Link,
    bytes: ByteQueue,
    frames: VecDeque<Frame>,
    /// Frames among them that the receiver answers.
    unanswered: usize,
    /// Whether the driver has been told that bytes wait.
    pub(crate) announced: bool,
    /// Connections lost since a frame was last done with.
    pub(crate) attempts: u32,
    /// When anything last got done while something waited: the clock of the timeout.
    pub(crate) progress_at: Instant,
    /// Messages begun on this connection.
    pub(crate) requests: i64,
    /// Whether more than one unanswered frame may be under way.
    pub(crate) pipelined: bool,
    /// A reply that is not all there yet.
    reply: Vec<u8>,
}

impl Lane {
    pub(crate) fn new(pipelined: bool) -> Self {
        Self {
            link: Link::Closed,
            bytes: ByteQueue::default(),
            frames: VecDeque::new(),
            unanswered: 0,
            announced: false,
            attempts: 0,
            progress_at: Instant::ZERO,
            requests: 0,
            pipelined,
            reply: Vec::new(),
        }
    }

    /// Whether nothing waits or is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames waiting or under way.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Bytes kept.
    pub(crate) fn queued(&self) -> usize {
        usize::try_from(self.bytes.end().saturating_sub(self.bytes.base())).unwrap_or(usize::MAX)
    }

    /// The first frame that is not done with.
    pub(crate) fn head(&self) -> Option<&Frame> {
        self.frames.front()
    }

    /// Queues a frame of `len` bytes by copying its `parts`.
    pub(crate) fn push_copied(
        &mut self,
        now: Instant,
        pool: &mut ChunkPool,
        len: usize,
        parts: [&[u8]; 3],
        send: SendKey,
        ack: bool,
    ) {
        self.bytes.push_copied(pool, len, parts);
        self.push_frame(now, send, ack);
    }

    /// Queues a frame by sharing it.
    pub(crate) fn push_shared(
        &mut self,
        now: Instant,
        header: Bytes,
        body: Bytes,
        send: SendKey,
        ack: bool,
    ) {
        self.bytes.push_shared(header, body);
        self.push_frame(now, send, ack);
    }

    fn push_frame(&mut self, now: Instant, send: SendKey, ack: bool) {
        if self.frames.is_empty() {
            self.progress_at = now;
        }
        self.requests = self.requests.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(usize::from(ack));
        self.frames.push_back(Frame {
            end: self.bytes.end(),
            queued_at: now,
            send,
            ack,
        });
    }

    /// Up to where bytes may be written now.
    fn limit(&self) -> u64 {
        // The first frame that needs an answer ends what a stop-and-wait lane may write: frames before it are done with
        // as soon as they are written, so it is the only one under way.
        if self.pipelined || self.unanswered == 0 {
            return self.bytes.end();
        }
        let first = self.frames.iter().find(|frame| frame.ack);
        first.map_or(self.bytes.end(), |frame| frame.end)
    }

    /// Whether bytes may be written now.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.bytes.sent() < self.limit()
    }

    /// Adds the bytes that may be written now.
    pub(crate) fn gather<'a>(&'a self, out: &mut Gather<'a>) {
        self.bytes.gather(self.limit(), out);
    }

    /// Shows the bytes that may be written now, until `take` wants no more.
    pub(crate) fn parts(&self, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.bytes.parts(self.limit(), take);
    }

    /// `len` bytes were written. Frames without ACK that are wholly out are done with; returns the bytes taken and the
    /// bytes that need not be kept any more.
    pub(crate) fn transmitted(
        &mut self,
        now: Instant,
        pool: &mut ChunkPool,
        len: usize,
    ) -> (u64, usize) {
        // While the first frame is being written its bytes are progress; once it is out, only its answer is.
        let writing = self
            .frames
            .front()
            .is_some_and(|head| head.end > self.bytes.sent());
        let taken = self.bytes.advance(len as u64);
        if writing && taken > 0 {
            self.progress_at = now;
        }
        let released = self.pop_written(pool);
        if !self.wants_to_write() {
            self.announced = false;
        }
        (taken, released)
    }

    /// Removes written frames without ACK from the front.
    fn pop_written(&mut self, pool: &mut ChunkPool) -> usize {
        let mut end = self.bytes.base();
        while let Some(frame) = self.frames.front()
            && !frame.ack
            && frame.end <= self.bytes.sent()
        {
            end = frame.end;
            self.frames.pop_front();
        }
        if end == self.bytes.base() {
            return 0;
        }
        self.attempts = 0;
        self.bytes.release(pool, end)
    }

    /// Takes what the peer wrote. `on_reply` is called for each answer with the bytes it sets free, and says whether to go
    /// on. With `retry` a failed frame stays first, unless others are under way behind it: to send it again would change
    /// their order.
    pub(crate) fn received(
        &mut self,
        now: Instant,
        pool: &mut ChunkPool,
        mut bytes: &[u8],
        retry: bool,
        mut on_reply: impl FnMut(Reply, usize) -> bool,
    ) -> Result<(), ReplyError> {
        // Nearly always: whole ACK frames.
        while self.reply.is_empty() && !bytes.is_empty() {
            if let Some(rest) = bytes.strip_prefix(&ACK_FRAME) {
                bytes = rest;
                if !self.answer(now, pool, Acknowledgement::Ack, retry, &mut on_reply)? {
                    return Ok(());
                }
                continue;
            }
            match deframe(bytes, REPLY_MAX).map_err(ReplyError::Bad)? {
                Deframed::Frame { data, consumed } => {
                    let answer = read_ack(data);
                    bytes = bytes.get(consumed..).unwrap_or_default();
                    if !self.answered(now, pool, answer, retry, &mut on_reply)? {
                        return Ok(());
                    }
                }
                Deframed::Incomplete { .. } => {
                    self.reply.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        while !bytes.is_empty() {
            let need = match deframe(&self.reply, REPLY_MAX).map_err(ReplyError::Bad)? {
                Deframed::Incomplete { need } => need.saturating_sub(self.reply.len()).max(1),
                Deframed::Frame { .. } => 0,
            };
            let (now_here, rest) = bytes.split_at_checked(need).unwrap_or((bytes, &[]));
            self.reply.extend_from_slice(now_here);
            bytes = rest;
            let answer = match deframe(&self.reply, REPLY_MAX).map_err(ReplyError::Bad)? {
                Deframed::Incomplete { .. } => continue,
                Deframed::Frame { data, .. } => read_ack(data),
            };
            self.reply.clear();
            if !self.answered(now, pool, answer, retry, &mut on_reply)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answered(
        &mut self,
        now: Instant,
        pool: &mut ChunkPool,
        answer: Option<Acknowledgement>,
        retry: bool,
        on_reply: &mut impl FnMut(Reply, usize) -> bool,
    ) -> Result<bool, ReplyError> {
        match answer {
            Some(answer) => self.answer(now, pool, answer, retry, on_reply),
            None => Ok(on_reply(Reply::Ignored, 0)),
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        pool: &mut ChunkPool,
        answer: Acknowledgement,
        retry: bool,
        on_reply: &mut impl FnMut(Reply, usize) -> bool,
    ) -> Result<bool, ReplyError> {
        // Written frames without ACK have left the front already, so the first frame is the one that is answered.
        match self.frames.front() {
            Some(head) if head.ack && head.end <= self.bytes.sent() => {}
            _ => return Err(ReplyError::Unexpected),
        }
        if planted(Bug::AckOfAnother)
            && let Some([first, second, ..]) = self.frames.make_contiguous().get_mut(..2)
            && second.ack
        {
            core::mem::swap(&mut first.send, &mut second.send);
        }
        self.progress_at = now;
        let failed = answer == Acknowledgement::FailAck;
        if failed && retry && !self.pipelined {
            return Ok(on_reply(Reply::Failed, 0));
        }
        let Some((frame, released)) = self.pop_head(pool) else {
            return Err(ReplyError::Unexpected);
        };
        self.attempts = 0;
        let reply = if failed {
            Reply::Refused(frame)
        } else {
            Reply::Acknowledged(frame)
        };
        Ok(on_reply(reply, released))
    }

    /// Takes the first frame off the lane, done with or not; with it go written ones without ACK right behind it.
    pub(crate) fn pop_head(&mut self, pool: &mut ChunkPool) -> Option<(Frame, usize)> {
        let frame = self.frames.pop_front()?;
        self.unanswered = self.unanswered.saturating_sub(usize::from(frame.ack));
        let released = self.bytes.release(pool, frame.end);
        let attempts = self.attempts;
        let more = self.pop_written(pool);
        self.attempts = attempts;
        Some((frame, released.saturating_add(more)))
    }

    /// The connection is gone: what was not done with will be written again.
    pub(crate) fn disconnected(&mut self) {
        self.link = Link::Closed;
        self.bytes.rewind();
        self.announced = false;
        self.requests = self.frames.len() as i64;
        self.reply = Vec::new();
    }

    /// How many frames have been written at least in part.
    pub(crate) fn started(&self) -> usize {
        let whole = self
            .frames
            .partition_point(|frame| frame.end <= self.bytes.sent());
        let next = whole
            .checked_sub(1)
            .and_then(|last| self.frames.get(last))
            .map_or(self.bytes.base(), |last| last.end);
        whole.saturating_add(usize::from(self.bytes.sent() > next))
    }

    /// How many bytes the first frame has.
    pub(crate) fn head_len(&self) -> u64 {
        self.frames
            .front()
            .map_or(0, |head| head.end.saturating_sub(self.bytes.base()))
    }

    /// When the first frame has waited too long, if nothing gets done until then.
    pub(crate) fn deadline(&self, timeout: Duration, floor: u32) -> Option<Instant> {
        self.frames.front()?;
        Some(self.progress_at + scaled(timeout, floor, self.head_len()))
    }
}

/// A timeout with the time that `bytes` need at the slowest rate, as far as they are more than fits into a socket's buffer
/// at once.
pub(crate) fn scaled(timeout: Duration, floor: u32, bytes: u64) -> Duration {
    let bytes = bytes.saturating_sub(64 * 1024);
    let nanos = u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(floor.max(1));
    timeout.saturating_add(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// Why a reply cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyError {
    /// It is no frame.
    Bad(DecodeError),
    /// Nothing waits for an answer.
    Unexpected,
}
