//! Where the processor time of a row goes, by `perf`: ours, and beside it what the raw loop of the same row takes.

pub mod groups;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use folkmoot_uring::Driver;

use super::rows::{Place, ROWS, Row, Side};
use super::side::{Figures, Running, Tools};
use super::{http, names, sessions};
use crate::Result;
use crate::compare::{PATIENCE, free_ports};
use crate::drivers;
use groups::{Frame, Group};

/// Samples a second of each processor.
const FREQUENCY: &str = "5000";
/// Sessions of a state transfer.
const SESSIONS: u64 = 10_000;
/// So many joiners are profiled, one after the other.
const JOINERS: u64 = 20;
/// Whose sides can be profiled with `--side`.
const OURS: [Side; 9] = [
    Side::Ours,
    Side::Uring,
    Side::Sends,
    Side::Tasks,
    Side::Spin,
    Side::Raw,
    Side::RawThreads,
    Side::RawSpin,
    Side::Bundles,
];

/// A round of about so long: which processes took part, and what a message has cost.
type Round = Box<dyn FnMut(Duration) -> Result<(Vec<u32>, Figures)>>;

/// Somebody whose rounds are profiled: the processes that took part, and what a message has cost.
struct Subject {
    name: String,
    /// The same processes take part in each.
    stays: bool,
    round: Round,
}

/// What is asked for on the command line.
#[derive(Debug)]
struct Wanted {
    sides: Vec<Side>,
    length: Duration,
    /// Another place than the row's.
    place: Option<Place>,
    /// Where every function goes with its share.
    symbols: Option<PathBuf>,
}

