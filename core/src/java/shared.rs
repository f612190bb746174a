//! What a stream that is being written already holds and can be referred back to.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::build::Boxed;
use super::copy::Target;
use super::encode::NodeTarget;
use super::graph::{ClassInfo, Graph, Node, NodeId};
use super::store::Heap;
use super::table::{Class, NONE};
use super::token::Walker;

/// The handles of a stream being written.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The next handle.
    pub(crate) next: u32,
    /// Class descriptors by all that they say.
    classes: HashMap<Vec<u8>, u32>,
    type_strings: HashMap<Vec<u8>, u32>,
    /// Boxed values that `valueOf` takes from its cache, by field type.
    pub(crate) boxes: HashMap<(u8, i16), u32>,
    /// Nodes of graphs.
    nodes: HashMap<(u32, NodeId), u32>,
    /// Reused for looking up.
    key: Vec<u8>,
}

impl Shared {
    /// Forgets everything, as `ObjectOutputStream.reset` does.
    pub(crate) fn clear(&mut self) {
        self.next = 0;
        self.classes.clear();
        self.type_strings.clear();
        self.boxes.clear();
        self.nodes.clear();
    }

    /// Forgets what got handles from `handle` on: it has not been written after all.
    pub(crate) fn forget_from(&mut self, handle: u32) {
        self.classes.retain(|_, kept| *kept < handle);
        self.type_strings.retain(|_, kept| *kept < handle);
        self.boxes.retain(|_, kept| *kept < handle);
        self.nodes.retain(|_, kept| *kept < handle);
    }

    /// Begins the key of a class whose superclass has the handle `superclass`.
    pub(crate) fn begin_key(
        &mut self,
        name: &[u8],
        uid: i64,
        flags: u8,
        proxy: bool,
        superclass: u32,
    ) {
        self.key.clear();
        self.key.extend_from_slice(&superclass.to_be_bytes());
        self.key.extend_from_slice(&uid.to_be_bytes());
        self.key.extend_from_slice(&[flags, u8::from(proxy)]);
        self.key_part(name);
    }

    /// Adds a field; `signature` is empty for a primitive one.
    pub(crate) fn key_field(&mut self, code: u8, name: &[u8], signature: &[u8]) {
        self.key.push(code);
        self.key_part(name);
        self.key_part(signature);
    }

    fn key_part(&mut self, part: &[u8]) {
        self.key
            .extend_from_slice(&(part.len() as u32).to_be_bytes());
        self.key.extend_from_slice(part);
    }

    /// Whether any class has been described.
    pub(crate) fn knows_classes(&self) -> bool {
        !self.classes.is_empty()
    }

    /// The handle of the class whose key has been made.
    pub(crate) fn class_of_key(&self) -> Option<u32> {
        self.classes.get(self.key.as_slice()).copied()
    }

    /// Keeps the handle of the class whose key has been made.
    pub(crate) fn keep_key(&mut self, handle: u32) {
        self.classes.insert(self.key.clone(), handle);
    }

    pub(crate) fn type_string(&self, text: &[u8]) -> Option<u32> {
        self.type_strings.get(text).copied()
    }

    pub(crate) fn keep_type_string(&mut self, text: &[u8], handle: u32) {
        self.type_strings.insert(text.to_vec(), handle);
    }

    pub(crate) fn take_handle(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn make_key(&mut self, walker: &Walker<Heap>, source: &[u8], class: &Class, superclass: u32) {
        self.begin_key(
            class.name.of(source),
            class.uid,
            class.flags,
            class.proxy,
            superclass,
        );
        for field in walker.table.fields_of(class) {
            let signature = match field.code {
                b'L' | b'[' => walker
                    .table
                    .text(field.signature, source)
                    .unwrap_or_default(),
                _ => &[],
            };
            self.key_field(field.code, field.name.of(source), signature);
        }
    }
}

impl Target<Heap> for Shared {
    const SHARES: bool = true;

