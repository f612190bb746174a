//! What clients were told, as a plain list: who wrote what in knowledge of what, and who has it.

use std::collections::{BTreeMap, BTreeSet};

use folkmoot_core::channel::UniqueId;
use folkmoot_core::session::SessionId;

/// One life of one node: the node, and how often it had been started.
pub type Life = (u16, u32);

/// One write to an attribute, or its removal.
#[derive(Clone, Debug)]
struct Write {
    id: SessionId,
    name: String,
    number: u64,
    removes: bool,
    /// The value that the writer had before; 0 for none.
    base: u64,
    /// Lives that have it: the writer's, and those that have acknowledged it.
    holders: BTreeSet<Life>,
    /// Whether its request is over.
    completed: bool,
}

/// Everything that clients did to sessions.
#[derive(Debug, Default)]
pub struct Oracle {
    writes: Vec<Write>,
    /// The number of a write, by its place.
    places: BTreeMap<u64, usize>,
    /// For each id the one it came from.
    origins: BTreeMap<SessionId, SessionId>,
    /// Sessions that a client has ended, and the life that did it.
    ended: Vec<(SessionId, Life)>,
    /// Messages that are not settled: their sender, and the writes they carry.
    open: BTreeMap<(Life, UniqueId), Open>,
}

/// Writes under way, and where to: the slots of the members, and which lives they were.
#[derive(Debug, Default)]
struct Open {
    writes: Vec<u64>,
    to: Vec<(u16, Life)>,
}

/// The attributes of a session, by name the number of the write.
pub type Held = BTreeMap<String, u64>;

impl Oracle {
    /// A write, or a removal, of a request that still runs.
    pub fn wrote(
        &mut self,
        life: Life,
        id: &SessionId,
        name: &str,
        number: u64,
        removes: bool,
        base: u64,
    ) {
        self.places.insert(number, self.writes.len());
        self.writes.push(Write {
            id: id.clone(),
            name: name.to_owned(),
            number,
            removes,
            base,
            holders: BTreeSet::from([life]),
            completed: false,
        });
    }

    /// A request is over: what was written in the session by that life is in force, and under way as `message`.
    pub fn completed(
        &mut self,
        life: Life,
        id: &SessionId,
        message: Option<(UniqueId, Vec<(u16, Life)>)>,
    ) {
        let family = self.family(id);
        let mut numbers = Vec::new();
        for at in 0..self.writes.len() {
            let write = &self.writes[at];
            let open = !write.completed && write.holders.contains(&life);
            if open && self.family(&write.id) == family {
                self.writes[at].completed = true;
                numbers.push(self.writes[at].number);
            }
        }
        if let Some((message, to)) = message {
            let writes = numbers;
            self.open.insert((life, message), Open { writes, to });
        }
    }

    /// Messages that are not settled.
    pub fn unsettled(&self) -> Vec<(Life, UniqueId)> {
        self.open.keys().copied().collect()
    }

    /// A message is settled: all but those in the `faulty` slots have acknowledged it. `has_it` says of which lives that means that
    /// they have it now.
    pub fn acknowledged(
        &mut self,
        sender: Life,
        message: UniqueId,
        faulty: &[u16],
        has_it: impl Fn(Life, &SessionId) -> bool,
    ) {
        let Open { writes, to } = self.open.remove(&(sender, message)).unwrap_or_default();
        let by = to.iter().filter(|(slot, _)| !faulty.contains(slot));
        let by: Vec<Life> = by.map(|(_, life)| *life).collect();
        for number in writes {
            if let Some(write) = self
                .places
                .get(&number)
                .and_then(|at| self.writes.get_mut(*at))
            {
                let id = write.id.clone();
                let holders = by.iter().filter(|life| has_it(**life, &id));
                write.holders.extend(holders);
            }
        }
    }

    /// The sender is gone: nobody will hear what became of its message.
    pub fn forget(&mut self, sender: Life, message: UniqueId) {
        self.open.remove(&(sender, message));
    }

    /// A session has another id.
    pub fn renamed(&mut self, old: &SessionId, new: &SessionId) {
        // A session may get an id back: then the family is known already.
        if self.family(old) != self.family(new) {
            self.origins.insert(new.clone(), self.family(old));
        }
    }

    /// A client has ended a session.
    pub fn ended(&mut self, life: Life, id: &SessionId) {
        self.ended.push((id.clone(), life));
    }

    /// The first id of the session.
    fn family(&self, id: &SessionId) -> SessionId {
        let mut id = id;
        while let Some(origin) = self.origins.get(id) {
            id = origin;
        }
        id.clone()
    }

