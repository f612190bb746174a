//! Layers between two of our own nodes, and against peers who send what they must not.

use std::time::Duration;

use folkmoot_core::channel::{
    BadInput, ChannelConfig, ChannelEvent, ConfigError, FaultCause, Lane, SendError, SendOptions,
    To,
};
use folkmoot_core::interceptor::{
    DomainFilterInterceptor, EncryptInterceptor, Fragment, FragmentationInterceptor, GzipCodec,
    GzipInterceptor, Interceptor, MessageCipher, OrderInterceptor, Refusal, ThroughputInterceptor,
    TwoPhaseCommitInterceptor, confirmation,
};
use folkmoot_core::wire::{ACK_FRAME, FAIL_ACK_FRAME, Member, MessageHeader, UniqueId, frame};
use proptest::prelude::*;

use crate::net::{Net, UNIX_MS, at};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

const fn options(bits: u32) -> SendOptions {
    SendOptions::from_bits(bits)
}

fn encrypt(algorithm: &str) -> Interceptor {
    EncryptInterceptor {
        encryption_algorithm: algorithm.to_owned(),
        ..EncryptInterceptor::new(KEY)
    }
    .into()
}

fn encrypt_des() -> Interceptor {
    EncryptInterceptor {
        encryption_algorithm: "DESede/CBC/PKCS5Padding".to_owned(),
        ..EncryptInterceptor::new("000102030405060708090a0b0c0d0e0f1011121314151617")
    }
    .into()
}

fn fragmentation(max_size: usize) -> Interceptor {
    FragmentationInterceptor {
        max_size,
        ..FragmentationInterceptor::default()
    }
    .into()
}

/// Every layer, alone and together.
fn stacks() -> Vec<Vec<Interceptor>> {
    let gzip: Interceptor = GzipInterceptor::default().into();
    let order: Interceptor = OrderInterceptor::default().into();
    vec![
        vec![gzip.clone()],
        vec![encrypt("AES/GCM/NoPadding")],
        vec![encrypt("AES/CBC/PKCS5Padding")],
        vec![encrypt("AES/OFB/PKCS5Padding")],
        vec![encrypt_des()],
        vec![fragmentation(1000)],
        vec![order.clone()],
        vec![TwoPhaseCommitInterceptor::default().into()],
        vec![
            order.clone(),
            TwoPhaseCommitInterceptor::default().into(),
            fragmentation(500),
            gzip.clone(),
        ],
        vec![
            ThroughputInterceptor::default().into(),
            DomainFilterInterceptor::default().into(),
        ],
        vec![
            gzip.clone(),
            fragmentation(300),
            encrypt("AES/CFB/PKCS5Padding"),
        ],
        vec![
            order,
            fragmentation(640),
            gzip,
            encrypt("AES/GCM/NoPadding"),
        ],
    ]
}

