//! One cluster with one web application.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use folkmoot_core::channel::{Channel, ChannelConfig, ChannelEvent, SendError, UniqueId};
use folkmoot_core::cluster::{
    Cluster, ClusterConfig, ClusterEvent, ContextId, ExpiryCause, Refusal,
};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Part};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::session::{
    DeltaManager, DeltaManagerConfig, DeltaSession, EventType, ManagerState, SessionId,
};
use folkmoot_core::time::Instant;

use super::readers::{ReaderConfig, Readers, leaves_bytes};
use crate::group::{node_of, observe_channel};
use crate::machine::{Boot, Machine, NodeId};
use crate::record::Observed;
use crate::rules::{OnChannel, Queues};

/// Events a node keeps for a scenario to look at.
const EVENTS_KEPT: usize = 10_000;

/// A node that is a cluster with one web application.
pub struct SessionNode {
    cluster: Cluster,
    context: ContextId,
    /// What has been heard from the cluster, the oldest first.
    pub events: VecDeque<ClusterEvent>,
    /// What became of acknowledged messages: the destinations that may not have them.
    pub settled: BTreeMap<UniqueId, Vec<u16>>,
    /// Sessions that ended here and must not come back.
    ended: BTreeSet<SessionId>,
    /// Ids that sessions gave up here.
    given_up: BTreeSet<SessionId>,
    /// Those of them that are here again: who knows the clients says whether one has got its own back.
    pub(super) back: Vec<SessionId>,
    /// Whether somebody says anything: what comes back may have been said anew.
    pub(crate) has_liar: bool,
    /// Whether there are Tomcats.
    pub(crate) has_tomcats: bool,
    /// What cannot be undone has happened: a message may not have reached somebody.
    pub losses: u64,
    /// How often a member was left out because its queue was full.
    pub lags: u64,
    broken: Option<(&'static str, String)>,
    queue_max: usize,
    queues: Queues,
    stopping: bool,
    /// When the application is deployed, if it is not yet.
    late: Option<(Instant, DeltaManagerConfig)>,
    readers: Option<Readers>,
    /// What the engine wanted while it was handed the last bytes of a connection that has ended.
    wanted: VecDeque<Output>,
}

impl SessionNode {
    /// The cluster that the configurations describe, started, with one application.
    ///
    /// # Panics
    /// If a configuration is wrong: that is the scenario's mistake.
    pub fn new(
        boot: &Boot,
        channel: ChannelConfig,
        cluster: ClusterConfig,
        manager: DeltaManagerConfig,
    ) -> Self {
        let queue_max = channel
            .limits
            .queue_bytes_max
            .max(channel.limits.message_bytes_max);
        let channel = Channel::new(channel, boot.seed, boot.now, boot.unix_ms)
            .expect("a valid configuration");
        let mut cluster = Cluster::new(channel, cluster);
        let context = cluster
            .register_manager(boot.now, "/shop", manager)
            .expect("a valid configuration");
        cluster.start(boot.now);
        Self {
            cluster,
            context,
            events: VecDeque::new(),
            settled: BTreeMap::new(),
            ended: BTreeSet::new(),
            given_up: BTreeSet::new(),
            back: Vec::new(),
            has_liar: false,
            has_tomcats: false,
            losses: 0,
            lags: 0,
            broken: None,
            queue_max,
            queues: Queues::default(),
            stopping: false,
            late: None,
            readers: None,
            wanted: VecDeque::new(),
        }
    }

    /// The node reads with threads of its own.
    #[must_use]
    pub fn with_readers(mut self, boot: &Boot, config: ReaderConfig) -> Self {
        self.readers = Some(Readers::new(config, &self.cluster, boot.seed));
        self
    }

    /// The application is deployed only at `at`: until then the node is a member without it.
    ///
    /// # Panics
    /// If the node has no application.
    #[must_use]
    pub fn without_application_until(mut self, now: Instant, at: Instant) -> Self {
        let manager = self.cluster.manager(self.context).expect("an application");
        self.late = Some((at, manager.config().clone()));
        self.cluster.unregister_manager(now, self.context);
        self
    }

