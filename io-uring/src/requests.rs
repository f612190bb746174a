//! What the sockets tell the driver thread: only it may touch the ring.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use folkmoot_core::engine::ConnId;
use folkmoot_mio::drive::{Readiness, Watch};
use mio::net::{TcpListener, TcpStream, UdpSocket};

use crate::tag;

/// One of them.
#[derive(Debug)]
pub(crate) enum Request {
    /// A stream brings many bytes: the ring is to receive it.
    Take { conn: ConnId },
    /// A stream of the ring has left the table; its descriptor stays open until its requests have been ended.
    Release { conn: ConnId, socket: TcpStream },
    /// A write to a stream of the ring found no room.
    Blocked { conn: ConnId },
    /// Reading a stream of the ring is to end or to go on.
    Paused { conn: ConnId },
    /// Something waits to be sent to a stream of the ring.
    Send { conn: ConnId },
    /// The own direction of a stream is to end behind what is under way.
    HalfClose { conn: ConnId },
}

#[derive(Debug, Default)]
struct Queue {
    told: Mutex<Told>,
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    requests: Vec<Request>,
    /// The streams of the ring, by slot.
    ring: Vec<Option<InRing>>,
}

/// What the sockets know of a stream of the ring.
#[derive(Clone, Copy, Debug)]
struct InRing {
    conn: ConnId,
    /// A bundle is under way.
    sending: bool,
}

thread_local! {
    /// The queue whose ring this thread drives, by address: 0 if none.
    static DRIVES: Cell<usize> = const { Cell::new(0) };
}

/// The driver's end of the queue. Its lock is never waited for: both ends are used under the engine's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Queue>);

/// The sockets' end.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) requests: Requests,
    pub(crate) queue: Readiness,
    /// A stream that brings so many bytes in a turn is for the ring.
    pub(crate) ring_from: usize,
    /// The ring accepts.
    pub(crate) accepts: bool,
    /// The ring sends to its streams.
    pub(crate) sends: bool,
}

impl Requests {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, request: Request) {
        self.told().requests.push(request);
        self.0.any.store(true, Ordering::Relaxed);
    }

    /// Passes on what the ring has to know of one of its streams.
    fn push_of_ring(&self, conn: ConnId, request: Request) {
        if self.is_in_ring(conn) {
            self.push(request);
        }
    }

    /// Whether there is something to take.
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Moves all requests to `into`, which is empty.
    pub(crate) fn take(&self, into: &mut Vec<Request>) {
        if self.0.any.swap(false, Ordering::Relaxed) {
            std::mem::swap(&mut self.told().requests, into);
        }
    }

    /// This thread is the driver's.
    pub(crate) fn drive(&self) {
        DRIVES.set(Arc::as_ptr(&self.0).addr());
    }

    /// Whether this thread is.
    fn is_driver(&self) -> bool {
        DRIVES.get() == Arc::as_ptr(&self.0).addr()
    }

    fn of_ring(&self, conn: ConnId) -> Option<InRing> {
        let stream = *self.told().ring.get(conn.slot() as usize)?;
        stream.filter(|stream| stream.conn == conn)
    }

    /// Whether the ring has a stream.
    pub(crate) fn is_in_ring(&self, conn: ConnId) -> bool {
        self.of_ring(conn).is_some()
    }

    /// The ring has a stream now, or has it no more.
    pub(crate) fn set_in_ring(&self, conn: ConnId, is: bool) {
        let ring = &mut self.told().ring;
        let slot = conn.slot() as usize;
        if slot >= ring.len() {
            ring.resize(slot + 1, None);
        }
        ring[slot] = is.then_some(InRing {
            conn,
            sending: false,
        });
    }

    /// A bundle for a stream is under way now, or is no more.
    pub(crate) fn set_sending(&self, conn: ConnId, is: bool) {
        if let Some(Some(stream)) = self.told().ring.get_mut(conn.slot() as usize)
            && stream.conn == conn
        {
            stream.sending = is;
        }
    }
}

impl Watch for Sockets {
    fn started(
        &mut self,
        listener: &mut TcpListener,
        udp: Option<&mut UdpSocket>,
        group: Option<&mut UdpSocket>,
    ) -> io::Result<()> {
        match self.accepts {
            true => self.queue.datagrams(udp, group),
            false => self.queue.started(listener, udp, group),
        }
    }

    fn opened(&mut self, conn: ConnId, socket: &mut TcpStream, connecting: bool) -> io::Result<()> {
        if conn.slot() >= tag::SLOTS {
            return Err(io::Error::other("too many connections for one ring"));
        }
        self.queue.opened(conn, socket, connecting)
    }

    fn released(&mut self, conn: ConnId, socket: TcpStream) {
        match self.requests.is_in_ring(conn) {
            true => self.requests.push(Request::Release { conn, socket }),
            false => self.queue.released(conn, socket),
        }
    }

    fn aborted(&mut self, conn: ConnId, socket: &TcpStream) {
        // The ring's requests hold on to the stream for a moment after it is closed here. What it still carries must
        // not use that moment.
        if self.requests.is_in_ring(conn)
            && let Err(error) = disconnect(socket)
        {
            tracing::debug!(%error, "cannot reset a stream at once");
        }
    }

    fn blocked(&mut self, conn: ConnId) {
        if self.requests.is_in_ring(conn) {
            self.requests.push(Request::Blocked { conn });
        } else if self.sends {
            self.requests.push(Request::Take { conn });
        }
    }

    fn sends(&mut self, conn: ConnId) -> bool {
        // Another thread writes to a stream that owes nothing itself.
        let sends = self.sends && self.requests.is_driver() && self.requests.is_in_ring(conn);
        if sends {
            self.requests.push(Request::Send { conn });
        }
        sends
    }

    fn half_closes(&mut self, conn: ConnId) -> bool {
        let sending = |stream: InRing| stream.sending;
        let later = self.requests.of_ring(conn).is_some_and(sending);
        if later {
            self.requests.push(Request::HalfClose { conn });
        }
        later
    }

    fn paused(&mut self, conn: ConnId, _: bool) {
        self.requests.push_of_ring(conn, Request::Paused { conn });
    }

    fn brought(&mut self, conn: ConnId, bytes: usize) {
        if bytes >= self.ring_from.max(1) {
            self.requests.push(Request::Take { conn });
        }
    }

    fn has_work(&self) -> bool {
        self.requests.any()
    }
}

/// Dissolves a stream's association at once: the peer gets a reset, what was not delivered is dropped.
fn disconnect(socket: &TcpStream) -> io::Result<()> {
    // SAFETY: a sockaddr is plain data, for which zeroes are a value.
    let mut nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address outlives the call and `len` is its size.
    match unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
