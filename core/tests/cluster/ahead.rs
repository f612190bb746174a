//! Deltas that a thread applies before the engine is handed what it read: to the sessions it is the same as if they had been received at
//! that moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use folkmoot_core::channel::MemberIndex;
use folkmoot_core::cluster::{Cluster, ClusterConfig, ContextId};
use folkmoot_core::engine::{
    CloseReason, ConnId, Engine, Gather, Input, Output, Progress, ReadAhead,
};
use folkmoot_core::java::{JavaBytes, ObjectOutput};
use folkmoot_core::session::{
    Action, ActionType, DeltaManagerConfig, DeltaRequest, EventType, SessionId, SessionMessage,
    write_new_session_id,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{ChannelData, SendOptions};

use crate::net::{Kind, Net};

/// What a delta of one attribute says.
fn delta(id: &str, name: &str, value: Option<&str>) -> Vec<u8> {
    let mut delta = DeltaRequest::new(SessionId::from(id), false);
    delta.actions.push(Action {
        kind: ActionType::ATTRIBUTE,
        action: match value {
            Some(_) => Action::SET,
            None => Action::REMOVE,
        },
        name: name.into(),
        value: value.map(JavaBytes::from),
    });
    let mut out = ObjectOutput::new();
    delta.write(&mut out).unwrap();
    out.finish().to_vec()
}

/// A node with the shop and two members that nobody speaks for, a Tomcat and one of ours.
struct Stage {
    net: Net,
    ids: Vec<SessionId>,
    blocks: Vec<Vec<u8>>,
}

impl Stage {
    fn new(config: DeltaManagerConfig, sessions: usize) -> Self {
        let mut net = Net::new();
        net.join(Kind::Ours, ClusterConfig::default(), config);
        net.join_empty(Kind::Foreign, ClusterConfig::default());
        net.join_empty(Kind::Ours, ClusterConfig::default());
        net.run(Duration::from_secs(3));
        let ids = (0..sessions).map(|_| net.create(0, &[("made", "yes")]));
        let ids = ids.collect();
        net.run(Duration::from_secs(1));
        net.events(0);
        let block = |other| {
            let channel = net.nodes[0].cluster.channel();
            let mut block = Vec::new();
            let member = channel.member(net.member(0, other)).unwrap();
            member.write(&mut block).unwrap();
            block
        };
        let blocks = [1, 2].map(block).to_vec();
        Self { net, ids, blocks }
    }

    fn shop(&self) -> ContextId {
        self.net.context(0)
    }

    fn fork(&self) -> Cluster {
        self.net.nodes[0].cluster.fork().unwrap()
    }

    fn member(&self, peer: usize) -> MemberIndex {
        self.net.member(0, peer + 1)
    }

    /// A frame of one of the peers.
    fn frame(&self, peer: usize, options: u32, said: &Said) -> Vec<u8> {
        let mut message = Vec::new();
        SessionMessage {
            session: said.payload.as_deref(),
            ..SessionMessage::new(
                said.kind,
                b"localhost#/shop",
                said.id.as_bytes(),
                b"test",
                said.at_ms,
            )
        }
        .write(&mut message);
        let mut frame = Vec::new();
        ChannelData {
            options: SendOptions::from_bits(options),
            timestamp_ms: 1,
            unique_id: &[7; 16],
            address: &self.blocks[peer],
            message: &message,
        }
        .write_frame(&mut frame)
        .unwrap();
        frame
    }

    fn set(&self, peer: usize, options: u32, id: &SessionId, value: &str) -> Vec<u8> {
        let id = id.to_string();
        let payload = Some(delta(&id, "k", Some(value)));
        let kind = EventType::SessionDelta;
        let at_ms = self.net.unix_ms() + 1;
        self.frame(
            peer,
            options,
            &Said {
                kind,
                id,
                at_ms,
                payload,
            },
        )
    }
}

struct Said {
    kind: EventType,
    id: String,
    at_ms: i64,
    payload: Option<Vec<u8>>,
}

/// What can be seen of the sessions, and what was counted.
fn seen(cluster: &Cluster, shop: ContextId) -> (BTreeMap<String, String>, String) {
    let Some(manager) = cluster.manager(shop) else {
        return Default::default();
    };
    let sessions = manager.sessions().map(|session| {
        let attributes: Vec<_> = session
            .attributes()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.as_string().map(|text| text.to_string()),
                )
            })
            .collect();
        let rest = (
            session.is_primary(),
            session.is_dirty(),
            session.is_new(),
            session.this_accessed_time_ms(),
            session.last_accessed_time_ms(),
            session.max_inactive_interval(),
        );
        (session.id().to_string(), format!("{attributes:?} {rest:?}"))
    });
    (sessions.collect(), format!("{:?}", manager.stats()))
}

