//! Whatever peers, drivers and callers do in whatever order: no panic, no bound exceeded, no timer that stays due.

use std::collections::BTreeSet;
use std::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEvent, ChannelListener, Inbound, Lane, Member, MembershipConfig,
    SendError, StaticConfig, StaticMember, To, UniqueId, Verdict,
};
use folkmoot_core::engine::{CloseReason, ConnId, Gather, Input, Output};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::control::{MEMBER_START, MEMBER_STOP, TCP_FAIL_DETECT};
use folkmoot_core::wire::{ACK_FRAME, ChannelData, FAIL_ACK_FRAME};
use proptest::prelude::*;

use crate::acks::options;
use crate::net::at;

const QUEUE_MAX: usize = 20_000;
const MESSAGE_MAX: usize = 40_000;

#[derive(Clone, Debug)]
enum Op {
    Accept,
    /// Connection by index, frame or noise, and whether it is damaged.
    Receive(u8, Content, Option<(u16, u8)>, u16),
    Connected(u8),
    Closed(u8, u8),
    Transmit(u8, u16),
    Datagram(Content, Option<(u16, u8)>),
    Send(u8, u32, u64, u16),
    Add(u8),
    Time(u16),
    Stop,
    Start,
}

#[derive(Clone, Debug)]
enum Content {
    Noise(Vec<u8>),
    Frame {
        port: u8,
        id: u8,
        bits: u32,
        ours: bool,
        kind: u8,
    },
    Heartbeat {
        port: u8,
        id: u8,
        leaves: bool,
    },
    Acks(u8, bool),
}

impl Content {
    fn bytes(&self, damage: Option<(u16, u8)>) -> Vec<u8> {
        let mut bytes = match self {
            Self::Noise(bytes) => bytes.clone(),
            Self::Acks(count, fail) => match fail {
                true => FAIL_ACK_FRAME.repeat(usize::from(*count)),
                false => ACK_FRAME.repeat(usize::from(*count)),
            },
            Self::Heartbeat { port, id, leaves } => {
                let mut member = somebody(*port, *id, false);
                if *leaves {
                    member.command = b"BABY-ALEX".to_vec();
                }
                block(&member)
            }
            Self::Frame {
                port,
                id,
                bits,
                ours,
                kind,
            } => {
                let mut frame = Vec::new();
                let message = match kind {
                    0 => TCP_FAIL_DETECT.to_vec(),
                    1 => MEMBER_START.to_vec(),
                    2 => MEMBER_STOP.to_vec(),
                    n => vec![*n; usize::from(*n) * 4],
                };
                ChannelData {
                    options: options(*bits),
                    timestamp_ms: 5,
                    unique_id: &[*id; 16],
                    address: &block(&somebody(*port, *id, *ours)),
                    message: &message,
                }
                .write_frame(&mut frame)
                .unwrap();
                frame
            }
        };
        if let Some((at, value)) = damage
            && !bytes.is_empty()
        {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        bytes
    }
}

fn somebody(port: u8, id: u8, ours: bool) -> Member {
    let mut member = Member::new(at(5000 + u16::from(port % 6)), UniqueId([id % 3; 16]));
    if ours {
        member.payload = folkmoot_core::transport::MARKER.to_vec();
    }
    member
}

fn block(member: &Member) -> Vec<u8> {
    let mut block = Vec::new();
    member.write(&mut block).unwrap();
    block
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Content::Noise),
        6 => (any::<u8>(), any::<u8>(), 0u32..256, any::<bool>(), any::<u8>())
            .prop_map(|(port, id, bits, ours, kind)| Content::Frame { port, id, bits, ours, kind }),
        4 => (any::<u8>(), any::<u8>(), proptest::bool::weighted(0.1))
            .prop_map(|(port, id, leaves)| Content::Heartbeat { port, id, leaves }),
        5 => (1u8..4, proptest::bool::weighted(0.2)).prop_map(|(count, fail)| Content::Acks(count, fail)),
    ]
}

