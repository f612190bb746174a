//! Java object streams, read and written without Java.
//!
//! Source of the format: the Java Object Serialization Specification, protocol version 2. Whatever a conforming
//! class wrote can be delimited, carried and written again without knowing the class.
//!
//! - [`JavaBytes`] is one value as a stream of its own: what attribute values are kept as.
//! - [`ObjectInput`] and [`ObjectOutput`] read and write a stream item by item, as Tomcat's `readExternal` and
//!   `writeExternal` methods do.

mod bytes;
mod code;
mod copy;
mod error;
mod irregular;
mod limits;
mod reader;
mod shared;
mod string;
mod table;
mod token;
mod writer;

pub use self::bytes::{JavaBytes, STREAM_HEADER};
pub use self::error::{JavaError, JavaErrorKind, Next};
pub use self::limits::Limits;
pub use self::reader::ObjectInput;
pub use self::string::JavaString;
pub(crate) use self::string::is_modified_utf8;
pub use self::writer::ObjectOutput;
