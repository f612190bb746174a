//! What the mutex guards: the engine, its sockets, and the rules by which they meet.

use std::fmt;
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

use folkmoot_core::engine::{
    CloseReason, ConnId, Engine, Gather, Input, Output, ReadAhead, Target,
};
use folkmoot_core::time::Instant;
use mio::event::Event;
use socket2::SockRef;

use crate::reason::close_reason;
use crate::sockets::Sockets;
use crate::stream::Phase;
use crate::watch::{GROUP, LISTENER, UDP, WAKER};

/// What drains the engine's events, under the lock.
pub(crate) type Turn<E> = Box<dyn FnMut(&mut E, Instant) + Send>;

/// Whether the driver thread waits, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It will look at everything before it waits again.
    Awake,
    /// It waits for readiness, at most until then.
    Until(Option<Instant>),
    /// It stands by: a caller has done its work and may or may not go on.
    StandsBy,
}

/// The engine, its sockets, and what one turn leaves to the next: what the lock guards.
pub struct State<E> {
    pub(crate) engine: E,
    pub(crate) sockets: Sockets,
    turn: Turn<E>,
    buffer: Vec<u8>,
    /// The list of dirty streams while it is worked off: kept for its memory.
    flushing: Vec<ConnId>,
    /// Commands since bytes were first left to gather.
    gathered: u32,
    /// When bytes last were written for whoever had left some, and when a command for which nobody waits last left some.
    flushed_at: Option<Instant>,
    unhurried_at: Option<Instant>,
    /// Somebody waits for what has been left.
    hurried: bool,
    /// Which thread ran the last command that left bytes, and when.
    last_command: Option<(usize, Instant)>,
    /// How many commands have followed each other closely.
    burst: u32,
    /// The last command has written.
    wrote: bool,
    pub(crate) waiting: Waiting,
    /// The driver thread is waking callers whose answers it has read, and writes what they leave when it is done with that.
    returns: bool,
    /// Which thread has last left bytes to it.
    left_by: Option<usize>,
    /// Bytes read before the driver thread was back.
    read_before: u64,
    /// Threads that want to know when something has changed.
    pub(crate) watchers: usize,
    /// The driver thread is asked to end.
    pub(crate) stopping: bool,
    /// The driver thread has ended.
    pub(crate) stopped: bool,
}

/// How often the driver thread looks while commands for which nobody waits leave bytes, and for how long after the last.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOOK_FOR: Duration = Duration::from_millis(5);

/// A thread that has not sent for so long does not stream, whatever the settings say: what it has left must be written.
const PAUSE: Duration = Duration::from_micros(50);

/// The least buffer that takes every datagram whole.
const BUFFER_MIN: usize = 64 * 1024;

impl<E> fmt::Debug for State<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl<E: Engine> State<E> {
    pub(crate) fn new(engine: E, sockets: Sockets, turn: Turn<E>) -> Self {
        let buffer = vec![0; sockets.tuning.read_buffer.max(BUFFER_MIN)];
        Self {
            engine,
            sockets,
            turn,
            buffer,
            flushing: Vec::new(),
            gathered: 0,
            flushed_at: None,
            unhurried_at: None,
            hurried: false,
            last_command: None,
            burst: 0,
            wrote: false,
            waiting: Waiting::Awake,
            returns: false,
            left_by: None,
            read_before: 0,
            watchers: 0,
            stopping: false,
            stopped: false,
        }
    }

    /// Does what the engine wants and tells the application, until neither has more.
    pub fn settle(&mut self, now: Instant) {
        let mut next = self.engine.poll_output();
        loop {
            while let Some(output) = next {
                self.perform(now, output);
                next = self.engine.poll_output();
            }
            (self.turn)(&mut self.engine, now);
            next = self.engine.poll_output();
            if next.is_none() {
                return;
            }
        }
    }

