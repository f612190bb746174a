//! Many connections: more edges than are fetched at once, and ends of every kind while buffers are being filled.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::common::{Role, Toy, connect, pattern, run, stop, until};

/// Descriptors are counted, and few enough for a process that may have a thousand.
static ALONE: Mutex<()> = Mutex::new(());

/// Connections in each of three waves; the first fills what stays for good.
const WAVE: usize = 1_500;
const THREADS: usize = 3;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.unwrap().parse().unwrap()
}

/// One stranger: says something, hears some of it, and goes in its own way.
fn visit(addr: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let said = pattern(1 + number * 7_919 % 150_000);
    // It may be closed under our hands.
    if stream.write_all(&said).is_err() {
        return;
    }
    match number % 5 {
        // All of the echo, to the last byte.
        0 => {
            let _ = stream.shutdown(Shutdown::Write);
            let mut heard = vec![];
            if stream.read_to_end(&mut heard).is_ok() {
                assert!(said.starts_with(&heard));
            }
        }
        // Some of it, then gone: a reset, since bytes were left.
        1 => drop(stream.read(&mut [0; 100])),
        // A reset while the server still reads.
        2 => socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap(),
        3 => drop(stream.shutdown(Shutdown::Both)),
        _ => {}
    }
}

#[test]
fn nothing_is_lost_or_kept_when_connections_end_in_every_way() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, addr) = run(Toy::new(Role::Echo));
    let (steady, _) = run(Toy::new(Role::Collect));
    let conn = connect(&steady, addr);
    let ours = until(&server, |toy| toy.conns.keys().next().copied());
    let mut said = 0;
    let mut before = (0, 0);
    for wave in 0..3 {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let visitors: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        for number in (thread..WAVE).step_by(THREADS) {
                            visit(addr, number);
                        }
                    })
                })
                .collect();
            // The engine gives up strangers, too, at moments of its own.
            let giving_up = scope.spawn(|| {
                let mut turn = 0;
                while !over.load(Ordering::Relaxed) {
                    turn += 1;
                    server.with(|toy, _| {
                        let chosen = toy.conns.keys().copied().find(|conn| *conn != ours);
                        if let Some(conn) = chosen {
                            toy.conns.remove(&conn);
                            match turn % 2 {
                                0 => toy.abort(conn),
                                _ => toy.close(conn),
                            }
                        }
                    });
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            // Meanwhile one connection of ours hears every byte it says, in order.
            while !visitors
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                steady.with(|toy, _| toy.send(conn, &pattern(10_000)));
                said += 10_000;
                until(&steady, |toy| {
                    let conn = toy.conns.get_mut(&conn).unwrap();
                    (conn.received_len == said).then(|| {
                        assert!(conn.received == pattern(10_000), "in order");
                        conn.received.clear();
                    })
                });
            }
            over.store(true, Ordering::Relaxed);
            giving_up.join().unwrap();
        });
        until(&server, |toy| (toy.conns.len() == 1).then_some(()));
        // The last descriptors are closed when the driver has ended their requests: after its next turn.
        server.with(|toy, _| toy.closed.clear());
        for _ in 0..1_000 {
            if server.driver_stats().connections == 1 && (wave == 0 || descriptors() <= before.0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if wave == 0 {
            std::thread::sleep(Duration::from_millis(200));
            before = (descriptors(), resident_kib());
        }
    }
    assert!(
        descriptors() <= before.0,
        "{} descriptors, {} before",
        descriptors(),
        before.0
    );
    assert!(
        resident_kib() <= before.1 + 16 * 1024,
        "{} KiB, {} before",
        resident_kib(),
        before.1
    );
    let stats = server.driver_stats();
    // Some were reset before they could be accepted.
    assert!(stats.accepted + stats.accept_errors > 2 * WAVE as u64);
    stop(&steady);
    stop(&server);
}

/// While the ring watches the readiness queue it is told that something is ready, not of how much: all of it is worked off.
#[test]
fn more_connections_than_are_fetched_at_once_are_all_heard() {
    /// The queue tells of 256 in one call.
    const PEERS: usize = 400;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, addr) = run(Toy::new(Role::Count));
    // Each is in the queue until it brings something.
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    let mut in_the_ring = TcpStream::connect(addr).unwrap();
    in_the_ring.write_all(b"first").unwrap();
    until(&server, |toy| {
        let first = toy.conns.values().any(|conn| conn.received_len == 5);
        (toy.conns.len() == PEERS + 1 && first).then_some(())
    });
    // Under the lock, so that nobody can work off an edge before all have been made.
    server.with(|_, _| {
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
    });
    until(&server, |toy| {
        let heard = toy.conns.values().all(|conn| conn.received_len > 0);
        heard.then_some(())
    });
    stop(&server);
}
