//! How peers are let in.

use std::io;
use std::net::SocketAddr;

use folkmoot_core::engine::{CloseReason, Engine, Input};
use folkmoot_core::time::Instant;
use mio::net::{TcpListener, TcpStream};
use socket2::SockRef;

use crate::readers::Readers;
use crate::reason::is_exhausted;
use crate::state::State;
use crate::stream::Phase;

impl<E: Engine> State<E> {
    /// The listener, unless accepting rests.
    pub fn listener(&self) -> Option<&TcpListener> {
        match self.sockets.accept_at {
            Some(_) => None,
            None => self.sockets.listener.as_ref(),
        }
    }

    /// A driver that accepts for itself has got a peer's stream, which does not block, or could not.
    pub fn accepted(&mut self, now: Instant, accepted: io::Result<TcpStream>) {
        let socket = match accepted {
            Ok(socket) => socket,
            Err(error) => {
                self.refused_by_system(now, &error);
                return;
            }
        };
        self.sockets.stats.accepted += 1;
        self.sockets.stats.ring_accepts += 1;
        match socket.peer_addr() {
            Ok(from) => {
                self.admit(now, socket, from);
                self.settle(now);
            }
            Err(error) => {
                tracing::debug!(%error, "a peer has gone before its stream was set up");
            }
        }
    }

    pub(crate) fn accept(&mut self, now: Instant) {
        self.sockets.accept_ready = false;
        for _ in 0..self.sockets.tuning.accepts_per_turn.max(1) {
            let Some(listener) = &self.sockets.listener else {
                return;
            };
            let accepted = match self.sockets.at_the_door.take() {
                Some(waiting) => Ok(waiting),
                None => listener
                    .accept()
                    .inspect(|_| self.sockets.stats.accepted += 1),
            };
            match accepted {
                Ok((socket, from)) => {
                    let rests = !self.admit(now, socket, from);
                    self.settle(now);
                    if rests {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if self.refused_by_system(now, &error) => return,
                Err(_) => {}
            }
        }
        self.sockets.accept_ready = true;
    }

    /// Lets an accepted stream in, or turns it away; `false` if it has to wait for a descriptor, and accepting rests.
    fn admit(&mut self, now: Instant, socket: TcpStream, from: SocketAddr) -> bool {
        if self.sockets.is_full() {
            self.sockets.stats.refused += 1;
            tracing::warn!(%from, "connections_max streams are open: a peer is turned away");
            return true;
        }
        if let Err(error) = self.sockets.configure(SockRef::from(&socket), from) {
            tracing::debug!(%error, %from, "a peer has gone before its stream was set up");
            return true;
        }
        let duplicate = match self.sockets.readers.any() {
            true => match Readers::duplicate(&socket) {
                Ok(duplicate) => Some(duplicate),
                Err(error) => {
                    let rests = self.refused_by_system(now, &error);
                    if rests {
                        self.sockets.at_the_door = Some((socket, from));
                    }
                    return !rests;
                }
            },
            false => None,
        };
        let Some(conn) = self.engine.accept(now, from) else {
            self.sockets.stats.refused += 1;
            return true;
        };
        let adopted = match duplicate {
            Some(duplicate) => self.sockets.adopt_elsewhere(conn, socket, duplicate, from),
            None => self.sockets.adopt(conn, socket, from, Phase::Open),
        };
        if let Err(error) = adopted {
            tracing::warn!(%error, %from, "cannot watch a stream");
            let reason = CloseReason::Failed;
            self.engine.handle(now, Input::Closed { conn, reason });
        }
        true
    }

    /// Notes why accepting failed; `true` if it must rest.
    fn refused_by_system(&mut self, now: Instant, error: &io::Error) -> bool {
        self.sockets.stats.accept_errors += 1;
        if is_exhausted(error) {
            tracing::warn!(%error, "cannot accept connections: resting");
            self.sockets.accept_at = Some(now + self.sockets.tuning.accept_rest);
            return true;
        }
        // The peer has gone already, or a signal came: the next one may be fine.
        tracing::debug!(%error, "a connection was lost before it was accepted");
        false
    }
}
