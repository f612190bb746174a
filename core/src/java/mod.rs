//! Java object streams, read and written without Java.
//!
//! Source of the format: the Java Object Serialization Specification, protocol version 2. Whatever a conforming
//! class wrote can be delimited, carried and written again without knowing the class.
//!
//! - [`JavaBytes`] is one value as a stream of its own: what attribute values are kept as.
//! - [`ObjectInput`] and [`ObjectOutput`] read and write a stream item by item, as Tomcat's `readExternal` and
//!   `writeExternal` methods do.
//! - [`Graph`] is a whole stream as nodes, to look into, to change and to build.
//! - [`Value`] is a value as a tree, for people; [`ClassRegistry`] has what is needed to write objects of classes that
//!   were seen before.
//!
//! ```
//! use folkmoot_core::java::{ClassRegistry, JavaBytes, Value};
//!
//! # fn main() -> Result<(), folkmoot_core::java::ValueError> {
//! // A list as `new ArrayList<>(List.of("apple", 3))` is written.
//! let classes = ClassRegistry::new();
//! let cart = Value::list([Value::from("apple"), Value::from(3)]).to_java(&classes)?;
//! assert_eq!(cart.class_name(), Some("java.util.ArrayList".into()));
//! assert_eq!(cart.value()?.as_slice().map(|items| items.len()), Some(2));
//! assert_eq!(JavaBytes::from("apple").as_string(), Some("apple".into()));
//! # Ok(())
//! # }
//! ```

mod big_integer;
mod build;
mod bytes;
mod catalogue;
mod code;
mod copy;
#[cfg(feature = "serde")]
mod de;
mod descriptor;
mod encode;
mod error;
mod external;
mod graph;
mod irregular;
mod jdk;
mod leaf;
mod limits;
mod object;
mod parse;
mod read_value;
mod reader;
#[cfg(feature = "serde")]
mod ser;
mod shared;
mod string;
mod table;
mod token;
mod value;
mod walk_class;
mod write_value;
mod writer;

pub use self::big_integer::{BigInteger, NoInteger};
pub use self::build::{Boxed, Part};
pub use self::bytes::{JavaBytes, STREAM_HEADER};
#[cfg(feature = "serde")]
pub use self::de::{from_java, from_value};
pub use self::descriptor::{ClassDescriptor, ClassRegistry, FieldDescriptor};
pub use self::error::{JavaError, JavaErrorKind, Next};
pub use self::external::ExternalClass;
pub(crate) use self::graph::Item;
pub use self::graph::{BlockData, Content, Graph, NodeId, NodeKind, Slot};
pub use self::jdk::Collection;
pub use self::limits::Limits;
pub use self::object::{CustomData, FieldError, FieldOf, FieldValue};
pub use self::reader::ObjectInput;
#[cfg(feature = "serde")]
pub use self::ser::{to_java, to_java_as, to_value};
pub use self::string::JavaString;
pub(crate) use self::string::is_modified_utf8;
pub use self::value::{Object, Value, ValueError};
pub use self::writer::ObjectOutput;
