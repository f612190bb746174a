//! Session messages that cannot be applied yet: while the state is on its way, or until their session comes.

use super::MemberIndex;
use super::memory::shift;
use crate::session::EventType;
use crate::time::Instant;

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) kind: EventType,
    pub(super) from: Option<MemberIndex>,
    pub(super) timestamp_ms: i64,
    pub(super) id: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Bytes before the id of a message that is kept.
const HEADER: usize = 32;

/// Messages in order of arrival, packed into one block of memory.
#[derive(Debug, Default)]
pub(super) struct Held<'m> {
    bytes: &'m mut [u8],
    len: usize,
}

/// A message that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) about: About<'a>,
    pub(super) arrived: Instant,
    /// Where the next one begins.
    pub(super) next: usize,
}

impl<'m> Held<'m> {
    pub(super) const fn new(bytes: &'m mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a message, if there is room.
    pub(super) fn push(&mut self, now: Instant, about: About<'_>) -> bool {
        let len = HEADER
            .saturating_add(about.id.len())
            .saturating_add(about.payload.len());
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        let Some(place) = free.get_mut(..len) else {
            return false;
        };
        let from = about.from.map_or(u32::MAX, |from| {
            u32::from(from.slot) << 16 | u32::from(from.generation)
        });
        let mut header = heapless::Vec::<u8, HEADER>::new();
        let parts: [&[u8]; 6] = [
            &(len as u32).to_be_bytes(),
            &about.kind.number().to_be_bytes(),
            &from.to_be_bytes(),
            &about.timestamp_ms.to_be_bytes(),
            &now.as_nanos().to_be_bytes(),
            &(about.id.len() as u32).to_be_bytes(),
        ];
        for part in parts {
            if header.extend_from_slice(part).is_err() {
                return false;
            }
        }
        let (head, rest) = place.split_at_mut_checked(HEADER).unwrap_or_default();
        for (to, byte) in head.iter_mut().zip(&header) {
            *to = *byte;
        }
        let (id, payload) = rest
            .split_at_mut_checked(about.id.len())
            .unwrap_or_default();
        for (to, from) in [(id, about.id), (payload, about.payload)] {
            if to.len() == from.len() {
                to.copy_from_slice(from);
            }
        }
        self.len = self.len.saturating_add(len);
        true
    }

    /// The message at `at`, if there is one.
    pub(super) fn at(&self, at: usize) -> Option<Entry<'_>> {
        let used = self.bytes.get(at..self.len)?;
        let mut header = crate::wire::Reader::new(used);
        const FIELD: &str = "held";
        let len = header.u32(FIELD).ok()? as usize;
        let kind = EventType::from_number(header.i32(FIELD).ok()?)?;
        let from = header.u32(FIELD).ok()?;
        let timestamp_ms = header.i64(FIELD).ok()?;
        let arrived = Instant::from_nanos(header.u64(FIELD).ok()?);
        let id_len = header.u32(FIELD).ok()? as usize;
        let (id, payload) = used.get(HEADER..len)?.split_at_checked(id_len)?;
        Some(Entry {
            about: About {
                kind,
                from: (from != u32::MAX).then_some(MemberIndex {
                    slot: (from >> 16) as u16,
                    generation: from as u16,
                }),
                timestamp_ms,
                id,
                payload,
            },
            arrived,
            next: at.saturating_add(len),
        })
    }

    /// Takes the message out that lies there.
    pub(super) fn remove(&mut self, at: usize, next: usize) {
        if at <= next && shift(self.bytes, next..self.len, at) {
            self.len = self.len.saturating_sub(next.saturating_sub(at));
        }
    }
}
