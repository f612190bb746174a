//! Commands from other threads, timers, and the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{
    self, PATIENCE, Role, Toy, bound, config, connect, run, run_with, stop, until,
};
use folkmoot_core::engine::ConnId;
use folkmoot_mio::{Handle, Tuning, bind};
use socket2::{Domain, Socket, Type};

#[test]
fn eight_threads_lose_nothing_and_keep_their_order() {
    const THREADS: u32 = 8;
    const EACH: u32 = 5_000;
    let (server, addr) = run(Toy::new(Role::Collect));
    let (client, _) = run(Toy::new(Role::Collect));
    let conn = connect(&client, addr);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut record = [0; 8];
                    record[..4].copy_from_slice(&thread.to_be_bytes());
                    record[4..].copy_from_slice(&number.to_be_bytes());
                    client.with(|toy, _| toy.send(conn, &record));
                }
            });
        }
    });
    let total = (THREADS * EACH * 8) as usize;
    let received = until(&server, |toy| {
        let conn = toy.conns.values().next()?;
        (conn.received_len == total).then(|| conn.received.clone())
    });
    let mut expected = [0_u32; THREADS as usize];
    for record in received.chunks_exact(8) {
        let thread = u32::from_be_bytes(record[..4].try_into().unwrap()) as usize;
        let number = u32::from_be_bytes(record[4..].try_into().unwrap());
        assert_eq!(number, expected[thread], "thread {thread}");
        expected[thread] += 1;
    }
    assert_eq!(expected, [EACH; THREADS as usize]);
}

/// Commands in a row, with a setting by which they gather: none of them does at zero, all but the first and every 64th at an hour.
fn a_series(
    setting: fn(&mut Tuning) -> &mut Duration,
    send: impl Fn(&Handle<Toy>, ConnId),
    each_writes: bool,
) {
    const SENT: u64 = 1_000;
    // The first writes, and every 64th for the others.
    let gathered = SENT - 1 - SENT / 64;
    for (within, least, most) in [
        (Duration::ZERO, 0, 0),
        (Duration::from_secs(3600), gathered, SENT),
    ] {
        let (server, addr) = run(Toy::new(Role::Count));
        let mut config = config();
        *setting(&mut config.tuning) = within;
        let (client, _) = run_with(bind(config).unwrap(), Toy::new(Role::Count));
        let conn = connect(&client, addr);
        let before = client.driver_stats();
        for _ in 0..SENT {
            send(&client, conn);
        }
        let after = client.driver_stats();
        let deferred = after.deferred - before.deferred;
        assert!((least..=most).contains(&deferred), "{within:?}: {deferred}");
        if each_writes && most == 0 {
            assert_eq!(after.writes - before.writes, SENT);
        }
        // The driver looks by itself.
        until(&server, |toy| {
            toy.conns
                .values()
                .any(|c| c.received_len == 8_000)
                .then_some(())
        });
    }
}

#[test]
fn a_command_writes_by_itself_and_a_burst_gathers() {
    let send = |client: &Handle<Toy>, conn| client.with(|toy, _| toy.send(conn, b"12345678"));
    a_series(|tuning| &mut tuning.coalesce_within, send, true);
}

/// A thread that sends without a pause writes for itself and has the driver thread keep out of its way, which does the rest all the same:
/// reads, accepts, answers and looks at the time.
#[test]
fn a_thread_that_streams_holds_up_nobody() {
    const ROUNDS: usize = 20;
    let (server, addr) = run(Toy::new(Role::Count));
    let (node, here) = run(Toy::new(Role::Echo));
    let conn = connect(&node, addr);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                node.with(|toy, _| toy.send(conn, b"12345678"));
                sent += 8;
                if sent % (1 << 20) == 0 {
                    // The toy has no bound of its own.
                    until(&node, |toy| (toy.conns[&conn].queued == 0).then_some(()));
                }
            }
            sent
        });
        for round in 1..=ROUNDS {
            let mut peer = TcpStream::connect(here).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            peer.write_all(b"and me?").unwrap();
            let mut echo = [0; 7];
            peer.read_exact(&mut echo).unwrap();
            assert_eq!(&echo, b"and me?");
            node.with(|toy, now| toy.timer = Some(now + Duration::from_millis(1)));
            until(&node, |toy| (toy.fired == round).then_some(()));
        }
        over.store(true, Ordering::Relaxed);
        let sent = streaming.join().unwrap();
        // What it left last leaves without another command of its own.
        until(&server, |toy| {
            let mut conns = toy.conns.values();
            conns.any(|conn| conn.received_len == sent).then_some(())
        });
    });
    stop(&node);
    stop(&server);
}

