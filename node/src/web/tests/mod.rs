//! The layer against a store that only remembers: what is asked of it, in which order.

mod memory;
mod typed;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use folkmoot_core::java::JavaBytes;
use http::StatusCode;
use http::header::{COOKIE, SET_COOKIE};
use hyper::body::Frame;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::cookie::CookieConfig;
use super::{OriginalSessionId, PrimarySession, Session, SessionError, SessionLayer};
use crate::SessionId;
use memory::Memory;

async fn set(session: Session, request: Request) -> Result<&'static str, SessionError> {
    let name = request.uri().query().unwrap_or("k").to_owned();
    session.set_bytes(&name, JavaBytes::from("v"))?;
    Ok("set")
}

/// An application with one handler for each thing that can be done.
fn application() -> Router {
    Router::new()
        .route("/idle", get(async || "idle"))
        .route("/set", any(set))
        .route("/set.gif", any(set))
        .route(
            "/peek",
            get(async |session: Session| {
                session
                    .get_bytes("k")
                    .map(|value| format!("{}", value.is_some()))
            }),
        )
        .route(
            "/invalidate",
            get(async |session: Session| session.invalidate().map(|was| was.to_string())),
        )
        .route(
            "/replace",
            get(async |session: Session| {
                session.invalidate()?;
                session
                    .set_bytes("k", JavaBytes::from("v"))
                    .map(|_| "replaced")
            }),
        )
        .route(
            "/changeid",
            get(async |session: Session| session.change_id().map(|id| id.to_string())),
        )
        .route(
            "/error",
            get(async |session: Session| {
                session
                    .set_bytes("k", JavaBytes::from("v"))
                    .map(|_| (StatusCode::INTERNAL_SERVER_ERROR, "broken"))
            }),
        )
        .route(
            "/panic",
            get(async |session: Session| -> Response {
                session.set_bytes("k", JavaBytes::from("v")).unwrap();
                panic!("a handler's mistake")
            }),
        )
        .route(
            "/original",
            get(async |original: Option<Extension<OriginalSessionId>>| {
                original.map_or("none".to_owned(), |Extension(OriginalSessionId(id))| {
                    id.to_string()
                })
            }),
        )
        .route(
            "/primary",
            get(async |primary: Option<Extension<PrimarySession>>| {
                format!("{:?}", primary.map(|Extension(p)| p.0))
            }),
        )
}

fn request(path: &str, cookie: Option<&str>) -> Request {
    let mut request = Request::builder().uri(path);
    if let Some(id) = cookie {
        request = request.header(COOKIE, format!("JSESSIONID={id}"));
    }
    request.body(Body::empty()).unwrap()
}

async fn ask(router: &Router, path: &str, cookie: Option<&str>) -> Response {
    router
        .clone()
        .oneshot(request(path, cookie))
        .await
        .unwrap()
        .into_response()
}

