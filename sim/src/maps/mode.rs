//! Random runs of backup managers: every session is on two nodes, and all know where.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, SendOptions};
use folkmoot_core::cluster::Access;
use folkmoot_core::map::EntryState;
use folkmoot_core::session::{BackupManagerConfig, SessionId};

use super::client::Wish;
use super::node::{ATTRIBUTE, Change};
use super::{Client, MapNode, client};
use crate::machine::{Boot, NodeId};
use crate::peers::{Above, Backups, Habits, Hostile, SharedMapShelf, Tomcat, block_of};
use crate::plan::Plan;
use crate::rng::SimRng;
use crate::rules::{self, members_are_accurate};
use crate::run::Mode;
use crate::world::{Crash, Identity, NodeState, World};

/// Backup managers with one application, and clients behind a sticky front.
pub struct MapsMode {
    clients: Vec<Client>,
    /// What the Tomcats hold.
    shelves: Vec<SharedMapShelf>,
    /// What they did.
    habits: Rc<Habits>,
    /// What clients of ours do how often, and whether that was drawn for this run.
    ours: client::Habits,
    mixed: bool,
    /// Requests that go on: until when, where, in which life, on which session.
    open: Vec<(Duration, NodeId, u32, SessionId)>,
    /// Whether somebody is there who says anything.
    hostile: bool,
    /// Sessions that clients have ended, and ids that they have given up.
    ended: Vec<Ended>,
    /// When it was last looked whether one of them is back.
    looked: Duration,
    writes: u64,
    /// Nothing has been wrong since then.
    calm_since: Duration,
    losses: BTreeMap<(u16, u32), u64>,
    states: Vec<(NodeState, u32)>,
    /// Everything is healed and well: nothing may go wrong any more.
    encore: bool,
    /// Sessions made after everything was healed, with the number each has to hold; every second one is ended again.
    last: Vec<(SessionId, Option<u64>)>,
    last_at: Duration,
    seed: u64,
    /// Sessions are being given to a node that starts: what is ended there may be overtaken by the copy that it was to get.
    moving: bool,
    /// Connections that two nodes may have between them.
    connections: usize,
    counts: Counts,
}

/// A session that a client has ended, or an id that it has given up.
#[derive(Clone, Debug)]
struct Ended {
    id: SessionId,
    /// The node that did it, and which life of it: as long as that lasts it knows.
    by: (NodeId, u32),
}

#[derive(Debug, Default)]
struct Counts {
    answered: u64,
    unanswered: u64,
    fetched: u64,
    lost: u64,
    stale: u64,
    survived: u64,
    renamed: u64,
}

/// Clients at once.
const CLIENTS: usize = 24;
/// A request waits so long for its session.
const PATIENCE: Duration = Duration::from_secs(16);
/// So long after the last trouble all queues are empty and all members known.
const CALM_AFTER: Duration = Duration::from_secs(9);
/// So long after a message on a dead connection the kernel has given the connection up.
const DEAD_AFTER: Duration = Duration::from_secs(25);
/// A node without power is missed, and its sessions have found another place, within this time.
const MOVED: Duration = Duration::from_secs(16);
/// How often ended sessions are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The map's name on the wire.
const MAP: &[u8] = b"localhost#/shop-map";
/// A node that starts has the state of the map within this time.
const JOINED: Duration = Duration::from_secs(20);

fn states(world: &World<MapNode>) -> Vec<(NodeState, u32)> {
    let state = |node| (world.state(node), world.boots(node));
    world.node_ids().map(state).collect()
}

fn is_ready(world: &World<MapNode>, node: NodeId) -> bool {
    world.state(node) == NodeState::Running && world.machine(node).is_some_and(MapNode::is_ready)
}

fn running(world: &World<MapNode>) -> Vec<NodeId> {
    let runs = |node: &NodeId| world.state(*node) == NodeState::Running;
    world.node_ids().filter(runs).collect()
}

