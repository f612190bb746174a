//! A message of no use costs a member its connection, and loses nothing.

use std::time::Duration;

use folkmoot_core::channel::{BadInput, ChannelEvent, Member, MemberIndex};
use folkmoot_core::engine::CloseReason;
use folkmoot_core::transport::MARKER;
use folkmoot_core::wire::ACK_FRAME;

use crate::acks::{frame, frame_of, tomcat, with_tomcat};
use crate::net::Net;

/// One of ours with a Tomcat, and a connection of that; messages that begin with an `x` are of no use.
fn of_no_use(trust_members: bool) -> (Net, MemberIndex, usize) {
    let (mut net, member) = with_tomcat(|config| config.receiver.trust_members = trust_members);
    net.nodes[0].log.no_use = vec![b'x'];
    let raw = net.connect(0).unwrap();
    (net, member, raw)
}

fn unwanted(net: &Net) -> u64 {
    net.nodes[0].channel.stats().bad.unwanted
}

/// Options, message, whether members are trusted; the answer, and whether the connection is wound up.
type Case = (u32, &'static [u8], bool, &'static [u8], bool);

#[test]
fn it_is_answered_and_our_direction_ends() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (0, b"x",    false, b"",        true),
        (8, b"x",    false, b"",        true),
        (2, b"x",    false, &ACK_FRAME, true),
        (6, b"x",    false, &ACK_FRAME, true),
        (6, b"x",    true,  &ACK_FRAME, false),
        (8, b"x",    true,  b"",        false),
        (6, b"good", false, &ACK_FRAME, false),
    ];
    for (bits, message, trusted, answer, ended) in cases {
        let case = format!("options {bits}, {message:?}, trusted: {trusted}");
        let (mut net, _, raw) = of_no_use(*trusted);
        net.write(raw, &frame(5000, *bits, message));
        assert_eq!(net.take(raw), *answer, "{case}");
        assert_eq!(
            (net.raws[raw].ended, net.raws[raw].open),
            (*ended, true),
            "{case}"
        );
        assert_eq!(unwanted(&net), u64::from(*ended), "{case}");
        let told = net.events(0).iter().any(|event| {
            matches!(
                event,
                ChannelEvent::BadInput {
                    reason: BadInput::Unwanted,
                    ..
                }
            )
        });
        assert_eq!(told, *ended, "{case}");
    }
}

#[test]
fn what_is_under_way_without_an_ack_is_taken_and_what_wants_one_is_left() {
    let (mut net, _, raw) = of_no_use(false);
    // What comes in the same read is answered with it.
    let first = [(8, "x"), (6, "same"), (8, "read")];
    let read: Vec<u8> = first
        .iter()
        .flat_map(|(bits, message)| frame(5000, *bits, message.as_bytes()))
        .collect();
    net.write(raw, &read);
    assert_eq!(net.take(raw), ACK_FRAME);
    for (bits, message) in [(8, "a"), (6, "b"), (2, "c"), (8, "x"), (0, "d"), (6, "e")] {
        net.write(raw, &frame(5000, bits, message.as_bytes()));
    }
    let got = ["x", "same", "read", "a", "x", "d"];
    assert_eq!(
        net.messages(0),
        got.map(|message| message.as_bytes().to_vec())
    );
    assert_eq!(net.take(raw), b"");
    assert_eq!(unwanted(&net), 1, "a connection is wound up once");
    // It ends its direction, and is not doubted for it.
    let probes = net.nodes[0].channel.stats().probes_sent;
    net.close(raw, CloseReason::EndOfStream);
    net.run(Duration::from_secs(1));
    assert_eq!(net.nodes[0].channel.stats().probes_sent, probes);
}

#[test]
fn who_does_not_notice_loses_the_connection_in_the_end() {
    let (mut net, _, raw) = of_no_use(false);
    net.write(raw, &frame(5000, 8, b"x"));
    for _ in 0..28 {
        net.run(Duration::from_secs(1));
        net.write(raw, &frame(5000, 8, b"more"));
        assert!(net.raws[raw].open);
    }
    net.run(Duration::from_secs(8));
    assert!(!net.raws[raw].open);
    assert_eq!(net.messages(0).len(), 29);
    assert_eq!(net.nodes[0].channel.stats().bad.total(), 1);
}

fn ours() -> Member {
    let mut ours = tomcat(5000);
    ours.payload = MARKER.to_vec();
    ours
}

