//! A channel without sockets: what a driver does, step by step, in time that only this file moves.

use core::net::SocketAddr;
use core::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEvent, ChannelListener, Inbound, MemberIndex, MembershipConfig,
    Verdict,
};
use folkmoot_core::engine::{ConnId, Gather, Input, Output, Target};
use folkmoot_core::java::{JavaBytes, Limits};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::{MessageHeader, SendOptions, UniqueId, frame};

/// A channel, what listens to it, and what it wanted of its driver.
pub(crate) struct Node {
    pub(crate) channel: Channel,
    pub(crate) listener: Recorder,
    pub(crate) now: Instant,
    pub(crate) connects: Vec<(ConnId, SocketAddr)>,
    pub(crate) closed: Vec<ConnId>,
    pub(crate) datagrams: Vec<(Target, Vec<u8>)>,
    pub(crate) events: Vec<ChannelEvent>,
}

/// Keeps what it gets.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) received: Vec<Received>,
    /// Messages that fail, counted from 0; `None`: none of them.
    pub(crate) fails: Option<fn(usize) -> bool>,
}

/// A message as the listener saw it.
pub(crate) struct Received {
    pub(crate) from: Option<MemberIndex>,
    pub(crate) options: SendOptions,
    pub(crate) timestamp_ms: u64,
    pub(crate) unique_id: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

impl Received {
    /// Whether an application gets it: bytes, or a stream that holds an object.
    pub(crate) fn is_for_the_application(&self) -> bool {
        self.options.contains(SendOptions::BYTE_MESSAGE)
            || JavaBytes::new(self.message.clone().into(), &Limits::DEFAULT).is_ok()
    }
}

impl ChannelListener for Recorder {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        let fails = self.fails.is_some_and(|fails| fails(self.received.len()));
        self.received.push(Received {
            from: message.from,
            options: message.options,
            timestamp_ms: message.timestamp_ms,
            unique_id: message.unique_id.to_vec(),
            message: message.message.to_vec(),
        });
        if fails {
            Verdict::Failed
        } else {
            Verdict::Processed
        }
    }
}

/// Where a peer's connections come from.
pub(crate) const PEER: SocketAddr = SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1)),
    50_000,
);

/// A configuration as a Tomcat has it that knows nobody: no membership, no domain filter, no marker of ours.
pub(crate) fn lonely(address: SocketAddr) -> ChannelConfig {
    let mut config = ChannelConfig::new(address);
    config.membership = MembershipConfig::None;
    config.domain_filter = false;
    config.sender.pipelining = false;
    config
}

impl Node {
    /// A started channel, by a wall clock that shows `unix_ms`.
    pub(crate) fn start(config: ChannelConfig, unix_ms: u64) -> Self {
        let now = Instant::from_millis(1_000);
        let channel = Channel::new(config, [5; 32], now, unix_ms).unwrap();
        let listener = Recorder::default();
        let (connects, closed, datagrams, events) = (vec![], vec![], vec![], vec![]);
        let mut node = Self {
            channel,
            listener,
            now,
            connects,
            closed,
            datagrams,
            events,
        };
        node.channel.start(now);
        node.drain();
        node
    }

    /// A receiver somewhere.
    pub(crate) fn receiver() -> Self {
        let mut config = lonely("198.51.100.7:4000".parse().unwrap());
        config.udp_port = 4000;
        Self::start(config, 1_700_000_000_000)
    }

    /// Takes what the channel wants; what is to be written stays with it until [`written`](Self::written).
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.channel.poll_output() {
            match output {
                Output::Connect { conn, to } => self.connects.push((conn, to)),
                Output::Close { conn } | Output::Abort { conn } => self.closed.push(conn),
                Output::Datagram { conn, to } => {
                    let bytes = self.written(conn);
                    self.datagrams.push((to, bytes));
                }
                Output::Transmit { .. }
                | Output::PauseRead { .. }
                | Output::ResumeRead { .. }
                | Output::HalfClose { .. } => {}
            }
        }
        while let Some(event) = self.channel.poll_event() {
            self.events.push(event);
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.channel.handle(self.now, input, &mut self.listener);
        self.drain();
    }

    /// Moves time to the channel's next deadline, but not beyond `until`; `false` if it is `until`.
    pub(crate) fn wait(&mut self, until: Instant) -> bool {
        let next = self.channel.poll_timeout().filter(|next| *next < until);
        self.now = next.unwrap_or(until).max(self.now);
        self.handle(Input::Timeout);
        next.is_some()
    }

    pub(crate) fn after(&self, wait: Duration) -> Instant {
        self.now + wait
    }

    /// Everything that waits on `conn`, as a socket takes it that is never full.
    pub(crate) fn written(&mut self, conn: ConnId) -> Vec<u8> {
        let mut all = vec![];
        loop {
            let mut gather = Gather::new();
            self.channel.transmit(conn, &mut gather);
            let (len, bytes) = (gather.len(), gather.runs().concat());
            drop(gather);
            if len == 0 {
                return all;
            }
            all.extend(bytes);
            self.channel.transmitted(self.now, conn, len);
        }
    }

    pub(crate) fn accept(&mut self) -> ConnId {
        let conn = self.channel.accept(self.now, PEER).unwrap();
        self.drain();
        conn
    }

    /// Feeds `bytes` in pieces and returns what was answered.
    pub(crate) fn read(&mut self, conn: ConnId, bytes: &[u8], step: usize) -> Vec<u8> {
        let mut answers = vec![];
        for piece in bytes.chunks(step.max(1)) {
            if self.closed.contains(&conn) {
                break;
            }
            self.handle(Input::Received { conn, bytes: piece });
            answers.extend(self.written(conn));
        }
        answers
    }

    /// How many messages got as far as an application.
    pub(crate) fn delivered(&self) -> usize {
        let received = self.listener.received.iter();
        received
            .filter(|message| message.is_for_the_application())
            .count()
    }

    /// What was refused, in words.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let reason = |event: &ChannelEvent| match event {
            ChannelEvent::BadInput { reason, .. } => Some(reason.to_string()),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

/// A whole frame from `sender`'s block.
pub(crate) fn message(options: SendOptions, address: &[u8], message: &[u8]) -> Vec<u8> {
    let header = MessageHeader {
        options,
        timestamp_ms: 1,
        unique_id: UniqueId([6; 16]),
        address,
        message_len: message.len(),
    };
    let mut bytes = vec![];
    header.write(&mut bytes).unwrap();
    bytes.extend_from_slice(message);
    bytes.extend_from_slice(&frame::END);
    bytes
}
