//! Sessions on several nodes: replicated, taken over, ended, renamed, handed to those who join.

use std::time::Duration;

use folkmoot_core::channel::SendOptions;
use folkmoot_core::cluster::ClusterEvent;
use folkmoot_core::session::{SessionId, TransferResult};
use folkmoot_sim::group::Membership;
use folkmoot_sim::sessions::{SessionConfig, SessionWorld};
use folkmoot_sim::{Crash, Cut, Identity, NetworkConfig, NodeId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn sync_options() -> SendOptions {
    SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK)
}

/// How the last state transfer of a node ended, and how many sessions came.
fn transfer(world: &SessionWorld, node: NodeId) -> Option<(TransferResult, usize)> {
    let events = &world.machine(node)?.events;
    let outcome = events.iter().rev().find_map(|event| match event {
        ClusterEvent::StateTransfer { outcome, .. } => Some(*outcome),
        _ => None,
    })?;
    Some((outcome.result, outcome.sessions))
}

fn many(world: &mut SessionWorld, node: NodeId, count: usize) -> Vec<SessionId> {
    (0..count)
        .map(|number| world.create(node, &[("number", &number.to_string())]))
        .collect()
}

#[track_caller]
fn assert_replicated(world: &SessionWorld) {
    assert_eq!(world.violations(), []);
    assert!(world.is_replicated());
}

#[test]
fn a_session_and_its_first_attribute_reach_every_node() {
    for mut world in [SessionWorld::new(1), SessionWorld::synchronous(1)] {
        let [a, b, c] = world.join_all();
        let id = world.create(a, &[("cart", "1 apple")]);
        world.run_for(millis(100));
        for node in [b, c] {
            assert_eq!(world.get(node, &id, "cart").as_deref(), Some("1 apple"));
        }
        assert_eq!(world.primaries_of(&id), [a]);
        assert_replicated(&world);
    }
}

/// 2000 sessions created with one attribute in the creating request: none arrives without it.
#[test]
fn no_session_arrives_without_what_its_first_request_set() {
    let network = NetworkConfig {
        jitter_ns: 3_000_000,
        fragment: 200_000,
        window: 4000,
        ..NetworkConfig::quiet()
    };
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(2, network, config);
    let nodes = world.join_all::<3>();
    let mut ids = Vec::new();
    for number in 0..2000usize {
        let node = nodes[number % 3];
        ids.push(world.create(node, &[("a", "x")]));
        world.run_for(Duration::from_micros(300));
    }
    world.run_for(seconds(2));
    for node in nodes {
        let without = ids.iter().filter(|id| world.get(node, id, "a").is_none());
        assert_eq!(without.count(), 0, "on {node}");
    }
    assert_replicated(&world);
}

#[test]
fn the_node_that_answers_next_takes_over_from_a_crashed_one() {
    for how in [Crash::Process, Crash::Host] {
        let mut world = SessionWorld::new(3);
        let [a, b, c] = world.join_all();
        let id = world.create(a, &[("cart", "1 apple")]);
        world.run_for(millis(100));
        world.crash(a, how);
        assert!(world.put(b, &id, "cart", "2 apples"));
        world.run_for(seconds(10));
        assert_eq!(world.get(c, &id, "cart").as_deref(), Some("2 apples"));
        assert_eq!(world.primaries_of(&id), [b]);
        assert_replicated(&world);
    }
}

