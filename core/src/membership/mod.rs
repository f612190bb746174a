//! Who is there: the member table, heartbeats, static members and the TCP check behind them.

pub(crate) mod fixed;
pub(crate) mod local;
pub(crate) mod table;

pub use fixed::StaticMember;
