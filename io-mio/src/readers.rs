//! Threads that read what peers send, and decode it, and apply what they may, before they take the engine's lock.
//!
//! Each owns some of the accepted streams, with a readiness queue and a buffer of its own: reading, deframing and decoding take as many
//! cores as there are threads ([`Tuning::readers`](crate::Tuning::readers)). What it has read from a stream it hands to the
//! engine before it reads from it again, so the bytes of a stream, and their acknowledgements, keep their order; the acknowledgements of
//! one read leave in one write, by the same thread. A stream's own descriptor stays with the driver, which writes to it; the
//! thread has a duplicate.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use folkmoot_core::engine::{ConnId, Engine, Progress, ReadAhead};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use crate::handle::{Broken, Shared};

/// The token of a thread's waker; a stream's is its slot.
const WOKEN: Token = Token(usize::MAX);
/// Events fetched at once.
const EVENTS: usize = 256;

/// What a thread is told.
enum Word {
    /// This stream is yours, while the flag does not say that nothing is to be read from it.
    Read(ConnId, TcpStream, Arc<AtomicBool>),
    /// Read again from a stream that was paused.
    Resume(ConnId),
    /// Let go of a stream.
    Close(ConnId),
    /// End.
    Stop,
}

/// One thread, as the driver sees it.
#[derive(Clone)]
struct Mailbox {
    words: Arc<Mutex<Vec<Word>>>,
    waker: Arc<Waker>,
}

impl Mailbox {
    fn tell(&self, word: Word) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.push(word);
        drop(words);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a reading thread");
        }
    }
}

impl Mailbox {
    /// All that has been told. The lock is free when this returns: what is done about it may need the engine's.
    fn take(&self) -> Vec<Word> {
        std::mem::take(&mut *self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All threads that read; none if the driver thread reads itself.
#[derive(Default)]
pub(crate) struct Readers {
    each: Vec<Mailbox>,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers")
            .field("threads", &self.each.len())
            .finish()
    }
}

impl Readers {
    /// Whether accepted streams are read by threads.
    pub(crate) fn any(&self) -> bool {
        !self.each.is_empty()
    }

    fn of(&self, conn: ConnId) -> Option<&Mailbox> {
        let count = self.each.len().max(1);
        self.each.get(conn.slot() as usize % count)
    }

    /// What a thread would read a stream by.
    ///
    /// # Errors
    /// There is no descriptor for it.
    pub(crate) fn duplicate(socket: &TcpStream) -> io::Result<TcpStream> {
        let duplicate = SockRef::from(socket).try_clone()?;
        Ok(TcpStream::from_std(duplicate.into()))
    }

    /// Gives the duplicate of a stream to a thread; the flag that is given back keeps the thread from reading as long as it is set.
    pub(crate) fn read(&self, conn: ConnId, duplicate: TcpStream) -> Arc<AtomicBool> {
        let paused = Arc::new(AtomicBool::new(false));
        if let Some(mailbox) = self.of(conn) {
            mailbox.tell(Word::Read(conn, duplicate, Arc::clone(&paused)));
        }
        paused
    }

    /// Reading from a stream goes on: its flag has been cleared.
    pub(crate) fn resume(&self, conn: ConnId) {
        if let Some(mailbox) = self.of(conn) {
            mailbox.tell(Word::Resume(conn));
        }
    }

    /// A stream closes: its duplicate must not keep it open.
    pub(crate) fn close(&self, conn: ConnId) {
        if let Some(mailbox) = self.of(conn) {
            mailbox.tell(Word::Close(conn));
        }
    }

    /// All threads are to end.
    pub(crate) fn stop(&self) {
        for mailbox in &self.each {
            mailbox.tell(Word::Stop);
        }
    }
}

/// Threads to be started once what they share is there.
pub(crate) struct Start {
    threads: Vec<(Poll, Mailbox, Box<dyn ReadAhead>)>,
    buffer: usize,
    port: u16,
}

/// Prepares as many threads as are wanted.
///
/// # Errors
/// The operating system gives no readiness queue.
pub(crate) fn prepare<E: Engine>(
    engine: &E,
    wanted: usize,
    buffer: usize,
    port: u16,
) -> io::Result<(Readers, Start)> {
    let mut threads = Vec::new();
    for _ in 0..wanted {
        let ahead = engine.read_ahead();
        let poll = Poll::new()?;
        let mailbox = Mailbox {
            words: Arc::default(),
            waker: Arc::new(Waker::new(poll.registry(), WOKEN)?),
        };
        threads.push((poll, mailbox, ahead));
    }
    let each = threads.iter().map(|(_, mailbox, _)| mailbox.clone());
    let readers = Readers {
        each: each.collect(),
    };
    Ok((
        readers,
        Start {
            threads,
            buffer,
            port,
        },
    ))
}

impl Start {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn launch<E: Engine + Send + 'static>(
        self,
        shared: &Arc<Shared<E>>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let mut started = Vec::new();
        for (number, (poll, mailbox, ahead)) in self.threads.into_iter().enumerate() {
            let shared = Arc::clone(shared);
            let buffer = vec![0; self.buffer];
            let thread = std::thread::Builder::new()
                .name(format!("folkmoot-{}-r{number}", self.port))
                .spawn(move || {
                    let reader = Reader {
                        shared: &shared,
                        poll,
                        mailbox,
                        ahead,
                        buffer,
                        streams: HashMap::new(),
                        ready: Vec::new(),
                    };
                    let broken = Broken(&shared);
                    reader.run();
                    std::mem::forget(broken);
                })?;
            started.push(thread);
        }
        Ok(started)
    }
}

/// A stream that the thread reads.
struct Reading {
    conn: ConnId,
    socket: TcpStream,
    progress: Progress,
    in_ready: bool,
    /// The peer's end or an error was announced: a short read is not yet the last.
    ended: bool,
    /// The engine wants nothing read.
    paused: Arc<AtomicBool>,
}

/// What to do with a stream after a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next byte makes an edge.
    Wait,
    /// There is more than one turn allows.
    More,
    /// It is closed, or will be said to be.
    Over,
}

