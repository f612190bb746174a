//! The ring in which buffers are handed to the kernel: entries that both sides see, and a tail that says how many.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, Submitter};

use crate::memory::Pages;

/// The entries of a group of buffers. What they name must outlive the requests that may use it.
#[derive(Debug)]
pub(crate) struct Entries {
    group: u16,
    /// The tail is in the first one's unused field.
    pages: Pages,
    count: u16,
    tail: u16,
}

impl Entries {
    /// Places for `count` buffers, a power of two of them; the kernel does not know of them yet.
    pub(crate) fn new(group: u16, count: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        Ok(Self {
            group,
            pages: Pages::new(usize::from(count) * size_of::<BufRingEntry>())?,
            count,
            tail: 0,
        })
    }

    /// Tells the kernel of them.
    pub(crate) fn register(&self, uring: &IoUring, flags: u16) -> io::Result<()> {
        let address = self.pages.at(0, 0).as_ptr().addr() as u64;
        // SAFETY: the entries are `count` times the size of one, page-aligned, and live as long as this, which its owner
        // keeps until the ring is gone or has been told of their end.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(address, self.count, self.group, flags)
        }
    }

    /// Takes the group from the kernel, which may use no buffer of it afterwards.
    pub(crate) fn withdraw(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(self.group)
    }

    /// The group's number.
    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// Writes the next entry; the kernel heeds it from [`publish`](Self::publish) on. As many as there are places may be
    /// written before the kernel is done with the first.
    pub(crate) fn push(&mut self, address: u64, len: u32, buffer: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        let at = index * size_of::<BufRingEntry>();
        let entry = self.pages.at(at, size_of::<BufRingEntry>()).cast();
        // SAFETY: the entry is within the shared pages and zeroed, which is a value of it. The kernel reads it only
        // when the tail has passed it, and is done with the last user of this place: there are as many places as
        // buffers.
        let entry: &mut BufRingEntry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was written.
    pub(crate) fn publish(&self) {
        self.shared_tail().store(self.tail, Ordering::Release);
    }

    pub(crate) fn shared_tail(&self) -> &AtomicU16 {
        let first: NonNull<BufRingEntry> = self.pages.at(0, size_of::<BufRingEntry>()).cast();
        // SAFETY: the first entry is within the pages; its last field, which the function points to, is the ring's
        // tail by the kernel's definition: two aligned bytes that only this side writes, and only atomically.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first.as_ptr()).cast_mut()) }
    }
}
