//! Proof that the core without `alloc` neither allocates nor panics.
//!
//! Every function here takes arbitrary bytes to a part of the core, or a member in an arbitrary state to each thing that can be
//! done with it ([`fixed`]), and is exported, so that nothing of it is left out. The
//! library has no allocator: whatever needs one does not compile. Its panic handler calls a function that nobody
//! defines, and its linker accepts no undefined symbol: as long as one path in all this can panic, it does not
//! link. The optimizer has to see that a panic is impossible, so this is built alone, in release, by `.ci/no-alloc`.
#![no_std]

mod fixed;

use folkmoot_core::rng::Rng;
use folkmoot_core::wire::{
    self, ChannelData, Control, DatagramContent, Deframed, MemberBlock, MessageHeader, Reader,
    SendOptions, SliceSink, UniqueId, deframe, frame, member, read_ack,
};

unsafe extern "C" {
    /// Defined nowhere: the linker names it if some path can panic.
    safe fn folkmoot_core_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    folkmoot_core_can_panic()
}

/// The bytes that a caller lends.
///
/// # Safety
///
/// `data` points to `len` readable bytes, or `len` is 0.
unsafe fn lent<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(data, len) }
}

/// Reads `len` bytes as each of the formats; counts what was read, so that nothing is optimized away.
///
/// # Safety
///
/// As [`lent`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_read(data: *const u8, len: usize) -> usize {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    let mut seen = 0usize;
    let mut rest = bytes;
    while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, 1 << 20) {
        rest = rest.get(consumed..).unwrap_or_default();
        seen = seen.wrapping_add(usize::from(read_ack(data).is_some()));
        if let Ok(message) = ChannelData::decode(data) {
            seen = seen.wrapping_add(message.encoded_len());
            seen = seen.wrapping_add(message.options.ack_policy() as usize);
            seen = seen.wrapping_add(usize::from(Control::classify(message.message).is_some()));
            if let Ok(block) = MemberBlock::read(message.address) {
                seen = seen.wrapping_add(usize::from(block.socket_addr().is_some()));
                seen = seen.wrapping_add(usize::from(block.is_shutdown()));
            }
        }
    }
    match DatagramContent::read(bytes) {
        Ok(DatagramContent::Heartbeat(block)) => seen = seen.wrapping_add(block.encoded_len()),
        Ok(DatagramContent::Frames(frames)) => {
            seen = seen.wrapping_add(frames.filter(Result::is_ok).count());
        }
        Err(error) => seen = seen.wrapping_add(error.field.len()),
    }
    if let Ok(text) = core::str::from_utf8(bytes) {
        seen = seen.wrapping_add(usize::from(text.parse::<UniqueId>().is_ok()));
        seen = seen.wrapping_add(usize::from(text.parse::<SendOptions>().is_ok()));
    }
    let (head, tail) = bytes.split_at_checked(len / 2).unwrap_or_default();
    seen.wrapping_add(usize::from(member::same_but_alive(head, tail)))
}

/// Writes a framed message about `data` into `out`; how many bytes it has, or 0 without room.
///
/// # Safety
///
/// As [`lent`]; `out` points to `room` writable bytes, or `room` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_write(
    data: *const u8,
    len: usize,
    out: *mut u8,
    room: usize,
) -> usize {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    let out = match room {
        0 => &mut [],
        // SAFETY: the caller's promise.
        _ => unsafe { core::slice::from_raw_parts_mut(out, room) },
    };
    let mut reader = Reader::new(bytes);
    let mut seed = [0; 32];
    seed.copy_from_slice(&reader.array::<32>("seed").unwrap_or_default());
    let mut rng = Rng::new(seed);
    let unique_id = UniqueId::random(&mut rng);
    let mut to = SliceSink::new(out);
    let block = MemberBlock {
        alive_ms: reader.i64("alive").unwrap_or_default(),
        port: 4000,
        secure_port: -1,
        udp_port: -1,
        host: reader.take(4, "host").unwrap_or_default(),
        command: b"",
        domain: reader.sized(255, "domain").unwrap_or_default(),
        unique_id,
        payload: b"",
        raw: b"",
    };
    let header = MessageHeader {
        options: SendOptions::USE_ACK,
        timestamp_ms: rng.next_u64(),
        unique_id,
        address: reader.rest(),
        message_len: len,
    };
    let written = block
        .write(&mut to)
        .and_then(|()| header.write(&mut to))
        .and_then(|()| wire::Sink::put(&mut to, bytes))
        .and_then(|()| wire::Sink::put(&mut to, &frame::END));
    match written {
        Ok(()) => to.written(),
        Err(wire::Full) => 0,
    }
}

/// A panic that the optimizer cannot remove.
///
/// # Safety
///
/// As [`lent`].
#[cfg(feature = "control-panic")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_control(data: *const u8, len: usize) -> u8 {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    bytes[7]
}

/// Memory from a heap that is not there.
///
/// # Safety
///
/// As [`lent`].
#[cfg(feature = "control-alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_control(data: *const u8, len: usize) -> usize {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    folkmoot_core::java::JavaBytes::from(bytes).as_bytes().len()
}
