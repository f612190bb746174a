//! Bytes that are no frames, and frames that hold no message.

use folkmoot::ChannelStats;

use crate::forge::{BYTE_MESSAGE, addressed, channel_data, frame, framed};
use crate::pair::Pair;
use crate::support::recorder::member;

scenarios! {
    fn each_costs_its_connection(name) { each_costs(name); }
}

/// Who counts it.
type Counter = fn(&ChannelStats) -> u64;

fn each_costs(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let frames: Counter = |stats| stats.bad.frame;
    let data: Counter = |stats| stats.bad.channel_data;
    let blocks: Counter = |stats| stats.bad.member_block;
    let good = channel_data(BYTE_MESSAGE, pair.attacker, b"hello");
    let block = member(pair.attacker, 1, b"");
    let end = b"TLF2003".as_slice();
    let at = |block: &[u8], at: usize, bytes: &[u8]| {
        let mut block = block.to_vec();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        block
    };
    let huge = i32::MAX.to_be_bytes();
    let negative = (-1_i32).to_be_bytes();
    let in_block = |block: &[u8]| frame(&addressed(BYTE_MESSAGE, block, b"hello"));
    #[rustfmt::skip]
    let cases: [(&str, Vec<u8>, Counter); 18] = [
        ("garbage",                          b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), frames),
        ("a negative length",                framed(-1, &good, end), frames),
        ("the length that hangs a Tomcat",   [frame(&good), framed(-18, &good, end)].concat(), frames),
        ("a huge length",                    framed(i32::MAX, &good, end), frames),
        ("an over-long frame",               framed((128 << 20) + 1, &good, end), frames),
        ("a wrong end marker",               framed(good.len() as i32, &good, b"TLF2002"), frames),
        ("a length one short",               framed(good.len() as i32 - 1, &good, end), frames),
        ("garbage behind a frame",           [frame(&good), b"FLT2003".to_vec()].concat(), frames),
        ("an empty frame",                   frame(b""), data),
        ("a frame cut in its header",        frame(&good[..10]), data),
        ("a frame cut in its message",       frame(&good[..good.len() - 1]), data),
        ("a huge unique id",                 frame(&at(&good, 12, &huge)), data),
        ("a negative unique id",             frame(&at(&good, 12, &negative)), data),
        ("no address",                       in_block(b""), blocks),
        ("a member block inside out",        in_block(&at(&at(&block, 0, b"TRIBES-E"), block.len() - 10, b"TRIBES-B")), blocks),
        ("a member block with a huge body",  in_block(&at(&block, 10, &huge)), blocks),
        ("a member block with a huge field", in_block(&at(&block, 39, &huge)), blocks),
        ("a member block cut short",         in_block(&block[..block.len() - 1]), blocks),
    ];
    for (what, bytes, counter) in cases {
        let before = pair.count(counter);
        let logged = pair.logged().len();
        assert!(pair.attack(&bytes), "{what}: the connection is closed");
        assert_eq!(pair.count(counter), before + 1, "{what}: counted");
        let lines = pair.logged().split_off(logged);
        assert_eq!(lines.len(), 1, "{what}: logged once: {lines:?}");
        assert!(
            lines[0].contains("bad "),
            "{what}: with its reason: {lines:?}"
        );
        println!("{what}: {}", lines[0]);
    }
    pair.unharmed();
}
