//! Packages: what delimits messages in a stream and in a datagram (`XByteBuffer`).
//!
//! | bytes | field | |
//! |---|---|---|
//! | 7 | start marker | [`START`] |
//! | 4 | length | n, a signed integer that is never negative |
//! | n | data | an acknowledgement or a `ChannelData` |
//! | 7 | end marker | [`END`] |

use super::reader::{DecodeError, DecodeErrorKind};
use super::sink::{Full, Sink};

/// What every frame begins with: `FLT2002`.
pub const START: [u8; 7] = *b"FLT2002";

/// What every frame ends with: `TLF2003`.
pub const END: [u8; 7] = *b"TLF2003";

/// Bytes before the data: the start marker and the length.
pub const HEADER: usize = 11;

/// Bytes a frame adds to its data.
pub const OVERHEAD: usize = 18;

const FRAME: &str = "frame";
const LENGTH: &str = "frame length";

/// What is at the front of received bytes, as far as they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Deframed<'a> {
    /// A frame that may become good when more bytes arrive.
    Incomplete {
        /// How many bytes there must be at the front: the whole frame once its length is known, else the
        /// shortest frame there is.
        need: usize,
    },
    /// A whole frame.
    Frame {
        /// What is between the header and the end marker.
        data: &'a [u8],
        /// How many bytes the frame took.
        consumed: usize,
    },
}

/// Finds the frame that `buf` begins with, with at most `max_data` bytes of data.
///
/// Unlike `XByteBuffer`, which drops garbage or waits for ever, this says at the first byte that shows it
/// that the stream is damaged: there is no way to find the next frame in it.
///
/// # Errors
/// [`BadMagic`](DecodeErrorKind::BadMagic), [`NegativeLength`](DecodeErrorKind::NegativeLength),
/// [`TooLong`](DecodeErrorKind::TooLong) or [`BadEnd`](DecodeErrorKind::BadEnd).
#[inline]
pub fn deframe(buf: &[u8], max_data: usize) -> Result<Deframed<'_>, DecodeError> {
    let Some((start, rest)) = buf.split_first_chunk::<7>() else {
        return incomplete_header(buf, max_data);
    };
    if *start != START {
        return Err(DecodeErrorKind::BadMagic.of(FRAME));
    }
    let Some((length, body)) = rest.split_first_chunk::<4>() else {
        return incomplete_header(buf, max_data);
    };
    let len = checked_length(*length, max_data)?;
    let Some((data, end)) = body.split_at_checked(len) else {
        return Ok(Deframed::Incomplete {
            need: len.saturating_add(OVERHEAD),
        });
    };
    match end.first_chunk::<7>() {
        Some(end) if *end == END => Ok(Deframed::Frame {
            data,
            consumed: len.saturating_add(OVERHEAD),
        }),
        None if END.starts_with(end) => Ok(Deframed::Incomplete {
            need: len.saturating_add(OVERHEAD),
        }),
        _ => Err(DecodeErrorKind::BadEnd.of(FRAME)),
    }
}

/// The length field, if it is one that is allowed.
#[inline]
fn checked_length(length: [u8; 4], max_data: usize) -> Result<usize, DecodeError> {
    let len = usize::try_from(i32::from_be_bytes(length))
        .map_err(|_| DecodeErrorKind::NegativeLength.of(LENGTH))?;
    if len > max_data {
        return Err(DecodeErrorKind::TooLong(len).of(LENGTH));
    }
    Ok(len)
}

/// Fewer than [`HEADER`] bytes: are they the beginning of a good header?
#[cold]
fn incomplete_header(buf: &[u8], max_data: usize) -> Result<Deframed<'_>, DecodeError> {
    let (marker, length) = buf.split_at_checked(START.len()).unwrap_or((buf, &[]));
    if !START.starts_with(marker) {
        return Err(DecodeErrorKind::BadMagic.of(FRAME));
    }
    // The length is at least what its first bytes say.
    let mut least = [0; 4];
    for (to, from) in least.iter_mut().zip(length) {
        *to = *from;
    }
    checked_length(least, max_data)?;
    Ok(Deframed::Incomplete { need: OVERHEAD })
}

/// Writes what comes before `data_len` bytes of data.
///
/// # Errors
/// [`Full`] without room, or if `data_len` is more than a frame can hold (2³¹ − 1).
#[inline]
pub fn write_header(data_len: usize, to: &mut impl Sink) -> Result<(), Full> {
    let [a, b, c, d, e, f, g] = START;
    let length = i32::try_from(data_len).map_err(|_| Full)?;
    let [h, i, j, k] = length.to_be_bytes();
    to.put(&[a, b, c, d, e, f, g, h, i, j, k])
}