/// The thread.
struct Reader<'s, E: Engine> {
    shared: &'s Shared<E>,
    poll: Poll,
    mailbox: Mailbox,
    ahead: Box<dyn ReadAhead>,
    buffer: Vec<u8>,
    /// By slot. One that has been given to another stream has been closed before.
    streams: HashMap<usize, Reading>,
    /// Streams with more to read.
    ready: Vec<usize>,
}

impl<E: Engine> Reader<'_, E> {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let limit = (!self.ready.is_empty()).then_some(std::time::Duration::ZERO);
            match self.poll.poll(&mut events, limit) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for readiness failed: the driver stops");
                    self.shared.lock().stopping = true;
                    self.shared.wake();
                    return;
                }
                Ok(()) => {}
            }
            for slot in std::mem::take(&mut self.ready) {
                if let Some(stream) = self.streams.get_mut(&slot) {
                    stream.in_ready = false;
                    self.read(slot);
                }
            }
            for event in &events {
                match event.token() {
                    WOKEN => {
                        if self.listen() {
                            return;
                        }
                    }
                    Token(slot) => {
                        if let Some(stream) = self.streams.get_mut(&slot) {
                            stream.ended |= event.is_read_closed() || event.is_error();
                            self.read(slot);
                        }
                    }
                }
            }
        }
    }

    /// Does as it is told; whether to end.
    fn listen(&mut self) -> bool {
        for word in self.mailbox.take() {
            match word {
                Word::Stop => return true,
                Word::Read(conn, mut socket, paused) => {
                    let slot = conn.slot() as usize;
                    // The former user of the slot has been closed, and its end may not have been noticed yet.
                    self.forget(slot);
                    let registry = self.poll.registry();
                    if let Err(error) =
                        registry.register(&mut socket, Token(slot), Interest::READABLE)
                    {
                        self.failed(conn, &error);
                        continue;
                    }
                    let reading = Reading {
                        conn,
                        socket,
                        progress: Progress::default(),
                        in_ready: false,
                        ended: false,
                        paused,
                    };
                    self.streams.insert(slot, reading);
                    // What came before it was registered makes an edge as well.
                }
                Word::Resume(conn) => {
                    let slot = conn.slot() as usize;
                    if self.streams.get(&slot).is_some_and(|s| s.conn == conn) {
                        self.read(slot);
                    }
                }
                Word::Close(conn) => {
                    let slot = conn.slot() as usize;
                    if self.streams.get(&slot).is_some_and(|s| s.conn == conn) {
                        self.forget(slot);
                    }
                }
            }
        }
        false
    }

    fn forget(&mut self, slot: usize) {
        if let Some(mut former) = self.streams.remove(&slot)
            && let Err(error) = self.poll.registry().deregister(&mut former.socket)
        {
            tracing::debug!(%error, "cannot deregister a stream");
        }
    }

    /// Reads a stream until it has no more or its share of the turn is used up.
    fn read(&mut self, slot: usize) {
        match self.read_some(slot) {
            Next::Wait => {}
            Next::Over => self.forget(slot),
            Next::More => {
                if let Some(stream) = self.streams.get_mut(&slot)
                    && !std::mem::replace(&mut stream.in_ready, true)
                {
                    self.ready.push(slot);
                }
            }
        }
    }

    fn read_some(&mut self, slot: usize) -> Next {
        let Some(stream) = self.streams.get_mut(&slot) else {
            return Next::Wait;
        };
        let conn = stream.conn;
        if stream.paused.load(Ordering::Acquire) {
            // Whoever ends the pause says so.
            return Next::Wait;
        }
        let len = match stream.socket.read(&mut self.buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Next::More,
            Err(error) => {
                self.failed(conn, &error);
                return Next::Over;
            }
        };
        let bytes = self.buffer.get(..len).unwrap_or_default();
        let read_at = self.shared.now();
        self.ahead.read(read_at, conn, &mut stream.progress, bytes);
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let open = state.read_elsewhere(now, conn, bytes, &mut *self.ahead);
        let wake = state.end_read(now);
        self.shared.notify(&state);
        drop(state);
        if wake {
            self.shared.wake();
        }
        self.shared.released();
        match open {
            false => Next::Over,
            true if len == self.buffer.len() || stream.ended => Next::More,
            // A short read emptied the socket: the next byte makes an edge.
            true => Next::Wait,
        }
    }

    fn failed(&self, conn: ConnId, error: &io::Error) {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        state.failed(now, conn, error);
        state.flush(now);
        self.shared.notify(&state);
        drop(state);
        self.shared.released();
    }
}
