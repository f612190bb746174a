//! Sessions in web applications: a tower layer and an axum extractor.

pub mod cookie;
mod error;
mod exchange;
mod filter;
mod layer;
mod session;
pub(crate) mod store;
mod typed;
mod uri;

#[cfg(test)]
mod tests;

pub use error::SessionError;
pub use layer::{
    OriginalSessionId, PrimarySession, SessionLayer, SessionLayerStats, SessionManager,
    SessionService,
};
pub use session::{MissingSessionLayer, Session};
