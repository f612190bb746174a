//! A Tomcat as it behaves where it differs from us: its `GroupChannel`.
//!
//! It reads on before it has delivered, so what two reads of one connection brought may be worked off, and answered, in
//! any order. It sends from a pool of connections, waits three seconds for an answer, and tries once more after a FAIL_ACK
//! or a lost connection. It believes in everybody whose address accepts connections, and so keeps ghosts.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{
    AckPolicy, Acknowledgement, ChannelData, Control, Deframed, Member, MemberBlock, SendOptions,
    UniqueId, deframe, read_ack,
};

use super::tomcat_map::Backups;
use super::tomcat_sessions::{Message, Sessions};
use super::wires::Wires;
use crate::group::{Life, Parcel, SharedLedger};
use crate::machine::{Boot, Machine};
use crate::rng::SimRng;

/// `McastService.frequency`.
const FREQUENCY: Duration = Duration::from_millis(500);
/// `McastService.dropTime`.
const DROP_TIME: Duration = Duration::from_millis(3000);
/// `TcpFailureDetector.connectTimeout`.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1000);
/// `PooledParallelSender.timeout`.
const SEND_TIMEOUT: Duration = Duration::from_millis(3000);
/// `PooledParallelSender.maxRetryAttempts`.
const RETRIES: u8 = 1;
/// `PooledParallelSender.poolSize`.
const POOL: usize = 25;
/// Members it remembers: it would remember any number, but a simulated attacker is not to exhaust the simulator.
const MEMBERS_MAX: usize = 1000;
/// The longest frame it takes.
const FRAME_MAX: usize = 128 << 20;

/// What takes the messages.
pub(crate) enum Above {
    /// An application that keeps account.
    Parcels(SharedLedger, Life),
    /// A `DeltaManager`.
    Sessions(Box<Sessions>),
    /// A `BackupManager`.
    Maps(Box<Backups>),
}

/// How often the Tomcats of a world did what sets them apart from us.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    /// What a later read of a connection brought was worked off first.
    overtaken: Cell<u64>,
    /// A message was tried again after a FAIL_ACK or with its connection lost.
    retried: Cell<u64>,
    /// An answer did not come for three seconds.
    given_up: Cell<u64>,
    /// A dead incarnation stayed a member beside the one that lives.
    ghosts: Cell<u64>,
}

impl Habits {
    fn note(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    /// Adds the counts to what a run has reached.
    pub(crate) fn covered(&self, into: &mut BTreeMap<String, u64>) {
        for (name, count) in [
            ("answers out of order", &self.overtaken),
            ("messages tried again", &self.retried),
            ("messages given up after 3 s", &self.given_up),
            ("ghosts kept", &self.ghosts),
        ] {
            *into.entry(format!("Tomcat {name}")).or_default() += count.get();
        }
    }
}

/// A Tomcat.
pub(crate) struct Tomcat {
    habits: Rc<Habits>,
    rng: SimRng,
    wires: Wires,
    me: Member,
    started: Instant,
    members: Vec<Other>,
    heartbeat_at: Instant,
    checks: BTreeMap<ConnId, (SocketAddr, UniqueId, Instant)>,
    /// What was read and is to be worked off by one of its threads.
    tasks: Vec<Task>,
    /// Connections of the pool.
    lines: BTreeMap<ConnId, Line>,
    /// What waits for a connection of the pool.
    queue: VecDeque<Outgoing>,
    above: Above,
    unix_ms: u64,
    clock_set: Instant,
    broken: Option<(&'static str, String)>,
}

/// One whom it has heard of.
struct Other {
    member: Member,
    address: SocketAddr,
    heard: Instant,
    is_member: bool,
}

struct Task {
    due: Instant,
    conn: ConnId,
    frames: Vec<Vec<u8>>,
}

struct Line {
    to: SocketAddr,
    /// The frame whose answer it waits for.
    pending: Option<Vec<u8>>,
    /// What its thread says next, once that is answered or given up.
    then: Option<Box<Message>>,
    since: Instant,
    tries: u8,
}

struct Outgoing {
    to: SocketAddr,
    frame: Vec<u8>,
    ack: bool,
    then: Option<Box<Message>>,
}

/// A member as others read it.
pub(crate) fn block_of(member: &Member) -> Vec<u8> {
    let mut block = Vec::new();
    let written = member.write(&mut block);
    debug_assert!(written.is_ok(), "a vector has room");
    block
}

impl Tomcat {
    /// As others see it.
    pub(crate) fn member(boot: &Boot) -> Member {
        let mut me = Member::new(boot.address, UniqueId(boot.unique_id));
        me.udp_port = -1;
        me
    }

