//! Making the sessions of our own nodes equal after a partition, a crash or a loss: something no Tomcat does.
//!
//! A manager *compares* with a member: it asks for what has ended and for digests of the sessions there, a page at a time,
//! fetches what differs field by field, and keeps the newer of each two ([`Stamp`](super::Stamp)). When both sides have compared,
//! they are equal. One comparison runs at a time, each message is bounded, and whoever asks again and again only
//! makes his own question the latest.

mod answer;
mod compare;
mod merge;
mod wire;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use compare::Comparison;
pub(crate) use wire::ITEMS_MAX;
pub use wire::{
    Cursor, Ended, EndedHow, Known, KnownField, RECONCILE_MAGIC, ReconcileBody, ReconcileMessage,
    Stage, Told, ToldField, ToldSession, ToldValue,
};

use super::{Cx, DeltaManager, Out};
use crate::channel::{Lane, MemberIndex, SendError, SendOptions, To};
use crate::time::Instant;

/// What is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Only what was used or ended within so long; `None` for everything.
    pub(crate) within: Option<Duration>,
    /// Whether the other is to compare, too.
    pub(crate) mutual: bool,
}

impl Wanted {
    /// Everything, in both directions: nobody knows what happened.
    pub(crate) const EVERYTHING: Self = Self {
        within: None,
        mutual: true,
    };

    /// What a lost message or a crash a moment ago can have touched, in both directions.
    pub(crate) const RECENT: Self = Self {
        within: Some(Duration::from_secs(120)),
        mutual: true,
    };

    fn and(self, other: Self) -> Self {
        let within = self.within.zip(other.within);
        Self {
            within: within.map(|(a, b)| a.max(b)),
            mutual: self.mutual || other.mutual,
        }
    }
}

/// What is under way is given this time to arrive before it is looked for.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// A comparison that is to begin.
#[derive(Clone, Debug)]
struct Wish {
    due: Instant,
    member: MemberIndex,
    wanted: Wanted,
}

/// Comparisons to begin, under way, and asked for by others.
#[derive(Clone, Debug)]
pub(crate) struct Reconcile {
    wishes: Vec<Wish>,
    current: Option<Comparison>,
    /// Questions of others; one of each kind and member.
    asked: VecDeque<(MemberIndex, ReconcileMessage)>,
    /// Members of ours that everything was compared with since they are members.
    met: Vec<MemberIndex>,
    /// When to compare recent changes with all.
    all_at: Option<Instant>,
    /// When to compare with the next member without a reason.
    round_at: Instant,
    rounds: usize,
    serial: u32,
}

/// Comparisons that wait: more members than a channel has.
const WISHES_MAX: usize = 8192;

/// Questions that wait: who is not answered asks again.
const ASKED_MAX: usize = 64;

/// Answers given in one call.
const BUDGET: usize = 2;

impl Reconcile {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            wishes: Vec::new(),
            current: None,
            asked: VecDeque::new(),
            met: Vec::new(),
            all_at: None,
            round_at: now,
            rounds: 0,
            serial: 0,
        }
    }

    /// A comparison with a member is due at `due`, or before if it was wished before.
    pub(crate) fn wish(&mut self, due: Instant, member: MemberIndex, wanted: Wanted) {
        let full = self.wishes.len() >= WISHES_MAX;
        if wanted.within.is_none() && !self.met.contains(&member) && self.met.len() < WISHES_MAX {
            self.met.push(member);
        }
        match self.wishes.iter_mut().find(|wish| wish.member == member) {
            Some(wish) => {
                wish.due = wish.due.min(due);
                wish.wanted = wish.wanted.and(wanted);
            }
            None if !full => self.wishes.push(Wish {
                due,
                member,
                wanted,
            }),
            None => {}
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.wishes.iter().any(|wish| wish.due <= now)
    }

    /// A comparison of recent changes with all members is due soon.
    pub(crate) fn wish_all(&mut self, now: Instant) {
        self.all_at.get_or_insert(now + SOON);
    }

    /// Everything is to be compared with everybody.
    fn meet_again(&mut self, now: Instant) {
        self.met.clear();
        self.round_at = now;
    }

    pub(crate) fn forget(&mut self, member: MemberIndex) {
        self.wishes.retain(|wish| wish.member != member);
        self.asked.retain(|(from, _)| *from != member);
        self.met.retain(|met| *met != member);
        self.current.take_if(|current| current.member == member);
    }

    fn ask(&mut self, from: MemberIndex, message: ReconcileMessage) {
        let kind = core::mem::discriminant(&message.body);
        self.asked
            .retain(|(other, old)| *other != from || core::mem::discriminant(&old.body) != kind);
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((from, message));
    }
}

impl DeltaManager {
    /// Whether a comparison is under way or due: for tests and statistics.
    pub fn is_reconciling(&self) -> bool {
        self.reconcile.current.is_some() || !self.reconcile.wishes.is_empty()
    }

    /// Whether comparisons are made at all.
    pub(crate) fn reconciles(&self) -> bool {
        !self.config.reconcile_interval.is_zero()
    }

