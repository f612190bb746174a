//! Members are killed, stopped and restarted while 16 callers write: no acknowledged write is lost, memory and
//! descriptors stay flat, and both sides count the same.
//!
//! About twenty seconds for each driver, and for a ring that does all it can; ten minutes with `FOLKMOOT_LONG=1`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use folkmoot_benches::compare::{PATIENCE, free_ports};
use folkmoot_benches::process::Process;
use folkmoot_benches::soak::CALLERS;

/// The writer, one that is left alone, and two that are not.
const NODES: usize = 4;
/// What an allocator may keep after the first faults, beyond which memory is not flat.
const GROWTH_MIB: f64 = 24.0;

/// How long a member is stopped: for a moment, and until its messages have failed.
const STOPPED: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

struct Nodes {
    driver: &'static str,
    /// The ring does all that it can.
    ring: bool,
    ports: [u16; NODES],
    running: [Option<Process>; NODES],
    logs: PathBuf,
    starts: usize,
}

impl Nodes {
    fn start(&mut self, node: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot-benches"));
        command.arg("soak").arg(self.ports[node].to_string());
        command.env("FOLKMOOT_DRIVER", self.driver);
        let others = self.ports.iter().enumerate().filter(|(n, _)| *n != node);
        command.args(others.map(|(_, port)| port.to_string()));
        command.args(self.ring.then_some("ring"));
        self.starts += 1;
        let log = self.logs.join(format!("{node}-{}.log", self.starts));
        let process = Process::start(&format!("node {node}"), &mut command, &log);
        self.running[node] = Some(process.expect("a node starts"));
    }

    fn ready(&mut self, node: usize) {
        self.of(node)
            .expect("READY", PATIENCE)
            .expect("a node gets the state");
    }

    fn of(&mut self, node: usize) -> &mut Process {
        self.running[node].as_mut().expect("it runs")
    }

    /// Asks one for its numbers.
    fn ask(&mut self, node: usize, what: &str) -> Vec<u64> {
        let process = self.of(node);
        process.tell(what).expect("it listens");
        let word = match what {
            "create" | "begin" | "stop" => "OK".to_owned(),
            other => other.to_uppercase(),
        };
        process.expect(&word, PATIENCE).expect("it answers")
    }

    fn signal(&mut self, node: usize, signal: libc::c_int) {
        self.of(node).signal(signal).expect("it runs");
    }

