//! Whole channels over real sockets.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use folkmoot_core::channel::{
    Body, Channel, ChannelConfig, ChannelEngine, ChannelEvent, ChannelListener, FaultCause,
    Inbound, Lane, Member, MemberIndex, MembershipConfig, MulticastConfig, SendError, SendOptions,
    StaticConfig, StaticMember, To, UniqueId, Verdict,
};
use folkmoot_core::time::Instant;
use folkmoot_mio::{Bound, Config, Handle, MulticastSocket, bind};

const PATIENCE: Duration = Duration::from_secs(60);

/// Remembers what it has heard.
#[derive(Debug, Default)]
struct Heard {
    messages: Vec<(SendOptions, Vec<u8>)>,
    gone: Vec<Member>,
    outcomes: BTreeMap<UniqueId, Vec<FaultCause>>,
    lost: u64,
    fail: bool,
}

impl ChannelListener for Heard {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        self.messages
            .push((message.options, message.message.to_vec()));
        match self.fail {
            true => Verdict::Failed,
            false => Verdict::Processed,
        }
    }

    fn member_disappeared(&mut self, _: Instant, _: MemberIndex, member: &Member) {
        self.gone.push(member.clone());
    }
}

type Node = Handle<ChannelEngine<Heard>>;

fn turn(engine: &mut ChannelEngine<Heard>, _: Instant) {
    while let Some(event) = engine.channel.poll_event() {
        match event {
            ChannelEvent::Sent { id, faulty } => {
                let causes = faulty.into_iter().map(|(_, cause)| cause).collect();
                assert!(
                    engine.listener.outcomes.insert(id, causes).is_none(),
                    "said twice"
                );
            }
            ChannelEvent::Lost { messages, .. } => engine.listener.lost += messages,
            ChannelEvent::BadInput { from, reason } => panic!("{from}: {reason}"),
            _ => {}
        }
    }
}

fn sockets() -> Config {
    let mut config = Config::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    config.receiver.port = 0;
    config
}

fn id(number: u8) -> UniqueId {
    UniqueId([number; 16])
}

fn start(bound: Bound, number: u8, change: impl FnOnce(&mut ChannelConfig)) -> Node {
    let mut config = ChannelConfig::new(bound.receiver_addr());
    config.unique_id = Some(id(number));
    config.membership = MembershipConfig::None;
    change(&mut config);
    let channel = Channel::new(config, [number; 32], bound.now(), 1_700_000_000_000).unwrap();
    let node =
        crate::driver::spawn(bound, ChannelEngine::new(channel, Heard::default()), turn).unwrap();
    node.with(|engine, now| engine.channel.start(now));
    node
}

fn static_members(members: &[(SocketAddr, u8)]) -> MembershipConfig {
    MembershipConfig::Static(StaticConfig {
        members: members
            .iter()
            .map(|(addr, number)| StaticMember::new(*addr, id(*number)))
            .collect(),
        ping_interval: Duration::from_millis(100),
    })
}

/// Two nodes that know each other.
fn pair(pipelining: bool) -> [Node; 2] {
    let [a, b] = [(); 2].map(|()| bind(sockets()).unwrap());
    let members = [(a.receiver_addr(), 1), (b.receiver_addr(), 2)];
    let nodes = [(a, 1), (b, 2)].map(|(bound, number)| {
        start(bound, number, |config| {
            config.membership = static_members(&members);
            config.sender.pipelining = pipelining;
        })
    });
    // What kind of node a static member is shows with its first message.
    for node in &nodes {
        let index = member(node);
        node.wait_for(PATIENCE, |engine, _| {
            (engine.channel.is_ours(index) == pipelining).then_some(())
        })
        .expect("the nodes know each other");
    }
    nodes
}

/// The only other member, once it is there.
fn member(node: &Node) -> MemberIndex {
    node.wait_for(PATIENCE, |engine, _| {
        engine.channel.members().next().map(|(index, _)| index)
    })
    .expect("the other node is there")
}

fn send(node: &Node, to: MemberIndex, options: u32, body: &[u8]) -> Result<UniqueId, SendError> {
    node.with(|engine, now| {
        let options = SendOptions::from_bits(options);
        engine.channel.send(
            now,
            To::Member(to),
            options,
            Lane::Any,
            Body::Borrowed(body),
        )
    })
}

