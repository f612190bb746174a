//! What can go wrong, as data: drawn before a run, applied at its time, left out by shrinking.

use std::fmt;
use std::time::Duration;

use crate::link::Cut;
use crate::machine::{Machine, NodeId};
use crate::rng::SimRng;
use crate::world::{Crash, Identity, NodeState, World};

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node ends without a word.
    Crash(NodeId, Crash),
    /// A node says goodbye, and its process ends three seconds later.
    Leave(NodeId),
    /// A node that is down starts.
    Boot(NodeId, Identity),
    /// A node's process stands still for a while.
    Pause(NodeId, Duration),
    /// Each input takes a node up to so long; zero for no time.
    Slow(NodeId, Duration),
    /// A node's wall clock jumps to so many milliseconds ahead, and all its clocks run so many parts in a million too fast.
    Clock(NodeId, i64, i32),
    /// The next so many messages fail in a node's application.
    Fail(NodeId, u32),
    /// Nothing passes in one direction.
    Cut(NodeId, NodeId, Cut),
    /// Nothing passes between the groups; a node, or a stranger, belongs to the group that its place in the list says.
    Partition(Vec<u8>, Cut),
    /// Everything passes again.
    Heal,
    /// Nothing passes in one direction for a while, and nothing is lost.
    Stall(NodeId, NodeId, Duration),
    /// All streams between two nodes are reset.
    Reset(NodeId, NodeId),
    /// All streams between two nodes die in silence.
    Sever(NodeId, NodeId),
}

/// The kinds of faults, by name: what a run may have at all is drawn from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the faults")]
pub enum FaultKind {
    Crash,
    Leave,
    Pause,
    Slow,
    Clock,
    Fail,
    Cut,
    Partition,
    Stall,
    Reset,
    Sever,
    StrangerPause,
    StrangerCrash,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Crash,
        Self::Leave,
        Self::Pause,
        Self::Slow,
        Self::Clock,
        Self::Fail,
        Self::Cut,
        Self::Partition,
        Self::Stall,
        Self::Reset,
        Self::Sever,
        Self::StrangerPause,
        Self::StrangerCrash,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Leave => "leave",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::Clock => "clock",
            Self::Fail => "fail",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::Sever => "sever",
            Self::StrangerPause => "stranger-pause",
            Self::StrangerCrash => "stranger-crash",
        }
    }

    /// Whether it happens to Tomcats and hostile peers, and so only where there are some.
    pub const fn is_of_strangers(self) -> bool {
        matches!(self, Self::StrangerPause | Self::StrangerCrash)
    }

    /// A fault of this kind among `nodes` of ours, whose numbers come first, and so many `strangers`; and what ends it
    /// after some time, if it has to be ended.
    pub fn draw(
        self,
        nodes: u16,
        strangers: u16,
        rng: &mut SimRng,
    ) -> (Fault, Option<(Duration, Fault)>) {
        let node = match self.is_of_strangers() {
            true => NodeId(nodes + rng.below(u64::from(strangers)) as u16),
            false => NodeId(rng.below(u64::from(nodes)) as u16),
        };
        // Ways to strangers are cut, too; what dies in silence between a Tomcat and us nobody looks for at its end.
        let reach = match self {
            Self::Sever => nodes,
            _ => nodes + strangers,
        };
        let other =
            NodeId((node.0 + 1 + rng.below(u64::from(reach.max(2) - 1)) as u16) % reach.max(1));
        let long = Duration::from_millis(rng.between(10, 12_000));
        // Most restarts are quick: that is when the dead and the new incarnation meet.
        let short = Duration::from_millis(match rng.below(3) {
            0 => rng.between(1, 50),
            1 => rng.between(50, 3000),
            _ => rng.between(3000, 10_000),
        });
        let identity = *rng.pick(&[Identity::Same, Identity::New, Identity::New]);
        let cut = *rng.pick(&[Cut::Dropped, Cut::Dropped, Cut::Rejected]);
        match self {
            Self::Crash | Self::StrangerCrash => {
                let how = *rng.pick(&[Crash::Process, Crash::Process, Crash::Host]);
                (
                    Fault::Crash(node, how),
                    Some((short, Fault::Boot(node, identity))),
                )
            }
            Self::Leave => {
                let back = Duration::from_secs(3) + short;
                (
                    Fault::Leave(node),
                    Some((back, Fault::Boot(node, identity))),
                )
            }
            Self::Pause | Self::StrangerPause => (Fault::Pause(node, long), None),
            Self::Slow => {
                let slow = Duration::from_micros(rng.between(10, 20_000));
                (
                    Fault::Slow(node, slow),
                    Some((long, Fault::Slow(node, Duration::ZERO))),
                )
            }
            Self::Clock => {
                let ahead = match rng.below(3) {
                    0 => 0,
                    1 => rng.below(4000) as i64 - 2000,
                    _ => rng.below(200_000_000) as i64 - 100_000_000,
                };
                (Fault::Clock(node, ahead, rng.below(600) as i32 - 300), None)
            }
            Self::Fail => (Fault::Fail(node, rng.between(1, 3) as u32), None),
            Self::Cut => (Fault::Cut(node, other, cut), Some((long, Fault::Heal))),
            Self::Partition => {
                let groups = rng.between(2, 3);
                let groups = (0..reach).map(|_| rng.below(groups) as u8).collect();
                (Fault::Partition(groups, cut), Some((long, Fault::Heal)))
            }
            Self::Stall => (Fault::Stall(node, other, short), None),
            Self::Reset => (Fault::Reset(node, other), None),
            Self::Sever => (Fault::Sever(node, other), None),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node, Crash::Process) => write!(f, "{node} is killed"),
            Self::Crash(node, Crash::Host) => write!(f, "{node} loses power"),
            Self::Leave(node) => write!(f, "{node} leaves"),
            Self::Boot(node, Identity::Same) => write!(f, "{node} starts with the same id"),
            Self::Boot(node, Identity::New) => write!(f, "{node} starts with a new id"),
            Self::Pause(node, time) => write!(f, "{node} stands still for {time:?}"),
            Self::Slow(node, Duration::ZERO) => write!(f, "{node} is quick again"),
            Self::Slow(node, time) => write!(f, "{node} takes up to {time:?} for each input"),
            Self::Clock(node, ahead, drift) => write!(
                f,
                "{node}'s clock is {ahead} ms ahead, {drift} ppm too fast"
            ),
            Self::Fail(node, count) => write!(f, "the next {count} messages fail on {node}"),
            Self::Cut(from, to, cut) => write!(f, "{from} to {to}: {cut:?}"),
            Self::Partition(groups, cut) => write!(f, "partition {groups:?}: {cut:?}"),
            Self::Heal => f.write_str("every link is whole"),
            Self::Stall(from, to, time) => write!(f, "{from} to {to} stalls for {time:?}"),
            Self::Reset(a, b) => write!(f, "streams between {a} and {b} are reset"),
            Self::Sever(a, b) => write!(f, "streams between {a} and {b} die in silence"),
        }
    }
}

