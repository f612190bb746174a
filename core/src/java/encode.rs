//! From a [`Graph`] to a stream.

use alloc::vec::Vec;

use bytes::BufMut;

use super::code;
use super::graph::{ClassInfo, Content, Graph, Item, Node, NodeId};
use super::parse::element_width;
use super::table::NONE;

/// The stream that nodes are written into.
pub(crate) trait NodeTarget {
    /// The handle of what the stream already has in place of `node`.
    fn known(&mut self, graph: &Graph, node: NodeId) -> Option<u32>;
    /// The handle of an equal type string.
    fn known_type_string(&mut self, graph: &Graph, node: NodeId) -> Option<u32>;
    /// `node` gets the next handle.
    fn assign(&mut self, graph: &Graph, node: NodeId, type_string: bool);
    /// A descriptor has been written to its end.
    fn class_written(&mut self, graph: &Graph, node: NodeId);
}

/// A stream that holds nothing but one graph.
pub(crate) struct Alone {
    handles: Vec<u32>,
    next: u32,
}

impl NodeTarget for Alone {
    fn known(&mut self, _: &Graph, node: NodeId) -> Option<u32> {
        self.handles
            .get(node.0 as usize)
            .copied()
            .filter(|&handle| handle != NONE)
    }

    fn known_type_string(&mut self, graph: &Graph, node: NodeId) -> Option<u32> {
        self.known(graph, node)
    }

    fn assign(&mut self, _: &Graph, node: NodeId, _: bool) {
        if let Some(handle) = self.handles.get_mut(node.0 as usize) {
            *handle = self.next;
        }
        self.next += 1;
    }

    fn class_written(&mut self, _: &Graph, _: NodeId) {}
}

impl Alone {
    fn new(graph: &Graph) -> Self {
        Self {
            handles: alloc::vec![NONE; graph.nodes.len()],
            next: 0,
        }
    }

    fn clear(&mut self) {
        self.handles.fill(NONE);
        self.next = 0;
    }
}

/// What is still to be written, the last first.
#[derive(Clone, Copy)]
enum Work {
    Node(NodeId),
    TypeString(NodeId),
    /// What follows the class descriptor.
    Body(NodeId),
    Items {
        next: u32,
        end: u32,
    },
    Fields {
        class: NodeId,
        next: u32,
    },
    Superclass(NodeId),
    ClassEnd(NodeId),
}

impl Graph {
    pub(crate) fn encode_values(&self, contents: &[Content]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        out.put_slice(&super::STREAM_HEADER);
        let mut target = Alone::new(self);
        for content in contents {
            match *content {
                Content::Value(slot) => self.emit(slot, &mut out, &mut target),
                Content::Block(block) => put_block(&mut out, self.block(block), block.long),
                Content::Reset => {
                    out.put_u8(code::RESET);
                    target.clear();
                }
                Content::Exception(slot) => {
                    out.put_u8(code::EXCEPTION);
                    target.clear();
                    self.emit(slot, &mut out, &mut target);
                    target.clear();
                }
            }
        }
        out
    }

    /// Writes one value.
    pub(crate) fn emit(&self, value: super::Slot, out: &mut Vec<u8>, target: &mut impl NodeTarget) {
        let Some(node) = value else {
            return out.put_u8(code::NULL);
        };
        let mut work = alloc::vec![Work::Node(node)];
        while let Some(now) = work.pop() {
            match now {
                Work::Node(node) => match target.known(self, node) {
                    Some(handle) => put_reference(out, handle),
                    None => self.emit_node(node, false, out, target, &mut work),
                },
                Work::TypeString(node) => match target.known_type_string(self, node) {
                    Some(handle) => put_reference(out, handle),
                    None => self.emit_node(node, true, out, target, &mut work),
                },
                Work::Body(node) => {
                    target.assign(self, node, false);
                    self.emit_body(node, out, &mut work);
                }
                Work::Items { next, end } => {
                    let Some(item) = self.items.get(next as usize).filter(|_| next < end) else {
                        continue;
                    };
                    work.push(Work::Items {
                        next: next + 1,
                        end,
                    });
                    match *item {
                        Item::Null => out.put_u8(code::NULL),
                        Item::Node(node) => work.push(Work::Node(node)),
                        Item::Primitives(span) => out.put_slice(span.of(&self.bytes)),
                        Item::Block(block) => put_block(out, self.block(block), block.long),
                        Item::EndBlock => out.put_u8(code::END_BLOCK_DATA),
                    }
                }
                Work::Fields { class, next } => self.emit_fields(class, next, out, &mut work),
                Work::Superclass(class) => {
                    match self.class_of(class).and_then(|info| info.superclass) {
                        Some(superclass) => work.push(Work::Node(superclass)),
                        None => out.put_u8(code::NULL),
                    }
                }
                Work::ClassEnd(class) => target.class_written(self, class),
            }
        }
    }

