//! In the steady state a message costs no allocation.

#[path = "../../io-mio/tests/allocations/count.rs"]
mod count;
mod driver;
