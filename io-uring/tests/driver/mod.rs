//! The driver that the tests run with: io_uring, which this machine must have. Where it may lack it, in a container that forbids it,
//! `FOLKMOOT_WITHOUT_IO_URING` lets mio take over, as it does for users. `crate::tune` says what the ring does.
#![allow(dead_code, reason = "each test file uses its part")]

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use folkmoot_mio::{BindError, Bound, Handle, Tuning};
use folkmoot_uring::{Driver, support};

/// The settings of these tests.
pub(crate) fn tune(tuning: &mut Tuning) {
    crate::tune(tuning);
}

/// Everything that a ring can do is done by it.
pub(crate) fn whole(tuning: &mut Tuning) {
    *tuning = tuning.clone().with_ring();
}

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
    tune(bound.tuning_mut());
    folkmoot_uring::spawn_with(bound, Driver::IoUring, engine, turn, after)
}
