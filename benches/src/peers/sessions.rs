//! Sessions: deltas of one session, and the state of all to a node that joins.

use std::process::Command;
use std::time::{Duration, Instant};

use super::Options;
use super::report::{Line, Report};
use super::side::{Figures, Tools, redis_cli, redis_server, wait_for_replica};
use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::process::Process;

/// Bytes of the attribute.
const SIZE: usize = 1024;
const NAMES: [&str; 2] = ["Tomcat", "Folkmoot"];

/// Two nodes of one kind that share a session.
struct Pair {
    sender: Process,
    receiver: Process,
}

impl Pair {
    fn start(tools: &Tools, ours: bool, options: u32) -> Result<Self> {
        let [a, b] = free_ports()?;
        let start = |port: u16, other: u16| {
            let directory = tools.scratch.join(format!("delta-{ours}-{port}"));
            let mut command = node(tools, ours, [port, other], 0, &directory, options, 0)?;
            Process::start(
                NAMES[usize::from(ours)],
                &mut command,
                &directory.with_extension("log"),
            )
        };
        let mut pair = Self {
            sender: start(a, b)?,
            receiver: start(b, a)?,
        };
        for process in [&mut pair.sender, &mut pair.receiver] {
            process.expect("READY", PATIENCE)?;
        }
        Ok(pair)
    }

    fn round(&mut self, count: u64) -> Result<Figures> {
        self.receiver.tell(&format!("expect {count}"))?;
        self.receiver.expect("OK", PATIENCE)?;
        let cpu = self.sender.cpu_nanos()? + self.receiver.cpu_nanos()?;
        let began = Instant::now();
        self.sender.tell(&format!("deltas {count} {SIZE}"))?;
        let sent = self.sender.expect("SENT", PATIENCE)?;
        self.receiver.expect("RECEIVED", PATIENCE)?;
        let took = began.elapsed();
        let cpu = self.sender.cpu_nanos()? + self.receiver.cpu_nanos()? - cpu;
        Ok(Figures {
            rate: count as f64 / took.as_secs_f64(),
            cpu: cpu as f64 / 1e3 / count as f64,
            latencies: sent.iter().skip(2).map(|n| *n as f64 / 1e3).collect(),
            sender_mib: self.sender.memory()?.peak_mib,
            receiver_mib: self.receiver.memory()?.peak_mib,
            ..Figures::default()
        })
    }
}

/// A node of either kind: with `options` 0 one that has `sessions` sessions or joins, else one that shares sessions with its
/// other and serves them at `http`.
pub(super) fn node(
    tools: &Tools,
    ours: bool,
    [port, other]: [u16; 2],
    sessions: u64,
    directory: &std::path::Path,
    options: u32,
    http: u16,
) -> Result<Command> {
    let mut command = match ours {
        true if options == 0 => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("node");
            command
        }
        true => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["web".to_owned(), port.to_string(), other.to_string()]);
            command.args([options.to_string(), http.to_string(), SIZE.to_string()]);
            return Ok(command);
        }
        false => tools.java()?.command("TomcatNode"),
    };
    let (sessions, options) = match options {
        0 => (sessions.to_string(), 8),
        _ => ("-1".to_owned(), options),
    };
    command
        .args([port, other].map(|port| port.to_string()))
        .args([sessions, SIZE.to_string()])
        .arg(directory)
        .args([options.to_string(), http.to_string()]);
    Ok(command)
}

