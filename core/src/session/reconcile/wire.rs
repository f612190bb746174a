//! What our nodes tell each other to make their sessions equal.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes};

use crate::java::{JavaBytes, JavaString, Limits};
use crate::session::stamp::Field;
use crate::session::{ActionType, SessionId, Stamp};
use crate::wire::{DecodeError, DecodeErrorKind, Reader};

/// What every message of this kind begins with. It travels as a byte message between nodes that know each other by
/// [`MARKER`](crate::transport::MARKER), never to or from a Tomcat. The last byte is a version.
pub const RECONCILE_MAGIC: [u8; 8] = *b"\xf0Frecon\x01";

/// A message between two managers of one name on nodes of this implementation.
///
/// Layout; numbers are big-endian, a text is a `u16` length and modified UTF-8:
///
/// | bytes | field |
/// |---|---|
/// | 8 | [`RECONCILE_MAGIC`] |
/// | 1 | kind: 1 ask, 2 page, 3 fetch, 4 sessions |
/// | text | the managers' name |
/// | 4 | serial of the comparison, chosen by who asks and repeated in each answer |
/// | | the [`ReconcileBody`] |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileMessage {
    /// The managers' name (`localhost#/shop`).
    pub context_name: JavaString,
    /// Which comparison it belongs to.
    pub serial: u32,
    /// What it says.
    pub body: ReconcileBody,
}

/// What a [`ReconcileMessage`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileBody {
    /// "What do you have?" `mutual: u8` (0 or 1), `within_ms: u32`, then the [`Cursor`].
    Ask {
        /// Whether the one asked is to compare in the other direction, too.
        mutual: bool,
        /// Only what was used, or ended, so many milliseconds ago at most; `u32::MAX` for everything.
        within_ms: u32,
        /// Where to go on.
        cursor: Cursor,
    },
    /// The answer: the next [`Cursor`], `u16` count of endings, them, `u16` count of digests, them.
    Page {
        /// Where to go on; [`Stage::End`] after the last.
        next: Cursor,
        /// Ids that are no session any more.
        ended: Vec<Ended>,
        /// Sessions: text id, `u64` digest over content and history.
        digests: Vec<(SessionId, u64)>,
    },
    /// "Tell me what you have of these that I have not": `u16` count, then each [`Known`].
    Fetch {
        /// The sessions that differ.
        sessions: Vec<Known>,
    },
    /// The answer: `u16` count, then each [`Told`], from the first of those asked for on, as many as fit.
    Sessions {
        /// The sessions.
        sessions: Vec<Told>,
    },
}

/// How far a comparison has come: `u8` stage, `u64` position within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What is gone through.
    pub stage: Stage,
    /// What only the one asked understands.
    pub position: u64,
}

/// What a comparison goes through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// 0: ids that are no session any more.
    Ended,
    /// 1: sessions.
    Sessions,
    /// 2: nothing is left.
    End,
}

/// An id that is no session any more: text id, `i64` time, `u32` how long it is to be remembered, `u8` kind (0 invalidated, 1 timed
/// out, 2 renamed), for the last the text of the new id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The id.
    pub id: SessionId,
    /// When, as in a [`Stamp`].
    pub at_ms: i64,
    /// For how many milliseconds it is still to be remembered.
    pub memory_ms: u32,
    /// How.
    pub how: EndedHow,
}

/// What became of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedHow {
    /// The session was invalidated.
    Invalidated,
    /// Its time was over.
    TimedOut,
    /// The session has this id now.
    Renamed(SessionId),
}

/// What the one who asks has of a session: text id, `u32` count, then each field: `i32` kind, text name, the stamp (`i64` time,
/// `u64` writer), `u64` digest of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The session.
    pub id: SessionId,
    /// Its fields; none if it is not here.
    pub fields: Vec<KnownField>,
}

/// A field of a [`Known`] session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownField {
    /// What it is: the number of an action that changes it, and its name.
    pub field: (ActionType, JavaString),
    /// When it was changed last.
    pub stamp: Stamp,
    /// A number made of its value.
    pub digest: u64,
}

