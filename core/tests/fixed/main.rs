//! Members in fixed memory, among themselves and, where there is a heap, next to those that use it. The same tests in every
//! feature profile.

mod anyone;
mod life;
#[cfg(feature = "tracing")]
mod log;
mod messages;
#[allow(dead_code, reason = "clusters use the rest")]
#[path = "../support/net.rs"]
mod network;
mod sessions;
