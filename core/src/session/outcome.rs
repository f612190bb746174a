//! How a state transfer ends.

use core::time::Duration;

use crate::channel::MemberIndex;

/// Where a manager is between start and service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagerState {
    /// The members are not known yet.
    Starting,
    /// The state of the cluster is on its way from this member.
    Transferring(MemberIndex),
    /// It has the state, or there is none, or the wait is over.
    Ready,
}

/// How a state transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferOutcome {
    /// What became of it.
    pub result: TransferResult,
    /// Who gave the state, if somebody did.
    pub from: Option<MemberIndex>,
    /// Sessions that came.
    pub sessions: usize,
    /// How long it took since the members were known.
    pub took: Duration,
}

/// What became of a state transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransferResult {
    /// There are no other members: nothing to get.
    NoMembers,
    /// The state is here.
    Complete,
    /// No member has such an application.
    NoContextManager,
    /// The donors failed, or what came was damaged; what could be used is here.
    Incomplete,
    /// `state_transfer_timeout` is over; what came is here.
    TimedOut,
    /// `state_transfer_timeout` is zero: the state was asked for and may come later.
    NotAwaited,
}

impl TransferResult {
    /// Whether the sessions here are all there are.
    pub const fn is_whole(self) -> bool {
        matches!(
            self,
            Self::NoMembers | Self::Complete | Self::NoContextManager
        )
    }
}
