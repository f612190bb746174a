//! What bytes on the wire are, in words.

use folkmoot_core::channel::rpc::{RpcKind, RpcMessage};
use folkmoot_core::java::{JavaBytes, Limits};
use folkmoot_core::map::MapMessage;
use folkmoot_core::session::{DeltaRequest, EventType, SessionMessage};
use folkmoot_core::wire::{
    Acknowledgement, ChannelData, Control, Deframed, MemberBlock, deframe, read_ack,
};

use crate::group::Parcel;

/// The longest frame worth looking into.
const FRAME_MAX: usize = 256 << 20;

/// One message as a trace shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What kind of message it is, by name: few different ones.
    pub(crate) kind: &'static str,
    /// The session it is about.
    pub(crate) session: Option<String>,
    /// The message in words.
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        let (session, text) = (None, text.into());
        Self {
            kind,
            session,
            text,
        }
    }
}

/// The frames and heartbeats that `bytes` hold, or how many bytes of something they are.
pub fn describe(bytes: &[u8]) -> String {
    if let Some(seen) = datagram(bytes) {
        return seen.text;
    }
    let mut rest = bytes;
    let mut words: Vec<String> = Vec::new();
    while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, FRAME_MAX) {
        words.push(frame(data).text);
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

/// A heartbeat or a goodbye; `None` for anything else.
pub(crate) fn datagram(bytes: &[u8]) -> Option<Seen> {
    let member = MemberBlock::read(bytes).ok()?;
    let kind = if member.is_shutdown() {
        "goodbye"
    } else {
        "heartbeat"
    };
    Some(Seen::new(kind, format!("{kind} {}", host(&member))))
}

/// What is in a frame.
pub(crate) fn frame(data: &[u8]) -> Seen {
    match read_ack(data) {
        Some(Acknowledgement::Ack) => return Seen::new("ACK", "ACK"),
        Some(Acknowledgement::FailAck) => return Seen::new("FAIL_ACK", "FAIL_ACK"),
        None => {}
    }
    let Ok(message) = ChannelData::decode(data) else {
        let text = format!("a frame of {} bytes that holds no message", data.len());
        return Seen::new("no message", text);
    };
    let options = message.options;
    let mut seen = match (
        Control::classify(message.message),
        Parcel::decode(message.message),
    ) {
        (Some(control), _) => {
            let kind = match control {
                Control::TcpFailDetect => "TCP check",
                Control::TcpPing => "ping",
                Control::MemberStart => "static member starts",
                Control::MemberStop => "static member stops",
            };
            Seen::new(kind, format!("{control:?}"))
        }
        (None, Some(parcel)) => Seen::new(
            "parcel",
            format!(
                "parcel n{}.{} lane {} #{}",
                parcel.from, parcel.boot, parcel.lane, parcel.number
            ),
        ),
        (None, None) => map(message.message).unwrap_or_else(|| session(message.message)),
    };
    seen.text.push_str(&format!(" [{options}]"));
    seen
}

/// A message of a replicated map, or a call about one: its kind and the key; `None` for anything else.
fn map(message: &[u8]) -> Option<Seen> {
    if RpcMessage::is_rpc(message) {
        let rpc = RpcMessage::read(message, &Limits::DEFAULT).ok()?;
        let way = match rpc.kind {
            RpcKind::Request => "asks",
            RpcKind::Reply => "answers",
            RpcKind::NoChannel => "answers that it has no such map",
        };
        let Some(about) = MapMessage::read(rpc.message.as_bytes()) else {
            return Some(Seen::new("map call", format!("{way} null")));
        };
        let seen = about_map(&about);
        let text = format!("{way} {}", seen.text);
        return Some(Seen { text, ..seen });
    }
    MapMessage::read(message).map(|message| about_map(&message))
}

fn about_map(message: &MapMessage<'_>) -> Seen {
    let kind = message
        .kind()
        .map_or("unknown map message", |kind| kind.name());
    let key = message.key.unwrap_or_default();
    let key = JavaBytes::new(key.to_vec().into(), &Limits::DEFAULT).ok();
    let session = key.and_then(|key| key.as_string());
    let session = session.map(|key| key.to_string_lossy().into_owned());
    let mut text = kind.to_owned();
    if let Some(session) = &session {
        text.push_str(&format!(" {session}"));
    }
    match (message.diff_value.filter(|_| message.diff), message.value) {
        (Some(diff), _) => text.push_str(&format!(" with a diff of {} bytes", diff.len())),
        (None, Some(value)) => text.push_str(&format!(" with {} bytes", value.len())),
        (None, None) => {}
    }
    Seen {
        kind,
        session,
        text,
    }
}

/// A session message: its kind, its session's id, and the names that a delta changes.
fn session(message: &[u8]) -> Seen {
    let Some(session) = SessionMessage::read(message) else {
        let text = format!("message of {} bytes", message.len());
        return Seen::new("other message", text);
    };
    let (kind, name) = match session.kind() {
        Some(kind) => (kind.name(), kind.name().to_owned()),
        None => {
            let name = format!("session message {}", session.event_type);
            ("unknown session message", name)
        }
    };
    let id = String::from_utf8_lossy(session.session_id.unwrap_or_default()).into_owned();
    let mut text = format!("{name} {id}");
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
    let session = Some(id).filter(|id| !id.is_empty());
    Seen {
        kind,
        session,
        text,
    }
}

fn host(member: &MemberBlock<'_>) -> String {
    match member.socket_addr() {
        Some(address) => address.to_string(),
        None => format!("{:?}", member.host),
    }
}
