//! Who is there: heartbeats, static members and the TCP check behind both; start and stop.

use core::time::Duration;

use super::cluster::{Cluster, Phase, RETRY, count};
use super::conns::{End, Kind};
use super::peers::{Check, Lane, Peer};
use super::{Event, FaultCause, Membership};
use crate::engine::ConnId;
use crate::time::Instant;
use crate::wire::{ChannelData, Control, MemberBlock, SendOptions, SliceSink, UniqueId, member};

/// How long after a check the next one of the same member may follow.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Checks under way at once.
const PROBES_MAX: usize = 2;
/// After which silence somebody who sent a message and is no member is forgotten.
const GUEST_TIME: Duration = Duration::from_secs(30);

impl<L> Cluster<'_, L> {
    /// Begins: heartbeats, checks, and the transfer of the cluster's sessions. Does nothing if it is running.
    pub fn start(&mut self, now: Instant) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Running;
        self.started = now;
        self.settled = false;
        self.expire_at = now + self.config.process_expires_interval;
        self.join = super::transfer::Join::new(now);
        self.encode_block(self.unique_id, b"");
        let wait = match self.config.membership {
            Membership::Multicast { frequency, .. } => {
                if let Some(previous) = self.config.previous_unique_id
                    && previous != self.unique_id
                {
                    self.encode_block(previous, &member::SHUTDOWN);
                    self.send_block();
                    self.encode_block(self.unique_id, b"");
                }
                // McastServiceImpl sends one at the start, and its thread another at once.
                self.send_heartbeat(now);
                self.send_heartbeat(now);
                self.heartbeat_at = Some(now + frequency);
                frequency.saturating_mul(2)
            }
            Membership::Static {
                members,
                ping_interval,
            } => {
                self.refresh_alive(now);
                for (address, unique_id) in members {
                    if *address != self.config.address {
                        self.add_fixed(now, *address, *unique_id);
                    }
                }
                self.heartbeat_at = Some(now + ping_interval);
                self.config.connect_timeout
            }
        };
        self.settle_at = Some(now + wait);
        self.settle_by = now + wait + self.config.connect_timeout;
        self.checks_due(now);
    }

    /// Ends: no more sends, queued messages leave for at most 3 s, the others are told, [`Event::Stopped`] follows. The
    /// sessions stay until the next [`start`](Self::start).
    pub fn stop(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Draining(now + Duration::from_secs(3));
        self.proceed_stopping(now);
    }

    /// Goes on stopping when the queues are empty or the time is over.
    pub(super) fn proceed_stopping(&mut self, now: Instant) {
        let empty = self.peers.iter().all(|peer| peer.lane.is_empty());
        match self.phase {
            Phase::Draining(until) if empty || until <= now => {
                self.phase = Phase::Leaving(now + Duration::from_secs(1));
                self.heartbeat_at = None;
                match self.config.membership {
                    Membership::Multicast { .. } => {
                        self.encode_block(self.unique_id, &member::SHUTDOWN);
                        self.refresh_alive(now);
                        self.send_block();
                    }
                    Membership::Static { .. } => {
                        for slot in 0..self.peers.len() {
                            if self.peers.get(slot).is_some_and(|peer| peer.verified) {
                                self.send_control(now, slot, Control::MemberStop);
                            }
                        }
                    }
                }
            }
            Phase::Leaving(until) => {
                let datagrams = (0..self.conns.len()).any(|slot| {
                    let conn = self.conns.at(slot);
                    conn.is_some_and(|(_, conn)| matches!(conn.kind, Kind::Datagram(_)))
                });
                if until <= now || empty && !datagrams {
                    self.stopped(now);
                }
            }
            _ => {}
        }
    }

    fn stopped(&mut self, now: Instant) {
        for slot in 0..self.peers.len() {
            self.forget(now, slot);
            if let Some(peer) = self.peers.get_mut(slot) {
                peer.used = false;
            }
        }
        for slot in 0..self.conns.len() {
            if let Some((conn, _)) = self.conns.at(slot) {
                self.conns.end(conn, End::Close);
            }
        }
        (self.phase, self.heartbeat_at, self.settle_at) = (Phase::Idle, None, None);
        self.event(Event::Stopped);
    }

    fn send_heartbeat(&mut self, now: Instant) {
        self.refresh_alive(now);
        self.send_block();
        count(&mut self.stats.heartbeats_sent);
    }

    pub(super) fn heartbeat_due(&mut self, now: Instant) {
        let Some(due) = self.heartbeat_at.filter(|at| *at <= now) else {
            return;
        };
        let period = match self.config.membership {
            Membership::Multicast {
                frequency,
                drop_time,
            } => {
                self.send_heartbeat(now);
                self.look_for_silence(now, drop_time, now.since(due));
                frequency
            }
            Membership::Static { ping_interval, .. } => {
                for slot in 0..self.peers.len() {
                    if self.peers.get(slot).is_some_and(|peer| peer.fixed) {
                        self.want_check(slot, now);
                    }
                }
                ping_interval
            }
        };
        self.heartbeat_at = Some(match due + period {
            next if next > now => next,
            _ => now + period,
        });
        for slot in 0..self.peers.len() {
            let old = self.peers.get(slot).is_some_and(|peer| {
                peer.used
                    && !peer.verified
                    && !peer.fixed
                    && !peer.is_checking()
                    && peer.lane.is_empty()
                    && now.since(peer.last_heard) > GUEST_TIME
            });
            if old {
                self.forget(now, slot);
            }
        }
    }

    /// `late` is how much later than planned we look: while we slept, nobody could be heard.
    fn look_for_silence(&mut self, now: Instant, drop_time: Duration, late: Duration) {
        for slot in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.used) else {
                continue;
            };
            if late > drop_time / 2 {
                peer.last_heard = now.min(peer.last_heard + late);
            }
            if now.since(peer.last_heard) <= drop_time {
                continue;
            }
            if peer.verified {
                self.suspect(now, slot);
            } else if peer.heartbeats > 0 && !peer.is_checking() && peer.lane.is_empty() {
                self.forget(now, slot);
            }
        }
    }

    pub(super) fn heartbeat_received(&mut self, now: Instant, block: &MemberBlock<'_>) {
        let Membership::Multicast { frequency, .. } = self.config.membership else {
            return;
        };
        // Also of an earlier incarnation of ours: whoever listens at our address now is we.
        if block.socket_addr() == Some(self.config.address) || block.domain != self.config.domain {
            return;
        }
        let memory = frequency.saturating_mul(2);
        count(&mut self.stats.heartbeats_received);
        let known = self.find(block);
        if block.is_shutdown() {
            self.goodbyes.remember(now, block, memory);
            if let Some(slot) = known {
                self.gone(now, slot);
            }
            return;
        }
        if known.is_none() && self.goodbyes.overtook(now, block, memory) {
            return;
        }
        let Some(slot) = known.or_else(|| self.add(now, block)) else {
            return;
        };
        let started = self.unix_ms(now).saturating_sub(block.alive_ms);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.last_heard = now;
        peer.heartbeats = peer.heartbeats.saturating_add(1);
        peer.alive_ms = block.alive_ms;
        if peer.heartbeats <= 1 || started.abs_diff(peer.started_ms) > 2000 {
            peer.started_ms = started;
        }
        if peer.suspect.take().is_some() && matches!(peer.check, Check::Due(_)) {
            peer.check = Check::Idle;
        }
        if !peer.verified && peer.check == Check::Idle {
            self.want_check(slot, now);
        }
    }

    pub(super) fn is_ours(&self, block: &MemberBlock<'_>) -> bool {
        block.unique_id == self.unique_id && block.socket_addr() == Some(self.config.address)
    }

    pub(super) fn find(&self, block: &MemberBlock<'_>) -> Option<usize> {
        self.peers.iter().position(|peer| peer.is(block))
    }

    /// Remembers somebody; who was silent longest and is no member makes room.
    pub(super) fn add(&mut self, now: Instant, block: &MemberBlock<'_>) -> Option<usize> {
        let address = block.socket_addr()?;
        let free = self.peers.iter().position(|peer| !peer.used);
        let slot = free.or_else(|| {
            let guests = self.peers.iter().enumerate().filter(|(_, peer)| {
                !peer.verified && !peer.fixed && !peer.is_checking() && peer.lane.is_empty()
            });
            let oldest = guests.min_by_key(|(_, peer)| (peer.heartbeats > 1, peer.last_heard));
            oldest.map(|(slot, _)| slot)
        });
        let Some(slot) = slot else {
            count(&mut self.stats.candidates_dropped);
            return None;
        };
        if self.peers.get(slot).is_some_and(|peer| peer.used) {
            count(&mut self.stats.candidates_dropped);
            self.forget(now, slot);
        }
        let peer = self.peers.get_mut(slot)?;
        *peer = Peer {
            generation: peer.generation.wrapping_add(1),
            used: true,
            address,
            unique_id: block.unique_id,
            alive_ms: block.alive_ms,
            last_heard: now,
            ..Peer::EMPTY
        };
        Some(slot)
    }

    fn add_fixed(&mut self, now: Instant, address: core::net::SocketAddr, unique_id: UniqueId) {
        let known = |peer: &&mut Peer| peer.used && peer.address == address;
        if let Some(peer) = self.peers.iter_mut().find(known) {
            peer.fixed = true;
            return;
        }
        let Some(slot) = self.peers.iter().position(|peer| !peer.used) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            *peer = Peer {
                generation: peer.generation.wrapping_add(1),
                used: true,
                fixed: true,
                address,
                unique_id,
                last_heard: now,
                check: Check::Due(now),
                ..Peer::EMPTY
            };
        }
    }

    /// There is reason to doubt that a member lives.
    pub(super) fn suspect(&mut self, now: Instant, slot: usize) {
        if let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.verified) {
            peer.suspect.get_or_insert(now);
            self.want_check(slot, now);
        }
    }

    /// Has a peer checked at `at`, unless it is being checked.
    fn want_check(&mut self, slot: usize, at: Instant) {
        if let Some(peer) = self.peers.get_mut(slot) {
            match peer.check {
                Check::Running(..) => {}
                Check::Due(earlier) if earlier <= at => {}
                _ => peer.check = Check::Due(at),
            }
        }
    }

    /// Whether another check can begin.
    pub(super) fn may_check(&self) -> bool {
        let running = self.peers.iter().filter(|peer| peer.is_checking());
        self.phase == Phase::Running && running.count() < PROBES_MAX
    }

    /// Gives up checks that take too long and starts those that are due: of doubted members first, then of configured ones.
    pub(super) fn checks_due(&mut self, now: Instant) {
        for slot in 0..self.peers.len() {
            if let Some(Check::Running(conn, until)) = self.peers.get(slot).map(|peer| peer.check)
                && until <= now
            {
                self.conns.end(conn, End::Close);
                self.check_closed(now, slot, conn);
            }
        }
        while self.may_check() {
            let due = self.peers.iter().enumerate().filter_map(|(slot, peer)| {
                let at = match peer.check {
                    Check::Due(at) if at <= now && peer.used => at,
                    _ => return None,
                };
                let rank = (peer.suspect.is_none(), !peer.fixed, peer.heartbeats <= 1);
                Some((rank, at, slot))
            });
            let Some((_, _, slot)) = due.min() else {
                return;
            };
            let Some(peer) = self.peers.get_mut(slot) else {
                return;
            };
            match self
                .conns
                .insert(Kind::Probe(slot as u16), Some(peer.address))
            {
                Some(conn) => {
                    peer.check = Check::Running(conn, now + self.config.connect_timeout);
                    count(&mut self.stats.probes_sent);
                }
                None => {
                    peer.check = Check::Due(now + RETRY);
                    return;
                }
            }
        }
    }

    /// The connection of a check stands: that is the answer. The frame that Tribes expects on it follows.
    pub(super) fn check_connected(&mut self, now: Instant, slot: usize, id: ConnId) {
        let unique_id = UniqueId::random(&mut self.rng);
        let frame = ChannelData {
            options: SendOptions::BYTE_MESSAGE,
            timestamp_ms: self.clock.unix_ms(now),
            unique_id: &unique_id.0,
            address: &self.block,
            message: Control::TcpFailDetect.message(),
        };
        let mut sink = SliceSink::new(self.buffers.get_mut(id.slot() as usize));
        let written = frame.write_frame(&mut sink).map(|()| sink.written());
        if let (Ok(len), Some(conn)) = (written, self.conns.get_mut(id)) {
            conn.len = len;
            conn.announce();
        }
        if self.end_check(slot, id) {
            self.check_passed(now, slot);
        }
    }

    /// The connection of a check ended before it stood, or after.
    pub(super) fn check_closed(&mut self, now: Instant, slot: usize, id: ConnId) {
        if !self.end_check(slot, id) {
            return;
        }
        count(&mut self.stats.probes_failed);
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        if peer.verified {
            self.gone(now, slot);
        } else if peer.heartbeats > 0 {
            self.want_check(slot, now + CHECK_EVERY);
        }
    }

    /// Whether `conn` was still the check of the peer; it is none any more.
    fn end_check(&mut self, slot: usize, id: ConnId) -> bool {
        let Some(peer) = self.peers.get_mut(slot) else {
            return false;
        };
        let current = matches!(peer.check, Check::Running(running, _) if running == id);
        if current {
            peer.check = Check::Idle;
        }
        current
    }

    fn check_passed(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if peer.fixed {
            peer.last_heard = now;
        }
        if !peer.verified {
            if now >= peer.stopped_until {
                self.verify(now, slot);
            }
            return;
        }
        let Some(since) = peer.suspect else {
            return;
        };
        if peer.fixed || peer.last_heard > since {
            peer.suspect = None;
        } else {
            // It accepts connections and says nothing: a stopped process, or one whose listener outlives it for a moment.
            self.want_check(slot, now + CHECK_EVERY);
        }
    }

    /// A stranger has passed its check.
    fn verify(&mut self, now: Instant, slot: usize) {
        let patience = match self.config.membership {
            Membership::Multicast { frequency, .. } => frequency.saturating_mul(2),
            Membership::Static { .. } => CHECK_EVERY,
        };
        let Some(address) = self.peers.get(slot).map(|peer| peer.address) else {
            return;
        };
        // Same address, another unique id: the one that is still heard of lives, the other is dead.
        let rival = self
            .peers
            .iter()
            .enumerate()
            .find(|(other, peer)| *other != slot && peer.verified && peer.address == address)
            .map(|(other, peer)| {
                (
                    other,
                    peer.suspect.is_some() || now.since(peer.last_heard) > patience,
                )
            });
        match rival {
            Some((rival, true)) => self.gone(now, rival),
            Some((_, false)) => return self.want_check(slot, now + patience / 2),
            None => {}
        }
        let wall = self.unix_ms(now);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.verified = true;
        peer.tried = false;
        if peer.heartbeats == 0 {
            peer.started_ms = wall.saturating_sub(peer.alive_ms);
        }
        let fixed = peer.fixed;
        self.event(Event::MemberAdded(self.index(slot)));
        self.join_member_added(now);
        if fixed {
            self.send_control(now, slot, Control::MemberStart);
        }
    }

    /// A member is no more, or a stranger forgotten.
    pub(super) fn gone(&mut self, now: Instant, slot: usize) {
        let verified = self.peers.get(slot).is_some_and(|peer| peer.verified);
        let index = self.index(slot);
        self.forget(now, slot);
        if verified {
            self.event(Event::MemberDisappeared(index));
            self.join_member_gone(index);
        }
    }

    /// Takes somebody out of the table, with connections and check; a configured member stays, unverified.
    fn forget(&mut self, now: Instant, slot: usize) {
        self.drop_lane(slot, FaultCause::Disappeared);
        let Some(peer) = self.peers.get_mut(slot).filter(|peer| peer.used) else {
            return;
        };
        if let Check::Running(conn, _) = peer.check {
            self.conns.end(conn, End::Close);
        }
        if peer.donor.is_some() {
            count(&mut self.stats.transfers_broken);
        }
        let generation = peer.generation.wrapping_add(1);
        *peer = match peer.fixed {
            true => Peer {
                generation,
                used: true,
                fixed: true,
                address: peer.address,
                unique_id: peer.unique_id,
                last_heard: now,
                stopped_until: peer.stopped_until,
                ..Peer::EMPTY
            },
            false => Peer {
                generation,
                lane: Lane::EMPTY,
                ..Peer::EMPTY
            },
        };
    }

    /// A static member says that it has started, or that it stops.
    pub(super) fn static_notice(&mut self, now: Instant, slot: Option<usize>, started: bool) {
        let Membership::Static { ping_interval, .. } = self.config.membership else {
            return;
        };
        let Some(slot) = slot.filter(|slot| self.peers.get(*slot).is_some_and(|peer| peer.fixed))
        else {
            return;
        };
        if !started {
            self.gone(now, slot);
        }
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if !started {
            // Its receiver may accept connections a little longer.
            peer.stopped_until = now + ping_interval.saturating_mul(2);
        } else if !peer.verified {
            peer.stopped_until = Instant::ZERO;
            self.want_check(slot, now);
        }
    }

    pub(super) fn settle_due(&mut self, now: Instant) {
        if self.settle_at.is_none_or(|at| at > now) {
            return;
        }
        let waiting = self
            .peers
            .iter()
            .any(|peer| !peer.verified && peer.is_checking());
        if waiting && now < self.settle_by {
            self.settle_at = Some(now + Duration::from_millis(50));
            return;
        }
        self.settle_at = None;
        self.settled = true;
        self.event(Event::Settled);
        self.begin_transfer(now);
    }
}
