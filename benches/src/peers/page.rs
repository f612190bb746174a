//! One HTML file with plots that needs nothing else.

use std::fmt::Write as _;

use super::report::{Line, Report, Verdict};
use super::side::Figures;
use crate::Result;
use crate::latency::PER_MILLE;

/// Width of a plot with bars, of the space for the names of the sides, and of the longest bar.
const BARS: [f64; 3] = [420.0, 122.0, 220.0];

/// The whole page.
///
/// # Errors
/// None that is known.
pub fn html(report: &Report) -> Result<String> {
    let mut page = String::from(HEAD);
    let [reached, relative, missed, open] = report.counts();
    write!(
        page,
        "<header><h1>Folkmoot and its peers</h1><p>{}</p><p class=sum><b class=yes>{reached} reached</b> \
         <b class=raw>{relative} only in raw loops</b> <b class=no>{missed} not reached</b> <b class=open>{open} not measured</b></p></header>",
        escape(&report.heading)
    )?;
    targets(&mut page, report)?;
    for line in &report.lines {
        workload(&mut page, line)?;
    }
    write!(
        page,
        "<details><summary>All figures as JSON</summary><pre>{}</pre></details></main></body></html>",
        escape(&serde_json::to_string_pretty(&report.json())?)
    )?;
    Ok(page)
}

fn targets(page: &mut String, report: &Report) -> Result<()> {
    page.push_str("<section><h2>Targets</h2><table><thead><tr><th>workload<th>target<th class=r>value<th>verdict</tr></thead><tbody>");
    for line in &report.lines {
        for (number, judged) in line.judged.iter().enumerate() {
            page.push_str(if number == 0 {
                "<tr class=first>"
            } else {
                "<tr>"
            });
            if number == 0 {
                let rows = line.judged.len();
                write!(page, "<td rowspan={rows}>{}", escape(&line.name))?;
            }
            write!(
                page,
                "<td>{}<td class=r>{}<td>{}</tr>",
                escape(&judged.target),
                escape(&judged.figure),
                badge(&judged.verdict)
            )?;
        }
    }
    page.push_str("</tbody></table></section>");
    Ok(())
}

fn badge(verdict: &Verdict) -> String {
    let (class, why) = match verdict {
        Verdict::Reached => ("yes", String::new()),
        Verdict::InRawLoops => ("raw", String::new()),
        Verdict::Missed => ("no", String::new()),
        Verdict::NotMeasured(why) => ("open", format!(" <small>{}</small>", escape(why))),
    };
    format!("<b class={class}>{}</b>{why}", verdict.word())
}

fn workload(page: &mut String, line: &Line) -> Result<()> {
    write!(
        page,
        "<section><h2>{}</h2><p class=sum>",
        escape(&line.name)
    )?;
    for judged in &line.judged {
        if !matches!(judged.verdict, Verdict::NotMeasured(_)) {
            let class = match judged.verdict {
                Verdict::Reached => "yes",
                Verdict::InRawLoops => "raw",
                _ => "no",
            };
            let (target, figure) = (escape(&judged.target), escape(&judged.figure));
            write!(page, "<span class={class}>{target}: {figure}</span> ")?;
        }
    }
    page.push_str("</p><div class=plots>");
    let unit = line.unit;
    bars(page, &format!("{unit}s a second"), line, |f| f.rate)?;
    bars(
        page,
        &format!("CPU µs a {unit}, all processes"),
        line,
        |f| f.cpu,
    )?;
    bars(page, "peak memory of the sender, MiB", line, |f| {
        f.sender_mib
    })?;
    bars(page, "peak memory of the receiver, MiB", line, |f| {
        f.receiver_mib
    })?;
    distribution(page, line)?;
    page.push_str("</div>");
    for note in &line.notes {
        write!(page, "<p class=note>{}</p>", escape(note))?;
    }
    page.push_str("</section>");
    Ok(())
}

/// One bar for each side; nothing if nobody has the figure. A bar more than four times as long as the next shorter one is
/// broken, so that the others can be told apart.
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
    if shown.is_empty() {
        return Ok(());
    }
    let mut values: Vec<f64> = shown.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let most = match values[..] {
        [.., next, most] if most > next * 4.0 => next * 1.25,
        [.., most] => most,
        [] => 1.0,
    };
    let [width, names, longest] = BARS;
    let height = shown.len() * 24 + 30;
    write!(
        page,
        "<svg viewBox=\"0 0 {width} {height}\" width={width} height={height} role=img><text x=0 y=14 class=title>{}</text>",
        escape(title)
    )?;
    for (number, (side, value)) in shown.iter().enumerate() {
        let y = 26 + number * 24;
        let broken = *value > most;
        let length = (value.min(most) / most * longest).max(1.5);
        let (colour, text) = (colour(side), y + 13);
        write!(
            page,
            "<text x={} y={text} text-anchor=end>{}</text><rect x={names} y={y} width={length:.1} height=18 rx=2 fill=\"{colour}\" />",
            names - 8.0,
            escape(side),
        )?;
        let end = names + length;
        if broken {
            write!(
                page,
                "<path d=\"M{:.1} {} l6 -22 h5 l-6 22 z\" class=gap />",
                end - 22.0,
                y + 20
            )?;
        }
        write!(
            page,
            "<text x={:.1} y={text} class=value>{}</text>",
            end + 6.0,
            short(*value)
        )?;
    }
    page.push_str("</svg>");
    Ok(())
}

