//! `BackupManager`: the sessions of one application, each on two of its members.

use super::backup_values::{Sessions, key, session_class};
use super::filter::AttributeFilters;
use super::local::checked;
use super::{
    Action, BackupManagerConfig, Cx, DeltaSession, ManagerStats, Out, SessionError, SessionId,
    TransferOutcome, TransferResult,
};
use crate::channel::{Member, MemberIndex, SendError, UniqueId};
use crate::cluster::{ClusterEvent, ContextId, ExpiryCause, Origin};
use crate::java::{ExternalClass, JavaBytes, JavaString};
use crate::map::{
    Access, EntryState, MapConfig, MapEntry, MapKind, MapOut, MapState, MapStats, ReplicatedMap,
};
use crate::time::Instant;

/// The session manager of one web application that keeps each session on its primary and one backup; the other members know
/// where it is. `org.apache.catalina.ha.session.BackupManager`.
///
/// It belongs to a [`Cluster`](crate::cluster::Cluster), which offers the commands; here is what can be looked at.
#[derive(Debug)]
pub struct BackupManager {
    context: ContextId,
    name: JavaString,
    config: BackupManagerConfig,
    filters: AttributeFilters,
    map: ReplicatedMap<DeltaSession>,
    class: ExternalClass,
    stats: ManagerStats,
    /// Background runs since the last look for timed-out sessions.
    runs: u32,
    /// The next slot to look at, while a look is under way.
    cursor: Option<usize>,
}

/// Slots looked at for timed-out sessions in one call.
const BUDGET: usize = 16_384;

/// What can be looked at.
impl BackupManager {
    /// Which manager it is.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// Its name on the wire: `localhost#/shop`; its map's is this and `-map`.
    pub const fn name(&self) -> &JavaString {
        &self.name
    }

    /// What it was told.
    pub const fn config(&self) -> &BackupManagerConfig {
        &self.config
    }

    /// What it has counted.
    pub const fn stats(&self) -> &ManagerStats {
        &self.stats
    }

    /// What its map has counted.
    pub const fn map_stats(&self) -> &MapStats {
        self.map.stats()
    }

    /// How far its map has come.
    pub const fn state(&self) -> MapState {
        self.map.state()
    }

    /// The other members that run this application, as far as is known.
    pub fn members(&self) -> impl Iterator<Item = MemberIndex> {
        self.map.members()
    }

    /// Sessions whose value is here, primaries and backups; counts them. `activeSessions`.
    pub fn session_count(&self) -> usize {
        self.map.len()
    }

    /// Sessions, proxies included. `activeSessionsFull`.
    pub fn session_count_full(&self) -> usize {
        self.map.len_full()
    }

    /// The sessions whose value is here, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = &DeltaSession> {
        self.map.entries().filter_map(MapEntry::value)
    }

    /// The ids of all sessions, proxies included, in no particular order.
    pub fn session_ids_full(&self) -> impl Iterator<Item = SessionId> {
        self.map.entries().filter_map(|entry| {
            let key = JavaBytes::new(entry.key().clone(), &self.config.java);
            key.ok()?.as_string().map(SessionId::from)
        })
    }

    /// A session, without using it; `None` also for one that is on other members only.
    pub fn session(&self, id: &SessionId) -> Option<&DeltaSession> {
        self.map.entry(&key(id))?.held()
    }

    /// What this member has of a session.
    pub fn role(&self, id: &SessionId) -> Option<EntryState> {
        self.map.entry(&key(id)).map(MapEntry::state)
    }
}