    pub(crate) fn new(boot: &Boot, above: Above, habits: Rc<Habits>) -> Self {
        let seed = u64::from(boot.restarts) << 32 | u64::from(boot.unique_id[0]);
        let me = Self::member(boot);
        Self {
            habits,
            rng: SimRng::fork(seed, 0x70_6d_63_61_74 + u64::from(boot.node.0)),
            wires: Wires::default(),
            me,
            started: boot.now,
            members: Vec::new(),
            heartbeat_at: boot.now,
            checks: BTreeMap::new(),
            tasks: Vec::new(),
            lines: BTreeMap::new(),
            queue: VecDeque::new(),
            above,
            unix_ms: boot.unix_ms,
            clock_set: boot.now,
            broken: None,
        }
    }

    fn unix_ms(&self, now: Instant) -> u64 {
        self.unix_ms + now.since(self.clock_set).as_millis() as u64
    }

    fn find(&mut self, address: SocketAddr, id: UniqueId) -> Option<&mut Other> {
        (self.members.iter_mut())
            .find(|other| other.address == address && other.member.unique_id == id)
    }

    // --- membership ------------------------------------------------------------------------------------------------

    fn heartbeat(&mut self, now: Instant) {
        self.me.alive_ms = now.since(self.started).as_millis() as i64;
        let mut block = Vec::new();
        let written = self.me.write(&mut block);
        debug_assert!(written.is_ok(), "a vector has room");
        self.wires.datagram(Target::Group, block);
        self.heartbeat_at = now + FREQUENCY;
        let silent = |other: &&Other| other.is_member && now.since(other.heard) > DROP_TIME;
        let silent: Vec<_> = (self.members.iter().filter(silent))
            .map(|other| (other.address, other.member.unique_id))
            .collect();
        for (address, id) in silent {
            self.check(now, address, id);
        }
        self.members
            .retain(|other| other.is_member || now.since(other.heard) <= DROP_TIME);
    }

    /// `TcpFailureDetector.memberAlive`: whoever accepts a connection at the address is alive.
    fn check(&mut self, now: Instant, address: SocketAddr, id: UniqueId) {
        let mut running = self.checks.values();
        if running.any(|(to, of, _)| (*to, *of) == (address, id)) {
            return;
        }
        let detect = Control::TcpFailDetect.message();
        let frame = self.frame(now, SendOptions::BYTE_MESSAGE, detect);
        let conn = self.wires.connect(address, frame);
        self.wires.close_after(conn);
        self.checks.insert(conn, (address, id, now + CHECK_TIMEOUT));
    }

    fn checked(&mut self, now: Instant, address: SocketAddr, id: UniqueId, alive: bool) {
        if !alive {
            self.members
                .retain(|other| (other.address, other.member.unique_id) != (address, id));
        } else if let Some(other) = self.find(address, id) {
            other.is_member = true;
            other.heard = now;
            let there = self.members.iter();
            if there
                .filter(|o| o.is_member && o.address == address)
                .count()
                > 1
            {
                Habits::note(&self.habits.ghosts);
            }
        }
        self.tell_members(now);
    }

    fn tell_members(&mut self, now: Instant) {
        let mut members: Vec<&Other> = self.members.iter().filter(|o| o.is_member).collect();
        members.sort_by_key(|other| std::cmp::Reverse(other.member.alive_ms));
        let members: Vec<SocketAddr> = members.iter().map(|other| other.address).collect();
        let (known_at, unix_ms) = (now + 2 * FREQUENCY, self.unix_ms(now));
        match &mut self.above {
            Above::Parcels(..) => {}
            Above::Sessions(sessions) => {
                sessions.members = members;
                sessions.members_known_at.get_or_insert(known_at);
            }
            Above::Maps(backups) => {
                let mut members: Vec<&Other> =
                    self.members.iter().filter(|o| o.is_member).collect();
                members.sort_by_key(|other| other.heard);
                let block = |other: &&Other| (other.address, block_of(&other.member));
                let members = members.iter().map(block).collect();
                backups.members_are(unix_ms, known_at, members);
            }
        }
    }

