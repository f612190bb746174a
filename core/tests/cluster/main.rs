//! Clusters and their managers over a network in memory.

mod backup;
mod exchange;
mod life;
mod messages;
mod net;
mod reconcile;
mod transfer;
