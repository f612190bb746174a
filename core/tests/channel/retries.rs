//! What happens to a message whose receiver does not answer as it should.

use std::time::Duration;

use folkmoot_core::channel::{ChannelEvent, FaultCause, Lane};
use folkmoot_core::engine::CloseReason;
use folkmoot_core::wire::{ACK_FRAME, FAIL_ACK_FRAME};

use crate::acks::{messages, send, with_tomcat};
use crate::net::at;

/// What the peer does with each frame it gets.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Acks,
    Fails,
    Closes,
    Silent,
}

#[test]
fn a_message_is_sent_again_once_and_then_its_member_is_faulty() {
    use Peer::*;
    #[rustfmt::skip]
    let cases: &[(u32, &[Peer], usize, Option<FaultCause>)] = &[
        // options, what the peer does, frames it gets, outcome
        (2, &[Acks], 1, None),
        (6, &[Acks], 1, None),
        (6, &[Fails, Acks], 2, None),
        (6, &[Fails, Fails], 2, Some(FaultCause::RemoteProcess)),
        (2, &[Fails, Fails], 2, Some(FaultCause::RemoteProcess)),
        (2, &[Closes, Closes], 2, Some(FaultCause::ConnectionLost)),
        (6, &[Closes, Acks], 2, None),
        (6, &[Closes, Fails], 2, Some(FaultCause::RemoteProcess)),
        (6, &[Silent], 1, Some(FaultCause::TimedOut)),
    ];
    for (options, peer, frames, outcome) in cases {
        let (mut net, member) = with_tomcat(|_| {});
        let id = send(&mut net, *options, Lane::Any, b"message");
        let mut seen = Vec::new();
        let mut peers = peer.iter();
        while let Some(raw) = net.accepted(at(5000)) {
            seen.push(net.take(raw));
            match peers.next().expect("no more connections than told") {
                Acks => net.write(raw, &ACK_FRAME),
                Fails => net.write(raw, &FAIL_ACK_FRAME),
                Closes => net.close(raw, CloseReason::EndOfStream),
                Silent => net.run(Duration::from_secs(4)),
            }
        }
        assert_eq!(seen.len(), *frames, "{options} {peer:?}");
        assert!(
            seen.iter().all(|frame| *frame == seen[0]),
            "identical bytes"
        );
        let faulty: Vec<_> = outcome.iter().map(|cause| (member, *cause)).collect();
        assert_eq!(
            net.events(0),
            [ChannelEvent::Sent { id, faulty }],
            "{options} {peer:?}"
        );
        assert_eq!(net.nodes[0].channel.queue_bytes(member), 0);
    }
}

#[test]
fn a_failed_answer_counts_as_done_if_told_so() {
    let (mut net, _) = with_tomcat(|config| config.sender.throw_on_failed_ack = false);
    let id = send(&mut net, 6, Lane::Any, b"message");
    let raw = net.accepted(at(5000)).unwrap();
    net.write(raw, &FAIL_ACK_FRAME);
    assert_eq!(net.events(0), [ChannelEvent::Sent { id, faulty: vec![] }]);
    assert_eq!(net.accepted(at(5000)), None);
}

#[test]
fn nobody_listening_fails_everything_that_waits() {
    let (mut net, member) = with_tomcat(|_| {});
    net.unlisten(at(5000));
    let id = send(&mut net, 6, Lane::Any, b"acknowledged");
    let faulty = vec![(member, FaultCause::Refused)];
    assert_eq!(net.events(0), [ChannelEvent::Sent { id, faulty }]);
    send(&mut net, 8, Lane::Any, b"not acknowledged");
    let (messages, cause) = (1, FaultCause::Refused);
    assert_eq!(
        net.events(0),
        [ChannelEvent::Lost {
            member,
            messages,
            cause
        }]
    );
    assert_eq!(net.nodes[0].channel.stats().connects, 4, "one retry each");
}

