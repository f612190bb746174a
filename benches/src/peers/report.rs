//! The table on standard output, the same as JSON, and one HTML file with plots that needs nothing else.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::rows::Side;
use super::side::Figures;
use crate::Result;
use crate::latency::PER_MILLE;

/// One target with what was reached.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was to be reached.
    pub target: String,
    /// What was.
    pub figure: String,
    /// Whether it is enough.
    pub reached: bool,
}

/// One workload with the figures of all sides.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The workload.
    pub name: String,
    /// What is counted, "message" unless set.
    pub unit: &'static str,
    /// By side.
    pub figures: Vec<(String, Figures)>,
    /// The targets.
    pub judged: Vec<Judged>,
}

impl Line {
    /// A workload without figures yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: "message",
            ..Self::default()
        }
    }

    /// Memory of nodes that have nothing to do.
    pub fn memory(idle: &[(Side, f64)]) -> Self {
        let mut line = Self::new("idle member");
        for (side, mib) in idle {
            let figures = Figures {
                receiver_mib: *mib,
                ..Figures::default()
            };
            line.figures.push((side.name().to_owned(), figures));
            if *side == Side::Ours {
                line.judge("≤ 10 MiB".into(), format!("{mib:.1} MiB"), *mib <= 10.0);
            }
        }
        line
    }

    /// Adds a target.
    pub fn judge(&mut self, target: String, figure: String, reached: bool) {
        self.judged.push(Judged {
            target,
            figure,
            reached,
        });
    }
}

/// Everything measured.
#[derive(Clone, Debug)]
pub struct Report {
    heading: String,
    lines: Vec<Line>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Prints the head of the table.
    pub fn new(heading: String) -> Self {
        println!("{heading}\n");
        println!(
            "| workload | side | per second | CPU µs | p50 µs | p99 µs | p99.9 µs | sender MiB | receiver MiB | overtaken |"
        );
        println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
        Self {
            heading,
            lines: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Adds a workload and prints its figures at once.
    pub fn add(&mut self, line: Line) {
        for (side, f) in &line.figures {
            let latency = |at: usize| match f.latencies.get(at) {
                Some(micros) => format!("{micros:.1}"),
                None => String::new(),
            };
            let memory = |mib: f64| match mib > 0.0 {
                true => format!("{mib:.1}"),
                false => String::new(),
            };
            println!(
                "| {} | {side} | {} | {} | {} | {} | {} | {} | {} | {} |",
                line.name,
                some(f.rate, 0),
                some(f.cpu, 2),
                latency(4),
                latency(7),
                latency(8),
                memory(f.sender_mib),
                memory(f.receiver_mib),
                some(f.overtaken, 0),
            );
        }
        self.lines.push(line);
    }

    /// The figures of a side in a workload that has been measured.
    pub fn figures(&self, name: &str, side: &str) -> Option<&Figures> {
        let line = self.lines.iter().find(|line| line.name == name)?;
        let found = line.figures.iter().find(|(s, _)| s == side);
        found.map(|(_, figures)| figures)
    }

    /// Prints the targets and writes the files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, html: &Path, json: Option<&Path>) -> Result<()> {
        println!("\n| workload | target | reached | |");
        println!("|---|---|---:|---|");
        for line in &self.lines {
            for judged in &line.judged {
                let word = if judged.reached { "yes" } else { "**no**" };
                println!(
                    "| {} | {} | {} | {word} |",
                    line.name, judged.target, judged.figure
                );
            }
        }
        std::fs::write(html, self.html()?)?;
        println!(
            "\n{:.0} s; plots in {}",
            self.took.as_secs_f64(),
            html.display()
        );
        if let Some(json) = json {
            std::fs::write(json, serde_json::to_string_pretty(&self.json())?)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let figures: Vec<Value> = line
                    .figures
                    .iter()
                    .map(|(side, f)| {
                        json!({
                            "side": side, "per_second": f.rate, "cpu_us": f.cpu,
                            "latency_per_mille": if f.latencies.is_empty() { &[][..] } else { &PER_MILLE[..] },
                            "latency_us": f.latencies, "overtaken": f.overtaken,
                            "waited_for_room": f.full, "sender_peak_mib": f.sender_mib,
                            "receiver_peak_mib": f.receiver_mib,
                        })
                    })
                    .collect();
                let targets: Vec<Value> = line
                    .judged
                    .iter()
                    .map(|j| json!({"target": j.target, "figure": j.figure, "reached": j.reached}))
                    .collect();
                json!({"workload": line.name, "unit": line.unit, "figures": figures, "targets": targets})
            })
            .collect();
        json!({"heading": self.heading, "seconds": self.took.as_secs_f64(), "workloads": lines})
    }