/// A figure in at most seven characters.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e7 => format!("{:.1} M", v / 1e6),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// Latencies by share of the messages, on a logarithmic scale; nothing if nobody waited.
fn distribution(page: &mut String, line: &Line) -> Result<()> {
    let shown: Vec<(&str, &[f64])> = line
        .figures
        .iter()
        .filter(|(_, f)| f.latencies.len() == PER_MILLE.len())
        .map(|(side, f)| (side.as_str(), f.latencies.as_slice()))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let all = || shown.iter().flat_map(|(_, l)| l.iter().copied());
    let least = all().fold(f64::INFINITY, f64::min).max(0.1).log10().floor();
    let most = all().fold(1.0, f64::max).log10().ceil().max(least + 1.0);
    let (left, right, bottom) = (56.0, 400.0, 188.0);
    let x = |at: usize| left + (right - left) * at as f64 / (PER_MILLE.len() - 1) as f64;
    let y = |micros: f64| bottom - (micros.max(0.1).log10() - least) / (most - least) * 156.0;
    page.push_str("<svg viewBox=\"0 0 560 226\" width=560 height=226 role=img><text x=0 y=14 class=title>latency in µs that a share of the messages did not exceed</text>");
    let mut decade = least;
    while decade <= most {
        let at = y(10f64.powf(decade));
        write!(
            page,
            "<line x1={left} x2={right} y1={at:.1} y2={at:.1} class=grid /><text x={} y={:.1} text-anchor=end>{}</text>",
            left - 6.0,
            at + 4.0,
            10f64.powf(decade)
        )?;
        decade += 1.0;
    }
    for (at, per_mille) in PER_MILLE.iter().enumerate() {
        let share = match per_mille {
            1000 => "max".to_owned(),
            per_mille => format!("{}%", *per_mille as f64 / 10.0),
        };
        write!(
            page,
            "<text x={:.0} y=206 text-anchor=middle class=tick>{share}</text>",
            x(at)
        )?;
    }
    for (number, (side, latencies)) in shown.iter().enumerate() {
        let points: Vec<String> = latencies
            .iter()
            .enumerate()
            .map(|(at, micros)| format!("{:.1},{:.1}", x(at), y(*micros)))
            .collect();
        let colour = colour(side);
        let at = 40 + number * 20;
        write!(
            page,
            "<polyline points=\"{}\" stroke=\"{colour}\" class=curve /><rect x=412 y={} width=14 height=4 rx=2 fill=\"{colour}\" /><text x=432 y={}>{}</text>",
            points.join(" "),
            at - 6,
            at,
            escape(side)
        )?;
    }
    page.push_str("</svg>");
    Ok(())
}

/// The same for a side in every plot.
fn colour(side: &str) -> &'static str {
    match side {
        _ if side.contains("io_uring") => "#0891b2",
        _ if side.contains("spin") => "#7c3aed",
        _ if side.contains("without") => "#94a3b8",
        _ if side.starts_with("Folkmoot to Tomcat") => "#60a5fa",
        _ if side.starts_with("Folkmoot") => "#1d4ed8",
        _ if side.starts_with("Tribes") || side.starts_with("Tomcat") => "#d97706",
        _ if side.starts_with("Redis") => "#dc2626",
        _ if side.starts_with("zenoh") => "#15803d",
        _ if side.starts_with("iperf3") => "#475569",
        _ => "#94a3b8",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>Folkmoot and its peers</title><style>\
:root{--ink:#0f172a;--soft:#475569;--line:#e2e8f0;--back:#f8fafc;--card:#fff}\
body{font:14px/1.45 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--back)}main{max-width:1080px;margin:0 auto;padding:24px}\
h1{font-size:24px;margin:0 0 4px}h2{font-size:16px;margin:0 0 8px}header p{color:var(--soft);margin:4px 0}\
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px 20px;margin:16px 0}\
table{border-collapse:collapse;width:100%}th{font-weight:600;color:var(--soft);font-size:12px}\
th,td{padding:3px 14px 3px 0;text-align:left;vertical-align:top}.r{text-align:right;font-variant-numeric:tabular-nums}\
tr.first td{border-top:1px solid var(--line);padding-top:6px}\
b.yes,b.no,b.raw,b.open,span.yes,span.no,span.raw{font-weight:600;font-size:12px;padding:1px 8px;border-radius:9px;white-space:nowrap}\
.yes{color:#166534;background:#dcfce7}.no{color:#991b1b;background:#fee2e2}.raw{color:#854d0e;background:#fef9c3}.open{color:#475569;background:#e2e8f0}\
.sum{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 12px}small{color:var(--soft)}.note{color:var(--soft);margin:8px 0 0}\
.plots{display:flex;flex-wrap:wrap;gap:20px 32px}svg{max-width:100%}svg text{font-size:11.5px;fill:#334155}\
svg .title{font-size:12.5px;font-weight:600;fill:#0f172a}svg .value{font-variant-numeric:tabular-nums}svg .tick{font-size:9.5px}\
.gap{fill:var(--card)}.grid{stroke:#e2e8f0}.curve{fill:none;stroke-width:2;stroke-linejoin:round}\
details{margin:24px 0}pre{font-size:11px;overflow:auto;background:var(--card);border:1px solid var(--line);padding:12px}\
</style></head><body><main>";
