//! Where a walk keeps what it has met: on the heap, or in places that somebody else owns.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::table::{Class, Entry, Field, Layout};
use super::token::Frame;
use crate::wire::Full;

/// A list that grows at its end, as far as there is room.
pub(crate) trait List<T>: DerefMut<Target = [T]> {
    fn push(&mut self, item: T) -> Result<(), Full>;
    fn pop(&mut self) -> Option<T>;
    fn truncate(&mut self, len: usize);
}

/// The lists of a [`Walker`](super::token::Walker).
pub(crate) trait Store {
    type Entries: List<Entry>;
    type Classes: List<Class>;
    type Fields: List<Field>;
    type Stack: List<Frame>;
    type Layouts: KnownLayouts;
}

/// What is known of classes whose data is not laid out as their descriptor says.
pub(crate) trait KnownLayouts {
    fn of(&self, name: &[u8]) -> Layout;
    fn is_empty(&self) -> bool;
}

/// Nothing is known: every class is taken for regular.
impl KnownLayouts for () {
    fn of(&self, _: &[u8]) -> Layout {
        Layout::Regular
    }

    fn is_empty(&self) -> bool {
        true
    }
}

/// The first places of a list that grows.
#[cfg(feature = "alloc")]
const FIRST: usize = 16;

/// Lists that grow.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub(crate) struct Heap;

#[cfg(feature = "alloc")]
impl Store for Heap {
    type Entries = Vec<Entry>;
    type Classes = Vec<Class>;
    type Fields = Vec<Field>;
    type Stack = Vec<Frame>;
    type Layouts = super::irregular::Layouts;
}

#[cfg(feature = "alloc")]
impl<T> List<T> for Vec<T> {
    #[inline]
    fn push(&mut self, item: T) -> Result<(), Full> {
        // Enough for most values: one allocation instead of three.
        if self.capacity() == 0 {
            self.reserve(FIRST);
        }
        Self::push(self, item);
        Ok(())
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        Self::pop(self)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        Self::truncate(self, len);
    }
}

/// A list in somebody else's places.
#[derive(Debug)]
pub(crate) struct Lent<'m, T> {
    places: &'m mut [T],
    len: usize,
}

impl<'m, T> Lent<'m, T> {
    pub(crate) const fn new(places: &'m mut [T]) -> Self {
        Self { places, len: 0 }
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.places.get(..self.len).unwrap_or_default()
    }
}

impl<T> DerefMut for Lent<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.places.get_mut(..self.len).unwrap_or_default()
    }
}

impl<T: Copy> List<T> for Lent<'_, T> {
    #[inline]
    fn push(&mut self, item: T) -> Result<(), Full> {
        *self.places.get_mut(self.len).ok_or(Full)? = item;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        self.len = last;
        self.places.get(last).copied()
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// The lists of a walk in lent places.
#[derive(Debug)]
pub(crate) struct Places<'m>(core::marker::PhantomData<&'m ()>);

impl<'m> Store for Places<'m> {
    type Entries = Lent<'m, Entry>;
    type Classes = Lent<'m, Class>;
    type Fields = Lent<'m, Field>;
    type Stack = Lent<'m, Frame>;
    type Layouts = ();
}
