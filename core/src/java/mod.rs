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
//! # #[cfg(feature = "alloc")]
//! use folkmoot_core::java::{ClassRegistry, JavaBytes, Value};
//!
//! # #[cfg(not(feature = "alloc"))]
//! # fn main() {}
//! # #[cfg(feature = "alloc")]
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
#![cfg_attr(
    not(feature = "alloc"),
    allow(
        dead_code,
        reason = "without a heap a part of the tables is not looked at"
    )
)]

pub(crate) mod begin;
#[cfg(feature = "alloc")]
mod big_integer;
#[cfg(feature = "alloc")]
mod build;
#[cfg(feature = "alloc")]
mod bytes;
#[cfg(feature = "alloc")]
mod catalogue;
pub(crate) mod code;
mod copy;
#[cfg(feature = "serde")]
mod de;
#[cfg(feature = "alloc")]
mod descriptor;
#[cfg(feature = "alloc")]
mod encode;
mod error;
#[cfg(feature = "alloc")]
mod external;
#[cfg(feature = "alloc")]
mod graph;
#[cfg(feature = "alloc")]
mod irregular;
pub(crate) mod items;
#[cfg(feature = "alloc")]
mod jdk;
#[cfg(feature = "alloc")]
mod leaf;
mod limits;
#[cfg(feature = "alloc")]
mod object;
#[cfg(feature = "alloc")]
mod parse;
pub(crate) mod places;
#[cfg(feature = "alloc")]
mod plain;
#[cfg(feature = "alloc")]
mod read_value;
#[cfg(feature = "alloc")]
mod reader;
#[cfg(feature = "serde")]
mod ser;
#[cfg(feature = "alloc")]
mod shared;
mod store;
#[cfg(feature = "alloc")]
mod string;
mod table;
mod text;
mod token;
#[cfg(feature = "alloc")]
mod value;
mod walk_class;
#[cfg(feature = "alloc")]
mod write_value;
#[cfg(feature = "alloc")]
mod writer;

pub use self::begin::STREAM_HEADER;
#[cfg(feature = "alloc")]
pub use self::big_integer::{BigInteger, NoInteger};
#[cfg(feature = "alloc")]
pub use self::build::{Boxed, Part};
#[cfg(feature = "alloc")]
pub use self::bytes::{JavaBytes, ValueRef};
#[cfg(feature = "serde")]
pub use self::de::{from_java, from_value};
#[cfg(feature = "alloc")]
pub use self::descriptor::{ClassDescriptor, ClassRegistry, FieldDescriptor};
pub use self::error::{JavaError, JavaErrorKind};
#[cfg(feature = "alloc")]
pub use self::external::ExternalClass;
#[cfg(feature = "alloc")]
pub(crate) use self::graph::Item;
#[cfg(feature = "alloc")]
pub use self::graph::{BlockData, Content, Graph, NodeId, NodeKind, Slot};
#[cfg(feature = "alloc")]
pub use self::jdk::Collection;
pub use self::limits::Limits;
#[cfg(feature = "alloc")]
pub use self::object::{CustomData, FieldError, FieldOf, FieldValue};
#[cfg(feature = "alloc")]
pub(crate) use self::reader::{InputMemory, Lies};
#[cfg(feature = "alloc")]
pub use self::reader::{Next, ObjectInput};
#[cfg(feature = "serde")]
pub use self::ser::{to_java, to_java_as, to_value};
#[cfg(feature = "alloc")]
pub use self::string::JavaString;
pub(crate) use self::text::is_modified_utf8;
#[cfg(feature = "alloc")]
pub use self::value::{Object, Value, ValueError};
#[cfg(feature = "alloc")]
pub use self::writer::ObjectOutput;
