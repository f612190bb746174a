//! Frames that are whole and hold something that no member should send.

use std::time::Duration;

use folkmoot::DeltaManagerConfig;
use folkmoot::java::Limits;

use crate::forge::*;
use crate::log;
use crate::pair::Pair;
use crate::support::session_message::{EVT_SESSION_CREATED, session_message, unshared};
use crate::support::wait::{SOON, until};

scenarios! {
    fn java_streams_that_are_no_session_messages_are_refused(name) { refused(name); }
    fn payloads_that_cannot_be_read_change_nothing(name) { payloads(name); }
    fn a_delta_for_no_session_is_held_a_moment_and_dropped(name) { homeless(name); }
    fn a_message_in_which_nothing_is_shared_is_read(name) { nothing_shared(name); }
    fn a_cyclic_value_and_one_of_an_unknown_class_are_carried(name) { carried(name); }
}

const CONTEXT: &str = "localhost#";

/// `\xac\xed\x00\x05` and an object.
fn stream(object: Vec<u8>) -> Vec<u8> {
    [b"\xac\xed\x00\x05".to_vec(), object].concat()
}

fn refused(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let good = session_message(EVT_SESSION_CREATED, CONTEXT, "S", b"");
    #[rustfmt::skip]
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("no stream at all",     b"hello".to_vec(), ""),
        ("nothing",              Vec::new(), ""),
        ("deep",                 stream(deep(1_000_000)), ""),
        ("cyclic",               stream(cyclic()), ""),
        ("an enormous array",    stream(enormous_array()), ""),
        ("an enormous string",   stream(enormous_string()), ""),
        ("cut off",              good[..good.len() - 5].to_vec(), ""),
        ("cut in its class",     good[..40].to_vec(), ""),
        ("of an unknown class",  stream(of_unknown_class()), ""),
        ("for an unknown context", session_message(EVT_SESSION_CREATED, "localhost#/nowhere", "S", b""), "localhost#/nowhere"),
    ];
    for (what, message, reason) in cases {
        let logged = pair.logged().len();
        let stats = pair.victim.cluster.session_message_stats();
        let ended = pair.attack(&session_frame(pair.attacker, &message));
        assert!(ended, "{what}: the connection");
        let lines = until(&format!("{what}: logged"), SOON, || {
            let lines = pair.logged().split_off(logged);
            if lines.is_empty() {
                Err("nothing")
            } else {
                Ok(lines)
            }
        });
        assert!(
            lines[0].contains(reason),
            "{what}: with its reason: {lines:?}"
        );
        let after = pair.victim.cluster.session_message_stats();
        let counted =
            after.not_accepted + after.unknown_context - stats.not_accepted - stats.unknown_context;
        assert_eq!(counted, 1, "{what}: counted");
        println!("{what}: {}", lines[0]);
    }
    pair.unharmed();
}

fn payloads(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let id = pair.session.to_string();
    let id = id.as_str();
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 3].to_vec();
    #[rustfmt::skip]
    let cases: [(&str, i32, Vec<u8>); 9] = [
        ("a delta that is no stream",       EVT_SESSION_DELTA, b"hello".to_vec()),
        ("a delta cut off",                 EVT_SESSION_DELTA, cut(delta(id, &of_unknown_class()))),
        ("a delta with a deep value",       EVT_SESSION_DELTA, delta(id, &deep(1_000_000))),
        ("a delta with an enormous array",  EVT_SESSION_DELTA, delta(id, &enormous_array())),
        ("a delta with an enormous string", EVT_SESSION_DELTA, delta(id, &enormous_string())),
        ("a delta of another session",      EVT_SESSION_DELTA, delta("somebody else", b"\x70")),
        ("a state that is no stream",       EVT_ALL_SESSION_DATA, b"hello".to_vec()),
        ("a state of many sessions and none", EVT_ALL_SESSION_DATA, many_sessions()),
        ("a new id that is no stream",      EVT_CHANGE_SESSION_ID, b"hello".to_vec()),
    ];
    for (what, event, payload) in cases {
        let logged = pair.logged().len();
        let stats = pair.victim.manager.stats();
        let ended = pair.attack(&session_frame(
            pair.attacker,
            &session_message(event, CONTEXT, id, &payload),
        ));
        // A change of id may come between Tomcat's two looks at the id.
        let honest = what == "a delta of another session";
        assert_eq!(ended, !honest, "{what}: the connection");
        let lines = until(&format!("{what}: logged"), SOON, || {
            let lines = pair.logged().split_off(logged);
            if lines.is_empty() {
                Err(Box::new(pair.victim.manager.stats()))
            } else {
                Ok(lines)
            }
        });
        let after = pair.victim.manager.stats();
        assert_eq!(after.refused, stats.refused + 1, "{what}: counted");
        println!("{what}: {}", lines[0]);
        assert_eq!(
            pair.victim.manager.attribute(&pair.session, "x"),
            None,
            "{what}: nothing was set"
        );
    }
    pair.unharmed();
}

fn homeless(name: &str) {
    let mut config = DeltaManagerConfig::default();
    config.limits.early_wait = Duration::from_millis(200);
    let mut pair = Pair::start_with(name, |builder| builder, config);
    for n in 0..100 {
        let id = format!("{n:032X}.nowhere");
        let message = session_message(EVT_SESSION_DELTA, CONTEXT, &id, &delta(&id, b"\x70"));
        pair.attack_and_leave(&session_frame(pair.attacker, &message));
    }
    until("all of them are dropped and counted", SOON, || {
        match pair.victim.manager.stats() {
            stats if stats.early_dropped == 100 => Ok(()),
            stats => Err(Box::new(stats)),
        }
    });
    let lines = log::with("about sessions that did not come in time");
    assert!(!lines.is_empty(), "logged");
    println!("{}", lines[0]);
    // The attacker is no member: once the moment is over, it costs the connection.
    let id = "nowhere";
    let message = session_message(EVT_SESSION_DELTA, CONTEXT, id, &delta(id, b"\x70"));
    assert!(
        pair.attack(&session_frame(pair.attacker, &message)),
        "the connection"
    );
    assert!(pair.count(|stats| stats.bad.refused) > 0, "counted");
    pair.unharmed();
}

fn carried(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let id = pair.session.to_string();
    for value in [cyclic(), of_unknown_class()] {
        let message = session_message(EVT_SESSION_DELTA, CONTEXT, &id, &delta(&id, &value));
        pair.attack_and_leave(&session_frame(pair.attacker, &message));
        let carried = until("the value is there", SOON, || {
            pair.victim
                .manager
                .attribute(&pair.session, "x")
                .ok_or("nothing")
        });
        assert_eq!(carried.as_bytes(), stream(value), "as it came");
        // Whether it can be told or not, telling it ends.
        println!("{:?}", carried.decode(&Limits::DEFAULT).map(|_| ()));
        pair.victim
            .manager
            .remove_attribute(&pair.session, "x")
            .expect("removed");
        pair.victim
            .manager
            .request_completed(&pair.session)
            .expect("sent");
    }
    pair.unharmed();
}

/// Not bad at all, only written by another hand than Java's.
fn nothing_shared(name: &str) {
    let pair = Pair::start(name, |builder| builder);
    let message = unshared(EVT_SESSION_CREATED, CONTEXT, "S.other", b"");
    pair.attack_and_leave(&session_frame(pair.attacker, &message));
    until("the session is there", SOON, || {
        pair.victim
            .manager
            .find(&"S.other".into())
            .map(|_| ())
            .ok_or("no session")
    });
}
