//! Questions and answers over a channel: `RpcChannel`.
//!
//! An [`RpcChannel`] keeps the calls of one rpc id: it makes requests, matches what comes back with them and tells when a call
//! is over. It neither owns nor hears the [`Channel`]: whoever does hands it the RPC messages that arrive
//! ([`receive`](RpcChannel::receive)), members that are gone and answers to its sends, and lets it work
//! ([`pump`](RpcChannel::pump)) when the time has come. Any number of them share a channel.

mod message;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

pub use message::{RpcKind, RpcMessage, RpcMessageError, byte_message, read_byte_message};

use super::{Channel, Lane, MemberIndex, SendError, SendOptions, To, UniqueId, count};
use crate::java::JavaBytes;
use crate::time::Instant;

/// When a call is over. `RpcChannel.FIRST_REPLY`, `MAJORITY_REPLY`, `ALL_REPLY`, `NO_REPLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcOption {
    /// With the first reply.
    FirstReply,
    /// With replies of at least half of the destinations that have such an RPC channel.
    MajorityReply,
    /// With replies of all destinations that have such an RPC channel.
    AllReply,
    /// At once.
    NoReply,
}

/// Names a call among those of its [`RpcChannel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(UniqueId);

/// A request that waits to be answered, by [`RpcChannel::reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcRequest {
    /// Who asks.
    pub from: MemberIndex,
    uuid: UniqueId,
}

/// What a message is to an [`RpcChannel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Somebody asks. `RpcCallback.replyRequest`: answer with [`RpcChannel::reply`] or let the caller's patience end.
    Request(RpcRequest),
    /// An answer to this call.
    Reply(CallId),
    /// The member has no such RPC channel: one answer less to this call.
    NoChannel(CallId),
    /// An answer to a call that is over, or that this member was not asked or has answered before. `RpcCallback.leftOver`.
    LeftOver,
    /// It is for another RPC channel, or from nobody that could be answered.
    NotOurs,
}

/// Bounds and options of an [`RpcChannel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// Options of replies. `replyMessageOptions`, default 0: neither acknowledged nor repeated.
    pub reply_message_options: SendOptions,
    /// Calls under way. Default 4096.
    pub calls_max: usize,
    /// Replies that wait for [`RpcChannel::pump`]. Default 4096; what comes on top is dropped, and its caller's
    /// patience ends.
    pub replies_max: usize,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            reply_message_options: SendOptions::from_bits(0),
            calls_max: 4096,
            replies_max: 4096,
        }
    }
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcError {
    /// The channel says so.
    Send(SendError),
    /// So many calls are under way.
    TooManyCalls(usize),
    /// The message cannot be written.
    Message,
}

impl core::fmt::Display for RpcError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Send(error) => error.fmt(f),
            Self::TooManyCalls(max) => write!(
                f,
                "{max} calls are under way; wait for replies or raise `calls_max`"
            ),
            Self::Message => f.write_str("the request is no readable Java value"),
        }
    }
}

impl core::error::Error for RpcError {}

/// What an [`RpcChannel`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcStats {
    /// Calls made.
    pub calls: u64,
    /// Requests received.
    pub requests: u64,
    /// Replies received in time.
    pub replies: u64,
    /// Replies received too late, or twice.
    pub left_over: u64,
    /// Calls whose time was over before they had their replies.
    pub timeouts: u64,
    /// Replies that could not be sent.
    pub replies_dropped: u64,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    id: CallId,
    /// The message that carried it.
    sent: UniqueId,
    option: RpcOption,
    /// Destinations that have such an RPC channel, as far as is known.
    expected: usize,
    replies: usize,
    /// Destinations that may still answer.
    waiting: Vec<MemberIndex>,
    deadline: Instant,
}

