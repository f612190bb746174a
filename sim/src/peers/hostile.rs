//! Somebody who means no good: random, mutated and replayed bytes, to every receiver and to the group.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{
    ACK_FRAME, ChannelData, Control, FAIL_ACK_FRAME, Member, SendOptions, UniqueId,
};

use super::hostile_map::FalseMap;
use super::wires::Wires;
use crate::machine::{Boot, Machine, NodeId};
use crate::rng::SimRng;

/// Pieces it remembers, to replay and mutate them.
const HEARD_MAX: usize = 64;
/// The longest of them.
const PIECE_MAX: usize = 16 << 10;
/// Connections it keeps open.
const CONNECTIONS_MAX: usize = 200;

/// Attacks at once, after it has stood still.
const ATTACKS_MAX: u32 = 1000;
/// Unread answers from which on a node of ours reads no more, and some more.
const ANSWERS: usize = (64 << 10) + 2000;

/// A peer that does what it likes.
pub(crate) struct Hostile {
    rng: SimRng,
    wires: Wires,
    /// Nodes that it can reach.
    nodes: u16,
    /// Who it says it is.
    block: Vec<u8>,
    /// Whether it pretends to be a member.
    announces: bool,
    heard: VecDeque<Vec<u8>>,
    next: Instant,
    /// The longest pause between two attacks, microseconds.
    every_us: u64,
    /// A map of which it pretends to be a node.
    map: Option<FalseMap>,
    /// Whether it asks for more answers than it reads, and how many bytes of them others keep for it.
    greedy: Option<usize>,
    /// The connection on which it leaves answers unread, and until when.
    unread: Option<(ConnId, Instant)>,
}

impl Hostile {
    /// Attacks the first `nodes` nodes, and if it is `greedy` asks for more answers than fit into a
    /// connection on which kernels keep so many bytes.
    pub(crate) fn new(boot: &Boot, nodes: u16, greedy: Option<usize>) -> Self {
        let mut rng = SimRng::new(u64::from_be_bytes([
            boot.seed[0],
            boot.seed[1],
            boot.seed[2],
            boot.seed[3],
            boot.seed[4],
            boot.seed[5],
            boot.seed[6],
            boot.seed[7],
        ]));
        let mut block = Vec::new();
        let written = Member::new(boot.address, UniqueId(boot.unique_id)).write(&mut block);
        debug_assert!(written.is_ok(), "a vector has room");
        Self {
            wires: Wires::default(),
            nodes,
            block,
            announces: rng.chance(500_000),
            heard: VecDeque::new(),
            next: boot.now,
            every_us: *rng.pick(&[2_000, 30_000, 300_000]),
            map: None,
            greedy,
            unread: None,
            rng,
        }
    }

    /// The same; it is also a node of the map of that name.
    pub(crate) fn with_map(mut self, name: &'static [u8]) -> Self {
        self.map = Some(FalseMap::new(name));
        self
    }

    fn hear(&mut self, bytes: &[u8]) {
        if self.heard.len() == HEARD_MAX {
            let forgotten = self.rng.index(HEARD_MAX);
            self.heard.remove(forgotten);
        }
        self.heard
            .push_back(bytes[..bytes.len().min(PIECE_MAX)].to_vec());
    }

    /// Something to send: noise, what was heard, or a message of its own, changed or not.
    fn piece(&mut self) -> Vec<u8> {
        if let Some(map) = &self.map
            && self.rng.chance(400_000)
        {
            let mut bytes = map.message(&mut self.rng, &self.block);
            if self.rng.chance(200_000) {
                self.mutate(&mut bytes);
            }
            return bytes;
        }
        let mut bytes = match self.rng.below(8) {
            0 => {
                let len = self.rng.index(300);
                (0..len).map(|_| self.rng.below(256) as u8).collect()
            }
            1 | 2 => self.message(),
            3 => self.block.clone(),
            _ if self.heard.is_empty() => self.message(),
            _ => self.rng.pick(self.heard.make_contiguous()).clone(),
        };
        if self.rng.chance(600_000) {
            self.mutate(&mut bytes);
        }
        bytes
    }

