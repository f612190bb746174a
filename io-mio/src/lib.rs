//! Drives an engine over real sockets by readiness.
//!
//! [`bind`] opens the sockets that a [`Config`] names and says what is wrong when it cannot. [`Bound::spawn`]
//! puts an [`Engine`](folkmoot_core::engine::Engine) behind them and starts one thread. The engine and its
//! sockets live under one mutex:
//!
//! - the driver thread waits in `epoll` *without* it, and takes it to hand the engine what has arrived;
//! - any other thread runs commands on the engine with [`Handle::with`], on its own stack, and writes what the
//!   command produced to the socket itself when nothing is on its way there: a synchronous send crosses no
//!   thread. A burst of sends is left to gather, so that many messages leave with one system call.
//!
//! Bytes are never queued here: they wait in the engine, which has the bounds, until a socket takes them.
#![deny(unsafe_code)]

mod accept;
mod bind;
mod config;
pub mod drive;
mod driver;
mod duty;
mod error;
mod handle;
mod multicast;
mod readers;
mod reason;
mod sockets;
mod spin;
mod state;
mod stats;
mod stream;
mod udp;
mod watch;

pub use bind::{Bound, bind};
pub use config::{Config, MulticastSocket, ReceiverSockets, StreamOptions, Tuning};
pub use error::BindError;
pub use handle::Handle;
pub use stats::DriverStats;
