//! A small world of whole nodes, and all that happens to it.

use folkmoot_sim::{Plan, run_mode};

/// A mode, and the plan that the rest describes: every rule of the simulator holds.
pub fn world(input: &[u8]) {
    let (mode, rest) = match input.split_first() {
        Some((first, rest)) => (first % 2, rest),
        None => (0, input),
    };
    let mode = ["group", "session"][usize::from(mode)];
    let report = run_mode(mode, &Plan::from_bytes(rest), 0);
    assert!(report.held(), "{:#?}", report.violations);
}
