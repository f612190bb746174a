//! Time as an argument: nothing in this crate reads a clock.

use core::time::Duration;

/// A point on the driver's monotonic clock, in nanoseconds since an epoch the driver chose.
///
/// Only differences mean anything. 64 bits last 584 years, so arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The driver's epoch.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The first of some deadlines that may not be set. One at the end of all time counts as not set.
    ///
    /// Asked several times for every input: without branches.
    #[cfg(any(test, feature = "alloc"))]
    pub(crate) fn first(deadlines: &[Option<Self>]) -> Option<Self> {
        let nanos = deadlines
            .iter()
            .map(|at| at.map_or(u64::MAX, Self::as_nanos));
        let first = nanos.fold(u64::MAX, u64::min);
        (first < u64::MAX).then_some(Self(first))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The wall clock, derived from [`Instant`] between the moments the driver sets it.
///
/// Tribes puts milliseconds since the Unix epoch on the wire; deadlines never depend on them.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WallClock {
    at: Instant,
    unix_ms: u64,
}

impl WallClock {
    /// A clock that showed `unix_ms` milliseconds since the Unix epoch at `at`.
    pub const fn new(at: Instant, unix_ms: u64) -> Self {
        Self { at, unix_ms }
    }

    /// Milliseconds since the Unix epoch at `now`.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_deadline_is_the_least_that_is_set() {
        let [one, two] = [1, 2].map(Instant::from_nanos);
        let never = Instant::from_nanos(u64::MAX);
        assert_eq!(Instant::first(&[]), None);
        assert_eq!(
            Instant::first(&[None, Some(two), Some(one), None]),
            Some(one)
        );
        assert_eq!(
            Instant::first(&[Some(Instant::ZERO), Some(one)]),
            Some(Instant::ZERO)
        );
        assert_eq!(Instant::first(&[None, Some(never)]), None);
    }

    #[test]
    fn differences_never_underflow() {
        let (early, late) = (Instant::from_millis(1), Instant::from_millis(3));
        assert_eq!(late.since(early), Duration::from_millis(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late + Duration::MAX, Instant::from_nanos(u64::MAX));
    }

    #[test]
    fn the_wall_clock_follows_the_driver() {
        let clock = WallClock::new(Instant::from_millis(10), 1_700_000_000_000);
        assert_eq!(clock.unix_ms(Instant::from_millis(1510)), 1_700_000_001_500);
        assert_eq!(clock.unix_ms(Instant::ZERO), 1_700_000_000_000);
    }
}
