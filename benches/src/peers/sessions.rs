//! Sessions: deltas of one session, and the state of all to a node that joins.

use std::process::Command;
use std::time::Instant;

use super::report::{Line, Report};
use super::rows::{BASE, Place, Row, Side};
use super::side::{Figures, Running, Tools, redis_cli, redis_server, wait_for_replica};
use super::{Options, absolute, derived, twice};
use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::latency::PER_MILLE;
use crate::process::Process;

/// Bytes of the attribute.
pub(super) const SIZE: usize = 1024;
const NAMES: [&str; 2] = ["Tomcat", "Folkmoot"];

/// Two nodes of one kind that share a session.
pub(super) struct Pair {
    sender: Process,
    receiver: Process,
}

impl Pair {
    /// The ids of both nodes.
    pub(super) fn ids(&self) -> Vec<u32> {
        vec![self.sender.id(), self.receiver.id()]
    }

    pub(super) fn start(tools: &Tools, ours: bool, options: u32) -> Result<Self> {
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
        let mut sender = start(a, b)?;
        if !ours {
            started(&mut sender)?;
        }
        let receiver = start(b, a)?;
        Ok(Self { sender, receiver })
    }

    pub(super) fn ready(&mut self, ours: bool) -> Result<()> {
        if !ours {
            started(&mut self.receiver)?;
        }
        for process in [&mut self.sender, &mut self.receiver] {
            process.expect("READY", PATIENCE)?;
        }
        Ok(())
    }

    /// Both on one processor, or wherever.
    pub(super) fn place(&self, processor: Option<usize>) -> Result<()> {
        self.sender.pin(processor)?;
        self.receiver.pin(processor)
    }

