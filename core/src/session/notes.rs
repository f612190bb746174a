//! What our own nodes add to the unique ids of a transfer's messages, which a Tomcat only logs: so they count on both
//! sides, and go on with another donor where they were.

use alloc::string::String;
use core::fmt::Write as _;

/// How far a transfer has come: all sessions are here whose place in the common order is this or a smaller one.
///
/// Every node orders sessions by the same hash of their id, so that a place means the same to any donor.
pub(crate) type Place = u32;

/// The place of a session: the upper half of its lane's key.
pub(crate) const fn place(lane: u64) -> Place {
    (lane >> 32) as Place
}

/// Added to GET_ALL_SESSIONS: `;transfer=2`, or `;transfer=2;after=89abcdef;new=1500`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which of the asker's questions it is: the answers repeat it.
    pub(crate) transfer: u32,
    /// What is here already.
    pub(crate) after: Option<After>,
}

/// Where a transfer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct After {
    /// Everything up to here has come.
    pub(crate) place: Place,
    /// Milliseconds since the first question: what is newer may have been announced by a donor that died before it could.
    pub(crate) new_ms: u64,
}

/// Added to ALL_SESSION_DATA: `;transfer=2;part=3;sessions=800;whole=1;to=89abcdef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which question it answers.
    pub(crate) transfer: u32,
    /// The number of this message, from 1 on.
    pub(crate) number: u64,
    /// Sessions in it.
    pub(crate) sessions: u64,
    /// Whether the donor had the whole state itself when it was asked.
    pub(crate) whole: bool,
    /// With it everything up to here has been sent; absent if the donor follows no order.
    pub(crate) to: Option<Place>,
}

/// Added to TRANSFERCOMPLETE: `;transfer=2;messages=3;sessions=2000;whole=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Which question it answers.
    pub(crate) transfer: u32,
    /// Data messages sent.
    pub(crate) messages: u64,
    /// Sessions in all of them.
    pub(crate) sessions: u64,
    /// Whether the donor had the whole state itself when it was asked.
    pub(crate) whole: bool,
}

/// What the unique id of a GET_ALL_SESSIONS begins with; the manager's name follows.
pub(crate) const REQUEST_PREFIX: &[u8] = b"GET-ALL-";
/// What the unique id of an ALL_SESSION_DATA begins with; the manager's name follows.
pub(crate) const PART_PREFIX: &[u8] = b"SESSION-STATE-";
/// What the unique id of a TRANSFERCOMPLETE begins with; the manager's name follows, without a dash.
pub(crate) const COMPLETE_PREFIX: &[u8] = b"SESSION-STATE-TRANSFERRED";

impl Request {
    pub(crate) fn text(self) -> String {
        let mut text = alloc::format!(";transfer={}", self.transfer);
        if let Some(after) = self.after {
            let _ = write!(text, ";after={:08x};new={}", after.place, after.new_ms);
        }
        text
    }

    pub(crate) fn read(unique_id: &[u8], name: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(unique_id, REQUEST_PREFIX, name)?;
        let transfer = fields.number("transfer")?;
        let after = match fields.next_is("after") {
            true => Some(After {
                place: fields.place("after")?,
                new_ms: fields.number("new")?,
            }),
            false => None,
        };
        fields.end().then_some(Self { transfer, after })
    }
}

impl Part {
    pub(crate) fn text(self) -> String {
        let (transfer, number, sessions) = (self.transfer, self.number, self.sessions);
        let whole = u8::from(self.whole);
        let mut text =
            alloc::format!(";transfer={transfer};part={number};sessions={sessions};whole={whole}");
        if let Some(to) = self.to {
            let _ = write!(text, ";to={to:08x}");
        }
        text
    }

    pub(crate) fn read(unique_id: &[u8], name: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(unique_id, PART_PREFIX, name)?;
        let part = Self {
            transfer: fields.number("transfer")?,
            number: fields.number("part")?,
            sessions: fields.number("sessions")?,
            whole: fields.number::<u8>("whole")? == 1,
            to: match fields.next_is("to") {
                true => Some(fields.place("to")?),
                false => None,
            },
        };
        fields.end().then_some(part)
    }
}

