//! The driver thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine};
use folkmoot_core::time::Instant;
use folkmoot_mio::drive::{self, Shared, Spin, State};
use folkmoot_mio::{BindError, Bound, Handle};

use crate::choice::Support;
use crate::requests::{Lasting, Request, Requests, accepted};
use crate::ring::{Event, Ring, Target};
use crate::streams::{Stream, Streams};
use crate::tag::{self, Kind};
use crate::wake::Waker;

/// Completions worked off before other threads get a chance at the engine.
const BATCH: usize = 16;

/// What the driver is made of, before it runs.
pub(crate) struct Parts {
    ring: Ring,
    waker: Waker,
}

impl Parts {
    /// Everything that may fail for want of support or memory; then mio takes over.
    pub(crate) fn new(support: Support, bound: &Bound) -> Result<Self, String> {
        let said = |error: io::Error| format!("io_uring cannot be set up: {error}");
        Ok(Self {
            ring: Ring::new(support, &bound.config().tuning).map_err(said)?,
            waker: Waker::new().map_err(said)?,
        })
    }

    /// Starts the driver thread.
    pub(crate) fn launch<E: Engine + Send + 'static>(
        self,
        bound: Bound,
        engine: E,
        turn: impl FnMut(&mut E, Instant) + Send + 'static,
        after: impl Fn() + Send + Sync + 'static,
    ) -> Result<Handle<E>, BindError> {
        let requests = Requests::default();
        let Self { ring, waker } = self;
        let waking = waker.clone();
        let driver = Driver {
            ring,
            waker,
            requests: requests.clone(),
            lasting: Lasting::default(),
            streams: Streams::default(),
            taken: Vec::new(),
            releasing: Vec::new(),
            accepting: false,
        };
        drive::launch(
            bound,
            engine,
            turn,
            after,
            requests,
            move || waking.wake(),
            move |shared| driver.run(shared),
        )
    }
}

struct Driver {
    ring: Ring,
    waker: Waker,
    requests: Requests,
    lasting: Lasting,
    streams: Streams,
    /// Requests while they are worked off: kept for their memory.
    taken: Vec<Request>,
    /// Streams whose requests have been asked to end, to be closed when that has been submitted.
    releasing: Vec<(Stream, mio::net::TcpStream)>,
    accepting: bool,
}

impl Driver {
    fn run<E: Engine>(mut self, shared: &Shared<E>) {
        if let Err(error) = self.turns(shared) {
            // Nothing this process does can cause it short of closing a descriptor that is not its own.
            tracing::error!(%error, "the ring failed: the driver stops");
            let mut state = shared.lock();
            state.finish(shared.now());
            shared.notify(&state);
        }
    }

    /// Waits, hands over, writes, until told to stop. The lock is never held while waiting.
    fn turns<E: Engine>(&mut self, shared: &Shared<E>) -> io::Result<()> {
        self.ring.start()?;
        let mut spin = Spin::new(shared.lock().tuning().spin);
        self.lasting = self.requests.lasting();
        self.ring.poll(
            Target::Fd(self.waker.as_raw_fd()),
            tag::of(Kind::Wake),
            libc::POLLIN,
            true,
        )?;
        self.accept()?;
        for kind in [Kind::Group, Kind::Udp] {
            self.hear(kind)?;
        }
        loop {
            let mut state = shared.lock();
            state.awake();
            let now = shared.now();
            for _ in 0..BATCH {
                let Some(event) = self.ring.events.pop_front() else {
                    break;
                };
                self.event(&mut state, now, &event)?;
            }
            if self.ring.events.is_empty() {
                if state.may_accept(now) {
                    self.accept()?;
                }
                state.tick(now);
            }
            self.work_off(&mut state, now)?;
            state.flush(now);
            if state.is_stopping() && self.ring.events.is_empty() {
                return self.finish(shared, state);
            }
            let wait = match self.ring.events.is_empty() {
                true => state.sleep(now),
                false => None,
            };
            shared.notify(&state);
            drop(state);
            shared.released();
            if self.ring.events.is_empty() {
                let ring = &mut self.ring;
                let timeout = match wait {
                    None => Some(Duration::ZERO),
                    Some(until) => until.map(|until| until.since(now)),
                };
                spin.wait(timeout, |timeout| {
                    match timeout {
                        Some(Duration::ZERO) => ring.glance()?,
                        _ => ring.wait(timeout)?,
                    }
                    Ok(!ring.events.is_empty())
                })?;
            }
        }
    }

