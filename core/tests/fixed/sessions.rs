//! What one node does to a session, the others have.

use std::time::Duration;

#[cfg(feature = "alloc")]
use folkmoot_core::fixed::Refusal;
use folkmoot_core::fixed::{Event, SessionError, TransferResult};
use folkmoot_core::session::EventType;
use folkmoot_core::wire::SendOptions;

use crate::anyone::{KINDS, Kind, Net, text};

#[test]
fn a_session_is_the_same_everywhere_whatever_the_options() {
    for bits in [0, 2, 6, 8, 10, 14] {
        for kinds in [&[Kind::Fixed][..], KINDS] {
            let mut net = Net::of(kinds, 4, SendOptions::from_bits(bits));
            for creator in 0..4 {
                let case = format!("created by {creator}, options {bits}, {kinds:?}");
                let id = net.create(creator, &[("user", "alice"), ("cart", "apple")]);
                net.assert_equal(&case);
                for node in 0..4 {
                    let value = format!("pear {node}");
                    assert!(net.change(node, &id, "cart", Some(&value)), "{case}");
                    assert_eq!(net.contents(0)[&id]["cart"], text(&value), "{case}");
                    net.assert_equal(&case);
                }
                assert!(net.change((creator + 1) % 4, &id, "user", None), "{case}");
                assert_eq!(net.contents(creator)[&id].len(), 1, "{case}");
                net.assert_equal(&case);
            }
            assert_eq!(net.contents(0).len(), 4);
        }
    }
}

#[test]
fn a_new_id_and_an_end_reach_everybody() {
    let mut net = Net::of(KINDS, 4, SendOptions::ASYNCHRONOUS);
    let id = net.create(1, &[("user", "alice")]);
    let renamed = net.command(0, |cluster, now| cluster.change_session_id(now, &id));
    let new = renamed.unwrap();
    net.assert_equal("renamed");
    assert_eq!(net.contents(3).keys().collect::<Vec<_>>(), [new.as_str()]);
    assert!(net.command(2, |cluster, now| cluster.expire_session(now, new.as_str())));
    net.assert_equal("ended");
    assert!(net.contents(3).is_empty());
    // What comes late for it revives nothing.
    assert!(!net.change(3, &id, "user", Some("bob")));
    net.run(Duration::from_secs(10));
    assert!(net.contents(0).is_empty());
}

#[test]
fn the_only_one_left_gives_everything_to_whoever_joins() {
    for joiner in KINDS {
        let mut net = Net::of(KINDS, 3, SendOptions::ASYNCHRONOUS);
        for number in 0..5 {
            net.create(number % 3, &[("n", &number.to_string())]);
        }
        let want = net.contents(2);
        net.kill(1);
        net.kill(2);
        net.run(Duration::from_secs(8));
        net.take_passed();
        let fresh = net.join(*joiner, SendOptions::ASYNCHRONOUS);
        net.run(Duration::from_secs(8));
        assert_eq!(net.contents(fresh), want, "{joiner:?}");
        let given = net.told(0);
        let whole = |event: &Event| matches!(event, Event::StateGiven { complete: true, .. });
        assert!(given.iter().any(whole), "{given:?}");
        let passed = net.take_passed();
        let kinds: Vec<_> = passed.iter().map(|one| (one.from, one.kind())).collect();
        assert_eq!(kinds[0], (fresh, EventType::GetAllSessions), "{kinds:?}");
        let last = (0, EventType::AllSessionTransferComplete);
        assert_eq!(kinds.last(), Some(&last), "{kinds:?}");
        if *joiner == Kind::Fixed {
            let told = net.told(fresh);
            let came = Event::StateTransfer(TransferResult::Complete, 5);
            assert!(told.contains(&came), "{told:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_else_changes() {
    let mut net = Net::of(&[Kind::Fixed], 2, SendOptions::USE_ACK);
    let long = "x".repeat(1024);
    let id = net.create(0, &[("user", "alice")]);
    for _ in 1..6 {
        net.create(1, &[]);
    }
    let before = net.contents(0);
    net.command(0, |cluster, now| {
        assert_eq!(
            cluster.create_session(now),
            Err(SessionError::TooManySessions)
        );
        let set = cluster.set_attribute(&id, "long", &text(&long));
        assert_eq!(set, Err(SessionError::TooLarge));
        let set = cluster.set_attribute(&id, "bad", b"no Java");
        assert!(matches!(set, Err(SessionError::BadValue(_))), "{set:?}");
        let set = cluster.set_attribute("nobody", "user", &text("bob"));
        assert_eq!(set, Err(SessionError::UnknownSession));
        cluster.request_completed(now, &id);
    });
    assert_eq!(net.contents(0), before);
    net.assert_equal("after refusals");
}

#[cfg(feature = "alloc")]
#[test]
fn what_a_node_with_a_heap_has_too_much_is_refused_by_name() {
    let mut net = Net::of(
        KINDS,
        2,
        SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK),
    );
    let first = net.create(1, &[("user", "alice")]);
    for _ in 1..8 {
        net.create(1, &[]);
    }
    assert!(net.change(1, &first, "long", Some(&"x".repeat(1024))));
    net.run(Duration::from_secs(5));
    assert_eq!(net.contents(0).len(), 6);
    assert_eq!(net.contents(0)[&first].len(), 1);
    let told = net.told(0);
    for wanted in [Refusal::TooManySessions, Refusal::SessionTooLarge] {
        let refused = |event: &Event| matches!(event, Event::Refused(_, why) if *why == wanted);
        assert!(told.iter().any(refused), "{wanted:?}: {told:?}");
    }
}

#[test]
fn a_session_that_nobody_uses_ends_everywhere() {
    let mut net = Net::of(KINDS, 3, SendOptions::ASYNCHRONOUS);
    net.create(0, &[("user", "alice")]);
    net.run(Duration::from_secs(1700));
    assert_eq!(net.contents(1).len(), 1);
    net.run(Duration::from_secs(200));
    for node in 0..3 {
        assert!(net.contents(node).is_empty(), "node {node}");
    }
}
