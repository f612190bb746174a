//! Several web applications on one channel: each has its own sessions.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup, equal};
use crate::support::crowd::{await_ids, create_sessions, create_sessions_of, different};
use crate::support::probe::Kind::{Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    fn two_applications_keep_their_sessions_apart(name) { apart(name); }
    fn one_that_only_the_tomcat_has_costs_no_session_of_the_other_options_8(name) { elsewhere(name, 8); }
    fn one_that_only_the_tomcat_has_costs_no_session_of_the_other_options_6(name) { elsewhere(name, 6); }
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

/// What the Tomcat says of an application that is not deployed here costs it its connections, again and again; what its other
/// application says on the same ones arrives.
fn elsewhere(name: &str, options: u32) {
    let setup = Setup::new(Membership::Multicast, options).on(0, "PROBE_CONTEXTS", "ROOT app2");
    let cluster = Cluster::started(name, &[Tomcat, Rust], &setup);
    let tomcat = cluster.http(0);
    let mut ids = Vec::new();
    // A Tomcat looks after its connections every five seconds.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        thread::scope(|scope| {
            scope.spawn(|| create_sessions_of("/app2", tomcat, 40, 64));
            ids.extend(create_sessions(tomcat, 100, 64));
        });
        thread::sleep(Duration::from_millis(200));
    }
    ids.sort();
    await_ids(&cluster, &ids);
    until(
        "every session with its attribute",
        SOON,
        || match different(&cluster, &ids) {
            lost if lost.is_empty() => Ok(()),
            lost => Err(lost.len()),
        },
    );
    cluster.await_members();
    let log = cluster.nodes[1].log();
    let wound_up = log.matches("the connection is wound up").count();
    println!("{} sessions, {wound_up} connections wound up", ids.len());
    assert!(wound_up > 2, "only {wound_up}");
    assert!(!log.contains("disappeared"), "{log}");
}
