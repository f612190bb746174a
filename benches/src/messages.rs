//! Messages: rate and CPU time, delivery and order verified.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::java::Java;
use crate::process::Process;

/// About how long a round of messages takes.
const ROUND: Duration = Duration::from_secs(2);
/// Bytes of a message.
const SIZE: usize = 512;

/// A workload: its name, send options, sending threads and the messages of the first warm-up round in all.
struct Workload {
    name: &'static str,
    options: u32,
    threads: u32,
    first: u64,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "options 8, one caller",
        options: 8,
        threads: 1,
        first: 100_000,
    },
    Workload {
        name: "options 6, one caller",
        options: 6,
        threads: 1,
        first: 5_000,
    },
    Workload {
        name: "options 6, 16 callers",
        options: 6,
        threads: 16,
        first: 32_000,
    },
];

/// The two processes of one side.
struct Pair {
    name: &'static str,
    sender: Process,
    receiver: Process,
}

/// One round as measured.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    per_second: f64,
    cpu_micros: f64,
    overtaken: u64,
    full: u64,
}

/// Prints a table of messages per second and CPU time per message.
///
/// # Errors
/// A process failed, or a message was lost or doubled.
pub fn compare(java: &Java, scratch: &Path, rounds: usize) -> Result<()> {
    let exe = std::env::current_exe()?;
    let mut pairs = [
        Pair::start("Tribes", scratch, || java.command("TribesPeer"))?,
        Pair::start("Folkmoot", scratch, || {
            let mut command = Command::new(&exe);
            command.arg("peer");
            command
        })?,
    ];
    println!();
    println!(
        "| {SIZE}-byte messages on loopback | side | messages/s | CPU µs/message | overtaken | waits for room |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for workload in &WORKLOADS {
        let mut counts = [workload.first; 2];
        let mut measured = [Vec::new(), Vec::new()];
        // Three warm-up rounds: compilers compile, and each side finds the number of messages that fills a round.
        for round in 0..rounds + 3 {
            for (side, pair) in pairs.iter_mut().enumerate() {
                let result = pair.round(workload, counts[side])?;
                if round < 3 {
                    let fill = result.per_second * ROUND.as_secs_f64();
                    counts[side] = (fill as u64).max(workload.first);
                } else {
                    measured[side].push(result);
                }
            }
        }
        let [tribes, ours] = measured.map(|rounds| Measured {
            per_second: median(&rounds, |r| r.per_second),
            cpu_micros: median(&rounds, |r| r.cpu_micros),
            overtaken: median(&rounds, |r| r.overtaken as f64) as u64,
            full: median(&rounds, |r| r.full as f64) as u64,
        });
        for (pair, result) in pairs.iter().zip([tribes, ours]) {
            println!(
                "| {} | {} | {:.0} | {:.2} | {} | {} |",
                workload.name,
                pair.name,
                result.per_second,
                result.cpu_micros,
                result.overtaken,
                result.full
            );
        }
        println!(
            "| | ratio | {:.1} x | 1/{:.1} | | |",
            ours.per_second / tribes.per_second,
            tribes.cpu_micros / ours.cpu_micros
        );
    }
    for pair in pairs {
        pair.sender.finish()?;
        pair.receiver.finish()?;
    }
    Ok(())
}

impl Pair {
    fn start(name: &'static str, scratch: &Path, command: impl Fn() -> Command) -> Result<Self> {
        let [a, b] = free_ports()?;
        let start = |role: &str, port: u16, other: u16| {
            let mut command = command();
            command.args([port.to_string(), other.to_string()]);
            let name = format!("{name} {role}");
            Process::start(&name, &mut command, &scratch.join(format!("{name}.log")))
        };
        let mut sender = start("sender", a, b)?;
        let mut receiver = start("receiver", b, a)?;
        sender.expect("READY", PATIENCE)?;
        receiver.expect("READY", PATIENCE)?;
        Ok(Self {
            name,
            sender,
            receiver,
        })
    }

    /// Sends about `count` messages and waits until the last has been ticked off.
    fn round(&mut self, workload: &Workload, count: u64) -> Result<Measured> {
        let Workload {
            name,
            options,
            threads,
            ..
        } = workload;
        let each = count / u64::from(*threads);
        self.receiver.tell(&format!("receive {threads} {each}"))?;
        self.receiver.expect("OK", PATIENCE)?;
        let cpu = self.sender.cpu_micros()? + self.receiver.cpu_micros()?;
        let began = Instant::now();
        self.sender
            .tell(&format!("send {threads} {each} {SIZE} {options}"))?;
        let sent = self.sender.expect("SENT", PATIENCE)?;
        let received = self.receiver.expect("RECEIVED", PATIENCE)?;
        let took = began.elapsed();
        let cpu = self.sender.cpu_micros()? + self.receiver.cpu_micros()? - cpu;
        let (faulty, full) = (sent.first().copied(), sent.get(1).copied());
        let [overtaken, doubled] = received[..] else {
            return Err(format!("{}: a report without figures", self.name).into());
        };
        if faulty != Some(0) || doubled != 0 {
            return Err(format!(
                "{}, {name}: {faulty:?} faulty, {doubled} doubled",
                self.name
            )
            .into());
        }
        let total = (each * u64::from(*threads)) as f64;
        Ok(Measured {
            per_second: total / took.as_secs_f64(),
            cpu_micros: cpu as f64 / total,
            overtaken,
            full: full.unwrap_or_default(),
        })
    }
}
