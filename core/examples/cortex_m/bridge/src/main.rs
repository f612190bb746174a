//! Runs the firmware in QEMU and is its network: opens the connections and sends the datagrams that it asks for over a
//! serial line, and decodes its log.
//!
//! ```text
//! bridge FIRMWARE 127.0.0.20:4000 STATUS_FILE
//! ```
//!
//! The member listens at the address; `STATUS_FILE` always has how it does, and beside it is the unique id that it had last, which
//! it is told at its next start. Multicast stays on the loopback interface.

mod line;
mod log;
mod net;

use std::error::Error;
use std::io::Read;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use line::Line;

/// Tomcat's default group.
const GROUP: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(228, 0, 0, 4), 45564);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [firmware, address, status] = arguments.as_slice() else {
        return Err("usage: bridge FIRMWARE ADDRESS:PORT STATUS_FILE".into());
    };
    let address: SocketAddrV4 = address.parse()?;
    let status = PathBuf::from(status);
    let elf = std::fs::read(firmware)?;

    let directory = std::env::temp_dir().join(format!("folkmoot-bridge-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (line_path, log_path) = (directory.join("line"), directory.join("log"));
    let line_socket = UnixListener::bind(&line_path)?;
    let log_socket = UnixListener::bind(&log_path)?;
    let mut qemu = qemu(Path::new(firmware), &line_path, &log_path)?;
    let (mut from_member, _) = line_socket.accept()?;
    let (log_stream, _) = log_socket.accept()?;
    std::fs::remove_dir_all(&directory)?;

    std::thread::spawn(move || {
        if let Err(error) = log::print(&elf, log_stream) {
            eprintln!("the log cannot be decoded: {error}");
        }
    });
    let line = Line::new(from_member.try_clone()?);
    let mut net = net::Net::new(line.clone(), address, GROUP)?;

    // Only now is there a network: the member may start.
    let mut start = seed()?.to_vec();
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    start.extend(unix_ms.to_be_bytes());
    start.extend(line::address(address));
    let identity = status.with_extension("incarnation");
    start.extend(std::fs::read(&identity).unwrap_or_default());
    line.send(line::START, 0, &start);

    let mut buffer = [0; 65_536];
    let mut pending = Vec::new();
    loop {
        let len = from_member.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        pending.extend_from_slice(&buffer[..len]);
        let mut done = 0;
        while let Some((message, len)) = line::read(&pending[done..]) {
            match message.kind {
                line::STATUS => write_status(&status, message.content)?,
                line::IDENTITY => replace(&identity, message.content)?,
                _ => net.take(&message),
            }
            done += len;
        }
        pending.drain(..done);
    }
    let ended = qemu.wait()?;
    Err(format!("QEMU ended: {ended}").into())
}

/// QEMU with the firmware and its two serial ports; it ends with us.
fn qemu(firmware: &Path, line: &Path, log: &Path) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new("qemu-system-arm");
    command.args(["-machine", "mps2-an385", "-display", "none", "-monitor", "none"]);
    for (id, path) in [("line", line), ("log", log)] {
        command.arg("-chardev");
        command.arg(format!("socket,id={id},path={}", path.display()));
        command.arg("-serial").arg(format!("chardev:{id}"));
    }
    command.arg("-kernel").arg(firmware);
    // SAFETY: prctl(2) is async-signal-safe; QEMU dies with the thread that started it, which is the main one.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let started = command.spawn();
    started.map_err(|error| format!("qemu-system-arm (Debian: qemu-system-arm): {error}").into())
}

fn seed() -> Result<[u8; 32], std::io::Error> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Writes down how the member does.
fn write_status(path: &Path, content: &[u8]) -> Result<(), std::io::Error> {
    const NAMES: [&str; 8] = [
        "members", "sessions", "ready", "stack", "received", "acks", "memory", "machine",
    ];
    let numbers = content.as_chunks::<4>().0;
    let mut text = String::new();
    for (name, number) in NAMES.iter().zip(numbers) {
        text.push_str(&format!("{name}={}\n", u32::from_be_bytes(*number)));
    }
    replace(path, text.as_bytes())
}

/// Writes a file that nobody sees half written.
fn replace(path: &Path, content: &[u8]) -> Result<(), std::io::Error> {
    let new = path.with_extension("new");
    std::fs::write(&new, content)?;
    std::fs::rename(new, path)
}
