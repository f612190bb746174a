//! `SimpleTcpCluster`: a channel whose listener is the session managers.
//!
//! A [`Cluster`] owns one [`Channel`] and any number of [`DeltaManager`]s, routes each session message to the manager
//! it names, and is an [`Engine`]: a driver runs it, an application gives it commands about sessions and polls its
//! [events](ClusterEvent).

mod ahead;
mod commands;
mod config;
mod event;
mod lending;
mod listener;
mod managed;
mod maps;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;

use ahead::Ahead;
pub(crate) use ahead::{Place, place};
pub use config::{ClusterConfig, ClusterError};
pub(crate) use event::Events;
pub use event::{AttributeChange, ClusterEvent, ExpiryCause, Origin, Refusal};
use lending::Lending;
pub use listener::ClusterStats;
use listener::{ByteListener, Managers};
use managed::Managed;
pub use maps::{ReplicatedContext, ReplicatedContextConfig};

pub use crate::map::Access;

use crate::channel::{Channel, ChannelEvent, Inbound, MemberIndex, Verdict};
use crate::engine::{ConnId, Engine, Gather, Input, Output, Part, ReadAhead};
use crate::java::{JavaString, ObjectOutput};
use crate::log::logged;
use crate::session::{Cx, DeltaManager, DeltaManagerConfig, Out, SOON, Wanted, manager_name};
use crate::time::Instant;

/// Which manager of a [`Cluster`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ContextId {
    slot: u16,
    serial: u32,
}

/// A channel and the session managers above it. `SimpleTcpCluster` with one `ClusterSessionListener`.
#[derive(Debug)]
pub struct Cluster {
    channel: Channel,
    managers: Managers,
    config: ClusterConfig,
    /// Memory for the message being made, and for its payload.
    buffer: Vec<u8>,
    payload: Option<ObjectOutput>,
    /// Members whose queue was full; and how many of them the application has been told of.
    lagging: Vec<MemberIndex>,
    lagging_told: usize,
    next_background: Option<Instant>,
    /// What the pump has to do next.
    next_pump: Option<Instant>,
    lending: Lending,
}

impl Cluster {
    /// A copy in the same state, to try out on it what could happen: see [`Channel::fork`]. The copy's byte listener takes
    /// every message and does nothing with it. `None` as well for a cluster with backup managers or replicated contexts.
    pub fn fork(&self) -> Option<Self> {
        let plain = self.managers.maps.is_empty();
        plain.then_some(())?;
        Some(Self {
            channel: self.channel.fork()?,
            managers: self.managers.clone(),
            config: self.config.clone(),
            buffer: Vec::new(),
            payload: None,
            lagging: self.lagging.clone(),
            lagging_told: self.lagging_told,
            next_background: self.next_background,
            next_pump: self.next_pump,
            lending: Lending::default(),
        })
    }

    /// A cluster over a channel that has not started.
    pub fn new(channel: Channel, config: ClusterConfig) -> Self {
        Self {
            managers: Managers::new(&config),
            channel,
            buffer: Vec::new(),
            payload: None,
            lagging: Vec::new(),
            lagging_told: 0,
            next_background: None,
            next_pump: None,
            lending: Lending::default(),
            config,
        }
    }

    /// Starts the channel. State transfers begin when the members are known.
    pub fn start(&mut self, now: Instant) {
        self.channel.start(now);
        self.next_background = Some(now + self.config.background_processor_delay);
        self.pump(now);
    }

    /// Ends: the sessions of every manager expire here (and with `expire_sessions_on_shutdown` everywhere), the managers are
    /// removed, and the channel says goodbye; [`ChannelEvent::Stopped`] follows.
    pub fn stop(&mut self, now: Instant) {
        for context in self.contexts() {
            self.unregister_manager(now, context);
        }
        self.unregister_contexts(now);
        self.next_background = None;
        self.channel.stop(now);
        self.pump(now);
    }

