//! How a map starts, keeps up with the others, and ends.

use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::config::MapKind;
use super::departed::Run;
use super::entry::{EntryState, Who};
use super::kind::{MapMessageType, MapState};
use super::message::MapMessage;
use super::owner::{MapOwner, Removal};
use super::replicated::{MapOut, ReplicatedMap, block_of, others};
use crate::channel::rpc::{CallId, RpcOption};
use crate::channel::{Lane, Member, MemberIndex, SendOptions, To};
use crate::time::Instant;
use bytes::Bytes;

/// How far a map is with itself and with the others.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    begun: Instant,
    /// When it told the others that it is there.
    announced: Instant,
    /// It tells them once more.
    once_more: Option<CallId>,
    ping: Option<CallId>,
    next_ping: Option<Instant>,
    /// Members whose state is being fetched.
    pub(super) asked: Vec<(CallId, MemberIndex)>,
    /// Members to be asked for theirs.
    to_ask: Vec<MemberIndex>,
    /// Members that are to be told of our entries, and the next slot to tell each of.
    introduce: Vec<(MemberIndex, usize)>,
    /// Members that left since the scan under way began.
    pub(super) gone: Vec<MemberIndex>,
    /// The next slot that is looked at, while a scan is under way.
    cursor: Option<usize>,
    again: Option<Instant>,
    /// Members that did not give their state when they were asked, and how often.
    silent: Vec<(MemberIndex, u8)>,
    /// What the start brought.
    pub(super) got: usize,
    donor: Option<MemberIndex>,
    failed: bool,
    started: Option<MapStart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Init(Option<CallId>),
    Start(Option<CallId>),
    State,
    Ready,
    Ended,
}

/// How the start of a map went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapStart {
    /// Other nodes of the map.
    pub members: usize,
    /// Who gave the state, if somebody did: the last of them.
    pub from: Option<MemberIndex>,
    /// Entries that came with it.
    pub entries: usize,
    /// Whether a node that has the state did not give it.
    pub incomplete: bool,
    /// How long it took since the members were known.
    pub took: Duration,
}

/// Slots looked at in one call of [`ReplicatedMap::pump`].
const SLOTS_MAX: usize = 4096;
/// Values sent elsewhere in one call.
const MOVES_MAX: usize = 256;
/// Queued follow-ups worked off in one call.
const FOLLOW_UPS_MAX: usize = 256;
/// After how long what could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a member that came back is asked for its state, if it does not answer.
const ASKED_MAX: u8 = 3;

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Waiting,
            begun: now,
            announced: now,
            once_more: None,
            ping: None,
            next_ping: None,
            asked: Vec::new(),
            to_ask: Vec::new(),
            introduce: Vec::new(),
            gone: Vec::new(),
            cursor: None,
            again: None,
            silent: Vec::new(),
            got: 0,
            donor: None,
            failed: false,
            started: None,
        }
    }

    pub(super) const fn state(&self) -> MapState {
        match self.phase {
            Phase::Waiting | Phase::Init(_) => MapState::New,
            Phase::Start(_) | Phase::State => MapState::StateTransferred,
            Phase::Ready => MapState::Initialized,
            Phase::Ended => MapState::Destroyed,
        }
    }

    pub(super) fn is_ping(&self, call: CallId) -> bool {
        self.ping == Some(call)
    }

    /// Something could not be done now.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.again.get_or_insert(now + AGAIN);
    }

    /// The state of a member is here.
    pub(super) fn state_came(&mut self, call: CallId, entries: usize) -> Option<MemberIndex> {
        let at = self.asked.iter().position(|asked| asked.0 == call)?;
        let (_, donor) = self.asked.swap_remove(at);
        self.silent.retain(|silent| silent.0 != donor);
        self.donor = Some(donor);
        self.got = self.got.saturating_add(entries);
        Some(donor)
    }

    /// All entries are to be looked at.
    pub(super) const fn scan(&mut self) {
        self.cursor = Some(0);
    }
}

impl<V> ReplicatedMap<V> {
    /// How the start went, once it is over; said once.
    pub const fn take_started(&mut self) -> Option<MapStart> {
        self.life.started.take()
    }