/// What the driver is told, and the bytes that it is to write.
fn outputs(cluster: &mut Cluster, now: Instant) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(output) = cluster.poll_output() {
        said.push(format!("{output:?}"));
        if let Output::Transmit { conn } | Output::Datagram { conn, .. } = output {
            loop {
                let mut gather = Gather::new();
                cluster.transmit(conn, &mut gather);
                let bytes = gather.runs().concat();
                drop(gather);
                if bytes.is_empty() {
                    break;
                }
                cluster.transmitted(now, conn, bytes.len());
                said.push(format!("{bytes:?}"));
                if matches!(output, Output::Datagram { .. }) {
                    break;
                }
            }
        }
    }
    said.extend(std::iter::from_fn(|| cluster.poll_event()).map(|event| format!("{event:?}")));
    said
}

/// As little chance as a test needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

/// One connection, as its reading thread has it.
struct Stream {
    conn: ConnId,
    progress: Progress,
    unread: VecDeque<u8>,
}

fn streams(one: &mut Cluster, other: &mut Cluster, now: Instant, count: usize) -> Vec<Stream> {
    let from = ([127, 0, 0, 7], 7).into();
    let stream = |_| {
        let conn = one.accept(now, from).unwrap();
        assert_eq!(other.accept(now, from), Some(conn));
        Stream {
            conn,
            progress: Progress::default(),
            unread: VecDeque::new(),
        }
    };
    (0..count).map(stream).collect()
}

/// What one of the peers says next.
fn said(dice: &mut Dice, ids: &[SessionId], at_ms: i64, number: usize) -> Said {
    let id = ids[dice.roll(ids.len())].to_string();
    let name = ["a", "b", "own", "gone"][dice.roll(4)];
    // Some frames are longer than what most reads bring, and some than what is kept of one.
    let length = match dice.roll(60) {
        0 => 70_000,
        1..10 => 3000,
        other => other * 10,
    };
    let value = format!("{number} {}", "v".repeat(length));
    let (kind, payload) = match dice.roll(60) {
        0 => (EventType::SessionCreated, None),
        1 => (EventType::SessionExpired, None),
        2 | 3 => (EventType::SessionAccessed, None),
        4 => {
            let new = ids[dice.roll(ids.len())].clone();
            let payload = write_new_session_id(&new).unwrap();
            (EventType::ChangeSessionId, Some(payload.to_vec()))
        }
        5 => (EventType::SessionDelta, Some(delta("another", name, None))),
        6 => (EventType::SessionDelta, Some(delta(&id, name, None))),
        _ => (
            EventType::SessionDelta,
            Some(delta(&id, name, Some(&value))),
        ),
    };
    let at_ms = at_ms + dice.roll(5) as i64 - 2;
    Said {
        kind,
        id,
        at_ms,
        payload,
    }
}

