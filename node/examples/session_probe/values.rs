//! The value types of the probe: from words to a Java value, and to JSON.

use std::str::FromStr;

use folkmoot::java::{BigInteger, ClassRegistry, JavaBytes, Value as Java};
use serde_json::{Value, json};

use crate::answer::{Fields, Parameters, Refusal};
use crate::{lab, text};

/// The value that `type` and `v` of a request name.
pub(crate) fn parse(parameters: &Parameters) -> Result<JavaBytes, Refusal> {
    value(parameters.required("type")?, parameters.required("v")?)
}

/// The value that `v` of the type `kind` names.
pub(crate) fn value(kind: &str, v: &str) -> Result<JavaBytes, Refusal> {
    let value = match kind {
        "custom" => lab::user(v),
        "ext" => lab::ext(v),
        _ => standard(kind, v).map(|value| {
            value
                .to_java(&ClassRegistry::new())
                .map_err(|error| error.to_string())
        }),
    };
    match value {
        Some(Ok(value)) => Ok(value),
        Some(Err(why)) => Err(Refusal::bad(format!(
            "parameter v: `{v}` of type {kind}: {why}"
        ))),
        None => Err(Refusal::bad(format!(
            "parameter v: `{v}` is no value of type {kind}, or there is no such type"
        ))),
    }
}

/// A value of a class that every JVM has, or of the enum.
fn standard(kind: &str, v: &str) -> Option<Java> {
    fn number<T: FromStr + Into<Java>>(v: &str) -> Option<Java> {
        v.parse::<T>().ok().map(Into::into)
    }
    match kind {
        "string" => Some(v.into()),
        "int" => number::<i32>(v),
        "long" => number::<i64>(v),
        "double" => number::<f64>(v),
        "float" => number::<f32>(v),
        "short" => number::<i16>(v),
        "byte" => number::<i8>(v),
        "bool" => number::<bool>(v),
        "char" => match v.encode_utf16().collect::<Vec<u16>>()[..] {
            [unit] => Some(Java::Char(unit)),
            _ => None,
        },
        "bytes" => text::bytes_from_hex(v).map(|bytes| Java::from(bytes.as_slice())),
        "list" => Some(Java::list(items(v).map(Java::from))),
        "set" => Some(Java::set(distinct(items(v)).into_iter().map(Java::from))),
        "map" => {
            // Of two pairs with one key the later counts.
            let mut entries: Vec<(&str, &str)> = Vec::new();
            for item in items(v) {
                let (key, value) = item.split_once('=')?;
                entries.retain(|(found, _)| *found != key);
                entries.push((key, value));
            }
            Some(Java::map(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.into(), value.into())),
            ))
        }
        "date" => v.parse().ok().map(Java::Date),
        "strarr" => Some(Java::strings(items(v))),
        "intarr" => items(v)
            .map(|item| item.parse().ok())
            .collect::<Option<Vec<i32>>>()
            .map(Java::ints),
        "bigint" => v.parse().ok().map(|value: BigInteger| value.into()),
        "uuid" => text::uuid(v).map(Java::Uuid),
        "instant" => text::instant(v).map(|(seconds, nanos)| Java::Instant { seconds, nanos }),
        "enum" => lab::level(v),
        "big" => v
            .parse()
            .ok()
            .filter(|len| *len <= BIG_MAX)
            .map(|len| "x".repeat(len).into()),
        _ => None,
    }
}

/// Longest string that `big` makes.
const BIG_MAX: usize = 16 << 20;

fn items(v: &str) -> impl Iterator<Item = &str> {
    v.split(',').filter(move |_| !v.is_empty())
}

fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// The list `before`, or an empty one, with `item` appended.
pub(crate) fn appended(before: Option<&JavaBytes>, item: &str) -> Result<JavaBytes, Refusal> {
    let failed = |error: folkmoot::java::ValueError| Refusal::bad(error.to_string());
    let mut items = match before.map(JavaBytes::value).transpose().map_err(failed)? {
        None => Vec::new(),
        Some(Java::List { items, .. }) => items,
        Some(_) => {
            return Err(Refusal::bad(
                "parameter k: the attribute is no list".to_owned(),
            ));
        }
    };
    items.push(item.into());
    Java::list(items)
        .to_java(&ClassRegistry::new())
        .map_err(failed)
}

/// `type` and `value` of an attribute, as every answer carries them. What only its class can read has no value.
pub(crate) fn described(value: Option<&JavaBytes>) -> Fields {
    let tree = value.and_then(|value| value.value().ok());
    // The tree knows what a stand-in in the stream stands for: `java.time.Ser` for an `Instant`.
    let class = match &tree {
        Some(tree) => tree.class_name(),
        None => value.and_then(JavaBytes::class_name),
    };
    Fields::from_iter([
        (
            "type".to_owned(),
            json!(class.map(|class| class.to_string_lossy().into_owned())),
        ),
        ("value".to_owned(), tree.as_ref().map_or(Value::Null, json)),
    ])
}

