//! Nodes that read with several threads, which the seed lets run in any order.

use std::time::Duration;

use folkmoot_core::channel::SendOptions;
use folkmoot_core::session::SessionId;
use folkmoot_sim::NetworkConfig;
use folkmoot_sim::sessions::{ReaderConfig, SessionConfig, SessionWorld};

/// Reads that are cut anywhere, and come late.
fn rough() -> NetworkConfig {
    NetworkConfig {
        jitter_ns: 2_000_000,
        fragment: 300_000,
        window: 4000,
        ..NetworkConfig::quiet()
    }
}

fn world(seed: u64, options: SendOptions, readers: Option<ReaderConfig>) -> SessionWorld {
    let config = SessionConfig {
        readers,
        ..SessionConfig::new(options)
    };
    SessionWorld::with_config(seed, rough(), config)
}

/// Three nodes change the same sessions, each its own attribute and now and then the same; returns the sessions.
fn work(world: &mut SessionWorld) -> Vec<SessionId> {
    let nodes = world.join_all::<3>();
    let ids: Vec<_> = (0..6)
        .map(|number| world.create(nodes[number % 3], &[("made", "yes")]))
        .collect();
    world.run_for(Duration::from_millis(500));
    for number in 0..240usize {
        let (node, id) = (nodes[number % 3], &ids[number / 3 % 6]);
        let name = match number % 5 {
            0 => "common".to_owned(),
            _ => format!("of-{}", number % 3),
        };
        // Longer than a segment of block data, and than most pieces that a read brings.
        let value = format!("{number} {}", "x".repeat(number * 13 % 1500));
        assert!(world.put(node, id, &name, &value));
        if number % 7 == 0 {
            world.run_for(Duration::from_micros(900));
        }
    }
    world.run_for(Duration::from_secs(20));
    for id in &ids {
        for node in 0..3 {
            let name = format!("of-{node}");
            let values: Vec<_> = nodes.iter().map(|at| world.get(*at, id, &name)).collect();
            assert!(
                values.iter().all(|value| *value == values[0]),
                "{name}: {values:?}"
            );
        }
    }
    ids
}

/// Deltas that threads have applied by themselves, on all nodes that run.
fn applied_ahead(world: &SessionWorld) -> u64 {
    let machines = world.node_ids().filter_map(|node| world.machine(node));
    machines
        .map(|machine| machine.cluster().stats().applied_ahead)
        .sum()
}

const BOTH: [SendOptions; 2] = [
    SendOptions::ASYNCHRONOUS,
    SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK),
];

/// Each acknowledgement goes to the message it is for, every change arrives, in order, whichever thread comes first.
#[test]
fn whatever_thread_comes_first_nothing_is_lost_or_out_of_order() {
    for options in BOTH {
        let mut applied = 0;
        for seed in 0..12 {
            let readers = ReaderConfig {
                threads: 1 + (seed % 3) as u8,
                wait_max_ns: [0, 50_000, 3_000_000][seed as usize / 4 % 3],
            };
            let mut world = world(seed, options, Some(readers));
            work(&mut world);
            assert_eq!(world.violations(), [], "seed {seed}");
            assert!(world.is_replicated(), "seed {seed}");
            applied += applied_ahead(&world);
        }
        assert!(applied > 1000, "{applied} deltas were applied ahead");
    }
}

/// Sessions end and change their ids, their time runs out, and nodes come and leave, while threads hold what they have read, and have
/// applied, before the engine gets it.
#[test]
fn sessions_and_nodes_may_come_and_go_meanwhile() {
    for options in BOTH {
        let mut applied = 0;
        for seed in 40..56 {
            let readers = ReaderConfig {
                threads: 1 + (seed % 3) as u8,
                wait_max_ns: 8_000_000,
            };
            let mut world = world(seed, options, Some(readers));
            let mut nodes = world.join_all::<3>().to_vec();
            let mut ids: Vec<_> = (0..8)
                .map(|number| world.create(nodes[number % 3], &[("made", "yes")]))
                .collect();
            world.run_for(Duration::from_millis(500));
            for number in 0..300usize {
                let which = (number * 7 + seed as usize) % ids.len();
                let node = nodes[which % nodes.len()];
                match number {
                    60 | 180 => nodes.push(world.join()),
                    120 | 240 => world.leave(nodes.remove(1)),
                    _ if number % 29 == 7 => {
                        if let Some(new) = world.change_id(node, &ids[which]) {
                            ids[which] = new;
                        }
                    }
                    _ if number % 31 == 11 => {
                        world.invalidate(node, &ids[which]);
                        ids[which] = world.create(nodes[0], &[]);
                    }
                    _ => {
                        // It may have ended, or not be here yet.
                        world.put(node, &ids[which], "value", &number.to_string());
                    }
                }
                let pause = if number % 3 == 0 { 1500 } else { 100 };
                world.run_for(Duration::from_micros(pause));
            }
            world.run_for(Duration::from_secs(30));
            assert_eq!(world.violations(), [], "seed {seed}");
            assert!(world.is_replicated(), "seed {seed}");
            applied += applied_ahead(&world);
        }
        assert!(applied > 100, "{applied} deltas were applied ahead");
    }
}

/// What has been read ahead changes nothing: byte for byte the run is the same as without.
#[test]
fn reading_ahead_changes_no_byte() {
    for options in BOTH {
        for seed in 20..24 {
            let readers = ReaderConfig {
                threads: 1,
                wait_max_ns: 0,
            };
            let runs = [None, Some(readers)].map(|readers| {
                let mut world = world(seed, options, readers);
                work(&mut world);
                assert_eq!(world.violations(), [], "seed {seed}");
                assert_eq!(readers.is_some(), applied_ahead(&world) > 0, "seed {seed}");
                world.trace().hash()
            });
            assert_eq!(runs[0], runs[1], "seed {seed}");
        }
    }
}
