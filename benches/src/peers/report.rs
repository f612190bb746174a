//! What was measured, as a table on standard output, as JSON, and for benches/README.md.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::page;
use super::rows::Side;
use super::side::Figures;
use crate::Result;
use crate::latency::PER_MILLE;

/// Between these lines of benches/README.md stands what the last run with `--readme` has measured.
const MARKS: [&str; 2] = ["<!-- peers: begin -->", "<!-- peers: end -->"];

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reached.
    Reached,
    /// Not reached; but reached if the raw loop of the same run is the measure, as it was where the target was derived.
    InRawLoops,
    /// Not reached.
    Missed,
    /// Nobody has looked, and why not.
    NotMeasured(String),
}

impl Verdict {
    /// By a figure alone.
    pub fn of(reached: bool) -> Self {
        match reached {
            true => Self::Reached,
            false => Self::Missed,
        }
    }

    /// In words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::InRawLoops => "not reached; reached in raw loops",
            Self::Missed => "not reached",
            Self::NotMeasured(_) => "not measured",
        }
    }
}

/// One target with what was reached.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was to be reached.
    pub target: String,
    /// What was.
    pub figure: String,
    /// Whether it is enough.
    pub verdict: Verdict,
}

/// One workload with the figures of all sides.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The workload.
    pub name: String,
    /// What is counted, "message" unless set.
    pub unit: &'static str,
    /// By side.
    pub figures: Vec<(String, Figures)>,
    /// The targets.
    pub judged: Vec<Judged>,
    /// What else is to be known of it.
    pub notes: Vec<String>,
    /// Why it could not be measured, if it was to be.
    pub failure: Option<String>,
}

impl Line {
    /// A workload without figures yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: "message",
            ..Self::default()
        }
    }

    /// Memory of nodes that have nothing to do.
    pub fn memory(idle: &[(Side, f64)]) -> Self {
        let mut line = Self::new("idle member");
        for (side, mib) in idle {
            let figures = Figures {
                receiver_mib: *mib,
                ..Figures::default()
            };
            line.figures.push((side.name().to_owned(), figures));
            if *side == Side::Ours {
                line.judge("≤ 10 MiB".into(), format!("{mib:.1} MiB"), *mib <= 10.0);
            }
        }
        line
    }

    /// Adds a target.
    pub fn judge(&mut self, target: String, figure: String, reached: bool) {
        self.give(target, figure, Verdict::of(reached));
    }

    /// The same with a verdict.
    pub fn give(&mut self, target: String, figure: String, verdict: Verdict) {
        self.judged.push(Judged {
            target,
            figure,
            verdict,
        });
    }

    /// A workload that could not be measured, and its targets.
    pub fn failed(name: &str, targets: impl Iterator<Item = String>, why: &str) -> Self {
        let mut line = Self::new(name);
        // It stands in a cell of a table.
        let why = why.lines().next().unwrap_or_default().replace('|', "/");
        for target in targets {
            line.not_measured(target, format!("failed ({why})"));
        }
        line.failure = Some(why);
        line
    }

    /// Adds a target nobody could look at.
    pub fn not_measured(&mut self, target: impl Into<String>, why: impl Into<String>) {
        self.judged.push(Judged {
            target: target.into(),
            figure: String::new(),
            verdict: Verdict::NotMeasured(why.into()),
        });
    }
}

/// Everything measured.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) heading: String,
    pub(super) lines: Vec<Line>,
    /// How long it took.
    pub took: Duration,
}

const FIGURES_HEAD: &str = "\
| workload | side | per second | CPU µs | p50 µs | p99 µs | p99.9 µs | sender MiB | receiver MiB | overtaken |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|";

