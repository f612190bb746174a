//! What became of messages that came in several parts, for parts that come again.

use alloc::collections::VecDeque;

use crate::wire::UniqueId;

/// Messages remembered. A part comes again when its answer got lost with a connection, so soon.
const REMEMBERED_MAX: usize = 256;

/// The newest messages that were handed on or dropped.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Each with whether the listener has it.
    messages: VecDeque<(UniqueId, bool)>,
    /// Whether the newest was handed on just now.
    just_now: bool,
}

impl Outcomes {
    /// Nothing is known yet.
    pub(crate) const fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            just_now: false,
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.just_now = false;
    }

    /// Another message comes.
    pub(crate) const fn next(&mut self) {
        self.just_now = false;
    }

    fn add(&mut self, id: &[u8], taken: bool) {
        // Every message of Tribes has an id of that length.
        let Ok(id) = id.try_into() else { return };
        if self.messages.len() >= REMEMBERED_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back((UniqueId(id), taken));
    }

    /// The message is handed on.
    pub(crate) fn handed_on(&mut self, id: &[u8]) {
        self.add(id, true);
        self.just_now = true;
    }

    /// The message is not kept any longer.
    pub(crate) fn dropped(&mut self, id: &[u8]) {
        self.add(id, false);
    }

    /// The listener has failed with what was handed on last, if that was one of these.
    pub(crate) fn failed(&mut self) {
        if self.just_now
            && let Some((_, taken)) = self.messages.back_mut()
        {
            *taken = false;
        }
    }

    /// Whether the listener has the message; `None` if nothing is known of it.
    pub(crate) fn of(&self, id: &[u8]) -> Option<bool> {
        let of = |(known, taken): &(UniqueId, bool)| (known.0.as_slice() == id).then_some(*taken);
        self.messages.iter().rev().find_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_from_what_was_taken() {
        let mut outcomes = Outcomes::new();
        outcomes.handed_on(&[1; 16]);
        outcomes.next();
        // Another one, of which this layer has not handed on anything.
        outcomes.failed();
        outcomes.handed_on(&[2; 16]);
        outcomes.failed();
        outcomes.dropped(&[3; 16]);
        let told = [1, 2, 3, 4].map(|id| outcomes.of(&[id; 16]));
        assert_eq!(told, [Some(true), Some(false), Some(false), None]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut outcomes = Outcomes::new();
        for id in 0..=REMEMBERED_MAX as u128 {
            outcomes.handed_on(&id.to_be_bytes());
        }
        assert_eq!(outcomes.of(&0u128.to_be_bytes()), None);
        assert_eq!(outcomes.of(&1u128.to_be_bytes()), Some(true));
        assert_eq!(outcomes.messages.len(), REMEMBERED_MAX);
    }
}
