//! Deltas decoded, and if it may be applied, before the cluster is handed them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::Managers;
use crate::engine::{ConnId, Progress, ReadAhead};
use crate::java::{JavaString, Limits};
use crate::session::{
    self, DeltaAhead, DeltaOutcome, Desk, EventType, ReadDelta, SessionMessage, Source, Spare,
};
use crate::time::{Instant, WallClock};
use crate::wire::frame::HEADER;
use crate::wire::member::same_but_alive;
use crate::wire::{ChannelData, Deframed, SendOptions, deframe};

/// What the [`Cluster`](super::Cluster)'s [`read_ahead`](crate::engine::Engine::read_ahead) gives: finds the deltas in what was read,
/// takes them apart, and applies those that it [may](super::lending).
///
/// It applies a delta only if it has applied all that came before on the same connection and has not been handed over, so that the
/// order stays. All other messages, long frames that span reads and messages that a layer of the channel has yet to decode are
/// left to the engine.
#[derive(Debug)]
pub(super) struct Ahead {
    message_bytes_max: usize,
    limits: Limits,
    pub(super) found: FoundDeltas,
    licences: Vec<Licence>,
    contexts: Vec<Context>,
    /// The [version](Managers) of the managers that `contexts` are of.
    version: u64,
    /// Memory of values that are no more.
    spare: Spare,
}

/// Leave to apply the deltas of one connection.
#[derive(Debug)]
struct Licence {
    conn: ConnId,
    terms: u64,
    source: Source,
    clock: WallClock,
    /// The sender's member block.
    block: Vec<u8>,
}

/// A manager, as far as deltas go.
#[derive(Debug)]
struct Context {
    name: JavaString,
    at_start: bool,
    desk: Arc<Desk>,
}

/// Deltas found in one read, in order, with memory for more.
#[derive(Debug, Default)]
pub(crate) struct FoundDeltas {
    deltas: Vec<FoundDelta>,
    /// So many are of the last read.
    used: usize,
    /// The first that has not been asked for.
    next: usize,
    /// The frame that ended in the last read and did not begin there; the first delta may lie in it. The engine has another copy.
    split: Vec<u8>,
}

/// A payload by where it lies in memory, and what is in it.
#[derive(Debug, Default)]
struct FoundDelta {
    at: Place,
    timestamp_ms: i64,
    delta: ReadDelta,
    /// It has been applied, with this outcome.
    applied: Option<DeltaOutcome>,
}

/// Where a payload lies: as long as it is lent to the engine nothing else can lie there.
pub(crate) type Place = (usize, usize);

/// Where bytes lie.
pub(crate) fn place(bytes: &[u8]) -> Place {
    (bytes.as_ptr().addr(), bytes.len())
}

/// Deltas of one read, at most: what a read of 256 KiB brings of deltas of 1 KiB. Each has memory of a few KiB.
const FOUND_MAX: usize = 256;

/// A longer frame that spans reads is left to the engine, which gathers it in any case.
const SPLIT_MAX: usize = 64 * 1024;

/// A copy has found nothing.
impl Clone for FoundDeltas {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl FoundDeltas {
    /// What was found in `payload`, if it was read ahead. Memory that it lends is to be left there.
    pub(crate) fn of(&mut self, timestamp_ms: i64, payload: &[u8]) -> Option<session::Ahead<'_>> {
        let at = place(payload);
        let waiting = self.deltas.get(self.next..self.used)?;
        let split = |found: &FoundDelta| {
            let theirs = found.at.0.checked_sub(self.split.as_ptr().addr());
            let end = |start: usize| start.saturating_add(found.at.1);
            let theirs = theirs.and_then(|start| self.split.get(start..end(start)));
            found.timestamp_ms == timestamp_ms && theirs == Some(payload)
        };
        let is_it = |(number, found): (usize, &FoundDelta)| {
            found.at == at || (number == 0 && self.next == 0 && split(found))
        };
        let found = waiting.iter().enumerate().position(is_it)?;
        let index = self.next.saturating_add(found);
        self.next = index.saturating_add(1);
        let found = self.deltas.get_mut(index)?;
        Some(match found.applied {
            Some(outcome) => session::Ahead::Applied(outcome),
            None => session::Ahead::Read(&mut found.delta),
        })
    }

    /// What has been found is no more: the bytes have been handed over.
    pub(super) const fn forget(&mut self) {
        self.used = 0;
        self.next = 0;
    }
}

/// The read under way.
#[derive(Clone, Copy)]
struct Read {
    now: Instant,
    /// Which licence is its connection's, as long as all before has been applied.
    licence: Option<usize>,
}

impl Ahead {
    pub(super) fn new(message_bytes_max: usize, limits: Limits) -> Self {
        Self {
            message_bytes_max,
            limits,
            found: FoundDeltas::default(),
            licences: Vec::new(),
            contexts: Vec::new(),
            version: 0,
            spare: Spare::default(),
        }
    }

    fn licence_of(&self, conn: ConnId) -> Option<usize> {
        let mut licences = self.licences.iter();
        licences.position(|licence| licence.conn == conn)
    }

    /// On which terms there is a licence for a connection.
    pub(super) fn terms_of(&self, conn: ConnId) -> Option<u64> {
        let licence = self.licences.get(self.licence_of(conn)?)?;
        Some(licence.terms)
    }

