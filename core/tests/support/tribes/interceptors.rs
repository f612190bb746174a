//! What interceptors make of messages.

use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{Lane, MemberIndex, To};
use folkmoot_core::engine::Input;
use folkmoot_core::interceptor::{
    EncryptInterceptor, FragmentationInterceptor, GzipCodec, GzipInterceptor, Interceptor,
    MessageCipher, OrderInterceptor, TwoPhaseCommitInterceptor, confirmation, confirmed,
};
use folkmoot_core::wire::frame::{self, Deframed, deframe};
use folkmoot_core::wire::{
    ACK_FRAME, ChannelData, Control, Member, MemberBlock, MessageHeader, Reader, SendOptions,
    UniqueId,
};

use super::node::{Node, lonely};
use super::{OK, messages};
use crate::support::vector::Vector;
use crate::support::{Checked, Outcome, same, same_bytes};

/// The probe of `TcpFailureDetector`, a whole frame.
pub(crate) fn probe(vector: &Vector) -> Checked {
    let message = vector.hex("message")?;
    same(
        "meaning",
        Control::classify(&message),
        Some(Control::TcpFailDetect),
    )?;
    same_bytes("probe", Control::TcpFailDetect.message(), &message)?;
    messages::framed(vector)
}

pub(crate) fn ping(vector: &Vector) -> Checked {
    control(vector, Control::TcpPing)
}

pub(crate) fn static_start(vector: &Vector) -> Checked {
    control(vector, Control::MemberStart)
}

pub(crate) fn static_stop(vector: &Vector) -> Checked {
    control(vector, Control::MemberStop)
}

fn control(vector: &Vector, control: Control) -> Checked {
    same("meaning", Control::classify(vector.whole()?), Some(control))?;
    vector.same_bytes(control.message())?;
    OK
}

/// The member blocks in a message of `NonBlockingCoordinator`, each read and written again.
pub(crate) fn coordination(vector: &Vector) -> Checked {
    let message = vector.whole()?;
    walk(
        vector,
        &mut Reader::new(message.get(16..).ok_or("cut off")?),
    )?;
    Ok(Outcome::Partly("the rest of NonBlockingCoordinator"))
}

fn walk(vector: &Vector, message: &mut Reader<'_>) -> Result<(), String> {
    let block = |what: &str, want: &[u8], message: &mut Reader<'_>| {
        let block = message
            .sized(usize::MAX, "member")
            .map_err(|error| error.to_string())?;
        same_bytes(what, block, want)?;
        messages::same_block(block)?;
        MemberBlock::read(block)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    block("leader", &vector.hex("leader")?, message)?;
    block("source", &vector.hex("source")?, message)?;
    let view = vector.hexes("view")?;
    same(
        "members",
        message.i32("count").map_err(|error| error.to_string())?,
        view.len() as i32,
    )?;
    view.iter()
        .try_for_each(|member| block("view", member, message))?;
    let mut rest = |what| message.take(16, what).map_err(|error| error.to_string());
    same_bytes("id", rest("id")?, &vector.hex("id")?)?;
    same_bytes("type", rest("type")?, &vector.hex("type")?)?;
    same("bytes left", message.len(), 0)
}

/// A gzip member: what it holds, and what we make of the same, since no two libraries compress alike.
pub(crate) fn gzip(vector: &Vector) -> Checked {
    let below = vector.name.starts_with("gzip-below-min");
    let layer = GzipInterceptor {
        compression_min_size: if below { 1000 } else { 0 },
        ..GzipInterceptor::default()
    };
    let (plain, recorded) = (vector.hex("plain")?, vector.whole()?);
    let options_in = SendOptions::from_bits(vector.int("options_in")? as u32);
    let options_out = SendOptions::from_bits(vector.int("options_out")? as u32);
    if !below {
        let read = GzipCodec::default().decompress(recorded, plain.len());
        same_bytes(
            "decompressed",
            &read.map_err(|error| error.to_string())?,
            &plain,
        )?;
    }
    let mut sender = Sender::new(vec![layer.into()], 1);
    let sent = sender.send(0, options_in, &plain);
    let [sent] = &sent[..] else {
        return Err(format!("{} messages instead of one", sent.len()));
    };
    same("options", sent.options, options_out)?;
    if below {
        same_bytes("message", &sent.message, recorded)?;
    }
    for message in [&sent.message, recorded] {
        let mut receiver = receiver(vec![layer.into()], 1_700_000_000_000);
        let got = receive(&mut receiver, sent.options, &[(1, message)]);
        same_bytes("received", &got.concat(), &plain)?;
    }
    OK
}

