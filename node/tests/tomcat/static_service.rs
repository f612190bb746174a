//! `StaticMembershipService` in Tomcats and in our nodes: joining, leaving, dying and coming back.

use serde_json::json;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};

scenarios! {
    fn rust_and_tomcat(name) { come_and_go(name, &[Rust, Tomcat], ""); }
    fn two_rust_one_tomcat(name) { come_and_go(name, &[Rust, Tomcat, Rust], ""); }
    // What the service says passes the layers as every message does.
    fn encrypted(name) {
        come_and_go(name, &[Tomcat, Rust], "EncryptInterceptor,encryptionKey=000102030405060708090a0b0c0d0e0f");
    }
}

/// Every node leaves and comes back, once with a goodbye and once without; the session stays.
fn come_and_go(name: &str, kinds: &[Kind], interceptors: &'static str) {
    let setup = Setup::new(Membership::StaticService, 8).with("PROBE_INTERCEPTORS", interceptors);
    let mut cluster = Cluster::started(name, kinds, &setup);
    let mut visitor = Client::new();
    let id = visitor
        .get(cluster.http(0), "/s/set?k=k&type=int&v=1")
        .id()
        .to_owned();
    let expected = json!({"k": {"type": "java.lang.Integer", "value": 1}});
    cluster.await_attributes(&id, &expected);
    for (node, kind) in kinds.iter().enumerate() {
        let status = cluster.nodes[node].stop();
        assert!(status.success() || *kind == Tomcat, "{status}");
        cluster.await_members();
        cluster.nodes[node].start();
        cluster.await_members();
        cluster.await_attributes(&id, &expected);
        cluster.nodes[node].crash();
        cluster.await_members();
        cluster.nodes[node].start();
        cluster.await_members();
        cluster.await_attributes(&id, &expected);
    }
}