    /// After a command of `thread`, which wanted to run it at `wanted`: writes what waits, unless more is likely to follow at once.
    /// `followed` says that another thread waits to run a command. Whether what was left is nobody's business but the driver's.
    ///
    /// A thread whose commands follow each other closely does not wait for answers, so its bytes may gather; of
    /// several threads that come at once the last writes for all; and for those that the driver thread has just woken, as a
    /// rule to send their next message, it writes itself when it has woken all. That may be late if the processor is given to others: a
    /// thread that comes again meanwhile, which was not waiting for an answer, writes for all.
    pub(crate) fn end_command(
        &mut self,
        now: Instant,
        wanted: Instant,
        thread: usize,
        followed: bool,
    ) -> bool {
        self.sockets.stats.commands += 1;
        self.wrote = false;
        let within = self.sockets.tuning.coalesce_within;
        let burst = self
            .last_command
            .is_some_and(|(last, at)| last == thread && wanted.since(at) < within);
        if self.sockets.dirty.is_empty() {
            self.gathered = 0;
            if burst && self.burst > 0 {
                // What it sends waits behind a socket that is full: that is no pause of the thread.
                self.last_command = Some((thread, now));
            }
            return false;
        }
        self.last_command = Some((thread, now));
        self.burst = match burst {
            true => self.burst.saturating_add(1),
            false => 0,
        };
        self.gathered += 1;
        let woken = self.returns && self.left_by.replace(thread) != Some(thread);
        let left = burst || followed || woken;
        if left && self.gathered < self.sockets.tuning.coalesce_commands {
            self.sockets.stats.deferred += 1;
            self.hurried = true;
            return burst || !followed;
        }
        self.flush(now);
        self.wrote = true;
        !self.sockets.dirty.is_empty()
    }

    /// After a command whose thread will give more, or wait: whether its bytes may gather until then.
    pub(crate) fn leave_more(&mut self) -> bool {
        if self.gathered.saturating_add(1) >= self.sockets.tuning.coalesce_commands {
            return false;
        }
        self.sockets.stats.commands += 1;
        self.last_command = None;
        if !self.sockets.dirty.is_empty() {
            self.gathered += 1;
            self.sockets.stats.deferred += 1;
        }
        true
    }

    /// After a write on a thread that is not the driver's: whether the driver thread has to be woken for the rest.
    pub(crate) fn left_over(&mut self) -> bool {
        let bytes = !self.sockets.dirty.is_empty();
        self.must_wake(bytes)
    }

    /// Whether the last command has written, for itself or for all of a burst.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// The last command has ended just now.
    pub(crate) fn go_on(&mut self, now: Instant) {
        if let Some((_, at)) = &mut self.last_command {
            *at = now;
        }
    }

    /// Whether one thread sends without a pause and writes itself, dozens of messages at a time: then whatever the driver thread
    /// wrote in between would only take the lock from it.
    pub(crate) fn is_streaming(&self, now: Instant) -> bool {
        let tuning = &self.sockets.tuning;
        self.burst > tuning.coalesce_commands / 4
            && self
                .last_command
                .is_some_and(|(_, at)| now.since(at) < tuning.coalesce_within.min(PAUSE))
    }

    /// After a command for whose bytes nobody waits: they leave at once after a pause, and with those of the next commands
    /// if others have just left. Whether the driver thread has to be woken for them.
    pub(crate) fn end_unhurried(&mut self, now: Instant) -> bool {
        self.sockets.stats.commands += 1;
        if self.sockets.dirty.is_empty() {
            self.gathered = 0;
            return false;
        }
        self.gathered += 1;
        let tuning = &self.sockets.tuning;
        let paused = self
            .flushed_at
            .is_none_or(|at| now.since(at) >= tuning.gather_within);
        // Another thread may have left its own to this one.
        if paused || self.hurried || self.gathered >= tuning.coalesce_commands {
            self.flush(now);
            return !self.sockets.dirty.is_empty();
        }
        self.sockets.stats.deferred += 1;
        self.unhurried_at = Some(now);
        // Woken once it looks by itself for as long as this goes on.
        match self.waiting {
            Waiting::Until(until) => until.is_none_or(|until| until.since(now) > LOOK_EVERY),
            Waiting::Awake | Waiting::StandsBy => false,
        }
    }

