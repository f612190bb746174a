//! `DomainFilterInterceptor`: members of one domain only.

use alloc::vec::Vec;

use super::message::{Flow, Inward, Up, add};

/// Only members whose domain is this one are members, and only their messages are handed on. It is independent of the domain that this
/// node announces.
///
/// A channel does the same by itself for its own domain
/// ([`ChannelConfig::domain_filter`](crate::channel::ChannelConfig::domain_filter)); this one names another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainFilterInterceptor {
    /// ISO-8859-1 bytes; default empty.
    pub domain: Vec<u8>,
}

impl DomainFilterInterceptor {
    pub(crate) fn receive<'a>(&self, up: &mut Up<'_>, message: Inward<'a>) -> Flow<'a> {
        if message.sender.domain == self.domain {
            return Flow::Pass(message);
        }
        add(&mut up.stats.domain_filter.filtered, 1);
        Flow::Stop
    }
}
