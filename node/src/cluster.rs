//! The handle that programs hold.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use folkmoot_core::channel::{Channel, ChannelStats, Inbound, Lane, MemberIndex, To, Verdict};
pub(crate) use folkmoot_core::cluster::Cluster as Engine;
use folkmoot_core::cluster::{ClusterConfig, ClusterStats, ReplicatedContextConfig};
use folkmoot_core::session::{BackupManagerConfig, DeltaManagerConfig};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{AckPolicy, Member, SendOptions, UniqueId};
use folkmoot_mio::{DriverStats, Handle};

use crate::backup_manager::BackupManager;
use crate::builder::{ClusterBuilder, Plan};
use crate::delivery::Delivery;
use crate::delta_manager::DeltaManager;
use crate::error::{ConfigError, ContextError, StartError};
use crate::event::Events;
use crate::incarnation::{self, Incarnation};
use crate::messages::Messages;
use crate::notices::Notices;
use crate::replicated_context::ReplicatedContext;

/// A running cluster node. Clones are handles to the same one, for any thread and any task.
///
/// Commands take a lock for as long as they need to change memory and to hand bytes to the kernel; none of them waits
/// for a peer. What has to be waited for is a future that can also be waited for by blocking: [`Delivery`],
/// [`DeltaManager::ready`].
///
/// When the last handle is dropped, managers and layers included, the node says goodbye and stops;
/// [`shutdown`](Self::shutdown) does so at once and waits.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

/// What all handles share.
pub(crate) struct Inner {
    pub(crate) handle: Handle<Engine>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) send_options: SendOptions,
    jvm_route: Option<String>,
    receiver: SocketAddr,
    stop_timeout: Duration,
    incarnation: Mutex<Option<Incarnation>>,
    stopped: AtomicBool,
    stopping: Mutex<()>,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// All members.
    All,
    /// These; ones that are gone make the send fail.
    Members(&'a [Member]),
}

/// Why a message was not sent, to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// This member is not in the cluster (any more).
    NoSuchMember(Box<Member>),
    /// The channel refused.
    Channel(folkmoot_core::channel::SendError),
    /// The cluster has been shut down.
    Stopped,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMember(member) => write!(f, "{member} is not a member (any more)"),
            Self::Channel(error) => error.fmt(f),
            Self::Stopped => f.write_str("the cluster has been shut down"),
        }
    }
}

impl std::error::Error for SendError {}

impl Cluster {
    /// A cluster to configure, with Tomcat's defaults.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(crate) fn start(builder: ClusterBuilder, plan: Plan) -> Result<Self, StartError> {
        let Plan {
            driver,
            send_options,
            mut channel,
        } = plan;
        let bound = folkmoot_mio::bind(driver)?;
        let receiver = bound.receiver_addr();
        channel.address = receiver;
        let mut seed = [0; 32];
        let mut id = [0; 16];
        for bytes in [&mut seed[..], &mut id[..]] {
            getrandom::fill(bytes).map_err(|error| StartError::Random(error.to_string()))?;
        }
        let id = builder.fixed_unique_id().unwrap_or(UniqueId(id));
        channel.unique_id = Some(id);
        let (incarnation, previous) = begin_incarnation(&builder, receiver, id)?;
        channel.previous_unique_id = previous;