    /// A member of the channel is there.
    pub fn member_added(&mut self, member: MemberIndex, who: &Member) {
        match self.peers.iter_mut().find(|peer| peer.0 == member) {
            Some(peer) => peer.1.clone_from(who),
            None => self.peers.push((member, who.clone())),
        }
    }

    /// A member of the channel is gone.
    pub fn member_disappeared(&mut self, member: MemberIndex) {
        self.rpc.member_disappeared(member);
        self.life.to_ask.retain(|other| *other != member);
        self.map_member_gone(member);
        self.peers.retain(|peer| peer.0 != member);
    }

    /// A node of the map is there, or still there.
    pub(super) fn map_member_heard(&mut self, now: Instant, member: MemberIndex) -> bool {
        if let Some(known) = self.members.iter_mut().find(|known| known.0 == member) {
            known.1 = now;
            return false;
        }
        self.members.push((member, now));
        self.members.sort_unstable_by_key(|member| member.0);
        self.life.gone.retain(|gone| *gone != member);
        let who = self.incarnation(member);
        self.departed.newcomer(now, member, who);
        self.life.scan();
        true
    }

    /// A node of the map came back whose start we have not seen: after a partition, both sides have entries.
    pub(super) fn map_member_found(&mut self, now: Instant, member: MemberIndex) {
        if self.map_member_heard(now, member) && self.life.phase == Phase::Ready {
            self.life.to_ask.push(member);
            self.life.introduce.push((member, 0));
            self.departed.was_away(now, member);
        }
    }

    /// Which run of a node a member is.
    fn incarnation(&self, member: MemberIndex) -> Option<Run> {
        let peer = self.peers.iter().find(|peer| peer.0 == member)?;
        Some(Run {
            id: peer.1.unique_id,
            address: peer.1.socket_addr(),
        })
    }

    /// A node of the map is gone.
    pub(super) fn map_member_gone(&mut self, member: MemberIndex) {
        let before = self.members.len();
        self.members.retain(|known| known.0 != member);
        self.life.introduce.retain(|known| known.0 != member);
        self.life.silent.retain(|silent| silent.0 != member);
        let was_here = self.members.len() < before;
        let who = self.incarnation(member).filter(|_| was_here);
        self.departed.member_gone(member, who);
        if was_here || self.entries.len() > 0 {
            self.life.gone.push(member);
            self.life.scan();
        }
    }

