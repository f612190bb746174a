//! A node that writes sessions from 16 threads and says what was acknowledged, or holds them and says what it has: for
//! `tests/soak.rs`, which kills, stops and restarts such nodes meanwhile.

use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use folkmoot::{Cluster, DeltaManager, SendOptions, SessionId, StaticMember, Tuning};
use folkmoot_core::session::EventType;

use crate::{Result, local};

/// Threads that write, each its own session.
pub const CALLERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the attribute; its number is in front.
const SIZE: usize = 512;

fn id(caller: usize) -> SessionId {
    SessionId::from(format!("{caller:032X}").as_str())
}

/// What the callers have written, and what of it all members have acknowledged.
#[derive(Default)]
struct Writers {
    stop: AtomicBool,
    wrote: [AtomicU64; CALLERS],
    acknowledged: [AtomicU64; CALLERS],
    /// Writes that some member did not acknowledge, or that found a full queue.
    failed: AtomicU64,
    /// Callers at work.
    writing: AtomicU64,
}

/// Runs until standard input ends: our port and the others', and `ring` if a ring is to do all that it can.
///
/// | line | answer |
/// |---|---|
/// | `create` | `OK`: the sessions are there |
/// | `begin` | `OK`: all callers write until told to stop |
/// | `stop` | `OK`: no caller begins another write |
/// | `writing` | `WRITING` and how many callers are still at work |
/// | `acknowledged` | `ACKNOWLEDGED` and the last acknowledged number of each caller |
/// | `failed` | `FAILED` and how many writes were not acknowledged by all |
/// | `values` | `VALUES` and the number in each caller's session, 0 for none |
/// | `counters` | `COUNTERS`, ACKs received, messages received, members, deltas sent, deltas received |
///
/// # Errors
/// No such port, no state in time.
pub fn run(words: &[&str]) -> Result<()> {
    let mut tuning = Tuning::default();
    let mut ports: Vec<u16> = Vec::new();
    for word in words {
        match *word {
            "ring" => tuning = tuning.with_ring(),
            port => ports.push(port.parse()?),
        }
    }
    let (port, others) = ports.split_first().ok_or("no port")?;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let member =
        |port: &u16| StaticMember::new(SocketAddr::new(address, *port), local::unique_id(*port));
    let cluster = Cluster::builder()
        .receiver_address(address)
        .receiver_port(*port)
        .auto_bind(1)
        .tuning(tuning)
        .unique_id(local::unique_id(*port))
        .state_dir(std::env::temp_dir())
        .static_members(others.iter().map(member))
        .ping_interval(Duration::from_millis(200))
        .channel_send_options(SendOptions::from_bits(6))
        .start()?;
    let manager = cluster.delta_manager("/soak")?;
    if manager.wait_ready(PATIENCE).is_none() {
        return Err("no state in time".into());
    }
    println!("READY");
    let writers = Writers::default();
    std::thread::scope(|scope| {
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            match line.as_str() {
                "create" => {
                    for caller in 0..CALLERS {
                        let made = manager.create_session()?;
                        manager.change_session_id(&made, Some(&id(caller)))?;
                    }
                    println!("OK");
                }
                "begin" => {
                    writers.stop.store(false, Ordering::Release);
                    for caller in 0..CALLERS {
                        let (manager, writers) = (&manager, &writers);
                        writers.writing.fetch_add(1, Ordering::AcqRel);
                        scope.spawn(move || {
                            write(manager, writers, caller);
                            writers.writing.fetch_sub(1, Ordering::AcqRel);
                        });
                    }
                    println!("OK");
                }
                "stop" => {
                    writers.stop.store(true, Ordering::Release);
                    println!("OK");
                }
                "acknowledged" => {
                    println!("ACKNOWLEDGED {}", numbers(&writers.acknowledged));
                }
                "writing" => println!("WRITING {}", writers.writing.load(Ordering::Acquire)),
                "failed" => println!("FAILED {}", writers.failed.load(Ordering::Acquire)),
                "values" => {
                    let values: Vec<String> = (0..CALLERS)
                        .map(|caller| value(&manager, caller).to_string())
                        .collect();
                    println!("VALUES {}", values.join(" "));
                }
                "counters" => {
                    let (stats, sessions) = (cluster.stats(), manager.stats());
                    println!(
                        "COUNTERS {} {} {} {} {}",
                        stats.acks_received,
                        stats.messages_received,
                        cluster.members().len(),
                        sessions.sent.get(EventType::SessionDelta),
                        sessions.received.get(EventType::SessionDelta),
                    );
                }
                _ => return Err(format!("`{line}`?").into()),
            }
        }
        writers.stop.store(true, Ordering::Release);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    cluster.shutdown_blocking();
    Ok(())
}

fn numbers(all: &[AtomicU64; CALLERS]) -> String {
    let all: Vec<String> = all
        .iter()
        .map(|n| n.load(Ordering::Acquire).to_string())
        .collect();
    all.join(" ")
}

/// The number in front of the attribute.
fn value(manager: &DeltaManager, caller: usize) -> u64 {
    let value = manager.attribute(&id(caller), "n");
    let text = value.and_then(|value| value.as_string());
    let text = text.map(|text| text.to_string_lossy().into_owned());
    text.and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

fn write(manager: &DeltaManager, writers: &Writers, caller: usize) {
    let id = id(caller);
    while !writers.stop.load(Ordering::Acquire) {
        let number = writers.wrote[caller].fetch_add(1, Ordering::AcqRel) + 1;
        manager.access(&id);
        let text = format!("{number} {:x<SIZE$}", "");
        let sent = manager
            .set_attribute(&id, "n", text.as_str())
            .and_then(|_| manager.request_completed(&id));
        let acknowledged = match sent {
            Ok(Some(delivery)) => delivery.wait().is_complete(),
            _ => false,
        };
        if acknowledged {
            writers.acknowledged[caller].store(number, Ordering::Release);
        } else {
            writers.failed.fetch_add(1, Ordering::AcqRel);
            // Nobody is there, or a queue is full: not as fast as possible then.
            std::thread::sleep(Duration::from_millis(1));
        }
        manager.end_access(&id);
    }
}