    fn html(&self) -> Result<String> {
        let mut page = String::from(HEAD);
        write!(page, "<p>{}</p>", escape(&self.heading))?;
        page.push_str("<h2>Targets</h2><table><tr><th>workload<th>target<th>reached<th></tr>");
        for line in &self.lines {
            for j in &line.judged {
                let (class, word) = if j.reached {
                    ("yes", "yes")
                } else {
                    ("no", "no")
                };
                write!(
                    page,
                    "<tr><td>{}<td>{}<td>{}<td class={class}>{word}</tr>",
                    escape(&line.name),
                    escape(&j.target),
                    escape(&j.figure)
                )?;
            }
        }
        page.push_str("</table>");
        for line in &self.lines {
            write!(page, "<h2>{}</h2><div class=plots>", escape(&line.name))?;
            let unit = line.unit;
            bars(&mut page, &format!("{unit}s a second"), line, |f| f.rate)?;
            bars(&mut page, &format!("CPU µs a {unit}"), line, |f| f.cpu)?;
            distribution(&mut page, line)?;
            bars(&mut page, "peak memory, sender, MiB", line, |f| {
                f.sender_mib
            })?;
            bars(&mut page, "peak memory, receiver, MiB", line, |f| {
                f.receiver_mib
            })?;
            page.push_str("</div>");
        }
        write!(
            page,
            "<h2>Figures</h2><pre>{}</pre></body></html>",
            escape(&serde_json::to_string_pretty(&self.json())?)
        )?;
        Ok(page)
    }
}

/// A figure, or nothing where nothing was measured.
fn some(figure: f64, digits: usize) -> String {
    match figure == 0.0 {
        true => String::new(),
        false => format!("{figure:.digits$}"),
    }
}

/// One bar for each side; nothing if nobody has the figure.
fn bars(
    page: &mut String,
    title: &str,
    line: &Line,
    figure: impl Fn(&Figures) -> f64,
) -> Result<()> {
    let shown: Vec<(&str, f64)> = line
        .figures
        .iter()
        .map(|(side, f)| (side.as_str(), figure(f)))
        .filter(|(_, value)| *value > 0.0)
        .collect();
    let most = shown.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if shown.is_empty() {
        return Ok(());
    }
    let height = shown.len() * 22 + 26;
    write!(
        page,
        "<svg width=460 height={height}><text x=0 y=14 class=title>{}</text>",
        escape(title)
    )?;
    for (number, (side, value)) in shown.iter().enumerate() {
        let y = 24 + number * 22;
        let width = (value / most * 220.0).max(1.0);
        let class = if side.starts_with("Folkmoot") {
            "ours"
        } else {
            "theirs"
        };
        let digits = if *value < 100.0 { 2 } else { 0 };
        write!(
            page,
            "<text x=130 y={} text-anchor=end>{}</text><rect x=136 y={y} width={width:.1} height=16 class={class} /><text x={:.1} y={}>{value:.digits$}</text>",
            y + 13,
            escape(side),
            140.0 + width,
            y + 13,
        )?;
    }
    page.push_str("</svg>");
    Ok(())
}

