//! One end of a channel of ours, told what to do on standard input: the counterpart of `java/TribesPeer.java`.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::BufRead as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use folkmoot_core::channel::{
    Body, ChannelEngine, ChannelEvent, ChannelListener, Inbound, Lane, MemberIndex, SendError,
    SendOptions, To, UniqueId, Verdict,
};
use folkmoot_core::time::Instant;
use folkmoot_mio::{Handle, Tuning};
use folkmoot_uring::Driver;

use crate::latency::Latencies;
use crate::tally::{LABEL, Tally, label};
use crate::{Result, allocations, local};

/// The bound of every wait; longer than any round.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that may wait for a member here: few enough to stay in the processor's cache, as a sender that waits for room wants it.
pub const QUEUE_BYTES: usize = 4 << 20;

/// Ticks messages off and reports when all are there.
#[derive(Debug, Default)]
pub struct Ticker {
    tally: Tally,
}

impl ChannelListener for Ticker {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        if let Some(report) = self.tally.tick(message.message) {
            println!("RECEIVED {} {}", report.overtaken, report.doubled);
        }
        Verdict::Processed
    }
}

/// A channel that ticks off what it receives.
pub type Engine = ChannelEngine<Ticker>;

/// The ids are random: any eight bytes of one are as good as a hash.
#[derive(Debug, Default)]
struct Random(u64);

impl Hasher for Random {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Who waits for the outcome of a message.
#[derive(Debug, Default)]
struct Waiting {
    by_id: Mutex<HashMap<UniqueId, Arc<Waiter>, BuildHasherDefault<Random>>>,
    /// How many do.
    under_way: AtomicUsize,
    /// A task has been woken since its thread last looked.
    task_woken: AtomicBool,
    /// The thread of the tasks, which sleeps in the handle where the driver thread has kept the queue.
    of_tasks: Mutex<Option<Thread>>,
    /// Those whose outcome is known, to be woken when the engine is free again.
    settled: Mutex<Vec<Arc<Waiter>>>,
    /// Those that are being woken.
    telling: Mutex<Vec<Arc<Waiter>>>,
    any_settled: AtomicBool,
}

/// A caller that waits: a thread, or a task by its waker.
#[derive(Debug)]
struct Waiter {
    thread: Option<Thread>,
    task: Mutex<Option<Waker>>,
    settled: AtomicBool,
    faulty: AtomicBool,
}

impl Waiter {
    fn new(thread: Option<Thread>) -> Arc<Self> {
        Arc::new(Self {
            thread,
            task: Mutex::new(None),
            settled: AtomicBool::new(false),
            faulty: AtomicBool::new(false),
        })
    }

    /// Before the next message.
    fn reset(&self) {
        self.settled.store(false, Ordering::Relaxed);
        self.faulty.store(false, Ordering::Relaxed);
    }

