//! What happens to sessions.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use folkmoot::{DeltaManagerConfig, Event, SessionError, TransferResult, name_filter};
use folkmoot_core::session::EventType;
use http::StatusCode;
use http::header::COOKIE;
use tower::ServiceExt as _;

use crate::support::{Node, PATIENCE, Plan, until};

/// Options 8 and 6: everything here holds with both.
const MODES: [u32; 2] = [8, 6];

fn is_session_id(id: &str, route: &str) -> bool {
    let digits = id.strip_suffix(route).and_then(|id| id.strip_suffix('.'));
    digits.is_some_and(|digits| {
        digits.len() == 32
            && digits
                .bytes()
                .all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit))
    })
}

#[tokio::test]
async fn a_session_outlives_the_node_that_made_it() {
    for options in MODES {
        let mut nodes = Plan::of(3).start_all(options);
        let (told, _) = nodes[0].ask("/set/cart/apple", None).await;
        let id = told.expect("a cookie");
        assert!(is_session_id(&id, "n1"), "{id}");
        for node in &nodes {
            until("the session is everywhere", || {
                node.attributes(&id)
                    .is_some_and(|all| all == ["cart=apple"])
            });
        }
        let first = nodes.remove(0);
        first.cluster.shutdown().await;
        drop(first);

        // The front sends the client elsewhere: the session gets that node's route, everywhere.
        nodes[0].await_members(1);
        let (told, text) = nodes[0].ask("/get/cart", Some(&id)).await;
        assert_eq!(text, "apple");
        let moved = told.expect("a new cookie");
        assert_eq!(moved, id.replace(".n1", ".n2"));
        until("renamed on the other", || {
            nodes[1].attributes(&moved).is_some()
        });
        assert!(nodes[1].attributes(&id).is_none());

        // A request that was on its way with the old cookie finds it, too.
        let (told, text) = nodes[0].ask("/get/cart", Some(&id)).await;
        assert_eq!((told.as_ref(), text.as_str()), (Some(&moved), "apple"));
        let (told, text) = nodes[0].ask("/get/cart", Some(&moved)).await;
        assert_eq!((told, text.as_str()), (None, "apple"));
    }
}

