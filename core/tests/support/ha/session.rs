//! `DeltaSession` and the state that is transferred.

use folkmoot_core::java::{Boxed, Graph, JavaBytes, JavaString, Limits, ObjectInput, ObjectOutput};
use folkmoot_core::session::{RecordNotes, SessionHead, SessionRecord, StateReader, begin_state};

use super::build::Builder;
use super::compare::{same_plain, same_value};
use super::node::{Made, Node, Values};
use super::streams::parsed;
use super::{OK, flag, list, number, text};
use crate::support::json::Json;
use crate::support::vector::Vector;
use crate::support::{Checked, same, same_bytes};

/// A session at the top level of a stream, or as one object.
pub(super) fn check(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let mut input =
        ObjectInput::new(stream, &Limits::default()).map_err(|error| error.to_string())?;
    match SessionRecord::read(&mut input) {
        Ok(record) => {
            input.finish().map_err(|error| error.to_string())?;
            let skipped = compare(&record, &vector.fields)?;
            if skipped > 0 {
                // What the writer could not finish cannot be encoded again.
                return OK;
            }
            let graph = parsed(stream)?;
            let mut out = ObjectOutput::new();
            let mut builder = Builder::new(&graph);
            let parts = make(
                &mut builder,
                &graph,
                &mut Values::of(&graph),
                &vector.fields,
            )?;
            let built = parts.record(parts.is_built().then_some(&builder.graph), &graph);
            built.write(&mut out).map_err(|error| error.to_string())?;
            same_bytes("session built from its fields", &out.finish(), stream)?;
            written_again(&record)?;
        }
        Err(_) => {
            parsed(stream)?;
            let record = SessionRecord::read_object(stream, &Limits::default());
            let record = record.map_err(|error| error.to_string())?;
            same("skipped values", compare(&record, &vector.fields)?, 0)?;
            written_again(&record)?;
        }
    }
    OK
}

/// Sessions in one stream.
pub(super) fn state(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let graph = parsed(stream)?;
    let records = read_all(stream)?;
    let sessions = list(&vector.fields, "sessions")?;
    same(
        "sessions",
        records.len() as i64,
        number(&vector.fields, "count")?,
    )?;
    same("sessions", records.len(), sessions.len())?;
    let mut out = ObjectOutput::new();
    begin_state(&mut out, sessions.len());
    let mut values = Values::of(&graph);
    values.next()?;
    let (mut builder, mut made) = (Builder::new(&graph), vec![]);
    for (record, fields) in records.iter().zip(sessions) {
        same("skipped values", compare(record, fields)?, 0)?;
        written_again(record)?;
        made.push(make(&mut builder, &graph, &mut values, fields)?);
    }
    let whole = made.iter().all(Parts::is_built).then_some(&builder.graph);
    for parts in &made {
        let built = parts.record(whole, &graph);
        built.write(&mut out).map_err(|error| error.to_string())?;
    }
    same_bytes("state built from its fields", &out.finish(), stream)?;
    OK
}

/// Sessions of which one has a value that its writer could not finish: all of them are read.
pub(super) fn broken_state(vector: &Vector) -> Checked {
    let records = read_all(vector.whole()?)?;
    let ids: Vec<_> = records.iter().map(|record| record.id.to_string()).collect();
    let expected: Vec<_> = list(&vector.fields, "ids")?
        .iter()
        .filter_map(Json::as_str)
        .collect();
    same("ids", ids, expected)?;
    same(
        "values are skipped",
        records.iter().any(|record| record.skipped > 0),
        true,
    )?;
    OK
}

fn read_all(stream: &[u8]) -> Result<Vec<SessionRecord>, String> {
    let mut reader =
        StateReader::new(stream, &Limits::default()).map_err(|error| error.to_string())?;
    let mut records = vec![];
    while let Some(record) = reader.next_session().map_err(|error| error.to_string())? {
        records.push(record);
    }
    reader.finish().map_err(|error| error.to_string())?;
    Ok(records)
}

/// A record of values that stand for themselves is written, and read as the same.
fn written_again(record: &SessionRecord) -> Result<(), String> {
    let mut out = ObjectOutput::new();
    record.write(&mut out).map_err(|error| error.to_string())?;
    let stream = out.finish();
    let mut input =
        ObjectInput::new(&stream, &Limits::default()).map_err(|error| error.to_string())?;
    same(
        "session written again",
        SessionRecord::read(&mut input),
        Ok(record.clone()),
    )
}

fn head(fields: &Json) -> Result<SessionHead, String> {
    Ok(SessionHead {
        creation_time_ms: number(fields, "creationTime")?,
        last_accessed_time_ms: number(fields, "lastAccessedTime")?,
        max_inactive_interval: number(fields, "maxInactiveInterval")? as i32,
        is_new: flag(fields, "isNew")?,
        is_valid: flag(fields, "isValid")?,
        this_accessed_time_ms: number(fields, "thisAccessedTime")?,
        version: number(fields, "version")?,
    })
}