    /// Wakes the caller; whether it is a task.
    fn settle(&self) -> bool {
        self.settled.store(true, Ordering::Release);
        match &self.thread {
            Some(thread) => thread.unpark(),
            None => {
                if let Some(task) = lock(&self.task).take() {
                    task.wake();
                }
            }
        }
        self.thread.is_none()
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut task = lock(&self.task);
        if self.settled.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *task = Some(context.waker().clone());
        Poll::Pending
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn insert(&self, id: UniqueId, waiter: &Arc<Waiter>) {
        lock(&self.by_id).insert(id, Arc::clone(waiter));
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Drains what the channel has to tell.
    fn turn(&self, engine: &mut Engine) {
        while let Some(event) = engine.channel.poll_event() {
            match event {
                ChannelEvent::Sent { id, faulty } => {
                    let waiter = lock(&self.by_id).remove(&id);
                    if let Some(waiter) = waiter {
                        self.under_way.fetch_sub(1, Ordering::Relaxed);
                        waiter.faulty.store(!faulty.is_empty(), Ordering::Relaxed);
                        lock(&self.settled).push(waiter);
                        self.any_settled.store(true, Ordering::Release);
                    }
                }
                ChannelEvent::Lost {
                    messages, cause, ..
                } => eprintln!("lost {messages}: {cause}"),
                ChannelEvent::BadInput { from, reason } => eprintln!("{from}: {reason}"),
                _ => {}
            }
        }
    }

    /// The engine is free: wakes those who waited.
    fn after(&self) {
        if self.any_settled.swap(false, Ordering::Acquire) {
            let mut telling = lock(&self.telling);
            // Woken without the lock that the next turn needs.
            std::mem::swap(&mut *lock(&self.settled), &mut *telling);
            let mut tasks = false;
            for waiter in telling.drain(..) {
                tasks |= waiter.settle();
            }
            if tasks {
                self.task_woken.store(true, Ordering::Release);
                // The task's waker knows of its runtime only.
                if let Some(thread) = &*lock(&self.of_tasks) {
                    thread.unpark();
                }
            }
        }
    }
}

/// A node at `port` whose other members are at `others`.
fn start(
    port: u16,
    others: &[u16],
    tuning: Tuning,
    queue: usize,
    driver: Driver,
) -> Result<(Handle<Engine>, Arc<Waiting>)> {
    let (bound, channel) = local::channel(port, others, tuning, queue)?;
    let waiting = Arc::new(Waiting::default());
    let engine = ChannelEngine::new(channel, Ticker::default());
    let (told, woken) = (Arc::clone(&waiting), Arc::clone(&waiting));
    let handle = folkmoot_uring::spawn_with(
        bound,
        driver,
        engine,
        move |engine: &mut Engine, _| told.turn(engine),
        move || woken.after(),
    )?;
    handle.with(|engine, now| engine.channel.start(now));
    Ok((handle, waiting))
}

/// Runs until standard input ends. `words` are our port, the others' ports, and settings: `spin=MICROS`,
/// `lend=MICROS`, `within=MICROS` and `commands=COUNT` for what is joined, `read=KIB` for the read buffer, `queue=KIB` for the bytes that may
/// wait for a member, `ring=WHAT` for io_uring and what the ring does beyond the default: `default`, `from` (every stream is in it),
/// `accept`, `send`, `whole`.
///
/// # Errors
/// No such port, or no member.
pub fn run(words: &[&str]) -> Result<()> {
    allocations::count();
    let mut tuning = Tuning::default();
    let mut queue = QUEUE_BYTES;
    let mut driver = Driver::Auto;
    let mut ports = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some(("spin", micros)) => tuning.spin = Duration::from_micros(micros.parse()?),
            Some(("lend", micros)) => tuning.lend = Duration::from_micros(micros.parse()?),
            Some(("within", micros)) => {
                tuning.coalesce_within = Duration::from_micros(micros.parse()?);
            }
            Some(("commands", count)) => tuning.coalesce_commands = count.parse()?,
            Some(("read", kib)) => tuning.read_buffer = kib.parse::<usize>()? * 1024,
            Some(("queue", kib)) => queue = kib.parse::<usize>()? * 1024,
            Some(("ring", what)) => {
                driver = Driver::IoUring;
                match what {
                    "default" => {}
                    "from" => tuning.ring_from = 0,
                    "accept" => tuning.ring_accept = true,
                    "send" => tuning.ring_send = true,
                    "whole" => tuning = tuning.with_ring(),
                    _ => return Err(format!("`{word}`?").into()),
                }
            }
            Some(_) => return Err(format!("`{word}`?").into()),
            None => ports.push(word.parse()?),
        }
    }
    let (port, others) = ports.split_first().ok_or("no port")?;
    let (handle, waiting) = start(*port, others, tuning, queue, driver)?;
    let members: Arc<[MemberIndex]> = handle
        .wait_for(PATIENCE, |engine, _| {
            let members = engine.channel.members().map(|(index, _)| index);
            (engine.channel.member_count() == others.len()).then(|| members.collect())
        })
        .ok_or("the other processes do not come")?;
    println!("READY");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["receive", threads, each, ..] => {
                let tally = Tally::new(threads.parse()?, each.parse()?);
                handle.with(|engine, _| engine.listener.tally = tally);
                println!("OK");
            }
            [kind @ ("send" | "tasks"), callers, each, size, options] => {
                let round = Arc::new(Round {
                    handle: handle.clone(),
                    waiting: Arc::clone(&waiting),
                    members: Arc::clone(&members),
                    each: each.parse()?,
                    size: size.parse()?,
                    options: SendOptions::from_bits(options.parse()?),
                    faulty: AtomicU64::new(0),
                    full: AtomicU64::new(0),
                    latencies: Mutex::default(),
                });
                match *kind {
                    "send" => round.threads(callers.parse()?),
                    _ => round.tasks(callers.parse()?)?,
                }
                println!(
                    "SENT {} {} {}",
                    round.faulty.load(Ordering::Relaxed),
                    round.full.load(Ordering::Relaxed),
                    lock(&round.latencies).report(),
                );
            }
            ["trim"] => {
                trim();
                println!("TRIMMED");
            }
            ["allocations"] => println!("ALLOCATIONS {}", allocations::so_far()),
            ["stats"] => eprintln!(
                "{:?}\n{:?}",
                handle.driver_stats(),
                handle.inspect(|e| *e.channel.stats())
            ),
            _ => return Err(format!("`{line}`?").into()),
        }
    }
    handle.shutdown(
        PATIENCE,
        |engine, now| engine.channel.stop(now),
        |engine| engine.channel.is_stopped(),
    );
    Ok(())
}

