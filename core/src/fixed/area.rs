//! What a session holds, packed into one block of memory: its id, then records.

use super::memory::shift;
use crate::session::ActionType;
use crate::wire::{Full, Sink};

/// Bytes before the name of a record.
const HEADER: usize = 8;

/// It has been changed here and not been sent.
const DIRTY: u8 = 1;
/// It has been removed here, which has not been sent: to everybody here it is not there.
const REMOVED: u8 = 2;

/// An attribute, a note, the principal, the authentication type or a listener.
///
/// | bytes | field |
/// |---|---|
/// | 1 | kind: the number of an [`ActionType`] |
/// | 1 | flags: dirty, removed |
/// | 2 + 4 | lengths of the name and of the value |
/// | | name, in modified UTF-8 |
/// | | value, a Java object stream of its own |
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'b> {
    pub(super) kind: ActionType,
    pub(super) dirty: bool,
    pub(super) removed: bool,
    pub(super) name: &'b [u8],
    pub(super) value: &'b [u8],
    /// Where it lies.
    at: usize,
    end: usize,
}

/// The records of a block from `at` on.
#[derive(Clone, Debug)]
pub(super) struct Records<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Records<'b> {
    /// The records of `bytes` behind an id of `id_len` bytes.
    pub(super) const fn new(bytes: &'b [u8], id_len: usize) -> Self {
        Self { bytes, at: id_len }
    }

    /// The record of that kind and name, a removed one too.
    pub(super) fn find(mut self, kind: ActionType, name: &[u8]) -> Option<Record<'b>> {
        Iterator::find(&mut self, |record| {
            record.kind == kind && record.name == name
        })
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        let at = self.at;
        let rest = self.bytes.get(at..)?;
        let ([kind, flags, a, b, c, d, e, f], rest) = rest.split_first_chunk::<HEADER>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))?;
        let value = rest.get(..u32::from_be_bytes([*c, *d, *e, *f]) as usize)?;
        self.at = at
            .saturating_add(HEADER)
            .saturating_add(name.len())
            .saturating_add(value.len());
        Some(Record {
            kind: ActionType(i32::from(*kind)),
            dirty: flags & DIRTY != 0,
            removed: flags & REMOVED != 0,
            name,
            value,
            at,
            end: self.at,
        })
    }
}

/// A block that is being changed.
#[derive(Debug)]
pub(super) struct Area<'b> {
    bytes: &'b mut [u8],
    id_len: usize,
    pub(super) len: usize,
}

impl<'b> Area<'b> {
    /// A block with these contents.
    pub(super) const fn new(bytes: &'b mut [u8], id_len: usize, len: usize) -> Self {
        Self { bytes, id_len, len }
    }

    pub(super) fn contents(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn records(&self) -> Records<'_> {
        Records::new(self.contents(), self.id_len)
    }

    fn cut(&mut self, at: usize, end: usize) {
        if at <= end && shift(self.bytes, end..self.len, at) {
            self.len = self.len.saturating_sub(end.saturating_sub(at));
        }
    }

    /// Removes the record of that kind and name, if there is one.
    pub(super) fn remove(&mut self, kind: ActionType, name: &[u8]) {
        if let Some(Record { at, end, .. }) = self.records().find(kind, name) {
            self.cut(at, end);
        }
    }

    /// Puts an id before the records of an area that has none.
    pub(super) fn prepend_id(&mut self, id: &[u8]) -> Result<(), Full> {
        let len = self.len.checked_add(id.len()).ok_or(Full)?;
        if !shift(self.bytes, 0..self.len, id.len()) {
            return Err(Full);
        }
        self.bytes
            .get_mut(..id.len())
            .ok_or(Full)?
            .copy_from_slice(id);
        (self.id_len, self.len) = (id.len(), len);
        Ok(())
    }

    /// Bytes of the id.
    pub(super) const fn id_len(&self) -> usize {
        self.id_len
    }

    /// Takes back the record that begins at `at`, and removes those before `before` of the same kind with the same value.
    pub(super) fn remove_last_and_equal(&mut self, before: usize, at: usize) {
        let mut from = self.id_len;
        let mut last = at;
        loop {
            let mut records = Records::new(self.contents(), from);
            let Some(record) = records.next().filter(|record| record.at < last) else {
                break;
            };
            let (begin, end) = (record.at, record.end);
            let mut tail = Records::new(self.contents(), last);
            let equal = tail
                .next()
                .is_some_and(|other| other.kind == record.kind && other.value == record.value);
            if equal {
                self.cut(begin, end);
                last = last.saturating_sub(end.saturating_sub(begin));
            } else {
                from = end;
            }
        }
        let removed = at.saturating_sub(last);
        self.truncate(before.saturating_sub(removed));
    }

    /// Removes every record that `gone` picks.
    pub(super) fn remove_if(&mut self, mut gone: impl FnMut(&Record<'_>) -> bool) {
        let mut at = self.id_len;
        loop {
            let mut rest = Records::new(self.contents(), at);
            let Some(record) = rest.next() else { return };
            let (from, end, remove) = (record.at, record.end, gone(&record));
            if remove {
                self.cut(from, end);
            } else {
                at = end;
            }
        }
    }

    /// Begins a record; its value is what is [put](Sink::put) until [`end`](Self::end). Gives where it lies.
    pub(super) fn begin(
        &mut self,
        kind: ActionType,
        name: &[u8],
        dirty: bool,
        removed: bool,
    ) -> Result<usize, Full> {
        let at = self.len;
        let name_len = u16::try_from(name.len()).map_err(|_| Full)?;
        let kind = u8::try_from(kind.0).map_err(|_| Full)?;
        let mut flags = 0;
        if dirty {
            flags |= DIRTY;
        }
        if removed {
            flags |= REMOVED;
        }
        let [a, b] = name_len.to_be_bytes();
        self.put(&[kind, flags, a, b, 0, 0, 0, 0])?;
        self.put(name)?;
        Ok(at)
    }

    /// Ends the record that begins at `at`.
    pub(super) fn end(&mut self, at: usize) {
        let Some(header) = self.bytes.get_mut(at..self.len) else {
            return;
        };
        if let Some([_, _, a, b, c, d, e, f]) = header.first_chunk_mut::<HEADER>() {
            let name = usize::from(u16::from_be_bytes([*a, *b]));
            let value = self
                .len
                .saturating_sub(at.saturating_add(HEADER).saturating_add(name));
            [*c, *d, *e, *f] = (value as u32).to_be_bytes();
        }
    }

    /// Takes back what has been added since it was `len` bytes long.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Nothing here is unsent any more.
    pub(super) fn clean(&mut self) {
        self.remove_if(|record| record.removed);
        let mut at = self.id_len;
        while let Some(record) = Records::new(self.contents(), at).next() {
            at = record.end;
            if let Some(flags) = self.bytes.get_mut(record.at.saturating_add(1)) {
                *flags = 0;
            }
        }
    }
}

impl Sink for Area<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let free = self.bytes.get_mut(self.len..).ok_or(Full)?;
        free.get_mut(..bytes.len())
            .ok_or(Full)?
            .copy_from_slice(bytes);
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }
}
