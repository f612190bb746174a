//! The state of the cluster for a node that starts.

use std::time::Duration;

use folkmoot_core::channel::{
    ChannelConfig, MembershipConfig, StaticConfig, StaticMember, UniqueId,
};
use folkmoot_core::cluster::{ClusterConfig, ClusterEvent};
use folkmoot_core::java::ObjectOutput;
use folkmoot_core::session::{
    DeltaManagerConfig, EventType, ManagerLimits, ManagerState, SessionId, TransferOutcome,
    TransferResult, begin_state,
};
use folkmoot_core::wire::SendOptions;

use crate::net::{Kind, Net, at};

fn plain() -> DeltaManagerConfig {
    DeltaManagerConfig::default()
}

/// So many nodes with sessions, ready; the last is to come.
fn stage(kind: Kind, nodes: usize, sessions: usize, config: &DeltaManagerConfig) -> Net {
    let mut net = Net::new();
    for _ in 0..nodes {
        net.join(kind, ClusterConfig::default(), config.clone());
    }
    net.run(Duration::from_secs(3));
    for n in 0..sessions {
        net.create(n % nodes, &[("n", &n.to_string())]);
    }
    net.take_passed();
    net
}

fn outcome(net: &Net, node: usize) -> TransferOutcome {
    *net.shop(node).last_transfer().expect("a finished transfer")
}

fn count(net: &mut Net, kind: EventType) -> usize {
    net.passed
        .iter()
        .filter(|passed| passed.kind() == kind)
        .count()
}

#[test]
fn the_state_comes_in_one_message_or_in_blocks() {
    let blocks = |size| DeltaManagerConfig {
        send_all_sessions: false,
        send_all_sessions_size: size,
        send_all_sessions_wait_time: Duration::from_secs(1),
        ..plain()
    };
    let small = DeltaManagerConfig {
        limits: ManagerLimits {
            transfer_bytes_max: 2048,
            ..ManagerLimits::default()
        },
        ..plain()
    };
    #[rustfmt::skip]
    let cases: &[(&str, DeltaManagerConfig, usize, usize, u64)] = &[
        ("nothing",             plain(),    0,   1,  0),
        ("one message",         plain(),    100, 1,  0),
        ("nothing in blocks",   blocks(10), 0,   0,  0),
        ("blocks",              blocks(10), 95,  10, 9),
        ("even blocks",         blocks(10), 20,  2,  1),
        ("one block",           blocks(10), 10,  1,  0),
        ("too large for one",   small,      100, 10, 0),
    ];
    for kind in [Kind::Ours, Kind::Foreign] {
        for (name, config, sessions, messages, seconds) in cases {
            let mut net = stage(kind, 1, *sessions, config);
            net.join(kind, ClusterConfig::default(), config.clone());
            net.run(Duration::from_secs(20));
            let case = format!("{name}, {kind:?}");
            assert_eq!(outcome(&net, 1).result, TransferResult::Complete, "{case}");
            assert_eq!(outcome(&net, 1).sessions, *sessions, "{case}");
            assert_eq!(
                outcome(&net, 1).took,
                Duration::from_secs(*seconds),
                "{case}"
            );
            assert_eq!(
                count(&mut net, EventType::AllSessionData),
                *messages,
                "{case}"
            );
            assert_eq!(net.contents(0), net.contents(1), "{case}");
            let stats = net.shop(0).stats();
            assert_eq!(
                (stats.transfers_given, stats.transfers_broken),
                (1, 0),
                "{case}"
            );
        }
    }
}

#[test]
fn a_session_that_came_is_a_copy_as_long_unused_as_the_original() {
    let mut net = stage(Kind::Ours, 1, 1, &plain());
    let before = net.shop(0).sessions().next().unwrap().clone();
    net.run(Duration::from_secs(60));
    net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.run(Duration::from_secs(3));
    let after = net.session(1, before.id()).unwrap();
    assert_eq!(after.creation_time_ms(), before.creation_time_ms());
    assert_eq!(
        after.last_accessed_time_ms(),
        before.last_accessed_time_ms()
    );
    // A node that joins does not keep alive what nobody uses.
    assert_eq!(
        after.this_accessed_time_ms(),
        before.this_accessed_time_ms()
    );
    assert!(!after.is_primary() && !after.is_dirty() && before.is_primary());
}