impl Mode for MapsMode {
    type Node = MapNode;
    const NAME: &'static str = "maps";
    /// As for sessions: a state that comes late, and the next attempt.
    const CONVERGES_WITHIN: Duration = Duration::from_secs(80);

    fn begin(plan: &Plan) -> (Self, World<MapNode>) {
        let mut rng = SimRng::fork(plan.seed, 11);
        let options = *rng.pick(&[6, 6, 2, 8]);
        let pipelining = !rng.chance(300_000);
        let record_joins = rng.chance(700_000);
        let connections_max = rules::connections_max(plan.nodes);
        let factory = move |boot: &Boot| {
            let mut channel = ChannelConfig::new(boot.address);
            channel.sender.pipelining = pipelining;
            channel.limits.connections_max = connections_max;
            let manager = BackupManagerConfig {
                map_send_options: SendOptions::from_bits(options),
                record_joins,
                ..BackupManagerConfig::default()
            };
            MapNode::new(boot, channel, manager)
        };
        let mut world = World::new(plan.seed, plan.network.clone(), factory);
        if plan.steady {
            world.keep_strangers_steady();
        }
        for _ in 0..plan.nodes {
            world.add_node();
        }
        let mut shelves = Vec::new();
        let habits = Rc::<Habits>::default();
        for _ in 0..plan.tomcats {
            let (habits, shelf) = (habits.clone(), SharedMapShelf::default());
            shelves.push(shelf.clone());
            world.add_stranger(Box::new(move |boot: &Boot| {
                let options = SendOptions::from_bits(options);
                let me = (boot.address, block_of(&Tomcat::member(boot)));
                let route = boot.node.to_string();
                let backups = Backups::new(shelf.clone(), options, route, me, boot.now);
                let above = Above::Maps(Box::new(backups));
                Box::new(Tomcat::new(boot, above, habits.clone()))
            }));
        }
        if plan.hostile {
            let nodes = plan.nodes;
            world.add_stranger(Box::new(move |boot| {
                Box::new(Hostile::new(boot, nodes, None).with_map(MAP))
            }));
        }
        let mode = Self {
            clients: Vec::new(),
            shelves,
            habits,
            ours: match plan.mix {
                Some(mix) => client::Habits::draw(&mut SimRng::new(mix)),
                None => client::Habits::default(),
            },
            mixed: plan.mix.is_some(),
            open: Vec::new(),
            hostile: plan.hostile,
            ended: Vec::new(),
            looked: Duration::ZERO,
            writes: 0,
            calm_since: Duration::ZERO,
            losses: BTreeMap::new(),
            states: Vec::new(),
            encore: false,
            last: Vec::new(),
            last_at: Duration::ZERO,
            seed: plan.seed,
            moving: false,
            connections: match pipelining {
                true => rules::FEW,
                false => rules::POOLED,
            },
            counts: Counts::default(),
        };
        (mode, world)
    }

    fn work(&mut self, world: &mut World<MapNode>, number: u64) -> String {
        self.watch(world);
        self.request(world, &mut SimRng::new(number))
    }

    fn watch(&mut self, world: &mut World<MapNode>) {
        self.go_on(world);
        let states = states(world);
        let mut trouble = states != self.states;
        self.states = states;
        for node in world.node_ids() {
            let losses = world.machine(node).map_or(0, |machine| machine.losses);
            let seen = self.losses.entry((node.0, world.boots(node))).or_default();
            trouble |= *seen != losses || !is_ready(world, node);
            *seen = losses;
        }
        if trouble && !self.encore {
            self.trouble(world.now());
        }
        if world.now() >= self.looked + LOOK_EVERY {
            self.looked = world.now();
            self.nothing_returns(world);
        }
    }

    fn healed(&mut self, world: &mut World<MapNode>) {
        self.trouble(world.now());
        if self.hostile {
            // What it has put into the map is there like anything else.
            self.hostile = false;
            self.clients.clear();
            self.ended.clear();
        }
    }