/// Messages from here on are handed over as shared memory, which the channel writes from where it lies; shorter ones it copies anyway.
const SHARED_FROM: usize = 64 * 1024;

/// The messages of one caller.
struct Messages {
    caller: u32,
    size: usize,
    copied: Vec<u8>,
    /// Those that are on their way first, those that can be used again last.
    shared: VecDeque<Bytes>,
}

impl Messages {
    fn new(caller: u32, size: usize) -> Self {
        let size = size.max(LABEL);
        Self {
            caller,
            size,
            copied: vec![0; if size < SHARED_FROM { size } else { 0 }],
            shared: VecDeque::new(),
        }
    }

    /// The message with this number. As many shared ones are kept as have been on their way at once.
    fn next(&mut self, number: u64) -> Body<'_> {
        if self.size < SHARED_FROM {
            label(&mut self.copied, self.caller, number);
            return Body::Borrowed(&self.copied);
        }
        let mut message = match self.shared.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(message)) => message,
            Some(Err(used)) => {
                self.shared.push_front(used);
                BytesMut::zeroed(self.size)
            }
            None => BytesMut::zeroed(self.size),
        };
        label(&mut message, self.caller, number);
        let message = message.freeze();
        self.shared.push_back(message.clone());
        Body::Shared(message)
    }
}

/// Gives back what messages of other rows have left in the allocator.
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer, and may be made at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What all callers of a round share.
struct Round {
    handle: Handle<Engine>,
    waiting: Arc<Waiting>,
    members: Arc<[MemberIndex]>,
    each: u64,
    size: usize,
    options: SendOptions,
    faulty: AtomicU64,
    full: AtomicU64,
    latencies: Mutex<Latencies>,
}

impl Round {
    /// One thread for each caller.
    fn threads(&self, callers: u32) {
        std::thread::scope(|scope| {
            for caller in 0..callers {
                scope.spawn(move || self.send(caller));
            }
        });
    }