/// Deltas of 1 KiB with options 6 and 8, one caller.
///
/// # Errors
/// A node failed or lost a delta.
pub fn deltas(options: &Options, tools: &Tools, report: &mut Report) -> Result<()> {
    for (name, send_options, times, most) in [
        ("session delta 1 KiB, options 6", 6, 4.0, 7.5),
        ("session delta 1 KiB, options 8", 8, 20.0, 3.0),
    ] {
        if !options.wants(name) {
            continue;
        }
        let mut pairs = [
            Pair::start(tools, false, send_options)?,
            Pair::start(tools, true, send_options)?,
        ];
        let mut counts = [200; 2];
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..options.warm_up() + options.rounds {
            for (side, pair) in pairs.iter_mut().enumerate() {
                let figures = pair.round(counts[side])?;
                if round < options.warm_up() {
                    let fill = (figures.rate * options.round().as_secs_f64()) as u64;
                    counts[side] = fill.clamp(20, counts[side] * 50);
                } else {
                    rounds[side].push(figures);
                }
            }
        }
        let mut line = Line::new(name);
        line.unit = "delta";
        for (side, rounds) in rounds.iter().enumerate() {
            let middle = rounds.len() / 2;
            let mut by_rate: Vec<&Figures> = rounds.iter().collect();
            by_rate.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            let mut figures = by_rate
                .get(middle)
                .map_or_else(Figures::default, |f| (*f).clone());
            figures.cpu = median(rounds, |f| f.cpu);
            line.figures.push((NAMES[side].to_owned(), figures));
        }
        if let [(_, tomcat), (_, ours)] = &line.figures[..] {
            let (ratio, cpu) = (ours.rate / tomcat.rate, ours.cpu);
            let target = format!("rate ≥ {times} × Tomcat");
            line.judge(target, format!("{ratio:.2} ×"), ratio >= times);
            line.judge(format!("≤ {most} CPU µs"), format!("{cpu:.2}"), cpu <= most);
        }
        report.add(line);
        for pair in pairs {
            pair.sender.finish()?;
            pair.receiver.finish()?;
        }
    }
    Ok(())
}

/// One state transfer.
#[derive(Clone, Copy, Debug, Default)]
struct Transfer {
    seconds: f64,
    /// Peak memory beyond what the donor had before, and the joiner after.
    donor_mib: f64,
    joiner_mib: f64,
}

/// The state of 10,000 and of 100,000 sessions of 1 KiB, ours to ours and to Tomcat, Tomcat's to Tomcat, and Redis' full
/// synchronisation of as many keys.
///
/// # Errors
/// A node failed; one of ours, or a Tomcat that joins ours, has not got every session.
pub fn transfers(options: &Options, tools: &Tools, report: &mut Report) -> Result<()> {
    for sessions in [10_000, 100_000] {
        let name = format!("state transfer, {sessions} sessions");
        if !options.wants(&name) || (options.quick && sessions > 10_000) {
            continue;
        }
        let mut line = Line::new(name);
        line.unit = "transfer";
        let rounds = if sessions > 10_000 {
            options.rounds.min(3)
        } else {
            options.rounds
        };
        let mut seconds = Vec::new();
        let mut add = |line: &mut Line, name: &str, all: &[Transfer]| {
            let middle = median(all, |t| t.seconds);
            seconds.push((name.to_owned(), middle));
            let figures = Figures {
                rate: 1.0 / middle,
                sender_mib: median(all, |t| t.donor_mib),
                receiver_mib: median(all, |t| t.joiner_mib),
                ..Figures::default()
            };
            line.figures
                .push((format!("{name}: {:.0} ms", middle * 1e3), figures));
        };
        for (name, from_ours, to_ours) in [
            ("Tomcat to Tomcat", false, false),
            ("Folkmoot to Tomcat", true, false),
            ("Folkmoot to Folkmoot", true, true),
        ] {
            let mut donor = Donor::start(tools, from_ours, sessions)?;
            let mut all = Vec::new();
            for _ in 0..rounds {
                match donor.give(tools, to_ours)? {
                    Some(transfer) => all.push(transfer),
                    None if !from_ours => break,
                    None => return Err(format!("{name}: sessions were lost").into()),
                }
            }
            match all.is_empty() {
                true => line.judged.push(super::report::Judged {
                    target: format!("({name}, at its defaults)"),
                    figure: "nothing arrives".into(),
                    reached: true,
                }),
                false => add(&mut line, name, &all),
            }
            if name == "Folkmoot to Folkmoot" {
                let donor = median(&all, |t| t.donor_mib);
                let joiner = median(&all, |t| t.joiner_mib);
                for (who, mib) in [("donor", donor), ("joiner", joiner)] {
                    let target = format!("{who} ≤ 8 MiB beyond the data");
                    line.judge(target, format!("{mib:.1} MiB"), mib <= 8.0);
                }
            }
            donor.process.finish()?;
        }
        if tools.redis {
            let all = redis(tools, sessions, rounds)?;
            add(&mut line, "Redis full sync", &all);
            let of = |name: &str| {
                let found = seconds.iter().find(|(n, _)| n == name);
                found.map_or(f64::NAN, |(_, seconds)| *seconds)
            };
            let ratio = of("Folkmoot to Folkmoot") / of("Redis full sync");
            let target = "time ≤ 1/2 of Redis' full sync".to_owned();
            line.judge(target, format!("{ratio:.2} ×"), ratio <= 0.5);
        }
        report.add(line);
    }
    Ok(())
}

