//! One cluster with one application that has a `BackupManager`.

use std::net::SocketAddr;

use folkmoot_core::channel::{Channel, ChannelConfig, ChannelEvent, UniqueId};
use folkmoot_core::cluster::{Access, Cluster, ClusterConfig, ClusterEvent, ContextId};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Part};
use folkmoot_core::map::{EntryState, MapState};
use folkmoot_core::session::{BackupManager, BackupManagerConfig, SessionId};
use folkmoot_core::time::Instant;

use crate::group::observe_channel;
use crate::machine::{Boot, Machine};
use crate::record::Observed;
use crate::rules::{OnChannel, Queues};
use crate::sessions::value_text;

/// The attribute that every request writes.
pub(super) const ATTRIBUTE: &str = "k";

/// What a request does to the attribute.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Nothing: it reads.
    Nothing,
    /// Sets it.
    Set(&'a str),
    /// Removes it.
    Remove,
}

/// A node that is a cluster with one backup manager.
pub struct MapNode {
    cluster: Cluster,
    context: ContextId,
    stopping: bool,
    queue_max: usize,
    queues: Queues,
    /// What cannot be undone has happened: a message may not have reached somebody.
    pub losses: u64,
}

impl MapNode {
    /// The cluster that the configurations describe, started, with one application.
    ///
    /// # Panics
    /// If a configuration is wrong: that is the scenario's mistake.
    pub fn new(boot: &Boot, channel: ChannelConfig, manager: BackupManagerConfig) -> Self {
        let channel = ChannelConfig {
            unique_id: Some(UniqueId(boot.unique_id)),
            previous_unique_id: boot.previous_unique_id.map(UniqueId),
            ..channel
        };
        let limits = &channel.limits;
        let queue_max = limits.queue_bytes_max.max(limits.message_bytes_max);
        let channel = Channel::new(channel, boot.seed, boot.now, boot.unix_ms)
            .expect("a valid configuration");
        let mut cluster = Cluster::new(channel, ClusterConfig::default());
        let manager = BackupManagerConfig {
            jvm_route: Some(boot.node.to_string()),
            ..manager
        };
        let context = cluster
            .register_backup_manager(boot.now, "/shop", manager)
            .expect("a valid configuration");
        cluster.start(boot.now);
        Self {
            cluster,
            context,
            stopping: false,
            queue_max,
            queues: Queues::default(),
            losses: 0,
        }
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster, to command.
    pub const fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The manager; `None` once the node is stopping.
    pub fn manager(&self) -> Option<&BackupManager> {
        self.cluster.backup_manager(self.context)
    }

    /// Whether it has the state of the map and serves.
    pub fn is_ready(&self) -> bool {
        let ready = |manager: &BackupManager| manager.state() == MapState::Initialized;
        !self.stopping && self.manager().is_some_and(ready)
    }

    /// What the node is to a session; `None` if it does not know it.
    pub fn role(&self, id: &SessionId) -> Option<EntryState> {
        self.manager()?.role(id)
    }

    /// What the node's copy of a session holds, if it has one.
    pub fn value(&self, id: &SessionId) -> Option<String> {
        let session = self.manager()?.session(id)?;
        session.attribute(ATTRIBUTE).map(value_text)
    }

    /// A new session that holds `value`; `None` if none can be made.
    pub fn create(&mut self, now: Instant, value: &str) -> Option<SessionId> {
        let (cluster, context) = (&mut self.cluster, self.context);
        let id = cluster.create_session(now, context, None).ok()?;
        cluster
            .set_attribute(now, context, &id, ATTRIBUTE, value)
            .ok()?;
        cluster.request_completed(now, context, &id).ok()?;
        cluster.end_access(now, context, &id);
        Some(id)
    }

    /// A request: reads what the session holds and does something. Without the session here nothing happens: it may be on its
    /// way. If it `goes_on`, [`complete`](Self::complete) ends it.
    pub fn request(
        &mut self,
        now: Instant,
        id: &SessionId,
        change: Change<'_>,
        goes_on: bool,
    ) -> (Access, Option<String>) {
        let access = self.cluster.access(now, self.context, id);
        if access != Access::Here {
            return (access, None);
        }
        let held = self.value(id);
        let (cluster, context) = (&mut self.cluster, self.context);
        match change {
            Change::Nothing => {}
            Change::Set(value) => {
                let _ = cluster.set_attribute(now, context, id, ATTRIBUTE, value);
            }
            Change::Remove => {
                let _ = cluster.remove_attribute(now, context, id, ATTRIBUTE);
            }
        }
        if !goes_on {
            self.complete(now, id);
        }
        (access, held)
    }

    /// The end of a request.
    pub fn complete(&mut self, now: Instant, id: &SessionId) {
        let _ = self.cluster.request_completed(now, self.context, id);
        self.cluster.end_access(now, self.context, id);
    }

    /// A request in which a session gets another id; whether it was here, what it held, and the new id.
    pub fn rename(
        &mut self,
        now: Instant,
        id: &SessionId,
    ) -> (Access, Option<String>, Option<SessionId>) {
        let access = self.cluster.access(now, self.context, id);
        if access != Access::Here {
            return (access, None, None);
        }
        let held = self.value(id);
        let renamed = self
            .cluster
            .change_session_id(now, self.context, id, None)
            .ok();
        self.complete(now, renamed.as_ref().unwrap_or(id));
        (access, held, renamed)
    }

    /// Ends a session; whether it was here.
    pub fn end(&mut self, now: Instant, id: &SessionId) -> Access {
        let access = self.cluster.access(now, self.context, id);
        if access == Access::Here {
            self.cluster.end_access(now, self.context, id);
            self.cluster.expire_session(now, self.context, id);
        }
        access
    }
}

impl Engine for MapNode {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.cluster.handle(now, input);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.cluster.accept(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.cluster.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.cluster.poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.cluster.transmit(conn, out);
    }

    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.cluster.transmit_parts(conn, take);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.cluster.transmitted(now, conn, len);
    }
}