fn outcome(node: &Node, id: UniqueId) -> Vec<FaultCause> {
    node.wait_for(PATIENCE, |engine, _| engine.listener.outcomes.remove(&id))
        .expect("an acknowledged message has an outcome")
}

fn received(node: &Node, count: usize) -> Vec<(SendOptions, Vec<u8>)> {
    node.wait_for(PATIENCE, |engine, _| {
        let messages = &mut engine.listener.messages;
        (messages.len() >= count).then(|| std::mem::take(messages))
    })
    .expect("every message arrives")
}

#[test]
fn messages_pass_both_ways_with_every_option() {
    for pipelining in [true, false] {
        let nodes = pair(pipelining);
        for options in [0_u32, 2, 6, 8, 10, 14] {
            for (from, to) in [(0, 1), (1, 0)] {
                let (from, to) = (&nodes[from], &nodes[to]);
                let index = member(from);
                let sent: Vec<Vec<u8>> = [0_usize, 1, 512, 10_000, 100_000, 3_000_000]
                    .iter()
                    .map(|len| (0..*len).map(|at| (at % 253) as u8).collect())
                    .collect();
                let ids: Vec<_> = sent
                    .iter()
                    .map(|body| send(from, index, options, body).unwrap())
                    .collect();
                if options & 2 != 0 {
                    for id in ids {
                        assert_eq!(outcome(from, id), [], "options {options}");
                    }
                }
                let mut heard = received(to, sent.len());
                assert!(
                    heard
                        .iter()
                        .all(|(seen, _)| seen.bits() & 15 == options | 1),
                    "byte messages"
                );
                if options & 2 != 0 && !pipelining {
                    // Several connections: they may overtake each other.
                    heard.sort_by_key(|(_, body)| body.len());
                }
                let bodies: Vec<_> = heard.into_iter().map(|(_, body)| body).collect();
                assert!(bodies == sent, "options {options}, pipelining {pipelining}");
            }
        }
    }
}

#[test]
fn eight_threads_of_sends_keep_their_order_and_lose_nothing() {
    const THREADS: u8 = 8;
    const EACH: u32 = 2_000;
    let nodes = pair(true);
    let index = member(&nodes[0]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let node = nodes[0].clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut body = vec![thread; 200];
                    body[1..5].copy_from_slice(&number.to_be_bytes());
                    let options = if number % 10 == 9 { 6 } else { 8 };
                    let id = send(&node, index, options, &body).unwrap();
                    if options == 6 {
                        assert_eq!(outcome(&node, id), []);
                    }
                }
            });
        }
    });
    let mut next = [0; THREADS as usize];
    for (_, body) in received(&nodes[1], usize::from(THREADS) * EACH as usize) {
        let number = u32::from_be_bytes(body[1..5].try_into().unwrap());
        let expected = &mut next[usize::from(body[0])];
        assert_eq!(number, *expected, "thread {}", body[0]);
        *expected += 1;
    }
    assert_eq!(next, [EACH; THREADS as usize]);
}

#[test]
fn a_failing_listener_is_made_known_to_the_sender() {
    // Tribes sends a refused message once more; where answers come in order that is known to be in vain.
    for (pipelining, times) in [(true, 1), (false, 2)] {
        let nodes = pair(pipelining);
        nodes[1].with(|engine, _| engine.listener.fail = true);
        let id = send(&nodes[0], member(&nodes[0]), 6, b"refuse me").unwrap();
        assert_eq!(outcome(&nodes[0], id), [FaultCause::RemoteProcess]);
        assert_eq!(
            nodes[1].inspect(|engine| engine.listener.messages.len()),
            times
        );
    }
}

#[test]
fn a_goodbye_is_heard_and_a_killed_node_is_missed() {
    for goodbye in [true, false] {
        let [first, second] = pair(true);
        let _index = member(&second);
        if goodbye {
            let stop = |engine: &mut ChannelEngine<Heard>, now| engine.channel.stop(now);
            assert!(first.shutdown(PATIENCE, stop, |engine| engine.channel.is_stopped()));
        } else {
            drop(first);
        }
        let gone = second
            .wait_for(PATIENCE, |engine, _| engine.listener.gone.first().cloned())
            .expect("its end is seen");
        assert_eq!(gone.unique_id, id(1));
    }
}

