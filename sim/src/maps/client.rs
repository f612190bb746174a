//! A client of an application whose sessions are on two nodes each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use folkmoot_core::session::SessionId;

use crate::machine::NodeId;
use crate::mix::Mix;
use crate::rng::{Ppm, SimRng};

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It reads.
    Look,
    /// It reads, then writes this number.
    Write(u64),
    /// It reads, then removes the number.
    Remove,
    /// Its session gets another id, as after a login.
    Rename,
    /// It ends its session.
    End,
}

/// A client with its session.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its session.
    pub id: SessionId,
    /// The node that served it last.
    pub node: NodeId,
    /// The number that it wrote last; 0 if it has removed that.
    pub number: u64,
    /// All that it ever wrote.
    pub wrote: BTreeSet<u64>,
    /// The lives of nodes that have served it.
    pub lives: BTreeSet<(u16, u32)>,
    /// Whether nothing has been wrong since the session was made.
    pub calm: bool,
    /// When it was served last.
    pub used_at: Duration,
    /// A request whose session is on its way to the node: what it is, and until when it waits.
    pub waits: Option<(Wish, Duration)>,
    /// How long that request goes on once it is served, if others may be served meanwhile.
    pub goes_on: Option<Duration>,
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
    acts: Mix<5>,
}

impl Default for Habits {
    /// What is common.
    fn default() -> Self {
        Self {
            enter: 150_000,
            forget: 10_000,
            overlap: 0,
            acts: Mix::common([
                ("writes", 60),
                ("ends", 8),
                ("removals", 0),
                ("changes of id", 0),
                ("looks", 32),
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

    /// What a number below 100 stands for; a write writes `number`.
    pub(super) fn wish(&self, share: u64, number: u64) -> Wish {
        match self.acts.choose(share) {
            0 => Wish::Write(number),
            1 => Wish::End,
            2 => Wish::Remove,
            3 => Wish::Rename,
            _ => Wish::Look,
        }
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
