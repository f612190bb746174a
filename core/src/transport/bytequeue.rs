//! Bytes on their way out: small frames copied side by side, large bodies left where they are.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::engine::{Gather, Part};
use crate::wire::frame::END;

/// Capacity of a chunk of copied frames: small enough to stay in a core's cache while it is filled and written.
const CHUNK_BYTES: usize = 64 * 1024;
/// Capacity of a chunk that begins with a frame of more than half of that.
const LARGE_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of empty chunks that the whole channel keeps for reuse: as many as a sender that streams has in use, whose queue fills and empties
/// again and again. With less the allocator gave the rest back to the system each time, and every page of it was new. Those of the kind
/// that is not in use make room for the other.
const SPARE_BYTES: usize = 2 * 1024 * 1024;

/// Empty chunks, shared by all queues of a channel so that idle connections hold no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl ChunkPool {
    /// An empty chunk with room for `len` bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let (spare, capacity) = match len > CHUNK_BYTES / 2 {
            true => (&mut self.large, LARGE_CHUNK_BYTES),
            false => (&mut self.small, CHUNK_BYTES),
        };
        spare
            .pop()
            .filter(|chunk| chunk.capacity() >= len)
            .unwrap_or_else(|| Vec::with_capacity(capacity.max(len)))
    }

    fn give(&mut self, mut chunk: Vec<u8>) {
        chunk.clear();
        let (spare, size, other, others_size) = match chunk.capacity() {
            CHUNK_BYTES => (
                &mut self.small,
                CHUNK_BYTES,
                &mut self.large,
                LARGE_CHUNK_BYTES,
            ),
            LARGE_CHUNK_BYTES => (
                &mut self.large,
                LARGE_CHUNK_BYTES,
                &mut self.small,
                CHUNK_BYTES,
            ),
            _ => return,
        };
        let kept = spare.len().saturating_add(1).saturating_mul(size);
        if kept > SPARE_BYTES {
            return;
        }
        other.truncate((SPARE_BYTES.saturating_sub(kept)) / others_size);
        spare.push(chunk);
    }
}

/// A piece of the queue.
#[derive(Clone, Debug)]
enum Piece {
    /// Whole frames, one after another.
    Copied(Vec<u8>),
    /// One frame: everything before the message, and the message; the end marker is implied.
    Shared { header: Bytes, body: Bytes },
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Shared { header, body } => header
                .len()
                .saturating_add(body.len())
                .saturating_add(END.len()),
        }
    }
}

/// A byte stream with three cursors: everything before `base` is done with, before `sent` is written, before `end` is
/// queued. Positions count from the first byte ever queued.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteQueue {
    /// Pieces with the position of their first byte.
    pieces: VecDeque<(u64, Piece)>,
    /// All pieces before this one are wholly sent.
    cursor: usize,
    base: u64,
    sent: u64,
    end: u64,
}

impl ByteQueue {
    /// Position of the first byte kept.
    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    /// Position of the first byte not written.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Position after the last byte queued.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Queues a frame of `len` bytes, given in `parts`, by copying it.
    pub(crate) fn push_copied(&mut self, pool: &mut ChunkPool, len: usize, parts: [&[u8]; 3]) {
        let fits = match self.pieces.back() {
            Some((_, Piece::Copied(chunk))) => chunk.capacity().saturating_sub(chunk.len()) >= len,
            _ => false,
        };
        if !fits {
            let chunk = pool.take(len);
            self.pieces.push_back((self.end, Piece::Copied(chunk)));
        }
        if let Some((_, Piece::Copied(chunk))) = self.pieces.back_mut() {
            for part in parts {
                chunk.extend_from_slice(part);
            }
        }
        self.end = self.end.saturating_add(len as u64);
    }

    /// Queues a frame without copying it; the end marker is added.
    pub(crate) fn push_shared(&mut self, header: Bytes, body: Bytes) {
        let piece = Piece::Shared { header, body };
        let len = piece.len() as u64;
        self.pieces.push_back((self.end, piece));
        self.end = self.end.saturating_add(len);
    }

