//! The driver that the tests run with: io_uring, which this machine must have. Where it may lack it, in a container that forbids it,
//! `FOLKMOOT_WITHOUT_IO_URING` lets mio take over, as it does for users. `crate::RING_FROM` says which streams are in the ring, unless the
//! default is to.
#![allow(dead_code, reason = "each test file uses its part")]

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use folkmoot_mio::{BindError, Bound, Handle};
use folkmoot_uring::{Driver, support};

pub(crate) fn spawn<E: Engine + Send + 'static>(
    bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
) -> Result<Handle<E>, BindError> {
    spawn_with(bound, engine, turn, || ())
}

pub(crate) fn spawn_with<E: Engine + Send + 'static>(
    mut bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
    after: impl Fn() + Send + Sync + 'static,
) -> Result<Handle<E>, BindError> {
    if std::env::var_os("FOLKMOOT_WITHOUT_IO_URING").is_none() {
        support().expect("io_uring");
    }
    let tuning = bound.tuning_mut();
    tuning.ring_from = crate::RING_FROM.unwrap_or(tuning.ring_from);
    folkmoot_uring::spawn_with(bound, Driver::IoUring, engine, turn, after)
}
