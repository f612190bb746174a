//! A bare channel of ours among Tomcats: who is a member, and whether messages are taken.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEngine, ChannelListener, Inbound, Lane, MembershipConfig,
    MulticastConfig, StaticConfig, StaticMember, StaticServiceConfig, To, UniqueId, Verdict,
};
use folkmoot_core::channel::{ChannelEvent, SendOptions};
use folkmoot_core::rng::Seed;
use folkmoot_core::time::Instant;
use folkmoot_mio::{Config, Handle, MulticastSocket, bind};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::Tomcat;
use crate::support::session_message::{EVT_SESSION_CREATED, session_message, unshared};
use crate::support::wait::{SOON, until};

scenarios! {
    fn multicast_member_takes_and_sends_messages(name) { takes_and_sends(name, Membership::Multicast); }
    fn static_member_takes_and_sends_messages(name) { takes_and_sends(name, Membership::Static); }
    fn member_of_a_service_takes_and_sends_messages(name) { takes_and_sends(name, Membership::StaticService); }
    fn a_fast_restart_leaves_no_ghost_with_the_old_id_at_hand(name) { restarts(name); }
    fn control_without_the_old_id_a_ghost_stays(name) { ghost(name); }
}

/// Where our channel's receiver listens: where node 1 of a cluster would.
const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12)), 4000);

fn takes_and_sends(name: &str, membership: Membership) {
    // The second node never starts: its place is ours.
    let setup = Setup::new(membership, 6).with("PROBE_MCAST_DROP_MS", "3600000");
    let mut cluster = Cluster::new(name, &[Tomcat, Tomcat], &setup);
    cluster.nodes[0].start();
    let ours = Node::start(membership, 0x21, None);
    cluster.await_other_members(0, &["127.0.0.12:4000"]);
    until("our channel sees the Tomcat", SOON, || {
        ours.sees(&["tcp://127.0.0.11:4000"])
    });

    // From the Tomcat: a session is created and its first delta follows, both acknowledged by us.
    Client::new().get(cluster.http(0), "/s/set?k=k&type=int&v=1");
    let received = ours
        .handle
        .inspect(|engine| engine.listener.session_messages);
    assert_eq!(
        received, 2,
        "CREATED and DELTA are here before the Tomcat answers its visitor"
    );

    // To the Tomcat, with every way to be answered.
    for options in [0, 2, 6, 8, 10, 14] {
        let id = format!("{options:032X}.n2");
        // A Tomcat takes a stream in which nothing is shared, too.
        let write = if options == 0 {
            unshared
        } else {
            session_message
        };
        let created = write(EVT_SESSION_CREATED, "localhost#", &id, b"");
        let options = SendOptions::from_bits(options);
        let sent = ours.handle.with(|engine, now| {
            engine
                .channel
                .send_object(now, To::All, options, Lane::Any, created.as_slice())
        });
        let sent = sent.expect("sent");
        if options.contains(SendOptions::USE_ACK) {
            let faulty = ours
                .handle
                .wait_for(SOON, |engine, _| engine.listener_sent(sent));
            assert_eq!(faulty, Some(0), "{options}: all acknowledged");
        }
        until("the Tomcat has the session", SOON, || {
            cluster.nodes[0].peek(&id).map(|_| ()).ok_or("not here")
        });
    }

    ours.stop();
    cluster.await_other_members(0, &[]);
}

fn restarts(name: &str) {
    let cluster = Cluster::started(name, &[Tomcat], &Setup::new(Membership::Multicast, 6));
    for round in 1..=3 {
        let before = (round > 1).then(|| UniqueId([round - 1; 16]));
        let ours = Node::start(Membership::Multicast, round, before);
        until("exactly our living incarnation", SOON, || {
            one_member(&cluster, round)
        });
        ours.crash();
    }
    cluster.await_other_members(0, &[]);
}

fn ghost(name: &str) {
    let cluster = Cluster::started(name, &[Tomcat], &Setup::new(Membership::Multicast, 6));
    let first = Node::start(Membership::Multicast, 1, None);
    until("our first incarnation", SOON, || one_member(&cluster, 1));
    first.crash();
    let _second = Node::start(Membership::Multicast, 2, None);
    cluster.await_other_members(0, &["127.0.0.12:4000", "127.0.0.12:4000"]);
}

