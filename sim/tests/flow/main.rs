//! The state as a flow of counted parts: it goes on with another donor where it was, whatever becomes of the first.

mod stage;

use std::time::Duration;

use folkmoot_core::session::TransferResult;
use folkmoot_sim::{Crash, Cut, Identity};

use stage::{SESSIONS, Stage, UNDER_WAY};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn when_the_donor_dies_another_goes_on_where_it_was() {
    for (how, at) in [
        (Crash::Process, 1000),
        (Crash::Process, 2900),
        (Crash::Host, 1500),
        (Crash::Host, 2000),
    ] {
        let mut stage = Stage::new(1);
        let [a, b] = stage.donors;
        let joiner = stage.join_until(at);
        stage.world.crash(a, how);
        stage.goes_on(joiner, b, &format!("{how:?} after {at}"));
        assert_eq!(stage.world.contents(joiner), stage.world.contents(b));
    }
}

#[test]
fn when_the_donor_is_cut_off_or_stands_still_another_goes_on_where_it_was() {
    for case in ["dropped", "rejected", "still"] {
        let mut stage = Stage::new(2);
        let [a, b] = stage.donors;
        let joiner = stage.join_until(1000);
        match case {
            "dropped" => stage.world.partition(&[&[a], &[b, joiner]], Cut::Dropped),
            "rejected" => stage.world.partition(&[&[a], &[b, joiner]], Cut::Rejected),
            _ => stage.world.pause(a),
        }
        stage.goes_on(joiner, b, case);
        // What the first still has to say changes nothing.
        stage.world.heal();
        stage.world.resume(a);
        stage.world.run_for(seconds(40));
        for donor in stage.donors {
            assert_eq!(stage.world.contents(joiner), stage.world.contents(donor));
        }
        assert_eq!(stage.world.violations(), [], "{case}");
    }
}

#[test]
fn a_donor_that_is_the_only_one_goes_on_itself() {
    let mut stage = Stage::new(3);
    let [a, b] = stage.donors;
    stage.world.crash(b, Crash::Process);
    stage.world.run_for(seconds(5));
    let joiner = stage.join_until(1000);
    stage.world.pause(a);
    stage.world.run_for(seconds(12));
    stage.world.resume(a);
    let given = stage.stats(a).transfer_sessions_given;
    let (outcome, missing) = stage.outcome(joiner);
    assert_eq!((outcome.result, missing), (TransferResult::Complete, 0));
    let given = stage.stats(a).transfer_sessions_given - given;
    assert!(given < SESSIONS as u64, "not from the beginning: {given}");
}

#[test]
fn a_joiner_that_dies_in_the_middle_gets_all_when_it_is_back() {
    for how in [Crash::Process, Crash::Host] {
        let mut stage = Stage::new(4);
        let joiner = stage.join_until(1500);
        stage.world.crash(joiner, how);
        stage.world.run_for(millis(700));
        stage.world.boot(joiner, Identity::New);
        stage.world.run_for(seconds(1));
        let (outcome, missing) = stage.outcome(joiner);
        assert_eq!((outcome.result, missing), (TransferResult::Complete, 0));
        assert_eq!(outcome.sessions, SESSIONS, "it has forgotten what it had");
        stage.world.run_for(seconds(20));
        assert!(stage.world.is_replicated());
        assert_eq!(stage.world.violations(), []);
    }
}

#[test]
fn what_happens_while_donors_change_is_not_lost() {
    for how in [Crash::Process, Crash::Host] {
        let mut stage = Stage::new(5);
        let [a, b] = stage.donors;
        let joiner = stage.join_until(500);
        let ids = stage.ids.clone();
        let mut made = Vec::new();
        for round in 0..120usize {
            let node = if round < 40 { [a, b][round % 2] } else { b };
            if round == 40 {
                stage.world.crash(a, how);
            }
            let world = &mut stage.world;
            assert!(world.put(node, &ids[round * 5], "number", "changed"));
            assert!(world.remove(node, &ids[round * 5 + 1], "number"));
            assert!(world.invalidate(node, &ids[round * 5 + 2]));
            made.push(world.change_id(node, &ids[round * 5 + 3]).expect("an id"));
            made.push(world.create(node, &[("new", "yes")]));
            world.run_for(millis(5));
        }
        // What was made meanwhile may still be on its way, or has died with the node that made it before the joiner heard of it.
        stage.ids.retain(|id| stage.world.has(b, id));
        let (outcome, missing) = stage.outcome(joiner);
        assert_eq!((outcome.result, missing), (TransferResult::Complete, 0));
        assert_eq!(stage.stats(joiner).transfers_resumed, 1);
        stage.world.run_for(seconds(20));
        let [here, there] = [joiner, b].map(|node| stage.world.contents(node));
        assert_eq!(here, there);
        assert_eq!(here.len(), SESSIONS);
        for id in made {
            assert!(here.contains_key(&id.to_string()), "{id}");
        }
        for round in 0..120 {
            let changed = stage.world.get(joiner, &ids[round * 5], "number");
            assert_eq!(changed.as_deref(), Some("changed"));
            let removed = stage.world.get(joiner, &ids[round * 5 + 1], "number");
            assert_eq!(removed, None);
        }
        assert_eq!(stage.world.violations(), []);
    }
}

#[test]
fn two_that_join_at_once_both_go_on_with_another_donor() {
    let mut stage = Stage::new(6);
    let [a, b] = stage.donors;
    let first = stage.world.join();
    let second = stage.join_until(800);
    stage.world.crash(a, Crash::Process);
    for joiner in [first, second] {
        let (outcome, missing) = stage.outcome(joiner);
        assert_eq!(
            (outcome.result, missing),
            (TransferResult::Complete, 0),
            "{joiner}"
        );
        let stats = stage.stats(joiner);
        assert!(stats.transfers_resumed >= 1, "{joiner}");
        assert!(stats.transfer_sessions_received <= SESSIONS as u64 + 2 * UNDER_WAY);
    }
    stage.world.run_for(seconds(20));
    for joiner in [first, second] {
        assert_eq!(stage.world.contents(joiner), stage.world.contents(b));
    }
    assert_eq!(stage.world.violations(), []);
}

#[test]
fn a_full_queue_delays_the_flow_and_breaks_nothing() {
    // Room for two parts and little else: what clients write meanwhile fills it again and again.
    let mut stage = Stage::with(7, |channel| channel.limits.queue_bytes_max = 40 << 10);
    let [a, _] = stage.donors;
    let joiner = stage.join_until(200);
    let ids = stage.ids.clone();
    let text = "x".repeat(2000);
    for id in &ids[..200] {
        assert!(stage.world.put(a, id, "large", &text));
        stage.world.run_for(millis(1));
    }
    let (outcome, missing) = stage.outcome(joiner);
    assert_eq!((outcome.result, missing), (TransferResult::Complete, 0));
    stage.world.run_for(seconds(20));
    assert!(stage.world.is_replicated());
    assert_eq!(stage.world.violations(), [], "no queue was over its bound");
}
