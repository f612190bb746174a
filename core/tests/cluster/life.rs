//! A session's life: idle times, expiry, ids, filters, limits, and the nine steps of Tomcat's how-to.

use std::time::Duration;

use folkmoot_core::cluster::ClusterConfig;
use folkmoot_core::java::JavaBytes;
use folkmoot_core::session::{
    ActionType, DeltaManagerConfig, DeltaRequest, EventType, NameFilter, SessionError, SessionId,
};

use crate::net::{Kind, Net, Passed};

fn quick() -> ClusterConfig {
    ClusterConfig {
        background_processor_delay: Duration::from_secs(1),
        ..ClusterConfig::default()
    }
}

fn expiring(timeout: i32) -> DeltaManagerConfig {
    DeltaManagerConfig {
        session_timeout: timeout,
        process_expires_frequency: 1,
        ..DeltaManagerConfig::default()
    }
}

fn kinds(passed: &[Passed]) -> Vec<EventType> {
    passed.iter().map(Passed::kind).collect()
}

#[test]
fn an_idle_session_expires_on_its_primary_and_so_everywhere() {
    let mut net = Net::new();
    (0..2).for_each(|_| {
        net.join(Kind::Ours, quick(), expiring(10));
    });
    net.run(Duration::from_secs(3));
    let idle = net.create(0, &[]);
    let used = net.create(0, &[]);
    let forever = net.create(0, &[]);
    net.command(0, |cluster, now, shop| {
        cluster
            .set_max_inactive_interval(now, shop, &forever, 0)
            .unwrap()
    });
    net.request(0, &forever, &[]);
    net.run(Duration::from_secs(6));
    assert!(net.request(0, &used, &[]));
    net.take_passed();
    net.run(Duration::from_secs(6));
    let passed = net.take_passed();
    assert_eq!(kinds(&passed), [EventType::SessionExpired]);
    assert_eq!(passed[0].id(), idle.to_string());
    assert_eq!(
        passed[0].message().unique_id.unwrap(),
        format!("{idle}-EXPIRED-MSG").as_bytes()
    );
    for node in 0..2 {
        assert!(
            net.session(node, &idle).is_none() && net.session(node, &used).is_some(),
            "{node}"
        );
    }
    net.run(Duration::from_secs(3600));
    for node in 0..2 {
        let left: Vec<_> = net
            .shop(node)
            .sessions()
            .map(|session| session.id().clone())
            .collect();
        assert_eq!(left, std::slice::from_ref(&forever), "{node}");
    }
    assert_eq!(net.shop(0).stats().expired_sessions, 2);
}

#[test]
fn a_copy_waits_twice_as_long_and_goes_silently() {
    let mut net = Net::new();
    (0..3).for_each(|_| {
        net.join(Kind::Ours, quick(), expiring(10));
    });
    net.run(Duration::from_secs(3));
    let session = net.create(0, &[]);
    net.kill(0);
    net.run(Duration::from_secs(15));
    assert!(net.session(1, &session).is_some());
    net.take_passed();
    net.run(Duration::from_secs(7));
    assert!(net.session(1, &session).is_none() && net.session(2, &session).is_none());
    assert_eq!(net.take_passed(), []);
}

#[test]
fn a_request_for_a_session_whose_time_is_over_finds_none() {
    let mut net = Net::new();
    (0..2).for_each(|_| {
        net.join(Kind::Ours, ClusterConfig::default(), expiring(10));
    });
    net.run(Duration::from_secs(3));
    let session = net.create(0, &[("k", "v")]);
    // Background runs every ten seconds look at it at other moments.
    net.nodes[0].paused = true;
    net.nodes[1].paused = true;
    net.run(Duration::from_secs(11));
    assert!(
        net.session(0, &session).is_some(),
        "looking at it does not judge it"
    );
    net.nodes.iter_mut().for_each(|node| node.paused = false);
    let now = net.now;
    let shop = net.context(0);
    assert!(!net.nodes[0].cluster.access_session(now, shop, &session));
    net.settle();
    assert!(net.session(0, &session).is_none());
}

