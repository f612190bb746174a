//! Callers that wait for answers: woken by the driver, or driving themselves.

mod cases;
#[path = "../conformance/common/mod.rs"]
mod common;
#[path = "../driver/mod.rs"]
mod driver;
