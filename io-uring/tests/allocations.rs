//! In the steady state a message costs no allocation.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/allocations/count.rs"]
mod count;
mod driver;

/// Every stream is in the ring from its first bytes on.
const RING_FROM: Option<usize> = Some(0);
