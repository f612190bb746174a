//! What a cluster member tells its owner, and counts.

use super::MemberIndex;
use crate::log::{Loggable, Weight};
use crate::session::EventType;
use crate::time::Instant;
use crate::wire::{DecodeError, SendOptions, UniqueId};

/// Something that happened, from [`Cluster::poll_event`](super::Cluster::poll_event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A member was verified.
    MemberAdded(MemberIndex),
    /// A member is gone; the index finds nothing any more.
    MemberDisappeared(MemberIndex),
    /// The time to learn the members after a start is over.
    Settled,
    /// A message sent with USE_ACK was acknowledged.
    Acknowledged(MemberIndex, UniqueId),
    /// A message did not reach a member, or failed there.
    Faulty(MemberIndex, UniqueId, FaultCause),
    /// The state transfer has ended; sessions that came.
    StateTransfer(TransferResult, usize),
    /// A member was given all sessions, or not.
    StateGiven {
        /// Who.
        to: MemberIndex,
        /// Whether all of them.
        complete: bool,
    },
    /// A peer sent what cannot be.
    BadInput(BadInput),
    /// A session message was refused; its sender got a FAIL_ACK if it wanted an answer.
    Refused(Option<EventType>, Refusal),
    /// Everything was said, the member has stopped.
    Stopped,
}

impl Loggable for Event {
    fn weight(&self) -> Option<Weight> {
        Some(match self {
            Self::BadInput(_) | Self::Refused(..) | Self::Faulty(..) => Weight::Warn,
            Self::StateGiven {
                complete: false, ..
            } => Weight::Warn,
            Self::StateTransfer(result, _) => match result {
                TransferResult::Incomplete | TransferResult::TimedOut => Weight::Warn,
                TransferResult::NoMembers
                | TransferResult::Complete
                | TransferResult::NoContextManager => Weight::Info,
            },
            Self::MemberAdded(_)
            | Self::MemberDisappeared(_)
            | Self::Settled
            | Self::StateGiven { .. }
            | Self::Stopped => Weight::Info,
            Self::Acknowledged(..) => Weight::Debug,
        })
    }
}

/// Why a destination is faulty. `ChannelException.FaultyMember`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FaultCause {
    /// Nothing accepts connections there, or it could not be reached.
    Unreachable,
    /// The connection was lost before the answer, more often than `max_retry_attempts`.
    ConnectionLost,
    /// No answer within the timeout.
    TimedOut,
    /// The member received the message and its listener failed (FAIL_ACK). `RemoteProcessException`.
    RemoteProcess,
    /// The member disappeared before it answered, or we were stopped.
    Disappeared,
}

/// What a peer did that it must not do; it lost its connection, or the datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BadInput {
    /// The bytes are no frame, or it is longer than `MESSAGE`.
    Frame(DecodeError),
    /// The frame holds no ChannelData.
    ChannelData(DecodeError),
    /// The member block cannot be read.
    MemberBlock(DecodeError),
    /// The datagram is neither a heartbeat nor frames.
    Datagram,
    /// A frame stayed incomplete for too long.
    SlowFrame,
    /// The peer leaves its ACKs unread.
    UnreadAcks,
    /// A reply on one of our connections that is no ACK, or one that nothing waits for.
    Reply,
}

/// Why a session message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// It is no session message, or its payload cannot be read or has more objects or classes than fit.
    Unreadable,
    /// Its session id is missing, too long for a session, or not that of its payload.
    BadSessionId,
    /// There is no room for another session.
    TooManySessions,
    /// The session would need more than `SESSION` bytes; it stays as it was.
    SessionTooLarge,
    /// There is no room for it to wait.
    NoRoomToWait,
    /// Its session did not come in time.
    NoSession,
}

/// What became of a state transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransferResult {
    /// There are no other members: nothing to get.
    NoMembers,
    /// The state is here.
    Complete,
    /// No member has such an application.
    NoContextManager,
    /// The donors failed, or not everything could be used; what could be is here.
    Incomplete,
    /// `state_transfer_timeout` is over; what came is here.
    TimedOut,
}

/// What became of a message of the application's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// It has been processed: ACK.
    Processed,
    /// It could not be, or there is no room for it: FAIL_ACK, if an answer is wanted.
    Failed,
}

/// A message of the application's own.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inbound<'a> {
    /// Who sent it, if there was room to remember it.
    pub from: Option<MemberIndex>,
    /// How it was sent.
    pub options: SendOptions,
    /// Its name.
    pub unique_id: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

/// Takes messages of the application's own. `ChannelListener`.
pub trait Listener {
    /// Borrowed for the call only.
    fn message_received(&mut self, now: Instant, message: &Inbound<'_>) -> Verdict;
}

/// Nobody takes them.
impl Listener for () {
    fn message_received(&mut self, _: Instant, _: &Inbound<'_>) -> Verdict {
        Verdict::Processed
    }
}

/// Counters since the cluster member was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Heartbeats sent.
    pub heartbeats_sent: u32,
    /// Heartbeats received from others.
    pub heartbeats_received: u32,
    /// Messages received, checks and notices of the channel left out.
    pub messages_received: u32,
    /// Messages queued, once for each destination.
    pub messages_sent: u32,
    /// ACKs sent.
    pub acks_sent: u32,
    /// FAIL_ACKs sent.
    pub fail_acks_sent: u32,
    /// ACKs and FAIL_ACKs received.
    pub acks_received: u32,
    /// TCP checks begun.
    pub probes_sent: u32,
    /// TCP checks that failed.
    pub probes_failed: u32,
    /// Messages written again on a new connection.
    pub resends: u32,
    /// Messages given up.
    pub faults: u32,
    /// Peers that lost a connection, or a datagram, because of what they sent.
    pub bad_input: u32,
    /// Connections refused because `CONNECTIONS` are in use.
    pub accepts_refused: u32,
    /// Nodes not remembered because `MEMBERS` are known.
    pub candidates_dropped: u32,
    /// Datagrams not sent because `CONNECTIONS` are in use.
    pub datagrams_dropped: u32,
    /// Times that a member was left out because its `QUEUE` was full; it gets the whole state later.
    pub lagging: u32,
    /// Session messages applied.
    pub session_messages: u32,
    /// Session messages refused, for any [`Refusal`].
    pub refused: u32,
    /// Messages about sessions that had ended or been renamed before, ignored.
    pub late_dropped: u32,
    /// Values in a state transfer whose writer had failed, skipped.
    pub values_skipped: u32,
    /// Sessions that timed out here.
    pub expired_sessions: u32,
    /// State transfers given completely.
    pub transfers_given: u32,
    /// State transfers to others that ended early.
    pub transfers_broken: u32,
    /// Events nobody polled in time.
    pub events_dropped: u32,
}
