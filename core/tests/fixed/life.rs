//! How members come and go.

use std::time::Duration;

use folkmoot_core::fixed::{Config, Event, Membership};
use folkmoot_core::wire::{SendOptions, UniqueId};

use crate::anyone::{KINDS, Kind, Net, config};
use crate::network::at;

#[test]
fn members_find_each_other_and_notice_who_is_gone() {
    for kinds in [&[Kind::Fixed][..], KINDS] {
        let mut net = Net::of(kinds, 4, SendOptions::ASYNCHRONOUS);
        let added = |event: &&Event| matches!(event, Event::MemberAdded(_));
        assert_eq!(net.told(0).iter().filter(added).count(), 3, "{kinds:?}");
        net.kill(3);
        net.run(Duration::from_secs(8));
        for node in 0..3 {
            assert_eq!(net.members(node), 2, "{kinds:?}, node {node}");
        }
        let told = net.told(0);
        assert!(
            matches!(told[..], [Event::MemberDisappeared(_)]),
            "{told:?}"
        );
        // One that stands still is not gone at once, and one that goes on is not doubted.
        net.nodes[2].paused = true;
        net.run(Duration::from_secs(2));
        net.resume(2);
        net.run(Duration::from_secs(10));
        assert_eq!(net.members(0), 2, "{kinds:?}");
    }
}

#[test]
fn a_goodbye_is_believed_at_once() {
    let mut net = Net::of(KINDS, 3, SendOptions::ASYNCHRONOUS);
    net.command(0, |cluster, now| cluster.stop(now));
    net.run(Duration::from_millis(1200));
    assert_eq!(net.told(0).last(), Some(&Event::Stopped));
    assert_eq!((net.members(1), net.members(2)), (1, 1));
}

#[test]
fn a_static_list_needs_no_heartbeats() {
    const LIST: usize = 3;
    let ids = [1, 2, 3].map(|number| UniqueId([number; 16]));
    let list: [_; LIST] = std::array::from_fn(|node| (at(node), ids[node]));
    let list: &'static [_] = Box::leak(Box::new(list));
    let mut net = Net::new();
    for (node, id) in ids.into_iter().enumerate() {
        net.join_fixed(Config {
            unique_id: Some(id),
            membership: Membership::Static {
                members: list,
                ping_interval: Duration::from_secs(1),
            },
            ..config(node, SendOptions::ASYNCHRONOUS)
        });
    }
    net.run(Duration::from_secs(3));
    for node in 0..LIST {
        assert_eq!(net.members(node), LIST - 1);
        assert_eq!(
            net.command(node, |cluster, _| cluster.stats().heartbeats_sent),
            0
        );
    }
    net.kill(1);
    net.run(Duration::from_secs(5));
    assert_eq!((net.members(0), net.members(2)), (1, 1));
}
