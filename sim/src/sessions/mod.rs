//! Nodes that are clusters: sessions, their replication and their transfer.

mod front;
mod mode;
mod node;
mod world;

pub use front::{Front, Shopper};
pub use mode::SessionMode;
pub use node::{SessionNode, value_text};
pub use world::{SessionConfig, SessionWorld};
