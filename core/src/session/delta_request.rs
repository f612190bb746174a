//! `DeltaRequest`: the ordered list of changes to one session since the last replication.

use alloc::vec::Vec;

use super::read_delta::ReadDelta;
use super::{ActionType, SessionId, StreamValue};
use crate::java::{JavaBytes, JavaError, JavaString, Limits, ObjectInput, ObjectOutput};

/// The changes to one session. `DeltaRequest`.
///
/// Layout: a stream of block data with the values as objects in between; there is no class descriptor of the
/// request itself.
///
/// | item | field | |
/// |---|---|---|
/// | utf | session id | |
/// | bool | recordAllActions | the sender's configuration |
/// | int32 | count | then for each action: |
/// | int32 | type | [`ActionType`] |
/// | int32 | action | 0 set, 1 remove |
/// | utf | name | |
/// | bool | has a value | |
/// | object | value | only if it has one |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRequest<V = JavaBytes> {
    /// The session's id at the time of writing.
    pub session_id: SessionId,
    /// Whether several changes of one name are all kept.
    pub record_all_actions: bool,
    /// The changes, in order.
    pub actions: Vec<Action<V>>,
}

/// One change. `DeltaRequest.AttributeInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action<V = JavaBytes> {
    /// What is changed.
    pub kind: ActionType,
    /// 0 ([`Action::SET`]) or 1 ([`Action::REMOVE`]).
    pub action: i32,
    /// The attribute's or note's name, or the fixed name of the kind.
    pub name: JavaString,
    /// The new value.
    pub value: Option<V>,
}

impl Action {
    /// `ACTION_SET`.
    pub const SET: i32 = 0;
    /// `ACTION_REMOVE`.
    pub const REMOVE: i32 = 1;

    /// A change of the session itself, under the fixed name of `kind`.
    pub(crate) fn of_session(kind: ActionType, value: Option<JavaBytes>) -> Self {
        Self {
            kind,
            action: if value.is_some() {
                Self::SET
            } else {
                Self::REMOVE
            },
            name: kind.fixed_name().unwrap_or_default(),
            value,
        }
    }

    /// A change under a name of its own.
    pub(crate) fn named(kind: ActionType, name: JavaString, value: Option<JavaBytes>) -> Self {
        Self {
            kind,
            action: if value.is_some() {
                Self::SET
            } else {
                Self::REMOVE
            },
            name,
            value,
        }
    }
}

impl<V> DeltaRequest<V> {
    /// No changes yet.
    pub const fn new(session_id: SessionId, record_all_actions: bool) -> Self {
        Self {
            session_id,
            record_all_actions,
            actions: Vec::new(),
        }
    }

