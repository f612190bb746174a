//! A plan out of any bytes: a fuzzer that changes a byte changes one thing that happens, or how long it takes.

use std::time::Duration;

use crate::fault::FaultKind;
use crate::plan::{Item, Plan, What, draw_network};
use crate::rng::SimRng;

/// Things that happen, at most: a fuzzer learns from many short runs.
const ITEMS_MAX: usize = 48;
/// The time of faults ends here, at the latest.
const SAFETY_MAX: Duration = Duration::from_secs(20);
/// Bytes before the first thing that happens.
const HEAD: usize = 4;
/// Bytes of one thing that happens.
const ITEM: usize = 4;

impl Plan {
    /// The plan that `bytes` describe; missing ones are zero, those that are too many are left out.
    ///
    /// ```text
    /// number of nodes (2 to 4) · network (0: quiet) · seed, 2 bytes · things that happen, 4 bytes each:
    ///   kind (a fault, or else a work) · square root of its time after the one before, 1/16 ms · chance, 2 bytes
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let short = |at: usize| u64::from(u16::from_le_bytes([byte(at), byte(at + 1)]));
        let nodes = 2 + u16::from(byte(0) % 3);
        let network = match byte(1) {
            0 => crate::link::NetworkConfig::quiet(),
            number => draw_network(&mut SimRng::new(u64::from(number))),
        };
        // Nobody else is there.
        let ours: Vec<FaultKind> = (FaultKind::ALL.into_iter())
            .filter(|kind| !kind.is_of_strangers())
            .collect();
        let mut kinds = Vec::new();
        let mut happening = Vec::new();
        let mut at = Duration::ZERO;
        let places = bytes.len().saturating_sub(HEAD) / ITEM;
        for place in 0..places.min(ITEMS_MAX) {
            let from = HEAD + place * ITEM;
            let root = u64::from(byte(from + 1));
            at += Duration::from_micros(root * root * 1000 / 16);
            if at >= SAFETY_MAX {
                break;
            }
            let chance = short(from + 2);
            match ours.get(usize::from(byte(from)) % (2 * ours.len())) {
                Some(kind) => {
                    let (fault, after) = kind.draw(nodes, 0, &mut SimRng::new(chance));
                    happening.push((at, What::Fault(fault)));
                    let after = after.map(|(later, fault)| (at + later, What::Fault(fault)));
                    happening.extend(after);
                    kinds.push(*kind);
                }
                None => happening.push((at, What::Work(chance))),
            }
        }
        let safety = at + Duration::from_millis(500);
        happening.retain(|(at, _)| *at < safety);
        happening.sort_by_key(|(at, _)| *at);
        kinds.sort_unstable();
        kinds.dedup();
        let items = happening.into_iter().enumerate();
        let items: Vec<Item> = items
            .map(|(place, (at, what))| Item { place, at, what })
            .collect();
        Self {
            tomcats: 0,
            hostile: false,
            several: false,
            tight: false,
            greedy: false,
            layers: false,
            configured: false,
            readers: false,
            mix: None,
            steady: false,
            seed: short(2),
            nodes,
            network,
            kinds,
            places: items.len(),
            items,
            safety,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_are_a_quiet_plan_of_two() {
        let plan = Plan::from_bytes(&[]);
        assert_eq!((plan.nodes, plan.items.len(), plan.seed), (2, 0, 0));
    }

    #[test]
    fn a_byte_changes_what_it_describes_alone() {
        let bytes = [1, 0, 7, 0, 0, 100, 5, 0, 255, 100, 9, 0];
        let plan = Plan::from_bytes(&bytes);
        assert_eq!((plan.nodes, plan.seed), (3, 7));
        assert_eq!(plan.kinds, [FaultKind::Crash]);
        let mut other = bytes;
        other[10] = 10;
        let changed = Plan::from_bytes(&other);
        let of = |plan: &Plan| plan.items.clone();
        let differ = of(&plan).into_iter().zip(of(&changed));
        assert_eq!(differ.filter(|(one, two)| one != two).count(), 1);
    }

    #[test]
    fn a_plan_is_bounded() {
        let plan = Plan::from_bytes(&[0xff; 100_000]);
        assert!(plan.items.len() <= 2 * ITEMS_MAX && plan.safety <= 2 * SAFETY_MAX);
    }
}
