//! A value as a vector shows it, against the same value in a graph.

use std::collections::HashSet;

use folkmoot_core::java::{
    BigInteger, Boxed, Collection, FieldValue, Graph, JavaString, NodeId, NodeKind, Slot,
};

use crate::support::json::Json;
use crate::support::vector::{int, sha256_hex};
use crate::support::{hex, same};

/// The objects that have been shown so far in one value.
pub(crate) type Shown = HashSet<NodeId>;

/// `Ok` if the value at `slot` is what `json` says; the error begins with `what`.
pub(crate) fn same_value(what: &str, json: &Json, graph: &Graph, slot: Slot) -> Result<(), String> {
    value(json, graph, slot, &mut Shown::new())
        .map_err(|difference| format!("{what}: {difference}"))
}

/// As [`same_value`], in the middle of a value of which `shown` has been shown already.
pub(crate) fn value(
    json: &Json,
    graph: &Graph,
    slot: Slot,
    shown: &mut Shown,
) -> Result<(), String> {
    if json.is_null() {
        return same("a value", slot, None);
    }
    let node = slot.ok_or_else(|| format!("null, should be {json:?}"))?;
    if json.get("backref").is_some() {
        return same("shown before", shown.contains(&node), true);
    }
    shown.insert(node);
    if let Some(text) = json.get("s") {
        let text = text.as_text().ok_or("s is not text")?;
        return same(
            "text",
            graph.text(node),
            Some(JavaString::from_utf16(&text.units)),
        );
    }
    if let Some(len) = json.get("sLen") {
        let text = graph.text(node).ok_or("not a string")?;
        let units: Vec<u8> = text.utf16().flat_map(u16::to_be_bytes).collect();
        same(
            "length of a text",
            Some((units.len() / 2) as i64),
            len.as_i64(),
        )?;
        return same(
            "SHA-256 of a text",
            Some(sha256_hex(&units).as_str()),
            json["sSha256Utf16be"].as_str(),
        );
    }
    if json.get("boxed").is_some() {
        return same(
            "boxed value",
            graph.boxed(node).map(exact),
            Some(exact(boxed(json)?)),
        );
    }
    if let Some(bytes) = json.get("bytes") {
        same("class", graph.class_name(node), JavaString::from("[B"))?;
        return same(
            "bytes",
            graph.primitive_array(node).map(hex::encode).as_deref(),
            bytes.as_str(),
        );
    }
    if let Some(class) = json.get("array") {
        return array(class, &json["items"], graph, node, shown);
    }
    if let Some(ms) = json.get("date") {
        same(
            "class",
            graph.class_name(node),
            JavaString::from("java.util.Date"),
        )?;
        return same("milliseconds", graph.date_ms(node), int(ms));
    }
    if let Some(digits) = json.get("bigint") {
        return same(
            "integer",
            big_integer(graph, node)?.as_str(),
            digits.as_str().unwrap_or_default(),
        );
    }
    if let Some(digits) = json.get("bigdec") {
        let (unscaled, scale) = graph.big_decimal(node).ok_or("not a BigDecimal")?;
        same("scale", Some(i64::from(scale)), json["scale"].as_i64())?;
        return same(
            "integer",
            big_integer(graph, unscaled)?.as_str(),
            digits.as_str().unwrap_or_default(),
        );
    }
    if let Some(text) = json.get("uuid") {
        return same("UUID", graph.uuid(node), Some(uuid(text)?));
    }
    if let Some(class) = json.get("enum") {
        same_class(class, graph, node)?;
        same("kind", graph.kind(node), Some(NodeKind::Enum))?;
        let name = graph
            .enum_name(node)
            .map(|name| name.to_string_lossy().into_owned());
        return same("constant", name.as_deref(), json["name"].as_str());
    }
    for (key, what) in [("list", "items"), ("set", "items"), ("map", "entries")] {
        if let Some(class) = json.get(key) {
            same_class(class, graph, node)?;
            return collection(key, &json[what], graph, node, shown);
        }
    }
    object(json, graph, node, shown)
}

/// A field of an object against plain JSON: text, flags, lists of text, objects of text.
pub(crate) fn same_plain(
    name: &str,
    json: &Json,
    graph: &Graph,
    object: NodeId,
) -> Result<(), String> {
    let field = graph
        .field(object, name)
        .ok_or_else(|| format!("no field {name}"))?;
    let slot = match (field, json) {
        (FieldValue::Primitive(value), Json::Flag(flag)) => {
            return same(name, value, Boxed::Boolean(*flag));
        }
        (FieldValue::Primitive(value), _) => {
            return same(
                name,
                exact(value),
                exact(Boxed::Integer(json.as_i64().unwrap_or_default() as i32)),
            );
        }
        (FieldValue::Reference(slot), _) => slot,
    };
    plain(json, graph, slot).map_err(|difference| format!("field {name}: {difference}"))
}