fn cookies(response: &Response) -> Vec<&str> {
    response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

async fn text(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 16)
        .await
        .unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_makes_the_cluster_hear_what_tomcats_valves_would_say() {
    const NEW: &str = "JSESSIONID=NEW0.n1; Path=/shop; HttpOnly";
    // What; sessions here; path and cookie asked for; what the cluster hears; cookies set.
    type Case = (
        &'static str,
        &'static [&'static str],
        &'static str,
        Option<&'static str>,
        &'static [&'static str],
        &'static [&'static str],
    );
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("nobody asks for a session",       &[],        "/idle",       None,         &[], &[]),
        ("reading creates nothing",         &[],        "/peek",       None,         &[], &[]),
        ("an unknown id is no session",     &[],        "/peek",       Some("X.n1"), &[], &[]),
        ("writing creates",                 &[],        "/set",        None,
            &["create NEW0.n1", "replicate NEW0.n1", "leave NEW0.n1"], &[NEW]),
        ("an unknown id is not taken over", &[],        "/set",        Some("X.n1"),
            &["create NEW0.n1", "replicate NEW0.n1", "leave NEW0.n1"], &[NEW]),
        ("a session is joined unasked",     &["A.n1"],  "/idle",       Some("A.n1"),
            &["join A.n1", "replicate A.n1", "leave A.n1"], &[]),
        ("a session is joined once",        &["A.n1"],  "/set",        Some("A.n1"),
            &["join A.n1", "replicate A.n1", "leave A.n1"], &[]),
        ("a filtered request is joined",    &["A.n1"],  "/set.gif",    Some("A.n1"),
            &["join A.n1", "leave A.n1"], &[]),
        ("invalidated: nothing to send",    &["A.n1"],  "/invalidate", Some("A.n1"),
            &["join A.n1", "expire A.n1", "leave A.n1"], &[]),
        ("nothing to invalidate",           &[],        "/invalidate", None, &[], &[]),
        ("invalidated and begun anew",      &["A.n1"],  "/replace",    Some("A.n1"),
            &["join A.n1", "expire A.n1", "leave A.n1", "create NEW0.n1", "replicate NEW0.n1", "leave NEW0.n1"],
            &[NEW]),
        ("a changed id is told",            &["A.n1"],  "/changeid",   Some("A.n1"),
            &["join A.n1", "rename A.n1 CHANGED.n1", "replicate CHANGED.n1", "leave CHANGED.n1"],
            &["JSESSIONID=CHANGED.n1; Path=/shop; HttpOnly"]),
        ("a server error is an answer",     &["A.n1"],  "/error",      Some("A.n1"),
            &["join A.n1", "replicate A.n1", "leave A.n1"], &[]),
        ("another route becomes ours",      &["A.n2"],  "/idle",       Some("A.n2"),
            &["rename A.n2 A.n1", "join A.n1", "replicate A.n1", "leave A.n1"],
            &["JSESSIONID=A.n1; Path=/shop; HttpOnly"]),
        ("the route follows the first dot", &["A.b.c"], "/idle",       Some("A.b.c"),
            &["rename A.b.c A.n1", "join A.n1", "replicate A.n1", "leave A.n1"],
            &["JSESSIONID=A.n1; Path=/shop; HttpOnly"]),
        ("moved by an overlapping request", &["A.n1"],  "/idle",       Some("A.n2"),
            &["join A.n1", "replicate A.n1", "leave A.n1"],
            &["JSESSIONID=A.n1; Path=/shop; HttpOnly"]),
        ("another route's stranger",        &[],        "/idle",       Some("A.n2"), &[], &[]),
        ("no route at all",                 &["A"],     "/idle",       Some("A"),
            &["join A", "replicate A", "leave A"], &[]),
    ];
    for (what, here, path, cookie, heard, told) in cases {
        let memory = Memory::with(here);
        let layer = SessionLayer::over(memory.clone())
            .filter(r".*\.gif")
            .unwrap();
        let router = application().layer(layer);
        let response = ask(&router, path, *cookie).await;
        assert_eq!(&cookies(&response), told, "{what}");
        assert_eq!(memory.heard(), *heard, "{what}");
    }
}

