//! An application's own Java class in a Rust application: read by field and through serde, changed, made
//! anew with the descriptor that came with another object, and taken back by the Tomcat as its own.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Json, Router};
use folkmoot::{Cluster as Node, Session, SessionError, SessionLayer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::Tomcat;
use crate::support::value_types::lab_user;
use crate::support::wait::SOON;

scenarios! {
    fn a_java_class_is_read_changed_and_made_anew_from_rust(name) { birthday(name); }
}

/// `lab.LabUser`, as far as this application wants to know it.
#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
    age: i32,
    created: i64,
    active: bool,
    score: f64,
    level: String,
    roles: Vec<String>,
    marks: Vec<i32>,
    boss: Option<Box<User>>,
}

/// Reads the user `cu`; a birthday changes one field of it; `heir` is a new object of its class.
async fn have_a_birthday(session: Session) -> Result<Json<Value>, SessionError> {
    let before: Option<User> = session.get("cu")?;
    let seen = before.as_ref().map(|user| (user.name.clone(), user.age));
    let by_field = session
        .get_value("cu")?
        .and_then(|user| user.get("age").and_then(|age| age.as_i64()));
    if let Some(user) = before {
        session.set_field("cu", "age", user.age + 1)?;
        let mut heir = user;
        heir.name = "heir".to_owned();
        heir.age = 1;
        heir.boss = None;
        session.insert_as("lab.LabUser", "heir", &heir)?;
    }
    Ok(Json(
        json!({"seen": seen, "byField": by_field, "id": session.id().map(|id| id.to_string())}),
    ))
}

const OURS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 12)),
    8080,
);

/// The Rust application as node 2, on threads of its own until the test ends.
fn serve(directory: std::path::PathBuf) -> Node {
    let node = Node::builder()
        .receiver_address([127, 0, 0, 12])
        .auto_bind(1)
        .multicast_bind([127, 0, 0, 1].into())
        .multicast_ttl(0)
        .channel_send_options(6)
        .jvm_route("n2")
        .state_dir(directory)
        .start()
        .expect("a node");
    let manager = node.delta_manager("/").expect("a manager");
    manager.wait_ready(SOON).expect("the Tomcat's state");
    let app = Router::new().route("/birthday", get(have_a_birthday));
    let app = app.layer(SessionLayer::new(&manager));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(OURS))
        .expect("our address");
    std::thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    node
}

fn birthday(name: &str) {
    let mut cluster = Cluster::new(
        name,
        &[Tomcat, Tomcat],
        &Setup::new(Membership::Multicast, 6),
    );
    cluster.nodes[0].start();
    let mut visitor = Client::new();
    let tomcat = cluster.http(0);
    visitor.get(tomcat, "/s/set?k=cu&type=custom&v=alpha:45:boss:60");
    let node = serve(crate::support::installed::scratch().join(name));
    cluster.await_other_members(0, &["127.0.0.12:4000"]);

    let answer = visitor.get(OURS, "/birthday");
    assert_eq!(
        answer.get("seen"),
        &json!(["alpha", 45]),
        "through serde: {}",
        answer.json
    );
    assert_eq!(
        answer.get("byField"),
        &json!(45),
        "by field: {}",
        answer.json
    );
    let id = answer.id().to_owned();
    assert!(id.ends_with(".n2"), "{id}");

    // Options 6: the Tomcat has applied the change before the answer came.
    let mut older = lab_user("alpha", 45, lab_user("boss", 60, Value::Null));
    older["age"] = json!(46);
    let mut heir = lab_user("alpha", 45, Value::Null);
    heir["name"] = json!("heir");
    heir["age"] = json!(1);
    let expected = json!({
        "cu": {"type": "lab.LabUser", "value": older},
        "heir": {"type": "lab.LabUser", "value": heir},
    });
    assert_eq!(
        cluster.nodes[0].attributes(&id),
        expected,
        "the Tomcat's own objects"
    );
    let dump = visitor.get(tomcat, "/s/dump");
    assert_eq!(dump.get("attributes"), &expected, "served by the Tomcat");
    node.shutdown_blocking();
    cluster.await_other_members(0, &[]);
}
