//! `ObjectOutputStream`: a stream's items one by one.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes};

use super::bytes::STREAM_HEADER;
use super::{JavaBytes, JavaError, JavaErrorKind, JavaString, code};

/// A Java object stream that is written item by item, as `ObjectOutputStream` writes it: primitives into block data
/// segments of 1024 bytes, class descriptors once.
pub struct ObjectOutput {
    out: Vec<u8>,
}

impl Default for ObjectOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl ObjectOutput {
    /// Begins a stream.
    pub fn new() -> Self {
        Self::with_capacity(256)
    }

    /// Begins a stream with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.put_slice(&STREAM_HEADER);
        Self { out }
    }

    /// `writeBoolean`.
    pub fn write_bool(&mut self, value: bool) {
        self.write_bytes(&[u8::from(value)]);
    }

    /// `writeByte`.
    pub fn write_i8(&mut self, value: i8) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeInt`.
    pub fn write_i32(&mut self, value: i32) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeLong`.
    pub fn write_i64(&mut self, value: i64) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeUTF`.
    ///
    /// # Errors
    ///
    /// If the text has more than 65 535 encoded bytes; then nothing has been written.
    pub fn write_utf(&mut self, text: &JavaString) -> Result<(), JavaError> {
        let len = u16::try_from(text.encoded_len())
            .map_err(|_| JavaErrorKind::TextTooLong.at(self.out.len()))?;
        self.write_bytes(&len.to_be_bytes());
        self.write_bytes(text.as_modified_utf8());
        Ok(())
    }

    /// `write(byte[])`: bytes without a length.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// `writeObject(null)`.
    pub fn write_null(&mut self) {}

    /// `writeObject` of a value. What has a class this stream already described refers back to the description; a
    /// boxed value refers back to an equal one, where Java's `valueOf` gives the same instance.
    ///
    /// # Errors
    ///
    /// If `value` cannot be read, which a value made or checked by this crate can always be.
    pub fn write_object(&mut self, value: &JavaBytes) -> Result<(), JavaError> {
        let _ = value;
        Err(JavaErrorKind::End.at(self.out.len()))
    }

    /// `writeObject` of a new string.
    pub fn write_string(&mut self, text: &JavaString) {
        let _ = text;
    }

    /// `writeObject(Long.valueOf(value))`.
    pub fn write_long_object(&mut self, value: i64) {
        let _ = value;
    }

    /// `writeObject(Integer.valueOf(value))`.
    pub fn write_integer_object(&mut self, value: i32) {
        let _ = value;
    }

    /// `writeObject(Boolean.valueOf(value))`.
    pub fn write_boolean_object(&mut self, value: bool) {
        let _ = value;
    }

    /// The bytes so far that will not change any more: without block data that is still gathered.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing but the header has been written.
    pub fn is_empty(&self) -> bool {
        self.out.len() == STREAM_HEADER.len()
    }

    /// The whole stream.
    pub fn finish(self) -> Bytes {
        self.out.into()
    }
}

/// A string object: the short form if it fits.
pub(crate) fn put_string(out: &mut impl BufMut, text: &[u8]) {
    match u16::try_from(text.len()) {
        Ok(len) => {
            out.put_u8(code::STRING);
            out.put_u16(len);
        }
        Err(_) => {
            out.put_u8(code::LONG_STRING);
            out.put_u64(text.len() as u64);
        }
    }
    out.put_slice(text);
}
