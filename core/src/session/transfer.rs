//! Getting the state of the cluster when the manager starts.

use alloc::vec::Vec;
use core::time::Duration;

use super::departed::Departure;
use super::id::lane;
use super::notes::{After, Completion, Part, Place, REQUEST_PREFIX, Request};
use super::state::ReadState;
use super::{
    Cx, DeltaManager, DeltaSession, EventType, ManagerState, Out, SessionMessage, SessionRecord,
    Source, Stamp, TransferOutcome, TransferResult,
};
use crate::channel::{Channel, Lane, MemberIndex, SendOptions, To};
use crate::cluster::{ClusterEvent, Origin};
use crate::plant::{Bug, planted};
use crate::time::Instant;

/// The requester's side of a state transfer.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    phase: Phase,
    /// Members that need not be asked any more.
    tried: Vec<MemberIndex>,
    /// Since when members were asked.
    begun: Instant,
    /// A member gave its state completely but had not finished its own transfer: kept if nobody has more.
    second_best: Option<MemberIndex>,
    /// A member failed to give its state.
    failed: bool,
    sessions: usize,
    /// A number for each question, to recognise what came as its answer.
    serial: u32,
    /// All sessions up to this place are here: where the next donor goes on.
    progress: Option<Place>,
    /// Where the round of questions under way began: as long as each brings something, there is another one.
    round_from: Option<Place>,
    outcome: Option<TransferOutcome>,
    /// Attempts after one that did not bring the whole state, and when the next begins.
    retries: u8,
    retry_at: Option<Instant>,
    /// Members that failed to give their state: they are asked last.
    unreliable: Vec<MemberIndex>,
    /// The message of the state under way.
    reading: ReadState,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Starting,
    /// The next donor is to be asked.
    Choosing,
    Asking(Asking),
    /// The messages kept are being applied.
    Draining {
        result: TransferResult,
        from: Option<MemberIndex>,
        snapshot_ms: Option<i64>,
    },
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    donor: MemberIndex,
    silent_until: Instant,
    /// Data messages received, and sessions in them.
    messages: u64,
    sessions: u64,
    /// One of them could not be read, or one is missing.
    damaged: bool,
}

/// How long to wait before the state is asked for again after an attempt that failed; then twice as long, and so on.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Attempts after the first.
const RETRIES_MAX: u8 = 4;

/// Messages applied after a transfer in one call.
const BUDGET: usize = 4096;

/// Local changes so recent that the donor may not have them when it answers.
const IN_FLIGHT: Duration = Duration::from_secs(5);

impl Join {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Starting,
            tried: Vec::new(),
            begun: now,
            second_best: None,
            failed: false,
            sessions: 0,
            serial: 0,
            progress: None,
            round_from: None,
            outcome: None,
            retries: 0,
            retry_at: None,
            unreliable: Vec::new(),
            reading: ReadState::default(),
        }
    }

    /// Whether messages about sessions have to wait.
    pub(crate) const fn is_holding(&self) -> bool {
        !matches!(self.phase, Phase::Ready)
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Choosing;
        self.tried.clear();
        self.begun = now;
        self.second_best = None;
        self.failed = false;
        self.sessions = 0;
        self.progress = None;
        self.round_from = None;
    }
}

impl DeltaManager {
    /// Where the manager is between start and service.
    pub const fn state(&self) -> ManagerState {
        // It serves already while it tries once more.
        if self.join.retries > 0 {
            return ManagerState::Ready;
        }
        match self.join.phase {
            Phase::Starting | Phase::Choosing => ManagerState::Starting,
            Phase::Asking(asking) => ManagerState::Transferring(asking.donor),
            Phase::Draining { .. } => ManagerState::Starting,
            Phase::Ready => ManagerState::Ready,
        }
    }

    /// How the last state transfer ended.
    pub const fn last_transfer(&self) -> Option<&TransferOutcome> {
        self.join.outcome.as_ref()
    }

    /// The members are known: the transfer may begin. Also begins one anew (`getAllClusterSessions`).
    pub(crate) fn begin_transfer(&mut self, now: Instant) -> bool {
        let idle = matches!(self.join.phase, Phase::Starting | Phase::Ready);
        if idle {
            self.join.begin(now);
        }
        idle
    }

    /// Whether the members were not known yet when the manager was registered.
    pub(crate) const fn is_starting(&self) -> bool {
        matches!(self.join.phase, Phase::Starting)
    }

