//! Java object streams.

use folkmoot_core::java::{
    Content, Graph, JavaBytes, JavaErrorKind, Limits, Next, NodeId, NodeKind, ObjectInput,
    ObjectOutput,
};

/// Tight enough that no input takes long.
pub const LIMITS: Limits = Limits {
    depth: 300,
    objects: 10_000,
    string_bytes: 1 << 18,
    array_elements: 1 << 18,
    total_bytes: 1 << 18,
};

/// A whole stream, as a graph and item by item.
pub fn java_stream(input: &[u8]) {
    let graph = Graph::parse(input, &LIMITS);
    let whole = graph.is_ok_and(|graph| check_graph(&graph, input));
    check_items(input, whole);
}

/// Whether the writer got to the end of everything.
fn check_graph(graph: &Graph, input: &[u8]) -> bool {
    let again = graph.encode();
    let aborted = |content: &Content| matches!(content, Content::Exception(_));
    let whole = !graph.contents().iter().any(aborted);
    if whole {
        assert_eq!(again, input, "what was read is written again");
    }
    for content in graph.contents() {
        if let Content::Value(Some(node)) = *content {
            check_value(graph, node);
        }
    }
    whole
}

/// A value out of its stream is a value by itself.
fn check_value(graph: &Graph, node: NodeId) {
    let value = graph.value_bytes(Some(node));
    let limits = Limits {
        total_bytes: usize::MAX,
        ..LIMITS
    };
    let alone = Graph::parse(value.as_bytes(), &limits).expect("a value taken out can be read");
    assert_eq!(alone.encode(), value.as_bytes());
    let root = alone.root().expect("it is not null");
    assert_eq!(alone.kind(root), graph.kind(node));
    assert_eq!(alone.class_name(root), graph.class_name(node));
    assert_eq!(alone.text(root), graph.text(node));
    assert_eq!(alone.enum_name(root), graph.enum_name(node));
    assert_eq!(alone.array_len(root), graph.array_len(node));
    assert_eq!(alone.primitive_array(root), graph.primitive_array(node));
    assert_eq!(alone.fields(root).len(), graph.fields(node).len());
    assert_eq!(alone.boxed(root).is_some(), graph.boxed(node).is_some());
    assert_eq!(
        alone.collection(root).is_some(),
        graph.collection(node).is_some()
    );
    let _ = (graph.date_ms(node), graph.uuid(node), graph.instant(node));
    let _ = (
        graph.big_integer(node),
        graph.big_decimal(node),
        graph.class_descriptor(node),
    );
}

fn check_items(stream: &[u8], whole: bool) {
    let Ok(mut input) = ObjectInput::new(stream, &LIMITS) else {
        assert!(!whole);
        return;
    };
    let mut output = ObjectOutput::new();
    let ended = loop {
        let offset = input.offset();
        let next = match input.peek() {
            Ok(Next::End) => break Ok(()),
            Ok(next) => next,
            Err(error) => break Err(error),
        };
        if next == Next::Data {
            match input.read_i8() {
                Ok(byte) => output.write_i8(byte),
                Err(error) => break Err(error),
            }
        } else {
            match input.read_object() {
                Ok(value) => {
                    check_alone(&value, &next);
                    output
                        .write_object(&value)
                        .expect("what was read can be written");
                }
                Err(error) if error.is_write_aborted() => assert!(input.aborted().is_some()),
                Err(error) => break Err(error),
            }
        }
        assert!(input.offset() >= offset);
    };
    match ended {
        Ok(()) => assert_eq!(input.finish(), Ok(())),
        // Values are taken out one by one, each with all that it shares with others: that may be more than the limit.
        Err(error) => assert!(
            !whole || error.kind == JavaErrorKind::StreamTooLong,
            "{error}"
        ),
    }
    let written = output.finish();
    let limits = Limits {
        total_bytes: usize::MAX,
        objects: usize::MAX,
        ..LIMITS
    };
    let graph = Graph::parse(&written, &limits).expect("what was written can be read");
    assert_eq!(graph.encode(), written);
}

/// A value that was taken out of a stream.
fn check_alone(value: &JavaBytes, next: &Next) {
    let limits = Limits {
        total_bytes: usize::MAX,
        ..LIMITS
    };
    let checked = JavaBytes::new(value.bytes().clone(), &limits);
    assert_eq!(checked.as_ref(), Ok(value));
    assert_eq!(value.is_null(), *next == Next::Null);
    let graph = value
        .decode(&limits)
        .expect("a value taken out can be decoded");
    assert_eq!(graph.encode(), value.as_bytes());
    let Some(root) = graph.root() else {
        return;
    };
    if let Next::Object(class) | Next::Array(class) | Next::Enum(class) = next {
        assert_eq!(graph.class_name(root), *class);
    }
    assert_eq!(
        value.as_string(),
        graph
            .text(root)
            .filter(|_| graph.kind(root) == Some(NodeKind::String))
    );
}
