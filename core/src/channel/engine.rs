//! The driver's side of a channel.

use super::{Channel, ChannelListener, News};
use crate::engine::{ConnId, Engine, Gather, Input, Output, Part};
use crate::time::Instant;
use crate::transport::conns::Conn;
use core::net::SocketAddr;

impl Channel {
    /// Takes what happened; `listener` hears of messages and members before this returns. Never fails: a bad peer loses
    /// its connection and becomes an event.
    pub fn handle<L: ChannelListener>(&mut self, now: Instant, input: Input<'_>, listener: &mut L) {
        match input {
            Input::Timeout => {}
            Input::Received { conn, bytes } => self.received(now, conn, bytes, listener),
            Input::Connected { conn } => self.connected(now, conn),
            Input::Datagram { from, bytes } => self.datagram_received(now, from, bytes, listener),
            Input::Closed { conn, reason } => {
                self.read_held(now, conn, listener);
                self.closed(now, conn, reason);
            }
        }
        self.let_go(now, listener);
        // Not only for `Timeout`: traffic must not delay a heartbeat.
        if self.timers.next().is_some_and(|at| at <= now) {
            self.expire(now);
        }
        if !self.sends.watched.is_empty() {
            self.confirm(now);
        }
        if self.timers.layers.is_some_and(|at| at <= now) {
            self.layers_due(now, listener);
        }
        self.tell(now, listener);
    }

    /// Tells the listener what has changed among the members.
    fn tell<L: ChannelListener>(&mut self, now: Instant, listener: &mut L) {
        while let Some(news) = self.news.pop_front() {
            match news {
                News::Added(index) => {
                    // Gone again already: then neither is news.
                    if let Some(entry) = self.members.get(index) {
                        listener.member_added(now, index, &entry.member);
                    }
                }
                News::Gone(index, member) => listener.member_disappeared(now, index, &member),
            }
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Adds the runs of bytes that wait on `conn`. See [`Engine::transmit`].
    pub fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        match self.conns.get(conn) {
            Some(Conn::Lane(member, number)) => {
                let entry = self.members.get(*member);
                if let Some(lane) = entry.and_then(|entry| entry.lanes.get(usize::from(*number))) {
                    lane.gather(out);
                }
            }
            Some(Conn::Receiver(receiver)) => {
                out.push(receiver.waiting_acks());
            }
            Some(Conn::Probe { frame, sent, .. }) => {
                out.push(frame.get(*sent..).unwrap_or_default());
            }
            Some(Conn::Datagram(bytes) | Conn::Free(bytes)) => {
                out.push(bytes);
            }
            Some(Conn::Busy) | None => {}
        }
    }

    /// Shows the bytes that wait on `conn`. See [`Engine::transmit_parts`].
    pub fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        if let Some(Conn::Lane(member, number)) = self.conns.get(conn) {
            let entry = self.members.get(*member);
            if let Some(lane) = entry.and_then(|entry| entry.lanes.get(usize::from(*number))) {
                lane.parts(take);
            }
            return;
        }
        let mut gather = Gather::new();
        self.transmit(conn, &mut gather);
        gather.lend(take);
    }
}

/// A channel and its listener, as an [`Engine`]: for those who need nothing above a channel.
#[derive(Debug)]
pub struct ChannelEngine<L> {
    /// The channel.
    pub channel: Channel,
    /// Who receives.
    pub listener: L,
}

impl<L: ChannelListener> ChannelEngine<L> {
    /// Joins the two.
    pub const fn new(channel: Channel, listener: L) -> Self {
        Self { channel, listener }
    }
}

impl<L: ChannelListener> Engine for ChannelEngine<L> {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.channel.handle(now, input, &mut self.listener);
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.channel.accept(now, from)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.channel.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.channel.poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.channel.transmit(conn, out);
    }

    fn transmit_parts(&self, conn: ConnId, take: &mut dyn FnMut(Part<'_>) -> bool) {
        self.channel.transmit_parts(conn, take);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.channel.transmitted(now, conn, len);
    }
}