/// Latencies by share of the messages, on a logarithmic scale; nothing if nobody waited.
fn distribution(page: &mut String, line: &Line) -> Result<()> {
    let shown: Vec<(&str, &[f64])> = line
        .figures
        .iter()
        .filter(|(_, f)| f.latencies.len() == PER_MILLE.len())
        .map(|(side, f)| (side.as_str(), f.latencies.as_slice()))
        .collect();
    let all = || shown.iter().flat_map(|(_, l)| l.iter().copied());
    let (least, most) = (
        all().fold(f64::INFINITY, f64::min).max(0.1).log10().floor(),
        all().fold(0.0, f64::max).max(1.0).log10().ceil(),
    );
    if shown.is_empty() {
        return Ok(());
    }
    let x = |at: usize| 50.0 + at as f64 * 34.0;
    let y =
        |micros: f64| 190.0 - (micros.max(0.1).log10() - least) / (most - least).max(1.0) * 160.0;
    page.push_str("<svg width=560 height=220><text x=0 y=14 class=title>latency by share of the messages, µs</text>");
    let mut decade = least;
    while decade <= most {
        let at = y(10f64.powf(decade));
        write!(
            page,
            "<line x1=50 x2=360 y1={at:.1} y2={at:.1} class=grid /><text x=46 y={:.1} text-anchor=end>{}</text>",
            at + 4.0,
            10f64.powf(decade)
        )?;
        decade += 1.0;
    }
    for (at, per_mille) in PER_MILLE.iter().enumerate() {
        write!(
            page,
            "<text x={:.0} y=206 text-anchor=middle>{}</text>",
            x(at),
            *per_mille as f64 / 10.0
        )?;
    }
    for (number, (side, latencies)) in shown.iter().enumerate() {
        let points: Vec<String> = latencies
            .iter()
            .enumerate()
            .map(|(at, micros)| format!("{:.1},{:.1}", x(at), y(*micros)))
            .collect();
        let colour = COLOURS[number % COLOURS.len()];
        write!(
            page,
            "<polyline points=\"{}\" stroke=\"{colour}\" class=curve /><rect x=380 y={} width=12 height=4 fill=\"{colour}\" /><text x=398 y={}>{}</text>",
            points.join(" "),
            36 + number * 18,
            42 + number * 18,
            escape(side)
        )?;
    }
    page.push_str("</svg>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const COLOURS: [&str; 6] = [
    "#c2410c", "#1d4ed8", "#0f766e", "#6d28d9", "#a16207", "#475569",
];

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>Folkmoot and its peers</title><style>\
body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1180px;color:#1e293b;background:#fff}\
table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left;border-bottom:1px solid #e2e8f0}\
.yes{color:#15803d}.no{color:#b91c1c;font-weight:600}.plots{display:flex;flex-wrap:wrap;gap:16px}\
svg text{font-size:11px;fill:#334155}svg .title{font-size:12px;font-weight:600}.ours{fill:#1d4ed8}.theirs{fill:#94a3b8}\
.grid{stroke:#e2e8f0}.curve{fill:none;stroke-width:2}pre{font-size:11px;overflow:auto;background:#f8fafc;padding:1em}\
h2{margin-top:1.6em;font-size:16px}</style></head><body><h1>Folkmoot and its peers</h1>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_side_and_target_and_needs_no_other_file() {
        let mut report = Report::new("here <and> now".into());
        let mut line = Line::new("a workload");
        let figures = Figures {
            rate: 1000.0,
            cpu: 2.5,
            latencies: (1..=10).map(f64::from).collect(),
            ..Figures::default()
        };
        line.figures.push(("Tribes".into(), figures));
        line.judge("rate ≥ 4 × Tribes".into(), "1.0 ×".into(), false);
        report.add(line);
        let page = report.html().expect("written");
        for wanted in [
            "here &lt;and&gt; now",
            "a workload",
            "Tribes",
            "rate ≥ 4 × Tribes",
            "<polyline",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for unwanted in ["src=", "href=", "http:", "https:"] {
            assert!(!page.contains(unwanted), "{unwanted}");
        }
        assert_eq!(
            report.json()["workloads"][0]["targets"][0]["reached"],
            false
        );
    }
}
