//! `ObjectInputStream`: a stream's items one by one.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::begin::STREAM_HEADER;
use super::copy::{Copied, Fresh, copy_in_place, copy_value};
use super::irregular::{self, Layouts};
use super::items::Items;
use super::store::Heap;
use super::table::Kind;
use super::token::{Role, Token, Walker, check_header};
use super::{JavaBytes, JavaError, JavaErrorKind as E, JavaString, Limits, code};

/// What stands next in an [`ObjectInput`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Block data: `read_bool`, `read_i32`, `read_i64`, `read_utf`.
    Data,
    /// `null`.
    Null,
    /// A string, new or referred back to.
    String,
    /// An object of this class (`java.lang.Integer`), new or referred back to.
    Object(JavaString),
    /// An array of this class (`[B`).
    Array(JavaString),
    /// An enum constant of this class.
    Enum(JavaString),
    /// A `Class` object or a bare class descriptor.
    Class,
    /// An exception in the place of an object that could not be written.
    Exception,
    /// The end of the stream.
    End,
}

/// A Java object stream that is read item by item, as `ObjectInputStream` reads it: primitives from block data,
/// objects whole.
///
/// Shared objects and class descriptors are resolved: every value that [`read_object`](Self::read_object) gives
/// stands for itself. After an error other than [`WriteAborted`](E::WriteAborted) every call gives that error again.
#[derive(Debug)]
pub struct ObjectInput<'a> {
    items: Items<'a, Heap>,
    /// How many values have been copied out.
    epoch: u32,
    /// The last value copied out, behind those that are kept; itself kept for its capacity.
    scratch: Vec<u8>,
    /// How much of `scratch` is to stay.
    kept: usize,
    /// By how many bytes the copies may still exceed what they were read from: a stream that refers to one large
    /// object many times must not grow without bound.
    growth_left: usize,
    aborted: Option<JavaBytes>,
    /// The layouts of all classes have been found out.
    resolved: bool,
    failed: Option<JavaError>,
}

/// The memory of an [`ObjectInput`], for the next one.
#[derive(Debug, Default)]
pub(crate) struct InputMemory {
    walker: Option<Walker<Heap>>,
    /// What [`Lies::Copied`] points into.
    pub(crate) copied: Vec<u8>,
}

/// Entries of a walker's tables, and bytes copied, that are kept for the next stream; more is an exception.
const ENTRIES_KEPT: usize = 256;
const COPIED_KEPT: usize = 16 * 1024;

impl InputMemory {
    /// Lets go of what an unusually large stream has taken.
    pub(crate) fn trim(&mut self) {
        let large = |walker: &Walker<Heap>| {
            walker.table.entries.capacity() > ENTRIES_KEPT
                || walker.table.fields.capacity() > ENTRIES_KEPT
                || walker.stack.capacity() > ENTRIES_KEPT
        };
        if self.walker.as_ref().is_some_and(large) {
            self.walker = None;
        }
        if self.copied.capacity() > COPIED_KEPT {
            self.copied = Vec::new();
        }
    }
}

/// Where something that was read lies: from the first byte to before the last, in the stream or where its parts were
/// brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// In the stream, as it is.
    InStream(u32, u32),
    /// In [`InputMemory::copied`].
    Copied(u32, u32),
}

impl Lies {
    fn in_stream(from: usize, to: usize) -> Self {
        // Streams are shorter than 2 GiB, and what is copied out of them grows by no more than their bound.
        Self::InStream(from as u32, to as u32)
    }

