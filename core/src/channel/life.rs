//! Start, stop and the clockwork between them. `ChannelCoordinator.internalStart`, `internalStop` and
//! `GroupChannel.HeartbeatRunnable`.

use core::time::Duration;

use super::{Channel, ChannelEvent, FaultCause, MembershipConfig, StaticServiceConfig, count};
use crate::engine::{Output, Target};
use crate::membership::table::Check;
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::wire::{Control, Member};

/// Datagrams that may wait for the driver.
const DATAGRAMS_MAX: usize = 64;
/// How often incomplete frames are looked at.
pub(super) const RECEIVERS_EVERY: Duration = Duration::from_secs(1);

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Made, or stopped.
    Idle,
    /// At work.
    Running,
    /// Queued messages leave.
    Draining { until: Instant },
    /// Static members are told.
    Leaving { until: Instant },
}

/// What is due when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    /// Our next multicast heartbeat, and the look at everybody else's.
    pub(super) heartbeat: Option<Instant>,
    /// The next round of checks of static members.
    pub(super) ping: Option<Instant>,
    /// The first TCP check that is to be started or given up.
    pub(super) checks: Option<Instant>,
    /// Not after the first deadline of a lane.
    pub(super) lanes: Option<Instant>,
    /// The next look at incomplete frames and unread answers.
    pub(super) receivers: Option<Instant>,
    /// The channel's own heartbeat.
    pub(super) housekeeping: Option<Instant>,
    /// When a message has waited too long in an interceptor.
    pub(super) layers: Option<Instant>,
    /// The end of the time to learn the members.
    pub(super) settle: Option<Instant>,
    /// The end of a phase of stopping.
    pub(super) stop: Option<Instant>,
}

impl Timers {
    /// The first of them.
    pub(super) fn next(&self) -> Option<Instant> {
        Instant::first(&[
            self.heartbeat,
            self.ping,
            self.checks,
            self.lanes,
            self.receivers,
            self.housekeeping,
            self.layers,
            self.settle,
            self.stop,
        ])
    }

    /// Takes a timer that is due.
    pub(super) fn due(timer: &mut Option<Instant>, now: Instant) -> Option<Instant> {
        timer.take_if(|at| *at <= now)
    }

    /// Sets a timer, unless it is due earlier.
    pub(super) fn not_after(timer: &mut Option<Instant>, at: Instant) {
        *timer = Some(timer.map_or(at, |earlier| earlier.min(at)));
    }
}

