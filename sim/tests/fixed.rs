//! Members in fixed memory next to members with a heap: to each other they are members like any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{ChannelConfig, MembershipConfig, StaticConfig, StaticMember};
use folkmoot_core::cluster::ClusterConfig;
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output};
use folkmoot_core::fixed::{self, Event, Refusal, TransferResult};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::session::{DeltaManagerConfig, SessionId};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{SendOptions, UniqueId};
use folkmoot_sim::{
    Boot, Crash, Cut, Identity, Machine, NetworkConfig, NodeId, World, sessions::SessionNode,
};

/// Room for 5 others and 8 sessions.
type Memory = fixed::Memory<5, 24, 6144, 8192, 8, 1536, 4096, 512, 48>;

/// A member in fixed memory.
struct FixedNode {
    cluster: fixed::Cluster<'static>,
    events: Vec<Event>,
}

/// Either kind.
enum Node {
    Full(Box<SessionNode>),
    Fixed(Box<FixedNode>),
}

impl Node {
    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Full(node) => node.as_ref(),
            Self::Fixed(node) => &node.cluster,
        }
    }

    fn engine_mut(&mut self) -> &mut dyn Engine {
        match self {
            Self::Full(node) => node.as_mut(),
            Self::Fixed(node) => &mut node.cluster,
        }
    }

    fn fixed(&self) -> &FixedNode {
        match self {
            Self::Fixed(node) => node,
            Self::Full(_) => panic!("not a member in fixed memory"),
        }
    }

    fn full(&mut self) -> &mut SessionNode {
        match self {
            Self::Full(node) => node,
            Self::Fixed(_) => panic!("not a member with a heap"),
        }
    }

    /// Sessions with their attributes.
    fn contents(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match self {
            Self::Fixed(node) => {
                let ids = node.cluster.sessions().map(|session| text(session.id));
                let contents = ids.map(|id| {
                    let attributes = node.cluster.attributes(&id);
                    let attributes = attributes.map(|(name, value)| (text(name), value.to_vec()));
                    let attributes = attributes.collect();
                    (id, attributes)
                });
                contents.collect()
            }
            Self::Full(node) => {
                let sessions = node.manager().unwrap().sessions();
                let contents = sessions.map(|session| {
                    let attributes = session
                        .attributes()
                        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                    (session.id().to_string(), attributes.collect())
                });
                contents.collect()
            }
        }
    }

    fn members(&self) -> usize {
        match self {
            Self::Full(node) => node.members().len(),
            Self::Fixed(node) => node.cluster.member_count(),
        }
    }
}

impl Engine for Node {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.engine_mut().handle(now, input);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.engine_mut().accept(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.engine_mut().poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine().poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.engine().transmit(conn, out);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.engine_mut().transmitted(now, conn, len);
    }
}

