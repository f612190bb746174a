//! What can stand as an object in a stream.

use crate::java::{JavaBytes, JavaError, JavaString, ObjectOutput};

/// A value that an [`ObjectOutput`] can take: a [`JavaBytes`], a string, or a node of a graph whose identity
/// shall be kept.
pub trait StreamValue {
    /// `writeObject` of this value.
    ///
    /// # Errors
    ///
    /// If the value cannot be written.
    fn write_to(&self, out: &mut ObjectOutput) -> Result<(), JavaError>;
}

impl StreamValue for JavaBytes {
    fn write_to(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        out.write_object(self)
    }
}

impl StreamValue for JavaString {
    fn write_to(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        out.write_string(self);
        Ok(())
    }
}

impl<V: StreamValue> StreamValue for &V {
    fn write_to(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        V::write_to(self, out)
    }
}
