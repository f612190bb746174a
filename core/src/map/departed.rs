//! Keys of entries that were removed, and those who have yet to hear of it.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::config::{MapConfig, MapKind};
use super::entry::{EntryState, MapEntry, Who};
use super::kind::MapMessageType;
use super::message::MapMessage;
use super::owner::{MapOwner, Removal};
use super::publish::send_to;
use super::replicated::{MapOut, ReplicatedMap, block_of};
use crate::channel::{Member, MemberIndex, SendOptions, UniqueId};
use crate::memory::Memory;
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::is_ours;

/// An entry that was removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    at: Instant,
    /// Tells the value that was removed from others of its key.
    identity: Option<u64>,
    /// The lane that its messages took.
    lane: u64,
    /// Who has said so itself: what it says of the key afterwards it says in knowledge of the removal.
    said: [Option<MemberIndex>; SAID_MAX],
}

impl Gone {
    fn said_by(&self, member: MemberIndex) -> bool {
        self.said.contains(&Some(member))
    }

    fn note(&mut self, member: Option<MemberIndex>) {
        if let Some(member) = member
            && !self.said_by(member)
        {
            self.said.rotate_right(1);
            let [newest, ..] = &mut self.said;
            *newest = Some(member);
        }
    }
}

/// What was removed, and those who have yet to hear of it.
#[derive(Debug)]
pub(super) struct Departed {
    gone: Memory<Bytes, Gone>,
    tells: VecDeque<Tell>,
    /// Members that said of an entry of ours that it was removed, and have not seen the value that it has since.
    contests: VecDeque<(MemberIndex, Bytes)>,
    /// Members that are new, and until when.
    newcomers: Vec<(MemberIndex, Instant)>,
    /// Members that were away or are new, when they are told what was removed meanwhile, and how far back.
    missed: Vec<(MemberIndex, Instant, Duration)>,
    /// Nodes that were of the map and may come back.
    left: VecDeque<Run>,
    /// Whether there is more to tell at once than one turn does.
    behind: bool,
}

/// A run of a node: it stays when a node that was cut off, or stood still, comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which run.
    pub(super) id: UniqueId,
    /// Where it listens: it is over when another run is there.
    pub(super) address: Option<SocketAddr>,
}

/// Somebody is to be told that an entry was removed.
#[derive(Debug)]
struct Tell {
    due: Instant,
    member: MemberIndex,
    key: Bytes,
    /// Not if it is a Tomcat.
    ours_only: bool,
}

/// Members remembered as having said that an entry was removed.
const SAID_MAX: usize = 4;
/// A removal goes to all: who has not heard of it then is told by those who know better.
const TOLD_AFTER: Duration = Duration::from_millis(500);
/// For so long somebody counts as new: what it is given may have been removed by one who does not know it yet.
const NEW_FOR: Duration = Duration::from_secs(15);
/// How far back removals are told to somebody who was away; what is older its state shows.
const RECENT: Duration = Duration::from_secs(60);
/// A removal takes no longer to all who are there: who is new after that is given the entry by none of them.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// Those to be told, at most; whoever does not fit in hears of it when it says something about the entry.
const TELLS_MAX: usize = 65_536;
/// Members remembered as having left, at most.
const LEFT_MAX: usize = 256;
/// Told in one turn.
const TOLD_AT_ONCE: usize = 256;

impl Departed {
    pub(super) fn new(config: &MapConfig) -> Self {
        Self {
            gone: Memory::new(config.departed_memory, config.departed_max),
            tells: VecDeque::new(),
            contests: VecDeque::new(),
            newcomers: Vec::new(),
            missed: Vec::new(),
            left: VecDeque::new(),
            behind: false,
        }
    }

