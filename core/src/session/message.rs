//! `SessionMessageImpl`: what cluster members tell each other about sessions.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::EventType;
use crate::java::JavaError;
#[cfg(feature = "alloc")]
use crate::java::{Boxed, FieldValue, Graph, JavaString, Limits, NodeId};
use crate::wire::{Full, Reader, Sink};

/// A session message, borrowed from the stream that holds it. `SessionMessageImpl`, spec UID 2.
///
/// Texts are modified UTF-8. Layout of the stream:
///
/// | bytes | field | |
/// |---|---|---|
/// | 276 | header and descriptors | constant |
/// | 8 | `ClusterMessageBase.timestamp` | 0 from every Tomcat |
/// | 4 | `mEvtType` | [`EventType`] |
/// | 8 | `serializationTimestamp` | milliseconds since the Unix epoch |
/// | 1 | `timestampSet` | |
/// | | `mContextName` | string or null |
/// | | `mSession` | `byte[]` or null: the payload |
/// | | `mSessionID` | string or null |
/// | | `uniqueId` | string or null: for logs only |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionMessage<'a> {
    /// The superclass's timestamp, which nobody reads.
    pub base_timestamp_ms: i64,
    /// The kind: an [`EventType`]'s number, or one that receivers ignore.
    pub event_type: i32,
    /// When the message was made, or the session created, or the state's snapshot taken: milliseconds since the
    /// Unix epoch, sender's clock.
    pub timestamp_ms: i64,
    /// Whether the timestamp was ever assigned.
    pub timestamp_set: bool,
    /// The manager's name (`localhost#/shop`); `None` addresses every manager.
    pub context_name: Option<&'a [u8]>,
    /// The payload: a delta, sessions, a new id.
    pub session: Option<&'a [u8]>,
    /// The session's id, or a fixed word.
    pub session_id: Option<&'a [u8]>,
    /// A text that identifies the message in logs.
    pub unique_id: Option<&'a [u8]>,
    /// Which of the texts are one Java object.
    pub sharing: Sharing,
}

#[cfg(feature = "defmt")]
impl defmt::Format for SessionMessage<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "session message {=i32} of {=i64} ms for {=[u8]:a}, session {=[u8]:a}, {=usize} bytes",
            self.event_type,
            self.timestamp_ms,
            self.context_name.unwrap_or_default(),
            self.session_id.unwrap_or_default(),
            self.session.map_or(0, <[u8]>::len)
        );
    }
}

/// Which texts of a [`SessionMessage`] are the same Java object, so that the later one is a back reference.
///
/// Only the bytes of the stream depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sharing {
    /// `mSessionID` is `mContextName`.
    pub session_id_is_context: bool,
    /// `uniqueId` is `mContextName`.
    pub unique_id_is_context: bool,
    /// `uniqueId` is `mSessionID`.
    pub unique_id_is_session_id: bool,
}

/// Why a Java stream is no session message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageError {
    /// The stream cannot be read.
    Java(JavaError),
    /// The stream holds something else.
    OtherClass,
    /// A field is missing or of another type.
    Field(&'static str),
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Java(error) => error.fmt(f),
            Self::OtherClass => f.write_str("not a SessionMessageImpl"),
            Self::Field(name) => write!(f, "SessionMessageImpl without a proper `{name}`"),
        }
    }
}

impl core::error::Error for MessageError {}

impl From<JavaError> for MessageError {
    fn from(error: JavaError) -> Self {
        Self::Java(error)
    }
}

/// The stream header, `TC_OBJECT` and both class descriptors: the same in every message.
const PREAMBLE: &[u8] = b"\xAC\xED\x00\x05\
    sr\x00\x31org.apache.catalina.ha.session.SessionMessageImpl\x00\x00\x00\x00\x00\x00\x00\x02\x02\x00\x07\
    I\x00\x08mEvtType\
    J\x00\x16serializationTimestamp\
    Z\x00\x0CtimestampSet\
    L\x00\x0CmContextNamet\x00\x12Ljava/lang/String;\
    [\x00\x08mSessiont\x00\x02[B\
    L\x00\x0AmSessionIDq\x00\x7E\x00\x01\
    L\x00\x08uniqueIdq\x00\x7E\x00\x01\
    xr\x00\x29org.apache.catalina.ha.ClusterMessageBase\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x01\
    J\x00\x09timestampxp";

/// The class.
#[cfg(feature = "alloc")]
const CLASS_NAME: &str = "org.apache.catalina.ha.session.SessionMessageImpl";

/// The beginning of a `byte[]` whose class has not been described yet.
pub(crate) const BYTE_ARRAY: &[u8] = b"ur\x00\x02[B\xAC\xF3\x17\xF8\x06\x08T\xE0\x02\x00\x00xp";

/// The handle after those of the preamble: the first string's.
const FIRST_HANDLE: u32 = 0x7E_0005;

