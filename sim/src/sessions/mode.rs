//! Random runs of clusters: clients, faults, and what every node has to hold in the end.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, SendOptions};
use folkmoot_core::session::{EventType, SessionId};

use super::front::is_ready;
use super::mix;
use super::node::NEVER_BACK;
use super::{
    Front, Held, ReaderConfig, SessionConfig, SessionNode, SessionWorld, Shopper, value_text,
};
use crate::fault::FaultKind;
use crate::group::Membership;
use crate::machine::{Boot, Machine, NodeId};
use crate::peers::{ATTRIBUTE, Above, Habits, Hostile, PATIENCE, Sessions, SharedShelf, Tomcat};
use crate::plan::Plan;
use crate::rng::SimRng;
use crate::rules::{self, members_are_accurate, nobody_counts};
use crate::run::Mode;
use crate::world::{Crash, Identity, NodeState, World};

/// Clusters with one application, and clients behind a sticky front.
pub struct SessionMode {
    front: Front,
    /// What the Tomcats hold.
    shelves: Vec<SharedShelf>,
    /// What they did.
    habits: Rc<Habits>,
    /// Whether what clients do how often was drawn for this run.
    mixed: bool,
    /// Whether somebody is there who says anything.
    hostile: bool,
    /// Nothing has been wrong since then.
    calm_since: Duration,
    /// What was wrong last.
    last_trouble: &'static str,
    /// Losses seen at each node in its life.
    losses: BTreeMap<(u16, u32), u64>,
    /// States of the nodes, and of strangers, when they were last looked at.
    states: Vec<(NodeState, u32)>,
    strangers: Vec<(NodeState, u32)>,
    /// Whether links are cut or stalled by the plan at all.
    rough_links: bool,
    /// Sessions made after everything was healed, with the value each has to hold; the last is ended again.
    last: Vec<(SessionId, Option<String>)>,
    /// When they were made.
    last_at: Duration,
    seed: u64,
    options: SendOptions,
    /// Whether the nodes compare their sessions.
    ours: bool,
    /// Whether some nodes get their application later than they become members.
    late: bool,
    /// Whether the nodes are configured with each other.
    configured: bool,
    /// Whether they read with several threads.
    readers: bool,
    /// Nodes that were restarted under calm clients.
    rolled: Vec<NodeId>,
}

/// So long after the last trouble all queues are empty and all members known.
const CALM_AFTER: Duration = Duration::from_secs(9);
/// What was sent so long before a trouble has arrived.
const ARRIVED_AFTER: Duration = Duration::from_secs(5);
/// Whether each node runs, and which life of it.
fn states(
    world: &World<SessionNode>,
    nodes: impl Iterator<Item = NodeId>,
) -> Vec<(NodeState, u32)> {
    let state = |node| (world.state(node), world.boots(node));
    nodes.map(state).collect()
}

/// A node makes so many sessions and ends them, each over the connections that its id chooses.
fn warm_up(world: &mut World<SessionNode>, node: NodeId, sessions: usize) {
    world.with(node, |node, now| {
        let context = node.context();
        let cluster = node.cluster_mut();
        for _ in 0..sessions {
            if let Ok(id) = cluster.create_session(now, context, None) {
                cluster.end_access(now, context, &id);
                cluster.expire_session(now, context, &id);
            }
        }
    });
}

/// The session timeout of runs that have a short one, seconds.
const EXPIRING_AFTER: i32 = 6;
/// Bytes that may wait for one member in runs whose queues get full.
const SHORT_QUEUE: usize = 20_000;
/// The reading threads of nodes that have some.
const READERS: ReaderConfig = ReaderConfig {
    threads: 2,
    wait_max_ns: 200_000,
};
/// What a client did so long ago is everywhere, on a network without trouble.
const SETTLES_WITHIN: Duration = Duration::from_millis(50);
/// So long after a message on a dead connection the kernel has given the connection up.
const DEAD_AFTER: Duration = Duration::from_secs(25);

impl SessionMode {
    fn is_calm(&self, now: Duration) -> bool {
        let quiet = !self.rough_links && !self.hostile && !self.tomcats_wait();
        quiet && now >= self.calm_since + CALM_AFTER
    }

