//! Values read out of one stream and written into another.

use folkmoot_core::java::{
    Boxed, ClassDescriptor, Content, FieldValue, Graph, JavaBytes, JavaErrorKind, JavaString,
    Limits, Next, ObjectInput, ObjectOutput, Part,
};

use crate::vectors::{stream, streams};

const LIMITS: Limits = Limits::DEFAULT;

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A node of `lab.Node`, two of which refer to each other.
fn ring() -> (Graph, [folkmoot_core::java::NodeId; 2]) {
    let mut graph = Graph::new();
    let class = ClassDescriptor::new("lab.Node", 7)
        .with_field("next", "Llab/Node;")
        .with_field("id", "I");
    let class = graph.add_class(&class);
    let [a, b] = [1_i32, 2].map(|id| {
        graph.add_object(
            class,
            &[Part::Primitives(&id.to_be_bytes()), Part::Value(None)],
        )
    });
    graph
        .set_field(a, "next", FieldValue::Reference(Some(b)))
        .unwrap();
    graph
        .set_field(b, "next", FieldValue::Reference(Some(a)))
        .unwrap();
    (graph, [a, b])
}

fn id(graph: &Graph, node: folkmoot_core::java::NodeId) -> FieldValue {
    graph.field(node, "id").unwrap()
}

#[test]
fn a_value_that_refers_back_is_complete_by_itself() {
    // The second value is a node of the first, which contains it; the third is the first again.
    let (graph, [a, b]) = ring();
    let mut output = ObjectOutput::new();
    for node in [a, b, a] {
        output.write_node(&graph, Some(node));
    }
    let stream = output.finish();
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    for first in [1, 2, 1] {
        assert_eq!(input.peek(), Ok(Next::Object("lab.Node".into())));
        let value = input.read_object().unwrap();
        let alone = value.decode(&LIMITS).unwrap();
        let root = alone.root().unwrap();
        assert_eq!(
            id(&alone, root),
            FieldValue::Primitive(Boxed::Integer(first))
        );
        let Some(FieldValue::Reference(Some(next))) = alone.field(root, "next") else {
            panic!("no next")
        };
        assert_eq!(
            id(&alone, next),
            FieldValue::Primitive(Boxed::Integer(3 - first))
        );
        assert_eq!(
            alone.field(next, "next"),
            Some(FieldValue::Reference(Some(root))),
            "the ring is closed"
        );
        assert_eq!(JavaBytes::new(value.bytes().clone(), &LIMITS), Ok(value));
    }
    input.finish().unwrap();
}

#[test]
fn classes_are_described_once_in_a_stream() {
    let names = [
        "values/custom_cart",
        "values/uuid",
        "values/integer",
        "values/custom_cart",
        "values/long",
    ];
    let mut output = ObjectOutput::new();
    let mut alone = 0;
    for name in names {
        let value = JavaBytes::new(stream(name).into(), &LIMITS).unwrap();
        alone += value.as_bytes().len() - 4;
        output.write_object(&value).unwrap();
    }
    let stream = output.finish();
    for class in [
        "GenHa$Cart",
        "java.util.UUID",
        "java.lang.Number",
        "java.lang.Integer",
        "GenHa$Color",
    ] {
        let utf = [&(class.len() as u16).to_be_bytes(), class.as_bytes()].concat();
        let times = stream
            .windows(utf.len())
            .filter(|window| *window == utf.as_slice())
            .count();
        assert_eq!(times, 1, "{class}");
    }
    assert!(stream.len() < alone);
    let graph = Graph::parse(&stream, &LIMITS).unwrap();
    assert_eq!(graph.contents().len(), names.len());
    assert_eq!(show(&graph.encode()), show(&stream));
}

