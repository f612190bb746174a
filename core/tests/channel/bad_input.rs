//! What a peer must not do costs it its connection, and nobody else anything.

use std::time::Duration;

use folkmoot_core::channel::{ChannelEvent, ChannelStats};
use folkmoot_core::engine::Output;
use folkmoot_core::wire::ACK_FRAME;

use crate::acks::{frame, with_tomcat};
use crate::net::Net;

type Counter = fn(&ChannelStats) -> u64;

#[test]
fn bad_bytes_close_their_connection_and_are_counted_by_reason() {
    let good = frame(5000, 3, b"good");
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let end = good.len() - 7;
    let block = 47;
    let (frames, data, member): (Counter, Counter, Counter) = (
        |s| s.bad.frame,
        |s| s.bad.channel_data,
        |s| s.bad.member_block,
    );
    #[rustfmt::skip]
    let cases: &[(&str, Vec<u8>, Counter)] = &[
        ("garbage",                b"GET / HTTP/1.1\r\n\r\n".to_vec(), frames),
        ("one wrong byte",         b"X".to_vec(), frames),
        ("negative length",        with(7, &(-18i32).to_be_bytes()), frames),
        ("huge length",            with(7, &i32::MAX.to_be_bytes()), frames),
        ("wrong end",              with(end, b"TLF2002"), frames),
        ("length too short",       with(7, &10i32.to_be_bytes()), frames),
        ("no ChannelData",         [&b"FLT2002\0\0\0\x02xx"[..], b"TLF2003"].concat(), data),
        ("huge unique id",         with(23, &i32::MAX.to_be_bytes()), data),
        ("negative address",       with(43, &(-1i32).to_be_bytes()), data),
        ("message beyond the end", with(end - 8, &99i32.to_be_bytes()), data),
        ("inside out member",      { let mut inside_out = good.clone(); inside_out[block..block + 10].copy_from_slice(b"TRIBES-E\x01\0"); inside_out }, member),
        ("huge host",              with(block + 34, &[0xff]), member),
        ("negative domain",        with(block + 34 + 5 + 4, &(-5i32).to_be_bytes()), member),
    ];
    for (name, bytes, counter) in cases {
        for piece in [1, usize::MAX] {
            let (mut net, _) = with_tomcat(|_| {});
            let (bad, innocent) = (net.connect(0).unwrap(), net.connect(0).unwrap());
            net.piece = piece;
            net.write(bad, &good);
            net.write(bad, bytes);
            assert!(!net.raws[bad].open, "{name}");
            assert_eq!(
                net.take(bad),
                ACK_FRAME,
                "{name}: what came before was good"
            );
            let stats = *net.nodes[0].channel.stats();
            assert_eq!((counter(&stats), stats.bad.total()), (1, 1), "{name}");
            let reported = net.events(0);
            assert!(
                matches!(reported[..], [ChannelEvent::BadInput { .. }]),
                "{name}: {reported:?}"
            );
            net.write(innocent, &good);
            assert_eq!(net.take(innocent), ACK_FRAME, "{name}");
        }
    }
}

#[test]
fn what_came_before_the_damage_in_the_same_read_is_delivered_and_answered() {
    let (mut net, _) = with_tomcat(|_| {});
    let raw = net.connect(0).unwrap();
    net.write(
        raw,
        &[frame(5000, 3, b"good"), b"garbage".to_vec()].concat(),
    );
    assert_eq!(net.messages(0), [b"good"]);
    assert_eq!(net.take(raw), ACK_FRAME);
    assert!(!net.raws[raw].open);
}

#[test]
fn a_frame_that_never_ends_is_given_up_though_bytes_trickle_in() {
    let (mut net, _) =
        with_tomcat(|config| config.receiver.frame_timeout = Duration::from_secs(10));
    let raw = net.connect(0).unwrap();
    let good = frame(5000, 3, b"good");
    for byte in &good[..20] {
        if net.raws[raw].open {
            net.write(raw, &[*byte]);
            net.run(Duration::from_secs(1));
        }
    }
    assert!(!net.raws[raw].open);
    assert_eq!(net.nodes[0].channel.stats().bad.slow_frame, 1);
    assert_eq!(net.nodes[0].channel.stats().bytes_received, 0);
}

