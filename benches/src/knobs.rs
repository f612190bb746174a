//! What each setting does to which figure: the same programs with different settings, round by round in turn.

use std::time::Duration;

use crate::Result;
use crate::compare::median;
use crate::peers::Options;
use crate::peers::rows::{BASE, Place, Row};
use crate::peers::side::{Figures, Running};

/// One setting, its values as `peer` takes them, and the workloads that show it.
struct Knob {
    name: &'static str,
    /// The default first.
    values: &'static [(&'static str, &'static str)],
    rows: &'static [Row],
}

const fn row(name: &'static str, options: u32, size: usize, callers: u32) -> Row {
    Row {
        name,
        options,
        size,
        callers,
        ..BASE
    }
}

const ONE: Row = row("options 6, 512 B, one caller", 6, 512, 1);
const ONE_EACH: Row = Row {
    name: "options 6, 512 B, one caller, a core each",
    place: Place::OneEach,
    ..ONE
};
const SIXTEEN: Row = row("options 6, 512 B, 16 callers", 6, 512, 16);
const ASYNC: Row = row("options 8, 512 B", 8, 512, 1);
const STREAM: Row = row("options 0, 64 KiB", 0, 64 << 10, 1);
const LARGE: Row = row("options 0, 1 MiB", 0, 1 << 20, 1);
const MIDDLE: Row = row("options 8, 4 KiB", 8, 4096, 1);

const KNOBS: &[Knob] = &[
    Knob {
        name: "spin",
        values: &[
            ("0", "spin=0"),
            ("20 µs", "spin=20"),
            ("50 µs", "spin=50"),
            ("200 µs", "spin=200"),
        ],
        rows: &[ONE_EACH, SIXTEEN],
    },
    Knob {
        name: "lend",
        values: &[
            ("200 µs", "lend=200"),
            ("0", "lend=0"),
            ("1 ms", "lend=1000"),
        ],
        rows: &[ONE, SIXTEEN],
    },
    Knob {
        name: "coalesce_within",
        values: &[
            ("10 µs", "within=10"),
            ("0", "within=0"),
            ("100 µs", "within=100"),
        ],
        rows: &[ASYNC, SIXTEEN],
    },
    Knob {
        name: "coalesce_commands",
        values: &[
            ("64", "commands=64"),
            ("1", "commands=1"),
            ("8", "commands=8"),
            ("512", "commands=512"),
        ],
        rows: &[ASYNC],
    },
    Knob {
        name: "read_buffer",
        values: &[
            ("256 KiB", "read=256"),
            ("64 KiB", "read=64"),
            ("1 MiB", "read=1024"),
        ],
        rows: &[ASYNC, STREAM, LARGE],
    },
    Knob {
        name: "queue_bytes_max",
        values: &[
            ("64 MiB", "queue=65536"),
            ("4 MiB", "queue=4096"),
            ("1 MiB", "queue=1024"),
            ("256 KiB", "queue=256"),
        ],
        rows: &[ASYNC, STREAM],
    },
    Knob {
        name: "ring",
        values: &[
            ("io_uring", "ring=default"),
            ("`ring_from` 0", "ring=from"),
            ("`ring_accept`", "ring=accept"),
            ("`ring_send`", "ring=send"),
            ("all three", "ring=whole"),
            ("mio", "spin=0"),
        ],
        rows: &[ONE, SIXTEEN, MIDDLE, STREAM, LARGE],
    },
];

/// Measures and prints a table.
///
/// # Errors
/// A process failed, or a message was lost.
pub fn run(options: &Options) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("folkmoot-knobs-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    println!(
        "| setting | value | workload | per second | CPU µs | p50 µs | p99 µs | sender MiB | receiver MiB |"
    );
    println!("|---|---|---|---:|---:|---:|---:|---:|---:|");
    for knob in KNOBS.iter().filter(|knob| options.wants(knob.name)) {
        if knob.name == "ring"
            && let Err(reason) = folkmoot_uring::support()
        {
            println!("no io_uring here: {reason}");
            continue;
        }
        for row in knob.rows {
            // Fresh processes, so that no row's memory is in the next one's.
            let mut sides = Vec::new();
            for (value, word) in knob.values {
                let started = Running::tuned(&scratch, word)?;
                sides.push((value, started, u64::from(row.callers) * 50, Vec::new()));
            }
            for round in 0..options.warm_up() + options.rounds {
                for (_, running, count, rounds) in &mut sides {
                    running.place(row.place)?;
                    if round == options.warm_up() {
                        running.reset_peaks()?;
                    }
                    let figures = running.round(row, *count, options.round())?;
                    match round < options.warm_up() {
                        true => *count = fill(&figures, options.round(), *count, row.callers),
                        false => rounds.push(figures),
                    }
                }
            }
            for (value, _, _, rounds) in &sides {
                print(knob.name, value, row.name, rounds);
            }
        }
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// As many messages as fill a round, no more than fifty times as many as before.
fn fill(figures: &Figures, round: Duration, count: u64, callers: u32) -> u64 {
    let fill = (figures.rate * round.as_secs_f64()) as u64;
    fill.clamp(u64::from(callers) * 20, count * 50)
}

fn print(knob: &str, value: &str, row: &str, rounds: &[Figures]) {
    let latency = |at: usize| match rounds.iter().all(|f| f.latencies.len() > at) {
        true => format!("{:.1}", median(rounds, |f| f.latencies[at])),
        false => String::new(),
    };
    println!(
        "| `{knob}` | {value} | {row} | {:.0} | {:.2} | {} | {} | {:.1} | {:.1} |",
        median(rounds, |f| f.rate),
        median(rounds, |f| f.cpu),
        latency(4),
        latency(7),
        median(rounds, |f| f.sender_mib),
        median(rounds, |f| f.receiver_mib),
    );
}
