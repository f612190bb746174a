//! Many connections, with every stream in the ring.
#![cfg(target_os = "linux")]

mod cases;
#[path = "../../../io-mio/tests/conformance/common/mod.rs"]
mod common;
#[path = "../driver/mod.rs"]
mod driver;

/// Every stream is in the ring from its first bytes on.
fn tune(tuning: &mut folkmoot_mio::Tuning) {
    tuning.ring_from = 0;
}
