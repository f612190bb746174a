//! Asks the kernel what it has, by trying.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use folkmoot_core::engine::{ConnId, Part};
use folkmoot_mio::Tuning;
use io_uring::IoUring;

use crate::choice::Support;
use crate::ring::{Ring, Target};
use crate::tag::{self, Kind};

/// A ring as the driver uses it.
pub(crate) fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp();
    builder
}

/// What this kernel has of what the driver can use; the error says what is missing of what it needs.
pub(crate) fn ask() -> Result<Support, String> {
    // A ring belongs to the thread that has started it: this one to a thread that ends.
    let asking = std::thread::Builder::new().spawn(|| {
        let (bundles, needed) = features()?;
        if let Some(missing) = needed {
            return Err(format!("the kernel has no {missing} for io_uring"));
        }
        let mut said = String::new();
        for incremental in [true, false] {
            let support = Support {
                incremental,
                bundles,
                accepts: false,
                sends: false,
            };
            match attempt(support) {
                Ok(()) => {
                    return Ok(Support {
                        accepts: has("accepts", accepts(support)),
                        sends: bundles && has("sends", sends(support)),
                        ..support
                    });
                }
                Err(error) => said = error,
            }
        }
        Err(said)
    });
    match asking.map(std::thread::JoinHandle::join) {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err("the kernel could not be asked".to_owned()),
    }
}

/// Whether bundles are there, and which needed feature is not.
fn features() -> Result<(bool, Option<&'static str>), String> {
    let uring = builder().build(4).map_err(|error| explain(&error))?;
    let has = uring.params();
    let needed = [
        (has.is_feature_ext_arg(), "timeouts"),
        (has.is_feature_nodrop(), "lasting completions"),
        (has.is_feature_skip_cqe_on_success(), "silent completions"),
        (has.is_feature_fast_poll(), "fast poll"),
    ];
    let missing = needed.into_iter().find(|(there, _)| !there);
    Ok((
        has.is_feature_recvsend_bundle(),
        missing.map(|(_, name)| name),
    ))
}

/// Why there is no ring, for the log.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "this process may not use io_uring (kernel.io_uring_disabled, or the rules of its container)".to_owned()
        }
        Some(libc::ENOSYS) => "this kernel, or its container, has no io_uring".to_owned(),
        Some(libc::EINVAL) => "this kernel's io_uring is older than Linux 6.1".to_owned(),
        Some(libc::ENOMEM) => "the limit of locked memory leaves io_uring none (ulimit -l)".to_owned(),
        _ => format!("io_uring cannot be set up: {error}"),
    }
}

/// Whether what nobody needs has worked.
fn has(what: &str, attempt: Result<(), String>) -> bool {
    if let Err(reason) = &attempt {
        tracing::debug!(what, reason, "not by this kernel's io_uring");
    }
    attempt.is_ok()
}

/// Accepts two connections with one request.
fn accepts(support: Support) -> Result<(), String> {
    let said = |error: io::Error| explain(&error);
    let mut ring = Ring::new(support, &Tuning::default()).map_err(said)?;
    ring.start().map_err(said)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(said)?;
    let addr = listener.local_addr().map_err(said)?;
    ring.accept(listener.as_raw_fd()).map_err(said)?;
    for _ in 0..2 {
        let _peer = TcpStream::connect(addr).map_err(said)?;
        ring.wait(Some(Duration::from_secs(1))).map_err(said)?;
        let event = ring.events.pop_front();
        let event = event.ok_or("a multishot accept does not complete")?;
        if let Some(Err(error)) = Ring::accepted(&event) {
            return Err(format!("a multishot accept is refused: {error}"));
        }
        if !event.goes_on() {
            return Err("a multishot accept does not go on".to_owned());
        }
    }
    Ok(())
}

/// Sends more than a socket holds, while it is read little by little: it arrives in order and whole.
fn sends(support: Support) -> Result<(), String> {
    /// Together more than such a socket holds by default.
    const PARTS: usize = 16;
    const PART: usize = 32 * 1024;
    let said = |error: io::Error| explain(&error);
    let mut ring = Ring::new(support, &Tuning::default()).map_err(said)?;
    ring.start().map_err(said)?;
    let (near, mut far) = UnixStream::pair().map_err(said)?;
    far.set_nonblocking(true).map_err(said)?;
    let conn = ConnId::new(0, 0);
    let parts: Vec<_> = (0..PARTS)
        .map(|part| Bytes::from(vec![part as u8; PART]))
        .collect();
    let len = ring.send(Target::Fd(near.as_raw_fd()), conn, |keep| {
        let shared = parts.iter().map(|part| Part::Shared(part.clone()));
        shared.map(keep).sum()
    });
    if len.map_err(said)? != Some(PARTS * PART) {
        return Err("a bundle of sends is refused".to_owned());
    }
    let (mut heard, mut outcome) = (Vec::new(), None);
    let mut some = [0; 24 * 1024];
    // What is read makes room, which the kernel uses when the ring is entered: a completion to wait for comes with the last byte only.
    let mut wait = Duration::ZERO;
    for _ in 0..1_000 {
        ring.wait(Some(wait)).map_err(said)?;
        while let Some(event) = ring.events.pop_front() {
            outcome = ring.sent(&event).or(outcome);
        }
        wait = match far.read(&mut some) {
            Ok(len) => {
                heard.extend_from_slice(&some[..len]);
                Duration::ZERO
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && outcome.is_some() => break,
            Err(_) => Duration::from_millis(1),
        };
    }
    match outcome {
        Some((_, Ok(()))) if heard == parts.concat() => Ok(()),
        Some((_, Err(error))) => Err(format!("a bundle of sends fails: {error}")),
        _ => Err("a bundle of sends does not arrive as it was sent".to_owned()),
    }
}

/// Receives a few bytes as the driver does.
fn attempt(support: Support) -> Result<(), String> {
    let said = |error: io::Error| explain(&error);
    let mut ring = Ring::new(support, &Tuning::default()).map_err(said)?;
    ring.start().map_err(said)?;
    let (mut near, far) = UnixStream::pair().map_err(said)?;
    let conn = ConnId::new(0, 0);
    let tag = tag::with(Kind::Receive, conn);
    let target = match ring.fix(far.as_raw_fd()) {
        Some(index) => Target::Fixed(index),
        None => Target::Fd(far.as_raw_fd()),
    };
    ring.receive(target, tag).map_err(said)?;
    for text in [b"first", b"again"] {
        near.write_all(text).map_err(said)?;
        ring.wait(Some(Duration::from_secs(1))).map_err(said)?;
        let event = ring.events.pop_front();
        let event = event.ok_or("io_uring's multishot receive does not complete")?;
        if let Some(error) = event.error() {
            return Err(format!("io_uring's multishot receive is refused: {error}"));
        }
        let mut heard = Vec::new();
        ring.read(&event, |run| heard.extend_from_slice(run));
        ring.recycle(&event);
        if heard != text || !event.goes_on() || event.tag != tag {
            return Err("io_uring's multishot receive does not go on".to_owned());
        }
    }
    Ok(())
}
