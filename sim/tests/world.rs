//! What the world promises to every engine, tried with one that is simpler than any of core's.

mod toy;

use std::time::Duration;

use folkmoot_core::engine::CloseReason;
use folkmoot_sim::{
    Crash, Cut, Identity, Machine, NetworkConfig, NodeId, NodeState, SimRng, World,
};
use toy::Echo;

fn world_of(nodes: u16, seed: u64, network: NetworkConfig) -> World<Echo> {
    let mut world = World::new(seed, network, Echo::new);
    for _ in 0..nodes {
        let node = world.add_node();
        world.boot(node, Identity::New);
    }
    world
}

fn quiet(nodes: u16) -> World<Echo> {
    world_of(nodes, 1, NetworkConfig::quiet())
}

fn rough() -> NetworkConfig {
    NetworkConfig {
        jitter_ns: 3_000_000,
        spike: 20_000,
        spike_ns: 80_000_000,
        bandwidth: 200_000,
        window: 600,
        fragment: 400_000,
        datagram_loss: 200_000,
        datagram_double: 100_000,
        refuse: 200_000,
        slow_connect: 100_000,
        backlog: 1,
        ..NetworkConfig::quiet()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn echoes(world: &World<Echo>, from: u16, to: u16) -> u32 {
    let echo = world.machine(NodeId::new(from)).unwrap();
    let count = echo.echoes.get(&NodeId::new(to).address());
    count.copied().unwrap_or(0)
}

fn assert_sound<M: Machine>(world: &World<M>) {
    assert_eq!(world.violations(), []);
}

/// A run with everything in it that the world can do.
fn eventful_run(seed: u64) -> World<Echo> {
    let mut world = world_of(5, seed, rough());
    let mut rng = SimRng::new(seed);
    for _ in 0..60 {
        let (a, b) = (
            NodeId::new(rng.below(5) as u16),
            NodeId::new(rng.below(5) as u16),
        );
        match rng.below(12) {
            0 => world.crash(a, Crash::Process),
            1 => world.crash(a, Crash::Host),
            2 => world.boot(a, Identity::New),
            3 => world.boot(a, Identity::Same),
            4 => world.pause(a),
            5 => world.resume(a),
            6 => world.set_link(a, b, Cut::Dropped),
            7 => world.partition(&[&[a, b]], Cut::Rejected),
            8 => world.heal(),
            9 => world.reset_streams(a, b),
            10 => world.sever_streams(a, b),
            _ => world.set_clock(a, |clock| clock.drift_ppm = 300),
        }
        world.slow_down(b, Duration::from_micros(rng.below(900)));
        world.run_for(Duration::from_millis(rng.below(700)));
    }
    world
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_another() {
    for seed in 0..20 {
        let (once, again) = (eventful_run(seed), eventful_run(seed));
        assert_sound(&once);
        assert_eq!(once.trace().hash(), again.trace().hash(), "seed {seed}");
        assert_eq!(once.stats(), again.stats());
        assert_ne!(once.trace().hash(), eventful_run(seed + 100).trace().hash());
    }
}

#[test]
fn the_trace_hash_of_a_seed_is_the_same_on_every_machine() {
    // Changes only with the world itself, never with core: this engine is the test's own.
    assert_eq!(eventful_run(7).trace().hash(), 0xf092_4a9f_eae8_87de);
}

#[test]
fn after_any_trouble_a_healed_world_talks_again() {
    for seed in 0..20 {
        let mut world = eventful_run(seed);
        world.heal();
        for node in world.node_ids() {
            world.crash(node, Crash::Process);
            world.boot(node, Identity::New);
            world.slow_down(node, Duration::ZERO);
        }
        *world.network_mut() = NetworkConfig::quiet();
        world.run_for(seconds(3));
        for (from, to) in [(0, 1), (0, 4), (3, 4)] {
            assert!(
                echoes(&world, from, to) > 100,
                "seed {seed}: {from} to {to}"
            );
        }
        assert_sound(&world);
    }
}

#[test]
fn bytes_come_back_in_order_over_the_worst_of_networks() {
    let mut world = world_of(3, 5, rough());
    world.run_for(seconds(20));
    assert_sound(&world);
    assert!(echoes(&world, 0, 2) > 500, "{}", echoes(&world, 0, 2));
    let stats = *world.stats();
    assert!(stats.datagrams_lost > stats.datagrams / 10, "{stats:?}");
}

#[test]
fn a_one_way_cut_stops_one_way_only() {
    let mut world = quiet(2);
    let (a, b) = (NodeId::new(0), NodeId::new(1));
    world.set_link(a, b, Cut::Dropped);
    world.run_for(seconds(1));
    let heard = |world: &World<Echo>, node| world.machine(node).unwrap().greetings;
    assert!(heard(&world, a) >= 2 * heard(&world, b) - 2);
    assert_eq!(echoes(&world, 0, 1), 0);
    world.heal();
    world.run_for(seconds(5));
    assert!(echoes(&world, 0, 1) > 100);
}

#[test]
fn bytes_wait_out_a_partition_that_heals() {
    let mut world = quiet(2);
    let (a, b) = (NodeId::new(0), NodeId::new(1));
    world.run_for(seconds(1));
    let before = echoes(&world, 0, 1);
    world.partition(&[&[a], &[b]], Cut::Dropped);
    world.run_for(seconds(5));
    assert!(echoes(&world, 0, 1) <= before + 1);
    world.heal();
    world.run_for(seconds(10));
    assert!(
        echoes(&world, 0, 1) > before + 1200,
        "{}",
        echoes(&world, 0, 1)
    );
    assert_eq!(world.machine(a).unwrap().closed, []);
    assert_sound(&world);
}

#[test]
fn how_a_connection_ends_tells_what_happened() {
    type Trouble = fn(&mut World<Echo>, NodeId);
    #[rustfmt::skip]
    let cases: &[(&str, Trouble, &[CloseReason])] = &[
        ("a process dies", |w, n| w.crash(n, Crash::Process), &[CloseReason::EndOfStream]),
        ("a host dies", |w, n| w.crash(n, Crash::Host), &[]),
        ("a host is replaced", |w, n| { w.crash(n, Crash::Host); w.boot(n, Identity::New); }, &[CloseReason::Reset]),
        ("a reset", |w, n| w.reset_streams(NodeId::new(0), n), &[CloseReason::Reset]),
        ("a router forgets", |w, n| w.sever_streams(NodeId::new(0), n), &[]),
        ("a process stands still", |w, n| w.pause(n), &[]),
    ];
    for (name, trouble, closed) in cases {
        let mut world = quiet(2);
        world.run_for(seconds(1));
        trouble(&mut world, NodeId::new(1));
        world.run_for(Duration::from_millis(90));
        assert_eq!(
            world.machine(NodeId::new(0)).unwrap().closed,
            *closed,
            "{name}"
        );
        assert_sound(&world);
    }
}

#[test]
fn how_a_connection_is_denied_tells_why() {
    type Trouble = fn(&mut World<Echo>);
    #[rustfmt::skip]
    let cases: &[(&str, Trouble, Option<CloseReason>)] = &[
        ("no process", |w| w.crash(NodeId::new(1), Crash::Process), Some(CloseReason::Refused)),
        ("no host", |w| w.crash(NodeId::new(1), Crash::Host), Some(CloseReason::TimedOut)),
        ("no way", |w| w.set_link(NodeId::new(0), NodeId::new(1), Cut::Rejected), Some(CloseReason::Unreachable)),
        ("a silent firewall", |w| w.set_link(NodeId::new(0), NodeId::new(1), Cut::Dropped), Some(CloseReason::TimedOut)),
        ("a process that stands still", |w| w.pause(NodeId::new(1)), None),
    ];
    for (name, trouble, reason) in cases {
        let network = NetworkConfig {
            connect_timeout_ns: 2_000_000_000,
            ..NetworkConfig::quiet()
        };
        let mut world = world_of(2, 3, network);
        // The hello of the second node is on its way when the trouble comes.
        world.run_for(Duration::from_micros(10));
        trouble(&mut world);
        world.run_for(seconds(6));
        let caller = world.machine(NodeId::new(0)).unwrap();
        assert_eq!(caller.closed.first().copied(), *reason, "{name}");
    }
}

#[test]
fn a_process_that_stands_still_is_connected_to_and_catches_up() {
    let mut world = quiet(2);
    let (a, b) = (NodeId::new(0), NodeId::new(1));
    world.run_for(seconds(1));
    world.pause(b);
    let before = echoes(&world, 0, 1);
    world.run_for(seconds(30));
    assert!(echoes(&world, 0, 1) <= before + 1);
    assert_eq!(world.machine(a).unwrap().closed, []);
    assert_eq!(world.with(b, |_, _| ()), None, "no command runs on it");
    world.resume(b);
    world.run_for(seconds(1));
    assert!(echoes(&world, 0, 1) > before + 3000);
    assert_sound(&world);
}

#[test]
fn a_peer_that_never_reads_fills_the_window_and_no_more() {
    let network = NetworkConfig {
        window: 1000,
        ..NetworkConfig::quiet()
    };
    let mut world = World::new(1, network, |boot| {
        let mut echo = Echo::new(boot);
        echo.reads = boot.node.index() != 1;
        echo
    });
    for _ in 0..2 {
        let node = world.add_node();
        world.boot(node, Identity::New);
    }
    world.run_for(seconds(60));
    assert_eq!(world.stats().stream_bytes, 1000);
}

#[test]
fn a_listener_that_accepts_nobody_resets() {
    let mut world = World::new(1, NetworkConfig::quiet(), |boot| {
        let mut echo = Echo::new(boot);
        echo.accepts = false;
        echo
    });
    for _ in 0..2 {
        let node = world.add_node();
        world.boot(node, Identity::New);
    }
    world.run_for(seconds(1));
    let caller = world.machine(NodeId::new(0)).unwrap();
    assert!(caller.closed.len() > 3);
    assert!(
        caller
            .closed
            .iter()
            .all(|reason| *reason == CloseReason::Reset)
    );
    assert_sound(&world);
}

#[test]
fn nothing_is_left_of_nodes_that_are_gone() {
    let mut world = world_of(4, 9, rough());
    world.run_for(seconds(5));
    for node in world.node_ids() {
        world.crash(node, Crash::Process);
        assert_eq!(world.state(node), NodeState::Down(Crash::Process));
    }
    world.run_for(seconds(200));
    assert_eq!(world.load(), (0, 0), "no event and no stream");
}