    /// Adds a change. Unless `record_all_actions`, an earlier one **of the same name** goes, whatever its kind: so
    /// a note displaces an attribute, and of two listeners the last one stays.
    ///
    /// `DeltaRequest.addAction`.
    pub fn record(&mut self, action: Action<V>) {
        if !self.record_all_actions {
            let earlier = self
                .actions
                .iter()
                .position(|other| other.name == action.name);
            if let Some(index) = earlier {
                self.actions.remove(index);
            }
        }
        self.actions.push(action);
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl<V: StreamValue> DeltaRequest<V> {
    /// Appends the request to `out`. `DeltaRequest.writeExternal`.
    ///
    /// # Errors
    ///
    /// If the id or a name is longer than 65 535 encoded bytes, or a value cannot be written.
    pub fn write(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        write(
            out,
            &self.session_id,
            self.record_all_actions,
            &self.actions,
        )
    }
}

/// Appends a request made of its parts.
pub(crate) fn write<V: StreamValue>(
    out: &mut ObjectOutput,
    session_id: &SessionId,
    record_all_actions: bool,
    actions: &[Action<V>],
) -> Result<(), JavaError> {
    out.write_utf(session_id.as_java())?;
    out.write_bool(record_all_actions);
    out.write_i32(i32::try_from(actions.len()).unwrap_or(i32::MAX));
    for action in actions {
        out.write_i32(action.kind.0);
        out.write_i32(action.action);
        out.write_utf(&action.name)?;
        out.write_bool(action.value.is_some());
        if let Some(value) = &action.value {
            value.write_to(out)?;
        }
    }
    Ok(())
}

impl DeltaRequest {
    /// Reads the payload of a delta message: the whole stream or nothing.
    ///
    /// # Errors
    ///
    /// If the stream is not a request, or not only that. A value that its writer could not finish makes the request
    /// unreadable: Tomcat never sends one.
    pub fn read(stream: &[u8], limits: &Limits) -> Result<Self, JavaError> {
        let mut found = ReadDelta::default();
        found.read(stream, limits)?;
        Ok(found.to_request(stream))
    }
}

/// The payload of a change-id message: a stream with one block that holds the new id.
pub fn write_new_session_id(id: &SessionId) -> Result<bytes::Bytes, JavaError> {
    let mut out = ObjectOutput::with_capacity(id.as_modified_utf8().len().saturating_add(16));
    out.write_utf(id.as_java())?;
    Ok(out.finish())
}

/// Reads the payload of a change-id message.
///
/// # Errors
///
/// If it is not one text.
pub fn read_new_session_id(stream: &[u8], limits: &Limits) -> Result<SessionId, JavaError> {
    let mut input = ObjectInput::new(stream, limits)?;
    let id = input.read_utf()?;
    input.finish()?;
    Ok(id.into())
}

/// A `java.lang.Boolean` as Java writes it: every request records one.
const FALSE: &[u8] =
    b"\xAC\xED\0\x05sr\0\x11java.lang.Boolean\xCD r\x80\xD5\x9C\xFA\xEE\x02\0\x01Z\0\x05valuexp\0";
const TRUE: &[u8] =
    b"\xAC\xED\0\x05sr\0\x11java.lang.Boolean\xCD r\x80\xD5\x9C\xFA\xEE\x02\0\x01Z\0\x05valuexp\x01";

/// A `java.lang.Boolean`, without allocating.
pub(crate) fn boolean_value(value: bool) -> JavaBytes {
    JavaBytes::from_checked(bytes::Bytes::from_static(if value { TRUE } else { FALSE }))
}

/// The value of a `java.lang.Boolean`.
pub(crate) fn boolean(value: &JavaBytes) -> Option<bool> {
    for (bytes, value_of) in [(FALSE, false), (TRUE, true)] {
        if value.as_bytes() == bytes {
            return Some(value_of);
        }
    }
    let mut input = ObjectInput::new(value.as_bytes(), &Limits::DEFAULT).ok()?;
    input.read_boolean_object().ok()?
}

/// The value of a `java.lang.Integer`.
pub(crate) fn integer(value: &JavaBytes) -> Option<i32> {
    let mut input = ObjectInput::new(value.as_bytes(), &Limits::DEFAULT).ok()?;
    input.read_integer_object().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: ActionType, name: &str, value: i32) -> Action {
        Action::named(kind, name.into(), Some(JavaBytes::from(value)))
    }

    fn removed(name: &str) -> Action {
        Action::named(ActionType::ATTRIBUTE, name.into(), None)
    }

    #[test]
    fn a_boolean_is_what_java_writes() {
        for value in [false, true] {
            assert_eq!(boolean_value(value), JavaBytes::from(value));
            assert_eq!(boolean(&boolean_value(value)), Some(value));
        }
    }

    #[test]
    fn a_change_displaces_an_earlier_one_of_the_same_name() {
        let (a, n) = (ActionType::ATTRIBUTE, ActionType::NOTE);
        #[rustfmt::skip]
        let cases: &[(&str, &[Action], &[usize])] = &[
            ("two names",            &[set(a, "x", 1), set(a, "y", 2)],               &[0, 1]),
            ("last wins and moves",  &[set(a, "x", 1), set(a, "y", 2), set(a, "x", 3)], &[1, 2]),
            ("a note and attribute", &[set(a, "x", 1), set(n, "x", 2)],               &[1]),
            ("a remove stays",       &[set(a, "x", 1), removed("x")],                 &[1]),
        ];
        for (name, recorded, kept) in cases {
            for all in [false, true] {
                let mut delta = DeltaRequest::new(SessionId::from("S"), all);
                recorded
                    .iter()
                    .for_each(|action| delta.record(action.clone()));
                let expected: Vec<Action> = if all {
                    recorded.to_vec()
                } else {
                    kept.iter().map(|&index| recorded[index].clone()).collect()
                };
                assert_eq!(delta.actions, expected, "{name}, recordAllActions {all}");
            }
        }
    }
}
