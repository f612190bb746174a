//! A process that is told what to do line by line, and what it has cost.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::Result;

/// A process under measurement. Ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `command`; what it says on standard error goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin,
            lines: lines_of(stdout),
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The process has ended.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("standard input is closed")?;
        writeln!(stdin, "{line}").map_err(|error| format!("{}: {error}", self.name).into())
    }

    /// The numbers after `word` on the next line.
    ///
    /// # Errors
    /// Another line, none within `limit`, or the end of the process.
    pub fn expect(&mut self, word: &str, limit: Duration) -> Result<Vec<u64>> {
        let line = self
            .lines
            .recv_timeout(limit)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("{}: no `{word}` in {limit:?}", self.name),
                RecvTimeoutError::Disconnected => format!("{}: ended before `{word}`", self.name),
            })?;
        let mut words = line.split_whitespace();
        if words.next() != Some(word) {
            return Err(format!("{}: `{line}` instead of `{word}`", self.name).into());
        }
        let numbers: std::result::Result<_, _> = words.map(str::parse).collect();
        numbers.map_err(|error| format!("{}: `{line}`: {error}", self.name).into())
    }

    /// User and system time of all its threads so far, in microseconds.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_micros(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the name in parentheses, which may hold anything; utime and stime are 14 and 15.
        let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
        let ticks: u64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<std::result::Result<u64, _>>()?;
        // SAFETY: asks for a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok(ticks * 1_000_000 / u64::try_from(per_second)?.max(1))
    }

    /// Closes its standard input and waits for its end.
    ///
    /// # Errors
    /// It fails.
    pub fn finish(mut self) -> Result<()> {
        self.stdin = None;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{}: {status}", self.name).into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            // An error would mean that it is gone.
            drop(self.child.wait());
        }
    }
}

/// The lines of a pipe, so that waiting for one can be limited.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout)
            .lines()
            .map_while(std::result::Result::ok)
        {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
