//! One combination of options, size and callers.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use folkmoot::{Cluster, Delivery, Destination, Driver, Member, SendError, SendOptions};
use folkmoot_core::channel::SendError as ChannelError;

use super::wire::{self, Reports};

/// More callers than this are tasks.
const THREADS_MAX: usize = 32;
/// Latencies kept of each caller.
const KEPT_MAX: usize = 1 << 16;

/// How much of a case is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// As much as fits into a time.
    Time(Duration),
    /// So many messages, whatever time they take.
    Messages(u64),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) driver: Driver,
    pub(super) options: u32,
    pub(super) size: usize,
    pub(super) callers: usize,
    pub(super) spin: u64,
}

impl Case {
    /// Whether callers wait for an answer.
    pub(super) fn waits(self) -> bool {
        SendOptions::from_bits(self.options).contains(SendOptions::USE_ACK)
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) case: Case,
    pub(super) per_second: f64,
    /// Microseconds at 50, 99 and 99.9 %, if callers waited.
    pub(super) latency: Option<[f64; 3]>,
    pub(super) cpu_micros: f64,
    pub(super) here_mib: f64,
    pub(super) there_mib: f64,
    pub(super) full: u64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            driver,
            options,
            size,
            callers,
            spin,
        } = self.case;
        let latency = match self.latency {
            Some([p50, p99, p999]) => format!("{p50:.1} | {p99:.1} | {p999:.1}"),
            None => " | | ".to_owned(),
        };
        write!(
            f,
            "| {driver} | {options} | {size} | {callers} | {spin} | {:.0} | {latency} | {:.2} | {:.1} | {:.1} | {} |",
            self.per_second, self.cpu_micros, self.here_mib, self.there_mib, self.full
        )
    }
}

/// What the callers of a round share.
struct Callers {
    cluster: Cluster,
    members: Vec<Member>,
    options: SendOptions,
    body: Bytes,
    until: Option<Instant>,
    /// How many more may be sent.
    left: AtomicI64,
    sent: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    latencies: Mutex<Vec<u32>>,
}

/// Sends as much as `bound` says and waits until all has arrived.
pub(super) fn measure(
    cluster: &Cluster,
    reports: &Reports,
    members: &[Member],
    case: Case,
    bound: Bound,
) -> Result<Round, String> {
    let options = SendOptions::from_bits(case.options);
    let before = reports.ask(cluster, members, options)?;
    let cpu = wire::cpu_micros();
    let began = Instant::now();
    let callers = Arc::new(Callers {
        cluster: cluster.clone(),
        members: members.to_vec(),
        options,
        body: vec![0; case.size].into(),
        until: match bound {
            Bound::Time(time) => Some(began + time),
            Bound::Messages(_) => None,
        },
        left: AtomicI64::new(match bound {
            Bound::Time(_) => i64::MAX,
            Bound::Messages(messages) => i64::try_from(messages).unwrap_or(i64::MAX),
        }),
        sent: AtomicU64::new(0),
        full: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        latencies: Mutex::default(),
    });
    match case.callers > THREADS_MAX {
        true => callers.tasks(case.callers)?,
        false => std::thread::scope(|scope| {
            for _ in 0..case.callers {
                let callers = &callers;
                scope.spawn(move || callers.thread());
            }
        }),
    }
    let after = reports.ask(cluster, members, options)?;
    let took = began.elapsed().as_secs_f64();
    let cpu = wire::cpu_micros() - cpu + (after.cpu_micros - before.cpu_micros);
    let sent = callers.sent.load(Ordering::Relaxed);
    let failed = callers.failed.load(Ordering::Relaxed);
    let counted = after.messages - before.messages;
    let wanted = sent * members.len() as u64;
    if failed > 0 || counted != wanted {
        return Err(format!(
            "options {}, {} bytes: {counted} of {wanted} messages arrived, {failed} were not acknowledged",
            case.options, case.size
        ));
    }
    let mut latencies = callers.latencies.lock().map_err(|_| "a caller panicked")?;
    latencies.sort_unstable();
    let at = |part: f64| {
        let place = (latencies.len() as f64 * part) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .copied()
    };
    let latency = match (at(0.5), at(0.99), at(0.999)) {
        (Some(p50), Some(p99), Some(p999)) => {
            Some([p50, p99, p999].map(|nanos| f64::from(nanos) / 1e3))
        }
        _ => None,
    };
    Ok(Round {
        case,
        per_second: sent as f64 / took,
        latency,
        cpu_micros: cpu as f64 / sent.max(1) as f64,
        here_mib: wire::resident_kib() as f64 / 1024.0,
        there_mib: after.resident_kib as f64 / 1024.0,
        full: callers.full.load(Ordering::Relaxed),
    })
}

