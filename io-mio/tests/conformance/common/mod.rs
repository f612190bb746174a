//! A small engine with queues, bounds and a memory of what it was told.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::time::Instant;
use folkmoot_mio::{Bound, Config, Handle, bind};

use crate::driver;

/// The bound of every wait in the tests: never reached unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the engine knows of a connection.
#[derive(Debug, Default)]
pub struct Conn {
    pub connected: bool,
    pub out: VecDeque<Vec<u8>>,
    /// Bytes of the first run that are gone.
    pub sent_of_first: usize,
    pub queued: usize,
    pub received: Vec<u8>,
    pub received_len: usize,
    pub paused: bool,
}

/// Echoes, collects, or discards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Collect,
    Echo,
    Count,
}

#[derive(Debug, Default)]
pub struct Toy {
    pub role: Role,
    pub conns: BTreeMap<ConnId, Conn>,
    pub closed: Vec<(ConnId, CloseReason)>,
    pub accept_max: usize,
    /// Bytes queued on a connection before the peer is held back.
    pub queue_max: usize,
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    pub timer: Option<Instant>,
    pub fired: usize,
    pub stopped: bool,
    pub pauses: usize,
    pub asked_to_accept: usize,
    pub largest_queue: usize,
    pub transmits: usize,
    /// A connection's own direction ends as soon as all it had to say is written.
    pub end_when_written: bool,
    outputs: VecDeque<Output>,
    waiting_datagrams: BTreeMap<ConnId, Vec<u8>>,
    next: u32,
}

impl Toy {
    pub fn new(role: Role) -> Self {
        Self {
            role,
            accept_max: usize::MAX,
            queue_max: 256 * 1024,
            ..Self::default()
        }
    }

    fn id(&mut self) -> ConnId {
        self.next += 1;
        // Slots are reused, generations tell their users apart.
        let used: Vec<u32> = self
            .conns
            .keys()
            .chain(self.waiting_datagrams.keys())
            .map(|c| c.slot())
            .collect();
        let slot = (0..).find(|slot| !used.contains(slot)).unwrap();
        ConnId::new(slot, self.next)
    }

    pub fn connect(&mut self, to: SocketAddr) -> ConnId {
        let conn = self.id();
        self.conns.insert(conn, Conn::default());
        self.outputs.push_back(Output::Connect { conn, to });
        conn
    }

    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        if state.out.is_empty() {
            self.outputs.push_back(Output::Transmit { conn });
        }
        state.out.push_back(bytes.to_vec());
        state.queued += bytes.len();
        self.largest_queue = self.largest_queue.max(state.queued);
    }

    pub fn close(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::Close { conn });
    }

    pub fn half_close(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::HalfClose { conn });
    }

    pub fn abort(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::Abort { conn });
    }

    pub fn pause(&mut self, conn: ConnId, paused: bool) {
        self.outputs.push_back(match paused {
            true => Output::PauseRead { conn },
            false => Output::ResumeRead { conn },
        });
    }

    pub fn datagram(&mut self, to: Target, bytes: &[u8]) {
        let conn = self.id();
        self.waiting_datagrams.insert(conn, bytes.to_vec());
        self.outputs.push_back(Output::Datagram { conn, to });
    }

    /// The only connection there is.
    pub fn only(&self) -> ConnId {
        assert_eq!(self.conns.len(), 1);
        *self.conns.keys().next().unwrap()
    }
}

