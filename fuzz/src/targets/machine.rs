//! Whole machines: the input is a sequence of things that happen to them.
//!
//! Besides not panicking, a machine keeps the boundary's rules (it never speaks of a connection that it or its driver has
//! ended, says when it wants to be woken) and its own bounds.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEngine, ChannelListener, Inbound, Lane, MemberIndex,
    MembershipConfig, StaticConfig, StaticMember, To, Verdict,
};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ContextId};
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output};
use folkmoot_core::java::{JavaBytes, JavaString};
use folkmoot_core::session::{DeltaManagerConfig, SessionId, SessionMessage};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{
    ACK_FRAME, FAIL_ACK_FRAME, Member, MessageHeader, SendOptions, UniqueId, frame, member,
};

/// What the input still holds.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(super) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// A machine with a driver's memory of its connections.
pub(super) struct World<E> {
    pub(super) engine: E,
    pub(super) now: Instant,
    /// Connections by id; whether the peer opened them.
    pub(super) open: BTreeMap<u64, bool>,
    pub(super) connecting: Vec<ConnId>,
}

pub(super) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4000);

/// One of a few peers.
fn peer(number: u8) -> Member {
    let number = number % 4;
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10 + number), 4000));
    let mut peer = Member::new(address, UniqueId([number + 1; 16]));
    if number == 3 {
        // One that understands many messages under way at once.
        peer.payload = folkmoot_core::transport::MARKER.to_vec();
    }
    peer
}

fn block(number: u8, alive_ms: i64) -> Vec<u8> {
    let mut member = peer(number);
    member.alive_ms = alive_ms;
    let mut bytes = Vec::new();
    member.write(&mut bytes).expect("a vector has room");
    bytes
}

/// A whole message from a peer.
fn message(from: u8, options: u32, body: &[u8]) -> Vec<u8> {
    let header = MessageHeader {
        options: SendOptions::from_bits(options),
        timestamp_ms: 7,
        unique_id: UniqueId([7; 16]),
        address: &block(from, 0),
        message_len: body.len(),
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes).expect("a vector has room");
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&frame::END);
    bytes
}

impl<E: Engine> World<E> {
    pub(super) fn new(engine: E) -> Self {
        let now = Instant::from_millis(1);
        Self {
            engine,
            now,
            open: BTreeMap::new(),
            connecting: Vec::new(),
        }
    }

