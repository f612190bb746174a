//! The layer around an application: `JvmRouteBinderValve` and `ReplicationValve`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::OriginalUri;
use http::header::{COOKIE, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use super::cookie::{self, CookieConfig, CookieConfigError};
use super::exchange::RequestSession;
use super::filter::ReplicationFilter;
use super::session::Session;
use super::store::Completed;
use super::store::SessionStore;
use super::uri;
use crate::{Delivery, PatternError, SessionId};

/// Whatever keeps the sessions of an application: a [`DeltaManager`](crate::DeltaManager) or a
/// [`BackupManager`](crate::BackupManager).
pub trait SessionManager: sealed::Sealed {}

impl SessionManager for crate::DeltaManager {}
impl SessionManager for crate::BackupManager {}

mod sealed {
    use std::sync::Arc;

    use super::SessionStore;

    /// A manager as requests use it.
    #[allow(missing_debug_implementations, reason = "nobody outside sees it")]
    pub struct Store(pub(super) Arc<dyn SessionStore>);

    pub trait Sealed {
        fn store(&self) -> Store;
    }

    impl Sealed for crate::DeltaManager {
        fn store(&self) -> Store {
            Store(Arc::new(self.clone()))
        }
    }

    impl Sealed for crate::BackupManager {
        fn store(&self) -> Store {
            Store(Arc::new(self.sessions().clone()))
        }
    }
}

/// Gives every request of an application its [`Session`] and replicates it when the request is over.
///
/// Around one web application, that is one [`SessionManager`]. For each request, in this order:
///
/// 1. The session id is taken from the cookie. If its route names another node and the session is here, it
///    gets our route, the cluster is told and the client gets a new cookie (`JvmRouteBinderValve`).
/// 2. The handler runs; its [`Session`] joins or creates the session when asked.
/// 3. What the request changed is sent to the members, once (`ReplicationValve`). With acknowledged send
///    options (6) the response waits for all members, at most for the sender's timeout. As in Tomcat a member
///    that does not answer is logged and counted; the response is not failed.
///
/// An error of the inner service, a panic in a handler and a client that goes away end the request like
/// any other: what had been changed is replicated.
///
/// Two nodes of the front end's stickiness are supported by the id's suffix, the
/// [`jvm_route`](crate::ClusterBuilder::jvm_route).
#[derive(Clone)]
pub struct SessionLayer {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Settings {
    cookie: CookieConfig,
    filter: ReplicationFilter,
    jvm_route_binder: bool,
    primary_indicator: bool,
    path_parameter: bool,
}

struct Shared {
    store: Arc<dyn SessionStore>,
    settings: Settings,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    filtered: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    rebound: AtomicU64,
    request_nanos: AtomicU64,
    send_nanos: AtomicU64,
}

/// What a [`SessionLayer`] has done so far: `ReplicationValve`'s and `JvmRouteBinderValve`'s statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLayerStats {
    /// Requests that ended (`nrOfRequests`).
    pub requests: u64,
    /// Requests that the filter left out (`nrOfFilterRequests`).
    pub filtered_requests: u64,
    /// Requests that sent a message (`nrOfSendRequests`).
    pub send_requests: u64,
    /// Requests whose message could not be sent, or was not acknowledged by every member.
    pub failed_sends: u64,
    /// Sessions that got our route (`JvmRouteBinderValve.numberOfSessions`).
    pub rebound_sessions: u64,
    /// Milliseconds in requests, replication included (`totalRequestTime`).
    pub total_request_time_ms: u64,
    /// Milliseconds in replication (`totalSendTime`).
    pub total_send_time_ms: u64,
}

/// The id with which a request came, where `JvmRouteBinderValve` has changed it
/// (`org.apache.catalina.ha.session.JvmRouteOriginalSessionID`). In the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalSessionId(pub SessionId);

/// Whether this node was the primary of the request's session when it came
/// (`org.apache.catalina.ha.tcp.isPrimarySession`). In the request's extensions if
/// [`SessionLayer::primary_indicator`] is on and the session is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrimarySession(pub bool);

impl SessionLayer {
    /// The layer of the application whose sessions `manager` keeps, with Tomcat's defaults.
    pub fn new(manager: &impl SessionManager) -> Self {
        Self::over(manager.store().0)
    }

    pub(crate) fn over(store: Arc<dyn SessionStore>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                settings: Settings {
                    cookie: CookieConfig::default(),
                    filter: ReplicationFilter::default(),
                    jvm_route_binder: true,
                    primary_indicator: false,
                    path_parameter: false,
                },
                counters: Arc::default(),
            }),
        }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self {
            shared: Arc::new(Shared {
                store: Arc::clone(&self.shared.store),
                settings,
                counters: Arc::clone(&self.shared.counters),
            }),
        }
    }

    /// How the session cookie looks.
    pub fn cookie(self, cookie: CookieConfig) -> Result<Self, CookieConfigError> {
        cookie.validate()?;
        Ok(self.with(|settings| settings.cookie = cookie))
    }

    /// Requests whose whole decoded path matches `pattern` are not replicated (`ReplicationValve.filter`).
    ///
    /// An example: `.*\.gif|.*\.css`. Changes made in such a request wait for the next that is replicated.
    pub fn filter(self, pattern: &str) -> Result<Self, PatternError> {
        let filter = ReplicationFilter::new(pattern)?;
        Ok(self.with(|settings| settings.filter = filter))
    }

    /// Whether a session that another node's route names gets ours (`JvmRouteBinderValve.enabled`); `true`.
    pub fn jvm_route_binder(self, enabled: bool) -> Self {
        self.with(|settings| settings.jvm_route_binder = enabled)
    }

    /// Whether requests carry a [`PrimarySession`] (`ReplicationValve.primaryIndicator`); `false`.
    pub fn primary_indicator(self, enabled: bool) -> Self {
        self.with(|settings| settings.primary_indicator = enabled)
    }

    /// Whether a session id may also come as the path parameter `;jsessionid=`; `false`, since addresses
    /// are copied and logged. The parameter is taken out of the path that the application sees, so put the
    /// layer around the whole router. A cookie goes before the parameter.
    pub fn path_parameter(self, enabled: bool) -> Self {
        self.with(|settings| settings.path_parameter = enabled)
    }

    /// What the layer has done so far, in all services made from it.
    pub fn stats(&self) -> SessionLayerStats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SessionLayerStats {
            requests: read(&counters.requests),
            filtered_requests: read(&counters.filtered),
            send_requests: read(&counters.sent),
            failed_sends: read(&counters.failed),
            rebound_sessions: read(&counters.rebound),
            total_request_time_ms: read(&counters.request_nanos) / 1_000_000,
            total_send_time_ms: read(&counters.send_nanos) / 1_000_000,
        }
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = self.shared.store.context_path();
        f.debug_struct("SessionLayer")
            .field("context_path", &context)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// An application inside a [`SessionLayer`].
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that is ready serves; its clone waits to become ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let exchange = Exchange::begin(&self.shared, &mut request);
        Box::pin(async move {
            let outcome = inner.call(request).await;
            let id = exchange.finish().await;
            outcome.map(|mut response| {
                if let Some(header) = id.and_then(|id| exchange.cookie(&id)) {
                    response.headers_mut().append(SET_COOKIE, header);
                }
                response
            })
        })
    }
}