/// What the application, or time, does.
fn happens(
    dice: &mut Dice,
    ids: &[SessionId],
    shop: ContextId,
    clusters: &mut [&mut Cluster; 2],
    now: &mut Instant,
) {
    let id = &ids[dice.roll(ids.len())];
    let what = dice.roll(24);
    let new = &ids[dice.roll(ids.len())];
    if what == 0 {
        *now = *now + Duration::from_millis(dice.roll(40_000) as u64);
    } else {
        *now = *now + Duration::from_micros(dice.roll(3000) as u64);
    }
    for cluster in clusters {
        let now = *now;
        match what {
            0 => cluster.handle(now, Input::Timeout),
            1 => drop(cluster.invalidate_session(now, shop, id)),
            2 => drop(cluster.change_session_id(now, shop, id, Some(new))),
            3 => drop(cluster.expire_session(now, shop, id)),
            4 => drop(cluster.process_expires(now)),
            5 => drop(cluster.create_session(now, shop, Some(id))),
            6 => {
                let value = format!("at {now:?}");
                let _ = cluster.set_attribute(now, shop, id, "a", value.as_str());
            }
            _ => {
                if cluster.access_session(now, shop, id) {
                    let value = format!("own {now:?}");
                    let _ = cluster.set_attribute(now, shop, id, "own", value.as_str());
                    let _ = cluster.request_completed(now, shop, id);
                    cluster.end_access(now, shop, id);
                }
            }
        }
    }
}

/// Everything that can be told from outside is the same, whatever comes in between: sessions, counters, answers, events.
#[test]
fn it_makes_no_difference_who_applies_a_delta() {
    let config = DeltaManagerConfig {
        session_timeout: 30,
        ..DeltaManagerConfig::default()
    };
    let stage = Stage::new(config, 12);
    let shop = stage.shop();
    let mut applied = 0;
    for seed in 0..96 {
        let mut dice = Dice(seed * 7919 + 1);
        let (mut one, mut other) = (stage.fork(), stage.fork());
        let mut now = stage.net.now;
        let mut streams = streams(&mut one, &mut other, now, 3);
        let mut threads: Vec<_> = (0..2).map(|_| other.read_ahead()).collect();
        for number in 0..400 {
            let which = dice.roll(streams.len());
            // A Tomcat with two connections, one of ours with the one it has.
            let at_ms = stage.net.unix_ms() + (now.since(stage.net.now)).as_millis() as i64;
            let options = [0, 2, 6, 8][dice.roll(4)];
            let said = said(&mut dice, &stage.ids, at_ms, number);
            let frame = stage.frame(which % 2, options, &said);
            streams[which].unread.extend(frame);
            if dice.roll(3) > 0 {
                let stream = &mut streams[which];
                let len = match dice.roll(3) {
                    0 => stream.unread.len(),
                    _ => 1 + dice.roll(stream.unread.len()),
                };
                let bytes: Vec<u8> = stream.unread.drain(..len).collect();
                let bytes = bytes.as_slice();
                let conn = stream.conn;
                one.handle(now, Input::Received { conn, bytes });
                let thread = &mut threads[which % 2];
                thread.read(now, conn, &mut stream.progress, bytes);
                other.handle_read(now, conn, bytes, &mut **thread);
            }
            if dice.roll(5) == 0 {
                happens(
                    &mut dice,
                    &stage.ids,
                    shop,
                    &mut [&mut one, &mut other],
                    &mut now,
                );
            }
            assert_eq!(
                outputs(&mut one, now),
                outputs(&mut other, now),
                "seed {seed}, {number}"
            );
            if number % 8 == 0 || number == 399 {
                assert_eq!(
                    seen(&one, shop),
                    seen(&other, shop),
                    "seed {seed}, {number}"
                );
            }
        }
        assert_eq!(one.stats().applied_ahead, 0);
        applied += other.stats().applied_ahead;
    }
    assert!(applied > 3000, "{applied} were applied ahead");
}