#[test]
fn boxes_share_what_value_of_shares() {
    let mut output = ObjectOutput::new();
    output.write_integer_object(127);
    output.write_integer_object(127);
    output.write_integer_object(128);
    output.write_integer_object(128);
    output.write_object(&JavaBytes::from(127)).unwrap();
    output.write_boolean_object(true);
    output.write_object(&JavaBytes::from(true)).unwrap();
    output.write_long_object(127);
    output.write_long_object(1 << 40);
    output.write_object(&JavaBytes::from(127_i64)).unwrap();
    let stream = output.finish();
    let graph = Graph::parse(&stream, &LIMITS).unwrap();
    let nodes: Vec<_> = graph
        .contents()
        .iter()
        .map(|content| match content {
            Content::Value(Some(node)) => *node,
            other => panic!("{other:?}"),
        })
        .collect();
    let same: Vec<Vec<usize>> = (0..nodes.len())
        .map(|at| {
            (0..nodes.len())
                .filter(|&other| nodes[other] == nodes[at])
                .collect()
        })
        .collect();
    assert_eq!(same[0], [0, 1, 4]);
    assert_eq!(same[2], [2]);
    assert_eq!(same[5], [5, 6]);
    assert_eq!(same[7], [7, 9]);
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    for value in [127, 127, 128, 128, 127] {
        assert_eq!(input.read_integer_object(), Ok(Some(value)));
    }
    assert_eq!(input.read_boolean_object(), Ok(Some(true)));
    assert_eq!(input.read_boolean_object(), Ok(Some(true)));
    assert_eq!(
        [input.read_long_object(), input.read_long_object()],
        [Ok(Some(127)), Ok(Some(1 << 40))]
    );
    assert_eq!(
        input.read_integer_object().map_err(|error| error.kind),
        Err(JavaErrorKind::WrongClass)
    );
}

#[test]
fn block_data_is_cut_at_1024_and_read_across_segments() {
    let text = JavaString::from("x".repeat(3000).as_str());
    let mut output = ObjectOutput::new();
    output.write_i8(1);
    output.write_utf(&text).unwrap();
    output.write_i64(i64::MIN);
    output.write_bool(true);
    output.write_null();
    output.write_i32(-2);
    let length = output.len();
    let stream = output.finish();
    assert_eq!(length, stream.len());
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    assert_eq!(input.peek(), Ok(Next::Data));
    assert_eq!(input.read_i8(), Ok(1));
    assert_eq!(input.read_utf(), Ok(text));
    assert_eq!(input.read_i64(), Ok(i64::MIN));
    assert_eq!(input.read_bool(), Ok(true));
    assert_eq!(input.peek(), Ok(Next::Null));
    assert_eq!(input.read_object(), Ok(JavaBytes::NULL));
    assert_eq!(input.read_i32(), Ok(-2));
    input.finish().unwrap();
    let segments = Graph::parse(&stream, &LIMITS).unwrap();
    let lens = segments.contents().iter().map(|content| match content {
        Content::Block(block) => segments.block(*block).len(),
        _ => 0,
    });
    assert_eq!(lens.collect::<Vec<_>>(), [1024, 1024, 3012 - 2048, 0, 4]);
    assert!(
        ObjectOutput::new()
            .write_utf(&"y".repeat(65_536).as_str().into())
            .is_err()
    );
}

#[test]
fn what_follows_a_value_that_its_writer_gave_up_is_read() {
    let stream = stream("session_state_broken/bad_value_in_first_of_two");
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    let (mut strings, mut aborted) = (Vec::new(), Vec::new());
    loop {
        match input.peek().unwrap() {
            Next::End => break,
            Next::Data => drop(input.read_bool().unwrap()),
            _ => match input.read_object() {
                Ok(value) => strings.extend(value.as_string().map(|text| text.to_string())),
                Err(error) => {
                    assert!(error.is_write_aborted(), "{error}");
                    aborted.push(input.aborted().unwrap().class_name().unwrap().to_string());
                }
            },
        }
    }
    assert_eq!(aborted, ["java.io.NotSerializableException"]);
    assert!(
        strings.contains(&"Q1.nodeA".to_owned()) && strings.contains(&"Q2.nodeA".to_owned()),
        "{strings:?}"
    );
}

