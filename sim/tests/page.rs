//! The page of a run: what it holds is what happened, all of it, and a browser shows it.

mod trace_document;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use folkmoot_sim::group::{GroupMode, GroupNode};
use folkmoot_sim::sessions::{SessionMode, SessionNode};
use folkmoot_sim::{
    About, Mode, NodeId, NodeState, Plan, PlanOptions, Recording, Report, TraceKind, World,
    document, page, record, run,
};
use serde_json::Value;
use trace_document::Document;

/// What somebody who looks at the nodes themselves sees of one of them.
trait Visible {
    fn visible(&self) -> BTreeMap<Vec<String>, String>;
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

impl Visible for SessionNode {
    fn visible(&self) -> BTreeMap<Vec<String>, String> {
        let mut seen = BTreeMap::new();
        for node in self.members() {
            seen.insert(path(&["members", &node.to_string()]), String::new());
        }
        for (id, attributes) in self.contents() {
            seen.insert(path(&["sessions", &id]), String::new());
            for (name, value) in attributes {
                // Long values are shown by their ends.
                let value = if value.len() > 160 {
                    value.len().to_string()
                } else {
                    value
                };
                seen.insert(path(&["sessions", &id, "attribute", &name]), value);
            }
        }
        seen
    }
}

impl Visible for GroupNode {
    fn visible(&self) -> BTreeMap<Vec<String>, String> {
        let mut seen = BTreeMap::new();
        for node in self.members() {
            seen.insert(path(&["members", &node.to_string()]), String::new());
        }
        for (index, member) in self.channel().members() {
            let bytes = self.channel().queue_bytes(index);
            let node = member.socket_addr().unwrap();
            let name = (0..200).find(|number| NodeId::new(*number).address() == node);
            let name = format!("bytes for n{}", name.unwrap());
            if bytes > 0 {
                seen.insert(path(&["queues", &name]), bytes.to_string());
            }
        }
        seen
    }
}

/// The same facts, as the document has them.
fn documented(
    tree: &BTreeMap<Vec<String>, String>,
    sessions: bool,
) -> BTreeMap<Vec<String>, String> {
    let mut seen = BTreeMap::new();
    for (key, value) in tree {
        let parts: Vec<&str> = key.iter().map(String::as_str).collect();
        match parts[..] {
            ["members", name, _] if !name.ends_with('?') => {
                seen.insert(path(&["members", name]), String::new());
            }
            ["sessions", id, "fact", _] => {
                seen.insert(path(&["sessions", id]), String::new());
            }
            ["sessions", _, "attribute", _] => {
                let value = match value.split_once("… ") {
                    Some((_, rest)) => rest.split(' ').next().unwrap().to_owned(),
                    None => value.clone(),
                };
                seen.insert(key.clone(), value);
            }
            ["queues", name]
                if !sessions && name.starts_with("bytes for n") && !name.ends_with('?') =>
            {
                seen.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    seen
}

/// What was seen of the nodes, after so many events.
struct Sight {
    events: usize,
    nodes: Vec<Option<BTreeMap<Vec<String>, String>>>,
}

thread_local! {
    static SIGHTS: RefCell<Vec<Sight>> = const { RefCell::new(Vec::new()) };
    static BREAKS_AT: RefCell<Option<Duration>> = const { RefCell::new(None) };
}

/// A mode that is watched, and, if asked, finds fault at some time.
struct Watched<M>(M);

impl<M: Mode> Mode for Watched<M>
where
    M::Node: Visible,
{
    type Node = M::Node;
    const NAME: &'static str = M::NAME;
    const CONVERGES_WITHIN: Duration = M::CONVERGES_WITHIN;

    fn begin(plan: &Plan) -> (Self, World<M::Node>) {
        let (mode, world) = M::begin(plan);
        (Self(mode), world)
    }

    fn work(&mut self, world: &mut World<M::Node>, number: u64) -> String {
        self.0.work(world, number)
    }

    fn watch(&mut self, world: &mut World<M::Node>) {
        self.0.watch(world);
        let nodes = world
            .node_ids()
            .map(|node| world.machine(node).map(Visible::visible))
            .collect();
        let events = world.trace().kept().len();
        SIGHTS.with_borrow_mut(|sights| sights.push(Sight { events, nodes }));
        let breaks_at = BREAKS_AT.with_borrow(|at| *at);
        if breaks_at.is_some_and(|at| world.now() >= at) {
            BREAKS_AT.set(None);
            let node = NodeId::new(1);
            assert_eq!(world.state(node), NodeState::Running);
            world.violate(
                Some(node),
                "a planted <rule>",
                "it was </script> planted".into(),
            );
        }
    }

    fn healed(&mut self, world: &mut World<M::Node>) {
        self.0.healed(world);
    }

    fn converged(&mut self, world: &mut World<M::Node>) -> Result<(), String> {
        self.0.converged(world)
    }

    fn encore(&mut self, world: &mut World<M::Node>) {
        self.0.encore(world);
    }

    fn finish(&mut self, world: &mut World<M::Node>) {
        self.0.finish(world);
    }

    fn covered(&self, world: &World<M::Node>, into: &mut BTreeMap<String, u64>) {
        self.0.covered(world, into);
    }
}

fn plan(seed: u64) -> Plan {
    let options = PlanOptions {
        nodes: Some(3),
        safety: Some(Duration::from_secs(8)),
        plain: true,
        ..PlanOptions::default()
    };
    Plan::draw(seed, &options)
}

fn watched<M: Mode>(seed: u64) -> (Report, Recording, Vec<Sight>)
where
    M::Node: Visible,
{
    SIGHTS.take();
    let (report, recording) = record::<Watched<M>>(&plan(seed), usize::MAX);
    (report, recording, SIGHTS.take())
}

fn written(report: &Report, recording: &Recording) -> Value {
    let about = About {
        command: "replay <it>".into(),
        version: "this one".into(),
        plan: plan(report.seed).describe(),
    };
    document(report, recording, &about)
}

/// Seeds whose plans have crashes, pauses and cuts among them.
const SEEDS: [u64; 3] = [3, 7, 21];

fn every_moment<M: Mode>()
where
    M::Node: Visible,
{
    let (mut compared, mut with_content) = (0, 0);
    for seed in SEEDS {
        let (report, recording, sights) = watched::<M>(seed);
        let decoded = Document::read(&written(&report, &recording));
        assert!(decoded.complete, "seed {seed}");
        let mut player = decoded.player();
        for sight in sights.iter().filter(|sight| sight.events > 0) {
            for (node, seen) in sight.nodes.iter().enumerate() {
                let tree = player.state_at(node, sight.events - 1);
                let shown = documented(tree, M::NAME == "session");
                let seen = seen.clone().unwrap_or_default();
                assert_eq!(
                    shown, seen,
                    "seed {seed}, n{node} after {} events",
                    sight.events
                );
                compared += 1;
                with_content += usize::from(seen.len() > 2);
            }
        }
    }
    assert!(
        with_content > 500 && compared > 1000,
        "{with_content} of {compared}"
    );
}

#[test]
fn the_state_of_every_node_at_every_moment_is_what_it_was() {
    every_moment::<SessionMode>();
    every_moment::<GroupMode>();
}

#[test]
fn a_recorded_run_is_the_same_run() {
    for seed in SEEDS {
        let (recorded, _) = record::<SessionMode>(&plan(seed), usize::MAX);
        let plain = run::<SessionMode>(&plan(seed), 0);
        assert_eq!(recorded.trace_hash, plain.trace_hash, "seed {seed}");
        let (recorded, _) = record::<GroupMode>(&plan(seed), usize::MAX);
        let plain = run::<GroupMode>(&plan(seed), 0);
        assert_eq!(recorded.trace_hash, plain.trace_hash, "seed {seed}");
    }
}

/// Every event is in the document, and every byte that was sent or received belongs to a message.
fn nothing_is_missing(report: &Report, recording: &Recording) {
    let decoded = Document::read(&written(report, recording));
    assert_eq!(decoded.events.len(), report.trace.len());
    for (event, kept) in decoded.events.iter().zip(&report.trace) {
        assert_eq!(
            (event.at, event.node, event.len),
            (kept.at, kept.node, kept.len)
        );
        assert_eq!(event.text, kept.detail);
    }
    let total = |kind| {
        let of_kind = report.trace.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.len).sum::<usize>()
    };
    let is_datagram = |kind: &str| ["heartbeat", "goodbye", "datagram"].contains(&kind);
    let streams = decoded
        .messages
        .iter()
        .filter(|message| !is_datagram(&message.kind));
    assert_eq!(
        streams.map(|message| message.len).sum::<usize>(),
        total(TraceKind::Sent),
        "bytes sent on streams"
    );
    // A node's own heartbeats come back to it, and are no messages.
    let others = |event: &&folkmoot_sim::TraceEvent| {
        event.kind == TraceKind::DatagramReceived && event.peer != Some(event.node)
    };
    let received = decoded
        .messages
        .iter()
        .filter(|message| is_datagram(&message.kind) && message.received.is_some());
    assert_eq!(received.count(), report.trace.iter().filter(others).count());
    for message in &decoded.messages {
        let sent = &decoded.events[message.sent];
        assert_eq!(sent.node, message.from);
        assert!(["sent", "datagram sent"].contains(&sent.kind.as_str()));
        if let Some(received) = message.received {
            let event = &decoded.events[received];
            assert_eq!(event.node, message.to);
            assert_eq!(event.peer, Some(message.from));
            assert!(received > message.sent && event.at >= sent.at);
        }
    }
    assert_eq!(decoded.story.len(), report.story.len());
}

#[test]
fn nothing_that_happened_is_missing() {
    for seed in SEEDS {
        let (report, recording) = record::<SessionMode>(&plan(seed), usize::MAX);
        nothing_is_missing(&report, &recording);
        let (report, recording) = record::<GroupMode>(&plan(seed), usize::MAX);
        nothing_is_missing(&report, &recording);
    }
}

#[test]
fn a_recording_that_was_too_long_says_so() {
    let (report, recording) = record::<GroupMode>(&plan(7), 200);
    assert_eq!(report.trace.len(), 200);
    assert!(!Document::read(&written(&report, &recording)).complete);
}

/// The data of a page.
fn data(page: &str) -> Value {
    let begin = "<script id=\"trace\" type=\"application/json\">";
    let (_, rest) = page.split_once(begin).expect("data");
    let (data, _) = rest.split_once("</script>").expect("an end");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn a_page_is_one_file_that_needs_no_other() {
    BREAKS_AT.set(Some(Duration::from_secs(6)));
    let (report, recording, _) = watched::<SessionMode>(7);
    let document = written(&report, &recording);
    assert_eq!(document["violations"][0]["rule"], "a planted <rule>");
    let page = page(Some(&document));
    assert_eq!(data(&page), document);
    for outside in ["http:", "https:", "src=", "@import", "url(", "fetch(", "{{"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

// In a browser.

/// What Debian's Chromium makes of a page.
fn browsed(file: &Path, fragment: &str) -> String {
    let profile = file.with_extension("profile");
    let url = format!("file://{}#{fragment}", file.display());
    let output = Command::new("timeout")
        .args([
            "--kill-after=5",
            "120",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--dump-dom", &url])
        .output();
    let output = output.expect("this test needs timeout of coreutils");
    let what = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() != Some(127),
        "this test needs Debian's chromium (apt-get install chromium)"
    );
    assert!(
        output.status.success(),
        "chromium: {}: {what}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The facts of the node panel: path and text, and the sessions that are shown.
fn panel(dom: &str) -> BTreeMap<Vec<String>, String> {
    let text = |html: &str| {
        let html = html
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">");
        html.replace("&amp;", "&")
    };
    let mut facts = BTreeMap::new();
    for row in dom.split("<tr").skip(1) {
        let Some((_, rest)) = row.split_once("data-path=\"") else {
            continue;
        };
        let (key, rest) = rest.split_once('"').unwrap();
        let key: Vec<String> = serde_json::from_str(&text(key)).unwrap();
        let value = rest
            .split_once("<td class=\"value\"")
            .map_or("", |(_, cell)| cell);
        let value = value.split_once('>').map_or("", |(_, value)| value);
        let value = value.split_once("</td>").map_or("", |(value, _)| value);
        facts.insert(key, text(value));
    }
    facts
}

fn file(name: &str, page: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, page).unwrap();
    file
}

#[test]
fn a_browser_shows_what_a_node_knows_at_any_moment() {
    let (report, recording) = record::<SessionMode>(&plan(7), usize::MAX);
    let document = written(&report, &recording);
    let decoded = Document::read(&document);
    let file = file("held.html", &page(Some(&document)));
    let end = report.virtual_time.as_nanos() as u64;
    let mut contents = Vec::new();
    for (node, part) in [(0, 4), (1, 8), (2, 15)] {
        let moment = end / 16 * part;
        let fragment = format!(
            "t={}.{:09}&node={node}",
            moment / 1_000_000_000,
            moment % 1_000_000_000
        );
        let dom = browsed(&file, &fragment);
        let shown = panel(&dom);
        let event = decoded
            .events
            .iter()
            .rposition(|event| event.at <= moment)
            .unwrap();
        let state = decoded.state_at(node, event);
        for (key, value) in &state {
            let parts: Vec<&str> = key.iter().map(String::as_str).collect();
            match parts[..] {
                // Said in other words.
                ["node", "state"]
                | ["timers", _]
                | ["members", ..]
                | ["sessions", _, "fact", _] => {}
                _ => assert_eq!(
                    shown.get(key),
                    Some(value),
                    "{key:?} of n{node} at {moment}"
                ),
            }
        }
        let members = |facts: &BTreeMap<Vec<String>, String>| -> Vec<String> {
            let members = facts.keys().filter(|key| key[0] == "members");
            let mut names: Vec<String> = members.map(|key| key[1].clone()).collect();
            names.dedup();
            names
        };
        assert_eq!(members(&shown), members(&state));
        let timers = |facts: &BTreeMap<Vec<String>, String>| {
            facts
                .keys()
                .filter(|key| key[0] == "timers")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(timers(&shown), timers(&state));
        for key in state.keys().filter(|key| key[0] == "sessions") {
            assert!(
                dom.contains(&format!("data-session=\"{}\"", key[1])),
                "{key:?}"
            );
        }
        contents.push(shown);
    }
    assert!(
        contents
            .iter()
            .any(|facts| facts.keys().any(|key| key[0] == "sessions"))
    );
    assert!(contents[0] != contents[1] && contents[1] != contents[2]);
}

#[test]
fn a_browser_opens_a_failed_run_at_its_failure() {
    BREAKS_AT.set(Some(Duration::from_secs(6)));
    let (report, recording, _) = watched::<SessionMode>(7);
    let broken_at = report.violations[0].at;
    let document = written(&report, &recording);
    let dom = browsed(&file("failed.html", &page(Some(&document))), "");
    for shown in [
        "<span id=\"verdict\" class=\"badge failed\">failed</span>",
        "<strong>a planted &lt;rule&gt;</strong>",
        "it was &lt;/script&gt; planted",
    ] {
        assert!(dom.contains(shown), "{shown}");
    }
    let seconds = format!(
        "{}.{:06} s",
        broken_at / 1_000_000_000,
        broken_at / 1_000 % 1_000_000
    );
    assert!(dom.contains(&seconds), "{seconds}");
    // The same page at another moment, on the node that is at fault.
    let dom = browsed(&file("failed.html", &page(Some(&document))), "t=5&node=n1");
    assert!(
        dom.contains("<h2>n1 <span class=\"state\" data-state=\"running\">running</span></h2>")
    );
}

/// What a reader does with the page, and what the page shows then; at the end of the page's own script.
const READER: &str = include_str!("reader.js");

#[test]
fn a_reader_moves_the_slider_clicks_a_node_and_filters() {
    let (report, recording) = record::<SessionMode>(&plan(7), usize::MAX);
    let document = written(&report, &recording);
    let page = page(Some(&document));
    let (begin, _) = page.rsplit_once("</body>").expect("an end");
    let page = format!("{begin}<script>{READER}</script></body>");
    let file = file("read.html", &page);
    let dom = browsed(&file, "");
    let (_, told) = dom
        .rsplit_once("<pre id=\"told\">")
        .expect("the script ran");
    let (told, _) = told.split_once("</pre>").expect("an end");
    let told: Value = serde_json::from_str(&told.replace("&amp;", "&")).expect("JSON");

    let messages = &document["messages"];
    let column = |name: &str| -> Vec<i64> {
        let values = messages[name].as_array().expect("a column");
        values.iter().map(|value| value.as_i64().unwrap()).collect()
    };
    let (from, to, kind, session) = (
        column("from"),
        column("to"),
        column("kind"),
        column("session"),
    );
    let count = |which: &dyn Fn(usize) -> bool| (0..from.len()).filter(|at| which(*at)).count();
    let delivered = column("received").iter().filter(|at| **at >= 0).count();
    assert_eq!(told["count"]["delivered"], delivered);
    let lost = told["count"]["lost"].as_u64().unwrap();
    assert!(lost > 10, "a plan in which something is lost: {lost}");
    let long = |which: &str| told["long"][which].as_f64().unwrap();
    assert!(long("lost") > 5.0 && long("lost") < 20.0, "{told}");
    assert!(long("under_way") < 20.0, "{told}");
    assert!(long("delivered") > long("lost"), "{told}");

    let half = report.virtual_time.as_nanos() as f64 / 2.0;
    assert!(
        (told["moment"].as_f64().unwrap() - half).abs() < 1e6,
        "{told}"
    );
    let time: f64 = told["time"].as_str().unwrap().parse().unwrap();
    assert!((time * 1e9 - half).abs() < 1e6, "{told}");
    assert_eq!(told["node"], 1);
    assert!(
        told["heading"].as_str().unwrap().starts_with("n1"),
        "{told}"
    );
    let sections = told["sections"].as_array().unwrap();
    for section in ["node", "members", "sessions", "queues", "timers"] {
        assert!(
            sections.contains(&section.into()),
            "{section}: {sections:?}"
        );
    }

    assert_eq!(told["all"], from.len());
    assert_eq!(told["again"], from.len());
    let strings = document["strings"].as_array().unwrap();
    let id = told["session"]["id"].as_str().unwrap();
    let about = |number: i64| {
        let text = usize::try_from(number).ok().map(|number| &strings[number]);
        text.is_some_and(|text| text.as_str().unwrap().contains(id))
    };
    let of_session = count(&|at| about(session[at]));
    assert!(of_session > 0 && of_session < from.len());
    assert_eq!(told["session"]["shown"], of_session);
    assert_eq!(told["member"], count(&|at| from[at] == 2 || to[at] == 2));
    assert_eq!(told["kind"]["shown"], count(&|at| kind[at] != 0));
}
