//! Crashes, fast restarts and goodbyes: what a member list shows is what lives.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{Rust, Tomcat};

scenarios! {
    fn a_fast_restart_leaves_no_ghost_multicast(name) { no_ghost(name, Membership::Multicast); }
    fn a_fast_restart_leaves_no_ghost_static(name) { no_ghost(name, Membership::Static); }
    fn a_clean_stop_says_goodbye(name) { goodbye(name); }
}

/// Killed and started again at once, three times: the Tomcat and the other Rust node list the
/// members that live, each once, and a change reaches the restarted node once.
fn no_ghost(name: &str, membership: Membership) {
    let setup = Setup::new(membership, 8);
    let mut cluster = Cluster::started(name, &[Tomcat, Rust, Rust], &setup);
    let mut visitor = Client::new();
    let id = visitor
        .get(cluster.http(0), "/s/get?k=none")
        .id()
        .to_owned();
    cluster.await_attributes(&id, &json!({}));
    for round in 1..=3 {
        cluster.nodes[1].crash();
        cluster.nodes[1].start();
        cluster.await_members();
        cluster.on_every_node("each member's unique id is its own", |node| {
            let members = node
                .state()
                .get("members")
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ids: BTreeSet<_> = members
                .iter()
                .map(|member| member["uniqueId"].to_string())
                .collect();
            if ids.len() == 2 { Ok(()) } else { Err(members) }
        });
        let before = cluster.nodes[1].received("EVT_SESSION_DELTA");
        visitor.get(cluster.http(0), &format!("/s/set?k=k&type=int&v={round}"));
        let expected = json!({"k": {"type": "java.lang.Integer", "value": round}});
        cluster.await_attributes(&id, &expected);
        // A second change behind the first: whatever doubles the first has doubled it by now.
        visitor.get(cluster.http(0), "/s/set?k=marker&type=int&v=1");
        cluster.on_every_node("the second change too", |node| {
            let attributes = node.attributes(&id);
            if attributes.get("marker").is_some() {
                Ok(())
            } else {
                Err(attributes)
            }
        });
        let after = cluster.nodes[1].received("EVT_SESSION_DELTA");
        assert_eq!(after - before, 2, "round {round}: two changes, two deltas");
        visitor.get(cluster.http(0), "/s/remove?k=marker");
        cluster.await_attributes(&id, &expected);
    }
    cluster.await_members();
}

/// The drop time is out of reach: only a goodbye takes the stopped node off the lists.
fn goodbye(name: &str) {
    let setup = Setup::new(Membership::Multicast, 8).with("PROBE_MCAST_DROP_MS", "3600000");
    let mut cluster = Cluster::started(name, &[Tomcat, Rust, Rust], &setup);
    let mut visitor = Client::new();
    let id = visitor
        .get(cluster.http(2), "/s/set?k=k&type=int&v=1")
        .id()
        .to_owned();
    let expected = json!({"k": {"type": "java.lang.Integer", "value": 1}});
    cluster.await_attributes(&id, &expected);
    for node in [2, 0] {
        let status = cluster.nodes[node].stop();
        assert!(
            status.success(),
            "{} stopped: {status}",
            cluster.nodes[node].name
        );
        cluster.await_members();
        cluster.await_attributes(&id, &expected);
    }
    cluster.nodes[0].start();
    cluster.await_members();
    cluster.await_attributes(&id, &expected);
    let role = cluster.nodes[0]
        .peek(&id)
        .map_or(Value::Null, |session| session.get("role").clone());
    assert_eq!(
        role,
        json!("copy"),
        "the donor's session is a copy at the joiner"
    );
}
