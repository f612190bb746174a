//! The side-by-side run: every peer there is, the same workloads, round by round in turn.

pub mod derived;
pub mod http;
pub mod page;
pub mod profile;
pub mod report;
pub mod rows;
pub mod sessions;
pub mod side;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::compare::median;
use crate::java::Java;
use crate::latency::PER_MILLE;
use crate::peer;
use derived::InRawLoops;
use report::{Line, Report, Verdict};
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
    /// Whether the tables replace those in benches/README.md.
    pub readme: bool,
    /// Only say which rows there are.
    pub list: bool,
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
            readme: false,
            list: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match *word {
                "--quick" => options.quick = true,
                "--readme" => options.readme = true,
                "--list" => options.list = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only.push((*value()?).to_owned()),
                "--html" => options.html = PathBuf::from(value()?),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                other => {
                    return Err(format!(
                        "`{other}` is none of --quick, --rounds N, --only NAME, --list, --html FILE, --json FILE, --readme"
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
    pub(crate) fn round(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 2000 })
    }

    /// Rounds before those that count: compilers compile, and each side finds what fills a round.
    pub(crate) fn warm_up(&self) -> usize {
        if self.quick { 2 } else { 3 }
    }

    /// About how long one of these lasts: as long as the others only where a compiler is at work.
    pub(crate) fn warm_up_round(&self, compiles: bool) -> Duration {
        match compiles {
            true => self.round(),
            false => self.round().min(Duration::from_millis(100)),
        }
    }
}

/// The names of all rows.
fn names() -> Vec<&'static str> {
    let messages = ROWS.iter().map(|row| row.name);
    let sessions = sessions::DELTAS.iter().map(|delta| delta.name);
    let transfers = sessions::TRANSFERS.iter().map(|(name, _)| *name);
    let http = http::ROWS.iter().map(|(name, _)| *name);
    messages
        .chain(sessions)
        .chain(transfers)
        .chain(http)
        .collect()
}

/// Measures and writes the reports.
///
/// # Errors
/// What is missing or went wrong; a lost or doubled message is an error.
pub fn run(options: &Options) -> Result<()> {
    let names = names();
    if options.list {
        println!("{}", names.join("\n"));
        return Ok(());
    }
    if let Some(only) = options
        .only
        .iter()
        .find(|only| !names.iter().any(|name| name.contains(only.as_str())))
    {
        let names = names.join("\n  ");
        return Err(format!("no row is called `{only}`; there are\n  {names}").into());
    }
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
    let tools = prepare(options, scratch)?;
    let began = Instant::now();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut report = Report::new(format!(
        "{}; Linux {}; {processors} processors; medians of {} rounds of {} ms, in turn{}; load average {} at the beginning",
        tools.java()?.versions()?,
        kernel.trim(),
        options.rounds,
        options.round().as_millis(),
        if options.quick {
            " (--quick: too short for the virtual machines to warm up)"
        } else {
            ""
        },
        load(),
    ));
    all_rows(options, &tools, &mut report);
    report.close(began.elapsed(), &load());
    report.write(&options.html, options.json.as_deref(), options.readme)?;
    match report.failed() {
        failed if failed.is_empty() => Ok(()),
        failed => Err(format!("not measured: {}", failed.join("; ")).into()),
    }
}

/// All rows that are wanted. One that fails is reported as what it is, and the others go on.
fn all_rows(options: &Options, tools: &Tools, report: &mut Report) {
    let mut sides = BTreeMap::new();
    let mut idle = Vec::new();
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        let began = Instant::now();
        let mut started = began;
        let figures = twice(row.name, || {
            let measured = start_sides(tools, row, &mut sides, &mut idle).and_then(|()| {
                started = Instant::now();
                one_row(options, tools, row, &mut sides)
            });
            if measured.is_err() {
                // Whoever took part may be in the middle of something.
                sides.retain(|(side, members), _| {
                    *members != row.members || !row.sides.contains(side)
                });
            }
            measured
        });
        let line = match figures {
            Ok(figures) => judge(row, &figures, report),
            Err(error) => {
                let targets = row.targets.iter().map(|target| describe(*target).0);
                Line::failed(row.name, targets, &error.to_string())
            }
        };
        report.add(line);
        eprintln!(
            "{}: {:.1} s, {:.1} s of them to start",
            row.name,
            began.elapsed().as_secs_f64(),
            (started - began).as_secs_f64(),
        );
    }
    drop(sides);
    if !idle.is_empty() {
        report.add(Line::memory(&idle));
    }
    for part in [sessions::deltas, sessions::transfers, http::requests] {
        part(options, tools, report);
    }
}

