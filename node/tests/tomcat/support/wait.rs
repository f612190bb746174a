//! Bounded polling: a cluster settles when it settles.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything in a cluster of idle nodes may take before it counts as never.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// How long the heavy transfers may take before they count as never.
pub(crate) const LATER: Duration = Duration::from_secs(240);

/// Asks until the answer is `Ok`, and gives it; panics with the last `Err` after `limit`.
pub(crate) fn until<T, E: Debug>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if started.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; last seen {seen:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}