fn any_damage() -> impl Strategy<Value = Option<(u16, u8)>> {
    proptest::option::weighted(0.1, any::<(u16, u8)>())
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Accept),
        8 => (any::<u8>(), any_content(), any_damage(), any::<u16>()).prop_map(|(c, x, d, n)| Op::Receive(c, x, d, n)),
        6 => any::<u8>().prop_map(Op::Connected),
        2 => any::<(u8, u8)>().prop_map(|(c, why)| Op::Closed(c, why)),
        8 => (any::<u8>(), prop_oneof![Just(u16::MAX), any::<u16>()]).prop_map(|(c, n)| Op::Transmit(c, n)),
        6 => (any_content(), any_damage()).prop_map(|(x, d)| Op::Datagram(x, d)),
        8 => (any::<u8>(), 0u32..128, any::<u64>(), 0u16..12_000).prop_map(|(t, o, k, n)| Op::Send(t, o, k, n)),
        1 => any::<u8>().prop_map(Op::Add),
        4 => (0u16..4000).prop_map(Op::Time),
        1 => proptest::bool::weighted(0.3).prop_map(|stop| if stop { Op::Stop } else { Op::Start }),
    ]
}

struct Any;

impl ChannelListener for Any {
    fn message_received(&mut self, _now: Instant, message: &Inbound<'_>) -> Verdict {
        match message.message.len() % 7 {
            0 => Verdict::Failed,
            _ => Verdict::Processed,
        }
    }
}

/// A driver that does what it is told, whenever it likes.
struct Run {
    channel: Channel,
    now: Instant,
    /// Streams: asked for or accepted, not yet closed.
    open: BTreeSet<ConnId>,
    connecting: BTreeSet<ConnId>,
    unanswered: BTreeSet<UniqueId>,
}

impl Run {
    fn nth(set: &BTreeSet<ConnId>, n: u8) -> Option<ConnId> {
        set.iter().nth(usize::from(n) % set.len().max(1)).copied()
    }

    fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Accept => {
                if let Some(conn) = self.channel.accept(now, at(999)) {
                    assert!(self.open.insert(conn), "{conn:?} given twice");
                }
            }
            Op::Receive(conn, content, damage, pieces) => {
                let bytes = content.bytes(damage);
                let piece = usize::from(pieces).max(1);
                for bytes in bytes.chunks(piece) {
                    if let Some(conn) = Self::nth(&self.open, conn) {
                        self.input(Input::Received { conn, bytes });
                    }
                }
            }
            Op::Connected(conn) => {
                if let Some(conn) = Self::nth(&self.connecting, conn) {
                    self.connecting.remove(&conn);
                    self.open.insert(conn);
                    self.input(Input::Connected { conn });
                }
            }
            Op::Closed(conn, why) => {
                let reason = [
                    CloseReason::Refused,
                    CloseReason::Reset,
                    CloseReason::EndOfStream,
                ][usize::from(why) % 3];
                let set = if why % 2 == 0 {
                    &mut self.connecting
                } else {
                    &mut self.open
                };
                if let Some(conn) = Self::nth(set, conn) {
                    set.remove(&conn);
                    self.input(Input::Closed { conn, reason });
                }
            }
            Op::Transmit(conn, len) => {
                if let Some(conn) = Self::nth(&self.open, conn) {
                    let len = self.waiting(conn).min(usize::from(len));
                    self.channel.transmitted(now, conn, len);
                    self.drain();
                }
            }
            Op::Datagram(content, damage) => {
                let from = at(45_564);
                let bytes = content.bytes(damage);
                self.input(Input::Datagram {
                    from,
                    bytes: &bytes,
                });
            }
            Op::Send(to, bits, key, len) => {
                let members: Vec<_> = self.channel.members().map(|(index, _)| index).collect();
                let to = match to % 3 {
                    0 => To::All,
                    1 => To::Members(&members),
                    _ => members
                        .first()
                        .map_or(To::All, |member| To::Member(*member)),
                };
                let lane = if key % 2 == 0 {
                    Lane::Any
                } else {
                    Lane::Ordered(key)
                };
                let body = vec![key as u8; usize::from(len)];
                match self.channel.send(now, to, options(bits), lane, &body) {
                    Ok(id) if bits & 2 != 0 => assert!(self.unanswered.insert(id)),
                    Err(SendError::NoSuchMember(_)) => panic!("only members were asked for"),
                    _ => {}
                }
                self.drain();
            }
            Op::Add(id) => {
                self.channel.add_member(now, &somebody(id, id, id > 128));
                self.drain();
            }
            Op::Time(ms) => {
                let end = now + Duration::from_millis(u64::from(ms));
                let mut turns = 0;
                while let Some(at) = self.channel.poll_timeout()
                    && at <= end
                {
                    turns += 1;
                    assert!(turns < 10_000, "endless timers: {:?}", self.channel);
                    self.now = self.now.max(at);
                    self.input(Input::Timeout);
                    let next = self.channel.poll_timeout();
                    assert!(
                        next.is_none_or(|next| next > self.now),
                        "{next:?} stays due at {:?}",
                        self.now
                    );
                }
                self.now = end;
            }
            Op::Stop => {
                self.channel.stop(now);
                self.drain();
            }
            Op::Start => {
                self.channel.start(now);
                self.drain();
            }
        }
        self.check();
    }

    fn input(&mut self, input: Input<'_>) {
        self.channel.handle(self.now, input, &mut Any);
        self.drain();
    }

    fn waiting(&self, conn: ConnId) -> usize {
        let mut gather = Gather::new();
        self.channel.transmit(conn, &mut gather);
        gather.len()
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.channel.poll_output() {
            outputs += 1;
            assert!(outputs < 100_000, "endless outputs: {output:?}");
            match output {
                Output::Connect { conn, .. } => assert!(self.connecting.insert(conn)),
                Output::Datagram { conn, .. } => {
                    let len = self.waiting(conn);
                    assert!(len > 0);
                    self.channel.transmitted(self.now, conn, len);
                }
                Output::Close { conn } | Output::Abort { conn } => {
                    let known = self.open.remove(&conn) | self.connecting.remove(&conn);
                    assert!(known, "{conn:?} closed twice");
                }
                Output::HalfClose { conn } => assert!(self.open.contains(&conn), "{conn:?}"),
                Output::Transmit { conn } => {
                    // What is announced on a connection that is closed right after is for its end.
                    assert!(self.open.contains(&conn), "{conn:?}");
                }
                Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
            }
        }
        while let Some(event) = self.channel.poll_event() {
            if let ChannelEvent::Sent { id, .. } = event {
                // Broadcasts are told before `send` returns.
                self.unanswered.remove(&id);
            }
        }
    }

    fn check(&self) {
        assert!(self.channel.member_count() <= 4);
        for (index, _) in self.channel.members() {
            assert!(self.channel.queue_bytes(index) <= QUEUE_MAX);
        }
        assert!(self.channel.sends_open() <= self.unanswered.len());
        assert!(self.connecting.len() + self.open.len() <= 8 + 4 + (4 + 5 + 3) * 5);
        if self.channel.is_stopped() {
            assert_eq!((self.open.len(), self.connecting.len()), (0, 0));
            assert_eq!(self.channel.poll_timeout(), None);
            assert_eq!(self.channel.sends_open(), 0);
        }
    }
}