    fn known_class(&mut self, walker: &Walker<Heap>, source: &[u8], class: u32) -> Option<u32> {
        if self.classes.is_empty() {
            return None;
        }
        // From the topmost superclass down; a hierarchy has a bounded length.
        let mut chain = heapless::Vec::<Class, 66>::new();
        let mut next = walker.table.class(class);
        while let Some(class) = next {
            chain.push(*class).ok()?;
            next = walker.table.class(class.superclass);
        }
        let mut handle = NONE;
        for class in chain.iter().rev() {
            self.make_key(walker, source, class, handle);
            handle = self.class_of_key()?;
        }
        Some(handle)
    }

    fn known_type_string(&mut self, text: &[u8]) -> Option<u32> {
        self.type_string(text)
    }

    fn class_written(&mut self, walker: &Walker<Heap>, source: &[u8], class: u32, handle: u32) {
        let Some(class) = walker.table.class(class).copied() else {
            return;
        };
        let superclass = match walker.table.class(class.superclass) {
            None => NONE,
            // A superclass is always written before its subclass is whole.
            Some(above) => walker
                .table
                .entry(above.handle)
                .map_or(NONE, |entry| entry.mark.1),
        };
        self.make_key(walker, source, &class, superclass);
        self.keep_key(handle);
    }

    fn type_string_written(&mut self, text: &[u8], handle: u32) {
        self.keep_type_string(text, handle);
    }

    fn assign(&mut self) -> u32 {
        self.take_handle()
    }
}

impl Shared {
    fn make_node_key(&mut self, graph: &Graph, class: &ClassInfo, superclass: u32) {
        let name = class.name.of(&graph.bytes);
        self.begin_key(
            name,
            class.uid,
            class.flags,
            class.proxy.is_some(),
            superclass,
        );
        for field in graph.fields_of(class) {
            let signature = field.signature.and_then(|node| graph.text_bytes(node));
            self.key_field(
                field.code,
                field.name.of(&graph.bytes),
                signature.unwrap_or_default(),
            );
        }
    }

    fn known_descriptor(&mut self, graph: &Graph, node: NodeId) -> Option<u32> {
        if self.classes.is_empty() {
            return None;
        }
        let mut chain = heapless::Vec::<&ClassInfo, 66>::new();
        let mut next = graph.class_of(node);
        while let Some(class) = next {
            chain.push(class).ok()?;
            next = class.superclass.and_then(|above| graph.class_of(above));
        }
        let mut handle = NONE;
        for class in chain.iter().rev() {
            self.make_node_key(graph, class, handle);
            handle = self.class_of_key()?;
        }
        Some(handle)
    }

    /// The handle of a node that has been written.
    fn node(&self, graph: &Graph, node: NodeId) -> Option<u32> {
        self.nodes.get(&(graph.identity.0, node)).copied()
    }

    fn keep_node(&mut self, graph: &Graph, node: NodeId, handle: u32) {
        self.nodes.insert((graph.identity.0, node), handle);
    }
}

impl NodeTarget for Shared {
    fn known(&mut self, graph: &Graph, node: NodeId) -> Option<u32> {
        if let Some(handle) = self.node(graph, node) {
            return Some(handle);
        }
        let handle = match graph.node(node)? {
            Node::Descriptor(_) => self.known_descriptor(graph, node)?,
            Node::Object { .. } => *self.boxes.get(&graph.boxed(node)?.cached()?)?,
            _ => return None,
        };
        self.keep_node(graph, node, handle);
        Some(handle)
    }

    fn known_type_string(&mut self, graph: &Graph, node: NodeId) -> Option<u32> {
        self.node(graph, node)
            .or_else(|| self.type_string(graph.text_bytes(node)?))
    }

    fn assign(&mut self, graph: &Graph, node: NodeId, type_string: bool) {
        let handle = self.take_handle();
        self.keep_node(graph, node, handle);
        if type_string {
            self.keep_type_string(graph.text_bytes(node).unwrap_or_default(), handle);
        } else if let Some(Node::Object { .. }) = graph.node(node)
            && let Some(cached) = graph.boxed(node).and_then(Boxed::cached)
        {
            self.boxes.insert(cached, handle);
        }
    }

    fn class_written(&mut self, graph: &Graph, node: NodeId) {
        let (Some(class), Some(handle)) = (graph.class_of(node), self.node(graph, node)) else {
            return;
        };
        let above = class.superclass.and_then(|above| self.node(graph, above));
        self.make_node_key(graph, class, above.unwrap_or(NONE));
        self.keep_key(handle);
    }
}