    /// A member has come that is older than we are: if we found nobody to ask, it may have the state.
    pub(crate) fn older_member(&mut self, now: Instant) {
        let alone = self
            .join
            .outcome
            .is_some_and(|outcome| outcome.result == TransferResult::NoMembers);
        let patience = self.config.state_transfer_timeout.unwrap_or(Duration::MAX);
        if alone && self.join.is_ready() && now.since(self.join.begun) < patience {
            self.join.begin(now);
        }
    }

    /// A member is gone.
    pub(crate) fn member_gone(&mut self, now: Instant, member: MemberIndex) {
        self.reconcile.forget(member);
        // Some of us may have its last words, some not.
        self.reconcile.wish_all(now);
        self.donors.forget(member, &mut self.stats);
        self.join
            .unreliable
            .retain(|unreliable| *unreliable != member);
        if self.join.second_best == Some(member) {
            self.join.second_best = None;
        }
        if matches!(self.join.phase, Phase::Asking(asking) if asking.donor == member) {
            self.next_donor(true);
        }
    }

    fn next_donor(&mut self, failed: bool) {
        if let Phase::Asking(asking) = self.join.phase {
            self.join.tried.push(asking.donor);
            self.join.failed |= failed;
            if failed && !self.join.unreliable.contains(&asking.donor) {
                self.join.unreliable.push(asking.donor);
            }
            self.join.phase = Phase::Choosing;
        }
    }

    /// Does what is due as requester.
    pub(crate) fn pump_join(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        if self.join.retry_at.is_some_and(|at| at <= cx.now) {
            self.retry(cx.now, out);
        }
        if let Phase::Asking(asking) = self.join.phase
            && asking.silent_until <= cx.now
        {
            self.next_donor(true);
        }
        if let Some(timeout) = self.config.state_transfer_timeout
            && matches!(self.join.phase, Phase::Asking(_) | Phase::Choosing)
            && !timeout.is_zero()
            && cx.now.since(self.join.begun) >= timeout
        {
            self.drain(TransferResult::TimedOut, None, None);
        }
        while matches!(self.join.phase, Phase::Choosing) {
            self.choose(cx, out);
        }
        if let Phase::Draining {
            result,
            from,
            snapshot_ms,
        } = self.join.phase
        {
            for _ in 0..BUDGET {
                let next = match planted(Bug::DeltaOutOfOrder) {
                    true => self.held.pop_newest(),
                    false => self.held.pop(),
                };
                let Some(held) = next else {
                    self.finish_transfer(cx, result, from);
                    break;
                };
                if planted(Bug::HeldDropped) {
                    continue;
                }
                if self.is_contained(&held, from, snapshot_ms) {
                    self.stats.contained_dropped = self.stats.contained_dropped.wrapping_add(1);
                } else {
                    self.apply_held(cx, &held);
                }
            }
        }
    }

    /// When [`pump_join`](Self::pump_join) has something to do; zero for at once.
    pub(crate) fn join_deadline(&self) -> Option<Instant> {
        let timeout = self
            .config
            .state_transfer_timeout
            .map(|timeout| self.join.begun + timeout);
        match self.join.phase {
            Phase::Starting => None,
            Phase::Ready => self.join.retry_at,
            Phase::Choosing | Phase::Draining { .. } => Some(Instant::ZERO),
            Phase::Asking(asking) => {
                Some(timeout.map_or(asking.silent_until, |at| at.min(asking.silent_until)))
            }
        }
    }

    /// Asks for the state once more. Our own nodes are compared with anyway; a Tomcat has to be asked.
    fn retry(&mut self, now: Instant, out: &Out<'_>) {
        self.join.retry_at = None;
        let channel = &out.channel;
        let foreign = |member| !channel.is_ours(member) || !self.reconciles();
        if self.join.is_ready() && channel.members().any(|(member, _)| foreign(member)) {
            self.join.begin(now);
            self.join.retries = self.join.retries.saturating_add(1);
        }
    }