impl<M: Machine> World<M> {
    /// Lets a fault happen. A node that is paused goes on by itself; see [`Fault::Pause`]. What would happen to a stranger
    /// who does not come in this mode happens to nobody.
    pub fn apply(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(node, _)
            | Fault::Boot(node, _)
            | Fault::Pause(node, _)
            | Fault::Cut(_, node, _)
            | Fault::Stall(_, node, _)
            | Fault::Reset(_, node)
                if !self.has(*node) => {}
            Fault::Crash(node, how) => self.crash(*node, *how),
            Fault::Leave(node) => {
                self.with(*node, |machine, now| machine.stop(now));
                self.end_later(*node, Duration::from_secs(3));
            }
            Fault::Boot(node, identity) => self.boot(*node, *identity),
            Fault::Pause(node, time) => {
                if self.state(*node) == NodeState::Running {
                    self.pause(*node);
                    self.resume_later(*node, *time);
                }
            }
            Fault::Slow(node, time) => self.slow_down(*node, *time),
            Fault::Clock(node, ahead, drift) => self.set_clock(*node, |clock| {
                (clock.wall_ahead_ms, clock.drift_ppm) = (*ahead, *drift);
            }),
            Fault::Fail(node, count) => {
                self.with(*node, |machine, _| machine.fail_next(*count));
            }
            Fault::Cut(from, to, cut) => self.set_link(*from, *to, *cut),
            Fault::Partition(groups, cut) => {
                let of = |group: u8| {
                    let (all, hosts) = (self.node_ids().chain(self.stranger_ids()), &*self);
                    all.filter(move |node| {
                        groups.get(node.index()) == Some(&group) && hosts.has(*node)
                    })
                };
                let groups: Vec<Vec<NodeId>> =
                    (0..=u8::MAX).map(|group| of(group).collect()).collect();
                let groups: Vec<&[NodeId]> = groups
                    .iter()
                    .map(Vec::as_slice)
                    .filter(|g| !g.is_empty())
                    .collect();
                self.partition(&groups, *cut);
            }
            Fault::Heal => self.heal(),
            Fault::Stall(from, to, time) => self.stall(*from, *to, *time),
            Fault::Reset(a, b) => self.reset_streams(*a, *b),
            Fault::Sever(a, b) => self.sever_streams(*a, *b),
        }
    }
}
