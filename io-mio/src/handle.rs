//! What the rest of the program holds of a running engine.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as StdInstant};

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use mio::{Poll, Waker};

use crate::bind::{Bound, Clock};
use crate::drive::Watch;
use crate::driver::{self, Turned};
use crate::duty::{Duty, Waiters};
use crate::error::BindError;
use crate::readers;
use crate::sockets::Sockets;
use crate::state::{State, Turn};
use crate::stats::DriverStats;
use crate::watch::{Readiness, WAKER};

/// What the driver thread and all handles share.
pub struct Shared<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
    wake: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
    clock: Clock,
    /// Called without the lock after each piece of work.
    after: Box<dyn Fn() + Send + Sync>,
    /// Threads on their way to a command.
    callers: AtomicU32,
    /// A command has left bytes to the next wait of its thread.
    left: AtomicBool,
    /// Who waits for readiness.
    pub(crate) duty: Arc<Duty>,
    pub(crate) waiters: Waiters,
}

/// How often a command looks again whether the lock is free before it sleeps.
const LOOKS: u32 = 8;

/// When what a command wants written has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// As soon as it is likely that no more follows at once.
    Now,
    /// When its thread, which gives more commands, waits.
    More,
    /// Nobody waits for it.
    Unhurried,
}

thread_local! {
    /// The engine whose lock this thread holds, by address: 0 if none.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Says where this thread is while it holds a lock.
struct Inside(usize);

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// The lock, held.
pub struct Locked<'a, E> {
    state: MutexGuard<'a, State<E>>,
    inside: Inside,
}

impl<E> fmt::Debug for Locked<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl<E> Deref for Locked<'_, E> {
    type Target = State<E>;

    fn deref(&self) -> &State<E> {
        &self.state
    }
}

impl<E> DerefMut for Locked<'_, E> {
    fn deref_mut(&mut self) -> &mut State<E> {
        &mut self.state
    }
}

impl<E> Shared<E> {
    /// A thread that has the lock would wait for itself for ever: that is a mistake in the program, and said at once.
    fn assert_outside(&self) {
        assert!(
            INSIDE.get() != std::ptr::from_ref(self).addr(),
            "Handle::with called by a command or a turn of the same engine: use the engine it was given"
        );
    }

    /// Takes the lock.
    ///
    /// # Panics
    /// If this thread has it already.
    pub fn lock(&self) -> Locked<'_, E> {
        self.assert_outside();
        let here = std::ptr::from_ref(self).addr();
        // A command that panicked has unwound out of its own code; the engine does not panic, so what the
        // lock guards is as whole as after a command that returned.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = Inside(INSIDE.replace(here));
        Locked { state, inside }
    }

    /// Takes the lock if it is free. Not for a thread that has it.
    fn try_lock(&self) -> Option<Locked<'_, E>> {
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let inside = Inside(INSIDE.replace(std::ptr::from_ref(self).addr()));
        Some(Locked { state, inside })
    }

    /// Takes the lock for a command, so that the one before knows that it is not the last. Since when the thread has wanted it, if it
    /// was not free.
    fn lock_for_command(&self) -> (Locked<'_, E>, Option<Instant>) {
        // Before it is counted: a caller that never comes must not be waited for.
        self.assert_outside();
        if let Some(state) = self.try_lock() {
            return (state, None);
        }
        let wanted = self.now();
        self.callers.fetch_add(1, Ordering::Relaxed);
        // It is held for as long as a write takes at most: to sleep and to be woken takes longer.
        let state = (0..LOOKS)
            .map_while(|_| self.duty.courtesy.give().then(|| self.try_lock()))
            .flatten()
            .next()
            .unwrap_or_else(|| self.lock());
        self.callers.fetch_sub(1, Ordering::Relaxed);
        (state, Some(wanted))
    }

    /// The driver's time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Tells those who wait for a change to look.
    pub fn notify(&self, state: &State<E>) {
        if state.watchers > 0 {
            self.changed.notify_all();
        }
    }

    /// The driver thread has read answers: lets go of the lock and wakes those who waited for them, who leave their next messages to it.
    pub fn answered(&self, mut state: Locked<'_, E>)
    where
        E: Engine,
    {
        let answers = state.returns();
        drop(state);
        self.released();
        if answers && self.duty.several() {
            // They run now, and all that they leave goes out in one write.
            self.duty.courtesy.give();
        }
    }

    /// The lock has been released: those whose outcomes the turn has noted can be woken, and will find it free.
    pub fn released(&self) {
        (self.after)();
    }

    /// Does what a command wants done; whether the driver thread has to be woken for the rest. `wanted` is when its thread came for the
    /// lock.
    fn end_command(&self, state: &mut State<E>, now: Instant, wanted: Instant, haste: Haste) -> bool
    where
        E: Engine,
    {
        state.settle(now);
        match haste {
            Haste::More if state.leave_more() => {
                self.left.store(true, Ordering::Relaxed);
                return state.must_wake(false);
            }
            Haste::Unhurried => {
                let bytes = state.end_unhurried(now);
                return state.must_wake(bytes);
            }
            Haste::More | Haste::Now => {}
        }
        let thread = INSIDE.with(|inside| std::ptr::from_ref(inside).addr());
        let followed = self.callers.load(Ordering::Relaxed) > 0;
        let bytes = state.end_command(now, wanted, thread, followed);
        if state.wrote() {
            // What the write took is no pause of the thread, nor is what it waited for the lock.
            state.go_on(self.now());
        }
        state.must_wake(bytes)
    }

    /// Writes what commands have left to this wait.
    fn write_left(&self)
    where
        E: Engine,
    {
        if !self.left.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        state.flush(self.now());
        let wake = state.left_over();
        self.notify(&state);
        drop(state);
        if wake {
            self.wake();
        }
        self.released();
    }

    pub(crate) fn wake(&self) {
        self.duty.recall();
        if let Err(error) = (self.wake)() {
            tracing::error!(%error, "cannot wake the driver thread");
        }
    }
}