    /// The last turn: what waits is written if that needs no waiting, then everything closes.
    fn finish<E: Engine>(
        &mut self,
        shared: &Shared<E>,
        mut state: drive::Locked<'_, E>,
    ) -> io::Result<()> {
        let now = shared.now();
        state.finish(now);
        self.work_off(&mut state, now)?;
        shared.notify(&state);
        Ok(())
    }

    /// Takes one completion.
    fn event<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        let Some((kind, conn)) = tag::read(event.tag) else {
            return Ok(());
        };
        match kind {
            Kind::Wake if !event.goes_on() => self.ring.poll(
                Target::Fd(self.waker.as_raw_fd()),
                event.tag,
                libc::POLLIN,
                true,
            ),
            // A cancel that fails was late.
            Kind::Wake | Kind::Cancel => Ok(()),
            Kind::Accept => self.accepted(state, now, event),
            Kind::Group | Kind::Udp => self.heard(state, now, kind, event),
            Kind::Receive => self.received(state, now, conn, event),
            Kind::Connect => self.connected(state, now, conn),
            Kind::Room => {
                if let Some(stream) = self.streams.get(conn) {
                    stream.room = false;
                    state.writable(conn);
                }
                Ok(())
            }
            Kind::Trouble => {
                if let Some(stream) = self.streams.get(conn) {
                    stream.trouble = false;
                    // Only an error is worth disturbing: the end of the stream waits behind what was sent before.
                    if state.is_paused(conn) {
                        state.check(now, conn);
                    }
                }
                Ok(())
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        if let Some(listener) = self.lasting.listener
            && !self.accepting
        {
            self.accepting = true;
            self.ring.accept(listener)?;
        }
        Ok(())
    }

    fn accepted<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        self.accepting = event.goes_on();
        let rests = match event.error() {
            Some(error) => state.accept_failed(now, &error),
            None => {
                let socket = accepted(event.result);
                match socket.peer_addr() {
                    Ok(from) => {
                        state.accepted(now, socket, from);
                        false
                    }
                    // It has gone already.
                    Err(error) => state.accept_failed(now, &error),
                }
            }
        };
        if rests { Ok(()) } else { self.accept() }
    }

    /// Listens to datagrams.
    fn hear(&mut self, kind: Kind) -> io::Result<()> {
        let socket = match kind {
            Kind::Group => self.lasting.group,
            _ => self.lasting.udp,
        };
        match socket {
            Some(socket) => self.ring.receive_datagrams(socket, tag::of(kind)),
            None => Ok(()),
        }
    }

