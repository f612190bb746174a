//! A bounded, adaptive spin before the driver thread sleeps, and giving way to other threads instead of sleeping.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whether to spin before sleeping: no more after a few spins in vain, again when a sleep would have been short enough.
#[derive(Debug)]
pub struct Spin {
    limit: Duration,
    misses: u32,
}

/// So many spins in vain, one after another, end the spinning.
const MISSES_MAX: u32 = 3;

impl Spin {
    /// Spins for at most `limit`; never if that is zero.
    pub fn new(limit: Duration) -> Self {
        Self { limit, misses: 0 }
    }

    /// Waits for as long as `timeout` says: `poll` waits for so long itself, and says whether something came.
    ///
    /// # Errors
    /// Those of `poll`.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut poll: impl FnMut(Option<Duration>) -> io::Result<bool>,
    ) -> io::Result<()> {
        if self.limit.is_zero() || timeout == Some(Duration::ZERO) {
            return poll(timeout).map(drop);
        }
        let began = Instant::now();
        if self.is_worth_it() {
            let limit = timeout.map_or(self.limit, |timeout| self.limit.min(timeout));
            loop {
                if poll(Some(Duration::ZERO))? {
                    self.hit();
                    return Ok(());
                }
                if began.elapsed() >= limit {
                    break;
                }
                std::hint::spin_loop();
            }
            self.miss();
        }
        poll(timeout)?;
        self.slept(began.elapsed());
        Ok(())
    }

    fn is_worth_it(&self) -> bool {
        self.misses < MISSES_MAX
    }

    fn hit(&mut self) {
        self.misses = 0;
    }

    fn miss(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }

    /// A sleep, the spin before it included, lasted `long`. What it takes to wake is part of it, hence twice the limit.
    fn slept(&mut self, long: Duration) {
        if !self.is_worth_it() && long < self.limit * 2 {
            self.misses = MISSES_MAX - 1;
        }
    }
}

/// A processor that comes back later than this went to other work.
const LATE: Duration = Duration::from_millis(1);
/// For so long it is kept then.
const KEPT_FOR: Duration = Duration::from_millis(20);

/// Lets other threads have the processor for a moment, as long as it comes back soon: threads of our own that have little to do give it
/// back in microseconds, and none of them has to be woken. Where it comes back late, it is kept for a while.
#[derive(Debug)]
pub(crate) struct Courtesy {
    began: Instant,
    /// Until when it is kept, in nanoseconds since `began`.
    kept_until: AtomicU64,
}

impl Default for Courtesy {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            kept_until: AtomicU64::new(0),
        }
    }
}

impl Courtesy {
    /// Gives the processor away and has it back; `false` if it is kept at the moment.
    pub(crate) fn give(&self) -> bool {
        let before = self.began.elapsed();
        if !self.may(before) {
            return false;
        }
        std::thread::yield_now();
        self.gave(before, self.began.elapsed());
        true
    }

    fn may(&self, now: Duration) -> bool {
        Duration::from_nanos(self.kept_until.load(Ordering::Relaxed)) <= now
    }

    /// It was away from `before` to `after`.
    fn gave(&self, before: Duration, after: Duration) {
        if after.saturating_sub(before) > LATE {
            let until = u64::try_from((after + KEPT_FOR).as_nanos()).unwrap_or(u64::MAX);
            self.kept_until.store(until, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_kept_for_a_while_when_it_has_come_back_late() {
        let courtesy = Courtesy::default();
        let at = Duration::from_secs(1);
        assert!(courtesy.may(at));
        courtesy.gave(at, at + LATE);
        assert!(courtesy.may(at + LATE), "soon enough");
        let late = at + LATE * 2;
        courtesy.gave(at, late);
        assert!(!courtesy.may(late));
        assert!(!courtesy.may(late + KEPT_FOR / 2));
        assert!(courtesy.may(late + KEPT_FOR));
    }

    #[test]
    fn spinning_ends_after_misses_and_begins_again_after_a_short_sleep() {
        let limit = Duration::from_micros(50);
        let mut spin = Spin::new(limit);
        for _ in 0..MISSES_MAX {
            assert!(spin.is_worth_it());
            spin.miss();
        }
        assert!(!spin.is_worth_it());
        spin.slept(limit * 3);
        assert!(!spin.is_worth_it(), "a long sleep: nothing comes fast");
        spin.slept(limit);
        assert!(spin.is_worth_it(), "a short sleep: one try");
        spin.miss();
        assert!(!spin.is_worth_it());
        spin.slept(limit);
        spin.hit();
        spin.miss();
        assert!(spin.is_worth_it(), "after a hit a miss is the first");
    }
}
