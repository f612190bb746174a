//! Random runs of bare channels.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, Limits};
use folkmoot_core::interceptor::{
    EncryptInterceptor, FragmentationInterceptor, GzipInterceptor, Interceptor, OrderInterceptor,
    ThroughputInterceptor, TwoPhaseCommitInterceptor,
};

use super::{GroupNode, GroupWorld, Layers, Membership, Outcome, Parcel, Promise, SharedLedger};
use crate::fault::FaultKind;
use crate::machine::{Boot, NodeId};
use crate::mix::Mix;
use crate::peers::{Above, Habits, Hostile, Tomcat};
use crate::plan::Plan;
use crate::rng::SimRng;
use crate::rules::{self, members_are_accurate};
use crate::run::Mode;
use crate::world::{NodeState, World};

/// What messages promise, and how often where that is not drawn.
fn promises() -> Mix<3> {
    Mix::common([
        ("ACKs after processing", 33),
        ("ACKs on receipt", 33),
        ("messages without ACK", 34),
    ])
}

/// Bare channels that send each other parcels.
pub struct GroupMode {
    ledger: SharedLedger,
    /// Announcements at each node when all was well first.
    quiet_since: Option<Vec<u64>>,
    /// The last parcels of each node, sent after all was healed.
    last: BTreeMap<u16, Vec<Parcel>>,
    sent: u64,
    refused: BTreeMap<String, u64>,
    /// How often messages are sent with which promise, if that was drawn for this run.
    mix: Option<Mix<3>>,
    /// The chance of the encore.
    rng: SimRng,
    /// What layers change about the messages.
    layers: Layers,
    /// The layers by name.
    stack: Vec<&'static str>,
    /// What the Tomcats did.
    habits: Rc<Habits>,
    /// Connections that two nodes may have between them.
    connections: usize,
}

/// Half of the runs have layers, all nodes the same: some of them those that change bytes, others any, in any order in which
/// they work.
fn interceptors(rng: &mut SimRng, any: Option<&mut SimRng>) -> Vec<Interceptor> {
    let plain = rng.chance(250_000);
    if !plain && any.is_none() {
        return Vec::new();
    }
    let encrypt = EncryptInterceptor {
        // Clocks that disagree are another subject, and so are more messages than are remembered.
        replay_window_time: Duration::from_secs(1 << 24),
        replay_window_message_count: 1 << 20,
        ..EncryptInterceptor::new("000102030405060708090a0b0c0d0e0f")
    };
    let Some(any) = any else {
        let all: [Interceptor; 2] = [GzipInterceptor::default().into(), encrypt.into()];
        return all.into_iter().filter(|_| rng.chance(700_000)).collect();
    };
    let gzip = GzipInterceptor {
        compression_min_size: any.index(2000),
        ..GzipInterceptor::default()
    };
    let fragmentation = FragmentationInterceptor {
        max_size: *any.pick(&[300, 2000, 20_000]),
        ..FragmentationInterceptor::default()
    };
    let order = OrderInterceptor {
        expire: Duration::from_millis(any.between(200, 4000)),
        max_queue: *any.pick(&[5, 1000, i32::MAX as usize]),
        ..OrderInterceptor::default()
    };
    let mut all: Vec<Interceptor> = vec![
        gzip.into(),
        encrypt.into(),
        fragmentation.into(),
        order.into(),
        TwoPhaseCommitInterceptor::default().into(),
    ];
    all.retain(|_| any.chance(500_000));
    any.shuffle(&mut all);
    // All pieces of a message have its id, so that each of them would be taken for a repeat of the first.
    let place = |all: &[Interceptor], is: fn(&Interceptor) -> bool| all.iter().position(is);
    let pieces = place(&all, |layer| matches!(layer, Interceptor::Fragmentation(_)));
    let confirms = place(&all, |layer| {
        matches!(layer, Interceptor::TwoPhaseCommit(_))
    });
    if let (Some(pieces), Some(confirms)) = (pieces, confirms)
        && pieces < confirms
    {
        all.swap(pieces, confirms);
    }
    if any.chance(500_000) {
        let counts = ThroughputInterceptor {
            interval: any.between(1, 500),
        };
        all.insert(0, counts.into());
    }
    all
}

