//! Streams: both directions, at every speed, to every end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::common::{
    PATIENCE, Role, Toy, bound, config, connect, nobody_starts, pattern, run, run_with, stop, until,
};
use folkmoot_core::engine::CloseReason;
use folkmoot_mio::bind;

#[test]
fn what_is_sent_comes_back() {
    let (server, addr) = run(Toy::new(Role::Echo));
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = connect(&client, addr);
    for text in ["hello", "again"] {
        client.with(|toy, _| toy.send(conn, text.as_bytes()));
    }
    until(&client, |toy| {
        (toy.conns[&conn].received_len >= 10).then_some(())
    });
    assert_eq!(
        client.inspect(|toy| toy.conns[&conn].received.clone()),
        b"helloagain"
    );
    stop(&client);
    until(&server, |toy| (!toy.closed.is_empty()).then_some(()));
    assert_eq!(
        server.inspect(|toy| toy.closed[0].1),
        CloseReason::EndOfStream
    );
    stop(&server);
}

#[test]
fn bytes_asked_for_before_the_connection_stands_are_written_when_it_does() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (client, _) = run(Toy::new(Role::Collect));
    client.with(|toy, _| {
        let conn = toy.connect(addr);
        toy.send(conn, b"early");
    });
    until(&server, |toy| {
        toy.conns
            .values()
            .any(|c| c.received == b"early")
            .then_some(())
    });
}

#[test]
fn large_amounts_pass_both_ways_with_bounded_queues() {
    const LEN: usize = 8 << 20;
    let mut config = config();
    // Small kernel buffers make partial writes and full sockets. Windows that are smaller than a segment of the loopback interface would
    // make its TCP wait for its timers.
    config.streams.send_buffer = Some(16 * 1024);
    config.streams.receive_buffer = Some(128 * 1024);
    config.tuning.write_bytes_per_turn = 10_000;
    config.tuning.reads_per_turn = 1;
    let (server, addr) = run_with(bind(config.clone()).unwrap(), Toy::new(Role::Echo));
    let (client, _) = run_with(bind(config).unwrap(), Toy::new(Role::Collect));
    let conn = connect(&client, addr);
    let sent = pattern(LEN);
    for chunk in sent.chunks(77_777) {
        client.with(|toy, _| toy.send(conn, chunk));
    }
    until(&client, |toy| {
        (toy.conns[&conn].received_len == LEN).then_some(())
    });
    assert!(client.inspect(|toy| toy.conns[&conn].received == sent));
    // One read more than the bound can be in the queue when the peer is held back.
    let (largest, bound) = server.inspect(|toy| (toy.largest_queue, toy.queue_max));
    assert!(largest <= bound + 256 * 1024, "{largest}");
}

#[test]
fn a_peer_that_never_reads_is_held_back_and_holds_up_nobody() {
    let (server, addr) = run(Toy::new(Role::Echo));
    let deaf = TcpStream::connect(addr).unwrap();
    let mut mouth = deaf.try_clone().unwrap();
    // It sends for ever: the echo fills every buffer on the way back, and the server stops reading.
    let sending = std::thread::spawn(move || while mouth.write_all(&pattern(64 * 1024)).is_ok() {});
    until(&server, |toy| (toy.pauses > 0).then_some(()));
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = connect(&client, addr);
    client.with(|toy, _| toy.send(conn, b"still there?"));
    until(&client, |toy| {
        (toy.conns[&conn].received == b"still there?").then_some(())
    });
    until(&server, |toy| {
        toy.conns.values().any(|c| c.paused).then_some(())
    });
    server.inspect(|toy| {
        assert_eq!(toy.conns.len(), 2);
        assert!(toy.largest_queue <= toy.queue_max + 256 * 1024);
    });
    // Its reset is seen although nothing is read from it.
    deaf.shutdown(Shutdown::Both).unwrap();
    sending.join().unwrap();
    drop(deaf);
    until(&server, |toy| (!toy.closed.is_empty()).then_some(()));
}

#[test]
fn a_byte_at_a_time_arrives_whole() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let mut slow = TcpStream::connect(addr).unwrap();
    slow.set_nodelay(true).unwrap();
    let sent = pattern(2_000);
    for byte in sent.chunks(1) {
        slow.write_all(byte).unwrap();
    }
    until(&server, |toy| {
        toy.conns.values().any(|c| c.received == sent).then_some(())
    });
}

