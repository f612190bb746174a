//! Random graphs, written, read and written again.

use folkmoot_core::java::{
    Boxed, ClassDescriptor, Content, Graph, JavaBytes, JavaString, Limits, NodeId, ObjectInput,
    ObjectOutput, Part, Slot,
};
use proptest::prelude::*;

/// One step in building a graph; numbers choose among what is there already.
#[derive(Clone, Debug)]
enum Step {
    Text(Vec<u16>),
    Int(i32),
    Bytes(Vec<u8>),
    List(Vec<u16>),
    Map(Vec<(u16, u16)>),
    Array(Vec<u16>),
    Constant(u8),
    Object {
        class: u8,
        number: i64,
        values: [u16; 2],
    },
    Custom {
        data: Vec<u8>,
        value: u16,
    },
    /// Lets an object refer to something else, perhaps to what contains it.
    Tie {
        object: u16,
        value: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(any::<u16>(), 0..12).prop_map(Step::Text),
        any::<i32>().prop_map(Step::Int),
        (-200..200).prop_map(Step::Int),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Bytes),
        prop::collection::vec(any::<u16>(), 0..5).prop_map(Step::List),
        prop::collection::vec(any::<(u16, u16)>(), 0..4).prop_map(Step::Map),
        prop::collection::vec(any::<u16>(), 0..5).prop_map(Step::Array),
        any::<u8>().prop_map(Step::Constant),
        any::<(u8, i64, [u16; 2])>().prop_map(|(class, number, values)| Step::Object {
            class,
            number,
            values
        }),
        (prop::collection::vec(any::<u8>(), 0..2500), any::<u16>())
            .prop_map(|(data, value)| Step::Custom { data, value }),
        any::<(u16, u16)>().prop_map(|(object, value)| Step::Tie { object, value }),
    ]
}

/// A class of a hierarchy as deep as its number says.
fn class(depth: u8) -> ClassDescriptor {
    let class = ClassDescriptor::new(&format!("lab.C{depth}"), i64::from(depth))
        .with_field("n", "J")
        .with_field("o", "Ljava/lang/Object;")
        .with_field("t", "Ljava/lang/String;");
    match depth {
        0 => class,
        _ => class.with_superclass(self::class(depth - 1)),
    }
}

fn build(steps: &[Step]) -> Graph {
    let mut graph = Graph::new();
    let mut nodes: Vec<NodeId> = Vec::new();
    let mut objects: Vec<NodeId> = Vec::new();
    for step in steps {
        let pick =
            |number: u16| -> Slot { nodes.get(usize::from(number) % (nodes.len() + 1)).copied() };
        let picks = |numbers: &[u16]| {
            numbers
                .iter()
                .map(|&number| pick(number))
                .collect::<Vec<_>>()
        };
        let node = match step {
            Step::Text(units) => graph.add_string(&JavaString::from_utf16(units)),
            Step::Int(value) => graph.add_boxed(Boxed::Integer(*value)),
            Step::Bytes(bytes) => graph.add_bytes_array(bytes),
            Step::List(numbers) => graph.add_list("java.util.LinkedList", &picks(numbers)),
            Step::Map(pairs) => {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|&(key, value)| (pick(key), pick(value)))
                    .collect();
                graph.add_map("java.util.LinkedHashMap", &pairs)
            }
            Step::Array(numbers) => {
                let class =
                    graph.add_class(&ClassDescriptor::well_known("[Ljava.lang.Object;").unwrap());
                graph.add_array(class, &picks(numbers))
            }
            Step::Constant(number) => {
                let class = graph.add_enum_class(&"lab.E".into());
                let name = graph.add_string(&format!("E{number}").as_str().into());
                graph.add_enum(class, name)
            }
            Step::Object {
                class: depth,
                number,
                values,
            } => {
                let depth = depth % 4;
                let class = graph.add_class(&class(depth));
                let number = number.to_be_bytes();
                let [a, b] = values.map(pick);
                let level = [Part::Primitives(&number), Part::Value(a), Part::Value(b)];
                graph.add_object(class, &level.repeat(usize::from(depth) + 1))
            }
            Step::Custom { data, value } => {
                let class = graph.add_class(&ClassDescriptor::externalizable("lab.X", 9));
                graph.add_object(
                    class,
                    &[
                        Part::Data(data),
                        Part::Value(pick(*value)),
                        Part::Data(data),
                        Part::End,
                    ],
                )
            }
            Step::Tie { object, value } => {
                if let Some(&object) = objects.get(usize::from(*object) % (objects.len() + 1)) {
                    let value = folkmoot_core::java::FieldValue::Reference(pick(*value));
                    graph.set_field(object, "o", value).unwrap();
                }
                continue;
            }
        };
        if matches!(step, Step::Object { .. }) {
            objects.push(node);
        }
        nodes.push(node);
    }
    for node in nodes.iter().rev().take(5) {
        graph.push(Some(*node));
        graph.push_block(&[1, 2, 3]);
    }
    graph
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_survives_its_stream(steps in prop::collection::vec(step(), 1..40)) {
        let limits = Limits::default();
        let graph = build(&steps);
        let stream = graph.encode();
        let parsed = Graph::parse(&stream, &limits).unwrap();
        prop_assert_eq!(parsed.contents().len(), graph.contents().len());
        prop_assert_eq!(parsed.encode(), stream.clone());

        // Written node by node, with identity, it is the same stream.
        let mut output = ObjectOutput::new();
        for content in graph.contents() {
            match *content {
                Content::Value(slot) => output.write_node(&graph, slot),
                Content::Block(block) => output.write_bytes(graph.block(block)),
                _ => unreachable!(),
            }
        }
        prop_assert_eq!(output.finish(), stream.clone());

        // Read item by item, each value is by itself what it is in the graph.
        let mut input = ObjectInput::new(&stream, &limits).unwrap();
        let mut copied = ObjectOutput::new();
        for content in parsed.contents() {
            match *content {
                Content::Value(slot) => {
                    let value = input.read_object().unwrap();
                    prop_assert_eq!(&value, &parsed.value_bytes(slot));
                    let checked = JavaBytes::new(value.bytes().clone(), &limits);
                    prop_assert_eq!(checked.as_ref(), Ok(&value));
                    copied.write_object(&value).unwrap();
                }
                _ => copied.write_bytes(&input.read_bytes(3).unwrap()),
            }
        }
        input.finish().unwrap();

        // And in a stream with others, too.
        let copied = copied.finish();
        let again = Graph::parse(&copied, &limits).unwrap();
        prop_assert_eq!(again.encode(), copied);
        for (one, other) in parsed.contents().iter().zip(again.contents()) {
            if let (Content::Value(one), Content::Value(other)) = (*one, *other) {
                prop_assert_eq!(parsed.value_bytes(one), again.value_bytes(other));
            }
        }
    }
}
