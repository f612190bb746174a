//! The one who is asked.

use alloc::vec::Vec;
use core::time::Duration;

use super::ITEMS_MAX;
use super::wire::{
    Cursor, Ended, EndedHow, Known, ReconcileBody, ReconcileMessage, Stage, Told, ToldField,
    ToldSession, ToldValue,
};
use crate::channel::MemberIndex;
use crate::session::departed::Departure;
use crate::session::fields::Digest;
use crate::session::{Cx, DeltaManager, DeltaSession, Out, SessionId};
use crate::time::Instant;

/// Bytes of sessions looked at for one answer, roughly.
const DIGEST_BYTES: usize = 2 << 20;
/// Places in the table looked at for one answer.
const SLOTS_MAX: usize = 16_384;
/// Longer ids are no ids of a `DeltaRequest` either, and do not fit into these messages.
const TEXT_MAX: usize = u16::MAX as usize;

impl DeltaManager {
    /// Answers a question. If the answer finds no room, it is asked again.
    pub(super) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        to: MemberIndex,
        question: ReconcileMessage,
    ) {
        let serial = question.serial;
        let body = match question.body {
            ReconcileBody::Ask {
                within_ms, cursor, ..
            } => {
                let within =
                    (within_ms != u32::MAX).then(|| Duration::from_millis(u64::from(within_ms)));
                self.page(cx, within, cursor)
            }
            ReconcileBody::Fetch { sessions } => self.told_sessions(cx.now, sessions),
            ReconcileBody::Page { .. } | ReconcileBody::Sessions { .. } => return,
        };
        if self.tell_ours(cx, out, to, serial, body).is_ok() {
            self.stats.reconcile_answers = self.stats.reconcile_answers.wrapping_add(1);
        }
    }

    /// The next endings and digests.
    fn page(&self, cx: &Cx<'_>, within: Option<Duration>, cursor: Cursor) -> ReconcileBody {
        let mut cursor = cursor;
        let mut ended = Vec::new();
        if cursor.stage == Stage::Ended {
            let memory = self.departed.memory();
            let least = within.map_or(Duration::ZERO, |within| memory.saturating_sub(within));
            for (number, id, left, departure) in self.departed.after(cx.now, cursor.position, least)
            {
                if ended.len() >= ITEMS_MAX {
                    break;
                }
                cursor.position = number;
                ended.extend(told_departure(id, left, departure));
            }
            if ended.len() < ITEMS_MAX {
                cursor = Cursor {
                    stage: Stage::Sessions,
                    position: 0,
                };
            }
        }
        let mut digests = Vec::new();
        if cursor.stage == Stage::Sessions {
            let mut slot = usize::try_from(cursor.position).unwrap_or(usize::MAX);
            let end = self.sessions.slots().min(slot.saturating_add(SLOTS_MAX));
            let mut bytes = 0usize;
            let at_start = self.config.session_last_access_at_start;
            let check = self.config.session_activity_check;
            while slot < end && digests.len() < ITEMS_MAX && bytes < DIGEST_BYTES {
                let session = self.sessions.in_slot(slot);
                let recent = |session: &&DeltaSession| {
                    // One whose time is over is only still to be removed.
                    !session.timed_out(cx.now, at_start, check)
                        && within.is_none_or(|within| cx.now.since(session.this_accessed) <= within)
                        && session.id.as_modified_utf8().len() <= TEXT_MAX
                };
                if let Some(session) = session.filter(recent) {
                    bytes = bytes.saturating_add(session.encoded_estimate());
                    digests.push((session.id.clone(), session.digest(&self.filters)));
                }
                slot = slot.saturating_add(1);
            }
            cursor.position = u64::try_from(slot).unwrap_or(u64::MAX);
            if slot >= self.sessions.slots() {
                cursor.stage = Stage::End;
            }
        }
        ReconcileBody::Page {
            next: cursor,
            ended,
            digests,
        }
    }

    /// What is here and newer than what they have, of the first of these sessions.
    fn told_sessions(&self, now: Instant, known: Vec<Known>) -> ReconcileBody {
        let mut sessions: Vec<Told> = Vec::new();
        let mut bytes = 0usize;
        for known in known {
            let session = self.sessions.get(known.id.as_modified_utf8());
            let session = session.map(|session| {
                let (told, len) = self.told(now, session, &known);
                bytes = bytes.saturating_add(len);
                told
            });
            if bytes > self.config.limits.transfer_bytes_max && !sessions.is_empty() {
                break;
            }
            let id = known.id;
            sessions.push(Told { id, session });
        }
        ReconcileBody::Sessions { sessions }
    }

    fn told(&self, now: Instant, session: &DeltaSession, known: &Known) -> (ToldSession, usize) {
        let mut theirs: Vec<_> = known.fields.iter().collect();
        theirs.sort_unstable_by(|a, b| a.field.cmp(&b.field));
        let mut len = 128usize;
        let mut fields = Vec::new();
        for state in session.fields(&self.filters) {
            let known = theirs
                .binary_search_by(|known| known.field.cmp(&state.field))
                .ok()
                .and_then(|at| theirs.get(at));
            let same =
                known.is_some_and(|known| known.digest == Digest::of_value(state.value.as_ref()));
            let newer = known.is_none_or(|known| {
                state.stamp > known.stamp || (state.stamp == known.stamp && !same)
            });
            if !newer {
                continue;
            }
            let value = match state.value {
                _ if same => ToldValue::Same,
                Some(value) => ToldValue::Value(value),
                None => ToldValue::Removed,
            };
            if let ToldValue::Value(value) = &value {
                len = len.saturating_add(value.as_bytes().len());
            }
            len = len
                .saturating_add(state.field.1.encoded_len())
                .saturating_add(32);
            fields.push(ToldField {
                field: state.field,
                stamp: state.stamp,
                value,
            });
        }
        let idle = now.since(session.this_accessed).as_millis();
        let told = ToldSession {
            idle_ms: u64::try_from(idle).unwrap_or(u64::MAX),
            creation_time_ms: session.creation_time_ms,
            id_since_ms: session.history.id_since_ms,
            version: session.history.version(),
            seen: session.history.seen().to_vec(),
            fields,
        };
        (told, len)
    }
}

fn told_departure(id: &SessionId, left: Duration, departure: &Departure) -> Option<Ended> {
    let fits = |id: &SessionId| id.as_modified_utf8().len() <= TEXT_MAX;
    let (at_ms, how) = match departure {
        Departure::Expired {
            at_ms,
            timed_out: false,
        } => (*at_ms, EndedHow::Invalidated),
        Departure::Expired { at_ms, .. } => (*at_ms, EndedHow::TimedOut),
        Departure::Renamed { to, at_ms } if fits(to) => (*at_ms, EndedHow::Renamed(to.clone())),
        Departure::Renamed { .. } => return None,
    };
    fits(id).then(|| Ended {
        id: id.clone(),
        at_ms,
        memory_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        how,
    })
}
