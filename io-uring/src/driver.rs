//! The driver thread.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine};
use folkmoot_core::time::Instant;
use folkmoot_mio::drive::{self, Readiness, Shared, Spin, State};
use folkmoot_mio::{BindError, Bound, Handle};
use mio::{Events, Poll};

use crate::choice::Support;
use crate::requests::{Request, Requests, Sockets};
use crate::ring::{Event, Ring, Target};
use crate::streams::{Stream, Streams};
use crate::tag::{self, Kind};
use crate::wake::Waker;

/// Completions worked off before other threads get a chance at the engine.
const BATCH: usize = 16;
/// As many sockets live as long as the driver.
const READY: usize = 3;

/// What the driver is made of, before it runs.
pub(crate) struct Parts {
    ring: Ring,
    waker: Waker,
    lasting: Poll,
}

impl Parts {
    /// Everything that may fail for want of support or memory; then mio takes over.
    pub(crate) fn new(support: Support, bound: &Bound) -> Result<Self, String> {
        let said = |error: io::Error| format!("io_uring cannot be set up: {error}");
        Ok(Self {
            ring: Ring::new(support, &bound.config().tuning).map_err(said)?,
            waker: Waker::new().map_err(said)?,
            lasting: Poll::new().map_err(said)?,
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
        let Self {
            ring,
            waker,
            lasting,
        } = self;
        let registry = lasting.registry().try_clone();
        let sockets = Sockets {
            requests: requests.clone(),
            lasting: Readiness::new(registry.map_err(|source| BindError::Os {
                step: "share the readiness queue",
                source,
            })?),
        };
        let waking = waker.clone();
        let driver = Driver {
            ring,
            waker,
            requests,
            lasting,
            ready: Events::with_capacity(READY),
            streams: Streams::default(),
            taken: Vec::new(),
            releasing: Vec::new(),
        };
        drive::launch(
            bound,
            engine,
            turn,
            after,
            sockets,
            move || waking.wake(),
            move |shared| driver.run(shared),
        )
    }
}

struct Driver {
    ring: Ring,
    waker: Waker,
    requests: Requests,
    /// The sockets that live as long as the driver: the listener and the datagrams'. The ring watches this queue and not
    /// them: its requests hold what they are for until the kernel has worked off a killed process' ring, some
    /// milliseconds after its end, and the port would be taken for a node that is started again at once.
    lasting: Poll,
    /// What is ready of them: kept for its memory.
    ready: Events,
    streams: Streams,
    /// Requests while they are worked off: kept for their memory.
    taken: Vec<Request>,
    /// Streams whose requests have been asked to end, to be closed when that has been submitted.
    releasing: Vec<(Stream, mio::net::TcpStream)>,
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
        self.ring.poll(
            Target::Fd(self.waker.as_raw_fd()),
            tag::of(Kind::Wake),
            libc::POLLIN,
            true,
        )?;
        self.watch_lasting()?;
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
                state.continue_work(now);
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
            Kind::Lasting => self.lasting(state, now, event),
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

    /// Peers have connected, or datagrams have come.
    fn lasting<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        match self.lasting.poll(&mut self.ready, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready.clear(),
            result => result?,
        }
        for ready in &self.ready {
            state.event(now, ready);
        }
        match event.goes_on() {
            true => Ok(()),
            false => self.watch_lasting(),
        }
    }

    /// Completes when the queue of the lasting sockets has something.
    fn watch_lasting(&mut self) -> io::Result<()> {
        let target = Target::Fd(self.lasting.as_raw_fd());
        let tag = tag::of(Kind::Lasting);
        self.ring.poll(target, tag, libc::POLLIN, true)
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
