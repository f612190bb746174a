//! The side-by-side run: every peer there is, the same workloads, round by round in turn.

pub mod http;
pub mod report;
pub mod rows;
pub mod sessions;
pub mod side;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::compare::median;
use crate::java::Java;
use crate::latency::PER_MILLE;
use report::{Line, Report};
use rows::{ROWS, Row, Side, Target};
use side::{Figures, Running, Tools};

/// What is asked for on the command line.
#[derive(Debug)]
pub struct Options {
    /// Short rounds, three of them, and the long state transfer left out.
    pub quick: bool,
    /// Measured rounds of each row; odd.
    pub rounds: usize,
    /// Only rows whose names contain one of these.
    pub only: Vec<String>,
    /// Where the HTML report goes.
    pub html: PathBuf,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
}

impl Options {
    /// Reads the words after `peers`.
    ///
    /// # Errors
    /// An unknown word.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            quick: false,
            rounds: 0,
            only: Vec::new(),
            html: PathBuf::from("peers.html"),
            json: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match *word {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only.push((*value()?).to_owned()),
                "--html" => options.html = PathBuf::from(value()?),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                other => {
                    return Err(format!(
                        "`{other}` is none of --quick, --rounds N, --only NAME, --html FILE, --json FILE"
                    )
                    .into());
                }
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 3 } else { 5 };
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    /// About how long a round lasts.
    fn round(&self) -> Duration {
        Duration::from_millis(if self.quick { 150 } else { 2000 })
    }

    /// Rounds before those that count: compilers compile, and each side finds what fills a round.
    fn warm_up(&self) -> usize {
        if self.quick { 2 } else { 3 }
    }
}

/// Measures and writes the reports.
///
/// # Errors
/// What is missing or went wrong; a lost or doubled message is an error.
pub fn run(options: &Options) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("folkmoot-peers-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let done = measure(options, &scratch);
    match &done {
        Ok(()) => std::fs::remove_dir_all(&scratch)?,
        Err(_) => eprintln!("logs are in {}", scratch.display()),
    }
    done
}

fn measure(options: &Options, scratch: &std::path::Path) -> Result<()> {
    let tools = prepare(scratch)?;
    let began = Instant::now();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let mut report = Report::new(format!(
        "{}; {processors} processors, load {} at the beginning; medians of {} rounds, in turn",
        tools.java()?.versions()?,
        load(),
        options.rounds
    ));
    let mut sides = BTreeMap::new();
    let mut idle = Vec::new();
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        for side in row.sides.iter().filter(|side| tools.has(**side)) {
            let Entry::Vacant(place) = sides.entry((*side, row.members)) else {
                continue;
            };
            let running = Running::start(&tools, *side, row.members)?;
            if matches!(side, Side::Tribes | Side::Ours) && row.members == 1 {
                // Heartbeats and checks have begun; nothing else has happened.
                std::thread::sleep(Duration::from_millis(500));
                idle.push((*side, running.idle_mib()?));
            }
            place.insert(running);
        }
        let figures = one_row(options, &tools, row, &mut sides)?;
        report.add(judge(row, &figures, &report));
    }
    drop(sides);
    if !idle.is_empty() {
        report.add(Line::memory(&idle));
    }
    sessions::deltas(options, &tools, &mut report)?;
    sessions::transfers(options, &tools, &mut report)?;
    http::requests(options, &tools, &mut report)?;
    report.took = began.elapsed();
    report.write(&options.html, options.json.as_deref())?;
    Ok(())
}

/// The system's load average of the last minute.
fn load() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

/// Finds and builds what the comparison needs; says in a line each what is left out.
fn prepare(scratch: &std::path::Path) -> Result<Tools> {
    let java = Java::prepare(scratch)?;
    Ok(Tools {
        java: Some(java),
        zenoh: match build_zenoh() {
            Ok(program) => Some(program),
            Err(error) => {
                eprintln!("left out: zenoh ({error})");
                None
            }
        },
        redis: runs("redis-server", "--version", "redis-server"),
        iperf: runs("iperf3", "--version", "iperf3"),
        wrk: runs("wrk", "--version", "wrk"),
        scratch: scratch.to_owned(),
    })
}

/// Whether a program is there; says so if not.
fn runs(program: &str, argument: &str, package: &str) -> bool {
    let there = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !there {
        eprintln!("left out: {program} (apt-get install {package})");
    }
    there
}

/// Builds zenoh's side, in its own workspace, beside our own build.
fn build_zenoh() -> Result<PathBuf> {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("zenoh/Cargo.toml");
    let exe = std::env::current_exe()?;
    let target = exe
        .ancestors()
        .nth(2)
        .ok_or("this program lies in no target directory")?
        .join("zenoh");
    let program = target.join("release/folkmoot-zenoh-peer");
    let written = |path: &std::path::Path| std::fs::metadata(path).and_then(|m| m.modified());
    match (written(&program), written(&manifest)) {
        (Ok(built), Ok(changed)) if built > changed => return Ok(program),
        (Err(_), _) => eprintln!("building zenoh, once; this takes some minutes"),
        _ => {}
    }
    let output = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .output()?;
    match output.status.success() {
        true => Ok(program),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .lines()
                .last()
                .unwrap_or("cargo build failed")
                .to_owned();
            Err(last.into())
        }
    }
}