    /// Adds the runs between `sent` and `limit`.
    pub(crate) fn gather<'a>(&'a self, limit: u64, out: &mut Gather<'a>) {
        self.runs(limit, |run, _| out.push(run));
    }

    /// Shows the runs between `sent` and `limit`, those that are shared as such, until `take` wants no more.
    pub(crate) fn parts(&self, limit: u64, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.runs(limit, |run, shared| {
            take(match shared {
                Some(body) => Part::Shared(body.slice_ref(run)),
                None => Part::Lent(run),
            })
        });
    }

    /// Shows the runs between `sent` and `limit`, with the body that one is of if that is shared, until `show` wants no more.
    fn runs<'a>(&'a self, limit: u64, mut show: impl FnMut(&'a [u8], Option<&'a Bytes>) -> bool) {
        for (start, piece) in self.pieces.iter().skip(self.cursor) {
            if *start >= limit {
                return;
            }
            let from = self.sent.saturating_sub(*start);
            let to = limit.saturating_sub(*start);
            // The part of `run`, which lies at `at` in its piece, that is between the two.
            let mut show = |run: &'a [u8], at: u64, shared| {
                let within = |position: u64| position.saturating_sub(at).min(run.len() as u64);
                match run.get(within(from) as usize..within(to) as usize) {
                    Some(run) if !run.is_empty() => show(run, shared),
                    _ => true,
                }
            };
            let more = match piece {
                Piece::Copied(bytes) => show(bytes, 0, None),
                Piece::Shared { header, body } => {
                    let body_at = header.len() as u64;
                    let end_at = body_at.saturating_add(body.len() as u64);
                    show(header, 0, None)
                        && show(body, body_at, Some(body))
                        && show(&END, end_at, None)
                }
            };
            if !more {
                return;
            }
        }
    }

    /// The first `len` of the gathered bytes were written. Returns how many that can be at most.
    pub(crate) fn advance(&mut self, len: u64) -> u64 {
        let len = len.min(self.end.saturating_sub(self.sent));
        self.sent = self.sent.saturating_add(len);
        while let Some((start, _)) = self.pieces.get(self.cursor.saturating_add(1)) {
            if *start > self.sent {
                break;
            }
            self.cursor = self.cursor.saturating_add(1);
        }
        len
    }

    /// Forgets everything before `position`; returns how many bytes that were.
    pub(crate) fn release(&mut self, pool: &mut ChunkPool, position: u64) -> usize {
        let position = position.clamp(self.base, self.end);
        let released = position.saturating_sub(self.base);
        self.base = position;
        self.sent = self.sent.max(position);
        while let Some((start, piece)) = self.pieces.front() {
            if start.saturating_add(piece.len() as u64) > position {
                break;
            }
            if let Some((_, Piece::Copied(chunk))) = self.pieces.pop_front() {
                pool.give(chunk);
            }
            self.cursor = self.cursor.saturating_sub(1);
        }
        usize::try_from(released).unwrap_or(usize::MAX)
    }

    /// Everything kept will be written again.
    pub(crate) fn rewind(&mut self) {
        self.sent = self.base;
        self.cursor = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn pending(queue: &ByteQueue, limit: u64) -> Vec<u8> {
        let mut out = Gather::new();
        queue.gather(limit, &mut out);
        out.runs().concat()
    }

    /// The parts, of which at most `parts` are taken, and whether those were that many.
    fn shown(queue: &ByteQueue, limit: u64, parts: usize) -> (Vec<u8>, bool) {
        let (mut bytes, mut taken) = (Vec::new(), 0);
        queue.parts(limit, &mut |part| {
            assert!(taken < parts && !part.as_ref().is_empty());
            bytes.extend_from_slice(part.as_ref());
            taken += 1;
            taken < parts
        });
        (bytes, taken == parts)
    }

    #[test]
    fn large_bodies_are_shared_where_they_lie_and_the_rest_is_lent() {
        let (mut queue, mut pool) = (ByteQueue::default(), ChunkPool::default());
        let body = Bytes::from(vec![7; 1_000]);
        queue.push_copied(&mut pool, 3, [b"abc", &[], &[]]);
        queue.push_shared(Bytes::from_static(b"head"), body.clone());
        queue.advance(1 + 2 + 4 + 10);
        let mut kinds = vec![];
        queue.parts(u64::MAX, &mut |part| {
            if let Part::Shared(part) = &part {
                assert_eq!(part.as_ptr(), body[10..].as_ptr(), "not a copy");
            }
            kinds.push((matches!(part, Part::Shared(_)), part.as_ref().len()));
            true
        });
        assert_eq!(kinds, [(true, 990), (false, END.len())]);
    }

    #[test]
    fn spare_chunks_are_bounded_whatever_has_been_sent() {
        let mut pool = ChunkPool::default();
        let bytes = |pool: &ChunkPool| {
            let all = pool.small.iter().chain(&pool.large);
            all.map(Vec::capacity).sum::<usize>()
        };
        for (len, capacity) in [
            (100, CHUNK_BYTES),
            (CHUNK_BYTES, LARGE_CHUNK_BYTES),
            (10, CHUNK_BYTES),
        ] {
            let taken: Vec<_> = (0..100).map(|_| pool.take(len)).collect();
            for chunk in taken {
                pool.give(chunk);
                assert!(bytes(&pool) <= SPARE_BYTES);
            }
            assert_eq!(bytes(&pool), SPARE_BYTES, "all of one kind");
            assert_eq!(pool.take(len).capacity(), capacity);
        }
        let longer = pool.take(LARGE_CHUNK_BYTES + 1);
        pool.give(longer);
        assert!(bytes(&pool) < SPARE_BYTES, "one was taken, none was kept");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Copy(Vec<u8>),
        Share(Vec<u8>, Vec<u8>),
        Write(u64),
        Release(u64),
        Rewind,
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Op::Copy),
            (
                proptest::collection::vec(any::<u8>(), 0..20),
                proptest::collection::vec(any::<u8>(), 0..50)
            )
                .prop_map(|(header, body)| Op::Share(header, body)),
            (0u64..80).prop_map(Op::Write),
            (0u64..80).prop_map(Op::Release),
            Just(Op::Rewind),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_one_long_stream(ops in proptest::collection::vec(any_op(), 0..60)) {
            let (mut queue, mut pool) = (ByteQueue::default(), ChunkPool::default());
            let (mut stream, mut sent, mut base) = (Vec::new(), 0usize, 0usize);
            for op in ops {
                match op {
                    Op::Copy(bytes) => {
                        queue.push_copied(&mut pool, bytes.len(), [&bytes, &[], &[]]);
                        stream.extend(bytes);
                    }
                    Op::Share(header, body) => {
                        stream.extend(header.iter().chain(&body).chain(&END));
                        queue.push_shared(header.into(), body.into());
                    }
                    Op::Write(len) => {
                        let taken = queue.advance(len.min(pending(&queue, u64::MAX).len() as u64));
                        sent += taken as usize;
                    }
                    Op::Release(len) => {
                        let to = (base + len as usize).min(sent);
                        prop_assert_eq!(queue.release(&mut pool, to as u64), to - base);
                        base = to;
                    }
                    Op::Rewind => {
                        queue.rewind();
                        sent = base;
                    }
                }
                prop_assert_eq!(queue.end(), stream.len() as u64);
                let middle = sent + (stream.len() - sent) / 2;
                for limit in [middle, stream.len()] {
                    let seen = pending(&queue, limit as u64);
                    prop_assert!(stream[sent..limit].starts_with(&seen));
                    prop_assert!(seen.len() == limit - sent || seen.len() >= Gather::CAPACITY - 1);
                    let (shown, enough) = shown(&queue, limit as u64, usize::MAX);
                    prop_assert_eq!((&shown[..], enough), (&stream[sent..limit], false));
                    // Whoever wants no more is shown no more.
                    let (shown, enough) = self::shown(&queue, limit as u64, 1);
                    prop_assert!(stream[sent..limit].starts_with(&shown));
                    prop_assert_eq!(enough, !shown.is_empty());
                }
            }
        }
    }
}
