//! `ObjectOutputStream`: a stream's items one by one.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes};

use super::begin::{self, STREAM_HEADER};
use super::copy::{Copied, copy_value};
use super::encode::{NodeTarget, put_block};
use super::irregular::{self, Layouts};
use super::leaf::{Leaf, Leaves};
use super::shared::Shared;
use super::store::Heap;
use super::token::Walker;
use super::{Graph, JavaBytes, JavaError, JavaErrorKind as E, JavaString, Limits, Slot, code};

/// The size of a full segment of block data (`MAX_BLOCK_SIZE`).
const BLOCK_MAX: usize = 1024;

/// A Java object stream that is written item by item, as `ObjectOutputStream` writes it: primitives into block data
/// segments of 1024 bytes, class descriptors and the strings of their field types once.
pub struct ObjectOutput {
    out: Vec<u8>,
    /// Block data that still lacks its header.
    block: Vec<u8>,
    shared: Shared,
    leaves: Leaves,
    /// For walking over values that are written.
    walker: Walker<Heap>,
    epoch: u32,
    /// The handles of the descriptors of `Long`, `Integer` and `Boolean`, once written.
    long: Option<u32>,
    integer: Option<u32>,
    boolean: Option<u32>,
}

impl Default for ObjectOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ObjectOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOutput")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl ObjectOutput {
    /// Begins a stream.
    pub fn new() -> Self {
        Self::with_capacity(256)
    }

    /// Begins a stream with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::within(Vec::with_capacity(capacity))
    }

    /// Begins a stream behind what is in `out` already.
    pub(crate) fn within(mut out: Vec<u8>) -> Self {
        out.put_slice(&STREAM_HEADER);
        Self {
            out,
            block: Vec::new(),
            shared: Shared::default(),
            leaves: Leaves::default(),
            walker: Walker::new(&Limits::UNLIMITED, Layouts::default()),
            epoch: 0,
            long: None,
            integer: None,
            boolean: None,
        }
    }

    /// `writeBoolean`.
    pub fn write_bool(&mut self, value: bool) {
        self.write_bytes(&[u8::from(value)]);
    }

    /// `writeByte`.
    pub fn write_i8(&mut self, value: i8) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeInt`.
    pub fn write_i32(&mut self, value: i32) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeLong`.
    pub fn write_i64(&mut self, value: i64) {
        self.write_bytes(&value.to_be_bytes());
    }

    /// `writeUTF`.
    ///
    /// # Errors
    ///
    /// If the text has more than 65 535 encoded bytes; then nothing has been written.
    pub fn write_utf(&mut self, text: &JavaString) -> Result<(), JavaError> {
        let len = u16::try_from(text.encoded_len()).map_err(|_| E::TextTooLong.at(self.len()))?;
        self.write_bytes(&len.to_be_bytes());
        self.write_bytes(text.as_modified_utf8());
        Ok(())
    }

    /// `write(byte[])`: bytes without a length.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.len() >= BLOCK_MAX {
                self.end_block();
            }
            let room = (BLOCK_MAX - self.block.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Writes what has been gathered as one segment.
    fn end_block(&mut self) {
        if !self.block.is_empty() {
            put_block(&mut self.out, &self.block, false);
            self.block.clear();
        }
    }

    /// `writeObject(null)`.
    pub fn write_null(&mut self) {
        self.end_block();
        self.out.put_u8(code::NULL);
    }

    /// `writeObject` of a value. What has a class this stream already described refers back to the description; a
    /// boxed value refers back to an equal one where Java's `valueOf` gives the same instance.
    ///
    /// # Errors
    ///
    /// If `value` cannot be read, which a value made or checked by this crate always can; then nothing has been
    /// written.
    pub fn write_object(&mut self, value: &JavaBytes) -> Result<(), JavaError> {
        let body = value.body();
        match body.first() {
            None => return Err(E::Truncated.at(0)),
            Some(&code::NULL) => {
                self.write_null();
                return Ok(());
            }
            Some(&(code::STRING | code::LONG_STRING)) => {
                self.end_block();
                self.shared.take_handle();
                self.out.extend_from_slice(body);
                return Ok(());
            }
            Some(_) => {}
        }
        let cached = cached_box(body);
        if let Some(handle) = cached.and_then(|cached| self.shared.boxes.get(&cached).copied()) {
            self.refer(handle);
            return Ok(());
        }
        if !self.write_leaf(body) {
            self.embed(value.as_bytes())?;
            self.leaves.learn(&mut self.shared, body);
        }
        if let Some(cached) = cached {
            self.shared.boxes.insert(cached, self.shared.next - 1);
        }
        Ok(())
    }

    /// Writes a boxed value or a byte array, unless what stands before it demands more care.
    fn write_leaf(&mut self, body: &[u8]) -> bool {
        let Some(leaf) = self.leaves.write(&self.shared, body, self.shared.next) else {
            return false;
        };
        self.end_block();
        match leaf {
            Leaf::Whole(handles) => {
                self.out.extend_from_slice(body);
                self.shared.next += handles;
            }
            Leaf::Again(code, class, value) => {
                self.out.put_u8(code);
                self.refer(class);
                self.out.extend_from_slice(value);
                self.shared.take_handle();
            }
        }
        true
    }

    /// `writeObject` of a node of a graph: what this stream already has of the same graph becomes a reference, as
    /// Java does with the same instance.
    pub fn write_node(&mut self, graph: &Graph, value: Slot) {
        self.end_block();
        self.leaves.settle(&mut self.shared);
        match value.and_then(|node| NodeTarget::known(&mut self.shared, graph, node)) {
            Some(handle) => self.refer(handle),
            None => graph.emit(value, &mut self.out, &mut self.shared),
        }
    }

    /// `writeObject` of a new string.
    pub fn write_string(&mut self, text: &JavaString) {
        self.end_block();
        self.shared.take_handle();
        put_string(&mut self.out, text.as_modified_utf8());
    }

    /// `writeObject(Long.valueOf(value))`.
    pub fn write_long_object(&mut self, value: i64) {
        let cached = small(value).map(|small| (b'J', small));
        self.long = self.write_box(cached, self.long, begin::LONG, &value.to_be_bytes());
    }

    /// `writeObject(Integer.valueOf(value))`.
    pub fn write_integer_object(&mut self, value: i32) {
        let cached = small(i64::from(value)).map(|small| (b'I', small));
        self.integer = self.write_box(cached, self.integer, begin::INTEGER, &value.to_be_bytes());
    }

    /// `writeObject(Boolean.valueOf(value))`.
    pub fn write_boolean_object(&mut self, value: bool) {
        let cached = Some((b'Z', i16::from(value)));
        self.boolean = self.write_box(cached, self.boolean, begin::BOOLEAN, &[u8::from(value)]);
    }

    /// Writes a boxed value whose class descriptor has the handle `class`, if it has been written; gives that handle.
    fn write_box(
        &mut self,
        cached: Option<(u8, i16)>,
        class: Option<u32>,
        begin: &[u8],
        value: &[u8],
    ) -> Option<u32> {
        self.end_block();
        if let Some(handle) = cached.and_then(|cached| self.shared.boxes.get(&cached).copied()) {
            self.refer(handle);
            return class;
        }
        let class = match class {
            Some(class) => {
                self.out.put_u8(code::OBJECT);
                self.refer(class);
                self.out.extend_from_slice(value);
                self.shared.take_handle();
                Some(class)
            }
            None => {
                let mut stream = heapless::Vec::<u8, 96>::new();
                for part in [STREAM_HEADER.as_slice(), begin, value] {
                    // The longest is 84 bytes.
                    stream.extend_from_slice(part).ok()?;
                }
                self.embed(&stream).ok()?;
                self.walker.table.entry(0).map(|class| class.mark.1)
            }
        };
        if let Some(cached) = cached {
            self.shared.boxes.insert(cached, self.shared.next - 1);
        }
        class
    }

    /// A type code by itself.
    pub(super) fn put_code(&mut self, code: u8) {
        self.end_block();
        self.out.put_u8(code);
    }

    /// What was begun takes the next handle.
    pub(super) fn skip_handle(&mut self) {
        self.shared.take_handle();
    }

    fn refer(&mut self, handle: u32) {
        self.end_block();
        self.out.put_u8(code::REFERENCE);
        self.out.put_u32(code::BASE_HANDLE.saturating_add(handle));
    }

    /// Copies the one value of `stream`.
    fn embed(&mut self, stream: &[u8]) -> Result<(), JavaError> {
        self.end_block();
        self.leaves.settle(&mut self.shared);
        let (start, handles) = (self.out.len(), self.shared.next);
        let mut copied = self.try_embed(stream);
        if copied.is_err() && self.walker.suspicious {
            self.take_back(start, handles);
            if let Ok(layouts) = irregular::resolve(stream, &Limits::UNLIMITED, &Layouts::default())
            {
                self.walker.layouts = layouts;
                copied = self.try_embed(stream);
                self.walker.layouts = Layouts::default();
            }
        }
        copied.inspect_err(|_| self.take_back(start, handles))
    }

    /// Undoes what has been written of a value that began at `start` with the handle `handles`.
    fn take_back(&mut self, start: usize, handles: u32) {
        self.out.truncate(start);
        self.shared.next = handles;
        self.shared.forget_from(handles);
    }

    fn try_embed(&mut self, stream: &[u8]) -> Result<(), JavaError> {
        self.walker.restart(STREAM_HEADER.len());
        self.walker.suspicious = false;
        self.epoch += 1;
        match copy_value(
            &mut self.walker,
            stream,
            &mut self.out,
            &mut self.shared,
            self.epoch,
            usize::MAX,
        )? {
            Copied::Aborted => Err(E::WriteAborted.at(self.walker.pos)),
            Copied::Whole | Copied::InPlace(_) if self.walker.pos < stream.len() => {
                Err(E::Trailing.at(self.walker.pos))
            }
            Copied::Whole | Copied::InPlace(_) => Ok(()),
        }
    }

    /// `reset`: nothing that follows refers back to what stands before.
    pub fn reset(&mut self) {
        self.end_block();
        self.out.put_u8(code::RESET);
        self.shared.clear();
        self.leaves.clear();
        (self.long, self.integer, self.boolean) = (None, None, None);
    }

    /// How long the stream is so far.
    pub fn len(&self) -> usize {
        let header = match self.block.len() {
            0 => 0,
            1..=255 => 2,
            _ => 5,
        };
        self.out.len() + header + self.block.len()
    }

    /// Whether nothing but the header has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == STREAM_HEADER.len()
    }

    /// Begins another stream with the memory of this one.
    pub fn restart(&mut self) {
        self.out.clear();
        self.out.put_slice(&STREAM_HEADER);
        self.block.clear();
        self.shared.clear();
        self.leaves.clear();
        (self.long, self.integer, self.boolean) = (None, None, None);
    }

    /// The whole stream, if nothing else is to be written.
    pub fn finished(&mut self) -> &[u8] {
        self.end_block();
        &self.out
    }

    /// The stream, and what was there before it began.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.end_block();
        self.out
    }

    /// The whole stream.
    pub fn finish(mut self) -> Bytes {
        self.end_block();
        self.out.into()
    }
}

