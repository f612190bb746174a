//! Who may be there: `McastServiceImpl`, `StaticMembershipInterceptor`, `TcpPingInterceptor`.
//!
//! Heartbeats, configuration and first messages only bring strangers into the table; checks make them
//! members.

use alloc::vec::Vec;
use core::time::Duration;

use super::life::Phase;
use super::{Channel, FaultCause, Member, MemberIndex, MembershipConfig, count, is_ours};
use crate::engine::Output;
use crate::membership::table::{Check, Entry, Stage, Style};
use crate::plant::{Bug, planted};
use crate::time::Instant;
use crate::wire::MemberBlock;

/// How long somebody who is no member and announces nothing is remembered after its last message.
const GUEST_TIME: Duration = Duration::from_secs(60);

impl Channel {
    pub(super) fn heartbeat_received(&mut self, now: Instant, block: &MemberBlock<'_>) {
        let local = &self.local.member;
        // Also an earlier incarnation of ours: whoever listens at our address now is we.
        if block.port == local.port && block.host == local.host {
            count(&mut self.stats.heartbeats_own);
            return;
        }
        if self.other_domain(block.domain) {
            count(&mut self.stats.heartbeats_other_domain);
            return;
        }
        let MembershipConfig::Multicast(multicast) = self.config.membership else {
            return;
        };
        let memory = multicast.frequency.saturating_mul(2);
        count(&mut self.stats.heartbeats_received);
        let known = self.members.find(block.host, block.port, &block.unique_id);
        if block.is_shutdown() {
            if planted(Bug::ShutdownIgnored) {
                return;
            }
            self.goodbyes.remember(now, block, memory);
            if let Some(member) = known {
                self.gone(now, member);
            }
            return;
        }
        if known.is_none() && self.goodbyes.overtook(now, block, memory) {
            return;
        }
        let index = match known {
            Some(index) => index,
            None => {
                if block.socket_addr().is_none() {
                    count(&mut self.stats.candidates_dropped);
                    return;
                }
                let Some(index) = self.add_stranger(now, Member::from(*block)) else {
                    return;
                };
                index
            }
        };
        let pipelining = self.config.sender.pipelining;
        let wall = i64::try_from(self.clock.unix_ms(now)).unwrap_or(i64::MAX);
        let Some(entry) = self.members.get_mut(index) else {
            return;
        };
        entry.last_heard = now;
        entry.heartbeats = entry.heartbeats.saturating_add(1);
        if let Stage::Verified { suspect } = &mut entry.stage
            && suspect.take().is_some()
            && matches!(entry.check, Check::Due { .. })
        {
            entry.check = Check::Idle;
        }
        let moved = refresh(entry, block, wall);
        // Somebody may have said something in its name: a heartbeat says again what it is.
        entry.ours = pipelining && is_ours(&entry.member.payload);
        let idle = entry.check == Check::Idle;
        let verified = entry.is_verified();
        if moved && verified {
            self.members.sort();
        }
        if !verified && idle {
            self.want_check(now, index, now);
        }
    }

    /// The look at everybody with a heartbeat of ours. `late` is how much later than planned it comes: while we slept,
    /// nobody could be heard.
    pub(super) fn expire_members(&mut self, now: Instant, drop_time: Duration, late: Duration) {
        let mut silent = Vec::new();
        let mut forgotten = Vec::new();
        for entry in self.members.entries_mut() {
            if late > drop_time / 2 {
                entry.last_heard = now.min(entry.last_heard + late);
            }
            if entry.fixed || now.since(entry.last_heard) <= drop_time {
                continue;
            }
            match entry.stage {
                Stage::Verified { suspect: None } => silent.push(entry.index),
                Stage::Verified { .. } => {}
                Stage::Stranger
                    if entry.heartbeats > 0 && !entry.is_checking() && entry.queued == 0 =>
                {
                    forgotten.push(entry.index);
                }
                Stage::Stranger => {}
            }
        }
        for member in forgotten {
            self.forget(member);
        }
        if planted(Bug::SilenceIgnored) {
            silent.clear();
        }
        for member in silent {
            if self.config.failure_detector.enabled {
                self.suspect(now, member);
            } else {
                self.gone(now, member);
            }
        }
    }

    /// Makes `member` known without a heartbeat or a configuration, and a member after a TCP check
    /// (`TcpFailureDetector`; at once if that is off). Other ways of finding members use it. `None` if the channel is not
    /// running, the table has no room, or the member no address.
    pub fn add_member(&mut self, now: Instant, member: &Member) -> Option<MemberIndex> {
        if self.phase != Phase::Running || *member == self.local.member {
            return None;
        }
        let index = match self.find(member) {
            Some(index) => index,
            None => {
                member.socket_addr()?;
                self.add_stranger(now, member.clone())?
            }
        };
        if !self.is_member(index) {
            self.want_check(now, index, now);
        }
        Some(index)
    }

    /// Says that a member is gone, on somebody else's knowledge.
    pub fn remove_member(&mut self, now: Instant, member: MemberIndex) {
        self.gone(now, member);
    }

    fn add_stranger(&mut self, now: Instant, member: Member) -> Option<MemberIndex> {
        let ours = self.config.sender.pipelining && is_ours(&member.payload);
        match self.members.victim() {
            Ok(None) => {}
            Ok(Some(victim)) => {
                count(&mut self.stats.candidates_dropped);
                self.forget(victim);
            }
            Err(_) => {
                count(&mut self.stats.candidates_dropped);
                return None;
            }
        }
        self.members.add(now, member, ours)
    }

