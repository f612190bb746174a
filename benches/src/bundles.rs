//! What io_uring alone allows one way: `raw`'s frames, sent in bundles of provided buffers and received by one multishot
//! request into buffers that are filled piece by piece. The limit of what an io_uring driver can reach.

use std::io::{self, BufRead as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};

use crate::Result;
use crate::latency::Latencies;
use crate::raw::{OVERHEAD, words};

/// Bytes of a provided buffer of the sender, and how many: the bundle.
const SENT: (usize, u16) = (64 * 1024, 16);
/// The same of the receiver: as the driver has them.
const RECEIVED: (usize, u16) = (128 * 1024, 4);
/// Filled piece by piece (`IOU_PBUF_RING_INC`).
const INCREMENTAL: u16 = 2;
const GROUP: u16 = 0;

/// Runs until standard input ends: `send PORT` or `receive PORT`.
///
/// # Errors
/// A socket failed, or the kernel lacks bundles or incremental buffers.
pub fn run(role: &str, port: u16) -> Result<()> {
    match role {
        "receive" => receive(port),
        _ => send(port),
    }
}

/// A ring with one group of buffers, which are never given back to the system.
struct Ring {
    uring: IoUring,
    entries: *mut BufRingEntry,
    slab: *mut u8,
    size: usize,
    count: u16,
    tail: u16,
}

impl Ring {
    fn new((size, count): (usize, u16), flags: u16) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(16)?;
        let entries = pages(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let slab = pages(usize::from(count) * size)?;
        // SAFETY: the entries are `count` zeroed ones at the start of a page, and stay mapped for ever.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(entries as u64, count, GROUP, flags)?;
        }
        Ok(Self {
            uring,
            entries,
            slab,
            size,
            count,
            tail: 0,
        })
    }

    /// Gives `len` bytes of a buffer to the kernel.
    fn give(&mut self, buffer: u16, len: usize) {
        let place = usize::from(self.tail % self.count);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: both offsets are within what was mapped; the kernel looks at the entry after the tail has passed it,
        // and the tail is two aligned bytes that only this thread writes.
        unsafe {
            let entry = &mut *self.entries.add(place);
            entry.set_addr(self.slab.add(usize::from(buffer) * self.size) as u64);
            entry.set_len(len as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Queues a request, and waits for a completion.
    fn turn(&mut self, request: Option<&io_uring::squeue::Entry>) -> io::Result<()> {
        if let Some(request) = request {
            // SAFETY: requests here name a group of buffers that stays mapped, and a socket.
            let pushed = unsafe { self.uring.submission().push(request) };
            pushed.map_err(|_| io::Error::other("the queue is full"))?;
        }
        self.uring.submit_and_wait(1).map(drop)
    }
}

/// Zeroed memory that stays.
fn pages(len: usize) -> io::Result<*mut u8> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping touches nothing that exists.
    match unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        start => Ok(start.cast()),
    }
}

fn receive(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("READY");
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut ring = Ring::new(RECEIVED, INCREMENTAL)?;
    for buffer in 0..ring.count {
        ring.give(buffer, ring.size);
    }
    let request = opcode::RecvMulti::new(Fd(stream.as_raw_fd()), GROUP).build();
    let mut armed = false;
    for line in io::stdin().lock().lines() {
        let [callers, each, size, _] = words(&line?)?;
        println!("OK");
        let total = callers * each * (size + OVERHEAD as u64);
        let mut received = 0;
        while received < total {
            ring.turn((!armed).then_some(&request))?;
            armed = true;
            let completed: Vec<_> = ring.uring.completion().collect();
            for event in completed {
                armed &= cqueue::more(event.flags());
                match event.result() {
                    1.. => received += event.result() as u64,
                    0 => return Err("the sender has gone".into()),
                    code if code == -libc::ENOBUFS => {}
                    code => return Err(io::Error::from_raw_os_error(-code).into()),
                }
                if let Some(buffer) = cqueue::buffer_select(event.flags())
                    && !cqueue::buffer_more(event.flags())
                {
                    ring.give(buffer, ring.size);
                }
            }
        }
        println!("RECEIVED 0 0");
    }
    Ok(())
}

fn send(port: u16) -> Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    println!("READY");
    let mut ring = Ring::new(SENT, 0)?;
    let request = opcode::SendBundle::new(Fd(stream.as_raw_fd()), GROUP)
        .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
        .build();
    for line in io::stdin().lock().lines() {
        let [callers, each, size, _] = words(&line?)?;
        let mut left = callers * each * (size + OVERHEAD as u64);
        while left > 0 {
            // All buffers in order, so that the bundle has them in order; the last may be shorter.
            let mut given = 0;
            for buffer in 0..ring.count {
                let len = (left - given).min(ring.size as u64);
                if len > 0 {
                    ring.give(buffer, len as usize);
                    given += len;
                }
            }
            let mut sent = 0;
            let mut under_way = false;
            while sent < given {
                ring.turn((!under_way).then_some(&request))?;
                under_way = true;
                let completed: Vec<_> = ring.uring.completion().collect();
                for event in completed {
                    under_way &= cqueue::more(event.flags());
                    match event.result() {
                        len @ 1.. => sent += len as u64,
                        code => return Err(io::Error::from_raw_os_error(-code).into()),
                    }
                }
            }
            left -= given;
        }
        println!("SENT 0 0 {}", Latencies::default().report());
    }
    Ok(())
}
