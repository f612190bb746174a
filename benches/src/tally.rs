//! Which messages have come: lost, doubled and overtaken ones show.

/// Bytes at the beginning of a message that say which it is.
pub const LABEL: usize = 12;

/// Writes the label: the sending thread (4 bytes) and the message's number there (8 bytes).
pub fn label(message: &mut [u8], thread: u32, number: u64) {
    message[..4].copy_from_slice(&thread.to_be_bytes());
    message[4..LABEL].copy_from_slice(&number.to_be_bytes());
}

/// Everything expected of a round, ticked off.
#[derive(Debug, Default)]
pub struct Tally {
    lanes: Vec<Lane>,
    each: u64,
    left: u64,
    foreign: u64,
}

/// What has come from one sending thread.
#[derive(Debug, Default)]
struct Lane {
    seen: Vec<u64>,
    next: u64,
    overtaken: u64,
    doubled: u64,
}

/// What was wrong with a round in which everything has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Messages that came after one sent later by the same thread.
    pub overtaken: u64,
    /// Messages that came again, or that nobody had announced.
    pub doubled: u64,
}

impl Tally {
    /// Expects `each` messages from each of `threads` threads.
    pub fn new(threads: u32, each: u64) -> Self {
        let words = usize::try_from(each / 64 + 1).unwrap_or(usize::MAX);
        let lane = || Lane {
            seen: vec![0; words],
            ..Lane::default()
        };
        Self {
            lanes: (0..threads).map(|_| lane()).collect(),
            each,
            left: u64::from(threads) * each,
            foreign: 0,
        }
    }

    /// Ticks one message off; answers with the last.
    pub fn tick(&mut self, message: &[u8]) -> Option<Report> {
        let (thread, number) = match message.split_first_chunk::<4>() {
            Some((thread, rest)) => (u32::from_be_bytes(*thread), rest.first_chunk::<8>()),
            None => (u32::MAX, None),
        };
        let lane = self.lanes.get_mut(thread as usize);
        let (Some(lane), Some(number)) = (lane, number) else {
            self.foreign += 1;
            return None;
        };
        let number = u64::from_be_bytes(*number);
        if number >= self.each {
            self.foreign += 1;
            return None;
        }
        let bit = 1 << (number % 64);
        match lane.seen.get_mut((number / 64) as usize) {
            Some(word) if *word & bit == 0 => *word |= bit,
            _ => {
                lane.doubled += 1;
                return None;
            }
        }
        if number < lane.next {
            lane.overtaken += 1;
        } else {
            lane.next = number + 1;
        }
        self.left = self.left.saturating_sub(1);
        (self.left == 0).then(|| self.report())
    }

    fn report(&self) -> Report {
        Report {
            overtaken: self.lanes.iter().map(|lane| lane.overtaken).sum(),
            doubled: self.foreign + self.lanes.iter().map(|lane| lane.doubled).sum::<u64>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_shows() {
        /// A name, messages by thread and number, and what is reported: overtaken and doubled.
        type Case = (&'static str, &'static [(u32, u64)], Option<(u64, u64)>);
        #[rustfmt::skip]
        let cases: [Case; 6] = [
            ("in order",  &[(0, 0), (1, 0), (0, 1), (1, 1)],                 Some((0, 0))),
            ("overtaken", &[(0, 1), (0, 0), (1, 0), (1, 1)],                 Some((1, 0))),
            ("doubled",   &[(0, 0), (0, 0), (0, 1), (1, 0), (1, 1)],         Some((0, 1))),
            ("foreign",   &[(9, 0), (0, 0), (0, 1), (1, 0), (1, 1)],         Some((0, 1))),
            ("too many",  &[(0, 2), (0, 0), (0, 1), (1, 0), (1, 1)],        Some((0, 1))),
            ("lost",      &[(0, 0), (0, 1), (1, 0)],                         None),
        ];
        for (name, messages, wanted) in cases {
            let mut tally = Tally::new(2, 2);
            let mut last = None;
            for (thread, number) in messages {
                let mut message = [0; LABEL];
                label(&mut message, *thread, *number);
                last = tally.tick(&message);
            }
            assert_eq!(last.map(|r| (r.overtaken, r.doubled)), wanted, "{name}");
        }
    }
}