    fn heard<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        kind: Kind,
        event: &Event,
    ) -> io::Result<()> {
        match event.error() {
            // All buffers are taken: they come back before this is asked for again.
            Some(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Some(error) => tracing::debug!(%error, "cannot read a datagram"),
            None => self.ring.datagram(event, |from, bytes| {
                if let Some(from) = address(from) {
                    state.heard(now, from, bytes);
                }
            }),
        }
        if event.goes_on() {
            return Ok(());
        }
        self.hear(kind)
    }

    fn received<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
        event: &Event,
    ) -> io::Result<()> {
        state.stats().reads += 1;
        let Some(stream) = self.streams.get(conn) else {
            self.ring.recycle(event);
            return Ok(());
        };
        stream.receiving = event.goes_on();
        let held = &mut stream.held;
        self.ring.read(event, |bytes| {
            // What comes between the engine's word and the end of the receive is kept for later.
            if held.is_empty() && !state.is_paused(conn) {
                state.received(now, conn, bytes);
            } else {
                held.extend_from_slice(bytes);
            }
        });
        self.ring.recycle(event);
        match event.error() {
            Some(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN)
                ) => {}
            Some(error) => {
                state.failed(now, conn, &error);
                return Ok(());
            }
            None if event.result == 0 => {
                if !stream.held.is_empty() || state.is_paused(conn) {
                    stream.ended = true;
                } else {
                    state.ended(now, conn);
                }
                return Ok(());
            }
            None => {}
        }
        self.read_on(state, conn)
    }

    /// Has a stream received again, unless it is, or nothing is wanted.
    fn read_on<E: Engine>(&mut self, state: &mut State<E>, conn: ConnId) -> io::Result<()> {
        if let Some(stream) = self.streams.get(conn)
            && !stream.receiving
            && !stream.ended
            && stream.held.is_empty()
            && state.is_open(conn)
            && !state.is_paused(conn)
        {
            stream.receiving = true;
            self.ring
                .receive(target(stream), tag::with(Kind::Receive, conn))?;
        }
        Ok(())
    }

    fn connected<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
    ) -> io::Result<()> {
        if state.arrived(now, conn) {
            return self.read_on(state, conn);
        }
        // Still on its way, or gone.
        match self.streams.get(conn) {
            Some(stream) if state.is_connecting(conn) => {
                let tag = tag::with(Kind::Connect, conn);
                self.ring.poll(target(stream), tag, libc::POLLOUT, false)
            }
            _ => Ok(()),
        }
    }

    /// Does what the sockets have asked for.
    fn work_off<E: Engine>(&mut self, state: &mut State<E>, now: Instant) -> io::Result<()> {
        loop {
            self.requests.take(&mut self.taken);
            if self.taken.is_empty() {
                break;
            }
            let mut taken = std::mem::take(&mut self.taken);
            for request in taken.drain(..) {
                self.request(state, now, request)?;
            }
            self.taken = taken;
        }
        if self.releasing.is_empty() {
            return Ok(());
        }
        // A descriptor that is closed before its requests are cancelled could not be named any more.
        self.ring.submit()?;
        for (stream, socket) in self.releasing.drain(..) {
            if let Some(index) = stream.fixed {
                self.ring.unfix(index);
            }
            drop(socket);
        }
        Ok(())
    }

    fn request<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        request: Request,
    ) -> io::Result<()> {
        match request {
            Request::Open {
                conn,
                fd,
                connecting,
            } => {
                // One that was forgotten without being released does not exist: the table gives it back.
                let fixed = self.ring.fix(fd);
                self.streams.insert(conn, fd, fixed);
                match connecting {
                    true => self.connected(state, now, conn),
                    false => self.read_on(state, conn),
                }
            }
            Request::Release { conn, socket } => {
                if let Some(stream) = self.streams.remove(conn) {
                    self.ring.cancel_all(stream.fd)?;
                    self.releasing.push((stream, socket));
                }
                Ok(())
            }
            Request::Blocked { conn } => match self.streams.get(conn) {
                Some(stream) => room(&mut self.ring, stream),
                None => Ok(()),
            },
            Request::Paused { conn } => self.paused(state, now, conn),
        }
    }

    /// The engine wants nothing read from a stream, or wants it again.
    fn paused<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
    ) -> io::Result<()> {
        let Some(stream) = self.streams.get(conn) else {
            return Ok(());
        };
        if state.is_paused(conn) {
            if stream.receiving {
                self.ring.cancel(tag::with(Kind::Receive, conn))?;
            }
            if !stream.trouble {
                stream.trouble = true;
                let tag = tag::with(Kind::Trouble, conn);
                // Errors are told without being asked for.
                self.ring.poll(target(stream), tag, 0, false)?;
            }
            return Ok(());
        }
        if !stream.held.is_empty() {
            let held = std::mem::take(&mut stream.held);
            state.received(now, conn, &held);
        }
        if std::mem::take(&mut stream.ended) {
            match state.is_paused(conn) {
                true => stream.ended = true,
                false => {
                    state.ended(now, conn);
                    return Ok(());
                }
            }
        }
        self.read_on(state, conn)
    }
}

/// How requests name a stream's descriptor.
fn target(stream: &Stream) -> Target {
    match stream.fixed {
        Some(index) => Target::Fixed(index),
        None => Target::Fd(stream.fd),
    }
}

/// Completes when a stream has room, or failed.
fn room(ring: &mut Ring, stream: &mut Stream) -> io::Result<()> {
    if std::mem::replace(&mut stream.room, true) {
        return Ok(());
    }
    let tag = tag::with(Kind::Room, stream.conn);
    ring.poll(target(stream), tag, libc::POLLOUT, false)
}

/// A socket's address as the kernel writes it.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let mut v4 = [0; 28];
        v4[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        v4[2..8].copy_from_slice(&[0xb1, 0xfc, 127, 0, 0, 9]);
        assert_eq!(address(&v4), Some("127.0.0.9:45564".parse().unwrap()));
        let mut v6 = [0; 28];
        v6[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        v6[2..4].copy_from_slice(&[0, 80]);
        v6[23] = 1;
        assert_eq!(address(&v6), Some("[::1]:80".parse().unwrap()));
        assert_eq!(address(&v6[..20]), None);
        assert_eq!(address(&[0; 28]), None);
    }
}