#[test]
fn an_acknowledged_change_survives_the_crash_of_who_made_it() {
    for seed in 0..30 {
        let mut world = SessionWorld::synchronous(seed);
        let [a, b, c] = world.join_all();
        let id = world.create(a, &[("cart", "0")]);
        world.run_for(millis(100));
        let request = world.with(a, |node, now| {
            node.request(now, &id, |cluster, context| {
                cluster.set_attribute(now, context, &id, "cart", "1")
            })
        });
        let sent = request.flatten().unwrap().1.unwrap().unwrap();
        world.run_for(Duration::from_micros(30 * seed));
        let acknowledged = world
            .machine(a)
            .unwrap()
            .settled
            .get(&sent)
            .is_some_and(Vec::is_empty);
        world.crash(a, Crash::Host);
        world.run_for(seconds(8));
        if acknowledged {
            for node in [b, c] {
                assert_eq!(
                    world.get(node, &id, "cart").as_deref(),
                    Some("1"),
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn an_invalidated_session_is_gone_everywhere_and_stays_so() {
    let mut world = SessionWorld::new(4);
    let [a, b, c] = world.join_all();
    let id = world.create(a, &[("cart", "1 apple")]);
    world.run_for(millis(100));
    // A change on another node crosses the end of the session.
    assert!(world.put(b, &id, "cart", "2 apples"));
    assert!(world.invalidate(a, &id));
    world.run_for(seconds(30));
    for node in [a, b, c] {
        assert!(!world.has(node, &id), "{node}");
    }
    assert_replicated(&world);
}

#[test]
fn a_late_message_revives_no_session_after_a_partition() {
    let mut world = SessionWorld::new(5);
    let [a, b, c] = world.join_all();
    let id = world.create(a, &[("cart", "1 apple")]);
    world.run_for(millis(100));
    world.stall(b, a, seconds(2));
    world.stall(b, c, seconds(2));
    assert!(world.put(b, &id, "cart", "2 apples"));
    world.run_for(millis(100));
    assert!(world.invalidate(a, &id));
    world.run_for(seconds(10));
    for node in [a, b, c] {
        assert!(!world.has(node, &id), "{node}");
    }
}

#[test]
fn an_unused_session_expires_on_its_primary_and_so_everywhere() {
    let mut config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    config.background = seconds(1);
    config.manager.process_expires_frequency = 1;
    config.manager.session_timeout = 5;
    let mut world = SessionWorld::with_config(6, NetworkConfig::quiet(), config);
    let [a, b, _] = world.join_all();
    let id = world.create(a, &[]);
    let kept = world.create(a, &[]);
    for _ in 0..4 {
        world.run_for(seconds(2));
        assert!(world.put(b, &kept, "used", "again"));
    }
    assert!(!world.has(a, &id) && !world.has(b, &id));
    assert!(world.has(a, &kept));
    assert_replicated(&world);
}

#[test]
fn a_copy_whose_primary_died_expires_after_twice_its_time() {
    let mut config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    config.background = seconds(1);
    config.manager.process_expires_frequency = 1;
    config.manager.session_timeout = 10;
    let mut world = SessionWorld::with_config(7, NetworkConfig::quiet(), config);
    let [a, b, _] = world.join_all();
    let id = world.create(a, &[]);
    world.run_for(millis(100));
    world.crash(a, Crash::Process);
    world.run_for(seconds(18));
    assert!(world.has(b, &id));
    world.run_for(seconds(4));
    assert!(!world.has(b, &id));
}

#[test]
fn a_change_of_id_is_followed_everywhere() {
    let mut world = SessionWorld::new(8);
    let [a, b, c] = world.join_all();
    let old = world.create(a, &[("cart", "1 apple")]);
    world.run_for(millis(100));
    let new = world.change_id(b, &old).unwrap();
    world.run_for(millis(100));
    for node in [a, b, c] {
        assert!(!world.has(node, &old), "{node}");
        assert_eq!(
            world.get(node, &new, "cart").as_deref(),
            Some("1 apple"),
            "{node}"
        );
    }
    assert_replicated(&world);
}

#[test]
fn overlapping_requests_on_two_nodes_both_keep_what_they_set() {
    for mut world in [SessionWorld::new(9), SessionWorld::synchronous(9)] {
        let [a, b, c] = world.join_all();
        let id = world.create(a, &[]);
        world.run_for(millis(100));
        // Neither has heard of the other's change when it makes its own.
        assert!(world.put(a, &id, "from a", "1"));
        assert!(world.put(b, &id, "from b", "2"));
        world.run_for(millis(500));
        for node in [a, b, c] {
            assert_eq!(
                world.get(node, &id, "from a").as_deref(),
                Some("1"),
                "{node}"
            );
            assert_eq!(
                world.get(node, &id, "from b").as_deref(),
                Some("2"),
                "{node}"
            );
        }
    }
}

#[test]
fn overlapping_requests_on_one_node_both_keep_what_they_set() {
    let mut world = SessionWorld::new(10);
    let [a, b, _] = world.join_all();
    let id = world.create(a, &[]);
    world.run_for(millis(50));
    let open = |world: &mut SessionWorld, name: &'static str| {
        world.with(a, |node, now| {
            let context = node.context();
            assert!(node.cluster_mut().access_session(now, context, &id));
            node.cluster_mut()
                .set_attribute(now, context, &id, name, "set")
                .unwrap();
        });
    };
    let close = |world: &mut SessionWorld| {
        world.with(a, |node, now| {
            let context = node.context();
            node.cluster_mut()
                .request_completed(now, context, &id)
                .unwrap();
            node.cluster_mut().end_access(now, context, &id);
        });
    };
    open(&mut world, "first");
    world.run_for(millis(20));
    open(&mut world, "second");
    world.run_for(millis(20));
    close(&mut world);
    world.run_for(millis(20));
    close(&mut world);
    world.run_for(millis(100));
    for name in ["first", "second"] {
        assert_eq!(world.get(b, &id, name).as_deref(), Some("set"));
    }
    assert_replicated(&world);
}

#[test]
fn a_joiner_gets_all_sessions() {
    for count in [0, 1, 3000] {
        let mut world = SessionWorld::new(11);
        let [a, _] = world.join_all();
        many(&mut world, a, count);
        world.run_for(seconds(1));
        let joiner = world.join();
        world.run_for(seconds(6));
        assert_eq!(
            transfer(&world, joiner),
            Some((TransferResult::Complete, count))
        );
        assert_replicated(&world);
    }
}

#[test]
fn what_happens_during_a_transfer_is_not_lost() {
    let network = NetworkConfig {
        bandwidth: 400_000,
        ..NetworkConfig::quiet()
    };
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(12, network, config);
    let [a, b] = world.join_all();
    let ids = many(&mut world, a, 1500);
    world.run_for(seconds(5));
    let joiner = world.join();
    let mut created = Vec::new();
    for round in 0..200usize {
        let node = [a, b][round % 2];
        assert!(world.put(node, &ids[round], "number", "changed"));
        assert!(world.invalidate(a, &ids[1000 + round]));
        created.push(world.create(b, &[("new", "yes")]));
        let renamed = world.change_id(a, &ids[500 + round]);
        created.push(renamed.unwrap());
        world.run_for(millis(10));
    }
    world.run_for(seconds(30));
    assert_eq!(
        transfer(&world, joiner).map(|(result, _)| result),
        Some(TransferResult::Complete)
    );
    assert_eq!(world.contents(joiner).len(), 1500 - 200 + 200);
    assert!(created.iter().all(|id| world.has(joiner, id)));
    assert_replicated(&world);
}

/// The change waited for a session of the old id, which came to exist again when the session got that id back.
#[test]
fn a_change_of_id_that_the_state_contains_is_not_applied_again() {
    let mut world = SessionWorld::new(28);
    let [a, b, c] = world.join_all();
    let first = world.create(a, &[("cart", "1 apple")]);
    world.crash(c, Crash::Process);
    world.run_for(seconds(5));
    world.boot(c, Identity::New);
    // Everybody knows it, and it waits for the state.
    world.run_for(millis(500));
    world.put(a, &first, "cart", "2 apples");
    let second = world.change_id(a, &first).unwrap();
    world.put(a, &second, "cart", "3 apples");
    world.run_for(millis(1500));
    assert_eq!(
        transfer(&world, c),
        Some((TransferResult::Complete, 1)),
        "the state has come"
    );
    let back = world.with(b, |node, now| {
        let context = node.context();
        let cluster = node.cluster_mut();
        cluster.change_session_id(now, context, &second, Some(&first))
    });
    assert_eq!(back, Some(Ok(first.clone())));
    world.run_for(millis(100));
    for node in [a, b, c] {
        assert!(!world.has(node, &second), "{node}");
        let cart = world.get(node, &first, "cart");
        assert_eq!(cart.as_deref(), Some("3 apples"), "{node}");
    }
    assert_replicated(&world);
}

#[test]
fn when_the_donor_dies_the_next_one_is_asked() {
    for (how, after) in [
        (Crash::Process, 1100),
        (Crash::Host, 1100),
        (Crash::Process, 1300),
        (Crash::Host, 1500),
    ] {
        let network = NetworkConfig {
            bandwidth: 1_000_000,
            ..NetworkConfig::quiet()
        };
        let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
        let mut world = SessionWorld::with_config(13, network, config);
        let [a, b] = world.join_all();
        let ids = many(&mut world, a, 3000);
        world.run_for(seconds(5));
        let joiner = world.join();
        world.run_for(millis(after));
        world.crash(a, how);
        world.run_for(seconds(40));
        assert_eq!(
            world.contents(joiner).len(),
            ids.len(),
            "{how:?} {after} ms"
        );
        assert_eq!(world.contents(joiner), world.contents(b));
        let result = transfer(&world, joiner).map(|(result, _)| result);
        assert_eq!(result, Some(TransferResult::Complete), "{how:?} {after} ms");
        assert_eq!(world.violations(), []);
    }
}

/// Who they are is known from their first messages only, and those come after the question.
#[test]
fn configured_members_go_on_for_each_other_when_a_donor_dies() {
    let network = NetworkConfig {
        bandwidth: 1_000_000,
        ..NetworkConfig::quiet()
    };
    let mut config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    config.membership = Membership::Static(3);
    for seed in 1..=5 {
        let mut world = SessionWorld::with_config(seed, network.clone(), config.clone());
        let [a, b] = world.join_all();
        let ids = many(&mut world, a, 3000);
        world.run_for(seconds(5));
        let joiner = world.join();
        let received = |world: &SessionWorld| {
            let node = world.machine(joiner).expect("it runs");
            let stats = node.manager().map(|manager| *manager.stats());
            stats.map_or(0, |stats| stats.transfer_sessions_received)
        };
        let until = world.now() + seconds(10);
        while received(&world) == 0 && world.now() < until {
            world.run_for(millis(10));
        }
        world.crash(a, Crash::Process);
        world.run_for(seconds(40));
        assert_eq!(world.contents(joiner).len(), ids.len(), "{seed}");
        assert_eq!(world.contents(joiner), world.contents(b), "{seed}");
        let result = transfer(&world, joiner).map(|(result, _)| result);
        assert_eq!(result, Some(TransferResult::Complete), "{seed}");
        let node = world.machine(joiner).expect("it runs");
        let stats = node.manager().expect("it has one").stats();
        assert_eq!(stats.transfers_resumed, 1, "{seed}");
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn two_that_join_together_do_not_wait_for_each_other() {
    let mut world = SessionWorld::new(14);
    let [a] = world.join_all();
    many(&mut world, a, 500);
    let (first, second) = (world.join(), world.join());
    world.run_for(seconds(8));
    for joiner in [first, second] {
        assert_eq!(
            transfer(&world, joiner),
            Some((TransferResult::Complete, 500))
        );
    }
    assert_replicated(&world);
}

#[test]
fn nodes_that_all_start_together_serve_soon() {
    let mut world = SessionWorld::new(15);
    for _ in 0..5 {
        world.join();
    }
    world.run_for(seconds(6));
    for node in world.node_ids() {
        assert!(world.machine(node).unwrap().is_ready(), "{node}");
    }
}

#[test]
fn a_node_without_the_application_sends_the_joiner_on() {
    let mut world = SessionWorld::new(16);
    let [a, b] = world.join_all();
    let ids = many(&mut world, b, 100);
    world.run_for(seconds(1));
    // The oldest member loses its application; the second has the state.
    world.with(a, |node, now| {
        let context = node.context();
        node.cluster_mut().unregister_manager(now, context);
    });
    let joiner = world.join();
    world.run_for(seconds(10));
    assert_eq!(world.contents(joiner).len(), ids.len());
    assert_eq!(world.violations(), []);
}

#[test]
fn a_restarted_node_gets_its_sessions_back_from_the_others() {
    for identity in [Identity::Same, Identity::New] {
        for pause in [5, 300, 2500, 6000] {
            let mut world = SessionWorld::new(17);
            let [a, b, c] = world.join_all();
            let id = world.create(a, &[("cart", "1 apple")]);
            world.run_for(millis(100));
            world.crash(a, Crash::Process);
            world.run_for(millis(pause));
            assert!(world.put(b, &id, "cart", "2 apples"));
            world.boot(a, identity);
            world.run_for(seconds(10));
            assert_eq!(
                world.get(a, &id, "cart").as_deref(),
                Some("2 apples"),
                "{identity:?} {pause} ms"
            );
            assert!(world.put(a, &id, "cart", "3 apples"));
            world.run_for(seconds(1));
            assert_eq!(
                world.get(c, &id, "cart").as_deref(),
                Some("3 apples"),
                "{identity:?} {pause} ms"
            );
            assert_replicated(&world);
        }
    }
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let mut world = SessionWorld::new(18);
    let nodes = world.join_all::<3>();
    let ids = many(&mut world, nodes[0], 200);
    for round in 0..6usize {
        let node = nodes[round % 3];
        world.leave(node);
        let other = nodes[(round + 1) % 3];
        for id in &ids {
            assert!(world.put(other, id, "round", &round.to_string()));
        }
        world.boot(node, Identity::New);
        world.run_for(seconds(5));
        for id in &ids {
            assert_eq!(world.get(node, id, "round"), Some(round.to_string()));
        }
    }
    assert_replicated(&world);
}

#[test]
fn clocks_that_differ_by_hours_lose_no_change() {
    for ahead in [-7_200_000, 7_200_000] {
        let mut world = SessionWorld::new(19);
        let [a, b] = world.join_all();
        world.set_clock(a, |clock| clock.wall_ahead_ms = ahead);
        let ids = many(&mut world, a, 300);
        world.run_for(seconds(1));
        let joiner = world.join();
        for id in &ids {
            assert!(world.put(b, id, "number", "changed"));
            world.run_for(millis(5));
        }
        world.run_for(seconds(8));
        assert!(
            ids.iter()
                .all(|id| world.get(joiner, id, "number").as_deref() == Some("changed"))
        );
        assert_replicated(&world);
    }
}

#[test]
fn with_options_6_the_message_says_who_did_not_get_it() {
    let mut world = SessionWorld::synchronous(20);
    let [a, _, c] = world.join_all();
    let id = world.create(a, &[]);
    world.run_for(seconds(1));
    world.pause(c);
    let request = world.with(a, |node, now| {
        node.request(now, &id, |cluster, context| {
            cluster.set_attribute(now, context, &id, "cart", "1")
        })
    });
    let sent = request.flatten().unwrap().1.unwrap().unwrap();
    world.run_for(seconds(5));
    let faulty = world.machine(a).unwrap().settled.get(&sent).cloned();
    assert_eq!(faulty.map(|faulty| faulty.len()), Some(1));
    world.resume(c);
    assert_eq!(world.violations(), []);
}

/// Eight hours of a quiet shop: nothing piles up and nobody is busy without a reason.
#[test]
fn a_quiet_cluster_stays_quiet() {
    let mut world = SessionWorld::with_config(
        21,
        NetworkConfig::quiet(),
        SessionConfig::new(sync_options()),
    );
    let [a, ..] = world.join_all::<3>();
    let id = world.create(a, &[]);
    let before = world.stats().steps;
    for _ in 0..8 * 60 {
        world.run_for(seconds(60));
        world.put(a, &id, "minute", "another");
    }
    let steps = world.stats().steps - before;
    // Two heartbeats a second to three nodes, and the timers of each.
    assert!(steps < 8 * 3600 * 3 * 12, "{steps}");
    let (events, streams) = world.load();
    assert!(
        events < 100 && streams < 20,
        "{events} events, {streams} streams"
    );
    assert_replicated(&world);
}

#[test]
fn a_cut_off_side_keeps_serving() {
    let mut world = SessionWorld::new(22);
    let [a, b, c] = world.join_all();
    let id = world.create(a, &[("cart", "1")]);
    world.run_for(millis(100));
    world.partition(&[&[a], &[b, c]], Cut::Dropped);
    assert!(world.put(b, &id, "cart", "2"));
    world.run_for(seconds(10));
    assert_eq!(world.get(c, &id, "cart").as_deref(), Some("2"));
    assert_eq!(world.get(a, &id, "cart").as_deref(), Some("1"));
    assert_eq!(world.violations(), []);
}
