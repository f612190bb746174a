//! `ObjectInputStream`: a stream's items one by one.

use alloc::borrow::Cow;

use super::{JavaBytes, JavaError, JavaErrorKind, JavaString, Limits, Next};

/// A Java object stream that is read item by item, as `ObjectInputStream` reads it: primitives from block data,
/// objects whole.
///
/// Shared objects and class descriptors are resolved: every value that [`read_object`](Self::read_object) gives
/// stands for itself.
pub struct ObjectInput<'a> {
    stream: &'a [u8],
    pos: usize,
}

impl<'a> ObjectInput<'a> {
    /// Begins to read a stream.
    ///
    /// # Errors
    ///
    /// If it does not begin with the stream header, or is longer than `limits` allow.
    pub fn new(stream: &'a [u8], limits: &Limits) -> Result<Self, JavaError> {
        let _ = limits;
        Ok(Self { stream, pos: 4 })
    }

    /// The offset of the next byte to be read.
    pub const fn offset(&self) -> usize {
        self.pos
    }

    /// What stands next.
    pub fn peek(&mut self) -> Result<Next, JavaError> {
        self.unfinished()
    }

    /// `readBoolean`.
    pub fn read_bool(&mut self) -> Result<bool, JavaError> {
        self.unfinished()
    }

    /// `readByte`.
    pub fn read_i8(&mut self) -> Result<i8, JavaError> {
        self.unfinished()
    }

    /// `readInt`.
    pub fn read_i32(&mut self) -> Result<i32, JavaError> {
        self.unfinished()
    }

    /// `readLong`.
    pub fn read_i64(&mut self) -> Result<i64, JavaError> {
        self.unfinished()
    }

    /// `readUTF`.
    pub fn read_utf(&mut self) -> Result<JavaString, JavaError> {
        self.unfinished()
    }

    /// `readFully`: `len` bytes of block data.
    pub fn read_bytes(&mut self, len: usize) -> Result<Cow<'a, [u8]>, JavaError> {
        let _ = len;
        self.unfinished()
    }

    /// `readObject`, as a stream of its own.
    ///
    /// # Errors
    ///
    /// [`WriteAborted`](JavaErrorKind::WriteAborted) if the writer failed inside this object: then
    /// [`aborted`](Self::aborted) has the exception, and reading goes on after it. Any other error ends the stream.
    pub fn read_object(&mut self) -> Result<JavaBytes, JavaError> {
        self.unfinished()
    }

    /// The exception of the last [`WriteAborted`](JavaErrorKind::WriteAborted).
    pub fn aborted(&self) -> Option<&JavaBytes> {
        None
    }

    /// Passes over one object; faster than reading it.
    pub fn skip_object(&mut self) -> Result<(), JavaError> {
        self.unfinished()
    }

    /// A `java.lang.Long`, or null.
    pub fn read_long_object(&mut self) -> Result<Option<i64>, JavaError> {
        self.unfinished()
    }

    /// A `java.lang.Integer`, or null.
    pub fn read_integer_object(&mut self) -> Result<Option<i32>, JavaError> {
        self.unfinished()
    }

    /// A `java.lang.Boolean`, or null.
    pub fn read_boolean_object(&mut self) -> Result<Option<bool>, JavaError> {
        self.unfinished()
    }

    /// A `java.lang.String`, or null.
    pub fn read_string_object(&mut self) -> Result<Option<JavaString>, JavaError> {
        self.unfinished()
    }

    /// # Errors
    ///
    /// If anything is left.
    pub fn finish(self) -> Result<(), JavaError> {
        self.unfinished()
    }

    fn unfinished<T>(&self) -> Result<T, JavaError> {
        let _ = &self.stream;
        Err(JavaErrorKind::End.at(self.pos))
    }
}

/// Whether `stream` is exactly one value.
pub(crate) fn check_one_value(stream: &[u8], limits: &Limits) -> Result<(), JavaError> {
    let _ = (stream, limits);
    Err(JavaErrorKind::End.at(0))
}

/// The name of a value's class.
pub(crate) fn class_name(value: &JavaBytes) -> Option<JavaString> {
    let _ = value;
    None
}
