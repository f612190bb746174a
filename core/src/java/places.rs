//! The tables of a walk over a stream, where there is no heap.

use super::copy::{Copied, Fresh, copy_value};
use super::items::Items;
use super::store::Lent;
pub(crate) use super::store::Places;
use super::table::{Class, Entry, Field, Kind, Layout, NONE, Span, Table};
use super::token::{Frame, Walker, check_header};
use super::{JavaError, Limits};
use crate::wire::{Full, Sink};

/// Fields of a class, on average.
const FIELDS: usize = 4;
/// Things open inside each other, for each class.
const FRAMES: usize = 2;

/// The memory.
#[derive(Debug)]
pub(crate) struct Tables<const OBJECTS: usize, const CLASSES: usize> {
    entries: [Entry; OBJECTS],
    classes: [Class; CLASSES],
    fields: [[Field; FIELDS]; CLASSES],
    frames: [[Frame; FRAMES]; CLASSES],
}

const NO_SPAN: Span = Span { start: 0, len: 0 };

impl<const OBJECTS: usize, const CLASSES: usize> Tables<OBJECTS, CLASSES> {
    pub(crate) const fn new() -> Self {
        const ENTRY: Entry = Entry {
            kind: Kind::String,
            start: 0,
            body: 0,
            class: 0,
            mark: (0, 0),
        };
        const CLASS: Class = Class {
            name: NO_SPAN,
            uid: 0,
            flags: 0,
            proxy: false,
            interfaces: 0,
            complete: false,
            layout: Layout::Regular,
            fields: (0, 0),
            object_fields: 0,
            primitive_len: 0,
            superclass: 0,
            hierarchy: 0,
            handle: 0,
        };
        const FIELD: Field = Field {
            code: 0,
            name: NO_SPAN,
            signature: 0,
        };
        Self {
            entries: [ENTRY; OBJECTS],
            classes: [CLASS; CLASSES],
            fields: [[FIELD; FIELDS]; CLASSES],
            frames: [[Frame::Value; FRAMES]; CLASSES],
        }
    }

    pub(crate) fn walk(&mut self) -> Walk<'_> {
        Walk {
            entries: &mut self.entries,
            classes: &mut self.classes,
            fields: self.fields.as_flattened_mut(),
            frames: self.frames.as_flattened_mut(),
        }
    }
}

/// The same, without the capacities in its type.
#[derive(Debug)]
pub(crate) struct Walk<'m> {
    entries: &'m mut [Entry],
    classes: &'m mut [Class],
    fields: &'m mut [Field],
    frames: &'m mut [Frame],
}

impl Walk<'_> {
    /// No places at all, while the others are in use.
    pub(crate) const fn empty() -> Self {
        Self {
            entries: &mut [],
            classes: &mut [],
            fields: &mut [],
            frames: &mut [],
        }
    }

    /// An empty walker in these places.
    pub(crate) fn walker(&mut self) -> Walker<Places<'_>> {
        let table = Table {
            entries: Lent::new(self.entries),
            classes: Lent::new(self.classes),
            fields: Lent::new(self.fields),
        };
        let mut walker = Walker::with(&Limits::UNLIMITED, table, Lent::new(self.frames), ());
        walker.class = NONE;
        walker
    }

    /// Begins to read a stream.
    pub(crate) fn read<'s>(
        &mut self,
        stream: &'s [u8],
    ) -> Result<Items<'s, Places<'_>>, JavaError> {
        check_header(stream, &Limits::UNLIMITED)?;
        let mut walker = self.walker();
        walker.restart(super::STREAM_HEADER.len());
        Ok(Items::new(stream, walker))
    }
}

/// Copies the value that `stream` holds to the end of `out`, with handles from `next` on; gives the next handle.
pub(crate) fn copy_into(
    walk: &mut Walk<'_>,
    stream: &[u8],
    out: &mut impl Sink,
    next: u32,
) -> Result<u32, Full> {
    let mut walker = walk.walker();
    walker.restart(super::STREAM_HEADER.len());
    let mut target = Fresh(next);
    match copy_value(&mut walker, stream, out, &mut target, 1, usize::MAX) {
        Ok(Copied::Whole | Copied::InPlace(_)) => Ok(target.0),
        Ok(Copied::Aborted) | Err(_) => Err(Full),
    }
}

/// Whether `stream` is exactly one value.
pub(crate) fn check_one_value(walk: &mut Walk<'_>, stream: &[u8]) -> Result<(), JavaError> {
    let mut items = walk.read(stream)?;
    items.class()?;
    items.skip()?;
    match items.is_over() {
        true => Ok(()),
        false => Err(super::JavaErrorKind::Trailing.at(items.offset())),
    }
}
