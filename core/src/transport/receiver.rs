//! One connection that a peer has opened to us.
//!
//! Tribes: the `ObjectReader` and the answers of `NioReplicationTask`. Whole frames are read where the driver has put
//! them; only one that spans reads is gathered, in steps, so that an announced length costs nothing until its bytes come.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::channel::{Member, MemberIndex};
use crate::time::Instant;

/// Capacity kept between gathered frames.
const KEEP_BYTES: usize = 2 << 20;
/// First step of a gathered frame.
const STEP_BYTES: usize = 64 * 1024;

/// What is known of a sender, as long as its member block does not change by a byte.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The block as received.
    pub(crate) block: Vec<u8>,
    /// The same, read.
    pub(crate) member: Member,
    /// Whether that is one of ours.
    pub(crate) ours: bool,
    /// Where it stands in the member table.
    pub(crate) index: Option<MemberIndex>,
}

/// State of an accepted connection.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// How many connections had been accepted before.
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    /// The beginning of a frame whose end has not come yet.
    pub(crate) partial: Vec<u8>,
    /// When its first byte came.
    pub(crate) partial_since: Instant,
    /// How many bytes it has in all, as far as known.
    pub(crate) partial_need: usize,
    /// Answers to write, and how many of their bytes have been.
    pub(crate) acks: Vec<u8>,
    pub(crate) acks_sent: usize,
    /// Since when answers have waited without any being taken.
    pub(crate) acks_since: Instant,
    /// Whether the driver has been told that answers wait.
    pub(crate) announced: bool,
    /// Whether the driver has been told to read no more.
    pub(crate) paused: bool,
    pub(crate) sender: Option<Sender>,
    /// Whether a message (not only a failure detector's check) has come: its end is then news about the sender.
    pub(crate) messages: bool,
    /// When bytes last came.
    pub(crate) active_at: Instant,
    /// Something of no use has come: the connection is wound up once the read is worked off.
    pub(crate) unwanted: bool,
    /// Being wound up, until then at the latest: our direction has ended, and only what wants no answer is taken.
    pub(crate) ending: Option<Instant>,
    /// What came after an earlier connection of the same sender began to be wound up, and has to wait for its end.
    pub(crate) held: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new(now: Instant, peer: SocketAddr, number: u64) -> Self {
        Self {
            number,
            peer,
            partial: Vec::new(),
            partial_since: now,
            partial_need: 0,
            acks: Vec::new(),
            acks_sent: 0,
            acks_since: now,
            announced: false,
            paused: false,
            sender: None,
            messages: false,
            active_at: now,
            unwanted: false,
            ending: None,
            held: Vec::new(),
        }
    }

    /// Bytes that wait for others.
    pub(crate) fn kept(&self) -> usize {
        self.partial.len().saturating_add(self.held.len())
    }

    /// Answers not yet written.
    pub(crate) fn waiting_acks(&self) -> &[u8] {
        self.acks.get(self.acks_sent..).unwrap_or_default()
    }

    /// Adds an answer.
    pub(crate) fn push_ack(&mut self, now: Instant, frame: &[u8]) {
        if self.waiting_acks().is_empty() {
            self.acks_since = now;
        }
        self.acks.extend_from_slice(frame);
    }

    /// `len` bytes of answers were written; returns how many that can be at most.
    pub(crate) fn acks_written(&mut self, now: Instant, len: usize) -> usize {
        let len = len.min(self.waiting_acks().len());
        self.acks_sent = self.acks_sent.saturating_add(len);
        if len > 0 {
            self.acks_since = now;
        }
        if self.waiting_acks().is_empty() {
            self.acks.clear();
            self.acks_sent = 0;
            self.announced = false;
        }
        len
    }

    /// Gathers `bytes` of a frame that needs `need` in all.
    pub(crate) fn gather(&mut self, bytes: &[u8], need: usize) {
        let len = self.partial.len();
        let wanted = len.saturating_add(bytes.len());
        if wanted > self.partial.capacity() {
            // Doubling, but never beyond what the frame needs.
            let step = need
                .min(wanted.max(len.saturating_mul(2)).max(STEP_BYTES))
                .max(wanted);
            self.partial.reserve_exact(step.saturating_sub(len));
        }
        self.partial.extend_from_slice(bytes);
    }

    /// The gathered frame is done with.
    pub(crate) fn gathered(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() > KEEP_BYTES {
            buffer = Vec::new();
        }
        self.partial = buffer;
    }
}
