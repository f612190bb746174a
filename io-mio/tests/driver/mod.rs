//! The driver that the tests run with: mio.

use folkmoot_core::engine::Engine;
use folkmoot_core::time::Instant;
use folkmoot_mio::{BindError, Bound, Handle};

pub(crate) fn spawn<E: Engine + Send + 'static>(
    bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
) -> Result<Handle<E>, BindError> {
    bound.spawn(engine, turn)
}
