//! Opening the sockets of a node.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant as StdInstant};

use folkmoot_core::time::Instant;
use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, ReceiverSockets, Tuning};
use crate::error::BindError;
use crate::multicast;

/// How long a killed process' ring may hold its listener after the process has gone, and how often the port is tried meanwhile.
const RING_HOLDS: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The driver's clock: [`Instant`]s count from the moment the sockets were bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(StdInstant);

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }
}

/// Sockets that are open and belong to no engine yet: peers may connect already and wait to be accepted.
///
/// Between [`bind`] and [`spawn`](Self::spawn) the caller learns which port `autoBind` chose and makes the
/// engine that advertises it.
#[derive(Debug)]
pub struct Bound {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) listener: TcpListener,
    pub(crate) receiver_addr: SocketAddr,
    pub(crate) udp: Option<UdpSocket>,
    pub(crate) udp_addr: Option<SocketAddr>,
    pub(crate) group: Option<UdpSocket>,
}

impl Bound {
    /// Budgets and waiting times, to be changed before a driver starts.
    pub const fn tuning_mut(&mut self) -> &mut Tuning {
        &mut self.config.tuning
    }

    /// Where the receiver listens: the address asked for, and the first free port of the range.
    pub fn receiver_addr(&self) -> SocketAddr {
        self.receiver_addr
    }

    /// Where the UDP receiver listens, if one was asked for.
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.udp_addr
    }

    /// Where heartbeats go to and come from, if multicast was asked for.
    pub fn multicast_addr(&self) -> Option<SocketAddr> {
        let multicast = self.config.multicast.as_ref()?;
        let local = self.group.as_ref()?.local_addr().ok()?;
        Some(SocketAddr::new(multicast.group.into(), local.port()))
    }

    /// What was asked for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The driver's time, for the engine that is about to be made.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Opens the receiver's listener, its UDP socket if asked for, and the multicast socket if asked for.
///
/// # Errors
///
/// What is wrong with the configuration or this host, and what would be right. Nothing stays open.
pub fn bind(config: Config) -> Result<Bound, BindError> {
    let clock = Clock(StdInstant::now());
    let receiver = &config.receiver;
    let mut patience = match config.tuning.ring_accept {
        true => RING_HOLDS,
        false => Duration::ZERO,
    };
    let listener = first_free(receiver, receiver.port, "TCP", |addr| {
        let within = std::mem::take(&mut patience);
        patiently(within, || listen(receiver, addr))
    })?;
    let receiver_addr = listener.local_addr().map_err(|source| BindError::Os {
        step: "learn the receiver's port",
        source,
    })?;
    let udp = match receiver.udp_port {
        Some(port) => Some(first_free(receiver, port, "UDP", UdpSocket::bind)?),
        None => None,
    };
    let udp_addr = udp.as_ref().and_then(|socket| socket.local_addr().ok());
    let group = config.multicast.as_ref().map(multicast::open).transpose()?;
    tracing::debug!(receiver = %receiver_addr, udp = ?udp_addr, multicast = group.is_some(), "sockets are open");
    Ok(Bound {
        config,
        clock,
        listener,
        receiver_addr,
        udp,
        udp_addr,
        group,
    })
}

/// Looks again, for a while, if an address is in use.
fn patiently<S>(within: Duration, mut open: impl FnMut() -> io::Result<S>) -> io::Result<S> {
    let since = StdInstant::now();
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && since.elapsed() < within => {
                std::thread::sleep(LOOK_EVERY);
            }
            opened => return opened,
        }
    }
}

/// Tries the ports that `autoBind` allows, in order.
fn first_free<S>(
    receiver: &ReceiverSockets,
    first: u16,
    protocol: &'static str,
    mut open: impl FnMut(SocketAddr) -> io::Result<S>,
) -> Result<S, BindError> {
    let ip = receiver.ip;
    let last = match first {
        0 => 0,
        _ => first.saturating_add(receiver.auto_bind.max(1) - 1),
    };
    for port in first..=last {
        match open(SocketAddr::new(ip, port)) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::debug!(%ip, port, protocol, "port is in use, trying the next");
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                return Err(BindError::AddressNotLocal { ip });
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(BindError::NotPermitted { ip, port });
            }
            Err(source) => {
                return Err(BindError::Os {
                    step: "open the receiver",
                    source,
                });
            }
        }
    }
    Err(BindError::PortsTaken {
        ip,
        first,
        last,
        protocol,
    })
}

fn listen(receiver: &ReceiverSockets, addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A node that comes back finds its port free although old connections linger in TIME_WAIT. Elsewhere than
    // on Unix the option would let two processes have one port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(receiver.backlog.into())?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn on(port: u16, auto_bind: u16) -> Config {
        let mut config = Config::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        config.receiver.port = port;
        config.receiver.auto_bind = auto_bind;
        config
    }

    #[test]
    fn the_next_free_port_is_taken_and_an_exhausted_range_is_an_error() {
        let first = bind(on(0, 1)).expect("a free port");
        let port = first.receiver_addr().port();
        let said = bind(on(port, 1)).expect_err("taken").to_string();
        assert!(
            said.contains(&format!("TCP port {port} on 127.0.0.1")),
            "{said}"
        );
        let second = bind(on(port, 100)).expect("another free port");
        assert!(second.receiver_addr().port() > port);
    }

    #[test]
    fn a_range_ends_at_the_last_port() {
        let mut tried = vec![];
        let mut receiver = on(65_534, 100).receiver;
        receiver.auto_bind = 100;
        let result = first_free(&receiver, 65_534, "TCP", |addr| {
            tried.push(addr.port());
            Err::<(), _>(io::ErrorKind::AddrInUse.into())
        });
        assert_eq!(tried, [65_534, 65_535]);
        let said = result.expect_err("all taken").to_string();
        assert!(said.contains("from 65534 to 65535"), "{said}");
    }

    #[test]
    fn a_port_that_is_about_to_be_free_is_waited_for_if_asked_to() {
        let taken = |tries: &mut u32, until: u32| {
            *tries += 1;
            match *tries < until {
                true => Err(io::Error::from(io::ErrorKind::AddrInUse)),
                false => Ok(()),
            }
        };
        for (within, free_at, tries_expected, found) in [
            (Duration::from_secs(60), 4, 4, true),
            (Duration::ZERO, 4, 1, false),
        ] {
            let mut tries = 0;
            let opened = patiently(within, || taken(&mut tries, free_at));
            assert_eq!((opened.is_ok(), tries), (found, tries_expected));
        }
        let mut tries = 0;
        let refused = patiently(Duration::from_secs(60), || {
            tries += 1;
            Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))
        });
        assert_eq!((refused.is_err(), tries), (true, 1), "nothing else is");
    }

    #[test]
    fn a_foreign_address_is_named() {
        let config = Config::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let said = bind(config)
            .expect_err("a documentation address")
            .to_string();
        assert!(
            said.contains("192.0.2.1 is not an address of this host"),
            "{said}"
        );
    }

    #[test]
    fn two_nodes_get_two_udp_ports() {
        let mut config = on(0, 10);
        config.receiver.udp_port = Some(0);
        let first = bind(config.clone()).expect("a free port");
        let port = first.udp_addr().expect("asked for").port();
        config.receiver.udp_port = Some(port);
        let second = bind(config).expect("another free port");
        assert_ne!(second.udp_addr().expect("asked for").port(), port);
    }
}
