//! When a session was changed, in an order that all of our nodes agree on.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;

use super::{Action, ActionType};
use crate::java::{JavaBytes, JavaString};
use crate::wire::UniqueId;

/// The place of a change among all changes of a session: the greater one wins.
///
/// The time is that of the message that brought the change. Our nodes never send one that is not later than all they know
/// about the session, so that a change made in knowledge of another is always the greater of the two, whatever wall
/// clocks say; of two that were made without knowledge of each other the later one wins by the clocks of their writers, and the
/// writer decides between equal times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, as far as the writer's clock did not stand or go back: 0 to
    /// [`TIME_MAX`](Self::TIME_MAX). 0 for a change of which nothing is known.
    pub time_ms: i64,
    /// The writer: a number made of its unique id. 0 if it is not known.
    pub writer: u64,
}

impl Stamp {
    /// The end of the year 9999: no clock that is right says more.
    pub const TIME_MAX: i64 = 253_402_300_799_999;

    /// A stamp; a time that no clock says is brought into range.
    pub fn new(time_ms: i64, writer: u64) -> Self {
        Self {
            time_ms: time_ms.clamp(0, Self::TIME_MAX),
            writer,
        }
    }
}

/// The number that a node has in stamps.
pub(crate) fn writer(id: &UniqueId) -> u64 {
    super::id::lane(id.as_bytes())
}

/// What a stamp is for: an attribute, a note, a listener, or the principal, authentication type or interval.
pub(crate) type Field = (ActionType, JavaString);

/// A field by a borrowed name, to look it up.
pub(crate) trait FieldKey {
    fn key(&self) -> (ActionType, &[u8]);
}

impl FieldKey for Field {
    fn key(&self) -> (ActionType, &[u8]) {
        (self.0, self.1.as_modified_utf8())
    }
}

impl FieldKey for (ActionType, &[u8]) {
    fn key(&self) -> (ActionType, &[u8]) {
        *self
    }
}

/// Equality and order are those of the kind and the bytes of the name, as a field's own.
impl<'a> Borrow<dyn FieldKey + 'a> for Field {
    fn borrow(&self) -> &(dyn FieldKey + 'a) {
        self
    }
}

impl PartialEq for dyn FieldKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn FieldKey + '_ {}

impl PartialOrd for dyn FieldKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn FieldKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// When the parts of a session were changed, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The newest change or use: whose it is, is the primary.
    version: Stamp,
    /// Since when the session has its id.
    pub(crate) id_since_ms: i64,
    /// Fields that were changed since the session is here; those without a value were removed.
    fields: BTreeMap<Field, Stamp>,
    /// The newest change known of each writer, sorted by writers.
    seen: Vec<(u64, i64)>,
}

/// Writers of one session that are told apart: the one that has been silent longest makes room. What is forgotten may be
/// counted as a conflict later, no more.
const WRITERS_MAX: usize = 32;

/// Removed fields remembered for one session: the oldest makes room.
const REMOVED_MAX: usize = 256;

impl History {
    /// The stamp of what is sent next.
    pub(crate) fn next(&self, unix_ms: i64, writer: u64) -> Stamp {
        let known_ms = self.version.time_ms.max(self.id_since_ms);
        Stamp::new(unix_ms.max(known_ms.saturating_add(1)), writer)
    }

    /// The session came with a state, which says since when it has its id and how new it is, not what is how new in it.
    pub(crate) fn came_with(&mut self, id_since_ms: i64, newest_ms: i64) {
        self.id_since_ms = id_since_ms.clamp(0, Stamp::TIME_MAX);
        let floor = Stamp::new(newest_ms, 0);
        self.version = self.version.max(floor);
    }

    pub(crate) const fn version(&self) -> Stamp {
        self.version
    }

    /// A use or a change is known; whether it is the newest.
    pub(crate) fn saw(&mut self, stamp: Stamp) -> bool {
        self.note_seen(stamp);
        let newest = stamp > self.version;
        self.version = stamp.max(self.version);
        newest
    }

    /// A use or a change is known.
    pub(crate) fn note_seen(&mut self, stamp: Stamp) {
        match self.seen.binary_search_by_key(&stamp.writer, |seen| seen.0) {
            Ok(at) => {
                if let Some((_, time)) = self.seen.get_mut(at) {
                    *time = stamp.time_ms.max(*time);
                }
            }
            Err(at) => {
                self.seen.insert(at, (stamp.writer, stamp.time_ms));
                if self.seen.len() > WRITERS_MAX {
                    let oldest = self.seen.iter().enumerate().min_by_key(|(_, seen)| seen.1);
                    if let Some((oldest, _)) = oldest {
                        self.seen.remove(oldest);
                    }
                }
            }
        }
    }

    /// Whether that change, or a later one of its writer, has been here.
    pub(crate) fn has_seen(&self, stamp: Stamp) -> bool {
        has_seen(&self.seen, stamp)
    }

    /// The newest change known of each writer.
    pub(crate) fn seen(&self) -> &[(u64, i64)] {
        &self.seen
    }

    /// When a field was changed last; the least stamp if that is not known.
    pub(crate) fn of(&self, field: &Field) -> Stamp {
        self.fields.get(field).copied().unwrap_or_default()
    }