/// Pieces of a message whose bytes a formula gives, or a whole one.
pub(crate) fn fragmentation(vector: &Vector) -> Checked {
    if vector.name.starts_with("frag-none") {
        let plain = vector.hex("plain")?;
        let layer = FragmentationInterceptor::default();
        let sent = Sender::new(vec![layer.into()], 1).send(0, SendOptions::NONE, &plain);
        let [sent] = &sent[..] else {
            return Err(format!("{} messages instead of one", sent.len()));
        };
        vector.same_bytes(&sent.message)?;
        return OK;
    }
    let (factor, more) = (vector.int("plain_mul")?, vector.int("plain_add")?);
    let plain: Vec<u8> = (0..vector.int("plain_len")?)
        .map(|at| (at * factor + more) as u8)
        .collect();
    let layer = FragmentationInterceptor {
        max_size: vector.int("maxSize")? as usize,
        ..FragmentationInterceptor::default()
    };
    let options = SendOptions::from_bits(vector.int("options")? as u32);
    let sent = Sender::new(vec![layer.into()], 1).send(0, options, &plain);
    same("count", sent.len() as i64, vector.int("count")?)?;
    let piece = sent
        .get(vector.int("index")? as usize)
        .ok_or("no such piece")?;
    same("options", piece.options, options)?;
    let same_id = sent.iter().all(|sent| sent.id == piece.id);
    same("same id", same_id, vector.flag("same_uniqueId")?)?;
    vector.same_bytes(&piece.message)?;
    let mut receiver = receiver(vec![layer.into()], 1_700_000_000_000);
    // In any order.
    let pieces: Vec<_> = sent
        .iter()
        .rev()
        .map(|sent| (9, &sent.message[..]))
        .collect();
    same_bytes(
        "put together",
        &receive(&mut receiver, options, &pieces).concat(),
        &plain,
    )?;
    OK
}

/// What is numbered, and what becomes of numbers at the other end.
pub(crate) fn order(vector: &Vector) -> Checked {
    if vector.name.starts_with("order-rx") {
        return order_received(vector);
    }
    if vector.name.starts_with("order-over") {
        return order_over(vector);
    }
    let number = vector.int("number")?;
    let message = vector.whole()?;
    let (plain, _) = message.split_last_chunk::<4>().ok_or("no number")?;
    let mut sender = Sender::new(vec![OrderInterceptor::default().into()], 2);
    // The other destination has numbers of its own.
    sender.send(1, SendOptions::NONE, b"another");
    let mut last = vec![];
    for _ in 0..number {
        last = sender.send(0, SendOptions::NONE, plain);
    }
    let [last] = &last[..] else {
        return Err(format!("{} messages instead of one", last.len()));
    };
    vector.same_bytes(&last.message)?;
    OK
}

fn order_received(vector: &Vector) -> Checked {
    let gap = vector.name.starts_with("order-rx-gap");
    let layer = OrderInterceptor {
        expire: Duration::from_millis(if gap { 150 } else { 3000 }),
        ..OrderInterceptor::default()
    };
    let mut receiver = receiver(vec![layer.into()], 1_700_000_000_000);
    let arrival: Vec<i32> = match gap {
        true => vec![5, 6],
        false => {
            let numbers = vector.list("arrival")?.iter();
            numbers
                .filter_map(crate::support::vector::int)
                .map(|n| n as i32)
                .collect()
        }
    };
    let mut handed_up = vec![];
    for (at, number) in arrival.into_iter().enumerate() {
        let body = [&[0x40 + number as u8][..], &number.to_be_bytes()].concat();
        handed_up.extend(receive(
            &mut receiver,
            SendOptions::NONE,
            &[(at as u8, &body)],
        ));
        if gap && number == 5 {
            same("at once", handed_up.len(), 0)?;
            // Tomcat lets number 5 wait until another message comes, at worst for ever; ours has a timer.
            let until = receiver.after(Duration::from_millis(400));
            while receiver.wait(until) {}
            handed_up.extend(receiver.listener.received.drain(..).map(|got| got.message));
        }
    }
    same("handed up", handed_up, vector.hexes("handed_up")?)?;
    OK
}

