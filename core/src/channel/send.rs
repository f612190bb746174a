//! Sending: `GroupChannel.send`, `MessageDispatchInterceptor` and the choice of a connection.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::Bytes;

use super::life::{Phase, Timers};
use super::{Channel, MemberIndex, SendOptions, UniqueId, count};
use crate::engine::{Output, Target};
use crate::membership::table::{Entry, Style};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::transport::lane::{self, Link};
use crate::transport::sends::SendKey;
use crate::wire::Control;
use crate::wire::frame::{END, OVERHEAD};

/// A shared body up to this length is copied beside other small frames: one copy costs less than a reference count and a
/// run of its own in the write.
pub(super) const COPY_SHARED_MAX: usize = 8 * 1024;
/// A borrowed body has to be copied anyway. For several destinations it gets memory of its own from here on, so that it is
/// copied once for all of them,
const COPY_BORROWED_MAX: usize = 32 * 1024;
/// and for a single one from here on.
const COPY_BORROWED_ONCE_MAX: usize = 128 * 1024;

/// Who gets a message.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// All verified members.
    All,
    /// One member; also one that is known but not verified, such as the sender of a message.
    Member(MemberIndex),
    /// These; each once.
    Members(&'a [MemberIndex]),
}

/// Which order a message keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// That of all unacknowledged messages to a member; an acknowledged one may overtake others.
    Any,
    /// That of all messages with the same key to a member, acknowledged or not. Use a hash of what they are about, such as a
    /// session id.
    Ordered(u64),
}

/// The message itself.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Copied once while sending.
    Borrowed(&'a [u8]),
    /// Shared by all destinations; copied only if it is small.
    Shared(Bytes),
}

impl Body<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Body<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// Why nothing was sent, to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The channel is not running.
    NotStarted,
    /// There is no destination. Tribes knows no message to nobody either.
    NoMembers,
    /// This destination is gone.
    NoSuchMember(MemberIndex),
    /// This destination's queue has no room; [`ChannelEvent::QueueReady`](super::ChannelEvent::QueueReady) says when it
    /// has again.
    QueueFull(MemberIndex),
    /// The message is longer than `limits.message_bytes_max` allows.
    TooLong {
        /// Its length.
        len: usize,
        /// The longest.
        max: usize,
    },
    /// Messages as datagrams to a member's UDP port (option 32) are not sent.
    Udp,
    /// A message for the multicast group (option 64) needs multicast membership, and neither `OrderInterceptor` nor
    /// `TwoPhaseCommitInterceptor`.
    NoMulticast,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("the channel is not running; start it first"),
            Self::NoMembers => f.write_str("the message has no destination; there is no other member"),
            Self::NoSuchMember(_) => f.write_str("a destination has left the group"),
            Self::QueueFull(_) => f.write_str(
                "a destination reads too slowly and its queue is full; wait for `QueueReady` or raise `limits.queue_bytes_max`",
            ),
            Self::TooLong { len, max } => {
                write!(f, "the message has {len} bytes, more than {max}; split it or raise `limits.message_bytes_max`")
            }
            Self::Udp => f.write_str("option `udp` (32) is not supported; leave it out and the message goes by TCP"),
            Self::NoMulticast => {
                f.write_str("option `multicast` (64) needs multicast membership without OrderInterceptor or TwoPhaseCommitInterceptor; leave it out and the message goes by TCP")
            }
        }
    }
}

impl core::error::Error for SendError {}

/// One frame on its way into the lanes.
pub(super) struct Outgoing<'a> {
    pub(super) options: SendOptions,
    pub(super) timestamp_ms: u64,
    pub(super) id: UniqueId,
    pub(super) body: &'a [u8],
    /// The same body, if it is not to be copied.
    pub(super) shared: Option<Bytes>,
    pub(super) frame_len: usize,
    pub(super) send: SendKey,
}