#[test]
fn what_nobody_waits_for_gathers_and_leaves_without_another_command() {
    let send =
        |client: &Handle<Toy>, conn| client.with_unhurried(|toy, _| toy.send(conn, b"12345678"));
    a_series(|tuning| &mut tuning.gather_within, send, false);
}

#[test]
fn commands_that_send_nothing_make_no_burst() {
    let (server, addr) = run(Toy::new(Role::Count));
    let mut config = config();
    config.tuning.coalesce_within = Duration::from_secs(3600);
    let (client, _) = run_with(bind(config).unwrap(), Toy::new(Role::Count));
    let conn = connect(&client, addr);
    let before = client.driver_stats();
    for _ in 0..10 {
        client.with(|toy, _| toy.fired);
    }
    client.with(|toy, _| toy.send(conn, b"12345678"));
    let after = client.driver_stats();
    assert_eq!(after.deferred - before.deferred, 0);
    until(&server, |toy| {
        toy.conns
            .values()
            .any(|c| c.received_len == 8)
            .then_some(())
    });
}

#[test]
fn what_a_thread_waits_for_the_engine_is_no_pause_of_a_burst() {
    const WITHIN: Duration = Duration::from_secs(2);
    let (_server, addr) = run(Toy::new(Role::Count));
    let mut config = config();
    config.tuning.coalesce_within = WITHIN;
    let (client, _) = run_with(bind(config).unwrap(), Toy::new(Role::Count));
    let conn = connect(&client, addr);
    let send = || client.with(|toy, _| toy.send(conn, b"12345678"));
    let before = client.driver_stats();
    send();
    let (has_it, other_has_it) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.with(|_, _| {
                has_it.send(()).unwrap();
                std::thread::sleep(WITHIN + WITHIN / 4);
            })
        });
        other_has_it.recv().unwrap();
        send();
    });
    let after = client.driver_stats();
    assert_eq!(after.deferred - before.deferred, 1, "the second");
}

#[test]
fn a_nearer_deadline_wakes_the_driver() {
    let (node, _) = run(Toy::new(Role::Collect));
    for after in [
        Duration::from_secs(3600),
        Duration::from_millis(2),
        Duration::ZERO,
    ] {
        node.with(|toy, now| toy.timer = Some(now + after));
    }
    until(&node, |toy| (toy.fired == 1).then_some(()));
    node.with(|toy, now| toy.timer = Some(now + Duration::from_millis(1)));
    until(&node, |toy| (toy.fired == 2).then_some(()));
}

#[test]
fn a_turn_sees_every_change_and_may_run_commands() {
    let (server, addr) = run(Toy::new(Role::Echo));
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let client = crate::driver::spawn(bound(), Toy::new(Role::Collect), move |toy: &mut Toy, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        // Answers what comes in, ten times.
        let ids: Vec<_> = toy.conns.keys().copied().collect();
        for conn in ids {
            let received = toy.conns[&conn].received_len;
            if toy.conns[&conn].queued == 0 && (1..10).contains(&received) && toy.fired < received {
                toy.fired = received;
                toy.send(conn, b"x");
            }
        }
    })
    .unwrap();
    let conn = connect(&client, addr);
    client.with(|toy, _| toy.send(conn, b"x"));
    until(&client, |toy| {
        (toy.conns[&conn].received_len == 10).then_some(())
    });
    assert!(turns.load(Ordering::Relaxed) >= 10);
    stop(&client);
    stop(&server);
}

#[test]
fn waiting_ends_at_its_limit() {
    let (node, _) = run(Toy::new(Role::Collect));
    let mut attempts = 0;
    let answer: Option<()> = node.wait_for(Duration::from_millis(1), |_, _| {
        attempts += 1;
        None
    });
    assert!(answer.is_none() && attempts >= 2);
}

#[test]
fn a_goodbye_that_does_not_come_is_not_waited_for_longer_than_asked() {
    let (node, addr) = run(Toy::new(Role::Collect));
    assert!(!node.shutdown(Duration::from_millis(1), |_, _| (), |toy| toy.stopped));
    assert!(!node.is_running());
    assert!(TcpStream::connect(addr).is_err());
    // What is asked of it afterwards fails as if the network were gone.
    let conn = node.with(|toy, _| toy.connect(addr));
    assert!(node.inspect(|toy| toy.closed.iter().any(|(id, _)| *id == conn)));
    assert!(node.shutdown(PATIENCE, |toy, _| toy.stopped = true, |toy| toy.stopped));
}

#[test]
fn the_last_handle_closes_the_sockets() {
    let (server, addr) = run(Toy::new(Role::Collect));
    let (client, _) = run(Toy::new(Role::Collect));
    let _conn = connect(&client, addr);
    drop(client.clone());
    assert!(client.is_running());
    drop(client);
    until(&server, |toy| (toy.closed.len() == 1).then_some(()));
}

