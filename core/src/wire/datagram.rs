//! What a datagram on the multicast group or on a member's UDP port holds (`McastServiceImpl.receive`).

use super::frame;
use super::member::{self, MemberBlock};
use super::reader::{DecodeError, DecodeErrorKind};

/// A datagram, by what it begins with.
#[derive(Clone, Debug)]
pub enum DatagramContent<'a> {
    /// A member says that it is there, or, with the command [`member::SHUTDOWN`], that it leaves.
    Heartbeat(MemberBlock<'a>),
    /// Frames back to back, at least one of them whole.
    Frames(Frames<'a>),
}

impl<'a> DatagramContent<'a> {
    /// Looks at a whole datagram.
    ///
    /// # Errors
    /// [`DecodeError`] if it begins with neither a good member block nor a whole frame. Unlike
    /// `McastServiceImpl`, which sleeps half a second for some of these, a caller just drops it.
    pub fn read(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        if datagram.starts_with(&member::BEGIN) {
            return MemberBlock::read(datagram).map(Self::Heartbeat);
        }
        let frames = Frames { rest: datagram };
        match frames.clone().next() {
            Some(Ok(_)) => Ok(Self::Frames(frames)),
            Some(Err(error)) => Err(error),
            None => Err(DecodeErrorKind::Truncated.of("datagram")),
        }
    }
}

/// The data of the frames in a datagram, in order.
///
/// A damaged or unfinished frame is an `Err` and the last item.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        Some(match frame::deframe(rest, rest.len()) {
            Ok(frame::Deframed::Frame { data, consumed }) => {
                self.rest = rest.get(consumed..).unwrap_or_default();
                Ok(data)
            }
            Ok(frame::Deframed::Incomplete { .. }) => Err(DecodeErrorKind::Truncated.of("frame")),
            Err(error) => Err(error),
        })
    }
}
