//! What the program prints.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use folkmoot_sim::bench::Measured;
use folkmoot_sim::{NodeId, Report, Shrunk, TraceEvent, Violation, What};
use serde_json::json;

use crate::args::{Common, places_text};

/// All runs so far.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) failed: usize,
    virtual_time: Duration,
    events: u64,
    faults: usize,
    works: usize,
    slowest: Duration,
    pub(crate) covered: BTreeMap<String, u64>,
}

impl Summary {
    pub(crate) fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.failed += usize::from(!report.held());
        self.virtual_time += report.virtual_time;
        self.events += report.stats.engine_events;
        self.faults += report.faults;
        self.works += report.works;
        self.slowest = self.slowest.max(report.converged_after.unwrap_or_default());
        for (name, count) in &report.covered {
            *self.covered.entry(name.clone()).or_default() += count;
        }
    }

    fn line(&self, real: Duration) -> String {
        let seconds = real.as_secs_f64().max(1e-9);
        format!(
            "{} runs, {} failed, {} virtual, {:.0} events/s, {} faults",
            self.runs,
            self.failed,
            span(self.virtual_time),
            self.events as f64 / seconds,
            self.faults,
        )
    }
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

pub(crate) fn progress(sum: &Summary, total: usize, real: Duration) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let done = 30 * sum.runs / total.max(1);
        let bar: String = (0..30)
            .map(|at| if at < done { '█' } else { '░' })
            .collect();
        let _ = write!(out, "\r\x1b[K{bar} {}/{total} {}", sum.runs, sum.line(real));
        let _ = out.flush();
    }
}

pub(crate) fn clear_progress() {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K");
    }
}

pub(crate) fn summary(sum: &Summary, real: Duration) {
    println!("{}", sum.line(real));
    println!(
        "{} works, slowest convergence {:?}, {real:.1?} real time",
        sum.works, sum.slowest
    );
}

/// Broken rules of one run that are printed: one leads to others.
const VIOLATIONS_SHOWN: usize = 5;

pub(crate) fn failure(report: &Report, common: &Common) {
    println!(
        "seed {} FAILED (mode {}, {} nodes, {} strangers)",
        report.seed, report.mode, report.nodes, report.strangers
    );
    for violation in report.violations.iter().take(VIOLATIONS_SHOWN) {
        println!("  {violation}");
    }
    if let Some(more) = report.violations.len().checked_sub(VIOLATIONS_SHOWN + 1) {
        println!("  and {} more", more + 1);
    }
    println!("  at {}", commit());
    println!("  {}", replay_command(report, common));
}

pub(crate) fn replay_command(report: &Report, common: &Common) -> String {
    let (mode, seed, words) = (report.mode, report.seed, &common.words);
    format!("cargo run --release -p folkmoot-sim -- replay --mode {mode} --seed {seed}{words}")
}

pub(crate) fn shrunk(mode: &str, seed: u64, shrunk: &Shrunk, common: &Common) {
    let (left, places, tried) = (shrunk.keep.len(), shrunk.places, shrunk.tried);
    println!("mode {mode}: {left} of {places} faults and works are left after {tried} runs");
    let (words, keep) = (&common.words, places_text(&shrunk.keep));
    let command = "cargo run --release -p folkmoot-sim -- replay";
    println!("  {command} --mode {mode} --seed {seed}{words} --keep {keep}");
}

pub(crate) fn what(what: &What) -> String {
    match what {
        What::Fault(fault) => fault.to_string(),
        What::Work(number) => format!("work {number:016x}"),
    }
}

pub(crate) fn measured(measured: &Measured) {
    println!(
        "{:<50} {:>12.0} events/s {:>10.0} times real time ({:?} in {:.1?}, {:.1?} of them on a core)",
        measured.name,
        measured.events_per_second(),
        measured.speed(),
        measured.virtual_time,
        measured.real_time,
        measured.core_time,
    );
}

