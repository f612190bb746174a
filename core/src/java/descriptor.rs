//! Class descriptors, and what a node knows about the classes of others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashMap;

use super::catalogue::{self, Known};
use super::graph::{Graph, Node};
use super::{JavaBytes, JavaError, JavaString, Limits, code};

/// A class as its writer described it: what is needed to write objects of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassDescriptor {
    /// The name, as `Class.getName` gives it.
    pub name: JavaString,
    /// `serialVersionUID`; Java refuses objects with another.
    pub uid: i64,
    /// 1 own `writeObject`, 2 serializable, 4 externalizable, 8 block data, 16 enum.
    pub flags: u8,
    /// The fields in the order of the stream: primitive ones by name, then the others by name.
    pub fields: Vec<FieldDescriptor>,
    /// The nearest serializable superclass.
    pub superclass: Option<Arc<Self>>,
}

/// A field of a [`ClassDescriptor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDescriptor {
    /// The name.
    pub name: JavaString,
    /// The JVM signature of the type: `I`, `[B`, `Ljava/lang/String;`.
    pub signature: JavaString,
}

impl ClassDescriptor {
    /// A serializable class without fields.
    pub fn new(name: &str, uid: i64) -> Self {
        Self {
            name: name.into(),
            uid,
            flags: code::SERIALIZABLE,
            fields: Vec::new(),
            superclass: None,
        }
    }

    /// An enum.
    pub fn enumeration(name: &str) -> Self {
        Self {
            flags: code::SERIALIZABLE | code::IS_ENUM,
            superclass: Self::well_known("java.lang.Enum").map(Arc::new),
            ..Self::new(name, 0)
        }
    }

    /// An externalizable class: its objects have custom data and nothing else.
    pub fn externalizable(name: &str, uid: i64) -> Self {
        Self {
            flags: code::EXTERNALIZABLE | code::EXTERNAL_BLOCK_DATA,
            ..Self::new(name, uid)
        }
    }

    /// The same with one more field, at the place where Java has it. `signature` is `I`, `[B`, `Ljava/lang/String;`.
    #[must_use]
    pub fn with_field(mut self, name: &str, signature: &str) -> Self {
        let reference = |signature: &[u8]| matches!(signature, [b'L' | b'[', ..]);
        let field = FieldDescriptor {
            name: name.into(),
            signature: signature.into(),
        };
        let key = (reference(signature.as_bytes()), field.name.clone());
        let at = self.fields.partition_point(|other| {
            (reference(other.signature.as_modified_utf8()), &other.name) < (key.0, &key.1)
        });
        self.fields.insert(at, field);
        self
    }

    /// The same below a superclass.
    #[must_use]
    pub fn with_superclass(mut self, superclass: Self) -> Self {
        self.superclass = Some(Arc::new(superclass));
        self
    }

    /// Whether this is an enum.
    pub const fn is_enum(&self) -> bool {
        self.flags & code::IS_ENUM != 0
    }

    /// Whether objects have data beyond their fields, whose meaning only the class knows.
    pub fn has_own_data(&self) -> bool {
        self.flags & (code::WRITE_METHOD | code::EXTERNALIZABLE) != 0
            || self
                .superclass
                .as_ref()
                .is_some_and(|above| above.has_own_data())
    }

    fn from_known(known: &Known) -> Self {
        let text =
            |text: &'static str| JavaString::from_checked(Bytes::from_static(text.as_bytes()));
        let fields = known.fields.iter();
        Self {
            name: text(known.name),
            uid: known.uid,
            flags: known.flags,
            fields: fields
                .map(|&(name, signature)| FieldDescriptor {
                    name: text(name),
                    signature: text(signature),
                })
                .collect(),
            superclass: catalogue::known(known.superclass.as_bytes())
                .map(|above| Arc::new(Self::from_known(above))),
        }
    }

    /// A descriptor that is known without having been seen: those of the JDK's common classes and Tomcat's own.
    pub fn well_known(name: &str) -> Option<Self> {
        catalogue::known(name.as_bytes()).map(Self::from_known)
    }

    /// Roughly what it takes of memory, without its superclass.
    fn size(&self) -> usize {
        let fields = self
            .fields
            .iter()
            .map(|field| 64 + field.name.encoded_len() + field.signature.encoded_len());
        128 + self.name.encoded_len() + fields.sum::<usize>()
    }
}

/// The class descriptors learned from streams seen, so that objects of those classes can be written.
///
/// Bounded: when it is full, the classes that have not been seen for longest are forgotten.
#[derive(Clone, Debug)]
pub struct ClassRegistry {
    classes: HashMap<JavaString, Learned>,
    bytes: usize,
    bytes_max: usize,
    /// Counts up with everything learned.
    clock: u64,
}

#[derive(Clone, Debug)]
struct Learned {
    descriptor: Arc<ClassDescriptor>,
    seen: u64,
}

impl Default for ClassRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl ClassRegistry {
    /// What [`new`](Self::new) keeps: 1 MiB, some thousands of classes.
    pub const BYTES_MAX: usize = 1 << 20;

    /// A registry that knows the [well known](ClassDescriptor::well_known) classes only.
    pub fn new() -> Self {
        Self::with_bytes_max(Self::BYTES_MAX)
    }