    /// Whether a Tomcat waits for the state. It keeps what comes meanwhile to itself, and gives others less than there is.
    fn tomcats_wait(&self) -> bool {
        self.shelves.iter().any(|shelf| shelf.borrow().waits)
    }

    fn trouble(&mut self, now: Duration, what: &'static str) {
        (self.calm_since, self.last_trouble) = (now, what);
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
        config.has_liar = plan.hostile;
        config.has_tomcats = plan.tomcats > 0;
        let expiring = rng.chance(200_000);
        if expiring {
            config.manager.session_timeout = EXPIRING_AFTER;
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
        config.connections_max = Some(rules::connections_max(plan.nodes));
        config.late = *rng.pick(&[0, 0, 3]);
        if plan.tight {
            config.queue_bytes_max = Some(SHORT_QUEUE);
        }
        // What comparisons would put right has to be right without them, too.
        let ours = if rng.chance(200_000) {
            config.manager.reconcile_interval = Duration::ZERO;
            false
        } else {
            ours
        };
        let late = config.late > 0;
        // A configured node asks for the state as soon as it knows the others, who may know of it a moment later: what they change meanwhile
        // comes with the first comparison.
        let configured = plan.configured && ours;
        if configured {
            config.membership = Membership::Static(plan.nodes);
        }
        config.readers = plan.readers.then_some(READERS);
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
        let mut world = world.into_world();
        let mut shelves = Vec::new();
        let habits = Rc::<Habits>::default();
        for _ in 0..plan.tomcats {
            let habits = habits.clone();
            let shelf = SharedShelf::default();
            shelves.push(shelf.clone());
            world.add_stranger(Box::new(move |boot: &Boot| {
                let route = boot.node.to_string();
                let sessions = Sessions::new(shelf.clone(), options, route, boot.now);
                let above = Above::Sessions(Box::new(sessions));
                Box::new(Tomcat::new(boot, above, habits.clone()))
            }));
        }
        if plan.hostile {
            let nodes = plan.nodes;
            let greedy = plan.greedy.then_some(plan.network.window);
            world.add_stranger(Box::new(move |boot| {
                Box::new(Hostile::new(boot, nodes, greedy))
            }));
        }
        let mut front = Front::new(
            expiring,
            options.contains(SendOptions::SYNCHRONIZED_ACK),
            plan.hostile,
        );
        if let Some(mix) = plan.mix {
            front.habits = mix::Habits::draw(&mut SimRng::new(mix));
        }
        let mode = Self {
            shelves,
            habits,
            mixed: plan.mix.is_some(),
            hostile: plan.hostile,
            front,
            calm_since: Duration::ZERO,
            last_trouble: "the beginning",
            losses: BTreeMap::new(),
            states: Vec::new(),
            strangers: Vec::new(),
            rough_links: rough,
            last: Vec::new(),
            last_at: Duration::ZERO,
            seed: plan.seed,
            options,
            // Strangers do not compare: what they bring may differ.
            ours: ours && plan.tomcats == 0 && !plan.hostile,
            late,
            configured,
            readers: plan.readers,
            rolled: Vec::new(),
        };
        (mode, world)
    }

    fn work(&mut self, world: &mut World<SessionNode>, number: u64) -> String {
        self.watch(world);
        let calm = self.is_calm(world.now());
        self.front.request(world, &mut SimRng::new(number), calm)
    }

    fn watch(&mut self, world: &mut World<SessionNode>) {
        self.front.complete(world);
        let now = world.now();
        let mut trouble = None;
        let now_so = states(world, world.node_ids());
        if now_so != self.states {
            trouble = Some("a node has started, ended, or stood still");
        }
        self.states = now_so;
        // A Tomcat that stood still or comes back has missed something, and may give its state to others.
        let strangers = states(world, world.stranger_ids());
        if strangers != self.strangers || self.tomcats_wait() {
            self.front.doubt();
        }
        if strangers != self.strangers {
            trouble = Some("a stranger has started, ended, or stood still");
        }
        self.strangers = strangers;
        for node in world.node_ids() {
            let losses = world.machine(node).map_or(0, |machine| machine.losses);
            let seen = self.losses.entry((node.0, world.boots(node))).or_default();
            if *seen != losses {
                trouble = Some("a message may be lost");
            }
            if !is_ready(world, node) {
                trouble = Some("a node does not serve");
            }
            *seen = losses;
            let back = world.machine(node).map_or(&[][..], |machine| &machine.back);
            let revived = back.iter().find(|id| !self.front.got_back.contains(*id));
            let what =
                revived.map(|id| format!("{id} is here again, and no client has got it back"));
            if let Some(what) = what
                && world.violations().is_empty()
            {
                world.violate(Some(node), NEVER_BACK, what);
            }
        }
        if let Some(what) = trouble {
            self.trouble(now, what);
        }
    }

    fn healed(&mut self, world: &mut World<SessionNode>) {
        self.trouble(world.now(), "the time of faults");
    }

    fn converged(&mut self, world: &mut World<SessionNode>) -> Result<(), String> {
        let nodes: Vec<NodeId> = world.node_ids().collect();
        members_are_accurate(world)?;
        for node in &nodes {
            let Some(machine) = world.machine(*node) else {
                return Err(format!("{node} does not run"));
            };
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
            // The last sessions have found one. The others are found now: each attempt by itself uses a few at random.
            if self.last_at > Duration::ZERO {
                for node in &nodes {
                    warm_up(world, *node, 1);
                }
            }
            self.last.clear();
            let (what, ago) = (self.last_trouble, world.now() - self.calm_since);
            return Err(format!("the last trouble was {ago:?} ago: {what}"));
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
                let manager = world.machine(*node).and_then(SessionNode::manager);
                let session = manager.and_then(|manager| manager.session(id));
                let held = session.map(|session| session.attribute("last"));
                let held = held.map(|last| last.map(value_text).unwrap_or_default());
                if held != *value {
                    return Err(format!("{node} has {held:?} in {id}, not {value:?}"));
                }
            }
        }
        if self.ours {
            self.equal(world, &nodes)?;
        }
        Ok(())
    }

