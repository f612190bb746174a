//! What session managers tell each other.

use folkmoot_core::java::{Graph, JavaBytes, JavaString, Limits, ObjectInput, ObjectOutput};
use folkmoot_core::session::{
    DeltaRequest, ReconcileMessage, SessionMessage, SessionRecord, StateReader, begin_state,
    read_new_session_id, write_new_session_id,
};

use super::java::LIMITS;

/// A `SessionMessageImpl`, whose payload is anything.
pub fn session_message(input: &[u8]) {
    let Some(message) = SessionMessage::read(input) else {
        return;
    };
    let mut again = Vec::new();
    message.write(&mut again);
    // Any byte but zero is a true flag, and a short text may have the long form: that is not written again.
    assert!(again.len() <= input.len());
    assert!(again.len() <= message.encoded_len());
    assert_eq!(SessionMessage::read(&again), Some(message));
    assert!(Graph::parse(input, &LIMITS).is_ok() || input.len() > LIMITS.total_bytes);
    if let Some(payload) = message.session {
        delta_request(payload);
        session_state(payload);
        new_session_id(payload);
    }
}

/// What our own nodes tell each other to make their sessions equal.
pub fn reconcile(input: &[u8]) {
    let Ok(message) = ReconcileMessage::read(input, &LIMITS) else {
        return;
    };
    assert!(ReconcileMessage::is_one(input));
    let mut again = Vec::new();
    message.write(&mut again);
    assert_eq!(again, input, "there is one way to say a thing");
}

/// The payload of a delta.
pub fn delta_request(input: &[u8]) {
    let Ok(request) = DeltaRequest::read(input, &LIMITS) else {
        return;
    };
    let write = |request: &DeltaRequest| {
        let mut out = ObjectOutput::new();
        request
            .write(&mut out)
            .expect("what was read can be written");
        out.finish()
    };
    let bytes = write(&request);
    let again = DeltaRequest::read(&bytes, &Limits::DEFAULT).expect("what was written can be read");
    assert_eq!(again.session_id, request.session_id);
    assert_eq!(again.actions.len(), request.actions.len());
    // A class that no Java writer would describe twice in one value is described once in what we write.
    assert_eq!(write(&again), bytes);
    let mut merged = DeltaRequest::new(request.session_id.clone(), false);
    request
        .actions
        .iter()
        .cloned()
        .for_each(|action| merged.record(action));
    assert!(merged.actions.len() <= request.actions.len());
    assert_eq!(merged.is_empty(), request.is_empty());
}

/// One session.
pub fn delta_session(input: &[u8]) {
    let _ = SessionRecord::read_object(input, &LIMITS);
    let Ok(mut stream) = ObjectInput::new(input, &LIMITS) else {
        return;
    };
    let Ok(record) = SessionRecord::read(&mut stream) else {
        return;
    };
    let mut out = ObjectOutput::new();
    if record.write(&mut out).is_ok() {
        let bytes = out.finish();
        let mut again = ObjectInput::new(&bytes, &Limits::DEFAULT).expect("a stream");
        let read = SessionRecord::read(&mut again).expect("what was written can be read");
        same_session(&read, &record);
        assert_eq!(again.finish(), Ok(()));
    }
}

/// The same but for classes that are described twice in one value.
fn same_session(read: &SessionRecord, written: &SessionRecord) {
    assert_eq!((&read.id, read.head), (&written.id, written.head));
    let values = |record: &SessionRecord| {
        let value = |(name, value): &(JavaString, JavaBytes)| (name.clone(), value.class_name());
        record.attributes.iter().map(value).collect::<Vec<_>>()
    };
    assert_eq!(values(read), values(written));
}

/// The payload of a state transfer.
pub fn session_state(input: &[u8]) {
    let Ok(mut state) = StateReader::new(input, &LIMITS) else {
        return;
    };
    let announced = state.remaining();
    let mut sessions = Vec::new();
    while let Ok(Some(session)) = state.next_session() {
        sessions.push(session);
    }
    assert!(sessions.len() <= announced);
    let mut out = ObjectOutput::new();
    begin_state(&mut out, sessions.len());
    for session in &sessions {
        if session.write(&mut out).is_err() {
            return;
        }
    }
    let bytes = out.finish();
    let mut again =
        StateReader::new(&bytes, &Limits::DEFAULT).expect("what was written can be read");
    for session in &sessions {
        let read = again
            .next_session()
            .expect("a session")
            .expect("as many as were written");
        same_session(&read, session);
    }
    assert_eq!(again.next_session(), Ok(None));
    assert_eq!(again.finish(), Ok(()));
}

/// The payload of a change of id.
pub fn new_session_id(input: &[u8]) {
    if let Ok(id) = read_new_session_id(input, &LIMITS) {
        let again = write_new_session_id(&id).expect("what was read can be written");
        assert_eq!(read_new_session_id(&again, &LIMITS), Ok(id));
    }
}
