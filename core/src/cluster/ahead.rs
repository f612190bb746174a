//! Deltas decoded before the cluster is handed them.

use alloc::vec::Vec;

use crate::engine::{Progress, ReadAhead};
use crate::java::Limits;
use crate::session::{EventType, ReadDelta, SessionMessage};
use crate::wire::frame::HEADER;
use crate::wire::{ChannelData, Deframed, SendOptions, deframe};

/// What the [`Cluster`](super::Cluster)'s [`read_ahead`](crate::engine::Engine::read_ahead) gives: finds frames that lie whole in one read,
/// and takes the deltas in them apart.
///
/// All other messages, frames that span reads and messages that a layer of the channel has yet to decode are left to the
/// engine.
#[derive(Debug)]
pub(super) struct Ahead {
    message_bytes_max: usize,
    limits: Limits,
    pub(super) found: FoundDeltas,
}

/// Deltas found in one read, in order, with memory for more.
#[derive(Debug, Default)]
pub(crate) struct FoundDeltas {
    deltas: Vec<FoundDelta>,
    /// So many are of the last read.
    used: usize,
    /// The first that has not been asked for.
    next: usize,
}

/// A payload by where it lies in memory, and what is in it.
#[derive(Debug, Default)]
struct FoundDelta {
    at: Place,
    delta: ReadDelta,
}

/// Where a payload lies: as long as it is lent to the engine nothing else can lie there.
pub(crate) type Place = (usize, usize);

/// Where bytes lie.
pub(crate) fn place(bytes: &[u8]) -> Place {
    (bytes.as_ptr().addr(), bytes.len())
}

/// Deltas of one read, at most: what a read of 256 KiB brings of deltas of 1 KiB. Each has memory of a few KiB.
const FOUND_MAX: usize = 256;

/// A copy has found nothing.
impl Clone for FoundDeltas {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl FoundDeltas {
    /// What was found in `payload`, if it was read ahead. Its memory is to be left there.
    pub(crate) fn of(&mut self, payload: &[u8]) -> Option<&mut ReadDelta> {
        let at = place(payload);
        let waiting = self.deltas.get(self.next..self.used)?;
        let found = waiting.iter().position(|found| found.at == at)?;
        let index = self.next.saturating_add(found);
        self.next = index.saturating_add(1);
        self.deltas.get_mut(index).map(|found| &mut found.delta)
    }

    /// What has been found is no more: the bytes have been handed over.
    pub(super) const fn forget(&mut self) {
        self.used = 0;
        self.next = 0;
    }
}

impl Ahead {
    pub(super) fn new(message_bytes_max: usize, limits: Limits) -> Self {
        Self {
            message_bytes_max,
            limits,
            found: FoundDeltas::default(),
        }
    }

    /// One frame's data.
    fn frame(&mut self, data: &[u8]) {
        let Ok(data) = ChannelData::decode(data) else {
            return;
        };
        if data.options.contains(SendOptions::BYTE_MESSAGE) || self.found.used >= FOUND_MAX {
            return;
        }
        let Some(message) = SessionMessage::read(data.message) else {
            return;
        };
        let (Some(EventType::SessionDelta), Some(payload)) = (message.kind(), message.session)
        else {
            return;
        };
        if self.found.used == self.found.deltas.len() {
            self.found.deltas.push(FoundDelta::default());
        }
        let Some(found) = self.found.deltas.get_mut(self.found.used) else {
            return;
        };
        // What cannot be read is read again by the manager, which says why and whose fault it is.
        if found.delta.read(payload, &self.limits).is_ok() {
            found.at = place(payload);
            self.found.used = self.found.used.saturating_add(1);
        }
    }
}

impl ReadAhead for Ahead {
    fn read(&mut self, progress: &mut Progress, bytes: &[u8]) {
        self.found.forget();
        let mut left = bytes;
        // A header in pieces: its frame is gathered by the engine, and is passed over here.
        while !progress.head.is_empty() && !left.is_empty() && !progress.lost {
            let need = HEADER.saturating_sub(progress.head.len());
            let (now, later) = left.split_at_checked(need).unwrap_or((left, &[]));
            left = later;
            // There is room for a header.
            let _ = progress.head.extend_from_slice(now);
            if progress.head.len() < HEADER {
                return;
            }
            match deframe(&progress.head, self.message_bytes_max) {
                Ok(Deframed::Incomplete { need }) => {
                    progress.rest = need.saturating_sub(HEADER);
                    progress.head.clear();
                }
                _ => progress.lost = true,
            }
        }
        if progress.rest > 0 {
            let (passed, later) = left.split_at_checked(progress.rest).unwrap_or((left, &[]));
            progress.rest = progress.rest.saturating_sub(passed.len());
            left = later;
        }
        while !left.is_empty() && !progress.lost {
            match deframe(left, self.message_bytes_max) {
                Ok(Deframed::Frame { data, consumed }) => {
                    self.frame(data);
                    left = left.get(consumed..).unwrap_or_default();
                }
                Ok(Deframed::Incomplete { .. }) if left.len() < HEADER => {
                    // There is room: it is less than a header.
                    let _ = progress.head.extend_from_slice(left);
                    return;
                }
                Ok(Deframed::Incomplete { need }) => {
                    progress.rest = need.saturating_sub(left.len());
                    return;
                }
                Err(_) => progress.lost = true,
            }
        }
    }
}
