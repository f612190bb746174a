//! What the measuring node and the counting ones say to each other, as byte messages.
//!
//! | first byte | from | what |
//! |---|---|---|
//! | 0 | measuring | a message to count |
//! | 1 | measuring | a question: what have you counted? |
//! | 2 | counting | the answer: messages, CPU µs, resident KiB, 8 bytes each |

use std::sync::mpsc;
use std::time::{Duration, Instant};

use folkmoot::{Cluster, Destination, Member, SendError, SendOptions, Verdict};
use folkmoot_core::channel::SendError as ChannelError;

/// The bound of every wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a question.
const QUESTION: usize = 16;

/// What a member has counted since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) messages: u64,
    pub(super) cpu_micros: u64,
    pub(super) resident_kib: u64,
}

/// Somebody who asks is a member after this time, if it ever is: a static member is checked every second.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// Counts what comes, on the thread that reads it; answers on a thread that lasts as long as the program.
pub(super) fn count(cluster: &Cluster) {
    let (ask, questions) = mpsc::channel();
    let mut counted = 0_u64;
    cluster.channel_listener(move |inbound| {
        match inbound.message.first() {
            Some(0) => counted += 1,
            // Somebody who asks without end would only fill his own member's queue with answers.
            Some(1) if ask.send((inbound.sender.clone(), counted)).is_err() => {
                return Verdict::Failed;
            }
            _ => {}
        }
        Verdict::Processed
    });
    let cluster = cluster.clone();
    std::thread::spawn(move || {
        for (sender, counted) in questions {
            let mut answer = vec![2];
            for figure in [counted, cpu_micros(), resident_kib()] {
                answer.extend_from_slice(&figure.to_be_bytes());
            }
            let answer = bytes::Bytes::from(answer);
            let to = [sender];
            let options = SendOptions::USE_ACK;
            // Whoever has just started may ask before it has been checked and is a member here.
            let until = Instant::now() + KNOWN_WITHIN;
            while let Err(error) = cluster.send(Destination::Members(&to), options, answer.clone())
            {
                if Instant::now() > until {
                    eprintln!("cannot answer: {error}");
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
}

/// The answers of the members.
pub(super) struct Reports {
    answers: mpsc::Receiver<Report>,
}

impl Reports {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let (sender, answers) = mpsc::channel();
        cluster.channel_listener(move |inbound| {
            let figure = |at: usize| {
                let bytes = inbound.message.get(at..)?.first_chunk()?;
                Some(u64::from_be_bytes(*bytes))
            };
            if inbound.message.first() == Some(&2)
                && let (Some(messages), Some(cpu_micros), Some(resident_kib)) =
                    (figure(1), figure(9), figure(17))
            {
                let report = Report {
                    messages,
                    cpu_micros,
                    resident_kib,
                };
                // Nobody may be asking any more.
                let _ = sender.send(report);
            }
            Verdict::Processed
        });
        Self { answers }
    }

    /// Asks all members; `options` those of the messages before, so that the question does not overtake them.
    pub(super) fn ask(
        &self,
        cluster: &Cluster,
        members: &[Member],
        options: SendOptions,
    ) -> Result<Report, String> {
        let until = Instant::now() + PATIENCE;
        let mut question = vec![0; QUESTION];
        question[0] = 1;
        let question = bytes::Bytes::from(question);
        loop {
            match cluster.send(Destination::Members(members), options, question.clone()) {
                Ok(delivery) => {
                    if let Some(delivery) = delivery {
                        // A member that did not take the question does not answer either.
                        delivery.wait();
                    }
                    break;
                }
                Err(SendError::Channel(ChannelError::QueueFull(_))) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut all = Report::default();
        for _ in members {
            let left = until.saturating_duration_since(Instant::now());
            let report = self
                .answers
                .recv_timeout(left)
                .map_err(|_| "a member does not answer; is it `folkmoot bench --serve`?")?;
            all.messages += report.messages;
            all.cpu_micros += report.cpu_micros;
            all.resident_kib = all.resident_kib.max(report.resident_kib);
        }
        Ok(all)
    }
}

/// User and system time of this process so far, in steps of the system's clock (10 ms).
pub(super) fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // USER_HZ, which every Linux that Rust runs on has at 100.
    ticks * 10_000
}

/// Resident memory of this process; 0 where the system does not say.
pub(super) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
