//! Streams that go to the ring and back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use folkmoot_core::engine::ConnId;

use crate::common::{Conn, PATIENCE, Role, Toy, pattern, run, stop};

/// Nothing else is there that would have the driver enter the ring again.
#[test]
fn the_rings_last_stream_is_closed_when_the_engine_says_so() {
    const LARGE: usize = 300_000;
    let (server, addr) = run(Toy::new(Role::Count));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&pattern(LARGE)).unwrap();
    let came = server.wait_for(PATIENCE, |toy, _| {
        let whole =
            |(conn, state): (&ConnId, &Conn)| (state.received_len == LARGE).then_some(*conn);
        toy.conns.iter().find_map(whole)
    });
    let conn = came.expect("all has come");
    server.with(|toy, _| toy.close(conn));
    assert_eq!(stream.read(&mut [0; 8]).expect("the end of the stream"), 0);
    stop(&server);
}

/// A peer whose messages are large and small in turn, so that its stream is in the ring and in the queue in turn.
#[test]
fn a_stream_that_changes_its_place_keeps_its_bytes() {
    const LARGE: usize = 300_000;
    /// More than a stream may bring little before it goes back.
    const SMALL: usize = 200;
    let (server, addr) = run(Toy::new(Role::Echo));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = pattern(LARGE);
    let mut heard = vec![0; LARGE];
    for round in 0..10 {
        std::thread::scope(|scope| {
            let mut writer = stream.try_clone().unwrap();
            let sent = &sent;
            scope.spawn(move || writer.write_all(sent).unwrap());
            stream.read_exact(&mut heard).unwrap();
        });
        assert!(heard == sent, "round {round}, large");
        for number in 0..SMALL {
            let some = &sent[number..number + 8];
            stream.write_all(some).unwrap();
            let mut echo = [0; 8];
            stream.read_exact(&mut echo).unwrap();
            assert_eq!(some, echo, "round {round}, small");
        }
    }
    drop(stream);
    stop(&server);
}

/// The same of many at once that wait for nothing, so that a turn has more events than are worked off in one go, and a stream brings more while
/// it leaves.
#[test]
fn streams_that_change_their_places_together_keep_their_bytes() {
    const PEERS: usize = 24;
    const ROUNDS: usize = 6;
    const LARGE: usize = 100_000;
    const SMALL: usize = 400;
    const ALL: usize = ROUNDS * (LARGE + 8 * SMALL);
    let (server, addr) = run(Toy::new(Role::Echo));
    let sent = pattern(ALL);
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for peer in &peers {
            let mut reader = peer.try_clone().unwrap();
            reader.set_read_timeout(Some(PATIENCE)).unwrap();
            let sent = &sent;
            scope.spawn(move || {
                let mut heard = vec![0; ALL];
                reader.read_exact(&mut heard).unwrap();
                assert!(heard == *sent);
            });
        }
        let mut rest = &sent[..];
        for _ in 0..ROUNDS {
            let (large, small) = rest.split_at(LARGE);
            peers
                .iter_mut()
                .for_each(|peer| peer.write_all(large).unwrap());
            let (small, after) = small.split_at(8 * SMALL);
            for some in small.chunks(8) {
                peers
                    .iter_mut()
                    .for_each(|peer| peer.write_all(some).unwrap());
            }
            rest = after;
        }
    });
    drop(peers);
    stop(&server);
}