    /// The bytes.
    pub(crate) fn of<'b>(self, stream: &'b [u8], copied: &'b [u8]) -> &'b [u8] {
        let (bytes, from, to) = match self {
            Self::InStream(from, to) => (stream, from, to),
            Self::Copied(from, to) => (copied, from, to),
        };
        bytes.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl<'a> ObjectInput<'a> {
    /// Begins to read a stream.
    ///
    /// # Errors
    ///
    /// If it does not begin with the stream header, or is longer than `limits` allow.
    pub fn new(stream: &'a [u8], limits: &Limits) -> Result<Self, JavaError> {
        Self::with_memory(stream, limits, &mut InputMemory::default())
    }

    /// As [`new`](Self::new), with memory that [`finish_with`](Self::finish_with) gives back.
    pub(crate) fn with_memory(
        stream: &'a [u8],
        limits: &Limits,
        memory: &mut InputMemory,
    ) -> Result<Self, JavaError> {
        check_header(stream, limits)?;
        let mut walker = match memory.walker.take() {
            Some(mut walker) => {
                walker.limits = *limits;
                walker.layouts = Layouts::default();
                walker.suspicious = false;
                walker
            }
            None => Walker::new(limits, Layouts::default()),
        };
        walker.restart(STREAM_HEADER.len());
        let mut scratch = core::mem::take(&mut memory.copied);
        scratch.clear();
        Ok(Self {
            items: Items::new(stream, walker),
            epoch: 0,
            scratch,
            kept: 0,
            growth_left: limits.total_bytes,
            aborted: None,
            resolved: false,
            failed: None,
        })
    }

    /// The offset of the next byte to be read.
    pub const fn offset(&self) -> usize {
        self.items.walker.pos
    }

    /// What stands next.
    ///
    /// # Errors
    ///
    /// If it is not the beginning of anything.
    pub fn peek(&mut self) -> Result<Next, JavaError> {
        self.guard(Self::peek_item)
    }

    /// `readBoolean`.
    ///
    /// # Errors
    ///
    /// If there is no block data here.
    pub fn read_bool(&mut self) -> Result<bool, JavaError> {
        self.guard(|input| input.items.primitive().map(|[byte]| byte != 0))
    }

    /// `readByte`.
    ///
    /// # Errors
    ///
    /// If there is no block data here.
    pub fn read_i8(&mut self) -> Result<i8, JavaError> {
        self.guard(|input| input.items.primitive().map(i8::from_be_bytes))
    }

    /// `readInt`.
    ///
    /// # Errors
    ///
    /// If there is no block data here, or too little.
    pub fn read_i32(&mut self) -> Result<i32, JavaError> {
        self.guard(|input| input.items.primitive().map(i32::from_be_bytes))
    }

    /// `readLong`.
    ///
    /// # Errors
    ///
    /// If there is no block data here, or too little.
    pub fn read_i64(&mut self) -> Result<i64, JavaError> {
        self.guard(|input| input.items.primitive().map(i64::from_be_bytes))
    }

    /// `readUTF`.
    ///
    /// # Errors
    ///
    /// If there is no block data here, too little, or no modified UTF-8.
    pub fn read_utf(&mut self) -> Result<JavaString, JavaError> {
        self.guard(|input| {
            let len = u16::from_be_bytes(input.items.primitive()?);
            let at = input.items.walker.pos;
            let text = Bytes::from(input.data(usize::from(len))?.into_owned());
            JavaString::from_modified_utf8(text).ok_or(E::BadText.at(at))
        })
    }

    /// `readFully`: `len` bytes of block data, borrowed if they are in one segment.
    ///
    /// # Errors
    ///
    /// If there is no block data here, or too little.
    pub fn read_bytes(&mut self, len: usize) -> Result<Cow<'a, [u8]>, JavaError> {
        self.guard(|input| input.data(len))
    }

    /// `readObject`, as a stream of its own.
    ///
    /// # Errors
    ///
    /// [`WriteAborted`](E::WriteAborted) if the writer failed inside this object: then [`aborted`](Self::aborted)
    /// has the exception, and reading goes on after it. Any other error ends the stream.
    pub fn read_object(&mut self) -> Result<JavaBytes, JavaError> {
        self.guard(|input| {
            input.items.before_object()?;
            if input.items.stream.get(input.items.walker.pos) == Some(&code::NULL) {
                input.items.walker.pos += 1;
                return Ok(JavaBytes::NULL);
            }
            if let Some(body) = input.plain()? {
                return Ok(JavaBytes::of_body(body));
            }
            let whole = input.with_layouts(Self::extract)?;
            input.unless_aborted(whole)?;
            let value = Bytes::copy_from_slice(input.extracted());
            Ok(JavaBytes::from_checked(value))
        })
    }

    /// As [`read_object`](Self::read_object), without memory for the value: where its bytes lie, stream header left out; `None`
    /// for null.
    pub(crate) fn find_object(&mut self) -> Result<Option<Lies>, JavaError> {
        self.guard(|input| {
            input.items.before_object()?;
            let at = input.items.walker.pos;
            if input.items.stream.get(at) == Some(&code::NULL) {
                input.items.walker.pos += 1;
                return Ok(None);
            }
            if input.plain()?.is_some() {
                return Ok(Some(Lies::in_stream(at, input.items.walker.pos)));
            }
            let whole = input.with_layouts(Self::extract_or_leave)?;
            input.unless_aborted(whole)?;
            if input.extracted().is_empty() {
                return Ok(Some(Lies::in_stream(at, input.items.walker.pos)));
            }
            let from = input.kept.saturating_add(STREAM_HEADER.len());
            input.kept = input.scratch.len();
            Ok(Some(Lies::Copied(from as u32, input.kept as u32)))
        })
    }

    /// As [`read_utf`](Self::read_utf), without memory for the text, unless it is in several segments.
    pub(crate) fn find_utf(&mut self) -> Result<Lies, JavaError> {
        self.guard(|input| {
            let len = usize::from(u16::from_be_bytes(input.items.primitive()?));
            while input.items.block_left == 0 && len > 0 {
                input.items.open_block()?;
            }
            let at = input.items.walker.pos;
            let found = if len <= input.items.block_left {
                input.items.segment(len)?;
                Lies::in_stream(at, at.saturating_add(len))
            } else {
                input.scratch.truncate(input.kept);
                let mut left = len;
                while left > 0 {
                    if input.items.block_left == 0 {
                        input.items.open_block()?;
                    }
                    let part = left.min(input.items.block_left);
                    input.scratch.extend_from_slice(input.items.segment(part)?);
                    left = left.saturating_sub(part);
                }
                let from = input.kept;
                input.kept = input.scratch.len();
                Lies::Copied(from as u32, input.kept as u32)
            };
            match super::is_modified_utf8(found.of(input.items.stream, &input.scratch)) {
                true => Ok(found),
                false => Err(E::BadText.at(at)),
            }
        })
    }

    /// The exception of the last [`WriteAborted`](E::WriteAborted).
    pub const fn aborted(&self) -> Option<&JavaBytes> {
        self.aborted.as_ref()
    }

    /// Passes over one object; faster than reading it.
    ///
    /// # Errors
    ///
    /// As [`read_object`](Self::read_object).
    pub fn skip_object(&mut self) -> Result<(), JavaError> {
        self.guard(|input| {
            input.items.before_object()?;
            let whole = input.with_layouts(Self::pass)?;
            input.unless_aborted(whole)
        })
    }

    /// A `java.lang.Long`, or null.
    ///
    /// # Errors
    ///
    /// As [`read_object`](Self::read_object), and [`WrongClass`](E::WrongClass).
    pub fn read_long_object(&mut self) -> Result<Option<i64>, JavaError> {
        self.guard(|input| {
            Ok(input
                .boxed(b"java.lang.Long", b'J')?
                .map(i64::from_be_bytes))
        })
    }

    /// A `java.lang.Integer`, or null.
    ///
    /// # Errors
    ///
    /// As [`read_object`](Self::read_object), and [`WrongClass`](E::WrongClass).
    pub fn read_integer_object(&mut self) -> Result<Option<i32>, JavaError> {
        self.guard(|input| {
            Ok(input
                .boxed(b"java.lang.Integer", b'I')?
                .map(i32::from_be_bytes))
        })
    }

    /// A `java.lang.Boolean`, or null.
    ///
    /// # Errors
    ///
    /// As [`read_object`](Self::read_object), and [`WrongClass`](E::WrongClass).
    pub fn read_boolean_object(&mut self) -> Result<Option<bool>, JavaError> {
        self.guard(|input| {
            Ok(input
                .boxed(b"java.lang.Boolean", b'Z')?
                .map(|[byte]| byte != 0))
        })
    }

    /// A `java.lang.String`, or null.
    ///
    /// # Errors
    ///
    /// As [`read_object`](Self::read_object), and [`WrongClass`](E::WrongClass).
    pub fn read_string_object(&mut self) -> Result<Option<JavaString>, JavaError> {
        let text = self.find_string_object()?;
        Ok(text.map(|text| JavaString::from_checked(Bytes::copy_from_slice(text))))
    }

    /// As [`read_string_object`](Self::read_string_object), without memory for the text: its modified UTF-8 where it lies.
    pub(crate) fn find_string_object(&mut self) -> Result<Option<&'a [u8]>, JavaError> {
        self.guard(|input| {
            let at = input.items.walker.pos;
            let Some(handle) = input.node()? else {
                return Ok(None);
            };
            let text = input.items.walker.table.text(handle, input.items.stream);
            text.map(Some).ok_or(E::WrongClass.at(at))
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// If anything is left.
    pub fn finish(mut self) -> Result<(), JavaError> {
        self.at_end()
    }

    fn at_end(&mut self) -> Result<(), JavaError> {
        match self.peek()? {
            Next::End => Ok(()),
            _ => Err(E::Trailing.at(self.items.walker.pos)),
        }
    }

    /// As [`finish`](Self::finish); the memory goes back where it came from, whatever the outcome.
    pub(crate) fn finish_with(mut self, memory: &mut InputMemory) -> Result<(), JavaError> {
        let end = self.at_end();
        self.give_back(memory);
        end
    }

    /// Gives the memory back where it came from.
    pub(crate) fn give_back(self, memory: &mut InputMemory) {
        memory.walker = Some(self.items.walker);
        memory.copied = self.scratch;
    }

    fn guard<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, JavaError>,
    ) -> Result<T, JavaError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        read(self).inspect_err(|error| {
            if !error.is_write_aborted() {
                self.failed = Some(*error);
            }
        })
    }

    fn peek_item(&mut self) -> Result<Next, JavaError> {
        if self.items.block_left > 0 {
            return Ok(Next::Data);
        }
        let at = self.items.walker.pos;
        let Some(code) = self.items.next_code() else {
            return Ok(Next::End);
        };
        Ok(match code {
            code::BLOCK_DATA | code::BLOCK_DATA_LONG => Next::Data,
            code::NULL => Next::Null,
            code::STRING | code::LONG_STRING => Next::String,
            code::EXCEPTION => Next::Exception,
            code::CLASS_DESC | code::PROXY_CLASS_DESC | code::CLASS => Next::Class,
            code::OBJECT => Next::Object(self.class_name_at(self.items.walker.pos + 1)?),
            code::ARRAY => Next::Array(self.class_name_at(self.items.walker.pos + 1)?),
            code::ENUM => Next::Enum(self.class_name_at(self.items.walker.pos + 1)?),
            code::REFERENCE => {
                let entry = self
                    .items
                    .handle_at(self.items.walker.pos + 1)
                    .and_then(|handle| self.items.walker.table.entry(handle));
                let entry = *entry.ok_or(E::BadTypeCode(code).at(at))?;
                match entry.kind {
                    Kind::String => Next::String,
                    Kind::ClassDesc | Kind::Class => Next::Class,
                    Kind::Object => Next::Object(self.name_of(entry.class)),
                    Kind::Array => Next::Array(self.name_of(entry.class)),
                    Kind::Enum => Next::Enum(self.name_of(entry.class)),
                }
            }
            code => return Err(E::BadTypeCode(code).at(at)),
        })
    }

    fn name_of(&self, class: u32) -> JavaString {
        let name = self
            .items
            .walker
            .table
            .class(class)
            .filter(|class| !class.proxy)
            .map(|class| class.name.of(self.items.stream));
        JavaString::from_checked(Bytes::copy_from_slice(name.unwrap_or_default()))
    }

    /// The name of the class whose descriptor begins at `pos`; empty for a proxy.
    fn class_name_at(&self, pos: usize) -> Result<JavaString, JavaError> {
        let truncated = E::Truncated.at(self.items.stream.len());
        match *self.items.stream.get(pos).ok_or(truncated)? {
            code::CLASS_DESC => {
                let len = self
                    .items
                    .stream
                    .get(pos + 1..)
                    .and_then(<[u8]>::first_chunk)
                    .ok_or(truncated)?;
                let name = self
                    .items
                    .stream
                    .get(pos + 3..pos + 3 + usize::from(u16::from_be_bytes(*len)));
                JavaString::from_modified_utf8(Bytes::copy_from_slice(name.ok_or(truncated)?))
                    .ok_or(E::BadText.at(pos))
            }
            code::REFERENCE => {
                let entry = self
                    .items
                    .handle_at(pos + 1)
                    .and_then(|handle| self.items.walker.table.entry(handle));
                let entry = entry.filter(|entry| entry.kind == Kind::ClassDesc);
                Ok(self.name_of(entry.ok_or(E::BadTypeCode(code::REFERENCE).at(pos))?.class))
            }
            code::PROXY_CLASS_DESC => Ok(JavaString::new()),
            code => Err(E::BadTypeCode(code).at(pos)),
        }
    }

    /// `len` bytes of block data.
    fn data(&mut self, len: usize) -> Result<Cow<'a, [u8]>, JavaError> {
        while self.items.block_left == 0 && len > 0 {
            self.items.open_block()?;
        }
        if len <= self.items.block_left {
            return self.items.segment(len).map(Cow::Borrowed);
        }
        let mut gathered = Vec::new();
        while gathered.len() < len {
            if self.items.block_left == 0 {
                self.items.open_block()?;
            }
            gathered.extend_from_slice(
                self.items
                    .segment((len - gathered.len()).min(self.items.block_left))?,
            );
        }
        Ok(Cow::Owned(gathered))
    }

