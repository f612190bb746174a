//! What becomes of a session that two nodes have in two forms.

use core::time::Duration;

use super::wire::{Ended, EndedHow, ToldSession, ToldValue};
use crate::cluster::{AttributeChange, ClusterEvent, ExpiryCause, Origin};
use crate::session::delta_session::Applied;
use crate::session::departed::Departure;
use crate::session::stamp::has_seen;
use crate::session::{ActionType, Cx, DeltaManager, DeltaSession, SessionId, Stamp};

impl DeltaManager {
    /// An id is no session any more elsewhere; how many sessions that changes here.
    ///
    /// Who has ended a session has ended it everywhere, also under a name that it was given elsewhere meanwhile; a time that was
    /// over ends only the session of that very name. A change of id is followed unless the session has got the id back since; if
    /// both sides have given it another one, both ids stay, as two sessions.
    pub(super) fn learn(&mut self, cx: &mut Cx<'_>, ended: Ended) -> u64 {
        let before = self.stats.reconciled_endings;
        let memory = Duration::from_millis(u64::from(ended.memory_ms));
        match ended.how {
            EndedHow::Invalidated => self.learn_end(cx, &ended.id, ended.at_ms, false, memory),
            EndedHow::TimedOut => self.learn_end(cx, &ended.id, ended.at_ms, true, memory),
            EndedHow::Renamed(new) => self.learn_rename(cx, ended.id, new, ended.at_ms, memory),
        }
        self.stats.reconciled_endings.wrapping_sub(before)
    }

    fn learn_end(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        at_ms: i64,
        timed_out: bool,
        memory: Duration,
    ) {
        let present = match timed_out {
            true => None,
            false => self.known(id.as_modified_utf8()),
        };
        self.end_by_peer(cx, id, at_ms);
        if let Some(present) = present {
            self.end_by_peer(cx, &present, at_ms);
        }
        // A later session of the same name lives.
        if self.sessions.contains(id.as_modified_utf8()) {
            return;
        }
        let known = match self.departed.get(id.as_modified_utf8()) {
            Some(Departure::Expired {
                at_ms: known,
                timed_out: also,
            }) => *known >= at_ms && (timed_out || !also),
            Some(Departure::Renamed { .. }) => timed_out,
            None => false,
        };
        if !known {
            let departure = Departure::Expired { at_ms, timed_out };
            self.departed
                .remember_for(cx.now, memory, id.clone(), departure);
        }
    }

    /// Ends a session that was created before `at_ms`.
    fn end_by_peer(&mut self, cx: &mut Cx<'_>, id: &SessionId, at_ms: i64) {
        let session = self.sessions.get(id.as_modified_utf8());
        if session.is_some_and(|session| session.creation_time_ms <= at_ms) {
            self.remove(cx, id, ExpiryCause::ByPeer, Origin::Remote);
            self.stats.reconciled_endings = self.stats.reconciled_endings.wrapping_add(1);
        }
    }

    fn learn_rename(
        &mut self,
        cx: &mut Cx<'_>,
        old: SessionId,
        new: SessionId,
        at_ms: i64,
        memory: Duration,
    ) {
        if old == new {
            return;
        }
        if let Some(session) = self.sessions.get(old.as_modified_utf8()) {
            let stale = session.history.id_since_ms >= at_ms;
            let created = session.creation_time_ms;
            if stale {
                return;
            }
            self.stats.reconciled_endings = self.stats.reconciled_endings.wrapping_add(1);
            if self.departed.expired_since(new.as_modified_utf8(), created) {
                self.remove(cx, &old, ExpiryCause::ByPeer, Origin::Remote);
            } else {
                self.rename(cx, &old, &new, Stamp::new(at_ms, 0), Origin::Remote);
                self.apply_early(cx, &new);
            }
            return;
        }
        match self.departed.get(old.as_modified_utf8()) {
            // It was ended here under its old name while it got a new one there.
            Some(&Departure::Expired {
                at_ms: ended,
                timed_out: false,
            }) => {
                self.end_by_peer(cx, &new, ended);
                if self.departed.get(new.as_modified_utf8()).is_none()
                    && !self.sessions.contains(new.as_modified_utf8())
                {
                    self.departed
                        .remember_for(cx.now, memory, new, Departure::ended(ended));
                }
            }
            Some(Departure::Expired { .. }) => {}
            Some(Departure::Renamed { at_ms: known, .. }) if *known >= at_ms => {}
            _ => {
                let departure = Departure::Renamed { to: new, at_ms };
                self.departed.remember_for(cx.now, memory, old, departure);
            }
        }
    }

