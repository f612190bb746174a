//! A message as it crosses the wire between two channels (`ChannelData`).

use super::frame;
use super::options::SendOptions;
use super::reader::{DecodeError, Reader};
use super::sink::{Full, Sink};
use super::unique_id::UniqueId;

/// A message with its header, borrowed from the receive buffer.
///
/// Layout, big-endian, inside a frame (`ChannelData.getDataPackage`):
///
/// | bytes | field | |
/// |---|---|---|
/// | 4 | options | [`SendOptions`] |
/// | 8 | timestamp | milliseconds since the Unix epoch, sender's clock |
/// | 4 + n | unique id | n is 16 from every known sender |
/// | 4 + n | address | the sender's [`MemberBlock`](super::MemberBlock) |
/// | 4 + n | message | |
///
/// The address is not looked into here: a receiver that remembers the last block of a connection need not
/// parse it again ([`member::same_but_alive`](super::member::same_but_alive)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChannelData<'a> {
    /// How it was sent.
    pub options: SendOptions,
    /// When `send` was called: milliseconds since the Unix epoch by the sender's clock.
    pub timestamp_ms: u64,
    /// The message's name.
    pub unique_id: &'a [u8],
    /// Who sent it, undecoded.
    pub address: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

/// Bytes of the fields that are always there: everything but the unique id, the address and the message.
pub const FIXED_LEN: usize = 24;

impl<'a> ChannelData<'a> {
    /// Reads one message; bytes after it are left in `reader`.
    ///
    /// # Errors
    /// [`DecodeError`] for a negative length, or one beyond the end of the bytes.
    #[inline]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            options: SendOptions::from_bits(reader.u32("options")?),
            timestamp_ms: reader.u64("timestamp")?,
            unique_id: reader.sized(usize::MAX, "unique id")?,
            address: reader.sized(usize::MAX, "address")?,
            message: reader.sized(usize::MAX, "message")?,
        })
    }

    /// Reads the data of a frame, all of them.
    ///
    /// # Errors
    /// As [`read`](Self::read), and for bytes after the message. (`ChannelData.getDataFromPackage` ignores
    /// those, but no sender writes them: a frame that has them is damaged.)
    #[inline]
    pub fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let message = Self::read(&mut reader)?;
        reader.finish("message")?;
        Ok(message)
    }

    /// How many bytes [`write`](Self::write) writes.
    pub const fn encoded_len(&self) -> usize {
        FIXED_LEN
            .saturating_add(self.unique_id.len())
            .saturating_add(self.address.len())
            .saturating_add(self.message.len())
    }

    /// Writes it without a frame.
    ///
    /// # Errors
    /// [`Full`] without room, or if a field is longer than 2³¹ − 1 bytes.
    pub fn write(&self, to: &mut impl Sink) -> Result<(), Full> {
        to.put_u32(self.options.bits())?;
        to.put_u64(self.timestamp_ms)?;
        to.put_sized(self.unique_id)?;
        to.put_sized(self.address)?;
        to.put_sized(self.message)
    }

    /// Writes it as one frame, [`frame::OVERHEAD`] bytes more than [`encoded_len`](Self::encoded_len).
    ///
    /// # Errors
    /// As [`write`](Self::write), and if all of it is longer than 2³¹ − 1 bytes.
    pub fn write_frame(&self, to: &mut impl Sink) -> Result<(), Full> {
        frame::write_header(self.encoded_len(), to)?;
        self.write(to)?;
        to.put(&frame::END)
    }
}

/// Everything of a framed message that comes before the message itself.
///
/// What a channel writes for a message of known length: this, the message, then
/// [`frame::END`]. The message can thus stay where it is, shared by all destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MessageHeader<'a> {
    /// How it is sent.
    pub options: SendOptions,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The message's name.
    pub unique_id: UniqueId,
    /// The local member's block, as [`MemberBlock::write`](super::MemberBlock::write) or
    /// [`Member::write`](super::Member::write) wrote it.
    pub address: &'a [u8],
    /// How many bytes of message follow.
    pub message_len: usize,
}