/// A session as the one asked has it: text id, `u8` whether it is there, and if so the rest of [`ToldSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The session.
    pub id: SessionId,
    /// `None` if it is not there.
    pub session: Option<ToldSession>,
}

/// A session: `i64` creation, `i64` since when it has its id, `u64` for how long it has been idle, the newest stamp, `u16` count of writers, each `u64` writer and `i64`
/// time, ascending; `u32` count of fields, each `i32` kind, text name, stamp, `u8` what (0 removed, 1 as you have
/// it, 2 a value: `u32` length and the Java stream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldSession {
    /// Milliseconds since the Unix epoch.
    pub creation_time_ms: i64,
    /// As in a [`Stamp`].
    pub id_since_ms: i64,
    /// For how many milliseconds nobody has used it.
    pub idle_ms: u64,
    /// The newest change or use.
    pub version: Stamp,
    /// The newest change known of each writer.
    pub seen: Vec<(u64, i64)>,
    /// Fields that are newer than those asked with, or of the same age and different.
    pub fields: Vec<ToldField>,
}

/// A field of a [`ToldSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldField {
    /// What it is.
    pub field: (ActionType, JavaString),
    /// When it was changed last.
    pub stamp: Stamp,
    /// What it is now.
    pub value: ToldValue,
}

/// The value of a [`ToldField`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldValue {
    /// It was removed.
    Removed,
    /// What the one who asked has, too.
    Same,
    /// This.
    Value(JavaBytes),
}

/// Sessions, digests and endings in one message: more are not made, and not read.
pub(crate) const ITEMS_MAX: usize = 512;

/// Writers of one session in a message.
const WRITERS_MAX: usize = 64;

impl ReconcileMessage {
    /// Whether bytes claim to be such a message.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&RECONCILE_MAGIC)
    }

    /// Appends the message to `out`.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_slice(&RECONCILE_MAGIC);
        out.put_u8(match self.body {
            ReconcileBody::Ask { .. } => 1,
            ReconcileBody::Page { .. } => 2,
            ReconcileBody::Fetch { .. } => 3,
            ReconcileBody::Sessions { .. } => 4,
        });
        put_text(out, self.context_name.as_modified_utf8());
        out.put_u32(self.serial);
        match &self.body {
            ReconcileBody::Ask {
                mutual,
                within_ms,
                cursor,
            } => {
                out.put_u8(u8::from(*mutual));
                out.put_u32(*within_ms);
                cursor.write(out);
            }
            ReconcileBody::Page {
                next,
                ended,
                digests,
            } => {
                next.write(out);
                put_count(out, ended.len());
                ended.iter().for_each(|ended| ended.write(out));
                put_count(out, digests.len());
                for (id, digest) in digests {
                    put_text(out, id.as_modified_utf8());
                    out.put_u64(*digest);
                }
            }
            ReconcileBody::Fetch { sessions } => {
                put_count(out, sessions.len());
                sessions.iter().for_each(|known| known.write(out));
            }
            ReconcileBody::Sessions { sessions } => {
                put_count(out, sessions.len());
                sessions.iter().for_each(|told| told.write(out));
            }
        }
    }

    /// Reads a message; values within `limits`.
    ///
    /// # Errors
    /// The first field that is not as the layout says: nothing is guessed.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array("magic")? != RECONCILE_MAGIC {
            return Err(DecodeErrorKind::BadMagic.of("magic"));
        }
        let kind = reader.u8("kind")?;
        let context_name = text(&mut reader, "context name")?;
        let serial = reader.u32("serial")?;
        let body = match kind {
            1 => ReconcileBody::Ask {
                mutual: flag(&mut reader, "mutual")?,
                within_ms: reader.u32("within")?,
                cursor: Cursor::read(&mut reader)?,
            },
            2 => {
                let next = Cursor::read(&mut reader)?;
                let ended = list(&mut reader, "endings", Ended::read)?;
                let digests = list(&mut reader, "digests", |reader| {
                    Ok((session_id(reader)?, reader.u64("digest")?))
                })?;
                ReconcileBody::Page {
                    next,
                    ended,
                    digests,
                }
            }
            3 => ReconcileBody::Fetch {
                sessions: list(&mut reader, "sessions", Known::read)?,
            },
            4 => ReconcileBody::Sessions {
                sessions: list(&mut reader, "sessions", |reader| Told::read(reader, limits))?,
            },
            _ => return Err(DecodeErrorKind::BadValue.of("kind")),
        };
        reader.finish("message")?;
        Ok(Self {
            context_name,
            serial,
            body,
        })
    }
}