#[test]
fn a_peer_that_closed_its_own_direction_still_gets_its_answer() {
    for before in [0, 3] {
        let (_server, addr) = run(Toy::new(Role::Echo));
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..before {
            peer.write_all(b"more").unwrap();
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut answer = vec![];
        peer.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"last words");
    }
}

#[test]
fn a_direction_that_ends_when_all_is_written_ends_behind_it() {
    const LEN: usize = 12 << 20;
    let mut toy = Toy::new(Role::Collect);
    toy.end_when_written = true;
    let (server, addr) = run(toy);
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(b"go").unwrap();
    let conn = until(&server, |toy| {
        let mut conns = toy.conns.iter();
        conns.find_map(|(id, conn)| (conn.received_len == 2).then_some(*id))
    });
    let said = pattern(LEN);
    server.with(|toy, _| toy.send(conn, &said));
    let mut heard = vec![];
    peer.read_to_end(&mut heard).unwrap();
    assert!(heard == said, "{} of {LEN} bytes", heard.len());
}

#[test]
fn bytes_before_the_end_of_the_stream_arrive_before_it() {
    for len in [1, 100_000, 300_000, 3_000_000] {
        let (server, addr) = run(Toy::new(Role::Count));
        let mut peer = TcpStream::connect(addr).unwrap();
        let counted = std::thread::spawn(move || {
            peer.write_all(&pattern(len)).unwrap();
        });
        until(&server, |toy| (!toy.closed.is_empty()).then_some(()));
        counted.join().unwrap();
        let stats = server.driver_stats();
        assert_eq!(stats.bytes_read, len as u64);
        assert_eq!(
            server.inspect(|toy| toy.closed[0].1),
            CloseReason::EndOfStream,
            "{len}"
        );
    }
}

#[test]
fn a_refused_connection_is_told() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = client.with(|toy, _| toy.connect(nobody));
    until(&client, |toy| (!toy.closed.is_empty()).then_some(()));
    assert_eq!(
        client.inspect(|toy| toy.closed.clone()),
        [(conn, CloseReason::Refused)]
    );
    assert_eq!(client.driver_stats().connect_errors, 1);
    assert_eq!(client.driver_stats().connections, 0);
}

#[test]
fn a_reset_is_told() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let peer = TcpStream::connect(addr).unwrap();
    until(&server, |toy| (!toy.conns.is_empty()).then_some(()));
    socket2::SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    until(&server, |toy| (!toy.closed.is_empty()).then_some(()));
    assert_eq!(server.inspect(|toy| toy.closed[0].1), CloseReason::Reset);
    assert_eq!(server.driver_stats().stream_errors, 1);
}

#[test]
fn close_writes_what_waits_and_ends_the_stream() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let conn = until(&server, |toy| toy.conns.keys().next().copied());
    server.with(|toy, _| {
        toy.close(conn);
        toy.send(conn, b"goodbye");
    });
    let mut rest = vec![];
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"goodbye");
    assert_eq!(server.driver_stats().connections, 0);
    assert!(
        server.inspect(|toy| toy.closed.is_empty()),
        "the engine knows"
    );
}

#[test]
fn after_half_a_close_the_peer_reads_the_end_and_is_still_heard() {
    for before in [0, 1 << 20] {
        let (server, addr) = run(Toy::new(Role::Collect));
        let mut peer = TcpStream::connect(addr).unwrap();
        let conn = until(&server, |toy| toy.conns.keys().next().copied());
        let bytes = pattern(before + (1 << 20));
        peer.write_all(&bytes[..before]).unwrap();
        server.with(|toy, _| {
            toy.send(conn, b"the last");
            toy.half_close(conn);
        });
        let mut said = vec![];
        peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"the last");
        for part in bytes[before..].chunks(300_000) {
            peer.write_all(part).unwrap();
        }
        until(&server, |toy| {
            (toy.conns.get(&conn)?.received_len == bytes.len()).then_some(())
        });
        server.with(|toy, _| {
            assert!(toy.conns[&conn].received == bytes);
            assert_eq!(toy.closed, []);
        });
        drop(peer);
        let closed = until(&server, |toy| toy.closed.first().copied());
        assert_eq!(closed, (conn, CloseReason::EndOfStream));
        assert_eq!(server.driver_stats().connections, 0);
    }
}

