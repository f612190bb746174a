//! What can be wrong with a cluster's configuration, and what to change.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use folkmoot_core::channel::ConfigError as ChannelConfigError;
use folkmoot_core::cluster::ClusterError;
use folkmoot_core::wire::SendOptions;
use folkmoot_mio::BindError;

/// Why a cluster did not start. Nothing is left open.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// The sockets could not be opened: ports taken, address not local, multicast not possible here.
    Bind(BindError),
    /// No address for the receiver was configured and none could be found out.
    NoAddress {
        /// What the operating system said.
        source: io::Error,
    },
    /// The directory that keeps the unique id over a restart cannot be used.
    StateDir {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system has no random numbers to give.
    Random(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::NoAddress { source } => write!(
                f,
                "this host's address towards the other members is not known ({source}): set `receiver_address` to \
                 the one they can reach"
            ),
            Self::StateDir { dir, source } => write!(
                f,
                "the unique id cannot be kept in {} ({source}): give a directory this process may write to with \
                 `state_dir`",
                dir.display()
            ),
            Self::Random(why) => write!(f, "the operating system gives no random numbers ({why})"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Bind(error) => Some(error),
            Self::NoAddress { source } | Self::StateDir { source, .. } => Some(source),
            Self::Random(_) => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

/// What in the configuration cannot work, and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A word in `channel_send_options` names no send option.
    UnknownSendOption(String),
    /// `SYNCHRONIZED_ACK` without `USE_ACK`: nobody would acknowledge anything.
    SynchronizedAckWithoutUseAck(SendOptions),
    /// Session messages cannot travel by UDP or multicast, nor over a secure port.
    SendOptionNotForSessions(SendOptions),
    /// The domain is not in ISO-8859-1, or a `{…}` that is no list of bytes.
    Domain(String),
    /// The route has a character that a session id cannot have.
    JvmRoute(String),
    /// The host name is empty or has a `#`.
    HostName(String),
    /// The loopback address would be advertised to members on other hosts.
    LoopbackAdvertised {
        /// The address.
        address: IpAddr,
        /// Who cannot reach it: a static member, or the multicast group.
        towards: String,
        /// The address that they can reach, if there is one.
        instead: Option<IpAddr>,
    },
    /// An IPv4 member cannot be reached from an IPv6 receiver, or the other way round.
    AddressFamily {
        /// The receiver's address.
        address: IpAddr,
        /// The static member.
        member: String,
    },
    /// A number of seconds or a count is outside its range: its name and the range.
    OutOfRange(&'static str, &'static str),
    /// The channel refuses a value.
    Channel(ChannelConfigError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSendOption(text) => write!(
                f,
                "channel_send_options {text:?}: use a number (8, 6) or the names asynchronous, use_ack, \
                 synchronized_ack and their short forms async and sync, separated by commas"
            ),
            Self::SynchronizedAckWithoutUseAck(options) => write!(
                f,
                "channel_send_options {}: 4 (synchronized_ack) means nothing without 2 (use_ack); to wait until every \
                 member has applied a change use 6, to wait for its receipt only use 2",
                options.bits()
            ),
            Self::SendOptionNotForSessions(options) => write!(
                f,
                "channel_send_options {}: sessions travel by TCP only; leave out 16 (secure), 32 (udp) and 64 (multicast)",
                options.bits()
            ),
            Self::Domain(domain) => write!(
                f,
                "domain {domain:?}: use ISO-8859-1 text, or bytes as {{1,2,3}} with values from -128 to 127"
            ),
            Self::JvmRoute(route) => write!(
                f,
                "jvm_route {route:?}: use 1 to 255 letters, digits, `-`, `_`, `.` or `~`, as the front end knows the node"
            ),
            Self::HostName(name) => write!(
                f,
                "host_name {name:?}: use the name of Tomcat's <Host>, usually localhost, without `#`"
            ),
            Self::LoopbackAdvertised {
                address,
                towards,
                instead,
            } => {
                write!(
                    f,
                    "receiver_address {address} would be advertised to {towards}, where it means another host: "
                )?;
                match instead {
                    Some(instead) => write!(f, "set receiver_address to {instead}")?,
                    None => f.write_str(
                        "set receiver_address to the address that the members can reach",
                    )?,
                }
                f.write_str("; for nodes on this host alone set multicast_bind to 127.0.0.1 or list static members on it")
            }
            Self::AddressFamily { address, member } => write!(
                f,
                "static member {member} and receiver_address {address} are of different IP versions: use one for all"
            ),
            Self::OutOfRange(name, range) => write!(f, "{name} must be {range}"),
            Self::Channel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Channel(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ChannelConfigError> for ConfigError {
    fn from(error: ChannelConfigError) -> Self {
        Self::Channel(error)
    }
}

/// Why a manager could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// The context path is neither empty nor `/…`, or ends with `/`.
    Path(String),
    /// There is a manager for this context path already.
    Duplicate(String),
    /// A setting is outside its range: its name and the range.
    OutOfRange(&'static str, &'static str),
    /// There are so many managers already.
    TooMany(usize),
    /// The cluster has been shut down.
    Stopped,
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "context path {path:?}: use \"\" or \"/\" for the root, else a path such as /shop, without a `/` at its end"
            ),
            Self::Duplicate(path) => write!(
                f,
                "context {path:?} has a manager already: clone that one, or choose another path"
            ),
            Self::OutOfRange(name, range) => write!(f, "{name} must be {range}"),
            Self::TooMany(max) => write!(
                f,
                "there are {max} managers, which is the most one cluster has"
            ),
            Self::Stopped => f.write_str("the cluster has been shut down: start another"),
        }
    }
}

impl std::error::Error for ContextError {}

impl ContextError {
    pub(crate) fn from_core(error: ClusterError, path: &str) -> Self {
        match error {
            ClusterError::NameTaken(_) => Self::Duplicate(path.to_owned()),
            ClusterError::BadContextPath(path) => Self::Path(path),
            ClusterError::Config(error) => Self::OutOfRange(error.name, error.wanted),
            ClusterError::TooManyManagers(max) => Self::TooMany(max),
        }
    }
}