/// What became of an attempt to send.
enum Attempt {
    /// It is on its way, and somebody will answer if there is a delivery.
    Sent(Option<Delivery>),
    /// A member's queue is full.
    Full,
    /// A member is gone.
    Failed,
}

impl Callers {
    /// Whether there is one more to send.
    fn takes_one(&self) -> bool {
        match self.until {
            Some(until) => Instant::now() < until,
            None => self.left.fetch_sub(1, Ordering::Relaxed) > 0,
        }
    }

    fn send(&self) -> Attempt {
        let to = Destination::Members(&self.members);
        match self.cluster.send(to, self.options, self.body.clone()) {
            Ok(delivery) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                Attempt::Sent(delivery)
            }
            Err(SendError::Channel(ChannelError::QueueFull(_))) => {
                self.full.fetch_add(1, Ordering::Relaxed);
                Attempt::Full
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Attempt::Failed
            }
        }
    }

    fn done(&self, complete: bool, began: Instant, kept: &mut Kept) {
        if !complete {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        kept.add(began.elapsed());
    }

    fn keep(&self, kept: Kept) {
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.extend(kept.nanos);
        }
    }

    fn thread(&self) {
        let mut kept = Kept::default();
        while self.takes_one() {
            let began = Instant::now();
            let delivery = loop {
                match self.send() {
                    Attempt::Sent(delivery) => break delivery,
                    // A member that takes nothing for some seconds loses what waits for it: this ends.
                    Attempt::Full => std::thread::sleep(Duration::from_micros(50)),
                    Attempt::Failed => return self.keep(kept),
                }
            };
            if let Some(delivery) = delivery {
                let complete = delivery.wait().is_complete();
                self.done(complete, began, &mut kept);
            }
        }
        self.keep(kept);
    }

    /// All on this thread.
    fn tasks(self: &Arc<Self>, callers: usize) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..callers {
                let callers = Arc::clone(self);
                tasks.spawn(async move { callers.task().await });
            }
            tasks.join_all().await;
        });
        Ok(())
    }

    async fn task(&self) {
        let mut kept = Kept::default();
        while self.takes_one() {
            let began = Instant::now();
            let delivery = loop {
                match self.send() {
                    Attempt::Sent(delivery) => break delivery,
                    Attempt::Full => tokio::time::sleep(Duration::from_millis(1)).await,
                    Attempt::Failed => return self.keep(kept),
                }
            };
            match delivery {
                Some(delivery) => {
                    let complete = delivery.await.is_complete();
                    self.done(complete, began, &mut kept);
                }
                // The others have their turn.
                None => tokio::task::yield_now().await,
            }
        }
        self.keep(kept);
    }
}

/// Latencies of one caller: all, or every second, fourth… of very many, so that memory has a bound.
#[derive(Default)]
struct Kept {
    nanos: Vec<u32>,
    /// One is kept of so many, as a power of two.
    thinned: u32,
    seen: u64,
}

impl Kept {
    fn add(&mut self, took: Duration) {
        self.seen += 1;
        if !self.seen.is_multiple_of(1 << self.thinned) {
            return;
        }
        self.nanos
            .push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        if self.nanos.len() == KEPT_MAX {
            let mut odd = false;
            self.nanos.retain(|_| {
                odd = !odd;
                odd
            });
            self.thinned += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_latencies_are_thinned_evenly() {
        let mut kept = Kept::default();
        let many = KEPT_MAX as u64 * 5;
        for nanos in 0..many {
            kept.add(Duration::from_nanos(nanos));
        }
        assert!(kept.nanos.len() < KEPT_MAX, "{}", kept.nanos.len());
        kept.nanos.sort_unstable();
        for part in [0.1, 0.5, 0.9] {
            let found = f64::from(kept.nanos[(kept.nanos.len() as f64 * part) as usize]);
            let wanted = many as f64 * part;
            assert!(
                (found / wanted - 1.0).abs() < 0.02,
                "{part}: {found} of {wanted}"
            );
        }
    }
}