    /// Whether the driver thread has to be woken for what a command has left: `bytes`, or an earlier deadline. Says so
    /// once.
    pub(crate) fn must_wake(&mut self, bytes: bool) -> bool {
        let earlier = match (self.waiting, self.engine.poll_timeout()) {
            (Waiting::Awake, _) => return false,
            (Waiting::StandsBy | Waiting::Until(_), None) => false,
            // A standing by driver looks soon enough.
            (Waiting::StandsBy, Some(_)) => false,
            (Waiting::Until(until), Some(at)) => until.is_none_or(|until| at < until),
        };
        let must = earlier || bytes || self.stopping || self.sockets.has_reading();
        if must {
            self.waiting = Waiting::Awake;
            self.sockets.stats.wakes += 1;
        }
        must
    }

    /// Until when the driver thread may wait; `None` if it must not.
    pub fn sleep(&mut self, now: Instant) -> Option<Option<Instant>> {
        if self.stopping || self.sockets.has_work() {
            return None;
        }
        let until = match (self.engine.poll_timeout(), self.sockets.accept_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let until = match self.unhurried_at {
            Some(at) if now.since(at) < LOOK_FOR => {
                let soon = now + LOOK_EVERY;
                Some(until.map_or(soon, |until| until.min(soon)))
            }
            _ => until,
        };
        if until.is_some_and(|until| until <= now) {
            return None;
        }
        self.waiting = Waiting::Until(until);
        Some(until)
    }

    /// Whoever waited for readiness is back.
    pub(crate) fn back(&mut self, driver: bool) {
        self.awake();
        if !driver {
            self.waiting = Waiting::StandsBy;
            self.sockets.stats.lent += 1;
        }
    }

    /// A caller has waited for its answer: its next command is not part of a burst, however soon it comes.
    pub(crate) fn answered(&mut self) {
        self.last_command = None;
    }

    /// The driver thread is back.
    pub fn awake(&mut self) {
        self.waiting = Waiting::Awake;
        self.read_before = self.sockets.stats.bytes_read;
        self.sockets.stats.turns += 1;
    }

    /// The driver thread lets go of the lock and is back at once to write what callers leave that it wakes meanwhile. Nobody has got an
    /// answer if nothing was read since it was [back](Self::awake), and nothing is left where every command is to write. Whether they leave
    /// theirs.
    pub(crate) fn returns(&mut self) -> bool {
        self.returns = self.sockets.stats.bytes_read != self.read_before
            && !self.sockets.tuning.coalesce_within.is_zero();
        self.left_by = None;
        self.returns
    }

    /// The driver thread is back from waking callers, or busy with something else.
    pub(crate) fn returned(&mut self) {
        self.returns = false;
    }

    fn perform(&mut self, now: Instant, output: Output) {
        match output {
            Output::Connect { conn, to } => {
                if let Err(error) = self.sockets.connect(conn, to) {
                    self.sockets.stats.connect_errors += 1;
                    tracing::debug!(%error, %to, "cannot connect");
                    let reason = close_reason(&error);
                    self.engine.handle(now, Input::Closed { conn, reason });
                }
            }
            // Written when the batch of events is through, or the command ends.
            Output::Transmit { conn } => self.sockets.mark_dirty(conn),
            Output::Datagram { conn, to } => self.datagram(now, conn, to),
            Output::PauseRead { conn } => {
                if let Some(stream) = self.sockets.streams.get_mut(conn) {
                    stream.paused = true;
                    if let Some(paused) = &stream.elsewhere {
                        paused.store(true, Ordering::Release);
                    }
                    self.sockets.watch.paused(conn, true);
                }
            }
            Output::ResumeRead { conn } => {
                if let Some(stream) = self.sockets.streams.get_mut(conn) {
                    stream.paused = false;
                    self.sockets.watch.paused(conn, false);
                    if let Some(paused) = &stream.elsewhere {
                        paused.store(false, Ordering::Release);
                        self.sockets.readers.resume(conn);
                    } else if std::mem::take(&mut stream.held) {
                        self.sockets.mark_ready(conn);
                    }
                }
            }
            Output::HalfClose { conn } => self.half_close(now, conn),
            Output::Close { conn } => self.close(now, conn),
            Output::Abort { conn } => self.abort(conn),
        }
    }

    /// Writes what waits, or leaves that to a driver that sends for itself.
    pub fn write(&mut self, now: Instant, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn)
            && stream.can_write()
            && !self.sockets.watch.sends(conn)
        {
            self.write_now(now, conn);
        }
    }

