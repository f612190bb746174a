//! Why a command about a session was refused.

use core::fmt;

/// Why a command about a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// There is no manager of that [`ContextId`](crate::cluster::ContextId).
    UnknownContext,
    /// There is no such session here.
    UnknownSession,
    /// There is a session of that id already.
    SessionExists,
    /// `max_active_sessions` or `limits.sessions_max` is reached.
    TooManySessions {
        /// The limit.
        max: usize,
    },
    /// The id or the name has so many encoded bytes; Java's `writeUTF` takes 65 535.
    TooLong(usize),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownContext => f.write_str(
                "no manager is registered for this context; call `register_manager` first",
            ),
            Self::UnknownSession => f.write_str("no such session here; it may have expired"),
            Self::SessionExists => {
                f.write_str("a session of this id exists already; use it or choose another id")
            }
            Self::TooManySessions { max } => write!(
                f,
                "there are {max} sessions already; raise `max_active_sessions` or `limits.sessions_max`"
            ),
            Self::TooLong(len) => write!(
                f,
                "the name takes {len} encoded bytes, but Java can send 65535; shorten it"
            ),
        }
    }
}

impl core::error::Error for SessionError {}
