//! Waiting for the acknowledgements of a message, from blocking code and from tasks.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use folkmoot_core::channel::FaultCause;
use folkmoot_core::wire::UniqueId;

use crate::Member;

/// A message on its way to members that owe an acknowledgement.
///
/// Await it, or block with [`wait`](Self::wait); both end within the sender's timeout and its retries.
/// Dropping it changes nothing about the message.
#[must_use = "the message is on its way; await the delivery or call `wait` to learn how it ended"]
pub struct Delivery {
    id: UniqueId,
    slot: Arc<Slot>,
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
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Delivered>,
    waker: Option<Waker>,
}

impl Delivery {
    /// The unique id of the message.
    pub fn id(&self) -> UniqueId {
        self.id
    }

    /// Blocks until every member has answered or failed. Not for tasks: they await the delivery itself.
    pub fn wait(self) -> Delivered {
        let mut state = lock(&self.slot.state);
        loop {
            match state.outcome.take() {
                Some(outcome) => return outcome,
                None => {
                    state = self
                        .slot
                        .settled
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }
}

impl Future for Delivery {
    type Output = Delivered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivered> {
        let mut state = lock(&self.slot.state);
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

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The deliveries somebody waits for.
///
/// Bounded by the messages in flight: the channel settles every message that asked for acknowledgements.
#[derive(Default)]
pub(crate) struct Deliveries {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<UniqueId, Arc<Slot>>,
    closed: bool,
}

impl Deliveries {
    /// Begins to wait for `id`. To be called before the channel can settle it, that is under the lock
    /// under which it was sent.
    pub(crate) fn expect(&self, id: UniqueId) -> Delivery {
        let slot = Arc::<Slot>::default();
        let mut table = lock(&self.table);
        if table.closed {
            slot.settle(Delivered {
                interrupted: true,
                ..Delivered::default()
            });
        } else {
            table.waiting.insert(id, Arc::clone(&slot));
        }
        Delivery { id, slot }
    }

    /// `id` is settled; `false` if nobody waits for it.
    pub(crate) fn settle(&self, id: UniqueId, faulty: Vec<(Member, FaultCause)>) -> bool {
        let slot = lock(&self.table).waiting.remove(&id);
        let waited = slot.is_some();
        if let Some(slot) = slot {
            slot.settle(Delivered {
                faulty,
                interrupted: false,
            });
        }
        waited
    }

    /// Wakes everyone: no answer will come any more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut table = lock(&self.table);
            table.closed = true;
            std::mem::take(&mut table.waiting)
        };
        for slot in waiting.into_values() {
            slot.settle(Delivered {
                interrupted: true,
                ..Delivered::default()
            });
        }
    }
}

impl Slot {
    fn settle(&self, outcome: Delivered) {
        let waker = {
            let mut state = lock(&self.state);
            state.outcome = Some(outcome);
            state.waker.take()
        };
        self.settled.notify_all();
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
        let delivery = deliveries.expect(ID);
        let waiting = std::thread::spawn(move || delivery.wait());
        assert!(deliveries.settle(ID, Vec::new()));
        assert!(waiting.join().unwrap().is_complete());
        assert!(!deliveries.settle(ID, Vec::new()), "settled once");
    }

    #[tokio::test]
    async fn a_task_waits_without_its_thread() {
        let deliveries = Arc::new(Deliveries::default());
        let delivery = deliveries.expect(ID);
        let other = Arc::clone(&deliveries);
        // One thread runs both tasks: waiting must not hold it.
        let settling = tokio::spawn(async move { other.settle(ID, Vec::new()) });
        assert!(delivery.await.is_complete());
        assert!(settling.await.unwrap());
    }

    #[test]
    fn nobody_waits_for_a_cluster_that_is_gone() {
        let deliveries = Deliveries::default();
        let before = deliveries.expect(ID);
        deliveries.close();
        let after = deliveries.expect(UniqueId([8; 16]));
        for delivery in [before, after] {
            let outcome = delivery.wait();
            assert!(outcome.interrupted && !outcome.is_complete());
        }
    }
}
