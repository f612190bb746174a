//! What every driver does the same, with all that a ring can do done by it: connections are accepted by one multishot accept, and what
//! the driver thread writes, and what found no room, leaves in bundles of sends.
#![cfg(target_os = "linux")]

#[path = "bundles/cases.rs"]
mod bundles;
#[path = "changing/cases.rs"]
mod cases;
#[path = "../../io-mio/tests/conformance/channels.rs"]
mod channels;
#[path = "../../io-mio/tests/conformance/commands.rs"]
mod commands;
#[path = "../../io-mio/tests/conformance/common/mod.rs"]
mod common;
#[path = "../../io-mio/tests/conformance/datagrams.rs"]
mod datagrams;
mod driver;
#[path = "../../io-mio/tests/conformance/killed.rs"]
mod killed;
#[path = "../../io-mio/tests/conformance/streams.rs"]
mod streams;
#[path = "../../io-mio/tests/conformance/woken.rs"]
mod woken;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use bundles::{fill, peer, sends};
use common::{PATIENCE, Role, Toy, bound, config, run, run_with, stop};
use folkmoot_mio::bind;
use folkmoot_uring::support;

fn tune(tuning: &mut folkmoot_mio::Tuning) {
    driver::whole(tuning);
}

/// Or else the tests here would test less than they say.
#[test]
fn a_kernel_that_can_is_found_to() {
    let Ok(support) = support() else {
        return; // said by the others
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|word| word.parse::<u32>().ok());
    let version = (number().unwrap(), number().unwrap());
    assert!(support.accepts, "{release}");
    // An earlier one may have none, or some that the probe has found a fault in.
    assert!(support.sends || version < (6, 17), "{release}");
}

#[test]
fn the_ring_accepts_and_sends() {
    let (server, addr) = run(Toy::new(Role::Echo));
    let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
    for peer in &mut peers {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for text in [b"one", b"two"] {
            peer.write_all(text).unwrap();
            let mut echo = [0; 3];
            peer.read_exact(&mut echo).unwrap();
            assert_eq!(&echo, text);
        }
    }
    let stats = server.driver_stats();
    assert_eq!(stats.accepted, 20);
    if support().is_ok_and(|support| support.accepts) {
        assert_eq!(stats.ring_accepts, 20);
    }
    // The first echo is written by a call: what brings bytes for the first time is in the queue until then.
    assert!(stats.ring_sends >= 20 || !sends(), "{stats:?}");
    stop(&server);
}

#[test]
fn the_port_is_free_when_the_node_has_stopped() {
    let first = bound();
    let addr = first.receiver_addr();
    let (server, _) = run_with(first, Toy::new(Role::Collect));
    let (_peer, _) = peer(&server, addr);
    let _alone = common::nobody_starts();
    stop(&server);
    // Without the patience that `ring_accept` gives it.
    let mut config = config();
    config.tuning.ring_accept = false;
    config.receiver.port = addr.port();
    config.receiver.auto_bind = 1;
    bind(config).expect("the port is free again");
}

/// What is still under way keeps the driver for a moment; nobody is accepted meanwhile.
#[test]
fn a_node_that_ends_accepts_nobody() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (_peer, conn) = peer(&server, addr);
    fill(&server, conn);
    let stopping = {
        let server = server.clone();
        std::thread::spawn(move || stop(&server))
    };
    while server.is_running() {
        std::thread::yield_now();
    }
    let refused = TcpStream::connect(addr).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    stopping.join().unwrap();
}

/// Peers that nobody has let in yet when the node ends are turned away: their connections are not kept.
#[test]
fn who_connects_at_the_end_is_not_kept() {
    for _ in 0..20 {
        let (server, addr) = run(Toy::new(Role::Collect));
        let connecting = std::thread::spawn(move || {
            (0..50)
                .map_while(|_| TcpStream::connect(addr).ok())
                .collect::<Vec<_>>()
        });
        stop(&server);
        for mut peer in connecting.join().unwrap() {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            peer.shutdown(Shutdown::Write).ok();
            let ended = peer.read(&mut [0; 8]);
            assert!(!matches!(ended, Ok(1..)), "{ended:?}");
            if let Err(error) = ended {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "kept open");
            }
        }
    }
}
