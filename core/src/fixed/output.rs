//! Writing a Java object stream into a block of memory: `ObjectOutputStream` without a heap.
//!
//! Unlike [`ObjectOutput`](crate::java) it shares no class descriptor between values, and ends a segment of block data
//! after 255 bytes: longer streams that a Java reader takes for the same.

use crate::java::places::{Walk, copy_into};
use crate::java::{begin, code};
use crate::wire::{Full, Sink};

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Out<'b> {
    bytes: &'b mut [u8],
    pub(super) len: usize,
}

impl<'b> Out<'b> {
    pub(super) const fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Bytes that still fit.
    pub(super) const fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.len)
    }

    /// Writes the four bytes at `at` once more.
    pub(super) fn patch(&mut self, at: usize, value: u32) {
        let place = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
        if let Some(place) = place {
            *place = value.to_be_bytes();
        }
    }
}

impl Sink for Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let free = self.bytes.get_mut(self.len..).ok_or(Full)?;
        free.get_mut(..bytes.len())
            .ok_or(Full)?
            .copy_from_slice(bytes);
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }
}

/// A stream on its way into an [`Out`].
#[derive(Debug)]
pub(super) struct JavaOut<'o, 'b, 'w, 'm> {
    pub(super) out: &'o mut Out<'b>,
    walk: &'w mut Walk<'m>,
    /// Where the length of the segment that is open stands.
    block: Option<usize>,
    next: u32,
    long: Option<u32>,
    integer: Option<u32>,
    boolean: Option<u32>,
}

/// Where a stream can be cut back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    len: usize,
    next: u32,
    classes: [Option<u32>; 3],
}

impl<'o, 'b, 'w, 'm> JavaOut<'o, 'b, 'w, 'm> {
    /// Begins a stream.
    pub(super) fn new(out: &'o mut Out<'b>, walk: &'w mut Walk<'m>) -> Result<Self, Full> {
        out.put(&begin::STREAM_HEADER)?;
        Ok(Self {
            out,
            walk,
            block: None,
            next: 0,
            long: None,
            integer: None,
            boolean: None,
        })
    }

    /// Where the stream is, between two objects.
    pub(super) const fn mark(&self) -> Mark {
        Mark {
            len: self.out.len,
            next: self.next,
            classes: [self.long, self.integer, self.boolean],
        }
    }

    /// Takes back what has been written since.
    pub(super) const fn back_to(&mut self, mark: Mark) {
        self.out.len = mark.len;
        self.next = mark.next;
        [self.long, self.integer, self.boolean] = mark.classes;
        self.block = None;
    }

    /// `write(byte[])`.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), Full> {
        for byte in bytes {
            let open = self.block.and_then(|at| self.out.bytes.get_mut(at));
            match open.filter(|len| **len < u8::MAX) {
                Some(len) => *len = len.saturating_add(1),
                None => {
                    self.block = Some(self.out.len.saturating_add(1));
                    self.out.put(&[code::BLOCK_DATA, 1])?;
                }
            }
            self.out.put_u8(*byte)?;
        }
        Ok(())
    }

    /// `writeUTF`.
    pub(super) fn utf(&mut self, text: &[u8]) -> Result<(), Full> {
        let len = u16::try_from(text.len()).map_err(|_| Full)?;
        self.data(&len.to_be_bytes())?;
        self.data(text)
    }

    pub(super) fn null(&mut self) -> Result<(), Full> {
        self.block = None;
        self.out.put_u8(code::NULL)
    }

    pub(super) fn string(&mut self, text: &[u8]) -> Result<(), Full> {
        self.block = None;
        self.next = self.next.saturating_add(1);
        self.out.put_u8(code::STRING)?;
        let len = u16::try_from(text.len()).map_err(|_| Full)?;
        self.out.put(&len.to_be_bytes())?;
        self.out.put(text)
    }

    pub(super) fn long(&mut self, value: i64) -> Result<(), Full> {
        self.long = self.boxed(self.long, begin::LONG, 3, &value.to_be_bytes())?;
        Ok(())
    }

    pub(super) fn integer(&mut self, value: i32) -> Result<(), Full> {
        self.integer = self.boxed(self.integer, begin::INTEGER, 3, &value.to_be_bytes())?;
        Ok(())
    }

    pub(super) fn boolean(&mut self, value: bool) -> Result<(), Full> {
        self.boolean = self.boxed(self.boolean, begin::BOOLEAN, 2, &[u8::from(value)])?;
        Ok(())
    }

    /// A boxed value; gives the handle of its class, whose description takes all `handles` but one.
    fn boxed(
        &mut self,
        class: Option<u32>,
        begin: &[u8],
        handles: u32,
        value: &[u8],
    ) -> Result<Option<u32>, Full> {
        self.block = None;
        let described = match class {
            Some(class) => {
                self.out.put(&[code::OBJECT, code::REFERENCE])?;
                self.out.put_u32(code::BASE_HANDLE.saturating_add(class))?;
                self.next = self.next.saturating_add(1);
                class
            }
            None => {
                let class = self.next;
                self.out.put(begin)?;
                self.next = self.next.saturating_add(handles);
                class
            }
        };
        self.out.put(value)?;
        Ok(Some(described))
    }

    /// `writeObject` of a value that is a stream of its own.
    pub(super) fn object(&mut self, stream: &[u8]) -> Result<(), Full> {
        self.block = None;
        self.next = copy_into(self.walk, stream, self.out, self.next)?;
        Ok(())
    }
}