    fn deploy(&mut self, now: Instant) {
        if let Some((_, config)) = self.late.take_if(|(at, _)| *at <= now && !self.stopping) {
            let registered = self.cluster.register_manager(now, "/shop", config);
            self.context = registered.expect("it was registered before");
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

    /// The application.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// The manager; `None` once the node is stopping.
    pub fn manager(&self) -> Option<&DeltaManager> {
        self.cluster.manager(self.context)
    }

    /// Whether it has the state of the cluster and serves.
    pub fn is_ready(&self) -> bool {
        !self.stopping
            && self
                .manager()
                .is_some_and(|manager| manager.state() == ManagerState::Ready)
    }

    /// The nodes it counts as members, in order of their addresses.
    pub fn members(&self) -> Vec<NodeId> {
        let members = self.cluster.channel().members();
        let mut nodes: Vec<NodeId> = members.filter_map(|(_, member)| node_of(member)).collect();
        nodes.sort();
        nodes
    }

    /// Where a message to all goes just now: the slots of the members, and which nodes they are.
    pub fn destinations(&self) -> Vec<(u16, NodeId)> {
        let members = self.cluster.channel().members();
        members
            .filter_map(|(index, member)| Some((index.slot() as u16, node_of(member)?)))
            .collect()
    }

    /// One request: joins the session if it is there, runs what the application does, and replicates. `None` if there is no
    /// such session; otherwise what the application returned, and the id of the message that went out.
    pub fn request<R>(
        &mut self,
        now: Instant,
        id: &SessionId,
        application: impl FnOnce(&mut Cluster, ContextId) -> R,
    ) -> Option<(R, Result<Option<UniqueId>, SendError>)> {
        if !self.cluster.access_session(now, self.context, id) {
            return None;
        }
        let result = application(&mut self.cluster, self.context);
        let sent = self.cluster.request_completed(now, self.context, id);
        self.cluster.end_access(now, self.context, id);
        Some((result, sent))
    }

    fn take_note(&mut self, event: &ClusterEvent) {
        match event {
            ClusterEvent::Channel(ChannelEvent::Sent { id, faulty }) => {
                self.losses += u64::from(!faulty.is_empty());
                let slots = faulty.iter().map(|(member, _)| member.slot() as u16);
                self.settled.insert(*id, slots.collect());
            }
            ClusterEvent::Channel(
                ChannelEvent::Lost { .. } | ChannelEvent::MemberDisappeared(_),
            ) => self.losses += 1,
            // A Tomcat that was cut off goes on about sessions of its own that it made meanwhile.
            ClusterEvent::Refused {
                reason: Refusal::NoSession(_),
                ..
            } if self.has_tomcats => {}
            ClusterEvent::Refused { .. } => self.losses += 1,
            ClusterEvent::Lagging(_) => {
                self.losses += 1;
                self.lags += 1;
            }
            ClusterEvent::SessionExpired { id, cause, .. }
                if *cause != ExpiryCause::CopyTimedOut =>
            {
                self.ended.insert(id.clone());
            }
            ClusterEvent::SessionIdChanged { old, new, .. } => {
                self.given_up.insert(old.clone());
                // A session may get back an id that it had.
                self.given_up.remove(new);
            }
            ClusterEvent::SessionCreated { id, origin, .. } if !self.has_liar => {
                if self.given_up.remove(id) {
                    self.back.push(id.clone());
                }
                if self.ended.contains(id) {
                    let what = format!("{id} is here again ({origin:?})");
                    self.broken.get_or_insert((NEVER_BACK, what));
                }
            }
            _ => {}
        }
    }

    /// All sessions, with everything that every node has to have in the end.
    pub fn replicas(&self) -> BTreeMap<String, Replica> {
        let sessions = self.manager().into_iter().flat_map(DeltaManager::sessions);
        sessions
            .map(|session| (session.id().to_string(), Replica::of(session)))
            .collect()
    }

    /// All sessions with their attributes as text, in order: for comparing nodes.
    pub fn contents(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let sessions = self.manager().into_iter().flat_map(DeltaManager::sessions);
        sessions
            .map(|session| (session.id().to_string(), attributes(session)))
            .collect()
    }
}

/// What ended, or was given up, and is here again, breaks this rule.
pub(super) const NEVER_BACK: &str = "a session that has ended never comes back";

/// A session as far as all nodes have to agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Names and values, as bytes.
    pub attributes: BTreeMap<String, JavaBytes>,
    /// When it was created.
    pub creation_time_ms: i64,
    /// Its timeout.
    pub max_inactive_interval: i32,
    /// The user.
    pub principal: Option<JavaBytes>,
    /// How the user was authenticated.
    pub auth_type: Option<String>,
    /// Replicated listeners, in no particular order.
    pub listeners: BTreeSet<Vec<u8>>,
}

impl Replica {
    fn of(session: &DeltaSession) -> Self {
        let attributes = session.attributes();
        Self {
            attributes: attributes
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.clone()))
                .collect(),
            creation_time_ms: session.creation_time_ms(),
            max_inactive_interval: session.max_inactive_interval(),
            principal: session.principal().cloned(),
            auth_type: session
                .auth_type()
                .map(|name| name.to_string_lossy().into_owned()),
            listeners: session
                .listeners()
                .iter()
                .map(|l| l.as_bytes().to_vec())
                .collect(),
        }
    }
}

