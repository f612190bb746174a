//! What each message does at its receiver, sent by a member that no manager speaks for.

use std::time::Duration;

use folkmoot_core::cluster::{ClusterConfig, ClusterEvent, ExpiryCause, Origin, Refusal};
use folkmoot_core::java::{JavaBytes, ObjectOutput};
use folkmoot_core::session::{
    Action, ActionType, DeltaManagerConfig, DeltaRequest, EventType, ManagerLimits, MessageError,
    SessionId, write_new_session_id,
};

use crate::net::{Kind, Net};

const ID: &str = "A.n9";

fn id() -> SessionId {
    SessionId::from(ID)
}

/// One node with the shop, and another that only talks.
fn stage(config: DeltaManagerConfig) -> Net {
    let mut net = Net::new();
    net.join(Kind::Ours, ClusterConfig::default(), config);
    net.join_empty(Kind::Foreign, ClusterConfig::default());
    net.run(Duration::from_secs(3));
    net.events(0);
    net
}

fn request(id: &str, actions: &[(ActionType, &str, Option<JavaBytes>)]) -> Vec<u8> {
    let mut delta = DeltaRequest::new(SessionId::from(id), false);
    for (kind, name, value) in actions {
        delta.actions.push(Action {
            kind: *kind,
            action: if value.is_some() {
                Action::SET
            } else {
                Action::REMOVE
            },
            name: (*name).into(),
            value: value.clone(),
        });
    }
    let mut out = ObjectOutput::new();
    delta.write(&mut out).unwrap();
    out.finish().to_vec()
}

fn delta(id: &str, name: &str, value: &str) -> Vec<u8> {
    request(id, &[(ActionType::ATTRIBUTE, name, Some(value.into()))])
}

/// What a test says: kind, session, milliseconds from now for its timestamp, payload.
type Said<'a> = (EventType, &'a str, i64, Option<Vec<u8>>);

/// What it is called, what is said, and the sessions with their attribute afterwards.
type Script<'a> = (&'a str, Vec<Said<'a>>, &'a [(&'a str, Option<&'a str>)]);

fn say(net: &mut Net, said: &Said<'_>) {
    let (kind, id, after, payload) = said;
    let at = net.unix_ms() + after;
    net.say(1, 0, *kind, id, at, payload.as_deref());
}

#[test]
fn messages_in_any_order_leave_the_session_as_its_owner_has_it() {
    use EventType::{
        ChangeSessionId, SessionAccessed, SessionCreated, SessionDelta, SessionExpired,
    };
    let created = || (SessionCreated, ID, 0, None);
    let set = |value: &str| (SessionDelta, ID, 1, Some(delta(ID, "k", value)));
    let expired = || (SessionExpired, ID, 2, None);
    let renamed = |from, to: &str| {
        let payload = write_new_session_id(&SessionId::from(to)).unwrap();
        (ChangeSessionId, from, 1, Some(payload.to_vec()))
    };
    let later = |id, value: &str| (SessionDelta, id, 2, Some(delta(id, "k", value)));
    #[rustfmt::skip]
    let cases: &[Script<'_>] = &[
        ("created alone",            vec![created()],                                   &[(ID, None)]),
        ("in order",                 vec![created(), set("1")],                         &[(ID, Some("1"))]),
        ("delta overtakes created",  vec![set("1"), created()],                         &[(ID, Some("1"))]),
        ("two deltas overtake",      vec![set("1"), set("2"), created()],               &[(ID, Some("2"))]),
        ("created comes twice",      vec![created(), set("1"), created()],              &[(ID, Some("1"))]),
        ("access overtakes created", vec![(SessionAccessed, ID, 1, None), created(), set("1")], &[(ID, Some("1"))]),
        ("expired",                  vec![created(), set("1"), expired()],              &[]),
        ("expired overtakes delta",  vec![created(), expired(), set("1")],              &[]),
        ("expired overtakes all",    vec![expired(), created(), set("1")],              &[]),
        ("delta waits, expired",     vec![set("1"), expired(), created()],              &[]),
        ("made again later",         vec![created(), expired(), (SessionCreated, ID, 9, None)], &[(ID, None)]),
        ("renamed",                  vec![created(), set("1"), renamed(ID, "B.n1")],    &[("B.n1", Some("1"))]),
        ("rename overtakes created", vec![renamed(ID, "B.n1"), created(), later("B.n1", "2")], &[("B.n1", Some("2"))]),
        ("delta overtakes rename",   vec![created(), later("B.n1", "2"), renamed(ID, "B.n1")], &[("B.n1", Some("2"))]),
        ("all the wrong way round",  vec![later("B.n1", "2"), renamed(ID, "B.n1"), set("1"), created()], &[("B.n1", Some("2"))]),
        ("late delta under the old id", vec![created(), renamed(ID, "B.n1"), later(ID, "2")], &[("B.n1", Some("2"))]),
        ("renamed and back",         vec![created(), renamed(ID, "B.n1"), renamed("B.n1", ID), later(ID, "3")], &[(ID, Some("3"))]),
        ("renamed twice by retry",   vec![created(), renamed(ID, "B.n1"), renamed(ID, "B.n1")], &[("B.n1", None)]),
        ("late created of a renamed", vec![created(), renamed(ID, "B.n1"), created()],  &[("B.n1", None)]),
    ];
    for (name, said, expected) in cases {
        let mut net = stage(DeltaManagerConfig::default());
        said.iter().for_each(|said| say(&mut net, said));
        let got: Vec<_> = net
            .shop(0)
            .sessions()
            .map(|session| (session.id().to_string(), net.text(0, session.id(), "k")))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, value)| ((*id).to_owned(), value.map(str::to_owned)))
            .collect();
        assert_eq!(got, expected, "{name}");
        assert!(
            net.shop(0).sessions().all(|session| !session.is_primary()),
            "{name}"
        );
    }
}

