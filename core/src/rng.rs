//! The one source of randomness: seeded by the driver, replayable by the simulator.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// 32 bytes that decide every random choice of an engine.
///
/// A node takes them from the operating system, the simulator from the seed of the run.
pub type Seed = [u8; 32];

/// A ChaCha generator: unique ids, session ids, jitter.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator that `seed` names.
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        // As its own method does, word by word, which here can be seen not to panic.
        for chunk in bytes.chunks_mut(4) {
            let word = self.0.next_u32().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }

    /// A random 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_generator() {
        for len in 0..70 {
            let (mut ours, mut theirs) = (Rng::new([9; 32]), Rng::new([9; 32]).0);
            let (mut a, mut b) = ([0; 70], [0; 70]);
            for _ in 0..3 {
                ours.fill(&mut a[..len]);
                theirs.fill_bytes(&mut b[..len]);
                assert_eq!(a, b, "{len}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Rng::new([7; 32]), Rng::new([7; 32]));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_ne!(a.next_u64(), Rng::new([8; 32]).next_u64());
    }
}