impl OnChannel for MapNode {
    fn channel(&self) -> &Channel {
        self.cluster.channel()
    }
}

impl Machine for MapNode {
    fn turn(&mut self, _now: Instant) {
        while let Some(event) = self.cluster.poll_event() {
            match event {
                ClusterEvent::Channel(ChannelEvent::Sent { faulty, .. }) => {
                    self.losses += u64::from(!faulty.is_empty());
                }
                ClusterEvent::Channel(
                    ChannelEvent::Lost { .. } | ChannelEvent::MemberDisappeared(_),
                )
                | ClusterEvent::Lagging(_)
                | ClusterEvent::Refused { .. } => self.losses += 1,
                _ => {}
            }
        }
    }

    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.cluster.set_wall_clock(now, unix_ms);
    }

    fn check(&mut self, _now: Instant) -> Option<(&'static str, String)> {
        self.queues.over(self.cluster.channel(), self.queue_max)
    }

    fn stop(&mut self, now: Instant) {
        self.stopping = true;
        self.cluster.stop(now);
    }

    fn observe(&self, seen: &mut Observed<'_>) {
        observe_channel(self.cluster.channel(), seen);
        for (name, at) in self.cluster.timers() {
            seen.timer(name, at);
        }
        let Some(manager) = self.manager() else {
            return;
        };
        seen.fact(&["node", "manager"], manager.state().name());
        for id in manager.session_ids_full() {
            let text = id.to_string();
            if let Some(role) = manager.role(&id) {
                seen.fact(
                    &["sessions", &text, "fact", "role"],
                    format_args!("{role:?}"),
                );
            }
            if let Some(value) = self.value(&id) {
                seen.fact(&["sessions", &text, "attribute", ATTRIBUTE], value);
            }
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        crate::describe::describe(bytes)
    }
}
