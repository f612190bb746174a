//! The simulator as a WebAssembly module: a page runs one seed in the browser and shows its trace.
//!
//! The module imports nothing: no clock, no files, no chance. A run's trace hash is the one that `folkmoot-sim` prints for the
//! same seed. A page makes a new instance for each run, calls [`folkmoot_run`], and reads the outcome from the memory:
//! [`folkmoot_outcome_len`] bytes of UTF-8 at [`folkmoot_outcome`]. If the run panics the call traps, and the outcome is the
//! panic's message.

use std::cell::RefCell;

use folkmoot_sim::{About, MODES, Plan, PlanOptions, document, record_mode};

/// Events that a page shows at most; a longer run goes on to its end, and its document says that it is not complete.
const EVENTS_MAX: usize = 1_000_000;

thread_local! {
    static OUTCOME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

// `no_mangle` is called unsafe since two functions of one name would be taken for one another: nothing else that is linked
// here has a name with this prefix. The functions themselves do nothing unsafe; numbers come in and numbers go out, and a page
// that reads elsewhere than it is told reads the module's memory, which is its own.

/// Runs a seed and keeps its document (docs/simulation.md) as the outcome.
///
/// `mode` is a place in [`MODES`], any other number the last; `nodes` is 1 to 200, or 0 for the number that the seed draws.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_run(seed: u64, mode: u32, nodes: u32) {
    std::panic::set_hook(Box::new(|panic| keep(panic.to_string().into_bytes())));
    let mode = MODES[(mode as usize).min(MODES.len() - 1)];
    let options = PlanOptions {
        nodes: u16::try_from(nodes).ok().filter(|nodes| *nodes > 0),
        ..PlanOptions::default()
    };
    let plan = Plan::draw(seed, &options);
    let (report, recording) = record_mode(mode, &plan, EVENTS_MAX);
    let words = options.nodes.map(|nodes| format!(" --nodes {nodes}"));
    let about = About {
        command: format!(
            "cargo run --release -p folkmoot-sim -- replay --mode {mode} --seed {seed}{}",
            words.unwrap_or_default()
        ),
        version: match option_env!("FOLKMOOT_COMMIT") {
            Some(commit) => format!("commit {commit}, in the browser"),
            None => format!("version {}, in the browser", env!("CARGO_PKG_VERSION")),
        },
        plan: plan.describe(),
    };
    keep(
        document(&report, &recording, &about)
            .to_string()
            .into_bytes(),
    );
}

/// Where the outcome of the last run begins.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_outcome() -> *const u8 {
    OUTCOME.with_borrow(Vec::as_ptr)
}

/// How many bytes it has.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_outcome_len() -> usize {
    OUTCOME.with_borrow(Vec::len)
}

fn keep(outcome: Vec<u8>) {
    OUTCOME.set(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_the_document_of_the_run() {
        let (seed, nodes) = (3, 2);
        for (place, mode) in MODES.into_iter().enumerate() {
            folkmoot_run(seed, place as u32, nodes);
            let outcome = OUTCOME.with_borrow(Clone::clone);
            assert_eq!(outcome.len(), folkmoot_outcome_len());
            let document: serde_json::Value = serde_json::from_slice(&outcome).unwrap();
            let options = PlanOptions {
                nodes: Some(2),
                ..PlanOptions::default()
            };
            let report = folkmoot_sim::run_mode(mode, &Plan::draw(seed, &options), 0);
            let run = &document["run"];
            assert_eq!(run["trace_hash"], format!("{:016x}", report.trace_hash));
            assert_eq!(run["mode"], mode);
            let command = run["command"].as_str().unwrap();
            assert!(command.ends_with(&format!("--mode {mode} --seed 3 --nodes 2")));
        }
    }
}
