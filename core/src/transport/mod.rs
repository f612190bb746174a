//! Connections: frames in, frames out, ACKs both ways.
//!
//! `lane` is one connection to a member with the frames that wait on it, `receiver` one that a member has opened
//! to us, `conns` the table of both, `sends` who has acknowledged what.

pub(crate) mod bytequeue;
pub(crate) mod conns;
pub(crate) mod lane;
pub(crate) mod marker;
pub(crate) mod receiver;
pub(crate) mod sends;
pub(crate) mod template;

pub use marker::{MARKER, is_ours};
