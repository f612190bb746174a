//! Messages that are Java objects: members, RPC, map messages.
//!
//! Each is read through a graph, compared with the fields, and built again from the fields and the members found in it.

use std::sync::Arc;

use folkmoot_core::channel::rpc::{RpcKind, RpcMessage, byte_message, read_byte_message};
use folkmoot_core::java::{
    Boxed, ClassDescriptor, CustomData, FieldDescriptor, FieldValue, Graph, JavaBytes, JavaString,
    Limits, NodeId, Part, Slot,
};
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
const MAP_MESSAGE: &str = "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage";

/// Both flags of an `Externalizable` class.
const EXTERNALIZABLE: u8 = 0x0c;
const SERIALIZABLE: u8 = 0x02;

/// `AbstractReplicatedMap.MapMessage.MSG_*`, from 1.
const MAP_MESSAGES: [&str; 13] = [
    "BACKUP",
    "RETRIEVE_BACKUP",
    "PROXY",
    "REMOVE",
    "STATE",
    "START",
    "STOP",
    "INIT",
    "COPY",
    "STATE_COPY",
    "ACCESS",
    "NOTIFY_MAPMEMBER",
    "PING",
];

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
    let (graph, root) = parse(vector.whole()?)?;
    let message = MapMessage::read(&graph, root)?;
    same("msgtype", i64::from(message.kind), vector.int("msgtype")?)?;
    same("diff", message.diff, vector.flag("diff")?)?;
    same(
        "mapId",
        message.map_id.as_deref(),
        Some(&vector.hex("mapId")?[..]),
    )?;
    same(
        "key",
        string_in(message.key.as_deref())?,
        java_text(vector.field("key")?),
    )?;
    if vector.has("enum") {
        let value = message.value.as_deref().ok_or("there is no value")?;
        let (graph, root) = parse(value)?;
        let name = graph
            .enum_name(root)
            .map(|name| name.to_string_lossy().into_owned());
        same("enum", name.as_deref(), Some(vector.text("enum")?))?;
    } else {
        same(
            "value",
            string_in(message.value.as_deref())?,
            java_text(vector.field("value")?),
        )?;
    }
    if vector.has("diffvalue") {
        same(
            "diffvalue",
            message.diff_value.as_deref(),
            Some(&vector.hex("diffvalue")?[..]),
        )?;
    } else {
        same("diffvalue", message.diff_value.is_some(), false)?;
    }
    let port = message.primary.as_deref().map(port).transpose()?;
    same("primary_port", port, int(vector.field("primary_port")?))?;
    let ports = message.ports()?;
    let wanted = vector.field("node_ports")?.as_list();
    let wanted = wanted.map(|ports| ports.iter().filter_map(int).collect::<Vec<_>>());
    same("node_ports", ports, wanted)?;

    let mut built = Graph::new();
    let message = message.build(&mut built);
    built.push(Some(message));
    vector.same_bytes(&built.encode())?;
    OK
}

