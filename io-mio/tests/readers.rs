//! What every driver does the same, with two threads that read.

#[path = "conformance/channels.rs"]
mod channels;
#[path = "conformance/commands.rs"]
mod commands;
#[path = "conformance/common/mod.rs"]
mod common;
#[path = "conformance/datagrams.rs"]
mod datagrams;
#[path = "conformance/streams.rs"]
mod streams;

/// The driver that the tests run with: mio.
mod driver {
    use folkmoot_core::engine::Engine;
    use folkmoot_core::time::Instant;
    use folkmoot_mio::{BindError, Bound, Handle, Tuning};

    pub(crate) fn tune(tuning: &mut Tuning) {
        tuning.readers = 2;
    }

    pub(crate) fn spawn<E: Engine + Send + 'static>(
        mut bound: Bound,
        engine: E,
        turn: impl FnMut(&mut E, Instant) + Send + 'static,
    ) -> Result<Handle<E>, BindError> {
        tune(bound.tuning_mut());
        bound.spawn(engine, turn)
    }
}
