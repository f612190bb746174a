//! Clusters of two and three nodes over real sockets on loopback.

mod support;

mod membership;
mod sessions;
mod silent;
mod start_errors;
