//! One run: the time of faults, then the time of healing, and a verdict.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::fault::FaultKind;
use crate::group::GroupMode;
use crate::link::NetworkConfig;
use crate::machine::{Machine, Violation};
use crate::maps::MapsMode;
use crate::plan::{Plan, What};
use crate::record::{Recording, Told};
use crate::sessions::SessionMode;
use crate::trace::TraceEvent;
use crate::world::{Crash, Identity, NodeState, World, WorldStats};

/// What runs in the world: its nodes, its users, and what has to come true in the end.
pub trait Mode: Sized {
    /// What a node is.
    type Node: Machine;
    /// By which the command line knows it.
    const NAME: &'static str;
    /// Within this time after everything is healed, all has to be well.
    const CONVERGES_WITHIN: Duration;

    /// The world of a plan, its nodes added and not yet started.
    fn begin(plan: &Plan) -> (Self, World<Self::Node>);

    /// A user does what `number` decides; says what it was, for a trace.
    fn work(&mut self, world: &mut World<Self::Node>, number: u64) -> String;

    /// Asked after each fault and work and every few milliseconds: looks at all nodes together.
    fn watch(&mut self, world: &mut World<Self::Node>);

    /// Everything is healed: ends what is wrong in the applications.
    fn healed(&mut self, world: &mut World<Self::Node>);

    /// Whether all is well; why not.
    ///
    /// # Errors
    /// The first thing that is not as it has to be.
    fn converged(&mut self, world: &mut World<Self::Node>) -> Result<(), String>;

    /// Everything has been well for a while: a calm time in which nothing may go wrong any more.
    fn encore(&mut self, world: &mut World<Self::Node>);

    /// The end: what has to hold once all has been well for a while.
    fn finish(&mut self, world: &mut World<Self::Node>);

    /// What the run reached, by name: for seeing what no run reaches.
    fn covered(&self, world: &World<Self::Node>, into: &mut BTreeMap<String, u64>);
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The mode's name.
    pub mode: &'static str,
    /// How many nodes of ours it had.
    pub nodes: u16,
    /// How many Tomcats and hostile peers there were besides; their numbers come after those of the nodes.
    pub strangers: u16,
    /// Faults that were applied.
    pub faults: usize,
    /// Things that users did.
    pub works: usize,
    /// Virtual time.
    pub virtual_time: Duration,
    /// How long healing took.
    pub converged_after: Option<Duration>,
    /// What the world did.
    pub stats: WorldStats,
    /// The hash of everything that happened.
    pub trace_hash: u64,
    /// The broken rules; none if the run held.
    pub violations: Vec<Violation>,
    /// What it reached, by name.
    pub covered: BTreeMap<String, u64>,
    /// What happened, if that was asked for.
    pub trace: Vec<TraceEvent>,
    /// The faults and works as they were done, with their times.
    pub story: Vec<(Duration, String)>,
}

impl Report {
    /// Whether every rule held.
    pub fn held(&self) -> bool {
        self.violations.is_empty()
    }
}

/// The names of all modes.
pub const MODES: [&str; 3] = [GroupMode::NAME, SessionMode::NAME, MapsMode::NAME];

/// Runs a plan in the mode of that name.
///
/// # Panics
/// If there is no such mode.
pub fn run_mode(mode: &str, plan: &Plan, keep_trace: usize) -> Report {
    match mode {
        GroupMode::NAME => run::<GroupMode>(plan, keep_trace),
        SessionMode::NAME => run::<SessionMode>(plan, keep_trace),
        MapsMode::NAME => run::<MapsMode>(plan, keep_trace),
        _ => panic!("there is no mode {mode}"),
    }
}

/// All has to stay well for so long.
const STAYS_WELL: Duration = Duration::from_secs(8);
/// How often all nodes are looked at together.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// Runs a plan; `keep_trace` events of the trace are kept.
pub fn run<M: Mode>(plan: &Plan, keep_trace: usize) -> Report {
    run_in::<M>(plan, keep_trace, |_| {}).0
}

/// Runs a plan and records everything, up to `max` events.
pub fn record<M: Mode>(plan: &Plan, max: usize) -> (Report, Recording) {
    let (report, recording) = run_in::<M>(plan, max, |world| world.record(max));
    (report, recording.unwrap_or_default())
}

/// Runs a plan in the mode of that name and records everything, up to `max` events.
///
/// # Panics
/// If there is no such mode.
pub fn record_mode(mode: &str, plan: &Plan, max: usize) -> (Report, Recording) {
    match mode {
        GroupMode::NAME => record::<GroupMode>(plan, max),
        SessionMode::NAME => record::<SessionMode>(plan, max),
        MapsMode::NAME => record::<MapsMode>(plan, max),
        _ => panic!("there is no mode {mode}"),
    }
}

