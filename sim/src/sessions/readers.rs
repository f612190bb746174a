//! A node that reads with several threads: each reads ahead what lies in its connections and waits a while for the engine.

use std::collections::{BTreeMap, VecDeque};

use folkmoot_core::cluster::Cluster;
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Input, Progress, ReadAhead};
use folkmoot_core::time::Instant;

use crate::rng::SimRng;

/// How a node's readers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// How many: at least one.
    pub threads: u8,
    /// The longest that one waits for the engine with what it has read, in nanoseconds.
    pub wait_max_ns: u64,
}

/// One thread. Its machine remembers one read: until that has been handed over it reads nothing else.
struct Thread {
    ahead: Box<dyn ReadAhead>,
    holds: Option<(Instant, ConnId, Vec<u8>)>,
}

/// An accepted connection: what it has brought that its thread has not read.
#[derive(Default)]
struct Stream {
    progress: Progress,
    unread: VecDeque<Vec<u8>>,
}

/// The readers of one node. They run in an order that the seed chooses.
pub(super) struct Readers {
    config: ReaderConfig,
    threads: Vec<Thread>,
    streams: BTreeMap<ConnId, Stream>,
    rng: SimRng,
}

impl Readers {
    pub(super) fn new(config: ReaderConfig, cluster: &Cluster, seed: [u8; 32]) -> Self {
        let threads = (0..config.threads.max(1)).map(|_| Thread {
            ahead: cluster.read_ahead(),
            holds: None,
        });
        let mut word = [0; 8];
        word.copy_from_slice(&seed[..8]);
        Self {
            config,
            threads: threads.collect(),
            streams: BTreeMap::new(),
            rng: SimRng::fork(u64::from_le_bytes(word), 0x0062_6561_6473),
        }
    }

    /// A peer has connected.
    pub(super) fn accepted(&mut self, conn: ConnId) {
        self.streams.insert(conn, Stream::default());
    }

    /// The engine has closed a connection: what has come on it is of no use to anybody.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.streams.remove(&conn);
        for thread in &mut self.threads {
            thread.holds.take_if(|(_, held, _)| *held == conn);
        }
    }

    /// Bytes have arrived; whether they are the readers' business.
    pub(super) fn received(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        match self.streams.get_mut(&conn) {
            Some(stream) => {
                stream.unread.push_back(bytes.to_vec());
                true
            }
            None => false,
        }
    }

    /// A connection has ended: its thread finds that out behind the last byte.
    pub(super) fn ended(&mut self, now: Instant, cluster: &mut Cluster, conn: ConnId) {
        for Thread { ahead, holds } in &mut self.threads {
            if let Some((_, _, bytes)) = holds.take_if(|(_, held, _)| *held == conn) {
                cluster.handle_read(now, conn, &bytes, &mut **ahead);
            }
        }
        let unread = self.streams.remove(&conn).map(|stream| stream.unread);
        for bytes in unread.into_iter().flatten() {
            let bytes = &bytes;
            cluster.handle(now, Input::Received { conn, bytes });
        }
    }

    /// Lets every thread do what it can.
    pub(super) fn run(&mut self, now: Instant, cluster: &mut Cluster) {
        let count = self.threads.len();
        let first = self.rng.index(count.max(1));
        for number in (0..count).map(|number| (number + first) % count) {
            loop {
                let Thread { ahead, holds } = &mut self.threads[number];
                if let Some((_, conn, bytes)) = holds.take_if(|(due, ..)| *due <= now) {
                    cluster.handle_read(now, conn, &bytes, &mut **ahead);
                }
                if holds.is_some() {
                    break;
                }
                let waiting = self.streams.iter_mut().filter(|(conn, stream)| {
                    conn.slot() as usize % count == number && !stream.unread.is_empty()
                });
                let mut waiting: Vec<_> = waiting.collect();
                if waiting.is_empty() {
                    break;
                }
                let chosen = self.rng.index(waiting.len());
                let (conn, stream) = &mut waiting[chosen];
                let Some(bytes) = stream.unread.pop_front() else {
                    break;
                };
                ahead.read(now, **conn, &mut stream.progress, &bytes);
                let wait = self.rng.below(self.config.wait_max_ns.saturating_add(1));
                let due = now + std::time::Duration::from_nanos(wait);
                *holds = Some((due, **conn, bytes));
            }
        }
    }

    /// When the next one gets the engine.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |thread: &Thread| thread.holds.as_ref().map(|(due, ..)| *due);
        self.threads.iter().filter_map(due).min()
    }
}

/// Whether what had arrived before the end is still there to be read.
pub(super) const fn leaves_bytes(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::EndOfStream)
}
