//! A Rust node joins Tomcats that have been running for a while: it has the same sessions.

use serde_json::{Value, json};

use crate::support::client::{Client, quoted};
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::value_types::readable;

scenarios! {
    fn control_a_tomcat_joins_two_tomcats(name) { join(name, Tomcat, Membership::Multicast, 6); }
    fn rust_joins_two_tomcats_multicast(name) { join(name, Rust, Membership::Multicast, 8); }
    fn rust_joins_two_tomcats_static(name) { join(name, Rust, Membership::Static, 6); }
}

fn join(name: &str, joiner: Kind, membership: Membership, options: u32) {
    let setup = Setup::new(membership, options);
    let mut cluster = Cluster::new(name, &[Tomcat, Tomcat, joiner], &setup);
    for node in [0, 1] {
        cluster.nodes[node].start();
    }
    cluster.await_members();
    let mut visitors = Vec::new();
    for (index, row) in readable().iter().enumerate() {
        let mut visitor = Client::new();
        let node = cluster.http(index % 2);
        let id = visitor.get(node, "/s/get?k=none").id().to_owned();
        cluster.await_attributes(&id, &json!({}));
        let path = format!(
            "/s/set?k=v&type={}&v={}&max={}",
            row.word,
            quoted(row.v),
            1000 + index
        );
        visitor.get(node, &path);
        cluster.await_attributes(&id, &json!({"v": row.described()}));
        visitors.push(visitor);
    }
    cluster.nodes[2].start();
    let mut ids: Vec<String> = visitors
        .iter()
        .flat_map(|visitor| visitor.cookie.clone())
        .collect();
    ids.sort();
    assert_eq!(
        cluster.nodes[2].session_ids(),
        ids,
        "the sessions are there when it serves"
    );
    cluster.await_members();
    for id in &ids {
        let told: Vec<Value> = cluster
            .nodes
            .iter()
            .map(|node| {
                let session = node.peek(id).expect("there");
                json!([
                    session.get("attributes"),
                    session.get("maxInactiveInterval"),
                    session.get("isNew")
                ])
            })
            .collect();
        assert!(told.iter().all(|one| one == &told[0]), "{id}: {told:?}");
    }
    // The visitors walk over to the new node and find what they left.
    for (visitor, row) in visitors.iter_mut().zip(readable()) {
        let (creation, id) = {
            let cookie = visitor.cookie.clone().expect("a cookie");
            let home = if cookie.ends_with(".n1") { 0 } else { 1 };
            (
                visitor
                    .get(cluster.http(home), "/s/dump")
                    .get("creation")
                    .clone(),
                cookie,
            )
        };
        let dump = visitor.get(cluster.http(2), "/s/dump");
        assert!(!dump.is_new(), "{}", dump.json);
        assert_eq!(dump.id(), id.replace(".n1", ".n3").replace(".n2", ".n3"));
        assert_eq!(dump.get("creation"), &creation, "{}", dump.json);
        assert_eq!(dump.get("attributes"), &json!({"v": row.described()}));
        cluster.await_attributes(dump.id(), &json!({"v": row.described()}));
    }
}