    fn datagram(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(block) = MemberBlock::read(bytes) else {
            return;
        };
        let member = Member::from(block);
        let Some(address) = member.socket_addr() else {
            return;
        };
        if (&member.host, member.port) == (&self.me.host, self.me.port) {
            return;
        }
        let id = member.unique_id;
        if block.is_shutdown() {
            self.checked(now, address, id, false);
            return;
        }
        if let Some(other) = self.find(address, id) {
            (other.heard, other.member.alive_ms) = (now, member.alive_ms);
        } else if self.members.len() < MEMBERS_MAX {
            let (heard, is_member) = (now, false);
            #[rustfmt::skip]
            self.members.push(Other { member, address, heard, is_member });
        }
        if self.find(address, id).is_some_and(|other| !other.is_member) {
            self.check(now, address, id);
        }
    }

    // --- receiving -------------------------------------------------------------------------------------------------

    /// Bytes of a connection that a peer has opened: whole frames go to a thread, and reading goes on at once.
    fn received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some(wire) = self.wires.get_mut(conn) else {
            return;
        };
        wire.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut at = 0;
        loop {
            match deframe(&wire.buffer[at..], FRAME_MAX) {
                Ok(Deframed::Frame { data, consumed }) => {
                    frames.push(data.to_vec());
                    at += consumed;
                }
                Ok(Deframed::Incomplete { .. }) => break,
                // It looks for the next frame instead; nobody honest sends such bytes.
                Err(_) => {
                    self.wires.close(conn);
                    return;
                }
            }
        }
        wire.buffer.drain(..at);
        if !frames.is_empty() {
            let pause = match self.rng.below(20) {
                0 => self.rng.below(20_000),
                _ => self.rng.below(300),
            };
            let due = now + Duration::from_micros(pause);
            self.tasks.push(Task { due, conn, frames });
        }
    }

    fn work(&mut self, now: Instant) {
        while let Some(at) = self.tasks.iter().position(|task| task.due <= now) {
            let task = self.tasks.remove(at);
            if self.tasks[..at]
                .iter()
                .any(|before| before.conn == task.conn)
            {
                Habits::note(&self.habits.overtaken);
            }
            for frame in task.frames {
                self.message(now, task.conn, &frame);
            }
        }
    }

    fn message(&mut self, now: Instant, conn: ConnId, data: &[u8]) {
        let Ok(message) = ChannelData::decode(data) else {
            return;
        };
        let policy = message.options.ack_policy();
        if policy == AckPolicy::OnReceipt {
            self.wires.write(conn, Acknowledgement::Ack.frame());
        }
        let processed = Control::classify(message.message).is_some() || self.process(now, &message);
        if policy == AckPolicy::OnProcessed {
            let answer = match processed {
                true => Acknowledgement::Ack,
                false => Acknowledgement::FailAck,
            };
            self.wires.write(conn, answer.frame());
        }
    }

    fn process(&mut self, now: Instant, message: &ChannelData<'_>) -> bool {
        let from = MemberBlock::read(message.address)
            .ok()
            .and_then(|block| block.socket_addr());
        let unix_ms = self.unix_ms(now);
        match &mut self.above {
            Above::Parcels(ledger, life) => {
                if let Some(parcel) = Parcel::decode(message.message) {
                    let len = message.message.len();
                    let result = ledger.borrow_mut().taken_by_tomcat(*life, parcel, len);
                    if let Err(broken) = result {
                        self.broken.get_or_insert(broken);
                    }
                }
            }
            Above::Sessions(sessions) => sessions.received(now, unix_ms, from, message.message),
            Above::Maps(backups) => backups.received(now, unix_ms, from, message.message),
        }
        true
    }

