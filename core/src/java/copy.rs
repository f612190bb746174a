//! Moving one value from a stream into another: the bytes stay, the handles change.
//!
//! A value may refer back to what stands before it in its stream; in the copy the first such reference becomes the
//! thing itself. And what the target already has (a class descriptor, a type string) becomes a reference.

use super::code;
use super::store::Store;
use super::table::Kind;
use super::token::{Token, Walker};
use super::{JavaError, JavaErrorKind as E};
use crate::wire::Sink;

/// The stream a value is copied into.
pub(crate) trait Target<S: Store> {
    /// The handle of an equal class descriptor, if the stream has one.
    fn known_class(&mut self, walker: &Walker<S>, source: &[u8], class: u32) -> Option<u32>;
    /// The handle of an equal type string, if the stream has one.
    fn known_type_string(&mut self, text: &[u8]) -> Option<u32>;
    /// A class descriptor has been written and got this handle.
    fn class_written(&mut self, walker: &Walker<S>, source: &[u8], class: u32, handle: u32);
    /// A type string has been written and got this handle.
    fn type_string_written(&mut self, text: &[u8], handle: u32);
    /// The next handle, which is now taken.
    fn assign(&mut self) -> u32;
    /// Whether descriptors are to be looked up at all.
    const SHARES: bool;
}

/// A stream of its own for one value: there is nothing in it to share.
pub(crate) struct Fresh(pub(crate) u32);

impl<S: Store> Target<S> for Fresh {
    const SHARES: bool = false;

    fn known_class(&mut self, _: &Walker<S>, _: &[u8], _: u32) -> Option<u32> {
        None
    }

    fn known_type_string(&mut self, _: &[u8]) -> Option<u32> {
        None
    }

    fn class_written(&mut self, _: &Walker<S>, _: &[u8], _: u32, _: u32) {}

    fn type_string_written(&mut self, _: &[u8], _: u32) {}

    fn assign(&mut self) -> u32 {
        self.0 += 1;
        self.0 - 1
    }
}

/// What is walked over without being copied, until the walk is back at `level`.
enum Muted {
    /// It has been written before: a reference stands in its place.
    Written { level: usize },
    /// A class descriptor: to be looked up once it is whole.
    Class { level: usize, handle: u32 },
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// The value is in the target.
    Whole,
    /// The value lies in the source as it would in a target of its own, from this offset to the walker's position; nothing
    /// has been written. From [`copy_in_place`] only.
    InPlace(usize),
    /// The writer gave up inside the value; its exception follows, and the target has half a value.
    Aborted,
}

/// A copy under way.
struct Copy<'c, T, S: Store, O> {
    walker: &'c mut Walker<S>,
    source: &'c [u8],
    out: &'c mut O,
    /// Bytes written.
    written: usize,
    target: &'c mut T,
    /// The number of this copy, different from all before it with the same tables.
    epoch: u32,
    /// Up to here the source has been dealt with.
    done: usize,
    /// How many bytes may be written.
    out_max: usize,
    /// What needs no change need not be written.
    in_place: bool,
}

/// Copies the value at the walker's position to the end of `out`, which takes at most `out_max` bytes more.
pub(crate) fn copy_value<T: Target<S>, S: Store, O: Sink>(
    walker: &mut Walker<S>,
    source: &[u8],
    out: &mut O,
    target: &mut T,
    epoch: u32,
    out_max: usize,
) -> Result<Copied, JavaError> {
    walker.expect_value()?;
    let done = walker.pos;
    Copy {
        walker,
        source,
        out,
        written: 0,
        target,
        epoch,
        done,
        out_max,
        in_place: false,
    }
    .run()
}

/// As [`copy_value`] into a stream of the value's own, but a value that needs no change is left where it lies.
pub(crate) fn copy_in_place<S: Store, O: Sink>(
    walker: &mut Walker<S>,
    source: &[u8],
    out: &mut O,
    epoch: u32,
    out_max: usize,
) -> Result<Copied, JavaError> {
    walker.expect_value()?;
    let done = walker.pos;
    Copy {
        walker,
        source,
        out,
        written: 0,
        target: &mut Fresh(0),
        epoch,
        done,
        out_max,
        in_place: true,
    }
    .run()
}

