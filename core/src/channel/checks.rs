//! The TCP check behind every member: `TcpFailureDetector`.
//!
//! A stranger becomes a member when its receiver accepts a connection and one frame; a member that is doubted is gone when it
//! does not.

use alloc::vec::Vec;
use core::time::Duration;

use super::life::{Phase, Timers};
use super::{Channel, ChannelEvent, MemberIndex, MembershipConfig, News, count};
use crate::engine::{ConnId, Output};
use crate::membership::MemberMessageType;
use crate::membership::table::{Check, Stage, Suspicion};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::transport::conns::Conn;
use crate::wire::{Control, SendOptions};

/// How long after a check the next one of the same member may follow.
const CHECK_EVERY: Duration = Duration::from_secs(1);

impl Channel {
    /// There is reason to doubt that a member lives.
    pub(super) fn suspect(&mut self, now: Instant, member: MemberIndex) {
        if !self.config.failure_detector.enabled {
            return;
        }
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        let Stage::Verified { suspect } = &mut entry.stage else {
            return;
        };
        suspect.get_or_insert(Suspicion { since: now });
        self.want_check(now, member, now);
    }

    /// Has a member checked at `at`, unless it is being checked.
    pub(super) fn want_check(&mut self, now: Instant, member: MemberIndex, at: Instant) {
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        match entry.check {
            Check::Running { .. } => return,
            Check::Due { at: earlier } if earlier <= at => {}
            _ => entry.check = Check::Due { at },
        }
        if at > now {
            Timers::not_after(&mut self.timers.checks, at);
        } else {
            self.start_checks(now);
        }
    }

    /// Starts the checks that are due, as many as may be under way: of doubted members first, then of configured ones,
    /// then of those that have announced themselves more than once.
    pub(super) fn start_checks(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        while self.checks < self.config.limits.probes_max {
            let next = self
                .members
                .entries()
                .filter_map(|entry| match entry.check {
                    Check::Due { at } if at <= now => {
                        let rank = match entry.stage {
                            Stage::Verified { suspect: Some(_) } => 0u8,
                            _ if entry.fixed => 1,
                            _ if entry.heartbeats > 1 => 2,
                            _ => 3,
                        };
                        Some((rank, at, entry.index))
                    }
                    _ => None,
                })
                .min();
            let Some((_, _, member)) = next else { break };
            self.start_check(now, member);
        }
        self.rearm_checks();
    }

    fn start_check(&mut self, now: Instant, member: MemberIndex) {
        let detector = self.config.failure_detector;
        let until = now + detector.connect_timeout;
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        if !detector.enabled {
            entry.check = Check::Idle;
            self.check_passed(now, member);
            return;
        }
        let Some(to) = entry.member.socket_addr() else {
            entry.check = Check::Idle;
            return;
        };
        let conn = self.conns.insert(Conn::Probe {
            member,
            frame: Vec::new(),
            sent: 0,
        });
        entry.check = Check::Running { conn, until };
        self.checks = self.checks.saturating_add(1);
        count(&mut self.stats.probes_sent);
        self.outputs.push_back(Output::Connect { conn, to });
    }

    /// The connection of a check stands: that is the answer. The frame that Tribes expects on it follows.
    pub(super) fn check_connected(&mut self, now: Instant, conn: ConnId) {
        // `TcpFailureDetector.performSendTest`: the byte flag, no ACK.
        let (_, bytes) = self.frame(
            now,
            SendOptions::BYTE_MESSAGE,
            Control::TcpFailDetect.message(),
        );
        let Some(Conn::Probe {
            member,
            frame,
            sent,
        }) = self.conns.get_mut(conn)
        else {
            return;
        };
        let member = *member;
        (*frame, *sent) = (bytes, 0);
        self.outputs.push_back(Output::Transmit { conn });
        if self.end_check(member, conn) {
            self.check_passed(now, member);
        }
        self.start_checks(now);
    }

    /// The connection of a check ended before it stood, or after.
    pub(super) fn check_closed(&mut self, now: Instant, conn: ConnId, member: MemberIndex) {
        if self.end_check(member, conn) {
            self.check_failed(now, member);
        }
        self.start_checks(now);
    }

    /// Gives up checks that take too long and starts others.
    pub(super) fn checks_due(&mut self, now: Instant) {
        let overdue: Vec<_> = self
            .members
            .entries()
            .filter_map(|entry| match entry.check {
                Check::Running { conn, until } if until <= now => Some((entry.index, conn)),
                _ => None,
            })
            .collect();
        for (member, conn) in overdue {
            if self.conns.remove(conn, Vec::new()).is_some() {
                self.outputs.push_back(Output::Close { conn });
            }
            if self.end_check(member, conn) {
                self.check_failed(now, member);
            }
        }
        self.start_checks(now);
    }

