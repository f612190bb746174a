//! One node of the demo: a cluster member, a few JSON calls, and the page.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use folkmoot::java::{ValueError, from_java};
use folkmoot::{
    Cluster, DeltaManager, Driver, Session, SessionError, SessionId, SessionLayer, StaticMember,
    UniqueId,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Membership;

/// The attribute that holds the cart: goods and how many of each.
const CART: &str = "cart";
/// The attribute that counts clicks.
const CLICKS: &str = "clicks";
/// The most kinds of goods a cart holds, and the longest name of one.
const GOODS_MAX: usize = 32;

type Cart = BTreeMap<String, u32>;

/// What a node is told by the demo.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NodeArguments {
    #[arg(long)]
    name: String,
    #[arg(long)]
    domain: String,
    #[arg(long)]
    send_options: String,
    /// How bytes are moved.
    #[arg(long, default_value_t)]
    driver: Driver,
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long, value_enum)]
    membership: Membership,
    #[arg(long)]
    http: Option<SocketAddr>,
    #[arg(long)]
    receiver: Option<SocketAddr>,
    #[arg(long = "member")]
    members: Vec<SocketAddr>,
}

/// What the page's calls share.
struct Node {
    arguments: NodeArguments,
    cluster: Cluster,
    manager: DeltaManager,
}

/// Runs a node until its standard input ends: it never outlives the demo that started it.
pub(crate) fn run(arguments: NodeArguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: NodeArguments) -> Result<(), Box<dyn Error>> {
    let http = arguments
        .http
        .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let listener = tokio::net::TcpListener::bind(http).await?;
    let cluster = start(&arguments)?;
    let manager = cluster.delta_manager("/")?;
    let sessions = SessionLayer::new(&manager);
    manager.ready().await;
    println!(
        "ready http={} receiver={}",
        listener.local_addr()?,
        cluster.receiver_address()
    );

    let node = Arc::new(Node {
        arguments,
        cluster: cluster.clone(),
        manager,
    });
    let app = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/api/state", get(state))
        .route("/api/cart/add", post(add))
        .route("/api/cart/remove", post(remove))
        .route("/api/count", post(count))
        .route("/api/invalidate", post(invalidate))
        .layer(sessions)
        // What follows looks at the node and has no session of its own.
        .route("/api/look", get(look))
        .route("/api/members", get(members))
        .with_state(node);
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = end_of_input() => {}
    }
    cluster.shutdown().await;
    Ok(())
}

fn start(arguments: &NodeArguments) -> Result<Cluster, Box<dyn Error>> {
    let mut builder = Cluster::builder()
        .jvm_route(&arguments.name)
        .domain(&arguments.domain)
        .channel_send_options(arguments.send_options.as_str())
        .driver(arguments.driver)
        .receiver_address(
            arguments
                .receiver
                .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |receiver| receiver.ip()),
        )
        .background_processor_delay(Duration::from_millis(100))
        .state_dir(&arguments.state_dir);
    if let Some(receiver) = arguments.receiver {
        builder = builder.receiver_port(receiver.port()).auto_bind(1);
    }
    builder = match arguments.membership {
        Membership::Multicast => builder.multicast_bind(Ipv4Addr::LOCALHOST).multicast_ttl(0),
        Membership::Static => {
            let own = arguments
                .members
                .iter()
                .position(|member| Some(*member) == arguments.receiver);
            let others = arguments
                .members
                .iter()
                .enumerate()
                .filter(|(index, _)| Some(*index) != own);
            let others =
                others.map(|(index, address)| StaticMember::new(*address, unique_id(index)));
            builder
                .unique_id(unique_id(own.unwrap_or(arguments.members.len())))
                .static_members(others)
        }
    };
    Ok(builder.start()?)
}

/// The id of the static member at `index`: everyone has to know it beforehand.
fn unique_id(index: usize) -> UniqueId {
    let mut id = *b"folkmoot-demo-\0\0";
    if let (Some(last), Ok(index)) = (id.last_mut(), u8::try_from(index)) {
        *last = index;
    }
    UniqueId(id)
}

/// Returns when the demo that holds the other end of standard input has ended.
async fn end_of_input() {
    let (ended, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut nothing = std::io::sink();
        // Whatever it is that ends the input, the demo is gone.
        let _ = std::io::copy(&mut std::io::stdin(), &mut nothing);
        let _ = ended.send(());
    });
    let _ = wait.await;
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

