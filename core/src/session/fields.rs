//! The parts of a session that are compared and merged one by one.

use alloc::vec::Vec;

use super::delta_session::Applied;
use super::filter::AttributeFilters;
use super::stamp::{Field, History, Stamp, field_of, listener_field};
use super::{Action, ActionType, DeltaSession};
use crate::java::{JavaBytes, JavaString};

/// One part of a session as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldState {
    pub(crate) field: Field,
    /// When it was changed last, as far as that is known.
    pub(crate) stamp: Stamp,
    /// `None` if it was removed.
    pub(crate) value: Option<JavaBytes>,
}

impl DeltaSession {
    /// What is replicated of the session, sorted, with what was removed. Changes not sent yet are left out: nobody
    /// else can know them.
    pub(crate) fn fields(&self, filters: &AttributeFilters) -> Vec<FieldState> {
        let mut fields = Vec::with_capacity(self.attributes.len().saturating_add(2));
        let mut add = |kind, name: JavaString, value: &JavaBytes| {
            let field = (kind, name);
            let stamp = self.history.of(&field);
            let value = Some(value.clone());
            fields.push(FieldState {
                field,
                stamp,
                value,
            });
        };
        for (name, value) in &self.attributes {
            if filters.included(name, Some(value)) {
                add(ActionType::ATTRIBUTE, name.clone(), value);
            }
        }
        let interval = JavaBytes::from(self.max_inactive_interval);
        add(ActionType::MAX_INTERVAL, JavaString::new(), &interval);
        if let Some(rare) = &self.rare {
            for (name, value) in &rare.notes {
                add(ActionType::NOTE, name.clone(), value);
            }
            for (kind, value) in [
                (ActionType::PRINCIPAL, &rare.principal),
                (ActionType::AUTH_TYPE, &rare.auth_type),
            ] {
                if let Some(value) = value {
                    add(kind, JavaString::new(), value);
                }
            }
            for listener in &rare.listeners {
                let (kind, name) = listener_field(listener);
                add(kind, name, listener);
            }
        }
        let removed = self.history.fields().filter(|(field, _)| !self.has(field));
        fields.extend(removed.map(|(field, stamp)| FieldState {
            field: field.clone(),
            stamp,
            value: None,
        }));
        if self.is_dirty() {
            fields.retain(|state| !self.is_pending(&state.field));
        }
        fields.sort_unstable_by(|a, b| a.field.cmp(&b.field));
        fields
    }

    /// A number that is the same for sessions with the same replicated content and history, and hardly ever for others.
    pub(crate) fn digest(&self, filters: &AttributeFilters) -> u64 {
        let mut hash = Digest::default();
        hash.number(self.creation_time_ms);
        hash.number(self.history.id_since_ms);
        hash.stamp(self.history.version());
        for state in self.fields(filters) {
            hash.number(i64::from(state.field.0.0));
            hash.bytes(state.field.1.as_modified_utf8());
            hash.stamp(state.stamp);
            match &state.value {
                Some(value) => hash.bytes(value.as_bytes()),
                None => hash.number(-1),
            }
        }
        hash.0
    }

    /// Whether a field has a value.
    pub(crate) fn has(&self, field: &Field) -> bool {
        let (kind, name) = field;
        let rare = self.rare.as_ref();
        match *kind {
            ActionType::ATTRIBUTE => self.attributes.contains_key(name),
            ActionType::MAX_INTERVAL => true,
            ActionType::NOTE => rare.is_some_and(|rare| rare.notes.contains_key(name)),
            ActionType::PRINCIPAL => rare.is_some_and(|rare| rare.principal.is_some()),
            ActionType::AUTH_TYPE => rare.is_some_and(|rare| rare.auth_type.is_some()),
            ActionType::LISTENER => self.listeners().iter().any(|l| listener_field(l) == *field),
            _ => false,
        }
    }

    /// A field's value.
    pub(crate) fn value_of(&self, field: &Field) -> Option<JavaBytes> {
        let (kind, name) = field;
        let rare = self.rare.as_ref();
        match *kind {
            ActionType::ATTRIBUTE => self.attributes.get(name).cloned(),
            ActionType::MAX_INTERVAL => Some(self.max_inactive_interval.into()),
            ActionType::NOTE => rare?.notes.get(name).cloned(),
            ActionType::PRINCIPAL => rare?.principal.clone(),
            ActionType::AUTH_TYPE => rare?.auth_type.clone(),
            ActionType::LISTENER => {
                let mut listeners = self.listeners().iter();
                listeners.find(|l| listener_field(l) == *field).cloned()
            }
            _ => None,
        }
    }

