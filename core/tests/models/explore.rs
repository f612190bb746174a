//! Every interleaving in a small scope, by `stateright`, over real clusters.
//!
//! A state is the clusters themselves, copied for each thing that may happen next. Two states are the same if every node was
//! told the same in the same order, so nothing is taken for the same that is not.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use folkmoot_core::channel::SendOptions;
use folkmoot_core::session::EventType;
use stateright::{Checker, Model, Property};

use super::net::{Mistake, Net};
use super::oracle::{ACKNOWLEDGED, EQUAL, Oracle, RULES};
use super::scope::{Beginning, Scope, Step};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The next frame of a stream arrives.
    Deliver(u8, u8),
    /// A client goes on.
    Client(u8),
    Die(u8),
    Return(u8),
    Leave(u8),
    CutOff(u8),
    Mend,
    Wait,
}

/// Where an exploration has got to.
#[derive(Clone)]
pub(crate) struct State {
    /// Locked only to be copied: what a cluster holds may be sent to another thread, not shared with it.
    world: Arc<Mutex<World>>,
    /// What decides whether two states are the same.
    identity: (Vec<u64>, Option<usize>, Vec<u8>),
    /// What may happen next.
    next: Vec<Action>,
    broken: Option<(usize, String)>,
    /// Things worth having seen.
    seen: u8,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.identity, self.broken)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.broken == other.broken
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.identity.hash(hasher);
        self.broken.hash(hasher);
    }
}

/// A change under way while the state is: what the scope is about.
const DELTA_DURING_TRANSFER: u8 = 1;
/// A message was kept until the state had come.
const HELD: u8 = 2;
/// Everything was done and nothing was under way.
const CONCLUDED: u8 = 4;

/// The clusters, what somebody outside knows of them, and what is left of the scope.
#[derive(Clone)]
struct World {
    net: Net,
    oracle: Oracle,
    steps: Vec<usize>,
    deaths: u8,
    returns: u8,
    goodbyes: u8,
    partitions: u8,
    waits: u8,
    seen: u8,
}

impl World {
    fn new(scope: &Scope) -> Self {
        let (net, oracle) = scope.begin();
        Self {
            net,
            oracle,
            steps: vec![0; scope.clients.len()],
            deaths: 0,
            returns: 0,
            goodbyes: 0,
            partitions: 0,
            waits: 0,
            seen: 0,
        }
    }

    fn happen(&mut self, scope: &Scope, action: Action) {
        let net = &mut self.net;
        let index = |node: u8| usize::from(node);
        match action {
            Action::Deliver(number, way) => net.deliver(index(number), index(way)),
            Action::Client(client) => {
                let client = index(client);
                let step = scope.clients[client][self.steps[client]];
                self.steps[client] += 1;
                self.step(step);
            }
            Action::Die(node) => {
                self.deaths += 1;
                // What was under way is lost with it.
                self.oracle.tainted |= !net.is_quiet();
                net.kill(index(node));
            }
            Action::Return(node) => {
                self.returns += 1;
                net.restart(index(node));
            }
            Action::Leave(node) => {
                self.goodbyes += 1;
                self.oracle.tainted |= !net.is_quiet();
                net.command(index(node), "leave", |cluster, now, _| cluster.stop(now));
                net.kill(index(node));
            }
            Action::CutOff(node) => {
                self.partitions += 1;
                // Which of two sides is right is not for this model to say.
                self.oracle.tainted = true;
                net.isolated = Some(index(node));
            }
            Action::Mend => net.isolated = None,
            Action::Wait => {
                self.waits += 1;
                // A question that waits too long is put to somebody else; what was held back may be given up.
                self.oracle.tainted |= !net.is_quiet();
                net.wait(scope.wait);
            }
        }
        self.oracle.listen(&mut self.net);
        let (net, mut seen) = (&self.net, 0);
        if net.carries(EventType::SessionDelta) && net.carries(EventType::AllSessionData) {
            seen |= DELTA_DURING_TRANSFER;
        }
        let manager = |node: &super::net::Node| {
            node.cluster
                .manager(node.shop)
                .map(|m| m.received_queue_size())
        };
        if net
            .nodes
            .iter()
            .any(|node| manager(node).is_some_and(|held| held > 0))
        {
            seen |= HELD;
        }
        self.seen |= seen;
    }

    fn step(&mut self, step: Step) {
        let (net, oracle) = (&mut self.net, &mut self.oracle);
        match step {
            Step::Create(node) if net.is_ready(node) => oracle.create(net, node),
            Step::Set(node, session, name) if net.is_ready(node) => {
                oracle.set(net, node, session, name);
            }
            Step::Expire(node, session) if net.is_ready(node) => oracle.expire(net, node, session),
            Step::ChangeId(node, session) if net.is_ready(node) => {
                oracle.change_id(net, node, session);
            }
            // Nobody answers.
            _ => {}
        }
    }