#[test]
fn what_waits_for_its_session_waits_a_bounded_time() {
    let mut net = stage(DeltaManagerConfig::default());
    net.say(
        1,
        0,
        EventType::SessionDelta,
        ID,
        0,
        Some(&delta(ID, "k", "1")),
    );
    assert_eq!(net.shop(0).early_messages(), 1);
    net.run(Duration::from_millis(4_900));
    assert_eq!(net.shop(0).early_messages(), 1);
    net.run(Duration::from_millis(200));
    assert_eq!(
        (
            net.shop(0).early_messages(),
            net.shop(0).stats().early_dropped
        ),
        (0, 1)
    );
}

#[test]
fn what_waits_for_its_session_is_bounded_in_number() {
    let limits = ManagerLimits {
        early_messages_max: 10,
        ..ManagerLimits::default()
    };
    let mut net = stage(DeltaManagerConfig {
        limits,
        ..DeltaManagerConfig::default()
    });
    for n in 0..100 {
        let id = format!("S{n}");
        net.say(
            1,
            0,
            EventType::SessionDelta,
            &id,
            0,
            Some(&delta(&id, "k", "1")),
        );
    }
    assert_eq!(
        (
            net.shop(0).early_messages(),
            net.shop(0).stats().early_dropped
        ),
        (10, 90)
    );
}

