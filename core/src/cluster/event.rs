//! What a cluster tells its application.

use alloc::collections::VecDeque;
use core::fmt;

use super::ContextId;
use crate::channel::rpc::RpcMessageError;
use crate::channel::{ChannelEvent, MemberIndex};
use crate::java::{JavaError, JavaString};
use crate::log::{Loggable, Weight};
use crate::map::MapRefusal;
use crate::session::{EventType, MessageError, SessionId, TransferOutcome, TransferResult};
use crate::wire::DecodeError;

/// Something that happened, from [`Cluster::poll_event`](super::Cluster::poll_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// The channel said so: members, acknowledgements, bad input.
    Channel(ChannelEvent),
    /// The state of the cluster has come, or the wait for it is over: the application may serve.
    StateTransfer {
        /// The manager.
        context: ContextId,
        /// How it ended.
        outcome: TransferOutcome,
    },
    /// A member that asked for the state of this manager has got it, or the transfer ended early.
    StateGiven {
        /// The manager.
        context: ContextId,
        /// The member.
        to: MemberIndex,
        /// Sessions sent.
        sessions: usize,
        /// Whether all of it was acknowledged.
        complete: bool,
    },
    /// A session that [`access`](super::Cluster::access) found on another member only is here now, or nobody has it.
    SessionFetched {
        /// The backup manager.
        context: ContextId,
        /// The session.
        id: SessionId,
        /// Whether it is here.
        found: bool,
    },
    /// The shared attributes of an application are here.
    ContextStarted {
        /// The context.
        context: ContextId,
    },
    /// A session is here that was not.
    SessionCreated {
        /// The manager.
        context: ContextId,
        /// The session.
        id: SessionId,
        /// Whose doing.
        origin: Origin,
    },
    /// A session has ended.
    SessionExpired {
        /// The manager.
        context: ContextId,
        /// The session.
        id: SessionId,
        /// Why.
        cause: ExpiryCause,
        /// Whose doing.
        origin: Origin,
    },
    /// A session has another id.
    SessionIdChanged {
        /// The manager.
        context: ContextId,
        /// The id it had.
        old: SessionId,
        /// The id it has.
        new: SessionId,
        /// Whose doing.
        origin: Origin,
    },
    /// An attribute has changed; said only if [`ClusterConfig::attribute_events`](super::ClusterConfig) is set.
    AttributeChanged {
        /// The manager.
        context: ContextId,
        /// The session.
        id: SessionId,
        /// The attribute.
        name: JavaString,
        /// What happened to it.
        change: AttributeChange,
        /// Whose doing.
        origin: Origin,
    },
    /// The sessions here were compared with those of another node of this implementation, and something differed: after a partition,
    /// a crash or a loss.
    Reconciled {
        /// The manager.
        context: ContextId,
        /// The node.
        with: MemberIndex,
        /// Sessions that the comparison brought, changed, ended or gave another id here.
        sessions: u64,
        /// Fields changed on both sides of which the value that was here has lost.
        conflicts: u64,
    },
    /// A member sent something that cannot be used; it changed nothing. What no honest peer sends also costs the connection
    /// ([`BadInput::Refused`](crate::channel::BadInput::Refused)); the rest was acknowledged, as Tomcat does.
    Refused {
        /// The manager it was for, if that is known.
        context: Option<ContextId>,
        /// Who sent it.
        from: Option<MemberIndex>,
        /// What is wrong with it.
        reason: Refusal,
    },
    /// A member reads so slowly that its queue is full. It gets no session messages until there is room, and then
    /// all sessions.
    Lagging(MemberIndex),
    /// The clock of a member differs from ours by more than a second, or does so no longer: by so many
    /// milliseconds, positive if it is ahead. Said when it changes by more than a second.
    ClockSkew {
        /// The member.
        member: MemberIndex,
        /// How far it is ahead.
        ahead_ms: i64,
    },
}

