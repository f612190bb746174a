//! Sessions as the values of a replicated map: `DeltaSession` as a `ReplicatedMapEntry`.

use alloc::vec::Vec;

use bytes::Bytes;

use super::filter::AttributeFilters;
use super::{
    BackupManagerConfig, DeltaRequest, DeltaSession, SessionId, SessionRecord, delta_request,
};
use crate::channel::MemberIndex;
use crate::cluster::{ClusterEvent, ContextId, Events, Origin, Refusal};
use crate::java::{
    ClassDescriptor, ExternalClass, JavaBytes, JavaError, JavaErrorKind, JavaString, ObjectOutput,
};
use crate::map::{MapOwner, MapRefusal};
use crate::time::Instant;

/// The class of a session that is one object.
pub(crate) const SESSION_CLASS: &str = "org.apache.catalina.ha.session.DeltaSession";

/// Its descriptor with that of its superclass.
pub(crate) fn session_class() -> ExternalClass {
    let known = ClassDescriptor::well_known(SESSION_CLASS);
    let plain = || ClassDescriptor::externalizable(SESSION_CLASS, 0);
    ExternalClass::new(&known.unwrap_or_else(plain))
}

/// The key of a session: its id as a `String` in a stream of its own.
pub(crate) fn key(id: &SessionId) -> Bytes {
    JavaBytes::string(id.as_java()).bytes().clone()
}

/// Reads and writes the sessions of a manager, and says what becomes of them.
pub(crate) struct Sessions<'a> {
    pub(crate) now: Instant,
    pub(crate) unix_ms: i64,
    pub(crate) events: &'a mut Events,
    pub(crate) context: ContextId,
    pub(crate) config: &'a BackupManagerConfig,
    pub(crate) filters: &'a AttributeFilters,
    pub(crate) class: &'a ExternalClass,
}

impl Sessions<'_> {
    fn id_of(&self, key: &Bytes) -> Option<SessionId> {
        let key = JavaBytes::new(key.clone(), &self.config.java).ok()?;
        key.as_string().map(SessionId::from)
    }
}

impl MapOwner for Sessions<'_> {
    type Value = DeltaSession;

    /// A session that another node has sent. Local changes in the one it replaces are applied to it, and stay to be sent.
    fn read(
        &mut self,
        key: &Bytes,
        stream: &[u8],
        before: Option<&DeltaSession>,
    ) -> Result<DeltaSession, JavaError> {
        let mut record = SessionRecord::read_object(stream, &self.config.java)?;
        if self.id_of(key).as_ref().map(SessionId::as_java) != Some(&record.id) {
            return Err(JavaErrorKind::WrongClass.at(0));
        }
        let filters = self.filters;
        record
            .attributes
            .retain(|(name, value): &(JavaString, JavaBytes)| filters.included(name, Some(value)));
        let mut session = record.into_session(self.now, self.unix_ms);
        session.delta.record_all_actions = self.config.record_all_actions;
        if let Some(before) = before {
            session.lane = before.lane;
            session.access_count = before.access_count;
            session.last_time_replicated_ms = before.last_time_replicated_ms;
            for action in &before.delta.actions {
                session.apply(action.clone());
            }
            session.delta = before.delta.clone();
        }
        Ok(session)
    }

    fn write(&mut self, session: &DeltaSession, out: &mut Vec<u8>) -> Result<(), JavaError> {
        let mut object =
            ObjectOutput::with_capacity(session.encoded_estimate().saturating_add(512));
        object.begin_external(self.class);
        session.write(&mut object, false, |name, value| {
            self.filters.included(name, Some(value))
        })?;
        object.end_external();
        out.extend_from_slice(object.finished());
        Ok(())
    }

    /// When it was made.
    fn identity(&self, session: &DeltaSession) -> Option<u64> {
        Some(session.creation_time_ms.cast_unsigned())
    }

    fn is_dirty(&self, session: &DeltaSession) -> bool {
        session.is_dirty()
    }

    fn is_in_use(&self, session: &DeltaSession) -> bool {
        session.access_count > 0
    }

    fn write_diff(&mut self, session: &DeltaSession, out: &mut Vec<u8>) -> bool {
        let mut stream = ObjectOutput::new();
        let delta = &session.delta;
        let all = delta.record_all_actions;
        let written = delta_request::write(&mut stream, &session.id, all, &delta.actions);
        out.extend_from_slice(stream.finished());
        written.is_ok()
    }

    fn sent(&mut self, session: &mut DeltaSession) {
        session.delta.actions.clear();
        session.last_time_replicated_ms = self.unix_ms;
    }

    fn is_access_due(&self, session: &DeltaSession) -> bool {
        session.is_access_due(self.unix_ms)
    }

    fn apply_diff(&mut self, session: &mut DeltaSession, diff: &[u8]) -> Result<(), JavaError> {
        let delta = DeltaRequest::read(diff, &self.config.java)?;
        if delta.session_id != session.id {
            return Err(JavaErrorKind::WrongClass.at(0));
        }
        let at_start = self.config.session_last_access_at_start;
        let tell = self.config.notify_listeners_on_replication && self.events.wants_attributes();
        let (context, id) = (self.context, session.id.clone());
        session.access(self.now, self.unix_ms);
        session.apply_remote(delta.actions, |name, change| {
            if tell {
                self.events.push(ClusterEvent::AttributeChanged {
                    context,
                    id: id.clone(),
                    name,
                    change,
                    origin: Origin::Remote,
                });
            }
        });
        session.end_access(self.now, self.unix_ms, at_start);
        Ok(())
    }

    fn accessed(&mut self, session: &mut DeltaSession) {
        let at_start = self.config.session_last_access_at_start;
        session.access(self.now, self.unix_ms);
        session.end_access(self.now, self.unix_ms, at_start);
    }

    fn primary_changed(&mut self, session: &mut DeltaSession, primary: bool) {
        session.primary = primary;
    }

    fn fetched(&mut self, key: &Bytes, found: bool) {
        if let Some(id) = self.id_of(key) {
            self.events.push(ClusterEvent::SessionFetched {
                context: self.context,
                id,
                found,
            });
        }
    }

    fn refused(&mut self, from: Option<MemberIndex>, reason: MapRefusal) {
        self.events.push(ClusterEvent::Refused {
            context: Some(self.context),
            from,
            reason: Refusal::Map(reason),
        });
    }
}
