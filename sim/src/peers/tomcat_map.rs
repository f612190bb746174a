//! A Tomcat's `BackupManager`, as far as others see it: its `LazyReplicatedMap`.
//!
//! It asks one member for the state, and says that it is there only afterwards; it remembers nothing that was removed; NOTIFY_MAPMEMBER
//! leaves it a primary; a proxy answers with the old value that it still has; what a partition has driven apart stays apart.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use folkmoot_core::channel::rpc::{RpcKind, RpcMessage};
use folkmoot_core::channel::{SendOptions, UniqueId};
use folkmoot_core::java::{
    ClassDescriptor, ExternalClass, JavaBytes, JavaString, Limits, ObjectOutput,
};
use folkmoot_core::map::{EntryState, MapMessage, MapMessageType, MapState, StateList};
use folkmoot_core::session::{
    Action, ActionType, DeltaRequest, RecordNotes, SessionHead, SessionId, SessionRecord,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::MemberBlock;

use super::tomcat_sessions::Message;
use crate::rng::SimRng;
use crate::sessions::value_text;

/// What a Tomcat's map holds, kept outside of it to be looked at.
pub(crate) type SharedMapShelf = Rc<RefCell<MapShelf>>;

/// What a Tomcat's map holds.
#[derive(Debug, Default)]
pub(crate) struct MapShelf {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Whether it has started.
    pub(crate) is_ready: bool,
    /// The other nodes of its map.
    pub(crate) members: usize,
    /// Whether nothing is wrong just now: its clients leave the sessions of others alone.
    pub(crate) is_calm: bool,
    /// Whether its own clients do nothing for now.
    pub(crate) is_closed: bool,
    /// What its own clients made in calm times: the number that each session has to hold, none if it has been ended.
    pub(crate) own: BTreeMap<SessionId, Option<u64>>,
    /// Sessions that its own clients made.
    pub(crate) made: u64,
    /// Map messages it has taken.
    pub(crate) taken: u64,
    /// Sessions of others that it has made its own.
    pub(crate) fetched: u64,
    /// States it has given.
    pub(crate) given: u64,
}

impl MapShelf {
    /// What it is to a session; `None` if it does not know it.
    pub(crate) fn role(&self, id: &SessionId) -> Option<EntryState> {
        self.entries.get(&key(id)).map(|entry| entry.role)
    }

    /// What its copy of a session holds, if it has one.
    pub(crate) fn value(&self, id: &SessionId, attribute: &str) -> Option<String> {
        let record = self.entries.get(&key(id))?.record.as_ref()?;
        let wanted = JavaString::from(attribute);
        let (_, value) = record.attributes.iter().find(|(name, _)| *name == wanted)?;
        Some(value_text(value))
    }
}

#[derive(Debug)]
struct Entry {
    role: EntryState,
    primary: Option<SocketAddr>,
    nodes: Vec<SocketAddr>,
    /// A proxy keeps the old one.
    record: Option<SessionRecord>,
}

fn key(id: &SessionId) -> Vec<u8> {
    JavaBytes::from(id.to_string().as_str()).as_bytes().to_vec()
}

/// A call that waits for answers.
struct Call {
    kind: MapMessageType,
    /// What is fetched, and what is written when it is here.
    wants: Option<(Vec<u8>, Option<u64>)>,
    until: Instant,
    /// How many have not answered.
    open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Init,
    State,
    Start,
    Ready,
}

/// A Tomcat's `BackupManager`, with clients of its own.
pub(crate) struct Backups {
    shelf: SharedMapShelf,
    options: SendOptions,
    route: String,
    me: (SocketAddr, Vec<u8>),
    /// The members of the channel, with the block of each.
    members: BTreeMap<SocketAddr, Vec<u8>>,
    members_known_at: Option<Instant>,
    /// The nodes of the map, and when each was last heard of.
    nodes: BTreeMap<SocketAddr, Instant>,
    phase: Phase,
    calls: BTreeMap<UniqueId, Call>,
    calls_made: u64,
    current_node: usize,
    next_ping: Option<Instant>,
    pub(crate) outbox: Vec<Message>,
    /// The sessions of its own clients.
    own: Vec<SessionId>,
    numbers: u64,
    next_client: Instant,
}

/// The map's name.
const MAP: &[u8] = b"localhost#/shop-map";
/// `rpcTimeout`.
const RPC_TIMEOUT: Duration = Duration::from_secs(15);
/// `accessTimeout`.
const ACCESS_TIMEOUT: Duration = Duration::from_secs(5);
/// The channel's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Sessions of its own clients at once.
const OWN_MAX: usize = 8;
/// The attribute that its clients write.
const ATTRIBUTE: &str = "k";
/// Entries it keeps: it would keep any number, but a simulated attacker is not to exhaust the simulator.
const ENTRIES_MAX: usize = 10_000;

impl Backups {
    pub(crate) fn new(
        shelf: SharedMapShelf,
        options: SendOptions,
        route: String,
        me: (SocketAddr, Vec<u8>),
        now: Instant,
    ) -> Self {
        *shelf.borrow_mut() = MapShelf::default();
        Self {
            shelf,
            options,
            route,
            me,
            members: BTreeMap::new(),
            members_known_at: None,
            nodes: BTreeMap::new(),
            phase: Phase::Waiting,
            calls: BTreeMap::new(),
            calls_made: 0,
            current_node: 0,
            next_ping: None,
            outbox: Vec::new(),
            own: Vec::new(),
            numbers: 0,
            next_client: now + Duration::from_secs(2),
        }
    }

    /// The channel's members are these.
    pub(crate) fn members_are(
        &mut self,
        unix_ms: u64,
        known_at: Instant,
        members: BTreeMap<SocketAddr, Vec<u8>>,
    ) {
        self.members_known_at.get_or_insert(known_at);
        let gone = self.members.keys().filter(|at| !members.contains_key(at));
        let gone: Vec<SocketAddr> = gone.copied().collect();
        self.members = members;
        for member in gone {
            self.node_gone(unix_ms, member);
        }
    }

    /// When [`turn`](Self::turn) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let start = self
            .members_known_at
            .filter(|_| self.phase == Phase::Waiting);
        let calls = self.calls.values().map(|call| call.until);
        let timers = calls.chain(start).chain(self.next_ping);
        timers.chain([self.next_client]).min()
    }

    pub(crate) fn turn(&mut self, now: Instant, unix_ms: u64, rng: &mut SimRng) {
        if self.phase == Phase::Waiting && self.members_known_at.is_some_and(|at| at <= now) {
            self.phase = Phase::Init;
            self.ask_all(now, unix_ms, MapMessageType::Init);
        }
        let over = self.calls.iter().filter(|(_, call)| call.until <= now);
        let over: Vec<UniqueId> = over.map(|(id, _)| *id).collect();
        for id in over {
            if let Some(call) = self.calls.remove(&id) {
                self.call_over(now, unix_ms, &call);
            }
        }
        if self.next_ping.is_some_and(|at| at <= now) {
            self.next_ping = Some(now + HEARTBEAT);
            self.ask_all(now, unix_ms, MapMessageType::Ping);
        }
        if self.next_client <= now {
            self.next_client = now + Duration::from_millis(rng.between(50, 400));
            if self.phase == Phase::Ready && !self.shelf.borrow().is_closed {
                self.client(now, unix_ms, rng);
            }
        }
        self.shelf.borrow_mut().members = self.nodes.len();
    }

    // --- calls -----------------------------------------------------------------------------------------------------

    fn message(&self, kind: MapMessageType) -> MapMessage<'_> {
        MapMessage {
            primary: Some(Cow::Borrowed(&self.me.1)),
            ..MapMessage::new(kind, MAP)
        }
    }

    fn say(&mut self, to: SocketAddr, options: SendOptions, bytes: Vec<u8>) {
        #[rustfmt::skip]
        self.outbox.push(Message { to: Some(to), options, bytes, then: None });
    }

    fn call(
        &mut self,
        now: Instant,
        to: &[SocketAddr],
        message: &[u8],
        kind: MapMessageType,
        wants: Option<(Vec<u8>, Option<u64>)>,
    ) {
        self.calls_made += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.calls_made.to_be_bytes());
        id[8..10].copy_from_slice(&self.me.0.port().to_be_bytes());
        if let SocketAddr::V4(address) = self.me.0 {
            id[10..14].copy_from_slice(&address.ip().octets());
        }
        let uuid = UniqueId(id);
        let Ok(message) = JavaBytes::new(Bytes::copy_from_slice(message), &Limits::DEFAULT) else {
            return;
        };
        let request = RpcMessage {
            kind: RpcKind::Request,
            uuid,
            rpc_id: Bytes::from_static(MAP),
            message,
        };
        let Ok(bytes) = request.encode() else { return };
        let patience = match kind {
            MapMessageType::Ping => ACCESS_TIMEOUT,
            _ => RPC_TIMEOUT,
        };
        let (until, open) = (now + patience, to.len());
        for to in to {
            self.say(*to, SendOptions::USE_ACK, bytes.to_vec());
        }
        #[rustfmt::skip]
        self.calls.insert(uuid, Call { kind, wants, until, open });
    }

    fn ask_all(&mut self, now: Instant, unix_ms: u64, kind: MapMessageType) {
        let to: Vec<SocketAddr> = self.members.keys().copied().collect();
        let mut message = Vec::new();
        self.message(kind).write(&mut message);
        if to.is_empty() {
            let (wants, open) = (None, 0);
            let until = now;
            #[rustfmt::skip]
            self.call_over(now, unix_ms, &Call { kind, wants, until, open });
        } else {
            self.call(now, &to, &message, kind, None);
        }
    }

    /// A call has its answer, or its time is over.
    fn call_over(&mut self, now: Instant, unix_ms: u64, call: &Call) {
        match (call.kind, self.phase) {
            (MapMessageType::Init, Phase::Init) => {
                self.phase = Phase::State;
                let Some(donor) = self.nodes.keys().next().copied() else {
                    self.phase = Phase::Start;
                    self.ask_all(now, unix_ms, MapMessageType::Start);
                    return;
                };
                let mut message = Vec::new();
                MapMessage::new(MapMessageType::State, MAP).write(&mut message);
                self.call(now, &[donor], &message, MapMessageType::State, None);
            }
            (MapMessageType::State, Phase::State) => {
                self.phase = Phase::Start;
                self.ask_all(now, unix_ms, MapMessageType::Start);
            }
            (MapMessageType::Start, Phase::Start) => {
                self.phase = Phase::Ready;
                self.next_ping = Some(now + HEARTBEAT);
                self.shelf.borrow_mut().is_ready = true;
            }
            (MapMessageType::Ping, _) => {
                let silent = |at: &Instant| now.since(*at) > ACCESS_TIMEOUT;
                let silent = self.nodes.iter().filter(|(_, at)| silent(at));
                for node in silent.map(|(node, _)| *node).collect::<Vec<_>>() {
                    self.node_gone(unix_ms, node);
                }
            }
            _ => {}
        }
    }

    fn rpc(&mut self, now: Instant, unix_ms: u64, from: SocketAddr, rpc: &RpcMessage) {
        if rpc.kind == RpcKind::Request {
            let reply = match rpc.rpc_id == MAP {
                true => Some(RpcMessage {
                    kind: RpcKind::Reply,
                    message: self.reply(now, unix_ms, from, rpc.message.as_bytes()),
                    ..rpc.clone()
                }),
                false => rpc.no_channel_reply(),
            };
            if let Some(Ok(bytes)) = reply.map(|reply| reply.encode()) {
                self.say(from, SendOptions::from_bits(0), bytes.to_vec());
            }
            return;
        }
        let message = MapMessage::read(rpc.message.as_bytes());
        let kind = message.as_ref().and_then(MapMessage::kind);
        match kind {
            Some(MapMessageType::Init | MapMessageType::Start) => self.heard(now, unix_ms, from),
            Some(MapMessageType::Ping) => {
                let state = message.as_ref().and_then(|message| message.value);
                let state = state.and_then(|state| MapState::from_java(state, &Limits::DEFAULT));
                if state == Some(MapState::Initialized) {
                    self.heard(now, unix_ms, from);
                }
            }
            _ => {}
        }
        let Some(call) = self.calls.get_mut(&rpc.uuid) else {
            return;
        };
        call.open = call.open.saturating_sub(1);
        let all = call.kind == MapMessageType::Ping;
        if call.open > 0 && (all || kind.is_none()) {
            return;
        }
        let Some(call) = self.calls.remove(&rpc.uuid) else {
            return;
        };
        if let (Some(MapMessageType::State), Some(message)) = (kind, &message)
            && let Some(Ok(list)) = message
                .value
                .map(|list| StateList::parse(list, &Limits::DEFAULT))
        {
            for message in list.messages().flatten() {
                self.apply(unix_ms, from, &message);
            }
        }
        if let Some((key, write)) = &call.wants {
            let value = message.as_ref().and_then(|message| message.value);
            self.came(key, value, *write);
        }
        self.call_over(now, unix_ms, &call);
    }

    /// `replyRequest`.
    fn reply(&mut self, now: Instant, unix_ms: u64, from: SocketAddr, stream: &[u8]) -> JavaBytes {
        let Some(message) = MapMessage::read(stream) else {
            return JavaBytes::NULL;
        };
        let Some(kind) = message.kind() else {
            return JavaBytes::NULL;
        };
        let (mut value, mut stream) = (Vec::new(), Vec::new());
        match kind {
            MapMessageType::Start => self.heard(now, unix_ms, from),
            MapMessageType::Init => {}
            MapMessageType::Ping => {
                let state = match self.phase {
                    Phase::Ready => MapState::Initialized,
                    Phase::Start => MapState::StateTransferred,
                    _ => MapState::New,
                };
                value = state.to_java().as_bytes().to_vec();
            }
            MapMessageType::State => {
                self.shelf.borrow_mut().given += 1;
                self.write_state(&mut value);
            }
            MapMessageType::RetrieveBackup => {
                let shelf = self.shelf.borrow();
                let entry = shelf.entries.get(message.key.unwrap_or_default());
                match entry.and_then(|entry| entry.record.as_ref()) {
                    Some(record) => value = encode(record),
                    None => return JavaBytes::NULL,
                }
            }
            _ => return JavaBytes::NULL,
        }
        let reply = MapMessage {
            key: message.key,
            value: (!value.is_empty()).then_some(&value[..]),
            ..self.message(kind)
        };
        reply.write(&mut stream);
        JavaBytes::new(stream.into(), &Limits::DEFAULT).unwrap_or(JavaBytes::NULL)
    }

    fn write_state(&self, out: &mut Vec<u8>) {
        let shelf = self.shelf.borrow();
        let entries = shelf.entries.iter();
        let messages: Vec<MapMessage<'_>> = entries
            .map(|(key, entry)| MapMessage {
                key: Some(key),
                nodes: Some(self.blocks(&entry.nodes)),
                primary: entry.primary.and_then(|at| self.block(at)),
                ..MapMessage::new(MapMessageType::Proxy, MAP)
            })
            .collect();
        StateList::write(&messages, out);
    }

    fn block(&self, at: SocketAddr) -> Option<Cow<'_, [u8]>> {
        let block = match at == self.me.0 {
            true => Some(&self.me.1),
            false => self.members.get(&at),
        };
        block.map(Cow::from)
    }

    fn blocks(&self, nodes: &[SocketAddr]) -> Vec<Cow<'_, [u8]>> {
        nodes.iter().filter_map(|at| self.block(*at)).collect()
    }

    // --- the nodes of the map --------------------------------------------------------------------------------------

    /// `mapMemberAdded`.
    fn heard(&mut self, now: Instant, unix_ms: u64, node: SocketAddr) {
        if !self.members.contains_key(&node) || self.nodes.insert(node, now).is_some() {
            return;
        }
        let alone = |entry: &Entry| entry.role == EntryState::Primary && entry.nodes.is_empty();
        self.for_each(alone, |this, key| this.publish(unix_ms, key));
    }

    /// Does something for every entry that fits.
    fn for_each(&mut self, fits: impl Fn(&Entry) -> bool, mut act: impl FnMut(&mut Self, &[u8])) {
        let shelf = self.shelf.borrow();
        let keys = shelf.entries.iter().filter(|(_, entry)| fits(entry));
        let keys: Vec<Vec<u8>> = keys.map(|(key, _)| key.clone()).collect();
        drop(shelf);
        for key in keys {
            act(self, &key);
        }
    }

    /// `memberDisappeared`.
    fn node_gone(&mut self, unix_ms: u64, node: SocketAddr) {
        if self.nodes.remove(&node).is_none() {
            return;
        }
        let me = self.me.0;
        let concerned = |entry: &Entry| entry.nodes.contains(&node) || entry.primary == Some(node);
        self.for_each(concerned, |this, key| {
            let shelf = this.shelf.clone();
            let mut shelf = shelf.borrow_mut();
            let Some(entry) = shelf.entries.get_mut(key) else {
                return;
            };
            let only = entry.nodes == [node];
            if entry.primary == Some(node) {
                entry.primary = None;
            }
            match entry.role {
                EntryState::Primary => {}
                EntryState::Proxy if entry.primary.is_none() && only => {
                    shelf.entries.remove(key);
                    return;
                }
                EntryState::Backup if entry.primary.is_none() && entry.nodes == [me] => {
                    entry.role = EntryState::Primary;
                    entry.primary = Some(me);
                }
                _ => return,
            }
            drop(shelf);
            this.publish(unix_ms, key);
        });
    }

    /// `publishEntryInfo`: the value to the next node, to the others where it is.
    fn publish(&mut self, _unix_ms: u64, key: &[u8]) {
        let nodes: Vec<SocketAddr> = self.nodes.keys().copied().collect();
        if nodes.is_empty() {
            return;
        }
        if self.current_node >= nodes.len() {
            self.current_node = 0;
        }
        let chosen = nodes[self.current_node];
        self.current_node += 1;
        let shelf = self.shelf.clone();
        let mut shelf = shelf.borrow_mut();
        let Some(entry) = shelf.entries.get_mut(key) else {
            return;
        };
        let Some(record) = &entry.record else { return };
        entry.nodes = vec![chosen];
        let value = encode(record);
        let (mut backup, mut proxy) = (Vec::new(), Vec::new());
        let about = |kind| MapMessage {
            key: Some(key),
            nodes: Some(self.blocks(&[chosen])),
            ..self.message(kind)
        };
        MapMessage {
            value: Some(&value),
            ..about(MapMessageType::Backup)
        }
        .write(&mut backup);
        about(MapMessageType::Proxy).write(&mut proxy);
        self.say(chosen, self.options, backup);
        for node in nodes.into_iter().filter(|node| *node != chosen) {
            self.say(node, self.options, proxy.clone());
        }
    }

    // --- what others say -------------------------------------------------------------------------------------------

    pub(crate) fn received(
        &mut self,
        now: Instant,
        unix_ms: u64,
        from: Option<SocketAddr>,
        bytes: &[u8],
    ) {
        let Some(from) = from else { return };
        if RpcMessage::is_rpc(bytes) {
            if let Ok(rpc) = RpcMessage::read(bytes, &Limits::DEFAULT) {
                self.rpc(now, unix_ms, from, &rpc);
            }
            return;
        }
        let Some(message) = MapMessage::read(bytes) else {
            return;
        };
        if message.map_id == Some(MAP) {
            self.shelf.borrow_mut().taken += 1;
            self.apply(unix_ms, from, &message);
        }
    }

    fn apply(&mut self, unix_ms: u64, from: SocketAddr, message: &MapMessage<'_>) {
        let address = |block: &Cow<'_, [u8]>| MemberBlock::read(block).ok()?.socket_addr();
        let nodes = message.nodes.iter().flatten().filter_map(address);
        let nodes: Vec<SocketAddr> = nodes.collect();
        let primary = message.primary.as_ref().and_then(address);
        let shelf = self.shelf.clone();
        let mut shelf = shelf.borrow_mut();
        let Some(kind) = message.kind() else { return };
        if kind == MapMessageType::Stop {
            drop(shelf);
            return self.node_gone(unix_ms, from);
        }
        let Some(key) = message.key else { return };
        match kind {
            MapMessageType::Remove => {
                shelf.entries.remove(key);
            }
            MapMessageType::Backup | MapMessageType::Copy | MapMessageType::Proxy => {
                if shelf.entries.len() >= ENTRIES_MAX {
                    return;
                }
                let entry = shelf.entries.entry(key.to_vec()).or_insert(Entry {
                    role: EntryState::Proxy,
                    primary,
                    nodes: Vec::new(),
                    record: None,
                });
                (entry.primary, entry.nodes) = (primary, nodes);
                entry.role = match kind {
                    MapMessageType::Proxy => EntryState::Proxy,
                    _ => EntryState::Backup,
                };
                let value = message.value.filter(|_| !message.diff);
                if let Some(Ok(record)) =
                    value.map(|value| SessionRecord::read_object(value, &Limits::DEFAULT))
                {
                    entry.record = Some(record);
                }
                let diff = message.diff_value.filter(|_| message.diff);
                if let (Some(record), Some(Ok(delta))) = (
                    &mut entry.record,
                    diff.map(|diff| DeltaRequest::<JavaBytes>::read(diff, &Limits::DEFAULT)),
                ) {
                    apply_delta(record, delta);
                }
            }
            MapMessageType::Access | MapMessageType::NotifyMapmember => {
                if let Some(entry) = shelf.entries.get_mut(key) {
                    (entry.primary, entry.nodes) = (primary, nodes);
                }
            }
            _ => {}
        }
    }

    // --- its own clients -------------------------------------------------------------------------------------------

    fn client(&mut self, now: Instant, unix_ms: u64, rng: &mut SimRng) {
        self.numbers += 1;
        let number = self.numbers;
        let calm = self.shelf.borrow().is_calm;
        // Whoever is sent here by a front that has forgotten: reading makes it the primary.
        if !calm && rng.chance(100_000) {
            let shelf = self.shelf.borrow();
            let keys: Vec<Vec<u8>> = shelf.entries.keys().cloned().collect();
            drop(shelf);
            if !keys.is_empty() {
                let key = rng.pick(&keys).clone();
                self.get(now, unix_ms, &key, None);
            }
            return;
        }
        let at = rng.index(OWN_MAX);
        if at >= self.own.len() {
            let id = SessionId::from(format!("{:032X}.{}", rng.next_u64(), self.route));
            let record = record(&id, unix_ms as i64, number);
            let mut shelf = self.shelf.borrow_mut();
            #[rustfmt::skip]
            shelf.entries.insert(key(&id), Entry {
                role: EntryState::Primary,
                primary: Some(self.me.0),
                nodes: Vec::new(),
                record: Some(record),
            });
            shelf.made += 1;
            if calm {
                shelf.own.insert(id.clone(), Some(number));
            }
            drop(shelf);
            self.publish(unix_ms, &key(&id));
            self.own.push(id);
        } else if rng.chance(150_000) {
            let id = self.own.swap_remove(at);
            let mut shelf = self.shelf.borrow_mut();
            if shelf.entries.remove(&key(&id)).is_none() {
                return;
            }
            if let Some(own) = shelf.own.get_mut(&id) {
                *own = None;
            }
            drop(shelf);
            let (key, mut remove) = (key(&id), Vec::new());
            let message = MapMessage {
                key: Some(&key),
                ..MapMessage::new(MapMessageType::Remove, MAP)
            };
            message.write(&mut remove);
            for node in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.say(node, self.options, remove.clone());
            }
        } else {
            let id = self.own[at].clone();
            if !self.get(now, unix_ms, &key(&id), Some(number)) {
                self.own.swap_remove(at);
            }
        }
    }

    /// Makes this the primary of an entry and writes a number into it, at once or when its value is here. Whether there is such
    /// an entry.
    fn get(&mut self, now: Instant, unix_ms: u64, key: &[u8], write: Option<u64>) -> bool {
        let me = self.me.0;
        let shelf = self.shelf.clone();
        let mut shelf = shelf.borrow_mut();
        let Some(entry) = shelf.entries.get_mut(key) else {
            return false;
        };
        match entry.role {
            EntryState::Primary => drop(shelf),
            EntryState::Backup | EntryState::Copy => {
                (entry.role, entry.primary) = (EntryState::Primary, Some(me));
                shelf.fetched += 1;
                drop(shelf);
                self.publish(unix_ms, key);
            }
            EntryState::Proxy => {
                let mut to = entry.nodes.clone();
                to.retain(|node| self.members.contains_key(node));
                drop(shelf);
                if to.is_empty() {
                    return false;
                }
                let mut message = Vec::new();
                MapMessage {
                    key: Some(key),
                    ..MapMessage::new(MapMessageType::RetrieveBackup, MAP)
                }
                .write(&mut message);
                let wants = Some((key.to_vec(), write));
                self.call(now, &to, &message, MapMessageType::RetrieveBackup, wants);
                return true;
            }
        }
        if let Some(number) = write {
            self.write(key, number);
        }
        true
    }

    /// A value that was fetched is here, or nobody gave it.
    fn came(&mut self, key: &[u8], value: Option<&[u8]>, write: Option<u64>) {
        let record = value.map(|value| SessionRecord::read_object(value, &Limits::DEFAULT));
        let Some(Ok(record)) = record else { return };
        let shelf = self.shelf.clone();
        let mut shelf = shelf.borrow_mut();
        let Some(entry) = shelf.entries.get_mut(key) else {
            return;
        };
        entry.record = Some(record);
        (entry.role, entry.primary) = (EntryState::Primary, Some(self.me.0));
        let (mut notify, mut proxy) = (Vec::new(), Vec::new());
        let about = |kind| MapMessage {
            key: Some(key),
            nodes: Some(self.blocks(&entry.nodes)),
            ..self.message(kind)
        };
        about(MapMessageType::NotifyMapmember).write(&mut notify);
        about(MapMessageType::Proxy).write(&mut proxy);
        let nodes = entry.nodes.clone();
        shelf.fetched += 1;
        drop(shelf);
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            let bytes = match nodes.contains(&node) {
                true => notify.clone(),
                false => proxy.clone(),
            };
            self.say(node, self.options, bytes);
        }
        if let Some(number) = write {
            self.write(key, number);
        }
    }

    /// A request writes a number: the diff goes to the backup.
    fn write(&mut self, key: &[u8], number: u64) {
        let shared = self.shelf.clone();
        let mut shared = shared.borrow_mut();
        let shelf = &mut *shared;
        let Some(entry) = shelf.entries.get_mut(key) else {
            return;
        };
        let Some(record) = &mut entry.record else {
            return;
        };
        let id = SessionId::from(record.id.clone());
        if let Some(own) = shelf.own.get_mut(&id) {
            *own = Some(number);
        }
        let mut delta: DeltaRequest = DeltaRequest::new(id, false);
        delta.record(Action {
            kind: ActionType::ATTRIBUTE,
            action: Action::<JavaBytes>::SET,
            name: ATTRIBUTE.into(),
            value: Some(JavaBytes::from(number.to_string().as_str())),
        });
        let mut out = ObjectOutput::default();
        if delta.write(&mut out).is_err() {
            return;
        }
        let diff = out.finish();
        apply_delta(record, delta);
        let mut message = Vec::new();
        MapMessage {
            key: Some(key),
            diff: true,
            diff_value: Some(&diff),
            nodes: Some(self.blocks(&entry.nodes)),
            ..self.message(MapMessageType::Backup)
        }
        .write(&mut message);
        let nodes = entry.nodes.clone();
        drop(shared);
        for node in nodes {
            self.say(node, self.options, message.clone());
        }
    }
}

