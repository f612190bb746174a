//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use folkmoot::{Cluster, Session, SessionLayer};
use http::Uri;
use serde_json::json;

use crate::answer::{Fields, Parameters, Refusal, respond};
use crate::context::ContextAttributes;
use crate::manager::Manager;
use crate::{manage, session};

/// What the handlers of one web application share.
#[derive(Clone)]
struct App {
    node: Arc<str>,
    cluster: Cluster,
    manager: Manager,
    attributes: Arc<ContextAttributes>,
}

/// All web applications, each at its context path.
pub(crate) fn router(
    node: &str,
    cluster: &Cluster,
    contexts: impl Iterator<Item = (Manager, SessionLayer, ContextAttributes)>,
) -> Router {
    let node: Arc<str> = node.into();
    let mut all = Router::new();
    for (manager, layer, attributes) in contexts {
        let path = manager.context_path().to_owned();
        let app = App {
            node: Arc::clone(&node),
            cluster: cluster.clone(),
            manager,
            attributes: Arc::new(attributes),
        };
        let routes = Router::new()
            .route("/s/{endpoint}", any(on_session))
            .layer(layer)
            // What comes now is outside of the layer: it joins no session.
            .route("/s/ready", any(ready))
            .route("/c/{endpoint}", any(on_context))
            .route("/m/{endpoint}", any(on_manager))
            .with_state(app);
        all = if path.is_empty() {
            all.merge(routes)
        } else {
            all.nest(&path, routes)
        };
    }
    all.fallback(async move |uri: Uri| respond(&node, Err(Refusal::unknown(uri.path()))))
}

async fn ready(State(app): State<App>) -> Response {
    respond(
        &app.node,
        Ok(Fields::from_iter([("ok".to_owned(), json!(true))])),
    )
}

async fn on_session(
    State(app): State<App>,
    Path(endpoint): Path<String>,
    session: Session,
    uri: Uri,
) -> Response {
    let outcome = match Parameters::of(&uri) {
        Ok(parameters) => session::answer(&endpoint, &session, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    // The one answer that is as short as it can be.
    if endpoint == "bench"
        && let Ok(fields) = outcome
    {
        return axum::response::IntoResponse::into_response(axum::Json(fields));
    }
    respond(&app.node, outcome)
}

async fn on_context(State(app): State<App>, Path(endpoint): Path<String>, uri: Uri) -> Response {
    let outcome = match Parameters::of(&uri) {
        Ok(parameters) => app.attributes.answer(&endpoint, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    respond(&app.node, outcome)
}

async fn on_manager(State(app): State<App>, Path(endpoint): Path<String>, uri: Uri) -> Response {
    let outcome = Parameters::of(&uri).and_then(|parameters| match endpoint.as_str() {
        "state" => manage::state(&app.cluster, &app.manager, &parameters),
        "session" => manage::session(&app.manager, parameters.required("id")?),
        other => Err(Refusal::unknown(&format!("/m/{other}"))),
    });
    respond(&app.node, outcome)
}