    fn converged(&mut self, world: &mut World<MapNode>) -> Result<(), String> {
        let nodes: Vec<NodeId> = world.node_ids().collect();
        members_are_accurate(world)?;
        for node in &nodes {
            let Some(machine) = world.machine(*node) else {
                return Err(format!("{node} does not run"));
            };
            let Some(manager) = machine.manager().filter(|_| machine.is_ready()) else {
                return Err(format!("{node} does not serve"));
            };
            let members = manager.members().count();
            if members + 1 != nodes.len() + self.shelves.len() {
                return Err(format!("{node} shares its map with {members}"));
            }
        }
        for shelf in &self.shelves {
            let shelf = shelf.borrow();
            if !shelf.is_ready || shelf.members + 1 != nodes.len() + self.shelves.len() {
                return Err(format!("a Tomcat shares its map with {}", shelf.members));
            }
        }
        // The first message after healing may still find a connection that has died in silence.
        if world.now() < self.calm_since + CALM_AFTER {
            self.last.clear();
            return Err("the last trouble is not long ago".into());
        }
        if world.now() > self.last_at + DEAD_AFTER {
            self.last.clear();
        }
        if self.last.is_empty() {
            self.last_at = world.now();
            for node in &nodes {
                for ended in [false, true] {
                    self.last_session(world, *node, ended);
                }
            }
            return Err("the last sessions are under way".into());
        }
        for (id, number) in &self.last {
            self.whole(world, id, *number, None)?;
        }
        // A Tomcat remembers nothing that was removed, and those who send as it does tell nobody.
        if self.all_remember() {
            self.ended_is_nowhere(world)?;
        }
        Ok(())
    }

    fn encore(&mut self, world: &mut World<MapNode>) {
        let mut rng = SimRng::fork(self.seed, 12);
        self.clients.clear();
        // What died in silence is found by sending.
        for _ in 0..rules::warm_up_sessions(world.node_ids().count()) {
            for node in world.node_ids() {
                world.with(node, |node, now| {
                    let id = node.create(now, "0");
                    id.map(|id| node.end(now, &id))
                });
            }
            world.run_for(Duration::from_millis(5));
        }
        rules::let_the_dead_rest(world);
        self.ended.clear();
        self.encore = true;
        for shelf in &self.shelves {
            shelf.borrow_mut().is_calm = true;
        }
        self.shop(world, &mut rng, 200);
        self.all_whole(world, "in calm times");
        self.tomcats_whole(world, "in calm times", None);
        rules::nothing_is_kept(world, self.connections);
        let nodes = running(world);
        if nodes.len() < 2 || !world.violations().is_empty() {
            return;
        }
        // Any one node goes, with or without a word: nothing is lost. It comes back, and everything is known to it.
        let victim = *rng.pick(&nodes);
        match rng.below(3) {
            0 => rules::leave(world, victim),
            1 => world.crash(victim, Crash::Process),
            _ => world.crash(victim, Crash::Host),
        }
        world.run_for(MOVED);
        self.all_whole(world, "without one node");
        self.tomcats_whole(world, "without one node", None);
        self.counts.survived += self.clients.len() as u64;
        self.shop(world, &mut rng, 100);
        world.boot(victim, Identity::New);
        // While it gets the state there is work.
        self.moving = true;
        self.shop(world, &mut rng, 300);
        world.run_for(JOINED);
        self.moving = false;
        if !is_ready(world, victim) {
            let rule = "who starts serves in the end";
            world.violate(Some(victim), rule, format!("not after {JOINED:?}"));
        }
        self.shop(world, &mut rng, 100);
        self.all_whole(world, "with everybody again");
        self.tomcats_whole(world, "with everybody again", Some(victim));
    }

    fn finish(&mut self, _world: &mut World<MapNode>) {}

