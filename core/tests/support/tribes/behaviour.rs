//! What a receiver and a sender do, played against a channel.
//!
//! Where Tomcat's own behaviour is a defect (it waits for ever, answers nothing, delivers side by side), the
//! channel must do what the record shows was meant, and the comment says what it is.

use core::time::Duration;

use folkmoot_core::channel::{ChannelEvent, FaultCause, Lane, To};
use folkmoot_core::engine::{CloseReason, ConnId, Input, Target};
use folkmoot_core::java::{JavaBytes, JavaString};
use folkmoot_core::wire::frame::{Deframed, deframe};
use folkmoot_core::wire::{
    ACK_FRAME, AckPolicy, ChannelData, FAIL_ACK_FRAME, Member, MemberBlock, SendOptions, UniqueId,
};

use super::OK;
use super::node::{Node, lonely, message};
use crate::support::vector::Vector;
use crate::support::{Checked, Outcome, same, same_bytes};

/// One message to a listener that is quick, slow or fails.
pub(crate) fn receiver_ack(vector: &Vector) -> Checked {
    let mut node = Node::receiver();
    node.listener.fails = (vector.text("listener")? == "throw").then_some(|_| true);
    let conn = node.accept();
    let reply = node.read(conn, vector.whole()?, usize::MAX);
    same_bytes("reply", &reply, &vector.hex("reply")?)?;
    same(
        "delivered",
        node.delivered() == 1,
        vector.flag("delivered")?,
    )?;
    let options = node
        .listener
        .received
        .first()
        .map(|message| message.options.bits());
    same("options", options, Some(vector.int("options")? as u32))?;
    if vector.flag("reply_before_listener_returned")? {
        // The listener has returned when `handle` does, and only then anything is written.
        return Ok(Outcome::Partly(
            "the reply leaving while the listener still runs",
        ));
    }
    OK
}

/// A message that is no object: acknowledged, and nobody gets it.
pub(crate) fn receiver_undeserializable(vector: &Vector) -> Checked {
    let mut node = Node::receiver();
    let conn = node.accept();
    let reply = node.read(conn, vector.whole()?, usize::MAX);
    same_bytes("reply", &reply, &vector.hex("reply")?)?;
    same("delivered", node.delivered() > 0, vector.flag("delivered")?)?;
    OK
}

/// Sound packages, however they are cut.
pub(crate) fn receiver_pieces(vector: &Vector) -> Checked {
    for step in [usize::MAX, 40, 1] {
        let mut node = Node::receiver();
        let conn = node.accept();
        let reply = node.read(conn, vector.whole()?, step);
        same_bytes("reply", &reply, &vector.hex("reply")?)?;
        same(
            "delivered_count",
            node.delivered() as i64,
            vector.int("delivered_count")?,
        )?;
    }
    OK
}

/// Garbage and a package in one piece: Tomcat waits for ever, the channel closes the connection and says why.
pub(crate) fn receiver_garbage(vector: &Vector) -> Checked {
    let mut node = Node::receiver();
    let conn = node.accept();
    let reply = node.read(conn, vector.whole()?, usize::MAX);
    same_bytes("reply", &reply, &vector.hex("reply")?)?;
    same(
        "delivered_count",
        node.delivered() as i64,
        vector.int("delivered_count")?,
    )?;
    same("closed", node.closed, vec![conn])?;
    same("bad frames", node.channel.stats().bad.frame, 1)?;
    OK
}

/// Garbage, a pause, a package. Tomcat drops the garbage; the channel drops the connection, and gets the package on
/// the next one.
pub(crate) fn receiver_garbage_first(vector: &Vector) -> Checked {
    let mut node = Node::receiver();
    let conn = node.accept();
    same(
        "answer to garbage",
        node.read(conn, &[b'x'; 25], usize::MAX),
        vec![0u8; 0],
    )?;
    same("closed", &node.closed, &vec![conn])?;
    same("reasons", node.refusals().len(), 1)?;
    let conn = node.accept();
    let reply = node.read(conn, vector.whole()?, usize::MAX);
    same_bytes("reply", &reply, &vector.hex("reply")?)?;
    same(
        "delivered_count",
        node.delivered() as i64,
        vector.int("delivered_count")?,
    )?;
    OK
}

