//! A store that only remembers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use folkmoot_core::java::JavaBytes;

use crate::active::{ActiveSession, ActiveSessions};
use crate::delivery::Delivery;
use crate::web::SessionError;
use crate::web::store::{Completed, SessionStore};
use crate::{SessionId, SessionView};

/// Sessions in a map, and a line for everything that the cluster would hear of.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) sessions: Mutex<HashMap<SessionId, BTreeMap<String, JavaBytes>>>,
    pub(super) active: ActiveSessions,
    pub(super) heard: Mutex<Vec<String>>,
    pub(super) max: Option<usize>,
}

impl Memory {
    pub(super) fn with(ids: &[&str]) -> Arc<Self> {
        let memory = Self::default();
        for id in ids {
            memory
                .sessions
                .lock()
                .unwrap()
                .insert(SessionId::from(*id), BTreeMap::new());
        }
        Arc::new(memory)
    }

    fn hear(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    pub(super) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    fn attributes<R>(
        &self,
        session: &ActiveSession,
        use_them: impl FnOnce(&mut BTreeMap<String, JavaBytes>) -> R,
    ) -> Result<R, SessionError> {
        let mut sessions = self.sessions.lock().unwrap();
        sessions
            .get_mut(&session.id())
            .map(use_them)
            .ok_or(SessionError::Invalidated)
    }
}

impl SessionStore for Memory {
    fn context_path(&self) -> &str {
        "/shop"
    }

    fn jvm_route(&self) -> Option<&str> {
        Some("n1")
    }

    fn find(&self, id: &SessionId) -> Option<SessionView> {
        let view = SessionView {
            is_primary: true,
            ..SessionView::default()
        };
        self.sessions
            .lock()
            .unwrap()
            .contains_key(id)
            .then_some(view)
    }

    fn join(&self, id: &SessionId) -> Option<Arc<ActiveSession>> {
        self.find(id)?;
        self.hear(format!("join {id}"));
        Some(self.active.enter(id))
    }

    fn create(&self) -> Result<Arc<ActiveSession>, SessionError> {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(max) = self.max.filter(|max| sessions.len() >= *max) {
            return Err(SessionError::TooManySessions(max));
        }
        let id = SessionId::from(format!("NEW{}.n1", sessions.len()).as_str());
        self.hear(format!("create {id}"));
        sessions.insert(id.clone(), BTreeMap::new());
        Ok(self.active.enter(&id))
    }

    fn view(&self, session: &ActiveSession) -> Option<SessionView> {
        self.find(&session.id())
    }

    fn attribute_names(&self, session: &ActiveSession) -> Result<Vec<String>, SessionError> {
        self.attributes(session, |attributes| attributes.keys().cloned().collect())
    }

    fn attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.attributes(session, |attributes| attributes.get(name).cloned())
    }

    fn set_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
        value: JavaBytes,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.attributes(session, |attributes| {
            attributes.insert(name.to_owned(), value)
        })
    }

    fn remove_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.attributes(session, |attributes| attributes.remove(name))
    }

    fn set_max_inactive_interval(
        &self,
        session: &ActiveSession,
        _: i32,
    ) -> Result<(), SessionError> {
        self.attributes(session, |_| ())
    }

    fn change_id(
        &self,
        session: &ActiveSession,
        to: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        let old = session.id();
        let new = to.cloned().unwrap_or_else(|| SessionId::from("CHANGED.n1"));
        self.rebind(&old, &new)
            .then_some(new)
            .ok_or(SessionError::Invalidated)
    }

    fn rebind(&self, from: &SessionId, to: &SessionId) -> bool {
        let mut sessions = self.sessions.lock().unwrap();
        let Some(attributes) = sessions.remove(from) else {
            return false;
        };
        sessions.insert(to.clone(), attributes);
        self.active.rename(from, to);
        self.hear(format!("rename {from} {to}"));
        true
    }

    fn invalidate(&self, session: &ActiveSession) -> Result<Option<Delivery>, SessionError> {
        let id = session.id();
        self.hear(format!("expire {id}"));
        let removed = self.sessions.lock().unwrap().remove(&id);
        removed.map(|_| None).ok_or(SessionError::Invalidated)
    }

    fn request_completed(
        &self,
        session: &Arc<ActiveSession>,
        leave: bool,
    ) -> Result<Completed, SessionError> {
        let here = self.attributes(session, |_| ());
        if here.is_ok() {
            self.hear(format!("replicate {}", session.id()));
        }
        if leave {
            self.leave(Arc::clone(session));
        }
        here.map(|()| Completed::Sent(None))
    }

    fn leave(&self, session: Arc<ActiveSession>) {
        self.active.leave(&session);
        self.hear(format!("leave {}", session.id()));
    }
}
