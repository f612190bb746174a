//! What the nodes of replicated maps tell each other.

use folkmoot_core::channel::rpc::RpcMessage;
use folkmoot_core::java::{Graph, Limits};
use folkmoot_core::map::{MapMessage, MapState, StateList};

use super::java::LIMITS;

/// An `RpcMessage`, in which there may be a map message.
pub fn rpc_message(input: &[u8]) {
    let Ok(message) = RpcMessage::read(input, &LIMITS) else {
        return;
    };
    let again = message.encode().expect("what was read can be written");
    assert!(RpcMessage::is_rpc(&again));
    let read = RpcMessage::read(&again, &Limits::DEFAULT).expect("what was written can be read");
    let named = |message: &RpcMessage| (message.kind, message.uuid, message.rpc_id.clone());
    assert_eq!(named(&read), named(&message));
    // A class that no Java writer would describe twice in one value is described once in what we write.
    assert_eq!(read.encode().expect("it was read"), again);
    if let Some(reply) = message.no_channel_reply() {
        let stream = reply.encode().expect("there is nothing in it");
        assert_eq!(RpcMessage::read(&stream, &Limits::DEFAULT), Ok(reply));
    }
    map_message(message.message.as_bytes());
}

/// A `MapMessage`, whose value may be a list of them.
pub fn map_message(input: &[u8]) {
    let fast = MapMessage::read(input);
    let normal = MapMessage::normalize(input, &LIMITS);
    let Ok(normal) = normal else {
        // What lies as a Tomcat writes it is a Java stream, unless it is too much of one.
        assert!(fast.is_none() || input.len() > LIMITS.total_bytes);
        return;
    };
    assert!(Graph::parse(&normal, &Limits::DEFAULT).is_ok());
    let again = MapMessage::normalize(&normal, &Limits::DEFAULT);
    assert_eq!(again.as_ref(), Ok(&normal));
    if let (Some(fast), Some(slow)) = (fast, MapMessage::read(&normal)) {
        assert_eq!(fast, slow, "both ways of reading");
        let value = fast.value.unwrap_or_default();
        MapState::from_java(value, &LIMITS);
        state_list(value);
    }
}

/// The list of messages in the reply to STATE.
fn state_list(input: &[u8]) {
    let Ok(list) = StateList::parse(input, &LIMITS) else {
        return;
    };
    let mut kept = 0;
    for message in list.messages().flatten() {
        let parts = [message.key, message.value, message.diff_value];
        kept += parts.into_iter().flatten().map(<[u8]>::len).sum::<usize>();
    }
    assert!(kept <= input.len(), "a list may not grow");
}
