//! A recording as one JSON document: columns, differences and numbered texts, so that 100,000 events stay small. The format
//! is described in docs/simulation.md.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{About, Fate, Recording, Told};
use crate::machine::NodeId;
use crate::run::Report;
use crate::trace::TraceKind;

/// The version of the format.
const VERSION: u32 = 1;
/// Where there is no number.
const NONE: i64 = -1;
/// The receipt of a message that is lost.
const LOST: i64 = -1;
/// The receipt of a message that was under way when the run ended.
const UNDER_WAY: i64 = -2;

/// The document of a run, for the page or any other reader.
pub fn document(report: &Report, recording: &Recording, about: &About) -> Value {
    let mut texts = Texts::new(&recording.tables.strings);
    let events = events(report, &mut texts);
    let messages = messages(recording);
    let changes = changes(recording);
    let story = recording.story.iter().map(|line| {
        let told = match line.told {
            Told::Fault => "fault",
            Told::Work => "work",
            Told::Part => "part",
        };
        json!({
            "at": line.at.as_nanos() as u64,
            "event": line.event,
            "kind": told,
            "text": line.text,
        })
    });
    let story: Vec<Value> = story.collect();
    let broken = recording.broken.iter().chain(std::iter::repeat(&0));
    let violations = report.violations.iter().zip(broken).map(|(broken, event)| {
        json!({
            "at": broken.at,
            "event": event,
            "node": broken.node.map_or(NONE, |node| i64::from(node.0)),
            "rule": broken.rule,
            "what": broken.what,
        })
    });
    let violations: Vec<Value> = violations.collect();
    let nodes: Vec<Value> = (0..report.nodes + report.strangers)
        .map(|node| {
            let node = NodeId(node);
            json!({"name": node.to_string(), "address": node.address().to_string()})
        })
        .collect();
    let nanos = |time: std::time::Duration| time.as_nanos() as u64;
    json!({
        "format": "folkmoot-trace",
        "version": VERSION,
        "run": {
            "seed": report.seed.to_string(),
            "mode": report.mode,
            "verdict": if report.held() { "held" } else { "failed" },
            "trace_hash": format!("{:016x}", report.trace_hash),
            "virtual_ns": nanos(report.virtual_time),
            "converged_after_ns": report.converged_after.map(nanos),
            "faults": report.faults,
            "works": report.works,
            "complete": !recording.is_cut,
            "command": about.command,
            "version": about.version,
            "plan": about.plan,
            "covered": report.covered,
        },
        "nodes": nodes,
        "events": events,
        "messages": messages,
        "changes": changes,
        "paths": recording.tables.paths,
        "story": story,
        "violations": violations,
        "strings": texts.into_all(),
    })
}

/// The recording's texts, and those of the trace behind them.
struct Texts<'a> {
    known: &'a [String],
    more: Vec<&'a str>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Texts<'a> {
    fn new(known: &'a [String]) -> Self {
        let numbers = known.iter().enumerate();
        Self {
            known,
            more: Vec::new(),
            numbers: numbers
                .map(|(number, text)| (text.as_str(), number))
                .collect(),
        }
    }

    fn number(&mut self, text: &'a str) -> i64 {
        if text.is_empty() {
            return NONE;
        }
        let next = self.known.len() + self.more.len();
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.more.push(text);
        }
        number as i64
    }

    fn into_all(self) -> Vec<&'a str> {
        let known = self.known.iter().map(String::as_str);
        known.chain(self.more).collect()
    }
}

/// Names in the order of their first use.
#[derive(Default)]
struct Names(Vec<&'static str>);

impl Names {
    fn number(&mut self, name: &'static str) -> i64 {
        let found = self.0.iter().position(|known| *known == name);
        found.unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        }) as i64
    }
}

/// Each number as its difference to the one before.
#[derive(Default)]
struct Steps {
    last: i64,
    steps: Vec<i64>,
}

impl Steps {
    fn push(&mut self, number: i64) {
        self.steps.push(number - self.last);
        self.last = number;
    }
}

fn events<'a>(report: &'a Report, texts: &mut Texts<'a>) -> Value {
    let (mut names, mut at) = (Names::default(), Steps::default());
    let mut columns: [Vec<i64>; 5] = Default::default();
    let mut conns: Vec<u64> = Vec::new();
    for event in &report.trace {
        at.push(event.at as i64);
        let row = [
            i64::from(event.node),
            names.number(kind_name(event.kind)),
            event.peer.map_or(NONE, i64::from),
            event.len as i64,
            texts.number(&event.detail),
        ];
        for (column, number) in columns.iter_mut().zip(row) {
            column.push(number);
        }
        conns.push(event.conn);
    }
    let [node, kind, peer, len, text] = columns;
    json!({
        "kinds": names.0, "at": at.steps, "node": node, "kind": kind, "peer": peer, "conn": conns, "len": len, "text": text,
    })
}

fn messages(recording: &Recording) -> Value {
    let (mut names, mut sent) = (Names::default(), Steps::default());
    let mut columns: [Vec<i64>; 7] = Default::default();
    for message in &recording.messages {
        sent.push(message.sent as i64);
        let session = message.session.map_or(NONE, i64::from);
        let row = [
            match message.fate {
                Fate::Received(event) => event as i64,
                Fate::Lost => LOST,
                Fate::UnderWay => UNDER_WAY,
            },
            i64::from(message.from),
            i64::from(message.to),
            names.number(message.kind),
            session,
            i64::from(message.text),
            message.len as i64,
        ];
        for (column, number) in columns.iter_mut().zip(row) {
            column.push(number);
        }
    }
    let [received, from, to, kind, session, text, len] = columns;
    json!({
        "kinds": names.0, "sent": sent.steps, "received": received, "from": from, "to": to, "kind": kind, "session": session,
        "text": text, "len": len,
    })
}

fn changes(recording: &Recording) -> Value {
    let mut event = Steps::default();
    let mut columns: [Vec<i64>; 3] = Default::default();
    for change in &recording.changes {
        event.push(change.event as i64);
        let value = change.value.map_or(NONE, i64::from);
        let row = [i64::from(change.node), i64::from(change.path), value];
        for (column, number) in columns.iter_mut().zip(row) {
            column.push(number);
        }
    }
    let [node, path, value] = columns;
    json!({"event": event.steps, "node": node, "path": path, "value": value})
}

/// An event's kind, as the page and its readers know it.
const fn kind_name(kind: TraceKind) -> &'static str {
    match kind {
        TraceKind::Boot => "boot",
        TraceKind::Crash => "crash",
        TraceKind::Pause => "pause",
        TraceKind::Resume => "resume",
        TraceKind::Clock => "clock",
        TraceKind::Timer => "timer",
        TraceKind::Connect => "connect",
        TraceKind::Connected => "connected",
        TraceKind::Accept => "accept",
        TraceKind::Refuse => "refuse",
        TraceKind::Sent => "sent",
        TraceKind::Received => "received",
        TraceKind::Close => "close",
        TraceKind::HalfClose => "half-close",
        TraceKind::Closed => "closed",
        TraceKind::PauseRead => "pause read",
        TraceKind::ResumeRead => "resume read",
        TraceKind::DatagramSent => "datagram sent",
        TraceKind::DatagramLost => "datagram lost",
        TraceKind::DatagramReceived => "datagram received",
        TraceKind::Network => "network",
        TraceKind::Command => "command",
    }
}
