//! Which of our addresses other members can reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The local address from which the kernel's routes lead to `destination`. No packet is sent.
///
/// Unlike Tomcat, whose `auto` takes the address of the host name (127.0.1.1 on Debian).
pub(crate) fn towards(destination: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(destination)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_leads_to_loopback() {
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ] {
            match towards(SocketAddr::new(ip, 9)) {
                Ok(address) => assert_eq!(address, ip),
                // A host may have IPv6 switched off.
                Err(error) => assert!(ip.is_ipv6(), "{error}"),
            }
        }
    }
}
