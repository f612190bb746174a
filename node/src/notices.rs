//! What the engine has to tell, passed on: to those who wait, to subscribers, to the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use folkmoot_core::channel::{ChannelEvent, FaultCause, MemberIndex};
use folkmoot_core::cluster::{Cluster as Engine, ClusterEvent, ContextId, Origin};
use folkmoot_core::session::TransferOutcome;
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{Member, UniqueId};
use tokio::sync::{broadcast, watch};

use crate::active::ActiveSessions;
use crate::cluster::unix_ms;
use crate::delivery::Deliveries;
use crate::event::{Event, Events, StateTransfer};
use crate::quota::Quota;

/// The receiving end of the engine's events. [`drain`](Self::drain) runs under the engine's lock.
pub(crate) struct Notices {
    pub(crate) deliveries: Deliveries,
    events: broadcast::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Members by index: an index finds nothing any more when its member is gone.
    members: HashMap<MemberIndex, Member>,
    contexts: HashMap<ContextId, Arc<Context>>,
    clock_set: Option<Instant>,
    refused: Quota,
    failed: Quota,
}

/// What belongs to one web application.
pub(crate) struct Context {
    pub(crate) path: Arc<str>,
    pub(crate) active: ActiveSessions,
    /// How the first state transfer ended; `Some(None)` if the cluster was faster.
    pub(crate) transfer: watch::Sender<Option<Option<StateTransfer>>>,
}

/// How often the engine's wall clock is set anew.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);