    /// When somebody is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let contests = (self.behind || !self.contests.is_empty()).then_some(Instant::ZERO);
        let tells = self.tells.front().map(|tell| tell.due);
        let missed = self.missed.iter().map(|missed| missed.1);
        missed.chain(tells).chain(contests).min()
    }

    /// A node of the map is there that was not.
    pub(super) fn newcomer(&mut self, now: Instant, member: MemberIndex, who: Option<Run>) {
        self.newcomers
            .retain(|newcomer| newcomer.0 != member && newcomer.1 > now);
        self.newcomers.push((member, now + NEW_FOR));
        let was_here = self.left.iter().any(|left| Some(*left) == who);
        let address = who.and_then(|who| who.address);
        (self.left).retain(|left| left.address.is_none() || left.address != address);
        let back = match was_here || !self.left.is_empty() {
            // It may hold what it was told of when it was here, even before it had started; or somebody who stood still, and
            // has not heard yet what was removed meanwhile, gives it what it holds.
            true => RECENT,
            false => UNDER_WAY,
        };
        self.missed(now, member, back);
    }

    /// A node of the map is gone, `who` if it was known as one.
    pub(super) fn member_gone(&mut self, member: MemberIndex, who: Option<Run>) {
        if let Some(who) = who.filter(|who| !self.left.contains(who)) {
            if self.left.len() >= LEFT_MAX {
                self.left.pop_front();
            }
            self.left.push_back(who);
        }
        self.newcomers.retain(|newcomer| newcomer.0 != member);
        self.missed.retain(|missed| missed.0 != member);
    }

    /// A member was away: what was sent to it then may not have reached it, or reach it still.
    pub(super) fn was_away(&mut self, now: Instant, member: MemberIndex) {
        self.missed(now, member, RECENT);
    }

    fn missed(&mut self, now: Instant, member: MemberIndex, back: Duration) {
        self.missed.retain(|missed| missed.0 != member);
        self.missed.push((member, now + TOLD_AFTER, back));
    }

    /// Whether an entry was removed and not put again.
    pub(super) fn knows(&self, key: &[u8]) -> bool {
        self.gone.get(key).is_some()
    }

    fn remember(&mut self, now: Instant, key: Bytes, mut gone: Gone) {
        if planted(Bug::RemovedForgotten) {
            return;
        }
        if let Some(known) = self.gone.get(&key) {
            gone.identity = gone.identity.or(known.identity);
            for said in known.said {
                gone.note(said);
            }
        }
        self.gone.remember(now, key, gone);
    }

    fn tell(&mut self, now: Instant, member: MemberIndex, key: Bytes, ours_only: bool) {
        if self.tells.len() < TELLS_MAX {
            let due = now + TOLD_AFTER;
            self.tells.push_back(Tell {
                due,
                member,
                key,
                ours_only,
            });
        }
    }
}

/// What tells the removed value from others, as one of ours says it to another.
fn said_identity(message: &MapMessage<'_>) -> Option<u64> {
    let identity = message.value?.try_into().ok()?;
    Some(u64::from_be_bytes(identity))
}

impl<V> ReplicatedMap<V> {
    /// Whether this node and a member know each other as ours.
    pub(super) fn are_ours(&self, out: &MapOut<'_>, member: MemberIndex) -> bool {
        is_ours(&self.local.payload) && out.channel.is_ours(member)
    }

    /// The same of the sender of a message.
    pub(super) fn is_from_ours(&self, sender: &Member) -> bool {
        is_ours(&self.local.payload) && is_ours(&sender.payload)
    }

    /// A message has not been taken by these: if it was about a removal they are told again.
    pub(super) fn removal_missed<T>(
        &mut self,
        now: Instant,
        key: &Bytes,
        faulty: &[(MemberIndex, T)],
    ) {
        if self.departed.knows(key) {
            for (member, _) in faulty {
                self.departed.tell(now, *member, key.clone(), true);
            }
        }
    }

