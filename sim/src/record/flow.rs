//! The messages in one direction of a stream.

use std::collections::VecDeque;

use folkmoot_core::wire::{Deframed, deframe};

use super::{Fate, Message, Tables};
use crate::describe::{Seen, frame};

/// The longest frame that is waited for.
const FRAME_MAX: usize = 256 << 20;

/// What has been sent one way and not yet been read.
#[derive(Debug, Default)]
pub(super) struct Flow {
    ends: (u16, u16),
    /// Bytes that are not a whole frame yet.
    rest: Vec<u8>,
    /// The event that sent the first of them.
    rest_from: usize,
    /// Bytes sent, and read.
    sent: u64,
    read: u64,
    /// Something came that is no frame: from here on every piece is a message of its own.
    is_garbage: bool,
    /// The position after each message that has not been read, with the message's number.
    unread: VecDeque<(u64, usize)>,
}

impl Flow {
    pub(super) fn sent(
        &mut self,
        event: usize,
        ends: (u16, u16),
        bytes: &[u8],
        messages: &mut Vec<Message>,
        tables: &mut Tables,
    ) {
        self.ends = ends;
        if self.rest.is_empty() {
            self.rest_from = event;
        }
        self.rest.extend_from_slice(bytes);
        self.sent += bytes.len() as u64;
        let mut rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        while !self.is_garbage {
            match deframe(&rest[at..], FRAME_MAX) {
                Ok(Deframed::Frame { data, consumed }) => {
                    at += consumed;
                    let end = self.sent - (rest.len() - at) as u64;
                    self.push(end, &frame(data), consumed, messages, tables);
                    // What follows was sent just now.
                    self.rest_from = event;
                }
                Ok(Deframed::Incomplete { .. }) => break,
                Err(_) => self.is_garbage = true,
            }
        }
        rest.drain(..at);
        if self.is_garbage && !rest.is_empty() {
            let seen = Seen::new("no frame", format!("{} bytes of no frame", rest.len()));
            self.push(self.sent, &seen, rest.len(), messages, tables);
            rest.clear();
        }
        self.rest = rest;
    }

    fn push(
        &mut self,
        end: u64,
        seen: &Seen,
        len: usize,
        messages: &mut Vec<Message>,
        tables: &mut Tables,
    ) {
        self.unread.push_back((end, messages.len()));
        messages.push(tables.message(self.rest_from, self.ends, seen, len));
    }

    pub(super) fn read(&mut self, event: usize, len: usize, messages: &mut [Message]) {
        self.read += len as u64;
        while let Some((end, number)) = self.unread.front().copied()
            && end <= self.read
        {
            self.unread.pop_front();
            if let Some(message) = messages.get_mut(number) {
                message.fate = Fate::Received(event);
            }
        }
    }

    /// What has been sent and not been read meets its fate: lost with its stream, or under way when the run ends.
    pub(super) fn end(mut self, fate: Fate, messages: &mut Vec<Message>, tables: &mut Tables) {
        if !self.rest.is_empty() {
            let len = self.rest.len();
            let seen = Seen::new("broken frame", format!("the first {len} bytes of a frame"));
            self.push(self.sent, &seen, len, messages, tables);
        }
        for (_, number) in self.unread {
            if let Some(message) = messages.get_mut(number) {
                message.fate = fate;
            }
        }
    }
}
