//! With the feature `tracing`: one line for each event, when its owner polls it. Without: nothing.

use core::fmt;

/// How much an event is worth to whoever reads a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Something is wrong: a peer, a message lost, no room.
    Warn,
    /// Members, transfers, the life of the machine.
    Info,
    /// Ordinary work.
    Debug,
}

/// Something that a log may have a line about.
pub(crate) trait Loggable: fmt::Debug {
    /// `None`: another machine has already said so.
    fn weight(&self) -> Option<Weight>;
}

/// Writes the event's line and hands the event on.
pub(crate) fn logged<E: Loggable>(event: E) -> E {
    #[cfg(feature = "tracing")]
    match event.weight() {
        None => {}
        Some(Weight::Warn) => tracing::warn!(?event),
        Some(Weight::Info) => tracing::info!(?event),
        Some(Weight::Debug) => tracing::debug!(?event),
    }
    event
}
