//! The group's socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::MulticastSocket;
use crate::error::BindError;

/// Opens, binds and joins. What is wrong is found here, not at the first heartbeat.
pub(crate) fn open(config: &MulticastSocket) -> Result<UdpSocket, BindError> {
    let group = config.group;
    if !group.is_multicast() {
        return Err(BindError::NotMulticast { group });
    }
    let failed = |step: &'static str| {
        move |source: io::Error| BindError::Multicast {
            group,
            bind: config.bind,
            step,
            source,
        }
    };
    let os = |step: &'static str| move |source: io::Error| BindError::Os { step, source };

    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .map_err(os("open a UDP socket"))?;
    socket
        .set_nonblocking(true)
        .map_err(os("make a UDP socket non-blocking"))?;
    share_port(&socket).map_err(os("share the multicast port"))?;
    // Tomcat binds to the group's address where it can; the wildcard works everywhere, and what other groups
    // send to this port is kept out below.
    let wildcard = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, config.port));
    socket.bind(&wildcard.into()).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::MulticastPortTaken { port: config.port }
        } else {
            BindError::Os {
                step: "bind the multicast port",
                source,
            }
        }
    })?;
    #[cfg(target_os = "linux")]
    socket
        .set_multicast_all_v4(false)
        .map_err(os("listen to one group only"))?;
    let interface = config.bind.unwrap_or(Ipv4Addr::UNSPECIFIED);
    socket
        .join_multicast_v4(&group, &interface)
        .map_err(failed("join"))?;
    if config.bind.is_some() {
        socket
            .set_multicast_if_v4(&interface)
            .map_err(failed("send to"))?;
    }
    socket
        .set_multicast_ttl_v4(config.ttl.into())
        .map_err(failed("limit the way to"))?;
    socket
        .set_multicast_loop_v4(config.loopback)
        .map_err(failed("set the loopback of"))?;
    if config.bind.is_none() {
        // Joining follows another route than sending may: ask now whether there is a way out.
        has_route(group, config.port).map_err(failed("send to"))?;
    }
    Ok(UdpSocket::from_std(socket.into()))
}

/// Lets several nodes of one host hear the group at one port.
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    // On Linux the above is enough; the BSDs share a UDP port only like this.
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// Whether the kernel knows a way to the group: connecting a datagram socket sends nothing.
fn has_route(group: Ipv4Addr, port: u16) -> io::Result<()> {
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((group, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> MulticastSocket {
        MulticastSocket {
            group: Ipv4Addr::new(228, 0, 0, 31),
            port: 0,
            bind: Some(Ipv4Addr::LOCALHOST),
            ttl: 0,
            loopback: true,
        }
    }

    #[test]
    fn two_nodes_share_the_groups_port() {
        let first = open(&local()).expect("the loopback interface carries the group");
        let port = first.local_addr().expect("bound").port();
        let second = MulticastSocket { port, ..local() };
        assert_eq!(
            open(&second).expect("shared").local_addr().ok(),
            first.local_addr().ok()
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let unicast = MulticastSocket {
            group: Ipv4Addr::new(10, 0, 0, 4),
            ..local()
        };
        let elsewhere = MulticastSocket {
            bind: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ..local()
        };
        let taken = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let held = MulticastSocket { port, ..local() };
        for (config, word) in [
            (unicast, "is not a multicast address"),
            (elsewhere, "through the interface of 192.0.2.1"),
            (held, "does not share it"),
        ] {
            let said = open(&config).expect_err(word).to_string();
            assert!(said.contains(word), "{said}");
        }
    }
}
