//! Giving the state of this manager to a member that asks for it.

use alloc::vec::Vec;

use bytes::Bytes;

use super::id::lane;
use super::outcome::{COMPLETE_PREFIX, Completion};
use super::state::begin_state;
use super::{Cx, DeltaManager, EventType, ManagerStats, Out, SessionMessage};
use crate::channel::{Lane, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::cluster::ClusterEvent;
use crate::java::ObjectOutput;
use crate::time::Instant;

/// The members that are being given the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Donors(Vec<Donor>);

/// One member that is being given the state.
#[derive(Clone, Debug)]
struct Donor {
    to: MemberIndex,
    /// Whether it asked, and so waits for a completion.
    asked: bool,
    /// The next slot to look at, and where to stop: later sessions are announced to the member anyway.
    cursor: usize,
    end: usize,
    snapshot_ms: i64,
    /// Data messages sent, and those of them that have not been acknowledged.
    messages: u64,
    open: Vec<UniqueId>,
    /// How many may be open.
    window: usize,
    sessions: usize,
    /// A pause between blocks, or until a full queue is tried again.
    pause_until: Instant,
}

/// Members served at once; the one that has waited longest for its next turn makes room.
const DONORS_MAX: usize = 256;

/// Data messages under way to one of our own nodes, so that it reads one while we make the next; a Tomcat gets one.
const WINDOW: usize = 2;

/// How long to leave a full queue alone.
const RETRY: core::time::Duration = core::time::Duration::from_millis(20);

/// ALL_SESSION_DATA goes out acknowledged after processing, whatever the cluster's options are.
const DATA_OPTIONS: SendOptions = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);

impl Donors {
    pub(crate) fn forget(&mut self, member: MemberIndex, stats: &mut ManagerStats) {
        let before = self.0.len();
        self.0.retain(|donor| donor.to != member);
        let broken = u64::try_from(before.saturating_sub(self.0.len())).unwrap_or_default();
        stats.transfers_broken = stats.transfers_broken.saturating_add(broken);
    }
}

impl DeltaManager {
    /// GET_ALL_SESSIONS. It is answered even while our own transfer is under way.
    pub(crate) fn asked(&mut self, cx: &mut Cx<'_>, from: Option<MemberIndex>) {
        if let Some(to) = from {
            self.serve(cx, to, true);
        }
    }

    /// A member has missed messages because its queue was full: it gets all sessions unasked.
    pub(crate) fn push_state(&mut self, cx: &mut Cx<'_>, to: MemberIndex) {
        if !self
            .donors
            .0
            .iter()
            .any(|donor| donor.to == to && donor.cursor == 0)
        {
            self.serve(cx, to, false);
        }
    }

    fn serve(&mut self, cx: &mut Cx<'_>, to: MemberIndex, asked: bool) {
        // Who asks again starts over.
        self.donors.0.retain(|donor| donor.to != to);
        if self.donors.0.len() >= DONORS_MAX {
            self.donors.0.remove(0);
            self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
        }
        self.donors.0.push(Donor {
            to,
            asked,
            cursor: 0,
            end: self.sessions.slots(),
            snapshot_ms: cx.unix_ms,
            messages: 0,
            open: Vec::new(),
            window: 1,
            sessions: 0,
            pause_until: Instant::ZERO,
        });
    }

    /// A data message has been answered, or given up; whether it was one of ours.
    pub(crate) fn data_sent(&mut self, cx: &mut Cx<'_>, id: &UniqueId, reached: bool) -> bool {
        let Some(at) = self
            .donors
            .0
            .iter()
            .position(|donor| donor.open.contains(id))
        else {
            return false;
        };
        if reached {
            if let Some(donor) = self.donors.0.get_mut(at) {
                donor.open.retain(|open| open != id);
            }
        } else {
            let donor = self.donors.0.remove(at);
            self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
            cx.events.push(ClusterEvent::StateGiven {
                context: self.context,
                to: donor.to,
                sessions: donor.sessions,
                complete: false,
            });
        }
        true
    }

    /// When [`pump_donors`](Self::pump_donors) has something to do; a time in the past for at once.
    pub(crate) fn donor_deadline(&self) -> Option<Instant> {
        self.donors
            .0
            .iter()
            .filter(|donor| donor.wants_turn())
            .map(|donor| donor.pause_until)
            .min()
    }

    /// One message to each member whose turn it is.
    pub(crate) fn pump_donors(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let mut donors = core::mem::take(&mut self.donors);
        donors.0.retain_mut(|donor| {
            if !donor.wants_turn() || donor.pause_until > cx.now {
                return true;
            }
            self.give(cx, out, donor)
        });
        self.donors = donors;
    }

