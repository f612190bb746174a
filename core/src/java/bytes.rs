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

    /// A value from its stream without the header, which was checked here.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        begun(&[], body)
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

    /// Makes this the value whose stream, header left out, is `len` bytes that `put` writes; in the memory it has if nobody shares
    /// it and it is not much too large.
    ///
    /// The memory stays fit to be shared and to be written again, without another allocation for either.
    pub(crate) fn rewrite(&mut self, len: usize, put: impl FnOnce(&mut BytesMut)) {
        let len = len.saturating_add(STREAM_HEADER.len());
        let slack = len / 4;
        let before = core::mem::take(&mut self.0);
        let before = before.try_into_mut().ok();
        let mut memory = before
            .filter(|memory| (len..=len.saturating_add(slack)).contains(&memory.capacity()))
            .unwrap_or_else(|| BytesMut::with_capacity(len));
        memory.clear();
        memory.put_slice(&STREAM_HEADER);
        put(&mut memory);
        // Split off it keeps its capacity, and is counted from now on, so that clones need no memory.
        self.0 = memory.split().freeze();
    }

    /// Makes this the value whose stream, header left out, is `body`.
    pub(crate) fn rewrite_body(&mut self, body: &[u8]) {
        self.rewrite(body.len(), |memory| memory.put_slice(body));
    }

    /// Makes this a string, in the memory the value has if nobody shares it and the text fits as well: then nothing is
    /// allocated.
    pub fn set_string(&mut self, text: &str) {
        let plain = super::string::is_the_same(text.as_bytes());
        let converted;
        let text = match plain {
            true => text.as_bytes(),
            false => {
                converted = JavaString::from(text);
                converted.as_modified_utf8()
            }
        };
        let begin = if text.len() > usize::from(u16::MAX) {
            9
        } else {
            3
        };
        self.rewrite(text.len().saturating_add(begin), |memory| {
            super::writer::put_string(memory, text);
        });
    }

    /// Makes this a `byte[]`, in the memory the value has if nobody shares it and the bytes fit as well: then nothing is
    /// allocated. More than 2 GiB are cut off.
    pub fn set_bytes(&mut self, value: &[u8]) {
        let len = i32::try_from(value.len()).unwrap_or(i32::MAX);
        let value = value.get(..len as usize).unwrap_or_default();
        let begin = begin::BYTES.len().saturating_add(4);
        self.rewrite(value.len().saturating_add(begin), |memory| {
            memory.put_slice(begin::BYTES);
            memory.put_i32(len);
            memory.put_slice(value);
        });
    }

    /// Makes this the same value as another, in the memory the value has if nobody shares it and the other fits as well. A clone
    /// is cheaper where the memory of both may be one.
    pub fn copy_from(&mut self, other: &Self) {
        self.rewrite_body(other.body());
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
        let mut value = Self::NULL;
        value.set_string(text);
        value
    }
}

impl From<alloc::string::String> for JavaBytes {
    fn from(text: alloc::string::String) -> Self {
        Self::from(text.as_str())
    }
}

/// A value to be copied into memory that is there already: see [`Cluster::write_attribute`](crate::cluster::Cluster::write_attribute).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// `null`.
    Null,
    /// A string.
    String(&'a str),
    /// A `byte[]`.
    Bytes(&'a [u8]),
    /// Any value.
    Java(&'a JavaBytes),
}

impl ValueRef<'_> {
    /// About the bytes it takes.
    pub(crate) fn encoded_len(self) -> usize {
        match self {
            Self::Null => 1,
            Self::String(text) => text.len().saturating_add(3),
            Self::Bytes(bytes) => bytes.len().saturating_add(begin::BYTES.len() + 4),
            Self::Java(value) => value.body().len(),
        }
    }

    /// Makes `value` this one.
    pub(crate) fn write_to(self, value: &mut JavaBytes) {
        match self {
            Self::Null => *value = JavaBytes::NULL,
            Self::String(text) => value.set_string(text),
            Self::Bytes(bytes) => value.set_bytes(bytes),
            Self::Java(other) => value.copy_from(other),
        }
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text)
    }
}

impl<'a> From<&'a [u8]> for ValueRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a JavaBytes> for ValueRef<'a> {
    fn from(value: &'a JavaBytes) -> Self {
        Self::Java(value)
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
