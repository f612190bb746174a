//! What a map is told.

use core::time::Duration;

use crate::channel::SendOptions;
use crate::java::Limits;

/// How a map spreads its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// One primary, one backup with the value, proxies everywhere else. `LazyReplicatedMap`.
    Lazy,
    /// One primary, copies everywhere else. `ReplicatedMap`.
    Full,
}

/// Behaviour of a map: Tomcat's names and defaults.
#[derive(Clone, Copy, Debug)]
pub struct MapConfig {
    /// How it spreads its values.
    pub kind: MapKind,
    /// Options of messages about entries. `mapSendOptions`, default 2 (USE_ACK).
    pub map_send_options: SendOptions,
    /// How long to wait for a value or for the state. `rpcTimeout`, default 15 s.
    pub rpc_timeout: Duration,
    /// How long to wait for the answers to a ping, and how long a node may stay silent before it no longer counts as a node of
    /// the map. `accessTimeout`, default 5 s.
    pub access_timeout: Duration,
    /// Entries, proxies included. Those of others on top are refused and counted. Default 1,048,576.
    pub entries_max: usize,
    /// How long the key of an entry that was removed is remembered, so that a copy that was under way, or that somebody has who was
    /// cut off, does not bring it back. Default 1 hour.
    pub departed_memory: Duration,
    /// Keys remembered so. Default 65,536.
    pub departed_max: usize,
    /// Whether a key names one value only, as a session's id does, and is not put again by whoever likes. Default false.
    pub keys_are_unique: bool,
    /// Bounds for every Java stream that is read.
    pub java: Limits,
}

impl MapConfig {
    /// The defaults for a kind of map.
    pub const fn new(kind: MapKind) -> Self {
        Self {
            kind,
            map_send_options: SendOptions::USE_ACK,
            rpc_timeout: Duration::from_millis(15_000),
            access_timeout: Duration::from_millis(5_000),
            entries_max: 1 << 20,
            departed_memory: Duration::from_secs(3600),
            departed_max: 65_536,
            keys_are_unique: false,
            java: Limits::DEFAULT,
        }
    }
}

/// What a map has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapStats {
    /// Map messages received, replies included.
    pub received: u64,
    /// Messages that could not be used.
    pub refused: u64,
    /// Whole values sent to a backup or to all.
    pub published: u64,
    /// Diffs sent.
    pub diffs: u64,
    /// ACCESS messages sent.
    pub accesses: u64,
    /// Values fetched from another node because they were needed here.
    pub fetched: u64,
    /// Values that were needed here and that nobody had.
    pub fetch_failed: u64,
    /// Values asked for again because a diff did not fit what was here.
    pub repaired: u64,
    /// Entries taken over because their primary was gone.
    pub taken_over: u64,
    /// Values sent to another node because their backup was gone or had not taken them.
    pub relocated: u64,
    /// Entries whose values were lost with all who had them.
    pub lost: u64,
    /// Entries of others refused because of `entries_max`.
    pub entries_refused: u64,
    /// Messages and listed entries that would have brought back what was removed.
    pub departed_refused: u64,
    /// Times that somebody who did not know of a removal was told.
    pub departed_told: u64,
}