/// Leaves it to the driver thread to finish for a command that panics, other commands' bytes included.
struct Unfinished<'a, E>(&'a Shared<E>);

impl<E> Drop for Unfinished<'_, E> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Ends the driver thread when nobody holds a handle any more.
struct Owner<E: Engine> {
    shared: Arc<Shared<E>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Engine> Drop for Owner<E> {
    fn drop(&mut self) {
        // The thread may be the one that drops the last handle, from its turn: then the lock is taken. It is
        // not waited for; it closes the sockets on its way out.
        if INSIDE.get() != std::ptr::from_ref(&*self.shared).addr() {
            self.shared.lock().stopping = true;
        } else if let Ok(mut state) = self.shared.state.try_lock() {
            state.stopping = true;
        }
        self.shared.wake();
    }
}

/// A running engine. Clones are handles to the same one; when the last is dropped without
/// [`shutdown`](Self::shutdown), the sockets close without a goodbye.
pub struct Handle<E: Engine> {
    owner: Arc<Owner<E>>,
}

impl<E: Engine> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<E: Engine> fmt::Debug for Handle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Bound {
    /// Puts `engine` behind the sockets and starts the driver thread.
    ///
    /// `turn` is called under the lock after every input and every command, on whichever thread that was: it
    /// drains the engine's events and may run commands on it. It must not block, nor call the handle.
    ///
    /// # Errors
    ///
    /// The operating system gives no readiness queue or no thread.
    pub fn spawn<E: Engine + Send + 'static>(
        self,
        engine: E,
        turn: impl FnMut(&mut E, Instant) + Send + 'static,
    ) -> Result<Handle<E>, BindError> {
        self.spawn_with(engine, turn, || ())
    }

