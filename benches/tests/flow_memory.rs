//! What a state transfer takes beyond the sessions themselves, at its peak: at most 8 MiB on either side, however many sessions
//! there are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use folkmoot_benches::machines::{addresses, channel};
use folkmoot_benches::pipe::Pipe;
use folkmoot_core::cluster::{Cluster, ClusterConfig, ContextId};
use folkmoot_core::engine::{ConnId, Engine, Gather, Input, Output};
use folkmoot_core::session::{DeltaManagerConfig, ManagerState, TransferResult};
use folkmoot_core::time::Instant;

/// What either side may take beyond the data.
const MOST: usize = 8 << 20;
/// Characters in the attribute of each session.
const SIZE: usize = 1024;

/// Bytes in use of nobody, of the donor and of the joiner, and the most since the peak was last reset.
static LIVE: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static PEAK: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
/// Whose code runs.
static WHO: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with an account for each side.
struct Counted;

fn took(len: usize) {
    let who = WHO.load(Ordering::Relaxed);
    let live = LIVE[who]
        .fetch_add(len, Ordering::Relaxed)
        .wrapping_add(len);
    // An account of nobody may be below zero: what somebody else took is not counted as its peak.
    if live < usize::MAX / 2 {
        PEAK[who].fetch_max(live, Ordering::Relaxed);
    }
}

fn gave(len: usize) {
    LIVE[WHO.load(Ordering::Relaxed)].fetch_sub(len, Ordering::Relaxed);
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave(layout.size());
        // SAFETY: the caller's promise is passed on; the memory came from `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// A cluster whose memory goes to its account.
struct Owned {
    who: usize,
    cluster: Cluster,
}

impl Owned {
    fn within<R>(&mut self, work: impl FnOnce(&mut Cluster) -> R) -> R {
        let before = WHO.swap(self.who, Ordering::Relaxed);
        let result = work(&mut self.cluster);
        WHO.store(before, Ordering::Relaxed);
        result
    }
}

impl Engine for Owned {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.within(|cluster| {
            cluster.handle(now, input);
            while cluster.poll_event().is_some() {}
        });
    }

    fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.within(|cluster| cluster.accept(now, from))
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.within(Cluster::poll_output)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.cluster.poll_timeout()
    }

    fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        self.cluster.transmit(conn, out);
    }

    fn transmitted(&mut self, now: Instant, conn: ConnId, len: usize) {
        self.within(|cluster| cluster.transmitted(now, conn, len));
    }
}

/// What a transfer of so many sessions takes at the donor and at the joiner.
fn transfer(sessions: usize) -> [usize; 2] {
    let mut now = Instant::ZERO;
    let engine = |number: usize| Owned {
        who: number + 1,
        cluster: Cluster::new(
            channel(number).expect("a channel"),
            ClusterConfig::default(),
        ),
    };
    let mut pipe = Pipe::new([engine(0), engine(1)], addresses());
    for side in [0, 1] {
        pipe.with(side, |node| node.within(|cluster| cluster.start(now)));
    }
    let pass = |pipe: &mut Pipe<Owned>, now: &mut Instant, turns: usize, millis: u64| {
        for _ in 0..turns {
            *now = *now + Duration::from_millis(millis);
            pipe.tick(*now);
        }
    };
    pass(&mut pipe, &mut now, 100, 100);
    let register = |pipe: &mut Pipe<Owned>, side, now| -> ContextId {
        pipe.with(side, |node| {
            let config = DeltaManagerConfig::default();
            node.within(|cluster| cluster.register_manager(now, "/shop", config))
                .expect("a free name")
        })
    };
    let context = register(&mut pipe, 0, now);
    pass(&mut pipe, &mut now, 10, 100);
    let text = "x".repeat(SIZE);
    for number in 0..sessions {
        pipe.with(0, |node| {
            node.within(|cluster| {
                let id = cluster.create_session(now, context, None).expect("room");
                cluster
                    .set_attribute(now, context, &id, "cart", text.as_str())
                    .expect("it is there");
                cluster.end_access(now, context, &id);
                while cluster.poll_event().is_some() {}
            })
        });
        if number % 64 == 0 {
            pipe.settle(now);
        }
    }
    pass(&mut pipe, &mut now, 20, 100);

    let before = LIVE[1].load(Ordering::Relaxed);
    for side in [1, 2] {
        PEAK[side].store(LIVE[side].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let context = register(&mut pipe, 1, now);
    let joined = |pipe: &mut Pipe<Owned>| {
        pipe.with(1, |node| {
            let manager = node.cluster.manager(context).expect("it is registered");
            (manager.state() == ManagerState::Ready)
                .then(|| (manager.session_count(), manager.last_transfer().copied()))
        })
    };
    let mut turns = 0;
    let (count, outcome) = loop {
        if let Some(there) = joined(&mut pipe) {
            break there;
        }
        pass(&mut pipe, &mut now, 1, 1);
        turns += 1;
        assert!(turns < 10_000, "the transfer never ends");
    };
    let peaks = [1, 2].map(|side| PEAK[side].load(Ordering::Relaxed));
    assert_eq!(count, sessions);
    assert_eq!(
        outcome.map(|outcome| outcome.result),
        Some(TransferResult::Complete)
    );
    let after = LIVE[2].load(Ordering::Relaxed);
    [peaks[0] - before, peaks[1] - after]
}

/// One test, so that nobody else allocates meanwhile.
#[test]
fn a_transfer_takes_little_beyond_the_data_whatever_its_size() {
    for sessions in [2_000, 40_000] {
        let [donor, joiner] = transfer(sessions);
        println!("{sessions} sessions: {donor} bytes at the donor, {joiner} at the joiner");
        assert!(donor <= MOST, "{sessions} sessions: {donor} at the donor");
        assert!(
            joiner <= MOST,
            "{sessions} sessions: {joiner} at the joiner"
        );
    }
}