#[test]
fn the_oldest_member_with_the_application_is_asked() {
    // A has no shop, B has it empty-handed for one session less, C is as B; D asks A, then B.
    let mut net = Net::new();
    net.join_empty(Kind::Ours, ClusterConfig::default());
    net.run(Duration::from_secs(3));
    for _ in 0..2 {
        net.join(Kind::Ours, ClusterConfig::default(), plain());
        net.run(Duration::from_secs(3));
    }
    assert_eq!(outcome(&net, 1).result, TransferResult::NoContextManager);
    let session = net.create(1, &[("k", "v")]);
    net.take_passed();
    let joiner = net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.run(Duration::from_secs(3));
    let asked: Vec<_> = net
        .passed
        .iter()
        .filter(|passed| passed.kind() == EventType::GetAllSessions)
        .map(|passed| passed.to)
        .collect();
    assert_eq!(asked, [0, 1]);
    assert_eq!(outcome(&net, joiner).result, TransferResult::Complete);
    assert_eq!(outcome(&net, joiner).from, Some(net.member(joiner, 1)));
    assert_eq!(net.text(joiner, &session, "k").as_deref(), Some("v"));
}

#[test]
fn the_next_member_is_asked_when_the_donor_fails() {
    type Fail = fn(&mut Net);
    #[rustfmt::skip]
    let cases: &[(&str, Fail, u64)] = &[
        ("dies",            |net| net.kill(0), 15),
        ("stands still",    |net| net.nodes[0].paused = true, 15),
    ];
    for (name, fail, seconds) in cases {
        let slow = DeltaManagerConfig {
            send_all_sessions: false,
            send_all_sessions_size: 1,
            send_all_sessions_wait_time: Duration::from_secs(4),
            ..plain()
        };
        let mut net = Net::new();
        net.join(Kind::Ours, ClusterConfig::default(), slow);
        net.run(Duration::from_secs(3));
        net.join(Kind::Ours, ClusterConfig::default(), plain());
        net.run(Duration::from_secs(3));
        for n in 0..10 {
            net.create(0, &[("n", &n.to_string())]);
        }
        net.join(Kind::Ours, ClusterConfig::default(), plain());
        net.run(Duration::from_secs(3));
        assert!(
            matches!(net.shop(2).state(), ManagerState::Transferring(donor) if donor == net.member(2, 0)),
            "{name}"
        );
        assert_eq!(net.shop(2).session_count(), 1, "{name}");
        fail(&mut net);
        net.run(Duration::from_secs(*seconds));
        assert_eq!(outcome(&net, 2).result, TransferResult::Complete, "{name}");
        assert_eq!(net.contents(2), net.contents(1), "{name}");
    }
}

#[test]
fn the_wait_for_the_state_ends_and_says_how() {
    let with = |timeout| DeltaManagerConfig {
        state_transfer_timeout: timeout,
        ..plain()
    };
    #[rustfmt::skip]
    let cases = [
        ("a minute",   with(Some(Duration::from_secs(60))), TransferResult::Incomplete, 10),
        ("shorter",    with(Some(Duration::from_secs(4))),  TransferResult::TimedOut,   4),
        ("not at all", with(Some(Duration::ZERO)),          TransferResult::NotAwaited, 0),
    ];
    for (name, config, result, seconds) in cases {
        let mut net = stage(Kind::Ours, 1, 5, &plain());
        let joiner = net.join_empty(Kind::Ours, ClusterConfig::default());
        net.run(Duration::from_secs(3));
        net.nodes[0].paused = true;
        net.register(joiner, config);
        net.run(Duration::from_secs(12));
        assert_eq!(outcome(&net, joiner).result, result, "{name}");
        assert_eq!(
            outcome(&net, joiner).took,
            Duration::from_secs(seconds),
            "{name}"
        );
        assert_eq!(
            net.shop(joiner).stats().counter_no_state_transferred,
            1,
            "{name}"
        );
    }
}

#[test]
fn a_state_that_is_not_awaited_comes_all_the_same() {
    let mut net = stage(Kind::Ours, 1, 5, &plain());
    let config = DeltaManagerConfig {
        state_transfer_timeout: Some(Duration::ZERO),
        ..plain()
    };
    let joiner = net.join(Kind::Ours, ClusterConfig::default(), config);
    net.run(Duration::from_secs(3));
    assert_eq!(outcome(&net, joiner).result, TransferResult::NotAwaited);
    assert_eq!(net.contents(0), net.contents(joiner));
}

#[test]
fn two_nodes_that_start_together_do_not_wait_for_each_other() {
    let mut net = Net::new();
    net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.run(Duration::from_secs(2));
    for node in 0..2 {
        assert_eq!(
            outcome(&net, node).result,
            TransferResult::Complete,
            "{node}"
        );
        assert!(outcome(&net, node).took < Duration::from_secs(1), "{node}");
    }
}