fn run_in<M: Mode>(
    plan: &Plan,
    keep_trace: usize,
    prepare: impl FnOnce(&mut World<M::Node>),
) -> (Report, Option<Recording>) {
    let (mode, mut world) = M::begin(plan);
    prepare(&mut world);
    if keep_trace > 0 {
        world.trace_mut().keep(keep_trace);
    }
    let mut run = Running {
        mode,
        world,
        story: Vec::new(),
        keeps_story: keep_trace > 0,
        hostile: plan.hostile,
        faults: 0,
        works: 0,
    };
    let mut converged_after = None;
    // A panic is a finding like any other, and the seeds after it are to be run, too.
    let ran = catch_unwind(AssertUnwindSafe(|| converged_after = run.whole(plan)));
    if let Err(panic) = ran {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        run.world
            .violate(None, "no panic", what.unwrap_or_default());
    }
    let mut covered = BTreeMap::new();
    for (name, there) in [
        ("Tomcats", plan.tomcats > 0),
        ("somebody hostile", plan.hostile),
        ("short queues", plan.tight),
        ("several connections between two", plan.several),
        ("answers left unread", plan.greedy),
        ("a mix of works of its own", plan.mix.is_some()),
    ] {
        *covered.entry(format!("with {name}")).or_default() += u64::from(there);
    }
    for kind in FaultKind::ALL {
        let there = plan.kinds.contains(&kind);
        *covered.entry(format!("fault {}", kind.name())).or_default() += u64::from(there);
    }
    for (kind, count) in run.world.trace().counts() {
        *covered.entry(format!("event {kind:?}")).or_default() += count;
    }
    let stats = run.world.stats();
    for (name, count) in [
        ("accept queues full", stats.accept_queues_full),
        ("streams that died in silence", stats.severed),
        ("datagrams lost", stats.datagrams_lost),
    ] {
        *covered.entry(format!("network {name}")).or_default() += count;
    }
    run.mode.covered(&run.world, &mut covered);
    let recording = run.world.take_recording();
    let world = &run.world;
    let report = Report {
        seed: plan.seed,
        mode: M::NAME,
        nodes: world.node_ids().count() as u16,
        strangers: world.stranger_ids().count() as u16,
        faults: run.faults,
        works: run.works,
        virtual_time: world.now(),
        converged_after,
        stats: *world.stats(),
        trace_hash: world.trace().hash(),
        violations: world.violations().to_vec(),
        covered,
        trace: world.trace().kept().to_vec(),
        story: run.story,
    };
    (report, recording)
}

struct Running<M: Mode> {
    mode: M,
    world: World<M::Node>,
    story: Vec<(Duration, String)>,
    keeps_story: bool,
    /// Whether the last stranger means no good.
    hostile: bool,
    faults: usize,
    works: usize,
}

impl<M: Mode> Running<M> {
    fn whole(&mut self, plan: &Plan) -> Option<Duration> {
        for node in self.world.node_ids() {
            self.world.boot(node, Identity::New);
        }
        for node in self.world.stranger_ids() {
            self.world.boot(node, Identity::New);
        }
        for item in &plan.items {
            self.run_until(item.at);
            match &item.what {
                What::Fault(fault) => {
                    self.faults += 1;
                    self.tell(Told::Fault, || fault.to_string());
                    self.world.apply(fault);
                }
                What::Work(number) => {
                    self.works += 1;
                    let what = self.mode.work(&mut self.world, *number);
                    self.tell(Told::Work, || what);
                }
            }
            self.mode.watch(&mut self.world);
            if self.has_failed() {
                return None;
            }
        }
        self.run_until(plan.safety);
        self.heal();
        self.converge()
    }

    fn tell(&mut self, told: Told, what: impl FnOnce() -> String) {
        if self.keeps_story {
            let (now, what) = (self.world.now(), what());
            self.world.tell(told, &what);
            self.story.push((now, what));
        }
    }

    fn has_failed(&self) -> bool {
        !self.world.violations().is_empty()
    }

    fn run_until(&mut self, until: Duration) {
        while self.world.now() < until && !self.has_failed() {
            let next = until.min(self.world.now() + WATCH_EVERY);
            self.world.run_until(next);
            self.mode.watch(&mut self.world);
        }
    }

    /// Ends all trouble: from here on the world is a quiet one.
    fn heal(&mut self) {
        self.tell(Told::Part, || "everything is healed".into());
        let world = &mut self.world;
        world.heal();
        let quiet = NetworkConfig::quiet();
        *world.network_mut() = NetworkConfig {
            retransmit_max_ns: 4_000_000_000,
            ..quiet
        };
        for node in world.node_ids() {
            world.slow_down(node, Duration::ZERO);
            if world.is_leaving(node) {
                world.crash(node, Crash::Process);
            }
            match world.state(node) {
                NodeState::Running => {}
                NodeState::Paused => world.resume(node),
                NodeState::Down(_) => world.boot(node, Identity::New),
            }
        }
        for node in world.stranger_ids() {
            match world.state(node) {
                NodeState::Running => {}
                NodeState::Paused => world.resume(node),
                NodeState::Down(_) => world.boot(node, Identity::New),
            }
        }
        if self.hostile {
            let last = self.world.stranger_ids().last();
            if let Some(node) = last {
                // What it left half-open when it lost power nobody would ever look at again.
                for other in self.world.node_ids() {
                    self.world.reset_streams(other, node);
                }
                self.world.crash(node, Crash::Process);
            }
        }
        self.mode.healed(&mut self.world);
    }

    fn converge(&mut self) -> Option<Duration> {
        let from = self.world.now();
        let deadline = from + M::CONVERGES_WITHIN;
        let step = Duration::from_millis(250);
        let mut well_since = None;
        loop {
            if self.has_failed() {
                return None;
            }
            let now = self.world.now();
            let well = self.mode.converged(&mut self.world);
            match well {
                Ok(()) => {
                    let since = *well_since.get_or_insert(now);
                    if now - since >= STAYS_WELL {
                        break;
                    }
                }
                Err(why) if now >= deadline => {
                    let what = format!("after {:?}: {why}", now - from);
                    self.world.violate(None, "all is well in the end", what);
                    return None;
                }
                Err(_) => well_since = None,
            }
            self.run_until(now + step);
        }
        self.tell(Told::Part, || "all is well: the encore".into());
        self.mode.encore(&mut self.world);
        if !self.has_failed() {
            self.mode.finish(&mut self.world);
        }
        well_since.map(|since| since - from)
    }
}