    /// As [`spawn`](Self::spawn); `after` is called without the lock, on the thread whose work has just released it.
    ///
    /// Threads that wait for outcomes are best woken there: woken by `turn` they would find the engine taken, and
    /// wait again.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with<E: Engine + Send + 'static>(
        self,
        engine: E,
        turn: impl FnMut(&mut E, Instant) + Send + 'static,
        after: impl Fn() + Send + Sync + 'static,
    ) -> Result<Handle<E>, BindError> {
        let os = |step: &'static str| move |source: io::Error| BindError::Os { step, source };
        let poll = Poll::new().map_err(os("open a readiness queue"))?;
        let registry = poll
            .registry()
            .try_clone()
            .map_err(os("share the readiness queue"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(os("open a waker"))?;
        let tuning = &self.config.tuning;
        let duty = Arc::new(Duty::new(poll, tuning.spin, tuning.lend));
        let lent = Arc::clone(&duty);
        Handle::launch(
            self,
            engine,
            Box::new(turn),
            Box::new(after),
            Box::new(Readiness(registry)),
            Waking {
                wake: Box::new(move || waker.wake()),
                duty: lent,
            },
            move |shared| driver::run(shared, &duty),
        )
    }
}

/// How the driver thread is made to look, and how callers may look in its place.
pub struct Waking {
    /// Makes it come back from waiting.
    pub wake: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
    /// Whose turn it is to wait.
    pub duty: Arc<Duty>,
}

impl fmt::Debug for Waking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waking").finish_non_exhaustive()
    }
}

impl<E: Engine + Send + 'static> Handle<E> {
    /// See [`drive::launch`](crate::drive::launch).
    pub(crate) fn launch(
        bound: Bound,
        engine: E,
        turn: Turn<E>,
        after: Box<dyn Fn() + Send + Sync>,
        watch: Box<dyn Watch>,
        waking: Waking,
        run: impl FnOnce(&Shared<E>) + Send + 'static,
    ) -> Result<Self, BindError> {
        let os = |step: &'static str| move |source: io::Error| BindError::Os { step, source };
        let clock = bound.clock;
        let addr = bound.receiver_addr;
        let readers = bound.config.tuning.readers;
        let mut sockets = Sockets::new(bound, watch).map_err(os("watch the sockets"))?;
        let buffer = sockets.tuning.read_buffer.max(1);
        let (readers, start) = readers::prepare(&engine, readers, buffer, addr.port())
            .map_err(os("open a readiness queue"))?;
        sockets.readers = readers;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(engine, sockets, turn)),
            changed: Condvar::new(),
            wake: waking.wake,
            clock,
            after,
            callers: AtomicU32::new(0),
            left: AtomicBool::new(false),
            duty: waking.duty,
            waiters: Waiters::default(),
        });
        let stopped = |error| {
            shared.lock().sockets.readers.stop();
            error
        };
        let reading = start.launch(&shared);
        let reading = reading.map_err(|error| stopped(os("start a reading thread")(error)))?;
        let thread = std::thread::Builder::new()
            .name(format!("folkmoot-{}", addr.port()))
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let ended = Ended(&shared);
                    run(ended.0);
                    drop(ended);
                    for thread in reading {
                        // One that panicked has said so.
                        let _ = thread.join();
                    }
                }
            })
            .map_err(|error| stopped(os("start the driver thread")(error)))?;
        let owner = Owner {
            shared,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            owner: Arc::new(owner),
        })
    }
}

/// Closes the sockets and says so however the driver thread ends, a panic in the application's turn included.
struct Ended<'a, E: Engine>(&'a Shared<E>);

impl<E: Engine> Drop for Ended<'_, E> {
    fn drop(&mut self) {
        INSIDE.set(0);
        let mut state = self.0.lock();
        if !state.stopped {
            tracing::error!("the driver thread ended before it was asked to");
            state.sockets.close();
            state.stopped = true;
        }
        state.sockets.readers.stop();
        drop(state);
        self.0.waiters.end();
        self.0.changed.notify_all();
    }
}

/// Ends the driver if the turn has panicked on a caller's thread: what it was about to do is lost.
pub(crate) struct Broken<'a, E: Engine>(pub(crate) &'a Shared<E>);

impl<E: Engine> Drop for Broken<'_, E> {
    fn drop(&mut self) {
        INSIDE.set(0);
        tracing::error!("a turn panicked: the driver stops");
        self.0.lock().stopping = true;
        self.0.wake();
    }
}

/// Calls the driver thread back when a caller has unwound, the queue included: it is dropped after that.
struct Abandoned<'a>(&'a Duty);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

