//! Random runs of clusters: clients, faults, and what every node has to hold in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, SendOptions};
use folkmoot_core::session::{EventType, SessionId};

use super::front::is_ready;
use super::{Front, Held, SessionConfig, SessionNode, SessionWorld};
use crate::fault::FaultKind;
use crate::machine::NodeId;
use crate::plan::Plan;
use crate::rng::SimRng;
use crate::run::Mode;
use crate::world::{NodeState, World};

/// Clusters with one application, and clients behind a sticky front.
pub struct SessionMode {
    front: Front,
    /// Nothing has been wrong since then.
    calm_since: Duration,
    /// Losses seen at each node in its life.
    losses: BTreeMap<(u16, u32), u64>,
    /// States of the nodes when they were last looked at.
    states: Vec<(NodeState, u32)>,
    /// Whether links are cut or stalled by the plan at all.
    rough_links: bool,
    /// Sessions made after everything was healed, with the value each has to hold; the last is ended again.
    last: Vec<(SessionId, Option<String>)>,
    /// When they were made.
    last_at: Duration,
    /// Whether the last clients have come.
    shopped: bool,
    seed: u64,
    options: SendOptions,
    /// Whether the nodes compare their sessions.
    ours: bool,
}

/// So long after the last trouble all queues are empty and all members known.
const CALM_AFTER: Duration = Duration::from_secs(9);
/// What was sent so long before a trouble has arrived.
const ARRIVED_AFTER: Duration = Duration::from_secs(5);
/// So long after a message on a dead connection the kernel has given the connection up.
const DEAD_AFTER: Duration = Duration::from_secs(25);

impl SessionMode {
    fn is_calm(&self, now: Duration) -> bool {
        !self.rough_links && now >= self.calm_since + CALM_AFTER
    }

    fn trouble(&mut self, now: Duration) {
        self.calm_since = now;
        self.front.trouble(now, ARRIVED_AFTER);
    }
}

impl Mode for SessionMode {
    type Node = SessionNode;
    const NAME: &'static str = "session";
    /// As for bare channels, then a state transfer with a donor that stays silent.
    const CONVERGES_WITHIN: Duration = Duration::from_secs(80);

