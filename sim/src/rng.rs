//! The one source of chance: a seed, and streams forked from it by name.

/// xoshiro256++, seeded by SplitMix64 as its authors advise.
///
/// Integers only: a probability is parts in a million, so that no rounding of a floating-point library can
/// make two machines disagree.
#[derive(Clone, Debug)]
pub struct SimRng([u64; 4]);

/// Parts in a million: how likely a fault is.
pub type Ppm = u32;

impl SimRng {
    /// The sequence that `seed` names.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| split_mix(&mut state)))
    }

    /// An independent sequence for one purpose: drawing more from one does not move another.
    pub fn fork(seed: u64, purpose: u64) -> Self {
        let mut state = purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self::new(seed ^ split_mix(&mut state))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let carried = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= carried;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// An index into a table of `len` entries.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// How often each of `N` things is done: their shares of 100 added up, so that a number below 100 that is below the
    /// first is the first thing. The first is always done now and then, and now and then one of the others never.
    pub fn mix<const N: usize>(&mut self) -> [u64; N] {
        let mut weights = [(); N].map(|()| *self.pick(&[0, 1, 5, 20, 60]));
        if let Some(first) = weights.first_mut() {
            *first += 10;
        }
        let all: u64 = weights.iter().sum();
        let mut before = 0;
        weights.map(|weight| {
            before += weight;
            100 * before / all.max(1)
        })
    }

    /// Whether something that happens `ppm` times in a million happens now. Draws nothing when it cannot.
    pub fn chance(&mut self, ppm: Ppm) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// Random bytes, for an engine's seed or a unique id.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        bytes
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_sequence_and_a_purpose_another() {
        let draw = |mut rng: SimRng| [(); 4].map(|()| rng.next_u64());
        assert_eq!(draw(SimRng::new(1)), draw(SimRng::new(1)));
        assert_ne!(draw(SimRng::new(1)), draw(SimRng::new(2)));
        assert_ne!(draw(SimRng::fork(1, 1)), draw(SimRng::fork(1, 2)));
        assert_eq!(draw(SimRng::fork(1, 2)), draw(SimRng::fork(1, 2)));
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut rng = SimRng::new(3);
        for _ in 0..1000 {
            assert!(rng.below(7) < 7);
            assert!((5..=9).contains(&rng.between(5, 9)));
        }
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0));
        assert!(rng.chance(1_000_000));
    }
}
