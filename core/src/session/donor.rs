//! Giving the state of this manager to a member that asks for it.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::departed::Departure;
use super::id::lane;
use super::notes::{After, COMPLETE_PREFIX, Completion, PART_PREFIX, Part, Place, Request, place};
use super::state::begin_state;
use super::table::SessionTable;
use super::{BYTE_ARRAY, Cx, DeltaManager, EventType, ManagerStats, Out, SessionMessage};
use crate::channel::{Lane, MemberIndex, SendError, SendOptions, To, UniqueId};
use crate::cluster::ClusterEvent;
use crate::java::ObjectOutput;
use crate::time::Instant;

/// The members that are being given the state, in the order of their turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Donors(Vec<Donor>);

/// One member that is being given the state.
#[derive(Clone, Debug)]
struct Donor {
    to: MemberIndex,
    /// Whether it asked, and so waits for a completion.
    asked: bool,
    /// What one of our own nodes has said in its question.
    request: Option<Request>,
    /// Whether the state was whole when it was asked for: what comes later is not part of this walk.
    whole: bool,
    walk: Walk,
    snapshot_ms: i64,
    /// Data messages sent, and those of them that have not been acknowledged.
    messages: u64,
    open: Vec<UniqueId>,
    sessions: usize,
    /// Bytes of the next message: few at first for one of our own nodes, and what it can take for another.
    bytes_max: usize,
    /// The last message: when it went out, where it began, how many sessions it has, how often it was sent in vain.
    last: Last,
    /// A pause between blocks, or until a full queue is tried again.
    pause_until: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    sent: Instant,
    from: usize,
    sessions: usize,
    failures: u8,
}

/// The sessions in the order in which they are given. Those that come later are announced to the member anyway.
#[derive(Clone, Debug)]
enum Walk {
    /// In that of the table: the next slot to look at, and where to stop.
    Slots { cursor: usize, end: usize },
    /// In that common to all our nodes, so that another donor can go on: place and slot of each.
    Places { cursor: usize, order: Vec<u64> },
}

/// Members served at once; the one that has waited longest for its next turn makes room.
const DONORS_MAX: usize = 256;

/// Bytes of all [`Walk::Places`] at once. Whoever asks beyond that gets the state in the table's order, and
/// would have to begin anew with another donor.
const ORDERS_MAX: usize = 4 << 20;

/// Data messages under way to all members, of which each may have one; whoever is served alone more, so that it reads some while we
/// make the next.
const OPEN_MAX: usize = 6;
const ALONE_MAX: usize = 8;

/// Bytes of a message to one of our own nodes, at most: so that it stays in the processors' caches on its way, and the first is read
/// while the others are made. A Tomcat has only one at a time under way, and a round trip for each.
const BYTES_TO_OURS: usize = 256 << 10;
/// Bytes of the first message to one of our own nodes, which has nothing to read before; each is twice as long as the one before.
const BYTES_FIRST: usize = 32 << 10;

/// A Tomcat is to acknowledge each message within so long; the next is half as large if it took longer, and larger again if
/// it took a quarter of it.
const AT_EASE: Duration = Duration::from_secs(1);
/// Smaller than that they do not become.
const BYTES_MIN: usize = 32 << 10;
/// How often the same sessions are sent to a Tomcat that does not answer in time, and how long it is left alone before.
const FAILURES_MAX: u8 = 3;
const BREATH: Duration = Duration::from_millis(500);

/// By how much the wall clocks of nodes may differ, so that a new session is known to be new.
const SKEW_MS: i64 = 5000;

/// Bytes of a message beside its sessions and what describes it: class descriptors.
const ROOM_BESIDE: usize = 512;

/// How long to leave a full queue alone.
const RETRY: Duration = Duration::from_millis(20);

/// ALL_SESSION_DATA goes out acknowledged after processing, whatever the cluster's options are.
const DATA_OPTIONS: SendOptions = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);

impl Walk {
    fn slots(sessions: &SessionTable) -> Self {
        Self::Slots {
            cursor: 0,
            end: sessions.slots(),
        }
    }

    /// In the order of places; each entry is a place and a slot.
    fn places(mut order: Vec<u64>) -> Self {
        order.sort_unstable();
        Self::Places { cursor: 0, order }
    }

    const fn cursor(&self) -> usize {
        match self {
            Self::Slots { cursor, .. } | Self::Places { cursor, .. } => *cursor,
        }
    }

    const fn go_to(&mut self, at: usize) {
        match self {
            Self::Slots { cursor, .. } | Self::Places { cursor, .. } => *cursor = at,
        }
    }

    const fn end(&self) -> usize {
        match self {
            Self::Slots { end, .. } => *end,
            Self::Places { order, .. } => order.len(),
        }
    }

    const fn is_at_end(&self) -> bool {
        self.cursor() >= self.end()
    }