    fn encore(&mut self, world: &mut World<SessionNode>) {
        let mut rng = SimRng::fork(self.seed, 7);
        self.rough_links = false;
        self.front.shoppers.clear();
        // What the liar said last has been read by everybody now.
        self.hostile = false;
        self.front.has_liar = false;
        self.front.settles_within = Some(SETTLES_WITHIN);
        // What died in silence is found by sending: sessions choose their connections by their ids.
        let sessions = rules::warm_up_sessions(world.node_ids().count());
        for node in world.node_ids() {
            warm_up(world, node, sessions);
        }
        rules::let_the_dead_rest(world);
        // Who asked somebody who is gone, or could not be reached, takes what has come meanwhile only when it gives up.
        let until = world.now() + PATIENCE;
        while self.tomcats_wait() && world.now() < until {
            world.run_for(Duration::from_secs(1));
        }
        self.watch(world);
        for shelf in &self.shelves {
            shelf.borrow_mut().is_calm = true;
        }
        self.shop(world, &mut rng, 300, 10);
        let nodes: Vec<NodeId> = world.node_ids().collect();
        // One node, or all of them, one after another: a rolling restart.
        let rolling = match nodes.len() {
            1 => 0,
            // A Tomcat gives its state before it has worked off all that it has read, and who has the application only from then
            // on has not kept what came before.
            _ if self.late && !self.shelves.is_empty() => 0,
            2..=4 if rng.chance(200_000) => nodes.len(),
            _ => 1,
        };
        for node in nodes.iter().rev().take(rolling) {
            if self.is_calm(world.now()) && world.violations().is_empty() {
                // Where a client may be sent meanwhile it may find what is still on its way.
                self.front.settles_within = None;
                self.roll(world, &mut rng, *node);
                self.rolled.push(*node);
            }
        }
        for shelf in &self.shelves {
            shelf.borrow_mut().is_closed = true;
        }
        world.run_for(Duration::from_secs(1));
        self.one_primary(world);
        if !self.front.expiring {
            self.tomcats_agree(world);
        }
        rules::nothing_is_kept(world, rules::FEW);
        if self.front.expiring {
            self.time_out(world);
        }
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
    }

