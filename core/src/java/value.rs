//! Values as trees, for people and for serde.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::{BigInteger, JavaError, JavaString};

/// A Java value as a tree: what it says, without what only Java needs to know of it.
///
/// Shared objects appear wherever they are referred to; a reference back into an object that contains it is
/// [`Cycle`](Self::Cycle). What has a class whose data only the class itself can read is
/// [`Opaque`](Self::Opaque).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `java.lang.Boolean` or a `boolean` field; the following as well.
    Bool(bool),
    /// `java.lang.Byte`
    Byte(i8),
    /// `java.lang.Short`
    Short(i16),
    /// `java.lang.Integer`
    Int(i32),
    /// `java.lang.Long`
    Long(i64),
    /// `java.lang.Float`
    Float(f32),
    /// `java.lang.Double`
    Double(f64),
    /// `java.lang.Character`: a UTF-16 code unit
    Char(u16),
    /// `java.lang.String`
    String(JavaString),
    /// `byte[]`
    Bytes(Bytes),
    /// Any other array.
    Array {
        /// `[I`, `[Ljava.lang.String;`
        class: JavaString,
        /// The elements.
        items: Vec<Value>,
    },
    /// A list, queue or stack.
    List {
        /// The class.
        class: JavaString,
        /// The elements.
        items: Vec<Value>,
    },
    /// A set.
    Set {
        /// The class.
        class: JavaString,
        /// The elements, in the order of the stream.
        items: Vec<Value>,
    },
    /// A map.
    Map {
        /// The class.
        class: JavaString,
        /// Keys and values, in the order of the stream.
        entries: Vec<(Value, Value)>,
    },
    /// `java.util.Date` and its subclasses: milliseconds since 1970.
    Date(i64),
    /// `java.math.BigInteger`
    BigInteger(BigInteger),
    /// `java.math.BigDecimal`
    BigDecimal {
        /// The digits.
        unscaled: BigInteger,
        /// How many of them stand after the point.
        scale: i32,
    },
    /// `java.util.UUID`
    Uuid(u128),
    /// `java.time.Instant`
    Instant {
        /// Since 1970.
        seconds: i64,
        /// 0 to 999 999 999.
        nanos: u32,
    },
    /// An enum constant.
    Enum {
        /// The enum.
        class: JavaString,
        /// The constant.
        name: JavaString,
    },
    /// An object of any other class that has fields.
    Object(Object),
    /// A `java.lang.Class`, by name.
    Class(JavaString),
    /// An object without fields whose data only its class can read; a proxy has no class name.
    Opaque(JavaString),
    /// The object that contains this.
    Cycle,
}

/// An object of an application's class, by fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// The class.
    pub class: JavaString,
    /// Names and values, those of the topmost superclass first. A subclass may have a field of the same name.
    pub fields: Vec<(JavaString, Value)>,
}

impl Object {
    /// An object without fields.
    pub fn new(class: impl Into<JavaString>) -> Self {
        Self {
            class: class.into(),
            fields: Vec::new(),
        }
    }

    /// The field `name`; of several, the one declared furthest down.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .rev()
            .find_map(|(field, value)| (*field == name).then_some(value))
    }

    /// Sets the field `name`, or adds it.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self
            .fields
            .iter_mut()
            .rev()
            .find(|(field, _)| *field == name)
        {
            Some((_, old)) => *old = value,
            None => self.fields.push((JavaString::from(name), value)),
        }
    }
}

