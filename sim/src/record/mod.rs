//! Everything about one run that a person may want to look at: every message from sending to receipt, and what every
//! node knew at every moment.
//!
//! A [`Recording`] only listens: a run that is recorded is the same run, with the same hash.

mod flow;
mod json;
mod observed;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::machine::{Machine, NodeId};
use crate::stream::{Side, StreamId};
use crate::world::{NodeState, World};
use flow::Flow;
pub use json::document;
pub use observed::Observed;
use observed::Tables;

/// Changes of state that one recording holds at most; what comes later is left out, and the recording says so.
const CHANGES_MAX: usize = 20_000_000;

/// One message, from the first byte sent to the last byte received.
#[derive(Clone, Debug)]
struct Message {
    from: u16,
    to: u16,
    kind: &'static str,
    session: Option<u32>,
    text: u32,
    len: usize,
    /// The event of its sending.
    sent: usize,
    fate: Fate,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// On its way.
    UnderWay,
    /// It will not arrive.
    Lost,
    /// The event of its receipt.
    Received(usize),
}

/// One thing that a node knew changed.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The last event before it.
    event: usize,
    node: u16,
    path: u32,
    /// `None` if there is no such thing any more.
    value: Option<u32>,
}

/// What kind of a line of the story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A fault.
    Fault,
    /// A user's work.
    Work,
    /// The run enters its next part.
    Part,
}

/// One line of the story: what the plan did to the world.
#[derive(Clone, Debug)]
struct Line {
    at: Duration,
    /// The first event that may follow from it.
    event: usize,
    told: Told,
    text: String,
}

/// What a run was, in full.
#[derive(Debug, Default)]
pub struct Recording {
    tables: Tables,
    messages: Vec<Message>,
    changes: Vec<Change>,
    /// What each node knew when it was last looked at.
    known: Vec<BTreeMap<u32, u32>>,
    story: Vec<Line>,
    /// The last event before each broken rule.
    broken: Vec<usize>,
    flows: BTreeMap<(u32, u8), Flow>,
    /// Copies of datagrams on their way, by the datagram's slot and the receiver.
    datagrams: BTreeMap<(u32, u16), VecDeque<usize>>,
    /// Whether something was left out.
    is_cut: bool,
}

impl Recording {
    /// A stream begins: what an earlier user of its slot left unread is lost.
    pub(crate) fn stream_opened(&mut self, stream: StreamId) {
        for side in [Side::Initiator, Side::Acceptor] {
            if let Some(flow) = self.flows.remove(&(stream.index, side as u8)) {
                flow.end(Fate::Lost, &mut self.messages, &mut self.tables);
            }
        }
    }

    /// Bytes leave for a stream.
    pub(crate) fn stream_sent(
        &mut self,
        event: usize,
        stream: StreamId,
        side: Side,
        ends: (u16, u16),
        bytes: &[u8],
    ) {
        let flow = self.flows.entry((stream.index, side as u8)).or_default();
        flow.sent(event, ends, bytes, &mut self.messages, &mut self.tables);
    }

    /// `len` bytes that `side` had sent are read.
    pub(crate) fn stream_read(&mut self, event: usize, stream: StreamId, side: Side, len: usize) {
        if let Some(flow) = self.flows.get_mut(&(stream.index, side as u8)) {
            flow.read(event, len, &mut self.messages);
        }
    }

    /// One copy of a datagram leaves, or is lost at once.
    pub(crate) fn datagram_sent(
        &mut self,
        event: usize,
        index: u32,
        ends: (u16, u16),
        bytes: &[u8],
        lost: bool,
    ) {
        // A node's own heartbeat that comes back to it is no news.
        if ends.0 == ends.1 {
            return;
        }
        let seen = crate::describe::datagram(bytes).unwrap_or_else(|| {
            crate::describe::Seen::new("datagram", format!("datagram of {} bytes", bytes.len()))
        });
        let message = self.tables.message(event, ends, &seen, bytes.len());
        let number = self.messages.len();
        self.messages.push(message);
        if lost {
            self.messages[number].fate = Fate::Lost;
        } else {
            let waiting = self.datagrams.entry((index, ends.1)).or_default();
            waiting.push_back(number);
        }
    }

    /// A copy of a datagram arrives, or does not.
    pub(crate) fn datagram_ended(&mut self, event: Option<usize>, index: u32, to: u16) {
        let waiting = self.datagrams.get_mut(&(index, to));
        if let Some(number) = waiting.and_then(VecDeque::pop_front)
            && let Some(message) = self.messages.get_mut(number)
        {
            message.fate = event.map_or(Fate::Lost, Fate::Received);
        }
    }

    /// Something that the plan does, with the number of events before it.
    pub(crate) fn tell(&mut self, at: Duration, event: usize, told: Told, text: String) {
        #[rustfmt::skip]
        self.story.push(Line { at, event, told, text });
    }

    /// A rule was broken after this event.
    pub(crate) fn rule_broken(&mut self, event: usize) {
        self.broken.push(event);
    }

