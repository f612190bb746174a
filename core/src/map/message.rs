//! `MapMessage`: what the nodes of a replicated map tell each other.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::kind::MapMessageType;
use super::writer::{BYTES_DESC, MEMBER_DESC, MEMBERS_DESC, MapWriter};
use crate::java::{Boxed, FieldValue, Graph, JavaError, Limits, NodeId, Slot};

/// A message of a replicated map, borrowed from the stream that holds it. `AbstractReplicatedMap.MapMessage`, spec UID 1.
///
/// Layout of the stream:
///
/// | bytes | field | |
/// |---|---|---|
/// | 256 | header and descriptor | constant |
/// | 1 | `diff` | whether `diffvalue` counts |
/// | 4 | `msgtype` | [`MapMessageType`] |
/// | | `diffvalue` | `byte[]` or null: what has changed in a value, in the value's own form |
/// | | `keydata` | `byte[]` or null: the key, a stream of its own |
/// | | `mapId` | `byte[]`: the map's name |
/// | | `nodes` | `Member[]` or null: who has a backup |
/// | | `primary` | `Member` or null |
/// | | `valuedata` | `byte[]` or null: the value, a stream of its own |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapMessage<'a> {
    /// The kind: a [`MapMessageType`]'s number, or one that receivers ignore.
    pub msgtype: i32,
    /// Whether [`diff_value`](Self::diff_value) stands for the value.
    pub diff: bool,
    /// What has changed in the value.
    pub diff_value: Option<&'a [u8]>,
    /// The key's stream.
    pub key: Option<&'a [u8]>,
    /// The map's name.
    pub map_id: Option<&'a [u8]>,
    /// Member blocks of those who have a backup.
    pub nodes: Option<Vec<Cow<'a, [u8]>>>,
    /// The member block of the primary, or of the sender.
    pub primary: Option<Cow<'a, [u8]>>,
    /// The value's stream.
    pub value: Option<&'a [u8]>,
}

/// Why a stream is no [`MapMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapMessageError {
    /// It cannot be read.
    Java(JavaError),
    /// It holds something else.
    OtherClass,
    /// A field is missing or of another type.
    Field(&'static str),
}

impl fmt::Display for MapMessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Java(error) => error.fmt(f),
            Self::OtherClass => f.write_str("not a MapMessage"),
            Self::Field(name) => write!(f, "MapMessage without a proper `{name}`"),
        }
    }
}

impl core::error::Error for MapMessageError {}

impl From<JavaError> for MapMessageError {
    fn from(error: JavaError) -> Self {
        Self::Java(error)
    }
}

/// The class.
pub(crate) const CLASS_NAME: &str =
    "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage";
const MEMBER: &[u8] = b"org.apache.catalina.tribes.membership.MemberImpl";
const STATIC_MEMBER: &[u8] = b"org.apache.catalina.tribes.membership.StaticMember";

/// Header, `TC_OBJECT` and the descriptor: the same in every message.
pub(super) const PREAMBLE: &[u8] = b"\xAC\xED\x00\x05\
    sr\x00\x41org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage\
    \x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x08\
    Z\x00\x04diff\
    I\x00\x07msgtype\
    [\x00\x09diffvaluet\x00\x02[B\
    [\x00\x07keydataq\x00\x7E\x00\x01\
    [\x00\x05mapIdq\x00\x7E\x00\x01\
    [\x00\x05nodest\x00\x24[Lorg/apache/catalina/tribes/Member;\
    L\x00\x07primaryt\x00\x23Lorg/apache/catalina/tribes/Member;\
    [\x00\x09valuedataq\x00\x7E\x00\x01xp";

/// The first handle after those of the preamble.
pub(super) const FIRST_HANDLE: u32 = 0x7E_0005;

impl<'a> MapMessage<'a> {
    /// A message of a map about nothing in particular; add the rest with `..`.
    pub fn new(kind: MapMessageType, map_id: &'a [u8]) -> Self {
        Self {
            msgtype: kind.number(),
            map_id: Some(map_id),
            ..Self::default()
        }
    }

