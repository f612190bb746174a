//! Several peers write deltas of 1 KiB into one application of one node: how the node's threads share the work.
//!
//! The peers are bare sockets that write frames made before, so that the node gets the processors. What the
//! threads decode and apply before they take the engine's lock, and what is done under it, is timed by itself, by the processor time
//! of one thread: that says how far more threads can help, however busy the machine is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use folkmoot_core::channel::{
    Channel, ChannelConfig, MembershipConfig, StaticConfig, StaticMember, UniqueId,
};
use folkmoot_core::cluster::{Cluster, ClusterConfig, ContextId};
use folkmoot_core::engine::{Engine, Gather, Input, Output, Progress};
use folkmoot_core::java::{JavaBytes, ObjectOutput};
use folkmoot_core::session::{
    Action, ActionType, DeltaManagerConfig, DeltaRequest, EventType, ManagerState, SessionId,
    SessionMessage,
};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{ACK_FRAME, ChannelData, Member, SendOptions};
use folkmoot_mio::{Handle, Tuning};

use crate::compare::{free_ports, median};
use crate::{Result, local};

/// Peers that write, sessions they write to, and deltas that each has made before it begins.
const PEERS: usize = 4;
const SESSIONS: usize = 500;
const MADE: usize = 1000;
/// Bytes of a read, where the driver is not there to read.
const READ: usize = 64 * 1024;
/// The bound of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Processor time of this thread, or of the whole process.
fn cpu(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to the variable it is given, which outlives it.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn thread_cpu() -> Duration {
    cpu(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The frames of one peer, which listens at `at`: a delta for one session after the other.
fn frames(
    number: usize,
    at: SocketAddr,
    name: &[u8],
    ids: &[SessionId],
    options: u32,
) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    Member::new(at, local::unique_id(at.port())).write(&mut block)?;
    let mut frames = Vec::new();
    for made in 0..MADE {
        let id = &ids[(made * PEERS + number) % ids.len()];
        let mut delta = DeltaRequest::new(id.clone(), false);
        let is_new = ActionType::IS_NEW;
        delta.record(Action {
            kind: is_new,
            action: Action::<JavaBytes>::SET,
            name: is_new.fixed_name().ok_or("it has a name")?,
            value: Some(JavaBytes::from(false)),
        });
        delta.record(Action {
            kind: ActionType::ATTRIBUTE,
            action: Action::<JavaBytes>::SET,
            name: "cart".into(),
            value: Some(JavaBytes::from(format!("{made:<1024}"))),
        });
        let mut payload = ObjectOutput::new();
        delta.write(&mut payload)?;
        let payload = payload.finish();
        let id = id.as_modified_utf8();
        let mut message = Vec::new();
        SessionMessage {
            session: Some(&payload),
            ..SessionMessage::new(EventType::SessionDelta, name, id, id, 1)
        }
        .write(&mut message);
        ChannelData {
            options: SendOptions::from_bits(options),
            timestamp_ms: 1,
            unique_id: &[7; 16],
            address: &block,
            message: &message,
        }
        .write_frame(&mut frames)?;
    }
    Ok(frames)
}

/// Adds the application with its sessions.
fn sessions(cluster: &mut Cluster, now: Instant) -> Result<(ContextId, Vec<SessionId>)> {
    // The peers would not answer who asks them for their sessions.
    let config = DeltaManagerConfig {
        state_transfer_timeout: Some(Duration::ZERO),
        ..DeltaManagerConfig::default()
    };
    let context = cluster.register_manager(now, "/shop", config)?;
    let ids: std::result::Result<Vec<_>, _> = (0..SESSIONS)
        .map(|_| cluster.create_session(now, context, None))
        .collect();
    Ok((context, ids?))
}

fn name(cluster: &Cluster, context: ContextId) -> Vec<u8> {
    let manager = cluster.manager(context);
    manager.map_or_else(Vec::new, |manager| {
        manager.name().as_modified_utf8().to_vec()
    })
}

/// A started cluster with its sessions, and as many members that only take what they are sent.
fn among(members: usize) -> Result<(Cluster, Instant, ContextId, Vec<SessionId>)> {
    let mut config = ChannelConfig::new(([127, 0, 0, 9], 4000).into());
    config.unique_id = Some(UniqueId([9; 16]));
    let members: Result<Vec<_>> = (0..members)
        .map(|number| {
            let at = nowhere(number)?;
            Ok(StaticMember::new(at, local::unique_id(at.port())))
        })
        .collect();
    let members = members?;
    let wanted = members.len();
    config.membership = MembershipConfig::Static(StaticConfig {
        members,
        ..StaticConfig::default()
    });
    let channel = Channel::new(config, [1; 32], Instant::ZERO, 1)?;
    let mut cluster = Cluster::new(channel, ClusterConfig::default());
    let mut now = Instant::ZERO;
    cluster.start(now);
    let (context, ids) = sessions(&mut cluster, now)?;
    for _ in 0..100 {
        now = now + Duration::from_millis(100);
        cluster.handle(now, Input::Timeout);
        take(&mut cluster, now);
    }
    match cluster.channel().members().count() {
        met if met == wanted => Ok((cluster, now, context, ids)),
        met => Err(format!("{met} of {wanted} members are there").into()),
    }
}

/// Where a peer would listen, were there sockets.
fn nowhere(number: usize) -> Result<SocketAddr> {
    Ok(([127, 0, 0, 9], u16::try_from(number + 1)?).into())
}

/// Takes whatever the cluster sends.
fn take(cluster: &mut Cluster, now: Instant) {
    while let Some(output) = cluster.poll_output() {
        match output {
            Output::Connect { conn, .. } => cluster.handle(now, Input::Connected { conn }),
            Output::Transmit { conn } => {
                let mut gather = Gather::new();
                cluster.transmit(conn, &mut gather);
                let len = gather.len();
                drop(gather);
                cluster.transmitted(now, conn, len);
            }
            _ => {}
        }
    }
    while cluster.poll_event().is_some() {}
}

/// What one delta takes, in nanoseconds of processor time.
struct Shares {
    /// All by the engine.
    alone: f64,
    /// Decoded by a thread that has no leave to do more, and the rest by the engine.
    decoded: [f64; 2],
    /// Decoded and applied by a thread, each under the lock of the session's shard, and the rest by the engine.
    applied: [f64; 2],
}

fn shares() -> Result<Shares> {
    let (mut cluster, now, context, ids) = among(1)?;
    let frames = frames(0, nowhere(0)?, &name(&cluster, context), &ids, 0)?;
    let from: SocketAddr = ([127, 0, 0, 1], 9).into();
    let conn = cluster.accept(now, from).ok_or("not accepted")?;
    let mut ahead = cluster.read_ahead();
    let mut progress = Progress::default();
    let mut rounds: [Vec<f64>; 5] = Default::default();
    let drain = |cluster: &mut Cluster| while cluster.poll_event().is_some() {};
    for _ in 0..20 {
        let mut spent = [Duration::ZERO; 5];
        let mut timed = |which: usize, work: &mut dyn FnMut()| {
            let before = thread_cpu();
            work();
            spent[which] += thread_cpu() - before;
        };
        timed(0, &mut || {
            for bytes in frames.chunks(READ) {
                cluster.handle(now, Input::Received { conn, bytes });
                drain(&mut cluster);
            }
        });
        for has_leave in [false, true] {
            let which = 1 + 2 * usize::from(has_leave);
            for bytes in frames.chunks(READ) {
                if !has_leave {
                    // Whoever has the channel may change anything: that ends all leave.
                    cluster.channel_mut();
                }
                timed(which, &mut || ahead.read(now, conn, &mut progress, bytes));
                timed(which + 1, &mut || {
                    cluster.handle_read(now, conn, bytes, &mut *ahead);
                    drain(&mut cluster);
                });
            }
        }
        for (round, spent) in rounds.iter_mut().zip(spent) {
            round.push(spent.as_nanos() as f64 / MADE as f64);
        }
    }
    check(&cluster, context, 3 * 20 * MADE as u64)?;
    let applied = cluster.stats().applied_ahead;
    // The first read of a round has no leave yet.
    let first = READ.div_ceil(frames.len() / MADE);
    if applied < 20 * (MADE - first) as u64 {
        return Err(format!("{applied} deltas were applied ahead").into());
    }
    let [alone, decode, apply, ahead, rest] = rounds.map(|round| median(&round, |nanos| *nanos));
    Ok(Shares {
        alone,
        decoded: [decode, apply],
        applied: [ahead, rest],
    })
}

/// The same without sockets and without peers: `threads` of them decode and apply deltas that lie in memory, of one application, and take
/// one lock to have them answered, as the driver's reading threads do. Deltas a second, and how many processors' time they took.
fn side_by_side(threads: usize, repeats: usize) -> Result<(f64, f64)> {
    let (mut cluster, now, context, ids) = among(threads)?;
    let name = name(&cluster, context);
    let mut readers = Vec::new();
    for number in 0..threads {
        let from: SocketAddr = ([127, 0, 0, 1], 9).into();
        let conn = cluster.accept(now, from).ok_or("not accepted")?;
        let frames = frames(number, nowhere(number)?, &name, &ids, 0)?;
        readers.push((conn, frames, cluster.read_ahead()));
    }
    let cluster = Mutex::new(cluster);
    let begun = StdInstant::now();
    let spent = std::thread::scope(|scope| -> Result<Duration> {
        let cluster = &cluster;
        let each: Vec<_> = readers
            .into_iter()
            .map(|(conn, frames, mut ahead)| {
                scope.spawn(move || {
                    let mut progress = Progress::default();
                    for bytes in (0..repeats).flat_map(|_| frames.chunks(READ)) {
                        ahead.read(now, conn, &mut progress, bytes);
                        let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
                        cluster.handle_read(now, conn, bytes, &mut *ahead);
                        while cluster.poll_event().is_some() {}
                    }
                    thread_cpu()
                })
            })
            .collect();
        let mut spent = Duration::ZERO;
        for thread in each {
            spent += thread.join().map_err(|_| "a thread panicked")?;
        }
        Ok(spent)
    })?;
    let took = begun.elapsed().as_secs_f64();
    let total = threads * MADE * repeats;
    let cluster = cluster.into_inner().unwrap_or_else(PoisonError::into_inner);
    check(&cluster, context, total as u64)?;
    Ok((total as f64 / took, spent.as_secs_f64() / took))
}

fn check(cluster: &Cluster, context: ContextId, deltas: u64) -> Result<()> {
    let stats = cluster.manager(context).ok_or("no manager")?.stats();
    let received = stats.received.get(EventType::SessionDelta);
    match (received, stats.refused, stats.early_dropped) {
        (count, 0, 0) if count == deltas => Ok(()),
        other => Err(format!("{other:?}: received, refused, dropped of {deltas} deltas").into()),
    }
}

/// Runs one round; gives deltas a second and the node's processor time for each in microseconds.
fn round(readers: usize, options: u32, repeats: usize) -> Result<(f64, f64)> {
    let [port, others @ ..] = free_ports::<{ PEERS + 1 }>()?;
    let tuning = Tuning {
        readers,
        ..Tuning::default()
    };
    let (bound, channel) = local::channel(port, &others, tuning, 64 << 20)?;
    // Where the node looks whether a peer is there.
    let listeners: std::io::Result<Vec<_>> = others
        .iter()
        .map(|port| TcpListener::bind(("127.0.0.1", *port)))
        .collect();
    let listeners = listeners?;
    let cluster = Cluster::new(channel, ClusterConfig::default());
    let drain = |cluster: &mut Cluster, _| while cluster.poll_event().is_some() {};
    let node = bound.spawn(cluster, drain)?;
    let (context, ids) = node.with(|cluster, now| {
        cluster.start(now);
        sessions(cluster, now)
    })?;
    let ready = |cluster: &mut Cluster, _| {
        let ready = cluster.manager(context)?.state() == ManagerState::Ready;
        (ready && cluster.channel().members().count() == PEERS).then_some(())
    };
    node.wait_for(PATIENCE, ready)
        .ok_or("the manager is not ready, or a peer not a member")?;
    let name = node.inspect(|cluster| name(cluster, context));
    let frames: Result<Vec<_>> = listeners
        .iter()
        .enumerate()
        .map(|(number, listener)| {
            let at = listener.local_addr()?;
            frames(number, at, &name, &ids, options)
        })
        .collect();
    let frames = frames?;
    let sockets: std::io::Result<Vec<_>> = (0..PEERS)
        .map(|_| TcpStream::connect(("127.0.0.1", port)))
        .collect();
    let sockets = sockets?;
    let total = (PEERS * MADE * repeats) as u64;
    let before = cpu(libc::CLOCK_PROCESS_CPUTIME_ID) - thread_cpu();
    let begun = StdInstant::now();
    let peers_cpu = std::thread::scope(|scope| -> Result<Duration> {
        let mut threads = Vec::new();
        for (mut socket, frames) in sockets.iter().zip(&frames) {
            threads.push(scope.spawn(move || -> std::io::Result<Duration> {
                for _ in 0..repeats {
                    for bytes in frames.chunks(256 * 1024) {
                        socket.write_all(bytes)?;
                    }
                }
                Ok(thread_cpu())
            }));
            if options != 0 {
                let mut socket = socket;
                threads.push(scope.spawn(move || acknowledgements(&mut socket, repeats)));
            }
        }
        let mut spent = Duration::ZERO;
        for thread in threads {
            spent += thread.join().map_err(|_| "a peer panicked")??;
        }
        Ok(spent)
    })?;
    arrived(&node, context, total)?;
    let took = begun.elapsed();
    let spent = cpu(libc::CLOCK_PROCESS_CPUTIME_ID) - thread_cpu() - before - peers_cpu;
    node.inspect(|cluster| check(cluster, context, total))?;
    drop(sockets);
    let stopped = |cluster: &Cluster| cluster.channel().is_stopped();
    node.shutdown(PATIENCE, |cluster, now| cluster.stop(now), stopped);
    let each = spent.as_nanos() as f64 / 1e3 / total as f64;
    Ok((total as f64 / took.as_secs_f64(), each))
}

fn arrived(node: &Handle<Cluster>, context: ContextId, total: u64) -> Result<()> {
    let begun = StdInstant::now();
    loop {
        let count = node.inspect(|cluster| {
            let manager = cluster.manager(context);
            manager.map_or(0, |manager| {
                manager.stats().received.get(EventType::SessionDelta)
            })
        });
        if count >= total {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{count} of {total} deltas have arrived").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads the answers to all that one peer writes: one ACK for each, nothing else.
fn acknowledgements(socket: &mut &TcpStream, repeats: usize) -> std::io::Result<Duration> {
    let mut left = MADE * repeats;
    let mut answers = vec![0; ACK_FRAME.len() * 1000];
    while left > 0 {
        let count = left.min(1000);
        let answers = &mut answers[..count * ACK_FRAME.len()];
        socket.read_exact(answers)?;
        if answers
            .chunks(ACK_FRAME.len())
            .any(|answer| answer != ACK_FRAME)
        {
            return Err(std::io::Error::other("an answer is no ACK"));
        }
        left -= count;
    }
    Ok(thread_cpu())
}

/// Measures and prints two tables.
///
/// # Errors
/// A delta was lost.
pub fn run(words: &[&str]) -> Result<()> {
    let quick = words.contains(&"--quick");
    let rounds = if quick { 3 } else { 5 };
    let repeats = if quick { 25 } else { 100 };
    let processors = std::thread::available_parallelism()?.get();
    let shares = shares()?;
    let [decode, apply] = shares.decoded;
    let [ahead, rest] = shares.applied;
    println!("| one delta of 1 KiB, without sockets | ns of processor time |\n|---|---:|");
    println!("| all by the engine | {:.0} |", shares.alone);
    println!("| decoded ahead, by any thread | {decode:.0} |");
    println!("| then applied and answered by the engine, under its lock | {apply:.0} |");
    println!("| decoded and applied ahead, under the lock of a shard | {ahead:.0} |");
    println!("| then answered by the engine, under its lock | {rest:.0} |");
    println!(
        "\nSo no more than {:.1} threads could be busy with decoding alone, and {:.1} are with applying. Without sockets and peers:\n",
        (decode + apply) / apply,
        (ahead + rest) / rest
    );
    println!("| threads | deltas/s | of one thread's | processors used |\n|---:|---:|---:|---:|");
    let mut of_one = f64::NAN;
    for threads in 1..=processors.min(4) {
        let measured: Result<Vec<_>> = (0..rounds)
            .map(|_| side_by_side(threads, repeats * 4))
            .collect();
        let measured = measured?;
        let (rate, used) = (median(&measured, |m| m.0), median(&measured, |m| m.1));
        if threads == 1 {
            of_one = rate;
        }
        println!(
            "| {threads} | {rate:.0} | {:.2} | {used:.2} |",
            rate / of_one
        );
    }
    println!("\n{PEERS} peers, {processors} processors, medians of {rounds} alternating rounds:\n");
    println!(
        "| options | reading threads | deltas/s | of the driver thread's | CPU µs each |\n|---|---:|---:|---:|---:|"
    );
    for options in [0, 6] {
        let mut measured: Vec<(usize, Vec<(f64, f64)>)> = (0..=processors.min(4))
            .map(|readers| (readers, Vec::new()))
            .collect();
        for _ in 0..rounds {
            for (readers, rounds) in &mut measured {
                rounds.push(round(*readers, options, repeats)?);
            }
        }
        let mut base = f64::NAN;
        for (readers, rounds) in measured {
            let (rate, cpu) = (median(&rounds, |r| r.0), median(&rounds, |r| r.1));
            let who = match readers {
                0 => {
                    base = rate;
                    "none: the driver thread".to_owned()
                }
                count => count.to_string(),
            };
            println!(
                "| {options} | {who} | {rate:.0} | {:.2} | {cpu:.2} |",
                rate / base
            );
        }
    }
    Ok(())
}
