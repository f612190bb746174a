//! What interceptors count.

/// Counters of all interceptors of a channel, since it was made. A channel with two interceptors of a kind counts them
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterceptorStats {
    /// `EncryptInterceptor`.
    pub encrypt: EncryptStats,
    /// `GzipInterceptor`.
    pub gzip: GzipStats,
    /// `FragmentationInterceptor`.
    pub fragmentation: FragmentationStats,
    /// `OrderInterceptor`.
    pub order: OrderStats,
    /// `ThroughputInterceptor`.
    pub throughput: ThroughputStats,
    /// `TwoPhaseCommitInterceptor`.
    pub two_phase_commit: TwoPhaseCommitStats,
    /// Messages that an interceptor refused, whatever the reason: the sum of what the others count as such.
    pub refused: u64,
}

/// What `EncryptInterceptor` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncryptStats {
    /// Messages encrypted.
    pub encrypted: u64,
    /// Messages decrypted and handed on.
    pub decrypted: u64,
    /// Messages that the key does not open: another key, another algorithm, not encrypted, or damaged.
    pub undecipherable: u64,
    /// Messages from outside the replay window, or older than what the replay memory still knows.
    pub stale: u64,
    /// Messages that had been received before.
    pub replayed: u64,
}

/// What `GzipInterceptor` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GzipStats {
    /// Messages compressed,
    pub compressed: u64,
    /// their bytes before,
    pub bytes_to_compress: u64,
    /// and after.
    pub bytes_compressed: u64,
    /// Messages sent as they were, being no longer than `compressionMinSize`.
    pub left_alone: u64,
    /// Messages decompressed,
    pub decompressed: u64,
    /// their bytes before,
    pub bytes_to_decompress: u64,
    /// and after.
    pub bytes_decompressed: u64,
    /// Messages that are no gzip, or a damaged one.
    pub damaged: u64,
    /// Messages that would have become longer than `limits.message_bytes_max`.
    pub too_long: u64,
}

/// What `FragmentationInterceptor` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentationStats {
    /// Messages sent in more than one piece,
    pub fragmented: u64,
    /// and those pieces.
    pub fragments_sent: u64,
    /// Pieces received.
    pub fragments_received: u64,
    /// Messages put together of them.
    pub reassembled: u64,
    /// Messages dropped because not all of their pieces came within `expire`.
    pub expired: u64,
    /// Messages dropped because their sender left before all of their pieces had come.
    pub abandoned: u64,
    /// Pieces that contradict themselves or others of their message.
    pub malformed: u64,
    /// Pieces refused because too many incomplete messages wait.
    pub no_room: u64,
    /// Pieces refused because the listener had failed with their message, or it had been dropped.
    pub too_late: u64,
}

/// What `OrderInterceptor` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderStats {
    /// Messages numbered, each counted once a destination.
    pub numbered: u64,
    /// Messages handed on in their turn.
    pub in_order: u64,
    /// Messages that had to wait for others.
    pub held: u64,
    /// Messages whose turn was over: repeats, and those that came too late. They are handed on.
    pub late: u64,
    /// Messages that waited longer than `expire` (or were too many) and were handed on all the same.
    pub forwarded_expired: u64,
    /// The same, dropped for want of `forwardExpired`.
    pub dropped_expired: u64,
    /// Messages that waited and were handed on because their member had left.
    pub forwarded_gone: u64,
    /// Messages with the number of another one that waited: both are handed on, the older one first.
    pub conflicting: u64,
    /// Messages too short to hold a number.
    pub malformed: u64,
}

/// What `ThroughputInterceptor` counts, where it stands in the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThroughputStats {
    /// Messages sent, each counted once however many destinations it has.
    pub messages_sent: u64,
    /// Their bytes, each counted once.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
}

/// What `TwoPhaseCommitInterceptor` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoPhaseCommitStats {
    /// Confirmations sent.
    pub confirmations_sent: u64,
    /// Messages not confirmed because a destination did not take them.
    pub not_confirmed: u64,
    /// Messages handed on when they were confirmed.
    pub committed: u64,
    /// Confirmations whose message did not come within `expire`, or too many of them.
    pub unknown: u64,
    /// Messages dropped because no confirmation came within `expire`.
    pub expired: u64,
    /// Messages dropped because their sender left before it confirmed them.
    pub abandoned: u64,
    /// Messages refused because too many wait for confirmation.
    pub no_room: u64,
    /// Confirmations refused because the listener had failed with their message, or it had been dropped.
    pub too_late: u64,
}
