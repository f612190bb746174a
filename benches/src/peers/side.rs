//! The processes of a side, and one round of them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::rows::{Place, Row, Side};
use crate::Result;
use crate::compare::{PATIENCE, free_ports};
use crate::java::Java;
use crate::process::Process;
use folkmoot_uring::Driver;

/// What the sides are started with.
#[derive(Debug)]
pub struct Tools {
    /// Tribes and Tomcat.
    pub java: Option<Java>,
    /// zenoh's program, if it could be built.
    pub zenoh: Option<std::path::PathBuf>,
    /// Whether the Redis server is there.
    pub redis: bool,
    /// Whether iperf3 is there.
    pub iperf: bool,
    /// Whether wrk is there.
    pub wrk: bool,
    /// For logs and state.
    pub scratch: std::path::PathBuf,
}

impl Tools {
    /// Only ours, and iperf3 if it is there.
    pub fn without_others(scratch: &Path) -> Self {
        Self {
            java: None,
            zenoh: None,
            redis: false,
            iperf: super::runs("iperf3", "--version", "iperf3"),
            wrk: false,
            scratch: scratch.to_owned(),
        }
    }

    /// Tribes and Tomcat.
    ///
    /// # Errors
    /// They were not wanted.
    pub fn java(&self) -> Result<&Java> {
        self.java.as_ref().ok_or_else(|| "no Java".into())
    }

    /// Whether a side can be measured.
    pub fn has(&self, side: Side) -> bool {
        match side {
            Side::Zenoh => self.zenoh.is_some(),
            Side::Redis => self.redis,
            Side::Iperf => self.iperf,
            Side::Tribes => self.java.is_some(),
            Side::Uring => folkmoot_uring::support().is_ok(),
            Side::Sends => folkmoot_uring::support().is_ok_and(|support| support.sends),
            Side::Bundles => folkmoot_uring::support()
                .is_ok_and(|support| support.incremental && support.bundles),
            Side::Ours
            | Side::Mio
            | Side::Tasks
            | Side::Spin
            | Side::Raw
            | Side::RawThreads
            | Side::RawSpin => true,
        }
    }
}

/// What one round, or the median of several, has shown.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages a second.
    pub rate: f64,
    /// User and system time of all processes, microseconds a message.
    pub cpu: f64,
    /// The same in the round that took least: other work only ever adds to it.
    pub cpu_least: f64,
    /// Latencies in microseconds at [`PER_MILLE`](crate::latency::PER_MILLE), if somebody waited.
    pub latencies: Vec<f64>,
    /// Messages that came after a later one of the same caller.
    pub overtaken: f64,
    /// How often a caller waited for room.
    pub full: f64,
    /// Peak memory of the sender in MiB.
    pub sender_mib: f64,
    /// Peak memory of the receivers in MiB, the largest.
    pub receiver_mib: f64,
    /// Allocations a message, of the end that has more; only of ours.
    pub allocations: Option<f64>,
}

/// The running processes of one side.
pub struct Running {
    side: Side,
    sender: Option<Process>,
    receivers: Vec<Process>,
    servers: Vec<Process>,
}

