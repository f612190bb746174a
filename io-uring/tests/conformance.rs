//! What every driver does the same, done by io_uring: the tests are those of `folkmoot-mio`.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/conformance/channels.rs"]
mod channels;
#[path = "../../io-mio/tests/conformance/commands.rs"]
mod commands;
#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;
#[path = "../../io-mio/tests/conformance/datagrams.rs"]
mod datagrams;
mod driver;
#[path = "../../io-mio/tests/conformance/killed.rs"]
mod killed;
#[path = "../../io-mio/tests/conformance/streams.rs"]
mod streams;
#[path = "../../io-mio/tests/conformance/woken.rs"]
mod woken;

/// Every stream is in the ring from its first bytes on.
fn tune(tuning: &mut folkmoot_mio::Tuning) {
    tuning.ring_from = 0;
}