#[test]
fn a_session_in_use_is_valid_if_the_activity_check_says_so() {
    for check in [false, true] {
        let config = DeltaManagerConfig {
            session_activity_check: check,
            ..expiring(10)
        };
        let mut net = Net::new();
        net.join(Kind::Ours, quick(), config);
        let session = net.command(0, |cluster, now, shop| {
            cluster.create_session(now, shop, None).unwrap()
        });
        net.run(Duration::from_secs(30));
        assert_eq!(net.session(0, &session).is_some(), check);
        net.command(0, |cluster, now, shop| {
            cluster.end_access(now, shop, &session)
        });
        net.run(Duration::from_secs(30));
        assert!(net.session(0, &session).is_none());
    }
}

#[test]
fn attributes_that_a_filter_excludes_stay_here() {
    let config = || DeltaManagerConfig {
        session_attribute_name_filter: Some(NameFilter::new("keep.*", |name| {
            name.starts_with("keep")
        })),
        session_attribute_value_class_name_filter: Some(NameFilter::new("java.lang.*", |name| {
            name.starts_with("java.lang.")
        })),
        ..DeltaManagerConfig::default()
    };
    let mut net = Net::new();
    (0..2).for_each(|_| {
        net.join(Kind::Ours, ClusterConfig::default(), config());
    });
    net.run(Duration::from_secs(3));
    let session = net.command(0, |cluster, now, shop| {
        let id = cluster.create_session(now, shop, None).unwrap();
        let bytes = JavaBytes::from(b"bytes".as_slice());
        for (name, value) in [
            ("keep", "1".into()),
            ("other", "2".into()),
            ("keep bytes", bytes),
        ] {
            cluster.set_attribute(now, shop, &id, name, value).unwrap();
        }
        cluster.request_completed(now, shop, &id).unwrap();
        id
    });
    net.join(Kind::Ours, ClusterConfig::default(), config());
    net.run(Duration::from_secs(3));
    assert_eq!(net.session(0, &session).unwrap().attributes().len(), 3);
    for node in [1, 2] {
        let names: Vec<_> = net
            .session(node, &session)
            .unwrap()
            .attributes()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names, ["keep"], "node {node}");
    }
}

#[test]
fn commands_that_cannot_be_done_say_why() {
    let mut net = Net::new();
    let config = DeltaManagerConfig {
        max_active_sessions: 2,
        ..DeltaManagerConfig::default()
    };
    net.join(Kind::Ours, ClusterConfig::default(), config);
    let (a, b) = (net.create(0, &[]), net.create(0, &[]));
    net.command(0, |cluster, now, shop| {
        let gone = SessionId::from("nowhere");
        let long = "x".repeat(70_000);
        assert_eq!(
            cluster.create_session(now, shop, None),
            Err(SessionError::TooManySessions { max: 2 })
        );
        assert_eq!(cluster.manager(shop).unwrap().stats().rejected_sessions, 1);
        assert_eq!(
            cluster.set_attribute(now, shop, &gone, "k", "v"),
            Err(SessionError::UnknownSession)
        );
        assert_eq!(
            cluster.set_attribute(now, shop, &a, long.as_str(), "v"),
            Err(SessionError::TooLong(70_000))
        );
        assert_eq!(
            cluster.change_session_id(now, shop, &a, Some(&b)),
            Err(SessionError::SessionExists)
        );
        assert_eq!(
            cluster.change_session_id(now, shop, &a, Some(&SessionId::from(long))),
            Err(SessionError::TooLong(70_000))
        );
        assert!(
            !cluster.access_session(now, shop, &gone) && !cluster.expire_session(now, shop, &gone)
        );
        assert!(cluster.expire_session(now, shop, &b));
        assert!(cluster.create_session(now, shop, None).is_ok());
        assert!(cluster.unregister_manager(now, shop));
        assert_eq!(
            cluster.create_session(now, shop, None),
            Err(SessionError::UnknownContext)
        );
    });
}

#[test]
fn a_stopped_application_takes_its_sessions_along_only_if_told_to() {
    for expire in [false, true] {
        let mut net = Net::new();
        let config = DeltaManagerConfig {
            expire_sessions_on_shutdown: expire,
            ..DeltaManagerConfig::default()
        };
        (0..2).for_each(|_| {
            net.join(Kind::Ours, ClusterConfig::default(), config.clone());
        });
        net.run(Duration::from_secs(3));
        let session = net.create(0, &[]);
        let now = net.now;
        net.nodes[0].cluster.stop(now);
        net.run(Duration::from_secs(1));
        assert_eq!(net.session(1, &session).is_none(), expire);
        assert_eq!(
            net.nodes[1].cluster.channel().member_count(),
            0,
            "it said goodbye"
        );
    }
}

