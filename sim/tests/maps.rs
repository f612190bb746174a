//! Sessions that are on two nodes each: nodes die, join, come back and lose sight of each other.

use std::collections::BTreeMap;
use std::time::Duration;

use folkmoot_core::channel::ChannelConfig;
use folkmoot_core::cluster::Access;
use folkmoot_core::map::EntryState;
use folkmoot_core::session::{BackupManagerConfig, SessionId};
use folkmoot_sim::maps::{Change, MapNode};
use folkmoot_sim::{Boot, Crash, Cut, Identity, NetworkConfig, NodeId, World};

/// A node with everything at Tomcat's defaults.
fn node(boot: &Boot) -> MapNode {
    let channel = ChannelConfig::new(boot.address);
    MapNode::new(boot, channel, BackupManagerConfig::default())
}

struct MapWorld {
    world: World<MapNode>,
    /// What clients were told: session, and the attribute `k` that its last answered request set.
    expected: BTreeMap<SessionId, String>,
}

impl MapWorld {
    fn new(seed: u64, nodes: u16) -> Self {
        let mut world = World::new(seed, NetworkConfig::quiet(), node);
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
            let value = number.to_string();
            let made = self.world.with(node, |node, now| node.create(now, &value));
            let id = made.flatten().expect("a running node");
            self.expected.insert(id, value);
        }
    }

    /// The members of each node's map, for a message.
    fn members(&self) -> String {
        let nodes = self.running();
        let members = nodes.iter().map(|node| {
            let running = self.world.machine(*node).unwrap();
            let manager = running.manager().unwrap();
            let channel = running.cluster().channel();
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
                node.request(now, id, Change::Set(value), false).0
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
                let machine = self.world.machine(*node).unwrap();
                let state = machine.role(id);
                if matches!(state, Some(EntryState::Primary | EntryState::Backup)) {
                    assert_eq!(machine.value(id).as_ref(), Some(value), "{id} on {node}");
                }
                states.push(state);
            }
            let count = |state| states.iter().filter(|seen| **seen == state).count();
            assert_eq!(count(Some(EntryState::Primary)), 1, "{id}: {states:?}");
            assert_eq!(count(Some(EntryState::Backup)), 1, "{id}: {states:?}");
            assert_eq!(count(None), 0, "{id}: {states:?}\n{}", self.members());
        }
        for node in &nodes {
            let manager = self.world.machine(*node).unwrap().manager().unwrap();
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
