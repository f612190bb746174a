//! Sessions in use by requests, followed through changes of their ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use folkmoot_core::session::SessionId;

/// A session that requests are using. All overlapping requests of a session share one.
#[derive(Debug)]
pub struct ActiveSession {
    id: Mutex<SessionId>,
}

impl ActiveSession {
    pub(crate) fn new(id: SessionId) -> Self {
        Self { id: Mutex::new(id) }
    }

    /// The id it has at the moment.
    pub(crate) fn id(&self) -> SessionId {
        lock(&self.id).clone()
    }

    pub(crate) fn rename(&self, id: SessionId) {
        *lock(&self.id) = id;
    }
}

/// The sessions of one web application that are in use; as many as there are requests at most.
///
/// To be read and changed only while the engine is locked: then an id in here is the one that the engine has.
#[derive(Debug, Default)]
pub(crate) struct ActiveSessions {
    table: Mutex<HashMap<SessionId, InUse>>,
}

#[derive(Debug)]
struct InUse {
    session: Arc<ActiveSession>,
    requests: usize,
}

impl ActiveSessions {
    /// One more request uses the session `id`.
    pub(crate) fn enter(&self, id: &SessionId) -> Arc<ActiveSession> {
        let mut table = lock(&self.table);
        if let Some(in_use) = table.get_mut(id) {
            in_use.requests += 1;
            return Arc::clone(&in_use.session);
        }
        let session = Arc::new(ActiveSession::new(id.clone()));
        let in_use = InUse {
            session: Arc::clone(&session),
            requests: 1,
        };
        table.insert(id.clone(), in_use);
        session
    }

    /// A request is done with `session`.
    pub(crate) fn leave(&self, session: &Arc<ActiveSession>) {
        let id = session.id();
        let mut table = lock(&self.table);
        // After an id was reused the entry may be another session's.
        if let Some(in_use) = table.get_mut(&id)
            && Arc::ptr_eq(&in_use.session, session)
        {
            in_use.requests -= 1;
            if in_use.requests == 0 {
                table.remove(&id);
            }
        }
    }

    /// The engine has changed the id `old` to `new`.
    pub(crate) fn rename(&self, old: &SessionId, new: &SessionId) {
        let mut table = lock(&self.table);
        if let Some(in_use) = table.remove(old) {
            in_use.session.rename(new.clone());
            table.insert(new.clone(), in_use);
        }
    }
}

/// A panic while one of these locks was held cannot leave half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SessionId {
        SessionId::from(text)
    }

    #[test]
    fn overlapping_requests_share_a_session_through_its_renames() {
        let sessions = ActiveSessions::default();
        let one = sessions.enter(&id("A.n1"));
        let other = sessions.enter(&id("A.n1"));
        assert!(Arc::ptr_eq(&one, &other));

        sessions.rename(&id("A.n1"), &id("A.n2"));
        assert_eq!((one.id(), other.id()), (id("A.n2"), id("A.n2")));
        let third = sessions.enter(&id("A.n2"));
        assert!(Arc::ptr_eq(&one, &third));

        for session in [one, other, third] {
            sessions.leave(&session);
        }
        assert!(lock(&sessions.table).is_empty());
    }

    #[test]
    fn a_rename_of_a_session_that_nobody_uses_leaves_no_trace() {
        let sessions = ActiveSessions::default();
        sessions.rename(&id("A"), &id("B"));
        assert!(lock(&sessions.table).is_empty());
    }

    #[test]
    fn a_request_that_leaves_late_does_not_disturb_the_next_session_of_its_id() {
        let sessions = ActiveSessions::default();
        let first = sessions.enter(&id("A"));
        let other = sessions.enter(&id("B"));
        sessions.rename(&id("B"), &id("A"));
        sessions.leave(&first);
        sessions.leave(&other);
        assert!(lock(&sessions.table).is_empty());
    }
}
