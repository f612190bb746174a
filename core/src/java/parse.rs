//! From a stream to a [`Graph`].

use alloc::vec::Vec;

use super::graph::{BlockData, ClassInfo, Content, FieldInfo, Graph, Item, Node, NodeId, Run};
use super::irregular::Layouts;
use super::store::Heap;
use super::table::Kind;
use super::token::{Token, Walker, check_header};
use super::{JavaError, JavaErrorKind as E, Limits, code};

/// A node whose end has not been reached.
struct Open {
    /// What it is and, once its class is known, which node.
    kind: Kind,
    node: Option<NodeId>,
    /// Where its items begin among those that wait.
    items: usize,
}

struct Parser<'s> {
    stream: &'s [u8],
    walker: Walker<Heap>,
    graph: Graph,
    /// The node of each handle.
    handles: Vec<NodeId>,
    open: Vec<Open>,
    /// Items of what is open.
    waiting: Vec<Item>,
}

/// Reads a whole stream; says also whether it has a class whose layout is in doubt.
pub(crate) fn parse(
    stream: &[u8],
    limits: &Limits,
    layouts: Layouts,
) -> (Result<Graph, JavaError>, bool) {
    if let Err(error) = check_header(stream, limits) {
        return (Err(error), false);
    }
    let graph = Graph {
        bytes: stream.to_vec(),
        ..Graph::default()
    };
    let mut walker = Walker::new(limits, layouts);
    walker.restart(super::STREAM_HEADER.len());
    let mut parser = Parser {
        stream,
        walker,
        graph,
        handles: Vec::new(),
        open: Vec::new(),
        waiting: Vec::new(),
    };
    let result = parser.contents();
    (result.map(|()| parser.graph), parser.walker.suspicious)
}

