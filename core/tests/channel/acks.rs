//! When a receiver answers, and how many messages a sender has under way.

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEvent, Lane, Member, MemberIndex, MembershipConfig, SendOptions,
    To, UniqueId,
};
use folkmoot_core::wire::{ACK_FRAME, ChannelData, Deframed, FAIL_ACK_FRAME, deframe};

use crate::net::{Net, at};

pub const fn options(bits: u32) -> SendOptions {
    SendOptions::from_bits(bits)
}

/// A frame from a Tomcat that nobody has announced.
pub fn frame(port: u16, bits: u32, message: &[u8]) -> Vec<u8> {
    frame_of(&tomcat(port), bits, message)
}

/// A frame from somebody.
pub fn frame_of(sender: &Member, bits: u32, message: &[u8]) -> Vec<u8> {
    let mut address = Vec::new();
    sender.write(&mut address).unwrap();
    let mut frame = Vec::new();
    ChannelData {
        options: options(bits),
        timestamp_ms: 1,
        unique_id: &[7; 16],
        address: &address,
        message,
    }
    .write_frame(&mut frame)
    .unwrap();
    frame
}

pub fn tomcat(port: u16) -> Member {
    Member::new(at(port), UniqueId([port as u8; 16]))
}

/// The messages in what a raw peer has received, with their options.
pub fn messages(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Deframed::Frame { data, consumed } = deframe(bytes, usize::MAX).unwrap() {
        let message = ChannelData::decode(data).unwrap();
        messages.push((message.options.bits(), message.message.to_vec()));
        bytes = &bytes[consumed..];
        if bytes.is_empty() {
            break;
        }
    }
    messages
}

/// A channel that knows one Tomcat, played by the test at port 5000.
pub fn with_tomcat(change: impl FnOnce(&mut ChannelConfig)) -> (Net, MemberIndex) {
    let mut net = Net::new();
    let mut config = ChannelConfig::new(at(4000));
    config.membership = MembershipConfig::None;
    config.failure_detector.enabled = false;
    change(&mut config);
    net.add(config);
    net.listen(at(5000));
    let now = net.now;
    let member = net.nodes[0].channel.add_member(now, &tomcat(5000)).unwrap();
    net.settle();
    assert!(net.nodes[0].channel.is_member(member));
    net.events(0);
    (net, member)
}

pub fn send(net: &mut Net, bits: u32, lane: Lane, body: &[u8]) -> UniqueId {
    let now = net.now;
    let channel: &mut Channel = &mut net.nodes[0].channel;
    let id = channel
        .send(now, To::All, options(bits), lane, body)
        .unwrap();
    net.settle();
    id
}

#[test]
fn the_answer_follows_from_the_options_and_the_listener() {
    let (ack, fail): (&[u8], &[u8]) = (&ACK_FRAME, &FAIL_ACK_FRAME);
    #[rustfmt::skip]
    let cases: &[(u32, &[u8], &[u8])] = &[
        (0, b"good", b""), (1, b"good", b""), (4, b"good", b""), (8, b"bad", b""),
        (2, b"good", ack), (3, b"good", ack), (10, b"good", ack),
        // An answer on receipt knows nothing of the listener.
        (2, b"bad", ack),
        (6, b"good", ack), (7, b"good", ack), (14, b"good", ack),
        (6, b"bad", fail), (7, b"bad", fail), (14, b"bad", fail),
    ];
    for (bits, message, answer) in cases {
        let (mut net, _) = with_tomcat(|_| {});
        net.nodes[0].log.fail = vec![b'b'];
        let raw = net.connect(0).unwrap();
        net.write(raw, &frame(5000, *bits, message));
        assert_eq!(net.take(raw), *answer, "options {bits}, {message:?}");
        assert_eq!(net.messages(0), [*message]);
    }
}

#[test]
fn a_datagram_to_our_udp_port_is_answered_by_a_datagram_and_a_broadcast_never() {
    type Case = (u32, &'static [u8], Option<[u8; 21]>);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (0x20, b"good", None), (0x22, b"bad", Some(ACK_FRAME)), (0x26, b"good", Some(ACK_FRAME)),
        (0x26, b"bad", Some(FAIL_ACK_FRAME)), (0x46, b"good", None), (0x66, b"good", None), (0x06, b"good", None),
    ];
    for (bits, message, answer) in cases {
        let (mut net, _) = with_tomcat(|config| config.udp_port = 4100);
        net.nodes[0].log.fail = vec![b'b'];
        net.datagram(0, &frame(5000, *bits, message));
        assert_eq!(net.messages(0), [*message]);
        let answers: Vec<_> = answer.iter().map(|frame| frame.to_vec()).collect();
        assert_eq!(net.unicasts, answers, "options {bits:#x} {message:?}");
    }
}

#[test]
fn the_answers_of_one_read_leave_together_and_in_order() {
    let (mut net, _) = with_tomcat(|_| {});
    net.nodes[0].log.fail = vec![b'b'];
    let raw = net.connect(0).unwrap();
    let read = [
        frame(5000, 7, b"1"),
        frame(5000, 7, b"b"),
        frame(5000, 1, b"2"),
        frame(5000, 3, b"3"),
    ]
    .concat();
    net.write(raw, &read);
    assert_eq!(
        net.take(raw),
        [ACK_FRAME, FAIL_ACK_FRAME, ACK_FRAME].concat()
    );
    assert_eq!(net.messages(0), [b"1", b"b", b"2", b"3"]);
}

