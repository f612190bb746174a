//! Member blocks: alone, in heartbeats, in Java streams, and in order.

use folkmoot_core::channel::ChannelConfig;
use folkmoot_core::engine::{Input, Target};
use folkmoot_core::wire::datagram::DatagramContent;
use folkmoot_core::wire::member::{MemberBlock, set_alive};
use folkmoot_core::wire::{Member, UniqueId};

use super::OK;
use super::node::{Node, PEER};
use crate::support::json::Json;
use crate::support::vector::{Vector, int};
use crate::support::{Checked, hex, same, same_bytes};

pub(crate) fn block(vector: &Vector) -> Checked {
    let built = built(vector)?;
    vector.same_bytes(&built)?;
    same_fields(vector, vector.bytes_or(&built))?;
    OK
}

pub(crate) fn heartbeat(vector: &Vector) -> Checked {
    in_a_datagram(vector, false)
}

pub(crate) fn shutdown(vector: &Vector) -> Checked {
    in_a_datagram(vector, true)
}

fn in_a_datagram(vector: &Vector, leaves: bool) -> Checked {
    let built = built(vector)?;
    let datagram = vector.bytes_or(&built);
    match DatagramContent::read(datagram) {
        Ok(DatagramContent::Heartbeat(block)) => same("leaves", block.is_shutdown(), leaves)?,
        other => return Err(format!("not a heartbeat: {other:?}")),
    }
    block(vector)?;
    said(datagram, leaves)?;
    OK
}

/// Has a channel that is this member say it: the same datagram, but for the time it has lived.
fn said(wanted: &[u8], leaves: bool) -> Result<(), String> {
    let block = MemberBlock::read(wanted).map_err(|error| error.to_string())?;
    let mut config = ChannelConfig::new(block.socket_addr().ok_or("no address")?);
    (config.secure_port, config.udp_port) = (block.secure_port, block.udp_port);
    config.domain = block.domain.to_vec();
    config.payload = block.payload.to_vec();
    config.unique_id = Some(block.unique_id);
    config.sender.pipelining = false;
    let mut node = Node::start(config, 1_700_000_000_000);
    if leaves {
        node.channel.stop(node.now);
        node.drain();
    }
    let (to, mut said) = node.datagrams.pop().ok_or("the channel says nothing")?;
    same("said to", to, Target::Group)?;
    same("an alive time", set_alive(&mut said, block.alive_ms), true)?;
    same_bytes("what the channel says", &said, wanted)
}

/// Compares every field the vector has with the block that `bytes` begin with.
pub(crate) fn same_fields(vector: &Vector, bytes: &[u8]) -> Result<(), String> {
    let read = MemberBlock::read(bytes).map_err(|error| error.to_string())?;
    let fields = vector
        .fields
        .as_object()
        .ok_or("fields are not an object")?;
    for (name, value) in fields {
        let number = int(value);
        // `payload_len` and others describe the bytes of `payload`.
        let name = name.split('_').next().unwrap_or(name);
        let want = || vector.bytes_or_pattern(name);
        match name {
            "alive" => same(name, Some(read.alive_ms), number)?,
            "port" => same(name, Some(i64::from(read.port)), number)?,
            "securePort" => same(name, Some(i64::from(read.secure_port)), number)?,
            "udpPort" => same(name, Some(i64::from(read.udp_port)), number)?,
            "host" => same_bytes(name, read.host, &want()?)?,
            "command" => same_bytes(name, read.command, &want()?)?,
            "domain" => same_bytes(name, read.domain, &want()?)?,
            "uniqueId" => same_bytes(name, read.unique_id.as_ref(), &want()?)?,
            "payload" => same_bytes(name, read.payload, &want()?)?,
            _ => return Err(format!("no check is known for field {name}")),
        }
    }
    let mut again = vec![];
    read.write(&mut again).map_err(|error| error.to_string())?;
    same_bytes(
        "block written again",
        &again,
        &bytes[..again.len().min(bytes.len())],
    )
}

