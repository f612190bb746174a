//! What the sockets tell the driver thread: only it may touch the ring.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use folkmoot_core::engine::ConnId;
use folkmoot_mio::drive::{Readiness, Watch};
use mio::net::{TcpListener, TcpStream, UdpSocket};

use crate::tag;

/// One of them.
#[derive(Debug)]
pub(crate) enum Request {
    /// A stream is in the table.
    Open {
        conn: ConnId,
        fd: RawFd,
        connecting: bool,
    },
    /// A stream has left the table; its descriptor stays open until its requests have been ended.
    Release { conn: ConnId, socket: TcpStream },
    /// A write found no room.
    Blocked { conn: ConnId },
    /// Reading is to end or to go on.
    Paused { conn: ConnId },
}

#[derive(Debug, Default)]
struct Queue {
    requests: Mutex<Vec<Request>>,
    any: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's end of the queue. Its lock is never waited for: both ends are used under the engine's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Queue>);

/// The sockets' end.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) requests: Requests,
    pub(crate) lasting: Readiness,
}

impl Requests {
    fn push(&self, request: Request) {
        lock(&self.0.requests).push(request);
        self.0.any.store(true, Ordering::Relaxed);
    }

    /// Moves all requests to `into`, which is empty.
    pub(crate) fn take(&self, into: &mut Vec<Request>) {
        if self.0.any.swap(false, Ordering::Relaxed) {
            std::mem::swap(&mut *lock(&self.0.requests), into);
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
        self.lasting.started(listener, udp, group)
    }

    fn opened(&mut self, conn: ConnId, socket: &mut TcpStream, connecting: bool) -> io::Result<()> {
        if conn.slot() >= tag::SLOTS {
            return Err(io::Error::other("too many connections for one ring"));
        }
        let fd = socket.as_raw_fd();
        self.requests.push(Request::Open {
            conn,
            fd,
            connecting,
        });
        Ok(())
    }

    fn released(&mut self, conn: ConnId, socket: TcpStream) {
        self.requests.push(Request::Release { conn, socket });
    }

    fn aborted(&mut self, _: ConnId, socket: &TcpStream) {
        // The ring's requests hold on to the stream for a moment after it is closed here. What it still carries must
        // not use that moment.
        if let Err(error) = disconnect(socket) {
            tracing::debug!(%error, "cannot reset a stream at once");
        }
    }

    fn blocked(&mut self, conn: ConnId) {
        self.requests.push(Request::Blocked { conn });
    }

    fn paused(&mut self, conn: ConnId, _: bool) {
        self.requests.push(Request::Paused { conn });
    }

    fn has_work(&self) -> bool {
        self.requests.0.any.load(Ordering::Relaxed)
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
