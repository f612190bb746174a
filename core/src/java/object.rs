//! Looking into the objects of a [`Graph`], and changing them.

use alloc::vec::Vec;
use core::fmt;

use super::build::{Boxed, code_width};
use super::graph::{ClassInfo, Graph, Item, Node, NodeId, Slot};
use super::table::Layout;
use super::{JavaString, code};
use bytes::Bytes;

/// The value of a field or of an array element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue {
    /// A primitive.
    Primitive(Boxed),
    /// An object, or null.
    Reference(Slot),
}

/// A field of an object of a [`Graph`].
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOf {
    /// The class that declares it.
    pub class: JavaString,
    /// Its name.
    pub name: JavaString,
    /// Its value.
    pub value: FieldValue,
}

/// Why a field could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// It is no object with fields that can be told apart.
    NoObject,
    /// The object has no such field.
    NoSuchField,
    /// The field has another type.
    WrongType,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoObject => "not an object with fields",
            Self::NoSuchField => "the object has no field of that name",
            Self::WrongType => "the field has another type",
        })
    }
}

impl core::error::Error for FieldError {}

/// The data of an object that belong to one class of its hierarchy, as places among the graph's items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// The class, as a number among the graph's.
    pub(crate) class: u32,
    pub(crate) primitives: Option<u32>,
    pub(crate) objects: (u32, u32),
    /// Custom data, without their end.
    pub(crate) annotation: (u32, u32),
}

/// Where a field's value is.
enum Place {
    Bytes { code: u8, offset: usize },
    Item(u32),
}

impl Graph {
    /// The data of an object, from its topmost superclass with data down; nothing for other nodes.
    pub(crate) fn levels(&self, node: NodeId) -> Vec<Level> {
        let Some(&Node::Object { class, items }) = self.node(node) else {
            return Vec::new();
        };
        let mut chain = Vec::new();
        let mut next = Some(class);
        while let Some(&Node::Descriptor(number)) = next.and_then(|node| self.node(node)) {
            let Some(info) = self.classes.get(number as usize) else {
                break;
            };
            chain.push((number, info));
            next = info.superclass;
            if info.flags & code::EXTERNALIZABLE != 0 {
                break;
            }
        }
        let mut at = items.start;
        let levels = chain
            .into_iter()
            .rev()
            .filter(|(_, info)| info.has_data() || info.flags & code::EXTERNALIZABLE != 0);
        levels
            .map(|(number, info)| self.level(number, info, &mut at))
            .collect()
    }

    fn level(&self, class: u32, info: &ClassInfo, at: &mut u32) -> Level {
        let external = info.flags & code::EXTERNALIZABLE != 0;
        let (prefix, fields) = match info.layout {
            _ if external => (0, false),
            Layout::Regular => (0, true),
            Layout::Late(items) => (u32::from(items), true),
            Layout::Absent => (0, false),
        };
        let mut level = Level {
            class,
            primitives: None,
            objects: (0, 0),
            annotation: (0, 0),
        };
        *at += prefix;
        if fields {
            if info.primitive_len > 0 {
                level.primitives = Some(*at);
                *at += 1;
            }
            level.objects = (*at, *at + u32::from(info.object_fields));
            *at = level.objects.1;
        }
        if external || info.flags & code::WRITE_METHOD != 0 {
            let start = *at;
            while self
                .items
                .get(*at as usize)
                .is_some_and(|item| *item != Item::EndBlock)
            {
                *at += 1;
            }
            level.annotation = (start, *at);
            *at += 1;
        }
        level
    }

    pub(crate) fn class_number(&self, class: u32) -> Option<&ClassInfo> {
        self.classes.get(class as usize)
    }

