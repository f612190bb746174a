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
/// How long the driver thread keeps out of the way of a thread that streams, before it looks again.
const NAP: Duration = Duration::from_micros(50);

/// How a turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// There will be another.
    Again,
    /// Everything is closed.
    Ended,
    /// The driver thread is wanted: to close everything, or for what only it can do.
    Wanted,
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
        lend(shared);
    }
}

/// The driver thread has let go of the queue: does what callers have left since its last turn, as who has taken the queue may not need
/// a turn of its own, and wakes those who sleep, since nobody else would look.
pub fn lend<E: Engine>(shared: &Shared<E>) {
    shared.lock().continue_work(shared.now());
    shared.released();
    shared.waiters.wake();
}

/// One turn, of the driver thread or of a caller in its place: what was left, a wait, and what it has brought.
pub fn turn<E: Engine>(shared: &Shared<E>, poller: &mut Poller, driver: bool) -> Turned {
    let Poller { poll, events, spin } = poller;
    let mut state = shared.lock();
    let mut now = shared.now();
    if driver && state.is_streaming(now) && !state.stopping {
        state.returned();
        drop(state);
        std::thread::sleep(NAP);
        state = shared.lock();
        now = shared.now();
        if state.is_streaming(now) {
            // Only the writing is left to it: what has come meanwhile is read, and what is due is done.
            state.work(now);
            shared.notify(&state);
            drop(state);
            shared.released();
            return match poll_once(poll, events, Some(Duration::ZERO)) {
                Err(error) => failed(shared, &error, driver),
                Ok(()) if events.is_empty() => Turned::Again,
                Ok(()) => hand_over(shared, events, driver),
            };
        }
    }
    if !driver {
        if state.stopping || state.sockets.watch.has_work() {
            return Turned::Wanted;
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
    match wait_for_events(&shared.duty, poll, events, spin, now, wait) {
        Err(error) => failed(shared, &error, driver),
        Ok(()) => hand_over(shared, events, driver),
    }
}

/// Nothing this process does can cause it short of closing a descriptor that is not its own.
fn failed<E: Engine>(shared: &Shared<E>, error: &io::Error, driver: bool) -> Turned {
    tracing::error!(%error, "waiting for readiness failed: the driver stops");
    let mut state = shared.lock();
    state.stopping = true;
    if !driver {
        return Turned::Wanted;
    }
    state.finish(shared.now());
    shared.notify(&state);
    Turned::Ended
}

/// Works off what has become ready.
fn hand_over<E: Engine>(shared: &Shared<E>, events: &Events, driver: bool) -> Turned {
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
        if driver {
            shared.answered(state);
        } else {
            drop(state);
            shared.released();
        }
        if rest.peek().is_none() {
            return Turned::Again;
        }
    }
}

/// Waits until something is ready or `wait` is over; does not wait at all without one. Spins first, if it is worth it,
/// and polls without the lock.
fn wait_for_events(
    duty: &Duty,
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
        if events.is_empty() && timeout == Some(Duration::ZERO) && duty.several() {
            // They may have something to send, and no processor to do it on.
            duty.courtesy.give();
        }
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
