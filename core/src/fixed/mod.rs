//! A cluster member without a heap: membership, failure detection, messages with ACKs, and the delta manager with its
//! sessions, in capacities that [`Memory`] names in one place.
//!
//! It is an [`Engine`](crate::engine::Engine) like the machines with a heap, made of the same formats, and to its peers it is
//! a member like any other; they treat it as they treat a Tomcat. Attribute values are carried as the Java object streams
//! they came as.
//!
//! What it leaves out: application messages other than through a [`Listener`] and
//! [`send`](Cluster::send), more than one session manager, attribute filters, messages by UDP, and Java classes that do not
//! write their fields as their descriptor says. A member that is asked for its state (a Tomcat, say) must be told to send it
//! in pieces that fit: `sendAllSessions="false"` with a `sendAllSessionsSize`.
//!
//! Whatever does not fit is refused with a FAIL_ACK, counted and an [`Event`]; a session stays as it was before. An ACK
//! means that the message has been taken, even for [`USE_ACK`](crate::wire::SendOptions::USE_ACK) alone.
//!
//! ```
//! use core::net::SocketAddr;
//! use folkmoot_core::{fixed, time::Instant};
//!
//! type Memory = fixed::Memory<4, 12, 4096, 6144, 16, 1024, 4096, 192, 32>;
//!
//! # fn main() -> Result<(), fixed::ConfigError> {
//! let mut memory = Memory::new(); // a `static` in firmware
//! let config = fixed::Config::new(SocketAddr::from(([10, 0, 0, 7], 4000)), "localhost#/shop");
//! let mut member = fixed::Cluster::new(config, &mut memory, (), [7; 32], Instant::ZERO, 0)?;
//! member.start(Instant::ZERO);
//! # Ok(())
//! # }
//! ```

mod area;
mod cluster;
mod commands;
mod config;
mod conns;
mod departed;
mod event;
mod held;
mod manager;
mod membership;
mod memory;
mod output;
mod peers;
mod receive;
mod record;
mod send;
mod table;
mod transfer;

pub use cluster::{Cluster, MemberInfo};
pub use commands::{SessionError, SessionId, SessionInfo};
pub use config::{Config, ConfigError, Membership};
pub use event::{
    BadInput, Event, FaultCause, Inbound, Listener, Refusal, Stats, TransferResult, Verdict,
};
pub use memory::Memory;
pub use peers::MemberIndex;
pub use send::{SendError, To};
