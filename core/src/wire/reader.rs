//! All bounds checks of the wire formats.

use core::fmt;

/// Bytes that are read from the front, field by field, without copying.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read yet.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes, or [`Truncated`](DecodeErrorKind::Truncated).
    #[inline]
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let split = self.rest.split_at_checked(len);
        let (head, tail) = split.ok_or(DecodeErrorKind::Truncated.of(field))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let split = self.rest.split_first_chunk::<N>();
        let (head, tail) = split.ok_or(DecodeErrorKind::Truncated.of(field))?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(|[byte]| byte)
    }

    /// Two bytes, unsigned.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes, signed.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// Four bytes, unsigned.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes, signed.
    #[inline]
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// Eight bytes, unsigned.
    #[inline]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// One byte; anything but zero is true, as in `XByteBuffer.toBoolean`.
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.u8(field).map(|byte| byte != 0)
    }

    /// An `i32` length and as many bytes, at most `max`.
    ///
    /// # Errors
    /// [`NegativeLength`](DecodeErrorKind::NegativeLength), [`TooLong`](DecodeErrorKind::TooLong) for more
    /// than `max`, [`Truncated`](DecodeErrorKind::Truncated) for more than there are.
    #[inline]
    pub fn sized(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.length(max, field)?;
        self.take(len, field)
    }

    /// An `i32` length of at most `max`, without the bytes that follow it.
    ///
    /// # Errors
    /// As [`sized`](Self::sized), except that the bytes need not be there.
    #[inline]
    pub fn length(&mut self, max: usize, field: &'static str) -> Result<usize, DecodeError> {
        let len = usize::try_from(self.i32(field)?);
        let len = len.map_err(|_| DecodeErrorKind::NegativeLength.of(field))?;
        if len > max {
            return Err(DecodeErrorKind::TooLong(len).of(field));
        }
        Ok(len)
    }

    /// Nothing, if everything has been read; else [`Trailing`](DecodeErrorKind::Trailing).
    pub const fn finish(self, field: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeErrorKind::Trailing(left).of(field)),
        }
    }
}

/// Why bytes from a peer could not be read, and in which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError {
    /// The field, by its name in the layout table of the format.
    pub field: &'static str,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeErrorKind {
    /// It does not begin with the marker every such item begins with.
    BadMagic,
    /// It does not end with the marker every such item ends with.
    BadEnd,
    /// Its length is below zero.
    NegativeLength,
    /// Its length, given here, is above what the reader allows.
    TooLong(usize),
    /// The bytes end before it does.
    Truncated,
    /// So many bytes are left after the last field.
    Trailing(usize),
    /// The value is none of those that mean something.
    BadValue,
}

impl DecodeErrorKind {
    /// The error of this kind in `field`.
    pub const fn of(self, field: &'static str) -> DecodeError {
        DecodeError { field, kind: self }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        match self.kind {
            DecodeErrorKind::BadMagic => f.write_str("wrong begin marker"),
            DecodeErrorKind::BadEnd => f.write_str("wrong end marker"),
            DecodeErrorKind::NegativeLength => f.write_str("negative length"),
            DecodeErrorKind::TooLong(len) => write!(f, "{len} bytes are more than allowed"),
            DecodeErrorKind::Truncated => f.write_str("cut off"),
            DecodeErrorKind::Trailing(len) => write!(f, "{len} bytes too many"),
            DecodeErrorKind::BadValue => f.write_str("meaningless value"),
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn numbers_are_big_endian_and_signed_where_they_say_so() {
        let bytes = [0xff, 0xfe, 1, 0, 2, 0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 9];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u16("a"), Ok(0xfffe));
        assert_eq!(reader.bool("b"), Ok(true));
        assert_eq!(reader.bool("c"), Ok(false));
        assert_eq!(reader.bool("d"), Ok(true), "any byte but zero");
        assert_eq!(reader.i32("e"), Ok(-3));
        assert_eq!(reader.u32("f"), Ok(9));
        assert_eq!(reader.finish("g"), Ok(()));
        assert_eq!(Reader::new(&[0xff; 8]).i64("h"), Ok(-1));
        assert_eq!(Reader::new(&[0xff; 8]).u64("i"), Ok(u64::MAX));
    }

    #[test]
    fn an_announced_length_is_believed_only_as_far_as_the_bytes_reach() {
        use DecodeErrorKind::{NegativeLength, TooLong, Trailing, Truncated};
        type Case = (
            &'static str,
            &'static [u8],
            usize,
            Result<&'static [u8], DecodeErrorKind>,
        );
        #[rustfmt::skip]
        let cases: &[Case] = &[
            ("all",           &[0, 0, 0, 2, 7, 8],          2, Ok(&[7, 8])),
            ("nothing",       &[0, 0, 0, 0],                0, Ok(&[])),
            ("above max",     &[0, 0, 0, 2, 7, 8],          1, Err(TooLong(2))),
            ("two gigabytes", &[0x7f, 0xff, 0xff, 0xff, 7], usize::MAX, Err(Truncated)),
            ("negative",      &[0xff, 0xff, 0xff, 0xff, 7], usize::MAX, Err(NegativeLength)),
            ("lowest",        &[0x80, 0, 0, 0, 7],          usize::MAX, Err(NegativeLength)),
            ("one missing",   &[0, 0, 0, 2, 7],             9, Err(Truncated)),
            ("no length",     &[0, 0, 0],                   9, Err(Truncated)),
        ];
        for (name, bytes, max, want) in cases {
            let got = Reader::new(bytes).sized(*max, "field");
            assert_eq!(got, want.map_err(|kind| kind.of("field")), "{name}");
        }
        assert_eq!(
            Reader::new(&[1, 2]).finish("frame"),
            Err(Trailing(2).of("frame"))
        );
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert!(reader.i32("four").is_err());
        assert_eq!(reader.take(3, "three"), Ok(&[1, 2, 3][..]));
        assert!(reader.is_empty());
    }

    #[test]
    fn an_error_names_the_field_and_what_is_wrong() {
        let error = DecodeErrorKind::TooLong(70).of("domain");
        assert_eq!(error.to_string(), "domain: 70 bytes are more than allowed");
    }
}