    /// Gives leave to apply the deltas of one connection, those that `source` sends under `block`. All on other terms is over.
    pub(super) fn license(
        &mut self,
        conn: ConnId,
        terms: u64,
        source: Source,
        clock: WallClock,
        block: &[u8],
    ) {
        let mut licence = match self.licence_of(conn) {
            Some(known) => self.licences.swap_remove(known),
            None => Licence {
                conn,
                terms,
                source,
                clock,
                block: Vec::new(),
            },
        };
        self.licences.retain(|other| other.terms == terms);
        (licence.terms, licence.source, licence.clock) = (terms, source, clock);
        licence.block.clear();
        licence.block.extend_from_slice(block);
        self.licences.push(licence);
    }

    /// Gets to know the managers, if there are others than before.
    pub(super) fn know(&mut self, managers: &Managers) {
        if self.version == managers.version {
            return;
        }
        self.version = managers.version;
        let limits = self.limits;
        let known = managers
            .iter()
            .filter(|manager| manager.config.limits.java == limits);
        self.contexts.clear();
        self.contexts.extend(known.map(|manager| Context {
            name: manager.name.clone(),
            at_start: manager.config.session_last_access_at_start,
            desk: Arc::clone(manager.sessions.desk()),
        }));
    }

    /// One frame's data.
    fn frame(&mut self, read: &mut Read, data: &[u8]) {
        // Whatever is not applied here holds up what comes behind it.
        let licence = read.licence.take();
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
        if found.delta.read(payload, &self.limits).is_err() {
            return;
        }
        found.at = place(payload);
        found.timestamp_ms = message.timestamp_ms;
        self.found.used = self.found.used.saturating_add(1);
        let given = licence.and_then(|number| self.licences.get(number));
        let given = given.filter(|given| same_but_alive(&given.block, data.address));
        found.applied = given.and_then(|given| {
            let mut contexts = self.contexts.iter();
            let name = message.context_name?;
            let context = contexts.find(|context| context.name.as_modified_utf8() == name)?;
            let delta = DeltaAhead {
                source: given.source,
                now: read.now,
                unix_ms: i64::try_from(given.clock.unix_ms(read.now)).unwrap_or(i64::MAX),
                at_start: context.at_start,
                timestamp_ms: message.timestamp_ms,
                id: message.session_id?,
                payload,
                delta: &found.delta,
            };
            delta.apply(&context.desk, given.terms, &mut self.spare)
        });
        read.licence = licence.filter(|_| found.applied.is_some());
    }

    /// The rest of a frame that an earlier read began has come.
    fn split_frame(&mut self, read: &mut Read, progress: &mut Progress) {
        if mem::take(&mut progress.too_long) {
            read.licence = None;
            return;
        }
        mem::swap(&mut self.found.split, &mut progress.split);
        progress.split.clear();
        let frame = mem::take(&mut self.found.split);
        match deframe(&frame, self.message_bytes_max) {
            Ok(Deframed::Frame { data, .. }) => self.frame(read, data),
            _ => progress.lost = true,
        }
        self.found.split = frame;
    }
}

impl Progress {
    /// Keeps bytes of a frame that spans reads, unless it is too long in all.
    fn keep(&mut self, bytes: &[u8], need: usize) {
        self.too_long |= need > SPLIT_MAX;
        if self.too_long {
            self.split.clear();
        } else {
            self.split.extend_from_slice(bytes);
        }
    }
}

impl ReadAhead for Ahead {
    fn read(&mut self, now: Instant, conn: ConnId, progress: &mut Progress, bytes: &[u8]) {
        self.found.forget();
        let licence = self.licence_of(conn);
        let mut read = Read { now, licence };
        let mut left = bytes;
        // A header in pieces.
        while !progress.head.is_empty() && !left.is_empty() && !progress.lost {
            let need = HEADER.saturating_sub(progress.head.len());
            let (now, later) = left.split_at_checked(need).unwrap_or((left, &[]));
            left = later;
            // There is room for a header.
            let _ = progress.head.extend_from_slice(now);
            progress.keep(now, HEADER);
            if progress.head.len() < HEADER {
                return;
            }
            match deframe(&progress.head, self.message_bytes_max) {
                Ok(Deframed::Incomplete { need }) => {
                    progress.rest = need.saturating_sub(HEADER);
                    progress.head.clear();
                    progress.keep(&[], need);
                }
                _ => progress.lost = true,
            }
        }
        if progress.rest > 0 {
            let (passed, later) = left.split_at_checked(progress.rest).unwrap_or((left, &[]));
            progress.rest = progress.rest.saturating_sub(passed.len());
            progress.keep(passed, 0);
            left = later;
            if progress.rest == 0 {
                self.split_frame(&mut read, progress);
            }
        }
        while !left.is_empty() && !progress.lost {
            match deframe(left, self.message_bytes_max) {
                Ok(Deframed::Frame { data, consumed }) => {
                    self.frame(&mut read, data);
                    left = left.get(consumed..).unwrap_or_default();
                }
                Ok(Deframed::Incomplete { .. }) if left.len() < HEADER => {
                    // There is room: it is less than a header.
                    let _ = progress.head.extend_from_slice(left);
                    progress.keep(left, HEADER);
                    return;
                }
                Ok(Deframed::Incomplete { need }) => {
                    progress.rest = need.saturating_sub(left.len());
                    progress.keep(left, need);
                    return;
                }
                Err(_) => progress.lost = true,
            }
        }
    }
}
