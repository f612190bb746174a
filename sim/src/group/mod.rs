//! Nodes that are bare channels: membership, acknowledgement and order, with an application that keeps
//! account of what it was promised.

mod ledger;
mod mode;
mod node;
mod parcel;
mod world;

pub use ledger::{Entry, Layers, Ledger, Life, Outcome, SharedLedger};
pub use mode::GroupMode;
pub use node::{GroupNode, Temper};
pub(crate) use node::{node_of, observe_channel};
pub use parcel::{Parcel, Promise};
pub use world::{GroupWorld, Membership};
