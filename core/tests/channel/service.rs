//! `StaticMembershipService`: what its members tell each other.

use std::time::Duration;

use folkmoot_core::channel::rpc::{RpcKind, RpcMessage};
use folkmoot_core::channel::{
    ChannelConfig, MembershipConfig, StaticConfig, StaticMember, StaticServiceConfig,
};
use folkmoot_core::engine::CloseReason;
use folkmoot_core::java::Limits;
use folkmoot_core::membership::{MemberMessage, MemberMessageType};
use folkmoot_core::wire::frame::{self, Deframed, deframe};
use folkmoot_core::wire::{ChannelData, Control, Member, MessageHeader, SendOptions, UniqueId};

use crate::net::{Net, Told, at};

const ID: &[u8] = b"ring-StaticMembership";

fn unique_id(port: u16) -> UniqueId {
    UniqueId([port as u8; 16])
}

fn config(port: u16, members: &[u16]) -> ChannelConfig {
    let mut config = ChannelConfig::new(at(port));
    config.unique_id = Some(unique_id(port));
    let member = |port: &u16| StaticMember::new(at(*port), unique_id(*port));
    config.membership = MembershipConfig::StaticService(StaticServiceConfig {
        fixed: StaticConfig {
            members: members.iter().map(member).collect(),
            ..StaticConfig::default()
        },
        channel_name: Some("ring".into()),
    });
    config
}

fn ports(net: &Net, node: usize) -> Vec<i32> {
    let members = net.nodes[node].channel.members();
    members.map(|(_, member)| member.port).collect()
}

#[test]
fn members_come_go_die_and_come_back() {
    let all = [4000, 4001, 4002];
    let mut net = Net::new();
    for port in all {
        net.add(config(port, &all));
    }
    net.run(Duration::from_secs(2));
    for node in 0..3 {
        assert_eq!(ports(&net, node).len(), 2, "of {node}");
        // What the service says is for itself alone.
        assert_eq!(net.messages(node), [b""; 0]);
    }
    net.told(0);
    let now = net.now;
    net.nodes[1].channel.stop(now);
    net.settle();
    assert_eq!(net.told(0), [Told::Gone(4001)], "said so at once");
    net.nodes[1].alive = false;
    net.kill(2);
    net.run(Duration::from_secs(3));
    assert_eq!(net.told(0), [Told::Gone(4002)]);
    net.add(config(4002, &all));
    net.run(Duration::from_secs(2));
    assert_eq!(ports(&net, 0), [4002]);
}

/// What a peer is told on one connection: its messages but checks.
fn told(net: &mut Net, raw: usize) -> Vec<(u32, Vec<u8>)> {
    let bytes = net.take(raw);
    let mut rest = &bytes[..];
    let mut messages = vec![];
    while let Ok(Deframed::Frame { data, consumed }) = deframe(rest, 1 << 20) {
        let data = ChannelData::decode(data).unwrap();
        if Control::classify(data.message) != Some(Control::TcpFailDetect) {
            messages.push((data.options.bits(), data.message.to_vec()));
        }
        rest = &rest[consumed..];
    }
    messages
}

fn peer() -> Member {
    let mut peer = Member::new(at(4001), unique_id(4001));
    peer.alive_ms = 500;
    peer
}

fn from_peer(body: &[u8]) -> Vec<u8> {
    let mut address = vec![];
    peer().write(&mut address).unwrap();
    let header = MessageHeader {
        options: SendOptions::NONE,
        timestamp_ms: 1,
        unique_id: UniqueId([3; 16]),
        address: &address,
        message_len: body.len(),
    };
    let mut bytes = vec![];
    header.write(&mut bytes).unwrap();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&frame::END);
    bytes
}

fn says(kind: MemberMessageType) -> MemberMessage {
    MemberMessage {
        kind,
        member: peer(),
        membership_id: ID.into(),
    }
}

/// Everything that a listening peer was told since the last time, over all connections it got.
fn all_told(net: &mut Net, raws: &mut Vec<usize>) -> Vec<(u32, Vec<u8>)> {
    while let Some(raw) = net.accepted(at(4001)) {
        raws.push(raw);
    }
    let raws = raws.clone();
    raws.iter().flat_map(|raw| told(net, *raw)).collect()
}

fn calls(told: &[(u32, Vec<u8>)]) -> Vec<(u32, RpcKind, MemberMessageType)> {
    let call = |(options, stream): &(u32, Vec<u8>)| {
        let call = RpcMessage::read(stream, &Limits::DEFAULT).unwrap();
        assert_eq!(call.rpc_id, ID);
        let message = MemberMessage::read(call.message.as_bytes()).unwrap();
        assert_eq!(
            (message.member.port, &message.membership_id[..]),
            (4000, ID)
        );
        (*options, call.kind, message.kind)
    };
    told.iter().map(call).collect()
}

