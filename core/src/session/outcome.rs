//! How a state transfer ends, and how one of our nodes says that it has ended.

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

/// What one of our nodes adds to the unique id of its TRANSFERCOMPLETE, which Tomcat only logs:
/// `;messages=3;whole=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Data messages sent.
    pub(crate) messages: u64,
    /// Whether the donor had the whole state itself.
    pub(crate) whole: bool,
}

/// What the unique id of a TRANSFERCOMPLETE begins with; the manager's name follows, without a dash.
pub(crate) const COMPLETE_PREFIX: &[u8] = b"SESSION-STATE-TRANSFERRED";

impl Completion {
    /// The text.
    pub(crate) fn text(self) -> alloc::string::String {
        alloc::format!(";messages={};whole={}", self.messages, u8::from(self.whole))
    }

    pub(crate) fn read(unique_id: &[u8], name: &[u8]) -> Option<Self> {
        let note = unique_id
            .strip_prefix(COMPLETE_PREFIX)?
            .strip_prefix(name)?;
        let note = core::str::from_utf8(note)
            .ok()?
            .strip_prefix(";messages=")?;
        let (messages, whole) = note.split_once(";whole=")?;
        Some(Self {
            messages: messages.parse().ok()?,
            whole: whole == "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_says_what_was_sent() {
        let name = b"localhost#/shop";
        for completion in [
            Completion {
                messages: 0,
                whole: true,
            },
            Completion {
                messages: 17,
                whole: false,
            },
        ] {
            let text = [COMPLETE_PREFIX, name, completion.text().as_bytes()].concat();
            assert_eq!(Completion::read(&text, name), Some(completion));
            assert_eq!(Completion::read(&text, b"localhost#/sho"), None);
        }
        assert_eq!(
            Completion::read(&[COMPLETE_PREFIX, name].concat(), name),
            None,
            "a Tomcat's"
        );
    }
}