#[test]
fn an_aborted_stream_delivers_nothing_more() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = until(&server, |toy| toy.conns.keys().next().copied());
    server.with(|toy, _| {
        toy.abort(conn);
        toy.send(conn, b"too late");
    });
    let mut rest = vec![];
    let error = peer.read_to_end(&mut rest).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(rest, b"");
    assert_eq!(server.driver_stats().connections, 0);
}

#[test]
fn an_engine_may_refuse_and_go_on_accepting() {
    let mut toy = Toy::new(Role::Collect);
    toy.accept_max = 2;
    let (server, addr) = run(toy);
    let peers: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
    until(&server, |toy| (toy.asked_to_accept == 5).then_some(()));
    let stats = server.driver_stats();
    assert_eq!(
        (stats.accepted, stats.refused, stats.connections),
        (5, 3, 2)
    );
    drop(peers);
    until(&server, |toy| (toy.closed.len() == 2).then_some(()));
    let _peer = TcpStream::connect(addr).unwrap();
    until(&server, |toy| (toy.conns.len() == 1).then_some(()));
}

#[test]
fn many_connections_at_once() {
    const PEERS: usize = 300;
    let (server, addr) = run(Toy::new(Role::Echo));
    let (client, _) = run(Toy::new(Role::Collect));
    let conns: Vec<_> = client.with(|toy, _| (0..PEERS).map(|_| toy.connect(addr)).collect());
    for (index, conn) in conns.iter().enumerate() {
        client.with(|toy, _| toy.send(*conn, &pattern(100 + index)));
    }
    until(&client, |toy| {
        conns
            .iter()
            .enumerate()
            .all(|(index, conn)| toy.conns[conn].received_len == 100 + index)
            .then_some(())
    });
    client.inspect(|toy| {
        for (index, conn) in conns.iter().enumerate() {
            assert_eq!(toy.conns[conn].received, pattern(100 + index));
        }
    });
    assert_eq!(server.driver_stats().connections, PEERS as u64);
    stop(&client);
    until(&server, |toy| (toy.closed.len() == PEERS).then_some(()));
    assert_eq!(server.driver_stats().connections, 0);
}

#[test]
fn a_paused_connection_is_read_again_when_resumed() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = until(&server, |toy| toy.conns.keys().next().copied());
    server.with(|toy, _| {
        toy.conns.get_mut(&conn).unwrap().paused = true;
        toy.pause(conn, true);
    });
    peer.write_all(b"patience").unwrap();
    drop(peer);
    // A second connection shows that the driver has had its turns.
    let (client, _) = run(Toy::new(Role::Collect));
    let other = connect(&client, addr);
    client.with(|toy, _| toy.send(other, b"x"));
    until(&server, |toy| {
        toy.conns
            .iter()
            .any(|(id, c)| *id != conn && c.received == b"x")
            .then_some(())
    });
    assert_eq!(server.inspect(|toy| toy.conns[&conn].received_len), 0);
    server.with(|toy, _| {
        toy.conns.get_mut(&conn).unwrap().paused = false;
        toy.pause(conn, false);
    });
    until(&server, |toy| (!toy.closed.is_empty()).then_some(()));
    assert_eq!(server.driver_stats().bytes_read, 9);
}

#[test]
fn a_node_comes_back_at_its_port() {
    let first = bound();
    let addr = first.receiver_addr();
    let (server, _) = run_with(first, Toy::new(Role::Echo));
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = connect(&client, addr);
    client.with(|toy, _| toy.send(conn, b"1"));
    until(&client, |toy| {
        (toy.conns[&conn].received_len == 1).then_some(())
    });
    let _alone = nobody_starts();
    stop(&server); // it closes first: its end of the connection lingers in TIME_WAIT
    until(&client, |toy| (!toy.closed.is_empty()).then_some(()));
    let mut config = config();
    config.receiver.port = addr.port();
    config.receiver.auto_bind = 1;
    let again = bind(config).expect("the port is free again");
    assert_eq!(again.receiver_addr(), addr);
}
