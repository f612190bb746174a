//! Waiting for the acknowledgements of a message, from blocking code and from tasks.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use folkmoot_core::channel::FaultCause;
use folkmoot_core::wire::UniqueId;
use folkmoot_mio::Handle;

use crate::Member;
use crate::cluster::Engine;

/// A message on its way to members that owe an acknowledgement.
///
/// Await it, or block with [`wait`](Self::wait); both end within the sender's timeout and its retries.
/// Dropping it changes nothing about the message.
#[must_use = "the message is on its way; await the delivery or call `wait` to learn how it ended"]
pub struct Delivery {
    id: UniqueId,
    /// Present until dropped.
    slot: Option<Arc<Slot>>,
    home: Arc<Inner>,
    handle: Option<Handle<Engine>>,
    leaves: Leaves,
}

/// When a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// It has left, or will without our doing.
    ByItself,
    /// With those of the tasks that are to run before this one runs again.
    WithOthers,
    /// Now: they have run.
    Now,
}

/// How a delivery ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The members that did not acknowledge, and why; empty when all did.
    pub faulty: Vec<(Member, FaultCause)>,
    /// Whether the cluster was shut down before every answer was in.
    pub interrupted: bool,
}

impl Delivered {
    /// Whether every member acknowledged.
    pub fn is_complete(&self) -> bool {
        self.faulty.is_empty() && !self.interrupted
    }
}

#[derive(Default)]
struct Slot {
    settled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Delivered>,
    waker: Option<Waker>,
    thread: Option<Thread>,
}

impl Delivery {
    /// The message was left to gather ([`Handle::with_more`]): it leaves when the task that awaits it is polled again, so after the tasks
    /// that were ready to run when it was polled first, together with what they send.
    pub(crate) fn gathering(mut self) -> Self {
        if self.handle.is_some() {
            self.leaves = Leaves::WithOthers;
        }
        self
    }

    /// Writes it, and what others have left, unless somebody has.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.leaves, Leaves::ByItself) != Leaves::ByItself
            && let Some(handle) = &self.handle
        {
            handle.write_left();
        }
    }

    /// The unique id of the message.
    pub fn id(&self) -> UniqueId {
        self.id
    }

    /// Blocks until every member has answered or failed. Not for tasks: they await the delivery itself.
    pub fn wait(mut self) -> Delivered {
        self.leave();
        let Some(slot) = &self.slot else {
            return Delivered::interrupted();
        };
        let is_settled = || slot.settled.load(Ordering::Acquire);
        if !is_settled() {
            lock(&slot.state).thread = Some(std::thread::current());
        }
        match &self.handle {
            // A single caller does the driver's work meanwhile.
            Some(handle) => {
                handle.wait_until(is_settled);
            }
            None => {
                while !is_settled() {
                    std::thread::park();
                }
            }
        }
        let outcome = lock(&slot.state).outcome.take();
        // Nothing settles it any more if the driver has ended.
        outcome.unwrap_or_else(Delivered::interrupted)
    }
}

impl Delivered {
    fn interrupted() -> Self {
        Self {
            interrupted: true,
            ..Self::default()
        }
    }
}

