//! What firmware does with sessions itself.

use core::fmt;

use super::Config;
use super::area::Area;
use super::cluster::{Cluster, Phase, count};
use super::departed::hash;
use super::manager::{ID_MAX, Payload};
use super::table::Slot;
use crate::java::{JavaError, places};
use crate::session::{ActionType, EventType};
use crate::time::Instant;
use crate::wire::{Full, Sink};

/// Random bytes of an id. `sessionIdLength`.
const ID_BYTES: usize = 16;

/// The id of a session: usually 32 upper-case hex digits, and `.` with the route of the node that owns stickiness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionId(heapless::String<{ 2 * ID_BYTES + 1 + Config::ROUTE_MAX }>);

impl SessionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for SessionId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// Why a command about a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SessionError {
    /// There is no such session here.
    UnknownSession,
    /// A session of this id exists already.
    SessionExists,
    /// There are `SESSIONS` already.
    TooManySessions,
    /// The session would need more than `SESSION` bytes, or the id is longer than 128; nothing has changed.
    TooLarge,
    /// The value is no Java object stream with exactly one value, or has more objects or classes than fit.
    BadValue(JavaError),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSession => f.write_str("no such session here; it may have expired"),
            Self::SessionExists => f.write_str("a session of this id exists already; use it"),
            Self::TooManySessions => f.write_str("no room for another session; raise SESSIONS"),
            Self::TooLarge => f.write_str("the session gets too large; raise SESSION"),
            Self::BadValue(error) => write!(f, "not one Java value: {error}"),
        }
    }
}

impl core::error::Error for SessionError {}

/// What every session has, besides attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo<'a> {
    /// Its id, in modified UTF-8.
    pub id: &'a [u8],
    /// When it was created: milliseconds since the Unix epoch, by its creator's clock.
    pub creation_time_ms: i64,
    /// When it was last used: milliseconds since the Unix epoch, by our clock.
    pub this_accessed_time_ms: i64,
    /// Seconds after which it times out; 0 or less means never.
    pub max_inactive_interval: i32,
    /// Whether the client does not know of it yet.
    pub is_new: bool,
    /// Whether this node was the last to complete a request of it.
    pub is_primary: bool,
    /// Whether a change by others did not fit, so that it is not what the others have.
    pub is_stale: bool,
}

#[cfg(feature = "defmt")]
impl defmt::Format for SessionInfo<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "session {=[u8]:a}, created {=i64} ms, used {=i64} ms, times out after {=i32} s, new: {=bool}, primary: {=bool}, \
             stale: {=bool}",
            self.id,
            self.creation_time_ms,
            self.this_accessed_time_ms,
            self.max_inactive_interval,
            self.is_new,
            self.is_primary,
            self.is_stale
        );
    }
}

/// What can be looked at; looking changes nothing.
impl<L> Cluster<'_, L> {
    /// How many sessions there are, primaries and copies.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// All sessions, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo<'_>> {
        (0..self.sessions.slots()).filter_map(|slot| self.info(slot))
    }

    /// A session.
    pub fn session(&self, id: &str) -> Option<SessionInfo<'_>> {
        self.info(self.sessions.find(id.as_bytes())?)
    }

    fn info(&self, slot: usize) -> Option<SessionInfo<'_>> {
        let session = self.sessions.get(slot)?;
        Some(SessionInfo {
            id: self.sessions.id(slot),
            creation_time_ms: session.creation_time_ms,
            this_accessed_time_ms: session.this_accessed_time_ms,
            max_inactive_interval: session.max_inactive_interval,
            is_new: session.is_new,
            is_primary: session.primary,
            is_stale: session.stale,
        })
    }

    /// Names and values of a session's attributes: modified UTF-8, and complete Java object streams of one value each.
    pub fn attributes(&self, id: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        let slot = self.sessions.find(id.as_bytes()).unwrap_or(usize::MAX);
        self.sessions
            .records(slot)
            .filter(|record| record.kind == ActionType::ATTRIBUTE && !record.removed)
            .map(|record| (record.name, record.value))
    }

    /// An attribute's value, a complete Java object stream.
    pub fn attribute(&self, id: &str, name: &str) -> Option<&[u8]> {
        let slot = self.sessions.find(id.as_bytes())?;
        let records = self.sessions.records(slot);
        let record = records.find(ActionType::ATTRIBUTE, name.as_bytes())?;
        (!record.removed).then_some(record.value)
    }
}

