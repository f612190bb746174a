//! A pull parser: the items of one value, one after the other, without recursion.

use super::code;
#[cfg(feature = "alloc")]
use super::irregular::Layouts;
#[cfg(feature = "alloc")]
use super::store::Heap;
use super::store::{List, Store};
use super::table::{Class, Entry, Kind, NONE, Span, Table};
use super::text::is_modified_utf8;
use super::{JavaError, JavaErrorKind as E, Limits};

/// An item of a value. Handles count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Null,
    /// A back reference; `type_string` where a field's type stands.
    Reference {
        handle: u32,
        type_string: bool,
    },
    String {
        handle: u32,
        text: Span,
        long: bool,
        type_string: bool,
    },
    /// A class descriptor begins: its type strings, its annotation, its superclass and [`DescEnd`](Self::DescEnd)
    /// follow.
    Desc {
        handle: u32,
        class: u32,
    },
    /// The annotation is over; the superclass follows.
    DescEnd {
        class: u32,
    },
    /// An object, array, enum constant or class object begins: its class descriptor and [`Body`](Self::Body) follow.
    Open(Kind),
    /// The class is known and the handle is assigned: the data and [`Close`](Self::Close) follow.
    Body {
        handle: u32,
        class: u32,
    },
    /// The primitive fields of one class of the object, or the elements of an array.
    Primitives(Span),
    /// A segment of block data.
    Block {
        data: Span,
        long: bool,
    },
    EndBlock,
    Close,
    /// The end, at this offset, of what [`Walker::detour`] went to.
    Returned {
        end: usize,
    },
    /// `TC_EXCEPTION`: everything open has been abandoned and the handles begin anew; the exception follows as a
    /// value of its own.
    Exception,
}

/// What may stand where a value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Value,
    TypeString,
    EnumName,
    Class,
    Superclass,
}

/// What is open, innermost last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame {
    Value,
    DescFields {
        class: u32,
        next: u16,
    },
    DescAnnotation {
        class: u32,
    },
    DescSuper {
        class: u32,
    },
    DescDone {
        class: u32,
    },
    Open {
        kind: Kind,
        start: u32,
    },
    Opened {
        kind: Kind,
        start: u32,
    },
    /// Items before the fields, see [`Layout::Late`].
    Late {
        class: u32,
        left: u8,
    },
    Primitives {
        class: u32,
    },
    Objects {
        class: u32,
        left: u16,
    },
    Annotation,
    Elements {
        left: u32,
    },
    /// The elements of a primitive array.
    Raw {
        len: u32,
    },
    EnumName,
    Close,
    Return {
        pos: usize,
        next: u32,
    },
}

/// A walk over the values of a stream.
///
/// The stream is an argument of every call, so that one walker with its tables serves many streams.
pub(crate) struct Walker<S: Store> {
    pub(crate) pos: usize,
    /// Where the last value began, at its type code.
    pub(crate) at: usize,
    pub(crate) table: Table<S>,
    pub(crate) limits: Limits,
    pub(crate) layouts: S::Layouts,
    /// The next handle: the end of the table, except on a detour.
    pub(super) next: u32,
    pub(super) stack: S::Stack,
    pub(super) depth: usize,
    /// The class that was last read where one is expected.
    pub(super) class: u32,
    /// Whether a class has been met whose layout can be in doubt.
    pub(crate) suspicious: bool,
}

fn byte_at(stream: &[u8], pos: usize) -> Result<u8, JavaError> {
    stream
        .get(pos)
        .copied()
        .ok_or(E::Truncated.at(stream.len()))
}

pub(super) fn span(start: usize, len: usize) -> Span {
    // Streams are shorter than 2 GiB.
    Span {
        start: start as u32,
        len: len as u32,
    }
}

impl<S: Store> core::fmt::Debug for Walker<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Walker")
            .field("pos", &self.pos)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "alloc")]
impl Walker<Heap> {
    pub(crate) fn new(limits: &Limits, layouts: Layouts) -> Self {
        let table = Table {
            entries: alloc::vec::Vec::new(),
            classes: alloc::vec::Vec::new(),
            fields: alloc::vec::Vec::new(),
        };
        Self::with(limits, table, alloc::vec::Vec::new(), layouts)
    }
}

impl<S: Store> Walker<S> {
    /// A walker that keeps what it meets in `table` and `stack`.
    pub(crate) fn with(
        limits: &Limits,
        table: Table<S>,
        stack: S::Stack,
        layouts: S::Layouts,
    ) -> Self {
        Self {
            pos: 0,
            at: 0,
            table,
            limits: *limits,
            layouts,
            next: 0,
            stack,
            depth: 0,
            class: NONE,
            suspicious: false,
        }
    }

