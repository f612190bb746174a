//! The comparison: both sides in one run, round by round in turn, judged by medians.

use std::path::Path;
use std::time::Duration;

use crate::java::Java;
use crate::{Result, messages, sessions};

/// The bound of every wait.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Prints the comparison.
///
/// # Errors
/// What is missing or went wrong; a lost or doubled message is an error.
pub fn first(words: &[&str]) -> Result<()> {
    let mut rounds = 5;
    let (mut with_messages, mut with_sessions) = (true, true);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "messages" => with_sessions = false,
            "sessions" => with_messages = false,
            "--rounds" => rounds = words.next().ok_or("--rounds wants a number")?.parse()?,
            other => {
                return Err(format!("`{other}` is neither messages, sessions nor --rounds").into());
            }
        }
    }
    let scratch = std::env::temp_dir().join(format!("folkmoot-benches-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let done = compare(&scratch, rounds, with_messages, with_sessions);
    match &done {
        Ok(()) => std::fs::remove_dir_all(&scratch)?,
        Err(_) => eprintln!("logs are in {}", scratch.display()),
    }
    done
}

fn compare(scratch: &Path, rounds: usize, with_messages: bool, with_sessions: bool) -> Result<()> {
    let java = Java::prepare(scratch)?;
    println!(
        "{}; {} processors; medians of {rounds} rounds, in turn",
        java.versions()?,
        processors()
    );
    if with_messages {
        messages::compare(&java, scratch, rounds)?;
    }
    if with_sessions {
        sessions::compare(&java, scratch, rounds)?;
    }
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// `COUNT` free ports of the loopback address.
///
/// # Errors
/// There are none.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut held = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The middle figure.
pub fn median<T>(items: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = items.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}
