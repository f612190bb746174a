//! A small sticky front: requests follow the `jvmRoute` in their session cookie, and go to another node when that one
//! does not answer.
//!
//! What Tomcat's documentation expects of the load balancer in front of a cluster (mod_jk's `jvmRoute` stickiness), cut
//! down to what the demo needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::supervisor::Supervisor;

/// The largest request body that is passed on.
const BODY_MAX: usize = 1 << 20;
/// A node that does not answer within this time is passed over.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The front's share of the demo: where the nodes are, and how often it had to go elsewhere.
pub(crate) struct Front {
    supervisor: Arc<Supervisor>,
    client: Client<HttpConnector, Full<Bytes>>,
    next: AtomicUsize,
    failovers: AtomicUsize,
}

impl Front {
    /// A front for the nodes of `supervisor`.
    pub(crate) fn new(supervisor: Arc<Supervisor>) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Arc::new(Self {
            supervisor,
            client,
            next: AtomicUsize::new(0),
            failovers: AtomicUsize::new(0),
        })
    }

    /// Requests that another node answered than the one they belonged to.
    pub(crate) fn failovers(&self) -> usize {
        self.failovers.load(Ordering::Relaxed)
    }

    /// Listens on `port` of 127.0.0.1, or on the next free one of the ten after it; 0 takes any.
    pub(crate) async fn listen(port: u16) -> std::io::Result<TcpListener> {
        let mut last = None;
        for port in port..=port.saturating_add(10) {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
    }

    /// Serves until the task is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let front = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let front = Arc::clone(&front);
                    async move {
                        Ok::<_, std::convert::Infallible>(front.answer(request, from.ip()).await)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a browser's connection ended");
                }
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/_demo/nodes" => self.nodes(),
            path @ ("/_demo/kill" | "/_demo/start") => {
                let start = path == "/_demo/start";
                self.command(request.method(), request.uri(), start).await
            }
            _ => self.pass_on(request, from).await,
        }
    }

    /// Which nodes run, for the page's buttons.
    fn nodes(&self) -> Response<Full<Bytes>> {
        let nodes: Vec<_> = self
            .supervisor
            .nodes()
            .iter()
            .map(|node| {
                serde_json::json!({ "name": node.name, "running": node.pid.is_some(), "pid": node.pid })
            })
            .collect();
        let body = serde_json::json!({ "nodes": nodes, "failovers": self.failovers() });
        json(StatusCode::OK, &body)
    }

    /// Kills or starts the node that the query names.
    async fn command(&self, method: &Method, uri: &Uri, start: bool) -> Response<Full<Bytes>> {
        if method != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "POST it");
        }
        let Some(name) = uri.query().and_then(|query| query.strip_prefix("node=")) else {
            return error(StatusCode::BAD_REQUEST, "which node? Add ?node=NAME");
        };
        let (supervisor, node) = (Arc::clone(&self.supervisor), name.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            if start {
                supervisor.start(&node)
            } else {
                supervisor.kill(&node)
            }
        });
        match done.await {
            Ok(Ok(())) => json(StatusCode::OK, &serde_json::json!({ "node": name })),
            Ok(Err(why)) => error(StatusCode::CONFLICT, &why.to_string()),
            Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
        }
    }

    /// Tries the node that the cookie names, then the others in turn.
    async fn pass_on(&self, request: Request<Incoming>, from: IpAddr) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, BODY_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return error(StatusCode::PAYLOAD_TOO_LARGE, "a body of at most 1 MiB"),
        };
        let route = parts
            .headers
            .get(COOKIE)
            .and_then(route_of)
            .map(str::to_owned);
        let candidates = self.candidates(route.as_deref());
        for (attempt, address) in candidates.into_iter().enumerate() {
            let mut request = Request::builder()
                .method(&parts.method)
                .uri(uri_at(&parts.uri, address));
            if let Some(headers) = request.headers_mut() {
                headers.clone_from(&parts.headers);
                headers.remove(HOST);
                if let Ok(from) = HeaderValue::try_from(from.to_string()) {
                    headers.insert("x-forwarded-for", from);
                }
            }
            let Ok(request) = request.body(Full::new(body.clone())) else {
                return error(StatusCode::BAD_REQUEST, "that request cannot be passed on");
            };
            let answered = tokio::time::timeout(ANSWER_MAX, async {
                let (parts, body) = self.client.request(request).await.ok()?.into_parts();
                let body = body.collect().await.ok()?.to_bytes();
                Some(Response::from_parts(parts, Full::new(body)))
            });
            if let Ok(Some(response)) = answered.await {
                if attempt > 0 {
                    self.failovers.fetch_add(1, Ordering::Relaxed);
                }
                return response;
            }
        }
        error(
            StatusCode::BAD_GATEWAY,
            "no node answers: start one on the page or wait a moment",
        )
    }

    /// The node that owns the route first, then the others, beginning with another one each time.
    fn candidates(&self, route: Option<&str>) -> Vec<SocketAddr> {
        let mut running = self.supervisor.nodes();
        running.retain(|node| node.pid.is_some());
        if !running.is_empty() {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % running.len();
            running.rotate_left(turn);
        }
        running.sort_by_key(|node| Some(node.name.as_str()) != route);
        running.iter().filter_map(|node| node.http).collect()
    }
}

/// The `jvmRoute` of the session cookie: what follows the first dot of its value.
fn route_of(cookies: &HeaderValue) -> Option<&str> {
    let cookies = cookies.to_str().ok()?;
    let id = cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="))?;
    id.split_once('.').map(|(_, route)| route)
}

fn uri_at(uri: &Uri, address: SocketAddr) -> String {
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    format!("http://{address}{path}")
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json(status, &serde_json::json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_is_what_follows_the_first_dot_of_the_session_cookie() {
        #[rustfmt::skip]
        let cases = [
            ("JSESSIONID=AB.n1",                Some("n1")),
            ("a=b; JSESSIONID=AB.n2; c=d",      Some("n2")),
            ("JSESSIONID=AB.n.2",               Some("n.2")),
            ("JSESSIONID=AB",                   None),
            ("XJSESSIONID=AB.n1",               None),
            ("",                                None),
        ];
        for (cookie, route) in cases {
            assert_eq!(
                route_of(&HeaderValue::from_static(cookie)),
                route,
                "{cookie}"
            );
        }
    }
}
