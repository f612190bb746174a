//! What the ring sends: what found no room, and what is under way when a stream ends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use folkmoot_core::engine::{CloseReason, ConnId};
use folkmoot_mio::{Handle, bind};
use folkmoot_uring::support;

use crate::common::{self, PATIENCE, Role, Toy, config, pattern, run, run_with, stop, until};

/// Whether a ring sends here; elsewhere calls do.
pub(crate) fn sends() -> bool {
    support().is_ok_and(|support| support.sends)
}

/// More than the sockets of a connection hold.
const LARGE: usize = 12 << 20;

/// A peer that has said something, so that its stream is the ring's.
pub(crate) fn peer(server: &Handle<Toy>, addr: SocketAddr) -> (TcpStream, ConnId) {
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(b"here").unwrap();
    let conn = until(server, |toy| {
        let mut conns = toy.conns.iter();
        conns.find_map(|(id, conn)| (conn.received == b"here").then_some(*id))
    });
    (peer, conn)
}

/// Has a stream say more than its sockets hold, until a bundle is under way that waits for room.
pub(crate) fn fill(server: &Handle<Toy>, conn: ConnId) -> Vec<u8> {
    let bytes = pattern(LARGE);
    for chunk in bytes.chunks(1 << 20) {
        server.with(|toy, _| toy.send(conn, chunk));
    }
    // What the kernel had no room for is a bundle's; nothing moves any more.
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let stats = server.driver_stats();
        if (stats.ring_sends > 0 || !sends()) && stats.bytes_written == before {
            return bytes;
        }
        before = stats.bytes_written;
    }
}

#[test]
fn a_callers_bytes_wait_for_room_in_the_ring() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (mut peer, conn) = peer(&server, addr);
    let said = fill(&server, conn);
    let mut heard = vec![0; said.len()];
    peer.read_exact(&mut heard).unwrap();
    assert!(heard == said, "in order");
    assert_eq!(server.driver_stats().bytes_written, said.len() as u64);
    stop(&server);
}

#[test]
fn a_stream_that_only_sends_comes_to_the_ring_when_it_is_full() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = common::connect(&client, listener.local_addr().unwrap());
    let (mut peer, _) = listener.accept().unwrap();
    let said = fill(&client, conn);
    let mut heard = vec![0; said.len()];
    peer.read_exact(&mut heard).unwrap();
    assert!(heard == said, "in order");
    stop(&client);
}

#[test]
fn what_the_ring_has_taken_arrives_although_the_stream_is_closed() {
    for half in [false, true] {
        let (server, addr) = run(Toy::new(Role::Collect));
        let (mut peer, conn) = peer(&server, addr);
        let said = fill(&server, conn);
        server.with(|toy, _| match half {
            true => toy.half_close(conn),
            false => {
                toy.conns.remove(&conn);
                toy.close(conn);
            }
        });
        // As much as was taken: what still waited in the engine is the engine's loss, as with a call that finds no room.
        let taken = server.driver_stats().bytes_written as usize;
        assert!(taken > 0 && taken < said.len());
        let mut heard = vec![];
        peer.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.len(), taken, "half: {half}");
        assert!(said.starts_with(&heard));
        if half {
            peer.write_all(b" and gone").unwrap();
            until(&server, |toy| {
                (toy.conns.get(&conn)?.received == b"here and gone").then_some(())
            });
            drop(peer);
            let closed = until(&server, |toy| toy.closed.first().copied());
            assert_eq!(closed, (conn, CloseReason::EndOfStream));
        }
        stop(&server);
    }
}

/// A node whose streams the kernel does not end because nobody reads them: whoever keeps them has to.
fn run_without_timeout() -> (Handle<Toy>, SocketAddr) {
    let mut config = config();
    config.streams.user_timeout = None;
    run_with(bind(config).unwrap(), Toy::new(Role::Collect))
}

/// Whether the kernel still has a connection from `local` to `remote` as established: a line of it has both ports, in hexadecimal.
fn is_established(local: u16, remote: u16) -> bool {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (local, remote) = (format!(":{local:04X}"), format!(":{remote:04X}"));
    table.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.len() > 3
            && words[1].ends_with(&local)
            && words[2].ends_with(&remote)
            && words[3] == ESTABLISHED
    })
}

