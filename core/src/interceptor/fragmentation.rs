//! `FragmentationInterceptor`: long messages in pieces.
//!
//! | message | bytes |
//! |---|---|
//! | not longer than `maxSize` | message, `00` |
//! | else, for each piece | piece, its number from 0 (4 bytes), how many there are (4 bytes), `01` |

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::message::{Body, Down, Flow, Inward, Outbound, Up, add};
use super::outcomes::Outcomes;
use super::{InterceptorError, InterceptorStats, Refusal, ok_to_process};
use crate::channel::MemberIndex;
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::wire::{Member, SendOptions};

/// Bytes that a piece grows by.
const TRAILER: usize = 4 + 4 + 1;
/// What a piece costs besides its bytes.
const PIECE_OVERHEAD: usize = 128;

/// Sends long messages in pieces, so that others get their turn between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentationInterceptor {
    /// Only messages with all of these option bits are cut; 0 (the default) means all.
    pub option_flag: u32,
    /// The longest message, and piece, in bytes; 1 or more, default 102,400.
    pub max_size: usize,
    /// How long an incomplete message is kept; default 60 s.
    pub expire: Duration,
    /// How many incomplete messages are kept; 1 to 65,536, default 1024. Tomcat has no such bound. All together they may
    /// take `limits.gather_bytes_max`.
    pub sets_max: usize,
}

impl Default for FragmentationInterceptor {
    fn default() -> Self {
        Self {
            option_flag: 0,
            max_size: 102_400,
            expire: Duration::from_secs(60),
            sets_max: 1024,
        }
    }
}

impl FragmentationInterceptor {
    pub(crate) fn validate(&self) -> Result<(), InterceptorError> {
        if self.max_size == 0 || i32::try_from(self.max_size).is_err() {
            return Err(InterceptorError::OutOfRange(
                "maxSize",
                "1 to 2,147,483,647",
            ));
        }
        if self.expire < Duration::from_millis(1) {
            return Err(InterceptorError::OutOfRange("expire", "1 ms or more"));
        }
        if !(1..=1 << 16).contains(&self.sets_max) {
            return Err(InterceptorError::OutOfRange("sets_max", "1 to 65,536"));
        }
        Ok(())
    }
}

/// A message as this interceptor sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// A whole message.
    Whole(&'a [u8]),
    /// A piece of one.
    Piece {
        /// Its bytes.
        bytes: &'a [u8],
        /// Its place, from 0.
        index: u32,
        /// How many there are; more than `index`.
        count: u32,
    },
}

impl<'a> Fragment<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// [`Refusal::MalformedFragment`].
    pub fn read(message: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::MalformedFragment;
        let (fragmented, message) = message.split_last().ok_or(malformed)?;
        if *fragmented == 0 {
            return Ok(Self::Whole(message));
        }
        let (message, count) = message.split_last_chunk::<4>().ok_or(malformed)?;
        let (bytes, index) = message.split_last_chunk::<4>().ok_or(malformed)?;
        let (index, count) = (u32::from_be_bytes(*index), u32::from_be_bytes(*count));
        // Java's numbers have a sign.
        if index >= count || i32::try_from(count).is_err() {
            return Err(malformed);
        }
        Ok(Self::Piece {
            bytes,
            index,
            count,
        })
    }

    /// Appends it as it is sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(bytes) => {
                out.extend_from_slice(bytes);
                out.push(0);
            }
            Self::Piece {
                bytes,
                index,
                count,
            } => {
                out.extend_from_slice(bytes);
                out.extend_from_slice(&index.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
                out.push(1);
            }
        }
    }

    /// `message` as pieces of at most `max_size` bytes (at least 1), or whole.
    pub fn of(message: &'a [u8], max_size: usize) -> impl Iterator<Item = Self> {
        let whole = message.len() <= max_size;
        let max_size = if whole { message.len() } else { max_size }.max(1);
        let count = message.len().div_ceil(max_size) as u32;
        let pieces = message
            .chunks(max_size)
            .zip(0u32..)
            .filter(move |_| !whole)
            .map(move |(bytes, index)| Self::Piece {
                bytes,
                index,
                count,
            });
        whole
            .then_some(Self::Whole(message))
            .into_iter()
            .chain(pieces)
    }
}

