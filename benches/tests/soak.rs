//! Members are killed, stopped and restarted while 16 callers write: no acknowledged write is lost, memory and
//! descriptors stay flat, and both sides count the same.
//!
//! About twenty seconds; ten minutes with `FOLKMOOT_LONG=1`.

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

struct Nodes {
    ports: [u16; NODES],
    running: [Option<Process>; NODES],
    logs: PathBuf,
    starts: usize,
}

impl Nodes {
    fn start(&mut self, node: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot-benches"));
        command.arg("soak").arg(self.ports[node].to_string());
        let others = self.ports.iter().enumerate().filter(|(n, _)| *n != node);
        command.args(others.map(|(_, port)| port.to_string()));
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

fn scratch() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak");
    std::fs::create_dir_all(&path).expect("a directory for logs");
    path
}

#[test]
fn nothing_acknowledged_is_lost_while_members_die_and_come_back() {
    let long = std::env::var_os("FOLKMOOT_LONG").is_some_and(|value| value == "1");
    let until = Instant::now() + Duration::from_secs(if long { 600 } else { 12 });
    let mut nodes = Nodes {
        ports: free_ports().expect("free ports"),
        running: [const { None }; NODES],
        logs: scratch(),
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
                std::thread::sleep(Duration::from_millis(500));
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
    nodes.ask(0, "stop");

    // With everybody there: both sides count the same, and everybody has the same in the end.
    nodes.together();
    let before: Vec<_> = (0..NODES).map(|node| nodes.ask(node, "counters")).collect();
    let from = nodes.ask(0, "acknowledged");
    nodes.ask(0, "begin");
    nodes.progress();
    nodes.ask(0, "stop");
    let until = Instant::now() + PATIENCE;
    loop {
        let last = nodes.ask(0, "values");
        let acknowledged = nodes.ask(0, "acknowledged");
        let everywhere = (1..NODES).all(|node| nodes.ask(node, "values") == last);
        if everywhere && acknowledged == last {
            let written: u64 = last.iter().sum::<u64>() - from.iter().sum::<u64>();
            for (node, before) in before.iter().enumerate().skip(1) {
                let received = nodes.ask(node, "counters")[1] - before[1];
                assert!(
                    received >= written,
                    "node {node}: {received} of {written} messages"
                );
            }
            let acks = nodes.ask(0, "counters")[0] - before[0][0];
            assert!(
                acks >= written * (NODES as u64 - 1),
                "{acks} ACKs of {written} messages"
            );
            break;
        }
        assert!(
            Instant::now() < until,
            "{last:?}, acknowledged {acknowledged:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }

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
