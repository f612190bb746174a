//! What may happen in an exploration: how it begins, what clients do, and how much may go wrong.

use std::time::Duration;

use folkmoot_core::channel::SendOptions;

use super::net::{Mistake, Net};
use super::oracle::Oracle;

/// How the world is when the exploration begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Three nodes serve; there is one session, made on the first.
    Serving,
    /// Two nodes serve and have one session; the third has just asked for the state.
    Asking,
}

/// One thing that a client does, on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes a session.
    Create(usize),
    /// Sets an attribute of the session of that number.
    Set(usize, usize, &'static str),
    /// Ends a session.
    Expire(usize, usize),
    /// Changes the id of a session.
    ChangeId(usize, usize),
}

/// What may happen.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) beginning: Beginning,
    pub(crate) options: SendOptions,
    /// What each client does, one thing after the other; clients know nothing of each other.
    pub(crate) clients: Vec<Vec<Step>>,
    /// Nodes that may die, and how many of them.
    pub(crate) mortal: &'static [usize],
    pub(crate) deaths: u8,
    /// How many of the dead may come back.
    pub(crate) returns: u8,
    /// How many nodes may leave in good order.
    pub(crate) goodbyes: u8,
    /// How often a node may be cut off from all others; the way is mended again.
    pub(crate) partitions: u8,
    /// How often time may pass while messages wait.
    pub(crate) waits: u8,
    /// How long.
    pub(crate) wait: Duration,
    pub(crate) mistake: Option<Mistake>,
}

impl Scope {
    /// Nothing happens yet.
    pub(crate) fn new(beginning: Beginning, options: SendOptions) -> Self {
        Self {
            beginning,
            options,
            clients: Vec::new(),
            mortal: &[],
            deaths: 0,
            returns: 0,
            goodbyes: 0,
            partitions: 0,
            waits: 0,
            wait: Duration::from_secs(4),
            mistake: None,
        }
    }

    /// The world at the beginning.
    pub(crate) fn begin(&self) -> (Net, Oracle) {
        let (mut net, mut oracle) = (Net::new(self.options, self.mistake), Oracle::default());
        net.join();
        net.join();
        if self.beginning == Beginning::Serving {
            net.join();
        }
        net.calm(Duration::from_secs(3));
        oracle.create(&mut net, 0);
        net.calm(Duration::from_secs(1));
        if self.beginning == Beginning::Asking {
            net.join();
            // Until the members are known and the question has been put.
            net.wait(Duration::from_millis(1_100));
        }
        oracle.listen(&mut net);
        (net, oracle)
    }
}
