//! `DeltaRequest`.

use folkmoot_core::java::{JavaString, Limits, ObjectOutput};
use folkmoot_core::session::{
    Action, ActionType, DeltaRequest, SessionId, read_new_session_id, write_new_session_id,
};

use super::build::Builder;
use super::compare::same_value;
use super::node::{Made, Node, Values};
use super::streams::parsed;
use super::{OK, flag, list, number, text};
use crate::support::vector::Vector;
use crate::support::{Checked, same, same_bytes};

type Row = (ActionType, i32, JavaString, bool);

fn rows<V>(delta: &DeltaRequest<V>) -> Vec<Row> {
    let rows = delta.actions.iter();
    rows.map(|row| (row.kind, row.action, row.name.clone(), row.value.is_some()))
        .collect()
}

/// Read and compared, and built from its fields.
pub(super) fn check(vector: &Vector) -> Checked {
    let stream = vector.whole()?;
    let graph = parsed(stream)?;
    let read = DeltaRequest::read(stream, &Limits::default()).map_err(|error| error.to_string())?;
    let actions = list(&vector.fields, "actions")?;

    let (mut values, mut builder) = (Values::of(&graph), Builder::new(&graph));
    let mut made = vec![];
    for (action, read) in actions.iter().zip(&read.actions) {
        if !flag(action, "hasValue")? {
            made.push(None);
            continue;
        }
        let slot = values.next()?;
        same_value("value", &action["value"], &graph, slot)?;
        same(
            "value by itself",
            read.value.as_ref(),
            Some(&graph.value_bytes(slot)),
        )?;
        made.push(Some(Made::value(&mut builder, &action["value"], slot)?));
    }
    let whole = made.iter().flatten().all(|made| made.is_built());
    let graph_built = whole.then_some(&builder.graph);
    let mut built: DeltaRequest<Node<'_>> = DeltaRequest::new(
        SessionId::from(text(&vector.fields["sessionId"])?.ok_or("no session id")?),
        flag(&vector.fields, "recordAllActions")?,
    );
    for (action, made) in actions.iter().zip(made) {
        built.actions.push(Action {
            kind: ActionType(number(action, "type")? as i32),
            action: number(action, "action")? as i32,
            name: text(&action["name"])?.ok_or("no name")?,
            value: made.map(|made| made.node(graph_built, &graph)),
        });
    }
    same("session id", &read.session_id, &built.session_id)?;
    same(
        "recordAllActions",
        read.record_all_actions,
        built.record_all_actions,
    )?;
    same("actions", rows(&read), rows(&built))?;
    let mut out = ObjectOutput::new();
    built.write(&mut out).map_err(|error| error.to_string())?;
    same_bytes("request built from its fields", &out.finish(), stream)?;

    // From values that stand for themselves the bytes differ only in what is shared: it reads as the same.
    let mut out = ObjectOutput::new();
    read.write(&mut out).map_err(|error| error.to_string())?;
    let again = DeltaRequest::read(&out.finish(), &Limits::default());
    same("request written again", again, Ok(read))?;
    for cut in 0..stream.len().min(4096) {
        let read = DeltaRequest::read(&stream[..cut], &Limits::default());
        same("a request cut off is read", read.is_ok(), false)?;
    }
    OK
}

/// The payload of CHANGE_SESSION_ID.
pub(super) fn new_session_id(vector: &Vector) -> Checked {
    let id = SessionId::from(text(&vector.fields["newSessionId"])?.ok_or("no id")?);
    let stream = vector.whole()?;
    parsed(stream)?;
    same(
        "id",
        read_new_session_id(stream, &Limits::default()),
        Ok(id.clone()),
    )?;
    let built = write_new_session_id(&id).map_err(|error| error.to_string())?;
    same_bytes("payload built from its fields", &built, stream)?;
    OK
}