    /// Writes what waits until the socket is full or the turn's budget is used up.
    pub fn write_now(&mut self, now: Instant, conn: ConnId) {
        let mut budget = self.sockets.tuning.write_bytes_per_turn.max(1);
        loop {
            let Some(stream) = self.sockets.streams.get_mut(conn) else {
                return;
            };
            if !stream.can_write() {
                return;
            }
            let written = {
                let mut gather = Gather::new();
                self.engine.transmit(conn, &mut gather);
                if gather.is_empty() {
                    return;
                }
                if budget == 0 {
                    self.sockets.mark_dirty(conn);
                    return;
                }
                stream.write(&gather)
            };
            self.sockets.stats.writes += 1;
            match written {
                Ok(0) => {
                    self.end(now, conn, &io::ErrorKind::WriteZero.into());
                    return;
                }
                Ok(len) => {
                    budget = budget.saturating_sub(len);
                    self.sockets.stats.bytes_written += len as u64;
                    self.engine.transmitted(now, conn, len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.blocked = true;
                    self.sockets.watch.blocked(conn);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.end(now, conn, &error);
                    return;
                }
            }
        }
    }

    /// Writes what every dirty stream has gathered.
    pub fn flush(&mut self, now: Instant) {
        self.gathered = 0;
        self.hurried = false;
        if self.sockets.dirty.is_empty() {
            return;
        }
        self.flushed_at = Some(now);
        std::mem::swap(&mut self.sockets.dirty, &mut self.flushing);
        while let Some(conn) = self.flushing.pop() {
            if let Some(stream) = self.sockets.streams.get_mut(conn) {
                stream.in_dirty = false;
                self.write(now, conn);
            }
        }
        self.settle(now);
    }

    fn datagram(&mut self, now: Instant, conn: ConnId, to: Target) {
        let (len, sent) = {
            let mut gather = Gather::new();
            self.engine.transmit(conn, &mut gather);
            (gather.len(), self.sockets.datagrams.send(to, &gather))
        };
        if sent {
            self.sockets.stats.datagrams_sent += 1;
        } else {
            self.sockets.stats.datagrams_lost += 1;
        }
        self.engine.transmitted(now, conn, len);
    }

    /// The engine is done with a stream.
    fn close(&mut self, now: Instant, conn: ConnId) {
        self.write_last(now, conn);
        self.sockets.release(conn);
    }

    /// The engine has said all on a stream, and goes on listening.
    fn half_close(&mut self, now: Instant, conn: ConnId) {
        self.write_last(now, conn);
        if !self.sockets.watch.half_closes(conn) {
            self.end_writing(conn);
        }
    }

    /// Tells the peer that no more will be said.
    pub fn end_writing(&mut self, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn)
            && let Err(error) = SockRef::from(&stream.socket).shutdown(Shutdown::Write)
        {
            tracing::debug!(%error, peer = %stream.peer, "cannot end one direction of a stream");
        }
    }

