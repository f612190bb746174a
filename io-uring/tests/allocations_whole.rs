//! In the steady state a message costs no allocation, with the ring accepting and sending as well.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/allocations/count.rs"]
mod count;
mod driver;

fn tune(tuning: &mut folkmoot_mio::Tuning) {
    driver::whole(tuning);
}
