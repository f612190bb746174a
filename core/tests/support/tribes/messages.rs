//! `ChannelData` in its frame.

use folkmoot_core::wire::datagram::DatagramContent;
use folkmoot_core::wire::frame::{self, Deframed, deframe};
use folkmoot_core::wire::{
    ChannelData, Control, MemberBlock, MessageHeader, SendOptions, UniqueId,
};

use super::OK;
use super::node::Node;
use crate::support::vector::Vector;
use crate::support::{Checked, same, same_bytes};

pub(crate) fn framed(vector: &Vector) -> Checked {
    let built = built(vector)?;
    vector.same_bytes(&built)?;
    let address = same_fields(vector, vector.bytes_or(&built))?;
    same_block(&address)?;
    received(vector, &built)?;
    OK
}

/// As [`framed`], but what it has for an address is refused.
pub(crate) fn without_address(vector: &Vector) -> Checked {
    let built = built(vector)?;
    vector.same_bytes(&built)?;
    let address = same_fields(vector, vector.bytes_or(&built))?;
    if let Ok(block) = MemberBlock::read(&address) {
        return Err(format!("accepted {block} as the sender"));
    }
    let mut node = Node::receiver();
    let conn = node.accept();
    same("reply", node.read(conn, &built, usize::MAX).len(), 0)?;
    same("closed", &node.closed, &vec![conn])?;
    same(
        "bad member blocks",
        node.channel.stats().bad.member_block,
        1,
    )?;
    same("messages", node.listener.received.len(), 0)?;
    OK
}

/// Hands the frame to a channel: its listener gets what the fields say, or the channel takes the message for itself.
fn received(vector: &Vector, frame: &[u8]) -> Result<(), String> {
    let mut node = Node::receiver();
    let conn = node.accept();
    node.read(conn, frame, usize::MAX);
    same(
        "reasons to refuse it",
        node.refusals(),
        Vec::<String>::new(),
    )?;
    let message = vector.bytes_or_pattern("message")?;
    let for_the_channel = Control::classify(&message).is_some();
    let received = match node.listener.received.as_slice() {
        [] if for_the_channel => return Ok(()),
        [received] => received,
        all => return Err(format!("the listener got {} messages", all.len())),
    };
    same(
        "received options",
        received.options.bits(),
        vector.int("options")? as u32,
    )?;
    same(
        "received timestamp",
        received.timestamp_ms,
        vector.int("timestamp")? as u64,
    )?;
    same_bytes(
        "received unique id",
        &received.unique_id,
        &vector.hex("uniqueId")?,
    )?;
    same_bytes("received message", &received.message, &message)
}

/// As [`framed`], in one datagram.
pub(crate) fn broadcast(vector: &Vector) -> Checked {
    let built = built(vector)?;
    let datagram = vector.bytes_or(&built);
    match DatagramContent::read(datagram) {
        Ok(DatagramContent::Frames(frames)) => same("frames", frames.count(), 1)?,
        other => return Err(format!("not frames: {other:?}")),
    }
    framed(vector)
}

/// The frame that the fields describe, written in both ways there are.
fn built(vector: &Vector) -> Result<Vec<u8>, String> {
    let (id, address) = (vector.hex("uniqueId")?, vector.hex("member")?);
    let data = ChannelData {
        options: SendOptions::from_bits(vector.int("options")? as u32),
        timestamp_ms: vector.int("timestamp")? as u64,
        unique_id: &id,
        address: &address,
        message: &vector.bytes_or_pattern("message")?,
    };
    let mut whole = vec![];
    data.write_frame(&mut whole)
        .map_err(|error| error.to_string())?;
    same(
        "encoded_len",
        data.encoded_len() + frame::OVERHEAD,
        whole.len(),
    )?;
    if let Ok(unique_id) = <[u8; 16]>::try_from(data.unique_id) {
        let header = MessageHeader {
            options: data.options,
            timestamp_ms: data.timestamp_ms,
            unique_id: UniqueId(unique_id),
            address: data.address,
            message_len: data.message.len(),
        };
        let mut parts = vec![];
        header
            .write(&mut parts)
            .map_err(|error| error.to_string())?;
        same(
            "header length",
            MessageHeader::encoded_len(address.len()),
            parts.len(),
        )?;
        parts.extend_from_slice(data.message);
        parts.extend_from_slice(&frame::END);
        same("frame length", header.frame_len(), parts.len())?;
        same_bytes("frame made of header, message and end", &parts, &whole)?;
    }
    Ok(whole)
}

/// Compares the decoded frame with the fields; returns its address.
fn same_fields(vector: &Vector, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let Ok(Deframed::Frame { data, consumed }) = deframe(bytes, bytes.len()) else {
        return Err("not a frame".to_owned());
    };
    same("consumed bytes", consumed, bytes.len())?;
    let read = ChannelData::decode(data).map_err(|error| error.to_string())?;
    same(
        "options",
        read.options.bits(),
        vector.int("options")? as u32,
    )?;
    same(
        "timestamp",
        read.timestamp_ms,
        vector.int("timestamp")? as u64,
    )?;
    same_bytes("unique id", read.unique_id, &vector.hex("uniqueId")?)?;
    same_bytes("address", read.address, &vector.hex("member")?)?;
    same_bytes(
        "message",
        read.message,
        &vector.bytes_or_pattern("message")?,
    )?;
    Ok(read.address.to_vec())
}

/// Whether `address` is a block that is written again as it was.
pub(crate) fn same_block(address: &[u8]) -> Result<(), String> {
    let block = MemberBlock::read(address).map_err(|error| error.to_string())?;
    let mut again = vec![];
    block.write(&mut again).map_err(|error| error.to_string())?;
    same_bytes("address written again", &again, address)
}
