//! Nodes whose sessions are on two of them each: replicated maps.

mod client;
mod mode;
mod node;

pub use client::Client;
pub use mode::MapsMode;
pub use node::{Change, MapNode};
