//! A delta as it lies in its message: read without memory of its own, and applied from there.

use alloc::vec::Vec;

use bytes::Bytes;

use super::delta_session::Applied;
use super::{Action, ActionType, DeltaManagerConfig, DeltaRequest, DeltaSession, SessionId, Stamp};
use crate::java::{InputMemory, JavaBytes, JavaError, JavaString, Lies, Limits, ObjectInput};

/// The payload of a delta message, taken apart: where its parts lie. The memory serves one payload after another, so that
/// reading allocates nothing once it has grown to what usual deltas need.
#[derive(Debug, Default)]
pub(crate) struct ReadDelta {
    memory: InputMemory,
    /// The bounds it was read with.
    limits: Option<Limits>,
    session_id: Option<Lies>,
    pub(crate) record_all_actions: bool,
    actions: Vec<FoundAction>,
}

/// `null` without a stream header.
const NULL: &[u8] = &[0x70];

/// Actions that are kept room for.
const ACTIONS_KEPT: usize = 64;

/// One change, by where its parts lie.
#[derive(Clone, Copy, Debug)]
struct FoundAction {
    kind: ActionType,
    action: i32,
    name: Lies,
    value: Option<Found>,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    Null,
    Value(Lies),
}

/// One change, borrowed from its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActionRef<'a> {
    pub(crate) kind: ActionType,
    pub(crate) action: i32,
    /// Modified UTF-8.
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<BodyRef<'a>>,
}

/// The part of a session that an action changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldRef<'a> {
    Named(ActionType, &'a [u8]),
    /// A listener is named by its value.
    Listener,
    /// None that is kept apart.
    None,
}

/// A value: its stream without the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRef<'a>(&'a [u8]);

/// A copy begins with memory of its own.
impl Clone for ReadDelta {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl ReadDelta {
    /// Takes a payload apart: as a whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`DeltaRequest::read`].
    pub(crate) fn read(&mut self, stream: &[u8], limits: &Limits) -> Result<(), JavaError> {
        self.session_id = None;
        self.limits = Some(*limits);
        self.actions.clear();
        self.actions.shrink_to(ACTIONS_KEPT);
        self.memory.trim();
        let mut input = ObjectInput::with_memory(stream, limits, &mut self.memory)?;
        match Self::items(&mut input, &mut self.actions) {
            Ok((session_id, record_all_actions)) => {
                input.finish_with(&mut self.memory)?;
                self.session_id = Some(session_id);
                self.record_all_actions = record_all_actions;
                Ok(())
            }
            Err(error) => {
                input.give_back(&mut self.memory);
                Err(error)
            }
        }
    }

    /// Whether it was read with the bounds of this manager.
    pub(crate) fn is_within(&self, config: &DeltaManagerConfig) -> bool {
        self.limits == Some(config.limits.java)
    }

    fn items(
        input: &mut ObjectInput<'_>,
        actions: &mut Vec<FoundAction>,
    ) -> Result<(Lies, bool), JavaError> {
        let session_id = input.find_utf()?;
        let record_all_actions = input.read_bool()?;
        let count = input.read_i32()?;
        for _ in 0..count {
            let kind = ActionType(input.read_i32()?);
            let action = input.read_i32()?;
            let name = input.find_utf()?;
            let value = match input.read_bool()? {
                true => Some(input.find_object()?.map_or(Found::Null, Found::Value)),
                false => None,
            };
            actions.push(FoundAction {
                kind,
                action,
                name,
                value,
            });
        }
        Ok((session_id, record_all_actions))
    }

    /// The id of the session, in modified UTF-8. `stream` is the payload that was read.
    pub(crate) fn session_id<'s>(&'s self, stream: &'s [u8]) -> &'s [u8] {
        self.session_id
            .map_or(&[], |id| id.of(stream, &self.memory.copied))
    }

    /// The changes, in order. `stream` is the payload that was read.
    pub(crate) fn actions<'s>(
        &'s self,
        stream: &'s [u8],
    ) -> impl Iterator<Item = ActionRef<'s>> + 's {
        let copied = self.memory.copied.as_slice();
        self.actions.iter().map(move |found| ActionRef {
            kind: found.kind,
            action: found.action,
            name: found.name.of(stream, copied),
            value: found.value.map(|value| match value {
                Found::Null => BodyRef(NULL),
                Found::Value(lies) => BodyRef(lies.of(stream, copied)),
            }),
        })
    }

