//! A member as it is on the wire, in heartbeats and as the sender of messages (`MemberImpl`).

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use super::braces::Braces;
use super::reader::{DecodeError, DecodeErrorKind, Reader};
use super::sink::{Full, Sink};
use super::unique_id::UniqueId;

/// What every member block begins with: `TRIBES-B`, version 1.0.
pub const BEGIN: [u8; 10] = *b"TRIBES-B\x01\x00";

/// What every member block ends with: `TRIBES-E`, version 1.0.
pub const END: [u8; 10] = *b"TRIBES-E\x01\x00";

/// The command of a member that leaves (`Member.SHUTDOWN_PAYLOAD`).
pub const SHUTDOWN: [u8; 9] = *b"BABY-ALEX";

/// Bytes of a block whose host, command, domain and payload are all empty.
pub const FIXED_LEN: usize = 73;

/// The longest block a node may announce: what one datagram can hold (`MemberImpl.setPayload`).
pub const MAX_LEN: usize = 65_535;

/// The longest host.
pub const HOST_MAX: usize = 127;

/// Where the alive time is in a block.
const ALIVE: core::ops::Range<usize> = 14..22;

/// A member, borrowed from the bytes it was read from.
///
/// | bytes | field | |
/// |---|---|---|
/// | 10 | begin marker | [`BEGIN`] |
/// | 4 | body length | bytes between this field and the end marker |
/// | 8 | alive | milliseconds; a sort key, nothing else (see [`alive_ms`](Self::alive_ms)) |
/// | 4 | port | of the TCP receiver |
/// | 4 | secure port | −1: none |
/// | 4 | UDP port | −1: none |
/// | 1 + n | host | IP address, 4 or 16 bytes |
/// | 4 + n | command | empty or [`SHUTDOWN`] |
/// | 4 + n | domain | text in ISO-8859-1 |
/// | 16 | unique id | |
/// | 4 + n | payload | whatever the application announces |
/// | 10 | end marker | [`END`] |
///
/// Two are equal if host, port and unique id are, and ordered by these three as `AbsoluteOrder` orders
/// them.
#[derive(Clone, Copy, Debug)]
pub struct MemberBlock<'a> {
    /// How long the member's channel has run, in milliseconds, at its last heartbeat. Tomcat also puts the
    /// time since the Unix epoch here, and old values: fit to sort members by, never to judge liveness.
    pub alive_ms: i64,
    /// TCP port of its receiver.
    pub port: i32,
    /// TLS port, announced only; −1 is none.
    pub secure_port: i32,
    /// UDP port of its receiver; −1 is none.
    pub udp_port: i32,
    /// IP address of its receiver: 4 or 16 bytes from every known member, at most [`HOST_MAX`].
    pub host: &'a [u8],
    /// What it wants done: nothing, or [`SHUTDOWN`].
    pub command: &'a [u8],
    /// Which part of the cluster it belongs to.
    pub domain: &'a [u8],
    /// The name of this incarnation: another after every restart.
    pub unique_id: UniqueId,
    /// What its application announces.
    pub payload: &'a [u8],
    /// The bytes it was read from, with whatever followed the end marker; empty for a block made here.
    /// Tomcat repeats these, not the fields, when it passes a member on.
    pub raw: &'a [u8],
}

impl<'a> MemberBlock<'a> {
    /// Reads the block that `raw` begins with.
    ///
    /// As `MemberImpl.getMember`, it ignores bytes after the end marker and bytes of the body after the
    /// payload. Unlike it, it does not let a field reach beyond the body.
    ///
    /// # Errors
    /// [`DecodeError`] for wrong markers, negative lengths, a host longer than [`HOST_MAX`], and fields or a
    /// body that reach beyond what contains them.
    pub fn read(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut block = Reader::new(raw);
        if block.array("begin marker")? != BEGIN {
            return Err(DecodeErrorKind::BadMagic.of("begin marker"));
        }
        let body = block.sized(usize::MAX, "body")?;
        if block.array("end marker")? != END {
            return Err(DecodeErrorKind::BadEnd.of("end marker"));
        }
        let mut body = Reader::new(body);
        Ok(Self {
            alive_ms: body.i64("alive")?,
            port: body.i32("port")?,
            secure_port: body.i32("secure port")?,
            udp_port: body.i32("UDP port")?,
            host: {
                let len = body.u8("host")?.cast_signed();
                let len = usize::try_from(len);
                body.take(
                    len.map_err(|_| DecodeErrorKind::NegativeLength.of("host"))?,
                    "host",
                )?
            },
            command: body.sized(usize::MAX, "command")?,
            domain: body.sized(usize::MAX, "domain")?,
            unique_id: UniqueId(body.array("unique id")?),
            payload: body.sized(usize::MAX, "payload")?,
            raw,
        })
    }

