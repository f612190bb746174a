//! Calls among nodes.

use std::time::Duration;

use folkmoot_core::channel::rpc::{Arrival, CallId, RpcChannel, RpcConfig, RpcMessage, RpcOption};
use folkmoot_core::channel::{ChannelConfig, ChannelEvent, MemberIndex, SendOptions};
use folkmoot_core::java::{JavaBytes, Limits};

use crate::net::{Net, at};

const PATIENCE: Duration = Duration::from_secs(5);

/// Nodes with any number of RPC channels each: `rpcs[node]`.
struct Group {
    net: Net,
    rpcs: Vec<Vec<RpcChannel>>,
    /// Answers of the caller's calls: who and what.
    answers: Vec<(CallId, MemberIndex, String)>,
    done: Vec<CallId>,
    left_over: usize,
}

impl Group {
    /// One node for each list of rpc ids.
    fn new(ids: &[&[&str]]) -> Self {
        let mut net = Net::new();
        for node in 0..ids.len() {
            net.add(ChannelConfig::new(at(4000 + node as u16)));
        }
        net.run(Duration::from_secs(2));
        let channels = |ids: &&[&str]| {
            let channel = |id: &&str| RpcChannel::new(id.as_bytes().to_vec(), RpcConfig::default());
            ids.iter().map(channel).collect()
        };
        Self {
            net,
            rpcs: ids.iter().map(channels).collect(),
            answers: vec![],
            done: vec![],
            left_over: 0,
        }
    }

    fn members(&self) -> Vec<MemberIndex> {
        let members = self.net.nodes[0].channel.members();
        members.map(|(member, _)| member).collect()
    }

    fn ask(&mut self, option: RpcOption, options: u32) -> Option<CallId> {
        let members = self.members();
        let channel = &mut self.net.nodes[0].channel;
        self.rpcs[0][0]
            .send(
                self.net.now,
                channel,
                &members,
                JavaBytes::from("who?"),
                option,
                SendOptions::from_bits(options),
                PATIENCE,
            )
            .unwrap()
    }

    /// Delivers messages once around; every node that is asked answers with its port.
    fn step(&mut self) {
        self.net.settle();
        for node in 0..self.rpcs.len() {
            for event in self.net.events(node) {
                if let ChannelEvent::Sent { id, faulty } = event {
                    self.rpcs[node].iter_mut().any(|rpc| rpc.sent(&id, &faulty));
                }
            }
            for got in std::mem::take(&mut self.net.nodes[node].log.got) {
                assert!(RpcMessage::is_rpc(&got.message));
                let message = RpcMessage::read(&got.message, &Limits::DEFAULT).unwrap();
                self.arrived(node, got.from, got.options, &message);
            }
            for rpc in &mut self.rpcs[node] {
                rpc.pump(self.net.now, &mut self.net.nodes[node].channel);
                while let Some(call) = rpc.poll_done() {
                    self.done.push(call);
                }
            }
        }
        self.net.settle();
    }

    fn arrived(
        &mut self,
        node: usize,
        from: Option<MemberIndex>,
        options: u32,
        message: &RpcMessage,
    ) {
        for rpc in &mut self.rpcs[node] {
            match rpc.receive(from, message) {
                Arrival::Request(request) => {
                    assert_eq!(options & 4, 0, "never acknowledged after processing");
                    let port = self.net.nodes[node].channel.local_member().port;
                    return rpc.reply(request, JavaBytes::from(port.to_string().as_str()));
                }
                Arrival::Reply(call) => {
                    assert_eq!(options, 0, "a reply");
                    let text = message.message.as_string().unwrap().to_string();
                    return self.answers.push((call, from.unwrap(), text));
                }
                Arrival::NoChannel(_) => return,
                Arrival::LeftOver => return self.left_over += 1,
                Arrival::NotOurs => {}
            }
        }
        if let (Some(reply), Some(from)) = (message.no_channel_reply(), from) {
            let body = reply.encode().unwrap();
            let to = folkmoot_core::channel::To::Member(from);
            let lane = folkmoot_core::channel::Lane::Any;
            let channel = &mut self.net.nodes[node].channel;
            channel
                .send_object(self.net.now, to, SendOptions::ASYNCHRONOUS, lane, body)
                .unwrap();
        }
    }

    fn texts(&self) -> Vec<&str> {
        let mut texts: Vec<_> = self
            .answers
            .iter()
            .map(|answer| answer.2.as_str())
            .collect();
        texts.sort_unstable();
        texts
    }
}

