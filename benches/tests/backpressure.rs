//! A member that stops reading: its queue has a bound, a full one is an explicit result, memory stays flat, and nobody else waits.
//! Real processes and sockets, with both drivers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use folkmoot_benches::compare::{PATIENCE, free_ports};
use folkmoot_benches::local;
use folkmoot_benches::process::Process;
use folkmoot_core::channel::{ChannelEvent, Lane, Member, MemberIndex, SendError, SendOptions, To};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent};
use folkmoot_mio::{Handle, Tuning};
use folkmoot_uring::Driver;

/// Bytes that may wait for a member.
const QUEUE: usize = 8 << 20;
const MESSAGE: usize = 16 << 10;
/// What the kernel may hold of a connection whose other end does not read, at its largest settings.
const KERNEL: usize = 32 << 20;
/// Messages offered to the member that does not read: 64 times its queue.
const OFFERED: usize = 64 * QUEUE / MESSAGE;
/// How often its queue is given up meanwhile.
const ROUNDS: usize = 2;
/// Buffers, and what the allocator keeps.
const SLACK_MIB: f64 = 8.0;

type Node = Handle<Cluster>;

fn member(port: u16, others: [u16; 2], name: &str) -> Process {
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("backpressure");
    std::fs::create_dir_all(&logs).expect("a directory for logs");
    let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot-benches"));
    command.arg("soak").arg(port.to_string());
    command.args(others.map(|other| other.to_string()));
    let log = logs.join(format!("{name}-{port}.log"));
    Process::start(name, &mut command, &log).expect("a node starts")
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("a size in KiB") / 1024.0
}

fn patiently<R>(node: &Node, what: &str, mut ask: impl FnMut(&Node) -> Option<R>) -> R {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask(node) {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: never");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn find(node: &Node, port: u16) -> MemberIndex {
    patiently(node, "the member", |node| {
        node.inspect(|engine| {
            let mut members = engine.channel().members();
            let here = |(_, member): &(_, &Member)| {
                member.socket_addr().is_some_and(|at| at.port() == port)
            };
            members.find(here).map(|(index, _)| index)
        })
    })
}

fn offer(node: &Node, to: MemberIndex) -> Result<(), SendError> {
    node.with(|engine, now| {
        let options = SendOptions::ASYNCHRONOUS;
        let (to, channel) = (To::Member(to), engine.channel_mut());
        channel
            .send(now, to, options, Lane::Any, &[7; MESSAGE])
            .map(drop)
    })
}

/// A message that its destination has processed; whether it has. Counts meanwhile how often a queue was given up.
fn deliver(node: &Node, to: MemberIndex, lost: &mut usize) -> bool {
    let sent = node.with(|engine, now| {
        let options = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        let body: &[u8] = b"are you there?";
        let (to, channel) = (To::Member(to), engine.channel_mut());
        channel.send(now, to, options, Lane::Any, body)
    });
    let Ok(id) = sent else { return false };
    let answered = node.wait_for(PATIENCE, |engine, _| {
        while let Some(event) = engine.poll_event() {
            match event {
                ClusterEvent::Channel(ChannelEvent::Sent { id: of, faulty }) if of == id => {
                    return Some(faulty.is_empty());
                }
                ClusterEvent::Channel(ChannelEvent::Lost { .. }) => *lost += 1,
                _ => {}
            }
        }
        None
    });
    answered.expect("every message with an ACK is settled")
}

fn queued(node: &Node, to: MemberIndex) -> usize {
    node.inspect(|engine| engine.channel().queue_bytes(to))
}

fn a_member_stops_reading(driver: Driver, tuning: Tuning) {
    let [here, stopped, well] = free_ports().expect("free ports");
    let mut processes = [
        member(stopped, [here, well], "stopped"),
        member(well, [here, stopped], "well"),
    ];
    let (bound, channel) =
        local::channel(here, &[stopped, well], tuning, QUEUE).expect("a free port");
    let engine = Cluster::new(channel, ClusterConfig::default());
    let node = folkmoot_uring::spawn_with(bound, driver, engine, |_, _| (), || ())
        .expect("the node starts");
    node.with(|engine, now| engine.start(now));
    for process in &mut processes {
        process
            .expect("READY", PATIENCE)
            .expect("it gets the state");
    }
    let (stopped, well) = (find(&node, stopped), find(&node, well));

    // A full queue's worth to both, so that every buffer has its size.
    let mut lost = 0;
    for to in [stopped, well] {
        for _ in 0..QUEUE / MESSAGE {
            patiently(&node, "room", |node| offer(node, to).ok());
        }
        patiently(&node, "an empty queue", |node| {
            (queued(node, to) == 0).then_some(())
        });
        assert!(deliver(&node, to, &mut lost));
    }
    let before = resident_mib();

    processes[0].signal(libc::SIGSTOP).expect("it runs");
    let mut taken = 0;
    let full = loop {
        match offer(&node, stopped) {
            Ok(()) => taken += MESSAGE,
            Err(error) => break error,
        }
        assert!(taken <= QUEUE + KERNEL, "a queue without a bound");
    };
    assert_eq!(full, SendError::QueueFull(stopped));
    assert!(queued(&node, stopped) <= QUEUE, "over its bound");
    assert!(queued(&node, stopped) > QUEUE / 2, "full too early");

    // What waits too long is given up, and there is room once more: again and again it stays within its bound.
    let (mut largest, mut offered, mut refused) = (0.0f64, 0, 0);
    while lost < ROUNDS || offered < OFFERED {
        for _ in 0..256 {
            match offer(&node, stopped) {
                Ok(()) => {}
                Err(SendError::QueueFull(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        offered += 256;
        assert!(queued(&node, stopped) <= QUEUE, "over its bound");
        assert!(deliver(&node, well, &mut lost), "the other one is held up");
        largest = largest.max(resident_mib());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(refused > OFFERED / 2, "{refused} of {offered} were refused");
    let most = before + (QUEUE >> 20) as f64 + SLACK_MIB;
    assert!(
        largest <= most,
        "{driver}: {before:.1} MiB before, {largest:.1} with a full queue"
    );
    println!(
        "{driver}: {before:.1} MiB, {largest:.1} at most with a queue of {} MiB, {refused} of {offered} refused, {lost} queues given up",
        QUEUE >> 20
    );

    processes[0].signal(libc::SIGCONT).expect("it runs");
    patiently(&node, "it reads again", |node| {
        deliver(node, stopped, &mut lost).then_some(())
    });
    let stop = |engine: &mut Cluster, now| engine.stop(now);
    assert!(node.shutdown(PATIENCE, stop, |engine| engine.channel().is_stopped()));
    for process in processes {
        process.finish().expect("it says goodbye");
    }
}

/// One after the other: the memory is that of this process.
#[test]
fn a_full_queue_is_a_result_and_memory_stays_flat() {
    for (driver, tuning) in [
        (Driver::Mio, Tuning::default()),
        (Driver::IoUring, Tuning::default()),
        (Driver::IoUring, Tuning::default().with_ring()),
    ] {
        a_member_stops_reading(driver, tuning);
    }
}
