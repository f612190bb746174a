//! Ten thousand sessions handed to a node that joins.

use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::crowd::{await_ids, create_sessions, different};
use crate::support::probe::Kind::{self, Rust, Tomcat};

scenarios! {
    fn ten_thousand_sessions_from_tomcat_to_rust(name) { hand_over(name, Tomcat, Rust); }
    fn ten_thousand_sessions_from_rust_to_tomcat(name) { hand_over(name, Rust, Tomcat); }
    fn ten_thousand_sessions_from_rust_to_rust(name) { hand_over(name, Rust, Rust); }
}

const SESSIONS: usize = 10_000;

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
