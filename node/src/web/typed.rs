//! Attributes as Rust values and as trees of Java values.

use folkmoot_core::java::{
    ClassRegistry, JavaBytes, JavaString, Value, ValueError, from_java, to_java_as, to_value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Session, SessionError};

impl Session {
    /// The attribute `name` as a `T`; `None` if there is none.
    ///
    /// Objects of Java classes are read by field name, maps by key, boxed numbers as numbers of any width.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let Some(value) = self.get_bytes(name)? else {
            return Ok(None);
        };
        from_java(&value)
            .map(Some)
            .map_err(|source| read_error(name, source))
    }

    /// The attribute `name` as a tree of Java values; `None` if there is none.
    pub fn get_value(&self, name: &str) -> Result<Option<Value>, SessionError> {
        let Some(value) = self.get_bytes(name)? else {
            return Ok(None);
        };
        value
            .value()
            .map(Some)
            .map_err(|source| read_error(name, source))
    }

    /// Sets the attribute `name`, in a new session if there is none.
    ///
    /// Where the attribute is an object of a Java class and `value` a struct or a map, the new value is an object of that
    /// class, with the descriptor that came with the old one: a Java node reads it as its own. Otherwise structs and
    /// maps become a `java.util.HashMap`, sequences a `java.util.ArrayList`, the rest strings and boxes. A null, such as
    /// `None`, removes the attribute.
    pub fn insert<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let failed = |source| write_error(name, source);
        let value = to_value(value).map_err(failed)?;
        let before = if let Value::Map { .. } = value {
            self.get_bytes(name)?
        } else {
            None
        };
        let class = before.as_ref().and_then(class_with_fields);
        let value = match before.zip(class) {
            Some((before, class)) => {
                let mut classes = ClassRegistry::new();
                classes
                    .learn(&before)
                    .map_err(|source| write_error(name, source.into()))?;
                value.to_java_as(&class.to_string_lossy(), &classes)
            }
            None => value.to_java(&ClassRegistry::with_bytes_max(0)),
        };
        self.set_bytes(name, value.map_err(failed)?).map(drop)
    }

    /// Sets the attribute `name` to an object of the Java class `class`, which another attribute of this session has, or
    /// has inside it: its descriptor is reused.
    pub fn insert_as<T: Serialize + ?Sized>(
        &self,
        class: &str,
        name: &str,
        value: &T,
    ) -> Result<(), SessionError> {
        let mut classes = ClassRegistry::new();
        for other in self.attribute_names()? {
            if let Some(other) = self.get_bytes(&other)? {
                // What cannot be read teaches nothing; whether the class is known shows below.
                let _ = classes.learn(&other);
            }
        }
        let value =
            to_java_as(class, value, &classes).map_err(|source| write_error(name, source))?;
        self.set_bytes(name, value).map(drop)
    }

    /// Sets one field of the Java object that the attribute `name` is. All else of it, its class descriptor in
    /// particular, stays as it came. `false` if there is no such attribute.
    pub fn set_field(
        &self,
        name: &str,
        field: &str,
        value: impl Into<Value>,
    ) -> Result<bool, SessionError> {
        let Some(before) = self.get_bytes(name)? else {
            return Ok(false);
        };
        let mut classes = ClassRegistry::new();
        let failed = |source| write_error(name, source);
        classes
            .learn(&before)
            .map_err(|source| failed(source.into()))?;
        let after = before
            .with_field(field, &value.into(), &classes)
            .map_err(failed)?;
        self.set_bytes(name, after)?;
        Ok(true)
    }

    /// Sets the attribute `name` to a Java value and returns what it was.
    pub fn set_value(&self, name: &str, value: &Value) -> Result<Option<JavaBytes>, SessionError> {
        let value = value
            .to_java(&ClassRegistry::new())
            .map_err(|source| write_error(name, source))?;
        self.set_bytes(name, value)
    }
}

/// The class of the value if it is an object of an application's class, that is one with fields of its own.
fn class_with_fields(value: &JavaBytes) -> Option<JavaString> {
    match value.value() {
        Ok(Value::Object(object)) => Some(object.class),
        _ => None,
    }
}

fn read_error(name: &str, source: ValueError) -> SessionError {
    SessionError::Read {
        name: name.to_owned(),
        source,
    }
}

fn write_error(name: &str, source: ValueError) -> SessionError {
    SessionError::Write {
        name: name.to_owned(),
        source,
    }
}
