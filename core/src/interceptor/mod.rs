//! Layers between a channel and its listener: Tribes' `ChannelInterceptor`s.
//!
//! A stack is configured as in `server.xml`: the first interceptor is nearest to the application. Messages to be sent go
//! down through all of them, received ones up. Members must have the same ones that change bytes, in the same order; nothing
//! on the wire says which there are.
//!
//! What Tomcat does with `MessageDispatchInterceptor`, `TcpFailureDetector`, `TcpPingInterceptor` and
//! `StaticMembershipInterceptor` is part of [`Channel`](crate::channel::Channel) itself, below this stack.
//!
//! A layer never calls the next: the channel walks the stack in a loop, and a layer says what becomes of the message.
//! Messages that a layer has kept and lets go come after the one that set them free.

#[cfg(feature = "encrypt")]
mod cipher;
mod domain_filter;
#[cfg(feature = "encrypt")]
mod encrypt;
mod fragmentation;
#[cfg(feature = "gzip")]
mod gzip;
pub(crate) mod message;
mod order;
mod outcomes;
mod refusal;
#[cfg(feature = "encrypt")]
mod replay;
pub(crate) mod stack;
mod stats;
mod text;
mod throughput;
mod two_phase_commit;

use core::fmt;

#[cfg(feature = "encrypt")]
pub use cipher::{CipherError, IV_MAX};
pub use domain_filter::DomainFilterInterceptor;
#[cfg(feature = "encrypt")]
pub use encrypt::{EncryptInterceptor, MessageCipher, Opened};
pub use fragmentation::{Fragment, FragmentationInterceptor};
#[cfg(feature = "gzip")]
pub use gzip::{GzipCodec, GzipInterceptor};
pub use order::OrderInterceptor;
pub(crate) use refusal::Cost;
pub use refusal::Refusal;
pub use stats::{
    EncryptStats, FragmentationStats, GzipStats, InterceptorStats, OrderStats, ThroughputStats,
    TwoPhaseCommitStats,
};
pub use text::AttributeError;
pub use throughput::ThroughputInterceptor;
pub use two_phase_commit::{TwoPhaseCommitInterceptor, confirmation, confirmed};

use crate::wire::SendOptions;

/// One layer of a channel's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interceptor {
    /// Encrypts messages.
    #[cfg(feature = "encrypt")]
    Encrypt(EncryptInterceptor),
    /// Compresses messages.
    #[cfg(feature = "gzip")]
    Gzip(GzipInterceptor),
    /// Sends long messages in pieces.
    Fragmentation(FragmentationInterceptor),
    /// Hands messages on in the order of sending.
    Order(OrderInterceptor),
    /// Hands messages on when their sender confirms them.
    TwoPhaseCommit(TwoPhaseCommitInterceptor),
    /// Counts messages.
    Throughput(ThroughputInterceptor),
    /// Leaves out members of other domains.
    DomainFilter(DomainFilterInterceptor),
}

impl Interceptor {
    /// Tomcat's name of the class, without its package.
    pub const fn class_name(&self) -> &'static str {
        match self {
            #[cfg(feature = "encrypt")]
            Self::Encrypt(_) => "EncryptInterceptor",
            #[cfg(feature = "gzip")]
            Self::Gzip(_) => "GzipInterceptor",
            Self::Fragmentation(_) => "FragmentationInterceptor",
            Self::Order(_) => "OrderInterceptor",
            Self::TwoPhaseCommit(_) => "TwoPhaseCommitInterceptor",
            Self::Throughput(_) => "ThroughputInterceptor",
            Self::DomainFilter(_) => "DomainFilterInterceptor",
        }
    }

    /// Checks its settings.
    pub(crate) fn validate(&self) -> Result<(), InterceptorError> {
        match self {
            #[cfg(feature = "encrypt")]
            Self::Encrypt(config) => config.validate(),
            #[cfg(feature = "gzip")]
            Self::Gzip(config) => config.validate(),
            Self::Fragmentation(config) => config.validate(),
            Self::Order(config) => config.validate(),
            Self::TwoPhaseCommit(config) => config.validate(),
            Self::Throughput(config) => config.validate(),
            Self::DomainFilter(_) => Ok(()),
        }
    }
}

macro_rules! from {
    ($($(#[$when:meta])? $config:ty => $variant:ident,)*) => {$(
        $(#[$when])?
        impl From<$config> for Interceptor {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        }
    )*};
}

from! {
    #[cfg(feature = "encrypt")] EncryptInterceptor => Encrypt,
    #[cfg(feature = "gzip")] GzipInterceptor => Gzip,
    FragmentationInterceptor => Fragmentation,
    OrderInterceptor => Order,
    TwoPhaseCommitInterceptor => TwoPhaseCommit,
    ThroughputInterceptor => Throughput,
    DomainFilterInterceptor => DomainFilter,
}

/// What in the settings of an interceptor cannot work, and what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterceptorError {
    /// The algorithm or key of an `EncryptInterceptor`.
    #[cfg(feature = "encrypt")]
    Cipher(CipherError),
    /// The setting of this name is out of its range, which follows.
    OutOfRange(&'static str, &'static str),
    /// There is more than one interceptor of this class.
    Twice(&'static str),
    /// A `FragmentationInterceptor` stands nearer to the application than this `TwoPhaseCommitInterceptor`, which would take all
    /// pieces of a message, for they have one id, for repeats of the first.
    ConfirmsPieces,
    /// There are more layers than this.
    TooMany(usize),
}

#[cfg(feature = "encrypt")]
impl From<CipherError> for InterceptorError {
    fn from(error: CipherError) -> Self {
        Self::Cipher(error)
    }
}

impl fmt::Display for InterceptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "encrypt")]
            Self::Cipher(error) => error.fmt(f),
            Self::OutOfRange(name, wanted) => write!(f, "`{name}` must be {wanted}"),
            Self::Twice(class) => write!(f, "a channel takes one {class} only"),
            Self::ConfirmsPieces => f.write_str(
                "TwoPhaseCommitInterceptor must stand before FragmentationInterceptor: it cannot confirm messages in pieces",
            ),
            Self::TooMany(max) => write!(f, "a channel takes at most {max} interceptors"),
        }
    }
}

impl core::error::Error for InterceptorError {}

/// Whether a layer with these option bits concerns itself with a message. `ChannelInterceptorBase.okToProcess`.
const fn ok_to_process(option_flag: u32, options: SendOptions) -> bool {
    options.contains(SendOptions::from_bits(option_flag))
}
