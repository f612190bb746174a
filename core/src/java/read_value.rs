//! From a graph to a [`Value`].

use alloc::vec::Vec;

use bytes::Bytes;

use super::build::{Boxed, code_width};
use super::graph::{Graph, Node, NodeId, Slot};
use super::object::FieldValue;
use super::{BigInteger, Collection, JavaBytes, JavaString, Limits, Object, Value, ValueError};

struct Reader<'g> {
    graph: &'g Graph,
    /// The nodes that contain what is being read.
    path: Vec<NodeId>,
    /// How many values may still be made.
    left: usize,
}

impl JavaBytes {
    /// The value as a tree.
    ///
    /// # Errors
    ///
    /// If it is larger or deeper than a tree may be.
    pub fn value(&self) -> Result<Value, ValueError> {
        let graph = self.decode(&Limits::UNLIMITED)?;
        graph.value(graph.root())
    }
}

impl Graph {
    /// A value as a tree.
    ///
    /// # Errors
    ///
    /// If it is larger or deeper than a tree may be.
    pub fn value(&self, slot: Slot) -> Result<Value, ValueError> {
        Reader {
            graph: self,
            path: Vec::new(),
            left: Value::NODES_MAX,
        }
        .slot(slot)
    }
}

impl From<Boxed> for Value {
    fn from(value: Boxed) -> Self {
        match value {
            Boxed::Boolean(value) => Self::Bool(value),
            Boxed::Byte(value) => Self::Byte(value),
            Boxed::Character(value) => Self::Char(value),
            Boxed::Short(value) => Self::Short(value),
            Boxed::Integer(value) => Self::Int(value),
            Boxed::Long(value) => Self::Long(value),
            Boxed::Float(value) => Self::Float(value),
            Boxed::Double(value) => Self::Double(value),
        }
    }
}

impl Reader<'_> {
    fn spend(&mut self, values: usize) -> Result<(), ValueError> {
        self.left = self.left.checked_sub(values).ok_or(ValueError::TooLarge)?;
        Ok(())
    }

    /// A value. The recursion is as deep as [`Value::DEPTH_MAX`] at most.
    fn slot(&mut self, slot: Slot) -> Result<Value, ValueError> {
        self.spend(1)?;
        let Some(node) = slot else {
            return Ok(Value::Null);
        };
        if let Some(text) = self.graph.text(node) {
            return Ok(Value::String(text));
        }
        if self.path.contains(&node) {
            return Ok(Value::Cycle);
        }
        if self.path.len() >= Value::DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.path.push(node);
        let value = self.node(node);
        self.path.pop();
        value
    }

    fn slots(&mut self, slots: Vec<Slot>) -> Result<Vec<Value>, ValueError> {
        slots.into_iter().map(|slot| self.slot(slot)).collect()
    }

    fn node(&mut self, node: NodeId) -> Result<Value, ValueError> {
        let graph = self.graph;
        let class = graph.class_name(node);
        match graph.node(node) {
            Some(Node::Array { .. }) => return self.array(node, class),
            Some(Node::Enum { .. }) => {
                let name = graph.enum_name(node).unwrap_or_default();
                return Ok(Value::Enum { class, name });
            }
            Some(Node::Class { .. } | Node::Descriptor(_)) => return Ok(Value::Class(class)),
            Some(Node::Object { .. } | Node::String { .. }) | None => {}
        }
        if let Some(value) = self.scalar(node) {
            return Ok(value);
        }
        match graph.collection(node) {
            Some(Collection::List(items)) => Ok(Value::List {
                class,
                items: self.slots(items)?,
            }),
            Some(Collection::Set(items)) => Ok(Value::Set {
                class,
                items: self.slots(items)?,
            }),
            Some(Collection::Map(pairs)) => {
                let mut entries = Vec::new();
                for (key, value) in pairs {
                    entries.push((self.slot(key)?, self.slot(value)?));
                }
                Ok(Value::Map { class, entries })
            }
            None => self.object(node, class),
        }
    }

    fn scalar(&self, node: NodeId) -> Option<Value> {
        let graph = self.graph;
        if let Some(value) = graph.boxed(node) {
            return Some(value.into());
        }
        if let Some((sign, magnitude)) = graph.big_integer(node) {
            return Some(Value::BigInteger(BigInteger::new(sign < 0, magnitude)));
        }
        if let Some((unscaled, scale)) = graph.big_decimal(node) {
            let (sign, magnitude) = graph.big_integer(unscaled)?;
            return Some(Value::BigDecimal {
                unscaled: BigInteger::new(sign < 0, magnitude),
                scale,
            });
        }
        if let Some(uuid) = graph.uuid(node) {
            return Some(Value::Uuid(uuid));
        }
        if let Some((seconds, nanos)) = graph.instant(node) {
            return Some(Value::Instant { seconds, nanos });
        }
        graph.date_ms(node).map(Value::Date)
    }

    fn array(&mut self, node: NodeId, class: JavaString) -> Result<Value, ValueError> {
        if let Some(elements) = self.graph.object_array(node) {
            return Ok(Value::Array {
                class,
                items: self.slots(elements)?,
            });
        }
        let bytes = self.graph.primitive_array(node).unwrap_or_default();
        let code = class.as_modified_utf8().get(1).copied().unwrap_or_default();
        if code == b'B' {
            return Ok(Value::Bytes(Bytes::copy_from_slice(bytes)));
        }
        let width = code_width(code).max(1) as usize;
        self.spend(bytes.len() / width)?;
        let items = bytes
            .chunks_exact(width)
            .filter_map(|element| Boxed::read(code, element).map(Value::from));
        Ok(Value::Array {
            class,
            items: items.collect(),
        })
    }

    fn object(&mut self, node: NodeId, class: JavaString) -> Result<Value, ValueError> {
        let fields = self.graph.fields(node);
        let own_data = self
            .graph
            .levels(node)
            .iter()
            .any(|level| level.annotation.0 < level.annotation.1);
        if class.is_empty() || fields.is_empty() && own_data {
            return Ok(Value::Opaque(class));
        }
        let mut object = Object {
            class,
            fields: Vec::with_capacity(fields.len()),
        };
        for field in fields {
            let value = match field.value {
                FieldValue::Primitive(value) => {
                    self.spend(1)?;
                    value.into()
                }
                FieldValue::Reference(slot) => self.slot(slot)?,
            };
            object.fields.push((field.name, value));
        }
        Ok(Value::Object(object))
    }
}
