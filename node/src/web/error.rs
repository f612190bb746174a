//! What can go wrong with a session in a request.

use std::fmt;

use axum::response::{IntoResponse, Response};
use folkmoot_core::java::ValueError;
use folkmoot_core::session::SessionError as CoreError;
use http::StatusCode;

/// Why an operation on a session failed.
///
/// As a response it is a 500, or a 503 where another node or a later attempt may do better.
#[derive(Debug)]
pub enum SessionError {
    /// The session has been invalidated or has expired, in this request or elsewhere
    /// (`IllegalStateException` in a servlet).
    Invalidated,
    /// The response is already on its way, so a cookie can no longer be sent: no session can be created.
    ResponseCommitted,
    /// The manager holds `maxActiveSessions` sessions (`TooManyActiveSessionsException`).
    TooManySessions(usize),
    /// The cluster has been shut down.
    Stopped,
    /// The attribute's value could not be read as the type asked for.
    Read {
        /// The attribute.
        name: String,
        /// Why.
        source: ValueError,
    },
    /// The value cannot be written as a Java object.
    Write {
        /// The attribute.
        name: String,
        /// Why.
        source: ValueError,
    },
    /// The name or id cannot be replicated: Java writes it with at most 65,535 bytes.
    NameTooLong(usize),
    /// The new session id is already in use.
    IdRefused,
    /// The change could not be handed to the cluster.
    Send(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalidated => f.write_str("the session has been invalidated or has expired"),
            Self::ResponseCommitted => f.write_str(
                "the response is already on its way: create the session before the handler returns",
            ),
            Self::TooManySessions(max) => write!(
                f,
                "there are {max} sessions, which is max_active_sessions: raise it or let sessions expire earlier"
            ),
            Self::Stopped => f.write_str("the cluster has been shut down"),
            Self::Read { name, source } => {
                write!(f, "attribute {name:?} cannot be read as asked: {source}")
            }
            Self::Write { name, source } => {
                write!(f, "attribute {name:?} cannot be written: {source}")
            }
            Self::NameTooLong(len) => {
                write!(
                    f,
                    "a name or an id of {len} bytes cannot be replicated: the most is 65535"
                )
            }
            Self::IdRefused => f.write_str("the new session id is in use already"),
            Self::Send(why) => write!(f, "the change could not be sent to the cluster: {why}"),
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl SessionError {
    /// The status a response gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooManySessions(_) | Self::Stopped | Self::Send(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<CoreError> for SessionError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::UnknownSession => Self::Invalidated,
            CoreError::UnknownContext => Self::Stopped,
            CoreError::SessionExists => Self::IdRefused,
            CoreError::TooManySessions { max } => Self::TooManySessions(max),
            CoreError::TooLong(len) => Self::NameTooLong(len),
        }
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}
