//! The way from one node to another: how long it takes, what it loses, whether it is cut.

use crate::rng::{Ppm, SimRng};

/// How the network behaves; drawn anew for each run by the plan of a random run, or set by a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Shortest and longest base latency of a link, nanoseconds; each direction draws its own.
    pub latency_ns: (u64, u64),
    /// Up to this much more for each segment and datagram, nanoseconds.
    pub jitter_ns: u64,
    /// How often a datagram or segment takes `spike_ns` longer still.
    pub spike: Ppm,
    /// How much longer, nanoseconds.
    pub spike_ns: u64,
    /// Bytes a second in each direction of a link; 0 is without limit.
    pub bandwidth: u64,
    /// Bytes of a stream and direction between the sender's and the receiver's process.
    pub window: usize,
    /// The longest segment.
    pub segment_max: usize,
    /// How often a write is cut into small segments and a read into small pieces.
    pub fragment: Ppm,
    /// How often a datagram is lost.
    pub datagram_loss: Ppm,
    /// How often a datagram comes twice.
    pub datagram_double: Ppm,
    /// How often a connection request is refused although somebody listens.
    pub refuse: Ppm,
    /// How often a connection request takes a second longer, as when its first segment was lost.
    pub slow_connect: Ppm,
    /// Connections a listener's queue holds; requests beyond it are ignored and sent again.
    pub backlog: u32,
    /// How long a node's kernel tries to connect before it says [`TimedOut`], nanoseconds.
    ///
    /// [`TimedOut`]: folkmoot_core::engine::CloseReason::TimedOut
    pub connect_timeout_ns: u64,
    /// The longest pause between two retransmissions over a cut link, nanoseconds.
    pub retransmit_max_ns: u64,
    /// How long a segment is retransmitted before its connection times out, nanoseconds: what the driver sets as
    /// `TCP_USER_TIMEOUT`.
    pub retransmit_timeout_ns: u64,
}

impl NetworkConfig {
    /// A quiet local network: 50 to 250 µs, nothing lost.
    pub const fn quiet() -> Self {
        Self {
            latency_ns: (50_000, 250_000),
            jitter_ns: 20_000,
            spike: 0,
            spike_ns: 0,
            bandwidth: 0,
            window: 256 << 10,
            segment_max: 64 << 10,
            fragment: 0,
            datagram_loss: 0,
            datagram_double: 0,
            refuse: 0,
            slow_connect: 0,
            backlog: 128,
            connect_timeout_ns: 127_000_000_000,
            retransmit_max_ns: 16_000_000_000,
            retransmit_timeout_ns: 20_000_000_000,
        }
    }
}

/// What becomes of traffic that a partition stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// It passes: the link is whole.
    #[default]
    Whole,
    /// It vanishes without a word.
    Dropped,
    /// It vanishes, and a connection request is answered with "unreachable".
    Rejected,
}

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    latency: u64,
    /// Until when earlier bytes occupy the wire.
    occupied_until: u64,
    /// Until when nothing passes, without being lost.
    stalled_until: u64,
    cut: Cut,
}

/// All links of a world.
#[derive(Debug)]
pub(crate) struct Links {
    config: NetworkConfig,
    nodes: usize,
    links: Vec<Link>,
}

impl Links {
    pub(crate) fn new(config: NetworkConfig) -> Self {
        let (nodes, links) = (0, Vec::new());
        Self {
            config,
            nodes,
            links,
        }
    }

    pub(crate) const fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(crate) const fn config_mut(&mut self) -> &mut NetworkConfig {
        &mut self.config
    }

    /// Lays links to and from one more node.
    pub(crate) fn add_node(&mut self, rng: &mut SimRng) {
        let nodes = self.nodes + 1;
        let mut links = Vec::with_capacity(nodes * nodes);
        for from in 0..nodes {
            for to in 0..nodes {
                if from < self.nodes && to < self.nodes {
                    links.push(self.links[from * self.nodes + to]);
                } else {
                    let (low, high) = self.config.latency_ns;
                    let latency = if from == to {
                        10_000
                    } else {
                        rng.between(low, high)
                    };
                    links.push(Link {
                        latency,
                        ..Link::default()
                    });
                }
            }
        }
        (self.nodes, self.links) = (nodes, links);
    }

    fn at(&self, from: u16, to: u16) -> Link {
        self.links[usize::from(from) * self.nodes + usize::from(to)]
    }

    fn at_mut(&mut self, from: u16, to: u16) -> &mut Link {
        &mut self.links[usize::from(from) * self.nodes + usize::from(to)]
    }

    /// Whether traffic from `from` to `to` passes; a node always reaches itself.
    pub(crate) fn cut(&self, from: u16, to: u16) -> Cut {
        self.at(from, to).cut
    }

    /// Cuts or mends one direction.
    pub(crate) fn set_cut(&mut self, from: u16, to: u16, cut: Cut) {
        if from != to {
            self.at_mut(from, to).cut = cut;
        }
    }

    /// Holds everything from `from` to `to` back until `until`.
    pub(crate) fn stall(&mut self, from: u16, to: u16, until: u64) {
        self.at_mut(from, to).stalled_until = until;
    }

    /// When what leaves now arrives, by latency alone.
    pub(crate) fn delay(&self, now: u64, from: u16, to: u16, rng: &mut SimRng) -> u64 {
        let link = self.at(from, to);
        let mut at = now.max(link.stalled_until) + link.latency + rng.below(self.config.jitter_ns);
        if rng.chance(self.config.spike) {
            at += rng.below(self.config.spike_ns);
        }
        at
    }

    /// When `len` bytes that leave now have arrived, the wire being shared with all before them.
    pub(crate) fn arrival(
        &mut self,
        now: u64,
        from: u16,
        to: u16,
        len: usize,
        rng: &mut SimRng,
    ) -> u64 {
        let sent_at = match self.config.bandwidth {
            0 => now,
            bandwidth => {
                let link = self.at_mut(from, to);
                let takes = (len as u64).saturating_mul(1_000_000_000) / bandwidth;
                link.occupied_until = link.occupied_until.max(now) + takes;
                link.occupied_until
            }
        };
        self.delay(sent_at, from, to, rng)
    }
}