#[test]
fn a_member_without_the_whole_state_is_not_taken_for_one_that_has_it() {
    // B asks A, who hands over slowly; C asks B while B is waiting.
    let slow = DeltaManagerConfig {
        send_all_sessions: false,
        send_all_sessions_size: 1,
        send_all_sessions_wait_time: Duration::from_secs(2),
        ..plain()
    };
    let mut net = stage(Kind::Ours, 1, 6, &slow);
    net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.run(Duration::from_secs(3));
    assert!(matches!(net.shop(1).state(), ManagerState::Transferring(_)));
    // C thinks that B is the only other member.
    net.join(Kind::Ours, ClusterConfig::default(), plain());
    net.run(Duration::from_secs(30));
    for node in [1, 2] {
        assert_eq!(
            outcome(&net, node).result,
            TransferResult::Complete,
            "{node}"
        );
        assert_eq!(net.contents(node), net.contents(0), "{node}");
    }
}

#[test]
fn what_happens_during_the_transfer_is_not_lost() {
    for kind in [Kind::Ours, Kind::Foreign] {
        let slow = DeltaManagerConfig {
            send_all_sessions: false,
            send_all_sessions_size: 2,
            send_all_sessions_wait_time: Duration::from_secs(1),
            ..plain()
        };
        let mut net = stage(kind, 2, 20, &slow);
        let ids: Vec<SessionId> = net
            .shop(0)
            .sessions()
            .map(|session| session.id().clone())
            .collect();
        let joiner = net.join(kind, ClusterConfig::default(), plain());
        net.run(Duration::from_secs(2));
        for round in 0..8 {
            assert!(matches!(
                net.shop(joiner).state(),
                ManagerState::Transferring(_)
            ));
            for node in 0..2 {
                let name = format!("from {node}");
                net.create(node, &[(&name, "new")]);
                net.request(node, &ids[round * 2 + node], &[("during", Some(&name))]);
            }
            net.run(Duration::from_millis(700));
        }
        assert!(net.shop(joiner).received_queue_size() > 0);
        net.request(1, &ids[18], &[("n", None)]);
        net.command(0, |cluster, now, shop| {
            assert!(cluster.expire_session(now, shop, &ids[19]))
        });
        net.command(0, |cluster, now, shop| {
            cluster
                .change_session_id(now, shop, &ids[17], None)
                .unwrap()
        });
        net.run(Duration::from_secs(20));
        assert_eq!(outcome(&net, joiner).result, TransferResult::Complete);
        assert_eq!(net.contents(joiner), net.contents(0), "{kind:?}");
        assert_eq!(net.contents(joiner), net.contents(1), "{kind:?}");
        assert_eq!(
            (
                net.shop(joiner).received_queue_size(),
                net.shop(joiner).early_messages()
            ),
            (0, 0)
        );
        assert_eq!(net.shop(joiner).session_count(), 35);
    }
}

#[test]
fn a_queue_that_runs_over_costs_nothing_that_can_be_applied() {
    let slow = DeltaManagerConfig {
        send_all_sessions: false,
        send_all_sessions_size: 5,
        send_all_sessions_wait_time: Duration::from_secs(2),
        ..plain()
    };
    let mut net = stage(Kind::Ours, 1, 10, &slow);
    let ids: Vec<SessionId> = net
        .shop(0)
        .sessions()
        .map(|session| session.id().clone())
        .collect();
    let limits = ManagerLimits {
        held_messages_max: 4,
        ..ManagerLimits::default()
    };
    let joiner = net.join(
        Kind::Ours,
        ClusterConfig::default(),
        DeltaManagerConfig { limits, ..plain() },
    );
    net.run(Duration::from_secs(2));
    for id in &ids {
        net.request(0, id, &[("during", Some("yes"))]);
    }
    assert_eq!(net.shop(joiner).received_queue_size(), 4);
    net.run(Duration::from_secs(10));
    assert_eq!(net.shop(joiner).stats().held_overflow, 6);
    assert_eq!(net.contents(joiner), net.contents(0));
}

