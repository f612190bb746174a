//! `GzipInterceptor`: messages as gzip members (RFC 1952), told by an option bit.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::message::{Body, Down, Flow, Inward, Outbound, Up, add};
use super::{InterceptorError, Refusal};
use crate::plant::{Bug, planted};
use crate::wire::SendOptions;

/// Compresses messages. A member without this interceptor cannot read compressed ones; what is too short to be
/// compressed is readable to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GzipInterceptor {
    /// The option bits that say that a message is compressed; default 0x100. One bit or more of those that Tribes leaves
    /// free, 0x80 and above.
    pub option_flag: u32,
    /// Messages of so many bytes or fewer are sent as they are; default 0.
    pub compression_min_size: usize,
}

impl Default for GzipInterceptor {
    fn default() -> Self {
        Self {
            option_flag: 0x100,
            compression_min_size: 0,
        }
    }
}

impl GzipInterceptor {
    pub(crate) const fn validate(&self) -> Result<(), InterceptorError> {
        if self.option_flag == 0 || self.option_flag & 0x7f != 0 {
            return Err(InterceptorError::OutOfRange(
                "optionFlag",
                "bits of 128 and above, such as 256, for a GzipInterceptor",
            ));
        }
        Ok(())
    }
}

// The flags of a member's header.
const FHCRC: u8 = 0x02;
const FEXTRA: u8 = 0x04;
const FNAME: u8 = 0x08;
const FCOMMENT: u8 = 0x10;
/// What we write: no name, no time, and as the system 0xff, unknown, as recent JDKs do.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Checksum and length.
const TRAILER: usize = 8;

/// Compresses and decompresses; keeps the tables of both.
pub struct GzipCodec {
    deflate: Box<CompressorOxide>,
    inflate: Box<DecompressorOxide>,
}

impl fmt::Debug for GzipCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GzipCodec").finish_non_exhaustive()
    }
}

impl Default for GzipCodec {
    fn default() -> Self {
        Self {
            deflate: Box::new(CompressorOxide::with_format_and_level(
                DataFormat::Raw,
                CompressionLevel::DefaultLevel,
            )),
            inflate: Box::default(),
        }
    }
}

impl GzipCodec {
    /// One gzip member with `plain`.
    pub fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity((plain.len() / 4).saturating_add(64));
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        let (status, _) =
            compress_to_output(&mut self.deflate, plain, TDEFLFlush::Finish, |bytes| {
                out.extend_from_slice(bytes);
                true
            });
        debug_assert_eq!(status, TDEFLStatus::Done);
        out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
        out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        out
    }

    /// What the gzip members at the beginning of `packed` hold; bytes behind them are ignored, as in Java.
    ///
    /// # Errors
    /// [`Refusal::NotGzip`], or [`Refusal::GzipTooLong`] for more than `max` bytes: no more than that, and what
    /// the bytes seen so far justify, is ever allocated.
    pub fn decompress(&mut self, packed: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        let mut rest = self.member(packed, max, &mut out)?;
        while rest.starts_with(&[0x1f, 0x8b]) {
            rest = self.member(rest, max, &mut out)?;
        }
        Ok(out)
    }

    /// Appends what one member holds; the bytes behind it.
    fn member<'a>(
        &mut self,
        packed: &'a [u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Refusal> {
        let mut packed = body(packed).ok_or(Refusal::NotGzip)?;
        let begin = out.len();
        let mut end = begin;
        self.inflate.init();
        loop {
            // One byte more than allowed, to see that there is one.
            if end == out.len() {
                let least = packed.len().saturating_mul(2).saturating_add(64);
                let wanted = end
                    .saturating_add(least.max(end))
                    .min(max.saturating_add(1));
                out.resize(wanted.max(end), 0);
            }
            let room = out.get_mut(begin..).ok_or(Refusal::NotGzip)?;
            let (status, read, written) = decompress(
                &mut self.inflate,
                packed,
                room,
                end.saturating_sub(begin),
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            );
            packed = packed.get(read..).ok_or(Refusal::NotGzip)?;
            end = end.saturating_add(written);
            if end > max {
                return Err(Refusal::GzipTooLong);
            }
            match status {
                TINFLStatus::Done => break,
                TINFLStatus::HasMoreOutput => {}
                _ => return Err(Refusal::NotGzip),
            }
        }
        out.truncate(end);
        let plain = out.get(begin..).ok_or(Refusal::NotGzip)?;
        let (trailer, rest) = packed
            .split_first_chunk::<TRAILER>()
            .ok_or(Refusal::NotGzip)?;
        let sum = crc32fast::hash(plain).to_le_bytes();
        let len = (plain.len() as u32).to_le_bytes();
        if trailer.starts_with(&sum) && trailer.ends_with(&len) {
            Ok(rest)
        } else {
            Err(Refusal::NotGzip)
        }
    }
}

