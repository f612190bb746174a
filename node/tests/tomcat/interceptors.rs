//! The same interceptors in Tomcats and in our nodes: encryption, compression, fragments, order.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup, equal};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::wait::{SOON, until};

const KEY_128: &str = "encryptionKey=000102030405060708090a0b0c0d0e0f";
const KEY_256: &str =
    "encryptionKey=000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f";

scenarios! {
    fn encrypted_gcm(name) {
        share(name, &[Rust, Tomcat], 8, format!("EncryptInterceptor,{KEY_256}"), &["encrypted", "decrypted"]);
    }
    fn encrypted_cbc(name) {
        let layer = format!("EncryptInterceptor,encryptionAlgorithm=AES/CBC/PKCS5Padding,{KEY_128}");
        share(name, &[Tomcat, Rust], 6, layer, &["encrypted", "decrypted"]);
    }
    fn compressed(name) {
        let layer = "GzipInterceptor,compressionMinSize=500".to_owned();
        share(name, &[Rust, Tomcat], 6, layer, &["compressed", "decompressed"]);
    }
    fn in_fragments(name) {
        let layer = "FragmentationInterceptor,maxSize=5000".to_owned();
        share(name, &[Tomcat, Rust], 6, layer, &["fragmented", "reassembled"]);
    }
    fn in_order(name) {
        share(name, &[Rust, Tomcat], 8, "OrderInterceptor".to_owned(), &["numbered", "inOrder"]);
    }
    fn in_two_phases(name) {
        share(name, &[Tomcat, Rust], 6, "TwoPhaseCommitInterceptor".to_owned(), &["committed", "confirmed"]);
    }
    // Order at the bottom: above the others Tomcat damages what the second of two destinations gets.
    fn all_of_them_among_three(name) {
        let layers = format!(
            "GzipInterceptor;FragmentationInterceptor,maxSize=300;EncryptInterceptor,{KEY_128};OrderInterceptor"
        );
        let worked = ["compressed", "decompressed", "fragmented", "reassembled", "encrypted", "decrypted", "numbered", "inOrder"];
        share(name, &[Rust, Tomcat, Rust], 6, layers, &worked);
    }
    fn another_key_gets_nothing(name) { another_key(name, Rust, Tomcat); }
    fn a_tomcat_with_another_key_is_refused(name) { another_key(name, Tomcat, Rust); }
}

/// Sessions made on every node reach all others, before and after each node has been away.
fn share(name: &str, kinds: &[Kind], options: u32, layers: String, worked: &[&str]) {
    let layers: &'static str = layers.leak();
    let setup = Setup::new(Membership::Multicast, options).with("PROBE_INTERCEPTORS", layers);
    let mut cluster = Cluster::started(name, kinds, &setup);
    let mut sessions: Vec<(String, Value)> = Vec::new();
    for node in 0..kinds.len() {
        sessions.push(fill(&cluster, node));
    }
    for (id, attributes) in &sessions {
        cluster.await_attributes(id, attributes);
    }
    for node in 0..kinds.len() {
        cluster.nodes[node].crash();
        cluster.await_members();
        cluster.nodes[node].start();
        cluster.await_members();
        for (id, attributes) in &sessions {
            cluster.await_attributes(id, attributes);
        }
    }
    let (id, attributes) = fill(&cluster, 0);
    cluster.await_attributes(&id, &attributes);
    for node in cluster.nodes.iter().filter(|node| node.kind == Rust) {
        let state = node.state();
        let counters = state.get("interceptors");
        for counter in worked {
            let count = counters[*counter].as_u64();
            // A node that has just come back may have sent no long message yet.
            let restarted = ["fragmented", "compressed"].contains(counter);
            assert!(
                count > Some(0) || restarted,
                "{}: {counter}: {counters}",
                node.name
            );
        }
        assert_eq!(counters["refused"], json!(0), "{}: {counters}", node.name);
    }
}

/// A session with short, long and many attributes, made on one node.
fn fill(cluster: &Cluster, node: usize) -> (String, Value) {
    let mut visitor = Client::new();
    let http = cluster.http(node);
    let id = visitor.get(http, "/s/get?k=none").id().to_owned();
    let described = |class: &str, value: Value| json!({"type": class, "value": value});
    let mut expected = json!({});
    for (k, len) in [("a", 1), ("b", 4_000), ("c", 100_000)] {
        visitor.get(http, &format!("/s/set?k={k}&type=big&v={len}"));
        expected[k] = described("java.lang.String", json!("x".repeat(len)));
    }
    for n in 0..20 {
        visitor.get(http, &format!("/s/set?k=n&type=int&v={n}"));
        expected["n"] = described("java.lang.Integer", json!(n));
    }
    visitor.get(http, "/s/remove?k=a");
    if let Some(attributes) = expected.as_object_mut() {
        attributes.remove("a");
    }
    (id, expected)
}

/// A node with another key is a member, since heartbeats are open, but nothing of it comes in and
/// nothing gets to it.
fn another_key(name: &str, inside: Kind, outside: Kind) {
    let setup = Setup::new(Membership::Multicast, 8).with(
        "PROBE_INTERCEPTORS",
        format!("EncryptInterceptor,{KEY_128}").leak(),
    );
    let mut cluster = Cluster::new(name, &[inside, outside], &setup);
    let other = Setup::new(Membership::Multicast, 8).with(
        "PROBE_INTERCEPTORS",
        format!("EncryptInterceptor,{KEY_256}").leak(),
    );
    cluster.nodes[1] = Cluster::new(name, &[inside, outside], &other)
        .nodes
        .remove(1);
    cluster.nodes[0].start();
    let mut visitor = Client::new();
    let before = visitor
        .get(cluster.http(0), "/s/set?k=k&type=int&v=1")
        .id()
        .to_owned();
    // It asks for the sessions and gets no answer, so it does not serve for a minute.
    cluster.nodes[1].launch();
    cluster.await_other_members(0, &["127.0.0.12:4000"]);
    match (inside, outside) {
        (Rust, _) => until("the request for sessions is refused", SOON, || {
            let state = cluster.nodes[0].state();
            let refused = state.get("interceptors")["refused"].as_u64();
            if refused > Some(0) {
                Ok(())
            } else {
                Err(refused)
            }
        }),
        _ => until("the request for sessions is refused", SOON, || {
            let log = cluster.nodes[0].log_tail();
            if log.contains("EncryptInterceptor") {
                Ok(())
            } else {
                Err(log)
            }
        }),
    }
    visitor.get(cluster.http(0), "/s/set?k=k&type=int&v=2");
    if outside == Rust {
        until("a message from there is refused here", SOON, || {
            let log = cluster.nodes[1].log_tail();
            if log.contains("encrypt") {
                Ok(())
            } else {
                Err(log)
            }
        });
    }
    until("only its own session", SOON, || {
        equal(cluster.nodes[0].session_ids(), &vec![before.clone()])
    });
    let sent = json!({"k": {"type": "java.lang.Integer", "value": 2}});
    assert_eq!(cluster.nodes[0].attributes(&before), sent);
}