#[test]
fn a_transfer_with_a_part_missing_or_damaged_is_not_taken_for_whole() {
    // A member that makes its own messages pretends to be the donor.
    let complete = |messages: u32, sessions: u32| {
        format!(
            "SESSION-STATE-TRANSFERREDlocalhost#/shop;transfer=1;messages={messages};sessions={sessions};whole=1"
        )
    };
    let part = |number: u32, sessions: u32| {
        format!(
            "SESSION-STATE-localhost#/shop;transfer=1;part={number};sessions={sessions};whole=1"
        )
    };
    let before = "SESSION-STATE-localhost#/shop;transfer=0;part=7;sessions=0;whole=1".to_owned();
    let empty = {
        let mut out = ObjectOutput::new();
        begin_state(&mut out, 0);
        out.finish().to_vec()
    };
    let tomcat = "SESSION-STATE-TRANSFERREDlocalhost#/shop".to_owned();
    let plain_part = "SESSION-STATE-localhost#/shop".to_owned();
    let (whole, cut) = (&empty[..], &empty[..20]);
    use TransferResult::{Complete, Incomplete};
    type Part<'a> = (&'a [u8], String);
    #[rustfmt::skip]
    let cases: &[(&str, Vec<Part<'_>>, String, TransferResult)] = &[
        ("whole",             vec![(whole, part(1, 0)), (whole, part(2, 0))], complete(2, 0), Complete),
        ("one came twice",    vec![(whole, part(1, 0)), (whole, part(1, 0))], complete(1, 0), Complete),
        ("an older answer's", vec![(whole, before),     (whole, part(1, 0))], complete(1, 0), Complete),
        ("a Tomcat's",        vec![(whole, plain_part.clone())],              tomcat.clone(), Complete),
        ("one is missing",    vec![(whole, part(1, 0))],                      complete(2, 0), Incomplete),
        ("the first is",      vec![(whole, part(2, 0))],                      complete(1, 0), Incomplete),
        ("sessions are",      vec![(whole, part(1, 0))],                      complete(1, 1), Incomplete),
        ("some of a part",    vec![(whole, part(1, 1))],                      complete(1, 0), Incomplete),
        ("one is damaged",    vec![(whole, part(1, 0)), (cut, part(2, 0))],   complete(2, 0), Incomplete),
        ("damaged",           vec![(cut, plain_part)],                        tomcat,         Incomplete),
    ];
    for (name, parts, unique_id, result) in cases {
        use folkmoot_core::session::SessionMessage;
        let mut net = Net::new();
        net.join_empty(Kind::Ours, ClusterConfig::default());
        net.run(Duration::from_secs(3));
        let joiner = net.join_empty(Kind::Ours, ClusterConfig::default());
        net.run(Duration::from_secs(3));
        // The pretended donor stands still until its answers lie ready: else it would say that it has no shop.
        net.nodes[0].paused = true;
        net.register(joiner, plain());
        let say = |net: &mut Net, kind, payload: Option<&[u8]>, unique_id: &str| {
            let message = SessionMessage {
                session: payload,
                ..SessionMessage::new(kind, b"localhost#/shop", b"word", unique_id.as_bytes(), 5)
            };
            let mut stream = Vec::new();
            message.write(&mut stream);
            net.say_bytes(0, joiner, &stream);
        };
        for (payload, unique_id) in parts {
            say(
                &mut net,
                EventType::AllSessionData,
                Some(payload),
                unique_id,
            );
        }
        say(
            &mut net,
            EventType::AllSessionTransferComplete,
            None,
            unique_id,
        );
        net.resume(0);
        // What cannot be read costs the donor its connection, and then it is waited for in vain.
        net.run(Duration::from_secs(12));
        assert_eq!(outcome(&net, joiner).result, *result, "{name}");
    }
}

