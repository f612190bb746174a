//! Random runs, as many as a test has time for; `folkmoot-sim run` makes more of them.

use std::time::Duration;

use folkmoot_sim::group::GroupMode;
use folkmoot_sim::maps::MapsMode;
use folkmoot_sim::sessions::SessionMode;
use folkmoot_sim::{Mode, Plan, PlanOptions, run};

fn swarm<M: Mode>(seeds: std::ops::Range<u64>) {
    swarm_of::<M>(seeds, &PlanOptions::default());
}

/// Our own nodes alone: what their seeds mean does not change with who else may be there.
fn plain<M: Mode>(seeds: std::ops::Range<u64>) {
    let options = PlanOptions {
        plain: true,
        ..PlanOptions::default()
    };
    swarm_of::<M>(seeds, &options);
}

/// With others, as they were when they neither stood still nor crashed.
fn steady<M: Mode>(seeds: std::ops::Range<u64>) {
    let options = PlanOptions {
        steady: true,
        ..PlanOptions::default()
    };
    swarm_of::<M>(seeds, &options);
}

/// With whoever else may be there, as runs were when clients did what is common and strangers in mode `maps` were left alone.
fn common<M: Mode>(seed: u64) {
    let mut plan = Plan::draw(seed, &PlanOptions::default());
    (plan.mix, plan.steady) = (None, true);
    holds::<M>(&plan);
}

fn swarm_of<M: Mode>(seeds: std::ops::Range<u64>, options: &PlanOptions) {
    for seed in seeds {
        holds::<M>(&Plan::draw(seed, options));
    }
}

fn holds<M: Mode>(plan: &Plan) {
    let report = run::<M>(plan, 0);
    let broken: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(
        broken.is_empty(),
        "replay --mode {} --seed {}: {broken:#?}",
        M::NAME,
        plan.seed
    );
}

#[test]
fn bare_channels_keep_their_promises() {
    plain::<GroupMode>(0..200);
    // With whoever else may be there.
    swarm::<GroupMode>(0..40);
}

#[test]
fn clusters_keep_their_promises() {
    plain::<SessionMode>(0..150);
    // With whoever else may be there.
    swarm::<SessionMode>(0..60);
}

#[test]
fn maps_keep_their_promises() {
    swarm::<MapsMode>(0..150);
}