    /// Whether a field has been changed here and that has not been sent.
    pub(crate) fn is_pending(&self, field: &Field) -> bool {
        let mut actions = self.delta.actions.iter();
        actions.any(|action| field_of(action).as_ref() == Some(field))
    }

    /// Gives a field a value, or removes it, as another node has it.
    pub(crate) fn put(&mut self, field: &Field, stamp: Stamp, value: Option<JavaBytes>) -> Applied {
        let (kind, name) = field.clone();
        let (name, value, remove) = match kind {
            ActionType::LISTENER if value.is_none() => (name, self.value_of(field), true),
            ActionType::ATTRIBUTE | ActionType::NOTE => (name, value, false),
            _ => (kind.fixed_name().unwrap_or_default(), value, false),
        };
        let mut action = Action::named(kind, name, value);
        if remove {
            action.action = Action::REMOVE;
        }
        let applied = self.apply(action);
        self.stamp(field.clone(), stamp);
        applied
    }

    /// Takes over what is newer in another session, of which this one is the continuation.
    pub(crate) fn absorb(&mut self, other: Self, filters: &AttributeFilters) {
        for state in other.fields(filters) {
            if state.stamp > self.history.of(&state.field) && !self.is_pending(&state.field) {
                self.put(&state.field, state.stamp, state.value);
            }
        }
        for &(writer, time) in other.history.seen() {
            self.history.saw(Stamp::new(time, writer));
        }
        for action in other.delta.actions {
            self.apply(action.clone());
            self.delta.record(action);
        }
        self.access_count = self.access_count.saturating_add(other.access_count);
    }

    /// A Tomcat told of the session as a whole, and nothing of when it was changed: what differs from the session as it was
    /// here counts as changed right after it. By its clock it could be later than what is still to come from somebody
    /// whose clock is behind, and who knows of no such change. Of a session that was not here nothing has a time at all.
    pub(crate) fn stamp_difference(
        &mut self,
        before: Option<&Self>,
        filters: &AttributeFilters,
        used_ms: i64,
        writer: u64,
    ) {
        let Some(before) = before else {
            self.history = History::default();
            self.history.came_with(0, used_ms);
            return;
        };
        self.history = before.history.clone();
        let stamp = self.history.next(0, writer);
        let mut changed = Vec::new();
        for state in self.fields(filters) {
            if before.value_of(&state.field) != state.value && state.value.is_some() {
                changed.push(state.field);
            }
        }
        let gone = before.fields(filters).into_iter();
        let gone = gone.filter(|state| state.value.is_some() && !self.has(&state.field));
        changed.extend(gone.map(|state| state.field));
        for field in changed {
            self.stamp(field, stamp);
        }
        self.history.saw(stamp);
    }

    /// Remembers when a field was changed.
    pub(crate) fn stamp(&mut self, field: Field, stamp: Stamp) {
        let mut history = core::mem::take(&mut self.history);
        history.set(field, stamp);
        history.trim(self.attributes.len().saturating_add(8), |field| {
            self.has(field)
        });
        self.history = history;
    }

    /// Stamps what has been recorded: it leaves, or nobody is there to get it.
    pub(crate) fn stamp_recorded(&mut self, stamp: Stamp) {
        let actions = core::mem::take(&mut self.delta.actions);
        for action in &actions {
            match action.kind {
                // By its name where that is known already.
                kind @ (ActionType::ATTRIBUTE | ActionType::NOTE) => {
                    self.stamp_ref(kind, action.name.as_modified_utf8(), stamp);
                }
                _ => {
                    if let Some(field) = field_of(action) {
                        self.stamp(field, stamp);
                    }
                }
            }
        }
        self.delta.actions = actions;
        self.history.saw(stamp);
    }
}

/// A 64-bit mixing hash: fast, and the same on every node. It keeps honest nodes from comparing more; it is no protection.
#[derive(Clone, Copy)]
pub(crate) struct Digest(pub(crate) u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Digest {
    pub(crate) fn number(&mut self, number: i64) {
        let mixed = (self.0 ^ number.cast_unsigned()).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn stamp(&mut self, stamp: Stamp) {
        self.number(stamp.time_ms);
        self.number(stamp.writer.cast_signed());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.number(i64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let tail = chunks.remainder();
        let mut last = [0; 8];
        if let Some(place) = last.get_mut(..tail.len()) {
            place.copy_from_slice(tail);
        }
        self.number(i64::from_le_bytes(last));
    }

    /// The digest of one value.
    pub(crate) fn of_value(value: Option<&JavaBytes>) -> u64 {
        let mut hash = Self::default();
        match value {
            Some(value) => hash.bytes(value.as_bytes()),
            None => hash.number(-1),
        }
        hash.0
    }
}
