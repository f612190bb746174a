//! A whole stream as a graph of nodes.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::irregular::{self, Layouts};
use super::parse::parse;
use super::table::Layout;
use super::table::Span;
use super::{JavaBytes, JavaError, JavaString, Limits};

/// A Java object stream, all of it: objects, strings, arrays and class descriptors are nodes, and a back reference
/// is simply the same node in another place.
///
/// Lossless: [`encode`](Self::encode) gives the bytes that were parsed, unless the writer gave up somewhere
/// (`TC_EXCEPTION`). Cycles are no problem; nothing here recurses.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) identity: Identity,
    /// What the spans of this graph are spans of: the stream it came from, and after it what was added.
    pub(crate) bytes: Vec<u8>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) items: Vec<Item>,
    pub(crate) classes: Vec<ClassInfo>,
    pub(crate) fields: Vec<FieldInfo>,
    pub(crate) contents: Vec<Content>,
    /// Descriptors and type strings added by building, to be shared.
    pub(crate) built: super::build::Built,
}

/// Tells graphs apart: a copy of a graph is another graph, since it can be changed.
#[derive(Debug)]
pub(crate) struct Identity(pub(crate) u32);

impl Default for Identity {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A node of a [`Graph`]. Means nothing in another graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// Where a value can be: a node, or null.
pub type Slot = Option<NodeId>;

/// What stands at the top level of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// An object, string, array, … or null.
    Value(Slot),
    /// A segment of block data; see [`Graph::block`].
    Block(BlockData),
    /// The writer forgot what it had written (`TC_RESET`).
    Reset,
    /// The writer gave up inside the value that would stand here, and left this exception.
    Exception(Slot),
}

/// A segment of block data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockData {
    pub(crate) span: Span,
    /// With the long header, whatever its length.
    pub(crate) long: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A string.
    String,
    /// An object with fields or data of its own.
    Object,
    /// An array.
    Array,
    /// An enum constant.
    Enum,
    /// A `java.lang.Class`.
    Class,
    /// A class descriptor.
    ClassDescriptor,
}

/// A part of a node, in the order of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Null,
    Node(NodeId),
    /// The primitive fields of one class, or the elements of a primitive array.
    Primitives(Span),
    Block(BlockData),
    EndBlock,
}

impl Item {
    pub(crate) const fn slot(self) -> Option<Slot> {
        match self {
            Self::Null => Some(None),
            Self::Node(node) => Some(Some(node)),
            Self::Primitives(_) | Self::Block(_) | Self::EndBlock => None,
        }
    }

    pub(crate) fn of(slot: Slot) -> Self {
        slot.map_or(Self::Null, Self::Node)
    }
}

/// A run of a graph's items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    String {
        text: Span,
        long: bool,
    },
    Descriptor(u32),
    Object {
        class: NodeId,
        items: Run,
    },
    Array {
        class: NodeId,
        count: u32,
        items: Run,
    },
    Enum {
        class: NodeId,
        name: NodeId,
    },
    Class {
        class: NodeId,
    },
}

/// A class descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassInfo {
    /// For a proxy the run of its interfaces' names, each with its length.
    pub(crate) name: Span,
    pub(crate) uid: i64,
    pub(crate) flags: u8,
    /// For a proxy, how many interfaces it has.
    pub(crate) proxy: Option<u32>,
    pub(crate) layout: Layout,
    pub(crate) fields: Run,
    pub(crate) object_fields: u16,
    pub(crate) primitive_len: u32,
    pub(crate) annotation: Run,
    pub(crate) superclass: Slot,
}

