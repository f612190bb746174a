//! A message between two layers of a stack.

use alloc::vec::Vec;

use bytes::Bytes;

use super::InterceptorStats;
use crate::channel::{Member, MemberIndex};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::{SendOptions, UniqueId};

/// A message on its way down.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) options: SendOptions,
    /// Milliseconds since the Unix epoch.
    pub(crate) timestamp_ms: u64,
    pub(crate) id: UniqueId,
    pub(crate) body: Bytes,
    /// A single destination; `None` means all of the send.
    pub(crate) to: Option<MemberIndex>,
}

/// What a layer may use while a message goes down.
#[derive(Debug)]
pub(crate) struct Down<'a> {
    /// The destinations of the send.
    pub(crate) targets: &'a [MemberIndex],
    pub(crate) rng: &'a mut Rng,
    pub(crate) stats: &'a mut InterceptorStats,
    /// The number of this layer.
    pub(crate) layer: usize,
    /// Messages that go on from below their layer when this one has been acknowledged by all.
    pub(crate) later: &'a mut Vec<(usize, Outbound)>,
}

/// The bytes of a message on its way up: still in the receive buffer, or a layer's work.
#[derive(Clone, Debug)]
pub(crate) enum Body<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Body<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// The first `len` bytes, all if there are fewer.
    pub(crate) fn truncated(self, len: usize) -> Self {
        match self {
            Self::Borrowed(bytes) => Self::Borrowed(bytes.get(..len).unwrap_or(bytes)),
            Self::Owned(mut bytes) => {
                bytes.truncate(len);
                Self::Owned(bytes)
            }
        }
    }

    /// Bytes of its own, copied if they are borrowed.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A message on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Inward<'a> {
    pub(crate) from: Option<MemberIndex>,
    pub(crate) sender: &'a Member,
    pub(crate) options: SendOptions,
    pub(crate) timestamp_ms: u64,
    pub(crate) unique_id: Body<'a>,
    pub(crate) body: Body<'a>,
}

impl Inward<'_> {
    /// The message for itself, so that it can wait.
    pub(crate) fn keep(self, now: Instant) -> Kept {
        Kept {
            since: now,
            from: self.from,
            sender: self.sender.clone(),
            options: self.options,
            timestamp_ms: self.timestamp_ms,
            unique_id: self.unique_id.into_bytes(),
            body: self.body.into_bytes(),
        }
    }
}

/// A message that waits in a layer.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) since: Instant,
    pub(crate) from: Option<MemberIndex>,
    pub(crate) sender: Member,
    pub(crate) options: SendOptions,
    pub(crate) timestamp_ms: u64,
    pub(crate) unique_id: Bytes,
    pub(crate) body: Bytes,
}

impl Kept {
    /// Bytes of memory, about.
    pub(crate) fn cost(&self) -> usize {
        /// The rest of the structure and what it allocates.
        const OVERHEAD: usize = 512;
        self.body.len().saturating_add(OVERHEAD)
    }

    /// The same on its way again.
    pub(crate) fn inward(&self) -> Inward<'_> {
        Inward {
            from: self.from,
            sender: &self.sender,
            options: self.options,
            timestamp_ms: self.timestamp_ms,
            unique_id: Body::Owned(self.unique_id.clone()),
            body: Body::Owned(self.body.clone()),
        }
    }
}

/// What a layer may use while a message goes up.
#[derive(Debug)]
pub(crate) struct Up<'a> {
    pub(crate) now: Instant,
    /// Milliseconds since the Unix epoch.
    #[cfg_attr(
        not(feature = "encrypt"),
        allow(dead_code, reason = "encryption alone compares clocks")
    )]
    pub(crate) unix_ms: u64,
    /// The longest message.
    pub(crate) message_bytes_max: usize,
    /// What incomplete messages may take together.
    pub(crate) gather_bytes_max: usize,
    pub(crate) stats: &'a mut InterceptorStats,
    /// Messages to go on from this layer after the present one.
    pub(crate) released: &'a mut Released,
    /// The number of this layer.
    pub(crate) layer: usize,
}

impl Up<'_> {
    /// Lets a message that has waited go on.
    pub(crate) fn release(&mut self, message: Kept) {
        self.released.push_back((self.layer, message));
    }
}

/// Messages that go on from a layer.
pub(crate) type Released = alloc::collections::VecDeque<(usize, Kept)>;

/// What a layer says to a message on its way up.
#[derive(Debug)]
pub(crate) enum Flow<'a> {
    /// On it goes.
    Pass(Inward<'a>),
    /// It was for the layer alone, or waits there.
    Stop,
}

/// Adds `n`.
pub(super) const fn add(counter: &mut u64, n: u64) {
    *counter = counter.wrapping_add(n);
}
