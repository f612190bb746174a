//! What every driver does the same, while streams go to the ring and back, which sends to them in bundles.
#![cfg(target_os = "linux")]

#[path = "bundles/cases.rs"]
mod bundles;
#[path = "changing/cases.rs"]
mod cases;
#[path = "../../io-mio/tests/conformance/channels.rs"]
mod channels;
#[path = "../../io-mio/tests/conformance/commands.rs"]
mod commands;
#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;
mod driver;
#[path = "../../io-mio/tests/conformance/streams.rs"]
mod streams;
#[path = "../../io-mio/tests/waiting/cases.rs"]
mod waiting;

fn tune(tuning: &mut folkmoot_mio::Tuning) {
    tuning.ring_send = true;
}
