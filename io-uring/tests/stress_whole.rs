//! Many connections, with the ring accepting and sending as well.
#![cfg(target_os = "linux")]

#[path = "stress/cases.rs"]
mod cases;
#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;
mod driver;

fn tune(tuning: &mut folkmoot_mio::Tuning) {
    driver::whole(tuning);
}
