//! Where encoders write to.

use core::fmt;

/// Takes encoded bytes: a vector, or a buffer that may be full.
///
/// Every encoder of this module knows its length beforehand (`encoded_len`), so a caller with a buffer of
/// fixed size can ask first. An encoder that reports [`Full`] has written some of its bytes.
pub trait Sink {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`Full`] if they do not fit; then none of them has been appended.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;

    /// Appends one byte.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_u8(&mut self, value: u8) -> Result<(), Full> {
        self.put(&[value])
    }

    /// Appends four bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_i32(&mut self, value: i32) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends four bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_u32(&mut self, value: u32) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends eight bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_i64(&mut self, value: i64) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends eight bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_u64(&mut self, value: u64) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends a length as an `i32`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and for a length that an `i32` cannot hold.
    #[inline]
    fn put_length(&mut self, len: usize) -> Result<(), Full> {
        self.put_i32(i32::try_from(len).map_err(|_| Full)?)
    }

    /// Appends a length as an `i32` and the bytes.
    ///
    /// # Errors
    /// As [`put_length`](Self::put_length).
    #[inline]
    fn put_sized(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.put_length(bytes.len())?;
        self.put(bytes)
    }
}

/// A sink has no room for what was to be written, or a length does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for the encoded bytes")
    }
}

impl core::error::Error for Full {}

// Tests have a heap in every profile.
#[cfg(any(test, feature = "alloc"))]
impl Sink for alloc::vec::Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl Sink for bytes::BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<const N: usize> Sink for heapless::Vec<u8, N> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes).map_err(|_| Full)
    }
}

/// Writes to the front of a borrowed buffer.
#[derive(Debug)]
pub struct SliceSink<'a> {
    free: &'a mut [u8],
    written: usize,
}

impl<'a> SliceSink<'a> {
    /// A sink that fills `buffer` from its first byte.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            free: buffer,
            written: 0,
        }
    }

    /// How many bytes of the buffer are written.
    pub const fn written(&self) -> usize {
        self.written
    }
}

impl Sink for SliceSink<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let Some((head, _)) = self.free.split_at_mut_checked(bytes.len()) else {
            return Err(Full);
        };
        head.copy_from_slice(bytes);
        let free = core::mem::take(&mut self.free);
        self.free = free
            .split_at_mut_checked(bytes.len())
            .map_or(&mut [], |(_, tail)| tail);
        self.written = self.written.saturating_add(bytes.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn fill(to: &mut impl Sink) -> Result<(), Full> {
        to.put_u8(1)?;
        to.put_i32(-2)?;
        to.put_u32(3)?;
        to.put_i64(-4)?;
        to.put_u64(5)?;
        to.put_sized(b"six")
    }

    const FILLED: [u8; 32] = [
        1, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0,
        0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, b's', b'i', b'x',
    ];

    #[test]
    fn all_sinks_take_the_same_bytes() {
        let mut vec = Vec::new();
        fill(&mut vec).unwrap();
        assert_eq!(vec, FILLED);
        let mut fixed = heapless::Vec::<u8, 32>::new();
        fill(&mut fixed).unwrap();
        assert_eq!(fixed, FILLED);
        let mut buffer = [0; 40];
        let mut slice = SliceSink::new(&mut buffer);
        fill(&mut slice).unwrap();
        assert_eq!(slice.written(), 32);
        assert_eq!(buffer[..32], FILLED);
    }

    #[test]
    fn a_sink_of_fixed_size_says_when_it_is_full() {
        for room in 0..FILLED.len() {
            let mut buffer = [0; 31];
            let mut slice = SliceSink::new(&mut buffer[..room]);
            assert_eq!(fill(&mut slice), Err(Full), "{room}");
            let written = slice.written();
            assert_eq!(buffer[..written], FILLED[..written], "{room}");
        }
        assert_eq!(fill(&mut heapless::Vec::<u8, 31>::new()), Err(Full));
    }

    #[test]
    fn a_length_that_an_i32_cannot_hold_is_refused() {
        let mut vec = Vec::new();
        assert_eq!(vec.put_length(0x8000_0000), Err(Full));
        assert_eq!(vec.put_length(0x7fff_ffff), Ok(()));
        assert_eq!(vec, [0x7f, 0xff, 0xff, 0xff]);
    }
}
