//! Two web servers that replicate, and wrk on one of them: every request changes 1 KiB of its session.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Instant;

use super::report::{Line, Report};
use super::sessions::{node, started};
use super::side::{Figures, Tools};
use super::{Options, twice};
use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::latency::PER_MILLE;
use crate::process::{Process, children_cpu_nanos};

/// Connections of wrk.
const CONNECTIONS: usize = 16;
/// Requests a second that keep the one thread of wrk busy with our script and nobody else at work.
const WRK_MOST: f64 = 85_000.0;

/// The requests are made once, before the clock runs: wrk is to ask, not to think. `COOKIES` are those of sessions that exist,
/// one for each connection. At the end the latencies at the shares that the others report as well.
const SCRIPT: &str = r#"
local requests, at = {}, 0
init = function()
  for _, cookie in ipairs({COOKIES}) do
    requests[#requests + 1] = wrk.format("GET", "/shop/put", {["Cookie"] = cookie})
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency)
  io.write("LATENCIES")
  for _, p in ipairs({0.1, 1, 10, 25, 50, 75, 90, 99, 99.9}) do
    io.write(" ", latency:percentile(p))
  end
  io.write(" ", latency.max, "\n")
end
"#;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// A change of a session.
    Put,
    /// Nothing: the same server without sessions, for what wrk and the server themselves allow.
    Bare,
}

/// The rows of HTTP: their names and send options.
pub const ROWS: [(&str, u32); 2] = [("HTTP, options 6", 6), ("HTTP, options 8", 8)];
const CPU: &str = "CPU of both nodes ≤ 1/4 of Tomcat's";
const RATE: &str = "requests/s ≥ 3 × Tomcat";
const WRK: &str = "as many as wrk can ask for (its thread ≥ 95 % busy, or 85,000/s)";

pub(super) struct Pair {
    nodes: [Process; 2],
    http: u16,
    /// What wrk runs, once there are sessions.
    script: std::path::PathBuf,
}

/// What one round has shown, and how busy wrk was.
pub(super) struct Round {
    pub(super) figures: Figures,
    wrk: f64,
}

impl Pair {
    /// The ids of both nodes.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.nodes.iter().map(Process::id).collect()
    }

    pub(super) fn start(tools: &Tools, ours: bool, options: u32) -> Result<Self> {
        let [a, b, http, other] = free_ports()?;
        let start = |port: u16, member: u16, http: u16| {
            let directory = tools.scratch.join(format!("web-{ours}-{port}"));
            let mut command = node(tools, ours, [port, member], 0, &directory, options, http)?;
            Process::start(
                "a web server",
                &mut command,
                &directory.with_extension("log"),
            )
        };
        let mut first = start(a, b, http)?;
        if !ours {
            started(&mut first)?;
        }
        Ok(Self {
            nodes: [first, start(b, a, other)?],
            http,
            script: tools.scratch.join(format!("put-{http}.lua")),
        })
    }

    pub(super) fn ready(&mut self, ours: bool) -> Result<()> {
        if !ours {
            started(&mut self.nodes[1])?;
        }
        for process in &mut self.nodes {
            process.expect("READY", PATIENCE)?;
        }
        let cookies: Vec<String> = (0..CONNECTIONS)
            .map(|_| Ok(format!("{:?}", new_session(self.http)?)))
            .collect::<Result<_>>()?;
        let script = SCRIPT.replace("COOKIES", &cookies.join(", "));
        Ok(std::fs::write(&self.script, script)?)
    }

    pub(super) fn round(&self, path: Path, seconds: u64) -> Result<Round> {
        let cpu = |nodes: &[Process]| -> Result<u64> { nodes.iter().map(Process::cpu_nanos).sum() };
        let before = cpu(&self.nodes)?;
        let of_wrk = children_cpu_nanos();
        let mut command = Command::new("wrk");
        command.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}")]);
        let path = match path {
            Path::Put => {
                command.arg("-s").arg(&self.script);
                "put"
            }
            Path::Bare => "bare",
        };
        let output = command
            .arg(format!("http://127.0.0.1:{}/shop/{path}", self.http))
            .output()?;
        let of_wrk = children_cpu_nanos() - of_wrk;
        let used = cpu(&self.nodes)? - before;
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("Non-2xx") || said.contains("Socket errors") {
            return Err(format!("wrk: {said}").into());
        }
        let line = |what: &str| said.lines().find(|line| line.contains(what));
        let word = |what: &str, at: usize| line(what)?.split_whitespace().nth(at);
        let figure = |what: &str, at: usize| -> Result<f64> {
            let word = word(what, at).ok_or_else(|| format!("wrk did not say `{what}`: {said}"))?;
            Ok(word.parse()?)
        };
        let latencies = match line("LATENCIES") {
            Some(line) => line
                .split_whitespace()
                .skip(1)
                .map(str::parse)
                .collect::<std::result::Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Round {
            figures: Figures {
                rate: figure("Requests/sec:", 1)?,
                cpu: used as f64 / 1e3 / figure("requests in", 0)?,
                latencies,
                sender_mib: self.nodes[0].memory()?.peak_mib,
                receiver_mib: self.nodes[1].memory()?.peak_mib,
                ..Figures::default()
            },
            wrk: of_wrk as f64 / 1e9 / seconds as f64,
        })
    }
}

