//! `cargo run --release -p folkmoot-benches -- first`

use std::process::ExitCode;

use folkmoot_benches::{Result, compare, node, peer};

const USAGE: &str = "\
usage: folkmoot-benches first [messages|sessions] [--rounds N]
  first    Folkmoot against Tribes: messages of 512 bytes, and 10,000 sessions to a joining node";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("folkmoot-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["first", rest @ ..] => compare::first(rest),
        // Our side of the comparison, started by it.
        ["peer", port, other] => peer::run(port.parse()?, other.parse()?),
        ["node", port, other, sessions, size, ..] => node::run(
            port.parse()?,
            other.parse()?,
            sessions.parse()?,
            size.parse()?,
        ),
        _ => Err(USAGE.into()),
    }
}