    /// A registry that keeps descriptors of about `bytes_max` bytes of memory.
    pub fn with_bytes_max(bytes_max: usize) -> Self {
        Self {
            classes: HashMap::new(),
            bytes: 0,
            bytes_max,
            clock: 0,
        }
    }

    /// How many classes have been learned.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether none has been learned.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The descriptor of a class: as last seen, else the well known one.
    pub fn descriptor(&self, name: &JavaString) -> Option<Arc<ClassDescriptor>> {
        match self.classes.get(name) {
            Some(learned) => Some(learned.descriptor.clone()),
            None => catalogue::known(name.as_modified_utf8())
                .map(|known| Arc::new(ClassDescriptor::from_known(known))),
        }
    }

    /// Learns all classes of a value.
    ///
    /// # Errors
    ///
    /// If the value cannot be read within the default limits.
    pub fn learn(&mut self, value: &JavaBytes) -> Result<(), JavaError> {
        self.learn_graph(&value.decode(&Limits::DEFAULT)?);
        Ok(())
    }

    /// Learns all classes of a stream.
    pub fn learn_graph(&mut self, graph: &Graph) {
        // Superclasses stand behind their subclasses in a graph: from behind, each is there before it is needed.
        let mut made: HashMap<u32, Arc<ClassDescriptor>> = HashMap::new();
        let descriptors = graph.nodes.iter().filter_map(|node| match *node {
            Node::Descriptor(number) => Some(number),
            _ => None,
        });
        let numbers: Vec<u32> = descriptors.collect();
        for &number in &numbers {
            let mut chain = Vec::new();
            let mut next = Some(number);
            while let Some(number) = next.filter(|number| !made.contains_key(number)) {
                chain.push(number);
                next = graph.superclass_number(number);
            }
            for number in chain.into_iter().rev() {
                let above = graph
                    .superclass_number(number)
                    .and_then(|above| made.get(&above).cloned());
                if let Some(descriptor) = graph.make_descriptor(number, above) {
                    made.insert(number, Arc::new(descriptor));
                }
            }
        }
        for descriptor in numbers.iter().filter_map(|number| made.get(number)) {
            self.keep(descriptor.clone());
        }
    }

    /// Keeps one descriptor.
    pub fn keep(&mut self, descriptor: Arc<ClassDescriptor>) {
        let size = descriptor.size();
        // Proxies have no name; what the catalogue says already need not be kept.
        let same = ClassDescriptor::from_known;
        let known = catalogue::known(descriptor.name.as_modified_utf8())
            .is_some_and(|known| same(known) == *descriptor);
        if descriptor.name.is_empty() || known || size > self.bytes_max {
            return;
        }
        self.clock += 1;
        if let Some(old) = self.classes.remove(&descriptor.name) {
            self.bytes -= old.descriptor.size();
        }
        if self.bytes + size > self.bytes_max {
            self.forget_half();
        }
        if self.bytes + size > self.bytes_max {
            self.classes.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        self.classes.insert(
            descriptor.name.clone(),
            Learned {
                descriptor,
                seen: self.clock,
            },
        );
    }

    /// Forgets the half that has not been seen for longest: half at a time, so that classes that come in great numbers do
    /// not cost a search each.
    fn forget_half(&mut self) {
        let mut seen: Vec<u64> = self.classes.values().map(|learned| learned.seen).collect();
        seen.sort_unstable();
        let middle = seen.get(seen.len() / 2).copied().unwrap_or_default();
        self.classes.retain(|_, learned| learned.seen >= middle);
        self.bytes = self
            .classes
            .values()
            .map(|learned| learned.descriptor.size())
            .sum();
    }
}

impl Graph {
    fn superclass_number(&self, number: u32) -> Option<u32> {
        match self.node(self.classes.get(number as usize)?.superclass?)? {
            Node::Descriptor(above) => Some(*above),
            _ => None,
        }
    }

    fn make_descriptor(
        &self,
        number: u32,
        superclass: Option<Arc<ClassDescriptor>>,
    ) -> Option<ClassDescriptor> {
        let info = self
            .classes
            .get(number as usize)
            .filter(|info| info.proxy.is_none())?;
        let text = |bytes: &[u8]| JavaString::from_checked(Bytes::copy_from_slice(bytes));
        let fields = self.fields_of(info).iter().map(|field| FieldDescriptor {
            name: text(field.name.of(&self.bytes)),
            signature: match field.signature.and_then(|node| self.text(node)) {
                Some(signature) => signature,
                None => text(&[field.code]),
            },
        });
        let fields = fields.collect();
        Some(ClassDescriptor {
            name: text(info.name.of(&self.bytes)),
            uid: info.uid,
            flags: info.flags,
            fields,
            superclass,
        })
    }

    /// The descriptor of the class of `node`, or that `node` is.
    pub fn class_descriptor(&self, node: super::NodeId) -> Option<ClassDescriptor> {
        let number_of = |node| match self.node(node) {
            Some(Node::Descriptor(number)) => Some(*number),
            _ => None,
        };
        let mut chain = Vec::new();
        let mut next = self.descriptor(node).and_then(number_of);
        while let Some(number) = next {
            chain.push(number);
            next = self.superclass_number(number);
        }
        let mut made = None;
        for number in chain.into_iter().rev() {
            made = Some(self.make_descriptor(number, made.map(Arc::new))?);
        }
        made
    }
}
