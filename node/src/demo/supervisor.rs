//! The demo's nodes: processes of their own, started, killed and started again on the same ports.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use folkmoot::Driver;

use super::Membership;

/// How long a node may take from its start to its first word.
const START_MAX: Duration = Duration::from_secs(30);

/// What all nodes of one demo share.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How the nodes find each other.
    pub(crate) membership: Membership,
    /// The cluster's domain: other demos on this machine have another.
    pub(crate) domain: String,
    /// Tomcat's `channelSendOptions`.
    pub(crate) send_options: String,
    /// How the nodes move bytes.
    pub(crate) driver: Driver,
    /// Where nodes keep what outlives them.
    pub(crate) state_dir: PathBuf,
    /// The receivers of all nodes when membership is static, in the order of their names.
    pub(crate) receivers: Vec<SocketAddr>,
}

/// One node as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name, which is its `jvmRoute`.
    pub(crate) name: String,
    /// Where it serves HTTP; known once it has started.
    pub(crate) http: Option<SocketAddr>,
    /// Its process id while it runs.
    pub(crate) pid: Option<u32>,
}

/// What a node's process is doing.
enum Process {
    Ended,
    Starting,
    Running(Child),
}

/// One node and its process.
struct Slot {
    name: String,
    /// Where it serves HTTP and where its receiver listens, once it has started: it comes back there.
    http: Option<SocketAddr>,
    receiver: Option<SocketAddr>,
    process: Process,
}

/// Why a node could not be started or killed.
#[derive(Debug)]
pub(crate) enum SupervisorError {
    /// No node has this name.
    NoSuchNode(String),
    /// It runs already, or is being started.
    Running(String),
    /// It does not run.
    NotRunning(String),
    /// The process could not be started.
    Spawn(std::io::Error),
    /// The process ended or said nothing for half a minute; what it said last.
    NotReady(String),
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(name) => write!(f, "no node is called {name}"),
            Self::Running(name) => write!(f, "{name} runs already"),
            Self::NotRunning(name) => write!(f, "{name} does not run"),
            Self::Spawn(error) => write!(f, "the node's process could not be started: {error}"),
            Self::NotReady(last) => write!(f, "the node did not come up: {last}"),
        }
    }
}

impl std::error::Error for SupervisorError {}

/// Starts and ends the nodes; shared by the front, which must never wait for a start.
pub(crate) struct Supervisor {
    plan: Plan,
    slots: Mutex<Vec<Slot>>,
}

impl Supervisor {
    /// Nodes with these names, none of them started.
    pub(crate) fn new(plan: Plan, names: &[&str]) -> Self {
        let slots = names.iter().enumerate().map(|(index, &name)| Slot {
            name: name.to_owned(),
            http: None,
            receiver: plan.receivers.get(index).copied(),
            process: Process::Ended,
        });
        Self {
            slots: Mutex::new(slots.collect()),
            plan,
        }
    }

