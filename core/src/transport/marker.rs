//! How nodes of this implementation know each other.

/// Ends the payload of our member block when [`SenderConfig::pipelining`](crate::channel::SenderConfig::pipelining) is on.
///
/// It says: "I answer the messages of one connection strictly in the order in which they came", which a Tomcat does not
/// promise. Tomcat carries payloads without looking at them. The last two bytes are a version.
pub const MARKER: [u8; 8] = *b"\xf0Fmoot\x01\x00";

/// Whether a member's payload says that it is one of ours.
pub fn is_ours(payload: &[u8]) -> bool {
    payload.ends_with(&MARKER)
}
