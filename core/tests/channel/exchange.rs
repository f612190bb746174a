//! Two of our own nodes.

use std::time::Duration;

use bytes::Bytes;
use folkmoot_core::channel::{
    ChannelConfig, ChannelEvent, FaultCause, Lane, MembershipConfig, SendError, SendOptions,
    StaticConfig, StaticMember, To, UniqueId,
};
use folkmoot_core::engine::{ConnId, Gather, Output};

use crate::net::{Net, Told, at};

const fn options(bits: u32) -> SendOptions {
    SendOptions::from_bits(bits)
}

#[test]
fn two_nodes_find_each_other_and_exchange_messages_with_every_option() {
    let mut net = Net::pair();
    assert_eq!(net.told(0), [Told::Added(4001)]);
    assert_eq!(net.told(1), [Told::Added(4000)]);
    assert!(net.nodes.iter().all(|node| node.channel.is_settled()));
    net.events(0);
    for bits in [0, 2, 6, 8, 10, 14] {
        for lane in [Lane::Any, Lane::Ordered(7)] {
            let now = net.now;
            let id = net.nodes[0]
                .channel
                .send(now, To::All, options(bits), lane, b"hello")
                .unwrap();
            let events = net.events(0);
            let got = std::mem::take(&mut net.nodes[1].log.got);
            assert_eq!(got.len(), 1, "{bits}");
            assert_eq!(got[0].message, b"hello");
            assert_eq!(got[0].options, bits | 1, "{bits}");
            assert_eq!(got[0].from, Some(net.other(1)));
            let expected = match bits & 2 {
                0 => vec![],
                _ => vec![ChannelEvent::Sent { id, faulty: vec![] }],
            };
            assert_eq!(events, expected, "{bits}");
        }
    }
    assert_eq!(
        net.nodes[0].channel.stats().connects,
        1,
        "one connection between our own nodes"
    );
}

