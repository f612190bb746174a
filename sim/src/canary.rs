//! Proof that the checkers see: errors planted in the machines, and the runs that find them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use folkmoot_core::plant::{Bug, plant};

use crate::plan::{Plan, PlanOptions};
use crate::run::{MODES, Report, run_mode};

/// The run that showed a planted bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its seed; it holds without the bug.
    pub seed: u64,
    /// Its mode.
    pub mode: &'static str,
    /// The rule that was broken first.
    pub rule: &'static str,
    /// Seeds that were run until then, this one included.
    pub seeds: u64,
}

/// What became of a planted bug.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The bug.
    pub bug: Bug,
    /// The first run that showed it, if one did.
    pub found: Option<Found>,
    /// Seeds that break a rule without any bug: they prove nothing.
    pub unfit: Vec<u64>,
}

/// Looks for planted bugs in random runs.
#[derive(Debug)]
pub struct Canary {
    seeds: RangeInclusive<u64>,
    /// Whether a run holds with nothing planted.
    holds: BTreeMap<(u64, &'static str), bool>,
    /// Runs so far, with and without bugs.
    pub runs: u64,
}

/// Bugs that random runs hardly meet: a scenario of its own stages them (`tests/flow_planted.rs`).
pub const STAGED: &[Bug] = &[Bug::ResumeForgets];

/// The bug of that name.
pub fn bug_named(name: &str) -> Option<Bug> {
    Bug::ALL.iter().copied().find(|bug| bug.name() == name)
}

impl Canary {
    /// Looks in these seeds, both modes of each.
    pub const fn new(seeds: RangeInclusive<u64>) -> Self {
        Self {
            seeds,
            holds: BTreeMap::new(),
            runs: 0,
        }
    }

    /// Runs the seeds with `bug` planted until a rule is broken. Nothing is planted afterwards.
    pub fn find(&mut self, bug: Bug) -> Finding {
        let (mut found, mut unfit) = (None, Vec::new());
        'seeds: for (at, seed) in self.seeds.clone().enumerate() {
            for mode in MODES {
                plant(Some(bug));
                let report = self.run(mode, seed);
                plant(None);
                let Some(broken) = report.violations.first() else {
                    continue;
                };
                if self.holds(mode, seed) {
                    found = Some(Found {
                        seed,
                        mode,
                        rule: broken.rule,
                        seeds: at as u64 + 1,
                    });
                    break 'seeds;
                }
                unfit.push(seed);
            }
        }
        Finding { bug, found, unfit }
    }

    fn holds(&mut self, mode: &'static str, seed: u64) -> bool {
        if let Some(holds) = self.holds.get(&(seed, mode)) {
            return *holds;
        }
        let holds = self.run(mode, seed).held();
        self.holds.insert((seed, mode), holds);
        holds
    }

    fn run(&mut self, mode: &'static str, seed: u64) -> Report {
        self.runs += 1;
        run_mode(mode, &Plan::draw(seed, &PlanOptions::default()), 0)
    }
}
