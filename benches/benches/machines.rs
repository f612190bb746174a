//! What the machines cost a message: two channels, and two clusters, joined by memory.

use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use folkmoot_benches::pipe::Pipe;
use folkmoot_core::channel::{
    Body, Channel, ChannelConfig, ChannelEngine, ChannelListener, Inbound, Lane, MembershipConfig,
    SendOptions, StaticConfig, StaticMember, To, UniqueId, Verdict,
};
use folkmoot_core::cluster::{Cluster, ClusterConfig};
use folkmoot_core::session::DeltaManagerConfig;
use folkmoot_core::time::Instant;

/// Messages in one iteration: what a socket read would bring.
const BATCH: usize = 100;

#[derive(Debug, Default)]
struct Counter(u64);

impl ChannelListener for Counter {
    fn message_received(&mut self, _: Instant, _: &Inbound<'_>) -> Verdict {
        self.0 += 1;
        Verdict::Processed
    }
}

fn addresses() -> [SocketAddr; 2] {
    [4001, 4002].map(|port| ([127, 0, 0, 1], port).into())
}

fn channels() -> [Channel; 2] {
    let members: Vec<_> = addresses()
        .into_iter()
        .enumerate()
        .map(|(number, address)| StaticMember::new(address, UniqueId([number as u8; 16])))
        .collect();
    [0, 1].map(|number: usize| {
        let mut config = ChannelConfig::new(addresses()[number]);
        config.unique_id = Some(members[number].unique_id);
        config.membership = MembershipConfig::Static(StaticConfig {
            members: members.clone(),
            ..StaticConfig::default()
        });
        Channel::new(config, [number as u8; 32], Instant::ZERO, 0).expect("a sound configuration")
    })
}

fn channel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel, 512 bytes");
    group.throughput(Throughput::Elements(BATCH as u64));
    for options in [8, 6] {
        let engines = channels().map(|channel| ChannelEngine::new(channel, Counter::default()));
        let mut pipe = Pipe::new(engines, addresses());
        let mut now = Instant::ZERO;
        for side in [0, 1] {
            pipe.with(side, |engine| engine.channel.start(now));
        }
        // Long enough for the checks by which the members find each other.
        for _ in 0..50 {
            now = now + std::time::Duration::from_millis(100);
            pipe.tick(now);
        }
        let (member, ours) = pipe.with(0, |engine| {
            let (index, _) = engine.channel.members().next().expect("the other member");
            (index, engine.channel.is_ours(index))
        });
        assert!(ours, "the members know each other");
        let body = [7; 512];
        let (mut sent, options_word) = (0_u64, SendOptions::from_bits(options));
        group.bench_function(format!("options {options}"), |bencher| {
            bencher.iter(|| {
                pipe.with(0, |engine| {
                    for _ in 0..BATCH {
                        let to = To::Member(member);
                        let body = Body::Borrowed(&body);
                        engine
                            .channel
                            .send(now, to, options_word, Lane::Any, body)
                            .expect("room");
                    }
                });
                sent += BATCH as u64;
                pipe.settle(now);
                pipe.with(0, |engine| while engine.channel.poll_event().is_some() {});
            });
        });
        assert_eq!(
            pipe.with(1, |engine| engine.listener.0),
            sent,
            "all have arrived"
        );
    }
    group.finish();
}

/// 1 KiB that begins with a number.
fn value(number: u64) -> String {
    let mut value = number.to_string();
    value.push(' ');
    value.extend([FILL; 16]);
    value.truncate(1024);
    value
}

const FILL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn cluster(criterion: &mut Criterion) {
    let engines = channels().map(|channel| Cluster::new(channel, ClusterConfig::default()));
    let mut pipe = Pipe::new(engines, addresses());
    let mut now = Instant::ZERO;
    let contexts = [0, 1].map(|side| {
        pipe.with(side, |cluster| {
            cluster.start(now);
            cluster
                .register_manager(now, "/shop", DeltaManagerConfig::default())
                .expect("a free name")
        })
    });
    for _ in 0..100 {
        now = now + std::time::Duration::from_millis(100);
        pipe.tick(now);
    }
    let session = pipe
        .with(0, |cluster| cluster.create_session(now, contexts[0], None))
        .expect("room for a session");
    pipe.settle(now);
    let mut number = 0_u64;
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delta of 1 KiB, set to applied", |bencher| {
        bencher.iter(|| {
            number += 1;
            pipe.with(0, |cluster| {
                cluster
                    .set_attribute(now, contexts[0], &session, "cart", value(number).as_str())
                    .expect("the session is there");
                cluster
                    .request_completed(now, contexts[0], &session)
                    .expect("a member is there");
            });
            pipe.settle(now);
        });
    });
    group.finish();
    let arrived = pipe.with(1, |cluster| {
        cluster.attribute(contexts[1], &session, "cart")
    });
    let arrived = arrived
        .and_then(|value| value.as_string())
        .expect("it has arrived");
    assert_eq!(arrived.to_string_lossy(), value(number));
}

criterion_group!(benches, channel, cluster);
criterion_main!(benches);
