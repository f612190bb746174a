//! What everybody sent, got and was told, kept outside of all nodes so that no crash loses it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Parcel, Promise};

/// A ledger that all nodes of a world write into.
pub type SharedLedger = Rc<RefCell<Ledger>>;

/// A rule.
const LANE_ORDER: &str = "a lane keeps its order";

/// What the interceptors of all nodes change about what a message may count on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// `OrderInterceptor`: what came too early waits, acknowledged, until it is handed over at the latest after `expire`.
    pub holds_back: bool,
    /// It sees messages in the order of sending: nothing above it sends them later.
    pub orders: bool,
    /// `TwoPhaseCommitInterceptor`: a message counts when its sender confirms it.
    pub confirms: bool,
    /// Messages come in several parts, and a member that dies between two has acknowledged what it never had whole.
    pub gathers: bool,
    /// `EncryptInterceptor`: a repeat is known for one.
    pub remembers: bool,
}

/// One life of one node: which node, and how often it had started before.
pub type Life = (u16, u32);

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody has said yet.
    #[default]
    Open,
    /// All destinations acknowledged it.
    Acknowledged,
    /// These may not have it, the others acknowledged it.
    Faulty(Vec<u16>),
}

/// One message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it was sent with.
    pub promise: Promise,
    /// Virtual time of sending, by the sender's clock, nanoseconds.
    pub sent_at: u64,
    /// The how-manieth of its sender's life it is, on any lane.
    pub order: u64,
    /// Its bytes.
    pub len: usize,
    /// The destinations.
    pub to: Vec<u16>,
    /// The lives that they had then, as far as they are ours.
    lives: Vec<Option<u32>>,
    /// The lives it was handed to, and how often each.
    pub received: BTreeMap<Life, u32>,
    /// The lives that processed it.
    pub processed: BTreeSet<Life>,
    /// What the sender was told.
    pub outcome: Outcome,
}

/// What everybody sent, got and was told.
#[derive(Debug)]
pub struct Ledger {
    entries: BTreeMap<Parcel, Entry>,
    /// The last first-time number a life got from another's lane.
    last: BTreeMap<(Life, Life, u32, u64), u64>,
    /// The furthest that a life got of what another has sent on all lanes.
    furthest: BTreeMap<(Life, Life), u64>,
    /// The present, or last, life of each node of ours.
    lives: BTreeMap<u16, u32>,
    /// Which nodes have at some time missed which others.
    missed: BTreeSet<(u16, u16)>,
    /// Messages that each life has sent.
    sent: BTreeMap<Life, u64>,
    /// Messages handed over in all.
    pub deliveries: u64,
    /// Messages handed over again.
    pub repeats: u64,
    /// What the interceptors change.
    pub layers: Layers,
    /// Whether all messages to a member use one connection, also those on no lane in particular.
    pub one_connection: bool,
    /// A message was handed over after one that had been sent later, on whatever lane.
    pub overtaken: Option<String>,
    /// Whether processes are held up that are spoken to over several connections: what was given up on one may then come
    /// after what is newer.
    pub unordered: bool,
    /// Whether Tomcats stand still: what was given up on one connection they may read after what is newer.
    pub tomcats_stand_still: bool,
    /// Messages that Tomcats took.
    pub taken_by_tomcats: u64,
    /// Whether somebody says what nobody sent: then nothing can be concluded from what comes.
    pub has_liar: bool,
    /// From this node on nobody's word counts.
    pub honest: u16,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            last: BTreeMap::new(),
            furthest: BTreeMap::new(),
            lives: BTreeMap::new(),
            missed: BTreeSet::new(),
            sent: BTreeMap::new(),
            deliveries: 0,
            repeats: 0,
            tomcats_stand_still: false,
            taken_by_tomcats: 0,
            has_liar: false,
            honest: u16::MAX,
            layers: Layers::default(),
            one_connection: false,
            overtaken: None,
            unordered: false,
        }
    }
}

impl Entry {
    /// Whether a destination has started anew since this was sent.
    fn has_died(&self, node: u16, lives: &BTreeMap<u16, u32>) -> bool {
        let at = self.to.iter().position(|to| *to == node);
        let then = at.and_then(|at| self.lives.get(at).copied().flatten());
        then != lives.get(&node).copied()
    }