    fn begin(plan: &Plan) -> (Self, World<SessionNode>) {
        let mut rng = SimRng::fork(plan.seed, 6);
        let options = match rng.below(3) {
            0 => SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK),
            1 => SendOptions::USE_ACK,
            _ => SendOptions::ASYNCHRONOUS,
        };
        let mut config = SessionConfig::new(options);
        let expiring = rng.chance(200_000);
        if expiring {
            config.manager.session_timeout = 6;
            config.manager.process_expires_frequency = 1;
            config.background = Duration::from_secs(1);
        }
        config.manager.send_all_sessions = rng.chance(700_000);
        config.manager.send_all_sessions_size = 1 + rng.index(20);
        config.manager.send_all_sessions_wait_time = Duration::from_millis(rng.below(300));
        config.manager.record_joins = rng.chance(700_000);
        if rng.chance(300_000) {
            config.manager.limits.transfer_bytes_max = 1024 + rng.index(4000);
        }
        let ours = !rng.chance(300_000);
        if !ours {
            config.channel = |channel: &mut ChannelConfig| channel.sender.pipelining = false;
        }
        config.late = *rng.pick(&[0, 0, 3]);
        // What comparisons would put right has to be right without them, too.
        let ours = if rng.chance(200_000) {
            config.manager.reconcile_interval = Duration::ZERO;
            false
        } else {
            ours
        };
        let mut world = SessionWorld::with_config(plan.seed, plan.network.clone(), config);
        for _ in 0..plan.nodes {
            world.add_node();
        }
        let slow = [
            FaultKind::Slow,
            FaultKind::Stall,
            FaultKind::Cut,
            FaultKind::Partition,
        ];
        let network = &plan.network;
        let rough = plan.kinds.iter().any(|kind| slow.contains(kind))
            // What the window and the bandwidth hold back may take longer than any wait.
            || (network.bandwidth > 0 && network.bandwidth < 5_000_000)
            || network.window < 20_000
            || network.refuse + network.slow_connect > 0;
        let mode = Self {
            front: Front::new(expiring, options.contains(SendOptions::SYNCHRONIZED_ACK)),
            calm_since: Duration::ZERO,
            losses: BTreeMap::new(),
            states: Vec::new(),
            rough_links: rough,
            last: Vec::new(),
            last_at: Duration::ZERO,
            shopped: false,
            seed: plan.seed,
            options,
            ours,
        };
        (mode, world.into_world())
    }

    fn work(&mut self, world: &mut World<SessionNode>, number: u64) -> String {
        self.watch(world);
        let calm = self.is_calm(world.now());
        self.front.request(world, &mut SimRng::new(number), calm)
    }

    fn watch(&mut self, world: &mut World<SessionNode>) {
        self.front.complete(world);
        let now = world.now();
        let mut trouble = false;
        let states: Vec<(NodeState, u32)> = world
            .node_ids()
            .map(|node| (world.state(node), world.boots(node)))
            .collect();
        trouble |= states != self.states;
        self.states = states;
        for node in world.node_ids() {
            let losses = world.machine(node).map_or(0, |machine| machine.losses);
            let seen = self.losses.entry((node.0, world.boots(node))).or_default();
            trouble |= *seen != losses || !is_ready(world, node);
            *seen = losses;
        }
        if trouble {
            self.trouble(now);
        }
    }

    fn healed(&mut self, world: &mut World<SessionNode>) {
        self.trouble(world.now());
    }

    fn converged(&mut self, world: &mut World<SessionNode>) -> Result<(), String> {
        let nodes: Vec<NodeId> = world.node_ids().collect();
        for node in &nodes {
            let Some(machine) = world.machine(*node) else {
                return Err(format!("{node} does not run"));
            };
            let others = nodes.iter().filter(|other| *other != node);
            let seen = machine.members();
            if !seen.iter().eq(others) {
                return Err(format!("{node} sees {seen:?}"));
            }
            if !machine.is_ready() {
                return Err(format!(
                    "{node} does not serve: {:?}",
                    machine.manager().map(|m| m.state())
                ));
            }
            let open = machine.cluster().channel().sends_open();
            if open > 0 {
                return Err(format!("{open} sends of {node} are not settled"));
            }
        }
        // The first message after healing may still find a connection that has died in silence.
        if world.now() < self.calm_since + CALM_AFTER {
            self.last.clear();
            return Err("the last trouble is not long ago".into());
        }
        // With options 8 nobody hears of it but the kernel, in the end.
        if world.now() > self.last_at + DEAD_AFTER {
            self.last.clear();
        }
        if self.last.is_empty() {
            self.last_at = world.now();
            for node in &nodes {
                self.last_sessions(world, *node);
            }
            return Err("the last sessions are under way".into());
        }
        for (id, value) in &self.last {
            for node in &nodes {
                let held = world
                    .machine(*node)
                    .and_then(|machine| machine.contents().remove(&id.to_string()));
                let held = held.map(|mut attributes| attributes.remove("last").unwrap_or_default());
                if held != *value {
                    return Err(format!("{node} has {held:?} in {id}, not {value:?}"));
                }
            }
        }
        if self.ours {
            self.equal(world, &nodes)?;
        }
        if !self.shopped {
            self.shopped = true;
            self.shop(world);
            return Err("the last clients are at work".into());
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World<SessionNode>) {
        let nodes: Vec<NodeId> = world.node_ids().collect();
        if self.ours {
            self.judge(world, &nodes);
        }
        let contents: Vec<_> = nodes
            .iter()
            .filter_map(|node| Some((*node, world.machine(*node)?.contents())))
            .collect();
        for shopper in self
            .front
            .shoppers
            .iter()
            .filter(|shopper| shopper.calm && !self.front.expiring)
        {
            let wanted: Vec<(&String, u64)> = shopper
                .attributes
                .iter()
                .map(|(name, number)| (name, *number))
                .collect();
            for (node, contents) in &contents {
                let number = |text: &String| {
                    text.split(' ')
                        .next_back()
                        .and_then(|text| text.parse::<u64>().ok())
                };
                let held = contents.get(&shopper.id.to_string());
                let held = held.map(|held| {
                    held.iter()
                        .map(|(name, text)| (name, number(text).unwrap_or(0)))
                        .collect()
                });
                if held.as_ref() != Some(&wanted) {
                    let what = format!("{}: {held:?} instead of {wanted:?}", shopper.id);
                    world.violate(
                        Some(*node),
                        "what was made in calm times is everywhere",
                        what,
                    );
                }
            }
        }
        for (id, _) in self.front.gone.iter().filter(|(_, calm)| *calm) {
            for (node, contents) in &contents {
                if contents.contains_key(&id.to_string()) {
                    world.violate(
                        Some(*node),
                        "what has ended in calm times is nowhere",
                        id.to_string(),
                    );
                }
            }
        }
        let (_, streams) = world.load();
        let most = nodes.len() * nodes.len() * 14 + 16;
        if streams > most {
            world.violate(
                None,
                "no connection is leaked",
                format!("{streams} streams for {} nodes", nodes.len()),
            );
        }
    }

    fn covered(&self, world: &World<SessionNode>, into: &mut BTreeMap<String, u64>) {
        let front = &self.front;
        let calm = front.shoppers.iter().filter(|shopper| shopper.calm).count() as u64;
        for (name, count) in [
            ("requests answered", front.answered),
            ("requests unanswered", front.unanswered),
            ("sessions not found after fail-over", front.lost),
            ("sessions at the end", front.shoppers.len() as u64),
            ("sessions of calm times at the end", calm),
            ("sessions ended or renamed", front.gone.len() as u64),
        ] {
            *into.entry(format!("front {name}")).or_default() += count;
        }
        *into
            .entry(format!("options {}", self.options.bits()))
            .or_default() += 1;
        for node in world.node_ids() {
            let Some(manager) = world.machine(node).and_then(SessionNode::manager) else {
                continue;
            };
            let stats = manager.stats();
            for kind in EventType::ALL {
                *into.entry(format!("received {}", kind.name())).or_default() +=
                    stats.received.get(kind);
            }
            for (name, count) in [
                ("early messages applied", stats.early_applied),
                ("early messages dropped", stats.early_dropped),
                ("late messages dropped", stats.late_dropped),
                ("messages contained in a state", stats.contained_dropped),
                ("changes merged", stats.merged),
                ("conflicts", stats.conflicts),
                ("sessions reconciled", stats.reconciled_sessions),
                ("endings reconciled", stats.reconciled_endings),
                ("comparisons", stats.reconciliations),
                ("comparisons broken", stats.reconciliations_broken),
                ("created known", stats.created_known),
                ("states given", stats.transfers_given),
                ("states given in part", stats.transfers_broken),
                ("states not got", stats.counter_no_state_transferred),
                ("sessions timed out", stats.expired_sessions),
            ] {
                *into.entry(format!("manager {name}")).or_default() += count;
            }
            if let Some(outcome) = manager.last_transfer() {
                *into
                    .entry(format!("transfer {:?}", outcome.result))
                    .or_default() += 1;
            }
        }
    }
}