    /// The run is over: what has not been read on streams that have ended is lost.
    fn finish(&mut self, lives: impl Fn(u32) -> bool) {
        for ((stream, _), flow) in std::mem::take(&mut self.flows) {
            let fate = if lives(stream) {
                Fate::UnderWay
            } else {
                Fate::Lost
            };
            flow.end(fate, &mut self.messages, &mut self.tables);
        }
        // A frame counts from its first byte, and is known with its last.
        self.messages.sort_by_key(|message| message.sent);
    }
}

impl<M: Machine> World<M> {
    /// From now on everything is recorded, up to `max` events; begin before the first node starts.
    pub fn record(&mut self, max: usize) {
        self.trace.keep(max);
        self.recording = Some(Box::default());
    }

    /// Takes note of what the plan is doing.
    pub(crate) fn tell(&mut self, told: Told, what: &str) {
        if let Some(recording) = &mut self.recording {
            let (at, event) = (Duration::from_nanos(self.now), self.trace.last());
            recording.tell(at, event, told, what.to_owned());
        }
    }

    /// Ends the recording and hands it out; `None` if nothing is recorded.
    pub fn take_recording(&mut self) -> Option<Recording> {
        let mut recording = self.recording.take()?;
        let living: std::collections::BTreeSet<u32> =
            self.streams.ids().map(|(id, _)| id.index).collect();
        recording.finish(|stream| living.contains(&stream));
        recording.is_cut |= self.trace.events() > self.trace.kept().len() as u64;
        Some(*recording)
    }

    /// Takes note of what a node knows now.
    pub(crate) fn observe(&mut self, node: u16) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if !self.trace.keeps() || recording.changes.len() >= CHANGES_MAX {
            recording.is_cut = true;
            return;
        }
        let this = &self.nodes[usize::from(node)];
        let mut seen = Observed::new(&mut recording.tables, this.clock);
        seen.fact(&["node", "state"], state_text(this.state));
        seen.fact(&["node", "starts"], this.boot);
        if this.slow_ns > 0 {
            let most = Duration::from_nanos(this.slow_ns);
            seen.fact(&["node", "slow"], format_args!("up to {most:?} an input"));
        }
        if this.clock.wall_ahead_ms != 0 {
            let ahead = this.clock.wall_ahead_ms;
            seen.fact(&["node", "wall clock ahead"], format_args!("{ahead} ms"));
        }
        if this.clock.drift_ppm != 0 {
            let drift = this.clock.drift_ppm;
            seen.fact(&["node", "clock too fast"], format_args!("{drift} ppm"));
        }
        if !this.held.is_empty() {
            seen.fact(&["queues", "inputs not yet noticed"], this.held.len());
        }
        if this.backlog > 0 {
            seen.fact(&["queues", "connections to accept"], this.backlog);
        }
        for to in 0..self.nodes.len() as u16 {
            let cut = self.links.cut(node, to);
            if cut != crate::link::Cut::Whole {
                let name = NodeId(to).to_string();
                seen.fact(&["links", &name], format_args!("{cut:?}"));
            }
        }
        if let Some(machine) = &this.machine {
            seen.fact(&["node", "unique id"], Hex(&this.unique_id));
            machine.observe(&mut seen);
        }
        let now = seen.into_known();
        if recording.known.len() <= usize::from(node) {
            let nodes = usize::from(node) + 1;
            recording.known.resize_with(nodes, BTreeMap::new);
        }
        let before = std::mem::replace(&mut recording.known[usize::from(node)], now);
        let after = &recording.known[usize::from(node)];
        let event = self.trace.kept().len().saturating_sub(1);
        let gone = before.keys().filter(|path| !after.contains_key(path));
        let gone = gone.map(|path| (*path, None));
        let new = after
            .iter()
            .filter(|(path, value)| before.get(path) != Some(value));
        let new = new.map(|(path, value)| (*path, Some(*value)));
        #[rustfmt::skip]
        recording.changes.extend(gone.chain(new).map(|(path, value)| Change { event, node, path, value }));
    }
}

fn state_text(state: NodeState) -> &'static str {
    match state {
        NodeState::Running => "running",
        NodeState::Paused => "paused",
        NodeState::Down(crate::world::Crash::Process) => "down",
        NodeState::Down(crate::world::Crash::Host) => "without power",
    }
}

/// Bytes as people compare them.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Tables {
    fn message(
        &mut self,
        sent: usize,
        (from, to): (u16, u16),
        seen: &crate::describe::Seen,
        len: usize,
    ) -> Message {
        Message {
            from,
            to,
            kind: seen.kind,
            session: seen.session.as_ref().map(|session| self.string(session)),
            text: self.string(&seen.text),
            len,
            sent,
            fate: Fate::UnderWay,
        }
    }
}

/// Everything that is needed to write a [`document`]: a run's report, and more about it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The command that replays it.
    pub command: String,
    /// What was built.
    pub version: String,
    /// What the plan was: network, kinds of faults, and whatever else is worth a line, by name.
    pub plan: Vec<(String, String)>,
}
