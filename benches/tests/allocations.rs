//! What messages and deltas allocate in the steady state, both ends together, without an operating system. Sockets are
//! in `io-mio/tests/allocations.rs`.

use folkmoot_benches::allocations::{self, Counted};
use folkmoot_benches::machines::{BATCH, Channels, Clusters};
use folkmoot_core::session::EventType;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Runs of what is counted.
const RUNS: u64 = 20;

/// The fewest allocations of `work` in several runs: buffers grow to their size in the first ones.
fn fewest(mut work: impl FnMut()) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..RUNS {
        let before = allocations::so_far();
        work();
        fewest = fewest.min(allocations::so_far() - before);
    }
    fewest
}

/// Requests counted at once.
const REQUESTS: u64 = 50;

/// Allocations of a request whose name and value the application has made, at most: the value's bytes, what counts who shares them, the
/// name, and what counts those. The receiver has none.
const OWNED_MAX: f64 = 4.0;

/// One test, so that no other allocates meanwhile.
#[test]
fn neither_messages_nor_deltas_allocate() {
    allocations::count();
    let mut channels = Channels::new().expect("two members");
    for options in [0, 2, 6, 8] {
        let count = fewest(|| channels.batch(options, &[7; 512]).expect("room"));
        assert_eq!(count, 0, "options {options}: in {BATCH} messages");
    }
    let mut clusters = Clusters::new().expect("two members");
    clusters.tell_every_use().expect("the session is there");
    type Request = fn(&mut Clusters) -> folkmoot_benches::Result<()>;
    let requests: [(&str, Request, EventType, u64); 4] = [
        (
            "a new value of 1 KiB",
            Clusters::change,
            EventType::SessionDelta,
            1,
        ),
        (
            "added and removed",
            Clusters::add_and_remove,
            EventType::SessionDelta,
            2,
        ),
        (
            "nothing changed",
            Clusters::look,
            EventType::SessionDelta,
            1,
        ),
        ("used", Clusters::touch, EventType::SessionAccessed, 1),
    ];
    for options in [8, 6, 2, 0] {
        clusters.set_options(options);
        for (name, request, kind, messages) in requests {
            let before = clusters.received(kind);
            let count = fewest(|| {
                for _ in 0..REQUESTS {
                    request(&mut clusters).expect("the session is there");
                }
            });
            assert_eq!(
                count, 0,
                "options {options}, {name}: in {REQUESTS} requests"
            );
            let received = clusters.received(kind) - before;
            assert_eq!(
                received,
                RUNS * REQUESTS * messages,
                "options {options}, {name}"
            );
            assert!(clusters.agree(), "options {options}, {name}");
        }
    }
    let count = fewest(|| {
        for _ in 0..REQUESTS {
            clusters.change_owned().expect("the session is there");
        }
    });
    assert!(clusters.agree());
    let each = count as f64 / REQUESTS as f64;
    assert!(
        each <= OWNED_MAX,
        "{each} allocations of a value that the application has made"
    );
}
