//! Sessions that are on two nodes each: nodes die, join, come back and lose sight of each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{Channel, ChannelConfig, UniqueId};
use folkmoot_core::cluster::{Access, Cluster, ClusterConfig, ContextId};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output};
use folkmoot_core::map::{EntryState, MapState};
use folkmoot_core::session::{BackupManager, BackupManagerConfig, SessionId};
use folkmoot_core::time::Instant;
use folkmoot_sim::sessions::value_text;
use folkmoot_sim::{Boot, Crash, Cut, Identity, Machine, NetworkConfig, NodeId, World};

/// A cluster with one backup manager.
struct MapNode {
    cluster: Cluster,
    context: ContextId,
}

impl MapNode {
    fn new(boot: &Boot) -> Self {
        let mut channel = ChannelConfig::new(boot.address);
        channel.unique_id = Some(UniqueId(boot.unique_id));
        channel.previous_unique_id = boot.previous_unique_id.map(UniqueId);
        let channel = Channel::new(channel, boot.seed, boot.now, boot.unix_ms).unwrap();
        let mut cluster = Cluster::new(channel, ClusterConfig::default());
        let config = BackupManagerConfig {
            jvm_route: Some(boot.node.to_string()),
            ..BackupManagerConfig::default()
        };
        let context = cluster.register_backup_manager(boot.now, "/shop", config);
        cluster.start(boot.now);
        Self {
            context: context.unwrap(),
            cluster,
        }
    }

    fn manager(&self) -> &BackupManager {
        self.cluster.backup_manager(self.context).unwrap()
    }

    fn is_ready(&self) -> bool {
        self.manager().state() == MapState::Initialized
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

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.cluster.transmitted(now, conn, len);
    }
}

impl Machine for MapNode {
    fn turn(&mut self, _now: Instant) {
        while self.cluster.poll_event().is_some() {}
    }

    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        self.cluster.set_wall_clock(now, unix_ms);
    }
}

struct MapWorld {
    world: World<MapNode>,
    /// What clients were told: session, and the attribute `k` that its last answered request set.
    expected: BTreeMap<SessionId, String>,
}

impl MapWorld {
    fn new(seed: u64, nodes: u16) -> Self {
        let mut world = World::new(seed, NetworkConfig::quiet(), MapNode::new);
        for _ in 0..nodes {
            let node = world.add_node();
            world.boot(node, Identity::New);
        }
        world.run_for(Duration::from_secs(6));
        Self {
            world,
            expected: BTreeMap::new(),
        }
    }

    fn running(&self) -> Vec<NodeId> {
        let nodes = self.world.node_ids();
        nodes
            .filter(|node| self.world.machine(*node).is_some())
            .collect()
    }

    fn settle(&mut self) {
        self.world.run_for(Duration::from_secs(12));
    }

    fn create(&mut self, node: NodeId, count: usize) {
        for number in 0..count {
            let made = self.world.with(node, |node, now| {
                let (cluster, shop) = (&mut node.cluster, node.context);
                let id = cluster.create_session(now, shop, None).unwrap();
                let value = number.to_string();
                cluster
                    .set_attribute(now, shop, &id, "k", value.as_str())
                    .unwrap();
                cluster.request_completed(now, shop, &id).unwrap();
                cluster.end_access(now, shop, &id);
                (id, value)
            });
            let (id, value) = made.expect("a running node");
            self.expected.insert(id, value);
        }
    }

    /// The members of each node's map, for a message.
    fn members(&self) -> String {
        let nodes = self.running();
        let members = nodes.iter().map(|node| {
            let running = self.world.machine(*node).unwrap();
            let manager = running.manager();
            let channel = running.cluster.channel();
            let all = manager
                .members()
                .filter_map(|member| channel.member(member));
            let all: Vec<String> = all.map(ToString::to_string).collect();
            format!(
                "{node} of {}: {all:?} {:?}",
                channel.member_count(),
                manager.map_stats()
            )
        });
        members.collect::<Vec<_>>().join("\n")
    }

