//! State transfer, as the one that joins and as the one that gives.

use core::time::Duration;

use super::area::Area;
use super::cluster::{Cluster, count};
use super::departed::hash;
use super::held::About;
use super::manager::Applied;
use super::output::{JavaOut, Out};
use super::peers::Donor;
use super::record::{ReadError, Source, write_session};
use super::table::{Sessions, Slot};
use super::{Event, MemberIndex, Refusal, TransferResult};
use crate::java::places::Walk;
use crate::session::{ActionType, EventType, SessionMessage};
use crate::time::Instant;
use crate::wire::{Full, SendOptions, Sink};

/// ALL_SESSION_DATA goes out acknowledged after processing, whatever the cluster's options are.
const DATA_OPTIONS: SendOptions = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
/// Room for what follows the payload in a message: the fixed words and the manager's name twice.
const TAIL: usize = 256;
/// Local changes so recent that the donor may not have them when it answers.
const IN_FLIGHT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The members are not known yet.
    Starting,
    /// The next donor is to be asked.
    Choosing,
    Asking(MemberIndex, Instant),
    Ready,
}

/// The joining side.
#[derive(Debug)]
pub(super) struct Join {
    step: Step,
    begun: Instant,
    failed: bool,
    asked: bool,
    /// Something of what came could not be used.
    damaged: bool,
    sessions: usize,
    /// Who gave the state, and when it took its snapshot.
    contained: Option<(MemberIndex, i64)>,
    result: Option<TransferResult>,
}

impl Join {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            step: Step::Starting,
            begun: now,
            failed: false,
            asked: false,
            damaged: false,
            sessions: 0,
            contained: None,
            result: None,
        }
    }

    /// Whether messages about sessions have to wait.
    pub(super) fn is_holding(&self) -> bool {
        self.step != Step::Ready
    }
}

impl<'m, L> Cluster<'m, L> {
    pub(super) fn join_deadline(&self) -> Option<Instant> {
        match self.join.step {
            Step::Starting | Step::Ready => None,
            Step::Choosing => Some(Instant::ZERO),
            Step::Asking(_, silent_until) => {
                Some(silent_until.min(self.join.begun + self.config.state_transfer_timeout))
            }
        }
    }

    /// Whether the state of the cluster is here, or there is none, or the wait is over.
    pub fn is_ready(&self) -> bool {
        self.join.step == Step::Ready
    }

    /// When there is something to give.
    pub(super) fn donor_deadline(&self) -> Option<Instant> {
        let gives = |peer: &super::peers::Peer| {
            peer.donor.is_some_and(|donor| !donor.open) && peer.lane.is_empty()
                || peer.lagging && peer.verified && peer.donor.is_none() && peer.lane.is_empty()
        };
        self.peers.iter().any(gives).then_some(Instant::ZERO)
    }
}

