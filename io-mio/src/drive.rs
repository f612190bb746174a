//! What a driver of another kind needs to work behind the same [`Handle`].
//!
//! Everything that is not the way to wait and to move bytes is one for all drivers: the sockets and their options, the
//! engine's mutex, commands on their callers' threads, what is left to gather. A driver brings a [`Watch`], which is
//! told of streams that come and go, a way to wake its thread, and the thread's loop, which tells the [`State`] what
//! has happened.

use std::io;

use folkmoot_core::engine::{ConnId, Engine, Input, Part};
use folkmoot_core::time::Instant;
use mio::net::{TcpListener, TcpStream, UdpSocket};

use crate::bind::Bound;
use crate::config::Tuning;
use crate::error::BindError;
use crate::handle::Handle;
use crate::stream::Phase;

pub use crate::driver::{Turned, lend, turn};
pub use crate::duty::{Duty, Poller};
pub use crate::handle::{Locked, Shared, Waking};
pub use crate::spin::Spin;
pub use crate::state::State;
pub use crate::stats::DriverStats;
pub use crate::watch::Readiness;

/// How a driver learns which sockets there are. Called under the lock, on any thread.
pub trait Watch: Send {
    /// The sockets that live as long as the driver; called once, before all others.
    ///
    /// # Errors
    /// They cannot be watched; the driver does not start.
    fn started(
        &mut self,
        listener: &mut TcpListener,
        udp: Option<&mut UdpSocket>,
        group: Option<&mut UdpSocket>,
    ) -> io::Result<()>;

    /// A stream is in the table; `connecting` if it is on its way to the peer.
    ///
    /// # Errors
    /// It cannot be watched and is closed.
    fn opened(&mut self, conn: ConnId, socket: &mut TcpStream, connecting: bool) -> io::Result<()>;

    /// As [`opened`](Self::opened), for an accepted stream that a thread reads: only room to write is to be watched for.
    ///
    /// # Errors
    /// It cannot be watched and is closed.
    fn opened_for_writing(&mut self, conn: ConnId, socket: &mut TcpStream) -> io::Result<()> {
        self.opened(conn, socket, false)
    }

    /// A stream has left the table and is closed when this lets go of it, soon.
    fn released(&mut self, conn: ConnId, socket: TcpStream);

    /// A stream is given up: nothing it still holds may be delivered. [`released`](Self::released) follows.
    fn aborted(&mut self, _conn: ConnId, _socket: &TcpStream) {}

    /// A write found no room: [`State::writable`] is to be called when there is.
    fn blocked(&mut self, _conn: ConnId) {}

    /// Something waits to be written: whether the driver thread will fetch it with [`State::take`]. Otherwise it is written now.
    fn sends(&mut self, _conn: ConnId) -> bool {
        false
    }

    /// A stream's own direction is to end: whether the driver thread calls [`State::end_writing`] when what it has taken is out.
    /// Otherwise it ends now.
    fn half_closes(&mut self, _conn: ConnId) -> bool {
        false
    }

    /// The engine wants nothing read from a stream, or wants it again.
    fn paused(&mut self, _conn: ConnId, _paused: bool) {}

    /// So many bytes were read from a stream in one turn because of what the readiness queue had said.
    fn brought(&mut self, _conn: ConnId, _bytes: usize) {}

    /// Whether the driver thread must look at what it was told.
    fn has_work(&self) -> bool {
        false
    }
}

/// Puts `engine` behind `bound` and starts `run` as the driver thread.
///
/// `turn` and `after` are those of [`Bound::spawn_with`].
///
/// # Errors
/// The operating system watches no sockets or starts no thread.
pub fn launch<E: Engine + Send + 'static>(
    mut bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
    after: impl Fn() + Send + Sync + 'static,
    watch: impl Watch + 'static,
    waking: Waking,
    run: impl FnOnce(&Shared<E>) + Send + 'static,
) -> Result<Handle<E>, BindError> {
    bound.tuning_mut().readers = 0;
    Handle::launch(
        bound,
        engine,
        Box::new(turn),
        Box::new(after),
        Box::new(watch),
        waking,
        run,
    )
}

/// What a loop that learns of outcomes, and not of readiness, tells and asks.
impl<E: Engine> State<E> {
    /// The driver was asked to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Budgets and waiting times.
    pub fn tuning(&self) -> &Tuning {
        &self.sockets.tuning
    }

    /// The counters, to add to.
    pub fn stats(&mut self) -> &mut DriverStats {
        &mut self.sockets.stats
    }

    /// Bytes have arrived on a stream. Not to be called while it is paused: see [`is_paused`](Self::is_paused).
    pub fn received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        if self.sockets.streams.get_mut(conn).is_some() && !bytes.is_empty() {
            self.sockets.stats.bytes_read += bytes.len() as u64;
            self.engine.handle(now, Input::Received { conn, bytes });
            self.settle(now);
        }
    }

    /// Whether the engine wants nothing read from a stream.
    pub fn is_paused(&mut self, conn: ConnId) -> bool {
        let stream = self.sockets.streams.get_mut(conn);
        stream.is_some_and(|stream| stream.paused)
    }

    /// Whether a stream is in the table and established.
    pub fn is_open(&mut self, conn: ConnId) -> bool {
        let stream = self.sockets.streams.get_mut(conn);
        stream.is_some_and(|stream| stream.phase == Phase::Open)
    }

    /// The driver learns of an established stream's bytes in another way from now on, or again from the readiness queue: forgets
    /// what readiness has said of it. The socket, and whether a write has found no room.
    pub fn change_watch(&mut self, conn: ConnId) -> Option<(&mut TcpStream, bool)> {
        let stream = self.sockets.streams.get_mut(conn)?;
        if stream.phase != Phase::Open || stream.elsewhere.is_some() {
            return None;
        }
        stream.held = false;
        if std::mem::take(&mut stream.in_ready) {
            self.sockets.ready.retain(|other| *other != conn);
        }
        Some((&mut stream.socket, stream.blocked))
    }

    /// A stream has failed.
    pub fn failed(&mut self, now: Instant, conn: ConnId, error: &io::Error) {
        self.end(now, conn, error);
        self.settle(now);
    }

    /// Something has happened to a stream that nothing is read from: ends it if it has failed.
    pub fn check(&mut self, now: Instant, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn)
            && let Ok(Some(error)) = stream.socket.take_error()
        {
            self.failed(now, conn, &error);
        }
    }

    /// For a driver that sends for itself: shows what waits on a stream, in order, to `take`, which says how many bytes of each part
    /// it keeps, and gets no more after one that it has not kept whole. How many that were. They count as written, and until
    /// [`writable`](Self::writable) nothing else is written.
    pub fn take(
        &mut self,
        now: Instant,
        conn: ConnId,
        mut take: impl FnMut(Part<'_>) -> usize,
    ) -> usize {
        let Some(stream) = self.sockets.streams.get_mut(conn) else {
            return 0;
        };
        if stream.phase != Phase::Open {
            return 0;
        }
        let mut taken = 0;
        self.engine.transmit_parts(conn, &mut |part| {
            let all = part.as_ref().len();
            let kept = take(part);
            taken += kept;
            kept == all
        });
        stream.blocked = taken > 0;
        if taken > 0 {
            self.sockets.stats.writes += 1;
            self.sockets.stats.ring_sends += 1;
            self.sockets.stats.bytes_written += taken as u64;
            self.engine.transmitted(now, conn, taken);
            self.settle(now);
        }
        taken
    }

    /// There may be room again.
    pub fn writable(&mut self, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn) {
            stream.blocked = false;
            self.sockets.mark_dirty(conn);
        }
    }
}