    fn place(&self, level: &Level, name: &[u8]) -> Option<Place> {
        let info = self.class_number(level.class)?;
        let (mut offset, mut object) = (0, level.objects.0);
        for field in self.fields_of(info) {
            let width = code_width(field.code);
            if field.name.of(&self.bytes) == name {
                return match width {
                    0 => (object < level.objects.1).then_some(Place::Item(object)),
                    _ => {
                        let Item::Primitives(span) = *self.items.get(level.primitives? as usize)?
                        else {
                            return None;
                        };
                        Some(Place::Bytes {
                            code: field.code,
                            offset: span.start as usize + offset,
                        })
                    }
                };
            }
            match width {
                0 => object += 1,
                width => offset += width as usize,
            }
        }
        None
    }

    fn at(&self, place: &Place) -> Option<FieldValue> {
        match *place {
            Place::Bytes { code, offset } => {
                Boxed::read(code, self.bytes.get(offset..)?).map(FieldValue::Primitive)
            }
            Place::Item(at) => self
                .items
                .get(at as usize)?
                .slot()
                .map(FieldValue::Reference),
        }
    }

    /// The field `name` of an object; of several, the one declared furthest down.
    pub fn field(&self, node: NodeId, name: &str) -> Option<FieldValue> {
        let name = JavaString::from(name);
        let levels = self.levels(node);
        let place = levels
            .iter()
            .rev()
            .find_map(|level| self.place(level, name.as_modified_utf8()))?;
        self.at(&place)
    }

    /// All fields of an object, from its topmost superclass down, in the order of the stream.
    pub fn fields(&self, node: NodeId) -> Vec<FieldOf> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| JavaString::from_checked(Bytes::copy_from_slice(bytes));
        for level in self.levels(node) {
            let Some(info) = self.class_number(level.class) else {
                continue;
            };
            let class = text(info.name.of(&self.bytes));
            for field in self.fields_of(info) {
                let name = field.name.of(&self.bytes);
                if let Some(value) = self.place(&level, name).and_then(|place| self.at(&place)) {
                    fields.push(FieldOf {
                        class: class.clone(),
                        name: text(name),
                        value,
                    });
                }
            }
        }
        fields
    }

    /// The signature of the type of a field (`I`, `Ljava/lang/String;`).
    pub fn field_signature(&self, node: NodeId, name: &str) -> Option<JavaString> {
        let name = JavaString::from(name);
        self.levels(node).iter().rev().find_map(|level| {
            let mut fields = self.fields_of(self.class_number(level.class)?).iter();
            let field =
                fields.find(|field| field.name.of(&self.bytes) == name.as_modified_utf8())?;
            match field.signature {
                Some(signature) => self.text(signature),
                None => Some(JavaString::from_checked(Bytes::copy_from_slice(&[
                    field.code
                ]))),
            }
        })
    }

    /// Changes a field of an object. Nothing else of the stream changes, the class descriptor in particular.
    ///
    /// # Errors
    ///
    /// If there is no such field, or it holds primitives of another type. Whether an object fits the declared type
    /// is for the caller to know: only Java has the classes.
    pub fn set_field(
        &mut self,
        node: NodeId,
        name: &str,
        value: FieldValue,
    ) -> Result<(), FieldError> {
        let name = JavaString::from(name);
        let levels = self.levels(node);
        if levels.is_empty() {
            return Err(FieldError::NoObject);
        }
        let place = levels
            .iter()
            .rev()
            .find_map(|level| self.place(level, name.as_modified_utf8()));
        match (place.ok_or(FieldError::NoSuchField)?, value) {
            (Place::Bytes { code, offset }, FieldValue::Primitive(value)) => {
                let same = Boxed::read(code, &[0; 8])
                    .is_some_and(|old| old.class_name() == value.class_name());
                let width = code_width(code) as usize;
                match self.bytes.get_mut(offset..offset + width) {
                    Some(mut bytes) if same => value.put(&mut bytes),
                    _ => return Err(FieldError::WrongType),
                }
            }
            (Place::Item(at), FieldValue::Reference(slot)) => match self.items.get_mut(at as usize)
            {
                Some(item) => *item = Item::of(slot),
                None => return Err(FieldError::NoSuchField),
            },
            _ => return Err(FieldError::WrongType),
        }
        Ok(())
    }

    /// The number of elements of an array.
    pub fn array_len(&self, node: NodeId) -> Option<usize> {
        match self.node(node)? {
            Node::Array { count, .. } => Some(*count as usize),
            _ => None,
        }
    }

    /// The bytes of an array of primitives, big-endian.
    pub fn primitive_array(&self, node: NodeId) -> Option<&[u8]> {
        let &Node::Array { items, .. } = self.node(node)? else {
            return None;
        };
        match self.run(items) {
            [Item::Primitives(span)] => Some(span.of(&self.bytes)),
            [] if self.array_width(node) > 0 => Some(&[]),
            _ => None,
        }
    }

    /// The elements of an array of objects.
    pub fn object_array(&self, node: NodeId) -> Option<Vec<Slot>> {
        let &Node::Array { items, .. } = self.node(node)? else {
            return None;
        };
        if self.array_width(node) > 0 {
            return None;
        }
        Some(
            self.run(items)
                .iter()
                .copied()
                .filter_map(Item::slot)
                .collect(),
        )
    }

    /// The value of a boxed primitive.
    pub fn boxed(&self, node: NodeId) -> Option<Boxed> {
        let code = match self.class_name_bytes(node) {
            b"java.lang.Boolean" => b'Z',
            b"java.lang.Byte" => b'B',
            b"java.lang.Character" => b'C',
            b"java.lang.Short" => b'S',
            b"java.lang.Integer" => b'I',
            b"java.lang.Long" => b'J',
            b"java.lang.Float" => b'F',
            b"java.lang.Double" => b'D',
            _ => return None,
        };
        match self.field(node, "value")? {
            FieldValue::Primitive(value)
                if Boxed::read(code, &[0; 8])?.class_name() == value.class_name() =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// What the class `class` (its name in modified UTF-8) in the object's hierarchy wrote for itself: by `writeExternal`, or
    /// by `writeObject` beside its fields. `None` if the object is no such.
    pub fn custom_data(&self, node: NodeId, class: &[u8]) -> Option<CustomData<'_>> {
        let levels = self.levels(node);
        let level = levels.iter().find(|level| {
            self.class_number(level.class)
                .is_some_and(|info| info.name.of(&self.bytes) == class)
        })?;
        let (start, end) = level.annotation;
        Some(CustomData {
            graph: self,
            items: self.items.get(start as usize..end as usize)?,
            data: &[],
        })
    }
}