    pub(super) fn round(&mut self, count: u64) -> Result<Figures> {
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

/// Waits until a Tomcat has started. Its other is to be started after that: two that start at the same time may each wait a minute for the
/// other's sessions.
pub(super) fn started(tomcat: &mut Process) -> Result<()> {
    tomcat.expect("STARTED", PATIENCE).map(drop)
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

/// A row of deltas.
#[derive(Clone, Copy, Debug)]
pub struct Delta {
    /// For tables.
    pub name: &'static str,
    /// Send options, as a number.
    pub options: u32,
    /// At least so many times Tomcat's rate.
    pub times: f64,
    /// At most so many CPU microseconds.
    pub most: f64,
    /// What the raw loop took where that was derived.
    pub derived: f64,
}

/// All of them.
pub const DELTAS: [Delta; 2] = [
    Delta {
        name: "session delta 1 KiB, options 6, one core",
        options: 6,
        times: 4.0,
        most: 7.5,
        derived: derived::PING_PONG,
    },
    Delta {
        name: "session delta 1 KiB, options 8",
        options: 8,
        times: 20.0,
        most: 3.0,
        derived: derived::JOINED_1_KIB,
    },
];

/// The raw loop that a row of deltas is compared with: messages of as many bytes.
pub(super) fn raw_row(options: u32) -> Row {
    Row {
        options,
        size: SIZE,
        place: if options == 6 {
            Place::OneCore
        } else {
            Place::Free
        },
        ..BASE
    }
}

/// Deltas of 1 KiB with options 6 and 8, one caller; with 6 both ends on one core, as the row of messages it is compared with.
pub fn deltas(options: &Options, tools: &Tools, report: &mut Report) {
    for delta in DELTAS {
        let Delta {
            name,
            options: send_options,
            times,
            most,
            derived,
        } = delta;
        if !options.wants(name) {
            continue;
        }
        let began = Instant::now();
        let targets = [
            format!("rate ≥ {times} × Tomcat"),
            format!("≤ {most} CPU µs"),
        ];
        let line = match twice(name, || delta_rounds(options, tools, send_options)) {
            Ok(figures) => {
                let mut line = Line::new(name);
                line.unit = "delta";
                let [tomcat, ours, raw] = &figures;
                let ratio = ours.rate / tomcat.rate;
                let [rate, least] = targets;
                line.judge(rate, format!("{ratio:.2} ×"), ratio >= times);
                let (figure, verdict) = absolute(ours.cpu, Some(raw.cpu), most, derived, "");
                line.give(least, figure, verdict);
                let names = NAMES.into_iter().chain([Side::Raw.name()]);
                line.figures = names.map(str::to_owned).zip(figures).collect();
                line
            }
            Err(error) => Line::failed(name, targets.into_iter(), &error.to_string()),
        };
        report.add(line);
        eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// All rounds of a row of deltas; the medians of Tomcat, of ours, and of the raw loop.
fn delta_rounds(options: &Options, tools: &Tools, send_options: u32) -> Result<[Figures; 3]> {
    let mut pairs = [
        Pair::start(tools, false, send_options)?,
        Pair::start(tools, true, send_options)?,
    ];
    for (pair, ours) in pairs.iter_mut().zip([false, true]) {
        pair.ready(ours)?;
    }
    let mut sockets = Running::start(tools, Side::Raw, 1)?;
    let row = raw_row(send_options);
    let mut counts = [200; 3];
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..options.warm_up() + options.rounds {
        for side in 0..rounds.len() {
            let figures = match pairs.get_mut(side) {
                Some(pair) => {
                    // Threads that have come since the last round as well.
                    pair.place((send_options == 6).then_some(0))?;
                    pair.round(counts[side])?
                }
                None => {
                    sockets.place(row.place)?;
                    sockets.round(&row, counts[side], options.round())?
                }
            };
            if round < options.warm_up() {
                let next = match round + 1 < options.warm_up() {
                    true => options.warm_up_round(side == 0),
                    false => options.round(),
                };
                let fill = (figures.rate * next.as_secs_f64()) as u64;
                counts[side] = fill.clamp(20, counts[side] * 50);
            } else {
                rounds[side].push(figures);
            }
        }
    }
    for pair in pairs {
        pair.sender.finish()?;
        pair.receiver.finish()?;
    }
    Ok(rounds.map(|rounds| {
        let mut by_rate: Vec<&Figures> = rounds.iter().collect();
        by_rate.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let middle = by_rate.get(rounds.len() / 2);
        Figures {
            cpu: median(&rounds, |f| f.cpu),
            ..middle.map_or_else(Figures::default, |f| (*f).clone())
        }
    }))
}

/// One state transfer.
#[derive(Clone, Copy, Debug, Default)]
struct Transfer {
    seconds: f64,
    /// Peak memory beyond what the donor had before, and the joiner after.
    donor_mib: f64,
    joiner_mib: f64,
}

/// From whom to whom.
const DIRECTIONS: [(&str, bool, bool); 3] = [
    ("Tomcat to Tomcat", false, false),
    ("Folkmoot to Tomcat", true, false),
    ("Folkmoot to Folkmoot", true, true),
];
const REDIS: &str = "Redis full sync";

/// The state of 10,000 and of 100,000 sessions of 1 KiB, ours to ours and to Tomcat, Tomcat's to Tomcat, and Redis' full
/// synchronisation of as many keys. A node of ours, or a Tomcat that joins ours, that has not got every session fails the row.
pub fn transfers(options: &Options, tools: &Tools, report: &mut Report) {
    for (name, sessions) in TRANSFERS {
        if !options.wants(name) {
            continue;
        }
        if options.quick && sessions > 10_000 {
            let mut line = Line::new(name);
            for (target, ..) in TARGETS {
                line.not_measured(target, "left out of --quick");
            }
            report.add(line);
            continue;
        }
        let rounds = match sessions {
            10_000 => options.rounds,
            _ => options.rounds.min(3),
        };
        let with_java = if options.quick { 1 } else { rounds };
        let began = Instant::now();
        let measured = twice(name, || transfer(tools, name, sessions, rounds, with_java));
        report.add(measured.unwrap_or_else(|error| {
            let targets = TARGETS.iter().map(|(target, ..)| (*target).to_owned());
            Line::failed(name, targets, &error.to_string())
        }));
        eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// The rows of state transfers.
pub const TRANSFERS: [(&str, u64); 2] = [
    ("state transfer, 10,000 sessions", 10_000),
    ("state transfer, 100,000 sessions", 100_000),
];

/// What a transfer is to reach: how it is called, how much, and the unit.
const TARGETS: [(&str, f64, &str); 3] = [
    ("time ≤ 1/2 of Redis' full sync", 0.5, "×"),
    ("donor ≤ 8 MiB beyond the data", 8.0, "MiB"),
    ("joiner ≤ 8 MiB beyond the data", 8.0, "MiB"),
];

/// Tomcats, whose start takes longer than the transfer, take part in `with_java` of the rounds.
fn transfer(
    tools: &Tools,
    name: &str,
    sessions: u64,
    rounds: usize,
    with_java: usize,
) -> Result<Line> {
    let mut line = Line::new(name);
    line.unit = "transfer";
    let mut donors = Vec::new();
    for (_, ours, to_ours) in DIRECTIONS {
        // To a Tomcat and to ours the same node of ours gives.
        donors.push(match to_ours {
            true => None,
            false => Some(Donor::start(tools, ours, sessions)?),
        });
    }
    for donor in donors.iter_mut().flatten() {
        donor.ready()?;
    }
    let primary = match tools.redis {
        true => Some(Primary::start(tools, sessions)?),
        false => None,
    };
    let mut all: Vec<Vec<Transfer>> = vec![Vec::new(); DIRECTIONS.len() + 1];
    let mut nothing = false;
    for round in 0..rounds {
        for (number, (name, from_ours, to_ours)) in DIRECTIONS.into_iter().enumerate() {
            let java = !(from_ours && to_ours);
            if (nothing && !from_ours) || (java && round >= with_java) {
                continue;
            }
            let giving = if to_ours { number - 1 } else { number };
            let Some(donor) = donors.get_mut(giving).and_then(Option::as_mut) else {
                return Err(format!("{name}: nobody gives").into());
            };
            match donor.give(tools, to_ours)? {
                Some(transfer) => all[number].push(transfer),
                None if !from_ours => nothing = true,
                None => return Err(format!("{name}: sessions were lost").into()),
            }
        }
        if let Some(primary) = &primary {
            all[DIRECTIONS.len()].push(primary.give(tools)?);
        }
    }
    let names = DIRECTIONS.iter().map(|(name, ..)| *name).chain([REDIS]);
    for (name, all) in names.zip(&all).filter(|(_, all)| !all.is_empty()) {
        line.figures.push((name.to_owned(), figures(all)));
    }
    if nothing {
        line.notes.push(
            "a Tomcat that joins a Tomcat, at its defaults, does not get all sessions".into(),
        );
    }
    let (ours, redis) = (&all[2], &all[3]);
    let ratio = median(ours, |t| t.seconds) / median(redis, |t| t.seconds);
    let values = [
        ratio,
        median(ours, |t| t.donor_mib),
        median(ours, |t| t.joiner_mib),
    ];
    for ((target, most, unit), value) in TARGETS.into_iter().zip(values) {
        match value.is_nan() {
            true => line.not_measured(target, "Redis is not there"),
            false => line.judge(target.into(), format!("{value:.2} {unit}"), value <= most),
        }
    }
    for donor in donors.into_iter().flatten() {
        donor.process.finish()?;
    }
    if let Some(primary) = primary {
        stop(primary.port, primary.server)?;
    }
    Ok(line)
}

/// Medians; the times of all as latencies.
fn figures(all: &[Transfer]) -> Figures {
    let mut micros: Vec<f64> = all.iter().map(|t| t.seconds * 1e6).collect();
    micros.sort_by(f64::total_cmp);
    let last = micros.len().saturating_sub(1);
    let at = |per_mille: u64| micros.get((last as u64 * per_mille).div_ceil(1000) as usize);
    Figures {
        rate: 1.0 / median(all, |t| t.seconds),
        latencies: PER_MILLE.iter().filter_map(|p| at(*p).copied()).collect(),
        sender_mib: median(all, |t| t.donor_mib),
        receiver_mib: median(all, |t| t.joiner_mib),
        ..Figures::default()
    }
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
        Ok(Self {
            process: Process::start(NAMES[usize::from(ours)], &mut command, &log)?,
            ports,
            sessions,
        })
    }

    fn ready(&mut self) -> Result<()> {
        match self.process.expect("READY", PATIENCE)? == [self.sessions] {
            true => Ok(()),
            false => Err("not all sessions were created".into()),
        }
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

/// A Redis with as many keys as there are sessions, and the port its replicas use, one after the other.
struct Primary {
    server: Process,
    port: u16,
    replica: u16,
}

impl Primary {
    fn start(tools: &Tools, keys: u64) -> Result<Self> {
        let [port, replica] = free_ports()?;
        let server = redis_server(&tools.scratch, port, None)?;
        let (keys, size) = (keys.to_string(), SIZE.to_string());
        let filled = redis_cli(port, &["debug", "populate", &keys, "session", &size])?;
        match filled.contains("OK") {
            true => Ok(Self {
                server,
                port,
                replica,
            }),
            false => Err(format!("redis: {filled}").into()),
        }
    }

    /// To a fresh replica, by its log.
    fn give(&self, tools: &Tools) -> Result<Transfer> {
        let joiner = redis_server(&tools.scratch, self.replica, Some(self.port))?;
        wait_for_replica(self.replica)?;
        let log = tools.scratch.join(format!("redis-{}/log", self.replica));
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
        stop(self.replica, joiner)?;
        Ok(Transfer {
            // Past midnight.
            seconds: took.rem_euclid(86_400.0),
            ..Transfer::default()
        })
    }
}

fn stop(port: u16, server: Process) -> Result<()> {
    redis_cli(port, &["shutdown", "nosave"])?;
    server.finish()
}
