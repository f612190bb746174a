//! Who waits for readiness: the driver thread, or the one caller that waits for an answer anyway.
//!
//! A caller that sends, waits for the acknowledgement and sends again would be woken by the driver thread for each
//! answer: a thread switch a message, which is more than the message costs. So when the same and only caller has waited
//! several times in a row, it waits for readiness itself, in [`Handle::wait_until`](crate::Handle::wait_until), and does
//! the driver's work until its answer is in. The driver thread stands by and looks every
//! [`Tuning::lend`](crate::Tuning::lend) whether callers still come; if not, or if a second one comes, it is back.
//!
//! A thread that runs many callers as tasks says so itself ([`Handle::drive_until`](crate::Handle::drive_until)) and has the queue from
//! its first wait on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::Duration;

use folkmoot_core::time::Instant;
use mio::{Events, Poll};

use crate::spin::{Courtesy, Spin};

/// Events fetched at once.
const EVENTS: usize = 256;
/// So many waits of a caller that was alone, close enough to each other, and it may drive.
const ALONE_MIN: u32 = 8;
/// For so long at least the driver thread stands by after a wait of a thread that has said it will be back.
const CLAIM: Duration = Duration::from_millis(10);

/// How often a caller looks again before it sleeps.
const LOOKS: u32 = 2;
/// So many waits in which that did not help, and only one of as many tries it again.
const IN_VAIN_MAX: u32 = 64;

/// What it takes to wait.
#[derive(Debug)]
pub struct Poller {
    /// The readiness queue.
    pub poll: Poll,
    /// What it has said last.
    pub events: Events,
    /// Whether to look again before sleeping.
    pub spin: Spin,
}

/// The readiness queue, and whose turn it is.
#[derive(Debug)]
pub struct Duty {
    poller: Mutex<Poller>,
    lend: Duration,
    /// Callers in `wait_until`.
    waiting: AtomicU32,
    /// Waits of a caller that was alone, one soon after the other.
    alone: AtomicU32,
    /// Until when the waiting is left to callers, in nanoseconds; 0 if the driver thread is wanted.
    lent_until: AtomicU64,
    driver: OnceLock<Thread>,
    /// Threads that give way to each other instead of sleeping.
    pub(crate) courtesy: Courtesy,
    /// Waits, one after another, that looked again in vain before they slept.
    in_vain: AtomicU32,
    /// The driver thread sleeps until it is called.
    resting: AtomicBool,
}

impl Duty {
    /// Nobody waits on the queue yet. `spin` and `lend` are those of [`Tuning`](crate::Tuning).
    pub fn new(poll: Poll, spin: Duration, lend: Duration) -> Self {
        Self {
            poller: Mutex::new(Poller {
                poll,
                events: Events::with_capacity(EVENTS),
                spin: Spin::new(spin),
            }),
            lend,
            waiting: AtomicU32::new(0),
            alone: AtomicU32::new(0),
            lent_until: AtomicU64::new(0),
            driver: OnceLock::new(),
            courtesy: Courtesy::default(),
            in_vain: AtomicU32::new(0),
            resting: AtomicBool::new(false),
        }
    }