fn attributes(session: &DeltaSession) -> BTreeMap<String, String> {
    let attributes = session.attributes();
    attributes
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value_text(value)))
        .collect()
}

fn observe_session(session: &DeltaSession, seen: &mut Observed<'_>) {
    let id = session.id().to_string();
    let mut fact = |name: &str, value: &dyn std::fmt::Display| {
        seen.fact(&["sessions", &id, "fact", name], value);
    };
    fact("primary", &session.is_primary());
    fact("created", &session.creation_time_ms());
    fact("last used", &session.this_accessed_time_ms());
    fact("times out after", &session.max_inactive_interval());
    if session.access_count() > 0 {
        fact("requests", &session.access_count());
    }
    if session.is_dirty() {
        fact("changes not sent", &true);
    }
    for (name, value) in session.attributes() {
        let name = name.to_string_lossy();
        let path = ["sessions", &id, "attribute", &name];
        match value.as_string() {
            Some(text) => seen.fact(&path, text.to_string_lossy()),
            None => seen.fact(&path, format_args!("{value:?}")),
        }
    }
}

/// A manager's state, with the donor's name.
struct StateText<'a>(ManagerState, &'a SessionNode);

impl std::fmt::Display for StateText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ManagerState::Starting => f.write_str("starting"),
            ManagerState::Ready => f.write_str("ready"),
            ManagerState::Transferring(donor) => {
                let donor = self.1.cluster.channel().member(donor).and_then(node_of);
                match donor {
                    Some(donor) => write!(f, "state comes from {donor}"),
                    None => f.write_str("state comes from a member that is gone"),
                }
            }
        }
    }
}

/// An attribute as text.
pub fn value_text(value: &JavaBytes) -> String {
    match value.as_string() {
        Some(text) => text.to_string_lossy().into_owned(),
        None => format!("{value:?}"),
    }
}

