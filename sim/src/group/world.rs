//! A world of bare channels, with the words its scenarios are told in.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use folkmoot_core::channel::{
    ChannelConfig, MembershipConfig, SendError, StaticConfig, StaticMember, UniqueId,
};

use super::{GroupNode, Parcel, Promise, SharedLedger, Temper};
use crate::link::NetworkConfig;
use crate::machine::{Boot, NodeId};
use crate::world::{Crash, Identity, World};

/// How the nodes find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Heartbeats to the multicast group.
    Multicast,
    /// A list of so many nodes, checked by TCP.
    Static(u16),
}

/// A world of bare channels.
pub struct GroupWorld {
    world: World<GroupNode>,
    ledger: SharedLedger,
}

impl Deref for GroupWorld {
    type Target = World<GroupNode>;

    fn deref(&self) -> &Self::Target {
        &self.world
    }
}

impl DerefMut for GroupWorld {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

/// The unique id that static members configure for a node.
fn fixed_id(node: u16) -> UniqueId {
    let [high, low] = node.to_be_bytes();
    let mut id = [0xf0; 16];
    (id[14], id[15]) = (high, low);
    UniqueId(id)
}

impl Membership {
    /// Makes a channel one of them.
    pub(crate) fn configure(self, node: NodeId, config: &mut ChannelConfig) {
        let Self::Static(count) = self else {
            return;
        };
        config.unique_id = Some(fixed_id(node.0));
        config.previous_unique_id = None;
        let nodes =
            (0..count).map(|node| StaticMember::new(NodeId(node).address(), fixed_id(node)));
        config.membership = MembershipConfig::Static(StaticConfig {
            members: nodes.collect(),
            ..StaticConfig::default()
        });
    }
}

impl GroupWorld {
    /// A quiet network and multicast membership, everything at Tomcat's defaults.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, NetworkConfig::quiet(), Membership::Multicast, |_| {})
    }

    /// A world to choose; `adjust` may change each channel's configuration.
    pub fn with_config(
        seed: u64,
        network: NetworkConfig,
        membership: Membership,
        adjust: impl Fn(&mut ChannelConfig) + 'static,
    ) -> Self {
        let ledger = SharedLedger::default();
        let shared = ledger.clone();
        let factory = move |boot: &Boot| {
            let mut config = ChannelConfig::new(boot.address);
            config.unique_id = Some(UniqueId(boot.unique_id));
            config.previous_unique_id = boot.previous_unique_id.map(UniqueId);
            membership.configure(boot.node, &mut config);
            adjust(&mut config);
            GroupNode::new(boot, config, shared.clone())
        };
        let world = World::new(seed, network, factory);
        Self { world, ledger }
    }

    /// What everybody sent, got and was told.
    pub const fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }

    /// The world without its words, and the ledger.
    pub fn into_parts(self) -> (World<GroupNode>, SharedLedger) {
        (self.world, self.ledger)
    }

    /// Starts one more node.
    pub fn join(&mut self) -> NodeId {
        let node = self.add_node();
        self.boot(node, Identity::New);
        node
    }

    /// Starts `N` nodes and lets them find each other.
    pub fn join_all<const N: usize>(&mut self) -> [NodeId; N] {
        let nodes = [(); N].map(|()| self.join());
        self.run_for(Duration::from_secs(3));
        nodes
    }

    /// A clean end: the channel says goodbye, then the process is gone.
    pub fn leave(&mut self, node: NodeId) {
        self.with(node, |node, now| node.channel_mut().stop(now));
        for _ in 0..100 {
            if self
                .machine(node)
                .is_none_or(|node| node.channel().is_stopped())
            {
                break;
            }
            self.run_for(Duration::from_millis(50));
        }
        self.crash(node, Crash::Process);
    }

    /// The members that a node sees.
    pub fn members_of(&self, node: NodeId) -> Vec<NodeId> {
        self.machine(node)
            .map(GroupNode::members)
            .unwrap_or_default()
    }

    /// Sends a parcel of 100 bytes to one node, on no lane in particular.
    ///
    /// # Errors
    /// As [`folkmoot_core::channel::Channel::send`].
    pub fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        promise: Promise,
    ) -> Result<Parcel, SendError> {
        let send = |node: &mut GroupNode, now| node.send(now, Some(&[to]), promise, 0, 100);
        self.with(from, send).unwrap_or(Err(SendError::NotStarted))
    }

    /// Sends a parcel to all members, on a lane.
    ///
    /// # Errors
    /// As [`folkmoot_core::channel::Channel::send`].
    pub fn send_all(
        &mut self,
        from: NodeId,
        promise: Promise,
        lane: u32,
        len: usize,
    ) -> Result<Parcel, SendError> {
        let send = |node: &mut GroupNode, now| node.send(now, None, promise, lane, len);
        self.with(from, send).unwrap_or(Err(SendError::NotStarted))
    }

    /// Changes how a node's application takes its messages.
    pub fn set_temper(&mut self, node: NodeId, temper: Temper) {
        self.with(node, |node, _| *node.temper_mut() = temper);
    }

    /// Whether every running node sees all other running nodes and nobody else.
    pub fn is_membership_accurate(&self) -> bool {
        let running: Vec<NodeId> = self
            .node_ids()
            .filter(|node| self.machine(*node).is_some())
            .collect();
        running.iter().all(|node| {
            let others = running.iter().filter(|other| *other != node);
            self.members_of(*node).iter().eq(others)
        })
    }
}