impl<T: Target<S>, S: Store, O: Sink> Copy<'_, T, S, O> {
    fn run(&mut self) -> Result<Copied, JavaError> {
        let start = self.done;
        let mut muted = None;
        while self.walker.level() > 0 {
            let token = self.walker.next(self.source)?;
            if token == Token::Exception {
                return Ok(Copied::Aborted);
            }
            let now = match muted.take() {
                None => self.take(token)?,
                still => still,
            };
            muted = match now {
                Some(Muted::Written { level }) if self.walker.level() <= level => {
                    self.done = self.walker.pos;
                    None
                }
                Some(Muted::Class { level, handle }) if self.walker.level() <= level => {
                    self.class_is_whole(handle)?;
                    None
                }
                now => now,
            };
        }
        if self.in_place && self.written == 0 && self.done == start {
            return Ok(Copied::InPlace(start));
        }
        self.flush(self.walker.pos)?;
        Ok(Copied::Whole)
    }

    /// Copies what has not been dealt with, up to `end`.
    fn flush(&mut self, end: usize) -> Result<(), JavaError> {
        let bytes = self.source.get(self.done..end).unwrap_or_default();
        self.put(bytes)?;
        self.done = end;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), JavaError> {
        let too_long = E::StreamTooLong.at(self.done);
        if bytes.len() > self.out_max.saturating_sub(self.written) {
            return Err(too_long);
        }
        self.out.put(bytes).map_err(|_| too_long)?;
        self.written = self.written.saturating_add(bytes.len());
        Ok(())
    }

    /// Copies up to `at` and puts a reference to the target's `handle` in place of what stands there.
    fn refer(&mut self, at: usize, handle: u32) -> Result<(), JavaError> {
        self.flush(at)?;
        let [a, b, c, d] = code::BASE_HANDLE.saturating_add(handle).to_be_bytes();
        self.put(&[code::REFERENCE, a, b, c, d])?;
        self.done = self.walker.pos;
        Ok(())
    }

    fn mark(&mut self, handle: u32, written: u32) {
        if let Some(entry) = self.walker.table.entries.get_mut(handle as usize) {
            entry.mark = (self.epoch, written);
        }
    }

    /// The target's handle for `handle`, if this copy has written it.
    fn written(&self, handle: u32) -> Option<u32> {
        let (epoch, written) = self.walker.table.entry(handle)?.mark;
        (epoch == self.epoch).then_some(written)
    }

    fn assign(&mut self, handle: u32) -> u32 {
        let written = self.target.assign();
        self.mark(handle, written);
        written
    }

    /// An item that belongs into the target; says what is to be passed over after it.
    fn take(&mut self, token: Token) -> Result<Option<Muted>, JavaError> {
        let at = self.walker.at;
        match token {
            Token::Reference {
                handle,
                type_string,
            } => self.reference(handle, type_string, at)?,
            Token::String {
                handle,
                type_string,
                ..
            } => {
                if let Some(written) = self.written(handle) {
                    self.refer(at, written)?;
                } else if type_string && T::SHARES {
                    self.type_string(handle, at)?;
                } else {
                    self.assign(handle);
                }
            }
            Token::Desc { handle, class } => return self.desc(handle, class, at),
            Token::DescEnd { class } if T::SHARES => {
                if let Some(written) = self
                    .walker
                    .table
                    .class(class)
                    .and_then(|class| self.written(class.handle))
                {
                    self.target
                        .class_written(self.walker, self.source, class, written);
                }
            }
            Token::Open(_) => {
                // On a detour this may be something that the copy already has.
                let handle = self.walker.table.handle_at(at, self.walker.next_handle());
                if let Some(written) = handle.and_then(|handle| self.written(handle)) {
                    self.refer(at, written)?;
                    return Ok(Some(Muted::Written {
                        level: self.walker.level() - 1,
                    }));
                }
            }
            Token::Body { handle, .. } => {
                self.assign(handle);
            }
            Token::Returned { end } => {
                self.flush(end)?;
                self.done = self.walker.pos;
            }
            Token::DescEnd { .. }
            | Token::Null
            | Token::Primitives(_)
            | Token::Block { .. }
            | Token::EndBlock
            | Token::Close
            | Token::Exception => {}
        }
        Ok(None)
    }

    fn reference(&mut self, handle: u32, type_string: bool, at: usize) -> Result<(), JavaError> {
        if let Some(written) = self.written(handle) {
            return self.refer(at, written);
        }
        if T::SHARES {
            let text = self.walker.table.text(handle, self.source);
            let known = match text.filter(|_| type_string) {
                Some(text) => self.target.known_type_string(text),
                None => self.known_class(handle),
            };
            if let Some(written) = known {
                self.mark(handle, written);
                return self.refer(at, written);
            }
        }
        self.flush(at)?;
        self.done = self.walker.detour(handle)?;
        Ok(())
    }

    fn type_string(&mut self, handle: u32, at: usize) -> Result<(), JavaError> {
        let text = self
            .walker
            .table
            .text(handle, self.source)
            .unwrap_or_default();
        if let Some(written) = self.target.known_type_string(text) {
            self.mark(handle, written);
            return self.refer(at, written);
        }
        let written = self.assign(handle);
        self.target.type_string_written(text, written);
        Ok(())
    }

    /// A class descriptor in full.
    fn desc(&mut self, handle: u32, class: u32, at: usize) -> Result<Option<Muted>, JavaError> {
        let level = self.walker.level() - 1;
        if let Some(written) = self.written(handle) {
            self.refer(at, written)?;
            return Ok(Some(Muted::Written { level }));
        }
        if T::SHARES {
            if !self
                .walker
                .table
                .class(class)
                .is_some_and(|class| class.complete)
            {
                self.flush(at)?;
                return Ok(Some(Muted::Class { level, handle }));
            }
            if let Some(written) = self.known_class(handle) {
                self.mark(handle, written);
                self.refer(at, written)?;
                return Ok(Some(Muted::Written { level }));
            }
        }
        self.assign(handle);
        Ok(None)
    }

    fn known_class(&mut self, handle: u32) -> Option<u32> {
        let entry = self
            .walker
            .table
            .entry(handle)
            .filter(|entry| entry.kind == Kind::ClassDesc)?;
        let class = entry.class;
        self.target.known_class(self.walker, self.source, class)
    }

    /// A class descriptor has been walked over and can be looked up.
    fn class_is_whole(&mut self, handle: u32) -> Result<(), JavaError> {
        if let Some(written) = self.known_class(handle) {
            self.mark(handle, written);
            return self.refer(self.done, written);
        }
        self.done = self.walker.detour(handle)?;
        Ok(())
    }
}