    /// A frame that is in order, with nothing good in it.
    fn message(&mut self) -> Vec<u8> {
        let len = self.rng.index(200);
        let noise: Vec<u8> = (0..len).map(|_| self.rng.below(256) as u8).collect();
        let id: [u8; 16] = self.rng.bytes();
        let mut frame = Vec::new();
        let written = ChannelData {
            options: SendOptions::from_bits(self.rng.below(256) as u32),
            timestamp_ms: self.rng.next_u64() >> self.rng.below(64),
            unique_id: &id[..self.rng.index(17)],
            address: &self.block,
            message: &noise,
        }
        .write_frame(&mut frame);
        debug_assert!(written.is_ok(), "a vector has room");
        frame
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.rng.between(1, 4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.rng.index(bytes.len());
            match self.rng.below(6) {
                0 => bytes[at] ^= 1 << self.rng.below(8),
                1 => bytes[at] = self.rng.below(256) as u8,
                2 => bytes.truncate(at),
                3 => {
                    let repeated = bytes[at..].to_vec();
                    bytes.extend_from_slice(&repeated);
                    bytes.truncate(PIECE_MAX);
                }
                4 => {
                    // A length that promises much, where one may stand.
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].fill(0x7f);
                }
                _ => {
                    bytes.remove(at);
                }
            }
        }
    }

    /// Asks a node for so many answers that it stops reading, and reads none of them for a while.
    fn ask_for_too_much(&mut self, now: Instant, node: NodeId, window: usize) {
        let id: [u8; 16] = self.rng.bytes();
        let mut question = Vec::new();
        let written = ChannelData {
            options: SendOptions::USE_ACK.union(SendOptions::BYTE_MESSAGE),
            timestamp_ms: self.rng.next_u64() >> 20,
            unique_id: &id,
            address: &self.block,
            message: Control::TcpPing.message(),
        }
        .write_frame(&mut question);
        debug_assert!(written.is_ok(), "a vector has room");
        let times = (ANSWERS + window) / ACK_FRAME.len();
        let conn = self.wires.connect(node.address(), question.repeat(times));
        let long = Duration::from_millis(self.rng.between(50, 6000));
        self.unread = Some((conn, now + long));
    }

    fn attack(&mut self, now: Instant) {
        let node = NodeId(self.rng.below(u64::from(self.nodes)) as u16);
        if let (Some(window), None) = (self.greedy, self.unread)
            && self.rng.chance(20_000)
        {
            return self.ask_for_too_much(now, node, window);
        }
        let open: Vec<ConnId> = self.wires.open().collect();
        match self.rng.below(10) {
            0..=2 if open.len() < CONNECTIONS_MAX => {
                let mut bytes = Vec::new();
                for _ in 0..self.rng.below(4) {
                    bytes.extend(self.piece());
                }
                let conn = self.wires.connect(node.address(), bytes);
                // Some connections stay open with nothing, or half a frame, on them.
                if self.rng.chance(500_000) {
                    self.wires.close_after(conn);
                }
            }
            3 | 4 if !open.is_empty() => {
                let conn = *self.rng.pick(&open);
                let bytes = self.piece();
                self.wires.write(conn, &bytes);
            }
            5 if !open.is_empty() => {
                let conn = *self.rng.pick(&open);
                self.wires.close(conn);
            }
            6 if self.announces => {
                let block = self.block.clone();
                self.wires.datagram(Target::Group, block);
            }
            7 => {
                let bytes = self.piece();
                self.wires.datagram(Target::Address(node.address()), bytes);
            }
            _ => {
                let bytes = self.piece();
                self.wires.datagram(Target::Group, bytes);
            }
        }
    }
}

impl Engine for Hostile {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => {
                if let Some((conn, _)) = self.unread.take_if(|(_, until)| *until <= now) {
                    self.wires.set_reading(conn, true);
                }
                let mut attacks = 0;
                while self.next <= now {
                    attacks += 1;
                    if attacks > ATTACKS_MAX {
                        self.next = now;
                    }
                    self.attack(now);
                    let pause = self.rng.between(1, self.every_us);
                    self.next = self.next + Duration::from_micros(pause);
                }
            }
            Input::Connected { conn } => {
                self.wires.connected(conn);
                if self.unread.is_some_and(|(unread, _)| unread == conn) {
                    self.wires.set_reading(conn, false);
                }
            }
            Input::Received { conn, bytes } => {
                self.hear(bytes);
                let map = self.map.as_mut();
                let answer = map.and_then(|map| map.hear(&mut self.rng, &self.block, bytes));
                if let Some((to, answer)) = answer {
                    let conn = self.wires.connect(to, answer);
                    self.wires.close_after(conn);
                }
                match self.rng.below(8) {
                    0..=2 => self.wires.write(conn, &ACK_FRAME),
                    3 => self.wires.write(conn, &FAIL_ACK_FRAME),
                    4 => {
                        let bytes = self.piece();
                        self.wires.write(conn, &bytes);
                    }
                    _ => {}
                }
            }
            Input::Datagram { bytes, .. } => self.hear(bytes),
            Input::Closed { conn, .. } => {
                self.wires.closed(conn);
                self.unread.take_if(|(unread, _)| *unread == conn);
            }
        }
    }

    fn accept(&mut self, _now: Instant, _from: SocketAddr) -> Option<ConnId> {
        (!self.rng.chance(100_000)).then(|| self.wires.accept())
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.wires.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let unread = self.unread.iter().map(|(_, until)| *until);
        unread.chain([self.next]).min()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.wires.transmit(conn, out);
    }

    fn transmitted(&mut self, _now: Instant, conn: ConnId, len: usize) {
        self.wires.transmitted(conn, len);
    }
}

impl Machine for Hostile {}
