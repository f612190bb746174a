//! Why an interceptor lets a message not pass.

use core::fmt;

use super::InterceptorStats;

/// Why an interceptor refused a received message. It is counted in [`InterceptorStats`] and never reaches a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `EncryptInterceptor`: not from the holder of our key, and the algorithm can tell (GCM).
    NotAuthentic,
    /// `EncryptInterceptor`: what comes out cannot be a message. Without authentication nobody may learn more.
    Undecipherable,
    /// `EncryptInterceptor`: outside of the replay window.
    Stale,
    /// `EncryptInterceptor`: received before.
    Replayed,
    /// `GzipInterceptor`: not a gzip member, or a damaged one.
    NotGzip,
    /// `GzipInterceptor`: decompressed it is longer than `limits.message_bytes_max`.
    GzipTooLong,
    /// `FragmentationInterceptor`: no trailing byte, or an impossible number or count.
    MalformedFragment,
    /// `FragmentationInterceptor`: the message would be longer than `limits.message_bytes_max`.
    FragmentsTooLong,
    /// `FragmentationInterceptor`: too many incomplete messages wait.
    TooManyFragments,
    /// `FragmentationInterceptor`: the listener has failed with the message, or it has been dropped.
    PieceTooLate,
    /// `OrderInterceptor`: no number.
    MalformedOrder,
    /// `TwoPhaseCommitInterceptor`: too many messages wait for confirmation.
    TooManyUncommitted,
    /// `TwoPhaseCommitInterceptor`: the listener has failed with the message that is confirmed, or it has been dropped.
    ConfirmedTooLate,
}

impl Refusal {
    /// What the sender of a refused message is to see.
    pub(crate) const fn cost(self) -> Cost {
        match self {
            // The earlier copy was taken; that its answer got lost is no reason to report a failure.
            Self::Replayed => Cost::Nothing,
            // Told apart from each other these two would open messages without the key.
            Self::Undecipherable | Self::Stale => Cost::Answer,
            // Without a fault of the sender's.
            Self::TooManyFragments
            | Self::PieceTooLate
            | Self::TooManyUncommitted
            | Self::ConfirmedTooLate => Cost::Answer,
            Self::NotAuthentic
            | Self::NotGzip
            | Self::GzipTooLong
            | Self::MalformedFragment
            | Self::FragmentsTooLong
            | Self::MalformedOrder => Cost::Connection,
        }
    }

    /// Counts it.
    pub(crate) const fn count(self, stats: &mut InterceptorStats) {
        let counter = match self {
            Self::NotAuthentic | Self::Undecipherable => &mut stats.encrypt.undecipherable,
            Self::Stale => &mut stats.encrypt.stale,
            Self::Replayed => &mut stats.encrypt.replayed,
            Self::NotGzip => &mut stats.gzip.damaged,
            Self::GzipTooLong => &mut stats.gzip.too_long,
            Self::MalformedFragment | Self::FragmentsTooLong => &mut stats.fragmentation.malformed,
            Self::TooManyFragments => &mut stats.fragmentation.no_room,
            Self::PieceTooLate => &mut stats.fragmentation.too_late,
            Self::MalformedOrder => &mut stats.order.malformed,
            Self::TooManyUncommitted => &mut stats.two_phase_commit.no_room,
            Self::ConfirmedTooLate => &mut stats.two_phase_commit.too_late,
        };
        *counter = counter.wrapping_add(1);
        stats.refused = stats.refused.wrapping_add(1);
    }
}

/// What a refused message costs its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// It is answered as if it had been processed.
    Nothing,
    /// It is answered with FAIL_ACK, if it asks for an answer after processing.
    Answer,
    /// The connection, without an answer.
    Connection,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthentic => {
                "message is not encrypted with our key; give all members the same `encryptionKey` and `encryptionAlgorithm`"
            }
            Self::Undecipherable => {
                "message cannot be decrypted; give all members the same `encryptionKey` and `encryptionAlgorithm`"
            }
            Self::Stale => {
                "encrypted message is outside of the replay window; let the members' clocks agree within `replayWindowTime`"
            }
            Self::Replayed => "encrypted message was received before",
            Self::NotGzip => "message is flagged as gzip and is none, or damaged",
            Self::GzipTooLong => "decompressed the message would exceed `limits.message_bytes_max`",
            Self::MalformedFragment => {
                "not a fragment; let all members have the same interceptors in the same order"
            }
            Self::FragmentsTooLong => "put together the fragments would exceed `limits.message_bytes_max`",
            Self::PieceTooLate => "piece of a message that failed here, or was dropped",
            Self::TooManyFragments => "too many incomplete messages wait for fragments",
            Self::MalformedOrder => {
                "message without an order number; let all members have the same interceptors in the same order"
            }
            Self::TooManyUncommitted => "too many messages wait for their confirmation",
            Self::ConfirmedTooLate => "confirmation of a message that failed here, or was dropped",
        })
    }
}
