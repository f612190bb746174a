//! `DeltaSession`: one session as a manager holds it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::attributes::Attributes;
use super::stamp::History;
use super::{Action, ActionType, DeltaRequest, SessionId};
use crate::java::{JavaBytes, JavaString};
use crate::time::Instant;

/// A session. `DeltaSession`; written and read as a [`SessionRecord`](super::SessionRecord).
///
/// Looking at one changes nothing: it does not count as an access.
#[derive(Clone, Debug)]
pub struct DeltaSession {
    pub(crate) id: SessionId,
    pub(crate) creation_time_ms: i64,
    pub(crate) last_accessed_time_ms: i64,
    pub(crate) this_accessed_time_ms: i64,
    pub(crate) max_inactive_interval: i32,
    pub(crate) is_new: bool,
    pub(crate) version: i64,
    pub(crate) attributes: Attributes,
    /// What few sessions have.
    pub(crate) rare: Option<alloc::boxed::Box<Rare>>,
    /// Changes not sent yet.
    pub(crate) delta: DeltaRequest,
    pub(crate) primary: bool,
    /// When it was accessed, by the clock that idle times are counted with.
    pub(crate) this_accessed: Instant,
    pub(crate) last_accessed: Instant,
    /// When a message about it was last sent; zero until then.
    pub(crate) last_time_replicated_ms: i64,
    /// Requests that use it now.
    pub(crate) access_count: u32,
    /// The ordered lane its messages take: it outlives a change of the id.
    pub(crate) lane: u64,
    /// The state transfer that brought it; 0 if none did.
    pub(crate) transfer: u32,
    /// When its parts were changed, and by whom.
    pub(crate) history: History,
}

/// What few sessions have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) principal: Option<JavaBytes>,
    pub(crate) auth_type: Option<JavaBytes>,
    pub(crate) notes: BTreeMap<JavaString, JavaBytes>,
    pub(crate) listeners: Vec<JavaBytes>,
}

/// The note `org.apache.catalina.authenticator.SESSION_ID`, which travels with the session.
pub(crate) const NOTE_SESSION_ID: &[u8] = b"org.apache.catalina.authenticator.SESSION_ID";
/// The note `org.apache.catalina.authenticator.REQUEST`, which travels with the session.
pub(crate) const NOTE_REQUEST: &[u8] = b"org.apache.catalina.authenticator.REQUEST";

/// Listeners of one session, at most: what comes on top is not kept.
const LISTENERS_MAX: usize = 1024;

/// What applying an [`Action`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// An attribute appeared.
    Added,
    /// An attribute has a new value.
    Replaced,
    /// An attribute is gone.
    Removed,
    /// Something else than an attribute changed, or nothing did.
    Other,
    /// No such type of action, or a value of the wrong class.
    Unknown,
}

impl DeltaSession {
    /// An empty session, used now.
    pub(crate) fn new(
        id: SessionId,
        at: Instant,
        time_ms: i64,
        max_inactive_interval: i32,
    ) -> Self {
        Self {
            lane: id.lane(),
            delta: DeltaRequest::new(SessionId::default(), false),
            id,
            creation_time_ms: time_ms,
            last_accessed_time_ms: time_ms,
            this_accessed_time_ms: time_ms,
            max_inactive_interval,
            is_new: false,
            version: 0,
            attributes: Attributes::new(),
            rare: None,
            primary: false,
            this_accessed: at,
            last_accessed: at,
            last_time_replicated_ms: 0,
            access_count: 0,
            transfer: 0,
            history: History::default(),
        }
    }

    /// The id.
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// When it was created: milliseconds since the Unix epoch, by the clock of the node that created it.
    pub const fn creation_time_ms(&self) -> i64 {
        self.creation_time_ms
    }

    /// When the last request but one, or the last one that has ended, used it: milliseconds since the Unix epoch.
    pub const fn last_accessed_time_ms(&self) -> i64 {
        self.last_accessed_time_ms
    }

    /// When the last request, or a message about one, used it: milliseconds since the Unix epoch.
    pub const fn this_accessed_time_ms(&self) -> i64 {
        self.this_accessed_time_ms
    }

    /// Seconds after which an unused session times out; 0 or less means never.
    pub const fn max_inactive_interval(&self) -> i32 {
        self.max_inactive_interval
    }

    /// Whether the client does not know of it yet.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether this node was the last to complete a request of it, as far as it knows.
    pub const fn is_primary(&self) -> bool {
        self.primary
    }

    /// Whether something has changed that has not been sent.
    pub fn is_dirty(&self) -> bool {
        !self.delta.is_empty()
    }

    /// Requests that use it at this moment.
    pub const fn access_count(&self) -> u32 {
        self.access_count
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&JavaBytes> {
        if name.bytes().all(|b| b != 0 && b < 0xF0) {
            self.attributes.get(name.as_bytes())
        } else {
            self.attributes.get(&JavaString::from(name))
        }
    }

    /// Names and values, in the order of the names.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&JavaString, &JavaBytes)> {
        self.attributes.iter()
    }

    /// The authenticated user, as the realm's replacement object.
    pub fn principal(&self) -> Option<&JavaBytes> {
        self.rare.as_ref()?.principal.as_ref()
    }

    /// The authentication type.
    pub fn auth_type(&self) -> Option<JavaString> {
        self.rare.as_ref()?.auth_type.as_ref()?.as_string()
    }