    /// The kind, if it is a known one.
    pub fn kind(&self) -> Option<MapMessageType> {
        MapMessageType::from_number(self.msgtype)
    }

    /// Whether a stream claims to hold a map message: cheap, and enough to tell it from other messages.
    pub fn is_map_message(stream: &[u8]) -> bool {
        const BEGIN: &[u8] =
            b"\xAC\xED\x00\x05sr\x00\x41org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage";
        stream.starts_with(BEGIN)
    }

    /// Reads a message that lies as a Tomcat writes it; `None` for any other layout, which
    /// [`normalize`](Self::normalize) can turn into this one.
    pub fn read(stream: &'a [u8]) -> Option<Self> {
        let mut read = Fast {
            rest: stream.strip_prefix(PREAMBLE)?,
            next: FIRST_HANDLE,
            ..Fast::default()
        };
        let diff = read.u8()? != 0;
        let msgtype = read.i32()?;
        let message = Self {
            diff,
            msgtype,
            diff_value: read.bytes()?,
            key: read.bytes()?,
            map_id: read.bytes()?,
            nodes: read.members()?,
            primary: read.member()?,
            value: read.bytes()?,
        };
        read.rest.is_empty().then_some(message)
    }

    /// Reads a message however its stream is laid out, by writing it as a Tomcat does: [`read`](Self::read) the result.
    ///
    /// # Errors
    /// If the stream cannot be read, exceeds `limits`, or holds something else.
    pub fn normalize(stream: &[u8], limits: &Limits) -> Result<Vec<u8>, MapMessageError> {
        let graph = Graph::parse(stream, limits)?;
        let root = graph.root().ok_or(MapMessageError::OtherClass)?;
        let mut normal = Vec::new();
        MapMessage::of_graph(&graph, root)?.write(&mut normal);
        Ok(normal)
    }

    /// Reads a message that is an object of a graph.
    ///
    /// # Errors
    /// If it is something else.
    pub fn of_graph(graph: &'a Graph, root: NodeId) -> Result<Self, MapMessageError> {
        if graph.class_name(root) != CLASS_NAME {
            return Err(MapMessageError::OtherClass);
        }
        let slot = |name: &'static str| match graph.field(root, name) {
            Some(FieldValue::Reference(slot)) => Ok(slot),
            _ => Err(MapMessageError::Field(name)),
        };
        let bytes = |name: &'static str| {
            let bytes = |node| {
                graph
                    .primitive_array(node)
                    .ok_or(MapMessageError::Field(name))
            };
            slot(name)?.map(bytes).transpose()
        };
        let (
            Some(FieldValue::Primitive(Boxed::Boolean(diff))),
            Some(FieldValue::Primitive(Boxed::Integer(msgtype))),
        ) = (graph.field(root, "diff"), graph.field(root, "msgtype"))
        else {
            return Err(MapMessageError::Field("msgtype"));
        };
        let nodes = |array| -> Result<Vec<Cow<'a, [u8]>>, MapMessageError> {
            let nodes = graph.object_array(array);
            let nodes = nodes.ok_or(MapMessageError::Field("nodes"))?;
            let block = |slot: Slot| member_block(graph, slot?);
            Ok(nodes.into_iter().filter_map(block).collect())
        };
        let primary = |node| {
            let block = member_block(graph, node);
            block.ok_or(MapMessageError::Field("primary"))
        };
        Ok(Self {
            msgtype,
            diff,
            diff_value: bytes("diffvalue")?,
            key: bytes("keydata")?,
            map_id: bytes("mapId")?,
            nodes: slot("nodes")?.map(nodes).transpose()?,
            primary: slot("primary")?.map(primary).transpose()?,
            value: bytes("valuedata")?,
        })
    }

    /// Appends the whole stream.
    pub fn write(&self, out: &mut Vec<u8>) {
        MapWriter::alone(out).message(self);
    }
}

