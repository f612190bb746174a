//! A node that joins many sessions over a slow network, and what it has at the moment at which it says that it has the state.

use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, SendOptions};
use folkmoot_core::cluster::ClusterEvent;
use folkmoot_core::session::{ManagerStats, SessionId, TransferOutcome, TransferResult};
use folkmoot_sim::sessions::{SessionConfig, SessionWorld};
use folkmoot_sim::{NetworkConfig, NodeId};

/// Sessions there are.
pub(crate) const SESSIONS: usize = 3000;
/// Bytes of one message of the transfer, so that there are about fifty.
const PART: usize = 16 << 10;
/// Sessions that may come twice because the message they were in was not acknowledged yet.
pub(crate) const UNDER_WAY: u64 = 3 * PART as u64 / 192;

/// Two nodes with the sessions, and a third that is to join.
pub(crate) struct Stage {
    pub(crate) world: SessionWorld,
    pub(crate) donors: [NodeId; 2],
    pub(crate) ids: Vec<SessionId>,
}

impl Stage {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    pub(crate) fn with(seed: u64, channel: fn(&mut ChannelConfig)) -> Self {
        let network = NetworkConfig {
            bandwidth: 1_000_000,
            ..NetworkConfig::quiet()
        };
        let mut config = SessionConfig::new(SendOptions::ASYNCHRONOUS);
        config.manager.limits.transfer_bytes_max = PART;
        config.channel = channel;
        let mut world = SessionWorld::with_config(seed, network, config);
        let donors = world.join_all();
        let ids = (0..SESSIONS).map(|number| {
            let id = world.create(donors[0], &[("number", &number.to_string())]);
            if number % 50 == 0 {
                world.run_for(Duration::from_millis(30));
            }
            id
        });
        let ids = ids.collect();
        // None of them is new any more when somebody joins.
        world.run_for(Duration::from_secs(20));
        Self { world, donors, ids }
    }

    pub(crate) fn stats(&self, node: NodeId) -> ManagerStats {
        let manager = self.world.machine(node).and_then(|node| node.manager());
        *manager.expect("it runs").stats()
    }

    /// Starts the joiner and stops the world when about so many sessions have come.
    pub(crate) fn join_until(&mut self, sessions: usize) -> NodeId {
        let joiner = self.world.join();
        self.until(joiner, |manager| manager >= sessions);
        joiner
    }

    fn until(&mut self, node: NodeId, enough: impl Fn(usize) -> bool) {
        let give_up = self.world.now() + Duration::from_secs(60);
        while !enough(self.count(node)) {
            assert!(self.world.now() < give_up, "{} came", self.count(node));
            self.world.run_for(Duration::from_millis(1));
        }
    }

    pub(crate) fn count(&self, node: NodeId) -> usize {
        let manager = self.world.machine(node).and_then(|node| node.manager());
        manager.map_or(0, |manager| manager.session_count())
    }

    /// Goes on until the joiner says how its transfer ended; also gives how many of the sessions are missing at that very moment.
    pub(crate) fn outcome(&mut self, joiner: NodeId) -> (TransferOutcome, usize) {
        let give_up = self.world.now() + Duration::from_secs(90);
        loop {
            let events = &self.world.machine(joiner).expect("it runs").events;
            let outcome = events.iter().rev().find_map(|event| match event {
                ClusterEvent::StateTransfer { outcome, .. } => Some(*outcome),
                _ => None,
            });
            if let Some(outcome) = outcome {
                return (outcome, self.missing(joiner));
            }
            assert!(self.world.now() < give_up, "the transfer never ends");
            self.world.step();
        }
    }

    pub(crate) fn missing(&self, node: NodeId) -> usize {
        let missing = self.ids.iter().filter(|id| !self.world.has(node, id));
        missing.count()
    }

    /// The transfer ends with everything, although its donor failed at this point, and nothing came twice but what was under way.
    #[allow(dead_code, reason = "the planted errors are judged otherwise")]
    #[track_caller]
    pub(crate) fn goes_on(&mut self, joiner: NodeId, other: NodeId, case: &str) {
        let given = self.stats(other).transfer_sessions_given;
        let (outcome, missing) = self.outcome(joiner);
        assert_eq!(
            (outcome.result, missing),
            (TransferResult::Complete, 0),
            "{case}"
        );
        let stats = self.stats(joiner);
        assert_eq!(stats.transfers_resumed, 1, "{case}");
        let came = stats.transfer_sessions_received;
        let most = SESSIONS as u64 + UNDER_WAY;
        assert!(came <= most, "{case}: {came} sessions came");
        let given = self.stats(other).transfer_sessions_given - given;
        assert!(
            given < SESSIONS as u64 * 3 / 4,
            "{case}: the other gave {given}"
        );
        assert_eq!(self.world.violations(), [], "{case}");
    }
}