    /// The request, with memory of its own.
    pub(crate) fn to_request(&self, stream: &[u8]) -> DeltaRequest {
        let id = Bytes::copy_from_slice(self.session_id(stream));
        DeltaRequest {
            session_id: SessionId::from(JavaString::from_checked(id)),
            record_all_actions: self.record_all_actions,
            actions: self
                .actions(stream)
                .map(|action| action.to_action())
                .collect(),
        }
    }
}

impl<'a> ActionRef<'a> {
    /// The action, with memory of its own.
    pub(crate) fn to_action(self) -> Action {
        Action {
            kind: self.kind,
            action: self.action,
            name: JavaString::from_checked(Bytes::copy_from_slice(self.name)),
            value: self.value.map(BodyRef::to_java),
        }
    }

    /// The part of the session that it changes, as [`field_of`](super::stamp::field_of) has it.
    pub(crate) const fn field(self) -> FieldRef<'a> {
        match self.kind {
            ActionType::ATTRIBUTE | ActionType::NOTE => FieldRef::Named(self.kind, self.name),
            ActionType::PRINCIPAL | ActionType::AUTH_TYPE | ActionType::MAX_INTERVAL => {
                FieldRef::Named(self.kind, &[])
            }
            ActionType::LISTENER => FieldRef::Listener,
            _ => FieldRef::None,
        }
    }

    /// The value to set, unless it is null or the action removes.
    fn value_to_set(self) -> Option<BodyRef<'a>> {
        self.value
            .filter(|value| self.action == Action::SET && !value.is_null())
    }
}

impl BodyRef<'_> {
    fn is_null(self) -> bool {
        self.0 == NULL
    }

    fn to_java(self) -> JavaBytes {
        JavaBytes::of_body(self.0)
    }

    /// A `java.lang.Boolean` as every JVM writes it.
    fn boolean(self) -> Option<bool> {
        [false, true]
            .into_iter()
            .find(|&value| super::delta_request::boolean_value(value).body() == self.0)
    }
}

impl DeltaSession {
    /// As [`apply`](Self::apply), of an action that lies in its message: an attribute that is here gets its new value in the memory of
    /// the old one.
    pub(crate) fn apply_ref(&mut self, action: ActionRef<'_>, spare: &mut Spare) -> Applied {
        let value = action.value_to_set();
        match (action.kind, value) {
            (ActionType::ATTRIBUTE, Some(BodyRef(body))) => {
                if let Some(present) = self.attributes.get_mut(action.name) {
                    present.rewrite_body(body);
                    return Applied::Replaced;
                }
                let name = self.name_ref(ActionType::ATTRIBUTE, action.name);
                let mut value = spare.take(body.len());
                value.rewrite_body(body);
                self.attributes.insert(name, value);
                Applied::Added
            }
            (ActionType::ATTRIBUTE, None) => match self.attributes.remove(action.name) {
                Some(value) => {
                    spare.give(value);
                    Applied::Removed
                }
                None => Applied::Other,
            },
            (ActionType::IS_NEW, Some(value)) => match value.boolean() {
                Some(is_new) => {
                    self.is_new = is_new;
                    Applied::Other
                }
                None => self.apply(action.to_action()),
            },
            _ => self.apply(action.to_action()),
        }
    }

    /// The name of a part of the session, shared with where it is kept already.
    pub(crate) fn name_ref(&self, kind: ActionType, name: &[u8]) -> JavaString {
        let attribute = self.attributes.get_key_value(name);
        attribute
            .filter(|_| kind == ActionType::ATTRIBUTE)
            .map(|(name, _)| name)
            .or_else(|| self.history.name_of(kind, name))
            .cloned()
            .unwrap_or_else(|| JavaString::from_checked(Bytes::copy_from_slice(name)))
    }

    /// Remembers when a part was changed.
    pub(crate) fn stamp_ref(&mut self, kind: ActionType, name: &[u8], stamp: Stamp) {
        if !self.history.set_again(kind, name, stamp) {
            let name = self.name_ref(kind, name);
            self.stamp((kind, name), stamp);
        }
    }
}

/// Memory of values that are no more, for those to come: bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    values: Vec<JavaBytes>,
    bytes: usize,
}