#[test]
fn a_lost_connection_resends_from_the_first_unfinished_frame() {
    let (mut net, _) = with_tomcat(|_| {});
    for number in 0..3u8 {
        send(&mut net, 8, Lane::Ordered(1), &[number]);
    }
    let raw = net.accepted(at(5000)).unwrap();
    net.write(raw, &ACK_FRAME);
    assert_eq!(messages(&net.take(raw)).len(), 2);
    net.close(raw, CloseReason::Reset);
    let raw = net.accepted(at(5000)).unwrap();
    for number in [1, 2] {
        assert_eq!(messages(&net.take(raw)), [(15, vec![number])]);
        net.write(raw, &ACK_FRAME);
    }
    assert_eq!(net.events(0), []);
    assert_eq!(net.nodes[0].channel.stats().resends, 1);
}

#[test]
fn an_idle_connection_that_the_peer_closes_is_opened_again_when_needed() {
    let (mut net, _) = with_tomcat(|_| {});
    for _ in 0..2 {
        let id = send(&mut net, 2, Lane::Any, b"message");
        let raw = net.accepted(at(5000)).unwrap();
        net.write(raw, &ACK_FRAME);
        assert_eq!(net.events(0), [ChannelEvent::Sent { id, faulty: vec![] }]);
        net.close(raw, CloseReason::EndOfStream);
        assert_eq!(net.accepted(at(5000)), None);
    }
}

#[test]
fn keep_alive_closes_worn_and_old_connections() {
    let (mut net, _) = with_tomcat(|config| config.sender.keep_alive_count = 1);
    for open in [true, false] {
        send(&mut net, 8, Lane::Any, b"message");
        assert_eq!(net.raws.last().unwrap().open, open);
    }
    let (mut net, _) = with_tomcat(|config| config.sender.keep_alive_time = 2000);
    send(&mut net, 8, Lane::Any, b"message");
    assert!(net.raws[0].open);
    net.run(Duration::from_secs(6));
    assert!(!net.raws[0].open);
}

#[test]
fn what_waited_as_long_as_the_one_that_timed_out_fails_with_it_and_the_rest_goes_on() {
    let (mut net, member) = with_tomcat(|config| config.sender.connections_per_member = 1);
    let first = send(&mut net, 2, Lane::Any, b"first");
    let second = send(&mut net, 2, Lane::Any, b"second");
    net.run(Duration::from_secs(2));
    let third = send(&mut net, 2, Lane::Any, b"third");
    net.run(Duration::from_millis(1100));
    let faulty = vec![(member, FaultCause::TimedOut)];
    let failed = [first, second].map(|id| ChannelEvent::Sent {
        id,
        faulty: faulty.clone(),
    });
    assert_eq!(net.events(0), failed);
    net.accepted(at(5000)).unwrap();
    let raw = net.accepted(at(5000)).unwrap();
    assert_eq!(messages(&net.take(raw)), [(3, b"third".to_vec())]);
    net.write(raw, &ACK_FRAME);
    assert_eq!(
        net.events(0),
        [ChannelEvent::Sent {
            id: third,
            faulty: vec![]
        }]
    );
}

#[test]
fn an_answer_that_nothing_waits_for_costs_the_connection() {
    let (mut net, _) = with_tomcat(|_| {});
    send(&mut net, 8, Lane::Any, b"message");
    let raw = net.accepted(at(5000)).unwrap();
    net.write(raw, &ACK_FRAME);
    assert!(!net.raws[raw].open);
    assert_eq!(net.nodes[0].channel.stats().bad.reply, 1);
}

#[test]
fn a_large_frame_gets_the_time_it_needs() {
    let (mut net, _) = with_tomcat(|_| {});
    let id = send(&mut net, 2, Lane::Any, &vec![1; 4 << 20]);
    net.run(Duration::from_secs(6));
    assert_eq!(net.events(0), []);
    let raw = net.accepted(at(5000)).unwrap();
    net.write(raw, &ACK_FRAME);
    assert_eq!(net.events(0), [ChannelEvent::Sent { id, faulty: vec![] }]);
}