/// Where two nodes differ in a session.
fn difference(world: &World<SessionNode>, a: NodeId, b: NodeId, id: &str) -> String {
    let of = |node: NodeId| {
        let machine = world.machine(node)?;
        let session = machine.manager()?.session(&SessionId::from(id))?;
        let dirty = session.is_dirty();
        let texts = machine.contents().remove(id)?;
        Some((machine.replicas().remove(id)?, texts, dirty))
    };
    let (Some(left), Some(right)) = (of(a), of(b)) else {
        return format!("{a} or {b} does not have it");
    };
    let names = left.1.keys().chain(right.1.keys());
    let name = names
        .into_iter()
        .find(|name| left.1.get(*name) != right.1.get(*name));
    let Some(name) = name else {
        return format!("{a} has {:?}, {b} {:?}", left.0, right.0);
    };
    let last = |side: &BTreeMap<String, String>| {
        side.get(name)
            .and_then(|text| text.split(' ').next_back().map(str::to_owned))
    };
    let (dirty_a, dirty_b) = (left.2, right.2);
    format!(
        "{name} is {:?} on {a} (unsent changes {dirty_a}), {:?} on {b} ({dirty_b})",
        last(&left.1),
        last(&right.1)
    )
}

impl SessionMode {
    /// Whether all nodes have the same sessions, each of which has one primary at most.
    fn equal(&self, world: &World<SessionNode>, nodes: &[NodeId]) -> Result<(), String> {
        let replicas = |node: &NodeId| world.machine(*node).map(SessionNode::replicas);
        let first = nodes.first().and_then(replicas).unwrap_or_default();
        for node in nodes.iter().skip(1) {
            let here = replicas(node).unwrap_or_default();
            let ids = first.keys().chain(here.keys());
            if let Some(id) = ids.into_iter().find(|id| first.get(*id) != here.get(*id)) {
                return Err(format!("{id}: {}", difference(world, nodes[0], *node, id)));
            }
        }
        for id in first.keys() {
            let id = SessionId::from(id.as_str());
            let primary = |node: &&NodeId| {
                let session = world.machine(**node)?.manager()?.session(&id)?;
                session.is_primary().then_some(())
            };
            let primaries = nodes.iter().filter(|node| primary(node).is_some()).count();
            if primaries > 1 {
                return Err(format!("{id} has {primaries} primaries"));
            }
        }
        Ok(())
    }