impl Report {
    /// Prints the head of the table.
    pub fn new(heading: String) -> Self {
        println!("{heading}\n\n{FIGURES_HEAD}");
        Self {
            heading,
            lines: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Adds a workload and prints its figures at once.
    pub fn add(&mut self, line: Line) {
        print!("{}", rows(&line));
        for note in line.notes.iter().chain(&line.failure) {
            eprintln!("{}: {note}", line.name);
        }
        self.lines.push(line);
    }

    /// Completes the heading with what is only known at the end.
    pub fn close(&mut self, took: Duration, load: &str) {
        self.took = took;
        let seconds = took.as_secs_f64();
        // Writing to a string does not fail.
        let _ = write!(self.heading, ", {load} at the end, {seconds:.0} s later");
    }

    /// The figures of a side in a workload that has been measured.
    pub fn figures(&self, name: &str, side: &str) -> Option<&Figures> {
        let line = self.lines.iter().find(|line| line.name == name)?;
        let found = line.figures.iter().find(|(s, _)| s == side);
        found.map(|(_, figures)| figures)
    }

    /// The workloads that could not be measured, and why.
    pub fn failed(&self) -> Vec<String> {
        let failed = |line: &Line| {
            let why = line.failure.as_ref()?;
            Some(format!("{} ({why})", line.name))
        };
        self.lines.iter().filter_map(failed).collect()
    }

    /// Targets reached, reached in raw loops only, missed, and not looked at.
    pub(super) fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for judged in self.lines.iter().flat_map(|line| &line.judged) {
            counts[match judged.verdict {
                Verdict::Reached => 0,
                Verdict::InRawLoops => 1,
                Verdict::Missed => 2,
                Verdict::NotMeasured(_) => 3,
            }] += 1;
        }
        counts
    }

    /// The table of targets.
    fn targets(&self) -> String {
        let mut table =
            String::from("| workload | target | value | verdict |\n|---|---|---:|---|\n");
        for line in &self.lines {
            for judged in &line.judged {
                let word = match &judged.verdict {
                    Verdict::Reached => "reached".to_owned(),
                    Verdict::InRawLoops => "**not reached**; reached in raw loops".to_owned(),
                    Verdict::Missed => "**not reached**".to_owned(),
                    Verdict::NotMeasured(why) => format!("not measured: {why}"),
                };
                let (name, target, figure) = (&line.name, &judged.target, &judged.figure);
                // Writing to a string does not fail.
                let _ = writeln!(table, "| {name} | {target} | {figure} | {word} |");
            }
        }
        table
    }

    /// Prints the targets and writes the files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, html: &Path, json: Option<&Path>, readme: bool) -> Result<()> {
        let [reached, relative, missed, open] = self.counts();
        println!("\n{}", self.targets());
        println!(
            "{reached} reached, {relative} only in raw loops, {missed} not reached, {open} not measured; {:.0} s; plots in {}",
            self.took.as_secs_f64(),
            html.display()
        );
        std::fs::write(html, page::html(self)?)?;
        if let Some(json) = json {
            std::fs::write(json, serde_json::to_string_pretty(&self.json())?)?;
        }
        if readme {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(&path, self.put_into(&text)?)?;
            println!("{} has the tables", path.display());
        }
        Ok(())
    }