    /// A message of another manager of this name, on one of our nodes.
    pub(crate) fn reconcile_received(
        &mut self,
        cx: &mut Cx<'_>,
        from: MemberIndex,
        message: ReconcileMessage,
    ) {
        if !self.reconciles() {
            return;
        }
        match message.body {
            ReconcileBody::Ask {
                mutual,
                within_ms,
                cursor,
            } => {
                let begin = cursor.stage == Stage::Ended && cursor.position == 0;
                if mutual && begin {
                    let within = (within_ms != u32::MAX)
                        .then(|| Duration::from_millis(u64::from(within_ms)));
                    let wanted = Wanted {
                        within,
                        mutual: false,
                    };
                    self.reconcile.wish(cx.now, from, wanted);
                }
                self.reconcile.ask(from, message);
            }
            ReconcileBody::Fetch { .. } => self.reconcile.ask(from, message),
            ReconcileBody::Page {
                next,
                ended,
                digests,
            } => self.page_received(cx, from, message.serial, next, ended, &digests),
            ReconcileBody::Sessions { sessions } => {
                self.sessions_received(cx, from, message.serial, sessions);
            }
        }
    }

    /// A member may have become one of ours without having been met.
    fn meet(&mut self, now: Instant, out: &Out<'_>) {
        if !self.reconciles() || !self.join.is_ready() {
            return;
        }
        for (member, _) in out.channel.members() {
            if out.channel.is_ours(member) && !self.reconcile.met.contains(&member) {
                self.reconcile.wish(now, member, Wanted::EVERYTHING);
            }
        }
    }

    /// The state of the cluster is here: what it did not tell is to be found out.
    pub(crate) fn meet_again(&mut self, now: Instant) {
        self.reconcile.meet_again(now);
    }

    /// Does what is due, a bounded part of it.
    pub(crate) fn pump_reconcile(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        if !self.reconciles() {
            return;
        }
        for _ in 0..BUDGET {
            let Some((from, question)) = self.reconcile.asked.pop_front() else {
                break;
            };
            self.answer(cx, out, from, question);
        }
        // Until the state is here, it is what is waited for.
        if !self.join.is_ready() {
            return;
        }
        if self.reconcile.all_at.is_some_and(|at| at <= cx.now) {
            self.reconcile.all_at = None;
            for (member, _) in out.channel.members() {
                self.reconcile.wish(cx.now, member, Wanted::RECENT);
            }
        }
        if self.reconcile.round_at <= cx.now {
            self.round(cx.now, out);
        }
        self.compare(cx, out);
        // One that could not begin makes room for the next that is due.
        while self.reconcile.current.is_none() && self.reconcile.is_due(cx.now) {
            self.compare(cx, out);
        }
    }

    /// Compares with one member after the other without a reason: nobody may have noticed a loss.
    fn round(&mut self, now: Instant, out: &Out<'_>) {
        let interval = self.config.reconcile_interval;
        self.reconcile.round_at = now + interval;
        self.meet(now, out);
        let ours = out.channel.members().map(|(member, _)| member);
        let ours: Vec<_> = ours.filter(|member| out.channel.is_ours(*member)).collect();
        self.reconcile.rounds = self.reconcile.rounds.wrapping_add(1);
        let turn = self.reconcile.rounds.checked_rem(ours.len());
        if let Some(member) = turn.and_then(|turn| ours.get(turn)) {
            let turns = u32::try_from(ours.len()).unwrap_or(u32::MAX);
            let whole_round = interval.saturating_mul(turns.saturating_add(1));
            let wanted = Wanted {
                within: Some(whole_round.saturating_add(Duration::from_secs(60))),
                mutual: false,
            };
            self.reconcile.wish(now, *member, wanted);
        }
    }

    /// When [`pump_reconcile`](Self::pump_reconcile) has something to do; a time in the past for at once.
    pub(crate) fn reconcile_deadline(&self) -> Option<Instant> {
        if !self.reconciles() {
            return None;
        }
        let reconcile = &self.reconcile;
        if !reconcile.asked.is_empty() {
            return Some(Instant::ZERO);
        }
        if !self.join.is_ready() {
            return None;
        }
        let wished = match &reconcile.current {
            Some(current) => Some(current.deadline()),
            None => reconcile.wishes.iter().map(|wish| wish.due).min(),
        };
        [wished, reconcile.all_at, Some(reconcile.round_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sends a message to a manager of our own kind.
    fn tell_ours(
        &self,
        cx: &Cx<'_>,
        out: &mut Out<'_>,
        to: MemberIndex,
        serial: u32,
        body: ReconcileBody,
    ) -> Result<(), SendError> {
        // Whoever it is: only our own nodes understand it.
        if !out.channel.is_ours(to) {
            return Err(SendError::NoSuchMember(to));
        }
        let message = ReconcileMessage {
            context_name: self.name.clone(),
            serial,
            body,
        };
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let options = SendOptions::ASYNCHRONOUS;
        let body = bytes::Bytes::from(bytes);
        out.channel
            .send(cx.now, To::Member(to), options, Lane::Any, body)
            .map(drop)
    }
}