    fn emit_node(
        &self,
        id: NodeId,
        type_string: bool,
        out: &mut Vec<u8>,
        target: &mut impl NodeTarget,
        work: &mut Vec<Work>,
    ) {
        let Some(node) = self.node(id) else { return };
        let (code, class) = match *node {
            Node::String { text, long } => {
                let text = text.of(&self.bytes);
                target.assign(self, id, type_string);
                if long || text.len() > usize::from(u16::MAX) {
                    out.put_u8(code::LONG_STRING);
                    out.put_u64(text.len() as u64);
                } else {
                    out.put_u8(code::STRING);
                    out.put_u16(text.len() as u16);
                }
                return out.put_slice(text);
            }
            Node::Descriptor(number) => {
                let Some(info) = self.classes.get(number as usize) else {
                    return;
                };
                return self.emit_descriptor(id, info, out, target, work);
            }
            Node::Object { class, .. } => (code::OBJECT, class),
            Node::Array { class, .. } => (code::ARRAY, class),
            Node::Enum { class, .. } => (code::ENUM, class),
            Node::Class { class } => (code::CLASS, class),
        };
        out.put_u8(code);
        work.extend([Work::Body(id), Work::Node(class)]);
    }

    fn emit_descriptor(
        &self,
        id: NodeId,
        info: &ClassInfo,
        out: &mut Vec<u8>,
        target: &mut impl NodeTarget,
        work: &mut Vec<Work>,
    ) {
        let name = info.name.of(&self.bytes);
        work.extend([Work::ClassEnd(id), Work::Superclass(id)]);
        work.push(Work::Items {
            next: info.annotation.start,
            end: info.annotation.end,
        });
        if let Some(interfaces) = info.proxy {
            out.put_u8(code::PROXY_CLASS_DESC);
            target.assign(self, id, false);
            out.put_u32(interfaces);
            return out.put_slice(name);
        }
        out.put_u8(code::CLASS_DESC);
        put_utf(out, name);
        out.put_i64(info.uid);
        target.assign(self, id, false);
        out.put_u8(info.flags);
        out.put_u16((info.fields.end - info.fields.start) as u16);
        work.push(Work::Fields {
            class: id,
            next: info.fields.start,
        });
    }

    /// The fields of a descriptor from number `next` on, up to one that has a type string.
    fn emit_fields(&self, class: NodeId, next: u32, out: &mut Vec<u8>, work: &mut Vec<Work>) {
        let Some(info) = self.class_of(class) else {
            return;
        };
        for number in next..info.fields.end {
            let Some(field) = self.fields.get(number as usize) else {
                return;
            };
            out.put_u8(field.code);
            put_utf(out, field.name.of(&self.bytes));
            if let Some(signature) = field.signature {
                return work.extend([
                    Work::Fields {
                        class,
                        next: number + 1,
                    },
                    Work::TypeString(signature),
                ]);
            }
        }
    }

    fn emit_body(&self, id: NodeId, out: &mut Vec<u8>, work: &mut Vec<Work>) {
        match self.node(id) {
            Some(&Node::Object { items, .. }) => work.push(Work::Items {
                next: items.start,
                end: items.end,
            }),
            Some(&Node::Array { items, count, .. }) => {
                out.put_u32(count);
                work.push(Work::Items {
                    next: items.start,
                    end: items.end,
                });
            }
            Some(&Node::Enum { name, .. }) => work.push(Work::Node(name)),
            _ => {}
        }
    }

    /// Whether the array's elements are primitive, and how many bytes each has.
    pub(crate) fn array_width(&self, node: NodeId) -> u32 {
        element_width(self.class_name_bytes(node))
    }
}

pub(crate) fn put_reference(out: &mut Vec<u8>, handle: u32) {
    out.put_u8(code::REFERENCE);
    out.put_u32(code::BASE_HANDLE.saturating_add(handle));
}

fn put_utf(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

pub(crate) fn put_block(out: &mut Vec<u8>, data: &[u8], long: bool) {
    match u8::try_from(data.len()) {
        Ok(len) if !long => out.put_slice(&[code::BLOCK_DATA, len]),
        _ => {
            out.put_u8(code::BLOCK_DATA_LONG);
            out.put_u32(data.len() as u32);
        }
    }
    out.put_slice(data);
}