#[test]
fn a_delta_changes_what_its_actions_name() {
    let text = |text: &str| Some(JavaBytes::from(text));
    let mut net = stage(DeltaManagerConfig::default());
    net.say(1, 0, EventType::SessionCreated, ID, 0, None);
    let actions = [
        (ActionType::ATTRIBUTE, "a", text("1")),
        (
            ActionType::PRINCIPAL,
            "__SET__PRINCIPAL__",
            text("a principal of any class"),
        ),
        (ActionType::IS_NEW, "__SET__ISNEW__", Some(true.into())),
        (
            ActionType::MAX_INTERVAL,
            "__SET__MAXINTERVAL__",
            Some(77.into()),
        ),
        (ActionType::AUTH_TYPE, "__SET__AUTHTYPE__", text("FORM")),
        (
            ActionType::LISTENER,
            "__SET__LISTENER__",
            text("a listener of any class"),
        ),
        (ActionType::NOTE, "n", text("note")),
        (ActionType(7), "of the future", text("x")),
        (
            ActionType::MAX_INTERVAL,
            "__SET__MAXINTERVAL__",
            text("not a number"),
        ),
    ];
    net.say(
        1,
        0,
        EventType::SessionDelta,
        ID,
        0,
        Some(&request(ID, &actions)),
    );
    let session = net.session(0, &id()).unwrap();
    assert_eq!(session.attribute("a"), text("1").as_ref());
    assert_eq!(
        session.principal(),
        text("a principal of any class").as_ref()
    );
    assert!(!session.is_new(), "the end of the access clears it");
    assert_eq!(session.max_inactive_interval(), 77);
    assert_eq!(session.auth_type(), Some("FORM".into()));
    assert_eq!(
        session.listeners(),
        [JavaBytes::from("a listener of any class")]
    );
    assert_eq!(session.note("n"), text("note").as_ref());
    assert_eq!(net.shop(0).stats().unknown_actions, 2);

    let removes = [
        (ActionType::ATTRIBUTE, "a", None),
        (ActionType::ATTRIBUTE, "never there", None),
        (ActionType::PRINCIPAL, "__SET__PRINCIPAL__", None),
        (ActionType::AUTH_TYPE, "__SET__AUTHTYPE__", None),
        (ActionType::NOTE, "n", None),
    ];
    net.say(
        1,
        0,
        EventType::SessionDelta,
        ID,
        0,
        Some(&request(ID, &removes)),
    );
    let session = net.session(0, &id()).unwrap();
    assert_eq!(session.attributes().len(), 0);
    assert_eq!(
        (session.principal(), session.auth_type(), session.note("n")),
        (None, None, None)
    );
}

#[test]
fn bad_payloads_are_counted_and_change_nothing() {
    use EventType::{AllSessionData, ChangeSessionId, SessionDelta};
    let good = delta(ID, "k", "2");
    let garbage = vec![0xAC, 0xED, 0, 5, 0x99];
    let huge_count = {
        let mut out = ObjectOutput::new();
        out.write_integer_object(i32::MAX);
        out.finish().to_vec()
    };
    let many_actions = {
        let mut out = ObjectOutput::new();
        out.write_utf(&ID.into()).unwrap();
        out.write_bool(false);
        out.write_i32(i32::MAX);
        out.finish().to_vec()
    };
    #[rustfmt::skip]
    let cases: &[(&str, EventType, Vec<u8>)] = &[
        ("cut off",            SessionDelta,    good[..good.len() - 1].to_vec()),
        ("followed by more",   SessionDelta,    [good.as_slice(), &[0x70]].concat()),
        ("garbage",            SessionDelta,    garbage.clone()),
        ("nothing",            SessionDelta,    vec![]),
        ("another session's",  SessionDelta,    delta("B.n9", "k", "2")),
        ("too many actions",   SessionDelta,    many_actions),
        ("no id",              ChangeSessionId, garbage.clone()),
        ("no state",           AllSessionData,  garbage),
        ("too many sessions",  AllSessionData,  huge_count),
    ];
    let mut net = stage(DeltaManagerConfig::default());
    net.say(1, 0, EventType::SessionCreated, ID, 0, None);
    net.say(
        1,
        0,
        EventType::SessionDelta,
        ID,
        0,
        Some(&delta(ID, "k", "1")),
    );
    net.events(0);
    let mut before = 0;
    for (name, kind, payload) in cases {
        net.say(1, 0, *kind, ID, 0, Some(payload));
        // The sender tries once more before it gives up.
        let refused = net.events(0).into_iter();
        let refused = refused.filter(|event| matches!(event, ClusterEvent::Refused { .. }));
        let refused = refused.count() as u64;
        assert!(refused > 0, "{name}");
        assert_eq!(net.shop(0).stats().refused, before + refused, "{name}");
        before += refused;
        assert_eq!(net.text(0, &id(), "k").as_deref(), Some("1"), "{name}");
        assert_eq!(net.shop(0).session_count(), 1, "{name}");
    }
    assert_eq!(
        net.nodes[0].cluster.channel().member_count(),
        1,
        "the sender stays a member"
    );
}

/// An object of a class without fields.
fn empty_object(class: &str) -> Vec<u8> {
    let mut stream = vec![0xAC, 0xED, 0, 5, 0x73, 0x72, 0, class.len() as u8];
    stream.extend_from_slice(class.as_bytes());
    stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0x78, 0x70]);
    stream
}

