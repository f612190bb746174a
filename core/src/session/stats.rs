//! What a manager counts.

use super::EventCounters;
use super::receive::DeltaOutcome;
use crate::cluster::ExpiryCause;

/// Counters of a manager; they count only while `enable_statistics` is true, except for those that tell of something
/// lost or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerStats {
    /// Messages received. `counterReceive_EVT_*`.
    pub received: EventCounters,
    /// Messages sent, each counted once however many members it went to. `counterSend_EVT_*`.
    pub sent: EventCounters,
    /// Sessions created here, by others, or taken over in a state transfer. `sessionCounter`.
    pub session_counter: u64,
    /// The largest number of sessions at once. `maxActive`.
    pub max_active: usize,
    /// Sessions that timed out here. `expiredSessions`.
    pub expired_sessions: u64,
    /// Sessions not created because of `max_active_sessions`. `rejectedSessions`.
    pub rejected_sessions: u64,
    /// Sessions of a state transfer that were there already. `sessionReplaceCounter`.
    pub session_replace_counter: u64,
    /// State transfers that ended without the whole state. `counterNoStateTransferred`.
    pub counter_no_state_transferred: u64,
    /// Longest life of a session, in seconds. `sessionMaxAliveTime`.
    pub session_max_alive_time: u64,
    /// Lives of all sessions that ended here, in seconds together; divided by
    /// [`lives_ended`](Self::lives_ended) it is `sessionAverageAliveTime`.
    pub lives_total: u64,
    /// Sessions that ended here.
    pub lives_ended: u64,
    /// Messages of an unknown kind, ignored.
    pub unknown_kind: u64,
    /// Messages whose payload could not be read; nothing changed.
    pub refused: u64,
    /// Deltas whose session id is not that of their session; nothing changed.
    pub mismatched: u64,
    /// Actions of an unknown type or with a value of the wrong class, skipped.
    pub unknown_actions: u64,
    /// Messages that waited for their session and were then applied.
    pub early_applied: u64,
    /// Messages about a session that did not come in time, or that found no room to wait. The session is not what the
    /// others have until the next state transfer.
    pub early_dropped: u64,
    /// Messages about sessions that had expired or been renamed before, ignored.
    pub late_dropped: u64,
    /// CREATED for sessions that were there already, ignored.
    pub created_known: u64,
    /// Messages kept during a state transfer and then left out because the state contained them.
    pub contained_dropped: u64,
    /// Messages applied early because too many were kept during a state transfer.
    pub held_overflow: u64,
    /// Values in a state transfer whose writer had failed, skipped.
    pub values_skipped: u64,
    /// Sessions of others refused because of `limits.sessions_max`.
    pub sessions_refused: u64,
    /// Local changes that stayed in force and unsent when a delta for the same session arrived. Tomcat loses them.
    pub merged: u64,
    /// Changes of one field on two nodes that did not know of each other: one of them won, the other one, which is counted here, is
    /// lost. Only changes of our own nodes can be told apart so.
    pub conflicts: u64,
    /// Sessions that a comparison with another of our nodes brought or changed.
    pub reconciled_sessions: u64,
    /// Sessions that a comparison ended or gave another id.
    pub reconciled_endings: u64,
    /// Comparisons with other nodes that came to their end.
    pub reconciliations: u64,
    /// Comparisons that were given up because the other did not answer.
    pub reconciliations_broken: u64,
    /// Answers given to nodes that compare.
    pub reconcile_answers: u64,
    /// State transfers given to others completely.
    pub transfers_given: u64,
    /// State transfers to others that ended early.
    pub transfers_broken: u64,
    /// Sessions in the data messages of state transfers to others, each as often as it was sent.
    pub transfer_sessions_given: u64,
    /// Sessions in the data messages of state transfers that came here.
    pub transfer_sessions_received: u64,
    /// State transfers to here that went on with another donor where the one before had ended.
    pub transfers_resumed: u64,
}

impl ManagerStats {
    /// A delta was applied.
    pub(crate) const fn applied(&mut self, outcome: DeltaOutcome) {
        self.merged = self.merged.wrapping_add(outcome.merged);
        self.conflicts = self.conflicts.wrapping_add(outcome.conflicts);
        self.unknown_actions = self.unknown_actions.wrapping_add(outcome.unknown_actions);
    }

    /// A session has ended here.
    pub(crate) fn ended(&mut self, unix_ms: i64, creation_time_ms: i64, cause: ExpiryCause) {
        let life_ms = unix_ms.saturating_sub(creation_time_ms);
        let life = u64::try_from(life_ms).unwrap_or_default() / 1000;
        self.session_max_alive_time = self.session_max_alive_time.max(life);
        self.lives_total = self.lives_total.saturating_add(life);
        self.lives_ended = self.lives_ended.wrapping_add(1);
        if matches!(cause, ExpiryCause::TimedOut | ExpiryCause::CopyTimedOut) {
            self.expired_sessions = self.expired_sessions.wrapping_add(1);
        }
    }
}