impl Machine for Node {
    fn turn(&mut self, now: Instant) {
        match self {
            Self::Full(node) => node.turn(now),
            Self::Fixed(node) => {
                while let Some(event) = node.cluster.poll_event() {
                    node.events.push(event);
                }
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        match self {
            Self::Full(node) => node.stop(now),
            Self::Fixed(node) => node.cluster.stop(now),
        }
    }
}

/// Which nodes have fixed memory, how members find each other, and how messages are sent.
#[derive(Clone, Copy)]
struct Setup {
    fixed: &'static [u16],
    /// All of so many nodes are configured, instead of heartbeats.
    fixed_members: Option<u16>,
    options: SendOptions,
}

const ASYNC: SendOptions = SendOptions::ASYNCHRONOUS;
const SYNC: SendOptions = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);

fn configured(nodes: u16) -> impl Iterator<Item = (SocketAddr, UniqueId)> {
    (0..nodes).map(|node| {
        let id = UniqueId([node as u8 + 1; 16]);
        (NodeId::new(node).address(), id)
    })
}

fn start(setup: Setup, boot: &Boot) -> Node {
    let own = UniqueId(boot.unique_id);
    let own = setup
        .fixed_members
        .map_or(own, |_| UniqueId([boot.node.index() as u8 + 1; 16]));
    if setup.fixed.contains(&(boot.node.index() as u16)) {
        let mut config = fixed::Config::new(boot.address, "localhost#/shop");
        config.unique_id = Some(own);
        config.previous_unique_id = boot.previous_unique_id.map(UniqueId);
        config.channel_send_options = setup.options;
        if let Some(nodes) = setup.fixed_members {
            let members: Vec<_> = configured(nodes).collect();
            config.membership = fixed::Membership::Static {
                members: members.leak(),
                ping_interval: Duration::from_secs(1),
            };
        }
        let memory = Box::leak(Box::new(Memory::new()));
        let cluster = fixed::Cluster::new(config, memory, (), boot.seed, boot.now, boot.unix_ms);
        let mut cluster = cluster.unwrap();
        cluster.start(boot.now);
        return Node::Fixed(Box::new(FixedNode {
            cluster,
            events: Vec::new(),
        }));
    }
    let mut channel = ChannelConfig::new(boot.address);
    channel.unique_id = Some(own);
    channel.previous_unique_id = boot.previous_unique_id.map(UniqueId);
    if let Some(nodes) = setup.fixed_members {
        channel.membership = MembershipConfig::Static(StaticConfig {
            members: configured(nodes)
                .map(|(address, id)| StaticMember::new(address, id))
                .collect(),
            ping_interval: Duration::from_secs(1),
        });
    }
    let cluster = ClusterConfig {
        channel_send_options: setup.options,
        ..ClusterConfig::default()
    };
    let mut manager = DeltaManagerConfig::default();
    manager.limits.transfer_bytes_max = 2048;
    Node::Full(Box::new(SessionNode::new(boot, channel, cluster, manager)))
}

fn world(seed: u64, network: NetworkConfig, setup: Setup, nodes: u16) -> World<Node> {
    let mut world = World::new(seed, network, move |boot| start(setup, boot));
    for _ in 0..nodes {
        let node = world.add_node();
        world.boot(node, Identity::New);
    }
    world.run_for(seconds(4));
    world
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn contents(world: &World<Node>, node: u16) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    world.machine(NodeId::new(node)).unwrap().contents()
}

/// A request that creates a session with attributes on either kind of node.
fn create(world: &mut World<Node>, node: u16, attributes: &[(&str, JavaBytes)]) -> String {
    let id = world.with(NodeId::new(node), |node, now| match node {
        Node::Fixed(node) => {
            let id = node.cluster.create_session(now).unwrap();
            for (name, value) in attributes {
                node.cluster
                    .set_attribute(id.as_str(), name, value.as_bytes())
                    .unwrap();
            }
            node.cluster.request_completed(now, id.as_str());
            node.cluster.end_access(now, id.as_str());
            id.as_str().to_string()
        }
        Node::Full(node) => {
            let context = node.context();
            let cluster = node.cluster_mut();
            let id = cluster.create_session(now, context, None).unwrap();
            for (name, value) in attributes {
                cluster
                    .set_attribute(now, context, &id, *name, value.clone())
                    .unwrap();
            }
            cluster.request_completed(now, context, &id).unwrap();
            cluster.end_access(now, context, &id);
            id.to_string()
        }
    });
    world.run_for(seconds(1));
    id.unwrap()
}

/// A request that changes one attribute; whether the session was there.
fn change(
    world: &mut World<Node>,
    node: u16,
    id: &str,
    name: &str,
    value: Option<JavaBytes>,
) -> bool {
    let found = world.with(NodeId::new(node), |node, now| match node {
        Node::Fixed(node) => {
            let cluster = &mut node.cluster;
            if !cluster.access_session(now, id) {
                return false;
            }
            match &value {
                Some(value) => cluster.set_attribute(id, name, value.as_bytes()).unwrap(),
                None => cluster.remove_attribute(id, name).unwrap(),
            }
            cluster.request_completed(now, id);
            cluster.end_access(now, id);
            true
        }
        Node::Full(node) => {
            let done = node.request(now, &SessionId::from(id), |cluster, context| {
                let id = SessionId::from(id);
                match &value {
                    Some(value) => cluster.set_attribute(now, context, &id, name, value.clone()),
                    None => cluster.remove_attribute(now, context, &id, name),
                }
                .unwrap();
            });
            done.is_some()
        }
    });
    world.run_for(seconds(1));
    found.unwrap()
}

/// Values of different classes, two of which share one.
fn values() -> Vec<(&'static str, JavaBytes)> {
    vec![
        ("text", JavaBytes::from("two apples")),
        ("count", JavaBytes::from(1_000_000)),
        ("other", JavaBytes::from(-1)),
        ("long", JavaBytes::from(1_i64 << 40)),
        ("bytes", JavaBytes::from(vec![7; 300])),
    ]
}

#[test]
fn both_kinds_are_members_to_each_other() {
    for fixed_members in [None, Some(4)] {
        let setup = Setup {
            fixed: &[1, 2],
            fixed_members,
            options: ASYNC,
        };
        let mut world = world(1, NetworkConfig::quiet(), setup, 4);
        for node in 0..4 {
            let members = world.machine(NodeId::new(node)).unwrap().members();
            assert_eq!(members, 3, "node {node}, {fixed_members:?}");
        }
        world.crash(NodeId::new(1), Crash::Process);
        world.crash(NodeId::new(3), Crash::Host);
        world.run_for(seconds(10));
        for node in [0, 2] {
            let members = world.machine(NodeId::new(node)).unwrap().members();
            assert_eq!(members, 1, "node {node}, {fixed_members:?}");
        }
        world.boot(NodeId::new(1), Identity::New);
        world.boot(NodeId::new(3), Identity::New);
        world.run_for(seconds(10));
        for node in 0..4 {
            let members = world.machine(NodeId::new(node)).unwrap().members();
            assert_eq!(members, 3, "node {node} at the end, {fixed_members:?}");
        }
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_session_created_anywhere_is_changed_and_ended_anywhere() {
    for options in [ASYNC, SYNC, SendOptions::USE_ACK, SendOptions::NONE] {
        let setup = Setup {
            fixed: &[1, 2],
            fixed_members: None,
            options,
        };
        let mut world = world(2, NetworkConfig::quiet(), setup, 4);
        for creator in 0..4 {
            let id = create(&mut world, creator, &values());
            let want = contents(&world, creator);
            assert_eq!(want[&id].len(), 5);
            for node in 0..4 {
                assert_eq!(contents(&world, node), want, "{creator}, {node}, {options}");
            }
            for changer in 0..4 {
                let value = JavaBytes::from(format!("by {changer}"));
                let found = change(&mut world, changer, &id, "text", Some(value));
                assert!(found, "{creator}, {changer}, {options}");
                let want = contents(&world, changer);
                for node in 0..4 {
                    assert_eq!(contents(&world, node), want, "{changer}, {node}, {options}");
                }
            }
            assert!(change(&mut world, (creator + 1) % 4, &id, "bytes", None));
            for node in 0..4 {
                assert_eq!(contents(&world, node)[&id].len(), 4, "{node}");
            }
            let ender = NodeId::new((creator + 2) % 4);
            world.with(ender, |node, now| match node {
                Node::Fixed(node) => assert!(node.cluster.expire_session(now, &id)),
                Node::Full(node) => {
                    let context = node.context();
                    let id = SessionId::from(id.as_str());
                    assert!(node.cluster_mut().expire_session(now, context, &id));
                }
            });
            world.run_for(seconds(1));
            for node in 0..4 {
                assert_eq!(contents(&world, node), BTreeMap::new(), "{node}, {options}");
            }
        }
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_new_id_is_the_session_everywhere() {
    let setup = Setup {
        fixed: &[1],
        fixed_members: None,
        options: ASYNC,
    };
    let mut world = world(3, NetworkConfig::quiet(), setup, 3);
    let id = create(&mut world, 0, &values());
    let id = world
        .with(NodeId::new(1), |node, now| match node {
            Node::Fixed(node) => {
                let new = node.cluster.change_session_id(now, &id).unwrap();
                new.as_str().to_string()
            }
            Node::Full(_) => unreachable!(),
        })
        .unwrap();
    world.run_for(seconds(1));
    let again = world
        .with(NodeId::new(0), |node, now| {
            let node = node.full();
            let context = node.context();
            let id = SessionId::from(id.as_str());
            let new = node
                .cluster_mut()
                .change_session_id(now, context, &id, None);
            new.unwrap().to_string()
        })
        .unwrap();
    world.run_for(seconds(1));
    for node in 0..3 {
        let contents = contents(&world, node);
        assert_eq!(contents.keys().collect::<Vec<_>>(), [&again], "{node}");
        assert_eq!(contents[&again].len(), 5, "{node}");
    }
}

#[test]
fn the_only_one_left_gives_the_sessions_to_a_fresh_node() {
    for options in [ASYNC, SYNC] {
        let setup = Setup {
            fixed: &[1],
            fixed_members: None,
            options,
        };
        let mut world = world(4, NetworkConfig::quiet(), setup, 3);
        for node in [0, 1, 2, 0, 1] {
            create(&mut world, node, &values());
        }
        let want = contents(&world, 0);
        assert_eq!(want.len(), 5);
        world.crash(NodeId::new(0), Crash::Process);
        world.crash(NodeId::new(2), Crash::Process);
        world.run_for(seconds(5));
        assert_eq!(contents(&world, 1), want);
        let fresh = world.add_node();
        world.boot(fresh, Identity::New);
        world.run_for(seconds(10));
        assert!(world.machine(fresh).unwrap().members() == 1);
        assert_eq!(contents(&world, 3), want, "{options}");
        // And the other way round: the fixed member starts anew and gets them from the heap.
        world.crash(NodeId::new(1), Crash::Process);
        world.run_for(seconds(5));
        world.boot(NodeId::new(1), Identity::New);
        world.run_for(seconds(10));
        assert_eq!(contents(&world, 1), want, "{options}");
        let events = &world.machine(NodeId::new(1)).unwrap().fixed().events;
        let ended = Event::StateTransfer(TransferResult::Complete, 5);
        assert!(events.contains(&ended), "{events:?}");
    }
}

#[test]
fn what_has_no_room_is_refused_and_counted_and_what_was_there_stays() {
    let setup = Setup {
        fixed: &[1],
        fixed_members: None,
        options: SYNC,
    };
    let mut world = world(5, NetworkConfig::quiet(), setup, 2);
    let first = create(&mut world, 0, &values());
    for _ in 0..9 {
        create(&mut world, 0, &[]);
    }
    assert_eq!(contents(&world, 0).len(), 10);
    let held = contents(&world, 1);
    assert_eq!(held.len(), 8);
    let refused = |world: &World<Node>, refusal| {
        let events = &world.machine(NodeId::new(1)).unwrap().fixed().events;
        let of = |event: &&Event| matches!(event, Event::Refused(_, why) if *why == refusal);
        events.iter().filter(of).count()
    };
    // Each was tried again once.
    let events = &world.machine(NodeId::new(1)).unwrap().fixed().events;
    assert_eq!(refused(&world, Refusal::TooManySessions), 4, "{events:?}");
    let large = JavaBytes::from(vec![1; 1500]);
    assert!(change(&mut world, 0, &first, "large", Some(large)));
    assert_eq!(refused(&world, Refusal::SessionTooLarge), 2);
    assert_eq!(contents(&world, 1)[&first], held[&first]);
    let stats = *world
        .machine(NodeId::new(1))
        .unwrap()
        .fixed()
        .cluster
        .stats();
    assert_eq!(stats.fail_acks_sent, stats.refused);
    // Local changes know the same bounds.
    world.with(NodeId::new(1), |node, now| {
        let Node::Fixed(node) = node else {
            unreachable!()
        };
        let cluster = &mut node.cluster;
        let full = cluster.create_session(now);
        assert_eq!(full, Err(fixed::SessionError::TooManySessions));
        let large = JavaBytes::from(vec![1; 1500]);
        let refused = cluster.set_attribute(&first, "large", large.as_bytes());
        assert_eq!(refused, Err(fixed::SessionError::TooLarge));
        let bad = cluster.set_attribute(&first, "bad", b"not Java");
        assert!(matches!(bad, Err(fixed::SessionError::BadValue(_))));
    });
    // A session that ends makes room.
    world.with(NodeId::new(0), |node, now| {
        let node = node.full();
        let context = node.context();
        let id = SessionId::from(first.as_str());
        assert!(node.cluster_mut().expire_session(now, context, &id));
    });
    world.run_for(seconds(1));
    assert_eq!(contents(&world, 1).len(), 7);
}

#[test]
fn nothing_is_lost_on_a_bad_network() {
    for seed in 0..12 {
        let network = NetworkConfig {
            jitter_ns: 3_000_000,
            spike: 20_000,
            spike_ns: 80_000_000,
            window: 900,
            fragment: 400_000,
            datagram_loss: 100_000,
            datagram_double: 100_000,
            slow_connect: 100_000,
            ..NetworkConfig::quiet()
        };
        let setup = Setup {
            fixed: &[1, 2],
            fixed_members: None,
            options: SYNC,
        };
        let mut world = world(100 + seed, network, setup, 4);
        world.run_for(seconds(10));
        let mut ids = Vec::new();
        for round in 0..6u16 {
            ids.push(create(&mut world, round % 4, &values()));
            // A request follows its session no sooner than a slow network lets it.
            world.run_for(seconds(10));
            if round == 3 {
                world.reset_streams(NodeId::new(0), NodeId::new(1));
                world.reset_streams(NodeId::new(1), NodeId::new(2));
            }
            for id in &ids {
                let value = JavaBytes::from(format!("round {round}"));
                let found = change(&mut world, (round + 1) % 4, id, "text", Some(value));
                let node = world.machine(NodeId::new((round + 1) % 4)).unwrap();
                let events = match node {
                    Node::Fixed(node) => format!("{:?} {:?}", node.events, node.cluster.stats()),
                    Node::Full(node) => format!("{:?}", node.events),
                };
                assert!(found, "seed {seed}, round {round}, {events}");
            }
        }
        world.run_for(seconds(20));
        let want = contents(&world, 0);
        assert_eq!(want.len(), 6, "seed {seed}");
        for node in 1..4 {
            assert_eq!(contents(&world, node), want, "seed {seed}, node {node}");
        }
        assert_eq!(world.violations(), [], "seed {seed}");
    }
}

#[test]
fn a_member_that_was_cut_off_comes_back() {
    let setup = Setup {
        fixed: &[1],
        fixed_members: None,
        options: ASYNC,
    };
    let mut world = world(6, NetworkConfig::quiet(), setup, 3);
    let id = create(&mut world, 0, &values());
    let (alone, others) = ([NodeId::new(1)], [NodeId::new(0), NodeId::new(2)]);
    world.partition(&[&alone, &others], Cut::Dropped);
    world.run_for(seconds(15));
    assert_eq!(world.machine(NodeId::new(1)).unwrap().members(), 0);
    world.heal();
    world.run_for(seconds(15));
    for node in 0..3 {
        assert_eq!(
            world.machine(NodeId::new(node)).unwrap().members(),
            2,
            "{node}"
        );
    }
    assert!(change(
        &mut world,
        2,
        &id,
        "text",
        Some(JavaBytes::from("again"))
    ));
    assert_eq!(contents(&world, 1), contents(&world, 0));
}

#[test]
fn a_member_that_stops_says_so() {
    for fixed_members in [None, Some(3)] {
        let setup = Setup {
            fixed: &[1],
            fixed_members,
            options: ASYNC,
        };
        let mut world = world(7, NetworkConfig::quiet(), setup, 3);
        world.with(NodeId::new(1), |node, now| node.stop(now));
        world.run_for(Duration::from_millis(1200));
        for node in [0, 2] {
            assert_eq!(
                world.machine(NodeId::new(node)).unwrap().members(),
                1,
                "{node}"
            );
        }
        let events = &world.machine(NodeId::new(1)).unwrap().fixed().events;
        assert_eq!(events.last(), Some(&Event::Stopped));
    }
}
