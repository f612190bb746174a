//! From a [`Value`] to a graph and a stream.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::build::{Boxed, Part, code_width};
use super::graph::{Graph, NodeId, Slot};
use super::object::{FieldError, FieldValue};
use super::{
    ClassDescriptor, ClassRegistry, FieldDescriptor, JavaBytes, JavaString, Limits, Object, Value,
    ValueError,
};

/// The signature of `java.lang.Object`: anything will do.
const ANY: &[u8] = b"Ljava/lang/Object;";

impl Value {
    /// The value as a stream. Objects are written with the descriptors in `registry`; collections of other classes
    /// than the usual ones become `ArrayList`, `HashSet` or `HashMap`.
    ///
    /// # Errors
    ///
    /// If the class of an object is unknown, or its objects cannot be written from fields alone.
    pub fn to_java(&self, registry: &ClassRegistry) -> Result<JavaBytes, ValueError> {
        // What most attributes are, and what takes no graph.
        if let Self::String(text) = self {
            return Ok(JavaBytes::string(text));
        }
        let mut graph = Graph::new();
        let slot = graph.add_value(self, registry)?;
        Ok(graph.value_bytes(slot))
    }

    /// The value as an object of the class `class`: its fields, or the entries of a map, become the fields that the
    /// class declares, converted to their types. A field that is not given is null, false or zero.
    ///
    /// # Errors
    ///
    /// If the class is unknown or cannot be written from fields alone, or a value does not fit its field.
    pub fn to_java_as(
        &self,
        class: &str,
        registry: &ClassRegistry,
    ) -> Result<JavaBytes, ValueError> {
        let mut graph = Graph::new();
        let slot = graph.add_value_as(self, &signature_of(class), registry)?;
        Ok(graph.value_bytes(slot))
    }
}

impl JavaBytes {
    /// The value, an object of any class, with one field changed. The class descriptor and all else stay as they
    /// are. `value` is converted to the field's type.
    ///
    /// # Errors
    ///
    /// If it is no object, has no such field, or `value` does not fit.
    pub fn with_field(
        &self,
        name: &str,
        value: &Value,
        registry: &ClassRegistry,
    ) -> Result<Self, ValueError> {
        let mut graph = self.decode(&Limits::UNLIMITED)?;
        let object = graph
            .root()
            .ok_or_else(|| FieldError::NoObject.of(&JavaString::new(), name))?;
        graph.set_value(object, name, value, registry)?;
        Ok(graph.value_bytes(Some(object)))
    }
}

impl FieldError {
    fn of(self, class: &JavaString, field: &str) -> ValueError {
        ValueError::Field {
            class: class.clone(),
            field: field.into(),
            what: Cow::Owned(format!("{self}")),
        }
    }
}

/// The signature of the type with this class name.
fn signature_of(class: &str) -> Vec<u8> {
    if class.starts_with('[') {
        return class.replace('.', "/").into_bytes();
    }
    let mut signature = Vec::with_capacity(class.len() + 2);
    signature.push(b'L');
    signature.extend(
        class
            .bytes()
            .map(|byte| if byte == b'.' { b'/' } else { byte }),
    );
    signature.push(b';');
    signature
}

/// The class name of a type that is no primitive.
fn class_of(signature: &[u8]) -> JavaString {
    let name = match signature {
        [b'L', name @ .., b';'] => name,
        other => other,
    };
    let name: Vec<u8> = name
        .iter()
        .map(|&byte| if byte == b'/' { b'.' } else { byte })
        .collect();
    JavaString::from_modified_utf8(Bytes::from(name)).unwrap_or_default()
}

impl Graph {
    /// Adds a value.
    ///
    /// # Errors
    ///
    /// If the class of an object is unknown, or its objects cannot be written from fields alone.
    pub fn add_value(
        &mut self,
        value: &Value,
        registry: &ClassRegistry,
    ) -> Result<Slot, ValueError> {
        Writer {
            graph: self,
            registry,
            depth: 0,
        }
        .value(value, ANY)
    }

