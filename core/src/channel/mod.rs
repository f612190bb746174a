//! Group communication: Tribes' `GroupChannel` with `ChannelCoordinator`, `MessageDispatchInterceptor`,
//! `TcpFailureDetector`, `StaticMembershipInterceptor` and `TcpPingInterceptor`, as one state machine.
//!
//! A [`Channel`] finds the other members, verifies them by TCP, sends messages to them and hands received ones to a
//! [`ChannelListener`]. It is driven through the boundary of [`engine`](crate::engine); [`ChannelEngine`] joins a channel
//! and its listener to an [`Engine`](crate::engine::Engine) for those who need nothing above it.
//!
//! What an accepted message promises depends on its [`SendOptions`] and on who receives it:
//!
//! | options | towards a Tomcat | towards one of ours |
//! |---|---|---|
//! | without USE_ACK, [`Lane::Any`] | one connection, in order of sending, done when written | one connection for everything, in order of sending |
//! | with USE_ACK, [`Lane::Any`] | an idle one of `connections_per_member`, one message each at a time | the same connection, many at a time |
//! | [`Lane::Ordered`] | always the same of them, the next after the ACK of the one before (2 and 4 are added on the wire) | the same connection |
//!
//! A Tomcat re-arms reading before it delivers, so it may process two messages of one connection side by side and answer
//! them in either order: hence one at a time. Our own receiver answers in order; nodes of this implementation know each
//! other by [`MARKER`].

mod checks;
mod config;
mod engine;
mod event;
mod inspect;
mod layers;
mod life;
mod links;
mod listener;
mod plain;
mod receive;
pub mod rpc;
mod send;
mod service;
mod stats;
mod watch;
mod windup;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub use config::{
    ChannelConfig, ConfigError, FailureDetectorConfig, Limits, MembershipConfig, MulticastConfig,
    ReceiverConfig, SenderConfig, StaticConfig, StaticServiceConfig,
};
pub use engine::ChannelEngine;
pub use event::{BadInput, ChannelEvent, FaultCause};
pub use inspect::Kept;
pub use listener::{ChannelListener, Inbound, MemberIndex, Verdict};
pub(crate) use plain::Plain;
pub use send::{Body, Lane, SendError, To};
pub use stats::{BadInputStats, ChannelStats};

use crate::engine::Output;
use crate::interceptor::stack::Stack;
use crate::log::logged;
pub use crate::membership::StaticMember;
use crate::membership::goodbyes::Goodbyes;
use crate::membership::local::Local;
use crate::membership::table::Table;
use crate::rng::{Rng, Seed};
use crate::time::{Instant, WallClock};
use crate::transport::bytequeue::ChunkPool;
use crate::transport::conns::Conns;
use crate::transport::sends::Sends;
use crate::transport::{MARKER, is_ours};
pub use crate::wire::{Member, SendOptions, UniqueId};

use layers::Commit;
use life::{Phase, Timers};
use service::Service;

/// Goodbyes remembered at once.
const GOODBYES_MAX: usize = 64;

/// A member of a group. See the [module](self).
///
/// `handle*` and commands mutate, `poll_*` drain, everything else looks. After each call that takes `&mut self` drain
/// [`poll_output`](Self::poll_output).
#[derive(Debug)]
pub struct Channel {
    config: ChannelConfig,
    phase: Phase,
    rng: Rng,
    clock: WallClock,
    local: Local,
    members: Table,
    conns: Conns,
    pool: ChunkPool,
    sends: Sends,
    /// The interceptors; nearly always none.
    stack: Stack,
    /// Domains that somebody must have to be one of us.
    domains: Vec<Vec<u8>>,
    service: Option<Service>,
    /// Messages that are to be confirmed when all have them.
    commits: Vec<Commit>,
    outputs: VecDeque<Output>,
    events: VecDeque<ChannelEvent>,
    /// Membership changes that the listener has not been told.
    news: VecDeque<News>,
    goodbyes: Goodbyes<GOODBYES_MAX>,
    timers: Timers,
    stats: ChannelStats,
    /// Connections that peers have opened.
    receivers: usize,
    /// Bytes of their incomplete frames, and of what waits for the end of an earlier one.
    gathered: usize,
    /// Whether one has ended that others may have waited for.
    wound_up: bool,
    /// TCP checks under way.
    checks: usize,
    /// Datagrams the driver has not sent yet.
    datagrams: usize,
    /// Destinations of the send under way; kept for its memory.
    targets: Vec<MemberIndex>,
    settled: bool,
    /// When the time to learn the members is over at the latest.
    settle_by: Instant,
}

/// A membership change on its way to the listener.
#[derive(Clone, Debug)]
enum News {
    Added(MemberIndex),
    Gone(MemberIndex, Member),
}