impl<L> Cluster<'_, L> {
    /// Asks the cluster for all sessions. `DeltaManager.getAllClusterSessions`; a start does it by itself.
    pub fn get_all_cluster_sessions(&mut self, now: Instant) {
        self.begin_transfer(now);
        self.pump_join(now);
    }

    pub(super) fn begin_transfer(&mut self, now: Instant) {
        if !matches!(self.join.step, Step::Starting | Step::Ready) {
            return;
        }
        self.join = Join {
            step: Step::Choosing,
            ..Join::new(now)
        };
        for peer in self.peers.iter_mut() {
            peer.tried = false;
        }
        for slot in 0..self.sessions.slots() {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.transferred = false;
            }
        }
    }

    /// A member has come: if we found nobody to ask, it may have the state.
    pub(super) fn join_member_added(&mut self, now: Instant) {
        let alone = self.join.result == Some(TransferResult::NoMembers);
        if alone && now.since(self.join.begun) < self.config.state_transfer_timeout {
            self.begin_transfer(now);
        }
    }

    pub(super) fn join_member_gone(&mut self, member: MemberIndex) {
        if matches!(self.join.step, Step::Asking(donor, _) if donor == member) {
            self.next_donor(true);
        }
    }

    fn next_donor(&mut self, failed: bool) {
        if let Step::Asking(donor, _) = self.join.step {
            if let Some(peer) = self.slot(donor).and_then(|slot| self.peers.get_mut(slot)) {
                peer.tried = true;
            }
            self.join.failed |= failed;
            self.join.step = Step::Choosing;
        }
    }

    /// Does what is due as the one that joins.
    pub(super) fn pump_join(&mut self, now: Instant) {
        if let Step::Asking(_, silent_until) = self.join.step
            && silent_until <= now
        {
            self.next_donor(true);
        }
        let waiting = matches!(self.join.step, Step::Asking(..) | Step::Choosing);
        if waiting && self.join.begun + self.config.state_transfer_timeout <= now {
            self.end_transfer(TransferResult::TimedOut);
        }
        while self.join.step == Step::Choosing {
            let untried = |peer: &super::peers::Peer| peer.verified && !peer.tried;
            let members = self.peers.iter().enumerate();
            let oldest = members
                .filter(|(_, peer)| untried(peer))
                .min_by_key(|(_, peer)| peer.started_ms)
                .map(|(slot, _)| slot);
            let Some(slot) = oldest else {
                self.end_transfer(match (self.join.failed, self.join.asked) {
                    (true, _) => TransferResult::Incomplete,
                    (false, true) => TransferResult::NoContextManager,
                    (false, false) => TransferResult::NoMembers,
                });
                return;
            };
            self.join.asked = true;
            self.join.damaged = false;
            let options = SendOptions::ASYNCHRONOUS;
            if self.tell(
                now,
                slot,
                EventType::GetAllSessions,
                b"GET-ALL",
                b"GET-ALL-",
                0,
                options,
            ) {
                let silent_until = now + self.config.state_transfer_silence;
                self.join.step = Step::Asking(self.index(slot), silent_until);
            } else if let Some(peer) = self.peers.get_mut(slot) {
                peer.tried = true;
                self.join.failed = true;
            }
        }
    }

    fn end_transfer(&mut self, result: TransferResult) {
        self.join.step = Step::Ready;
        self.join.result = Some(result);
        self.retry_held = true;
        self.event(Event::StateTransfer(result, self.join.sessions));
    }

    /// Sends one of the messages of a transfer, which have fixed texts; `false` without room.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn tell(
        &mut self,
        now: Instant,
        slot: usize,
        kind: EventType,
        word: &[u8],
        prefix: &[u8],
        timestamp_ms: i64,
        options: SendOptions,
    ) -> bool {
        let name = self.config.manager_name.as_bytes();
        let mut unique_id = heapless::Vec::<u8, 128>::new();
        let _ = unique_id.extend_from_slice(prefix);
        let _ = unique_id.extend_from_slice(name);
        let timestamp_ms = match timestamp_ms {
            0 => self.unix_ms(now),
            given => given,
        };
        let message = SessionMessage::new(kind, name, word, &unique_id, timestamp_ms);
        match self.encode(message, |_, _, _| Ok(())) {
            Ok(len) => self.queue_message(now, slot, options, len, false),
            Err(Full) => false,
        }
    }

    /// ALL_SESSION_DATA. All of it is passed over before any of it is used, so that a damaged message changes nothing; then
    /// each session is taken that fits.
    pub(super) fn state_received(
        &mut self,
        now: Instant,
        from: Option<MemberIndex>,
        payload: &[u8],
    ) -> Applied {
        let asked = matches!(self.join.step, Step::Asking(donor, _) if Some(donor) == from);
        if asked && let Some(donor) = from {
            self.join.step = Step::Asking(donor, now + self.config.state_transfer_silence);
        }
        let whole = check_state(&mut self.walk, payload, now);
        let Ok(count_all) = whole else {
            self.join.damaged |= asked;
            return Applied::Refused(Refusal::Unreadable);
        };
        let mut refusal = None;
        let mut from_record = 0;
        while from_record < count_all {
            // From the beginning for each that did not fit: what it left unread is passed over then.
            match self.take_sessions(now, payload, from_record) {
                Ok(()) => break,
                Err((next, why)) => {
                    refusal = Some(why);
                    from_record = next;
                }
            }
        }
        match refusal {
            None => Applied::Done,
            Some(refusal) => {
                self.join.damaged |= asked;
                Applied::Refused(refusal)
            }
        }
    }

    /// Takes the sessions of a state from number `first` on; ends at one that does not fit, with the number of the next.
    fn take_sessions(
        &mut self,
        now: Instant,
        payload: &[u8],
        first: usize,
    ) -> Result<(), (usize, Refusal)> {
        let unreadable = (usize::MAX, Refusal::Unreadable);
        // Where the session lies that is being read.
        let scratch = core::mem::take(&mut self.scratch);
        let mut walk = core::mem::replace(&mut self.walk, Walk::empty());
        let result = (|| {
            let mut source = Source::new(&mut walk, payload).map_err(|_| unreadable)?;
            let all = source.items.integer().map_err(|_| unreadable)?;
            for number in 0..usize::try_from(all).unwrap_or_default() {
                if number < first {
                    source.session(now, None).map_err(|_| unreadable)?;
                    continue;
                }
                let next = number.saturating_add(1);
                let mut area = Area::new(&mut *scratch, 0, 0);
                let (session, is_valid) = match source.session(now, Some(&mut area)) {
                    Ok(read) => read,
                    Err(ReadError::Full) => return Err((next, Refusal::SessionTooLarge)),
                    Err(ReadError::Java) => return Err(unreadable),
                };
                if let Err(refusal) = self.merge(now, session, is_valid, area) {
                    return Err((next, refusal));
                }
            }
            self.stats.values_skipped = self.stats.values_skipped.wrapping_add(source.skipped);
            Ok(())
        })();
        (self.scratch, self.walk) = (scratch, walk);
        result
    }

    /// Takes over a session of the state. One that is here and newer stays; what was changed here and not sent stays in force.
    fn merge(
        &mut self,
        now: Instant,
        mut session: Slot,
        is_valid: bool,
        mut area: Area<'_>,
    ) -> Result<(), Refusal> {
        let id_len = area.id_len();
        if id_len == 0 || id_len > super::manager::ID_MAX {
            return Err(Refusal::BadSessionId);
        }
        let id = hash(area.contents().get(..id_len).unwrap_or_default());
        if !is_valid
            || self.departed.renamed(id).is_some()
            || self.departed.expired_since(id, session.creation_time_ms)
        {
            count(&mut self.stats.late_dropped);
            return Ok(());
        }
        let known = self
            .sessions
            .find(area.contents().get(..id_len).unwrap_or_default());
        session.transferred = true;
        session.this_accessed = now;
        let theirs = core::mem::replace(&mut session.this_accessed_time_ms, self.unix_ms(now));
        let Some(slot) = known else {
            self.sessions
                .insert(session, id_len, area.contents())
                .map_err(|Full| Refusal::TooManySessions)?;
            self.departed.recall(id);
            self.retry_held = true;
            self.join.sessions = self.join.sessions.saturating_add(1);
            return Ok(());
        };
        let Some(local) = self.sessions.get(slot) else {
            return Ok(());
        };
        let later = local.this_accessed_time_ms > theirs;
        let keep = match self.join.step {
            Step::Asking(..) => {
                local.primary && (later || local.this_accessed + IN_FLIGHT > self.join.begun)
            }
            _ => later,
        };
        if keep {
            return Ok(());
        }
        session.access_count = local.access_count;
        session.last_time_replicated_ms = local.last_time_replicated_ms;
        if local.dirty_new {
            (session.dirty_new, session.is_new) = (true, local.is_new);
        }
        if local.dirty_interval {
            session.dirty_interval = true;
            session.max_inactive_interval = local.max_inactive_interval;
        }
        for record in self.sessions.records(slot).filter(|record| record.dirty) {
            let full = |Full| Refusal::SessionTooLarge;
            if record.kind != ActionType::LISTENER {
                area.remove(record.kind, record.name);
            }
            let at = area
                .begin(record.kind, record.name, true, record.removed)
                .map_err(full)?;
            area.put(record.value).map_err(full)?;
            area.end(at);
        }
        if let Some(place) = self.sessions.get_mut(slot) {
            (session.id_len, session.hash) = (place.id_len, place.hash);
            *place = session;
        }
        self.join.sessions = self.join.sessions.saturating_add(1);
        let replaced = self.sessions.replace(slot, id_len, area.contents());
        replaced.map_err(|Full| Refusal::SessionTooLarge)
    }

    /// ALL_SESSION_TRANSFERCOMPLETE.
    pub(super) fn transfer_complete(&mut self, from: Option<MemberIndex>, snapshot_ms: i64) {
        let Step::Asking(donor, _) = self.join.step else {
            return;
        };
        if from != Some(donor) {
            return;
        }
        if self.join.damaged {
            return self.next_donor(true);
        }
        self.join.contained = Some((donor, snapshot_ms));
        self.end_transfer(TransferResult::Complete);
    }

    /// ALL_SESSION_NOCONTEXTMANAGER: the next member may have the application.
    pub(super) fn no_context_manager(&mut self, from: Option<MemberIndex>) {
        if matches!(self.join.step, Step::Asking(donor, _) if from == Some(donor)) {
            self.next_donor(false);
        }
    }

    /// Whether a message kept during the transfer is part of the state that came: its donor sent it before it took its
    /// snapshot, by the same clock. `stateTimestampDrop`.
    pub(super) fn is_contained(&self, about: &About<'_>) -> bool {
        let Some((donor, snapshot_ms)) = self.join.contained else {
            return false;
        };
        about.kind != EventType::SessionExpired
            && about.from == Some(donor)
            && about.timestamp_ms < snapshot_ms
            && self
                .sessions
                .find(about.id)
                .and_then(|slot| self.sessions.get(slot))
                .is_some_and(|session| session.transferred)
    }

    // --- giving ---------------------------------------------------------------------------------------------------

    /// A member wants all sessions, or has to get them because it missed some messages.
    pub(super) fn serve(&mut self, now: Instant, to: Option<MemberIndex>, asked: bool) {
        let snapshot_ms = self.unix_ms(now);
        let slot = to.and_then(|to| self.slot(to));
        if let Some(peer) = slot.and_then(|slot| self.peers.get_mut(slot)) {
            // Who asks again starts over.
            let open = peer.donor.is_some_and(|donor| donor.open);
            peer.donor = Some(Donor {
                asked,
                cursor: 0,
                open,
                messages: 0,
                snapshot_ms,
            });
        }
    }

    /// One message to each member whose turn it is.
    pub(super) fn pump_donors(&mut self, now: Instant) {
        for slot in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(slot) else {
                continue;
            };
            if !peer.lane.is_empty() {
                continue;
            }
            if core::mem::take(&mut peer.lagging) && peer.verified && peer.donor.is_none() {
                let index = self.index(slot);
                self.serve(now, Some(index), false);
            }
            let donor = self.peers.get(slot).and_then(|peer| peer.donor);
            if let Some(donor) = donor.filter(|donor| !donor.open) {
                self.give(now, slot, donor);
            }
        }
    }

    fn give(&mut self, now: Instant, slot: usize, mut donor: Donor) {
        let name = self.config.manager_name.as_bytes();
        let first = donor.asked && donor.messages == 0;
        if donor.cursor < self.sessions.slots() || first {
            let mut unique_id = heapless::Vec::<u8, 128>::new();
            let _ = unique_id.extend_from_slice(b"SESSION-STATE-");
            let _ = unique_id.extend_from_slice(name);
            let message = SessionMessage {
                session: Some(&[]),
                ..SessionMessage::new(
                    EventType::AllSessionData,
                    name,
                    b"SESSION-STATE",
                    &unique_id,
                    donor.snapshot_ms,
                )
            };
            let (mut next, mut sessions) = (donor.cursor, 0);
            let encoded = self.encode(message, |out, walk, table| {
                (next, sessions) = write_state(out, walk, table, donor.cursor)?;
                Ok(())
            });
            // A session that does not fit a message by itself is left out; the capacities make sure that none is.
            let skipped = next == donor.cursor && next < self.sessions.slots();
            donor.cursor = if skipped {
                next.saturating_add(1)
            } else {
                next
            };
            let sent = match encoded {
                Ok(len) if sessions > 0 || first => {
                    self.queue_message(now, slot, DATA_OPTIONS, len, true)
                }
                Ok(_) => {
                    // Nothing but empty places is left.
                    return self.set_donor(slot, Some(donor));
                }
                Err(Full) => false,
            };
            if !sent {
                return self.transfer_broken(slot);
            }
            donor.open = true;
            donor.messages = donor.messages.saturating_add(1);
            return self.set_donor(slot, Some(donor));
        }
        self.set_donor(slot, None);
        if !donor.asked {
            return;
        }
        let kind = EventType::AllSessionTransferComplete;
        let word = b"SESSION-STATE-TRANSFERRED";
        let options = self.config.channel_send_options;
        if !self.tell(now, slot, kind, word, word, donor.snapshot_ms, options) {
            return self.transfer_broken(slot);
        }
        count(&mut self.stats.transfers_given);
        let to = self.index(slot);
        self.event(Event::StateGiven { to, complete: true });
    }

    fn set_donor(&mut self, slot: usize, donor: Option<Donor>) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.donor = donor;
        }
    }

    fn transfer_broken(&mut self, slot: usize) {
        self.set_donor(slot, None);
        count(&mut self.stats.transfers_broken);
        let to = self.index(slot);
        self.event(Event::StateGiven {
            to,
            complete: false,
        });
    }
}