    /// The slot at a position.
    fn slot(&self, at: usize) -> usize {
        match self {
            Self::Slots { .. } => at,
            Self::Places { order, .. } => order.get(at).map_or(usize::MAX, |entry| {
                usize::try_from(entry & u64::from(u32::MAX)).unwrap_or(usize::MAX)
            }),
        }
    }

    /// The last place of which nothing comes at `next` or later.
    fn done_before(&self, next: usize) -> Option<Place> {
        let Self::Places { order, .. } = self else {
            return None;
        };
        let place = |at: usize| Place::try_from(order.get(at)? >> 32).ok();
        let beyond = place(next);
        let mut done = (0..next).rev().filter_map(place);
        done.find(|done| Some(*done) != beyond)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Slots { .. } => 0,
            Self::Places { order, .. } => order.capacity().saturating_mul(size_of::<u64>()),
        }
    }
}

impl Donors {
    pub(crate) fn forget(&mut self, member: MemberIndex, stats: &mut ManagerStats) {
        let before = self.0.len();
        self.0.retain(|donor| donor.to != member);
        let broken = u64::try_from(before.saturating_sub(self.0.len())).unwrap_or_default();
        stats.transfers_broken = stats.transfers_broken.saturating_add(broken);
    }

    /// Data messages under way.
    fn open(&self) -> usize {
        self.0.iter().map(|donor| donor.open.len()).sum()
    }

    /// Whether there is one member at most that has not been sent all of it.
    fn is_one(&self) -> bool {
        let waiting = self.0.iter().filter(|donor| !donor.walk.is_at_end());
        waiting.count() <= 1
    }
}

impl DeltaManager {
    /// GET_ALL_SESSIONS. It is answered even while our own transfer is under way.
    pub(crate) fn asked(&mut self, cx: &mut Cx<'_>, from: Option<MemberIndex>, unique_id: &[u8]) {
        if let Some(to) = from {
            let request = Request::read(unique_id, self.name.as_modified_utf8());
            self.serve(cx, to, true, request);
        }
    }

    /// A member has missed messages because its queue was full: it gets all sessions unasked.
    pub(crate) fn push_state(&mut self, cx: &mut Cx<'_>, to: MemberIndex) {
        let begins = |donor: &Donor| donor.to == to && donor.walk.cursor() == 0;
        if !self.donors.0.iter().any(begins) {
            self.serve(cx, to, false, None);
        }
    }

    fn serve(&mut self, cx: &mut Cx<'_>, to: MemberIndex, asked: bool, request: Option<Request>) {
        // Who asks again starts over.
        self.donors.0.retain(|donor| donor.to != to);
        if self.donors.0.len() >= DONORS_MAX {
            self.donors.0.remove(0);
            self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
        }
        let orders: usize = self.donors.0.iter().map(|donor| donor.walk.bytes()).sum();
        let longer = self.sessions.len().saturating_mul(size_of::<u64>());
        let walk = match request {
            Some(request) if orders.saturating_add(longer) <= ORDERS_MAX => {
                Walk::places(self.order(cx, request.after))
            }
            _ => Walk::slots(&self.sessions),
        };
        self.donors.0.push(Donor {
            to,
            asked,
            request,
            whole: self.join.is_ready(),
            walk,
            snapshot_ms: cx.unix_ms,
            messages: 0,
            open: Vec::new(),
            sessions: 0,
            bytes_max: match request.is_some() {
                true => self.config.limits.transfer_bytes_max.min(BYTES_FIRST),
                false => self.config.limits.transfer_bytes_max,
            },
            last: Last::default(),
            pause_until: Instant::ZERO,
        });
    }

    /// Places and slots of the sessions behind `after`, and of new ones: the donor before may have died with what it had to say
    /// about them. One that has got another id meanwhile, which stands before, is given at its old place.
    fn order(&self, cx: &Cx<'_>, after: Option<After>) -> Vec<u64> {
        let entry = |place: Place, slot: u32| (u64::from(place) << 32) | u64::from(slot);
        let Some(After {
            place: after,
            new_ms,
        }) = after
        else {
            let mut order = Vec::with_capacity(self.sessions.len());
            let all = self.sessions.places();
            order.extend(all.map(|(slot, place)| entry(place, slot)));
            return order;
        };
        let ago = i64::try_from(new_ms)
            .unwrap_or(i64::MAX)
            .saturating_add(SKEW_MS);
        let since_ms = cx.unix_ms.saturating_sub(ago);
        let is_new = |slot: u32| {
            let session = self.sessions.in_slot(slot as usize);
            session.is_some_and(|session| session.creation_time_ms >= since_ms)
        };
        let all = self.sessions.places();
        let wanted = all
            .filter(|(slot, place)| *place > after || is_new(*slot))
            .map(|(slot, place)| entry(place, slot));
        let mut order: Vec<u64> = wanted.collect();
        for (_, old, _, departure) in self.departed.after(cx.now, 0, Duration::ZERO) {
            let old_place = place(old.lane());
            if old_place > after
                && matches!(departure, Departure::Renamed { .. })
                && let Some(id) = self.known(old.as_modified_utf8())
                && place(id.lane()) <= after
                && let Some(slot) = self.sessions.slot_of(&id)
            {
                order.push(entry(old_place, slot));
            }
        }
        order
    }