impl SessionNode {
    /// What happens goes to the readers first, if there are any.
    fn handle_by_readers(&mut self, now: Instant, input: Input<'_>) {
        let Some(readers) = &mut self.readers else {
            return self.cluster.handle(now, input);
        };
        match input {
            Input::Received { conn, bytes } if readers.received(conn, bytes) => {}
            Input::Closed { conn, reason } => {
                match leaves_bytes(reason) {
                    true => readers.ended(now, &mut self.cluster, conn),
                    false => readers.closed(conn),
                }
                // What it answers to the last bytes reaches nobody; and what it has closed itself by then has no end to be told of.
                let mut lives = true;
                while let Some(output) = self.cluster.poll_output() {
                    match output {
                        Output::Close { conn: of } | Output::Abort { conn: of } if of == conn => {
                            lives = false;
                        }
                        Output::Transmit { conn: of }
                        | Output::PauseRead { conn: of }
                        | Output::ResumeRead { conn: of }
                        | Output::HalfClose { conn: of }
                            if of == conn => {}
                        other => self.wanted.push_back(other),
                    }
                }
                if lives {
                    self.cluster.handle(now, input);
                }
            }
            _ => self.cluster.handle(now, input),
        }
        readers.run(now, &mut self.cluster);
    }
}

impl Engine for SessionNode {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.handle_by_readers(now, input);
        self.deploy(now);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        let conn = self.cluster.accept(now, from)?;
        if let Some(readers) = &mut self.readers {
            readers.accepted(conn);
        }
        Some(conn)
    }

    fn poll_output(&mut self) -> Option<Output> {
        let wanted = self.wanted.pop_front();
        let output = wanted.or_else(|| self.cluster.poll_output());
        if let (Some(readers), Some(Output::Close { conn } | Output::Abort { conn })) =
            (&mut self.readers, output)
        {
            readers.closed(conn);
        }
        output
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let late = self.late.iter().filter(|_| !self.stopping);
        let late = late.map(|(at, _)| *at);
        let held = self.readers.as_ref().and_then(Readers::due);
        let own = late.chain(held);
        self.cluster.poll_timeout().into_iter().chain(own).min()
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

impl OnChannel for SessionNode {
    fn channel(&self) -> &Channel {
        self.cluster.channel()
    }
}

impl Machine for SessionNode {
    fn turn(&mut self, _now: Instant) {
        while let Some(event) = self.cluster.poll_event() {
            self.take_note(&event);
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.cluster.set_wall_clock(now, unix_ms);
    }

    fn check(&mut self, _now: Instant) -> Option<(&'static str, String)> {
        if let Some(broken) = self.broken.take() {
            return Some(broken);
        }
        let over = self.queues.over(self.cluster.channel(), self.queue_max);
        if over.is_some() {
            return over;
        }
        let manager = self.cluster.manager(self.context)?;
        let limits = &manager.config().limits;
        let (held, early) = (manager.received_queue_size(), manager.early_messages());
        if held > limits.held_messages_max || early > limits.early_messages_max {
            let what = format!("{held} messages held, {early} early");
            return Some(("no queue over its bound", what));
        }
        None
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
        seen.fact(&["node", "manager"], StateText(manager.state(), self));
        let count = |name, count: usize| (name, count as u64);
        for (name, count) in [
            count("messages held for the state", manager.received_queue_size()),
            count("early messages", manager.early_messages()),
        ] {
            seen.count(&["queues", name], count);
        }
        for session in manager.sessions() {
            observe_session(session, seen);
        }
        let stats = manager.stats();
        for kind in EventType::ALL {
            let (received, sent) = (stats.received.get(kind), stats.sent.get(kind));
            seen.count(
                &["counters", &format!("{} received", kind.name())],
                received,
            );
            seen.count(&["counters", &format!("{} sent", kind.name())], sent);
        }
        for (name, count) in [
            ("early messages applied", stats.early_applied),
            ("early messages dropped", stats.early_dropped),
            ("late messages dropped", stats.late_dropped),
            ("messages contained in a state", stats.contained_dropped),
            ("changes merged", stats.merged),
            ("states given", stats.transfers_given),
            ("sessions timed out", stats.expired_sessions),
        ] {
            seen.count(&["counters", name], count);
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        crate::describe::describe(bytes)
    }
}