    /// All nodes, running or not.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let slots = self.lock();
        let nodes = slots.iter().map(|slot| Node {
            name: slot.name.clone(),
            http: slot.http,
            pid: match &slot.process {
                Process::Running(child) => Some(child.id()),
                Process::Starting | Process::Ended => None,
            },
        });
        nodes.collect()
    }

    /// Where a node serves HTTP, running or not.
    pub(crate) fn http(&self, name: &str) -> Option<SocketAddr> {
        let slots = self.lock();
        slots.iter().find(|slot| slot.name == name)?.http
    }

    /// Starts a node and waits until it has joined, has its state and serves HTTP.
    pub(crate) fn start(&self, name: &str) -> Result<(), SupervisorError> {
        let command = self.begin(name)?;
        let started = spawn(command);
        let mut slots = self.lock();
        let slot = find(&mut slots, name)?;
        match started {
            Ok((child, http, receiver)) => {
                slot.http = Some(http);
                slot.receiver = Some(receiver);
                slot.process = Process::Running(child);
                Ok(())
            }
            Err(error) => {
                slot.process = Process::Ended;
                Err(error)
            }
        }
    }

    /// Ends a node's process at once (SIGKILL): no goodbye, as in a crash.
    pub(crate) fn kill(&self, name: &str) -> Result<(), SupervisorError> {
        let mut slots = self.lock();
        let slot = find(&mut slots, name)?;
        match std::mem::replace(&mut slot.process, Process::Ended) {
            Process::Running(mut child) => {
                end(&mut child);
                Ok(())
            }
            other => {
                slot.process = other;
                Err(SupervisorError::NotRunning(name.to_owned()))
            }
        }
    }

    /// Marks a node as starting and says how its process is started.
    fn begin(&self, name: &str) -> Result<Command, SupervisorError> {
        let program = std::env::current_exe().map_err(SupervisorError::Spawn)?;
        let mut slots = self.lock();
        let slot = find(&mut slots, name)?;
        if !matches!(slot.process, Process::Ended) {
            return Err(SupervisorError::Running(name.to_owned()));
        }
        let mut command = Command::new(program);
        command
            .arg("demo-node")
            .args(["--name", name])
            .args(["--domain", &self.plan.domain])
            .args(["--send-options", &self.plan.send_options])
            .args(["--driver", &self.plan.driver.to_string()])
            .arg("--state-dir")
            .arg(self.plan.state_dir.join(name))
            .args(["--membership", self.plan.membership.as_str()])
            // The node ends when this pipe does, so that none outlives its demo.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(http) = slot.http {
            command.args(["--http", &http.to_string()]);
        }
        if let Some(receiver) = slot.receiver {
            command.args(["--receiver", &receiver.to_string()]);
        }
        for member in &self.plan.receivers {
            command.args(["--member", &member.to_string()]);
        }
        slot.process = Process::Starting;
        Ok(command)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for slot in self.lock().iter_mut() {
            if let Process::Running(child) = &mut slot.process {
                end(child);
            }
        }
    }
}

fn find<'a>(slots: &'a mut [Slot], name: &str) -> Result<&'a mut Slot, SupervisorError> {
    let found = slots.iter_mut().find(|slot| slot.name == name);
    found.ok_or_else(|| SupervisorError::NoSuchNode(name.to_owned()))
}

fn spawn(mut command: Command) -> Result<(Child, SocketAddr, SocketAddr), SupervisorError> {
    let mut child = command.spawn().map_err(SupervisorError::Spawn)?;
    match first_word(&mut child) {
        Ok((http, receiver)) => Ok((child, http, receiver)),
        Err(last) => {
            end(&mut child);
            Err(SupervisorError::NotReady(last))
        }
    }
}

fn end(child: &mut Child) {
    if let Err(error) = child.kill() {
        tracing::warn!(%error, "a node's process could not be ended");
    }
    if let Err(error) = child.wait() {
        tracing::warn!(%error, "a node's process could not be waited for");
    }
}

/// Waits for the line `ready http=ADDRESS receiver=ADDRESS`, then keeps reading so that the node never blocks.
fn first_word(child: &mut Child) -> Result<(SocketAddr, SocketAddr), String> {
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let (sender, lines) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once the node is ready; what it says then is of no interest.
            let _ = sender.try_send(line);
        }
    });
    let deadline = Instant::now() + START_MAX;
    let mut last = String::from("it said nothing");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).map_err(|_| last.clone())?;
        if let Some(addresses) = parse_ready(&line) {
            return Ok(addresses);
        }
        last = line;
    }
}

fn parse_ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (http, receiver) = line.strip_prefix("ready http=")?.split_once(" receiver=")?;
    Some((http.parse().ok()?, receiver.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_it_says_where_it_serves() {
        let addresses = parse_ready("ready http=127.0.0.1:9001 receiver=127.0.0.1:4000");
        let (http, receiver) = addresses.expect("a ready line");
        assert_eq!((http.port(), receiver.port()), (9001, 4000));
        assert_eq!(
            parse_ready("ready http=127.0.0.1 receiver=127.0.0.1:4000"),
            None
        );
        assert_eq!(parse_ready("starting"), None);
    }
}
