//! Adding to a [`Graph`].

use alloc::vec::Vec;

use bytes::BufMut;
use hashbrown::HashMap;

use super::catalogue;
use super::descriptor::{ClassDescriptor, FieldDescriptor};
use super::graph::{
    BlockData, ClassInfo, Content, FieldInfo, Graph, Item, Node, NodeId, Run, Slot,
};
use super::table::Layout;
use super::table::Span;
use super::{JavaString, code};

/// The size of a full segment of block data.
const BLOCK_MAX: usize = 1024;

/// What is shared by all that is added to a graph, as it is in Java: class descriptors and the strings of field
/// types, and boxed values from the caches of `valueOf`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Built {
    type_strings: HashMap<Vec<u8>, NodeId>,
    classes: HashMap<Vec<u8>, NodeId>,
    boxes: HashMap<(u8, i16), NodeId>,
    /// How many of the graph's classes are in `classes`.
    indexed: usize,
}

/// A part of the data of an object that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The primitive fields of one class, in the order of its descriptor.
    Primitives(&'a [u8]),
    /// The next object field, or an object among custom data.
    Value(Slot),
    /// Custom data; split into segments as `ObjectOutputStream` does.
    Data(&'a [u8]),
    /// The end of custom data.
    End,
}

/// A boxed primitive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Boxed {
    /// `java.lang.Boolean`
    Boolean(bool),
    /// `java.lang.Byte`
    Byte(i8),
    /// `java.lang.Character`, a UTF-16 code unit
    Character(u16),
    /// `java.lang.Short`
    Short(i16),
    /// `java.lang.Integer`
    Integer(i32),
    /// `java.lang.Long`
    Long(i64),
    /// `java.lang.Float`
    Float(f32),
    /// `java.lang.Double`
    Double(f64),
}

impl Boxed {
    /// The class.
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Boolean(_) => "java.lang.Boolean",
            Self::Byte(_) => "java.lang.Byte",
            Self::Character(_) => "java.lang.Character",
            Self::Short(_) => "java.lang.Short",
            Self::Integer(_) => "java.lang.Integer",
            Self::Long(_) => "java.lang.Long",
            Self::Float(_) => "java.lang.Float",
            Self::Double(_) => "java.lang.Double",
        }
    }

    /// Writes the primitive value.
    pub(crate) fn put(self, out: &mut impl BufMut) {
        match self {
            Self::Boolean(value) => out.put_u8(u8::from(value)),
            Self::Byte(value) => out.put_i8(value),
            Self::Character(value) => out.put_u16(value),
            Self::Short(value) => out.put_i16(value),
            Self::Integer(value) => out.put_i32(value),
            Self::Long(value) => out.put_i64(value),
            Self::Float(value) => out.put_f32(value),
            Self::Double(value) => out.put_f64(value),
        }
    }

    /// The place in the caches of `valueOf`, if there is one.
    pub(crate) fn cached(self) -> Option<(u8, i16)> {
        let (code, value) = match self {
            Self::Boolean(value) => (b'Z', i64::from(value)),
            Self::Byte(value) => (b'B', i64::from(value)),
            Self::Character(value) => (b'C', i64::from(value)),
            Self::Short(value) => (b'S', i64::from(value)),
            Self::Integer(value) => (b'I', i64::from(value)),
            Self::Long(value) => (b'J', value),
            Self::Float(_) | Self::Double(_) => return None,
        };
        (-128..=127)
            .contains(&value)
            .then_some((code, value as i16))
    }

    /// A value of the given field type from its bytes.
    pub(crate) fn read(code: u8, bytes: &[u8]) -> Option<Self> {
        Some(match code {
            b'Z' => Self::Boolean(*bytes.first()? != 0),
            b'B' => Self::Byte(i8::from_be_bytes(*bytes.first_chunk()?)),
            b'C' => Self::Character(u16::from_be_bytes(*bytes.first_chunk()?)),
            b'S' => Self::Short(i16::from_be_bytes(*bytes.first_chunk()?)),
            b'I' => Self::Integer(i32::from_be_bytes(*bytes.first_chunk()?)),
            b'J' => Self::Long(i64::from_be_bytes(*bytes.first_chunk()?)),
            b'F' => Self::Float(f32::from_be_bytes(*bytes.first_chunk()?)),
            b'D' => Self::Double(f64::from_be_bytes(*bytes.first_chunk()?)),
            _ => return None,
        })
    }
}

impl Graph {
    /// Adds a string: a new one, even if the graph has an equal one.
    pub fn add_string(&mut self, text: &JavaString) -> NodeId {
        let text = self.add_bytes(text.as_modified_utf8());
        self.add_node(Node::String {
            text,
            long: text.len > u32::from(u16::MAX),
        })
    }

