//! What every driver does the same. `crate::driver` is the parameter: another driver's tests bring their own and these files.

mod channels;
mod commands;
mod common;
mod datagrams;
#[path = "../driver/mod.rs"]
mod driver;
mod killed;
mod streams;
mod woken;
