//! Every value type, written on one kind of node and read on the other.

use serde_json::{Map, Value, json};

use crate::support::client::{Client, quoted};
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::value_types::readable;

scenarios! {
    fn control_tomcat_writes_tomcat_reads(name) { both_ways(name, Tomcat, Tomcat); }
    fn tomcat_and_rust_read_each_other(name) { both_ways(name, Tomcat, Rust); }
    fn rust_carries_what_only_its_class_can_read(name) { carried(name); }
}

/// Fills one session on each side with a value of every type; both sides must tell the same.
fn both_ways(name: &str, one: Kind, other: Kind) {
    let cluster = Cluster::started(name, &[one, other], &Setup::new(Membership::Multicast, 6));
    for writer in [0, 1] {
        let mut visitor = Client::new();
        let id = visitor
            .get(cluster.http(writer), "/s/get?k=none")
            .id()
            .to_owned();
        let mut expected = Map::new();
        for (index, row) in readable().iter().enumerate() {
            let k = format!("{index:02}-{}", row.word);
            let path = format!("/s/set?k={k}&type={}&v={}", row.word, quoted(row.v));
            let answer = visitor.get(cluster.http(writer), &path);
            let said = json!({"type": answer.get("type"), "value": answer.get("value")});
            assert_eq!(said, row.described(), "answer to {path}");
            expected.insert(k, row.described());
        }
        cluster.await_attributes(&id, &Value::Object(expected));

        // The same values, all in one request and so in one delta.
        let mut all = Client::new();
        let id = all
            .get(cluster.http(writer), "/s/get?k=none")
            .id()
            .to_owned();
        let mut path = "/s/batch?op=set:gone:string:x&op=rm:gone".to_owned();
        let mut expected = Map::new();
        for (index, row) in readable()
            .iter()
            .enumerate()
            .filter(|(_, row)| row.word != "big")
        {
            let k = format!("{index:02}");
            path.push_str(&format!("&op=set:{k}:{}:{}", row.word, quoted(row.v)));
            expected.insert(k, row.described());
        }
        let answer = all.get(cluster.http(writer), &path);
        let expected = Value::Object(expected);
        assert_eq!(answer.get("attributes"), &expected, "answer to the batch");
        cluster.await_attributes(&id, &expected);
    }
}

/// A Tomcat's session outlives that Tomcat in a Rust node alone: Externalizable and custom values
/// come back as they were, after the session was used on the Rust node.
fn carried(name: &str) {
    let mut cluster =
        Cluster::started(name, &[Tomcat, Rust], &Setup::new(Membership::Multicast, 6));
    let mut visitor = Client::new();
    let tomcat = cluster.http(0);
    visitor.get(tomcat, "/s/get?k=none");
    visitor.get(tomcat, "/s/set?k=ext&type=ext&v=deep:77");
    visitor.get(tomcat, "/s/set?k=cu&type=custom&v=alpha:45:boss:60");
    visitor.get(tomcat, "/s/set?k=level&type=enum&v=GUEST");
    let id = visitor.cookie.clone().expect("a cookie");
    let mut before = cluster.nodes[0].attributes(&id);
    cluster.nodes[0].crash();
    cluster.await_members();

    visitor.get(cluster.http(1), "/s/set?k=rust&type=string&v=was-here");
    let seen = cluster.nodes[1].attributes(visitor.cookie.as_deref().expect("a cookie"));
    assert_eq!(
        seen["ext"]["type"],
        json!("lab.LabExt"),
        "carried with its class: {seen}"
    );
    cluster.nodes[0].start();
    cluster.await_members();
    before["rust"] = json!({"type": "java.lang.String", "value": "was-here"});
    let after = visitor.get(cluster.http(0), "/s/dump");
    assert_eq!(after.get("attributes"), &before, "as they were");
}