    /// Opens something.
    pub(super) fn open_frame(&mut self, frame: Frame) -> Result<(), JavaError> {
        self.stack.push(frame).map_err(|_| E::TooDeep.at(self.pos))
    }

    /// Begins anew at `pos`, with empty tables.
    pub(crate) fn restart(&mut self, pos: usize) {
        self.pos = pos;
        self.reset();
    }

    /// Forgets all handles and everything open.
    pub(crate) fn reset(&mut self) {
        self.table.clear();
        self.next = 0;
        self.stack.truncate(0);
        self.depth = 0;
    }

    /// Goes back to `pos`, where `handles` had been given out, to read once more what follows.
    pub(crate) fn rewind(&mut self, pos: usize, handles: u32) {
        (self.pos, self.next) = (pos, handles);
        self.stack.truncate(0);
        self.depth = 0;
        self.table.truncate(handles);
    }

    /// Expects one value.
    pub(crate) fn expect_value(&mut self) -> Result<(), JavaError> {
        self.open_frame(Frame::Value)
    }

    /// How much is open; 0 when the value is over.
    pub(crate) fn level(&self) -> usize {
        self.stack.len()
    }

    /// The handle that would be assigned next.
    pub(crate) const fn next_handle(&self) -> u32 {
        self.next
    }

    /// Goes back to something met before and then comes back here.
    pub(crate) fn detour(&mut self, handle: u32) -> Result<usize, JavaError> {
        let start = self
            .table
            .entry(handle)
            .ok_or(E::BadHandle(handle).at(self.pos))?
            .start as usize;
        self.open_frame(Frame::Return {
            pos: self.pos,
            next: self.next,
        })?;
        self.open_frame(Frame::Value)?;
        self.next = self.table.first_handle_of(handle);
        self.pos = start;
        Ok(start)
    }

    /// Walks over a whole stream, header included.
    pub(crate) fn walk_stream(&mut self, stream: &[u8]) -> Result<(), JavaError> {
        check_header(stream, &self.limits)?;
        self.restart(4);
        while let Some(&code) = stream.get(self.pos) {
            match code {
                code::BLOCK_DATA | code::BLOCK_DATA_LONG => drop(self.block(stream, code)?),
                code::RESET => self.restart(self.pos + 1),
                _ => {
                    if !self.skip_value(stream)? {
                        // The exception itself; one inside it is more than any writer leaves.
                        if !self.skip_value(stream)? {
                            return Err(E::BadTypeCode(code::EXCEPTION).at(self.pos));
                        }
                        self.reset();
                    }
                }
            }
        }
        Ok(())
    }