/// Tomcat takes the number off the end of what the layer below has made, and so damages what the second destination gets; ours
/// numbers a copy for each.
fn order_over(vector: &Vector) -> Checked {
    let below: Interceptor = match vector.name.split('-').nth(2) {
        Some("FragmentationInterceptor") => FragmentationInterceptor::default().into(),
        Some("GzipInterceptor") => GzipInterceptor::default().into(),
        Some("EncryptInterceptor") => EncryptInterceptor::new("00".repeat(16)).into(),
        other => return Err(format!("no layer {other:?}")),
    };
    let plain = vector.hex("plain")?;
    let first = vector.hexes("received_by_order_layer")?;
    let first = first.first().ok_or("nothing was received")?;
    same("second", vector.flag("second_is_plain_plus_number")?, false)?;
    let stack = vec![OrderInterceptor::default().into(), below.clone()];
    let mut sender = Sender::new(stack, 2);
    for message in sender.send_all(SendOptions::NONE, &plain) {
        let mut receiver = receiver(vec![below.clone()], Sender::UNIX_MS);
        let got = receive(&mut receiver, message.options, &[(1, &message.message)]);
        same_bytes("at a destination", &got.concat(), first)?;
    }
    OK
}

/// Ciphertext with the initialization vector of the recording, and whether it is taken twice.
pub(crate) fn encrypt(vector: &Vector) -> Checked {
    if vector.name.starts_with("encrypt-rx-replay") {
        return replay(vector);
    }
    let config = EncryptInterceptor {
        encryption_algorithm: vector.text("algorithm")?.to_owned(),
        replay_window_time: Duration::from_millis(vector.int("replayWindowTime")? as u64),
        replay_window_message_count: vector.int("replayWindowMessageCount")? as usize,
        ..EncryptInterceptor::new(vector.text("key")?)
    };
    let cipher = MessageCipher::new(&config).map_err(|error| error.to_string())?;
    let (plain, sealed) = (vector.hex("plain")?, vector.whole()?);
    let timestamp_ms = vector.int("timestamp")? as u64;
    let opened = cipher.open(sealed).map_err(|error| error.to_string())?;
    same("timestamp", opened.timestamp_ms, timestamp_ms)?;
    same_bytes("plain", &opened.message, &plain)?;
    let iv = sealed.get(..cipher.iv_len()).ok_or("too short")?;
    let ours = cipher.seal(iv, timestamp_ms, &plain).ok_or("not sealed")?;
    vector.same_bytes(&ours)?;
    // And through a channel whose clock agrees.
    let mut receiver = receiver(vec![config.into()], timestamp_ms + 1);
    let got = receive(
        &mut receiver,
        SendOptions::NONE,
        &[(1, sealed), (2, sealed)],
    );
    same_bytes("received once", &got.concat(), &plain)?;
    OK
}

fn replay(vector: &Vector) -> Checked {
    const NOW: u64 = 1_700_000_000_000;
    let config = EncryptInterceptor::new("00112233445566778899aabbccddeeff");
    let cipher = MessageCipher::new(&config).map_err(|error| error.to_string())?;
    let mut receiver = receiver(vec![config.into()], NOW);
    let stamps = [NOW, NOW - 20_000, NOW + 20_000, NOW - 5_000];
    for (at, (stamp, wanted)) in stamps
        .into_iter()
        .zip(vector.list("delivered")?)
        .enumerate()
    {
        let sealed = cipher
            .seal(&[at as u8; 12], stamp, b"m")
            .ok_or("not sealed")?;
        for wanted in wanted.as_list().ok_or("not a list")? {
            let got = receive(&mut receiver, SendOptions::NONE, &[(at as u8, &sealed)]);
            same(
                "delivered",
                Some(got.len() as i64),
                crate::support::vector::int(wanted),
            )?;
        }
    }
    OK
}