    /// Whether a write was made in knowledge of `older`.
    fn knew(&self, write: &Write, older: u64) -> bool {
        let mut base = write.base;
        while base > older {
            base = self.places.get(&base).map_or(0, |at| self.writes[*at].base);
        }
        base == older
    }

    /// What does not agree with the sessions that every node has in the end. `alive` are the lives that have lasted; with
    /// `expiring` sessions may have gone by themselves.
    pub fn verdict(
        &self,
        sessions: &BTreeMap<String, Held>,
        alive: &BTreeSet<Life>,
        expiring: bool,
    ) -> Option<(&'static str, String)> {
        let mut families: BTreeMap<SessionId, Vec<&Held>> = BTreeMap::new();
        for (id, held) in sessions {
            let id = SessionId::from(id.as_str());
            families.entry(self.family(&id)).or_default().push(held);
        }
        let ended: BTreeSet<SessionId> = self.ended.iter().map(|(id, _)| self.family(id)).collect();
        for (id, life) in &self.ended {
            if alive.contains(life) && sessions.contains_key(&id.to_string()) {
                return Some(("a session that has ended is nowhere", id.to_string()));
            }
        }
        for write in &self.writes {
            let family = self.family(&write.id);
            let lasts = write.completed && write.holders.iter().any(|life| alive.contains(life));
            if !lasts || ended.contains(&family) {
                continue;
            }
            let Some(held) = families.get(&family) else {
                if expiring {
                    continue;
                }
                let what = format!("{} with write {} is gone", write.id, write.number);
                return Some(("nothing that was acknowledged is dropped", what));
            };
            if !held.iter().any(|held| self.agrees(write, &family, held)) {
                let what = format!(
                    "write {} to {} of {} (before it {}): {held:?}",
                    write.number, write.name, write.id, write.base
                );
                return Some(("nothing that was acknowledged is dropped", what));
            }
        }
        None
    }

    /// Whether a session may be what it is after that write: it has it, or a later one, or one made without knowledge of it.
    fn agrees(&self, write: &Write, family: &SessionId, held: &Held) -> bool {
        match held.get(&write.name) {
            Some(last) => *last >= write.number || !self.knew(write, *last),
            None if write.removes => true,
            None => self.writes.iter().any(|other| {
                let same = other.removes && other.name == write.name;
                let later = other.number > write.number || write.base < other.number;
                same && later && self.family(&other.id) == *family
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = (0, 1);

    fn judged(oracle: &Oracle, held: &[(&str, u64)]) -> Option<&'static str> {
        let held = held
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        let sessions = BTreeMap::from([("S.b".to_owned(), held)]);
        let verdict = oracle.verdict(&sessions, &BTreeSet::from([LIFE]), false);
        verdict.map(|(rule, _)| rule)
    }

    #[test]
    fn only_a_later_or_an_unknown_write_may_win() {
        let (old, id) = (SessionId::from("S.a"), SessionId::from("S.b"));
        let mut oracle = Oracle::default();
        for (number, name, base, removes) in [
            (1, "x", 0, false),
            (2, "x", 1, false),
            (3, "x", 0, false),
            (4, "y", 0, false),
        ] {
            oracle.wrote(LIFE, &old, name, number, removes, base);
        }
        oracle.renamed(&old, &id);
        assert_eq!(judged(&oracle, &[]), None, "no request is over");
        oracle.completed(LIFE, &id, None);
        let dropped = Some("nothing that was acknowledged is dropped");
        #[rustfmt::skip]
        let cases: &[(&[(&str, u64)], _)] = &[
            (&[("x", 3), ("y", 4)], None),
            (&[("x", 2), ("y", 4)], None),
            (&[("x", 1), ("y", 4)], dropped),
            (&[("x", 3)],           dropped),
            (&[("y", 4)],           dropped),
        ];
        for (held, wanted) in cases {
            assert_eq!(judged(&oracle, held), *wanted, "{held:?}");
        }
        oracle.wrote(LIFE, &id, "y", 5, true, 4);
        oracle.completed(LIFE, &id, None);
        assert_eq!(judged(&oracle, &[("x", 3)]), None);
        assert_eq!(judged(&oracle, &[("x", 3), ("y", 4)]), dropped);
        oracle.ended(LIFE, &id);
        let ended = Some("a session that has ended is nowhere");
        assert_eq!(judged(&oracle, &[("x", 3)]), ended);
    }
}
