//! Who is there: the member table, heartbeats, static members and the TCP check behind them.

#[cfg(feature = "alloc")]
pub(crate) mod fixed;
pub(crate) mod goodbyes;
#[cfg(feature = "alloc")]
pub(crate) mod local;
#[cfg(feature = "alloc")]
mod member_message;
#[cfg(feature = "alloc")]
pub(crate) mod table;

#[cfg(feature = "alloc")]
pub use fixed::StaticMember;
#[cfg(feature = "alloc")]
pub use member_message::{MemberMessage, MemberMessageType};
