//! What a [`Cluster`](super::Cluster) is told.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::channel::SendOptions;
use crate::java::{JavaString, Limits};
use crate::session::ManagerConfigError;

/// Behaviour of a cluster: Tomcat's names and defaults.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The name of the host whose applications these are, as the other members' configuration has it. Default
    /// `localhost`.
    pub host_name: String,
    /// Whether the other members have their `<Cluster>` in the engine, so that managers are named
    /// `localhost#/shop`; in a host they are named `/shop`. Default true.
    pub at_engine: bool,
    /// Options of all session messages but those of a state transfer. `channelSendOptions`, default 8
    /// (asynchronous).
    pub channel_send_options: SendOptions,
    /// Period of the container's background run. `backgroundProcessorDelay`, default 10 s. A manager looks for
    /// timed-out sessions in every so many of them
    /// ([`process_expires_frequency`](crate::session::DeltaManagerConfig::process_expires_frequency)).
    pub background_processor_delay: Duration,
    /// Whether changes of attributes become events. Default false.
    pub attribute_events: bool,
    /// Bounds for Java streams that are not laid out as Tomcat's session messages.
    pub java_limits: Limits,
    /// Managers, at most. Default 1024.
    pub managers_max: usize,
    /// Events kept for [`Cluster::poll_event`](super::Cluster::poll_event); what comes on top is counted only.
    /// Default 65,536.
    pub events_max: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            host_name: String::from("localhost"),
            at_engine: true,
            channel_send_options: SendOptions::ASYNCHRONOUS,
            background_processor_delay: Duration::from_secs(10),
            attribute_events: false,
            java_limits: Limits::DEFAULT,
            managers_max: 1024,
            events_max: 65_536,
        }
    }
}

/// Why a manager could not be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterError {
    /// A manager of this name is registered already.
    NameTaken(JavaString),
    /// The path is neither empty nor begins with `/`.
    BadContextPath(String),
    /// A setting cannot work.
    Config(ManagerConfigError),
    /// `managers_max` is reached.
    TooManyManagers(usize),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken(name) => write!(
                f,
                "a manager named {name} is registered already; each context has one"
            ),
            Self::BadContextPath(path) => {
                write!(
                    f,
                    "a context path is empty (for ROOT) or begins with a slash, but this is `{path}`"
                )
            }
            Self::Config(error) => error.fmt(f),
            Self::TooManyManagers(max) => {
                write!(f, "there are {max} managers already; raise `managers_max`")
            }
        }
    }
}

impl core::error::Error for ClusterError {}