/// A large message is encoded once: every member's connection is lent the same header and the sender's own bytes.
#[test]
fn one_encoding_serves_all_members() {
    const MEMBERS: u16 = 4;
    let mut net = Net::new();
    for port in 4000..=4000 + MEMBERS {
        net.add(ChannelConfig::new(at(port)));
    }
    net.run(Duration::from_secs(3));
    let now = net.now;
    let send = |net: &mut Net, body: Bytes| {
        let channel = &mut net.nodes[0].channel;
        channel
            .send(now, To::All, options(6), Lane::Any, body)
            .unwrap()
    };
    // So that there is a connection to each.
    send(&mut net, Bytes::from_static(b"first"));
    net.settle();
    for node in 1..=usize::from(MEMBERS) {
        assert_eq!(net.messages(node), [b"first"]);
    }
    let body = Bytes::from(vec![7; 100_000]);
    send(&mut net, body.clone());
    let channel = &mut net.nodes[0].channel;
    let conns: Vec<ConnId> = std::iter::from_fn(|| channel.poll_output())
        .map(|output| match output {
            Output::Transmit { conn } => conn,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(conns.len(), usize::from(MEMBERS));
    let lent = conns.iter().map(|conn| {
        let mut gather = Gather::new();
        channel.transmit(*conn, &mut gather);
        let runs = gather.runs().iter().map(|run| (run.as_ptr(), run.len()));
        runs.collect::<Vec<_>>()
    });
    let lent: Vec<_> = lent.collect();
    assert!(lent.iter().all(|runs| *runs == lent[0]), "{lent:?}");
    assert!(lent[0].contains(&(body.as_ptr(), body.len())));
    for conn in conns {
        net.transmit(0, conn);
    }
    net.settle();
    for node in 1..=usize::from(MEMBERS) {
        assert_eq!(net.messages(node), [body.to_vec()]);
    }
}

#[test]
fn messages_of_any_size_and_in_any_pieces_arrive_whole_and_in_order() {
    for piece in [1, 7, 1000, usize::MAX] {
        let mut net = Net::pair();
        net.piece = piece;
        let now = net.now;
        let mut sent = Vec::new();
        for (number, len) in [0usize, 1, 500, 8192, 8193, 20_000, 33_000, 70_000]
            .into_iter()
            .enumerate()
        {
            let body: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
            let channel = &mut net.nodes[0].channel;
            let shared = Bytes::from(body.clone());
            channel
                .send(now, To::All, options(8), Lane::Any, &body)
                .unwrap();
            channel
                .send_object(now, To::All, options(6), Lane::Any, shared)
                .unwrap();
            sent.extend([body.clone(), body]);
        }
        net.settle();
        assert_eq!(net.messages(1), sent, "pieces of {piece}");
        assert_eq!(net.nodes[0].channel.sends_open(), 0);
        let member = net.other(0);
        assert_eq!(net.nodes[0].channel.queue_bytes(member), 0);
    }
}

#[test]
fn a_message_to_three_reaches_each_once() {
    let mut net = Net::new();
    for port in 4000..4004 {
        net.add(ChannelConfig::new(at(port)));
    }
    net.run(Duration::from_secs(2));
    net.events(0);
    let now = net.now;
    let id = net.nodes[0]
        .channel
        .send(now, To::All, options(6), Lane::Any, b"to all")
        .unwrap();
    assert_eq!(net.events(0), [ChannelEvent::Sent { id, faulty: vec![] }]);
    for node in 1..4 {
        assert_eq!(net.messages(node), [b"to all"]);
    }
    // The oldest comes first.
    let ports: Vec<_> = net.nodes[3]
        .channel
        .members()
        .map(|(_, member)| member.port)
        .collect();
    assert_eq!(ports, [4000, 4001, 4002]);
}

#[test]
fn a_full_queue_refuses_for_everybody_and_says_when_there_is_room() {
    let mut net = Net::new();
    for port in 4000..4003 {
        let mut config = ChannelConfig::new(at(port));
        config.limits.queue_bytes_max = 10_000;
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    net.events(0);
    let slow = net.nodes[0].channel.members().next().unwrap().0;
    net.nodes[1].paused = true;
    let body = [9; 1000];
    let now = net.now;
    let mut queued = 0;
    let refused = loop {
        match net.nodes[0]
            .channel
            .send(now, To::Member(slow), options(8), Lane::Any, &body)
        {
            Ok(_) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendError::QueueFull(slow));
    assert_eq!(queued, 8);
    let all = net.nodes[0]
        .channel
        .send(now, To::All, options(8), Lane::Any, &body);
    assert_eq!(all, Err(SendError::QueueFull(slow)));
    net.settle();
    assert_eq!(
        net.messages(2),
        [[0u8; 0]; 0],
        "nobody got what not everybody could get"
    );

    net.resume(1);
    assert_eq!(net.events(0), [ChannelEvent::QueueReady(slow)]);
    assert_eq!(net.messages(1).len(), 8);
    assert_eq!(net.nodes[0].channel.queue_bytes(slow), 0);
}

#[test]
fn a_member_that_reads_nothing_loses_what_waited_too_long_and_nobody_else_does() {
    let mut net = Net::new();
    for port in 4000..4003 {
        let mut config = ChannelConfig::new(at(port));
        config.limits.queue_bytes_max = 10_000;
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    let stuck = net.nodes[0].channel.members().next().unwrap().0;
    net.nodes[1].paused = true;
    net.events(0);
    let now = net.now;
    let channel = &mut net.nodes[0].channel;
    let mut sent = 0u64;
    while channel
        .send(now, To::All, options(8), Lane::Any, &[1; 1000])
        .is_ok()
    {
        sent += 1;
    }
    net.run(Duration::from_secs(4));
    let events = net.events(0);
    let (member, messages, cause) = (stuck, sent, FaultCause::TimedOut);
    assert!(
        events.contains(&ChannelEvent::Lost {
            member,
            messages,
            cause
        }),
        "{events:?}"
    );
    assert!(
        events.contains(&ChannelEvent::QueueReady(stuck)),
        "{events:?}"
    );
    assert_eq!(net.messages(2).len() as u64, sent);
    assert_eq!(net.nodes[0].channel.stats().frames_lost, sent);
    assert_eq!(net.nodes[0].channel.queue_bytes(stuck), 0);
}

#[test]
fn what_cannot_be_sent_says_why() {
    let mut net = Net::new();
    let mut config = ChannelConfig::new(at(4000));
    config.limits.message_bytes_max = 2000;
    config.limits.gather_bytes_max = 2000;
    net.add(config.clone());
    let now = net.now;
    let channel = &mut net.nodes[0].channel;
    let mut send = |options, body: &[u8]| channel.send(now, To::All, options, Lane::Any, body);
    assert_eq!(send(options(2), b"x"), Err(SendError::NoMembers));
    assert_eq!(send(options(34), b"x"), Err(SendError::Udp));
    assert!(matches!(
        send(options(2), &[0; 2000]),
        Err(SendError::TooLong { len: 2000, .. })
    ));
    channel.stop(now);
    let stopped = channel.send(now, To::All, options(2), Lane::Any, b"x");
    assert_eq!(stopped, Err(SendError::NotStarted));
}

#[test]
fn a_stop_lets_queued_messages_leave_and_says_goodbye() {
    let mut net = Net::pair();
    net.told(0);
    net.told(1);
    net.datagrams.clear();
    let now = net.now;
    net.nodes[0]
        .channel
        .send(now, To::All, options(8), Lane::Any, b"last")
        .unwrap();
    net.nodes[0].channel.stop(now);
    assert!(!net.nodes[0].channel.is_stopped());
    net.settle();
    assert!(net.nodes[0].channel.is_stopped());
    assert!(net.events(0).contains(&ChannelEvent::Stopped));
    assert_eq!(net.messages(1), [b"last"]);
    assert_eq!(net.told(1), [Told::Gone(4000)]);
    let (_, goodbye) = net.datagrams.last().unwrap();
    assert!(goodbye.windows(9).any(|bytes| bytes == b"BABY-ALEX"));
    assert_eq!(net.nodes[0].channel.poll_timeout(), None);

    let now = net.now;
    net.nodes[0].channel.start(now);
    net.run(Duration::from_secs(2));
    assert_eq!(net.told(1), [Told::Added(4000)]);
}

#[test]
fn a_broadcast_reaches_the_whole_group_in_one_datagram() {
    let mut net = Net::pair();
    net.datagrams.clear();
    let now = net.now;
    net.nodes[0]
        .channel
        .send(now, To::All, options(64), Lane::Any, b"to the group")
        .unwrap();
    net.settle();
    assert_eq!(net.datagrams.len(), 1);
    assert_eq!(net.messages(1), [b"to the group"]);
    assert_eq!(net.messages(0), [b""; 0], "our own broadcast is not for us");
}

#[test]
fn static_members_learn_from_each_others_messages_that_they_are_ours() {
    let mut net = Net::new();
    for port in [4000, 4001] {
        let mut config = ChannelConfig::new(at(port));
        config.unique_id = Some(UniqueId([port as u8; 16]));
        config.membership = MembershipConfig::Static(StaticConfig {
            members: [4000, 4001]
                .map(|port| StaticMember::new(at(port), UniqueId([port as u8; 16])))
                .into(),
            ..StaticConfig::default()
        });
        net.add(config);
    }
    let mut sent = Vec::new();
    for number in 0..50u8 {
        let now = net.now;
        let bits = [8, 6, 2, 0][usize::from(number % 4)];
        let lane = if number % 3 == 0 {
            Lane::Any
        } else {
            Lane::Ordered(u64::from(number))
        };
        net.nodes[1]
            .channel
            .send(now, To::All, options(bits), lane, &[number])
            .unwrap();
        sent.push(vec![number]);
        if number % 10 == 0 {
            net.settle();
        }
    }
    net.settle();
    assert_eq!(
        net.messages(0),
        sent,
        "one connection from the first message on"
    );
    let member = net.other(1);
    assert!(net.nodes[1].channel.is_ours(member));
    assert_eq!(net.nodes[0].channel.stats().bad.total(), 0);
}
