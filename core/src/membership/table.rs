//! Everybody this node has heard of: members, and those that may become one.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::channel::MemberIndex;
use crate::engine::ConnId;
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::lane::Lane;
use crate::wire::{Full, Member, UniqueId};

/// How far a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Heard of, not verified: not among the members.
    Stranger,
    /// Verified: a member.
    Verified {
        /// Since when there has been doubt, if there is.
        suspect: Option<Suspicion>,
    },
}

/// Doubt about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(crate) since: Instant,
}

/// The TCP check of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// None needed.
    Idle,
    /// Wanted from `at` on.
    Due { at: Instant },
    /// Under way.
    Running { conn: ConnId, until: Instant },
}

/// How messages to a member travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Nobody knows yet what it is: one connection, one acknowledged message at a time, which suits all.
    Unknown,
    /// A Tomcat: several connections, one acknowledged message at a time on each.
    StopAndWait,
    /// One of ours: one connection, many messages at a time.
    Pipelined,
}

/// One entry of the table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) index: MemberIndex,
    pub(crate) member: Member,
    pub(crate) stage: Stage,
    pub(crate) check: Check,
    /// Configured: never leaves the table.
    pub(crate) fixed: bool,
    /// Announces itself by heartbeats.
    pub(crate) heartbeats: u32,
    /// Last heartbeat, message, or successful check of a static member.
    pub(crate) last_heard: Instant,
    /// Until when a static member that said STOP is not believed to be back.
    pub(crate) stopped_until: Instant,
    /// Estimated start of its membership service, wall clock in ms: the oldest member has the smallest.
    pub(crate) started_ms: i64,
    /// Whether it is one of ours.
    pub(crate) ours: bool,
    /// The last accepted of its connections that brought a message, by [`Receiver::number`].
    ///
    /// [`Receiver::number`]: crate::transport::receiver::Receiver::number
    pub(crate) newest_receiver: u64,
    /// The last of its connections that is being wound up, by the same number, if it is one of ours: what newer ones bring waits.
    pub(crate) ending_receiver: Option<u64>,
    /// Whether its member block has been seen, not only its configuration: only then is `ours` knowledge.
    pub(crate) seen: bool,
    /// How messages to it travel; follows `ours` and `seen` when nothing is under way.
    pub(crate) style: Style,
    /// 0: all messages, or, with [`Style::StopAndWait`], unacknowledged ones; then the others have one acknowledged message
    /// each.
    pub(crate) lanes: Vec<Lane>,
    /// Bytes queued in all lanes.
    pub(crate) queued: usize,
    /// Whether somebody was told that the queue is full.
    pub(crate) was_full: bool,
}

impl Entry {
    /// How messages to it should travel.
    pub(crate) const fn wanted_style(&self) -> Style {
        match (self.ours, self.seen) {
            (true, _) => Style::Pipelined,
            (false, true) => Style::StopAndWait,
            (false, false) => Style::Unknown,
        }
    }

    pub(crate) const fn is_verified(&self) -> bool {
        matches!(self.stage, Stage::Verified { .. })
    }

    pub(crate) const fn is_checking(&self) -> bool {
        matches!(self.check, Check::Running { .. })
    }
}

/// All entries; slots with generations, bounded by the capacities it is made with.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// Slots of the verified members, oldest first.
    order: Vec<u16>,
    members_max: usize,
    strangers_max: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

