//! A client that keeps its session cookie, for the demo that plays itself.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// The longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What went wrong with a request, in words for the report.
pub(crate) type Failure = String;

/// One browser: its connections and its session cookie.
#[derive(Clone)]
pub(crate) struct Client {
    http: HyperClient<HttpConnector, Empty<Bytes>>,
    /// The value of `JSESSIONID`, as the last answer set it.
    pub(crate) session: Option<String>,
}

impl Client {
    /// A browser without cookies.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            http,
            session: None,
        }
    }

    /// Another browser that shares the connections, not the cookie.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            http: self.http.clone(),
            session: None,
        }
    }

    /// The JSON that answers a GET.
    pub(crate) async fn get(&mut self, to: SocketAddr, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, to, path).await
    }

    /// The JSON that answers a POST.
    pub(crate) async fn post(&mut self, to: SocketAddr, path: &str) -> Result<Value, Failure> {
        self.call(Method::POST, to, path).await
    }

    async fn call(&mut self, method: Method, to: SocketAddr, path: &str) -> Result<Value, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{to}{path}"));
        if let Some(id) = &self.session {
            request = request.header(COOKIE, format!("JSESSIONID={id}"));
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answered = tokio::time::timeout(ANSWER_MAX, async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| error.to_string())?;
            let (status, session) = (response.status(), session_of(&response));
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok::<_, Failure>((status, session, body.to_bytes()))
        });
        let (status, session, body) =
            answered.await.map_err(|_| format!("{path}: no answer"))??;
        if session.is_some() {
            self.session = session;
        }
        if status == StatusCode::OK {
            serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))
        } else {
            Err(format!(
                "{path}: {status}: {}",
                String::from_utf8_lossy(&body)
            ))
        }
    }
}

fn session_of(response: &Response<Incoming>) -> Option<String> {
    let cookies = response.headers().get_all(SET_COOKIE);
    let value = cookies
        .iter()
        .find_map(|cookie| cookie.to_str().ok()?.strip_prefix("JSESSIONID="))?;
    value.split(';').next().map(str::to_owned)
}