    /// Asks the oldest member that has not been asked, or ends the transfer if there is none. Those that have failed before come
    /// last. Where a donor has brought a part, another of our own nodes goes on.
    fn choose(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let begun = self.join.progress.is_some();
        let begins_anew = |member| begun && !out.channel.is_ours(member);
        let members = out.channel.members().map(|(member, _)| member);
        let untried = members.filter(|member| !self.join.tried.contains(member));
        let next = untried
            .min_by_key(|member| (self.join.unreliable.contains(member), begins_anew(*member)));
        let Some(donor) = next else {
            if self.join.failed && self.join.progress > self.join.round_from {
                self.join.round_from = self.join.progress;
                self.join.tried.clear();
                return;
            }
            let result = match self.join.second_best {
                _ if self.join.failed => TransferResult::Incomplete,
                Some(_) => TransferResult::Complete,
                None if self.join.tried.is_empty() => TransferResult::NoMembers,
                None => TransferResult::NoContextManager,
            };
            return self.drain(result, self.join.second_best, None);
        };
        let awaited = self.config.state_transfer_timeout != Some(Duration::ZERO);
        self.join.serial = self.join.serial.wrapping_add(1);
        let progress = match planted(Bug::ResumeForgets) {
            true => self
                .join
                .progress
                .map(|at| at.saturating_add(Place::MAX / 8)),
            false => self.join.progress,
        };
        let since = cx.now.since(self.join.begun).as_millis();
        let after = progress.map(|place| After {
            place,
            new_ms: u64::try_from(since).unwrap_or(u64::MAX),
        });
        let request = out.channel.may_be_ours(donor).then_some(Request {
            transfer: self.join.serial,
            after,
        });
        let resumes = request.is_some_and(|request| request.after.is_some());
        let request = request.map(Request::text).unwrap_or_default();
        let asked = self.tell(
            cx,
            out,
            donor,
            EventType::GetAllSessions,
            b"GET-ALL",
            REQUEST_PREFIX,
            request.as_bytes(),
            SendOptions::ASYNCHRONOUS,
        );
        if !asked {
            self.join.tried.push(donor);
            self.join.failed = true;
        } else if awaited {
            self.stats.transfers_resumed = self
                .stats
                .transfers_resumed
                .wrapping_add(u64::from(resumes));
            self.join.phase = Phase::Asking(Asking {
                donor,
                silent_until: cx.now + self.config.state_transfer_silence,
                messages: 0,
                sessions: 0,
                damaged: false,
            });
        } else {
            self.drain(TransferResult::NotAwaited, Some(donor), None);
        }
    }