#[derive(Deserialize)]
struct Count {
    /// Seconds after which the idle session expires.
    max: Option<i32>,
}

#[derive(Deserialize)]
struct Look {
    id: String,
}

async fn state(State(node): State<Arc<Node>>, session: Session) -> Result<Json<Value>, Failure> {
    Ok(Json(node.describe(&session)?))
}

async fn add(
    State(node): State<Arc<Node>>,
    Query(Item { item }): Query<Item>,
    session: Session,
) -> Result<Json<Value>, Failure> {
    let mut cart: Cart = session.get(CART)?.unwrap_or_default();
    if item.len() > GOODS_MAX || (cart.len() >= GOODS_MAX && !cart.contains_key(&item)) {
        return Err(Failure::TooMuch);
    }
    let count = cart.entry(item).or_default();
    *count = count.saturating_add(1);
    session.insert(CART, &cart)?;
    click(&session)?;
    Ok(Json(node.describe(&session)?))
}

async fn remove(
    State(node): State<Arc<Node>>,
    Query(Item { item }): Query<Item>,
    session: Session,
) -> Result<Json<Value>, Failure> {
    let mut cart: Cart = session.get(CART)?.unwrap_or_default();
    match cart.get_mut(&item) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            cart.remove(&item);
        }
    }
    session.insert(CART, &cart)?;
    click(&session)?;
    Ok(Json(node.describe(&session)?))
}

async fn count(
    Query(Count { max }): Query<Count>,
    session: Session,
) -> Result<Json<Value>, Failure> {
    let clicks = click(&session)?;
    if let Some(seconds) = max {
        session.set_max_inactive_interval(seconds)?;
    }
    Ok(Json(json!({ "id": id(&session), "clicks": clicks })))
}

async fn invalidate(
    State(node): State<Arc<Node>>,
    session: Session,
) -> Result<Json<Value>, Failure> {
    session.invalidate()?;
    Ok(Json(node.describe(&session)?))
}

/// A session as this node has it, untouched by the look.
async fn look(
    State(node): State<Arc<Node>>,
    Query(Look { id }): Query<Look>,
) -> Result<Json<Value>, Failure> {
    let id = SessionId::from(id.as_str());
    Ok(Json(match node.manager.find(&id) {
        None => Value::Null,
        Some(_) => {
            let cart = node.manager.attribute(&id, CART);
            let cart: Option<Cart> = cart.map(|cart| from_java(&cart)).transpose()?;
            json!({ "cart": cart })
        }
    }))
}

async fn members(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(node.members())
}

fn click(session: &Session) -> Result<u64, SessionError> {
    let clicks = session.get::<u64>(CLICKS)?.unwrap_or(0).saturating_add(1);
    session.insert(CLICKS, &clicks)?;
    Ok(clicks)
}

fn id(session: &Session) -> Option<String> {
    session.id().map(|id| id.to_string())
}

impl Node {
    /// What the page shows.
    fn describe(&self, session: &Session) -> Result<Value, SessionError> {
        let exists = session.id().is_some();
        let cart: Cart = if exists {
            session.get::<Cart>(CART)?.unwrap_or_default()
        } else {
            Cart::new()
        };
        let clicks: u64 = if exists {
            session.get::<u64>(CLICKS)?.unwrap_or(0)
        } else {
            0
        };
        Ok(json!({
            "node": self.arguments.name,
            "id": id(session),
            "cart": cart,
            "clicks": clicks,
            "members": self.members(),
            "sessions": self.manager.active_sessions(),
            "membership": self.arguments.membership.as_str(),
            "sendOptions": self.cluster.channel_send_options().to_string(),
        }))
    }

    fn members(&self) -> Value {
        let members = self.cluster.members();
        let members = members.iter().map(|member| {
            let address = member.socket_addr();
            json!({
                "host": address.map(|address| address.ip().to_string()),
                "port": member.port,
                "uniqueId": member.unique_id.to_string(),
            })
        });
        members.collect()
    }
}

/// What a call of the page can end with.
enum Failure {
    Session(SessionError),
    Value(ValueError),
    TooMuch,
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<ValueError> for Failure {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Session(error) => (error.status(), error.to_string()),
            Self::Value(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::TooMuch => (
                StatusCode::BAD_REQUEST,
                format!("a cart holds {GOODS_MAX} goods with names of at most {GOODS_MAX} bytes"),
            ),
        };
        (status, Json(json!({ "error": why }))).into_response()
    }
}