impl ClassInfo {
    /// Whether objects have data for this class itself, not counting superclasses.
    pub(crate) const fn has_data(&self) -> bool {
        self.fields.end > self.fields.start || self.flags & super::code::WRITE_METHOD != 0
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldInfo {
    pub(crate) code: u8,
    pub(crate) name: Span,
    /// The string with the type's signature, of an object field.
    pub(crate) signature: Slot,
}

impl Graph {
    /// An empty graph, to be built.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a whole stream. Classes with an irregular layout are found out by trying (a class whose `writeObject`
    /// writes something before its fields, or leaves them out).
    ///
    /// # Errors
    ///
    /// If it is no complete Java object stream, or exceeds `limits`.
    pub fn parse(stream: &[u8], limits: &Limits) -> Result<Self, JavaError> {
        let (first, suspicious) = parse(stream, limits, Layouts::default());
        if first.is_ok() || !suspicious {
            return first;
        }
        match irregular::resolve(stream, limits, &Layouts::default()) {
            Ok(layouts) => parse(stream, limits, layouts).0,
            Err(_) => first,
        }
    }

    /// What stands at the top level, in order.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The first value at the top level.
    pub fn root(&self) -> Slot {
        self.contents.iter().find_map(|content| match *content {
            Content::Value(slot) => Some(slot),
            _ => None,
        })?
    }

    /// Adds a value at the top level.
    pub fn push(&mut self, value: Slot) {
        self.contents.push(Content::Value(value));
    }

    /// The bytes of a segment of block data.
    pub fn block(&self, block: BlockData) -> &[u8] {
        block.span.of(&self.bytes)
    }

    /// What `node` is.
    pub fn kind(&self, node: NodeId) -> Option<NodeKind> {
        Some(match self.node(node)? {
            Node::String { .. } => NodeKind::String,
            Node::Descriptor(_) => NodeKind::ClassDescriptor,
            Node::Object { .. } => NodeKind::Object,
            Node::Array { .. } => NodeKind::Array,
            Node::Enum { .. } => NodeKind::Enum,
            Node::Class { .. } => NodeKind::Class,
        })
    }

    /// The name of the class of an object, array or enum constant, of the class that a `Class` object or a descriptor
    /// stands for, or `java.lang.String`; empty for a proxy.
    pub fn class_name(&self, node: NodeId) -> JavaString {
        JavaString::from_checked(Bytes::copy_from_slice(self.class_name_bytes(node)))
    }

    pub(crate) fn class_name_bytes(&self, node: NodeId) -> &[u8] {
        if let Some(Node::String { .. }) = self.node(node) {
            return b"java.lang.String";
        }
        match self.class_of(node) {
            Some(class) if class.proxy.is_none() => class.name.of(&self.bytes),
            _ => &[],
        }
    }

    /// The text of a string.
    pub fn text(&self, node: NodeId) -> Option<JavaString> {
        self.text_bytes(node)
            .map(|text| JavaString::from_checked(Bytes::copy_from_slice(text)))
    }

    pub(crate) fn text_bytes(&self, node: NodeId) -> Option<&[u8]> {
        match self.node(node)? {
            Node::String { text, .. } => Some(text.of(&self.bytes)),
            _ => None,
        }
    }

    /// The name of an enum constant.
    pub fn enum_name(&self, node: NodeId) -> Option<JavaString> {
        match *self.node(node)? {
            Node::Enum { name, .. } => self.text(name),
            _ => None,
        }
    }

    /// The class descriptor of an object, array, enum constant or `Class` object.
    pub fn descriptor(&self, node: NodeId) -> Slot {
        match *self.node(node)? {
            Node::Object { class, .. }
            | Node::Array { class, .. }
            | Node::Enum { class, .. }
            | Node::Class { class } => Some(class),
            Node::Descriptor(_) => Some(node),
            Node::String { .. } => None,
        }
    }

    /// The value of `node` as a stream of its own.
    pub fn value_bytes(&self, value: Slot) -> JavaBytes {
        let Some(node) = value else {
            return JavaBytes::NULL;
        };
        JavaBytes::from_checked(self.encode_values(&[Content::Value(Some(node))]).into())
    }

    /// The stream, encoded as `ObjectOutputStream` does.
    pub fn encode(&self) -> Bytes {
        self.encode_values(&self.contents).into()
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node.0 as usize)
    }

    /// The class descriptor of a node, or the one that it is.
    pub(crate) fn class_of(&self, node: NodeId) -> Option<&ClassInfo> {
        match self.node(self.descriptor(node)?)? {
            Node::Descriptor(class) => self.classes.get(*class as usize),
            _ => None,
        }
    }

    pub(crate) fn run(&self, run: Run) -> &[Item] {
        self.items
            .get(run.start as usize..run.end as usize)
            .unwrap_or_default()
    }

    pub(crate) fn fields_of(&self, class: &ClassInfo) -> &[FieldInfo] {
        self.fields
            .get(class.fields.start as usize..class.fields.end as usize)
            .unwrap_or_default()
    }

    pub(crate) fn add_node(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub(crate) fn add_items(&mut self, items: impl IntoIterator<Item = Item>) -> Run {
        let start = self.items.len() as u32;
        self.items.extend(items);
        Run {
            start,
            end: self.items.len() as u32,
        }
    }
}
