//! A Tomcat's `DeltaManager`, as far as others see it.
//!
//! It drops a delta for a session that it does not know, takes every CREATED for new, remembers nobody who has gone, and gives
//! and takes its state once, at the start: what a partition has driven apart stays apart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use folkmoot_core::channel::SendOptions;
use folkmoot_core::java::{JavaBytes, JavaString, Limits, ObjectOutput};
use folkmoot_core::session::{
    Action, ActionType, DeltaRequest, EventType, RecordNotes, SessionHead, SessionId,
    SessionMessage, SessionRecord, StateReader, begin_state, read_new_session_id,
};
use folkmoot_core::time::Instant;

use crate::rng::SimRng;

/// What a Tomcat holds, kept outside of it to be looked at.
pub(crate) type SharedShelf = Rc<RefCell<Shelf>>;

/// What a Tomcat holds.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Its sessions with their attributes.
    pub(crate) sessions: BTreeMap<SessionId, BTreeMap<JavaString, JavaBytes>>,
    /// When each was created and last used, milliseconds since the Unix epoch.
    pub(crate) times: BTreeMap<SessionId, (i64, i64)>,
    /// Whether nothing is wrong just now: what its clients do from here on has to be everywhere.
    pub(crate) is_calm: bool,
    /// Whether its clients rest.
    pub(crate) is_closed: bool,
    /// Sessions that its own clients made in calm times: the number written last, or `None` after their end.
    pub(crate) made: BTreeMap<SessionId, Option<u64>>,
    /// Whether it waits for the state of the cluster, or for somebody to ask.
    pub(crate) waits: bool,
    /// Deltas it has dropped because it did not know the session.
    pub(crate) dropped: u64,
    /// Messages it has taken.
    pub(crate) taken: u64,
    /// States it has given.
    pub(crate) given: u64,
}

/// A message to be sent.
pub(crate) struct Message {
    /// To one member, or to all.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) options: SendOptions,
    pub(crate) bytes: Vec<u8>,
    /// What follows when this has been answered, or given up.
    pub(crate) then: Option<Box<Message>>,
}

/// A Tomcat's `DeltaManager`, with clients of its own.
pub(crate) struct Sessions {
    shelf: SharedShelf,
    options: SendOptions,
    route: String,
    /// The members, the oldest first.
    pub(crate) members: Vec<SocketAddr>,
    /// From when on the members are taken for known.
    pub(crate) members_known_at: Option<Instant>,
    join: Join,
    /// What came while its state was on the way.
    held: Vec<Vec<u8>>,
    pub(crate) outbox: Vec<Message>,
    /// The sessions of its own clients, with the number written last.
    own: Vec<(SessionId, u64)>,
    numbers: u64,
    next_client: Instant,
}

enum Join {
    Waiting,
    /// From whom, and until when it waits.
    Asked(SocketAddr, Instant),
    Done,
}

/// The manager's name on the wire.
const NAME: &[u8] = b"localhost#/shop";
/// `stateTransferTimeout`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions of its own clients at once.
const OWN_MAX: usize = 8;
/// The attribute that its clients write.
pub(crate) const ATTRIBUTE: &str = "tomcat";

impl Sessions {
    pub(crate) fn new(
        shelf: SharedShelf,
        options: SendOptions,
        route: String,
        now: Instant,
    ) -> Self {
        *shelf.borrow_mut() = Shelf {
            waits: true,
            ..Shelf::default()
        };
        Self {
            shelf,
            options,
            route,
            members: Vec::new(),
            members_known_at: None,
            join: Join::Waiting,
            held: Vec::new(),
            outbox: Vec::new(),
            own: Vec::new(),
            numbers: 0,
            next_client: now + Duration::from_secs(2),
        }
    }

