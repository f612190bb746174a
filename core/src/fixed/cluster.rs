//! The member as a whole, and the driver's side of it.

use core::net::SocketAddr;
use core::time::Duration;

use super::conns::{Conns, End, Kind};
use super::departed::DepartedIds;
use super::held::Held;
use super::memory::{Blocks, Memory};
use super::peers::{Check, Peer};
use super::table::Sessions;
use super::transfer::Join;
use super::{
    BadInput, Config, ConfigError, Event, FaultCause, Listener, MemberIndex, Membership, Stats,
};
use crate::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use crate::java::places::Walk;
use crate::log::logged;
use crate::membership::goodbyes::Goodbyes;
use crate::rng::{Rng, Seed};
use crate::time::{Instant, WallClock};
use crate::wire::member::{self, SHUTDOWN};
use crate::wire::{MemberBlock, MessageHeader, Sink, SliceSink, UniqueId, frame};

/// Bytes of a member block of ours: an IPv6 address and the longest domain.
const BLOCK_MAX: usize = member::FIXED_LEN + 16 + Config::DOMAIN_MAX + SHUTDOWN.len();
/// Bytes of a frame besides the message.
pub(super) const FRAME_OVERHEAD: usize = MessageHeader::encoded_len(BLOCK_MAX) + frame::END.len();
/// Events that may wait to be polled.
const EVENTS: usize = 32;
/// Goodbyes remembered at once.
const GOODBYES_MAX: usize = 8;
/// How long to wait for a free connection.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// How far the member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Running,
    /// Queued messages leave.
    Draining(Instant),
    /// The others are told.
    Leaving(Instant),
}

/// A member of the cluster with one session manager, in fixed memory. `SimpleTcpCluster` with a `GroupChannel` and a
/// `DeltaManager`.
///
/// Drive it as any [`Engine`]; poll [`poll_event`](Self::poll_event) after every call.
#[derive(Debug)]
pub struct Cluster<'m, L = ()> {
    /// Who takes messages of the application's own.
    pub listener: L,
    pub(super) config: Config<'m>,
    pub(super) peers: &'m mut [Peer],
    pub(super) queues: Blocks<'m>,
    pub(super) conns: Conns<'m>,
    pub(super) buffers: Blocks<'m>,
    pub(super) sessions: Sessions<'m>,
    pub(super) departed: DepartedIds<'m>,
    pub(super) goodbyes: Goodbyes<GOODBYES_MAX>,
    pub(super) held: Held<'m>,
    /// The message being made.
    pub(super) message: &'m mut [u8],
    /// The session being changed.
    pub(super) scratch: &'m mut [u8],
    pub(super) walk: Walk<'m>,
    /// Our member block.
    pub(super) block: heapless::Vec<u8, BLOCK_MAX>,
    pub(super) unique_id: UniqueId,
    pub(super) clock: WallClock,
    pub(super) rng: Rng,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    pub(super) heartbeat_at: Option<Instant>,
    pub(super) settle_at: Option<Instant>,
    pub(super) settle_by: Instant,
    pub(super) settled: bool,
    pub(super) expire_at: Instant,
    pub(super) join: Join,
    /// A session has come: messages kept for it may be applied.
    pub(super) retry_held: bool,
    events: heapless::Deque<Event, EVENTS>,
    pub(super) stats: Stats,
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemberInfo {
    /// Which one.
    pub index: MemberIndex,
    /// Its receiver.
    pub address: SocketAddr,
    /// Its incarnation.
    pub unique_id: UniqueId,
}

