//! Seeds in, verdicts out.

mod args;
mod planted;
mod show;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use folkmoot_sim::group::GroupMode;
use folkmoot_sim::maps::MapsMode;
use folkmoot_sim::sessions::SessionMode;
use folkmoot_sim::{
    About, MODES, Mode, Plan, PlanOptions, Report, bench, document, page, record_mode, run_mode,
    shrink,
};

use args::{Command, Common, Modes, USAGE};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Command::parse(&words) {
        Ok(Command::Help) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Command::Run {
            seeds,
            shard,
            json,
            threads,
            common,
        }) => {
            let seeds: Vec<u64> = seeds.filter(|seed| seed % shard.1 == shard.0).collect();
            run_seeds(&seeds, json, threads, &common)
        }
        Ok(Command::Explore {
            seeds,
            threads,
            common,
        }) => explore(seeds, threads, &common),
        Ok(Command::Shrink {
            seed,
            tries,
            common,
        }) => shrink_seed(seed, tries, &common),
        Ok(Command::Canary { seeds, only, json }) => planted::canary(seeds, only.as_deref(), json),
        Ok(Command::Bench) => {
            show::measured(&bench::three_channels(Duration::from_secs(20)));
            show::measured(&bench::five_clusters(Duration::from_secs(120)));
            show::measured(&bench::idle_day(Duration::from_secs(86_400)));
            ExitCode::SUCCESS
        }
        Ok(Command::Replay {
            seed,
            lines,
            trace,
            common,
        }) => match trace {
            Some(file) => write_pages(seed, &file, &common),
            None => replay(seed, lines, &common),
        },
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Events that a page shows at most.
const EVENTS_MAX: usize = 2_000_000;

/// Runs a seed in a mode.
fn run_one(mode: &str, seed: u64, options: &PlanOptions, keep_trace: usize) -> Report {
    let plan = Plan::draw(seed, options);
    run_mode(mode, &plan, keep_trace)
}

fn run_seeds(seeds: &[u64], json: bool, threads: usize, common: &Common) -> ExitCode {
    let began = Instant::now();
    let total = seeds.len() * common.mode.names().len();
    let mut sum = show::Summary::default();
    for_each_run(seeds, threads, common, |report| {
        sum.add(report);
        if json {
            println!("{}", show::json(report));
            return;
        }
        if !report.held() {
            show::clear_progress();
            show::failure(report, common);
        }
        show::progress(&sum, total, began.elapsed());
    });
    if !json {
        show::clear_progress();
        show::summary(&sum, began.elapsed());
    }
    if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs every seed in every mode on so many threads, and calls `each` with the reports in order.
fn for_each_run(seeds: &[u64], threads: usize, common: &Common, mut each: impl FnMut(&Report)) {
    // A panic inside a run is reported as its verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let modes = common.mode.names();
    let total = seeds.len() * modes.len();
    let next = AtomicUsize::new(0);
    let (sender, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, total.max(1)) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(seed), mode) = (seeds.get(at / modes.len()), at % modes.len()) else {
                        return;
                    };
                    let report = run_one(modes[mode], *seed, &common.plan, 0);
                    if sender.send((at, report)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut wanted = 0;
        for (at, report) in reports {
            early.insert(at, report);
            while let Some(report) = early.remove(&wanted) {
                each(&report);
                wanted += 1;
            }
        }
    });
}

fn explore(seeds: RangeInclusive<u64>, threads: usize, common: &Common) -> ExitCode {
    let seeds: Vec<u64> = seeds.collect();
    let mut sums: BTreeMap<&str, show::Summary> = BTreeMap::new();
    for_each_run(&seeds, threads, common, |report| {
        sums.entry(report.mode).or_default().add(report);
    });
    for (mode, sum) in sums {
        show::explored(mode, &sum);
    }
    ExitCode::SUCCESS
}

fn shrink_seed(seed: u64, tries: usize, common: &Common) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let mut held = true;
    for mode in common.mode.names() {
        // The same rule has to be broken: another failure is another story.
        let whole = run_one(mode, seed, &common.plan, 0);
        let Some(rule) = whole.violations.first().map(|violation| violation.rule) else {
            println!("mode {mode}: seed {seed} holds; there is nothing to shrink");
            continue;
        };
        held = false;
        let fails = |options: &PlanOptions| {
            let report = run_one(mode, seed, options, 0);
            report
                .violations
                .first()
                .is_some_and(|violation| violation.rule == rule)
        };
        if let Some(shrunk) = shrink(seed, &common.plan, tries, fails) {
            show::shrunk(mode, seed, &shrunk, common);
            let mut options = common.plan.clone();
            options.keep = Some(shrunk.keep);
            for item in &Plan::draw(seed, &options).items {
                println!(
                    "  {:>4} at {:?}: {}",
                    item.place,
                    item.at,
                    show::what(&item.what)
                );
            }
        }
    }
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay(seed: u64, lines: usize, common: &Common) -> ExitCode {
    let mut held = true;
    for mode in common.mode.names() {
        let report = run_one(mode, seed, &common.plan, usize::MAX);
        show::trace(&report, lines);
        held &= report.held();
    }
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes the page of a seed, one for each mode.
fn write_pages(seed: u64, file: &Path, common: &Common) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let mut code = ExitCode::SUCCESS;
    let modes = common.mode.names();
    for mode in modes {
        let plan = Plan::draw(seed, &common.plan);
        let (report, recording) = record_mode(mode, &plan, EVENTS_MAX);
        let about = About {
            command: show::replay_command(&report, common),
            version: show::commit(),
            plan: plan.describe(),
        };
        let page = page(Some(&document(&report, &recording, &about)));
        let file = match modes {
            [_] => file.to_owned(),
            _ => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                file.with_file_name(format!("{stem}-{mode}.html"))
            }
        };
        if let Err(error) = std::fs::write(&file, page) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::from(2);
        }
        show::written(&report, &file);
        if !report.held() {
            code = ExitCode::FAILURE;
        }
    }
    code
}

impl Modes {
    const fn names(&self) -> &'static [&'static str] {
        match self {
            Self::All => &MODES,
            Self::Group => &[GroupMode::NAME],
            Self::Session => &[SessionMode::NAME],
            Self::Maps => &[MapsMode::NAME],
        }
    }
}
