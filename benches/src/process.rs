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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
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
        Ok(self.cpu_nanos()? / 1000)
    }

    /// The same in nanoseconds, by the scheduler's clock.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_nanos(&self) -> Result<u64> {
        let mut clock = 0;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: both calls write to the variables they are given, which outlive them.
        let failed = unsafe {
            libc::clock_getcpuclockid(pid, &raw mut clock) != 0
                || libc::clock_gettime(clock, &raw mut time) != 0
        };
        match failed {
            true => Err(format!("{}: no processor time: has it ended?", self.name).into()),
            false => Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?),
        }
    }

    /// Lets all its threads, and those they will start, run on one processor only; on any with `None`.
    ///
    /// # Errors
    /// There is no such processor, or the process has ended.
    pub fn pin(&self, processor: Option<usize>) -> Result<()> {
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let name = thread?.file_name();
            let thread: libc::pid_t = name.to_string_lossy().parse()?;
            // SAFETY: an all-zero set is an empty one; the macros write within it, the call reads it.
            let failed = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                match processor {
                    Some(one) => libc::CPU_SET(one, &mut set),
                    None => (0..1024).for_each(|any| libc::CPU_SET(any, &mut set)),
                }
                libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) != 0
            };
            let error = std::io::Error::last_os_error();
            // A thread that has ended meanwhile needs no place.
            if failed && error.raw_os_error() != Some(libc::ESRCH) {
                return Err(format!("{}: placing a thread: {error}", self.name).into());
            }
        }
        Ok(())
    }

    /// Its memory.
    ///
    /// # Errors
    /// The process has ended.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let figure = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        match (figure("VmRSS:"), figure("VmHWM:")) {
            (Some(now), Some(peak)) => Ok(Memory {
                now_mib: now / 1024.0,
                peak_mib: peak / 1024.0,
            }),
            _ => Err(format!("{}: has ended", self.name).into()),
        }
    }

    /// Its memory and its open descriptors.
    ///
    /// # Errors
    /// The process has ended.
    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage {
            memory: self.memory()?,
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count(),
        })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: the process is a child that has not been waited for: its id is its own.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().into()),
        }
    }

    /// From now on a new peak of memory is counted.
    ///
    /// # Errors
    /// The process has ended.
    pub fn reset_peak(&self) -> Result<()> {
        Ok(std::fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
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

/// User and system time of all children of this process that have ended and been waited for.
pub fn children_cpu_nanos() -> u64 {
    // SAFETY: an all-zero value is a valid one; the call writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000)
        .sum()
}

/// Resident memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At this moment.
    pub now_mib: f64,
    /// The most since the peak was last reset.
    pub peak_mib: f64,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Memory.
    pub memory: Memory,
    /// Open descriptors.
    pub descriptors: usize,
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
