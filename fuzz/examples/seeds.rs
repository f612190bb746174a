//! Makes the seeds in `corpus` from the vectors of the core's tests: `cargo run --example seeds`.
//!
//! A seed is a short vector, one for each shape of the format; what fuzzing finds is kept elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../../core/tests/support/json.rs"]
#[allow(dead_code, reason = "the core's tests use all of it")]
mod json;

use json::Json;

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

    let ha = |file: &str| bytes(&vectors.join("ha").join(file));
    let messages = [ha("session_message.json"), ha("live_delta.json")].concat();
    let payloads = |kinds: &[u8]| payloads(&messages, kinds);
    let deltas = [ha("delta_request.json"), payloads(&[13])].concat();
    let sessions = ha("delta_session.json");
    let states = [
        ha("session_state.json"),
        ha("session_state_broken.json"),
        payloads(&[12]),
    ]
    .concat();
    let streams = [
        ha("values.json"),
        ha("values_irregular.json"),
        ha("delta_session_broken.json"),
        ha("map_entry.json"),
        ha("auth.json"),
        tribes("rpc.json"),
        tribes("mapmessage.json"),
    ];
    write(root, "java_stream", streams.concat().into_iter());
    write(root, "session_message", messages.iter().cloned());
    write(root, "delta_request", deltas.iter().cloned());
    write(
        root,
        "delta_session",
        sessions.into_iter().chain(ha("delta_session_object.json")),
    );
    write(root, "session_state", states.iter().cloned());
    write(root, "new_session_id", payloads(&[15]).into_iter());
    layers(root, &tribes("interceptors.json"));
    let maps = [tribes("mapmessage.json"), ha("live_backup.json")].concat();
    write(
        root,
        "rpc_message",
        tribes("rpc.json").into_iter().chain(maps.clone()),
    );
    write(
        root,
        "map_message",
        ha("map_entry.json").into_iter().chain(maps),
    );
    write(root, "channel", scripts().into_iter());
    let told = deltas
        .iter()
        .map(|delta| (13, delta))
        .chain(states.iter().map(|state| (12, state)));
    write(
        root,
        "cluster",
        told.map(|(kind, payload)| session_script(kind, payload)),
    );
    let told = deltas
        .iter()
        .map(|delta| (13, delta))
        .chain(states.iter().map(|state| (12, state)));
    write(
        root,
        "fixed",
        told.enumerate()
            .map(|(number, (kind, payload))| fixed_script(number as u8, kind, payload)),
    );
    let cookies: [&[u8]; 4] = [
        b"JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.nodeA",
        b"a=b; JSESSIONID=\"00112233445566778899AABBCCDDEEFF\"; c",
        b"JSESSIONID = x ;; =y; \"open; JSESSIONID=z",
        b"$Version=1; JSESSIONID=one; $Path=\"/shop\"; JSESSIONID=two",
    ];
    write(root, "web_cookie", cookies.into_iter().map(<[u8]>::to_vec));
}

/// The payloads of the messages of these kinds: what follows the only `byte[]` in the message.
fn payloads(messages: &[Vec<u8>], kinds: &[u8]) -> Vec<Vec<u8>> {
    /// Where the last byte of the kind is, and what stands before the payload's length.
    const KIND: usize = 286;
    const ARRAY: &[u8] = b"ur\x00\x02[B\xAC\xF3\x17\xF8\x06\x08T\xE0\x02\x00\x00xp";
    let payload = |message: &Vec<u8>| {
        let at = message
            .windows(ARRAY.len())
            .position(|window| window == ARRAY)?
            + ARRAY.len();
        let len = u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?);
        kinds
            .contains(message.get(KIND)?)
            .then(|| message[at + 4..][..len as usize].to_vec())
    };
    messages.iter().filter_map(payload).collect()
}

/// What interceptors have made of messages.
fn layers(root: &Path, messages: &[Vec<u8>]) {
    let zipped = messages
        .iter()
        .filter(|bytes| bytes.starts_with(&[0x1f, 0x8b]));
    write(root, "gzip", zipped.cloned());
    let any = |first: u8| {
        messages
            .iter()
            .map(move |bytes| [&[first], &bytes[..]].concat())
    };
    write(root, "encrypted", (0..4).flat_map(any));
    write(root, "fragment", messages.iter().cloned());
    let script = |stack: u8| {
        let one = move |bytes: &Vec<u8>| {
            let bytes = &bytes[..bytes.len().min(255)];
            let one = |id: u8, how: u8| [&[id, how, bytes.len() as u8], bytes].concat();
            [&[stack][..], &one(1, 1), &one(2, 0x14), &one(1, 0xc1)].concat()
        };
        messages.iter().step_by(3).map(one)
    };
    write(
        root,
        "layers",
        [0, 1, 4, 8, 0x8c].into_iter().flat_map(script),
    );
    write(root, "world", worlds());
}

