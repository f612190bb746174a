//! Instructions of the hot paths, counted by callgrind, against the committed counts in `instructions.json`.
//!
//! Instructions are counted and not time, so that a busy machine judges as a quiet one does. Each path is run twice in a
//! process of its own, with few and with many repetitions: the difference is what one repetition costs, and what it takes
//! to start is not in it.

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
use crate::machines::{BATCH, Channels, Clusters};

/// More than the committed count by this factor fails.
const TOLERANCE: f64 = 1.05;
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

/// Runs one path, for callgrind to count.
///
/// # Errors
/// There is no such path, or it failed.
pub fn hot(number: usize, times: u64) -> Result<()> {
    let (_, _, path) = PATHS.get(number).ok_or("no such path")?;
    path(times)
}

/// Counts all paths and compares them with the committed counts; with `update` writes those anew.
///
/// # Errors
/// valgrind is missing, a path failed, or one has become longer than the tolerance allows.
pub fn run(update: bool) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("missing: apt-get install valgrind".into());
    }
    let mut counted = BTreeMap::new();
    for (number, (name, divided, _)) in PATHS.iter().enumerate() {
        let [few, many] = REPEATED;
        let more = count(number, many)?.saturating_sub(count(number, few)?);
        let each = more as f64 / ((many - few) * divided) as f64;
        counted.insert((*name).to_owned(), each.round() as u64);
    }
    if update {
        std::fs::write(&file, serde_json::to_string_pretty(&counted)? + "\n")?;
    }
    let committed: BTreeMap<String, u64> = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    println!("| instructions of | committed | counted | |");
    println!("|---|---:|---:|---|");
    let mut longer = Vec::new();
    for (name, count) in &counted {
        let Some(before) = committed.get(name) else {
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
    match longer.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more instructions than committed, by more than {:.0} %: {}; if that has a reason, commit the new counts with --update",
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
