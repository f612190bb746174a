//! A session's layout on the wire.

use alloc::vec::Vec;

use super::delta_session::{NOTE_REQUEST, NOTE_SESSION_ID};
use super::{DeltaSession, SessionId, StreamValue};
use crate::java::{
    Graph, Item, JavaBytes, JavaError, JavaErrorKind, JavaString, Limits, Next, ObjectInput,
    ObjectOutput, STREAM_HEADER,
};

use crate::time::Instant;

/// The class of a session that is one object.
const CLASS_NAME: &[u8] = b"org.apache.catalina.ha.session.DeltaSession";

/// A session as it is written into a stream. `DeltaSession.doWriteObject`, `doReadObject`.
///
/// Layout; what is boxed is an object of its own, not block data:
///
/// | item | form |
/// |---|---|
/// | creation time, last accessed time | `Long` |
/// | max inactive interval | `Integer` |
/// | is new, is valid | `Boolean` |
/// | this accessed time, version | `Long` |
/// | has a principal | bool, in block data |
/// | principal | object, only if there is one |
/// | id | `String` |
/// | two notes of the authenticator | objects or null; absent from 8.5 and 9.0 by default |
/// | number of attributes, then each: name, value | `Integer`; `String`, object |
/// | number of listeners, then each | `Integer`; object |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord<V = JavaBytes, S = JavaString> {
    /// Times, flags and the interval.
    pub head: SessionHead,
    /// The authenticated user.
    pub principal: Option<V>,
    /// The id.
    pub id: S,
    /// The notes that travel with the session, or that the writer left them out.
    pub notes: RecordNotes<V>,
    /// Names and values, in the writer's order.
    pub attributes: Vec<(S, V)>,
    /// Replicated session listeners.
    pub listeners: Vec<V>,
    /// Values that their writer could not finish and a reader therefore skipped.
    pub skipped: usize,
}

/// The plain values of a [`SessionRecord`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionHead {
    /// Milliseconds since the Unix epoch.
    pub creation_time_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub last_accessed_time_ms: i64,
    /// Seconds; 0 or less means never.
    pub max_inactive_interval: i32,
    /// Whether the client does not know of the session yet.
    pub is_new: bool,
    /// Whether it has not been invalidated.
    pub is_valid: bool,
    /// Milliseconds since the Unix epoch.
    pub this_accessed_time_ms: i64,
    /// 0 in practice; never interpreted.
    pub version: i64,
}

/// The authenticator's notes of a [`SessionRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordNotes<V> {
    /// The writer does not write them (8.5 and 9.0 without `persistAuthenticationNotes`).
    Absent,
    /// As written; `None` is null.
    Present {
        /// `org.apache.catalina.authenticator.SESSION_ID`.
        session_id: Option<V>,
        /// `org.apache.catalina.authenticator.REQUEST`: a `SavedRequest`.
        request: Option<V>,
    },
}

fn write_optional<V: StreamValue>(
    out: &mut ObjectOutput,
    value: Option<&V>,
) -> Result<(), JavaError> {
    match value {
        Some(value) => value.write_to(out),
        None => {
            out.write_null();
            Ok(())
        }
    }
}

fn write_count(out: &mut ObjectOutput, count: usize) {
    out.write_integer_object(i32::try_from(count).unwrap_or(i32::MAX));
}

impl SessionHead {
    fn write(&self, out: &mut ObjectOutput) {
        out.write_long_object(self.creation_time_ms);
        out.write_long_object(self.last_accessed_time_ms);
        out.write_integer_object(self.max_inactive_interval);
        out.write_boolean_object(self.is_new);
        out.write_boolean_object(self.is_valid);
        out.write_long_object(self.this_accessed_time_ms);
        out.write_long_object(self.version);
    }

    fn read(input: &mut ObjectInput<'_>) -> Result<Self, JavaError> {
        Ok(Self {
            creation_time_ms: long(input)?,
            last_accessed_time_ms: long(input)?,
            max_inactive_interval: integer(input)?,
            is_new: boolean(input)?,
            is_valid: boolean(input)?,
            this_accessed_time_ms: long(input)?,
            version: long(input)?,
        })
    }
}

