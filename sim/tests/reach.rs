//! What no run reaches no rule can judge: random runs get everywhere in the world that they are meant for.

use std::collections::BTreeMap;

use folkmoot_sim::group::GroupMode;
use folkmoot_sim::maps::MapsMode;
use folkmoot_sim::sessions::SessionMode;
use folkmoot_sim::{FaultKind, Mode, Plan, PlanOptions, run};

/// Enough runs to get everywhere.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=80;

/// What is reached in every mode.
const EVERYWHERE: &[&str] = &[
    // The network's own troubles: losses, full accept queues, connections denied, and such that die in silence.
    "event DatagramLost",
    "event Refuse",
    "network accept queues full",
    "network datagrams lost",
    "network streams that died in silence",
    // The nodes'.
    "event Clock",
    "event Pause",
    "event Resume",
];

#[track_caller]
fn reaches<M: Mode>(places: &[&str]) {
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for seed in SEEDS {
        let report = run::<M>(&Plan::draw(seed, &PlanOptions::default()), 0);
        for (name, count) in report.covered {
            *reached.entry(name).or_default() += count;
        }
    }
    let faults: Vec<String> = FaultKind::ALL
        .iter()
        .map(|kind| format!("fault {}", kind.name()))
        .collect();
    let all = faults.iter().map(String::as_str);
    let all = all.chain(EVERYWHERE.iter().copied());
    let missed: Vec<&str> = all
        .chain(places.iter().copied())
        .filter(|name| reached.get(*name).is_none_or(|count| *count == 0))
        .collect();
    assert!(missed.is_empty(), "never reached: {missed:#?}");
}

#[test]
fn bare_channels_meet_everything() {
    reaches::<GroupMode>(&[
        "with Tomcats",
        "with somebody hostile",
        "with several connections between two",
        "event PauseRead",
        "event ResumeRead",
        "layer EncryptInterceptor",
        "layer FragmentationInterceptor",
        "layer GzipInterceptor",
        "layer OrderInterceptor",
        "layer ThroughputInterceptor",
        "layer TwoPhaseCommitInterceptor",
        "layers messages held back",
        "layers messages after their turn",
        "layers messages waited for too long",
        "layers messages in pieces",
        "layers pieces without the rest",
        "layers messages confirmed",
        "layers messages not confirmed",
        "layers messages nobody confirmed",
        "layers repeats recognised",
        "Tomcat answers out of order",
        "Tomcat ghosts kept",
        "parcel taken by a Tomcat",
        "parcel delivered again",
        "parcel Received faulty",
        "parcel Processed faulty",
        "send refused QueueFull",
        "channel bad input",
        "channel frames lost",
        "channel frames resent",
        "channel FAIL_ACKs",
    ]);
}

#[test]
fn clusters_meet_everything() {
    reaches::<SessionMode>(&[
        "with Tomcats",
        "with somebody hostile",
        "with short queues",
        "with configured members",
        "with reading threads",
        "event HalfClose",
        "event PauseRead",
        "event ResumeRead",
        "Tomcat deltas dropped",
        "Tomcat ghosts kept",
        "Tomcat messages given up after 3 s",
        "Tomcat messages tried again",
        "Tomcat states given",
        "options 2",
        "options 6",
        "options 8",
        "received ALL-SESSION-DATA",
        "received NO-CONTEXT-MANAGER",
        "received SESSION-ACCESSED",
        "received SESSION-DELTA",
        "received SESSION-EXPIRED",
        "received SESSION-GET-ALL",
        "received SESSION-ID-CHANGED",
        "received SESSION-MODIFIED",
        "received SESSION-STATE-TRANSFERRED",
        "front clients sent elsewhere in calm times",
        "front sessions left to themselves",
        "mix mostly writes",
        "mix mostly ends",
        "mix mostly removals",
        "mix mostly changes of id",
        "mix mostly looks",
        "mix without changes of id",
        "mix many overlapping requests",
        "front nodes restarted under calm clients",
        "front sessions not found after fail-over",
        "manager changes merged",
        "manager comparisons broken",
        "manager conflicts",
        "manager deltas applied ahead",
        "manager early messages applied",
        "manager members left out while their queues were full",
        "manager sessions timed out",
        "manager states given in part",
        "transfer Incomplete",
        "transfer NoContextManager",
    ]);
}

#[test]
fn maps_meet_everything() {
    reaches::<MapsMode>(&[
        "entry Primary",
        "entry Backup",
        "entry Proxy",
        "front requests that waited for their session",
        "front sessions not found after faults",
        "front sessions that outlived a node",
        "front older values read after faults",
        "front sessions ended or renamed",
        "front changes of id",
        "mix mostly writes",
        "mix mostly ends",
        "mix mostly removals",
        "mix mostly changes of id",
        "mix mostly looks",
        "mix without changes of id",
        "mix many overlapping requests",
        "map refused because it was removed",
        "map told of a removal",
        "with Tomcats",
        "with somebody hostile",
        "Tomcat map messages taken",
        "Tomcat sessions made",
        "Tomcat sessions made in calm times",
        "Tomcat sessions of others taken over",
        "Tomcat states of maps given",
    ]);
}