    /// Adds a value, converted to the type with this signature.
    fn add_value_as(
        &mut self,
        value: &Value,
        signature: &[u8],
        registry: &ClassRegistry,
    ) -> Result<Slot, ValueError> {
        Writer {
            graph: self,
            registry,
            depth: 0,
        }
        .value(value, signature)
    }

    /// Sets a field of an object; `value` is converted to its type.
    ///
    /// # Errors
    ///
    /// If there is no such field, or `value` does not fit it.
    pub fn set_value(
        &mut self,
        object: NodeId,
        name: &str,
        value: &Value,
        registry: &ClassRegistry,
    ) -> Result<(), ValueError> {
        let class = self.class_name(object);
        let signature = self.field_signature(object, name);
        let signature = signature.ok_or_else(|| FieldError::NoSuchField.of(&class, name))?;
        let field = FieldDescriptor {
            name: name.into(),
            signature,
        };
        let mut writer = Writer {
            graph: self,
            registry,
            depth: 0,
        };
        let value = writer.field(value, &class, &field)?;
        self.set_field(object, name, value)
            .map_err(|error| error.of(&class, name))
    }
}

struct Writer<'g> {
    graph: &'g mut Graph,
    registry: &'g ClassRegistry,
    depth: usize,
}

impl Writer<'_> {
    /// A value where a field or element of this type stands. The recursion is as deep as [`Value::DEPTH_MAX`] at
    /// most.
    fn value(&mut self, value: &Value, signature: &[u8]) -> Result<Slot, ValueError> {
        if self.depth >= Value::DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.depth += 1;
        let slot = self.convert(value, signature);
        self.depth -= 1;
        slot
    }

    fn convert(&mut self, value: &Value, signature: &[u8]) -> Result<Slot, ValueError> {
        if value.is_null() {
            return Ok(None);
        }
        if let Some(boxed) = boxed_as(signature) {
            return Ok(Some(self.graph.add_boxed(
                primitive(value, boxed).map_err(ValueError::Mismatch)?,
            )));
        }
        let node = match Declared::of(signature) {
            Declared::Any => self.any(value)?,
            Declared::String => match value {
                Value::String(text) => self.graph.add_string(text),
                _ => return mismatch(value, signature),
            },
            Declared::Date => match value.as_i64() {
                Some(ms) => self.graph.add_date(ms),
                None => return mismatch(value, signature),
            },
            Declared::BigInteger => match value {
                Value::BigInteger(_) => self.any(value)?,
                _ => match value.as_i64() {
                    Some(value) => self.any(&Value::BigInteger(value.into()))?,
                    None => return mismatch(value, signature),
                },
            },
            Declared::List | Declared::Set => match value.as_slice() {
                Some(items) => {
                    let slots = self.items(items, ANY)?;
                    let class = class_of(signature).to_string_lossy().into_owned();
                    match Declared::of(signature) {
                        Declared::List => self.graph.add_list(&class, &slots),
                        _ => self.graph.add_set(&class, &slots),
                    }
                }
                None => return mismatch(value, signature),
            },
            Declared::Map => match value {
                Value::Map { entries, .. } => self.map(&class_of(signature), entries)?,
                _ => return mismatch(value, signature),
            },
            Declared::Array(element) => match (element, value) {
                (b"B", Value::Bytes(bytes)) => self.graph.add_bytes_array(bytes),
                (element, value) => match value.as_slice() {
                    Some(items) => self.array(&class_of(signature), element, items)?,
                    None => return mismatch(value, signature),
                },
            },
            Declared::Application => self.application(value, &class_of(signature))?,
        };
        Ok(Some(node))
    }

    /// A value as what it is.
    fn any(&mut self, value: &Value) -> Result<NodeId, ValueError> {
        let graph = &mut *self.graph;
        Ok(match value {
            Value::Null | Value::Cycle | Value::Opaque(_) => return Err(ValueError::NotAValue),
            Value::Bool(value) => graph.add_boxed(Boxed::Boolean(*value)),
            Value::Byte(value) => graph.add_boxed(Boxed::Byte(*value)),
            Value::Short(value) => graph.add_boxed(Boxed::Short(*value)),
            Value::Int(value) => graph.add_boxed(Boxed::Integer(*value)),
            Value::Long(value) => graph.add_boxed(Boxed::Long(*value)),
            Value::Float(value) => graph.add_boxed(Boxed::Float(*value)),
            Value::Double(value) => graph.add_boxed(Boxed::Double(*value)),
            Value::Char(value) => graph.add_boxed(Boxed::Character(*value)),
            Value::String(text) => graph.add_string(text),
            Value::Bytes(bytes) => graph.add_bytes_array(bytes),
            Value::Date(ms) => graph.add_date(*ms),
            Value::BigInteger(value) => graph.add_big_integer(value.signum(), value.magnitude()),
            Value::BigDecimal { unscaled, scale } => {
                let unscaled = graph.add_big_integer(unscaled.signum(), unscaled.magnitude());
                graph.add_big_decimal(unscaled, *scale)
            }
            Value::Uuid(uuid) => graph.add_uuid(*uuid),
            Value::Instant { seconds, nanos } => graph.add_instant(*seconds, *nanos),
            Value::Enum { class, name } => {
                let class = graph.add_enum_class(class);
                let name = graph.add_string(name);
                graph.add_enum(class, name)
            }
            Value::Class(class) => {
                let descriptor = self.registry.descriptor(class);
                let descriptor =
                    descriptor.ok_or_else(|| ValueError::UnknownClass(class.clone()))?;
                let class = graph.add_class(&descriptor);
                graph.add_class_object(class)
            }
            Value::List { class, items } => {
                let slots = self.items(items, ANY)?;
                self.graph.add_list(&class.to_string_lossy(), &slots)
            }
            Value::Set { class, items } => {
                let slots = self.items(items, ANY)?;
                self.graph.add_set(&class.to_string_lossy(), &slots)
            }
            Value::Map { class, entries } => {
                return self.map(class, entries);
            }
            Value::Array { class, items } => {
                let element = class.as_modified_utf8().get(1..).unwrap_or_default();
                let element: Vec<u8> = element
                    .iter()
                    .map(|&byte| if byte == b'.' { b'/' } else { byte })
                    .collect();
                self.array(class, &element, items)?
            }
            Value::Object(object) => self.object(object, &object.class)?,
        })
    }

    fn map(
        &mut self,
        class: &JavaString,
        entries: &[(Value, Value)],
    ) -> Result<NodeId, ValueError> {
        let mut slots = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            slots.push((self.value(key, ANY)?, self.value(value, ANY)?));
        }
        Ok(self.graph.add_map(&class.to_string_lossy(), &slots))
    }

    fn items(&mut self, items: &[Value], signature: &[u8]) -> Result<Vec<Slot>, ValueError> {
        items
            .iter()
            .map(|item| self.value(item, signature))
            .collect()
    }

    fn array(
        &mut self,
        class: &JavaString,
        element: &[u8],
        items: &[Value],
    ) -> Result<NodeId, ValueError> {
        let code = element.first().copied().unwrap_or_default();
        if code_width(code) == 0 {
            let slots = self.items(items, element)?;
            let class = self.graph.add_array_class(class);
            return Ok(self.graph.add_array(class, &slots));
        }
        let mut bytes = Vec::with_capacity(items.len() * code_width(code) as usize);
        for item in items {
            primitive(item, code)
                .map_err(ValueError::Mismatch)?
                .put(&mut bytes);
        }
        let class = self.graph.add_array_class(class);
        Ok(self.graph.add_primitive_array(class, &bytes))
    }

    /// A value where the application's class `declared` is expected.
    fn application(&mut self, value: &Value, declared: &JavaString) -> Result<NodeId, ValueError> {
        let known = self.registry.descriptor(declared);
        let unknown = || ValueError::UnknownClass(declared.clone());
        match value {
            Value::String(name) => match known {
                Some(class) if class.is_enum() => self.any(&Value::Enum {
                    class: declared.clone(),
                    name: name.clone(),
                }),
                Some(_) => Err(ValueError::Mismatch(format!(
                    "a string where a {declared} is expected"
                ))),
                None => Err(unknown()),
            },
            // An object may be of a subclass; one without a class gets the declared one.
            Value::Object(object) if object.class.is_empty() => self.object(object, declared),
            Value::Object(object) => self.object(object, &object.class),
            Value::Map { entries, .. } => {
                known.ok_or_else(unknown)?;
                let mut object = Object {
                    class: declared.clone(),
                    fields: Vec::with_capacity(entries.len()),
                };
                for (key, value) in entries {
                    let Value::String(name) = key else {
                        return Err(ValueError::Mismatch(format!(
                            "a map with other keys than strings is no {declared}"
                        )));
                    };
                    object.fields.push((name.clone(), value.clone()));
                }
                self.object(&object, declared)
            }
            // Perhaps an interface, which the class of the value implements.
            other => self.any(other),
        }
    }

    /// An object from its fields, with the descriptor of `class`.
    fn object(&mut self, object: &Object, class: &JavaString) -> Result<NodeId, ValueError> {
        let descriptor = self
            .registry
            .descriptor(class)
            .ok_or_else(|| ValueError::UnknownClass(class.clone()))?;
        if descriptor.has_own_data() {
            return Err(ValueError::OwnData(class.clone()));
        }
        let mut chain: Vec<&ClassDescriptor> = Vec::new();
        let mut next = Some(&*descriptor);
        while let Some(level) = next {
            chain.push(level);
            next = level.superclass.as_deref();
        }
        let known = |name: &JavaString| {
            chain
                .iter()
                .any(|level| level.fields.iter().any(|field| field.name == *name))
        };
        if let Some((name, _)) = object.fields.iter().find(|(name, _)| !known(name)) {
            return Err(FieldError::NoSuchField.of(class, &name.to_string_lossy()));
        }
        let mut data: Vec<(Vec<u8>, Vec<Slot>)> = Vec::with_capacity(chain.len());
        for level in chain.iter().rev() {
            let (mut bytes, mut slots) = (Vec::new(), Vec::new());
            for field in &level.fields {
                let value = object
                    .get(&field.name.to_string_lossy())
                    .unwrap_or(&Value::Null);
                match self.field(value, class, field)? {
                    FieldValue::Primitive(value) => value.put(&mut bytes),
                    FieldValue::Reference(slot) => slots.push(slot),
                }
            }
            data.push((bytes, slots));
        }
        let mut parts = Vec::new();
        for (bytes, slots) in &data {
            parts.push(Part::Primitives(bytes));
            parts.extend(slots.iter().copied().map(Part::Value));
        }
        let node = self.graph.add_class(&descriptor);
        Ok(self.graph.add_object(node, &parts))
    }

    /// A value in a field of this type.
    fn field(
        &mut self,
        value: &Value,
        class: &JavaString,
        field: &FieldDescriptor,
    ) -> Result<FieldValue, ValueError> {
        let signature = field.signature.as_modified_utf8();
        let wrong = |what| ValueError::Field {
            class: class.clone(),
            field: field.name.clone(),
            what: Cow::Owned(what),
        };
        match signature {
            &[code] if code_width(code) > 0 => match value {
                Value::Null => Ok(FieldValue::Primitive(zero(code))),
                value => primitive(value, code)
                    .map(FieldValue::Primitive)
                    .map_err(wrong),
            },
            _ => match self.value(value, signature) {
                Ok(slot) => Ok(FieldValue::Reference(slot)),
                Err(ValueError::Mismatch(what)) => Err(wrong(what)),
                Err(error) => Err(error),
            },
        }
    }
}