impl<V: StreamValue, S: StreamValue> SessionRecord<V, S> {
    /// Appends the session to `out`.
    ///
    /// # Errors
    ///
    /// If a value cannot be written.
    pub fn write(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        self.head.write(out);
        out.write_bool(self.principal.is_some());
        if let Some(principal) = &self.principal {
            principal.write_to(out)?;
        }
        self.id.write_to(out)?;
        if let RecordNotes::Present {
            session_id,
            request,
        } = &self.notes
        {
            write_optional(out, session_id.as_ref())?;
            write_optional(out, request.as_ref())?;
        }
        write_count(out, self.attributes.len());
        for (name, value) in &self.attributes {
            name.write_to(out)?;
            value.write_to(out)?;
        }
        write_count(out, self.listeners.len());
        self.listeners
            .iter()
            .try_for_each(|listener| listener.write_to(out))
    }
}

impl SessionRecord {
    /// Reads the session that stands next.
    ///
    /// A value whose writer failed in the middle (`TC_EXCEPTION`) is left out and counted; a null attribute is left
    /// out. Any other damage is an error: then nothing after it can be read.
    ///
    /// # Errors
    ///
    /// If the stream is damaged or holds something else.
    pub fn read(input: &mut ObjectInput<'_>) -> Result<Self, JavaError> {
        Self::read_with(input, &mut Names::default())
    }

    /// As [`read`](Self::read); names that `names` has are shared with what was read before.
    pub(crate) fn read_with(
        input: &mut ObjectInput<'_>,
        names: &mut Names,
    ) -> Result<Self, JavaError> {
        let mut skipped = 0;
        let head = SessionHead::read(input)?;
        let principal = if input.read_bool()? {
            object(input, &mut skipped)?
        } else {
            None
        };
        let id = string(input)?;
        let notes = if is_integer(input)? {
            RecordNotes::Absent
        } else {
            RecordNotes::Present {
                session_id: object(input, &mut skipped)?,
                request: object(input, &mut skipped)?,
            }
        };
        let count = integer(input)?;
        let expected = usize::try_from(count).unwrap_or_default();
        let mut attributes = Vec::with_capacity(expected.min(ATTRIBUTES_EXPECTED));
        for _ in 0..count {
            let name = input.find_string_object()?;
            let name = names.shared(present(input, name)?);
            if let Some(value) = object(input, &mut skipped)? {
                attributes.push((name, value));
            }
        }
        let mut listeners = Vec::new();
        for _ in 0..integer(input)? {
            listeners.extend(object(input, &mut skipped)?);
        }
        Ok(Self {
            head,
            principal,
            id,
            notes,
            attributes,
            listeners,
            skipped,
        })
    }

    /// Reads a session that is one object, as in a replicated map: `Externalizable`, its data in the same layout.
    ///
    /// # Errors
    ///
    /// If the stream is damaged or holds something else. A value whose writer failed damages everything after it here,
    /// and nothing in the stream says so.
    pub fn read_object(stream: &[u8], limits: &Limits) -> Result<Self, JavaError> {
        let graph = Graph::parse(stream, limits)?;
        let wrong = JavaErrorKind::WrongClass.at(STREAM_HEADER.len());
        let root = graph.root().ok_or(wrong)?;
        let levels = graph.levels(root);
        let [level] = levels.as_slice() else {
            return Err(wrong);
        };
        if graph.class_name_bytes(root) != CLASS_NAME {
            return Err(wrong);
        }
        // The same items at the top level of a stream of their own.
        let mut out = ObjectOutput::with_capacity(stream.len());
        let (start, end) = level.annotation;
        for item in graph
            .items
            .get(start as usize..end as usize)
            .unwrap_or_default()
        {
            match *item {
                Item::Block(block) => out.write_bytes(graph.block(block)),
                Item::Node(node) => out.write_node(&graph, Some(node)),
                Item::Null => out.write_null(),
                Item::Primitives(_) | Item::EndBlock => return Err(wrong),
            }
        }
        let stream = out.finish();
        let mut input = ObjectInput::new(&stream, limits)?;
        let record = Self::read(&mut input)?;
        input.finish()?;
        Ok(record)
    }

    /// The session it describes, used now, not primary.
    pub(crate) fn into_session(self, now: Instant, now_ms: i64) -> DeltaSession {
        let head = self.head;
        let mut session = DeltaSession::new(
            SessionId::from(self.id),
            now,
            head.creation_time_ms,
            head.max_inactive_interval,
        );
        session.is_new = head.is_new;
        session.version = head.version;
        session.last_accessed_time_ms = head.last_accessed_time_ms;
        session.this_accessed_time_ms = now_ms;
        session.attributes = self.attributes.into();
        if let Some(principal) = self.principal {
            session.rare_mut().principal = Some(principal);
        }
        if let RecordNotes::Present {
            session_id,
            request,
        } = self.notes
        {
            for (name, note) in [(NOTE_SESSION_ID, session_id), (NOTE_REQUEST, request)] {
                let name = JavaString::from_modified_utf8(bytes::Bytes::from_static(name));
                if let (Some(name), Some(note)) = (name, note) {
                    session.rare_mut().notes.insert(name, note);
                }
            }
        }
        for listener in self.listeners {
            session.add_listener(listener);
        }
        session
    }
}

