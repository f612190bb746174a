//! Asking the others for a value that is not here.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::entry::Fetch;
use super::kind::MapMessageType;
use super::message::MapMessage;
use super::owner::{MapOwner, Removal};
use super::replicated::{Access, MapOut, ReplicatedMap, member, others};
use crate::channel::rpc::{CallId, RpcOption};
use crate::channel::{MemberIndex, SendOptions};
use crate::java::JavaBytes;
use crate::time::Instant;

/// How long a value that nobody gave is not asked for again.
const FAILURE_MEMORY: Duration = Duration::from_secs(1);

impl<V> ReplicatedMap<V> {
    /// Asks for a value: first those who have a backup, then the primary, then everybody.
    pub(super) fn fetch<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        take_over: bool,
    ) -> Access {
        let Some(entry) = self.entries.get_mut(key) else {
            return Access::Absent;
        };
        if let Some(fetch) = &mut entry.fetch {
            fetch.take_over |= take_over;
            return Access::Fetching;
        }
        if entry
            .failed
            .is_some_and(|at| now.since(at) < FAILURE_MEMORY)
        {
            return Access::Absent;
        }
        // What is here does not fit what the primary has: then it is to be asked first.
        let stage = u8::from(!take_over);
        self.fetch_from(now, out, owner, key, stage, take_over)
    }

    pub(super) fn fetch_from<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        owner: &mut O,
        key: &Bytes,
        from_stage: u8,
        take_over: bool,
    ) -> Access {
        let map_id = self.map_id.clone();
        for stage in from_stage..3 {
            let Some(entry) = self.entries.get(key) else {
                return Access::Absent;
            };
            let to: Vec<MemberIndex> = match stage {
                0 => others(&entry.nodes).collect(),
                1 => entry.primary.as_slice().iter().filter_map(member).collect(),
                // A proxy of a Tomcat may answer with an old value: only if there is no better way.
                _ => self.members().collect(),
            };
            let message = MapMessage {
                key: Some(key),
                ..MapMessage::new(MapMessageType::RetrieveBackup, &map_id)
            };
            // All, since the first answer may be that it is not there.
            if let Some(call) = self.call(now, out, &to, &message, RpcOption::AllReply) {
                let fetch = Fetch {
                    call,
                    stage,
                    take_over,
                    denials: 0,
                };
                self.fetches.insert(call, key.clone());
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.fetch = Some(fetch);
                }
                return Access::Fetching;
            }
        }
        self.fetch_ended(now, owner, key, take_over);
        Access::Absent
    }

    /// Nobody gave the value.
    fn fetch_ended<O: MapOwner<Value = V>>(
        &mut self,
        now: Instant,
        owner: &mut O,
        key: &Bytes,
        take_over: bool,
    ) {
        let members = self.members.len();
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let denied = entry
            .fetch
            .take()
            .is_none_or(|fetch| fetch.denials >= members);
        entry.failed = Some(now);
        if !take_over {
            return;
        }
        self.stats.fetch_failed = self.stats.fetch_failed.wrapping_add(1);
        // Everybody said that it is not there: it is of no use any more. Who was only silent may be asked again.
        if denied && let Some(entry) = self.entries.remove(key) {
            self.stats.lost = self.stats.lost.wrapping_add(1);
            if let Some(value) = entry.value {
                owner.removed(key, value, Removal::Lost);
            }
        }
        owner.fetched(key, false);
    }

    /// Makes a request with a map message.
    pub(super) fn call(
        &mut self,
        now: Instant,
        out: &mut MapOut<'_>,
        to: &[MemberIndex],
        message: &MapMessage<'_>,
        option: RpcOption,
    ) -> Option<CallId> {
        let timeout = match message.kind() {
            Some(MapMessageType::Ping | MapMessageType::Init | MapMessageType::Start) => {
                self.config.access_timeout.min(self.config.rpc_timeout)
            }
            _ => self.config.rpc_timeout,
        };
        let mut stream = Vec::new();
        message.write(&mut stream);
        let message = JavaBytes::from_checked(stream.into());
        let options = SendOptions::USE_ACK;
        let called = self
            .rpc
            .send(now, out.channel, to, message, option, options, timeout);
        called.ok().flatten()
    }
}
