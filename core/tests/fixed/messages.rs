//! Messages of the application's own.

use std::time::Duration;

use folkmoot_core::fixed::{Event, FaultCause, SendError, To};
use folkmoot_core::wire::SendOptions;

use crate::anyone::{Kind, Net};

const SYNC: SendOptions = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);

#[test]
fn a_message_arrives_and_its_answer_is_an_event() {
    #[rustfmt::skip]
    let cases: [(&str, SendOptions, Option<Option<FaultCause>>); 5] = [
        ("plain",  SendOptions::NONE,         None),
        ("plain",  SendOptions::ASYNCHRONOUS, None),
        ("acked",  SendOptions::USE_ACK,      Some(None)),
        ("synced", SYNC,                      Some(None)),
        ("Failed", SYNC,                      Some(Some(FaultCause::RemoteProcess))),
    ];
    for (message, options, answer) in cases {
        let mut net = Net::of(&[Kind::Fixed], 3, SendOptions::ASYNCHRONOUS);
        net.told(0);
        let send = |cluster: &mut crate::anyone::Fixed, now| {
            cluster.send(now, To::All, options, message.as_bytes())
        };
        let id = net.command(0, send).unwrap();
        net.run(Duration::from_secs(5));
        let told = net.told(0);
        let wanted = told.iter().filter(|event| match answer {
            None => false,
            Some(None) => matches!(event, Event::Acknowledged(_, of) if *of == id),
            Some(Some(cause)) => {
                matches!(event, Event::Faulty(_, of, why) if *of == id && *why == cause)
            }
        });
        let case = format!("{message} {options}: {told:?}");
        assert_eq!(
            wanted.count(),
            if answer.is_some() { 2 } else { 0 },
            "{case}"
        );
        assert_eq!(told.len(), if answer.is_some() { 2 } else { 0 }, "{case}");
        for node in [1, 2] {
            let heard = std::mem::take(&mut net.nodes[node].cluster.fixed().listener.0);
            // What failed was tried once more.
            let times = if answer == Some(Some(FaultCause::RemoteProcess)) {
                2
            } else {
                1
            };
            assert_eq!(heard, vec![message.as_bytes().to_vec(); times], "{case}");
        }
    }
}

#[test]
fn what_cannot_be_sent_is_said_at_once() {
    let mut net = Net::of(&[Kind::Fixed], 2, SendOptions::ASYNCHRONOUS);
    let long = [0; 3072];
    let sent = net.command(0, |cluster, now| cluster.send(now, To::All, SYNC, &long));
    assert_eq!(sent, Err(SendError::TooLong));
    // A member that reads nothing: the queue is full before long, and what was in it arrives when it goes on.
    net.nodes[1].paused = true;
    let mut taken = 0;
    let full = loop {
        let body = [taken; 1000];
        match net.command(0, |cluster, now| cluster.send(now, To::All, SYNC, &body)) {
            Ok(_) => taken += 1,
            Err(full) => break full,
        }
        assert!(taken < 100);
    };
    assert!(matches!(full, SendError::QueueFull(_)), "{full:?}");
    assert!(taken > 1);
    net.resume(1);
    let heard = &net.nodes[1].cluster.fixed().listener.0;
    let numbers: Vec<u8> = heard.iter().map(|body| body[0]).collect();
    assert_eq!(numbers, (0..taken).collect::<Vec<u8>>());
    net.kill(1);
    net.run(Duration::from_secs(8));
    let sent = net.command(0, |cluster, now| cluster.send(now, To::All, SYNC, b"x"));
    assert_eq!(sent, Err(SendError::NoMembers));
    net.command(0, |cluster, now| cluster.stop(now));
    net.run(Duration::from_secs(5));
    let sent = net.command(0, |cluster, now| cluster.send(now, To::All, SYNC, b"x"));
    assert_eq!(sent, Err(SendError::NotStarted));
}
