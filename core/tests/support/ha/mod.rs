//! The session layer: `SessionMessage`, `DeltaRequest`, `DeltaSession` and the values inside.

pub(crate) mod build;
pub(crate) mod compare;
mod delta;
mod message;
mod node;
mod other;
mod session;
mod streams;
mod values;

use folkmoot_core::java::JavaString;

use super::json::Json;
use super::vector::{Vector, int};
use super::{Checked, File, Outcome};

/// What each file holds. The names in these files have no common beginnings: what a vector is follows from its fields.
pub(crate) const FILES: &[File] = &[("auth", &[("", values::auth)]), ("", &[("", check)])];

const OK: Checked = Ok(Outcome::Checked);

/// Finds out what the vector is.
fn check(vector: &Vector) -> Checked {
    let has = |name| vector.fields.get(name).is_some();
    let class = vector.fields["class"].as_str().unwrap_or_default();
    if class.ends_with("SessionMessageImpl") {
        message::check(vector)
    } else if class.ends_with("Message") {
        other::described(vector)
    } else if has("actions") {
        delta::check(vector)
    } else if has("newSessionId") {
        delta::new_session_id(vector)
    } else if has("creationTime") {
        session::check(vector)
    } else if has("sessions") {
        session::state(vector)
    } else if has("ids") {
        session::broken_state(vector)
    } else if has("step") {
        other::live(vector)
    } else if has("value") {
        values::value(vector)
    } else if vector.fields["readableByTomcat"].as_bool() == Some(false) {
        other::damaged(vector)
    } else {
        Err("no check is known for vectors of this kind".to_owned())
    }
}

/// Text, or null.
fn text(json: &Json) -> Result<Option<JavaString>, String> {
    if json.is_null() {
        return Ok(None);
    }
    let text = json.as_text().ok_or("a field is not text")?;
    Ok(Some(JavaString::from_utf16(&text.units)))
}

fn number(json: &Json, name: &str) -> Result<i64, String> {
    int(&json[name]).ok_or_else(|| format!("field {name} is not an integer"))
}

fn flag(json: &Json, name: &str) -> Result<bool, String> {
    json[name]
        .as_bool()
        .ok_or_else(|| format!("field {name} is not true or false"))
}

fn list<'a>(json: &'a Json, name: &str) -> Result<&'a [Json], String> {
    json[name]
        .as_list()
        .ok_or_else(|| format!("field {name} is not a list"))
}