/// A number in the range of the caches of `valueOf`.
fn small(value: i64) -> Option<i16> {
    (-128..=127).contains(&value).then_some(value as i16)
}

/// A boxed value for which `valueOf` always gives the same instance: its field type and value.
fn cached_box(body: &[u8]) -> Option<(u8, i16)> {
    let after = |begin: &[u8]| body.strip_prefix(begin);
    // The lengths of all boxed values differ, so one comparison is enough.
    let (code, value) = match body.len() {
        43 => (b'Z', i64::from(*after(begin::BOOLEAN)?.first()?)),
        46 => (
            b'C',
            i64::from(u16::from_be_bytes(
                after(begin::CHARACTER)?.try_into().ok()?,
            )),
        ),
        71 => (b'B', i64::from(*after(begin::BYTE)?.first()? as i8)),
        73 => (
            b'S',
            i64::from(i16::from_be_bytes(after(begin::SHORT)?.try_into().ok()?)),
        ),
        77 => (
            b'I',
            i64::from(i32::from_be_bytes(after(begin::INTEGER)?.try_into().ok()?)),
        ),
        78 => (
            b'J',
            i64::from_be_bytes(after(begin::LONG)?.try_into().ok()?),
        ),
        _ => return None,
    };
    small(value).map(|small| (code, small))
}

/// A string object: the short form if it fits.
pub(crate) fn put_string(out: &mut impl BufMut, text: &[u8]) {
    match u16::try_from(text.len()) {
        Ok(len) => {
            out.put_u8(code::STRING);
            out.put_u16(len);
        }
        Err(_) => {
            out.put_u8(code::LONG_STRING);
            out.put_u64(text.len() as u64);
        }
    }
    out.put_slice(text);
}