/// Works, one fault, and works again, for every kind of fault in both modes.
fn worlds() -> impl Iterator<Item = Vec<u8>> {
    (0..22).map(|number| {
        let (mode, fault) = (number % 2, number / 2);
        let work = |chance: u8| [255, 40, chance, 7 * chance];
        let works = |from: u8| (from..from + 6).flat_map(work);
        let start = [mode, 1, number, number, 0, 255, 250, 0, 0];
        let fault = [fault, 100, number, 1];
        start
            .into_iter()
            .chain(works(1))
            .chain(fault)
            .chain(works(10))
            .collect()
    })
}

/// What may happen to a channel, by the numbers of its target: members come, messages go both ways, time passes.
fn scripts() -> Vec<Vec<u8>> {
    let arrive: &[u8] = &[6, 0, 1, 1, 7, 1, 7, 1, 6, 1, 1, 1, 7, 1, 4, 50];
    let receive: &[u8] = &[
        0, 0, 2, 0, 0, 7, 5, 255, b'h', b'e', b'l', b'l', b'o', 2, 0, 1, 3, 1, 3, b'F',
    ];
    let send: &[u8] = &[
        9, 6, 0, 1, 7, 1, 3, 0, 0, 0, 255, 9, 8, 1, 4, 9, 2, 0, 9, 7, 1, 3, 1, 1, 2, 9, 4, 255,
    ];
    let leave: &[u8] = &[6, 0, 1, 0, 8, 0, 0, 4, 255, 11, 0, 4, 255, 11, 1, 4, 100];
    let bad: &[u8] = &[
        0, 2, 1, 0, 4, b'o', b'o', b'p', b's', 5, 1, 3, b'b', b'a', b'd', 10,
    ];
    (0..16)
        .map(|kind| [&[kind], arrive, receive, send, bad, arrive, send, leave].concat())
        .collect()
}

/// A peer that tells a cluster about a session, and an application that uses the session.
fn session_script(kind: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let message = |kind: u8, len: [u8; 2]| [12, kind, 0, 0, len[0], len[1]];
    let requests: &[u8] = &[
        14, 1, 0, 14, 3, 0, 14, 6, 0, 14, 2, 0, 4, 10, 7, 1, 14, 5, 0, 14, 7, 0, 14, 8, 0,
    ];
    let told = [
        &message(1, [0, 0])[..],
        &message(kind, [high, low]),
        payload,
    ]
    .concat();
    [
        &[4],
        &told[..],
        requests,
        &message(14, [0, 0]),
        &message(4, [0, 0]),
    ]
    .concat()
}

/// The same for a member in fixed memory, with messages of its owner's own.
fn fixed_script(number: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let message = |kind: u8, len: [u8; 2]| [12, kind, 0, 0, len[0], len[1]];
    let requests: &[u8] = &[
        14, 1, 0, 14, 3, 30, 14, 7, 0, 14, 2, 0, 4, 10, 7, 1, 14, 0, 0, 14, 3, 1, 14, 7, 1, 14, 6,
        1, 14, 9, 1,
    ];
    let own: &[u8] = &[9, 6, 4, 9, 2, 1, 3, 0, 0, 0, 255, 11, 4, 250];
    [
        // Every kind of configuration, with members and without.
        &[number & 31 | 32][..],
        &message(1, [0, 0]),
        &message(kind, [high, low]),
        payload,
        requests,
        own,
        &message(14, [0, 0]),
        &message(4, [0, 0]),
        &[10, 0, 4, 255, 10, 1],
    ]
    .concat()
}

fn is_block(bytes: &Vec<u8>) -> bool {
    bytes.starts_with(b"TRIBES-B")
}

fn load(file: &Path) -> Vec<Json> {
    let text = fs::read_to_string(file).expect("the vectors are there");
    let root = Json::parse(&text).expect("the vectors are JSON");
    let list = root.get("vectors").unwrap_or(&root).as_list();
    list.expect("a list of vectors").to_vec()
}

fn bytes(file: &Path) -> Vec<Vec<u8>> {
    let hex = |vector: &Json| vector["hex"].as_str().map(unhex);
    load(file).iter().filter_map(hex).collect()
}

fn texts(file: &Path, field: &str) -> Vec<Vec<u8>> {
    let text = |vector: &Json| Some(vector["fields"][field].as_str()?.as_bytes().to_vec());
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