impl Channel {
    /// Begins: says goodbye for an earlier incarnation, sends the first two heartbeats, checks static members. Does
    /// nothing if the channel is running.
    pub fn start(&mut self, now: Instant) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Running;
        self.settled = false;
        self.stack.start(self.clock.unix_ms(now));
        self.timers.housekeeping = Some(now + self.config.heartbeat);
        // A service counts from its start, others from 1970.
        let service = self.service.is_some();
        match &self.config.membership {
            MembershipConfig::Multicast(multicast) => {
                let multicast = *multicast;
                self.local.started = Some(now);
                if let Some(previous) = self.config.previous_unique_id
                    && previous != self.local.member.unique_id
                {
                    let goodbye = self.local.shutdown(previous);
                    self.datagram(Target::Group, &goodbye);
                }
                // McastServiceImpl sends one at the start, and its thread another at once.
                self.send_heartbeat(now);
                self.send_heartbeat(now);
                self.timers.heartbeat = Some(now + multicast.frequency);
                self.timers.settle = Some(now + multicast.frequency.saturating_mul(2));
            }
            MembershipConfig::Static(fixed)
            | MembershipConfig::StaticService(StaticServiceConfig { fixed, .. }) => {
                let ping_interval = fixed.ping_interval;
                let members: alloc::vec::Vec<Member> = fixed
                    .members
                    .iter()
                    .filter(|member| member.address != self.config.address)
                    .map(Member::from)
                    .collect();
                self.local.started = service.then_some(now);
                self.local.refresh(now, &self.clock);
                for member in members {
                    self.add_fixed(now, member);
                }
                self.timers.ping = Some(now + ping_interval);
                self.timers.settle = Some(now + self.config.failure_detector.connect_timeout);
            }
            MembershipConfig::None => {
                self.local.refresh(now, &self.clock);
                self.timers.settle = Some(now);
            }
        }
        if let Some(settle) = self.timers.settle {
            self.settle_by = settle + self.config.failure_detector.connect_timeout;
        }
        self.start_checks(now);
    }

    /// Ends: no more sends, queued messages leave (for at most `stop_timeout`), then the others are told and all
    /// connections closed; [`ChannelEvent::Stopped`] follows and the channel can start again. Members are not announced as
    /// gone.
    pub fn stop(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        let until = now + self.config.stop_timeout;
        self.phase = Phase::Draining { until };
        self.timers.stop = Some(until);
        self.proceed_stopping(now);
    }

    /// Whether the channel has been started and not been told to stop.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether nothing is left to do: never started, or stopped for good.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether the time to learn the members after the start is over: two heartbeats, or the first check of all static
    /// members; [`ChannelEvent::Settled`] says so.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// When the channel wants [`Input::Timeout`](crate::engine::Input::Timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.news.is_empty() || self.wound_up {
            return Some(Instant::ZERO);
        }
        self.timers.next()
    }

    /// Does everything that is due.
    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(at) = Timers::due(&mut self.timers.heartbeat, now) {
            self.heartbeat_due(now, at);
        }
        if Timers::due(&mut self.timers.ping, now).is_some() {
            self.ping_due(now);
        }
        if Timers::due(&mut self.timers.lanes, now).is_some() {
            self.lanes_due(now);
        }
        if Timers::due(&mut self.timers.receivers, now).is_some() {
            self.receivers_due(now);
        }
        if Timers::due(&mut self.timers.housekeeping, now).is_some() {
            self.housekeeping_due(now);
        }
        if Timers::due(&mut self.timers.checks, now).is_some() {
            self.checks_due(now);
        }
        if Timers::due(&mut self.timers.settle, now).is_some() {
            self.settle_due(now);
        }
        if Timers::due(&mut self.timers.stop, now).is_some() {
            self.stop_due(now);
        }
    }

    fn heartbeat_due(&mut self, now: Instant, due: Instant) {
        let MembershipConfig::Multicast(multicast) = self.config.membership else {
            return;
        };
        self.send_heartbeat(now);
        let late = now.since(due);
        self.expire_members(now, multicast.drop_time, late);
        // Kept on its beat, unless this node itself has been stopped for a while.
        let next = due + multicast.frequency;
        self.timers.heartbeat = Some(if next > now {
            next
        } else {
            now + multicast.frequency
        });
    }

    fn housekeeping_due(&mut self, now: Instant) {
        self.timers.housekeeping = Some(now + self.config.heartbeat);
        self.close_kept_alive(now);
        self.forget_guests(now);
    }

    fn settle_due(&mut self, now: Instant) {
        // A member that has just been heard of for the first time may still answer; but whoever invents members must not
        // be able to prolong this.
        let waiting = self
            .members
            .entries()
            .any(|entry| !entry.is_verified() && entry.is_checking());
        if waiting && now < self.settle_by {
            self.timers.settle = Some(now + Duration::from_millis(50));
        } else {
            self.settle();
        }
    }

    /// Ends the time to learn the members.
    pub(super) fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            self.timers.settle = None;
            self.event(ChannelEvent::Settled);
        }
    }

    fn send_heartbeat(&mut self, now: Instant) {
        self.local.refresh(now, &self.clock);
        let block = alloc::vec::Vec::from(self.local.heartbeat());
        self.datagram(Target::Group, &block);
        count(&mut self.stats.heartbeats_sent);
    }

    /// Hands one datagram to the driver, unless too many wait there; half of the places are kept for the group.
    pub(super) fn datagram(&mut self, to: Target, bytes: &[u8]) -> bool {
        let max = match to {
            Target::Group => DATAGRAMS_MAX,
            Target::Address(_) => DATAGRAMS_MAX / 2,
        };
        if self.datagrams >= max {
            return false;
        }
        self.datagrams = self.datagrams.saturating_add(1);
        let conn = self.conns.insert(Conn::Datagram(bytes.into()));
        self.outputs.push_back(Output::Datagram { conn, to });
        true
    }

    fn stop_due(&mut self, now: Instant) {
        match self.phase {
            Phase::Draining { .. } => self.say_goodbye(now),
            Phase::Leaving { .. } => self.stopped(),
            Phase::Idle | Phase::Running => {}
        }
    }

    /// Goes on stopping when the queues have become empty.
    pub(super) fn proceed_stopping(&mut self, now: Instant) {
        let empty = || self.members.entries().all(|entry| entry.queued == 0);
        match self.phase {
            Phase::Draining { .. } if empty() => self.say_goodbye(now),
            Phase::Leaving { .. } if empty() && self.datagrams == 0 => self.stopped(),
            _ => {}
        }
    }

    fn say_goodbye(&mut self, now: Instant) {
        self.fail_everything(FaultCause::Stopped);
        let until = now + Duration::from_secs(1);
        self.phase = Phase::Leaving { until };
        self.timers.stop = Some(until);
        match self.config.membership {
            MembershipConfig::Multicast(_) => {
                self.timers.heartbeat = None;
                self.local.refresh(now, &self.clock);
                let goodbye = self.local.shutdown(self.local.member.unique_id);
                self.datagram(Target::Group, &goodbye);
            }
            MembershipConfig::StaticService(_) => self.service_stop(now),
            MembershipConfig::Static(_) => {
                let members: alloc::vec::Vec<_> =
                    self.members.verified().map(|entry| entry.index).collect();
                for member in members {
                    self.send_control(now, member, Control::MemberStop);
                }
            }
            MembershipConfig::None => {}
        }
        self.proceed_stopping(now);
    }

    fn stopped(&mut self) {
        self.fail_everything(FaultCause::Stopped);
        let conns: alloc::vec::Vec<_> = self.conns.iter().map(|(conn, _)| conn).collect();
        for conn in conns {
            let datagram = matches!(self.conns.get(conn), Some(Conn::Datagram(_)));
            self.conns.remove(conn, alloc::vec::Vec::new());
            if !datagram {
                self.outputs.push_back(Output::Close { conn });
            }
        }
        let members: alloc::vec::Vec<_> = self.members.entries().map(|entry| entry.index).collect();
        for member in members {
            self.members.remove(member);
        }
        self.news.clear();
        self.give_up_confirming();
        self.phase = Phase::Idle;
        self.timers = Timers::default();
        self.local.started = None;
        (self.receivers, self.gathered, self.checks, self.datagrams) = (0, 0, 0, 0);
        self.event(ChannelEvent::Stopped);
    }

    /// When the first check is to be started or given up.
    pub(super) fn rearm_checks(&mut self) {
        let room = self.checks < self.config.limits.probes_max;
        self.timers.checks = self
            .members
            .entries()
            .filter_map(|entry| match entry.check {
                Check::Due { at } => room.then_some(at),
                Check::Running { until, .. } => Some(until),
                Check::Idle => None,
            })
            .min();
    }
}
