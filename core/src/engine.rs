//! The boundary between a state machine and whoever drives it.
//!
//! Control is one ordered enum ([`Output`]), bytes are pulled per connection ([`Engine::transmit`]) so that
//! one slow member holds up nobody, and the time is an argument. The mio driver, the io_uring driver, the
//! simulator and firmware all run the same machines through these six methods. Three more, which an engine need not know, let a driver
//! have input decoded on other threads, and keep bytes that the kernel has not taken yet.

use core::net::SocketAddr;

#[cfg(feature = "alloc")]
use bytes::Bytes;

use crate::time::Instant;

/// What a driver runs.
///
/// After every call that takes `&mut self`, drain [`poll_output`](Self::poll_output), then ask
/// [`poll_timeout`](Self::poll_timeout) when to come back.
pub trait Engine {
    /// Takes what happened. Never fails: a bad peer loses its connection and becomes an event.
    fn handle(&mut self, now: Instant, input: Input<'_>);

    /// A peer has connected from `from`: its id, or `None` to refuse.
    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId>;

    /// The next thing to do, until `None`.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`handle`](Self::handle) with [`Input::Timeout`] if nothing else happens.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Adds the runs of bytes that wait on `conn`; asking again without
    /// [`transmitted`](Self::transmitted) gives the same.
    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>);

    /// `len` of those bytes were taken by the socket.
    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize);

    /// Shows the bytes that wait on `conn`, in order, until `take` wants no more: those of [`transmit`](Self::transmit), for a driver
    /// that keeps what it takes until the kernel is done with it. It says [`transmitted`](Self::transmitted) as soon as it has taken
    /// them: an answer may be here before the kernel has said anything. By default all of them are [lent](Part::Lent), to be copied.
    #[cfg(feature = "alloc")]
    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        let mut gather = Gather::new();
        self.transmit(conn, &mut gather);
        gather.lend(take);
    }

    /// A machine that decodes on another thread what peers have sent, before the engine is handed it. The default one does nothing:
    /// then such a thread only reads.
    #[cfg(feature = "alloc")]
    fn read_ahead(&self) -> alloc::boxed::Box<dyn ReadAhead> {
        alloc::boxed::Box::new(NothingAhead)
    }

    /// As [`handle`](Self::handle) with [`Input::Received`], for `bytes` that `ahead` was the last to [read](ReadAhead::read). The
    /// outcome is the same, and sooner there. By default nothing is made of `ahead`.
    #[cfg(feature = "alloc")]
    fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: &[u8], ahead: &mut dyn ReadAhead) {
        let _ = ahead;
        self.handle(now, Input::Received { conn, bytes });
    }
}

/// Decodes what peers send, without the engine: what a driver runs on threads of its own, each with connections of its own, so
/// that reading, deframing and decoding take as many cores as there are threads.
///
/// One serves any number of connections, one read after the other: what it has found in a read is in its memory until the next.
/// It is a matter of time only. Bytes that nobody has read ahead, and such that it could make nothing of, are decoded by the
/// engine. What it may do beyond decoding is between it and the engine: a change that touches nothing but what the engine has lent it
/// may be made at once, and counts as received then. Its answer is the engine's in any case.
#[cfg(feature = "alloc")]
pub trait ReadAhead: core::any::Any + Send {
    /// Decodes what can be decoded of the bytes of one read of `conn`, at `now` by the driver's clock; `progress` is that of the
    /// connection. Hand the same bytes to [`Engine::handle_read`] next, before anything else is read from this connection or by
    /// this machine. If the connection is no more by then, drop them.
    fn read(&mut self, now: Instant, conn: ConnId, progress: &mut Progress, bytes: &[u8]);
}

/// Leaves everything to the engine.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingAhead;

#[cfg(feature = "alloc")]
impl ReadAhead for NothingAhead {
    fn read(&mut self, _: Instant, _: ConnId, _: &mut Progress, _: &[u8]) {}
}

/// How far the bytes of one connection have been read ahead: what has to be remembered between two reads.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The beginning of a frame that does not say yet how long it is.
    pub(crate) head: heapless::Vec<u8, 18>,
    /// Bytes of a frame that are still to come.
    pub(crate) rest: usize,
    /// The stream cannot be followed: the engine will close it.
    pub(crate) lost: bool,
    /// The frame that is still to come, as far as it is here.
    pub(crate) split: alloc::vec::Vec<u8>,
    /// It is too long to be kept here.
    pub(crate) too_long: bool,
}