/// Makes a session; the cookie by which it is found, `NAME=VALUE`.
fn new_session(http: u16) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, http))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /shop/put HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let set = name.eq_ignore_ascii_case("set-cookie");
        set.then(|| value.split(';').next().unwrap_or_default().trim())
    });
    match cookie {
        Some(cookie) => Ok(cookie.to_owned()),
        None => Err(format!("a web server made no session: {answer}").into()),
    }
}

/// Requests a second and CPU time of both nodes. A server that fails, or answers otherwise than with 200, fails the row.
pub fn requests(options: &Options, tools: &Tools, report: &mut Report) {
    for (name, send_options) in ROWS {
        if !options.wants(name) {
            continue;
        }
        let began = Instant::now();
        let targets = [CPU, if send_options == 6 { RATE } else { WRK }];
        let mut line = Line::new(name);
        line.unit = "request";
        if options.quick && send_options == 8 {
            for target in targets {
                line.not_measured(target, "left out of --quick");
            }
        } else if !tools.wrk {
            for target in targets {
                line.not_measured(target, "wrk is not there");
            }
        } else {
            let measured = twice(name, || measure(options, tools, send_options, line.clone()));
            line = measured.unwrap_or_else(|error| {
                let targets = targets.iter().map(|target| (*target).to_owned());
                Line::failed(name, targets, &error.to_string())
            });
        }
        report.add(line);
        eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

fn measure(options: &Options, tools: &Tools, send_options: u32, mut line: Line) -> Result<Line> {
    let seconds = if options.quick { 1 } else { 3 };
    let mut pairs = [
        Pair::start(tools, false, send_options)?,
        Pair::start(tools, true, send_options)?,
    ];
    for (pair, ours) in pairs.iter_mut().zip([false, true]) {
        pair.ready(ours)?;
    }
    let sides = [
        ("Tomcat", 0, Path::Put),
        ("Folkmoot and axum", 1, Path::Put),
        ("axum without sessions", 1, Path::Bare),
    ];
    let mut rounds: [Vec<Round>; 3] = [const { Vec::new() }; 3];
    let warm_up = if options.quick { 1 } else { 2 };
    for round in 0..warm_up + options.rounds.min(if options.quick { 1 } else { 5 }) {
        for (side, (_, pair, path)) in sides.into_iter().enumerate() {
            let measured = pairs[pair].round(path, seconds)?;
            if round >= warm_up {
                rounds[side].push(measured);
            }
        }
    }
    for ((name, ..), rounds) in sides.into_iter().zip(&rounds) {
        let whole = rounds
            .iter()
            .all(|r| r.figures.latencies.len() == PER_MILLE.len());
        let figures = Figures {
            rate: median(rounds, |r| r.figures.rate),
            cpu: median(rounds, |r| r.figures.cpu),
            latencies: (0..PER_MILLE.len())
                .filter(|_| whole)
                .map(|at| median(rounds, |r| r.figures.latencies[at]))
                .collect(),
            sender_mib: median(rounds, |r| r.figures.sender_mib),
            receiver_mib: median(rounds, |r| r.figures.receiver_mib),
            ..Figures::default()
        };
        line.figures.push((name.to_owned(), figures));
    }
    let busy = median(&rounds[1], |r| r.wrk);
    if let [(_, tomcat), (_, ours), ..] = &line.figures[..] {
        let (cpu, rate, ours) = (ours.cpu / tomcat.cpu, ours.rate / tomcat.rate, ours.rate);
        line.judge(CPU.into(), format!("1/{:.1}", 1.0 / cpu), cpu <= 0.25);
        match send_options {
            6 => line.judge(RATE.into(), format!("{rate:.2} ×"), rate >= 3.0),
            _ => line.judge(
                WRK.into(),
                format!("{:.0} % busy, {ours:.0}/s", busy * 100.0),
                busy >= 0.95 || ours >= WRK_MOST,
            ),
        }
    }
    for pair in pairs {
        for node in pair.nodes {
            node.finish()?;
        }
    }
    Ok(line)
}
