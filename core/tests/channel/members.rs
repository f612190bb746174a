//! Who is a member, and from when to when.

use std::time::Duration;

use folkmoot_core::channel::{
    ChannelConfig, ChannelEvent, Lane, Member, MembershipConfig, StaticConfig, StaticMember, To,
    UniqueId,
};
use folkmoot_core::engine::CloseReason;
use folkmoot_core::wire::MemberBlock;
use folkmoot_core::wire::control::{MEMBER_START, MEMBER_STOP, TCP_FAIL_DETECT};

use crate::acks::{frame, messages, options, tomcat};
use crate::net::{Net, Told, at};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn heartbeat(member: &Member) -> Vec<u8> {
    let mut block = Vec::new();
    member.write(&mut block).unwrap();
    block
}

fn shutdown(member: &Member) -> Vec<u8> {
    let mut member = member.clone();
    member.command = b"BABY-ALEX".to_vec();
    heartbeat(&member)
}

/// One of ours with a Tomcat played by the test, whose heartbeats come every 500 ms.
struct Story {
    net: Net,
    tomcat: Member,
}

impl Story {
    fn new() -> Self {
        let mut net = Net::new();
        net.add(ChannelConfig::new(at(4000)));
        net.listen(at(5000));
        Self {
            net,
            tomcat: tomcat(5000),
        }
    }

    fn announced(mut self) -> Self {
        self.beat(1);
        assert_eq!(self.net.told(0), [Told::Added(5000)]);
        self.connections();
        self
    }

    /// `n` heartbeats of the Tomcat, 500 ms apart.
    fn beat(&mut self, n: u32) {
        for _ in 0..n {
            self.tomcat.alive_ms += 500;
            self.net.datagram(0, &heartbeat(&self.tomcat));
            self.net.run(ms(500));
        }
    }

    /// What the Tomcat read from each connection that it got.
    fn connections(&mut self) -> Vec<Vec<(u32, Vec<u8>)>> {
        let mut all = Vec::new();
        while let Some(raw) = self.net.accepted(at(5000)) {
            all.push(messages(&self.net.take(raw)));
        }
        all
    }
}

#[test]
fn heartbeats_leave_on_their_beat_two_at_once_at_first() {
    let mut net = Net::new();
    net.multicast = false;
    let mut config = ChannelConfig::new(at(4000));
    config.domain = b"here".to_vec();
    config.payload = b"load".to_vec();
    net.add(config);
    net.run(ms(1600));
    let alive: Vec<_> = net
        .datagrams
        .iter()
        .map(|(_, bytes)| MemberBlock::read(bytes).unwrap())
        .map(|block| {
            assert_eq!((block.host, block.port), (&[10, 0, 0, 1][..], 4000));
            assert_eq!((block.domain, block.command), (&b"here"[..], &b""[..]));
            assert!(block.payload.starts_with(b"load"));
            block.alive_ms
        })
        .collect();
    assert_eq!(alive, [0, 0, 500, 1000, 1500]);
}

#[test]
fn a_member_is_announced_only_after_its_check() {
    let mut story = Story::new();
    story.net.unlisten(at(5000));
    story.beat(4);
    assert_eq!(story.net.told(0), []);
    assert_eq!(story.net.nodes[0].channel.member_count(), 0);
    story.net.listen(at(5000));
    story.beat(4);
    assert_eq!(story.net.told(0), [Told::Added(5000)]);
    assert_eq!(
        story.connections(),
        [[(1, TCP_FAIL_DETECT.to_vec())]],
        "one check, one frame"
    );
    assert!(story.net.raws.iter().all(|raw| !raw.open));
}

#[test]
fn silence_alone_removes_nobody_who_accepts_connections() {
    let mut story = Story::new().announced();
    story.net.run(ms(2600));
    assert_eq!(
        story.connections().len(),
        0,
        "exactly the drop time is not too long"
    );
    story.net.run(ms(10_000));
    assert_eq!(story.net.told(0), []);
    assert!(!story.connections().is_empty());
    story.net.unlisten(at(5000));
    story.net.run(ms(1100));
    assert_eq!(story.net.told(0), [Told::Gone(5000)]);
}