#[test]
fn what_one_of_ours_says_on_its_next_connection_waits_for_the_end_of_the_last() {
    let words = |messages: Vec<Vec<u8>>| -> Vec<String> {
        let text = |message: Vec<u8>| String::from_utf8(message).unwrap();
        messages.into_iter().map(text).collect()
    };
    for piece in [1, 50, usize::MAX] {
        let (mut net, _, old) = of_no_use(false);
        net.piece = piece;
        let say = |bits, message: &str| frame_of(&ours(), bits, message.as_bytes());
        net.write(old, &say(8, "x"));
        let new = net.connect(0).unwrap();
        net.write(new, &[say(8, "3"), say(6, "4")].concat());
        net.write(new, &say(8, "5"));
        assert_eq!(net.take(new), b"");
        net.write(old, &say(8, "1"));
        net.write(old, &say(8, "2"));
        assert_eq!(
            words(net.messages(0)),
            ["x", "1", "2"],
            "in pieces of {piece}"
        );
        net.close(old, CloseReason::EndOfStream);
        assert_eq!(
            words(net.messages(0)),
            ["3", "4", "5"],
            "in pieces of {piece}"
        );
        assert_eq!(net.take(new), ACK_FRAME);
        net.write(new, &say(6, "6"));
        assert_eq!(words(net.messages(0)), ["6"]);
        assert_eq!(net.take(new), ACK_FRAME);
        let bad = net.nodes[0].channel.stats().bad;
        assert_eq!((bad.unwanted, bad.total()), (1, 1));
    }
}

#[test]
fn what_waits_for_an_end_that_does_not_come_is_taken_after_a_moment_or_goes_with_its_sender() {
    for gone in [false, true] {
        let (mut net, member, old) = of_no_use(false);
        let say = |message: &[u8]| frame_of(&ours(), 8, message);
        net.write(old, &say(b"x"));
        let new = net.connect(0).unwrap();
        net.write(new, &say(b"1"));
        if gone {
            let now = net.now;
            net.nodes[0].channel.remove_member(now, member);
            net.settle();
        }
        assert_eq!(net.messages(0), [b"x"]);
        net.run(Duration::from_secs(4));
        assert!(!net.raws[old].open, "gone: {gone}");
        let taken: &[&[u8]] = if gone { &[] } else { &[b"1"] };
        assert_eq!(net.messages(0), taken, "gone: {gone}");
        assert_eq!(net.raws[new].open, !gone);
        assert_eq!(net.nodes[0].channel.kept().incomplete_bytes, 0);
    }
}

#[test]
fn what_waits_on_a_connection_that_ends_itself_is_taken() {
    let (mut net, _, old) = of_no_use(false);
    let say = |bits, message: &[u8]| frame_of(&ours(), bits, message);
    net.write(old, &say(8, b"x"));
    let new = net.connect(0).unwrap();
    net.write(new, &say(6, b"2"));
    net.close(new, CloseReason::EndOfStream);
    net.write(old, &say(8, b"1"));
    net.close(old, CloseReason::EndOfStream);
    let last = net.connect(0).unwrap();
    net.write(last, &say(6, b"3"));
    assert_eq!(net.messages(0), [b"x", b"2", b"1", b"3"]);
    assert_eq!(net.take(last), ACK_FRAME);
    assert_eq!(net.nodes[0].channel.kept().incomplete_bytes, 0);
}

#[test]
fn what_waits_is_bounded() {
    let (mut net, _) = with_tomcat(|config| {
        config.limits.message_bytes_max = 64 << 10;
        config.limits.gather_bytes_max = 64 << 10;
    });
    net.nodes[0].log.no_use = vec![b'x'];
    let old = net.connect(0).unwrap();
    let say = |message: &[u8]| frame_of(&ours(), 8, message);
    net.write(old, &say(b"x"));
    let new = net.connect(0).unwrap();
    // A driver told to read no more does not come back so often.
    let large = say(&[b'l'; 10_000]);
    let sent = (0..20).take_while(|_| {
        net.write(new, &large);
        net.raws[new].open
    });
    assert_eq!(sent.count(), 6);
    assert_eq!(net.nodes[0].channel.stats().bad.too_much_incomplete, 1);
    assert_eq!(net.nodes[0].channel.kept().incomplete_bytes, 0);
}
