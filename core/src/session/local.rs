//! What a request does to its session, whichever manager has it.

use super::delta_request::boolean_value;
use super::filter::AttributeFilters;
use super::read_delta::Spare;
use super::{Action, ActionType, Cx, DeltaSession, SessionError, SessionId};
use crate::cluster::{AttributeChange, ClusterEvent, ContextId, Origin};
use crate::java::{JavaBytes, JavaString, ValueRef};
use crate::time::Instant;

impl DeltaSession {
    /// A session that a request creates here, and which it uses.
    pub(crate) fn created(
        id: SessionId,
        at: Instant,
        time_ms: i64,
        interval: i32,
        record_all: bool,
    ) -> Self {
        let mut session = Self::new(id, at, time_ms, interval);
        session.is_new = true;
        session.primary = true;
        session.access_count = 1;
        session.delta.record_all_actions = record_all;
        session.delta.record(Action::of_session(
            ActionType::IS_NEW,
            Some(boolean_value(true)),
        ));
        session.delta.record(Action::of_session(
            ActionType::MAX_INTERVAL,
            Some(interval.into()),
        ));
        session
    }

    /// A request uses it, too.
    pub(crate) fn joined(&mut self, cx: &Cx<'_>, record_joins: bool) {
        self.access(cx.now, cx.unix_ms);
        self.access_count = self.access_count.saturating_add(1);
        if record_joins {
            self.is_new = false;
            self.delta.record(Action::of_session(
                ActionType::IS_NEW,
                Some(boolean_value(false)),
            ));
        }
    }

    /// A request is done with it.
    pub(crate) fn left(&mut self, cx: &Cx<'_>, last_access_at_start: bool) {
        self.access_count = self.access_count.saturating_sub(1);
        self.end_access(cx.now, cx.unix_ms, last_access_at_start);
    }

    /// Changes an attribute and records it; gives the value it had.
    pub(crate) fn change_attribute(
        &mut self,
        cx: &mut Cx<'_>,
        context: ContextId,
        filters: &AttributeFilters,
        name: JavaString,
        value: Option<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        if name.encoded_len() > usize::from(u16::MAX) {
            return Err(SessionError::TooLong(name.encoded_len()));
        }
        let value = value.filter(|value| !value.is_null());
        let name = self.name_ref(ActionType::ATTRIBUTE, name.as_modified_utf8());
        let distributed = filters.included(&name, value.as_ref());
        let (change, before) = match &value {
            Some(value) => match self.attributes.insert(name.clone(), value.clone()) {
                None => (AttributeChange::Added, None),
                before => (AttributeChange::Replaced, before),
            },
            None => match self.attributes.remove(&name) {
                // A remove of what is not there records nothing.
                None => return Ok(None),
                before => (AttributeChange::Removed, before),
            },
        };
        if distributed {
            self.delta
                .record(Action::named(ActionType::ATTRIBUTE, name.clone(), value));
        }
        if cx.events.wants_attributes() {
            let id = self.id.clone();
            cx.events.push(ClusterEvent::AttributeChanged {
                context,
                id,
                name,
                change,
                origin: Origin::Local,
            });
        }
        Ok(before)
    }

    /// As [`change_attribute`](Self::change_attribute), with a value that is copied into the memory of the one before; a removed one
    /// leaves its memory in `spare`. Whether anything has changed.
    pub(crate) fn write_attribute(
        &mut self,
        cx: &mut Cx<'_>,
        context: ContextId,
        filters: &AttributeFilters,
        spare: &mut Spare,
        name: &str,
        value: ValueRef<'_>,
    ) -> Result<bool, SessionError> {
        let plain = name.bytes().all(|b| b != 0 && b < 0xF0);
        let name = match plain {
            true => self.name_ref(ActionType::ATTRIBUTE, name.as_bytes()),
            false => JavaString::from(name),
        };
        if name.encoded_len() > usize::from(u16::MAX) {
            return Err(SessionError::TooLong(name.encoded_len()));
        }
        let is_null = match value {
            ValueRef::Null => true,
            ValueRef::Java(value) => value.is_null(),
            _ => false,
        };
        let (change, value) = if is_null {
            let Some(before) = self.attributes.remove(&name) else {
                return Ok(false);
            };
            spare.give(before);
            (AttributeChange::Removed, None)
        } else if let Some(present) = self.attributes.get_mut(&name) {
            value.write_to(present);
            (AttributeChange::Replaced, Some(present.clone()))
        } else {
            let mut new = spare.take(value.encoded_len());
            value.write_to(&mut new);
            self.attributes.insert(name.clone(), new.clone());
            (AttributeChange::Added, Some(new))
        };
        if filters.included(&name, value.as_ref()) {
            let action = Action::named(ActionType::ATTRIBUTE, name.clone(), value);
            self.delta.record(action);
        }
        if cx.events.wants_attributes() {
            let id = self.id.clone();
            cx.events.push(ClusterEvent::AttributeChanged {
                context,
                id,
                name,
                change,
                origin: Origin::Local,
            });
        }
        Ok(true)
    }

    /// Applies a change of the session itself and records it.
    pub(crate) fn change(&mut self, action: Action) -> Result<(), SessionError> {
        if action.name.encoded_len() > usize::from(u16::MAX) {
            return Err(SessionError::TooLong(action.name.encoded_len()));
        }
        self.apply(action.clone());
        self.delta.record(action);
        Ok(())
    }

    /// Whether its use is to be told although nothing has changed. `DeltaSession.isAccessReplicate`.
    pub(crate) fn is_access_due(&self, unix_ms: i64) -> bool {
        let idle_ms = unix_ms.saturating_sub(self.last_time_replicated_ms);
        let interval = self.max_inactive_interval;
        interval >= 0 && idle_ms > i64::from(interval).saturating_mul(1000)
    }

    /// Applies what another node has changed. What was changed here and not sent stays in force: it goes out later. `tell`
    /// hears of attributes; gives the numbers of actions that stayed out for that reason, and of those unknown.
    pub(crate) fn apply_remote(
        &mut self,
        actions: alloc::vec::Vec<Action>,
        mut tell: impl FnMut(JavaString, AttributeChange),
    ) -> (u64, u64) {
        use super::delta_session::Applied;
        let (mut merged, mut unknown) = (0u64, 0u64);
        for action in actions {
            let mut own = self.delta.actions.iter();
            if own.any(|own| own.kind == action.kind && own.name == action.name) {
                merged = merged.wrapping_add(1);
                continue;
            }
            let name = action.name.clone();
            match self.apply(action) {
                Applied::Added => tell(name, AttributeChange::Added),
                Applied::Replaced => tell(name, AttributeChange::Replaced),
                Applied::Removed => tell(name, AttributeChange::Removed),
                Applied::Other => {}
                Applied::Unknown => unknown = unknown.wrapping_add(1),
            }
        }
        (merged, unknown)
    }
}

/// An id that can be sent.
pub(crate) fn checked(id: &SessionId) -> Result<&SessionId, SessionError> {
    let len = id.as_modified_utf8().len();
    if len > usize::from(u16::MAX) {
        Err(SessionError::TooLong(len))
    } else {
        Ok(id)
    }
}
