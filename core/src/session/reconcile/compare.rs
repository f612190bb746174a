//! The one who asks.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::wire::{Cursor, Ended, Known, KnownField, ReconcileBody, Stage, Told};
use super::{ITEMS_MAX, Wanted};
use crate::channel::{MemberIndex, SendError};
use crate::cluster::ClusterEvent;
use crate::session::fields::Digest;
use crate::session::{Cx, DeltaManager, Out, SessionId};
use crate::time::Instant;

/// A comparison with one member.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(super) member: MemberIndex,
    serial: u32,
    wanted: Wanted,
    cursor: Cursor,
    /// Sessions of the page that differ and have not been fetched.
    differ: VecDeque<SessionId>,
    waits: Waits,
    /// When the question is asked, or asked again.
    next: Instant,
    tries: u8,
    /// What it changed here.
    changed: u64,
    conflicts: u64,
}

/// For what a comparison waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Nothing,
    Page,
    Sessions,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often one question is asked.
const TRIES: u8 = 3;
/// A full queue is left alone for so long.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one question about sessions, as far as one session does not need more.
const FETCH_BYTES: usize = 64 * 1024;
/// A session of which it takes more to say what is here is asked for as if nothing were.
const KNOWN_BYTES: usize = 256 * 1024;

impl Comparison {
    fn new(member: MemberIndex, serial: u32, wanted: Wanted, now: Instant) -> Self {
        Self {
            member,
            serial,
            wanted,
            cursor: Cursor {
                stage: Stage::Ended,
                position: 0,
            },
            differ: VecDeque::new(),
            waits: Waits::Nothing,
            next: now,
            tries: 0,
            changed: 0,
            conflicts: 0,
        }
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.next
    }

    /// An answer came: the next question is due.
    fn answered(&mut self, now: Instant) {
        self.waits = Waits::Nothing;
        self.tries = 0;
        self.next = now;
    }

    /// Whether it waits for this answer.
    fn expects(&self, from: MemberIndex, serial: u32, waits: Waits) -> bool {
        self.member == from && self.serial == serial && self.waits == waits
    }
}

impl DeltaManager {
    /// Begins the comparison that is due, or goes on with the one under way.
    pub(super) fn compare(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        if self.reconcile.current.is_none() {
            let wishes = &mut self.reconcile.wishes;
            wishes.retain(|wish| wish.due > cx.now || out.channel.is_ours(wish.member));
            let due = wishes.iter().position(|wish| wish.due <= cx.now);
            let Some(wish) = due.map(|due| wishes.remove(due)) else {
                return;
            };
            self.reconcile.serial = self.reconcile.serial.wrapping_add(1);
            let serial = self.reconcile.serial;
            self.reconcile.current =
                Some(Comparison::new(wish.member, serial, wish.wanted, cx.now));
        }
        let Some(mut current) = self.reconcile.current.take() else {
            return;
        };
        if current.next > cx.now || self.go_on(cx, out, &mut current) {
            self.reconcile.current = Some(current);
        }
    }

    /// Asks the next question, or the last one again; whether the comparison goes on.
    fn go_on(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, current: &mut Comparison) -> bool {
        if current.tries >= TRIES {
            self.comparison_breaks(cx, current);
            return false;
        }
        let (waits, body) = if !current.differ.is_empty() {
            let sessions = self.known_sessions(&current.differ);
            (Waits::Sessions, ReconcileBody::Fetch { sessions })
        } else if current.cursor.stage == Stage::End {
            self.stats.reconciliations = self.stats.reconciliations.wrapping_add(1);
            self.comparison_ends(cx, current);
            return false;
        } else {
            let within = current.wanted.within.map(|within| within.as_millis());
            let within_ms = within.and_then(|within| u32::try_from(within).ok());
            let body = ReconcileBody::Ask {
                mutual: current.wanted.mutual,
                within_ms: within_ms.unwrap_or(u32::MAX),
                cursor: current.cursor,
            };
            (Waits::Page, body)
        };
        match self.tell_ours(cx, out, current.member, current.serial, body) {
            Ok(()) => {
                current.waits = waits;
                current.tries = current.tries.saturating_add(1);
                current.next = cx.now + PATIENCE;
                true
            }
            Err(SendError::QueueFull(_)) => {
                current.next = cx.now + PAUSE;
                true
            }
            Err(_) => {
                self.comparison_breaks(cx, current);
                false
            }
        }
    }

