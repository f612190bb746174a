//! The `/m` endpoints: what a node holds, looked at without touching it.

use folkmoot::{Cluster, DeltaManager, EventCounters, EventType, Member, SessionId};
use serde_json::{Value, json};

use crate::answer::{Fields, Parameters, Refusal};
use crate::values;

/// Members without ourselves, and the sessions here.
pub(crate) fn state(
    cluster: &Cluster,
    manager: &DeltaManager,
    parameters: &Parameters,
) -> Result<Fields, Refusal> {
    let mut fields = Fields::new();
    let members: Vec<Value> = cluster.members().iter().map(member).collect();
    fields.insert("members".into(), json!(members));
    let count = manager.active_sessions();
    fields.insert("sessionCount".into(), json!(count));
    fields.insert("sessionCountFull".into(), json!(count));
    if parameters.get("ids") == Some("1") {
        let mut ids: Vec<String> = manager
            .session_ids()
            .iter()
            .map(ToString::to_string)
            .collect();
        ids.sort();
        fields.insert("sessions".into(), json!(ids));
        fields.insert("sessionsFull".into(), json!(ids));
    }
    let stats = manager.stats();
    fields.insert("received".into(), counters(&stats.received));
    fields.insert("sent".into(), counters(&stats.sent));
    // What no Tomcat has: comparisons with other nodes of our own.
    let reconciled = json!({
        "conflicts": stats.conflicts,
        "sessions": stats.reconciled_sessions,
        "endings": stats.reconciled_endings,
    });
    fields.insert("reconciled".into(), reconciled);
    fields.insert("interceptors".into(), interceptors(cluster));
    Ok(fields)
}

/// Counters by Tomcat's names of the events.
fn counters(counters: &EventCounters) -> Value {
    let count = |kind: EventType| (name(kind).to_owned(), json!(counters.get(kind)));
    Value::Object(EventType::ALL.into_iter().map(count).collect())
}

/// What the layers have done, as far as a test can tell from it that they were there.
fn interceptors(cluster: &Cluster) -> Value {
    let stats = cluster.stats().interceptors;
    json!({
        "encrypted": stats.encrypt.encrypted,
        "decrypted": stats.encrypt.decrypted,
        "compressed": stats.gzip.compressed,
        "decompressed": stats.gzip.decompressed,
        "fragmented": stats.fragmentation.fragmented,
        "reassembled": stats.fragmentation.reassembled,
        "numbered": stats.order.numbered,
        "inOrder": stats.order.in_order,
        "committed": stats.two_phase_commit.committed,
        "confirmed": stats.two_phase_commit.confirmations_sent,
        "refused": stats.refused,
    })
}

/// The name of the event's constant in `SessionMessage`.
fn name(kind: EventType) -> &'static str {
    match kind {
        EventType::SessionCreated => "EVT_SESSION_CREATED",
        EventType::SessionExpired => "EVT_SESSION_EXPIRED",
        EventType::SessionAccessed => "EVT_SESSION_ACCESSED",
        EventType::GetAllSessions => "EVT_GET_ALL_SESSIONS",
        EventType::AllSessionData => "EVT_ALL_SESSION_DATA",
        EventType::SessionDelta => "EVT_SESSION_DELTA",
        EventType::AllSessionTransferComplete => "EVT_ALL_SESSION_TRANSFERCOMPLETE",
        EventType::ChangeSessionId => "EVT_CHANGE_SESSION_ID",
        EventType::AllSessionNoContextManager => "EVT_ALL_SESSION_NOCONTEXTMANAGER",
    }
}

fn member(member: &Member) -> Value {
    let address = member.socket_addr();
    json!({
        "host": address.map(|address| address.ip().to_string()),
        "port": member.port,
        "uniqueId": member.unique_id.to_string(),
        "alive": member.alive_ms,
        "domain": member.domain.iter().map(|&byte| char::from(byte)).collect::<String>(),
    })
}

/// One session as it lies here.
pub(crate) fn session(manager: &DeltaManager, id: &str) -> Result<Fields, Refusal> {
    let id = SessionId::from(id);
    let gone = || Refusal::unknown(&format!("session {id} here"));
    let view = manager.find(&id).ok_or_else(gone)?;
    let mut attributes = Fields::new();
    for (name, value) in manager.attributes(&id).ok_or_else(gone)? {
        attributes.insert(name, values::described(Some(&value)).into());
    }
    Ok(Fields::from_iter([
        ("id".to_owned(), json!(id.to_string())),
        ("isNew".to_owned(), json!(view.is_new)),
        (
            "role".to_owned(),
            json!(if view.is_primary { "primary" } else { "copy" }),
        ),
        ("lastAccessed".to_owned(), json!(view.last_accessed_time_ms)),
        (
            "maxInactiveInterval".to_owned(),
            json!(view.max_inactive_interval),
        ),
        ("attributes".to_owned(), attributes.into()),
    ]))
}
