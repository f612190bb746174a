//! In the steady state no message costs an allocation, on either side.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelListener, Inbound, Lane, MembershipConfig, SendOptions, To,
    Verdict,
};
use folkmoot_core::engine::{ConnId, Gather, Input, Output};
use folkmoot_core::time::Instant;

struct Counting;

std::thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Sum(usize);

impl ChannelListener for Sum {
    fn message_received(&mut self, _now: Instant, message: &Inbound<'_>) -> Verdict {
        self.0 += message.message.len();
        Verdict::Processed
    }
}

/// Two channels and the one connection between them.
struct Pair {
    sender: Channel,
    receiver: Channel,
    out: Option<(ConnId, ConnId)>,
    wire: Vec<u8>,
    sum: Sum,
    now: Instant,
}

impl Pair {
    fn new(pipelining: bool) -> Self {
        let now = Instant::from_millis(1);
        let channel = |port: u16| {
            let mut config = ChannelConfig::new(([10, 0, 0, 1], port).into());
            config.membership = MembershipConfig::None;
            config.failure_detector.enabled = false;
            config.sender.pipelining = pipelining;
            let mut channel =
                Channel::new(config, [port as u8; 32], now, 1_700_000_000_000).unwrap();
            channel.start(now);
            channel
        };
        let (mut sender, receiver) = (channel(4000), channel(4001));
        sender.add_member(now, receiver.local_member());
        Self {
            sender,
            receiver,
            out: None,
            wire: Vec::with_capacity(8 << 20),
            sum: Sum(0),
            now,
        }
    }

    /// Some messages there and their ACKs back.
    fn round(&mut self, options: u32, lane: Lane, body: &[u8], messages: usize) {
        for _ in 0..messages {
            let options = SendOptions::from_bits(options);
            self.sender
                .send(self.now, To::All, options, lane, body)
                .unwrap();
        }
        while !self.carry() {}
    }

    /// Carries bytes both ways once; whether there were none.
    fn carry(&mut self) -> bool {
        while let Some(output) = self.sender.poll_output() {
            if let Output::Connect { conn, .. } = output {
                let accepted = self
                    .receiver
                    .accept(self.now, ([10, 0, 0, 1], 9).into())
                    .unwrap();
                self.out = Some((conn, accepted));
                self.sender
                    .handle(self.now, Input::Connected { conn }, &mut self.sum);
            }
        }
        let (there, back) = self.out.unwrap();
        let sent = pull(&mut self.sender, self.now, there, &mut self.wire);
        for bytes in self.wire.chunks(64 * 1024) {
            let conn = back;
            self.receiver
                .handle(self.now, Input::Received { conn, bytes }, &mut self.sum);
        }
        while self.receiver.poll_output().is_some() {}
        let answered = pull(&mut self.receiver, self.now, back, &mut self.wire);
        if answered > 0 {
            let (conn, bytes) = (there, &self.wire[..]);
            self.sender
                .handle(self.now, Input::Received { conn, bytes }, &mut self.sum);
        }
        while self.sender.poll_event().is_some() {}
        sent + answered == 0
    }
}

fn pull(channel: &mut Channel, now: Instant, conn: ConnId, wire: &mut Vec<u8>) -> usize {
    wire.clear();
    loop {
        let len = {
            let mut gather = Gather::new();
            channel.transmit(conn, &mut gather);
            for run in gather.runs() {
                wire.extend_from_slice(run);
            }
            gather.len()
        };
        if len == 0 {
            return wire.len();
        }
        channel.transmitted(now, conn, len);
    }
}

#[test]
fn a_message_in_the_steady_state_allocates_nothing() {
    #[rustfmt::skip]
    let cases: &[(bool, u32, Lane, usize, usize)] = &[
        // pipelined, options, lane, bytes, messages a round
        (true, 8, Lane::Any, 64, 100), (true, 8, Lane::Any, 512, 100), (true, 6, Lane::Any, 512, 100),
        (true, 6, Lane::Ordered(3), 512, 100), (true, 14, Lane::Any, 4096, 20), (true, 6, Lane::Any, 65_536, 5),
        (true, 0, Lane::Any, 100_000, 3),
        (false, 8, Lane::Any, 512, 100), (false, 6, Lane::Any, 512, 1), (false, 8, Lane::Ordered(3), 512, 20),
    ];
    for (pipelined, options, lane, len, messages) in cases {
        let mut pair = Pair::new(*pipelined);
        let body = vec![7; *len];
        for _ in 0..20 {
            pair.round(*options, *lane, &body, *messages);
        }
        let (before, sum) = (COUNT.with(Cell::get), pair.sum.0);
        for _ in 0..200 {
            pair.round(*options, *lane, &body, *messages);
        }
        let allocated = COUNT.with(Cell::get) - before;
        assert_eq!(pair.sum.0 - sum, 200 * messages * len, "all arrived");
        assert_eq!(
            allocated, 0,
            "pipelined {pipelined}, options {options}, {lane:?}, {len} bytes"
        );
    }
}