    fn next(&self, scope: &Scope) -> Vec<Action> {
        let net = &self.net;
        let byte = |number: usize| number as u8;
        let mut next: Vec<Action> = net
            .waiting()
            .map(|(number, way)| Action::Deliver(byte(number), byte(way)))
            .collect();
        let clients = self.steps.iter().zip(&scope.clients).enumerate();
        let open = clients.filter(|(_, (step, steps))| **step < steps.len());
        next.extend(open.map(|(client, _)| Action::Client(byte(client))));
        for node in 0..net.nodes.len() {
            let alive = net.nodes[node].alive;
            if alive && self.deaths < scope.deaths && scope.mortal.contains(&node) {
                next.push(Action::Die(byte(node)));
            }
            if alive && self.goodbyes < scope.goodbyes && scope.mortal.contains(&node) {
                next.push(Action::Leave(byte(node)));
            }
            if !alive && self.returns < scope.returns {
                next.push(Action::Return(byte(node)));
            }
            if alive && net.isolated.is_none() && self.partitions < scope.partitions {
                next.push(Action::CutOff(byte(node)));
            }
        }
        if net.isolated.is_some() {
            next.push(Action::Mend);
        }
        if self.waits < scope.waits {
            next.push(Action::Wait);
        }
        next
    }

    /// Where it has got to; at the end of all, whether everything is as it has to be.
    fn state(self, scope: &Scope) -> State {
        let next = self.next(scope);
        let steps = self.steps.iter().map(|step| *step as u8);
        let left = [
            self.deaths,
            self.returns,
            self.goodbyes,
            self.partitions,
            self.waits,
        ];
        let left = left.into_iter().chain(steps).collect();
        let identity = (self.net.identity(), self.net.isolated, left);
        let busy = |action: &Action| {
            matches!(
                action,
                Action::Deliver(..) | Action::Client(_) | Action::Mend
            )
        };
        let (mut broken, mut seen) = (self.oracle.broken.clone(), self.seen);
        if broken.is_none() && !next.iter().any(busy) && self.net.is_quiet() {
            seen |= CONCLUDED;
            let mut end = self.clone();
            end.oracle.conclude(&end.net, false);
            if end.oracle.broken.is_none() {
                // All that clocks bring about comes about: silence is noticed, states are asked for again.
                end.net.calm(Duration::from_secs(12));
                end.oracle.listen(&mut end.net);
                end.oracle.conclude(&end.net, true);
            }
            broken = end.oracle.broken;
        }
        State {
            world: Arc::new(Mutex::new(self)),
            identity,
            next,
            broken,
            seen,
        }
    }
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![World::new(self).state(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_none() {
            actions.extend_from_slice(&state.next);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let happen = || {
            let mut world = last
                .world
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            world.happen(self, action);
            world.state(self)
        };
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(happen));
        Some(next.unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<String>().cloned();
            State {
                next: Vec::new(),
                broken: Some((0, what.unwrap_or_default())),
                ..last.clone()
            }
        }))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn holds<const RULE: usize>(_: &Scope, state: &State) -> bool {
            state.broken.as_ref().is_none_or(|(rule, _)| *rule != RULE)
        }
        vec![
            Property::always(RULES[0], holds::<0>),
            Property::always(RULES[1], holds::<1>),
            Property::always(RULES[2], holds::<2>),
            Property::always(RULES[3], holds::<3>),
            Property::always(RULES[4], holds::<4>),
            Property::always(RULES[5], holds::<5>),
            Property::sometimes(
                "a change and the state are under way together",
                |_, state: &State| state.seen & DELTA_DURING_TRANSFER != 0,
            ),
            Property::sometimes("a message waits for the state", |_, state: &State| {
                state.seen & HELD != 0
            }),
            Property::sometimes("an end is reached", |_, state: &State| {
                state.seen & CONCLUDED != 0
            }),
        ]
    }
}

/// One exploration at a time: each uses both cores.
static ALONE: Mutex<()> = Mutex::new(());

/// The rule that was broken, with what happened before, or the number of states.
type Explored = Result<usize, (usize, String)>;

/// Explores all of a scope.
fn explore(name: &str, scope: Scope) -> Explored {
    let transfer = scope.beginning == Beginning::Asking && !scope.clients.is_empty();
    let checker = scope.checker().threads(2).spawn_dfs().join();
    let states = checker.unique_state_count();
    let broken = checker.discoveries().into_iter().find_map(|(rule, path)| {
        let number = RULES.iter().position(|known| *known == rule)?;
        let last = path.last_state();
        let what = last.broken.as_ref().map_or("", |(_, what)| what.as_str());
        let text = format!("{rule}: {what}\nafter {:?}", path.clone().into_actions());
        Some((number, text))
    });
    if let Some(broken) = broken {
        return Err(broken);
    }
    // What never happens in a scope says nothing about it.
    let both = [
        "a change and the state are under way together",
        "a message waits for the state",
    ];
    let wanted = both
        .into_iter()
        .filter(|_| transfer)
        .chain(["an end is reached"]);
    for wanted in wanted {
        assert!(
            checker.discovery(wanted).is_some(),
            "{name}: never {wanted}"
        );
    }
    println!(
        "{name}: {states} states, up to {} steps",
        checker.max_depth()
    );
    Ok(states)
}

