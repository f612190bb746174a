//! `folkmoot bench`: what messages cost between these hosts, and which settings to try.

mod advice;
mod round;
mod wire;

use std::error::Error;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use folkmoot::{Cluster, Member, StaticMember, Tuning, UniqueId};

use round::{Case, Round};

/// The bound of every wait for members.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that may wait at a member for its counting thread.
const WAITING_MAX: usize = 1 << 20;

/// What `folkmoot bench` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Hold still and count what others send: to be started on the other hosts first.
    #[arg(long)]
    serve: bool,
    /// Our address, as the other hosts reach it.
    #[arg(long, default_value = "127.0.0.1:4100")]
    listen: SocketAddr,
    /// The address of another host's `folkmoot bench --serve`; once for each. Without, members are started on this machine.
    #[arg(long = "member")]
    members: Vec<SocketAddr>,
    /// How many members are started on this machine if none are named.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    local: u16,
    /// Tomcat's channelSendOptions to measure: 6 waits until every member has processed a message, 8 does not wait.
    #[arg(long, value_delimiter = ',', default_value = "6,8")]
    send_options: Vec<u32>,
    /// Bytes of a message.
    #[arg(long, value_delimiter = ',', default_value = "512,65536")]
    sizes: Vec<usize>,
    /// Callers at once; more than 32 are tasks of one thread, fewer are threads.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    callers: Vec<usize>,
    /// Seconds for each combination.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Microseconds that the driver looks for input before it sleeps; measured as well as without.
    #[arg(long, default_value_t = 50)]
    spin: u64,
}

/// Measures, or serves until standard input ends.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.serve {
        return serve(arguments);
    }
    check(arguments)?;
    let mut local = Vec::new();
    let members = match arguments.members.is_empty() {
        false => arguments.members.clone(),
        true => start_local(arguments, &mut local)?,
    };
    println!(
        "{} to {} member{}; every figure of CPU is user and system time of all hosts' processes\n",
        arguments.listen,
        members.len(),
        if members.len() == 1 { "" } else { "s" }
    );
    println!(
        "| options | bytes | callers | spin µs | messages/s | p50 µs | p99 µs | p99.9 µs | CPU µs | memory here MiB | at members MiB | waits for room |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut rounds: Vec<Round> = Vec::new();
    let spins = match arguments.spin {
        0 => vec![0],
        spin => vec![0, spin],
    };
    for spin in spins {
        let cluster = start(arguments.listen, &members, spin)?;
        let others = together(&cluster, members.len())?;
        let reports = wire::Reports::new(&cluster);
        for case in cases(arguments, spin) {
            let round = round::measure(&cluster, &reports, &others, case, arguments.seconds)?;
            println!("{round}");
            rounds.push(round);
        }
        cluster.shutdown_blocking();
    }
    println!();
    for line in advice::of(&rounds) {
        println!("- {line}");
    }
    for mut child in local {
        // Its standard input ends with this process's hold on it.
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The combinations; the spin matters to those who wait.
fn cases(arguments: &Arguments, spin: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for options in &arguments.send_options {
        for size in &arguments.sizes {
            for callers in &arguments.callers {
                let case = Case {
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

fn check(arguments: &Arguments) -> Result<(), String> {
    if arguments.callers.iter().any(|n| !(1..=4096).contains(n)) {
        return Err("--callers takes 1 to 4096".into());
    }
    if arguments.sizes.iter().any(|n| !(16..=64 << 20).contains(n)) {
        return Err("--sizes takes 16 to 67108864".into());
    }
    if arguments
        .send_options
        .iter()
        .any(|o| !matches!(o, 0 | 2 | 6 | 8))
    {
        return Err("--send-options takes 0, 2, 6 and 8".into());
    }
    if !(0.05..=600.0).contains(&arguments.seconds) {
        return Err("--seconds takes 0.05 to 600".into());
    }
    if arguments.spin > 10_000 {
        return Err("--spin takes 0 to 10000 microseconds".into());
    }
    Ok(())
}

/// Members that count, as processes of this machine.
fn start_local(
    arguments: &Arguments,
    started: &mut Vec<Child>,
) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let addresses: Vec<SocketAddr> = (1..=arguments.local)
        .map(|number| SocketAddr::new(arguments.listen.ip(), arguments.listen.port() + number))
        .collect();
    for address in &addresses {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "--serve", "--listen", &address.to_string()])
            .args(["--member", &arguments.listen.to_string()])
            .args(["--spin", &arguments.spin.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("no standard output")?;
        started.push(child);
        let mut line = String::new();
        std::io::BufReader::new(said).read_line(&mut line)?;
        if !line.starts_with("counting") {
            return Err(format!("a member on {address} did not start").into());
        }
    }
    Ok(addresses)
}

/// The unique id of the node at `address`: every host makes the same.
fn unique_id(address: SocketAddr) -> UniqueId {
    let mut id = *b"folkmoot bench  ";
    let text = address.to_string();
    for (number, byte) in text.bytes().enumerate() {
        id[number % 16] = id[number % 16].rotate_left(3) ^ byte;
    }
    UniqueId(id)
}

fn start(listen: SocketAddr, members: &[SocketAddr], spin: u64) -> Result<Cluster, Box<dyn Error>> {
    let tuning = Tuning {
        spin: Duration::from_micros(spin),
        ..Tuning::default()
    };
    let cluster = Cluster::builder()
        .receiver_address(listen.ip())
        .receiver_port(listen.port())
        .auto_bind(1)
        .unique_id(unique_id(listen))
        .static_members(
            members
                .iter()
                .map(|member| StaticMember::new(*member, unique_id(*member))),
        )
        .ping_interval(Duration::from_millis(200))
        .tuning(tuning)
        .start()?;
    Ok(cluster)
}

/// Waits until all members are there.
fn together(cluster: &Cluster, count: usize) -> Result<Vec<Member>, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let members = cluster.members();
        if members.len() == count {
            return Ok(members);
        }
        if Instant::now() > until {
            return Err(format!(
                "{} of {count} members answer: start `folkmoot bench --serve --listen THEIRS --member {}` on the others",
                members.len(),
                cluster.receiver_address()
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn serve(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.members.is_empty() {
        return Err("--serve wants --member with the address of the host that measures".into());
    }
    let cluster = start(arguments.listen, &arguments.members, arguments.spin)?;
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