/// Reads the custom data of an object, in the order of the stream. `None` is: not that next.
#[derive(Clone, Debug)]
pub struct CustomData<'g> {
    graph: &'g Graph,
    items: &'g [Item],
    data: &'g [u8],
}

impl CustomData<'_> {
    /// `N` bytes of block data.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            while self.data.is_empty() {
                let (Item::Block(block), rest) = self.items.split_first()? else {
                    return None;
                };
                self.data = self.graph.block(*block);
                self.items = rest;
            }
            let (first, rest) = self.data.split_first()?;
            *byte = *first;
            self.data = rest;
        }
        Some(bytes)
    }

    /// An `int` length and as many bytes of block data.
    pub fn sized(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.i32()?).ok()?;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            if self.data.is_empty() {
                let (Item::Block(block), rest) = self.items.split_first()? else {
                    return None;
                };
                self.data = self.graph.block(*block);
                self.items = rest;
            }
            let wanted = len.saturating_sub(bytes.len()).min(self.data.len());
            let (now, later) = self.data.split_at_checked(wanted)?;
            bytes.extend_from_slice(now);
            self.data = later;
        }
        Some(bytes)
    }

    /// An `int`.
    pub fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    /// A `long`.
    pub fn i64(&mut self) -> Option<i64> {
        self.bytes().map(i64::from_be_bytes)
    }

    /// The next object, where no block data is left before it.
    pub fn slot(&mut self) -> Option<Slot> {
        if !self.data.is_empty() {
            return None;
        }
        let (first, rest) = self.items.split_first()?;
        let slot = first.slot()?;
        self.items = rest;
        Some(slot)
    }
}