    // --- sending ---------------------------------------------------------------------------------------------------

    fn frame(&mut self, now: Instant, options: SendOptions, message: &[u8]) -> Vec<u8> {
        let (mut block, mut frame) = (Vec::new(), Vec::new());
        let id: [u8; 16] = self.rng.bytes();
        let data = self.me.write(&mut block).and_then(|()| {
            let data = ChannelData {
                options,
                timestamp_ms: self.unix_ms(now),
                unique_id: &id,
                address: &block,
                message,
            };
            data.write_frame(&mut frame)
        });
        debug_assert!(data.is_ok(), "a vector has room");
        frame
    }

    /// Takes what the manager has to say, to a connection of the pool for each destination.
    fn send(&mut self, now: Instant) {
        let outbox = match &mut self.above {
            Above::Parcels(..) => return,
            Above::Sessions(sessions) => std::mem::take(&mut sessions.outbox),
            Above::Maps(backups) => std::mem::take(&mut backups.outbox),
        };
        for message in outbox {
            self.say(now, message);
        }
        for outgoing in std::mem::take(&mut self.queue) {
            self.transmit_one(now, outgoing);
        }
    }

    fn say(&mut self, now: Instant, message: Message) {
        let ack = message.options.ack_policy() != AckPolicy::Never;
        let frame = self.frame(now, message.options, &message.bytes);
        let to: Vec<SocketAddr> = match message.to {
            Some(to) => vec![to],
            // A ghost's address is there twice, and so is the message.
            None => {
                let members = self.members.iter().filter(|other| other.is_member);
                members.map(|other| other.address).collect()
            }
        };
        let mut then = message.then;
        for to in to {
            let (frame, then) = (frame.clone(), then.take());
            #[rustfmt::skip]
            self.queue.push_back(Outgoing { to, frame, ack, then });
        }
    }

    /// Writes a frame on a free connection of the pool; without one it waits.
    fn transmit_one(&mut self, now: Instant, outgoing: Outgoing) {
        let all = (self.lines.iter()).filter(|(_, line)| line.to == outgoing.to);
        let free: Vec<ConnId> = all
            .clone()
            .filter(|(_, line)| line.pending.is_none())
            .map(|(conn, _)| *conn)
            .filter(|conn| self.wires.get(*conn).is_some_and(|wire| wire.is_idle()))
            .collect();
        let count = all.count();
        if free.is_empty() && count >= POOL {
            self.queue.push_back(outgoing);
            return;
        }
        let pending = outgoing.ack.then(|| outgoing.frame.clone());
        let conn = if free.is_empty() {
            self.wires.connect(outgoing.to, outgoing.frame)
        } else {
            let conn = *self.rng.pick(&free);
            self.wires.write(conn, &outgoing.frame);
            conn
        };
        let (to, then) = (outgoing.to, outgoing.then);
        #[rustfmt::skip]
        self.lines.insert(conn, Line { to, pending, then, since: now, tries: 0 });
    }

    /// The frame on a line is done with: its thread goes on.
    fn settle(&mut self, now: Instant, then: Option<Box<Message>>) {
        if let Some(next) = then {
            self.say(now, *next);
        }
    }

    fn answered(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some(wire) = self.wires.get_mut(conn) else {
            return;
        };
        wire.buffer.extend_from_slice(bytes);
        let mut answers = Vec::new();
        let mut at = 0;
        while let Ok(Deframed::Frame { data, consumed }) = deframe(&wire.buffer[at..], 1024) {
            answers.extend(read_ack(data));
            at += consumed;
        }
        wire.buffer.drain(..at);
        for answer in answers {
            let Some(line) = self.lines.get_mut(&conn) else {
                return;
            };
            match (answer, &line.pending) {
                (Acknowledgement::FailAck, Some(frame)) if line.tries < RETRIES => {
                    Habits::note(&self.habits.retried);
                    line.tries += 1;
                    line.since = now;
                    let frame = frame.clone();
                    self.wires.write(conn, &frame);
                }
                _ => {
                    line.pending = None;
                    let then = line.then.take();
                    self.settle(now, then);
                }
            }
        }
    }