/// Why a value could not be read or written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// Its stream cannot be read.
    Stream(JavaError),
    /// Values are inside each other more than [`Value::DEPTH_MAX`] deep.
    TooDeep,
    /// Shared objects make a tree of more than [`Value::NODES_MAX`] values.
    TooLarge,
    /// No descriptor of this class has been seen, so no object of it can be written.
    UnknownClass(JavaString),
    /// Objects of this class have data that only the class itself can write; an existing one can be changed field by
    /// field.
    OwnData(JavaString),
    /// A cycle or an opaque value, which only their stream has.
    NotAValue,
    /// A field that cannot take the value it was given.
    Field {
        /// The class.
        class: JavaString,
        /// The field.
        field: JavaString,
        /// What is wrong.
        what: Cow<'static, str>,
    },
    /// A value that cannot be converted.
    Mismatch(String),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::TooDeep => write!(f, "values are nested more than {} deep", Value::DEPTH_MAX),
            Self::TooLarge => write!(
                f,
                "shared objects make a tree of more than {} values",
                Value::NODES_MAX
            ),
            Self::UnknownClass(class) => {
                write!(
                    f,
                    "class {class} has not been seen in any stream, so no object of it can be written"
                )
            }
            Self::OwnData(class) => {
                write!(
                    f,
                    "objects of class {class} have data that only the class can write; change an existing one"
                )
            }
            Self::NotAValue => {
                f.write_str("a cycle or an opaque object can only be carried as it is")
            }
            Self::Field { class, field, what } => write!(f, "field {field} of {class}: {what}"),
            Self::Mismatch(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for ValueError {}

impl From<JavaError> for ValueError {
    fn from(error: JavaError) -> Self {
        Self::Stream(error)
    }
}

impl Value {
    /// How deep values can be inside each other.
    pub const DEPTH_MAX: usize = 128;

    /// How many values a tree can have that was made from a stream with shared objects. Elements of arrays of
    /// primitives count, bytes do not.
    pub const NODES_MAX: usize = 4_000_000;

    /// A `java.util.ArrayList`.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List {
            class: JavaString::from("java.util.ArrayList"),
            items: items.into_iter().collect(),
        }
    }

    /// A `java.util.HashSet`.
    pub fn set(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Set {
            class: JavaString::from("java.util.HashSet"),
            items: items.into_iter().collect(),
        }
    }

    /// A `java.util.HashMap`.
    pub fn map(entries: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Map {
            class: JavaString::from("java.util.HashMap"),
            entries: entries.into_iter().collect(),
        }
    }

    /// A `String[]`.
    pub fn strings<S: Into<JavaString>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(|item| Self::String(item.into()));
        Self::Array {
            class: JavaString::from("[Ljava.lang.String;"),
            items: items.collect(),
        }
    }

    /// An `int[]`.
    pub fn ints(items: impl IntoIterator<Item = i32>) -> Self {
        Self::Array {
            class: JavaString::from("[I"),
            items: items.into_iter().map(Self::Int).collect(),
        }
    }

    /// An enum constant.
    pub fn constant(class: &str, name: &str) -> Self {
        Self::Enum {
            class: class.into(),
            name: name.into(),
        }
    }

    /// Whether this is `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth value.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number without fraction, of any width; also a date, as milliseconds.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Byte(value) => Some(i64::from(*value)),
            Self::Short(value) => Some(i64::from(*value)),
            Self::Int(value) => Some(i64::from(*value)),
            Self::Long(value) | Self::Date(value) => Some(*value),
            Self::BigInteger(value) => value.to_i128().and_then(|value| i64::try_from(value).ok()),
            _ => None,
        }
    }

    /// A number; one of type `long` may lose digits.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(f64::from(*value)),
            Self::Double(value) => Some(*value),
            Self::Date(_) => None,
            other => other.as_i64().map(|value| value as f64),
        }
    }

    /// A string without lone surrogates.
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => text.to_str(),
            _ => None,
        }
    }

    /// A `byte[]`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of a list, set or array.
    pub fn as_slice(&self) -> Option<&[Self]> {
        match self {
            Self::List { items, .. } | Self::Set { items, .. } | Self::Array { items, .. } => {
                Some(items)
            }
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// An object with fields.
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The field of an object, or the value that a map has for a string key.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(name),
            Self::Map { entries, .. } => entries.iter().find_map(|(key, value)| match key {
                Self::String(text) if *text == name => Some(value),
                _ => None,
            }),
            _ => None,
        }
    }

    /// The name of the class, as Java names it; `None` for null and for what is [`Cycle`](Self::Cycle).
    pub fn class_name(&self) -> Option<JavaString> {
        Some(JavaString::from(match self {
            Self::Null | Self::Cycle => return None,
            Self::Array { class, .. } | Self::List { class, .. } | Self::Set { class, .. } => {
                return Some(class.clone());
            }
            Self::Map { class, .. } | Self::Enum { class, .. } | Self::Opaque(class) => {
                return Some(class.clone());
            }
            Self::Object(object) => return Some(object.class.clone()),
            Self::Bool(_) => "java.lang.Boolean",
            Self::Byte(_) => "java.lang.Byte",
            Self::Short(_) => "java.lang.Short",
            Self::Int(_) => "java.lang.Integer",
            Self::Long(_) => "java.lang.Long",
            Self::Float(_) => "java.lang.Float",
            Self::Double(_) => "java.lang.Double",
            Self::Char(_) => "java.lang.Character",
            Self::String(_) => "java.lang.String",
            Self::Bytes(_) => "[B",
            Self::Date(_) => "java.util.Date",
            Self::BigInteger(_) => "java.math.BigInteger",
            Self::BigDecimal { .. } => "java.math.BigDecimal",
            Self::Uuid(_) => "java.util.UUID",
            Self::Instant { .. } => "java.time.Instant",
            Self::Class(_) => "java.lang.Class",
        }))
    }
}

macro_rules! from_primitive {
    ($($rust:ty, $variant:ident;)*) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from_primitive! {
    bool, Bool;
    i8, Byte;
    i16, Short;
    i32, Int;
    i64, Long;
    f32, Float;
    f64, Double;
    &str, String;
    String, String;
    JavaString, String;
    BigInteger, BigInteger;
    Object, Object;
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