fn zero(code: u8) -> Boxed {
    Boxed::read(code, &[0; 8]).unwrap_or(Boxed::Boolean(false))
}

fn mismatch<T>(value: &Value, signature: &[u8]) -> Result<T, ValueError> {
    let given = value.class_name().unwrap_or_default();
    Err(ValueError::Mismatch(format!(
        "a {given} where a {} is expected",
        class_of(signature)
    )))
}

/// What a declared type asks for.
enum Declared<'s> {
    /// Any object, or one of an interface that many classes implement.
    Any,
    String,
    Date,
    BigInteger,
    List,
    Set,
    Map,
    /// Elements of this type.
    Array(&'s [u8]),
    /// A class of the application.
    Application,
}

impl<'s> Declared<'s> {
    fn of(signature: &'s [u8]) -> Self {
        match signature {
            [b'[', element @ ..] => Self::Array(element),
            b"Ljava/lang/String;" => Self::String,
            b"Ljava/util/Date;" => Self::Date,
            b"Ljava/math/BigInteger;" => Self::BigInteger,
            b"Ljava/util/List;"
            | b"Ljava/util/Collection;"
            | b"Ljava/util/ArrayList;"
            | b"Ljava/util/LinkedList;"
            | b"Ljava/util/ArrayDeque;"
            | b"Ljava/util/concurrent/CopyOnWriteArrayList;" => Self::List,
            b"Ljava/util/Set;"
            | b"Ljava/util/HashSet;"
            | b"Ljava/util/LinkedHashSet;"
            | b"Ljava/util/TreeSet;" => Self::Set,
            b"Ljava/util/Map;"
            | b"Ljava/util/HashMap;"
            | b"Ljava/util/LinkedHashMap;"
            | b"Ljava/util/TreeMap;"
            | b"Ljava/util/Hashtable;"
            | b"Ljava/util/concurrent/ConcurrentHashMap;" => Self::Map,
            _ if signature.starts_with(b"Ljava/") => Self::Any,
            _ => Self::Application,
        }
    }
}

