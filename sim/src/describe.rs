//! What bytes on the wire are, in words.

use folkmoot_core::wire::{
    Acknowledgement, ChannelData, Control, Deframed, MemberBlock, deframe, read_ack,
};

use crate::group::Parcel;

/// The longest frame worth looking into.
const FRAME_MAX: usize = 256 << 20;

/// The frames and heartbeats that `bytes` hold, or how many bytes of something they are.
pub fn describe(bytes: &[u8]) -> String {
    if let Ok(member) = MemberBlock::read(bytes) {
        let what = if member.is_shutdown() {
            "goodbye"
        } else {
            "heartbeat"
        };
        return format!("{what} {}", host(&member));
    }
    let mut rest = bytes;
    let mut words: Vec<String> = Vec::new();
    while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, FRAME_MAX) {
        words.push(frame(data));
        rest = rest.get(consumed..).unwrap_or_default();
    }
    if !rest.is_empty() {
        words.push(format!("{} bytes of a frame", rest.len()));
    }
    // Ten ACKs in a row are one word.
    let mut text = String::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let same = words
            .iter()
            .skip(at)
            .take_while(|other| *other == word)
            .count();
        if !text.is_empty() {
            text.push_str(", ");
        }
        if same > 1 {
            text.push_str(&format!("{same} × "));
        }
        text.push_str(word);
        at += same;
    }
    text
}

fn frame(data: &[u8]) -> String {
    match read_ack(data) {
        Some(Acknowledgement::Ack) => return "ACK".into(),
        Some(Acknowledgement::FailAck) => return "FAIL_ACK".into(),
        None => {}
    }
    let Ok(message) = ChannelData::decode(data) else {
        return format!("a frame of {} bytes that holds no message", data.len());
    };
    let options = message.options;
    let what = match (
        Control::classify(message.message),
        Parcel::decode(message.message),
    ) {
        (Some(control), _) => format!("{control:?}"),
        (None, Some(parcel)) => format!(
            "parcel n{}.{} lane {} #{}",
            parcel.from, parcel.boot, parcel.lane, parcel.number
        ),
        (None, None) => format!("message of {} bytes", message.message.len()),
    };
    format!("{what} [{options}]")
}

fn host(member: &MemberBlock<'_>) -> String {
    match member.socket_addr() {
        Some(address) => address.to_string(),
        None => format!("{:?}", member.host),
    }
}
