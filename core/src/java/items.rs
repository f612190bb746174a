//! A stream's items one by one, in whatever memory: what [`ObjectInput`](super::ObjectInput) is made of, and what reads
//! streams where there is no heap.

use super::copy::{Copied, Fresh, copy_value};
use super::store::Store;
use super::table::{self, Kind, Span, Table};
use super::token::{Token, Walker};
use super::{JavaError, JavaErrorKind as E, code};
use crate::wire::Sink;

/// A stream, and how far it has been read.
#[derive(Debug)]
pub(crate) struct Items<'a, S: Store> {
    pub(super) stream: &'a [u8],
    pub(super) walker: Walker<S>,
    /// What is left of the current segment of block data.
    pub(super) block_left: usize,
}

/// What stands next, as far as it can be told without memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class<'a> {
    /// `null`.
    Null,
    /// An object of the class of that name, new or referred back to.
    Object(&'a [u8]),
    /// Something else.
    Other,
}

impl<'a, S: Store> Items<'a, S> {
    pub(crate) const fn new(stream: &'a [u8], walker: Walker<S>) -> Self {
        Self {
            stream,
            walker,
            block_left: 0,
        }
    }

    /// The type code that stands next, after resets and segments of no data, which no writer leaves and Java passes over;
    /// `None` at the end.
    pub(super) fn next_code(&mut self) -> Option<u8> {
        loop {
            let rest = self.stream.get(self.walker.pos..)?;
            match *rest {
                [code::RESET, ..] => self.walker.restart(self.walker.pos + 1),
                [code::BLOCK_DATA, 0, ..] => self.walker.pos += 2,
                [code::BLOCK_DATA_LONG, 0, 0, 0, 0, ..] => self.walker.pos += 5,
                [code, ..] => return Some(code),
                [] => return None,
            }
        }
    }

    pub(super) fn handle_at(&self, pos: usize) -> Option<u32> {
        let wire = self.stream.get(pos..)?.first_chunk()?;
        u32::from_be_bytes(*wire).checked_sub(code::BASE_HANDLE)
    }

    /// Opens the next segment of block data.
    pub(super) fn open_block(&mut self) -> Result<(), JavaError> {
        let at = self.walker.pos;
        match self.next_code() {
            Some(code @ (code::BLOCK_DATA | code::BLOCK_DATA_LONG)) => {
                let Token::Block {
                    data: Span { start, len },
                    ..
                } = self.walker.block(self.stream, code)?
                else {
                    return Err(E::ExpectedData.at(at));
                };
                (self.walker.pos, self.block_left) = (start as usize, len as usize);
                Ok(())
            }
            Some(_) => Err(E::ExpectedData.at(at)),
            None => Err(E::Truncated.at(at)),
        }
    }

