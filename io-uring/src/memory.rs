//! Memory that the kernel reads and writes.

use std::io;
use std::ptr::{self, NonNull};

/// Zeroed pages of our own, at one address for all their life.
///
/// No reference to them is kept anywhere: the kernel writes to parts of them while other parts are read.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages belong to this value alone; a pointer to them means the same on every thread.
unsafe impl Send for Pages {}

impl Pages {
    /// At least `len` bytes, which are taken from the system when they are first written to.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let len = len.max(1);
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, len }),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// Where byte `at` is.
    ///
    /// # Panics
    /// If `len` bytes from there are not all within the pages.
    pub(crate) fn at(&self, at: usize, len: usize) -> NonNull<u8> {
        assert!(at <= self.len && len <= self.len - at, "within the pages");
        // SAFETY: `at` was just found to be within the mapping or one past its end.
        unsafe { self.start.add(at) }
    }

    /// The bytes at `at`.
    ///
    /// # Safety
    /// Until the reference is gone the kernel has nothing to write there.
    pub(crate) unsafe fn read(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: `at` checks that the bytes are within the mapping, which was zeroed and so is initialized; that
        // nobody writes to them meanwhile is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at(at, len).as_ptr(), len) }
    }

    /// Copies `bytes` to `at`, which the kernel neither reads nor writes meanwhile.
    ///
    /// # Panics
    /// If there is no room for them.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let to = self.at(at, bytes.len());
        // SAFETY: `at` checks the range; `bytes` cannot overlap it, since references to the pages exist only while
        // `self` is borrowed.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and nobody refers to it any more: references borrow
        // `self`, and who lends pages to the kernel keeps them until it has them back.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_where_they_were_written() {
        let mut pages = Pages::new(10_000).unwrap();
        pages.write(9_990, b"0123456789");
        // SAFETY: no kernel knows of these pages.
        let (head, tail) = unsafe { (pages.read(0, 9_990), pages.read(9_992, 3)) };
        assert!(head.iter().all(|byte| *byte == 0));
        assert_eq!(tail, b"234");
    }

    #[test]
    #[should_panic(expected = "within the pages")]
    fn nothing_beyond_the_end_is_reached() {
        Pages::new(100).unwrap().write(99, b"ab");
    }
}