impl Layers {
    /// What these layers change, the first nearest to the application.
    fn of(layers: &[Interceptor]) -> Self {
        let place = |is: fn(&Interceptor) -> bool| layers.iter().position(is);
        let order = place(|layer| matches!(layer, Interceptor::Order(_)));
        let confirms = place(|layer| matches!(layer, Interceptor::TwoPhaseCommit(_)));
        let pieces = place(|layer| matches!(layer, Interceptor::Fragmentation(_)));
        let remembers = place(|layer| matches!(layer, Interceptor::Encrypt(_)));
        Self {
            holds_back: order.is_some(),
            // What is confirmed is numbered when it is sent, and handed on when its confirmation comes.
            orders: order.is_some_and(|order| confirms.is_none_or(|confirms| order < confirms)),
            confirms: confirms.is_some(),
            gathers: confirms.is_some() || pieces.is_some(),
            remembers: remembers.is_some(),
        }
    }
}

/// So long after their sender has gone silent layers have forgotten messages that were never complete or confirmed.
const FORGOTTEN: Duration = Duration::from_secs(62);
/// Lanes that are used in the encore: more than a node has connections to another.
const LANES: u32 = 8;

impl Mode for GroupMode {
    type Node = GroupNode;
    const NAME: &'static str = "group";
    /// A node that was missed for `dropTime`, a retransmission after a long cut, a send that times out, and the
    /// next attempt.
    const CONVERGES_WITHIN: Duration = Duration::from_secs(30);

    fn begin(plan: &Plan) -> (Self, World<GroupNode>) {
        let mut rng = SimRng::fork(plan.seed, 5);
        let membership = match rng.chance(250_000) {
            true => Membership::Static(plan.nodes),
            false => Membership::Multicast,
        };
        let held_up = [FaultKind::Pause, FaultKind::Slow];
        // A process that was held up may read the beginning of a new connection before the rest of an old one. Nodes of ours
        // tell the two apart, because each has one at a time; a sender with several cannot be helped.
        let held_up = plan.kinds.iter().any(|kind| held_up.contains(kind));
        let pipelining = (rng.chance(700_000) || held_up) && !plan.several;
        let queue = *rng.pick(&[5_000, 100_000, Limits::default().queue_bytes_max]);
        let mut any = plan.layers.then(|| SimRng::fork(plan.seed, 18));
        let interceptors = interceptors(&mut rng, any.as_mut());
        let layers = Layers::of(&interceptors);
        let stack = interceptors.iter().map(Interceptor::class_name).collect();
        // A Tomcat of the simulator has no layers.
        let tomcats = match membership {
            Membership::Multicast if interceptors.is_empty() => plan.tomcats,
            _ => 0,
        };
        let honest = plan.nodes + tomcats;
        let connections_max = rules::connections_max(plan.nodes);
        let adjust = move |config: &mut ChannelConfig| {
            config.limits.connections_max = connections_max;
            config.interceptors.clone_from(&interceptors);
            config.sender.pipelining = pipelining;
            config.limits.queue_bytes_max = queue;
            config.limits.message_bytes_max = 1 << 20;
        };
        let mut world =
            GroupWorld::with_config(plan.seed, plan.network.clone(), membership, adjust);
        for _ in 0..plan.nodes {
            world.add_node();
        }
        let (mut world, ledger) = world.into_parts();
        let habits = Rc::<Habits>::default();
        for _ in 0..tomcats {
            let (ledger, habits) = (ledger.clone(), habits.clone());
            world.add_stranger(Box::new(move |boot: &Boot| {
                let above = Above::Parcels(ledger.clone(), (boot.node.0, boot.restarts));
                Box::new(Tomcat::new(boot, above, habits.clone()))
            }));
        }
        ledger.borrow_mut().honest = honest;
        ledger.borrow_mut().layers = layers;
        ledger.borrow_mut().one_connection = pipelining;
        ledger.borrow_mut().tomcats_stand_still = plan.kinds.contains(&FaultKind::StrangerPause);
        ledger.borrow_mut().unordered = held_up && !pipelining;
        if plan.hostile {
            ledger.borrow_mut().has_liar = true;
            let nodes = plan.nodes;
            let greedy = plan.greedy.then_some(plan.network.window);
            world.add_stranger(Box::new(move |boot| {
                Box::new(Hostile::new(boot, nodes, greedy))
            }));
        }
        let mode = Self {
            ledger,
            quiet_since: None,
            last: BTreeMap::new(),
            sent: 0,
            refused: BTreeMap::new(),
            mix: plan.mix.map(|mix| promises().draw(&mut SimRng::new(mix))),
            rng: SimRng::fork(plan.seed, 9),
            layers,
            stack,
            habits,
            connections: match pipelining {
                true => rules::FEW,
                false => rules::POOLED,
            },
        };
        (mode, world)
    }