#[test]
fn an_idle_connection_stays_open() {
    let (mut net, _) = with_tomcat(|_| {});
    let raw = net.connect(0).unwrap();
    net.write(raw, &frame(5000, 3, b"good"));
    net.run(Duration::from_secs(3600));
    assert!(net.raws[raw].open);
}

#[test]
fn answers_that_nobody_reads_stop_the_reading_and_then_the_connection() {
    let (mut net, _) = with_tomcat(|_| {});
    let raw = net.connect(0).unwrap();
    net.stalled = (0..10)
        .flat_map(|slot| {
            (0..4).map(move |generation| folkmoot_core::engine::ConnId::new(slot, generation))
        })
        .map(|conn| crate::net::End::Node(0, conn))
        .collect();
    let good = frame(5000, 3, b"good").repeat(500);
    for _ in 0..10 {
        net.write(raw, &good);
    }
    net.run(Duration::from_secs(20));
    assert!(net.raws[raw].open);
    net.run(Duration::from_secs(12));
    assert!(!net.raws[raw].open);
    assert_eq!(net.nodes[0].channel.stats().bad.unread_acks, 1);
}

#[test]
fn connections_are_bounded_and_silent_ones_make_room() {
    let (mut net, _) = with_tomcat(|config| config.limits.connections_max = 3);
    let talker = net.connect(0).unwrap();
    net.write(talker, &frame(5000, 3, b"good"));
    let silent: Vec<_> = (0..20).map(|_| net.connect(0)).collect();
    assert!(silent.iter().all(Option::is_some));
    let open = silent
        .iter()
        .filter(|raw| net.raws[raw.unwrap()].open)
        .count();
    assert_eq!(open, 2);
    assert!(net.raws[talker].open);
    for raw in silent.into_iter().flatten() {
        net.write(raw, &frame(5000, 3, b"good"));
    }
    assert_eq!(net.connect(0), None, "nobody to make room");
    assert_eq!(net.nodes[0].channel.stats().accepts_refused, 1);
}

#[test]
fn whoever_makes_room_keeps_its_slot_until_the_driver_has_closed_it() {
    let (mut net, _) = with_tomcat(|config| config.limits.connections_max = 1);
    let (now, from) = (net.now, "10.9.9.9:999".parse().unwrap());
    let channel = &mut net.nodes[0].channel;
    let first = channel.accept(now, from).unwrap();
    let second = channel.accept(now, from).unwrap();
    assert_ne!(first.slot(), second.slot());
    let closes = |output| output == Output::Close { conn: first };
    assert!(std::iter::from_fn(|| channel.poll_output()).any(closes));
}

#[test]
fn incomplete_frames_share_one_bound() {
    let (mut net, _) = with_tomcat(|config| {
        config.limits.message_bytes_max = 10_000;
        config.limits.gather_bytes_max = 25_000;
    });
    let mut open = Vec::new();
    for _ in 0..5 {
        let raw = net.connect(0).unwrap();
        net.write(raw, &frame(5000, 3, &[0; 9000])[..8000]);
        open.push(net.raws[raw].open);
    }
    assert_eq!(open, [true, true, true, false, false]);
    assert_eq!(net.nodes[0].channel.stats().bad.too_much_incomplete, 2);
}

#[test]
fn bad_datagrams_are_dropped_and_counted() {
    let mut net = Net::pair();
    let heartbeat = net.datagrams[0].1.clone();
    let mut negative = heartbeat.clone();
    negative[10..14].copy_from_slice(&(-1i32).to_be_bytes());
    let before = *net.nodes[1].channel.stats();
    for bytes in [
        &b"garbage"[..],
        &heartbeat[..30],
        &negative,
        b"FLT2002\0\0\0\x01",
        b"",
    ] {
        net.datagram(1, bytes);
    }
    let stats = *net.nodes[1].channel.stats();
    assert_eq!(stats.bad.total() - before.bad.total(), 5);
    assert_eq!(stats.bad.member_block - before.bad.member_block, 2);
    assert_eq!(net.nodes[1].channel.member_count(), 1);
}
