//! Messages of the application's own, beside the sessions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use folkmoot_core::channel::{Inbound, Verdict};
use folkmoot_core::wire::{Member, SendOptions};
use tokio::sync::mpsc;

/// A message that another member sent with [`Cluster::send`](crate::Cluster::send), or a Tomcat's application through
/// its channel as a `ByteMessage`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// Who sent it.
    pub sender: Member,
    /// As it was sent.
    pub options: SendOptions,
    /// Milliseconds since the Unix epoch, by the sender's clock.
    pub timestamp_ms: u64,
    /// What it says.
    pub body: Bytes,
}

/// The messages of others, in the order in which they came; at most as many wait as was asked for. A message that finds no
/// room is refused: its sender learns so if it has asked for synchronous acknowledgements, else it is lost and counted
/// by [`lost`](Self::lost).
pub struct Messages {
    receiver: mpsc::Receiver<Message>,
    lost: Arc<AtomicU64>,
}

impl Messages {
    /// A queue of `max` messages, and what fills it.
    pub(crate) fn channel(
        max: usize,
    ) -> (Self, impl FnMut(&Inbound<'_>) -> Verdict + Send + 'static) {
        let (sender, receiver) = mpsc::channel(max.max(1));
        let lost = Arc::<AtomicU64>::default();
        let refused = Arc::clone(&lost);
        let take = move |message: &Inbound<'_>| match sender.try_reserve() {
            Ok(place) => {
                place.send(Message {
                    sender: message.sender.clone(),
                    options: message.options,
                    timestamp_ms: message.timestamp_ms,
                    body: Bytes::copy_from_slice(message.message),
                });
                Verdict::Processed
            }
            Err(_) => {
                refused.fetch_add(1, Ordering::Relaxed);
                Verdict::Failed
            }
        };
        (Self { receiver, lost }, take)
    }

    /// The next message; `None` when the cluster is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    /// The next message, for threads: blocks until there is one. Not inside a task.
    pub fn recv_blocking(&mut self) -> Option<Message> {
        self.receiver.blocking_recv()
    }

    /// The next message if there is one already.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    /// How many messages found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("waiting", &self.receiver.len())
            .finish_non_exhaustive()
    }
}