    /// Whether `node` has what the message promised.
    pub fn kept_by(&self, node: u16) -> bool {
        let theirs = |life: &Life| life.0 == node;
        match self.promise {
            Promise::Queued => true,
            Promise::Received => self.received.keys().any(theirs),
            Promise::Processed => self.processed.iter().any(theirs),
        }
    }
}

impl Ledger {
    /// A node of ours has started.
    pub fn born(&mut self, (node, life): Life) {
        self.lives.insert(node, life);
    }

    /// A node counts another one no longer as a member: it drops what it has of it and has not whole.
    pub fn missed(&mut self, by: u16, other: u16) {
        self.missed.insert((by, other));
    }

    /// A message of `len` bytes was accepted by the sender's channel.
    pub fn sent(
        &mut self,
        parcel: Parcel,
        promise: Promise,
        sent_at: u64,
        len: usize,
        to: Vec<u16>,
    ) {
        let order = self.sent.entry((parcel.from, parcel.boot)).or_default();
        *order += 1;
        let entry = Entry {
            promise,
            sent_at,
            order: *order,
            len,
            lives: to.iter().map(|to| self.lives.get(to).copied()).collect(),
            to,
            received: BTreeMap::new(),
            processed: BTreeSet::new(),
            outcome: Outcome::Open,
        };
        self.entries.insert(parcel, entry);
    }

    /// A message of `len` bytes was handed to an application, which processed it or failed to.
    ///
    /// # Errors
    /// The rule that this breaks, and how.
    pub fn received(
        &mut self,
        by: Life,
        parcel: Parcel,
        len: usize,
        processed: bool,
    ) -> Result<(), (&'static str, String)> {
        let has_liar = self.has_liar;
        match self.take(by, parcel, len, processed) {
            Err(_) if has_liar => Ok(()),
            result => result,
        }
    }

    /// A Tomcat's application took a message. What was sent without ACK it may work off in any order.
    ///
    /// # Errors
    /// As [`received`](Self::received).
    pub(crate) fn taken_by_tomcat(
        &mut self,
        by: Life,
        parcel: Parcel,
        len: usize,
    ) -> Result<(), (&'static str, String)> {
        self.taken_by_tomcats += 1;
        let unordered = parcel.lane == 0 || self.tomcats_stand_still;
        match self.received(by, parcel, len, true) {
            Err((LANE_ORDER, _)) if unordered => Ok(()),
            result => result,
        }
    }

    fn take(
        &mut self,
        by: Life,
        parcel: Parcel,
        len: usize,
        processed: bool,
    ) -> Result<(), (&'static str, String)> {
        self.deliveries += 1;
        let Layers {
            orders,
            confirms,
            remembers,
            ..
        } = self.layers;
        let Some(entry) = self.entries.get_mut(&parcel) else {
            return Err((
                "nothing comes from nowhere",
                format!("{parcel:?} was never sent"),
            ));
        };
        if !entry.to.contains(&by.0) {
            return Err((
                "a message reaches its destinations only",
                format!("{parcel:?} at n{}", by.0),
            ));
        }
        if len != entry.len {
            let what = format!("{parcel:?} came with {len} bytes of {}", entry.len);
            return Err(("a message arrives whole", what));
        }
        let count = entry.received.entry(by).or_default();
        *count += 1;
        let first = *count == 1;
        if !first && remembers && entry.processed.contains(&by) {
            let what = format!("{parcel:?} came again");
            return Err(("what is encrypted is taken once", what));
        }
        if processed {
            entry.processed.insert(by);
        }
        if !first {
            self.repeats += 1;
            // What was under way on a lost connection is sent again: Tribes' contract.
            return Ok(());
        }
        let sender = (parcel.from, parcel.boot);
        // Who has missed us counts anew, and what it had sent before may have any number.
        let agree = !self.missed.contains(&(parcel.from, by.0));
        if orders && agree && !self.has_liar {
            let furthest = self.furthest.entry((by, sender)).or_default();
            if entry.order < *furthest {
                let what = format!("{parcel:?}, the {}th, after the {furthest}th", entry.order);
                self.overtaken.get_or_insert(what);
            }
            *furthest = entry.order.max(*furthest);
        }
        // An acknowledged message on no lane in particular may overtake others.
        if self.unordered || (parcel.lane == 0 && entry.promise != Promise::Queued) {
            return Ok(());
        }
        // What is confirmed keeps its order among what is confirmed by the same members in the same way.
        let alike = match confirms {
            true if parcel.lane == 0 && !self.one_connection => return Ok(()),
            // Whether somebody hostile was to confirm one of them and not the other is not written down here.
            true if self.has_liar => return Ok(()),
            true => alike(entry.promise == Promise::Queued, &entry.to),
            false => 0,
        };
        let lane = (by, sender, parcel.lane, alike);
        let last = self.last.entry(lane).or_default();
        if parcel.number <= *last {
            let what = format!("{parcel:?} after number {last}");
            // The layer says whether it could not keep it.
            if self.layers.holds_back {
                self.overtaken = self.overtaken.take().or(agree.then_some(what));
                return Ok(());
            }
            return Err((LANE_ORDER, what));
        }
        *last = parcel.number;
        Ok(())
    }

