//! What the driver opens and how it behaves.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Everything [`bind`](crate::bind) wants to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where other members connect to.
    pub receiver: ReceiverSockets,
    /// The group for heartbeats; `None` with static membership.
    pub multicast: Option<MulticastSocket>,
    /// Options of every stream, accepted or opened.
    pub streams: StreamOptions,
    /// Budgets and waiting times.
    pub tuning: Tuning,
}

impl Config {
    /// A receiver on `ip`, at Tomcat's ports, without multicast.
    pub fn new(ip: IpAddr) -> Self {
        Self {
            receiver: ReceiverSockets::new(ip),
            multicast: None,
            streams: StreamOptions::default(),
            tuning: Tuning::default(),
        }
    }
}

/// The listening sockets (`ReceiverBase`).
#[derive(Clone, Debug)]
pub struct ReceiverSockets {
    /// The address to listen on. It is a local one; the channel advertises it (or another) to the members.
    pub ip: IpAddr,
    /// The first port tried. Default 4000; 0 lets the operating system choose.
    pub port: u16,
    /// How many ports are tried, from `port` upwards. Default 100; 0 counts as 1.
    pub auto_bind: u16,
    /// The first UDP port tried, for messages sent with `UDP`. Default `None`: no UDP listener.
    ///
    /// Unlike Tribes', the socket does not share its port with another process: two nodes on one host get two.
    pub udp_port: Option<u16>,
    /// Connections the kernel holds until they are accepted. Default 1024; more than that at once wait a second and more.
    pub backlog: u16,
}

impl ReceiverSockets {
    /// Tomcat's defaults on `ip`.
    pub fn new(ip: IpAddr) -> Self {
        Self {
            ip,
            port: 4000,
            auto_bind: 100,
            udp_port: None,
            backlog: 1024,
        }
    }
}

/// The socket for heartbeats and broadcasts (`McastServiceImpl`).
///
/// It is bound to the wildcard address and `port`, shared with every other node of the host, and hears only
/// the group it has joined.
#[derive(Clone, Debug)]
pub struct MulticastSocket {
    /// The group. Default 228.0.0.4.
    pub group: Ipv4Addr,
    /// The port. Default 45564; 0 lets the operating system choose one nobody else listens to.
    pub port: u16,
    /// A local address whose interface carries the group, both ways. Default `None`: the kernel's route to the
    /// group decides.
    pub bind: Option<Ipv4Addr>,
    /// How many routers a datagram may pass. Default 1, the local network; 0 keeps it on this host.
    pub ttl: u8,
    /// Whether other nodes on this host hear us. Default `true` (Tomcat's `localLoopbackDisabled` is `false`).
    pub loopback: bool,
}

impl Default for MulticastSocket {
    fn default() -> Self {
        Self {
            group: Ipv4Addr::new(228, 0, 0, 4),
            port: 45564,
            bind: None,
            ttl: 1,
            loopback: true,
        }
    }
}

/// Options of a stream socket, Tribes' where they are set.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// `TCP_NODELAY`. Default `true`.
    pub no_delay: bool,
    /// `SO_KEEPALIVE`. Default `false`.
    pub keep_alive: bool,
    /// `SO_RCVBUF` in bytes. Default `None`: the kernel sizes it by the traffic (Tribes: 65536).
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes. Default `None`: the kernel sizes it by the traffic (Tribes: 65536).
    pub send_buffer: Option<usize>,
    /// The traffic class of IPv4 packets. Default 0x1c, as `soTrafficClass`.
    pub traffic_class: Option<u8>,
    /// `TCP_USER_TIMEOUT`: a connection whose bytes nobody acknowledges for so long is reset. Default 20 s. Without it (`None`)
    /// the kernel goes on for a quarter of an hour, and messages that wait for no ACK vanish in a connection that died
    /// without a word.
    pub user_timeout: Option<Duration>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: false,
            receive_buffer: None,
            send_buffer: None,
            traffic_class: Some(0x1c),
            user_timeout: Some(Duration::from_secs(20)),
        }
    }
}

