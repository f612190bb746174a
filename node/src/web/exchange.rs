//! One request and its session, from the cookie to the replication.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use folkmoot_core::java::JavaBytes;

use super::SessionError;
use super::store::{Completed, SessionStore};
use crate::delivery::Delivery;
use crate::{ActiveSession, SessionId};

/// What a request knows of its session; shared by the layer, the handler and whatever the handler hands its
/// [`Session`](super::Session) to.
pub(crate) struct RequestSession {
    store: Arc<dyn SessionStore>,
    state: Mutex<State>,
    /// Something was changed since the request was completed: a body that is still being streamed does that.
    changed_late: AtomicBool,
}

struct State {
    requested: Option<SessionId>,
    current: Current,
    /// The id the client has to be told.
    tell: Option<SessionId>,
    /// The response head has left.
    committed: bool,
    /// The message that told the members of a session's end, if they acknowledge it.
    goodbye: Option<Delivery>,
}

enum Current {
    /// Nobody has asked yet.
    Unresolved,
    /// There is none, or no more.
    None,
    Active(Arc<ActiveSession>),
}

impl RequestSession {
    pub(crate) fn new(store: Arc<dyn SessionStore>, requested: Option<SessionId>) -> Self {
        Self {
            store,
            state: Mutex::new(State {
                requested,
                current: Current::Unresolved,
                tell: None,
                committed: false,
                goodbye: None,
            }),
            changed_late: AtomicBool::new(false),
        }
    }

    pub(crate) fn store(&self) -> &dyn SessionStore {
        &*self.store
    }

    pub(crate) fn requested_id(&self) -> Option<SessionId> {
        self.state().requested.clone()
    }

    /// The request goes on under `id`, and the client is told: its session has moved here.
    pub(crate) fn rewrite(&self, id: SessionId) {
        let mut state = self.state();
        state.tell = Some(id.clone());
        state.requested = Some(id);
    }

    /// The session that the request presented, joined on first use (`getSession(false)`).
    pub(crate) fn joined(&self) -> Option<Arc<ActiveSession>> {
        let mut state = self.state();
        self.resolve(&mut state)
    }

    fn resolve(&self, state: &mut State) -> Option<Arc<ActiveSession>> {
        if let Current::Unresolved = state.current {
            let joined = state.requested.as_ref().and_then(|id| self.store.join(id));
            state.current = joined.map_or(Current::None, Current::Active);
        }
        match &state.current {
            Current::Active(active) => Some(Arc::clone(active)),
            Current::Unresolved | Current::None => None,
        }
    }

    /// The session, created if need be (`getSession(true)`).
    pub(crate) fn joined_or_created(&self) -> Result<Arc<ActiveSession>, SessionError> {
        let mut state = self.state();
        if let Some(active) = self.resolve(&mut state) {
            return Ok(active);
        }
        if state.committed {
            return Err(SessionError::ResponseCommitted);
        }
        let active = self.store.create()?;
        state.tell = Some(active.id());
        state.current = Current::Active(Arc::clone(&active));
        Ok(active)
    }

    /// Sets an attribute, in a session created if need be; gives what it was. If nobody has asked for the session before, it is
    /// joined in the same step.
    pub(crate) fn set_attribute(
        &self,
        name: &str,
        value: JavaBytes,
    ) -> Result<Option<JavaBytes>, SessionError> {
        let mut value = Some(value);
        let mut state = self.state();
        if let (Current::Unresolved, Some(id)) = (&state.current, &state.requested)
            && let Some((active, set)) = self.store.join_and_set(id, name, &mut value)
        {
            state.current = Current::Active(active);
            if state.committed {
                self.changed_late.store(true, Ordering::Release);
            }
            return set;
        }
        drop(state);
        let active = self.joined_or_created()?;
        self.changing();
        let value = value.unwrap_or(JavaBytes::NULL);
        self.store.set_attribute(&active, name, value)
    }

    pub(crate) fn change_id(&self) -> Result<SessionId, SessionError> {
        let mut state = self.state();
        if state.committed {
            return Err(SessionError::ResponseCommitted);
        }
        let active = self.resolve(&mut state).ok_or(SessionError::Invalidated)?;
        let id = self.store.change_id(&active, None)?;
        state.tell = Some(id.clone());
        Ok(id)
    }

    pub(crate) fn invalidate(&self) -> Result<bool, SessionError> {
        let mut state = self.state();
        let Some(active) = self.resolve(&mut state) else {
            return Ok(false);
        };
        state.current = Current::None;
        state.tell = None;
        drop(state);
        let outcome = self.store.invalidate(&active);
        self.store.leave(active);
        match outcome {
            Ok(goodbye) => {
                self.state().goodbye = goodbye;
                Ok(true)
            }
            // Somebody else was faster: it is gone, as asked.
            Err(SessionError::Invalidated) => Ok(true),
            Err(other) => Err(other),
        }
    }

    /// Something is about to be changed.
    pub(crate) fn changing(&self) {
        if self.state().committed {
            self.changed_late.store(true, Ordering::Release);
        }
    }

    /// The id for a `Set-Cookie` header, and no more of them: the response head leaves.
    pub(crate) fn commit(&self) -> Option<SessionId> {
        let mut state = self.state();
        state.committed = true;
        state.tell.take()
    }

    /// The request is over. Joins the session that was presented even if nobody has asked for it, as
    /// `ReplicationValve` does, and, unless the filter leaves the request out, replicates what was changed. `last` says
    /// that nobody else holds this: nothing can be changed later.
    pub(crate) fn complete(&self, leave_out: bool, last: bool) -> Result<Completed, SessionError> {
        let mut state = self.state();
        let Some(active) = self.resolve(&mut state).filter(|_| !leave_out) else {
            let goodbye = state.goodbye.take();
            return Ok(goodbye.map_or(Completed::Nothing, |goodbye| Completed::Sent(Some(goodbye))));
        };
        if last {
            state.current = Current::None;
        }
        drop(state);
        match self.store.request_completed(&active, last) {
            // It ended during the request, which has been told to the members already.
            Err(SessionError::Invalidated) => Ok(Completed::Nothing),
            outcome => outcome,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is half done when a panic passes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestSession {
    fn drop(&mut self) {
        let changed_late = self.changed_late.load(Ordering::Acquire);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Current::Active(active) = std::mem::replace(&mut state.current, Current::None) {
            if changed_late {
                // Nobody is left to be told.
                let _ = self.store.request_completed(&active, true).map(drop);
            } else {
                self.store.leave(active);
            }
        }
    }
}