impl Table {
    pub(crate) const fn new(members_max: usize, strangers_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            order: Vec::new(),
            members_max,
            strangers_max,
        }
    }

    pub(crate) fn get(&self, index: MemberIndex) -> Option<&Entry> {
        let slot = self.slots.get(index.slot())?;
        slot.entry
            .as_ref()
            .filter(|_| slot.generation == index.generation)
    }

    pub(crate) fn get_mut(&mut self, index: MemberIndex) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(index.slot())?;
        let current = slot.generation == index.generation;
        slot.entry.as_mut().filter(|_| current)
    }

    /// All entries in slot order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut().filter_map(|slot| slot.entry.as_mut())
    }

    /// The entry at the `slot`th place.
    pub(crate) fn at(&self, slot: usize) -> Option<&Entry> {
        self.slots.get(slot)?.entry.as_ref()
    }

    /// Places, used and free.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Verified members, oldest first.
    pub(crate) fn verified(&self) -> impl Iterator<Item = &Entry> {
        self.order.iter().filter_map(|slot| self.at(*slot as usize))
    }

    pub(crate) fn verified_len(&self) -> usize {
        self.order.len()
    }

    /// The entry that equals a member: host, port and unique id.
    pub(crate) fn find(&self, host: &[u8], port: i32, unique_id: &UniqueId) -> Option<MemberIndex> {
        self.entries()
            .find(|entry| {
                entry.member.port == port
                    && (entry.member.unique_id == *unique_id || planted(Bug::IdIgnored))
                    && entry.member.host == host
            })
            .map(|entry| entry.index)
    }

    /// Who has to make room for one more stranger: the one that has waited longest, those heard of once before those heard
    /// of often, none that is being checked or spoken to. `Err` if nobody can.
    pub(crate) fn victim(&self) -> Result<Option<MemberIndex>, Full> {
        let strangers = || {
            self.entries()
                .filter(|entry| !entry.is_verified() && !entry.fixed)
        };
        if strangers().count() < self.strangers_max {
            return Ok(None);
        }
        strangers()
            .filter(|entry| !entry.is_checking() && entry.queued == 0)
            .min_by_key(|entry| (entry.heartbeats > 1, entry.last_heard))
            .map_or(Err(Full), |entry| Ok(Some(entry.index)))
    }

    /// Adds a stranger, whether or not there are too many.
    pub(crate) fn add(&mut self, now: Instant, member: Member, ours: bool) -> Option<MemberIndex> {
        let slot = match self.slots.iter().position(|slot| slot.entry.is_none()) {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    entry: None,
                });
                self.slots.len().saturating_sub(1)
            }
        };
        let place = self.slots.get_mut(slot)?;
        let index = MemberIndex {
            slot: u16::try_from(slot).ok()?,
            generation: place.generation,
        };
        place.entry = Some(Entry {
            index,
            member,
            stage: Stage::Stranger,
            check: Check::Idle,
            fixed: false,
            heartbeats: 0,
            last_heard: now,
            stopped_until: Instant::ZERO,
            started_ms: 0,
            ours,
            newest_receiver: 0,
            ending_receiver: None,
            seen: true,
            style: match ours {
                true => Style::Pipelined,
                false => Style::StopAndWait,
            },
            lanes: Vec::new(),
            queued: 0,
            was_full: false,
        });
        Some(index)
    }

    /// Takes an entry out; its index finds nothing any more.
    pub(crate) fn remove(&mut self, index: MemberIndex) -> Option<Entry> {
        self.get(index)?;
        self.order.retain(|slot| *slot != index.slot);
        let slot = self.slots.get_mut(index.slot())?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.entry.take()
    }

    /// Whether one more member can be verified.
    pub(crate) fn has_room(&self) -> bool {
        self.order.len() < self.members_max
    }

    /// Makes an entry a member.
    pub(crate) fn verify(&mut self, index: MemberIndex) {
        if let Some(entry) = self.get_mut(index)
            && !entry.is_verified()
        {
            entry.stage = Stage::Verified { suspect: None };
            self.order.push(index.slot);
            self.sort();
        }
    }

    /// Restores the order after an alive time has changed: longest-lived first, ties in absolute order.
    pub(crate) fn sort(&mut self) {
        let slots = &self.slots;
        let entry = |slot: &u16| {
            slots
                .get(*slot as usize)
                .and_then(|slot| slot.entry.as_ref())
        };
        self.order.sort_by(|a, b| match (entry(a), entry(b)) {
            (Some(a), Some(b)) => a
                .started_ms
                .cmp(&b.started_ms)
                .then_with(|| a.member.cmp(&b.member)),
            _ => Ordering::Equal,
        });
    }
}