/// What happens between the read and its being handed over happens to a node that has the delta; what a thread read without
/// leave is applied when it is handed over.
#[test]
fn what_was_read_counts_as_received_then() {
    type Meanwhile = fn(&mut Cluster, Instant, &Stage, ConnId);
    #[rustfmt::skip]
    let cases: &[(&str, Meanwhile)] = &[
        ("nothing",               |_, _, _, _| {}),
        ("a local change",        |c, now, s, _| { c.set_attribute(now, s.shop(), &s.ids[0], "k", "mine").unwrap(); }),
        ("a local request",       |c, now, s, _| {
            c.set_attribute(now, s.shop(), &s.ids[0], "k", "mine").unwrap();
            c.request_completed(now, s.shop(), &s.ids[0]).unwrap();
        }),
        ("its end",               |c, now, s, _| { c.invalidate_session(now, s.shop(), &s.ids[0]).unwrap(); }),
        ("another id",            |c, now, s, _| { c.change_session_id(now, s.shop(), &s.ids[0], None).unwrap(); }),
        ("its time is over",      |c, now, _, _| { c.process_expires(now + Duration::from_secs(7200)); }),
        ("a state transfer",      |c, now, s, _| { assert!(c.get_all_cluster_sessions(now, s.shop())); }),
        ("the manager's end",     |c, now, s, _| { assert!(c.unregister_manager(now, s.shop())); }),
        ("the sender leaves",     |c, now, s, _| {
            let id = c.channel().member(s.member(1)).unwrap().clone();
            let mut goodbye = Vec::new();
            folkmoot_core::wire::Member { command: b"BABY-ALEX".as_slice().into(), ..id }.write(&mut goodbye).unwrap();
            c.handle(now, Input::Datagram { from: ([127, 0, 0, 7], 7).into(), bytes: &goodbye });
        }),
        ("the wall clock jumps",  |c, now, _, _| c.set_wall_clock(now, 1)),
        ("the end of all",        |c, now, _, _| c.stop(now)),
    ];
    let stage = Stage::new(DeltaManagerConfig::default(), 3);
    let (shop, now) = (stage.shop(), stage.net.now);
    for peer in [0, 1] {
        for (name, meanwhile) in cases {
            let (mut one, mut other) = (stage.fork(), stage.fork());
            let mut stream = streams(&mut one, &mut other, now, 1).remove(0);
            let conn = stream.conn;
            let mut ahead = other.read_ahead();
            let mut read = |progress: &mut Progress, bytes: &[u8], ahead: &mut dyn ReadAhead| {
                ahead.read(now, conn, progress, bytes);
                one.handle(now, Input::Received { conn, bytes });
            };
            // The first message makes it known who speaks.
            let first = stage.set(peer, 6, &stage.ids[1], "first");
            read(&mut stream.progress, &first, &mut *ahead);
            other.handle_read(now, conn, &first, &mut *ahead);
            let bytes = [
                stage.set(peer, 6, &stage.ids[0], "theirs"),
                stage.set(peer, 0, &stage.ids[2], "theirs"),
            ]
            .concat();
            read(&mut stream.progress, &bytes, &mut *ahead);
            for cluster in [&mut one, &mut other] {
                meanwhile(cluster, now, &stage, conn);
            }
            let closed = |cluster: &mut Cluster| {
                let mut said = Vec::new();
                while let Some(output) = cluster.poll_output() {
                    said.push(output);
                }
                said.contains(&Output::Close { conn })
            };
            let (_, is_closed) = (closed(&mut one), closed(&mut other));
            assert!(!is_closed || *name == "the end of all", "{name}");
            other.handle_read(now, conn, &bytes, &mut *ahead);
            let (one, other) = (seen(&one, shop), seen(&other, shop));
            assert_eq!(one.0, other.0, "{name}, peer {peer}");
            if !is_closed {
                assert_eq!(one.1, other.1, "{name}, peer {peer}");
            }
        }
    }
}

