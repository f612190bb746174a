//! Backup managers and shared context attributes: two Tomcats and one of ours in one map.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup, equal};
use crate::support::probe::Kind::{Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    fn backup_managers_share_sessions(name) { sessions(name); }
    fn a_session_outlives_its_primary(name) { crashes(name); }
    fn context_attributes_are_shared(name) { contexts(name); }
}

fn setup() -> Setup {
    Setup::new(Membership::Multicast, 8)
        .with("PROBE_MANAGER", "backup")
        .with("PROBE_CTX_REPLICATED", "yes")
}

/// What a node has of a session; empty if it does not know it.
fn role(cluster: &Cluster, node: usize, id: &str) -> String {
    let session = cluster.nodes[node].peek(id);
    let role = session.map(|session| session.get("role").clone());
    role.and_then(|role| role.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Waits until the running nodes have the session in these roles, whoever has which, and until those who have its value have
/// exactly these attributes.
fn await_roles(cluster: &Cluster, id: &str, roles: &[&str], attributes: &Value) {
    let what = format!("{id} is {roles:?} with {attributes}");
    until(&what, SOON, || {
        let mut seen: Vec<String> = cluster
            .running()
            .map(|node| role(cluster, node, id))
            .collect();
        seen.sort();
        if seen != roles {
            return Err(json!(seen));
        }
        for node in cluster.running() {
            if ["primary", "backup"].contains(&role(cluster, node, id).as_str()) {
                equal(cluster.nodes[node].attributes(id), attributes)?;
            }
        }
        Ok(())
    });
}

fn node_in(cluster: &Cluster, id: &str, wanted: &str) -> usize {
    let mut nodes = cluster
        .running()
        .filter(|&node| role(cluster, node, id) == wanted);
    nodes
        .next()
        .unwrap_or_else(|| panic!("no node has {id} as {wanted}"))
}

const ALL: [&str; 3] = ["backup", "primary", "proxy"];
const TWO: [&str; 2] = ["backup", "primary"];

fn sessions(name: &str) {
    let cluster = Cluster::started(name, &[Tomcat, Rust, Tomcat], &setup());
    let one = json!({"k": {"type": "java.lang.Integer", "value": 1}});
    let mut visitors = vec![];
    for node in 0..3 {
        let mut visitor = Client::new();
        visitor.get(cluster.http(node), "/s/get?k=none");
        let made = visitor.get(cluster.http(node), "/s/set?k=k&type=int&v=1");
        await_roles(&cluster, made.id(), &ALL, &one);
        assert_eq!(role(&cluster, node, made.id()), "primary");
        visitors.push(visitor);
    }
    let mut here = 0;
    cluster.on_every_node("knows all sessions", |node| {
        let state = node.state();
        let ids = |list| state.get(list).as_array().map(Vec::len);
        let counts = (
            state.get("sessionCount").as_u64(),
            state.get("sessionCountFull"),
        );
        here += counts.0.unwrap_or_default();
        let agree = counts.0 == ids("sessions").map(|ids| ids as u64);
        match ids("sessionsFull") {
            Some(3) if agree && *counts.1 == json!(3) => Ok(()),
            _ => Err(state.json.clone()),
        }
    });
    assert_eq!(here, 6, "each on two nodes");

    // Every visitor goes to the node that knows least of the session, then to the one that has its backup.
    for visitor in &mut visitors {
        for (round, wanted) in [(2, "proxy"), (3, "backup"), (4, "proxy")] {
            let old = visitor.cookie.clone().expect("a session");
            let there = node_in(&cluster, &old, wanted);
            let path = format!("/s/set?k=k&type=int&v={round}");
            let answer = visitor.get(cluster.http(there), &path);
            assert!(
                !answer.is_new(),
                "{} at n{}: {}",
                wanted,
                there + 1,
                answer.json
            );
            let id = answer.id().to_owned();
            assert_eq!(
                id,
                format!("{}.n{}", &old[..32], there + 1),
                "our route now"
            );
            let attributes = json!({"k": {"type": "java.lang.Integer", "value": round}});
            await_roles(&cluster, &id, &ALL, &attributes);
            assert_eq!(role(&cluster, there, &id), "primary");
            cluster.await_gone(&old);
        }
        let here = node_in(
            &cluster,
            visitor.cookie.as_deref().unwrap_or_default(),
            "primary",
        );
        let changed = visitor.get(cluster.http(here), "/s/changeid");
        let old = changed.get("old").as_str().unwrap_or_default().to_owned();
        await_roles(
            &cluster,
            changed.id(),
            &ALL,
            &json!({"k": {"type": "java.lang.Integer", "value": 4}}),
        );
        cluster.await_gone(&old);
        visitor.get(cluster.http(here), "/s/remove?k=k");
        await_roles(&cluster, changed.id(), &ALL, &json!({}));
        let there = node_in(&cluster, changed.id(), "proxy");
        let ended = visitor.get(cluster.http(there), "/s/invalidate");
        assert_eq!(ended.get("invalidated"), &json!(true), "{}", ended.json);
        cluster.await_gone(changed.id());
        cluster.await_gone(ended.id());
    }
    cluster.on_every_node("has no session left", |node| {
        let state = node.state();
        equal(state.get("sessionsFull").clone(), &json!([]))
    });
}

fn crashes(name: &str) {
    let mut cluster = Cluster::started(name, &[Tomcat, Rust, Tomcat], &setup());
    for victim in [0, 1] {
        let mut made = vec![];
        for node in 0..3 {
            let mut visitor = Client::new();
            visitor.get(cluster.http(node), "/s/get?k=none");
            let answer = visitor.get(cluster.http(node), "/s/set?k=who&type=string&v=me");
            let me = json!({"who": {"type": "java.lang.String", "value": "me"}});
            await_roles(&cluster, answer.id(), &ALL, &me);
            made.push((visitor, answer.id().to_owned(), me));
        }
        cluster.nodes[victim].crash();
        cluster.await_members();
        for (_, id, me) in &made {
            await_roles(&cluster, id, &TWO, me);
        }
        cluster.nodes[victim].start();
        cluster.await_members();
        for (mut visitor, id, me) in made {
            await_roles(&cluster, &id, &ALL, &me);
            // Whoever has come back serves it, too.
            let answer = visitor.get(cluster.http(victim), "/s/get?k=who");
            assert_eq!(answer.get("value"), &json!("me"), "{}", answer.json);
            await_roles(&cluster, answer.id(), &ALL, &me);
            let ended = visitor.get(cluster.http(victim), "/s/invalidate");
            assert_eq!(ended.get("invalidated"), &json!(true));
            cluster.await_gone(answer.id());
        }
    }
}

fn contexts(name: &str) {
    let mut cluster = Cluster::started(name, &[Tomcat, Rust, Tomcat], &setup());
    let see = |cluster: &Cluster, name: &str, value: &Value| {
        for node in cluster.running() {
            let http = cluster.http(node);
            let what = format!("n{}: context attribute {name} is {value}", node + 1);
            until(&what, SOON, || {
                let path = format!("/c/get?k={name}");
                equal(Client::new().get(http, &path).get("value").clone(), value)
            });
        }
    };
    for node in [0, 1, 2] {
        let path = format!("/c/set?k=k{node}&type=list&v=a,{node}");
        Client::new().get(cluster.http(node), &path);
        see(
            &cluster,
            &format!("k{node}"),
            &json!(["a", node.to_string()]),
        );
    }
    // Set elsewhere than where it was made.
    for node in [2, 1, 0] {
        let path = format!("/c/set?k=k0&type=int&v={node}");
        Client::new().get(cluster.http(node), &path);
        see(&cluster, "k0", &json!(node));
    }
    for node in [0, 1] {
        cluster.nodes[node].crash();
        cluster.await_members();
        cluster.nodes[node].start();
        cluster.await_members();
        see(&cluster, "k1", &json!(["a", "1"]));
        see(&cluster, "k2", &json!(["a", "2"]));
    }
    for node in [0, 1] {
        Client::new().get(cluster.http(node), &format!("/c/remove?k=k{}", node + 1));
        see(&cluster, &format!("k{}", node + 1), &Value::Null);
    }
}
