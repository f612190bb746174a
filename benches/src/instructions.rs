//! Instructions of the hot paths, counted by callgrind, against the committed counts in `instructions.json`.
//!
//! Instructions are counted and not time, so that a busy machine judges as a quiet one does. Each path is run twice in a
//! process of its own, with few and with many repetitions: the difference is what one repetition costs, and what it takes
//! to start is not in it. The same program gives the same counts; another compiler gives others, so the compiler is
//! committed with them and nothing is judged where it differs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use folkmoot_core::java::{JavaBytes, JavaString, Limits, ObjectOutput};
use folkmoot_core::session::{Action, ActionType, DeltaRequest, SessionId};
use folkmoot_core::wire::{
    ChannelData, Deframed, Member, MemberBlock, SendOptions, UniqueId, deframe,
};

use crate::Result;
use crate::joining::{Joining, SESSIONS};
use crate::machines::{BATCH, Channels, Clusters};

/// More than the committed count by this factor fails.
const TOLERANCE: f64 = 1.03;
/// Repetitions of the two runs.
const REPEATED: [u64; 2] = [50, 250];

/// Name, what one repetition is divided by, and the path itself.
type HotPath = (&'static str, u64, fn(u64) -> Result<()>);

const PATHS: &[HotPath] = &[
    ("frame of 512 bytes, write", 1, frame_write),
    ("frame of 512 bytes, read", 1, frame_read),
    ("member block, read", 1, member_read),
    ("delta of 1 KiB, write", 1, delta_write),
    ("delta of 1 KiB, read", 1, delta_read),
    (
        "channel, options 8, 512 bytes, sent to delivered",
        BATCH as u64,
        |n| channel(n, 8),
    ),
    (
        "channel, options 6, 512 bytes, sent to acknowledged",
        BATCH as u64,
        |n| channel(n, 6),
    ),
    ("session delta of 1 KiB, set to applied", 1, session),
    (
        "session request that changes 1 KiB, begun to applied",
        1,
        request,
    ),
    (
        "state transfer, a session of 1 KiB, asked for to compared",
        SESSIONS as u64,
        transfer,
    ),
];

fn block() -> Result<Vec<u8>> {
    let address: SocketAddr = ([127, 0, 0, 1], 4000).into();
    let mut block = Vec::new();
    Member::new(address, UniqueId([7; 16])).write(&mut block)?;
    Ok(block)
}

fn data<'a>(block: &'a [u8], message: &'a [u8]) -> ChannelData<'a> {
    ChannelData {
        options: SendOptions::from_bits(9),
        timestamp_ms: 1_700_000_000_000,
        unique_id: &[9; 16],
        address: block,
        message,
    }
}

fn frame_write(times: u64) -> Result<()> {
    let (block, message) = (block()?, [7; 512]);
    let data = data(&block, &message);
    let mut out = Vec::with_capacity(1024);
    for _ in 0..times {
        out.clear();
        black_box(&data).write_frame(&mut out)?;
        black_box(&out);
    }
    Ok(())
}

fn frame_read(times: u64) -> Result<()> {
    let (block, message) = (block()?, [7; 512]);
    let mut frame = Vec::new();
    data(&block, &message).write_frame(&mut frame)?;
    for _ in 0..times {
        let Deframed::Frame { data, .. } = deframe(black_box(&frame), 1 << 20)? else {
            return Err("not a whole frame".into());
        };
        black_box(ChannelData::decode(data)?.message.len());
    }
    Ok(())
}

fn member_read(times: u64) -> Result<()> {
    let block = block()?;
    for _ in 0..times {
        black_box(MemberBlock::read(black_box(&block))?.port);
    }
    Ok(())
}

/// One attribute of 1 KiB in a session that is not new.
pub fn delta() -> Result<DeltaRequest> {
    let id = SessionId::from("0123456789ABCDEF0123456789ABCDEF.n1");
    let mut request = DeltaRequest::new(id, false);
    let is_new = ActionType::IS_NEW;
    request.record(Action {
        kind: is_new,
        action: Action::<JavaBytes>::SET,
        name: is_new.fixed_name().ok_or("it has a name")?,
        value: Some(JavaBytes::from(false)),
    });
    request.record(Action {
        kind: ActionType::ATTRIBUTE,
        action: Action::<JavaBytes>::SET,
        name: JavaString::from("cart"),
        value: Some(JavaBytes::from("x".repeat(1024))),
    });
    Ok(request)
}

fn delta_write(times: u64) -> Result<()> {
    let request = delta()?;
    for _ in 0..times {
        let mut out = ObjectOutput::new();
        black_box(&request).write(&mut out)?;
        black_box(out.finish());
    }
    Ok(())
}

fn delta_read(times: u64) -> Result<()> {
    let mut out = ObjectOutput::new();
    delta()?.write(&mut out)?;
    let (stream, limits) = (out.finish(), Limits::default());
    for _ in 0..times {
        black_box(DeltaRequest::read(black_box(&stream), &limits)?);
    }
    Ok(())
}

fn channel(times: u64, options: u32) -> Result<()> {
    let mut channels = Channels::new()?;
    (0..times).try_for_each(|_| channels.batch(options, &[7; 512]))
}

fn session(times: u64) -> Result<()> {
    let mut clusters = Clusters::new()?;
    (0..times).try_for_each(|_| clusters.change())?;
    match clusters.agree() {
        true => Ok(()),
        false => Err("the change has not arrived".into()),
    }
}

fn request(times: u64) -> Result<()> {
    let mut clusters = Clusters::new()?;
    (0..times).try_for_each(|_| clusters.use_and_change())?;
    match clusters.agree() {
        true => Ok(()),
        false => Err("the change has not arrived".into()),
    }
}

fn transfer(times: u64) -> Result<()> {
    let mut joining = Joining::new()?;
    (0..times).try_for_each(|_| joining.join())
}

/// Runs one path, for callgrind to count.
///
/// # Errors
/// There is no such path, or it failed.
pub fn hot(number: usize, times: u64) -> Result<()> {
    let (_, _, path) = PATHS.get(number).ok_or("no such path")?;
    path(times)
}

/// The committed counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Committed {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Committed {
    fn read(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let compiler = value["compiler"].as_str().ok_or("no compiler is named")?;
        Ok(Self {
            compiler: compiler.to_owned(),
            counts: serde_json::from_value(value["counts"].clone())?,
        })
    }

    fn write(&self) -> Result<String> {
        let value = serde_json::json!({"compiler": self.compiler, "counts": self.counts});
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// Compares `counted` with this; the names of paths that have become longer.
    fn compare(&self, counted: &Self) -> Result<Vec<String>> {
        println!("| instructions of | committed | counted | |");
        println!("|---|---:|---:|---|");
        let mut longer = Vec::new();
        for (name, count) in &counted.counts {
            let Some(before) = self.counts.get(name) else {
                return Err(format!("`{name}` has no committed count: run with --update").into());
            };
            let ratio = *count as f64 / (*before).max(1) as f64;
            let word = match ratio {
                ratio if ratio > TOLERANCE => {
                    longer.push(name.clone());
                    "**more**"
                }
                ratio if ratio < 2.0 - TOLERANCE => "fewer: commit them with --update",
                _ => "",
            };
            println!("| {name} | {before} | {count} | {word} |");
        }
        Ok(longer)
    }
}

/// Counts all paths and compares them with the committed counts; with `update` writes those anew.
///
/// # Errors
/// valgrind is missing, a path failed, or one has become longer than the tolerance allows.
pub fn run(update: bool) -> Result<()> {
    if cfg!(debug_assertions) {
        return Err("the counts are those of a release build: cargo run --release".into());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("missing: apt-get install valgrind".into());
    }
    let compiler = Command::new("rustc").arg("--version").output()?;
    let mut counted = Committed {
        compiler: String::from_utf8_lossy(&compiler.stdout).trim().to_owned(),
        ..Committed::default()
    };
    for (number, (name, divided, _)) in PATHS.iter().enumerate() {
        let [few, many] = REPEATED;
        let more = count(number, many)?.saturating_sub(count(number, few)?);
        let each = more as f64 / ((many - few) * divided) as f64;
        let each = each.round() as u64;
        counted.counts.insert((*name).to_owned(), each);
    }
    if update {
        std::fs::write(&file, counted.write()?)?;
    }
    let committed = Committed::read(&std::fs::read_to_string(&file)?)?;
    let longer = committed.compare(&counted)?;
    if counted.compiler != committed.compiler {
        println!(
            "\nnothing is judged: the committed counts are those of {}, this is {}",
            committed.compiler, counted.compiler
        );
        return Ok(());
    }
    match longer.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more instructions than committed, by more than {:.0} %: {}. If that has a reason, \
             `cargo run --release -p folkmoot-benches -- instructions --update` writes the new counts to be committed with it",
            (TOLERANCE - 1.0) * 100.0,
            longer.join("; ")
        )
        .into()),
    }
}

