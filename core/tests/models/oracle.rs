//! What has to hold, watched from outside: what clients did, and what every node said.

use std::collections::{BTreeMap, BTreeSet};

use folkmoot_core::channel::{ChannelEvent, MemberIndex, UniqueId};
use folkmoot_core::cluster::{ClusterEvent, ExpiryCause};
use folkmoot_core::session::SessionId;

use super::net::Net;

/// The rules, by name.
pub(crate) const RULES: [&str; 6] = [
    "the engines come to rest, and nothing panics",
    "a session that has ended never comes back",
    "what is acknowledged is present on every member that acknowledged it",
    "a member is announced once, and one to an address",
    "in the end all nodes serve and hold what the clients were told",
    "in the end the members are those that are there",
];
const REST: usize = 0;
const ENDED: usize = 1;
pub(crate) const ACKNOWLEDGED: usize = 2;
const ANNOUNCED: usize = 3;
pub(crate) const EQUAL: usize = 4;
const ACCURATE: usize = 5;

/// One attribute set by a client: the session's number, the name, the number of the write.
type Write = (usize, &'static str, u64);

/// What somebody outside knows.
#[derive(Clone, Default)]
pub(crate) struct Oracle {
    /// The ids each session has had, the last one last; and whether it has ended.
    pub(crate) sessions: Vec<(Vec<SessionId>, bool)>,
    /// What each session holds, as its client was told.
    held: Vec<BTreeMap<&'static str, u64>>,
    writes: u64,
    /// Messages with a promise: what they carry, and the members and lives they went to.
    promised: BTreeMap<UniqueId, (Write, Vec<(usize, u8)>)>,
    /// Ids that each life of each node has seen the end of.
    seen_to_end: BTreeSet<(usize, u8, SessionId)>,
    /// Members as announced to each life of each node.
    announced: BTreeMap<(usize, u8), BTreeMap<MemberIndex, usize>>,
    /// Something was lost that nobody promised to keep.
    pub(crate) tainted: bool,
    pub(crate) broken: Option<(usize, String)>,
}

impl Oracle {
    fn breaks(&mut self, rule: usize, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some((rule, what()));
        }
    }

    /// A client makes a session.
    pub(crate) fn create(&mut self, net: &mut Net, node: usize) {
        let id = net.command(node, "create", |cluster, now, shop| {
            let id = cluster.create_session(now, shop, None).ok()?;
            let _ = cluster.request_completed(now, shop, &id);
            cluster.end_access(now, shop, &id);
            Some(id)
        });
        if let Some(id) = id {
            self.sessions.push((vec![id], false));
            self.held.push(BTreeMap::new());
        }
    }

    fn id(&self, session: usize) -> Option<SessionId> {
        let (ids, ended) = self.sessions.get(session)?;
        (!ended).then(|| ids.last().cloned())?
    }

    /// A client sets an attribute.
    pub(crate) fn set(&mut self, net: &mut Net, node: usize, session: usize, name: &'static str) {
        let Some(id) = self.id(session) else { return };
        self.writes += 1;
        let number = self.writes;
        let members: Vec<(usize, u8)> = members(net, node)
            .into_iter()
            .map(|member| (member, net.nodes[member].lives))
            .collect();
        let value = number.to_string();
        let sent = net.command(node, ("set", name, number), |cluster, now, shop| {
            if !cluster.access_session(now, shop, &id) {
                return None;
            }
            let _ = cluster.set_attribute(now, shop, &id, name, value.as_str());
            let sent = cluster.request_completed(now, shop, &id);
            cluster.end_access(now, shop, &id);
            Some(sent)
        });
        let Some(sent) = sent else { return };
        self.held[session].insert(name, number);
        if let Ok(Some(message)) = sent {
            let write = (session, name, number);
            self.promised.insert(message, (write, members));
        }
    }

    /// A client ends a session.
    pub(crate) fn expire(&mut self, net: &mut Net, node: usize, session: usize) {
        let Some(id) = self.id(session) else { return };
        let expire = |cluster: &mut folkmoot_core::cluster::Cluster, now, shop| {
            cluster.expire_session(now, shop, &id)
        };
        if net.command(node, "expire", expire) {
            self.sessions[session].1 = true;
        }
    }

    /// A client logs in, and its session gets another id.
    pub(crate) fn change_id(&mut self, net: &mut Net, node: usize, session: usize) {
        let Some(id) = self.id(session) else { return };
        let changed = net.command(node, "change id", |cluster, now, shop| {
            if !cluster.access_session(now, shop, &id) {
                return None;
            }
            let new = cluster.change_session_id(now, shop, &id, None).ok();
            let id = new.as_ref().unwrap_or(&id);
            let _ = cluster.request_completed(now, shop, id);
            cluster.end_access(now, shop, id);
            new
        });
        if let Some(new) = changed {
            self.sessions[session].0.push(new);
        }
    }

    /// Looks at what the nodes have said since the last time.
    pub(crate) fn listen(&mut self, net: &mut Net) {
        if let Some(broken) = &net.broken {
            self.breaks(REST, || broken.clone());
        }
        for node in 0..net.nodes.len() {
            let events = std::mem::take(&mut net.nodes[node].events);
            let life = (node, net.nodes[node].lives);
            for event in events {
                self.hear(net, life, &event);
            }
        }
    }

    fn hear(&mut self, net: &Net, (node, life): (usize, u8), event: &ClusterEvent) {
        match event {
            ClusterEvent::SessionExpired { id, cause, .. }
                if *cause != ExpiryCause::CopyTimedOut =>
            {
                self.seen_to_end.insert((node, life, id.clone()));
            }
            ClusterEvent::SessionIdChanged { old, .. } => {
                self.seen_to_end.insert((node, life, old.clone()));
            }
            ClusterEvent::SessionCreated { id, .. }
                if self.seen_to_end.contains(&(node, life, id.clone())) =>
            {
                self.breaks(ENDED, || format!("{id} is on n{node} again"));
            }
            ClusterEvent::Channel(ChannelEvent::Sent { id, faulty }) => {
                let Some((write, members)) = self.promised.remove(id) else {
                    return;
                };
                if !faulty.is_empty() {
                    self.tainted = true;
                    return;
                }
                for (member, life) in members {
                    self.is_present(net, write, member, life);
                }
            }
            ClusterEvent::Channel(ChannelEvent::Lost { .. }) | ClusterEvent::Lagging(_) => {
                self.tainted = true;
            }
            ClusterEvent::Channel(ChannelEvent::MemberAdded(index)) => {
                let member = net.nodes[node].cluster.channel().member(*index);
                let address = member.and_then(folkmoot_core::wire::Member::socket_addr);
                // It may be gone again before anybody looks.
                let other = address.map_or(usize::MAX, |address| match address.ip() {
                    std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
                    std::net::IpAddr::V6(_) => usize::MAX,
                });
                let view = self.announced.entry((node, life)).or_default();
                let twice = other != usize::MAX && view.values().any(|known| *known == other);
                if view.insert(*index, other).is_some() || twice {
                    self.breaks(ANNOUNCED, || format!("n{other} twice on n{node}"));
                }
            }
            ClusterEvent::Channel(ChannelEvent::MemberDisappeared(index)) => {
                let view = self.announced.entry((node, life)).or_default();
                if view.remove(index).is_none() {
                    self.breaks(ANNOUNCED, || format!("{index:?} was no member of n{node}"));
                }
            }
            _ => {}
        }
    }

    /// Whether a member has what it acknowledged, or something newer.
    fn is_present(&mut self, net: &Net, write: Write, member: usize, life: u8) {
        let (session, name, number) = write;
        let there = &net.nodes[member];
        // What a crash takes, no ACK brings back; and what has ended may be gone.
        if !there.alive || there.lives != life || self.sessions[session].1 {
            return;
        }
        let manager = there.cluster.manager(there.shop);
        let ids = &self.sessions[session].0;
        let held = ids.iter().find_map(|id| {
            let held = manager?.session(id)?.attribute(name)?;
            held.as_string()?.to_string().parse::<u64>().ok()
        });
        // A node that has not got the state yet keeps what comes until it has.
        let waits = manager.is_none_or(|manager| manager.received_queue_size() > 0);
        if held.is_none_or(|held| held < number) && !waits {
            self.breaks(ACKNOWLEDGED, || {
                format!("write {number} of {name} is acknowledged, and n{member} has {held:?}")
            });
        }
    }

    /// All is done that there was to do, and nothing is under way.
    pub(crate) fn conclude(&mut self, net: &Net, time_has_passed: bool) {
        let alive: Vec<usize> = (0..net.nodes.len())
            .filter(|node| net.nodes[*node].alive)
            .collect();
        if time_has_passed {
            for node in &alive {
                let others: Vec<usize> = alive
                    .iter()
                    .copied()
                    .filter(|other| other != node)
                    .collect();
                let seen = members(net, *node);
                if seen != others {
                    self.breaks(ACCURATE, || {
                        format!("n{node} sees {seen:?}, not {others:?}")
                    });
                }
            }
        }
        if self.tainted {
            return;
        }
        for node in alive {
            if !net.is_ready(node) {
                if time_has_passed {
                    self.breaks(EQUAL, || format!("n{node} does not serve"));
                }
                continue;
            }
            let this = &net.nodes[node];
            let Some(manager) = this.cluster.manager(this.shop) else {
                continue;
            };
            let sessions = manager.sessions();
            let held: BTreeMap<SessionId, BTreeMap<String, String>> = sessions
                .map(|session| {
                    let attributes = session.attributes().map(|(name, value)| {
                        let value = value.as_string().unwrap_or_default();
                        (name.to_string(), value.to_string())
                    });
                    (session.id().clone(), attributes.collect())
                })
                .collect();
            let known = self.sessions.iter().zip(&self.held);
            let told: BTreeMap<SessionId, BTreeMap<String, String>> = known
                .filter(|((_, ended), _)| !ended)
                .filter_map(|((ids, _), held)| {
                    let held = held
                        .iter()
                        .map(|(name, number)| ((*name).to_owned(), number.to_string()));
                    Some((ids.last()?.clone(), held.collect()))
                })
                .collect();
            if held != told {
                self.breaks(EQUAL, || format!("n{node} holds {held:?}, not {told:?}"));
            }
        }
    }
}

/// The members a node sees, in order.
pub(crate) fn members(net: &Net, node: usize) -> Vec<usize> {
    let channel = net.nodes[node].cluster.channel();
    let mut members: Vec<usize> = channel
        .members()
        .filter_map(|(_, member)| match member.socket_addr()?.ip() {
            std::net::IpAddr::V4(ip) => Some(usize::from(ip.octets()[3]) - 1),
            std::net::IpAddr::V6(_) => None,
        })
        .collect();
    members.sort_unstable();
    members
}