/// All rounds of one row; the medians of each side.
pub(crate) fn one_row(
    options: &Options,
    tools: &Tools,
    row: &Row,
    sides: &mut BTreeMap<(Side, usize), Running>,
) -> Result<Vec<(Side, Figures)>> {
    let chosen: Vec<Side> = row
        .sides
        .iter()
        .copied()
        .filter(|s| tools.has(*s))
        .collect();
    let mut counts: Vec<u64> = chosen.iter().map(|_| u64::from(row.callers) * 50).collect();
    let mut rounds: Vec<Vec<Figures>> = chosen.iter().map(|_| Vec::new()).collect();
    for round in 0..options.warm_up() + options.rounds {
        for (number, side) in chosen.iter().enumerate() {
            let warming = round < options.warm_up();
            if warming && *side == Side::Iperf {
                continue;
            }
            let running = sides.get_mut(&(*side, row.members)).ok_or("no such side")?;
            running.place(row.place)?;
            if round == options.warm_up() {
                running.reset_peaks()?;
            }
            let figures = running.round(row, counts[number], options.round())?;
            if warming {
                let fill = (figures.rate * options.round().as_secs_f64()) as u64;
                // A first round says little: no more than fifty times as many in the next.
                counts[number] = fill.clamp(u64::from(row.callers) * 20, counts[number] * 50);
            } else {
                rounds[number].push(figures);
            }
        }
    }
    let medians = rounds.iter().map(|rounds| Figures {
        rate: median(rounds, |f| f.rate),
        cpu: median(rounds, |f| f.cpu),
        latencies: (0..PER_MILLE.len())
            .filter(|_| rounds.iter().all(|f| f.latencies.len() == PER_MILLE.len()))
            .map(|i| median(rounds, |f| f.latencies[i]))
            .collect(),
        overtaken: median(rounds, |f| f.overtaken),
        full: median(rounds, |f| f.full),
        sender_mib: rounds.iter().map(|f| f.sender_mib).fold(0.0, f64::max),
        receiver_mib: rounds.iter().map(|f| f.receiver_mib).fold(0.0, f64::max),
    });
    Ok(chosen.iter().copied().zip(medians).collect())
}

/// Compares the figures of a row with its targets.
fn judge(row: &Row, figures: &[(Side, Figures)], earlier: &Report) -> Line {
    let of = |side: Side| figures.iter().find(|(s, _)| *s == side).map(|(_, f)| f);
    let middle = |f: &Figures| f.latencies.get(4).copied();
    let mut line = Line::new(row.name);
    line.figures = figures
        .iter()
        .map(|(side, figures)| (side.name().to_owned(), figures.clone()))
        .collect();
    for target in row.targets {
        match *target {
            Target::Rate {
                of: who,
                against,
                times,
            } => {
                if let (Some(ours), Some(theirs)) = (of(who), of(against)) {
                    let ratio = ours.rate / theirs.rate;
                    let spin = if who == Side::Spin {
                        " with the spin"
                    } else {
                        ""
                    };
                    line.judge(
                        format!("rate{spin} ≥ {times} × {}", against.name()),
                        format!("{ratio:.2} ×"),
                        ratio >= times,
                    );
                }
            }
            Target::Cpu(most) => {
                if let Some(ours) = of(Side::Ours) {
                    let figure = format!("{:.2}", ours.cpu);
                    line.judge(format!("≤ {most} CPU µs"), figure, ours.cpu <= most);
                }
            }
            Target::Median(side, most) => {
                if let Some(p50) = of(side).and_then(middle) {
                    let name = format!("p50 ≤ {most} µs ({})", side.name());
                    line.judge(name, format!("{p50:.1} µs"), p50 <= most);
                }
            }
            Target::MedianOfRaw(times) => {
                if let (Some(ours), Some(raw)) = (
                    of(Side::Ours).and_then(middle),
                    of(Side::Raw).and_then(middle),
                ) {
                    let ratio = ours / raw;
                    line.judge(
                        format!("p50 ≤ {times} × raw"),
                        format!("{ratio:.2} ×"),
                        ratio <= times,
                    );
                }
            }
            Target::Order => {
                if let Some(ours) = of(Side::Ours) {
                    let figure = format!("{} overtaken", ours.overtaken);
                    line.judge("order kept".to_owned(), figure, ours.overtaken == 0.0);
                }
            }
            Target::ReceiverMemory(most) => {
                if let Some(ours) = of(Side::Ours) {
                    let figure = format!("{:.1} MiB", ours.receiver_mib);
                    let name = format!("receiver's peak ≤ {most} MiB");
                    line.judge(name, figure, ours.receiver_mib <= most);
                }
            }
            Target::CpuOfOne(times) => {
                let one = earlier.figures("sync 512 B, one member", Side::Ours.name());
                if let (Some(ours), Some(one)) = (of(Side::Ours), one) {
                    let ratio = ours.cpu / one.cpu;
                    line.judge(
                        format!("CPU ≤ {times} × one member's"),
                        format!("{ratio:.2} ×"),
                        ratio <= times,
                    );
                }
            }
        }
    }
    line
}
