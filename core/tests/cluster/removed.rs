//! What was removed from a replicated map stays removed, and what is put again is there again.

use std::time::Duration;

use folkmoot_core::cluster::{Access, ClusterConfig, ContextId, ReplicatedContextConfig};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::map::{EntryState, MapMessage, MapMessageType};
use folkmoot_core::session::SessionId;

use crate::backup::{MIXES, backup, create, node_with, request, roles, sorted, started};
use crate::net::{Kind, Net, SHOP};

/// The names of the maps on the wire.
const SESSIONS: &[u8] = b"localhost#/shop-map";
const ATTRIBUTES: &[u8] = b"/shop";

fn end(net: &mut Net, node: usize, id: &SessionId) {
    let ended = net.command(node, |cluster, now, shop| {
        cluster.expire_session(now, shop, id)
    });
    assert!(ended);
}

/// A node says something about an entry that it would not say if it knew what the others know.
fn say(net: &mut Net, from: usize, to: usize, map: &[u8], kind: MapMessageType, key: &str) {
    let key = JavaBytes::from(key);
    let value = JavaBytes::from("stale");
    let mut stream = Vec::new();
    MapMessage {
        key: Some(key.as_bytes()),
        value: (kind == MapMessageType::Copy).then_some(value.as_bytes()),
        ..MapMessage::new(kind, map)
    }
    .write(&mut stream);
    net.say_bytes(from, to, &stream);
}

#[test]
fn a_copy_that_was_under_way_does_not_bring_a_session_back() {
    let mut net = started(&[Kind::Ours; 3]);
    let id = create(&mut net, 0, &[("a", "1")]);
    end(&mut net, 0, &id);
    for kind in [
        MapMessageType::Proxy,
        MapMessageType::Backup,
        MapMessageType::Copy,
    ] {
        for to in [0, 2] {
            say(&mut net, 1, to, SESSIONS, kind, &id.to_string());
            assert_eq!(roles(&net, &id), "...", "{kind:?}");
        }
    }
    assert_eq!(backup(&net, 2).map_stats().departed_refused, 3);
    // Another session has nothing to do with it.
    say(&mut net, 1, 2, SESSIONS, MapMessageType::Proxy, "other");
    assert_eq!(roles(&net, &SessionId::from("other")), "..-");
}

#[test]
fn who_was_away_hears_of_what_has_ended_meanwhile() {
    for state in [EntryState::Primary, EntryState::Backup, EntryState::Proxy] {
        let mut net = started(&[Kind::Ours; 3]);
        let ended = create(&mut net, 0, &[("a", "1")]);
        let kept = create(&mut net, 0, &[("a", "1")]);
        let away = node_with(&net, &ended, state);
        net.nodes[away].paused = true;
        net.run(Duration::from_secs(20));
        let other = (0..3).find(|node| *node != away).unwrap();
        assert_eq!(request(&mut net, other, &ended, "a", "2"), Access::Here);
        end(&mut net, other, &ended);
        net.resume(away);
        net.run(Duration::from_secs(30));
        assert_eq!(roles(&net, &ended), "...", "{state:?}");
        assert!(!roles(&net, &kept).contains('.'), "{state:?}");
    }
}

#[test]
fn an_id_may_be_given_up_and_given_again() {
    for (mix, giver) in [(MIXES[0], 0), (MIXES[0], 1), (MIXES[1], 0), (MIXES[2], 0)] {
        let mut net = started(&mix);
        let old = create(&mut net, 0, &[("a", "1")]);
        let new = old.with_jvm_route("n9");
        let change = |net: &mut Net, node, from: &SessionId, to: &SessionId| {
            net.command(node, |cluster, now, shop| {
                assert_eq!(cluster.access(now, shop, from), Access::Here);
                let changed = cluster.change_session_id(now, shop, from, Some(to));
                assert_eq!(changed.as_ref(), Ok(to));
                cluster.end_access(now, shop, to);
            });
        };
        change(&mut net, 0, &old, &new);
        assert_eq!(roles(&net, &old), "...");
        assert_eq!(request(&mut net, giver, &new, "a", "2"), Access::Here);
        change(&mut net, giver, &new, &old);
        assert_eq!(roles(&net, &new), "...");
        assert_eq!(sorted(&roles(&net, &old)), "-BP", "{mix:?} at {giver}");
        // The same for an id that a client brings along.
        end(&mut net, giver, &old);
        assert_eq!(roles(&net, &old), "...");
        net.command(giver, |cluster, now, shop| {
            let made = cluster.create_session(now, shop, Some(&old));
            assert_eq!(made.as_ref(), Ok(&old));
            cluster.end_access(now, shop, &old);
        });
        assert_eq!(sorted(&roles(&net, &old)), "-BP", "{mix:?} at {giver}");
    }
}

