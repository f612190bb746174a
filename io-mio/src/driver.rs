//! The driver thread.

use std::io;
use std::time::Duration;

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use mio::{Events, Poll};

use crate::duty::{Duty, Poller};
use crate::handle::Shared;
use crate::spin::Spin;

/// Events worked off before their writes are joined and other threads get a chance at the engine.
const BATCH: usize = 16;

/// How a turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// There will be another.
    Again,
    /// Everything is closed.
    Ended,
    /// The driver thread is to close everything.
    Stopping,
}

/// Waits, reads, hands over, writes, until told to stop. The lock is never held while waiting.
pub(crate) fn run<E: Engine>(shared: &Shared<E>, duty: &Duty) {
    loop {
        let mut poller = duty.take(|| shared.now());
        while !duty.is_lent(shared.now()) {
            if turn(shared, &mut poller, true) == Turned::Ended {
                return;
            }
        }
        drop(poller);
        // What callers have left since the last turn: who has taken the queue may not need a turn of its own.
        shared.lock().continue_work(shared.now());
        shared.released();
        // It was lent while its caller slept: who else would look?
        shared.waiters.wake();
    }
}

/// One turn, of the driver thread or of a caller in its place.
pub(crate) fn turn<E: Engine>(shared: &Shared<E>, poller: &mut Poller, driver: bool) -> Turned {
    let Poller { poll, events, spin } = poller;
    let mut state = shared.lock();
    let now = shared.now();
    if !driver {
        if state.stopping {
            return Turned::Stopping;
        }
        state.answered();
    }
    state.continue_work(now);
    if state.stopping && driver {
        state.finish(now);
        shared.notify(&state);
        return Turned::Ended;
    }
    let wait = state.sleep(now);
    shared.notify(&state);
    drop(state);
    shared.released();
    if let Err(error) = wait_for_events(poll, events, spin, now, wait) {
        // Nothing this process does can cause it short of closing a descriptor that is not its own.
        tracing::error!(%error, "waiting for readiness failed: the driver stops");
        let mut state = shared.lock();
        state.stopping = true;
        if !driver {
            return Turned::Stopping;
        }
        state.finish(shared.now());
        shared.notify(&state);
        return Turned::Ended;
    }
    let mut rest = events.iter().peekable();
    loop {
        let mut state = shared.lock();
        state.back(driver);
        let now = shared.now();
        for event in rest.by_ref().take(BATCH) {
            state.event(now, event);
        }
        state.flush(now);
        shared.notify(&state);
        state.returns = driver;
        drop(state);
        shared.released();
        if rest.peek().is_none() {
            return Turned::Again;
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
        None => Some(Duration::ZERO),
        Some(until) => until.map(|until| until.since(now)),
    };
    spin.wait(timeout, |timeout| {
        poll_once(poll, events, timeout)?;
        Ok(!events.is_empty())
    })
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