/// Measures, and once more if that fails: a process that was killed or a port that was taken is not the end of a run of many minutes.
pub(super) fn twice<T>(name: &str, mut measure: impl FnMut() -> Result<T>) -> Result<T> {
    measure().or_else(|error| {
        eprintln!("{name}: {error}; once more");
        measure()
    })
}

/// Starts those who take part in a row and do not run yet, at once.
fn start_sides(
    tools: &Tools,
    row: &Row,
    sides: &mut BTreeMap<(Side, usize), Running>,
    idle: &mut Vec<(Side, f64)>,
) -> Result<()> {
    let missing: Vec<Side> = row
        .sides
        .iter()
        .copied()
        .filter(|side| tools.has(*side) && !sides.contains_key(&(*side, row.members)))
        .collect();
    let started: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = missing
            .iter()
            .map(|side| {
                // A thread's error has to be one that may change threads.
                let start = || Running::start(tools, *side, row.members).map_err(|e| e.to_string());
                scope.spawn(start)
            })
            .collect();
        starting
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    for (side, running) in missing.iter().zip(started) {
        let running = running.map_err(|_| "a start panicked")??;
        sides.insert((*side, row.members), running);
    }
    let new = |side: &Side| {
        matches!(side, Side::Tribes | Side::Ours) && !idle.iter().any(|(other, _)| other == side)
    };
    let new: Vec<Side> = missing.into_iter().filter(new).collect();
    if row.members == 1 && !new.is_empty() {
        // Heartbeats and checks have begun; nothing else has happened.
        std::thread::sleep(Duration::from_millis(500));
        for side in new {
            if let Some(running) = sides.get(&(side, row.members)) {
                idle.push((side, running.idle_mib()?));
            }
        }
    }
    Ok(())
}

/// The system's load average of the last minute.
fn load() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