    /// The other does not answer: it is met anew, in full, at the next occasion.
    fn comparison_breaks(&mut self, cx: &mut Cx<'_>, current: &Comparison) {
        self.stats.reconciliations_broken = self.stats.reconciliations_broken.wrapping_add(1);
        self.reconcile.met.retain(|met| *met != current.member);
        self.comparison_ends(cx, current);
    }

    fn comparison_ends(&mut self, cx: &mut Cx<'_>, current: &Comparison) {
        if current.changed == 0 && current.conflicts == 0 {
            return;
        }
        cx.events.push(ClusterEvent::Reconciled {
            context: self.context,
            with: current.member,
            sessions: current.changed,
            conflicts: current.conflicts,
        });
    }

    /// What is here of the first of these sessions, as many as fit into a question.
    fn known_sessions(&self, ids: &VecDeque<SessionId>) -> Vec<Known> {
        let mut sessions: Vec<Known> = Vec::new();
        let mut bytes = 0usize;
        for id in ids.iter().take(ITEMS_MAX) {
            let session = self.sessions.get(id.as_modified_utf8());
            let fields = session.map(|session| session.fields(&self.filters));
            let fields = fields.into_iter().flatten().map(|state| KnownField {
                digest: Digest::of_value(state.value.as_ref()),
                field: state.field,
                stamp: state.stamp,
            });
            let mut known = Known {
                id: id.clone(),
                fields: fields.collect(),
            };
            if known.encoded_len() > KNOWN_BYTES {
                known.fields = Vec::new();
            }
            bytes = bytes.saturating_add(known.encoded_len());
            if bytes > FETCH_BYTES && !sessions.is_empty() {
                break;
            }
            sessions.push(known);
        }
        sessions
    }

    /// The answer to a question for digests.
    pub(super) fn page_received(
        &mut self,
        cx: &mut Cx<'_>,
        from: MemberIndex,
        serial: u32,
        next: Cursor,
        ended: Vec<Ended>,
        digests: &[(SessionId, u64)],
    ) {
        let current = self.reconcile.current.take();
        let Some(mut current) = current else {
            return;
        };
        if !current.expects(from, serial, Waits::Page) || !self.join.is_ready() {
            self.reconcile.current = Some(current);
            return;
        }
        for ended in ended {
            current.changed = current.changed.saturating_add(self.learn(cx, ended));
        }
        for (id, digest) in digests {
            let here = self.sessions.get(id.as_modified_utf8());
            if here.is_none_or(|session| session.digest(&self.filters) != *digest) {
                current.differ.push_back(id.clone());
            }
        }
        current.cursor = next;
        current.answered(cx.now);
        self.reconcile.current = Some(current);
    }

    /// The answer to a question for sessions.
    pub(super) fn sessions_received(
        &mut self,
        cx: &mut Cx<'_>,
        from: MemberIndex,
        serial: u32,
        sessions: Vec<Told>,
    ) {
        let Some(mut current) = self.reconcile.current.take() else {
            return;
        };
        if !current.expects(from, serial, Waits::Sessions) || !self.join.is_ready() {
            self.reconcile.current = Some(current);
            return;
        }
        let answered = !sessions.is_empty();
        for told in sessions {
            // In the order of the question, as far as they go.
            if current.differ.front() != Some(&told.id) {
                continue;
            }
            current.differ.pop_front();
            if let Some(session) = told.session {
                let (changed, conflicts) = self.merge_told(cx, told.id, session);
                current.changed = current.changed.saturating_add(u64::from(changed));
                current.conflicts = current.conflicts.saturating_add(conflicts);
            }
        }
        if answered {
            current.answered(cx.now);
        }
        self.reconcile.current = Some(current);
    }
}