#[test]
fn only_our_own_nodes_are_told_counts() {
    for (kind, noted) in [(Kind::Ours, true), (Kind::Foreign, false)] {
        let mut net = stage(kind, 1, 3, &plain());
        let joiner = net.join(kind, ClusterConfig::default(), plain());
        net.run(Duration::from_secs(3));
        assert_eq!(outcome(&net, joiner).result, TransferResult::Complete);
        let mut seen = 0;
        for passed in &net.passed {
            let transfers = [
                EventType::GetAllSessions,
                EventType::AllSessionData,
                EventType::AllSessionTransferComplete,
            ];
            if transfers.contains(&passed.kind()) {
                let unique_id = passed.message().unique_id.unwrap();
                assert_eq!(unique_id.contains(&b';'), noted, "{kind:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 3, "{kind:?}");
        let [given, received] = [0, joiner].map(|node| *net.shop(node).stats());
        assert_eq!(given.transfer_sessions_given, 3);
        assert_eq!(received.transfer_sessions_received, 3);
    }
}

/// A configured member's payload comes with its first message, which is later than the question: a Tomcat skips over the note, one of our own
/// nodes answers it.
#[test]
fn a_configured_member_of_which_nothing_was_heard_is_asked_like_one_of_ours() {
    let mut net = Net::new();
    let members = [0, 1].map(|node: u8| StaticMember::new(at(node.into()), UniqueId([node; 16])));
    for member in &members {
        let mut channel = ChannelConfig::new(member.address);
        channel.unique_id = Some(member.unique_id);
        channel.membership = MembershipConfig::Static(StaticConfig {
            members: members.to_vec(),
            ..StaticConfig::default()
        });
        // As a server does: nothing is heard before it has its application.
        let node = net.nodes.len();
        let fresh = net.start(node, channel, ClusterConfig::default());
        net.nodes.push(fresh);
        net.register(node, plain());
        net.run(Duration::from_secs(3));
        if node == 0 {
            net.create(0, &[]);
            net.take_passed();
        }
    }
    assert_eq!(outcome(&net, 1).result, TransferResult::Complete);
    assert_eq!(outcome(&net, 1).sessions, 1);
    let ids = net.passed.iter().map(|passed| passed.message().unique_id);
    let noted = ids.filter(|id| id.is_some_and(|id| id.contains(&b';')));
    assert_eq!(noted.count(), 3);
}

#[test]
fn a_tomcat_that_does_not_keep_up_gets_the_same_again_in_smaller_messages() {
    let blocks = DeltaManagerConfig {
        send_all_sessions: false,
        send_all_sessions_size: 300,
        send_all_sessions_wait_time: Duration::from_millis(100),
        limits: ManagerLimits {
            transfer_bytes_max: 128 << 10,
            ..ManagerLimits::default()
        },
        ..plain()
    };
    let mut net = stage(Kind::Foreign, 1, 3000, &blocks);
    let joiner = net.join_empty(Kind::Foreign, ClusterConfig::default());
    net.run(Duration::from_secs(3));
    // Like Tomcat it asks nobody else.
    let config = DeltaManagerConfig {
        state_transfer_silence: Duration::from_secs(60),
        ..plain()
    };
    net.register(joiner, config);
    net.run(Duration::from_millis(350));
    let before = count(&mut net, EventType::AllSessionData);
    assert!((1..10).contains(&before), "{before}");
    // As long as a collection of garbage may take, and longer than the sender waits.
    net.nodes[joiner].paused = true;
    net.run(Duration::from_secs(8));
    net.resume(joiner);
    net.run(Duration::from_secs(20));
    assert_eq!(outcome(&net, joiner).result, TransferResult::Complete);
    assert_eq!(net.contents(joiner), net.contents(0));
    let stats = net.shop(0).stats();
    assert_eq!(stats.transfers_broken, 0);
    assert!(stats.transfer_sessions_given > 3000, "some went out twice");
    let smallest = net
        .passed
        .iter()
        .filter(|passed| passed.kind() == EventType::AllSessionData);
    let sizes: Vec<usize> = smallest.map(|passed| passed.stream.len()).collect();
    let (first, least) = (sizes[0], *sizes[1..sizes.len() - 1].iter().min().unwrap());
    assert!(least < first * 3 / 4, "{sizes:?}");
}

#[test]
fn a_new_transfer_keeps_what_is_newer_here() {
    let mut net = stage(Kind::Ours, 2, 4, &plain());
    let ids: Vec<SessionId> = net
        .shop(0)
        .sessions()
        .map(|session| session.id().clone())
        .collect();
    // A change here that has not been sent when the transfer comes.
    net.command(0, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &ids[0]));
        cluster
            .set_attribute(now, shop, &ids[0], "pending", "mine")
            .unwrap();
    });
    net.run(Duration::from_secs(1));
    net.request(1, &ids[1], &[("there", Some("theirs"))]);
    assert!(net.command(0, |cluster, now, shop| {
        cluster.get_all_cluster_sessions(now, shop)
    }));
    net.run(Duration::from_secs(1));
    assert_eq!(outcome(&net, 0).result, TransferResult::Complete);
    assert_eq!(net.shop(0).stats().session_replace_counter, 4);
    assert_eq!(net.text(0, &ids[0], "pending").as_deref(), Some("mine"));
    assert_eq!(net.text(0, &ids[1], "there").as_deref(), Some("theirs"));
    net.command(0, |cluster, now, shop| {
        cluster.request_completed(now, shop, &ids[0]).unwrap()
    });
    assert_eq!(net.contents(0), net.contents(1));
}

