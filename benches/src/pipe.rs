//! Two engines joined by memory: what the machines cost without an operating system.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output};
use folkmoot_core::time::Instant;

/// One end of a connection: which engine, and its id there.
type End = (usize, ConnId);

/// Two engines; every byte one writes is at once with the other. Nobody else is there.
#[derive(Debug)]
pub struct Pipe<E> {
    engines: [E; 2],
    addresses: [SocketAddr; 2],
    /// Both directions of each connection.
    peers: BTreeMap<End, End>,
    work: VecDeque<End>,
    buffer: Vec<u8>,
}

impl<E: Engine> Pipe<E> {
    /// Joins two engines that listen at these addresses.
    pub fn new(engines: [E; 2], addresses: [SocketAddr; 2]) -> Self {
        Self {
            engines,
            addresses,
            peers: BTreeMap::new(),
            work: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Runs a command on one engine; nothing moves yet.
    pub fn with<R>(&mut self, side: usize, command: impl FnOnce(&mut E) -> R) -> R {
        command(&mut self.engines[side])
    }

    /// Lets time pass for both.
    pub fn tick(&mut self, now: Instant) {
        for side in [0, 1] {
            self.engines[side].handle(now, Input::Timeout);
        }
        self.settle(now);
    }

    /// Moves bytes until nobody has any.
    pub fn settle(&mut self, now: Instant) {
        loop {
            for side in [0, 1] {
                self.drain(now, side);
            }
            let Some((side, conn)) = self.work.pop_front() else {
                return;
            };
            self.carry(now, side, conn);
        }
    }

    fn drain(&mut self, now: Instant, side: usize) {
        while let Some(output) = self.engines[side].poll_output() {
            match output {
                Output::Connect { conn, to } => {
                    assert_eq!(to, self.addresses[1 - side], "only the other is there");
                    let from = self.addresses[side];
                    let other = self.engines[1 - side]
                        .accept(now, from)
                        .expect("the other accepts");
                    self.peers.insert((side, conn), (1 - side, other));
                    self.peers.insert((1 - side, other), (side, conn));
                    self.engines[side].handle(now, Input::Connected { conn });
                    self.work.push_back((side, conn));
                }
                Output::Transmit { conn } => self.work.push_back((side, conn)),
                Output::Datagram { conn, .. } => {
                    let mut gather = Gather::new();
                    self.engines[side].transmit(conn, &mut gather);
                    let len = gather.len();
                    drop(gather);
                    self.engines[side].transmitted(now, conn, len);
                }
                Output::Close { conn } => {
                    self.carry(now, side, conn);
                    self.end(now, side, conn, CloseReason::EndOfStream);
                }
                Output::Abort { conn } => self.end(now, side, conn, CloseReason::Reset),
                // Nothing is under way here.
                Output::HalfClose { conn } => {
                    self.carry(now, side, conn);
                    self.end(now, side, conn, CloseReason::EndOfStream);
                    let reason = CloseReason::EndOfStream;
                    self.engines[side].handle(now, Input::Closed { conn, reason });
                }
                Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
            }
        }
    }

    /// One engine has closed a connection; the other learns it.
    fn end(&mut self, now: Instant, side: usize, conn: ConnId, reason: CloseReason) {
        if let Some(other) = self.peers.remove(&(side, conn)) {
            self.peers.remove(&other);
            let (side, conn) = other;
            self.engines[side].handle(now, Input::Closed { conn, reason });
        }
    }

    /// Everything that waits on one connection, as a socket would take it: up to 256 KiB at a time.
    fn carry(&mut self, now: Instant, side: usize, conn: ConnId) {
        while let Some(&(other_side, other)) = self.peers.get(&(side, conn)) {
            self.buffer.clear();
            let mut gather = Gather::new();
            self.engines[side].transmit(conn, &mut gather);
            for run in gather.runs() {
                self.buffer.extend_from_slice(run);
            }
            drop(gather);
            if self.buffer.is_empty() {
                return;
            }
            self.engines[side].transmitted(now, conn, self.buffer.len());
            for bytes in self.buffer.chunks(256 * 1024) {
                let input = Input::Received { conn: other, bytes };
                self.engines[other_side].handle(now, input);
            }
            self.drain(now, other_side);
        }
    }
}
