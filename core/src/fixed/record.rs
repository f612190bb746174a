//! A session as it is written into a stream (`DeltaSession.doWriteObject`, `doReadObject`) and a delta (`DeltaRequest`), to
//! and from an [`Area`].

use super::area::Area;
use super::output::{JavaOut, Out};
use super::table::{Sessions, Slot};
use crate::java::JavaError;
use crate::java::items::{Class, Items};
use crate::java::places::{Places, Walk};
use crate::session::ActionType;
use crate::time::Instant;
use crate::wire::Full;

/// The notes that travel with a session, in order.
const NOTES: [&[u8]; 2] = [
    b"org.apache.catalina.authenticator.SESSION_ID",
    b"org.apache.catalina.authenticator.REQUEST",
];

/// `ACTION_SET`.
const SET: i32 = 0;
/// `ACTION_REMOVE`.
const REMOVE: i32 = 1;

/// Why something could not be read into an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    Java,
    /// It is longer than the area. The stream has been read to the end of the item.
    Full,
}

impl From<JavaError> for ReadError {
    fn from(_: JavaError) -> Self {
        Self::Java
    }
}

impl From<Full> for ReadError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// What a stream of objects is read with.
pub(super) struct Source<'s, 'w> {
    pub(super) items: Items<'s, Places<'w>>,
    epoch: u32,
    /// Values whose writer had failed.
    pub(super) skipped: u32,
}

/// The Java object stream header, which values are kept with.
use crate::java::STREAM_HEADER;

impl<'s, 'w> Source<'s, 'w> {
    pub(super) fn new(walk: &'w mut Walk<'_>, stream: &'s [u8]) -> Result<Self, JavaError> {
        Ok(Self {
            items: walk.read(stream)?,
            epoch: 0,
            skipped: 0,
        })
    }

    /// Reads an object into a new record, unless it is null or broken; passes over it without an area. Gives where the
    /// record begins.
    fn object(
        &mut self,
        area: Option<&mut Area<'_>>,
        kind: ActionType,
        name: &[u8],
    ) -> Result<Option<usize>, ReadError> {
        let (Some(area), true) = (area, self.items.class()? != Class::Null) else {
            self.items.skip()?;
            return Ok(None);
        };
        use crate::wire::Sink as _;
        let before = area.len;
        let at = area.begin(kind, name, false, false)?;
        area.put(&STREAM_HEADER)?;
        self.epoch = self.epoch.saturating_add(1);
        let room = usize::MAX;
        match self.items.object(self.epoch, area, room) {
            Ok(true) => {
                area.end(at);
                Ok(Some(at))
            }
            Ok(false) => {
                area.truncate(before);
                self.skipped = self.skipped.saturating_add(1);
                Ok(None)
            }
            // Too long for the area, or damaged: who passes over it finds out.
            Err(error) => Err(match error.kind {
                crate::java::JavaErrorKind::StreamTooLong => ReadError::Full,
                _ => ReadError::Java,
            }),
        }
    }

    /// Reads a session; without an area it is only passed over.
    pub(super) fn session(
        &mut self,
        now: Instant,
        mut area: Option<&mut Area<'_>>,
    ) -> Result<(Slot, bool), ReadError> {
        let mut session = Slot::created(now, self.items.long()?, 0);
        session.last_accessed_time_ms = self.items.long()?;
        session.max_inactive_interval = self.items.integer()?;
        session.is_new = self.items.boolean()?;
        let is_valid = self.items.boolean()?;
        session.this_accessed_time_ms = self.items.long()?;
        let _version = self.items.long()?;
        if self.items.primitive()? != [0] {
            self.object(area.as_deref_mut(), ActionType::PRINCIPAL, b"")?;
        }
        let id = self.items.string()?;
        if let Some(area) = area.as_deref_mut() {
            area.prepend_id(id)?;
        }
        // 8.5 and 9.0 write no notes by default: then the number of attributes follows at once.
        if self.items.class()? != Class::Object(b"java.lang.Integer") {
            for name in NOTES {
                self.object(area.as_deref_mut(), ActionType::NOTE, name)?;
            }
        }
        for _ in 0..self.items.integer()? {
            let name = self.items.string()?;
            self.object(area.as_deref_mut(), ActionType::ATTRIBUTE, name)?;
        }
        for _ in 0..self.items.integer()? {
            self.object(area.as_deref_mut(), ActionType::LISTENER, b"")?;
        }
        Ok((session, is_valid))
    }