    /// How many bytes [`write`](Self::write) writes.
    pub const fn encoded_len(&self) -> usize {
        FIXED_LEN
            .saturating_add(self.host.len())
            .saturating_add(self.command.len())
            .saturating_add(self.domain.len())
            .saturating_add(self.payload.len())
    }

    /// Writes the fields, without regard to [`raw`](Self::raw).
    ///
    /// # Errors
    /// [`Full`] without room, if the host is longer than [`HOST_MAX`] or another field longer than
    /// 2³¹ − 1 bytes.
    pub fn write(&self, to: &mut impl Sink) -> Result<(), Full> {
        let host_len = u8::try_from(self.host.len()).ok().filter(|len| *len < 128);
        to.put(&BEGIN)?;
        to.put_length(
            self.encoded_len()
                .saturating_sub(BEGIN.len() + 4 + END.len()),
        )?;
        to.put_i64(self.alive_ms)?;
        to.put_i32(self.port)?;
        to.put_i32(self.secure_port)?;
        to.put_i32(self.udp_port)?;
        to.put_u8(host_len.ok_or(Full)?)?;
        to.put(self.host)?;
        to.put_sized(self.command)?;
        to.put_sized(self.domain)?;
        to.put(&self.unique_id.0)?;
        to.put_sized(self.payload)?;
        to.put(&END)
    }

    /// Whether it announces that it leaves.
    pub fn is_shutdown(&self) -> bool {
        self.command == SHUTDOWN
    }

    /// Where its receiver listens; `None` if the host is not an IP address or the port not one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        socket_addr(self.host, self.port)
    }
}

impl PartialEq for MemberBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for MemberBlock<'_> {}

impl Hash for MemberBlock<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.host, self.port, self.unique_id).hash(state);
    }
}

impl PartialOrd for MemberBlock<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MemberBlock<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        absolute_order(
            (self.host, self.port, &self.unique_id),
            (other.host, other.port, &other.unique_id),
        )
    }
}

impl fmt::Display for MemberBlock<'_> {
    /// `tcp://host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_name(self.host, self.port, f)
    }
}

/// The order of members that all nodes agree on (`AbsoluteOrder`): the shorter host first, then host,
/// port and unique id.
pub fn absolute_order(a: (&[u8], i32, &UniqueId), b: (&[u8], i32, &UniqueId)) -> Ordering {
    let hosts = a.0.len().cmp(&b.0.len()).then_with(|| a.0.cmp(b.0));
    hosts.then(a.1.cmp(&b.1)).then_with(|| a.2.cmp(b.2))
}

/// Whether two encoded blocks differ in nothing but the alive time.
///
/// Cheaper than parsing: a receiver keeps the last address of a connection and asks this of the next.
#[inline]
pub fn same_but_alive(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.get(ALIVE.end..) == b.get(ALIVE.end..)
        && a.get(..ALIVE.start) == b.get(..ALIVE.start)
}

/// Replaces the alive time of a block that was encoded before; `false` if `block` is too short to be one.
pub fn set_alive(block: &mut [u8], alive_ms: i64) -> bool {
    let Some(field) = block.get_mut(ALIVE) else {
        return false;
    };
    field.copy_from_slice(&alive_ms.to_be_bytes());
    true
}

pub(super) fn socket_addr(host: &[u8], port: i32) -> Option<SocketAddr> {
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    Some(SocketAddr::new(ip(host)?, port))
}

fn ip(host: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(host).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(host).map(IpAddr::from))
        .ok()
}

pub(super) fn fmt_name(host: &[u8], port: i32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match ip(host) {
        Some(IpAddr::V4(ip)) => write!(f, "tcp://{ip}:{port}"),
        Some(IpAddr::V6(ip)) => write!(f, "tcp://[{ip}]:{port}"),
        None => write!(f, "tcp://{}:{port}", Braces(host)),
    }
}
