//! Errors planted in the flow of the state are seen at the moment at which a joiner says that it has everything.

#[path = "flow/stage.rs"]
mod stage;

use folkmoot_core::plant::{Bug, plant};
use folkmoot_core::session::TransferResult;
use folkmoot_sim::Crash;

use stage::Stage;

/// Sessions that are missing from a state that is said to be complete, after its donor has died.
fn missing(bug: Option<Bug>) -> usize {
    let mut stage = Stage::new(1);
    plant(bug);
    let joiner = stage.join_until(1000);
    stage.world.crash(stage.donors[0], Crash::Process);
    let (outcome, missing) = stage.outcome(joiner);
    plant(None);
    assert_eq!(outcome.result, TransferResult::Complete);
    missing
}

/// One after the other: what is planted is planted everywhere.
#[test]
fn what_a_broken_flow_leaves_out_is_missed() {
    assert_eq!(missing(None), 0);
    for bug in [Bug::HalfTransfer, Bug::ResumeForgets] {
        assert_ne!(missing(Some(bug)), 0, "{}", bug.name());
    }
}