fn plain(json: &Json, graph: &Graph, slot: Slot) -> Result<(), String> {
    let text = |slot: Slot| {
        slot.and_then(|node| graph.text(node))
            .map(|text| text.to_string_lossy().into_owned())
    };
    match json {
        Json::Null => same("value", slot, None),
        Json::Text(_) => same("text", text(slot).as_deref(), json.as_str()),
        Json::List(list) => {
            let elements = graph
                .object_array(slot.ok_or("null")?)
                .ok_or("not an array")?;
            same("length", elements.len(), list.len())?;
            list.iter()
                .zip(elements)
                .try_for_each(|(json, slot)| plain(json, graph, slot))
        }
        Json::Object(members) => {
            let Some(Collection::Map(entries)) = graph.collection(slot.ok_or("null")?) else {
                return Err("not a map".to_owned());
            };
            same("size", entries.len(), members.len())?;
            members.iter().try_for_each(|(key, json)| {
                let entry = entries
                    .iter()
                    .find(|entry| text(entry.0).as_deref() == Some(key));
                plain(
                    json,
                    graph,
                    entry.ok_or_else(|| format!("no entry {key}"))?.1,
                )
            })
        }
        other => Err(format!("not plain: {other:?}")),
    }
}

fn object(json: &Json, graph: &Graph, node: NodeId, shown: &mut Shown) -> Result<(), String> {
    let class = json
        .get("object")
        .ok_or_else(|| format!("a form of value nobody knows: {json:?}"))?;
    same_class(class, graph, node)?;
    if let Some(ms) = json.get("millis") {
        same("milliseconds", graph.date_ms(node), int(ms))?;
        let nanos = json["nanos"].as_i64().ok_or("no nanos")?;
        return same(
            "nanoseconds",
            graph.field(node, "nanos"),
            Some(primitive(Boxed::Integer(nanos as i32))),
        );
    }
    for (name, json) in json["fields"].as_object().unwrap_or_default() {
        let field = graph
            .field(node, name)
            .ok_or_else(|| format!("no field {name}"))?;
        let compared = match field {
            FieldValue::Primitive(value) => same("value", exact(value), exact(boxed(json)?)),
            FieldValue::Reference(slot) => value(json, graph, slot, shown),
        };
        compared.map_err(|difference| format!("field {name}: {difference}"))?;
    }
    Ok(())
}

const fn primitive(value: Boxed) -> FieldValue {
    FieldValue::Primitive(value)
}

/// The class that stands in the stream for an object of the class that the vector names.
pub(crate) fn class_in_stream(shown: &str) -> &str {
    if shown.starts_with("java.util.ImmutableCollections$") {
        return "java.util.CollSer";
    }
    if shown.starts_with("java.time.") {
        return "java.time.Ser";
    }
    if shown.contains("$$Lambda") {
        return "java.lang.invoke.SerializedLambda";
    }
    match shown {
        "java.util.RegularEnumSet" | "java.util.JumboEnumSet" => {
            "java.util.EnumSet$SerializationProxy"
        }
        "java.util.Collections$UnmodifiableRandomAccessList" => {
            "java.util.Collections$UnmodifiableList"
        }
        "java.util.Collections$SynchronizedRandomAccessList" => {
            "java.util.Collections$SynchronizedList"
        }
        "org.apache.catalina.realm.GenericPrincipal" => {
            "org.apache.catalina.realm.GenericPrincipal$SerializablePrincipal"
        }
        "<proxy>" => "",
        same => same,
    }
}

fn same_class(shown: &Json, graph: &Graph, node: NodeId) -> Result<(), String> {
    let shown = shown.as_str().ok_or("a class is no text")?;
    let name = match graph.kind(node) {
        Some(NodeKind::Class) => JavaString::from("java.lang.Class"),
        _ => graph.class_name(node),
    };
    same("class", name, JavaString::from(class_in_stream(shown)))
}