#[test]
fn a_reset_forgets_handles_on_both_sides() {
    let mut output = ObjectOutput::new();
    let cart = JavaBytes::new(stream("values/custom_cart").into(), &LIMITS).unwrap();
    output.write_object(&cart).unwrap();
    output.reset();
    output.write_object(&cart).unwrap();
    output.write_long_object(5);
    let stream = output.finish();
    let body = |value: &JavaBytes| value.as_bytes().len() - 4;
    assert_eq!(
        stream.len(),
        4 + 2 * body(&cart) + 1 + body(&JavaBytes::from(5_i64))
    );
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    assert_eq!(input.read_object(), Ok(cart.clone()));
    assert_eq!(input.read_object(), Ok(cart));
    assert_eq!(input.read_long_object(), Ok(Some(5)));
    input.finish().unwrap();
    let graph = Graph::parse(&stream, &LIMITS).unwrap();
    assert_eq!(show(&graph.encode()), show(&stream));
}

#[test]
fn every_recorded_value_is_carried_through_any_other_stream() {
    // Behind a stream full of other classes and strings, and back.
    let all = stream("delta_session/all_value_types");
    for (name, bytes) in streams("values") {
        let value =
            JavaBytes::new(bytes.into(), &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut output = ObjectOutput::new();
        let mut input = ObjectInput::new(&all, &LIMITS).unwrap();
        loop {
            match input.peek().unwrap() {
                Next::End => break,
                Next::Data => output.write_bytes(&input.read_bytes(1).unwrap()),
                _ => output.write_object(&input.read_object().unwrap()).unwrap(),
            }
        }
        let before = output.len();
        output.write_object(&value).unwrap();
        let stream = output.finish();
        assert!(stream.len() - before <= value.as_bytes().len(), "{name}");
        let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
        let mut last = None;
        loop {
            match input.peek().unwrap() {
                Next::End => break,
                Next::Data => drop(input.read_bytes(1).unwrap()),
                _ => last = Some(input.read_object().unwrap()),
            }
        }
        assert_eq!(
            last.map(|last| show(last.as_bytes())),
            Some(show(value.as_bytes())),
            "{name}"
        );
    }
}

#[test]
fn a_class_with_an_irregular_layout_is_found_out_in_the_middle_of_a_stream() {
    for name in [
        "values_irregular/late_default",
        "values_irregular/no_default",
    ] {
        let odd = JavaBytes::new(stream(name).into(), &LIMITS).unwrap();
        let mut output = ObjectOutput::new();
        output.write_utf(&"before".into()).unwrap();
        output.write_string(&"one".into());
        for _ in 0..3 {
            output.write_object(&odd).unwrap();
            output.write_i32(7);
            output.write_long_object(1 << 33);
        }
        let stream = output.finish();
        let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
        assert_eq!(input.read_utf(), Ok("before".into()));
        assert_eq!(input.read_string_object(), Ok(Some("one".into())));
        for round in 0..3 {
            match round {
                1 => input.skip_object().unwrap(),
                _ => assert_eq!(input.read_object(), Ok(odd.clone()), "{name}"),
            }
            assert_eq!(input.read_i32(), Ok(7), "{name}");
            assert_eq!(input.read_long_object(), Ok(Some(1 << 33)), "{name}");
        }
        input.finish().unwrap();
        let graph = Graph::parse(&stream, &LIMITS).unwrap();
        assert_eq!(show(&graph.encode()), show(&stream), "{name}");
    }
}

#[test]
fn what_stands_before_damage_is_read_and_then_the_error_stays() {
    let mut stream = stream("delta_session/two_attributes");
    let end = stream.len() - 60;
    stream.truncate(end);
    let mut input = ObjectInput::new(&stream, &LIMITS).unwrap();
    for _ in 0..2 {
        assert!(input.read_long_object().unwrap().is_some());
    }
    assert!(input.read_integer_object().unwrap().is_some());
    let error = loop {
        match input.peek().unwrap_or(Next::Null) {
            Next::Data => drop(input.read_bytes(1).unwrap()),
            _ => {
                if let Err(error) = input.read_object() {
                    break error;
                }
            }
        }
    };
    assert_eq!(error.kind, JavaErrorKind::Truncated);
    assert_eq!(input.read_bool(), Err(error));
    assert_eq!(input.peek(), Err(error));
}
