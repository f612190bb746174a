//! Nodes that are clusters: sessions, their replication and their transfer.

mod front;
mod mix;
mod mode;
mod node;
mod oracle;
mod readers;
mod world;

pub use front::{Front, Shopper};
pub use mode::SessionMode;
pub use node::{Replica, SessionNode, value_text};
pub use oracle::{Held, Life, Oracle};
pub use readers::ReaderConfig;
pub use world::{SessionConfig, SessionWorld};
