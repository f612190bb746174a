//! The formats of the group communication layer.

use folkmoot_core::wire::frame::{self, Deframed, deframe};
use folkmoot_core::wire::member::{MemberBlock, same_but_alive, set_alive};
use folkmoot_core::wire::{
    ChannelData, Control, DatagramContent, DecodeErrorKind, Member, SendOptions, UniqueId, read_ack,
};

/// A stream of frames. Its first byte says how long data may be and where the stream is cut.
pub fn frame(input: &[u8]) {
    let Some((first, mut stream)) = input.split_first() else {
        return;
    };
    let max_data = usize::from(*first) << 4;
    loop {
        let whole = deframe(stream, max_data);
        check_cuts(stream, max_data, usize::from(*first), &whole);
        let Ok(Deframed::Frame { data, consumed }) = whole else {
            return;
        };
        assert!(data.len() <= max_data);
        let mut again = Vec::new();
        frame::write(data, &mut again).expect("a vector has room");
        assert_eq!(again, &stream[..consumed]);
        let _ = (read_ack(data), Control::classify(data));
        stream = &stream[consumed..];
    }
}

/// Fewer bytes of the same stream give the same answer, or none yet.
fn check_cuts(
    stream: &[u8],
    max_data: usize,
    cut: usize,
    whole: &Result<Deframed<'_>, impl PartialEq + core::fmt::Debug>,
) {
    for cut in [cut, 3, 9, 12, stream.len().saturating_sub(1)] {
        let cut = cut.min(stream.len());
        match (deframe(&stream[..cut], max_data), whole) {
            (Ok(Deframed::Incomplete { need }), _) => assert!(need > cut),
            (Ok(frame), Ok(whole)) => assert_eq!(frame, *whole),
            (Err(_), Err(_)) => {}
            (cut, whole) => panic!("{cut:?} becomes {whole:?}"),
        }
    }
}

/// A message with its header, as the data of a frame.
pub fn channel_data(input: &[u8]) {
    let Ok(data) = ChannelData::decode(input) else {
        return;
    };
    assert_eq!(data.encoded_len(), input.len());
    let mut again = Vec::new();
    data.write(&mut again).expect("a vector has room");
    assert_eq!(again, input);
    member(data.address);
}

/// A member block with whatever follows it.
pub fn member(input: &[u8]) {
    let Ok(block) = MemberBlock::read(input) else {
        return;
    };
    let mut again = Vec::new();
    block.write(&mut again).expect("a vector has room");
    assert_eq!(again.len(), block.encoded_len());
    assert!(again.len() <= input.len());
    let second = MemberBlock::read(&again).expect("what was written is read");
    assert_eq!(fields(&second), fields(&block));
    // A block without slack comes out byte for byte.
    let body = i32::from_be_bytes(input[10..14].try_into().expect("four bytes"));
    if usize::try_from(body) == Ok(again.len() - 24) {
        assert_eq!(again, &input[..again.len()]);
    }
    assert_eq!(block, second);
    let owned = Member::from(block);
    assert_eq!(owned, block);
    assert_eq!(owned.name(), block.to_string());
    assert_eq!(owned.socket_addr(), block.socket_addr());
    let mut later = again.clone();
    assert!(set_alive(&mut later, block.alive_ms.wrapping_add(1)));
    assert!(same_but_alive(&again, &later));
    assert!(again != later);
}

type Fields<'a> = (i64, [i32; 3], [&'a [u8]; 4], UniqueId);

fn fields<'a>(block: &MemberBlock<'a>) -> Fields<'a> {
    let ports = [block.port, block.secure_port, block.udp_port];
    let bytes = [block.host, block.command, block.domain, block.payload];
    (block.alive_ms, ports, bytes, block.unique_id)
}

/// A datagram of the multicast group.
pub fn datagram(input: &[u8]) {
    match DatagramContent::read(input) {
        Ok(DatagramContent::Heartbeat(block)) => member(block.raw),
        Ok(DatagramContent::Frames(frames)) => {
            let mut taken = 0;
            let mut damaged = false;
            for data in frames {
                assert!(!damaged, "nothing follows damage");
                match data {
                    Ok(data) => {
                        taken += data.len() + frame::OVERHEAD;
                        channel_data(data);
                    }
                    Err(_) => damaged = true,
                }
            }
            assert!(taken <= input.len());
            assert!(taken > 0);
            assert_eq!(damaged, taken < input.len());
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.kind != DecodeErrorKind::BadValue);
        }
    }
}

/// Send options as text.
pub fn send_options(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else {
        return;
    };
    match text.parse::<SendOptions>() {
        Ok(options) => {
            let shown = options.to_string();
            assert_eq!(
                shown.parse(),
                Ok(SendOptions::from_bits(options.bits() & 0x7f)),
                "{shown}"
            );
        }
        Err(error) => assert!(error.at < text.split(',').count(), "{error}"),
    }
}

/// A unique id as text.
pub fn unique_id(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else {
        return;
    };
    if let Ok(id) = text.parse::<UniqueId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