impl Engine for Toy {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => {
                if self.timer.is_some_and(|at| at <= now) {
                    self.timer = None;
                    self.fired += 1;
                }
            }
            Input::Connected { conn } => self.conns.get_mut(&conn).unwrap().connected = true,
            Input::Received { conn, bytes } => {
                assert!(!bytes.is_empty());
                let state = self.conns.get_mut(&conn).unwrap();
                assert!(!state.paused, "bytes while paused");
                state.received_len += bytes.len();
                match self.role {
                    Role::Count => {}
                    Role::Collect => state.received.extend_from_slice(bytes),
                    Role::Echo => {
                        self.send(conn, bytes);
                        let state = self.conns.get_mut(&conn).unwrap();
                        if state.queued > self.queue_max {
                            state.paused = true;
                            self.pauses += 1;
                            self.pause(conn, true);
                        }
                    }
                }
            }
            Input::Datagram { from, bytes } => self.datagrams.push((from, bytes.to_vec())),
            Input::Closed { conn, reason } => {
                assert!(self.conns.remove(&conn).is_some(), "closed twice");
                self.closed.push((conn, reason));
            }
        }
    }

    fn accept(&mut self, _: Instant, _: SocketAddr) -> Option<ConnId> {
        self.asked_to_accept += 1;
        if self.conns.len() >= self.accept_max {
            return None;
        }
        let conn = self.id();
        self.conns.insert(
            conn,
            Conn {
                connected: true,
                ..Conn::default()
            },
        );
        Some(conn)
    }

    fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        if matches!(output, Output::Transmit { .. }) {
            self.transmits += 1;
        }
        Some(output)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        if let Some(bytes) = self.waiting_datagrams.get(&conn) {
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            assert!(out.push(head) && out.push(tail));
        }
        let Some(state) = self.conns.get(&conn) else {
            return;
        };
        for (index, run) in state.out.iter().enumerate() {
            let from = if index == 0 { state.sent_of_first } else { 0 };
            if !out.push(&run[from..]) {
                break;
            }
        }
    }

    fn transmitted(&mut self, _: Instant, conn: ConnId, mut len: usize) {
        if self.waiting_datagrams.remove(&conn).is_some() {
            return;
        }
        let state = self.conns.get_mut(&conn).unwrap();
        state.queued -= len;
        while let Some(first) = state.out.front() {
            let left = first.len() - state.sent_of_first;
            if len < left {
                state.sent_of_first += len;
                break;
            }
            len -= left;
            state.sent_of_first = 0;
            state.out.pop_front();
            if len == 0 {
                break;
            }
        }
        let written = state.queued == 0;
        if state.paused && state.queued <= self.queue_max / 2 {
            state.paused = false;
            self.pause(conn, false);
        }
        if written && self.end_when_written {
            self.half_close(conn);
        }
    }
}

/// A receiver at any free loopback port.
pub fn config() -> Config {
    let mut config = Config::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    config.receiver.port = 0;
    driver::tune(&mut config.tuning);
    config
}

pub fn bound() -> Bound {
    bind(config()).expect("loopback has a free port")
}

/// A running engine and its address.
pub fn run(toy: Toy) -> (Handle<Toy>, SocketAddr) {
    run_with(bound(), toy)
}

pub fn run_with(bound: Bound, toy: Toy) -> (Handle<Toy>, SocketAddr) {
    let addr = bound.receiver_addr();
    (
        driver::spawn(bound, toy, |_, _| {}).expect("a thread"),
        addr,
    )
}

/// Waits until `look` answers.
pub fn until<R>(handle: &Handle<Toy>, mut look: impl FnMut(&mut Toy) -> Option<R>) -> R {
    handle
        .wait_for(PATIENCE, |toy, _| look(toy))
        .expect("the engine gets there")
}

/// A connection from `handle` to `to`, established.
pub fn connect(handle: &Handle<Toy>, to: SocketAddr) -> ConnId {
    let conn = handle.with(|toy, _| toy.connect(to));
    until(handle, |toy| {
        assert!(toy.closed.is_empty(), "{:?}", toy.closed);
        toy.conns[&conn].connected.then_some(())
    });
    conn
}

/// Bytes that show when one is lost, doubled or out of place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i / 65_536) as u8)
        .collect()
}

/// Starts another process. Between its `fork` and its `exec` it has this one's sockets, listeners included, and on a busy machine that may be
/// long: who needs a port to be free again keeps [`nobody_starts`] meanwhile.
pub fn start(command: &mut Command) -> Child {
    let _starting = nobody_starts();
    command.spawn().unwrap()
}

/// As long as it is kept, the process has no copy of itself that is about to become another program.
pub fn nobody_starts() -> MutexGuard<'static, ()> {
    static STARTING: Mutex<()> = Mutex::new(());
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn stop(handle: &Handle<Toy>) {
    assert!(handle.shutdown(PATIENCE, |toy, _| toy.stopped = true, |toy| toy.stopped));
    assert!(!handle.is_running());
}