#[test]
fn an_expired_session_is_not_revived_by_a_transfer() {
    let mut net = stage(Kind::Ours, 2, 2, &plain());
    let id = net.shop(0).sessions().next().unwrap().id().clone();
    // B does not hear of the end of the session, and has it when it is asked.
    let b = net.shop(1).session(&id).unwrap().clone();
    net.command(0, |cluster, now, shop| {
        assert!(cluster.expire_session(now, shop, &id))
    });
    net.say(
        0,
        1,
        EventType::SessionCreated,
        &id.to_string(),
        b.creation_time_ms() + 60_000,
        None,
    );
    assert!(
        net.session(1, &id).is_some(),
        "created anew, later: that is another session"
    );
    let mut net = stage(Kind::Ours, 2, 2, &plain());
    let id = net.shop(0).sessions().next().unwrap().id().clone();
    net.nodes[1].paused = true;
    net.command(0, |cluster, now, shop| {
        assert!(cluster.expire_session(now, shop, &id))
    });
    net.command(0, |cluster, now, shop| {
        assert!(cluster.get_all_cluster_sessions(now, shop))
    });
    net.resume(1);
    net.run(Duration::from_secs(3));
    assert!(net.session(0, &id).is_none() && net.session(1, &id).is_none());
}

#[test]
fn a_member_that_lags_behind_holds_up_nobody_and_gets_everything_later() {
    let mut net = Net::new();
    for node in 0..3 {
        let mut channel = folkmoot_core::channel::ChannelConfig::new(crate::net::at(node));
        channel.limits.queue_bytes_max = 64 * 1024;
        net.join_with(channel, ClusterConfig::default());
        net.register(node, plain());
    }
    net.run(Duration::from_secs(3));
    let ids: Vec<_> = (0..20).map(|_| net.create(0, &[])).collect();
    net.nodes[2].paused = true;
    let text = "x".repeat(1000);
    for round in 0..10 {
        for id in &ids {
            net.request(
                0,
                id,
                &[("k", Some(&text)), ("round", Some(&round.to_string()))],
            );
        }
    }
    assert_eq!(net.contents(0), net.contents(1));
    let lagging = net.member(0, 2);
    let told = net.events(0);
    let times = told
        .iter()
        .filter(|event| matches!(event, ClusterEvent::Lagging(member) if *member == lagging))
        .count();
    assert_eq!(times, 1);
    net.resume(2);
    net.run(Duration::from_secs(5));
    assert_eq!(net.contents(0), net.contents(2));
    net.request(0, &ids[0], &[("k", Some("after"))]);
    assert_eq!(net.text(2, &ids[0], "k").as_deref(), Some("after"));
}

#[test]
fn ten_thousand_sessions_are_handed_over() {
    for kind in [Kind::Ours, Kind::Foreign] {
        let mut net = stage(kind, 1, 10_000, &plain());
        let config = ClusterConfig {
            channel_send_options: SendOptions::from_bits(6),
            ..ClusterConfig::default()
        };
        net.join(kind, config, plain());
        net.run(Duration::from_secs(3));
        assert_eq!(outcome(&net, 1).sessions, 10_000);
        assert_eq!(net.contents(0), net.contents(1));
    }
}

#[test]
fn a_state_that_did_not_come_is_asked_for_again_while_the_node_serves() {
    let mut net = stage(Kind::Foreign, 2, 5, &plain());
    let joiner = net.join_empty(Kind::Ours, ClusterConfig::default());
    net.run(Duration::from_secs(3));
    for donor in 0..2 {
        net.nodes[donor].paused = true;
    }
    let config = DeltaManagerConfig {
        state_transfer_timeout: Some(Duration::from_secs(1)),
        ..plain()
    };
    net.register(joiner, config);
    net.run(Duration::from_secs(2));
    assert_eq!(outcome(&net, joiner).result, TransferResult::TimedOut);
    // The question is given up, too.
    net.run(Duration::from_secs(4));
    for donor in 0..2 {
        net.resume(donor);
    }
    net.run(Duration::from_secs(4));
    assert_eq!(net.shop(joiner).session_count(), 0, "not yet");
    assert_eq!(net.shop(joiner).state(), ManagerState::Ready);
    net.run(Duration::from_secs(5));
    assert_eq!(outcome(&net, joiner).result, TransferResult::Complete);
    assert_eq!(net.contents(0), net.contents(joiner));
}
