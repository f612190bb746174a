//! Datagrams: to the group, on the loopback interface with TTL 0, and to a member's UDP port.

use std::net::{Ipv4Addr, SocketAddr};

use crate::common::{Role, Toy, config, pattern, run_with, until};
use folkmoot_core::engine::Target;
use folkmoot_mio::{Bound, MulticastSocket, bind};

fn node(group: Ipv4Addr, port: u16) -> Bound {
    let mut config = config();
    config.multicast = Some(MulticastSocket {
        group,
        port,
        bind: Some(Ipv4Addr::LOCALHOST),
        ttl: 0,
        loopback: true,
    });
    bind(config).expect("the loopback interface carries the group")
}

const GROUP: Ipv4Addr = Ipv4Addr::new(228, 0, 0, 77);

#[test]
fn every_node_of_the_group_hears_a_datagram_and_no_other_group_does() {
    let bound = node(GROUP, 0);
    let port = bound.multicast_addr().unwrap().port();
    let (first, _) = run_with(bound, Toy::new(Role::Collect));
    let (second, _) = run_with(node(GROUP, port), Toy::new(Role::Collect));
    let (other, _) = run_with(
        node(Ipv4Addr::new(228, 0, 0, 78), port),
        Toy::new(Role::Collect),
    );
    first.with(|toy, _| toy.datagram(Target::Group, b"TRIBES-B"));
    for handle in [&first, &second] {
        until(handle, |toy| (!toy.datagrams.is_empty()).then_some(()));
        assert_eq!(
            handle.inspect(|toy| toy.datagrams[0].1.clone()),
            b"TRIBES-B"
        );
    }
    // What the other group's node hears first is its own datagram, sent later.
    other.with(|toy, _| toy.datagram(Target::Group, b"elsewhere"));
    until(&other, |toy| (!toy.datagrams.is_empty()).then_some(()));
    assert_eq!(
        other.inspect(|toy| toy.datagrams[0].1.clone()),
        b"elsewhere"
    );
    assert_eq!(first.driver_stats().datagrams_sent, 1);
}

#[test]
fn the_longest_datagram_passes_and_a_longer_one_is_counted() {
    let (node, _) = run_with(node(GROUP, 0), Toy::new(Role::Collect));
    node.with(|toy, _| {
        toy.datagram(Target::Group, &pattern(65_508));
        toy.datagram(Target::Group, &pattern(65_507));
    });
    until(&node, |toy| (!toy.datagrams.is_empty()).then_some(()));
    assert!(node.inspect(|toy| toy.datagrams[0].1 == pattern(65_507)));
    let stats = node.driver_stats();
    assert_eq!((stats.datagrams_sent, stats.datagrams_lost), (1, 1));
}

#[test]
fn a_members_udp_port_receives_and_answers() {
    let mut with_port = config();
    with_port.receiver.udp_port = Some(0);
    let bound = bind(with_port).unwrap();
    let to: SocketAddr = bound.udp_addr().unwrap();
    let (receiver, _) = run_with(bound, Toy::new(Role::Collect));
    // The sender has neither a group nor a UDP port of its own.
    let (sender, _) = run_with(bind(config()).unwrap(), Toy::new(Role::Collect));
    for text in ["one", "two"] {
        sender.with(|toy, _| toy.datagram(Target::Address(to), text.as_bytes()));
    }
    until(&receiver, |toy| (toy.datagrams.len() == 2).then_some(()));
    let heard = receiver.inspect(|toy| {
        toy.datagrams
            .iter()
            .map(|d| d.1.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(heard, [b"one", b"two"]);
}

#[test]
fn a_datagram_without_a_group_is_lost_and_counted() {
    let (node, _) = run_with(bind(config()).unwrap(), Toy::new(Role::Collect));
    node.with(|toy, _| toy.datagram(Target::Group, b"nobody"));
    assert_eq!(node.driver_stats().datagrams_lost, 1);
}

#[test]
fn a_burst_is_read_although_a_turn_has_a_budget() {
    let mut config = config();
    config.receiver.udp_port = Some(0);
    config.tuning.datagrams_per_turn = 1;
    let bound = bind(config).unwrap();
    let to = bound.udp_addr().unwrap();
    let (receiver, _) = run_with(bound, Toy::new(Role::Collect));
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..50_u8 {
        assert_eq!(sender.send_to(&[number], to).unwrap(), 1);
    }
    until(&receiver, |toy| (toy.datagrams.len() == 50).then_some(()));
}