fn apply_delta(record: &mut SessionRecord, delta: DeltaRequest) {
    for action in delta.actions {
        if action.kind != ActionType::ATTRIBUTE {
            continue;
        }
        record.attributes.retain(|(name, _)| *name != action.name);
        if let Some(value) = action.value.filter(|_| action.action == Action::SET) {
            record.attributes.push((action.name, value));
        }
    }
}

fn record(id: &SessionId, unix_ms: i64, number: u64) -> SessionRecord {
    SessionRecord {
        head: SessionHead {
            creation_time_ms: unix_ms,
            last_accessed_time_ms: unix_ms,
            max_inactive_interval: 1800,
            is_new: true,
            is_valid: true,
            this_accessed_time_ms: unix_ms,
            version: 0,
        },
        principal: None,
        id: JavaString::from(id.to_string().as_str()),
        notes: RecordNotes::Present {
            session_id: None,
            request: None,
        },
        attributes: vec![(
            ATTRIBUTE.into(),
            JavaBytes::from(number.to_string().as_str()),
        )],
        listeners: Vec::new(),
        skipped: 0,
    }
}

/// A session as the one object of a stream.
fn encode(record: &SessionRecord) -> Vec<u8> {
    const CLASS: &str = "org.apache.catalina.ha.session.DeltaSession";
    let known = ClassDescriptor::well_known(CLASS);
    let class = known.unwrap_or_else(|| ClassDescriptor::externalizable(CLASS, 0));
    let mut out = ObjectOutput::default();
    out.begin_external(&ExternalClass::new(&class));
    let written = record.write(&mut out);
    debug_assert!(written.is_ok(), "what was read can be written");
    out.end_external();
    out.finish().to_vec()
}