impl Cursor {
    fn write(&self, out: &mut impl BufMut) {
        out.put_u8(match self.stage {
            Stage::Ended => 0,
            Stage::Sessions => 1,
            Stage::End => 2,
        });
        out.put_u64(self.position);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stage = match reader.u8("stage")? {
            0 => Stage::Ended,
            1 => Stage::Sessions,
            2 => Stage::End,
            _ => return Err(DecodeErrorKind::BadValue.of("stage")),
        };
        let position = reader.u64("position")?;
        Ok(Self { stage, position })
    }
}

impl Ended {
    fn write(&self, out: &mut impl BufMut) {
        put_text(out, self.id.as_modified_utf8());
        out.put_i64(self.at_ms);
        out.put_u32(self.memory_ms);
        match &self.how {
            EndedHow::Invalidated => out.put_u8(0),
            EndedHow::TimedOut => out.put_u8(1),
            EndedHow::Renamed(new) => {
                out.put_u8(2);
                put_text(out, new.as_modified_utf8());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: session_id(reader)?,
            at_ms: time(reader)?,
            memory_ms: reader.u32("memory")?,
            how: match reader.u8("ending")? {
                0 => EndedHow::Invalidated,
                1 => EndedHow::TimedOut,
                2 => EndedHow::Renamed(session_id(reader)?),
                _ => return Err(DecodeErrorKind::BadValue.of("ending")),
            },
        })
    }
}