    /// When [`turn`](Self::turn) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let join = match self.join {
            Join::Waiting => self.members_known_at,
            Join::Asked(_, until) => Some(until),
            Join::Done => None,
        };
        join.into_iter().chain([self.next_client]).min()
    }

    pub(crate) fn turn(&mut self, now: Instant, unix_ms: u64, rng: &mut SimRng) {
        match self.join {
            Join::Waiting if self.members_known_at.is_some_and(|at| at <= now) => {
                self.join = match self.members.first() {
                    Some(donor) => {
                        let donor = *donor;
                        self.say(
                            unix_ms,
                            Some(donor),
                            self.options,
                            EventType::GetAllSessions,
                            b"GET-ALL",
                            None,
                        );
                        Join::Asked(donor, now + PATIENCE)
                    }
                    None => {
                        self.shelf.borrow_mut().waits = false;
                        Join::Done
                    }
                };
            }
            Join::Asked(_, until) if until <= now => self.joined(unix_ms),
            _ => {}
        }
        if self.next_client <= now {
            self.next_client = now + Duration::from_millis(rng.between(50, 400));
            if matches!(self.join, Join::Done) {
                self.client(unix_ms, rng);
            }
        }
    }

    fn joined(&mut self, unix_ms: u64) {
        self.join = Join::Done;
        self.shelf.borrow_mut().waits = false;
        for message in std::mem::take(&mut self.held) {
            self.apply(unix_ms, None, &message);
        }
    }

    fn say(
        &mut self,
        unix_ms: u64,
        to: Option<SocketAddr>,
        options: SendOptions,
        kind: EventType,
        id: &[u8],
        payload: Option<&[u8]>,
    ) {
        let unique_id = [id, b"-", unix_ms.to_string().as_bytes()].concat();
        let mut message = SessionMessage::new(kind, NAME, id, &unique_id, unix_ms as i64);
        message.session = payload;
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let then = None;
        #[rustfmt::skip]
        self.outbox.push(Message { to, options, bytes, then });
    }

    /// One of its own clients: CREATED, deltas and EXPIRED go out as they are made, whatever became of those before.
    fn client(&mut self, unix_ms: u64, rng: &mut SimRng) {
        if self.shelf.borrow().is_closed {
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        let at = rng.index(OWN_MAX);
        let calm = self.shelf.borrow().is_calm;
        if at >= self.own.len() {
            let id = SessionId::from(format!("{:032X}.{}", rng.next_u64(), self.route));
            self.say(
                unix_ms,
                None,
                self.options,
                EventType::SessionCreated,
                id.as_modified_utf8(),
                None,
            );
            self.own.push((id.clone(), number));
            let mut shelf = self.shelf.borrow_mut();
            shelf.sessions.insert(id.clone(), BTreeMap::new());
            shelf
                .times
                .insert(id.clone(), (unix_ms as i64, unix_ms as i64));
            if calm {
                shelf.made.insert(id, Some(number));
            }
        } else if rng.chance(150_000) {
            let (id, _) = self.own.swap_remove(at);
            self.say(
                unix_ms,
                None,
                self.options,
                EventType::SessionExpired,
                id.as_modified_utf8(),
                None,
            );
            let mut shelf = self.shelf.borrow_mut();
            shelf.sessions.remove(&id);
            if let Some(made) = shelf.made.get_mut(&id) {
                *made = None;
            }
            return;
        }
        let at = at.min(self.own.len() - 1);
        self.own[at].1 = number;
        let id = self.own[at].0.clone();
        let value = JavaBytes::from(number.to_string().as_str());
        let mut delta: DeltaRequest = DeltaRequest::new(id.clone(), false);
        delta.record(Action {
            kind: ActionType::ATTRIBUTE,
            action: Action::<JavaBytes>::SET,
            name: ATTRIBUTE.into(),
            value: Some(value.clone()),
        });
        let mut out = ObjectOutput::default();
        if delta.write(&mut out).is_ok() {
            let payload = out.finish();
            self.say(
                unix_ms,
                None,
                self.options,
                EventType::SessionDelta,
                id.as_modified_utf8(),
                Some(&payload),
            );
        }
        let mut shelf = self.shelf.borrow_mut();
        if let Some(made) = shelf.made.get_mut(&id) {
            *made = Some(number);
        }
        // One that others have ended meanwhile is gone: its client gets another.
        match shelf.sessions.get_mut(&id) {
            Some(attributes) => {
                attributes.insert(ATTRIBUTE.into(), value);
            }
            None => {
                shelf.made.remove(&id);
                drop(shelf);
                self.own.swap_remove(at);
            }
        }
    }

    /// `ClusterSessionListener.messageReceived`.
    pub(crate) fn received(
        &mut self,
        _now: Instant,
        unix_ms: u64,
        from: Option<SocketAddr>,
        bytes: &[u8],
    ) {
        self.shelf.borrow_mut().taken += 1;
        let kind = SessionMessage::read(bytes).and_then(|message| message.kind());
        let waits = matches!(
            kind,
            Some(
                EventType::SessionCreated
                    | EventType::SessionDelta
                    | EventType::SessionExpired
                    | EventType::SessionAccessed
                    | EventType::ChangeSessionId
            )
        );
        if waits && !matches!(self.join, Join::Done) {
            self.held.push(bytes.to_vec());
        } else {
            self.apply(unix_ms, from, bytes);
        }
    }

    fn apply(&mut self, unix_ms: u64, from: Option<SocketAddr>, bytes: &[u8]) {
        let Some(message) = SessionMessage::read(bytes) else {
            return;
        };
        let id = message.session_id.unwrap_or_default();
        let id = SessionId::from(String::from_utf8_lossy(id).as_ref());
        let payload = message.session.unwrap_or_default();
        let shelf = self.shelf.clone();
        let mut shelf = shelf.borrow_mut();
        let now = unix_ms as i64;
        let known = shelf.times.entry(id.clone());
        known.or_insert((message.timestamp_ms, now)).1 = now;
        match message.kind() {
            Some(EventType::SessionCreated) => {
                shelf.sessions.entry(id).or_default();
            }
            Some(EventType::SessionDelta) => {
                let Some(attributes) = shelf.sessions.get_mut(&id) else {
                    shelf.dropped += 1;
                    return;
                };
                let Ok(delta) = DeltaRequest::<JavaBytes>::read(payload, &Limits::DEFAULT) else {
                    return;
                };
                for action in delta.actions {
                    if action.kind != ActionType::ATTRIBUTE {
                        continue;
                    }
                    match action.value.filter(|_| action.action == Action::SET) {
                        Some(value) => attributes.insert(action.name, value),
                        None => attributes.remove(&action.name),
                    };
                }
            }
            Some(EventType::SessionExpired) => {
                shelf.sessions.remove(&id);
            }
            Some(EventType::ChangeSessionId) => {
                if let Ok(new) = read_new_session_id(payload, &Limits::DEFAULT)
                    && let Some(attributes) = shelf.sessions.remove(&id)
                {
                    let times = shelf.times.get(&id).copied();
                    shelf.times.extend(times.map(|times| (new.clone(), times)));
                    shelf.sessions.insert(new, attributes);
                }
            }
            Some(EventType::GetAllSessions) => {
                if let Some(to) = from {
                    let state = state_of(&shelf);
                    shelf.given += 1;
                    drop(shelf);
                    self.give(unix_ms, to, &state);
                }
            }
            Some(EventType::AllSessionData) => take(&mut shelf, payload),
            Some(EventType::AllSessionTransferComplete | EventType::AllSessionNoContextManager) => {
                drop(shelf);
                if matches!(self.join, Join::Asked(donor, _) if from == Some(donor)) {
                    self.joined(unix_ms);
                }
            }
            _ => {}
        }
    }

    fn give(&mut self, unix_ms: u64, to: SocketAddr, state: &[u8]) {
        let data = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        self.say(
            unix_ms,
            Some(to),
            data,
            EventType::AllSessionData,
            b"SESSION-STATE",
            Some(state),
        );
        // The data are waited for, whatever the options.
        let complete = self.complete(unix_ms, to);
        if let Some(data) = self.outbox.last_mut() {
            data.then = Some(Box::new(complete));
        }
    }

    fn complete(&self, unix_ms: u64, to: SocketAddr) -> Message {
        let word = b"SESSION-STATE-TRANSFERRED";
        let unique_id = [word.as_slice(), NAME].concat();
        let kind = EventType::AllSessionTransferComplete;
        let message = SessionMessage::new(kind, NAME, word, &unique_id, unix_ms as i64);
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        Message {
            to: Some(to),
            options: self.options,
            bytes,
            then: None,
        }
    }
}

