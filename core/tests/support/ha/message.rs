//! `SessionMessageImpl`.

use folkmoot_core::java::Limits;
use folkmoot_core::session::{EventType, SessionMessage, Sharing};

use super::streams::parsed;
use super::{OK, flag, number, text};
use crate::support::vector::Vector;
use crate::support::{Checked, hex, same, same_bytes};

/// Read and compared, and built from its fields.
pub(super) fn check(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    parsed(stream)?;
    let read = SessionMessage::read(stream).ok_or("not read as a session message")?;
    let fields = &vector.fields;
    let kind = number(fields, "eventType")?;
    same("event", i64::from(read.event_type), kind)?;
    if let Some(name) = fields["eventName"].as_str() {
        let known =
            EventType::from_number(kind as i32).map_or("UNKNOWN-EVENT-TYPE", EventType::name);
        same("event's name", known, name)?;
    }
    let [context, id, unique] =
        ["contextName", "sessionId", "uniqueId"].map(|name| text(&fields[name]));
    let (context, id, unique) = (context?, id?, unique?);
    let payload = match fields["session"].as_str() {
        Some(text) => Some(hex::decode(text).ok_or("field session is not hexadecimal")?),
        None => None,
    };
    let built = SessionMessage {
        base_timestamp_ms: number(fields, "baseTimestamp")?,
        event_type: kind as i32,
        timestamp_ms: number(fields, "serializationTimestamp")?,
        timestamp_set: flag(fields, "timestampSet")?,
        context_name: context.as_ref().map(|text| text.as_modified_utf8()),
        session: payload.as_deref(),
        session_id: id.as_ref().map(|text| text.as_modified_utf8()),
        unique_id: unique.as_ref().map(|text| text.as_modified_utf8()),
        // The fields do not say which of the texts are one object.
        sharing: read.sharing,
    };
    same("message", &read, &built)?;
    let mut bytes = vec![];
    built.write(&mut bytes);
    same_bytes("message built from its fields", &bytes, stream)?;
    if built.sharing == Sharing::default() {
        same("announced length", built.encoded_len(), bytes.len())?;
    }
    // However it is laid out, it is read as the same message.
    let normal = SessionMessage::normalize(stream, &Limits::default());
    let normal = normal.map_err(|error| error.to_string())?;
    let plain = SessionMessage {
        sharing: Sharing::default(),
        ..built
    };
    same(
        "message brought into its usual layout",
        SessionMessage::read(&normal),
        Some(plain),
    )?;
    for cut in 0..stream.len() {
        same(
            "a message cut off",
            SessionMessage::read(&stream[..cut]),
            None,
        )?;
    }
    OK
}
