//! A small engine to try the world with: says hello to the group, calls whoever it hears, counts up, and
//! expects every number to come back.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::time::Instant;
use folkmoot_sim::{Boot, Machine};

const HELLO_EVERY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_millis(10);

/// One connection.
#[derive(Debug, Default)]
struct Talk {
    calling: Option<SocketAddr>,
    up: bool,
    out: Vec<u8>,
    /// Bytes of an unfinished number.
    part: Vec<u8>,
    said: u32,
    heard: u32,
}

pub(crate) struct Echo {
    address: SocketAddr,
    generations: Vec<u32>,
    talks: BTreeMap<u32, Talk>,
    hello: Option<ConnId>,
    outputs: VecDeque<Output>,
    hello_at: Instant,
    say_at: Instant,
    /// Numbers that came back, by whom we called.
    pub(crate) echoes: BTreeMap<SocketAddr, u32>,
    pub(crate) closed: Vec<CloseReason>,
    pub(crate) greetings: u32,
    pub(crate) wrong: Option<String>,
    pub(crate) reads: bool,
    pub(crate) accepts: bool,
}

impl Echo {
    pub(crate) fn new(boot: &Boot) -> Self {
        Self {
            address: boot.address,
            generations: Vec::new(),
            talks: BTreeMap::new(),
            hello: None,
            outputs: VecDeque::new(),
            hello_at: boot.now,
            say_at: boot.now,
            echoes: BTreeMap::new(),
            closed: Vec::new(),
            greetings: 0,
            wrong: None,
            reads: true,
            accepts: true,
        }
    }

    fn id(&self, slot: u32) -> ConnId {
        ConnId::new(slot, self.generations[slot as usize])
    }

    fn open(&mut self, talk: Talk) -> ConnId {
        let free = (0u32..).find(|slot| {
            let hello = self.hello.is_some_and(|hello| hello.slot() == *slot);
            !hello && !self.talks.contains_key(slot)
        });
        let slot = free.unwrap();
        if self.generations.len() <= slot as usize {
            self.generations.push(0);
        }
        self.generations[slot as usize] += 1;
        self.talks.insert(slot, talk);
        self.id(slot)
    }

    fn say(&mut self, slot: u32, number: u32) {
        let conn = self.id(slot);
        let talk = self.talks.get_mut(&slot).unwrap();
        if talk.out.is_empty() {
            self.outputs.push_back(Output::Transmit { conn });
        }
        talk.out.extend_from_slice(&number.to_be_bytes());
    }

    fn timeout(&mut self, now: Instant) {
        if self.hello_at <= now {
            self.hello_at = now + HELLO_EVERY;
            let conn = self.open(Talk::default());
            self.talks.remove(&conn.slot());
            self.hello = Some(conn);
            let to = Target::Group;
            self.outputs.push_back(Output::Datagram { conn, to });
        }
        if self.say_at <= now {
            self.say_at = now + SAY_EVERY;
            let slots: Vec<u32> = self.talks.keys().copied().collect();
            for slot in slots {
                let talk = self.talks.get_mut(&slot).unwrap();
                if talk.calling.is_some() && talk.up {
                    talk.said += 1;
                    let number = talk.said;
                    self.say(slot, number);
                }
            }
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let talk = self.talks.get_mut(&conn.slot()).unwrap();
        talk.part.extend_from_slice(bytes);
        while let Some((number, rest)) = talk.part.split_first_chunk::<4>() {
            let number = u32::from_be_bytes(*number);
            talk.part = rest.to_vec();
            talk.heard += 1;
            if number != talk.heard {
                self.wrong = Some(format!("{number} instead of {}", talk.heard));
            }
            if let Some(peer) = talk.calling {
                *self.echoes.entry(peer).or_default() += 1;
            } else {
                if talk.out.is_empty() {
                    self.outputs.push_back(Output::Transmit { conn });
                }
                talk.out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
}

impl Engine for Echo {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => self.timeout(now),
            Input::Connected { conn } => self.talks.get_mut(&conn.slot()).unwrap().up = true,
            Input::Received { conn, bytes } => self.received(conn, bytes),
            Input::Datagram { bytes, .. } => {
                self.greetings += 1;
                let peer: SocketAddr = String::from_utf8(bytes.to_vec()).unwrap().parse().unwrap();
                let known = self.talks.values().any(|talk| talk.calling == Some(peer));
                if peer > self.address && !known {
                    let calling = Some(peer);
                    let talk = Talk {
                        calling,
                        ..Talk::default()
                    };
                    let conn = self.open(talk);
                    self.outputs.push_back(Output::Connect { conn, to: peer });
                }
            }
            Input::Closed { conn, reason } => {
                self.talks.remove(&conn.slot()).unwrap();
                self.closed.push(reason);
            }
        }
    }

    fn accept(&mut self, _: Instant, _: SocketAddr) -> Option<ConnId> {
        if !self.accepts {
            return None;
        }
        let up = true;
        let conn = self.open(Talk {
            up,
            ..Talk::default()
        });
        if !self.reads {
            self.outputs.push_back(Output::PauseRead { conn });
        }
        Some(conn)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.hello_at.min(self.say_at))
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        if self.hello == Some(conn) {
            let text = HELLOS.get_or_init(hellos);
            let own = text.iter().find(|text| text.parse() == Ok(self.address));
            out.push(own.unwrap().as_bytes());
        } else {
            // Two runs, so that cuts between runs are tried.
            let bytes = &self.talks[&conn.slot()].out;
            let (first, second) = bytes.split_at(bytes.len() / 3);
            out.push(first);
            out.push(second);
        }
    }

    fn transmitted(&mut self, _: Instant, conn: ConnId, len: usize) {
        if self.hello == Some(conn) {
            self.hello = None;
        } else {
            self.talks.get_mut(&conn.slot()).unwrap().out.drain(..len);
        }
    }
}

static HELLOS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

fn hellos() -> Vec<String> {
    let nodes = (0..16).map(folkmoot_sim::NodeId::new);
    nodes.map(|node| node.address().to_string()).collect()
}

impl Machine for Echo {
    fn check(&mut self, _: Instant) -> Option<(&'static str, String)> {
        let wrong = self.wrong.take()?;
        Some(("a stream keeps its order", wrong))
    }
}
