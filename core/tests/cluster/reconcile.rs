//! The messages with which nodes of this implementation compare their sessions.

use bytes::Bytes;
use folkmoot_core::channel::{Lane, SendOptions, To};
use folkmoot_core::cluster::{ClusterConfig, ClusterEvent, Refusal};
use folkmoot_core::java::{JavaBytes, JavaString, Limits};
use folkmoot_core::session::{
    ActionType, Cursor, DeltaManagerConfig, Ended, EndedHow, Known, KnownField, RECONCILE_MAGIC,
    ReconcileBody, ReconcileMessage, SessionId, Stage, Stamp, Told, ToldField, ToldSession,
    ToldValue,
};
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::net::{Kind, Net};

fn stamps() -> impl Strategy<Value = Stamp> {
    (0..=Stamp::TIME_MAX, any::<u64>()).prop_map(|(time_ms, writer)| Stamp { time_ms, writer })
}

fn fields() -> impl Strategy<Value = (ActionType, JavaString)> {
    let kinds = prop::sample::select(vec![0, 1, 3, 4, 5, 6]).prop_map(ActionType);
    (kinds, "[a-zé\u{1F600}]{0,9}").prop_map(|(kind, name)| (kind, JavaString::from(name)))
}

fn ids() -> impl Strategy<Value = SessionId> {
    "[A-F0-9]{1,8}(\\.n[12])?".prop_map(SessionId::from)
}

fn cursors() -> impl Strategy<Value = Cursor> {
    let stages = prop::sample::select(vec![Stage::Ended, Stage::Sessions, Stage::End]);
    (stages, any::<u64>()).prop_map(|(stage, position)| Cursor { stage, position })
}

fn endings() -> impl Strategy<Value = Ended> {
    let how = prop_oneof![
        Just(EndedHow::Invalidated),
        Just(EndedHow::TimedOut),
        ids().prop_map(EndedHow::Renamed)
    ];
    (ids(), 0..=Stamp::TIME_MAX, any::<u32>(), how).prop_map(|(id, at_ms, memory_ms, how)| Ended {
        id,
        at_ms,
        memory_ms,
        how,
    })
}

fn known() -> impl Strategy<Value = Known> {
    let field = (fields(), stamps(), any::<u64>()).prop_map(|(field, stamp, digest)| KnownField {
        field,
        stamp,
        digest,
    });
    (ids(), prop::collection::vec(field, 0..5)).prop_map(|(id, fields)| Known { id, fields })
}

fn told() -> impl Strategy<Value = Told> {
    let value = prop_oneof![
        Just(ToldValue::Removed),
        Just(ToldValue::Same),
        ".{0,9}".prop_map(|text| ToldValue::Value(JavaBytes::from(text.as_str()))),
        any::<i32>().prop_map(|number| ToldValue::Value(JavaBytes::from(number)))
    ];
    let field = (fields(), stamps(), value).prop_map(|(field, stamp, value)| ToldField {
        field,
        stamp,
        value,
    });
    let seen = prop::collection::btree_map(any::<u64>(), 0..=Stamp::TIME_MAX, 0..4);
    let times = (any::<i64>(), 0..=Stamp::TIME_MAX, any::<u64>());
    let session = (times, stamps(), seen, prop::collection::vec(field, 0..5)).prop_map(
        |((creation_time_ms, id_since_ms, idle_ms), version, seen, fields)| ToldSession {
            idle_ms,
            creation_time_ms,
            id_since_ms,
            version,
            seen: seen.into_iter().collect(),
            fields,
        },
    );
    (ids(), prop::option::of(session)).prop_map(|(id, session)| Told { id, session })
}

fn messages() -> impl Strategy<Value = ReconcileMessage> {
    let bodies = Union::new([
        (any::<bool>(), any::<u32>(), cursors())
            .prop_map(|(mutual, within_ms, cursor)| ReconcileBody::Ask {
                mutual,
                within_ms,
                cursor,
            })
            .boxed(),
        (
            cursors(),
            prop::collection::vec(endings(), 0..4),
            prop::collection::vec((ids(), any::<u64>()), 0..4),
        )
            .prop_map(|(next, ended, digests)| ReconcileBody::Page {
                next,
                ended,
                digests,
            })
            .boxed(),
        prop::collection::vec(known(), 0..4)
            .prop_map(|sessions| ReconcileBody::Fetch { sessions })
            .boxed(),
        prop::collection::vec(told(), 0..4)
            .prop_map(|sessions| ReconcileBody::Sessions { sessions })
            .boxed(),
    ]);
    ("[a-z#/]{0,12}", any::<u32>(), bodies).prop_map(|(name, serial, body)| ReconcileMessage {
        context_name: JavaString::from(name),
        serial,
        body,
    })
}

