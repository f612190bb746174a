//! Callers that wait for answers: woken by the driver, or driving themselves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use folkmoot_core::engine::ConnId;
use folkmoot_mio::{Handle, bind};

use crate::common::{PATIENCE, Role, Toy, config, connect, run, stop};
use crate::driver::spawn_with;

const FOREVER: Duration = Duration::from_secs(3600);

/// A node whose waiting threads learn how many bytes have come on the first connection.
struct Client {
    handle: Handle<Toy>,
    came: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<Thread>>>,
}

impl Client {
    fn new(lend: Duration) -> Self {
        let mut config = config();
        config.tuning.lend = lend;
        let (came, threads) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<Thread>>>::default(),
        );
        let (told, woken) = (Arc::clone(&came), Arc::clone(&threads));
        let turn = move |toy: &mut Toy, _| {
            let len = toy.conns.values().map(|conn| conn.received_len).sum();
            told.store(len, Ordering::Release);
        };
        let after = move || woken.lock().unwrap().iter().for_each(Thread::unpark);
        let bound = bind(config).unwrap();
        let handle = spawn_with(bound, Toy::new(Role::Count), turn, after).unwrap();
        Self {
            handle,
            came,
            threads,
        }
    }

    /// Sends 8 bytes and waits until `total` have come back, or more.
    fn call(&self, conn: ConnId, total: usize) -> bool {
        self.handle.with(|toy, _| toy.send(conn, b"12345678"));
        self.wait(total)
    }

    fn wait(&self, total: usize) -> bool {
        self.handle
            .wait_until(|| self.came.load(Ordering::Acquire) >= total)
    }

    fn enlist(&self) {
        self.threads.lock().unwrap().push(std::thread::current());
    }
}

fn echo() -> (Handle<Toy>, SocketAddr) {
    run(Toy::new(Role::Echo))
}

#[test]
fn a_caller_alone_drives_if_it_may_and_loses_nothing() {
    const CALLS: usize = 2_000;
    for (lend, drives) in [(Duration::ZERO, false), (FOREVER, true)] {
        let (server, addr) = echo();
        let client = Client::new(lend);
        client.enlist();
        let conn = connect(&client.handle, addr);
        for call in 1..=CALLS {
            assert!(client.call(conn, call * 8));
        }
        let lent = client.handle.driver_stats().lent;
        assert_eq!(lent > CALLS as u64 / 2, drives, "{lend:?}: {lent}");
        // The driver thread comes back for the end, however long it would have stood by.
        stop(&client.handle);
        stop(&server);
    }
}

#[test]
fn a_thread_with_many_callers_writes_once_for_all_and_drives_from_its_first_wait() {
    const ROUNDS: usize = 500;
    const CALLERS: usize = 32;
    for (lend, drives) in [(Duration::ZERO, false), (Duration::from_micros(200), true)] {
        let (server, addr) = echo();
        let client = Client::new(lend);
        client.enlist();
        let conn = connect(&client.handle, addr);
        let before = client.handle.driver_stats();
        for round in 1..=ROUNDS {
            for _ in 0..CALLERS {
                client
                    .handle
                    .with_more(|toy, _| toy.send(conn, b"12345678"));
            }
            let total = round * CALLERS * 8;
            let came = || client.came.load(Ordering::Acquire) >= total;
            assert!(client.handle.drive_until(came));
        }
        let stats = client.handle.driver_stats();
        let writes = stats.writes - before.writes;
        assert!(writes < 2 * ROUNDS as u64, "{lend:?}: {writes} writes");
        assert_eq!(stats.lent > 0, drives, "{lend:?}: {}", stats.lent);
        // What is left by a thread that does not come back is written with what comes next.
        client
            .handle
            .with_more(|toy, _| toy.send(conn, b"12345678"));
        client.handle.with(|toy, _| toy.send(conn, b"12345678"));
        assert!(client.wait((ROUNDS * CALLERS + 2) * 8));
        stop(&client.handle);
        stop(&server);
    }
}

#[test]
fn the_driver_comes_back_when_nobody_waits() {
    let (server, addr) = echo();
    let client = Client::new(Duration::from_millis(1));
    client.enlist();
    let conn = connect(&client.handle, addr);
    for call in 1..=100 {
        assert!(client.call(conn, call * 8));
    }
    // Nobody drives now, and the answer is seen all the same.
    client.handle.with(|toy, _| toy.send(conn, b"12345678"));
    let seen = client.handle.wait_for(PATIENCE, |toy, _| {
        (toy.conns[&conn].received_len == 808).then_some(())
    });
    assert!(seen.is_some());
    stop(&client.handle);
    stop(&server);
}

#[test]
fn callers_that_come_and_go_all_get_their_answers() {
    const THREADS: usize = 4;
    const EACH: usize = 3_000;
    let (server, addr) = echo();
    // Each has a node's worth of answers to itself only in sum: whoever waits needs as many as were sent before.
    let client = Client::new(FOREVER);
    let conn = connect(&client.handle, addr);
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, sent) = (&client, &sent);
            scope.spawn(move || {
                client.enlist();
                for call in 0..EACH {
                    let total = client.handle.with(|toy, _| {
                        toy.send(conn, b"12345678");
                        sent.fetch_add(8, Ordering::Relaxed) + 8
                    });
                    assert!(client.wait(total));
                    // Now and then one is alone for a while.
                    if call % 500 == thread * 100 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
    });
    assert_eq!(client.came.load(Ordering::Acquire), THREADS * EACH * 8);
    stop(&client.handle);
    stop(&server);
}

#[test]
fn a_wait_ends_when_the_driver_does() {
    for lend in [Duration::ZERO, FOREVER] {
        let (server, addr) = echo();
        let client = Client::new(lend);
        let conn = connect(&client.handle, addr);
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.enlist();
                for call in 1..=50 {
                    assert!(client.call(conn, call * 8));
                }
                begun.store(true, Ordering::Release);
                assert!(!client.wait(usize::MAX), "nothing more comes");
            });
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            stop(&client.handle);
        });
        assert!(!client.wait(usize::MAX), "nor afterwards");
        stop(&server);
    }
}

#[test]
fn a_turn_that_panics_on_a_callers_thread_ends_the_driver() {
    let (server, addr) = echo();
    let mut config = config();
    config.tuning.lend = FOREVER;
    let came = Arc::<AtomicUsize>::default();
    let told = Arc::clone(&came);
    let caller = std::thread::current();
    let (me, woken) = (caller.id(), caller);
    let turn = move |toy: &mut Toy, _| {
        let len = toy.conns.values().map(|conn| conn.received_len).sum();
        let news = told.swap(len, Ordering::AcqRel) != len;
        let mine = std::thread::current().id() == me;
        assert!(!(news && mine && len > 800), "the application's mistake");
    };
    let after = move || woken.unpark();
    let handle = spawn_with(bind(config).unwrap(), Toy::new(Role::Count), turn, after).unwrap();
    let conn = connect(&handle, addr);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for call in 1..=1000 {
            handle.with(|toy, _| toy.send(conn, b"12345678"));
            handle.wait_until(|| came.load(Ordering::Acquire) >= call * 8);
        }
    }));
    assert!(panicked.is_err());
    assert!(!handle.wait_until(|| false), "the driver has ended");
    stop(&server);
}