#[test]
fn what_cannot_be_read_or_is_of_an_unknown_class_costs_the_connection() {
    let other = JavaBytes::from("just a text");
    let unknown = empty_object("com.example.Thing");
    for stream in [other.as_bytes(), &unknown, &[], &[0xAC, 0xED], &[0; 100]] {
        let mut net = stage(DeltaManagerConfig::default());
        net.events(0);
        net.say_bytes(1, 0, stream);
        // Once more on a new connection, and then it is given up.
        assert_eq!(net.nodes[0].cluster.stats().not_accepted, 2);
        let stats = net.nodes[0].cluster.channel().stats();
        assert_eq!(stats.bad.refused, 2);
        let refused = |event: &ClusterEvent| {
            let reason = Refusal::Message(MessageError::OtherClass);
            matches!(event, ClusterEvent::Refused { reason: other, .. } if *other == reason
                || matches!(other, Refusal::Message(MessageError::Java(_))))
        };
        assert_eq!(
            net.events(0).iter().filter(|event| refused(event)).count(),
            2
        );
        assert_eq!(net.nodes[1].cluster.channel().stats().faults, 1);
        // The sender is a member still, and what it says then is heard.
        net.say(1, 0, EventType::SessionCreated, ID, 0, None);
        assert_eq!(net.shop(0).session_count(), 1);
    }
}

#[test]
fn what_other_parts_of_a_tomcat_say_is_counted_and_acknowledged() {
    let mut net = stage(DeltaManagerConfig::default());
    for class in [
        "org.apache.catalina.ha.deploy.UndeployMessage",
        "org.apache.catalina.ha.deploy.FileMessage",
    ] {
        net.say_bytes(1, 0, &empty_object(class));
    }
    assert_eq!(net.nodes[0].cluster.stats().not_accepted, 2);
    assert_eq!(net.nodes[0].cluster.channel().stats().bad.refused, 0);
    let stats = net.nodes[1].cluster.channel().stats();
    assert_eq!((stats.fail_acks_received, stats.faults), (0, 0));
}

#[test]
fn an_unknown_context_is_told_only_to_who_asks_for_its_state() {
    use folkmoot_core::session::SessionMessage;
    let mut net = stage(DeltaManagerConfig::default());
    net.take_passed();
    for kind in EventType::ALL {
        let mut stream = Vec::new();
        SessionMessage::new(kind, b"localhost#/nowhere", b"A", b"u", 5).write(&mut stream);
        net.say_bytes(1, 0, &stream);
    }
    assert_eq!(net.nodes[0].cluster.stats().unknown_context, 9);
    assert_eq!(
        net.nodes[0].cluster.channel().stats().bad.refused,
        0,
        "a member keeps its connection"
    );
    let replies: Vec<_> = net
        .take_passed()
        .into_iter()
        .filter(|passed| passed.from == 0)
        .collect();
    let [reply] = replies.as_slice() else {
        panic!("{replies:?}")
    };
    let message = reply.message();
    assert_eq!(message.kind(), Some(EventType::AllSessionNoContextManager));
    assert_eq!(message.context_name, Some(&b"localhost#/nowhere"[..]));
    assert_eq!(message.session_id, Some(&b"NO-CONTEXT-MANAGER"[..]));
    assert_eq!(
        message.unique_id,
        Some(&b"NO-CONTEXT-MANAGER-localhost#/nowhere"[..])
    );
    assert_eq!((message.timestamp_ms, message.timestamp_set), (0, false));
}

#[test]
fn a_message_without_context_is_for_every_manager() {
    use folkmoot_core::session::SessionMessage;
    let mut net = stage(DeltaManagerConfig::default());
    let now = net.now;
    let cluster = &mut net.nodes[0].cluster;
    let bar = cluster
        .register_manager(now, "/bar", DeltaManagerConfig::default())
        .unwrap();
    net.run(Duration::from_secs(30));
    let message = SessionMessage {
        context_name: None,
        ..SessionMessage::new(EventType::SessionCreated, b"", ID.as_bytes(), b"u", 5)
    };
    let mut stream = Vec::new();
    message.write(&mut stream);
    net.say_bytes(1, 0, &stream);
    assert!(net.session(0, &id()).is_some());
    assert!(net.nodes[0].cluster.session(bar, &id()).is_some());
}