    fn work(&mut self, world: &mut World<GroupNode>, number: u64) -> String {
        let mut rng = SimRng::new(number);
        let nodes = world.node_ids().count() as u64;
        let from = NodeId(rng.below(nodes) as u16);
        let promise = match &self.mix {
            None => *rng.pick(&[Promise::Queued, Promise::Received, Promise::Processed]),
            Some(mix) => match mix.choose(rng.below(100)) {
                0 => Promise::Processed,
                1 => Promise::Received,
                _ => Promise::Queued,
            },
        };
        let lane = rng.below(4) as u32;
        let len = match rng.below(20) {
            0 => rng.index(60_000),
            1..=5 => rng.index(3000),
            _ => rng.index(300),
        };
        let one = [NodeId(rng.below(nodes) as u16)];
        let to = rng.chance(300_000).then_some(one.as_slice());
        let sent = world.with(from, |node, now| node.send(now, to, promise, lane, len));
        match &sent {
            Some(Ok(_)) => self.sent += 1,
            Some(Err(error)) => {
                let name = format!("{error:?}");
                let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
                *self.refused.entry(name).or_default() += 1;
            }
            None => {}
        }
        format!("{from} sends {promise:?} on lane {lane} to {to:?}: {sent:?}")
    }

    fn watch(&mut self, _world: &mut World<GroupNode>) {}

    fn healed(&mut self, world: &mut World<GroupNode>) {
        for node in world.node_ids() {
            world.with(node, |node, _| node.temper_mut().fail_next = 0);
        }
    }

    fn converged(&mut self, world: &mut World<GroupNode>) -> Result<(), String> {
        let nodes: Vec<NodeId> = world.node_ids().collect();
        members_are_accurate(world)?;
        for node in &nodes {
            let Some(machine) = world.machine(*node) else {
                return Err(format!("{node} does not run"));
            };
            let open = machine.channel().sends_open();
            if open > 0 {
                return Err(format!("{open} sends of {node} are not settled"));
            }
        }
        // A send right after healing may still find a connection that has not noticed; the next one does not.
        let mut waiting = None;
        let alone = self.is_alone(world);
        for node in &nodes {
            let ledger = self.ledger.borrow();
            let last = self.last.entry(node.0).or_default();
            let acknowledged = |parcel: &Parcel| {
                let entry = ledger.entry(parcel);
                entry.is_some_and(|entry| entry.outcome == Outcome::Acknowledged)
            };
            if alone || (!last.is_empty() && last.iter().all(acknowledged)) {
                continue;
            }
            drop(ledger);
            last.clear();
            for lane in 0..3 {
                let send =
                    |node: &mut GroupNode, now| node.send(now, None, Promise::Processed, lane, 50);
                match world.with(*node, send) {
                    Some(Ok(parcel)) => last.push(parcel),
                    Some(Err(error)) => return Err(format!("{node} cannot send: {error}")),
                    None => return Err(format!("{node} does not run")),
                }
            }
            waiting = Some(format!("the last parcels of {node} are not acknowledged"));
        }
        if let Some(waiting) = waiting {
            return Err(waiting);
        }
        let of = |node: &NodeId| world.machine(*node).map_or(0, GroupNode::announcements);
        let announced: Vec<u64> = nodes.iter().map(of).collect();
        let before = self.quiet_since.get_or_insert_with(|| announced.clone());
        if *before != announced {
            *before = announced;
            return Err("members still come and go".into());
        }
        Ok(())
    }

    fn encore(&mut self, world: &mut World<GroupNode>) {
        // What the liar said last has been read by everybody now.
        self.ledger.borrow_mut().has_liar = false;
        // What died in silence is found by sending, on every lane.
        for lane in 0..LANES {
            self.say(world, 1, |_| lane);
        }
        rules::let_the_dead_rest(world);
        let parcels = self.say(world, 12, |rng| rng.below(u64::from(LANES)) as u32);
        world.run_for(Duration::from_secs(2));
        // Many pieces, each after the answer to the one before, take their time.
        let mut tries = 0;
        while tries < 60 && self.layers.gathers && self.is_open(&parcels) {
            world.run_for(Duration::from_secs(1));
            tries += 1;
        }
        self.all_arrived(world, &parcels);
        self.handed_over(world);
        rules::nothing_is_kept(world, self.connections);
        let nodes: Vec<NodeId> = world.node_ids().collect();
        if nodes.len() > 1 {
            let at = self.rng.index(nodes.len());
            let other = (at + 1) % nodes.len();
            if self.layers.confirms && nodes.len() > 2 {
                self.all_or_nobody(world, nodes[at], nodes[other]);
            }
            self.stand_still(world, nodes[at], nodes[other]);
            rules::come_and_go(world, nodes[at], nodes[other]);
        }
        if self.layers.gathers {
            world.run_for(FORGOTTEN);
        }
        for node in nodes {
            let kept = world.machine(node).map(|machine| machine.channel().kept());
            if let Some(kept) = kept.filter(|kept| kept.layer_messages + kept.confirmations > 0) {
                let rule = "nothing is kept for nobody";
                world.violate(Some(node), rule, format!("{kept:?}"));
            }
            if let Some(what) = world.machine(node).and_then(GroupNode::miscounted) {
                let rule = "ThroughputInterceptor counts what passes";
                world.violate(Some(node), rule, what);
            }
        }
    }