    /// Reads a delta about the session `id` and changes `session` and `area` as it says; `false` if it is about another.
    /// What `pending` says is pending here stays in force.
    pub(super) fn delta(
        &mut self,
        id: &[u8],
        session: &mut Slot,
        area: &mut Area<'_>,
        pending: impl Fn(ActionType, &[u8]) -> bool,
    ) -> Result<bool, ReadError> {
        let mut buffer = [0; 256];
        if self.items.utf(&mut buffer)? != id {
            return Ok(false);
        }
        let [_record_all_actions] = self.items.primitive()?;
        for _ in 0..i32::from_be_bytes(self.items.primitive()?) {
            let kind = ActionType(i32::from_be_bytes(self.items.primitive()?));
            let action = i32::from_be_bytes(self.items.primitive()?);
            let name = self.items.utf(&mut buffer)?;
            let has_value = self.items.primitive()? != [0];
            let set = action == SET && has_value;
            let own = matches!(kind, ActionType::ATTRIBUTE | ActionType::NOTE);
            let name = if own { name } else { b"" };
            let passed = pending(kind, name);
            match kind {
                _ if !has_value && !cleared_without_value(kind) => {}
                ActionType::IS_NEW | ActionType::MAX_INTERVAL if !set || passed => {
                    self.items.skip()?;
                }
                ActionType::IS_NEW => session.is_new = self.items.boolean()?,
                ActionType::MAX_INTERVAL => session.max_inactive_interval = self.items.integer()?,
                ActionType::LISTENER => self.listener(area, set)?,
                ActionType::ATTRIBUTE
                | ActionType::NOTE
                | ActionType::PRINCIPAL
                | ActionType::AUTH_TYPE
                    if !passed =>
                {
                    area.remove(kind, name);
                    if has_value {
                        let target = set.then_some(&mut *area);
                        self.object(target, kind, name)?;
                    }
                }
                _ if has_value => self.items.skip()?,
                _ => {}
            }
        }
        match self.items.is_over() {
            true => Ok(true),
            false => Err(ReadError::Java),
        }
    }

    /// Adds or removes a session listener.
    fn listener(&mut self, area: &mut Area<'_>, add: bool) -> Result<(), ReadError> {
        let before = area.len;
        let Some(at) = self.object(Some(area), ActionType::LISTENER, b"")? else {
            return Ok(());
        };
        if add {
            return Ok(());
        }
        area.remove_last_and_equal(before, at);
        Ok(())
    }
}

/// Whether an action of that kind means something without a value.
const fn cleared_without_value(kind: ActionType) -> bool {
    matches!(
        kind,
        ActionType::ATTRIBUTE | ActionType::NOTE | ActionType::PRINCIPAL | ActionType::AUTH_TYPE
    )
}

/// Writes a session.
pub(super) fn write_session(
    java: &mut JavaOut<'_, '_, '_, '_>,
    sessions: &Sessions<'_>,
    slot: usize,
) -> Result<(), Full> {
    let Some(session) = sessions.get(slot) else {
        return Ok(());
    };
    java.long(session.creation_time_ms)?;
    java.long(session.last_accessed_time_ms)?;
    java.integer(session.max_inactive_interval)?;
    java.boolean(session.is_new)?;
    java.boolean(true)?;
    java.long(session.this_accessed_time_ms)?;
    java.long(0)?;
    let there = || sessions.records(slot).filter(|record| !record.removed);
    let principal = there().find(|record| record.kind == ActionType::PRINCIPAL);
    java.data(&[u8::from(principal.is_some())])?;
    if let Some(principal) = principal {
        java.object(principal.value)?;
    }
    java.string(sessions.id(slot))?;
    for name in NOTES {
        match there().find(|record| record.kind == ActionType::NOTE && record.name == name) {
            Some(note) => java.object(note.value)?,
            None => java.null()?,
        }
    }
    let of = |kind| there().filter(move |record| record.kind == kind);
    java.integer(of(ActionType::ATTRIBUTE).count() as i32)?;
    for attribute in of(ActionType::ATTRIBUTE) {
        java.string(attribute.name)?;
        java.object(attribute.value)?;
    }
    java.integer(of(ActionType::LISTENER).count() as i32)?;
    for listener in of(ActionType::LISTENER) {
        java.object(listener.value)?;
    }
    Ok(())
}

/// Writes what has changed in a session and not been sent.
pub(super) fn write_delta(
    out: &mut Out<'_>,
    walk: &mut Walk<'_>,
    sessions: &Sessions<'_>,
    slot: usize,
) -> Result<(), Full> {
    let Some(session) = sessions.get(slot) else {
        return Ok(());
    };
    let mut java = JavaOut::new(out, walk)?;
    let dirty = || sessions.records(slot).filter(|record| record.dirty);
    let flags = usize::from(session.dirty_new).saturating_add(usize::from(session.dirty_interval));
    java.utf(sessions.id(slot))?;
    java.data(&[0])?;
    java.data(&(dirty().count().saturating_add(flags) as i32).to_be_bytes())?;
    let begin = |java: &mut JavaOut<'_, '_, '_, '_>, kind: ActionType, name: &[u8], set: bool| {
        java.data(&kind.0.to_be_bytes())?;
        java.data(&if set { SET } else { REMOVE }.to_be_bytes())?;
        java.utf(kind.fixed_name_bytes().unwrap_or(name))?;
        java.data(&[u8::from(set)])
    };
    if session.dirty_new {
        begin(&mut java, ActionType::IS_NEW, b"", true)?;
        java.boolean(session.is_new)?;
    }
    if session.dirty_interval {
        begin(&mut java, ActionType::MAX_INTERVAL, b"", true)?;
        java.integer(session.max_inactive_interval)?;
    }
    for record in dirty() {
        begin(&mut java, record.kind, record.name, !record.removed)?;
        if !record.removed {
            java.object(record.value)?;
        }
    }
    Ok(())
}
