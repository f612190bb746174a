//! In the steady state a message costs no allocation, at either end, sockets included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use folkmoot_core::channel::{
    Body, Channel, ChannelConfig, ChannelEngine, ChannelEvent, ChannelListener, Inbound, Lane,
    MembershipConfig, SendError, SendOptions, StaticConfig, StaticMember, To, UniqueId, Verdict,
};
use folkmoot_core::time::Instant;
use folkmoot_mio::{Config, Handle, bind};

/// The system's allocator, counted.
struct Counted;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 20_000;
const BURST: u64 = 1_000;

#[derive(Default)]
struct Counter {
    received: u64,
    settled: u64,
    faulty: u64,
}

impl ChannelListener for Counter {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        self.received += u64::from(message.message.len() == 512);
        Verdict::Processed
    }
}

type Node = Handle<ChannelEngine<Counter>>;

fn nodes() -> [Node; 2] {
    let bounds = [(); 2].map(|()| {
        let mut config = Config::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        config.receiver.port = 0;
        bind(config).unwrap()
    });
    let ids = [1, 2].map(|number| UniqueId([number; 16]));
    let members: Vec<_> = bounds
        .iter()
        .zip(ids)
        .map(|(bound, id)| StaticMember::new(bound.receiver_addr(), id))
        .collect();
    let mut number = 0;
    bounds.map(|bound| {
        let mut config = ChannelConfig::new(bound.receiver_addr());
        config.unique_id = Some(ids[number]);
        number += 1;
        config.membership = MembershipConfig::Static(StaticConfig {
            members: members.clone(),
            // Nothing but the messages happens while allocations are counted.
            ping_interval: Duration::from_millis(300),
        });
        let channel = Channel::new(config, [number as u8; 32], bound.now(), 0).unwrap();
        let node = crate::driver::spawn(
            bound,
            ChannelEngine::new(channel, Counter::default()),
            |engine, _| {
                while let Some(event) = engine.channel.poll_event() {
                    if let ChannelEvent::Sent { faulty, .. } = event {
                        engine.listener.settled += 1;
                        engine.listener.faulty += faulty.len() as u64;
                    }
                }
            },
        )
        .unwrap();
        node.with(|engine, now| engine.channel.start(now));
        node
    })
}

/// Sends a round with `options` and gives the allocations of the whole process until all has arrived.
fn round(from: &Node, to: &Node, options: u32, body: &[u8; 512]) -> u64 {
    let options = SendOptions::from_bits(options);
    let (received, settled) = (
        to.inspect(|engine| engine.listener.received),
        from.inspect(|engine| engine.listener.settled),
    );
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for number in 1..=MESSAGES {
        from.wait_for(PATIENCE, |engine, now| {
            let to = engine.channel.members().next()?.0;
            let body = Body::Borrowed(body);
            match engine
                .channel
                .send(now, To::Member(to), options, Lane::Any, body)
            {
                Err(SendError::QueueFull(_)) => None,
                sent => Some(sent.unwrap()),
            }
        })
        .expect("there is room sooner or later");
        // A queue that grows to megabytes takes memory for them; one that is drained does not.
        if number % BURST == 0 {
            to.wait_for(PATIENCE, |engine, _| {
                (engine.listener.received == received + number).then_some(())
            })
            .expect("everything arrives");
        }
    }
    if options.contains(SendOptions::USE_ACK) {
        from.wait_for(PATIENCE, |engine, _| {
            (engine.listener.settled == settled + MESSAGES).then_some(())
        })
        .expect("everything is acknowledged");
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_message_costs_no_allocation() {
    let [from, to] = nodes();
    for node in [&from, &to] {
        node.wait_for(PATIENCE, |engine, _| {
            let (index, _) = engine.channel.members().next()?;
            engine.channel.is_ours(index).then_some(())
        })
        .expect("the nodes know each other");
    }
    for options in [8, 0, 6, 2] {
        // Buffers and queues grow to their size first.
        let mut fewest = u64::MAX;
        for _ in 0..6 {
            fewest = fewest.min(round(&from, &to, options, &[7; 512]));
        }
        // What remains is not the messages': the checks of static members, which take a buffer each.
        assert!(
            fewest < MESSAGES / 1000,
            "options {options}: {fewest} allocations in {MESSAGES} messages"
        );
    }
    assert_eq!(from.inspect(|engine| engine.listener.faulty), 0);
}