impl Future for Delivery {
    type Output = Delivered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivered> {
        match self.leaves {
            Leaves::ByItself => {}
            Leaves::WithOthers => {
                self.leaves = Leaves::Now;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Leaves::Now => self.leave(),
        }
        let Some(slot) = &self.slot else {
            return Poll::Ready(Delivered::interrupted());
        };
        let mut state = lock(&slot.state);
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.leave();
        // A place that nobody else knows any more serves the next message.
        if let Some(mut slot) = self.slot.take()
            && let Some(free) = Arc::get_mut(&mut slot)
        {
            *free.settled.get_mut() = false;
            *free.state.get_mut().unwrap_or_else(PoisonError::into_inner) = State::default();
            let mut spare = lock(&self.home.spare);
            if spare.len() < SPARE_MAX {
                spare.push(slot);
            }
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Places kept for later messages.
const SPARE_MAX: usize = 1024;

/// The deliveries somebody waits for.
///
/// Bounded by the messages in flight: the channel settles every message that asked for acknowledgements.
#[derive(Default)]
pub(crate) struct Deliveries {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    /// Settled under the engine's lock, to be told when it is free again: who is woken earlier waits once more.
    settled: Mutex<Vec<(Arc<Slot>, Delivered)>>,
    any_settled: AtomicBool,
    /// Those that are being told: kept for its memory, and so that waking keeps nobody from settling.
    telling: Mutex<Vec<(Arc<Slot>, Delivered)>>,
    spare: Mutex<Vec<Arc<Slot>>>,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<UniqueId, Arc<Slot>, BuildHasherDefault<IdHasher>>,
    closed: bool,
}

/// The ids are ours and random: any 8 bytes of them will do.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }
}

impl Deliveries {
    /// Begins to wait for `id`. To be called before the channel can settle it, that is under the lock
    /// under which it was sent. `handle` is what a blocked thread drives meanwhile.
    pub(crate) fn expect(&self, id: UniqueId, handle: Option<&Handle<Engine>>) -> Delivery {
        let spare = lock(&self.inner.spare).pop();
        let slot = spare.unwrap_or_default();
        let mut table = lock(&self.inner.table);
        if table.closed {
            slot.settle(Delivered::interrupted());
        } else {
            table.waiting.insert(id, Arc::clone(&slot));
        }
        Delivery {
            id,
            slot: Some(slot),
            home: Arc::clone(&self.inner),
            handle: handle.cloned(),
            leaves: Leaves::ByItself,
        }
    }

    /// `id` is settled; `false` if nobody waits for it. [`tell`](Self::tell) tells who does.
    pub(crate) fn settle(&self, id: UniqueId, faulty: Vec<(Member, FaultCause)>) -> bool {
        let slot = lock(&self.inner.table).waiting.remove(&id);
        let Some(slot) = slot else {
            return false;
        };
        let outcome = Delivered {
            faulty,
            interrupted: false,
        };
        lock(&self.inner.settled).push((slot, outcome));
        self.inner.any_settled.store(true, Ordering::Release);
        true
    }

    /// Wakes those whose messages are settled.
    pub(crate) fn tell(&self) {
        if self.inner.any_settled.swap(false, Ordering::AcqRel) {
            let mut telling = lock(&self.inner.telling);
            std::mem::swap(&mut *lock(&self.inner.settled), &mut *telling);
            for (slot, outcome) in telling.drain(..) {
                slot.settle(outcome);
            }
        }
    }

    /// Wakes everyone: no answer will come any more.
    pub(crate) fn close(&self) {
        self.tell();
        let waiting = {
            let mut table = lock(&self.inner.table);
            table.closed = true;
            std::mem::take(&mut table.waiting)
        };
        for slot in waiting.into_values() {
            slot.settle(Delivered::interrupted());
        }
    }
}

impl Slot {
    fn settle(&self, outcome: Delivered) {
        let (waker, thread) = {
            let mut state = lock(&self.state);
            state.outcome = Some(outcome);
            // Under the lock: whoever leaves its name later sees it.
            self.settled.store(true, Ordering::Release);
            (state.waker.take(), state.thread.take())
        };
        if let Some(thread) = thread {
            thread.unpark();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A panic while one of these locks was held cannot leave half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: UniqueId = UniqueId([7; 16]);

    #[test]
    fn a_thread_waits_until_the_message_is_settled() {
        let deliveries = Arc::new(Deliveries::default());
        let delivery = deliveries.expect(ID, None);
        let waiting = std::thread::spawn(move || delivery.wait());
        assert!(deliveries.settle(ID, Vec::new()));
        deliveries.tell();
        assert!(waiting.join().unwrap().is_complete());
        assert!(!deliveries.settle(ID, Vec::new()), "settled once");
    }

    #[tokio::test]
    async fn a_task_waits_without_its_thread() {
        let deliveries = Arc::new(Deliveries::default());
        let delivery = deliveries.expect(ID, None);
        let other = Arc::clone(&deliveries);
        // One thread runs both tasks: waiting must not hold it.
        let settling = tokio::spawn(async move {
            let waited = other.settle(ID, Vec::new());
            other.tell();
            waited
        });
        assert!(delivery.await.is_complete());
        assert!(settling.await.unwrap());
    }

    #[test]
    fn a_place_serves_again_when_nobody_knows_it_any_more() {
        let deliveries = Deliveries::default();
        for waits in [true, false, true] {
            let delivery = deliveries.expect(ID, None);
            assert!(deliveries.settle(ID, Vec::new()));
            deliveries.tell();
            match waits {
                true => assert!(delivery.wait().is_complete()),
                false => drop(delivery),
            }
            assert_eq!(lock(&deliveries.inner.spare).len(), 1);
        }
        // Given up before it is settled: the table still knows the place.
        drop(deliveries.expect(ID, None));
        assert_eq!(lock(&deliveries.inner.spare).len(), 0);
        assert!(deliveries.settle(ID, Vec::new()));
    }

    #[test]
    fn nobody_waits_for_a_cluster_that_is_gone() {
        let deliveries = Deliveries::default();
        let before = deliveries.expect(ID, None);
        deliveries.close();
        let after = deliveries.expect(UniqueId([8; 16]), None);
        for delivery in [before, after] {
            let outcome = delivery.wait();
            assert!(outcome.interrupted && !outcome.is_complete());
        }
    }
}