    /// Takes over what is newer in a session as another node has it; whether anything changed, and how many fields lost a
    /// value that the other had not known.
    pub(super) fn merge_told(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        told: ToldSession,
    ) -> (bool, u64) {
        let text = id.as_modified_utf8();
        let renamed = match self.departed.get(text) {
            Some(Departure::Renamed { at_ms, .. }) => told.id_since_ms <= *at_ms,
            _ => false,
        };
        if self.departed.expired_since(text, told.creation_time_ms) {
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
            return (false, 0);
        }
        let id = if renamed {
            // The other has not heard of the new id yet; what it has written belongs to it.
            match self.known(text) {
                Some(present) => present,
                None => return (false, 0),
            }
        } else {
            id
        };
        let text = id.as_modified_utf8();
        let is_new = !self.sessions.contains(text);
        if is_new {
            if self.sessions.len() >= self.config.limits.sessions_max {
                self.stats.sessions_refused = self.stats.sessions_refused.wrapping_add(1);
                return (false, 0);
            }
            self.departed.recall(text);
            let interval = self.config.session_timeout;
            let mut session =
                DeltaSession::new(id.clone(), cx.now, told.creation_time_ms, interval);
            // It goes on to age: comparing keeps no copy alive that nobody uses.
            session.idle_for(cx.now, cx.unix_ms, told.idle_ms);
            session.delta.record_all_actions = self.config.record_all_actions;
            self.add(cx, session, Origin::Remote);
        }
        let (changed, conflicts) = self.merge_fields(cx, &id, told, renamed);
        if is_new {
            self.apply_early(cx, &id);
        }
        let changed = changed || is_new;
        let counted = u64::from(changed);
        self.stats.reconciled_sessions = self.stats.reconciled_sessions.wrapping_add(counted);
        self.stats.conflicts = self.stats.conflicts.wrapping_add(conflicts);
        (changed, conflicts)
    }

    fn merge_fields(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        told: ToldSession,
        renamed: bool,
    ) -> (bool, u64) {
        let Some(session) = self.sessions.get_mut(id.as_modified_utf8()) else {
            return (false, 0);
        };
        let tell = self.config.notify_listeners_on_replication && cx.events.wants_attributes();
        let (mut changed, mut conflicts) = (false, 0u64);
        for theirs in told.fields {
            let field = theirs.field;
            if field.0 == ActionType::ATTRIBUTE {
                let value = match &theirs.value {
                    ToldValue::Value(value) => Some(value),
                    ToldValue::Removed | ToldValue::Same => None,
                };
                if !self.filters.included(&field.1, value) {
                    continue;
                }
            }
            if session.is_pending(&field) {
                continue;
            }
            let ours = session.history.of(&field);
            let here = session.value_of(&field);
            let value = match theirs.value {
                ToldValue::Same => here.clone(),
                ToldValue::Removed => None,
                ToldValue::Value(value) => Some(value),
            };
            let order = theirs.stamp.cmp(&ours);
            // Two writes with one stamp: a node that lost its memory and its clock. Any rule will do that all follow.
            let greater = || {
                let bytes = |value: &Option<_>| {
                    value
                        .as_ref()
                        .map(|v: &crate::java::JavaBytes| v.bytes().clone())
                };
                bytes(&value) > bytes(&here)
            };
            if order.is_lt() || (order.is_eq() && !greater()) {
                continue;
            }
            let differ = value != here;
            let unknown_there = !has_seen(&told.seen, ours);
            let unknown_here = !session.history.has_seen(theirs.stamp);
            conflicts =
                conflicts.saturating_add(u64::from(differ && unknown_there && unknown_here));
            changed |= differ;
            let applied = session.put(&field, theirs.stamp, value);
            let change = match applied {
                Applied::Added => AttributeChange::Added,
                Applied::Replaced => AttributeChange::Replaced,
                Applied::Removed => AttributeChange::Removed,
                Applied::Other | Applied::Unknown => continue,
            };
            if tell {
                cx.events.push(ClusterEvent::AttributeChanged {
                    context: self.context,
                    id: id.clone(),
                    name: field.1,
                    change,
                    origin: Origin::Remote,
                });
            }
        }
        for (writer, time) in told.seen {
            // The newest of them is the version, which follows.
            session.history.note_seen(Stamp::new(time, writer));
        }
        if session.history.saw(told.version) {
            session.primary = false;
            session.idle_for(cx.now, cx.unix_ms, told.idle_ms);
        }
        if !renamed {
            let since = session.history.id_since_ms.max(told.id_since_ms);
            session.history.id_since_ms = since;
            session.creation_time_ms = session.creation_time_ms.max(told.creation_time_ms);
        }
        (changed, conflicts)
    }
}
