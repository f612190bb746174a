//! Clients behind a sticky front that fails over, and a plain map of what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use folkmoot_core::channel::UniqueId;
use folkmoot_core::session::SessionId;

use super::mix::{Act, Habits};
use super::{Held, Life, Oracle, SessionNode, value_text};
use crate::machine::NodeId;
use crate::rng::SimRng;
use crate::world::World;

/// One client and its session.
#[derive(Clone, Debug)]
pub struct Shopper {
    /// The cookie.
    pub id: SessionId,
    /// The node that answers.
    pub node: NodeId,
    /// How often that node had started when it answered last.
    pub boot: u32,
    /// What the session holds, as the client was told: the number of the write to each attribute.
    pub attributes: BTreeMap<String, u64>,
    /// Every life of every node that this session was used on.
    pub lives: BTreeSet<(u16, u32)>,
    /// When it was last used.
    pub used_at: Duration,
    /// Whether all of its life was in calm times.
    pub calm: bool,
    /// Its requests that are still running.
    pub running: u32,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Front {
    /// Clients whose session should be there.
    pub shoppers: Vec<Shopper>,
    /// Ids of sessions that were invalidated, or that have another id now.
    pub gone: Vec<(SessionId, bool)>,
    /// Those of them that a client has got back with the route of its node.
    pub got_back: BTreeSet<SessionId>,
    /// Requests that are still running: until when, where, on which session.
    open: Vec<(Duration, NodeId, u32, SessionId)>,
    writes: u64,
    /// Who wrote what, and who has it.
    pub oracle: Oracle,
    /// What a client did so long ago is everywhere, as long as it is calm: it may be sent to any node then.
    pub settles_within: Option<Duration>,
    /// Calm clients that were sent to another node.
    pub sent_elsewhere: u64,
    /// Whether somebody says anything: then nothing can be concluded from what sessions hold.
    pub has_liar: bool,
    /// What clients do how often.
    pub(super) habits: Habits,
    /// Whether sessions time out by themselves in this run.
    pub expiring: bool,
    /// Whether an acknowledgement says that a message was processed.
    pub synchronous: bool,
    /// Requests answered, refused because nobody was there, and sessions that were not found after a fail-over.
    pub answered: u64,
    /// Requests that no node could take.
    pub unanswered: u64,
    /// Sessions that were not found after a fail-over.
    pub lost: u64,
    /// Sessions whose clients stay away.
    pub abandoned: u64,
}

/// Sessions that are left to themselves where none times out: as many as a donor that takes its time can give before who asked
/// waits no longer.
const ABANDONED_MAX: u64 = 40;
/// Clients at once.
const SHOPPERS: usize = 24;

impl Front {
    /// No clients yet; `expiring` says whether sessions time out by themselves, `synchronous` whether members acknowledge
    /// what they have processed, `has_liar` whether somebody says anything.
    pub fn new(expiring: bool, synchronous: bool, has_liar: bool) -> Self {
        Self {
            expiring,
            synchronous,
            has_liar,
            ..Self::default()
        }
    }

