//! A member in fixed memory: the input is a sequence of things that happen to it.
//!
//! Besides the rules of the driver's boundary it keeps to its capacities, and every value that it holds is a whole Java
//! object stream of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use folkmoot_core::fixed::{
    Cluster, Config, Event, Inbound, Listener, Membership, Memory, To, Verdict,
};
use folkmoot_core::java::{JavaBytes, Limits};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{SendOptions, UniqueId};

use super::machine::{ADDRESS, Script, World, session_message};

const MEMBERS: usize = 3;
const CONNECTIONS: usize = 8;
const SESSIONS: usize = 3;
const SESSION: usize = 512;
const MESSAGE: usize = 2048;

type Small = Memory<MEMBERS, CONNECTIONS, MESSAGE, 4096, SESSIONS, SESSION, 1024, 64, 12>;

/// Takes every message; fails on those that begin with an F.
struct Application;

impl Listener for Application {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        assert!(message.message.len() < MESSAGE);
        match message.message.first() {
            Some(b'F') => Verdict::Failed,
            _ => Verdict::Processed,
        }
    }
}

/// A member: what its peers, its memory and its owner do.
pub fn fixed(input: &[u8]) {
    let mut script = Script(input);
    let kind = script.byte();
    let listed = [0, 1].map(|number| {
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10 + number), 4000));
        (address, UniqueId([number + 1; 16]))
    });
    let mut config = Config::new(ADDRESS, "localhost#/shop");
    if kind & 1 != 0 {
        config.membership = Membership::Static {
            members: &listed,
            ping_interval: Duration::from_secs(1),
        };
    }
    config.channel_send_options = SendOptions::from_bits(u32::from(kind >> 1 & 7) << 1);
    if kind & 16 != 0 {
        config.jvm_route = Some("n1");
    }
    let now = Instant::from_millis(1);
    let mut memory = Small::new();
    let cluster = Cluster::new(
        config,
        &mut memory,
        Application,
        [1; 32],
        now,
        1_700_000_000_000,
    );
    let mut world = World::new(cluster.expect("a good configuration"));
    world.engine.start(now);
    world.drain();
    if kind & 32 != 0 {
        // The members are there already, and the time to learn them is over: the rest is about sessions.
        let arrive: [&[u8]; 4] = [&[0, 1, 1], &[1], &[1], &[0]];
        for (what, with) in [6, 7, 7, 0].into_iter().zip(arrive) {
            world.step(what, &mut Script(with));
        }
        world.pass(Duration::from_secs(2));
    }
    while !script.0.is_empty() {
        let what = script.byte();
        match what % 16 {
            9 => send(&mut world, &mut script),
            10 if script.byte().is_multiple_of(4) => world.engine.stop(world.now),
            10 => world.engine.start(world.now),
            11 => world.engine.get_all_cluster_sessions(world.now),
            12 | 13 => session_message(&mut world, &mut script),
            14 | 15 => request(&mut world, &mut script),
            _ => world.step(what, &mut script),
        }
        world.drain();
        // One that polls late misses events, and nothing else.
        if what & 16 == 0 {
            events(&mut world);
        }
        check(&world);
    }
}

fn events(world: &mut World<Cluster<'_, Application>>) {
    while let Some(event) = world.engine.poll_event() {
        let stats = world.engine.stats();
        let counted = match event {
            Event::BadInput(_) => stats.bad_input,
            Event::Refused(..) => stats.refused,
            Event::Faulty(..) => stats.faults,
            Event::Acknowledged(..) => stats.acks_received,
            _ => 1,
        };
        assert!(counted > 0, "{event:?} was not counted");
    }
}

fn check(world: &World<Cluster<'_, Application>>) {
    let cluster = &world.engine;
    assert!(cluster.member_count() <= MEMBERS);
    assert_eq!(cluster.members().count(), cluster.member_count());
    assert!(cluster.members().all(|member| member.address != ADDRESS));
    assert!(world.open.len() + world.connecting.len() <= CONNECTIONS);
    assert!(cluster.session_count() <= SESSIONS);
    assert_eq!(cluster.sessions().count(), cluster.session_count());
    for session in cluster.sessions() {
        let Ok(id) = std::str::from_utf8(session.id) else {
            continue;
        };
        let mut size = id.len();
        for (name, value) in cluster.attributes(id) {
            size += name.len() + value.len();
            let stream = JavaBytes::new(value.to_vec().into(), &Limits::default());
            assert!(stream.is_ok(), "{name:?} of {id} is {stream:?}");
        }
        assert!(size <= SESSION);
        // No two sessions have one id.
        assert_eq!(cluster.session(id), Some(session));
    }
}

/// The owner sends a message of its own.
fn send(world: &mut World<Cluster<'_, Application>>, script: &mut Script<'_>) {
    let (options, len) = (u32::from(script.byte()), usize::from(script.byte()) * 16);
    let first = world.engine.members().next();
    let to = match first.filter(|_| options & 1 == 0) {
        Some(member) => To::Member(member.index),
        None => To::All,
    };
    let options = SendOptions::from_bits(options & 14);
    let sent = world.engine.send(world.now, to, options, &vec![b'm'; len]);
    assert!(sent.is_err() || world.engine.member_count() > 0);
}

/// What the owner does with a session: one of those that are here, or one that may not be.
fn request(world: &mut World<Cluster<'_, Application>>, script: &mut Script<'_>) {
    let (what, which, now) = (script.byte(), script.byte(), world.now);
    let cluster = &mut world.engine;
    let here = cluster.sessions().nth(usize::from(which % 4));
    let id = here.and_then(|session| String::from_utf8(session.id.to_vec()).ok());
    let id = id.unwrap_or_else(|| "A".repeat(32));
    match what % 10 {
        0 => drop(cluster.create_session(now)),
        1 => drop(cluster.access_session(now, &id)),
        2 => cluster.end_access(now, &id),
        3 => {
            let value = JavaBytes::from("v".repeat(usize::from(which) * 2).as_str());
            let name = ["name", "other", ""][usize::from(what / 10) % 3];
            let _ = cluster.set_attribute(&id, name, value.as_bytes());
        }
        4 => {
            // Not always one value.
            let len = usize::from(which);
            let _ = cluster.set_attribute(&id, "any", script.bytes(len));
        }
        5 => drop(cluster.remove_attribute(&id, "name")),
        6 => drop(cluster.change_session_id(now, &id)),
        7 | 8 => cluster.request_completed(now, &id),
        _ => drop(cluster.expire_session(now, &id)),
    }
}
