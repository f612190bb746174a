//! The driver thread.

use std::io;
use std::time::{Duration, Instant as StdInstant};

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use mio::{Events, Poll};

use crate::handle::Shared;

/// Events fetched at once.
const EVENTS: usize = 256;
/// Events worked off before their writes are joined and other threads get a chance at the engine.
const BATCH: usize = 16;

/// Waits, reads, hands over, writes, until told to stop. The lock is never held while waiting.
pub(crate) fn run<E: Engine>(shared: &Shared<E>, mut poll: Poll) {
    let mut events = Events::with_capacity(EVENTS);
    let mut spin = Spin::new(shared.lock().tuning().spin);
    loop {
        let mut state = shared.lock();
        let now = shared.now();
        state.continue_work(now);
        if state.stopping {
            state.finish(now);
            shared.notify(&state);
            return;
        }
        let wait = state.sleep(now);
        shared.notify(&state);
        drop(state);
        shared.released();
        if let Err(error) = wait_for_events(&mut poll, &mut events, &mut spin, now, wait) {
            // Nothing this process does can cause it short of closing a descriptor that is not its own.
            tracing::error!(%error, "waiting for readiness failed: the driver stops");
            let mut state = shared.lock();
            state.finish(shared.now());
            shared.notify(&state);
            return;
        }
        let mut rest = events.iter().peekable();
        loop {
            let mut state = shared.lock();
            state.awake();
            let now = shared.now();
            for event in rest.by_ref().take(BATCH) {
                state.event(now, event);
            }
            state.flush(now);
            shared.notify(&state);
            drop(state);
            shared.released();
            if rest.peek().is_none() {
                break;
            }
        }
    }
}

/// Waits until something is ready or `wait` is over; does not wait at all without one. Spins first, if it is worth it,
/// and polls without the lock.
fn wait_for_events(
    poll: &mut Poll,
    events: &mut Events,
    spin: &mut Spin,
    now: Instant,
    wait: Option<Option<Instant>>,
) -> io::Result<()> {
    let timeout = match wait {
        None => return poll_once(poll, events, Some(Duration::ZERO)),
        Some(until) => until.map(|until| until.since(now)),
    };
    if spin.limit.is_zero() {
        return poll_once(poll, events, timeout);
    }
    let began = StdInstant::now();
    if spin.is_worth_it() {
        let limit = timeout.map_or(spin.limit, |timeout| spin.limit.min(timeout));
        loop {
            poll_once(poll, events, Some(Duration::ZERO))?;
            if !events.is_empty() {
                spin.hit();
                return Ok(());
            }
            if began.elapsed() >= limit {
                break;
            }
            std::hint::spin_loop();
        }
        spin.miss();
    }
    poll_once(poll, events, timeout)?;
    spin.slept(began.elapsed());
    Ok(())
}

fn poll_once(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}

/// Whether to spin before sleeping: no more after a few spins in vain, again when a sleep would have been short enough.
#[derive(Debug)]
struct Spin {
    limit: Duration,
    misses: u32,
}

/// So many spins in vain, one after another, end the spinning.
const MISSES_MAX: u32 = 3;

impl Spin {
    fn new(limit: Duration) -> Self {
        Self { limit, misses: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

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
