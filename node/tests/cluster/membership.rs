//! Who belongs to the cluster, and messages between them.

use std::net::Ipv4Addr;

use folkmoot::{Cluster, Destination, Event, FaultCause, SendError, SendOptions};

use crate::support::{Node, PATIENCE, Plan, address, until};

#[tokio::test]
async fn a_shutdown_says_goodbye() {
    let plan = Plan::of(2);
    let nodes = plan.start_all(8);
    let mut events = nodes[0].cluster.subscribe();
    let leaving = nodes[1].cluster.local_member();
    nodes[1].cluster.shutdown().await;
    nodes[1].cluster.shutdown().await;
    assert!(nodes[1].cluster.is_stopped());
    loop {
        if let Event::MemberDisappeared(member) = events.recv().await.expect("an event") {
            assert_eq!(member, leaving);
            break;
        }
    }
    assert!(nodes[0].cluster.members().is_empty());
}

#[test]
fn dropping_the_last_handle_says_goodbye_too() {
    let mut nodes = Plan::of(2).start_all(8);
    drop(nodes.pop());
    until("gone", || nodes[0].cluster.members().is_empty());
}

#[tokio::test]
async fn a_member_that_leaves_ends_nobodys_wait() {
    let nodes = Plan::of(2).start_all(6);
    let delivery = nodes[0]
        .cluster
        .send(
            Destination::All,
            SendOptions::USE_ACK | SendOptions::SYNCHRONIZED_ACK,
            &b"hello"[..],
        )
        .expect("somebody is there")
        .expect("acknowledgements were asked for");
    assert!(delivery.await.is_complete());
    nodes[1].cluster.shutdown().await;
    until("alone", || nodes[0].cluster.members().is_empty());
    let nobody = nodes[0]
        .cluster
        .send(Destination::All, SendOptions::USE_ACK, &b"hello"[..]);
    assert!(matches!(nobody, Err(SendError::Channel(_))), "{nobody:?}");
    let gone = nodes[1].cluster.local_member();
    let gone = nodes[0].cluster.send(
        Destination::Members(&[gone]),
        SendOptions::USE_ACK,
        &b"hello"[..],
    );
    assert!(matches!(gone, Err(SendError::NoSuchMember(_))), "{gone:?}");
}

#[test]
fn nodes_find_each_other_by_multicast_on_loopback() {
    // A group of this test alone: the last bytes of an address nobody else has.
    let [_, a, b, c] = address().octets();
    let start = |route: &str| {
        Cluster::builder()
            .multicast(Ipv4Addr::new(239, a, b, c), 45564)
            .multicast_bind(Ipv4Addr::LOCALHOST)
            .multicast_ttl(0)
            .receiver_address(address())
            .jvm_route(route)
            .state_dir(std::env::temp_dir().join(format!("folkmoot-test-{}", std::process::id())))
            .start()
    };
    let nodes: Vec<Node> = ["n1", "n2", "n3"]
        .map(|route| Node::on(start(route).expect("multicast on loopback")))
        .into();
    for node in &nodes {
        node.await_members(2);
        node.manager.wait_ready(PATIENCE).expect("ready");
    }
    let ids: Vec<_> = nodes
        .iter()
        .map(|node| node.cluster.local_member().unique_id)
        .collect();
    for node in &nodes {
        assert!(
            node.cluster
                .members()
                .iter()
                .all(|member| ids.contains(&member.unique_id))
        );
    }
}

#[test]
fn nothing_is_sent_after_the_end() {
    let nodes = Plan::of(2).start_all(8);
    let id = nodes[0].manager.create_session().expect("room");
    nodes[0].cluster.shutdown_blocking();
    let manager = &nodes[0].manager;
    assert_eq!(
        manager
            .set_attribute(&id, "k", "v")
            .unwrap_err()
            .to_string(),
        "the cluster has been shut down"
    );
    assert!(manager.request_completed(&id).is_err());
    assert!(nodes[0].cluster.delta_manager("/late").is_err());
}

#[tokio::test]
async fn messages_arrive_in_order_until_nobody_takes_them() {
    let nodes = Plan::of(2).start_all(8);
    let mut messages = nodes[1].cluster.messages(8);
    let here = nodes[0].cluster.local_member();
    let send = |number: u8, options| {
        nodes[0]
            .cluster
            .send(Destination::All, options, vec![number])
            .expect("room")
    };
    for number in 0..8 {
        send(number, SendOptions::ASYNCHRONOUS);
    }
    let acknowledged = SendOptions::USE_ACK | SendOptions::SYNCHRONIZED_ACK;
    let refused = send(8, acknowledged)
        .expect("acknowledgements were asked for")
        .await;
    assert_eq!(
        refused.faulty,
        [(nodes[1].cluster.local_member(), FaultCause::RemoteProcess)]
    );
    assert!(messages.lost() > 0);
    for number in 0..8 {
        let message = messages.recv().await.expect("a message");
        assert_eq!(
            (message.sender, message.body.as_ref()),
            (here.clone(), &[number][..])
        );
    }
    let delivery = send(9, acknowledged).expect("acknowledgements were asked for");
    assert_eq!(messages.recv().await.expect("a message").body.as_ref(), [9]);
    assert!(delivery.await.is_complete());
}