/// Every rule holds in all of a scope, which is not an empty one.
fn holds(name: &str, scope: Scope) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match explore(name, scope) {
        Ok(states) => assert!(states > 50, "{name}: only {states} states"),
        Err((_, broken)) => panic!("{name}: {broken}"),
    }
}

/// This rule is found broken.
fn fails(name: &str, scope: Scope, rule: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match explore(name, scope) {
        Ok(states) => panic!("{name}: nothing found in {states} states"),
        Err((broken, what)) => assert_eq!(broken, rule, "{name}: {what}"),
    }
}

const ASYNCHRONOUS: SendOptions = SendOptions::ASYNCHRONOUS;

fn synchronous() -> SendOptions {
    SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK)
}

/// The third node joins while clients use the others.
fn joining(options: SendOptions, clients: &[&[Step]]) -> Scope {
    Scope {
        clients: clients.iter().map(|steps| steps.to_vec()).collect(),
        ..Scope::new(Beginning::Asking, options)
    }
}

/// Three nodes serve, and clients use them.
fn serving(options: SendOptions, clients: &[&[Step]]) -> Scope {
    Scope {
        clients: clients.iter().map(|steps| steps.to_vec()).collect(),
        ..Scope::new(Beginning::Serving, options)
    }
}

/// What a client of the first node does to the session that is being transferred.
const CHANGE: &[Step] = &[Step::Set(0, 0, "a"), Step::Set(0, 0, "a")];
const END: &[Step] = &[Step::Set(0, 0, "a"), Step::Expire(0, 0)];
const RENAME: &[Step] = &[Step::ChangeId(0, 0), Step::Set(0, 0, "a")];
/// What a client of the second node does meanwhile.
const ANOTHER: &[Step] = &[Step::Create(1)];

#[test]
fn a_state_comes_while_its_session_is_changed() {
    let scope = joining(ASYNCHRONOUS, &[CHANGE, ANOTHER]);
    holds("changed", scope);
    holds(
        "changed and acknowledged",
        joining(synchronous(), &[CHANGE]),
    );
}

#[test]
fn a_state_comes_while_its_session_ends_or_gets_another_id() {
    holds("ended", joining(ASYNCHRONOUS, &[END, ANOTHER]));
    holds("renamed", joining(ASYNCHRONOUS, &[RENAME, ANOTHER]));
}

#[test]
fn nodes_die_while_a_state_is_under_way() {
    let scope = Scope {
        mortal: &[0, 1, 2],
        deaths: 1,
        waits: 1,
        ..joining(ASYNCHRONOUS, &[END])
    };
    holds("a death during a transfer", scope);
}

#[test]
fn what_is_acknowledged_is_there_whoever_dies_or_is_cut_off() {
    let scope = Scope {
        mortal: &[0, 1, 2],
        deaths: 1,
        ..serving(synchronous(), &[CHANGE])
    };
    holds("acknowledged, and a death", scope);
    let scope = Scope {
        partitions: 1,
        waits: 1,
        ..serving(synchronous(), &[CHANGE])
    };
    holds("acknowledged, and a partition", scope);
}

#[test]
fn members_come_go_and_are_cut_off() {
    let scope = Scope {
        mortal: &[1, 2],
        deaths: 1,
        returns: 1,
        partitions: 1,
        waits: 2,
        ..Scope::new(Beginning::Serving, ASYNCHRONOUS)
    };
    holds("a death, a return and a partition", scope);
    let scope = Scope {
        mortal: &[1, 2],
        deaths: 1,
        goodbyes: 1,
        returns: 2,
        waits: 2,
        ..Scope::new(Beginning::Serving, ASYNCHRONOUS)
    };
    holds("a goodbye, a death and their returns", scope);
}

/// A network that loses what it should not is found out: the rules are no decoration.
#[test]
fn an_error_is_found() {
    let lost = |kind, node, scope| Scope {
        mistake: Some(Mistake::Lose(kind, node)),
        ..scope
    };
    let change = serving(ASYNCHRONOUS, &[CHANGE]);
    fails(
        "a delta is lost",
        lost(EventType::SessionDelta, 2, change),
        EQUAL,
    );
    let end = joining(ASYNCHRONOUS, &[END]);
    fails(
        "an end is lost",
        lost(EventType::SessionExpired, 2, end),
        EQUAL,
    );
    let scope = Scope {
        mistake: Some(Mistake::AckInstead(EventType::SessionDelta, 1)),
        ..serving(synchronous(), &[CHANGE])
    };
    fails("an ACK for nothing", scope, ACKNOWLEDGED);
}