/// The primitive type of a boxed one.
fn boxed_as(signature: &[u8]) -> Option<u8> {
    Some(match signature.strip_prefix(b"Ljava/lang/")? {
        b"Boolean;" => b'Z',
        b"Byte;" => b'B',
        b"Character;" => b'C',
        b"Short;" => b'S',
        b"Integer;" => b'I',
        b"Long;" => b'J',
        b"Float;" => b'F',
        b"Double;" => b'D',
        _ => return None,
    })
}

/// A value as a primitive of this type, if it fits.
fn primitive(value: &Value, code: u8) -> Result<Boxed, alloc::string::String> {
    let integer = match value {
        Value::Date(_) | Value::BigInteger(_) => None,
        value => value.as_i64(),
    };
    let name = match code {
        b'Z' => "boolean",
        b'B' => "byte",
        b'C' => "char",
        b'S' => "short",
        b'I' => "int",
        b'J' => "long",
        b'F' => "float",
        _ => "double",
    };
    let converted = match (code, value, integer) {
        (b'Z', Value::Bool(value), _) => Some(Boxed::Boolean(*value)),
        (b'C', Value::Char(unit), _) => Some(Boxed::Character(*unit)),
        (b'C', Value::String(text), _) => {
            let mut units = text.utf16();
            units
                .next()
                .filter(|_| units.next().is_none())
                .map(Boxed::Character)
        }
        (b'B', _, Some(value)) => i8::try_from(value).ok().map(Boxed::Byte),
        (b'S', _, Some(value)) => i16::try_from(value).ok().map(Boxed::Short),
        (b'I', _, Some(value)) => i32::try_from(value).ok().map(Boxed::Integer),
        (b'J', _, Some(value)) => Some(Boxed::Long(value)),
        (b'F', Value::Float(value), _) => Some(Boxed::Float(*value)),
        (b'F', Value::Double(value), _) => Some(Boxed::Float(*value as f32)),
        (b'D', Value::Float(_) | Value::Double(_), _) => value.as_f64().map(Boxed::Double),
        (b'F', _, Some(value)) if value.unsigned_abs() <= 1 << 24 => {
            Some(Boxed::Float(value as f32))
        }
        (b'D', _, Some(value)) if value.unsigned_abs() <= 1 << 53 => {
            Some(Boxed::Double(value as f64))
        }
        _ => None,
    };
    converted.ok_or_else(|| match integer {
        Some(value) => format!("{value} does not fit a {name}"),
        None => format!(
            "a {} is no {name}",
            value.class_name().unwrap_or_else(|| "null".into())
        ),
    })
}