impl<'m, L> Cluster<'m, L> {
    /// A member in `memory`, which is not started. `seed` decides everything random; `unix_ms` is the wall clock.
    ///
    /// # Errors
    ///
    /// A setting or a capacity that cannot work, and what would.
    pub fn new<
        const MEMBERS: usize,
        const CONNECTIONS: usize,
        const MESSAGE: usize,
        const QUEUE: usize,
        const SESSIONS: usize,
        const SESSION: usize,
        const HELD: usize,
        const OBJECTS: usize,
        const CLASSES: usize,
    >(
        config: Config<'m>,
        memory: &'m mut Memory<
            MEMBERS,
            CONNECTIONS,
            MESSAGE,
            QUEUE,
            SESSIONS,
            SESSION,
            HELD,
            OBJECTS,
            CLASSES,
        >,
        listener: L,
        seed: Seed,
        now: Instant,
        unix_ms: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let fixed = match config.membership {
            Membership::Static { members, .. } => members.len(),
            Membership::Multicast { .. } => 0,
        };
        #[rustfmt::skip]
        let capacities = [
            ("MEMBERS", (1..=4096).contains(&MEMBERS) && MEMBERS >= fixed, "1 to 4096, and all static members"),
            ("CONNECTIONS", CONNECTIONS >= MEMBERS.saturating_add(4), "at least MEMBERS + 4"),
            ("MESSAGE", MESSAGE >= SESSION.saturating_add(1024) && MESSAGE <= 1 << 24, "at least SESSION + 1024, at most 16 MiB"),
            ("QUEUE", QUEUE >= MESSAGE && QUEUE <= 1 << 28, "at least MESSAGE"),
            ("SESSIONS", SESSIONS >= 1, "1 or more"),
            ("SESSION", SESSION >= 128, "128 or more"),
            ("OBJECTS", OBJECTS >= 32, "32 or more"),
            ("CLASSES", CLASSES >= 8, "8 or more"),
        ];
        if let Some((name, _, wanted)) = capacities.into_iter().find(|(_, fine, _)| !fine) {
            return Err(ConfigError { name, wanted });
        }
        let storage = memory.storage();
        let mut rng = Rng::new(seed);
        let unique_id = config
            .unique_id
            .unwrap_or_else(|| UniqueId::random(&mut rng));
        for peer in storage.peers.iter_mut() {
            *peer = Peer::EMPTY;
        }
        for slot in storage.slots.iter_mut() {
            *slot = super::table::Slot::EMPTY;
        }
        let mut cluster = Self {
            listener,
            peers: storage.peers,
            queues: storage.queues,
            conns: Conns::new(storage.conns),
            buffers: storage.buffers,
            sessions: Sessions::new(storage.slots, storage.areas),
            departed: DepartedIds::new(storage.departed, config.departed_memory),
            goodbyes: Goodbyes::new(),
            held: Held::new(storage.held),
            message: storage.message,
            scratch: storage.scratch,
            walk: storage.walk,
            block: heapless::Vec::new(),
            unique_id,
            clock: WallClock::new(now, unix_ms),
            rng,
            phase: Phase::Idle,
            started: now,
            heartbeat_at: None,
            settle_at: None,
            settle_by: now,
            settled: false,
            expire_at: now,
            join: Join::new(now),
            retry_held: false,
            events: heapless::Deque::new(),
            stats: Stats::default(),
            config,
        };
        cluster.encode_block(unique_id, b"");
        Ok(cluster)
    }

