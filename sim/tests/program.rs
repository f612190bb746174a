//! The program: what it prints, what it exits with, and that nothing around it reaches a run.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use folkmoot_sim::{FaultKind, MODES, Plan, PlanOptions};

fn program(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot-sim"));
    command.args(words.split_whitespace());
    command
}

fn output(words: &str) -> Output {
    program(words).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One line a run, in the order of the seeds, whatever order they were finished in.
fn lines(output: &Output) -> BTreeSet<String> {
    assert!(output.status.success(), "{output:?}");
    text(output).lines().map(str::to_owned).collect()
}

#[test]
fn nothing_but_the_seed_reaches_a_run() {
    let words = "run --seeds 1..=3 --seconds 5 --json";
    let runs = lines(&output(words));
    assert_eq!(runs.len(), MODES.len() * 3, "one a mode and seed");
    for run in &runs {
        let run: serde_json::Value = serde_json::from_str(run).expect("an object a line");
        assert_eq!(run["verdict"], "held");
        assert_eq!(run["trace_hash"].as_str().map(str::len), Some(16));
    }
    // Another process has its memory elsewhere and its hash tables seeded otherwise; this one also has another surrounding.
    let elsewhere = program(words)
        .env_clear()
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("COLUMNS", "40")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the program starts");
    assert_eq!(lines(&elsewhere), runs);
}

#[test]
fn shards_are_the_range() {
    let words = "run --seeds 1..=4 --seconds 5 --mode group --json";
    let whole = lines(&output(words));
    let shards: BTreeSet<String> = (0..3)
        .flat_map(|shard| lines(&output(&format!("{words} --shard {shard}/3"))))
        .collect();
    assert_eq!(shards, whole);
}

#[test]
fn a_replay_tells_the_story_with_the_hash_of_the_run() {
    let run = output("run --seeds 2..=2 --mode group --json");
    let run: serde_json::Value = serde_json::from_str(&text(&run)).expect("one object");
    let replay = output("replay --seed 2 --mode group");
    assert!(replay.status.success());
    let told = text(&replay);
    let hash = run["trace_hash"].as_str().expect("a hash");
    assert!(told.contains(hash), "{told}");
    assert!(told.contains("──"), "what was done to the world: {told}");
}

/// The kinds of faults that `explore` says were there, and those that it says were not.
fn explored(words: &str) -> [BTreeSet<String>; 2] {
    let output = output(words);
    assert!(output.status.success(), "{output:?}");
    let text = text(&output);
    let words = text.lines().map(|line| line.split_whitespace().collect());
    let reached = words.filter_map(|words: Vec<&str>| match words[..] {
        [_, "fault", name] => Some(name.to_owned()),
        _ => None,
    });
    let never = text
        .lines()
        .find_map(|line| line.strip_prefix("never reached: "));
    let never = never.into_iter().flat_map(|names| names.split(", "));
    let missed = never.filter_map(|name| Some(name.strip_prefix("fault ")?.to_owned()));
    [reached.collect(), missed.collect()]
}

#[test]
fn exploring_shows_what_runs_had_and_so_what_they_had_not() {
    let names = |has: &dyn Fn(FaultKind) -> bool| -> BTreeSet<String> {
        let kinds = FaultKind::ALL.into_iter().filter(|kind| has(*kind));
        kinds.map(|kind| kind.name().to_owned()).collect()
    };
    let plan = Plan::draw(1, &PlanOptions::default());
    assert!(plan.kinds.len() < FaultKind::ALL.len());
    let [reached, missed] = explored("explore --seeds 1..=1 --mode group");
    assert_eq!(reached, names(&|kind| plan.kinds.contains(&kind)));
    assert_eq!(missed, names(&|kind| !plan.kinds.contains(&kind)));
    let [reached, missed] = explored("explore --seeds 1..=30 --mode group --seconds 5");
    assert_eq!(reached, names(&|_| true));
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_mistake_is_named() {
    for (words, named) in [
        ("run", "--seeds"),
        ("run --seeds 7..=3", "7..=3"),
        ("replay --seed 1 --keep some", "some"),
        ("run --seeds 5..1", "5..1"),
        ("run --seeds 1..3 --mode tomcat", "tomcat"),
        ("run --seeds 1..3 --shard 3/3", "3/3"),
        ("replay --seed x", "x"),
        ("dance", "dance"),
        ("run --seeds 1..3 --plant no-such-error", "no-such-error"),
    ] {
        let output = output(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(named), "{words}: {said}");
    }
}
