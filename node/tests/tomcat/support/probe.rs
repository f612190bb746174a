//! One node: a session probe as a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use serde_json::Value;

use super::client::{Answer, Client};
use super::installed;
use super::wait::{LATER, SOON, until};

/// What a node is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The example `session_probe`.
    Rust,
    /// The embedded Tomcat of `java/probe`.
    Tomcat,
}

/// A node, running or not.
pub(crate) struct Probe {
    pub(crate) kind: Kind,
    /// `n1`, `n2`, …: its jvmRoute.
    pub(crate) name: String,
    /// Its HTTP address.
    pub(crate) http: SocketAddr,
    log: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Child>,
}

impl Probe {
    pub(crate) fn new(
        kind: Kind,
        name: &str,
        http: SocketAddr,
        directory: &Path,
        mut environment: Vec<(String, String)>,
    ) -> Self {
        let mut set = |variable: &str, value: String| environment.push((variable.into(), value));
        set("PROBE_NAME", name.to_owned());
        set("PROBE_HTTP_HOST", http.ip().to_string());
        set("PROBE_HTTP_PORT", http.port().to_string());
        set("PROBE_NODE_DIR", directory.join(name).display().to_string());
        let log = directory.join(format!("{name}.log"));
        fs::create_dir_all(directory.join(name)).expect("a directory below target/");
        Self {
            kind,
            name: name.to_owned(),
            http,
            log,
            environment,
            process: None,
        }
    }

    /// Starts the process and leaves it to itself.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "{} is already running", self.name);
        let mut command = match self.kind {
            Kind::Rust => Command::new(installed::session_probe()),
            Kind::Tomcat => java(),
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        command
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        command.envs(
            self.environment
                .iter()
                .map(|(variable, value)| (variable, value)),
        );
        // SAFETY: prctl(2) is async-signal-safe; the child dies with the thread that started it.
        unsafe {
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                },
            );
        }
        self.process = Some(command.spawn().expect("the probe starts"));
    }

    /// Waits until it has joined, has its state and serves.
    pub(crate) fn await_ready(&mut self) {
        let name = self.name.clone();
        until(&format!("{name} ready"), LATER, || {
            let process = self.process.as_mut().expect("launched before");
            if let Some(status) = process.try_wait().expect("a child's status") {
                panic!("{name} ended at start: {status}");
            }
            match Client::new().try_get(self.http, "/s/ready") {
                Ok(answer) if answer.get("ok") == &Value::Bool(true) => Ok(()),
                other => Err(other.map(|answer| answer.json)),
            }
        });
    }

    pub(crate) fn start(&mut self) {
        self.launch();
        self.await_ready();
    }

    /// Kills it as a crash does.
    pub(crate) fn crash(&mut self) {
        let mut process = self.process.take().expect("a running probe");
        process.kill().expect("SIGKILL");
        process.wait().expect("a child's status");
    }

    /// Asks it to end, and gives its exit status.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running probe");
        let pid = i32::try_from(process.id()).expect("a process id");
        // SAFETY: sends a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0, "SIGTERM");
        until(&format!("{} stopped", self.name), SOON, || {
            process
                .try_wait()
                .expect("a child's status")
                .ok_or("still running")
        })
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// `/m/state`, with the session ids.
    pub(crate) fn state(&self) -> Answer {
        Client::new().get(self.http, "/m/state?ids=1")
    }

    /// The members it sees, each as `host:port`, sorted.
    pub(crate) fn members(&self) -> Vec<String> {
        let state = Client::new().get(self.http, "/m/state");
        let members = state.get("members").as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = members
            .iter()
            .map(|member| {
                let host = member["host"].as_str().unwrap_or_default();
                format!("{host}:{}", member["port"])
            })
            .collect();
        names.sort();
        names
    }

    /// The ids of the sessions it holds, sorted.
    pub(crate) fn session_ids(&self) -> Vec<String> {
        let state = self.state();
        let ids = state
            .get("sessions")
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut ids: Vec<String> = ids
            .iter()
            .map(|id| id.as_str().unwrap_or_default().to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// A session as it lies there, untouched; none if the node has none.
    pub(crate) fn peek(&self, id: &str) -> Option<Answer> {
        peek(&mut Client::new(), self.http, id)
    }

    /// The attributes of a session as it lies there; null without the session.
    pub(crate) fn attributes(&self, id: &str) -> Value {
        self.peek(id)
            .map_or(Value::Null, |session| session.get("attributes").clone())
    }

    /// How many messages of that kind its manager has counted as received.
    pub(crate) fn received(&self, event: &str) -> u64 {
        let state = Client::new().get(self.http, "/m/state");
        state.get("received")[event].as_u64().unwrap_or_default()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// `/m/session` on a connection that is kept.
pub(crate) fn peek(client: &mut Client, node: SocketAddr, id: &str) -> Option<Answer> {
    let answer = client.try_get(node, &format!("/m/session?id={id}"));
    let answer = answer.unwrap_or_else(|error| panic!("http://{node}/m/session: {error}"));
    match answer.status {
        200 => Some(answer),
        404 => None,
        other => panic!("http://{node}/m/session?id={id}: {other} {}", answer.json),
    }
}

fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]);
    command.arg("-Djava.net.preferIPv4Stack=true");
    command.args(["-cp", installed::class_path(), "probe.SessionProbe"]);
    command
}