/// A connection or a waiting datagram, as long as it lives: a slot and a generation, so that a completion
/// that arrives after its connection has been closed is recognised and dropped.
///
/// The core assigns it, in [`Output::Connect`], [`Output::Datagram`] and [`Engine::accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The id of the `generation`th user of `slot`.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The slot: small, reused, fit to index a driver's table.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How often the slot had been used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both in one word, for a driver's token.
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The reverse of [`to_u64`](Self::to_u64).
    pub const fn from_u64(word: u64) -> Self {
        Self {
            slot: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

/// What a driver tells the engine.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Input<'a> {
    /// Time has passed; anything that is due is done now.
    Timeout,
    /// A connection asked for by [`Output::Connect`] is established.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes arrived on a connection, in order. Borrowed for the call only.
    Received {
        /// The connection.
        conn: ConnId,
        /// At least one byte.
        bytes: &'a [u8],
    },
    /// A datagram arrived, on the multicast group or on the member's UDP port.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// The whole datagram.
        bytes: &'a [u8],
    },
    /// A connection ended or could not be established. The driver has released it already and will not
    /// mention it again; the engine must not answer with [`Output::Close`].
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CloseReason {
    /// The peer ended the stream.
    EndOfStream,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable,
    /// The peer, or something between, reset it.
    Reset,
    /// The operating system gave up waiting.
    TimedOut,
    /// The operating system said something else, or the driver ran out of descriptors.
    Failed,
}

/// What the engine wants of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Output {
    /// Open a stream; answer with [`Input::Connected`] or [`Input::Closed`].
    Connect {
        /// The id it gets.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// `conn` has bytes again; said once, not repeated until it has been drained.
    ///
    /// May come before the connection is established: then write when it is.
    Transmit {
        /// The connection.
        conn: ConnId,
    },
    /// One datagram: pull it with one [`Engine::transmit`], send it once, report it with one
    /// [`Engine::transmitted`], whether the send succeeded or not; the id is free after that.
    Datagram {
        /// The borrowed id.
        conn: ConnId,
        /// Where to.
        to: Target,
    },
    /// Read no more from `conn` until told: TCP holds the peer back.
    PauseRead {
        /// The connection.
        conn: ConnId,
    },
    /// Read from `conn` again.
    ResumeRead {
        /// The connection.
        conn: ConnId,
    },
    /// Write what is still waiting if that needs no waiting, then end our direction (`shutdown` for writing) and go on
    /// reading: the peer reads the end of the stream, and what it has under way still arrives. When it ends its own,
    /// [`Input::Closed`] says so as ever. Nothing will be written on `conn` any more.
    HalfClose {
        /// The connection.
        conn: ConnId,
    },
    /// Close at once, and see to it that nothing written and not yet delivered is delivered later, as far as the
    /// operating system can (`SO_LINGER` with no time: a reset). The id is free; the driver says nothing more about it.
    ///
    /// For connections given up with bytes under way: those bytes would come out after newer ones that took another
    /// connection.
    Abort {
        /// The connection.
        conn: ConnId,
    },
    /// Write what is still waiting if that needs no waiting, then close. The id is free; the driver says
    /// nothing more about it.
    Close {
        /// The connection.
        conn: ConnId,
    },
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Target {
    /// The multicast group the driver has joined.
    Group,
    /// One address.
    Address(SocketAddr),
}

/// Runs of bytes for one vectored write, borrowed from the engine.
#[derive(Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Gather<'a> {
    runs: heapless::Vec<&'a [u8], { Gather::CAPACITY }>,
    len: usize,
}

impl<'a> Gather<'a> {
    /// The most runs one gather holds.
    pub const CAPACITY: usize = 64;

    /// An empty gather.
    pub const fn new() -> Self {
        Self {
            runs: heapless::Vec::new(),
            len: 0,
        }
    }

    /// Adds a run; `false` if there is no room for it. Empty runs are left out.
    pub fn push(&mut self, run: &'a [u8]) -> bool {
        if run.is_empty() {
            return true;
        }
        let pushed = self.runs.push(run).is_ok();
        if pushed {
            self.len = self.len.saturating_add(run.len());
        }
        pushed
    }

    /// Shows the runs, in order, until `take` wants no more.
    #[cfg(feature = "alloc")]
    pub fn lend(&self, take: &mut dyn FnMut(Part<'_>) -> bool) {
        for run in &self.runs {
            if !take(Part::Lent(run)) {
                return;
            }
        }
    }

    /// The runs, in order.
    pub fn runs(&self) -> &[&'a [u8]] {
        &self.runs
    }

    /// Bytes in all runs together.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Bytes on their way out, for a driver that keeps them: see [`Engine::transmit_parts`]. Never empty.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The engine's own: whoever keeps them copies them.
    Lent(&'a [u8]),
    /// Kept by keeping this.
    Shared(Bytes),
}

#[cfg(feature = "alloc")]
impl AsRef<[u8]> for Part<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_a_token() {
        let id = ConnId::new(7, u32::MAX);
        assert_eq!(ConnId::from_u64(id.to_u64()), id);
    }

    #[test]
    fn a_gather_says_when_it_is_full() {
        let mut gather = Gather::new();
        assert!(gather.push(&[]));
        for _ in 0..Gather::CAPACITY {
            assert!(gather.push(b"ab"));
        }
        assert!(!gather.push(b"c"));
        assert_eq!(gather.len(), 2 * Gather::CAPACITY);
    }
}
