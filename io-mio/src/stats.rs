//! What the driver has done, in numbers.

/// Counters since the driver was spawned. All only grow, except [`connections`](Self::connections).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverStats {
    /// Streams open or being opened now.
    pub connections: u64,
    /// Streams accepted from peers.
    pub accepted: u64,
    /// Those of them that a ring has accepted: see [`Tuning::ring_accept`](crate::Tuning::ring_accept).
    pub ring_accepts: u64,
    /// Peers turned away by the engine or by [`connections_max`](crate::Tuning::connections_max).
    pub refused: u64,
    /// Times accepting failed, for want of descriptors or otherwise.
    pub accept_errors: u64,
    /// Streams that were asked for.
    pub connects: u64,
    /// Streams that could not be established.
    pub connect_errors: u64,
    /// Streams that failed after they were established; an orderly end is not one.
    pub stream_errors: u64,
    /// Calls that read a stream, those that found nothing included.
    pub reads: u64,
    /// Bytes read from streams.
    pub bytes_read: u64,
    /// Writes to streams, those that found no room included.
    pub writes: u64,
    /// Those of them that were bundles sent by a ring: see [`Tuning::ring_send`](crate::Tuning::ring_send).
    pub ring_sends: u64,
    /// Bytes written to streams, or kept by a ring that sends them.
    pub bytes_written: u64,
    /// Datagrams read.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams lost on the way out: no route, no room, no group.
    pub datagrams_lost: u64,
    /// Commands run by [`Handle::with`](crate::Handle::with).
    pub commands: u64,
    /// Commands that left their bytes to be joined with later ones.
    pub deferred: u64,
    /// Times a command woke the driver thread.
    pub wakes: u64,
    /// Times the driver thread, or a caller in its place, came back from waiting.
    pub turns: u64,
    /// Times a caller did: see [`Tuning::lend`](crate::Tuning::lend).
    pub lent: u64,
}
