//! `folkmoot bench`: what messages cost between these hosts, and which settings to try.

mod advice;
mod arguments;
mod round;
mod wire;

use std::error::Error;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use folkmoot::{Cluster, Driver, Member, StaticMember, Tuning, UniqueId};

pub(crate) use arguments::Arguments;
use round::{Case, Round};

/// Measures, or serves until standard input ends.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    arguments.check()?;
    if arguments.serve {
        return serve(arguments);
    }
    let mut rounds: Vec<Round> = Vec::new();
    for (number, driver) in arguments.drivers.iter().enumerate() {
        let local = Local::start(arguments, *driver)?;
        let members = match &local {
            Some(local) => &local.addresses,
            None => &arguments.members,
        };
        if number == 0 {
            head(arguments, members.len());
        }
        for spin in arguments.spins() {
            let cluster = start(arguments, members, *driver, spin)?;
            let others = together(arguments, &cluster, members.len())?;
            let reports = wire::Reports::new(&cluster);
            for case in cases(arguments, *driver, spin) {
                let round = round::measure(&cluster, &reports, &others, case, arguments.bound())?;
                println!("{round}");
                rounds.push(round);
            }
            cluster.shutdown_blocking();
        }
        if let Some(local) = local {
            local.stop()?;
        }
    }
    println!();
    for line in advice::of(&rounds) {
        println!("- {line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn head(arguments: &Arguments, members: usize) {
    println!(
        "{} to {members} member{}; CPU is user and system time of all hosts' processes, a message\n",
        arguments.listen,
        if members == 1 { "" } else { "s" }
    );
    println!(
        "| driver | options | bytes | callers | spin µs | messages/s | p50 µs | p99 µs | p99.9 µs | CPU µs | memory here MiB | at members MiB | waits for room |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
}

/// The combinations; the spin matters to those who wait.
fn cases(arguments: &Arguments, driver: Driver, spin: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for options in &arguments.send_options {
        for size in &arguments.sizes {
            for callers in &arguments.callers {
                let case = Case {
                    driver,
                    options: *options,
                    size: *size,
                    callers: *callers,
                    spin,
                };
                if spin == 0 || case.waits() {
                    cases.push(case);
                }
            }
        }
    }
    cases
}

/// Members that count, as processes of this machine.
struct Local {
    children: Vec<Child>,
    addresses: Vec<SocketAddr>,
}

impl Local {
    /// Starts them, unless members were named.
    fn start(arguments: &Arguments, driver: Driver) -> Result<Option<Self>, Box<dyn Error>> {
        if !arguments.members.is_empty() {
            return Ok(None);
        }
        let mut local = Self {
            children: Vec::new(),
            addresses: arguments.local_addresses()?,
        };
        for address in &local.addresses {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["bench", "--serve", "--listen", &address.to_string()])
                .args(["--member", &arguments.listen.to_string()])
                .args(["--spin", &arguments.spin.to_string()])
                .args(["--drivers", &driver.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let said = child.stdout.take().ok_or("no standard output")?;
            local.children.push(child);
            let mut line = String::new();
            std::io::BufReader::new(said).read_line(&mut line)?;
            if !line.starts_with("counting") {
                // Why is on standard error, which is ours.
                return Err(format!("no member could be started at {address}").into());
            }
        }
        Ok(Some(local))
    }

    /// Ends them.
    fn stop(self) -> Result<(), Box<dyn Error>> {
        for mut child in self.children {
            // Its standard input ends with this process's hold on it.
            drop(child.stdin.take());
            child.wait()?;
        }
        Ok(())
    }
}

/// The unique id of the node at `address`: every host makes the same.
fn unique_id(address: SocketAddr) -> UniqueId {
    let mut id = *b"folkmoot bench  ";
    let text = address.to_string();
    for (byte, number) in text.bytes().zip((0..16).cycle()) {
        if let Some(place) = id.get_mut::<usize>(number) {
            *place = place.rotate_left(3) ^ byte;
        }
    }
    UniqueId(id)
}

fn start(
    arguments: &Arguments,
    members: &[SocketAddr],
    driver: Driver,
    spin: u64,
) -> Result<Cluster, Box<dyn Error>> {
    let tuning = Tuning {
        spin: Duration::from_micros(spin),
        ..Tuning::default()
    };
    let member = |member: &SocketAddr| StaticMember::new(*member, unique_id(*member));
    let cluster = Cluster::builder()
        .receiver_address(arguments.listen.ip())
        .receiver_port(arguments.listen.port())
        .auto_bind(1)
        .unique_id(unique_id(arguments.listen))
        .static_members(members.iter().map(member))
        .ping_interval(Duration::from_millis(200))
        .driver(driver)
        .tuning(tuning)
        .start()?;
    Ok(cluster)
}

/// Waits until all members are there.
fn together(arguments: &Arguments, cluster: &Cluster, count: usize) -> Result<Vec<Member>, String> {
    let until = Instant::now() + Duration::from_secs(arguments.wait);
    loop {
        let members = cluster.members();
        if members.len() == count {
            return Ok(members);
        }
        if Instant::now() > until {
            return Err(format!(
                "{} of {count} members answered within {} s: start `folkmoot bench --serve --listen THEIRS --member {}` on each of the others",
                members.len(),
                arguments.wait,
                cluster.receiver_address()
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn serve(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let driver = arguments.drivers.first().copied().unwrap_or_default();
    let cluster = start(arguments, &arguments.members, driver, arguments.spin)?;
    wire::count(&cluster);
    println!(
        "counting on {}; the end of standard input ends it",
        arguments.listen
    );
    for line in std::io::stdin().lock().lines() {
        line?;
    }
    cluster.shutdown_blocking();
    Ok(ExitCode::SUCCESS)
}