    fn covered(&self, world: &World<MapNode>, into: &mut BTreeMap<String, u64>) {
        for (name, count) in [
            ("requests answered", self.counts.answered),
            ("requests unanswered", self.counts.unanswered),
            (
                "requests that waited for their session",
                self.counts.fetched,
            ),
            ("sessions not found after faults", self.counts.lost),
            ("older values read after faults", self.counts.stale),
            ("sessions that outlived a node", self.counts.survived),
            ("sessions ended or renamed", self.ended.len() as u64),
            ("changes of id", self.counts.renamed),
        ] {
            *into.entry(format!("front {name}")).or_default() += count;
        }
        if self.mixed {
            self.ours.covered(into);
        }
        self.habits.covered(into);
        for shelf in &self.shelves {
            let shelf = shelf.borrow();
            for (name, count) in [
                ("map messages taken", shelf.taken),
                ("sessions of others taken over", shelf.fetched),
                ("states of maps given", shelf.given),
                ("sessions made", shelf.made),
                ("sessions made in calm times", shelf.own.len() as u64),
            ] {
                *into.entry(format!("Tomcat {name}")).or_default() += count;
            }
        }
        for node in world.node_ids() {
            let Some(manager) = world.machine(node).and_then(MapNode::manager) else {
                continue;
            };
            let stats = manager.map_stats();
            for (name, count) in [
                ("refused because it was removed", stats.departed_refused),
                ("told of a removal", stats.departed_told),
            ] {
                *into.entry(format!("map {name}")).or_default() += count;
            }
            for id in manager.session_ids_full() {
                if let Some(role) = manager.role(&id) {
                    *into.entry(format!("entry {role:?}")).or_default() += 1;
                }
            }
        }
    }
}

impl MapsMode {
    /// A map promises nothing about what was there when something went wrong, but that it is well afterwards.
    fn trouble(&mut self, now: Duration) {
        self.calm_since = now;
        for client in &mut self.clients {
            client.calm = false;
        }
    }

    /// A client does what `rng` decides; says what happened.
    fn request(&mut self, world: &mut World<MapNode>, rng: &mut SimRng) -> String {
        let few = self.clients.len() < 3;
        if few || (self.clients.len() < CLIENTS && rng.chance(self.ours.enter)) {
            return self.enter(world, rng);
        }
        let at = rng.index(self.clients.len());
        if self.clients[at].waits.is_some() {
            return "a client waits".into();
        }
        // Now and then the front forgets where a client belongs, if the last word has had time to get around: it waits behind
        // all that is being given to a node that starts.
        let client = &self.clients[at];
        let goes_on = self.open.iter().any(|(.., id)| *id == client.id);
        let rested =
            !self.moving && !goes_on && client.used_at + Duration::from_millis(50) <= world.now();
        let often = match self.encore {
            true => self.ours.forget.max(100_000),
            false => self.ours.forget,
        };
        let forgets = rested && rng.chance(often);
        let node = client.node;
        if forgets || !is_ready(world, node) {
            let Some(node) = ready_node(world, rng) else {
                self.counts.unanswered += 1;
                return "nobody answers".into();
            };
            self.clients[at].node = node;
        }
        let wish = match self.ours.wish(rng.below(100), self.writes + 1) {
            Wish::Write(number) => {
                self.writes = number;
                Wish::Write(number)
            }
            Wish::End | Wish::Rename if self.moving && !self.all_remember() => Wish::Look,
            wish => wish,
        };
        let goes_on = match wish {
            Wish::Write(_) if rng.chance(self.ours.overlap) => {
                Some(Duration::from_millis(rng.between(1, 400)))
            }
            _ => None,
        };
        let what = format!(
            "{wish:?} {} on {}",
            self.clients[at].id, self.clients[at].node
        );
        self.clients[at].waits = Some((wish, world.now() + PATIENCE));
        self.clients[at].goes_on = goes_on;
        if self.serve(world, at) {
            return what;
        }
        self.counts.fetched += 1;
        format!("{what} waits")
    }