#[test]
fn silence_and_a_failed_check_remove() {
    let mut story = Story::new().announced();
    story.net.unlisten(at(5000));
    story.net.run(ms(2400));
    assert_eq!(story.net.told(0), []);
    story.net.run(ms(700));
    assert_eq!(story.net.told(0), [Told::Gone(5000)]);
}

#[test]
fn goodbye_removes_at_once() {
    let mut story = Story::new().announced();
    let goodbye = shutdown(&story.tomcat);
    story.net.datagram(0, &goodbye);
    assert_eq!(story.net.told(0), [Told::Gone(5000)]);
    assert_eq!(story.connections().len(), 0);
}

#[test]
fn a_closed_connection_makes_suspect_at_once() {
    for (listening, told) in [(true, vec![]), (false, vec![Told::Gone(5000)])] {
        let mut story = Story::new().announced();
        let now = story.net.now;
        story.net.nodes[0]
            .channel
            .send(now, To::All, options(8), Lane::Any, b"x")
            .unwrap();
        story.net.settle();
        let raw = story.net.accepted(at(5000)).unwrap();
        if !listening {
            story.net.unlisten(at(5000));
        }
        story.net.close(raw, CloseReason::Reset);
        assert_eq!(story.net.told(0), told);
        assert_eq!(story.net.now, now);
    }
}

#[test]
fn the_end_of_a_check_is_no_reason_for_a_check() {
    let mut story = Story::new().announced();
    let raw = story.net.connect(0).unwrap();
    story.net.write(raw, &frame(5000, 1, &TCP_FAIL_DETECT));
    story.net.close(raw, CloseReason::EndOfStream);
    assert_eq!(story.connections().len(), 0);
    let raw = story.net.connect(0).unwrap();
    story.net.write(raw, &frame(5000, 1, b"a message"));
    story.net.close(raw, CloseReason::EndOfStream);
    assert_eq!(story.connections().len(), 1);
}

#[test]
fn another_incarnation_at_the_same_address_replaces_the_one_that_fell_silent() {
    let mut story = Story::new().announced();
    story.tomcat.unique_id = UniqueId([99; 16]);
    story.tomcat.alive_ms = 0;
    story.beat(4);
    assert_eq!(story.net.told(0), [Told::Gone(5000), Told::Added(5000)]);
    story.beat(10);
    assert_eq!(story.net.told(0), []);
    let members: Vec<_> = story.net.nodes[0]
        .channel
        .members()
        .map(|(_, member)| member.unique_id)
        .collect();
    assert_eq!(members, [UniqueId([99; 16])]);
}

#[test]
fn a_forged_incarnation_does_not_replace_one_that_is_heard() {
    let mut story = Story::new().announced();
    let mut forged = story.tomcat.clone();
    forged.unique_id = UniqueId([66; 16]);
    for _ in 0..20 {
        story.net.datagram(0, &heartbeat(&forged));
        story.beat(1);
    }
    assert_eq!(story.net.told(0), []);
}

#[test]
fn a_fast_restart_says_goodbye_for_its_dead_incarnation_first() {
    let mut net = Net::pair();
    net.told(0);
    let old = net.nodes[1].channel.local_member().clone();
    net.nodes[1].alive = false;
    net.datagrams.clear();
    let mut config = ChannelConfig::new(at(4001));
    config.previous_unique_id = Some(old.unique_id);
    net.add(config);
    let first = MemberBlock::read(&net.datagrams[0].1).unwrap();
    assert!(first.is_shutdown());
    assert_eq!((first.port, first.unique_id), (4001, old.unique_id));
    assert!(
        !MemberBlock::read(&net.datagrams[1].1)
            .unwrap()
            .is_shutdown()
    );
    net.run(ms(100));
    assert_eq!(net.told(0), [Told::Gone(4001), Told::Added(4001)]);
}