const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const STRING: u8 = 0x74;
const LONG_STRING: u8 = 0x7C;

impl<'a> SessionMessage<'a> {
    /// A message of `kind` with a timestamp; add the payload with `..`.
    pub const fn new(
        kind: EventType,
        context_name: &'a [u8],
        session_id: &'a [u8],
        unique_id: &'a [u8],
        timestamp_ms: i64,
    ) -> Self {
        Self {
            base_timestamp_ms: 0,
            event_type: kind.number(),
            timestamp_ms,
            timestamp_set: true,
            context_name: Some(context_name),
            session: None,
            session_id: Some(session_id),
            unique_id: Some(unique_id),
            sharing: Sharing {
                session_id_is_context: false,
                unique_id_is_context: false,
                unique_id_is_session_id: false,
            },
        }
    }

    /// The kind, if it is a known one.
    pub fn kind(&self) -> Option<EventType> {
        EventType::from_number(self.event_type)
    }

    /// Reads a message that lies as every Tomcat from 8.0 on writes it; `None` for any other layout, which
    /// `normalize` (with `alloc`) can turn into this one.
    pub fn read(stream: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(stream.strip_prefix(PREAMBLE)?);
        let mut message = Self {
            base_timestamp_ms: rest.i64("timestamp").ok()?,
            event_type: rest.i32("mEvtType").ok()?,
            timestamp_ms: rest.i64("serializationTimestamp").ok()?,
            timestamp_set: rest.bool("timestampSet").ok()?,
            ..Self::default()
        };
        let mut next = FIRST_HANDLE;
        let none = (0, None);
        let context = text(&mut rest, &mut next, none, none)?;
        message.context_name = context.1;
        message.session = payload(&mut rest, &mut next)?;
        let before = next;
        let id = text(&mut rest, &mut next, context, none)?;
        message.session_id = id.1;
        message.sharing.session_id_is_context = id.1.is_some() && before == next;
        let before = next;
        let unique = text(&mut rest, &mut next, context, id)?;
        message.unique_id = unique.1;
        if unique.1.is_some() && before == next {
            message.sharing.unique_id_is_context = unique.0 == context.0;
            message.sharing.unique_id_is_session_id = unique.0 != context.0;
        }
        rest.is_empty().then_some(message)
    }