/// A request under way. Dropped without [`finish`](Self::finish), that is by a panic or because the client
/// has gone, it replicates what there is, as a servlet's request would have in the end.
struct Exchange {
    shared: Arc<Shared>,
    request: Arc<RequestSession>,
    leave_out: bool,
    began: Instant,
    completed: AtomicBool,
}

impl Exchange {
    fn begin<B>(shared: &Arc<Shared>, request: &mut Request<B>) -> Self {
        let settings = &shared.settings;
        let leave_out = settings.filter.leaves_out(original_path(request));
        let requested = requested_id(shared, request);
        let session = Arc::new(RequestSession::new(Arc::clone(&shared.store), requested));
        if settings.jvm_route_binder
            && let Some(original) = shared.bind_route(&session)
        {
            request.extensions_mut().insert(OriginalSessionId(original));
        }
        if settings.primary_indicator
            && let Some(view) = session.requested_id().and_then(|id| shared.store.find(&id))
        {
            request
                .extensions_mut()
                .insert(PrimarySession(view.is_primary));
        }
        request
            .extensions_mut()
            .insert(Session::new(Arc::clone(&session)));
        Self {
            shared: Arc::clone(shared),
            request: session,
            leave_out,
            began: Instant::now(),
            completed: AtomicBool::new(false),
        }
    }