/// Budgets that keep one connection from holding up the others, and waiting times.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Bytes of the buffer that all connections are read into. Default 256 KiB; at least 64 KiB, the longest datagram. io_uring
    /// has buffers of twice as many bytes in all, so that some are filled while others are read.
    pub read_buffer: usize,
    /// Reads from one connection in one turn. Default 4; at least 1. With io_uring the buffers are the limit.
    pub reads_per_turn: u32,
    /// Bytes written to one connection in one turn. Default 1 MiB; at least 1.
    pub write_bytes_per_turn: usize,
    /// Connections accepted in one turn. Default 64; at least 1.
    pub accepts_per_turn: u32,
    /// Datagrams read in one turn. Default 64; at least 1.
    pub datagrams_per_turn: u32,
    /// Commands of one thread that follow each other within this time leave their bytes to be joined: who waited for
    /// an answer could not be so fast. Default 10 µs; zero writes after every command, unless one of another thread waits for the
    /// engine, which then writes for both.
    pub coalesce_within: Duration,
    /// After so many commands that left bytes, the command writes them itself. Default 64; at least 1.
    pub coalesce_commands: u32,
    /// How long bytes for which nobody waits ([`Handle::with_unhurried`](crate::Handle::with_unhurried)) are left to be joined after the
    /// last write: the first after a pause leave at once, what follows within this time together. Default 500 µs; zero writes
    /// after every command. What is left when no command follows, the driver thread writes a millisecond or two later.
    pub gather_within: Duration,
    /// How long the driver looks again and again for readiness before it sleeps, and a caller that drives in its place
    /// likewise. Default zero: it sleeps at once.
    ///
    /// A sleeping thread on another processor takes some 30 µs to wake on a virtual machine; a spin of 50 µs avoids that
    /// and costs up to a processor while messages flow. It adapts: after a few spins in vain it rests until answers come
    /// fast again.
    pub spin: Duration,
    /// A single caller that waits for answers one after another, closer together than this, waits for readiness itself
    /// ([`Handle::wait_until`](crate::Handle::wait_until)), and the driver thread stands by; it looks this often whether the
    /// caller still comes. Default 200 µs; zero leaves all waiting to the driver thread.
    ///
    /// It saves a thread switch a message. The price: input that comes just after the last of such waits is read up to
    /// this much later.
    pub lend: Duration,
    /// Threads that read and decode what peers send. Default 0: the driver thread does it all, which costs least CPU time; with more than
    /// one, each reads some of the connections, and decodes and applies session deltas before it takes the engine's lock. More than the processors
    /// that are free for it are of no use. Not used with io_uring.
    pub readers: usize,
    /// With io_uring: a stream that brings so many bytes in one turn is received by the ring from then on, until it has brought little for
    /// a while; the others are read as with mio. Default 32 KiB; 0 and 1 mean every stream from its first bytes on, and for good.
    pub ring_from: usize,
    /// With io_uring, where the kernel has it (Linux 5.19): one request of the ring accepts all connections (a multishot accept). Default
    /// `false`: by readiness, as with mio.
    ///
    /// Off because the kernel works off a killed process' requests only after the process has gone, and the request holds the listener: the
    /// port stays taken for some 10 ms, which a node that is started again at once would find. With this on, [`bind`](crate::bind()) looks at
    /// the first port for up to 250 ms before it tries the next. The driver thread waits in the ring from the beginning, so no caller waits in
    /// its place ([`lend`](Self::lend)); and a burst of peers is accepted before [`connections_max`](Self::connections_max) turns any of
    /// them away.
    pub ring_accept: bool,
    /// With io_uring, where the kernel has it (Linux 6.10): the ring writes to its streams, with one request for all that waits (a bundle of
    /// sends). Default `false`: a call does, as with mio.
    ///
    /// What the driver thread writes leaves with the submission that waits for more, and a stream that is full is the ring's too: its
    /// request waits for room. A caller writes to a stream that owes nothing itself, as ever. Large bodies are kept where they lie until the
    /// kernel has them, what is smaller is copied once more, up to 256 KiB; in all up to
    /// [`write_bytes_per_turn`](Self::write_bytes_per_turn) of a stream, besides the queue's bound. 32 streams at a time are sent to in this way,
    /// others by calls. Off because it depends on the load: streams of 64 KiB take a sixth to a fifth less CPU time, smaller messages and
    /// whole MiB take more (docs/tuning.md).
    pub ring_send: bool,
    /// How long accepting rests when the process has run out of descriptors. Default 100 ms.
    pub accept_rest: Duration,
    /// The most connections, accepted and opened. Default 65,536; the engine's own limit is usually far below.
    pub connections_max: u32,
}

impl Tuning {
    /// The same with everything in the ring that it can do: [`ring_from`](Self::ring_from) 0, [`ring_accept`](Self::ring_accept) and
    /// [`ring_send`](Self::ring_send). With mio it changes nothing but how patiently [`bind`](crate::bind()) looks at the first port.
    #[must_use]
    pub fn with_ring(mut self) -> Self {
        self.ring_from = 0;
        self.ring_accept = true;
        self.ring_send = true;
        self
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            read_buffer: 256 * 1024,
            reads_per_turn: 4,
            write_bytes_per_turn: 1024 * 1024,
            accepts_per_turn: 64,
            datagrams_per_turn: 64,
            coalesce_within: Duration::from_micros(10),
            coalesce_commands: 64,
            gather_within: Duration::from_micros(500),
            spin: Duration::ZERO,
            lend: Duration::from_micros(200),
            readers: 0,
            ring_from: 32 * 1024,
            ring_accept: false,
            ring_send: false,
            accept_rest: Duration::from_millis(100),
            connections_max: 65_536,
        }
    }
}
