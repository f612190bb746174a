//! One end of a channel of ours, told what to do on standard input: the counterpart of `java/TribesPeer.java`.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use folkmoot_core::channel::{
    Body, ChannelEngine, ChannelEvent, ChannelListener, Inbound, Lane, MemberIndex, SendError,
    SendOptions, To, UniqueId, Verdict,
};
use folkmoot_core::time::Instant;
use folkmoot_mio::Handle;

use crate::tally::{LABEL, Tally, label};
use crate::{Result, local};

/// The bound of every wait; longer than any round.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// Who waits for the outcome of a message.
#[derive(Debug, Default)]
struct Waiting {
    by_id: Mutex<HashMap<UniqueId, Arc<Waiter>>>,
    /// Those whose outcome is known, to be woken when the engine is free again.
    settled: Mutex<Vec<Arc<Waiter>>>,
    any_settled: AtomicBool,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    settled: AtomicBool,
    faulty: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn insert(&self, id: UniqueId, waiter: &Arc<Waiter>) {
        lock(&self.by_id).insert(id, Arc::clone(waiter));
    }

    /// Drains what the channel has to tell.
    fn turn(&self, engine: &mut Engine) {
        while let Some(event) = engine.channel.poll_event() {
            match event {
                ChannelEvent::Sent { id, faulty } => {
                    let waiter = lock(&self.by_id).remove(&id);
                    if let Some(waiter) = waiter {
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
            for waiter in lock(&self.settled).drain(..) {
                waiter.settled.store(true, Ordering::Release);
                waiter.thread.unpark();
            }
        }
    }
}

/// A node at `port` whose only other member is at `other`.
fn start(port: u16, other: u16) -> Result<(Handle<Engine>, Arc<Waiting>)> {
    let (bound, channel) = local::channel(port, other)?;
    let waiting = Arc::new(Waiting::default());
    let engine = ChannelEngine::new(channel, Ticker::default());
    let (told, woken) = (Arc::clone(&waiting), Arc::clone(&waiting));
    let handle = bound.spawn_with(
        engine,
        move |engine: &mut Engine, _| told.turn(engine),
        move || woken.after(),
    )?;
    handle.with(|engine, now| engine.channel.start(now));
    Ok((handle, waiting))
}

/// Runs until standard input ends.
///
/// # Errors
/// No such port, or no member.
pub fn run(port: u16, other: u16) -> Result<()> {
    let (handle, waiting) = start(port, other)?;
    let member = handle
        .wait_for(PATIENCE, |engine, _| {
            engine.channel.members().next().map(|(index, _)| index)
        })
        .ok_or("the other process does not come")?;
    println!("READY");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["receive", threads, each] => {
                let tally = Tally::new(threads.parse()?, each.parse()?);
                handle.with(|engine, _| engine.listener.tally = tally);
                println!("OK");
            }
            ["send", threads, each, size, options] => {
                let round = Round {
                    handle: &handle,
                    waiting: &waiting,
                    member,
                    each: each.parse()?,
                    size: size.parse()?,
                    options: SendOptions::from_bits(options.parse()?),
                    faulty: AtomicU64::new(0),
                    full: AtomicU64::new(0),
                };
                std::thread::scope(|scope| {
                    for thread in 0..threads.parse()? {
                        scope.spawn({
                            let round = &round;
                            move || round.send(thread)
                        });
                    }
                    Ok::<_, std::num::ParseIntError>(())
                })?;
                println!(
                    "SENT {} {}",
                    round.faulty.into_inner(),
                    round.full.into_inner()
                );
            }
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

/// What all sending threads of a round share.
struct Round<'a> {
    handle: &'a Handle<Engine>,
    waiting: &'a Waiting,
    member: MemberIndex,
    each: u64,
    size: usize,
    options: SendOptions,
    faulty: AtomicU64,
    full: AtomicU64,
}

impl Round<'_> {
    fn send(&self, thread: u32) {
        let mut message = vec![0; self.size.max(LABEL)];
        let acknowledged = self.options.contains(SendOptions::USE_ACK)
            && !self.options.contains(SendOptions::ASYNCHRONOUS);
        for number in 0..self.each {
            label(&mut message, thread, number);
            let arrived = match acknowledged {
                true => self.send_and_wait(&message),
                false => self.post(&message, None).is_ok(),
            };
            if !arrived {
                self.faulty.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Queues a message; waits while the member's queue is full.
    fn post(
        &self,
        message: &[u8],
        waiter: Option<&Arc<Waiter>>,
    ) -> std::result::Result<(), SendError> {
        let attempt = |engine: &mut Engine, now: Instant| {
            let to = To::Member(self.member);
            let sent =
                engine
                    .channel
                    .send(now, to, self.options, Lane::Any, Body::Borrowed(message));
            // Under the same lock: the outcome cannot come before somebody waits for it.
            if let (Ok(id), Some(waiter)) = (sent, waiter) {
                self.waiting.insert(id, waiter);
            }
            sent.map(|_| ())
        };
        match self.handle.with(attempt) {
            Err(SendError::QueueFull(_)) => {
                self.full.fetch_add(1, Ordering::Relaxed);
                self.handle
                    .wait_for(PATIENCE, |engine, now| match attempt(engine, now) {
                        Err(SendError::QueueFull(_)) => None,
                        outcome => Some(outcome),
                    })
                    .unwrap_or(Err(SendError::QueueFull(self.member)))
            }
            outcome => outcome,
        }
    }

    /// Sends a message and waits for its ACK.
    fn send_and_wait(&self, message: &[u8]) -> bool {
        let waiter = Arc::new(Waiter {
            thread: std::thread::current(),
            settled: AtomicBool::new(false),
            faulty: AtomicBool::new(false),
        });
        if self.post(message, Some(&waiter)).is_err() {
            return false;
        }
        while !waiter.settled.load(Ordering::Acquire) {
            std::thread::park();
        }
        !waiter.faulty.load(Ordering::Relaxed)
    }
}
