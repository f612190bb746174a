//! The payload of a state transfer: a number of sessions in one stream.

use crate::java::{JavaError, JavaErrorKind, Limits, ObjectInput, ObjectOutput};

use super::SessionRecord;

/// Reads the payload of an [`AllSessionData`](super::EventType::AllSessionData) message session by session.
/// `DeltaManager.deserializeSessions`.
///
/// Layout: an `Integer` with the number of sessions, then as many [`SessionRecord`]s in the same stream.
pub struct StateReader<'a> {
    input: ObjectInput<'a>,
    left: i32,
}

impl<'a> StateReader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// If the stream does not begin with a number of sessions.
    pub fn new(stream: &'a [u8], limits: &Limits) -> Result<Self, JavaError> {
        let mut input = ObjectInput::new(stream, limits)?;
        let left = input.read_integer_object()?;
        match left {
            Some(left @ 0..) => Ok(Self { input, left }),
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
        SessionRecord::read(&mut self.input).map(Some)
    }

    /// # Errors
    ///
    /// If anything follows the last session.
    pub fn finish(self) -> Result<(), JavaError> {
        self.input.finish()
    }
}

/// Begins the payload of a state transfer: `count` sessions have to follow. `DeltaManager.serializeSessions`.
pub fn begin_state(out: &mut ObjectOutput, count: usize) {
    out.write_integer_object(i32::try_from(count).unwrap_or(i32::MAX));
}