#[test]
fn calling_the_handle_from_its_own_command_is_refused_not_a_deadlock() {
    let mut config = config();
    config.tuning.coalesce_within = Duration::ZERO;
    let (node, _) = run_with(bind(config).unwrap(), Toy::new(Role::Collect));
    let inner = node.clone();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        node.with(|_, _| inner.with(|toy, _| toy.fired));
    }));
    assert!(refused.is_err());
    // Another engine's handle is fine, and so is this one afterwards.
    let (other, _) = run(Toy::new(Role::Collect));
    assert_eq!(node.with(|_, _| other.with(|toy, _| toy.fired)), 0);
    // Nobody waits for the refused one: bytes leave as ever.
    let (server, addr) = run(Toy::new(Role::Collect));
    let conn = connect(&node, addr);
    let before = node.driver_stats();
    for _ in 0..3 {
        std::thread::scope(|scope| {
            scope.spawn(|| node.with(|toy, _| toy.send(conn, b"x")));
        });
    }
    assert_eq!(node.driver_stats().deferred, before.deferred);
    until(&server, |toy| {
        toy.conns
            .values()
            .any(|c| c.received == b"xxx")
            .then_some(())
    });
    stop(&node);
}

#[test]
fn a_panic_in_a_command_is_the_commands_alone() {
    let (node, _) = run(Toy::new(Role::Collect));
    let (server, addr) = run(Toy::new(Role::Collect));
    let conn = connect(&node, addr);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        node.with(|toy, _| {
            toy.send(conn, b"before");
            panic!("the application's mistake");
        });
    }));
    assert!(panicked.is_err());
    // What it had asked for is done all the same.
    until(&server, |toy| {
        toy.conns
            .values()
            .any(|c| c.received == b"before")
            .then_some(())
    });
    stop(&node);
}

#[test]
fn a_panic_in_the_turn_on_the_driver_thread_is_seen_by_those_who_wait() {
    let armed = Arc::new(AtomicBool::new(false));
    let fuse = Arc::clone(&armed);
    let bound = bound();
    let addr = bound.receiver_addr();
    let node = crate::driver::spawn(bound, Toy::new(Role::Collect), move |_: &mut Toy, _| {
        assert!(!fuse.load(Ordering::Relaxed), "the application's mistake");
    })
    .unwrap();
    armed.store(true, Ordering::Relaxed);
    let _peer = TcpStream::connect(addr).unwrap();
    // Looking takes the lock but runs no turn, so only the driver thread meets the mistake.
    while node.is_running() {
        std::thread::yield_now();
    }
    armed.store(false, Ordering::Relaxed);
    // Nobody waits for a thread that is gone.
    assert!(node.wait_for(PATIENCE, |_, _| None::<()>).is_none());
    assert!(TcpStream::connect(addr).is_err());
}

/// Runs a test of this file again in a process of its own, by a line for the shell in which `"$@"` is the test; whether this is that process.
fn in_a_process_of_its_own(test: &str, line: &str) -> bool {
    const CHILD: &str = "FOLKMOOT_TEST_PROCESS";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let child = common::start(
        std::process::Command::new("sh")
            .args(["-c", line, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("commands::{test}")])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::piped()),
    );
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    false
}

#[test]
fn accepting_rests_without_descriptors_and_goes_on_with_them() {
    if !in_a_process_of_its_own(
        "accepting_rests_without_descriptors_and_goes_on_with_them",
        "ulimit -n 60 && exec \"$@\"",
    ) {
        return;
    }
    let mut config = config();
    config.tuning.accept_rest = Duration::from_millis(1);
    let (server, addr) = run_with(bind(config).unwrap(), Toy::new(Role::Collect));
    // With one descriptor left a peer is accepted, and there is none for a thread to read it by; with two the next is not accepted.
    for left in [1, 2] {
        let mut peers: Vec<Socket> = vec![];
        while let Ok(peer) = Socket::new(Domain::IPV4, Type::STREAM, None) {
            peers.push(peer);
        }
        peers.truncate(peers.len() - left);
        let errors = server.driver_stats().accept_errors;
        let asked = || server.with(|toy, _| toy.asked_to_accept);
        let all = asked() + peers.len();
        for peer in &peers {
            peer.connect(&addr.into()).unwrap();
        }
        while server.driver_stats().accept_errors == errors {
            assert!(
                asked() < all,
                "nobody is turned away for want of a descriptor"
            );
        }
        let kept = peers.split_off(peers.len() / 2 + peers.len() / 4);
        drop(peers);
        until(&server, |toy| (toy.asked_to_accept == all).then_some(()));
        until(&server, |toy| (toy.conns.len() == kept.len()).then_some(()));
        drop(kept);
        until(&server, |toy| (toy.conns.is_empty()).then_some(()));
    }
}
