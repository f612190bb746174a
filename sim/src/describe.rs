//! What bytes on the wire are, in words.

use folkmoot_core::java::Limits;
use folkmoot_core::session::{DeltaRequest, EventType, SessionMessage};
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
        (None, None) => session(message.message),
    };
    format!("{what} [{options}]")
}

/// A session message: its kind, the first digits of its session's id, and the names that a delta changes.
fn session(message: &[u8]) -> String {
    let Some(session) = SessionMessage::read(message) else {
        return format!("message of {} bytes", message.len());
    };
    let kind = match session.kind() {
        Some(kind) => kind.name().to_owned(),
        None => format!("session message {}", session.event_type),
    };
    let id = String::from_utf8_lossy(session.session_id.unwrap_or_default()).into_owned();
    let mut text = format!("{kind} {id}");
    if let Some(payload) = session.session {
        match DeltaRequest::read(payload, &Limits::DEFAULT) {
            Ok(delta) if session.kind() == Some(EventType::SessionDelta) => {
                for action in &delta.actions {
                    text.push_str(&format!(" {}", action.name.to_string_lossy()));
                }
            }
            _ => text.push_str(&format!(" with {} bytes", payload.len())),
        }
    }
    text
}

fn host(member: &MemberBlock<'_>) -> String {
    match member.socket_addr() {
        Some(address) => address.to_string(),
        None => format!("{:?}", member.host),
    }
}