    /// A client does what `rng` decides. `calm` says whether nothing is wrong just now. Says what happened.
    pub fn request(
        &mut self,
        world: &mut World<SessionNode>,
        rng: &mut SimRng,
        calm: bool,
    ) -> String {
        let fresh = self.shoppers.len() < 3
            || (self.shoppers.len() < SHOPPERS && rng.chance(self.habits.enter));
        if fresh {
            return self.enter(world, rng, calm);
        }
        let at = rng.index(self.shoppers.len());
        let Some(moved) = self.route(world, at, rng) else {
            self.unanswered += 1;
            return "nobody answers".into();
        };
        let shopper = &mut self.shoppers[at];
        let node = shopper.node;
        let rested = (self.settles_within)
            .is_some_and(|within| shopper.used_at + within <= world.now() && shopper.running == 0);
        shopper.calm &= calm && (!moved || rested);
        shopper.used_at = world.now();
        shopper.boot = world.boots(node);
        shopper.lives.insert((node.0, shopper.boot));
        let calm = shopper.calm;
        self.sent_elsewhere += u64::from(calm && moved);
        let one_life = shopper.lives.len() == 1 && !self.has_liar;
        let strict = one_life || (calm && self.settles_within.is_some());
        let (shopper_id, known) = (shopper.id.clone(), shopper.attributes.clone());
        let here = world.with(node, |node, now| {
            node.request(now, &shopper_id, |cluster, context| {
                let session = cluster.session(context, &shopper_id)?;
                let mut held = BTreeMap::new();
                for (name, value) in session.attributes() {
                    let number = value_text(value).split(' ').next_back()?.parse().ok()?;
                    held.insert(name.to_string_lossy().into_owned(), number);
                }
                Some(held)
            })
        });
        let Some(Some((held, _))) = here else {
            self.shoppers.swap_remove(at);
            self.lost += 1;
            if strict && calm && !self.expiring {
                world.violate(
                    Some(node),
                    "a session is found where it was made",
                    shopper_id.to_string(),
                );
            }
            return format!("{node} does not know {shopper_id}");
        };
        if strict && held.as_ref() != Some(&known) {
            let what = format!("{shopper_id}: {held:?} instead of {known:?}");
            world.violate(Some(node), "a client reads what it wrote", what);
        }
        self.answered += 1;
        self.act(world, at, held.unwrap_or_default(), rng)
    }

    /// A new client.
    fn enter(&mut self, world: &mut World<SessionNode>, rng: &mut SimRng, calm: bool) -> String {
        let Some(node) = ready_node(world, rng) else {
            self.unanswered += 1;
            return "nobody answers".into();
        };
        self.writes += 1;
        let (number, value) = (self.writes, value(self.writes, rng));
        let id = world.with(node, |node, now| {
            let context = node.context();
            let cluster = node.cluster_mut();
            let id = cluster.create_session(now, context, None).ok()?;
            cluster
                .set_attribute(now, context, &id, "cart", value.as_str())
                .ok()?;
            let sent = cluster.request_completed(now, context, &id).ok()?;
            cluster.end_access(now, context, &id);
            Some((id, sent, node.destinations()))
        });
        let Some(Some((id, sent, to))) = id else {
            return format!("{node} makes no session");
        };
        let life = life(world, node);
        self.oracle.wrote(life, &id, "cart", number, false, 0);
        self.completed(world, life, &id, sent, &to);
        let what = format!("{node} makes {id}");
        self.shoppers.push(Shopper {
            id,
            node,
            boot: world.boots(node),
            running: 0,
            attributes: BTreeMap::from([("cart".to_owned(), number)]),
            lives: BTreeSet::from([(node.0, world.boots(node))]),
            used_at: world.now(),
            calm,
        });
        what
    }

    /// Finds a node for a client's request: its own if that answers, else another, which gives the session its route.
    /// Whether it is another; `None` if no node answers.
    fn route(
        &mut self,
        world: &mut World<SessionNode>,
        at: usize,
        rng: &mut SimRng,
    ) -> Option<bool> {
        let shopper = &mut self.shoppers[at];
        if is_ready(world, shopper.node) {
            // Now and then the front forgets where a client belongs.
            let forgets = match self.settles_within {
                Some(_) => 100_000.max(self.habits.forget),
                None => self.habits.forget,
            };
            if !rng.chance(forgets) {
                return Some(false);
            }
        }
        let node = ready_node(world, rng)?;
        if node == shopper.node {
            return Some(false);
        }
        shopper.node = node;
        let old = shopper.id.clone();
        let new = old.with_jvm_route(&node.to_string());
        if new != old {
            let renamed = world.with(node, |node, now| {
                let context = node.context();
                node.cluster_mut()
                    .change_session_id(now, context, &old, Some(&new))
            });
            if let Some(Ok(new)) = renamed {
                self.oracle.renamed(&old, &new);
                if self.gone.iter().any(|(id, _)| *id == new) {
                    self.got_back.insert(new.clone());
                }
                shopper.id = new;
                self.gone.push((old, false));
            }
        }
        Some(true)
    }

