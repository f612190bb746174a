//! Members that send what is well-formed and of no use here.

use std::time::Duration;

use folkmoot::{DeltaManagerConfig, ReceiverConfig};

use crate::forge::{EVT_SESSION_DELTA, delta, session_frame};
use crate::log;
use crate::pair::Pair;
use crate::slow::Stalled;
use crate::support::session_message::{EVT_SESSION_CREATED, session_message};
use crate::support::wait::{SOON, until};

scenarios! {
    fn a_trusted_member_keeps_its_connection(name) { of_no_use(name, true); }
    fn a_member_loses_its_connection(name) { of_no_use(name, false); }
}

fn of_no_use(name: &str, trust_members: bool) {
    let mut config = DeltaManagerConfig::default();
    config.limits.early_wait = Duration::from_millis(200);
    let receiver = ReceiverConfig {
        trust_members,
        ..ReceiverConfig::default()
    };
    let pair = Pair::start_with(name, |builder| builder.receiver(receiver), config);
    let member = Stalled::join(pair.attacker);
    until("it is a member", SOON, || {
        match pair.victim.cluster.members().len() {
            2 => Ok(()),
            other => Err(other),
        }
    });
    let id = "nowhere";
    let unknown = session_message(EVT_SESSION_CREATED, "localhost#/nowhere", "S", b"");
    let homeless = session_message(EVT_SESSION_DELTA, "localhost#", id, &delta(id, b"\x70"));
    let counted = |pair: &Pair| {
        pair.victim.cluster.session_message_stats().unknown_context
            + pair.victim.manager.stats().early_dropped
    };
    for (what, message, line) in [
        ("an unknown context", unknown, "localhost#/nowhere"),
        (
            "a delta for no session",
            homeless,
            "about sessions that did not come in time",
        ),
    ] {
        let before = (counted(&pair), pair.count(|stats| stats.bad.unwanted));
        let ended = pair.attack(&session_frame(pair.attacker, &message));
        assert_eq!(ended, !trust_members, "{what}: the connection");
        until(&format!("{what}: counted"), SOON, || {
            match counted(&pair) - before.0 {
                1 => Ok(()),
                other => Err(other),
            }
        });
        let unwanted = pair.count(|stats| stats.bad.unwanted) - before.1;
        assert_eq!(unwanted, u64::from(!trust_members), "{what}: as bad input");
        assert!(!log::with(line).is_empty(), "{what}: logged");
    }
    assert_eq!(
        pair.victim.manager.session_ids(),
        std::slice::from_ref(&pair.session),
        "its sessions as before"
    );
    drop(member);
}
