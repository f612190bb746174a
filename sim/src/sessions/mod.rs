//! Nodes that are clusters: sessions, their replication and their transfer.

mod node;
mod world;

pub use node::{SessionNode, value_text};
pub use world::{SessionConfig, SessionWorld};