impl Channel {
    /// Sends raw bytes: sets `BYTE_MESSAGE`. It happens to all destinations or to none.
    ///
    /// With `USE_ACK` a [`ChannelEvent::Sent`](super::ChannelEvent::Sent) with the returned id follows. `ASYNCHRONOUS` changes
    /// nothing but the word on the wire: no send waits.
    ///
    /// # Errors
    /// [`SendError`]; nothing has been sent then.
    pub fn send<'b>(
        &mut self,
        now: Instant,
        to: To<'_>,
        options: SendOptions,
        lane: Lane,
        body: impl Into<Body<'b>>,
    ) -> Result<UniqueId, SendError> {
        self.send_any(
            now,
            to,
            options.union(SendOptions::BYTE_MESSAGE),
            lane,
            body.into(),
        )
    }

    /// Sends a Java object stream (`AC ED 00 05` …): clears `BYTE_MESSAGE`. Otherwise as [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_object<'b>(
        &mut self,
        now: Instant,
        to: To<'_>,
        options: SendOptions,
        lane: Lane,
        body: impl Into<Body<'b>>,
    ) -> Result<UniqueId, SendError> {
        self.send_any(
            now,
            to,
            options.without(SendOptions::BYTE_MESSAGE),
            lane,
            body.into(),
        )
    }

    fn send_any(
        &mut self,
        now: Instant,
        to: To<'_>,
        options: SendOptions,
        lane: Lane,
        body: Body<'_>,
    ) -> Result<UniqueId, SendError> {
        if self.phase != Phase::Running {
            return Err(SendError::NotStarted);
        }
        self.dispatch(now, to, options, lane, body)
    }

    /// Sends, whether or not others still may.
    pub(super) fn dispatch(
        &mut self,
        now: Instant,
        to: To<'_>,
        options: SendOptions,
        lane: Lane,
        body: Body<'_>,
    ) -> Result<UniqueId, SendError> {
        if !self.stack.is_empty() {
            return self.send_through_layers(now, to, options, lane, body);
        }
        let len = body.as_slice().len();
        let header = self.local.template.header().len();
        let overhead = header.saturating_add(END.len());
        // What our own receiver would take: its limit is on the data of a frame.
        let data_overhead = overhead.saturating_sub(OVERHEAD);
        let max = self
            .config
            .limits
            .message_bytes_max
            .saturating_sub(data_overhead);
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        if options.contains(SendOptions::MULTICAST) {
            return self.broadcast(now, options, body.as_slice());
        }
        if options.contains(SendOptions::UDP) {
            return Err(SendError::Udp);
        }
        let frame_len = overhead.saturating_add(len);
        let mut targets = mem::take(&mut self.targets);
        let chosen = self.choose(to, frame_len, &mut targets);
        if let Err(error) = chosen {
            self.targets = targets;
            return Err(error);
        }

        let id = UniqueId::random(&mut self.rng);
        let send = match options.contains(SendOptions::USE_ACK) {
            true => self.sends.open(id, targets.len()),
            false => SendKey::NONE,
        };
        let timestamp_ms = self.clock.unix_ms(now);
        let copy_max = match targets.len() {
            1 => COPY_BORROWED_ONCE_MAX,
            _ => COPY_BORROWED_MAX,
        };
        let shared = match &body {
            Body::Shared(bytes) if len > COPY_SHARED_MAX => Some(bytes.clone()),
            Body::Borrowed(bytes) if len > copy_max => Some(Bytes::copy_from_slice(bytes)),
            _ => None,
        };
        let mut outgoing = Outgoing {
            options,
            timestamp_ms,
            id,
            body: body.as_slice(),
            shared,
            frame_len,
            send,
        };
        self.local.template.fill(options, timestamp_ms, &id, len);
        let mut header = None;
        for target in &targets {
            self.enqueue(now, *target, lane, &mut outgoing, &mut header);
        }
        self.targets = targets;
        count(&mut self.stats.messages_sent);
        Ok(id)
    }

    /// Looks up the destinations and whether each has room.
    pub(super) fn choose(
        &mut self,
        to: To<'_>,
        frame_len: usize,
        targets: &mut Vec<MemberIndex>,
    ) -> Result<(), SendError> {
        targets.clear();
        match to {
            To::All => targets.extend(self.members.verified().map(|entry| entry.index)),
            To::Member(member) => targets.push(member),
            To::Members(_) if planted(Bug::WrongDestination) => {
                targets.extend(self.members.verified().map(|entry| entry.index));
            }
            To::Members(members) => {
                for member in members {
                    if !targets.contains(member) {
                        targets.push(*member);
                    }
                }
            }
        }
        if targets.is_empty() {
            return Err(SendError::NoMembers);
        }
        for target in &*targets {
            let Some(entry) = self.members.get_mut(*target) else {
                return Err(SendError::NoSuchMember(*target));
            };
            let wanted = entry.queued.saturating_add(frame_len);
            let full = entry.queued > 0 && wanted > self.config.limits.queue_bytes_max;
            if full && !planted(Bug::QueueBoundIgnored) {
                entry.was_full = true;
                count(&mut self.stats.queue_full);
                return Err(SendError::QueueFull(*target));
            }
        }
        Ok(())
    }

    /// Puts one frame on a lane of one member. The template holds the message with `outgoing.options`, `header` a shared
    /// copy of it once there is one.
    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        target: MemberIndex,
        order: Lane,
        outgoing: &mut Outgoing<'_>,
        header: &mut Option<Bytes>,
    ) {
        let Some(entry) = self.members.get_mut(target) else {
            return;
        };
        let wanted = outgoing.options.contains(SendOptions::USE_ACK);
        let style = entry.wanted_style();
        if style != entry.style && entry.lanes.iter().all(lane::Lane::is_idle) {
            // Only now, so that no message overtakes one that still waits on another lane. One of ours takes messages from
            // the newest connection only: if there is more than one they start anew.
            entry.style = style;
            let lanes = match &mut entry.lanes[..] {
                [] => Vec::new(),
                [only] => {
                    only.pipelined = style == Style::Pipelined;
                    Vec::new()
                }
                _ => mem::take(&mut entry.lanes),
            };
            for conn in lanes.iter().filter_map(|lane| lane.link.conn()) {
                self.close_lane(conn);
            }
        }
        let Some(entry) = self.members.get_mut(target) else {
            return;
        };
        let connections = self.config.sender.connections_per_member;
        let (mut number, ack) = choose_lane(entry, order, wanted, connections);
        if planted(Bug::ResendReorders) && entry.lanes.first().is_some_and(|lane| lane.attempts > 0)
        {
            number = 1;
        }
        let pipelined = entry.style == Style::Pipelined;
        while entry.lanes.len() <= number {
            let first = entry.lanes.is_empty();
            entry.lanes.push(lane::Lane::new(first && pipelined));
        }
        let Some(lane) = entry.lanes.get_mut(number) else {
            return;
        };
        // An ACK that the caller has not asked for has to be asked for on the wire.
        let added = ack && !wanted;
        if added {
            let options = outgoing
                .options
                .union(SendOptions::USE_ACK)
                .union(SendOptions::SYNCHRONIZED_ACK);
            self.local.template.fill(
                options,
                outgoing.timestamp_ms,
                &outgoing.id,
                outgoing.body.len(),
            );
            *header = None;
        }
        match &outgoing.shared {
            Some(body) => {
                let header = header
                    .get_or_insert_with(|| Bytes::copy_from_slice(self.local.template.header()));
                lane.push_shared(now, header.clone(), body.clone(), outgoing.send, ack);
            }
            None => {
                let parts = [self.local.template.header(), outgoing.body, &END];
                lane.push_copied(
                    now,
                    &mut self.pool,
                    outgoing.frame_len,
                    parts,
                    outgoing.send,
                    ack,
                );
            }
        }
        if added {
            self.local.template.fill(
                outgoing.options,
                outgoing.timestamp_ms,
                &outgoing.id,
                outgoing.body.len(),
            );
            *header = None;
        }
        entry.queued = entry.queued.saturating_add(outgoing.frame_len);
        count(&mut self.stats.frames_queued);
        self.poke(target, number);
    }

    /// Sees to it that a lane with something to write has a connection and the driver knows.
    pub(super) fn poke(&mut self, member: MemberIndex, number: usize) {
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        let address = entry.member.socket_addr();
        let Some(lane) = entry.lanes.get_mut(number) else {
            return;
        };
        let sender = &self.config.sender;
        if let Some(deadline) = lane.deadline(sender.timeout, sender.floor_bytes_per_second)
            && !(planted(Bug::TimerLost) && lane.attempts > 0)
        {
            Timers::not_after(&mut self.timers.lanes, deadline);
        }
        match lane.link {
            Link::Open { conn, .. } => {
                if !lane.announced && lane.wants_to_write() {
                    lane.announced = true;
                    self.outputs.push_back(Output::Transmit { conn });
                }
            }
            Link::Connecting(_) => {}
            Link::Closed if lane.is_idle() => {}
            Link::Closed => {
                // Strangers without an address never get into the table.
                let Some(to) = address else { return };
                let conn = self
                    .conns
                    .insert(Conn::Lane(member, u8::try_from(number).unwrap_or(u8::MAX)));
                lane.link = Link::Connecting(conn);
                count(&mut self.stats.connects);
                self.outputs.push_back(Output::Connect { conn, to });
            }
        }
    }

    /// Sends a message of the channel's own, without ACK.
    pub(super) fn send_control(&mut self, now: Instant, member: MemberIndex, control: Control) {
        let body = control.message();
        let id = UniqueId::random(&mut self.rng);
        let timestamp_ms = self.clock.unix_ms(now);
        let options = SendOptions::from_bits(0);
        self.local
            .template
            .fill(options, timestamp_ms, &id, body.len());
        let overhead = self.local.template.header().len().saturating_add(END.len());
        let mut outgoing = Outgoing {
            options,
            timestamp_ms,
            id,
            body,
            shared: None,
            frame_len: overhead.saturating_add(body.len()),
            send: SendKey::NONE,
        };
        self.enqueue(now, member, Lane::Any, &mut outgoing, &mut None);
    }

    /// A frame of ours around a message.
    pub(super) fn frame(
        &mut self,
        now: Instant,
        options: SendOptions,
        message: &[u8],
    ) -> (UniqueId, Vec<u8>) {
        let id = UniqueId::random(&mut self.rng);
        let timestamp_ms = self.clock.unix_ms(now);
        self.local
            .template
            .fill(options, timestamp_ms, &id, message.len());
        (id, [self.local.template.header(), message, &END].concat())
    }

    /// `SEND_OPTIONS_MULTICAST`: one datagram to everybody in the group, unacknowledged.
    fn broadcast(
        &mut self,
        now: Instant,
        options: SendOptions,
        message: &[u8],
    ) -> Result<UniqueId, SendError> {
        if !matches!(
            self.config.membership,
            super::MembershipConfig::Multicast(_)
        ) {
            return Err(SendError::NoMulticast);
        }
        self.check_datagram(message.len())?;
        let (id, frame) = self.frame(now, options, message);
        self.datagram(Target::Group, &frame);
        self.broadcast_done(id, options);
        Ok(id)
    }

    /// Whether a message of `len` bytes fits into a datagram.
    pub(super) fn check_datagram(&self, len: usize) -> Result<(), SendError> {
        const DATAGRAM_MAX: usize = 65_507;
        let overhead = self.local.template.header().len().saturating_add(END.len());
        let max = DATAGRAM_MAX.saturating_sub(overhead);
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        Ok(())
    }

    /// A message has left for the group.
    pub(super) fn broadcast_done(&mut self, id: UniqueId, options: SendOptions) {
        count(&mut self.stats.messages_sent);
        if options.contains(SendOptions::USE_ACK) {
            // Nothing will be answered: what can be known is known now.
            self.event(super::ChannelEvent::Sent {
                id,
                faulty: Vec::new(),
            });
        }
    }
}