/// Three layers at once, both ways.
pub(crate) fn stack(vector: &Vector) -> Checked {
    let layers = || -> Result<Vec<Interceptor>, String> {
        Ok(vec![
            GzipInterceptor::default().into(),
            FragmentationInterceptor {
                max_size: 200,
                ..FragmentationInterceptor::default()
            }
            .into(),
            EncryptInterceptor::new(vector.text("key")?).into(),
        ])
    };
    let plain = vector.hex("plain")?;
    let options = SendOptions::from_bits(vector.int("options_out")? as u32);
    let recorded = vector.hexes("packages")?;
    let ours = Sender::at(layers()?, 1, vector.int("timestamp")? as u64).send(
        0,
        options.without(SendOptions::from_bits(0x100)),
        &plain,
    );
    same(
        "options",
        ours.first().map(|sent| sent.options),
        Some(options),
    )?;
    let ours: Vec<_> = ours.into_iter().map(|sent| sent.message).collect();
    for packages in [&recorded, &ours] {
        let mut receiver = receiver(layers()?, vector.int("timestamp")? as u64);
        let pieces: Vec<_> = packages.iter().map(|package| (1, &package[..])).collect();
        let got = receive(&mut receiver, options, &pieces);
        same_bytes("received", &got.concat(), &plain)?;
    }
    OK
}

/// Tomcat's queue loses count when a layer below changes a message's length; ours counts what is queued.
pub(crate) fn dispatch_size_drift(vector: &Vector) -> Checked {
    let mut sender = Sender::new(vec![GzipInterceptor::default().into()], 1);
    for _ in 0..vector.int("sent")? {
        sender.send(0, SendOptions::ASYNCHRONOUS, &[0; 20_000]);
    }
    let (member, _) = sender.node.channel.members().next().ok_or("no member")?;
    same("queued", sender.node.channel.queue_bytes(member), 0)?;
    OK
}

/// A frame that was sent.
struct Sent {
    options: SendOptions,
    id: Vec<u8>,
    message: Vec<u8>,
}

/// A channel with interceptors and members that take everything and acknowledge it.
struct Sender {
    node: Node,
    members: Vec<MemberIndex>,
}

impl Sender {
    const UNIX_MS: u64 = 1_700_000_000_000;

    fn new(interceptors: Vec<Interceptor>, members: u8) -> Self {
        Self::at(interceptors, members, Self::UNIX_MS)
    }

    fn at(interceptors: Vec<Interceptor>, members: u8, unix_ms: u64) -> Self {
        let mut config = lonely("198.51.100.7:4000".parse().unwrap());
        config.failure_detector.enabled = false;
        config.interceptors = interceptors;
        let mut node = Node::start(config, unix_ms);
        let members = (1..=members).map(|member| {
            let address = SocketAddr::from(([192, 0, 2, member], 4000));
            let member = Member::new(address, UniqueId([member; 16]));
            node.channel.add_member(node.now, &member).unwrap()
        });
        let members = members.collect();
        node.drain();
        Self { node, members }
    }

    fn send(&mut self, member: usize, options: SendOptions, message: &[u8]) -> Vec<Sent> {
        let to = [self.members[member]];
        self.send_to(To::Members(&to), options, message)
    }

    fn send_all(&mut self, options: SendOptions, message: &[u8]) -> Vec<Sent> {
        self.send_to(To::All, options, message)
    }

    fn send_to(&mut self, to: To<'_>, options: SendOptions, message: &[u8]) -> Vec<Sent> {
        let now = self.node.now;
        let sent = self.node.channel.send(now, to, options, Lane::Any, message);
        sent.unwrap();
        self.node.drain();
        let mut frames = vec![];
        for known in 0.. {
            let Some((conn, _)) = self.node.connects.get(known).copied() else {
                break;
            };
            self.node.handle(Input::Connected { conn });
            loop {
                let bytes = self.node.written(conn);
                let before = frames.len();
                let mut rest = &bytes[..];
                while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, 1 << 20) {
                    let data = ChannelData::decode(data).unwrap();
                    if data.options.contains(SendOptions::USE_ACK) {
                        self.node.handle(Input::Received {
                            conn,
                            bytes: &ACK_FRAME,
                        });
                    }
                    frames.push(Sent {
                        options: data.options,
                        id: data.unique_id.to_vec(),
                        message: data.message.to_vec(),
                    });
                    rest = &rest[consumed..];
                }
                if frames.len() == before {
                    break;
                }
            }
        }
        frames
    }
}