    fn finish(&mut self, world: &mut World<GroupNode>) {
        let ledger = self.ledger.borrow();
        let nodes: Vec<NodeId> = world.node_ids().collect();
        for node in &nodes {
            let life = (node.0, world.boots(*node) - 1);
            let open = ledger.entries().filter(|(parcel, entry)| {
                (parcel.from, parcel.boot) == life
                    && entry.promise != Promise::Queued
                    && entry.outcome == Outcome::Open
            });
            let open = open.count();
            if open > 0 {
                let what = format!("{open} sends are open");
                world.violate(Some(*node), "every send is settled", what);
            }
        }
        drop(ledger);
        self.handed_over(world);
    }

    fn covered(&self, world: &World<GroupNode>, into: &mut BTreeMap<String, u64>) {
        if let Some(mix) = &self.mix {
            mix.covered(into);
        }
        let ledger = self.ledger.borrow();
        for (_, entry) in ledger.entries() {
            let outcome = match entry.outcome {
                Outcome::Open => "open",
                Outcome::Acknowledged => "acknowledged",
                Outcome::Faulty(_) => "faulty",
            };
            *into
                .entry(format!("parcel {:?} {outcome}", entry.promise))
                .or_default() += 1;
        }
        for layer in &self.stack {
            *into.entry(format!("layer {layer}")).or_default() += 1;
        }
        *into.entry("parcel delivered".into()).or_default() += ledger.deliveries;
        *into.entry("parcel taken by a Tomcat".into()).or_default() += ledger.taken_by_tomcats;
        *into.entry("parcel delivered again".into()).or_default() += ledger.repeats;
        self.habits.covered(into);
        for (name, count) in &self.refused {
            *into.entry(format!("send refused {name}")).or_default() += count;
        }
        for node in world.node_ids() {
            let Some(machine) = world.machine(node) else {
                continue;
            };
            let stats = machine.channel().stats();
            for (name, count) in [
                ("frames resent", stats.resends),
                ("FAIL_ACKs", stats.fail_acks_received),
                ("destinations faulty", stats.faults),
                ("frames lost", stats.frames_lost),
                ("checks", stats.probes_sent),
                ("checks failed", stats.probes_failed),
                ("members added", stats.members_added),
                ("members gone", stats.members_disappeared),
                ("bad input", stats.bad.total()),
            ] {
                *into.entry(format!("channel {name}")).or_default() += count;
            }
            let layers = stats.interceptors;
            for (name, count) in [
                ("messages held back", layers.order.held),
                ("messages after their turn", layers.order.late),
                (
                    "messages waited for too long",
                    layers.order.forwarded_expired,
                ),
                ("messages in pieces", layers.fragmentation.reassembled),
                (
                    "pieces without the rest",
                    layers.fragmentation.abandoned + layers.fragmentation.expired,
                ),
                ("messages confirmed", layers.two_phase_commit.committed),
                (
                    "messages not confirmed",
                    layers.two_phase_commit.not_confirmed,
                ),
                (
                    "messages nobody confirmed",
                    layers.two_phase_commit.abandoned + layers.two_phase_commit.expired,
                ),
                ("messages compressed", layers.gzip.compressed),
                ("messages encrypted", layers.encrypt.encrypted),
                ("repeats recognised", layers.encrypt.replayed),
            ] {
                *into.entry(format!("layers {name}")).or_default() += count;
            }
        }
    }
}

impl GroupMode {
    /// Whether there is nobody to talk to.
    fn is_alone(&self, world: &World<GroupNode>) -> bool {
        let strangers = world.stranger_ids();
        let strangers = strangers.filter(|node| world.state(*node) == NodeState::Running);
        world.node_ids().count() + strangers.count() < 2
    }

