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

const BOTH: [SendOptions; 2] = [
    SendOptions::ASYNCHRONOUS,
    SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK),
];

/// Each acknowledgement goes to the message it is for, every change arrives, in order, whichever thread comes first.
#[test]
fn whatever_thread_comes_first_nothing_is_lost_or_out_of_order() {
    for options in BOTH {
        for seed in 0..12 {
            let readers = ReaderConfig {
                threads: 1 + (seed % 3) as u8,
                wait_max_ns: [0, 50_000, 3_000_000][seed as usize / 4 % 3],
            };
            let mut world = world(seed, options, Some(readers));
            work(&mut world);
            assert_eq!(world.violations(), [], "seed {seed}");
            assert!(world.is_replicated(), "seed {seed}");
        }
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
                world.trace().hash()
            });
            assert_eq!(runs[0], runs[1], "seed {seed}");
        }
    }
}
