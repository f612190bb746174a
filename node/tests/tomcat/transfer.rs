//! Ten thousand sessions, and a hundred thousand, handed to a node that joins.

use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::crowd::{await_ids, create_sessions, different};
use crate::support::probe::Kind::{self, Rust, Tomcat};

scenarios! {
    fn ten_thousand_sessions_from_tomcat_to_rust(name) { hand_over(name, Tomcat, Rust); }
    fn ten_thousand_sessions_from_rust_to_tomcat(name) { hand_over(name, Rust, Tomcat); }
    fn ten_thousand_sessions_from_rust_to_rust(name) { hand_over(name, Rust, Rust); }

    /// From another Tomcat at its defaults not one of them would arrive.
    fn a_hundred_thousand_sessions_from_rust_to_tomcat(name) { hand_over_all(name, Rust, Tomcat); }
    fn a_hundred_thousand_sessions_from_rust_to_rust(name) { hand_over_all(name, Rust, Rust); }
    /// In blocks: in one message Tomcat cannot send them.
    fn a_hundred_thousand_sessions_from_tomcat_to_rust(name) { hand_over_all(name, Tomcat, Rust); }
}

const SESSIONS: usize = 10_000;
const MANY: usize = 100_000;
/// Of many sessions one in so many is compared down to its values.
const LOOKED_AT: usize = 50;

fn hand_over_all(name: &str, donor: Kind, joiner: Kind) {
    let setup = Setup::new(Membership::Multicast, 8)
        .with("PROBE_STATE_BLOCK", "1000")
        .with("_JAVA_OPTIONS", "-Xmx3g");
    let mut cluster = Cluster::new(name, &[donor, joiner], &setup);
    cluster.nodes[0].start();
    let ids = create_sessions(cluster.http(0), MANY, 1024);
    cluster.nodes[1].start();
    assert_eq!(
        cluster.nodes[1].session_ids().len(),
        MANY,
        "all there when it serves"
    );
    cluster.await_members();
    await_ids(&cluster, &ids);
    let some: Vec<String> = ids.iter().step_by(LOOKED_AT).cloned().collect();
    assert_eq!(different(&cluster, &some), [""; 0], "sessions that differ");
    let asked = cluster.nodes[0].received("EVT_GET_ALL_SESSIONS");
    assert_eq!(asked, 1, "the joiner asked once");
}

fn hand_over(name: &str, donor: Kind, joiner: Kind) {
    let setup = Setup::new(Membership::Multicast, 8);
    let mut cluster = Cluster::new(name, &[donor, joiner], &setup);
    cluster.nodes[0].start();
    let ids = create_sessions(cluster.http(0), SESSIONS, 1024);
    cluster.nodes[1].start();
    assert_eq!(
        cluster.nodes[1].session_ids().len(),
        SESSIONS,
        "all there when it serves"
    );
    cluster.await_members();
    await_ids(&cluster, &ids);
    assert_eq!(different(&cluster, &ids), [""; 0], "sessions that differ");
    let asked = cluster.nodes[0].received("EVT_GET_ALL_SESSIONS");
    assert_eq!(asked, 1, "the joiner asked once");
}