    /// The routing key of a manager: made of `name` if it has one of its own, of the application's path otherwise.
    fn name_of(&self, name: Option<&str>, context_path: &str) -> Result<JavaString, ClusterError> {
        let path = match name {
            Some(name) => name,
            None if context_path.is_empty() || context_path.starts_with('/') => context_path,
            None => return Err(ClusterError::BadContextPath(context_path.to_string())),
        };
        let host = self
            .config
            .at_engine
            .then_some(self.config.host_name.as_str());
        Ok(JavaString::from(manager_name(host, path)))
    }

    /// Adds the manager of the web application at `context_path` (`/shop`; empty for ROOT; `/shop##2` for a version).
    /// Once the members are known, its state transfer begins; [`ClusterEvent::StateTransfer`] ends it, and until then
    /// the application should not serve.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub fn register_manager(
        &mut self,
        now: Instant,
        context_path: &str,
        config: DeltaManagerConfig,
    ) -> Result<ContextId, ClusterError> {
        config.validate().map_err(ClusterError::Config)?;
        let name = self.name_of(config.name.as_deref(), context_path)?;
        let context = self
            .managers
            .add(now, name, config, self.config.managers_max)?;
        self.pump(now);
        Ok(context)
    }

    /// Removes a manager: its sessions expire here, and with `expire_sessions_on_shutdown` everywhere. Whether there
    /// was one.
    pub fn unregister_manager(&mut self, now: Instant, context: ContextId) -> bool {
        let known = self
            .with_manager(now, context, |manager, cx, out| match manager {
                Managed::Delta(manager) => manager.expire_all(cx, out),
                Managed::Backup(manager) => manager.stop(cx, out),
            })
            .is_some();
        self.managers.remove(context);
        known
    }

    /// A manager: its sessions, counters and state.
    pub fn manager(&self, context: ContextId) -> Option<&DeltaManager> {
        self.managers.get(context)
    }

    /// All managers.
    pub fn managers(&self) -> impl Iterator<Item = &DeltaManager> {
        self.managers.iter()
    }

    /// The manager of that name on the wire (`localhost#/shop`).
    pub fn manager_named(&self, name: &str) -> Option<&DeltaManager> {
        self.managers.get(
            self.managers
                .find(JavaString::from(name).as_modified_utf8())?,
        )
    }

    /// The channel: members, counters, configuration.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The channel, for messages of the application's own. Sessions do not go this way.
    pub fn channel_mut(&mut self) -> &mut Channel {
        self.revoke();
        &mut self.channel
    }

    /// Who takes byte messages, the application's own; its verdict is the acknowledgement of those that are sent
    /// synchronously. Without a listener they are counted and acknowledged. It must not block.
    pub fn set_byte_listener(
        &mut self,
        listener: impl FnMut(&Inbound<'_>) -> Verdict + Send + 'static,
    ) {
        self.managers.byte_listener = Some(ByteListener(Box::new(listener)));
    }

    /// What is due when, by name: the channel's timers and its own, for those who debug one.
    pub fn timers(&self) -> impl Iterator<Item = (&'static str, Instant)> + use<> {
        let own = [
            ("background run", self.next_background),
            ("managers", self.next_pump),
        ];
        let own = own.into_iter().filter_map(|(name, at)| Some((name, at?)));
        self.channel.timers().chain(own)
    }

    /// What the cluster was told.
    pub const fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// What the cluster itself has counted; managers and the channel have counters of their own.
    pub fn stats(&self) -> ClusterStats {
        self.managers.stats()
    }

    /// Sets the wall clock, which goes on with `now`. Timestamps need it, deadlines do not.
    pub fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.revoke();
        self.channel.set_wall_clock(now, unix_ms);
    }

    /// Changes the options of all further session messages. `setChannelSendOptions`.
    pub const fn set_channel_send_options(&mut self, options: crate::channel::SendOptions) {
        self.config.channel_send_options = options;
    }

    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.managers.events.pop().map(logged)
    }

    /// The contexts of all managers.
    fn contexts(&self) -> Vec<ContextId> {
        let deltas = self.managers.iter().map(DeltaManager::context);
        let backups = self.managers.maps.backups();
        deltas
            .chain(backups.map(crate::session::BackupManager::context))
            .collect()
    }

    /// Runs a command of a manager, then whatever it has made necessary.
    fn with_manager<T>(
        &mut self,
        now: Instant,
        context: ContextId,
        command: impl FnOnce(Managed<'_>, &mut Cx<'_>, &mut Out<'_>) -> T,
    ) -> Option<T> {
        let unix_ms = unix_ms(&self.channel, now);
        let (manager, events) = self.managers.managed(context)?;
        let mut cx = Cx {
            now,
            unix_ms,
            events,
        };
        let mut out = Out {
            channel: &mut self.channel,
            options: self.config.channel_send_options,
            buffer: &mut self.buffer,
            payload: &mut self.payload,
            lagging: &mut self.lagging,
        };
        let result = command(manager, &mut cx, &mut out);
        let deadline = self.managers.maps.backup(context);
        let deadline = deadline.and_then(crate::session::BackupManager::deadline);
        self.managers.due = self.managers.due.into_iter().chain(deadline).min();
        self.channel_events(now);
        self.check_licences();
        Some(result)
    }

    /// Does what is due: the channel's news, state transfers, waiting messages, background runs.
    fn pump(&mut self, now: Instant) {
        self.channel_events(now);
        let background = self.next_background.is_some_and(|at| at <= now);
        if background {
            self.next_background = Some(now + self.config.background_processor_delay);
        }
        self.managers.due = None;
        let settled = self.channel.is_settled();
        let unix_ms = unix_ms(&self.channel, now);
        self.managers.reply_no_context(
            &mut self.channel,
            now,
            self.config.channel_send_options,
            &mut self.buffer,
        );
        let mut next: Option<Instant> = None;
        self.managers.for_each(|manager, events| {
            let mut cx = Cx {
                now,
                unix_ms,
                events,
            };
            let mut out = Out {
                channel: &mut self.channel,
                options: self.config.channel_send_options,
                buffer: &mut self.buffer,
                payload: &mut self.payload,
                lagging: &mut self.lagging,
            };
            if background {
                manager.background_process(&cx);
            }
            if settled && manager.is_starting() {
                manager.begin_transfer(now);
            }
            manager.pump(&mut cx, &mut out);
            next = next.into_iter().chain(manager.deadline()).min();
        });
        let Managers { maps, events, .. } = &mut self.managers;
        let mut cx = Cx {
            now,
            unix_ms,
            events,
        };
        let mut out = Out {
            channel: &mut self.channel,
            options: self.config.channel_send_options,
            buffer: &mut self.buffer,
            payload: &mut self.payload,
            lagging: &mut self.lagging,
        };
        let limits = &self.config.java_limits;
        maps.pump(&mut cx, &mut out, limits, settled, background);
        self.next_pump = next.into_iter().chain(maps.deadline()).min();
        // What the managers sent may have news of its own.
        self.channel_events(now);
        self.check_licences();
    }

    /// Passes the channel's events on, and uses those that concern the managers.
    fn channel_events(&mut self, now: Instant) {
        let unix_ms = unix_ms(&self.channel, now);
        while let Some(event) = self.channel.poll_event() {
            match &event {
                ChannelEvent::Sent { id, faulty }
                    if self.managers.data_sent(now, unix_ms, id, faulty.is_empty()) =>
                {
                    continue;
                }
                ChannelEvent::Sent { id, faulty } if self.managers.maps.sent(now, id, faulty) => {
                    self.managers.due = Some(Instant::ZERO);
                    continue;
                }
                ChannelEvent::MemberAdded(member) => {
                    if crate::session::is_older(&self.channel, *member) {
                        self.managers.older_member(now);
                    }
                    if self.channel.is_ours(*member) {
                        self.managers
                            .compare(now + SOON, *member, Wanted::EVERYTHING);
                    }
                }
                ChannelEvent::Lost { member, .. } => {
                    self.managers.compare(now + SOON, *member, Wanted::RECENT);
                }
                ChannelEvent::Sent { faulty, .. } => {
                    if !faulty.is_empty() {
                        // A map may have to give a value to somebody else.
                        self.managers.due = Some(Instant::ZERO);
                    }
                    for (member, _) in faulty {
                        self.managers.compare(now + SOON, *member, Wanted::RECENT);
                    }
                }
                ChannelEvent::MemberDisappeared(member) => {
                    self.lagging.retain(|lagging| lagging != member);
                    self.lagging_told = self.lagging.len();
                }
                ChannelEvent::QueueReady(member) if self.lagging.contains(member) => {
                    self.lagging.retain(|lagging| lagging != member);
                    self.lagging_told = self.lagging.len();
                    if self.channel.is_ours(*member) {
                        self.managers.compare(now, *member, Wanted::EVERYTHING);
                    } else {
                        self.managers.push_state(now, unix_ms, *member);
                    }
                }
                ChannelEvent::Settled => self.managers.due = Some(Instant::ZERO),
                _ => {}
            }
            self.managers.events.push(ClusterEvent::Channel(event));
        }
        self.tell_lagging();
        self.next_pump = self
            .next_pump
            .into_iter()
            .chain(self.managers.due.take())
            .min();
    }

    /// Says which members have fallen behind since the last time.
    fn tell_lagging(&mut self) {
        while let Some(member) = self.lagging.get(self.lagging_told) {
            self.managers.events.push(ClusterEvent::Lagging(*member));
            self.lagging_told = self.lagging_told.saturating_add(1);
        }
    }
}

