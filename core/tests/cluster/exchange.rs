//! What one node does to a session, the others have.

use std::time::Duration;

use folkmoot_core::cluster::ClusterConfig;
use folkmoot_core::session::{DeltaManagerConfig, EventType, ManagerState, TransferResult};
use folkmoot_core::wire::SendOptions;

use crate::net::{Kind, Net};

fn options(bits: u32) -> ClusterConfig {
    ClusterConfig {
        channel_send_options: SendOptions::from_bits(bits),
        ..ClusterConfig::default()
    }
}

#[test]
fn what_one_node_sets_the_others_have_whatever_the_options() {
    for bits in [0, 2, 6, 8, 10, 14] {
        for kind in [Kind::Ours, Kind::Foreign] {
            let mut net = Net::new();
            for _ in 0..3 {
                net.join(kind, options(bits), DeltaManagerConfig::default());
            }
            net.run(Duration::from_secs(3));
            let id = net.create(0, &[("user", "alice"), ("cart", "apple")]);
            assert!(net.request(1, &id, &[("cart", Some("pear")), ("user", None)]));
            for node in 0..3 {
                let case = format!("node {node}, options {bits}, {kind:?}");
                assert_eq!(
                    net.text(node, &id, "cart").as_deref(),
                    Some("pear"),
                    "{case}"
                );
                assert_eq!(net.text(node, &id, "user"), None, "{case}");
                assert_eq!(
                    net.session(node, &id).unwrap().is_primary(),
                    node == 1,
                    "{case}"
                );
                assert_eq!(net.shop(node).state(), ManagerState::Ready, "{case}");
            }
            assert_eq!(net.contents(0), net.contents(2));
        }
    }
}

#[test]
fn a_joining_node_gets_every_session() {
    for kind in [Kind::Ours, Kind::Foreign] {
        let mut net = Net::new();
        net.join(
            kind,
            ClusterConfig::default(),
            DeltaManagerConfig::default(),
        );
        net.run(Duration::from_secs(3));
        assert_eq!(
            net.shop(0).last_transfer().unwrap().result,
            TransferResult::NoMembers
        );
        for n in 0..500 {
            net.create(0, &[("n", &n.to_string())]);
        }
        let joiner = net.join(
            kind,
            ClusterConfig::default(),
            DeltaManagerConfig::default(),
        );
        net.run(Duration::from_secs(3));
        let outcome = net.shop(joiner).last_transfer().unwrap();
        assert_eq!(
            (outcome.result, outcome.sessions),
            (TransferResult::Complete, 500),
            "{kind:?}"
        );
        assert_eq!(net.contents(0), net.contents(joiner));
        let mut kinds: Vec<_> = net
            .take_passed()
            .iter()
            .map(|passed| (passed.from, passed.kind(), passed.options))
            .collect();
        // The first message to one of ours is short, so that it has something to read while the next is made.
        let parts = if kind == Kind::Ours { 3 } else { 1 };
        assert_eq!(kinds.len(), parts + 2, "{kind:?}");
        kinds.dedup();
        let expected = [
            (
                1,
                EventType::GetAllSessions,
                if kind == Kind::Ours { 8 } else { 14 },
            ),
            (0, EventType::AllSessionData, 6),
            (
                0,
                EventType::AllSessionTransferComplete,
                if kind == Kind::Ours { 8 } else { 14 },
            ),
        ];
        assert_eq!(kinds, expected, "{kind:?}");
    }
}