    /// The sender was told what became of a message.
    ///
    /// # Errors
    /// The rule that this breaks, and how.
    pub fn settled(
        &mut self,
        parcel: Parcel,
        faulty: Vec<u16>,
    ) -> Result<(), (&'static str, String)> {
        let Some(entry) = self.entries.get_mut(&parcel) else {
            return Err((
                "nothing comes from nowhere",
                format!("{parcel:?} was settled, not sent"),
            ));
        };
        if entry.outcome != Outcome::Open {
            return Err(("a message is settled once", format!("{parcel:?} again")));
        }
        let mut owing = entry.to.iter().filter(|node| !faulty.contains(node));
        // What is held back it has; when that is to be handed over is asked later.
        let holds_back = self.layers.holds_back;
        let (gathers, lives, missed) = (self.layers.gathers, &self.lives, &self.missed);
        // The rest of what was dropped is refused, which only an answer after processing can tell.
        let dropped =
            |node| entry.promise == Promise::Received && missed.contains(&(node, parcel.from));
        let excused =
            |node: u16| holds_back || (gathers && (entry.has_died(node, lives) || dropped(node)));
        if let Some(node) = owing.find(|node| !entry.kept_by(**node) && !excused(**node)) {
            let what = format!("n{node} acknowledged {parcel:?} without having it");
            return Err(("an ACK only after what it promises", what));
        }
        entry.outcome = match faulty.is_empty() {
            true => Outcome::Acknowledged,
            false => Outcome::Faulty(faulty),
        };
        Ok(())
    }

    /// All messages, in order of sender, life, lane and number.
    pub fn entries(&self) -> impl Iterator<Item = (&Parcel, &Entry)> {
        self.entries.iter()
    }

    /// Destinations that acknowledged a message, live on and do not have it: none, at any time, unless layers hold messages
    /// back. What was held back may have failed when it was handed over at last.
    pub fn owing(&self) -> impl Iterator<Item = (&Parcel, u16)> {
        self.entries.iter().flat_map(|(parcel, entry)| {
            let faulty = match &entry.outcome {
                Outcome::Open => &entry.to,
                Outcome::Acknowledged => &Vec::new(),
                Outcome::Faulty(faulty) => faulty,
            };
            let told = entry.to.iter().filter(|node| !faulty.contains(node));
            let handed = |node: u16| entry.received.keys().any(|life| life.0 == node);
            let has_it = |node: u16| {
                entry.kept_by(node)
                    || (self.layers.holds_back && handed(node))
                    || entry.has_died(node, &self.lives)
                    || (self.layers.gathers && self.missed.contains(&(node, parcel.from)))
            };
            let owing = told.filter(|node| !has_it(**node));
            owing.map(|node| (parcel, *node)).collect::<Vec<_>>()
        })
    }

    /// One message.
    pub fn entry(&self, parcel: &Parcel) -> Option<&Entry> {
        self.entries.get(parcel)
    }
}

/// One number for messages that are confirmed in the same way to the same members.
fn alike(at_once: bool, to: &[u16]) -> u64 {
    let mut hash = 1 + u64::from(at_once);
    for node in to {
        hash = (hash ^ u64::from(*node) << 1).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