impl Running {
    /// Starts a side that sends to `members`.
    ///
    /// # Errors
    /// A program could not be started, or the members do not find each other.
    pub fn start(tools: &Tools, side: Side, members: usize) -> Result<Self> {
        let log = |role: &str| tools.scratch.join(format!("{side:?}-{members}-{role}.log"));
        let exe = std::env::current_exe()?;
        let mut running = Self {
            side,
            sender: None,
            receivers: Vec::new(),
            servers: Vec::new(),
        };
        match side {
            Side::Tribes
            | Side::Ours
            | Side::Mio
            | Side::Uring
            | Side::Sends
            | Side::Tasks
            | Side::Spin => {
                let command = || -> Result<Command> {
                    if side == Side::Tribes {
                        return Ok(tools.java()?.command("TribesPeer"));
                    }
                    let mut command = Command::new(&exe);
                    command.arg("peer");
                    let driver = match side {
                        Side::Uring => Driver::IoUring,
                        _ => Driver::Mio,
                    };
                    command.env(folkmoot_uring::ENVIRONMENT, driver.to_string());
                    Ok(command)
                };
                let [sender, a, b, c] = free_ports()?;
                let receivers = &[a, b, c][..members];
                let start = |role: &str, port: u16, others: &[u16]| {
                    let mut command = command()?;
                    command.arg(port.to_string());
                    command.args(others.iter().map(u16::to_string));
                    match side {
                        Side::Spin => drop(command.arg("spin=50")),
                        Side::Sends => drop(command.arg("ring=send")),
                        _ => {}
                    }
                    Process::start(&format!("{} {role}", side.name()), &mut command, &log(role))
                };
                running.sender = Some(start("sender", sender, receivers)?);
                for (number, port) in receivers.iter().enumerate() {
                    let receiver = start(&format!("receiver {number}"), *port, &[sender])?;
                    running.receivers.push(receiver);
                }
            }
            Side::Raw | Side::RawThreads | Side::RawSpin | Side::Bundles => {
                let [port] = free_ports()?;
                let start = |role: &str| {
                    let mut command = Command::new(&exe);
                    let program = if side == Side::Bundles {
                        "bundles"
                    } else {
                        "raw"
                    };
                    command.args([program, role, &port.to_string()]);
                    if side == Side::RawSpin {
                        command.arg("spin");
                    }
                    Process::start(&format!("{program} {role}"), &mut command, &log(role))
                };
                let mut receiver = start("receive")?;
                receiver.expect("READY", PATIENCE)?;
                running.receivers.push(receiver);
                let mut sender = start("send")?;
                sender.expect("READY", PATIENCE)?;
                running.sender = Some(sender);
                return Ok(running);
            }
            Side::Zenoh => {
                let [port] = free_ports()?;
                let program = tools.zenoh.as_ref().ok_or("zenoh was not built")?;
                let start = |role: &str| {
                    let mut command = Command::new(program);
                    command.args([role, &port.to_string()]);
                    Process::start(&format!("zenoh {role}"), &mut command, &log(role))
                };
                let mut receiver = start("receive")?;
                receiver.expect("READY", PATIENCE)?;
                running.receivers.push(receiver);
                let mut sender = start("send")?;
                sender.expect("READY", PATIENCE)?;
                running.sender = Some(sender);
                return Ok(running);
            }
            Side::Redis => {
                let [primary, replica] = free_ports()?;
                for (port, of) in [(primary, None), (replica, Some(primary))] {
                    running
                        .servers
                        .push(redis_server(&tools.scratch, port, of)?);
                }
                wait_for_replica(replica)?;
                let mut command = Command::new(&exe);
                command.args(["redis", &primary.to_string()]);
                running.sender = Some(Process::start("redis callers", &mut command, &log("send"))?);
            }
            Side::Iperf => return Ok(running),
        }
        if let Some(sender) = &mut running.sender {
            sender.expect("READY", PATIENCE)?;
        }
        for receiver in &mut running.receivers {
            receiver.expect("READY", PATIENCE)?;
        }
        Ok(running)
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.sender
            .iter()
            .chain(&self.receivers)
            .chain(&self.servers)
    }

