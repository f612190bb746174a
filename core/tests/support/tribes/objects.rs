//! Messages that are Java objects: members, RPC, map messages.
//!
//! Each is read through a graph, compared with the fields, and built again from the fields and the members found in it.

use std::sync::Arc;

use folkmoot_core::channel::rpc::{RpcKind, RpcMessage, byte_message, read_byte_message};
use folkmoot_core::java::{
    Boxed, ClassDescriptor, CustomData, FieldValue, Graph, JavaBytes, JavaString, Limits, NodeId,
    Part, Slot,
};
use folkmoot_core::map::{MapMessage, MapMessageType, MapState, StateList};
use folkmoot_core::membership::MemberMessage;
use folkmoot_core::wire::{MemberBlock, UniqueId};

use super::{OK, members};
use crate::support::json::Json;
use crate::support::vector::{Vector, int};
use crate::support::{Checked, Outcome, hex, same, same_bytes};

const MEMBER: &str = "org.apache.catalina.tribes.membership.MemberImpl";
const MEMBER_UID: u64 = 0x8476_f37b_3295_3667;
const STATIC_MEMBER: &str = "org.apache.catalina.tribes.membership.StaticMember";
const STATIC_MEMBER_UID: u64 = 0xa326_0388_7eb6_b8a1;

/// Both flags of an `Externalizable` class.
const EXTERNALIZABLE: u8 = 0x0c;

/// `MemberImpl` or `StaticMember` alone in a stream.
pub(crate) fn member(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let (graph, root) = parse(stream)?;
    let block = member_block(&graph, root)?;
    members::same_fields(vector, &block)?;
    let class = graph.class_name(root).to_string_lossy().into_owned();
    let mut built = Graph::new();
    let member = build_member(&mut built, &class, &block);
    built.push(Some(member));
    vector.same_bytes(&built.encode())?;
    OK
}

/// `RpcMessage` with whatever message.
pub(crate) fn rpc(vector: &Vector) -> Checked {
    let bytes = (vector.has("bytes") || vector.has("bytes_len"))
        .then(|| vector.bytes_or_pattern("bytes"))
        .transpose()?;
    let message = if vector.has("integer") {
        JavaBytes::from(vector.int("integer")? as i32)
    } else if let Some(bytes) = &bytes {
        byte_message(bytes)
    } else {
        java_text(vector.field("message")?).map_or(JavaBytes::NULL, |text| JavaBytes::string(&text))
    };
    let built = RpcMessage {
        kind: match vector.flag("reply")? {
            true => RpcKind::Reply,
            false => RpcKind::Request,
        },
        uuid: uuid(vector)?,
        rpc_id: vector.bytes_or_pattern("rpcId")?.into(),
        message,
    };
    let stream = built.encode().map_err(|error| error.to_string())?;
    vector.same_bytes(&stream)?;

    let read = read_rpc(vector.bytes_or(&stream))?;
    same("kind", read.kind, built.kind)?;
    same("uuid", read.uuid, built.uuid)?;
    same_bytes("rpcId", &read.rpc_id, &built.rpc_id)?;
    if let Some(bytes) = bytes {
        let read = read_byte_message(&read.message, &Limits::DEFAULT);
        return same_bytes("bytes", &read.ok_or("no ByteMessage")?, &bytes).and(OK);
    }
    same("message", read.message, built.message)?;
    OK
}

/// `RpcMessage.NoRpcChannelReply`: uuid and id only.
pub(crate) fn no_rpc_reply(vector: &Vector) -> Checked {
    let request = RpcMessage {
        kind: RpcKind::Request,
        uuid: uuid(vector)?,
        rpc_id: vector.hex("rpcId")?.into(),
        message: JavaBytes::NULL,
    };
    let built = request.no_channel_reply().ok_or("no answer to a request")?;
    same("read", read_rpc(vector.whole()?)?, built.clone())?;
    let stream = built.encode().map_err(|error| error.to_string())?;
    vector.same_bytes(&stream)?;
    OK
}

fn uuid(vector: &Vector) -> Result<UniqueId, String> {
    let uuid: [u8; 16] = vector
        .hex("uuid")?
        .try_into()
        .map_err(|_| "a uuid of another length")?;
    Ok(UniqueId(uuid))
}

/// Reads an RPC message, which must be written again as it was.
fn read_rpc(stream: &[u8]) -> Result<RpcMessage, String> {
    same("is an RPC message", RpcMessage::is_rpc(stream), true)?;
    let read = RpcMessage::read(stream, &Limits::DEFAULT).map_err(|error| error.to_string())?;
    let written = read.encode().map_err(|error| error.to_string())?;
    same_bytes("stream written again", &written, stream)?;
    Ok(read)
}

/// A `String` alone.
pub(crate) fn string(vector: &Vector) -> Checked {
    let text = java_text(vector.field("message")?).ok_or("the message is not text")?;
    let built = JavaBytes::string(&text);
    vector.same_bytes(built.as_bytes())?;
    let (graph, root) = parse(vector.bytes_or(built.as_bytes()))?;
    same("message", graph.text(root), Some(text))?;
    OK
}

