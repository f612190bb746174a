//! What an ACK promises, when it comes, and what the sender hears when it does not.

use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, ChannelEvent, FaultCause, SendError};
use folkmoot_sim::group::{GroupWorld, Membership, Outcome, Parcel, Promise, Temper};
use folkmoot_sim::{Crash, Cut, Identity, NetworkConfig, NodeId, SimRng};

const PROMISES: [Promise; 3] = [Promise::Queued, Promise::Received, Promise::Processed];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn outcome(world: &GroupWorld, parcel: &Parcel) -> Outcome {
    world
        .ledger()
        .borrow()
        .entry(parcel)
        .unwrap()
        .outcome
        .clone()
}

/// How often `node` was handed `parcel`.
fn handed(world: &GroupWorld, parcel: &Parcel, node: NodeId) -> u32 {
    let ledger = world.ledger().borrow();
    let received = &ledger.entry(parcel).unwrap().received;
    received
        .iter()
        .filter(|((of, _), _)| usize::from(*of) == node.index())
        .map(|(_, count)| count)
        .sum()
}

fn causes(world: &GroupWorld, node: NodeId) -> Vec<FaultCause> {
    let events = &world.machine(node).unwrap().events;
    let faults = events.iter().filter_map(|event| match event {
        ChannelEvent::Sent { faulty, .. } => Some(faulty.iter().map(|(_, cause)| *cause)),
        _ => None,
    });
    faults.flatten().collect()
}

#[test]
fn every_promise_is_kept_on_a_quiet_network() {
    let mut world = GroupWorld::new(1);
    let [a, b, c] = world.join_all();
    for promise in PROMISES {
        let parcel = world.send_all(a, promise, 0, 500).unwrap();
        world.run_for(millis(10));
        assert_eq!([b, c].map(|node| handed(&world, &parcel, node)), [1, 1]);
        let told = if promise == Promise::Queued {
            Outcome::Open
        } else {
            Outcome::Acknowledged
        };
        assert_eq!(outcome(&world, &parcel), told, "{promise:?}");
    }
    assert_eq!(world.violations(), []);
}

