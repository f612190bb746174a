//! A channel among others, over a network in memory.
#![cfg(feature = "alloc")]
#![allow(unreachable_pub)]

mod acks;
mod anything;
mod bad_input;
mod exchange;
#[cfg(all(feature = "encrypt", feature = "gzip"))]
mod interceptors;
mod members;
mod net;
mod retries;
mod rpc;
mod service;
mod windup;
