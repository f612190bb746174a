//! Sockets watched by readiness, edge-triggered and in both directions for all their lives.

use std::io;

use folkmoot_core::engine::ConnId;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use crate::drive::Watch;

/// Tokens at the end of the range; a stream's token is its slot.
pub(crate) const WAKER: Token = Token(usize::MAX);
pub(crate) const LISTENER: Token = Token(usize::MAX - 1);
pub(crate) const GROUP: Token = Token(usize::MAX - 2);
pub(crate) const UDP: Token = Token(usize::MAX - 3);

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The readiness queue, as the sockets see it.
#[derive(Debug)]
pub struct Readiness(pub(crate) Registry);

impl Readiness {
    /// Sockets are watched by the queue of this registry. [`State::event`](crate::drive::State::event) takes what it says.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// The token that says nothing but that somebody wants the driver thread to look.
    pub const WAKER: Token = WAKER;

    /// The sockets for datagrams are to be watched, and no listener.
    ///
    /// # Errors
    /// They cannot be.
    pub fn datagrams(
        &self,
        udp: Option<&mut UdpSocket>,
        group: Option<&mut UdpSocket>,
    ) -> io::Result<()> {
        if let Some(socket) = udp {
            self.0.register(socket, UDP, Interest::READABLE)?;
        }
        if let Some(socket) = group {
            self.0.register(socket, GROUP, Interest::READABLE)?;
        }
        Ok(())
    }

    /// A stream is not to be watched any more, or not by this queue.
    pub fn closed(&self, socket: &mut TcpStream) {
        if let Err(error) = self.0.deregister(socket) {
            tracing::debug!(%error, "cannot deregister a stream");
        }
    }
}

impl Watch for Readiness {
    fn started(
        &mut self,
        listener: &mut TcpListener,
        udp: Option<&mut UdpSocket>,
        group: Option<&mut UdpSocket>,
    ) -> io::Result<()> {
        self.0.register(listener, LISTENER, Interest::READABLE)?;
        self.datagrams(udp, group)
    }

    fn opened(&mut self, conn: ConnId, socket: &mut TcpStream, _: bool) -> io::Result<()> {
        self.0.register(socket, Token(conn.slot() as usize), BOTH)
    }

    fn opened_for_writing(&mut self, conn: ConnId, socket: &mut TcpStream) -> io::Result<()> {
        let token = Token(conn.slot() as usize);
        self.0.register(socket, token, Interest::WRITABLE)
    }

    fn released(&mut self, _: ConnId, mut socket: TcpStream) {
        self.closed(&mut socket);
    }
}