/// Runs that once broke a rule, and what was wrong.
#[test]
fn what_was_found_once_stays_fixed() {
    // A frame of a connection that had been given up came after newer ones.
    let late = [7, 10, 147, 168, 184, 218];
    // An ACK for a message that was not delivered: its connection had been replaced.
    let early = [167, 189, 220];
    // A stop that waited for the last frame went on with the connection that had just been closed.
    let stop = [633];
    // A heartbeat overtaken by the goodbye of its sender brought that back.
    let overtaken = [10, 57];
    for seed in late.into_iter().chain(early).chain(stop).chain(overtaken) {
        plain::<GroupMode>(seed..seed + 1);
    }
    // Somebody hostile had to confirm one of two messages, which were taken for messages to the same members.
    swarm::<GroupMode>(3746..3747);
    // What came with a Tomcat's state counted as later than what one of ours, whose clock was behind, said afterwards.
    for seed in [37, 140, 360, 582] {
        steady::<SessionMode>(seed..seed + 1);
    }
    // A state that came unasked, after a queue had been full, undid what was written while it was on its way.
    for seed in [16, 362] {
        steady::<SessionMode>(seed..seed + 1);
    }
    // One message in a member's name, and it was spoken to over connections that it refuses.
    steady::<GroupMode>(100..101);
    // A Tomcat whose donor was cut off waited for its state, and was judged as one that has it.
    steady::<SessionMode>(2995..2996);
    // A session that got an old id back on one side of a partition; a donor that waited for the end of another's transfer.
    for seed in [106, 1513] {
        common::<SessionMode>(seed);
    }
    // A CREATED sent again revived a session whose creator's clock had jumped back.
    let clock = [459];
    // A state brought back an id that its session had given up, before it ended (256) or timed out as a copy.
    let renamed = [256, 658, 864];
    // A change of id that a state contained was applied again when the session got its old id back.
    let again = [233, 744, 979];
    // A node that had its sessions from a state gave one a new id with a time that was older than what others knew.
    let stale = [460, 1803];
    // A comparison that was given up, because the other stood still, was not made up for.
    let given_up = [301];
    // Two nodes kept copies alive for each other by comparing them.
    let undead = [671, 1695];
    // A donor waited for a time that had passed when there was nothing left to give.
    let timer = [1125];
    // Of the connections that had died in silence each attempt of the last sessions found a few at random: not all in time.
    let unused = [2471];
    let of_sessions = clock.into_iter().chain(renamed).chain(again).chain(stale);
    let of_comparing = given_up.into_iter().chain(undead).chain(timer);
    for seed in of_sessions.chain(of_comparing).chain(unused) {
        plain::<SessionMode>(seed..seed + 1);
    }
    // A session ended while its primary gave a newcomer its copy, and stayed there.
    let removed = [555];
    // A removal sent without ACK was lost with a connection that had died in silence (261), or with its node cut off (433).
    let unheard = [261, 433];
    // After a long pause more had to be told of removals than one turn tells, and the timer stayed in the past.
    let behind = [193];
    // A node stood still while it was starting, kept what it had been told of before, and was told of the removals of ten seconds only.
    let started_late = [2780];
    let forgotten = removed.into_iter().chain(unheard);
    for seed in forgotten.chain(behind).chain(started_late) {
        plain::<MapsMode>(seed..seed + 1);
        common::<MapsMode>(seed);
    }
    // Who stood still, and had not heard of an end, gave the session to a newcomer, and left.
    plain::<MapsMode>(3772..3773);
    // A node's slot was given to a peer that came while it was full, before its driver had closed the connection that made room.
    // The answer of one Tomcat was lost: others left out who waited for it, and did not say again what they made meanwhile.
    for seed in [2398, 2815, 3264] {
        swarm::<MapsMode>(seed..seed + 1);
    }
    // A Tomcat gave a newcomer a session whose end it had read and not worked off.
    common::<MapsMode>(464);
}

/// Twenty-four hours of virtual time, with faults all along.
#[test]
fn three_nodes_keep_their_promises_for_a_day() {
    let day = Duration::from_secs(24 * 3600);
    let options = PlanOptions {
        nodes: Some(3),
        safety: Some(day),
        plain: true,
        ..PlanOptions::default()
    };
    let plan = Plan::draw(1, &options);
    for report in [run::<GroupMode>(&plan, 0), run::<SessionMode>(&plan, 0)] {
        let mode = report.mode;
        assert!(report.held(), "{mode}: {:#?}", report.violations);
        assert!(report.virtual_time >= day && report.faults > 1000, "{mode}");
    }
}

#[test]
fn a_run_is_its_seed() {
    for seed in 0..10 {
        let plan = Plan::draw(seed, &PlanOptions::default());
        let (once, again) = (run::<GroupMode>(&plan, 0), run::<GroupMode>(&plan, 1000));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
        assert_eq!(once.stats, again.stats);
        let (once, again) = (
            run::<SessionMode>(&plan, 0),
            run::<SessionMode>(&plan, 1000),
        );
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
    }
}

/// Whatever else the process does meanwhile: nothing is shared between runs.
#[test]
fn a_run_is_its_seed_on_every_thread() {
    let hashes = |threads: usize| -> Vec<[u64; 2]> {
        let hashes_of = |first: usize| {
            let seeds = (0..12).skip(first).step_by(threads);
            seeds.map(|seed| {
                let plan = Plan::draw(seed as u64, &PlanOptions::default());
                let session = run::<SessionMode>(&plan, 0).trace_hash;
                (seed, [run::<GroupMode>(&plan, 0).trace_hash, session])
            })
        };
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let spawn = |first| scope.spawn(move || hashes_of(first).collect::<Vec<_>>());
            let running: Vec<_> = (0..threads).map(spawn).collect();
            let ended = running.into_iter().map(|thread| thread.join().unwrap());
            ended.flatten().collect()
        });
        all.sort_unstable();
        all.into_iter().map(|(_, hashes)| hashes).collect()
    };
    assert_eq!(hashes(1), hashes(4));
}
