//! Messages of the session layer that are not about sessions, recordings of whole scenarios, and damage.

use folkmoot_core::channel::rpc::RpcMessage;
use folkmoot_core::java::{FieldValue, Graph, Limits};
use folkmoot_core::map::MapMessage;
use folkmoot_core::session::{
    DeltaRequest, EventType, SessionMessage, SessionRecord, StateReader, read_new_session_id,
};

use super::OK;
use super::compare::same_value;
use super::streams::parsed;
use crate::support::json::Json;
use crate::support::vector::{Vector, int, sha256_hex};
use crate::support::{Checked, hex, same, same_bytes};

/// What fields of a description are called on the wire, where that differs.
const RENAMED: &[(&str, &str)] = &[("msgType", "msgtype"), ("baseTimestamp", "timestamp")];

/// `FileMessage`, `UndeployMessage`, `MapMessage`: carried unchanged, and read field by field.
pub(super) fn described(vector: &Vector) -> Checked {
    let graph = parsed(vector.whole()?)?;
    let root = graph.root().ok_or("no object")?;
    for (name, shown) in vector.fields.as_object().unwrap_or_default() {
        let wire = RENAMED
            .iter()
            .find_map(|(shown, wire)| (shown == name).then_some(*wire))
            .unwrap_or(name);
        match name.as_str() {
            "class" => {
                let read = graph.class_name(root).to_string();
                let class = shown.as_str().unwrap_or_default();
                same("class", read.ends_with(class), true)?;
            }
            "key" | "value" => inner(&graph, root, &format!("{name}data"), shown)?,
            "diffValue" => same_bytes_field(&graph, root, "diffvalue", shown)?,
            "mapId" => text_bytes(&graph, root, shown)?,
            "arrayLength" => {
                let len = array(&graph, root, "data")?.map(|bytes| bytes.len() as i64);
                same("array's length", len, int(shown))?;
            }
            // Of the whole array, what an earlier chunk left in it included.
            "dataSha256" => {
                let data = array(&graph, root, "data")?.ok_or("no data")?;
                same("SHA-256", Some(sha256_hex(data).as_str()), shown.as_str())?;
            }
            "primary" | "member" => same(
                name,
                slot(
                    &graph,
                    root,
                    if name == "member" { "address" } else { name },
                )?
                .is_some(),
                !shown.is_null(),
            )?,
            "nodes" => {
                let nodes = slot(&graph, root, name)?.and_then(|nodes| graph.array_len(nodes));
                same("nodes", nodes, shown.as_list().map(<[Json]>::len))?;
            }
            _ => plain(&graph, root, wire, shown)?,
        }
    }
    OK
}

/// A session that Tomcat cannot read either: refused, and not by waiting.
pub(super) fn damaged(vector: &Vector) -> Checked {
    let read = SessionRecord::read_object(vector.whole()?, &Limits::default());
    same("read", read.is_ok(), false)?;
    OK
}

/// A message of a scenario that was recorded live: carried unchanged; a session message and its payload are read.
pub(super) fn live(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    parsed(stream)?;
    if MapMessage::is_map_message(stream) {
        let normal = MapMessage::normalize(stream, &Limits::default());
        let normal = normal.map_err(|error| error.to_string())?;
        let read = MapMessage::read(&normal).ok_or("not laid out as a MapMessage")?;
        same(
            "map id",
            read.map_id,
            Some(b"localhost#/app-map".as_slice()),
        )?;
        same("kind", read.kind().is_some(), true)?;
        // Static members are objects of another class, which are written as plain members.
        if !stream.windows(12).any(|window| window == b"StaticMember") {
            same_bytes("map message written again", &normal, stream)?;
        }
        return OK;
    }
    if RpcMessage::is_rpc(stream) {
        let read = RpcMessage::read(stream, &Limits::default());
        let read = read.map_err(|error| error.to_string())?;
        let again = read.encode().map_err(|error| error.to_string())?;
        same_bytes("RPC message written again", &again, stream)?;
        return OK;
    }
    let Some(message) = SessionMessage::read(stream) else {
        return OK;
    };
    let mut again = vec![];
    message.write(&mut again);
    same_bytes("message written again", &again, stream)?;
    let limits = Limits::default();
    let payload = message.session.unwrap_or_default();
    if !payload.is_empty() {
        parsed(payload)?;
    }
    match message.kind().ok_or("an unknown event")? {
        EventType::SessionDelta => {
            let delta = DeltaRequest::read(payload, &limits).map_err(|error| error.to_string())?;
            same(
                "id in the delta",
                Some(delta.session_id.as_modified_utf8()),
                message.session_id,
            )?;
        }
        EventType::AllSessionData => {
            let mut reader =
                StateReader::new(payload, &limits).map_err(|error| error.to_string())?;
            while reader
                .next_session()
                .map_err(|error| error.to_string())?
                .is_some()
            {}
            reader.finish().map_err(|error| error.to_string())?;
        }
        EventType::ChangeSessionId => {
            read_new_session_id(payload, &limits).map_err(|error| error.to_string())?;
        }
        _ => same("payload", message.session, None)?,
    }
    OK
}

type Root = folkmoot_core::java::NodeId;

fn slot(graph: &Graph, root: Root, name: &str) -> Result<folkmoot_core::java::Slot, String> {
    match graph.field(root, name) {
        Some(FieldValue::Reference(slot)) => Ok(slot),
        _ => Err(format!("no object field {name}")),
    }
}

fn array<'a>(graph: &'a Graph, root: Root, name: &str) -> Result<Option<&'a [u8]>, String> {
    Ok(slot(graph, root, name)?.and_then(|node| graph.primitive_array(node)))
}

/// A primitive or a text.
fn plain(graph: &Graph, root: Root, name: &str, shown: &Json) -> Result<(), String> {
    match graph
        .field(root, name)
        .ok_or_else(|| format!("no field {name}"))?
    {
        FieldValue::Primitive(value) => {
            use folkmoot_core::java::Boxed;
            match value {
                Boxed::Boolean(value) => same(name, Some(value), shown.as_bool()),
                Boxed::Integer(value) => same(name, Some(i64::from(value)), int(shown)),
                Boxed::Long(value) => same(name, Some(value), int(shown)),
                other => Err(format!("field {name} is {other:?}")),
            }
        }
        FieldValue::Reference(None) => same(name, shown.is_null(), true),
        FieldValue::Reference(Some(text)) => {
            let read = graph.text(text).ok_or("not a string")?;
            same(name, Some(read), super::text(shown)?)
        }
    }
}

/// A value that is serialised by itself in a byte array.
fn inner(graph: &Graph, root: Root, name: &str, shown: &Json) -> Result<(), String> {
    match array(graph, root, name)? {
        None => same(name, shown.is_null(), true),
        Some(stream) => {
            let inner = parsed(stream)?;
            same_value(name, shown, &inner, inner.root())
        }
    }
}

fn same_bytes_field(graph: &Graph, root: Root, name: &str, shown: &Json) -> Result<(), String> {
    same(
        name,
        array(graph, root, name)?.map(hex::encode).as_deref(),
        shown.as_str(),
    )
}

fn text_bytes(graph: &Graph, root: Root, shown: &Json) -> Result<(), String> {
    same(
        "mapId",
        array(graph, root, "mapId")?,
        shown.as_str().map(str::as_bytes),
    )
}