#[test]
fn a_killed_process_is_missed_at_once_if_a_connection_was_open() {
    let mut net = Net::pair();
    net.told(0);
    let now = net.now;
    net.nodes[0]
        .channel
        .send(now, To::All, options(6), Lane::Any, b"x")
        .unwrap();
    net.settle();
    net.events(0);
    net.kill(1);
    assert_eq!(net.told(0), [Told::Gone(4001)]);
    assert_eq!(net.now, now);
}

#[test]
fn a_stopped_process_gets_a_fault_but_stays_a_member() {
    let mut net = Net::pair();
    net.told(0);
    net.events(0);
    net.nodes[1].paused = true;
    let now = net.now;
    let member = net.other(0);
    let id = net.nodes[0]
        .channel
        .send(now, To::All, options(6), Lane::Any, b"x")
        .unwrap();
    net.run(ms(8000));
    let events = net.events(0);
    let faulty = vec![(member, folkmoot_core::channel::FaultCause::TimedOut)];
    assert_eq!(events, [ChannelEvent::Sent { id, faulty }]);
    assert_eq!(net.told(0), []);
}

#[test]
fn our_own_pause_makes_nobody_suspect() {
    let mut net = Net::pair();
    net.told(0);
    net.nodes[0].paused = true;
    net.run(ms(20_000));
    let before = net.nodes[0].channel.stats().probes_sent;
    net.resume(0);
    net.run(ms(5000));
    assert_eq!(net.told(0), []);
    assert_eq!(net.nodes[0].channel.stats().probes_sent, before);
}

#[test]
fn heartbeats_of_ourselves_and_of_other_domains_change_nothing() {
    let mut net = Net::new();
    for (port, domain) in [(4000, "a"), (4001, "b")] {
        let mut config = ChannelConfig::new(at(port));
        config.domain = domain.into();
        net.add(config);
    }
    net.run(ms(3000));
    for node in 0..2 {
        assert_eq!(net.told(node), []);
        let stats = net.nodes[node].channel.stats();
        assert!(stats.heartbeats_own >= 6);
        assert!(stats.heartbeats_other_domain >= 6);
        assert_eq!(stats.probes_sent, 0);
    }
    // A goodbye in our own name, too.
    let goodbye = shutdown(net.nodes[0].channel.local_member());
    net.datagram(0, &goodbye);
    assert!(net.nodes[0].channel.is_running());
    // And messages from another domain are dropped, acknowledged.
    let raw = net.connect(0).unwrap();
    net.write(raw, &frame(5000, 3, b"x"));
    assert_eq!(net.take(raw).len(), 21);
    assert_eq!(net.nodes[0].channel.stats().messages_other_domain, 1);
    assert_eq!(net.messages(0), [b""; 0]);
}

#[test]
fn ten_thousand_forged_members_push_nobody_out() {
    let mut net = Net::pair();
    net.told(0);
    let mut forged = tomcat(1);
    for number in 0u32..10_000 {
        forged.host = number.to_be_bytes().to_vec();
        forged.unique_id = UniqueId([(number % 251) as u8; 16]);
        let bytes = heartbeat(&forged);
        net.datagram(0, &bytes);
        if number % 100 == 0 {
            net.run(ms(10));
        }
    }
    // A real one comes in the middle of it.
    net.add(ChannelConfig::new(at(4002)));
    for number in 0u32..5_000 {
        forged.host = number.to_be_bytes().to_vec();
        let bytes = heartbeat(&forged);
        net.datagram(0, &bytes);
        if number % 100 == 0 {
            net.run(ms(40));
        }
    }
    net.run(ms(3000));
    assert_eq!(net.told(0), [Told::Added(4002)]);
    let stats = net.nodes[0].channel.stats();
    assert!(stats.candidates_dropped > 9_000, "{stats:?}");
    assert_eq!(stats.members_disappeared, 0);
}

