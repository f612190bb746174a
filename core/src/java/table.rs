//! What a walk over a stream has met so far: everything with a handle, and the class descriptors.

use super::code;
use super::store::{List, Store};

/// "No class", "no handle".
pub(crate) const NONE: u32 = u32::MAX;

/// A run of bytes of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    /// The bytes themselves.
    pub(crate) fn of<'s>(&self, stream: &'s [u8]) -> &'s [u8] {
        let start = self.start as usize;
        stream
            .get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

/// What kind of thing a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    ClassDesc,
    Object,
    Array,
    Enum,
    Class,
}

/// Something with a handle; its handle is its place in [`Table::entries`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Where its type code stands.
    pub(crate) start: u32,
    /// Where its own data begins: the text of a string, what follows the class descriptor of an object.
    pub(crate) body: u32,
    /// Its class in [`Table::classes`]; for a string the length of the text.
    pub(crate) class: u32,
    /// The copy it was last part of, and its handle there.
    pub(crate) mark: (u32, u32),
}

/// A class descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) name: Span,
    pub(crate) uid: i64,
    pub(crate) flags: u8,
    /// Not a name and fields but interfaces; `name` is then the run of their names.
    pub(crate) proxy: bool,
    /// How many.
    pub(crate) interfaces: u32,
    /// Whether the whole descriptor has been seen: before that nothing may be made of it.
    pub(crate) complete: bool,
    pub(crate) layout: Layout,
    /// Its fields in [`Table::fields`].
    pub(crate) fields: (u32, u16),
    /// How many of them are objects or arrays; they come last.
    pub(crate) object_fields: u16,
    /// Bytes of the primitive ones.
    pub(crate) primitive_len: u32,
    pub(crate) superclass: u32,
    /// How many superclasses it has.
    pub(crate) hierarchy: u16,
    pub(crate) handle: u32,
}

impl Class {
    /// Whether objects have data for this class itself, not counting superclasses.
    pub(crate) const fn has_data(&self) -> bool {
        self.fields.1 > 0 || self.flags & super::code::WRITE_METHOD != 0
    }
}

/// Where the declared fields stand in the data of a class with a `writeObject` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Layout {
    /// First, as they should.
    #[default]
    Regular,
    /// After this many items (segments of block data or objects).
    Late(u8),
    /// Nowhere.
    Absent,
}

/// Whether the layout of this class can be in doubt.
pub(crate) fn is_suspect(class: &Class, name: &[u8]) -> bool {
    class.flags & (code::WRITE_METHOD | code::EXTERNALIZABLE) == code::WRITE_METHOD
        && class.fields.1 > 0
        && class.layout == Layout::Regular
        && !name.starts_with(b"java.")
        && !name.starts_with(b"org.apache.")
}

/// A field of a class descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// The field's type: one of `BCDFIJSZ`, `L` or `[`.
    pub(crate) code: u8,
    pub(crate) name: Span,
    /// The string with the JVM signature of an object field's type.
    pub(crate) signature: u32,
}

/// Everything met so far.
pub(crate) struct Table<S: Store> {
    pub(crate) entries: S::Entries,
    pub(crate) classes: S::Classes,
    pub(crate) fields: S::Fields,
}

impl<S: Store> Table<S> {
    /// Forgets everything, as the protocol does at `TC_RESET` and around `TC_EXCEPTION`.
    pub(crate) fn clear(&mut self) {
        self.entries.truncate(0);
        self.classes.truncate(0);
        self.fields.truncate(0);
    }

    /// Forgets what has handles from `handles` on.
    pub(crate) fn truncate(&mut self, handles: u32) {
        self.entries.truncate(handles as usize);
        let kept = self
            .classes
            .iter()
            .take_while(|class| class.handle < handles)
            .count();
        if let Some(first) = self.classes.get(kept) {
            self.fields.truncate(first.fields.0 as usize);
        }
        self.classes.truncate(kept);
    }

    pub(crate) fn entry(&self, handle: u32) -> Option<&Entry> {
        self.entries.get(handle as usize)
    }

    pub(crate) fn class(&self, class: u32) -> Option<&Class> {
        self.classes.get(class as usize)
    }

    /// The fields of `class` in the order of the stream.
    pub(crate) fn fields_of(&self, class: &Class) -> &[Field] {
        let start = class.fields.0 as usize;
        self.fields
            .get(start..start + usize::from(class.fields.1))
            .unwrap_or_default()
    }

    /// The text of the string with this handle.
    pub(crate) fn text<'s>(&self, handle: u32, stream: &'s [u8]) -> Option<&'s [u8]> {
        let entry = self
            .entry(handle)
            .filter(|entry| entry.kind == Kind::String)?;
        Some(
            Span {
                start: entry.body,
                len: entry.class,
            }
            .of(stream),
        )
    }

    /// The handle of what begins at `start`, at or after handle `from`.
    pub(crate) fn handle_at(&self, start: usize, from: u32) -> Option<u32> {
        let later = self.entries.get(from as usize..)?;
        // Only the class descriptor, with what is in it, has its handles before the object's own.
        let index = later
            .iter()
            .take_while(|entry| entry.start as usize >= start)
            .position(|entry| entry.start as usize == start)?;
        u32::try_from(index)
            .ok()
            .and_then(|index| from.checked_add(index))
    }

    /// The first handle assigned inside what has this handle: its own, unless a class descriptor came before.
    pub(crate) fn first_handle_of(&self, handle: u32) -> u32 {
        let Some(entry) = self.entry(handle) else {
            return handle;
        };
        let before = self.entries.get(..handle as usize).unwrap_or_default();
        let inside = before
            .iter()
            .rev()
            .take_while(|other| other.start > entry.start)
            .count();
        handle.saturating_sub(inside as u32)
    }
}
