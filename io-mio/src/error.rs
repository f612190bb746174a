//! Why sockets could not be opened, and what would be right.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// What [`bind`](crate::bind) could not do.
#[derive(Debug)]
pub enum BindError {
    /// Every port that `autoBind` allows is in use.
    PortsTaken {
        /// The address.
        ip: IpAddr,
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
        /// `"TCP"` or `"UDP"`.
        protocol: &'static str,
    },
    /// The address belongs to no interface of this host.
    AddressNotLocal {
        /// The address.
        ip: IpAddr,
    },
    /// The ports need a privilege this process lacks.
    NotPermitted {
        /// The address.
        ip: IpAddr,
        /// The first port tried.
        port: u16,
    },
    /// The group's address is not a multicast address.
    NotMulticast {
        /// The address.
        group: Ipv4Addr,
    },
    /// The group cannot be joined or sent to from here.
    Multicast {
        /// The group.
        group: Ipv4Addr,
        /// The local address whose interface was to carry it.
        bind: Option<Ipv4Addr>,
        /// What was tried.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A process without `SO_REUSEADDR` has the group's port.
    MulticastPortTaken {
        /// The port.
        port: u16,
    },
    /// The operating system refused something else.
    Os {
        /// What was tried.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortsTaken {
                ip,
                first,
                last,
                protocol,
            } if first == last => write!(
                f,
                "{protocol} port {first} on {ip} is in use: choose another port, or let autoBind try more than one"
            ),
            Self::PortsTaken {
                ip,
                first,
                last,
                protocol,
            } => write!(
                f,
                "every {protocol} port from {first} to {last} on {ip} is in use: raise autoBind or choose another port"
            ),
            Self::AddressNotLocal { ip } => write!(
                f,
                "{ip} is not an address of this host: give the receiver the address of one of its interfaces"
            ),
            Self::NotPermitted { ip, port } => write!(
                f,
                "this process may not listen on {ip}:{port}: choose a port of 1024 or above, such as 4000"
            ),
            Self::NotMulticast { group } => write!(
                f,
                "{group} is not a multicast address: choose one from 224.0.0.0 to 239.255.255.255, such as 228.0.0.4"
            ),
            Self::Multicast {
                group,
                bind: Some(bind),
                step,
                source,
            } => write!(
                f,
                "multicast is not possible through the interface of {bind} (cannot {step} {group}: {source}): bind to \
                 the address of an interface that has multicast, or list the members statically"
            ),
            Self::Multicast {
                group,
                bind: None,
                step,
                source,
            } => write!(
                f,
                "multicast is not possible here (cannot {step} {group}: {source}): bind to the address of an interface \
                 that has multicast, add a route to 224.0.0.0/4, or list the members statically"
            ),
            Self::MulticastPortTaken { port } => write!(
                f,
                "UDP port {port} is held by a process that does not share it: stop it or choose another multicast port"
            ),
            Self::Os { step, source } => write!(f, "cannot {step}: {source}"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Multicast { source, .. } | Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
