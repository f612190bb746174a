//! What a channel tells its owner besides messages and members.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use super::MemberIndex;
use crate::interceptor::{Refusal, ThroughputStats};
use crate::log::{Loggable, Weight};
use crate::wire::{DecodeError, UniqueId};

/// Something that happened, from [`Channel::poll_event`](super::Channel::poll_event).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// A member was verified; the listener has been told.
    MemberAdded(MemberIndex),
    /// A member is gone; the listener has been told. The index finds nothing any more.
    MemberDisappeared(MemberIndex),
    /// The time to learn the members after a start is over; said once a start.
    Settled,
    /// A message sent with USE_ACK has been answered by every destination, or given up.
    Sent {
        /// The message.
        id: UniqueId,
        /// The destinations that it may not have reached; empty if all acknowledged it.
        faulty: Vec<(MemberIndex, FaultCause)>,
    },
    /// Messages that nobody waits for (sent without USE_ACK) could not be handed to a member.
    Lost {
        /// The destination.
        member: MemberIndex,
        /// How many.
        messages: u64,
        /// Why.
        cause: FaultCause,
    },
    /// A member whose queue was full ([`SendError::QueueFull`](super::SendError::QueueFull)) has at least half of it
    /// free again.
    QueueReady(MemberIndex),
    /// A peer sent what cannot be: it lost its connection, or the datagram was dropped.
    BadInput {
        /// The peer's address.
        from: SocketAddr,
        /// What was wrong.
        reason: BadInput,
    },
    /// A `ThroughputInterceptor` has seen another `interval` messages: its counters.
    Throughput(ThroughputStats),
    /// The channel has stopped: everything was said or its time was over.
    Stopped,
}

impl Loggable for ChannelEvent {
    fn weight(&self) -> Option<Weight> {
        Some(match self {
            Self::BadInput { .. } | Self::Lost { .. } => Weight::Warn,
            Self::Sent { faulty, .. } if !faulty.is_empty() => Weight::Warn,
            Self::MemberAdded(_)
            | Self::MemberDisappeared(_)
            | Self::Settled
            | Self::Throughput(_)
            | Self::Stopped => Weight::Info,
            Self::Sent { .. } | Self::QueueReady(_) => Weight::Debug,
        })
    }
}

/// Why a destination is faulty. `ChannelException.FaultyMember`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCause {
    /// Nothing accepts connections there.
    Refused,
    /// The connection could not be established in time, or for another reason.
    Unreachable,
    /// The connection was lost before the answer, more often than `max_retry_attempts`.
    ConnectionLost,
    /// No answer within the timeout.
    TimedOut,
    /// The member received the message and its listener failed (FAIL_ACK). `RemoteProcessException`.
    RemoteProcess,
    /// The member disappeared before it answered.
    Disappeared,
    /// The channel was stopped before the answer.
    Stopped,
    /// Another destination did not acknowledge the message, so that `TwoPhaseCommitInterceptor` confirms it to none.
    NotConfirmed,
}

impl fmt::Display for FaultCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "no connection",
            Self::ConnectionLost => "connection lost before the answer",
            Self::TimedOut => "no answer in time",
            Self::RemoteProcess => "received, but processing failed there",
            Self::Disappeared => "member disappeared",
            Self::Stopped => "channel stopped",
            Self::NotConfirmed => "not confirmed, for another destination has not taken it",
        })
    }
}

/// What a peer did that it must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadInput {
    /// The bytes are not a frame, or its end is not where its length says.
    Frame(DecodeError),
    /// The frame does not hold a ChannelData.
    ChannelData(DecodeError),
    /// The sender's member block cannot be read.
    MemberBlock(DecodeError),
    /// The datagram is neither a heartbeat nor a frame.
    Datagram,
    /// A frame stayed incomplete for too long.
    SlowFrame,
    /// The peer leaves its ACKs unread.
    UnreadAcks,
    /// All incomplete frames together would need more than `limits.gather_bytes_max`.
    TooMuchIncomplete,
    /// The listener says that no honest peer sends such a message ([`Verdict::Refused`](super::Verdict::Refused)).
    Refused,
    /// The listener has no use for a member's message ([`Verdict::Unwanted`](super::Verdict::Unwanted)): the connection is wound up.
    Unwanted,
    /// A message came on a connection that its sender has given up for another.
    Superseded,
    /// A reply on one of our connections that is no ACK frame.
    Reply(DecodeError),
    /// An ACK that nothing waits for.
    UnexpectedReply,
    /// An interceptor refused a message. It depends on the reason whether the peer lost its connection.
    Interceptor(Refusal),
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "bad frame: {error}"),
            Self::ChannelData(error) => write!(f, "bad message header: {error}"),
            Self::MemberBlock(error) => write!(f, "bad member block: {error}"),
            Self::Datagram => f.write_str("datagram is neither a heartbeat nor a frame"),
            Self::SlowFrame => f.write_str("frame stayed incomplete for too long"),
            Self::UnreadAcks => f.write_str("peer leaves its ACKs unread"),
            Self::Refused => f.write_str("message that no honest peer sends"),
            Self::Unwanted => f.write_str("message of no use here: the connection is wound up"),
            Self::Superseded => f.write_str("message on a connection that its sender has replaced"),
            Self::TooMuchIncomplete => {
                f.write_str("incomplete frames exceed `limits.gather_bytes_max`")
            }
            Self::Reply(error) => write!(f, "bad reply: {error}"),
            Self::UnexpectedReply => f.write_str("ACK that nothing waits for"),
            Self::Interceptor(refusal) => refusal.fmt(f),
        }
    }
}
