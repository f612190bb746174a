//! A partition that heals: our nodes are equal again, which no Tomcat ever is.

use serde_json::json;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::namespace::{cut, heal};
use crate::support::probe::Kind::{Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    fn our_nodes_are_equal_after_a_partition(name) { partition(name); }
}

const MEMBERS: [&str; 3] = ["127.0.0.11:4000", "127.0.0.12:4000", "127.0.0.13:4000"];

/// Two of ours and a Tomcat, each cut off from the others. Both of ours write to one session: on the second it gets another id,
/// for it has another route.
fn partition(name: &str) {
    let setup = Setup::new(Membership::Static, 8);
    let cluster = Cluster::started(name, &[Rust, Rust, Tomcat], &setup);
    let mut first = Client::new();
    let set = |client: &mut Client, node: usize, key: &str, value: i32| {
        let path = format!("/s/set?k={key}&type=int&v={value}");
        client.get(cluster.http(node), &path).id().to_owned()
    };
    let id = set(&mut first, 0, "both", 0);
    let int = |value: i32| json!({"type": "java.lang.Integer", "value": value});
    cluster.await_attributes(&id, &json!({"both": int(0)}));
    let mut second = Client::new();
    second.cookie = first.cookie.clone();

    cut(4000);
    for node in 0..2 {
        cluster.await_other_members(node, &[]);
    }
    set(&mut first, 0, "first", 1);
    set(&mut first, 0, "both", 1);
    // The later one wins by clocks that count milliseconds, and two changes in one of them count as two.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let moved = set(&mut second, 1, "second", 2);
    set(&mut second, 1, "both", 2);
    let other = set(&mut Client::new(), 0, "new", 3);
    assert_ne!(id, moved);

    heal();
    for (node, own) in MEMBERS.iter().enumerate().take(2) {
        let others: Vec<&str> = MEMBERS.iter().copied().filter(|m| m != own).collect();
        cluster.await_other_members(node, &others);
    }
    let expected = json!({"both": int(2), "first": int(1), "second": int(2)});
    for node in &cluster.nodes[..2] {
        until(
            &format!("{} has what both sides wrote", node.name),
            SOON,
            || match (
                node.attributes(&moved),
                node.peek(&id).is_none(),
                node.attributes(&other),
            ) {
                (attributes, true, new)
                    if attributes == expected && new == json!({"new": int(3)}) =>
                {
                    Ok(())
                }
                seen => Err(seen),
            },
        );
    }
    // One value has lost: that of the node whose write was the earlier one.
    let reconciled = |node: usize| {
        let state = cluster.nodes[node].state();
        println!("n{}: {}", node + 1, state.get("reconciled"));
        state.get("reconciled")["conflicts"]
            .as_u64()
            .unwrap_or_default()
    };
    assert_eq!(reconciled(0) + reconciled(1), 1);
    // And the cluster goes on, the Tomcat included.
    let last = set(&mut Client::new(), 2, "k", 4);
    cluster.await_attributes(&last, &json!({"k": int(4)}));
}