#[test]
fn members_find_each_other_by_multicast() {
    let multicast = |port| {
        let mut config = sockets();
        config.multicast = Some(MulticastSocket {
            group: Ipv4Addr::new(228, 0, 0, 99),
            port,
            bind: Some(Ipv4Addr::LOCALHOST),
            ttl: 0,
            loopback: true,
        });
        bind(config).unwrap()
    };
    let start_one = |bound, number| {
        start(bound, number, |config| {
            config.membership = MembershipConfig::Multicast(MulticastConfig {
                frequency: Duration::from_millis(20),
                drop_time: Duration::from_millis(2_000),
            });
        })
    };
    let first = multicast(0);
    let port = first.multicast_addr().unwrap().port();
    let first = start_one(first, 1);
    let second = start_one(multicast(port), 2);
    let third = start_one(multicast(port), 3);
    for node in [&first, &second, &third] {
        node.wait_for(PATIENCE, |engine, _| {
            (engine.channel.member_count() == 2).then_some(())
        })
        .expect("everybody sees everybody");
    }
    first.with(|engine, now| {
        let options = SendOptions::from_bits(8);
        engine
            .channel
            .send(now, To::All, options, Lane::Any, Body::Borrowed(b"to all"))
            .unwrap()
    });
    for node in [&second, &third] {
        assert_eq!(received(node, 1)[0].1, b"to all");
    }
    let stop = |engine: &mut ChannelEngine<Heard>, now| engine.channel.stop(now);
    assert!(first.shutdown(PATIENCE, stop, |engine| engine.channel.is_stopped()));
    second
        .wait_for(PATIENCE, |engine, _| {
            (engine.channel.member_count() == 1).then_some(())
        })
        .expect("its goodbye is heard");
}

#[test]
fn a_full_queue_is_said_and_sending_goes_on_when_there_is_room() {
    const MESSAGES: usize = 400;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bound = bind(sockets()).unwrap();
    let members = [(listener.local_addr().unwrap(), 2)];
    let node = start(bound, 1, |config| {
        config.membership = static_members(&members);
        config.limits.queue_bytes_max = 200_000;
        config.sender.timeout = PATIENCE;
    });
    // The other end takes connections and reads nothing until told; then it counts what comes.
    let reading = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    listener.set_nonblocking(true).unwrap();
    let other = std::thread::spawn({
        let (reading, ended) = (Arc::clone(&reading), Arc::clone(&ended));
        move || {
            let mut readers = vec![];
            while !ended.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::yield_now();
                    continue;
                };
                let reading = Arc::clone(&reading);
                readers.push(std::thread::spawn(move || {
                    while !reading.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    stream.set_nonblocking(false).unwrap();
                    let mut bytes = vec![];
                    drop(stream.read_to_end(&mut bytes));
                    bytes
                        .windows(7)
                        .filter(|bytes| *bytes == b"message")
                        .count()
                }));
            }
            readers
                .into_iter()
                .map(|r| r.join().unwrap())
                .sum::<usize>()
        }
    });
    let index = member(&node);
    let mut body = vec![b'.'; 50_000];
    body[..7].copy_from_slice(b"message");
    let mut full = 0;
    for _ in 0..MESSAGES {
        match send(&node, index, 0, &body) {
            Ok(_) => {}
            Err(SendError::QueueFull(member)) => {
                assert_eq!(member, index);
                full += 1;
                reading.store(true, Ordering::Relaxed);
                node.wait_for(PATIENCE, |engine, now| {
                    let options = SendOptions::from_bits(0);
                    let body = Body::Borrowed(&body);
                    match engine
                        .channel
                        .send(now, To::Member(index), options, Lane::Any, body)
                    {
                        Err(SendError::QueueFull(_)) => None,
                        sent => Some(sent.unwrap()),
                    }
                })
                .expect("room again");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(full > 0);
    let stop = |engine: &mut ChannelEngine<Heard>, now| engine.channel.stop(now);
    assert!(node.shutdown(PATIENCE, stop, |engine| engine.channel.is_stopped()));
    assert_eq!(node.inspect(|engine| engine.listener.lost), 0);
    drop(node);
    ended.store(true, Ordering::Relaxed);
    assert_eq!(other.join().unwrap(), MESSAGES);
}