impl<L> Cluster<'_, L> {
    /// Creates a session, which counts as in use: [`end_access`](Self::end_access) ends that.
    ///
    /// # Errors
    ///
    /// [`SessionError::TooManySessions`].
    pub fn create_session(&mut self, now: Instant) -> Result<SessionId, SessionError> {
        let id = self.random_id();
        let text = id.0.as_bytes();
        let now_ms = self.unix_ms(now);
        let session = Slot {
            is_new: true,
            primary: true,
            access_count: 1,
            dirty_new: true,
            dirty_interval: true,
            ..Slot::created(now, now_ms, self.config.session_timeout)
        };
        if !self.sessions.has_room() {
            return Err(SessionError::TooManySessions);
        }
        let inserted = self.sessions.insert(session, text.len(), text);
        inserted.map_err(|Full| SessionError::TooLarge)?;
        self.departed.recall(hash(text));
        self.announce(now, EventType::SessionCreated, text, Payload::None);
        Ok(id)
    }

    fn random_id(&mut self) -> SessionId {
        const HEX: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
        ];
        let mut bytes = [0; ID_BYTES];
        self.rng.fill(&mut bytes);
        let mut text = heapless::String::new();
        for byte in bytes {
            for digit in [byte >> 4, byte & 0x0F] {
                // Long enough for all digits.
                let _ = text.push(HEX.get(usize::from(digit)).copied().unwrap_or('0'));
            }
        }
        if let Some(route) = self.config.jvm_route {
            let _ = text.push('.');
            let _ = text.push_str(route);
        }
        SessionId(text)
    }

    fn find_session(&self, id: &str) -> Result<usize, SessionError> {
        let slot = self.sessions.find(id.as_bytes());
        slot.ok_or(SessionError::UnknownSession)
    }

    /// A request joins a session: whether it is there and its time is not over.
    pub fn access_session(&mut self, now: Instant, id: &str) -> bool {
        let Ok(slot) = self.find_session(id) else {
            return false;
        };
        let now_ms = self.unix_ms(now);
        let Some(session) = self.sessions.get_mut(slot) else {
            return false;
        };
        if session.timed_out(now) {
            let primary = session.primary;
            count(&mut self.stats.expired_sessions);
            self.end_session(now, slot, primary);
            return false;
        }
        session.access(now, now_ms);
        session.access_count = session.access_count.saturating_add(1);
        session.is_new = false;
        session.dirty_new = true;
        true
    }

    /// A request is done with a session.
    pub fn end_access(&mut self, now: Instant, id: &str) {
        let now_ms = self.unix_ms(now);
        if let Ok(slot) = self.find_session(id)
            && let Some(session) = self.sessions.get_mut(slot)
        {
            session.access_count = session.access_count.saturating_sub(1);
            session.end_access(now, now_ms);
        }
    }

    /// Sets an attribute to the one value of a Java object stream (`AC ED 00 05`, then the value). The others hear of it
    /// with [`request_completed`](Self::request_completed).
    ///
    /// # Errors
    ///
    /// [`SessionError`]; then nothing has changed.
    pub fn set_attribute(
        &mut self,
        id: &str,
        name: &str,
        value: &[u8],
    ) -> Result<(), SessionError> {
        let slot = self.find_session(id)?;
        places::check_one_value(&mut self.walk, value).map_err(SessionError::BadValue)?;
        self.change(slot, name, Some(value))
    }

    /// Removes an attribute.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; then nothing has changed.
    pub fn remove_attribute(&mut self, id: &str, name: &str) -> Result<(), SessionError> {
        let slot = self.find_session(id)?;
        let records = self.sessions.records(slot);
        match records.find(ActionType::ATTRIBUTE, name.as_bytes()) {
            Some(record) if !record.removed => self.change(slot, name, None),
            _ => Ok(()),
        }
    }

    fn change(
        &mut self,
        slot: usize,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), SessionError> {
        let too_large = |Full| SessionError::TooLarge;
        let contents = self.sessions.contents(slot);
        let place = self.scratch.get_mut(..contents.len());
        place
            .ok_or(SessionError::TooLarge)?
            .copy_from_slice(contents);
        let (id_len, len) = (self.sessions.id(slot).len(), contents.len());
        let mut area = Area::new(self.scratch, id_len, len);
        area.remove(ActionType::ATTRIBUTE, name.as_bytes());
        let removed = value.is_none();
        let at = area
            .begin(ActionType::ATTRIBUTE, name.as_bytes(), true, removed)
            .map_err(too_large)?;
        area.put(value.unwrap_or_default()).map_err(too_large)?;
        area.end(at);
        let replaced = self.sessions.replace(slot, id_len, area.contents());
        replaced.map_err(too_large)
    }

    /// The end of a request: DELTA if something changed, ACCESSED if that is due, or nothing. A member whose queue is full is
    /// left out and gets the whole state later.
    pub fn request_completed(&mut self, now: Instant, id: &str) {
        let Ok(slot) = self.find_session(id) else {
            return;
        };
        let now_ms = self.unix_ms(now);
        let dirty = self.sessions.is_dirty(slot);
        let alone = self.member_count() == 0 || self.phase != Phase::Running;
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let idle_ms = now_ms.saturating_sub(session.last_time_replicated_ms);
        let interval = i64::from(session.max_inactive_interval);
        let due = !session.primary || interval >= 0 && idle_ms > interval.saturating_mul(1000);
        session.primary = true;
        if alone || !dirty && !due {
            if alone {
                self.clean(slot);
            }
            return;
        }
        session.last_time_replicated_ms = now_ms;
        if dirty {
            self.announce(
                now,
                EventType::SessionDelta,
                id.as_bytes(),
                Payload::Delta(slot),
            );
            self.clean(slot);
        } else {
            self.announce(
                now,
                EventType::SessionAccessed,
                id.as_bytes(),
                Payload::None,
            );
        }
    }

    /// Nothing of a session is unsent.
    fn clean(&mut self, slot: usize) {
        let mut area = self.sessions.area(slot);
        area.clean();
        let len = area.len;
        self.sessions.put_back(slot, len);
        if let Some(session) = self.sessions.get_mut(slot) {
            (session.dirty_new, session.dirty_interval) = (false, false);
        }
    }

    /// Ends a session everywhere; whether it was there.
    pub fn expire_session(&mut self, now: Instant, id: &str) -> bool {
        match self.find_session(id) {
            Ok(slot) => {
                self.end_session(now, slot, true);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives a session a new id, here and everywhere. `changeSessionId`.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; then nothing has changed.
    pub fn change_session_id(&mut self, now: Instant, id: &str) -> Result<SessionId, SessionError> {
        let slot = self.find_session(id)?;
        if id.len() > ID_MAX {
            return Err(SessionError::TooLarge);
        }
        let new = self.random_id();
        let text = new.0.as_bytes();
        let renamed = self.rename(now, slot, text);
        renamed.map_err(|Full| SessionError::TooLarge)?;
        let kind = EventType::ChangeSessionId;
        self.announce(now, kind, id.as_bytes(), Payload::Text(text));
        Ok(new)
    }
}