    /// The next message of a transfer; whether the transfer goes on.
    fn give(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, donor: &mut Donor) -> bool {
        let first = donor.asked && donor.messages == 0 && self.config.send_all_sessions;
        if donor.cursor < donor.end || first {
            return self.give_data(cx, out, donor);
        }
        if !donor.asked {
            return false;
        }
        // Nothing is left to be sent: the completion follows when all of it has been acknowledged.
        let note = Completion {
            messages: donor.messages,
            whole: self.join.is_ready(),
        };
        let note = if out.channel.is_ours(donor.to) {
            note.text()
        } else {
            Default::default()
        };
        let unique_id = [
            COMPLETE_PREFIX,
            self.name.as_modified_utf8(),
            note.as_bytes(),
        ]
        .concat();
        let kind = EventType::AllSessionTransferComplete;
        let word = b"SESSION-STATE-TRANSFERRED";
        let name = self.name.as_modified_utf8();
        out.buffer.clear();
        SessionMessage::new(kind, name, word, &unique_id, donor.snapshot_ms).write(out.buffer);
        let lane = Lane::Ordered(lane(name));
        match out.channel.send_object(
            cx.now,
            To::Member(donor.to),
            out.options,
            lane,
            out.buffer.as_slice(),
        ) {
            Err(SendError::QueueFull(_)) => {
                donor.pause_until = cx.now + RETRY;
                return true;
            }
            Err(_) => self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1),
            Ok(_) => {
                self.stats.transfers_given = self.stats.transfers_given.wrapping_add(1);
                self.count_sent(kind);
                let (context, to) = (self.context, donor.to);
                cx.events.push(ClusterEvent::StateGiven {
                    context,
                    to,
                    sessions: donor.sessions,
                    complete: true,
                });
            }
        }
        false
    }

    /// The next sessions; whether the transfer goes on.
    fn give_data(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, donor: &mut Donor) -> bool {
        let (next, count, bytes) = self.batch(donor);
        if count == 0 && !(donor.asked && donor.messages == 0 && self.config.send_all_sessions) {
            donor.cursor = next;
            // What comes next is due at once.
            donor.pause_until = Instant::ZERO;
            return true;
        }
        let to_ours = out.channel.is_ours(donor.to);
        let Some(message) = self.state_message(donor, to_ours, next, count, bytes) else {
            self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
            return false;
        };
        let lane = Lane::Ordered(lane(self.name.as_modified_utf8()));
        match out
            .channel
            .send_object(cx.now, To::Member(donor.to), DATA_OPTIONS, lane, message)
        {
            Err(SendError::QueueFull(_)) => {
                donor.pause_until = cx.now + RETRY;
                true
            }
            Err(_) => {
                self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
                false
            }
            Ok(id) => {
                self.count_sent(EventType::AllSessionData);
                donor.open.push(id);
                donor.window = if out.channel.is_ours(donor.to) {
                    WINDOW
                } else {
                    1
                };
                donor.messages = donor.messages.saturating_add(1);
                donor.sessions = donor.sessions.saturating_add(count);
                donor.cursor = next;
                if !self.config.send_all_sessions && donor.cursor < donor.end {
                    donor.pause_until = cx.now + self.config.send_all_sessions_wait_time;
                }
                true
            }
        }
    }

    /// Where the next message ends, how many sessions it has and how long it is, roughly.
    fn batch(&self, donor: &Donor) -> (usize, usize, usize) {
        let (mut slot, mut count, mut bytes) = (donor.cursor, 0usize, 0usize);
        let most = if self.config.send_all_sessions {
            usize::MAX
        } else {
            self.config.send_all_sessions_size
        };
        while slot < donor.end && count < most {
            if let Some(session) = self.sessions.in_slot(slot) {
                let longer = bytes.saturating_add(session.encoded_estimate());
                if count > 0 && longer > self.config.limits.transfer_bytes_max {
                    break;
                }
                (count, bytes) = (count.saturating_add(1), longer);
            }
            slot = slot.saturating_add(1);
        }
        (slot, count, bytes)
    }

    /// ALL_SESSION_DATA with the sessions of the slots from the cursor to `next`.
    fn state_message(
        &self,
        donor: &Donor,
        to_ours: bool,
        next: usize,
        count: usize,
        bytes: usize,
    ) -> Option<Bytes> {
        let mut payload = ObjectOutput::with_capacity(bytes.saturating_add(256));
        begin_state(&mut payload, count);
        for slot in donor.cursor..next {
            if let Some(session) = self.sessions.in_slot(slot) {
                let included = |name: &_, value: &_| self.filters.included(name, Some(value));
                session.write(&mut payload, to_ours, included).ok()?;
            }
        }
        let payload = payload.finish();
        let name = self.name.as_modified_utf8();
        let unique_id = [b"SESSION-STATE-", name].concat();
        let message = SessionMessage {
            session: Some(&payload),
            ..SessionMessage::new(
                EventType::AllSessionData,
                name,
                b"SESSION-STATE",
                &unique_id,
                donor.snapshot_ms,
            )
        };
        let mut stream = Vec::with_capacity(message.encoded_len());
        message.write(&mut stream);
        Some(stream.into())
    }
}

impl Donor {
    /// Whether the next message may go out.
    fn wants_turn(&self) -> bool {
        if self.cursor < self.end {
            self.open.len() < self.window
        } else {
            self.open.is_empty()
        }
    }
}