    /// `len` bytes of the current segment, which has as many.
    pub(super) fn segment(&mut self, len: usize) -> Result<&'a [u8], JavaError> {
        let pos = self.walker.pos;
        let bytes = self
            .stream
            .get(pos..pos + len)
            .ok_or(E::Truncated.at(pos))?;
        self.walker.pos += len;
        self.block_left -= len;
        Ok(bytes)
    }

    /// The next bytes of block data, however many segments they are in.
    pub(crate) fn primitive<const N: usize>(&mut self) -> Result<[u8; N], JavaError> {
        let at = self.walker.pos;
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            if self.block_left == 0 {
                self.open_block()?;
                continue;
            }
            let part = self.segment((N - filled).min(self.block_left))?;
            let to = bytes
                .get_mut(filled..)
                .and_then(|to| to.get_mut(..part.len()));
            to.ok_or(E::ExpectedData.at(at))?.copy_from_slice(part);
            filled += part.len();
        }
        Ok(bytes)
    }

    /// Makes sure that an object stands next.
    pub(super) fn before_object(&mut self) -> Result<(), JavaError> {
        let at = self.walker.pos;
        if self.block_left > 0 {
            return Err(E::ExpectedObject.at(at));
        }
        match self.next_code() {
            None => Err(E::Truncated.at(at)),
            Some(code::BLOCK_DATA | code::BLOCK_DATA_LONG) => Err(E::ExpectedObject.at(at)),
            Some(_) => Ok(()),
        }
    }

    /// The single primitive field of the boxed value with this handle.
    pub(super) fn boxed_at<const N: usize>(
        &self,
        handle: u32,
        name: &[u8],
        code: u8,
    ) -> Option<[u8; N]> {
        let table = &self.walker.table;
        let entry = table.entry(handle)?;
        let class = table.class(entry.class)?;
        if entry.kind != Kind::Object || !is_box(table, class, self.stream, name, code) {
            return None;
        }
        self.stream
            .get(entry.body as usize..)?
            .first_chunk()
            .copied()
    }

    /// A boxed value that stands next and whose class has been described before, without the walk that other objects take;
    /// `None` if something else stands next.
    pub(super) fn boxed_again<const N: usize>(
        &mut self,
        name: &[u8],
        code: u8,
    ) -> Result<Option<[u8; N]>, JavaError> {
        let pos = self.walker.pos;
        let Some([code::OBJECT, code::REFERENCE, a, b, c, d, rest @ ..]) = self.stream.get(pos..)
        else {
            return Ok(None);
        };
        let table = &self.walker.table;
        let handle = u32::from_be_bytes([*a, *b, *c, *d]).checked_sub(code::BASE_HANDLE);
        let described = handle.filter(|handle| *handle < self.walker.next_handle());
        let described = described.and_then(|handle| table.entry(handle));
        let described = described.filter(|entry| entry.kind == Kind::ClassDesc);
        let (Some(entry), Some(value)) = (described, rest.first_chunk::<N>()) else {
            return Ok(None);
        };
        let number = entry.class;
        let boxed = table
            .class(number)
            .is_some_and(|class| is_box(table, class, self.stream, name, code));
        if !boxed || self.walker.limits.depth == 0 {
            return Ok(None);
        }
        let body = pos + BOXED_AGAIN;
        self.walker.define(Kind::Object, pos, body, number)?;
        self.walker.pos = body + N;
        Ok(Some(*value))
    }
}

/// The type code and the reference to its class, before the value.
const BOXED_AGAIN: usize = 6;

/// Whether `class` is the class of boxed values of this name, with one field of this type and nothing else.
fn is_box<S: Store>(
    table: &Table<S>,
    class: &table::Class,
    stream: &[u8],
    name: &[u8],
    code: u8,
) -> bool {
    let above = table.class(class.superclass);
    class.flags == code::SERIALIZABLE
        && class.complete
        && class.name.of(stream) == name
        && above.is_none_or(|above| !above.has_data() && above.hierarchy == 0)
        && matches!(table.fields_of(class), [field] if field.code == code)
}

/// Reading without a heap. After an error the rest of the stream is of no use.
impl<'a, S: Store> Items<'a, S> {
    /// Whether everything has been read.
    pub(crate) fn is_over(&mut self) -> bool {
        self.block_left == 0 && self.next_code().is_none()
    }

    /// Where the next item stands.
    pub(crate) const fn offset(&self) -> usize {
        self.walker.pos
    }

