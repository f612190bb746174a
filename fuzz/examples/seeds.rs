//! Makes the seeds in `corpus` from the vectors of the core's tests: `cargo run --example seeds`.
//!
//! A seed is a short vector, one for each shape of the format; what fuzzing finds is kept elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Longer ones make a fuzzer slow and teach it nothing.
const LENGTH_MAX: usize = 4096;

/// As many of each target.
const COUNT_MAX: usize = 40;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = root.join("../core/tests/vectors");
    let tribes = |file: &str| bytes(&vectors.join("tribes").join(file));
    let messages = [tribes("channeldata.json"), tribes("behaviour.json")].concat();
    let frames = [messages.clone(), tribes("framing.json")].concat();
    let data = messages
        .iter()
        .filter_map(|frame| frame.get(11..frame.len().checked_sub(7)?));

    write(
        root,
        "frame",
        frames.iter().map(|stream| [&[0x10], &stream[..]].concat()),
    );
    write(root, "channel_data", data.map(<[u8]>::to_vec));
    write(
        root,
        "member",
        tribes("members.json").into_iter().filter(is_block),
    );
    write(
        root,
        "datagram",
        tribes("heartbeat.json")
            .into_iter()
            .chain(frames.iter().cloned()),
    );
    let options = texts(&vectors.join("tribes/options.json"), "input");
    write(root, "send_options", options.into_iter());
    let mut ids = texts(&vectors.join("tribes/members.json"), "uniqueId");
    ids.push(b"{0,1,-1,-128,127,5,6,7,8,9,10,11,12,13,14,15}".to_vec());
    write(root, "unique_id", ids.into_iter());
}

fn is_block(bytes: &Vec<u8>) -> bool {
    bytes.starts_with(b"TRIBES-B")
}

fn load(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the vectors are there");
    let mut root: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let list = if root.is_array() {
        root.take()
    } else {
        root["vectors"].take()
    };
    match list {
        Value::Array(vectors) => vectors,
        _ => panic!("{} is no list", file.display()),
    }
}

fn bytes(file: &Path) -> Vec<Vec<u8>> {
    let hex = |vector: &Value| vector["hex"].as_str().map(unhex);
    load(file).iter().filter_map(hex).collect()
}

fn texts(file: &Path, field: &str) -> Vec<Vec<u8>> {
    let text = |vector: &Value| Some(vector["fields"][field].as_str()?.as_bytes().to_vec());
    load(file).iter().filter_map(text).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hexadecimal digit") as u8;
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|[high, low]| digit(*high) << 4 | digit(*low))
        .collect()
}

fn write(root: &Path, target: &str, seeds: impl Iterator<Item = Vec<u8>>) {
    let folder = root.join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder can be made");
    let seeds: BTreeSet<_> = seeds.filter(|seed| seed.len() <= LENGTH_MAX).collect();
    // Spread over all of them if there are too many.
    let step = seeds.len().div_ceil(COUNT_MAX).max(1);
    for (at, seed) in seeds.iter().step_by(step).enumerate() {
        fs::write(folder.join(format!("seed-{at:02}")), seed).expect("a seed can be written");
    }
    println!(
        "{target}: {} of {} seeds",
        seeds.len().div_ceil(step),
        seeds.len()
    );
}
