//! What interceptors read from peers.

use std::cell::RefCell;
use std::net::SocketAddr;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelListener, Inbound, MembershipConfig, Verdict,
};
use folkmoot_core::engine::Input;
use folkmoot_core::interceptor::{
    EncryptInterceptor, Fragment, FragmentationInterceptor, GzipCodec, GzipInterceptor,
    Interceptor, MessageCipher, OrderInterceptor,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{Member, MessageHeader, SendOptions, UniqueId, frame};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// A gzip member, and any bytes compressed.
pub fn gzip(input: &[u8]) {
    thread_local! {
        static CODEC: RefCell<GzipCodec> = RefCell::default();
    }
    const MAX: usize = 1 << 16;
    CODEC.with_borrow_mut(|codec| {
        if let Ok(plain) = codec.decompress(input, MAX) {
            assert!(plain.len() <= MAX);
            let packed = codec.compress(&plain);
            assert_eq!(codec.decompress(&packed, plain.len()), Ok(plain));
        }
        let packed = codec.compress(input);
        assert_eq!(codec.decompress(&packed, input.len()).as_deref(), Ok(input));
    });
}

/// A message that may be encrypted. Its first byte chooses the algorithm.
pub fn encrypted(input: &[u8]) {
    const ALGORITHMS: [&str; 4] = [
        "AES/GCM/NoPadding",
        "AES/CBC/PKCS5Padding",
        "AES/CFB/PKCS5Padding",
        "AES/OFB/PKCS5Padding",
    ];
    let Some((first, message)) = input.split_first() else {
        return;
    };
    let algorithm = ALGORITHMS[usize::from(*first) % ALGORITHMS.len()];
    let config = EncryptInterceptor {
        encryption_algorithm: algorithm.to_owned(),
        ..EncryptInterceptor::new(KEY)
    };
    let cipher = MessageCipher::new(&config).expect("a good key");
    let (iv, rest) = message.split_at(cipher.iv_len().min(message.len()));
    if let Ok(opened) = cipher.open(message) {
        let again = cipher.seal(iv, opened.timestamp_ms, &opened.message);
        assert_eq!(
            again.as_deref(),
            Some(message),
            "only one text for a message"
        );
    }
    if let Some(sealed) = cipher.seal(iv, 7, rest) {
        let opened = cipher.open(&sealed).expect("what was sealed opens");
        assert_eq!((opened.timestamp_ms, &opened.message[..]), (7, rest));
    }
}

/// A message of `FragmentationInterceptor`.
pub fn fragment(input: &[u8]) {
    if let Ok(fragment) = Fragment::read(input) {
        let mut again = Vec::new();
        fragment.write(&mut again);
        // Any byte but 0 says that it is a piece; we write 1.
        let (last, rest) = again.split_last().expect("a trailing byte");
        assert_eq!(rest, &input[..input.len() - 1]);
        assert_eq!(*last == 0, input.last() == Some(&0));
    }
    let (size, message) = input
        .split_first()
        .map_or((1, input), |(size, rest)| (usize::from(*size).max(1), rest));
    let mut together = Vec::new();
    for (at, fragment) in Fragment::of(message, size).enumerate() {
        match fragment {
            Fragment::Whole(bytes) => together.extend_from_slice(bytes),
            Fragment::Piece {
                bytes,
                index,
                count,
            } => {
                assert!(index < count && at == index as usize && bytes.len() <= size);
                together.extend_from_slice(bytes);
            }
        }
    }
    assert_eq!(together, message);
}

/// Counts what it gets, and fails with some.
struct Taken(usize);

impl ChannelListener for Taken {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        self.0 += message.message.len();
        match message.message.first() {
            Some(0) => Verdict::Failed,
            _ => Verdict::Processed,
        }
    }
}

/// A channel with a stack that the first byte chooses, and messages of two members, each given by a byte for the id, one for the
/// options and time, one for its length.
pub fn layers(input: &[u8]) {
    let Some((first, mut script)) = input.split_first() else {
        return;
    };
    let gzip: Interceptor = GzipInterceptor::default().into();
    let encrypt: Interceptor = EncryptInterceptor::new(KEY).into();
    let fragmentation: Interceptor = FragmentationInterceptor {
        sets_max: 8,
        ..FragmentationInterceptor::default()
    }
    .into();
    let order: Interceptor = OrderInterceptor {
        max_queue: 8,
        forward_expired: first & 0x80 == 0,
        ..OrderInterceptor::default()
    }
    .into();
    let all = [gzip, encrypt, fragmentation, order];
    let stack = all
        .iter()
        .enumerate()
        .filter(|(at, _)| first >> at & 1 == 1)
        .map(|(_, layer)| layer.clone());
    let mut config = ChannelConfig::new(SocketAddr::from(([192, 0, 2, 1], 4000)));
    config.membership = MembershipConfig::None;
    config.limits.message_bytes_max = 1 << 16;
    config.limits.gather_bytes_max = 1 << 17;
    config.limits.queue_bytes_max = 1 << 16;
    config.interceptors = stack.collect();
    let mut now = Instant::from_millis(1);
    let mut channel = Channel::new(config, [3; 32], now, 1_700_000_000_000).expect("valid");
    let mut taken = Taken(0);
    channel.start(now);
    let mut conn = None;
    while let [id, how, len, rest @ ..] = script {
        let body;
        (body, script) = rest.split_at(usize::from(*len).min(rest.len()));
        let member = how >> 6 & 1;
        let address = SocketAddr::from(([192, 0, 2, 10 + member], 4000));
        let mut block = Vec::new();
        let member = Member::new(address, UniqueId([member; 16]));
        member.write(&mut block).expect("a vector has room");
        let header = MessageHeader {
            options: SendOptions::from_bits(6 | u32::from(how & 1) << 8),
            timestamp_ms: 7,
            unique_id: UniqueId([*id; 16]),
            address: &block,
            message_len: body.len(),
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes).expect("a vector has room");
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&frame::END);
        let conn = *conn.get_or_insert_with(|| channel.accept(now, address).expect("room"));
        channel.handle(
            now,
            Input::Received {
                conn,
                bytes: &bytes,
            },
            &mut taken,
        );
        now = now + std::time::Duration::from_millis(u64::from(how >> 1 & 0x1f) * 200);
        channel.handle(now, Input::Timeout, &mut taken);
        if how & 0x80 != 0
            && let Some(index) = channel.find(&member)
        {
            channel.remove_member(now, index);
        }
        while channel.poll_output().is_some() {}
        while channel.poll_event().is_some() {}
    }
    // Once everything has waited long enough nothing waits any more.
    now = now + std::time::Duration::from_secs(3600);
    channel.handle(now, Input::Timeout, &mut taken);
    let stats = channel.stats().interceptors;
    let fragments = stats.fragmentation;
    let ended = fragments.reassembled + fragments.expired + fragments.abandoned;
    assert!(ended <= fragments.fragments_received);
    let order = stats.order;
    assert!(order.forwarded_expired + order.dropped_expired <= order.held);
}
