//! The payload of a state transfer: a number of sessions in one stream.

use alloc::vec::Vec;

use crate::java::{InputMemory, JavaError, JavaErrorKind, Limits, ObjectInput, ObjectOutput};

use super::SessionRecord;
use super::record::Names;

/// Reads the payload of an [`AllSessionData`](super::EventType::AllSessionData) message session by session.
/// `DeltaManager.deserializeSessions`.
///
/// Layout: an `Integer` with the number of sessions, then as many [`SessionRecord`]s in the same stream.
pub struct StateReader<'a> {
    input: ObjectInput<'a>,
    left: i32,
    names: Names,
}

impl<'a> StateReader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// If the stream does not begin with a number of sessions.
    pub fn new(stream: &'a [u8], limits: &Limits) -> Result<Self, JavaError> {
        Self::with_memory(stream, limits, &mut InputMemory::default())
    }

    fn with_memory(
        stream: &'a [u8],
        limits: &Limits,
        memory: &mut InputMemory,
    ) -> Result<Self, JavaError> {
        let mut input = ObjectInput::with_memory(stream, limits, memory)?;
        let names = Names::default();
        let left = input.read_integer_object()?;
        match left {
            Some(left @ 0..) => Ok(Self { input, left, names }),
            Some(_) => Err(JavaErrorKind::NegativeLength.at(input.offset())),
            None => Err(JavaErrorKind::WrongClass.at(input.offset())),
        }
    }

    /// Sessions not read yet, as announced.
    pub fn remaining(&self) -> usize {
        usize::try_from(self.left).unwrap_or_default()
    }

    /// The next session; `None` after the last.
    ///
    /// # Errors
    ///
    /// If the stream is damaged: then the sessions before are good and no other can be read.
    pub fn next_session(&mut self) -> Result<Option<SessionRecord>, JavaError> {
        if self.left <= 0 {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(1);
        SessionRecord::read_with(&mut self.input, &mut self.names).map(Some)
    }

    /// # Errors
    ///
    /// If anything follows the last session.
    pub fn finish(self) -> Result<(), JavaError> {
        self.input.finish()
    }
}

/// The sessions of one message of a state transfer, and the memory for those of the next.
#[derive(Debug, Default)]
pub(crate) struct ReadState {
    memory: InputMemory,
    /// What was read last.
    pub(crate) records: Vec<SessionRecord>,
}

/// A copy begins with memory of its own.
impl Clone for ReadState {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Bytes of a payload for which there is room for one session: more are not believed to be announced.
const BYTES_EXPECTED: usize = 256;

/// Bytes that an allocator is asked for at once, before it is asked for the small pieces that as many bytes of a payload become. One that
/// gets its memory from the system page by page does so once for all of them.
const ROOM: usize = 48 * 1024;

/// Lets the allocator have room for what is read next. No more than has already come.
fn make_room(bytes: usize) {
    drop(core::hint::black_box(Vec::<u8>::with_capacity(
        bytes.min(ROOM),
    )));
}

impl ReadState {
    /// Reads a payload: as a whole or not at all.
    ///
    /// # Errors
    ///
    /// If it is damaged; then there are no records.
    pub(crate) fn read(&mut self, payload: &[u8], limits: &Limits) -> Result<(), JavaError> {
        self.records.clear();
        let mut reader = StateReader::with_memory(payload, limits, &mut self.memory)?;
        let expected = reader.remaining().min(payload.len() / BYTES_EXPECTED);
        self.records.reserve(expected);
        let each = payload.len() / expected.max(1);
        let mut room = 0_usize;
        let read = loop {
            if room < each && reader.remaining() > 0 {
                let wanted = each.saturating_mul(reader.remaining());
                make_room(wanted.min(payload.len()));
                room = ROOM;
            }
            room = room.saturating_sub(each);
            match reader.next_session() {
                Ok(Some(record)) => self.records.push(record),
                Ok(None) => break reader.input.finish_with(&mut self.memory),
                Err(error) => break Err(error),
            }
        };
        if read.is_err() {
            self.records.clear();
        }
        read
    }
}

/// Begins the payload of a state transfer: `count` sessions have to follow. `DeltaManager.serializeSessions`.
pub fn begin_state(out: &mut ObjectOutput, count: usize) {
    out.write_integer_object(i32::try_from(count).unwrap_or(i32::MAX));
}