    fn covered(&self, world: &World<SessionNode>, into: &mut BTreeMap<String, u64>) {
        let front = &self.front;
        let calm = front.shoppers.iter().filter(|shopper| shopper.calm).count() as u64;
        for (name, count) in [
            ("requests answered", front.answered),
            ("requests unanswered", front.unanswered),
            ("sessions not found after fail-over", front.lost),
            ("sessions left to themselves", front.abandoned),
            ("sessions at the end", front.shoppers.len() as u64),
            ("sessions of calm times at the end", calm),
            ("sessions ended or renamed", front.gone.len() as u64),
            ("clients sent elsewhere in calm times", front.sent_elsewhere),
            (
                "nodes restarted under calm clients",
                self.rolled.len() as u64,
            ),
        ] {
            *into.entry(format!("front {name}")).or_default() += count;
        }
        *into
            .entry(format!("options {}", self.options.bits()))
            .or_default() += 1;
        for (name, there) in [
            ("configured members", self.configured),
            ("reading threads", self.readers),
        ] {
            *into.entry(format!("with {name}")).or_default() += u64::from(there);
        }
        if self.mixed {
            front.habits.covered(into);
        }
        self.habits.covered(into);
        for shelf in &self.shelves {
            let shelf = shelf.borrow();
            for (name, count) in [
                ("messages taken", shelf.taken),
                ("deltas dropped", shelf.dropped),
                ("states given", shelf.given),
                ("sessions made in calm times", shelf.made.len() as u64),
            ] {
                *into.entry(format!("Tomcat {name}")).or_default() += count;
            }
        }
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
                ("states gone on with elsewhere", stats.transfers_resumed),
                ("states not got", stats.counter_no_state_transferred),
                ("sessions timed out", stats.expired_sessions),
                (
                    "members left out while their queues were full",
                    world.machine(node).map_or(0, |node| node.lags),
                ),
                (
                    "deltas applied ahead",
                    world
                        .machine(node)
                        .map_or(0, |node| node.cluster().stats().applied_ahead),
                ),
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

    /// Clients come, up to so many milliseconds apart.
    fn shop(&mut self, world: &mut World<SessionNode>, rng: &mut SimRng, times: u32, apart: u64) {
        for _ in 0..times {
            let calm = self.is_calm(world.now());
            self.front.request(world, rng, calm);
            world.run_for(Duration::from_millis(rng.below(apart)));
            self.watch(world);
        }
        // The longest request, and the way to the last node.
        world.run_for(Duration::from_secs(1));
        self.watch(world);
    }

    /// A node leaves and comes back while clients are at work: the state it gets, and what comes meanwhile, is all there is.
    fn roll(&mut self, world: &mut World<SessionNode>, rng: &mut SimRng, node: NodeId) {
        let mut serve = |front: &mut Front, world: &mut World<SessionNode>, times, apart| {
            for _ in 0..times {
                if !world.violations().is_empty() {
                    return;
                }
                front.request(world, rng, true);
                world.run_for(Duration::from_millis(rng.below(apart)));
                front.complete(world);
            }
        };
        serve(&mut self.front, world, 20, 10);
        world.with(node, |machine, now| machine.stop(now));
        serve(&mut self.front, world, 60, 50);
        if world.violations().is_empty() {
            let rule = "who says goodbye is gone at once";
            nobody_counts(world, node, rule, "after its goodbye");
        }
        world.crash(node, Crash::Process);
        serve(&mut self.front, world, 20, 50);
        let began = world.now();
        world.boot(node, Identity::New);
        // Long enough to be heard of, to be given the state, and to serve.
        serve(&mut self.front, world, 1000, 6);
        let until = world.now() + Self::CONVERGES_WITHIN;
        while !is_ready(world, node) && world.now() < until && world.violations().is_empty() {
            serve(&mut self.front, world, 50, 50);
        }
        world.run_for(Duration::from_secs(2));
        self.front.complete(world);
        // It has been watched here, and nothing else was wrong.
        self.states = states(world, world.node_ids());
        for node in world.node_ids() {
            let losses = world.machine(node).map_or(0, |machine| machine.losses);
            self.losses.insert((node.0, world.boots(node)), losses);
        }
        if !is_ready(world, node) {
            let what = format!("{node} came back {:?} ago", world.now() - began);
            world.violate(Some(node), "who starts serves in the end", what);
        }
    }

    /// Who served a client last is the primary of its session, and nobody else.
    fn one_primary(&self, world: &mut World<SessionNode>) {
        let calm = |shopper: &&Shopper| shopper.calm && !self.front.expiring;
        for shopper in self.front.shoppers.iter().filter(calm) {
            let is_primary = |node: &NodeId| {
                let session = world.machine(*node)?.manager()?.session(&shopper.id)?;
                session.is_primary().then_some(*node)
            };
            let primaries: Vec<NodeId> = (world.node_ids())
                .filter_map(|node| is_primary(&node))
                .collect();
            // Whoever has left has left its sessions to nobody.
            if primaries != [shopper.node] && !primaries.is_empty() {
                let (id, served) = (&shopper.id, shopper.node);
                let what = format!("{primaries:?} for {id}, which {served} served");
                world.violate(None, "a session has one primary", what);
            }
        }
    }

    /// What was done on either side in calm times is on the other.
    fn tomcats_agree(&self, world: &mut World<SessionNode>) {
        let rule = "what was made in calm times is on Tomcats, too";
        for shelf in &self.shelves {
            let shelf = shelf.borrow();
            for shopper in self.front.shoppers.iter().filter(|shopper| shopper.calm) {
                let held = shelf.sessions.get(&shopper.id);
                let held = held.map(|held| {
                    let number = |value| value_text(value).split(' ').next_back()?.parse().ok();
                    (held.iter())
                        .map(|(name, value)| (name.to_string_lossy().into_owned(), number(value)))
                        .collect::<BTreeMap<String, Option<u64>>>()
                });
                let wanted = (shopper.attributes.iter())
                    .map(|(name, number)| (name.clone(), Some(*number)))
                    .collect();
                if held.as_ref() != Some(&wanted) {
                    let what = format!("{}: {held:?} instead of {wanted:?}", shopper.id);
                    world.violate(None, rule, what);
                }
            }
            for (id, _) in self.front.gone.iter().filter(|(_, calm)| *calm) {
                if shelf.sessions.contains_key(id) {
                    let what = format!("{id} has ended and is on a Tomcat");
                    world.violate(None, rule, what);
                }
            }
            for (id, wanted) in &shelf.made {
                for node in world.node_ids() {
                    // One Tomcat may have dropped what another sent it, and a state that it gave lacks that as well.
                    if self.shelves.len() > 1 && self.rolled.contains(&node) {
                        continue;
                    }
                    let held = world.machine(node).and_then(SessionNode::manager);
                    let held = held.and_then(|manager| manager.session(id));
                    let held = held.map(|session| session.attribute(ATTRIBUTE).map(value_text));
                    let wanted = wanted.map(|number| Some(number.to_string()));
                    if held != wanted {
                        let what = format!("{id}: {held:?} instead of {wanted:?}");
                        let rule = "what a Tomcat made in calm times is here, too";
                        world.violate(Some(node), rule, what);
                    }
                }
            }
        }
    }

    /// Nobody uses the sessions any more: their time is over, on copies after twice as long.
    fn time_out(&mut self, world: &mut World<SessionNode>) {
        self.front.shoppers.clear();
        world.run_for(Duration::from_secs(2 * EXPIRING_AFTER as u64 + 4));
        let strangers: Vec<String> = (world.stranger_ids())
            .map(|node| node.to_string())
            .collect();
        for node in world.node_ids() {
            let sessions = world.machine(node).and_then(SessionNode::manager);
            let short = sessions
                .into_iter()
                .flat_map(|manager| manager.sessions())
                .filter(|session| session.max_inactive_interval() == EXPIRING_AFTER)
                // What a Tomcat made ends when the Tomcat says so.
                .filter(|session| {
                    !strangers
                        .iter()
                        .any(|route| session.id().jvm_route() == Some(route.as_bytes()))
                });
            let ids: Vec<String> = short.map(|session| session.id().to_string()).collect();
            if !ids.is_empty() {
                let rule = "who is not used any more ends";
                world.violate(Some(node), rule, ids.join(", "));
            }
        }
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