fn written(message: &ReconcileMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(message in messages()) {
        let bytes = written(&message);
        prop_assert!(ReconcileMessage::is_one(&bytes));
        prop_assert_eq!(ReconcileMessage::read(&bytes, &Limits::DEFAULT), Ok(message));
    }

    #[test]
    fn nothing_is_guessed(message in messages(), cut in any::<prop::sample::Index>(), flip in any::<u8>()) {
        let bytes = written(&message);
        let at = cut.index(bytes.len());
        prop_assert!(ReconcileMessage::read(&bytes[..at], &Limits::DEFAULT).is_err());
        let long = [&bytes[..], &[flip]].concat();
        prop_assert!(ReconcileMessage::read(&long, &Limits::DEFAULT).is_err());
        // Whatever else is read from damaged bytes, is written as it was read.
        let mut damaged = bytes;
        damaged[at] ^= flip;
        if let Ok(read) = ReconcileMessage::read(&damaged, &Limits::DEFAULT) {
            prop_assert_eq!(written(&read), damaged);
        }
    }
}

/// Sends bytes as a message of an application's own.
fn say(net: &mut Net, from: usize, to: usize, bytes: &[u8]) {
    let (member, now) = (net.member(from, to), net.now);
    let channel = net.nodes[from].cluster.channel_mut();
    let body = Bytes::copy_from_slice(bytes);
    let options = SendOptions::ASYNCHRONOUS;
    channel
        .send(now, To::Member(member), options, Lane::Any, body)
        .unwrap();
    net.run(std::time::Duration::from_millis(10));
}

#[test]
fn a_comparison_that_cannot_be_read_costs_the_connection() {
    let mut endless = RECONCILE_MAGIC.to_vec();
    endless.extend_from_slice(b"\x03\x00\x00\x00\x00\x00\x01\xff\xff");
    let mut cut = RECONCILE_MAGIC.to_vec();
    cut.push(1);
    for bytes in [endless, cut, RECONCILE_MAGIC.to_vec()] {
        let mut net = Net::with(2);
        net.events(0);
        say(&mut net, 1, 0, &bytes);
        assert!(net.nodes[0].cluster.channel().stats().bad.refused > 0);
        assert_eq!(net.nodes[0].cluster.stats().byte_messages, 0);
        let told = net.events(0).into_iter().any(|event| {
            matches!(
                event,
                ClusterEvent::Refused {
                    reason: Refusal::Reconcile(_),
                    ..
                }
            )
        });
        assert!(told, "and it says why");
    }
}

#[test]
fn a_tomcat_never_hears_of_it_and_may_send_the_same_bytes() {
    let mut net = Net::with(2);
    let tomcat = net.join(
        Kind::Foreign,
        ClusterConfig::default(),
        DeltaManagerConfig::default(),
    );
    net.run(std::time::Duration::from_secs(40));
    let id = net.create(0, &[("cart", "1")]);
    net.run(std::time::Duration::from_secs(40));
    assert!(net.session(tomcat, &id).is_some());
    let stats = |node: usize, net: &Net| *net.shop(node).stats();
    assert!(stats(0, &net).reconciliations > 0 && stats(1, &net).reconciliations > 0);
    assert_eq!(net.nodes[tomcat].cluster.stats().byte_messages, 0);
    assert_eq!(stats(tomcat, &net).reconcile_answers, 0);
    // To it they are bytes like any other, and so are its own to us.
    say(&mut net, tomcat, 0, &RECONCILE_MAGIC);
    assert_eq!(net.nodes[0].cluster.stats().byte_messages, 1);
    assert_eq!(net.nodes[0].cluster.channel().stats().bad.refused, 0);
}
