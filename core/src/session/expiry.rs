//! Sessions whose time is over.

use super::SessionId;
use super::{Cx, DeltaManager, Out};
use crate::cluster::ExpiryCause;
use crate::plant::{Bug, planted};

/// How far the look for timed-out sessions is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiry {
    /// Background runs since the last look.
    runs: u32,
    /// The next slot to look at, while a look is under way.
    cursor: Option<usize>,
}

/// Slots looked at in one call.
const BUDGET: usize = 16_384;

impl DeltaManager {
    /// Whether a session is there and its time is not over; otherwise it expires now. `DeltaSession.isValid`.
    ///
    /// The primary tells the others; a copy, which waits twice as long, goes silently.
    pub(crate) fn check_valid(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> bool {
        let Some(session) = self.sessions.get(id.as_modified_utf8()) else {
            return false;
        };
        let (at_start, check) = (
            self.config.session_last_access_at_start,
            self.config.session_activity_check,
        );
        if !session.timed_out(cx.now, at_start, check) {
            return true;
        }
        let primary = session.is_primary();
        let cause = if primary {
            ExpiryCause::TimedOut
        } else {
            ExpiryCause::CopyTimedOut
        };
        self.expire(cx, out, id, cause, primary);
        false
    }

    /// A background run of the container: every so many begin a look. `ManagerBase.backgroundProcess`.
    pub(crate) fn background_process(&mut self, cx: &Cx<'_>) {
        self.departed.forget_old(cx.now);
        self.expiry.runs = self.expiry.runs.saturating_add(1);
        if planted(Bug::ExpiryTimerLost) {
            return;
        }
        if self.expiry.runs >= self.config.process_expires_frequency {
            self.expiry.runs = 0;
            self.expiry.cursor.get_or_insert(0);
        }
    }

    /// Whether a look is under way.
    pub(crate) const fn is_expiring(&self) -> bool {
        self.expiry.cursor.is_some()
    }

    /// Goes on with the look, a bounded part of it.
    pub(crate) fn continue_expiry(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let Some(from) = self.expiry.cursor else {
            return;
        };
        let to = from.saturating_add(BUDGET).min(self.sessions.slots());
        self.expire_slots(cx, out, from, to);
        self.expiry.cursor = (to < self.sessions.slots()).then_some(to);
    }

    /// Looks at all sessions now; gives how many have expired. `ManagerBase.processExpires`.
    pub(crate) fn process_expires(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        self.expiry.cursor = None;
        let slots = self.sessions.slots();
        self.expire_slots(cx, out, 0, slots)
    }

    fn expire_slots(
        &mut self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        from: usize,
        to: usize,
    ) -> usize {
        let (at_start, check) = (
            self.config.session_last_access_at_start,
            self.config.session_activity_check,
        );
        let mut expired = 0usize;
        for slot in from..to {
            let due = self
                .sessions
                .in_slot(slot)
                .filter(|session| session.timed_out(cx.now, at_start, check));
            if let Some(id) = due.map(|session| session.id.clone()) {
                self.check_valid(cx, out, &id);
                expired = expired.saturating_add(1);
            }
        }
        expired
    }

    /// The application stops: every session ends here; peers are told only if the configuration says so.
    /// `DeltaManager.stopInternal`.
    pub(crate) fn expire_all(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let notify = self.config.expire_sessions_on_shutdown;
        for slot in 0..self.sessions.slots() {
            if let Some(id) = self
                .sessions
                .in_slot(slot)
                .map(|session| session.id.clone())
            {
                self.expire(cx, out, &id, ExpiryCause::Stopped, notify);
            }
        }
    }

    /// Every primary session ends here and everywhere; gives how many. `DeltaManager.expireAllLocalSessions`.
    pub(crate) fn expire_all_local(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        let mut expired = 0usize;
        for slot in 0..self.sessions.slots() {
            let primary = self
                .sessions
                .in_slot(slot)
                .filter(|session| session.is_primary());
            if let Some(id) = primary.map(|session| session.id.clone())
                && self
                    .expire(cx, out, &id, ExpiryCause::Invalidated, true)
                    .is_some()
            {
                expired = expired.saturating_add(1);
            }
        }
        expired
    }
}
