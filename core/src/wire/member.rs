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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PLAIN: MemberBlock<'_> = MemberBlock {
        alive_ms: 1000,
        port: 4000,
        secure_port: -1,
        udp_port: -1,
        host: &[127, 0, 0, 1],
        command: b"",
        domain: b"",
        unique_id: UniqueId([7; 16]),
        payload: b"",
        raw: b"",
    };

    fn encoded(block: &MemberBlock<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        block.write(&mut bytes).unwrap();
        bytes
    }

    /// The fields that do not take part in equality, too.
    fn fields<'a>(block: &MemberBlock<'a>) -> (i64, [i32; 3], [&'a [u8]; 4], UniqueId) {
        let ports = [block.port, block.secure_port, block.udp_port];
        let bytes = [block.host, block.command, block.domain, block.payload];
        (block.alive_ms, ports, bytes, block.unique_id)
    }

    #[test]
    fn a_plain_member_takes_77_bytes() {
        assert_eq!(encoded(&PLAIN).len(), 77);
        assert_eq!(PLAIN.encoded_len(), 77);
    }

    #[test]
    fn a_block_that_is_inside_out_is_refused() {
        use DecodeErrorKind::{BadEnd, BadMagic, NegativeLength, Truncated};
        let good = encoded(&PLAIN);
        let with = |at: usize, bytes: &[u8]| {
            let mut block = good.clone();
            block[at..at + bytes.len()].copy_from_slice(bytes);
            block
        };
        let swapped = [&good[67..], &good[10..67], &good[..10]].concat();
        // A body that ends before its last field: 52 bytes, then the end marker.
        let short_body = [&good[..10], &[0, 0, 0, 52], &good[14..66], &END[..]].concat();
        #[rustfmt::skip]
        let cases: Vec<(&str, Vec<u8>, DecodeError)> = std::vec![
            ("nothing",                 std::vec![],                            Truncated.of("begin marker")),
            ("begin and end swapped",   swapped,                                BadMagic.of("begin marker")),
            ("another version",         with(8, &[2]),                          BadMagic.of("begin marker")),
            ("negative body",           with(10, &[0xff; 4]),                   NegativeLength.of("body")),
            ("body of 2 GiB",           with(10, &[0x7f, 0xff, 0xff, 0xff]),    Truncated.of("body")),
            ("body one too long",       with(10, &[0, 0, 0, 54]),               Truncated.of("end marker")),
            ("body one too short",      with(10, &[0, 0, 0, 52]),               BadEnd.of("end marker")),
            ("body of nothing",         with(10, &[0; 4]),                      BadEnd.of("end marker")),
            ("body without payload",    short_body,                             Truncated.of("payload")),
            ("negative host",           with(34, &[0x80]),                      NegativeLength.of("host")),
            ("host beyond the body",    with(34, &[127]),                       Truncated.of("host")),
            ("negative command",        with(39, &[0x80, 0, 0, 0]),             NegativeLength.of("command")),
            ("command of 2 GiB",        with(39, &[0x7f, 0xff, 0xff, 0xff]),    Truncated.of("command")),
            ("domain of 2 GiB",         with(43, &[0x7f, 0xff, 0xff, 0xff]),    Truncated.of("domain")),
            ("negative domain",         with(43, &[0xff; 4]),                   NegativeLength.of("domain")),
            ("domain eats the id",      with(43, &[0, 0, 0, 10]),               Truncated.of("unique id")),
            ("payload of 2 GiB",        with(63, &[0x7f, 0xff, 0xff, 0xff]),    Truncated.of("payload")),
            ("negative payload",        with(63, &[0xff; 4]),                   NegativeLength.of("payload")),
            ("payload eats the end",    with(63, &[0, 0, 0, 10]),               Truncated.of("payload")),
            ("wrong end marker",        with(76, &[1]),                         BadEnd.of("end marker")),
            ("no end marker",           good[..67].into(),                      Truncated.of("end marker")),
        ];
        for (name, block, want) in cases {
            let got = MemberBlock::read(&block).map(|block| block.to_string());
            assert_eq!(got, Err(want), "{name}");
        }
        for cut in 0..good.len() {
            assert!(MemberBlock::read(&good[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn bytes_after_the_payload_and_after_the_end_are_tolerated() {
        let good = encoded(&PLAIN);
        let longer_body = [&good[..10], &[0, 0, 0, 56], &good[14..67], b"abc", &END[..]].concat();
        for bytes in [[&good[..], b"junk"].concat(), longer_body] {
            let read = MemberBlock::read(&bytes).unwrap();
            assert_eq!(fields(&read), fields(&PLAIN));
            assert_eq!(read.raw, bytes, "what Tomcat would pass on");
        }
    }

    #[test]
    fn host_port_and_unique_id_make_a_member() {
        #[rustfmt::skip]
        let cases = [
            ("alive, ports, domain, payload, command",
             MemberBlock { alive_ms: 5, secure_port: 1, udp_port: 2, domain: b"d", payload: b"p", command: &SHUTDOWN, ..PLAIN }, true),
            ("port",      MemberBlock { port: 4001, ..PLAIN },                  false),
            ("host",      MemberBlock { host: &[127, 0, 0, 2], ..PLAIN },       false),
            ("unique id", MemberBlock { unique_id: UniqueId([8; 16]), ..PLAIN }, false),
        ];
        for (what, other, same) in cases {
            assert_eq!(PLAIN == other, same, "{what}");
        }
    }

    #[test]
    fn members_are_ordered_by_length_of_host_then_host_then_port_then_id() {
        let at = |host: &'static [u8], port, id| MemberBlock {
            host,
            port,
            unique_id: UniqueId([id; 16]),
            ..PLAIN
        };
        let sorted = [
            at(&[], 9, 9),
            at(&[10, 0, 0, 1], -1, 9),
            at(&[10, 0, 0, 1], 4000, 1),
            at(&[10, 0, 0, 1], 4000, 0x80),
            at(&[10, 0, 0, 1], 4001, 1),
            at(&[200, 0, 0, 1], 1, 1),
            at(&[0; 16], 1, 1),
        ];
        assert!(sorted.is_sorted());
        assert!(sorted.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_member_has_an_address_if_its_host_and_port_are_one() {
        let at = |host, port| MemberBlock {
            host,
            port,
            ..PLAIN
        };
        #[rustfmt::skip]
        let cases: [(MemberBlock<'_>, Option<&str>, &str); 6] = [
            (PLAIN,                     Some("127.0.0.1:4000"), "tcp://127.0.0.1:4000"),
            (at(&[0xfe; 16], 1),        Some("[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:1"),
                                        "tcp://[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:1"),
            (at(&[1, 2, 3], 4000),      None, "tcp://{1, 2, 3}:4000"),
            (at(&[127, 0, 0, 1], 0),    None, "tcp://127.0.0.1:0"),
            (at(&[127, 0, 0, 1], -1),   None, "tcp://127.0.0.1:-1"),
            (at(&[127, 0, 0, 1], 65536), None, "tcp://127.0.0.1:65536"),
        ];
        for (block, address, name) in cases {
            assert_eq!(
                block.socket_addr(),
                address.map(|text| text.parse().unwrap())
            );
            assert_eq!(block.to_string(), name);
        }
    }

    #[test]
    fn a_block_is_recognised_when_only_the_alive_time_moved_on() {
        let first = encoded(&PLAIN);
        let mut later = first.clone();
        assert!(set_alive(&mut later, 123_456));
        assert_eq!(MemberBlock::read(&later).unwrap().alive_ms, 123_456);
        assert!(same_but_alive(&first, &later));
        for at in (0..14).chain(22..first.len()) {
            let mut other = first.clone();
            other[at] ^= 0x10;
            assert!(!same_but_alive(&first, &other), "{at}");
        }
        assert!(!same_but_alive(&first, &first[..76]));
        assert!(!set_alive(&mut [0; 21], 1));
    }

    #[test]
    fn a_host_too_long_for_its_length_is_not_written() {
        let mut to = Vec::new();
        let block = MemberBlock {
            host: &[1; 128],
            ..PLAIN
        };
        assert_eq!(block.write(&mut to), Err(Full));
    }

    proptest! {
        #[test]
        fn a_member_survives_the_wire(
            alive_ms: i64, ports: [i32; 3], id: [u8; 16],
            host in vec(any::<u8>(), 0..=HOST_MAX), command in vec(any::<u8>(), 0..20),
            domain in vec(any::<u8>(), 0..50), payload in vec(any::<u8>(), 0..300),
            after in vec(any::<u8>(), 0..20),
        ) {
            let sent = MemberBlock {
                alive_ms,
                port: ports[0],
                secure_port: ports[1],
                udp_port: ports[2],
                host: &host,
                command: &command,
                domain: &domain,
                unique_id: UniqueId(id),
                payload: &payload,
                raw: &[],
            };
            let mut wire = encoded(&sent);
            prop_assert_eq!(wire.len(), sent.encoded_len());
            wire.extend_from_slice(&after);
            let read = MemberBlock::read(&wire).unwrap();
            prop_assert_eq!(fields(&read), fields(&sent));
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn a_block_with_a_byte_changed_is_read_or_refused(at in 0usize..77, to: u8) {
            let mut wire = encoded(&PLAIN);
            wire[at] = to;
            let _ = MemberBlock::read(&wire);
        }
    }
}
