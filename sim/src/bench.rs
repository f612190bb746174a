//! How fast it simulates.

use std::fs;
use std::time::{Duration, Instant};

use folkmoot_core::channel::SendOptions;

use crate::group::{GroupNode, GroupWorld, Promise};
use crate::link::NetworkConfig;
use crate::machine::Machine;
use crate::sessions::{SessionConfig, SessionWorld};
use crate::world::World;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was simulated.
    pub name: &'static str,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Real time.
    pub real_time: Duration,
    /// Time that the thread was on a core, where the system says so; otherwise the real time.
    pub core_time: Duration,
    /// Inputs handed to engines, connections offered, and bytes and datagrams taken from them.
    pub events: u64,
}

impl Measured {
    /// Events a second on a core that nobody else uses.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.core_time.as_secs_f64().max(1e-9)
    }

    /// How much faster than real time, on a core that nobody else uses.
    pub fn speed(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.core_time.as_secs_f64().max(1e-9)
    }
}

/// A measurement under way.
struct Stopwatch {
    began: Instant,
    core: Option<Duration>,
    from: Duration,
    events: u64,
}

impl Stopwatch {
    fn start<M: Machine>(world: &World<M>) -> Self {
        Self {
            from: world.now(),
            events: world.stats().engine_events,
            core: core_time(),
            began: Instant::now(),
        }
    }

    fn stop<M: Machine>(self, name: &'static str, world: &World<M>) -> Measured {
        let real_time = self.began.elapsed();
        let core_time = core_time().zip(self.core);
        Measured {
            name,
            virtual_time: world.now() - self.from,
            real_time,
            core_time: core_time.map_or(real_time, |(now, then)| now - then),
            events: world.stats().engine_events - self.events,
        }
    }
}

/// How long this thread has been on a core, as Linux says it.
fn core_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Three channels that send each other messages with an ACK after processing, 1000 a virtual second each.
pub fn three_channels(time: Duration) -> Measured {
    let mut world = GroupWorld::new(1);
    let nodes = world.join_all::<3>();
    let watch = Stopwatch::start(&world);
    let mut lane = 0;
    while world.now() < watch.from + time {
        for node in nodes {
            lane = lane % 7 + 1;
            let send = |node: &mut GroupNode, now| {
                node.send(now, None, Promise::Processed, lane, 200).is_ok()
            };
            world.with(node, send);
        }
        world.run_for(Duration::from_millis(1));
    }
    watch.stop("three channels, 1000 acknowledged messages/s each", &world)
}

/// Five clusters, 200 changing requests a virtual second on 100 sessions.
pub fn five_clusters(time: Duration) -> Measured {
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(1, NetworkConfig::quiet(), config);
    let nodes = world.join_all::<5>();
    let ids: Vec<_> = (0..100)
        .map(|at| world.create(nodes[at % 5], &[("cart", "0")]))
        .collect();
    let watch = Stopwatch::start(&world);
    let mut at = 0usize;
    while world.now() < watch.from + time {
        world.put(nodes[at % 5], &ids[at % 100], "cart", "another apple");
        at += 1;
        world.run_for(Duration::from_millis(5));
    }
    watch.stop("five clusters, 200 requests/s", &world)
}

/// Three clusters with nothing to do.
pub fn idle_day(time: Duration) -> Measured {
    let config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
    let mut world = SessionWorld::with_config(1, NetworkConfig::quiet(), config);
    world.join_all::<3>();
    let watch = Stopwatch::start(&world);
    world.run_for(time);
    watch.stop("three clusters, idle", &world)
}
