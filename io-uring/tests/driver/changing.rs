//! As the module beside it, with streams that go to the ring and back by what they bring.

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
    bound: Bound,
    engine: E,
    turn: impl FnMut(&mut E, Instant) + Send + 'static,
    after: impl Fn() + Send + Sync + 'static,
) -> Result<Handle<E>, BindError> {
    if std::env::var_os("FOLKMOOT_WITHOUT_IO_URING").is_none() {
        support().expect("io_uring");
    }
    folkmoot_uring::spawn_with(bound, Driver::IoUring, engine, turn, after)
}
