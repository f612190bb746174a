//! A world of clusters, with the words its scenarios are told in.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, SendOptions, UniqueId};
use folkmoot_core::cluster::ClusterConfig;
use folkmoot_core::session::{DeltaManagerConfig, SessionId};

use super::{ReaderConfig, SessionNode, value_text};
use crate::group::Membership;
use crate::link::NetworkConfig;
use crate::machine::{Boot, NodeId};
use crate::world::{Crash, Identity, World};

/// What every node of a world of clusters is told.
#[derive(Clone)]
pub struct SessionConfig {
    /// `channelSendOptions`.
    pub send_options: SendOptions,
    /// Period of the background run.
    pub background: Duration,
    /// Whether somebody in the world says anything.
    pub has_liar: bool,
    /// Whether there are Tomcats in the world.
    pub has_tomcats: bool,
    /// How the nodes find each other.
    pub membership: Membership,
    /// The manager's own.
    pub manager: DeltaManagerConfig,
    /// Changes each channel's configuration.
    pub channel: fn(&mut ChannelConfig),
    /// Bytes that may wait for one member, instead of the default.
    pub queue_bytes_max: Option<usize>,
    /// Connections that others may have to one node, instead of the default.
    pub connections_max: Option<usize>,
    /// Of every so many lives of nodes one gets its application late; 0 for none.
    pub late: u8,
    /// How the nodes' reading threads are; `None` for none: the engine is handed what has arrived at once.
    pub readers: Option<ReaderConfig>,
}

impl SessionConfig {
    /// Tomcat's defaults, with these options.
    pub fn new(send_options: SendOptions) -> Self {
        Self {
            send_options,
            background: ClusterConfig::default().background_processor_delay,
            has_liar: false,
            has_tomcats: false,
            membership: Membership::Multicast,
            manager: DeltaManagerConfig::default(),
            channel: |_| {},
            queue_bytes_max: None,
            connections_max: None,
            late: 0,
            readers: None,
        }
    }
}

/// A world of clusters.
pub struct SessionWorld(World<SessionNode>);