    /// Passes over one value; `false` if the writer gave up in it, and an exception follows.
    pub(crate) fn skip_value(&mut self, stream: &[u8]) -> Result<bool, JavaError> {
        self.expect_value()?;
        while !self.stack.is_empty() {
            if self.next(stream)? == Token::Exception {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next item.
    pub(crate) fn next(&mut self, stream: &[u8]) -> Result<Token, JavaError> {
        loop {
            let Some(frame) = self.stack.pop() else {
                return Err(E::End.at(self.pos));
            };
            match frame {
                Frame::Value => return self.value(stream, Role::Value),
                Frame::Elements { left } => {
                    if let Some(left) = left.checked_sub(1) {
                        self.open_frame(Frame::Elements { left })?;
                        return self.value(stream, Role::Value);
                    }
                }
                Frame::Objects { class, left } => match left.checked_sub(1) {
                    Some(left) => {
                        self.open_frame(Frame::Objects { class, left })?;
                        return self.value(stream, Role::Value);
                    }
                    None => self.after_fields(class)?,
                },
                Frame::Primitives { class } => {
                    let info = self.info(class)?;
                    self.open_frame(Frame::Objects {
                        class,
                        left: info.object_fields,
                    })?;
                    if info.primitive_len > 0 {
                        let start = self.pos;
                        self.take(stream, info.primitive_len as usize)?;
                        return Ok(Token::Primitives(Span {
                            start: start as u32,
                            len: info.primitive_len,
                        }));
                    }
                }
                Frame::Late { class, left } => {
                    let Some(left) = left.checked_sub(1) else {
                        self.open_frame(Frame::Primitives { class })?;
                        continue;
                    };
                    self.open_frame(Frame::Late { class, left })?;
                    return match byte_at(stream, self.pos)? {
                        code @ (code::BLOCK_DATA | code::BLOCK_DATA_LONG) => {
                            self.block(stream, code)
                        }
                        _ => self.value(stream, Role::Value),
                    };
                }
                Frame::Annotation | Frame::DescAnnotation { .. } => {
                    match byte_at(stream, self.pos)? {
                        code::END_BLOCK_DATA => {
                            self.pos += 1;
                            if let Frame::DescAnnotation { class } = frame {
                                self.open_frame(Frame::DescSuper { class })?;
                            }
                            return Ok(Token::EndBlock);
                        }
                        code => {
                            self.open_frame(frame)?;
                            return match code {
                                code::BLOCK_DATA | code::BLOCK_DATA_LONG => {
                                    self.block(stream, code)
                                }
                                _ => self.value(stream, Role::Value),
                            };
                        }
                    }
                }
                Frame::Raw { len } => {
                    let start = self.pos;
                    self.take(stream, len as usize)?;
                    return Ok(Token::Primitives(Span {
                        start: start as u32,
                        len,
                    }));
                }
                Frame::Close => {
                    self.depth -= 1;
                    return Ok(Token::Close);
                }
                Frame::Open { kind, start } => {
                    self.open_frame(Frame::Opened { kind, start })?;
                    return self.value(stream, Role::Class);
                }
                Frame::Opened { kind, start } => return self.opened(stream, kind, start),
                Frame::EnumName => return self.value(stream, Role::EnumName),
                Frame::DescFields { class, next } => {
                    if let Some(token) = self.desc_fields(stream, class, next)? {
                        return Ok(token);
                    }
                }
                Frame::DescSuper { class } => {
                    self.open_frame(Frame::DescDone { class })?;
                    return self.value(stream, Role::Superclass);
                }
                Frame::DescDone { class } => return self.desc_done(stream, class),
                Frame::Return { pos, next } => {
                    let end = self.pos;
                    (self.pos, self.next) = (pos, next);
                    return Ok(Token::Returned { end });
                }
            }
        }
    }

    pub(super) fn info(&self, class: u32) -> Result<Class, JavaError> {
        self.table
            .class(class)
            .copied()
            .ok_or(E::BadDescriptor.at(self.pos))
    }

    fn take<'s>(&mut self, stream: &'s [u8], len: usize) -> Result<&'s [u8], JavaError> {
        let rest = stream.get(self.pos..).unwrap_or_default();
        let bytes = rest.get(..len).ok_or(E::Truncated.at(stream.len()))?;
        self.pos += len;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, stream: &[u8]) -> Result<[u8; N], JavaError> {
        let rest = stream.get(self.pos..).unwrap_or_default();
        let bytes = rest
            .first_chunk::<N>()
            .ok_or(E::Truncated.at(stream.len()))?;
        self.pos += N;
        Ok(*bytes)
    }

    pub(super) fn u16(&mut self, stream: &[u8]) -> Result<u16, JavaError> {
        self.array(stream).map(u16::from_be_bytes)
    }

    /// A count or length: not negative, and no more than the rest of the stream could hold.
    pub(super) fn count(&mut self, stream: &[u8]) -> Result<usize, JavaError> {
        let at = self.pos;
        let count = i32::from_be_bytes(self.array(stream)?);
        usize::try_from(count).map_err(|_| E::NegativeLength.at(at))
    }

    /// A segment of block data, at its type code.
    pub(crate) fn block(&mut self, stream: &[u8], code: u8) -> Result<Token, JavaError> {
        self.pos += 1;
        let long = code == code::BLOCK_DATA_LONG;
        let len = if long {
            self.count(stream)?
        } else {
            usize::from(self.array::<1>(stream)?[0])
        };
        let start = self.pos;
        self.take(stream, len)?;
        Ok(Token::Block {
            data: span(start, len),
            long,
        })
    }

    /// Gives out a handle. On a detour it has been given out before.
    pub(super) fn define(
        &mut self,
        kind: Kind,
        start: usize,
        body: usize,
        class: u32,
    ) -> Result<u32, JavaError> {
        let handle = self.next;
        if handle as usize == self.table.entries.len() {
            if self.table.entries.len() >= self.limits.objects {
                return Err(E::TooManyObjects.at(start));
            }
            let entry = Entry {
                kind,
                start: start as u32,
                body: body as u32,
                class,
                mark: (0, 0),
            };
            let entered = self.table.entries.push(entry);
            entered.map_err(|_| E::TooManyObjects.at(start))?;
        }
        self.next += 1;
        Ok(handle)
    }

    pub(super) fn deeper(&mut self) -> Result<(), JavaError> {
        if self.depth >= self.limits.depth {
            return Err(E::TooDeep.at(self.pos));
        }
        self.depth += 1;
        Ok(())
    }

    /// A value at its type code.
    pub(super) fn value(&mut self, stream: &[u8], role: Role) -> Result<Token, JavaError> {
        let start = self.pos;
        self.at = start;
        let code = byte_at(stream, start)?;
        self.pos += 1;
        let wrong = Err(E::BadTypeCode(code).at(start));
        match (code, role) {
            (code::NULL, Role::Value) => Ok(Token::Null),
            (code::NULL, Role::Superclass) => {
                self.class = NONE;
                Ok(Token::Null)
            }
            (code::REFERENCE, _) => self.reference(stream, role),
            (code::CLASS_DESC, Role::Value | Role::Class | Role::Superclass) => {
                self.desc(stream, start)
            }
            (code::PROXY_CLASS_DESC, Role::Value | Role::Class | Role::Superclass) => {
                self.proxy_desc(stream, start)
            }
            (code::STRING | code::LONG_STRING, Role::Value | Role::TypeString | Role::EnumName) => {
                self.string(
                    stream,
                    start,
                    code == code::LONG_STRING,
                    role == Role::TypeString,
                )
            }
            (code::OBJECT, Role::Value) => self.open(Kind::Object, start),
            (code::ARRAY, Role::Value) => self.open(Kind::Array, start),
            (code::ENUM, Role::Value) => self.open(Kind::Enum, start),
            (code::CLASS, Role::Value) => self.open(Kind::Class, start),
            (code::EXCEPTION, Role::Value) => {
                self.reset();
                Ok(Token::Exception)
            }
            _ => wrong,
        }
    }

    fn open(&mut self, kind: Kind, start: usize) -> Result<Token, JavaError> {
        self.deeper()?;
        self.open_frame(Frame::Open {
            kind,
            start: start as u32,
        })?;
        Ok(Token::Open(kind))
    }

    fn reference(&mut self, stream: &[u8], role: Role) -> Result<Token, JavaError> {
        let at = self.pos;
        let wire = u32::from_be_bytes(self.array(stream)?);
        let wrong = E::BadHandle(wire).at(at);
        let handle = wire
            .checked_sub(code::BASE_HANDLE)
            .filter(|&handle| handle < self.next)
            .ok_or(wrong)?;
        let entry = self.table.entry(handle).ok_or(wrong)?;
        match (role, entry.kind) {
            (Role::Value, _) | (Role::TypeString | Role::EnumName, Kind::String) => {}
            (Role::Class | Role::Superclass, Kind::ClassDesc) => self.class = entry.class,
            _ => return Err(wrong),
        }
        Ok(Token::Reference {
            handle,
            type_string: role == Role::TypeString,
        })
    }

    fn string(
        &mut self,
        stream: &[u8],
        start: usize,
        long: bool,
        type_string: bool,
    ) -> Result<Token, JavaError> {
        let len = if long {
            let len = i64::from_be_bytes(self.array(stream)?);
            usize::try_from(len).map_err(|_| E::NegativeLength.at(start))?
        } else {
            usize::from(self.u16(stream)?)
        };
        let body = self.pos;
        let text = self.text(stream, len)?;
        let handle = self.define(Kind::String, start, body, text.len)?;
        Ok(Token::String {
            handle,
            text,
            long,
            type_string,
        })
    }

    /// `len` bytes of modified UTF-8.
    pub(super) fn text(&mut self, stream: &[u8], len: usize) -> Result<Span, JavaError> {
        let start = self.pos;
        if len > self.limits.string_bytes {
            return Err(E::StringTooLong.at(start));
        }
        if !is_modified_utf8(self.take(stream, len)?) {
            return Err(E::BadText.at(start));
        }
        Ok(span(start, len))
    }

    pub(super) fn utf(&mut self, stream: &[u8]) -> Result<Span, JavaError> {
        let len = usize::from(self.u16(stream)?);
        self.text(stream, len)
    }
}

/// Whether `stream` begins as one, and is no longer than allowed.
pub(crate) fn check_header(stream: &[u8], limits: &Limits) -> Result<(), JavaError> {
    if stream.len() > limits.total_bytes.min(i32::MAX as usize) {
        return Err(E::StreamTooLong.at(limits.total_bytes));
    }
    match stream.first_chunk() {
        Some(&super::STREAM_HEADER) => Ok(()),
        Some(_) => Err(E::BadHeader.at(0)),
        None => Err(E::Truncated.at(stream.len())),
    }
}