    /// Replicates, waits for acknowledgements if they were asked for, and says which id the client must be told.
    async fn finish(&self) -> Option<SessionId> {
        let id = self.request.commit();
        let began = Instant::now();
        if let Some(delivery) = self.complete() {
            let outcome = delivery.await;
            if !outcome.is_complete() {
                // Which member and why is in the log already: the cluster reports every failed send.
                self.shared.counters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        add_nanos(&self.shared.counters.send_nanos, began);
        id
    }

    /// The request is over, once.
    fn complete(&self) -> Option<Delivery> {
        if self.completed.swap(true, Ordering::Relaxed) {
            return None;
        }
        let counters = &self.shared.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        if self.leave_out {
            counters.filtered.fetch_add(1, Ordering::Relaxed);
        }
        let last = Arc::strong_count(&self.request) == 1;
        match self.request.complete(self.leave_out, last) {
            Ok(Completed::Nothing) => None,
            Ok(Completed::Sent(delivery)) => {
                counters.sent.fetch_add(1, Ordering::Relaxed);
                delivery
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                let context = self.shared.store.context_path();
                tracing::error!(context, %error, "a session could not be replicated at the end of its request");
                None
            }
        }
    }

    fn cookie(&self, id: &SessionId) -> Option<HeaderValue> {
        let header = self
            .shared
            .settings
            .cookie
            .set_cookie(&id.to_string(), self.shared.store.context_path());
        HeaderValue::try_from(header).ok()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Nobody is left to wait for acknowledgements.
        drop(self.complete());
        add_nanos(&self.shared.counters.request_nanos, self.began);
    }
}

impl Shared {
    /// `JvmRouteBinderValve.handleJvmRoute`: the id with which the request came if it has been changed.
    fn bind_route(&self, request: &RequestSession) -> Option<SessionId> {
        let ours = self.store.jvm_route()?;
        let requested = request.requested_id()?;
        let theirs = requested
            .jvm_route()
            .filter(|_| !requested.base().is_empty())?;
        if theirs == ours.as_bytes() {
            return None;
        }
        let rebound = requested.with_jvm_route(ours);
        if self.store.rebind(&requested, &rebound) {
            self.counters.rebound.fetch_add(1, Ordering::Relaxed);
        } else if self.store.find(&rebound).is_none() {
            // Not here under either id: the application will begin a new session.
            return None;
        }
        // Otherwise an overlapping request has moved it already: only this request is rewritten.
        request.rewrite(rebound);
        Some(requested)
    }
}

/// The id that the request offers: of several the first that names a valid session, else the last
/// (`CoyoteAdapter.parseSessionCookiesId`).
fn requested_id<B>(shared: &Shared, request: &mut Request<B>) -> Option<SessionId> {
    let settings = &shared.settings;
    let headers = request.headers().get_all(COOKIE).into_iter();
    let mut ids: Vec<SessionId> = headers
        .flat_map(|header| cookie::session_ids(header.as_bytes(), &settings.cookie.name))
        .map(SessionId::from)
        .collect();
    if settings.path_parameter {
        let (path, id) = uri::session_path_parameter(request.uri().path());
        let id = id.map(SessionId::from);
        if let Some(stripped) = id.as_ref().and_then(|_| with_path(request.uri(), &path)) {
            *request.uri_mut() = stripped;
        }
        if ids.is_empty() {
            ids.extend(id);
        }
    }
    let valid = |id: &SessionId| shared.store.find(id).is_some();
    if ids.len() > 1 {
        // A browser that has cookies for nested paths sends all of them.
        ids.truncate(OFFERED_IDS_MAX);
        ids.into_iter()
            .reduce(|best, next| if valid(&best) { best } else { next })
    } else {
        ids.pop()
    }
}

/// More ids than this in one request are not looked at: each costs a look-up.
const OFFERED_IDS_MAX: usize = 16;

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// The path as the client asked for it: a nested router sees less of it.
fn original_path<B>(request: &Request<B>) -> &str {
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path(),
        None => request.uri().path(),
    }
}

fn add_nanos(counter: &AtomicU64, began: Instant) {
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
}
