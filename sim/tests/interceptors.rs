//! Layers between nodes whose connections break and who die in the middle of a message.

use std::time::Duration;

use folkmoot_core::channel::ChannelConfig;
use folkmoot_core::interceptor::{
    EncryptInterceptor, FragmentationInterceptor, GzipInterceptor, Interceptor, InterceptorStats,
    OrderInterceptor,
};
use folkmoot_sim::group::{GroupWorld, Membership, Outcome, Parcel, Promise};
use folkmoot_sim::{Crash, Identity, NetworkConfig, NodeId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn world(seed: u64, pipelining: bool, stack: Vec<Interceptor>) -> GroupWorld {
    let adjust = move |config: &mut ChannelConfig| {
        config.sender.pipelining = pipelining;
        config.interceptors.clone_from(&stack);
    };
    GroupWorld::with_config(seed, NetworkConfig::quiet(), Membership::Multicast, adjust)
}

fn stats(world: &GroupWorld, node: NodeId) -> InterceptorStats {
    world.machine(node).unwrap().channel().stats().interceptors
}

fn outcome(world: &GroupWorld, parcel: &Parcel) -> Outcome {
    let ledger = world.ledger().borrow();
    ledger.entry(parcel).unwrap().outcome.clone()
}

fn handed(world: &GroupWorld, parcel: &Parcel, node: NodeId) -> u32 {
    let ledger = world.ledger().borrow();
    let received = &ledger.entry(parcel).unwrap().received;
    received
        .iter()
        .filter(|((of, _), _)| usize::from(*of) == node.index())
        .map(|(_, count)| count)
        .sum()
}

/// Several connections to one member bring messages out of order; the layer puts them back.
#[test]
fn order_survives_lost_connections() {
    for pipelining in [false, true] {
        let mut world = world(1, pipelining, vec![OrderInterceptor::default().into()]);
        let [a, b, c] = world.join_all();
        let mut parcels = vec![];
        for round in 0..20u32 {
            for lane in 0..4 {
                parcels.push(world.send_all(a, Promise::Processed, lane, 2000).unwrap());
            }
            if round % 5 == 2 {
                world.reset_streams(a, b);
            }
            world.run_for(millis(20));
        }
        world.run_for(seconds(10));
        for parcel in &parcels {
            assert_eq!(outcome(&world, parcel), Outcome::Acknowledged);
            for node in [b, c] {
                assert!(handed(&world, parcel, node) >= 1);
            }
        }
        let order = stats(&world, b).order;
        assert!(order.in_order >= 80, "{order:?}");
        assert_eq!(order.forwarded_expired, 0, "{order:?}");
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_sender_that_dies_in_the_middle_leaves_no_fragments_behind() {
    let fragmentation = FragmentationInterceptor {
        max_size: 1000,
        ..FragmentationInterceptor::default()
    };
    let mut world = world(2, false, vec![fragmentation.into()]);
    let [a, b, c] = world.join_all();
    let parcel = world.send_all(a, Promise::Processed, 0, 60_000).unwrap();
    // One piece waits for the answer to the one before it.
    let mut begun = 0;
    for _ in 0..1000 {
        begun = stats(&world, b).fragmentation.fragments_received;
        if begun > 5 {
            break;
        }
        world.run_for(Duration::from_micros(100));
    }
    assert!(begun > 5 && begun < 60, "{begun}");
    world.crash(a, Crash::Process);
    world.run_for(seconds(10));
    for node in [b, c] {
        assert_eq!(handed(&world, &parcel, node), 0);
        let fragments = stats(&world, node).fragmentation;
        assert_eq!(
            (fragments.abandoned, fragments.reassembled),
            (1, 0),
            "{fragments:?}"
        );
    }
    world.boot(a, Identity::New);
    world.run_for(seconds(5));
    let parcel = world.send_all(a, Promise::Processed, 0, 60_000).unwrap();
    world.run_for(seconds(5));
    assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged);
    assert_eq!([b, c].map(|node| handed(&world, &parcel, node)), [1, 1]);
    assert_eq!(world.violations(), []);
}

/// What a lost connection has sent twice counts once, and is acknowledged all the same.
#[test]
fn an_encrypted_group_takes_repeats_for_what_they_are() {
    let stack = vec![
        GzipInterceptor::default().into(),
        EncryptInterceptor::new("000102030405060708090a0b0c0d0e0f").into(),
    ];
    let mut world = world(3, false, stack);
    let [a, b, _] = world.join_all();
    let mut parcels = vec![];
    for _ in 0..40 {
        parcels.push(world.send_all(a, Promise::Processed, 0, 3000).unwrap());
        world.run_for(Duration::from_micros(700));
        world.reset_streams(a, b);
    }
    world.run_for(seconds(10));
    for parcel in &parcels {
        if outcome(&world, parcel) == Outcome::Acknowledged {
            assert_eq!(handed(&world, parcel, b), 1);
        }
        assert!(handed(&world, parcel, b) <= 1);
    }
    let encrypt = stats(&world, b).encrypt;
    assert!(encrypt.replayed > 0, "{encrypt:?}");
    assert_eq!((encrypt.undecipherable, encrypt.stale), (0, 0));
    assert_eq!(world.violations(), []);
}

#[test]
fn a_clock_that_is_wrong_cuts_an_encrypted_node_off_and_says_so() {
    let stack = vec![EncryptInterceptor::new("000102030405060708090a0b0c0d0e0f").into()];
    let mut world = world(4, true, stack);
    let [a, b, c] = world.join_all();
    world.set_clock(c, |clock| clock.wall_ahead_ms += 11_000);
    let parcel = world.send_all(a, Promise::Processed, 0, 100).unwrap();
    world.run_for(seconds(1));
    assert_eq!(outcome(&world, &parcel), Outcome::Faulty(vec![2]));
    assert_eq!([b, c].map(|node| handed(&world, &parcel, node)), [1, 0]);
    assert_eq!(stats(&world, c).encrypt.stale, 1);
    world.set_clock(c, |clock| clock.wall_ahead_ms -= 11_000);
    let parcel = world.send_all(a, Promise::Processed, 0, 100).unwrap();
    world.run_for(seconds(1));
    assert_eq!(outcome(&world, &parcel), Outcome::Acknowledged);
    assert_eq!(world.violations(), []);
}

/// Towards a Tomcat acknowledged messages travel on several connections, and unacknowledged ones on another: long ones are
/// overtaken. With the layer the application sees them in the order of sending, whatever their options.
#[test]
fn messages_of_all_options_keep_their_order_with_the_layer_and_only_with_it() {
    for (stack, in_order) in [
        (vec![], false),
        (vec![OrderInterceptor::default().into()], true),
    ] {
        let mut world = world(5, false, stack);
        let [a, b, c] = world.join_all();
        let promises = [Promise::Queued, Promise::Processed, Promise::Received];
        for round in 0..120usize {
            let len = if round % 4 == 0 { 40_000 } else { 50 };
            world.send_all(a, promises[round % 3], 0, len).unwrap();
            if round % 10 == 9 {
                world.run_for(millis(5));
            }
        }
        world.run_for(seconds(10));
        for node in [b, c] {
            let taken = world.machine(node).unwrap().taken();
            let numbers: Vec<u64> = taken.map(|parcel| parcel.number).collect();
            assert_eq!(numbers.len(), 120);
            assert_eq!(numbers.is_sorted(), in_order, "{numbers:?}");
        }
        assert_eq!(world.violations(), []);
    }
}