impl Engine for Cluster {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.managers.unix_ms = unix_ms(&self.channel, now);
        self.channel.handle(now, input, &mut self.managers);
        let soonest = self
            .next_pump
            .into_iter()
            .chain(self.managers.due.take())
            .min();
        self.next_pump = soonest;
        if soonest
            .into_iter()
            .chain(self.next_background)
            .any(|at| at <= now)
        {
            self.pump(now);
        } else {
            self.channel_events(now);
            self.check_licences();
        }
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        let accepted = self.channel.accept(now, from);
        self.check_licences();
        accepted
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.channel.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Instant::first(&[
            self.channel.poll_timeout(),
            self.next_background,
            self.next_pump,
        ])
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.channel.transmit(conn, out);
    }

    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.channel.transmit_parts(conn, take);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.channel.transmitted(now, conn, len);
        self.check_licences();
    }

    fn read_ahead(&self) -> Box<dyn ReadAhead> {
        let max = self.channel.config().limits.message_bytes_max;
        Box::new(Ahead::new(max, self.config.java_limits))
    }

    fn handle_read(&mut self, now: Instant, conn: ConnId, bytes: &[u8], ahead: &mut dyn ReadAhead) {
        let ahead: &mut dyn core::any::Any = ahead;
        let Some(ahead) = ahead.downcast_mut::<Ahead>() else {
            return self.handle(now, Input::Received { conn, bytes });
        };
        mem::swap(&mut self.managers.found, &mut ahead.found);
        self.handle(now, Input::Received { conn, bytes });
        mem::swap(&mut self.managers.found, &mut ahead.found);
        ahead.found.forget();
        self.license(conn, ahead);
    }
}

/// The wall clock, as Java counts it.
fn unix_ms(channel: &Channel, now: Instant) -> i64 {
    i64::try_from(channel.unix_ms(now)).unwrap_or(i64::MAX)
}
