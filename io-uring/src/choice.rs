//! Which driver runs.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use folkmoot_mio::{BindError, Bound, Handle};

/// Which driver moves the bytes where nobody has chosen: `auto`, `mio` or `io_uring`.
pub const ENVIRONMENT: &str = "FOLKMOOT_DRIVER";

/// Which driver moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Driver {
    /// What the environment variable [`ENVIRONMENT`] says; without it mio.
    #[default]
    Auto,
    /// Readiness: everywhere.
    Mio,
    /// io_uring; where it is not allowed mio takes over, with a warning.
    IoUring,
}

impl Driver {
    /// The driver itself, or for [`Auto`](Self::Auto) the environment's.
    fn or_environment(self) -> Self {
        let word = match self {
            Self::Auto => std::env::var(ENVIRONMENT).unwrap_or_default(),
            chosen => return chosen,
        };
        match word.parse() {
            Ok(Self::Auto) => Self::Mio,
            Ok(driver) => driver,
            Err(_) if word.is_empty() => Self::Mio,
            Err(error) => {
                tracing::warn!(%error, variable = ENVIRONMENT, "the environment's word is ignored");
                Self::Mio
            }
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Mio => "mio",
            Self::IoUring => "io_uring",
        })
    }
}

/// A word that names no driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDriverError(String);

impl fmt::Display for ParseDriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        write!(f, "`{word}` is no driver: say auto, mio or io_uring")
    }
}

impl std::error::Error for ParseDriverError {}

impl FromStr for Driver {
    type Err = ParseDriverError;

    fn from_str(word: &str) -> Result<Self, ParseDriverError> {
        match word.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "mio" => Ok(Self::Mio),
            "io_uring" | "io-uring" | "uring" => Ok(Self::IoUring),
            _ => Err(ParseDriverError(word.to_owned())),
        }
    }
}

/// What the kernel's io_uring has beyond the necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Support {
    /// Buffers that are filled piece by piece (Linux 6.12).
    pub incremental: bool,
    /// Receives that fill several buffers at once (Linux 6.10).
    pub bundles: bool,
    /// One request that accepts all connections (Linux 5.19): see [`Tuning::ring_accept`](folkmoot_mio::Tuning::ring_accept).
    pub accepts: bool,
    /// One request that sends all that waits (Linux 6.10): see [`Tuning::ring_send`](folkmoot_mio::Tuning::ring_send).
    pub sends: bool,
}

/// Whether the kernel, and the rules this process runs under, allow the io_uring driver; asked once.
///
/// # Errors
/// Why not, in a few words.
pub fn support() -> Result<Support, &'static str> {
    static ANSWER: OnceLock<Result<Support, String>> = OnceLock::new();
    ANSWER
        .get_or_init(ask)
        .as_ref()
        .copied()
        .map_err(String::as_str)
}

#[cfg(target_os = "linux")]
use crate::probe::ask;

#[cfg(not(target_os = "linux"))]
fn ask() -> Result<Support, String> {
    Err("io_uring is Linux's".to_owned())
}

/// As [`Bound::spawn_with`], with the driver asked for. Which one runs is said in the log.
///
/// # Errors
/// The operating system gives no thread, or neither a ring nor a readiness queue.
pub fn spawn_with<E: Engine + Send + 'static>(
    bound: Bound,
    driver: Driver,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
    after: impl Fn() + Send + Sync + 'static,
) -> Result<Handle<E>, BindError> {
    let driver = driver.or_environment();
    let receiver = bound.receiver_addr();
    let reason = match driver {
        Driver::Mio => None,
        #[cfg(target_os = "linux")]
        Driver::Auto | Driver::IoUring => {
            let parts = support()
                .map_err(str::to_owned)
                .and_then(|support| Ok((support, crate::driver::Parts::new(support, &bound)?)));
            match parts {
                Ok((support, parts)) => {
                    tracing::info!(%receiver, ?support, "sockets are driven by io_uring");
                    return parts.launch(bound, engine, turn, after);
                }
                Err(reason) => Some(reason),
            }
        }
        #[cfg(not(target_os = "linux"))]
        Driver::Auto | Driver::IoUring => support().err().map(str::to_owned),
    };
    match (reason, driver) {
        (None, _) => tracing::info!(%receiver, "sockets are driven by mio"),
        (Some(reason), Driver::IoUring) => {
            tracing::warn!(%receiver, reason, "sockets are driven by mio, although io_uring was asked for");
        }
        (Some(reason), _) => tracing::info!(%receiver, reason, "sockets are driven by mio"),
    }
    bound.spawn_with(engine, turn, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_name_is_read_as_it_is_written() {
        for driver in [Driver::Auto, Driver::Mio, Driver::IoUring] {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
        assert_eq!("IO-uring".parse(), Ok(Driver::IoUring));
        let said = "epoll".parse::<Driver>().expect_err("unknown").to_string();
        assert_eq!(said, "`epoll` is no driver: say auto, mio or io_uring");
    }
}
