//! Who receives: `ChannelListener` and `MembershipListener` in one.

use super::Member;
use crate::time::Instant;
use crate::wire::SendOptions;

/// Where a member stands in the channel's table, as long as it is known; afterwards it finds nothing, even when
/// the place has been given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl MemberIndex {
    /// The place in the table: smaller than `limits.members_max + limits.candidates_max`, reused.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Takes messages and membership changes at the moment they happen.
///
/// `ChannelListener.messageReceived` and `MembershipListener.memberAdded`/`memberDisappeared`.
pub trait ChannelListener {
    /// A message arrived. With `SYNCHRONIZED_ACK` the verdict becomes ACK or FAIL_ACK; otherwise the sender does
    /// not hear of it.
    fn message_received(&mut self, now: Instant, message: &Inbound<'_>) -> Verdict;

    /// A verified member is there. Default: nothing.
    fn member_added(&mut self, now: Instant, index: MemberIndex, member: &Member) {
        let _ = (now, index, member);
    }

    /// A member is gone. Default: nothing.
    fn member_disappeared(&mut self, now: Instant, index: MemberIndex, member: &Member) {
        let _ = (now, index, member);
    }
}

/// Ignores everything: for a channel that only sends.
impl ChannelListener for () {
    fn message_received(&mut self, _now: Instant, _message: &Inbound<'_>) -> Verdict {
        Verdict::Processed
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or deliberately ignored: ACK.
    Processed,
    /// Well-formed, from a member, and of no use here: ACK. Then the connection is wound up without a loss, unless members
    /// are [trusted](super::ReceiverConfig::trust_members): our direction ends, and what the member has under way without an ACK
    /// is still taken, until it ends its own; what wants an ACK it repeats on another connection.
    Unwanted,
    /// The listener could not process it (Tomcat: an exception): FAIL_ACK. A Tomcat will send it once more.
    Failed,
    /// No honest peer sends such a message: its sender loses the connection, or the datagram is dropped, without an answer.
    Refused,
}

/// A received message, borrowed for the call.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Who sent it. Replies can be sent there even when the member has not been verified yet and is not among
    /// [`Channel::members`](super::Channel::members). `None` if the table has no room or it came from ourselves.
    pub from: Option<MemberIndex>,
    /// Whether the sender is one of [`Channel::members`](super::Channel::members): others are forgiven less.
    pub is_member: bool,
    /// The sender as its message describes it (alive time as of its last heartbeat).
    pub sender: &'a Member,
    /// As sent, unknown bits included. Without `BYTE_MESSAGE` the message is a Java object stream.
    pub options: SendOptions,
    /// Milliseconds since the Unix epoch, sender's clock.
    pub timestamp_ms: u64,
    /// The message's id; 16 bytes from every known sender.
    pub unique_id: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}
