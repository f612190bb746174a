//! A node's clocks, which are not the world's.

use folkmoot_core::time::Instant;

/// 14 November 2023, 22:13:20 UTC: when every world begins.
const WORLD_BEGINS_UNIX_MS: u64 = 1_700_000_000_000;

/// How a node's clocks differ from the world's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What the monotonic clock showed when the world began, nanoseconds.
    pub epoch_ns: u64,
    /// How much too fast the monotonic clock runs, parts in a million.
    pub drift_ppm: i32,
    /// How far the wall clock is ahead, milliseconds.
    pub wall_ahead_ms: i64,
}

impl Clock {
    /// The monotonic clock at world time `at`.
    pub fn local(&self, at: u64) -> Instant {
        if self.drift_ppm == 0 {
            return Instant::from_nanos(self.epoch_ns.saturating_add(at));
        }
        let drift = i128::from(at) * i128::from(self.drift_ppm) / 1_000_000;
        let local = i128::from(self.epoch_ns) + i128::from(at) + drift;
        Instant::from_nanos(u64::try_from(local).unwrap_or(0))
    }

    /// The first world time at which the monotonic clock shows `local` or later.
    pub fn world(&self, local: Instant) -> u64 {
        let since = local.as_nanos().saturating_sub(self.epoch_ns);
        if self.drift_ppm == 0 {
            return since;
        }
        let rate = (1_000_000 + i128::from(self.drift_ppm)).max(1);
        let about = i128::from(since) * 1_000_000 / rate;
        let mut at = u64::try_from(about).unwrap_or(u64::MAX);
        while at < u64::MAX && self.local(at) < local {
            at += 1;
        }
        at
    }

    /// The wall clock at world time `at`, milliseconds since the Unix epoch.
    pub fn unix_ms(&self, at: u64) -> u64 {
        let drift = i128::from(at) * i128::from(self.drift_ppm) / 1_000_000;
        let elapsed_ms = (i128::from(at) + drift) / 1_000_000;
        let shown = i128::from(WORLD_BEGINS_UNIX_MS) + elapsed_ms + i128::from(self.wall_ahead_ms);
        u64::try_from(shown).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_never_fires_before_the_local_clock_says_so() {
        for drift_ppm in [-500, -1, 0, 1, 77, 500] {
            let clock = Clock {
                epoch_ns: 123_456_789,
                drift_ppm,
                wall_ahead_ms: 0,
            };
            for after in [0, 1, 999, 1_000_001, 3_000_000_000, 86_400_000_000_007] {
                let deadline = Instant::from_nanos(clock.epoch_ns + after);
                let at = clock.world(deadline);
                assert!(clock.local(at) >= deadline, "{drift_ppm} {after}");
                assert!(
                    at == 0 || clock.local(at - 1) < deadline,
                    "{drift_ppm} {after}"
                );
            }
        }
    }
}