    /// An entry was removed, here or by `by`. Whoever was given it in the meantime, and may hear of it from nobody else, is told.
    fn entry_removed<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        entry: &MapEntry<V>,
        by: Option<MemberIndex>,
    ) {
        let mut gone = Gone {
            at: now,
            identity: entry.value.as_ref().and_then(|value| owner.identity(value)),
            lane: entry.lane,
            said: [None; SAID_MAX],
        };
        gone.note(by);
        self.departed.remember(now, entry.key.clone(), gone);
        // Somebody waits for it in vain.
        if entry.fetch.is_some_and(|fetch| fetch.take_over) {
            owner.fetched(&entry.key, false);
        }
    }

    /// Removes an entry here and everywhere; gives the message that tells the others, and the value if it was here.
    pub fn remove<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &[u8],
    ) -> Option<(Option<UniqueId>, Option<V>)> {
        let entry = self.entries.remove(key)?;
        self.entry_removed(now, owner, &entry, None);
        self.encode_removal(out, key);
        let options = self.config.map_send_options;
        // Our own nodes say whether they have got it, even if nobody asked for that: what is missed here nobody misses.
        let surely = options.union(SendOptions::USE_ACK);
        let (ours, others): (Vec<_>, Vec<_>) = match options == surely {
            true => (self.members().collect(), Vec::new()),
            false => (self.members()).partition(|member| self.are_ours(out, *member)),
        };
        let mut sent = None;
        for (all, options) in [(ours, surely), (others, options)] {
            let mut reached = all.clone();
            if let Some(id) = send_to(now, out, &mut reached, entry.lane, options) {
                sent = Some(id);
                if options == surely {
                    self.watch_acked(id, &entry.key);
                }
            }
            for member in all.into_iter().filter(|member| !reached.contains(member)) {
                self.departed.tell(now, member, entry.key.clone(), true);
            }
        }
        let value = entry.value.filter(|_| entry.state.is_active());
        Some((sent, value))
    }

    fn encode_removal(&self, out: &mut MapOut<'_>, key: &[u8]) {
        let message = MapMessage {
            key: Some(key),
            ..MapMessage::new(MapMessageType::Remove, &self.map_id)
        };
        out.buffer.clear();
        message.write(out.buffer);
    }

    /// A key that may have been somebody's before is about to be put: our own nodes hear first that what was there is no more,
    /// and so that what follows was put in knowledge of it.
    pub(crate) fn make_way(&mut self, now: Instant, out: &mut MapOut<'_>, key: &[u8], lane: u64) {
        self.departed.gone.recall(key);
        let ours = |member: &MemberIndex| self.are_ours(out, *member);
        let ours: Vec<_> = self.members().filter(ours).collect();
        if !ours.is_empty() {
            self.encode_removal(out, key);
            self.send(now, out, &ours, lane);
        }
    }

    /// Another node says that an entry is no more: because it has removed it, or, if it is one of ours and says so with a primary, because it
    /// knows of somebody who has. `ours` says whether it is one of ours.
    pub(super) fn removal_came<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: Option<MemberIndex>,
        ours: bool,
        key: &[u8],
        message: &MapMessage<'_>,
    ) {
        let hearsay = ours && message.primary.is_some();
        let said = said_identity(message).filter(|_| hearsay);
        if hearsay
            && let Some(entry) = self.entries.get(key)
            && self.is_newer(owner, entry, from, said)
        {
            if entry.state == EntryState::Primary
                && let Some(from) = from
                && self.departed.contests.len() < TELLS_MAX
            {
                self.departed.contests.push_back((from, entry.key.clone()));
            }
            return;
        }
        let Some(entry) = self.entries.remove(key) else {
            if let Some(gone) = self.departed.gone.get_mut(key) {
                gone.identity = gone.identity.or(said);
                gone.note(from);
                return;
            }
            let mut gone = Gone {
                at: now,
                identity: said,
                lane: crate::session::lane(key),
                said: [None; SAID_MAX],
            };
            gone.note(from);
            self.departed
                .remember(now, Bytes::copy_from_slice(key), gone);
            return;
        };
        self.entry_removed(now, owner, &entry, from);
        self.pass_on(now, &entry, from);
        let hidden = !entry.state.is_active();
        if let Some(value) = entry.value.filter(|_| !hidden) {
            owner.removed(&entry.key, value, Removal::ByPeer);
        }
    }

    /// Who was its primary until now may have told others of it just before, and everybody may have told somebody who is new.
    fn pass_on(&mut self, now: Instant, entry: &MapEntry<V>, from: Option<MemberIndex>) {
        let departed = &mut self.departed;
        departed.newcomers.retain(|newcomer| newcomer.1 > now);
        for at in 0..departed.newcomers.len() {
            if let Some(&(newcomer, _)) = departed.newcomers.get(at)
                && Some(newcomer) != from
            {
                departed.tell(now, newcomer, entry.key.clone(), false);
            }
        }
        if entry.state == EntryState::Primary {
            for (member, _) in &self.members {
                if Some(*member) != from {
                    departed.tell(now, *member, entry.key.clone(), true);
                }
            }
        }
    }

    /// Whether an entry here is another one than that of which `from` says that it was removed.
    fn is_newer<O: MapOwner<Value = V>>(
        &self,
        owner: &O,
        entry: &MapEntry<V>,
        from: Option<MemberIndex>,
        said: Option<u64>,
    ) -> bool {
        // Its primary knows.
        if from.is_some() && entry.primary == from.map(Who::Member) {
            return false;
        }
        let here = entry.value.as_ref().and_then(|value| owner.identity(value));
        match (said, here) {
            (Some(said), Some(here)) => said != here,
            _ => !self.config.keys_are_unique,
        }
    }

    /// Whether what another node says of an entry may be taken: not if the entry was removed, unless the node has put it again
    /// since. It has if it said itself that it was removed, and then this, in that order; or if the value is another. `listed`: it is part
    /// of a list, which keeps no order with anything. Who does not know of the removal is told.
    pub(super) fn admits<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        from: Option<MemberIndex>,
        ours: bool,
        listed: bool,
        message: &MapMessage<'_>,
    ) -> bool {
        let key = message.key.unwrap_or_default();
        let Some(gone) = self.departed.gone.get(key) else {
            return true;
        };
        let (said, before) = (from.is_some_and(|from| gone.said_by(from)), gone.identity);
        let creates = matches!(
            message.kind(),
            Some(MapMessageType::Backup | MapMessageType::Copy | MapMessageType::Proxy)
        );
        let value = message.value.filter(|_| creates);
        let key = Bytes::copy_from_slice(key);
        let read = |value| owner.read(&key, value, None).ok();
        let now_it_is = value.and_then(read);
        let now_it_is = now_it_is.and_then(|value| owner.identity(&value));
        let other = |(before, now_it_is)| before != now_it_is;
        let known = before.zip(now_it_is);
        let admitted = creates
            && match (listed, self.config.keys_are_unique) {
                (false, _) if said => true,
                // A Tomcat that puts a key again, as when a session gets an old id back, says nothing but the value.
                (false, _) if !ours => {
                    value.is_some() || message.kind() == Some(MapMessageType::Proxy)
                }
                (false, false) => false,
                _ => known.is_some_and(other),
            };
        if admitted {
            self.departed.gone.recall(&key[..]);
            return true;
        }
        self.stats.departed_refused = self.stats.departed_refused.wrapping_add(1);
        if let Some(from) = from.filter(|_| !said) {
            // A Tomcat may have made it anew, if it cannot be told from what was removed.
            let ours_only = known.is_none_or(other);
            self.departed.tell(now, from, key, ours_only);
        }
        false
    }

    /// Tells those who are to be told.
    pub(super) fn tell_removals<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
    ) {
        self.departed.gone.forget_old(now);
        while let Some(at) = (self.departed.missed.iter()).position(|missed| missed.1 <= now) {
            let (member, _, back) = self.departed.missed.swap_remove(at);
            if !self.are_ours(out, member) {
                continue;
            }
            let all = self.departed.gone.after(now, 0).rev();
            let recent = all.take_while(|(.., gone)| now.since(gone.at) <= back);
            let recent: Vec<Bytes> = recent.map(|(_, key, ..)| key.clone()).collect();
            for key in recent {
                self.departed.tell(now, member, key, true);
            }
        }
        self.departed.behind = true;
        for _ in 0..TOLD_AT_ONCE {
            if (self.departed.tells.front()).is_none_or(|tell| tell.due > now) {
                self.departed.behind = false;
                break;
            }
            let Some(tell) = self.departed.tells.pop_front() else {
                break;
            };
            self.tell_removal(now, out, &tell);
        }
        for _ in 0..TOLD_AT_ONCE {
            let Some((member, key)) = self.departed.contests.pop_front() else {
                break;
            };
            self.contest(now, out, owner, &key, member);
        }
    }

    /// Tells a member what was removed.
    fn tell_removal(&mut self, now: Instant, out: &mut MapOut<'_>, tell: &Tell) {
        let Some(gone) = self.departed.gone.get(&tell.key) else {
            return;
        };
        let ours = self.are_ours(out, tell.member);
        let here = self.members.iter().any(|member| member.0 == tell.member);
        if gone.said_by(tell.member)
            || !here
            || (tell.ours_only && !ours)
            || planted(Bug::RemovalUntold)
        {
            return;
        }
        let local = block_of(&self.local);
        let identity = gone.identity.map(u64::to_be_bytes);
        let lane = gone.lane;
        let mut message = MapMessage {
            key: Some(&tell.key),
            ..MapMessage::new(MapMessageType::Remove, &self.map_id)
        };
        if ours {
            message.primary = Some(Cow::from(&local));
            message.value = identity.as_ref().map(<[u8; 8]>::as_slice);
        }
        out.buffer.clear();
        message.write(out.buffer);
        let options = self.config.map_send_options;
        let options = match ours {
            true => options.union(SendOptions::USE_ACK),
            false => options,
        };
        match send_to(now, out, &mut alloc::vec![tell.member], lane, options) {
            Some(sent) => {
                self.stats.departed_told = self.stats.departed_told.wrapping_add(1);
                if options.contains(SendOptions::USE_ACK) {
                    self.watch_acked(sent, &tell.key);
                }
            }
            None => (self.departed).tell(now, tell.member, tell.key.clone(), tell.ours_only),
        }
    }

    /// A member takes an entry of ours for removed that has been put since: it hears of both, in this order.
    fn contest<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        member: MemberIndex,
    ) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        if entry.state != EntryState::Primary || !self.are_ours(out, member) {
            return;
        }
        let (lane, keeps) = (entry.lane, entry.nodes.contains(&Who::Member(member)));
        self.encode_removal(out, key);
        self.send(now, out, &[member], lane);
        if self.config.kind == MapKind::Lazy && keeps {
            self.publish(now, out, owner, key, Some(member));
        } else {
            self.tell_one(now, out, owner, key, member);
        }
    }
}