/// Values kept for their memory, and their bytes.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// A copy begins with nothing.
impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Spare {
    /// A value that is of no use but for its memory, which may do for `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> JavaBytes {
        let fits = |value: &JavaBytes| {
            let have = value.body().len();
            (len..=len.saturating_add(len / 4)).contains(&have)
        };
        match self.values.iter().position(fits) {
            Some(place) => {
                let value = self.values.swap_remove(place);
                self.bytes = self.bytes.saturating_sub(value.as_bytes().len());
                value
            }
            None => JavaBytes::NULL,
        }
    }

    /// Keeps a value for its memory, if there is room.
    pub(crate) fn give(&mut self, value: JavaBytes) {
        let bytes = self.bytes.saturating_add(value.as_bytes().len());
        if self.values.len() < SPARE_MAX && bytes <= SPARE_BYTES_MAX {
            self.bytes = bytes;
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::java::ObjectOutput;
    use proptest::prelude::*;

    /// What a delta sets, of every kind that takes a way of its own, and what only looks like it.
    fn any_action() -> impl Strategy<Value = Action> {
        let value = prop_oneof![
            any::<bool>().prop_map(JavaBytes::from),
            any::<i32>().prop_map(JavaBytes::from),
            "[a-z\u{0}\u{1F600}]{0,40}".prop_map(|text| JavaBytes::from(text.as_str())),
            proptest::collection::vec(any::<u8>(), 0..2000).prop_map(JavaBytes::from),
            Just(JavaBytes::NULL),
        ];
        let name = prop_oneof!["[a-c]", "[a-c]{600}"];
        (0..8i32, 0..2i32, name, proptest::option::of(value)).prop_map(
            |(kind, action, name, value)| Action {
                kind: ActionType(kind),
                action,
                name: name.into(),
                value,
            },
        )
    }

    proptest! {
        /// Applied from where it lies a delta does what it does when it is read first, and memory that is used again brings
        /// nothing of what was in it.
        #[test]
        fn a_delta_applied_from_its_message_does_what_a_request_does(
            deltas in proptest::collection::vec(proptest::collection::vec(any_action(), 0..6), 1..8),
            shared in any::<bool>(),
        ) {
            let session = || DeltaSession::new(SessionId::from("S"), crate::time::Instant::ZERO, 1, 60);
            let (mut one, mut other) = (session(), session());
            let (mut reading, mut spare) = (ReadDelta::default(), Spare::default());
            let mut looked_at = Vec::new();
            for actions in deltas {
                let mut out = ObjectOutput::new();
                let mut request = DeltaRequest::new(SessionId::from("S"), true);
                request.actions = actions;
                request.write(&mut out).unwrap();
                let stream = out.finish();
                let read = DeltaRequest::read(&stream, &Limits::DEFAULT).unwrap();
                prop_assert_eq!(&read, &request);
                reading.read(&stream, &Limits::DEFAULT).unwrap();
                prop_assert_eq!(reading.session_id(&stream), b"S");
                for (action, found) in read.actions.into_iter().zip(reading.actions(&stream)) {
                    prop_assert_eq!(&found.to_action(), &action);
                    prop_assert_eq!(one.apply(action), other.apply_ref(found, &mut spare));
                }
                prop_assert_eq!(&one.attributes, &other.attributes);
                prop_assert_eq!(one.is_new, other.is_new);
                prop_assert_eq!(one.max_inactive_interval, other.max_inactive_interval);
                prop_assert_eq!(one.principal(), other.principal());
                prop_assert_eq!(one.listeners(), other.listeners());
                if shared {
                    // What somebody else still looks at must not change under him.
                    let values = other.attributes.values();
                    looked_at.extend(values.map(|value| (value.clone(), value.as_bytes().to_vec())));
                }
                for (value, bytes) in &looked_at {
                    prop_assert_eq!(value.as_bytes(), bytes.as_slice());
                }
            }
        }

        #[test]
        fn half_a_delta_is_none(cut in 0usize..300) {
            let mut request = DeltaRequest::new(SessionId::from("S"), true);
            request.record(Action::named(ActionType::ATTRIBUTE, "a".into(), Some("x".repeat(200).into())));
            let mut out = ObjectOutput::new();
            request.write(&mut out).unwrap();
            let stream = out.finish();
            let cut = cut.min(stream.len() - 1);
            let mut reading = ReadDelta::default();
            prop_assert!(reading.read(&stream[..cut], &Limits::DEFAULT).is_err());
            prop_assert!(reading.read(&stream, &Limits::DEFAULT).is_ok());
            prop_assert_eq!(reading.to_request(&stream), request);
        }
    }

    #[test]
    fn spare_memory_is_bounded() {
        let mut spare = Spare::default();
        for len in [100, 100_000, 200_000, 300_000] {
            for _ in 0..SPARE_MAX {
                spare.give(JavaBytes::from(std::vec![0; len]));
            }
        }
        assert!(spare.values.len() <= SPARE_MAX && spare.bytes <= SPARE_BYTES_MAX);
        assert!(spare.take(1_000_000).is_null());
        let len = JavaBytes::from(std::vec![0; 100]).body().len();
        assert_eq!(spare.take(len).body().len(), len);
    }
}
