//! Log lines that a peer can cause without end, kept to a bearable rate.

use std::time::{Duration, Instant};

/// Lets a few lines through in each period and counts the rest.
#[derive(Debug)]
pub(crate) struct Quota {
    began: Option<Instant>,
    left: u32,
    suppressed: u64,
}

/// Lines in a period.
const LINES: u32 = 20;
/// The period.
const PERIOD: Duration = Duration::from_secs(10);

impl Default for Quota {
    fn default() -> Self {
        Self {
            began: None,
            left: LINES,
            suppressed: 0,
        }
    }
}

impl Quota {
    /// Whether a line may be written at `now`; with it the number of lines left out since the last one.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let over = self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= PERIOD);
        if over {
            self.began = Some(now);
            self.left = LINES;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.suppressed))
            }
            None => {
                self.suppressed += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_with_the_next_line() {
        let mut quota = Quota::default();
        let start = Instant::now();
        let told: Vec<_> = (0..LINES + 5).map(|_| quota.admit(start)).collect();
        assert!(told[..LINES as usize].iter().all(|line| *line == Some(0)));
        assert!(told[LINES as usize..].iter().all(Option::is_none));
        assert_eq!(quota.admit(start + PERIOD), Some(5));
        assert_eq!(quota.admit(start + PERIOD), Some(0));
    }
}
