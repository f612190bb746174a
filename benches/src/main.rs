//! `cargo run --release -p folkmoot-benches -- peers`

use std::process::ExitCode;

use folkmoot_benches::{
    Result, bundles, compare, drivers, instructions, knobs, node, peer, peers, raw, redis, soak,
    threads, web,
};

#[global_allocator]
static ALLOCATOR: folkmoot_benches::allocations::Counted = folkmoot_benches::allocations::Counted;

const USAGE: &str = "\
usage: folkmoot-benches peers [--quick] [--rounds N] [--only NAME]... [--list] [--html FILE] [--json FILE] [--readme]
       folkmoot-benches drivers [--quick] [--rounds N] [--only NAME]...
       folkmoot-benches knobs [--quick] [--rounds N] [--only NAME]...
       folkmoot-benches profile ROW [--side NAME]... [--place free|one|each] [--seconds N] [--symbols FILE]
       folkmoot-benches threads [--quick]
       folkmoot-benches instructions [--update]
       folkmoot-benches first [messages|sessions] [--rounds N]
  peers    all workloads against Tribes, Tomcat, Redis, zenoh, iperf3 and raw sockets; a table with every target and a page
           with plots. --only chooses rows by a part of their names (--list says them), --readme puts the tables into
           benches/README.md
  drivers  mio against io_uring: messages of every size, and state transfer
  knobs    the settings of docs/tuning.md: what each of their values does to rate, CPU, latency and memory
  profile  where the processor time of a row of `peers` goes, by `perf`: ours and the raw loop's beside it
  threads  session deltas from several peers, read by the driver thread or by several
  instructions
           instructions of the hot paths, counted by callgrind, against the committed counts; fails if one has more
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
        ["drivers", rest @ ..] => drivers::run(&peers::Options::parse(rest)?),
        ["knobs", rest @ ..] => knobs::run(&peers::Options::parse(rest)?),
        ["peers", rest @ ..] => peers::run(&peers::Options::parse(rest)?),
        ["profile", rest @ ..] => peers::profile::run(rest),
        ["threads", rest @ ..] => threads::run(rest),
        ["instructions"] => instructions::run(false),
        ["instructions", "--update"] => instructions::run(true),
        ["hot", number, times] => instructions::hot(number.parse()?, times.parse()?),
        // Our side of the comparison, started by it.
        ["peer", words @ ..] => peer::run(words),
        ["soak", words @ ..] => soak::run(words),
        ["raw", role, port] => raw::run(role, port.parse()?, false),
        ["raw", role, port, "spin"] => raw::run(role, port.parse()?, true),
        ["bundles", role, port] => bundles::run(role, port.parse()?),
        ["redis", port] => redis::run(port.parse()?),
        ["web", port, other, options, http, size] => web::run(
            port.parse()?,
            other.parse()?,
            options.parse()?,
            http.parse()?,
            size.parse()?,
        ),
        ["node", port, other, sessions, size, ..] => node::run(
            port.parse()?,
            other.parse()?,
            sessions.parse()?,
            size.parse()?,
        ),
        _ => Err(USAGE.into()),
    }
}
