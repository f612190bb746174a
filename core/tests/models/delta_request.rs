//! `DeltaRequest` against a list of names and values.

use folkmoot_core::java::{JavaBytes, Limits, ObjectOutput};
use folkmoot_core::session::{Action, ActionType, DeltaRequest, SessionId};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// A change: its kind, its name, its value.
type Change = (i32, u8, Option<i32>);

#[derive(Clone, Debug)]
struct Changes {
    all: bool,
    /// In order; of one name only the last, unless all are kept.
    list: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Step {
    Record(Change),
    /// The request is sent: it is empty afterwards.
    Send,
}

impl ReferenceStateMachine for Changes {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let list = Vec::new();
        any::<bool>()
            .prop_map(move |all| Self {
                all,
                list: list.clone(),
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let change = (
            prop_oneof![Just(0), Just(6)],
            0..5u8,
            proptest::option::of(any::<i32>()),
        );
        prop_oneof![9 => change.prop_map(Step::Record), 1 => Just(Step::Send)].boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::Record(change) => {
                if !state.all {
                    state.list.retain(|(_, name, _)| *name != change.1);
                }
                state.list.push(*change);
            }
            Step::Send => state.list.clear(),
        }
        state
    }
}

struct Request;

impl StateMachineTest for Request {
    type SystemUnderTest = DeltaRequest;
    type Reference = Changes;

    fn init_test(state: &Changes) -> DeltaRequest {
        DeltaRequest::new(SessionId::from("S"), state.all)
    }

    fn apply(mut request: DeltaRequest, _: &Changes, step: Step) -> DeltaRequest {
        match step {
            Step::Record((kind, name, value)) => request.record(Action {
                kind: ActionType(kind),
                action: if value.is_some() {
                    Action::SET
                } else {
                    Action::REMOVE
                },
                name: format!("a{name}").into(),
                value: value.map(JavaBytes::from),
            }),
            Step::Send => {
                let mut out = ObjectOutput::new();
                request.write(&mut out).unwrap();
                let read = DeltaRequest::read(&out.finish(), &Limits::DEFAULT).unwrap();
                assert_eq!(read, request, "the receiver reads what was sent");
                request.actions.clear();
            }
        }
        request
    }

    fn check_invariants(request: &DeltaRequest, state: &Changes) {
        let actions = request.actions.iter().zip(&state.list);
        assert_eq!(request.actions.len(), state.list.len());
        for (action, (kind, name, value)) in actions {
            assert_eq!(action.kind.0, *kind);
            assert_eq!(action.name.to_string(), format!("a{name}"));
            assert_eq!(action.value, value.map(JavaBytes::from));
        }
        assert_eq!(request.is_empty(), state.list.is_empty());
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_the_list_of_its_changes(sequential 1..60 => Request);
}
