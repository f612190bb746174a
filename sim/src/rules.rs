//! What every cluster has to do, whatever runs above its channels.

use std::time::Duration;

use folkmoot_core::channel::{Channel, Limits, UniqueId};

use crate::machine::{Machine, NodeId};
use crate::world::{Crash, Identity, NodeState, World};

/// A node with a channel to look at.
pub trait OnChannel: Machine {
    /// The channel.
    fn channel(&self) -> &Channel;
}

/// Looks after the queues of a node.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// So many times nobody looks: where members are many, most of what happens concerns one of them.
    skip: usize,
}

/// With so many members more, each look at all of their queues is followed by one more time without.
const LOOKED_AT: usize = 16;

impl Queues {
    /// What is wrong if more than `max` bytes wait for somebody.
    pub(crate) fn over(&mut self, channel: &Channel, max: usize) -> Option<(&'static str, String)> {
        if let Some(skip) = self.skip.checked_sub(1) {
            self.skip = skip;
            return None;
        }
        let mut members = 0;
        for (index, _) in channel.members() {
            members += 1;
            let queued = channel.queue_bytes(index);
            if queued > max {
                let what = format!("{queued} bytes for a member, {max} allowed");
                return Some(("no queue over its bound", what));
            }
        }
        self.skip = members / LOOKED_AT;
        None
    }
}

/// A goodbye is heard within this time.
const GOODBYE: Duration = Duration::from_millis(1500);
/// A node without power is missed within this time: `dropTime`, a round of checks, and what a check may take.
const MISSED: Duration = Duration::from_secs(12);
/// A node that starts is known to everybody within this time.
const KNOWN: Duration = Duration::from_secs(8);
/// A kernel has given up all connections that died before.
const GIVEN_UP: Duration = Duration::from_secs(25);

/// Whether every running node sees all others that run, in their present incarnations, and nobody else.
///
/// # Errors
/// The first node that does not, and what it sees.
pub(crate) fn members_are_accurate<M: OnChannel>(world: &World<M>) -> Result<(), String> {
    let running = |node: &NodeId| Some((*node, world.machine(*node)?.channel()));
    let channels: Vec<(NodeId, &Channel)> =
        world.node_ids().filter_map(|node| running(&node)).collect();
    for (node, channel) in &channels {
        let mut seen: Vec<_> = channel
            .members()
            .filter_map(|(_, member)| Some((crate::group::node_of(member)?, member.unique_id)))
            .collect();
        seen.sort();
        let others = channels.iter().filter(|(other, _)| other != node);
        let ours = others.map(|(other, channel)| (*other, channel.local_member().unique_id));
        let strangers = (world.stranger_ids())
            .filter(|stranger| world.state(*stranger) == NodeState::Running)
            .map(|stranger| (stranger, UniqueId(world.unique_id(stranger))));
        if !ours.chain(strangers).eq(seen.iter().copied()) {
            let seen: Vec<String> = (seen.iter())
                .map(|(node, id)| format!("{node} {id}"))
                .collect();
            return Err(format!("{node} sees {seen:?}"));
        }
    }
    Ok(())
}

/// Breaks a rule for every node that still counts `node` as a member.
pub(crate) fn nobody_counts<M: OnChannel>(
    world: &mut World<M>,
    node: NodeId,
    rule: &'static str,
    when: &str,
) {
    for other in world.node_ids().filter(|other| *other != node) {
        let Some(machine) = world.machine(other) else {
            continue;
        };
        let counted = |(_, member)| crate::group::node_of(member) == Some(node);
        if machine.channel().members().any(counted) {
            world.violate(Some(other), rule, format!("{node} is a member {when}"));
        }
    }
}

/// A node leaves in good order: everybody knows at once.
pub(crate) fn leave<M: OnChannel>(world: &mut World<M>, node: NodeId) {
    world.with(node, |machine, now| machine.stop(now));
    let until = world.now() + GOODBYE;
    while world.now() < until {
        world.run_for(Duration::from_millis(50));
        // Who has said it ends: nobody is to find the address answering.
        if (world.machine(node)).is_some_and(|machine| machine.channel().is_stopped()) {
            world.crash(node, Crash::Process);
        }
    }
    let rule = "who says goodbye is gone at once";
    nobody_counts(world, node, rule, "after its goodbye");
    world.crash(node, Crash::Process);
}