#[test]
fn a_frame_in_single_bytes_is_answered_once() {
    let (mut net, _) = with_tomcat(|_| {});
    let raw = net.connect(0).unwrap();
    net.piece = 1;
    net.write(
        raw,
        &[frame(5000, 7, b"first"), frame(5000, 7, b"second")].concat(),
    );
    assert_eq!(net.take(raw), [ACK_FRAME, ACK_FRAME].concat());
    assert_eq!(net.messages(0), [&b"first"[..], b"second"]);
}

#[test]
fn checks_of_other_members_are_swallowed_and_answered_as_asked() {
    let (mut net, _) = with_tomcat(|_| {});
    for (bits, answer) in [(1, &b""[..]), (3, &ACK_FRAME[..])] {
        let raw = net.connect(0).unwrap();
        net.write(
            raw,
            &frame(5000, bits, &folkmoot_core::wire::control::TCP_FAIL_DETECT),
        );
        assert_eq!(net.take(raw), answer);
    }
    assert_eq!(net.messages(0), [b""; 0]);
    assert_eq!(net.nodes[0].channel.stats().probes_received, 2);
}

#[test]
fn towards_a_tomcat_one_acknowledged_message_is_under_way_on_each_of_a_few_connections() {
    let (mut net, _) = with_tomcat(|_| {});
    let ids: Vec<_> = (0..6u8)
        .map(|number| send(&mut net, 6, Lane::Any, &[number]))
        .collect();
    let conns: Vec<_> = std::iter::from_fn(|| net.accepted(at(5000))).collect();
    assert_eq!(conns.len(), 4);
    for (number, raw) in conns.iter().enumerate() {
        assert_eq!(messages(&net.take(*raw)), [(7, vec![number as u8])]);
    }
    // The fifth and the sixth wait on the first two connections.
    net.write(conns[0], &ACK_FRAME);
    net.write(conns[1], &ACK_FRAME);
    assert_eq!(messages(&net.take(conns[0])), [(7, vec![4])]);
    assert_eq!(messages(&net.take(conns[1])), [(7, vec![5])]);
    for raw in &conns {
        net.write(*raw, &ACK_FRAME);
    }
    let sent: Vec<_> = net.events(0);
    let expected = [ids[0], ids[1], ids[4], ids[5], ids[2], ids[3]];
    assert_eq!(
        sent,
        expected.map(|id| ChannelEvent::Sent { id, faulty: vec![] })
    );
    assert_eq!(net.accepted(at(5000)), None);
    // An idle connection that is open is taken before a new one is opened.
    send(&mut net, 2, Lane::Any, b"again");
    assert_eq!(net.accepted(at(5000)), None);
}

#[test]
fn an_ordered_lane_waits_for_each_answer_of_a_tomcat_even_if_the_caller_does_not() {
    let (mut net, _) = with_tomcat(|_| {});
    for number in 0..3u8 {
        send(&mut net, 8, Lane::Ordered(42), &[number]);
    }
    let raw = net.accepted(at(5000)).unwrap();
    for number in 0..3u8 {
        assert_eq!(messages(&net.take(raw)), [(15, vec![number])]);
        net.write(raw, &ACK_FRAME);
    }
    assert_eq!(net.accepted(at(5000)), None, "one key, one lane");
    assert_eq!(net.events(0), [], "nobody asked");
    // Other keys spread over the lanes.
    for key in 0..100 {
        send(&mut net, 8, Lane::Ordered(key), b"x");
    }
    let more = std::iter::from_fn(|| net.accepted(at(5000))).count();
    assert_eq!(more, 3);
}

#[test]
fn unacknowledged_messages_share_one_connection_in_order() {
    let (mut net, _) = with_tomcat(|_| {});
    for number in 0..200u8 {
        send(
            &mut net,
            if number % 2 == 0 { 8 } else { 0 },
            Lane::Any,
            &[number],
        );
    }
    let raw = net.accepted(at(5000)).unwrap();
    let got: Vec<_> = messages(&net.take(raw))
        .into_iter()
        .map(|(_, message)| message[0])
        .collect();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(net.accepted(at(5000)), None);
}

#[test]
fn one_of_ours_gets_many_at_a_time_and_its_answers_are_counted() {
    let (mut net, member) = with_tomcat(|_| {});
    // It turns out to be one of ours when it sends something.
    let mut ours = tomcat(5000);
    ours.payload = folkmoot_core::transport::MARKER.to_vec();
    let now = net.now;
    let mut address = Vec::new();
    ours.write(&mut address).unwrap();
    let mut hello = Vec::new();
    ChannelData {
        options: options(1),
        timestamp_ms: 1,
        unique_id: &[7; 16],
        address: &address,
        message: b"hello",
    }
    .write_frame(&mut hello)
    .unwrap();
    let raw = net.connect(0).unwrap();
    net.write(raw, &hello);
    assert!(net.nodes[0].channel.is_ours(member));
    assert_eq!(net.now, now);

    let ids: Vec<_> = (0..3u8)
        .map(|number| send(&mut net, 6, Lane::Ordered(u64::from(number)), &[number]))
        .collect();
    let raw = net.accepted(at(5000)).unwrap();
    assert_eq!(messages(&net.take(raw)).len(), 3);
    assert_eq!(net.accepted(at(5000)), None);
    net.write(raw, &[ACK_FRAME, FAIL_ACK_FRAME].concat());
    net.write(raw, &ACK_FRAME[..5]);
    net.write(raw, &ACK_FRAME[5..]);
    let failed = (member, folkmoot_core::channel::FaultCause::RemoteProcess);
    let expected = [(ids[0], vec![]), (ids[1], vec![failed]), (ids[2], vec![])];
    assert_eq!(
        net.events(0),
        expected.map(|(id, faulty)| ChannelEvent::Sent { id, faulty })
    );
}