    /// Takes somebody out of the table, with connections and check.
    pub(super) fn forget(&mut self, member: MemberIndex) -> Option<Entry> {
        self.drop_lanes(member, FaultCause::Disappeared);
        let entry = self.members.remove(member)?;
        self.leave_layers(member);
        if let Check::Running { conn, .. } = entry.check {
            self.checks = self.checks.saturating_sub(1);
            if self.conns.remove(conn, Vec::new()).is_some() {
                self.outputs.push_back(Output::Close { conn });
            }
        }
        Some(entry)
    }

    /// Somebody has sent a message: its entry, made if need be.
    pub(super) fn meet(&mut self, now: Instant, member: &Member) -> Option<MemberIndex> {
        if *member == self.local.member {
            return None;
        }
        let index = match self.find(member) {
            Some(index) => index,
            None => {
                if self.other_domain(&member.domain) {
                    return None;
                }
                member.socket_addr()?;
                self.add_stranger(now, member.clone())?
            }
        };
        let ours = self.config.sender.pipelining && is_ours(&member.payload);
        let entry = self.members.get_mut(index)?;
        entry.last_heard = now;
        // A configured member's payload is known only now.
        entry.ours = ours;
        entry.seen = true;
        if entry.member.payload != member.payload {
            entry.member.payload.clone_from(&member.payload);
        }
        Some(index)
    }

    /// Forgets those who sent messages long ago and never became members.
    pub(super) fn forget_guests(&mut self, now: Instant) {
        let old: Vec<_> = self
            .members
            .entries()
            .filter(|entry| {
                !entry.is_verified()
                    && !entry.fixed
                    && !entry.is_checking()
                    && entry.queued == 0
                    && now.since(entry.last_heard) > GUEST_TIME
            })
            .map(|entry| entry.index)
            .collect();
        for member in old {
            self.forget(member);
        }
    }

    pub(super) fn add_fixed(&mut self, now: Instant, member: Member) {
        let index = match self.find(&member) {
            Some(index) => Some(index),
            None => {
                let ours = self.config.sender.pipelining && is_ours(&member.payload);
                self.members.add(now, member, ours)
            }
        };
        if let Some(entry) = index.and_then(|index| self.members.get_mut(index)) {
            entry.fixed = true;
            if !entry.ours {
                (entry.seen, entry.style) = (false, Style::Unknown);
            }
            let index = entry.index;
            self.want_check(now, index, now);
        }
    }

    /// The round of `TcpPingInterceptor(staticOnly)` above a `TcpFailureDetector`: a check of every static member.
    pub(super) fn ping_due(&mut self, now: Instant) {
        let Some(fixed) = self.config.membership.fixed() else {
            return;
        };
        self.timers.ping = Some(now + fixed.ping_interval);
        let members: Vec<_> = self
            .members
            .entries()
            .filter(|entry| entry.fixed)
            .map(|entry| entry.index)
            .collect();
        for member in members {
            self.want_check(now, member, now);
        }
        self.service_ping(now);
    }

    /// A static member says that it has started.
    pub(super) fn static_started(&mut self, now: Instant, member: Option<MemberIndex>) {
        let Some(entry) = member.and_then(|member| self.members.get_mut(member)) else {
            return;
        };
        if entry.fixed && !entry.is_verified() {
            entry.stopped_until = Instant::ZERO;
            let index = entry.index;
            self.want_check(now, index, now);
        }
    }

    /// A static member says that it stops.
    pub(super) fn static_stopped(&mut self, now: Instant, member: Option<MemberIndex>) {
        let Some(fixed) = self.config.membership.fixed() else {
            return;
        };
        let until = now + fixed.ping_interval.saturating_mul(2);
        let Some(entry) = member.and_then(|member| self.members.get(member)) else {
            return;
        };
        if !entry.fixed || planted(Bug::ShutdownIgnored) {
            return;
        }
        let known = entry.member.clone();
        self.gone(now, entry.index);
        // Its receiver may accept connections a little longer.
        if let Some(index) = self.find(&known)
            && let Some(entry) = self.members.get_mut(index)
        {
            entry.stopped_until = until;
        }
    }
}

/// Takes over what a heartbeat says; whether that may change the order of the members. Unlike `Membership.memberAlive`,
/// ports and domain are taken over as well.
fn refresh(entry: &mut Entry, block: &MemberBlock<'_>, wall_ms: i64) -> bool {
    let member = &mut entry.member;
    if block.alive_ms == member.alive_ms && entry.heartbeats > 1 {
        return false;
    }
    member.alive_ms = block.alive_ms;
    (member.secure_port, member.udp_port) = (block.secure_port, block.udp_port);
    for (ours, theirs) in [
        (&mut member.payload, block.payload),
        (&mut member.command, block.command),
        (&mut member.domain, block.domain),
    ] {
        if ours.as_slice() != theirs {
            ours.clear();
            ours.extend_from_slice(theirs);
        }
    }
    // The order is by start, estimated once: alive times of different heartbeats are of different moments.
    let started = wall_ms.saturating_sub(block.alive_ms);
    if entry.heartbeats <= 1 || started.abs_diff(entry.started_ms) > 2000 {
        entry.started_ms = started;
        return true;
    }
    false
}