/// An incomplete message.
#[derive(Debug)]
struct Set {
    sender: Member,
    from: Option<MemberIndex>,
    unique_id: Vec<u8>,
    options: SendOptions,
    timestamp_ms: u64,
    since: Instant,
    count: u32,
    /// Sparse, so that a count costs nothing.
    pieces: BTreeMap<u32, Bytes>,
    /// Bytes of the pieces.
    len: usize,
}

impl Set {
    fn cost(&self) -> usize {
        self.pieces
            .len()
            .saturating_mul(PIECE_OVERHEAD)
            .saturating_add(self.len)
    }

    fn is_of(&self, message: &Inward<'_>) -> bool {
        self.unique_id == message.unique_id.as_slice() && self.sender == *message.sender
    }
}

/// The layer at work.
#[derive(Debug)]
pub(crate) struct Fragmentation {
    config: FragmentationInterceptor,
    /// In the order of their beginnings.
    sets: Vec<Set>,
    /// What they cost.
    cost: usize,
    /// What became of those before.
    outcomes: Outcomes,
}

impl Fragmentation {
    pub(crate) const fn new(config: FragmentationInterceptor) -> Self {
        Self {
            config,
            sets: Vec::new(),
            cost: 0,
            outcomes: Outcomes::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        self.sets.clear();
        self.cost = 0;
        self.outcomes.clear();
    }

    /// How many pieces messages with so many bytes make at most.
    pub(crate) fn pieces(&self, messages: usize, bytes: usize) -> usize {
        let pieces = bytes.checked_div(self.config.max_size).unwrap_or(0);
        pieces.saturating_add(messages)
    }

    pub(crate) const fn growth() -> usize {
        TRAILER
    }

    pub(crate) fn send(&self, down: &mut Down<'_>, message: Outbound, out: &mut Vec<Outbound>) {
        let flagged = ok_to_process(self.config.option_flag, message.options);
        let max_size = if flagged {
            self.config.max_size
        } else {
            usize::MAX
        };
        let before = out.len();
        for fragment in Fragment::of(&message.body, max_size) {
            let len = message.body.len().min(max_size).saturating_add(TRAILER);
            let mut body = Vec::with_capacity(len);
            fragment.write(&mut body);
            out.push(Outbound {
                body: body.into(),
                ..message.clone()
            });
        }
        let pieces = out.len().saturating_sub(before);
        if pieces > 1 {
            add(&mut down.stats.fragmentation.fragmented, 1);
            add(&mut down.stats.fragmentation.fragments_sent, pieces as u64);
        }
    }

    pub(crate) fn receive<'a>(
        &mut self,
        up: &mut Up<'_>,
        mut message: Inward<'a>,
    ) -> Result<Flow<'a>, Refusal> {
        self.outcomes.next();
        let (bytes, index, count) = match Fragment::read(message.body.as_slice())? {
            Fragment::Whole(bytes) => {
                let len = bytes.len();
                message.body = message.body.truncated(len);
                return Ok(Flow::Pass(message));
            }
            Fragment::Piece {
                bytes,
                index,
                count,
            } => (bytes, index, count),
        };
        add(&mut up.stats.fragmentation.fragments_received, 1);
        let at = match self.sets.iter().position(|set| set.is_of(&message)) {
            Some(at) => at,
            None => {
                // A piece that was sent again after the last one had come, or the rest of what was dropped.
                match self.outcomes.of(message.unique_id.as_slice()) {
                    Some(true) => return Ok(Flow::Stop),
                    Some(false) => return Err(Refusal::PieceTooLate),
                    None => {}
                }
                if self.sets.len() >= self.config.sets_max {
                    return Err(Refusal::TooManyFragments);
                }
                self.sets.push(Set {
                    sender: message.sender.clone(),
                    from: message.from,
                    unique_id: message.unique_id.as_slice().to_vec(),
                    options: message.options,
                    timestamp_ms: message.timestamp_ms,
                    since: up.now,
                    count,
                    pieces: BTreeMap::new(),
                    len: 0,
                });
                self.sets.len().saturating_sub(1)
            }
        };
        let Some(set) = self.sets.get_mut(at) else {
            return Ok(Flow::Stop);
        };
        if set.count != count {
            return Err(Refusal::MalformedFragment);
        }
        // A piece that was sent again after a lost connection.
        if set.pieces.contains_key(&index) {
            return Ok(Flow::Stop);
        }
        let refusal = if set.len.saturating_add(bytes.len()) > up.message_bytes_max {
            Some(Refusal::FragmentsTooLong)
        } else if self
            .cost
            .saturating_add(bytes.len())
            .saturating_add(PIECE_OVERHEAD)
            > up.gather_bytes_max
        {
            Some(Refusal::TooManyFragments)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.drop_set(at);
            return Err(refusal);
        }
        set.pieces.insert(index, Bytes::copy_from_slice(bytes));
        set.len = set.len.saturating_add(bytes.len());
        self.cost = self
            .cost
            .saturating_add(bytes.len())
            .saturating_add(PIECE_OVERHEAD);
        if set.pieces.len() < count as usize {
            return Ok(Flow::Stop);
        }
        let Some(set) = self.remove(at) else {
            return Ok(Flow::Stop);
        };
        let mut whole = Vec::with_capacity(set.len);
        for (index, piece) in &set.pieces {
            if planted(Bug::PieceMissing) && *index == 1 {
                continue;
            }
            whole.extend_from_slice(piece);
        }
        add(&mut up.stats.fragmentation.reassembled, 1);
        self.outcomes.handed_on(&set.unique_id);
        message.body = Body::Owned(whole.into());
        (message.options, message.timestamp_ms) = (set.options, set.timestamp_ms);
        Ok(Flow::Pass(message))
    }

    /// The listener has failed with what was handed on last.
    pub(crate) fn failed(&mut self) {
        self.outcomes.failed();
    }

    fn drop_set(&mut self, at: usize) {
        if let Some(set) = self.remove(at) {
            self.outcomes.dropped(&set.unique_id);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Set> {
        if at >= self.sets.len() {
            return None;
        }
        let set = self.sets.remove(at);
        self.cost = self.cost.saturating_sub(set.cost());
        Some(set)
    }

    /// Drops what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, stats: &mut InterceptorStats) {
        while self
            .sets
            .first()
            .is_some_and(|set| set.since + self.config.expire <= now)
        {
            self.drop_set(0);
            add(&mut stats.fragmentation.expired, 1);
        }
    }

    /// How many messages are incomplete.
    pub(crate) fn waiting(&self) -> usize {
        self.sets.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.sets.first().map(|set| set.since + self.config.expire)
    }

    /// Nothing more comes from this member.
    pub(crate) fn member_gone(&mut self, member: MemberIndex, stats: &mut InterceptorStats) {
        while let Some(at) = self.sets.iter().position(|set| set.from == Some(member)) {
            self.drop_set(at);
            add(&mut stats.fragmentation.abandoned, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_message_is_cut_where_tribes_cuts_it() {
        #[rustfmt::skip]
        let cases: &[(usize, usize, &[usize])] = &[
            (0, 4, &[0]), (3, 4, &[3]), (4, 4, &[4]), (5, 4, &[4, 1]), (8, 4, &[4, 4]), (9, 4, &[4, 4, 1]),
        ];
        for (len, max, pieces) in cases {
            let message = vec![b'm'; *len];
            let mut lens = vec![];
            for (at, fragment) in Fragment::of(&message, *max).enumerate() {
                let mut bytes = vec![];
                fragment.write(&mut bytes);
                assert_eq!(Fragment::read(&bytes), Ok(fragment));
                lens.push(match fragment {
                    Fragment::Whole(bytes) => bytes.len(),
                    Fragment::Piece {
                        bytes,
                        index,
                        count,
                    } => {
                        assert_eq!((index as usize, count as usize), (at, pieces.len()));
                        bytes.len()
                    }
                });
            }
            assert_eq!(lens, *pieces, "{len} by {max}");
        }
    }

    #[test]
    fn impossible_numbers_are_refused() {
        #[rustfmt::skip]
        let cases: &[&[u8]] = &[
            b"", b"\x01", b"\0\0\0\0\x01",
            b"x\0\0\0\x01\0\0\0\x01\x01",
            b"x\0\0\0\x00\0\0\0\x00\x01",
            b"x\xff\xff\xff\xff\0\0\0\x01\x01",
            b"x\0\0\0\x01\xff\xff\xff\xff\x01",
        ];
        for bytes in cases {
            assert_eq!(
                Fragment::read(bytes),
                Err(Refusal::MalformedFragment),
                "{bytes:?}"
            );
        }
    }
}
