//! One Java value as the stream that holds it.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::begin::{self, STREAM_HEADER};
use super::{Graph, JavaError, JavaString, Limits};

/// One Java value as a complete stream of its own (`AC ED 00 05`, then the value). Clones share the bytes.
///
/// This is what an attribute value is kept as: whatever its class, it is carried and written again unchanged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JavaBytes(Bytes);

impl JavaBytes {
    /// `null`.
    pub const NULL: Self = Self(Bytes::from_static(&[0xAC, 0xED, 0x00, 0x05, 0x70]));

    /// A value from its stream.
    ///
    /// # Errors
    ///
    /// If `stream` is not exactly one value, or exceeds `limits`.
    pub fn new(stream: Bytes, limits: &Limits) -> Result<Self, JavaError> {
        super::reader::check_one_value(&stream, limits)?;
        Ok(Self(stream))
    }

    /// For streams that were made or checked here.
    pub(crate) const fn from_checked(stream: Bytes) -> Self {
        Self(stream)
    }

    /// The stream.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stream, shared.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The value without the stream header.
    pub(crate) fn body(&self) -> &[u8] {
        self.0.get(STREAM_HEADER.len()..).unwrap_or_default()
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.body() == [super::code::NULL]
    }

    /// The name of the value's class as `Class.getName` gives it (`java.lang.String`, `[B`, `java.lang.Class`), without
    /// decoding the value; `None` for `null` and for a proxy, whose class has no name of its own.
    pub fn class_name(&self) -> Option<JavaString> {
        super::reader::class_name(self)
    }

    /// The value as a graph, to look into.
    ///
    /// # Errors
    ///
    /// If it exceeds `limits`.
    pub fn decode(&self, limits: &Limits) -> Result<Graph, JavaError> {
        Graph::parse(&self.0, limits)
    }

    /// A string.
    pub fn string(text: &JavaString) -> Self {
        let mut stream = BytesMut::with_capacity(text.encoded_len() + 13);
        stream.put_slice(&STREAM_HEADER);
        super::writer::put_string(&mut stream, text.as_modified_utf8());
        Self(stream.freeze())
    }

    /// The text, if the value is a string.
    pub fn as_string(&self) -> Option<JavaString> {
        let start = match self.body() {
            [super::code::STRING, ..] => 7,
            [super::code::LONG_STRING, ..] => 13,
            _ => return None,
        };
        Some(JavaString::from_checked(
            self.0.get(start..).map(|text| self.0.slice_ref(text))?,
        ))
    }
}

impl fmt::Debug for JavaBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class_name() {
            None => f.write_str("JavaBytes(null)"),
            Some(class) => write!(f, "JavaBytes({class}, {} bytes)", self.0.len()),
        }
    }
}

impl From<&JavaString> for JavaBytes {
    fn from(text: &JavaString) -> Self {
        Self::string(text)
    }
}

impl From<JavaString> for JavaBytes {
    fn from(text: JavaString) -> Self {
        Self::string(&text)
    }
}

impl From<&str> for JavaBytes {
    fn from(text: &str) -> Self {
        Self::string(&JavaString::from(text))
    }
}

impl From<alloc::string::String> for JavaBytes {
    fn from(text: alloc::string::String) -> Self {
        Self::string(&JavaString::from(text))
    }
}

/// A stream of a constant beginning and the value's own bytes.
fn begun(begin: &[u8], value: &[u8]) -> JavaBytes {
    let mut stream = BytesMut::with_capacity(STREAM_HEADER.len() + begin.len() + value.len());
    stream.put_slice(&STREAM_HEADER);
    stream.put_slice(begin);
    stream.put_slice(value);
    JavaBytes(stream.freeze())
}

macro_rules! from_number {
    ($($rust:ty, $begin:ident, $class:literal;)*) => {$(
        #[doc = concat!("A `", $class, "`.")]
        impl From<$rust> for JavaBytes {
            fn from(value: $rust) -> Self {
                begun(begin::$begin, &value.to_be_bytes())
            }
        }
    )*};
}

from_number! {
    i8, BYTE, "java.lang.Byte";
    i16, SHORT, "java.lang.Short";
    i32, INTEGER, "java.lang.Integer";
    i64, LONG, "java.lang.Long";
    f32, FLOAT, "java.lang.Float";
    f64, DOUBLE, "java.lang.Double";
}

/// A `java.lang.Boolean`.
impl From<bool> for JavaBytes {
    fn from(value: bool) -> Self {
        begun(begin::BOOLEAN, &[u8::from(value)])
    }
}

/// A `byte[]`.
impl From<&[u8]> for JavaBytes {
    fn from(value: &[u8]) -> Self {
        let len = i32::try_from(value.len()).unwrap_or(i32::MAX);
        let value = value.get(..len as usize).unwrap_or_default();
        let mut stream =
            BytesMut::with_capacity(STREAM_HEADER.len() + begin::BYTES.len() + 4 + value.len());
        stream.put_slice(&STREAM_HEADER);
        stream.put_slice(begin::BYTES);
        stream.put_i32(len);
        stream.put_slice(value);
        Self(stream.freeze())
    }
}

/// A `byte[]`.
impl From<alloc::vec::Vec<u8>> for JavaBytes {
    fn from(value: alloc::vec::Vec<u8>) -> Self {
        Self::from(value.as_slice())
    }
}
