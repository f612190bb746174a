//! The driver thread.

mod sending;

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine};
use folkmoot_core::time::Instant;
use folkmoot_mio::drive::{
    self, Duty, Poller, Readiness, Shared, Spin, State, Turned, Waking, Watch as _,
};
use folkmoot_mio::{BindError, Bound, Handle};
use mio::net::TcpStream;
use mio::{Poll, Waker};
use sending::Lingering;

use crate::choice::Support;
use crate::requests::{Request, Requests, Sockets};
use crate::ring::{Event, Ring, Target};
use crate::streams::{Stream, Streams};
use crate::tag::{self, Kind};

/// Completions worked off before other threads get a chance at the engine.
const BATCH: usize = 16;
/// A stream that has brought less than this,
const LITTLE: i32 = 8 * 1024;
/// so many times in a row, goes back to the readiness queue.
const LITTLE_MAX: u32 = 64;

/// How long at a time the last requests of the ring are waited for.
const ENDING: Duration = Duration::from_millis(1);
const ENDING_TRIES: u32 = 20;

/// What the driver is made of, before it runs.
pub(crate) struct Parts {
    ring: Ring,
    waker: Waker,
    queue: Readiness,
    queue_fd: RawFd,
    /// The same, for the sockets.
    watch: Readiness,
    duty: Arc<Duty>,
    accepts: bool,
    sends: bool,
}

