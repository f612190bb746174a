//! How long each message took: counts in classes of 1/16 of a power of two, about 6 % wide.

/// Per mille of the latencies that are reported, the last being the longest of all.
pub const PER_MILLE: [u64; 10] = [1, 10, 100, 250, 500, 750, 900, 990, 999, 1000];

/// Counted latencies.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; 16 * 64],
            total: 0,
            most: 0,
        }
    }
}

impl Latencies {
    /// Counts one of `nanos`.
    pub fn add(&mut self, nanos: u64) {
        let value = nanos.max(16);
        let octave = value.ilog2();
        let class = octave * 16 + ((value >> (octave - 4)) & 15) as u32;
        self.counts[class as usize] += 1;
        self.total += 1;
        self.most = self.most.max(nanos);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.most = self.most.max(other.most);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The nanoseconds that `per_mille` of them did not exceed; 0 if there are none.
    pub fn at(&self, per_mille: u64) -> u64 {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let (octave, part) = (class / 16, class % 16);
                let upper = match octave {
                    0..4 => self.most,
                    _ => (16 + part as u64 + 1) << (octave - 4),
                };
                return upper.min(self.most);
            }
        }
        self.most
    }

    /// The values at [`PER_MILLE`], for one line of a report.
    pub fn report(&self) -> String {
        if self.total == 0 {
            return String::new();
        }
        let values: Vec<String> = PER_MILLE.iter().map(|p| self.at(*p).to_string()).collect();
        values.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_no_wider_than_a_sixteenth() {
        for nanos in [16, 17, 100, 999, 5_000, 77_777, 1_000_000, 3_000_000_000] {
            let mut latencies = Latencies::default();
            latencies.add(nanos);
            latencies.add(nanos * 100);
            let median = latencies.at(500);
            assert!(median >= nanos, "{nanos}: {median}");
            assert!(median <= nanos + nanos / 16 + 1, "{nanos}: {median}");
            assert_eq!(latencies.at(1000), nanos * 100);
        }
    }

    #[test]
    fn merged_counts_are_those_of_both() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        for nanos in 0..1000 {
            match nanos % 2 {
                0 => a.add(nanos * 1000),
                _ => b.add(nanos * 1000),
            }
        }
        a.merge(&b);
        assert_eq!(a.count(), 1000);
        let median = a.at(500);
        assert!((480_000..540_000).contains(&median), "{median}");
        assert!(Latencies::default().report().is_empty());
    }
}