        let now = bound.now();
        let stop_timeout = channel.stop_timeout;
        let channel = Channel::new(channel, seed, now, unix_ms()).map_err(ConfigError::from)?;
        let mut config = ClusterConfig::default();
        config.host_name.clone_from(&builder.host_name);
        config.at_engine = builder.at_engine;
        config.channel_send_options = send_options;
        config.background_processor_delay = builder.background_processor_delay;
        let engine = Engine::new(channel, config);
        let notices = Arc::new(Notices::new(builder.events_max));
        let (drained, told) = (Arc::clone(&notices), Arc::clone(&notices));
        let handle = folkmoot_uring::spawn_with(
            bound,
            builder.driver,
            engine,
            move |engine: &mut Engine, now: Instant| drained.drain(engine, now),
            move || told.deliveries.tell(),
        )?;
        handle.with(|engine, now| engine.start(now));
        tracing::info!(%receiver, unique_id = %id, "cluster node started");
        Ok(Self {
            inner: Arc::new(Inner {
                handle,
                notices,
                send_options,
                jvm_route: builder.jvm_route,
                receiver,
                stop_timeout,
                incarnation: Mutex::new(incarnation),
                stopped: AtomicBool::new(false),
                stopping: Mutex::new(()),
            }),
        })
    }

    /// Where this node's receiver listens.
    pub fn receiver_address(&self) -> SocketAddr {
        self.inner.receiver
    }

    /// What this node's session ids end with.
    pub fn jvm_route(&self) -> Option<&str> {
        self.inner.jvm_route.as_deref()
    }

    /// How session messages are sent.
    pub fn channel_send_options(&self) -> SendOptions {
        self.inner.send_options
    }

    /// The other members, the oldest first.
    pub fn members(&self) -> Vec<Member> {
        self.inner.handle.inspect(|engine| {
            engine
                .channel()
                .members()
                .map(|(_, member)| member.clone())
                .collect()
        })
    }

    /// This node, as the others know it.
    pub fn local_member(&self) -> Member {
        self.inner
            .handle
            .inspect(|engine| engine.channel().local_member().clone())
    }

    /// Counters of the channel: messages, bytes, acknowledgements, refused input.
    pub fn stats(&self) -> ChannelStats {
        self.inner
            .handle
            .inspect(|engine| *engine.channel().stats())
    }

    /// Counters of the session messages that came, and of those that no manager took.
    pub fn session_message_stats(&self) -> ClusterStats {
        self.inner.handle.inspect(|engine| engine.stats())
    }

    /// Counters of the driver: system calls, bytes, connections.
    pub fn driver_stats(&self) -> DriverStats {
        self.inner.handle.driver_stats()
    }

    /// Events from now on.
    pub fn subscribe(&self) -> Events {
        self.inner.notices.subscribe()
    }

    /// The session manager of the web application at `context_path` (`""` or `/` for the root), with Tomcat's
    /// defaults. It asks the cluster for the application's sessions at once; see [`DeltaManager::ready`].
    ///
    /// # Errors
    ///
    /// The path is none, there is a manager for it already, or the cluster has been shut down.
    pub fn delta_manager(&self, context_path: &str) -> Result<DeltaManager, ContextError> {
        self.delta_manager_with(context_path, DeltaManagerConfig::default())
    }

    /// As [`delta_manager`](Self::delta_manager), with settings of its own. The node's route is used where the settings
    /// name none.
    pub fn delta_manager_with(
        &self,
        context_path: &str,
        mut config: DeltaManagerConfig,
    ) -> Result<DeltaManager, ContextError> {
        let path = self.checked_path(context_path)?;
        config
            .validate()
            .map_err(|error| ContextError::OutOfRange(error.name, error.wanted))?;
        if config.jvm_route.is_none() {
            config.jvm_route.clone_from(&self.inner.jvm_route);
        }
        // Requests under way follow their session through changes of its id that others make.
        config.notify_session_listeners_on_replication = true;
        DeltaManager::register(self, path, config)
    }

    /// The backup manager of the web application at `context_path`, with Tomcat's defaults: as
    /// [`delta_manager`](Self::delta_manager), but each session is on two members only.
    ///
    /// # Errors
    ///
    /// As for [`delta_manager`](Self::delta_manager).
    pub fn backup_manager(&self, context_path: &str) -> Result<BackupManager, ContextError> {
        self.backup_manager_with(context_path, BackupManagerConfig::default())
    }

    /// As [`backup_manager`](Self::backup_manager), with settings of its own. The node's route is used where the settings
    /// name none.
    pub fn backup_manager_with(
        &self,
        context_path: &str,
        mut config: BackupManagerConfig,
    ) -> Result<BackupManager, ContextError> {
        let path = self.checked_path(context_path)?;
        config
            .validate()
            .map_err(|error| ContextError::OutOfRange(error.name, error.wanted))?;
        if config.jvm_route.is_none() {
            config.jvm_route.clone_from(&self.inner.jvm_route);
        }
        BackupManager::register(self, path, config)
    }

    /// The attributes of the web application at `context_path`, shared with the members that run it, with Tomcat's defaults.
    ///
    /// # Errors
    ///
    /// As for [`delta_manager`](Self::delta_manager).
    pub fn replicated_context(
        &self,
        context_path: &str,
    ) -> Result<ReplicatedContext, ContextError> {
        self.replicated_context_with(context_path, ReplicatedContextConfig::default())
    }

    /// As [`replicated_context`](Self::replicated_context), with settings of its own.
    pub fn replicated_context_with(
        &self,
        context_path: &str,
        config: ReplicatedContextConfig,
    ) -> Result<ReplicatedContext, ContextError> {
        let path = self.checked_path(context_path)?;
        ReplicatedContext::register(self, path, config)
    }

    /// The path as the core has it.
    fn checked_path<'p>(&self, context_path: &'p str) -> Result<&'p str, ContextError> {
        let path = match context_path {
            "/" => "",
            path => path,
        };
        let whole = path.is_empty()
            || (path.starts_with('/') && !path.ends_with('/') && !path.contains(['#', ';', '?']));
        if !whole {
            return Err(ContextError::Path(context_path.to_owned()));
        }
        if self.is_stopped() {
            return Err(ContextError::Stopped);
        }
        Ok(path)
    }

    /// Sends bytes to members, for applications of their own on the same channel; they receive them with
    /// [`messages`](Self::messages). A delivery if `options` ask for acknowledgements.
    ///
    /// # Errors
    ///
    /// Nothing was sent to anybody: nobody is there, somebody is gone, a queue is full.
    pub fn send(
        &self,
        to: Destination<'_>,
        options: SendOptions,
        message: impl Into<bytes::Bytes>,
    ) -> Result<Option<Delivery>, SendError> {
        if self.is_stopped() {
            return Err(SendError::Stopped);
        }
        let message = message.into();
        self.inner.handle.with(|engine, now| {
            let mut found: Vec<MemberIndex> = Vec::new();
            let to = match to {
                Destination::All => To::All,
                Destination::Members(members) => {
                    for member in members {
                        let channel = engine.channel();
                        // A static member that is gone is still known, but cannot be reached.
                        let index = channel
                            .find(member)
                            .filter(|index| channel.is_member(*index));
                        let gone = || SendError::NoSuchMember(Box::new(member.clone()));
                        found.push(index.ok_or_else(gone)?);
                    }
                    To::Members(&found)
                }
            };
            let id = engine
                .channel_mut()
                .send(now, to, options, Lane::Any, message)
                .map_err(SendError::Channel)?;
            let acknowledged = options.ack_policy() != AckPolicy::Never;
            Ok(acknowledged.then(|| self.inner.expect(id)))
        })
    }

    /// Messages that others send with [`send`](Self::send) from now on, at most `max` waiting. A later call takes over
    /// from an earlier one.
    pub fn messages(&self, max: usize) -> Messages {
        let (messages, take) = Messages::channel(max);
        self.inner
            .handle
            .with(|engine, _| engine.set_byte_listener(take));
        messages
    }

    /// Calls `listener` with every message that others send with [`send`](Self::send) from now on: on the thread that has read
    /// it, with the bytes where they lie, without a copy and without a change of threads. Its verdict is the acknowledgement of
    /// those sent with `SYNCHRONIZED_ACK`. It runs while the cluster's lock is held: it must neither block nor use the cluster.
    /// Takes over from [`messages`](Self::messages) and from an earlier listener.
    ///
    /// Tribes' `ChannelListener`.
    pub fn channel_listener(&self, listener: impl FnMut(&Inbound<'_>) -> Verdict + Send + 'static) {
        self.inner
            .handle
            .with(|engine, _| engine.set_byte_listener(listener));
    }

    /// Says goodbye, gives queued messages the stop timeout to leave, and stops. Later calls return at once.
    pub async fn shutdown(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let cluster = self.clone();
        let spawned = std::thread::Builder::new()
            .name("folkmoot-stop".into())
            .spawn(move || {
                cluster.shutdown_blocking();
                // Whoever awaited it may have gone.
                let _ = done.send(());
            });
        match spawned {
            Ok(_) => {
                let _ = wait.await;
            }
            Err(_) => self.shutdown_blocking(),
        }
    }

    /// As [`shutdown`](Self::shutdown), for threads.
    pub fn shutdown_blocking(&self) {
        self.inner.shutdown();
    }

    /// Whether the cluster has been shut down.
    pub fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("receiver", &self.inner.receiver)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Begins to wait for the message `id`. To be called under the lock under which it was sent: it cannot be settled
    /// before it is waited for.
    pub(crate) fn expect(&self, id: UniqueId) -> Delivery {
        self.notices.deliveries.expect(id, Some(&self.handle))
    }

    /// Says goodbye and gives back what has to wait for its end; `None` if that has been done before.
    fn goodbye(&self) -> Option<impl FnOnce() + Send + 'static> {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.handle.with(|engine, now| engine.stop(now));
        let handle = self.handle.clone();
        let notices = Arc::clone(&self.notices);
        let incarnation = self
            .incarnation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let receiver = self.receiver;
        // The engine gives up by itself after the stop timeout; a little more, lest we are faster.
        let limit = self.stop_timeout + Duration::from_millis(500);
        Some(move || {
            let clean = handle.shutdown(limit, |_, _| {}, |engine| engine.channel().is_stopped());
            notices.close();
            if let Some(incarnation) = incarnation {
                incarnation.end();
            }
            tracing::info!(%receiver, clean, "cluster node stopped");
        })
    }

    fn shutdown(&self) {
        // A second caller waits here for the end of the first.
        let _one_at_a_time = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = self.goodbye() {
            wait();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(wait) = self.goodbye() else {
            return;
        };
        // The goodbye is out; what is left is waiting, which a task must not do.
        if tokio::runtime::Handle::try_current().is_err() {
            wait();
        } else if let Err(error) = std::thread::Builder::new()
            .name("folkmoot-stop".into())
            .spawn(wait)
        {
            tracing::warn!(%error, "no thread to wait for the cluster's end");
        }
    }
}

