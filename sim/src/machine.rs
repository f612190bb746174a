//! What runs on a node: an engine and the application above it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output, Part};
use folkmoot_core::rng::Seed;
use folkmoot_core::time::Instant;

use crate::record::Observed;

/// An engine with its application: what a [`World`](crate::World) is made of.
pub trait Machine: Engine {
    /// The application's turn, after every input and every command: drains the engine's events and does what
    /// follows from them.
    fn turn(&mut self, now: Instant) {
        let _ = now;
    }

    /// The node's wall clock shows `unix_ms` at `now`.
    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        let _ = (now, unix_ms);
    }

    /// A rule that this node has broken since it was last asked, and how.
    ///
    /// The world asks after everything that happens to the node, so it has to be quick.
    fn check(&mut self, now: Instant) -> Option<(&'static str, String)> {
        let _ = now;
        None
    }

    /// The operator asks the node to leave in good order.
    fn stop(&mut self, now: Instant) {
        let _ = now;
    }

    /// The application fails to process the next `count` messages.
    fn fail_next(&mut self, count: u32) {
        let _ = count;
    }

    /// Everything that the node knows and that a person may want to see, for a recording.
    fn observe(&self, seen: &mut Observed<'_>) {
        let _ = seen;
    }

    /// What `bytes` on a stream or in a datagram are, for a trace that people read.
    fn describe(&self, bytes: &[u8]) -> String {
        let _ = bytes;
        String::new()
    }
}

/// What runs on a host: one of ours, or a stranger.
pub(crate) enum Inhabitant<M> {
    Ours(M),
    Stranger(Box<dyn Machine>),
}

/// Makes a stranger each time it starts.
pub(crate) type StrangerFactory = Box<dyn FnMut(&Boot) -> Box<dyn Machine>>;

impl<M: Machine> Inhabitant<M> {
    /// Ours, if it is.
    pub(crate) fn ours(&self) -> Option<&M> {
        match self {
            Self::Ours(machine) => Some(machine),
            Self::Stranger(_) => None,
        }
    }

    /// Ours, if it is.
    pub(crate) fn ours_mut(&mut self) -> Option<&mut M> {
        match self {
            Self::Ours(machine) => Some(machine),
            Self::Stranger(_) => None,
        }
    }
}

impl<M: Machine> Engine for Inhabitant<M> {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match self {
            Self::Ours(machine) => machine.handle(now, input),
            Self::Stranger(machine) => machine.handle(now, input),
        }
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        match self {
            Self::Ours(machine) => machine.accept(now, from),
            Self::Stranger(machine) => machine.accept(now, from),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Ours(machine) => machine.poll_output(),
            Self::Stranger(machine) => machine.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Ours(machine) => machine.poll_timeout(),
            Self::Stranger(machine) => machine.poll_timeout(),
        }
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        match self {
            Self::Ours(machine) => machine.transmit(conn, out),
            Self::Stranger(machine) => machine.transmit(conn, out),
        }
    }

    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        match self {
            Self::Ours(machine) => machine.transmit_parts(conn, take),
            Self::Stranger(machine) => machine.transmit_parts(conn, take),
        }
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        match self {
            Self::Ours(machine) => machine.transmitted(now, conn, len),
            Self::Stranger(machine) => machine.transmitted(now, conn, len),
        }
    }
}

impl<M: Machine> Machine for Inhabitant<M> {
    fn turn(&mut self, now: Instant) {
        match self {
            Self::Ours(machine) => machine.turn(now),
            Self::Stranger(machine) => machine.turn(now),
        }
    }

    fn set_wall_clock(&mut self, now: Instant, unix_ms: u64) {
        match self {
            Self::Ours(machine) => machine.set_wall_clock(now, unix_ms),
            Self::Stranger(machine) => machine.set_wall_clock(now, unix_ms),
        }
    }

    fn check(&mut self, now: Instant) -> Option<(&'static str, String)> {
        match self {
            Self::Ours(machine) => machine.check(now),
            Self::Stranger(machine) => machine.check(now),
        }
    }

    fn observe(&self, seen: &mut Observed<'_>) {
        match self {
            Self::Ours(machine) => machine.observe(seen),
            Self::Stranger(machine) => machine.observe(seen),
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        match self {
            Self::Ours(machine) => machine.describe(bytes),
            Self::Stranger(machine) => machine.describe(bytes),
        }
    }
}

/// A node of a world: its place in the order of [`World::add_node`](crate::World::add_node).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u16);

impl NodeId {
    /// The `index`th node.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Its place.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The address its receiver is reached at.
    pub const fn address(self) -> SocketAddr {
        let (high, low) = ((self.0 / PER_NET) as u8, (self.0 % PER_NET) as u8);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low + 1)), 4000)
    }

    /// Whose address this is, if there are that many nodes.
    pub(crate) fn at(address: SocketAddr, nodes: usize) -> Option<Self> {
        let IpAddr::V4(ip) = address.ip() else {
            return None;
        };
        let [10, 0, high, low] = ip.octets() else {
            return None;
        };
        let index = u16::from(high) * PER_NET + u16::from(low.checked_sub(1)?);
        (usize::from(index) < nodes).then_some(Self(index))
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Nodes in one of the simulated /24 networks.
const PER_NET: u16 = 250;

/// What a node knows when it starts.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Which node it is.
    pub node: NodeId,
    /// Where its receiver is reached.
    pub address: SocketAddr,
    /// All the chance its engine has.
    pub seed: Seed,
    /// The unique id its member carries.
    pub unique_id: [u8; 16],
    /// The unique id of the incarnation before, if it has changed.
    pub previous_unique_id: Option<[u8; 16]>,
    /// How often the node has started before.
    pub restarts: u32,
    /// Its monotonic clock.
    pub now: Instant,
    /// Its wall clock, milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Virtual time, nanoseconds.
    pub at: u64,
    /// The node, if it is one node's fault.
    pub node: Option<NodeId>,
    /// The rule, by name.
    pub rule: &'static str,
    /// How it was broken.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000_000, self.at / 1_000 % 1_000_000);
        write!(f, "{} at {seconds}.{micros:06} s", self.rule)?;
        if let Some(node) = self.node {
            write!(f, " on {node}")?;
        }
        write!(f, ": {}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_node() {
        for index in [0, 1, 249, 250, 1000] {
            let node = NodeId::new(index);
            assert_eq!(NodeId::at(node.address(), 1001), Some(node));
            assert_eq!(NodeId::at(node.address(), usize::from(index)), None);
        }
        assert_eq!(NodeId::at("10.0.0.0:4000".parse().unwrap(), 10), None);
        assert_eq!(NodeId::at("[::1]:4000".parse().unwrap(), 10), None);
    }
}
