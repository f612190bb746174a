//! What the bridge and the member say to each other over the serial line.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind |
//! | 8 | connection, or what a connection that was offered is called |
//! | 2 | length of what follows |
//! | n | address, bytes, or nothing |
//!
//! Numbers are big-endian. A line of QEMU's loses nothing, so there is no checksum; one to real hardware wants one.

/// The longest content.
pub(crate) const CONTENT_MAX: usize = 1536;

/// From the bridge: seed, unix ms, IPv4 address and port, and the unique id of the incarnation before, if there was one;
/// comes once and starts the member.
pub(crate) const START: u8 = b'S';
/// From the bridge: a connection was established.
pub(crate) const CONNECTED: u8 = b'c';
/// From the bridge: it ended, or could not be established.
pub(crate) const CLOSED: u8 = b'x';
/// From the bridge: a peer has connected, from this address.
pub(crate) const OFFERED: u8 = b'o';
/// From the bridge: leave in good order.
pub(crate) const STOP: u8 = b'Q';
/// Both ways: bytes of a connection.
pub(crate) const BYTES: u8 = b'd';
/// Both ways: a datagram of the group; from the bridge its sender's address comes first.
pub(crate) const DATAGRAM: u8 = b'g';
/// To the bridge: connect to this address.
pub(crate) const CONNECT: u8 = b'C';
/// To the bridge: the connection that was offered is this one (8 bytes), or, without content, is refused.
pub(crate) const ACCEPTED: u8 = b'A';
/// To the bridge: close it once everything is written.
pub(crate) const CLOSE: u8 = b'X';
/// To the bridge: reset it.
pub(crate) const ABORT: u8 = b'R';
/// To the bridge: our unique id (16 bytes), to be kept for the next start, which a board would do in memory that a reset
/// leaves alone.
pub(crate) const IDENTITY: u8 = b'I';
/// To the bridge: how the member does, as numbers of 4 bytes: members, sessions, ready, stack bytes used, messages received,
/// ACKs sent, bytes of its memory, bytes of the machine itself.
pub(crate) const STATUS: u8 = b's';

/// Bytes before the content.
pub(crate) const HEADER: usize = 11;

/// A message, as far as it has come.
pub(crate) struct Incoming {
    bytes: [u8; HEADER + CONTENT_MAX],
    len: usize,
}

/// A whole message.
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) conn: u64,
    pub(crate) content: &'a [u8],
}

impl Incoming {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; HEADER + CONTENT_MAX],
            len: 0,
        }
    }

    /// Takes one more byte; the message if it was the last.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Message<'_>> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len += 1;
        let (header, content) = self.bytes.split_first_chunk::<HEADER>()?;
        let [kind, conn @ .., a, b] = *header;
        let content = content.get(..usize::from(u16::from_be_bytes([a, b])))?;
        if self.len < HEADER + content.len() {
            return None;
        }
        self.len = 0;
        Some(Message {
            kind,
            conn: u64::from_be_bytes(conn),
            content,
        })
    }
}

/// What comes before `len` bytes of content.
pub(crate) fn header(kind: u8, conn: u64, len: usize) -> [u8; HEADER] {
    let mut header = [kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (_, rest) = header.split_at_mut(1);
    let (id, length) = rest.split_at_mut(8);
    id.copy_from_slice(&conn.to_be_bytes());
    length.copy_from_slice(&(len as u16).to_be_bytes());
    header
}
