//! The `/s` endpoints: what a browser's session can do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use folkmoot::Session;
use folkmoot::java::JavaBytes;
use serde_json::{Value, json};

use crate::answer::{Fields, Parameters, Refusal};
use crate::values;

/// Answers one request. Unless `create=0` is said there is a session from now on.
pub(crate) async fn answer(
    endpoint: &str,
    session: &Session,
    parameters: &Parameters,
) -> Result<Fields, Refusal> {
    const ENDPOINTS: [&str; 10] = [
        "get",
        "set",
        "remove",
        "batch",
        "dump",
        "maxinactive",
        "invalidate",
        "changeid",
        "bench",
        "touchlist",
    ];
    if !ENDPOINTS.contains(&endpoint) {
        return Err(Refusal::unknown(&format!("/s/{endpoint}")));
    }
    let create = parameters.get("create") != Some("0") && endpoint != "invalidate";
    let id = if create {
        Some(session.create()?)
    } else {
        session.id()
    };
    let mut fields = Fields::new();
    fields.insert("id".into(), json!(id.as_ref().map(ToString::to_string)));
    fields.insert("isNew".into(), json!(session.is_new()));
    let here = id.is_some();
    match endpoint {
        "get" => {
            let k = parameters.required("k")?;
            fields.insert("k".into(), json!(k));
            fields.append(&mut values::described(session.get_bytes(k)?.as_ref()));
        }
        "set" => {
            let k = parameters.required("k")?;
            let value = values::parse(parameters)?;
            let max = parameters
                .get("max")
                .map(|_| parameters.number::<i32>("max"))
                .transpose()?;
            fields.insert("k".into(), json!(k));
            fields.append(&mut values::described(Some(&value).filter(|_| here)));
            if here {
                if let Some(max) = max {
                    session.set_max_inactive_interval(max)?;
                }
                session.set_bytes(k, value)?;
            }
        }
        "remove" => {
            let k = parameters.required("k")?;
            fields.insert("k".into(), json!(k));
            let was = session.remove(k)?;
            fields.insert("was".into(), values::described(was.as_ref()).into());
        }
        "batch" => {
            for op in parameters.all("op") {
                batch(session, here, op).await?;
            }
            fields.insert("attributes".into(), attributes(session)?);
        }
        "dump" => {
            let view = session.view();
            fields.insert(
                "creation".into(),
                json!(view.as_ref().map(|view| view.creation_time_ms)),
            );
            fields.insert(
                "lastAccessed".into(),
                json!(view.as_ref().map(|view| view.last_accessed_time_ms)),
            );
            fields.insert(
                "maxInactiveInterval".into(),
                json!(view.as_ref().map(|view| view.max_inactive_interval)),
            );
            fields.insert("attributes".into(), attributes(session)?);
        }
        "maxinactive" => {
            let max: i32 = parameters.number("max")?;
            if here {
                session.set_max_inactive_interval(max)?;
            }
            fields.insert("maxInactiveInterval".into(), json!(max));
        }
        "invalidate" => {
            fields.insert("invalidated".into(), json!(session.invalidate()?));
        }
        "changeid" => {
            let new = if here {
                Some(session.change_id()?.to_string())
            } else {
                None
            };
            let old = fields.insert("id".into(), json!(new));
            fields.insert("old".into(), old.unwrap_or(Value::Null));
        }
        "bench" => {
            let size: usize = parameters.number("size")?;
            if here {
                session.set_bytes("b", bench_value(size)?)?;
            }
            fields.remove("isNew");
        }
        _ => {
            let k = parameters.required("k")?;
            let v = parameters.required("v")?;
            fields.insert("k".into(), json!(k));
            // Nothing here can be changed in place: the list is read and set again, and so replicated.
            let list = if here {
                Some(values::appended(session.get_bytes(k)?.as_ref(), v)?)
            } else {
                None
            };
            fields.append(&mut values::described(list.as_ref()));
            if let Some(list) = list {
                session.set_bytes(k, list)?;
            }
        }
    }
    Ok(fields)
}

/// One operation of a batch: `set:k:type:v`, `rm:k` or `sleep:ms`.
async fn batch(session: &Session, here: bool, op: &str) -> Result<(), Refusal> {
    let wrong = || {
        Refusal::bad(format!(
            "op: `{op}` is neither set:k:type:v nor rm:k nor sleep:ms"
        ))
    };
    let mut parts = op.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("set"), Some(k), Some(kind), Some(v)) => {
            let value = values::value(kind, v)?;
            if here {
                session.set_bytes(k, value)?;
            }
        }
        (Some("rm"), Some(k), None, None) => {
            session.remove(k)?;
        }
        (Some("sleep"), Some(ms), None, None) => {
            tokio::time::sleep(Duration::from_millis(ms.parse().map_err(|_| wrong())?)).await;
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

fn attributes(session: &Session) -> Result<Value, Refusal> {
    let mut fields = Fields::new();
    for name in session.attribute_names()? {
        let value = session.get_bytes(&name)?;
        fields.insert(name, values::described(value.as_ref()).into());
    }
    Ok(fields.into())
}

/// `size` bytes that are others at every request.
fn bench_value(size: usize) -> Result<JavaBytes, Refusal> {
    const MOST: usize = 16 << 20;
    if size > MOST {
        return Err(Refusal::bad(format!(
            "parameter size: {size} is more than {MOST}"
        )));
    }
    let mut bytes = vec![0; size];
    // A cheap generator that goes on where the last request stopped: what is measured is the cluster.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut state = NEXT.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed) | 1;
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    Ok(JavaBytes::from(bytes))
}
