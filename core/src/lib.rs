//! Apache Tomcat's cluster protocol as state machines.
//!
//! The crate opens no socket, reads no clock and draws no random number of its own: a driver hands it
//! events, bytes and the time, and asks what to send, what to open and when to wake it. It comes in three
//! storeys, each usable alone:
//!
//! 1. [`wire`] and [`java`]: formats, no state;
//! 2. [`channel`] (with [`interceptor`], [`membership`] and [`transport`] inside): Tribes' `GroupChannel`;
//! 3. [`session`] and [`cluster`]: Tomcat's `DeltaManager` and `SimpleTcpCluster`.
//!
//! [`fixed`] is all of it once more for machines without a heap: one member with one session manager, in fixed memory.
//!
//! Read [`engine`] first: it is the whole boundary between this crate and whoever drives it.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | none | [`wire`], [`fixed`], [`engine`], [`time`], [`rng`], the formats of [`session`] messages: no allocator, no panic |
//! | `alloc` | everything else; no operating system |
//! | `std` (default) | `alloc`, and errors of the standard library as sources |
//! | `serde` | attribute values to and from any `serde` type; brings `alloc` |
//! | `encrypt` (default) | `EncryptInterceptor`; brings `alloc` |
//! | `gzip` (default) | `GzipInterceptor`; brings `alloc` |
//! | `defmt` | `defmt::Format` on what firmware logs |
//! | `plant` | errors to be planted on purpose, for the simulator alone; brings `alloc` |
//! | `tracing` | a line for each event that is polled, by the crate [`tracing`](https://docs.rs/tracing), which needs an allocator itself |
//!
//! Each builds alone and with any others; `.ci/features` goes through all of them.
//!
//! What needs `alloc`, and why:
//!
//! | | because |
//! |---|---|
//! | `channel`, `membership`, `transport` | queues, tables and gathered frames grow up to limits that are chosen at run time; [`fixed`] has them with capacities in its type |
//! | `cluster`, `session` (but its messages) | many managers; sessions and held messages shared between tables; filters by closures |
//! | `interceptor` | what a layer makes of a message has a length of its own; layers keep back, gather and reorder up to limits chosen at run time |
//! | `map` | entries of any size in any number, with what an owner makes of them; [`fixed`] is without maps |
//! | `java` (but its errors) | values as trees and graphs are as large as what they describe; [`fixed`] carries them as bytes |
//! | `wire::Member` | owns its fields, whatever their length; `wire::MemberBlock` borrows them |
//! | `wire::Sink` for `Vec` and `BytesMut` | they are on the heap; `wire::SliceSink` and `heapless::Vec` are not |
//! | `plant` | only for the simulator, which has a heap |
//!
//! The capacities of a member without a heap are the parameters of one type, [`fixed::Memory`].
#![no_std]
#![cfg_attr(
    not(all(feature = "encrypt", feature = "gzip")),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "some lead to what a feature brings; with the default features every link is checked"
    )
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing
    )
)]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(feature = "alloc")]
pub mod channel;
#[cfg(feature = "alloc")]
pub mod cluster;
pub mod engine;
pub mod fixed;
#[cfg(feature = "alloc")]
pub mod interceptor;
pub mod java;
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody is told"))]
mod log;
#[cfg(feature = "alloc")]
pub mod map;
pub mod membership;
#[cfg(feature = "alloc")]
mod memory;
#[cfg(feature = "plant")]
pub mod plant;
#[cfg(all(feature = "alloc", not(feature = "plant")))]
mod plant;
pub mod rng;
pub mod session;
pub mod time;
#[cfg(feature = "alloc")]
pub mod transport;
pub mod wire;
