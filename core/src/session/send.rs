//! What the members are told.

use alloc::vec::Vec;
use core::fmt;

use super::{DeltaManager, EventType, SessionId, SessionMessage, delta_request};
use crate::channel::{Channel, Lane, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::cluster::Events;
use crate::java::ObjectOutput;
use crate::time::Instant;

/// The time, and where events go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) unix_ms: i64,
    pub(crate) events: &'a mut Events,
}

/// Memory for messages that is kept for the next, in bytes; a larger one is an exception.
const KEPT_MAX: usize = 1 << 20;

/// Where messages go.
pub(crate) struct Out<'a> {
    pub(crate) channel: &'a mut Channel,
    /// `channelSendOptions`.
    pub(crate) options: SendOptions,
    /// Memory for the message being made, and for its payload.
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) payload: &'a mut Option<ObjectOutput>,
    /// Members whose queue was full: they get nothing until it has room again, and then the whole state.
    pub(crate) lagging: &'a mut Vec<MemberIndex>,
}

impl Out<'_> {
    /// The number that this node has in stamps.
    pub(crate) fn writer(&self) -> u64 {
        super::stamp::writer(&self.channel.local_member().unique_id)
    }

    /// Sends the message in the buffer to all members that keep up. One member that reads too slowly must not keep the
    /// others from their messages.
    fn broadcast(&mut self, now: Instant, lane: u64) -> Result<UniqueId, SendError> {
        loop {
            let lane = Lane::Ordered(lane);
            let message = self.buffer.as_slice();
            let sent = if self.lagging.is_empty() {
                self.channel
                    .send_object(now, To::All, self.options, lane, message)
            } else {
                let members = self.channel.members().map(|(member, _)| member);
                let keeping_up: Vec<_> = members
                    .filter(|member| !self.lagging.contains(member))
                    .collect();
                self.channel
                    .send_object(now, To::Members(&keeping_up), self.options, lane, message)
            };
            match sent {
                // Each turn leaves out one member more.
                Err(SendError::QueueFull(member)) if !self.lagging.contains(&member) => {
                    self.lagging.push(member)
                }
                sent => return sent,
            }
        }
    }
}

impl DeltaManager {
    /// Sends what is recorded. Before the channel has started it stays recorded.
    pub(super) fn send_delta(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        let Some(session) = self.sessions.get(id.as_modified_utf8()) else {
            return Ok(None);
        };
        let lane = session.lane;
        let stamp = session.history.next(cx.unix_ms, out.writer());
        let mut payload = out.payload.take().unwrap_or_default();
        payload.restart();
        let delta = &session.delta;
        let written =
            delta_request::write(&mut payload, id, delta.record_all_actions, &delta.actions);
        let sent = match written {
            Ok(()) => self.send(
                cx,
                out,
                EventType::SessionDelta,
                stamp.time_ms,
                lane,
                id,
                Some(payload.finished()),
            ),
            // Names and ids are checked when they are set, and values when they are made.
            Err(_) => Ok(None),
        };
        if payload.len() <= KEPT_MAX {
            *out.payload = Some(payload);
        }
        if let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) {
            session.primary = true;
            if sent != Err(SendError::NotStarted) {
                session.stamp_recorded(stamp);
                session.delta.actions.clear();
                session.last_time_replicated_ms = cx.unix_ms;
            }
        }
        sent
    }

    /// Tells all members, if there are any; `at_ms` is the time of the change's stamp.
    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    pub(super) fn announce(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        kind: EventType,
        at_ms: i64,
        lane: u64,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) -> Option<UniqueId> {
        if out.channel.member_count() == 0 {
            return None;
        }
        // Before the start there is nobody to tell either; nothing else can keep it from being queued.
        self.send(cx, out, kind, at_ms, lane, id, payload)
            .ok()
            .flatten()
    }

    /// Sends a message to all members.
    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    pub(super) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        kind: EventType,
        at_ms: i64,
        lane: u64,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) -> Result<Option<UniqueId>, SendError> {
        self.encode(out, kind, at_ms, id, payload);
        let sent = out.broadcast(cx.now, lane);
        match sent {
            Ok(id) => {
                self.count_sent(kind);
                Ok(Some(id))
            }
            // All of them lag behind: they get the whole state when they can take it.
            Err(SendError::NoMembers) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a message about a session, as Tomcat makes it.
    fn encode(
        &self,
        out: &mut Out<'_>,
        kind: EventType,
        at_ms: i64,
        id: &SessionId,
        payload: Option<&[u8]>,
    ) {
        let mut digits = Digits::default();
        let suffix = match kind {
            EventType::SessionExpired => "-EXPIRED-MSG",
            _ => digits.render(at_ms),
        };
        let id = id.as_modified_utf8();
        let mut unique = heapless::Vec::<u8, 128>::new();
        let mut long = Vec::new();
        let unique_id: &[u8] = if unique
            .extend_from_slice(id)
            .and_then(|()| unique.extend_from_slice(suffix.as_bytes()))
            .is_ok()
        {
            &unique
        } else {
            long.extend_from_slice(id);
            long.extend_from_slice(suffix.as_bytes());
            &long
        };
        let message = SessionMessage {
            session: payload,
            ..SessionMessage::new(kind, self.name.as_modified_utf8(), id, unique_id, at_ms)
        };
        if out.buffer.capacity() > KEPT_MAX {
            *out.buffer = Vec::new();
        }
        out.buffer.clear();
        message.write(out.buffer);
    }

    pub(crate) fn count_sent(&mut self, kind: EventType) {
        if self.config.enable_statistics {
            self.stats.sent.count(kind);
        }
    }
}

/// `-` and a number in decimal, without allocating.
#[derive(Default)]
struct Digits(heapless::String<24>);

impl Digits {
    fn render(&mut self, number: i64) -> &str {
        use fmt::Write as _;
        // 24 characters hold any 64-bit number with two signs.
        let _ = write!(self.0, "-{number}");
        &self.0
    }
}
