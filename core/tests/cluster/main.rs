//! Clusters and their managers over a network in memory.

mod exchange;
mod net;
