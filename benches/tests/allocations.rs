//! What messages and deltas allocate in the steady state, both ends together, without an operating system. Sockets are
//! in `io-mio/tests/allocations.rs`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use folkmoot_benches::machines::{BATCH, Channels, Clusters};

/// The system's allocator, counted.
struct Counted;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The fewest allocations of `work` in several runs: buffers grow to their size in the first ones.
fn fewest(mut work: impl FnMut()) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..20 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        work();
        fewest = fewest.min(ALLOCATIONS.load(Ordering::Relaxed) - before);
    }
    fewest
}

/// One test, so that no other allocates meanwhile.
#[test]
fn messages_allocate_nothing_and_a_delta_only_what_it_changes() {
    let mut channels = Channels::new().expect("two members");
    for options in [0, 2, 6, 8] {
        let count = fewest(|| channels.batch(options, &[7; 512]).expect("room"));
        assert_eq!(count, 0, "options {options}: in {BATCH} messages");
    }
    let mut clusters = Clusters::new().expect("two members");
    const CHANGES: u64 = 50;
    let count = fewest(|| {
        for _ in 0..CHANGES {
            clusters.change().expect("the session is there");
        }
    });
    assert!(clusters.agree());
    // The application's text and its number, what the value is copied into on both sides, and the message.
    let each = count as f64 / CHANGES as f64;
    assert!(each <= DELTA_MAX, "{each} allocations in a delta");
}

/// Allocations of a delta of one attribute, both ends together, the application's own included.
const DELTA_MAX: f64 = 16.0;
