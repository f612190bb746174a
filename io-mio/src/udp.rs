//! Datagrams out: to the group and to members' UDP ports.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use folkmoot_core::engine::{Gather, Target};
use mio::net::UdpSocket;
use socket2::SockRef;

/// The datagram sockets of a node.
#[derive(Debug)]
pub(crate) struct Datagrams {
    /// Joined the group; sends heartbeats.
    pub(crate) group: Option<UdpSocket>,
    /// The member's UDP port.
    pub(crate) receiver: Option<UdpSocket>,
    /// Sends to members' UDP ports when this node has none of its own.
    sender: Option<UdpSocket>,
    group_addr: Option<SocketAddr>,
    /// The last datagram to the group was lost; said once, not at every heartbeat.
    failing: bool,
}

impl Datagrams {
    pub(crate) fn new(
        group: Option<UdpSocket>,
        group_addr: Option<SocketAddrV4>,
        receiver: Option<UdpSocket>,
    ) -> Self {
        Self {
            group,
            receiver,
            sender: None,
            group_addr: group_addr.map(SocketAddr::V4),
            failing: false,
        }
    }

    /// Sends one datagram once. `false` if it is lost.
    pub(crate) fn send(&mut self, to: Target, gather: &Gather<'_>) -> bool {
        let sent = self.try_send(to, gather);
        match (&sent, to) {
            (Ok(()), Target::Group) if self.failing => {
                self.failing = false;
                tracing::info!("datagrams to the group leave again");
            }
            (Err(error), Target::Group) if !self.failing => {
                self.failing = true;
                tracing::warn!(%error, bytes = gather.len(), "a datagram to the group is lost");
            }
            (Err(error), Target::Address(to)) => {
                tracing::debug!(%error, %to, bytes = gather.len(), "a datagram is lost");
            }
            _ => {}
        }
        sent.is_ok()
    }

    fn try_send(&mut self, to: Target, gather: &Gather<'_>) -> io::Result<()> {
        let (socket, addr) = match to {
            Target::Group => match (&self.group, self.group_addr) {
                (Some(socket), Some(addr)) => (socket, addr),
                _ => return Err(io::Error::other("no multicast socket is configured")),
            },
            Target::Address(addr) => (self.towards(addr)?, addr),
        };
        let mut slices = [IoSlice::new(&[]); Gather::CAPACITY];
        let mut used = 0;
        for (slice, run) in slices.iter_mut().zip(gather.runs()) {
            *slice = IoSlice::new(run);
            used += 1;
        }
        SockRef::from(socket)
            .send_to_vectored(&slices[..used], &addr.into())
            .map(|_| ())
    }

    /// The socket that reaches `addr`: the member's own where it has one of that family.
    fn towards(&mut self, addr: SocketAddr) -> io::Result<&UdpSocket> {
        let same_family = |socket: &UdpSocket| {
            socket
                .local_addr()
                .is_ok_and(|local| local.is_ipv4() == addr.is_ipv4())
        };
        if self.receiver.as_ref().is_some_and(same_family)
            && let Some(socket) = &self.receiver
        {
            return Ok(socket);
        }
        if !self.sender.as_ref().is_some_and(same_family) {
            let any: SocketAddr = match addr {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            self.sender = Some(UdpSocket::bind(any)?);
        }
        self.sender
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