/// A datagram to the UDP port, before and after garbage. Tomcat receives nothing more after garbage, the channel does.
pub(crate) fn receiver_udp(vector: &Vector) -> Checked {
    let from = super::node::PEER;
    let datagram = vector.whole()?;
    let sound = matches!(
        deframe(datagram, datagram.len()),
        Ok(Deframed::Frame { .. })
    );
    let count = vector.int("delivered_count")?;
    if !sound {
        same("delivered_count", 0, count)?;
    }
    for garbage in [
        None,
        Some(&b"\0"[..]),
        Some(b"FLT2002\x7f\xff\xff\xff"),
        Some(b"TRIBES-B\x01\0"),
    ] {
        let mut node = Node::receiver();
        if let Some(bytes) = garbage {
            node.handle(Input::Datagram { from, bytes });
            same("reasons", node.refusals().len(), 1)?;
        }
        node.handle(Input::Datagram {
            from,
            bytes: datagram,
        });
        same("delivered", node.delivered(), usize::from(sound))?;
        let reply = match node.datagrams.as_slice() {
            [] => &[][..],
            [(to, bytes)] => {
                same("reply to", *to, Target::Address(from))?;
                bytes
            }
            several => return Err(format!("{} answers", several.len())),
        };
        // A record of nothing received is one of a dead receiver thread, if the datagram is sound.
        if count > 0 || !sound {
            same_bytes("reply", reply, &vector.hex("reply")?)?;
        } else {
            same_bytes("reply", reply, &ACK_FRAME)?;
        }
    }
    OK
}

/// Two messages on one connection. Tomcat may start on the second before it is done with the first; the channel never
/// does.
pub(crate) fn receiver_same_connection(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let Ok(Deframed::Frame { consumed, .. }) = deframe(stream, stream.len()) else {
        return Err("does not begin with a frame".to_owned());
    };
    let mut node = Node::receiver();
    let conn = node.accept();
    let mut reply = node.read(conn, &stream[..consumed], usize::MAX);
    same_bytes("first reply", &reply, &ACK_FRAME)?;
    reply.extend(node.read(conn, &stream[consumed..], usize::MAX));
    let mut together = Node::receiver();
    let conn = together.accept();
    same_bytes("replies", &together.read(conn, stream, usize::MAX), &reply)?;

    // One after the other, in the order in which they were sent.
    let mut sequence = vec![];
    for message in &node.listener.received {
        sequence.push(format!(
            "start {}",
            String::from_utf8_lossy(&message.message)
        ));
        sequence.push("end".to_owned());
    }
    let events = vector
        .list("events")?
        .iter()
        .filter_map(|event| event.as_str());
    let mut events: Vec<String> = events.map(str::to_owned).collect();
    let side_by_side = events
        .windows(2)
        .any(|pair| pair.iter().all(|event| event.starts_with("start")));
    if side_by_side {
        let starts = events.iter().filter(|event| event.starts_with("start"));
        events = starts
            .flat_map(|start| [start.clone(), "end".to_owned()])
            .collect();
    }
    same("events", sequence, events)?;
    OK
}

/// A listener that fails, on several connections. Tomcat loses a thread each time and in the end answers nobody; the
/// channel answers all of them.
pub(crate) fn receiver_listener_error(vector: &Vector) -> Checked {
    let answered = vector.list("answered")?;
    let sender = Member::new(super::node::PEER, UniqueId([1; 16]));
    let mut block = vec![];
    sender.write(&mut block).unwrap();
    let mut node = Node::receiver();
    node.listener.fails = Some(|at| matches!(at, 1 | 2));
    let options = SendOptions::BYTE_MESSAGE | SendOptions::USE_ACK | SendOptions::SYNCHRONIZED_ACK;
    for (at, answered) in answered.iter().enumerate() {
        let conn = node.accept();
        let reply = node.read(conn, &message(options, &block, b"message"), usize::MAX);
        let wanted = if matches!(at, 1 | 2) {
            FAIL_ACK_FRAME
        } else {
            ACK_FRAME
        };
        same_bytes("reply", &reply, &wanted)?;
        if answered.as_bool() == Some(true) {
            same_bytes("reply where Tomcat answered", &reply, &ACK_FRAME)?;
        }
    }
    same("messages", node.listener.received.len(), answered.len())?;
    OK
}