#[test]
fn a_call_is_over_when_its_option_is_content() {
    use RpcOption::{AllReply, FirstReply, MajorityReply, NoReply};
    let (a, b): (&[&str], &[&str]) = (&["a"], &["b"]);
    #[rustfmt::skip]
    let cases: &[(RpcOption, &[&[&str]], usize, usize)] = &[
        // option, nodes, replies that count, replies left over
        (FirstReply,    &[a, a, a, a], 1, 2),
        (MajorityReply, &[a, a, a, a], 2, 1),
        (MajorityReply, &[a, a, a],    1, 1),
        (AllReply,      &[a, a, a, a], 3, 0),
        (AllReply,      &[a, a, b, a], 2, 0),
        (AllReply,      &[a, b, b, b], 0, 0),
        (FirstReply,    &[a, b, b],    0, 0),
    ];
    for (option, nodes, counted, left_over) in cases {
        for options in [0, 2, 6, 8] {
            let mut group = Group::new(nodes);
            let call = group.ask(*option, options).unwrap();
            for _ in 0..4 {
                group.step();
            }
            let answered = group.answers.iter().filter(|answer| answer.0 == call);
            assert_eq!(answered.count(), *counted, "{option:?} {nodes:?}");
            assert_eq!(group.left_over, *left_over, "{option:?} {nodes:?}");
            assert_eq!(group.done, [call]);
            assert_eq!(group.rpcs[0][0].calls_open(), 0);
        }
    }
    let mut group = Group::new(&[a, a]);
    assert_eq!(group.ask(NoReply, 2), None);
    group.step();
    group.step();
    assert_eq!((group.left_over, group.answers.len()), (1, 0));
    assert_eq!(Group::new(&[a]).ask(AllReply, 2), None, "nobody to ask");
}

#[test]
fn several_rpc_channels_share_a_channel() {
    let mut group = Group::new(&[&["x", "y"], &["y", "x"], &["y"]]);
    group.ask(RpcOption::AllReply, 2).unwrap();
    for _ in 0..3 {
        group.step();
    }
    assert_eq!(group.texts(), ["4001"]);
    group.rpcs[0].swap(0, 1);
    group.ask(RpcOption::AllReply, 2).unwrap();
    for _ in 0..3 {
        group.step();
    }
    assert_eq!(group.texts(), ["4001", "4001", "4002"]);
}

#[test]
fn a_call_ends_with_those_who_are_gone_and_with_its_time() {
    let ids: &[&str] = &["a"];
    // Silent: the caller's patience ends.
    let mut group = Group::new(&[ids, ids, ids]);
    group.net.nodes[2].paused = true;
    let call = group.ask(RpcOption::AllReply, 0).unwrap();
    for _ in 0..3 {
        group.step();
    }
    assert_eq!(group.texts(), ["4001"]);
    assert!(group.done.is_empty());
    assert_eq!(group.rpcs[0][0].deadline(), Some(group.net.now + PATIENCE));
    group.net.now = group.net.now + PATIENCE;
    group.rpcs[0][0].pump(group.net.now, &mut group.net.nodes[0].channel);
    assert_eq!(group.rpcs[0][0].poll_done(), Some(call));
    assert_eq!(group.rpcs[0][0].stats().timeouts, 1);
    group.net.resume(2);
    group.step();
    group.step();
    assert_eq!((group.left_over, group.answers.len()), (1, 1), "late");

    // Gone: known at once.
    let mut group = Group::new(&[ids, ids, ids]);
    let gone = group.members()[1];
    group.net.nodes[2].paused = true;
    let call = group.ask(RpcOption::AllReply, 0).unwrap();
    for _ in 0..3 {
        group.step();
    }
    group.rpcs[0][0].member_disappeared(gone);
    assert_eq!(group.rpcs[0][0].poll_done(), Some(call));

    // Never reached: the channel says so.
    let mut group = Group::new(&[ids, ids]);
    group.net.kill(1);
    let call = group.ask(RpcOption::FirstReply, 2).unwrap();
    group.net.run(Duration::from_millis(4_000));
    group.step();
    assert_eq!(group.done, [call]);
}

#[test]
fn calls_and_replies_are_bounded() {
    let mut group = Group::new(&[&["a"], &["a"]]);
    let config = RpcConfig {
        calls_max: 2,
        replies_max: 1,
        ..RpcConfig::default()
    };
    group.rpcs[0][0] = RpcChannel::new("a".as_bytes(), config);
    group.rpcs[1][0] = RpcChannel::new("a".as_bytes(), config);
    let members = group.members();
    let calls: Vec<bool> = (0..3)
        .map(|_| {
            let channel = &mut group.net.nodes[0].channel;
            let (option, options) = (RpcOption::AllReply, SendOptions::from_bits(0));
            let question = JavaBytes::from("?");
            group.rpcs[0][0]
                .send(
                    group.net.now,
                    channel,
                    &members,
                    question,
                    option,
                    options,
                    PATIENCE,
                )
                .is_ok()
        })
        .collect();
    assert_eq!(calls, [true, true, false]);
    group.step();
    group.step();
    assert_eq!(group.answers.len(), 1, "the other found no room to wait");
    assert_eq!(group.rpcs[1][0].stats().replies_dropped, 1);
}
