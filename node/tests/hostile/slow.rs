//! Peers that never finish and peers that never read.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use folkmoot::{Limits, ReceiverConfig};

use crate::forge::{BYTE_MESSAGE, channel_data, frame};
use crate::pair::{Pair, ended};
use crate::support::recorder::member;
use crate::support::wait::{SOON, until};

scenarios! {
    fn a_slow_loris_loses_its_connections(name) { slow_loris(name); }
    fn a_peer_that_leaves_its_acks_unread_loses_its_connection(name) { unread_acks(name); }
    fn a_member_that_never_reads_costs_others_nothing(name) { never_reads(name); }
    fn more_connections_than_allowed_are_refused(name) { too_many(name); }
}

const SHORT: Duration = Duration::from_millis(700);

fn slow_loris(name: &str) {
    let short = ReceiverConfig {
        frame_timeout: SHORT,
        ..ReceiverConfig::default()
    };
    let mut pair = Pair::start(name, |builder| builder.receiver(short));
    let mut streams: Vec<TcpStream> = (0..50).map(|_| pair.connect()).collect();
    let slow = frame(&channel_data(BYTE_MESSAGE, pair.attacker, b"hello"));
    // A byte now and then, never the last: each is progress, none is a frame.
    let mut bytes = slow[..slow.len() - 1].iter().copied();
    until("all of them are closed and counted", SOON, || {
        let done = pair.count(|stats| stats.bad.slow_frame);
        if done == 50 {
            return Ok(());
        }
        if let Some(byte) = bytes.next() {
            for stream in &mut streams {
                let _ = stream.write_all(&[byte]);
            }
        }
        pair.unharmed();
        Err(done)
    });
    assert!(streams.iter_mut().all(ended), "closed");
    let lines = pair.logged();
    assert!(
        lines
            .iter()
            .all(|line| line.contains("incomplete for too long")),
        "{lines:?}"
    );
    assert!(!lines.is_empty(), "logged");
    pair.unharmed();
}

/// Acknowledged messages without end, and nobody takes the ACKs.
fn unread_acks(name: &str) {
    let short = ReceiverConfig {
        frame_timeout: SHORT,
        ..ReceiverConfig::default()
    };
    let mut pair = Pair::start(name, |builder| builder.receiver(short));
    let mut stream = pair.connect();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let acknowledged = frame(&channel_data(BYTE_MESSAGE | 2, pair.attacker, b""));
    let burst = acknowledged.repeat(500);
    until("its connection is closed", SOON, || {
        match stream.write_all(&burst) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(pair.count(|stats| stats.acks_sent)),
        }
    });
    assert_eq!(pair.count(|stats| stats.bad.unread_acks), 1, "counted");
    assert_eq!(pair.logged().len(), 1, "logged");
    pair.unharmed();
}

/// A verified member whose receiver accepts and reads nothing: its queue has a bound, and the
/// bystander gets every change.
fn never_reads(name: &str) {
    let limits = Limits {
        queue_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let pair = Pair::start(name, |builder| builder.limits(limits));
    let stalled = Stalled::join(pair.attacker);
    until("the stalled peer is a member", SOON, || {
        match pair.victim.cluster.members().len() {
            2 => Ok(()),
            members => Err(members),
        }
    });
    let manager = &pair.victim.manager;
    for round in 0..400_u32 {
        // Incompressible to nobody: 40 MB altogether, forty times what may wait.
        assert!(manager.access(&pair.session), "the session lives");
        manager
            .set_attribute(&pair.session, "big", vec![round as u8; 100_000])
            .expect("set");
        manager
            .set_attribute(&pair.session, "round", i32::try_from(round).expect("small"))
            .expect("set");
        manager
            .request_completed(&pair.session)
            .expect("no change is refused for the stalled one's sake");
        manager.end_access(&pair.session);
        if round % 20 == 0 {
            until("the bystander keeps up", SOON, || {
                let (seen, expected) = [&pair.bystander, &pair.victim]
                    .map(|node| node.manager.attribute(&pair.session, "round"))
                    .into();
                if seen == expected { Ok(()) } else { Err(seen) }
            });
        }
    }
    until("the bystander has the last change", SOON, || {
        let (seen, expected) = [&pair.bystander, &pair.victim]
            .map(|node| node.manager.attribute(&pair.session, "round"))
            .into();
        if seen == expected { Ok(()) } else { Err(seen) }
    });
    let stats = pair.victim.cluster.stats();
    assert!(
        stats.queue_full > 0 || stats.frames_lost > 0,
        "its queue was full: {stats:?}"
    );
    drop(stalled);
}

/// Accepts connections and never reads from them; heartbeats as a living member does.
pub(crate) struct Stalled(Arc<AtomicBool>);

impl Stalled {
    pub(crate) fn join(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a receiver");
        let running = Arc::new(AtomicBool::new(true));
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                kept.push(stream);
            }
        });
        let beating = Arc::clone(&running);
        std::thread::spawn(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
            socket.set_multicast_ttl_v4(0).expect("a TTL");
            let mut alive_ms = 0;
            while beating.load(Ordering::Relaxed) {
                let _ = socket.send_to(&member(address, alive_ms, b""), ("228.0.0.4", 45564));
                std::thread::sleep(Duration::from_millis(100));
                alive_ms += 100;
            }
        });
        Self(running)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn too_many(name: &str) {
    let limits = Limits {
        connections_max: 32,
        ..Limits::default()
    };
    let mut pair = Pair::start(name, |builder| builder.limits(limits));
    let streams: Vec<TcpStream> = (0..200).map(|_| pair.connect()).collect();
    until("the table has a bound", SOON, || {
        match pair.count(|stats| stats.accepts) {
            accepts if accepts >= 200 => Ok(()),
            accepts => Err((accepts, pair.count(|stats| stats.accepts_refused))),
        }
    });
    pair.unharmed();
    drop(streams);
    pair.unharmed();
}