    /// What clients were told has to agree with what is there.
    fn judge(&self, world: &mut World<SessionNode>, nodes: &[NodeId]) {
        let Some(machine) = nodes.first().and_then(|node| world.machine(*node)) else {
            return;
        };
        let number = |text: &str| text.split(' ').next_back()?.parse::<u64>().ok();
        let contents = machine.contents().into_iter();
        let sessions = contents.map(|(id, attributes)| {
            let attributes = attributes.into_iter();
            let held = attributes.filter_map(|(name, text)| Some((name, number(&text)?)));
            (id, held.collect())
        });
        let sessions: BTreeMap<String, Held> = sessions.collect();
        let alive = nodes
            .iter()
            .map(|node| (node.0, world.boots(*node)))
            .collect();
        let verdict = self
            .front
            .oracle
            .verdict(&sessions, &alive, self.front.expiring);
        if let Some((rule, what)) = verdict {
            world.violate(None, rule, what);
        }
    }

    /// New clients when all is well: everything they do has to be everywhere in the end.
    fn shop(&mut self, world: &mut World<SessionNode>) {
        self.rough_links = false;
        self.front.shoppers.clear();
        let mut rng = SimRng::fork(self.seed, 7);
        for _ in 0..300 {
            let calm = self.is_calm(world.now());
            self.front.request(world, &mut rng, calm);
            world.run_for(Duration::from_millis(rng.below(10)));
            self.watch(world);
        }
        // The longest request, and the way to the last node.
        world.run_for(Duration::from_secs(1));
        self.watch(world);
    }

    /// A session that is changed and one that is ended, made when all is well.
    fn last_sessions(&mut self, world: &mut World<SessionNode>, node: NodeId) {
        let value = format!("of {node}");
        let made = world.with(node, |node, now| {
            let context = node.context();
            let cluster = node.cluster_mut();
            let mut make = || {
                let id = cluster.create_session(now, context, None).ok()?;
                cluster
                    .set_attribute(now, context, &id, "last", value.as_str())
                    .ok()?;
                // A session timeout that the run may have is not for these.
                cluster
                    .set_max_inactive_interval(now, context, &id, 1800)
                    .ok()?;
                cluster.request_completed(now, context, &id).ok()?;
                cluster.end_access(now, context, &id);
                Some(id)
            };
            let (kept, ended) = (make()?, make()?);
            cluster.expire_session(now, context, &ended);
            Some((kept, ended))
        });
        if let Some(Some((kept, ended))) = made {
            self.last.push((kept, Some(value)));
            self.last.push((ended, None));
        }
    }
}