    /// `readUTF`: borrowed from the stream, or, if it is in several segments, gathered in `buffer`.
    pub(crate) fn utf<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8], JavaError>
    where
        'a: 'b,
    {
        let len = usize::from(u16::from_be_bytes(self.primitive()?));
        let at = self.walker.pos;
        while self.block_left == 0 && len > 0 {
            self.open_block()?;
        }
        let text = if len <= self.block_left {
            self.segment(len)?
        } else {
            let buffer = buffer.get_mut(..len).ok_or(E::StringTooLong.at(at))?;
            let mut filled = 0;
            while filled < len {
                if self.block_left == 0 {
                    self.open_block()?;
                    continue;
                }
                let part = self.segment((len - filled).min(self.block_left))?;
                let to = buffer
                    .get_mut(filled..)
                    .and_then(|to| to.get_mut(..part.len()));
                to.ok_or(E::ExpectedData.at(at))?.copy_from_slice(part);
                filled += part.len();
            }
            buffer
        };
        match super::is_modified_utf8(text) {
            true => Ok(text),
            false => Err(E::BadText.at(at)),
        }
    }

    /// Walks over one value: its handle, or `None` for null.
    fn node(&mut self) -> Result<Option<u32>, JavaError> {
        self.before_object()?;
        let pos = self.walker.pos;
        match self.stream.get(pos) {
            Some(&code::NULL) => {
                self.walker.pos += 1;
                Ok(None)
            }
            Some(&code::REFERENCE) => {
                self.skip()?;
                Ok(self.handle_at(pos + 1))
            }
            _ => {
                let from = self.walker.next_handle();
                self.skip()?;
                let handle = self.walker.table.handle_at(pos, from);
                handle.map(Some).ok_or(E::ExpectedObject.at(pos))
            }
        }
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self) -> Result<(), JavaError> {
        match self.walker.skip_value(self.stream)? {
            true => Ok(()),
            false => Err(E::WriteAborted.at(self.walker.pos)),
        }
    }

    fn boxed<const N: usize>(&mut self, name: &[u8], code: u8) -> Result<[u8; N], JavaError> {
        let at = self.walker.pos;
        self.before_object()?;
        if let Some(value) = self.boxed_again(name, code)? {
            return Ok(value);
        }
        let handle = self.node()?;
        let value = handle.and_then(|handle| self.boxed_at(handle, name, code));
        value.ok_or(E::WrongClass.at(at))
    }

    /// A `java.lang.Long`.
    pub(crate) fn long(&mut self) -> Result<i64, JavaError> {
        self.boxed(b"java.lang.Long", b'J').map(i64::from_be_bytes)
    }

    /// A `java.lang.Integer`.
    pub(crate) fn integer(&mut self) -> Result<i32, JavaError> {
        self.boxed(b"java.lang.Integer", b'I')
            .map(i32::from_be_bytes)
    }

    /// A `java.lang.Boolean`.
    pub(crate) fn boolean(&mut self) -> Result<bool, JavaError> {
        self.boxed(b"java.lang.Boolean", b'Z')
            .map(|[byte]| byte != 0)
    }

    /// A `java.lang.String`.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], JavaError> {
        let at = self.walker.pos;
        let handle = self.node()?;
        let text = handle.and_then(|handle| self.walker.table.text(handle, self.stream));
        text.ok_or(E::WrongClass.at(at))
    }

    /// What stands next where an object is expected.
    pub(crate) fn class(&mut self) -> Result<Class<'a>, JavaError> {
        self.before_object()?;
        let at = self.walker.pos;
        let of = |class: u32| match self.walker.table.class(class) {
            Some(class) if !class.proxy => Class::Object(class.name.of(self.stream)),
            _ => Class::Other,
        };
        Ok(match self.stream.get(at) {
            Some(&code::NULL) => Class::Null,
            Some(&code::REFERENCE) => {
                let handle = self.handle_at(at + 1);
                match handle.and_then(|handle| self.walker.table.entry(handle)) {
                    Some(entry) if entry.kind == Kind::Object => of(entry.class),
                    _ => Class::Other,
                }
            }
            Some(&code::OBJECT) => match self.stream.get(at + 1) {
                Some(&code::REFERENCE) => {
                    let handle = self.handle_at(at + 2);
                    match handle.and_then(|handle| self.walker.table.entry(handle)) {
                        Some(entry) if entry.kind == Kind::ClassDesc => of(entry.class),
                        _ => Class::Other,
                    }
                }
                Some(&code::CLASS_DESC) => {
                    let text = self
                        .stream
                        .get(at + 2..)
                        .and_then(<[u8]>::split_first_chunk);
                    let name = text
                        .and_then(|(len, rest)| rest.get(..usize::from(u16::from_be_bytes(*len))));
                    name.map_or(Class::Other, Class::Object)
                }
                _ => Class::Other,
            },
            _ => Class::Other,
        })
    }

    /// Copies one object to the end of `out` as a value of its own, without a stream header; `false` if its writer failed
    /// inside it: then `out` has a part of it, and what follows can be read.
    pub(crate) fn object(
        &mut self,
        epoch: u32,
        out: &mut impl Sink,
        out_max: usize,
    ) -> Result<bool, JavaError> {
        self.before_object()?;
        let Self { stream, walker, .. } = self;
        match copy_value(walker, stream, out, &mut Fresh(0), epoch, out_max)? {
            Copied::Whole | Copied::InPlace(_) => Ok(true),
            Copied::Aborted => {
                if !self.walker.skip_value(self.stream)? {
                    return Err(E::BadTypeCode(code::EXCEPTION).at(self.walker.pos));
                }
                // Unlike `ObjectInputStream`, which forgets to.
                self.walker.reset();
                Ok(false)
            }
        }
    }
}