    /// A note's value.
    pub fn note(&self, name: &str) -> Option<&JavaBytes> {
        self.rare.as_ref()?.notes.get(&JavaString::from(name))
    }

    /// The replicated session listeners, in the order they were added.
    pub fn listeners(&self) -> &[JavaBytes] {
        self.rare
            .as_ref()
            .map_or(&[], |rare| rare.listeners.as_slice())
    }

    /// Roughly the bytes that its record takes.
    pub(crate) fn encoded_estimate(&self) -> usize {
        self.attributes()
            .map(|(name, value)| name.encoded_len().saturating_add(value.as_bytes().len()))
            .fold(192, usize::saturating_add)
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// A request or a message uses it. `StandardSession.access`.
    pub(crate) fn access(&mut self, now: Instant, now_ms: i64) {
        self.this_accessed = now;
        self.this_accessed_time_ms = now_ms;
    }

    /// That use is over. `StandardSession.endAccess`.
    pub(crate) fn end_access(&mut self, now: Instant, now_ms: i64, last_access_at_start: bool) {
        self.is_new = false;
        if last_access_at_start {
            self.last_accessed = self.this_accessed;
            self.last_accessed_time_ms = self.this_accessed_time_ms;
        } else {
            self.last_accessed = now;
            self.last_accessed_time_ms = now_ms;
        }
        self.this_accessed = now;
        self.this_accessed_time_ms = now_ms;
    }

    /// Nobody has used it for so long, as another node says.
    pub(crate) fn idle_for(&mut self, now: Instant, now_ms: i64, idle_ms: u64) {
        let idle = core::time::Duration::from_millis(idle_ms);
        let idle_ms = i64::try_from(idle_ms).unwrap_or(i64::MAX);
        self.this_accessed = Instant::ZERO + now.since(Instant::ZERO).saturating_sub(idle);
        self.last_accessed = self.this_accessed;
        self.this_accessed_time_ms = now_ms.saturating_sub(idle_ms);
        self.last_accessed_time_ms = self.this_accessed_time_ms;
    }

    /// Since when it has been idle.
    pub(crate) const fn idle_since(&self, last_access_at_start: bool) -> Instant {
        if last_access_at_start {
            self.last_accessed
        } else {
            self.this_accessed
        }
    }

    /// Whether its time is over: after the interval on the primary, after twice the interval on any other holder.
    /// `DeltaSession.isValid`.
    pub(crate) fn timed_out(
        &self,
        now: Instant,
        last_access_at_start: bool,
        activity_check: bool,
    ) -> bool {
        if activity_check && self.access_count > 0 {
            return false;
        }
        let Ok(interval) = u64::try_from(self.max_inactive_interval) else {
            return false;
        };
        let idle = now.since(self.idle_since(last_access_at_start)).as_secs();
        let limit = if self.primary {
            interval
        } else {
            interval.saturating_mul(2)
        };
        interval > 0 && idle >= limit
    }

    /// Changes the session as an action says, without recording it. `DeltaRequest.execute`.
    pub(crate) fn apply(&mut self, action: Action) -> Applied {
        if action.kind == ActionType::LISTENER && action.action == Action::REMOVE {
            if let (Some(rare), Some(listener)) = (&mut self.rare, &action.value) {
                rare.listeners.retain(|other| other != listener);
            }
            return Applied::Other;
        }
        let value = action
            .value
            .filter(|value| action.action == Action::SET && !value.is_null());
        match action.kind {
            ActionType::ATTRIBUTE => match value {
                Some(value) => match self.attributes.insert(action.name, value) {
                    None => Applied::Added,
                    Some(_) => Applied::Replaced,
                },
                None => match self.attributes.remove(&action.name) {
                    None => Applied::Other,
                    Some(_) => Applied::Removed,
                },
            },
            ActionType::PRINCIPAL => {
                if value.is_some() || self.rare.is_some() {
                    self.rare_mut().principal = value;
                }
                Applied::Other
            }
            ActionType::IS_NEW => match value.as_ref().map(super::delta_request::boolean) {
                Some(None) => Applied::Unknown,
                Some(Some(is_new)) => {
                    self.is_new = is_new;
                    Applied::Other
                }
                None => Applied::Other,
            },
            ActionType::MAX_INTERVAL => match value.as_ref().map(super::delta_request::integer) {
                Some(None) => Applied::Unknown,
                Some(Some(interval)) => {
                    self.max_inactive_interval = interval;
                    Applied::Other
                }
                None => Applied::Other,
            },
            ActionType::AUTH_TYPE => {
                if value.is_some() || self.rare.is_some() {
                    self.rare_mut().auth_type = value;
                }
                Applied::Other
            }
            ActionType::LISTENER => {
                if let Some(listener) = value {
                    self.add_listener(listener);
                }
                Applied::Other
            }
            ActionType::NOTE => {
                match value {
                    Some(value) => drop(self.rare_mut().notes.insert(action.name, value)),
                    None => {
                        if let Some(rare) = &mut self.rare {
                            rare.notes.remove(&action.name);
                        }
                    }
                }
                Applied::Other
            }
            _ => Applied::Unknown,
        }
    }

    /// Adds a listener that is not there yet.
    pub(crate) fn add_listener(&mut self, listener: JavaBytes) {
        let listeners = &mut self.rare_mut().listeners;
        if !listeners.contains(&listener) && listeners.len() < LISTENERS_MAX {
            listeners.push(listener);
        }
    }
}
