//! Connections on which nothing but order is to be expected.

use super::life::Phase;
use super::{Channel, MemberIndex, UniqueId, is_ours};
use crate::engine::ConnId;
use crate::transport::conns::Conn;

/// What a channel knows of a connection whose messages go to the listener as they come: a member's, with no layer in between, that
/// is neither superseded nor being wound up. As long as this stays the same, so does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The member.
    pub(crate) index: MemberIndex,
    pub(crate) unique_id: UniqueId,
    /// Whether it is one of ours.
    pub(crate) ours: bool,
    /// How many connections had been accepted before.
    number: u64,
}

impl Channel {
    /// What is known of a connection, if it is plain.
    pub(crate) fn plain(&self, conn: ConnId) -> Option<Plain> {
        let Some(Conn::Receiver(receiver)) = self.conns.get(conn) else {
            return None;
        };
        let sender = receiver.sender.as_ref()?;
        let index = sender.index?;
        let entry = self.members.get(index)?;
        let pipelined = entry.ours && self.config.sender.pipelining;
        let in_turn = entry.ending_receiver.is_none()
            && (!pipelined || entry.newest_receiver == receiver.number);
        let as_it_comes = receiver.messages
            && receiver.ending.is_none()
            && receiver.held.is_empty()
            && self.phase == Phase::Running
            && self.stack.is_empty();
        let known = entry.is_verified()
            && entry.ours == sender.ours
            && sender.member != self.local.member
            && !self.other_domain(&sender.member.domain);
        (in_turn && as_it_comes && known).then(|| Plain {
            index,
            unique_id: sender.member.unique_id,
            ours: is_ours(&sender.member.payload),
            number: receiver.number,
        })
    }

    /// The member block of whoever speaks on a connection, as it came last.
    pub(crate) fn block(&self, conn: ConnId) -> &[u8] {
        match self.conns.get(conn) {
            Some(Conn::Receiver(receiver)) => receiver
                .sender
                .as_ref()
                .map_or(&[], |sender| sender.block.as_slice()),
            _ => &[],
        }
    }

    /// The wall clock.
    pub(crate) const fn clock(&self) -> crate::time::WallClock {
        self.clock
    }
}