    /// Two of ours with a setting of `peer`'s at both ends.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn tuned(scratch: &Path, setting: &str) -> Result<Self> {
        let [sender, receiver] = free_ports()?;
        let start = |role: &str, port: u16, other: u16| {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .env(folkmoot_uring::ENVIRONMENT, Driver::Mio.to_string())
                .args(["peer", &port.to_string(), &other.to_string(), setting]);
            let log = scratch.join(format!("{setting}-{role}.log"));
            Process::start(&format!("{setting} {role}"), &mut command, &log)
        };
        let mut running = Self {
            side: Side::Ours,
            sender: Some(start("sender", sender, receiver)?),
            receivers: vec![start("receiver", receiver, sender)?],
            servers: Vec::new(),
        };
        for process in running.sender.iter_mut().chain(&mut running.receivers) {
            process.expect("READY", PATIENCE)?;
        }
        Ok(running)
    }

    /// Allocations of each end so far; nothing for those that do not count theirs.
    fn allocations(&mut self) -> Result<Vec<u64>> {
        if self.side == Side::Tasks || !self.is_ours() {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for process in self.sender.iter_mut().chain(&mut self.receivers) {
            process.tell("allocations")?;
            all.extend(process.expect("ALLOCATIONS", PATIENCE)?);
        }
        Ok(all)
    }

    /// The ids of all its processes.
    pub fn ids(&self) -> Vec<u32> {
        self.all().map(Process::id).collect()
    }

    fn cpu_micros(&self) -> Result<f64> {
        let mut sum = 0.0;
        for process in self.all() {
            sum += process.cpu_nanos()? as f64 / 1e3;
        }
        Ok(sum)
    }

    /// Puts the processes where `place` says, threads that they will have included.
    ///
    /// # Errors
    /// The system refuses.
    pub fn place(&self, place: Place) -> Result<()> {
        let (first, second) = match place {
            Place::Free => (None, None),
            Place::OneCore => (Some(0), Some(0)),
            Place::OneEach => (Some(0), Some(1)),
        };
        for process in self.sender.iter() {
            process.pin(first)?;
        }
        for process in self.receivers.iter().chain(&self.servers) {
            process.pin(second)?;
        }
        Ok(())
    }

    /// Forgets the peaks of memory so far, and what earlier rows have left in our allocator: a row's peak is to be its own.
    ///
    /// # Errors
    /// A process has ended.
    pub fn reset_peaks(&mut self) -> Result<()> {
        if self.is_ours() {
            for process in self.sender.iter_mut().chain(&mut self.receivers) {
                process.tell("trim")?;
                process.expect("TRIMMED", PATIENCE)?;
            }
        }
        self.all().try_for_each(Process::reset_peak)
    }

    fn is_ours(&self) -> bool {
        matches!(
            self.side,
            Side::Ours | Side::Mio | Side::Uring | Side::Sends | Side::Tasks | Side::Spin
        )
    }

    /// Sends about `count` messages and waits until the last has arrived.
    ///
    /// # Errors
    /// A process failed; a message was lost or doubled.
    pub fn round(&mut self, row: &Row, count: u64, length: Duration) -> Result<Figures> {
        if self.side == Side::Iperf {
            return iperf(row.size, length);
        }
        let name = self.side.name();
        let (kind, callers) = match (row.tasks, self.side) {
            (true, Side::Ours | Side::Mio | Side::Uring | Side::Sends | Side::Spin) => {
                ("tasks", row.callers)
            }
            (true, Side::Tribes) => ("send", 16),
            (_, Side::Tasks) => ("tasks", row.callers),
            (_, Side::RawThreads) => ("threads", row.callers),
            _ => ("send", row.callers),
        };
        let each = (count / u64::from(callers)).max(1);
        let words = format!("{callers} {each} {} {}", row.size, row.options);
        for receiver in &mut self.receivers {
            receiver.tell(&format!("receive {words}"))?;
            receiver.expect("OK", PATIENCE)?;
        }
        let allocations = self.allocations()?;
        let cpu = self.cpu_micros()?;
        let began = Instant::now();
        let sender = self.sender.as_mut().ok_or("nobody sends")?;
        sender.tell(&format!("{kind} {words}"))?;
        let sent = sender.expect("SENT", PATIENCE)?;
        let [faulty, full, latencies @ ..] = &sent[..] else {
            return Err(format!("{name}: a report without figures").into());
        };
        let (mut overtaken, mut doubled) = (0, 0);
        for receiver in &mut self.receivers {
            if let [late, twice] = receiver.expect("RECEIVED", PATIENCE)?[..] {
                overtaken += late;
                doubled += twice;
            }
        }
        let took = began.elapsed();
        let cpu = self.cpu_micros()? - cpu;
        if *faulty != 0 || doubled != 0 {
            let what = format!("{name}, {}: {faulty} faulty, {doubled} doubled", row.name);
            return Err(what.into());
        }
        let total = (each * u64::from(callers)) as f64;
        let after = self.allocations()?;
        let more = after.iter().zip(&allocations).map(|(a, b)| a - b);
        let mut receiver_mib: f64 = 0.0;
        for process in self.receivers.iter().chain(&self.servers) {
            receiver_mib = receiver_mib.max(process.memory()?.peak_mib);
        }
        Ok(Figures {
            rate: total / took.as_secs_f64(),
            cpu: cpu / total,
            cpu_least: cpu / total,
            latencies: latencies.iter().map(|nanos| *nanos as f64 / 1e3).collect(),
            overtaken: overtaken as f64,
            full: *full as f64,
            sender_mib: match &self.sender {
                Some(sender) => sender.memory()?.peak_mib,
                None => 0.0,
            },
            receiver_mib,
            allocations: more.max().map(|most| most as f64 / total),
        })
    }

    /// Memory of one end that has nothing to do, in MiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn idle_mib(&self) -> Result<f64> {
        let process = self.receivers.first().ok_or("nobody receives")?;
        Ok(process.memory()?.now_mib)
    }
}