    /// One task for each caller, all on this thread.
    fn tasks(self: &Arc<Self>, callers: u32) -> Result<()> {
        let parked = Arc::clone(self);
        *lock(&self.waiting.of_tasks) = Some(std::thread::current());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || parked.drive())
            .build()?;
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for caller in 0..callers {
                let round = Arc::clone(self);
                tasks.spawn(async move { round.send_from_task(caller).await });
            }
            tasks.join_all().await;
        });
        Ok(())
    }

    /// No task can go on: does the driver's work until one can.
    fn drive(&self) {
        let waiting = &self.waiting;
        self.handle.drive_until(|| {
            waiting.task_woken.swap(false, Ordering::Acquire)
                || waiting.under_way.load(Ordering::Relaxed) == 0
        });
    }

    fn acknowledged(&self) -> bool {
        self.options.contains(SendOptions::USE_ACK)
            && !self.options.contains(SendOptions::ASYNCHRONOUS)
    }

    fn send(&self, caller: u32) {
        let mut messages = Messages::new(caller, self.size);
        let acknowledged = self.acknowledged();
        let waiter = Waiter::new(Some(std::thread::current()));
        let mut latencies = Latencies::default();
        for number in 0..self.each {
            let message = messages.next(number);
            let arrived = match acknowledged {
                true => {
                    let began = std::time::Instant::now();
                    let arrived = self.send_and_wait(message, &waiter);
                    latencies.add(nanos(began.elapsed()));
                    arrived
                }
                false => self.post(message, None, false).is_ok(),
            };
            if !arrived {
                self.faulty.fetch_add(1, Ordering::Relaxed);
            }
        }
        lock(&self.latencies).merge(&latencies);
    }

    async fn send_from_task(&self, caller: u32) {
        let mut messages = Messages::new(caller, self.size);
        let waiter = Waiter::new(None);
        let mut latencies = Latencies::default();
        for number in 0..self.each {
            let message = messages.next(number);
            let began = std::time::Instant::now();
            waiter.reset();
            let sent = self.post(message, Some(&waiter), true).is_ok();
            if sent {
                std::future::poll_fn(|context| waiter.poll(context)).await;
            }
            latencies.add(nanos(began.elapsed()));
            if !sent || waiter.faulty.load(Ordering::Relaxed) {
                self.faulty.fetch_add(1, Ordering::Relaxed);
            }
        }
        lock(&self.latencies).merge(&latencies);
    }

    /// Queues a message; waits while a member's queue is full. A task leaves the writing to the next wait of its thread.
    fn post(
        &self,
        message: Body<'_>,
        waiter: Option<&Arc<Waiter>>,
        task: bool,
    ) -> std::result::Result<(), SendError> {
        let attempt = |engine: &mut Engine, now: Instant| {
            let to = To::Members(&self.members);
            let sent = engine
                .channel
                .send(now, to, self.options, Lane::Any, message.clone());
            // Under the same lock: the outcome cannot come before somebody waits for it.
            if let (Ok(id), Some(waiter)) = (sent, waiter) {
                self.waiting.insert(id, waiter);
            }
            sent.map(|_| ())
        };
        let outcome = match task {
            true => self.handle.with_more(attempt),
            false => self.handle.with(attempt),
        };
        match outcome {
            Err(full @ SendError::QueueFull(_)) => {
                self.full.fetch_add(1, Ordering::Relaxed);
                self.handle
                    .wait_for(PATIENCE, |engine, now| match attempt(engine, now) {
                        Err(SendError::QueueFull(_)) => None,
                        outcome => Some(outcome),
                    })
                    .unwrap_or(Err(full))
            }
            outcome => outcome,
        }
    }

    /// Sends a message and waits for its ACK.
    fn send_and_wait(&self, message: Body<'_>, waiter: &Arc<Waiter>) -> bool {
        waiter.reset();
        if self.post(message, Some(waiter), false).is_err() {
            return false;
        }
        self.handle
            .wait_until(|| waiter.settled.load(Ordering::Acquire))
            && !waiter.faulty.load(Ordering::Relaxed)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
