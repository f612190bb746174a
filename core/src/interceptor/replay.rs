//! What `EncryptInterceptor` remembers so that a recorded message does not count twice.

use alloc::collections::BTreeSet;

use hashbrown::HashSet;

use super::Refusal;
use super::cipher::IV_MAX;

/// An initialization vector, with zeros behind a short one.
pub(crate) type Iv = [u8; IV_MAX];

/// Timestamps and initialization vectors of the newest messages.
#[derive(Debug)]
pub(crate) struct ReplayMemory {
    /// How far a timestamp may be from our clock, in ms.
    window_ms: u64,
    /// How many messages are remembered.
    messages_max: usize,
    /// The newest timestamp that has been forgotten.
    last_removed: u64,
    by_time: BTreeSet<(u64, Iv)>,
    seen: HashSet<Iv>,
}

impl ReplayMemory {
    pub(crate) fn new(window_ms: u64, messages_max: usize) -> Self {
        Self {
            window_ms,
            messages_max,
            last_removed: 0,
            by_time: BTreeSet::new(),
            seen: HashSet::new(),
        }
    }

    /// Forgets all; whatever was sent more than a window before `unix_ms` is too old from now on.
    pub(crate) fn start(&mut self, unix_ms: u64) {
        self.by_time.clear();
        self.seen.clear();
        self.last_removed = unix_ms.saturating_sub(self.window_ms);
    }

    /// Whether a message with this initialization vector was taken.
    pub(crate) fn knows(&self, iv: &Iv) -> bool {
        self.seen.contains(iv)
    }

    /// Takes a message, unless it is too old, too new or not new.
    pub(crate) fn take(&mut self, unix_ms: u64, sent_ms: u64, iv: Iv) -> Result<(), Refusal> {
        if sent_ms.abs_diff(unix_ms) > self.window_ms || sent_ms <= self.last_removed {
            return Err(Refusal::Stale);
        }
        if !self.seen.insert(iv) {
            return Err(Refusal::Replayed);
        }
        self.by_time.insert((sent_ms, iv));
        while self.by_time.len() > self.messages_max {
            let Some((oldest_ms, oldest)) = self.by_time.pop_first() else {
                break;
            };
            self.seen.remove(&oldest);
            self.last_removed = self.last_removed.max(oldest_ms);
        }
        Ok(())
    }

    /// Forgets a message whose listener has failed: its sender may try again with the same bytes.
    pub(crate) fn forget(&mut self, sent_ms: u64, iv: &Iv) {
        if self.by_time.remove(&(sent_ms, *iv)) {
            self.seen.remove(iv);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn iv(n: u8) -> Iv {
        [n; IV_MAX]
    }

    fn memory(messages_max: usize) -> ReplayMemory {
        let mut memory = ReplayMemory::new(10_000, messages_max);
        memory.start(NOW);
        memory
    }

    #[test]
    fn a_message_counts_once_and_in_its_time() {
        let mut memory = memory(8192);
        #[rustfmt::skip]
        let cases: &[(u64, u8, Result<(), Refusal>)] = &[
            (NOW,          1, Ok(())),
            (NOW,          1, Err(Refusal::Replayed)),
            (NOW,          2, Ok(())),
            (NOW + 10_000, 3, Ok(())),
            (NOW + 10_001, 4, Err(Refusal::Stale)),
            (NOW - 9_999,  5, Ok(())),
            (NOW - 10_000, 6, Err(Refusal::Stale)),
            (NOW - 20_000, 7, Err(Refusal::Stale)),
            (0,            8, Err(Refusal::Stale)),
            (u64::MAX,     9, Err(Refusal::Stale)),
        ];
        for (sent, n, expected) in cases {
            assert_eq!(memory.take(NOW, *sent, iv(*n)), *expected, "{n}");
        }
    }

    #[test]
    fn what_is_forgotten_takes_everything_as_old_with_it() {
        let mut memory = memory(2);
        assert_eq!(memory.take(NOW, NOW - 5, iv(1)), Ok(()));
        assert_eq!(memory.take(NOW, NOW - 3, iv(2)), Ok(()));
        assert_eq!(memory.take(NOW, NOW, iv(3)), Ok(()));
        assert_eq!(memory.take(NOW, NOW - 5, iv(1)), Err(Refusal::Stale));
        assert_eq!(
            memory.take(NOW, NOW - 4, iv(4)),
            Ok(()),
            "newer than what was forgotten"
        );
        assert_eq!(memory.take(NOW, NOW - 3, iv(2)), Err(Refusal::Replayed));
        assert!(memory.knows(&iv(3)) && !memory.knows(&iv(1)));
    }

    #[test]
    fn a_failed_message_may_come_again() {
        let mut memory = memory(8192);
        assert_eq!(memory.take(NOW, NOW, iv(1)), Ok(()));
        memory.forget(NOW, &iv(1));
        assert_eq!(memory.take(NOW, NOW, iv(1)), Ok(()));
        memory.forget(NOW - 1, &iv(1));
        assert_eq!(memory.take(NOW, NOW, iv(1)), Err(Refusal::Replayed));
    }
}
