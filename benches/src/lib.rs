//! Measures Folkmoot against Tribes: two processes a side, in one run, round by round in turn.
//!
//! [`compare`] starts the processes and judges them; [`peer`] and [`node`] are our own side, the counterparts of
//! `java/TribesPeer.java` and `java/TomcatNode.java`, which speak the same lines on standard input and output.

pub mod allocations;
pub mod bundles;
pub mod compare;
pub mod drivers;
pub mod instructions;
pub mod java;
pub mod joining;
pub mod knobs;
pub mod latency;
pub mod local;
pub mod machines;
pub mod messages;
pub mod node;
pub mod peer;
pub mod peers;
pub mod pipe;
pub mod process;
pub mod raw;
pub mod redis;
pub mod sessions;
pub mod soak;
pub mod tally;
pub mod threads;
pub mod web;

/// What a measurement or its preparation could not do, in one line.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