/// A Redis without persistence.
///
/// # Errors
/// It cannot be started.
pub fn redis_server(scratch: &Path, port: u16, replica_of: Option<u16>) -> Result<Process> {
    // Of its own and empty: a replica keeps what it got and would not ask for all of it again.
    let directory = scratch.join(format!("redis-{port}"));
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory)?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--repl-diskless-sync-delay", "0"])
        .args(["--enable-debug-command", "local"])
        .args(["--port", &port.to_string()])
        .args(["--dir", &directory.to_string_lossy()])
        .args(["--logfile", "log"]);
    if let Some(of) = replica_of {
        command.args(["--replicaof", "127.0.0.1", &of.to_string()]);
    }
    let server = Process::start(
        "redis",
        &mut command,
        &scratch.join(format!("redis-{port}.err")),
    )?;
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            return Err("redis does not come".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// What `redis-cli` says to `words`.
///
/// # Errors
/// It does not run.
pub fn redis_cli(port: u16, words: &[&str]) -> Result<String> {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until the replica has what its primary has.
///
/// # Errors
/// It does not in time.
pub fn wait_for_replica(port: u16) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !redis_cli(port, &["info", "replication"])?.contains("master_link_status:up") {
        if Instant::now() > until {
            return Err("the Redis replica does not come".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// One stream of iperf3 with writes of `size` bytes; its own word on CPU time.
fn iperf(size: usize, length: Duration) -> Result<Figures> {
    let [port] = free_ports()?;
    let port = port.to_string();
    let mut server = Command::new("iperf3")
        .args(["-s", "-1", "-B", "127.0.0.1", "-p", &port])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    // Short rounds by bytes, since its clock goes by seconds.
    let bound = match length.as_secs() {
        0 => ["-n", "512M"].map(str::to_owned),
        seconds => ["-t".to_owned(), seconds.to_string()],
    };
    let output = Command::new("iperf3")
        .args(["-c", "127.0.0.1", "-p", &port, "-J"])
        .args(&bound)
        .args(["-l", &size.to_string()])
        .output()?;
    if !output.status.success() {
        // It may still wait for a client.
        server.kill()?;
    }
    server.wait()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let end = &said["end"];
    let figure = |value: &serde_json::Value| value.as_f64().ok_or("iperf3 gave no figures");
    let bytes = figure(&end["sum_received"]["bytes"])?;
    let took = figure(&end["sum_received"]["seconds"])?;
    let cpu = &end["cpu_utilization_percent"];
    let cpu = figure(&cpu["host_total"])? + figure(&cpu["remote_total"])?;
    let messages = bytes / size as f64;
    let cpu = cpu / 100.0 * took * 1e6 / messages;
    Ok(Figures {
        rate: messages / took,
        cpu,
        cpu_least: cpu,
        ..Figures::default()
    })
}
