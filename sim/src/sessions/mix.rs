//! What clients do how often.

use std::collections::BTreeMap;

use crate::mix::Mix;
use crate::rng::{Ppm, SimRng};

/// What a client does with its session when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It sets an attribute.
    Write,
    /// It removes one.
    Remove,
    /// It ends the session.
    End,
    /// It gets another id, as after a login.
    Rename,
    /// It does not come again: the session is left to time out.
    Abandon,
    /// It reads.
    Look,
}

/// How often clients do what.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// How often somebody new comes, as long as there are not too many.
    pub(super) enter: Ppm,
    /// How often the front forgets where a client belongs.
    pub(super) forget: Ppm,
    /// How often a request that writes goes on while others on the same session are answered.
    pub(super) overlap: Ppm,
    acts: Mix<6>,
}

impl Act {
    const ALL: [Self; 6] = [
        Self::Write,
        Self::Remove,
        Self::End,
        Self::Rename,
        Self::Abandon,
        Self::Look,
    ];
}

impl Default for Habits {
    /// What is common.
    fn default() -> Self {
        Self {
            enter: 150_000,
            forget: 10_000,
            overlap: 200_000,
            acts: Mix::common([
                ("writes", 60),
                ("removals", 10),
                ("ends", 7),
                ("changes of id", 7),
                ("clients that stay away", 0),
                ("looks", 16),
            ]),
        }
    }
}

impl Habits {
    /// Those of one run.
    pub(super) fn draw(rng: &mut SimRng) -> Self {
        Self {
            acts: Self::default().acts.draw(rng),
            enter: *rng.pick(&[20_000, 150_000, 500_000]),
            forget: *rng.pick(&[0, 10_000, 10_000, 100_000]),
            overlap: *rng.pick(&[0, 50_000, 200_000, 700_000]),
        }
    }

    /// What a number below 100 stands for.
    pub(super) fn act(&self, number: u64) -> Act {
        let place = self.acts.choose(number);
        Act::ALL.get(place).copied().unwrap_or(Act::Look)
    }

    /// What is done most, and what never.
    pub(super) fn covered(&self, into: &mut BTreeMap<String, u64>) {
        self.acts.covered(into);
        for (name, there) in [
            ("mix many overlapping requests", self.overlap > 200_000),
            ("mix without overlapping requests", self.overlap == 0),
            ("mix many clients sent elsewhere", self.forget > 10_000),
            ("mix mostly new clients", self.enter > 150_000),
        ] {
            *into.entry(name.to_owned()).or_default() += u64::from(there);
        }
    }
}
