//! A member that somebody keeps.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use super::member::{self, MemberBlock};
use super::sink::{Full, Sink};
use super::unique_id::UniqueId;

/// A [`MemberBlock`] with its own memory.
///
/// Equality and order are the block's: host, port and unique id.
#[derive(Clone, Debug)]
pub struct Member {
    /// How long its channel has run, in milliseconds: a sort key (see [`MemberBlock::alive_ms`]).
    pub alive_ms: i64,
    /// TCP port of its receiver.
    pub port: i32,
    /// TLS port, announced only; −1 is none.
    pub secure_port: i32,
    /// UDP port of its receiver; −1 is none.
    pub udp_port: i32,
    /// IP address of its receiver, 4 or 16 bytes.
    pub host: Vec<u8>,
    /// What it wants done: nothing, or [`member::SHUTDOWN`].
    pub command: Vec<u8>,
    /// Which part of the cluster it belongs to.
    pub domain: Vec<u8>,
    /// The name of this incarnation.
    pub unique_id: UniqueId,
    /// What its application announces.
    pub payload: Vec<u8>,
}

impl Member {
    /// A member whose receiver listens at `address`, with no other port, command, domain or payload.
    pub fn new(address: SocketAddr, unique_id: UniqueId) -> Self {
        Self {
            alive_ms: 0,
            port: i32::from(address.port()),
            secure_port: -1,
            udp_port: -1,
            host: match address.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            },
            command: Vec::new(),
            domain: Vec::new(),
            unique_id,
            payload: Vec::new(),
        }
    }

    /// The same as a view, with an empty [`raw`](MemberBlock::raw).
    pub fn as_block(&self) -> MemberBlock<'_> {
        MemberBlock {
            alive_ms: self.alive_ms,
            port: self.port,
            secure_port: self.secure_port,
            udp_port: self.udp_port,
            host: &self.host,
            command: &self.command,
            domain: &self.domain,
            unique_id: self.unique_id,
            payload: &self.payload,
            raw: &[],
        }
    }

    /// How many bytes [`write`](Self::write) writes.
    pub fn encoded_len(&self) -> usize {
        self.as_block().encoded_len()
    }

    /// Writes it as a block.
    ///
    /// # Errors
    /// As [`MemberBlock::write`].
    pub fn write(&self, to: &mut impl Sink) -> Result<(), Full> {
        self.as_block().write(to)
    }

    /// Where its receiver listens; `None` if the host is not an IP address or the port not one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.as_block().socket_addr()
    }

    /// Whether it announces that it leaves.
    pub fn is_shutdown(&self) -> bool {
        self.command == member::SHUTDOWN
    }

    /// `tcp://host:port`.
    pub fn name(&self) -> String {
        self.to_string()
    }
}

impl From<MemberBlock<'_>> for Member {
    fn from(block: MemberBlock<'_>) -> Self {
        Self {
            alive_ms: block.alive_ms,
            port: block.port,
            secure_port: block.secure_port,
            udp_port: block.udp_port,
            host: block.host.to_vec(),
            command: block.command.to_vec(),
            domain: block.domain.to_vec(),
            unique_id: block.unique_id,
            payload: block.payload.to_vec(),
        }
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.as_block() == other.as_block()
    }
}

impl Eq for Member {}

impl PartialEq<MemberBlock<'_>> for Member {
    fn eq(&self, other: &MemberBlock<'_>) -> bool {
        self.as_block() == *other
    }
}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_block().hash(state);
    }
}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_block().cmp(&other.as_block())
    }
}

impl fmt::Display for Member {
    /// `tcp://host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_block().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_kept_is_the_member_that_was_read() {
        let mut sent = Member::new("192.0.2.7:4000".parse().unwrap(), UniqueId([3; 16]));
        sent.domain = b"shop".to_vec();
        sent.payload = b"payload".to_vec();
        sent.alive_ms = 77;
        let mut wire = Vec::new();
        sent.write(&mut wire).unwrap();
        assert_eq!(wire.len(), sent.encoded_len());
        let block = MemberBlock::read(&wire).unwrap();
        let kept = Member::from(block);
        assert_eq!(kept, sent);
        assert_eq!(kept, block);
        assert_eq!(
            (kept.domain, kept.payload, kept.alive_ms),
            (sent.domain, sent.payload, 77)
        );
    }

    #[test]
    fn a_member_is_named_by_its_receiver() {
        for (address, name) in [
            ("127.0.0.1:4000", "tcp://127.0.0.1:4000"),
            ("[::1]:4001", "tcp://[::1]:4001"),
        ] {
            let member = Member::new(address.parse().unwrap(), UniqueId::default());
            assert_eq!(member.name(), name);
            assert_eq!(member.socket_addr(), address.parse().ok());
            assert!(!member.is_shutdown());
        }
    }
}
