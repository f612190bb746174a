//! What everybody sent, got and was told, kept outside of all nodes so that no crash loses it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Parcel, Promise};

/// A ledger that all nodes of a world write into.
pub type SharedLedger = Rc<RefCell<Ledger>>;

/// A rule.
const LANE_ORDER: &str = "a lane keeps its order";

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
    /// The destinations.
    pub to: Vec<u16>,
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
    last: BTreeMap<(Life, Life, u32), u64>,
    /// Messages handed over in all.
    pub deliveries: u64,
    /// Messages handed over again.
    pub repeats: u64,
    /// Whether a layer of the receivers, as `OrderInterceptor`, may acknowledge a message and hand it over later.
    pub held_back: bool,
    /// Whether processes are held up that are spoken to over several connections: what was given up on one may then come
    /// after what is newer.
    pub unordered: bool,
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
            deliveries: 0,
            repeats: 0,
            taken_by_tomcats: 0,
            has_liar: false,
            honest: u16::MAX,
            held_back: false,
            unordered: false,
        }
    }
}

impl Entry {
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
    /// A message was accepted by the sender's channel.
    pub fn sent(&mut self, parcel: Parcel, promise: Promise, sent_at: u64, to: Vec<u16>) {
        let entry = Entry {
            promise,
            sent_at,
            to,
            received: BTreeMap::new(),
            processed: BTreeSet::new(),
            outcome: Outcome::Open,
        };
        self.entries.insert(parcel, entry);
    }

    /// A message was handed to an application, which processed it or failed to.
    ///
    /// # Errors
    /// The rule that this breaks, and how.
    pub fn received(
        &mut self,
        by: Life,
        parcel: Parcel,
        processed: bool,
    ) -> Result<(), (&'static str, String)> {
        let has_liar = self.has_liar;
        match self.take(by, parcel, processed) {
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
    ) -> Result<(), (&'static str, String)> {
        self.taken_by_tomcats += 1;
        let unordered = parcel.lane == 0;
        match self.received(by, parcel, true) {
            Err((LANE_ORDER, _)) if unordered => Ok(()),
            result => result,
        }
    }

    fn take(
        &mut self,
        by: Life,
        parcel: Parcel,
        processed: bool,
    ) -> Result<(), (&'static str, String)> {
        self.deliveries += 1;
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
        let count = entry.received.entry(by).or_default();
        *count += 1;
        let first = *count == 1;
        if processed {
            entry.processed.insert(by);
        }
        if !first {
            self.repeats += 1;
            // What was under way on a lost connection is sent again: Tribes' contract.
            return Ok(());
        }
        // An acknowledged message on no lane in particular may overtake others.
        if self.unordered || (parcel.lane == 0 && entry.promise != Promise::Queued) {
            return Ok(());
        }
        let lane = (by, (parcel.from, parcel.boot), parcel.lane);
        let last = self.last.entry(lane).or_default();
        if parcel.number <= *last {
            let what = format!("{parcel:?} after number {last}");
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
        if let Some(node) = owing.find(|node| !entry.kept_by(**node) && !self.held_back) {
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

    /// Destinations that acknowledged a message and do not have it: none, at any time, unless layers hold messages back.
    pub fn owing(&self) -> impl Iterator<Item = (&Parcel, u16)> {
        self.entries.iter().flat_map(|(parcel, entry)| {
            let faulty = match &entry.outcome {
                Outcome::Open => &entry.to,
                Outcome::Acknowledged => &Vec::new(),
                Outcome::Faulty(faulty) => faulty,
            };
            let told = entry.to.iter().filter(|node| !faulty.contains(node));
            let owing = told.filter(|node| !entry.kept_by(**node));
            owing.map(|node| (parcel, *node)).collect::<Vec<_>>()
        })
    }

    /// One message.
    pub fn entry(&self, parcel: &Parcel) -> Option<&Entry> {
        self.entries.get(parcel)
    }
}