/// What follows a member's header.
fn body(member: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = member.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else {
        return None;
    };
    if flags & FEXTRA != 0 {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.saturating_add(1)..)?;
        }
    }
    if flags & FHCRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// The layer at work.
#[derive(Debug)]
pub(crate) struct Gzip {
    config: GzipInterceptor,
    codec: GzipCodec,
}

impl Gzip {
    pub(crate) fn new(config: GzipInterceptor) -> Self {
        Self {
            config,
            codec: GzipCodec::default(),
        }
    }

    /// By how many bytes a message grows at most: what does not compress is stored, in blocks.
    pub(crate) const fn growth(len: usize) -> usize {
        (len / 1024).saturating_mul(5).saturating_add(128)
    }

    pub(crate) fn send(&mut self, down: &mut Down<'_>, message: &mut Outbound) {
        let stats = &mut down.stats.gzip;
        let len = message.body.len();
        if len <= self.config.compression_min_size {
            add(&mut stats.left_alone, 1);
            return;
        }
        message.body = self.codec.compress(&message.body).into();
        message.options = message.options.union(self.flag());
        add(&mut stats.compressed, 1);
        add(&mut stats.bytes_to_compress, len as u64);
        add(&mut stats.bytes_compressed, message.body.len() as u64);
    }

    pub(crate) fn receive<'a>(
        &mut self,
        up: &mut Up<'_>,
        mut message: Inward<'a>,
    ) -> Result<Flow<'a>, Refusal> {
        if !message.options.contains(self.flag()) {
            return Ok(Flow::Pass(message));
        }
        let packed = message.body.as_slice();
        let mut plain = self.codec.decompress(packed, up.message_bytes_max)?;
        if planted(Bug::CompressedCut) {
            plain.pop();
        }
        let stats = &mut up.stats.gzip;
        add(&mut stats.decompressed, 1);
        add(&mut stats.bytes_to_decompress, packed.len() as u64);
        add(&mut stats.bytes_decompressed, plain.len() as u64);
        message.body = Body::Owned(plain.into());
        Ok(Flow::Pass(message))
    }

    const fn flag(&self) -> SendOptions {
        SendOptions::from_bits(self.config.option_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn what_is_compressed_comes_back() {
        let mut codec = GzipCodec::default();
        let noise: Vec<u8> = (0..70_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for plain in [&b""[..], b"a", &[0; 100_000], &noise] {
            let packed = codec.compress(plain);
            assert!(packed.len() <= plain.len() + Gzip::growth(plain.len()));
            assert_eq!(codec.decompress(&packed, plain.len()).unwrap(), plain);
        }
    }

    #[test]
    fn members_in_a_row_count_together_and_what_follows_is_ignored() {
        let mut codec = GzipCodec::default();
        let mut packed = codec.compress(b"one ");
        packed.extend(codec.compress(b"two"));
        assert_eq!(codec.decompress(&packed, 7).unwrap(), b"one two");
        assert_eq!(codec.decompress(&packed, 6), Err(Refusal::GzipTooLong));
        packed.extend_from_slice(b"tail");
        assert_eq!(codec.decompress(&packed, 7).unwrap(), b"one two");
    }

    #[test]
    fn optional_fields_of_the_header_are_skipped() {
        let mut codec = GzipCodec::default();
        let plain = codec.compress(b"text");
        let mut packed = plain[..10].to_vec();
        packed[3] = FEXTRA | FNAME | FCOMMENT | FHCRC | 1;
        packed.extend_from_slice(b"\x03\x00abcname\0comment\0xx");
        packed.extend_from_slice(&plain[10..]);
        assert_eq!(codec.decompress(&packed, 100).unwrap(), b"text");
        for len in 0..packed.len() {
            assert_eq!(codec.decompress(&packed[..len], 100), Err(Refusal::NotGzip));
        }
    }

    #[test]
    fn a_bomb_is_refused_at_its_limit_and_damage_at_once() {
        let mut codec = GzipCodec::default();
        let bomb = codec.compress(&vec![0; 8 << 20]);
        assert!(bomb.len() < 16 << 10);
        assert_eq!(codec.decompress(&bomb, 1 << 20), Err(Refusal::GzipTooLong));
        let good = codec.compress(b"some text, some text, some text");
        for at in (0..good.len()).filter(|at| !(4..10).contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let read = codec.decompress(&bad, 1000);
            // Some bits are for nobody: in the header's flags, and before the trailer.
            let same = read.as_deref() == Ok(&b"some text, some text, some text"[..]);
            assert!(read.is_err() || same, "{at}");
        }
    }
}