    fn enter(&mut self, world: &mut World<MapNode>, rng: &mut SimRng) -> String {
        let Some(node) = ready_node(world, rng) else {
            self.counts.unanswered += 1;
            return "nobody answers".into();
        };
        self.writes += 1;
        let number = self.writes;
        let make = |node: &mut MapNode, now| node.create(now, &number.to_string());
        let Some(Some(id)) = world.with(node, make) else {
            return format!("{node} makes no session");
        };
        let what = format!("{node} makes {id}");
        // Whose clients are sent anywhere may get what is still on its way to where they were.
        let alone = !self.hostile && self.shelves.is_empty();
        let calm = self.encore || (alone && world.now() >= self.calm_since + CALM_AFTER);
        self.clients.push(Client {
            id,
            node,
            number,
            wrote: BTreeSet::from([number]),
            lives: BTreeSet::from([(node.0, world.boots(node))]),
            calm,
            used_at: world.now(),
            waits: None,
            goes_on: None,
        });
        what
    }

    /// Requests that wait for their sessions try again.
    fn go_on(&mut self, world: &mut World<MapNode>) {
        self.complete(world);
        let mut at = self.clients.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            if self.clients[at].waits.is_some() {
                self.serve(world, at);
            }
        }
    }

    /// Ends the requests whose time has come.
    fn complete(&mut self, world: &mut World<MapNode>) {
        let now = world.now();
        // A process that stands still completes nothing until it goes on.
        let is_over = |open: &(Duration, NodeId, u32, SessionId)| {
            open.0 <= now && world.state(open.1) != NodeState::Paused
        };
        let over: Vec<_> = self.open.extract_if(.., |open| is_over(open)).collect();
        for (_, node, life, id) in over {
            // Whoever stops in the middle of a request takes its changes along.
            if world.boots(node) == life {
                world.with(node, |node, now| node.complete(now, &id));
            }
            if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
                client.used_at = now;
            }
        }
    }

    /// Tries to answer the request of a client; whether it is over, and the client perhaps gone.
    fn serve(&mut self, world: &mut World<MapNode>, at: usize) -> bool {
        let life = (self.clients[at].node.0, world.boots(self.clients[at].node));
        let client = &mut self.clients[at];
        let Some((wish, until)) = client.waits else {
            return true;
        };
        let same = client.lives.iter().all(|before| *before == life);
        let strict = client.calm && (self.encore || same);
        let (id, node, now) = (client.id.clone(), client.node, world.now());
        let goes_on = client.goes_on;
        let mut renamed = None;
        let served = world.with(node, |node, now| match wish {
            Wish::End => (node.end(now, &id), None),
            Wish::Rename => {
                let (access, held, new) = node.rename(now, &id);
                renamed = new;
                (access, held)
            }
            Wish::Look => node.request(now, &id, Change::Nothing, false),
            Wish::Remove => node.request(now, &id, Change::Remove, false),
            Wish::Write(number) => {
                let value = number.to_string();
                node.request(now, &id, Change::Set(&value), goes_on.is_some())
            }
        });
        match served {
            Some((Access::Here, held)) => {
                client.waits = None;
                client.used_at = now;
                self.counts.answered += 1;
                if wish == Wish::End {
                    let gone = self.clients.swap_remove(at);
                    let by = (node, world.boots(node));
                    self.ended.push(Ended { id: gone.id, by });
                    return true;
                }
                let held = held.and_then(|held| held.parse::<u64>().ok());
                let held = held.unwrap_or(0);
                client.lives.insert(life);
                let right = match strict {
                    true => held == client.number,
                    // The session has come over before what was set in it, or somebody has written something else.
                    false => held == 0 || self.hostile || client.wrote.contains(&held),
                };
                self.counts.stale += u64::from(right && held != client.number);
                if !right {
                    let rule = match strict {
                        true => "a client reads what it wrote",
                        false => "nothing comes from nowhere",
                    };
                    let what = format!("{id}: {held} instead of {}", client.number);
                    world.violate(Some(node), rule, what);
                }
                match wish {
                    Wish::Write(number) => {
                        client.number = number;
                        client.wrote.insert(number);
                        if let Some(time) = goes_on {
                            self.open.push((now + time, node, life.1, id));
                        }
                    }
                    Wish::Remove => client.number = 0,
                    Wish::Look | Wish::End | Wish::Rename => {}
                }
                if let Some(new) = renamed {
                    let old = std::mem::replace(&mut client.id, new.clone());
                    for open in self.open.iter_mut().filter(|open| open.3 == old) {
                        open.3 = new.clone();
                    }
                    let by = (node, life.1);
                    self.counts.renamed += 1;
                    self.ended.push(Ended { id: old, by });
                }
                true
            }
            Some((Access::Fetching, _)) if now < until => false,
            _ => {
                self.clients.swap_remove(at);
                self.counts.lost += 1;
                if strict && served.is_some() {
                    let rule = "a session is found where it was made";
                    world.violate(Some(node), rule, id.to_string());
                }
                true
            }
        }
    }

    /// A session that is kept, or one that is ended, made when all is well.
    fn last_session(&mut self, world: &mut World<MapNode>, node: NodeId, ended: bool) {
        self.writes += 1;
        let number = self.writes;
        let made = world.with(node, |node, now| {
            let id = node.create(now, &number.to_string())?;
            if ended {
                node.end(now, &id);
            }
            Some(id)
        });
        if let Some(Some(id)) = made {
            self.last.push((id, (!ended).then_some(number)));
        }
    }

    /// Clients come so many times.
    fn shop(&mut self, world: &mut World<MapNode>, rng: &mut SimRng, times: u32) {
        for _ in 0..times {
            if !world.violations().is_empty() {
                return;
            }
            self.request(world, rng);
            world.run_for(Duration::from_millis(rng.below(20)));
            self.go_on(world);
        }
        // The longest way to the last node.
        for _ in 0..20 {
            world.run_for(Duration::from_millis(100));
            self.go_on(world);
        }
        self.nothing_returns(world);
    }

    /// Whether all nodes know each other as ours: what others say of an entry that was removed is taken.
    fn all_remember(&self) -> bool {
        self.shelves.is_empty() && self.connections == rules::FEW
    }

    /// A node that has ended a session never has it again.
    fn nothing_returns(&self, world: &mut World<MapNode>) {
        // Who speaks in the names of others can make everything anew.
        if self.hostile || !self.all_remember() {
            return;
        }
        for ended in &self.ended {
            let (node, life) = ended.by;
            let role = match world.boots(node) == life {
                true => world
                    .machine(node)
                    .and_then(|machine| machine.role(&ended.id)),
                false => None,
            };
            if let Some(role) = role {
                let rule = "a session that has ended never comes back";
                let what = format!("{} is here again ({role:?})", ended.id);
                return world.violate(Some(node), rule, what);
            }
        }
    }

    /// What was ended on a node that lives on is nowhere.
    fn ended_is_nowhere(&self, world: &World<MapNode>) -> Result<(), String> {
        for ended in &self.ended {
            let (node, life) = ended.by;
            if world.boots(node) != life || world.state(node) != NodeState::Running {
                continue;
            }
            for other in running(world) {
                let role = world
                    .machine(other)
                    .and_then(|machine| machine.role(&ended.id));
                if let Some(role) = role {
                    return Err(format!(
                        "{} was ended on {node} and is on {other} ({role:?})",
                        ended.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every session that clients have is whole, and what they ended or gave up is nowhere.
    fn all_whole(&self, world: &mut World<MapNode>, when: &str) {
        let kept = self.clients.iter().map(|c| (c.id.clone(), Some(c.number)));
        let gone = self.ended.iter().map(|ended| (ended.id.clone(), None));
        let broken: Vec<String> = (kept.chain(gone))
            .filter_map(|(id, number)| self.whole(world, &id, number, None).err())
            .collect();
        if let Some(first) = broken.first() {
            let what = format!("{when}: {first}, and {} more", broken.len() - 1);
            world.violate(None, "a session is on two nodes, and all know where", what);
        }
    }

    /// What clients of the Tomcats made in calm times is whole, too, once they have done nothing for a while. A node that came `back` may keep
    /// what a Tomcat gave it before it left it out, for it had not started in time.
    fn tomcats_whole(&self, world: &mut World<MapNode>, when: &str, back: Option<NodeId>) {
        if self.shelves.is_empty() || !world.violations().is_empty() {
            return;
        }
        let close = |closed| {
            for shelf in &self.shelves {
                shelf.borrow_mut().is_closed = closed;
            }
        };
        close(true);
        world.run_for(Duration::from_secs(1));
        let own = self.shelves.iter().flat_map(|shelf| {
            let own = shelf.borrow().own.clone();
            own.into_iter()
        });
        let broken: Vec<String> = own
            .filter_map(|(id, number)| self.whole(world, &id, number, back).err())
            .collect();
        if let Some(first) = broken.first() {
            let what = format!("{when}: {first}, and {} more", broken.len() - 1);
            let rule = "what a Tomcat made in calm times is here, too";
            world.violate(None, rule, what);
        }
        close(false);
    }

    /// Whether a session has one primary and one backup with that number, and all others that run know it; or whether
    /// nobody knows it.
    fn whole(
        &self,
        world: &World<MapNode>,
        id: &SessionId,
        number: Option<u64>,
        back: Option<NodeId>,
    ) -> Result<(), String> {
        let nodes = running(world);
        let machines = nodes.iter().filter_map(|node| world.machine(*node));
        let ours = machines.map(|machine| (machine.role(id), machine.value(id)));
        let tomcats = self.shelves.iter().map(|shelf| {
            let shelf = shelf.borrow();
            (shelf.role(id), shelf.value(id, ATTRIBUTE))
        });
        let mut held: Vec<(Option<EntryState>, Option<String>)> = ours.chain(tomcats).collect();
        let has = |(role, _): &&(Option<EntryState>, _)| *role == Some(EntryState::Backup);
        if held.iter().filter(has).count() > 1
            && let Some(at) = back.and_then(|back| nodes.iter().position(|node| *node == back))
            && let Some(older) = held.get_mut(at).filter(|held| has(&&**held))
        {
            *older = (Some(EntryState::Proxy), None);
        }
        let roles: Vec<Option<EntryState>> = held.iter().map(|(role, _)| *role).collect();
        let Some(number) = number else {
            return match roles.iter().any(Option::is_some) {
                true => Err(format!("{id} has ended and is there: {roles:?}")),
                false => Ok(()),
            };
        };
        let count = |role| roles.iter().filter(|seen| **seen == Some(role)).count();
        let backups = usize::from(held.len() > 1);
        if count(EntryState::Primary) != 1
            || count(EntryState::Backup) != backups
            || roles.contains(&None)
        {
            return Err(format!("{id}: {roles:?}"));
        }
        let wanted = (number > 0).then(|| number.to_string());
        for (role, value) in held {
            let has_it = role.is_some_and(EntryState::is_active);
            if has_it && value != wanted {
                return Err(format!("{id} holds {value:?} instead of {number}"));
            }
        }
        Ok(())
    }
}

fn ready_node(world: &World<MapNode>, rng: &mut SimRng) -> Option<NodeId> {
    let nodes = world.node_ids();
    let ready: Vec<NodeId> = nodes.filter(|node| is_ready(world, *node)).collect();
    (!ready.is_empty()).then(|| *rng.pick(&ready))
}
