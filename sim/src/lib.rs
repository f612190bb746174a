//! A deterministic simulator: one seed replays one run.
//!
//! A [`World`] runs the same engines as the drivers do, through the same boundary
//! ([`folkmoot_core::engine`]), with one clock and one seed. Streams arrive in pieces, stall and break,
//! datagrams are lost, doubled and late, nodes crash, come back, stand still and disagree about the time.

mod agenda;
pub mod bench;
mod bytes;
#[cfg(feature = "plant")]
pub mod canary;
mod choices;
mod clock;
mod connection;
mod datagram;
mod describe;
mod fault;
pub mod group;
mod kernel;
mod link;
mod machine;
pub mod maps;
mod mix;
mod node;
mod page;
mod peers;
mod plan;
mod record;
mod rng;
mod rules;
mod run;
pub mod sessions;
mod shrink;
mod stream;
mod trace;
mod world;

pub use clock::Clock;
pub use describe::describe;
pub use fault::{Fault, FaultKind};
pub use link::{Cut, NetworkConfig};
pub use machine::{Boot, Machine, NodeId, Violation};
pub use page::{page, simulator_page};
pub use plan::{Item, Plan, PlanOptions, What};
pub use record::{About, Observed, Recording, document};
pub use rng::{Ppm, SimRng};
pub use rules::OnChannel;
pub use run::{MODES, Mode, Report, record, record_mode, run, run_mode};
pub use shrink::{Shrunk, shrink};
pub use trace::{Trace, TraceEvent, TraceKind};
pub use world::{Crash, Identity, NodeState, World, WorldStats};