fn pair(stack: &[Interceptor]) -> Net {
    let mut net = Net::new();
    for port in [4000, 4001] {
        let mut config = ChannelConfig::new(at(port));
        config.interceptors = stack.to_vec();
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    net.events(0);
    net.events(1);
    net
}

fn bodies() -> Vec<Vec<u8>> {
    [0usize, 1, 63, 64, 65, 999, 1000, 1001, 8193, 70_000]
        .into_iter()
        .enumerate()
        .map(|(number, len)| (0..len).map(|at| (at * at / 3 + number) as u8).collect())
        .collect()
}

#[test]
fn every_stack_carries_every_size_with_every_option_in_order() {
    for stack in stacks() {
        let mut net = pair(&stack);
        for bits in [0, 2, 6, 8, 10, 14] {
            for lane in [Lane::Any, Lane::Ordered(7)] {
                let now = net.now;
                let mut ids = vec![];
                for body in bodies() {
                    let channel = &mut net.nodes[0].channel;
                    ids.push(
                        channel
                            .send(now, To::All, options(bits), lane, &body)
                            .unwrap(),
                    );
                }
                let events = net.events(0);
                assert!(net.messages(1) == bodies(), "{stack:?} {bits}");
                let expected: Vec<_> = match bits & 2 {
                    0 => vec![],
                    _ => ids
                        .into_iter()
                        .map(|id| ChannelEvent::Sent { id, faulty: vec![] })
                        .collect(),
                };
                assert_eq!(events, expected, "{stack:?} {bits}");
            }
        }
        assert_eq!(net.events(1), [], "{stack:?}");
        let member = net.other(0);
        assert_eq!(net.nodes[0].channel.queue_bytes(member), 0);
        assert_eq!(net.nodes[0].channel.sends_open(), 0);
        assert_eq!(net.nodes[1].channel.stats().interceptors.refused, 0);
    }
}

#[test]
fn a_listener_that_fails_is_told_of_through_every_stack() {
    for stack in stacks() {
        let mut net = pair(&stack);
        net.nodes[1].log.fail = vec![b'x'];
        let (now, member) = (net.now, net.other(0));
        let id = net.nodes[0]
            .channel
            .send(now, To::All, options(6), Lane::Any, &vec![b'x'; 1500])
            .unwrap();
        let faulty = vec![(member, FaultCause::RemoteProcess)];
        assert_eq!(
            net.events(0),
            [ChannelEvent::Sent { id, faulty }],
            "{stack:?}"
        );
    }
}

#[test]
fn a_message_to_three_is_numbered_for_each() {
    let mut net = Net::new();
    for port in 4000..4004 {
        let mut config = ChannelConfig::new(at(port));
        config.interceptors = vec![
            OrderInterceptor::default().into(),
            encrypt("AES/GCM/NoPadding"),
        ];
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    let now = net.now;
    let first = net.nodes[0].channel.members().next().unwrap().0;
    for (to, body) in [
        (To::Member(first), b"one"),
        (To::All, b"two"),
        (To::All, b"six"),
    ] {
        net.nodes[0]
            .channel
            .send(now, to, options(6), Lane::Any, body)
            .unwrap();
    }
    net.settle();
    let got: Vec<_> = (1..4).map(|node| net.messages(node).len()).collect();
    assert_eq!(got, [3, 2, 2]);
    assert_eq!(net.nodes[0].channel.stats().interceptors.order.numbered, 7);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_numbered() {
    let mut net = Net::new();
    for port in [4000, 4001] {
        let mut config = ChannelConfig::new(at(port));
        config.limits.queue_bytes_max = 4096;
        config.limits.message_bytes_max = 1 << 20;
        config.interceptors = vec![OrderInterceptor::default().into(), fragmentation(500)];
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    let (now, member) = (net.now, net.other(0));
    net.nodes[1].paused = true;
    let mut send = |len: usize| {
        net.nodes[0]
            .channel
            .send(now, To::All, options(6), Lane::Any, &vec![1; len])
    };
    assert!(matches!(send(2 << 20), Err(SendError::TooLong { .. })));
    send(2000).unwrap();
    assert_eq!(send(2000), Err(SendError::QueueFull(member)));
    net.nodes[1].paused = false;
    net.resume(1);
    let now = net.now;
    net.nodes[0]
        .channel
        .send(now, To::All, options(6), Lane::Any, b"after")
        .unwrap();
    net.settle();
    assert_eq!(net.messages(1), [vec![1; 2000], b"after".to_vec()]);
    assert_eq!(net.nodes[1].channel.stats().interceptors.order.held, 0);
}

#[test]
fn another_key_gets_nothing_and_is_counted() {
    for (algorithm, refusal) in [
        ("AES/GCM/NoPadding", Refusal::NotAuthentic),
        ("AES/CBC/PKCS5Padding", Refusal::Undecipherable),
    ] {
        let mut net = Net::new();
        for (port, key) in [(4000, KEY), (4001, "ff0102030405060708090a0b0c0d0e0f")] {
            let mut config = ChannelConfig::new(at(port));
            let layer = EncryptInterceptor {
                encryption_algorithm: algorithm.to_owned(),
                ..EncryptInterceptor::new(key)
            };
            config.interceptors = vec![layer.into()];
            net.add(config);
        }
        net.run(Duration::from_secs(2));
        net.events(1);
        let now = net.now;
        net.nodes[0]
            .channel
            .send(now, To::All, options(6), Lane::Any, b"secret")
            .unwrap();
        net.run(Duration::from_secs(10));
        assert_eq!(net.messages(1), [b""; 0]);
        let refused = |event: &ChannelEvent| matches!(event, ChannelEvent::BadInput { reason: BadInput::Interceptor(why), .. } if *why == refusal);
        assert!(net.events(1).iter().any(refused), "{algorithm}");
        assert!(
            net.nodes[1]
                .channel
                .stats()
                .interceptors
                .encrypt
                .undecipherable
                > 0
        );
        let sent = net.events(0);
        let failed = |event: &ChannelEvent| matches!(event, ChannelEvent::Sent { faulty, .. } if faulty.len() == 1);
        assert!(
            sent.iter().any(failed),
            "{algorithm}: the sender is told: {sent:?}"
        );
    }
}

/// A node with these layers, and a peer's connection to it.
fn against(stack: Vec<Interceptor>) -> (Net, usize) {
    let mut net = Net::new();
    let mut config = ChannelConfig::new(at(4000));
    config.limits.message_bytes_max = 1 << 20;
    config.limits.gather_bytes_max = 2 << 20;
    config.interceptors = stack;
    net.add(config);
    let raw = net.connect(0).unwrap();
    (net, raw)
}

fn message(bits: u32, id: u32, body: &[u8]) -> Vec<u8> {
    let mut address = vec![];
    Member::new("10.9.9.9:4999".parse().unwrap(), UniqueId([9; 16]))
        .write(&mut address)
        .unwrap();
    let mut unique_id = [7; 16];
    unique_id[..4].copy_from_slice(&id.to_be_bytes());
    let header = MessageHeader {
        options: options(bits),
        timestamp_ms: 1,
        unique_id: UniqueId(unique_id),
        address: &address,
        message_len: body.len(),
    };
    let mut bytes = vec![];
    header.write(&mut bytes).unwrap();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&frame::END);
    bytes
}

fn piece(bytes: &[u8], index: u32, count: u32) -> Vec<u8> {
    let mut out = vec![];
    Fragment::Piece {
        bytes,
        index,
        count,
    }
    .write(&mut out);
    out
}

#[test]
fn what_no_layer_can_read_costs_the_connection() {
    let bomb = GzipCodec::default().compress(&vec![0; 4 << 20]);
    let gzip: Interceptor = GzipInterceptor::default().into();
    #[rustfmt::skip]
    let cases: &[(Interceptor, u32, &[u8], Refusal)] = &[
        (gzip.clone(), 0x106, b"not gzip", Refusal::NotGzip),
        (gzip.clone(), 0x106, &bomb, Refusal::GzipTooLong),
        (gzip, 0x106, b"", Refusal::NotGzip),
        (encrypt("AES/GCM/NoPadding"), 6, b"plain text, longer than the vector", Refusal::NotAuthentic),
        (encrypt("AES/GCM/NoPadding"), 6, b"", Refusal::NotAuthentic),
        (fragmentation(100), 6, b"", Refusal::MalformedFragment),
        (fragmentation(100), 6, b"x\0\0\0\x05\0\0\0\x05\x01", Refusal::MalformedFragment),
        (fragmentation(100), 6, b"x\0\0\0\x05\x7f\xff\xff\xff\xff\x01", Refusal::MalformedFragment),
        (OrderInterceptor::default().into(), 6, b"abc", Refusal::MalformedOrder),
    ];
    for (layer, bits, body, refusal) in cases {
        let (mut net, raw) = against(vec![layer.clone()]);
        net.write(raw, &message(*bits, 1, body));
        assert!(!net.raws[raw].open, "{refusal:?}");
        assert_eq!(net.take(raw), b"", "{refusal:?}");
        let bad = ChannelEvent::BadInput {
            from: "10.9.9.9:999".parse().unwrap(),
            reason: BadInput::Interceptor(*refusal),
        };
        assert!(net.events(0).contains(&bad), "{refusal:?}");
        assert_eq!(net.nodes[0].channel.stats().bad.interceptor, 1);
        assert_eq!(net.nodes[0].channel.stats().interceptors.refused, 1);
        assert_eq!(net.messages(0), [b""; 0]);
    }
}

#[test]
fn without_authentication_all_that_is_wrong_looks_the_same() {
    let config = EncryptInterceptor {
        encryption_algorithm: "AES/CBC/PKCS5Padding".to_owned(),
        ..EncryptInterceptor::new(KEY)
    };
    let cipher = MessageCipher::new(&config).unwrap();
    let good = cipher
        .seal(&[1; 16], UNIX_MS + 1000, b"a message of some length")
        .unwrap();
    let stale = cipher.seal(&[2; 16], UNIX_MS - 60_000, b"old").unwrap();
    let mut padding = good.clone();
    *padding.last_mut().unwrap() ^= 1;
    padding[0] ^= 0xff;
    for wrong in [&stale[..], &padding, b"", &[0; 16], &[0; 32], &[0; 33]] {
        let (mut net, raw) = against(vec![config.clone().into()]);
        net.write(raw, &message(6, 1, wrong));
        assert_eq!(net.take(raw), FAIL_ACK_FRAME);
        assert!(net.raws[raw].open);
        assert_eq!(net.nodes[0].channel.stats().interceptors.refused, 1);
        net.write(raw, &message(6, 2, &good));
        assert_eq!(net.take(raw), ACK_FRAME);
        assert_eq!(net.messages(0), [b"a message of some length"]);
    }
}

#[test]
fn a_repeated_message_is_acknowledged_and_counts_once_unless_its_listener_failed() {
    let config = EncryptInterceptor::new(KEY);
    let cipher = MessageCipher::new(&config).unwrap();
    let sealed = cipher.seal(&[1; 12], UNIX_MS + 1000, b"once").unwrap();
    let (mut net, raw) = against(vec![config.into()]);
    net.nodes[0].log.fail = vec![b'o'];
    net.write(raw, &message(6, 1, &sealed));
    assert_eq!(net.take(raw), FAIL_ACK_FRAME);
    net.nodes[0].log.fail.clear();
    for _ in 0..3 {
        net.write(raw, &message(6, 1, &sealed));
        assert_eq!(net.take(raw), ACK_FRAME);
    }
    assert_eq!(net.messages(0), [b"once", b"once"], "failed, then taken");
    assert_eq!(
        net.nodes[0].channel.stats().interceptors.encrypt.replayed,
        2
    );
}

#[test]
fn fragments_come_in_any_order_and_repeated_and_are_bounded() {
    let layer = FragmentationInterceptor {
        max_size: 4,
        sets_max: 3,
        ..FragmentationInterceptor::default()
    };
    let (mut net, raw) = against(vec![layer.into()]);
    for (index, bytes) in [
        (2, &b"st"[..]),
        (0, b"firs"),
        (2, b"st"),
        (1, b"t, l"),
        (3, b"!"),
    ] {
        net.write(raw, &message(6, 1, &piece(bytes, index, 4)));
    }
    assert_eq!(net.take(raw), ACK_FRAME.repeat(5));
    assert_eq!(net.messages(0), [b"first, lst!"]);

    // A huge count costs nothing, but there can be only so many of them.
    for id in 2..6 {
        net.write(raw, &message(6, id, &piece(b"x", 0, i32::MAX as u32)));
    }
    assert_eq!(
        net.take(raw),
        [&ACK_FRAME.repeat(3)[..], &FAIL_ACK_FRAME].concat()
    );
    assert!(net.raws[raw].open);
    // After a minute nobody waits for the rest.
    net.run(Duration::from_secs(61));
    assert_eq!(
        net.nodes[0]
            .channel
            .stats()
            .interceptors
            .fragmentation
            .expired,
        3
    );
    net.write(raw, &message(6, 7, &piece(b"x", 0, 2)));
    assert_eq!(net.take(raw), ACK_FRAME);
    // Pieces that contradict each other.
    net.write(raw, &message(6, 7, &piece(b"x", 1, 3)));
    assert!(!net.raws[raw].open);
}

#[test]
fn fragments_take_no_more_memory_than_the_limits_say() {
    let (mut net, raw) = against(vec![fragmentation(100)]);
    let body = vec![1; 300_000];
    for index in 0..4 {
        net.write(raw, &message(6, 1, &piece(&body, index, 9)));
    }
    assert!(!net.raws[raw].open, "1.2 MB for a message of at most 1 MiB");
    let raw = net.connect(0).unwrap();
    let mut answers = vec![];
    for id in 2..12 {
        net.write(raw, &message(6, id, &piece(&body, 0, 9)));
        answers.extend(net.take(raw));
    }
    let accepted = ACK_FRAME.repeat(6);
    assert_eq!(answers, [&accepted[..], &FAIL_ACK_FRAME.repeat(4)].concat());
}

fn numbered(body: &[u8], number: i32) -> Vec<u8> {
    [body, &number.to_be_bytes()].concat()
}

/// Whether what waited too long is handed on; numbers, with ms to wait after each; what is handed on.
type Case<'a> = (bool, &'a [(i32, u64)], &'a [i32]);

#[test]
fn messages_wait_for_those_before_them_as_long_as_they_may() {
    #[rustfmt::skip]
    let cases: &[Case<'_>] = &[
        (true,  &[(1, 0), (2, 0), (3, 0)],                       &[1, 2, 3]),
        (true,  &[(3, 0), (2, 0), (1, 0)],                       &[1, 2, 3]),
        (true,  &[(2, 10), (1, 0), (1, 0), (3, 0)],              &[1, 2, 1, 3]),
        (true,  &[(3, 149)],                                     &[]),
        (true,  &[(3, 150)],                                     &[3]),
        (false, &[(3, 150), (4, 0)],                             &[4]),
        (true,  &[(3, 100), (5, 60), (4, 0)],                    &[3, 4, 5]),
        (true,  &[(3, 200), (1, 0)],                             &[3, 1]),
        (true,  &[(i32::MAX, 200), (i32::MIN, 0), (1, 0)],       &[i32::MAX, i32::MIN, 1]),
        (true,  &[(2, 0), (2, 200)],                             &[2]),
    ];
    for (forward_expired, arrival, expected) in cases {
        let layer = OrderInterceptor {
            expire: Duration::from_millis(150),
            forward_expired: *forward_expired,
            ..OrderInterceptor::default()
        };
        let (mut net, raw) = against(vec![layer.into()]);
        for (number, wait) in *arrival {
            net.write(
                raw,
                &message(6, *number as u32, &numbered(&number.to_be_bytes(), *number)),
            );
            assert_eq!(net.take(raw), ACK_FRAME);
            net.run(Duration::from_millis(*wait));
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|number| number.to_be_bytes().to_vec())
            .collect();
        assert_eq!(net.messages(0), expected, "{arrival:?}");
    }
}

#[test]
fn who_counts_anew_loses_nothing_that_waits() {
    let (mut net, raw) = against(vec![OrderInterceptor::default().into()]);
    net.write(raw, &message(6, 1, &numbered(b"b", 2)));
    net.write(raw, &message(6, 2, &numbered(b"c", 2)));
    net.write(raw, &message(6, 3, &numbered(b"a", 1)));
    assert_eq!(
        net.take(raw),
        [&ACK_FRAME[..], &ACK_FRAME, &ACK_FRAME].concat()
    );
    assert_eq!(net.messages(0), [b"b", b"c", b"a"]);
    let order = net.nodes[0].channel.stats().interceptors.order;
    assert_eq!((order.conflicting, order.late), (1, 1));
}

#[test]
fn a_queue_that_is_full_lets_its_messages_go() {
    let layer = OrderInterceptor {
        max_queue: 3,
        ..OrderInterceptor::default()
    };
    let (mut net, raw) = against(vec![layer.into()]);
    for number in [5, 3, 4] {
        net.write(
            raw,
            &message(6, number as u32, &numbered(&[number as u8], number)),
        );
    }
    assert_eq!(net.messages(0), [[3], [4], [5]]);
}

#[test]
fn what_waits_goes_on_when_its_sender_leaves() {
    let (mut net, raw) = against(vec![OrderInterceptor::default().into()]);
    net.write(raw, &message(6, 1, &numbered(b"late", 2)));
    let now = net.now;
    let from = net.nodes[0]
        .channel
        .find(&Member::new(
            "10.9.9.9:4999".parse().unwrap(),
            UniqueId([9; 16]),
        ))
        .unwrap();
    net.nodes[0].channel.remove_member(now, from);
    net.settle();
    assert_eq!(net.messages(0), [b"late"]);
    assert_eq!(net.nodes[0].log.got.len(), 0);
}

#[test]
fn throughput_is_reported_after_every_interval() {
    let mut net = pair(&[ThroughputInterceptor { interval: 3 }.into()]);
    let now = net.now;
    for _ in 0..7 {
        net.nodes[0]
            .channel
            .send(now, To::All, options(0), Lane::Any, b"ten bytes!")
            .unwrap();
    }
    let report = |events: Vec<ChannelEvent>| {
        events
            .into_iter()
            .filter_map(|event| match event {
                ChannelEvent::Throughput(stats) => Some(stats),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let sent = report(net.events(0));
    let received = report(net.events(1));
    assert_eq!(
        sent.iter()
            .map(|stats| (stats.messages_sent, stats.bytes_sent))
            .collect::<Vec<_>>(),
        [(3, 30), (6, 60)]
    );
    assert_eq!(
        received
            .iter()
            .map(|stats| (stats.messages_received, stats.bytes_received))
            .collect::<Vec<_>>(),
        [(3, 30), (6, 60)]
    );
}

#[test]
fn a_layer_that_cannot_work_is_named() {
    #[rustfmt::skip]
    let cases: &[(Interceptor, &str)] = &[
        (EncryptInterceptor::new("").into(), "interceptor 1: `encryptionKey` is missing"),
        (encrypt("AES/ECB/PKCS5Padding"), "use AES/GCM/NoPadding"),
        (GzipInterceptor { option_flag: 8, ..GzipInterceptor::default() }.into(), "`optionFlag` must be bits of 128 and above"),
        (fragmentation(0), "`maxSize` must be"),
        (OrderInterceptor { max_queue: 0, ..OrderInterceptor::default() }.into(), "`maxQueue` must be"),
        (ThroughputInterceptor { interval: 0 }.into(), "`interval` must be"),
    ];
    for (layer, expected) in cases {
        let mut config = ChannelConfig::new(at(4000));
        config.interceptors = vec![ThroughputInterceptor::default().into(), layer.clone()];
        let error = config.validate().unwrap_err();
        assert!(matches!(error, ConfigError::Interceptor(1, _)));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut config = ChannelConfig::new(at(4000));
    config.interceptors = vec![
        fragmentation(100),
        TwoPhaseCommitInterceptor::default().into(),
    ];
    let error = config.validate().unwrap_err().to_string();
    assert!(
        error.contains("must stand before FragmentationInterceptor"),
        "{error}"
    );
    let mut config = ChannelConfig::new(at(4000));
    config.interceptors = vec![ThroughputInterceptor::default().into(); 17];
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .contains("at most 16")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ciphers_and_gzip_give_back_what_they_took(
        body in proptest::collection::vec(any::<u8>(), 0..5000),
        key in proptest::collection::vec(any::<u8>(), 16),
        iv in proptest::collection::vec(any::<u8>(), 16),
        stamp: u64,
    ) {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        for algorithm in ["AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "AES/CFB/PKCS5Padding", "AES/OFB/PKCS5Padding"] {
            let config = EncryptInterceptor { encryption_algorithm: algorithm.into(), ..EncryptInterceptor::new(key.as_str()) };
            let cipher = MessageCipher::new(&config).unwrap();
            let sealed = cipher.seal(&iv[..cipher.iv_len()], stamp, &body).unwrap();
            let opened = cipher.open(&sealed).unwrap();
            prop_assert_eq!((opened.timestamp_ms, &opened.message[..]), (stamp, &body[..]));
        }
        let mut gzip = GzipCodec::default();
        let packed = gzip.compress(&body);
        prop_assert_eq!(gzip.decompress(&packed, body.len()).unwrap(), body);
    }

    #[test]
    fn a_message_of_any_length_survives_any_size_of_pieces(len in 0usize..2000, max_size in 1usize..500) {
        let body: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut net = pair(&[fragmentation(max_size), encrypt("AES/GCM/NoPadding")]);
        let now = net.now;
        net.nodes[0].channel.send(now, To::All, options(6), Lane::Any, &body).unwrap();
        net.settle();
        prop_assert_eq!(net.messages(1), [body]);
    }
}

#[test]
fn a_message_that_one_did_not_take_is_confirmed_to_nobody() {
    let mut net = Net::new();
    for port in 4000..4003 {
        let mut config = ChannelConfig::new(at(port));
        config.interceptors = vec![TwoPhaseCommitInterceptor::default().into()];
        net.add(config);
    }
    net.run(Duration::from_secs(2));
    net.events(0);
    net.nodes[2].paused = true;
    let now = net.now;
    let lost = net.nodes[0]
        .channel
        .send(now, To::All, options(6), Lane::Any, b"lost")
        .unwrap();
    net.run(Duration::from_secs(10));
    let sent = net.events(0);
    let failed = |event: &ChannelEvent| matches!(event, ChannelEvent::Sent { id, faulty } if *id == lost && faulty.len() == 2);
    assert!(sent.iter().any(failed), "{sent:?}");
    let not_confirmed = |event: &ChannelEvent| matches!(event, ChannelEvent::Sent { faulty, .. } if faulty.iter().any(|(_, cause)| *cause == FaultCause::NotConfirmed));
    assert!(sent.iter().any(not_confirmed), "{sent:?}");
    assert_eq!(net.messages(1), [b""; 0]);
    let stats = net.nodes[0].channel.stats().interceptors.two_phase_commit;
    assert_eq!((stats.confirmations_sent, stats.not_confirmed), (0, 1));
    net.run(Duration::from_secs(60));
    let stats = net.nodes[1].channel.stats().interceptors.two_phase_commit;
    assert_eq!((stats.expired, stats.committed), (1, 0));
}

#[test]
fn unconfirmed_messages_are_bounded_and_belong_to_their_sender() {
    let layer = TwoPhaseCommitInterceptor {
        messages_max: 2,
        ..TwoPhaseCommitInterceptor::default()
    };
    let (mut net, raw) = against(vec![layer.into()]);
    for id in 1..4 {
        net.write(raw, &message(6, id, b"x"));
    }
    let answers = [&ACK_FRAME[..], &ACK_FRAME, &FAIL_ACK_FRAME].concat();
    assert_eq!(net.take(raw), answers);
    let mut first = [7; 16];
    first[..4].copy_from_slice(&1u32.to_be_bytes());
    for _ in 0..2 {
        net.write(raw, &message(6, 9, &confirmation(&UniqueId(first))));
        assert_eq!(net.take(raw), ACK_FRAME);
    }
    assert_eq!(net.messages(0), [b"x"]);
    let mut never = first;
    never[15] = 0;
    net.write(raw, &message(6, 9, &confirmation(&UniqueId(never))));
    let stats = net.nodes[0].channel.stats().interceptors.two_phase_commit;
    assert_eq!((stats.committed, stats.unknown, stats.no_room), (1, 0, 1));
    net.run(Duration::from_secs(61));
    let stats = net.nodes[0].channel.stats().interceptors.two_phase_commit;
    assert_eq!(stats.unknown, 1, "its message did not come");
}

/// After a lost answer, or a FAIL_ACK, a sender writes again what had not been acknowledged: the last part alone.
#[test]
fn a_part_that_comes_again_is_answered_as_its_message_was() {
    let piece = |index: u32, bytes: &[u8]| {
        let mut out = vec![];
        let count = 2;
        #[rustfmt::skip]
        Fragment::Piece { bytes, index, count }.write(&mut out);
        message(6, 1, &out)
    };
    let mut id = [7; 16];
    id[..4].copy_from_slice(&1u32.to_be_bytes());
    let confirms = TwoPhaseCommitInterceptor::default();
    for fails in [false, true] {
        let answer = match fails {
            false => ACK_FRAME,
            true => FAIL_ACK_FRAME,
        };
        for (layer, parts) in [
            (fragmentation(100), [piece(0, b"fir"), piece(1, b"st")]),
            (
                confirms.into(),
                [
                    message(6, 1, b"first"),
                    message(6, 2, &confirmation(&UniqueId(id))),
                ],
            ),
        ] {
            let name = layer.class_name();
            let (mut net, raw) = against(vec![layer]);
            if fails {
                net.nodes[0].log.fail = vec![b'f'];
            }
            net.write(raw, &parts[0]);
            assert_eq!(net.take(raw), ACK_FRAME, "{name}");
            net.write(raw, &parts[1]);
            assert_eq!(net.take(raw), answer, "{name}");
            net.write(raw, &parts[1]);
            assert_eq!(net.take(raw), answer, "{name}, once more");
            assert!(net.messages(0).len() <= 1, "{name}");
            assert_eq!(net.nodes[0].channel.kept().layer_messages, 0, "{name}");
        }
    }
}

/// What was dropped before it was complete is not acknowledged when the rest of it comes.
#[test]
fn the_rest_of_what_was_dropped_is_refused() {
    let confirms = TwoPhaseCommitInterceptor {
        expire: Duration::from_secs(1),
        ..TwoPhaseCommitInterceptor::default()
    };
    let (mut net, raw) = against(vec![confirms.into()]);
    net.write(raw, &message(6, 1, b"late"));
    assert_eq!(net.take(raw), ACK_FRAME);
    net.run(Duration::from_secs(2));
    let mut id = [7; 16];
    id[..4].copy_from_slice(&1u32.to_be_bytes());
    net.write(raw, &message(6, 2, &confirmation(&UniqueId(id))));
    assert_eq!(net.take(raw), FAIL_ACK_FRAME);
    let stats = net.nodes[0].channel.stats().interceptors.two_phase_commit;
    assert_eq!((stats.expired, stats.too_late), (1, 1));
    assert_eq!(net.messages(0), [b""; 0]);
}

/// A Tomcat's asynchronous messages and their confirmations leave on connections of several threads.
#[test]
fn a_confirmation_may_come_before_its_message() {
    let (mut net, raw) = against(vec![TwoPhaseCommitInterceptor::default().into()]);
    let id_of = |id: u32| {
        let mut unique_id = [7; 16];
        unique_id[..4].copy_from_slice(&id.to_be_bytes());
        UniqueId(unique_id)
    };
    net.write(raw, &message(0, 9, &confirmation(&id_of(1))));
    assert_eq!(net.messages(0), [b""; 0]);
    net.write(raw, &message(0, 1, b"late"));
    assert_eq!(net.messages(0), [b"late"], "already confirmed");
    net.write(raw, &message(0, 1, b"late"));
    assert_eq!(net.messages(0), [b""; 0], "a confirmation counts once");
    // Who confirms what it never sends gets a bounded place for it.
    for id in 0..300 {
        net.write(raw, &message(0, 9, &confirmation(&id_of(1000 + id))));
    }
    let stats = net.nodes[0].channel.stats().interceptors.two_phase_commit;
    assert_eq!((stats.committed, stats.unknown), (1, 300 - 256));
}