impl Channel {
    /// A channel that has not started. `unix_ms` is the wall clock at `now`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// What in `config` cannot work.
    pub fn new(
        config: ChannelConfig,
        seed: Seed,
        now: Instant,
        unix_ms: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let stack = config.stack()?;
        let mut rng = Rng::new(seed);
        let unique_id = config
            .unique_id
            .unwrap_or_else(|| UniqueId::random(&mut rng));
        let mut member = Member::new(config.address, unique_id);
        member.secure_port = config.secure_port;
        member.udp_port = config.udp_port;
        member.domain = config.domain.clone();
        member.payload = config.payload.clone();
        if config.sender.pipelining {
            member.payload.extend_from_slice(&MARKER);
        }
        Ok(Self {
            members: Table::new(config.limits.members_max, config.limits.candidates_max),
            phase: Phase::Idle,
            rng,
            clock: WallClock::new(now, unix_ms),
            local: Local::new(member),
            conns: Conns::default(),
            pool: ChunkPool::default(),
            sends: Sends::default(),
            stack,
            domains: config.domains(),
            service: config.service(),
            commits: Vec::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            news: VecDeque::new(),
            goodbyes: Goodbyes::new(),
            timers: Timers::default(),
            stats: ChannelStats::default(),
            receivers: 0,
            gathered: 0,
            wound_up: false,
            checks: 0,
            datagrams: 0,
            targets: Vec::new(),
            settled: false,
            settle_by: now,
            config,
        })
    }

    /// Sets the wall clock, which goes on with `now`. It is read for timestamps only; no deadline depends on it.
    pub const fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.clock = WallClock::new(now, unix_ms);
    }

    /// Milliseconds since the Unix epoch at `now`.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        self.clock.unix_ms(now)
    }

    /// What the channel was made with.
    pub const fn config(&self) -> &ChannelConfig {
        &self.config
    }

    /// The generator of the channel, for ids of layers above it.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The verified members, oldest first, without the local one.
    pub fn members(&self) -> impl Iterator<Item = (MemberIndex, &Member)> {
        self.members
            .verified()
            .map(|entry| (entry.index, &entry.member))
    }

    /// How many verified members there are.
    pub fn member_count(&self) -> usize {
        self.members.verified_len()
    }

    /// A member, verified or not, that is still known.
    pub fn member(&self, index: MemberIndex) -> Option<&Member> {
        self.members.get(index).map(|entry| &entry.member)
    }

    /// Whether a member is verified.
    pub fn is_member(&self, index: MemberIndex) -> bool {
        self.members
            .get(index)
            .is_some_and(|entry| entry.is_verified())
    }

    /// Whether a member is a node of this implementation.
    pub fn is_ours(&self, index: MemberIndex) -> bool {
        self.members.get(index).is_some_and(|entry| entry.ours)
    }

    /// Whether a member may be a node of this implementation: a configured one of which nothing has been heard tells its payload only
    /// with its first message.
    pub(crate) fn may_be_ours(&self, index: MemberIndex) -> bool {
        let entry = self.members.get(index);
        entry.is_some_and(|entry| entry.ours || (self.config.sender.pipelining && !entry.seen))
    }

    /// The verified or heard-of member that equals `member`: host, port and unique id.
    pub fn find(&self, member: &Member) -> Option<MemberIndex> {
        self.members
            .find(&member.host, member.port, &member.unique_id)
    }

    /// Ourselves, as others see us; the alive time is that of the last heartbeat.
    pub const fn local_member(&self) -> &Member {
        &self.local.member
    }

    /// What has been counted.
    pub const fn stats(&self) -> &ChannelStats {
        &self.stats
    }

    /// Bytes queued to a member, sent and not yet acknowledged ones included.
    pub fn queue_bytes(&self, index: MemberIndex) -> usize {
        self.members.get(index).map_or(0, |entry| entry.queued)
    }

    /// Acknowledged messages whose [`ChannelEvent::Sent`] is still to come.
    pub fn sends_open(&self) -> usize {
        self.sends.len()
    }

    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        self.events.pop_front().map(logged)
    }

    /// Whether somebody of this domain is none of us. `DomainFilterInterceptor`.
    fn other_domain(&self, domain: &[u8]) -> bool {
        self.domains.iter().any(|ours| ours != domain)
    }

    fn event(&mut self, event: ChannelEvent) {
        push_event(
            &mut self.events,
            &mut self.stats,
            self.config.limits.events_max,
            event,
        );
    }

    /// Counts what a peer did wrong and says so.
    fn bad_input(&mut self, from: core::net::SocketAddr, reason: BadInput) {
        let bad = &mut self.stats.bad;
        let counter = match reason {
            BadInput::Frame(_) => &mut bad.frame,
            BadInput::ChannelData(_) => &mut bad.channel_data,
            BadInput::MemberBlock(_) => &mut bad.member_block,
            BadInput::Datagram => &mut bad.datagram,
            BadInput::SlowFrame => &mut bad.slow_frame,
            BadInput::UnreadAcks => &mut bad.unread_acks,
            BadInput::TooMuchIncomplete => &mut bad.too_much_incomplete,
            BadInput::Refused => &mut bad.refused,
            BadInput::Unwanted => &mut bad.unwanted,
            BadInput::Superseded => &mut bad.superseded,
            BadInput::Reply(_) | BadInput::UnexpectedReply => &mut bad.reply,
            BadInput::Interceptor(_) => &mut bad.interceptor,
        };
        *counter = counter.wrapping_add(1);
        // A flood of bad input must not push out what else is to be told.
        if self.events.len() < self.config.limits.events_max / 2 {
            self.event(ChannelEvent::BadInput { from, reason });
        }
    }
}

/// Keeps an event if there is room.
fn push_event(
    events: &mut VecDeque<ChannelEvent>,
    stats: &mut ChannelStats,
    max: usize,
    event: ChannelEvent,
) {
    if events.len() >= max {
        stats.events_dropped = stats.events_dropped.wrapping_add(1);
        return;
    }
    events.push_back(event);
}

/// One more.
const fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}
