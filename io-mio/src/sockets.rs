//! Every socket of a node, and what each still owes.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use folkmoot_core::engine::ConnId;
use folkmoot_core::time::Instant;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::bind::Bound;
use crate::config::{StreamOptions, Tuning};
use crate::drive::Watch;
use crate::readers::Readers;
use crate::stats::DriverStats;
use crate::stream::{Phase, Stream, Streams};
use crate::udp::Datagrams;

/// The sockets and the queues of work that one turn leaves to the next.
pub(crate) struct Sockets {
    pub(crate) watch: Box<dyn Watch>,
    pub(crate) listener: Option<TcpListener>,
    pub(crate) datagrams: Datagrams,
    pub(crate) streams: Streams,
    /// Threads that read accepted streams.
    pub(crate) readers: Readers,
    /// Streams with more to read than one turn allows.
    pub(crate) ready: VecDeque<ConnId>,
    /// Streams with something to write.
    pub(crate) dirty: Vec<ConnId>,
    /// The listener has more peers than one turn allows.
    pub(crate) accept_ready: bool,
    /// The group or the UDP receiver has more datagrams than one turn allows.
    pub(crate) datagrams_ready: bool,
    /// Accepting rests until then.
    pub(crate) accept_at: Option<Instant>,
    /// Accepted, and without the descriptor that a reading thread needs: the next to be let in.
    pub(crate) at_the_door: Option<(TcpStream, SocketAddr)>,
    options: StreamOptions,
    pub(crate) tuning: Tuning,
    pub(crate) stats: DriverStats,
    /// After the end nothing is opened any more.
    closed: bool,
}

impl Sockets {
    /// Has what [`bind`](crate::bind()) opened watched.
    pub(crate) fn new(bound: Bound, mut watch: Box<dyn Watch>) -> io::Result<Self> {
        let Bound {
            config,
            mut listener,
            mut udp,
            mut group,
            ..
        } = bound;
        watch.started(&mut listener, udp.as_mut(), group.as_mut())?;
        let group_addr = config
            .multicast
            .as_ref()
            .zip(group.as_ref().and_then(|socket| socket.local_addr().ok()))
            .map(|(multicast, local)| SocketAddrV4::new(multicast.group, local.port()));
        Ok(Self {
            watch,
            listener: Some(listener),
            datagrams: Datagrams::new(group, group_addr, udp),
            streams: Streams::default(),
            readers: Readers::default(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            accept_ready: false,
            datagrams_ready: false,
            accept_at: None,
            at_the_door: None,
            options: config.streams,
            tuning: config.tuning,
            stats: DriverStats::default(),
            closed: false,
        })
    }

    /// Starts a connection; readiness tells how it went.
    pub(crate) fn connect(&mut self, conn: ConnId, to: SocketAddr) -> io::Result<()> {
        self.stats.connects += 1;
        if self.closed {
            return Err(io::Error::other("the driver has stopped"));
        }
        if self.is_full() || conn.slot() >= self.tuning.connections_max {
            return Err(io::Error::other("connections_max streams are open"));
        }
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        self.configure(SockRef::from(&socket), to)?;
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(libc::EINPROGRESS)
                    || error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let socket = TcpStream::from_std(socket.into());
        self.adopt(conn, socket, to, Phase::Connecting)
    }

    /// Takes a stream into the table and registers it for both directions.
    pub(crate) fn adopt(
        &mut self,
        conn: ConnId,
        mut socket: TcpStream,
        peer: SocketAddr,
        phase: Phase,
    ) -> io::Result<()> {
        let connecting = phase == Phase::Connecting;
        self.watch.opened(conn, &mut socket, connecting)?;
        if let Some(former) = self.streams.insert(Stream::new(conn, socket, peer, phase)) {
            tracing::error!(conn = ?former.conn, peer = %former.peer, "the engine reused a slot it had not closed");
        }
        self.stats.connections = self.streams.len() as u64;
        Ok(())
    }

    /// Takes an accepted stream into the table, to be written to here and read by a thread.
    pub(crate) fn adopt_elsewhere(
        &mut self,
        conn: ConnId,
        mut socket: TcpStream,
        duplicate: TcpStream,
        peer: SocketAddr,
    ) -> io::Result<()> {
        self.watch.opened_for_writing(conn, &mut socket)?;
        let paused = self.readers.read(conn, duplicate);
        let mut stream = Stream::new(conn, socket, peer, Phase::Open);
        stream.elsewhere = Some(paused);
        if let Some(former) = self.streams.insert(stream) {
            tracing::error!(conn = ?former.conn, peer = %former.peer, "the engine reused a slot it had not closed");
        }
        self.stats.connections = self.streams.len() as u64;
        Ok(())
    }

    /// Forgets a stream and closes it.
    pub(crate) fn release(&mut self, conn: ConnId) -> Option<SocketAddr> {
        let stream = self.streams.remove(conn)?;
        self.stats.connections = self.streams.len() as u64;
        if stream.elsewhere.is_some() {
            self.readers.close(conn);
        }
        self.watch.released(conn, stream.socket);
        Some(stream.peer)
    }

    /// Options of an accepted or opened stream. Only a buffer size is worth failing for: it was asked for.
    pub(crate) fn configure(&self, socket: SockRef<'_>, peer: SocketAddr) -> io::Result<()> {
        let options = &self.options;
        if options.no_delay {
            socket.set_tcp_nodelay(true)?;
        }
        if options.keep_alive {
            socket.set_keepalive(true)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        #[cfg(target_os = "linux")]
        if let Some(time) = options.user_timeout
            && let Err(error) = socket.set_tcp_user_timeout(Some(time))
        {
            tracing::debug!(%error, %peer, "cannot set the time after which a dead connection ends");
        }
        if let (Some(class), true) = (options.traffic_class, peer.is_ipv4())
            && let Err(error) = socket.set_tos_v4(class.into())
        {
            tracing::debug!(%error, %peer, "cannot set the traffic class");
        }
        Ok(())
    }

    /// Whether no stream may be added.
    pub(crate) fn is_full(&self) -> bool {
        self.streams.len() >= self.tuning.connections_max as usize
    }

    /// Notes that a stream has something to write.
    pub(crate) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(stream) = self.streams.get_mut(conn)
            && stream.can_write()
            && !stream.in_dirty
        {
            stream.in_dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Notes that a stream may have more to read.
    pub(crate) fn mark_ready(&mut self, conn: ConnId) {
        if let Some(stream) = self.streams.get_mut(conn)
            && !stream.in_ready
        {
            stream.in_ready = true;
            self.ready.push_back(conn);
        }
    }

    /// Whether the driver thread must not sleep.
    pub(crate) fn has_work(&self) -> bool {
        self.has_reading() || !self.dirty.is_empty()
    }

    /// Whether the driver thread has something to read or to accept.
    pub(crate) fn has_reading(&self) -> bool {
        !self.ready.is_empty() || self.accept_ready || self.datagrams_ready || self.watch.has_work()
    }

    /// Closes everything. Nothing can be opened afterwards.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for conn in self.streams.ids() {
            self.release(conn);
        }
        self.listener = None;
        self.datagrams = Datagrams::new(None, None, None);
        self.ready.clear();
        self.dirty.clear();
        self.accept_ready = false;
        self.datagrams_ready = false;
        self.accept_at = None;
        self.at_the_door = None;
    }
}
