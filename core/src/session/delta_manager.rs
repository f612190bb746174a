//! `DeltaManager`: the sessions of one application, the same on every member.

use alloc::string::String;

use super::departed::{Departed, Departure};
use super::donor::Donors;
use super::filter::AttributeFilters;
use super::held::{EarlyRoom, HeldQueue};
use super::read_delta::{ReadDelta, Spare};
use super::reconcile::Reconcile;
use super::table::SessionTable;
use super::transfer::Join;
use super::{Cx, DeltaManagerConfig, DeltaSession, ManagerStats, Out, SessionId, Stamp};
use crate::cluster::{ClusterEvent, ContextId, ExpiryCause, Origin, Place};
use crate::java::JavaString;
use crate::time::Instant;

/// The session manager of one web application. `org.apache.catalina.ha.session.DeltaManager`.
///
/// It belongs to a [`Cluster`](crate::cluster::Cluster), which offers the commands; here is what can be looked at.
#[derive(Clone, Debug)]
pub struct DeltaManager {
    pub(crate) context: ContextId,
    pub(crate) name: JavaString,
    pub(crate) config: DeltaManagerConfig,
    pub(crate) filters: AttributeFilters,
    pub(crate) sessions: SessionTable,
    pub(crate) departed: Departed,
    pub(crate) early: EarlyRoom,
    pub(crate) held: HeldQueue,
    pub(crate) join: Join,
    pub(crate) donors: Donors,
    pub(crate) stats: ManagerStats,
    pub(crate) expiry: super::expiry::Expiry,
    pub(crate) reconcile: Reconcile,
    /// The delta under way, for its memory.
    pub(crate) reading: ReadDelta,
    /// Where the payload lies that is in `reading` already.
    pub(crate) ahead: Option<Place>,
    /// Memory of values that are no more.
    pub(crate) spare: Spare,
    /// The message under way is one that no honest peer sends.
    pub(crate) dishonest: bool,
    /// The last delta that was applied, to be applied again.
    #[cfg(feature = "plant")]
    pub(crate) last_delta: Option<super::held::Held>,
}

/// What can be looked at.
impl DeltaManager {
    /// Which manager it is.
    pub const fn context(&self) -> ContextId {
        self.context
    }

    /// Its name on the wire: `localhost#/shop`.
    pub const fn name(&self) -> &JavaString {
        &self.name
    }

    /// What it was told.
    pub const fn config(&self) -> &DeltaManagerConfig {
        &self.config
    }

    /// What it has counted.
    pub const fn stats(&self) -> &ManagerStats {
        &self.stats
    }

    /// How many sessions there are, primaries and copies.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// All sessions, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = &DeltaSession> {
        self.sessions.iter()
    }

    /// A session, without using it.
    pub fn session(&self, id: &SessionId) -> Option<&DeltaSession> {
        self.sessions.get(id.as_modified_utf8())
    }

    /// Messages kept while a state transfer runs. `receivedQueueSize`.
    pub fn received_queue_size(&self) -> usize {
        self.held.len()
    }

    /// Messages that wait for their session.
    pub const fn early_messages(&self) -> usize {
        self.early.len()
    }
}

impl DeltaManager {
    pub(crate) fn new(
        context: ContextId,
        name: JavaString,
        config: DeltaManagerConfig,
        now: Instant,
    ) -> Self {
        let limits = &config.limits;
        Self {
            context,
            name,
            filters: AttributeFilters {
                name: config.session_attribute_name_filter.clone(),
                value_class_name: config.session_attribute_value_class_name_filter.clone(),
            },
            sessions: SessionTable::default(),
            departed: Departed::new(limits.departed_memory, limits.departed_max),
            early: EarlyRoom::new(
                limits.early_wait,
                limits.early_messages_max,
                limits.early_bytes_max,
            ),
            held: HeldQueue::new(limits.held_messages_max, limits.held_bytes_max),
            join: Join::new(now),
            donors: Donors::default(),
            stats: ManagerStats::default(),
            expiry: super::expiry::Expiry::default(),
            reconcile: Reconcile::new(now),
            reading: ReadDelta::default(),
            ahead: None,
            spare: Spare::default(),
            dishonest: false,
            #[cfg(feature = "plant")]
            last_delta: None,
            config,
        }
    }

