//! Several web applications on one channel: each has its own sessions.

use serde_json::json;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup, equal};
use crate::support::probe::Kind::{Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    fn two_applications_keep_their_sessions_apart(name) { apart(name); }
}

fn apart(name: &str) {
    let setup = Setup::new(Membership::Multicast, 6).with("PROBE_CONTEXTS", "ROOT app2");
    let cluster = Cluster::started(name, &[Tomcat, Rust], &setup);
    for (here, there) in [(0, 1), (1, 0)] {
        let mut visitor = Client::new();
        let made = visitor.get(cluster.http(here), "/app2/s/set?k=k&type=int&v=2");
        let path = format!("/app2/m/session?id={}", made.id());
        let expected = json!({"k": {"type": "java.lang.Integer", "value": 2}});
        until("the other node's application has it", SOON, || {
            let seen = Client::new().try_get(cluster.http(there), &path);
            let seen = seen.map(|answer| answer.get("attributes").clone());
            equal(seen.unwrap_or_default(), &expected)
        });
        for node in [here, there] {
            assert!(
                cluster.nodes[node].peek(made.id()).is_none(),
                "not in the other application"
            );
        }
        let gone = visitor.get(cluster.http(there), "/app2/s/invalidate");
        assert_eq!(gone.get("invalidated"), &json!(true), "{}", gone.json);
    }
}
