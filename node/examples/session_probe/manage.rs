//! The `/m` endpoints: what a node holds, looked at without touching it.

use folkmoot::{Cluster, EventCounters, EventType, Member, SessionId};
use serde_json::{Value, json};

use crate::answer::{Fields, Parameters, Refusal};
use crate::manager::Manager;
use crate::values;

/// Members without ourselves, and the sessions here.
pub(crate) fn state(
    cluster: &Cluster,
    manager: &Manager,
    parameters: &Parameters,
) -> Result<Fields, Refusal> {
    let mut fields = Fields::new();
    let members: Vec<Value> = cluster.members().iter().map(member).collect();
    fields.insert("members".into(), json!(members));
    let (here, all) = manager.counts();
    fields.insert("sessionCount".into(), json!(here));
    fields.insert("sessionCountFull".into(), json!(all));
    if parameters.get("ids") == Some("1") {
        let (here, all) = manager.ids();
        fields.insert("sessions".into(), json!(here));
        fields.insert("sessionsFull".into(), json!(all));
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
pub(crate) fn session(manager: &Manager, id: &str) -> Result<Fields, Refusal> {
    let id = SessionId::from(id);
    let gone = || Refusal::unknown(&format!("session {id} here"));
    let role = manager.role(&id).ok_or_else(gone)?;
    let mut fields = Fields::from_iter([
        ("id".to_owned(), json!(id.to_string())),
        ("role".to_owned(), json!(role)),
    ]);
    // A proxy only knows where it is.
    let Some((view, pairs)) = manager.find(&id).filter(|_| role != "proxy") else {
        fields.insert("isNew".into(), json!(false));
        return Ok(fields);
    };
    let mut attributes = Fields::new();
    for (name, value) in pairs {
        attributes.insert(name, values::described(Some(&value)).into());
    }
    fields.insert("isNew".into(), json!(view.is_new));
    fields.insert("lastAccessed".into(), json!(view.last_accessed_time_ms));
    fields.insert(
        "maxInactiveInterval".into(),
        json!(view.max_inactive_interval),
    );
    fields.insert("attributes".into(), attributes.into());
    Ok(fields)
}