#[test]
fn a_tomcat_is_told_of_start_life_and_end() {
    use MemberMessageType::{Ping, Start};
    let mut net = Net::new();
    net.listen(at(4001));
    net.add(config(4000, &[4000, 4001]));
    let mut raws = vec![];
    net.run(Duration::from_millis(100));
    assert_eq!(ports(&net, 0), [4001]);
    assert_eq!(
        calls(&all_told(&mut net, &mut raws)),
        [(8, RpcKind::Request, Start)]
    );
    net.run(Duration::from_secs(2));
    let pings = calls(&all_told(&mut net, &mut raws));
    assert_eq!(pings, [(8, RpcKind::Request, Ping); 2]);
    let now = net.now;
    net.nodes[0].channel.stop(now);
    net.settle();
    let last = all_told(&mut net, &mut raws);
    let [(8, stop)] = &last[..] else {
        panic!("one message: {last:?}");
    };
    let stop = MemberMessage::read(stop).unwrap();
    assert_eq!(stop.kind, MemberMessageType::Stop);
    assert_eq!(stop.member.command, folkmoot_core::wire::member::SHUTDOWN);
}

#[test]
fn a_tomcats_calls_are_answered_and_believed_only_of_itself() {
    let mut net = Net::new();
    net.add(config(4000, &[4000, 4001]));
    net.run(Duration::from_secs(1));
    assert_eq!(ports(&net, 0), [0; 0]);
    net.listen(at(4001));
    let mut raws = vec![];
    let raw = net.connect(0).unwrap();
    let call = |message: MemberMessage, id: &[u8]| {
        RpcMessage {
            kind: RpcKind::Request,
            uuid: UniqueId([1; 16]),
            rpc_id: id.to_vec().into(),
            message: message.encode(),
        }
        .encode()
        .unwrap()
    };
    net.write(raw, &from_peer(&call(says(MemberMessageType::Start), ID)));
    assert_eq!(ports(&net, 0), [4001], "checked at once");
    let answers = calls(&all_told(&mut net, &mut raws));
    assert!(
        answers.contains(&(0, RpcKind::Reply, MemberMessageType::Start)),
        "{answers:?}"
    );

    // Of somebody else, of another membership, or damaged: nothing comes of it.
    let mut other = says(MemberMessageType::Stop);
    other.member = Member::new(at(4007), unique_id(4007));
    let mut elsewhere = says(MemberMessageType::Stop);
    elsewhere.membership_id = b"other".to_vec().into();
    let good = says(MemberMessageType::Stop).encode();
    for body in [
        other.encode().as_bytes(),
        elsewhere.encode().as_bytes(),
        &good.as_bytes()[..good.as_bytes().len() - 1],
        &call(says(MemberMessageType::Stop), b"another"),
    ] {
        net.write(raw, &from_peer(body));
        assert_eq!(ports(&net, 0), [4001]);
    }
    net.write(raw, &from_peer(good.as_bytes()));
    assert_eq!(ports(&net, 0), [0; 0], "it said goodbye");
    net.close(raw, CloseReason::EndOfStream);
}

/// Nobody has configured a name: ours take that of the Tomcat, and answer to any.
#[test]
fn the_name_of_the_membership_is_learned() {
    let mut net = Net::new();
    net.listen(at(4001));
    let mut nameless = config(4000, &[4000, 4001]);
    if let MembershipConfig::StaticService(service) = &mut nameless.membership {
        service.channel_name = None;
    }
    net.add(nameless);
    let mut raws = vec![];
    net.run(Duration::from_millis(100));
    let names = |told: Vec<(u32, Vec<u8>)>| -> Vec<String> {
        let name = |(_, stream): &(u32, Vec<u8>)| {
            let call = RpcMessage::read(stream, &Limits::DEFAULT).unwrap();
            String::from_utf8(call.rpc_id.to_vec()).unwrap()
        };
        told.iter().map(name).collect()
    };
    let tried = names(all_told(&mut net, &mut raws));
    let likely = [
        "Catalina-Channel",
        "Tomcat-Channel",
        "localhost-Channel",
        "null",
    ];
    assert_eq!(tried, likely.map(|name| format!("{name}-StaticMembership")));
    let raw = net.connect(0).unwrap();
    let ping = RpcMessage {
        kind: RpcKind::Request,
        uuid: UniqueId([1; 16]),
        rpc_id: ID.into(),
        message: says(MemberMessageType::Ping).encode(),
    };
    net.write(raw, &from_peer(&ping.encode().unwrap()));
    assert_eq!(
        names(all_told(&mut net, &mut raws)),
        ["ring-StaticMembership"],
        "the answer"
    );
    net.run(Duration::from_secs(1));
    assert_eq!(
        names(all_told(&mut net, &mut raws)),
        ["ring-StaticMembership"],
        "the ping"
    );
}