impl Parts {
    /// Everything that may fail for want of support or memory; then mio takes over.
    pub(crate) fn new(support: Support, bound: &Bound) -> Result<Self, String> {
        let said = |error: io::Error| format!("io_uring cannot be set up: {error}");
        let tuning = &bound.config().tuning;
        let poll = Poll::new().map_err(said)?;
        let queue = || poll.registry().try_clone().map(Readiness::new);
        for (wanted, has, what) in [
            (tuning.ring_accept, support.accepts, "ring_accept"),
            (tuning.ring_send, support.sends, "ring_send"),
        ] {
            if wanted && !has {
                tracing::warn!(
                    what,
                    "this kernel's io_uring does not do it: done as with mio"
                );
            }
        }
        Ok(Self {
            accepts: tuning.ring_accept && support.accepts,
            sends: tuning.ring_send && support.sends,
            ring: Ring::new(support, tuning).map_err(said)?,
            waker: Waker::new(poll.registry(), Readiness::WAKER).map_err(said)?,
            queue: queue().map_err(said)?,
            queue_fd: poll.as_raw_fd(),
            watch: queue().map_err(said)?,
            duty: Arc::new(Duty::new(poll, tuning.spin, tuning.lend)),
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
        let tuning = &bound.config().tuning;
        let sockets = Sockets {
            requests: requests.clone(),
            queue: self.watch,
            ring_from: tuning.ring_from,
            accepts: self.accepts,
            sends: self.sends,
        };
        let driver = Driver {
            ring: self.ring,
            spin: Spin::new(tuning.spin),
            for_good: tuning.ring_from <= 1,
            requests,
            queue: self.queue,
            queue_fd: self.queue_fd,
            watched: false,
            accepts: self.accepts,
            sends: self.sends,
            streams: Streams::default(),
            taken: Vec::new(),
            releasing: Vec::new(),
            lingering: Vec::new(),
        };
        let (waker, duty) = (self.waker, Arc::clone(&self.duty));
        drive::launch(
            bound,
            engine,
            turn,
            after,
            sockets,
            Waking {
                wake: Box::new(move || waker.wake()),
                duty: self.duty,
            },
            move |shared| driver.run(shared, &duty),
        )
    }
}

/// Waits in the readiness queue as long as the ring has no stream, and leaves that to callers as mio's driver does; else in the ring,
/// which watches the queue. The ring must not watch the sockets that listen: its requests hold what they are for until the kernel has worked
/// off a killed process' ring, some milliseconds after its end, and the port would be taken for a node that is started again at once:
/// unless it is asked to, and then it is always waited in.
struct Driver {
    ring: Ring,
    /// Before waiting in the ring.
    spin: Spin,
    /// Streams stay in the ring once they are there.
    for_good: bool,
    requests: Requests,
    queue: Readiness,
    queue_fd: RawFd,
    /// The ring watches the queue.
    watched: bool,
    /// The ring accepts.
    accepts: bool,
    /// The ring sends to its streams.
    sends: bool,
    streams: Streams,
    /// Requests while they are worked off: kept for their memory.
    taken: Vec<Request>,
    /// Streams whose requests have been asked to end, to be closed when that has been submitted.
    releasing: Vec<(Stream, TcpStream)>,
    /// Closed streams that still send, oldest first.
    lingering: Vec<Lingering>,
}

impl Driver {
    fn run<E: Engine>(mut self, shared: &Shared<E>, duty: &Duty) {
        if let Err(error) = self.turns(shared, duty) {
            // Nothing this process does can cause it short of closing a descriptor that is not its own.
            tracing::error!(%error, "the ring failed: the driver stops");
            let mut state = shared.lock();
            state.finish(shared.now());
            shared.notify(&state);
        }
    }

    /// Waits, hands over, writes, until told to stop. The lock is never held while waiting.
    fn turns<E: Engine>(&mut self, shared: &Shared<E>, duty: &Duty) -> io::Result<()> {
        self.ring.start()?;
        self.requests.drive();
        loop {
            let mut poller = duty.take(|| shared.now());
            loop {
                let turned = if self.is_idle() && !self.requests.any() {
                    self.let_end()?;
                    if duty.is_lent(shared.now()) {
                        break;
                    }
                    drive::turn(shared, &mut poller, true)
                } else {
                    self.turn(shared, &mut poller)?
                };
                if turned == Turned::Ended {
                    return Ok(());
                }
            }
            drop(poller);
            drive::lend(shared);
        }
    }

    /// Whether nothing is to come from the ring, nor to be closed.
    fn is_idle(&self) -> bool {
        self.streams.is_empty()
            && self.lingering.is_empty()
            && self.releasing.is_empty()
            && !self.accepts
    }

    /// The ring has no stream any more, and the driver will wait elsewhere. A request that was taken back keeps its stream open until
    /// somebody has entered the ring after that.
    fn let_end(&mut self) -> io::Result<()> {
        for _ in 0..ENDING_TRIES {
            while let Some(event) = self.ring.events.pop_front() {
                if let Some((Kind::Receive, _)) = tag::read(event.tag) {
                    self.ring.recycle(&event);
                }
            }
            if self.ring.is_quiet() {
                break;
            }
            self.ring.wait(Some(ENDING))?;
        }
        Ok(())
    }

    /// One turn that waits in the ring.
    fn turn<E: Engine>(&mut self, shared: &Shared<E>, poller: &mut Poller) -> io::Result<Turned> {
        let mut state = shared.lock();
        let now = shared.now();
        state.continue_work(now);
        self.work_off(&mut state, now)?;
        if state.is_stopping() {
            self.end_accepting()?;
            state.finish(now);
            self.work_off(&mut state, now)?;
            shared.notify(&state);
            drop(state);
            self.end_sending(shared)?;
            return Ok(Turned::Ended);
        }
        self.accept_on(&state)?;
        let idle = self.is_idle();
        let wait = match idle {
            true => None,
            false => self.sleep(&mut state, now),
        };
        shared.notify(&state);
        drop(state);
        shared.released();
        if idle {
            return Ok(Turned::Again);
        }
        if self.ring.events.is_empty() {
            self.wait(now, wait)?;
        }
        loop {
            let mut state = shared.lock();
            state.awake();
            let now = shared.now();
            for _ in 0..BATCH {
                let Some(event) = self.ring.events.pop_front() else {
                    break;
                };
                self.event(&mut state, poller, now, &event)?;
            }
            state.flush(now);
            shared.notify(&state);
            shared.answered(state);
            if self.ring.events.is_empty() {
                return Ok(Turned::Again);
            }
        }
    }

    /// Until when the driver may wait, as [`State::sleep`] says, or until a stream that lingers is to end.
    fn sleep<E: Engine>(&self, state: &mut State<E>, now: Instant) -> Option<Option<Instant>> {
        let until = state.sleep(now)?;
        Some(match (until, self.lingering.first()) {
            (Some(until), Some(first)) => Some(until.min(first.until)),
            (None, Some(first)) => Some(first.until),
            (until, None) => until,
        })
    }

    /// Has the ring accept, unless it does, or accepting rests.
    fn accept_on<E: Engine>(&mut self, state: &State<E>) -> io::Result<()> {
        if self.accepts
            && !self.ring.is_accepting()
            && let Some(listener) = state.listener()
        {
            self.ring.accept(listener.as_raw_fd())?;
        }
        Ok(())
    }

    /// The listener is about to be closed: the ring is not to keep its port.
    fn end_accepting(&mut self) -> io::Result<()> {
        if self.ring.is_accepting() {
            self.ring.cancel(tag::of(Kind::Accept))?;
        }
        for _ in 0..ENDING_TRIES {
            if !self.ring.is_accepting() {
                break;
            }
            self.ring.wait(Some(ENDING))?;
        }
        Ok(())
    }

    fn wait(&mut self, now: Instant, wait: Option<Option<Instant>>) -> io::Result<()> {
        if !std::mem::replace(&mut self.watched, true) {
            self.watch_queue()?;
        }
        let timeout = match wait {
            None => Some(Duration::ZERO),
            Some(until) => until.map(|until| until.since(now)),
        };
        let ring = &mut self.ring;
        self.spin.wait(timeout, |timeout| {
            match timeout {
                Some(Duration::ZERO) => ring.glance()?,
                _ => ring.wait(timeout)?,
            }
            Ok(!ring.events.is_empty())
        })
    }

    /// Takes one completion.
    fn event<E: Engine>(
        &mut self,
        state: &mut State<E>,
        poller: &mut Poller,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        let Some((kind, conn)) = tag::read(event.tag) else {
            return Ok(());
        };
        match kind {
            // A cancel that fails was late.
            Kind::Cancel => Ok(()),
            Kind::Accept => {
                if let Some(accepted) = Ring::accepted(event) {
                    state.accepted(now, accepted);
                }
                Ok(())
            }
            Kind::Send => self.sent(state, now, event),
            Kind::Queue => self.queue_ready(state, poller, now, event),
            Kind::Receive => self.received(state, now, conn, event),
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

    /// Something is ready of what the ring has not.
    fn queue_ready<E: Engine>(
        &mut self,
        state: &mut State<E>,
        poller: &mut Poller,
        now: Instant,
        event: &Event,
    ) -> io::Result<()> {
        // The word of an earlier request, which has been replaced.
        if event.was_cancelled() {
            return Ok(());
        }
        let Poller { poll, events, .. } = poller;
        match poll.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            result => result?,
        }
        let mut fetched = 0;
        for ready in &*events {
            fetched += 1;
            state.event(now, ready);
        }
        match event.goes_on() {
            // What did not fit makes no edge of its own: it is fetched when others have had the engine.
            true if fetched == events.capacity() => self.ring.events.push_back(*event),
            true => {}
            // Looks at once whether there is more. Nobody may want it any more.
            false if self.watched => self.watch_queue()?,
            false => {}
        }
        Ok(())
    }

    /// Completes when the queue has something.
    fn watch_queue(&mut self) -> io::Result<()> {
        let target = Target::Fd(self.queue_fd);
        let tag = tag::of(Kind::Queue);
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
        stream.little = match event.result {
            1..LITTLE => stream.little.saturating_add(1),
            _ => 0,
        };
        if stream.little > LITTLE_MAX && !stream.leaving && !self.for_good {
            stream.leaving = true;
            self.ring.cancel(event.tag)?;
        }
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
        match stream_is_leaving(&mut self.streams, conn) {
            true => self.leave(state, conn),
            false => self.read_on(state, conn),
        }
    }

    /// The ring is to receive a stream.
    fn join<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        conn: ConnId,
    ) -> io::Result<()> {
        if self.streams.get(conn).is_some() {
            return Ok(());
        }
        let Some((socket, blocked)) = state.change_watch(conn) else {
            return Ok(());
        };
        self.queue.closed(socket);
        let fd = socket.as_raw_fd();
        let fixed = self.ring.fix(fd);
        self.requests.set_in_ring(conn, true);
        self.streams.insert(conn, fd, fixed);
        if blocked {
            self.send_when_there_is_room(state, now, conn)?;
        }
        match state.is_paused(conn) {
            true => self.paused(state, now, conn),
            false => self.read_on(state, conn),
        }
    }

    /// A stream's receive has ended: the readiness queue has it again.
    fn leave<E: Engine>(&mut self, state: &mut State<E>, conn: ConnId) -> io::Result<()> {
        let Some(stream) = self.streams.remove(conn) else {
            return Ok(());
        };
        self.requests.set_in_ring(conn, false);
        self.ring.cancel_all(stream.fd)?;
        self.ring.submit()?;
        if let Some(index) = stream.fixed {
            self.ring.unfix(index);
        }
        // What waits in it makes an edge, and so does room in it.
        if let Some((socket, _)) = state.change_watch(conn) {
            self.queue.opened(conn, socket, false)?;
        }
        self.unwatch_queue()
    }

    /// Without streams the ring watches nothing.
    fn unwatch_queue(&mut self) -> io::Result<()> {
        if self.is_idle() && std::mem::take(&mut self.watched) {
            self.ring.cancel(tag::of(Kind::Queue))?;
            self.ring.submit()?;
        }
        Ok(())
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
        self.end_lingering(now)?;
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
        self.unwatch_queue()
    }

    fn request<E: Engine>(
        &mut self,
        state: &mut State<E>,
        now: Instant,
        request: Request,
    ) -> io::Result<()> {
        match request {
            Request::Take { conn } => self.join(state, now, conn),
            Request::Release { conn, socket } => {
                self.requests.set_in_ring(conn, false);
                match self.streams.remove(conn) {
                    Some(stream) if stream.sending => self.linger(now, stream, socket),
                    Some(stream) => self.release(stream, socket),
                    None => Ok(()),
                }
            }
            Request::Blocked { conn } => self.send_when_there_is_room(state, now, conn),
            Request::Send { conn } => {
                if !self.send(state, now, conn)? {
                    state.write_now(now, conn);
                    state.settle(now);
                }
                Ok(())
            }
            Request::HalfClose { conn } => {
                match self.streams.get(conn) {
                    Some(stream) if stream.sending => stream.half_closed = true,
                    _ => state.end_writing(conn),
                }
                Ok(())
            }
            Request::Paused { conn } => self.paused(state, now, conn),
        }
    }

    /// A stream that has left the table is to be closed, once its requests have been asked to end.
    fn release(&mut self, stream: Stream, socket: TcpStream) -> io::Result<()> {
        self.ring.cancel_all(stream.fd)?;
        self.releasing.push((stream, socket));
        Ok(())
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

/// Whether a stream's receive has ended so that it can leave. Not with bytes or an end that wait here, nor with some under way.
fn stream_is_leaving(streams: &mut Streams, conn: ConnId) -> bool {
    let Some(stream) = streams.get(conn) else {
        return false;
    };
    if !stream.held.is_empty() || stream.ended || stream.sending {
        stream.leaving = false;
    }
    stream.leaving && !stream.receiving
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