/// Profiles a row: its name, or a part of it that no other has; `--side NAME` for others than those that its targets judge, `--place`
/// for other processors than the row's, `--symbols FILE` for every function with its share.
///
/// # Errors
/// No such row, no `perf`, or a message was lost.
pub fn run(words: &[&str]) -> Result<()> {
    let mut name = None;
    let mut wanted = Wanted {
        sides: Vec::new(),
        length: Duration::from_secs(2),
        place: None,
        symbols: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match *word {
            "--seconds" => {
                wanted.length = Duration::from_secs(value()?.parse::<u64>()?.clamp(1, 60));
            }
            "--symbols" => wanted.symbols = Some(PathBuf::from(value()?)),
            "--place" => {
                wanted.place = Some(match *value()? {
                    "free" => Place::Free,
                    "one" => Place::OneCore,
                    "each" => Place::OneEach,
                    other => return Err(format!("`{other}` is none of free, one, each").into()),
                });
            }
            "--side" => {
                let said = value()?;
                let side = OURS.into_iter().find(|side| side.name() == *said);
                let all = OURS.map(Side::name).join(", ");
                let side = side.ok_or_else(|| format!("`{said}` is none of {all}"))?;
                wanted.sides.push(side);
            }
            word => name = Some(word),
        }
    }
    let names = names();
    let all = names.join("\n  ");
    let name = name.ok_or_else(|| format!("which row? There are\n  {all}"))?;
    let exact: Vec<_> = names.iter().copied().filter(|n| *n == name).collect();
    let part = names.iter().copied().filter(|n| n.contains(name));
    let found = if exact.is_empty() {
        part.collect()
    } else {
        exact
    };
    let [name] = found[..] else {
        let what = if found.is_empty() {
            "no row is"
        } else {
            "several rows are"
        };
        return Err(format!("{what} called `{name}`; there are\n  {all}").into());
    };
    let scratch = std::env::temp_dir().join(format!("folkmoot-profile-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let done = profile(name, &wanted, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    done
}

fn profile(name: &str, wanted: &Wanted, scratch: &Path) -> Result<()> {
    let length = wanted.length;
    let tools = Tools::without_others(scratch);
    let mut columns = Vec::new();
    for mut subject in subjects(&tools, name, wanted)? {
        // What it costs without anybody looking, what it calls, and then where it is.
        (subject.round)(length / 4)?;
        let (ids, figures) = (subject.round)(length)?;
        let calls = match subject.stays {
            true => Calls::of(&ids, scratch, || (subject.round)(length))?,
            false => Calls(None),
        };
        let record = Record::start(&scratch.join("perf.data"))?;
        let (ids, _) = (subject.round)(length)?;
        let samples = record.samples(&ids)?;
        if let Some(path) = &wanted.symbols {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?;
            write!(file, "{name}, {}\n{}\n", subject.name, samples.symbols())?;
        }
        let shares = samples.shares();
        columns.push(Column {
            name: subject.name,
            figures,
            calls,
            shares,
        });
    }
    print!("{}", table(name, &columns));
    Ok(())
}

/// What a row is profiled with: those whose targets it has, and the raw loop.
fn subjects(tools: &Tools, name: &str, wanted: &Wanted) -> Result<Vec<Subject>> {
    if let Some(row) = ROWS.iter().find(|row| row.name == name) {
        let sides = &wanted.sides;
        let mut row = *row;
        row.place = wanted.place.unwrap_or(row.place);
        let judged = [
            Side::Ours,
            Side::Tasks,
            Side::Spin,
            Side::Raw,
            Side::RawSpin,
            Side::RawThreads,
        ];
        let chosen: Vec<Side> = match sides.is_empty() {
            true => judged
                .into_iter()
                .filter(|side| row.sides.contains(side) || *side == Side::Raw)
                .collect(),
            false => sides.clone(),
        };
        let has = |side: &&Side| tools.has(**side);
        return chosen
            .iter()
            .filter(has)
            .map(|side| messages(tools, row, *side))
            .collect();
    }
    if let Some(delta) = sessions::DELTAS.iter().find(|row| row.name == name) {
        let row = sessions::raw_row(delta.options);
        return Ok(vec![
            deltas(tools, delta.options)?,
            messages(tools, row, Side::Raw)?,
        ]);
    }
    if let Some((_, options)) = http::ROWS.iter().find(|row| row.0 == name) {
        return requests(tools, *options);
    }
    Ok(vec![transfer(&tools.scratch)?])
}

fn messages(tools: &Tools, row: Row, side: Side) -> Result<Subject> {
    // A raw loop has one receiver.
    let members = if tools_raw(side) { 1 } else { row.members };
    let mut running = Running::start(tools, side, members)?;
    let mut fill = Fill::new(u64::from(row.callers) * 50);
    Ok(Subject {
        name: side.name().to_owned(),
        stays: true,
        round: Box::new(move |length| {
            let figures = fill.round(length, |count| {
                running.place(row.place)?;
                running.round(&row, count, length)
            })?;
            Ok((running.ids(), figures))
        }),
    })
}

fn tools_raw(side: Side) -> bool {
    matches!(
        side,
        Side::Raw | Side::RawThreads | Side::RawSpin | Side::Bundles
    )
}

fn deltas(tools: &Tools, options: u32) -> Result<Subject> {
    let mut pair = sessions::Pair::start(tools, true, options)?;
    pair.ready(true)?;
    let mut fill = Fill::new(200);
    Ok(Subject {
        name: Side::Ours.name().to_owned(),
        stays: true,
        round: Box::new(move |length| {
            let figures = fill.round(length, |count| {
                pair.place((options == 6).then_some(0))?;
                pair.round(count)
            })?;
            Ok((pair.ids(), figures))
        }),
    })
}

fn requests(tools: &Tools, options: u32) -> Result<Vec<Subject>> {
    if !super::runs("wrk", "--version", "wrk") {
        return Err("who asks?".into());
    }
    let mut subjects = Vec::new();
    for (name, path) in [
        ("Folkmoot and axum", http::Path::Put),
        ("axum without sessions", http::Path::Bare),
    ] {
        let mut pair = http::Pair::start(tools, true, options)?;
        pair.ready(true)?;
        subjects.push(Subject {
            name: name.to_owned(),
            stays: true,
            round: Box::new(move |length| {
                let round = pair.round(path, length.as_secs().max(1))?;
                Ok((pair.ids(), round.figures))
            }),
        });
    }
    Ok(subjects)
}

/// The state of a donor to nodes that join, one after the other; a session counts as a message.
fn transfer(scratch: &Path) -> Result<Subject> {
    let scratch = scratch.to_owned();
    let ports: [u16; 2] = free_ports()?;
    let mut donor = drivers::node(Driver::Mio, ports, SESSIONS, &scratch)?;
    donor.expect("READY", PATIENCE)?;
    Ok(Subject {
        name: format!("Folkmoot, {SESSIONS} sessions"),
        stays: false,
        round: Box::new(move |_| {
            let before = donor.cpu_nanos()?;
            let began = Instant::now();
            let mut ids = vec![donor.id()];
            let mut joiners = 0;
            for _ in 0..JOINERS {
                let mut joiner = drivers::node(Driver::Mio, [ports[1], ports[0]], 0, &scratch)?;
                joiner.expect("TRANSFERRED", PATIENCE)?;
                joiners += joiner.cpu_nanos()?;
                ids.push(joiner.id());
                joiner.finish()?;
            }
            let cpu = joiners + donor.cpu_nanos()? - before;
            let count = (SESSIONS * JOINERS) as f64;
            let figures = Figures {
                rate: count / began.elapsed().as_secs_f64(),
                cpu: cpu as f64 / 1e3 / count,
                ..Figures::default()
            };
            Ok((ids, figures))
        }),
    })
}

/// How many messages fill a round.
struct Fill {
    count: u64,
    rate: Option<f64>,
}

impl Fill {
    fn new(count: u64) -> Self {
        Self { count, rate: None }
    }

    /// A round of about `length`; before the first some short ones.
    fn round(
        &mut self,
        length: Duration,
        mut round: impl FnMut(u64) -> Result<Figures>,
    ) -> Result<Figures> {
        while self.rate.is_none() {
            let figures = round(self.count)?;
            let took = self.count as f64 / figures.rate;
            match took > 0.1 {
                true => self.rate = Some(figures.rate),
                false => self.count *= 4,
            }
        }
        let rate = self.rate.unwrap_or_default();
        let figures = round((rate * length.as_secs_f64()) as u64)?;
        self.rate = Some(figures.rate);
        Ok(figures)
    }
}

/// System calls and context switches of a message; nothing where `perf` may not count them.
struct Calls(Option<[f64; 2]>);

impl Calls {
    fn of(
        ids: &[u32],
        scratch: &Path,
        round: impl FnOnce() -> Result<(Vec<u32>, Figures)>,
    ) -> Result<Self> {
        let file = scratch.join("perf.stat");
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command
            .args([
                "stat",
                "-x",
                ";",
                "-e",
                "raw_syscalls:sys_enter,context-switches",
                "-p",
            ])
            .arg(ids.join(","))
            .arg("-o")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(perf) = command.spawn() else {
            return Ok(Self(None));
        };
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        let (_, figures) = round()?;
        let count = figures.rate * began.elapsed().as_secs_f64();
        stop(perf)?;
        let said = std::fs::read_to_string(&file).unwrap_or_default();
        let figure = |event: &str| {
            let line = said.lines().find(|line| line.contains(event))?;
            line.split(';').next()?.parse::<f64>().ok()
        };
        let both = figure("sys_enter").zip(figure("context-switches"));
        Ok(Self(both.map(|(calls, switches)| {
            [calls / count, switches / count]
        })))
    }
}

/// Ends `perf` as a user does, so that it writes what it has.
fn stop(mut perf: Child) -> Result<()> {
    let id = libc::pid_t::try_from(perf.id())?;
    // SAFETY: a child that has not been waited for: its id is its own.
    unsafe { libc::kill(id, libc::SIGINT) };
    perf.wait()?;
    Ok(())
}

/// A `perf record` of the whole machine.
struct Record {
    perf: Child,
    file: PathBuf,
}

impl Record {
    fn start(file: &Path) -> Result<Self> {
        let log = file.with_extension("log");
        // An earlier one would be taken for its.
        if file.exists() {
            std::fs::remove_file(file)?;
        }
        let mut command = Command::new("perf");
        command
            .args([
                "record",
                "-a",
                "-g",
                "-e",
                "cpu-clock",
                "-F",
                FREQUENCY,
                "-o",
            ])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?);
        let mut perf = command.spawn().map_err(|error| {
            format!("perf: {error}; it comes with the package linux-perf (linux-tools)")
        })?;
        // The head of its file is there just before it looks.
        let until = Instant::now() + PATIENCE;
        while std::fs::metadata(file).map_or(0, |file| file.len()) == 0
            && perf.try_wait()?.is_none()
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        match perf.try_wait()? {
            None => Ok(Self {
                perf,
                file: file.to_owned(),
            }),
            Some(_) => {
                let said = std::fs::read_to_string(&log)?;
                let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
                Err(format!(
                    "perf may not look at the whole machine (kernel.perf_event_paranoid is {}; it wants root, or -1): {}",
                    level.unwrap_or_default().trim(),
                    said.lines().next().unwrap_or_default(),
                )
                .into())
            }
        }
    }

    /// What the processes `ids` were seen in.
    fn samples(self, ids: &[u32]) -> Result<Samples> {
        stop(self.perf)?;
        let output = Command::new("perf")
            .args(["script", "--no-inline", "-F", "pid,ip,sym,dso", "-i"])
            .arg(&self.file)
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let samples = Samples::of(&text, ids);
        if samples.total == 0 {
            return Err("perf has seen nothing of these processes".into());
        }
        if samples.unknown * 2 > samples.total {
            return Err("perf does not know the kernel's functions: kernel.kptr_restrict is to be 0, or the user root".into());
        }
        Ok(samples)
    }
}

/// Samples by group.
#[derive(Debug, Default)]
struct Samples {
    total: u64,
    unknown: u64,
    groups: [u64; Group::ALL.len()],
    by_symbol: BTreeMap<(usize, String), u64>,
}

impl Samples {
    /// Reads what `perf script -F pid,ip,sym,dso` says: a process id, its calls, an empty line.
    fn of(text: &str, ids: &[u32]) -> Self {
        let mut samples = Self::default();
        for sample in text.split("\n\n") {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let id = lines
                .next()
                .and_then(|line| line.trim().parse::<u32>().ok());
            if id.is_none_or(|id| !ids.contains(&id)) {
                continue;
            }
            let frames: Vec<Frame<'_>> = lines.filter_map(Frame::parse).collect();
            let group = Group::of(&frames);
            let at = Group::ALL.iter().position(|other| *other == group);
            let at = at.unwrap_or_default();
            samples.total += 1;
            samples.groups[at] += 1;
            if let Some(frame) = frames.first() {
                samples.unknown += u64::from(frame.kernel && frame.symbol == "[unknown]");
                let symbol = frame.symbol.to_owned();
                *samples.by_symbol.entry((at, symbol)).or_default() += 1;
            }
        }
        samples
    }

    fn shares(&self) -> [f64; Group::ALL.len()] {
        self.groups.map(|count| count as f64 / self.total as f64)
    }

    /// Every function with its share, most first.
    fn symbols(&self) -> String {
        let mut all: Vec<_> = self.by_symbol.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let line = |((group, symbol), count): &(&(usize, String), &u64)| {
            let share = **count as f64 * 100.0 / self.total as f64;
            format!("{share:6.2} %  {:24} {symbol}\n", Group::ALL[*group].name())
        };
        all.iter().map(line).collect()
    }
}

/// What was seen of one side.
struct Column {
    name: String,
    figures: Figures,
    calls: Calls,
    shares: [f64; Group::ALL.len()],
}

/// A line for each side: microseconds of each message in every group, and its share.
fn table(name: &str, columns: &[Column]) -> String {
    let names = Group::ALL.map(Group::name).join(" | ");
    let mut text = format!(
        "| workload | side | CPU µs | {names} | system calls | context switches |\n|---|---|{}\n",
        "---:|".repeat(Group::ALL.len() + 3)
    );
    for column in columns {
        let cpu = column.figures.cpu;
        let cells = column.shares.map(|share| match share < 0.005 {
            true => String::new(),
            false => format!("{:.2} ({:.0} %)", cpu * share, share * 100.0),
        });
        let calls = match column.calls.0 {
            Some([calls, switches]) => format!("{calls:.3} | {switches:.3}"),
            None => " | ".to_owned(),
        };
        let cells = cells.join(" | ");
        text += &format!(
            "| {name} | {} | {cpu:.2} | {cells} | {calls} |\n",
            column.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_other_processes_do_not_count() {
        let text = "\
   7
        ffffffff81 tcp_sendmsg ([kernel.kallsyms])
        7f0000 send (/lib/libc.so.6)

   8
        ffffffff81 try_to_wake_up ([kernel.kallsyms])

   7
        55d0 folkmoot_core::x (/bin/folkmoot)

   7
        55d0 __memmove_avx (/lib/libc.so.6)

   7
        ffffffff81 [unknown] ([kernel.kallsyms])
";
        let samples = Samples::of(text, &[7]);
        assert_eq!((samples.total, samples.unknown), (4, 1));
        let share = |group: Group| {
            let at = Group::ALL.iter().position(|other| *other == group);
            samples.shares()[at.expect("one of them")]
        };
        for (group, wanted) in [
            (Group::Tcp, 0.25),
            (Group::Switches, 0.0),
            (Group::Own, 0.25),
            (Group::Bytes, 0.25),
            (Group::Kernel, 0.25),
        ] {
            assert_eq!(share(group), wanted, "{group:?}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_side_and_nothing_where_no_time_went() {
        let mut shares = [0.0; Group::ALL.len()];
        shares[0] = 0.75;
        shares[1] = 0.25;
        let column = |name: &str, cpu| Column {
            name: name.to_owned(),
            figures: Figures {
                cpu,
                ..Figures::default()
            },
            calls: Calls(Some([6.0, 2.0])),
            shares,
        };
        let text = table(
            "a row",
            &[column("Folkmoot", 20.0), column("raw sockets", 12.0)],
        );
        let lines: Vec<&str> = text.lines().collect();
        let [head, under, ours, raw] = lines[..] else {
            panic!("{text}");
        };
        assert_eq!(
            ours,
            "| a row | Folkmoot | 20.00 | 15.00 (75 %) | 5.00 (25 %) |  |  |  |  |  |  |  | 6.000 | 2.000 |"
        );
        assert!(raw.starts_with("| a row | raw sockets | 12.00 | 9.00 (75 %) |"));
        for line in [head, under, raw] {
            assert_eq!(line.matches('|').count(), ours.matches('|').count());
        }
    }
}
