//! How fast it simulates.

use std::time::{Duration, Instant};

use folkmoot_core::channel::SendOptions;

use crate::group::{GroupNode, GroupWorld, Promise};
use crate::link::NetworkConfig;
use crate::sessions::{SessionConfig, SessionWorld};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was simulated.
    pub name: &'static str,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Real time.
    pub real_time: Duration,
    /// Inputs handed to engines, connections offered, and bytes and datagrams taken from them.
    pub events: u64,
}

impl Measured {
    /// Events a second.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.real_time.as_secs_f64().max(1e-9)
    }

    /// How much faster than real time.
    pub fn speed(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.real_time.as_secs_f64().max(1e-9)
    }
}

/// Three channels that send each other messages with an ACK after processing, 1000 a virtual second each.
pub fn three_channels(time: Duration) -> Measured {
    let mut world = GroupWorld::new(1);
    let nodes = world.join_all::<3>();
    let (began, from, events) = (Instant::now(), world.now(), world.stats().engine_events);
    let mut lane = 0;
    while world.now() < from + time {
        for node in nodes {
            lane = lane % 7 + 1;
            let send = |node: &mut GroupNode, now| {
                node.send(now, None, Promise::Processed, lane, 200).is_ok()
            };
            world.with(node, send);
        }
        world.run_for(Duration::from_millis(1));
    }
    Measured {
        name: "three channels, 1000 acknowledged messages/s each",
        virtual_time: world.now() - from,
        real_time: began.elapsed(),
        events: world.stats().engine_events - events,
    }
}

/// Five clusters, 200 changing requests a virtual second on 100 sessions.
pub fn five_clusters(time: Duration) -> Measured {
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(1, NetworkConfig::quiet(), config);
    let nodes = world.join_all::<5>();
    let ids: Vec<_> = (0..100)
        .map(|at| world.create(nodes[at % 5], &[("cart", "0")]))
        .collect();
    let (began, from, events) = (Instant::now(), world.now(), world.stats().engine_events);
    let mut at = 0usize;
    while world.now() < from + time {
        world.put(nodes[at % 5], &ids[at % 100], "cart", "another apple");
        at += 1;
        world.run_for(Duration::from_millis(5));
    }
    Measured {
        name: "five clusters, 200 requests/s",
        virtual_time: world.now() - from,
        real_time: began.elapsed(),
        events: world.stats().engine_events - events,
    }
}

/// Three clusters with nothing to do.
pub fn idle_day(time: Duration) -> Measured {
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(1, NetworkConfig::quiet(), config);
    world.join_all::<3>();
    let (began, from, events) = (Instant::now(), world.now(), world.stats().engine_events);
    world.run_for(time);
    Measured {
        name: "three clusters, idle",
        virtual_time: world.now() - from,
        real_time: began.elapsed(),
        events: world.stats().engine_events - events,
    }
}