#[tokio::test]
async fn two_overlapping_requests_both_keep_their_attributes() {
    let memory = Memory::with(&["A.n1"]);
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (reached, go_on) = (Arc::clone(&reached), Arc::clone(&go_on));
        async move |session: Session| {
            session.set_bytes("before", JavaBytes::from("v"))?;
            reached.notify_one();
            go_on.notified().await;
            session
                .set_bytes("after", JavaBytes::from("v"))
                .map(|_| "slow")
        }
    };
    let router = application()
        .route("/slow", get(slow))
        .layer(SessionLayer::over(memory.clone()));
    let slow = tokio::spawn(router.clone().oneshot(request("/slow", Some("A.n1"))));
    reached.notified().await;
    // Meanwhile another request changes something else, and a third the id.
    ask(&router, "/set?other", Some("A.n1")).await;
    ask(&router, "/changeid", Some("A.n1")).await;
    go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);

    let sessions = memory.sessions.lock().unwrap();
    let attributes: Vec<_> = sessions[&SessionId::from("CHANGED.n1")]
        .keys()
        .cloned()
        .collect();
    assert_eq!(attributes, ["after", "before", "other"]);
    let heard = memory.heard();
    assert_eq!(
        heard
            .iter()
            .filter(|line| line.starts_with("replicate"))
            .count(),
        3,
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_session_that_ended_during_a_request_is_an_error_for_it_alone() {
    let memory = Memory::with(&["A.n1"]);
    let ended = {
        let memory = memory.clone();
        async move |session: Session| {
            session.set_bytes("k", JavaBytes::from("v"))?;
            memory.sessions.lock().unwrap().clear();
            session
                .set_bytes("k", JavaBytes::from("w"))
                .map(|_| "never")
        }
    };
    let router = application()
        .route("/ended", get(ended))
        .layer(SessionLayer::over(memory.clone()));
    let response = ask(&router, "/ended", Some("A.n1")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        text(response).await,
        "the session has been invalidated or has expired"
    );
    assert_eq!(memory.heard(), ["join A.n1", "leave A.n1"]);
}

#[tokio::test]
async fn a_panic_and_a_client_that_goes_away_replicate_what_was_changed() {
    let memory = Memory::with(&["A.n1"]);
    let router = application()
        .route(
            "/forever",
            get(async |session: Session| {
                session.set_bytes("k", JavaBytes::from("v")).unwrap();
                std::future::pending::<()>().await;
            }),
        )
        .layer(SessionLayer::over(memory.clone()));
    for path in ["/panic", "/forever"] {
        let serving = tokio::spawn(router.clone().oneshot(request(path, Some("A.n1"))));
        // It runs until it panics or waits for ever.
        tokio::task::yield_now().await;
        serving.abort();
        assert!(serving.await.is_err(), "{path}");
        assert_eq!(
            memory.heard(),
            ["join A.n1", "replicate A.n1", "leave A.n1"],
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_a_streamed_body_changes_is_replicated_when_it_ends() {
    let memory = Memory::with(&["A.n1"]);
    let streaming = async |session: Session| {
        let late = session.clone();
        let body = async move {
            late.set_bytes("late", JavaBytes::from("v")).unwrap();
            "streamed"
        };
        Body::new(OnceBody(Some(Box::pin(body))))
    };
    let router = application()
        .route("/stream", get(streaming))
        .layer(SessionLayer::over(memory.clone()));
    let response = ask(&router, "/stream", Some("A.n1")).await;
    assert_eq!(memory.heard(), ["join A.n1", "replicate A.n1"]);
    assert_eq!(text(response).await, "streamed");
    assert_eq!(memory.heard(), ["replicate A.n1", "leave A.n1"]);

    // Too late for a cookie, and so for a new session.
    let response = ask(&router, "/stream", None).await;
    let refused = tokio::spawn(text(response)).await;
    assert!(refused.is_err_and(|error| error.is_panic()));
    assert_eq!(memory.heard(), [""; 0]);
}

/// A body of one piece that takes a moment.
struct OnceBody<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = &'static str>> HttpBody for OnceBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(future) => future.as_mut().poll(cx).map(|text| {
                self.0 = None;
                Some(Ok(Frame::data(Bytes::from(text))))
            }),
        }
    }
}

#[tokio::test]
async fn of_several_cookies_the_first_valid_one_counts() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["B.n1"],         "JSESSIONID=A.n1; JSESSIONID=B.n1; JSESSIONID=C.n1", &["join B.n1"]),
        (&["A.n1", "B.n1"], "JSESSIONID=A.n1; JSESSIONID=B.n1",                  &["join A.n1"]),
        (&["B.n2"],         "JSESSIONID=A.n1; JSESSIONID=B.n2",                  &["rename B.n2 B.n1", "join B.n1"]),
        (&[],               "JSESSIONID=A.n1; JSESSIONID=B.n1",                  &[]),
        (&["A.n1"],         "other=A.n1; jsessionid=A.n1",                       &[]),
    ];
    for (here, header, heard) in cases {
        let memory = Memory::with(here);
        let router = application().layer(SessionLayer::over(memory.clone()));
        let request = Request::builder().uri("/peek").header(COOKIE, *header);
        router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let mut found = memory.heard();
        found.retain(|line| line.starts_with("join") || line.starts_with("rename"));
        assert_eq!(found, *heard, "{header}");
    }
}