/// Writes `data` as one frame.
///
/// # Errors
/// As [`write_header`].
pub fn write(data: &[u8], to: &mut impl Sink) -> Result<(), Full> {
    write_header(data.len(), to)?;
    to.put(data)?;
    to.put(&END)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn framed(data: &[u8]) -> Vec<u8> {
        let mut to = Vec::new();
        write(data, &mut to).unwrap();
        to
    }

    #[test]
    fn deframing_waits_for_the_whole_frame_at_every_split() {
        let stream = framed(b"hello");
        for split in 0..stream.len() {
            let need = if split < HEADER {
                OVERHEAD
            } else {
                stream.len()
            };
            let got = deframe(&stream[..split], 1024);
            assert_eq!(got, Ok(Deframed::Incomplete { need }), "{split}");
        }
        let (data, consumed) = (&b"hello"[..], stream.len());
        assert_eq!(deframe(&stream, 5), Ok(Deframed::Frame { data, consumed }));
    }

    #[test]
    fn damage_is_seen_at_the_first_byte_that_shows_it() {
        use DecodeErrorKind::{BadEnd, BadMagic, NegativeLength, TooLong};
        #[rustfmt::skip]
        let cases: &[(&str, &[u8], usize, DecodeErrorKind)] = &[
            ("garbage",                 b"GET / HTTP/1.1",                            1,  BadMagic),
            ("another version",         b"FLT2003\0\0\0\0TLF2003",                    7,  BadMagic),
            ("a byte before the frame", b"xFLT2002\0\0\0\0TLF2003",                   1,  BadMagic),
            ("minus one",               b"FLT2002\xff\xff\xff\xff",                   8,  NegativeLength),
            ("minus eighteen",          b"FLT2002\xff\xff\xff\xee",                   8,  NegativeLength),
            ("lowest",                  b"FLT2002\x80\0\0\0",                         8,  NegativeLength),
            ("two gigabytes",           b"FLT2002\x7f\xff\xff\xff",                   8,  TooLong(0x7f00_0000)),
            ("one too many",            b"FLT2002\0\0\x10\x01",                       11, TooLong(0x1001)),
            ("length too small",        b"FLT2002\0\0\0\x02abcTLF2003",               14, BadEnd),
            ("length too large",        b"FLT2002\0\0\0\x04abcTLF2003",               16, BadEnd),
            ("the start marker's end",  b"FLT2002\0\0\0\0FLT2002",                    12, BadEnd),
            ("last byte of the end",    b"FLT2002\0\0\0\x03abcTLF2002",               21, BadEnd),
            ("next frame for an end",   b"FLT2002\0\0\0\0TLFLT2002",                  15, BadEnd),
        ];
        for (name, stream, shown_at, kind) in cases {
            for fed in 0..=stream.len() {
                let got = deframe(&stream[..fed], 4096);
                if fed < *shown_at {
                    assert!(
                        matches!(got, Ok(Deframed::Incomplete { .. })),
                        "{name}, {fed}"
                    );
                } else {
                    let got = got.unwrap_err().kind;
                    // The first bytes of a length give its least value.
                    let is_too_long = |kind| matches!(kind, TooLong(_));
                    assert!(
                        got == *kind || is_too_long(got) && is_too_long(*kind),
                        "{name}, {fed}: {got:?}"
                    );
                }
            }
            assert_eq!(
                deframe(&stream[..*shown_at], 4096).unwrap_err().kind,
                *kind,
                "{name}"
            );
        }
    }

    #[test]
    fn a_length_that_a_frame_cannot_have_is_not_written() {
        let mut to = Vec::new();
        assert_eq!(write_header(0x8000_0000, &mut to), Err(Full));
        assert!(to.is_empty());
    }

    proptest! {
        #[test]
        fn frames_come_out_of_any_stream_of_them(all in vec(vec(any::<u8>(), 0..300), 0..8), step in 1usize..400) {
            let stream: Vec<u8> = all.iter().flat_map(|data| framed(data)).collect();
            let (mut left, mut got) = (Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                left.extend_from_slice(piece);
                while let Deframed::Frame { data, consumed } = deframe(&left, 300).unwrap() {
                    got.push(data.to_vec());
                    left.drain(..consumed);
                }
            }
            prop_assert_eq!(got, all);
            prop_assert!(left.is_empty());
        }
    }
}
