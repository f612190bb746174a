//! What the web layer needs of a session manager.

use std::sync::Arc;

use folkmoot_core::java::JavaBytes;

use super::SessionError;
use crate::delivery::Delivery;
use crate::{ActiveSession, SessionId, SessionView};

/// A session manager as requests use it: the seam between the web layer and the cluster.
///
/// A request holds a session as an [`ActiveSession`], which follows the session through changes of its id,
/// whoever makes them, so that overlapping requests go on with the same session.
pub(crate) trait SessionStore: Send + Sync + 'static {
    /// `""` for the root context, else `/…`.
    fn context_path(&self) -> &str;

    /// What this node's session ids end with.
    fn jvm_route(&self) -> Option<&str>;

    /// Whether the session is here and valid, and whether this node is its primary; does not touch it.
    fn find(&self, id: &SessionId) -> Option<SessionView>;

    /// Begins an access to a session that exists and is valid: from now on it is not new.
    fn join(&self, id: &SessionId) -> Option<Arc<ActiveSession>>;

    /// As [`join`](Self::join), and sets an attribute at once: `value` is taken if the session is here.
    fn join_and_set(
        &self,
        id: &SessionId,
        name: &str,
        value: &mut Option<JavaBytes>,
    ) -> Option<JoinedAndSet> {
        let active = self.join(id)?;
        let set = self.set_attribute(&active, name, value.take()?);
        Some((active, set))
    }

    /// Creates a session and begins an access to it.
    fn create(&self) -> Result<Arc<ActiveSession>, SessionError>;

    /// What there is to know of the session besides its attributes.
    fn view(&self, session: &ActiveSession) -> Option<SessionView>;

    /// Names of its attributes, sorted.
    fn attribute_names(&self, session: &ActiveSession) -> Result<Vec<String>, SessionError>;

    /// The attribute `name`.
    fn attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError>;

    /// Sets an attribute and returns what it was.
    fn set_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
        value: JavaBytes,
    ) -> Result<Option<JavaBytes>, SessionError>;

    /// Removes an attribute and returns what it was.
    fn remove_attribute(
        &self,
        session: &ActiveSession,
        name: &str,
    ) -> Result<Option<JavaBytes>, SessionError>;

    /// Seconds after which the idle session expires; 0 and less: never.
    fn set_max_inactive_interval(
        &self,
        session: &ActiveSession,
        seconds: i32,
    ) -> Result<(), SessionError>;

    /// Gives the session another id, `to` or a random one, and tells the cluster.
    fn change_id(
        &self,
        session: &ActiveSession,
        to: Option<&SessionId>,
    ) -> Result<SessionId, SessionError>;

    /// Gives the session `from` the id `to` if it exists and is valid, and tells the cluster; does not touch it.
    fn rebind(&self, from: &SessionId, to: &SessionId) -> bool;

    /// Ends the session, here and in the cluster; a delivery if the members were asked to acknowledge it.
    fn invalidate(&self, session: &ActiveSession) -> Result<Option<Delivery>, SessionError>;

    /// The request is over: what it changed leaves for the members. With `leave` its access ends, too, whatever the
    /// outcome.
    fn request_completed(
        &self,
        session: &Arc<ActiveSession>,
        leave: bool,
    ) -> Result<Completed, SessionError>;

    /// Ends an access.
    fn leave(&self, session: Arc<ActiveSession>);
}

/// A session that a request has joined, and what the attribute that it set was before.
pub(crate) type JoinedAndSet = (Arc<ActiveSession>, Result<Option<JavaBytes>, SessionError>);

/// What the end of a request led to.
#[derive(Debug)]
pub(crate) enum Completed {
    /// No message: there is nothing to tell, or nobody to tell it to.
    Nothing,
    /// A message has left; with a delivery if the members were asked to acknowledge it.
    Sent(Option<Delivery>),
}