impl MessageHeader<'_> {
    /// How many bytes [`write`](Self::write) writes for an address of `address_len` bytes.
    pub const fn encoded_len(address_len: usize) -> usize {
        (frame::HEADER + FIXED_LEN + UniqueId::LEN).saturating_add(address_len)
    }

    /// How many bytes the whole frame has: header, message and end marker.
    pub const fn frame_len(&self) -> usize {
        self.data_len().saturating_add(frame::OVERHEAD)
    }

    const fn data_len(&self) -> usize {
        (FIXED_LEN + UniqueId::LEN)
            .saturating_add(self.address.len())
            .saturating_add(self.message_len)
    }

    /// Writes the frame's header and the message's header.
    ///
    /// # Errors
    /// [`Full`] without room, or if the frame's data would be longer than 2³¹ − 1 bytes.
    #[inline]
    pub fn write(&self, to: &mut impl Sink) -> Result<(), Full> {
        frame::write_header(self.data_len(), to)?;
        to.put_u32(self.options.bits())?;
        to.put_u64(self.timestamp_ms)?;
        to.put_sized(&self.unique_id.0)?;
        to.put_sized(self.address)?;
        to.put_length(self.message_len)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::reader::DecodeErrorKind;
    use super::super::sink::SliceSink;
    use super::*;

    #[test]
    fn a_field_that_reaches_beyond_the_frame_is_refused() {
        use DecodeErrorKind::{NegativeLength, Trailing, Truncated};
        const ID: [u8; 20] = [
            0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ];
        let join = |parts: &[&[u8]]| {
            [&[0; 12][..]]
                .iter()
                .chain(parts)
                .copied()
                .flatten()
                .copied()
                .collect::<Vec<u8>>()
        };
        #[rustfmt::skip]
        let cases = [
            ("nothing",             Vec::new(),                                             Truncated.of("options")),
            ("options only",        std::vec![0; 4],                                        Truncated.of("timestamp")),
            ("no id",               join(&[]),                                              Truncated.of("unique id")),
            ("id of minus one",     join(&[&[0xff; 4]]),                                    NegativeLength.of("unique id")),
            ("id of 2 GiB",         join(&[&[0x7f, 0xff, 0xff, 0xff]]),                     Truncated.of("unique id")),
            ("no address",          join(&[&ID]),                                           Truncated.of("address")),
            ("address of 2 GiB",    join(&[&ID, &[0x7f, 0xff, 0xff, 0xff], &[0; 100]]),     Truncated.of("address")),
            ("negative address",    join(&[&ID, &[0x80, 0, 0, 0], &[0; 100]]),              NegativeLength.of("address")),
            ("no message",          join(&[&ID, &[0; 4]]),                                  Truncated.of("message")),
            ("negative message",    join(&[&ID, &[0; 4], &[0xff; 4]]),                      NegativeLength.of("message")),
            ("message cut off",     join(&[&ID, &[0; 4], &[0, 0, 0, 3, 1, 2]]),             Truncated.of("message")),
            ("a byte too many",     join(&[&ID, &[0; 4], &[0, 0, 0, 2, 1, 2, 3]]),          Trailing(1).of("message")),
        ];
        for (name, data, want) in cases {
            assert_eq!(ChannelData::decode(&data), Err(want), "{name}");
        }
    }

    fn any_header() -> impl Strategy<Value = (u32, u64, [u8; 16], Vec<u8>, Vec<u8>)> {
        let bytes = || vec(any::<u8>(), 0..200);
        (
            any::<u32>(),
            any::<u64>(),
            any::<[u8; 16]>(),
            bytes(),
            bytes(),
        )
    }

    proptest! {
        #[test]
        fn channel_data_survives_the_wire((bits, timestamp_ms, id, address, message) in any_header(), id_len in 0usize..=16) {
            let sent = ChannelData {
                options: SendOptions::from_bits(bits),
                timestamp_ms,
                unique_id: &id[..id_len],
                address: &address,
                message: &message,
            };
            let mut wire = Vec::new();
            sent.write(&mut wire).unwrap();
            prop_assert_eq!(wire.len(), sent.encoded_len());
            prop_assert_eq!(ChannelData::decode(&wire), Ok(sent));
            for cut in 0..wire.len() {
                prop_assert!(ChannelData::decode(&wire[..cut]).is_err());
            }
        }

        #[test]
        fn header_message_and_end_make_the_frame((bits, timestamp_ms, id, address, message) in any_header()) {
            let options = SendOptions::from_bits(bits);
            let header = MessageHeader { options, timestamp_ms, unique_id: UniqueId(id), address: &address, message_len: message.len() };
            let data = ChannelData { options, timestamp_ms, unique_id: &id, address: &address, message: &message };
            let (mut parts, mut whole) = (Vec::new(), Vec::new());
            header.write(&mut parts).unwrap();
            prop_assert_eq!(parts.len(), MessageHeader::encoded_len(address.len()));
            parts.extend_from_slice(&message);
            parts.extend_from_slice(&frame::END);
            data.write_frame(&mut whole).unwrap();
            prop_assert_eq!(&parts, &whole);
            prop_assert_eq!(whole.len(), header.frame_len());
            // Into a buffer that is one byte too short, it does not go.
            let mut buffer = std::vec![0; whole.len() - 1];
            prop_assert_eq!(data.write_frame(&mut SliceSink::new(&mut buffer)), Err(Full));
        }
    }
}