    /// A data message has been answered, or given up; whether it was one of ours.
    pub(crate) fn data_sent(&mut self, cx: &mut Cx<'_>, id: &UniqueId, reached: bool) -> bool {
        let mut donors = self.donors.0.iter_mut();
        let Some(donor) = donors.find(|donor| donor.open.contains(id)) else {
            return false;
        };
        donor.open.retain(|open| open != id);
        if reached {
            donor.has_taken(cx.now, self.config.limits.transfer_bytes_max);
            return true;
        }
        if donor.tries_again(cx.now) {
            return true;
        }
        let (to, sessions) = (donor.to, donor.sessions);
        self.donors.0.retain(|donor| donor.to != to);
        self.stats.transfers_broken = self.stats.transfers_broken.wrapping_add(1);
        cx.events.push(ClusterEvent::StateGiven {
            context: self.context,
            to,
            sessions,
            complete: false,
        });
        true
    }

    /// When [`pump_donors`](Self::pump_donors) has something to do; a time in the past for at once.
    pub(crate) fn donor_deadline(&self) -> Option<Instant> {
        let (open, alone) = (self.donors.open(), self.donors.is_one());
        self.donors
            .0
            .iter()
            .filter(|donor| donor.wants_turn(open, alone))
            .map(|donor| donor.pause_until)
            .min()
    }

    /// One message to each member whose turn it is.
    pub(crate) fn pump_donors(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let mut donors = core::mem::take(&mut self.donors);
        let (mut open, alone) = (donors.open(), donors.is_one());
        let mut served = Vec::new();
        donors.0.retain_mut(|donor| {
            if !donor.wants_turn(open, alone) || donor.pause_until > cx.now {
                return true;
            }
            let before = donor.open.len();
            if self.give(cx, out, donor) {
                let more = donor.open.len().saturating_sub(before);
                open = open.saturating_add(more);
                if more > 0 {
                    served.push(donor.to);
                }
                return true;
            }
            false
        });
        // Who has been served stands behind those who wait.
        donors.0.sort_by_key(|donor| served.contains(&donor.to));
        // Whoever waited for another one's end is next at once, not when its own pause ended.
        for donor in &mut donors.0 {
            if donor.pause_until <= cx.now {
                donor.pause_until = Instant::ZERO;
            }
        }
        self.donors = donors;
    }

    /// The next message of a transfer; whether the transfer goes on.
    fn give(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, donor: &mut Donor) -> bool {
        if !donor.walk.is_at_end() || self.owes_first(donor) {
            return self.give_data(cx, out, donor);
        }
        if !donor.asked {
            return false;
        }
        // Nothing is left to be sent: the completion follows when all of it has been acknowledged.
        let note = donor.request.map(|request| {
            let note = Completion {
                transfer: request.transfer,
                messages: donor.messages,
                sessions: u64::try_from(donor.sessions).unwrap_or(u64::MAX),
                whole: donor.whole,
            };
            note.text()
        });
        let name = self.name.as_modified_utf8();
        let note = note.unwrap_or_default();
        let unique_id = [COMPLETE_PREFIX, name, note.as_bytes()].concat();
        let kind = EventType::AllSessionTransferComplete;
        let word = b"SESSION-STATE-TRANSFERRED";
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

    /// Even if there is nothing, one message says so.
    const fn owes_first(&self, donor: &Donor) -> bool {
        donor.asked && donor.messages == 0 && self.config.send_all_sessions
    }

    /// The next sessions; whether the transfer goes on.
    fn give_data(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, donor: &mut Donor) -> bool {
        let (next, count, bytes) = self.batch(donor);
        if count == 0 && !self.owes_first(donor) {
            donor.walk.go_to(next);
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
                donor.last = Last {
                    sent: cx.now,
                    from: donor.walk.cursor(),
                    sessions: count,
                    failures: donor.last.failures,
                };
                donor.messages = donor.messages.saturating_add(1);
                donor.sessions = donor.sessions.saturating_add(count);
                let given = u64::try_from(count).unwrap_or(u64::MAX);
                self.stats.transfer_sessions_given =
                    self.stats.transfer_sessions_given.saturating_add(given);
                donor.walk.go_to(next);
                if donor.request.is_some() {
                    let most = self.config.limits.transfer_bytes_max.min(BYTES_TO_OURS);
                    donor.bytes_max = donor.bytes_max.saturating_mul(2).min(most);
                }
                if !self.config.send_all_sessions && !donor.walk.is_at_end() {
                    donor.pause_until = cx.now + self.config.send_all_sessions_wait_time;
                }
                true
            }
        }
    }

