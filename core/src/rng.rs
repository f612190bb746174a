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
        self.0.fill_bytes(bytes);
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
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Rng::new([7; 32]), Rng::new([7; 32]));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_ne!(a.next_u64(), Rng::new([8; 32]).next_u64());
    }
}
