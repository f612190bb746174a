//! The value types of the probe: from words to a Java value, and to JSON.

use folkmoot::java::{Boxed, FieldValue, Graph, JavaBytes, Limits, NodeId, NodeKind};
use serde_json::{Value, json};

use crate::answer::{Fields, Parameters, Refusal};

/// The value that `type` and `v` of a request name.
pub fn parse(parameters: &Parameters) -> Result<JavaBytes, Refusal> {
    value(parameters.required("type")?, parameters.required("v")?)
}

/// The value that `v` of the type `kind` names.
pub fn value(kind: &str, v: &str) -> Result<JavaBytes, Refusal> {
    let wrong = |why: &str| Refusal::bad(format!("parameter v: `{v}` of type {kind}: {why}"));
    fn number<T: std::str::FromStr + Into<JavaBytes>>(v: &str) -> Option<JavaBytes> {
        v.parse::<T>().ok().map(Into::into)
    }
    let value = match kind {
        "string" => Some(JavaBytes::from(v)),
        "int" => number::<i32>(v),
        "long" => number::<i64>(v),
        "double" => number::<f64>(v),
        "float" => number::<f32>(v),
        "short" => number::<i16>(v),
        "byte" => number::<i8>(v),
        "bool" => number::<bool>(v),
        "bytes" => bytes(v).map(JavaBytes::from),
        "big" => v
            .parse()
            .ok()
            .filter(|len| *len <= BIG_MAX)
            .map(|len| JavaBytes::from("x".repeat(len))),
        _ => return Err(Refusal::bad(format!("parameter type: {kind} is unknown"))),
    };
    value.ok_or_else(|| wrong("no such value"))
}

/// Longest string that `big` makes.
const BIG_MAX: usize = 16 << 20;

fn bytes(v: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| {
        v.as_bytes()
            .get(at)
            .and_then(|&digit| char::from(digit).to_digit(16))
    };
    if v.len() % 2 != 0 {
        return None;
    }
    (0..v.len())
        .step_by(2)
        .map(|at| u8::try_from(digit(at)? << 4 | digit(at + 1)?).ok())
        .collect()
}

/// The list `before` with `item` appended.
pub fn appended(before: Option<&JavaBytes>, item: &str) -> Result<JavaBytes, Refusal> {
    let _ = (before, item);
    Err(Refusal::unknown("touchlist"))
}

/// `type` and `value` of an attribute, as every answer carries them.
pub fn described(value: Option<&JavaBytes>) -> Fields {
    let class = value.and_then(JavaBytes::class_name);
    let json = value.and_then(|value| {
        let graph = Graph::parse(value.as_bytes(), &Limits::DEFAULT).ok()?;
        json(&graph, graph.root()?)
    });
    Fields::from_iter([
        (
            "type".to_owned(),
            json!(class.map(|class| class.to_string_lossy().into_owned())),
        ),
        ("value".to_owned(), json.unwrap_or(Value::Null)),
    ])
}

fn json(graph: &Graph, node: NodeId) -> Option<Value> {
    match graph.kind(node)? {
        NodeKind::String => Some(json!(graph.text(node)?.to_string_lossy())),
        NodeKind::Enum => Some(json!(graph.enum_name(node)?.to_string_lossy())),
        NodeKind::Array => {
            let bytes = graph.primitive_array(node)?;
            Some(json!(
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            ))
        }
        NodeKind::Object => match graph.boxed(node) {
            Some(boxed) => Some(number(boxed)),
            None => Some(Value::Object(
                graph
                    .fields(node)
                    .into_iter()
                    .filter_map(|field| {
                        let value = match field.value {
                            FieldValue::Primitive(boxed) => number(boxed),
                            FieldValue::Reference(node) => node
                                .and_then(|node| json(graph, node))
                                .unwrap_or(Value::Null),
                        };
                        Some((field.name.to_string_lossy().into_owned(), value))
                    })
                    .collect(),
            )),
        },
        _ => None,
    }
}

fn number(boxed: Boxed) -> Value {
    match boxed {
        Boxed::Boolean(value) => json!(value),
        Boxed::Byte(value) => json!(value),
        Boxed::Character(value) => json!(String::from_utf16_lossy(&[value])),
        Boxed::Short(value) => json!(value),
        Boxed::Integer(value) => json!(value),
        Boxed::Long(value) => json!(value),
        // The shortest digits that name the float, not those of its value as a double.
        Boxed::Float(value) => value
            .to_string()
            .parse::<f64>()
            .map_or(Value::Null, |value| json!(value)),
        Boxed::Double(value) => json!(value),
    }
}
