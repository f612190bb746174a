//! The session of a request: the extractor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use folkmoot_core::java::JavaBytes;
use http::StatusCode;
use http::request::Parts;

use super::SessionError;
use super::exchange::RequestSession;
use crate::{SessionId, SessionView};

/// The session of the request, as `HttpServletRequest.getSession` gives it.
///
/// An extractor for axum handlers below a [`SessionLayer`](super::SessionLayer), cheap to clone. A session
/// comes into being with the first attribute that is set (or with [`create`](Self::create)); reading never
/// creates one. Every change is visible at once to overlapping requests on this node, which share the
/// session, and leaves for the other members when the request is over.
///
/// As in Tomcat, a value changed in place is not a change: set it again.
#[derive(Clone)]
pub struct Session {
    request: Arc<RequestSession>,
}

impl Session {
    pub(crate) fn new(request: Arc<RequestSession>) -> Self {
        Self { request }
    }

    /// The session's id; `None` if there is no session (yet).
    pub fn id(&self) -> Option<SessionId> {
        self.request.joined().map(|active| active.id())
    }

    /// The id that the request presented, valid or not; after a change of its route the new one.
    pub fn requested_id(&self) -> Option<SessionId> {
        self.request.requested_id()
    }

    /// Whether the client does not know the session yet: it was created in this request. `false` without a session.
    pub fn is_new(&self) -> bool {
        self.view().is_some_and(|view| view.is_new)
    }

    /// The session's times, interval and flags; `None` if there is no session.
    pub fn view(&self) -> Option<SessionView> {
        let active = self.request.joined()?;
        self.request.store().view(&active)
    }

    /// Makes sure that there is a session (`getSession(true)`) and returns its id.
    pub fn create(&self) -> Result<SessionId, SessionError> {
        Ok(self.request.joined_or_created()?.id())
    }

    /// The attribute `name` as the Java stream that it is; `None` if there is none.
    pub fn get_bytes(&self, name: &str) -> Result<Option<JavaBytes>, SessionError> {
        match self.request.joined() {
            Some(active) => self.request.store().attribute(&active, name),
            None => Ok(None),
        }
    }

    /// Names of the attributes, sorted; none if there is no session.
    pub fn attribute_names(&self) -> Result<Vec<String>, SessionError> {
        match self.request.joined() {
            Some(active) => self.request.store().attribute_names(&active),
            None => Ok(Vec::new()),
        }
    }

    /// Sets the attribute `name` to a Java stream of one object and returns what it was.
    pub fn set_bytes(
        &self,
        name: &str,
        value: JavaBytes,
    ) -> Result<Option<JavaBytes>, SessionError> {
        check_name(name)?;
        self.request.set_attribute(name, value)
    }

    /// Removes the attribute `name` and returns what it was.
    pub fn remove(&self, name: &str) -> Result<Option<JavaBytes>, SessionError> {
        let Some(active) = self.request.joined() else {
            return Ok(None);
        };
        self.request.changing();
        self.request.store().remove_attribute(&active, name)
    }

    /// After how long without a request the session expires; `None`: never, or there is no session.
    pub fn max_inactive_interval(&self) -> Option<Duration> {
        let seconds = self.view()?.max_inactive_interval;
        u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs)
    }

    /// Sets after how many seconds without a request the session expires, 0 or less for never; creates the
    /// session if there is none.
    pub fn set_max_inactive_interval(&self, seconds: i32) -> Result<(), SessionError> {
        let active = self.request.joined_or_created()?;
        self.request.changing();
        self.request
            .store()
            .set_max_inactive_interval(&active, seconds)
    }

    /// Gives the session a new random id and the client a new cookie (`changeSessionId`), as one does when
    /// somebody logs in. An error without a session.
    pub fn change_id(&self) -> Result<SessionId, SessionError> {
        self.request.change_id()
    }

    /// Ends the session here and in the cluster, at once; `false` if there was none. A later
    /// [`insert`](Self::insert) in the same request begins another.
    pub fn invalidate(&self) -> Result<bool, SessionError> {
        self.request.invalidate()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("requested_id", &self.requested_id())
            .finish_non_exhaustive()
    }
}

/// `writeUTF` has no long form: a delta could not carry the name.
fn check_name(name: &str) -> Result<(), SessionError> {
    let len = name.chars().map(|c| match c {
        '\0' => 2,
        c if u32::from(c) > 0xffff => 6,
        c => c.len_utf8(),
    });
    let len: usize = len.sum();
    if len > usize::from(u16::MAX) {
        Err(SessionError::NameTooLong(len))
    } else {
        Ok(())
    }
}

/// A handler asks for a [`Session`], but no [`SessionLayer`](super::SessionLayer) is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingSessionLayer;

impl fmt::Display for MissingSessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no session here: add `.layer(SessionLayer::new(&manager))` to the router of this handler")
    }
}

impl std::error::Error for MissingSessionLayer {}

impl IntoResponse for MissingSessionLayer {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingSessionLayer> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(MissingSessionLayer)
    }
}
