//! What every driver does the same, while streams go to the ring and back.
#![cfg(target_os = "linux")]

#[path = "../../io-mio/tests/conformance/channels.rs"]
mod channels;
#[path = "../../io-mio/tests/conformance/commands.rs"]
mod commands;
#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;
mod driver;
#[path = "../../io-mio/tests/conformance/streams.rs"]
mod streams;
#[path = "../../io-mio/tests/waiting/cases.rs"]
mod waiting;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{Conn, PATIENCE, Role, Toy, pattern, run, stop};
use folkmoot_core::engine::ConnId;

/// By what they bring.
const RING_FROM: Option<usize> = None;

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
