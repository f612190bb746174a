//! Reading Java values into any `serde` type.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::{self, Vec};
use core::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::ser::within;
use super::{JavaBytes, JavaString, Value, ValueError};

/// A `serde` type from a Java value: what [`to_java`](super::to_java) writes, and what applications in Java do.
///
/// A struct is read from an object by the names of its fields, those of superclasses too, or from a map with
/// string keys; numbers of any width if they fit; sequences from lists, sets and arrays; a `char` from a
/// `Character`; dates as milliseconds since 1970; enums by the name of the constant; `UUID`, `BigInteger` and
/// `BigDecimal` as text. Null is `None`. What the object has and the struct does not is passed over.
///
/// # Errors
///
/// If the value has another shape: the error says which field of which class.
pub fn from_java<T: DeserializeOwned>(value: &JavaBytes) -> Result<T, ValueError> {
    from_value(value.value()?)
}

/// A `serde` type from a tree, as [`from_java`] reads it.
///
/// # Errors
///
/// As [`from_java`].
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    T::deserialize(Deserializer(value))
}

impl de::Error for ValueError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::Mismatch(what.to_string())
    }
}

struct Deserializer(Value);

impl<'de> IntoDeserializer<'de, ValueError> for Deserializer {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn lossless(text: &JavaString) -> Result<String, ValueError> {
    match text.to_str() {
        Some(text) => Ok(text.into_owned()),
        None => Err(ValueError::Mismatch(format!(
            "{text:?} has a lone surrogate, which no Rust string can"
        ))),
    }
}

impl Deserializer {
    fn unexpected<V>(self, expected: &dyn de::Expected) -> Result<V, ValueError> {
        let class = self
            .0
            .class_name()
            .map_or_else(|| "null".to_string(), |class| class.to_string());
        Err(de::Error::invalid_type(Unexpected::Other(&class), expected))
    }

    /// What stands as text for a value.
    fn text(&self) -> Result<Option<String>, ValueError> {
        Ok(Some(match &self.0 {
            Value::String(text) | Value::Class(text) => lossless(text)?,
            Value::Enum { name, .. } => lossless(name)?,
            Value::Char(unit) => lossless(&JavaString::from_utf16(&[*unit]))?,
            Value::BigInteger(value) => value.to_string(),
            Value::BigDecimal { unscaled, scale } => decimal(&unscaled.to_string(), *scale),
            Value::Uuid(uuid) => {
                let digits = format!("{uuid:032x}");
                let mut text = String::with_capacity(36);
                for (at, digit) in digits.chars().enumerate() {
                    if matches!(at, 8 | 12 | 16 | 20) {
                        text.push('-');
                    }
                    text.push(digit);
                }
                text
            }
            _ => return Ok(None),
        }))
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match &self.0 {
            Value::BigInteger(value) => match value.to_i128() {
                Some(value) => visitor.visit_i128(value),
                None => Err(ValueError::Mismatch(format!("{value} does not fit"))),
            },
            Value::Char(unit) => visitor.visit_u64(u64::from(*unit)),
            value => match value.as_i64() {
                Some(value) => visitor.visit_i64(value),
                None => self.unexpected(&visitor),
            },
        }
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Float(value) => visitor.visit_f32(value),
            Value::BigDecimal { unscaled, scale } => {
                let text = decimal(&unscaled.to_string(), scale);
                visitor.visit_f64(text.parse().map_err(|_| ValueError::Mismatch(text))?)
            }
            ref value => match value.as_f64() {
                Some(value) => visitor.visit_f64(value),
                None => self.unexpected(&visitor),
            },
        }
    }