/// Finds and builds what the comparison needs; says in a line each what is left out.
fn prepare(options: &Options, scratch: &std::path::Path) -> Result<Tools> {
    let java = Java::prepare(scratch)?;
    let with_zenoh = |row: &&Row| options.wants(row.name) && row.sides.contains(&Side::Zenoh);
    if let Err(reason) = folkmoot_uring::support() {
        eprintln!("left out: io_uring ({reason})");
    }
    Ok(Tools {
        java: Some(java),
        zenoh: match ROWS.iter().find(with_zenoh).map(|_| build_zenoh()) {
            Some(Ok(program)) => Some(program),
            Some(Err(error)) => {
                eprintln!("left out: zenoh ({error})");
                None
            }
            None => None,
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
    // What it was built from: cargo itself goes by the files' times, which every checkout changes.
    let stamp = target.join("built-from");
    let mut sources = Vec::new();
    for file in ["zenoh/Cargo.toml", "zenoh/Cargo.lock", "zenoh/src/main.rs"] {
        sources.extend(std::fs::read(manifest.with_file_name("..").join(file))?);
    }
    if program.exists() && std::fs::read(&stamp).is_ok_and(|built| built == sources) {
        return Ok(program);
    }
    eprintln!("building zenoh, once; this takes some minutes");
    let output = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .output()?;
    match output.status.success() {
        true => {
            std::fs::write(&stamp, sources)?;
            Ok(program)
        }
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
    let least = u64::from(row.callers) * 20;
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
                let next = match round + 1 < options.warm_up() {
                    true => options.warm_up_round(*side == Side::Tribes),
                    false => options.round(),
                };
                let fill = (figures.rate * next.as_secs_f64()) as u64;
                // A first round says little: no more than fifty times as many in the next.
                counts[number] = fill.clamp(least, counts[number] * 50);
            } else {
                rounds[number].push(figures);
            }
        }
    }
    let medians = rounds.iter().map(|rounds| Figures {
        rate: median(rounds, |f| f.rate),
        cpu: median(rounds, |f| f.cpu),
        cpu_least: rounds.iter().map(|f| f.cpu).fold(f64::INFINITY, f64::min),
        latencies: (0..PER_MILLE.len())
            .filter(|_| rounds.iter().all(|f| f.latencies.len() == PER_MILLE.len()))
            .map(|i| median(rounds, |f| f.latencies[i]))
            .collect(),
        overtaken: median(rounds, |f| f.overtaken),
        full: median(rounds, |f| f.full),
        sender_mib: rounds.iter().map(|f| f.sender_mib).fold(0.0, f64::max),
        receiver_mib: rounds.iter().map(|f| f.receiver_mib).fold(0.0, f64::max),
        allocations: rounds
            .iter()
            .all(|f| f.allocations.is_some())
            .then(|| median(rounds, |f| f.allocations.unwrap_or(f64::NAN))),
    });
    Ok(chosen.iter().copied().zip(medians).collect())
}

/// Compares the figures of a row with its targets.
fn judge(row: &Row, figures: &[(Side, Figures)], earlier: &Report) -> Line {
    let mut line = Line::new(row.name);
    line.figures = figures
        .iter()
        .map(|(side, figures)| (side.name().to_owned(), figures.clone()))
        .collect();
    for target in row.targets {
        let (name, needed) = describe(*target);
        let missing = needed
            .iter()
            .find(|side| !figures.iter().any(|(s, _)| s == *side));
        if let Some(side) = missing {
            line.not_measured(name, format!("{} is not there", side.name()));
            continue;
        }
        match reached(*target, figures, earlier) {
            Some((figure, verdict)) => line.give(name, figure, verdict),
            None => line.not_measured(name, "no figure to compare with"),
        }
    }
    line
}

/// A target in words, and the sides whose figures it compares.
fn describe(target: Target) -> (String, Vec<Side>) {
    match target {
        Target::Rate { of, against, times } => {
            let who = match of {
                Side::Ours => String::new(),
                of => format!(" ({})", of.name()),
            };
            let name = format!("rate ≥ {times} × {}{who}", against.name());
            (name, vec![of, against])
        }
        Target::Cpu { of, most, .. } => {
            let who = match of {
                Side::Ours => String::new(),
                of => format!(" ({})", of.name()),
            };
            (format!("≤ {most} CPU µs{who}"), vec![of])
        }
        Target::Median { of, most, .. } => (format!("p50 ≤ {most} µs ({})", of.name()), vec![of]),
        Target::MedianOfRaw(times) => {
            let name = format!("p50 ≤ {times} × raw sockets");
            (name, vec![Side::Ours, Side::Raw])
        }
        Target::Order => ("order kept".to_owned(), vec![Side::Ours]),
        Target::ReceiverMemory(most) => (format!("receiver's peak ≤ {most} MiB"), vec![Side::Ours]),
        Target::SenderMemory(most) => {
            let queue = peer::QUEUE_BYTES >> 20;
            let name = format!("sender's peak ≤ {most} MiB + the queue's {queue}");
            (name, vec![Side::Ours])
        }
        Target::Allocations(_) => ("no allocations a message".to_owned(), vec![Side::Ours]),
        Target::Uring { of, times } => {
            let how = match of {
                Side::Sends => ", ring_send",
                _ => "",
            };
            let name = format!("CPU of io_uring{how} ≤ {times} × mio");
            (name, vec![Side::Ours, of])
        }
        Target::CpuOfOne(times) => (format!("CPU ≤ {times} × one member's"), vec![Side::Ours]),
    }
}

/// What was reached, and what that is worth; nothing if somebody has not the figure.
fn reached(
    target: Target,
    figures: &[(Side, Figures)],
    earlier: &Report,
) -> Option<(String, Verdict)> {
    let of = |side: Side| figures.iter().find(|(s, _)| *s == side).map(|(_, f)| f);
    let middle = |side: Side| of(side)?.latencies.get(4).copied();
    let times = |ratio: f64| format!("{ratio:.2} ×");
    let (figure, reached) = match target {
        Target::Rate {
            of: who,
            against,
            times: least,
        } => {
            let ratio = of(who)?.rate / of(against)?.rate;
            // What the sockets alone would have reached.
            let raw = of(Side::Raw).map_or(String::new(), |raw| {
                format!(
                    " (raw {:.2} ×)",
                    raw.rate / of(against).map_or(f64::NAN, |f| f.rate)
                )
            });
            (format!("{ratio:.2} ×{raw}"), ratio >= least)
        }
        Target::Cpu {
            of: who,
            most,
            derived,
        } => {
            let raw = of(Side::Raw).map(|raw| raw.cpu);
            return Some(absolute(of(who)?.cpu, raw, most, derived, ""));
        }
        Target::Median {
            of: who,
            most,
            raw,
            derived,
        } => return Some(absolute(middle(who)?, middle(raw), most, derived, " µs")),
        Target::MedianOfRaw(most) => {
            let ratio = middle(Side::Ours)? / middle(Side::Raw)?;
            (times(ratio), ratio <= most)
        }
        Target::Order => {
            let overtaken = of(Side::Ours)?.overtaken;
            (format!("{overtaken} overtaken"), overtaken == 0.0)
        }
        Target::ReceiverMemory(most) => {
            let mib = of(Side::Ours)?.receiver_mib;
            (format!("{mib:.1} MiB"), mib <= most)
        }
        Target::SenderMemory(most) => {
            let mib = of(Side::Ours)?.sender_mib;
            let queue = (peer::QUEUE_BYTES >> 20) as f64;
            (format!("{mib:.1} MiB"), mib <= most + queue)
        }
        Target::Allocations(most) => {
            let each = of(Side::Ours)?.allocations?;
            (format!("{each:.4}"), each <= most)
        }
        Target::Uring {
            of: side,
            times: most,
        } => {
            let ratio = of(side)?.cpu / of(Side::Ours)?.cpu;
            (times(ratio), ratio <= most)
        }
        Target::CpuOfOne(most) => {
            let one = earlier.figures("sync 512 B, one member", Side::Ours.name())?;
            let ratio = of(Side::Ours)?.cpu / one.cpu;
            (times(ratio), ratio <= most)
        }
    };
    Some((figure, Verdict::of(reached)))
}

/// A figure that is to be at most `most`, which was derived on a machine where the raw loop took `derived`; beside it the
/// same in raw loops of this run.
pub(super) fn absolute(
    value: f64,
    raw: Option<f64>,
    most: f64,
    derived: f64,
    unit: &str,
) -> (String, Verdict) {
    let relative = raw.and_then(|raw| Some((raw, InRawLoops::of(value, raw, most, derived)?)));
    let figure = match relative {
        Some((raw, relative)) => format!("{value:.2}{unit} (raw {raw:.2}): {}", relative.words()),
        None => format!("{value:.2}{unit}"),
    };
    let verdict = match relative {
        _ if value <= most => Verdict::Reached,
        Some((_, relative)) if relative.is_enough() => Verdict::InRawLoops,
        _ => Verdict::Missed,
    };
    (figure, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_is_judged_by_its_figure_and_by_raw_loops() {
        for (value, raw, figure, verdict) in [
            (
                7.0,
                Some(4.0),
                "7.00 (raw 4.00): 1.75 × raw; the target was 1.60 × raw",
                Verdict::Reached,
            ),
            (
                22.03,
                Some(15.1),
                "22.03 (raw 15.10): 1.46 × raw; the target was 1.60 × raw",
                Verdict::InRawLoops,
            ),
            (
                25.57,
                Some(13.9),
                "25.57 (raw 13.90): 1.84 × raw; the target was 1.60 × raw",
                Verdict::Missed,
            ),
            (22.03, None, "22.03", Verdict::Missed),
            (7.5, None, "7.50", Verdict::Reached),
        ] {
            let judged = absolute(value, raw, 7.5, derived::PING_PONG, "");
            assert_eq!(judged, (figure.to_owned(), verdict));
        }
    }

    #[test]
    fn every_absolute_target_has_the_raw_loop_it_is_compared_with() {
        for row in ROWS {
            for target in row.targets {
                let (raw, asked) = match *target {
                    Target::Cpu { most, derived, .. } => (Side::Raw, most / derived),
                    Target::Median {
                        raw, most, derived, ..
                    } => (raw, most / derived),
                    _ => continue,
                };
                assert!(row.sides.contains(&raw), "{}", row.name);
                assert!(
                    asked >= 1.0,
                    "{}: nobody is faster than the sockets",
                    row.name
                );
            }
        }
    }

    #[test]
    fn a_ratio_to_another_shows_what_the_sockets_alone_reach() {
        let figures = |rate| Figures {
            rate,
            ..Figures::default()
        };
        let row = [
            (Side::Tribes, figures(10.0)),
            (Side::Ours, figures(24.0)),
            (Side::Raw, figures(36.0)),
        ];
        let target = Target::Rate {
            of: Side::Ours,
            against: Side::Tribes,
            times: 4.0,
        };
        let report = Report::new(String::new());
        let wanted = ("2.40 × (raw 3.60 ×)".to_owned(), Verdict::Missed);
        assert_eq!(reached(target, &row, &report), Some(wanted));
        let without = ("2.40 ×".to_owned(), Verdict::Missed);
        assert_eq!(reached(target, &row[..2], &report), Some(without));
    }
}
