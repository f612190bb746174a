//! What the ring sends: bundles, and the streams that are closed while one is under way.

use std::io;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine};
use folkmoot_core::time::Instant;
use folkmoot_mio::drive::{Shared, State};
use mio::net::TcpStream;

use super::{Driver, room, target};
use crate::ring::{Event, Ring};
use crate::streams::Stream;
use crate::tag::{self, Kind};

/// How long a stream that is closed is kept for what it still sends: who reads nothing for longer has lost its membership. As many at most as
/// bundles may be under way.
const LINGER: Duration = Duration::from_secs(5);
/// The same at the driver's own end.
const LINGER_AT_END: Duration = Duration::from_millis(200);

/// A stream that has left the table while a bundle of it was under way: closed when that is over.
pub(super) struct Lingering {
    stream: Stream,
    socket: TcpStream,
    pub(super) until: Instant,
}

impl Driver {
    /// A bundle has gone on, or is over.
    pub(super) fn sent<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        let Some((conn, outcome)) = self.ring.sent(event) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get(conn) else {
            let mut lingering = self.lingering.iter();
            if let Some(place) = lingering.position(|stream| stream.stream.conn == conn) {
                let Lingering { stream, socket, .. } = self.lingering.remove(place);
                self.release(stream, socket)?;
            }
            return Ok(());
        };
        stream.sending = false;
        let half_closed = std::mem::take(&mut stream.half_closed);
        self.requests.set_sending(conn, false);
        match outcome {
            Ok(()) if half_closed => state.end_writing(conn),
            Ok(()) => state.writable(conn),
            Err(error) => state.failed(now, conn, &error),
        }
        Ok(())
    }

    /// Has the ring send what waits on one of its streams; `false` if a call has to.
    pub(super) fn send<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
    ) -> io::Result<bool> {
        // It may have left the ring since it was asked for.
        let Some(stream) = self.streams.get(conn) else {
            return Ok(false);
        };
        if stream.sending {
            return Ok(true);
        }
        // What is taken may have the engine say what waits for it to be sent.
        self.requests.set_sending(conn, true);
        let target = target(stream);
        let taken = self
            .ring
            .send(target, conn, |keep| state.take(now, conn, keep))?;
        stream.sending = taken.is_some_and(|len| len > 0);
        self.requests.set_sending(conn, stream.sending);
        Ok(taken.is_some())
    }

    /// As [`send`](Self::send), for a stream that was found full.
    pub(super) fn send_when_there_is_room<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
    ) -> io::Result<()> {
        let sends = self.sends && self.send(state, now, conn)?;
        match self.streams.get(conn) {
            Some(stream) if !sends => room(&mut self.ring, stream),
            _ => Ok(()),
        }
    }

    /// Closes the streams whose time is over.
    pub(super) fn end_lingering(&mut self, now: Instant) -> io::Result<()> {
        let over = |stream: &Lingering| stream.until <= now;
        while self.lingering.first().is_some_and(over) {
            self.end_first()?;
        }
        Ok(())
    }

    /// Closes a stream that has left the table when the kernel has all that it was given, as if a call had given it.
    pub(super) fn linger(
        &mut self,
        now: Instant,
        stream: Stream,
        socket: TcpStream,
    ) -> io::Result<()> {
        for (under_way, kind) in [
            (stream.receiving, Kind::Receive),
            (stream.trouble, Kind::Trouble),
        ] {
            if under_way {
                self.ring.cancel(tag::with(kind, stream.conn))?;
            }
        }
        self.lingering.push(Lingering {
            stream,
            socket,
            until: now + LINGER,
        });
        Ok(())
    }

    /// Closes the stream that has lingered longest.
    fn end_first(&mut self) -> io::Result<()> {
        let Lingering { stream, socket, .. } = self.lingering.remove(0);
        tracing::debug!(conn = ?stream.conn, "a closed stream's last bytes are given up");
        self.release(stream, socket)
    }

    /// The driver's end: what streams that are closed still send has a moment to leave.
    pub(super) fn end_sending<E: Engine>(&mut self, shared: &Shared<E>) -> io::Result<()> {
        let end = shared.now() + LINGER_AT_END;
        loop {
            while let Some(event) = self.ring.events.pop_front() {
                match tag::read(event.tag) {
                    Some((Kind::Receive, _)) => self.ring.recycle(&event),
                    Some((Kind::Send, _)) => {
                        if let Some((conn, _)) = self.ring.sent(&event) {
                            self.lingering.retain(|stream| stream.stream.conn != conn);
                        }
                    }
                    Some((Kind::Accept, _)) => drop(Ring::accepted(&event)),
                    _ => {}
                }
            }
            let now = shared.now();
            if self.lingering.is_empty() || now >= end {
                return Ok(());
            }
            self.ring.wait(Some(end.since(now)))?;
        }
    }
}
