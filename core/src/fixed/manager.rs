//! `DeltaManager`: what other members say about sessions.

use super::area::Area;
use super::cluster::{Cluster, count};
use super::departed::hash;
use super::held::About;
use super::output::Out;
use super::record::{ReadError, Source, write_delta};
use super::table::Slot;
use super::{Event, MemberIndex, Refusal, Verdict};
use crate::java::{code, places::Walk};
use crate::session::{BYTE_ARRAY, EventType, SessionMessage};
use crate::time::Instant;
use crate::wire::{Full, SendOptions, Sink, UniqueId};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    /// Its session is not here yet.
    Wait,
    Refused(Refusal),
}

/// The bytes of the longest id that can be kept.
pub(super) const ID_MAX: usize = 128;

impl<L> Cluster<'_, L> {
    /// A session message.
    pub(super) fn session_message(
        &mut self,
        now: Instant,
        from: Option<MemberIndex>,
        message: &SessionMessage<'_>,
    ) -> Verdict {
        let name = self.config.manager_name.as_bytes();
        let kind = message.kind();
        if message.context_name.is_some_and(|other| other != name) {
            if let (Some(EventType::GetAllSessions), Some(name), Some(from)) =
                (kind, message.context_name, from)
            {
                self.reply_no_context(now, from, name);
            }
            return Verdict::Processed;
        }
        let Some(kind) = kind else {
            return Verdict::Processed;
        };
        let about = About {
            kind,
            from,
            timestamp_ms: message.timestamp_ms,
            id: message.session_id.unwrap_or_default(),
            payload: message.session.unwrap_or_default(),
        };
        let applied = match kind {
            EventType::GetAllSessions => {
                self.serve(now, from, true);
                Applied::Done
            }
            EventType::AllSessionData => self.state_received(now, from, about.payload),
            EventType::AllSessionTransferComplete => {
                self.transfer_complete(from, message.timestamp_ms);
                Applied::Done
            }
            EventType::AllSessionNoContextManager => {
                self.no_context_manager(from);
                Applied::Done
            }
            _ if about.id.is_empty() || about.id.len() > ID_MAX => {
                Applied::Refused(Refusal::BadSessionId)
            }
            _ if self.join.is_holding() => Applied::Wait,
            _ => self.apply(now, about),
        };
        match applied {
            Applied::Done => {
                count(&mut self.stats.session_messages);
                Verdict::Processed
            }
            Applied::Wait if self.held.push(now, about) => Verdict::Processed,
            Applied::Wait => self.refuse(kind, Refusal::NoRoomToWait),
            Applied::Refused(refusal) => self.refuse(kind, refusal),
        }
    }

    pub(super) fn refuse(&mut self, kind: EventType, refusal: Refusal) -> Verdict {
        count(&mut self.stats.refused);
        self.event(Event::Refused(Some(kind), refusal));
        Verdict::Failed
    }

    /// Applies a message about one session.
    pub(super) fn apply(&mut self, now: Instant, about: About<'_>) -> Applied {
        match about.kind {
            EventType::SessionCreated => self.created(now, about),
            EventType::SessionExpired => {
                if let Some(slot) = self.sessions.find(about.id) {
                    self.sessions.remove(slot);
                }
                // Remembered even if there is no such session: its CREATED may still be on the way.
                self.departed
                    .remember(now, hash(about.id), about.timestamp_ms, None);
                Applied::Done
            }
            EventType::SessionAccessed => self.accessed(now, about),
            EventType::SessionDelta => self.delta(now, about),
            EventType::ChangeSessionId => self.id_changed(now, about),
            _ => Applied::Done,
        }
    }

    /// Used by a request elsewhere.
    fn used_elsewhere(&mut self, now: Instant, slot: usize) {
        let now_ms = self.unix_ms(now);
        if let Some(session) = self.sessions.get_mut(slot) {
            session.primary = false;
            session.end_access(now, now_ms);
        }
    }

    /// CREATED. A session that is here already keeps what it has; one that has expired since stays dead.
    fn created(&mut self, now: Instant, about: About<'_>) -> Applied {
        if let Some(slot) = self.sessions.find(about.id) {
            self.used_elsewhere(now, slot);
            return Applied::Done;
        }
        let id = hash(about.id);
        if self.departed.renamed(id).is_some()
            || self.departed.expired_since(id, about.timestamp_ms)
        {
            count(&mut self.stats.late_dropped);
            return Applied::Done;
        }
        let session = Slot::created(now, about.timestamp_ms, self.config.session_timeout);
        match self.sessions.insert(session, about.id.len(), about.id) {
            Ok(slot) => {
                self.departed.recall(id);
                self.used_elsewhere(now, slot);
                self.retry_held = true;
                Applied::Done
            }
            Err(Full) => Applied::Refused(Refusal::TooManySessions),
        }
    }

    /// The session that is or was known by that id, or what to do without it.
    fn known(&mut self, about: About<'_>) -> Result<usize, Applied> {
        if let Some(slot) = self.sessions.find(about.id) {
            return Ok(slot);
        }
        let id = hash(about.id);
        // The sender may not have heard of the new id yet.
        let renamed = self.departed.renamed(id);
        if let Some(slot) = renamed.and_then(|new| self.sessions.find_hash(new)) {
            return Ok(slot);
        }
        if self.departed.expired_since(id, about.timestamp_ms) {
            count(&mut self.stats.late_dropped);
            return Err(Applied::Done);
        }
        Err(Applied::Wait)
    }

    fn accessed(&mut self, now: Instant, about: About<'_>) -> Applied {
        match self.known(about) {
            Ok(slot) => {
                self.used_elsewhere(now, slot);
                Applied::Done
            }
            Err(applied) => applied,
        }
    }

    /// DELTA: all of it or nothing.
    fn delta(&mut self, now: Instant, about: About<'_>) -> Applied {
        let slot = match self.known(about) {
            Ok(slot) => slot,
            Err(applied) => return applied,
        };
        let Some(mut session) = self.sessions.get(slot).copied() else {
            return Applied::Done;
        };
        let contents = self.sessions.contents(slot);
        let Some(place) = self.scratch.get_mut(..contents.len()) else {
            return Applied::Refused(Refusal::SessionTooLarge);
        };
        place.copy_from_slice(contents);
        let (id_len, len) = (usize::from(session.id_len), session.len);
        let mut area = Area::new(self.scratch, id_len, len);
        let sessions = &self.sessions;
        let read = Source::new(&mut self.walk, about.payload)
            .map_err(ReadError::from)
            .and_then(|mut source| {
                source.delta(about.id, &mut session, &mut area, |kind, name| {
                    sessions.is_pending(slot, kind, name)
                })
            });
        let len = area.len;
        match read {
            Ok(true) => {
                if let Some(place) = self.sessions.get_mut(slot) {
                    *place = session;
                }
                let contents = self.scratch.get(..len).unwrap_or_default();
                // As long as the area it was made in.
                let _ = self.sessions.replace(slot, id_len, contents);
                self.used_elsewhere(now, slot);
                Applied::Done
            }
            Ok(false) => Applied::Refused(Refusal::BadSessionId),
            Err(ReadError::Java) => Applied::Refused(Refusal::Unreadable),
            Err(ReadError::Full) => {
                if let Some(session) = self.sessions.get_mut(slot) {
                    session.stale = true;
                }
                Applied::Refused(Refusal::SessionTooLarge)
            }
        }
    }

    fn id_changed(&mut self, now: Instant, about: About<'_>) -> Applied {
        let Some(slot) = self.sessions.find(about.id) else {
            if self.departed.renamed(hash(about.id)).is_some() {
                count(&mut self.stats.late_dropped);
                return Applied::Done;
            }
            return match self.known(about) {
                Ok(_) => Applied::Done,
                Err(applied) => applied,
            };
        };
        let mut buffer = [0; ID_MAX];
        let mut new = heapless::Vec::<u8, ID_MAX>::new();
        let read = Source::new(&mut self.walk, about.payload).and_then(|mut source| {
            let text = source.items.utf(&mut buffer)?;
            Ok(new.extend_from_slice(text).is_ok() && !text.is_empty() && source.items.is_over())
        });
        if read != Ok(true) {
            return Applied::Refused(Refusal::Unreadable);
        }
        match self.rename(now, slot, &new) {
            Ok(()) => {
                self.used_elsewhere(now, slot);
                self.retry_held = true;
                Applied::Done
            }
            Err(Full) => Applied::Refused(Refusal::SessionTooLarge),
        }
    }

    /// Gives a session another id; one that had it before is gone.
    pub(super) fn rename(&mut self, now: Instant, slot: usize, new: &[u8]) -> Result<(), Full> {
        let contents = self.sessions.contents(slot);
        let id_len = self.sessions.id(slot).len();
        let old = hash(self.sessions.id(slot));
        if old == hash(new) {
            return Ok(());
        }
        let records = contents.get(id_len..).unwrap_or_default();
        let len = new.len().saturating_add(records.len());
        let place = self.scratch.get_mut(..len).ok_or(Full)?;
        let (id, rest) = place.split_at_mut_checked(new.len()).ok_or(Full)?;
        id.copy_from_slice(new);
        rest.get_mut(..records.len())
            .ok_or(Full)?
            .copy_from_slice(records);
        if let Some(other) = self.sessions.find(new) {
            self.sessions.remove(other);
        }
        let contents = self.scratch.get(..len).ok_or(Full)?;
        self.sessions.replace(slot, new.len(), contents)?;
        self.departed.recall(hash(new));
        self.departed.remember(now, old, 0, Some(hash(new)));
        Ok(())
    }

    /// Applies messages whose session has come, and drops those that have waited long enough.
    pub(super) fn pump_held(&mut self, now: Instant) {
        if self.join.is_holding() || self.held.is_empty() {
            return;
        }
        let overdue = |arrived: Instant, wait| arrived + wait <= now;
        let first = self.held.at(0).map(|entry| entry.arrived);
        let due = first.is_some_and(|arrived| overdue(arrived, self.config.early_wait));
        if !core::mem::take(&mut self.retry_held) && !due {
            return;
        }
        // Taken out while it is walked: applying a message keeps none.
        let mut held = core::mem::replace(&mut self.held, super::held::Held::new(&mut []));
        let mut at = 0;
        while let Some(entry) = held.at(at) {
            let (next, kind) = (entry.next, entry.about.kind);
            let applied = match self.is_contained(&entry.about) {
                true => Applied::Done,
                false => self.apply(now, entry.about),
            };
            match applied {
                Applied::Wait if !overdue(entry.arrived, self.config.early_wait) => {
                    at = next;
                    continue;
                }
                Applied::Wait => {
                    self.refuse(kind, Refusal::NoSession);
                }
                Applied::Refused(refusal) => {
                    self.refuse(kind, refusal);
                }
                Applied::Done => count(&mut self.stats.session_messages),
            }
            held.remove(at, next);
            // What stood before may be about the session that has just come.
            if core::mem::take(&mut self.retry_held) {
                at = 0;
            }
        }
        self.held = held;
    }

    pub(super) fn held_deadline(&self) -> Option<Instant> {
        if self.join.is_holding() {
            return None;
        }
        let first = self.held.at(0)?;
        Some(match self.retry_held {
            true => Instant::ZERO,
            false => first.arrived + self.config.early_wait,
        })
    }

    // --- saying something -----------------------------------------------------------------------------------------

    /// Makes a session message with the payload that `write` writes; gives its length.
    pub(super) fn encode(
        &mut self,
        message: SessionMessage<'_>,
        write: impl FnOnce(&mut Out<'_>, &mut Walk<'_>, &super::table::Sessions<'_>) -> Result<(), Full>,
    ) -> Result<usize, Full> {
        let room = self
            .message
            .len()
            .saturating_sub(super::cluster::FRAME_OVERHEAD);
        let mut out = Out::new(self.message.get_mut(..room).unwrap_or_default());
        let array = message.begin(&mut out)?;
        if message.session.is_some() {
            out.put(BYTE_ARRAY)?;
            let at = out.len;
            out.put_u32(0)?;
            write(&mut out, &mut self.walk, &self.sessions)?;
            let len = out.len.saturating_sub(at).saturating_sub(4);
            out.patch(at, len as u32);
        } else {
            out.put_u8(code::NULL)?;
        }
        message.end(&mut out, array)?;
        Ok(out.len)
    }

    /// Queues the message made last to one member.
    pub(super) fn queue_message(
        &mut self,
        now: Instant,
        slot: usize,
        options: SendOptions,
        len: usize,
        state: bool,
    ) -> bool {
        let id = UniqueId::random(&mut self.rng);
        let message = core::mem::take(&mut self.message);
        let bytes = message.get(..len).unwrap_or_default();
        let queued = self.queue(now, slot, options, id, bytes, state);
        self.message = message;
        queued
    }

    /// Sends the message made last to all members. One that has no room is left out, and gets the whole state later.
    pub(super) fn broadcast(&mut self, now: Instant, len: usize) {
        let options = self.config.channel_send_options;
        for slot in 0..self.peers.len() {
            let Some(peer) = self.peers.get(slot).filter(|peer| peer.verified) else {
                continue;
            };
            let lags = peer.lagging || !self.queue_message(now, slot, options, len, false);
            if lags && let Some(peer) = self.peers.get_mut(slot) {
                if !peer.lagging {
                    count(&mut self.stats.lagging);
                }
                peer.lagging = true;
            }
        }
    }

    /// Tells all members about a session.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        kind: EventType,
        id: &[u8],
        payload: Payload<'_>,
    ) {
        if self.member_count() == 0 {
            return;
        }
        let unix_ms = self.unix_ms(now);
        let mut unique_id = heapless::Vec::<u8, { ID_MAX + 24 }>::new();
        let mut digits = heapless::Vec::<u8, 24>::new();
        let suffix: &[u8] = match kind {
            EventType::SessionExpired => b"-EXPIRED-MSG",
            _ => {
                decimal(&mut digits, unix_ms);
                &digits
            }
        };
        // As long as the longest of both.
        let _ = unique_id.extend_from_slice(id);
        let _ = unique_id.extend_from_slice(suffix);
        let name = self.config.manager_name.as_bytes();
        let message = SessionMessage {
            session: (payload != Payload::None).then_some(&[]),
            ..SessionMessage::new(kind, name, id, &unique_id, unix_ms)
        };
        let encoded = self.encode(message, |out, walk, sessions| match payload {
            Payload::None => Ok(()),
            Payload::Delta(slot) => write_delta(out, walk, sessions, slot),
            Payload::Text(text) => super::output::JavaOut::new(out, walk)?.utf(text),
        });
        // A session that fits its area fits a message.
        if let Ok(len) = encoded {
            self.broadcast(now, len);
        }
    }

    fn reply_no_context(&mut self, now: Instant, to: MemberIndex, name: &[u8]) {
        let Some(slot) = self.slot(to) else {
            return;
        };
        let mut unique_id = heapless::Vec::<u8, 160>::new();
        let _ = unique_id.extend_from_slice(b"NO-CONTEXT-MANAGER-");
        let _ = unique_id.extend_from_slice(name);
        let kind = EventType::AllSessionNoContextManager;
        let message = SessionMessage {
            timestamp_set: false,
            ..SessionMessage::new(kind, name, b"NO-CONTEXT-MANAGER", &unique_id, 0)
        };
        if let Ok(len) = self.encode(message, |_, _, _| Ok(())) {
            let options = self.config.channel_send_options;
            self.queue_message(now, slot, options, len, false);
        }
    }

    /// Looks for sessions whose time is over. The primary tells the others; a copy, which waits twice as long, goes silently.
    pub(super) fn process_expires(&mut self, now: Instant) {
        self.departed.forget_old(now);
        for slot in 0..self.sessions.slots() {
            let due = self
                .sessions
                .get(slot)
                .filter(|session| session.timed_out(now));
            if let Some(primary) = due.map(|session| session.primary) {
                count(&mut self.stats.expired_sessions);
                self.end_session(now, slot, primary);
            }
        }
    }

    /// Ends a session here, and everywhere with `tell`.
    pub(super) fn end_session(&mut self, now: Instant, slot: usize, tell: bool) {
        let mut id = heapless::Vec::<u8, ID_MAX>::new();
        let _ = id.extend_from_slice(self.sessions.id(slot));
        let created = self
            .sessions
            .get(slot)
            .map_or(0, |session| session.creation_time_ms);
        self.sessions.remove(slot);
        if tell {
            let at = self.unix_ms(now).max(created);
            self.departed.remember(now, hash(&id), at, None);
            self.announce(now, EventType::SessionExpired, &id, Payload::None);
        }
    }
}

/// What a message about a session carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    None,
    /// What has changed in the session in this place.
    Delta(usize),
    /// A new id.
    Text(&'a [u8]),
}

/// `-` and a number.
fn decimal(to: &mut heapless::Vec<u8, 24>, number: i64) {
    let mut digits = [0; 20];
    let mut rest = number.unsigned_abs();
    let mut count = 0usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
        count = count.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let sign: &[u8] = if number < 0 { b"--" } else { b"-" };
    let from = digits.len().saturating_sub(count);
    let _ = to.extend_from_slice(sign);
    let _ = to.extend_from_slice(digits.get(from..).unwrap_or_default());
}
