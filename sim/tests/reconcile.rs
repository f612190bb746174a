//! What nodes do when a partition heals, and after a crash in the middle of sending.

use std::time::Duration;

use folkmoot_core::channel::SendOptions;
use folkmoot_core::session::{ManagerStats, SessionId};
use folkmoot_sim::sessions::{SessionConfig, SessionNode, SessionWorld};
use folkmoot_sim::{Crash, Cut, Identity, NetworkConfig, NodeId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn stats(world: &SessionWorld, node: NodeId) -> ManagerStats {
    *world.machine(node).unwrap().manager().unwrap().stats()
}

/// All running nodes have the same sessions, down to the last byte.
fn assert_equal(world: &SessionWorld) {
    let running = world.node_ids().filter_map(|node| world.machine(node));
    let replicas: Vec<_> = running.map(SessionNode::replicas).collect();
    for pair in replicas.windows(2) {
        assert_eq!(pair[0], pair[1]);
    }
    assert_eq!(world.violations(), []);
}

fn values(world: &SessionWorld, id: &SessionId, name: &str) -> Vec<Option<String>> {
    world
        .node_ids()
        .map(|node| world.get(node, id, name))
        .collect()
}

/// A session that all three nodes have, and then the first is cut off from the others, until all have noticed.
fn parted(seed: u64) -> (SessionWorld, [NodeId; 3], SessionId) {
    let mut world = SessionWorld::new(seed);
    let nodes @ [a, b, c] = world.join_all();
    let id = world.create(a, &[("cart", "0"), ("old", "0")]);
    world.run_for(millis(100));
    world.partition(&[&[a], &[b, c]], Cut::Dropped);
    world.run_for(seconds(12));
    (world, nodes, id)
}

fn heal(world: &mut SessionWorld) {
    world.heal();
    world.run_for(seconds(20));
    assert_equal(world);
}

#[test]
fn what_either_side_wrote_is_everywhere() {
    let (mut world, [a, b, c], id) = parted(1);
    assert!(world.put(a, &id, "from a", "1") && world.put(b, &id, "from b", "2"));
    assert!(world.remove(c, &id, "old"));
    let (x, y) = (
        world.create(a, &[("x", "1")]),
        world.create(c, &[("y", "2")]),
    );
    heal(&mut world);
    assert_eq!(
        values(&world, &id, "from a"),
        [Some("1".into()), Some("1".into()), Some("1".into())]
    );
    assert_eq!(
        values(&world, &id, "from b"),
        [Some("2".into()), Some("2".into()), Some("2".into())]
    );
    assert_eq!(values(&world, &id, "old"), [None, None, None]);
    assert!(
        [a, b, c]
            .into_iter()
            .all(|node| world.has(node, &x) && world.has(node, &y))
    );
    let conflicts: u64 = [a, b, c]
        .map(|node| stats(&world, node).conflicts)
        .iter()
        .sum();
    assert_eq!(conflicts, 0, "nobody wrote what another wrote");
    assert_eq!(world.primaries_of(&id).len(), 1);
}

#[test]
fn of_two_writes_without_knowledge_of_each_other_the_later_wins_and_the_other_is_counted() {
    for a_is_later in [false, true] {
        let (mut world, [a, b, _], id) = parted(2);
        let (first, second) = if a_is_later { (b, a) } else { (a, b) };
        assert!(world.put(first, &id, "cart", "first"));
        world.run_for(millis(50));
        assert!(world.put(second, &id, "cart", "second"));
        heal(&mut world);
        let second_value = Some("second".to_owned());
        assert_eq!(
            values(&world, &id, "cart"),
            vec![second_value; 3],
            "{a_is_later}"
        );
        assert_eq!(world.primaries_of(&id), [second]);
        // Each node that had the value that lost, unless it hears of it from one that has counted already.
        let losers = if a_is_later { 2 } else { 1 };
        let conflicts: u64 = world
            .node_ids()
            .map(|node| stats(&world, node).conflicts)
            .sum();
        assert!(
            (1..=losers).contains(&conflicts),
            "{a_is_later}: {conflicts}"
        );
    }
}

#[test]
fn a_clock_that_is_behind_loses_nothing_that_was_written_in_knowledge_of_the_rest() {
    let mut world = SessionWorld::new(3);
    let [a, b, c] = world.join_all();
    world.set_clock(b, |clock| clock.wall_ahead_ms = -7_200_000);
    let id = world.create(a, &[("cart", "0")]);
    world.run_for(millis(100));
    world.partition(&[&[a], &[b, c]], Cut::Dropped);
    world.run_for(seconds(12));
    assert!(world.put(b, &id, "cart", "1"));
    heal(&mut world);
    assert_eq!(values(&world, &id, "cart"), vec![Some("1".to_owned()); 3]);
}

#[test]
fn a_removal_is_a_write_like_any_other() {
    for removed_last in [false, true] {
        let (mut world, [a, b, _], id) = parted(4);
        let steps: [NodeId; 2] = if removed_last { [a, b] } else { [b, a] };
        for node in steps {
            world.run_for(millis(50));
            let done = if node == a {
                world.put(a, &id, "cart", "1")
            } else {
                world.remove(b, &id, "cart")
            };
            assert!(done);
        }
        heal(&mut world);
        let wanted = (!removed_last).then(|| "1".to_owned());
        assert_eq!(
            values(&world, &id, "cart"),
            vec![wanted; 3],
            "{removed_last}"
        );
    }
}

#[test]
fn what_was_ended_on_one_side_stays_so_whatever_the_other_does() {
    let (mut world, [a, b, c], id) = parted(5);
    assert!(world.invalidate(a, &id));
    assert!(world.put(b, &id, "cart", "1"));
    let other = world.change_id(c, &id);
    heal(&mut world);
    assert!(other.is_some());
    for node in [a, b, c] {
        assert!(
            !world.has(node, &id) && !world.has(node, other.as_ref().unwrap()),
            "{node}"
        );
    }
}

#[test]
fn a_new_id_is_learned_and_takes_over_what_was_written_under_the_old_one() {
    let (mut world, [a, b, c], id) = parted(6);
    let new = world.change_id(a, &id).unwrap();
    assert!(world.put(a, &new, "from a", "1") && world.put(b, &id, "from b", "2"));
    heal(&mut world);
    for node in [a, b, c] {
        assert!(!world.has(node, &id));
        assert_eq!(world.get(node, &new, "from a").as_deref(), Some("1"));
        assert_eq!(world.get(node, &new, "from b").as_deref(), Some("2"));
    }
}

#[test]
fn ids_given_on_both_sides_stay_both() {
    let (mut world, [a, b, c], id) = parted(7);
    let (of_a, of_b) = (
        world.change_id(a, &id).unwrap(),
        world.change_id(b, &id).unwrap(),
    );
    assert!(world.put(a, &of_a, "side", "a") && world.put(b, &of_b, "side", "b"));
    heal(&mut world);
    for node in [a, b, c] {
        assert!(!world.has(node, &id));
        assert_eq!(world.get(node, &of_a, "side").as_deref(), Some("a"));
        assert_eq!(world.get(node, &of_b, "side").as_deref(), Some("b"));
    }
}

#[test]
fn the_last_words_of_a_dead_node_reach_all_who_live() {
    for options in [SendOptions::ASYNCHRONOUS, SendOptions::USE_ACK] {
        let config = SessionConfig::new(options);
        let mut world = SessionWorld::with_config(8, NetworkConfig::quiet(), config);
        let [a, b, c] = world.join_all();
        let id = world.create(a, &[("cart", "0")]);
        world.run_for(millis(100));
        world.stall(a, c, seconds(30));
        assert!(world.put(a, &id, "cart", "1"));
        world.run_for(millis(20));
        world.crash(a, Crash::Host);
        world.run_for(seconds(30));
        assert_eq!(world.get(b, &id, "cart").as_deref(), Some("1"));
        assert_eq!(world.get(c, &id, "cart").as_deref(), Some("1"));
        assert_equal(&world);
    }
}

#[test]
fn a_partition_that_strikes_again_in_the_middle_only_delays() {
    let (mut world, [a, b, c], _) = parted(9);
    let ids: Vec<_> = (0..400)
        .map(|n| world.create([a, b][n % 2], &[("n", &n.to_string())]))
        .collect();
    for round in 0..6 {
        world.heal();
        world.run_for(millis(300 + 170 * round));
        world.partition(&[&[a], &[b, c]], Cut::Dropped);
        world.run_for(seconds(4));
    }
    heal(&mut world);
    assert!(
        ids.iter()
            .all(|id| [a, b, c].into_iter().all(|node| world.has(node, id)))
    );
}

#[test]
fn many_sessions_stop_no_heartbeat() {
    let network = NetworkConfig {
        bandwidth: 20_000_000,
        ..NetworkConfig::quiet()
    };
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(10, network, config);
    let [a, b, c] = world.join_all();
    world.partition(&[&[a], &[b, c]], Cut::Dropped);
    world.run_for(seconds(12));
    for n in 0..20_000u32 {
        world.create(
            [a, b][n as usize % 2],
            &[("n", &n.to_string()), ("fill", &"x".repeat(100))],
        );
        if n % 200 == 0 {
            world.run_for(millis(10));
        }
    }
    world.heal();
    world.run_for(seconds(60));
    assert_equal(&world);
    assert_eq!(world.contents(c).len(), 20_000);
    // Nobody was lost on the way.
    for node in [a, b, c] {
        assert_eq!(world.machine(node).unwrap().members().len(), 2);
    }
}

#[test]
fn a_restarted_side_is_compared_like_any_other() {
    let (mut world, [a, b, c], id) = parted(11);
    assert!(world.put(a, &id, "from a", "1") && world.put(b, &id, "from b", "2"));
    world.crash(c, Crash::Process);
    world.run_for(seconds(1));
    world.boot(c, Identity::New);
    world.run_for(seconds(5));
    heal(&mut world);
    assert_eq!(values(&world, &id, "from a"), vec![Some("1".to_owned()); 3]);
    assert_eq!(values(&world, &id, "from b"), vec![Some("2".to_owned()); 3]);
}
