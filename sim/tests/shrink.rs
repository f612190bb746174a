//! Shrinking a run that fails: what is left is smaller, still fails by the same rule, and none of it can be left out.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use folkmoot_sim::group::GroupMode;
use folkmoot_sim::{Mode, Plan, PlanOptions, Report, World, run, shrink};

/// Bare channels, and a rule that no good reason stands behind: nobody starts a third time. It takes two crashes of one
/// node to break it, and what brings the node back.
struct NoThirdLife(GroupMode);

/// Held by whoever plants an error, and shared by those who run without one.
static ALONE: RwLock<()> = RwLock::new(());

const RULE: &str = "nobody starts a third time";

impl Mode for NoThirdLife {
    type Node = <GroupMode as Mode>::Node;
    const NAME: &'static str = "no third life";
    const CONVERGES_WITHIN: Duration = GroupMode::CONVERGES_WITHIN;

    fn begin(plan: &Plan) -> (Self, World<Self::Node>) {
        let (mode, world) = GroupMode::begin(plan);
        (Self(mode), world)
    }

    fn work(&mut self, world: &mut World<Self::Node>, number: u64) -> String {
        self.0.work(world, number)
    }

    fn watch(&mut self, world: &mut World<Self::Node>) {
        self.0.watch(world);
        for node in world.node_ids() {
            if world.boots(node) > 2 {
                world.violate(Some(node), RULE, "it did".into());
            }
        }
    }

    fn healed(&mut self, world: &mut World<Self::Node>) {
        self.0.healed(world);
    }

    fn converged(&mut self, world: &mut World<Self::Node>) -> Result<(), String> {
        self.0.converged(world)
    }

    // What the plan does not do breaks no rule here.
    fn encore(&mut self, _: &mut World<Self::Node>) {}

    fn finish(&mut self, world: &mut World<Self::Node>) {
        self.0.finish(world);
    }

    fn covered(&self, world: &World<Self::Node>, into: &mut BTreeMap<String, u64>) {
        self.0.covered(world, into);
    }
}

fn keeping(keep: &[usize]) -> PlanOptions {
    PlanOptions {
        keep: Some(keep.to_vec()),
        ..PlanOptions::default()
    }
}

fn run_of<M: Mode>(seed: u64, options: &PlanOptions) -> Report {
    run::<M>(&Plan::draw(seed, options), 0)
}

fn broken(report: &Report) -> Option<&'static str> {
    report.violations.first().map(|violation| violation.rule)
}

/// The first of `seeds` that fails, shrunk, with all that shrinking promises looked at.
fn shrinks<M: Mode>(seeds: std::ops::Range<u64>) -> Vec<usize> {
    let options = PlanOptions::default();
    let (seed, rule) = seeds
        .filter_map(|seed| Some((seed, broken(&run_of::<M>(seed, &options))?)))
        .next()
        .expect("a seed that fails");
    let fails = |options: &PlanOptions| broken(&run_of::<M>(seed, options)) == Some(rule);
    let shrunk = shrink(seed, &options, 10_000, fails).expect("it fails");

    let whole = Plan::draw(seed, &options).items.len();
    assert!(
        shrunk.keep.len() < whole,
        "seed {seed}: {} of {whole} are left",
        shrunk.keep.len()
    );
    let (once, again) = (
        run_of::<M>(seed, &keeping(&shrunk.keep)),
        run_of::<M>(seed, &keeping(&shrunk.keep)),
    );
    assert_eq!(broken(&once), Some(rule), "seed {seed} still fails");
    assert_eq!(once.trace_hash, again.trace_hash);
    for left_out in &shrunk.keep {
        let rest: Vec<usize> = (shrunk.keep.iter().copied())
            .filter(|place| place != left_out)
            .collect();
        let without = run_of::<M>(seed, &keeping(&rest));
        assert_ne!(broken(&without), Some(rule), "{left_out} is not needed");
    }
    shrunk.keep
}

#[test]
fn a_rule_that_two_crashes_break_is_shrunk_to_what_ends_and_starts_one_node_twice() {
    let _nothing_planted = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let keep = shrinks::<NoThirdLife>(0..200);
    assert!((2..=4).contains(&keep.len()), "{keep:?}");
}

#[test]
fn a_run_that_holds_cannot_be_shrunk() {
    let _nothing_planted = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let fails = |options: &PlanOptions| broken(&run_of::<GroupMode>(3, options)).is_some();
    assert!(shrink(3, &PlanOptions::default(), 10, fails).is_none());
}

/// The same with an error in the machines themselves: `cargo test -p folkmoot-sim --features plant --test shrink`.
///
/// The others wait: what is planted is planted everywhere.
#[cfg(feature = "plant")]
#[test]
fn a_planted_error_is_shrunk() {
    use folkmoot_core::plant::{Bug, plant};

    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    // One that only a lost connection shows.
    plant(Some(Bug::ResendReorders));
    let keep = shrinks::<GroupMode>(0..400);
    plant(None);
    assert!(!keep.is_empty(), "it takes something to break a rule");
}