    /// Does what the machine wants. Sockets take everything at once.
    pub(super) fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.engine.poll_output() {
            count += 1;
            assert!(count < 10_000, "does not come to an end");
            match output {
                Output::Connect { conn, .. } => self.connecting.push(conn),
                Output::Datagram { conn, .. } => {
                    let mut gather = Gather::new();
                    self.engine.transmit(conn, &mut gather);
                    let len = gather.len();
                    drop(gather);
                    self.engine.transmitted(self.now, conn, len);
                }
                Output::Transmit { conn } => {
                    let known =
                        self.open.contains_key(&conn.to_u64()) || self.connecting.contains(&conn);
                    assert!(known, "speaks of a connection that is no more");
                    if self.open.contains_key(&conn.to_u64()) {
                        self.write(conn);
                    }
                }
                Output::PauseRead { conn }
                | Output::ResumeRead { conn }
                | Output::HalfClose { conn } => {
                    assert!(
                        self.open.contains_key(&conn.to_u64()),
                        "speaks of a connection that is no more"
                    );
                }
                Output::Close { conn } | Output::Abort { conn } => {
                    let open = self.open.remove(&conn.to_u64()).is_some();
                    let connecting = self.connecting.iter().position(|other| *other == conn);
                    connecting.map(|at| self.connecting.swap_remove(at));
                    assert!(open || connecting.is_some(), "closes a connection twice");
                }
            }
        }
    }

    fn write(&mut self, conn: ConnId) {
        loop {
            let mut gather = Gather::new();
            self.engine.transmit(conn, &mut gather);
            let len = gather.len();
            drop(gather);
            if len == 0 {
                return;
            }
            self.engine.transmitted(self.now, conn, len);
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
        self.drain();
    }

    /// The connection that `number` means, opened by a peer or by the machine.
    fn connection(&self, number: u8, by_peer: bool) -> Option<ConnId> {
        let conns: Vec<_> = self
            .open
            .iter()
            .filter(|(_, peers)| **peers == by_peer)
            .collect();
        let (id, _) = conns.get(usize::from(number).checked_rem(conns.len())?)?;
        Some(ConnId::from_u64(**id))
    }

    fn feed(&mut self, conn: Option<ConnId>, bytes: &[u8], step: usize) {
        let Some(conn) = conn else {
            return;
        };
        for bytes in bytes.chunks(step.max(1)) {
            if self.open.contains_key(&conn.to_u64()) {
                self.handle(Input::Received { conn, bytes });
            }
        }
    }

    /// One thing that happens, if it is none of the machine's own.
    pub(super) fn step(&mut self, what: u8, script: &mut Script<'_>) {
        match what % 12 {
            0 => {
                let from = SocketAddr::new(
                    peer(script.byte()).socket_addr().expect("an address").ip(),
                    50_000,
                );
                if let Some(conn) = self.engine.accept(self.now, from) {
                    assert!(
                        self.open.insert(conn.to_u64(), true).is_none(),
                        "an id twice"
                    );
                }
                self.drain();
            }
            1 => {
                let conn = self.connection(script.byte(), true);
                let len = usize::from(script.byte());
                self.feed(conn, script.bytes(len), usize::MAX);
            }
            2 => {
                let conn = self.connection(script.byte(), true);
                let (from, options, len) = (
                    script.byte(),
                    u32::from(script.byte()),
                    usize::from(script.byte()),
                );
                let step = usize::from(script.byte()) + 1;
                self.feed(conn, &message(from, options, script.bytes(len)), step);
            }
            3 => {
                let conn = self.connection(script.byte(), false);
                let answers: [&[u8]; 4] = [
                    &ACK_FRAME,
                    &FAIL_ACK_FRAME,
                    b"FLT2002\0\0\0\x01xTLF2003",
                    b"no",
                ];
                let [a, b] = [script.byte(), script.byte()].map(|at| answers[usize::from(at) % 4]);
                self.feed(conn, &[a, b].concat(), usize::from(script.byte()));
            }
            4 => {
                let wait = Duration::from_millis(u64::from(script.byte()) * 20);
                self.pass(wait);
            }
            5 => {
                let from = peer(script.byte()).socket_addr().expect("an address");
                let len = usize::from(script.byte());
                let bytes = script.bytes(len);
                self.handle(Input::Datagram { from, bytes });
            }
            6 => {
                let number = script.byte();
                let mut bytes = block(number, i64::from(script.byte()) * 1000);
                if script.byte() == 0 {
                    let mut leaving = peer(number);
                    leaving.command = member::SHUTDOWN.to_vec();
                    bytes.clear();
                    leaving.write(&mut bytes).expect("a vector has room");
                }
                let from = peer(number).socket_addr().expect("an address");
                self.handle(Input::Datagram {
                    from,
                    bytes: &bytes,
                });
            }
            7 => {
                if let Some(conn) = self.connecting.pop() {
                    if script.byte().is_multiple_of(4) {
                        self.handle(Input::Closed {
                            conn,
                            reason: CloseReason::Refused,
                        });
                    } else {
                        self.open.insert(conn.to_u64(), false);
                        self.handle(Input::Connected { conn });
                        if self.open.contains_key(&conn.to_u64()) {
                            self.write(conn);
                            self.drain();
                        }
                    }
                }
            }
            8 => {
                let by_peer = script.byte().is_multiple_of(2);
                if let Some(conn) = self.connection(script.byte(), by_peer) {
                    self.open.remove(&conn.to_u64());
                    self.handle(Input::Closed {
                        conn,
                        reason: CloseReason::EndOfStream,
                    });
                }
            }
            _ => {}
        }
    }

    /// Lets time pass, waking the machine whenever it wants.
    pub(super) fn pass(&mut self, wait: Duration) {
        let until = self.now + wait;
        let mut turns = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until) {
            turns += 1;
            assert!(turns < 2_000, "is never content");
            self.now = self.now.max(at);
            self.handle(Input::Timeout);
        }
        self.now = until;
    }
}

/// Takes every message; fails on those that begin with an F.
struct Listener;

impl ChannelListener for Listener {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        match message.message.first() {
            Some(b'F') => Verdict::Failed,
            _ => Verdict::Processed,
        }
    }

    fn member_added(&mut self, _: Instant, _: MemberIndex, member: &Member) {
        assert_ne!(member.socket_addr(), Some(ADDRESS));
    }
}

fn config(script: &mut Script<'_>) -> ChannelConfig {
    let kind = script.byte();
    let mut config = ChannelConfig::new(ADDRESS);
    config.udp_port = if kind & 1 == 0 { 4000 } else { -1 };
    config.failure_detector.enabled = kind & 2 == 0;
    config.sender.pipelining = kind & 4 == 0;
    if kind & 8 != 0 {
        let members = (0..3)
            .map(|number| {
                StaticMember::new(
                    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10 + number), 4000)),
                    UniqueId([number + 1; 16]),
                )
            })
            .collect();
        config.membership = MembershipConfig::Static(StaticConfig {
            members,
            ..StaticConfig::default()
        });
    }
    config.limits.members_max = 8;
    config.limits.candidates_max = 4;
    config.limits.connections_max = 6;
    config.limits.message_bytes_max = 16 << 10;
    config.limits.gather_bytes_max = 32 << 10;
    config.limits.queue_bytes_max = 16 << 10;
    config.limits.events_max = 64;
    config
}