impl Completion {
    pub(crate) fn text(self) -> String {
        let (transfer, messages, sessions) = (self.transfer, self.messages, self.sessions);
        let whole = u8::from(self.whole);
        alloc::format!(";transfer={transfer};messages={messages};sessions={sessions};whole={whole}")
    }

    pub(crate) fn read(unique_id: &[u8], name: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(unique_id, COMPLETE_PREFIX, name)?;
        let completion = Self {
            transfer: fields.number("transfer")?,
            messages: fields.number("messages")?,
            sessions: fields.number("sessions")?,
            whole: fields.number::<u8>("whole")? == 1,
        };
        fields.end().then_some(completion)
    }
}

/// What follows the name, read from the front.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn of(unique_id: &'a [u8], prefix: &[u8], name: &[u8]) -> Option<Self> {
        let note = unique_id.strip_prefix(prefix)?.strip_prefix(name)?;
        core::str::from_utf8(note).ok().map(Self)
    }

    fn next_is(&self, key: &str) -> bool {
        let value = self.0.strip_prefix(';').and_then(|s| s.strip_prefix(key));
        value.is_some_and(|value| value.starts_with('='))
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let value = self.0.strip_prefix(';')?.strip_prefix(key)?;
        let value = value.strip_prefix('=')?;
        let (value, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        self.0 = rest;
        Some(value)
    }

    fn number<T: core::str::FromStr>(&mut self, key: &str) -> Option<T> {
        self.take(key)?.parse().ok()
    }

    fn place(&mut self, key: &str) -> Option<Place> {
        Place::from_str_radix(self.take(key)?, 16).ok()
    }

    const fn end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const NAME: &[u8] = b"localhost#/shop";

    fn id(prefix: &[u8], note: &str) -> Vec<u8> {
        [prefix, NAME, note.as_bytes()].concat()
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for to in [None, Some(0), Some(0x00AB_CDEF), Some(Place::MAX)] {
            let after = to.map(|place| After {
                place,
                new_ms: u64::from(place) * 3,
            });
            let request = Request { transfer: 7, after };
            let text = id(REQUEST_PREFIX, &request.text());
            assert_eq!(Request::read(&text, NAME), Some(request));
            assert_eq!(Request::read(&text, b"localhost#/sho"), None);
            for whole in [false, true] {
                let part = Part {
                    transfer: u32::MAX,
                    number: 1,
                    sessions: 0,
                    whole,
                    to,
                };
                assert_eq!(Part::read(&id(PART_PREFIX, &part.text()), NAME), Some(part));
            }
        }
        let completion = Completion {
            transfer: 0,
            messages: u64::MAX,
            sessions: 17,
            whole: false,
        };
        let text = id(COMPLETE_PREFIX, &completion.text());
        assert_eq!(Completion::read(&text, NAME), Some(completion));
    }

    #[test]
    fn anything_else_is_no_note() {
        #[rustfmt::skip]
        let cases = [
            "", ";", ";transfer=", ";transfer=x", ";transfer=1;", ";transfer=1;after=", ";transfer=1;after=xyz",
            ";transfer=1;after=123456789;new=1", ";transfer=1;before=1", "transfer=1", ";transfer=-1", ";transfer=1;after=1;after=1",
            ";transfer=1;after=1", ";transfer=1;after=1;new=-1", ";transfer=1;after=1;new=1;",
        ];
        for note in cases {
            assert_eq!(
                Request::read(&id(REQUEST_PREFIX, note), NAME),
                None,
                "{note}"
            );
        }
        for note in ["", ";transfer=1;messages=1;whole=1", ";messages=1;whole=1"] {
            let text = id(COMPLETE_PREFIX, note);
            assert_eq!(Completion::read(&text, NAME), None, "{note}");
        }
    }
}
