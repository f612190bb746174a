//! The constant part of a frame: encoded once for each change of our member block.

use alloc::vec::Vec;

use crate::wire::frame::START;
use crate::wire::{SendOptions, UniqueId};

// Offsets in a frame whose unique id has 16 bytes.
const DATA_LEN_AT: usize = 7;
const OPTIONS_AT: usize = 11;
const TIMESTAMP_AT: usize = 15;
const UNIQUE_ID_AT: usize = 27;
const BLOCK_AT: usize = 47;
/// In the member block: marker and body length precede it.
const ALIVE_IN_BLOCK: usize = 14;

/// Everything before the message in a frame of ours.
///
/// | bytes | field |
/// |---|---|
/// | 7 + 4 | start marker, data length |
/// | 4 + 8 | options, timestamp |
/// | 4 + 16 | unique id |
/// | 4 + A | our member block |
/// | 4 | message length |
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
}

impl Template {
    /// The header with `block` as sender.
    pub(crate) fn new(block: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(BLOCK_AT.saturating_add(block.len()).saturating_add(4));
        bytes.extend_from_slice(&START);
        bytes.extend_from_slice(&[0; 4 + 4 + 8]);
        bytes.extend_from_slice(&16u32.to_be_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&(block.len() as u32).to_be_bytes());
        bytes.extend_from_slice(block);
        bytes.extend_from_slice(&[0; 4]);
        Self { bytes }
    }

    /// Our member block as it is sent now.
    pub(crate) fn block(&self) -> &[u8] {
        let end = self.bytes.len().saturating_sub(4);
        self.bytes.get(BLOCK_AT..end).unwrap_or_default()
    }

    /// Refreshes the alive time in the member block.
    pub(crate) fn set_alive(&mut self, alive_ms: i64) {
        self.put(BLOCK_AT + ALIVE_IN_BLOCK, &alive_ms.to_be_bytes());
    }

    /// Writes the fields of one message.
    pub(crate) fn fill(
        &mut self,
        options: SendOptions,
        timestamp_ms: u64,
        id: &UniqueId,
        message: usize,
    ) {
        let header = self.bytes.len();
        // Frame overhead before the data: start marker and length.
        let data = header.saturating_sub(OPTIONS_AT).saturating_add(message);
        self.put(DATA_LEN_AT, &(data as u32).to_be_bytes());
        self.put(OPTIONS_AT, &options.bits().to_be_bytes());
        self.put(TIMESTAMP_AT, &timestamp_ms.to_be_bytes());
        self.put(UNIQUE_ID_AT, &id.0);
        self.put(header.saturating_sub(4), &(message as u32).to_be_bytes());
    }

    /// The header as filled last.
    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}
