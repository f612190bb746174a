//! Classes whose data is not laid out as their descriptor says.
//!
//! A class with a `writeObject` of its own is expected to write its declared fields first
//! (`defaultWriteObject`, `putFields`). Some write something else first, some never write them; the descriptor looks
//! the same. Since a stream must come out even, the layout can be found by trying.

use alloc::vec::Vec;

use bytes::Bytes;

use super::store::{Heap, KnownLayouts};
use super::table::{Layout, is_suspect};
use super::token::Walker;
use super::{JavaError, Limits};

/// What to try, the likeliest first.
const ALTERNATIVES: [Layout; 6] = [
    Layout::Late(1),
    Layout::Absent,
    Layout::Late(2),
    Layout::Late(3),
    Layout::Late(4),
    Layout::Late(5),
];

/// How many classes of one stream may be irregular.
const IRREGULAR_MAX: usize = 8;

/// How many suspects are tried in one round.
const SUSPECTS_MAX: usize = 32;

/// The layouts found out so far, by class name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layouts(Vec<(Bytes, Layout)>);

impl KnownLayouts for Layouts {
    fn of(&self, name: &[u8]) -> Layout {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or(Layout::Regular, |&(_, layout)| layout)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Layouts {
    fn with(&self, name: &[u8], layout: Layout) -> Self {
        let mut more = self.clone();
        more.0.push((Bytes::copy_from_slice(name), layout));
        more
    }
}

/// The names of up to `max` classes whose layout is in doubt, in the order of the stream.
fn suspects(walker: &Walker<Heap>, stream: &[u8], max: usize) -> Vec<Bytes> {
    let mut names: Vec<Bytes> = Vec::new();
    for class in &walker.table.classes {
        let name = class.name.of(stream);
        if is_suspect(class, name) && names.len() < max && !names.iter().any(|known| known == name)
        {
            names.push(Bytes::copy_from_slice(name));
        }
    }
    names
}

/// A walk over a whole stream: whether it came out even, and if not, where it failed and who is suspected.
fn attempt(
    stream: &[u8],
    limits: &Limits,
    layouts: &Layouts,
) -> Result<(), (JavaError, Vec<Bytes>)> {
    let mut walker = Walker::new(limits, layouts.clone());
    walker
        .walk_stream(stream)
        .map_err(|error| (error, suspects(&walker, stream, SUSPECTS_MAX)))
}

/// The layouts with which `stream` comes out even.
///
/// # Errors
///
/// The error of the plain reading, if there are none.
pub(crate) fn resolve(
    stream: &[u8],
    limits: &Limits,
    known: &Layouts,
) -> Result<Layouts, JavaError> {
    let Err((first_error, mut suspects)) = attempt(stream, limits, known) else {
        return Ok(known.clone());
    };
    let mut layouts = known.clone();
    let mut reached = first_error.offset;
    // A stream that is simply damaged must not cost many times its length.
    let mut budget = stream.len().saturating_mul(4).saturating_add(1 << 20);
    for _ in 0..IRREGULAR_MAX {
        let mut best = None;
        for name in &suspects {
            for layout in ALTERNATIVES {
                let trial = layouts.with(name, layout);
                match attempt(stream, limits, &trial) {
                    Ok(()) => return Ok(trial),
                    Err((error, more)) => {
                        if error.offset > reached {
                            reached = error.offset;
                            best = Some((trial, more));
                        }
                        budget = budget.saturating_sub(error.offset.max(64));
                        if budget == 0 {
                            return Err(first_error);
                        }
                    }
                }
            }
        }
        match best {
            Some((trial, more)) => (layouts, suspects) = (trial, more),
            None => break,
        }
    }
    Err(first_error)
}