#[tokio::test]
async fn a_session_id_in_the_path_counts_only_where_it_is_allowed() {
    // Whether it is allowed; path and cookie; status; what the cluster hears.
    type Case = (
        bool,
        &'static str,
        Option<&'static str>,
        u16,
        &'static [&'static str],
    );
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (true,  "/idle;jsessionid=A.n1",     None,         200, &["join A.n1"]),
        (true,  "/idle;jsessionid=A.n1?q=1", None,         200, &["join A.n1"]),
        (true,  "/idle;jsessionid=A.n1",     Some("B.n1"), 200, &["join B.n1"]),
        (true,  "/idle",                     Some("B.n1"), 200, &["join B.n1"]),
        (false, "/idle;jsessionid=A.n1",     None,         404, &[]),
    ];
    for (allowed, path, cookie, status, heard) in cases {
        let memory = Memory::with(&["A.n1", "B.n1"]);
        let layer = SessionLayer::over(memory.clone()).path_parameter(*allowed);
        // Around the whole router: routes are chosen without the parameter.
        let service = tower_layer::Layer::layer(&layer, application());
        let response = service.oneshot(request(path, *cookie)).await.unwrap();
        assert_eq!(response.status().as_u16(), *status, "{path}");
        let mut found = memory.heard();
        found.retain(|line| line.starts_with("join"));
        assert_eq!(found, *heard, "{path}");
    }
}

#[tokio::test]
async fn the_handler_can_learn_of_route_and_primary() {
    let memory = Memory::with(&["A.n2"]);
    let router = application().layer(SessionLayer::over(memory.clone()).primary_indicator(true));
    assert_eq!(
        text(ask(&router, "/original", Some("A.n2")).await).await,
        "A.n2"
    );
    assert_eq!(
        text(ask(&router, "/original", Some("A.n1")).await).await,
        "none"
    );
    assert_eq!(
        text(ask(&router, "/original", Some("A.n2")).await).await,
        "A.n2",
        "already moved"
    );
    assert_eq!(
        text(ask(&router, "/primary", Some("A.n1")).await).await,
        "Some(true)"
    );
    assert_eq!(text(ask(&router, "/primary", None).await).await, "None");
}

#[tokio::test]
async fn without_the_route_binder_a_session_keeps_its_route() {
    let memory = Memory::with(&["A.n2"]);
    let router = application().layer(SessionLayer::over(memory.clone()).jvm_route_binder(false));
    ask(&router, "/idle", Some("A.n2")).await;
    assert_eq!(
        memory.heard(),
        ["join A.n2", "replicate A.n2", "leave A.n2"]
    );
}

#[tokio::test]
async fn requests_are_counted() {
    let memory = Memory::with(&["A.n2"]);
    let layer = SessionLayer::over(memory.clone())
        .filter(r".*\.gif")
        .unwrap();
    let router = application().layer(layer.clone());
    for (path, cookie) in [
        ("/idle", None),
        ("/set", Some("A.n2")),
        ("/set.gif", Some("A.n1")),
    ] {
        ask(&router, path, cookie).await;
    }
    let stats = layer.stats();
    assert_eq!(
        (stats.requests, stats.filtered_requests, stats.send_requests),
        (3, 1, 1)
    );
    assert_eq!((stats.rebound_sessions, stats.failed_sends), (1, 0));
}

#[tokio::test]
async fn an_error_says_what_to_change() {
    let memory = Arc::new(Memory {
        max: Some(0),
        ..Memory::default()
    });
    let router = application().layer(SessionLayer::over(memory));
    let response = ask(&router, "/set", None).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("max_active_sessions"));

    let response = ask(&application(), "/set", None).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(response).await.contains(".layer(SessionLayer::new"));

    let long = "x".repeat(70_000);
    let layer = SessionLayer::over(Memory::with(&["A.n1"]));
    let set_long = async move |session: Session| {
        session
            .set_bytes(&long, JavaBytes::from("v"))
            .map(|_| "set")
    };
    let router = Router::new().route("/long", get(set_long)).layer(layer);
    assert!(
        text(ask(&router, "/long", Some("A.n1")).await)
            .await
            .contains("65535")
    );
}

#[tokio::test]
async fn the_cookie_is_the_configured_one() {
    let cookie = CookieConfig {
        name: "sid".into(),
        path: Some("/".into()),
        ..CookieConfig::default()
    };
    let layer = SessionLayer::over(Memory::with(&["A.n1"]))
        .cookie(cookie)
        .unwrap();
    let router = application().layer(layer);
    let response = ask(&router, "/set", Some("A.n1")).await;
    assert_eq!(
        cookies(&response),
        ["sid=NEW1.n1; Path=/; HttpOnly"],
        "JSESSIONID is not ours"
    );
    let bad = CookieConfig {
        name: "a b".into(),
        ..CookieConfig::default()
    };
    assert!(SessionLayer::over(Memory::with(&[])).cookie(bad).is_err());
}