fn json(value: &Java) -> Value {
    match value {
        Java::Bool(value) => json!(value),
        Java::Byte(value) => json!(value),
        Java::Short(value) => json!(value),
        Java::Int(value) => json!(value),
        Java::Long(value) | Java::Date(value) => json!(value),
        // The shortest digits that name the float, not those of its value as a double.
        Java::Float(value) => value
            .to_string()
            .parse::<f64>()
            .map_or(Value::Null, |value| json!(value)),
        Java::Double(value) => json!(value),
        Java::Char(unit) => json!(String::from_utf16_lossy(&[*unit])),
        Java::String(text) => json!(text.to_string_lossy()),
        Java::Bytes(bytes) => json!(text::hex(bytes)),
        Java::Array { items, .. } | Java::List { items, .. } => items.iter().map(json).collect(),
        Java::Set { items, .. } => {
            let mut items: Vec<Value> = items.iter().map(json).collect();
            items.sort_by_key(plain);
            items.into()
        }
        Java::Map { entries, .. } => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (plain(&json(key)), json(value)))
                .collect(),
        ),
        Java::BigInteger(value) => json!(value.to_string()),
        Java::Uuid(value) => json!(text::uuid_text(*value)),
        Java::Instant { seconds, nanos } => json!(text::instant_text(*seconds, *nanos)),
        Java::Enum { name, .. } => json!(name.to_string_lossy()),
        Java::Class(name) => json!(name.to_string_lossy()),
        Java::Object(object) => {
            let fields = object.fields.iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name.to_string_lossy().into_owned(), json(value)))
                    .collect(),
            )
        }
        _ => Value::Null,
    }
}

/// A value as text, without quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_and_read_back() {
        let user = json!({
            "name": "ada", "age": 36, "created": 1_700_000_000_036_i64, "active": true, "score": 9.0,
            "level": "MEMBER", "roles": ["r-ada", "all"], "marks": [1, 2, 3], "boss": null,
        });
        let mut led = user.clone();
        led["boss"] = json!({
            "name": "bob", "age": 61, "created": 1_700_000_000_061_i64, "active": true, "score": 15.25,
            "level": "MEMBER", "roles": ["r-bob", "all"], "marks": [1, 2, 3], "boss": null,
        });
        #[rustfmt::skip]
        let cases: Vec<(&str, &str, &str, Value)> = vec![
            ("string", "grüße 😀",  "java.lang.String",     json!("grüße 😀")),
            ("int", "-7",           "java.lang.Integer",    json!(-7)),
            ("long", "9007199254740993", "java.lang.Long",  json!(9_007_199_254_740_993_i64)),
            ("double", "0.1",       "java.lang.Double",     json!(0.1)),
            ("float", "0.1",        "java.lang.Float",      json!(0.1)),
            ("short", "-32768",     "java.lang.Short",      json!(-32768)),
            ("byte", "127",         "java.lang.Byte",       json!(127)),
            ("bool", "true",        "java.lang.Boolean",    json!(true)),
            ("char", "ß",           "java.lang.Character",  json!("ß")),
            ("bytes", "00ff7f",     "[B",                   json!("00ff7f")),
            ("bytes", "",           "[B",                   json!("")),
            ("list", "b,a,b",       "java.util.ArrayList",  json!(["b", "a", "b"])),
            ("list", "",            "java.util.ArrayList",  json!([])),
            ("set", "b,a,b",        "java.util.HashSet",    json!(["a", "b"])),
            ("map", "b=2,a=1,b=3",  "java.util.HashMap",    json!({"a": "1", "b": "3"})),
            ("date", "1700000000000", "java.util.Date",     json!(1_700_000_000_000_i64)),
            ("strarr", "x,y",       "[Ljava.lang.String;",  json!(["x", "y"])),
            ("intarr", "3,-1,2",    "[I",                   json!([3, -1, 2])),
            ("bigint", "-123456789012345678901234567890", "java.math.BigInteger",
                json!("-123456789012345678901234567890")),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "java.util.UUID",
                json!("123e4567-e89b-12d3-a456-426614174000")),
            ("instant", "2024-02-29T12:34:56.789Z", "java.time.Instant", json!("2024-02-29T12:34:56.789Z")),
            ("enum", "ADMIN",       "lab.LabUser$Level",    json!("ADMIN")),
            ("custom", "ada:36",    "lab.LabUser",          user),
            ("custom", "ada:36:bob:61", "lab.LabUser",      led),
            ("ext", "deep:77",      "lab.LabExt",           Value::Null),
            ("big", "3",            "java.lang.String",     json!("xxx")),
        ];
        for (kind, v, class, expected) in cases {
            let value =
                value(kind, v).unwrap_or_else(|refusal| panic!("{kind} {v}: {}", refusal.why));
            let described = described(Some(&value));
            assert_eq!(described["type"], json!(class), "{kind} {v}");
            assert_eq!(described["value"], expected, "{kind} {v}");
        }
        assert_eq!(
            Value::from(described(None)),
            json!({"type": null, "value": null})
        );
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused_by_name() {
        #[rustfmt::skip]
        let cases = [
            ("int", "x"), ("byte", "128"), ("bool", "yes"), ("char", "ab"), ("char", "😀"), ("bytes", "0"),
            ("bytes", "0g"), ("map", "a"), ("intarr", "1,x"), ("bigint", "1.5"), ("uuid", "1"), ("instant", "now"),
            ("enum", "BOSS"), ("custom", "ada"), ("custom", "ada:x"), ("custom", "a:1:b"), ("ext", "a"), ("big", "-1"),
            ("tuple", "1"),
        ];
        for (kind, v) in cases {
            let refusal = value(kind, v).expect_err(kind);
            assert_eq!(refusal.status.as_u16(), 400);
            assert!(
                refusal.why.contains(kind) && refusal.why.contains(v),
                "{}",
                refusal.why
            );
        }
    }

    #[test]
    fn a_list_grows() {
        let one = appended(None, "a").unwrap();
        let two = appended(Some(&one), "b").unwrap();
        assert_eq!(described(Some(&two))["value"], json!(["a", "b"]));
        assert!(appended(Some(&JavaBytes::from("no list")), "a").is_err());
    }
}