fn one_member(cluster: &Cluster, id: u8) -> Result<(), serde_json::Value> {
    let members = cluster.nodes[0].state().get("members").clone();
    let wanted = UniqueId([id; 16]).to_string().to_lowercase();
    match members.as_array().map(Vec::as_slice) {
        Some([one]) if one["uniqueId"] == wanted.as_str() => Ok(()),
        _ => Err(members),
    }
}

/// A channel on its driver.
struct Node {
    handle: Handle<ChannelEngine<Counted>>,
}

/// What came in and went out.
#[derive(Default)]
struct Counted {
    session_messages: usize,
    /// Acknowledged messages, with the number of faulty members.
    sent: Vec<(UniqueId, usize)>,
}

impl ChannelListener for Counted {
    fn message_received(&mut self, _now: Instant, message: &Inbound<'_>) -> Verdict {
        if !message.options.contains(SendOptions::BYTE_MESSAGE) {
            self.session_messages += 1;
        }
        Verdict::Processed
    }
}

trait Sent {
    fn listener_sent(&self, id: UniqueId) -> Option<usize>;
}

impl Sent for ChannelEngine<Counted> {
    fn listener_sent(&self, id: UniqueId) -> Option<usize> {
        self.listener
            .sent
            .iter()
            .find(|(sent, _)| *sent == id)
            .map(|(_, faulty)| *faulty)
    }
}

impl Node {
    fn start(membership: Membership, id: u8, previous: Option<UniqueId>) -> Self {
        let mut sockets = Config::new(OURS.ip());
        let mut config = ChannelConfig::new(OURS);
        config.previous_unique_id = previous;
        match membership {
            Membership::Multicast => {
                config.unique_id = Some(UniqueId([id; 16]));
                config.membership = MembershipConfig::Multicast(MulticastConfig::default());
                sockets.multicast = Some(MulticastSocket {
                    ttl: 0,
                    ..MulticastSocket::default()
                });
            }
            Membership::Static | Membership::StaticService => {
                config.unique_id = Some(static_id(2));
                let tomcat = StaticMember::new(([127, 0, 0, 11], 4000).into(), static_id(1));
                let fixed = StaticConfig {
                    members: vec![tomcat],
                    ..StaticConfig::default()
                };
                config.membership = match membership {
                    Membership::StaticService => {
                        MembershipConfig::StaticService(StaticServiceConfig {
                            fixed,
                            ..StaticServiceConfig::default()
                        })
                    }
                    _ => MembershipConfig::Static(fixed),
                };
            }
        }
        let bound = bind(sockets).expect("the sockets");
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        let unix_ms = u64::try_from(since.as_millis()).expect("a year of four digits");
        let now = bound.now();
        let channel = Channel::new(config, Seed::from([id; 32]), now, unix_ms).expect("a channel");
        let engine = ChannelEngine::new(channel, Counted::default());
        let handle = bound.spawn(engine, |engine, _now| {
            while let Some(event) = engine.channel.poll_event() {
                if let ChannelEvent::Sent { id, faulty } = event {
                    engine.listener.sent.push((id, faulty.len()));
                }
            }
        });
        let handle = handle.expect("a driver");
        handle.with(|engine, now| engine.channel.start(now));
        Self { handle }
    }

    fn sees(&self, names: &[&str]) -> Result<(), Vec<String>> {
        let seen: Vec<String> = self.handle.inspect(|engine| {
            engine
                .channel
                .members()
                .map(|(_, member)| member.name().to_string())
                .collect()
        });
        if seen == names { Ok(()) } else { Err(seen) }
    }

    fn stop(self) {
        let said = self.handle.shutdown(
            SOON,
            |engine, now| engine.channel.stop(now),
            |engine| engine.channel.is_stopped(),
        );
        assert!(said, "the goodbye was said");
    }

    /// Ends without a word.
    fn crash(self) {
        self.handle.shutdown(Duration::ZERO, |_, _| {}, |_| true);
    }
}

fn static_id(node: u8) -> UniqueId {
    let mut id = [0; 16];
    for (at, byte) in [
        0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
    ]
    .into_iter()
    .enumerate()
    {
        id[at] = byte;
    }
    id[15] = node;
    UniqueId(id)
}
