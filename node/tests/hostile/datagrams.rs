//! Heartbeats that are none, that are forged, that are our own.

use std::net::{Ipv4Addr, SocketAddr};

use crate::forge::{BYTE_MESSAGE, channel_data, frame};
use crate::pair::Pair;
use crate::support::recorder::{member, member_of};
use crate::support::wait::{SOON, until};

scenarios! {
    fn bad_datagrams_are_dropped(name) { bad(name); }
    fn our_own_heartbeats_and_other_domains_are_ignored(name) { not_for_us(name); }
    fn a_goodbye_in_the_victims_name_is_soon_forgotten(name) { forged_goodbye(name); }
    fn ten_thousand_forged_members_join_nobody(name) { forged(name); }
}

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(228, 0, 0, 4), 45564);

fn bad(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let good = member(pair.attacker, 1, b"");
    let turned = {
        let mut block = good.clone();
        let end = block.len() - 10;
        block[end..].copy_from_slice(b"TRIBES-B\x01\x00");
        block
    };
    let huge = {
        let mut block = good.clone();
        block[39..43].copy_from_slice(&i32::MAX.to_be_bytes());
        block
    };
    #[rustfmt::skip]
    let cases: [(&str, Vec<u8>); 7] = [
        ("garbage",                      b"hello, group".to_vec()),
        ("nothing",                      Vec::new()),
        ("a heartbeat cut short",        good[..good.len() - 11].to_vec()),
        ("a heartbeat with a wrong end", turned),
        ("a heartbeat with a huge field", huge),
        ("a frame cut short",            frame(&channel_data(BYTE_MESSAGE, pair.attacker, b"hello"))[..40].to_vec()),
        ("a whole datagram of nines",    vec![9; 60_000]),
    ];
    for (what, bytes) in cases {
        let before = pair.count(|stats| stats.bad.total());
        let logged = pair.logged().len();
        let socket = pair.datagrams();
        socket.send_to(&bytes, GROUP).expect("sent");
        until(&format!("{what}: counted"), SOON, || {
            match pair.count(|stats| stats.bad.total()) - before {
                1 => Ok(()),
                counted => Err(counted),
            }
        });
        // Both nodes are in the group.
        let lines = until(&format!("{what}: logged"), SOON, || {
            let lines = pair.logged().split_off(logged);
            if lines.len() >= 2 {
                Ok(lines)
            } else {
                Err(lines)
            }
        });
        println!("{what}: {}", lines[0]);
    }
    pair.unharmed();
}

fn not_for_us(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let socket = pair.datagrams();
    let ours = pair.victim.cluster.local_member();
    let own = member_of(pair.victim.receiver(), 99, b"", b"", ours.unique_id.0);
    let elsewhere = member_of(pair.attacker, 99, b"", b"elsewhere", [7; 16]);
    let before = pair.victim.cluster.stats();
    for _ in 0..20 {
        for heartbeat in [&own, &elsewhere] {
            socket.send_to(heartbeat, GROUP).expect("sent");
        }
    }
    until("our own are counted", SOON, || {
        let own = pair.count(|stats| stats.heartbeats_own) - before.heartbeats_own;
        if own >= 20 { Ok(()) } else { Err(own) }
    });
    until("another domain's are counted", SOON, || {
        let other = pair.count(|stats| stats.heartbeats_other_domain);
        match other - before.heartbeats_other_domain {
            20 => Ok(()),
            other => Err(other),
        }
    });
    pair.unharmed();
}

/// Ten thousand heartbeats of members nobody can connect to, and then the true ones still count.
fn forged(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let socket = pair.datagrams();
    for n in 0..10_000_u16 {
        let [high, low] = n.to_be_bytes();
        let address = SocketAddr::from(([127, 66, high, low], 4000));
        let heartbeat = member_of(
            address,
            i64::from(n),
            b"",
            b"",
            [[high, low]; 8].concat().try_into().expect("sixteen"),
        );
        socket.send_to(&heartbeat, GROUP).expect("sent");
        if n % 64 == 0 {
            // Slow enough that the kernel drops none.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    until("most were heard", SOON, || {
        match pair.count(|stats| stats.heartbeats_received) {
            heard if heard > 5_000 => Ok(()),
            heard => Err(heard),
        }
    });
    let stats = pair.victim.cluster.stats();
    assert_eq!(
        stats.members_added, 1,
        "the bystander alone was ever announced"
    );
    assert!(
        stats.candidates_dropped > 0,
        "the table of candidates has a bound: {stats:?}"
    );
    pair.unharmed();
}

/// A goodbye in the victim's name: the victim does not believe it, and the bystander not for long.
fn forged_goodbye(name: &str) {
    let mut pair = Pair::start(name, |builder| builder);
    let ours = pair.victim.cluster.local_member();
    let goodbye = member_of(
        pair.victim.receiver(),
        99,
        b"BABY-ALEX",
        b"",
        ours.unique_id.0,
    );
    let before = pair.bystander.cluster.stats().members_added;
    pair.datagrams().send_to(&goodbye, GROUP).expect("sent");
    until(
        "the bystander has found the victim again",
        SOON,
        || match pair.bystander.cluster.stats().members_added - before {
            1 => Ok(()),
            added => Err(added),
        },
    );
    assert_eq!(
        pair.count(|stats| stats.members_disappeared),
        0,
        "the victim lost nobody"
    );
    pair.unharmed();
}