impl Known {
    fn write(&self, out: &mut impl BufMut) {
        put_text(out, self.id.as_modified_utf8());
        put_long_count(out, self.fields.len());
        for known in &self.fields {
            put_field(out, &known.field, known.stamp);
            out.put_u64(known.digest);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = session_id(reader)?;
        let fields = long_list(reader, |reader| {
            let (field, stamp) = field(reader)?;
            let digest = reader.u64("digest")?;
            Ok(KnownField {
                field,
                stamp,
                digest,
            })
        })?;
        Ok(Self { id, fields })
    }

    /// The bytes it takes.
    pub(crate) fn encoded_len(&self) -> usize {
        let names = self.fields.iter().map(|known| known.field.1.encoded_len());
        let fields = names.fold(0, |sum: usize, name| {
            sum.saturating_add(name).saturating_add(30)
        });
        fields
            .saturating_add(self.id.as_modified_utf8().len())
            .saturating_add(6)
    }
}

impl Told {
    fn write(&self, out: &mut impl BufMut) {
        put_text(out, self.id.as_modified_utf8());
        out.put_u8(u8::from(self.session.is_some()));
        let Some(session) = &self.session else {
            return;
        };
        out.put_i64(session.creation_time_ms);
        out.put_i64(session.id_since_ms);
        out.put_u64(session.idle_ms);
        put_stamp(out, session.version);
        put_count(out, session.seen.len());
        for (writer, time) in &session.seen {
            out.put_u64(*writer);
            out.put_i64(*time);
        }
        put_long_count(out, session.fields.len());
        for told in &session.fields {
            put_field(out, &told.field, told.stamp);
            match &told.value {
                ToldValue::Removed => out.put_u8(0),
                ToldValue::Same => out.put_u8(1),
                ToldValue::Value(value) => {
                    out.put_u8(2);
                    put_long_count(out, value.as_bytes().len());
                    out.put_slice(value.as_bytes());
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let id = session_id(reader)?;
        if !flag(reader, "presence")? {
            return Ok(Self { id, session: None });
        }
        let creation_time_ms = reader.i64("creation")?;
        let id_since_ms = time(reader)?;
        let idle_ms = reader.u64("idle")?;
        let version = stamp(reader)?;
        let mut seen: Vec<(u64, i64)> = Vec::new();
        for _ in 0..reader.u16("writers")? {
            let writer = (reader.u64("writer")?, time(reader)?);
            let ascending = seen.last().is_none_or(|last| last.0 < writer.0);
            if !ascending || seen.len() == WRITERS_MAX {
                return Err(DecodeErrorKind::BadValue.of("writers"));
            }
            seen.push(writer);
        }
        let fields = long_list(reader, |reader| {
            let (field, stamp) = field(reader)?;
            let value = match reader.u8("value")? {
                0 => ToldValue::Removed,
                1 => ToldValue::Same,
                2 => {
                    let len = usize::try_from(reader.u32("value")?).unwrap_or(usize::MAX);
                    let stream = Bytes::copy_from_slice(reader.take(len, "value")?);
                    let value = JavaBytes::new(stream, limits).ok();
                    let value = value.filter(|value| !value.is_null());
                    ToldValue::Value(value.ok_or(DecodeErrorKind::BadValue.of("value"))?)
                }
                _ => return Err(DecodeErrorKind::BadValue.of("value")),
            };
            Ok(ToldField {
                field,
                stamp,
                value,
            })
        })?;
        let session = Some(ToldSession {
            creation_time_ms,
            id_since_ms,
            idle_ms,
            version,
            seen,
            fields,
        });
        Ok(Self { id, session })
    }
}

fn put_text(out: &mut impl BufMut, text: &[u8]) {
    // Ids and names are checked when they are made: Java's limit is the same.
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(len);
    out.put_slice(text.get(..usize::from(len)).unwrap_or(text));
}

fn put_count(out: &mut impl BufMut, count: usize) {
    out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
}

fn put_long_count(out: &mut impl BufMut, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_stamp(out: &mut impl BufMut, stamp: Stamp) {
    out.put_i64(stamp.time_ms);
    out.put_u64(stamp.writer);
}

fn put_field(out: &mut impl BufMut, field: &Field, stamp: Stamp) {
    out.put_i32(field.0.0);
    put_text(out, field.1.as_modified_utf8());
    put_stamp(out, stamp);
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<JavaString, DecodeError> {
    let len = reader.u16(field)?;
    let bytes = reader.take(usize::from(len), field)?;
    JavaString::from_modified_utf8(Bytes::copy_from_slice(bytes))
        .ok_or(DecodeErrorKind::BadValue.of(field))
}

fn session_id(reader: &mut Reader<'_>) -> Result<SessionId, DecodeError> {
    let text = text(reader, "session id")?;
    if text.is_empty() {
        return Err(DecodeErrorKind::BadValue.of("session id"));
    }
    Ok(text.into())
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeErrorKind::BadValue.of(field)),
    }
}

fn time(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    let time = reader.i64("time")?;
    match (0..=Stamp::TIME_MAX).contains(&time) {
        true => Ok(time),
        false => Err(DecodeErrorKind::BadValue.of("time")),
    }
}

fn stamp(reader: &mut Reader<'_>) -> Result<Stamp, DecodeError> {
    Ok(Stamp {
        time_ms: time(reader)?,
        writer: reader.u64("writer")?,
    })
}

fn field(reader: &mut Reader<'_>) -> Result<(Field, Stamp), DecodeError> {
    let kind = ActionType(reader.i32("field")?);
    let known = matches!(
        kind,
        ActionType::ATTRIBUTE
            | ActionType::PRINCIPAL
            | ActionType::MAX_INTERVAL
            | ActionType::AUTH_TYPE
            | ActionType::LISTENER
            | ActionType::NOTE
    );
    if !known {
        return Err(DecodeErrorKind::BadValue.of("field"));
    }
    Ok(((kind, text(reader, "name")?), stamp(reader)?))
}

/// A `u16` count and as many items; memory grows with what has been read.
fn list<T>(
    reader: &mut Reader<'_>,
    field: &'static str,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(reader.u16(field)?);
    if count > ITEMS_MAX {
        return Err(DecodeErrorKind::TooLong(count).of(field));
    }
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read(reader)?);
    }
    Ok(items)
}

/// A `u32` count and as many fields, each of which takes bytes.
fn long_list<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut items = Vec::new();
    for _ in 0..reader.u32("fields")? {
        items.push(read(reader)?);
    }
    Ok(items)
}
