//! A client of an application whose sessions are on two nodes each.

use std::collections::BTreeSet;
use std::time::Duration;

use folkmoot_core::session::SessionId;

use crate::machine::NodeId;

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It reads.
    Look,
    /// It reads, then writes this number.
    Write(u64),
    /// It ends its session.
    End,
}

/// A client with its session.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its session.
    pub id: SessionId,
    /// The node that served it last.
    pub node: NodeId,
    /// The number that it wrote last.
    pub number: u64,
    /// All that it ever wrote.
    pub wrote: BTreeSet<u64>,
    /// The lives of nodes that have served it.
    pub lives: BTreeSet<(u16, u32)>,
    /// Whether nothing has been wrong since the session was made.
    pub calm: bool,
    /// When it was served last.
    pub used_at: Duration,
    /// A request whose session is on its way to the node: what it is, and until when it waits.
    pub waits: Option<(Wish, Duration)>,
}
