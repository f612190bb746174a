//! In the steady state a message costs no allocation.

mod count;
#[path = "../driver/mod.rs"]
mod driver;
