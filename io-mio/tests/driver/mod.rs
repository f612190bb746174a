//! The driver that the tests run with: mio.
#![allow(dead_code, reason = "each test file uses its part")]

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use folkmoot_mio::{BindError, Bound, Handle, Tuning};

/// The settings of these tests: the defaults.
pub(crate) fn tune(_: &mut Tuning) {}

pub(crate) fn spawn<E: Engine + Send + 'static>(
    bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
) -> Result<Handle<E>, BindError> {
    bound.spawn(engine, turn)
}

pub(crate) fn spawn_with<E: Engine + Send + 'static>(
    bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
    after: impl Fn() + Send + Sync + 'static,
) -> Result<Handle<E>, BindError> {
    bound.spawn_with(engine, turn, after)
}