    /// Reads one value, and once more if it has a class whose layout was in doubt and has been found out.
    fn with_layouts(
        &mut self,
        read: fn(&mut Self) -> Result<bool, JavaError>,
    ) -> Result<bool, JavaError> {
        let (pos, handles) = (self.items.walker.pos, self.items.walker.next_handle());
        let first = read(self);
        if self.resolved || !self.items.walker.suspicious || first == Ok(false) {
            return first;
        }
        self.resolved = true;
        match irregular::resolve(
            self.items.stream,
            &self.items.walker.limits,
            &self.items.walker.layouts,
        ) {
            Ok(layouts) if layouts != self.items.walker.layouts => {
                self.items.walker.layouts = layouts;
                self.items.walker.rewind(pos, handles);
                read(self)
            }
            // Damaged further on, perhaps: what stands before the damage is read as it is.
            _ => first,
        }
    }

    /// A string, or a `Boolean` that describes its class, without the walk that other values take: where it lies, which is how it
    /// would lie in a stream of its own. `None` if something else stands next.
    fn plain(&mut self) -> Result<Option<&'a [u8]>, JavaError> {
        let stream = self.items.stream;
        let at = self.items.walker.pos;
        let plain = match stream.get(at) {
            Some(&(code::STRING | code::LONG_STRING)) => {
                self.items.walker.value(stream, Role::Value)?;
                true
            }
            Some(&code::OBJECT) => self.items.walker.pass_boolean(stream)?,
            _ => false,
        };
        Ok(stream.get(at..self.items.walker.pos).filter(|_| plain))
    }

    /// The value that was copied last, in a stream of its own.
    fn extracted(&self) -> &[u8] {
        self.scratch.get(self.kept..).unwrap_or_default()
    }

    /// Copies one value into `scratch`.
    fn extract(&mut self) -> Result<bool, JavaError> {
        self.copy(false)
    }

    /// Copies one value into `scratch` if it has to be changed for a stream of its own, else nothing.
    fn extract_or_leave(&mut self) -> Result<bool, JavaError> {
        self.copy(true)
    }

    fn copy(&mut self, in_place: bool) -> Result<bool, JavaError> {
        self.epoch += 1;
        self.scratch.truncate(self.kept);
        self.scratch.extend_from_slice(&STREAM_HEADER);
        let before = self.items.walker.pos;
        let out_max = self.items.stream.len() - before + self.growth_left;
        let (walker, stream) = (&mut self.items.walker, self.items.stream);
        let (out, epoch) = (&mut self.scratch, self.epoch);
        let copied = match in_place {
            true => copy_in_place(walker, stream, out, epoch, out_max)?,
            false => copy_value(walker, stream, out, &mut Fresh(0), epoch, out_max)?,
        };
        match copied {
            Copied::Aborted => return Ok(false),
            Copied::InPlace(_) => {
                self.scratch.truncate(self.kept);
                return Ok(true);
            }
            Copied::Whole => {}
        }
        let read = self.items.walker.pos - before + STREAM_HEADER.len();
        let growth = self.extracted().len().saturating_sub(read);
        self.growth_left = self
            .growth_left
            .checked_sub(growth)
            .ok_or(E::StreamTooLong.at(before))?;
        Ok(true)
    }

    fn pass(&mut self) -> Result<bool, JavaError> {
        self.items.walker.skip_value(self.items.stream)
    }

    /// Deals with the exception that a writer left in place of a value.
    fn unless_aborted(&mut self, whole: bool) -> Result<(), JavaError> {
        if whole {
            return Ok(());
        }
        let at = self.items.walker.pos - 1;
        if !self.extract()? {
            return Err(E::BadTypeCode(code::EXCEPTION).at(at));
        }
        self.aborted = Some(JavaBytes::from_checked(Bytes::copy_from_slice(
            self.extracted(),
        )));
        // Unlike `ObjectInputStream`, which forgets to, and then reads every later back reference wrongly.
        self.items.walker.reset();
        Err(E::WriteAborted.at(at))
    }

    /// Walks over one value: its handle, or `None` for null.
    fn node(&mut self) -> Result<Option<u32>, JavaError> {
        self.items.before_object()?;
        let pos = self.items.walker.pos;
        match self.items.stream.get(pos) {
            Some(&code::NULL) => {
                self.items.walker.pos += 1;
                Ok(None)
            }
            Some(&(code::REFERENCE | code::STRING | code::LONG_STRING)) => {
                match self.items.walker.value(self.items.stream, Role::Value)? {
                    Token::Reference { handle, .. } | Token::String { handle, .. } => {
                        Ok(Some(handle))
                    }
                    _ => Err(E::ExpectedObject.at(pos)),
                }
            }
            _ => {
                let from = self.items.walker.next_handle();
                let whole = self.with_layouts(Self::pass)?;
                self.unless_aborted(whole)?;
                self.items
                    .walker
                    .table
                    .handle_at(pos, from)
                    .map(Some)
                    .ok_or(E::ExpectedObject.at(pos))
            }
        }
    }

    /// The single primitive field of a boxed value of this class.
    fn boxed<const N: usize>(
        &mut self,
        name: &[u8],
        code: u8,
    ) -> Result<Option<[u8; N]>, JavaError> {
        let at = self.items.walker.pos;
        self.items.before_object()?;
        if let Some(value) = self.items.boxed_again(name, code)? {
            return Ok(Some(value));
        }
        let Some(handle) = self.node()? else {
            return Ok(None);
        };
        let value = self.items.boxed_at(handle, name, code);
        value.map(Some).ok_or(E::WrongClass.at(at))
    }
}

/// Whether `stream` is exactly one value.
pub(crate) fn check_one_value(stream: &[u8], limits: &Limits) -> Result<(), JavaError> {
    let mut input = ObjectInput::new(stream, limits)?;
    input.skip_object()?;
    input.finish()
}

/// The name of a value's class.
pub(crate) fn class_name(value: &JavaBytes) -> Option<JavaString> {
    let mut input = ObjectInput::new(value.as_bytes(), &Limits::UNLIMITED).ok()?;
    match input.peek().ok()? {
        Next::String => Some(JavaString::from_checked(Bytes::from_static(
            b"java.lang.String",
        ))),
        Next::Object(name) | Next::Array(name) | Next::Enum(name) => {
            Some(name).filter(|name| !name.is_empty())
        }
        Next::Class => {
            let kind: &[u8] = match value.body().first() {
                Some(&code::CLASS) => b"java.lang.Class",
                _ => b"java.io.ObjectStreamClass",
            };
            Some(JavaString::from_checked(Bytes::copy_from_slice(kind)))
        }
        Next::Data | Next::Null | Next::Exception | Next::End => None,
    }
}