    /// Does what is due, a bounded part of it.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>, out: &mut Out<'_>) {
        let dropped = self.early.drop_old(cx.now);
        self.dropped_early(cx, dropped);
        for sender in self.early.take_in_vain() {
            out.channel.turn_away(cx.now, sender);
        }
        self.pump_join(cx, out);
        self.pump_donors(cx, out);
        self.pump_reconcile(cx, out);
        self.continue_expiry(cx, out);
    }

    /// When [`pump`](Self::pump) has something to do; a time in the past for at once.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expiring = self.is_expiring().then_some(Instant::ZERO);
        [
            expiring,
            self.early.deadline(),
            self.join_deadline(),
            self.donor_deadline(),
            self.reconcile_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // --- common to local and remote changes -----------------------------------------------------------------------

    /// Adds a session that is not there.
    pub(crate) fn add(&mut self, cx: &mut Cx<'_>, session: DeltaSession, origin: Origin) {
        let id = session.id.clone();
        self.sessions.insert(session);
        self.stats.session_counter = self.stats.session_counter.wrapping_add(1);
        self.stats.max_active = self.stats.max_active.max(self.sessions.len());
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            cx.events.push(ClusterEvent::SessionCreated {
                context: self.context,
                id,
                origin,
            });
        }
    }

    /// Takes a session away and remembers its id; gives the time of its end, as in a stamp.
    pub(crate) fn remove(
        &mut self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        cause: ExpiryCause,
        origin: Origin,
    ) -> i64 {
        let Some(session) = self.sessions.remove(id.as_modified_utf8()) else {
            return cx.unix_ms;
        };
        self.stats
            .ended(cx.unix_ms, session.creation_time_ms, cause);
        // A copy that timed out may still live on its primary: a state transfer may bring it back.
        // Its creator's clock may be ahead of ours, or of itself by now: the same CREATED is dead in any case.
        let at_ms = cx.unix_ms.max(session.creation_time_ms);
        let at_ms = session.history.next(at_ms, 0).time_ms;
        if cause != ExpiryCause::CopyTimedOut {
            // A peer does not say whether the session timed out.
            let timed_out = matches!(cause, ExpiryCause::TimedOut | ExpiryCause::ByPeer);
            let departure = Departure::Expired { at_ms, timed_out };
            self.departed.remember(cx.now, id.clone(), departure);
        }
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            cx.events.push(ClusterEvent::SessionExpired {
                context: self.context,
                id: id.clone(),
                cause,
                origin,
            });
        }
        at_ms
    }

    /// Gives a session another id.
    pub(crate) fn rename(
        &mut self,
        cx: &mut Cx<'_>,
        old: &SessionId,
        new: &SessionId,
        stamp: Stamp,
        origin: Origin,
    ) {
        let replaced = self.sessions.rename(old.as_modified_utf8(), new);
        if let Some(session) = self.sessions.get_mut(new.as_modified_utf8()) {
            session.history.saw(stamp);
            session.history.id_since_ms = stamp.time_ms;
            if let Some(replaced) = replaced {
                session.absorb(replaced, &self.filters);
            }
        }
        self.departed.recall(new.as_modified_utf8());
        let departure = Departure::Renamed {
            to: new.clone(),
            at_ms: stamp.time_ms,
        };
        self.departed.remember(cx.now, old.clone(), departure);
        if origin == Origin::Local || self.config.notify_session_listeners_on_replication {
            let (context, old, new) = (self.context, old.clone(), new.clone());
            cx.events.push(ClusterEvent::SessionIdChanged {
                context,
                old,
                new,
                origin,
            });
        }
    }
}

/// The manager's name: with the host's in front if the cluster is at the engine. `SimpleTcpCluster.getManagerName`.
pub(crate) fn manager_name(host_name: Option<&str>, context_path: &str) -> String {
    match host_name {
        None => String::from(context_path),
        Some(host) => {
            let mut name = String::from(host);
            name.push('#');
            if context_path.starts_with(name.as_str()) {
                return String::from(context_path);
            }
            name.push_str(context_path);
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_after_host_and_context() {
        #[rustfmt::skip]
        let cases = [
            (Some("localhost"), "/shop",           "localhost#/shop"),
            (Some("localhost"), "",                "localhost#"),
            (Some("localhost"), "/shop##2",        "localhost#/shop##2"),
            (Some("localhost"), "localhost#/shop", "localhost#/shop"),
            (None,              "/shop",           "/shop"),
            (None,              "",                ""),
        ];
        for (host, path, name) in cases {
            assert_eq!(manager_name(host, path), name);
        }
    }
}