impl Deref for SessionWorld {
    type Target = World<SessionNode>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for SessionWorld {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl SessionWorld {
    /// A quiet network, Tomcat's defaults, options 8.
    pub fn new(seed: u64) -> Self {
        Self::with_config(
            seed,
            NetworkConfig::quiet(),
            SessionConfig::new(SendOptions::ASYNCHRONOUS),
        )
    }

    /// The same with options 6.
    pub fn synchronous(seed: u64) -> Self {
        let options = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        Self::with_config(seed, NetworkConfig::quiet(), SessionConfig::new(options))
    }

    /// A world to choose.
    pub fn with_config(seed: u64, network: NetworkConfig, config: SessionConfig) -> Self {
        let factory = move |boot: &Boot| {
            let mut channel = ChannelConfig::new(boot.address);
            channel.unique_id = Some(UniqueId(boot.unique_id));
            channel.previous_unique_id = boot.previous_unique_id.map(UniqueId);
            config.membership.configure(boot.node, &mut channel);
            (config.channel)(&mut channel);
            if let Some(most) = config.queue_bytes_max {
                channel.limits.queue_bytes_max = most;
            }
            if let Some(most) = config.connections_max {
                channel.limits.connections_max = most;
            }
            let cluster = ClusterConfig {
                channel_send_options: config.send_options,
                background_processor_delay: config.background,
                ..ClusterConfig::default()
            };
            let mut manager = config.manager.clone();
            manager.jvm_route = Some(boot.node.to_string());
            let mut node = SessionNode::new(boot, channel, cluster, manager);
            node.has_liar = config.has_liar;
            node.has_tomcats = config.has_tomcats;
            if let Some(readers) = config.readers {
                node = node.with_readers(boot, readers);
            }
            let [chance, delay, ..] = boot.seed;
            if config.late == 0 || chance % config.late != 0 {
                return node;
            }
            let at = boot.now + Duration::from_millis(u64::from(delay) * 16);
            node.without_application_until(boot.now, at)
        };
        Self(World::new(seed, network, factory))
    }

    /// The world without its words.
    pub fn into_world(self) -> World<SessionNode> {
        self.0
    }

    /// Starts one more node.
    pub fn join(&mut self) -> NodeId {
        let node = self.add_node();
        self.boot(node, Identity::New);
        node
    }

    /// Starts `N` nodes and lets them find each other and serve.
    pub fn join_all<const N: usize>(&mut self) -> [NodeId; N] {
        let nodes = [(); N].map(|()| self.join());
        self.run_for(Duration::from_secs(4));
        nodes
    }

    /// A clean end: the cluster says goodbye, then the process is gone.
    pub fn leave(&mut self, node: NodeId) {
        self.with(node, |node, now| node.cluster_mut().stop(now));
        for _ in 0..100 {
            if self
                .machine(node)
                .is_none_or(|node| node.cluster().channel().is_stopped())
            {
                break;
            }
            self.run_for(Duration::from_millis(50));
        }
        self.crash(node, Crash::Process);
    }

    /// A request that creates a session with these attributes.
    ///
    /// # Panics
    /// If the node does not run or refuses.
    pub fn create(&mut self, node: NodeId, attributes: &[(&str, &str)]) -> SessionId {
        let created = self.with(node, |node, now| {
            let context = node.context();
            let cluster = node.cluster_mut();
            let id = cluster.create_session(now, context, None)?;
            for (name, value) in attributes {
                cluster.set_attribute(now, context, &id, *name, *value)?;
            }
            let sent = cluster.request_completed(now, context, &id);
            cluster.end_access(now, context, &id);
            assert!(sent.is_ok(), "{sent:?}");
            Ok::<_, folkmoot_core::session::SessionError>(id)
        });
        created.expect("the node runs").expect("a new session")
    }

    /// A request that sets an attribute; whether the session was there.
    pub fn put(&mut self, node: NodeId, id: &SessionId, name: &str, value: &str) -> bool {
        let request = |node: &mut SessionNode, now| {
            node.request(now, id, |cluster, context| {
                cluster.set_attribute(now, context, id, name, value)
            })
        };
        self.with(node, request).flatten().is_some()
    }

    /// A request that removes an attribute; whether the session was there.
    pub fn remove(&mut self, node: NodeId, id: &SessionId, name: &str) -> bool {
        let request = |node: &mut SessionNode, now| {
            node.request(now, id, |cluster, context| {
                cluster.remove_attribute(now, context, id, name)
            })
        };
        self.with(node, request).flatten().is_some()
    }

    /// A request that invalidates the session; whether it was there.
    pub fn invalidate(&mut self, node: NodeId, id: &SessionId) -> bool {
        let invalidate = |node: &mut SessionNode, now| {
            let context = node.context();
            node.cluster_mut().expire_session(now, context, id)
        };
        self.with(node, invalidate).unwrap_or(false)
    }

    /// A request that gives the session a new id.
    pub fn change_id(&mut self, node: NodeId, id: &SessionId) -> Option<SessionId> {
        let change = |node: &mut SessionNode, now| {
            node.request(now, id, |cluster, context| {
                cluster.change_session_id(now, context, id, None)
            })
        };
        self.with(node, change).flatten()?.0.ok()
    }

    /// An attribute as the node has it, looked at without a request.
    pub fn get(&self, node: NodeId, id: &SessionId, name: &str) -> Option<String> {
        let node = self.machine(node)?;
        let session = node.manager()?.session(id)?;
        session.attribute(name).map(value_text)
    }

    /// Whether the node has the session, looked at without a request.
    pub fn has(&self, node: NodeId, id: &SessionId) -> bool {
        let manager = self.machine(node).and_then(SessionNode::manager);
        manager.is_some_and(|manager| manager.session(id).is_some())
    }

    /// The nodes that take a session for theirs.
    pub fn primaries_of(&self, id: &SessionId) -> Vec<NodeId> {
        let is_primary = |node: &NodeId| {
            let session = self.machine(*node)?.manager()?.session(id)?;
            Some(session.is_primary())
        };
        self.node_ids()
            .filter(|node| is_primary(node) == Some(true))
            .collect()
    }

    /// Sessions with their attributes, as the node has them.
    pub fn contents(&self, node: NodeId) -> BTreeMap<String, BTreeMap<String, String>> {
        self.machine(node)
            .map(SessionNode::contents)
            .unwrap_or_default()
    }

    /// Whether all running nodes have the same sessions with the same attributes.
    pub fn is_replicated(&self) -> bool {
        let running: Vec<NodeId> = self
            .node_ids()
            .filter(|node| self.machine(*node).is_some())
            .collect();
        running
            .windows(2)
            .all(|pair| self.contents(pair[0]) == self.contents(pair[1]))
    }
}