/// How the peer of a sender answers each frame.
#[derive(Clone, Copy)]
enum Answer {
    Nothing,
    Ack,
    FailAck,
    FailAckOnce,
    Close,
}

/// One message to a peer that answers as the name says: `sender-options-7-reply-2`.
pub(crate) fn sender_options(vector: &Vector) -> Checked {
    let mut number = vector
        .name
        .split("reply-")
        .nth(1)
        .unwrap_or_default()
        .split('-');
    let answer = match number.next() {
        Some("0") => Answer::Nothing,
        Some("1") => Answer::Ack,
        Some("2") => Answer::FailAck,
        Some("3") => Answer::FailAckOnce,
        Some("4") => Answer::Close,
        other => return Err(format!("no peer is known that answers {other:?}")),
    };
    let sent = send(vector, answer, |node, options, message, to| {
        node.channel.send(node.now, to, options, Lane::Any, message)
    })?;
    same(
        "frames_received",
        sent.frames.len() as i64,
        vector.int("frames_received")?,
    )?;
    same("connections", sent.connections, vector.int("connections")?)?;
    let identical = sent.frames.len() > 1 && sent.frames.windows(2).all(|pair| pair[0] == pair[1]);
    same(
        "resend_identical",
        identical,
        vector.flag("resend_identical")?,
    )?;
    let outcome = match &sent.fault {
        None => "ok".to_owned(),
        Some(_) => "ChannelException, faulty members 1".to_owned(),
    };
    same("outcome", outcome, vector.text("outcome")?)?;
    let cause = sent.fault.map(|cause| match cause {
        FaultCause::RemoteProcess => "RemoteProcessException",
        FaultCause::TimedOut => "ChannelException",
        FaultCause::ConnectionLost => "IOException",
        _ => "something else",
    });
    same("fault_cause", cause, vector.field("fault_cause")?.as_str())?;
    OK
}

/// A string, sent as an object.
pub(crate) fn sender_string(vector: &Vector) -> Checked {
    let value = JavaBytes::string(&JavaString::from(vector.text("text")?));
    same_bytes("message", value.as_bytes(), &vector.hex("message")?)?;
    send(vector, Answer::Ack, |node, options, _, to| {
        let body = value.bytes().clone();
        node.channel
            .send_object(node.now, to, options, Lane::Any, body)
    })?;
    OK
}

/// A message that nobody waits for; its handler hears of its completion, here: of nothing lost.
pub(crate) fn sender_async(vector: &Vector) -> Checked {
    let sent = send(vector, Answer::Ack, |node, options, message, to| {
        node.channel.send(node.now, to, options, Lane::Any, message)
    })?;
    let handler = if sent.fault.is_none() {
        "completion"
    } else {
        "error"
    };
    same("handler", handler, vector.text("handler")?)?;
    OK
}

/// What a peer saw of one send.
struct Sent {
    frames: Vec<Vec<u8>>,
    connections: i64,
    fault: Option<FaultCause>,
}

type Send = Result<UniqueId, folkmoot_core::channel::SendError>;