    /// Whether `conn` was still the check of `member`; it is none any more.
    fn end_check(&mut self, member: MemberIndex, conn: ConnId) -> bool {
        let Some(entry) = self.members.get_mut(member) else {
            return false;
        };
        let current =
            matches!(entry.check, Check::Running { conn: running, .. } if running == conn);
        if current {
            entry.check = Check::Idle;
            self.checks = self.checks.saturating_sub(1);
        }
        current
    }

    fn check_passed(&mut self, now: Instant, member: MemberIndex) {
        let detector = self.config.failure_detector;
        let heartbeat = self.config.heartbeat;
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        if entry.fixed {
            entry.last_heard = now;
        }
        match entry.stage {
            Stage::Stranger => {
                if now < entry.stopped_until {
                    return;
                }
                self.verify(now, member);
            }
            // Nobody hears a configured member but through its checks.
            Stage::Verified { suspect: Some(_) } if entry.fixed => {
                entry.stage = Stage::Verified { suspect: None };
            }
            Stage::Verified {
                suspect: Some(Suspicion { since }),
            } => {
                if entry.last_heard > since {
                    entry.stage = Stage::Verified { suspect: None };
                    return;
                }
                // It accepts connections and says nothing: a stopped process, or one whose listener outlives it for a
                // moment.
                let again = match now.since(since) > detector.remove_suspects_timeout {
                    true => heartbeat,
                    false => CHECK_EVERY,
                };
                self.want_check(now, member, now + again);
            }
            Stage::Verified { suspect: None } => {}
        }
    }

    fn check_failed(&mut self, now: Instant, member: MemberIndex) {
        count(&mut self.stats.probes_failed);
        let Some(entry) = self.members.get_mut(member) else {
            return;
        };
        if entry.is_verified() {
            self.gone(now, member);
        } else if entry.heartbeats > 0 {
            // It may announce itself for as long as it likes; once a second it is looked at.
            self.want_check(now, member, now + CHECK_EVERY);
        }
        if !self.settled && self.config.membership.fixed().is_some() {
            self.settle_static();
        }
    }

    /// A stranger has passed its check.
    fn verify(&mut self, now: Instant, member: MemberIndex) {
        let patience = match &self.config.membership {
            MembershipConfig::Multicast(multicast) => multicast.frequency.saturating_mul(2),
            _ => CHECK_EVERY,
        };
        let Some(entry) = self.members.get(member) else {
            return;
        };
        // Same host and port, another unique id: the one that is still heard of lives, the other is dead.
        let rival = self
            .members
            .entries()
            .find(|other| {
                other.index != member
                    && other.is_verified()
                    && other.member.port == entry.member.port
                    && other.member.host == entry.member.host
            })
            .map(|other| {
                let doubted = matches!(other.stage, Stage::Verified { suspect: Some(_) });
                (
                    other.index,
                    doubted || now.since(other.last_heard) > patience,
                )
            });
        match rival {
            _ if planted(Bug::GhostKept) => {}
            Some((rival, true)) => self.gone(now, rival),
            Some((_, false)) => {
                self.want_check(now, member, now + patience / 2);
                return;
            }
            None => {}
        }
        if !self.members.has_room() {
            count(&mut self.stats.candidates_dropped);
            return;
        }
        self.members.verify(member);
        count(&mut self.stats.members_added);
        self.news.push_back(News::Added(member));
        self.event(ChannelEvent::MemberAdded(member));
        let fixed = self.members.get(member).is_some_and(|entry| entry.fixed);
        if fixed {
            if self.service.is_some() {
                self.service_call(now, member, MemberMessageType::Start);
            } else {
                self.send_control(now, member, Control::MemberStart);
            }
            self.settle_static();
        }
    }

    /// All static members have been checked once: nothing more will be learned by waiting.
    fn settle_static(&mut self) {
        let waiting = self
            .members
            .entries()
            .any(|entry| entry.fixed && !entry.is_verified() && entry.check != Check::Idle);
        if !waiting {
            self.settle();
        }
    }

    /// A member is no more, or a stranger forgotten.
    pub(super) fn gone(&mut self, now: Instant, member: MemberIndex) {
        let Some(entry) = self.forget(member) else {
            return;
        };
        if entry.fixed {
            // It stays configured: under a new index, to be checked with the next round.
            let again = self.members.add(now, entry.member.clone(), entry.ours);
            if let Some(again) = again.and_then(|index| self.members.get_mut(index)) {
                again.fixed = true;
                again.seen = entry.seen;
                again.style = again.wanted_style();
                again.stopped_until = entry.stopped_until;
            }
        }
        if entry.is_verified() {
            count(&mut self.stats.members_disappeared);
            self.event(ChannelEvent::MemberDisappeared(member));
            self.news.push_back(News::Gone(member, entry.member));
        }
        self.start_checks(now);
    }
}