    /// Adds a boxed value: where `valueOf` always gives the same instance, the same node.
    pub fn add_boxed(&mut self, value: Boxed) -> NodeId {
        if let Some(&node) = value
            .cached()
            .and_then(|cached| self.built.boxes.get(&cached))
        {
            return node;
        }
        let mut bytes = heapless::Vec::<u8, 8>::new();
        let mut room = [0; 8];
        let mut rest = room.as_mut_slice();
        value.put(&mut rest);
        let len = 8 - rest.len();
        // Eight bytes have room for eight.
        let _ = bytes.extend_from_slice(room.get(..len).unwrap_or_default());
        let class = self.add_known_class(value.class_name());
        let node = self.add_object(class, &[Part::Primitives(&bytes)]);
        if let Some(cached) = value.cached() {
            self.built.boxes.insert(cached, node);
        }
        node
    }

    /// Adds a class descriptor with those of its superclasses, unless the graph has equal ones.
    pub fn add_class(&mut self, class: &ClassDescriptor) -> NodeId {
        let mut chain = Vec::new();
        let mut next = Some(class);
        while let Some(class) = next {
            chain.push(class);
            next = class.superclass.as_deref();
        }
        let mut superclass = None;
        for class in chain.into_iter().rev() {
            superclass = Some(self.add_one_class(class, superclass));
        }
        // The chain has at least one link.
        superclass.unwrap_or(NodeId(0))
    }

    /// Adds the descriptor of a class of the catalogue, or else one of a plain class without fields.
    pub(crate) fn add_known_class(&mut self, name: &str) -> NodeId {
        let class = ClassDescriptor::well_known(name).unwrap_or_else(|| ClassDescriptor {
            name: JavaString::from(name),
            uid: 0,
            flags: code::SERIALIZABLE,
            fields: Vec::new(),
            superclass: None,
        });
        self.add_class(&class)
    }

    fn add_one_class(&mut self, class: &ClassDescriptor, superclass: Slot) -> NodeId {
        self.index_classes();
        let fields = class.fields.iter().map(|field| {
            (
                field.name.as_modified_utf8(),
                field.signature.as_modified_utf8(),
            )
        });
        let key = class_key(
            class.name.as_modified_utf8(),
            class.uid,
            class.flags,
            superclass,
            fields,
        );
        if let Some(&node) = self.built.classes.get(&key) {
            return node;
        }
        let start = self.fields.len() as u32;
        let (mut object_fields, mut primitive_len) = (0, 0);
        let mut fields = Vec::with_capacity(class.fields.len());
        for field in &class.fields {
            let info = self.field_info(field);
            match info.signature {
                Some(_) => object_fields += 1,
                None => primitive_len += code_width(info.code),
            }
            fields.push(info);
        }
        self.fields.extend(fields);
        let info = ClassInfo {
            name: self.add_bytes(class.name.as_modified_utf8()),
            uid: class.uid,
            flags: class.flags,
            proxy: None,
            layout: Layout::Regular,
            fields: Run {
                start,
                end: self.fields.len() as u32,
            },
            object_fields,
            primitive_len,
            annotation: self.add_items([Item::EndBlock]),
            superclass,
        };
        self.classes.push(info);
        let node = self.add_node(Node::Descriptor(self.classes.len() as u32 - 1));
        self.built.indexed = self.classes.len();
        self.built.classes.insert(key, node);
        node
    }

    fn field_info(&mut self, field: &FieldDescriptor) -> FieldInfo {
        let signature = field.signature.as_modified_utf8();
        let code = signature.first().copied().unwrap_or(b'L');
        let name = self.add_bytes(field.name.as_modified_utf8());
        if code_width(code) > 0 {
            return FieldInfo {
                code,
                name,
                signature: None,
            };
        }
        let node = match self.built.type_strings.get(signature) {
            Some(&node) => node,
            None => {
                let node = self.add_string(&field.signature);
                self.built.type_strings.insert(signature.to_vec(), node);
                node
            }
        };
        FieldInfo {
            code,
            name,
            signature: Some(node),
        }
    }

    /// Makes the descriptors of a parsed graph known to building.
    fn index_classes(&mut self) {
        if self.built.indexed == self.classes.len() {
            return;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let Node::Descriptor(number) = *node else {
                continue;
            };
            let Some(info) = self
                .classes
                .get(number as usize)
                .filter(|info| info.proxy.is_none())
            else {
                continue;
            };
            let fields = self
                .fields
                .get(info.fields.start as usize..info.fields.end as usize)
                .unwrap_or_default();
            let texts = fields.iter().map(|field| {
                let name = field.name.of(&self.bytes);
                match field.signature.and_then(|node| self.text_bytes(node)) {
                    Some(signature) => (name, signature),
                    None => (name, core::slice::from_ref(&field.code)),
                }
            });
            let key = class_key(
                info.name.of(&self.bytes),
                info.uid,
                info.flags,
                info.superclass,
                texts,
            );
            self.built.classes.entry(key).or_insert(NodeId(at as u32));
            for signature in fields.iter().filter_map(|field| field.signature) {
                if let Some(text) = self.text_bytes(signature) {
                    self.built
                        .type_strings
                        .entry(text.to_vec())
                        .or_insert(signature);
                }
            }
        }
        self.built.indexed = self.classes.len();
    }