#[test]
fn invented_members_cannot_prolong_the_time_to_learn_the_real_ones() {
    let mut net = Net::new();
    net.add(ChannelConfig::new(at(4000)));
    net.slow = true;
    let mut forged = tomcat(1);
    for number in 0u32..40 {
        forged.host = number.to_be_bytes().to_vec();
        let bytes = heartbeat(&forged);
        net.datagram(0, &bytes);
        net.run(ms(50));
    }
    assert!(net.nodes[0].channel.is_settled());
}

#[test]
fn no_more_members_than_allowed() {
    let mut net = Net::new();
    let mut config = ChannelConfig::new(at(4000));
    config.limits.members_max = 2;
    net.add(config);
    for port in 4001..4005 {
        net.add(ChannelConfig::new(at(port)));
    }
    net.run(ms(5000));
    assert_eq!(net.nodes[0].channel.member_count(), 2);
    assert_eq!(net.nodes[1].channel.member_count(), 4);
}

fn fixed(port: u16) -> ChannelConfig {
    let mut config = ChannelConfig::new(at(port));
    config.unique_id = Some(UniqueId([port as u8; 16]));
    config.membership = MembershipConfig::Static(StaticConfig {
        members: [4000, 4001, 5000]
            .map(|port| StaticMember::new(at(port), UniqueId([port as u8; 16])))
            .into(),
        ..StaticConfig::default()
    });
    config
}

#[test]
fn static_members_tell_each_other_that_they_come_and_go() {
    let mut net = Net::new();
    net.listen(at(5000));
    net.add(fixed(4000));
    assert_eq!(net.told(0), [Told::Added(5000)]);
    // A check, and on a connection of its own the notice.
    let check = net.accepted(at(5000)).unwrap();
    let lane = net.accepted(at(5000)).unwrap();
    assert_eq!(messages(&net.take(check)), [(1, TCP_FAIL_DETECT.to_vec())]);
    assert_eq!(messages(&net.take(lane)), [(0, MEMBER_START.to_vec())]);
    assert!(net.nodes[0].channel.is_settled());

    net.add(fixed(4001));
    assert_eq!(
        net.told(0),
        [Told::Added(4001)],
        "its notice is enough to look at once"
    );
    assert_eq!(net.told(1).len(), 2);

    let now = net.now;
    net.nodes[1].channel.stop(now);
    net.settle();
    assert_eq!(net.told(0), [Told::Gone(4001)]);

    net.nodes[0].channel.stop(now);
    net.settle();
    assert_eq!(messages(&net.take(lane)), [(0, MEMBER_STOP.to_vec())]);
    assert!(net.datagrams.is_empty());
}

#[test]
fn static_members_are_checked_every_second_both_ways() {
    let mut net = Net::new();
    net.listen(at(5000));
    net.add(fixed(4000));
    net.run(ms(5000));
    assert_eq!(net.told(0), [Told::Added(5000)]);
    net.unlisten(at(5000));
    net.run(ms(1000));
    assert_eq!(net.told(0), [Told::Gone(5000)]);
    net.run(ms(5000));
    assert_eq!(net.told(0), []);
    net.listen(at(5000));
    net.run(ms(1000));
    assert_eq!(net.told(0), [Told::Added(5000)]);
}

#[test]
fn a_static_member_is_known_by_its_unique_id_too() {
    let mut net = Net::new();
    net.add(fixed(4000));
    let raw = net.connect(0).unwrap();
    let mut stranger = frame(5000, 0, &MEMBER_START);
    let at = stranger
        .windows(16)
        .position(|bytes| bytes == [5000u16 as u8; 16])
        .unwrap();
    stranger[at..at + 16].fill(1);
    net.write(raw, &stranger);
    assert_eq!(net.told(0), []);
}
