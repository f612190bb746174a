//! The `folkmoot` program.

mod bench;
mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

/// HTTP session replication for Rust servers, compatible with Apache Tomcat clusters.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Three nodes on this machine, a front, and a page with a cart that outlives its node (the default).
    Demo(demo::Arguments),
    /// Measure messages between this host and others (or processes on this one), and say which settings to try.
    Bench(bench::Arguments),
    /// One node of the demo, started by it.
    #[command(hide = true)]
    DemoNode(demo::NodeArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The demo kills its nodes: that the others miss them is no news to whoever watches.
    let level = match arguments.command {
        Some(Command::DemoNode(_)) => LevelFilter::OFF,
        _ => LevelFilter::WARN,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::builder()
                .with_env_var("FOLKMOOT_LOG")
                .with_default_directive(level.into())
                .from_env_lossy(),
        )
        .with_writer(std::io::stderr)
        .init();
    let result = match arguments.command {
        None => demo::run(&demo::Arguments::default()),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::DemoNode(arguments)) => demo::run_node(arguments).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("folkmoot: {error}");
        ExitCode::FAILURE
    })
}