#[test]
fn local_changes_not_sent_yet_outlive_a_delta_and_win() {
    let mut net = Net::with(2);
    let session = net.create(0, &[("a", "0"), ("b", "0"), ("c", "0")]);
    // A request here has changed `a` and is still under way when one over there changes `a` and `b`.
    net.command(0, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &session));
        cluster
            .set_attribute(now, shop, &session, "a", "here")
            .unwrap();
    });
    assert!(net.request(1, &session, &[("a", Some("there")), ("b", Some("there"))]));
    assert_eq!(net.text(0, &session, "a").as_deref(), Some("here"));
    assert_eq!(net.text(0, &session, "b").as_deref(), Some("there"));
    net.command(0, |cluster, now, shop| {
        assert!(
            cluster
                .request_completed(now, shop, &session)
                .unwrap()
                .is_some()
        );
        cluster.end_access(now, shop, &session);
    });
    assert_eq!(net.text(1, &session, "a").as_deref(), Some("here"));
    assert_eq!(net.contents(0), net.contents(1));
    assert!(net.session(0, &session).unwrap().is_primary());
    assert!(!net.session(1, &session).unwrap().is_primary());
    assert!(net.shop(0).stats().merged > 0);
}

#[test]
fn two_requests_of_one_session_at_once_both_keep_what_they_set() {
    let mut net = Net::with(2);
    let session = net.create(0, &[]);
    net.command(0, |cluster, now, shop| {
        for _ in 0..2 {
            assert!(cluster.access_session(now, shop, &session));
        }
        cluster
            .set_attribute(now, shop, &session, "first", "1")
            .unwrap();
        cluster
            .set_attribute(now, shop, &session, "second", "2")
            .unwrap();
        cluster.request_completed(now, shop, &session).unwrap();
        cluster
            .set_attribute(now, shop, &session, "second", "3")
            .unwrap();
        cluster.request_completed(now, shop, &session).unwrap();
        cluster.end_access(now, shop, &session);
        assert_eq!(cluster.session(shop, &session).unwrap().access_count(), 1);
        cluster.end_access(now, shop, &session);
    });
    assert_eq!(net.text(1, &session, "first").as_deref(), Some("1"));
    assert_eq!(net.text(1, &session, "second").as_deref(), Some("3"));
}

#[test]
fn the_application_hears_what_others_do_to_its_sessions() {
    let mut net = Net::new();
    for _ in 0..2 {
        let config = ClusterConfig {
            attribute_events: true,
            ..ClusterConfig::default()
        };
        let manager = DeltaManagerConfig {
            notify_listeners_on_replication: true,
            ..Default::default()
        };
        net.join(Kind::Ours, config, manager);
    }
    net.run(Duration::from_secs(3));
    net.events(1);
    let session = net.create(0, &[("k", "1")]);
    net.request(0, &session, &[("k", Some("2"))]);
    net.request(0, &session, &[("k", None)]);
    let renamed = net.command(0, |cluster, now, shop| {
        cluster
            .change_session_id(now, shop, &session, None)
            .unwrap()
    });
    assert!(net.command(0, |cluster, now, shop| {
        cluster.expire_session(now, shop, &renamed)
    }));
    let told: Vec<_> = net
        .events(1)
        .into_iter()
        .filter_map(|event| match event {
            ClusterEvent::SessionCreated { id, origin, .. } => {
                Some(format!("created {id} {origin:?}"))
            }
            ClusterEvent::AttributeChanged {
                name,
                change,
                origin,
                ..
            } => Some(format!("{name} {change:?} {origin:?}")),
            ClusterEvent::SessionIdChanged {
                old, new, origin, ..
            } => Some(format!("{old} is {new} {origin:?}")),
            ClusterEvent::SessionExpired {
                id, cause, origin, ..
            } => {
                assert_eq!((cause, origin), (ExpiryCause::ByPeer, Origin::Remote));
                Some(format!("expired {id}"))
            }
            _ => None,
        })
        .collect();
    let expected = [
        format!("created {session} Remote"),
        "k Added Remote".to_owned(),
        "k Replaced Remote".to_owned(),
        "k Removed Remote".to_owned(),
        format!("{session} is {renamed} Remote"),
        format!("expired {renamed}"),
    ];
    assert_eq!(told, expected);
}
