//! What the measuring node and the counting ones say to each other, as byte messages.
//!
//! | first byte | from | what |
//! |---|---|---|
//! | 0 | measuring | a message to count |
//! | 1 | measuring | a question: what have you counted? |
//! | 2 | counting | the answer: messages, CPU µs, resident KiB, 8 bytes each |

use std::sync::mpsc;
use std::time::Duration;

use folkmoot::{Cluster, Destination, Member, SendOptions};

use super::WAITING_MAX;

/// What a member has counted since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) messages: u64,
    pub(super) cpu_micros: u64,
    pub(super) resident_kib: u64,
}

/// Counts what comes, and answers, on a thread that lasts as long as the program.
pub(super) fn count(cluster: &Cluster) {
    let mut messages = cluster.messages(WAITING_MAX);
    let cluster = cluster.clone();
    std::thread::spawn(move || {
        let mut counted = 0_u64;
        while let Some(message) = messages.recv_blocking() {
            match message.body.first() {
                Some(0) => counted += 1,
                Some(1) => {
                    let mut answer = vec![2];
                    for figure in [counted, cpu_micros(), resident_kib()] {
                        answer.extend_from_slice(&figure.to_be_bytes());
                    }
                    let to = [message.sender];
                    let options = SendOptions::USE_ACK;
                    if let Err(error) = cluster.send(Destination::Members(&to), options, answer) {
                        eprintln!("cannot answer: {error}");
                    }
                }
                _ => {}
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
        let mut messages = cluster.messages(1024);
        std::thread::spawn(move || {
            while let Some(message) = messages.recv_blocking() {
                let figure = |at: usize| {
                    let bytes = message.body.get(at..)?.first_chunk()?;
                    Some(u64::from_be_bytes(*bytes))
                };
                if message.body.first() == Some(&2)
                    && let (Some(messages), Some(cpu_micros), Some(resident_kib)) =
                        (figure(1), figure(9), figure(17))
                    && sender
                        .send(Report {
                            messages,
                            cpu_micros,
                            resident_kib,
                        })
                        .is_err()
                {
                    return;
                }
            }
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
        loop {
            match cluster.send(Destination::Members(members), options, vec![1; 16]) {
                Ok(delivery) => {
                    if let Some(delivery) = delivery {
                        delivery.wait();
                    }
                    break;
                }
                Err(folkmoot::SendError::Channel(
                    folkmoot_core::channel::SendError::QueueFull(_),
                )) => std::thread::sleep(Duration::from_micros(100)),
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut all = Report::default();
        for _ in members {
            let report = self
                .answers
                .recv_timeout(Duration::from_secs(30))
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

/// Resident memory of this process.
pub(super) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