    /// What the client does with its session.
    fn act(
        &mut self,
        world: &mut World<SessionNode>,
        at: usize,
        held: Held,
        rng: &mut SimRng,
    ) -> String {
        let shopper = &mut self.shoppers[at];
        let life = life(world, shopper.node);
        let (id, node) = (shopper.id.clone(), shopper.node);
        let name = format!("a{}", rng.below(5));
        match self.habits.act(rng.below(100)) {
            Act::Write => {
                self.writes += 1;
                let (number, value) = (self.writes, value(self.writes, rng));
                let stays_open = rng.chance(self.habits.overlap);
                let done = world.with(node, |node, now| {
                    let context = node.context();
                    let cluster = node.cluster_mut();
                    if !cluster.access_session(now, context, &id) {
                        return None;
                    }
                    let set =
                        cluster.set_attribute(now, context, &id, name.as_str(), value.as_str());
                    if stays_open {
                        return set.is_ok().then_some(None);
                    }
                    let sent = cluster.request_completed(now, context, &id);
                    cluster.end_access(now, context, &id);
                    set.ok()?;
                    Some(Some((sent.ok()?, node.destinations())))
                });
                let done = done.flatten();
                if let Some(sent) = &done {
                    shopper.attributes.insert(name.clone(), number);
                    let base = held.get(&name).copied().unwrap_or_default();
                    self.oracle.wrote(life, &id, &name, number, false, base);
                    if let Some((sent, to)) = sent {
                        self.completed(world, life, &id, *sent, to);
                    }
                }
                let done = done.is_some();
                if stays_open {
                    let until = world.now() + Duration::from_millis(rng.between(1, 400));
                    self.open.push((until, node, world.boots(node), id.clone()));
                    self.shoppers[at].running += 1;
                }
                format!("{node} sets {name} of {id} to {number}: {done}")
            }
            Act::Remove => {
                let request = |node: &mut SessionNode, now| {
                    let (_, sent) = node.request(now, &id, |cluster, context| {
                        cluster.remove_attribute(now, context, &id, name.as_str())
                    })?;
                    Some((sent.ok()?, node.destinations()))
                };
                if let Some((sent, to)) = world.with(node, request).flatten() {
                    shopper.attributes.remove(&name);
                    if let Some(base) = held.get(&name) {
                        self.writes += 1;
                        let number = self.writes;
                        self.oracle.wrote(life, &id, &name, number, true, *base);
                    }
                    self.completed(world, life, &id, sent, &to);
                }
                format!("{node} removes {name} of {id}")
            }
            Act::End => {
                let invalidate = |node: &mut SessionNode, now| {
                    let context = node.context();
                    node.cluster_mut().expire_session(now, context, &id)
                };
                let done = world.with(node, invalidate);
                if done == Some(true) {
                    self.oracle.ended(life, &id);
                }
                let calm = shopper.calm;
                self.shoppers.swap_remove(at);
                self.gone.push((id.clone(), calm));
                format!("{node} ends {id}: {done:?}")
            }
            Act::Rename => {
                let change = |node: &mut SessionNode, now| {
                    node.request(now, &id, |cluster, context| {
                        cluster.change_session_id(now, context, &id, None)
                    })
                };
                let changed = world.with(node, change).flatten();
                if let Some((Ok(new), _)) = changed {
                    self.oracle.renamed(&id, &new);
                    let calm = shopper.calm;
                    shopper.id = new;
                    self.gone.push((id.clone(), calm));
                }
                format!("{node} gives {id} another id")
            }
            Act::Abandon if self.expiring || self.abandoned < ABANDONED_MAX => {
                self.abandoned += 1;
                self.shoppers.swap_remove(at);
                format!("the client of {id} stays away")
            }
            Act::Abandon | Act::Look => format!("{node} shows {id}"),
        }
    }

