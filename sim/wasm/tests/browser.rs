//! The page in a headless browser: a seed run there is the run that it is here, event by event.
//!
//! `.ci/wasm-page --check` builds the page and says where it is (`FOLKMOOT_SIMULATOR_PAGE`).

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use folkmoot_sim::{Plan, PlanOptions, run_mode};
use serde_json::{Value, json};

/// A headless chromium with one page, spoken to by its remote debugging pipe: JSON texts, a NUL after each.
struct Browser {
    process: Child,
    profile: PathBuf,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    number: u64,
}

impl Browser {
    fn open(url: &str) -> Self {
        let profile = std::env::temp_dir().join(format!("folkmoot-wasm-{}", std::process::id()));
        // The pipe is descriptors 3 and 4; what chromium says besides is about what a headless machine has not.
        let command = "exec timeout --kill-after=5 300 chromium --headless --no-sandbox --disable-gpu --no-first-run \
            --disable-background-networking --disable-component-update --window-size=1500,860 \
            --user-data-dir=\"$0\" --remote-debugging-pipe about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1";
        let mut process = Command::new("sh")
            .args(["-c", command])
            .arg(&profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let to = process.stdin.take().expect("a pipe");
        let from = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut browser = Self {
            process,
            profile,
            to,
            from,
            session: None,
            number: 0,
        };
        let blank = json!({"url": "about:blank"});
        let target = browser.call("Target.createTarget", blank);
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        let session = attached["sessionId"].as_str().expect("a session");
        browser.session = Some(session.to_owned());
        // Answered when the page has taken the place of the blank one.
        browser.call("Page.navigate", json!({"url": url}));
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.to.write_all(&text).expect(
            "this test needs Debian's chromium (apt-get install chromium) and timeout of coreutils",
        );
        loop {
            let mut answer = Vec::new();
            let read = self.from.read_until(0, &mut answer);
            assert!(read.expect("an answer") > 0, "{method}: the browser ended");
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            if answer["id"] == json!(self.number) {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The value of an expression, once it is there.
    fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true}),
        );
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Types into the run bar, presses "run" and waits; what the page says then.
    fn run(&mut self, seed: u64, mode: &str, nodes: Option<u16>) -> Value {
        let nodes = nodes.map(|nodes| nodes.to_string()).unwrap_or_default();
        let expression = format!(
            r#"new Promise((done, failed) => {{
                const $ = (id) => document.getElementById(id);
                $("run-seed").value = "{seed}";
                $("run-mode").selectedIndex = [...$("run-mode").options].findIndex((one) => one.text === "{mode}");
                $("run-nodes").value = "{nodes}";
                $("run").click();
                const look = () => {{
                    const state = $("runner").dataset.state;
                    if (state === "running") return setTimeout(look, 20);
                    if (state !== "done") return failed(new Error(state + ": " + $("run-note").textContent));
                    const run = window.folkmoot.view.trace.run;
                    done({{ note: $("run-note").textContent, title: document.title, run, nodes: window.folkmoot.view.trace.nodes.length }});
                }};
                look();
            }})"#
        );
        self.evaluate(&expression)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        let quit = b"{\"id\":0,\"method\":\"Browser.close\"}\0";
        if self.to.write_all(quit).is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

#[test]
#[ignore = "needs the page: .ci/wasm-page --check builds it"]
fn a_seed_in_the_browser_is_the_seed_here() {
    let page = std::env::var("FOLKMOOT_SIMULATOR_PAGE").expect("FOLKMOOT_SIMULATOR_PAGE");
    let mut browser = Browser::open(&format!("file://{page}"));
    browser.evaluate("new Promise((done) => { if (document.readyState === 'complete') done(); else addEventListener('load', done); })");
    assert_eq!(
        browser.evaluate("document.getElementById('runner').hidden"),
        json!(false)
    );
    let cases = [
        (1, "group", None),
        (2, "group", Some(5)),
        (1, "session", None),
        (7, "session", None),
        (3, "maps", None),
        (u64::MAX, "session", Some(4)),
    ];
    let mut wrong = Vec::new();
    for (seed, mode, nodes) in cases {
        let options = PlanOptions {
            nodes,
            ..PlanOptions::default()
        };
        let here = run_mode(mode, &Plan::draw(seed, &options), 0);
        let there = browser.run(seed, mode, nodes);
        let hash = format!("{:016x}", here.trace_hash);
        println!("{mode} {seed}: {hash} here; there {}", there["note"]);
        if there["run"]["trace_hash"] != json!(hash) {
            wrong.push((seed, mode, nodes));
            continue;
        }
        assert_eq!(there["run"]["seed"], json!(seed.to_string()));
        assert_eq!(there["run"]["mode"], json!(mode));
        assert_eq!(there["nodes"], json!(here.nodes + here.strangers));
        let verdict = if here.held() { "held" } else { "failed" };
        assert_eq!(there["run"]["verdict"], json!(verdict));
        assert_eq!(
            there["run"]["virtual_ns"],
            json!(here.virtual_time.as_nanos() as u64)
        );
    }
    assert!(wrong.is_empty(), "other runs than here: {wrong:?}");
    // The address says what is shown, so that it can be sent to somebody.
    let address =
        browser.evaluate("new Promise((done) => setTimeout(() => done(location.hash), 600))");
    let address = address.as_str().expect("a text").to_owned();
    assert!(address.contains(&format!("seed={}", u64::MAX)), "{address}");
    assert!(
        address.contains("mode=session") && address.contains("nodes=4"),
        "{address}"
    );
}
