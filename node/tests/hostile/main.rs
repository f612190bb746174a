//! Bad input, live: each costs its sender the connection or the datagram, is counted, is logged with its
//! reason, and changes nothing else.
//!
//! Two nodes in a network namespace of the test's own; the attacker shares no code with them.

#[allow(dead_code, reason = "the Tomcat scenarios use the rest")]
#[macro_use]
#[path = "../tomcat/support/mod.rs"]
mod support;

mod datagrams;
mod forge;
mod frames;
mod log;
mod members;
mod messages;
mod pair;
mod slow;