    /// `text` with our tables between its marks.
    fn put_into(&self, text: &str) -> Result<String> {
        let [begin, end] = MARKS;
        let parts = text.split_once(begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(end)?;
            Some((before, after))
        });
        let (before, after) = parts.ok_or_else(|| format!("no line `{begin}` and `{end}`"))?;
        let mut figures = String::new();
        for line in &self.lines {
            figures.push_str(&rows(line));
        }
        let mut notes = String::new();
        for line in &self.lines {
            for note in &line.notes {
                writeln!(notes, "\n{}: {note}.", line.name)?;
            }
        }
        Ok(format!(
            "{before}{begin}\n{}.\n\n{}\n{FIGURES_HEAD}\n{figures}{notes}{end}{after}",
            self.heading,
            self.targets()
        ))
    }

    pub(super) fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let figures: Vec<Value> = line
                    .figures
                    .iter()
                    .map(|(side, f)| {
                        json!({
                            "side": side, "per_second": f.rate, "cpu_us": f.cpu,
                            "latency_per_mille": if f.latencies.is_empty() { &[][..] } else { &PER_MILLE[..] },
                            "latency_us": f.latencies, "overtaken": f.overtaken,
                            "waited_for_room": f.full, "sender_peak_mib": f.sender_mib,
                            "receiver_peak_mib": f.receiver_mib, "allocations": f.allocations,
                        })
                    })
                    .collect();
                let targets: Vec<Value> = line
                    .judged
                    .iter()
                    .map(|j| json!({"target": j.target, "value": j.figure, "verdict": j.verdict.word()}))
                    .collect();
                json!({
                    "workload": line.name, "unit": line.unit, "figures": figures, "targets": targets,
                    "notes": line.notes,
                })
            })
            .collect();
        json!({"heading": self.heading, "seconds": self.took.as_secs_f64(), "workloads": lines})
    }
}

/// The figures of one workload as rows of the table.
fn rows(line: &Line) -> String {
    let mut rows = String::new();
    for (side, f) in &line.figures {
        let latency = |at: usize| match f.latencies.get(at) {
            Some(micros) => format!("{micros:.1}"),
            None => String::new(),
        };
        let digits = if f.rate < 100.0 { 1 } else { 0 };
        // Writing to a string does not fail.
        let _ = writeln!(
            rows,
            "| {} | {side} | {} | {} | {} | {} | {} | {} | {} | {} |",
            line.name,
            some(f.rate, digits),
            some(f.cpu, 2),
            latency(4),
            latency(7),
            latency(8),
            some(f.sender_mib, 1),
            some(f.receiver_mib, 1),
            some(f.overtaken, 0),
        );
    }
    rows
}

/// A figure, or nothing where nothing was measured.
pub(super) fn some(figure: f64, digits: usize) -> String {
    match figure > 0.0 {
        true => format!("{figure:.digits$}"),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("here <and> now".into());
        let mut line = Line::new("a workload");
        for (side, rate) in [
            ("Tribes", 1000.0),
            ("Folkmoot", 9000.0),
            ("raw sockets", 9e6),
        ] {
            let figures = Figures {
                rate,
                cpu: 2.5,
                latencies: (1..=10).map(f64::from).collect(),
                ..Figures::default()
            };
            line.figures.push((side.into(), figures));
        }
        line.judge("rate ≥ 4 × Tribes".into(), "1.0 ×".into(), false);
        line.not_measured("ahead of zenoh", "zenoh is not there");
        report.add(line);
        report
    }

    #[test]
    fn a_page_shows_every_side_and_target_and_needs_no_other_file() {
        let page = page::html(&report()).expect("written");
        for wanted in [
            "here &lt;and&gt; now",
            "a workload",
            "Tribes",
            "rate ≥ 4 × Tribes",
            "zenoh is not there",
            "<polyline",
            "<rect",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for unwanted in ["src=", "href=", "http:", "https:", "NaN", "inf"] {
            assert!(!page.contains(unwanted), "{unwanted}");
        }
        assert_eq!(
            report().json()["workloads"][0]["targets"][0]["verdict"],
            "not reached"
        );
    }

    #[test]
    fn the_tables_replace_what_stands_between_the_marks() {
        let [begin, end] = MARKS;
        let text = format!("before\n{begin}\nold\n{end}\nafter\n");
        let once = report().put_into(&text).expect("there are marks");
        assert!(once.starts_with("before\n") && once.ends_with("\nafter\n"));
        assert!(!once.contains("old"), "{once}");
        assert!(once.contains("| a workload | rate ≥ 4 × Tribes | 1.0 × | **not reached** |"));
        assert!(once.contains("| a workload | Folkmoot | 9000 | 2.50 |"));
        assert_eq!(report().put_into(&once).expect("again"), once);
        assert!(report().put_into("no marks").is_err());
    }
}
