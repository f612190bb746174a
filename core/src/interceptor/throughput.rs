//! `ThroughputInterceptor`: counts what passes.

use super::InterceptorError;
use super::message::{Down, Inward, Outbound, Up, add};
use crate::plant::{Bug, planted};

/// Counts messages and bytes where it stands in the stack: see
/// [`ThroughputStats`](super::ThroughputStats). Nothing on the wire changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThroughputInterceptor {
    /// After so many messages, received or sent, [`ChannelEvent::Throughput`](crate::channel::ChannelEvent::Throughput)
    /// follows; 1 or more, default 10,000.
    pub interval: u64,
}

impl Default for ThroughputInterceptor {
    fn default() -> Self {
        Self { interval: 10_000 }
    }
}

impl ThroughputInterceptor {
    pub(crate) const fn validate(&self) -> Result<(), InterceptorError> {
        if self.interval == 0 {
            return Err(InterceptorError::OutOfRange("interval", "1 or more"));
        }
        Ok(())
    }
}

/// The layer at work.
#[derive(Debug)]
pub(crate) struct Throughput {
    interval: u64,
    /// Messages since the last report.
    messages: u64,
}

impl Throughput {
    pub(crate) const fn new(config: ThroughputInterceptor) -> Self {
        Self {
            interval: config.interval,
            messages: 0,
        }
    }

    pub(crate) fn send(&mut self, down: &mut Down<'_>, message: &Outbound) {
        add(&mut self.messages, 1);
        add(&mut down.stats.throughput.messages_sent, 1);
        add(
            &mut down.stats.throughput.bytes_sent,
            message.body.len() as u64,
        );
    }

    pub(crate) fn receive(&mut self, up: &mut Up<'_>, message: &Inward<'_>) {
        add(&mut self.messages, 1);
        if planted(Bug::MessageUncounted) && self.messages.is_multiple_of(16) {
            return;
        }
        add(&mut up.stats.throughput.messages_received, 1);
        let len = message.body.as_slice().len();
        add(&mut up.stats.throughput.bytes_received, len as u64);
    }

    /// Whether a report is due; it is none any more then.
    pub(crate) const fn take_report(&mut self) -> bool {
        let due = self.messages >= self.interval;
        if due {
            self.messages = 0;
        }
        due
    }
}