fn array(
    class: &Json,
    items: &Json,
    graph: &Graph,
    node: NodeId,
    shown: &mut Shown,
) -> Result<(), String> {
    same_class(class, graph, node)?;
    let items = items.as_list().ok_or("no items")?;
    same(
        "length of an array",
        graph.array_len(node),
        Some(items.len()),
    )?;
    let name = class.as_str().unwrap_or_default();
    if let Some(bytes) = graph.primitive_array(node) {
        let mut wanted = Vec::new();
        for item in items {
            wanted.extend(bytes_of(boxed(item)?));
        }
        return same(name, hex::encode(bytes), hex::encode(&wanted));
    }
    slots(
        items,
        &graph.object_array(node).ok_or("not an array")?,
        graph,
        shown,
    )
}

fn slots(items: &[Json], slots: &[Slot], graph: &Graph, shown: &mut Shown) -> Result<(), String> {
    same("number of elements", slots.len(), items.len())?;
    for (at, (json, &slot)) in items.iter().zip(slots).enumerate() {
        value(json, graph, slot, shown)
            .map_err(|difference| format!("element {at}: {difference}"))?;
    }
    Ok(())
}

fn collection(
    kind: &str,
    items: &Json,
    graph: &Graph,
    node: NodeId,
    shown: &mut Shown,
) -> Result<(), String> {
    let items = items.as_list().ok_or("no items")?;
    match (kind, graph.collection(node).ok_or("not a collection")?) {
        ("list", Collection::List(elements)) | ("set", Collection::Set(elements)) => {
            slots(items, &elements, graph, shown)
        }
        ("map", Collection::Map(entries)) => {
            same("number of entries", entries.len(), items.len())?;
            for (json, (key, item)) in items.iter().zip(entries) {
                let [json_key, json_value] = json.as_list().unwrap_or_default() else {
                    return Err("an entry is no pair".to_owned());
                };
                value(json_key, graph, key, shown)?;
                value(json_value, graph, item, shown)
                    .map_err(|difference| format!("entry {json_key:?}: {difference}"))?;
            }
            Ok(())
        }
        (kind, other) => Err(format!("{other:?} is no {kind}")),
    }
}

fn big_integer(graph: &Graph, node: NodeId) -> Result<String, String> {
    let (sign, magnitude) = graph.big_integer(node).ok_or("not a BigInteger")?;
    Ok(BigInteger::new(sign < 0, magnitude).to_string())
}

pub(crate) fn uuid(text: &Json) -> Result<u128, String> {
    let digits = text.as_str().unwrap_or_default().replace('-', "");
    u128::from_str_radix(&digits, 16).map_err(|error| error.to_string())
}

/// The boxed value that `json` shows.
pub(crate) fn boxed(json: &Json) -> Result<Boxed, String> {
    let class = json["boxed"]
        .as_str()
        .ok_or_else(|| format!("not a boxed value: {json:?}"))?;
    let number = || int(&json["v"]).ok_or_else(|| format!("not a number: {json:?}"));
    let bits = || {
        u64::from_str_radix(json["bits"].as_str().unwrap_or_default(), 16)
            .map_err(|error| error.to_string())
    };
    Ok(match class {
        "java.lang.Boolean" => Boxed::Boolean(json["v"].as_bool().ok_or("not a flag")?),
        "java.lang.Byte" => Boxed::Byte(number()? as i8),
        "java.lang.Character" => Boxed::Character(number()? as u16),
        "java.lang.Short" => Boxed::Short(number()? as i16),
        "java.lang.Integer" => Boxed::Integer(number()? as i32),
        "java.lang.Long" => Boxed::Long(number()?),
        "java.lang.Float" => Boxed::Float(f32::from_bits(bits()? as u32)),
        "java.lang.Double" => Boxed::Double(f64::from_bits(bits()?)),
        other => return Err(format!("{other} is no boxed class")),
    })
}

/// The bytes of a primitive: unlike the value, they tell one NaN from another.
pub(crate) fn bytes_of(value: Boxed) -> Vec<u8> {
    match value {
        Boxed::Boolean(value) => vec![u8::from(value)],
        Boxed::Byte(value) => value.to_be_bytes().to_vec(),
        Boxed::Character(value) => value.to_be_bytes().to_vec(),
        Boxed::Short(value) => value.to_be_bytes().to_vec(),
        Boxed::Integer(value) => value.to_be_bytes().to_vec(),
        Boxed::Long(value) => value.to_be_bytes().to_vec(),
        Boxed::Float(value) => value.to_bits().to_be_bytes().to_vec(),
        Boxed::Double(value) => value.to_bits().to_be_bytes().to_vec(),
    }
}

fn exact(value: Boxed) -> (&'static str, Vec<u8>) {
    (value.class_name(), bytes_of(value))
}