impl<E: Engine> Handle<E> {
    /// Runs a command on the engine, on this thread, and does what it wants done.
    ///
    /// Bytes for a connection that was idle are written before this returns; those of a burst are left to
    /// gather for some microseconds. Do not block in `command`.
    ///
    /// # Panics
    ///
    /// If called by a command or a turn of the same engine, which already has it.
    pub fn with<R>(&self, command: impl FnOnce(&mut E, Instant) -> R) -> R {
        self.command(command, Haste::Now)
    }

    /// As [`with`](Self::with), for a thread that has more to do and then waits by [`drive_until`](Self::drive_until) or
    /// [`wait_until`](Self::wait_until), or calls [`write_left`](Self::write_left): what the command wants written is left to gather until then,
    /// or until [`Tuning::coalesce_commands`](crate::Tuning::coalesce_commands) have left theirs. A thread that does neither must not use it:
    /// its bytes would stay until the driver has something else to do.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn with_more<R>(&self, command: impl FnOnce(&mut E, Instant) -> R) -> R {
        self.command(command, Haste::More)
    }

    /// Writes what commands of any thread have left to gather ([`with_more`](Self::with_more)); does nothing, without the lock, if somebody has
    /// done so since.
    ///
    /// For a task that lets the others of its thread run after its command, and comes back when they have given theirs.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn write_left(&self) {
        self.owner.shared.write_left();
    }

    /// As [`with`](Self::with), for a command that sends what nobody waits for, so that it may leave a moment later, together with what
    /// other commands send: see [`Tuning::gather_within`](crate::Tuning::gather_within).
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn with_unhurried<R>(&self, command: impl FnOnce(&mut E, Instant) -> R) -> R {
        self.command(command, Haste::Unhurried)
    }

    fn command<R>(&self, command: impl FnOnce(&mut E, Instant) -> R, haste: Haste) -> R {
        let shared = &*self.owner.shared;
        let (mut state, wanted) = shared.lock_for_command();
        let now = shared.now();
        let unfinished = Unfinished(shared);
        let result = command(&mut state.engine, now);
        std::mem::forget(unfinished);
        let wake = shared.end_command(&mut state, now, wanted.unwrap_or(now), haste);
        shared.notify(&state);
        drop(state);
        if wake {
            shared.wake();
        }
        shared.released();
        result
    }

    /// Waits until `done`, for a thread that has given a command and waits for its outcome; `false` if the driver stops
    /// before.
    ///
    /// `done` is asked without the lock. What makes it true happens in the turn, or in `after`, which also has to
    /// [unpark](std::thread::Thread::unpark) the thread that waits. A single caller that waits again and again does the
    /// driver's work meanwhile and needs no waking at all: see [`Tuning::lend`](crate::Tuning::lend).
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with), and if the turn panics on this thread.
    pub fn wait_until(&self, done: impl Fn() -> bool) -> bool {
        self.wait(done, false)
    }

    /// As [`wait_until`](Self::wait_until), for a thread that comes back again and again: one that runs tasks, of which many wait for outcomes,
    /// and waits when none can go on. From its first wait on it does the driver's work while it waits, so that all messages of its tasks
    /// leave in one write ([`with_more`](Self::with_more)), all answers come in one read, and no thread is woken for either. The driver
    /// thread is back when this was not called for ten milliseconds.
    ///
    /// With tokio's current-thread runtime it belongs into `on_thread_park`:
    ///
    /// ```ignore
    /// Builder::new_current_thread().on_thread_park(move || {
    ///     // Until a task was woken, or none waits for an outcome.
    ///     handle.drive_until(|| woken.swap(false, Ordering::Acquire) || waiting.load(Ordering::Acquire) == 0);
    /// })
    /// ```
    ///
    /// `after` has to [unpark](std::thread::Thread::unpark) this thread, as for [`wait_until`](Self::wait_until): the driver thread may have kept the
    /// queue, and the waker of a task knows of its runtime only. Whatever else may let a task of the thread go on, a timer or another thread, has to
    /// make `done` true and to unpark the thread: nothing but the engine's input ends the wait by itself. With [`Tuning::lend`](crate::Tuning::lend) zero it only waits.
    ///
    /// # Panics
    ///
    /// As [`wait_until`](Self::wait_until).
    pub fn drive_until(&self, done: impl Fn() -> bool) -> bool {
        self.wait(done, true)
    }

    fn wait(&self, done: impl Fn() -> bool, claims: bool) -> bool {
        let shared = &*self.owner.shared;
        shared.assert_outside();
        if done() {
            return true;
        }
        let duty = &*shared.duty;
        let since = shared.now();
        let (mut may, mut drove) = (duty.arrive(since, claims), false);
        let _panics = Abandoned(duty);
        let mut taken = None;
        while !done() && !shared.waiters.is_over() {
            if may && taken.is_none() {
                taken = duty.try_take();
            }
            let Some(poller) = &mut taken else {
                shared.write_left();
                if duty.look_again(&done) {
                    break;
                }
                shared.waiters.park(|| {
                    // Once it is known that we sleep: the driver may have left the queue before.
                    if may {
                        taken = duty.try_take();
                    }
                    taken.is_some() || done()
                });
                continue;
            };
            drove = true;
            let broken = Broken(shared);
            let turned = driver::turn(shared, poller, false);
            std::mem::forget(broken);
            if turned != Turned::Again {
                // The driver needs the queue to come back to.
                taken = None;
                may = false;
                duty.recall();
                duty.call_driver();
            }
        }
        drop(taken);
        duty.leave(since, shared.now(), drove, claims);
        done()
    }

    /// Looks at the engine; nothing is sent and no event is drained.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn inspect<R>(&self, look: impl FnOnce(&E) -> R) -> R {
        look(&self.owner.shared.lock().engine)
    }

    /// Runs `command` now and again after every change until it answers, at most for `limit` or until the
    /// driver stops. What each attempt wants done is done, as with [`with`](Self::with).
    ///
    /// For a send that finds the queue full, or a caller that waits for members.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn wait_for<R>(
        &self,
        limit: Duration,
        mut command: impl FnMut(&mut E, Instant) -> Option<R>,
    ) -> Option<R> {
        let shared = &*self.owner.shared;
        let until = StdInstant::now() + limit;
        let (mut state, mut wanted) = shared.lock_for_command();
        loop {
            let now = shared.now();
            let unfinished = Unfinished(shared);
            let answer = command(&mut state.engine, now);
            std::mem::forget(unfinished);
            let wanted = wanted.take().unwrap_or(now);
            if shared.end_command(&mut state, now, wanted, Haste::Now) {
                shared.wake();
            }
            let left = until.saturating_duration_since(StdInstant::now());
            if answer.is_some() || state.stopped || left.is_zero() {
                shared.notify(&state);
                drop(state);
                shared.released();
                return answer;
            }
            state.watchers += 1;
            let Locked {
                state: guard,
                inside,
            } = state;
            drop(inside);
            let (guard, _) = shared
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner);
            let inside = Inside(INSIDE.replace(std::ptr::from_ref(shared).addr()));
            state = Locked {
                state: guard,
                inside,
            };
            state.watchers -= 1;
        }
    }

    /// The driver's time, as the engine is told it.
    pub fn now(&self) -> Instant {
        self.owner.shared.now()
    }

    /// What the driver has done so far.
    pub fn driver_stats(&self) -> DriverStats {
        self.owner.shared.lock().sockets.stats
    }

    /// Whether the driver thread still runs.
    pub fn is_running(&self) -> bool {
        !self.owner.shared.lock().stopped
    }

    /// Says goodbye, waits until `is_stopped` or `limit` is over, then closes the sockets and ends the driver
    /// thread. `true` if the goodbye was completed. Later calls only wait for the end.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub fn shutdown(
        &self,
        limit: Duration,
        goodbye: impl FnOnce(&mut E, Instant),
        mut is_stopped: impl FnMut(&E) -> bool,
    ) -> bool {
        self.with(goodbye);
        let done = self
            .wait_for(limit, |engine, _| is_stopped(engine).then_some(()))
            .is_some();
        let shared = &*self.owner.shared;
        shared.lock().stopping = true;
        shared.wake();
        let thread = self
            .owner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A panic of the thread has been logged where it happened.
        drop(thread.map(JoinHandle::join));
        done
    }
}