/// Nodes that share the attributes of an application.
struct Shared {
    net: Net,
    contexts: Vec<ContextId>,
}

impl Shared {
    fn new(kinds: &[Kind]) -> Self {
        let (net, contexts) = (Net::new(), Vec::new());
        let mut shared = Self { net, contexts };
        for kind in kinds {
            let node = shared.net.join_empty(*kind, ClusterConfig::default());
            let config = ReplicatedContextConfig::default();
            let (now, cluster) = (shared.net.now, &mut shared.net.nodes[node].cluster);
            let context = cluster.register_context(now, SHOP, config);
            shared.contexts.push(context.unwrap());
            shared.net.run(Duration::from_secs(6));
        }
        shared
    }

    fn put(&mut self, node: usize, value: &str) {
        let now = self.net.now;
        let cluster = &mut self.net.nodes[node].cluster;
        cluster.set_context_attribute(now, self.contexts[node], "k", value);
        self.net.settle();
    }

    fn remove(&mut self, node: usize) {
        let now = self.net.now;
        let cluster = &mut self.net.nodes[node].cluster;
        cluster.remove_context_attribute(now, self.contexts[node], "k");
        self.net.settle();
    }

    /// What each node has, `.` for nothing.
    fn seen(&self) -> Vec<String> {
        let value = |(node, context): (usize, &ContextId)| {
            let context = self.net.nodes[node].cluster.context(*context);
            let value = context.and_then(|context| context.attribute("k")?.as_string());
            value.map_or(".".into(), |value| value.to_string())
        };
        self.contexts.iter().enumerate().map(value).collect()
    }
}

#[test]
fn an_attribute_that_was_removed_can_be_set_again_by_anybody() {
    for mix in MIXES {
        let mut shared = Shared::new(&mix);
        shared.put(0, "1");
        for (remover, putter) in [(0, 1), (1, 1), (2, 0), (0, 2)] {
            shared.remove(remover);
            assert_eq!(shared.seen(), [".", ".", "."]);
            // The same value as before: only that it is said again tells it from the old one.
            shared.put(putter, "1");
            assert_eq!(shared.seen(), ["1", "1", "1"], "{mix:?} {putter}");
        }
    }
}

#[test]
fn a_copy_that_was_under_way_does_not_bring_an_attribute_back() {
    let mut shared = Shared::new(&[Kind::Ours; 3]);
    shared.put(1, "1");
    shared.remove(0);
    say(&mut shared.net, 1, 2, ATTRIBUTES, MapMessageType::Copy, "k");
    assert_eq!(shared.seen(), [".", ".", "."]);
    shared.put(1, "2");
    assert_eq!(shared.seen(), ["2", "2", "2"]);
}

#[test]
fn who_was_away_hears_of_attributes_that_were_removed_meanwhile() {
    for away in [0, 2] {
        let mut shared = Shared::new(&[Kind::Ours; 3]);
        shared.put(0, "1");
        shared.net.nodes[away].paused = true;
        shared.net.run(Duration::from_secs(20));
        shared.remove(1);
        shared.net.resume(away);
        shared.net.run(Duration::from_secs(30));
        assert_eq!(shared.seen(), [".", ".", "."], "{away}");
        shared.put(away, "1");
        assert_eq!(shared.seen(), ["1", "1", "1"], "{away}");
    }
}

/// Who has been away puts what the others have removed, and has not heard of it: it is another value.
#[test]
fn an_attribute_that_was_set_apart_from_its_removal_lives_on() {
    let mut shared = Shared::new(&[Kind::Ours; 3]);
    shared.put(0, "1");
    shared.net.nodes[0].paused = true;
    shared.net.run(Duration::from_secs(20));
    shared.remove(1);
    let now = shared.net.now;
    let cluster = &mut shared.net.nodes[0].cluster;
    cluster.set_context_attribute(now, shared.contexts[0], "k", "2");
    shared.net.resume(0);
    shared.net.run(Duration::from_secs(30));
    assert_eq!(shared.seen(), ["2", "2", "2"]);
}