    /// Writes what waits on a stream, as far as that needs no waiting.
    fn write_last(&mut self, now: Instant, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn)
            && stream.can_write()
        {
            let written = {
                let mut gather = Gather::new();
                self.engine.transmit(conn, &mut gather);
                match gather.is_empty() {
                    true => Ok(0),
                    false => stream.write(&gather),
                }
            };
            // The stream ends here either way, and nobody is left who could be told of an error.
            if let Ok(len @ 1..) = written {
                self.sockets.stats.writes += 1;
                self.sockets.stats.bytes_written += len as u64;
                self.engine.transmitted(now, conn, len);
            }
        }
    }

    /// A stream is given up: the kernel is not to deliver what it still holds.
    fn abort(&mut self, conn: ConnId) {
        if let Some(stream) = self.sockets.streams.get_mut(conn) {
            let socket = SockRef::from(&stream.socket);
            if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, peer = %stream.peer, "cannot reset a stream");
            }
            self.sockets.watch.aborted(conn, &stream.socket);
        }
        self.sockets.release(conn);
    }

    /// A stream has failed, before or after it was established.
    pub(crate) fn end(&mut self, now: Instant, conn: ConnId, error: &io::Error) {
        let phase = self.sockets.streams.get_mut(conn).map(|s| s.phase);
        let Some(peer) = self.sockets.release(conn) else {
            return;
        };
        match phase {
            Some(Phase::Connecting) => {
                self.sockets.stats.connect_errors += 1;
                tracing::debug!(%error, %peer, "cannot connect");
            }
            _ => {
                self.sockets.stats.stream_errors += 1;
                tracing::debug!(%error, %peer, "a stream failed");
            }
        }
        let reason = close_reason(error);
        self.engine.handle(now, Input::Closed { conn, reason });
    }

    /// Takes one event of the queue that a [`Readiness`](crate::drive::Readiness) watches. The caller flushes a batch of them.
    pub fn event(&mut self, now: Instant, event: &Event) {
        match event.token() {
            WAKER => {}
            LISTENER => self.accept(now),
            GROUP | UDP => self.receive_datagrams(now),
            token => self.stream_event(now, token.0, event),
        }
    }

    fn stream_event(&mut self, now: Instant, slot: usize, event: &Event) {
        let Some(stream) = self.sockets.streams.by_slot(slot) else {
            return;
        };
        let conn = stream.conn;
        if stream.phase == Phase::Connecting && !self.arrived(now, conn) {
            return;
        }
        let Some(stream) = self.sockets.streams.get_mut(conn) else {
            return;
        };
        stream.ended |= event.is_read_closed() || event.is_error();
        if event.is_writable() {
            stream.blocked = false;
            self.sockets.mark_dirty(conn);
        }
        let Some(stream) = self.sockets.streams.get_mut(conn) else {
            return;
        };
        if stream.elsewhere.is_some() {
            // A thread reads it, and finds its end where it is: behind what was sent before.
            if event.is_error()
                && let Ok(Some(error)) = stream.socket.take_error()
            {
                self.end(now, conn, &error);
                self.settle(now);
            }
            return;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(now, conn);
        }
    }

    /// An edge on a stream that is being opened: `true` once it is established.
    pub fn arrived(&mut self, now: Instant, conn: ConnId) -> bool {
        let Some(stream) = self.sockets.streams.get_mut(conn) else {
            return false;
        };
        let failed = match stream.socket.take_error() {
            Ok(Some(error)) | Err(error) => Some(error),
            Ok(None) => match stream.socket.peer_addr() {
                Ok(_) => None,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return false,
                Err(error) => Some(error),
            },
        };
        match failed {
            None => {
                stream.phase = Phase::Open;
                self.engine.handle(now, Input::Connected { conn });
            }
            Some(error) => self.end(now, conn, &error),
        }
        self.settle(now);
        // Bytes may have waited for this.
        self.sockets.mark_dirty(conn);
        self.sockets.streams.get_mut(conn).is_some()
    }

    /// Reads a stream until it has no more or its share of the turn is used up.
    fn read(&mut self, now: Instant, conn: ConnId) {
        let before = self.sockets.stats.bytes_read;
        self.read_some(now, conn);
        let brought = self.sockets.stats.bytes_read.wrapping_sub(before);
        self.sockets.watch.brought(conn, brought as usize);
    }

    fn read_some(&mut self, now: Instant, conn: ConnId) {
        for _ in 0..self.sockets.tuning.reads_per_turn.max(1) {
            let Some(stream) = self.sockets.streams.get_mut(conn) else {
                return;
            };
            if stream.paused {
                stream.held = true;
                // Only an error is worth disturbing: the end of the stream waits behind what was sent before.
                if stream.ended
                    && let Ok(Some(error)) = stream.socket.take_error()
                {
                    self.end(now, conn, &error);
                    self.settle(now);
                }
                return;
            }
            self.sockets.stats.reads += 1;
            match stream.socket.read(&mut self.buffer) {
                Ok(0) => {
                    self.ended(now, conn);
                    return;
                }
                Ok(len) => {
                    let whole = len == self.buffer.len() || stream.ended;
                    self.sockets.stats.bytes_read += len as u64;
                    let bytes = &self.buffer[..len];
                    self.engine.handle(now, Input::Received { conn, bytes });
                    self.settle(now);
                    if !whole {
                        return; // a short read emptied the socket: the next byte makes an edge
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.end(now, conn, &error);
                    self.settle(now);
                    return;
                }
            }
        }
        self.sockets.mark_ready(conn);
    }

    /// A thread has read these bytes from a stream, and `ahead` has what could be made of them; none are its end. Whether the stream
    /// is still open.
    pub(crate) fn read_elsewhere(
        &mut self,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
        ahead: &mut dyn ReadAhead,
    ) -> bool {
        self.sockets.stats.reads += 1;
        if self.sockets.streams.get_mut(conn).is_none() {
            return false;
        }
        if bytes.is_empty() {
            self.ended(now, conn);
            return false;
        }
        self.sockets.stats.bytes_read += bytes.len() as u64;
        self.engine.handle_read(now, conn, bytes, ahead);
        self.settle(now);
        self.sockets.streams.get_mut(conn).is_some()
    }

    /// A thread has handed over what it has read: writes the answers. Whether the driver thread has to be woken for the rest.
    pub(crate) fn end_read(&mut self, now: Instant) -> bool {
        self.flush(now);
        self.left_over()
    }

    /// The peer sends no more. What is owed to it, an ACK of its last message, is written first: it may have
    /// closed only its own direction.
    pub fn ended(&mut self, now: Instant, conn: ConnId) {
        self.write_now(now, conn);
        if self.sockets.release(conn).is_some() {
            let reason = CloseReason::EndOfStream;
            self.engine.handle(now, Input::Closed { conn, reason });
        }
        self.settle(now);
    }

    fn receive_datagrams(&mut self, now: Instant) {
        self.sockets.datagrams_ready = false;
        for group in [true, false] {
            let mut left = self.sockets.tuning.datagrams_per_turn.max(1);
            loop {
                let datagrams = &self.sockets.datagrams;
                let Some(socket) = (match group {
                    true => &datagrams.group,
                    false => &datagrams.receiver,
                }) else {
                    break;
                };
                if left == 0 {
                    self.sockets.datagrams_ready = true;
                    break;
                }
                left -= 1;
                match socket.recv_from(&mut self.buffer) {
                    Ok((len, from)) => {
                        self.sockets.stats.datagrams_received += 1;
                        let bytes = &self.buffer[..len];
                        self.engine.handle(now, Input::Datagram { from, bytes });
                        self.settle(now);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A report of an earlier datagram's fate; the socket itself is fine.
                    Err(error) => tracing::debug!(%error, "cannot read a datagram"),
                }
            }
        }
    }

    /// What earlier turns have left, and what time has brought; writes what streams have gathered.
    pub fn continue_work(&mut self, now: Instant) {
        self.work(now);
        self.flush(now);
    }

    /// As [`continue_work`](Self::continue_work), without the writing.
    pub(crate) fn work(&mut self, now: Instant) {
        self.returned();
        self.settle(now);
        for _ in 0..self.sockets.ready.len() {
            let Some(conn) = self.sockets.ready.pop_front() else {
                break;
            };
            if let Some(stream) = self.sockets.streams.get_mut(conn) {
                stream.in_ready = false;
                self.read(now, conn);
            }
        }
        if self.sockets.accept_at.is_some_and(|at| at <= now) {
            self.sockets.accept_at = None;
            self.sockets.accept_ready = true;
        }
        if self.sockets.accept_ready {
            self.accept(now);
        }
        if self.sockets.datagrams_ready {
            self.receive_datagrams(now);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle(now, Input::Timeout);
            self.settle(now);
        }
    }

    /// The last turn: what can be written without waiting is, then everything closes.
    pub fn finish(&mut self, now: Instant) {
        for conn in self.sockets.streams.ids() {
            self.write(now, conn);
        }
        self.sockets.close();
        self.settle(now);
        self.stopped = true;
    }
}