impl Call {
    fn is_over(&self) -> bool {
        self.waiting.is_empty()
            || match self.option {
                RpcOption::FirstReply => self.replies >= 1,
                // Half is enough.
                RpcOption::MajorityReply => {
                    self.replies >= 1 && self.replies.saturating_mul(2) >= self.expected
                }
                RpcOption::AllReply => self.replies >= self.expected,
                RpcOption::NoReply => true,
            }
    }
}

/// The calls of one rpc id. See the [module](self).
#[derive(Debug)]
pub struct RpcChannel {
    rpc_id: Bytes,
    config: RpcConfig,
    calls: Vec<Call>,
    done: VecDeque<CallId>,
    outbox: VecDeque<(MemberIndex, RpcMessage)>,
    stats: RpcStats,
}

impl RpcChannel {
    /// The calls of `rpc_id`, which must be the same on all members.
    pub fn new(rpc_id: impl Into<Bytes>, config: RpcConfig) -> Self {
        Self {
            rpc_id: rpc_id.into(),
            config,
            calls: Vec::new(),
            done: VecDeque::new(),
            outbox: VecDeque::new(),
            stats: RpcStats::default(),
        }
    }

    /// The rpc id.
    pub const fn rpc_id(&self) -> &Bytes {
        &self.rpc_id
    }

    /// What has been counted.
    pub const fn stats(&self) -> &RpcStats {
        &self.stats
    }

    /// Calls under way.
    pub const fn calls_open(&self) -> usize {
        self.calls.len()
    }

