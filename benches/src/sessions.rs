//! State transfer: 10,000 sessions to a node that joins.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::compare::{PATIENCE, free_ports, median};
use crate::java::Java;
use crate::process::Process;

const SESSIONS: u64 = 10_000;
/// Characters in the attribute of each, one byte each.
const SIZE: usize = 1024;

/// Who gives or joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tomcat,
    Folkmoot,
}

/// A node that has the sessions, and the port its joiners use, one after the other.
struct Donor {
    kind: Kind,
    process: Process,
    port: u16,
    joiner_port: u16,
}

/// One state transfer.
struct Transfer {
    millis: f64,
    /// Peak memory beyond what the donor had before, and the joiner after.
    donor_mib: f64,
    joiner_mib: f64,
}

/// Prints a table of the time from asking for the sessions to having them, by the joiner's clock.
///
/// # Errors
/// A process failed, or a session was lost.
pub fn compare(java: &Java, scratch: &Path, rounds: usize) -> Result<()> {
    let start = |name: &str, kind: Kind, port: u16, other: u16, sessions: u64| {
        let mut command = match kind {
            Kind::Tomcat => java.command("TomcatNode"),
            Kind::Folkmoot => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("node");
                command
            }
        };
        let directory = scratch.join(format!("{name}-{port}"));
        command
            .args([port, other].map(|port| port.to_string()))
            .args([sessions.to_string(), SIZE.to_string()])
            .arg(&directory)
            .args(["8", "0"]);
        Process::start(
            name,
            &mut command,
            &scratch.join(format!("{name}-{port}.log")),
        )
    };
    let mut donors = Vec::new();
    for kind in [Kind::Tomcat, Kind::Folkmoot] {
        let [port, joiner_port] = free_ports()?;
        let name = format!("{kind:?} donor");
        let mut process = start(&name, kind, port, joiner_port, SESSIONS)?;
        if process.expect("READY", PATIENCE)? != [SESSIONS] {
            return Err(format!("{name}: not all sessions were created").into());
        }
        donors.push(Donor {
            kind,
            process,
            port,
            joiner_port,
        });
    }
    let mut measured: Vec<(Kind, Kind, Vec<Transfer>)> = Vec::new();
    for _ in 0..rounds {
        for donor in &donors {
            for joiner in [Kind::Tomcat, Kind::Folkmoot] {
                let name = format!("{joiner:?} joining {:?}", donor.kind);
                donor.process.reset_peak()?;
                let before = donor.process.memory()?.now_mib;
                let mut process = start(&name, joiner, donor.joiner_port, donor.port, 0)?;
                let [nanos, sessions] = process.expect("TRANSFERRED", PATIENCE)?[..] else {
                    return Err(format!("{name}: no figures").into());
                };
                if sessions != SESSIONS {
                    return Err(format!("{name}: {sessions} of {SESSIONS} sessions").into());
                }
                let joined = process.memory()?;
                process.finish()?;
                let transfer = Transfer {
                    millis: nanos as f64 / 1e6,
                    donor_mib: donor.process.memory()?.peak_mib - before,
                    joiner_mib: joined.peak_mib - joined.now_mib,
                };
                match measured
                    .iter_mut()
                    .find(|(d, j, _)| (*d, *j) == (donor.kind, joiner))
                {
                    Some((_, _, all)) => all.push(transfer),
                    None => measured.push((donor.kind, joiner, vec![transfer])),
                }
            }
        }
    }
    println!();
    println!(
        "| {SESSIONS} sessions of {SIZE} bytes | to a joining | median ms | least | most | donor MiB | joiner MiB |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for (donor, joiner, all) in &measured {
        let least = all.iter().map(|t| t.millis).fold(f64::INFINITY, f64::min);
        let most = all.iter().map(|t| t.millis).fold(0.0, f64::max);
        let middle = median(all, |t| t.millis);
        let [gave, took] = [median(all, |t| t.donor_mib), median(all, |t| t.joiner_mib)];
        println!(
            "| from {donor:?} | {joiner:?} | {middle:.1} | {least:.1} | {most:.1} | {gave:.1} | {took:.1} |"
        );
    }
    let of = |kind: Kind| {
        let both = measured.iter().find(|(d, j, _)| (*d, *j) == (kind, kind));
        both.map_or(f64::NAN, |(_, _, all)| median(all, |t| t.millis))
    };
    println!(
        "| Folkmoot to Folkmoot against Tomcat to Tomcat | | 1/{:.1} | | | | |",
        of(Kind::Tomcat) / of(Kind::Folkmoot)
    );
    println!(
        "MiB: the peak of resident memory beyond what the donor had before, and the joiner after."
    );
    for donor in donors {
        donor.process.finish()?;
    }
    Ok(())
}