/// Passes over a whole state; gives the number of sessions.
fn check_state(walk: &mut Walk<'_>, payload: &[u8], now: Instant) -> Result<usize, ReadError> {
    let mut source = Source::new(walk, payload)?;
    let all = usize::try_from(source.items.integer()?).map_err(|_| ReadError::Java)?;
    for _ in 0..all {
        source.session(now, None)?;
    }
    match source.items.is_over() {
        true => Ok(all),
        false => Err(ReadError::Java),
    }
}

/// Writes as many sessions as there is room for; gives the place after the last, and how many they are.
fn write_state(
    out: &mut Out<'_>,
    walk: &mut Walk<'_>,
    table: &Sessions<'_>,
    from: usize,
) -> Result<(usize, usize), Full> {
    let mut java = JavaOut::new(out, walk)?;
    java.integer(0)?;
    let count_at = java.out.len.saturating_sub(4);
    let (mut slot, mut sessions) = (from, 0usize);
    while slot < table.slots() {
        if table.get(slot).is_some() {
            let mark = java.mark();
            let written = write_session(&mut java, table, slot);
            if written.is_err() || java.out.room() < TAIL {
                java.back_to(mark);
                break;
            }
            sessions = sessions.saturating_add(1);
        }
        slot = slot.saturating_add(1);
    }
    java.out.patch(count_at, sessions as u32);
    Ok((slot, sessions))
}