/// A node leaves, another loses power, and both come back: everybody knows in time.
pub(crate) fn come_and_go<M: OnChannel>(world: &mut World<M>, leaver: NodeId, victim: NodeId) {
    leave(world, leaver);
    world.boot(leaver, Identity::New);
    world.run_for(KNOWN);
    everybody_knows(world);
    world.crash(victim, Crash::Host);
    world.run_for(MISSED);
    nobody_counts(world, victim, "who is silent is missed", "without power");
    world.boot(victim, Identity::New);
    world.run_for(KNOWN);
    everybody_knows(world);
}

/// Breaks a rule if somebody is missing or too many.
fn everybody_knows<M: OnChannel>(world: &mut World<M>) {
    if let Err(why) = members_are_accurate(world) {
        world.violate(None, "who starts is known to everybody", why);
    }
}

/// Waits until every connection that died in silence has been noticed, provided that all of them are used.
pub(crate) fn let_the_dead_rest<M: OnChannel>(world: &mut World<M>) {
    world.run_for(GIVEN_UP);
}

/// How many sessions each of so many nodes makes to use every connection once: each choice tells all the others, so that where they are many
/// fewer have to do.
pub(crate) fn warm_up_sessions(nodes: usize) -> usize {
    (2000 / nodes.max(1)).clamp(10, 40)
}

/// Connections from one of our nodes to another and back: one of each kind and direction, and a check or two under way.
pub(crate) const FEW: usize = 7;
/// The same for nodes that send as Tomcats do, each from a pool.
pub(crate) const POOLED: usize = 60;

/// How many connections a node takes in a cluster of so many: at most as many as each may have with each, as its owner would set it up.
pub(crate) fn connections_max(nodes: u16) -> usize {
    (usize::from(nodes) * POOLED / 2).max(Limits::default().connections_max)
}

/// Breaks a rule if something is kept that nobody needs any more: to be asked when nothing is under way. Two nodes may
/// have `connections` between them.
pub(crate) fn nothing_is_kept<M: OnChannel>(world: &mut World<M>, connections: usize) {
    let nodes: Vec<NodeId> = world.node_ids().collect();
    // What nodes say to each other all the time may be on its way just now.
    let mut tries = 0;
    while tries < 4 && nodes.iter().any(|node| !kept_by(world, *node).is_empty()) {
        world.run_for(Duration::from_millis(130));
        tries += 1;
    }
    for node in &nodes {
        let kept = kept_by(world, *node);
        if !kept.is_empty() {
            world.violate(Some(*node), "nothing is kept for nobody", kept.join(", "));
        }
    }
    let (_, streams) = world.load();
    // A Tomcat sends from a pool of connections to each.
    let strangers = world.stranger_ids().count();
    let most = nodes.len() * nodes.len() * connections + nodes.len() * strangers * 40 + 4;
    if streams > most {
        let what = format!("{streams} streams for {} nodes", nodes.len());
        world.violate(None, "no connection is leaked", what);
    }
}

/// What a node keeps for others.
fn kept_by<M: OnChannel>(world: &World<M>, node: NodeId) -> Vec<String> {
    let Some(machine) = world.machine(node) else {
        return Vec::new();
    };
    let channel = machine.channel();
    let incomplete = channel.kept().incomplete_bytes;
    let incomplete = (incomplete > 0).then(|| format!("{incomplete} bytes of incomplete frames"));
    let kept = |(index, member)| {
        let bytes = channel.queue_bytes(index);
        (bytes > 0).then(|| format!("{bytes} bytes for {:?}", crate::group::node_of(member)))
    };
    let queued = channel.members().filter_map(kept);
    queued.chain(incomplete).collect()
}
