//! Nodes on loopback addresses of their own, in this process.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::routing::get;
use folkmoot::java::JavaBytes;
use folkmoot::{
    Cluster, ClusterBuilder, DeltaManager, Session, SessionError, SessionLayer, StaticMember,
    UniqueId,
};
use http::header::{COOKIE, SET_COOKIE};
use http::{Response, StatusCode};
use tower::ServiceExt as _;

/// Nothing here takes that long; whoever waits longer waits for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One node: its cluster, its manager of the root context, and a web application over it.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) manager: DeltaManager,
    pub(crate) router: Router,
}

/// An address on loopback that no other test of any process uses at the moment.
pub(crate) fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn unique_id(number: u8) -> UniqueId {
    UniqueId([number; 16])
}

/// Where the nodes of a cluster are and what they are called: static membership.
#[derive(Clone)]
pub(crate) struct Plan {
    members: Vec<StaticMember>,
}

impl Plan {
    pub(crate) fn of(nodes: u8) -> Self {
        let member = |number| StaticMember::new((address(), 4000).into(), unique_id(number));
        Self {
            members: (1..=nodes).map(member).collect(),
        }
    }

    /// Configuration of the node `number`, from 1.
    pub(crate) fn builder(&self, number: u8) -> ClusterBuilder {
        let me = &self.members[usize::from(number) - 1];
        Cluster::builder()
            .static_members(self.members.iter().cloned())
            .receiver_address(me.address.ip())
            .receiver_port(me.address.port())
            .auto_bind(1)
            .unique_id(me.unique_id)
            .ping_interval(Duration::from_millis(100))
            .jvm_route(format!("n{number}"))
            .state_dir(std::env::temp_dir().join(format!("folkmoot-test-{}", std::process::id())))
    }

    pub(crate) fn start(&self, number: u8, options: u32) -> Node {
        let cluster = self
            .builder(number)
            .channel_send_options(options)
            .start()
            .expect("a free address");
        Node::on(cluster)
    }

    /// All nodes, each one ready and each knowing all others.
    pub(crate) fn start_all(&self, options: u32) -> Vec<Node> {
        let all: Vec<Node> = (1..)
            .take(self.members.len())
            .map(|number| self.start(number, options))
            .collect();
        for node in &all {
            node.await_members(all.len() - 1);
            node.manager.wait_ready(PATIENCE).expect("ready");
        }
        all
    }
}

impl Node {
    pub(crate) fn on(cluster: Cluster) -> Self {
        let manager = cluster
            .delta_manager("/")
            .expect("the first manager of this path");
        Self::over(cluster, manager)
    }

    pub(crate) fn over(cluster: Cluster, manager: DeltaManager) -> Self {
        let router = application().layer(SessionLayer::new(&manager));
        Self {
            cluster,
            manager,
            router,
        }
    }

    pub(crate) fn await_members(&self, count: usize) {
        until("members", || self.cluster.members().len() == count);
    }

    /// Asks the application; answers the cookie set, if one was, and the text.
    pub(crate) async fn ask(&self, path: &str, cookie: Option<&str>) -> (Option<String>, String) {
        let (status, told, text) = self.answer(path, cookie).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        (told, text)
    }

    pub(crate) async fn answer(
        &self,
        path: &str,
        cookie: Option<&str>,
    ) -> (StatusCode, Option<String>, String) {
        let mut request = Request::builder().uri(path);
        if let Some(id) = cookie {
            request = request.header(COOKIE, format!("JSESSIONID={id}"));
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let told = told(&response);
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (status, told, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The attributes of a session as `name=text`, without touching it.
    pub(crate) fn attributes(&self, id: &str) -> Option<Vec<String>> {
        let attributes = self.manager.attributes(&id.into())?;
        let pair = |(name, value): (String, JavaBytes)| match value.as_string() {
            Some(text) => format!("{name}={}", text.to_string_lossy()),
            None => format!("{name}?"),
        };
        Some(attributes.into_iter().map(pair).collect())
    }
}

fn told<B>(response: &Response<B>) -> Option<String> {
    let header = response.headers().get(SET_COOKIE)?.to_str().unwrap();
    let id = header.strip_prefix("JSESSIONID=")?.split(';').next()?;
    Some(id.to_owned())
}

/// Waits until `done`.
pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn application() -> Router {
    let text = |value: Option<JavaBytes>| {
        let text = value.and_then(|value| value.as_string());
        text.map_or("none".to_owned(), |text| {
            text.to_string_lossy().into_owned()
        })
    };
    Router::new()
        .route(
            "/set/{name}/{value}",
            get(
                async |session: Session, Path((name, value)): Path<(String, String)>| {
                    session
                        .set_bytes(&name, JavaBytes::from(value))
                        .map(|_| "set")
                },
            ),
        )
        .route(
            "/get/{name}",
            get(async move |session: Session, Path(name): Path<String>| {
                session.get_bytes(&name).map(text)
            }),
        )
        .route("/idle", get(async || "idle"))
        .route(
            "/invalidate",
            get(async |session: Session| session.invalidate().map(|was| was.to_string())),
        )
        .route(
            "/changeid",
            get(async |session: Session| session.change_id().map(|id| id.to_string())),
        )
        .route(
            "/expire-in/{seconds}",
            get(async |session: Session, Path(seconds): Path<i32>| {
                session.set_max_inactive_interval(seconds).map(|()| "set")
            }),
        )
        .route(
            "/error",
            get(async |session: Session| -> Result<(), SessionError> {
                session.set_bytes("k", JavaBytes::from("v"))?;
                Err(SessionError::Invalidated)
            }),
        )
}
