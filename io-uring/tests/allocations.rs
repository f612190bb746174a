//! In the steady state a message costs no allocation.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/allocations/count.rs"]
mod count;
mod driver;

/// Every stream is in the ring from its first bytes on.
fn tune(tuning: &mut folkmoot_mio::Tuning) {
    tuning.ring_from = 0;
}
