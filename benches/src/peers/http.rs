//! Two web servers that replicate, and wrk on one of them: every request changes 1 KiB of its session.

use std::process::Command;

use super::Options;
use super::report::{Line, Report};
use super::sessions::node;
use super::side::{Figures, Tools};
use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::process::Process;

/// Connections of wrk.
const CONNECTIONS: usize = 16;

/// Each connection has a session of its own: the first answer's cookies are kept in turn.
const SCRIPT: &str = r#"
local cookies, asked, at = {}, 0, 0
request = function()
  if asked < 16 then
    asked = asked + 1
    return wrk.format("GET", "/shop/put")
  end
  if #cookies == 0 then return wrk.format("GET", "/shop/put") end
  at = at % #cookies + 1
  return wrk.format("GET", "/shop/put", {["Cookie"] = cookies[at]})
end
response = function(status, headers)
  if #cookies < 16 then
    local set = headers["Set-Cookie"] or headers["set-cookie"]
    if set then cookies[#cookies + 1] = set:match("^[^;]+") end
    if #cookies == 16 then response = nil end
  end
end
"#;

struct Pair {
    nodes: [Process; 2],
    http: u16,
}

impl Pair {
    fn start(tools: &Tools, ours: bool, options: u32) -> Result<Self> {
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
        let mut nodes = [start(a, b, http)?, start(b, a, other)?];
        for process in &mut nodes {
            process.expect("READY", PATIENCE)?;
        }
        Ok(Self { nodes, http })
    }

    fn round(&self, tools: &Tools, seconds: u64) -> Result<Figures> {
        let script = tools.scratch.join("put.lua");
        std::fs::write(&script, SCRIPT)?;
        let cpu = |nodes: &[Process]| -> Result<u64> { nodes.iter().map(Process::cpu_nanos).sum() };
        let before = cpu(&self.nodes)?;
        let output = Command::new("wrk")
            .args([
                "-t1",
                &format!("-c{CONNECTIONS}"),
                &format!("-d{seconds}"),
                "--latency",
                "-s",
            ])
            .arg(&script)
            .arg(format!("http://127.0.0.1:{}/shop/put", self.http))
            .output()?;
        let used = cpu(&self.nodes)? - before;
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("Non-2xx") || said.contains("Socket errors") {
            return Err(format!("wrk: {said}").into());
        }
        let word = |line: &str, at: usize| -> Option<f64> {
            let line = said.lines().find(|l| l.trim_start().starts_with(line))?;
            line.split_whitespace().nth(at)?.parse().ok()
        };
        let rate = word("Requests/sec:", 1).ok_or("wrk gave no rate")?;
        let total = said
            .lines()
            .find(|line| line.contains("requests in"))
            .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .ok_or("wrk gave no count")?;
        Ok(Figures {
            rate,
            cpu: used as f64 / 1e3 / total,
            sender_mib: self.nodes[0].memory()?.peak_mib,
            receiver_mib: self.nodes[1].memory()?.peak_mib,
            ..Figures::default()
        })
    }
}

/// Requests a second and CPU time of both nodes.
///
/// # Errors
/// A server failed, or answered otherwise than with 200.
pub fn requests(options: &Options, tools: &Tools, report: &mut Report) -> Result<()> {
    if !tools.wrk {
        return Ok(());
    }
    for (name, send_options) in [("HTTP, options 6", 6), ("HTTP, options 8", 8)] {
        if !options.wants(name) {
            continue;
        }
        let seconds = if options.quick { 1 } else { 3 };
        let pairs = [
            Pair::start(tools, false, send_options)?,
            Pair::start(tools, true, send_options)?,
        ];
        let mut rounds = [Vec::new(), Vec::new()];
        let warm_up = 1;
        for round in 0..warm_up + options.rounds.min(if options.quick { 1 } else { 5 }) {
            for (side, pair) in pairs.iter().enumerate() {
                let figures = pair.round(tools, seconds)?;
                if round >= warm_up {
                    rounds[side].push(figures);
                }
            }
        }
        let mut line = Line::new(name);
        line.unit = "request";
        for (side, rounds) in ["Tomcat", "Folkmoot and axum"].iter().zip(&rounds) {
            let figures = Figures {
                rate: median(rounds, |f| f.rate),
                cpu: median(rounds, |f| f.cpu),
                sender_mib: median(rounds, |f| f.sender_mib),
                receiver_mib: median(rounds, |f| f.receiver_mib),
                ..Figures::default()
            };
            line.figures.push(((*side).to_owned(), figures));
        }
        if let [(_, tomcat), (_, ours)] = &line.figures[..] {
            let (cpu, rate) = (ours.cpu / tomcat.cpu, ours.rate / tomcat.rate);
            line.judge(
                "CPU of both nodes ≤ 1/4 of Tomcat's".into(),
                format!("1/{:.1}", 1.0 / cpu),
                cpu <= 0.25,
            );
            if send_options == 6 {
                line.judge(
                    "requests/s ≥ 3 × Tomcat".into(),
                    format!("{rate:.2} ×"),
                    rate >= 3.0,
                );
            }
        }
        report.add(line);
        for pair in pairs {
            for node in pair.nodes {
                node.finish()?;
            }
        }
    }
    Ok(())
}