/// The block that the fields describe; what they leave out is as a member has it that never set it.
fn built(vector: &Vector) -> Result<Vec<u8>, String> {
    let bytes = |name| {
        if vector.has(name) || vector.has(&format!("{name}_len")) {
            vector.bytes_or_pattern(name)
        } else {
            Ok(vec![])
        }
    };
    let port = |name| {
        if vector.has(name) {
            vector.int(name)
        } else {
            Ok(-1)
        }
    };
    let host = bytes("host")?;
    let block = MemberBlock {
        alive_ms: vector.int("alive")?,
        port: vector.int("port")? as i32,
        secure_port: port("securePort")? as i32,
        udp_port: port("udpPort")? as i32,
        host: &host,
        command: &bytes("command")?,
        domain: &bytes("domain")?,
        unique_id: unique_id(vector.field("uniqueId")?)?,
        payload: &bytes("payload")?,
        raw: &[],
    };
    let mut built = vec![];
    block.write(&mut built).map_err(|error| error.to_string())?;
    same("encoded_len", block.encoded_len(), built.len())?;
    let mut owned = vec![];
    Member::from(block)
        .write(&mut owned)
        .map_err(|error| error.to_string())?;
    same_bytes("the owned member's block", &owned, &built)?;
    Ok(built)
}

fn unique_id(value: &Json) -> Result<UniqueId, String> {
    let id = value.as_str().and_then(|text| text.parse().ok());
    id.ok_or_else(|| format!("{value:?} is not a unique id"))
}

/// Members heard of in some order, as a channel lists them: the one that lives longest first.
pub(crate) fn membership_order(vector: &Vector) -> Checked {
    let alive = vector
        .list("added")?
        .iter()
        .map(int)
        .collect::<Option<Vec<_>>>();
    let mut config = ChannelConfig::new("198.51.100.7:4000".parse().unwrap());
    config.unique_id = Some(UniqueId([1; 16]));
    config.failure_detector.enabled = false;
    let mut node = Node::start(config, 1_700_000_000_000);
    let mut heard = |member: &Member| {
        let mut bytes = vec![];
        member.write(&mut bytes).unwrap();
        node.handle(Input::Datagram {
            from: PEER,
            bytes: &bytes,
        });
        node.channel.members().any(|(_, known)| known == member)
    };
    for (at, alive) in alive
        .ok_or("added holds something else than numbers")?
        .into_iter()
        .enumerate()
    {
        let mut member = Member::new(PEER, UniqueId([at as u8 + 2; 16]));
        member.port += at as i32;
        member.alive_ms = alive;
        same("heard of", heard(&member), true)?;
    }
    let ourselves = Member::new("198.51.100.7:4000".parse().unwrap(), UniqueId([1; 16]));
    same("self_added", heard(&ourselves), vector.flag("self_added")?)?;
    let listed: Vec<_> = node
        .channel
        .members()
        .map(|(_, member)| member.alive_ms)
        .collect();
    let wanted = vector
        .list("listed")?
        .iter()
        .map(int)
        .collect::<Option<Vec<_>>>();
    same("listed", Some(listed), wanted)?;
    OK
}

pub(crate) fn absolute_order(vector: &Vector) -> Checked {
    let mut members = vector
        .list("input")?
        .iter()
        .map(listed)
        .collect::<Result<Vec<_>, _>>()?;
    members.sort();
    let wanted = vector
        .list("sorted")?
        .iter()
        .map(listed)
        .collect::<Result<Vec<_>, _>>()?;
    same("sorted", members, wanted)?;
    OK
}

fn listed(value: &Json) -> Result<Member, String> {
    let host = value["host"]
        .as_str()
        .and_then(hex::decode)
        .ok_or("a host is not hexadecimal")?;
    let mut member = Member::new(([0, 0, 0, 0], 0).into(), unique_id(&value["uniqueId"])?);
    member.port = int(&value["port"]).ok_or("a port is not a number")? as i32;
    member.host = host;
    Ok(member)
}