    /// Adds an object of a class with this descriptor, from the parts of its data: for each class from the topmost
    /// superclass down the primitive fields, the object fields and the custom data.
    pub fn add_object(&mut self, class: NodeId, parts: &[Part<'_>]) -> NodeId {
        let items = self.add_parts(parts);
        self.add_node(Node::Object { class, items })
    }

    /// Adds an array of objects.
    pub fn add_array(&mut self, class: NodeId, elements: &[Slot]) -> NodeId {
        let items = self.add_items(elements.iter().copied().map(Item::of));
        self.add_node(Node::Array {
            class,
            count: elements.len() as u32,
            items,
        })
    }

    /// Adds an array of primitive elements, given by their bytes.
    pub fn add_primitive_array(&mut self, class: NodeId, elements: &[u8]) -> NodeId {
        let width = self.array_width(class).max(1);
        let span = self.add_bytes(elements);
        let items = match span.len {
            0 => Run::default(),
            _ => self.add_items([Item::Primitives(span)]),
        };
        self.add_node(Node::Array {
            class,
            count: span.len / width,
            items,
        })
    }

    /// Adds an enum constant. The name is a string node, which Java shares between its uses.
    pub fn add_enum(&mut self, class: NodeId, name: NodeId) -> NodeId {
        self.add_node(Node::Enum { class, name })
    }

    /// Adds a `java.lang.Class`.
    pub fn add_class_object(&mut self, class: NodeId) -> NodeId {
        self.add_node(Node::Class { class })
    }

    /// Adds block data at the top level, in segments of 1024 bytes.
    pub fn push_block(&mut self, data: &[u8]) {
        for segment in data.chunks(BLOCK_MAX) {
            let span = self.add_bytes(segment);
            self.contents.push(Content::Block(BlockData {
                span,
                long: segment.len() > usize::from(u8::MAX),
            }));
        }
    }

    fn add_parts(&mut self, parts: &[Part<'_>]) -> Run {
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            match *part {
                Part::Primitives([]) => {}
                Part::Primitives(bytes) => items.push(Item::Primitives(self.add_bytes(bytes))),
                Part::Value(slot) => items.push(Item::of(slot)),
                Part::Data(bytes) => {
                    for segment in bytes.chunks(BLOCK_MAX) {
                        let span = self.add_bytes(segment);
                        items.push(Item::Block(BlockData {
                            span,
                            long: segment.len() > usize::from(u8::MAX),
                        }));
                    }
                }
                Part::End => items.push(Item::EndBlock),
            }
        }
        self.add_items(items)
    }

    fn add_bytes(&mut self, bytes: &[u8]) -> Span {
        let span = Span {
            start: self.bytes.len() as u32,
            len: bytes.len() as u32,
        };
        self.bytes.extend_from_slice(bytes);
        span
    }

    /// The descriptor of an array class: the name says it all, and Java does not look at the UID.
    pub(crate) fn add_array_class(&mut self, name: &JavaString) -> NodeId {
        let known = catalogue::known(name.as_modified_utf8());
        let class = known
            .and_then(|known| ClassDescriptor::well_known(known.name))
            .unwrap_or_else(|| ClassDescriptor {
                name: name.clone(),
                uid: 0,
                flags: code::SERIALIZABLE,
                fields: Vec::new(),
                superclass: None,
            });
        self.add_class(&class)
    }
}

fn class_key<'k>(
    name: &[u8],
    uid: i64,
    flags: u8,
    superclass: Slot,
    fields: impl Iterator<Item = (&'k [u8], &'k [u8])>,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.put_i64(uid);
    key.put_u8(flags);
    key.put_u32(superclass.map_or(u32::MAX, |node| node.0));
    key.put_u32(name.len() as u32);
    key.put_slice(name);
    for (name, signature) in fields {
        key.put_u32(name.len() as u32);
        key.put_slice(name);
        key.put_u32(signature.len() as u32);
        key.put_slice(signature);
    }
    key
}

/// The bytes of a primitive field; 0 for an object.
pub(crate) const fn code_width(code: u8) -> u32 {
    match code {
        b'B' | b'Z' => 1,
        b'C' | b'S' => 2,
        b'F' | b'I' => 4,
        b'D' | b'J' => 8,
        _ => 0,
    }
}
