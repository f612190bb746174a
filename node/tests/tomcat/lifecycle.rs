//! A session's life between a Rust node and a Tomcat: its id, its end, its values changed.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};

scenarios! {
    fn control_tomcat_and_tomcat(name) { whole_life(name, Tomcat, Tomcat, 6); }
    fn tomcat_and_rust_with_options_6(name) { whole_life(name, Tomcat, Rust, 6); }
    fn tomcat_and_rust_with_options_8(name) { whole_life(name, Tomcat, Rust, 8); }
}

/// Each step on either side, seen from both.
fn whole_life(name: &str, one: Kind, other: Kind, options: u32) {
    let setup = Setup::new(Membership::Multicast, options);
    let cluster = Cluster::started(name, &[one, other], &setup);
    for node in [0, 1] {
        ids_change(&cluster, node);
        the_interval_travels(&cluster, node);
        invalidated(&cluster, node);
        expired(&cluster, node);
        fails_over_and_back(&cluster, node);
        only_changes_travel(&cluster, node);
    }
}

/// A session on `node` with the attribute `k`, known to both nodes.
fn session(cluster: &Cluster, node: usize) -> Client {
    let mut visitor = Client::new();
    let id = visitor
        .get(cluster.http(node), "/s/get?k=none")
        .id()
        .to_owned();
    cluster.await_attributes(&id, &json!({}));
    visitor.get(cluster.http(node), "/s/set?k=k&type=int&v=1");
    cluster.await_attributes(&id, &with(1));
    visitor
}

fn with(k: i32) -> Value {
    json!({"k": {"type": "java.lang.Integer", "value": k}})
}

fn ids_change(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    for round in 2..5 {
        let before = visitor.cookie.clone().expect("a cookie");
        let answer = visitor.get(cluster.http(node), "/s/changeid");
        assert_eq!(answer.get("old"), &json!(before), "{}", answer.json);
        let after = answer.id().to_owned();
        assert_ne!(after, before, "a new id");
        assert_eq!(
            visitor.cookie.as_deref(),
            Some(after.as_str()),
            "in a new cookie"
        );
        cluster.await_attributes(&after, &with(round - 1));
        cluster.await_gone(&before);
        visitor.get(
            cluster.http(node),
            &format!("/s/set?k=k&type=int&v={round}"),
        );
        cluster.await_attributes(&after, &with(round));
    }
}

fn the_interval_travels(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    let id = visitor.cookie.clone().expect("a cookie");
    visitor.get(cluster.http(node), "/s/maxinactive?max=77");
    cluster.on_every_node("its interval is 77", |node| {
        let session = node
            .peek(&id)
            .map(|session| session.json)
            .unwrap_or_default();
        if session["maxInactiveInterval"] == json!(77) {
            Ok(())
        } else {
            Err(session)
        }
    });
}

fn invalidated(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    let id = visitor.cookie.clone().expect("a cookie");
    let answer = visitor.get(cluster.http(node), "/s/invalidate");
    assert_eq!(answer.get("invalidated"), &json!(true), "{}", answer.json);
    cluster.await_gone(&id);
    let again = visitor.get(cluster.http(node), "/s/invalidate");
    assert_eq!(again.get("invalidated"), &json!(false), "{}", again.json);
}

fn expired(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    let id = visitor.cookie.clone().expect("a cookie");
    let before = cluster.nodes[1 - node].received("EVT_SESSION_EXPIRED");
    visitor.get(cluster.http(node), "/s/maxinactive?max=1");
    cluster.await_gone(&id);
    let after = cluster.nodes[1 - node].received("EVT_SESSION_EXPIRED");
    assert_eq!(after, before + 1, "the primary told the other of the end");
}

fn fails_over_and_back(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    for (round, at) in [(2, 1 - node), (3, node), (4, 1 - node)] {
        let answer = visitor.get(cluster.http(at), &format!("/s/set?k=k&type=int&v={round}"));
        assert!(!answer.is_new(), "{}", answer.json);
        let route = format!(".{}", cluster.nodes[at].name);
        assert!(answer.id().ends_with(&route), "{}", answer.json);
        cluster.await_attributes(answer.id(), &with(round));
        let role = |node: usize| cluster.nodes[node].peek(answer.id()).expect("there");
        assert_eq!(role(at).get("role"), &json!("primary"));
        assert_eq!(role(1 - at).get("role"), &json!("copy"));
    }
}

/// A request that changes nothing is one small message and leaves everything as it is.
fn only_changes_travel(cluster: &Cluster, node: usize) {
    let mut visitor = session(cluster, node);
    let id = visitor.cookie.clone().expect("a cookie");
    let heard = || {
        let other = &cluster.nodes[1 - node];
        other.received("EVT_SESSION_DELTA") + other.received("EVT_SESSION_ACCESSED")
    };
    let before = heard();
    visitor.get(cluster.http(node), "/s/get?k=k");
    cluster.on_every_node("heard of the access", |_| match heard() - before {
        1 => Ok(()),
        messages => Err(messages),
    });
    cluster.await_attributes(&id, &with(1));
}