    /// Ends the requests whose time has come.
    pub fn complete(&mut self, world: &mut World<SessionNode>) {
        let now = world.now();
        let mut at = 0;
        while at < self.open.len() {
            if self.open[at].0 > now {
                at += 1;
                continue;
            }
            // A process that stands still completes nothing until it goes on.
            if world.state(self.open[at].1) == crate::world::NodeState::Paused {
                at += 1;
                continue;
            }
            let (_, node, boot, id) = self.open.swap_remove(at);
            let by_base = |shopper: &&mut Shopper| shopper.id.base() == id.base();
            let mut shopper = self.shoppers.iter_mut().find(by_base);
            if let Some(shopper) = &mut shopper {
                shopper.running = shopper.running.saturating_sub(1);
                shopper.used_at = now;
            }
            let mut sent = None;
            if world.boots(node) == boot {
                let end = world.with(node, |node, now| {
                    let context = node.context();
                    let sent = node.cluster_mut().request_completed(now, context, &id);
                    node.cluster_mut().end_access(now, context, &id);
                    Some((sent.ok()?, node.destinations(), node.is_ready()))
                });
                sent = end.flatten();
            }
            // Whoever stops in the middle of a request takes its changes along.
            if let Some(shopper) = shopper {
                shopper.calm &= sent.as_ref().is_some_and(|(.., serves)| *serves);
            }
            if let Some((sent, to, _)) = sent {
                let life = life(world, node);
                self.completed(world, life, &id, sent, &to);
            }
        }
        self.settle(world);
    }

    /// A request is over, and this message tells the others.
    fn completed(
        &mut self,
        world: &World<SessionNode>,
        life: Life,
        id: &SessionId,
        sent: Option<UniqueId>,
        to: &[(u16, NodeId)],
    ) {
        let to = to
            .iter()
            .map(|(slot, node)| (*slot, self::life(world, *node)));
        let message = sent.map(|message| (message, to.collect()));
        self.oracle.completed(life, id, message);
    }

    /// Takes note of what the members have acknowledged.
    fn settle(&mut self, world: &World<SessionNode>) {
        for (sender, message) in self.oracle.unsettled() {
            let node = NodeId(sender.0);
            if world.boots(node) != sender.1 {
                self.oracle.forget(sender, message);
                continue;
            }
            let settled = world
                .machine(node)
                .and_then(|node| node.settled.get(&message));
            if let Some(faulty) = settled {
                // Others have received it, or keep it until they have the state of the cluster.
                let has_it = |(node, boots): Life, id: &SessionId| {
                    let node = NodeId(node);
                    let manager = world.machine(node).and_then(SessionNode::manager);
                    let here = manager.is_some_and(|manager| manager.session(id).is_some());
                    self.synchronous && here && world.boots(node) == boots && is_ready(world, node)
                };
                self.oracle.acknowledged(sender, message, faulty, has_it);
            }
        }
    }

    /// Whatever was done so far may be missing where a state comes from.
    pub fn doubt(&mut self) {
        for shopper in &mut self.shoppers {
            shopper.calm = false;
        }
        for (_, calm) in &mut self.gone {
            *calm = false;
        }
    }

    /// Something is wrong from now on: what was used less than `before` ago may not have reached everybody.
    pub fn trouble(&mut self, now: Duration, before: Duration) {
        for shopper in &mut self.shoppers {
            if shopper.used_at + before >= now {
                shopper.calm = false;
            }
        }
        for (_, calm) in &mut self.gone {
            *calm = false;
        }
    }
}

/// The life of a node just now.
fn life(world: &World<SessionNode>, node: NodeId) -> Life {
    (node.0, world.boots(node))
}

/// A value that says which write it was.
fn value(number: u64, rng: &mut SimRng) -> String {
    let fill = match rng.below(30) {
        0 => rng.index(5000),
        1..=5 => rng.index(300),
        _ => 3,
    };
    format!("{} {number}", "x".repeat(fill))
}

/// Whether a node takes requests.
pub(super) fn is_ready(world: &World<SessionNode>, node: NodeId) -> bool {
    let running = world.state(node) == crate::world::NodeState::Running;
    running && world.machine(node).is_some_and(SessionNode::is_ready)
}

fn ready_node(world: &World<SessionNode>, rng: &mut SimRng) -> Option<NodeId> {
    let ready: Vec<NodeId> = world
        .node_ids()
        .filter(|node| is_ready(world, *node))
        .collect();
    (!ready.is_empty()).then(|| *rng.pick(&ready))
}