/// A message that is sent once more would change its place among those that are under way behind it.
#[test]
fn an_application_that_fails_is_asked_again_only_where_that_keeps_the_order() {
    #[rustfmt::skip]
    let cases = [
        ("one at a time", false, 1, Outcome::Acknowledged, 2),
        ("one at a time", false, 2, Outcome::Faulty(vec![1]), 2),
        ("many at a time", true, 1, Outcome::Faulty(vec![1]), 1),
    ];
    for (name, pipelining, fail_next, told, times) in cases {
        let adjust = move |config: &mut ChannelConfig| config.sender.pipelining = pipelining;
        let quiet = NetworkConfig::quiet();
        let mut world = GroupWorld::with_config(2, quiet, Membership::Multicast, adjust);
        let [a, b, _] = world.join_all();
        world.set_temper(b, Temper { fail_next, fail: 0 });
        let parcel = world.send_all(a, Promise::Processed, 0, 100).unwrap();
        world.run_for(seconds(2));
        assert_eq!(
            outcome(&world, &parcel),
            told,
            "{name}, {fail_next} failures"
        );
        assert_eq!(
            handed(&world, &parcel, b),
            times,
            "{name}, {fail_next} failures"
        );
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn an_application_that_fails_breaks_no_promise_of_receipt() {
    let mut world = GroupWorld::new(3);
    let [a, b, _] = world.join_all();
    world.set_temper(
        b,
        Temper {
            fail_next: 9,
            fail: 0,
        },
    );
    let parcel = world.send_all(a, Promise::Received, 0, 100).unwrap();
    world.run_for(seconds(1));
    assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged);
    assert_eq!(handed(&world, &parcel, b), 1);
}

#[test]
fn a_destination_that_answers_nothing_is_reported_when_the_time_is_over() {
    let mut world = GroupWorld::new(4);
    let [a, b, c] = world.join_all();
    world.pause(b);
    let parcel = world.send_all(a, Promise::Processed, 0, 100).unwrap();
    world.run_for(millis(2900));
    assert_eq!(outcome(&world, &parcel), Outcome::Open);
    world.run_for(seconds(4));
    assert_eq!(outcome(&world, &parcel), Outcome::Faulty(vec![1]));
    assert_eq!(causes(&world, a), [FaultCause::TimedOut]);
    assert_eq!(
        handed(&world, &parcel, c),
        1,
        "the others have it all the same"
    );
    assert_eq!(
        world.members_of(a),
        [b, c],
        "its kernel still answers the check"
    );
    assert_eq!(world.violations(), []);
}

#[test]
fn a_lost_connection_is_not_a_lost_message() {
    for seed in 0..20 {
        let mut world = GroupWorld::new(seed);
        let [a, b, _] = world.join_all();
        let parcel = world.send(a, b, Promise::Processed).unwrap();
        world.run_for(Duration::from_micros(40 * seed));
        world.reset_streams(a, b);
        world.run_for(seconds(4));
        assert_eq!(
            outcome(&world, &parcel),
            Outcome::Acknowledged,
            "seed {seed}"
        );
        assert!(handed(&world, &parcel, b) <= 2);
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_message_to_a_crashed_member_is_reported() {
    for how in [Crash::Process, Crash::Host] {
        let mut world = GroupWorld::new(5);
        let [a, b, _] = world.join_all();
        world.crash(b, how);
        let parcel = world.send(a, b, Promise::Received).unwrap();
        world.run_for(seconds(8));
        assert_eq!(
            outcome(&world, &parcel),
            Outcome::Faulty(vec![1]),
            "{how:?}"
        );
        let gone = world.send(a, b, Promise::Received);
        assert_eq!(gone, Err(SendError::NoMembers));
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn the_sender_of_a_partition_hears_who_did_not_get_it() {
    for cut in [Cut::Dropped, Cut::Rejected] {
        let mut world = GroupWorld::new(6);
        let [a, b, c] = world.join_all();
        world.send_all(a, Promise::Received, 0, 100).unwrap();
        world.run_for(seconds(1));
        world.partition(&[&[a, b], &[c]], cut);
        let parcel = world.send_all(a, Promise::Received, 0, 100).unwrap();
        world.run_for(seconds(9));
        assert_eq!(
            outcome(&world, &parcel),
            Outcome::Faulty(vec![2]),
            "{cut:?}"
        );
        world.heal();
        world.run_for(seconds(6));
        let parcel = world.send_all(a, Promise::Received, 0, 100).unwrap();
        world.run_for(seconds(2));
        assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged, "{cut:?}");
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_replaced() {
    let mut world = GroupWorld::new(7);
    let [a, b, _] = world.join_all();
    world.send(a, b, Promise::Processed).unwrap();
    world.run_for(seconds(1));
    world.sever_streams(a, b);
    let lost = world.send(a, b, Promise::Processed).unwrap();
    world.run_for(seconds(7));
    assert_eq!(outcome(&world, &lost), Outcome::Faulty(vec![1]));
    let next = world.send(a, b, Promise::Processed).unwrap();
    world.run_for(seconds(2));
    assert_eq!(outcome(&world, &next), Outcome::Acknowledged);
    assert_eq!(world.violations(), []);
}

/// Nobody acknowledges options 8: what a kernel has taken is gone without a word, and only what still waited for it is known
/// to be lost.
#[test]
fn what_waited_for_a_dead_connection_is_said_to_be_lost() {
    const WINDOW: usize = 10_000;
    let network = NetworkConfig {
        window: WINDOW,
        ..NetworkConfig::quiet()
    };
    let mut world = GroupWorld::with_config(7, network, Membership::Multicast, |_| {});
    let [a, b, _] = world.join_all();
    world.send(a, b, Promise::Queued).unwrap();
    world.run_for(seconds(1));
    world.sever_streams(a, b);
    let send = |world: &mut GroupWorld| {
        let sent = world.with(a, |node, now| {
            node.send(now, Some(&[b]), Promise::Queued, 1, 1000)
        });
        sent.unwrap().unwrap()
    };
    let parcels: Vec<Parcel> = (0..40).map(|_| send(&mut world)).collect();
    world.run_for(seconds(8));
    let events = &world.machine(a).unwrap().events;
    let lost: u64 = events
        .iter()
        .map(|event| match event {
            ChannelEvent::Lost { messages, .. } => *messages,
            _ => 0,
        })
        .sum();
    let arrived = parcels.iter().map(|parcel| handed(&world, parcel, b));
    let arrived = u64::from(arrived.sum::<u32>());
    // One more may have been written in part.
    let unsaid = WINDOW as u64 / 1000 + 1;
    assert!(
        lost > 0 && lost + arrived <= 40,
        "{lost} lost, {arrived} arrived"
    );
    assert!(
        lost + arrived + unsaid >= 40,
        "{lost} lost, {arrived} arrived"
    );
    let next = send(&mut world);
    world.run_for(seconds(1));
    assert_eq!(handed(&world, &next, b), 1);
    assert_eq!(world.violations(), []);
}

#[test]
fn the_queue_to_a_member_that_does_not_read_has_its_bound() {
    let small = |config: &mut ChannelConfig| {
        config.limits.queue_bytes_max = 100_000;
    };
    let network = NetworkConfig {
        window: 10_000,
        ..NetworkConfig::quiet()
    };
    let mut world = GroupWorld::with_config(8, network, Membership::Multicast, small);
    let [a, b, _] = world.join_all();
    world.pause(b);
    let mut full = 0;
    for _ in 0..1000 {
        full += u32::from(matches!(
            world.send_all(a, Promise::Queued, 0, 1000),
            Err(SendError::QueueFull(_))
        ));
        world.run_for(Duration::from_micros(100));
    }
    assert!(full > 800, "{full}");
    world.resume(b);
    world.run_for(seconds(2));
    let parcel = world.send_all(a, Promise::Processed, 0, 1000).unwrap();
    world.run_for(seconds(1));
    assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged);
    let ready = |event: &ChannelEvent| matches!(event, ChannelEvent::QueueReady(_));
    assert!(world.machine(a).unwrap().events.iter().any(ready));
    assert_eq!(world.violations(), []);
}

/// Thousands of messages on several lanes over a network that does its worst short of losing members.
#[test]
fn lanes_keep_their_order_whatever_happens_to_their_connections() {
    let network = NetworkConfig {
        jitter_ns: 5_000_000,
        spike: 10_000,
        spike_ns: 300_000_000,
        fragment: 300_000,
        window: 3000,
        slow_connect: 50_000,
        ..NetworkConfig::quiet()
    };
    for seed in 0..8 {
        let mut world =
            GroupWorld::with_config(seed, network.clone(), Membership::Multicast, |_| {});
        let nodes = world.join_all::<3>();
        let mut rng = SimRng::fork(seed, 99);
        for round in 0..1500 {
            let from = *rng.pick(&nodes);
            let promise = *rng.pick(&PROMISES);
            let (lane, len) = (rng.below(4) as u32, rng.index(900));
            let _ = world.send_all(from, promise, lane, len);
            if round % 40 == 0 {
                let (a, b) = (*rng.pick(&nodes), *rng.pick(&nodes));
                match rng.below(3) {
                    0 => world.reset_streams(a, b),
                    1 => world.stall(a, b, millis(rng.below(2000))),
                    _ => world.set_temper(
                        a,
                        Temper {
                            fail_next: 1,
                            fail: 0,
                        },
                    ),
                }
            }
            world.run_for(Duration::from_micros(rng.below(20_000)));
        }
        world.run_for(seconds(20));
        assert_eq!(world.violations(), [], "seed {seed}");
        let ledger = world.ledger().borrow();
        let open = ledger.entries().filter(|(_, entry)| {
            entry.promise != Promise::Queued && entry.outcome == Outcome::Open
        });
        assert_eq!(open.count(), 0, "seed {seed}: every send is settled");
        assert!(ledger.deliveries > 2000, "{}", ledger.deliveries);
    }
}

#[test]
fn a_large_message_and_a_small_window_still_fit() {
    let network = NetworkConfig {
        window: 5000,
        bandwidth: 20_000_000,
        fragment: 100_000,
        ..NetworkConfig::quiet()
    };
    let mut world = GroupWorld::with_config(9, network, Membership::Multicast, |_| {});
    let [a, ..] = world.join_all::<3>();
    let parcel = world.send_all(a, Promise::Processed, 5, 3_000_000).unwrap();
    world.run_for(seconds(30));
    assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged);
    assert_eq!(world.violations(), []);
}

#[test]
fn a_restarted_member_gets_what_is_sent_to_it_and_nothing_older() {
    for identity in [Identity::Same, Identity::New] {
        let mut world = GroupWorld::new(10);
        let [a, b, _] = world.join_all();
        for _ in 0..50 {
            world.send_all(a, Promise::Queued, 1, 100).unwrap();
        }
        world.run_for(seconds(1));
        world.crash(b, Crash::Process);
        world.run_for(millis(20));
        world.boot(b, identity);
        world.run_for(seconds(8));
        let parcel = world.send_all(a, Promise::Processed, 1, 100).unwrap();
        world.run_for(seconds(1));
        assert_eq!(
            outcome(&world, &parcel),
            Outcome::Acknowledged,
            "{identity:?}"
        );
        assert_eq!(world.violations(), []);
    }
}

/// A kernel goes on retransmitting what its process wrote, also after the process has given the connection up.
#[test]
fn what_was_given_up_does_not_come_after_what_is_newer() {
    for (pipelining, seed) in [(true, 11), (false, 11), (true, 12), (false, 12)] {
        let adjust = move |config: &mut ChannelConfig| config.sender.pipelining = pipelining;
        let network = NetworkConfig {
            retransmit_max_ns: 2_000_000_000,
            ..NetworkConfig::quiet()
        };
        let mut world = GroupWorld::with_config(seed, network, Membership::Multicast, adjust);
        let [a, b, _] = world.join_all();
        world.send_all(a, Promise::Processed, 1, 100).unwrap();
        world.run_for(seconds(1));
        world.set_link(a, b, Cut::Dropped);
        let stuck = world.send_all(a, Promise::Processed, 1, 100).unwrap();
        world.run_for(millis(3100));
        assert_eq!(outcome(&world, &stuck), Outcome::Faulty(vec![1]));
        world.heal();
        let newer = world.send_all(a, Promise::Processed, 1, 100).unwrap();
        world.run_for(seconds(6));
        assert_eq!(outcome(&world, &newer), Outcome::Acknowledged);
        assert_eq!(world.violations(), [], "pipelining {pipelining}");
    }
}
