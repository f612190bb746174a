//! Who is a member, as all of them come to see it: heartbeats, static lists, TCP checks.

use std::time::Duration;

use folkmoot_sim::group::{GroupWorld, Membership};
use folkmoot_sim::{Crash, Cut, Identity, NetworkConfig, NodeId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn static_world(nodes: u16) -> GroupWorld {
    GroupWorld::with_config(1, NetworkConfig::quiet(), Membership::Static(nodes), |_| {})
}

#[track_caller]
fn assert_accurate(world: &GroupWorld) {
    assert_eq!(world.violations(), []);
    for node in world.node_ids() {
        assert!(
            world.is_membership_accurate(),
            "{node} sees {:?}",
            world.members_of(node)
        );
    }
}

/// The first moment, in steps of 10 ms, at which `node` no longer sees `gone`.
fn missed_after(world: &mut GroupWorld, node: NodeId, gone: NodeId) -> Duration {
    let from = world.now();
    while world.members_of(node).contains(&gone) && world.now() < from + seconds(60) {
        world.run_for(millis(10));
    }
    world.now() - from
}

#[test]
fn nodes_find_each_other() {
    for mut world in [GroupWorld::new(1), static_world(3)] {
        let [a, b, c] = world.join_all();
        assert_eq!(world.members_of(a), [b, c]);
        assert_accurate(&world);
    }
}

#[test]
fn a_node_that_joins_later_finds_everybody_within_a_heartbeat() {
    let mut world = GroupWorld::new(2);
    world.join_all::<4>();
    let late = world.join();
    world.run_for(millis(510));
    assert_eq!(world.members_of(late).len(), 4);
    assert_accurate(&world);
}

#[test]
fn a_goodbye_is_heard_at_once() {
    for mut world in [GroupWorld::new(3), static_world(3)] {
        let [a, _, c] = world.join_all();
        world.leave(c);
        world.run_for(millis(100));
        assert!(!world.members_of(a).contains(&c));
        assert_accurate(&world);
    }
}

#[test]
fn a_crash_is_noticed_within_drop_time_and_a_check() {
    for how in [Crash::Process, Crash::Host] {
        let mut world = GroupWorld::new(4);
        let [a, b, c] = world.join_all();
        world.crash(c, how);
        for node in [a, b] {
            let missed = missed_after(&mut world, node, c);
            assert!(
                missed <= millis(3000 + 500 + 1000 + 100),
                "{how:?}: {missed:?}"
            );
        }
        world.run_for(seconds(2));
        assert_accurate(&world);
    }
}

#[test]
fn a_static_member_that_crashes_is_missed_and_comes_back() {
    let mut world = static_world(3);
    let [a, _, c] = world.join_all();
    world.crash(c, Crash::Process);
    assert!(missed_after(&mut world, a, c) <= seconds(3));
    world.boot(c, Identity::Same);
    world.run_for(seconds(5));
    assert_eq!(world.members_of(a).len(), 2);
    assert_accurate(&world);
}

/// The TCP check reaches the new incarnation: a Tomcat then keeps the old one for good.
#[test]
fn a_fast_restart_with_a_new_id_leaves_no_ghost() {
    for pause in [0, 1, 30, 400, 900, 2900, 3600, 6000] {
        for how in [Crash::Process, Crash::Host] {
            let mut world = GroupWorld::new(5 + pause);
            let [a, b, c] = world.join_all();
            world.crash(c, how);
            world.run_for(millis(pause));
            world.boot(c, Identity::New);
            world.run_for(seconds(8));
            assert_eq!(world.members_of(a), [b, c], "after {pause} ms, {how:?}");
            assert_accurate(&world);
        }
    }
}

#[test]
fn a_fast_restart_with_the_same_id_goes_on_as_the_same_member() {
    for pause in [0, 30, 900, 2900, 6000] {
        let mut world = GroupWorld::new(6 + pause);
        let [a, b, c] = world.join_all();
        world.crash(c, Crash::Process);
        world.run_for(millis(pause));
        world.boot(c, Identity::Same);
        world.run_for(seconds(8));
        assert_eq!(world.members_of(a), [b, c], "after {pause} ms");
        assert_accurate(&world);
    }
}

#[test]
fn a_partition_splits_the_group_and_healing_joins_it() {
    for (cut, mut world) in [
        (Cut::Dropped, GroupWorld::new(7)),
        (Cut::Rejected, GroupWorld::new(8)),
        (Cut::Dropped, static_world(5)),
    ] {
        let [a, b, c, d, e] = world.join_all();
        world.partition(&[&[a, b], &[c, d, e]], cut);
        world.run_for(seconds(10));
        assert_eq!(world.members_of(a), [b]);
        assert_eq!(world.members_of(d), [c, e]);
        world.heal();
        world.run_for(seconds(6));
        assert_accurate(&world);
    }
}

#[test]
fn a_group_that_hears_one_way_only_recovers() {
    let mut world = GroupWorld::new(9);
    let [a, b, _] = world.join_all();
    world.set_link(a, b, Cut::Dropped);
    world.run_for(seconds(20));
    world.heal();
    world.run_for(seconds(6));
    assert_accurate(&world);
}

#[test]
fn lost_heartbeats_alone_cost_nobody_the_membership() {
    let network = NetworkConfig {
        datagram_loss: 600_000,
        datagram_double: 100_000,
        // Late enough to overtake each other, not late enough for a check to time out.
        spike: 100_000,
        spike_ns: 400_000_000,
        ..NetworkConfig::quiet()
    };
    let mut world = GroupWorld::with_config(10, network, Membership::Multicast, |_| {});
    let [a, _, _] = world.join_all();
    let announced = |world: &GroupWorld| world.machine(a).unwrap().announcements();
    let before = announced(&world);
    world.run_for(seconds(600));
    assert_eq!(
        announced(&world),
        before,
        "TCP still answers, so nobody is gone"
    );
    assert_accurate(&world);
}

#[test]
fn a_stopped_process_stays_a_member_and_goes_on_where_it_was() {
    let mut world = GroupWorld::new(11);
    let [a, b, c] = world.join_all();
    world.pause(c);
    world.run_for(seconds(30));
    assert_eq!(world.members_of(a), [b, c], "its kernel answers the check");
    world.resume(c);
    world.run_for(seconds(5));
    assert_accurate(&world);
}

#[test]
fn a_flapping_node_ends_where_it_ends() {
    for ends_up in [true, false] {
        let mut world = GroupWorld::new(12);
        let [.., c] = world.join_all::<3>();
        for round in 0..40 {
            world.crash(c, Crash::Process);
            world.run_for(millis(37 * round % 700));
            world.boot(
                c,
                if round % 3 == 0 {
                    Identity::Same
                } else {
                    Identity::New
                },
            );
            world.run_for(millis(53 * round % 900));
        }
        if !ends_up {
            world.crash(c, Crash::Host);
        }
        world.run_for(seconds(8));
        assert_accurate(&world);
    }
}

#[test]
fn wall_clocks_that_differ_jump_and_drift_change_nothing() {
    let mut world = GroupWorld::new(13);
    let [a, b, c] = world.join_all();
    world.set_clock(a, |clock| clock.wall_ahead_ms = -86_400_000);
    world.set_clock(b, |clock| {
        (clock.wall_ahead_ms, clock.drift_ppm) = (3_600_000, 400)
    });
    world.set_clock(c, |clock| clock.drift_ppm = -400);
    world.run_for(seconds(60));
    world.set_clock(a, |clock| clock.wall_ahead_ms = 86_400_000);
    world.run_for(seconds(60));
    assert_accurate(&world);
}

#[test]
fn two_hundred_nodes_find_each_other_and_notice_one_crash() {
    let mut world = GroupWorld::new(14);
    let nodes: Vec<NodeId> = (0..200).map(|_| world.join()).collect();
    world.run_for(seconds(5));
    assert_accurate(&world);
    world.crash(nodes[77], Crash::Host);
    world.run_for(seconds(6));
    assert_accurate(&world);
}

#[test]
fn a_quiet_group_is_quiet() {
    let mut world = GroupWorld::new(15);
    world.join_all::<3>();
    let before = *world.stats();
    world.run_for(seconds(100));
    let after = *world.stats();
    assert_eq!(after.connects, before.connects, "nobody doubts anybody");
    let datagrams = after.datagrams - before.datagrams;
    assert!(
        (1790..=1810).contains(&datagrams),
        "two heartbeats a second, to three: {datagrams}"
    );
    let steps = after.steps - before.steps;
    assert!(steps < 4 * datagrams, "{steps} steps");
    assert_accurate(&world);
}