    /// Sends one of the messages of a transfer, which have fixed texts; whether it could be sent.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(crate) fn tell(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        to: MemberIndex,
        kind: EventType,
        word: &[u8],
        prefix: &[u8],
        suffix: &[u8],
        options: SendOptions,
    ) -> bool {
        let name = self.name.as_modified_utf8();
        let unique_id = [prefix, name, suffix].concat();
        let timestamp_ms = cx.unix_ms;
        out.buffer.clear();
        SessionMessage::new(kind, name, word, &unique_id, timestamp_ms).write(out.buffer);
        let lane = Lane::Ordered(lane(name));
        let sent =
            out.channel
                .send_object(cx.now, To::Member(to), options, lane, out.buffer.as_slice());
        if sent.is_ok() {
            self.count_sent(kind);
        }
        sent.is_ok()
    }

    /// ALL_SESSION_DATA: all of it is read before any of it is used.
    pub(crate) fn state_received(
        &mut self,
        cx: &mut Cx<'_>,
        source: Source,
        unique_id: &[u8],
        payload: &[u8],
    ) {
        let from = source.index;
        let mut reading = core::mem::take(&mut self.join.reading);
        let read = reading.read(payload, &self.config.limits.java);
        let count = read.is_ok().then_some(reading.records.len());
        self.count_part(cx.now, source, unique_id, count);
        if let Err(error) = read {
            self.unreadable(cx, from, EventType::AllSessionData, error);
        }
        let records = &mut reading.records;
        if planted(Bug::HalfTransfer) {
            records.truncate(records.len().div_ceil(2));
        }
        self.join.sessions = self.join.sessions.saturating_add(records.len());
        for record in records.drain(..) {
            self.merge(cx, source, record);
        }
        // Whoever is asked sends more; what comes unasked may be all.
        if matches!(self.join.phase, Phase::Asking(_)) {
            self.join.reading = reading;
        }
    }

    /// Counts what has come of the state that was asked for; `sessions` is none if it could not be read.
    fn count_part(
        &mut self,
        now: Instant,
        source: Source,
        unique_id: &[u8],
        sessions: Option<usize>,
    ) {
        let came = sessions.and_then(|sessions| u64::try_from(sessions).ok());
        self.stats.transfer_sessions_received = self
            .stats
            .transfer_sessions_received
            .saturating_add(came.unwrap_or_default());
        let Phase::Asking(asking) = &mut self.join.phase else {
            return;
        };
        if source.index != Some(asking.donor) {
            return;
        }
        let note = match source.ours {
            true => Part::read(unique_id, self.name.as_modified_utf8()),
            false => None,
        };
        // What is left of an earlier answer, and what comes once more on a new connection, counts no more.
        if note
            .is_some_and(|part| part.transfer != self.join.serial || part.number <= asking.messages)
        {
            return;
        }
        asking.silent_until = now + self.config.state_transfer_silence;
        asking.messages = asking.messages.saturating_add(1);
        asking.sessions = asking.sessions.saturating_add(came.unwrap_or_default());
        asking.damaged |= came.is_none();
        if let Some(part) = note {
            asking.damaged |= part.number != asking.messages || Some(part.sessions) != came;
            if !asking.damaged && part.whole {
                self.join.progress = self.join.progress.max(part.to);
            }
        }
    }

    /// Takes over a session of the state. One that is here and newer stays.
    fn merge(&mut self, cx: &mut Cx<'_>, source: Source, mut record: SessionRecord) {
        let skipped = u64::try_from(record.skipped).unwrap_or(u64::MAX);
        self.stats.values_skipped = self.stats.values_skipped.saturating_add(skipped);
        let text = record.id.as_modified_utf8();
        let gone = match self.departed.get(text) {
            // The donor has missed the change of id: an id given up must not open the session again.
            // Unless the session has got it back since, which one of ours says.
            Some(Departure::Renamed { at_ms, .. }) => {
                let back = source.ours && record.head.version > *at_ms;
                !back && !planted(Bug::RenamedRevived)
            }
            _ if planted(Bug::ExpiredRevived) => false,
            _ => self
                .departed
                .expired_since(text, record.head.creation_time_ms),
        };
        if gone || !record.head.is_valid {
            self.stats.late_dropped = self.stats.late_dropped.wrapping_add(1);
            return;
        }
        record
            .attributes
            .retain(|(name, value)| self.filters.included(name, Some(value)));
        let local = self.sessions.get(text);
        let known = local.is_some();
        let keep = local.is_some_and(|local| self.is_newer(cx.now, local, source, &record));
        if known {
            self.stats.session_replace_counter = self.stats.session_replace_counter.wrapping_add(1);
        }
        if keep {
            return;
        }
        if !known && self.sessions.len() >= self.config.limits.sessions_max {
            self.stats.sessions_refused = self.stats.sessions_refused.wrapping_add(1);
            return;
        }
        let used_ms = record.head.this_accessed_time_ms;
        let mut session = record.into_session(cx.now, cx.unix_ms);
        session.transfer = self.join.serial;
        session.delta.record_all_actions = self.config.record_all_actions;
        if source.ours {
            let since_ms = core::mem::take(&mut session.version);
            session.history.came_with(since_ms, used_ms);
        } else {
            let local = self.sessions.get(session.id.as_modified_utf8());
            session.stamp_difference(local, &self.filters, used_ms, source.writer);
        }
        let id = self.join.is_ready().then(|| session.id.clone());
        let local = match known {
            true => self.sessions.get_mut(session.id.as_modified_utf8()),
            false => None,
        };
        if let Some(local) = local {
            session.lane = local.lane;
            session.access_count = local.access_count;
            session.last_time_replicated_ms = local.last_time_replicated_ms;
            session.delta = core::mem::replace(&mut local.delta, session.delta);
            for action in session.delta.actions.clone() {
                session.apply(action);
            }
            *local = session;
        } else {
            self.departed.recall(session.id.as_modified_utf8());
            self.add(cx, session, Origin::Remote);
        }
        if let Some(id) = id {
            self.apply_early(cx, &id);
        }
    }

    /// Whether a session that is here is newer than the donor's copy of it.
    fn is_newer(
        &self,
        now: Instant,
        local: &DeltaSession,
        source: Source,
        record: &SessionRecord,
    ) -> bool {
        // One of ours is compared with field by field as soon as its state is here.
        if source.ours && local.history.version() != Stamp::default() {
            return true;
        }
        let later = local.this_accessed_time_ms > record.head.this_accessed_time_ms;
        // What was changed here has gone out, but may still have been on its way to the donor when that took its state.
        let on_its_way = |since| local.primary && local.this_accessed + IN_FLIGHT > since;
        match self.join.phase {
            // What others changed since the transfer began is kept apart and applied after it.
            Phase::Asking(_) => on_its_way(self.join.begun) || (local.primary && later),
            // Nobody has asked: it comes because we had fallen behind.
            _ => later || on_its_way(now),
        }
    }

    /// ALL_SESSION_TRANSFERCOMPLETE. One of our own nodes says how many data messages and sessions there were, and
    /// whether it had the whole state itself.
    pub(crate) fn transfer_complete(
        &mut self,
        _cx: &mut Cx<'_>,
        from: Option<MemberIndex>,
        snapshot_ms: i64,
        unique_id: &[u8],
    ) {
        let Phase::Asking(asking) = self.join.phase else {
            return;
        };
        if from != Some(asking.donor) {
            return;
        }
        let note = Completion::read(unique_id, self.name.as_modified_utf8());
        if note.is_some_and(|note| note.transfer != self.join.serial) {
            return;
        }
        let missing = note.is_some_and(|note| {
            (note.messages, note.sessions) != (asking.messages, asking.sessions)
        });
        if asking.damaged || missing {
            return self.next_donor(true);
        }
        if note.is_some_and(|note| !note.whole) {
            self.join.second_best = from;
            return self.next_donor(false);
        }
        self.join.failed = false;
        self.drain(TransferResult::Complete, from, Some(snapshot_ms));
    }

    /// ALL_SESSION_NOCONTEXTMANAGER: the next member may have the application.
    pub(crate) fn no_context_manager(&mut self, _cx: &mut Cx<'_>, from: Option<MemberIndex>) {
        if matches!(self.join.phase, Phase::Asking(asking) if from == Some(asking.donor)) {
            self.next_donor(false);
        }
    }

    fn drain(
        &mut self,
        result: TransferResult,
        from: Option<MemberIndex>,
        snapshot_ms: Option<i64>,
    ) {
        self.join.phase = Phase::Draining {
            result,
            from,
            snapshot_ms,
        };
    }

    /// Whether a message kept during the transfer is part of the state that came: the donor sent it before it took
    /// its snapshot, by the same clock.
    fn is_contained(
        &self,
        held: &super::held::Held,
        from: Option<MemberIndex>,
        snapshot_ms: Option<i64>,
    ) -> bool {
        self.config.state_timestamp_drop
            && held.kind != EventType::SessionExpired
            && held.source.index.is_some()
            && held.source.index == from
            && snapshot_ms.is_some_and(|snapshot| held.timestamp_ms < snapshot)
            && self
                .sessions
                .get(held.id.as_modified_utf8())
                .is_some_and(|session| session.transfer == self.join.serial)
    }

    fn finish_transfer(
        &mut self,
        cx: &mut Cx<'_>,
        result: TransferResult,
        from: Option<MemberIndex>,
    ) {
        let outcome = TransferOutcome {
            result,
            from,
            sessions: self.join.sessions,
            took: cx.now.since(self.join.begun),
        };
        let failed = matches!(
            result,
            TransferResult::Incomplete | TransferResult::TimedOut
        );
        if failed && self.join.retries < RETRIES_MAX {
            let wait = RETRY_AFTER.saturating_mul(1 << self.join.retries);
            self.join.retry_at = Some(cx.now + wait);
        } else {
            self.join.retry_at = None;
            self.join.unreliable.clear();
        }
        if !result.is_whole() {
            self.stats.counter_no_state_transferred =
                self.stats.counter_no_state_transferred.wrapping_add(1);
        }
        self.join.phase = Phase::Ready;
        self.join.reading = ReadState::default();
        self.join.outcome = Some(outcome);
        self.meet_again(cx.now);
        cx.events.push(ClusterEvent::StateTransfer {
            context: self.context,
            outcome,
        });
    }
}

/// Whether the state of the cluster is wanted from the oldest member on, and who that is.
pub(crate) fn is_older(channel: &Channel, member: MemberIndex) -> bool {
    let local = channel.local_member().alive_ms;
    channel
        .member(member)
        .is_some_and(|member| member.alive_ms > local)
}
