//! `DomainFilterInterceptor`: members of one domain only.

use alloc::vec::Vec;

/// Only who has this domain is a member, and only such messages are handed on. It is independent of the domain that this
/// node announces; set both.
///
/// A channel without one does the same for its own domain
/// ([`ChannelConfig::domain_filter`](crate::channel::ChannelConfig::domain_filter)). It works below all layers, wherever it
/// stands; what is left out is counted in [`ChannelStats`](crate::channel::ChannelStats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainFilterInterceptor {
    /// ISO-8859-1 bytes; default empty.
    pub domain: Vec<u8>,
}
