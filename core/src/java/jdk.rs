//! The layouts of common JDK classes: collections, numbers, dates.

use alloc::vec::Vec;

use super::JavaString;
use super::build::{Boxed, Part};
use super::graph::{Graph, Item, Node, NodeId, Slot};
use super::object::FieldValue;

/// What a collection holds, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collection {
    /// A list, queue or stack.
    List(Vec<Slot>),
    /// A set.
    Set(Vec<Slot>),
    /// Keys and values.
    Map(Vec<(Slot, Slot)>),
}

/// `Collections.unmodifiableList(Collections.synchronizedList(…))`: so many wrappers are looked through.
const WRAPPERS_MAX: usize = 8;

/// How a class holds its elements.
#[derive(Clone, Copy)]
enum Shape {
    /// The objects among its custom data.
    List,
    Set,
    /// The first object is the comparator.
    SortedSet,
    Map,
    /// Ends with a null key and a null value.
    ConcurrentMap,
    /// `java.util.CollSer`: the tag says which.
    Immutable,
    /// An array in this field.
    ListArray(&'static str),
    SetArray(&'static str),
    /// As many elements of an array as another field says.
    Vector,
    /// What this field holds.
    Wrapper(&'static str),
    EmptyList,
    EmptySet,
    EmptyMap,
    SingletonList,
    SingletonSet,
    SingletonMap,
}

fn shape(class: &[u8]) -> Option<Shape> {
    use Shape as S;
    let name = class.strip_prefix(b"java.util.")?;
    Some(match name {
        b"ArrayList"
        | b"LinkedList"
        | b"ArrayDeque"
        | b"PriorityQueue"
        | b"concurrent.CopyOnWriteArrayList" => S::List,
        b"HashSet" => S::Set,
        b"TreeSet" => S::SortedSet,
        b"HashMap" | b"TreeMap" | b"Hashtable" | b"EnumMap" | b"IdentityHashMap" => S::Map,
        b"concurrent.ConcurrentHashMap" => S::ConcurrentMap,
        b"CollSer" => S::Immutable,
        b"Arrays$ArrayList" => S::ListArray("a"),
        b"EnumSet$SerializationProxy" => S::SetArray("elements"),
        b"Vector" => S::Vector,
        b"Collections$EmptyList" => S::EmptyList,
        b"Collections$EmptySet" => S::EmptySet,
        b"Collections$EmptyMap" => S::EmptyMap,
        b"Collections$SingletonList" => S::SingletonList,
        b"Collections$SingletonSet" => S::SingletonSet,
        b"Collections$SingletonMap" => S::SingletonMap,
        b"Collections$UnmodifiableCollection" | b"Collections$SynchronizedCollection" => {
            S::Wrapper("c")
        }
        b"Collections$UnmodifiableMap" | b"Collections$SynchronizedMap" => S::Wrapper("m"),
        _ => return None,
    })
}

/// Two by two.
fn pairs(slots: &[Slot]) -> Vec<(Slot, Slot)> {
    let (pairs, _) = slots.as_chunks::<2>();
    pairs.iter().map(|&[key, value]| (key, value)).collect()
}

/// How many slots of the hash table Java has for so many entries.
fn buckets(entries: usize) -> i32 {
    let mut buckets = 16_usize;
    while entries > buckets / 4 * 3 && buckets < 1 << 30 {
        buckets <<= 1;
    }
    buckets as i32
}

impl Graph {
    /// What a collection holds, whatever its class: the common ones of `java.util`, their subclasses and the wrappers
    /// of `java.util.Collections`. `None` if it is no such collection.
    pub fn collection(&self, node: NodeId) -> Option<Collection> {
        let mut node = node;
        for _ in 0..WRAPPERS_MAX {
            let class = self.class_name_bytes(node);
            let shape = match shape(class) {
                Some(shape) => shape,
                None => self.inherited_shape(node)?,
            };
            if let Shape::Wrapper(field) = shape {
                node = self.reference(node, field)??;
            } else {
                return self.elements(node, shape);
            }
        }
        None
    }

    /// The shape of the nearest superclass that is a collection.
    fn inherited_shape(&self, node: NodeId) -> Option<Shape> {
        let Node::Object { class, .. } = *self.node(node)? else {
            return None;
        };
        let mut next = self.class_of(class)?.superclass;
        while let Some(class) = next {
            let info = self.class_of(class)?;
            if let Some(shape) = shape(info.name.of(&self.bytes)) {
                return Some(shape);
            }
            next = info.superclass;
        }
        None
    }

    fn elements(&self, node: NodeId, shape: Shape) -> Option<Collection> {
        let custom = || self.custom_objects(node);
        Some(match shape {
            Shape::List => Collection::List(custom()),
            Shape::Set => Collection::Set(custom()),
            Shape::SortedSet => Collection::Set(custom().get(1..)?.to_vec()),
            Shape::Map => Collection::Map(pairs(&custom())),
            Shape::ConcurrentMap => {
                let mut entries = pairs(&custom());
                entries.pop_if(|entry| *entry == (None, None));
                Collection::Map(entries)
            }
            Shape::Immutable => match self.primitive(node, "tag")? {
                Boxed::Integer(tag) => match tag & 0xFF {
                    1 => Collection::List(custom()),
                    2 => Collection::Set(custom()),
                    3 => Collection::Map(pairs(&custom())),
                    _ => return None,
                },
                _ => return None,
            },
            Shape::ListArray(field) => {
                Collection::List(self.object_array(self.reference(node, field)??)?)
            }
            Shape::SetArray(field) => {
                Collection::Set(self.object_array(self.reference(node, field)??)?)
            }
            Shape::Vector => {
                let mut elements = self.object_array(self.reference(node, "elementData")??)?;
                if let Boxed::Integer(count) = self.primitive(node, "elementCount")? {
                    elements.truncate(usize::try_from(count).ok()?);
                }
                Collection::List(elements)
            }
            Shape::EmptyList => Collection::List(Vec::new()),
            Shape::EmptySet => Collection::Set(Vec::new()),
            Shape::EmptyMap => Collection::Map(Vec::new()),
            Shape::SingletonList => Collection::List(alloc::vec![self.reference(node, "element")?]),
            Shape::SingletonSet => Collection::Set(alloc::vec![self.reference(node, "element")?]),
            Shape::SingletonMap => Collection::Map(alloc::vec![(
                self.reference(node, "k")?,
                self.reference(node, "v")?
            )]),
            Shape::Wrapper(_) => return None,
        })
    }

    /// The objects among the custom data of all classes of an object.
    fn custom_objects(&self, node: NodeId) -> Vec<Slot> {
        // Only the collection's own class has custom data in practice; a subclass with more of its own comes after it.
        let levels = self.levels(node);
        let own = levels.iter().find(|level| {
            let name = self
                .class_number(level.class)
                .map(|info| info.name.of(&self.bytes));
            name.is_some_and(|name| shape(name).is_some())
        });
        let run = own.and_then(|level| {
            self.items
                .get(level.annotation.0 as usize..level.annotation.1 as usize)
        });
        run.unwrap_or_default()
            .iter()
            .copied()
            .filter_map(Item::slot)
            .collect()
    }

    /// An object field of this name.
    pub(crate) fn reference(&self, node: NodeId, name: &str) -> Option<Slot> {
        match self.field(node, name)? {
            FieldValue::Reference(slot) => Some(slot),
            FieldValue::Primitive(_) => None,
        }
    }

    /// A primitive field of this name.
    pub(crate) fn primitive(&self, node: NodeId, name: &str) -> Option<Boxed> {
        match self.field(node, name)? {
            FieldValue::Primitive(value) => Some(value),
            FieldValue::Reference(_) => None,
        }
    }

    /// The milliseconds since 1970 of a `java.util.Date` or one of its subclasses.
    pub fn date_ms(&self, node: NodeId) -> Option<i64> {
        let millis = self.custom_data(node, b"java.util.Date")?.i64()?;
        match self.primitive(node, "nanos") {
            // A `java.sql.Timestamp` keeps whole seconds there.
            Some(Boxed::Integer(nanos)) => millis.checked_add(i64::from(nanos / 1_000_000)),
            _ => Some(millis),
        }
    }

    /// The two halves of a `java.util.UUID`.
    pub fn uuid(&self, node: NodeId) -> Option<u128> {
        let half = |name| match self.primitive(node, name) {
            Some(Boxed::Long(half)) => Some(half as u64),
            _ => None,
        };
        let ours = self.class_name_bytes(node) == b"java.util.UUID";
        let (high, low) = (half("mostSigBits").filter(|_| ours)?, half("leastSigBits")?);
        Some(u128::from(high) << 64 | u128::from(low))
    }

    /// The sign (−1, 0, 1) and the magnitude, big-endian, of a `java.math.BigInteger`.
    pub fn big_integer(&self, node: NodeId) -> Option<(i8, &[u8])> {
        if self.class_name_bytes(node) != b"java.math.BigInteger" {
            return None;
        }
        let magnitude = self.primitive_array(self.reference(node, "magnitude")??)?;
        match self.primitive(node, "signum")? {
            Boxed::Integer(sign @ -1..=1) => Some((sign as i8, magnitude)),
            _ => None,
        }
    }

    /// The unscaled value, a `java.math.BigInteger`, and the scale of a `java.math.BigDecimal`.
    pub fn big_decimal(&self, node: NodeId) -> Option<(NodeId, i32)> {
        if self.class_name_bytes(node) != b"java.math.BigDecimal" {
            return None;
        }
        match self.primitive(node, "scale")? {
            Boxed::Integer(scale) => Some((self.reference(node, "intVal")??, scale)),
            _ => None,
        }
    }

    /// Seconds since 1970 and nanoseconds of a `java.time.Instant`.
    pub fn instant(&self, node: NodeId) -> Option<(i64, u32)> {
        let mut data = self.custom_data(node, b"java.time.Ser")?;
        match data.bytes()? {
            [INSTANT] => Some((data.i64()?, u32::try_from(data.i32()?).ok()?)),
            _ => None,
        }
    }

    /// Adds a `java.util.ArrayList`, `LinkedList`, `ArrayDeque` or `concurrent.CopyOnWriteArrayList`; any other class
    /// becomes an `ArrayList`.
    pub fn add_list(&mut self, class: &str, elements: &[Slot]) -> NodeId {
        let (class, fields) = match class {
            "java.util.LinkedList"
            | "java.util.ArrayDeque"
            | "java.util.concurrent.CopyOnWriteArrayList" => (class, false),
            _ => ("java.util.ArrayList", true),
        };
        let size = (elements.len() as i32).to_be_bytes();
        let mut parts = Vec::with_capacity(elements.len() + 3);
        if fields {
            parts.push(Part::Primitives(&size));
        }
        parts.push(Part::Data(&size));
        parts.extend(elements.iter().copied().map(Part::Value));
        parts.push(Part::End);
        let class = self.add_known_class(class);
        self.add_object(class, &parts)
    }

    /// Adds a `java.util.HashSet`, `LinkedHashSet` or `TreeSet` (with the natural order); any other class becomes a
    /// `HashSet`.
    pub fn add_set(&mut self, class: &str, elements: &[Slot]) -> NodeId {
        let size = elements.len() as i32;
        let mut data = Vec::with_capacity(12);
        let mut parts = Vec::with_capacity(elements.len() + 3);
        let class = match class {
            "java.util.TreeSet" => {
                data.extend(size.to_be_bytes());
                parts.push(Part::Value(None));
                class
            }
            _ => {
                data.extend(buckets(elements.len()).to_be_bytes());
                data.extend(LOAD_FACTOR.to_be_bytes());
                data.extend(size.to_be_bytes());
                if class == "java.util.LinkedHashSet" {
                    class
                } else {
                    "java.util.HashSet"
                }
            }
        };
        parts.push(Part::Data(&data));
        parts.extend(elements.iter().copied().map(Part::Value));
        parts.push(Part::End);
        let class = self.add_known_class(class);
        self.add_object(class, &parts)
    }

    /// Adds a `java.util.HashMap`, `LinkedHashMap`, `TreeMap` (with the natural order), `Hashtable` or
    /// `concurrent.ConcurrentHashMap`; any other class becomes a `HashMap`.
    pub fn add_map(&mut self, class: &str, entries: &[(Slot, Slot)]) -> NodeId {
        let size = (entries.len() as i32).to_be_bytes();
        let mut fields = Vec::new();
        let mut data = Vec::new();
        let slots = entries
            .iter()
            .flat_map(|&(key, value)| [Part::Value(key), Part::Value(value)]);
        let mut parts = Vec::with_capacity(entries.len() * 2 + 6);
        match class {
            "java.util.TreeMap" => {
                data.extend(size);
                parts.extend([Part::Value(None), Part::Data(&data)]);
                parts.extend(slots);
                parts.push(Part::End);
            }
            "java.util.concurrent.ConcurrentHashMap" => {
                let segments = self.add_segments();
                fields.extend(15_i32.to_be_bytes());
                fields.extend(28_i32.to_be_bytes());
                parts.extend([Part::Primitives(&fields), Part::Value(Some(segments))]);
                parts.extend(slots);
                parts.extend([Part::Value(None), Part::Value(None), Part::End]);
            }
            _ => {
                let (buckets, threshold) = match class {
                    "java.util.Hashtable" => hashtable_size(entries.len()),
                    // A `HashMap` has no table yet while it is empty, and then no threshold either.
                    _ if entries.is_empty() => (16, 0),
                    _ => (buckets(entries.len()), buckets(entries.len()) / 4 * 3),
                };
                fields.extend(LOAD_FACTOR.to_be_bytes());
                fields.extend(threshold.to_be_bytes());
                data.extend(buckets.to_be_bytes());
                data.extend(size);
                parts.extend([Part::Primitives(&fields), Part::Data(&data)]);
                parts.extend(slots);
                parts.push(Part::End);
                if class == "java.util.LinkedHashMap" {
                    parts.push(Part::Primitives(&[0]));
                }
            }
        }
        let class = match class {
            "java.util.LinkedHashMap"
            | "java.util.TreeMap"
            | "java.util.Hashtable"
            | "java.util.concurrent.ConcurrentHashMap" => class,
            _ => "java.util.HashMap",
        };
        let class = self.add_known_class(class);
        self.add_object(class, &parts)
    }

    /// The sixteen locks that a `ConcurrentHashMap` still writes for readers of Java 7.
    fn add_segments(&mut self) -> NodeId {
        let sync = self.add_known_class("java.util.concurrent.locks.ReentrantLock$NonfairSync");
        let segment = self.add_known_class("java.util.concurrent.ConcurrentHashMap$Segment");
        let array = self.add_known_class("[Ljava.util.concurrent.ConcurrentHashMap$Segment;");
        let load_factor = LOAD_FACTOR.to_be_bytes();
        let mut segments = Vec::with_capacity(16);
        for _ in 0..16 {
            let lock = self.add_object(sync, &[Part::Primitives(&[0; 4])]);
            let parts = [Part::Value(Some(lock)), Part::Primitives(&load_factor)];
            segments.push(Some(self.add_object(segment, &parts)));
        }
        self.add_array(array, &segments)
    }

    /// Adds a `java.util.Date`.
    pub fn add_date(&mut self, ms: i64) -> NodeId {
        let class = self.add_known_class("java.util.Date");
        self.add_object(class, &[Part::Data(&ms.to_be_bytes()), Part::End])
    }

    /// Adds a `java.sql.Timestamp` of so many whole seconds, in milliseconds, and nanoseconds.
    pub fn add_timestamp(&mut self, seconds_ms: i64, nanos: u32) -> NodeId {
        let class = self.add_known_class("java.sql.Timestamp");
        let (ms, nanos) = (seconds_ms.to_be_bytes(), nanos.to_be_bytes());
        self.add_object(
            class,
            &[Part::Data(&ms), Part::End, Part::Primitives(&nanos)],
        )
    }

    /// Adds a `java.util.UUID`.
    pub fn add_uuid(&mut self, uuid: u128) -> NodeId {
        let [low, high] = [uuid as u64, (uuid >> 64) as u64].map(u64::to_be_bytes);
        let class = self.add_known_class("java.util.UUID");
        self.add_object(class, &[Part::Primitives(&[low, high].concat())])
    }

    /// Adds a `java.time.Instant`.
    pub fn add_instant(&mut self, seconds: i64, nanos: u32) -> NodeId {
        let class = self.add_known_class("java.time.Ser");
        let mut data = alloc::vec![INSTANT];
        data.extend(seconds.to_be_bytes());
        data.extend(nanos.to_be_bytes());
        self.add_object(class, &[Part::Data(&data), Part::End])
    }

    /// Adds a `java.math.BigInteger` of this sign and magnitude, big-endian.
    pub fn add_big_integer(&mut self, sign: i8, magnitude: &[u8]) -> NodeId {
        let zeros = magnitude.iter().take_while(|&&byte| byte == 0).count();
        let magnitude = magnitude.get(zeros..).unwrap_or_default();
        let sign = if magnitude.is_empty() {
            0
        } else {
            i32::from(sign.signum())
        };
        let bytes = self.add_known_class("[B");
        let magnitude = self.add_primitive_array(bytes, magnitude);
        let class = self.add_known_class("java.math.BigInteger");
        let fields = [-1_i32, -1, -2, -2, sign].map(i32::to_be_bytes).concat();
        self.add_object(
            class,
            &[
                Part::Primitives(&fields),
                Part::Value(Some(magnitude)),
                Part::End,
            ],
        )
    }

    /// Adds a `java.math.BigDecimal` of an unscaled value, a `java.math.BigInteger`, and a scale.
    pub fn add_big_decimal(&mut self, unscaled: NodeId, scale: i32) -> NodeId {
        let class = self.add_known_class("java.math.BigDecimal");
        let scale = scale.to_be_bytes();
        self.add_object(
            class,
            &[
                Part::Primitives(&scale),
                Part::Value(Some(unscaled)),
                Part::End,
            ],
        )
    }

    /// Adds a `byte[]`.
    pub fn add_bytes_array(&mut self, bytes: &[u8]) -> NodeId {
        let class = self.add_known_class("[B");
        self.add_primitive_array(class, bytes)
    }

    /// Adds the descriptor of an enum, whatever its constants.
    pub fn add_enum_class(&mut self, name: &JavaString) -> NodeId {
        let superclass =
            super::ClassDescriptor::well_known("java.lang.Enum").map(alloc::sync::Arc::new);
        self.add_class(&super::ClassDescriptor {
            name: name.clone(),
            uid: 0,
            flags: super::code::IS_ENUM | super::code::SERIALIZABLE,
            fields: Vec::new(),
            superclass,
        })
    }
}

/// `java.time.Ser`: what follows is an instant.
const INSTANT: u8 = 2;

/// Java's default.
const LOAD_FACTOR: f32 = 0.75;

/// The length of a `Hashtable`'s table and its threshold: 11, grown by doubling and adding one.
fn hashtable_size(entries: usize) -> (i32, i32) {
    let mut length = 11_usize;
    while entries > length / 4 * 3 + length % 4 * 3 / 4 && length < 1 << 30 {
        length = length * 2 + 1;
    }
    (length as i32, (length * 3 / 4) as i32)
}