impl Loggable for ClusterEvent {
    fn weight(&self) -> Option<Weight> {
        Some(match self {
            // The channel has said so.
            Self::Channel(_) => return None,
            Self::Refused { .. } | Self::Lagging(_) | Self::ClockSkew { .. } => Weight::Warn,
            Self::StateGiven {
                complete: false, ..
            } => Weight::Warn,
            Self::StateTransfer { outcome, .. } => match outcome.result {
                TransferResult::Incomplete | TransferResult::TimedOut => Weight::Warn,
                TransferResult::NoMembers
                | TransferResult::Complete
                | TransferResult::NoContextManager
                | TransferResult::NotAwaited => Weight::Info,
            },
            Self::StateGiven { .. } | Self::ContextStarted { .. } | Self::Reconciled { .. } => {
                Weight::Info
            }
            Self::SessionFetched { .. }
            | Self::SessionCreated { .. }
            | Self::SessionExpired { .. }
            | Self::SessionIdChanged { .. }
            | Self::AttributeChanged { .. } => Weight::Debug,
        })
    }
}

/// Whose doing something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Origin {
    /// This node's.
    Local,
    /// Another member's.
    Remote,
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ExpiryCause {
    /// It was invalidated here.
    Invalidated,
    /// Its time was over, here on its primary.
    TimedOut,
    /// It was a copy, and twice its time was over.
    CopyTimedOut,
    /// Another member said so.
    ByPeer,
    /// The application has stopped.
    Stopped,
}

/// What happened to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AttributeChange {
    /// It was not there before.
    Added,
    /// It has another value.
    Replaced,
    /// It is gone.
    Removed,
}

/// Why a message of a member was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no session message.
    Message(MessageError),
    /// There is no manager of that name.
    UnknownContext(JavaString),
    /// It claims to be a [`ReconcileMessage`](crate::session::ReconcileMessage) and is none.
    Reconcile(DecodeError),
    /// It is a message of a replicated map that cannot be used.
    Map(MapRefusal),
    /// It is no RPC message.
    Rpc(RpcMessageError),
    /// Its payload cannot be read.
    Payload(EventType, JavaError),
    /// Its session id is missing or contradicts its payload.
    BadSessionId(EventType),
    /// So many messages about sessions that are not here: they did not come in time, or there was no room to wait
    /// for them.
    NoSession(u64),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::UnknownContext(name) => write!(f, "no manager is named {name}"),
            Self::Reconcile(error) => write!(f, "a comparison that cannot be read: {error}"),
            Self::Map(reason) => reason.fmt(f),
            Self::Rpc(error) => error.fmt(f),
            Self::Payload(kind, error) => {
                write!(f, "{} with an unreadable payload: {error}", kind.name())
            }
            Self::BadSessionId(kind) => {
                write!(
                    f,
                    "{} whose session id is missing or contradicts its payload",
                    kind.name()
                )
            }
            Self::NoSession(messages) => write!(
                f,
                "{messages} about sessions that did not come in time, or found no room to wait for them"
            ),
        }
    }
}

/// Events that wait for the application: a bounded queue.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: VecDeque<ClusterEvent>,
    max: usize,
    attributes: bool,
    dropped: u64,
}

impl Events {
    pub(crate) const fn new(max: usize, attributes: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            max,
            attributes,
            dropped: 0,
        }
    }

    /// Whether the application listens to attributes.
    pub(crate) const fn wants_attributes(&self) -> bool {
        self.attributes
    }

    /// Adds an event if there is room. What can come in floods leaves half of it to the rest.
    pub(crate) fn push(&mut self, event: ClusterEvent) {
        let flood = matches!(
            event,
            ClusterEvent::Refused { .. }
                | ClusterEvent::AttributeChanged { .. }
                | ClusterEvent::SessionCreated { .. }
                | ClusterEvent::SessionExpired { .. }
                | ClusterEvent::SessionIdChanged { .. }
        );
        let max = if flood { self.max / 2 } else { self.max };
        if self.queue.len() < max {
            self.queue.push_back(event);
        } else {
            self.dropped = self.dropped.wrapping_add(1);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<ClusterEvent> {
        self.queue.pop_front()
    }

    /// Events nobody polled in time.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_room_for_what_matters() {
        let mut events = Events::new(8, false);
        for _ in 0..100 {
            let reason = Refusal::BadSessionId(EventType::SessionDelta);
            events.push(ClusterEvent::Refused {
                context: None,
                from: None,
                reason,
            });
        }
        for _ in 0..100 {
            events.push(ClusterEvent::Channel(ChannelEvent::Settled));
        }
        let kept: std::vec::Vec<_> = core::iter::from_fn(|| events.pop()).collect();
        assert_eq!(kept.len(), 8);
        assert_eq!(
            kept.iter()
                .filter(|event| matches!(event, ClusterEvent::Refused { .. }))
                .count(),
            4
        );
        assert_eq!(events.dropped(), 192);
    }
}