    /// The entries of a map or the fields of an object, and the class for errors.
    fn entries(self) -> Result<Members, Self> {
        match self.0 {
            Value::Map { class, entries } => Ok(Members {
                class,
                entries: entries.into_iter(),
                last: None,
                name: None,
            }),
            Value::Object(object) => {
                // Of fields with one name the one furthest down counts.
                let mut entries: Vec<(Value, Value)> = Vec::with_capacity(object.fields.len());
                for (name, value) in object.fields {
                    let key = Value::String(name);
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(Members {
                    class: object.class,
                    entries: entries.into_iter(),
                    last: None,
                    name: None,
                })
            }
            other => Err(Self(other)),
        }
    }
}

/// Decimal digits with the point where the scale has it.
fn decimal(digits: &str, scale: i32) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    // Far from the digits only an exponent keeps the text short.
    if !(0..=1000).contains(&scale) {
        return format!("{sign}{digits}e{}", -i64::from(scale));
    }
    let scale = scale as usize;
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits
        .split_at_checked(digits.len() - scale)
        .unwrap_or((&digits, ""));
    match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

macro_rules! forward {
    ($to:ident: $($from:ident)*) => {$(
        fn $from<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            self.$to(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Deserializer {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Byte(value) => visitor.visit_i8(value),
            Value::Short(value) => visitor.visit_i16(value),
            Value::Int(value) => visitor.visit_i32(value),
            Value::Long(value) | Value::Date(value) => visitor.visit_i64(value),
            Value::Float(value) => visitor.visit_f32(value),
            Value::Double(value) => visitor.visit_f64(value),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.to_vec()),
            Value::List { .. } | Value::Set { .. } | Value::Array { .. } => {
                self.deserialize_seq(visitor)
            }
            Value::Map { .. } | Value::Object(_) | Value::Instant { .. } => {
                self.deserialize_map(visitor)
            }
            Value::Opaque(_) | Value::Cycle => self.unexpected(&visitor),
            _ => self.deserialize_string(visitor),
        }
    }

    forward!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    forward!(integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    forward!(float: deserialize_f32 deserialize_f64);
    forward!(deserialize_string: deserialize_str deserialize_char deserialize_identifier);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => self.unexpected(&visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.text()? {
            Some(text) => visitor.visit_string(text),
            None => self.unexpected(&visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.to_vec()),
            Value::List { .. } | Value::Set { .. } | Value::Array { .. } => {
                self.deserialize_seq(visitor)
            }
            _ => self.unexpected(&visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            _ => self.unexpected(&visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let items = match self.0 {
            Value::List { items, .. } | Value::Set { items, .. } | Value::Array { items, .. } => {
                items
            }
            Value::Bytes(bytes) => bytes
                .iter()
                .map(|&byte| Value::Short(i16::from(byte)))
                .collect(),
            _ => return self.unexpected(&visitor),
        };
        let mut access = de::value::SeqDeserializer::new(items.into_iter().map(Self));
        let value = visitor.visit_seq(&mut access)?;
        access.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if let Value::Instant { seconds, nanos } = self.0 {
            let parts = [
                ("seconds", Value::Long(seconds)),
                ("nanos", Value::Long(i64::from(nanos))),
            ];
            let entries: Vec<_> = parts
                .into_iter()
                .map(|(name, value)| (Value::from(name), value))
                .collect();
            return visitor.visit_map(Members {
                class: JavaString::from("java.time.Instant"),
                entries: entries.into_iter(),
                last: None,
                name: None,
            });
        }
        match self.entries() {
            Ok(members) => visitor.visit_map(members),
            Err(other) => other.unexpected(&visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::List { .. } | Value::Array { .. } => self.deserialize_seq(visitor),
            Value::Object(ref object) => {
                let class = object.class.clone();
                self.deserialize_map(visitor).map_err(|error| match error {
                    ValueError::Mismatch(what) if !what.starts_with("field ") => {
                        ValueError::Mismatch(format!("{class}: {what}"))
                    }
                    error => error,
                })
            }
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if let Some(name) = self.text()? {
            return visitor.visit_enum(Variant {
                name,
                content: None,
            });
        }
        if let Value::Map { mut entries, .. } = self.0 {
            return match (entries.pop(), entries.is_empty()) {
                (Some((Value::String(name), content)), true) => visitor.visit_enum(Variant {
                    name: lossless(&name)?,
                    content: Some(content),
                }),
                _ => Err(ValueError::Mismatch(
                    "a variant is a map of one entry, its name and what it holds".into(),
                )),
            };
        }
        self.unexpected(&visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }
}

/// The members of a map or object, one by one.
struct Members {
    class: JavaString,
    entries: vec::IntoIter<(Value, Value)>,
    last: Option<Value>,
    /// The name of the member whose value comes next.
    name: Option<JavaString>,
}

impl<'de> de::MapAccess<'de> for Members {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.name = match &key {
            Value::String(name) => Some(name.clone()),
            _ => None,
        };
        self.last = Some(value);
        seed.deserialize(Deserializer(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        let value = self.last.take().unwrap_or_default();
        seed.deserialize(Deserializer(value))
            .map_err(|error| match (error, &self.name) {
                (ValueError::Mismatch(what), Some(name)) => {
                    let field = format!("field {name} of {}", self.class);
                    ValueError::Mismatch(within(&field, &what))
                }
                (error, _) => error,
            })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enum.
struct Variant {
    name: String,
    content: Option<Value>,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = ValueError;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), ValueError> {
        let name =
            seed.deserialize(IntoDeserializer::<ValueError>::into_deserializer(self.name))?;
        Ok((name, Content(self.content)))
    }
}

/// What a variant holds.
struct Content(Option<Value>);

impl<'de> de::VariantAccess<'de> for Content {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self.0 {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(ValueError::Mismatch(
                "the variant holds something here".into(),
            )),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        seed.deserialize(Deserializer(self.0.unwrap_or_default()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        de::Deserializer::deserialize_seq(Deserializer(self.0.unwrap_or_default()), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        de::Deserializer::deserialize_map(Deserializer(self.0.unwrap_or_default()), visitor)
    }
}