    /// A request on a node; it comes back later if the session has to be fetched first.
    fn request(&mut self, node: NodeId, id: &SessionId, value: &str) -> bool {
        for _ in 0..100 {
            let access = self.world.with(node, |node, now| {
                let (cluster, shop) = (&mut node.cluster, node.context);
                let access = cluster.access(now, shop, id);
                if access == Access::Here {
                    cluster.set_attribute(now, shop, id, "k", value).unwrap();
                    cluster.request_completed(now, shop, id).unwrap();
                    cluster.end_access(now, shop, id);
                }
                access
            });
            match access.expect("a running node") {
                Access::Here => {
                    self.expected.insert(id.clone(), value.to_owned());
                    return true;
                }
                Access::Absent => return false,
                Access::Fetching => self.world.run_for(Duration::from_millis(10)),
            }
        }
        false
    }

    /// Every session has one primary and one backup, both with what clients were told, and all other nodes know it.
    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!(self.world.violations(), []);
        let nodes = self.running();
        for (id, value) in &self.expected {
            let mut states = vec![];
            for node in &nodes {
                let manager = self.world.machine(*node).unwrap().manager();
                let state = manager.role(id);
                if matches!(state, Some(EntryState::Primary | EntryState::Backup)) {
                    let seen = manager
                        .session(id)
                        .and_then(|session| session.attribute("k"));
                    assert_eq!(seen.map(value_text).as_ref(), Some(value), "{id} on {node}");
                }
                states.push(state);
            }
            let count = |state| states.iter().filter(|seen| **seen == state).count();
            assert_eq!(count(Some(EntryState::Primary)), 1, "{id}: {states:?}");
            assert_eq!(count(Some(EntryState::Backup)), 1, "{id}: {states:?}");
            assert_eq!(count(None), 0, "{id}: {states:?}\n{}", self.members());
        }
        for node in &nodes {
            let manager = self.world.machine(*node).unwrap().manager();
            assert_eq!(manager.session_count_full(), self.expected.len(), "{node}");
        }
    }
}

#[test]
fn no_session_is_lost_with_any_one_node() {
    for seed in 0..8 {
        let mut world = MapWorld::new(seed, 4);
        for node in world.running() {
            world.create(node, 50);
        }
        world.settle();
        world.assert_whole();
        // One after the other: each time the rest has to find a second place for what it had.
        for victim in 0..2 {
            let how = match seed % 2 {
                0 => Crash::Process,
                _ => Crash::Host,
            };
            world.world.crash(NodeId::new(victim), how);
            world.settle();
            world.assert_whole();
        }
        world.world.boot(NodeId::new(0), Identity::New);
        world.settle();
        world.assert_whole();
    }
}

#[test]
fn who_joins_under_load_misses_nothing() {
    for seed in 0..8 {
        let mut world = MapWorld::new(seed, 3);
        let old = world.running();
        for node in &old {
            world.create(*node, 30);
        }
        let joiner = world.world.add_node();
        world.world.boot(joiner, Identity::New);
        // Created, changed and moved while the new node starts.
        for round in 0..40u32 {
            world.create(old[round as usize % 3], 2);
            let ids: Vec<_> = world.expected.keys().cloned().collect();
            let id = &ids[(round as usize * 7 + seed as usize) % ids.len()];
            let node = old[(round as usize + 1) % 3];
            // Word of a new session takes its time.
            world.world.run_for(Duration::from_millis(50));
            assert!(
                world.request(node, id, &format!("round {round}")),
                "{id} on {node}\n{}",
                world.members()
            );
            world.world.run_for(Duration::from_millis(50));
        }
        world.settle();
        assert!(world.world.machine(joiner).unwrap().is_ready());
        world.assert_whole();
        let ids: Vec<_> = world.expected.keys().cloned().collect();
        for id in ids.iter().step_by(9) {
            assert!(world.request(joiner, id, "at the new node"), "{id}");
        }
        world.settle();
        world.assert_whole();
    }
}

#[test]
fn both_sides_of_a_partition_know_each_others_sessions_afterwards() {
    for seed in 0..8 {
        let mut world = MapWorld::new(seed, 4);
        let nodes = world.running();
        let (left, right) = nodes.split_at(2);
        world.world.partition(&[left, right], Cut::Dropped);
        world.settle();
        world.create(left[0], 20);
        world.create(right[0], 20);
        world.settle();
        world.world.heal();
        world.settle();
        let ids: Vec<_> = world.expected.keys().cloned().collect();
        for (at, id) in ids.iter().enumerate() {
            let node = nodes[at % 4];
            assert!(world.request(node, id, "after it healed"), "{id} on {node}");
        }
        world.settle();
        world.assert_whole();
    }
}
