//! `StaticMembershipService`: members that the configuration names tell each other by RPC that they are there.
//!
//! Who is a member is decided by TCP checks, as with all static members; what is said here spares the others the waiting: a
//! Tomcat drops whom it has not heard of for `expirationTime`. Nobody waits for an answer, so no call is kept.

use alloc::vec::Vec;

use bytes::Bytes;

use super::rpc::{RpcKind, RpcMessage};
use super::{Channel, Lane, Member, MemberIndex, SendOptions, To, UniqueId};
use crate::java::Limits;
use crate::membership::{MemberMessage, MemberMessageType};
use crate::time::Instant;
use crate::wire::member::SHUTDOWN;

/// What the name of a membership, which is its rpc id too, has behind the channel's name.
const SUFFIX: &[u8] = b"-StaticMembership";
/// Channel names that are likely as long as none is configured and nobody has been heard: `SimpleTcpCluster` takes that of
/// its engine or host; a bare channel has none, which Java writes so.
const LIKELY: [&str; 4] = [
    "Catalina-Channel",
    "Tomcat-Channel",
    "localhost-Channel",
    "null",
];
/// Where in the stream of a call the rpc id is.
const RPC_ID_WITHIN: usize = 512;
/// How deep and large a call may be.
const LIMITS: Limits = Limits {
    depth: 16,
    objects: 128,
    ..Limits::DEFAULT
};

/// The service at work.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// The name of the membership.
    id: Bytes,
    /// Whether it was configured; else others know it.
    named: bool,
    /// Whether it is that of somebody.
    heard: bool,
}

impl Service {
    /// The service of a channel with this name.
    pub(super) fn new(channel_name: Option<&str>) -> Self {
        let [likely, ..] = LIKELY;
        Self {
            id: membership_id(channel_name.unwrap_or(likely)),
            named: channel_name.is_some(),
            heard: channel_name.is_some(),
        }
    }

    /// Whether a name is that of our membership.
    fn takes(&self, id: &[u8]) -> bool {
        match self.named {
            true => self.id == id,
            false => id.ends_with(SUFFIX),
        }
    }
}

/// ISO-8859-1, as `String.getBytes` has it: what is not in it becomes a question mark.
fn membership_id(channel_name: &str) -> Bytes {
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    let name = channel_name.chars().map(byte);
    name.chain(SUFFIX.iter().copied()).collect()
}

impl Channel {
    /// Tells a static member that we are there, and asks it to say the same.
    pub(super) fn service_call(
        &mut self,
        now: Instant,
        member: MemberIndex,
        kind: MemberMessageType,
    ) {
        let Some(service) = &self.service else {
            return;
        };
        let mut ids = Vec::from([service.id.clone()]);
        if !service.heard && kind == MemberMessageType::Start {
            // Whoever does not know one of them says so, and nothing else comes of it.
            ids.extend(LIKELY.iter().skip(1).map(|name| membership_id(name)));
        }
        for id in ids {
            let call = RpcMessage {
                kind: RpcKind::Request,
                uuid: UniqueId::random(&mut self.rng),
                message: self.member_message(&id, kind).encode(),
                rpc_id: id,
            };
            self.service_send(now, member, SendOptions::ASYNCHRONOUS, &call);
        }
    }

    fn service_send(
        &mut self,
        now: Instant,
        member: MemberIndex,
        options: SendOptions,
        message: &RpcMessage,
    ) {
        if let Ok(stream) = message.encode() {
            // A queue that is full says often enough that we are there.
            let _ = self.send_object(now, To::Member(member), options, Lane::Any, stream);
        }
    }

    /// The round of pings.
    pub(super) fn service_ping(&mut self, now: Instant) {
        if self.service.is_none() {
            return;
        }
        self.local.refresh(now, &self.clock);
        let members: Vec<_> = self.members.verified().map(|entry| entry.index).collect();
        for member in members {
            self.service_call(now, member, MemberMessageType::Ping);
        }
    }