/// A channel: what its members, its peers and its owner do.
pub fn channel(input: &[u8]) {
    let mut script = Script(input);
    let now = Instant::from_millis(1);
    let config = config(&mut script);
    let channel =
        Channel::new(config, [1; 32], now, 1_700_000_000_000).expect("a good configuration");
    let mut world = World::new(ChannelEngine::new(channel, Listener));
    world.engine.channel.start(now);
    world.drain();
    while !script.0.is_empty() {
        let what = script.byte();
        world.step(what, &mut script);
        let now = world.now;
        let channel = &mut world.engine.channel;
        match what % 12 {
            9 => {
                let (options, lane) = (
                    SendOptions::from_bits(u32::from(script.byte())),
                    script.byte(),
                );
                let lane = if lane % 2 == 0 {
                    Lane::Any
                } else {
                    Lane::Ordered(lane.into())
                };
                let len = usize::from(script.byte()) * 64;
                let _ = channel.send(now, To::All, options, lane, &vec![b'm'; len]);
            }
            10 => while channel.poll_event().is_some() {},
            11 if script.byte() == 0 => channel.stop(now),
            11 => channel.start(now),
            _ => {}
        }
        world.drain();
        let channel = &world.engine.channel;
        assert!(channel.member_count() <= 8);
        for (index, _) in channel.members() {
            // One message may be larger than the queue if nothing else waits.
            assert!(channel.queue_bytes(index) <= 33 << 10);
        }
        let by_peers = world.open.values().filter(|by_peer| **by_peer).count();
        assert!(by_peers <= 6);
    }
}

/// A cluster with one manager: channel, session messages of any kind with any payload, and what requests do.
pub fn cluster(input: &[u8]) {
    let mut script = Script(input);
    let now = Instant::from_millis(1);
    let mut config = config(&mut script);
    // The members are what the channel's own target is about: here they are there.
    config.failure_detector.enabled = false;
    let channel =
        Channel::new(config, [1; 32], now, 1_700_000_000_000).expect("a good configuration");
    let mut world = World::new(Cluster::new(channel, ClusterConfig::default()));
    world.engine.start(now);
    let context = world
        .engine
        .register_manager(now, "/shop", DeltaManagerConfig::default());
    let context = context.expect("a good configuration");
    world.drain();
    world.step(6, &mut Script(&[0, 1, 1]));
    world.step(0, &mut Script(&[0]));
    while !script.0.is_empty() {
        let what = script.byte();
        match what % 16 {
            12 | 13 => session_message(&mut world, &mut script),
            14 | 15 => request(&mut world, context, &mut script),
            _ => world.step(what, &mut script),
        }
        while world.engine.poll_event().is_some() {}
        world.drain();
        assert!(world.engine.channel().member_count() <= 8);
    }
    let manager = world.engine.manager(context).expect("it was registered");
    for session in manager.sessions() {
        assert!(manager.session(session.id()).is_some());
    }
}

/// A session message from a peer, with a payload out of the input.
pub(super) fn session_message<E: Engine>(world: &mut World<E>, script: &mut Script<'_>) {
    let (event_type, id, flags) = (script.byte(), script.byte() % 4, script.byte());
    let len = usize::from(script.byte()) << 8 | usize::from(script.byte());
    let payload = script.bytes(len);
    let id = [b'A' + id; 32];
    let message = SessionMessage {
        event_type: i32::from(event_type),
        timestamp_ms: i64::from(flags),
        timestamp_set: flags & 1 == 0,
        context_name: (flags & 2 == 0).then_some(&b"localhost#/shop"[..]),
        session: (flags & 4 == 0).then_some(payload),
        session_id: (flags & 8 == 0).then_some(&id[..]),
        unique_id: None,
        ..SessionMessage::default()
    };
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let conn = world.connection(0, true);
    world.feed(
        conn,
        &self::message(flags >> 4, u32::from(flags & 0x60) >> 4, &bytes),
        usize::MAX,
    );
}

/// What an application does with a session.
fn request(world: &mut World<Cluster>, context: ContextId, script: &mut Script<'_>) {
    let (what, id, now) = (script.byte(), script.byte() % 4, world.now);
    let id = SessionId::from(JavaString::from(
        core::str::from_utf8(&[b'A' + id; 32]).expect("letters"),
    ));
    let cluster = &mut world.engine;
    match what % 9 {
        0 => drop(cluster.create_session(now, context, Some(&id))),
        1 => drop(cluster.access_session(now, context, &id)),
        2 => cluster.end_access(now, context, &id),
        3 => {
            let value = JavaBytes::string(&JavaString::from("value"));
            let _ = cluster.set_attribute(now, context, &id, "name", value);
        }
        4 => drop(cluster.remove_attribute(now, context, &id, "name")),
        5 => drop(cluster.change_session_id(now, context, &id, None)),
        6 => drop(cluster.request_completed(now, context, &id)),
        7 => drop(cluster.expire_session(now, context, &id)),
        _ => drop(cluster.process_expires(now)),
    }
    world.drain();
}
