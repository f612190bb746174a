//! A whole request on a session, under one lock.

use std::fmt;

use folkmoot_core::cluster::{Access, ContextId};
use folkmoot_core::java::{JavaBytes, ValueRef};
use folkmoot_core::session::SessionId;
use folkmoot_core::time::Instant;
use folkmoot_core::wire::UniqueId;

use crate::cluster::Engine;
use crate::web::SessionError;

/// A session in the hands of a request: what [`DeltaManager::request`](crate::DeltaManager::request) gives to its closure.
///
/// The cluster's lock is held meanwhile: whoever holds this must neither block nor use the cluster otherwise.
pub struct SessionRequest<'a> {
    engine: &'a mut Engine,
    now: Instant,
    context: ContextId,
    id: &'a SessionId,
}

/// How the first step of a request has ended.
pub(crate) enum Begun<'a> {
    Here(SessionRequest<'a>),
    Absent,
    /// It is on another member only, and on its way.
    Fetching,
}

impl<'a> SessionRequest<'a> {
    /// Begins to use the session `id`.
    pub(crate) fn begin(
        engine: &'a mut Engine,
        now: Instant,
        context: ContextId,
        id: &'a SessionId,
    ) -> Begun<'a> {
        match engine.access(now, context, id) {
            Access::Here => Begun::Here(Self {
                engine,
                now,
                context,
                id,
            }),
            Access::Absent => Begun::Absent,
            Access::Fetching => Begun::Fetching,
        }
    }

    /// Sends what has changed; the message, if there is one.
    pub(crate) fn complete(self) -> Result<Option<UniqueId>, SessionError> {
        let sent = self
            .engine
            .request_completed(self.now, self.context, self.id);
        sent.map_err(|error| SessionError::Send(error.to_string()))
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        self.id
    }

    /// The attribute `name`; `None` if there is none.
    pub fn attribute(&self, name: &str) -> Option<JavaBytes> {
        self.engine.attribute(self.context, self.id, name)
    }

    /// Sets an attribute and returns what it was.
    ///
    /// # Errors
    ///
    /// The name is too long to be replicated.
    pub fn set_attribute(
        &mut self,
        name: &str,
        value: impl Into<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        let set = self
            .engine
            .set_attribute(self.now, self.context, self.id, name, value);
        Ok(set?)
    }

    /// As [`set_attribute`](Self::set_attribute), but the value is copied into the memory of the one it replaces, if nobody holds that
    /// and it fits. `ValueRef::Null` removes the attribute. Whether anything has changed.
    ///
    /// # Errors
    ///
    /// As [`set_attribute`](Self::set_attribute).
    pub fn write_attribute<'v>(
        &mut self,
        name: &str,
        value: impl Into<ValueRef<'v>>,
    ) -> Result<bool, SessionError> {
        let written = self
            .engine
            .write_attribute(self.now, self.context, self.id, name, value);
        Ok(written?)
    }

    /// Removes an attribute and returns what it was.
    ///
    /// # Errors
    ///
    /// As [`set_attribute`](Self::set_attribute).
    pub fn remove_attribute(&mut self, name: &str) -> Result<Option<JavaBytes>, SessionError> {
        let removed = self
            .engine
            .remove_attribute(self.now, self.context, self.id, name);
        Ok(removed?)
    }

    /// Seconds without a request after which the session expires; 0 or less for never.
    ///
    /// # Errors
    ///
    /// None that a session which is here can cause.
    pub fn set_max_inactive_interval(&mut self, seconds: i32) -> Result<(), SessionError> {
        let set = self
            .engine
            .set_max_inactive_interval(self.now, self.context, self.id, seconds);
        Ok(set?)
    }
}

/// The request is done with the session, also if it has panicked: what it had changed goes out with the next one then.
impl Drop for SessionRequest<'_> {
    fn drop(&mut self) {
        self.engine.end_access(self.now, self.context, self.id);
    }
}

impl fmt::Debug for SessionRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRequest")
            .field("id", self.id)
            .finish_non_exhaustive()
    }
}