    fn closed(&mut self, now: Instant, conn: ConnId) {
        self.wires.closed(conn);
        if let Some((address, id, _)) = self.checks.remove(&conn) {
            self.checked(now, address, id, false);
        }
        let Some(line) = self.lines.remove(&conn) else {
            return;
        };
        match line.pending {
            Some(frame) if line.tries < RETRIES => {
                Habits::note(&self.habits.retried);
                let again = self.wires.connect(line.to, frame.clone());
                let (to, then, tries) = (line.to, line.then, line.tries + 1);
                let pending = Some(frame);
                #[rustfmt::skip]
                self.lines.insert(again, Line { to, pending, then, since: now, tries });
            }
            _ => self.settle(now, line.then),
        }
    }

    fn overdue(&mut self, now: Instant) {
        let checks = self.checks.iter().filter(|(_, (.., until))| *until <= now);
        let checks: Vec<_> = checks.map(|(conn, (a, id, _))| (*conn, *a, *id)).collect();
        for (conn, address, id) in checks {
            self.checks.remove(&conn);
            self.wires.close(conn);
            self.checked(now, address, id, false);
        }
        let late = |line: &Line| line.pending.is_some() && line.since + SEND_TIMEOUT <= now;
        // What nobody waits for does not wait for a host without power to come back, either.
        let maps = matches!(self.above, Above::Maps(_));
        let closed = |conn: &ConnId| self.wires.get(*conn).is_some_and(|wire| !wire.is_open);
        let vain =
            |conn: &ConnId, line: &Line| maps && closed(conn) && line.since + SEND_TIMEOUT <= now;
        let late: Vec<ConnId> = (self.lines.iter())
            .filter(|(conn, line)| late(line) || vain(conn, line))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            Habits::note(&self.habits.given_up);
            let then = self.lines.remove(&conn).and_then(|line| line.then);
            self.wires.close(conn);
            self.settle(now, then);
        }
    }
}

impl Engine for Tomcat {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => {
                if self.heartbeat_at <= now {
                    self.heartbeat(now);
                }
                self.overdue(now);
                self.work(now);
            }
            Input::Connected { conn } => {
                self.wires.connected(conn);
                if let Some((address, id, _)) = self.checks.remove(&conn) {
                    self.checked(now, address, id, true);
                }
            }
            Input::Received { conn, bytes } if self.lines.contains_key(&conn) => {
                self.answered(now, conn, bytes);
            }
            Input::Received { conn, bytes } => self.received(now, conn, bytes),
            Input::Datagram { bytes, .. } => self.datagram(now, bytes),
            Input::Closed { conn, .. } => self.closed(now, conn),
        }
        let unix_ms = self.unix_ms(now);
        match &mut self.above {
            Above::Parcels(..) => {}
            Above::Sessions(sessions) => sessions.turn(now, unix_ms, &mut self.rng),
            Above::Maps(backups) => backups.turn(now, unix_ms, &mut self.rng),
        }
        self.send(now);
    }

    fn accept(&mut self, _now: Instant, _from: SocketAddr) -> Option<ConnId> {
        Some(self.wires.accept())
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.wires.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let tasks = self.tasks.iter().map(|task| task.due);
        let checks = self.checks.values().map(|(.., until)| *until);
        let lines = self.lines.values().filter(|line| line.pending.is_some());
        let lines = lines.map(|line| line.since + SEND_TIMEOUT);
        let above = match &self.above {
            Above::Sessions(sessions) => sessions.due(),
            Above::Maps(backups) => backups.due(),
            Above::Parcels(..) => None,
        };
        let timers = tasks.chain(checks).chain(lines).chain(above);
        timers.chain([self.heartbeat_at]).min()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.wires.transmit(conn, out);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.wires.transmitted(conn, len);
        if !self.queue.is_empty() {
            self.send(now);
        }
    }
}

impl Machine for Tomcat {
    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        (self.unix_ms, self.clock_set) = (unix_ms, now);
    }

    fn check(&mut self, _now: Instant) -> Option<(&'static str, String)> {
        self.broken.take()
    }

    fn describe(&self, bytes: &[u8]) -> String {
        crate::describe::describe(bytes)
    }
}