#[test]
fn a_read_only_request_says_as_much_as_it_must() {
    for (record_joins, expected) in [
        (true, EventType::SessionDelta),
        (false, EventType::SessionAccessed),
    ] {
        let mut net = Net::new();
        let config = DeltaManagerConfig {
            record_joins,
            ..DeltaManagerConfig::default()
        };
        (0..2).for_each(|_| {
            net.join(Kind::Ours, ClusterConfig::default(), config.clone());
        });
        net.run(Duration::from_secs(3));
        let session = net.create(0, &[]);
        net.take_passed();
        net.request(0, &session, &[]);
        let on_primary = kinds(&net.take_passed());
        assert_eq!(
            on_primary,
            if record_joins { vec![expected] } else { vec![] }
        );
        // Over there it is a copy, and the primary has to know.
        net.request(1, &session, &[]);
        assert_eq!(kinds(&net.take_passed()), [expected]);
        assert!(
            net.session(1, &session).unwrap().is_primary()
                && !net.session(0, &session).unwrap().is_primary()
        );
        // Long after the last word, the others are told that it is still in use.
        net.command(1, |cluster, now, shop| {
            cluster
                .set_max_inactive_interval(now, shop, &session, 100)
                .unwrap()
        });
        net.request(1, &session, &[]);
        net.take_passed();
        net.run(Duration::from_secs(90));
        net.request(1, &session, &[]);
        net.run(Duration::from_secs(20));
        net.request(1, &session, &[]);
        let passed = kinds(&net.take_passed());
        assert_eq!(passed, vec![expected; if record_joins { 2 } else { 1 }]);
    }
}

/// What passed, as the recording of two Tomcats shows it: who, what, options, and what a delta says.
fn story(passed: &[Passed]) -> Vec<String> {
    let mut story = vec![];
    for passed in passed {
        let message = passed.message();
        assert_eq!(message.context_name, Some(&b"localhost#/shop"[..]));
        assert!(message.timestamp_set && message.base_timestamp_ms == 0);
        let mut line = format!(
            "{} {} {}",
            ["A", "B"][passed.from],
            passed.kind().name(),
            passed.options
        );
        if passed.kind() == EventType::SessionDelta {
            let delta = DeltaRequest::read(message.session.unwrap(), &Default::default()).unwrap();
            assert_eq!(
                delta.session_id.as_modified_utf8(),
                message.session_id.unwrap()
            );
            for action in &delta.actions {
                let value = match action.kind {
                    ActionType::IS_NEW => format!("{:?}", action.value == Some(true.into())),
                    _ => String::new(),
                };
                line += &format!(" {}{value}", action.name);
            }
        }
        story.push(line);
    }
    story
}