    /// Takes those who are gone out of an entry.
    pub(super) fn tidy(&mut self, key: &[u8]) {
        let gone = &self.life.gone;
        if gone.is_empty() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            let is_gone = |who: &Who| matches!(who, Who::Member(member) if gone.contains(member));
            entry.nodes.retain(|node| !is_gone(node));
            entry.primary = entry.primary.filter(|primary| !is_gone(primary));
        }
    }

    /// Ends: the others are told, the entries are forgotten. `AbstractReplicatedMap.breakdown`.
    pub fn breakdown(&mut self, now: Instant, out: &mut MapOut<'_>) {
        if matches!(self.life.phase, Phase::Ended) {
            return;
        }
        let block = block_of(out.channel.local_member());
        let message = MapMessage {
            primary: Some(alloc::borrow::Cow::from(&block)),
            ..MapMessage::new(MapMessageType::Stop, &self.map_id)
        };
        out.buffer.clear();
        message.write(out.buffer);
        // Who cannot be told will not be answered either.
        let body = out.buffer.as_slice();
        let _ = out
            .channel
            .send_object(now, To::All, SendOptions::USE_ACK, Lane::Any, body);
        self.life.phase = Phase::Ended;
        self.entries.clear();
        self.members.clear();
        self.fetches.clear();
    }

    /// Does what is due, a bounded part of it. `settled` says that the channel knows its members, so that the map can start.
    pub fn pump<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        settled: bool,
    ) {
        if self.life.phase == Phase::Ended {
            return;
        }
        self.peers
            .retain(|peer| out.channel.member(peer.0).is_some());
        // Each is said by an event; who is missing all the same is looked for only if somebody is.
        if self.peers.len() < out.channel.members().count() {
            for (member, who) in out.channel.members() {
                if !self.peers.iter().any(|peer| peer.0 == member) {
                    self.peers.push((member, who.clone()));
                }
            }
        }
        self.rpc.pump(now, out.channel);
        while let Some(call) = self.rpc.poll_done() {
            self.call_over(now, out, owner, call);
        }
        self.proceed(now, out, settled);
        self.follow_up(now, out, owner);
        self.ask_states(now, out);
        self.introduce(now, out, owner);
        self.tell_removals(now, out, owner);
        self.look(now, out, owner);
        self.ping(now, out);
    }

    /// When [`pump`](Self::pump) has something to do; a time in the past for at once.
    pub fn deadline(&self) -> Option<Instant> {
        let life = &self.life;
        let busy = life.cursor.is_some()
            || !self.announce.is_empty()
            || !self.repairs.is_empty()
            || !life.to_ask.is_empty()
            || !life.introduce.is_empty()
            || life.phase == Phase::State && life.asked.is_empty();
        if life.phase == Phase::Ended {
            return None;
        }
        let at_once = busy.then_some(Instant::ZERO);
        let departed = self.departed.deadline();
        [
            at_once,
            self.rpc.deadline(),
            life.next_ping,
            life.again,
            departed,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next step of the start.
    fn proceed(&mut self, now: Instant, out: &mut MapOut<'_>, settled: bool) {
        if self.life.phase == Phase::Waiting && settled {
            self.life.begun = now;
            let call = self.ask_all(now, out, MapMessageType::Init);
            self.life.phase = Phase::Init(call);
        }
        if self.life.phase == Phase::Init(None) {
            // Before the state is fetched, unlike in Tomcat: what the others change from here on they tell us, so that nothing
            // falls between the state and the start.
            self.life.announced = now;
            let call = self.ask_all(now, out, MapMessageType::Start);
            self.life.phase = Phase::Start(call);
        }
        if self.life.phase == Phase::Start(None) {
            self.life.phase = Phase::State;
            // Each knows best what is its own. Of a full map everybody has everything.
            let count = match self.config.kind {
                MapKind::Lazy => usize::MAX,
                MapKind::Full => 1,
            };
            self.life.to_ask = self.members().take(count).collect();
        }
        if self.life.phase == Phase::State
            && self.life.asked.is_empty()
            && self.life.to_ask.is_empty()
        {
            self.life.phase = Phase::Ready;
            self.ask_others_again(now, out);
            self.life.next_ping = Some(now + out.channel.config().heartbeat);
            self.life.scan();
            self.life.started = Some(MapStart {
                members: self.members.len(),
                from: self.life.donor,
                entries: self.life.got,
                incomplete: self.life.failed,
                took: now.since(self.life.begun),
            });
        }
    }

    /// Tomcats leave out who has not started for long, as when the answer of one of them was lost, and do not say again what they made
    /// meanwhile.
    fn ask_others_again(&mut self, now: Instant, out: &mut MapOut<'_>) {
        let late = now.since(self.life.announced) > self.config.access_timeout;
        let others = self.members().filter(|member| !self.are_ours(out, *member));
        let others: Vec<_> = others.filter(|_| late).collect();
        if !others.is_empty() {
            self.life.once_more = self.ask(now, out, &others, MapMessageType::Start);
        }
    }

    /// A Tomcat has heard once more that this node is there: what it made until then it is asked for.
    pub(super) fn knows_once_more(&mut self, call: CallId, member: MemberIndex) {
        if self.life.once_more == Some(call) {
            self.life.to_ask.push(member);
        }
    }

    /// Asks all members of the channel something about the map as a whole.
    fn ask_all(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        kind: MapMessageType,
    ) -> Option<CallId> {
        let to: Vec<_> = out.channel.members().map(|(member, _)| member).collect();
        let call = self.ask(now, out, &to, kind);
        self.life.failed |= call.is_none() && !to.is_empty();
        call
    }

    fn ask(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        to: &[MemberIndex],
        kind: MapMessageType,
    ) -> Option<CallId> {
        let map_id = self.map_id.clone();
        let block = block_of(out.channel.local_member());
        let message = MapMessage {
            primary: Some(alloc::borrow::Cow::from(&block)),
            ..MapMessage::new(kind, &map_id)
        };
        self.call(now, out, to, &message, RpcOption::AllReply)
    }

    /// Asks members for what they have.
    fn ask_states(&mut self, now: Instant, out: &mut MapOut<'_>) {
        for member in mem::take(&mut self.life.to_ask) {
            let kind = match self.config.kind {
                MapKind::Lazy => MapMessageType::State,
                MapKind::Full => MapMessageType::StateCopy,
            };
            let map_id = self.map_id.clone();
            let message = MapMessage::new(kind, &map_id);
            match self.call(now, out, &[member], &message, RpcOption::FirstReply) {
                Some(call) => self.life.asked.push((call, member)),
                None => self.life.failed = true,
            }
        }
    }

    /// Tells a member that came back without a start of its own which entries are ours: it may know us already, and ask nothing.
    fn introduce<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
    ) {
        let Some((member, from)) = self.life.introduce.pop() else {
            return;
        };
        let to = from.saturating_add(MOVES_MAX).min(self.entries.slots());
        for slot in from..to {
            let entry = self.entries.in_slot(slot);
            if let Some(entry) = entry.filter(|entry| entry.state == EntryState::Primary)
                && !entry.nodes.contains(&Who::Member(member))
            {
                let key = entry.key.clone();
                self.tell_one(now, out, owner, &key, member);
            }
        }
        if to < self.entries.slots() {
            self.life.introduce.push((member, to));
        }
    }

    /// A call has all its answers, or its time is over.
    fn call_over<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        call: CallId,
    ) {
        match self.life.phase {
            Phase::Init(Some(init)) if init == call => self.life.phase = Phase::Init(None),
            Phase::Start(Some(start)) if start == call => self.life.phase = Phase::Start(None),
            _ => {}
        }
        self.life.once_more.take_if(|asked| *asked == call);
        if self.life.is_ping(call) {
            self.life.ping = None;
            let silent =
                |member: &(MemberIndex, Instant)| now.since(member.1) > self.config.access_timeout;
            let silent: Vec<_> = self.members.iter().filter(|at| silent(at)).collect();
            for member in silent.into_iter().map(|at| at.0).collect::<Vec<_>>() {
                self.map_member_gone(member);
            }
        }
        if let Some(at) = self.life.asked.iter().position(|asked| asked.0 == call) {
            let (_, silent) = self.life.asked.swap_remove(at);
            // A copy of everything is elsewhere, too.
            let next = self.members().find(|member| *member > silent);
            match next {
                Some(next) if self.config.kind == MapKind::Full => self.life.to_ask.push(next),
                // What it has is of the other side of a partition.
                _ if self.life.phase == Phase::Ready => self.ask_again(silent),
                _ => self.life.failed |= self.members.iter().any(|known| known.0 == silent),
            }
        }
        if let Some(key) = self.fetches.remove(&call)
            && let Some(entry) = self.entries.get(&key)
            && let Some(fetch) = entry.fetch
        {
            let next = fetch.stage.saturating_add(1);
            self.fetch_from(now, out, owner, &key, next, fetch.take_over);
        }
    }

    /// A member that came back has not given its state: perhaps the answer was lost.
    fn ask_again(&mut self, member: MemberIndex) {
        if self.members.iter().all(|known| known.0 != member) {
            return;
        }
        let silent = &mut self.life.silent;
        match silent.iter_mut().find(|silent| silent.0 == member) {
            Some((_, times)) if *times >= ASKED_MAX => return,
            Some((_, times)) => *times = times.saturating_add(1),
            None => silent.push((member, 1)),
        }
        self.life.to_ask.push(member);
    }

    /// What replies and messages have left to be done.
    fn follow_up<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
    ) {
        for _ in 0..FOLLOW_UPS_MAX {
            let Some(key) = self.announce.pop_front() else {
                break;
            };
            let Some(entry) = self.entries.get(&key) else {
                continue;
            };
            if entry.state != EntryState::Primary {
                continue;
            }
            let has_backup = others(&entry.nodes).next().is_some();
            let dirty = entry
                .value
                .as_ref()
                .is_some_and(|value| owner.is_dirty(value));
            if has_backup {
                self.notify(now, out, &key, MapMessageType::NotifyMapmember);
                if self.config.kind == MapKind::Lazy {
                    self.tell_rest(now, out, &key);
                }
                if dirty {
                    // If the channel has stopped it is too late for everything.
                    let _ = self.replicate(now, out, owner, &key, false);
                }
            } else {
                self.publish(now, out, owner, &key, None);
            }
        }
        for _ in 0..FOLLOW_UPS_MAX {
            let Some(key) = self.repairs.pop_front() else {
                break;
            };
            self.stats.repaired = self.stats.repaired.wrapping_add(1);
            self.fetch(now, out, owner, &key, false);
        }
    }

    /// Looks at entries after nodes have come or gone, a bounded part of them.
    fn look<O: MapOwner<Value = V>>(&mut self, now: Instant, out: &mut MapOut<'_>, owner: &mut O) {
        if self.life.again.take_if(|at| *at <= now).is_some() {
            self.life.scan();
        }
        let Some(from) = self.life.cursor else {
            return;
        };
        let mut moves = 0usize;
        let mut slot = from;
        while slot < self.entries.slots().min(from.saturating_add(SLOTS_MAX)) && moves < MOVES_MAX {
            if let Some(key) = self.entries.in_slot(slot).map(|entry| entry.key.clone()) {
                moves = moves.saturating_add(usize::from(self.look_at(now, out, owner, &key)));
            }
            slot = slot.saturating_add(1);
        }
        if slot < self.entries.slots() {
            self.life.cursor = Some(slot);
        } else {
            self.life.cursor = None;
            self.life.gone.clear();
        }
    }

    /// Gives an entry what it lacks; whether a message was sent.
    fn look_at<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
    ) -> bool {
        let Some(entry) = self.entries.get(key) else {
            return false;
        };
        let nodes_before = entry.nodes.len();
        self.tidy(key);
        let full = self.config.kind == MapKind::Full;
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        let alone = others(&entry.nodes).next().is_none();
        let first = matches!(entry.nodes.first(), None | Some(Who::Us));
        match entry.state {
            EntryState::Primary if full => {
                let lost_some = entry.nodes.len() < nodes_before;
                if lost_some {
                    self.notify(now, out, key, MapMessageType::NotifyMapmember);
                }
                lost_some
            }
            EntryState::Primary if alone && !self.members.is_empty() => {
                self.stats.relocated = self.stats.relocated.wrapping_add(1);
                self.publish(now, out, owner, key, None);
                true
            }
            EntryState::Backup | EntryState::Copy
                if entry.primary.is_none() && first && entry.value.is_some() =>
            {
                entry.state = EntryState::Primary;
                entry.primary = Some(Who::Us);
                entry.nodes.retain(|node| *node != Who::Us);
                if let Some(value) = &mut entry.value {
                    owner.primary_changed(value, true);
                }
                self.stats.taken_over = self.stats.taken_over.wrapping_add(1);
                if full {
                    self.notify(now, out, key, MapMessageType::NotifyMapmember);
                } else {
                    self.publish(now, out, owner, key, None);
                }
                true
            }
            EntryState::Proxy if entry.primary.is_none() && alone && entry.fetch.is_none() => {
                self.stats.lost = self.stats.lost.wrapping_add(1);
                if let Some(value) = self.entries.remove(key).and_then(|entry| entry.value) {
                    owner.removed(key, value, Removal::Lost);
                }
                false
            }
            _ => false,
        }
    }

    /// Asks from time to time who is still there. `AbstractReplicatedMap.ping`, which the channel's heartbeat drives.
    fn ping(&mut self, now: Instant, out: &mut MapOut<'_>) {
        let due = self.life.next_ping.is_some_and(|at| at <= now);
        if !due || self.life.phase != Phase::Ready {
            return;
        }
        self.life.next_ping = Some(now + out.channel.config().heartbeat);
        if self.life.ping.is_none() {
            self.life.ping = self.ask_all(now, out, MapMessageType::Ping);
        }
    }
}
