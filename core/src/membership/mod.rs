//! Who is there: the member table, heartbeats, static members and the TCP check behind them.

pub(crate) mod fixed;
pub(crate) mod goodbyes;
pub(crate) mod local;
mod member_message;
pub(crate) mod table;

pub use fixed::StaticMember;
pub use member_message::{MemberMessage, MemberMessageType};