/// A thread has no leave any more once what it rests on has changed.
#[test]
fn leave_ends_with_what_it_rests_on() {
    type Change = fn(&mut Cluster, Instant, &Stage, ConnId);
    #[rustfmt::skip]
    let cases: &[(&str, u64, Change)] = &[
        ("nothing",              1, |_, _, _, _| {}),
        ("a local change",       0, |c, now, s, _| { c.set_attribute(now, s.shop(), &s.ids[0], "own", "mine").unwrap(); }),
        ("of another session",   1, |c, now, s, _| {
            let other = SessionId::from("far away");
            c.create_session(now, s.shop(), Some(&other)).unwrap();
        }),
        ("a state transfer",     0, |c, now, s, _| { c.get_all_cluster_sessions(now, s.shop()); }),
        ("another wall clock",   0, |c, now, _, _| c.set_wall_clock(now, 1)),
        ("a closed connection",  0, |c, now, _, conn| {
            c.handle(now, Input::Closed { conn, reason: CloseReason::Reset });
        }),
        ("a newer connection",   0, |c, now, s, _| {
            let conn = c.accept(now, ([127, 0, 0, 7], 8).into()).unwrap();
            let bytes = &s.set(1, 0, &s.ids[1], "newer");
            c.handle(now, Input::Received { conn, bytes });
        }),
        ("hands on the channel", 0, |c, _, _, _| { c.channel_mut(); }),
    ];
    let stage = Stage::new(DeltaManagerConfig::default(), 3);
    let now = stage.net.now;
    for (name, expected, change) in cases {
        let (mut one, mut other) = (stage.fork(), stage.fork());
        let mut stream = streams(&mut one, &mut other, now, 1).remove(0);
        let conn = stream.conn;
        let mut ahead = other.read_ahead();
        let first = stage.set(1, 6, &stage.ids[1], "first");
        ahead.read(now, conn, &mut stream.progress, &first);
        other.handle_read(now, conn, &first, &mut *ahead);
        change(&mut other, now, &stage, conn);
        let bytes = stage.set(1, 0, &stage.ids[0], "theirs");
        ahead.read(now, conn, &mut stream.progress, &bytes);
        other.handle_read(now, conn, &bytes, &mut *ahead);
        assert_eq!(other.stats().applied_ahead, *expected, "{name}");
    }
}

/// Threads apply deltas of one application side by side while it writes to its sessions: every delta once, in the order of its connection.
#[cfg(feature = "std")]
#[test]
fn threads_apply_side_by_side() {
    const ROUNDS: usize = 300;
    let stage = Stage::new(DeltaManagerConfig::default(), 24);
    let (shop, now) = (stage.shop(), stage.net.now);
    let mut cluster = stage.fork();
    let readers: Vec<_> = (0..2)
        .map(|peer| {
            let conn = cluster.accept(now, ([127, 0, 0, 7], 7).into()).unwrap();
            let frames: Vec<Vec<u8>> = (0..ROUNDS)
                .map(|round| {
                    let frames = stage.ids.iter().map(|id| {
                        let id = id.to_string();
                        let payload =
                            Some(delta(&id, &format!("of-{peer}"), Some(&round.to_string())));
                        let kind = EventType::SessionDelta;
                        let at_ms = stage.net.unix_ms() + round as i64;
                        stage.frame(
                            peer,
                            0,
                            &Said {
                                kind,
                                id,
                                at_ms,
                                payload,
                            },
                        )
                    });
                    frames.collect::<Vec<_>>().concat()
                })
                .collect();
            (conn, frames.concat(), cluster.read_ahead())
        })
        .collect();
    let cluster = Mutex::new(cluster);
    std::thread::scope(|scope| {
        for (conn, bytes, mut ahead) in readers {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut progress = Progress::default();
                for bytes in bytes.chunks(10_007) {
                    ahead.read(now, conn, &mut progress, bytes);
                    let mut cluster = cluster.lock().unwrap();
                    cluster.handle_read(now, conn, bytes, &mut *ahead);
                }
            });
        }
        for round in 0..ROUNDS {
            let mut cluster = cluster.lock().unwrap();
            let id = &stage.ids[round % stage.ids.len()];
            let value = round.to_string();
            cluster
                .set_attribute(now, shop, id, "own", value.as_str())
                .unwrap();
            drop(cluster);
            std::thread::yield_now();
        }
    });
    let cluster = cluster.into_inner().unwrap();
    let manager = cluster.manager(shop).unwrap();
    let received = manager.stats().received.get(EventType::SessionDelta);
    assert_eq!(received, (2 * ROUNDS * stage.ids.len()) as u64);
    assert!(cluster.stats().applied_ahead > 0);
    for id in &stage.ids {
        for name in ["of-0", "of-1"] {
            let value = cluster.attribute(shop, id, name).unwrap();
            let value = value.as_string().unwrap().to_string();
            assert_eq!(value, (ROUNDS - 1).to_string(), "{name}");
        }
    }
}