/// The reply to MSG_STATE: an RPC message, a map message in it, a list of map messages in that.
pub(crate) fn map_state_reply(vector: &Vector) -> Checked {
    let reply = read_rpc(vector.whole()?)?;
    same("reply", reply.kind == RpcKind::Reply, vector.flag("reply")?)?;
    same("uuid", reply.uuid, uuid(vector)?)?;
    same_bytes("rpcId", &reply.rpc_id, &vector.hex("rpcId")?)?;
    let (graph, root) = parse(reply.message.as_bytes())?;
    let message = MapMessage::read(&graph, root)?;
    same("msgtype", i64::from(message.kind), vector.int("msgtype")?)?;

    let value = message.value.as_deref().ok_or("there is no value")?;
    let (list, root) = parse(value)?;
    let mut elements = custom(&list, root, "java.util.ArrayList")?;
    let keys = vector.list("keys")?;
    same("capacity", elements.i32(), Some(keys.len() as i32))?;
    for key in keys {
        let element = elements.slot().flatten().ok_or("the list is too short")?;
        let element = MapMessage::read(&list, element)?;
        same("message", element.name(), "PROXY")?;
        same("key", string_in(element.key.as_deref())?, java_text(key))?;
    }
    same("more elements", elements.slot(), None)?;
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
    let (graph, root) = parse(&stream)?;
    let message = MapMessage::read(&graph, root)?;
    told += "MSG_";
    told += message.name();
    if let Some(key) = string_in(message.key.as_deref())? {
        told += &format!(" key={}", key.to_string_lossy());
    }
    if let Some(primary) = message.primary.as_deref().map(port).transpose()? {
        told += &format!(" primary={primary}");
    }
    if let Some(ports) = message.ports()? {
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

/// The fields of a `MapMessage`; members as their blocks.
struct MapMessage {
    diff: bool,
    kind: i32,
    diff_value: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    map_id: Option<Vec<u8>>,
    nodes: Option<Vec<Vec<u8>>>,
    primary: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl MapMessage {
    fn read(graph: &Graph, node: NodeId) -> Result<Self, String> {
        same(
            "class",
            graph.class_name(node).to_string_lossy().as_ref(),
            MAP_MESSAGE,
        )?;
        let (Boxed::Boolean(diff), Boxed::Integer(kind)) = (
            primitive(graph, node, "diff")?,
            primitive(graph, node, "msgtype")?,
        ) else {
            return Err("diff or msgtype has another type".to_owned());
        };
        let block = |slot: Slot| member_block(graph, slot.ok_or("a member is null")?);
        let nodes = match reference(graph, node, "nodes")? {
            None => None,
            Some(array) => {
                let nodes = graph.object_array(array).ok_or("nodes is no array")?;
                Some(nodes.into_iter().map(block).collect::<Result<_, _>>()?)
            }
        };
        let primary = reference(graph, node, "primary")?;
        Ok(Self {
            diff,
            kind,
            diff_value: byte_array(graph, node, "diffvalue")?,
            key: byte_array(graph, node, "keydata")?,
            map_id: byte_array(graph, node, "mapId")?,
            nodes,
            primary: primary.map(|node| block(Some(node))).transpose()?,
            value: byte_array(graph, node, "valuedata")?,
        })
    }

    fn name(&self) -> &'static str {
        let at = usize::try_from(self.kind - 1).ok();
        at.and_then(|at| MAP_MESSAGES.get(at))
            .copied()
            .unwrap_or("?")
    }

    fn ports(&self) -> Result<Option<Vec<i64>>, String> {
        let ports = self
            .nodes
            .as_ref()
            .map(|nodes| nodes.iter().map(|block| port(block)).collect());
        ports.transpose()
    }

    /// The same as a new object.
    fn build(&self, graph: &mut Graph) -> NodeId {
        let class = graph.add_class(&serializable(
            MAP_MESSAGE,
            &[
                ("diff", "Z"),
                ("msgtype", "I"),
                ("diffvalue", "[B"),
                ("keydata", "[B"),
                ("mapId", "[B"),
                ("nodes", "[Lorg/apache/catalina/tribes/Member;"),
                ("primary", "Lorg/apache/catalina/tribes/Member;"),
                ("valuedata", "[B"),
            ],
        ));
        let mut primitives = vec![u8::from(self.diff)];
        primitives.extend(self.kind.to_be_bytes());
        let diff_value = build_bytes(graph, self.diff_value.as_deref());
        let key = build_bytes(graph, self.key.as_deref());
        let map_id = build_bytes(graph, self.map_id.as_deref());
        let nodes = self.nodes.as_ref().map(|nodes| {
            let members: Vec<Slot> = nodes
                .iter()
                .map(|block| Some(build_member(graph, MEMBER, block)))
                .collect();
            let class = array_class(
                "[Lorg.apache.catalina.tribes.Member;",
                0x5ec4_606b_842d_393c,
            );
            let class = graph.add_class(&class);
            graph.add_array(class, &members)
        });
        let primary = self
            .primary
            .as_ref()
            .map(|block| build_member(graph, MEMBER, block));
        let value = build_bytes(graph, self.value.as_deref());
        let objects = [diff_value, key, map_id, nodes, primary, value].map(Part::Value);
        let parts: Vec<_> = [Part::Primitives(&primitives)]
            .into_iter()
            .chain(objects)
            .collect();
        graph.add_object(class, &parts)
    }
}

fn build_bytes(graph: &mut Graph, bytes: Option<&[u8]>) -> Slot {
    let bytes = bytes?;
    let class = graph.add_class(&array_class("[B", 0xacf3_17f8_0608_54e0));
    Some(graph.add_primitive_array(class, bytes))
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

fn serializable(name: &str, fields: &[(&str, &str)]) -> ClassDescriptor {
    let field = |&(name, signature): &(&str, &str)| FieldDescriptor {
        name: JavaString::from(name),
        signature: JavaString::from(signature),
    };
    ClassDescriptor {
        name: JavaString::from(name),
        uid: 1,
        flags: SERIALIZABLE,
        fields: fields.iter().map(field).collect(),
        superclass: None,
    }
}

fn array_class(name: &str, uid: u64) -> ClassDescriptor {
    ClassDescriptor {
        uid: uid.cast_signed(),
        ..serializable(name, &[])
    }
}