    /// The wall clock shows `unix_ms` milliseconds since the Unix epoch.
    pub const fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.clock = WallClock::new(now, unix_ms);
    }

    /// Our identity in this incarnation.
    pub const fn unique_id(&self) -> UniqueId {
        self.unique_id
    }

    /// What happened, the oldest first, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().map(logged)
    }

    /// What has been counted.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The members, ourselves not among them, the oldest first.
    pub fn members(&self) -> impl Iterator<Item = MemberInfo> {
        let mut after = None;
        core::iter::from_fn(move || {
            let (order, slot) = self.next_member(after)?;
            after = Some(order);
            let peer = self.peers.get(slot)?;
            Some(MemberInfo {
                index: self.index(slot),
                address: peer.address,
                unique_id: peer.unique_id,
            })
        })
    }

    /// How many members there are, ourselves not among them.
    pub fn member_count(&self) -> usize {
        self.peers.iter().filter(|peer| peer.verified).count()
    }

    /// Whether the time to learn the members after the start is over.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether it was never started, or has stopped.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// The oldest member that comes after `after`.
    fn next_member(&self, after: Option<(i64, usize)>) -> Option<((i64, usize), usize)> {
        let members = self
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| peer.verified);
        members
            .map(|(slot, peer)| ((peer.started_ms, slot), slot))
            .filter(|(order, _)| after.is_none_or(|after| *order > after))
            .min()
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.push_back(event).is_err() {
            count(&mut self.stats.events_dropped);
        }
    }

    pub(super) fn bad_input(&mut self, reason: BadInput) {
        count(&mut self.stats.bad_input);
        self.event(Event::BadInput(reason));
    }

    pub(super) fn unix_ms(&self, now: Instant) -> i64 {
        i64::try_from(self.clock.unix_ms(now)).unwrap_or(i64::MAX)
    }

    pub(super) fn index(&self, slot: usize) -> MemberIndex {
        MemberIndex {
            slot: slot as u16,
            generation: self.peers.get(slot).map_or(0, |peer| peer.generation),
        }
    }

    /// The place of a member that is still known.
    pub(super) fn slot(&self, index: MemberIndex) -> Option<usize> {
        let slot = usize::from(index.slot);
        let peer = self.peers.get(slot)?;
        (peer.used && peer.generation == index.generation).then_some(slot)
    }

    /// Writes our member block anew, as that of the incarnation `unique_id`.
    pub(super) fn encode_block(&mut self, unique_id: UniqueId, command: &[u8]) {
        let v4;
        let v6;
        let host: &[u8] = match self.config.address {
            SocketAddr::V4(address) => {
                v4 = address.ip().octets();
                &v4
            }
            SocketAddr::V6(address) => {
                v6 = address.ip().octets();
                &v6
            }
        };
        let block = MemberBlock {
            alive_ms: 0,
            port: i32::from(self.config.address.port()),
            secure_port: -1,
            udp_port: -1,
            host,
            command,
            domain: self.config.domain,
            unique_id,
            payload: b"",
            raw: b"",
        };
        self.block.clear();
        // The longest block fits.
        let _ = block.write(&mut self.block);
    }

    /// Refreshes the alive time in our block: since the start, or, without multicast, since 1970, as Tribes does.
    pub(super) fn refresh_alive(&mut self, now: Instant) {
        let alive = match self.config.membership {
            Membership::Multicast { .. } => {
                i64::try_from(now.since(self.started).as_millis()).unwrap_or(i64::MAX)
            }
            Membership::Static { .. } => self.unix_ms(now),
        };
        member::set_alive(&mut self.block, alive);
    }

    /// Hands our block to the driver as a datagram to the group.
    pub(super) fn send_block(&mut self) {
        let Some(conn) = self.conns.insert(Kind::Datagram(Target::Group), None) else {
            return count(&mut self.stats.datagrams_dropped);
        };
        let mut sink = SliceSink::new(self.buffers.get_mut(conn.slot() as usize));
        let written = sink.put(&self.block).map(|()| sink.written());
        if let (Ok(len), Some(conn)) = (written, self.conns.get_mut(conn)) {
            conn.len = len;
            conn.announce();
        }
    }

    /// `len` bytes of a connection or datagram were written.
    fn written(&mut self, now: Instant, id: ConnId, len: usize) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match conn.kind {
            Kind::Receiver | Kind::Free => conn.acks_written(now, len),
            Kind::Lane(slot) => self.lane_written(now, usize::from(slot), id, len),
            Kind::Probe(_) => {
                conn.sent = conn.sent.saturating_add(len);
                if conn.sent >= conn.len {
                    self.conns.end(id, End::Close);
                }
            }
            Kind::Datagram(_) => {
                self.conns.release(id);
                self.proceed_stopping(now);
            }
        }
    }

    fn connected(&mut self, now: Instant, id: ConnId) {
        match self.conns.get(id).map(|conn| conn.kind) {
            Some(Kind::Lane(slot)) => self.lane_connected(now, usize::from(slot), id),
            Some(Kind::Probe(slot)) => self.check_connected(now, usize::from(slot), id),
            _ => {}
        }
    }

    fn closed(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get(id).copied() else {
            return;
        };
        self.conns.release(id);
        match conn.kind {
            // The sender closes none while it lives, as a rule; a check tells.
            Kind::Receiver if conn.messages => {
                if let Some(slot) = conn.sender.and_then(|sender| self.slot(sender)) {
                    self.suspect(now, slot);
                }
            }
            Kind::Lane(slot) => {
                let slot = usize::from(slot);
                let open = self.peers.get(slot).is_some_and(|peer| peer.lane.open);
                let cause = match reason {
                    _ if open => FaultCause::ConnectionLost,
                    _ => FaultCause::Unreachable,
                };
                self.lane_lost(now, slot, cause);
            }
            Kind::Probe(slot) => self.check_closed(now, usize::from(slot), id),
            Kind::Receiver | Kind::Datagram(_) | Kind::Free => {}
        }
    }

    /// When something is due.
    fn deadline(&self) -> Option<Instant> {
        let mut first: Option<Instant> = None;
        let mut due = |at: Option<Instant>| first = first.into_iter().chain(at).min();
        match self.phase {
            Phase::Idle => return None,
            Phase::Draining(until) | Phase::Leaving(until) => due(Some(until)),
            Phase::Running => {
                due(Some(self.expire_at));
                due(self.join_deadline());
                due(self.donor_deadline());
                due(self.held_deadline());
            }
        }
        due(self.heartbeat_at);
        due(self.settle_at);
        // While no other check can begin, the end of one that runs comes first.
        let may_check = self.may_check();
        for (slot, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.used) {
            match peer.check {
                Check::Due(at) if may_check => due(Some(at)),
                Check::Running(_, at) => due(Some(at)),
                Check::Idle | Check::Due(_) => {}
            }
            if !peer.lane.is_empty() {
                due(Some(peer.lane.progress_at + self.config.timeout));
                if peer.lane.conn.is_none() && peer.lane.wants_to_write(self.queues.get(slot)) {
                    due(Some(peer.lane.tried_at + RETRY));
                }
            }
        }
        for slot in 0..self.conns.len() {
            if let Some((_, conn)) = self.conns.at(slot)
                && conn.kind == Kind::Receiver
            {
                let patience = self.config.frame_timeout;
                due((conn.len > 0).then(|| conn.partial_since + patience));
                due(conn.has_acks().then(|| conn.acks_since + patience));
            }
        }
        first
    }
}