struct Donor {
    process: Process,
    ports: [u16; 2],
    sessions: u64,
}

impl Donor {
    fn start(tools: &Tools, ours: bool, sessions: u64) -> Result<Self> {
        let ports = free_ports()?;
        let directory = tools
            .scratch
            .join(format!("donor-{ours}-{sessions}-{}", ports[0]));
        let mut command = node(tools, ours, ports, sessions, &directory, 0, 0)?;
        let log = directory.with_extension("log");
        let mut process = Process::start(NAMES[usize::from(ours)], &mut command, &log)?;
        if process.expect("READY", PATIENCE)? != [sessions] {
            return Err("not all sessions were created".into());
        }
        Ok(Self {
            process,
            ports,
            sessions,
        })
    }

    /// To a fresh process; `None` if not all sessions came.
    fn give(&mut self, tools: &Tools, to_ours: bool) -> Result<Option<Transfer>> {
        let [port, other] = self.ports;
        let directory = tools.scratch.join(format!("joiner-{to_ours}-{other}"));
        let mut command = node(tools, to_ours, [other, port], 0, &directory, 0, 0)?;
        self.process.reset_peak()?;
        let before = self.process.memory()?.now_mib;
        let log = directory.with_extension("log");
        let mut joiner = Process::start(NAMES[usize::from(to_ours)], &mut command, &log)?;
        // Tomcat gives up after 60 s by itself.
        let [nanos, came] = joiner.expect("TRANSFERRED", PATIENCE)?[..] else {
            return Err("a joiner gave no figures".into());
        };
        let donor_mib = self.process.memory()?.peak_mib - before;
        let memory = joiner.memory()?;
        joiner.finish()?;
        Ok((came == self.sessions).then_some(Transfer {
            seconds: nanos as f64 / 1e9,
            donor_mib,
            joiner_mib: memory.peak_mib - memory.now_mib,
        }))
    }
}

/// A replica that joins a primary with as many keys, by the replica's log.
fn redis(tools: &Tools, keys: u64, rounds: usize) -> Result<Vec<Transfer>> {
    let [primary, replica] = free_ports()?;
    let server = redis_server(&tools.scratch, primary, None)?;
    let filled = redis_cli(
        primary,
        &[
            "debug",
            "populate",
            &keys.to_string(),
            "session",
            &SIZE.to_string(),
        ],
    )?;
    if !filled.contains("OK") {
        return Err(format!("redis: {filled}").into());
    }
    let mut all = Vec::new();
    for _ in 0..rounds {
        let log = tools.scratch.join(format!("redis-{replica}.log"));
        let joiner = redis_server(&tools.scratch, replica, Some(primary))?;
        wait_for_replica(replica)?;
        std::thread::sleep(Duration::from_millis(20));
        let said = std::fs::read_to_string(&log)?;
        let at = |what: &str| -> Result<f64> {
            let line = said.lines().rfind(|line| line.contains(what));
            let clock = line.and_then(|line| line.split_whitespace().nth(4));
            let clock = clock.ok_or_else(|| format!("redis did not say `{what}`"))?;
            let mut seconds = 0.0;
            for part in clock.split(':') {
                seconds = seconds * 60.0 + part.parse::<f64>()?;
            }
            Ok(seconds)
        };
        let took = at("Finished with success")? - at("sync started")?;
        all.push(Transfer {
            // Past midnight.
            seconds: took.rem_euclid(86_400.0),
            ..Transfer::default()
        });
        stop(replica, joiner)?;
        std::fs::remove_file(&log)?;
    }
    stop(primary, server)?;
    Ok(all)
}

fn stop(port: u16, server: Process) -> Result<()> {
    redis_cli(port, &["shutdown", "nosave"])?;
    server.finish()
}
