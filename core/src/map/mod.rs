//! Replicated maps: `LazyReplicatedMap` and `ReplicatedMap` of `org.apache.catalina.tribes.tipis`.
//!
//! A [`ReplicatedMap`] is one node's part of a map that several nodes of a channel share. In a lazy map each entry has a primary, one
//! backup with the value, and proxies that only know where it is; in a full map everybody has a copy. What the values are,
//! and how they are written, is up to a [`MapOwner`]. Formats first: [`MapMessage`], [`StateList`].

mod config;
mod departed;
mod entry;
mod fetch;
mod kind;
mod life;
mod message;
mod owner;
mod publish;
mod receive;
mod replicated;
mod state_list;
mod writer;

pub use config::{MapConfig, MapKind, MapStats};
pub use entry::{EntryState, MapEntry, Who};
pub use kind::{MapMessageType, MapState};
pub use life::MapStart;
pub use message::{MapMessage, MapMessageError};
pub use owner::{MapOwner, MapRefusal, PlainValues, Removal};
pub use replicated::{Access, MapOut, ReplicatedMap};
pub use state_list::StateList;