/// Sends the vector's message from a channel that is the vector's sender, to a peer that answers as told, and compares
/// what arrives with the vector's bytes.
fn send(
    vector: &Vector,
    answer: Answer,
    send: impl Fn(&mut Node, SendOptions, &[u8], To<'_>) -> Send,
) -> Result<Sent, String> {
    let bytes = vector.whole()?;
    let data = bytes.get(11..bytes.len() - 7).ok_or("cut off")?;
    let wanted = ChannelData::decode(data).map_err(|error| error.to_string())?;
    let sender = MemberBlock::read(wanted.address).map_err(|error| error.to_string())?;
    same_bytes("message", wanted.message, &vector.hex("message")?)?;
    same(
        "options on the wire",
        wanted.options.bits(),
        vector.int("options_on_wire")? as u32,
    )?;

    // Without membership, the alive time is the wall clock.
    let mut config = lonely(sender.socket_addr().ok_or("the sender has no address")?);
    config.unique_id = Some(sender.unique_id);
    (config.secure_port, config.udp_port) = (sender.secure_port, sender.udp_port);
    config.domain = sender.domain.to_vec();
    config.payload = sender.payload.to_vec();
    let mut node = Node::start(config, sender.alive_ms as u64);
    let to = meet(&mut node)?;
    node.channel.set_wall_clock(node.now, wanted.timestamp_ms);

    let options = SendOptions::from_bits(vector.int("options_sent")? as u32);
    let id = send(&mut node, options, wanted.message, To::Member(to))
        .map_err(|error| error.to_string())?;
    node.drain();
    let awaited = options.ack_policy() != AckPolicy::Never;
    let sent = serve(&mut node, answer, id, awaited)?;
    let first = sent.frames.first().ok_or("nothing was sent")?;

    // The message's id is random: the record's, with ours in its place.
    let mut expected = vec![];
    let with_id = ChannelData {
        unique_id: id.as_ref(),
        ..wanted
    };
    with_id.write_frame(&mut expected).unwrap();
    same_bytes("frame", first, &expected)?;
    Ok(sent)
}

/// Has the channel get a message from a peer, which it can send to from then on.
fn meet(node: &mut Node) -> Result<folkmoot_core::channel::MemberIndex, String> {
    let peer = Member::new("192.0.2.9:4000".parse().unwrap(), UniqueId([8; 16]));
    let mut block = vec![];
    peer.write(&mut block).unwrap();
    let conn = node.accept();
    node.read(
        conn,
        &message(SendOptions::BYTE_MESSAGE, &block, b"hello"),
        usize::MAX,
    );
    let from = node
        .listener
        .received
        .pop()
        .and_then(|message| message.from);
    // The peer's connection ends, and whatever was done to verify it is not what is looked at here.
    node.handle(Input::Closed {
        conn,
        reason: CloseReason::EndOfStream,
    });
    from.ok_or_else(|| "the peer did not become known".to_owned())
}

/// The peer: accepts every connection, answers every frame, until the channel is done with the message.
fn serve(node: &mut Node, answer: Answer, id: UniqueId, awaited: bool) -> Result<Sent, String> {
    let until = node.after(Duration::from_secs(30));
    let mut sent = Sent {
        frames: vec![],
        connections: 0,
        fault: None,
    };
    let mut open: Vec<(ConnId, Vec<u8>, bool)> = vec![];
    loop {
        for (conn, _) in std::mem::take(&mut node.connects) {
            open.push((conn, vec![], false));
            node.handle(Input::Connected { conn });
        }
        for (conn, buffer, counted) in &mut open {
            let conn = *conn;
            if node.closed.contains(&conn) {
                continue;
            }
            buffer.extend(node.written(conn));
            while let Ok(Deframed::Frame { data, consumed }) = deframe(buffer, 1 << 20) {
                let message = ChannelData::decode(data).map_err(|error| error.to_string())?;
                // Checks whether the peer lives are not the message.
                let ours = message.unique_id == id.as_ref();
                let frame: Vec<u8> = buffer.drain(..consumed).collect();
                if !ours {
                    continue;
                }
                sent.connections += i64::from(!std::mem::replace(counted, true));
                sent.frames.push(frame);
                let reply: Option<&[u8]> = match answer {
                    Answer::Nothing | Answer::Close => None,
                    _ if !awaited => None,
                    Answer::Ack => Some(&ACK_FRAME),
                    Answer::FailAckOnce if sent.frames.len() > 1 => Some(&ACK_FRAME),
                    Answer::FailAck | Answer::FailAckOnce => Some(&FAIL_ACK_FRAME),
                };
                if let Some(bytes) = reply {
                    node.handle(Input::Received { conn, bytes });
                }
                if matches!(answer, Answer::Close) {
                    node.closed.push(conn);
                    node.handle(Input::Closed {
                        conn,
                        reason: CloseReason::EndOfStream,
                    });
                    break;
                }
            }
        }
        if let Some(fault) = verdict(&node.events, id) {
            sent.fault = fault;
            return Ok(sent);
        }
        if node.connects.is_empty() && !node.wait(until) {
            return match awaited {
                true => Err("never told what became of the message".to_owned()),
                false => Ok(sent),
            };
        }
    }
}

/// What the channel has said of the message, if it has: the fault, or that there is none.
fn verdict(events: &[ChannelEvent], id: UniqueId) -> Option<Option<FaultCause>> {
    events.iter().find_map(|event| match event {
        ChannelEvent::Sent { id: of, faulty } if *of == id => {
            Some(faulty.first().map(|(_, cause)| *cause))
        }
        ChannelEvent::Lost { cause, .. } => Some(Some(*cause)),
        _ => None,
    })
}
