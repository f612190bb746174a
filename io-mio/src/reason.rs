//! What the operating system says, in the engine's words.

use std::io::{Error, ErrorKind};

use folkmoot_core::engine::CloseReason;

/// Why a stream that failed with `error` is no more.
pub(crate) fn close_reason(error: &Error) -> CloseReason {
    match error.kind() {
        ErrorKind::ConnectionRefused => CloseReason::Refused,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => CloseReason::Unreachable,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Failed,
    }
}

/// Whether accepting must rest: no descriptors, no memory. Anything else concerns one connection only.
pub(crate) fn is_exhausted(error: &Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_engines_names() {
        let cases = [
            (libc::ECONNREFUSED, CloseReason::Refused),
            (libc::EHOSTUNREACH, CloseReason::Unreachable),
            (libc::ENETUNREACH, CloseReason::Unreachable),
            (libc::ECONNRESET, CloseReason::Reset),
            (libc::EPIPE, CloseReason::Reset),
            (libc::ETIMEDOUT, CloseReason::TimedOut),
            (libc::EMFILE, CloseReason::Failed),
        ];
        for (errno, reason) in cases {
            let error = Error::from_raw_os_error(errno);
            assert_eq!(close_reason(&error), reason, "{error}");
        }
    }

    #[test]
    fn only_exhaustion_makes_accepting_rest() {
        for (errno, rests) in [
            (libc::EMFILE, true),
            (libc::ENOBUFS, true),
            (libc::ECONNABORTED, false),
        ] {
            assert_eq!(
                is_exhausted(&Error::from_raw_os_error(errno)),
                rests,
                "{errno}"
            );
        }
    }
}
