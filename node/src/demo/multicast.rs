//! Whether multicast reaches this machine's own processes by way of the loopback interface.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::SockRef;

/// Tribes' default group.
const GROUP: Ipv4Addr = Ipv4Addr::new(228, 0, 0, 4);
/// A datagram to oneself arrives at once or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends one datagram to the group on `lo` (TTL 0: it never leaves the machine) and waits for it.
pub(crate) fn works_on_loopback() -> bool {
    match try_it() {
        Ok(()) => true,
        Err(error) => {
            tracing::info!(%error, "multicast does not work on the loopback interface");
            false
        }
    }
}

fn try_it() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
    SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    socket.set_multicast_ttl_v4(0)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let nonce = std::process::id().to_be_bytes();
    socket.send_to(
        &nonce,
        SocketAddr::from((GROUP, socket.local_addr()?.port())),
    )?;
    let mut received = [0; 16];
    let len = socket.recv(&mut received)?;
    match received.get(..len) {
        Some(bytes) if bytes == nonce => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