fn config(kind: u8) -> ChannelConfig {
    let mut config = ChannelConfig::new(at(4000));
    config.udp_port = 4100;
    config.limits.members_max = 4;
    config.limits.candidates_max = 5;
    config.limits.probes_max = 4;
    config.limits.connections_max = 8;
    config.limits.queue_bytes_max = QUEUE_MAX;
    config.limits.message_bytes_max = MESSAGE_MAX;
    config.limits.gather_bytes_max = MESSAGE_MAX;
    config.sender.pipelining = kind & 4 == 0;
    config.sender.keep_alive_count = if kind & 8 == 0 { -1 } else { 3 };
    config.failure_detector.enabled = kind & 16 == 0;
    match kind % 3 {
        0 => {}
        1 => config.membership = MembershipConfig::None,
        _ => {
            config.membership = MembershipConfig::Static(StaticConfig {
                members: (0..3)
                    .map(|n| StaticMember::new(at(5000 + n), UniqueId([n as u8; 16])))
                    .collect(),
                ..StaticConfig::default()
            });
        }
    }
    config
}

proptest! {
    #[test]
    fn nothing_breaks_a_channel(kind in any::<u8>(), ops in proptest::collection::vec(any_op(), 1..300)) {
        let now = Instant::from_millis(1);
        let mut channel = Channel::new(config(kind), [kind; 32], now, 1_700_000_000_000).unwrap();
        channel.start(now);
        let mut run = Run {
            channel,
            now,
            open: BTreeSet::new(),
            connecting: BTreeSet::new(),
            unanswered: BTreeSet::new(),
        };
        run.drain();
        for op in ops {
            run.step(op);
        }
        // In the end everything comes to rest, and everybody who waits is told.
        run.step(Op::Start);
        run.channel.stop(run.now);
        run.drain();
        for _ in 0..10 {
            run.step(Op::Time(1000));
        }
        assert!(run.channel.is_stopped());
        assert_eq!(run.unanswered.len(), 0);
    }
}