/// The block inside a `MemberImpl` or `StaticMember`.
fn member_block(graph: &Graph, node: NodeId) -> Option<Cow<'_, [u8]>> {
    let class = graph.class_name(node);
    let class = [MEMBER, STATIC_MEMBER]
        .into_iter()
        .find(|known| class.as_modified_utf8() == *known)?;
    graph.custom_data(node, class)?.sized().map(Cow::Owned)
}

/// Reads what follows the preamble.
#[derive(Default)]
struct Fast<'a> {
    rest: &'a [u8],
    next: u32,
    /// Handles of what has been described.
    bytes_class: Option<u32>,
    member_class: Option<u32>,
    members: Vec<(u32, Cow<'a, [u8]>)>,
}

const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const OBJECT: u8 = 0x73;
const ARRAY: u8 = 0x75;
const BLOCK: u8 = 0x77;
const LONG_BLOCK: u8 = 0x7A;
const END_BLOCK: u8 = 0x78;

impl<'a> Fast<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn i32(&mut self) -> Option<i32> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i32::from_be_bytes(*first))
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.i32()?).ok()
    }

    fn handle(&mut self) -> u32 {
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        handle
    }

    /// A class descriptor, or the reference to it.
    fn class(&mut self, known: Option<u32>, described: &[u8]) -> Option<u32> {
        if self.rest.first() == Some(&REFERENCE) {
            self.u8()?;
            let handle = self.i32()?.cast_unsigned();
            return known.filter(|known| *known == handle);
        }
        self.rest = self.rest.strip_prefix(described)?;
        Some(self.handle())
    }

    /// A `byte[]` or null.
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.u8()? {
            NULL => return Some(None),
            ARRAY => {}
            _ => return None,
        }
        self.bytes_class = Some(self.class(self.bytes_class, BYTES_DESC)?);
        self.handle();
        let len = self.len()?;
        self.take(len).map(Some)
    }

    /// A `Member[]` or null.
    fn members(&mut self) -> Option<Option<Vec<Cow<'a, [u8]>>>> {
        match self.u8()? {
            NULL => return Some(None),
            ARRAY => {}
            _ => return None,
        }
        self.class(None, MEMBERS_DESC)?;
        self.handle();
        // Each takes more than one byte, so an announced count cannot make this loop longer than the message.
        let mut nodes = Vec::new();
        for _ in 0..self.len()? {
            nodes.push(self.member()??);
        }
        Some(Some(nodes))
    }

    /// A `MemberImpl` or null.
    fn member(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        match self.u8()? {
            NULL => return Some(None),
            REFERENCE => {
                let handle = self.i32()?.cast_unsigned();
                let known = self.members.iter().find(|member| member.0 == handle)?;
                return Some(Some(known.1.clone()));
            }
            OBJECT => {}
            _ => return None,
        }
        self.member_class = Some(self.class(self.member_class, MEMBER_DESC)?);
        let handle = self.handle();
        let data = match self.u8()? {
            BLOCK => usize::from(self.u8()?),
            LONG_BLOCK => self.len()?,
            _ => return None,
        };
        let (len, block) = self.take(data)?.split_first_chunk()?;
        // A longer one continues in another segment.
        if usize::try_from(i32::from_be_bytes(*len)).ok()? != block.len() {
            return None;
        }
        if self.u8()? != END_BLOCK {
            return None;
        }
        let block = Cow::Borrowed(block);
        self.members.push((handle, block.clone()));
        Some(Some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Member, UniqueId};
    use proptest::prelude::*;

    fn block(port: u16, payload: usize) -> Vec<u8> {
        let mut member = Member::new(([10, 0, 0, 1], port).into(), UniqueId([7; 16]));
        member.payload = std::vec![5; payload];
        let mut block = Vec::new();
        member.write(&mut block).unwrap();
        block
    }

    type Parts = (
        (bool, i32),
        [Option<Vec<u8>>; 4],
        Option<Vec<Vec<u8>>>,
        Option<Vec<u8>>,
    );

    fn any_parts() -> impl Strategy<Value = Parts> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
        let member = || (0..9000u16, 0..2500usize).prop_map(|(port, len)| block(port, len));
        (
            (any::<bool>(), any::<i32>()),
            [bytes(), bytes(), bytes(), bytes()],
            proptest::option::of(proptest::collection::vec(member(), 0..4)),
            proptest::option::of(member()),
        )
    }

    fn message(parts: &Parts) -> MapMessage<'_> {
        let ((diff, msgtype), [diff_value, key, map_id, value], nodes, primary) = parts;
        MapMessage {
            msgtype: *msgtype,
            diff: *diff,
            diff_value: diff_value.as_deref(),
            key: key.as_deref(),
            map_id: map_id.as_deref(),
            nodes: nodes
                .as_ref()
                .map(|nodes| nodes.iter().map(Cow::from).collect()),
            primary: primary.as_ref().map(Cow::from),
            value: value.as_deref(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_a_java_stream(parts in any_parts()) {
            let message = message(&parts);
            let mut stream = Vec::new();
            message.write(&mut stream);
            prop_assert!(MapMessage::is_map_message(&stream));
            let graph = Graph::parse(&stream, &Limits::DEFAULT).unwrap();
            prop_assert_eq!(&graph.encode()[..], &stream[..]);
            prop_assert_eq!(&MapMessage::of_graph(&graph, graph.root().unwrap()).unwrap(), &message);
            let normal = MapMessage::normalize(&stream, &Limits::DEFAULT).unwrap();
            prop_assert_eq!(&normal, &stream);
            // A member of more than one segment of block data is read the long way only.
            let blocks = message.nodes.iter().flatten().chain(&message.primary);
            if blocks.map(|block| block.len()).max() <= Some(1020) {
                prop_assert_eq!(MapMessage::read(&stream), Some(message));
            }
        }

        #[test]
        fn what_is_cut_off_is_not_read(parts in any_parts(), cut in any::<prop::sample::Index>()) {
            let mut stream = Vec::new();
            message(&parts).write(&mut stream);
            let cut = &stream[..cut.index(stream.len())];
            prop_assert_eq!(MapMessage::read(cut), None);
            prop_assert!(MapMessage::normalize(cut, &Limits::DEFAULT).is_err());
        }
    }

    #[test]
    fn members_and_arrays_may_be_shared() {
        let (a, id) = (block(4000, 0), b"map".as_slice());
        let stream = {
            let mut out = Vec::new();
            let mut writer = MapWriter::list(&mut out, 2);
            for key in [b"k1".as_slice(), b"k2"] {
                writer.message(&MapMessage {
                    key: Some(key),
                    nodes: Some(std::vec![Cow::Borrowed(&a[..]), Cow::Borrowed(&a[..])]),
                    primary: Some(Cow::Borrowed(&a[..])),
                    ..MapMessage::new(MapMessageType::Proxy, id)
                });
            }
            writer.end_list();
            out
        };
        let graph = Graph::parse(&stream, &Limits::DEFAULT).unwrap();
        assert_eq!(graph.encode(), stream);
        let mut list = graph
            .custom_data(graph.root().unwrap(), b"java.util.ArrayList")
            .unwrap();
        assert_eq!(list.i32(), Some(2));
        for key in [b"k1", b"k2"] {
            let element = list.slot().unwrap().unwrap();
            let message = MapMessage::of_graph(&graph, element).unwrap();
            assert_eq!(message.key, Some(key.as_slice()));
            assert_eq!(message.primary.as_deref(), Some(&a[..]));
            assert_eq!(message.nodes.map(|nodes| nodes.len()), Some(2));
            assert_eq!(message.map_id, Some(id));
        }
        assert!(stream.len() < 1000, "{}", stream.len());
    }
}
