//! The kinds of session messages.

/// What a [`SessionMessage`](super::SessionMessage) is about. `SessionMessage.EVT_*`.
///
/// The numbers 5 to 11 retired with Tomcat 5; a receiver ignores what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EventType {
    /// 1: a session was created. `EVT_SESSION_CREATED`.
    SessionCreated,
    /// 2: a session was invalidated or timed out on its primary. `EVT_SESSION_EXPIRED`.
    SessionExpired,
    /// 3: a request used a session without changing it. `EVT_SESSION_ACCESSED`.
    SessionAccessed,
    /// 4: a starting manager asks for all sessions. `EVT_GET_ALL_SESSIONS`.
    GetAllSessions,
    /// 12: sessions, as an answer to [`GetAllSessions`](Self::GetAllSessions). `EVT_ALL_SESSION_DATA`.
    AllSessionData,
    /// 13: what changed in a session. `EVT_SESSION_DELTA`.
    SessionDelta,
    /// 14: the answer is complete. `EVT_ALL_SESSION_TRANSFERCOMPLETE`.
    AllSessionTransferComplete,
    /// 15: a session has a new id. `EVT_CHANGE_SESSION_ID`.
    ChangeSessionId,
    /// 16: the member asked has no such application. `EVT_ALL_SESSION_NOCONTEXTMANAGER`.
    AllSessionNoContextManager,
}

impl EventType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::SessionCreated,
        Self::SessionExpired,
        Self::SessionAccessed,
        Self::GetAllSessions,
        Self::AllSessionData,
        Self::SessionDelta,
        Self::AllSessionTransferComplete,
        Self::ChangeSessionId,
        Self::AllSessionNoContextManager,
    ];

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        match self {
            Self::SessionCreated => 1,
            Self::SessionExpired => 2,
            Self::SessionAccessed => 3,
            Self::GetAllSessions => 4,
            Self::AllSessionData => 12,
            Self::SessionDelta => 13,
            Self::AllSessionTransferComplete => 14,
            Self::ChangeSessionId => 15,
            Self::AllSessionNoContextManager => 16,
        }
    }

    /// The kind of that number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The name in Tomcat's logs. `SessionMessageImpl.getEventTypeString`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionCreated => "SESSION-MODIFIED",
            Self::SessionExpired => "SESSION-EXPIRED",
            Self::SessionAccessed => "SESSION-ACCESSED",
            Self::GetAllSessions => "SESSION-GET-ALL",
            Self::AllSessionData => "ALL-SESSION-DATA",
            Self::SessionDelta => "SESSION-DELTA",
            Self::AllSessionTransferComplete => "SESSION-STATE-TRANSFERRED",
            Self::ChangeSessionId => "SESSION-ID-CHANGED",
            Self::AllSessionNoContextManager => "NO-CONTEXT-MANAGER",
        }
    }
}

/// One counter for each [`EventType`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounters([u64; 9]);

impl EventCounters {
    /// How often.
    pub fn get(&self, kind: EventType) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    #[cfg(any(test, feature = "alloc"))]
    pub(crate) fn count(&mut self, kind: EventType) {
        if let Some(counter) = self.0.get_mut(kind as usize) {
            *counter = counter.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_one_kind() {
        for kind in EventType::ALL {
            assert_eq!(EventType::from_number(kind.number()), Some(kind));
        }
        for unknown in [0, 5, 11, 17, -1, i32::MAX] {
            assert_eq!(EventType::from_number(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn each_kind_has_a_counter_of_its_own() {
        let mut counters = EventCounters::default();
        for (times, kind) in EventType::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.count(kind));
        }
        for (times, kind) in EventType::ALL.into_iter().enumerate() {
            assert_eq!(counters.get(kind), times as u64, "{kind:?}");
        }
    }
}