    /// Reads a message however its stream is laid out (nothing shared, class descriptors that come earlier, another UID), by
    /// writing it as every Tomcat does: [`read`](Self::read) the result.
    ///
    /// # Errors
    ///
    /// If the stream cannot be read or holds something else.
    #[cfg(feature = "alloc")]
    pub fn normalize(stream: &[u8], limits: &Limits) -> Result<Vec<u8>, MessageError> {
        let graph = Graph::parse(stream, limits)?;
        let root = graph.root().ok_or(MessageError::OtherClass)?;
        if graph.class_name(root) != CLASS_NAME {
            return Err(MessageError::OtherClass);
        }
        let primitive = |name: &'static str| match graph.field(root, name) {
            Some(FieldValue::Primitive(value)) => Ok(value),
            _ => Err(MessageError::Field(name)),
        };
        let long = |name| match primitive(name)? {
            Boxed::Long(value) => Ok(value),
            _ => Err(MessageError::Field(name)),
        };
        let object = |name: &'static str| match graph.field(root, name) {
            Some(FieldValue::Reference(slot)) => Ok(slot),
            _ => Err(MessageError::Field(name)),
        };
        let text = |name| {
            let text = |node: NodeId| graph.text(node).ok_or(MessageError::Field(name));
            object(name)?.map(text).transpose()
        };
        let (context, id, unique) = (
            text("mContextName")?,
            text("mSessionID")?,
            text("uniqueId")?,
        );
        let payload = object("mSession")?
            .map(|node| {
                graph
                    .primitive_array(node)
                    .ok_or(MessageError::Field("mSession"))
            })
            .transpose()?;
        let Boxed::Integer(event_type) = primitive("mEvtType")? else {
            return Err(MessageError::Field("mEvtType"));
        };
        let Boxed::Boolean(timestamp_set) = primitive("timestampSet")? else {
            return Err(MessageError::Field("timestampSet"));
        };
        let message = SessionMessage {
            // Of the superclass, which a stripped-down sender may leave out.
            base_timestamp_ms: long("timestamp").unwrap_or_default(),
            event_type,
            timestamp_ms: long("serializationTimestamp")?,
            timestamp_set,
            context_name: context.as_ref().map(JavaString::as_modified_utf8),
            session: payload,
            session_id: id.as_ref().map(JavaString::as_modified_utf8),
            unique_id: unique.as_ref().map(JavaString::as_modified_utf8),
            sharing: Sharing::default(),
        };
        let mut normal = Vec::with_capacity(message.encoded_len());
        message.write(&mut normal);
        Ok(normal)
    }

    /// Appends the whole stream.
    #[cfg(feature = "alloc")]
    pub fn write(&self, out: &mut Vec<u8>) {
        // A vector is never full.
        let _ = self.write_to(out);
    }

    /// Writes the whole stream.
    ///
    /// # Errors
    ///
    /// [`Full`] without room.
    pub fn write_to(&self, out: &mut impl Sink) -> Result<(), Full> {
        let array = self.begin(out)?;
        if let Some(payload) = self.session {
            out.put(BYTE_ARRAY)?;
            out.put_sized(payload)?;
        } else {
            out.put_u8(NULL)?;
        }
        self.end(out, array)
    }

    /// The length of the stream, at most: exact if nothing is shared.
    pub fn encoded_len(&self) -> usize {
        let texts = [self.context_name, self.session_id, self.unique_id];
        let array = |payload: &[u8]| payload.len().saturating_add(BYTE_ARRAY.len() + 4);
        texts
            .into_iter()
            .map(|text| text.map_or(1, |text| text.len().saturating_add(3)))
            .chain([self.session.map_or(1, array)])
            .fold(PREAMBLE.len() + 21, usize::saturating_add)
    }

    /// Everything before the payload; gives the handle that the payload's class gets.
    pub(crate) fn begin(&self, out: &mut impl Sink) -> Result<u32, Full> {
        out.put(PREAMBLE)?;
        out.put_i64(self.base_timestamp_ms)?;
        out.put_i32(self.event_type)?;
        out.put_i64(self.timestamp_ms)?;
        out.put_u8(u8::from(self.timestamp_set))?;
        put_text(out, self.context_name)?;
        Ok(FIRST_HANDLE.wrapping_add(u32::from(self.context_name.is_some())))
    }

    /// Everything after the payload, which counts as there if `session` is set, whatever it holds.
    pub(crate) fn end(&self, out: &mut impl Sink, array: u32) -> Result<(), Full> {
        let own = if self.session.is_some() {
            array.wrapping_add(2)
        } else {
            array
        };
        let shares_context = self.context_name.is_some() && self.sharing.session_id_is_context;
        let id_handle = if shares_context { FIRST_HANDLE } else { own };
        if shares_context {
            put_reference(out, FIRST_HANDLE)?;
        } else {
            put_text(out, self.session_id)?;
        }
        if self.context_name.is_some() && self.sharing.unique_id_is_context {
            put_reference(out, FIRST_HANDLE)
        } else if self.session_id.is_some() && self.sharing.unique_id_is_session_id {
            put_reference(out, id_handle)
        } else {
            put_text(out, self.unique_id)
        }
    }
}

type Text<'a> = (u32, Option<&'a [u8]>);

/// A string: null, new (it takes a handle), or a reference to one of two earlier ones.
fn text<'a>(rest: &mut Reader<'a>, next: &mut u32, a: Text<'a>, b: Text<'a>) -> Option<Text<'a>> {
    const TEXT: &str = "text";
    let len = match rest.u8(TEXT).ok()? {
        NULL => return Some((0, None)),
        REFERENCE => {
            let handle = rest.u32(TEXT).ok()?;
            return [a, b]
                .into_iter()
                .find(|text| text.1.is_some() && text.0 == handle);
        }
        STRING => usize::from(rest.u16(TEXT).ok()?),
        LONG_STRING => usize::try_from(rest.u64(TEXT).ok()?).ok()?,
        _ => return None,
    };
    let text = rest.take(len, TEXT).ok()?;
    if !crate::java::is_modified_utf8(text) {
        return None;
    }
    let handle = *next;
    *next = next.wrapping_add(1);
    Some((handle, Some(text)))
}

/// A `byte[]` or null.
fn payload<'a>(rest: &mut Reader<'a>, next: &mut u32) -> Option<Option<&'a [u8]>> {
    if let Some(tail) = rest.rest().strip_prefix(&[NULL]) {
        *rest = Reader::new(tail);
        return Some(None);
    }
    *rest = Reader::new(rest.rest().strip_prefix(BYTE_ARRAY)?);
    let payload = rest.sized(usize::MAX, "mSession").ok()?;
    *next = next.wrapping_add(2);
    Some(Some(payload))
}

fn put_text(out: &mut impl Sink, text: Option<&[u8]>) -> Result<(), Full> {
    let Some(text) = text else {
        return out.put_u8(NULL);
    };
    if let Ok(len) = u16::try_from(text.len()) {
        out.put_u8(STRING)?;
        out.put(&len.to_be_bytes())?;
    } else {
        out.put_u8(LONG_STRING)?;
        out.put_u64(text.len() as u64)?;
    }
    out.put(text)
}

fn put_reference(out: &mut impl Sink, handle: u32) -> Result<(), Full> {
    out.put_u8(REFERENCE)?;
    out.put_u32(handle)
}
