//! What threads that read ahead may do by themselves, and when it ends.
//!
//! A thread applies a delta without the engine if three things hold at that moment: the session's shard is
//! [lent](crate::session::Desk), the thread has a licence for the connection, and shard and licence are of the same terms. It finds that out under the
//! lock of the shard.
//!
//! The engine lends shards and gives licences when it is handed what a thread has read. At the end of every call it looks whether all
//! that licences rest on is as it was: who sends on those connections, that they are members, that nothing waits on them.
//! If not, all shards are taken back, each under its lock, and the next ones are lent on other terms. So whatever a thread has
//! applied was applied before the call that changed something has returned: as if it had been received before it.

use alloc::vec::Vec;

use super::ahead::Ahead;
use super::{Cluster, Managers};
use crate::channel::Plain;
use crate::engine::ConnId;
use crate::session::Source;

/// Connections with a licence, at most: each is looked at after every call. Deltas of those beyond are applied by the engine.
const LICENCES_MAX: usize = 256;

/// What is lent and licensed. A copy lends nothing.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// The number of the terms in force.
    terms: u64,
    /// Connections with a licence on these terms, and what it rests on.
    licensed: Vec<(ConnId, Plain)>,
}

impl Cluster {
    /// Ends all licences.
    pub(super) fn revoke(&mut self) {
        if self.lending.licensed.is_empty() {
            return;
        }
        self.lending.licensed.clear();
        self.lending.terms = self.lending.terms.wrapping_add(1);
        self.managers.recall(|_, _| true);
    }

    /// Ends them if something has changed that they rest on.
    pub(super) fn check_licences(&mut self) {
        if self.lending.licensed.is_empty() {
            return;
        }
        let channel = &self.channel;
        let mut licensed = self.lending.licensed.iter();
        if licensed.all(|(conn, plain)| channel.plain(*conn) == Some(*plain)) {
            self.managers
                .recall(|manager, events| !manager.may_lend(events));
        } else {
            self.revoke();
        }
    }

    /// Lets the thread that has just handed over what it read from `conn` do more by itself next time.
    pub(super) fn license(&mut self, conn: ConnId, ahead: &mut Ahead) {
        let terms = self.lending.terms;
        if ahead.terms_of(conn) != Some(terms) {
            let Some(plain) = self.channel.plain(conn) else {
                return;
            };
            if self.lending.licensed.len() >= LICENCES_MAX {
                return;
            }
            self.lending.licensed.push((conn, plain));
            let source = Source {
                index: Some(plain.index),
                writer: crate::session::writer(&plain.unique_id),
                ours: plain.ours,
                stranger: false,
            };
            let (clock, block) = (self.channel.clock(), self.channel.block(conn));
            ahead.license(conn, terms, source, clock, block);
        }
        ahead.know(&self.managers);
        self.managers.lend(terms);
    }
}

impl Managers {
    /// Lends what may be lent.
    fn lend(&mut self, terms: u64) {
        self.for_each(|manager, events| {
            if manager.may_lend(events) {
                manager.sessions.lend(terms);
            }
        });
    }
}
