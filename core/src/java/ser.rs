//! Writing any `serde` type as a Java value.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::ser::{self, Serialize};

use super::{BigInteger, ClassRegistry, JavaBytes, JavaString, Value, ValueError};

/// A value as Java objects that every JVM has.
///
/// | Rust | Java |
/// |---|---|
/// | `bool`, `i8` to `i64`, `f32`, `f64` | the box of that width |
/// | `u8` to `u64` | the smallest box that holds every value of the type; `u64` beyond `i64::MAX` is an error |
/// | `i128`, `u128` | `java.math.BigInteger` |
/// | `char`, `str` | `String` |
/// | bytes (`serde_bytes`) | `byte[]` |
/// | `None`, `()` | `null` |
/// | sequences, tuples | `java.util.ArrayList` |
/// | maps, structs | `java.util.HashMap`, with the fields' names as keys |
/// | unit variant | `String`, its name |
/// | other variants | `java.util.HashMap` of one entry, its name and what it holds |
///
/// # Errors
///
/// If the value is nested too deep, or says itself that it cannot be serialized.
pub fn to_java<T: Serialize + ?Sized>(value: &T) -> Result<JavaBytes, ValueError> {
    to_value(value)?.to_java(&ClassRegistry::with_bytes_max(0))
}

/// A value as an object of the class `class`, whose descriptor `registry` has learned: fields by name, converted to
/// the types that the class declares. Fields of the class that `value` lacks become null, false or zero.
///
/// # Errors
///
/// If the class has not been seen, if its objects have data of their own, or if a field does not fit: the error says
/// which.
pub fn to_java_as<T: Serialize + ?Sized>(
    class: &str,
    value: &T,
    registry: &ClassRegistry,
) -> Result<JavaBytes, ValueError> {
    to_value(value)?.to_java_as(class, registry)
}

/// A value as a tree, as [`to_java`] writes it.
///
/// # Errors
///
/// As [`to_java`].
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(Serializer { depth: 0 })
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::Mismatch(what.to_string())
    }
}

#[derive(Clone, Copy)]
struct Serializer {
    depth: usize,
}

impl Serializer {
    fn deeper(self) -> Result<Self, ValueError> {
        match self.depth < Value::DEPTH_MAX {
            true => Ok(Self {
                depth: self.depth + 1,
            }),
            false => Err(ValueError::TooDeep),
        }
    }
}

fn text(text: &str) -> Value {
    Value::String(JavaString::from(text))
}

/// What a variant holds, under its name.
fn tagged(variant: &str, value: Value) -> Value {
    Value::map([(text(variant), value)])
}

impl ser::Serializer for Serializer {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = Sequence;
    type SerializeTuple = Sequence;
    type SerializeTupleStruct = Sequence;
    type SerializeTupleVariant = Sequence;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn serialize_bool(self, value: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, ValueError> {
        Ok(Value::Byte(value))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, ValueError> {
        Ok(Value::Short(value))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, ValueError> {
        Ok(Value::Int(value))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, ValueError> {
        Ok(Value::Long(value))
    }

    fn serialize_i128(self, value: i128) -> Result<Value, ValueError> {
        Ok(Value::BigInteger(BigInteger::from(value)))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, ValueError> {
        Ok(Value::Short(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, ValueError> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, ValueError> {
        Ok(Value::Long(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, ValueError> {
        let long = i64::try_from(value);
        long.map(Value::Long)
            .map_err(|_| ValueError::Mismatch(format!("{value} does not fit a long")))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, ValueError> {
        Ok(Value::BigInteger(BigInteger::from(value)))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, ValueError> {
        Ok(Value::Float(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, ValueError> {
        Ok(Value::Double(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, ValueError> {
        Ok(text(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, value: &str) -> Result<Value, ValueError> {
        Ok(text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueError> {
        Ok(Value::map([]))
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(tagged(variant, value.serialize(self.deeper()?)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Sequence, ValueError> {
        Ok(Sequence {
            inside: self.deeper()?,
            variant: None,
            items: Vec::new(),
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Sequence, ValueError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Sequence, ValueError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Sequence, ValueError> {
        Ok(Sequence {
            inside: self.deeper()?,
            variant: Some(variant),
            items: Vec::new(),
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, ValueError> {
        Ok(Entries {
            inside: self.deeper()?,
            variant: None,
            key: Value::Null,
            entries: Vec::new(),
        })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries, ValueError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries, ValueError> {
        Ok(Entries {
            inside: self.deeper()?,
            variant: Some(variant),
            key: Value::Null,
            entries: Vec::new(),
        })
    }
}

/// A list under way.
struct Sequence {
    inside: Serializer,
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl Sequence {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.items.push(value.serialize(self.inside)?);
        Ok(())
    }

    fn finish(self) -> Value {
        let list = Value::list(self.items);
        match self.variant {
            Some(variant) => tagged(variant, list),
            None => list,
        }
    }
}

macro_rules! sequence {
    ($($kind:ident, $add:ident;)*) => {$(
        impl ser::$kind for Sequence {
            type Ok = Value;
            type Error = ValueError;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
                self.add(value)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        }
    )*};
}

sequence! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
}

/// A map under way.
struct Entries {
    inside: Serializer,
    variant: Option<&'static str>,
    key: Value,
    entries: Vec<(Value, Value)>,
}

impl Entries {
    fn add<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ValueError> {
        let value = value.serialize(self.inside).map_err(|error| match error {
            ValueError::Mismatch(what) => ValueError::Mismatch(within(key, &what)),
            error => error,
        })?;
        self.entries.push((text(key), value));
        Ok(())
    }

    fn finish(self) -> Value {
        let map = Value::map(self.entries);
        match self.variant {
            Some(variant) => tagged(variant, map),
            None => map,
        }
    }
}

/// What is wrong, and in which field.
pub(crate) fn within(field: &str, what: &str) -> String {
    format!("{field}: {what}")
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = key.serialize(self.inside)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let value = value.serialize(self.inside)?;
        self.entries.push((core::mem::take(&mut self.key), value));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for Entries {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.add(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Entries {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.add(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}
