//! What a cluster tells those who subscribe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use folkmoot_core::channel::FaultCause;
use folkmoot_core::session::{SessionId, TransferResult};
use folkmoot_core::wire::{Member, UniqueId};
use tokio::sync::broadcast;

/// Something that happened in the cluster, in the order in which it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A member was found and verified.
    MemberAdded(Member),
    /// A member is gone.
    MemberDisappeared(Member),
    /// A state transfer ended.
    StateTransferred {
        /// The application's context path.
        context: Arc<str>,
        /// How.
        transfer: StateTransfer,
    },
    /// A session came into being.
    SessionCreated {
        /// The application's context path.
        context: Arc<str>,
        /// The session.
        id: SessionId,
        /// Whether another member created it.
        remote: bool,
    },
    /// A session timed out or was invalidated.
    SessionExpired {
        /// The application's context path.
        context: Arc<str>,
        /// The session.
        id: SessionId,
        /// Whether another member ended it.
        remote: bool,
    },
    /// A session got another id.
    SessionIdChanged {
        /// The application's context path.
        context: Arc<str>,
        /// The id it had.
        old: SessionId,
        /// The id it has.
        new: SessionId,
        /// Whether another member changed it.
        remote: bool,
    },
    /// The sessions here were compared with those of another node of this implementation and something differed: after a
    /// partition, a crash or a loss.
    Reconciled {
        /// The application's context path.
        context: Arc<str>,
        /// The other node, if it is still known.
        with: Option<Member>,
        /// Sessions that were brought, changed, ended or renamed here.
        sessions: u64,
        /// Fields changed on both sides of which the value that was here has lost.
        conflicts: u64,
    },
    /// A message that asked for acknowledgements was not acknowledged by these members.
    NotAcknowledged {
        /// The message.
        id: UniqueId,
        /// Who did not, and why.
        faulty: Vec<(Member, FaultCause)>,
    },
    /// Messages that nobody waits for did not reach a member.
    Lost {
        /// The member, if it is still known.
        member: Option<Member>,
        /// How many messages.
        messages: u64,
        /// Why.
        cause: FaultCause,
    },
    /// The cluster has stopped: the last event.
    Stopped,
}

/// How a state transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTransfer {
    /// What became of it.
    pub result: TransferResult,
    /// Who gave the state, if somebody did and is still known.
    pub from: Option<Member>,
    /// Sessions that came.
    pub sessions: usize,
    /// How long it took since the members were known.
    pub took: Duration,
}

/// A subscription to a cluster's events, bounded: who is too slow loses the oldest and is told how many.
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

/// Why there is no next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsError {
    /// The subscriber was too slow and has lost so many; the next call goes on after them.
    Lagged(u64),
    /// The cluster is gone.
    Closed,
}

impl fmt::Display for EventsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(lost) => write!(
                f,
                "{lost} events were lost: read faster, or raise `events_max`"
            ),
            Self::Closed => f.write_str("the cluster is gone"),
        }
    }
}

impl std::error::Error for EventsError {}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// The next event. Cancel safe.
    pub async fn recv(&mut self) -> Result<Event, EventsError> {
        self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(lost) => EventsError::Lagged(lost),
            broadcast::error::RecvError::Closed => EventsError::Closed,
        })
    }

    /// The next event, for threads: blocks until there is one. Not inside a task.
    pub fn recv_blocking(&mut self) -> Result<Event, EventsError> {
        self.receiver.blocking_recv().map_err(|error| match error {
            broadcast::error::RecvError::Lagged(lost) => EventsError::Lagged(lost),
            broadcast::error::RecvError::Closed => EventsError::Closed,
        })
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Result<Option<Event>, EventsError> {
        match self.receiver.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Lagged(lost)) => Err(EventsError::Lagged(lost)),
            Err(broadcast::error::TryRecvError::Closed) => Err(EventsError::Closed),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("waiting", &self.receiver.len())
            .finish()
    }
}