/// Milliseconds since the Unix epoch; 0 if the clock is set to before it.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps our id for the next start. That it cannot be kept in the default directory is no reason not to start.
fn begin_incarnation(
    builder: &ClusterBuilder,
    receiver: SocketAddr,
    id: UniqueId,
) -> Result<(Option<Incarnation>, Option<UniqueId>), StartError> {
    if !builder.is_at_home() {
        return Ok((None, None));
    }
    let dir = builder
        .state_dir
        .clone()
        .unwrap_or_else(incarnation::default_dir);
    match Incarnation::begin(&dir, receiver, id) {
        Ok((incarnation, previous)) => {
            if let Some(previous) = previous {
                tracing::info!(%receiver, %previous, "a predecessor at this address did not stop cleanly: the members are told");
            }
            Ok((Some(incarnation), previous))
        }
        Err(source) if builder.state_dir.is_some() => Err(StartError::StateDir { dir, source }),
        Err(error) => {
            warn_no_incarnation(&dir, &error);
            Ok((None, None))
        }
    }
}

fn warn_no_incarnation(dir: &Path, error: &std::io::Error) {
    tracing::warn!(
        dir = %dir.display(), %error,
        "the unique id cannot be kept: after a crash and a fast restart other members may keep a ghost of this node; \
         set `state_dir`"
    );
}