impl DeltaSession {
    /// Appends the session to `out`, with the attributes that `included` lets through. One of our own nodes learns from the
    /// version, which nobody else interprets, since when the session has its id, and from the time of the last access the newest
    /// stamp, so that what it changes is later.
    pub(crate) fn write(
        &self,
        out: &mut ObjectOutput,
        to_ours: bool,
        included: impl Fn(&JavaString, &JavaBytes) -> bool,
    ) -> Result<(), JavaError> {
        let head = SessionHead {
            creation_time_ms: self.creation_time_ms,
            last_accessed_time_ms: self.last_accessed_time_ms,
            max_inactive_interval: self.max_inactive_interval,
            is_new: self.is_new,
            is_valid: true,
            this_accessed_time_ms: self.this_accessed_time_ms,
            version: match to_ours {
                true => self.history.id_since_ms,
                false => self.version,
            },
        };
        let newest_ms = self.history.version().time_ms;
        let head = match to_ours && newest_ms > 0 {
            true => SessionHead {
                this_accessed_time_ms: newest_ms,
                ..head
            },
            false => head,
        };
        head.write(out);
        out.write_bool(self.principal().is_some());
        if let Some(principal) = self.principal() {
            out.write_object(principal)?;
        }
        out.write_string(self.id.as_java());
        for name in [NOTE_SESSION_ID, NOTE_REQUEST] {
            let note = self.rare.as_ref().and_then(|rare| rare.notes.get(name));
            write_optional(out, note)?;
        }
        let count = self
            .attributes
            .iter()
            .filter(|(name, value)| included(name, value))
            .count();
        write_count(out, count);
        for (name, value) in &self.attributes {
            if included(name, value) {
                out.write_string(name);
                out.write_object(value)?;
            }
        }
        write_count(out, self.listeners().len());
        self.listeners()
            .iter()
            .try_for_each(|listener| out.write_object(listener))
    }
}

/// The last names that were read from a stream: the sessions of an application have the same few, which share their memory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    last: heapless::Vec<JavaString, NAMES_MAX>,
    /// Which of them makes room next.
    oldest: usize,
}

const NAMES_MAX: usize = 16;

/// Attributes for which there is room before they are read: what a stream announces is not believed.
const ATTRIBUTES_EXPECTED: usize = 8;

impl Names {
    /// The name in memory that it shares with earlier ones.
    fn shared(&mut self, name: &[u8]) -> JavaString {
        let mut last = self.last.iter();
        if let Some(known) = last.find(|known| known.as_modified_utf8() == name) {
            return known.clone();
        }
        // It comes out of a stream, which has checked it.
        let new = JavaString::from_checked(bytes::Bytes::copy_from_slice(name));
        if let Err(new) = self.last.push(new.clone())
            && let Some(place) = self.last.get_mut(self.oldest)
        {
            *place = new;
            self.oldest = self.oldest.saturating_add(1) % NAMES_MAX;
        }
        new
    }
}

fn present<T>(input: &ObjectInput<'_>, value: Option<T>) -> Result<T, JavaError> {
    value.ok_or_else(|| JavaErrorKind::WrongClass.at(input.offset()))
}

fn long(input: &mut ObjectInput<'_>) -> Result<i64, JavaError> {
    let value = input.read_long_object()?;
    present(input, value)
}

fn integer(input: &mut ObjectInput<'_>) -> Result<i32, JavaError> {
    let value = input.read_integer_object()?;
    present(input, value)
}

fn boolean(input: &mut ObjectInput<'_>) -> Result<bool, JavaError> {
    let value = input.read_boolean_object()?;
    present(input, value)
}

fn string(input: &mut ObjectInput<'_>) -> Result<JavaString, JavaError> {
    let value = input.read_string_object()?;
    present(input, value)
}

/// An object; `None` if it is null or its writer could not finish it.
fn object(
    input: &mut ObjectInput<'_>,
    skipped: &mut usize,
) -> Result<Option<JavaBytes>, JavaError> {
    match input.read_object() {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_null())),
        Err(error) if error.is_write_aborted() => {
            *skipped = skipped.saturating_add(1);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_integer(input: &mut ObjectInput<'_>) -> Result<bool, JavaError> {
    Ok(matches!(input.peek()?, Next::Object(class) if class == "java.lang.Integer"))
}
