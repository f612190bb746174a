//! Bytes made by hand: frames, messages and Java streams, whole and damaged in every way.

use std::net::SocketAddr;

use crate::support::recorder::member;
use crate::support::session_message::{class, utf};

/// Options of a raw byte message.
pub(crate) const BYTE_MESSAGE: u32 = 1;
/// Options of a Java stream, sent without acknowledgement.
pub(crate) const ASYNCHRONOUS: u32 = 8;

/// `data` as a package.
pub(crate) fn frame(data: &[u8]) -> Vec<u8> {
    framed(
        i32::try_from(data.len()).expect("a small frame"),
        data,
        b"TLF2003",
    )
}

/// A package whose announced length and end are the caller's.
pub(crate) fn framed(announced: i32, data: &[u8], end: &[u8]) -> Vec<u8> {
    [b"FLT2002", &announced.to_be_bytes()[..], data, end].concat()
}

/// The data of a package: `message` from the member at `from`.
pub(crate) fn channel_data(options: u32, from: SocketAddr, message: &[u8]) -> Vec<u8> {
    addressed(options, &member(from, 1, b""), message)
}

/// The same with any bytes in place of the member block.
pub(crate) fn addressed(options: u32, address: &[u8], message: &[u8]) -> Vec<u8> {
    let mut data = options.to_be_bytes().to_vec();
    data.extend(1_700_000_000_000_u64.to_be_bytes());
    for field in [b"0123456789abcdef".as_slice(), address, message] {
        data.extend(
            u32::try_from(field.len())
                .expect("a small field")
                .to_be_bytes(),
        );
        data.extend(field);
    }
    data
}

/// Event types of `SessionMessageImpl`.
pub(crate) const EVT_ALL_SESSION_DATA: i32 = 12;
pub(crate) const EVT_SESSION_DELTA: i32 = 13;
pub(crate) const EVT_CHANGE_SESSION_ID: i32 = 15;

/// A whole frame with a session message in it.
pub(crate) fn session_frame(from: SocketAddr, message: &[u8]) -> Vec<u8> {
    frame(&channel_data(ASYNCHRONOUS, from, message))
}

/// The payload of a delta that sets one attribute `x` to `value`, an object without its header.
pub(crate) fn delta(id: &str, value: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    utf(&mut block, id);
    block.push(0);
    block.extend(1_u32.to_be_bytes());
    block.extend(0_u32.to_be_bytes());
    block.extend(0_u32.to_be_bytes());
    utf(&mut block, "x");
    block.push(1);
    let mut out = b"\xac\xed\x00\x05\x77".to_vec();
    out.push(u8::try_from(block.len()).expect("a short block"));
    out.extend(block);
    out.extend(value);
    out
}

/// `Object[1]` in `Object[1]` in …, `depth` of them.
pub(crate) fn deep(depth: usize) -> Vec<u8> {
    let mut out = vec![0x75];
    class(
        &mut out,
        "[Ljava.lang.Object;",
        -8_012_369_246_846_506_644,
        2,
        0,
    );
    out.extend(b"\x78\x70\x00\x00\x00\x01");
    // The descriptor is the first handle when nothing but block data stands before it.
    for _ in 1..depth {
        out.extend(b"\x75\x71\x00\x7e\x00\x00\x00\x00\x00\x01");
    }
    out.push(0x70);
    out
}

/// An `Object[1]` whose only element is the array itself.
pub(crate) fn cyclic() -> Vec<u8> {
    let mut out = vec![0x75];
    class(
        &mut out,
        "[Ljava.lang.Object;",
        -8_012_369_246_846_506_644,
        2,
        0,
    );
    out.extend(b"\x78\x70\x00\x00\x00\x01\x71\x00\x7e\x00\x01");
    out
}

/// A `byte[]` that announces two gigabytes and brings three bytes.
pub(crate) fn enormous_array() -> Vec<u8> {
    let mut out = vec![0x75];
    class(&mut out, "[B", -5_984_413_125_824_719_648, 2, 0);
    out.extend(b"\x78\x70\x7f\xff\xff\xffabc");
    out
}

/// A long string that announces 2^62 bytes.
pub(crate) fn enormous_string() -> Vec<u8> {
    b"\x7c\x40\x00\x00\x00\x00\x00\x00\x00abc".to_vec()
}

/// A state transfer of two billion sessions that holds none.
pub(crate) fn many_sessions() -> Vec<u8> {
    let mut out = b"\xac\xed\x00\x05\x73".to_vec();
    class(&mut out, "java.lang.Integer", 0x12e2_a0a4_f781_8738, 2, 1);
    out.push(b'I');
    utf(&mut out, "value");
    out.push(0x78);
    class(
        &mut out,
        "java.lang.Number",
        -8_742_448_824_652_078_965,
        2,
        0,
    );
    out.extend(b"\x78\x70\x7f\xff\xff\xff");
    out
}

/// An object of a class that nobody has.
pub(crate) fn of_unknown_class() -> Vec<u8> {
    let mut out = vec![0x73];
    class(&mut out, "com.example.Nobody", 99, 2, 1);
    out.push(b'I');
    utf(&mut out, "n");
    out.extend(b"\x78\x70\x00\x00\x00\x2a");
    out
}