    /// Where the next message ends, how many sessions it has and how long it is, roughly.
    fn batch(&self, donor: &Donor) -> (usize, usize, usize) {
        let (mut at, mut count, mut bytes) = (donor.walk.cursor(), 0usize, 0usize);
        let most = if self.config.send_all_sessions {
            usize::MAX
        } else {
            self.config.send_all_sessions_size
        };
        while at < donor.walk.end() && count < most {
            if let Some(session) = self.sessions.in_slot(donor.walk.slot(at)) {
                let longer = bytes.saturating_add(session.encoded_estimate());
                if count > 0 && longer > donor.bytes_max {
                    break;
                }
                (count, bytes) = (count.saturating_add(1), longer);
            }
            at = at.saturating_add(1);
        }
        (at, count, bytes)
    }

    /// ALL_SESSION_DATA with the sessions from the cursor to `next`.
    fn state_message(
        &self,
        donor: &Donor,
        to_ours: bool,
        next: usize,
        count: usize,
        bytes: usize,
    ) -> Option<Bytes> {
        let name = self.name.as_modified_utf8();
        let note = donor.request.map(|request| {
            let part = Part {
                transfer: request.transfer,
                number: donor.messages.saturating_add(1),
                sessions: u64::try_from(count).unwrap_or(u64::MAX),
                whole: donor.whole,
                to: donor.walk.done_before(next),
            };
            part.text()
        });
        let unique_id = [PART_PREFIX, name, note.unwrap_or_default().as_bytes()].concat();
        let kind = EventType::AllSessionData;
        let word = b"SESSION-STATE";
        let message = SessionMessage {
            session: Some(&[]),
            ..SessionMessage::new(kind, name, word, &unique_id, donor.snapshot_ms)
        };
        let room = message.encoded_len().saturating_add(bytes);
        let mut stream = Vec::with_capacity(room.saturating_add(ROOM_BESIDE));
        let array = message.begin(&mut stream).ok()?;
        // The sessions are written where they are to lie; how long they are is known behind them.
        stream.extend_from_slice(BYTE_ARRAY);
        let length_at = stream.len();
        stream.extend_from_slice(&[0; 4]);
        let payload_at = stream.len();
        let mut payload = ObjectOutput::within(stream);
        begin_state(&mut payload, count);
        for at in donor.walk.cursor()..next {
            if let Some(session) = self.sessions.in_slot(donor.walk.slot(at)) {
                let included = |name: &_, value: &_| self.filters.included(name, Some(value));
                session.write(&mut payload, to_ours, included).ok()?;
            }
        }
        let mut stream = payload.into_vec();
        let length = i32::try_from(stream.len().saturating_sub(payload_at)).ok()?;
        let place = stream.get_mut(length_at..payload_at)?;
        place.copy_from_slice(&length.to_be_bytes());
        message.end(&mut stream, array).ok()?;
        Some(stream.into())
    }
}

impl Donor {
    /// Whether the next message may go out, with so many open to all members. Who has some under way leaves the room to
    /// others that wait.
    fn wants_turn(&self, open: usize, alone: bool) -> bool {
        if self.walk.is_at_end() {
            return self.open.is_empty();
        }
        match self.open.len() {
            0 => open < OPEN_MAX,
            // A Tomcat may answer two messages in either order.
            _ => alone && self.request.is_some() && open < ALONE_MAX,
        }
    }

    /// A data message has been acknowledged.
    fn has_taken(&mut self, now: Instant, most: usize) {
        self.last.failures = 0;
        if self.request.is_some() {
            return;
        }
        let took = now.since(self.last.sent);
        if took > AT_EASE {
            self.halve();
        } else if took < AT_EASE / 4 {
            self.bytes_max = self.bytes_max.saturating_mul(2).min(most);
        }
    }

    fn halve(&mut self) {
        self.bytes_max = (self.bytes_max / 2).max(BYTES_MIN.min(self.bytes_max));
    }

    /// A data message was not acknowledged: whether its sessions are to go out once more. One of our own nodes asks another
    /// donor, or us again, for what is missing; a Tomcat asks but once.
    fn tries_again(&mut self, now: Instant) -> bool {
        if self.request.is_some() || self.last.failures >= FAILURES_MAX {
            return false;
        }
        self.last.failures = self.last.failures.saturating_add(1);
        self.walk.go_to(self.last.from);
        self.messages = self.messages.saturating_sub(1);
        self.sessions = self.sessions.saturating_sub(self.last.sessions);
        self.halve();
        self.pause_until = now + BREATH;
        true
    }
}
