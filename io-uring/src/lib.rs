//! Drives an engine over real sockets by io_uring's completions, where the kernel has it.
//!
//! [`spawn_with`] puts an engine behind the sockets that [`folkmoot_mio::bind`] has opened, with the [`Driver`] asked
//! for. The handle, the sockets' options and the rules by which commands run on their callers' threads are those of
//! `folkmoot-mio`; what differs is how the driver thread waits and moves bytes:
//!
//! - a connection that brings many bytes at once ([`Tuning::ring_from`](folkmoot_mio::Tuning::ring_from)) is received by one multishot receive,
//!   into one ring of buffers for all: memory does not grow with connections. While there is one, an `io_uring_enter` a turn submits what
//!   the turn has left and waits for what comes;
//! - all others, the listener and the UDP sockets are in a readiness queue, as with mio: small messages gain nothing in the ring, and a
//!   single caller can wait in the driver's place;
//! - bytes are written as with mio, from where they lie, by whoever has made them, since one ring has one issuer: a send
//!   through the ring costs more than the call it saves (ARCHITECTURE.md has figures);
//! - two settings give the ring the rest: [`Tuning::ring_accept`](folkmoot_mio::Tuning::ring_accept), one multishot accept for all who
//!   connect, and [`Tuning::ring_send`](folkmoot_mio::Tuning::ring_send), bundles of sends for what the driver thread writes and for what found
//!   no room. Both are off, each for a reason that is said there.
//!
//! [`support`] asks the kernel at run time. Where it, or the rules of a container, do not allow what is needed, mio
//! takes over and one line in the log says why.
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(target_os = "linux")]
mod buffers;
mod choice;
#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod entries;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod sends;
#[cfg(target_os = "linux")]
mod streams;
#[cfg(target_os = "linux")]
mod tag;

pub use choice::{Driver, ENVIRONMENT, ParseDriverError, Support, spawn_with, support};