    /// Asks members. Replies come by [`receive`](Self::receive), the end of the call by [`poll_done`](Self::poll_done): when
    /// `option` is content, when nobody is left who could answer, or after `timeout`. `None` if there is nothing to wait
    /// for: nobody was asked or no reply is wanted. `SYNCHRONIZED_ACK` is removed from `options`.
    ///
    /// `RpcChannel.send`.
    ///
    /// # Errors
    /// [`RpcError`]; nobody has been asked then.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parameters of RpcChannel.send"
    )]
    pub fn send(
        &mut self,
        now: Instant,
        channel: &mut Channel,
        to: &[MemberIndex],
        message: JavaBytes,
        option: RpcOption,
        options: SendOptions,
        timeout: Duration,
    ) -> Result<Option<CallId>, RpcError> {
        if to.is_empty() {
            return Ok(None);
        }
        if self.calls.len() >= self.config.calls_max {
            return Err(RpcError::TooManyCalls(self.config.calls_max));
        }
        let uuid = UniqueId::random(channel.rng());
        let request = RpcMessage {
            kind: RpcKind::Request,
            uuid,
            rpc_id: self.rpc_id.clone(),
            message,
        };
        let body = request.encode().map_err(|_| RpcError::Message)?;
        let options = options.without(SendOptions::SYNCHRONIZED_ACK);
        let sent = channel
            .send_object(now, To::Members(to), options, Lane::Any, body)
            .map_err(RpcError::Send)?;
        count(&mut self.stats.calls);
        if option == RpcOption::NoReply {
            return Ok(None);
        }
        let mut waiting = to.to_vec();
        waiting.sort_unstable();
        waiting.dedup();
        self.calls.push(Call {
            id: CallId(uuid),
            sent,
            option,
            expected: waiting.len(),
            replies: 0,
            waiting,
            deadline: now + timeout,
        });
        Ok(Some(CallId(uuid)))
    }

    /// What an RPC message from `from` means; its [`message`](RpcMessage::message) is what was asked or answered.
    pub fn receive(&mut self, from: Option<MemberIndex>, message: &RpcMessage) -> Arrival {
        let Some(from) = from.filter(|_| message.rpc_id == self.rpc_id) else {
            return Arrival::NotOurs;
        };
        if message.kind == RpcKind::Request {
            count(&mut self.stats.requests);
            let uuid = message.uuid;
            return Arrival::Request(RpcRequest { from, uuid });
        }
        let id = CallId(message.uuid);
        let asked = self.calls.iter_mut().find_map(|call| {
            let waits = || call.waiting.iter().position(|member| *member == from);
            let at = (call.id == id).then(waits)??;
            Some((call, at))
        });
        let Some((call, at)) = asked else {
            count(&mut self.stats.left_over);
            return Arrival::LeftOver;
        };
        call.waiting.swap_remove(at);
        let arrival = if message.kind == RpcKind::NoChannel {
            call.expected = call.expected.saturating_sub(1);
            Arrival::NoChannel(id)
        } else {
            call.replies = call.replies.saturating_add(1);
            count(&mut self.stats.replies);
            Arrival::Reply(id)
        };
        self.sweep();
        arrival
    }

    /// Answers a request. The reply leaves with [`pump`](Self::pump).
    pub fn reply(&mut self, to: RpcRequest, message: JavaBytes) {
        if self.outbox.len() >= self.config.replies_max {
            count(&mut self.stats.replies_dropped);
            return;
        }
        let reply = RpcMessage {
            kind: RpcKind::Reply,
            uuid: to.uuid,
            rpc_id: self.rpc_id.clone(),
            message,
        };
        self.outbox.push_back((to.from, reply));
    }

    /// Answers a request as a member does that has no RPC channel of this id.
    pub fn refuse(&mut self, to: RpcRequest) {
        self.reply(to, JavaBytes::NULL);
        if let Some((_, reply)) = self
            .outbox
            .back_mut()
            .filter(|(_, last)| last.uuid == to.uuid)
        {
            reply.kind = RpcKind::NoChannel;
        }
    }

    /// A member is gone: it answers no more.
    pub fn member_disappeared(&mut self, member: MemberIndex) {
        self.outbox.retain(|(to, _)| *to != member);
        for call in &mut self.calls {
            call.waiting.retain(|waiting| *waiting != member);
        }
        self.sweep();
    }

    /// A message sent with USE_ACK has been answered: who did not get a request does not reply. Whether it was one of this
    /// channel's. Pass it the fields of [`ChannelEvent::Sent`](super::ChannelEvent::Sent).
    pub fn sent<T>(&mut self, id: &UniqueId, faulty: &[(MemberIndex, T)]) -> bool {
        let Some(call) = self.calls.iter_mut().find(|call| call.sent == *id) else {
            return false;
        };
        call.waiting
            .retain(|waiting| faulty.iter().all(|(member, _)| member != waiting));
        self.sweep();
        true
    }

    /// Ends a call without waiting any longer; its replies are left over.
    pub fn cancel(&mut self, call: CallId) {
        self.calls.retain(|open| open.id != call);
        self.done.retain(|done| *done != call);
    }

    /// Sends the replies that wait, and ends the calls whose time is over.
    pub fn pump(&mut self, now: Instant, channel: &mut Channel) {
        let options = self
            .config
            .reply_message_options
            .without(SendOptions::SYNCHRONIZED_ACK);
        while let Some((to, reply)) = self.outbox.pop_front() {
            let sent = reply
                .encode()
                .map(|body| channel.send_object(now, To::Member(to), options, Lane::Any, body));
            if !matches!(sent, Ok(Ok(_))) {
                count(&mut self.stats.replies_dropped);
            }
        }
        for call in &mut self.calls {
            if call.deadline <= now {
                count(&mut self.stats.timeouts);
                call.waiting.clear();
            }
        }
        self.sweep();
    }

    /// When [`pump`](Self::pump) has something to do, or [`poll_done`](Self::poll_done) to tell; a time in the past for at
    /// once.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.outbox.is_empty() || !self.done.is_empty() {
            return Some(Instant::ZERO);
        }
        self.calls.iter().map(|call| call.deadline).min()
    }

    /// The next call that is over, until `None`.
    pub fn poll_done(&mut self) -> Option<CallId> {
        self.done.pop_front()
    }

    /// Takes the calls that are over.
    fn sweep(&mut self) {
        let done = &mut self.done;
        self.calls.retain(|call| {
            let over = call.is_over();
            if over {
                done.push_back(call.id);
            }
            !over
        });
    }
}