    /// The queue, if nobody waits on it.
    pub(crate) fn try_take(&self) -> Option<MutexGuard<'_, Poller>> {
        match self.poller.try_lock() {
            Ok(poller) => Some(poller),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A caller begins to wait; whether it should drive, if it can. One that `claims` to come again and again need not have shown it.
    pub(crate) fn arrive(&self, now: Instant, claims: bool) -> bool {
        let others = self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.lend.is_zero() {
            return false;
        }
        if others > 0 {
            self.alone.store(0, Ordering::Relaxed);
            if self.lent_until.swap(0, Ordering::AcqRel) != 0 {
                self.call_driver();
            }
            return false;
        }
        let may = claims || self.is_lent(now) || self.alone.load(Ordering::Relaxed) >= ALONE_MIN;
        if may {
            self.lend_from(now, claims);
        }
        may
    }

    fn lend_from(&self, now: Instant, claims: bool) {
        let long = match claims {
            true => self.lend.max(CLAIM),
            false => self.lend,
        };
        self.lent_until
            .store((now + long).as_nanos(), Ordering::Release);
    }

    /// A caller has waited since `since`.
    pub(crate) fn leave(&self, since: Instant, now: Instant, drove: bool, claims: bool) {
        let others = self.waiting.fetch_sub(1, Ordering::AcqRel) > 1;
        if self.lend.is_zero() {
            return;
        }
        if drove {
            if self.lent_until.load(Ordering::Acquire) == 0 || others {
                self.call_driver();
            } else {
                self.lend_from(now, claims);
                if self.resting.load(Ordering::SeqCst) {
                    self.call_driver();
                }
            }
        } else if !others && now.since(since) < self.lend {
            self.alone.fetch_add(1, Ordering::Relaxed);
        } else {
            self.alone.store(0, Ordering::Relaxed);
        }
    }

    /// A caller has unwound.
    pub(crate) fn abandon(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.lent_until.store(0, Ordering::Release);
        self.call_driver();
    }

    /// Whether more than one caller waits.
    pub(crate) fn several(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 1
    }

    /// One of several callers is about to sleep: lets the others have the processor, and looks again a few times whether it is `done`. Their answers
    /// come together, so it need not be woken for its own. Where that never helps it is tried now and then only.
    pub(crate) fn look_again(&self, done: impl Fn() -> bool) -> bool {
        if !self.several() {
            return false;
        }
        let in_vain = self.in_vain.load(Ordering::Relaxed);
        if in_vain >= IN_VAIN_MAX && !in_vain.is_multiple_of(IN_VAIN_MAX) {
            self.in_vain
                .store(in_vain.wrapping_add(1), Ordering::Relaxed);
            return false;
        }
        for _ in 0..LOOKS {
            if !self.courtesy.give() {
                return false;
            }
            if done() {
                self.in_vain.store(0, Ordering::Relaxed);
                return true;
            }
        }
        self.in_vain
            .store(in_vain.wrapping_add(1), Ordering::Relaxed);
        false
    }

    /// Whether the driver thread leaves the waiting to callers at the moment.
    pub fn is_lent(&self, now: Instant) -> bool {
        self.lent_until.load(Ordering::Acquire) > now.as_nanos()
    }

    /// The driver thread has work that nobody else will see to.
    pub(crate) fn recall(&self) {
        if self.lent_until.swap(0, Ordering::AcqRel) != 0 {
            self.alone.store(0, Ordering::Relaxed);
            self.call_driver();
        }
    }

    /// Wakes the driver thread, wherever it stands by.
    pub(crate) fn call_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.unpark();
        }
    }

    /// For the driver thread: the queue, once callers have left it.
    pub fn take(&self, now: impl Fn() -> Instant) -> MutexGuard<'_, Poller> {
        self.driver.get_or_init(std::thread::current);
        loop {
            let now = now();
            let until = Instant::from_nanos(self.lent_until.load(Ordering::Acquire));
            if until > now {
                std::thread::park_timeout(until.since(now));
                continue;
            }
            if let Some(poller) = self.try_take() {
                self.lent_until.store(0, Ordering::Release);
                self.alone.store(0, Ordering::Relaxed);
                return poller;
            }
            // A caller has waited long for its answer; it calls when it leaves.
            self.resting.store(true, Ordering::SeqCst);
            if let Some(poller) = self.try_take() {
                self.resting.store(false, Ordering::SeqCst);
                return poller;
            }
            std::thread::park();
            self.resting.store(false, Ordering::SeqCst);
        }
    }
}

/// Threads in `wait_until`, to be woken when the driver ends.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    threads: Mutex<Vec<Thread>>,
    over: AtomicBool,
}

impl Waiters {
    /// Whether nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Sleeps until woken, unless `awake` says otherwise once a waker would find the thread, or all is over.
    pub(crate) fn park(&self, awake: impl FnOnce() -> bool) {
        let thread = std::thread::current();
        let id = thread.id();
        self.lock().push(thread);
        if !awake() && !self.is_over() {
            std::thread::park();
        }
        let mut threads = self.lock();
        if let Some(place) = threads.iter().position(|thread| thread.id() == id) {
            threads.swap_remove(place);
        }
    }

    /// Lets all look.
    pub(crate) fn wake(&self) {
        for thread in self.lock().iter() {
            thread.unpark();
        }
    }

    /// Nothing will come any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
