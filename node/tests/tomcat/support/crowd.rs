//! Many visitors at once, and the comparison of what they left on every node.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::Client;
use super::cluster::Cluster;
use super::probe;
use super::wait::{LATER, until};

/// How many visitors ask at the same time.
pub(crate) const CLIENTS: usize = 4;

/// Creates `sessions` sessions on a node from four clients, each with the attribute `b` of `size`
/// random bytes, set in the request that creates the session. Gives the ids, sorted.
pub(crate) fn create_sessions(node: SocketAddr, sessions: usize, size: usize) -> Vec<String> {
    create_sessions_of("", node, sessions, size)
}

/// The same in the application with this context path.
pub(crate) fn create_sessions_of(
    context: &str,
    node: SocketAddr,
    sessions: usize,
    size: usize,
) -> Vec<String> {
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(move || visits(context, node, sessions / CLIENTS, size)))
            .collect();
        visitors
            .into_iter()
            .flat_map(|visitor| visitor.join().expect("a client"))
            .collect()
    });
    ids.sort();
    ids
}

fn visits(context: &str, node: SocketAddr, sessions: usize, size: usize) -> Vec<String> {
    let mut visitor = Client::new();
    let visit = |_| {
        visitor.cookie = None;
        visitor
            .get(node, &format!("{context}/s/bench?size={size}"))
            .id()
            .to_owned()
    };
    (0..sessions).map(visit).collect()
}

/// Waits until every node holds exactly `ids`.
pub(crate) fn await_ids(cluster: &Cluster, ids: &[String]) {
    for node in cluster.running() {
        let node = &cluster.nodes[node];
        let what = format!(
            "{} ({:?}) holds {} sessions",
            node.name,
            node.kind,
            ids.len()
        );
        until(&what, LATER, || {
            let count = Client::new()
                .get(node.http, "/m/state")
                .get("sessionCount")
                .clone();
            if count == json!(ids.len()) {
                Ok(())
            } else {
                Err(count)
            }
        });
        assert!(
            node.session_ids() == ids,
            "{what}, but others than were created"
        );
    }
}

/// Compares every session of every node with node 0: those who differ, by id.
pub(crate) fn different(cluster: &Cluster, ids: &[String]) -> Vec<String> {
    let nodes: Vec<SocketAddr> = cluster.running().map(|node| cluster.http(node)).collect();
    std::thread::scope(|scope| {
        let nodes = &nodes;
        let parts: Vec<_> = ids
            .chunks(ids.len().div_ceil(CLIENTS))
            .map(|part| scope.spawn(move || differing(nodes, part)))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("a client"))
            .collect()
    })
}

fn differing(nodes: &[SocketAddr], ids: &[String]) -> Vec<String> {
    let mut client = Client::new();
    let mut told = |node: SocketAddr, id: &str| {
        let session = probe::peek(&mut client, node, id);
        session.map_or(Value::Null, |session| {
            json!([
                session.get("attributes"),
                session.get("maxInactiveInterval")
            ])
        })
    };
    let differs = |id: &&String| {
        let first = told(nodes[0], id);
        first[0].get("b").is_none() || nodes[1..].iter().any(|node| told(*node, id) != first)
    };
    ids.iter().filter(differs).cloned().collect()
}
