//! The messages of the serial line, as the firmware's `line.rs` describes them.

use std::io::Write;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const CONTENT_MAX: usize = 1536;
const HEADER: usize = 11;

pub(crate) const START: u8 = b'S';
pub(crate) const CONNECTED: u8 = b'c';
pub(crate) const CLOSED: u8 = b'x';
pub(crate) const OFFERED: u8 = b'o';
pub(crate) const BYTES: u8 = b'd';
pub(crate) const DATAGRAM: u8 = b'g';
pub(crate) const CONNECT: u8 = b'C';
pub(crate) const ACCEPTED: u8 = b'A';
pub(crate) const CLOSE: u8 = b'X';
pub(crate) const ABORT: u8 = b'R';
pub(crate) const IDENTITY: u8 = b'I';
pub(crate) const STATUS: u8 = b's';

/// A message from the member.
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) conn: u64,
    pub(crate) content: &'a [u8],
}

/// The message that `bytes` begin with, and its length.
pub(crate) fn read(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let [kind, conn @ .., high, low] = *header;
    let content = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
    let conn = u64::from_be_bytes(conn);
    let message = Message {
        kind,
        conn,
        content,
    };
    Some((message, HEADER + content.len()))
}

pub(crate) fn address(address: SocketAddrV4) -> [u8; 6] {
    let ([a, b, c, d], [high, low]) = (address.ip().octets(), address.port().to_be_bytes());
    [a, b, c, d, high, low]
}

pub(crate) fn read_address(bytes: &[u8]) -> Option<SocketAddrV4> {
    let [a, b, c, d, high, low] = *bytes.first_chunk::<6>()?;
    let port = u16::from_be_bytes([high, low]);
    Some(SocketAddrV4::new([a, b, c, d].into(), port))
}

/// The way to the member, for every thread.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Sends a message; when the member is gone, so is everything.
    pub(crate) fn send(&self, kind: u8, conn: u64, content: &[u8]) {
        let mut bytes = Vec::with_capacity(HEADER + content.len());
        bytes.push(kind);
        bytes.extend(conn.to_be_bytes());
        bytes.extend((content.len() as u16).to_be_bytes());
        bytes.extend(content);
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = stream.write_all(&bytes) {
            eprintln!("the member is gone: {error}");
            std::process::exit(1);
        }
    }
}
