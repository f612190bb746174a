//! Map messages of somebody who means no good: in order as messages, and wrong in what they say.

use std::borrow::Cow;
use std::net::SocketAddr;

use folkmoot_core::channel::rpc::{RpcKind, RpcMessage};
use folkmoot_core::java::{JavaBytes, Limits};
use folkmoot_core::map::{MapMessage, MapMessageType, MapState};
use folkmoot_core::wire::{ChannelData, Deframed, MemberBlock, SendOptions, deframe};

use crate::rng::SimRng;

/// What it has learned of a map by being taken for one of its nodes.
pub(crate) struct FalseMap {
    name: &'static [u8],
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    /// Member blocks, to speak in their names.
    blocks: Vec<Vec<u8>>,
}

/// Of each it remembers so many.
const KEPT_MAX: usize = 32;
const FRAME_MAX: usize = 1 << 20;

impl FalseMap {
    pub(crate) const fn new(name: &'static [u8]) -> Self {
        Self {
            name,
            keys: Vec::new(),
            values: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Bytes that were sent to it: learns from what is in them, and answers a request as a node of the map would.
    pub(crate) fn hear(
        &mut self,
        rng: &mut SimRng,
        me: &[u8],
        bytes: &[u8],
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let Ok(Deframed::Frame { data, .. }) = deframe(bytes, FRAME_MAX) else {
            return None;
        };
        let message = ChannelData::decode(data).ok()?;
        keep(rng, &mut self.blocks, message.address);
        let from = MemberBlock::read(message.address).ok()?.socket_addr()?;
        if let Some(map) = MapMessage::read(message.message) {
            keep(rng, &mut self.keys, map.key?);
            keep(rng, &mut self.values, map.value.or(map.diff_value)?);
            return None;
        }
        let rpc = RpcMessage::read(message.message, &Limits::DEFAULT).ok()?;
        if rpc.kind != RpcKind::Request || rng.chance(200_000) {
            return None;
        }
        let asked = MapMessage::read(rpc.message.as_bytes())?;
        let state = MapState::Initialized.to_java();
        let mut stream = Vec::new();
        MapMessage {
            key: asked.key,
            primary: Some(Cow::Borrowed(me)),
            value: match asked.kind() {
                Some(MapMessageType::Ping) => Some(state.as_bytes()),
                _ if self.values.is_empty() => None,
                _ => Some(&rng.pick(&self.values)[..]),
            },
            ..MapMessage::new(asked.kind()?, self.name)
        }
        .write(&mut stream);
        let reply = RpcMessage {
            kind: RpcKind::Reply,
            message: JavaBytes::new(stream.into(), &Limits::DEFAULT).ok()?,
            ..rpc
        };
        let reply = reply.encode().ok()?;
        Some((from, frame(rng, SendOptions::from_bits(0), me, &reply)))
    }

    /// A message about an entry, in its own name or in that of another.
    pub(crate) fn message(&self, rng: &mut SimRng, me: &[u8]) -> Vec<u8> {
        let other: &[u8] = match self.blocks.is_empty() || rng.chance(500_000) {
            true => me,
            false => rng.pick::<Vec<u8>>(&self.blocks),
        };
        let noise: Vec<u8> = (0..rng.index(60)).map(|_| rng.below(256) as u8).collect();
        let key: &[u8] = match self.keys.is_empty() || rng.chance(100_000) {
            true => &noise,
            false => rng.pick::<Vec<u8>>(&self.keys),
        };
        let value: &[u8] = match self.values.is_empty() || rng.chance(200_000) {
            true => &noise,
            false => rng.pick::<Vec<u8>>(&self.values),
        };
        let diff = rng.chance(300_000);
        let mut stream = Vec::new();
        let message = MapMessage {
            msgtype: rng.below(15) as i32,
            diff,
            diff_value: diff.then_some(value),
            key: (!rng.chance(50_000)).then_some(key),
            map_id: Some(self.name),
            nodes: (!rng.chance(200_000)).then(|| vec![Cow::Borrowed(me), Cow::Borrowed(other)]),
            primary: (!rng.chance(200_000)).then_some(Cow::Borrowed(other)),
            value: (!rng.chance(300_000)).then_some(value),
        };
        message.write(&mut stream);
        let options = *rng.pick(&[0, 2, 6, 8]);
        let name = match rng.chance(300_000) {
            true => other,
            false => me,
        };
        frame(rng, SendOptions::from_bits(options), name, &stream)
    }
}

/// Keeps something, in the place of something else if there is too much.
fn keep(rng: &mut SimRng, kept: &mut Vec<Vec<u8>>, what: &[u8]) {
    match kept.len() < KEPT_MAX {
        true => kept.push(what.to_vec()),
        false => *kept.get_mut(rng.index(KEPT_MAX)).expect("a full list") = what.to_vec(),
    }
}

fn frame(rng: &mut SimRng, options: SendOptions, address: &[u8], message: &[u8]) -> Vec<u8> {
    let id: [u8; 16] = rng.bytes();
    let mut frame = Vec::new();
    let written = ChannelData {
        options,
        timestamp_ms: rng.next_u64() >> 24,
        unique_id: &id,
        address,
        message,
    }
    .write_frame(&mut frame);
    debug_assert!(written.is_ok(), "a vector has room");
    frame
}