/// Which lane of `entry` a message takes, and whether its ACK is waited for.
fn choose_lane(entry: &Entry, order: Lane, wanted: bool, connections: usize) -> (usize, bool) {
    match order {
        _ if entry.style == Style::Pipelined => (0, wanted),
        _ if entry.style == Style::Unknown => (0, wanted || order != Lane::Any),
        // Multiplied by 2⁶⁴/φ: keys that differ in a few bits spread over the lanes.
        Lane::Ordered(key) => {
            let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let number = spread.checked_rem(connections as u64).unwrap_or(0);
            (usize::try_from(number).unwrap_or(0).saturating_add(1), true)
        }
        Lane::Any if !wanted => (0, false),
        Lane::Any => {
            let lanes = entry.lanes.iter().enumerate().skip(1);
            let idle = |(_, lane): &(usize, &lane::Lane)| lane.is_idle();
            let open = |(_, lane): &(usize, &lane::Lane)| matches!(lane.link, Link::Open { .. });
            let number = lanes
                .clone()
                .find(|lane| idle(lane) && open(lane))
                .or_else(|| lanes.clone().find(idle))
                .map(|(number, _)| number)
                .or_else(|| (entry.lanes.len() <= connections).then(|| entry.lanes.len().max(1)))
                .or_else(|| {
                    lanes
                        .min_by_key(|(_, lane)| (lane.frames(), lane.queued()))
                        .map(|(number, _)| number)
                });
            (number.unwrap_or(1), true)
        }
    }
}