    /// As [`of`](Self::of), by a borrowed name.
    pub(crate) fn of_ref(&self, kind: ActionType, name: &[u8]) -> Stamp {
        let key: &dyn FieldKey = &(kind, name);
        self.fields.get(key).copied().unwrap_or_default()
    }

    /// The name of a field that has a stamp.
    pub(crate) fn name_of(&self, kind: ActionType, name: &[u8]) -> Option<&JavaString> {
        let key: &dyn FieldKey = &(kind, name);
        self.fields.get_key_value(key).map(|(field, _)| &field.1)
    }

    /// A field was changed that has a stamp already; whether it has.
    pub(crate) fn set_again(&mut self, kind: ActionType, name: &[u8], stamp: Stamp) -> bool {
        let key: &dyn FieldKey = &(kind, name);
        match self.fields.get_mut(key) {
            Some(last) => {
                *last = stamp;
                true
            }
            None => false,
        }
    }

    /// Every field with a stamp.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&Field, Stamp)> {
        self.fields.iter().map(|(field, stamp)| (field, *stamp))
    }

    /// A field was changed.
    pub(crate) fn set(&mut self, field: Field, stamp: Stamp) {
        self.fields.insert(field, stamp);
    }

    /// Forgets the oldest of the fields that were removed if there are too many. `exists` says which have a value.
    pub(crate) fn trim(&mut self, existing: usize, exists: impl Fn(&Field) -> bool) {
        while self.fields.len() > existing.saturating_add(REMOVED_MAX) {
            let removed = self.fields.iter().filter(|(field, _)| !exists(field));
            let oldest = removed.min_by_key(|(_, stamp)| **stamp);
            let Some(oldest) = oldest.map(|(field, _)| field.clone()) else {
                return;
            };
            self.fields.remove(&oldest);
        }
    }
}

/// Whether `seen` has that change, or a later one of its writer. What has no stamp is known to everybody.
pub(crate) fn has_seen(seen: &[(u64, i64)], stamp: Stamp) -> bool {
    stamp == Stamp::default()
        || seen
            .binary_search_by_key(&stamp.writer, |seen| seen.0)
            .ok()
            .and_then(|at| seen.get(at))
            .is_some_and(|(_, time)| *time >= stamp.time_ms)
}

/// The field that an action changes; `None` if it is none that is kept apart.
pub(crate) fn field_of(action: &Action) -> Option<Field> {
    let name = match action.kind {
        ActionType::ATTRIBUTE | ActionType::NOTE => action.name.clone(),
        ActionType::PRINCIPAL | ActionType::AUTH_TYPE | ActionType::MAX_INTERVAL => {
            JavaString::new()
        }
        ActionType::LISTENER => return action.value.as_ref().map(listener_field),
        _ => return None,
    };
    Some((action.kind, name))
}

/// The field of a listener: it has no name, so its bytes name it.
pub(crate) fn listener_field(listener: &JavaBytes) -> Field {
    let name = alloc::format!("{:016x}", super::id::lane(listener.as_bytes()));
    (ActionType::LISTENER, name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str) -> Field {
        (ActionType::ATTRIBUTE, name.into())
    }

    #[test]
    fn what_is_made_in_knowledge_of_another_is_greater_whatever_the_clock_says() {
        let mut history = History::default();
        let mut last = Stamp::default();
        for clock in [1000, 1000, 7_200_000, 500, i64::MIN, i64::MAX, 3] {
            let next = history.next(clock, 1);
            assert!(next > last || next.time_ms == Stamp::TIME_MAX, "{clock}");
            assert!((0..=Stamp::TIME_MAX).contains(&next.time_ms));
            history.saw(next);
            last = next;
        }
    }

    #[test]
    fn a_change_is_seen_with_any_later_one_of_its_writer() {
        let mut history = History::default();
        assert!(history.saw(Stamp::new(10, 1)));
        assert!(!history.saw(Stamp::new(9, 2)));
        #[rustfmt::skip]
        let cases = [((10, 1), true), ((9, 1), true), ((11, 1), false), ((9, 2), true), ((10, 2), false), ((1, 3), false), ((0, 0), true)];
        for ((time, writer), seen) in cases {
            assert_eq!(
                history.has_seen(Stamp::new(time, writer)),
                seen,
                "{time} {writer}"
            );
        }
        assert_eq!(history.version(), Stamp::new(10, 1));
    }

    #[test]
    fn writers_and_removed_fields_are_bounded() {
        let mut history = History::default();
        for n in 0..1000 {
            history.saw(Stamp::new(n, n as u64 * 7919 % 1009));
            history.set(attribute(&std::format!("a{n}")), Stamp::new(n, 1));
            history.trim(2, |field| *field == attribute("a0"));
        }
        assert!(history.seen().len() <= WRITERS_MAX);
        assert_eq!(history.fields().count(), REMOVED_MAX + 2);
        assert_eq!(history.of(&attribute("a0")), Stamp::new(0, 1), "it exists");
        assert_eq!(history.of(&attribute("a1")), Stamp::default());
        assert_eq!(history.of(&attribute("a999")), Stamp::new(999, 1));
    }
}