/// A `MapMessage`, alone.
pub(crate) fn map_message(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let message = MapMessage::read(stream).ok_or("not laid out as a MapMessage")?;
    same(
        "msgtype",
        i64::from(message.msgtype),
        vector.int("msgtype")?,
    )?;
    same("kind", message.kind().is_some(), true)?;
    same("diff", message.diff, vector.flag("diff")?)?;
    same(
        "mapId",
        message.map_id.map(<[u8]>::to_vec),
        Some(vector.hex("mapId")?),
    )?;
    same(
        "key",
        string_in(message.key)?,
        java_text(vector.field("key")?),
    )?;
    if vector.has("enum") {
        let value = message.value.ok_or("there is no value")?;
        let state = MapState::from_java(value, &Limits::DEFAULT);
        let name = state.map(MapState::name);
        same("enum", name, Some(vector.text("enum")?))?;
        let written = state.map(MapState::to_java);
        same_bytes("enum", written.ok_or("no state")?.as_bytes(), value)?;
    } else {
        same(
            "value",
            string_in(message.value)?,
            java_text(vector.field("value")?),
        )?;
    }
    if vector.has("diffvalue") {
        same(
            "diffvalue",
            message.diff_value.map(<[u8]>::to_vec),
            Some(vector.hex("diffvalue")?),
        )?;
    } else {
        same("diffvalue", message.diff_value.is_some(), false)?;
    }
    let port = message.primary.as_deref().map(port).transpose()?;
    same("primary_port", port, int(vector.field("primary_port")?))?;
    let wanted = vector.field("node_ports")?.as_list();
    let wanted = wanted.map(|ports| ports.iter().filter_map(int).collect::<Vec<_>>());
    same("node_ports", ports(&message)?, wanted)?;

    let mut built = vec![];
    message.write(&mut built);
    vector.same_bytes(&built)?;
    let normal = MapMessage::normalize(stream, &Limits::DEFAULT);
    let normal = normal.map_err(|error| error.to_string())?;
    same_bytes("message by way of a graph", &normal, stream)?;
    OK
}

fn ports(message: &MapMessage<'_>) -> Result<Option<Vec<i64>>, String> {
    let ports = message.nodes.as_ref().map(|nodes| {
        let ports = nodes.iter().map(|block| port(block));
        ports.collect()
    });
    ports.transpose()
}

/// The reply to MSG_STATE: an RPC message, a map message in it, a list of map messages in that.
pub(crate) fn map_state_reply(vector: &Vector) -> Checked {
    let reply = read_rpc(vector.whole()?)?;
    same("reply", reply.kind == RpcKind::Reply, vector.flag("reply")?)?;
    same("uuid", reply.uuid, uuid(vector)?)?;
    same_bytes("rpcId", &reply.rpc_id, &vector.hex("rpcId")?)?;
    let message = MapMessage::read(reply.message.as_bytes()).ok_or("no MapMessage inside")?;
    same(
        "msgtype",
        i64::from(message.msgtype),
        vector.int("msgtype")?,
    )?;

    let list = StateList::parse(message.value.ok_or("there is no value")?, &Limits::DEFAULT)
        .map_err(|error| error.to_string())?;
    let mut keys = vec![];
    for element in list.messages() {
        let element = element.map_err(|error| error.to_string())?;
        same("kind", element.kind(), Some(MapMessageType::Proxy))?;
        keys.push(string_in(element.key)?);
    }
    let wanted: Vec<_> = vector.list("keys")?.iter().map(java_text).collect();
    same("keys", keys, wanted)?;
    OK
}

/// `StaticMembershipProvider.MemberMessage`.
pub(crate) fn member_message(vector: &Vector) -> Checked {
    let (graph, root) = parse(vector.whole()?)?;
    let kind = primitive(&graph, root, "msgtype")?;
    let id = byte_array(&graph, root, "membershipId")?.ok_or("no membershipId")?;
    let member = reference(&graph, root, "member")?.ok_or("no member")?;
    let block = member_block(&graph, member)?;
    same(
        "msgtype",
        kind,
        Boxed::Integer(vector.int("msgtype")? as i32),
    )?;
    same_bytes("membershipId", &id, &vector.hex("membershipId")?)?;
    same("member_port", port(&block)?, vector.int("member_port")?)?;

    let message = MemberMessage::read(vector.whole()?).ok_or("not read")?;
    same(
        "port",
        i64::from(message.member.port),
        vector.int("member_port")?,
    )?;
    vector.same_bytes(message.encode().as_bytes())?;
    OK
}

/// Every message that the nodes of a map exchanged: read, written again, and told in the words of the record.
pub(crate) fn trace(vector: &Vector) -> Checked {
    for (at, step) in vector.list("steps")?.iter().enumerate() {
        let in_step = |difference: String| format!("step {at}: {difference}");
        let text = |name| {
            step[name]
                .as_str()
                .ok_or_else(|| format!("step {at} has no {name}"))
        };
        let stream =
            hex::decode(text("hex")?).ok_or_else(|| format!("step {at}: not hexadecimal"))?;
        let told = told(&stream).map_err(in_step)?;
        same("message", told.as_str(), text("what")?).map_err(in_step)?;
    }
    Ok(Outcome::Partly(
        "what a replicated map does with these messages",
    ))
}

