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
