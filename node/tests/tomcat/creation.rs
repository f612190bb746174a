//! Sessions created with an attribute in the creating request, many at a time, options 8: none
//! may arrive without it, as far as our side decides.

use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::crowd::{await_ids, create_sessions, different};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    fn rust_to_tomcat(name) { none_without_its_attribute(name, Rust, Tomcat); }
    fn tomcat_to_rust(name) { none_without_its_attribute(name, Tomcat, Rust); }
    fn rust_to_rust(name) { none_without_its_attribute(name, Rust, Rust); }
    fn control_tomcat_to_tomcat_loses_some(name) { some_without_their_attribute(name); }
}

const SESSIONS: usize = 2000;

fn none_without_its_attribute(name: &str, driven: Kind, other: Kind) {
    let setup = Setup::new(Membership::Multicast, 8);
    let cluster = Cluster::started(name, &[driven, other], &setup);
    let ids = create_sessions(cluster.http(0), SESSIONS, 64);
    await_ids(&cluster, &ids);
    // The last deltas may still be on their way.
    until(
        "every session with its attribute on both nodes",
        SOON,
        || {
            let lost = different(&cluster, &ids);
            if lost.is_empty() {
                Ok(())
            } else {
                Err(lost.len())
            }
        },
    );
    let deltas = cluster.nodes[1].received("EVT_SESSION_DELTA");
    assert_eq!(deltas, SESSIONS as u64, "one delta a session, none twice");
}

/// Between two Tomcats the same visitors lose attributes: what the scenarios above measure is
/// there to be lost.
fn some_without_their_attribute(name: &str) {
    let setup = Setup::new(Membership::Multicast, 8);
    let cluster = Cluster::started(name, &[Tomcat, Tomcat], &setup);
    let ids = create_sessions(cluster.http(0), SESSIONS, 64);
    await_ids(&cluster, &ids);
    until("every delta received", SOON, || {
        match cluster.nodes[1].received("EVT_SESSION_DELTA") {
            deltas if deltas >= SESSIONS as u64 => Ok(()),
            deltas => Err(deltas),
        }
    });
    let lost = different(&cluster, &ids);
    println!(
        "{} of {SESSIONS} arrived without their attribute between two Tomcats",
        lost.len()
    );
    assert!(
        !lost.is_empty(),
        "Tomcat has learned to keep the order: drop this control"
    );
}
