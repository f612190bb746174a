//! A node that joins another one again and again, joined by memory: what the machines cost a session of a state transfer and of the
//! comparison that follows it.

use std::time::Duration;

use folkmoot_core::cluster::{Cluster, ClusterConfig, ContextId};
use folkmoot_core::session::{DeltaManagerConfig, TransferResult};
use folkmoot_core::time::Instant;

use crate::Result;
use crate::machines::{addresses, channel};
use crate::pipe::Pipe;

/// Sessions that are given, each with an attribute of 1 KiB.
pub const SESSIONS: usize = 200;

/// A node with sessions, and one that gets them.
#[derive(Debug)]
pub struct Joining {
    pipe: Pipe<Cluster>,
    now: Instant,
    joined: Option<ContextId>,
}

/// The path of the application.
const SHOP: &str = "/shop";

impl Joining {
    /// Starts both, and gives the first its sessions.
    ///
    /// # Errors
    /// The context cannot be registered, or there is no room for a session.
    pub fn new() -> Result<Self> {
        let engine =
            |number| channel(number).map(|channel| Cluster::new(channel, ClusterConfig::default()));
        let mut pipe = Pipe::new([engine(0)?, engine(1)?], addresses());
        let mut now = Instant::ZERO;
        for side in [0, 1] {
            pipe.with(side, |cluster| cluster.start(now));
        }
        let context = pipe.with(0, |cluster| {
            cluster.register_manager(now, SHOP, DeltaManagerConfig::default())
        })?;
        for _ in 0..100 {
            now = now + Duration::from_millis(100);
            pipe.tick(now);
        }
        for number in 0..SESSIONS {
            pipe.with(0, |cluster| -> Result<()> {
                let id = cluster.create_session(now, context, None)?;
                let value = format!("{number:<1024}");
                cluster.set_attribute(now, context, &id, "cart", value.as_str())?;
                cluster.request_completed(now, context, &id)?;
                cluster.end_access(now, context, &id);
                Ok(())
            })?;
            pipe.settle(now);
        }
        Ok(Self {
            pipe,
            now,
            joined: None,
        })
    }

    /// The second forgets what it has, and gets the state of the first.
    ///
    /// # Errors
    /// Not all sessions came.
    pub fn join(&mut self) -> Result<()> {
        let (now, before) = (self.now, self.joined);
        let context = self.pipe.with(1, |cluster| {
            if let Some(before) = before {
                cluster.unregister_manager(now, before);
            }
            cluster.register_manager(now, SHOP, DeltaManagerConfig::default())
        })?;
        self.joined = Some(context);
        for _ in 0..100 {
            self.now = self.now + Duration::from_millis(1);
            self.pipe.tick(self.now);
            for side in [0, 1] {
                self.pipe
                    .with(side, |cluster| while cluster.poll_event().is_some() {});
            }
            let ended = self.pipe.with(1, |cluster| {
                let manager = cluster.manager(context)?;
                Some((manager.last_transfer()?.result, manager.session_count()))
            });
            match ended {
                None => {}
                Some((TransferResult::Complete, SESSIONS)) => return Ok(()),
                Some((result, count)) => return Err(format!("{result:?}: {count}").into()),
            }
        }
        Err("the state has not come".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_all_sessions_come() {
        let mut joining = Joining::new().expect("two members");
        for _ in 0..3 {
            joining.join().expect("all of them");
        }
    }
}