/// A channel with interceptors, by a clock that shows `unix_ms`.
fn receiver(interceptors: Vec<Interceptor>, unix_ms: u64) -> Node {
    let mut config = lonely("198.51.100.7:4000".parse().unwrap());
    config.interceptors = interceptors;
    Node::start(config, unix_ms)
}

/// What the listener gets of messages from one member, each given by its id and its bytes.
fn receive(node: &mut Node, options: SendOptions, messages: &[(u8, &[u8])]) -> Vec<Vec<u8>> {
    let mut address = vec![];
    Member::new("192.0.2.1:4000".parse().unwrap(), UniqueId([1; 16]))
        .write(&mut address)
        .unwrap();
    for (id, message) in messages {
        let header = MessageHeader {
            options,
            timestamp_ms: 1,
            unique_id: UniqueId([*id; 16]),
            address: &address,
            message_len: message.len(),
        };
        let mut frame = vec![];
        header.write(&mut frame).unwrap();
        frame.extend_from_slice(message);
        frame.extend_from_slice(&frame::END);
        let conn = node.accept();
        node.read(conn, &frame, usize::MAX);
    }
    let received = node.listener.received.drain(..);
    received.map(|got| got.message).collect()
}

/// What is sent, in which order, and when the other end hands it on.
pub(crate) fn two_phase_commit(vector: &Vector) -> Checked {
    let layer: Interceptor = TwoPhaseCommitInterceptor::default().into();
    let sent = |options: u32| {
        Sender::new(vec![layer.clone()], 1).send(0, SendOptions::from_bits(options), b"2pc")
    };
    if vector.name.starts_with("2pc-original") {
        let plain = vector.hex("plain")?;
        let mut sender = Sender::new(vec![layer], 1);
        let sent = sender.send(0, SendOptions::NONE, &plain);
        vector.same_bytes(&sent.first().ok_or("nothing sent")?.message)?;
        return OK;
    }
    let original: [u8; 16] = vector
        .hex("original_uniqueId")?
        .try_into()
        .map_err(|_| "not 16 bytes")?;
    let original = UniqueId(original);
    vector.same_bytes(&confirmation(&original))?;
    same("confirmed", confirmed(vector.whole()?), Some(original))?;
    for options in [1, vector.int("options")? as u32] {
        let sent = sent(options);
        let [message, confirmation] = &sent[..] else {
            return Err(format!("{} messages instead of two", sent.len()));
        };
        let of = confirmed(&confirmation.message).map(|id| id.0.to_vec());
        same("confirms", of, Some(message.id.clone()))?;
        let differ = message.id != confirmation.id;
        same(
            "ids differ",
            differ,
            vector.flag("confirm_uniqueId_differs")?,
        )?;
        // Without an ACK asked for, one is added where a lane keeps the order of the two.
        same("options", confirmation.options, message.options)?;
        let wanted = SendOptions::from_bits(options);
        same("contain", confirmation.options.contains(wanted), true)?;
        if wanted.contains(SendOptions::USE_ACK) {
            same("options", confirmation.options, wanted)?;
        }
    }
    let mut receiver = receiver(vec![layer], 1_700_000_000_000);
    let confirmation = confirmation(&UniqueId([1; 16]));
    for (id, message, wanted) in [
        (1, &b"message"[..], &b""[..]),
        (2, &confirmation[..], b"message"),
        (3, &confirmation[..], b""),
    ] {
        let got = receive(&mut receiver, SendOptions::NONE, &[(id, message)]);
        same_bytes("handed on", &got.concat(), wanted)?;
    }
    OK
}