impl Parser<'_> {
    fn contents(&mut self) -> Result<(), JavaError> {
        while let Some(&code) = self.stream.get(self.walker.pos) {
            let content = match code {
                code::BLOCK_DATA | code::BLOCK_DATA_LONG => match self
                    .walker
                    .block(self.stream, code)?
                {
                    Token::Block { data, long } => Content::Block(BlockData { span: data, long }),
                    _ => return Err(E::BadTypeCode(code).at(self.walker.pos)),
                },
                code::RESET => {
                    self.walker.restart(self.walker.pos + 1);
                    self.handles.clear();
                    Content::Reset
                }
                _ => self.value()?,
            };
            self.graph.contents.push(content);
        }
        Ok(())
    }

    /// A value at the top level, or the exception that its writer left.
    fn value(&mut self) -> Result<Content, JavaError> {
        if let Some(item) = self.one()? {
            return Ok(Content::Value(item.slot().unwrap_or_default()));
        }
        let at = self.walker.pos;
        let exception = self.one()?.ok_or(E::BadTypeCode(code::EXCEPTION).at(at))?;
        self.walker.reset();
        self.handles.clear();
        Ok(Content::Exception(exception.slot().unwrap_or_default()))
    }

    /// One value; `None` if the writer gave up in it.
    fn one(&mut self) -> Result<Option<Item>, JavaError> {
        self.walker.expect_value()?;
        while self.walker.level() > 0 {
            let token = self.walker.next(self.stream)?;
            if token == Token::Exception {
                self.handles.clear();
                self.open.clear();
                self.waiting.clear();
                return Ok(None);
            }
            self.take(token);
        }
        Ok(self.waiting.pop())
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.graph.add_node(node);
        self.handles.push(id);
        id
    }

    fn take(&mut self, token: Token) {
        let item = match token {
            Token::Null => Item::Null,
            Token::Reference { handle, .. } => {
                // The walker lets only handles pass that have been given out.
                self.handles
                    .get(handle as usize)
                    .map_or(Item::Null, |&node| Item::Node(node))
            }
            Token::String { text, long, .. } => Item::Node(self.add(Node::String { text, long })),
            Token::Desc { class, .. } => {
                let number = self.graph.classes.len() as u32;
                let node = self.add(Node::Descriptor(number));
                self.begin_class(class);
                self.open.push(Open {
                    kind: Kind::ClassDesc,
                    node: Some(node),
                    items: self.waiting.len(),
                });
                return;
            }
            Token::DescEnd { class } => match self.end_class(class) {
                Some(item) => item,
                None => return,
            },
            Token::Open(kind) => {
                self.open.push(Open {
                    kind,
                    node: None,
                    items: self.waiting.len(),
                });
                return;
            }
            Token::Body { .. } => return self.body(),
            Token::Primitives(span) => Item::Primitives(span),
            Token::Block { data, long } => Item::Block(BlockData { span: data, long }),
            Token::EndBlock => Item::EndBlock,
            Token::Close => match self.close() {
                Some(item) => item,
                None => return,
            },
            Token::Returned { .. } | Token::Exception => return,
        };
        self.waiting.push(item);
    }

    fn begin_class(&mut self, class: u32) {
        let Some(seen) = self.walker.table.class(class) else {
            return;
        };
        self.graph.classes.push(ClassInfo {
            name: seen.name,
            uid: seen.uid,
            flags: seen.flags,
            proxy: None,
            layout: seen.layout,
            fields: Run::default(),
            object_fields: 0,
            primitive_len: 0,
            annotation: Run::default(),
            superclass: None,
        });
    }

    /// A descriptor is whole: what waits are its type strings, its annotation and its superclass.
    fn end_class(&mut self, class: u32) -> Option<Item> {
        let open = self.open.pop()?;
        let node = open.node?;
        let seen = *self.walker.table.class(class)?;
        let mut items = self.waiting.drain(open.items..);
        let start = self.graph.fields.len() as u32;
        for field in self.walker.table.fields_of(&seen) {
            let signature = match field.code {
                b'L' | b'[' => items.next().and_then(Item::slot).unwrap_or_default(),
                _ => None,
            };
            self.graph.fields.push(FieldInfo {
                code: field.code,
                name: field.name,
                signature,
            });
        }
        let fields = Run {
            start,
            end: self.graph.fields.len() as u32,
        };
        let superclass = items.next_back().and_then(Item::slot).unwrap_or_default();
        let start = self.graph.items.len() as u32;
        self.graph.items.extend(items);
        let annotation = Run {
            start,
            end: self.graph.items.len() as u32,
        };
        let Some(&Node::Descriptor(number)) = self.graph.node(node) else {
            return None;
        };
        let info = self.graph.classes.get_mut(number as usize)?;
        *info = ClassInfo {
            name: seen.name,
            uid: seen.uid,
            flags: seen.flags,
            proxy: seen.proxy.then_some(seen.interfaces),
            layout: seen.layout,
            fields,
            object_fields: seen.object_fields,
            primitive_len: seen.primitive_len,
            annotation,
            superclass,
        };
        Some(Item::Node(node))
    }

    /// The class of what is open is known: it becomes a node, so that its own parts can refer to it.
    fn body(&mut self) {
        let Some(open) = self.open.last() else { return };
        let Some(Item::Node(class)) = self.waiting.get(open.items).copied() else {
            return;
        };
        let items = Run::default();
        let node = self.add(match open.kind {
            Kind::Array => Node::Array {
                class,
                count: 0,
                items,
            },
            Kind::Enum => Node::Enum { class, name: class },
            Kind::Class => Node::Class { class },
            Kind::Object | Kind::String | Kind::ClassDesc => Node::Object { class, items },
        });
        if let Some(open) = self.open.last_mut() {
            open.node = Some(node);
        }
    }

    fn close(&mut self) -> Option<Item> {
        let open = self.open.pop()?;
        let id = open.node?;
        let mut items = self.waiting.drain(open.items..);
        let class = items.next();
        let first = items.as_slice().first().copied();
        let start = self.graph.items.len() as u32;
        self.graph.items.extend(items);
        let run = Run {
            start,
            end: self.graph.items.len() as u32,
        };
        match self.graph.nodes.get_mut(id.0 as usize)? {
            Node::Object { items, .. } => *items = run,
            Node::Array { items, count, .. } => {
                *items = run;
                *count = match first {
                    Some(Item::Primitives(span)) => span.len,
                    _ => run.end - run.start,
                };
            }
            Node::Enum { name, .. } => {
                if let Some(Item::Node(text)) = first {
                    *name = text;
                }
            }
            Node::Class { .. } | Node::String { .. } | Node::Descriptor(_) => {}
        }
        let _ = class;
        self.fix_count(id);
        Some(Item::Node(id))
    }

    /// The number of elements of a primitive array follows from its bytes.
    fn fix_count(&mut self, id: NodeId) {
        let width = element_width(self.graph.class_name_bytes(id));
        if let (Some(Node::Array { count, .. }), 2..) =
            (self.graph.nodes.get_mut(id.0 as usize), width)
        {
            *count /= width;
        }
    }
}

/// The bytes of an element of an array of this class; 0 for objects.
pub(crate) fn element_width(class_name: &[u8]) -> u32 {
    match class_name {
        [b'[', b'B' | b'Z', ..] => 1,
        [b'[', b'C' | b'S', ..] => 2,
        [b'[', b'F' | b'I', ..] => 4,
        [b'[', b'D' | b'J', ..] => 8,
        _ => 0,
    }
}