#[test]
fn a_closed_stream_that_nobody_reads_is_not_kept_for_ever() {
    let (server, addr) = run_without_timeout();
    let (peer, conn) = peer(&server, addr);
    fill(&server, conn);
    let port = peer.local_addr().unwrap().port();
    assert!(is_established(addr.port(), port));
    server.with(|toy, _| {
        toy.conns.remove(&conn);
        toy.close(conn);
    });
    let since = std::time::Instant::now();
    while is_established(addr.port(), port) {
        assert!(since.elapsed() < PATIENCE, "kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    stop(&server);
}

#[test]
fn an_aborted_stream_gives_up_what_the_ring_has_taken() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (mut peer, conn) = peer(&server, addr);
    let said = fill(&server, conn);
    let taken = server.driver_stats().bytes_written as usize;
    server.with(|toy, _| {
        toy.conns.remove(&conn);
        toy.abort(conn);
    });
    let mut heard = vec![];
    let error = peer.read_to_end(&mut heard).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(said.starts_with(&heard) && heard.len() < taken);
    stop(&server);
}

#[test]
fn a_peer_that_goes_while_it_is_sent_to_is_told_once() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (peer, conn) = peer(&server, addr);
    fill(&server, conn);
    // Unread bytes make it a reset.
    drop(peer);
    let closed = until(&server, |toy| toy.closed.first().copied());
    assert_eq!(closed, (conn, CloseReason::Reset));
    assert_eq!(server.driver_stats().connections, 0);
    stop(&server);
    server.inspect(|toy| assert_eq!(toy.closed.len(), 1));
}

/// As many as bundles are, and more: the rest is written by calls.
#[test]
fn more_full_streams_than_bundles_are_all_served() {
    const PEERS: usize = 40;
    const EACH: usize = 1 << 20;
    let mut config = config();
    config.streams.send_buffer = Some(64 * 1024);
    let (server, addr) = run_with(bind(config).unwrap(), Toy::new(Role::Collect));
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    until(&server, |toy| {
        let heard = toy.conns.values().filter(|conn| conn.received_len > 0);
        (heard.count() == PEERS).then_some(())
    });
    let said = pattern(EACH);
    server.with(|toy, _| {
        let conns: Vec<_> = toy.conns.keys().copied().collect();
        for conn in conns {
            toy.send(conn, &said);
        }
    });
    // All are full before the first is read.
    until(&server, |toy| {
        let waiting = toy.conns.values().filter(|conn| conn.queued < EACH);
        (waiting.count() == PEERS).then_some(())
    });
    for peer in &mut peers {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = vec![0; EACH];
        peer.read_exact(&mut heard).unwrap();
        assert!(heard == said);
    }
    stop(&server);
}

/// How many bytes a peer hears that begins to read when the node has ended, and how many of them the driver had taken.
fn heard_at_the_end() -> (usize, usize) {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (mut peer, conn) = peer(&server, addr);
    let said = fill(&server, conn);
    let stopping = {
        let server = server.clone();
        std::thread::spawn(move || stop(&server))
    };
    while server.is_running() {
        std::thread::yield_now();
    }
    let mut heard = vec![];
    // What was given up makes it a reset.
    let _ = peer.read_to_end(&mut heard);
    assert!(said.starts_with(&heard));
    stopping.join().unwrap();
    (heard.len(), server.driver_stats().bytes_written as usize)
}

#[test]
fn the_end_waits_a_moment_for_what_is_under_way() {
    // A moment may be too short for a reader that gets no processor; several seldom are.
    let mut ends = (0..10).map(|_| heard_at_the_end());
    assert!(ends.any(|(heard, taken)| heard == taken), "never all of it");
}

#[test]
fn the_end_waits_for_no_one_who_does_not_read() {
    let (server, addr) = run_without_timeout();
    let (_peer, conn) = peer(&server, addr);
    fill(&server, conn);
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        stop(&server);
        ended.send(()).unwrap();
    });
    end.recv_timeout(PATIENCE).expect("it ends");
}