/// All sessions as `DeltaManager.serializeSessions` writes them.
fn state_of(shelf: &Shelf) -> Vec<u8> {
    let mut out = ObjectOutput::default();
    begin_state(&mut out, shelf.sessions.len());
    for (id, attributes) in &shelf.sessions {
        let (created, used) = shelf.times.get(id).copied().unwrap_or_default();
        let record: SessionRecord = SessionRecord {
            head: SessionHead {
                creation_time_ms: created,
                last_accessed_time_ms: used,
                max_inactive_interval: 1800,
                is_new: false,
                is_valid: true,
                this_accessed_time_ms: used,
                version: 0,
            },
            principal: None,
            id: JavaString::from(id.to_string().as_str()),
            notes: RecordNotes::Present {
                session_id: None,
                request: None,
            },
            attributes: attributes.clone().into_iter().collect(),
            listeners: Vec::new(),
            skipped: 0,
        };
        let written = record.write(&mut out);
        debug_assert!(written.is_ok(), "what was read can be written");
    }
    out.finish().to_vec()
}

/// Takes a state over: what is here already is replaced.
fn take(shelf: &mut Shelf, payload: &[u8]) {
    let Ok(mut state) = StateReader::new(payload, &Limits::DEFAULT) else {
        return;
    };
    while let Ok(Some(record)) = state.next_session() {
        let attributes = record.attributes.into_iter().collect();
        shelf
            .sessions
            .insert(SessionId::from(record.id), attributes);
    }
}