impl BackupManager {
    pub(crate) fn new(
        context: ContextId,
        name: JavaString,
        config: BackupManagerConfig,
        local: &Member,
        now: Instant,
    ) -> Self {
        let map_name = latin1(&name, "-map");
        let map = MapConfig {
            map_send_options: config.map_send_options,
            rpc_timeout: config.rpc_timeout,
            access_timeout: config.access_timeout,
            entries_max: config.sessions_max,
            departed_memory: config.departed_memory,
            departed_max: config.departed_max,
            keys_are_unique: true,
            java: config.java,
            ..MapConfig::new(MapKind::Lazy)
        };
        Self {
            context,
            name,
            filters: AttributeFilters {
                name: config.session_attribute_name_filter.clone(),
                value_class_name: config.session_attribute_value_class_name_filter.clone(),
            },
            map: ReplicatedMap::new(&map_name, map, local, now),
            class: session_class(),
            stats: ManagerStats::default(),
            runs: 0,
            cursor: None,
            config,
        }
    }

    /// The map, and what reads and writes its values.
    pub(crate) fn parts<'a>(
        &'a mut self,
        cx: &'a mut Cx<'_>,
    ) -> (&'a mut ReplicatedMap<DeltaSession>, Sessions<'a>) {
        let owner = Sessions {
            now: cx.now,
            unix_ms: cx.unix_ms,
            events: cx.events,
            context: self.context,
            config: &self.config,
            filters: &self.filters,
            class: &self.class,
        };
        (&mut self.map, owner)
    }

    pub(crate) const fn map_id(&self) -> &bytes::Bytes {
        self.map.map_id()
    }

    pub(crate) const fn map(&mut self) -> &mut ReplicatedMap<DeltaSession> {
        &mut self.map
    }

    /// `createSession`: the whole session goes to its backup at once, what the request sets follows.
    pub(crate) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        let wanted = usize::try_from(self.config.max_active_sessions).ok();
        let full = self.map.len_full() >= self.config.sessions_max;
        if full || wanted.is_some_and(|max| self.map.len() >= max) {
            self.stats.rejected_sessions = self.stats.rejected_sessions.wrapping_add(1);
            let max = wanted.unwrap_or(self.config.sessions_max);
            return Err(SessionError::TooManySessions { max });
        }
        let chosen = id.is_some();
        let id = match id {
            Some(id) => checked(id)?.clone(),
            None => self.random_id(out),
        };
        if self.map.entry(&key(&id)).is_some() {
            return Err(SessionError::SessionExists);
        }
        let (interval, record_all) = (self.config.session_timeout, self.config.record_all_actions);
        let session = DeltaSession::created(id.clone(), cx.now, cx.unix_ms, interval, record_all);
        let lane = session.lane;
        let now = cx.now;
        let (map, mut owner) = self.parts(cx);
        let mut out = map_out(out);
        if chosen {
            map.make_way(now, &mut out, &key(&id), lane);
        }
        map.put(now, &mut out, &mut owner, key(&id), lane, session);
        self.stats.session_counter = self.stats.session_counter.wrapping_add(1);
        cx.events.push(ClusterEvent::SessionCreated {
            context: self.context,
            id: id.clone(),
            origin: Origin::Local,
        });
        Ok(id)
    }

    fn random_id(&self, out: &mut Out<'_>) -> SessionId {
        loop {
            let route = self.config.jvm_route.as_deref();
            let length = self.config.session_id_length;
            let id = SessionId::random(out.channel.rng(), length, route);
            if self.map.entry(&key(&id)).is_none() {
                return id;
            }
        }
    }

    /// A request joins a session, of which this member becomes the primary. `BackupManager.findSession`.
    pub(crate) fn access(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, id: &SessionId) -> Access {
        let key = key(id);
        if self.session(id).is_some() && !self.check_valid(cx, out, id) {
            return Access::Absent;
        }
        let (record_joins, now) = (self.config.record_joins, cx.now);
        let (map, mut owner) = self.parts(cx);
        let access = map.access(now, &mut map_out(out), &mut owner, &key);
        if access == Access::Here
            && let Some(session) = self.map.value_mut(&key)
        {
            session.joined(cx, record_joins);
        }
        access
    }

    /// A request is done with a session.
    pub(crate) fn end_access(&mut self, cx: &mut Cx<'_>, id: &SessionId) {
        let at_start = self.config.session_last_access_at_start;
        let key = key(id);
        if let Some(session) = self.map.value_mut(&key) {
            session.left(cx, at_start);
        }
        let (map, mut owner) = self.parts(cx);
        map.forget_hidden(&mut owner, &key);
    }

    pub(crate) fn set_attribute(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        name: JavaString,
        value: Option<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        self.map
            .value_mut(&key(id))
            .ok_or(SessionError::UnknownSession)?
            .change_attribute(cx, self.context, &self.filters, name, value)
    }

    pub(crate) fn change(&mut self, id: &SessionId, action: Action) -> Result<(), SessionError> {
        self.map
            .value_mut(&key(id))
            .ok_or(SessionError::UnknownSession)?
            .change(action)
    }

    /// `changeSessionId`: the session goes to its backup under the new id, then the old id is removed everywhere. (Tomcat
    /// removes first, so that for a moment there is no session.)
    pub(crate) fn change_id(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        old: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        let chosen = new.is_some();
        let new = match new {
            Some(new) => checked(new)?.clone(),
            None => self.random_id(out),
        };
        let old_key = key(old);
        if self.session(old).is_none() {
            return Err(SessionError::UnknownSession);
        }
        if *old == new {
            return Ok(new);
        }
        if self.map.entry(&key(&new)).is_some() {
            return Err(SessionError::SessionExists);
        }
        let now = cx.now;
        let (map, mut owner) = self.parts(cx);
        let Some(mut session) = map.take_value(&old_key) else {
            return Err(SessionError::UnknownSession);
        };
        session.id = new.clone();
        let lane = session.lane;
        let mut out = map_out(out);
        if chosen {
            map.make_way(now, &mut out, &key(&new), lane);
        }
        map.put(now, &mut out, &mut owner, key(&new), lane, session);
        map.remove(now, &mut out, &mut owner, &old_key);
        cx.events.push(ClusterEvent::SessionIdChanged {
            context: self.context,
            old: old.clone(),
            new: new.clone(),
            origin: Origin::Local,
        });
        Ok(new)
    }

    /// The end of a request: BACKUP with what has changed, ACCESS if that is due, or nothing. `requestCompleted`.
    pub(crate) fn request_completed(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        let now = cx.now;
        let (map, mut owner) = self.parts(cx);
        map.replicate(now, &mut map_out(out), &mut owner, &key(id), false)
    }

    /// Ends a session here and everywhere. `None` if there is none, else the message that tells the others.
    pub(crate) fn expire(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
        cause: ExpiryCause,
        _notify_cluster: bool,
    ) -> Option<Option<UniqueId>> {
        self.session(id)?;
        let now = cx.now;
        let (map, mut owner) = self.parts(cx);
        let (sent, session) = map.remove(now, &mut map_out(out), &mut owner, &key(id))?;
        if let Some(session) = session {
            self.ended(cx, &session, cause);
        }
        Some(sent)
    }

    fn ended(&mut self, cx: &mut Cx<'_>, session: &DeltaSession, cause: ExpiryCause) {
        self.stats
            .ended(cx.unix_ms, session.creation_time_ms, cause);
        cx.events.push(ClusterEvent::SessionExpired {
            context: self.context,
            id: session.id.clone(),
            cause,
            origin: Origin::Local,
        });
    }

    /// Whether a session is here and its time is not over; otherwise it expires now, everywhere. `DeltaSession.isValid`.
    pub(crate) fn check_valid(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> bool {
        let Some(session) = self.session(id) else {
            return false;
        };
        let at_start = self.config.session_last_access_at_start;
        if !session.timed_out(cx.now, at_start, self.config.session_activity_check) {
            return true;
        }
        let cause = match session.is_primary() {
            true => ExpiryCause::TimedOut,
            false => ExpiryCause::CopyTimedOut,
        };
        self.expire(cx, out, id, cause, true);
        false
    }

    /// A background run of the container: every so many begin a look for timed-out sessions.
    pub(crate) fn background_process(&mut self) {
        self.runs = self.runs.saturating_add(1);
        if self.runs >= self.config.process_expires_frequency {
            self.runs = 0;
            self.cursor.get_or_insert(0);
        }
    }

    /// Looks at all sessions now; gives how many have expired.
    pub(crate) fn process_expires(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        self.cursor = None;
        self.expire_slots(cx, out, 0, self.map.slots(), |session, cx, config| {
            let at_start = config.session_last_access_at_start;
            session.timed_out(cx.now, at_start, config.session_activity_check)
        })
    }

    fn expire_slots(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        from: usize,
        to: usize,
        due: impl Fn(&DeltaSession, &Cx<'_>, &BackupManagerConfig) -> bool,
    ) -> usize {
        let mut expired = 0usize;
        for slot in from..to {
            let session = self.map.in_slot(slot).and_then(MapEntry::value);
            let due = session.filter(|session| due(session, cx, &self.config));
            if let Some(id) = due.map(|session| session.id.clone()) {
                self.check_valid(cx, out, &id);
                expired = expired.saturating_add(1);
            }
        }
        expired
    }

    /// Every session whose primary is this member ends here and everywhere; gives how many.
    pub(crate) fn expire_all_local(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        let mut expired = 0usize;
        for slot in 0..self.map.slots() {
            let entry = self.map.in_slot(slot);
            let session = entry
                .filter(|entry| entry.state() == EntryState::Primary)
                .and_then(MapEntry::value);
            if let Some(id) = session.map(|session| session.id.clone()) {
                self.expire(cx, out, &id, ExpiryCause::Invalidated, true);
                expired = expired.saturating_add(1);
            }
        }
        expired
    }

    /// The application stops: the others are told, and no session ends. `BackupManager.stopInternal`.
    pub(crate) fn stop(&mut self, cx: &Cx<'_>, out: &mut Out<'_>) {
        self.map.breakdown(cx.now, &mut map_out(out));
    }

    /// Does what is due, a bounded part of it.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>, settled: bool) {
        let now = cx.now;
        let (map, mut owner) = self.parts(cx);
        map.pump(now, &mut map_out(out), &mut owner, settled);
        if let Some(start) = self.map.take_started() {
            let strict = self.config.terminate_on_start_failure;
            let result = match (start.members, start.incomplete) {
                (_, true) if strict || start.members > 0 => TransferResult::Incomplete,
                (0, _) if out.channel.member_count() == 0 => TransferResult::NoMembers,
                (0, _) => TransferResult::NoContextManager,
                _ => TransferResult::Complete,
            };
            cx.events.push(ClusterEvent::StateTransfer {
                context: self.context,
                outcome: TransferOutcome {
                    result,
                    from: start.from,
                    sessions: start.entries,
                    took: start.took,
                },
            });
        }
        if let Some(from) = self.cursor {
            let to = from.saturating_add(BUDGET).min(self.map.slots());
            self.expire_slots(cx, out, from, to, |session, cx, config| {
                let at_start = config.session_last_access_at_start;
                session.timed_out(cx.now, at_start, config.session_activity_check)
            });
            self.cursor = (to < self.map.slots()).then_some(to);
        }
    }

    /// When [`pump`](Self::pump) has something to do; a time in the past for at once.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expiring = self.cursor.is_some().then_some(Instant::ZERO);
        expiring.into_iter().chain(self.map.deadline()).min()
    }
}

/// The part of what a manager sends with that a map needs.
pub(crate) fn map_out<'a>(out: &'a mut Out<'_>) -> MapOut<'a> {
    MapOut {
        channel: out.channel,
        buffer: out.buffer,
    }
}

/// A name as the bytes of its ISO-8859-1 form; what has none there becomes `?`, as in Java.
pub(crate) fn latin1(name: &JavaString, suffix: &str) -> alloc::vec::Vec<u8> {
    let byte = |unit: u16| u8::try_from(unit).unwrap_or(b'?');
    name.utf16().map(byte).chain(suffix.bytes()).collect()
}
