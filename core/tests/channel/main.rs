//! A channel among others, over a network in memory.

#![allow(unreachable_pub)]

mod acks;
mod anything;
mod bad_input;
mod exchange;
mod interceptors;
mod members;
mod net;
mod retries;
mod rpc;
mod service;