#[test]
fn the_nine_steps_pass_the_messages_that_two_tomcats_pass() {
    let mut net = Net::new();
    let node = |route: &str| DeltaManagerConfig {
        jvm_route: Some(route.to_owned()),
        process_expires_frequency: 1,
        ..DeltaManagerConfig::default()
    };
    // 1: A starts.
    net.join(Kind::Ours, quick(), node("nodeA"));
    net.run(Duration::from_secs(3));
    assert_eq!(story(&net.take_passed()), [""; 0]);
    // 2: B starts.
    net.join(Kind::Ours, quick(), node("nodeB"));
    net.run(Duration::from_secs(3));
    let transfer = |asker: &str, donor: &str| {
        [
            format!("{asker} SESSION-GET-ALL 8"),
            format!("{donor} ALL-SESSION-DATA 6"),
            format!("{donor} SESSION-STATE-TRANSFERRED 8"),
        ]
    };
    assert_eq!(story(&net.take_passed()), transfer("B", "A"));
    // 3: a request to A creates S1; others change it, or nothing.
    let s1 = net.create(0, &[("k", "1")]);
    assert_eq!(s1.jvm_route(), Some(&b"nodeA"[..]));
    net.request(0, &s1, &[]);
    net.request(0, &s1, &[("k", Some("2"))]);
    let expected = [
        "A SESSION-MODIFIED 8",
        "A SESSION-DELTA 8 __SET__ISNEW__true __SET__MAXINTERVAL__ k",
        "A SESSION-DELTA 8 __SET__ISNEW__false",
        "A SESSION-DELTA 8 __SET__ISNEW__false k",
    ];
    assert_eq!(story(&net.take_passed()), expected);
    // 4: A crashes.
    net.kill(0);
    net.run(Duration::from_secs(6));
    assert_eq!(net.nodes[1].cluster.channel().member_count(), 0);
    // 5: a request for S1 comes to B, which gives it its route.
    let s1b = s1.with_jvm_route("nodeB");
    net.command(1, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &s1));
        cluster
            .change_session_id(now, shop, &s1, Some(&s1b))
            .unwrap();
        cluster.request_completed(now, shop, &s1b).unwrap();
        cluster.end_access(now, shop, &s1b);
    });
    assert_eq!(net.text(1, &s1b, "k").as_deref(), Some("2"));
    assert!(
        net.session(1, &s1b).unwrap().is_primary() && !net.session(1, &s1b).unwrap().is_dirty()
    );
    assert_eq!(story(&net.take_passed()), [""; 0]);
    // 6: A starts again.
    net.restart(0, quick(), node("nodeA"));
    net.run(Duration::from_secs(3));
    assert_eq!(story(&net.take_passed()), transfer("A", "B"));
    assert_eq!(net.contents(0), net.contents(1));
    // 7: A takes S1 over, changes its id once more, and invalidates it.
    let s1a = s1.with_jvm_route("nodeA");
    net.command(0, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &s1b));
        cluster
            .change_session_id(now, shop, &s1b, Some(&s1a))
            .unwrap();
        cluster.request_completed(now, shop, &s1a).unwrap();
        cluster.end_access(now, shop, &s1a);
        assert!(cluster.access_session(now, shop, &s1a));
        let rotated = cluster.change_session_id(now, shop, &s1a, None).unwrap();
        assert_eq!(rotated.jvm_route(), Some(&b"nodeA"[..]));
        cluster.request_completed(now, shop, &rotated).unwrap();
        cluster.end_access(now, shop, &rotated);
        assert!(cluster.access_session(now, shop, &rotated));
        assert!(cluster.expire_session(now, shop, &rotated));
        assert_eq!(cluster.request_completed(now, shop, &rotated), Ok(None));
    });
    let expected = [
        "A SESSION-ID-CHANGED 8",
        "A SESSION-DELTA 8 __SET__ISNEW__false",
        "A SESSION-ID-CHANGED 8",
        "A SESSION-DELTA 8 __SET__ISNEW__false",
        "A SESSION-DELTA 8 __SET__ISNEW__false",
        "A SESSION-EXPIRED 8",
    ];
    assert_eq!(story(&net.take_passed()), expected);
    assert_eq!(
        (net.shop(0).session_count(), net.shop(1).session_count()),
        (0, 0)
    );
    // 8: B creates S2.
    let s2 = net.create(1, &[("k", "1")]);
    let expected = [
        "B SESSION-MODIFIED 8",
        "B SESSION-DELTA 8 __SET__ISNEW__true __SET__MAXINTERVAL__ k",
    ];
    assert_eq!(story(&net.take_passed()), expected);
    // 9: A takes it over and shortens it; it times out there.
    let s2a = s2.with_jvm_route("nodeA");
    net.command(0, |cluster, now, shop| {
        assert!(cluster.access_session(now, shop, &s2));
        cluster
            .change_session_id(now, shop, &s2, Some(&s2a))
            .unwrap();
        cluster
            .set_max_inactive_interval(now, shop, &s2a, 3)
            .unwrap();
        cluster.request_completed(now, shop, &s2a).unwrap();
        cluster.end_access(now, shop, &s2a);
    });
    net.run(Duration::from_secs(5));
    let expected = [
        "A SESSION-ID-CHANGED 8",
        "A SESSION-DELTA 8 __SET__ISNEW__false __SET__MAXINTERVAL__",
        "A SESSION-EXPIRED 8",
    ];
    assert_eq!(story(&net.take_passed()), expected);
    assert_eq!(
        (net.shop(0).session_count(), net.shop(1).session_count()),
        (0, 0)
    );
}
