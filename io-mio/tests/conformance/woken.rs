//! Who writes while the driver thread wakes those whose answers it has read.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Role, Toy, config, connect, run, stop, until};
use folkmoot_core::engine::ConnId;
use folkmoot_mio::{Handle, bind};

/// A client whose driver thread stands still once it has told of news and let go of the lock, as if its processor were given to others.
struct Standing {
    client: Handle<Toy>,
    conn: ConnId,
    stands: Receiver<()>,
    /// Dropped, it lets the driver thread go on for good.
    go_on: Sender<()>,
}

impl Standing {
    /// Connects to `addr`; `news` grows when the driver thread is to stand still.
    fn new(addr: SocketAddr, within: Duration, news: fn(&Toy) -> usize) -> Self {
        let mut config = config();
        config.tuning.coalesce_within = within;
        let (stood, stands) = channel();
        let (go_on, may_go_on) = channel();
        let may_go_on = Mutex::new(may_go_on);
        let armed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&armed);
        let mut known = 0;
        let turn = move |toy: &mut Toy, _| {
            let news = news(toy);
            if std::mem::replace(&mut known, news) < news {
                armed.store(true, Ordering::Release);
            }
        };
        let after = move || {
            let thread = std::thread::current();
            let driver = thread
                .name()
                .is_some_and(|name| name.starts_with("folkmoot-"));
            if driver && told.swap(false, Ordering::AcqRel) {
                // Both fail when the test is over.
                let _ = stood.send(());
                let _ = may_go_on.lock().unwrap().recv();
            }
        };
        let bound = bind(config).unwrap();
        let client = crate::driver::spawn_with(bound, Toy::new(Role::Count), turn, after).unwrap();
        let conn = connect(&client, addr);
        Self {
            client,
            conn,
            stands,
            go_on,
        }
    }

    /// What a command of this thread, or of `another`, adds to the commands that have left their bytes, and to the writes.
    fn send(&self, another: bool) -> (u64, u64) {
        let (client, conn) = (&self.client, self.conn);
        let send = || client.with(|toy, _| toy.send(conn, b"x"));
        let before = self.client.driver_stats();
        match another {
            true => std::thread::scope(|scope| scope.spawn(send).join().unwrap()),
            false => send(),
        }
        let after = self.client.driver_stats();
        (
            after.deferred - before.deferred,
            after.writes - before.writes,
        )
    }
}

#[test]
fn who_is_woken_leaves_one_message_to_a_driver_thread_that_stands_still_and_writes_the_next() {
    const LEFT: (u64, u64) = (1, 0);
    const WRITTEN: (u64, u64) = (0, 1);
    const CONNECTED: bool = false;
    const ANSWERED: bool = true;
    // So short that no two commands are a burst.
    let short = Duration::from_nanos(1);
    for (within, news, commands) in [
        // Whom should it have woken?
        (short, CONNECTED, &[(false, WRITTEN), (true, WRITTEN)][..]),
        (short, ANSWERED, &[(false, LEFT), (true, LEFT)][..]),
        // This thread has not waited for an answer.
        (
            short,
            ANSWERED,
            &[
                (false, LEFT),
                (false, WRITTEN),
                (false, WRITTEN),
                (true, LEFT),
            ][..],
        ),
        (
            Duration::ZERO,
            ANSWERED,
            &[(false, WRITTEN), (true, WRITTEN), (false, WRITTEN)][..],
        ),
    ] {
        let (server, addr) = run(Toy::new(Role::Echo));
        let standing = Standing::new(
            addr,
            within,
            match news {
                CONNECTED => |toy| toy.conns.values().filter(|c| c.connected).count(),
                ANSWERED => |toy| toy.conns.values().map(|c| c.received_len).sum(),
            },
        );
        let mut sent = commands.len();
        if news == ANSWERED {
            assert_eq!(standing.send(false), WRITTEN);
            sent += 1;
        }
        standing.stands.recv().unwrap();
        for (index, (another, expected)) in commands.iter().enumerate() {
            // No clock is so coarse.
            std::thread::sleep(Duration::from_micros(1));
            assert_eq!(
                standing.send(*another),
                *expected,
                "{within:?}: {index} of {commands:?}"
            );
        }
        let Standing { client, go_on, .. } = standing;
        drop(go_on);
        // It writes what was left to it.
        until(&server, |toy| {
            toy.conns
                .values()
                .any(|c| c.received_len == sent)
                .then_some(())
        });
        stop(&client);
        stop(&server);
    }
}
