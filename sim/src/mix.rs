//! How often users do what: drawn for a run, or what is common.

use std::collections::BTreeMap;

use crate::rng::SimRng;

/// How often each of `N` things is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix<const N: usize> {
    names: [&'static str; N],
    /// The shares of 100, added up.
    until: [u64; N],
}

impl<const N: usize> Mix<N> {
    /// Things by name, and their shares of 100.
    pub(crate) fn common(things: [(&'static str, u64); N]) -> Self {
        let mut before = 0;
        let until = things.map(|(_, share)| {
            before += share;
            before
        });
        debug_assert_eq!(before, 100, "shares of 100");
        Self {
            names: things.map(|(name, _)| name),
            until,
        }
    }

    /// The same things, as often as a run draws: the first now and then at least, any of the others perhaps never.
    pub(crate) fn draw(&self, rng: &mut SimRng) -> Self {
        Self {
            names: self.names,
            until: rng.mix(),
        }
    }

    /// The place of the thing that a number below 100 stands for.
    pub(crate) fn choose(&self, number: u64) -> usize {
        let place = self.until.iter().position(|until| number < *until);
        place.unwrap_or(N - 1)
    }

    /// What is done most, and what never.
    pub(crate) fn covered(&self, into: &mut BTreeMap<String, u64>) {
        let mut before = 0;
        let shares = self.until.map(|until| {
            let share = until - before;
            before = until;
            share
        });
        let most = shares.iter().max();
        for (name, share) in self.names.iter().zip(&shares) {
            let of = |what| format!("mix {what} {name}");
            *into.entry(of("mostly")).or_default() += u64::from(Some(share) == most);
            *into.entry(of("without")).or_default() += u64::from(*share == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_the_thing_whose_share_it_falls_into() {
        let mix = Mix::common([("writes", 60), ("ends", 0), ("looks", 40)]);
        let cases = [(0, 0), (59, 0), (60, 2), (99, 2), (100, 2)];
        for (number, place) in cases {
            assert_eq!(mix.choose(number), place, "{number}");
        }
        let mut covered = BTreeMap::new();
        mix.covered(&mut covered);
        let covered: Vec<&str> = (covered.iter())
            .filter_map(|(name, count)| (*count > 0).then_some(name.as_str()))
            .collect();
        assert_eq!(covered, ["mix mostly writes", "mix without ends"]);
    }

    #[test]
    fn runs_differ_in_what_is_done_most_and_what_never() {
        let common = Mix::common([("writes", 60), ("ends", 10), ("looks", 30)]);
        let mut covered = BTreeMap::new();
        for seed in 0..100 {
            let mix = common.draw(&mut SimRng::new(seed));
            assert_eq!(mix.choose(0), 0, "what comes first is never absent");
            mix.covered(&mut covered);
        }
        for (name, count) in covered {
            let never = name == "mix without writes";
            assert_eq!(count > 0, !never, "{name}");
            assert!(count < 80, "{name}: {count} of 100 runs");
        }
    }
}