/// Instructions of a whole process that runs a path `times` times.
fn count(number: usize, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["hot", &number.to_string(), &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, figure)| figure.trim().parse().ok());
    match (output.status.success(), collected) {
        (true, Some(count)) => Ok(count),
        _ => Err(format!("valgrind: {said}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Committed {
        Committed {
            compiler: "rustc".into(),
            counts: BTreeMap::from([("a path".to_owned(), count)]),
        }
    }

    #[test]
    fn only_more_than_the_tolerance_is_too_many() {
        for (count, longer) in [(900, 0), (1000, 0), (1030, 0), (1031, 1), (2000, 1)] {
            let found = counts(1000).compare(&counts(count)).expect("it is known");
            assert_eq!(found.len(), longer, "{count}");
        }
        let unknown = Committed::default().compare(&counts(1)).err();
        assert!(unknown.is_some_and(|error| error.to_string().contains("--update")));
    }

    #[test]
    fn every_path_has_a_committed_count() {
        let text = include_str!("../instructions.json");
        let committed = Committed::read(text).expect("it can be read");
        let paths: Vec<&str> = PATHS.iter().map(|(name, ..)| *name).collect();
        for name in &paths {
            assert!(committed.counts.contains_key(*name), "{name}");
        }
        assert_eq!(committed.counts.len(), paths.len());
        assert_eq!(committed.write().expect("written"), text);
    }
}