/// All tasks of a runtime that are ready end their requests before the first of them writes.
#[tokio::test]
async fn the_changes_of_requests_that_end_together_leave_in_one_write() {
    const REQUESTS: usize = 16;
    let nodes = Plan::of(2).start_all(6);
    let (told, _) = nodes[0].ask("/set/cart/apple", None).await;
    let id = told.expect("a cookie");
    let sent = || nodes[0].manager.stats().sent.get(EventType::SessionDelta);
    let mut writes = Vec::new();
    for round in 0..20 {
        let before = (nodes[0].cluster.driver_stats().writes, sent());
        let requests = (0..REQUESTS).map(|number| {
            let (router, id) = (nodes[0].router.clone(), id.clone());
            async move {
                let path = format!("/set/a{number}/{round}");
                let request = Request::builder().uri(path);
                let request = request.header(COOKIE, format!("JSESSIONID={id}"));
                let response = router.oneshot(request.body(Body::empty()).unwrap());
                assert_eq!(response.await.unwrap().status(), StatusCode::OK);
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        requests.for_each(|request| drop(tasks.spawn(request)));
        tasks.join_all().await;
        assert_eq!(sent() - before.1, REQUESTS as u64);
        writes.push(nodes[0].cluster.driver_stats().writes - before.0);
        let all = nodes[1].attributes(&id).expect("it is there");
        let changed = all.iter().filter(|a| a.ends_with(&format!("={round}")));
        assert_eq!(changed.count(), REQUESTS, "{all:?}");
    }
    // The driver thread may have had something else to do in between, and taken with it what was there.
    writes.sort_unstable();
    assert!(writes[writes.len() / 2] <= 2, "{writes:?}");
}

/// A client that goes away takes nobody's change with it: what was left to the tasks that run next leaves with the request.
#[tokio::test]
async fn the_change_of_a_request_whose_client_goes_away_leaves_all_the_same() {
    use std::future::Future as _;
    let nodes = Plan::of(2).start_all(6);
    let (told, _) = nodes[0].ask("/set/cart/apple", None).await;
    let id = told.expect("a cookie");
    for polls in 1..=3 {
        let value = format!("pear{polls}");
        let path = format!("/set/cart/{value}");
        let mut request = Box::pin(nodes[0].ask(&path, Some(&id)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..polls {
            if request.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
        let before = nodes[0].cluster.driver_stats().writes;
        drop(request);
        if polls == 1 {
            // By the drop itself: the next ping would take it along a moment later.
            assert!(nodes[0].cluster.driver_stats().writes > before);
        }
        until("the change is on the other", || {
            nodes[1].attributes(&id) == Some(vec![format!("cart={value}")])
        });
    }
}

#[tokio::test]
async fn with_options_6_the_change_is_everywhere_when_the_response_leaves() {
    let nodes = Plan::of(3).start_all(6);
    let (told, _) = nodes[0].ask("/set/k/0", None).await;
    let id = told.expect("a cookie");
    for number in 1..50 {
        nodes[0].ask(&format!("/set/k/{number}"), Some(&id)).await;
        for node in &nodes {
            assert_eq!(node.attributes(&id), Some(vec![format!("k={number}")]));
        }
    }
}

#[test]
fn a_whole_request_changes_a_session_everywhere() {
    for options in MODES {
        let nodes = Plan::of(2).start_all(options);
        let manager = &nodes[0].manager;
        let id = manager.create_session().expect("room for one");
        manager.end_access(&id);
        for number in 0..50 {
            let value = number.to_string();
            let (before, delivery) = manager
                .request(&id, |session| {
                    assert_eq!(session.id(), &id);
                    let before = session.attribute("cart");
                    session.remove_attribute("note").expect("a short name");
                    session.set_attribute("last", number).expect("a short name");
                    let changed = session.write_attribute("cart", value.as_str());
                    assert!(changed.expect("a short name"));
                    before
                })
                .expect("it is there");
            let before = before.and_then(|value| value.as_string());
            let before = before.map(|text| text.to_string_lossy().into_owned());
            let wanted = (number > 0).then(|| (number - 1).to_string());
            assert_eq!(before, wanted);
            assert_eq!(delivery.is_some(), options == 6);
            if let Some(delivery) = delivery {
                assert!(delivery.wait().is_complete());
                let there = nodes[1].manager.attribute(&id, "cart");
                let there = there.and_then(|value| value.as_string());
                assert_eq!(there.expect("a string"), value.as_str());
            }
        }
        until("the last change has come", || {
            let there = nodes[1].manager.attribute(&id, "cart");
            there
                .and_then(|value| value.as_string())
                .is_some_and(|there| there == "49")
        });
        // A request that panics is over, too, and the cluster goes on.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            manager.request(&id, |_| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        assert!(manager.expire_session(&id));
        let gone = manager.request(&id, |_| ());
        assert!(matches!(gone, Err(SessionError::Invalidated)), "{gone:?}");
    }
}

#[tokio::test]
async fn what_ends_or_renames_a_session_does_so_everywhere() {
    for options in MODES {
        let nodes = Plan::of(2).start_all(options);
        let (told, _) = nodes[0].ask("/set/k/v", None).await;
        let id = told.expect("a cookie");
        until("replicated", || nodes[1].attributes(&id).is_some());

        let (told, text) = nodes[0].ask("/changeid", Some(&id)).await;
        let changed = told.expect("a new cookie");
        assert_eq!(text, changed);
        assert!(is_session_id(&changed, "n1") && changed != id, "{changed}");
        until("renamed", || {
            nodes[1].attributes(&changed) == Some(vec!["k=v".to_owned()])
        });
        assert!(nodes[1].attributes(&id).is_none());

        assert_eq!(nodes[0].ask("/invalidate", Some(&changed)).await.1, "true");
        assert_eq!(nodes[0].manager.active_sessions(), 0);
        until("gone", || nodes[1].manager.active_sessions() == 0);
        assert_eq!(
            nodes[0].ask("/get/k", Some(&changed)).await,
            (None, "none".to_owned())
        );
    }
}

#[tokio::test]
async fn a_joining_node_gets_the_sessions_there_are() {
    for options in MODES {
        let plan = Plan::of(2);
        let first = plan.start(1, options);
        let alone = first.manager.wait_ready(PATIENCE).expect("ready");
        assert_eq!(alone.result, TransferResult::NoMembers);
        let mut ids = Vec::new();
        for number in 0..200 {
            ids.push(
                first
                    .ask(&format!("/set/number/{number}"), None)
                    .await
                    .0
                    .expect("a cookie"),
            );
        }
        let second = plan.start(2, options);
        let transfer = second.manager.ready().await.expect("ready");
        assert_eq!(
            (transfer.result, transfer.sessions),
            (TransferResult::Complete, 200)
        );
        assert_eq!(
            transfer.from.map(|member| member.unique_id),
            Some(first.cluster.local_member().unique_id)
        );
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(
                second.attributes(id),
                Some(vec![format!("number={number}")])
            );
        }
    }
}

#[tokio::test]
async fn overlapping_requests_on_two_nodes_both_keep_their_attributes() {
    let nodes = Plan::of(2).start_all(8);
    let (told, _) = nodes[0].ask("/set/k/v", None).await;
    let id = told.expect("a cookie");
    until("replicated", || nodes[1].attributes(&id).is_some());
    for number in 0..100 {
        let paths = [format!("/set/a{number}/x"), format!("/set/b{number}/x")];
        // Both on one node, at the same time.
        let (one, other) = tokio::join!(
            nodes[0].ask(&paths[0], Some(&id)),
            nodes[0].ask(&paths[1], Some(&id))
        );
        assert_eq!((one.1.as_str(), other.1.as_str()), ("set", "set"));
    }
    until("all of them on the other", || {
        nodes[1].attributes(&id).is_some_and(|all| all.len() == 201)
    });
}

#[tokio::test]
async fn a_failed_response_is_replicated_all_the_same() {
    let nodes = Plan::of(2).start_all(8);
    let (status, told, _) = nodes[0].answer("/error", None).await;
    assert_eq!(status.as_u16(), 500);
    let id = told.expect("a cookie");
    until("replicated", || {
        nodes[1].attributes(&id).is_some_and(|all| all == ["k=v"])
    });
}

#[tokio::test]
async fn subscribers_hear_what_other_nodes_do_to_sessions() {
    let nodes = Plan::of(2).start_all(8);
    let mut events = nodes[1].cluster.subscribe();
    let id = nodes[0].ask("/set/k/v", None).await.0.expect("a cookie");
    let changed = nodes[0]
        .ask("/changeid", Some(&id))
        .await
        .0
        .expect("a cookie");
    nodes[0].ask("/invalidate", Some(&changed)).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match events.recv().await.expect("an event") {
            Event::SessionCreated {
                id, remote: true, ..
            } => heard.push(format!("created {id}")),
            Event::SessionIdChanged {
                old,
                new,
                remote: true,
                ..
            } => heard.push(format!("renamed {old} {new}")),
            Event::SessionExpired {
                id, remote: true, ..
            } => heard.push(format!("expired {id}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        heard,
        [
            format!("created {id}"),
            format!("renamed {id} {changed}"),
            format!("expired {changed}")
        ]
    );
}

#[tokio::test]
async fn two_applications_of_one_node_keep_their_sessions_apart() {
    let plan = Plan::of(2);
    let nodes = plan.start_all(8);
    let shops: Vec<_> = nodes
        .iter()
        .map(|node| node.cluster.delta_manager("/shop").expect("another path"))
        .collect();
    for shop in &shops {
        shop.wait_ready(PATIENCE).expect("ready");
    }
    let id = shops[0].create_session().expect("room");
    assert!(
        shops[0]
            .write_attribute(&id, "k", "v")
            .expect("just created")
    );
    shops[0].request_completed(&id).expect("sent");
    shops[0].end_access(&id);
    until("replicated", || shops[1].attribute(&id, "k").is_some());
    assert_eq!(
        nodes[0].manager.active_sessions() + nodes[1].manager.active_sessions(),
        0
    );
}

#[test]
fn an_attribute_that_a_filter_excludes_stays_here() {
    let plan = Plan::of(2);
    let config = || DeltaManagerConfig {
        session_attribute_name_filter: Some(name_filter("cart.*").expect("a pattern")),
        ..DeltaManagerConfig::default()
    };
    let nodes = plan.start_all(6);
    let shops: Vec<_> = nodes
        .iter()
        .map(|node| {
            node.cluster
                .delta_manager_with("/shop", config())
                .expect("another path")
        })
        .collect();
    for shop in &shops {
        shop.wait_ready(PATIENCE).expect("ready");
    }
    let id = shops[0].create_session().expect("room");
    shops[0]
        .set_attribute(&id, "local", "v")
        .expect("just created");
    shops[0]
        .set_attribute(&id, "cart", "v")
        .expect("just created");
    let delivery = shops[0]
        .request_completed(&id)
        .expect("sent")
        .expect("options 6");
    assert!(delivery.wait().is_complete());
    assert_eq!(shops[0].attributes(&id).map(|all| all.len()), Some(2));
    assert_eq!(shops[1].attributes(&id).map(|all| all.len()), Some(1));
    assert!(shops[1].attribute(&id, "cart").is_some());
}

#[tokio::test]
async fn a_session_that_nobody_uses_expires_everywhere() {
    let plan = Plan::of(2);
    let start = |number| {
        let builder = plan
            .builder(number)
            .background_processor_delay(Duration::from_millis(50));
        let cluster = builder.start().expect("a free address");
        let config = DeltaManagerConfig {
            process_expires_frequency: 1,
            ..DeltaManagerConfig::default()
        };
        let manager = cluster
            .delta_manager_with("/", config)
            .expect("the first manager of this path");
        Node::over(cluster, manager)
    };
    let nodes = [start(1), start(2)];
    for node in &nodes {
        node.await_members(1);
        node.manager.wait_ready(PATIENCE).expect("ready");
    }
    let id = nodes[0]
        .ask("/expire-in/1", None)
        .await
        .0
        .expect("a cookie");
    let kept = nodes[0]
        .ask("/expire-in/0", None)
        .await
        .0
        .expect("a cookie");
    until("expired on both", || {
        nodes.iter().all(|node| node.attributes(&id).is_none())
    });
    assert!(
        nodes.iter().all(|node| node.attributes(&kept).is_some()),
        "0 is never"
    );
    assert_eq!(nodes[0].manager.stats().expired_sessions, 1);
    assert_eq!(nodes[0].ask("/get/k", Some(&id)).await.0, None);
}