    /// Until the writer sees all others.
    fn together(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.ask(0, "counters")[2] != NODES as u64 - 1 {
            assert!(Instant::now() < until, "the members do not find each other");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Until all of the writer's callers have something new acknowledged.
    fn progress(&mut self) {
        let before = self.ask(0, "acknowledged");
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.ask(0, "acknowledged");
            if now.iter().zip(&before).all(|(now, before)| now > before) {
                return;
            }
            assert!(
                Instant::now() < until,
                "a caller makes no progress: {before:?}, {now:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One that was away has everything that had been acknowledged when it was back.
    fn caught_up(&mut self, node: usize) {
        let acknowledged = self.ask(0, "acknowledged");
        let until = Instant::now() + PATIENCE;
        loop {
            let there = self.ask(node, "values");
            if there
                .iter()
                .zip(&acknowledged)
                .all(|(there, said)| there >= said)
            {
                return;
            }
            assert!(
                Instant::now() < until,
                "node {node}: {acknowledged:?} was acknowledged, {there:?} is there"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Until no caller is at work any more.
    fn quiet(&mut self) {
        self.ask(0, "stop");
        let until = Instant::now() + PATIENCE;
        while self.ask(0, "writing") != [0] {
            assert!(Instant::now() < until, "a caller never ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Until all hold the same; gives it.
    fn equal(&mut self) -> Vec<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            let values = self.ask(0, "values");
            if (1..NODES).all(|node| self.ask(node, "values") == values) {
                return values;
            }
            assert!(Instant::now() < until, "they never hold the same");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What was acknowledged by all members of that moment is with the one that was left alone.
    fn nothing_is_lost(&mut self) {
        let acknowledged = self.ask(0, "acknowledged");
        let there = self.ask(1, "values");
        for caller in 0..CALLERS {
            let (wanted, found) = (acknowledged[caller], there[caller]);
            assert!(
                found >= wanted,
                "caller {caller}: {wanted} was acknowledged, {found} is there"
            );
        }
    }
}

fn scratch(driver: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("soak")
        .join(driver);
    std::fs::create_dir_all(&path).expect("a directory for logs");
    path
}

#[test]
fn nothing_acknowledged_is_lost_while_members_die_and_come_back_mio() {
    soak("mio", "mio", false);
}

#[test]
fn nothing_acknowledged_is_lost_while_members_die_and_come_back_io_uring() {
    soak("io_uring", "io_uring", false);
}

#[test]
fn nothing_acknowledged_is_lost_while_members_die_and_come_back_ring() {
    soak("ring", "io_uring", true);
}

fn soak(name: &'static str, driver: &'static str, ring: bool) {
    let began = Instant::now();
    let long = std::env::var_os("FOLKMOOT_LONG").is_some_and(|value| value == "1");
    let until = Instant::now() + Duration::from_secs(if long { 600 } else { 12 });
    let mut nodes = Nodes {
        driver,
        ring,
        ports: free_ports().expect("free ports"),
        running: [const { None }; NODES],
        logs: scratch(name),
        starts: 0,
    };
    (0..NODES).for_each(|node| nodes.start(node));
    (0..NODES).for_each(|node| nodes.ready(node));
    nodes.together();
    nodes.ask(0, "create");
    nodes.ask(0, "begin");
    nodes.progress();

    let mut settled = None;
    let mut round = 0;
    while round < 4 || Instant::now() < until {
        let victim = 2 + round % 2;
        match round / 2 % 3 {
            0 => {
                nodes.signal(victim, libc::SIGKILL);
                nodes.progress();
                nodes.running[victim] = None;
                nodes.start(victim);
                nodes.ready(victim);
            }
            1 => {
                nodes.signal(victim, libc::SIGSTOP);
                std::thread::sleep(STOPPED[round / 6 % 2]);
                nodes.signal(victim, libc::SIGCONT);
            }
            _ => {
                let leaving = nodes.running[victim].take().expect("it runs");
                leaving.finish().expect("it says goodbye");
                nodes.progress();
                nodes.start(victim);
                nodes.ready(victim);
            }
        }
        nodes.together();
        nodes.progress();
        nodes.nothing_is_lost();
        nodes.caught_up(victim);
        round += 1;
        // Every kind of fault has happened to both once, or the run is short.
        if settled.is_none() && (round >= 6 || !long) {
            settled = Some([0, 1].map(|node| nodes.of(node).usage().expect("it runs")));
        }
    }
    for (node, before) in settled.into_iter().flatten().enumerate() {
        let after = nodes.of(node).usage().expect("it runs");
        let grown = after.memory.now_mib - before.memory.now_mib;
        assert!(
            grown < GROWTH_MIB,
            "node {node}: {before:?}, then {after:?}"
        );
        // A connection may be between its end and its successor at either moment.
        assert!(
            after.descriptors <= before.descriptors + NODES * 2,
            "node {node}: {before:?}, then {after:?}"
        );
    }
    for node in [0, 1] {
        let usage = nodes.of(node).usage().expect("it runs");
        println!("{name}, node {node} after {:?}: {usage:?}", began.elapsed());
    }
    let written: u64 = nodes.ask(0, "acknowledged").iter().sum();
    let failed = nodes.ask(0, "failed")[0];
    println!("{name}: {round} faults, {written} writes acknowledged by all, {failed} not");
    nodes.quiet();

    // With everybody there: both sides count the same, and everybody has the same in the end.
    nodes.together();
    nodes.equal();
    let before: Vec<_> = (0..NODES).map(|node| nodes.ask(node, "counters")).collect();
    let from = nodes.ask(0, "values");
    nodes.ask(0, "begin");
    nodes.progress();
    nodes.quiet();
    let last = nodes.equal();
    assert_eq!(nodes.ask(0, "acknowledged"), last);
    let written: u64 = last.iter().sum::<u64>() - from.iter().sum::<u64>();
    let now: Vec<_> = (0..NODES).map(|node| nodes.ask(node, "counters")).collect();
    let counted = |node: usize, column: usize| now[node][column] - before[node][column];
    assert_eq!(counted(0, 3), written, "deltas sent");
    for node in 1..NODES {
        assert_eq!(counted(node, 4), written, "deltas received by node {node}");
    }
    let acks = counted(0, 0);
    assert!(
        acks >= written * (NODES as u64 - 1),
        "{acks} ACKs of {written} messages"
    );

    // The writer dies: what it had acknowledged is elsewhere.
    let acknowledged = nodes.ask(0, "acknowledged");
    nodes.signal(0, libc::SIGKILL);
    for node in 1..NODES {
        assert_eq!(nodes.ask(node, "values"), acknowledged, "node {node}");
    }
    nodes.running[0] = None;
    for process in nodes.running.into_iter().flatten() {
        process.finish().expect("it says goodbye");
    }
}
