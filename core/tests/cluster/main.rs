//! Clusters and their managers over a network in memory.
#![cfg(feature = "alloc")]

mod ahead;
mod backup;
mod exchange;
mod life;
mod messages;
mod net;
#[allow(dead_code, reason = "members in fixed memory use the rest")]
#[path = "../support/net.rs"]
mod network;
mod reconcile;
mod removed;
mod transfer;