/// Compares a record with its fields; gives how many values were skipped.
fn compare(record: &SessionRecord, fields: &Json) -> Result<usize, String> {
    same("times and flags", record.head, head(fields)?)?;
    same("id", Some(&record.id), text(&fields["id"])?.as_ref())?;
    same(
        "principal",
        record.principal.is_some(),
        flag(fields, "hasPrincipal")?,
    )?;
    if let Some(principal) = &record.principal {
        principal_is(principal, &fields["principal"])?;
    }
    let RecordNotes::Present {
        session_id,
        request,
    } = &record.notes
    else {
        return Err("the notes are missing".to_owned());
    };
    for (note, name) in [(session_id, "noteSessionId"), (request, "noteRequest")] {
        same(name, note.is_some(), !fields[name].is_null())?;
        if let Some(note) = note {
            value_is(note, &fields[name])?;
        }
    }
    let attributes = list(fields, "attributes")?;
    same(
        "attributes",
        record.attributes.len() + record.skipped,
        attributes.len(),
    )?;
    let mut read = record.attributes.iter().peekable();
    for attribute in attributes {
        let [name, value] = attribute.as_list().unwrap_or_default() else {
            return Err("an attribute is not a pair".to_owned());
        };
        let name = text(name)?.ok_or("an attribute without a name")?;
        if let Some((_, read)) = read.next_if(|(read, _)| *read == name) {
            value_is(read, value)?;
        }
    }
    same("attributes not expected", read.next(), None)?;
    let listeners = list(fields, "listeners")?;
    same("listeners", record.listeners.len(), listeners.len())?;
    for (listener, fields) in record.listeners.iter().zip(listeners) {
        match fields.as_str() {
            Some(class) => same(
                "listener's class",
                listener.class_name(),
                Some(JavaString::from(class)),
            )?,
            None => value_is(listener, fields)?,
        }
    }
    Ok(record.skipped)
}

fn value_is(read: &JavaBytes, fields: &Json) -> Result<(), String> {
    let graph = parsed(read.as_bytes())?;
    same_value("value", fields, &graph, graph.root())
}

fn principal_is(read: &JavaBytes, fields: &Json) -> Result<(), String> {
    let graph = parsed(read.as_bytes())?;
    let root = graph.root().ok_or("null")?;
    let class = "org.apache.catalina.realm.GenericPrincipal$SerializablePrincipal";
    same("class", graph.class_name(root), JavaString::from(class))?;
    for (name, shown) in fields.as_object().unwrap_or_default() {
        same_plain(name, shown, &graph, root)?;
    }
    Ok(())
}

/// A record whose parts have been made in a builder's graph.
struct Parts {
    head: SessionHead,
    principal: Option<Made>,
    id: Made,
    notes: [Made; 2],
    attributes: Vec<(Made, Made)>,
    listeners: Vec<Made>,
}

/// Everything of a record from the fields but the identity of its objects.
fn make(
    builder: &mut Builder<'_>,
    original: &Graph,
    values: &mut Values<'_>,
    fields: &Json,
) -> Result<Parts, String> {
    let head = head(fields)?;
    for expected in [
        Boxed::Long(head.creation_time_ms),
        Boxed::Long(head.last_accessed_time_ms),
        Boxed::Integer(head.max_inactive_interval),
        Boxed::Boolean(head.is_new),
        Boxed::Boolean(head.is_valid),
        Boxed::Long(head.this_accessed_time_ms),
        Boxed::Long(head.version),
    ] {
        let read = values.next()?.and_then(|node| original.boxed(node));
        same("boxed value", read, Some(expected))?;
    }
    let principal = match flag(fields, "hasPrincipal")? {
        // The fields show it for people.
        true => Some(Made::original(values.next()?)),
        false => None,
    };
    let id = Made::text(builder, &fields["id"], values.next()?)?;
    let notes = [
        Made::value(builder, &fields["noteSessionId"], values.next()?)?,
        Made::value(builder, &fields["noteRequest"], values.next()?)?,
    ];
    values.next()?;
    let mut attributes = vec![];
    for attribute in list(fields, "attributes")? {
        let [name, value] = attribute.as_list().unwrap_or_default() else {
            return Err("an attribute is not a pair".to_owned());
        };
        attributes.push((
            Made::text(builder, name, values.next()?)?,
            Made::value(builder, value, values.next()?)?,
        ));
    }
    values.next()?;
    let mut listeners = vec![];
    for _ in list(fields, "listeners")? {
        listeners.push(Made::original(values.next()?));
    }
    Ok(Parts {
        head,
        principal,
        id,
        notes,
        attributes,
        listeners,
    })
}

impl Parts {
    fn is_built(&self) -> bool {
        let attributes = self
            .attributes
            .iter()
            .flat_map(|(name, value)| [name, value]);
        let rest = self
            .principal
            .iter()
            .chain(&self.listeners)
            .chain(&self.notes)
            .chain([&self.id]);
        attributes.chain(rest).all(|made| made.is_built())
    }

    fn record<'a>(
        &self,
        built: Option<&'a Graph>,
        original: &'a Graph,
    ) -> SessionRecord<Node<'a>, Node<'a>> {
        let node = |made: &Made| made.node(built, original);
        let [session_id, request] = self
            .notes
            .map(|made| (!made.is_null()).then(|| node(&made)));
        SessionRecord {
            head: self.head,
            principal: self.principal.as_ref().map(node),
            id: node(&self.id),
            notes: RecordNotes::Present {
                session_id,
                request,
            },
            attributes: self
                .attributes
                .iter()
                .map(|(name, value)| (node(name), node(value)))
                .collect(),
            listeners: self.listeners.iter().map(node).collect(),
            skipped: 0,
        }
    }
}