    /// Says goodbye, without RPC.
    pub(super) fn service_stop(&mut self, now: Instant) {
        let Some(service) = &self.service else {
            return;
        };
        let mut message = self.member_message(&service.id, MemberMessageType::Stop);
        message.member.command = SHUTDOWN.to_vec();
        let stop = message.encode();
        let body = stop.as_bytes().into();
        // Nobody left to tell is no error.
        let _ = self.dispatch(now, To::All, SendOptions::ASYNCHRONOUS, Lane::Any, body);
    }

    fn member_message(&self, id: &Bytes, kind: MemberMessageType) -> MemberMessage {
        MemberMessage {
            kind,
            member: self.local.member.clone(),
            membership_id: id.clone(),
        }
    }

    /// Whether a message was the service's own.
    pub(super) fn service_message(
        &mut self,
        now: Instant,
        from: Option<MemberIndex>,
        options: SendOptions,
        stream: &[u8],
    ) -> bool {
        let Some(service) = &self.service else {
            return false;
        };
        if options.contains(SendOptions::BYTE_MESSAGE) {
            return false;
        }
        if MemberMessage::is_member_message(stream) {
            let message = MemberMessage::read(stream);
            let message = message.filter(|message| service.takes(&message.membership_id));
            if let Some(message) = &message {
                self.service_news(now, from, message);
            }
            return message.is_some();
        }
        // A large call of somebody else need not be read twice.
        let head = stream.get(..RPC_ID_WITHIN).unwrap_or(stream);
        let for_us = |head: &[u8]| head.windows(SUFFIX.len()).any(|window| window == SUFFIX);
        if !RpcMessage::is_rpc(stream) || !for_us(head) {
            return false;
        }
        let Ok(call) = RpcMessage::read(stream, &LIMITS) else {
            return false;
        };
        if !service.takes(&call.rpc_id) {
            return false;
        }
        let message = MemberMessage::read(call.message.as_bytes());
        let message = message.filter(|message| message.membership_id == call.rpc_id);
        if let (Some(message), Some(from)) = (message, from) {
            self.service_news(now, Some(from), &message);
            if call.kind == RpcKind::Request {
                self.local.refresh(now, &self.clock);
                let answer = self.member_message(&call.rpc_id, message.kind);
                let answer = RpcMessage {
                    kind: RpcKind::Reply,
                    message: answer.encode(),
                    ..call
                };
                self.service_send(now, from, SendOptions::NONE, &answer);
            }
        }
        true
    }

    /// A member says something of itself; of another it has nothing to say.
    fn service_news(&mut self, now: Instant, from: Option<MemberIndex>, message: &MemberMessage) {
        let wall_ms = i64::try_from(self.clock.unix_ms(now)).unwrap_or(i64::MAX);
        let entry = from.and_then(|from| self.members.get_mut(from));
        let Some(entry) = entry.filter(|entry| is_of(entry.fixed, &entry.member, message)) else {
            return;
        };
        let started = wall_ms.saturating_sub(message.member.alive_ms);
        entry.member.alive_ms = message.member.alive_ms;
        let moved = entry.started_ms.abs_diff(started) > 2000;
        if moved {
            entry.started_ms = started;
        }
        // Ours take any name, so what they say may only be the likeliest.
        let learns = !entry.ours;
        if moved && entry.is_verified() {
            self.members.sort();
        }
        if let Some(service) = &mut self.service
            && !service.named
            && (learns || !service.heard)
        {
            service.heard = true;
            service.id.clone_from(&message.membership_id);
        }
        match message.kind {
            MemberMessageType::Start | MemberMessageType::Ping => self.static_started(now, from),
            MemberMessageType::Stop => self.static_stopped(now, from),
        }
    }
}

/// Whether a configured member speaks of itself.
fn is_of(fixed: bool, member: &Member, message: &MemberMessage) -> bool {
    fixed && *member == message.member
}
