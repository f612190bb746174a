//! Errors put into the machines on purpose, to prove that whoever watches them sees something.
//!
//! Each [`Bug`] is one place in the code that does the wrong thing while the bug is planted. Without the feature `plant`
//! there is no way to plant one, and every such place is a constant `false` that the compiler removes.

/// Names each bug, says what it does, and lists all.
macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident = $name:literal,)+) => {
        /// One error that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(not(feature = "plant"), allow(dead_code, unreachable_pub, reason = "asked about, never planted"))]
        #[repr(u8)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        #[cfg(feature = "plant")]
        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];

            /// By which the command line knows it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)+ }
            }

            /// What goes wrong.
            pub fn what(self) -> &'static str {
                match self { $(Self::$bug => concat!($($what,)+).trim_ascii(),)+ }
            }
        }
    };
}

bugs! {
    /// one message in sixteen is not acknowledged
    AckLost = "ack-lost",
    /// the ACK after processing is sent before, whatever comes of the processing
    AckEarly = "ack-early",
    /// an ACK settles the message behind the one it answers
    AckOfAnother = "ack-of-another",
    /// a message that was given up is reported as acknowledged
    FaultUnsaid = "fault-unsaid",
    /// the sender hears twice that a message is settled
    SettledTwice = "settled-twice",
    /// a message for some members goes to all
    WrongDestination = "wrong-destination",
    /// a full queue takes more
    QueueBoundIgnored = "queue-bound-ignored",
    /// messages that were given up keep their place in the queue
    QueueLeaked = "queue-leaked",
    /// a checked connection is not closed
    ConnectionLeaked = "connection-leaked",
    /// new messages do not wait for those that are sent again on a new connection
    ResendReorders = "resend-reorders",
    /// what comes late from a connection that was given up is taken
    LateFramesTaken = "late-frames-taken",
    /// a frame that came in pieces is acknowledged and thrown away
    SplitFrameDropped = "split-frame-dropped",
    /// members are the same if host and port are
    IdIgnored = "id-ignored",
    /// a new incarnation does not end the membership of the one before
    GhostKept = "ghost-kept",
    /// a goodbye is not listened to
    ShutdownIgnored = "shutdown-ignored",
    /// a member that is silent stays a member
    SilenceIgnored = "silence-ignored",
    /// the timeout of messages that are sent again is not set anew
    TimerLost = "timer-lost",
    /// a node stays the primary of a session that another has changed
    TwoPrimaries = "two-primaries",
    /// a CREATED or a state brings back a session that has ended
    ExpiredRevived = "expired-revived",
    /// the ids of sessions that ended are not remembered
    TombstoneForgotten = "tombstone-forgotten",
    /// a state brings back an id that its session has given up
    RenamedRevived = "renamed-revived",
    /// a delta is applied once more after the next one of its session
    DeltaTwice = "delta-twice",
    /// deltas that had to wait are applied in the wrong order
    DeltaOutOfOrder = "delta-out-of-order",
    /// a message about a session that is not known yet is dropped
    EarlyDropped = "early-dropped",
    /// what came during a state transfer is dropped at its end
    HeldDropped = "held-dropped",
    /// half a state is taken for a whole
    HalfTransfer = "half-transfer",
    /// a state that goes on with another donor leaves a part out
    ResumeForgets = "resume-forgets",
    /// a change of id is not told
    IdChangeUnsaid = "id-change-unsaid",
    /// the end of a session is not told
    EndUnsaid = "end-unsaid",
    /// the removal of an attribute is not applied on copies
    RemovalLost = "removal-lost",
    /// a map forgets what was removed from it
    RemovedForgotten = "removed-forgotten",
    /// who gave a newcomer its entries does not tell it what was removed meanwhile
    RemovalUntold = "removal-untold",
    /// nobody looks for sessions whose time is over
    ExpiryTimerLost = "expiry-timer-lost",
    /// a message that comes before its turn goes on at once
    OrderIgnored = "order-ignored",
    /// a message that has waited too long for those before it is dropped
    HeldBackDropped = "held-back-dropped",
    /// a message is put together without its second piece
    PieceMissing = "piece-missing",
    /// a message goes on before it is confirmed
    Unconfirmed = "unconfirmed",
    /// a message is dropped when it is confirmed
    ConfirmedDropped = "confirmed-dropped",
    /// a message that was compressed loses its last byte
    CompressedCut = "compressed-cut",
    /// a repeat of an encrypted message is taken for a new one
    ReplayTaken = "replay-taken",
    /// one message in sixteen is not counted
    MessageUncounted = "message-uncounted",
}

#[cfg(feature = "plant")]
mod planted {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    const NONE: u8 = u8::MAX;

    static PLANTED: AtomicU8 = AtomicU8::new(NONE);

    /// Plants a bug in every machine of this process in place of the one before, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(NONE, |bug| bug as u8), Ordering::Relaxed);
    }

    /// Whether `bug` is planted.
    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "plant")]
pub use planted::plant;
#[cfg(feature = "plant")]
pub(crate) use planted::planted;

/// Whether `bug` is planted: never in this build.
#[cfg(not(feature = "plant"))]
#[inline(always)]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