impl<L: Listener> Cluster<'_, L> {
    /// Does what is due.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            return;
        }
        self.heartbeat_due(now);
        self.checks_due(now);
        self.lanes_due(now);
        self.receivers_due(now);
        self.settle_due(now);
        if self.phase == Phase::Running {
            if self.expire_at <= now {
                self.expire_at = now + self.config.process_expires_interval;
                self.process_expires(now);
            }
            self.pump_join(now);
            self.pump_held(now);
            self.pump_donors(now);
        }
        self.proceed_stopping(now);
    }
}

impl<L: Listener> Engine for Cluster<'_, L> {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => {}
            Input::Received { conn, bytes } => self.received(now, conn, bytes),
            Input::Connected { conn } => self.connected(now, conn),
            Input::Datagram { bytes, .. } => self.datagram_received(now, bytes),
            Input::Closed { conn, reason } => self.closed(now, conn, reason),
        }
        self.expire(now);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.accepted(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.conns.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        let Some(state) = self.conns.get(conn) else {
            return;
        };
        match state.kind {
            Kind::Receiver | Kind::Free => state.gather_acks(out),
            Kind::Lane(slot) => {
                let slot = usize::from(slot);
                if let Some(peer) = self.peers.get(slot)
                    && peer.lane.conn == Some(conn)
                {
                    peer.lane.gather(self.queues.get(slot), out);
                }
            }
            Kind::Probe(_) | Kind::Datagram(_) => {
                let bytes = self.buffers.get(conn.slot() as usize);
                out.push(bytes.get(state.sent..state.len).unwrap_or_default());
            }
        }
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.written(now, conn, len);
    }
}

pub(super) const fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
