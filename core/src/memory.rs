//! What is remembered for a while, and then forgotten.

use alloc::collections::VecDeque;
use core::borrow::Borrow;
use core::hash::Hash;
use core::time::Duration;

use hashbrown::HashMap;

use crate::time::Instant;

/// Values by key, bounded in number and time: the oldest make room, and each is forgotten in its time.
#[derive(Clone, Debug)]
pub(crate) struct Memory<K, V> {
    by_key: HashMap<K, (u64, V)>,
    /// Until when each is remembered, in the order in which they came; what has come again is further back once more.
    order: VecDeque<(Instant, u64, K)>,
    next: u64,
    lasts: Duration,
    max: usize,
}

impl<K: Clone + Eq + Hash, V> Memory<K, V> {
    /// One that keeps at most `max` values, each for as long as it `lasts`.
    pub(crate) fn new(lasts: Duration, max: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            lasts,
            max,
        }
    }

    /// Remembers a value in place of the one that its key had.
    pub(crate) fn remember(&mut self, now: Instant, key: K, value: V) {
        self.remember_for(now, self.lasts, key, value);
    }

    /// Remembers a value for a time, if that is shorter than what was configured.
    pub(crate) fn remember_for(&mut self, now: Instant, lasts: Duration, key: K, value: V) {
        self.forget_old(now);
        while self.order.len() >= self.max {
            self.pop();
        }
        self.next = self.next.wrapping_add(1);
        self.by_key.insert(key.clone(), (self.next, value));
        let until = now + lasts.min(self.lasts);
        self.order.push_back((until, self.next, key));
    }

    /// Forgets a value at once; whether it was there.
    pub(crate) fn recall<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.by_key.remove(key).is_some()
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.by_key.get_mut(key).map(|(_, value)| value)
    }

    /// What is remembered, in the order in which it came, from behind the one numbered `after`; with the number of each and how
    /// long it is still remembered.
    pub(crate) fn after(
        &self,
        now: Instant,
        after: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &K, Duration, &V)> {
        let from = self
            .order
            .partition_point(|(_, serial, _)| *serial <= after);
        let entries = self.order.range(from..);
        entries.filter_map(move |(until, serial, key)| {
            let left = until.since(now);
            let (newest, value) = self.by_key.get(key)?;
            (newest == serial && !left.is_zero()).then_some((*serial, key, left, value))
        })
    }

    /// For how long a value is remembered.
    pub(crate) const fn lasts(&self) -> Duration {
        self.lasts
    }

    /// Forgets what has been remembered long enough.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((_, serial, key)) = self.order.pop_front() else {
            return;
        };
        // What has come again has a place of its own further back.
        if self
            .by_key
            .get(&key)
            .is_some_and(|(newest, _)| *newest == serial)
        {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_remembered_for_its_time() {
        let mut memory = Memory::new(Duration::from_secs(2), 10);
        let at = Instant::from_millis;
        memory.remember(at(0), 1, 'a');
        memory.remember(at(1000), 2, 'b');
        memory.remember(at(1500), 1, 'c');
        memory.forget_old(at(2500));
        assert_eq!(memory.get(&1), Some(&'c'), "the later one counts");
        memory.forget_old(at(3000));
        assert_eq!((memory.get(&2), memory.get(&1)), (None, Some(&'c')));
        assert!(memory.recall(&1) && !memory.recall(&1));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut memory = Memory::new(Duration::from_secs(100), 3);
        (0..10).for_each(|key| memory.remember(Instant::ZERO, key, ()));
        let known: std::vec::Vec<_> = (0..10).filter(|key| memory.get(key).is_some()).collect();
        assert_eq!(known, [7, 8, 9]);
        let listed = memory.after(Instant::ZERO, 8);
        assert_eq!(
            listed.map(|entry| *entry.1).collect::<std::vec::Vec<_>>(),
            [8, 9]
        );
        assert_eq!(memory.order.len(), 3);
    }
}
