//! `folkmoot demo`: three nodes as processes of their own, a sticky front, and a page with a cart that outlives its node.

mod client;
mod front;
mod load;
mod multicast;
mod node;
mod once;
mod supervisor;

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use folkmoot::Driver;
use front::Front;
pub(crate) use node::{NodeArguments, run as run_node};
use supervisor::{Plan, Supervisor};

/// The nodes of the demo.
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// What `folkmoot demo` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Play the nine steps and kill every node under load, print PASS or FAIL for each, and end.
    #[arg(long)]
    once: bool,
    /// Where the page is served, on 127.0.0.1; the next free port if it is taken.
    #[arg(long, default_value_t = Self::PORT)]
    port: u16,
    /// How the nodes find each other.
    #[arg(long, value_enum, default_value_t)]
    membership: MembershipChoice,
    /// Tomcat's channelSendOptions: 6 waits for every node before a click is answered, 8 does not.
    #[arg(long, default_value = Self::SEND_OPTIONS)]
    send_options: String,
    /// How the nodes move bytes: auto, mio or io_uring.
    #[arg(long, default_value_t)]
    driver: Driver,
}

impl Arguments {
    const PORT: u16 = 8080;
    const SEND_OPTIONS: &str = "6";
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            once: false,
            port: Self::PORT,
            membership: MembershipChoice::default(),
            send_options: Self::SEND_OPTIONS.to_owned(),
            driver: Driver::Auto,
        }
    }
}

/// How the nodes are to find each other.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum MembershipChoice {
    /// Multicast if it works on this machine's loopback interface, a static list if not.
    #[default]
    Auto,
    /// Multicast on the loopback interface.
    Multicast,
    /// A static list.
    Static,
}

/// How the nodes do find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Membership {
    /// Heartbeats on the loopback interface.
    Multicast,
    /// A static list.
    Static,
}

impl Membership {
    /// As it is written on a node's command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Static => "static",
        }
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Runs the demo until it is interrupted, or plays it once.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let scratch = Scratch::new()?;
    let plan = plan(arguments, scratch.0.clone())?;
    let supervisor = Arc::new(Supervisor::new(plan.clone(), &NAMES));
    if arguments.once {
        return runtime.block_on(once::play(supervisor, &plan));
    }
    println!(
        "Starting {} nodes, membership by {} …",
        NAMES.len(),
        plan.membership
    );
    let began = Instant::now();
    for name in NAMES {
        supervisor.start(name)?;
    }
    println!(
        "All nodes are up after {:.1} s.",
        began.elapsed().as_secs_f64()
    );
    runtime.block_on(async {
        let listener = Front::listen(arguments.port).await?;
        println!("\n    http://{}/\n", listener.local_addr()?);
        println!("Put something into the cart, kill the node that answered, and click again. Ctrl-C ends the demo.");
        let front = Front::new(supervisor);
        tokio::select! {
            () = front.serve(listener) => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn plan(arguments: &Arguments, state_dir: PathBuf) -> Result<Plan, Box<dyn Error>> {
    let membership = match arguments.membership {
        MembershipChoice::Multicast => Membership::Multicast,
        MembershipChoice::Static => Membership::Static,
        MembershipChoice::Auto if multicast::works_on_loopback() => Membership::Multicast,
        MembershipChoice::Auto => Membership::Static,
    };
    let receivers = match membership {
        Membership::Multicast => Vec::new(),
        Membership::Static => free_addresses(NAMES.len())?,
    };
    Ok(Plan {
        membership,
        domain: format!("demo-{}", std::process::id()),
        send_options: arguments.send_options.clone(),
        driver: arguments.driver,
        state_dir,
        receivers,
    })
}

/// Addresses that are free now: all are held before any is given back, so that no two are equal.
fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let held: std::io::Result<Vec<_>> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    held?.iter().map(TcpListener::local_addr).collect()
}

/// A directory that lasts as long as the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("folkmoot-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the demo's directory could not be removed");
        }
    }
}
