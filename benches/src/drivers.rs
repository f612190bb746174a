//! The two drivers against each other: the same programs, round by round in turn.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::process::Command;

use folkmoot_uring::Driver;

use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::peers::rows::{BASE, Row, Side};
use crate::peers::side::{Running, Tools};
use crate::peers::{Options, one_row};
use crate::process::Process;

const BOTH: &[Side] = &[Side::Mio, Side::Uring];

/// Messages one way and acknowledged, of every size that matters.
const ROWS: &[Row] = &[
    row("none 512 B", 0, 512, BOTH),
    row("sync 512 B", 6, 512, BOTH),
    Row {
        callers: 16,
        ..row("sync 512 B, 16 callers", 6, 512, BOTH)
    },
    row(
        "none 4 KiB",
        0,
        4096,
        &[Side::Mio, Side::Uring, Side::Sends],
    ),
    row("sync 4 KiB", 6, 4096, BOTH),
    row(
        "none 64 KiB",
        0,
        64 << 10,
        &[
            Side::Mio,
            Side::Uring,
            Side::Sends,
            Side::Raw,
            Side::Bundles,
            Side::Iperf,
        ],
    ),
    row("sync 64 KiB", 6, 64 << 10, BOTH),
    row(
        "none 1 MiB",
        0,
        1 << 20,
        &[
            Side::Mio,
            Side::Uring,
            Side::Sends,
            Side::Raw,
            Side::Bundles,
        ],
    ),
    row("sync 1 MiB", 6, 1 << 20, BOTH),
];

const fn row(name: &'static str, options: u32, size: usize, sides: &'static [Side]) -> Row {
    Row {
        name,
        options,
        size,
        sides,
        ..BASE
    }
}

/// Measures and prints a table.
///
/// # Errors
/// A process failed, or a message or a session was lost.
pub fn run(options: &Options) -> Result<()> {
    let support = folkmoot_uring::support();
    println!("io_uring here: {support:?}");
    support?;
    let scratch = std::env::temp_dir().join(format!("folkmoot-drivers-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let tools = Tools::without_others(&scratch);
    println!(
        "| workload | side | per second | CPU µs each | least | p50 µs | of mio's CPU | of its least |\n|---|---|---:|---:|---:|---:|---:|---:|"
    );
    let mut sides: BTreeMap<(Side, usize), Running> = BTreeMap::new();
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        for side in row.sides.iter().filter(|side| tools.has(**side)) {
            if let Entry::Vacant(place) = sides.entry((*side, 1)) {
                place.insert(Running::start(&tools, *side, 1)?);
            }
        }
        let figures = one_row(options, &tools, row, &mut sides)?;
        let mio = figures.iter().find(|(side, _)| *side == Side::Mio);
        let (mio, mios_least) = mio.map_or((f64::NAN, f64::NAN), |(_, figures)| {
            (figures.cpu, figures.cpu_least)
        });
        for (side, figures) in &figures {
            let middle = figures.latencies.get(4);
            let middle = middle.map_or(String::new(), |p50| format!("{p50:.1}"));
            println!(
                "| {} | {} | {:.0} | {:.2} | {:.2} | {middle} | {:.2} | {:.2} |",
                row.name,
                side.name(),
                figures.rate,
                figures.cpu,
                figures.cpu_least,
                figures.cpu / mio,
                figures.cpu_least / mios_least
            );
        }
    }
    drop(sides);
    if options.wants("state transfer") {
        transfers(options, &scratch)?;
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// 10,000 sessions of 1 KiB to a node that joins.
fn transfers(options: &Options, scratch: &std::path::Path) -> Result<()> {
    const SESSIONS: u64 = 10_000;
    let drivers = [Driver::Mio, Driver::IoUring];
    let mut donors = Vec::new();
    for driver in drivers {
        let ports: [u16; 2] = free_ports()?;
        let mut donor = node(driver, ports, SESSIONS, scratch)?;
        donor.expect("READY", PATIENCE)?;
        donors.push((driver, ports, donor, Vec::new()));
    }
    for round in 0..=options.rounds {
        for (driver, [port, other], donor, rounds) in &mut donors {
            let before = donor.cpu_nanos()?;
            let mut joiner = node(*driver, [*other, *port], 0, scratch)?;
            let [nanos, came] = joiner.expect("TRANSFERRED", PATIENCE)?[..] else {
                return Err("a joiner gave no figures".into());
            };
            let cpu = donor.cpu_nanos()? - before + joiner.cpu_nanos()?;
            joiner.finish()?;
            if came != SESSIONS {
                return Err(format!("{driver}: {came} of {SESSIONS} sessions").into());
            }
            if round > 0 {
                rounds.push((nanos as f64 / 1e6, cpu as f64 / 1e6));
            }
        }
    }
    let (mut mio, mut mios_least) = (f64::NAN, f64::NAN);
    for (driver, _, donor, rounds) in donors {
        let (took, cpu) = (median(&rounds, |r| r.0), median(&rounds, |r| r.1));
        let least = rounds.iter().map(|r| r.1).fold(f64::INFINITY, f64::min);
        if driver == Driver::Mio {
            (mio, mios_least) = (cpu, least);
        }
        println!(
            "| state transfer, {SESSIONS} sessions | Folkmoot, {driver} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
            1e3 / took,
            cpu * 1e3,
            least * 1e3,
            took * 1e3,
            cpu / mio,
            least / mios_least
        );
        donor.finish()?;
    }
    Ok(())
}

/// A node that has `sessions` sessions of 1 KiB, or joins.
///
/// # Errors
/// It cannot be started.
pub(crate) fn node(
    driver: Driver,
    [port, other]: [u16; 2],
    sessions: u64,
    scratch: &std::path::Path,
) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .env(folkmoot_uring::ENVIRONMENT, driver.to_string())
        .args(["node".to_owned(), port.to_string(), other.to_string()])
        .args([sessions.to_string(), "1024".to_owned()]);
    let log = scratch.join(format!("node-{port}.log"));
    Process::start(&format!("node, {driver}"), &mut command, &log)
}
