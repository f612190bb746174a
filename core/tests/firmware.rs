//! What firmware relies on: a member without a heap, alone with what it says and hears.
#![cfg(feature = "alloc")]

use std::net::SocketAddr;

use folkmoot_core::engine::{Engine, Gather, Input, Output};
use folkmoot_core::fixed::{Cluster, Config, Event, Memory};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::member::SHUTDOWN;
use folkmoot_core::wire::{Member, MemberBlock, UniqueId};

type Small = Memory<3, 8, 2048, 2048, 4, 512, 1024, 64, 8>;

const OURS: UniqueId = UniqueId([1; 16]);
const BEFORE: UniqueId = UniqueId([2; 16]);
const OTHER: UniqueId = UniqueId([3; 16]);

fn here() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], 4000))
}

fn there() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 8], 4000))
}

fn config(previous: Option<UniqueId>) -> Config<'static> {
    let mut config = Config::new(here(), "localhost#/shop");
    config.unique_id = Some(OURS);
    config.previous_unique_id = previous;
    config
}

fn new<'m>(config: Config<'m>, memory: &'m mut Small) -> Cluster<'m> {
    Cluster::new(
        config,
        memory,
        (),
        [7; 32],
        Instant::ZERO,
        1_700_000_000_000,
    )
    .unwrap()
}

/// Everything it wants, with the bytes, all of which are taken.
fn drain(member: &mut Cluster<'_>, now: Instant) -> Vec<(Output, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(output) = member.poll_output() {
        let mut bytes = Vec::new();
        if let Output::Datagram { conn, .. } | Output::Transmit { conn } = output {
            bytes = {
                let mut gather = Gather::new();
                member.transmit(conn, &mut gather);
                gather.runs().concat()
            };
            member.transmitted(now, conn, bytes.len());
        }
        all.push((output, bytes));
    }
    all
}

fn heartbeat(member: &mut Cluster<'_>, ms: u64, from: Member) -> Vec<(Output, Vec<u8>)> {
    let mut bytes = Vec::new();
    from.write(&mut bytes).unwrap();
    let now = Instant::from_millis(ms);
    let (from, bytes) = (from.socket_addr().unwrap(), bytes.as_slice());
    member.handle(now, Input::Datagram { from, bytes });
    let outputs = drain(member, now);
    let is_check = |(output, _): &(Output, Vec<u8>)| matches!(output, Output::Connect { .. });
    outputs.into_iter().filter(is_check).collect()
}

#[test]
fn an_earlier_incarnation_is_said_goodbye_for() {
    #[rustfmt::skip]
    let cases = [
        ("none",            None,         vec![(OURS, false), (OURS, false)]),
        ("another",         Some(BEFORE), vec![(BEFORE, true), (OURS, false), (OURS, false)]),
        ("a configured id", Some(OURS),   vec![(OURS, false), (OURS, false)]),
    ];
    for (name, previous, wanted) in cases {
        let mut memory = Small::new();
        let mut member = new(config(previous), &mut memory);
        member.start(Instant::ZERO);
        let said: Vec<_> = drain(&mut member, Instant::ZERO)
            .iter()
            .map(|(_, bytes)| {
                let block = MemberBlock::read(bytes).unwrap();
                assert_eq!(block.socket_addr(), Some(here()), "{name}");
                (block.unique_id, block.is_shutdown())
            })
            .collect();
        assert_eq!(said, wanted, "{name}");
    }
}

#[test]
fn an_earlier_incarnation_is_no_other_member() {
    let mut memory = Small::new();
    let mut member = new(config(Some(BEFORE)), &mut memory);
    member.start(Instant::ZERO);
    drain(&mut member, Instant::ZERO);
    let mut before = Member::new(here(), BEFORE);
    before.alive_ms = 90_000;
    assert_eq!(heartbeat(&mut member, 10, before), []);
}

#[test]
fn a_heartbeat_that_a_goodbye_overtook_brings_nobody_back() {
    let mut memory = Small::new();
    let mut member = new(config(None), &mut memory);
    member.start(Instant::ZERO);
    drain(&mut member, Instant::ZERO);
    let other = |alive_ms, command: &[u8]| {
        let mut other = Member::new(there(), OTHER);
        (other.alive_ms, other.command) = (alive_ms, command.to_vec());
        other
    };
    let check = heartbeat(&mut member, 10, other(5000, b""));
    let [(Output::Connect { conn, .. }, _)] = check[..] else {
        panic!("{check:?}");
    };
    member.handle(Instant::from_millis(11), Input::Connected { conn });
    drain(&mut member, Instant::from_millis(11));
    assert_eq!(member.member_count(), 1);
    heartbeat(&mut member, 400, other(5400, &SHUTDOWN));
    assert_eq!(member.member_count(), 0);
    #[rustfmt::skip]
    let cases = [
        ("the one before",  5000, 401, 0),
        ("sent with it",    5400, 402, 0),
        ("after a restart",    0, 403, 1),
    ];
    for (name, alive_ms, ms, checks) in cases {
        let seen = heartbeat(&mut member, ms, other(alive_ms, b""));
        assert_eq!(seen.len(), checks, "{name}: {seen:?}");
    }
}

#[test]
fn memory_that_was_used_is_as_good_as_new() {
    let mut memory = Small::new();
    let mut first = new(config(None), &mut memory);
    first.start(Instant::ZERO);
    for _ in 0..4 {
        let id = first.create_session(Instant::ZERO).unwrap();
        first.end_access(Instant::ZERO, id.as_str());
    }
    // Nobody takes its datagrams, and a peer is half way in.
    first.accept(Instant::ZERO, there()).unwrap();
    heartbeat(&mut first, 1, Member::new(there(), OTHER));
    let begin = |mut member: Cluster<'_>| {
        member.start(Instant::ZERO);
        let outputs = drain(&mut member, Instant::ZERO);
        let accepted = core::iter::from_fn(|| member.accept(Instant::ZERO, there())).take(20);
        let accepted: Vec<_> = accepted.collect();
        let events: Vec<Event> = core::iter::from_fn(|| member.poll_event()).collect();
        let sessions = (0..5).map(|_| member.create_session(Instant::ZERO));
        let sessions: Vec<_> = sessions.collect();
        (outputs, accepted, events, sessions, *member.stats())
    };
    let again = begin(new(config(None), &mut memory));
    let mut fresh = Small::new();
    assert_eq!(again, begin(new(config(None), &mut fresh)));
}