    /// Every node says something in every way, so many times; what was accepted.
    fn say(
        &mut self,
        world: &mut World<GroupNode>,
        times: u32,
        mut lane: impl FnMut(&mut SimRng) -> u32,
    ) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        for _ in 0..times {
            for node in world.node_ids() {
                for promise in [Promise::Queued, Promise::Received, Promise::Processed] {
                    let lane = lane(&mut self.rng);
                    let len = match self.rng.below(10) {
                        0 => self.rng.index(100_000),
                        _ => self.rng.index(400),
                    };
                    let send = |node: &mut GroupNode, now| node.send(now, None, promise, lane, len);
                    parcels.extend(world.with(node, send).and_then(Result::ok));
                }
            }
            world.run_for(Duration::from_millis(self.rng.below(60)));
        }
        parcels
    }

    /// A node stands still for long while another speaks to it and loses its connections: `Sent` comes all the same.
    fn stand_still(&mut self, world: &mut World<GroupNode>, speaker: NodeId, silent: NodeId) {
        world.pause(silent);
        for lane in 0..LANES {
            for promise in [Promise::Received, Promise::Processed] {
                let send = |node: &mut GroupNode, now| {
                    node.send(now, Some(&[silent]), promise, lane, 100).is_ok()
                };
                world.with(speaker, send);
            }
        }
        world.reset_streams(speaker, silent);
        world.run_for(Duration::from_secs(25));
        world.resume(silent);
        world.run_for(Duration::from_secs(8));
    }

    /// Whether a sender has not been told yet what became of one of these.
    fn is_open(&self, parcels: &[Parcel]) -> bool {
        let ledger = self.ledger.borrow();
        let open = |parcel: &Parcel| {
            ledger.entry(parcel).is_some_and(|entry| {
                entry.promise != Promise::Queued && entry.outcome == Outcome::Open
            })
        };
        parcels.iter().any(open)
    }

    /// What a layer held back it has handed over, unless it died with it.
    fn handed_over(&self, world: &mut World<GroupNode>) {
        let owing = self.ledger.borrow();
        let owing = owing.owing().next().map(|(parcel, node)| (*parcel, node));
        if let Some((parcel, node)) = owing {
            let what = format!("n{node} acknowledged {parcel:?} and never handed it over");
            let rule = "an ACK only after what it promises";
            world.violate(Some(NodeId(node)), rule, what);
        }
    }

    /// What one destination does not take nobody gets to see.
    fn all_or_nobody(&self, world: &mut World<GroupNode>, speaker: NodeId, silent: NodeId) {
        world.pause(silent);
        let send = |node: &mut GroupNode, now| node.send(now, None, Promise::Processed, 1, 200);
        let sent = world.with(speaker, send).and_then(Result::ok);
        world.run_for(Duration::from_secs(8));
        world.resume(silent);
        world.run_for(Duration::from_secs(5));
        let ledger = self.ledger.borrow();
        let Some(entry) = sent.and_then(|parcel| ledger.entry(&parcel)) else {
            return;
        };
        let seen = !entry.received.is_empty();
        let nobody = match &entry.outcome {
            Outcome::Faulty(faulty) => entry.to.iter().all(|to| faulty.contains(to)),
            _ => false,
        };
        if !nobody || seen {
            let what = format!("{silent} did not answer: {entry:?}");
            world.violate(
                Some(speaker),
                "with two phases all get a message or nobody",
                what,
            );
        }
    }

    /// Nothing is wrong: each of these has come to everybody, once.
    fn all_arrived(&self, world: &mut World<GroupNode>, parcels: &[Parcel]) {
        let ledger = self.ledger.borrow();
        for parcel in parcels {
            let Some(entry) = ledger.entry(parcel) else {
                continue;
            };
            let from = Some(NodeId(parcel.from));
            let acknowledged = entry.outcome == Outcome::Acknowledged;
            if entry.promise != Promise::Queued && !acknowledged {
                let what = format!("{parcel:?}: {:?}", entry.outcome);
                world.violate(from, "in calm times every send is acknowledged", what);
            }
            for to in &entry.to {
                let life = (*to, world.boots(NodeId(*to)) - 1);
                let times = entry.received.get(&life).copied().unwrap_or(0);
                if times != 1 {
                    let what = format!("{parcel:?} came {times} times");
                    let rule = "in calm times every message arrives once";
                    world.violate(Some(NodeId(*to)), rule, what);
                }
            }
        }
    }
}