/// What was built, as far as it can be found out here.
pub(crate) fn commit() -> String {
    let git = std::process::Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output();
    match git {
        Ok(output) if output.status.success() => {
            format!("commit {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => format!("version {}", env!("CARGO_PKG_VERSION")),
    }
}

pub(crate) fn json(report: &Report) -> serde_json::Value {
    let violations: Vec<String> = report.violations.iter().map(Violation::to_string).collect();
    json!({
        "seed": report.seed,
        "mode": report.mode,
        "verdict": if report.held() { "held" } else { "failed" },
        "trace_hash": format!("{:016x}", report.trace_hash),
        "nodes": report.nodes,
        "strangers": report.strangers,
        "faults": report.faults,
        "works": report.works,
        "virtual_ms": report.virtual_time.as_millis() as u64,
        "converged_after_ms": report.converged_after.map(|after| after.as_millis() as u64),
        "events": report.stats.engine_events,
        "violations": violations,
    })
}

#[cfg(feature = "plant")]
pub(crate) fn finding(finding: &folkmoot_sim::canary::Finding) -> serde_json::Value {
    let found = finding.found.as_ref();
    json!({
        "planted": finding.bug.name(),
        "what": finding.bug.what(),
        "found": found.is_some(),
        "rule": found.map(|found| found.rule),
        "mode": found.map(|found| found.mode),
        "seed": found.map(|found| found.seed),
        "seeds": found.map(|found| found.seeds),
        "unfit": finding.unfit,
    })
}

/// A page was written.
pub(crate) fn written(report: &Report, file: &std::path::Path) {
    println!(
        "{}: mode {}, {}, {} events",
        file.display(),
        report.mode,
        if report.held() { "held" } else { "FAILED" },
        report.trace.len(),
    );
    for violation in &report.violations {
        println!("  {violation}");
    }
}

/// What runs have reached, and what they have not.
pub(crate) fn explored(mode: &str, sum: &Summary) {
    println!("mode {mode}, {} runs, {} failed", sum.runs, sum.failed);
    for (name, count) in sum.covered.iter().filter(|(_, count)| **count > 0) {
        println!("{count:>12}  {name}");
    }
    let blind = sum.covered.iter().filter(|(_, count)| **count == 0);
    let blind: Vec<&str> = blind.map(|(name, _)| name.as_str()).collect();
    match blind.is_empty() {
        true => println!("nothing known was left out"),
        false => println!("never reached: {}", blind.join(", ")),
    }
}

/// The story and the trace, in order of time.
pub(crate) fn trace(report: &Report, lines: usize) {
    let mut all: Vec<(u64, String)> = Vec::new();
    for (at, what) in &report.story {
        all.push((at.as_nanos() as u64, format!("── {what}")));
    }
    for event in &report.trace {
        all.push((event.at, trace_line(event)));
    }
    for violation in &report.violations {
        all.push((violation.at, format!("!! {violation}")));
    }
    all.sort_by_key(|(at, _)| *at);
    let skipped = all.len().saturating_sub(lines);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (at, line) in all.into_iter().skip(skipped) {
        let _ = writeln!(
            out,
            "{:>6}.{:06} {line}",
            at / 1_000_000_000,
            at / 1_000 % 1_000_000
        );
    }
    let verdict = if report.held() { "held" } else { "FAILED" };
    let _ = writeln!(
        out,
        "seed {} {verdict}, trace {:016x}",
        report.seed, report.trace_hash
    );
}

fn trace_line(event: &TraceEvent) -> String {
    let mut line = format!("{} {:?}", NodeId::new(event.node), event.kind);
    if let Some(peer) = event.peer {
        line.push_str(&format!(" {}", NodeId::new(peer)));
    }
    if event.conn > 0 {
        line.push_str(&format!(
            " conn {}.{}",
            event.conn & 0xffff_ffff,
            event.conn >> 32
        ));
    }
    if event.len > 0 {
        line.push_str(&format!(" {} bytes", event.len));
    }
    if !event.detail.is_empty() {
        line.push_str(&format!(": {}", event.detail));
    }
    line
}
