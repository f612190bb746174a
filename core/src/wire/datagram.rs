//! What a datagram on the multicast group or on a member's UDP port holds (`McastServiceImpl.receive`).

use super::frame;
use super::member::{self, MemberBlock};
use super::reader::{DecodeError, DecodeErrorKind};

/// A datagram, by what it begins with.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::wire::UniqueId;

    fn heartbeat() -> Vec<u8> {
        let block = MemberBlock {
            alive_ms: 1,
            port: 4000,
            secure_port: -1,
            udp_port: -1,
            host: &[127, 0, 0, 1],
            command: b"",
            domain: b"",
            unique_id: UniqueId([9; 16]),
            payload: b"",
            raw: b"",
        };
        let mut bytes = Vec::new();
        block.write(&mut bytes).unwrap();
        bytes
    }

    /// What came out: `Ok(None)` is a heartbeat, else the frames.
    type Content = Result<Option<Vec<Result<Vec<u8>, DecodeErrorKind>>>, DecodeErrorKind>;

    fn content(datagram: &[u8]) -> Content {
        match DatagramContent::read(datagram).map_err(|error| error.kind)? {
            DatagramContent::Heartbeat(_) => Ok(None),
            DatagramContent::Frames(frames) => Ok(Some(
                frames
                    .map(|data| data.map(<[u8]>::to_vec).map_err(|error| error.kind))
                    .collect(),
            )),
        }
    }

    #[test]
    fn a_datagram_is_a_heartbeat_or_frames_or_refused() {
        use DecodeErrorKind::{BadEnd, BadMagic, NegativeLength, Truncated};
        let frame = |data: &[u8]| {
            let mut bytes = Vec::new();
            frame::write(data, &mut bytes).unwrap();
            bytes
        };
        let (one, beat) = (frame(b"one"), heartbeat());
        let both = |a: &[u8], b: &[u8]| [a, b].concat();
        #[rustfmt::skip]
        let cases: Vec<(&str, Vec<u8>, Content)> = std::vec![
            ("nothing",                   std::vec![],                    Err(Truncated)),
            ("garbage",                   b"this is not a package".into(), Err(BadMagic)),
            ("heartbeat",                 beat.clone(),                   Ok(None)),
            ("heartbeat and more",        both(&beat, b"junk"),           Ok(None)),
            ("heartbeat cut off",         beat[..70].into(),              Err(Truncated)),
            ("begin marker only",         member::BEGIN.into(),           Err(Truncated)),
            ("marker cut off",            member::BEGIN[..9].into(),      Err(BadMagic)),
            ("one frame",                 one.clone(),                    Ok(Some(std::vec![Ok(b"one".into())]))),
            ("two frames",                both(&one, &frame(b"")),        Ok(Some(std::vec![Ok(b"one".into()), Ok(b"".into())]))),
            ("a frame, half a frame",     both(&one, &one[..12]),         Ok(Some(std::vec![Ok(b"one".into()), Err(Truncated)]))),
            ("a frame, junk",             both(&one, b"junk"),            Ok(Some(std::vec![Ok(b"one".into()), Err(BadMagic)]))),
            ("half a frame",              one[..12].into(),               Err(Truncated)),
            ("junk, a frame",             both(b"junk", &one),            Err(BadMagic)),
            ("wrong end",                 b"FLT2002\0\0\0\0TLF2002".into(), Err(BadEnd)),
            ("negative length",           b"FLT2002\xff\xff\xff\xeeTLF2003".into(), Err(NegativeLength)),
            ("length of 2 GiB",           b"FLT2002\x7f\xff\xff\xffTLF2003".into(), Err(DecodeErrorKind::TooLong(0x7fff_ffff))),
        ];
        for (name, datagram, want) in cases {
            assert_eq!(content(&datagram), want, "{name}");
        }
    }
}