impl Notices {
    pub(crate) fn new(events_max: usize) -> Self {
        Self {
            deliveries: Deliveries::default(),
            events: broadcast::Sender::new(events_max),
            state: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    /// From now on events of the context `id` go to the returned place.
    pub(crate) fn open(&self, id: ContextId, path: &str) -> Arc<Context> {
        let context = Arc::new(Context {
            path: path.into(),
            active: ActiveSessions::default(),
            transfer: watch::Sender::new(None),
        });
        self.state().contexts.insert(id, Arc::clone(&context));
        context
    }

    /// Nothing will happen any more.
    pub(crate) fn close(&self) {
        self.deliveries.close();
        for context in self.state().contexts.values() {
            context.transfer.send_if_modified(|ended| {
                let first = ended.is_none();
                if first {
                    *ended = Some(None);
                }
                first
            });
        }
        self.tell(|| Event::Stopped);
    }

    /// Takes all events that the engine has.
    pub(crate) fn drain(&self, engine: &mut Engine, now: Instant) {
        let mut state = self.state();
        if state
            .clock_set
            .is_none_or(|set| now.since(set) >= CLOCK_PERIOD)
        {
            state.clock_set = Some(now);
            engine.set_wall_clock(now, unix_ms());
        }
        while let Some(event) = engine.poll_event() {
            self.take(&mut state, engine, event);
        }
    }

    fn take(&self, state: &mut State, engine: &Engine, event: ClusterEvent) {
        match event {
            ClusterEvent::Channel(event) => self.take_from_channel(state, engine, event),
            ClusterEvent::StateTransfer { context, outcome } => {
                self.state_transferred(state, context, &outcome)
            }
            ClusterEvent::ContextStarted { context } => {
                if let Some(context) = state.contexts.get(&context) {
                    context.transfer.send_replace(Some(None));
                }
            }
            ClusterEvent::SessionCreated {
                context,
                id,
                origin,
            } => self.tell_of(state, context, |context| Event::SessionCreated {
                context,
                id,
                remote: origin == Origin::Remote,
            }),
            ClusterEvent::SessionExpired {
                context,
                id,
                origin,
                ..
            } => self.tell_of(state, context, |context| Event::SessionExpired {
                context,
                id,
                remote: origin == Origin::Remote,
            }),
            ClusterEvent::SessionIdChanged {
                context,
                old,
                new,
                origin,
            } => {
                if let Some(context) = state.contexts.get(&context) {
                    context.active.rename(&old, &new);
                }
                self.tell_of(state, context, |context| Event::SessionIdChanged {
                    context,
                    old,
                    new,
                    remote: origin == Origin::Remote,
                });
            }
            ClusterEvent::Refused {
                context,
                from,
                reason,
            } => {
                if let Some(suppressed) = state.refused.admit(std::time::Instant::now()) {
                    let context = context.and_then(|context| state.contexts.get(&context));
                    let context = context.map(|context| &*context.path);
                    let from = from
                        .and_then(|from| state.member(engine, from))
                        .map(|member| member.name());
                    tracing::warn!(context, from, suppressed, "a message was refused: {reason}");
                }
            }
            ClusterEvent::Reconciled {
                context,
                with,
                sessions,
                conflicts,
            } => {
                let with = state.member(engine, with);
                let name = with.as_ref().map(Member::name);
                tracing::info!(
                    member = name,
                    sessions,
                    conflicts,
                    "sessions were made equal with those of a member"
                );
                self.tell_of(state, context, |context| Event::Reconciled {
                    context,
                    with,
                    sessions,
                    conflicts,
                });
            }
            ClusterEvent::Lagging(member) => {
                if let Some(suppressed) = state.failed.admit(std::time::Instant::now()) {
                    let member = state.member(engine, member).map(|member| member.name());
                    tracing::warn!(
                        member,
                        suppressed,
                        "a member reads so slowly that its queue is full: it gets all sessions anew when there is room"
                    );
                }
            }
            ClusterEvent::ClockSkew { member, ahead_ms } => {
                let member = state.member(engine, member).map(|member| member.name());
                tracing::warn!(
                    member,
                    ahead_ms,
                    "the clock of a member differs from ours: keep clocks with NTP"
                );
            }
            other => tracing::debug!(event = ?other, "cluster event"),
        }
    }

    fn take_from_channel(&self, state: &mut State, engine: &Engine, event: ChannelEvent) {
        match event {
            ChannelEvent::MemberAdded(index) => {
                if let Some(member) = engine.channel().member(index) {
                    tracing::info!(%member, "member added");
                    state.members.insert(index, member.clone());
                    self.tell(|| Event::MemberAdded(member.clone()));
                }
            }
            ChannelEvent::MemberDisappeared(index) => {
                if let Some(member) = state.members.remove(&index) {
                    tracing::info!(%member, "member disappeared");
                    self.tell(|| Event::MemberDisappeared(member));
                }
            }
            ChannelEvent::Sent { id, faulty } => self.settled(state, engine, id, faulty),
            ChannelEvent::Lost {
                member,
                messages,
                cause,
            } => {
                let member = state.member(engine, member);
                if let Some(suppressed) = state.failed.admit(std::time::Instant::now()) {
                    let name = member.as_ref().map(Member::name);
                    tracing::error!(
                        member = name,
                        messages,
                        suppressed,
                        "messages were lost: {cause}"
                    );
                }
                self.tell(|| Event::Lost {
                    member,
                    messages,
                    cause,
                });
            }
            ChannelEvent::BadInput { from, reason } => {
                if let Some(suppressed) = state.refused.admit(std::time::Instant::now()) {
                    tracing::warn!(%from, suppressed, "input was refused: {reason}");
                }
            }
            ChannelEvent::Throughput(stats) => tracing::info!(
                messages_sent = stats.messages_sent,
                bytes_sent = stats.bytes_sent,
                messages_received = stats.messages_received,
                bytes_received = stats.bytes_received,
                "throughput"
            ),
            other => tracing::debug!(event = ?other, "channel event"),
        }
    }

    /// A message that asked for acknowledgements has them, or never will.
    fn settled(
        &self,
        state: &mut State,
        engine: &Engine,
        id: UniqueId,
        faulty: Vec<(MemberIndex, FaultCause)>,
    ) {
        let faulty: Vec<(Member, FaultCause)> = faulty
            .into_iter()
            .filter_map(|(index, cause)| Some((state.member(engine, index)?, cause)))
            .collect();
        if let Some((member, cause)) = faulty.first()
            && let Some(suppressed) = state.failed.admit(std::time::Instant::now())
        {
            let members = faulty.len();
            tracing::error!(%id, %member, members, suppressed, "a message was not acknowledged: {cause}");
        }
        if !faulty.is_empty() {
            self.tell(|| Event::NotAcknowledged {
                id,
                faulty: faulty.clone(),
            });
        }
        self.deliveries.settle(id, faulty);
    }

    fn state_transferred(&self, state: &State, context: ContextId, outcome: &TransferOutcome) {
        let Some(context) = state.contexts.get(&context) else {
            return;
        };
        let from = outcome
            .from
            .and_then(|index| state.members.get(&index))
            .cloned();
        let transfer = StateTransfer {
            result: outcome.result,
            from,
            sessions: outcome.sessions,
            took: outcome.took,
        };
        let from = transfer.from.as_ref().map(Member::name);
        let took_ms = transfer.took.as_millis();
        tracing::info!(
            context = &*context.path, from, sessions = transfer.sessions, took_ms, result = ?transfer.result, "state transfer ended"
        );
        context.transfer.send_replace(Some(Some(transfer.clone())));
        self.tell(|| Event::StateTransferred {
            context: Arc::clone(&context.path),
            transfer,
        });
    }

    fn tell_of(&self, state: &State, context: ContextId, event: impl FnOnce(Arc<str>) -> Event) {
        if let Some(context) = state.contexts.get(&context) {
            self.tell(|| event(Arc::clone(&context.path)));
        }
    }

    /// Nobody to tell is the usual case and costs nothing.
    fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is half done when a panic passes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn member(&self, engine: &Engine, index: MemberIndex) -> Option<Member> {
        self.members
            .get(&index)
            .or_else(|| engine.channel().member(index))
            .cloned()
    }
}
