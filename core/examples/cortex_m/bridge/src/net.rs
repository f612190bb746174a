//! The sockets.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::line::{self, Line, Message};

/// How long a connection may take, and a peer may leave bytes untaken.
const PATIENCE: Duration = Duration::from_secs(3);

type Streams = Arc<Mutex<BTreeMap<u64, TcpStream>>>;

/// Everything that is open.
pub(crate) struct Net {
    line: Line,
    group: SocketAddrV4,
    udp: UdpSocket,
    /// By the member's numbers.
    streams: Streams,
    /// Offered to the member, by our numbers.
    offered: Streams,
}

impl Net {
    pub(crate) fn new(
        line: Line,
        address: SocketAddrV4,
        group: SocketAddrV4,
    ) -> Result<Self, std::io::Error> {
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        udp.set_reuse_address(true)?;
        udp.bind(&SocketAddr::V4(SocketAddrV4::new(*group.ip(), group.port())).into())?;
        udp.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST)?;
        udp.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        udp.set_multicast_loop_v4(true)?;
        udp.set_multicast_ttl_v4(0)?;
        let net = Self {
            line,
            group,
            udp: udp.into(),
            streams: Streams::default(),
            offered: Streams::default(),
        };
        net.listen(address)?;
        net.hear()?;
        Ok(net)
    }

    /// Offers every connection to the member.
    fn listen(&self, address: SocketAddrV4) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(address)?;
        let (line, offered) = (self.line.clone(), self.offered.clone());
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { continue };
                let Ok(SocketAddr::V4(from)) = stream.peer_addr() else {
                    continue;
                };
                lock(&offered).insert(number as u64, stream);
                line.send(line::OFFERED, number as u64, &line::address(from));
            }
        });
        Ok(())
    }

    /// Hands every datagram to the member, its own heartbeats too.
    fn hear(&self) -> Result<(), std::io::Error> {
        let (udp, line) = (self.udp.try_clone()?, self.line.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                if let SocketAddr::V4(from) = from
                    && len + 6 <= line::CONTENT_MAX
                {
                    let content = [&line::address(from), &buffer[..len]].concat();
                    line.send(line::DATAGRAM, 0, &content);
                }
            }
        });
        Ok(())
    }

    /// Does what the member wants.
    pub(crate) fn take(&mut self, message: &Message<'_>) {
        let conn = message.conn;
        match message.kind {
            line::CONNECT => {
                if let Some(to) = line::read_address(message.content) {
                    self.connect(conn, to);
                }
            }
            line::BYTES => {
                let stream = lock(&self.streams).get(&conn).map(TcpStream::try_clone);
                if let Some(Ok(mut stream)) = stream
                    && stream.write_all(message.content).is_err()
                {
                    // Its reader sees the end and says so.
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                }
            }
            line::DATAGRAM => {
                let _ = self.udp.send_to(message.content, self.group);
            }
            line::ACCEPTED => {
                let stream = lock(&self.offered).remove(&conn);
                let accepted = message.content.first_chunk().copied().map(u64::from_be_bytes);
                if let (Some(stream), Some(conn)) = (stream, accepted) {
                    open(&self.line, &self.streams, conn, stream, false);
                }
            }
            line::CLOSE => drop(self.end(conn)),
            line::ABORT => {
                if let Some(stream) = self.end(conn) {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            }
            kind => eprintln!("the member says {kind}"),
        }
    }

    /// Forgets a connection, of which the member does not want to hear any more.
    fn end(&self, conn: u64) -> Option<TcpStream> {
        let stream = lock(&self.streams).remove(&conn)?;
        let _ = stream.shutdown(std::net::Shutdown::Read);
        Some(stream)
    }

    fn connect(&self, conn: u64, to: SocketAddrV4) {
        let (line, streams) = (self.line.clone(), self.streams.clone());
        std::thread::spawn(move || {
            match TcpStream::connect_timeout(&SocketAddr::V4(to), PATIENCE) {
                Ok(stream) => open(&line, &streams, conn, stream, true),
                Err(error) => line.send(line::CLOSED, conn, reason(&error)),
            }
        });
    }
}

fn reason(error: &std::io::Error) -> &'static [u8] {
    match error.kind() {
        ErrorKind::ConnectionRefused => b"refused",
        ErrorKind::ConnectionReset => b"reset",
        _ => b"failed",
    }
}

fn lock(streams: &Streams) -> std::sync::MutexGuard<'_, BTreeMap<u64, TcpStream>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection stands: the member gets what comes on it, until it ends or the member ends it. One that it asked for is
/// announced, once its bytes have a place to go.
fn open(line: &Line, streams: &Streams, conn: u64, stream: TcpStream, announce: bool) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Ok(mut from_peer) = stream.try_clone() else {
        line.send(line::CLOSED, conn, b"failed");
        return;
    };
    lock(streams).insert(conn, stream);
    if announce {
        line.send(line::CONNECTED, conn, &[]);
    }
    let (line, streams) = (line.clone(), streams.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; line::CONTENT_MAX];
        let why: &[u8] = loop {
            match from_peer.read(&mut buffer) {
                Ok(0) => break b"end",
                Ok(len) => line.send(line::BYTES, conn, &buffer[..len]),
                Err(error) => break reason(&error),
            }
        };
        if lock(&streams).remove(&conn).is_some() {
            line.send(line::CLOSED, conn, why);
        }
    });
}