/// A message of a map in the words of a trace.
fn told(stream: &[u8]) -> Result<String, String> {
    let (mut told, stream) = if RpcMessage::is_rpc(stream) {
        let rpc = read_rpc(stream)?;
        let what = match rpc.kind {
            RpcKind::Request => "rpc-request ",
            RpcKind::Reply => "rpc-reply ",
            RpcKind::NoChannel => "no-rpc-channel ",
        };
        (what.to_owned(), rpc.message.bytes().clone())
    } else {
        (String::new(), stream.to_vec().into())
    };
    let message = MapMessage::read(&stream).ok_or("not laid out as a MapMessage")?;
    let mut written = vec![];
    message.write(&mut written);
    same_bytes("message written again", &written, &stream)?;
    told += "MSG_";
    told += message.kind().ok_or("an unknown kind")?.name();
    if let Some(key) = string_in(message.key)? {
        told += &format!(" key={}", key.to_string_lossy());
    }
    if let Some(primary) = message.primary.as_deref().map(port).transpose()? {
        told += &format!(" primary={primary}");
    }
    if let Some(ports) = ports(&message)? {
        let ports: Vec<_> = ports.iter().map(i64::to_string).collect();
        told += &format!(" nodes=[{}]", ports.join(","));
    }
    Ok(told)
}

/// Reads a stream of one object, which must be written again as it was.
fn parse(stream: &[u8]) -> Result<(Graph, NodeId), String> {
    let graph = Graph::parse(stream, &Limits::DEFAULT).map_err(|error| error.to_string())?;
    same_bytes("stream written again", &graph.encode(), stream)?;
    let root = graph.root().ok_or("the stream holds no object")?;
    Ok((graph, root))
}

/// Text of a field; `None` for null.
fn java_text(value: &Json) -> Option<JavaString> {
    value
        .as_text()
        .map(|text| JavaString::from_utf16(&text.units))
}

/// The string that a key or a value of a map is.
fn string_in(stream: Option<&[u8]>) -> Result<Option<JavaString>, String> {
    let Some(stream) = stream else {
        return Ok(None);
    };
    let (graph, root) = parse(stream)?;
    graph
        .text(root)
        .map(Some)
        .ok_or_else(|| "not a string".to_owned())
}

fn custom<'g>(graph: &'g Graph, node: NodeId, class: &str) -> Result<CustomData<'g>, String> {
    let data = graph.custom_data(node, class.as_bytes());
    data.ok_or_else(|| {
        format!(
            "no {class}, but {}",
            graph.class_name(node).to_string_lossy()
        )
    })
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// The block inside a `MemberImpl` or `StaticMember`, which must be read and written again as it was.
fn member_block(graph: &Graph, node: NodeId) -> Result<Vec<u8>, String> {
    let class = graph.class_name(node);
    let block = custom(graph, node, &class.to_string_lossy())?
        .sized()
        .ok_or("no block")?;
    super::messages::same_block(&block)?;
    Ok(block)
}

fn port(block: &[u8]) -> Result<i64, String> {
    let block = MemberBlock::read(block).map_err(|error| error.to_string())?;
    Ok(i64::from(block.port))
}

fn reference(graph: &Graph, node: NodeId, field: &str) -> Result<Slot, String> {
    match graph.field(node, field) {
        Some(FieldValue::Reference(slot)) => Ok(slot),
        other => Err(format!("{field} is {other:?}")),
    }
}

fn primitive(graph: &Graph, node: NodeId, field: &str) -> Result<Boxed, String> {
    match graph.field(node, field) {
        Some(FieldValue::Primitive(value)) => Ok(value),
        other => Err(format!("{field} is {other:?}")),
    }
}

fn byte_array(graph: &Graph, node: NodeId, field: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(array) = reference(graph, node, field)? else {
        return Ok(None);
    };
    let bytes = graph.primitive_array(array).map(<[u8]>::to_vec);
    bytes
        .map(Some)
        .ok_or_else(|| format!("{field} is no byte array"))
}

fn build_member(graph: &mut Graph, class: &str, block: &[u8]) -> NodeId {
    let member = external(MEMBER, MEMBER_UID, None);
    let class = match class {
        STATIC_MEMBER => external(STATIC_MEMBER, STATIC_MEMBER_UID, Some(member)),
        _ => member,
    };
    let class = graph.add_class(&class);
    graph.add_object(class, &[Part::Data(&sized(block)), Part::End])
}

fn external(name: &str, uid: u64, superclass: Option<ClassDescriptor>) -> ClassDescriptor {
    ClassDescriptor {
        name: JavaString::from(name),
        uid: uid.cast_signed(),
        flags: EXTERNALIZABLE,
        fields: vec![],
        superclass: superclass.map(Arc::new),
    }
}
